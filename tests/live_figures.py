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

import test_figures_background
import test_figures_descent
import test_figures_intro
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
    "chapters/intro": [LiveFigure(intro.learning_to_learn, test_figures_intro.learning_to_learn,
                                  test_figures_intro.check_learning_to_learn)],
    "chapters/01_background": [
        LiveFigure(lambda: background.secant(Objective(sp.sin(x), x)), test_figures_background.secant,
                   test_figures_background.check_secant),
        LiveFigure(lambda: background.euler_steps(Objective(x**2 + sp.Rational(3, 5) * x * y + sp.Rational(2, 5) * y**2,
                                                            (x, y))),
                   test_figures_background.euler_steps, test_figures_background.check_euler_steps),
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
