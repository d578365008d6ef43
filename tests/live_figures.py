"""The live figures of the book, and what each must show, computed without the code that made its tables.

`FIGURES` names, for every page with stages and in their order, how the figure is built, and a function from the
sliders' positions to the readout. A page with a stage that is not listed fails the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy as sp
from scipy.linalg import expm

import test_language
import test_practice
import test_vision
from conftest import number_of
from metacalc import Objective, gradient_descent
from metacalc.course.figures import background, calculus_link, intro, meta_learning, outlook
from metacalc.course.figures import gradient_descent as gradient_descent_figures
from test_figures_meta import READOUTS
from test_figures_outlook import READOUTS as OUTLOOK_READOUTS
from test_recommendation import BUILD as RECOMMENDATION
from test_recommendation import READOUTS as RECOMMENDATION_READOUTS

theta = sp.Symbol("theta", real=True)
x, y = sp.symbols("x y", real=True)


@dataclass(frozen=True)
class LiveFigure:
    make: Callable
    readout: Callable

    @cache  # noqa: B019 (figures live as long as the process)
    def build(self):
        """The figure, made once for all the tests of a process: what they change they put back."""
        return self.make()


def learning_to_learn(n, alpha):
    """One outer step at a time, with the derivative of ½a(1 − αa)²(θ − c)² by hand."""
    tasks, position = ((4, -2), (1, 1), (0.5, 2)), -4.0
    for _ in range(int(n)):
        position -= 0.3 * sum(a * (1 - alpha * a) ** 2 * (position - c) for a, c in tasks) / 3
    before = sum(a * (position - c) ** 2 for a, c in tasks) / 6
    after = sum(a * ((1 - alpha * a) * (position - c)) ** 2 for a, c in tasks) / 6
    return (f"After {number_of(n, 'outer iteration')} θ = {position:.3f}: mean loss {before:.3f} before an inner step of rate "
            f"α = {alpha:.2f}, {after:.3f} after it.")


POINTS, DISTANCES = np.linspace(-1, 3, 9)[:, None], 2.0 ** (1 - np.arange(45))
FORWARD = (np.sin(POINTS + DISTANCES) - np.sin(POINTS)) / DISTANCES  # tables, as rounding shows in the digits of h → 0
CENTRAL = (np.sin(POINTS + DISTANCES) - np.sin(POINTS - DISTANCES)) / (2 * DISTANCES)


def secant(x, m):
    i, j = int(round((x + 1) * 2)), int(m)
    slope = np.cos(x)
    return (f"x = {x:.1f}, h = {DISTANCES[j]:.3g}: slope of the secant {FORWARD[i, j]:.6f}, of the tangent {slope:.6f}.\n"
            f"Error of the forward quotient {abs(FORWARD[i, j] - slope):.1e}, of the central one "
            f"{abs(CENTRAL[i, j] - slope):.1e}.")


BOWL = np.array([[2.0, 0.6], [0.6, 0.8]])
BOWL_START = np.array([-1.6, 1.2])
bowl = lambda theta: 0.5 * theta @ BOWL @ theta
FLOW_END = expm(-2 * BOWL) @ BOWL_START


def euler_path(n_steps):
    path = [BOWL_START]
    for _ in range(int(n_steps)):
        path.append(path[-1] - 2 / n_steps * BOWL @ path[-1])
    return np.array(path)


def euler_steps(N):
    path = euler_path(N)
    area = sum(2 / N * (BOWL @ theta) @ (BOWL @ theta) for theta in path[:-1])
    return (f"η = {2 / N:.4g}: the ends are {np.linalg.norm(path[-1] - FLOW_END):.4f} apart.\n"
            f"Loss removed f(θ₀) − f(θ_N) = {bowl(path[0]) - bowl(path[-1]):.4f}; sum of η‖∇f‖² over the steps "
            f"{area:.4f}; integral along the flow {bowl(BOWL_START) - bowl(FLOW_END):.4f}.")


def tilted(x, y):
    return x**2 + x * y / 2 + y**2


def direction(angle, h):
    u, v = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    slope = (2 * 1.0 + 0.6 / 2) * u + (1.0 / 2 + 2 * 0.6) * v
    quotient = (tilted(1 + h * u, 0.6 + h * v) - tilted(1, 0.6)) / h
    return (f"u at {angle:.0f}°: slope ∇f · u = {slope:.4f}; change over h = {h:.2f}, divided by h: {quotient:.4f}.")


def wells_path(k, start, eta):
    """Iterates on θ⁴/4 − θ²/2, the factors 1 − η(3θ² − 1), and the product of the first k of them."""
    path, product = [start], 1.0
    for _ in range(int(k)):
        product *= 1 - eta * (3 * path[-1] ** 2 - 1)
        path.append(path[-1] - eta * (path[-1] ** 3 - path[-1]))
    return np.array(path), 1 - eta * (3 * np.array(path) ** 2 - 1), product


def chain(k, start, eta):
    path, _, product = wells_path(k, start, eta)
    return (f"θ₀ = {start:.3f} ↦ θₖ = {path[-1]:.4f} after k = {number_of(k, 'step')}. Derivative dθₖ/dθ₀ = {product:.4f}, the "
            "product of the first k factors.")


SQUARE = Objective(theta**2, theta)


def parabola(n, eta):
    end = gradient_descent(SQUARE.grad, 10.0, eta, int(n))[-1]
    regimes = {eta < 0.5: "the error shrinks monotonically", eta == 0.5: "the minimum is reached in one step",
               0.5 < eta < 1: "the error oscillates and shrinks", eta == 1: "θ jumps back and forth for ever",
               eta > 1: "the error oscillates and grows: divergence"}
    return (f"η = {eta:.3f}: {regimes[True]}.\nAfter {number_of(n, 'iteration')} θ = {end:.4g} and f(θ) = {end**2:.4g}."
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
    predicted = "never" if rho >= 1 - 1e-9 else f"about {max(1, np.ceil(np.log(1e-3) / np.log(rho)) if rho > 0 else 1):.0f}"
    return (f"Factor per iteration, predicted: ρ = {rho:.4f}.\nIterations to a thousandth of the first error: "
            f"{predicted} predicted, {small[0] if small.size else 'more than 400'} measured.")


def hills(n, start, eta):
    position = start
    for _ in range(int(n)):
        position -= eta * (position / 5 + 2 * np.cos(2 * position))
    return f"From θ₀ = {start:.1f} with η = {eta:.2f}, after {number_of(n, 'iteration')}: θ = {position:.4f}."


FIGURES = {
    "chapters/intro": [LiveFigure(intro.learning_to_learn, learning_to_learn)],
    "chapters/01_background": [
        LiveFigure(lambda: background.secant(Objective(sp.sin(x), x)), secant),
        LiveFigure(lambda: background.euler_steps(Objective(x**2 + sp.Rational(3, 5) * x * y + sp.Rational(2, 5) * y**2,
                                                            (x, y))),
                   euler_steps),
    ],
    "chapters/02_calculus_link": [
        LiveFigure(lambda: calculus_link.direction(Objective(x**2 + x * y / 2 + y**2, (x, y))), direction),
        LiveFigure(lambda: calculus_link.chain(Objective(theta**4 / 4 - theta**2 / 2, theta)), chain),
    ],
    "chapters/03_gradient_descent": [
        LiveFigure(lambda: gradient_descent_figures.parabola(Objective(theta**2, theta)), parabola),
        LiveFigure(gradient_descent_figures.valley, valley),
        LiveFigure(lambda: gradient_descent_figures.hills(Objective(theta**2 / 10 + sp.sin(2 * theta), theta)), hills),
    ],
    "chapters/04_meta_learning": [LiveFigure(getattr(meta_learning, name), READOUTS[name])
                                  for name in ("update_arrows", "landscape", "two_levels")],
    "chapters/05_practice": [LiveFigure(getattr(test_practice, name), READOUT)
                             for name, READOUT in test_practice.READOUTS.items()],
    "chapters/08_outlook": [LiveFigure(getattr(outlook, name), readout) for name, readout in OUTLOOK_READOUTS.items()],
    "chapters/06_applications/recommendation": [LiveFigure(RECOMMENDATION[name], RECOMMENDATION_READOUTS[name])
                                                for name in ("rating_errors", "cuisines")],
    "chapters/06_applications/language": [LiveFigure(test_language.BUILD[name], readout)
                                          for name, readout in test_language.READOUTS.items()],
    "chapters/06_applications/vision": [LiveFigure(test_vision.figure, test_vision.vision_readout)],
}
