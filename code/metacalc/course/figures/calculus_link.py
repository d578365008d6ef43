"""The live figures of the link: the slope in every direction, learning as a function of its start, and of its rate."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from metacalc.calculus import Objective, step
from metacalc.stage import COLORS, STYLE, Arrow, Curve, Formula, Guess, Iteration, Path, Point, Readout, Slider, Stage, panel

__all__ = ["chain", "direction", "rate_slope"]

S = sp.Symbol("s")  # runs along a curve


def direction(objective: Objective, point: tuple[float, float] = (0.8, 0.48)) -> Stage:
    """The slope of a function of two variables in every direction, from any point: an arrow to turn, and a chord of length h.

    Parameters
    ----------
    objective : Objective
        Function of two variables.
    point : tuple of float
        Where the point is at first.
    """
    a, b, h, angle = sp.symbols("a b h angle")
    unit = lambda degrees: sp.Matrix([sp.cos(degrees * sp.pi / 180), sp.sin(degrees * sp.pi / 180)])
    here, u, reach, degrees = sp.Matrix([a, b]), unit(angle), [-1, 1], np.arange(0, 361, 3)
    gradient = _at(objective.gradient, objective, here)
    rise = lambda v, far: _at(objective.expr, objective, here + far * v) - _at(objective.expr, objective, here)
    slope, quotient = gradient.dot(u), rise(u, h) / h
    plane, slice_, rose = _plane(objective, 1.8, "level lines, gradient and direction"), *_stacked(
        ("distance along u", "f − f(θ)", (-1.05, 1.05), (-3, 4.5), "along u: tangent and chord"),
        ("angle of u in degrees", "slope", (0, 360), (-4.6, 5.8), ""))
    rose.set(xticks=[0, 90, 180, 270, 360], yticks=[-4, -2, 0, 2, 4])
    told = [_arrow(plane, here, gradient / 3, color="green", dash="--", label="gradient (a third of it)"),
            Curve(rose, degrees, Formula(gradient.dot(unit(S)), over=(S, degrees)), color="green", dash="--", label="∇f · u"),
            Curve(rose, degrees, Formula(rise(unit(S), h) / h, over=(S, degrees)), color="blue", label="(f(θ + hu) − f(θ))/h"),
            Point(rose, Formula(angle), Formula(slope), color="green", shape="s", name="The slope"),
            Point(rose, Formula(angle), Formula(quotient), color="red", name="The quotient", drag="angle")]
    line, far = np.linspace(-1, 1, 41), here + h * u
    return Stage(
        [plane.figure, rose.figure],
        [_arrow(plane, here, u, color="ink", drag="angle", label="direction u"),
         Curve(plane, *_segment(here, far), color="blue", width=4, label="chord"),
         Point(plane, *map(Formula, far), color="red", label="θ + hu", drag=("angle", "h")),
         Point(plane, Formula(a), Formula(b), color="green", shape="s", label="θ (drag it)", drag=("a", "b")),
         Curve(slice_, line, Formula(rise(u, S), over=(S, line)), color="grey"),
         Curve(slice_, reach, Formula(S * slope, over=(S, reach)), color="green", dash="--"),
         Curve(slice_, reach, Formula(S * quotient, over=(S, reach)), color="blue"),
         Point(slice_, Formula(h), Formula(h * quotient), color="red", name="θ + hu", drag="h"),
         Point(slice_, 0, 0, color="green", shape="s", name="θ"), *told],
        [Slider("angle", np.arange(361), "direction", 120, "d", "°"),
         Slider("h", np.arange(1, 101) / 100, "distance h", 0.5, ".2f"), *_place_sliders(np.linspace(-1.2, 1.2, 61), point)],
        Readout("u at {angle:d}°: slope ∇f · u = {slope:.4f}; change over h = {h:.2f}, divided by h: {quotient:.4f}.",
                slope=Formula(slope), quotient=Formula(quotient)),
        guess=Guess(rose, "x", "At which angle is the slope largest?", Formula(sp.Piecewise(
            (full := sp.atan2(gradient[1], gradient[0]) * 180 / sp.pi, full >= 0), (full + 360, True))), told, ".0f"),
        alt="Left: level lines of a function, its gradient at a point, a direction u and a point at distance h along it. "
            "Right, above: the function along u with its tangent and the chord. Below: the slope in every direction, a cosine, "
            "largest along the gradient, beside the difference quotient at distance h.")


def chain(objective: Objective, k_max: int = 12) -> Stage:
    """k update steps as one function of the start, its tangent, and the factors of the chain rule with their product.

    Parameters
    ----------
    objective : Objective
        Function of one variable; a double well in the chapter.
    k_max : int
    """
    theta, (start, eta, product, t) = objective.variables, sp.symbols("start eta product t")
    update = step(objective, eta)
    factor = sp.diff(update, theta)
    descent = Iteration({theta: start, product: 1}, {theta: update, product: product * factor}, "k", t)
    anywhere = Iteration({theta: S}, {theta: update}, "k")
    starts, line, ends = np.linspace(-1.6, 1.6, 321), np.linspace(-1.6, 1.6, 129), [-0.5, 0.5]
    learned = panel("start θ₀", "θₖ after k steps", (-1.65, 1.65), (-1.65, 1.65), "learning as a function of its start",
                    size=(3.7, 3.9))
    well, right = _stacked(("θ", "f(θ)", (-1.65, 1.65), (-0.4, 0.5), "the path"),
                           ("step t", "factors, product", (-0.5, k_max + 0.5), (-1.7, 3.2), ""))
    well.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    return Stage(
        [learned.figure, right.figure],
        [Curve(learned, line, anywhere(theta, over=(S, line)), color="blue", label="θₖ(θ₀)"),
         Curve(learned, Formula(start + S, over=(S, ends)), descent(theta + product * S, over=(S, ends)), color="red",
               dash="--", label="tangent"),
         Point(learned, Formula(start), descent(theta), color="red", label="θₖ (drag it)", drag="start"),
         Path(well, descent(theta), descent(objective.expr), color="red", along="k", dash=":"),
         Point(well, descent(theta), descent(objective.expr), color="red", name="θₖ"),
         Point(well, Formula(start), Formula(objective.expr.subs(theta, start)), color="ink", shape="s", name="The start",
               drag="start"),
         Path(right, descent(t), descent(factor), color="blue", along="k", dash=":", label="1 − ηf″(θₜ)"),
         Path(right, descent(t), descent(product), color="purple", along="k", label="product of those before"),
         Point(right, descent(t), descent(product), color="purple", shape="D", name="The product"),
         Point(right, descent(t), descent(factor), color="blue", name="The factor", label="the next factor", hollow=True)],
        [Slider("k", np.arange(k_max + 1), "number of steps k", 0, "d"), Slider("start", starts, "start θ₀", 0.2, ".2f"),
         Slider("eta", np.arange(1, 41) / 100, "learning rate η", 0.2, ".2f")],
        Readout("θ₀ = {start:.2f} ↦ θₖ = {theta:.4f} after k = {k:d} step{k:s}. Derivative dθₖ/dθ₀ = {product:.4f}, the "
                "product of the first k factors.", theta=descent(theta), product=descent(product)),
        alt="Left: the point reached after k steps of gradient descent as a function of the start, with its tangent at "
            "one start. Right, above: the function that is minimised, with the steps on it. Below: the factor of the chain "
            "rule for every step, and the product of those so far.")


def rate_slope(objective: Objective, point: tuple[float, float] = (-1.47, 0.93)) -> Stage:
    """The loss after one step as a function of the rate, F(η) = L(θ − η∇L(θ)), and its slope −∇L(θ′)·∇L(θ), from any θ.

    Parameters
    ----------
    objective : Objective
        Quadratic function of two variables.
    point : tuple of float
        Where θ is at first.
    """
    a, b, eta = sp.symbols("a b eta")
    here = sp.Matrix([a, b])
    first = _at(objective.gradient, objective, here)
    place = _at(step(objective, eta), objective, here)
    loss, second = _at(objective.expr, objective, place), _at(objective.gradient, objective, place)
    slope = sp.diff(loss, eta)
    (best,) = sp.solve(slope, eta)
    rates, ends = np.linspace(0, 0.6, 61), [-0.12, 0.12]
    plane, above, below = _plane(objective, 2, "one step, and the gradients at its ends"), *_stacked(
        ("η", "F(η)", (0, 0.6), (-0.3, 6), "the loss after the step, and its slope"),
        ("η", "F′(η)", (0, 0.6), (-24, 24), ""))
    told = [Curve(above, rates, Formula(loss.subs(eta, S), over=(S, rates)), color="blue", label="F(η)"),
            Curve(above, Formula(eta + S, over=(S, ends)), Formula(loss + slope * S, over=(S, ends)), color="red", dash="--",
                  label="tangent"),
            Point(above, Formula(eta), Formula(loss), color="red", name="F(η)", drag="eta"),
            Curve(below, rates, Formula(-second.dot(first).subs(eta, S), over=(S, rates)), color="purple", dash="-.",
                  label="−∇L(θ′) · ∇L(θ)"),
            Point(below, Formula(eta), Formula(slope), color="red", shape="D", label="slope of F", drag="eta")]
    return Stage(
        [plane.figure, above.figure],
        [_arrow(plane, here, first / 4, color="green", dash="--", label="∇L(θ)/4"),
         _arrow(plane, place, second / 4, color="purple", dash="-.", label="∇L(θ′)/4"),
         Curve(plane, *_segment(here, place), color="blue", dash=":"),
         Point(plane, *map(Formula, place), color="red", label="θ′ (drag it)", name="θ′", drag="eta"),
         Point(plane, *map(Formula, here), color="green", shape="s", label="θ (drag it)", name="θ", drag=("a", "b")), *told],
        [Slider("eta", rates, "learning rate η", 0.1, ".2f"), *_place_sliders(0.06 * np.arange(60) - 1.77, point)],
        Readout("η = {eta:.2f}: F(η) = {loss:.4f}, its slope {slope:.4f}; ∇L(θ′) · ∇L(θ) = {product:.4f}.\n"
                "F is least at η = {best:.4f}, if the rate may be any number.",
                loss=Formula(loss), slope=Formula(slope), product=Formula(second.dot(first)), best=Formula(best)),
        guess=Guess(above, "x", "Which rate makes the loss after the step least?", Formula(best), told, ".2f"),
        alt="Left: level lines of a loss, a step from θ to θ′, and the gradients at both. Right, above: the loss after the "
            "step for every rate, with its tangent. Below: the slope of that curve, and the product of the two gradients.")


def _at(expr: Any, objective: Objective, place: sp.Matrix) -> Any:
    """An expression, or a matrix of them, at another place."""
    return expr.subs(dict(zip(objective.variables, place)), simultaneous=True)


def _arrow(ax: Any, place: sp.Matrix, vector: sp.Matrix, **look: Any) -> Arrow:
    return Arrow(ax, Formula(place[0]), Formula(place[1]), dx=Formula(vector[0]), dy=Formula(vector[1]), **look)


def _segment(start: sp.Matrix, end: sp.Matrix) -> list[Formula]:
    """Coordinates of a straight line from one place to another."""
    return [Formula(p + S * (q - p), over=(S, [0, 1])) for p, q in zip(start, end)]


def _place_sliders(values: np.ndarray, point: tuple[float, float]) -> list[Slider]:
    return [Slider(name, values, f"{axis} of θ", value, ".2f") for name, axis, value in zip("ab", "xy", point)]


def _plane(objective: Objective, reach: float, title: str) -> Any:
    """Axes with the level lines of a function of two variables."""
    plane = panel("x", "y", (-reach, reach), (-reach, reach), title, size=(3.7, 4.4))
    grid = np.stack(np.meshgrid(*[np.linspace(-reach, reach, 81)] * 2), axis=-1)
    plane.contour(grid[..., 0], grid[..., 1], objective(grid), levels=0.2 * np.arange(1, 10)**2, colors=COLORS["grey"],
                  linewidths=0.8)
    plane.set_aspect("equal")
    return plane


def _stacked(*settings: tuple[str, str, tuple[float, float], tuple[float, float], str]) -> list[Any]:
    """Axes one above the other, each with its labels, limits and title."""
    with mpl.rc_context(STYLE):
        axes = list(Figure(figsize=(3.7, 4.1)).subplots(len(settings), 1))
        for ax, (xlabel, ylabel, xlim, ylim, title) in zip(axes, settings):
            ax.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, ylim=ylim, title=title)
    return axes
