"""What lies beside the pages for their Python: where it comes from, that it is whole, and what is left out."""

import functools
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from types import SimpleNamespace

import page_python  # knows where pack is
import pytest

from conftest import HTML, ROOT, missing

pack = page_python.pack


@pytest.fixture
def release(monkeypatch, tmp_path):
    """A release of one file, in a folder of its own, and an empty cache."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "small.zip").write_bytes(b"whole")
    digest = hashlib.sha256(b"whole").hexdigest()
    monkeypatch.setattr(pack, "RELEASE", {"version": "0", "address": "http://127.0.0.1:9/", "files": {"small.zip": digest}})
    monkeypatch.setattr(pack, "CACHE", tmp_path / "cache")
    monkeypatch.delenv("METACALC_PYODIDE", raising=False)
    return source


def test_a_file_comes_from_the_folder_that_is_named(release, monkeypatch):
    monkeypatch.setenv("METACALC_PYODIDE", str(release))
    assert pack.fetched("small.zip") == release / "small.zip"
    (release / "small.zip").write_bytes(b"other")
    with pytest.raises(ValueError, match="SHA-256"):
        pack.fetched("small.zip")


def test_a_file_comes_over_the_network_once_and_is_checked(release, monkeypatch):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=release)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setitem(pack.RELEASE, "address", f"http://127.0.0.1:{server.server_port}/")
        assert pack.fetched("small.zip").read_bytes() == b"whole"
        server.shutdown()
    assert pack.fetched("small.zip").read_bytes() == b"whole"  # the server is gone


def test_without_folder_and_network_it_is_unavailable(release, monkeypatch):
    with pytest.raises(pack.Unavailable, match="small.zip"):
        pack.fetched("small.zip")
    monkeypatch.setenv("METACALC_PYODIDE", str(release / "nowhere"))
    with pytest.raises(pack.Unavailable):
        pack.fetched("small.zip")


def test_a_build_without_it_goes_on(monkeypatch, tmp_path):
    def gone(folder):
        raise pack.Unavailable("no network")

    class App:
        doctreedir, added = str(tmp_path / "doctrees"), []
        add_css_file = add_js_file = lambda self, *args, **options: self.added.append(args)

    monkeypatch.setattr(pack, "lay", gone)
    page_python.prepare(App(), SimpleNamespace(language="en"))
    assert not App.added and not list(tmp_path.rglob("python.js"))
    context = {"script_files": [], "body": "<h1>Background</h1>"}
    page_python.describe(None, "chapters/01_background", "page.html", context, None)
    assert "without Python in its pages" in context["body"]
    context = {"script_files": ["_static/python.js"], "body": "<h1>Background</h1>"}
    page_python.describe(None, "chapters/01_background", "page.html", context, None)
    assert "without" not in context["body"] and "connect-src 'self'" in context["metatags"]


def test_an_archive_is_the_same_for_the_same_files():
    files = {"b/two.py": b"2", "a.so": b"1", f"{'long/' * 30}name.py": b"3" * 600}
    for archived in (pack.archived, pack.zipped):
        assert archived(files) == archived(dict(reversed(files.items())))
    with zipfile.ZipFile(io.BytesIO(gzip.decompress(pack.zipped(files)))) as found:
        assert {name: found.read(name) for name in found.namelist()} == files
    with tarfile.open(fileobj=io.BytesIO(pack.archived(files)), mode="r:gz") as found:
        assert {name: found.extractfile(name).read() for name in found.getnames()} == files


@pytest.mark.parametrize("name, dropped", [
    ("sympy/core/add.py", False), ("sympy/core/tests/test_add.py", True), ("numpy/f2py/__init__.py", False),
    ("numpy/linalg/_umath_linalg.cpython-312-wasm32-emscripten.so", False), ("psygnal/x.cpython-311-x86_64-linux-gnu.so", True),
    ("libopenblas.so", False), ("../../bin/ipython", True), ("sympy-1.14.0.dist-info/METADATA", False),
    ("sympy-1.14.0.dist-info/RECORD", True), ("pygments/lexers/python.py", False), ("pygments/lexers/lisp.py", True)])
def test_what_no_page_can_need_is_left_out(name, dropped):
    assert bool(pack.DROPPED.search(name)) == dropped


def test_the_released_files_are_those_of_one_pinned_version():
    assert pack.RELEASE["version"] in pack.RELEASE["address"]
    assert all(len(digest) == 64 for digest in pack.RELEASE["files"].values())
    named = {name.split("-")[0]: name.split("-")[1] for name in pack.RELEASE["files"] if name.endswith(".whl")}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in ("matplotlib", "numpy", "scipy"):  # the course allows what its pages run with
        allowed = text.split(f'"{package}>=')[1].split('"')[0]
        assert tuple(map(int, allowed.split("."))) <= tuple(map(int, named[package].split(".")))


def test_each_module_is_in_one_archive_that_is_there():
    if not (HTML / "_static/python/manifest.json").exists():
        missing("the book was built without Python in its pages: METACALC_PYODIDE names a folder with Pyodide's files")
    manifest = json.loads((HTML / "_static/python/manifest.json").read_text(encoding="utf-8"))
    listed = [module for archive in manifest["archives"].values() for module in archive["modules"]]
    assert len(listed) == len(set(listed)) and {"numpy", "sympy", "IPython", "matplotlib", "scipy", "babel"} <= set(listed)
    kept = HTML / "_static/python" / manifest["kept"]
    assert {path.name: path.stat().st_size for path in kept.iterdir()} == manifest["files"]
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, "kernel.py", "manifest.json", "worker.js"}


def test_what_browsers_may_keep_for_ever_has_another_name_when_it_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(pack, "CACHE", tmp_path)
    monkeypatch.setattr(pack, "compiled", lambda files: files)
    first, again, other = (pack.packed("core", {"a.py": data}).name for data in (b"1", b"1", b"2"))
    assert first == again != other
