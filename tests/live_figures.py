"""The live figures of the book, and what each must show, computed without the code that made its tables.

`FIGURES` names, for every page with stages and in their order, how the figure is built, and a function from the
sliders' positions to the readout. A page with a stage that is not listed fails the tests.
"""

from typing import Callable, NamedTuple

import numpy as np
import sympy as sp

from metacalc import Objective, figures, gradient_descent

theta = sp.Symbol("theta", real=True)


class LiveFigure(NamedTuple):
    build: Callable
    readout: Callable


def learning_to_learn(n, alpha):
    """One outer step at a time, with the derivative of ½a(1 − αa)²(θ − c)² by hand."""
    tasks, position = ((4, -2), (1, 1), (0.5, 2)), -4.0
    for _ in range(int(n)):
        position -= 0.3 * sum(a * (1 - alpha * a) ** 2 * (position - c) for a, c in tasks) / 3
    before = sum(a * (position - c) ** 2 for a, c in tasks) / 6
    after = sum(a * ((1 - alpha * a) * (position - c)) ** 2 for a, c in tasks) / 6
    return (f"After {n:.0f} outer iterations θ = {position:.3f}: mean loss {before:.3f} before an inner step of rate "
            f"α = {alpha:.2f}, {after:.3f} after it.")


def parabola(n, eta):
    end = gradient_descent(Objective(theta**2, theta).grad, 10.0, eta, int(n))[-1]
    regimes = {eta < 0.5: "the error shrinks monotonically", eta == 0.5: "the minimum is reached in one step",
               0.5 < eta < 1: "the error oscillates and shrinks", eta == 1: "θ jumps back and forth for ever",
               eta > 1: "the error oscillates and grows: divergence"}
    return (f"η = {eta:.3f}: {regimes[True]}.\nAfter {n:.0f} iterations θ = {end:.4g} and f(θ) = {end**2:.4g}."
            + ("\nθ has left the picture." if abs(end) > 15 or end**2 > 220 else "")
            + ("\nThe loss has left the picture." if not 1e-9 <= end**2 <= 1e9 else ""))


def heavy_ball(kappa, eta, beta, n):
    """Errors along both eigendirections by the recurrence of second order, shape (n + 1, 2)."""
    lam, path = np.array([1 / kappa, 1.0]), [np.array([-1.2, 0.9])]
    path.append((1 - eta * lam) * path[0])
    while len(path) <= n:
        path.append((1 + beta - eta * lam) * path[-1] - beta * path[-2])
    return np.array(path)


def valley(kappa, eta, beta):
    blocks = [np.array([[1 + beta - eta * lam, -beta], [1, 0]]) for lam in (1 / kappa, 1.0)]
    rho = max(np.abs(np.linalg.eigvals(b)).max() for b in blocks)
    error = np.linalg.norm(heavy_ball(kappa, eta, beta, 400), axis=-1)
    small = np.flatnonzero(error <= 1e-3 * error[0])
    predicted = "never" if rho >= 1 - 1e-9 else f"about {np.ceil(np.log(1e-3) / np.log(rho)) if rho > 0 else 0:.0f}"
    return (f"Factor per iteration, predicted: ρ = {rho:.4f}.\nIterations to a thousandth of the first error: "
            f"{predicted} predicted, {small[0] if small.size else 'more than 400'} measured.")


def hills(n, start, eta):
    position = start
    for _ in range(int(n)):
        position -= eta * (position / 5 + 2 * np.cos(2 * position))
    return f"From θ₀ = {start:.1f} with η = {eta:.2f}, after {n:.0f} iterations: θ = {position:.4f}."


FIGURES = {
    "chapters/intro": [LiveFigure(figures.learning_to_learn, learning_to_learn)],
    "chapters/03_gradient_descent": [
        LiveFigure(lambda: figures.parabola(Objective(theta**2, theta)), parabola),
        LiveFigure(figures.valley, valley),
        LiveFigure(lambda: figures.hills(Objective(theta**2 / 10 + sp.sin(2 * theta), theta)), hills),
    ],
}
