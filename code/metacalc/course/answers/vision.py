"""Answers to the exercises of the chapter "Vision"."""

import sympy as sp

from metacalc.exercises import Exercise

alpha, N, z1, z2 = sp.symbols("alpha N z1 z2", positive=True)
R = sp.Rational


def _leak(answer):
    """For vi-ex-leak: two labels, a Georgian letter and one of another script that looks like it."""
    from metacalc.data.characters import printed_characters

    letters, (first, second) = printed_characters(), answer
    names = letters.classes.tolist()
    if first not in names or second not in names:
        return "Give two labels of `letters.classes`."
    scripts = {label.split("/")[0] for label in (first, second)}
    if len(scripts) < 2 or "Georgian" not in scripts:
        return "One letter should be Georgian, the other of another script."
    alike = letters.alike[names.index(first), names.index(second)]
    return "" if alike else "These two do not look alike by the rules of the chapter."

EXERCISES = {
    "vi-ex-gradient": Exercise((-1 / (1 + sp.exp(z1 - z2)), 1 / (1 + sp.exp(z1 - z2))),
                               mistakes=(((1 / (1 + sp.exp(z2 - z1)), 1 / (1 + sp.exp(z1 - z2))),
                                          "Those are the probabilities. Which vector is subtracted?"),
                                         ((1 / (1 + sp.exp(z1 - z2)), -1 / (1 + sp.exp(z1 - z2))),
                                          "Sign: the loss falls as the right output grows."))),
    "vi-ex-sharp": Exercise(1 / N,
                            mistakes=((1 / N - 1 / N**2, "That is an entry of the diagonal, not an eigenvalue."),
                                      (sp.Integer(1), "The probabilities are 1/N each."))),
    "vi-ex-step": Exercise(1 / (1 + 4 * sp.exp(-alpha / 5)),
                           mistakes=((1 / (1 + 4 * sp.exp(-alpha)), "The loss is a mean over five images."),
                                   (R(1, 5), "That is its probability before the step."))),
    "vi-ex-interval": Exercise((R(2, 100), 0.02 * 2.36462425 / sp.sqrt(8)), tolerance=5e-3,
                               mistakes=(((R(2, 100), 0.02 * 2.36462425),
                                          "That is the spread of one alphabet. The mean of eight is √8 times as sure."),
                                         ((R(2, 100), 0.02 * 1.959964 / sp.sqrt(8)),
                                          "With eight units the normal distribution is too narrow; take Student's t."))),
    "vi-ex-verdict": Exercise((R(2), R(1)),
                              mistakes=(((R(3), R(1)), "The third interval contains zero: that is no loss, only no win."),
                                        ((R(2), R(2)), "Widen the first interval as well: does it still exclude zero?"),
                                        ((R(3), R(3)), "Look at the whole interval, not at its middle."))),
    "vi-ex-leak": Exercise(_leak, program=True),
}
