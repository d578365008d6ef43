"""Answers to the exercises of the chapter "Background"."""

import sympy as sp

from metacalc.exercises import Exercise
from metacalc.formulas import sympified

K, a, eta, h, sigma, t, tau, theta, theta_0, x = sp.symbols("K a eta h sigma t tau theta theta_0 x", positive=True)
R = sp.Rational


def _function_with_quotients(answer):
    """For bg-ex-quotient: a function whose central quotient is exact and whose forward quotient is not."""
    if not callable(answer):
        return "Give a Python function, such as lambda x: ..., of operations that SymPy knows (sp.sin, not np.sin)."
    at, by = sp.Dummy("x", real=True), sp.Dummy("h", positive=True)  # no symbols that the function could know
    try:
        before, here, after = (sp.nsimplify(sympified(answer(place))) for place in (at - by, at, at + by))
    except (AttributeError, TypeError, ValueError):
        return "Your function cannot be used on a symbol: write it with x**2, sp.sin(x) and the like, not with math or np."
    if here.has(sp.I) or here.free_symbols - {at}:
        return "Give a function of one real number, with nothing else in it."
    slope = sp.diff(here, at)
    central = sp.simplify((after - before) / (2 * by) - slope)
    forward = sp.simplify((after - here) / by - slope)
    if central != 0:
        return "The central difference quotient of your function is not exact for every h."
    return "The forward difference quotient of your function is exact too." if forward == 0 else ""


EXERCISES = {
    "bg-ex-worth": Exercise(K + sigma**2 / tau**2, mistakes=(
        (K * tau**2 / (K * tau**2 + sigma**2), "That is the trust w in the data. How many examples are worth as much?"),
        (sigma**2 / tau**2, "That is what the experience is worth. The K examples count as well."),
        (K + tau**2 / sigma**2, "The other way round: noisy examples make experience worth more."),
        (K, "That would mean that experience is worth nothing."),
        (sigma**2 * tau**2 / (K * tau**2 + sigma**2), "That is the error. Which number of examples gives the same one?"))),
    "bg-ex-derivative": Exercise(R(12), mistakes=((R(8), "That is f(2), the value. The exercise asks for the slope."),
                                                  (R(4), "That is the exponent's rule without its factor."),
                                                  (R(6), "In 3x² the 2 is squared before it is multiplied by 3."),
                                                  (3 * x**2, "That is the slope at every x. Now put in x = 2."))),
    "bg-ex-quotient": Exercise(_function_with_quotients, program=True),
    "bg-ex-error": Exercise(sp.exp(theta) * h / 2, mistakes=(
        (sp.exp(theta) * h, "The Taylor coefficient of h² is f″/2."),
        (sp.exp(theta) * h**2 / 2, "You divided by h, so one power of h is gone."),
        ((sp.exp(theta + h) - sp.exp(theta)) / h - sp.exp(theta),
         "That is the whole error. To leading order means: the first term alone of its expansion in h."),
        (sp.exp(theta) * (h / 2 + h**2 / 6), "To leading order means: the first term alone."))),
    "bg-ex-flow": Exercise(theta_0 / sp.sqrt(1 + 2 * theta_0**2 * t),
                           mistakes=((theta_0 * sp.exp(-t), "That solves dθ/dt = −θ. The gradient of θ⁴/4 is another one."),
                                     (theta_0 / sp.sqrt(1 + theta_0**2 * t), "1/θ² grows at the rate 2, not 1."),
                                     (theta_0 / sp.sqrt(1 - 2 * theta_0**2 * t), "Mind the sign: on the flow θ falls."),
                                     (theta_0 / (1 + 2 * theta_0**2 * t), "That is right for 1/θ². Take the root."))),
    "bg-ex-integral": Exercise(R(1, 2) * a * theta_0**2 * (1 - sp.exp(-2 * a * t)),
                               mistakes=((R(1, 2) * a * theta_0**2 * (1 - sp.exp(-a * t)),
                                          "The squared gradient decays twice as fast as θ."),
                                         (a**2 * theta_0**2 * sp.exp(-2 * a * t),
                                          "That is what is integrated. Now integrate it."))),
    "bg-ex-euler": Exercise(-eta / (2 * sp.E), mistakes=(
        (eta / (2 * sp.E), "Mind the sign: which of the two ends is lower?"),
        (-eta / sp.E, "log(1 − η) = −η − η²/2 − …; the second term has the factor ½."),
        (-eta / 2, "That is the relative error. Multiply by the end of the flow."),
        ((1 - eta)**(1 / eta) - 1 / sp.E,
         "That is the whole difference. To leading order means: the first term alone of its expansion in η."))),
}
