"""The calculus of learning to learn: SymPy derives, NumPy runs, a slider moves the actors."""

from metacalc.calculus import Objective, finite_difference, step
from metacalc.descent import (
    Rule,
    adam,
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
from metacalc.gaussian import GaussianPrior
from metacalc.meta import (
    adapt,
    anil,
    fomaml,
    imaml,
    joint,
    maml,
    meta_sgd,
    rate_schedule,
    reptile,
    with_rates,
)
from metacalc.models import MLP, Quadratic, linear_regression, logistic_regression
from metacalc.stage import Arrow, Curve, Path, Point, Readout, Slider, Stage
from metacalc.studies import interval
from metacalc.tasks import (
    Batch,
    FewShotClassification,
    Quadratics,
    RatingTasks,
    Sinusoids,
    printed_characters,
)
from metacalc.training import Evaluation, Training, evaluate, in_parallel, meta_train

__all__ = [
    "Arrow", "Batch", "Curve", "Evaluation", "FewShotClassification", "GaussianPrior", "MLP", "Objective",
    "Path", "Point", "Quadratic", "Quadratics", "RatingTasks", "Readout", "Rule", "Sinusoids", "Slider",
    "Stage", "Training", "adam", "adapt", "anil", "backtracking", "clipped", "convergence_factor", "diverged",
    "evaluate", "finite_difference", "fomaml", "gradient_descent", "imaml", "in_parallel", "interval", "joint",
    "linear_regression", "logistic_regression", "maml", "meta_sgd", "meta_train", "momentum", "nesterov",
    "newton", "printed_characters", "rate_schedule", "reptile", "sgd", "step", "with_rates",
]
