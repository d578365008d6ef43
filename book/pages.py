"""Sphinx extension: what every chapter has without its author's doing, its reading time and its entries in the index."""

import math
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

GLOSSARY = Path(__file__).parent.parent / "chapters/glossary.md"
WORDS_A_MINUTE, SECONDS_A_FORMULA, SECONDS_A_CELL, MINUTES_A_FIGURE = 200, 15, 15, 2


def reading_minutes(words, formulas, cells, figures):
    """Minutes for one attentive reading, exercises not counted.

    Examples
    --------
    >>> reading_minutes(words=1000, formulas=4, cells=8, figures=1)
    10
    """
    return math.ceil(words / WORDS_A_MINUTE + (formulas * SECONDS_A_FORMULA + cells * SECONDS_A_CELL) / 60
                     + figures * MINUTES_A_FIGURE)


def terms():
    """The glossary's terms in lower case → as they stand there."""
    block = GLOSSARY.read_text(encoding="utf-8").split(":::{glossary}")[1].split("\n:::")[0]
    named = [line for line in block.splitlines() if line and not line[0].isspace()]
    return {part.lower(): part for line in named for part in line.split(", ")}


def counted(number, noun):
    return f"{number} {noun}{'' if number == 1 else 's'}"


class ReadingTime(SphinxTransform):
    """Under the title of a chapter with code, how long it takes to read."""

    default_priority = 400

    def apply(self):
        cells = [n for n in self.document.findall(nodes.container) if n.get("nb_element") == "cell_code"]
        title = next(iter(self.document.findall(nodes.title)), None)
        if not cells or title is None:
            return
        texts = [n.astext() for n in self.document.findall(nodes.Text)
                 if not isinstance(n.parent, (nodes.literal_block, nodes.math, nodes.math_block))]
        exercises = sum("exercise" in n.get("classes", []) for n in self.document.findall(nodes.Element)
                        if type(n).__name__ in ("exercise_node", "exercise_enumerable_node"))
        figures = sum("caption-live" in n.get("classes", []) for n in self.document.findall(nodes.container))
        minutes = reading_minutes(len(" ".join(texts).split()), sum(1 for _ in self.document.findall(nodes.math_block)),
                                  len(cells), figures)
        parts = [f"About {counted(minutes, 'minute')} to read"]
        parts += [counted(figures, "live figure")] if figures else []
        parts += [counted(exercises, "exercise")] if exercises else []
        paragraph = nodes.paragraph("", " · ".join(parts), classes=["reading-time"])
        title.parent.insert(title.parent.index(title) + 1, paragraph)


class Index(SphinxTransform):
    """An entry in the index wherever a term of the glossary is in bold, or in the name of a section or theorem."""

    default_priority = 410

    def apply(self):
        if Path(self.env.doc2path(self.env.docname)) == GLOSSARY:
            return
        known, seen = terms(), set()
        for node in list(self.document.findall(nodes.Element)):
            if not isinstance(node, (nodes.strong, nodes.title)) and "proof-title" not in node.get("classes", []):
                continue
            section = node
            while section is not None and not (isinstance(section, nodes.section) and section["ids"]):
                section = section.parent
            if section is None:
                continue
            for term in self._named(node.astext().lower(), known):
                target = section["ids"][0]
                if (term, target) not in seen:
                    seen.add((term, target))
                    entry = addnodes.index(entries=[("single", term, target, "", None)])
                    section.insert(min(1, len(section)), entry)

    def _named(self, text, known):
        plain = re.sub(r"[^\w\s-]", " ", text)
        for key, term in known.items():
            if re.search(rf"(^|\s){re.escape(key)}(e?s)?($|\s)", plain):
                yield term


def setup(app):
    app.add_transform(ReadingTime)
    app.add_transform(Index)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
