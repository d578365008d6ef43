"""Formulas and iterations of a live figure: their numbers, their JavaScript, and what they refuse."""

import numpy as np
import pytest
import sympy as sp

from metacalc import Objective, adam, gradient_descent, step
from metacalc.axes import Axes
from metacalc.live import Formula, Iteration, axis_scale
from metacalc.marks import Arrow, Curve, Path, Point
from metacalc.spec import Guess, Readout, Slider, check_shapes, whole
from metacalc.stage import Stage, panel

theta, eta, start, n, s, z, t = sp.symbols("theta eta start n s z t")
HILLS = Objective(theta**2 / 10 + sp.sin(2 * theta), theta)
SLIDERS = [Slider("n", range(31), "n", 30), Slider("start", np.linspace(-6, 6, 241), "start"),
           Slider("eta", [0.05, 0.1, 0.2], "eta")]
DESCENT = Iteration({theta: start}, {theta: step(HILLS, eta)}, "n")


@pytest.mark.parametrize("index", [(0, 0, 0), (30, 200, 1), (17, 31, 2)])
def test_an_iteration_is_gradient_descent(index):
    steps, at, rate = (slider.values[k] for slider, k in zip(SLIDERS, index))
    path = gradient_descent(HILLS.grad, at, rate, int(steps))
    np.testing.assert_allclose(DESCENT(theta).line(SLIDERS, index), path, rtol=1e-12)
    np.testing.assert_allclose(DESCENT(HILLS.expr).at(SLIDERS, index), HILLS(path[-1]), rtol=1e-12)


def test_over_all_starts_at_once():
    starts = np.array([-3.0, 0.5, 4.0])
    ends = Iteration({theta: s}, {theta: step(HILLS, eta)}, 12)(theta, over=(s, starts))
    for found in (ends.at(SLIDERS, (0, 0, 2)), ends.line(SLIDERS, (0, 0, 2))):
        np.testing.assert_allclose(found, gradient_descent(HILLS.grad, starts, 0.2, 12)[-1], rtol=1e-12)
    none = Iteration({theta: s}, {theta: step(HILLS, eta)}, 0)(theta, over=(s, starts))
    np.testing.assert_array_equal(none.at(SLIDERS, (0, 0, 2)), starts)


def test_the_number_of_the_step_is_there():
    """Adam, whose bias correction counts the steps, written as an iteration of three variables."""
    m, v = sp.symbols("m v")
    slope, b1, b2 = sp.diff(theta**2, theta), sp.Rational(9, 10), sp.Rational(999, 1000)
    new_m, new_v = b1 * m + (1 - b1) * slope, b2 * v + (1 - b2) * slope**2
    move = (new_m / (1 - b1 ** (t + 1))) / (sp.sqrt(new_v / (1 - b2 ** (t + 1))) + sp.Float(1e-8))
    run = Iteration({theta: start, m: 0, v: 0}, {theta: theta - eta * move, m: new_m, v: new_v}, "n", t)
    expected = gradient_descent(Objective(theta**2, theta).grad, SLIDERS[1].values[150], 0.1, 30, adam())
    np.testing.assert_allclose(run(theta).line(SLIDERS, (30, 150, 1)), expected, rtol=1e-9)
    np.testing.assert_array_equal(run(t).line(SLIDERS, (5, 0, 0)), range(6))


def test_a_formula_in_javascript_knows_places_only():
    """Symbols come from readers too: none of their names reaches the code."""
    evil = sp.Symbol("alert(1)")
    run = Iteration({evil: start}, {evil: evil / 2}, "n")
    assert run(evil + n).codes(SLIDERS) == {"value": ["p[0] + s[0]"], "start": ["p[1]"], "update": ["(1/2)*s[0]"]}
    assert Formula(sp.Piecewise((1, eta > 0), (2, True))).codes(SLIDERS)["value"] == ["((p[2] > 0) ? ( 1 ) : ( 2 ))"]


def test_divergence_is_a_number_too():
    run = Iteration({theta: 1}, {theta: theta**3 * 10}, "n")
    assert run(theta).at(SLIDERS, (30, 0, 0)) == np.inf and np.isnan(run(theta - sp.exp(theta)).at(SLIDERS, (30, 0, 0)))


def test_sliders_may_have_more_positions_together_than_an_address_can_name():
    sliders = [Slider(f"s{i}", range(400), "s") for i in range(8)]
    check_shapes([], whole(Readout("{s0:d} {s7:d}"), sliders), sliders)
    for shape in ((2,), (2, *[1] * 7), (1,) * 9):
        with pytest.raises(ValueError, match="does not broadcast"):
            check_shapes([], Readout("{a}", a=np.zeros(shape)), sliders)


def test_sums():
    both = Formula(start) + Formula(eta)
    assert both.at(SLIDERS, (0, 0, 1)) == -6 + 0.1 and (np.array(2.0) + both).at(SLIDERS, (0, 0, 1)) == 2 + (-6 + 0.1)
    with pytest.raises(ValueError, match="add up"):
        DESCENT(theta) + Formula(start)


@pytest.mark.parametrize("make, word", [
    (lambda: Iteration({}, {}, "n"), "start and update"), (lambda: Iteration({theta: 1}, {s: 1}, "n"), "start and update"),
    (lambda: Iteration({"theta": 1}, {"theta": 1}, "n"), "start and update"),
    (lambda: Iteration({theta: 1}, {theta: 1}, -1), "steps"), (lambda: Iteration({theta: 1}, {theta: 1}, 1.5), "steps"),
    (lambda: Formula(s, over=(s, [[1.0]])), "over"), (lambda: Formula(s, over=(s, [np.nan])), "over"),
    (lambda: Formula(s, over=(s, [])), "over"), (lambda: Formula(z).check(SLIDERS), "symbol z"),
    (lambda: DESCENT(z).check(SLIDERS), "symbol z"), (lambda: DESCENT(theta).check(SLIDERS[1:]), "steps must name"),
    (lambda: Iteration({theta: z}, {theta: theta}, "n")(theta).check(SLIDERS), "symbol z"),
    (lambda: Iteration({theta: 1}, {theta: z}, "n")(theta).check(SLIDERS), "symbol z"),
    (lambda: Iteration({theta: 1}, {theta: theta}, "eta")(theta).check(SLIDERS), "numbers of steps"),
    (lambda: Formula(sp.Function("f")(eta)).codes(SLIDERS), "JavaScript"),
    (lambda: Stage((ax := panel("x", "y", (0, 1), (0, 1))).figure, [Point(ax, 0.5, 0.5, drag=("n", "z"))], SLIDERS,
                   alt="A point."), "drag"),
])
def test_bad_input_is_named(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_coordinates_may_be_of_both_kinds():
    """On logarithmic axes too: a table beside a formula has the place that it has beside a table."""
    ax = panel("x", "y", (1e-3, 1e3), (0, 4), yscale="linear")
    ax.set_xscale("log")
    mixed, plain = Point(ax, 10.0, Formula(start)).place(), Point(ax, 10.0, 1.0).place()
    assert mixed[0] == plain[0] and mixed[1][1] == [0.0, 4.0, 0] and axis_scale(ax, "x") == pytest.approx([-3, 3, 1])
    assert axis_scale(Axes("x", "y", (0, 1), (0.1, 10), yscale="log"), "y") == [-1, 1, 1]
    head = Arrow(ax, Formula(start), 1.0, dx=Formula(eta), dy=2.0).place()[2]
    assert head[0].expr == start + eta


def test_painted_at_the_start_as_the_view_draws_it():
    ax = panel("t", "θ", (0, 31), (-7, 7))
    path, curve = Path(ax, DESCENT(n), DESCENT(theta), along="n"), Curve(ax, [0, 1.0], Formula(start * s, over=(s, [0, 1])))
    stage = Stage(ax.figure, [path, curve, Point(ax, Formula(n), DESCENT(theta), drag=["start"])], SLIDERS,
                  Readout("θ = {end:.4f} {word}", end=DESCENT(theta), word=Formula(sp.Piecewise((0, start < 0), (1, True)),
                                                                             labels=["left", "right"])), alt="A path.")
    expected = gradient_descent(HILLS.grad, -6.0, 0.05, 30)
    assert stage.text == f"θ = {expected[-1]:.4f} left".replace("-", "−")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0, -6])
    assert stage.spec["marks"][2]["drag"] == [1] and len(stage.spec["runs"]) == 1, "one iteration for all marks"


def test_a_guess_is_checked():
    ax = panel("x", "y", (0, 1), (0, 1))
    mark = Point(ax, 0.5, 0.5)
    for given, word in (({"axis": "z"}, "axis"), ({"question": " "}, "question"), ({"format": "q"}, "format"),
                        ({"answer": np.zeros(7)}, "answer"), ({"hides": [Point(ax, 0.5, 0.5)]}, "hides")):
        with pytest.raises(ValueError, match=word):
            Stage(ax.figure, [mark], SLIDERS[:1], alt="A point.",
                  guess=Guess(**({"ax": ax, "axis": "x", "question": "Where?", "answer": 0.5, "hides": [mark]} | given)))
