"""Sphinx extension: a notebook downloaded from a page says what it is, and installs what it needs where that is missing.

The package is in no registry, so the book carries it: a wheel beside the pages, offered in the menu with the notebook. Where
`html_baseurl` says at which address the pages stand, the notebook installs it from there; otherwise from a file beside itself.
"""

import base64
import hashlib
import re
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import nbformat

import metacalc

ROOT, PACKAGE = Path(__file__).parent.parent, Path(metacalc.__file__).parent
ABOUT = metadata("metacalc")
ABOUT.replace_header("Version", metacalc.__version__)  # the code's own, whatever it was when it was installed for editing
WHEEL = f"metacalc-{metacalc.__version__}-py3-none-any.whl"
BOOK = "metacalc: the calculus of learning to learn"
STRING = re.compile(r"""["']([^"'\n]*/[^"'\n]+)["']""")


def digest(data):
    """As a wheel's RECORD writes it.

    Examples
    --------
    >>> digest(b"")
    'sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_wheel(folder):
    """The package as a wheel: a pure package's is an archive of its files, with what is known of it and a list of hashes."""
    about = f"metacalc-{metacalc.__version__}.dist-info"
    paths = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js", ".css", ".typed"))
    files = {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in paths}
    files[f"{about}/METADATA"] = ABOUT.as_string().encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: metacalc\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    record = "".join(f"{name},{digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)  # the same every time


def reads(notebook, folder):
    """The files of the course that a notebook's cells name, from the folder it is in."""
    named = {name for cell in notebook.cells if cell.cell_type == "code" for name in STRING.findall(cell.source)}
    return sorted(name for name in named if (folder / name).is_file())


def beginning(title, files, address):
    """The two cells that a downloaded notebook begins with.

    Parameters
    ----------
    title : str
        The chapter's.
    files : list of str
        What it reads from the course's folder.
    address : str
        Where the book is, with a slash at its end, or nothing.
    """
    where = f"{address}_static/{WHEEL}"
    source = f"from <{where}>." if address else (
        f"from the file `{WHEEL}`: every chapter's download menu has it, put it beside this notebook.")
    lines = [f"This is *{title}* from the course **{BOOK}**, as its page was built.",
             f"The next cell installs what it needs where that is missing (Python 3.11 or newer), {source}",
             "In a clone of the course nothing is missing, and theorems look as on the page: `make lab` opens it there."]
    if files:
        lines[2] += (f" This chapter runs as a whole only there, for it reads {', '.join(f'`{name}`' for name in files)}, "
                     "which the package does not bring.")
    wheel = f"metacalc[course] @ {where}" if address else f"./{WHEEL}[course]"
    install = f'try:\n    import metacalc\nexcept ImportError:\n    %pip install --quiet "{wheel}"'
    return [nbformat.v4.new_markdown_cell("\n\n".join(lines), id="about-this-copy"),
            nbformat.v4.new_code_cell(install, id="install-metacalc")]


def complete(path, output, address):
    """Write a chapter's notebook as it is downloaded."""
    notebook = nbformat.read(path, as_version=4)
    title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]
    notebook.cells[:0] = beginning(title, reads(notebook, path.parent), address)
    output.write_text(nbformat.writes(notebook, indent=1) + "\n", encoding="utf-8")


def complete_all(app, error):
    if error or app.builder.format != "html":
        return
    address = app.config.html_baseurl and app.config.html_baseurl.rstrip("/") + "/"
    sources = Path(app.outdir) / "_sources"
    for output in sources.rglob("*.ipynb"):
        path = Path(app.srcdir) / output.relative_to(sources)
        if path.exists():  # not one of an earlier build
            complete(path, output, address)


def lay(app, config):
    write_wheel(Path(app.doctreedir).parent / "assets")


def offer(app, pagename, templatename, context, doctree):
    """The wheel in the menu with the notebook."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons" and context.get("page_source_suffix") == ".ipynb":
            address = context["pathto"](f"_static/{WHEEL}", 1)
            group["buttons"].insert(1, {"type": "link", "url": address, "text": ".whl: the package", "icon": "fas fa-box",
                                        "tooltip": "What the notebook needs where metacalc is not installed"})


def setup(app):
    app.connect("config-inited", lay, priority=600)  # once the folder of assets is there
    app.connect("html-page-context", offer, priority=600)  # once the theme's buttons are
    app.connect("build-finished", complete_all)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
