"""A real browser, a server and the pages of the built book. In CI a missing one is a failure, elsewhere a skip that is said.

Opening a page costs more than most of what is asked of it. So a page is opened twice, as a reader at a desk and one with
a phone has it, and the tests of a page, of whatever file, follow one another in one process.
"""

import functools
import http.server
import importlib.util
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

from metacalc.live import Formula
from metacalc.marks import Path as GrowingPath
from metacalc.spec import entry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book"))
import browser as chromium  # noqa: E402

HTML = ROOT / "_build/html"
# The package is tested by itself too, without what builds the book: these need it.
OF_THE_BOOK = ["test_book*", "test_downloads.py", "test_lint.py", "test_notebooks.py", "test_pack.py", "test_page_*.py",
               "test_rooms.py", "test_selfcheck.py", "test_whole.py", "test_zh.py"]
ALONE = importlib.util.find_spec("jupyter_book") is None
collect_ignore_glob = OF_THE_BOOK if ALONE else []
LONG = {"05_practice.ipynb", "07_tools.ipynb", "test_book_firefox.py", "test_figures.py", "test_hub.py", "test_lab.py",
        "test_page_draw.py", "test_page_python.py", "test_pdf.py", "test_publish.py", "test_vision_scale.py", "test_zh.py"}
# Of `filterwarnings("error")`: what another test has left open is found whenever Python happens to look for it.
NOT_OURS = ("ignore::pytest.PytestUnraisableExceptionWarning",)
DESK = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "reduced_motion": "no-preference"}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": "dark", "reduced_motion": "reduce"}


def pages_of(entry):
    yield from ([entry["file"]] if "file" in entry else [])
    yield from ([entry["root"]] if "root" in entry else [])
    for key in ("parts", "chapters", "sections", "subtrees", "entries"):
        for child in entry.get(key, []):
            yield from pages_of(child)


PAGES = list(pages_of(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What stays together in one process: the tests of a page, of a notebook, of a file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPage(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            return next((page for page in PAGES if re.search(rf"\[(.*-)?{re.escape(page)}(-.*)?\]", test)), file)

    return ByPage(config, log)


def pytest_collection_modifyitems(items):
    """What takes long and is one piece comes first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


def number_of(n, what):
    """As a readout says it: 1 step, 2 steps."""
    return f"{n:.0f} {what}{'' if n == 1 else 's'}"


def only_for_the_legend(mark):
    """Holds a curve to what it is there for: beside the picture, where nobody sees it, it gives the legend its entry."""
    low, high = mark.ax.get_xlim()
    assert mark.label and mark.x.shape == mark.y.shape == (2,)
    assert mark.x[0] == mark.x[1] and not low <= mark.x[0] <= high and not mark.y.any()


def close(table, expected):
    expected = np.broadcast_to(expected, np.broadcast_shapes(np.shape(table), np.shape(expected)))
    np.testing.assert_allclose(np.broadcast_to(table, expected.shape), expected, rtol=1e-9, atol=1e-9)


def positions(stage, count=24):
    """Positions to look at where a figure has too many for all: the start, the corners' two, and some at random."""
    sizes, rng = [s.values.size for s in stage.sliders], np.random.default_rng(0)
    random = map(tuple, rng.integers(sizes, size=(count, len(sizes))))
    return [stage.position, (0,) * len(sizes), tuple(n - 1 for n in sizes), *random]


def shown(stage, mark, index):
    """The coordinates of a mark at a position: numbers, or of a line of a formula the arrays along it."""
    line = isinstance(mark, GrowingPath) or mark.length
    return [entry(a, index, int(isinstance(a, Formula) and line or mark.length), stage.sliders)
            for a in (getattr(mark, name) for name in mark.coordinates)]


def answer(stage, index):
    """What the figure's guess is held to at a position."""
    return entry(stage.guess.answer, index, sliders=stage.sliders)


def pytest_report_header():
    return "Jupyter Book is not installed: the tests of the book are left out" if ALONE else None


def missing(what):
    """Skip aloud, or fail where everything must be there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def optional(module):
    """A framework that a reader need not have: without it the test is skipped aloud, but in CI it fails."""
    if os.environ.get("CI"):
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"{module} is not installed, its oracle was not asked")


def python_in_pages():
    """What the tests of Python in the pages need of the book."""
    if not (HTML / "_static/python/manifest.json").exists():
        missing("the book was built without Python in its pages: METACALC_PYODIDE names a folder with Pyodide's files")


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    if chromium.program() is None:
        missing("no Chromium on this machine: the pages are not tested in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.program(), args=chromium.FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server():
    """Address of a server for the built book, and the paths that it could not find."""
    if not (HTML / "index.html").exists():
        missing("the book is not built: run `make book`")
    not_found = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def send_error(self, code, *args):
            not_found.append(self.path)
            super().send_error(code, *args)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=HTML)) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}/", not_found
        http_server.shutdown()


@pytest.fixture(scope="session")
def opened(browser, server):
    """Pages of the book that are open: a function from name and kind of reader to the page and its troubles so far."""
    address, not_found = server
    pages = {}

    def close(keep=None):
        for key in [key for key in pages if key[0] != keep]:
            pages.pop(key)[0].context.close()

    def visit(page_name, reader):
        close(keep=page_name)
        key = page_name, str(reader)
        if key not in pages:
            base = address if reader is DESK else f"{HTML.as_uri()}/"
            troubles = []
            page = heard(browser.new_context(**reader).new_page(), troubles)
            page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
            page.on("request", lambda request: None if request.url.startswith((base, "data:", "blob:"))
                    else troubles.append(f"left: {request.url}"))
            pages[key] = page, troubles
            page.goto(f"{base}{page_name}.html")
            page.evaluate("window.MathJax?.startup?.promise.then(() => true)")
            page.wait_for_function("!document.querySelector('.stage:not([data-live])')")
        return pages[key]

    yield visit
    close()
    assert not not_found, not_found


def heard(page, wrong):
    """The page, whose warnings and errors go into a list."""
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    return page


@pytest.fixture(scope="module")
def tab(browser, server):
    """A function that opens a page with Python, with its own memory or that of an earlier one; nothing leaves the server."""
    python_in_pages()
    contexts, left = [], []

    def opened(page_name, reader=DESK, context=None, script="", fragment=""):
        if context is None:
            context = browser.new_context(**reader)
            contexts.append(context)
        page = context.new_page()
        page.add_init_script(script)
        foreign = lambda request: not request.url.startswith((server[0], "data:", "blob:"))
        page.on("requestfinished", lambda r: left.append(r.url) if foreign(r) else None)
        page.on("requestfailed", lambda r: left.append(r.url) if foreign(r) and r.failure != "csp" else None)
        page.goto(f"{server[0]}{page_name}.html{fragment}")
        page.locator(".cell-tools").first.wait_for(state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not left


@pytest.fixture
def visit(opened, server):
    """Open a page, or come back to it; and fail at the end if anything went wrong on it or anything left the server."""
    wrong = [server[1]]

    def opened_page(page_name, reader=DESK):
        page, troubles = opened(page_name, reader)
        wrong.append(troubles)
        return page

    yield opened_page
    told = [trouble for troubles in wrong for trouble in troubles]
    for troubles in wrong:
        troubles.clear()
    assert not told
