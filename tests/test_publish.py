"""What `make publish` lays out: whole, light, kept by browsers as long as it says, and alive under a path of any host."""

import gzip
import http.server
import json
import mimetypes
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import publish
import pytest
import yaml

from conftest import DESK, HTML, PAGES, ROOT, missing, optional, python_in_pages

UNDER = "/metacalc/"  # as GitHub Pages serves a repository of that name
WORKFLOW = ROOT / ".github/workflows/pages.yml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `make publish` made of this build, or else the same laid out anew, without variants."""
    if not (HTML / "index.html").exists():
        missing("the book is not built: run `make book`")
    made = publish.PUBLISHED / "_headers"
    if made.exists() and made.stat().st_mtime >= (HTML / "searchindex.js").stat().st_mtime:
        return publish.PUBLISHED
    target = tmp_path_factory.mktemp("published") / "site"
    publish.lay(HTML, target)
    return target


def rules(folder):
    """The rules of `_headers`: path → its headers."""
    found, path = {}, None
    for line in (folder / "_headers").read_text(encoding="utf-8").splitlines():
        if line.startswith("/"):
            path = found.setdefault(line, {})
        else:
            name, value = re.fullmatch(r"  ([\w-]+): (.+)", line).groups()
            path[name] = value
    return found


def small_book(place):
    """A built book of a few files, one of each sort."""
    for name, data in {"index.html": b"<p>" * 999, "_static/a.js": b"1;" * 999, "_static/short.js": b"1;", ".buildinfo": b"",
                       "_static/locales/de/x.po": b"", "_static/webpack-macros.html": b"",
                       "_images/ab.png": bytes(range(256)) * 9, "_static/python/manifest.json": b'{"kept":"pyodide-1/"}',
                       "_static/python/pyodide-1/a-1.pack": b"1"}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def test_all_that_readers_load_is_there_as_it_was_built(folder):
    built = {path for path in publish.files(HTML) if not re.search(r"locales/|webpack-macros|^\.", path)}
    assert len(built) > 100 and {f"{page}.html" for page in PAGES} <= built
    assert set(publish.files(folder)) == built | {"404.html", ".nojekyll", "_headers"}
    assert all((folder / path).read_bytes() == (HTML / path).read_bytes() for path in built)


def test_what_is_kept_for_ever_has_a_name_of_its_content(folder):
    """Where two rules say how long, Cloudflare sends both; and only a * at the end means the same everywhere."""
    found = rules(folder)
    kept = {path: name for path, lines in found.items() for name in lines if name == "Cache-Control"}
    assert "Cache-Control" not in found["/*"] and all(re.fullmatch(r"/[^*]*\*", path) for path in found)
    for path in kept:
        assert not [other for other in kept if other != path and other.startswith(path[:-1])]
        names = [name for name in publish.files(folder) if f"/{name}".startswith(path[:-1])]
        assert names
        if "pyodide" in path:
            own = json.loads((ROOT / "book/python/pyodide.json").read_text())
            assert own["version"] in path
            names = [name for name in names if Path(name).name not in {*own["files"]}]
        assert all(re.search(r"[0-9a-f]{16,}\.\w+$", name) for name in names), names


def test_files_fit_the_hosts(folder):
    """Cloudflare Pages takes files of 25 MiB, GitHub Pages sites of a gigabyte."""
    sizes = [(folder / path).stat().st_size for path in publish.files(folder)]
    assert max(sizes) < 25 * 2**20 and sum(sizes) < 10**9


def test_a_small_book_is_laid_out_whole(tmp_path):
    source, target = small_book(tmp_path / "html"), tmp_path / "publish"
    (target / "old").mkdir(parents=True)
    publish.lay(source, target)
    assert set(publish.files(target)) == {
        ".nojekyll", "404.html", "_headers", "_images/ab.png", "_static/a.js", "_static/short.js", "index.html",
        "_static/python/manifest.json", "_static/python/pyodide-1/a-1.pack"}
    assert "/_static/python/pyodide-1/*" in rules(target) and not (target / "old").exists()


def test_variants_say_the_same_in_less(tmp_path):
    brotli = optional("brotli")
    folder = small_book(tmp_path)
    sizes = {path: publish.squeeze(folder / path) for path in publish.files(folder)}
    undone = {".gz": gzip.decompress, ".br": brotli.decompress}
    variants = [path for path in folder.rglob("*") if path.suffix in undone]
    assert {path.relative_to(folder).as_posix() for path in variants} == {
        f"{name}{suffix}" for name in ("index.html", "_static/a.js") for suffix in undone}
    for path in variants:
        original = path.with_suffix("")
        assert undone[path.suffix](path.read_bytes()) == original.read_bytes()
        how = {".gz": "gzip", ".br": "brotli"}[path.suffix]
        assert sizes[original.relative_to(folder).as_posix()][how] == path.stat().st_size < original.stat().st_size
    assert sizes["_images/ab.png"] == dict.fromkeys(("plain", "gzip", "brotli"), 256 * 9)
    table = publish.listing(sizes)
    for row in ("| pages | 2 |", f"| all | {len(sizes)} |", "| _images/ab.png | 2304 | 2304 | 2304 |"):
        assert row in table


class Host(http.server.BaseHTTPRequestHandler):
    """A host of static files: a folder under a path, with what `_headers` says and the variants that a browser takes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, server = urlsplit(self.path).path, self.server
        server.asked.append(path)
        file = server.folder / path.removeprefix(UNDER).lstrip("/")
        file = file / "index.html" if path.endswith("/") else file
        if not path.startswith(UNDER) or not file.is_file():
            server.lost.append(path)
            return self.answer(404, server.folder / "404.html", {})
        headers = {}
        for rule, lines in rules(server.folder).items():
            if f"/{path.removeprefix(UNDER)}".startswith(rule[:-1]):
                headers |= lines
        return self.answer(200, file, headers)

    def answer(self, code, file, headers):
        headers["Content-Type"] = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        for name, suffix in (("br", ".br"), ("gzip", ".gz")):
            if name in self.headers.get("Accept-Encoding", "") and file.with_name(file.name + suffix).exists():
                headers["Content-Encoding"], file = name, file.with_name(file.name + suffix)
                break
        data = file.read_bytes()
        self.send_response(code)
        for name, value in {**headers, "Content-Length": len(data)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def host(folder):
    """A server of the folder that notes what it is asked for and what it has not."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        server.folder, server.asked, server.lost = folder, [], []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.address = f"http://127.0.0.1:{server.server_port}{UNDER}"
        yield server
        server.shutdown()


@pytest.fixture
def page(browser, host):
    """A page that reports every trouble, and may ask for nothing beyond its path."""
    context, troubles = browser.new_context(**DESK), []
    page = context.new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((host.address, "data:", "blob:"))
            else troubles.append(f"left: {request.url}"))
    yield page
    context.close()
    assert not troubles and not host.lost


def test_figures_live_and_search_finds_under_a_path(page, host):
    page.goto(host.address)
    page.wait_for_url("**/chapters/intro.html")
    page.goto(f"{host.address}chapters/03_gradient_descent.html")
    page.wait_for_function("!document.querySelector('.stage:not([data-live])')")
    slider, readout = page.locator(".stage input[type=range]").first, page.locator(".stage-readout").first
    before = readout.inner_text()
    slider.press("ArrowRight")
    page.wait_for_function("([place, words]) => place.innerText !== words", arg=[readout.element_handle(), before])
    page.goto(f"{host.address}search.html?q=hessian")
    page.locator("#search-results ul.search li a[href*='04_meta_learning']").first.wait_for()
    form = page.locator(".bd-search-container .bd-search")
    glass, words = form.locator("i").bounding_box(), form.locator("input").bounding_box()
    padding = form.locator("input").evaluate("input => parseFloat(getComputedStyle(input).paddingLeft)")
    assert glass["x"] + glass["width"] < words["x"] + padding, "the magnifying glass lies on what is typed"


def test_python_starts_under_a_path_and_comes_from_the_cache_the_next_time(page, host):
    python_in_pages()
    kept = next(path for path in rules(host.folder) if "pyodide" in path)[1:-1]
    for visit in ("first", "second"):
        host.asked.clear()
        page.goto(f"{host.address}chapters/01_background.html")
        cell = page.locator(".cell").first
        cell.get_by_role("button", name="Run cell 1").click()
        cell.locator(".cell-said", has_text="done").wait_for(timeout=60_000, state="attached")
        loaded = [path for path in host.asked if path.startswith(UNDER + kept)]
        assert (len(loaded) > 5) == (visit == "first"), loaded
        assert f"{UNDER}_static/python/manifest.json" in host.asked  # which says what is new


def test_a_wrong_address_leads_back(browser, host):
    page = browser.new_page()
    for address in ("chapters/nothing.html", "nothing.html", "chapters/06_applications/nothing/at/all.html", "zh/nothing.html",
                    "zh/chapters/nothing.html"):
        assert page.goto(host.address + address).status == 404
        host.lost.clear()
        assert page.get_by_role("link").evaluate_all("links => links.map(a => a.href)") == [
            f"{host.address}{edition}{name}.html" for edition in ("", "zh/") for name in ("index", "search")]
    page.close()


def steps():
    """The workflow's steps."""
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["book"]["steps"]


@pytest.mark.parametrize("schema, name", [("github-workflows", ".github/workflows/pages.yml"),
                                          ("citation-file-format", "CITATION.cff")])
def test_files_for_others_follow_their_schemas(schema, name):
    optional("check_jsonschema")
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", ROOT / name],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_the_readme_s_commands_and_tests_before_it_publishes():
    commands = [step["run"].strip() for step in steps() if "run" in step]
    assert commands[:-1] == ["make oracles", "make book", "make test", "make publish", ".venv/bin/pytest tests/test_publish.py"]
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps() if "uses" in step)
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    assert {command.split()[1] for command in commands if command.startswith("make ")} <= set(targets)


def lines_of_the_readme(part):
    """What the README's table has for a part of `_config.yml`, with an address in it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `_config.yml`, `{part}` \| `(.+?)` \|", text, re.MULTILINE)
    return yaml.safe_load("\n".join(rows).replace("…", "example/course"))


def test_the_readme_s_lines_lead_to_the_source_to_colab_and_to_binder(tmp_path):
    """In a book of one chapter: Colab, which has no metacalc, gets the published notebook, which installs it."""
    options = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]["html_theme_options"]
    options |= lines_of_the_readme("html_theme_options")
    assert lines_of_the_readme("html")["baseurl"].startswith("https://")
    source, built = tmp_path / "source", tmp_path / "html"
    (source / "chapters").mkdir(parents=True)
    chapter = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One")], metadata={"kernelspec": {
        "name": "python3", "display_name": "Python 3", "language": "python"}})
    nbformat.write(chapter, source / "chapters/one.ipynb")
    (source / "conf.py").write_text(
        f"import downloads\nextensions = ['myst_nb', 'sphinx_book_theme']\nroot_doc = 'chapters/one'\n"
        f"html_theme, html_theme_options = 'sphinx_book_theme', {options!r}\nnb_execution_mode = 'off'\n"
        f"templates_path = [{str(ROOT / 'book/templates')!r}]\n"
        "html_context = {'other_edition': {}}\n"
        "def setup(app):\n    app.connect('html-page-context', downloads.offer, priority=600)\n")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", source, built],
                          env=os.environ | {"PYTHONPATH": str(ROOT / "book")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    links = re.findall(r'href="([^"]+example/course[^"]*)"', (built / "chapters/one.html").read_text(encoding="utf-8"))
    assert sorted(links) == ["https://colab.research.google.com/github/example/course/blob/gh-pages/_sources/chapters/one.ipynb",
                             "https://github.com/example/course",
                             "https://mybinder.org/v2/gh/example/course/main?urlpath=lab/tree/chapters/one.ipynb"]
    assert "--initial-branch gh-pages" in steps()[-1]["run"] and list((built / "_sources/chapters").glob("one.ipynb*"))


def test_the_last_step_puts_the_folder_on_its_branch(tmp_path):
    """Twice, into a repository beside it: what was there before is replaced."""
    place, remote = tmp_path / "checkout", tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    for edition in ("first", "second"):
        small = small_book(tmp_path / edition)
        (small / f"{edition}.html").write_text(edition)
        publish.lay(small, place / "_build/publish")
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "REMOTE": str(remote), "GITHUB_SHA": edition}
        subprocess.run(["bash", "-e", "-c", steps()[-1]["run"]], cwd=place, env=environment, check=True)
        show = ["git", "-C", remote, "ls-tree", "-r", "--name-only", "gh-pages"]
        there = set(subprocess.run(show, capture_output=True, text=True, check=True).stdout.split())
        assert there == {path for path in publish.files(place / "_build/publish") if not path.startswith(".git/")}
        assert f"{edition}.html" in there and ".nojekyll" in there
