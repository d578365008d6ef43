"""What a reader takes along from the pages: notebooks that say what they are, the package, their own cells."""

import ast
import json
import re
import subprocess
import sys
import zipfile

import downloads
import nbformat
import pytest
from notebooks import code_cells

import metacalc
from conftest import HTML, ROOT, missing
from test_stage_js import node

NOTEBOOKS = [f"{page}.ipynb" for page in code_cells()]
PAGE = "chapters/02_calculus_link"
NEED_A_CLONE = {"04_bilevel", "05_practice", "07_tools", "08_learned_optimisers", "08_new_tasks", "09_faq", "language",
                "overview", "recommendation", "vision"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_downloaded_notebook_says_what_it_is_and_installs_what_is_missing(name):
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    made = nbformat.read(HTML / "_sources" / name, as_version=4)
    nbformat.validate(made)
    about, install, *rest = made.cells
    assert (about.cell_type, install.cell_type) == ("markdown", "code")
    assert rest == nbformat.read(ROOT / name, as_version=4).cells
    title = re.search("^# (.+)$", rest[0].source, re.MULTILINE)[1]
    lines = about.source.split("\n\n")
    assert len(lines) == 3 and title in lines[0] and downloads.WHEEL in lines[1] and "make lab" in lines[2]
    assert ("runs as a whole only there" in lines[2]) == ((ROOT / name).stem in NEED_A_CLONE)
    for file in re.findall("`([^`]+/[^`]+)`", lines[2]):
        assert ((ROOT / name).parent / file).is_file()
    assert "about-this-copy" not in (ROOT / name).read_text(encoding="utf-8")
    page = (HTML / name).with_suffix(".html").read_text(encoding="utf-8")
    for link in (f"_sources/{name}", f"_static/{downloads.WHEEL}"):
        assert len(re.findall(rf'href="[./]*{link}"', page)) == 1


def test_the_archive_of_all_notebooks_has_what_they_read_and_what_they_install(tmp_path):
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    with zipfile.ZipFile(HTML / downloads.ZIP) as archive:
        assert not [name for name in archive.namelist() if not name.startswith("metacalc/") or ".." in name]
        archive.extractall(tmp_path)
    course = tmp_path / "metacalc"
    assert {path.relative_to(course).as_posix() for path in course.rglob("*.ipynb")} == set(NOTEBOOKS)
    for name in NOTEBOOKS:
        about, install, *rest = nbformat.read(course / name, as_version=4).cells
        assert rest == nbformat.read(ROOT / name, as_version=4).cells
        wheel = re.search(r'"([^"]+)\[course\]"', install.source)[1]
        assert ((course / name).parent / wheel).resolve() == course / downloads.WHEEL and f"`{wheel}`" in about.source
        files = downloads.reads(nbformat.from_dict({"cells": rest}), (ROOT / name).parent)
        assert all(((course / name).parent / file).is_file() for file in files)
        assert bool(files) == ((ROOT / name).stem in NEED_A_CLONE) and "runs as a whole only there" not in about.source
    assert (course / downloads.WHEEL).read_bytes() == (HTML / "_static" / downloads.WHEEL).read_bytes()


def test_the_first_page_links_the_pdf_only_where_it_is(tmp_path):
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    text = (HTML / "chapters/intro.html").read_text(encoding="utf-8")
    assert len(re.findall(f'href="../{downloads.ZIP}"', text)) == 1
    assert (f'href="../{downloads.PDF}"' in text) == (HTML / downloads.PDF).exists()
    page, printed = tmp_path / "chapters/intro.html", tmp_path / downloads.PDF
    page.parent.mkdir()
    printed.parent.mkdir()
    page.write_text(text, encoding="utf-8")
    for there in (True, True, False, False):
        printed.write_bytes(bytes(3 * 10**6)) if there else printed.unlink(missing_ok=True)
        downloads.offer_pdf(tmp_path, "chapters/intro")
        made = page.read_text(encoding="utf-8")
        assert made.count(f'href="../{downloads.PDF}"') == there and ("(PDF, 3 MB)" in made) == there
        assert made.count(f'href="../{downloads.ZIP}"') == 1


def test_the_first_cell_installs_only_where_the_package_is_missing():
    """With %pip as a function: IPython's magic makes one of it."""
    asked = []
    for address, wanted in [("", f"./{downloads.WHEEL}[course]"),
                            ("https://example.org/", f"metacalc[course] @ https://example.org/_static/{downloads.WHEEL}")]:
        about, install = downloads.beginning("A chapter", [], address)
        assert "<https://example.org/_static/" in about.source if address else "beside this notebook" in about.source
        source = re.sub(r"%pip (.*)", r"pip(r'''\1''')", install.source)
        ast.parse(source)
        exec(source, {"pip": asked.append})
        assert not asked
        exec(source.replace("import metacalc", "raise ImportError"), {"pip": asked.append})
        assert asked.pop() == f'install --quiet "{wanted}"'


def test_the_wheel_is_the_package(tmp_path):
    """pip checks every hash of its list, and imports nothing."""
    downloads.write_wheel(tmp_path)
    wheel = tmp_path / downloads.WHEEL
    first = wheel.read_bytes()
    downloads.write_wheel(tmp_path)
    assert wheel.read_bytes() == first
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check",
                    "--no-compile", "--target", site, wheel], check=True)
    source = downloads.PACKAGE
    installed = {p.relative_to(site / "metacalc"): p.read_bytes() for p in (site / "metacalc").rglob("*") if p.is_file()}
    ours = [p for p in source.rglob("*") if p.is_file() and p.suffix not in (".po", ".pyc")]
    assert installed == {p.relative_to(source): p.read_bytes() for p in ours}
    code = "import importlib.metadata as m, metacalc.stage; print(metacalc.__file__, m.version('metacalc'))"
    told = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, cwd=tmp_path, check=True,
                          capture_output=True, text=True).stdout.split()
    assert told == [str(site / "metacalc/__init__.py"), metacalc.__version__] and metacalc.__file__ != told[0]


def test_in_node():
    run = subprocess.run([node(), "--test", ROOT / "tests/js/download.test.js"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
def page(browser, server):
    context = browser.new_context()
    yield context.new_page()
    context.close()


def taken(page, address):
    """What a click on the notebook's link downloads, and the name under which."""
    page.goto(address)
    page.locator(".dropdown-download-buttons > button").click()
    link = page.locator("a[href$='.ipynb']")
    words = link.inner_text().strip()
    with page.expect_download() as download:
        link.click()
    return words, download.value.suggested_filename, json.loads(download.value.path().read_text(encoding="utf-8"))


def test_a_reader_takes_changed_cells_along(page, server):
    if not (HTML / "_static/python/manifest.json").exists():
        missing("the book was built without Python in its pages: METACALC_PYODIDE names a folder with Pyodide's files")
    address, name = f"{server[0]}{PAGE}.html", f"{PAGE.split('/')[1]}.ipynb"
    offered = json.loads((HTML / f"_sources/{PAGE}.ipynb").read_text(encoding="utf-8"))
    assert taken(page, address) == (".ipynb", name, offered)
    page.get_by_role("button", name="Edit cell 2", exact=True).click()
    page.get_by_label("Code of cell 2").fill("print('mine')\n")
    words, called, made = taken(page, address)  # after a reload too
    assert (words, called) == (".ipynb with the cell you changed", name)
    different = [(a, b) for a, b in zip(offered["cells"], made["cells"], strict=True) if a != b]
    assert len(different) == 1
    ((before, after),) = different
    assert "".join(after["source"]) == "print('mine')\n" and after["outputs"] == [] and after["id"] == before["id"]
    assert before["id"] == [cell["id"] for cell in offered["cells"] if cell["cell_type"] == "code"][2]  # the first one installs
    nbformat.validate(nbformat.from_dict(made))
