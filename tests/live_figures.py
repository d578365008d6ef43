"""The live figures of the book, and what each must show, computed without the code that made its tables.

`FIGURES` names, for every page with stages and in their order, how the figure is built, a function from the sliders'
positions to the readout, and a function that holds every table of the marks to what it should be. A page with a stage
that is not listed fails the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy as sp
from scipy.linalg import expm

import test_figures_meta
import test_figures_outlook
import test_language
import test_practice
import test_recommendation
import test_vision
from conftest import number_of, only_for_the_legend, positions, shown
from metacalc import Objective, gradient_descent
from metacalc.course.figures import background, calculus_link, intro, meta_learning, outlook
from metacalc.course.figures import gradient_descent as gradient_descent_figures

theta = sp.Symbol("theta", real=True)
x, y = sp.symbols("x y", real=True)


@dataclass(frozen=True)
class LiveFigure:
    make: Callable
    readout: Callable
    check: Callable

    @cache  # noqa: B019 (figures live as long as the process)
    def build(self):
        """The figure, made once for all the tests of a process: what they change they put back."""
        return self.make()


def close(table, expected):
    expected = np.broadcast_to(expected, np.broadcast_shapes(np.shape(table), np.shape(expected)))
    np.testing.assert_allclose(np.broadcast_to(table, expected.shape), expected, rtol=1e-9, atol=1e-9)


def learning_to_learn(n, alpha):
    """One outer step at a time, with the derivative of ½a(1 − αa)²(θ − c)² by hand."""
    tasks, position = ((4, -2), (1, 1), (0.5, 2)), -4.0
    for _ in range(int(n)):
        position -= 0.3 * sum(a * (1 - alpha * a) ** 2 * (position - c) for a, c in tasks) / 3
    before = sum(a * (position - c) ** 2 for a, c in tasks) / 6
    after = sum(a * ((1 - alpha * a) * (position - c)) ** 2 for a, c in tasks) / 6
    return (f"After {number_of(n, 'outer iteration')} θ = {position:.3f}: mean loss {before:.3f} before an inner step of rate "
            f"α = {alpha:.2f}, {after:.3f} after it.")


def check_learning_to_learn(stage):
    n, alphas = (s.values for s in stage.sliders)
    *pairs, after, before, reached = stage.marks
    tasks = ((4, -2), (1, 1), (0.5, 2))
    for j, alpha in enumerate(alphas):
        position, path = -4.0, []
        for _ in n:
            path.append(position)
            position -= 0.3 * sum(a * (1 - alpha * a) ** 2 * (position - c) for a, c in tasks) / 3
        path = np.array(path)
        for (a, c), point, arrow in zip(tasks, pairs[::2], pairs[1::2]):
            close(point.x[:, j], path)
            close(point.y[:, j], a / 2 * (path - c) ** 2)
            close(arrow.x[:, j], path)
            close(arrow.dx[:, j], -alpha * a * (path - c))
            close(arrow.y[:, j] + arrow.dy[:, j], a / 2 * ((1 - alpha * a) * (path - c)) ** 2)
        mean = lambda t: sum(a / 6 * ((1 - alpha * a) * (t - c)) ** 2 for a, c in tasks)
        close(reached.x[:, j], path)
        close(reached.y[:, j], mean(path))
        close(after.y[0, j], mean(after.x))
    only_for_the_legend(before)


POINTS, DISTANCES = np.linspace(-1, 3, 9)[:, None], 2.0 ** (1 - np.arange(45))
FORWARD = (np.sin(POINTS + DISTANCES) - np.sin(POINTS)) / DISTANCES  # tables, as rounding shows in the digits of h → 0
CENTRAL = (np.sin(POINTS + DISTANCES) - np.sin(POINTS - DISTANCES)) / (2 * DISTANCES)


def secant(x, m):
    i, j = int(round((x + 1) * 2)), int(m)
    slope = np.cos(x)
    return (f"x = {x:.1f}, h = {DISTANCES[j]:.3g}: slope of the secant {FORWARD[i, j]:.6f}, of the tangent {slope:.6f}.\n"
            f"Error of the forward quotient {abs(FORWARD[i, j] - slope):.1e}, of the central one "
            f"{abs(CENTRAL[i, j] - slope):.1e}.")


def check_secant(stage):
    tangent, secant, point, second, forward, central, now = stage.marks
    points, h = POINTS, DISTANCES
    close(tangent.y[:, 0, :], np.sin(points) + np.cos(points) * (tangent.x - points))
    close(secant.y, np.sin(points)[..., None] + FORWARD[..., None] * (secant.x - points[..., None]))
    close(np.stack([point.x, point.y]), [points, np.sin(points)])
    close(np.stack([second.x, second.y]), [points + h, np.sin(points + h)])
    for mark, table in ((forward, FORWARD), (central, CENTRAL)):
        close(mark.x, h)
        close(mark.y[:, 0], np.abs(table - np.cos(points)))
    close(now.x, h)
    close(now.y, np.abs(FORWARD - np.cos(points)))


BOWL = np.array([[2.0, 0.6], [0.6, 0.8]])
BOWL_START = np.array([-1.6, 1.2])
bowl = lambda theta: 0.5 * theta @ BOWL @ theta
FLOW_END = expm(-2 * BOWL) @ BOWL_START


@cache
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


def check_euler_steps(stage):
    flow, steps, errors, slope, now = stage.marks
    close(np.stack([flow.x, flow.y], -1), [expm(-t * BOWL) @ BOWL_START for t in np.linspace(0, 2, 101)])
    counts = stage.sliders[0].values.astype(int)
    expected = []
    for i, n in enumerate(counts):
        path = euler_path(n)
        padded = np.concatenate([path, np.repeat(path[-1:], counts[-1] - n, axis=0)])
        close(np.stack([steps.x[i], steps.y[i]], -1), padded)
        expected.append(np.linalg.norm(path[-1] - FLOW_END))
    for mark in (errors, now):
        close(np.stack([mark.x, mark.y]), [2 / counts, expected])
    close(slope.y / slope.x, expected[-1] * counts[-1] / 2)


def tilted(x, y):
    return x**2 + x * y / 2 + y**2


def direction(angle, h):
    u, v = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    slope = (2 * 1.0 + 0.6 / 2) * u + (1.0 / 2 + 2 * 0.6) * v
    quotient = (tilted(1 + h * u, 0.6 + h * v) - tilted(1, 0.6)) / h
    return (f"u at {angle:.0f}°: slope ∇f · u = {slope:.4f}; change over h = {h:.2f}, divided by h: {quotient:.4f}.")


def check_direction(stage):
    gradient, arrow, slope, quotients, slope_now, quotient_now = stage.marks
    angles, h = (s.values for s in stage.sliders)
    u, v = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    close([gradient.dx * 3, gradient.dy * 3], [2.3, 1.7])
    close(np.stack([arrow.dx[:, 0], arrow.dy[:, 0]]), 0.7 * np.stack([u, v]))
    close([gradient.x, gradient.y, arrow.x, arrow.y], [1, 0.6, 1, 0.6])
    expected = (tilted(1 + np.multiply.outer(u, h), 0.6 + np.multiply.outer(v, h)) - tilted(1, 0.6)) / h
    close(quotient_now.y, expected)
    close(quotients.y[0], expected.T)
    close(slope_now.y[:, 0], 2.3 * u + 1.7 * v)
    close(np.stack([slope_now.x[:, 0], quotient_now.x[:, 0], quotients.x]), angles)
    only_for_the_legend(slope)


@cache
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


def check_chain(stage):
    curve, tangent, point, path, factor = stage.marks
    ks, starts, rates = (s.values for s in stage.sliders)
    for l, rate in enumerate(rates):
        for j, start in enumerate(starts):
            iterates, factors, _ = wells_path(ks[-1], start, rate)
            close(point.y[:, j, l], iterates)
            for mark in (path, factor):
                close(mark.y[:, j, l], factors)
            for i, k in enumerate(ks):
                product = wells_path(k, start, rate)[2]
                close(np.diff(tangent.y[i, j, l]) / np.diff(tangent.x[j, 0]), product)
                close([tangent.y[i, j, l].mean(), tangent.x[j, 0].mean()], [iterates[i], start])
        for i, begin in enumerate(curve.x):
            close(curve.y[:, 0, l, i], wells_path(ks[-1], begin, rate)[0])
    close(point.x[:, 0], starts)
    close(np.stack([path.x, factor.x])[:, :, 0, 0], ks)


SQUARE = Objective(theta**2, theta)


def parabola(n, eta):
    end = gradient_descent(SQUARE.grad, 10.0, eta, int(n))[-1]
    regimes = {eta < 0.5: "the error shrinks monotonically", eta == 0.5: "the minimum is reached in one step",
               0.5 < eta < 1: "the error oscillates and shrinks", eta == 1: "θ jumps back and forth for ever",
               eta > 1: "the error oscillates and grows: divergence"}
    return (f"η = {eta:.3f}: {regimes[True]}.\nAfter {number_of(n, 'iteration')} θ = {end:.4g} and f(θ) = {end**2:.4g}."
            + ("\nθ has left the picture." if abs(end) > 15 or end**2 > 220 else "")
            + ("\nThe loss has left the picture." if not 1e-9 <= end**2 <= 1e9 else ""))


def check_parabola(stage):
    n, eta = (s.values for s in stage.sliders)
    iterates = 10 * (1 - 2 * eta) ** n[:, None]
    path, point, decay, loss = stage.marks
    for mark in (path, point):
        close(mark.x, iterates)
        close(mark.y, iterates**2)
    for mark in (decay, loss):
        close(mark.x, n[:, None])
        close(mark.y, iterates**2)


@cache
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


def check_valley(stage):
    *levels, path, predicted, measured = stage.marks
    kappas, rates, betas = (s.values for s in stage.sliders)
    for i, j, k in np.ndindex(kappas.size, rates.size, betas.size):
        expected = heavy_ball(kappas[i], rates[j], betas[k], 40)
        np.testing.assert_allclose(np.stack([path.x[i, j, k], path.y[i, j, k]], -1), expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(measured.y[i, j, k], np.linalg.norm(expected, axis=-1), rtol=1e-6, atol=1e-9)
        blocks = [np.array([[1 + betas[k] - rates[j] * lam, -betas[k]], [1, 0]]) for lam in (1 / kappas[i], 1)]
        rho = max(np.abs(np.linalg.eigvals(b)).max() for b in blocks)
        np.testing.assert_allclose(predicted.y[i, j, k], 1.5 * rho ** np.arange(41), rtol=1e-5)
    for mark in (predicted, measured):
        close(mark.x, np.arange(41))
    for level in levels:  # every point of a level line has the same loss
        value = (level.x**2 / kappas[:, None, None, None] + level.y**2) / 2
        assert np.ptp(value) < 1e-12


def hills(n, start, eta):
    position = start
    for _ in range(int(n)):
        position -= eta * (position / 5 + 2 * np.cos(2 * position))
    return f"From θ₀ = {start:.2f} with η = {eta:.2f}, after {number_of(n, 'iteration')}: θ = {position:.4f}."


def check_hills(stage):
    path, point, end_map, end, start = (stage.marks[i] for i in (0, 1, 3, 4, 2))
    f = lambda t: t**2 / 10 + np.sin(2 * t)
    for index in positions(stage):
        n, theta0, eta = (s.values[k] for s, k in zip(stage.sliders, index))
        position, iterates = stage.sliders[1].values, []
        for _ in range(41):
            iterates.append(position)
            position = position - eta * (position / 5 + 2 * np.cos(2 * position))
        iterates = np.array(iterates)
        own = iterates[:int(n) + 1, index[1]]
        close(shown(stage, path, index), [own, f(own)])
        close(shown(stage, point, index), [own[-1], f(own[-1])])
        close(shown(stage, start, index), [theta0, f(theta0)])
        close(shown(stage, end_map, index), [stage.sliders[1].values, iterates[-1]])
        close(shown(stage, end, index), [theta0, iterates[-1, index[1]]])


FIGURES = {
    "chapters/intro": [LiveFigure(intro.learning_to_learn, learning_to_learn, check_learning_to_learn)],
    "chapters/01_background": [
        LiveFigure(lambda: background.secant(Objective(sp.sin(x), x)), secant, check_secant),
        LiveFigure(lambda: background.euler_steps(Objective(x**2 + sp.Rational(3, 5) * x * y + sp.Rational(2, 5) * y**2,
                                                            (x, y))),
                   euler_steps, check_euler_steps),
    ],
    "chapters/02_calculus_link": [
        LiveFigure(lambda: calculus_link.direction(Objective(x**2 + x * y / 2 + y**2, (x, y))), direction, check_direction),
        LiveFigure(lambda: calculus_link.chain(Objective(theta**4 / 4 - theta**2 / 2, theta)), chain, check_chain),
    ],
    "chapters/03_gradient_descent": [
        LiveFigure(lambda: gradient_descent_figures.parabola(Objective(theta**2, theta)), parabola, check_parabola),
        LiveFigure(gradient_descent_figures.valley, valley, check_valley),
        LiveFigure(lambda: gradient_descent_figures.hills(Objective(theta**2 / 10 + sp.sin(2 * theta), theta)),
                   hills, check_hills),
    ],
    "chapters/04_meta_learning": [
        LiveFigure(meta_learning.update_arrows, test_figures_meta.update_arrows, test_figures_meta.check_update_arrows),
        LiveFigure(meta_learning.landscape, test_figures_meta.landscape, test_figures_meta.check_landscape),
        LiveFigure(meta_learning.two_levels, test_figures_meta.two_levels, test_figures_meta.check_two_levels),
    ],
    "chapters/05_practice": [
        LiveFigure(test_practice.learning, test_practice.learning_readout, test_practice.check_learning),
        LiveFigure(test_practice.fits, test_practice.fits_readout, test_practice.check_fits),
        LiveFigure(test_practice.own, test_practice.own_readout, test_practice.check_own),
    ],
    "chapters/08_outlook": [
        LiveFigure(outlook.truncation, test_figures_outlook.truncation, test_figures_outlook.check_truncation),
        LiveFigure(outlook.learned_schedule, test_figures_outlook.learned_schedule,
                   test_figures_outlook.check_learned_schedule),
    ],
    "chapters/06_applications/recommendation": [
        LiveFigure(test_recommendation.rating_errors, test_recommendation.rating_errors_readout,
                   test_recommendation.check_rating_errors),
        LiveFigure(test_recommendation.cuisines, test_recommendation.cuisines_readout, test_recommendation.check_cuisines),
    ],
    "chapters/06_applications/language": [
        LiveFigure(test_language.adapting_figure, test_language.adapting_readout, test_language.check_adapting),
        LiveFigure(test_language.stopping_figure, test_language.stopping_readout, test_language.check_stopping),
    ],
    "chapters/06_applications/vision": [LiveFigure(test_vision.figure, test_vision.vision_readout, test_vision.check_vision)],
}
