"""The calculus of learning to learn: SymPy derives, NumPy runs, a slider moves the actors.

What needs NumPy and SymPy alone is here at once. The live figures and the data load when they are first asked for, and
say which extra to install where it is missing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from metacalc.amortised import NeuralProcess, neural_process
from metacalc.bilevel import (
    Bilevel,
    bilevel_descent,
    conjugate_gradients,
    example_weights,
    implicit_gradient,
    neumann,
    ridge_penalties,
    unrolled,
)
from metacalc.calculus import Objective, finite_difference, step
from metacalc.descent import (
    Rule,
    adam,
    adamw,
    backtracking,
    clipped,
    convergence_factor,
    diverged,
    gradient_descent,
    momentum,
    nesterov,
    newton,
    sgd,
)
from metacalc.exercises import Checker, Exercise
from metacalc.generalisation import QuadraticFamily, pac_bayes
from metacalc.learned import CoordinateNet, evolution, learned_optimiser, path_gradient
from metacalc.meta import Learner, adapt, anil, fomaml, imaml, joint, maml, meta_sgd, rate_schedule, reptile, with_rates
from metacalc.models import MLP, Quadratic, linear_regression, logistic_regression, sharpness
from metacalc.prototypes import Prototypes, protonet
from metacalc.studies import Interval, interval
from metacalc.tasks import Batch, FewShotClassification, LinearTasks, Quadratics, RatingTasks, Sinusoids, VariedShots
from metacalc.training import Evaluation, Training, evaluate, in_parallel, meta_train
from metacalc.variants import Stepwise, WithContext, cavia, stabilised

__version__ = "0.2.0"  # of the package, the pages, CITATION.cff and CHANGELOG.md

if TYPE_CHECKING:
    from metacalc.data.characters import printed_characters
    from metacalc.stage import Arrow, Curve, Path, Point, Readout, Slider, Stage

_LATER = {"printed_characters": "metacalc.data.characters"} | dict.fromkeys(
    ("Arrow", "Curve", "Path", "Point", "Readout", "Slider", "Stage"), "metacalc.stage")

__all__ = [
    "Arrow", "Batch", "Bilevel", "Checker", "CoordinateNet", "Curve", "Evaluation", "Exercise", "FewShotClassification",
    "Interval", "Learner", "LinearTasks", "MLP", "NeuralProcess", "Objective", "Path", "Point", "Prototypes",
    "Quadratic", "QuadraticFamily", "Quadratics", "RatingTasks", "Readout", "Rule", "Sinusoids", "Slider", "Stage", "Stepwise",
    "Training", "VariedShots", "WithContext", "adam", "adamw", "adapt", "anil", "backtracking", "bilevel_descent", "cavia",
    "clipped", "conjugate_gradients", "convergence_factor", "diverged", "evaluate", "evolution", "example_weights",
    "finite_difference", "fomaml", "gradient_descent", "imaml", "implicit_gradient", "in_parallel", "interval", "joint",
    "learned_optimiser", "linear_regression", "logistic_regression", "maml", "meta_sgd", "meta_train", "momentum",
    "nesterov", "neumann", "neural_process", "newton", "pac_bayes", "path_gradient", "printed_characters", "protonet",
    "rate_schedule",
    "reptile", "ridge_penalties", "sgd", "sharpness", "stabilised", "step", "unrolled", "with_rates",
]


def __getattr__(name):
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
