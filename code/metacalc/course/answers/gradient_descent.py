"""Answers to the exercises of the chapter "Gradient descent"."""

import numpy as np
import sympy as sp

from metacalc.calculus import Objective
from metacalc.descent import convergence_factor, gradient_descent
from metacalc.exercises import Exercise, entries, number

gamma, lambda_max = sp.symbols("gamma lambda_max", positive=True)
R = sp.Rational


def _cycle(answer):
    """For gd-ex-edge: (objective, rate, point) of a cycle of length two beyond the threshold."""
    objective, rate, point = entries(answer, 3, "an Objective, a rate and a point")
    if not isinstance(objective, Objective) or objective.is_vector:
        return "The first entry must be an Objective of one variable."
    rate = number(rate)
    path = gradient_descent(objective.grad, number(point), rate, 40)
    if not abs(path[1] - path[0]) >= 1e-3:
        return "Your point does not move: it is no cycle of length two."
    if not np.allclose(path[::2], path[0], atol=1e-4) or not np.allclose(path[1::2], path[1], atol=1e-4):
        return "Forty iterations from your point do not stay on two points."
    minimum = _lowest(objective, *sorted(path[:2]))
    if not rate * objective.hess(minimum) > 2:
        return "Your rate does not exceed 2/f'' at the minimum between the two points."
    attracts = abs(np.prod([1 - rate * objective.hess(end) for end in path[:2]])) < 1
    return "" if attracts else "Your cycle does not attract: nothing settles into it."


def _lowest(objective, low, high):
    """Where a function of one variable is lowest between two points: the best of a grid, refined again and again."""
    for _ in range(8):
        grid = np.linspace(low, high, 101)
        best = int(np.nanargmin(objective(grid)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 100)]
    return (low + high) / 2


def _momentum_pair(answer):
    """For gd-ex-momentum: (best β, its factor, the β that is as slow as none) for ηλ = 1/4."""
    best, factor, slow = (number(v) for v in entries(answer, 3, "two momenta and, between them, a factor"))
    if not 0 <= best < 1 or not 0 <= slow < 1:
        return "A momentum lies in [0, 1)."
    if abs(convergence_factor(0.25, best, [1.0]) - 0.5) > 1e-6:
        return "Entry 1: there is a β with a smaller factor."
    if abs(factor - 0.5) > 1e-6:
        return "Entry 2: this is not the factor of the best β."
    if slow <= best or abs(convergence_factor(0.25, slow, [1.0]) - 0.75) > 1e-6:
        return "Entry 3: with this β momentum is not as slow as none."
    return ""


EXERCISES = {
    "gd-ex-routine": Exercise(R(10, 23),
                              mistakes=((R(1, 2), "That is right for θ² alone; the cubic term has a slope at 1 too."),)),
    "gd-ex-count": Exercise((R(461), R(65)), mistakes=(((R(921), R(130)), "The error falls by 10⁸, not its square."),
                                                    ((R(460), R(64)), "After 460.5 iterations, and 64.7: round up."))),
    "gd-ex-decay": Exercise(2 / (lambda_max + gamma),
                            mistakes=((2 / lambda_max, "The new term curves as well."),
                                      (2 / (lambda_max * gamma), "Eigenvalues of a sum with γI add."))),
    "gd-ex-momentum": Exercise(_momentum_pair),
    "gd-ex-edge": Exercise(_cycle, program=True),
}
