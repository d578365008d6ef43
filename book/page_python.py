"""Sphinx extension: Python in the built pages, on request, from files beside them (see `python/pack.py`).

Marks what a reader can run and answer; the scripts in `python/` bring it to life. Where Pyodide's files cannot be had, the
book is built without, and says so.
"""

import html
import json
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from notebooks import code_cells
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset
from translation import is_source, shared

from metacalc.course.answers import EXERCISES
from metacalc.words import t

HERE, ROOT = Path(__file__).parent / "python", Path(__file__).parent.parent
sys.path.insert(0, str(HERE))
import pack  # noqa: E402

SCRIPTS = ("client.js", "output.js", "cells.js", "exercises.js", "own.js", "download.js")  # order: the last ones start them
STYLES = ("python.css", "own.css", "draw.css")
ALONE = {"draw.js": "draw-character"}  # scripts that only pages load which have a part of that class, after the others
CHECK = re.compile(r'^check\("([\w-]+)", \.\.\.\)\s*\Z', re.MULTILINE)
SYMBOLS = re.compile(r'= sp\.symbols?\("([^"]+)"')
log = logging.getLogger(__name__)


def scoped(*parts):
    """A script in a scope of its own, where `t` is the function that looks words up."""
    return '(() => {\n"use strict";\nconst t = window.metacalcT;\n' + "\n".join(parts) + "})();\n"


def page_script(constants):
    """All of a page's scripts as one, after the constants that the build knows."""
    known = [f"const {name} = {json.dumps(value, separators=(',', ':'))};" for name, value in constants.items()]
    return scoped(*known, *((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS))


def exercises():
    """The names of every page's exercises, where it has any."""
    asked = {page: [m[1] for cell in cells for m in CHECK.finditer(cell.source)] for page, cells in code_cells().items()}
    return {page: names for page, names in asked.items() if names}


def megabytes(manifest):
    """What a page names before it loads anything: MB of each archive, and of Pyodide itself."""
    files = {archive["file"] for archive in manifest["archives"].values()}
    sizes = {name: manifest["sizes"][archive["file"]] / 1e6 for name, archive in manifest["archives"].items()}
    sizes["runtime"] = sum(size for name, size in manifest["sizes"].items() if name not in files) / 1e6
    return {name: round(size, 2) for name, size in sizes.items()}


def prepare(app, config):
    """Get what the pages load. Without it the book has no Python in its pages."""
    folder = Path(app.doctreedir).parent / "assets"
    try:
        if is_source(config):
            lay(folder)
        else:
            pack.look()
    except pack.Unavailable as error:
        log.info(f"The book is built without Python in its pages: {error}")
        return
    app.add_css_file(shared(config, "python.css"))
    app.add_js_file(shared(config, "python.js"), loading_method="defer")


def lay(folder):
    """Write what the pages of all languages load."""
    manifest = pack.lay(folder / "python")
    style = "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    (folder / "python.css").write_text(style, encoding="utf-8")
    constants = {"SIZES": megabytes(manifest), "EXERCISES": exercises()}
    (folder / "python.js").write_text(page_script(constants), encoding="utf-8")
    for name in ALONE:
        (folder / name).write_text(scoped((HERE / name).read_text(encoding="utf-8")), encoding="utf-8")


def copy_again(app, error):
    """Sphinx copies assets only with a page that changed: here a script may have changed alone."""
    if not error and app.builder.format == "html":
        shutil.rmtree(Path(app.outdir) / "_static/python", ignore_errors=True)  # an earlier build's files have other names
        copy_asset(Path(app.doctreedir).parent / "assets", Path(app.outdir) / "_static")


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
            if EXERCISES[asked[1]].program:
                cell["classes"].append("asks-program")
            names = " ".join(m[1] for m in SYMBOLS.finditer(source)).split()
            cell["classes"] += ["answer-cell", f"exercise-{asked[1]}", *(f"symbol-{name}" for name in names)]


def describe(app, pagename, templatename, context, doctree):
    """Tell the page which it is and what is known of its cells. It may connect to its own server alone, and its worker too."""
    known = json.loads((HERE / "cells.json").read_text(encoding="utf-8")).get(pagename, {})
    listed = [[cell.id, *known.get(cell.id, [])] for cell in code_cells().get(pagename, [])]
    policy = '<meta http-equiv="Content-Security-Policy" content="connect-src \'self\'">'
    metas = {"metacalc-page": pagename, "metacalc-cells": json.dumps(listed, separators=(",", ":"))}
    tags = [f'<meta name="{name}" content="{html.escape(value)}">' for name, value in metas.items()]
    context["metatags"] = context.get("metatags", "") + policy + "".join(tags)
    has_python = "python.js" in {Path(str(getattr(file, "filename", file))).name for file in context["script_files"]}
    for name, part in ALONE.items():
        if has_python and re.search(rf'class="[^"]*\b{part}\b', context.get("body", "")):
            app.add_js_file(shared(app.config, name), loading_method="defer")
    if listed and not has_python:
        words = t("This copy of the book was built without Python in its pages.")
        context["body"] = context["body"].replace("</h1>", f'</h1>\n<p class="reading-time">{words}</p>', 1)


def setup(app):
    app.connect("config-inited", prepare, priority=600)  # once the folder of assets is there
    app.connect("doctree-read", mark_exercises)
    app.connect("html-page-context", describe)
    app.connect("build-finished", copy_again)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
