"""Answers to the exercises of the page "Learning the optimiser"."""

import sympy as sp

from metacalc.exercises import Exercise

a, B, k, m, r, sigma, theta, phi_0 = sp.symbols("a B k m r sigma theta phi_0", positive=True)
R = sp.Rational

EXERCISES = {
    "lo-ex-window": Exercise(-r * a**2 * (1 - theta * a) ** (2 * k - 1) * phi_0**2,
                             mistakes=((-k * a**2 * (1 - theta * a) ** (2 * k - 1) * phi_0**2,
                                        "That is the whole derivative, of all k steps."),
                                       (-r * a**2 * (1 - theta * a) ** (2 * r - 1) * phi_0**2,
                                        "All k steps are walked; only the derivative is cut."),
                                       (r * a**2 * (1 - theta * a) ** (2 * k - 1) * phi_0**2,
                                        "The sign is wrong: a larger rate takes more off φ."),
                                       (-r * a * (1 - theta * a) ** (2 * k - 1) * phi_0**2,
                                        "F has the slope aφ, and the step another factor a."))),
    "lo-ex-chaos": Exercise(R(13), mistakes=((R(12), "3¹² is 531,441: not there yet."),
                                             (R(9), "That is where the root of the mean square passes it, not a typical one."),
                                             (R(5), "That is the mean square, 27 to the power k."))),
    "lo-ex-greedy": Exercise(m * sigma**2 / (m + sigma**2),
                             mistakes=((m * sigma**4 / (m + sigma**2) ** 2, "The step brings noise in as well."),
                                       (m**2 * sigma**2 / (m + sigma**2) ** 2, "The part of φ that is left counts as well."),
                                       (m / (m + sigma**2), "That is αa, the greedy rate times the curvature."))),
    "lo-ex-pairs": Exercise(R(236), mistakes=((R(232), "The mean square of a pair is (d + 2) times ‖g‖²; take 1 off."),
                                              (R(240), "That is the mean square of the estimate; its error has ‖g‖² less."),
                                              (R(118), "A pair is two values of F, but n counts the pairs."),
                                              (R(472), "That is the number of paths; a pair takes two."),
                                              (R(59, 4), "A quarter takes four times as many pairs as one does."))),
    "lo-ex-context": Exercise(1 / (2 * B**2), mistakes=((1 / B**2, "The squared loss has the slope 2(b + Bz − y) B."),
                                                        (1 / (2 * B), "B counts twice: in the gradient, and in what z does."),
                                                        (R(1, 2), "That would be the rate if b itself moved."))),
}
