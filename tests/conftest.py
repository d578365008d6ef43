"""A real browser and a server for the built book. In CI a missing one is a failure, elsewhere a skip that is said."""

import functools
import http.server
import importlib
import os
import shutil
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HTML = ROOT / "_build/html"
os.environ["TQDM_DISABLE"] = "1"  # for the notebooks' kernels: nobody watches a progress bar


def missing(what):
    """Skip aloud, or fail where everything must be there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def optional(module):
    """A framework that a reader need not have: without it the test is skipped aloud, but in CI it fails."""
    if os.environ.get("CI"):
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"{module} is not installed, its oracle was not asked")


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        missing("no Chromium on this machine: the pages are not tested in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"])
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
