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

import test_figures_descent
import test_figures_meta
import test_figures_outlook
import test_language
import test_practice
import test_recommendation
import test_vision
from conftest import close, number_of, only_for_the_legend
from metacalc import Objective
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
        LiveFigure(lambda: gradient_descent_figures.parabola(Objective(theta**2, theta)), test_figures_descent.parabola,
                   test_figures_descent.check_parabola),
        LiveFigure(gradient_descent_figures.valley, test_figures_descent.valley, test_figures_descent.check_valley),
        LiveFigure(lambda: gradient_descent_figures.leaving(Objective(theta**2, theta)), test_figures_descent.leaving,
                   test_figures_descent.check_leaving),
        LiveFigure(lambda: gradient_descent_figures.noise_floor(Objective(theta**2, theta), np.random.default_rng(0)),
                   test_figures_descent.noise_floor, test_figures_descent.check_noise_floor),
        LiveFigure(lambda: gradient_descent_figures.basins(Objective(theta**4 / 4 - theta**2 / 2, theta)),
                   test_figures_descent.basins, test_figures_descent.check_basins),
        LiveFigure(lambda: gradient_descent_figures.hills(Objective(theta**2 / 10 + sp.sin(2 * theta), theta)),
                   test_figures_descent.hills, test_figures_descent.check_hills),
    ],
    "chapters/04_meta_learning": [
        LiveFigure(meta_learning.update_arrows, test_figures_meta.update_arrows, test_figures_meta.check_update_arrows),
        LiveFigure(meta_learning.landscape, test_figures_meta.landscape, test_figures_meta.check_landscape),
        LiveFigure(meta_learning.two_levels, test_figures_meta.two_levels, test_figures_meta.check_two_levels),
    ],
    "chapters/05_practice": [
        LiveFigure(test_practice.learning, test_practice.learning_readout, test_practice.check_learning),
        LiveFigure(test_practice.fits, test_practice.fits_readout, test_practice.check_fits),
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
