"""Task distributions: `distribution.sample(rng, n_tasks)` draws a `Batch`, each task with a support and a query set.

Whatever is random comes from the `numpy.random.Generator` that is passed in, so that a seed fixes every task.
"""

from metacalc.tasks.base import Batch
from metacalc.tasks.characters import Characters, Shifted, omniglot, printed_characters
from metacalc.tasks.download import fetch
from metacalc.tasks.few_shot import FewShotClassification, Pooled, nearest_mean
from metacalc.tasks.languages import NextLetter, folds, names, split
from metacalc.tasks.ratings import RatingTasks, food_world_cup, person_folds
from metacalc.tasks.synthetic import Quadratics, Sinusoids

__all__ = [
    "Batch", "Characters", "FewShotClassification", "NextLetter", "Pooled", "Quadratics", "RatingTasks", "Shifted", "Sinusoids",
    "fetch", "folds", "food_world_cup", "names", "nearest_mean", "omniglot", "person_folds", "printed_characters", "split",
]
