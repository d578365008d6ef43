"""Answers to the exercises of the chapter "Core concepts and the calculus link"."""

from __future__ import annotations

from itertools import pairwise

import mpmath
import sympy as sp

from metacalc.exercises import Exercise, entries, formula, number

eta, theta, theta_0, x, y = sp.symbols("eta theta theta_0 x y", positive=True)
theta_1 = theta_0 - eta * theta_0**3
R = sp.Rational
RADII = (8, 64, 512, 4096, 32768)  # of the rings in which a loss that is not bounded below goes on falling


def _disagreeing(answer):
    """For cl-ex-disagree: two losses of θ, and a point where their gradients cancel without vanishing."""
    first, second, point = entries(answer, 3, "two losses and a point")
    number(point)
    variable = sp.Symbol("theta", real=True)
    place = sp.nsimplify(formula(point, []))
    f, g = (formula(getattr(e, "expr", e), [variable]) for e in (first, second))
    if (f.free_symbols | g.free_symbols) - {variable}:
        return "Give formulas in theta, with no other symbol in them."
    slope, other = (float(sp.diff(loss, variable).subs(variable, place)) for loss in (f, g))
    if not slope * other < -1e-9:
        return "At your point the two gradients do not point against each other."
    if not abs(slope + other) < 1e-9:
        if abs(slope + other) < 0.01 * abs(slope):
            return "At your point the gradient of the sum is not zero exactly: give the point as a fraction."
        return "At your point the gradient of the sum is not zero."
    if not _has_minimum(f + g, variable, place):
        return "At your point the sum has no minimum."
    return "" if all(_is_bounded_below(loss, variable) for loss in (f, g)) else "One of your losses is not bounded below."


def _is_bounded_below(expr: sp.Expr, variable: sp.Symbol) -> bool:
    """Whether a loss stays above some number, as far as limits and ever wider rings tell; ValueError where it is none."""
    loss = sp.lambdify(variable, expr, "mpmath")

    def value(at):
        try:
            found = mpmath.mpmathify(loss(mpmath.mpf(at)))
        except ZeroDivisionError:
            found = mpmath.nan
        if not isinstance(found, mpmath.mpf) or mpmath.isnan(found):
            raise ValueError("one of your losses is not a number everywhere.")
        return found

    lowest = [min(value(s * at) for s in (-1, 1) for at in mpmath.linspace(0, RADII[0], 161))]
    lowest += [min(value(s * at) for s in (-1, 1) for at in mpmath.linspace(inner, outer, 60))
               for inner, outer in pairwise(RADII)]
    falls = [before - after for before, after in pairwise(lowest)][-2:]
    if falls[0] > 0 and falls[1] > 0.9 * falls[0]:
        return False
    for end in (sp.oo, -sp.oo):
        limit = sp.limit(expr, variable, end)
        if (limit.min if isinstance(limit, sp.AccumBounds) else limit) == -sp.oo:
            return False
    return True


def _has_minimum(expr: sp.Expr, variable: sp.Symbol, place: sp.Expr) -> bool:
    """Whether the first Taylor coefficient that does not vanish is of even order and positive, for a polynomial of any degree.

    Of other functions values tell where the first four derivatives vanish, since all may: exp(−1/θ²) is flat at 0.
    """
    if expr.is_polynomial(variable):
        moved = sp.Poly(expr.subs(variable, variable + place), variable)
        coefficients = ((order, float(c)) for (order,), c in reversed(moved.terms()) if order)
    else:
        coefficients = ((n, float(sp.diff(expr, variable, n).subs(variable, place) / sp.factorial(n))) for n in range(1, 5))
    for order, found in coefficients:
        if abs(found) > 1e-9:
            return order % 2 == 0 and found > 0
    here, near = expr.subs(variable, place), [s * sp.Rational(1, 10**k) for k in (3, 4, 6) for s in (-1, 1)]
    return all(sp.N(expr.subs(variable, place + h) - here, 30) >= 0 for h in near)


EXERCISES = {
    "cl-ex-gradient": Exercise((2 * x * y + y * sp.cos(x * y), x**2 + x * sp.cos(x * y)),
                               mistakes=(((2 * x * y + sp.cos(x * y), x**2 + sp.cos(x * y)),
                                          "The chain rule: the inner function is xy."),)),
    "cl-ex-steepest": Exercise(R(-5),
                               mistakes=((R(5), "That is the steepest ascent."),
                                         (R(-7), "The direction has to have length 1."),
                                         *(((-3 * R(1, n), -4 * R(1, n)),
                                            "That is the way down. The exercise asks for the slope along it: a number.")
                                           for n in (1, 5)))),
    "cl-ex-jacobian": Exercise((1 - 3 * eta, 1 - eta),
                               mistakes=(((1 - 3 * eta, 0, 0, 1 - eta), "That is the Jacobian. Give its two eigenvalues."),
                                         ((R(3), R(1)), "Those are eigenvalues of the Hessian, not of the update."),
                                         ((1 + 3 * eta, 1 + eta), "Descent subtracts."))),
    "cl-ex-two-steps": Exercise((1 - 3 * eta * theta_1**2) * (1 - 3 * eta * theta_0**2), mistakes=(
        ((1 - 3 * eta * sp.Symbol("theta_1")**2) * (1 - 3 * eta * theta_0**2), "Now write θ₁ in terms of θ₀ and η."),
        ((1 - 3 * eta * theta_0**2)**2, "The second factor has the curvature where the second step starts."),
        (1 - 3 * eta * theta_0**2, "That is the derivative of one step."),
        (theta_1 - eta * theta_1**3, "That is θ₂. Differentiate it with respect to θ₀."),
        ((1 - 3 * eta * theta_1**2) + (1 - 3 * eta * theta_0**2), "Factors of a chain multiply; they do not add."))),
    "cl-ex-rate": Exercise(-theta**3 * (theta - eta * theta**3)**3, mistakes=(
        (1 / theta**2, "That is the best rate, the second thing that is asked. First the slope."),
        (-theta**6, "That is the slope at η = 0. One of the two gradients is taken after the step."),
        ((theta - eta * theta**3)**3, "The inner derivative is missing: how does θ′ change with η?"),
        (-(theta - eta * theta**3)**6, "One of the two gradients is taken before the step."),
        (-3 * eta * theta**2 * (theta - eta * theta**3)**3,
         "That is the derivative with respect to θ. Here θ is fixed, and η moves."))),
    "cl-ex-shared": Exercise(R(7), mistakes=((R(6), "The formula has K − s − 1, not K − s, below the line."),
                                            (R(5), "The formula has K − s − 1, not K − 1, below the line."),
                                            (R(61), "That is what the learner without the shared part needs."))),
    "cl-ex-disagree": Exercise(_disagreeing),
}
