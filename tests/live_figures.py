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
import test_figures_bilevel
import test_figures_calculus_link
import test_figures_descent
import test_figures_intro
import test_figures_learned
import test_figures_meta
import test_figures_new_tasks
import test_figures_outlook
import test_language
import test_practice
import test_recommendation
import test_vision
from metacalc import Objective
from metacalc.course.figures import background, bilevel, calculus_link, intro, learned, meta_learning, new_tasks, outlook
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


FIGURES = {
    "chapters/intro": [LiveFigure(intro.learning_to_learn, test_figures_intro.learning_to_learn,
                                  test_figures_intro.check_learning_to_learn)],
    "chapters/01_background": [
        LiveFigure(background.shrinkage, test_figures_background.shrinkage, test_figures_background.check_shrinkage),
        LiveFigure(lambda: background.secant(Objective(sp.sin(x), x)), test_figures_background.secant,
                   test_figures_background.check_secant),
        LiveFigure(lambda: background.euler_steps(Objective(x**2 + sp.Rational(3, 5) * x * y + sp.Rational(2, 5) * y**2,
                                                            (x, y))),
                   test_figures_background.euler_steps, test_figures_background.check_euler_steps),
    ],
    "chapters/02_calculus_link": [
        LiveFigure(lambda: calculus_link.direction(Objective(x**2 + x * y / 2 + y**2, (x, y))),
                   test_figures_calculus_link.direction, test_figures_calculus_link.check_direction),
        LiveFigure(lambda: calculus_link.chain(Objective(theta**4 / 4 - theta**2 / 2, theta)),
                   test_figures_calculus_link.chain, test_figures_calculus_link.check_chain),
        LiveFigure(lambda: calculus_link.rate_slope(Objective(x**2 / 2 + 2 * y**2, (x, y))),
                   test_figures_calculus_link.rate_slope, test_figures_calculus_link.check_rate_slope),
    ],
    "chapters/03_gradient_descent": [
        LiveFigure(lambda: gradient_descent_figures.price(Objective(theta**2, theta)), test_figures_descent.price,
                   test_figures_descent.check_price),
        LiveFigure(lambda: gradient_descent_figures.parabola(Objective(theta**2, theta)), test_figures_descent.parabola,
                   test_figures_descent.check_parabola),
        LiveFigure(lambda: gradient_descent_figures.learned_rate(Objective(theta**2, theta)), test_figures_descent.learned_rate,
                   test_figures_descent.check_learned_rate),
    ],
    "chapters/03_update_rules": [
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
    "chapters/04_bilevel": [
        LiveFigure(bilevel.solvers, test_figures_bilevel.solvers, test_figures_bilevel.check_solvers),
        LiveFigure(bilevel.penalties, test_figures_bilevel.penalties, test_figures_bilevel.check_penalties),
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
    "chapters/08_learned_optimisers": [
        LiveFigure(learned.unrolled, test_figures_learned.unrolled, test_figures_learned.check_unrolled)],
    "chapters/08_new_tasks": [
        LiveFigure(new_tasks.tasks_and_shots, test_figures_new_tasks.tasks_and_shots,
                   test_figures_new_tasks.check_tasks_and_shots),
        LiveFigure(new_tasks.spread_of_tasks, test_figures_new_tasks.spread_of_tasks,
                   test_figures_new_tasks.check_spread_of_tasks),
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
