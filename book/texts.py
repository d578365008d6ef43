"""Bring the Chinese catalogues up to date with the English: `make zh-texts`.

What is new has no translation yet, what changed keeps the old one, marked as fuzzy, and what is gone goes. Pages have a
catalogue each in `chapters/locale`; figures, exercises, outputs and scripts share that of the package.
"""

import ast
import sys
import tempfile
from pathlib import Path

import translation
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from editions import BUILD, ROOT, build

from metacalc.course.answers import EXERCISES

LANGUAGE = "zh_CN"
PAGES = ROOT / f"chapters/locale/{LANGUAGE}/LC_MESSAGES"
PYTHON = ["code/metacalc/*.py", "code/metacalc/course/answers/*.py", "book/*.py"]
VERDICTS = ROOT / "code/metacalc/course/answers"
OPTIONS = ("extra_footer", "search_bar_text")


def constants(node):
    """The texts that an expression may be: one, or either of a choice."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) + constants(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def python_texts(path):
    """Texts that a module gives to `t`; and those that a checker returns, which the verdict is made of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("t", "entries") and node.args:
            yield from constants(node.args[-1 if node.func.id == "entries" else 0])
        if isinstance(node, ast.Return) and node.value is not None and path.parent == VERDICTS:
            yield from constants(node.value)


def gather():
    """Read all pages, as for `sphinx-build -b gettext`; the texts of figures and outputs are noted by the way.

    Returns
    -------
    dict of str: list of str
        Every catalogue's name and its English texts, in the order in which they come.
    """
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        if build(Path(folder), "gettext", language=translation.SOURCE):
            sys.exit("The pages could not be read: see above.")
        made = Path(folder) / "gettext"
        pages = {path.relative_to(made).with_suffix("").as_posix(): read(path) for path in sorted(made.rglob("*.pot"))}
    return {name: list(dict.fromkeys([m.id for m in catalogue if m.id] + [*translation.beside.get(name, [])]))
            for name, catalogue in pages.items()}


def package_texts(config):
    """The texts of figures, outputs, exercises and scripts, and of the theme's options, each once."""
    own = [text for pattern in PYTHON for path in sorted(ROOT.glob(pattern)) for text in python_texts(path)]
    mistakes = [reason for exercise in EXERCISES.values() for _, reason in exercise.mistakes]
    return dict.fromkeys(filter(str.strip, [*translation.found, *mistakes, *own, *translation.script_texts(), *config]))


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
    ordered = Catalog(LANGUAGE, fuzzy=False, header_comment=f"# {path.stem}")
    for text in texts:
        message = catalogue[text]
        ordered.add(text, message.string, flags=message.flags - {"python-format"}, previous_id=message.previous_id)
    return ordered


def write(path, catalogue):
    """Write a catalogue without what changes from day to day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as file:
        write_po(file, catalogue, width=100, include_previous=True, omit_header=True)
        file.seek(0)
        body = file.read().decode()
    head = f'msgid ""\nmsgstr ""\n"Language: {LANGUAGE}\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    path.write_text(head + body.rstrip("\n") + "\n", encoding="utf-8")


def theme_texts():
    """What the configuration says in the theme."""
    import yaml

    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    options = config["sphinx"]["config"]["html_theme_options"]
    return [*(options[name] for name in OPTIONS), config["title"], config["author"]]


def main():
    pages = gather()
    for path in set(PAGES.rglob("*.po")) - {PAGES / f"{name}.po" for name in pages}:
        path.unlink()  # of a page that is no longer there
    for name, texts in pages.items():
        write(PAGES / f"{name}.po", updated(PAGES / f"{name}.po", texts))
    catalogue = updated(translation.CATALOGUE, package_texts(theme_texts()))
    write(translation.CATALOGUE, catalogue)
    with open(translation.CATALOGUE.with_suffix(".mo"), "wb") as file:
        write_mo(file, read(translation.CATALOGUE))
    left = [message for path in (*PAGES.rglob("*.po"), translation.CATALOGUE) for message in read(path)
            if message.id and (message.fuzzy or not message.string)]
    print(f"{len(left)} texts have no translation, or one of an earlier English")


if __name__ == "__main__":
    main()
