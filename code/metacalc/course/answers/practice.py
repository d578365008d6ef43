"""Answers to the exercises of the chapter "Practice"."""

import numpy as np
import sympy as sp

from metacalc.course.practice import Run
from metacalc.exercises import Exercise
from metacalc.extras import extra
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.tasks import Batch, Sinusoids
from metacalc.training import Training, evaluate
from metacalc.words import t

a, alpha, c, K, o, p = sp.symbols("a alpha c K o p", positive=True)
R = sp.Rational


def _lines(answer):
    """For pr-ex-family: a distribution of lines with slopes in [−1, 1] and intercepts in [−2, 2]."""
    if not callable(getattr(answer, "sample", None)):
        return "Give an object with a method sample(rng, n_tasks)."
    batch, again, other = (answer.sample(np.random.default_rng(seed), 400) for seed in (0, 0, 1))
    if not all(isinstance(b, Batch) for b in (batch, again, other)):
        return "sample must return a Batch."
    if batch.x_support.shape != (400, 5, 1) or batch.x_query.shape != (400, 10, 1) or any(
            y.shape != x.shape for x, y in ((batch.x_support, batch.y_support), (batch.x_query, batch.y_query))):
        return "A task needs 5 support and 10 query points, in arrays of shape (n_tasks, points, 1)."
    if not np.array_equal(batch.y_query, again.y_query):
        return "The same rng gave other tasks: draw everything random from rng."
    if np.array_equal(batch.y_query, other.y_query):
        return "Another rng gave the same tasks: draw everything random from rng."
    if (batch.x_support == batch.x_query.swapaxes(1, 2)).any():
        return "Some support points are query points as well: draw all fifteen."
    x, y = (np.concatenate(parts, axis=1)[..., 0].astype(float) for parts in (
        (batch.x_support, batch.x_query), (batch.y_support, batch.y_query)))
    from_mean = x - x.mean(axis=1, keepdims=True)
    m = (from_mean * y).sum(axis=1) / (from_mean**2).sum(axis=1)
    c = (y - m[:, None] * x).mean(axis=1)
    if not np.allclose(y, m[:, None] * x + c[:, None], atol=1e-4):
        return "The points of a task do not lie on one line, support and query alike."
    with extra("studies"):
        from scipy import stats
    points = "The points x are not uniform in [−5, 5]."
    for values, end, wrong in ((x[:, 0], 5, points), (x.ravel(), 5, points), (m, 1, "The slopes are not uniform in [−1, 1]."),
                               (c, 2, "The intercepts are not uniform in [−2, 2].")):
        if np.abs(values).max() > end + 1e-4 or stats.kstest(values, stats.uniform(-end, 2 * end).cdf).pvalue < 1e-6:
            return wrong
    return "" if abs(np.corrcoef(m, c)[0, 1]) < 0.25 else "Slope and intercept depend on each other: draw them independently."


def _meta_trained(answer):
    """For pr-ex-tanh: θ of a tanh net that adapts to sine waves in one step."""
    model = MLP((1, 40, 40, 1), "tanh")
    if isinstance(answer, (Training, Run)):
        return "That is the run. Hand in its θ: run.theta."
    theta = np.asarray(answer)
    theta = theta if theta.dtype.kind in "iuf" else np.zeros(0)
    if theta.shape != (model.n_params,):
        return t("θ must be a vector of {n} numbers.", n=model.n_params)
    error = evaluate(Learner(model, theta, 0.01), Sinusoids(), steps=(0, 1), n_tasks=300, seed=77).mean
    return "" if error[1] < 1.1 else t(
        "After one step the error is {after:.2f}, before it {before:.2f}.", before=error[0], after=error[1])


def _group_of_rates(answer):
    """For pr-ex-rates."""
    if answer not in ("W_1", "b_1", "W_2", "b_2", "W_3", "b_3"):
        return 'Give one of "W_1", "b_1", "W_2", "b_2", "W_3" and "b_3".'
    return "" if answer == "b_1" else "Another group has a mean rate several times as large."


EXERCISES = {
    "pr-ex-rates-at-once": Exercise(R(5), mistakes=((R(9), "All but η = 1 converge, but not all so far in 20 iterations."),
                                                    (R(1), "η = ½ is there in one step; others get below 10⁻⁶ as well."))),
    "pr-ex-check": Exercise(1 - a * alpha,
                            mistakes=((1 / (1 - a * alpha), "Divide the finite difference by what the program returns."),
                                      ((1 - a * alpha) ** 2, "One of the two factors is in what the program returns."))),
    "pr-ex-features": Exercise(1 / (K + 1), mistakes=((K / (K + 1), "That is the best rate, not what it leaves."),
                                                      (1 / K, "That is left with the rate 1; a shorter step leaves less."))),
    "pr-ex-threshold": Exercise(R(2, 41),
                                mistakes=((R(1, 41),
                                           "The threshold is 2/λ, and λ has the K points' mean in it, not their sum."),
                                          (R(1), "That is the threshold of the intercept, the flat direction."))),
    "pr-ex-interval": Exercise(R(25_000), mistakes=((R(5_000), "The width falls as one over the root of n."),)),
    "pr-ex-family": Exercise(_lines, program=True),
    "pr-ex-tanh": Exercise(_meta_trained, program=True),
    "pr-ex-rates": Exercise(_group_of_rates),
    "pr-ex-break": Exercise(R(1, 20),
                            mistakes=((R(1, 50), "There αλ > 2 for all, yet most learn."), (R(3, 100), "Many, but not most."),
                                      (R(1, 10), "Most, but a smaller rate does it too."))),
    "pr-ex-pool": Exercise(o * p / (c * (p - 1)), mistakes=((o / c, "The pool has work of its own to do: nc/p."),)),
}
