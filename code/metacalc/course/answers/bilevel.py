"""Answers to the exercises of the page "Bilevel learning"."""

import sympy as sp

from metacalc.exercises import Exercise

a, alpha, k, phi, W, y, y_i = sp.symbols("a alpha k phi W y y_i", positive=True)
R = sp.Rational
curvature, left = sp.cosh(phi) + 3 * phi**2, (1 - a * alpha) ** k

EXERCISES = {
    "bl-ex-third": Exercise(phi / curvature,
                            mistakes=((-phi / curvature, "The sign: B = −1, and the formula has a minus of its own."),
                                      (phi, "That is the outer slope; what is missing is how far the minimum moves."),
                                      (phi * curvature, "The system Hv = φ is to be solved, not multiplied."),
                                      (phi / (sp.sinh(phi) + phi**3), "H is the second derivative, not the first."))),
    "bl-ex-weight": Exercise(-(phi - y_i) * (phi - y) / W,
                             mistakes=(((phi - y_i) * (phi - y) / W, "The sign: weight pulls the mean towards the example."),
                                       (-(phi - y_i) * (phi - y), "The curvature is the sum of the weights."),
                                       (-(phi - y) / W, "B is the example's own slope, φ − y_i."))),
    "bl-ex-products": Exercise((R(38), R(346)),
                               mistakes=(((R(35), R(346)), "The bound of conjugate gradients has a factor 2 in front."),
                                         ((R(37), R(345)), "Round up: one product fewer is not enough."),
                                         ((R(346), R(38)), "These two are swapped."),
                                         ((R(38), R(688)), "That is the rate 1/λ_max; the best one is 2/(λ_max + λ_min)."))),
    "bl-ex-bias": Exercise((1 - left) ** 2,
                           mistakes=((1 - left, "That is one of the two errors: where the loop ends has one too."),
                                     (left**2, "That is what is left of the loss; the gradient approaches the exact one."),
                                     (1 - left**2, "Two factors 1 − (1 − αa)^k multiply; they do not join in one."))),
    "bl-ex-modes": Exercise((R(350), R(150)),
                            mistakes=(((R(150), R(350)), "These two are swapped."),
                                      ((R(200), R(100)), "A product costs as much as two gradients."),
                                      ((R(300), R(100)), "The path is walked as well: 50 gradients."),
                                      ((R(350), R(350)), "Reverse mode takes one product a step, whatever d is."))),
    "bl-ex-snapshots": Exercise(R(20), mistakes=((R(21), "That is the number of points; the steps between them are one fewer."),
                                                 (R(14), "φ₀ is kept as well: the binomial has s + 1 + ν above."),
                                                 (R(8), "That would be two times four; snapshots are used again."))),
}
