"""Answers to the exercises of the chapter "Gradient descent"."""

import numpy as np
import sympy as sp

from metacalc.calculus import Objective
from metacalc.descent import convergence_factor, gradient_descent
from metacalc.exercises import Exercise, entries, number

gamma, lambda_max, g, eta, theta = sp.symbols("gamma lambda_max g eta theta", positive=True)
beta_1, a, sigma, v = sp.symbols("beta_1 a sigma v", positive=True)
R = sp.Rational


def _cycle(answer):
    """For gd-ex-edge: (objective, rate, point) of a cycle of length two beyond the threshold."""
    objective, rate, point = entries(answer, 3, "an Objective, a rate and a point")
    if isinstance(objective, sp.Expr | str):
        return "Wrap your function: Objective(log(cosh(theta)), theta), for example."
    if not isinstance(objective, Objective) or objective.is_vector:
        return "The first entry must be an Objective of one variable."
    rate, given = number(rate), number(point)
    point = _returning(objective, rate, given)
    if not abs(point - given) <= 2e-3 * max(1, abs(given)):
        return "Two steps from your point do not come back to it: it is not one of two points of a cycle."
    ends = gradient_descent(objective.grad, point, rate, 1)
    if not abs(ends[1] - ends[0]) >= 1e-3:
        return "Your point does not move: this is rest, and not a cycle of length two."
    minimum = _lowest(objective, *sorted(ends))
    if not rate * objective.hess(minimum) > 2:
        return "Your rate does not exceed 2/f'' at the minimum between the two points."
    attracts = abs(np.prod([1 - rate * objective.hess(end) for end in ends])) < 1
    return "" if attracts else "Your cycle does not attract: nothing settles into it."


def _returning(objective, rate, point):
    """Near a rounded point the one to which two steps return, by Newton's method; the point itself where they do already."""
    for _ in range(20):
        path = gradient_descent(objective.grad, point, rate, 2)
        if abs(path[2] - point) <= 1e-7:
            return point
        slope = np.prod([1 - rate * objective.hess(end) for end in path[:2]]) - 1
        if slope == 0:
            break
        point = float(point - (path[2] - point) / slope)
    return np.nan


def _lowest(objective, low, high):
    """Where a function of one variable is lowest between two points: the best of a grid, refined again and again."""
    for _ in range(8):
        grid = np.linspace(low, high, 101)
        best = int(np.nanargmin(objective(grid)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 100)]
    return (low + high) / 2


def _momentum_pair(answer):
    """For gd-ex-momentum: (best β, its factor, the β that is as slow as none) for ηλ = 1/4."""
    best, factor, slow = (number(one) for one in entries(answer, 3, "two momenta and, between them, a factor"))
    if not 0 <= best < 1 or not 0 <= slow < 1:
        return "A momentum lies in [0, 1)."
    if abs(convergence_factor(0.25, best, [1.0]) - 0.5) > 1e-6:
        return "Entry 1: there is a β with a smaller factor."
    if abs(factor - 0.5) > 1e-6:
        return "Entry 2: this is not the factor of the best β."
    if slow == 0:
        return "Entry 3: that is no momentum. Which other β is as slow?"
    if slow <= best or abs(convergence_factor(0.25, slow, [1.0]) - 0.75) > 1e-6:
        return "Entry 3: with this β momentum is not as slow as none."
    return ""


_after = theta - eta * sp.tanh(theta)  # one step on log cosh θ
y = sp.Symbol("y", positive=True)
EXERCISES = {
    "gd-ex-slope": Exercise(-sp.tanh(_after) * sp.tanh(theta), mistakes=(
        (-sp.tanh(theta)**2, "Both gradients are taken at the old point: that is the slope at η = 0 only."),
        (-sp.tanh(_after)**2, "Both gradients are taken at the new point; one belongs to the old."),
        (-sp.tanh(_after), "The chain rule gives a second factor: how fast the new point moves as η grows."),
        (sp.tanh(_after) * (1 - eta / sp.cosh(theta)**2), "That is the derivative with respect to θ, not η."),
        (theta / sp.tanh(theta), "That is where the slope vanishes. What is the slope?"))),
    "gd-ex-perpendicular": Exercise(R(5, 17), mistakes=(
        (R(2, 5), "That is the best constant rate for all starts; here one step from one start is asked for."),
        (R(1, 4), "With this rate y arrives in one step, but the two gradients are not perpendicular."),
        (R(17, 5), "Upside down: the weighted mean of the curvatures stands in the denominator."))),
    "gd-ex-price": Exercise(-sp.sqrt(eta * g), mistakes=(
        (-eta * g, "That is the best move for the price δ²/(2η); this price is another."),
        (-sp.sqrt(3 * eta * g), "The derivative of δ³ brings a 3, which cancels the one in the price."),
        (-eta * sp.sqrt(g), "η stands under the root too."))),
    "gd-ex-routine": Exercise(R(10, 23), mistakes=(
        (R(1, 2), "That is right for θ² alone; the cubic term has a slope at 1 too."),
        (R(5, 13), "That takes f''(1) for the slope; one step needs f'(1) only."))),
    "gd-ex-predict": Exercise((R(1, 2), R(1, 3), R(13)), mistakes=(
        ((R(2, 3), R(1, 3), R(13)), "Entry 1: 3 is the curvature along an axis; the largest eigenvalue is larger."),
        ((R(1, 3), R(1, 2), R(13)), "The first two are swapped: first the threshold, then the best rate."),
        *(((R(1, 2), R(1, 3), n), "After 12.6 iterations: round up.") for n in (R(12), R("12.6"), R("12.58"), R("12.575"))))),
    "gd-ex-decay": Exercise(2 / (lambda_max + gamma),
                            mistakes=((2 / lambda_max, "The new term curves as well."),
                                      (2 / lambda_max + gamma, "γ adds to λ_max: put the sum in brackets."),
                                      (2 / (lambda_max * gamma), "Eigenvalues of a sum with γI add."))),
    "gd-ex-smooth": Exercise(R(8, 3), mistakes=(
        (R(4, 3), "That is 1/Λ, where at least half of the gain is left; the loss still falls up to 2/Λ."),
        (R(2, 3), "p(1 − p) is never 1: it is largest at p = 1/2."),
        (R(3, 4), "That is Λ. Which rates are safe?"),
        (8, "The factor 3 makes the curvature larger."))),
    "gd-ex-count": Exercise((R(461), R(65)), mistakes=(
        ((R(65), R(461)), "The two are swapped: plain descent first, then momentum."),
        ((R(921), R(130)), "It is the error that falls by 10⁸, not its square."),
        *(((plain, heavy), "After 460.5 iterations, and 64.7: round up.")
          for plain in map(R, ("460", "461", "460.5", "460.46", "460.456"))
          for heavy in map(R, ("64", "65", "64.7", "64.69", "64.690")) if (plain, heavy) != (461, 65)))),
    "gd-ex-momentum": Exercise(_momentum_pair),
    "gd-ex-adam": Exercise(eta * (1 - beta_1) / (1 + beta_1), mistakes=(
        (-eta * (1 - beta_1) / (1 + beta_1), "Back towards where it came from: the first move went to the left."),
        (eta / 19, "That is so for β₁ = 0.9. Give it for any β₁."),
        (eta, "The running mean still remembers the first gradient, which points the other way."),
        (eta * (1 - beta_1) ** 2, "The running mean is still to be corrected: divide it by 1 − β₁²."))),
    "gd-ex-noise": Exercise(2 * a * v / (sigma**2 + a**2 * v), mistakes=(
        (2 * a * v / sigma**2, "That is the approximation for small η; solve for η without it."),
        ((sigma**2 + a**2 * v) / (2 * a * v), "Upside down: the larger the variance that you allow, the larger the rate."))),
    "gd-ex-newton": Exercise(R(2, 3), mistakes=(
        (R(2, 3) * theta, "That is the new point. By what factor was θ multiplied?"),
        (0, "The Hessian at the minimum is zero, so that the digits need not double: work the step out."),
        (R(1, 3), "That is what is taken away; what is left of θ?"),
        (R(4, 3), "Newton's step is subtracted."))),
    "gd-ex-saddle": Exercise((R(6, 5), 0), mistakes=(
        ((R(6, 5) * y, 0), "Those are the new points. By what factors was y multiplied?"),
        ((R(4, 5), 0), "Entry 1: the curvature is negative, and the distance grows."),
        ((0, R(6, 5)), "The two are swapped: descent first, then Newton's method."))),
    "gd-ex-edge": Exercise(_cycle, program=True),
}
