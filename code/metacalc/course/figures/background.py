"""The live figures of the background: the slope as a limit, and gradient descent as Euler's method."""

import numpy as np

from metacalc.calculus import Objective
from metacalc.descent import gradient_descent
from metacalc.stage import COLORS, Curve, Point, Readout, Slider, Stage, panel

__all__ = ["euler_steps", "secant"]


def secant(objective: Objective) -> Stage:
    """Secants that turn into the tangent as h → 0, at 9 points, and the error of two difference quotients.

    Parameters
    ----------
    objective : Objective
        Function of one variable; sin in the chapter.
    """
    points, halvings = np.linspace(-1, 3, 9), np.arange(45)
    h = 2.0 ** (1 - halvings)
    x, step_size = points[:, None], h
    forward = (objective(x + step_size) - objective(x)) / step_size
    central = (objective(x + step_size) - objective(x - step_size)) / (2 * step_size)
    slope = objective.grad(x)
    graph = panel("x", "f(x)", (-2.2, 5.2), (-2.2, 2.2), "the secant through x and x + h")
    line = np.linspace(-2.2, 5.2, 201)
    graph.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    errors = panel("h", "error of the slope", (3e-14, 5), (1e-14, 5), "both scales logarithmic", yscale="log")
    errors.set_xscale("log")
    ends = np.array([-2.2, 5.2])
    return Stage(
        [graph.figure, errors.figure],
        [Curve(graph, ends, (objective(x) + slope * (ends - x))[:, None, :], color="green", dash="--", label="tangent"),
         Curve(graph, ends, objective(x)[..., None] + forward[..., None] * (ends - x[..., None]), color="blue", label="secant"),
         Point(graph, x, objective(x), color="green", shape="s", name="x", drag="x"),
         Point(graph, x + step_size, objective(x + step_size), color="red", name="x + h"),
         Curve(errors, h, np.abs(forward - slope)[:, None, :], color="blue", dots=True, label="forward"),
         Curve(errors, h, np.abs(central - slope)[:, None, :], color="purple", dash=":", dots=True, label="central"),
         Point(errors, step_size, np.abs(forward - slope), color="red", name="The forward error")],
        [Slider("x", points, "point x", 0.5, ".1f"), Slider("m", halvings, "halvings of h", 0, "d")],
        Readout("x = {x:.1f}, h = {h:.3g}: slope of the secant {forward:.6f}, of the tangent {slope:.6f}.\n"
                "Error of the forward quotient {error:.1e}, of the central one {central:.1e}.",
                h=h, forward=forward, slope=slope, error=np.abs(forward - slope), central=np.abs(central - slope)),
        play="m",
        alt="Left: a curve, its tangent at a point, and the secant through that point and a second one at distance h. "
            "Right: the error of the secant's slope for every h, and of the central difference quotient.")


def euler_steps(objective: Objective, theta0: tuple[float, float] = (-1.6, 1.2), time: float = 2.0) -> Stage:
    """Gradient descent as Euler's method: N steps of rate time/N beside the exact gradient flow of a quadratic.

    Parameters
    ----------
    objective : Objective
        Quadratic function of two variables with its minimum at 0.
    theta0 : tuple of float
    time : float
        Length of the flow.
    """
    counts = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64])
    H, start = np.array(objective.hessian, float), np.array(theta0)
    lam, basis = np.linalg.eigh(H)
    flow = lambda t: (np.exp(-np.multiply.outer(t, lam)) * (basis.T @ start)) @ basis.T
    paths = [gradient_descent(objective.grad, start, time / n, int(n)) for n in counts]
    # A path of N steps waits at its end, so that all have the length of the longest.
    shown = np.stack([np.concatenate([p, np.repeat(p[-1:], counts[-1] - n, axis=0)]) for p, n in zip(paths, counts)])
    error = np.array([np.linalg.norm(p[-1] - flow(time)) for p in paths])
    drop = np.array([objective(p[0]) - objective(p[-1]) for p in paths])
    area = np.array([time / n * (objective.grad(p[:-1]) ** 2).sum() for p, n in zip(paths, counts)])

    plane = panel("θ₁", "θ₂", (-2.2, 3.6), (-1.9, 1.9), "the flow and Euler's steps")
    grid = np.stack(np.meshgrid(np.linspace(-2.2, 3.6, 101), np.linspace(-1.9, 1.9, 81)), axis=-1)
    plane.contour(grid[..., 0], grid[..., 1], objective(grid), levels=8, colors=COLORS["faint"], linewidths=0.9)
    errors = panel("rate η = T/N", "distance of the ends", (0.02, 3), (1e-3, 10), "both scales logarithmic", yscale="log")
    errors.set_xscale("log")
    exact, rates = flow(np.linspace(0, time, 101)), time / counts
    return Stage(
        [plane.figure, errors.figure],
        [Curve(plane, exact[:, 0], exact[:, 1], color="green", label="gradient flow"),
         Curve(plane, shown[..., 0], shown[..., 1], color="blue", dash=":", dots=True, label="Euler = descent"),
         Curve(errors, rates, error, color="blue", dots=True),
         Curve(errors, rates, error[-1] * rates / rates[-1], color="grey", dash="--", label="slope 1"),
         Point(errors, rates, error, color="red", name="The error")],
        [Slider("N", counts, "number of steps N", 2, "d")],
        Readout("η = {eta:.4g}: the ends are {error:.4f} apart.\n"
                "Loss removed f(θ₀) − f(θ_N) = {drop:.4f}; sum of η‖∇f‖² over the steps {area:.4f}; integral along the "
                "flow {integral:.4f}.", eta=rates, error=error, drop=drop, area=area,
                integral=objective(start) - objective(flow(time))),
        alt="Left: level lines of a quadratic, the curve of the gradient flow and the steps of gradient descent. Right: "
            "the distance between the two ends against the learning rate, a line of slope one on logarithmic scales.")
