"""Task distributions: `distribution.sample(rng, n_tasks)` draws a `Batch`, each task with a support and a query set.

Whatever is random comes from the `numpy.random.Generator` that is passed in, so that a seed fixes every task.
"""

from metacalc.tasks.base import Batch, Tasks, VariedShots
from metacalc.tasks.few_shot import FewShotClassification, Pooled, Shifted, nearest_mean
from metacalc.tasks.letters import NextLetter
from metacalc.tasks.ratings import RatingTasks
from metacalc.tasks.synthetic import LinearTasks, Quadratics, Sinusoids

__all__ = [
    "Batch", "FewShotClassification", "LinearTasks", "NextLetter", "Pooled", "Quadratics", "RatingTasks", "Shifted",
    "Sinusoids", "Tasks", "VariedShots", "nearest_mean",
]
