"""Answers to the exercises of the page "New tasks"."""

import sympy as sp

from metacalc.exercises import Exercise

b, D, F, K, m, n, sigma, v, w, y = sp.symbols("b D F K m n sigma v w y", positive=True)
R = sp.Rational

EXERCISES = {
    "nt-ex-tasks": Exercise((R(20), R(40)),
                            mistakes=(((R(40), R(40)), "The loss of new tasks is half a gap above the floor."),
                                      ((R(40), R(20)), "The other way round: the floor is half a gap away, the training loss a "
                                                       "whole one."),
                                      ((R(20), R(20)), "Between new and training tasks lies a whole gap, 2/n floors."))),
    "nt-ex-bound": Exercise(F + sp.sqrt(D / (2 * n)),
                            mistakes=((F + sp.sqrt(D / n), "Pinsker's inequality has a factor of 2."),
                                      (F + D / n, "The inequality bounds the square of the difference."),
                                      (F - sp.sqrt(D / (2 * n)), "That is a bound from below: the largest value is asked for."),
                                      (sp.sqrt(D / (2 * n)), "That is the difference; the bound has the training loss too."))),
    "nt-ex-diversity": Exercise((R(22500), R(16)),
                                mistakes=(((R(23625), R(16)), "d − 1 directions are outside the subspace, not d."),
                                          ((R(90000), R(16)), "The eigenvalues are 2λ apart, and 2λ is squared."),
                                          ((R(22500), R(4)), "With noise alone λ² is in the denominator."))),
    "nt-ex-code": Exercise(2 * (b * w * m - y) * b * m,
                           mistakes=((2 * (b * w * m - y) * b * m / K,
                                      "Each shot brings 1/K of it, but there are K of them."),
                                     (2 * (b * w * m - y) * b,
                                      "That is the derivative with respect to the code; the encoder comes next."),
                                     ((b * w * m - y) * b * m, "The square brings a factor of 2."))),
    "nt-ex-twice": Exercise((K * v * m / (K * v + sigma**2), 2 * K * v * m / (2 * K * v + sigma**2)),
                            mistakes=(((K * v * m / (K * v + sigma**2), K * v * m / (K * v + sigma**2)),
                                       "That is the neural process, which cannot count; for the posterior mean 2K shots are "
                                       "more than K."),
                                      ((m, m), "Without the prior: it pulls towards 0."))),
}
