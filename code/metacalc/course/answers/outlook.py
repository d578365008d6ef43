"""Answers to the exercises of the chapter "Trends and challenges"."""

import numpy as np
import sympy as sp

from metacalc.calculus import Objective, step
from metacalc.exercises import Exercise, entries, number

a, alpha, b, c, d, k, K, r, sigma = sp.symbols("a alpha b c d k K r sigma", positive=True)
R = sp.Rational


def _convex_and_then_not(answer):
    """For out-ex-convex: a loss that is convex on [−3, 3] and a rate such that MAML's objective is not."""
    objective, rate = entries(answer, 2, "an Objective and a rate")
    if not isinstance(objective, Objective) or objective.is_vector:
        return "The first entry must be an Objective of one variable."
    rate, grid = number(rate), np.linspace(-3, 3, 2001)
    curvature = objective.hess(grid)
    if not curvature.min() >= -1e-12:
        return "Your loss is not convex on [−3, 3]."
    if not 0 < rate * curvature.max() <= 1 + 1e-9:
        return "The rate must be positive, with αL″ at most 1 on [−3, 3]."
    adapted = objective.expr.subs(objective.variables, step(objective, rate))
    bent = Objective(adapted, objective.variables).hess(grid)
    return "" if bent.min() < -1e-9 * (1 + np.abs(bent).max()) else "With this rate MAML's objective is convex there."


EXERCISES = {
    "out-ex-truncated": Exercise(R(3), mistakes=((R(1), "That is the number of steps differentiated; all five are taken."),
                                                 (R(6), "MAML with k steps has the exponent 2k."),
                                                 (R(5), "That would be the full gradient."))),
    "out-ex-error": Exercise((1 - a * alpha) ** (r - k) - 1,
                             mistakes=(((1 - a * alpha) ** (r - k), "That is the ratio; the error is what differs from 1."),
                                       ((1 - a * alpha) ** (k - r) - 1,
                                        "The full gradient has more factors than the truncated one."))),
    "out-ex-budget": Exercise((R(2818), R(1476), R(1000)),
                              mistakes=(((R(3100), R(2066), R(1550)), "A Hessian-vector product counts as two gradients, and "
                                                                      "the query set takes one more."),
                                        ((R(3100), R(1550), R(1033)), "The query set takes a gradient too."),
                                        ((R(2818), R(1937), R(1476)), "A Hessian-vector product counts as two gradients."))),
    "out-ex-crossover": Exercise(R(4), mistakes=((R(2), "Δ is halved, and n* has Δ² in its denominator."),
                                                 (R(1, 4), "A smaller gap between the aims is harder to see: n* grows."))),
    "out-ex-convex": Exercise(_convex_and_then_not, program=True),
    "out-ex-even": Exercise((sp.sqrt(3) - 1) / (3 * sp.sqrt(3) - 1),
                            mistakes=(((sp.sqrt(3) + 1) / (3 * sp.sqrt(3) + 1),
                                       "The weights are equal there too, but there is a smaller rate."),
                                      (R(1, 2), "There the factors (1 − αa)² are equal; the weights also have the factor a."))),
    "out-ex-attention": Exercise(K / (K + d + 1 + sigma**2),
                                 mistakes=((K / (K + d + 1), "That is the best rate without noise."),
                                           (K / (K + d + 1 + d * sigma**2),
                                            "Divide the noise's variance by d as well, as the rest was."))),
    "out-ex-rate": Exercise(R(5, 14),
                            mistakes=((R(1, 2),
                                       "That is the best rate for the larger of the two errors, "
                                       "not for the mean of the losses."),
                                      (R(2, 5),
                                       "That weights the errors equally; the loss of the sharp task has the factor 3."))),
    "out-ex-ridge": Exercise(a * (c - b) / b, mistakes=((a * (b - c) / b, "The sign is wrong: a penalty pulls towards 0."),
                                                        ((c - b) / b,
                                                         "The sharper the inner loss, the larger the penalty must be."))),
}
