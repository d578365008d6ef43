"""The live figures of the link: the slope in every direction, and learning as a function of its start."""

import numpy as np

from metacalc.calculus import Objective
from metacalc.descent import gradient_descent
from metacalc.stage import COLORS, Arrow, Curve, Path, Point, Readout, Slider, Stage, panel

__all__ = ["chain", "direction"]


def direction(objective: Objective, point: tuple[float, float] = (1.0, 0.6)) -> Stage:
    """The slope of a function of two variables in every direction: an arrow to turn, and difference quotients.

    Parameters
    ----------
    objective : Objective
        Function of two variables.
    point : tuple of float
    """
    angles, lengths = np.arange(0, 360, 5), np.array([0.01, 0.05, 0.1, 0.2, 0.4, 0.8])
    place = np.array(point)
    unit = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=-1)
    gradient = objective.grad(place)
    slope = unit @ gradient
    quotient = (objective(place + lengths[:, None] * unit[:, None]) - objective(place)) / lengths  # angle, length

    plane = panel("x", "y", (-0.6, 2.4), (-0.7, 1.9), "level lines, gradient and direction", size=(3.7, 3.4))
    grid = np.stack(np.meshgrid(np.linspace(-0.6, 2.4, 81), np.linspace(-0.7, 1.9, 81)), axis=-1)
    plane.contour(grid[..., 0], grid[..., 1], objective(grid), levels=12, colors=COLORS["grey"], linewidths=0.8)
    plane.set_aspect("equal")
    rose = panel("angle of u in degrees", "slope along u", (0, 355), (-3.2, 5), "slope in every direction", size=(3.7, 3.4))
    rose.plot(angles, slope, color=COLORS["green"], lw=1.6, ls="--")
    rose.set_xticks([0, 90, 180, 270])
    return Stage(
        [plane.figure, rose.figure],
        [Arrow(plane, *place, color="green", dash="--", dx=gradient[0] / 3, dy=gradient[1] / 3,
               label="gradient (a third of it)"),
         Arrow(plane, *place, color="blue", dx=unit[:, :1] * 0.7, dy=unit[:, 1:] * 0.7, drag="angle",
               label="direction u (drag it)"),
         Curve(rose, [-9, -9], [0, 0], color="green", dash="--", label="∇f · u"),
         Curve(rose, angles, quotient.T[None], color="blue", label="(f(θ + hu) − f(θ))/h"),
         Point(rose, angles[:, None], slope[:, None], color="green", shape="s", name="The slope"),
         Point(rose, angles[:, None], quotient, color="blue", name="The quotient")],
        [Slider("angle", angles, "direction", 120, "d", "°"), Slider("h", lengths, "distance h", 0.1, ".2f")],
        Readout("u at {angle:d}°: slope ∇f · u = {slope:.4f}; change over h = {h:.2f}, divided by h: {quotient:.4f}.",
                slope=slope[:, None], quotient=quotient),
        alt="Left: level lines of a function, its gradient at a point, and a direction u as arrows. Right: the slope in "
            "every direction, a cosine, largest along the gradient, beside the difference quotient at distance h.")


def chain(objective: Objective, k_max: int = 12) -> Stage:
    """k update steps as one function of the start, its tangent, and the factors of the chain rule.

    Parameters
    ----------
    objective : Objective
        Function of one variable; a double well in the chapter.
    k_max : int
    """
    starts, rates, line = np.linspace(-1.5, 1.5, 25), np.array([0.05, 0.1, 0.2, 0.3, 0.4]), np.linspace(-1.6, 1.6, 65)
    ks = np.arange(k_max + 1)
    path = gradient_descent(objective.grad, starts[:, None], rates, k_max)          # k, start, rate
    curves = gradient_descent(objective.grad, line[:, None], rates, k_max)          # k, point of the line, rate
    factors = 1 - rates * objective.hess(path)
    product = np.concatenate([np.ones((1, starts.size, rates.size)), np.cumprod(factors[:-1], axis=0)])
    ends = np.array([-0.5, 0.5])
    learned = panel("start θ₀", "θₖ after k steps", (-1.6, 1.6), (-1.6, 1.6), "learning as a function of its start")
    right = panel("step t", "1 − ηf″(θₜ)", (-0.5, k_max + 0.5), (-1.5, 1.5), "the factors of the chain rule")
    return Stage(
        [learned.figure, right.figure],
        [Curve(learned, line, np.moveaxis(curves, 1, -1)[:, None], color="blue", label="θₖ(θ₀)"),
         Curve(learned, starts[:, None, None] + ends, path[..., None] + product[..., None] * ends, color="red", dash="--",
               label="tangent"),
         Point(learned, starts[:, None], path, color="red", name="θₖ", drag="start"),
         Path(right, ks[:, None, None], factors, color="blue", along="k", dash=":"),
         Point(right, ks[:, None, None], factors, color="blue", name="The factor")],
        [Slider("k", ks, "number of steps k", 3, "d"), Slider("start", starts, "start θ₀", 0.5, ".3f"),
         Slider("eta", rates, "learning rate η", 0.2, ".2f")],
        Readout("θ₀ = {start:.3f} ↦ θₖ = {theta:.4f} after k = {k:d} step{k:s}. Derivative dθₖ/dθ₀ = {product:.4f}, the "
                "product of the first k factors.", theta=path, product=product),
        alt="Left: the point reached after k steps of gradient descent as a function of the start, with its tangent at "
            "one start. Right: the factor of the chain rule for every step.")
