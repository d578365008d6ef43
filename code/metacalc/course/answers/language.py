"""Answers to the exercises of the chapter "Language"."""

import re

import sympy as sp

from metacalc.exercises import Exercise
from metacalc.words import t

nu, N, p, s = sp.symbols("nu N p s", positive=True)
R = sp.Rational


def _not_apart(answer):
    """For la-ex-apart: two languages of different families that must not stand on two sides."""
    from metacalc.data.languages import SIMILAR, families, overlap

    codes = re.findall(r"\w+", answer) if isinstance(answer, str) else answer
    if len(codes) != 2:
        return "Give the codes of two languages."
    one, other = codes
    family = families()
    if not {one, other} <= family.keys() or one == other:
        return "Give the codes of two different languages of families()."
    if family[one] == family[other]:
        return "These two are of one family."
    return "" if overlap(one, other) >= SIMILAR else t(
        "Only {share:.0%} of their names agree.", share=overlap(one, other))

EXERCISES = {
    "la-ex-task": Exercise((R(81), R(27), R(80)), mistakes=(
        ((R(81), R(26), R(80)), "A word may also end: that is an output too."),
        ((R(78), R(27), R(80)), "Before the first letter stands a mark, which is one-hot as well."),
        ((R(81), R(27), R(10)), "An example is a letter to be predicted, not a word."),
        ((R(81), R(27), R(70)), "The end of a word is predicted as well."))),
    "la-ex-slope": Exercise((p - 1) / sp.log(2), mistakes=((p - 1, "That is the slope in natural units, not in bits."),
                                                           (p / sp.log(2), "That is for a letter that did not come."))),
    "la-ex-bits": Exercise((R(3), R(1, 8)),
                           mistakes=(((-sp.log(R(17, 64), 2), R(17, 64)), "Average the bits, not the probabilities."),)),
    "la-ex-posterior": Exercise(R(1, 6),
                                mistakes=((R(3, 10), "That is the frequency, without the prior."),
                                          (R(1, 8), "That is the prior, without the counts."))),
    "la-ex-half": Exercise(nu / (N + nu), mistakes=((N / (N + nu), "That is the weight of the frequencies."),)),
    "la-ex-curvature": Exercise((R(1, 2), 4 / s**2), mistakes=(
        ((R(1, 4), 8 / s**2), "¼ is the size of each entry of the Hessian. Its eigenvalues?"),
        ((R(1, 2), 2 / s**2), "The threshold is 2/λ_max, not 1/λ_max."),
        ((R(1, 2), R(4)), "That is the rate of a step on the outputs. The step moves W."))),
    "la-ex-folds": Exercise((R(2, 125), R(287, 10000)), tolerance=5e-3, mistakes=(
        ((R(2, 125), R(203, 10000)), "Five folds are few: take Student's t with 4 degrees of freedom, not 1.96."),
        ((R(2, 125), R(642, 10000)), "That is the spread of one fold. The mean of five is √5 times as sure."),
        ((R(2, 125), R(257, 10000)), "Divide the squares by n − 1 = 4, not by 5."))),
    "la-ex-apart": Exercise(_not_apart),
}
