"""Sphinx extension: Python in the built pages, on request, from files beside them (see `python/pack.py`).

Marks what a reader can run and answer; the scripts in `python/` bring it to life. Where Pyodide's files cannot be had, the
book is built without, and says so.
"""

import json
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

HERE = Path(__file__).parent / "python"
sys.path.insert(0, str(HERE))
import pack  # noqa: E402

SCRIPTS = ("client.js", "cells.js", "exercises.js", "own.js")
STYLES = ("python.css", "own.css")
CHECK = re.compile(r'^check\("([\w-]+)", \.\.\.\)\s*\Z', re.MULTILINE)
SYMBOLS = re.compile(r'= sp\.symbols?\("([^"]+)"')
log = logging.getLogger(__name__)


def page_script(sizes):
    """All of a page's scripts as one, which sees nothing of theirs and shows nothing of its own but `metacalc`."""
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\nconst SIZES = {json.dumps(sizes)};\n{text}\n}})();\n'


def megabytes(manifest):
    """What a page names before it loads anything: MB of each archive, and of Pyodide itself."""
    files = {archive["file"] for archive in manifest["archives"].values()}
    sizes = {name: manifest["sizes"][archive["file"]] / 1e6 for name, archive in manifest["archives"].items()}
    sizes["runtime"] = sum(size for name, size in manifest["sizes"].items() if name not in files) / 1e6
    return {name: round(size, 2) for name, size in sizes.items()}


def prepare(app, config):
    """Get what the pages load; without it the book has no Python in its pages."""
    folder = Path(app.doctreedir).parent / "assets"
    try:
        manifest = pack.lay(folder / "python")
    except pack.Unavailable as error:
        log.info(f"The book is built without Python in its pages: {error}")
        config.html_context["python_in_page"] = False
        return
    style = "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    (folder / "python.css").write_text(style, encoding="utf-8")
    (folder / "python.js").write_text(page_script(megabytes(manifest)), encoding="utf-8")
    app.add_css_file("python.css")
    app.add_js_file("python.js", loading_method="defer")


def mark_exercises(app, doctree):
    """Of a cell that only asks for an answer, take the verdict on no answer away, and note which exercise it belongs to."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code":
            continue
        source = next(iter(cell.findall(nodes.literal_block))).astext()
        asked = CHECK.search(source)
        if asked:
            for output in [n for n in cell.findall(nodes.container) if n.get("nb_element") == "cell_code_output"]:
                output.parent.remove(output)
            names = " ".join(m[1] for m in SYMBOLS.finditer(source)).split()
            cell["classes"] += ["answer-cell", f"exercise-{asked[1]}", *(f"symbol-{name}" for name in names)]


def setup(app):
    app.connect("config-inited", prepare, priority=600)  # once the folder of assets is there
    app.connect("doctree-read", mark_exercises)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
