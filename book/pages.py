"""Sphinx extension: what every chapter has without its author's doing.

Reading time, figures' numbers, entries in the index, one name for what is folded away, the version in the footer.
"""

import math
import re
from gettext import translation
from html import escape
from itertools import groupby
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from translation import CLOSING, HAN, MARKS

import metacalc
from metacalc.words import t

GLOSSARY = Path(__file__).parent.parent / "chapters/glossary.md"
LOCALE = GLOSSARY.parent / "locale"
CHECK_IT = "Check it"  # the name of every cell that only verifies
# What belongs to the formula before it; a Chinese mark ends a word without a space.
BEHIND = re.compile(rf"([^\s–—\u3400-\u9fff{MARKS}]*[”’{CLOSING}]*)(.*)", re.DOTALL)
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


def words(text):
    """How many words a text has; of Chinese eight letters take as long as five words do.

    Examples
    --------
    >>> words("gradient descent"), words("梯度下降 and 元学习的内循环")
    (2, 8)
    """
    letters = len(HAN.findall(text))
    return len(HAN.sub(" ", text).split()) + math.ceil(letters * 5 / 8)


def terms(language="en"):
    """The glossary's terms in lower case → as they stand there, in the language of the pages: `{term}` has the English one."""
    block = GLOSSARY.read_text(encoding="utf-8").split(":::{glossary}")[1].split("\n:::")[0]
    words = translation("chapters/glossary", LOCALE, [language], fallback=True)
    listed = {line: words.gettext(line) for line in block.splitlines() if line and not line[0].isspace()}
    return {name.lower(): term for own, term in listed.items() for name in (own, term.split("（")[0])}


def _beside(node):
    """Whether a node belongs to an exercise or its solution, or to a folded cell, which a reader need not read."""
    while node is not None:
        if re.match("(exercise|solution)", type(node).__name__) or "tag_hide-cell" in getattr(node, "attributes", {}).get(
                "classes", []):
            return True
        node = node.parent
    return False


class ReadingTime(SphinxTransform):
    """Under the title of a chapter with code, how long it takes to read."""

    default_priority = 400

    def apply(self):
        cells = [n for n in self.document.findall(nodes.container) if n.get("nb_element") == "cell_code" and not _beside(n)]
        title = next(iter(self.document.findall(nodes.title)), None)
        if not cells or title is None:
            return
        texts = [n.astext() for n in self.document.findall(nodes.Text)
                 if not isinstance(n.parent, (nodes.literal_block, nodes.math, nodes.math_block)) and not _beside(n)]
        exercises = sum("exercise" in n.get("classes", []) for n in self.document.findall(nodes.Element)
                        if type(n).__name__ in ("exercise_node", "exercise_enumerable_node"))
        figures = sum("caption-live" in n.get("classes", []) for n in self.document.findall(nodes.container))
        minutes = reading_minutes(words(" ".join(texts)), sum(1 for _ in self.document.findall(nodes.math_block)),
                                  len(cells), figures)
        parts = [t("About {n} minute to read" if minutes == 1 else "About {n} minutes to read", n=minutes)]
        parts += [t("{n} live figure" if figures == 1 else "{n} live figures", n=figures)] if figures else []
        parts += [t("{n} exercise" if exercises == 1 else "{n} exercises", n=exercises)] if exercises else []
        paragraph = nodes.paragraph("", " · ".join(parts), classes=["reading-time"])
        title.parent.insert(title.parent.index(title) + 1, paragraph)


class LiveCaption(nodes.container):
    """The caption of a live figure, which Sphinx counts chapter by chapter as it does exercises."""


class LiveCaptions(SphinxTransform):
    """Makes a `LiveCaption` of every `caption-live` div; what is counted needs an id."""

    default_priority = 405

    def apply(self):
        captions = [node for node in self.document.findall(nodes.container) if "caption-live" in node["classes"]]
        for i, node in enumerate(captions, start=1):
            caption = LiveCaption("", *node.children, **node.attributes)
            caption["ids"] = caption["ids"] or [f"live-figure-{i}"]
            self.document.ids.update(dict.fromkeys(caption["ids"], caption))
            node.replace_self(caption)


class LiveNumbers(SphinxPostTransform):
    """Writes the number into a caption that begins with "Live figure." in a numbered chapter, and into the links to it."""

    default_priority = 20  # when links are resolved

    def run(self):
        pages = self.env.toc_fignumbers
        own = self._numbers(pages.get(self.env.docname, {}))
        for caption in self.document.findall(LiveCaption):
            title, number = next(caption.findall(nodes.strong)), own.get(caption["ids"][0])
            if number:
                text = title.astext()
                title[:] = [nodes.Text(f"{text.rstrip('.。')} {number}{text[-1]}")]
        linked = {key: number for page in pages.values() for key, number in self._numbers(page).items()} | own
        for link in self.document.findall(nodes.reference):
            number = linked.get(link.get("refid") or link.get("refuri", "").partition("#")[2])
            if number:
                link += nodes.Text(f" {number}")

    def _numbers(self, counted):
        """A page's captions' ids → chapter and number; what stands in no chapter has none."""
        return {key: ".".join(map(str, number)) for key, number in counted.get("live", {}).items() if len(number) > 1}


class Checks(SphinxTransform):
    """A cell with the tag `hide-cell`, which only verifies, is folded under one name."""

    default_priority = 415

    def apply(self):
        for cell in self.document.findall(nodes.container):
            if cell.get("hide_mode") == "all":
                cell["prompt_show"] = cell["prompt_hide"] = CHECK_IT


def unfold(translator, node):
    """Open a fold, whose words are its name for screen readers too: MyST-NB calls every one "Toggle hidden content"."""
    names = [f'<p class="{state} admonition-title">{escape(t(node[prompt]))}</p>'
             for state, prompt in (("collapsed", "prompt_show"), ("expanded", "prompt_hide"))]
    classes = " ".join(["admonition", "hide", *node["classes"]])
    translator.body.append(f'<details class="{classes}">\n<summary>{"".join(names)}</summary>\n')


class OneWord(SphinxPostTransform):
    """Keeps a formula, and a short phrase that ends with one, in the line together with the punctuation or ending at it.

    And a number with the ± before it.
    """

    default_priority = 900  # when links have their text
    longest = 24  # letters of a phrase that may not break

    def run(self):
        for text in list(self.document.findall(nodes.Text)):
            if "± " in text and not isinstance(text.parent, (nodes.literal_block, nodes.raw)):
                text.parent.replace(text, nodes.Text(text.replace("± ", "±\u00a0")))
        for node in list(self.document.findall(nodes.math)):
            while self._ends_a_short_phrase(node):
                node = node.parent
            self._join(node)

    def _ends_a_short_phrase(self, node):
        phrase = node.parent
        return isinstance(phrase, nodes.Inline) and phrase[-1] is node and len(phrase.astext()) <= self.longest

    def _join(self, node):
        parent = node.parent
        place = next(i for i, sibling in enumerate(parent) if sibling is node)  # texts that are equal have one index()
        before, after = "", ""
        if place + 1 < len(parent) and isinstance(parent[place + 1], nodes.Text):
            after, rest = BEHIND.fullmatch(parent[place + 1]).groups()
            parent[place + 1] = nodes.Text(rest)
        if place and isinstance(parent[place - 1], nodes.Text):
            rest, before = re.fullmatch(r"(.*?)([(\[“‘（《]*)", parent[place - 1], re.DOTALL).groups()
            parent[place - 1] = nodes.Text(rest)
        if before or after:
            word = nodes.inline("", "", nodes.Text(before), nodes.Text(after), classes=["one-word"])
            parent[place] = word
            word.insert(1, node)


class Index(SphinxTransform):
    """An entry in the index wherever a term of the glossary is in bold, in the name of a section or theorem, or a {term}."""

    default_priority = 410

    def apply(self):
        if Path(self.env.doc2path(self.env.docname)) == GLOSSARY:
            return
        known, seen = terms(self.config.language), set()
        for node in list(self.document.findall(nodes.Element)):
            link = isinstance(node, addnodes.pending_xref) and node.get("reftype") == "term"
            if not link and not isinstance(node, (nodes.strong, nodes.title)) and "proof-title" not in node.get("classes", []):
                continue
            section = node
            while section is not None and not (isinstance(section, nodes.section) and section["ids"]):
                section = section.parent
            if section is None:
                continue
            for term in self._named((node["reftarget"] if link else node.astext()).lower(), known):
                target = section["ids"][0]
                if (term, target) not in seen:
                    seen.add((term, target))
                    entry = addnodes.index(entries=[("single", term, target, "", None)])
                    section.insert(min(1, len(section)), entry)

    def _named(self, text, known):
        for key, term in known.items():
            if key in text if HAN.search(key) else re.search(rf"(^| ){re.escape(_plain(key))}(e?s)?($| )", _plain(text)):
                yield term


def _plain(text):
    """The words of a text, nothing else between them than one space."""
    return " ".join(re.sub(r"[^\w\s'-]", " ", text.replace("’", "'")).split())


def by_chapter(app, pagename, templatename, context, doctree):
    """Under every entry of the index the chapters that it leads to, by name: Sphinx itself has only [1], [2], ...

    An entry of the reference leads to that alone.
    """
    if pagename != "genindex" or "genindexentries" not in context:
        return
    def walk(doc):
        yield doc
        for child in app.env.toctree_includes.get(doc, []):
            yield from walk(child)

    order = list(walk(app.config.root_doc))
    names = {doc: " ".join([".".join(map(str, app.env.toc_secnumbers.get(doc, {}).get("", ()))),
                            re.split("[:：]", title.astext())[0]]).strip()
             for doc, title in app.env.titles.items()}

    def document(link):
        return link[1].split("#")[0].removesuffix(".html")

    for _, entries in context["genindexentries"]:
        for i, (term, (links, *rest)) in enumerate(entries):
            if all(document(link).startswith("chapters/reference/") for link in links):
                continue
            main = [link for link in links if link[0]]
            places = sorted((link for link in links if not link[0]), key=lambda link: order.index(document(link)))
            chapters = [(names[doc], list(group)) for doc, group in groupby(places, document)]
            entries[i] = (term, (main, chapters, *rest[1:]))


def name_the_version(app, config):
    """The package's version is the pages' too: in the footer, and in the list of what can be linked to."""
    config.version = config.release = metacalc.__version__
    options = config.html_theme_options
    options["extra_footer"] = options["extra_footer"].replace("{version}", metacalc.__version__)


def setup(app):
    app.connect("config-inited", name_the_version)
    app.connect("html-page-context", by_chapter)
    app.add_transform(ReadingTime)
    app.add_enumerable_node(LiveCaption, "live", lambda caption: "Live figure")
    app.add_transform(LiveCaptions)
    app.add_transform(Checks)
    app.add_node(HideCodeCellNode, override=True, html=(unfold, depart_HideCellInput))
    app.add_post_transform(LiveNumbers)
    app.add_post_transform(OneWord)
    app.add_transform(Index)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
