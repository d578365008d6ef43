"""Sphinx extension: a notebook downloaded from a page says what it is, and installs what it needs where that is missing.

The package is in no registry, so the book carries it: a wheel beside the pages, offered in the menu with the notebook. Where
`html_baseurl` says at which address the pages stand, the notebook installs it from there; otherwise from a file beside itself.
All notebooks together are an archive with the wheel and with what they read. The first page offers that, and the PDF of
the book where `make pdf` has printed these very pages.
"""

import base64
import hashlib
import os
import re
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import nbformat
from docutils import nodes
from translation import is_source, shared

import metacalc
from metacalc.words import listed, t

ROOT, PACKAGE = Path(__file__).resolve().parent.parent, Path(metacalc.__file__).parent
ABOUT = metadata("metacalc")
ABOUT.replace_header("Version", metacalc.__version__)  # the code's own, whatever it was when it was installed for editing
WHEEL = f"metacalc-{metacalc.__version__}-py3-none-any.whl"
BOOK = "metacalc: the calculus of learning to learn"
ZIP, PDF = "_downloads/metacalc-notebooks.zip", "_downloads/metacalc.pdf"
COPIES = "gh-pages/_sources"  # the branch of the published pages, and where in it the notebooks are that install what they need
PLACE = re.compile("<!-- pdf (.*?) -->.*?<!-- /pdf -->", re.DOTALL)  # with what is said there
PRINTED = ", and [the book on paper] (PDF, {size} MB)"
STRING = re.compile(r"""["']([^"'\n]*/[^"'\n]+)["']""")


def digest(data):
    """As a wheel's RECORD writes it.

    Examples
    --------
    >>> digest(b"")
    'sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_zip(path, files):
    """An archive of files, a dictionary of names and bytes; the same every time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


def write_wheel(folder):
    """The package as a wheel: a pure package's is an archive of its files, with what is known of it and a list of hashes."""
    about = f"metacalc-{metacalc.__version__}.dist-info"
    paths = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js", ".css", ".mo", ".typed"))
    files = {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in paths}
    files[f"{about}/METADATA"] = ABOUT.as_string().encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: metacalc\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    record = "".join(f"{name},{digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    write_zip(folder / WHEEL, files)


def reads(notebook, folder):
    """The files of the course that a notebook's cells name, from the folder it is in."""
    named = {name for cell in notebook.cells if cell.cell_type == "code" for name in STRING.findall(cell.source)}
    return sorted(name for name in named if (folder / name).is_file())


def beginning(title, files, address, wheel=None):
    """The two cells that a downloaded notebook begins with.

    Parameters
    ----------
    title : str
        The chapter's.
    files : list of str
        What it reads from the course's folder.
    address : str
        Where the book is, with a slash at its end, or nothing.
    wheel : str, optional
        Where the archive of all notebooks has the package, seen from this one, and with it what the notebook reads.
    """
    where = wheel or f"{address}_static/{WHEEL}"
    source = t("from the file `{file}` of this archive.", file=wheel) if wheel else (
        t("from <{address}>.", address=where) if address else
        t("from the file `{file}`: every chapter's download menu has it, put it beside this notebook.", file=WHEEL))
    lines = [t("This is *{title}* from the course **{book}**, as its page was built.", title=title, book=t(BOOK)),
             t("The next cell installs what it needs where that is missing (Python 3.11 or newer), {source}", source=source),
             t("In a clone of the course nothing is missing, and theorems look as on the page: `make lab` opens it there.")]
    if files and not wheel:
        lines[2] += t(" This chapter runs as a whole only there, for it reads {files}, which the package does not bring.",
                      files=listed(f"`{name}`" for name in files))
    package = f"{wheel}[course]" if wheel else f"metacalc[course] @ {where}" if address else f"./{WHEEL}[course]"
    install = f'try:\n    import metacalc\nexcept ImportError:\n    %pip install --quiet "{package}"'
    return [nbformat.v4.new_markdown_cell("\n\n".join(lines), id="about-this-copy"),
            nbformat.v4.new_code_cell(install, id="install-metacalc")]


def complete(path, address, wheel=None):
    """A chapter's notebook as it is downloaded, as text."""
    notebook = nbformat.read(path, as_version=4)
    title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]
    notebook.cells[:0] = beginning(title, reads(notebook, path.parent), address, wheel)
    return nbformat.writes(notebook, indent=1) + "\n"


def write_notebooks(path, pages, wheel):
    """All notebooks as an archive, in the course's folders, with the package and all that they read.

    Parameters
    ----------
    path : Path
        The archive.
    pages : iterable of Path
        The sources of the book's pages; those that are no notebooks come along as they are.
    wheel : Path
    """
    files = {f"metacalc/{WHEEL}": wheel.read_bytes(), "metacalc/LICENSE": (ROOT / "LICENSE").read_bytes()}
    for page in sorted(pages):
        name = f"metacalc/{page.relative_to(ROOT).as_posix()}"
        if page.suffix != ".ipynb":
            files[name] = page.read_bytes()
            continue
        files[name] = complete(page, "", os.path.relpath(ROOT / WHEEL, page.parent)).encode()
        for read in reads(nbformat.read(page, as_version=4), page.parent):
            place = (page.parent / read).resolve()
            files[f"metacalc/{place.relative_to(ROOT).as_posix()}"] = place.read_bytes()
    path.parent.mkdir(exist_ok=True)
    write_zip(path, files)


def complete_all(app, error):
    if error or app.builder.format != "html":
        return
    address = app.config.html_baseurl and app.config.html_baseurl.rstrip("/") + "/"  # of the English pages
    html, root = Path(app.outdir), Path(app.srcdir)
    for output in (html / "_sources").rglob("*.ipynb"):
        path = root / output.relative_to(html / "_sources")
        if path.exists():  # not one of an earlier build
            output.write_text(complete(path, address), encoding="utf-8")
    if not is_source(app.config):
        return
    pages = [Path(app.env.doc2path(name)).resolve() for name in app.env.found_docs]
    write_notebooks(html / ZIP, [page for page in pages if page.parent != ROOT], Path(app.doctreedir).parent / "assets" / WHEEL)
    (html / PDF).unlink(missing_ok=True)  # it was of other pages
    offer_pdf(html, app.config.root_doc)


def take_along(app, doctree):
    """The place on the first page for what can be kept: the notebooks, and the PDF, which may not be there yet."""
    for place in doctree.findall(nodes.container):
        if "take-along" in place["classes"]:
            up = "../" * (app.env.docname.count("/") + (not is_source(app.config)))
            words = t("In one file: {link}all notebooks{end}, with what they need (zip){pdf}.", end="</a>",
                      link=f'<a href="{up}{ZIP}" download>', pdf=f"<!-- pdf {t(PRINTED)} --><!-- /pdf -->")
            place[:] = [nodes.raw("", f"<p>{words}</p>", format="html")]


def offer_pdf(html, root_page):
    """Make the first page of a built book link to its PDF where that has been printed, and not where it has not.

    Parameters
    ----------
    html : Path
        The folder of the built book.
    root_page : str
        The first page's name, without its ending.
    """
    printed = html / PDF
    for page in filter(Path.exists, (html / f"{root_page}.html", html / f"zh/{root_page}.html")):
        up = "../" * len(page.relative_to(html).parent.parts)

        def link(place, up=up):
            words = place[1].replace("[", f'<a href="{up}{PDF}" download>').replace("]", "</a>")
            there = words.format(size=f"{printed.stat().st_size / 1e6:.0f}") if printed.exists() else ""
            return f"<!-- pdf {place[1]} -->{there}<!-- /pdf -->"

        text = PLACE.sub(link, page.read_text(encoding="utf-8"))
        page.unlink()  # which may have another name elsewhere
        page.write_text(text, encoding="utf-8")


def lay(app, config):
    if is_source(config):
        write_wheel(Path(app.doctreedir).parent / "assets")


def offer(app, pagename, templatename, context, doctree):
    """The wheel in the menu with the notebook; and Colab, which has no metacalc, opens the notebook that installs it."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button["text"] == "Colab":
                button["url"] = re.sub("/blob/[^/]+/", f"/blob/{COPIES}/", button["url"])
        if group.get("label") == "download-buttons" and context.get("page_source_suffix") == ".ipynb":
            address = context["pathto"](f"_static/{shared(app.config, WHEEL)}", 1)
            group["buttons"].insert(1, {"type": "link", "url": address, "text": t(".whl: the package"), "icon": "fas fa-box",
                                        "tooltip": t("What the notebook needs where metacalc is not installed")})


def setup(app):
    app.connect("config-inited", lay, priority=600)  # once the folder of assets is there
    app.connect("doctree-read", take_along)
    app.connect("html-page-context", offer, priority=600)  # once the theme's buttons are
    app.connect("build-finished", complete_all)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
