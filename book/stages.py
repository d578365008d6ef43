"""Sphinx extension: live figures without a kernel, and the assets of others from pinned packages, not from a CDN."""

import base64
import html
import json
import os
import re
from pathlib import Path

import mathjax
from docutils import nodes
from execute import quiet_kernels
from myst_nb.core.render import WIDGET_VIEW_MIMETYPE
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.util.fileutil import copy_asset
from translation import is_source, notes, shared, theme_in

import metacalc
from metacalc.stage import style_sheet
from metacalc.words import spoken, t

HERE = Path(__file__).parent
os.environ["TQDM_DISABLE"] = "1"  # no cell of a page shows a progress bar
PACKAGE = Path(metacalc.__file__).parent
MATHJAX = Path(mathjax.__file__).parent / "static/mathjax/es5"


def host_script():
    """What brings a page's stages to life, with their module as a function: a page opened from a file cannot import one."""
    source = (PACKAGE / "stage.js").read_text(encoding="utf-8")
    module = re.sub(r"/\*\*.*?\*/\s*", "", source, flags=re.DOTALL)  # the types are for who reads the source
    module = re.sub(r"^export (default|\{.*\};\n)", lambda m: "return" if m[1] == "default" else "", module, flags=re.MULTILINE)
    return f"const stageModule = () => {{\n{module}}};\n" + (HERE / "host.js").read_text(encoding="utf-8")


def write_assets(app, config):
    """Collect what every page may load in a folder that Sphinx copies."""
    folder = Path(app.doctreedir).parent / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stage-host.js").write_text(host_script(), encoding="utf-8")
    (folder / "stage.css").write_text(style_sheet(), encoding="utf-8")
    copy_asset(HERE / "book.css", folder)
    copy_asset(HERE / "wide.js", folder)
    if is_source(config):
        copy_asset(MATHJAX / "tex-mml-chtml.js", folder / "mathjax")
        fonts = "output/chtml/fonts/woff-v2"
        copy_asset(MATHJAX / fonts, folder / "mathjax" / fonts)
    config.html_static_path.append(str(folder))
    config.mathjax_path = shared(config, "mathjax/tex-mml-chtml.js")


def place_stages(app, doctree):
    """Put each stage's static picture and its data where myst-nb left only a widget's number."""
    scripts = NbMetadataCollector.get_js_files(app.env, app.env.docname)
    for key in [k for k in scripts if k.startswith("ipywidgets_") and k != "ipywidgets_state"]:
        del scripts[key]
    _, attributes = scripts.pop("ipywidgets_state", (None, {"body": '{"state": {}}'}))
    models = json.loads(attributes["body"])["state"]
    for node in list(doctree.findall(nodes.raw)):
        if f'type="{WIDGET_VIEW_MIMETYPE}"' not in node.astext():
            continue
        view = json.loads(node.astext().split(">", 1)[1].rsplit("<", 1)[0])
        model = models[json.loads(view)["model_id"] if isinstance(view, str) else view["model_id"]]
        is_stage = model["state"].get("_anywidget_id") == "metacalc.stage.Stage"
        replacement = nodes.raw("", stage_html(model) if is_stage else needs_kernel(), format="html")
        node.replace_self(replacement)
        if is_stage:
            spoken(model["state"], notes(app.env))
            # Before MathJax: each figure changes the page's layout, which takes ten times as long once there are formulas.
            scripts["stage_host"] = ("stage-host.js", {"loading_method": "defer", "priority": 400})


def needs_kernel():
    words = t("The controls of this cell need a running kernel: start the course with {command} and run the cell there.",
              command="<code>make lab</code>")
    return f'<p class="needs-kernel">{words}</p>'


def stage_html(model):
    """The static picture, with the data that the host script brings it to life with."""
    state = spoken(model["state"])
    (table,) = (b["data"] for b in model["buffers"] if b["path"] == ["table"])
    base64.b64decode(table, validate=True)
    spec = state["spec"]
    data = {"spec": spec, "table": table, **{s["name"]: state[s["name"]] for s in spec["sliders"]}}
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    panels = "".join(f'<div class="stage-panel">{svg}</div>' for svg in state["pictures"])
    rows = len(spec["sliders"]) + any("toggle" in mark for mark in spec["marks"])
    return (f'<div class="stage"><div class="stage-panels" role="img" aria-label="{html.escape(spec["alt"])}">{panels}'
            f'</div><div class="stage-controls stage-reserve" style="--rows: {rows}"></div>'
            f'<output class="stage-readout">{html.escape(spec["text"])}</output></div>'
            f'<script type="application/json" class="stage-data">{payload}</script>')


def save(stage, path):
    """Write one page with a stage, live as in the book and with all that it needs, to look at while the figure is made.

    Parameters
    ----------
    stage : metacalc.Stage
    path : str or Path
        The file, which a browser opens.
    """
    state = {"spec": stage.spec, "pictures": stage.pictures, **{s.name: getattr(stage, s.name) for s in stage.sliders}}
    table = {"path": ["table"], "data": base64.b64encode(stage.table).decode()}
    Path(path).write_text('<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>A live figure</title>'
                          f"<style>{stage._css}</style>{stage_html({'state': state, 'buffers': [table]})}"
                          f"<script>{host_script()}</script></html>", encoding="utf-8")


def chinese(name, rawtext, text, lineno, inliner, options=None, content=None):
    """The role `zh`: Chinese text, marked as such for screen readers and fonts (see `polish`)."""
    return [nodes.inline(rawtext, text, classes=["zh"])], []


def polish(app, error):
    """Mend five things in what the theme, docutils and Sphinx write, for which none has a setting.

    The theme's icons come from its style sheet and font as well as from a script of half a megabyte: the script goes.
    docutils gives the entries of a bibliography a role that ARIA no longer lets a list contain, and has no way to say
    which language a phrase is in. Sphinx makes a list of definitions without terms of the parameters in a signature. Some words
    of the theme have no translation.
    """
    if error or app.builder.format != "html":
        return
    output = Path(app.outdir)
    for page in output.rglob("*.html"):
        if "zh" in page.relative_to(output).parts:  # polished already
            continue
        text = page.read_text(encoding="utf-8")
        text = re.sub(r'<script[^>]*scripts/fontawesome\.js[^>]*></script>', "", text)
        text = text.replace('role="doc-biblioentry"', 'role="listitem"').replace('<span class="zh">', '<span lang="zh-Hans">')
        text = re.sub(r'<dt class="sig sig-object.*?</dt>', lambda m: re.sub(
            "<(/?)d[ld]>", lambda tag: "</span>" if tag[1] else '<span class="sig-line">', m[0]), text, flags=re.DOTALL)
        page.write_text(theme_in(text), encoding="utf-8")
    for unused in {*output.glob("_static/scripts/fontawesome.js*"), *output.glob("_static/**/*.map")}:
        unused.unlink()


def setup(app):
    quiet_kernels()  # for who builds without book/execute.py
    app.add_role("zh", chinese)
    app.connect("config-inited", write_assets)
    app.connect("doctree-read", place_stages)
    app.connect("build-finished", polish)
    app.add_css_file("stage.css")
    app.add_css_file("book.css")
    app.add_js_file("wide.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
