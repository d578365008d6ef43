"""The pictures of the chapters, in one style. Each returns a `Stage`; what it shows is computed by `calculus` and
`descent`, as in the text beside it."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from metacalc.calculus import Objective, step
from metacalc.descent import convergence_factor, gradient_descent, momentum
from metacalc.stage import COLORS, STYLE, Arrow, Curve, Path, Point, Readout, Slider, Stage

__all__ = [
    "chain", "direction", "euler_steps", "hills", "learning_path", "learning_to_learn", "panel", "parabola", "secant", "valley",
]


def panel(xlabel, ylabel, xlim, ylim, title="", yscale="linear", size=(3.7, 3.2)):
    """One axes of its own figure, which a stage sets beside others or, on a phone, below them.

    Parameters
    ----------
    xlabel, ylabel, title : str
    xlim, ylim : tuple of float
    yscale : str
        "linear" or "log".
    size : tuple of float
        Inches.

    Returns
    -------
    matplotlib.axes.Axes
    """
    with mpl.rc_context(STYLE):
        ax = Figure(figsize=size).subplots()
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, yscale=yscale, ylim=ylim, title=title)
    return ax


CHAPTERS = ("Background", "Core concepts and the calculus link", "Gradient descent", "The mathematics of meta-learning", "Practice",
            "Applications", "Tools and resources", "Trends and challenges", "Questions and answers")
ROUTES = {  # which chapters, colour, dash, shape
    "the whole course": (range(1, 10), "blue", "-", "o"),
    "an evening of figures": ((1, 2, 3, 4, 5, 6, 8), "orange", "--", "s"),
    "to use it at work": ((3, 4, 5, 6, 7, 9), "green", "-.", "^"),
}


def learning_path():
    """The chapters as stops on three routes through the course, drawn on the current pyplot backend."""
    with mpl.rc_context(STYLE):
        ax = plt.subplots(figsize=(5.6, 4.2))[1]
        for x, (name, (stops, color, dash, shape)) in enumerate(ROUTES.items()):
            ax.plot([x] * len(stops), stops, dash, color=COLORS[color], marker=shape, ms=9, lw=2, label=name)
        for number, chapter in enumerate(CHAPTERS, start=1):
            ax.text(len(ROUTES) - 0.3, number, f"{number}  {chapter}", va="center", fontsize=10)
        ax.set(xlim=(-0.5, 8), ylim=(9.6, 0.4))
        ax.axis("off")
        ax.figure.legend(loc="outside lower center", ncols=3)


def learning_to_learn(sharpness=(4, 1, sp.Rational(1, 2)), minima=(-2, 1, 2), n_iters=30):
    """Three tasks ½a(θ − c)² and one start θ that learns to be a good one to adapt from, for ten inner rates.

    The meta-loss is the mean of the tasks' losses after one inner step of rate α; with α = 0 it is the mean loss.
    """
    theta, alpha = sp.symbols("theta alpha")
    tasks = [Objective(sp.Rational(1, 2) * a * (theta - c)**2, theta) for a, c in zip(sharpness, minima)]
    adapted = [step(task, alpha) for task in tasks]
    after = sum(task.expr.subs(theta, new) for task, new in zip(tasks, adapted)) / len(tasks)
    rates = np.arange(10) / 20
    losses = [Objective(after.subs(alpha, float(rate)), theta) for rate in rates]
    path = np.stack([gradient_descent(loss.grad, -4.0, 0.3, n_iters) for loss in losses], axis=-1)
    new = [sp.lambdify((theta, alpha), u)(path, rates) for u in adapted]
    line = np.linspace(-5, 5, 101)

    left = panel("θ", "loss of a task", (-5, 5), (-1, 24), "one start, three tasks")
    right = panel("θ", "mean loss of the tasks", (-5, 5), (-0.5, 12), "what is minimised")
    right.plot(line, losses[0](line), color=COLORS["grey"], lw=1.6, ls="--")
    looks = (("blue", "-", "o"), ("green", "--", "s"), ("purple", "-.", "^"))
    marks = []
    for a, word, task, u, (color, dash, shape) in zip(sharpness, ("sharp", "medium", "flat"), tasks, new, looks):
        left.plot(line, task(line), color=COLORS[color], ls=dash, lw=1.4)
        marks += [Point(left, path, task(path), color=color, shape=shape, label=f"a = {a} ({word})", name="A task's loss"),
                  Arrow(left, path, task(path), color=color, dx=u - path, dy=task(u) - task(path))]
    before, reached = losses[0](path), np.stack([f(path[:, i]) for i, f in enumerate(losses)], axis=-1)
    marks += [Curve(right, line, np.stack([f(line) for f in losses])[None], color="red", label="after it"),
              Curve(right, [9, 9], [0, 0], color="grey", dash="--", label="before the inner step"),  # for the legend
              Point(right, path, reached, color="red", shape="D", name="θ")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("n", np.arange(n_iters + 1), "outer iterations", 0, "d"),
         Slider("alpha", rates, "inner rate α", 0.2, ".2f")],
        Readout("After {n:d} outer iteration{n:s} θ = {theta:.3f}: mean loss {before:.3f} before an inner step of rate "
                "α = {alpha:.2f}, {after:.3f} after it.", theta=path, before=before, after=reached),
        alt="Left: the losses of three tasks, the common start θ and an arrow for each task's inner step. Right: "
            "the mean loss of the tasks before and after that step, with θ on its way to the minimum of the latter.")


def secant(objective):
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


def euler_steps(objective, theta0=(-1.6, 1.2), time=2.0):
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
    H, theta0 = np.array(objective.hessian, float), np.array(theta0)
    lam, basis = np.linalg.eigh(H)
    flow = lambda t: (np.exp(-np.multiply.outer(t, lam)) * (basis.T @ theta0)) @ basis.T
    paths = [gradient_descent(objective.grad, theta0, time / n, int(n)) for n in counts]
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
                integral=objective(theta0) - objective(flow(time))),
        alt="Left: level lines of a quadratic, the curve of the gradient flow and the steps of gradient descent. Right: "
            "the distance between the two ends against the learning rate, a line of slope one on logarithmic scales.")


def direction(objective, point=(1.0, 0.6)):
    """The slope of a function of two variables in every direction: an arrow to turn, and difference quotients.

    Parameters
    ----------
    objective : Objective
        Function of two variables.
    point : tuple of float
    """
    angles, lengths = np.arange(0, 360, 5), np.array([0.01, 0.05, 0.1, 0.2, 0.4, 0.8])
    point = np.array(point)
    unit = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=-1)
    gradient = objective.grad(point)
    slope = unit @ gradient
    quotient = (objective(point + lengths[:, None] * unit[:, None]) - objective(point)) / lengths  # angle, length

    plane = panel("x", "y", (-0.6, 2.4), (-0.7, 1.9), "level lines, gradient and direction", size=(3.7, 3.4))
    grid = np.stack(np.meshgrid(np.linspace(-0.6, 2.4, 81), np.linspace(-0.7, 1.9, 81)), axis=-1)
    plane.contour(grid[..., 0], grid[..., 1], objective(grid), levels=12, colors=COLORS["grey"], linewidths=0.8)
    plane.set_aspect("equal")
    rose = panel("angle of u in degrees", "slope along u", (0, 355), (-3.2, 5), "slope in every direction", size=(3.7, 3.4))
    rose.plot(angles, slope, color=COLORS["green"], lw=1.6, ls="--")
    rose.set_xticks([0, 90, 180, 270])
    return Stage(
        [plane.figure, rose.figure],
        [Arrow(plane, *point, color="green", dash="--", dx=gradient[0] / 3, dy=gradient[1] / 3, label="gradient (a third of it)"),
         Arrow(plane, *point, color="blue", dx=unit[:, :1] * 0.7, dy=unit[:, 1:] * 0.7, drag="angle", label="direction u (drag it)"),
         Curve(rose, [-9, -9], [0, 0], color="green", dash="--", label="∇f · u"),
         Curve(rose, angles, quotient.T[None], color="blue", label="(f(θ + hu) − f(θ))/h"),
         Point(rose, angles[:, None], slope[:, None], color="green", shape="s", name="The slope"),
         Point(rose, angles[:, None], quotient, color="blue", name="The quotient")],
        [Slider("angle", angles, "direction", 120, "d", "°"), Slider("h", lengths, "distance h", 0.1, ".2f")],
        Readout("u at {angle:d}°: slope ∇f · u = {slope:.4f}; change over h = {h:.2f}, divided by h: {quotient:.4f}.",
                slope=slope[:, None], quotient=quotient),
        alt="Left: level lines of a function, its gradient at a point, and a direction u as arrows. Right: the slope in "
            "every direction, a cosine, largest along the gradient, beside the difference quotient at distance h.")


def chain(objective, k_max=12):
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
         Curve(learned, starts[:, None, None] + ends, path[..., None] + product[..., None] * ends, color="red", dash="--", label="tangent"),
         Point(learned, starts[:, None], path, color="red", name="θₖ", drag="start"),
         Path(right, ks[:, None, None], factors, color="blue", along="k", dash=":"),
         Point(right, ks[:, None, None], factors, color="blue", name="The factor")],
        [Slider("k", ks, "number of steps k", 3, "d"), Slider("start", starts, "start θ₀", 0.5, ".3f"),
         Slider("eta", rates, "learning rate η", 0.2, ".2f")],
        Readout("θ₀ = {start:.3f} ↦ θₖ = {theta:.4f} after k = {k:d} step{k:s}. Derivative dθₖ/dθ₀ = {product:.4f}, the product of "
                "the first k factors.", theta=path, product=product),
        alt="Left: the point reached after k steps of gradient descent as a function of the start, with its tangent at "
            "one start. Right: the factor of the chain rule for every step.")


def parabola(objective, theta0=10.0, n_iters=60):
    """Gradient descent on a quadratic function of a number, for 48 rates: the path on its curve, and the loss.

    Parameters
    ----------
    objective : Objective
        Quadratic function of one variable; θ² in the chapter.
    theta0 : float
    n_iters : int

    Raises
    ------
    ValueError
        If `objective` is not quadratic.
    """
    if not objective.hessian.is_number:
        raise ValueError(f"objective must be quadratic, got {objective}")
    rates = np.arange(1, 49) / 40
    theta = gradient_descent(objective.grad, theta0, rates, n_iters)  # axes: iteration, rate
    loss, t = objective(theta), np.arange(n_iters + 1)
    curve = panel("θ", "f(θ)", (-15, 15), (-15, 220), "the path on the curve")
    line = np.linspace(-15, 15, 201)
    curve.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    decay = panel("iteration t", "f(θ), logarithmic", (-1, n_iters + 1), (1e-9, 1e9), "the loss", yscale="log")
    factor = 1 - rates * float(objective.hessian)
    regime = np.select([np.isclose(factor, 0), np.isclose(factor, -1), factor > 0, factor > -1],
                       ["the minimum is reached in one step", "θ jumps back and forth for ever",
                        "the error shrinks monotonically", "the error oscillates and shrinks"],
                       "the error oscillates and grows: divergence")
    return Stage(
        [curve.figure, decay.figure],
        [Path(curve, theta, loss, color="blue"), Point(curve, theta, loss, color="red", name="θ"),
         Path(decay, t[:, None], loss, color="blue"), Point(decay, t[:, None], loss, color="red", name="The loss")],
        [Slider("n", t, "iterations", 10, "d"), Slider("eta", rates, "learning rate η", 0.1, ".3f")],
        Readout("η = {eta:.3f}: {regime}.\nAfter {n:d} iteration{n:s} θ = {theta:.4g} and f(θ) = {loss:.4g}.",
                theta=theta, loss=loss, regime=regime),
        alt="Left: the curve of f with the iterates of gradient descent on it. Right: f at each iterate, on a "
            "logarithmic scale.")


def valley(n_iters=40, horizon=400):
    """Heavy-ball momentum on ½(x²/κ + y²), for 5 condition numbers, 17 rates and 6 momenta at once.

    The picture shows `n_iters` iterations; the number to a thousandth of the first error is counted up to `horizon`.
    """
    kappas, rates, betas = np.array([1, 3, 10, 30, 100]), np.arange(1, 18) / 8, np.array([0, 0.2, 0.4, 0.6, 0.8, 0.9])
    kappa, eta, beta = kappas[:, None, None, None], rates[:, None, None], betas[:, None]  # a last axis for (x, y)
    eigenvalues = np.concatenate([1 / kappa, np.ones_like(1 / kappa)], axis=-1)
    start = np.broadcast_to([-1.2, 0.9], (5, 17, 6, 2))
    path = gradient_descent(lambda theta: eigenvalues * theta, start, eta, horizon, momentum(beta))
    with np.errstate(over="ignore"):
        error = np.linalg.norm(path, axis=-1)
    small = error <= 1e-3 * error[0]
    measured = np.where(small.any(axis=0), small.argmax(axis=0).astype(str), f"more than {horizon}")
    factor = convergence_factor(eta[..., 0], beta[..., 0], eigenvalues)
    with np.errstate(divide="ignore"):
        steps = np.log(1e-3) / np.log(factor)
    predicted = np.where(factor < 1 - 1e-12, np.char.mod("about %d", np.maximum(1, np.ceil(np.where(factor < 1, steps, 0)))), "never")

    plane = panel("x", "y", (-1.6, 1.6), (-1.6, 1.6), "the path, and level lines of f")
    decay = panel("iteration t", "error, logarithmic", (-1, n_iters + 1), (1e-5, 1e3), "distance from the minimum",
                  yscale="log")
    t, angle = np.arange(n_iters + 1), np.linspace(0, 2 * np.pi, 73)
    shown = np.moveaxis(path[:n_iters + 1], 0, -2)
    levels = [Curve(plane, r * np.sqrt(kappa) * np.cos(angle), r * np.sin(angle), color="grey")
              for r in (0.2, 0.5, 0.9, 1.3)]
    return Stage(
        [plane.figure, decay.figure],
        [*levels, Curve(plane, shown[..., 0], shown[..., 1], color="blue", dots=True),
         Curve(decay, t, error[0, ..., None] * factor[..., None] ** t, color="grey", dash="--", label="ρᵗ, predicted"),
         Curve(decay, t, np.moveaxis(error[:n_iters + 1], 0, -1), color="blue", label="measured")],
        [Slider("kappa", kappas, "condition number κ", 10, "d"), Slider("eta", rates, "learning rate η", 1.75, ".3f"),
         Slider("beta", betas, "momentum β", 0, ".1f")],
        Readout("Factor per iteration, predicted: ρ = {rho:.4f}.\nIterations to a thousandth of the first error: "
                "{predicted} predicted, {measured} measured.", rho=factor, predicted=predicted, measured=measured),
        play="eta",
        alt="Left: level lines of the quadratic, ellipses that κ stretches, and the path of momentum. Right: the "
            "distance from the minimum at each iteration on a logarithmic scale, beside the predicted rate.")


def hills(objective, n_iters=40):
    """Gradient descent on a function with several minima, from 25 starts with 8 rates: the path, and where it ends.

    Parameters
    ----------
    objective : Objective
        Function of one variable.
    n_iters : int
    """
    starts, rates = np.linspace(-6, 6, 25), np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    theta = gradient_descent(objective.grad, starts[:, None], rates, n_iters)  # axes: iteration, start, rate
    loss, line = objective(theta), np.linspace(-7.5, 7.5, 301)
    curve = panel("θ", "f(θ)", (-7.5, 7.5), (-1.8, 6.6), "the path on the curve")
    curve.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    ends = panel("start θ₀", f"θ after {n_iters} iterations", (-6.5, 6.5), (-7.5, 7.5), "where each start ends")
    return Stage(
        [curve.figure, ends.figure],
        [Path(curve, theta, loss, color="blue"), Point(curve, theta, loss, color="red", name="θ"),
         Point(curve, starts[:, None], loss[0], color="blue", shape="s", label="start (drag it)", drag="start"),
         Curve(ends, starts, theta[-1].T[None, None], color="blue", dots=True, dash=":"),
         Point(ends, starts[:, None], theta[-1], color="red", name="The end of the path")],
        [Slider("n", np.arange(n_iters + 1), "iterations", n_iters, "d"),
         Slider("start", starts, "start θ₀", 3.0, ".1f"), Slider("eta", rates, "learning rate η", 0.1, ".2f")],
        Readout("From θ₀ = {start:.1f} with η = {eta:.2f}, after {n:d} iteration{n:s}: θ = {theta:.4f}.", theta=theta),
        alt="Left: a curve with hills and valleys, and the iterates on it. Right: the point reached, for every start.")
