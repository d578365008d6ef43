"""Answers to the exercises of the chapter "Practice"."""

import numpy as np
import sympy as sp

from metacalc.exercises import Exercise
from metacalc.models import MLP
from metacalc.tasks import Batch, Sinusoids
from metacalc.training import evaluate

c, o, p = sp.symbols("c o p", positive=True)
R = sp.Rational


def _lines(answer):
    """For pr-ex-family: a distribution of lines with slopes in [−1, 1] and intercepts in [−2, 2]."""
    if not callable(getattr(answer, "sample", None)):
        return "Give an object with a method sample(rng, n_tasks)."
    batch, again = (answer.sample(np.random.default_rng(0), 400) for _ in range(2))
    if not isinstance(batch, Batch):
        return "sample must return a Batch."
    x, y = (np.concatenate(parts, axis=1) for parts in ((batch.x_support, batch.x_query), (batch.y_support, batch.y_query)))
    if batch.x_support.shape != (400, 5, 1) or batch.x_query.shape != (400, 10, 1) or y.shape != x.shape:
        return "A task needs 5 support and 10 query points, in arrays of shape (n_tasks, points, 1)."
    if not np.array_equal(batch.y_query, again.y_query):
        return "The same rng gave other tasks: take all chance from rng."
    if not -5 <= x.min() < -4.9 or not 4.9 < x.max() <= 5:
        return "The points x are not uniform in [−5, 5]."
    m = (y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0])
    c = y[:, 0] - m * x[:, 0]
    if not np.allclose(y[..., 0], m * x[..., 0] + c, atol=1e-6):
        return "The points of a task do not lie on one line, support and query alike."
    if not (-1.001 <= m.min() < -0.97 and 0.97 < m.max() <= 1.001):
        return "The slopes are not uniform in [−1, 1]."
    return "" if -2.001 <= c.min() < -1.94 and 1.94 < c.max() <= 2.001 else "The intercepts are not uniform in [−2, 2]."


def _meta_trained(answer):
    """For pr-ex-tanh: θ of a tanh net that adapts to sine waves in one step."""
    model = MLP((1, 40, 40, 1), "tanh")
    theta = np.asarray(answer, float)
    if theta.shape != (model.n_params,):
        return f"θ must be a vector of {model.n_params} numbers."
    error = evaluate(model, theta, Sinusoids(), 0.01, steps=(0, 1), n_tasks=300, seed=77).mean
    return "" if error[1] < 1.1 else f"After one step the error is {error[1]:.2f}, before it {error[0]:.2f}."


def _group_of_rates(answer):
    """For pr-ex-rates."""
    if answer not in ("W_1", "b_1", "W_2", "b_2", "W_3", "b_3"):
        return 'Give one of "W_1", "b_1", "W_2", "b_2", "W_3" and "b_3".'
    return "" if answer == "b_1" else "Another group has a mean rate several times as large."

EXERCISES = {
    "pr-ex-threshold": Exercise(R(2, 41), mistakes=((R(1, 41), "The threshold is 2/λ, and λ has the K points' mean in it, not their sum."),
                                                    (R(1), "That is the threshold of the intercept, the flat direction."))),
    "pr-ex-interval": Exercise(R(25_000), mistakes=((R(5_000), "The width goes with the root of n."),)),
    "pr-ex-family": Exercise(_lines),
    "pr-ex-tanh": Exercise(_meta_trained),
    "pr-ex-rates": Exercise(_group_of_rates),
    "pr-ex-break": Exercise(R(1, 20), mistakes=((R(1, 50), "There αλ > 2 for all, yet most learn."), (R(3, 100), "Many, but not most."),
                                                (R(1, 10), "Most, but a smaller rate does it too."))),
    "pr-ex-pool": Exercise(o * p / (c * (p - 1)), mistakes=((o / c, "The pool has work of its own to do: nc/p."),)),
}
