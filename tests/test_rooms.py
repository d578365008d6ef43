"""The house: which room may know which, what each needs installed, and that the maps are those of the tree."""

import ast
import contextlib
import graphlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from budgets import import_ratio

from conftest import ROOT
from test_exercises import SOLUTIONS

CODE = ROOT / "code"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ALONE = ("mpmath", "numpy", "sympy")


def name_of(path):
    return ".".join(path.relative_to(CODE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(CODE.rglob("*.py"))}
LIBRARY = {name: path for name, path in MODULES.items() if not name.startswith("metacalc.course")}


def imports(tree, inside=None):
    """(module, name of the extra or "try" around it) of every import that a piece of code may run, at any depth."""
    for node in ast.iter_child_nodes(tree):
        here = inside
        if isinstance(node, ast.With):
            call = node.items[0].context_expr
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "extra":
                here = call.args[0].value
        if isinstance(node, ast.Try):
            here = "try"
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":  # which nothing runs
            for other in node.orelse:
                yield from imports(ast.Module([other], []), here)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module, inside)
                for alias in node.names
            )
        else:
            yield from imports(node, here)


def of(path):
    return list(imports(ast.parse(path.read_text(encoding="utf-8"))))


def foreign(listed):
    """The top names that are neither Python's own nor ours."""
    folders = ("tests", "book", "book/python", "studies", "hub")
    own = {"metacalc", *(path.stem for folder in folders for path in (ROOT / folder).glob("*.py"))}
    return (
        {(module.split(".")[0], where) for module, where in listed}
        - {(name, where) for name in own for _, where in listed}
        - {(module.split(".")[0], where) for module, where in listed if module.split(".")[0] in sys.stdlib_module_names}
    )


def distributions(requirements):
    """Normalised names of the distributions that a list of requirements asks for, those of its extras included."""
    found = set()
    for requirement in requirements:
        name, listed = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()
        if name == "metacalc":
            for extra in listed.split(","):
                found |= distributions(PROJECT["optional-dependencies"][extra])
        else:
            found.add(re.sub(r"[-_.]+", "-", name).lower())
    return found


def distribution_of(module):
    """Named like the module, but for these; tensorflow goes by another name on some machines. (To ask `importlib.metadata`
    for all is to read the lists of files of frameworks.)"""
    other = {"PIL": "pillow", "bs4": "beautifulsoup4", "mathjax": "django-static-mathjax",
             "sphinxcontrib": "sphinxcontrib-bibtex", "websocket": "websocket-client", "xdist": "pytest-xdist",
             "yaml": "pyyaml"}
    if module in other:
        return other[module]
    if module != "tensorflow":
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return re.sub(r"[-_.]+", "-", importlib.metadata.distribution(module).name).lower()
    return module


def test_the_library_imports_nothing_from_the_course():
    for name, path in LIBRARY.items():
        assert not [m for m, _ in of(path) if m.startswith("metacalc.course")], name


def test_nothing_but_the_course_names_a_chapter():
    stems = [path.stem for path in (ROOT / "chapters").rglob("*.ipynb") if path.stem[0].isdigit()]
    files = [
        *LIBRARY.values(),
        *CODE.rglob("*.js"),
        *CODE.rglob("*.css"),
        *(
            path
            for folder in ("book", "benchmarks", "hub")
            for path in (ROOT / folder).glob("*.*")
            if path.suffix in (".py", ".js", ".css")
        ),
    ]
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not [stem for stem in stems if stem in text] and "results/" not in text.replace("chapters/results/*", ""), path


def test_no_room_of_the_package_waits_for_one_that_waits_for_it():
    graph = {name: {m for m, _ in of(path) if m in MODULES} - {name} for name, path in MODULES.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("metacalc.checks") < order.index("metacalc.course.answers")


def test_the_library_needs_numpy_and_sympy_alone_and_each_extra_what_it_declares():
    by_extra = {}
    for path in LIBRARY.values():
        for module, where in foreign(of(path)):
            by_extra.setdefault(where, set()).add(distribution_of(module))
    assert by_extra.pop(None) == set(ALONE) == distributions(PROJECT["dependencies"])
    assert by_extra.pop("try") <= by_extra["studies"] | distributions(PROJECT["optional-dependencies"]["studies"])
    for extra, found in by_extra.items():
        declared = distributions(PROJECT["optional-dependencies"][extra])
        assert found | ({"tqdm", "threadpoolctl"} if extra == "studies" else set()) == declared, extra


def notebook_imports():
    for path in (ROOT / "chapters").rglob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield from imports(ast.parse("".join(cell["source"])))


@pytest.mark.parametrize(
    "extras, where",
    [
        (["course", "oracles"], "chapters"),
        (["test", "book", "course", "hub", "oracles"], "tests"),
        (["book", "test", "course"], "book"),
        (["course", "oracles"], "studies"),
    ],
)
def test_what_is_imported_is_declared(extras, where):
    listed = list(notebook_imports()) if where == "chapters" else [i for path in (ROOT / where).glob("*.py") for i in of(path)]
    declared = distributions(PROJECT["dependencies"]).union(
        *(distributions(PROJECT["optional-dependencies"][e]) for e in extras)
    )
    wanted = {distribution_of(module) for module, _ in foreign(listed)}
    assert wanted - declared <= {"tensorflow"}, sorted(wanted - declared)  # by another name on some machines


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Runs a program where NumPy, SymPy and mpmath are installed, and nothing else; returns what it printed."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("numpy", "numpy.libs", "sympy", "mpmath"):
        for place in map(Path, sys.path):
            if (place / name).is_dir() and place.name == "site-packages":
                (folder / name).symlink_to(place / name)
    (folder / "metacalc").symlink_to(CODE / "metacalc")

    def run(program, *arguments):
        done = subprocess.run(
            [sys.executable, "-S", "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env={"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        )
        assert not done.returncode, done.stderr
        return done.stdout

    return run


LIBRARY_ALONE = """
import sys
from functools import partial
import numpy as np, sympy as sp
import metacalc as mc
t, u = sp.symbols("t u")
f = mc.Objective(t**4 / 4 - t**2 / 2 + sp.Abs(t) ** 3, t)
for rule in (mc.sgd(), mc.momentum(), mc.nesterov(), mc.adam(), mc.adamw(), mc.clipped(mc.adam(), 1.0)):
    assert np.isfinite(mc.gradient_descent(f.grad, 2.0, [0.01, 0.1], 50, rule)).all()
mc.newton(f.grad, f.hess, 2.0, 5), mc.backtracking(f, f.grad, 2.0, 5)
assert mc.Objective(t**2 + sp.exp(u), (t, u)).hess([1.0, 0.0]).shape == (2, 2)
net, waves = mc.MLP((1, 8, 1), "tanh"), mc.Sinusoids(k_shots=5)
for method in (mc.maml, mc.fomaml, mc.reptile, mc.anil, mc.imaml):
    run = mc.meta_train(partial(method, alpha=0.01, k=2), net, waves, 20)
    assert np.isfinite(mc.evaluate(run.learner, waves, n_tasks=20).mean).all()
assert mc.evaluate(mc.meta_train(mc.meta_sgd, net, waves, 20).learner, waves, n_tasks=20).mean.shape == (4,)
joint = mc.meta_train(mc.joint, net, waves, 20)
mc.evaluate(mc.Learner(net, joint.theta, 0.01), waves, n_tasks=20)
mc.meta_train(mc.rate_schedule, mc.Quadratic(1), mc.Quadratics(), 20, theta0=[0.1, 0.1], start=[1.0])
mc.FewShotClassification(np.eye(6).repeat(4, axis=0), np.arange(6).repeat(4), 3, 1, 2).sample(np.random.default_rng(0), 3)
for wanted, extra in ((lambda: mc.Stage, "figures"), (lambda: mc.printed_characters, "data"),
                      (lambda: mc.interval([1, 2, 3]), "studies"),
                      (lambda: mc.Objective(sp.besselj(0, t), t)(1.0), "special")):
    try:
        wanted()
    except ImportError as error:
        assert f"pip install 'metacalc[{extra}]'" in str(error), error
    else:
        raise AssertionError(extra)
print(sorted({m.split(".")[0] for m in sys.modules} - set(sys.stdlib_module_names)))
"""


def test_the_library_runs_with_numpy_and_sympy_alone(bare):
    there = bare(LIBRARY_ALONE)
    assert not re.search("scipy|matplotlib|tqdm|anywidget|babel|IPython", there), there


NEEDS_MORE = {"pr-ex-family": "scipy", "vi-ex-interval": "scipy", "vi-ex-leak": "matplotlib", "la-ex-apart": "babel"}


def test_exercises_are_checked_with_numpy_and_sympy_alone(bare):
    solutions = {label: re.search(r"```python\n(.*?)```", body, re.DOTALL).group(1) for label, body in SOLUTIONS.items()}
    printed = json.loads(
        bare(
            """
import json, sys
import numpy as np, sympy as sp, metacalc
from metacalc.course import check
later, verdicts = {"Stage", "Slider", "Readout", "Path", "Point", "Curve", "Arrow", "printed_characters"}, {}
for label, code in json.loads(sys.argv[1]).items():
    names = {"np": np, "sp": sp, **{n: getattr(metacalc, n) for n in metacalc.__all__ if n not in later}}
    try:
        exec(code, names)
        verdicts[label] = repr(check(label, names["answer"]))
    except Exception as error:
        verdicts[label] = repr(error)
print(json.dumps(verdicts))
""",
            json.dumps(solutions),
        )
    )
    assert len(printed) == len(SOLUTIONS)
    wrong = {label: verdict for label, verdict in printed.items() if verdict != "✓ Right."}
    assert wrong.keys() == NEEDS_MORE.keys(), wrong
    for label, module in NEEDS_MORE.items():
        assert module in wrong[label] or "printed_characters" in wrong[label], wrong[label]


def table_after(text, head):
    """The first column of a Markdown table whose head begins so."""
    rows = text.split(head, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows]


def test_the_readme_s_maps_are_those_of_the_tree():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = {name.rstrip("/") for row in table_after(text, "| where |") for name in row}
    assert all((ROOT / name).exists() for name in places), places
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    folders = {name.split("/")[0] for name in listed if "/" in name and not name.startswith(".")}
    assert folders - {"code"} <= places
    rooms = {name.rstrip("/") for row in table_after(text, "| room of `metacalc` |") for name in row}
    there = {path.relative_to(CODE / "metacalc").parts[0].removesuffix(".py") for path in (CODE / "metacalc").rglob("*.py")} - {
        "__init__"
    }
    assert rooms == there
    row = {name.rstrip("/"): i for i, names in enumerate(table_after(text, "| room of `metacalc` |")) for name in names}
    room = lambda module: (module.split(".") + [""])[1]
    for name, path in MODULES.items():
        for module, _ in of(path):
            if module in MODULES and room(module) and room(name):
                assert row[room(module)] <= row[room(name)], (name, module)
    wing = {name.rstrip("/") for row in table_after(text, "| in `metacalc.course` |") for name in row}
    there = {
        path.relative_to(CODE / "metacalc/course").parts[0].removesuffix(".py")
        for path in (CODE / "metacalc/course").rglob("*.py")
    }
    assert wing == there - {"__init__"}


def test_what_the_guides_name_is_there():
    for guide in ("README.md", "CONTRIBUTING.md", "chapters/making.md"):
        text = (ROOT / guide).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:code|tests|book|studies|benchmarks|hub|chapters)/[\w./-]+)`", text):
            if not re.search(r"NN|NAME|CHAPTER|_build|html$", name):
                assert (ROOT / name).exists(), (guide, name)


def test_the_import_costs_little_more_than_numpy_s_and_sympy_s():
    assert import_ratio() < 1.3
