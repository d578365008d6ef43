"""A reader's own function: the figure's numbers against loops run directly, its pictures, and what is refused."""

import json
import re
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import sympy as sp

from conftest import ROOT
from metacalc import Curve, Objective, Path, Point, Readout, Slider, Stage, gradient_descent
from metacalc.axes import Axes, level_segments, painted, ticks
from metacalc.explore import RULES, _equal, _heights, explore
from metacalc.stage import panel

N, ETA = 0, 1
x, y = sp.symbols("x y", real=True)


def field(stage, name):
    """A table of the readout, as the view reads it."""
    offset, kind, shape = stage["spec"]["fields"][name]["at"]
    table = np.frombuffer(stage["table"], kind, int(np.prod(shape)), offset).reshape(shape)
    labels = stage["spec"]["fields"][name].get("labels")
    return np.array(labels)[table] if labels else table


def mark(stage, i):
    """Coordinates of a mark in fractions of its axes' box from its centre."""
    return [np.frombuffer(stage["table"], kind, int(np.prod(shape)), offset).reshape(shape).astype(float)
            for offset, kind, shape in stage["spec"]["marks"][i]["coordinates"]]


def rates(stage):
    return np.array(stage["spec"]["sliders"][ETA]["values"])


def words(stage, eta):
    return field(stage, "told")[0, np.argmin(np.abs(rates(stage) - eta))]


@pytest.mark.parametrize("rule", RULES)
def test_the_paths_are_those_of_gradient_descent(rule):
    one = explore("x^4/4 - x^2", "1.5", rule)["stage"]
    assert rates(one).shape == (41,) and one["spec"]["sliders"][N]["values"] == list(range(61))
    for k in (0, 20, 40):
        path = gradient_descent(lambda t: t**3 - 2 * t, 1.5, rates(one)[k], 60, RULES[rule]())
        np.testing.assert_allclose(field(one, "v0")[:, k], path, rtol=1e-8, atol=1e-12)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(field(one, "loss")[:, k], path**4 / 4 - path**2, rtol=1e-7, atol=1e-12)
    two = explore("x^2 + x*y + 2y^2", "2, -1", rule)["stage"]
    gradient = lambda p: np.stack([2 * p[..., 0] + p[..., 1], p[..., 0] + 4 * p[..., 1]], axis=-1)
    for k in (0, 25):
        path = gradient_descent(gradient, np.array([2.0, -1.0]), rates(two)[k], 60, RULES[rule]())
        np.testing.assert_allclose(np.stack([field(two, "v0")[:, k], field(two, "v1")[:, k]], axis=-1), path, rtol=1e-9,
                                   atol=1e-12)


def test_the_formulas_are_sympy_s_and_products_are_read_as_products():
    made = explore("x^2 + 3xy + y^2", "1, 1")
    assert made["latex"] == r"f(x, y) = x^{2} + 3 x y + y^{2}"
    assert made["gradient"] == r"\nabla f(x, y) = " + sp.latex(sp.Matrix([2 * x + 3 * y, 3 * x + 2 * y]))
    made = explore("theta^3/3")
    assert made["latex"].startswith(r"f(\theta) = ") and made["gradient"] == r"f'(\theta) = \theta^{2}"
    assert "θ = " in made["stage"]["spec"]["text"], "and names as they are written"


def test_the_variables_have_the_order_of_their_names():
    stage = explore("10 b + a^2 + b^2", "3, -4")["stage"]
    assert field(stage, "v0")[0, 0] == 3 and field(stage, "v1")[0, 0] == -4


def test_the_default_starts_are_points_of_the_plane_and_the_line():
    assert field(explore("x^2")["stage"], "v0")[0, 0] == 2
    stage = explore("x^2 + y^2", "  ")["stage"]
    assert (field(stage, "v0")[0, 0], field(stage, "v1")[0, 0]) == (2, 1)
    assert field(explore("x^2", "-pi/2")["stage"], "v0")[0, 0] == -np.pi / 2


def test_divergence_is_told():
    stage = explore("x^2", "1")["stage"]
    assert words(stage, 0.25) == "the path comes to rest" and words(stage, 2) == "the path diverges"
    assert words(stage, 0.001) == "after 60 iterations the path still moves"
    assert words(stage, 1.0) == "after 60 iterations the path still moves", "and jumps back and forth for ever"
    assert words(explore("x^4", "2")["stage"], 1.0) == "the path diverges"
    assert words(explore("x^2", "1", "nesterov")["stage"], 10) == "the path diverges"
    slow = explore("x^2 - x^2/1000", "1")["stage"]
    told, loss = field(slow, "told")[0], field(slow, "loss")
    grown = loss[-1] > loss[0]
    assert grown.any() and all(re.search("diverges|larger than at the start", word) for word in told[grown])
    cycling = explore("log(cosh(x))", "4", "momentum")["stage"]
    told, loss = field(cycling, "told")[0], field(cycling, "loss")
    assert ((loss[1] < loss[-1]) & (loss[-1] <= loss[0])).any(), "above the second place is not above the start"
    assert [word.endswith("larger than at the start") for word in told] == list((loss[-1] > loss[0]) & (np.abs(loss[-1]) < 1e5))
    assert words(explore("sqrt(x)", "0.1")["stage"], 10) == "the path leaves where f is defined"
    assert words(explore("log(x)", "0.1")["stage"], 10) == "the path leaves where f is defined"


def test_the_picture_is_as_high_as_what_was_reached_and_a_little_of_the_rest():
    """Three times the spread of what was reached below it, once above; all of it where the function has no more."""
    everywhere = np.array([-100.0, 50.0, 100.0])
    np.testing.assert_allclose(_heights(everywhere, np.array([0.0, 1.0])), (-3 - 0.06 * 5, 2 + 0.06 * 5))
    np.testing.assert_allclose(_heights(np.array([-1.0, 1.5]), np.array([0.0, 1.0])), (-1 - 0.06 * 2.5, 1.5 + 0.06 * 2.5))


def test_the_edge_of_stability_is_told_where_the_path_comes_to_rest():
    assert "L = 20: plain steps are stable there below η = 2/L = 0.1." in explore("x^2 + 10y^2")["stage"]["spec"]["text"]
    assert "L = " not in explore("x^2 + 10y^2", "", "adam")["stage"]["spec"]["text"]
    assert "L = " not in explore("x")["stage"]["spec"]["text"]


def test_the_rates_reach_from_slow_to_divergent():
    for text, low in (("x^2", 1e-3), ("(1000x)^2", 1e-7), ("500x^2", 1e-4), ("x^2/1000", 1.0), ("x^2/8", 1e-2), ("x", 1e-3)):
        found = rates(explore(text, "1")["stage"])
        np.testing.assert_allclose(found[[0, 10, 40]], low * np.array([1, 10, 1e4]), rtol=1e-12), text


def test_nothing_that_descends_is_cut_off():
    """The path of every rate that goes steadily down stays in the picture, its lowest point and the start too."""
    for text, start in (("x^4 - 3x^2 + x", "2"), ("x^2", "10"), ("x^2/2 - 5exp(-100(x - 1)^2)", "1.1"), ("x^2 + 10y^2", "2, 1"),
                        ("(1000x)^2", "1"), ("1/x", "2"), ("exp(x) - 2x", "-3"), ("cos(x) + y^2", "1, 3")):
        stage = explore(text, start)["stage"]
        u, v = mark(stage, 2)
        shown = stage["eta"]
        k = int(np.argmin(np.abs(rates(stage) - shown)))
        assert np.abs(u[:, k]).max() < 0.5 and np.abs(v[:, k]).max() < 0.5, text
        below = mark(stage, 4)[1][:, k]
        assert np.nanmin(below) > -0.55, text


def test_a_rate_that_is_thrown_about_is_not_the_one_to_start_with_though_it_may_end_lowest():
    stage = explore("x^4/4 - 2x^2 + x", "1.4", "adam")["stage"]
    loss = field(stage, "loss")
    own = loss[:, np.argmin(np.abs(rates(stage) - stage["eta"]))]
    assert np.maximum(np.diff(own), 0).sum() <= 3 * (own[0] - own[-1]) and np.nanmin(loss[-1]) < own[-1] - 1


def test_f_along_the_iterations_stays_in_its_picture_logarithmic_where_it_falls_far():
    for text, start, log in (("x^2", "1", True), ("x^2 - 1", "1", False)):
        stage = explore(text, start)["stage"]
        k = int(np.argmin(np.abs(rates(stage) - 0.1)))
        u, v = mark(stage, 4)
        assert -0.5 <= u.min() and u.max() <= 0.5, "the first iteration and the last"
        assert ("f, logarithmic" in stage["pictures"][1]) == log
        if log:  # a geometric sequence falls along a line
            assert (field(stage, "loss")[:4, k] > 1e-2).all()
            np.testing.assert_allclose(np.diff(v[:8, k]), np.diff(v[:8, k])[0], atol=2e-3)


def test_both_directions_have_one_scale_and_keep_their_middles_unless_a_path_would_be_a_stroke():
    for xlim, ylim in (((0.0, 1.0), (0.0, 3.0)), ((-2.0, 4.0), (5.0, 6.0))):
        found = _equal(xlim, ylim)
        _, _, width, height = Axes("", "", *found).box
        assert np.isclose((found[0][1] - found[0][0]) / width, (found[1][1] - found[1][0]) / height)
        np.testing.assert_allclose(np.mean(found, axis=1), np.mean([xlim, ylim], axis=1))
        assert all(new[0] <= old[0] + 1e-12 and old[1] - 1e-12 <= new[1] for new, old in zip(found, (xlim, ylim)))
    assert _equal((0.0, 1.0), (0.0, 30.0)) == ((0.0, 1.0), (0.0, 30.0))


def test_a_place_without_a_value_is_a_gap():
    left, right = explore("x*log(x)", "2")["stage"]["pictures"]
    assert "nan" not in left + right
    stage = explore("sqrt(x)", "0.5")["stage"]
    assert np.isnan(field(stage, "v0")).any(), "beyond 0 the root has no gradient, and the path ends"
    assert "nan" not in "".join(stage["pictures"])


def test_a_removable_gap_is_filled_and_equal_runs_cost_one():
    began = time.perf_counter()
    stage = explore("sin(x)/x", "0")["stage"]
    assert (field(stage, "loss")[0] == 1).all() and np.isfinite(field(stage, "v0")).all()
    explore("exp(-1/x^2)", "0")
    assert time.perf_counter() - began < 5


def test_pictures_are_well_formed_and_change_with_the_theme():
    for text in ("x^2", "x^2 + y^2"):
        for picture in explore(text)["stage"]["pictures"]:
            ElementTree.fromstring(picture)
            assert "var(--stage-ink, #1f2328)" in picture and " id=" not in picture
    ElementTree.fromstring(Axes("a < b", "&", (0, 1), (0, 1), '"title"').svg())


def test_painted_axes_send_what_a_stage_on_matplotlib_s_sends():
    """The same marks on both: only the axes' places in the picture differ."""
    t, eta = np.arange(4), np.array([0.1, 0.2])
    sliders = [Slider("n", t, "iterations", 2, "d"), Slider("eta", eta, "rate")]
    for scale, ylim in (("linear", (-1, 5)), ("log", (1e-3, 10))):
        def marks(ax):
            return [Path(ax, t[:, None], eta * t[:, None] + 1, along="n"),
                    Point(ax, [[1.0], [np.inf], [np.nan], [-1e9]], eta, color="red"),
                    Curve(ax, [0.0, 1.0, 2.0], eta[:, None] * [1.0, 2.0, 3.0], color="green")]
        readout = Readout("{n:d} {w} {v:.3f}", w=["low", "high"], v=eta)
        ours = Axes("x", "y", (0, 4), ylim, yscale=scale)
        theirs = panel("x", "y", (0, 4), ylim, yscale=scale)
        mine = painted([ours], marks(ours), sliders, readout, alt="Marks.", play="eta")
        stage = Stage(theirs.figure, marks(theirs), sliders, readout, alt="Marks.", play="eta")
        for look, other in zip(mine["spec"]["marks"], stage.spec["marks"]):
            assert look["box"] == [round(v, 3) for v in ours.box] and len(other.pop("box")) == len(look.pop("box")) == 4
        assert mine["spec"] == stage.spec and (mine["n"], mine["eta"]) == (stage.n, stage.eta)
        halves = [np.frombuffer(table, np.float16) for table in (mine["table"], stage.table)]
        np.testing.assert_allclose(*(h.astype(float) for h in halves), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("arguments, reason", [
    (("",), "it is empty"), (("   ",), "it is empty"), ((5,), "text must be a formula"),
    (("x +",), "it cannot be read as a formula"), (("x" * 501,), "longer than 500 letters"),
    (("__import__('os').system('ls')",), "it has the name __import__, which no formula has"),
    (("(" * 60 + "x" + ")" * 60,), "brackets within one another"), (("(((2**50)**50)**50)**50 + x",), "too large to work out"),
    (("(x, y)",), "one formula, not a list"), (("3",), "it has no variable"), (("x + y + z",), "it has 3 variables, x, y, z"),
    (("abs(x)",), "has a kink or a jump where x = 0"), (("x^2 + O(x^3)",), "without a term O"),
    (("sqrt(-1 - x^2)",), "complex-valued"), (("floor(x)",), "must be differentiable"),
    (("x^2", "1, 2"), "start must be a number, such as 2, got 1, 2"), (("x^2 + y^2", "1"), "two numbers, x and y"),
    (("x^2", "a"), "start must be a number"), (("x^2", "1/0"), "start must be finite"), (("x^2", "sqrt(-1)"), "start must be"),
    (("x^2", "2 +"), "start must be a number, such as 2: it cannot be read"), (("x^2", 2.0), "start must be a number.*in text"),
    (("log(x)", "-1"), "at x = -1 they are not"), (("x*log(y)", "1, 0"), "at x = 1, y = 0 they are not"),
    (("1/x", "0"), "they are not"), (("sqrt(x)", "0"), "at x = 0 they are not"),
    (("x^2", "2", "newton"), "rule must be one of sgd, momentum"),
])
def test_what_no_figure_can_be_made_of_is_refused_in_words(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        explore(*arguments)


def test_what_objective_refuses_is_refused_in_its_words():
    for expr in (sp.Abs(x), sp.sqrt(-1 - x**2), sp.Max(x, 0)):
        with pytest.raises(ValueError) as theirs:
            Objective(expr, x)
        with pytest.raises(ValueError) as ours:
            explore(str(expr).replace("Abs", "abs"), "1")
        assert str(ours.value).replace(" ", "") == str(theirs.value).replace(" ", "")


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-3.7, 12.2), (1e-9, 3e-9), (-4e7, 1e8), (0.1, 0.1001), (-1e-300, 1e-300)])
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 7 and all(low - 1e-9 * (high - low) <= t <= high + 1e-9 * (high - low) for t in found)
    assert len(set(np.round(np.diff(found) / np.diff(found)[0], 6))) == 1


def test_level_lines_are_where_the_function_has_its_level():
    a, b = np.linspace(-2, 2, 81), np.linspace(-1.5, 2.5, 71)
    z = a**2 + b[:, None] ** 2
    ends = level_segments(a, b, z, 1.0)
    np.testing.assert_allclose((ends**2).sum(axis=-1), 1, atol=2e-3)
    length = np.hypot(*(ends[:, 1] - ends[:, 0]).T).sum()
    assert abs(length - 2 * np.pi) < 1e-2, "and all of it"
    saddle = level_segments(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([[1.0, -1.0], [-1.0, 0.5]]), 0.0)
    assert saddle.shape == (2, 2, 2)
    z[40, 40] = np.nan
    assert np.isfinite(level_segments(a, b, z, 1e-4)).all()
    for corner in np.ndindex(2, 2):  # a cell without one of its values is left out
        cell = np.array([[1.0, -1.0], [-1.0, 1.0]])
        cell[corner] = np.nan
        assert level_segments(np.array([0.0, 1.0]), np.array([0.0, 1.0]), cell, 0.0).size == 0


def test_painted_lines_stand_where_their_ticks_do():
    ax = Axes("x", "y", (0, 2), (0, 4))
    ax.plot([0, 1, 2, 2, 0], [0, 4, 0, np.nan, 0])
    ax.contour(np.array([0.0, 1.0]), np.array([0.0, 4.0]), np.array([[0.0, 2.0], [0.0, 2.0]]), [0.5, 1.0, 1.5])
    svg = ax.svg()
    across = dict(re.findall(r'<text x="([\d.]+)" y="[\d.]+">(0|1|2)</text>', svg[:svg.index("text-anchor=\"end\"")]))
    u = {number: at for at, number in across.items()}
    rows = re.findall(r"M50,([\d.]+)h", svg)  # the grid's, upwards
    assert f'd="M{u["0"]},{rows[0]}L{u["1"]},{rows[-1]}L{u["2"]},{rows[0]}"' in svg
    left, top, width, height = (float(v) for v in re.search(r'<svg x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" '
                                                            r'height="([\d.]+)"', svg).groups())
    assert (left, top + height, left + width, top) == (float(u["0"]), float(rows[0]), float(u["2"]), float(rows[-1]))
    assert 0 < top < top + height < ax.height and left + width < ax.width, "with room for what is written around"
    words = re.search(r'<text x="([\d.]+)" y="15">.*translate\(11,([\d.]+)\)', svg)
    assert np.allclose([float(w) for w in words.groups()], [left + width / 2, top + height / 2]), "labels in the middle"
    assert re.findall(r'stroke-opacity="([\d.]+)"', svg) == ["1.00", "0.70", "0.40"], "the lower, the darker"


@pytest.mark.parametrize(
    "limits", [dict(xlim=(1, 1)), dict(ylim=(2, 1)), dict(xlim=(0, np.inf)), dict(ylim=(-1, 1), yscale="log")])
def test_bad_limits_are_refused(limits):
    with pytest.raises(ValueError, match="lim must be"):
        Axes("x", "y", **dict(xlim=(0, 1), ylim=(0, 1)) | limits)


def test_a_new_function_takes_no_longer_than_a_glance():
    explore("x^2"), explore("x^2 + y^2")
    times = []
    for text in ("x^4 - 3x^2 + 0.9x", "x^2 + 11y^2", "log(cosh(2x))", "log(3x + 100)", "x^2 + 0.1xy + y^2"):
        began = time.perf_counter()
        explore(text, "2" if "y" not in text else "2, 1")
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.2, times


def test_it_imports_neither_matplotlib_nor_a_widget():
    program = ("import json, sys; from metacalc.explore import explore; explore('x^2 + y^2');"
               "print(json.dumps([m for m in ('matplotlib', 'anywidget', 'IPython', 'scipy') if m in sys.modules]))")
    assert json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout) == []


def test_the_page_offers_the_library_s_rules():
    source = (ROOT / "book/python/own.js").read_text(encoding="utf-8")
    offered = re.search(r"const RULES = \{(.*?)\};", source, re.DOTALL)[1]
    assert re.findall(r"(\w+): (?:t\()?\"", offered) == list(RULES)
    for text, start, rule in json.loads(re.search(r"const EXAMPLES = (\[\[.*?\]\]);", source, re.DOTALL)[1]):
        assert explore(text, start, rule)["stage"]["spec"]["text"]
