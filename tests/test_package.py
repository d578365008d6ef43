"""The package by itself: one version everywhere, addresses that agree, an sdist that has all its tests need."""

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib

import pytest
import yaml

import metacalc
from conftest import HTML, ROOT, missing
from test_house import tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def test_package_pages_citation_and_changes_share_one_version():
    version = metacalc.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version) and "version" in PROJECT["dynamic"] and "version" not in PROJECT
    assert CITATION["version"] == version
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    changes = re.findall(r"^## \[(.+)\] - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert changes[0] == (version, CITATION["date-released"]) and sorted(changes, reverse=True) == changes


def test_the_pages_show_the_version():
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    for page in HTML.glob("chapters/*.html"):
        assert f"<p>metacalc {metacalc.__version__}. Text: CC BY 4.0. Code: MIT.</p>" in page.read_text(encoding="utf-8"), page
    inventory = (HTML / "objects.inv").read_bytes().split(b"\n")[2]
    assert inventory == f"# Version: {metacalc.__version__}".encode()
    assert (HTML / f"_static/metacalc-{metacalc.__version__}-py3-none-any.whl").exists()


def test_citation_and_package_say_the_same_of_whom_and_what():
    assert CITATION["authors"] == PROJECT["authors"] == [{"name": CONFIG["author"]}]
    assert CITATION["keywords"] == PROJECT["keywords"] and CITATION["license"] == PROJECT["license"]
    assert CITATION["title"] == CONFIG["title"]


def test_the_pythons_that_are_named_are_those_that_are_allowed():
    named = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert PROJECT["requires-python"] == f">={named[0]}" and named == sorted(named, key=lambda v: int(v.split(".")[1]))


def addresses(config, project, citation):
    """Where pages and source are, as the three files say it: nothing, as long as there is no address."""
    options = config["sphinx"]["config"]["html_theme_options"]
    urls = project.get("urls", {})
    return ((config["html"].get("baseurl"), options.get("repository_url")), (urls.get("Documentation"), urls.get("Source")),
            (citation.get("url"), citation.get("repository-code")))


def test_all_files_name_the_same_addresses():
    pages, package, citation = addresses(CONFIG, PROJECT, CITATION)
    assert pages == package == citation
    options = CONFIG["sphinx"]["config"]["html_theme_options"]
    for name in ("launch_buttons", "use_repository_button"):
        assert name not in options or options["repository_url"]  # the theme takes a wrong repository, or breaks


def sdist(folder, source=ROOT):
    """Build the source distribution; its name and the files in it, without the first folder."""
    program = f"import setuptools.build_meta as backend; print(backend.build_sdist({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name = done.stdout.split()[-1]
    with tarfile.open(folder / name) as archive:
        return name, {path.partition("/")[2] for path in archive.getnames() if archive.getmember(path).isfile()}


def test_the_sdist_is_the_whole_course(tmp_path):
    """From a copy of what is committed: setuptools leaves notes beside the code."""
    pytest.importorskip("setuptools")
    source, wanted = tmp_path / "course", tracked()
    for name in wanted:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    (source / "tests/__pycache__").mkdir()
    (source / "tests/__pycache__/x.cpython-311.pyc").touch()
    name, files = sdist(tmp_path, source)
    assert name == f"metacalc-{metacalc.__version__}.tar.gz"
    made = {"PKG-INFO", "setup.cfg"} | {path for path in files if ".egg-info/" in path}
    assert files - made == set(wanted)


def test_binder_installs_what_the_chapters_import():
    lines = [line for line in (ROOT / ".binder/requirements.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert lines == ["--constraint ../requirements.txt", "--editable .[lab]"]
    assert (ROOT / ".binder/../requirements.txt").exists() and "metacalc[course]" in PROJECT["optional-dependencies"]["lab"]
    python = (ROOT / ".binder/runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_what_is_installed_is_this_version():
    """Where the environment's package is this checkout's: `make` installs anew when pyproject.toml or the version changes."""
    about = importlib.metadata.distribution("metacalc")
    if (about.read_text("direct_url.json") or "").find(ROOT.as_uri() + '"') < 0:
        pytest.skip("another checkout's package is installed here")
    assert about.version == metacalc.__version__
