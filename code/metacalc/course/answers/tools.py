"""Answers to the exercises of the chapter "Tools and resources"."""

import numpy as np
import sympy as sp

from metacalc.exercises import Exercise
from metacalc.words import t

a, alpha, c, f, s, theta = sp.symbols("a alpha c f s theta", positive=True)
R = sp.Rational


def _hessian_from_gradients(answer):
    """For tl-ex-difference: a function that makes Hv from two gradients, with an error of order h²."""
    if not callable(answer):
        return "Give a Python function of grad, theta and v."
    calls, q, v = [], np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -0.7])

    def grad(place):  # of Σ q⁴/4 + (Σ q)²/2, whose Hessian is diag(3q²) + 1
        calls.append(np.array(place, float))
        return calls[-1] ** 3 + calls[-1].sum()

    result = np.asarray(answer(grad, q.copy(), v.copy()), float)
    if len(calls) != 2:
        return t("Your function takes {n} gradients. Two are enough.", n=len(calls))
    exact = 3 * q**2 * v + v.sum()
    if result.shape != exact.shape:
        return t("For three parameters the result should have the shape (3,), not {shape}.", shape=result.shape)
    apart, middle = np.linalg.norm(calls[1] - calls[0]), (calls[0] + calls[1]) / 2
    if np.allclose(result, exact, rtol=1e-5, atol=apart**2 if apart < 0.5 else 0):  # the error is of order h²
        return "" if np.linalg.norm(middle - q) < 1e-3 * apart else (
            "Your two points do not lie on both sides of θ alike: such a quotient is of first order, and close only "
            "for a tiny h.")
    if np.allclose(result, 2 * exact, rtol=1e-2) or np.allclose(result, exact / 2, rtol=1e-2):
        return "Off by a factor of two: how far apart are the two points?"
    return "This is not the Hessian times v."


EXERCISES = {
    "tl-ex-passes": Exercise((R(1761), R(3)),
                             mistakes=(((R(3), R(1761)), "The other way round: a forward pass starts from one input."),
                                       ((R(1761 * 3), R(1761 * 3)), "A pass gives a whole column or a whole row."))),
    "tl-ex-hessian": Exercise((R(1761), R(1761 * 1762 // 2)), mistakes=(((R(1761), R(1761**2)), "The Hessian is symmetric."),
                                                                       ((R(1761**2), R(1761 * 1762 // 2)),
                                                                        "One product gives a whole column."))),
    "tl-ex-truncated": Exercise(a * (1 - a * alpha) ** 3 * theta,
                                mistakes=((a * (1 - a * alpha) ** 4 * theta, "That is MAML, with nothing detached."),
                                          (a * (1 - a * alpha) ** 2 * theta,
                                           "That is first-order MAML: the second step is not detached."))),
    "tl-ex-wrong-place": Exercise(-alpha * a**2 * (1 - a * alpha) * theta,
                                  mistakes=((a * (1 - a * alpha) * theta,
                                             "That is first-order MAML: there the gradient is detached, not θ."),
                                            (a * (1 - a * alpha) ** 2 * theta, "That is MAML. The straight way is cut here."))),
    "tl-ex-pays": Exercise(c / (s - f), mistakes=((c / s, "That ignores what the framework's own iterations take."),
                                                  (c / f, "Compare the two totals: c + n f against n s."),
                                                  (c / (f - s), "Sign: the framework is the faster one per iteration."))),
    "tl-ex-difference": Exercise(_hessian_from_gradients, program=True),
    "tl-ex-checkpoints": Exercise((R(10), R(20)),
                                  mistakes=(((R(10), R(10)), "The kept iterates and those of one stretch count together."),
                                           ((R(50), R(52)), "There is a smaller sum in between."))),
}
