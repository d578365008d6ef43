"""What the house rests on: names, pins, and nothing of others in it."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib

import metacalc
from conftest import HTML, ROOT, missing


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:  # nothing is where an archive lies unpacked within another checkout
        missing("no git checkout: tracked files are not tested")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def test_the_source_root_never_shadows_the_standard_library():
    import code
    assert "InteractiveConsole" in dir(code) and not (ROOT / "code/__init__.py").exists()


def test_every_requirement_is_pinned_and_covers_the_project():
    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith(("#", " "))]
    assert all(re.match(r"[A-Za-z0-9._-]+==\S+", pin) for pin in pins)
    pinned = {re.split("==", pin)[0].lower() for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    large = ("cluster", "frameworks", "hub", "oracles")  # pinned there
    extras = {name: group for name, group in project["optional-dependencies"].items() if name not in large}
    wanted = [*project["dependencies"], *(d for group in extras.values() for d in group)]
    assert {re.split(r"[<>=!~\[ ]", name)[0].lower() for name in wanted} - {"metacalc"} <= pinned


def test_nothing_of_another_project_is_committed():
    for name in tracked():
        assert not re.search(r"(mathjax|font-?awesome|axe\.min|\.woff2?$|\.ttf$|\.min\.(js|css)$)", name, re.IGNORECASE), name


def test_pages_name_no_other_host_for_what_they_load():
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    for page in HTML.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]+src="([^"]+)"|<link[^>]+href="([^"]+)"',
                            page.read_text(encoding="utf-8"))
        assert not [a or b for a, b in loaded if re.match(r"(https?:)?//", a or b)], page


def test_public_names_are_documented_and_exported():
    assert sorted(metacalc.__all__) == metacalc.__all__
    for name in metacalc.__all__:
        public = getattr(metacalc, name)
        assert public.__doc__ and name in sys.modules[public.__module__].__all__, name


def test_the_readme_s_programs_run():
    for program in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(program.replace("5000", "50"), {})


def public(module):
    """Names and functions that a module hands out, with the methods and properties of its classes."""
    own = [n for n, thing in vars(module).items() if n[0] != "_" and getattr(thing, "__module__", "") == module.__name__]
    for name in getattr(module, "__all__", own):
        thing = getattr(module, name)
        if inspect.isclass(thing):
            for own, method in vars(thing).items():
                function = getattr(method, "fget", None) or getattr(method, "__func__", method)
                wanted = not own.startswith("_") or own in ("__init__", "__call__", "__getitem__")
                if wanted and inspect.isfunction(function) and function.__module__ != "typing":  # it gives a Protocol one
                    yield f"{name}.{own}", function
        elif inspect.isfunction(thing) or hasattr(thing, "__wrapped__"):
            yield name, thing


def unannotated(function):
    """What of a signature has no type: names of parameters, and `return`. What goes on to others, as **settings, needs none."""
    signature = inspect.signature(function)
    bare = [p.name for p in signature.parameters.values()
            if p.annotation is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in ("self", "cls")]
    return bare + (["return"] if signature.return_annotation is signature.empty else [])


def test_public_signatures_have_types():
    missing_types = {}
    for module in pkgutil.walk_packages(metacalc.__path__, "metacalc."):
        for name, function in public(importlib.import_module(module.name)):
            if bare := unannotated(function):
                missing_types[f"{module.name}.{name}"] = bare
    assert not missing_types


def test_types_are_shipped():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["metacalc"]
    assert "py.typed" in data and (ROOT / "code/metacalc/py.typed").exists()


def test_no_function_is_longer_than_fifty_lines():
    """Without its docstring: what is longer has parts that deserve a name."""
    long = {}
    for path in (ROOT / "code/metacalc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body else 0
                if lines > 50:
                    long[f"{path.name}: {node.name}"] = lines
    assert not long
