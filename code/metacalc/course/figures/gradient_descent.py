"""The live figures of gradient descent: the rate on a quadratic, momentum in a valley, and where starts among hills end."""

import numpy as np
import sympy as sp

from metacalc.calculus import Objective, step
from metacalc.descent import convergence_factor, gradient_descent, momentum
from metacalc.stage import COLORS, Curve, Formula, Guess, Iteration, Path, Point, Readout, Slider, Stage, panel

__all__ = ["hills", "parabola", "valley"]


def parabola(objective: Objective, theta0: float = 10.0, n_iters: int = 60) -> Stage:
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


def valley(n_iters: int = 40, horizon: int = 400) -> Stage:
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
    predicted = np.where(factor < 1 - 1e-12, np.char.mod("about %d", np.maximum(1, np.ceil(np.where(factor < 1, steps, 0)))),
                         "never")

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


def hills(objective: Objective, n_iters: int = 40) -> Stage:
    """Gradient descent on a function with several minima, from any start with 30 rates: the path, and where all starts end.

    Parameters
    ----------
    objective : Objective
        Function of one variable.
    n_iters : int
    """
    starts, rates, (start, eta, s) = np.linspace(-6, 6, 241), np.arange(1, 31) / 50, sp.symbols("start eta s")
    theta = objective.variables
    descent = Iteration({theta: start}, {theta: step(objective, eta)}, "n")
    whole = Iteration({theta: s}, {theta: step(objective, eta)}, n_iters)
    own = Iteration({theta: start}, {theta: step(objective, eta)}, n_iters)
    line, value = np.linspace(-7.5, 7.5, 301), objective.expr
    curve = panel("θ", "f(θ)", (-7.5, 7.5), (-1.8, 6.6), "the path on the curve")
    curve.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    ends = panel("start θ₀", f"θ after {n_iters} iterations", (-6.5, 6.5), (-7.5, 7.5), "where each start ends")
    path = [Path(curve, descent(theta), descent(value), color="blue"),
            Point(curve, descent(theta), descent(value), color="red", name="θ")]
    end = [Curve(ends, starts, whole(theta, over=(s, starts)), color="blue", dots=True, dash=" "),
           Point(ends, Formula(start), own(theta), color="red", name="The end of the path", drag="start")]
    return Stage(
        [curve.figure, ends.figure],
        [*path, Point(curve, Formula(start), Formula(value.subs(theta, start)), color="blue", shape="s", drag="start",
                      label="start (drag it)"), *end],
        [Slider("n", np.arange(n_iters + 1), "iterations", n_iters, "d"),
         Slider("start", starts, "start θ₀", 3.0, ".2f"), Slider("eta", rates, "learning rate η", 0.1, ".2f")],
        Readout("From θ₀ = {start:.2f} with η = {eta:.2f}, after {n:d} iteration{n:s}: θ = {theta:.4f}.", theta=descent(theta)),
        guess=Guess(curve, "x", "Where will the path end?", own(theta), [*path, *end]),
        alt="Left: a curve with hills and valleys, and the iterates on it. Right: the point reached, for every start.")
