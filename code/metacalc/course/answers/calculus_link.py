"""Answers to the exercises of the chapter "Core concepts and the calculus link"."""

import numpy as np
import sympy as sp

from metacalc.calculus import Objective
from metacalc.exercises import Exercise, entries, formula, number

a, eta, theta, x, y = sp.symbols("a eta theta x y", positive=True)
R = sp.Rational


def _same_direction(answer):
    """For cl-ex-disagree: two losses of θ, and a point where their gradients cancel without vanishing."""
    first, second, point = entries(answer, 3, "two losses and a point")
    place, variable = number(point), sp.Symbol("theta", real=True)
    f, g = (Objective(formula(getattr(e, "expr", e), [variable]), variable) for e in (first, second))
    line = np.linspace(-1e3, 1e3, 20_001)
    for loss in (f, g):
        if not np.isfinite(loss(line)).all():
            return "One of your losses is not a number everywhere."
    if not f.grad(place) * g.grad(place) < -1e-9:
        return "At your point the two gradients do not point against each other."
    joint = Objective(f.expr + g.expr, variable)
    if not abs(joint.grad(place)) < 1e-9:
        return "At your point the gradient of the sum is not zero."
    if not joint.hess(place) > 0:
        return "At your point the sum has no minimum that its second derivative shows."
    lowest = [sp.limit(loss.expr, variable, end) for loss in (f, g) for end in (sp.oo, -sp.oo)]
    return "One of your losses is not bounded below." if -sp.oo in lowest else ""


EXERCISES = {
    "cl-ex-gradient": Exercise((2 * x * y + y * sp.cos(x * y), x**2 + x * sp.cos(x * y)),
                               mistakes=(((2 * x * y + sp.cos(x * y), x**2 + sp.cos(x * y)),
                                          "The chain rule: the inner function is xy."),)),
    "cl-ex-steepest": Exercise(R(-5),
                               mistakes=((R(5), "That is the steepest ascent."),
                                         (R(-7), "The direction has to have length 1."))),
    "cl-ex-jacobian": Exercise((1 - 3 * eta, 1 - eta),
                               mistakes=(((R(3), R(1)), "Those are eigenvalues of the Hessian, not of the update."),
                                         ((1 + 3 * eta, 1 + eta), "Descent subtracts."))),
    "cl-ex-two-steps": Exercise((1 - eta * a) ** 2, mistakes=((1 - eta * a, "That is the derivative of one step."),
                                                             (2 * (1 - eta * a),
                                                              "Factors of a chain multiply; they do not add."))),
    "cl-ex-shared": Exercise(R(7), mistakes=((R(6), "The formula has K − r − 1, not K − r, below the line."),
                                            (R(61), "That is what the learner without the shared part needs."))),
    "cl-ex-disagree": Exercise(_same_direction),
}
