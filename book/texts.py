"""Bring the Chinese catalogues up to date with the English: `make zh-texts`.

What is new has no translation yet, what changed keeps the old one, marked as fuzzy, and what is gone goes. Pages have a
catalogue each in `chapters/locale`; figures, exercises, outputs and scripts share that of the package.
"""

import ast
import gc
import io
import pickle
import re
import sys
from datetime import datetime

import translation
import yaml
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from editions import BUILD, ROOT
from sphinx.util.nodes import extract_messages

from metacalc.course.answers import EXERCISES

LANGUAGE = "zh_CN"
PAGES = ROOT / f"chapters/locale/{LANGUAGE}/LC_MESSAGES"
PYTHON = ["code/metacalc/*.py", "code/metacalc/course/answers/*.py", "book/*.py"]
VERDICTS = ROOT / "code/metacalc/course/answers"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
SENTENCE = re.compile(r" .*[.?]$", re.DOTALL)
READ = BUILD / ".doctrees"  # the English pages


def constants(node):
    """The texts that an expression may be: one, or either of a choice."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) + constants(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def python_texts(path):
    """Texts that a module gives to `t`; and the sentences of a checker, which verdicts are made of."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("t", "entries") and node.args:
            yield from constants(node.args[-1 if node.func.id == "entries" else 0])
        if path.parent == VERDICTS:
            yield from (text for text in constants(node) if SENTENCE.search(text) and text not in docstrings)


def page_texts():
    """The texts of every page as the English build has read it: what `sphinx-build -b gettext` would write, and more.

    Returns
    -------
    dict of str: list of str
        A page's name and its texts, in the order in which they come; under "" those of figures and outputs.
    """
    if not (READ / "environment.pickle").exists():
        sys.exit("The book is not built: run `make book`.")
    gc.disable()  # it would look through all trees at each new one
    env = pickle.loads((READ / "environment.pickle").read_bytes())
    pages = {name: texts_in(pickle.loads((READ / f"{name}.doctree").read_bytes())) for name in sorted(env.found_docs)}
    gc.enable()
    return pages | {"": [text for name in pages for text in env.texts_of_cells.get(name, ())]}


def texts_in(doctree):
    return list(dict.fromkeys(text for _, text in extract_messages(doctree) if text))


def package_texts():
    """The texts of exercises and scripts, of the theme and its options."""
    own = [text for pattern in PYTHON for path in sorted(ROOT.glob(pattern)) for text in python_texts(path)]
    mistakes = [reason for exercise in EXERCISES.values() for _, reason in exercise.mistakes]
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    options = [config["sphinx"]["config"]["html_theme_options"][name] for name in translation.OPTIONS]
    theme = [*translation.ASKED, *translation.THEME]
    return [*mistakes, *own, *translation.script_texts(), *options, config["title"], config["author"], *theme]


def read(path):
    with open(path, "rb") as file:
        return read_po(file)


def updated(path, texts):
    """The catalogue of a file for these English texts; what is fuzzy or has no translation is for a translator."""
    catalogue = read(path) if path.exists() else Catalog()
    template = Catalog()
    for text in texts:
        template.add(text)
    catalogue.update(template)
    catalogue.obsolete.clear()
    ordered = Catalog(LANGUAGE, fuzzy=False)
    for text in texts:
        message = catalogue[text]
        ordered.add(text, message.string, flags=message.flags & {"fuzzy"}, previous_id=message.previous_id)
    return ordered


def write(path, catalogue):
    """Write a catalogue without what changes from day to day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = io.BytesIO()
    write_po(body, catalogue, width=100, include_previous=True, omit_header=True)
    head = f'msgid ""\nmsgstr ""\n"Language: {LANGUAGE}\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    path.write_text(head + body.getvalue().decode().rstrip("\n") + "\n", encoding="utf-8")


def catalogues():
    """Every catalogue's file, and the texts that it should have."""
    pages = page_texts()
    ours = dict.fromkeys(filter(str.strip, [*pages.pop(""), *package_texts()]))
    return {PAGES / f"{name}.po": texts for name, texts in pages.items()} | {translation.CATALOGUE: list(ours)}


def main():
    wanted = catalogues()
    for path in set(PAGES.rglob("*.po")) - set(wanted):
        path.unlink()  # of a page that is no longer there
    left = []
    for path, texts in wanted.items():
        catalogue = updated(path, texts)
        write(path, catalogue)
        left += [message for message in catalogue if message.id and (message.fuzzy or not message.string)]
    compiled = read(translation.CATALOGUE)
    compiled.creation_date = datetime(2026, 1, 1)  # else that of the day, and a file that always differs
    with open(translation.CATALOGUE.with_suffix(".mo"), "wb") as file:
        write_mo(file, compiled)
    print(f"{len(left)} texts have no translation, or one of an earlier English")


if __name__ == "__main__":
    main()
