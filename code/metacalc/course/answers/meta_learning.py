"""Answers to the exercises of the chapter "The mathematics of meta-learning"."""

import numpy as np
import sympy as sp

from metacalc.exercises import Exercise, entries, number

a, alpha, k, lam, theta = sp.symbols("a alpha k lam theta", positive=True)
R = sp.Rational
phi_1 = theta - alpha * theta**2
phi_2 = phi_1 - alpha * phi_1**2


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
    return f"For your curvatures the distance is {gap:.6f}. There are larger ones."


EXERCISES = {
    "ml-ex-two-steps": Exercise((1 - 2 * alpha * theta) * (1 - 2 * alpha * phi_1) * phi_2**2,
                                mistakes=(((1 - 2 * alpha * theta) * phi_2**2, "One factor is missing: there are two steps."),
                                          ((1 - 2 * alpha * theta) ** 2 * phi_2**2,
                                           "The second factor belongs to the second point of the path."),
                                          (phi_2**2, "That is first-order MAML."))),
    "ml-ex-one-factor": Exercise((1 - a * alpha) ** (1 - k),
                                 mistakes=(((1 - a * alpha) ** (k - 1),
                                            "That is the other way round: it takes the demonstration's gradient "
                                            "to the right one."),
                                           ((1 - a * alpha) ** (-k), "The demonstration has one factor, not none."))),
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
                                          "That is iMAML's weight; here the outer loss contains the price too."),
                                        (a / (a + lam), "Right up to λ: ∇V = λ(θ − φ*)."))),
}
