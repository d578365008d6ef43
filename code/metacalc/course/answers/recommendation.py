"""Answers to the exercises of the chapter "Recommendation"."""

import numpy as np
import sympy as sp

from metacalc.course.gaussian import GaussianPrior
from metacalc.exercises import Exercise, number
from metacalc.formulas import parsed

alpha, c, k, K, lam, n, noise, nu, s, t, tau2 = sp.symbols("alpha c k K lam n noise nu s t tau2", positive=True)


def _best_question(answer):
    """For rc-ex-question: a 3 × 3 covariance whose most uncertain item is not the best one to ask about (noise 1/2)."""
    rows = parsed(answer) if isinstance(answer, str) else np.asarray(answer, object).tolist()
    cov = np.array([[number(v) for v in row] for row in rows])
    if cov.shape != (3, 3):
        return "Give a 3 × 3 matrix, as three lists of three numbers."
    prior = GaussianPrior(np.zeros(3), cov, 0.5)
    if np.sort(np.diagonal(cov))[-1] - np.sort(np.diagonal(cov))[-2] < 1e-9:
        return "Two of your items are the most uncertain together."
    best, loudest = prior.best_questions(range(3), 1)[0], int(np.diagonal(cov).argmax())
    return "For your matrix the most uncertain item is the best question." if best == loudest else ""

EXERCISES = {
    "rc-ex-task": Exercise((sp.Integer(10), sp.Integer(3003)), mistakes=(
        ((sp.Integer(35), sp.Integer(3003)), "Of the 25 cuisines without a rating nobody knows whether a guess was right."),
        ((sp.Integer(10), sp.Integer(658008)), "The support set is drawn from the 15 ratings that there are, not from 40."),
        ((sp.Integer(10), sp.Integer(360360)), "The order in which ratings are drawn does not matter."))),
    "rc-ex-offset": Exercise(noise / tau2,
                             mistakes=((tau2 / noise,
                                        "The other way round: the noisier the ratings, the more of them the prior is worth."),
                                       (noise, "The spread of people's offsets matters too."))),
    "rc-ex-two": Exercise(tau2 - c**2 / (tau2 + noise),
                          mistakes=((tau2 - c**2 / tau2, "That is right for ratings without noise."),
                                    (c**2 / (tau2 + noise), "That is what the rating takes away. What is left?"))),
    "rc-ex-steps": Exercise(sp.log(lam / (K + lam)) / sp.log(1 - 2 * alpha),
                            mistakes=((sp.log(lam / (K + lam)) / sp.log(1 - alpha),
                                       "The curvature of the mean squared error is 2."),
                                      (sp.log(K / (K + lam)) / sp.log(1 - 2 * alpha),
                                       "(1 − 2α)^k is what is left of the way, K/(K + λ) what has been gone."))),
    "rc-ex-taylor": Exercise(k * (k + 1) * alpha**2 / 2, mistakes=((k * alpha, "That is the term without λ_j."),
                                                                   (k * (k - 1) * alpha**2 / 2,
                                                                    "The exponent is −k, not k: "
                                                                    "mind the signs of the binomial coefficient."))),
    "rc-ex-em": Exercise((s + nu * t) / (n + nu),
                         mistakes=((s / n, "That forgets the word of the ν others."),
                                   ((s / n + t) / 2, "The two are weighted with n and ν."),
                                  (s / (n + nu), "The ν others have something to say: t."))),
    "rc-ex-missing": Exercise((sp.Rational(3, 5), sp.Integer(1)), mistakes=(
        ((sp.Integer(1), sp.Rational(3, 5)), "The other way round: unweighted, the first cuisine counts nine times as much."),
        ((sp.Integer(1), sp.Integer(1)), "Of ten given ratings nine are of the first cuisine."),
        ((sp.Rational(3, 5), sp.Rational(7, 5)), "With weights 1/share the two cuisines together weigh the same."))),
    "rc-ex-question": Exercise(_best_question),
}
