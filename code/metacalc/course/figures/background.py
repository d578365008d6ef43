"""The live figures of the background: the slope as a limit, and gradient descent as Euler's method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from metacalc.calculus import Objective, step
from metacalc.spec import written
from metacalc.stage import COLORS, STYLE, Curve, Formula, Guess, Iteration, Point, Readout, Slider, Stage, panel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["euler_steps", "secant", "shrinkage"]

ZOOMED, EPSILON, FAR = np.linspace(-1.6, 1.6, 65), 1e-16, 99  # FAR is out of the picture


def shrinkage(examples: Sequence[float] = (3.9, 4.5, 5.1), sigma: float = 1) -> Stage:
    """A guess between the mean of a few examples and the mean of earlier tasks, and what the trust in the examples costs.

    Parameters
    ----------
    examples : sequence of float
        Where the examples are at first.
    sigma : float
        Standard deviation of the noise of an example.
    """
    w, m, tau, *xs = sp.symbols(f"w m tau x1:{len(examples) + 1}")
    risk = w**2 * sp.nsimplify(sigma)**2 / len(xs) + (1 - w)**2 * tau**2
    (trust,) = sp.solve(sp.diff(risk, w), w)
    mean, least = sp.Add(*xs) / len(xs), risk.subs(w, trust)
    guess = trust * mean + (1 - trust) * m
    line, shares = np.linspace(0, 6, 121), np.linspace(0, 1, 51)
    values = panel("value", "", (0, 6), (-1.15, 1.15), "three examples, and earlier tasks", size=(3.7, 3.4))
    values.set_yticks([])
    errors = panel("trust w in the examples", "expected squared error", (-0.03, 1.03), (0, 1.15), "the cost of a trust",
                   size=(3.7, 3.4))
    at = lambda ax, x, y, color, shape, **look: Point(ax, Formula(x), Formula(y), color=color, shape=shape, **look)
    told = [at(values, guess, -0.85, "red", "D", label="guess"),
            Curve(errors, shares, Formula(risk, over=(w, shares)), color="grey"),
            at(errors, trust, least, "red", "D", label="least error", name="The least error")]
    return Stage(
        [values.figure, errors.figure],
        [Curve(values, line, Formula(sp.exp(-((w - m) / tau)**2 / 2), over=(w, line)), color="green", dash="--",
               label="means of tasks"),
         *(at(values, x, -0.4, "blue", "o", label="examples (drag)", name="An example", drag=x.name) for x in xs),
         Curve(values, Formula(m + w * (mean - m), over=(w, [0, 1])), [-0.85, -0.85], color="grey"),
         at(values, mean, -0.85, "blue", "s", label="their mean x̄"),
         at(values, m + tau, sp.exp(-sp.Rational(1, 2)), "green", "^", label="m and m + τ (drag)", name="m + τ", drag="tau"),
         at(values, m, -0.85, "green", "^", name="m", drag="m"),
         at(errors, sp.Integer(1), risk.subs(w, 1), "blue", "s", label="the examples only"),
         at(errors, sp.Integer(0), risk.subs(w, 0), "green", "^", label="m only"), *told],
        [Slider("tau", np.arange(4, 205) / 200, "spread of tasks τ", 0.5, ".3f"),
         Slider("m", np.linspace(1, 5, 201), "mean of tasks m", 3, ".2f"),
         *(Slider(x.name, np.arange(201) * 0.03, f"example {i}", value, ".2f")
           for i, (x, value) in enumerate(zip(xs, examples), start=1))],
        Readout("τ = {tau:.3f}: trust w = {trust:.3f}. Mean of the examples x̄ = {mean:.3f}, guess {guess:.3f}.\nExpected "
                "squared error {least:.4f}; with the examples only {only:.4f}.", trust=Formula(trust), mean=Formula(mean),
                guess=Formula(guess), least=Formula(least), only=Formula(risk.subs(w, 1))),
        guess=Guess(errors, "x", "How much should the guess trust the examples?", Formula(trust), told),
        alt="Left: a bell curve of the means of earlier tasks, three examples of a new one, and a guess between the mean of "
            "the examples and that of the tasks. Right: the expected squared error for every trust in the examples, and the "
            "least.")


def secant(objective: Objective) -> Stage:
    """Secants that turn into the tangent as h → 0, in a picture that zooms with h, and the errors of two difference quotients.

    Parameters
    ----------
    objective : Objective
        Function of one variable whose slopes lie between −1 and 1; sin in the chapter.
    """
    points, m, ends = np.linspace(-1, 3, 201), np.arange(61) / 4, [-1.6, 1.6]
    x, u, h, grid, size = sp.Symbol("x"), sp.Symbol("u"), 10 ** -sp.Symbol("m"), points[:, None], 10.0**-m
    value, slope = (expr.subs(objective.variables, x) for expr in (objective.expr, objective.gradient))
    quotient = _mean_over(slope, x, h)
    errors = {"forward": (objective(grid + size) - objective(grid)) / size - objective.grad(grid),
              "central": (objective(grid + size) - objective(grid - size)) / (2 * size) - objective.grad(grid)}
    errors = {name: np.abs(error) for name, error in errors.items()}
    best = size[errors["forward"].argmin(axis=1)]
    graph, zoom = _graph_and_zoom()
    line = np.linspace(-2.4, 4.6, 201)
    graph.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    log = panel("h", "error of the slope", (5e-16, 2), (3e-13, 3), "both scales logarithmic", yscale="log", size=(3.7, 3.5))
    log.set_xscale("log")
    frame = [Formula(centre + h * u, over=(u, 1.6 * np.array(sides)))
             for centre, sides in ((x, (-1, 1, 1, -1, -1)), (value, (-1, -1, 1, 1, -1)))]
    at_h = Formula(h)
    told = [Curve(log, size, errors["forward"][:, None, :], color="blue", dots=True, label="forward"),
            Curve(log, size, errors["central"][:, None, :], color="purple", dash=":", dots=True, label="central"),
            Curve(log, size, Formula(sp.Abs(sp.diff(slope, x)) * u / 2 + EPSILON / u, over=(u, size)), color="grey", dash="--",
                  label="h|f″|/2 + 10⁻¹⁶/h"),
            Point(log, at_h, errors["forward"], color="red", name="The forward error", drag="m")]
    return Stage(
        [graph.figure, log.figure],
        [Curve(graph, *frame, color="ink", dash=":", label="what the zoom shows"),
         Point(graph, Formula(x + h), Formula(value.subs(x, x + h)), color="red", label="x + h", drag="m"),
         Point(graph, Formula(x), Formula(value), color="green", shape="s", label="x (drag it)", drag="x"),
         Curve(zoom, ZOOMED, Formula(_mean_over(slope, x, h * u) * u, over=(u, ZOOMED)), color="grey", label="f"),
         Curve(zoom, ends, Formula(quotient * u, over=(u, ends)), color="blue", label="secant"),
         Curve(zoom, ends, Formula(slope * u, over=(u, ends)), color="green", dash="--", label="tangent"),
         Point(zoom, 1, Formula(quotient), color="red", name="x + h"), Point(zoom, 0, 0, color="green", shape="s", name="x"),
         *told],
        [Slider("x", points, "point x", 1, ".2f"), Slider("m", m, "distance h", 0, names=[written(v, ".2g") for v in size])],
        Readout("x = {x:.2f}, h = {h:.2g}: slope of the secant {quotient:.6f}, of the tangent {slope:.6f}.\nComputed with 16 "
                "digits, the forward quotient is off by {forward}, the central one by {central}.",
                h=at_h, quotient=Formula(quotient), slope=Formula(slope),
                **{name: np.vectorize(lambda error: written(error, ".1e"))(error) for name, error in errors.items()}),
        play="m", guess=Guess(log, "x", "Which h gives the smallest forward error?", best[:, None], told, ".0e"),
        alt="Left, above: a curve with a point x and a second one at distance h. Below: what is around x, in units of h: the "
            "curve, its tangent, and the secant through both points. Right: the error of the secant's slope for every h, and "
            "of the central difference quotient.")


def _mean_over(rate: sp.Expr, x: sp.Symbol, width: sp.Expr) -> sp.Expr:
    """The mean of a rate of change from x to x + width: the difference quotient, without the difference of equal numbers.

    By Gauss's rule with 8 nodes, which for a width below 4 is exact to rounding for a sine.
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    return sp.Add(*(weight / 2 * rate.subs(x, x + (1 + node) / 2 * width) for node, weight in zip(nodes, weights)))


def _graph_and_zoom() -> tuple[Any, Any]:
    """Two axes: the whole curve, and below it what is around x in units of h."""
    with mpl.rc_context(STYLE):
        graph, zoom = Figure(figsize=(3.7, 4.3)).subplots(2, 1, height_ratios=(2, 5))
        graph.set(xlabel="x", ylabel="f", xlim=(-2.4, 4.6), ylim=(-1.5, 1.5), title="a curve, and a zoom that follows h")
        zoom.set(xlabel="distance from x, in units of h", ylabel="f − f(x), in units of h", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    return graph, zoom


def euler_steps(objective: Objective, theta0: tuple[float, float] = (-1.6, 1.2), time: float = 2) -> Stage:
    """Gradient descent as Euler's method: k steps of rate time/k from any start, beside the exact flow of a quadratic.

    Parameters
    ----------
    objective : Objective
        Quadratic function of two variables with its minimum at 0 and numbers that SymPy knows exactly.
    theta0 : tuple of float
        Where the start is at first.
    time : float
        Length of the flow.
    """
    counts, places = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]), np.linspace(-2, 2, 81)
    k, n, t, paid, *start = sp.symbols("k n t paid u v")
    theta, eta, slope = objective.variables, time / k, objective.gradient
    update = dict(zip(theta, step(objective, eta))) | {paid: paid + eta * slope.dot(slope)}
    descent = Iteration(dict(zip(theta, start)) | {paid: 0}, update, "k")
    flow = _by_eigenvalues(objective, start, lambda value: sp.exp(-value * t))
    end, last = (place.subs(t, time) for place in (flow, _by_eigenvalues(objective, start, lambda value: (1 - eta * value)**k)))
    apart = sp.sqrt((last - end).dot(last - end))
    f = lambda place: objective.expr.subs(dict(zip(theta, place)), simultaneous=True)
    dotted = [descent(sp.Piecewise((x, k <= 16), (FAR, True))) for x in theta]  # more dots would bury the flow
    plane, errors = _plane_and_errors(objective, time)
    clock, rates = np.linspace(0, time, 61), time / counts
    return Stage(
        [plane.figure, errors.figure],
        [Curve(plane, *(Formula(x, over=(t, clock)) for x in flow), color="green", label="gradient flow"),
         Curve(plane, *(descent(x) for x in theta), color="blue", dash=":", label="Euler = descent"),
         Curve(plane, *dotted, color="blue", dash=" ", dots=True),
         Point(plane, *(Formula(x) for x in end), color="green", shape="D", label="end of the flow"),
         Point(plane, *(descent(x) for x in theta), color="red", label="last step", name="The last step"),
         Point(plane, *(Formula(x) for x in start), color="blue", shape="s", label="start (drag it)", drag=("u", "v")),
         Curve(errors, rates, Formula(apart.subs(k, n), over=(n, counts)), color="blue", dots=True),
         Curve(errors, rates, Formula(apart.subs(k, 64) * 64 / n, over=(n, counts)), color="grey", dash="--", label="slope 1"),
         Point(errors, Formula(eta), Formula(apart), color="red", name="The error", drag="k")],
        [Slider("k", counts, "number of steps k", 4, "d"), Slider("u", places, "start θ₁", theta0[0], ".2f"),
         Slider("v", places, "start θ₂", theta0[1], ".2f")],
        Readout("η = {eta:.4g}: the ends are {error:.4f} apart.\n"
                "Loss removed f(θ₀) − f(θₖ) = {drop:.4f}; sum of η‖∇f‖² over the steps {area:.4f}; integral along the "
                "flow {integral:.4f}.", eta=Formula(eta), error=Formula(apart), area=descent(paid),
                drop=descent(f(start) - objective.expr), integral=Formula(f(start) - f(end))),
        alt="Left: level lines of a quadratic, the curve of the gradient flow and the steps of gradient descent. Right: "
            "the distance between the two ends against the learning rate, a line of slope one on logarithmic scales.")


def _by_eigenvalues(objective: Objective, start: Sequence[sp.Symbol], function: Callable[[sp.Expr], sp.Expr]) -> sp.Matrix:
    """A function of the Hessian of a quadratic, applied to the start."""
    vectors, values = objective.hessian.diagonalize(normalize=True)
    return vectors * sp.diag(*map(function, values.diagonal())) * vectors.T * sp.Matrix(start)


def _plane_and_errors(objective: Objective, time: float) -> tuple[Any, Any]:
    """Axes with the level lines of a function, and others for a distance against a rate."""
    plane = panel("θ₁", "θ₂", (-2.2, 2.2), (-2.2, 2.2), "the flow and Euler's steps", size=(3.7, 3.9))
    grid = np.stack(np.meshgrid(*[np.linspace(-2.2, 2.2, 81)] * 2), axis=-1)
    plane.contour(grid[..., 0], grid[..., 1], objective(grid), levels=0.12 * np.arange(1, 9)**2, colors=COLORS["faint"],
                  linewidths=0.9)
    plane.set_aspect("equal")
    errors = panel(f"rate η = {time:g}/k", "distance of the ends", (0.02, 3), (1e-4, 10), "both scales logarithmic",
                   yscale="log", size=(3.7, 3.6))
    errors.set_xscale("log")
    return plane, errors
