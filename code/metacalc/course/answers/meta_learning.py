"""Answers to the exercises of the chapter "The mathematics of meta-learning"."""

import numpy as np
import sympy as sp

from metacalc.exercises import Exercise, entries, number
from metacalc.words import t

a, alpha, b, c, d, k, lam, theta, w = sp.symbols("a alpha b c d k lam theta w", positive=True)
R = sp.Rational
phi_1 = theta - alpha * theta**2
phi_2 = phi_1 - alpha * phi_1**2
query_slope = b * ((a * c + lam * theta) / (a + lam) - d)
left, error = 1 - alpha * b**2, b * w - 1  # for ml-ex-head: the step multiplies the error by the first


def _disagreement(answer):
    """For ml-ex-disagree: two curvatures for which MAML and Reptile end far apart (c = 0 and 1, α = 1/4, k = 5)."""
    curvatures = np.array([number(v) for v in entries(answer, 2, "two curvatures")])
    if not np.all((curvatures >= 0.2 - 1e-9) & (curvatures <= 4 + 1e-9)):
        return "The exercise asks for two curvatures between 1/5 and 4."
    left = (1 - curvatures / 4) ** 5
    maml, reptile = curvatures * left**2, 1 - left
    if maml.sum() == 0:
        return "One step solves both of your tasks, so that MAML does not care where it ends."
    gap = abs(maml[1] / maml.sum() - reptile[1] / reptile.sum())
    if np.allclose(np.sort(curvatures), [0.2, 4]):
        return ""
    return t("For your curvatures the distance is {gap:.6f}. There are larger ones.", gap=gap)


EXERCISES = {
    "ml-ex-objective": Exercise(R(5), mistakes=((R(3), "There the query loss is least; but learning still moves away from it."),
                                                (R(1), "There the support loss is least, and learning does not move."))),
    "ml-ex-two-steps": Exercise((1 - 2 * alpha * theta) * (1 - 2 * alpha * phi_1) * phi_2**2,
                                mistakes=(((1 - 2 * alpha * theta) * phi_2**2, "One factor is missing: there are two steps."),
                                          ((1 - 2 * alpha * theta) ** 2 * phi_2**2,
                                           "The second factor belongs to the second point of the path."),
                                          (phi_2**2, "That is first-order MAML."))),
    "ml-ex-one-factor": Exercise((1 - a * alpha) ** (1 - k),
                                 mistakes=(((1 - a * alpha) ** (k - 1),
                                            "That is the other way round: it takes the program's gradient "
                                            "to the right one."),
                                           ((1 - a * alpha) ** (-k), "The program has one factor, not none."))),
    "ml-ex-repel": Exercise(R(2, 5), mistakes=((R(2, 3), "That is where the inner loop of the sharp task diverges."),
                                              (R(1, 3),
                                               "From there on the sharp task's weight is negative, but not yet the sum."))),
    "ml-ex-agree": Exercise(R(1, 2), mistakes=((R(2, 3), "That is the stability threshold of the sharp task."),
                                              (R(1), "The condition is α(a₁ + a₂) = 2."))),
    "ml-ex-taylor": Exercise((R(5), R(-10)), mistakes=(((R(5), R(-5)), "Pairs: the last gradient has moved by four steps."),
                                                      ((R(5), R(10)), "Descent moves against the gradient: mind the sign."))),
    "ml-ex-disagree": Exercise(_disagreement),
    "ml-ex-envelope": Exercise(a * lam / (a + lam),
                               mistakes=((a * (lam / (a + lam)) ** 2,
                                          "That is iMAML's weight; here the outer loss contains the penalty too."),
                                        (a / (a + lam), "Right up to λ: ∇V = λ(θ − φ*)."))),
    "ml-ex-implicit": Exercise(lam / (a + lam) * query_slope,
                               mistakes=((query_slope, "Right up to the Jacobian of φ*, which is not 1."),
                                         (lam / (a + lam) * b * (theta - d), "The query's slope belongs at φ*, not at θ."))),
    "ml-ex-branch": Exercise(R(1), mistakes=((R(0), "λ > 0 is enough if the loss is convex; this one is not, near 0."),
                                             (R(2), "That is the curvature in the wells. Where is it least?"),
                                             (R(-1), "That is the least curvature; λ must outweigh it."))),
    "ml-ex-rates": Exercise(R(5, 14), mistakes=(
        (R(1, 2), "That rate solves a task of the mean curvature. Which tasks count most?"),
        (R(1, 3), "That solves the sharp task and forgets the flat one."),
        (R(2, 3), "That is the mean of the two tasks' own best rates."),
        (R(2, 5), "That makes the squared distances least; the sharp task's count three times as much."))),
    "ml-ex-head": Exercise(left * error * (left * w - 2 * alpha * b * error),
                           mistakes=((left * error * (w - alpha * b * error),
                                      "That is the slope in b where the step ends; the step itself depends on b too."),
                                     (left**2 * error * w, "The factor 1 − αb² depends on b too."),
                                     (left**2 * error * b, "That is the derivative with respect to the head, w."))),
    "ml-ex-count": Exercise((R(88), R(20)),
                            mistakes=(((R(22), R(5)), "Right for one task; there are four."),
                                      ((R(84), R(80)), "That is MAML."),
                                      ((R(80), R(20)), "Two more gradients a task: where the path ends, and on the query set."),
                                      ((R(88), R(80)), "The products are those of conjugate gradients, whatever k is."))),
}
