"""Every exercise's printed solution passes its checker, and wrong answers are refused with a reason."""

import json
import math
import re

import numpy as np
import pytest
import sympy as sp

import metacalc
from conftest import ROOT
from metacalc import MLP, Batch, Sinusoids, Training
from metacalc.course import check
from metacalc.course.answers import EXERCISES
from metacalc.exercises import Checker, Exercise

x, y, eta, theta, theta_0, t, a = sp.symbols("x y eta theta theta_0 t a")
quadratic, logcosh = metacalc.Objective(theta**2, theta), metacalc.Objective(sp.log(sp.cosh(theta)), theta)
FLAT = sp.Piecewise((-sp.exp(-1 / theta**2), sp.Ne(theta, 0)), (0, True))  # a maximum where all derivatives vanish


class Lines:
    """The family of pr-ex-family, with one thing changed."""

    def __init__(self, change="", dtype=float):
        self.change, self.dtype = change, dtype

    def sample(self, rng, n_tasks):
        rng = np.random.default_rng(3) if self.change == "own rng" else rng
        m = rng.uniform(-1, 1, (n_tasks, 1, 1))
        c = 2 * m if self.change == "c = 2m" else rng.uniform(-2, 2, (n_tasks, 1, 1))
        m = np.sign(m) * np.abs(m) ** 0.3 if self.change == "steep" else m
        x = rng.uniform(-5, 5, (n_tasks, 15, 1))
        if self.change == "same x":
            x[:] = np.linspace(-5, 5, 15)[:, None]
        if self.change == "copied":
            x[:, 5:10] = x[:, :5]
        m, c, x = (v.astype(self.dtype) for v in (m, c, x))
        y = m * x + c
        return Batch(x[:, :5], y[:, :5], x[:, 5:], y[:, 5:])


NOT_THE_LINES = [(Lines("own rng"), "Another rng"), (Lines("c = 2m"), "depend on each other"), (Lines("steep"), "slopes"),
                 (Lines("same x"), "points x"), (Lines("copied"), "query points as well")]

# At least two wrong answers for every exercise, with a word of the reason that a reader gets.
WRONG = {
    "bg-ex-worth": [("sigma**2/tau**2", "count as well"), ("K + tau**2/sigma**2", "other way round"), ("K", "nothing"),
                    ("K*tau^2/(K*tau^2 + sigma^2)", "the trust"),
                    ("sigma**2*tau**2/(K*tau**2 + sigma**2)", "the error"), ("K + 4", "depend on sigma")],
    "bg-ex-derivative": [(8, "value"), (-12, "sign"), (3, "not equal"), ("q", "symbol q"), ("3*x^2", "put in x = 2"),
                         (6, "squared before")],
    "bg-ex-quotient": [(lambda u: sp.I * u**2, "real number"), (lambda u: u**2 * sp.Symbol("h", positive=True), "nothing else"),
                       (lambda u: u, "forward"), (lambda u: u**3, "central"), ("x**2", "Python function"), (np.sin, "used"),
                       (lambda u: math.pow(u, 2), "math or np")],
    "bg-ex-error": [("exp(theta)*h", "Taylor"), ("-exp(theta)*h/2", "sign"), ("h/2", "depend on theta"),
                    ("3*exp(theta)*h", "constant factor"), ("(exp(theta + h) - exp(theta))/h - exp(theta)", "whole error"),
                    ("exp(theta)*(h/2 + h**2/6)", "first term alone")],
    "bg-ex-flow": [("theta_0*exp(-t)", "dθ/dt"), ("theta_0/(1 + t)", "not equal"), ("theta_0", "depend on t"),
                   ("theta_0/sqrt(1 + theta_0^2*t)", "rate 2"), ("theta_0/sqrt(1 - 2*theta_0^2*t)", "sign"),
                   ("theta_0/(1 + 2*theta_0^2*t)", "root")],
    "bg-ex-integral": [("a*theta_0**2/2*(1 - exp(-a*t))", "twice"), ("a*theta_0**2/2", "depend on t"),
                       ("-a*theta_0**2/2*(1 - exp(-2*a*t))", "sign"), ("a^2*theta_0^2*exp(-2*a*t)", "integrate")],
    "bg-ex-euler": [("eta*exp(-1)/2", "sign"), ("-eta*exp(-1)", "factor ½"), ("-eta/2", "relative"),
                    ("(1 - eta)**(1/eta) - exp(-1)", "whole difference"), (-0.18, "depend on eta"),
                    ("-0.18394*eta", "rounded")],
    "cl-ex-gradient": [((2 * x * y + sp.cos(x * y), x**2 + sp.cos(x * y)), "chain rule"), (2 * x * y, "2 answers"),
                       ((2 * x * y, x**2), "Entry 1")],
    "cl-ex-steepest": [(5, "ascent"), (-7, "length"), (-25, "not equal"), ((-3, -4), "the slope"),
                       ("(-3/5, -4/5)", "the slope")],
    "cl-ex-jacobian": [((3, 1), "Hessian"), ((1 + 3 * eta, 1 + eta), "subtracts"), ((1 - eta, 1 - 3 * eta), "another order"),
                       ((1 - 3 * eta, 1 - 2 * eta), "Entry 2"), (sp.diag(1 - 3 * eta, 1 - eta), "eigenvalues"),
                       ([[1 - 3 * eta, 0], [0, 1 - eta]], "eigenvalues"), ("[[1 - 3η, 0], [0, 1 - η]]", "eigenvalues")],
    "cl-ex-two-steps": [("(1 - 3*eta*theta_0**2)**2", "second step"), ("1 - 3*eta*theta_0**2", "one step"),
                        ("2 - 3*eta*theta_0**2 - 3*eta*(theta_0 - eta*theta_0**3)**2", "multiply"),
                        ("theta_0 - eta*theta_0**3 - eta*(theta_0 - eta*theta_0**3)**3", "Differentiate"),
                        ("(1 - eta*theta_0**2)**2", "not equal"),
                        ("(1 - 3*eta*theta_1^2)*(1 - 3*eta*theta_0^2)", "in terms of")],
    "cl-ex-rate": [("-theta**6", "η = 0"), ("(theta - eta*theta**3)**3", "inner derivative"), ("theta", "depend on eta"),
                   ("-(theta - eta*theta**3)**6", "before the step"), ("theta**3*(theta - eta*theta**3)**3", "sign"),
                   ("-3*eta*theta**2*(theta - eta*theta**3)**3", "θ is fixed"), ("1/theta^2", "First the slope")],
    "cl-ex-shared": [(6, "K − s − 1"), (61, "without"), (7.05, "exact number"), (20, "not equal"), ("K = 5", "not K − 1")],
    "cl-ex-disagree": [(((theta - 1) ** 2, (theta + 1) ** 2, np.nan), "finite"),
                       ((-theta / 20, theta**2 + theta / 20, 0), "bounded"),
                       ((sp.log(theta), (theta - 1) ** 2 - theta, 1), "everywhere"),
                       ((theta**2 - 1e-12 * theta, theta**2 + 1e-12 * theta, 0), "point"),
                       ((theta**2, theta**2, 0), "point against"), ((-(theta - 1) ** 2, -(theta + 1) ** 2, 0), "no minimum"),
                       ((theta**2 - 9 * theta, 9 * theta, 0), "bounded below"),
                       (((theta - 1) ** 2, (theta + 1) ** 2, 0.5), "not zero"), (3, "used"),
                       ((theta**2 * sp.cos(theta) - theta, theta**2 + theta, 0), "bounded below"),
                       ((-sp.log(1 + theta**2) - theta, theta**2 + theta, 0), "bounded below"),
                       ((1 / theta, theta**2 / 2, 1), "everywhere"), (((theta - a) ** 2, theta**2, 0), "no other symbol"),
                       ((theta**14 + theta**13 + theta, theta**14 - theta, 0), "no minimum"),
                       ((theta**6 - theta**5 / 10**5 + theta, theta**6 - theta, 0), "no minimum"),
                       ((theta**400 + theta**399 + theta, theta**400 - theta, 0), "no minimum"),
                       ((theta**6 + theta, theta**6 - theta - theta**4, 0), "no minimum"),
                       ((sp.sin(theta) + FLAT, FLAT - sp.sin(theta), 0), "no minimum"),
                       (((theta - 1) ** 2, 2 * (theta + 1) ** 2, -0.333), "fraction")],
    "gd-ex-slope": [("-tanh(theta)^2", "old point"), ("-tanh(theta - eta*tanh(theta))^2", "new point"),
                    ("-tanh(theta - eta*tanh(theta))", "moves"), ("theta/tanh(theta)", "vanishes"),
                    ("tanh(theta - eta*tanh(theta))*(1 - eta/cosh(theta)^2)", "respect to θ"),
                    ("tanh(theta)*tanh(theta - eta*tanh(theta))", "sign")],
    "gd-ex-perpendicular": [(0.4, "one start"), ("1/4", "perpendicular"), ("17/5", "Upside down"), (0.294, "Close")],
    "gd-ex-price": [("-eta*g", "another"), ("sqrt(eta*g)", "sign"), ("-sqrt(3*eta*g)", "cancels"), ("-eta*sqrt(g)", "root")],
    "gd-ex-routine": [(sp.Rational(1, 2), "cubic"), ("5/13", "needs f'(1)"), (0.43, "not equal"), (0.435, "Close"),
                      ("eta", "symbol eta")],
    "gd-ex-predict": [(("2/3", "1/3", 13), "axis"), (("1/3", "1/2", 13), "swapped"), (("1/2", "1/3", 12), "round up"),
                      (("1/2", "1/4", 13), "Entry 2"), ("1/2", "3 answers"), ("(1/2, 1/3, 12.6)", "round up"),
                      ("(1/2, 1/3, 12.58)", "round up")],
    "gd-ex-decay": [("2/lambda_max", "curves"), ("1/(lambda_max + gamma)", "constant factor"), ("2/(lambda_max*gamma)", "add"),
                    ("2/lambda_max + gamma", "in brackets")],
    "gd-ex-smooth": [("4/3", "1/Λ"), ("2/3", "never 1"), (8, "factor 3"), (3, "not equal"), ("3/4", "That is Λ")],
    "gd-ex-count": [((921, 130), "square"), ((461, 400), "Entry 2"), (461, "2 answers"), ((460, 64), "round up"),
                    ((461, 64.7), "round up"), ("[460.5, 64.7]", "round up"), ((461, 64), "round up"),
                    ("460.46, 64.69", "round up"),
                    ((65, 461), "swapped"), ("(65, 461)", "swapped")],
    "gd-ex-momentum": [((0.25, np.nan, 0.5625), "finite"), ((0.5, 0.5, 0.5625), "Entry 1"), ((0.25, 0.25, 0.5625), "Entry 2"),
                       ((0.25, 0.5, 0.7), "Entry 3"), ((0.25, 0.5, 0), "no momentum"), ((2, 0.5, 0.5), "[0, 1)")],
    "gd-ex-adam": [("eta", "remembers"), ("-eta*(1 - beta_1)/(1 + beta_1)", "left"), ("eta*(1 - beta_1)^2", "corrected"),
                   ("eta/19", "any β₁"), ("eta/20", "depend on beta_1")],
    "gd-ex-noise": [("2*a*v/sigma^2", "small η"), ("(sigma^2 + a^2*v)/(2*a*v)", "Upside down"), ("2*a*v", "depend on sigma")],
    "gd-ex-newton": [(0, "digits"), ("1/3", "taken away"), ("4/3", "subtracted"), (0.5, "not equal"),
                     ("2*theta/3", "new point")],
    "gd-ex-saddle": [(("4/5", 0), "negative"), ((0, "6/5"), "swapped"), (("6/5", 1), "Entry 2"), (1.2, "2 answers"),
                     ("(6y/5, 0)", "new points")],
    "gd-ex-edge": [((metacalc.Objective(theta**2, theta), 1 + 1e-8, 1.0), "attract"),
                   ((metacalc.Objective(theta**4 / 4 - theta**2 / 2, theta), 2 / 3, 2.0), "does not exceed"),
                   ((quadratic, 1.0, 1.0), "does not exceed"), ((quadratic, 0.3, 1.0), "two points"),
                   ((logcosh, 3, 1.2), "two points"), ((quadratic, 0.3, 0.0), "does not move"),
                   ((theta**2, 1, 1), "Wrap"), (("log(cosh(theta))", 1, 1), "Wrap"), ((3, 1, 1), "Objective")],
    "ml-ex-objective": [(3, "query loss"), (1, "support loss"), (2, "not equal")],
    "ml-ex-two-steps": [("(1 - 2*alpha*theta)*(theta - alpha*theta**2 - alpha*(theta - alpha*theta**2)**2)**2", "One factor"),
                        ("(theta - alpha*theta**2 - alpha*(theta - alpha*theta**2)**2)**2", "first-order"),
                        ("theta**2", "depend on alpha")],
    "ml-ex-one-factor": [("(1 - a*alpha)**(k - 1)", "other way round"), ("(1 - a*alpha)**(-k)", "not none"),
                         (16, "depend on a")],
    "ml-ex-repel": [(sp.Rational(2, 3), "inner loop"), (sp.Rational(1, 3), "not yet"), (0.41, "not equal")],
    "ml-ex-agree": [(sp.Rational(2, 3), "threshold"), (1, "a₁ + a₂"), (-0.5, "sign")],
    "ml-ex-taylor": [((5, -5), "Pairs"), ((5, 10), "mind the sign"), (5, "2 answers")],
    "ml-ex-disagree": [((4, 4), "does not care"), ((4, 1), "larger ones"), ((5, 1), "between"), (3, "two curvatures"),
                       ((3.5, 0.2), "larger ones"), ((4, 0.201), "larger ones")],
    "ml-ex-envelope": [("a*(lam/(a + lam))**2", "iMAML"), ("a/(a + lam)", "up to λ"), ("a", "depend on lam")],
    "bl-ex-third": [("-phi/(cosh(phi) + 3*phi**2)", "sign"), ("phi", "how far"), ("phi*(cosh(phi) + 3*phi**2)", "multiplied"),
                    ("phi/(sinh(phi) + phi**3)", "second derivative")],
    "bl-ex-weight": [("(phi - y_i)*(phi - y)/W", "sign"), ("-(phi - y_i)*(phi - y)", "curvature"),
                     ("-(phi - y)/W", "own slope")],
    "bl-ex-products": [((35, 346), "factor 2"), ((37, 345), "Round up"), ((346, 38), "swapped"), ((38, 688), "best one")],
    "bl-ex-bias": [("1 - (1 - alpha*a)**k", "one of the two"), ("(1 - alpha*a)**(2*k)", "left of the loss"),
                   ("1 - (1 - alpha*a)**(2*k)", "join")],
    "bl-ex-modes": [((150, 350), "swapped"), ((200, 100), "two gradients"), ((300, 100), "walked"), ((350, 350), "whatever d")],
    "bl-ex-snapshots": [(21, "one fewer"), (14, "s + 1"), (8, "used again")],
    "ml-ex-implicit": [("b*((a*c + lam*theta)/(a + lam) - d)", "Jacobian"), ("lam/(a + lam)*b*(theta - d)", "not at θ"),
                       ("a*(theta - c)", "depend on b")],
    "ml-ex-branch": [(0, "convex"), (2, "wells"), (-1, "outweigh"), (1.5, "not equal")],
    "ml-ex-rates": [(0.5, "mean curvature"), (sp.Rational(1, 3), "forgets"), (sp.Rational(2, 3), "mean of the two"),
                    (0.4, "three times")],
    "ml-ex-head": [("(1 - alpha*b**2)*(b*w - 1)*(w - alpha*b*(b*w - 1))", "step itself"),
                   ("(1 - alpha*b**2)**2*(b*w - 1)*w", "depends on b too"),
                   ("(1 - alpha*b**2)**2*(b*w - 1)*b", "respect to the head"),
                   ("(b*w - 1)*w", "depend on alpha")],
    "ml-ex-count": [((22, 5), "one task"), ((84, 80), "MAML"), ((80, 20), "query set"), ((88, 80), "whatever k"),
                    (88, "2 answers")],
    "pr-ex-rates-at-once": [(9, "not all so far"), (1, "others get below"), (4, "not equal")],
    "pr-ex-check": [("1/(1 - a*alpha)", "finite difference by"), ("(1 - a*alpha)**2", "One of the two"),
                    ("1 + a*alpha", "not equal")],
    "pr-ex-features": [("K/(K + 1)", "best rate"), ("1/K", "rate 1"), ("1/(K + 2)", "not equal")],
    "pr-ex-threshold": [(sp.Rational(2, 82), "2/λ"), (1, "flat"), (3, "not equal")],
    "pr-ex-interval": [(5000, "root"), (100_000, "not equal")],
    "pr-ex-family": [(Sinusoids(5), "one line"), (Sinusoids(5, 5), "10 query"), (3, "sample(rng"), *NOT_THE_LINES],
    "pr-ex-tanh": [(MLP((1, 40, 40, 1), "tanh").init(np.random.default_rng(0)), "After one step"), (np.zeros(3), "vector"),
                   (Training(np.zeros(1761), 1, np.zeros(1), 1, False), "run.theta")],
    "pr-ex-rates": [("W_1", "several times"), ("b_4", "Give one")],
    "pr-ex-break": [(0.02, "most learn"), (0.03, "not most"), (0.1, "smaller"), (0.01, "not equal")],
    "pr-ex-pool": [("o/c", "of its own"), ("o*p", "depend on c")],
    "tl-ex-passes": [((3, 1761), "other way round"), ((5283, 5283), "whole column"), (3, "2 answers")],
    "tl-ex-hessian": [((1761, 1761**2), "symmetric"), ((1761**2, 1551441), "whole column"), ((1761, 1549680), "Entry 2")],
    "tl-ex-truncated": [("a*(1 - alpha*a)**4*theta", "MAML, with nothing"), ("a*(1 - alpha*a)**2*theta", "first-order"),
                        ("a*(1 - alpha*a)**3", "depend on theta")],
    "tl-ex-wrong-place": [("a*(1 - alpha*a)*theta", "first-order"), ("a*(1 - alpha*a)**2*theta", "straight way"),
                          (0, "does not depend"), ("alpha*a**2*(1 - alpha*a)*theta", "sign")],
    "tl-ex-pays": [("c/s", "own iterations"), ("c/f", "two totals"), ("c/(f - s)", "Sign"), (2000, "depend on c")],
    "tl-ex-difference": [(lambda g, q, v: (g(q + 2e-8 * v) - g(q + 1e-8 * v)) / 1e-8, "first order"),
                         (lambda g, q, v: (g(q + 1e-7 * v) - g(q)) / 1e-7, "first order"),
                         (lambda g, q, v: (g(q + 1e-4 * v) - g(q - 1e-4 * v)) / 1e-4, "factor of two"),
                         (lambda g, q, v: g(q) * v, "1 gradients"),
                         (lambda g, q, v: (g(q + v) - g(q - v)) / 2, "not the Hessian"),
                         (lambda g, q, v: (g(q) * v).sum() + g(v).sum(), "shape"), (3, "function")],
    "tl-ex-checkpoints": [((10, 10), "together"), ((50, 52), "smaller sum"), ((20, 25), "Entry 1")],
    "lo-ex-window": [("-k*a**2*(1 - theta*a)**(2*k - 1)*phi_0**2", "whole derivative"), ("k*r", "depend on"),
                     ("r*a**2*(1 - theta*a)**(2*k - 1)*phi_0**2", "sign"),
                     ("-r*a**2*(1 - theta*a)**(2*r - 1)*phi_0**2", "walked"),
                     ("-r*a*(1 - theta*a)**(2*k - 1)*phi_0**2", "slope")],
    "lo-ex-chaos": [(12, "531,441"), (9, "mean square"), (5, "27"), (14, "not equal")],
    "lo-ex-greedy": [("m*sigma**4/(m + sigma**2)**2", "noise in"), ("m**2*sigma**2/(m + sigma**2)**2", "is left"),
                     ("m/(m + sigma**2)", "times the curvature")],
    "lo-ex-pairs": [(232, "take 1 off"), (240, "less"), (118, "counts the pairs"), (472, "two"),
                    (sp.Rational(59, 4), "four times")],
    "lo-ex-context": [("1/B**2", "slope 2"), ("1/(2*B)", "twice"), (sp.Rational(1, 2), "b itself")],
    "out-ex-truncated": [(1, "are taken"), (6, "2k"), (5, "full"), (4, "not equal")],
    "out-ex-error": [("(1 - a*alpha)**(r - k)", "ratio"), ("(1 - a*alpha)**(k - r) - 1", "more factors"),
                     ("1 - (1 - a*alpha)**(r - k)", "sign")],
    "out-ex-budget": [((3100, 1550, 1033), "query set takes a gradient"), ((2818, 1937, 1476), "as two gradients"),
                      ((3100, 2066, 1550), "one more"), ((2818, 1476, 999), "not equal")],
    "out-ex-crossover": [(2, "Δ² in its denominator"), (sp.Rational(1, 4), "n* grows"), (8, "not equal")],
    "out-ex-convex": [((quadratic, 0.5), "is convex there"), ((metacalc.Objective(sp.sin(theta), theta), 0.1), "not convex on"),
                      ((metacalc.Objective(theta**4, theta), 0.1), "at most 1"), ((theta**4, 0.1), "Objective"), (3, "used")],
    "out-ex-even": [((sp.sqrt(3) + 1) / (3 * sp.sqrt(3) + 1), "smaller"), (sp.Rational(1, 2), "factor a"), (0.175, "exact")],
    "out-ex-attention": [("K/(K + d + 1)", "without noise"), ("K/(K + d + 1 + d*sigma**2)", "Divide"), ("sigma", "depend on")],
    "out-ex-rate": [(sp.Rational(1, 2), "mean of the losses"), (sp.Rational(2, 5), "factor 3"), (0.36, "exact")],
    "out-ex-ridge": [("a*(b - c)/b", "pulls towards 0"), ("(c - b)/b", "sharper"), ("a*(c - b)", "not equal")],
    "nt-ex-tasks": [((40, 40), "half a gap"), ((40, 20), "other way round"), ((20, 20), "whole gap"), (20, "2 answers")],
    "nt-ex-bound": [("F + sqrt(D/n)", "factor of 2"), ("F + D/n", "square"), ("F - sqrt(D/(2*n))", "below"),
                    ("sqrt(D/(2*n))", "training loss too")],
    "nt-ex-diversity": [((23625, 16), "not d"), ((90000, 16), "squared"), ((22500, 4), "denominator"), (22500, "2 answers")],
    "nt-ex-code": [("2*(b*w*m - y)*b*m/K", "K of them"), ("2*(b*w*m - y)*b", "encoder comes next"),
                   ("(b*w*m - y)*b*m", "factor of 2")],
    "nt-ex-twice": [(("K*v*m/(K*v + sigma**2)", "K*v*m/(K*v + sigma**2)"), "cannot count"), (("m", "m"), "Without the prior"),
                    ("m", "2 answers")],
    "rc-ex-task": [((35, 3003), "25 cuisines"), ((10, 658008), "15 ratings"), ((10, 360360), "order"), (10, "2 answers")],
    "rc-ex-missing": [((1, sp.Rational(3, 5)), "other way round"), ((1, 1), "nine are"), ((0.6, 1.4), "together"),
                      (0.6, "2 answers")],
    "rc-ex-offset": [("tau2/noise", "other way round"), ("noise", "spread"), ("2*noise/tau2", "constant factor")],
    "rc-ex-two": [("tau2 - c**2/tau2", "without noise"), ("c**2/(tau2 + noise)", "takes away"), ("tau2", "depend on")],
    "rc-ex-steps": [("log(lam/(K + lam))/log(1 - alpha)", "curvature"),
                    ("log(K/(K + lam))/log(1 - 2*alpha)", "left of the way"), ("5", "depend on")],
    "rc-ex-taylor": [("k*alpha", "without λ_j"),
                     ("k*(k - 1)*alpha**2/2", "binomial"), ("k*(k + 1)*alpha**2", "constant factor")],
    "rc-ex-em": [("s/n", "forgets"), ("(s/n + t)/2", "weighted"), ("s/(n + nu)", "something to say")],
    "rc-ex-question": [([[1, 0, 0], [0, 1, 0], [0, 0, 2]], "most uncertain item is the best"),
                       ([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]], "together"),
                       ([[1, 2, 0], [2, 1, 0], [0, 0, 3]], "semidefinite"), ([[1, 0], [0, 1]], "3 × 3"), (3, "used")],
    "la-ex-task": [((81, 26, 80), "end"), ((78, 27, 80), "mark"), ((81, 27, 10), "letter to be"), ((81, 27, 70), "as well"),
                   (7003, "3 answers")],
    "la-ex-folds": [((0.016, 0.0203), "Student"), ((0.016, 0.0642), "√5"), ((0.016, 0.0257), "n − 1"),
                    ((0.018, 0.0287), "Entry 1")],
    "la-ex-slope": [("p - 1", "natural"), ("p/log(2)", "did not come"), ("(1 - p)/log(2)", "sign")],
    "la-ex-bits": [((-sp.log(sp.Rational(17, 64), 2), sp.Rational(17, 64)), "Average"), ((3, 8), "Entry 2"), (3, "2 answers")],
    "la-ex-posterior": [(sp.Rational(3, 10), "without the prior"), (sp.Rational(1, 8), "without the counts"), (1, "not equal")],
    "la-ex-half": [("N/(N + nu)", "frequencies"), ("nu", "depend on N")],
    "la-ex-curvature": [((sp.Rational(1, 4), "8/s**2"), "eigenvalues"), ((sp.Rational(1, 2), "2/s**2"), "2/λ"),
                        ((sp.Rational(1, 2), 4), "moves W"), ((1, "2/s**2"), "Entry 1")],
    "la-ex-apart": [(("es", "an"), "one family"), (("fi", "sw"), "agree"), (("fi", "fi"), "different"), (3, "used")],
    "vi-ex-gradient": [("1/(1 + exp(z2 - z1))", "2 answers"), (("1/(1 + exp(z2 - z1))", "1/(1 + exp(z1 - z2))"), "subtracted"),
                       (("1/(1 + exp(z1 - z2))", "-1/(1 + exp(z1 - z2))"), "falls")],
    "vi-ex-sharp": [("1/N - 1/N**2", "diagonal"), (1, "each"), ("N", "not equal")],
    "vi-ex-step": [("1/(1 + 4*exp(-alpha))", "mean over"), ("1/5", "before"), ("exp(alpha/5)/(1 + exp(alpha/5))", "not equal")],
    "vi-ex-interval": [((0.02, 0.02 * 2.36462425), "√8"), ((0.02, 0.02 * 1.959964 / np.sqrt(8)), "Student"),
                       ((0.03, 0.0167), "Entry 1")],
    "vi-ex-verdict": [((3, 1), "contains zero"), ((2, 2), "Widen"), ((3, 3), "middle"), ((2, 0), "Entry 2")],
    "vi-ex-leak": [(("Georgian/ა", "Latin/A"), "do not look"), (("Latin/A", "Greek/Α"), "Georgian"), (("a", "b"), "two labels"),
                   (3, "used")],
}


def cells():
    for path in sorted((ROOT / "chapters").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            yield path.stem, cell["cell_type"], "".join(cell["source"])


def chapters_with(pattern):
    found = {}
    for stem, _, source in cells():
        for label in re.findall(pattern, source):
            found.setdefault(stem, []).append(label)
    return found


SOLUTIONS = {}
for _, _, source in cells():
    for label, body in re.findall(r"^:::\{solution\} (\S+)\n(.*?)^:::$", source, re.MULTILINE | re.DOTALL):
        SOLUTIONS[label] = body


def test_every_exercise_is_whole():
    """Statement, hint, solution, checker cell, entry in the table, wrong answers; five or more in a chapter."""
    stated = chapters_with(r"^:::\{exercise\}.*\n:label: (\S+)".replace("^", "(?m)^"))
    labels = [label for listed in stated.values() for label in listed]
    checked = [label for listed in chapters_with(r'(?m)^check\(\s*"([^"]+)", \.\.\.').values() for label in listed]
    assert set(labels) == set(SOLUTIONS) == set(checked) == set(EXERCISES) == set(WRONG) and len(labels) == len(set(labels))
    hints = sum(source.count(":::{dropdown} Hint") for _, _, source in cells())
    assert hints == len(labels) and all(len(wrong) >= 2 for wrong in WRONG.values())
    assert all(len(listed) >= 5 for listed in stated.values())


@pytest.mark.parametrize("label", sorted(EXERCISES))
def test_the_printed_solution_is_right(label):
    (code,) = re.findall(r"```python\n(.*?)```", SOLUTIONS[label], re.DOTALL)
    names = {"np": np, "sp": sp, **{name: getattr(metacalc, name) for name in metacalc.__all__}}
    exec(code, names)
    verdict = check(label, names["answer"])
    assert verdict and repr(verdict) == "✓ Right."


@pytest.mark.parametrize("label, answer, reason", [(label, *wrong) for label, listed in WRONG.items() for wrong in listed])
def test_wrong_answers_are_refused_with_a_reason(label, answer, reason):
    verdict = check(label, answer)
    assert not verdict and reason in verdict.reason, verdict
    assert repr(verdict).startswith("✗ ")


class Hostile:
    """An object that raises whatever is done with it."""

    def _raise(self, *_):
        raise RuntimeError("no")

    __float__ = __iter__ = __len__ = __call__ = sample = _sympy_ = _raise


def undefined(*_):
    return nowhere  # noqa: F821


NONSENSE = [..., None, "import os", [], {}, np.nan, sp.zoo, "(", (1, 2, 3, 4), sp.Matrix([-3, -4]), sp.Lambda(x, 12), sp.O(x),
            (sp.Matrix([1, 2]), sp.Matrix([1, 2])), np.array(3.0), "f(2)", "ceil(460.5)", "9**9**9", "9**9**9**9",
            "factorial(10**7)", 10**400, (np.nan, np.nan, np.nan), (1, np.nan), "nan", np.ones(3) * 1j]


@pytest.mark.parametrize("label", sorted(EXERCISES))
def test_nonsense_is_refused_in_one_line_without_a_crash(label):
    for answer in [*NONSENSE, Hostile(), undefined]:
        verdict = check(label, answer)
        assert not verdict and verdict.reason and "\n" not in verdict.reason, answer


def test_an_answer_counts_in_any_form():
    assert check("bg-ex-error", "h/2*exp(theta) + O(h**2)")
    assert check("cl-ex-two-steps", sp.diff(theta_0 - eta * theta_0**3 - eta * (theta_0 - eta * theta_0**3) ** 3, theta_0))
    assert check("cl-ex-gradient", sp.Matrix([y * sp.cos(x * y) + 2 * x * y, x**2 + x * sp.cos(x * y)]))
    assert check("gd-ex-routine", 10 / 23) and check("cl-ex-shared", 7.0)
    assert check("pr-ex-family", Lines()) and check("pr-ex-family", Lines(dtype=np.float32))


def test_points_decide_before_simplification_which_may_take_long(monkeypatch):
    monkeypatch.setattr(sp, "simplify", lambda e: e if e.is_number else pytest.fail("simplified"))
    assert check("bg-ex-integral", "a*theta_0^2*exp(-a*t)*sinh(a*t)")
    assert "not equal" in check("bg-ex-integral", "a*theta_0^2*exp(-a*t)*cosh(a*t)").reason
    assert "another order" in check("cl-ex-gradient", (x**2 + x * sp.cos(x * y), 2 * x * y + y * sp.cos(x * y))).reason


def test_a_rounded_point_of_a_cycle_is_right():
    waves = metacalc.Objective(theta**2 / 2 - theta**4 / 4, theta)
    for digits in (3, 6, 12):
        for sign in (1, -1):
            assert check("gd-ex-edge", (logcosh, 3, round(sign * 1.287839, digits)))  # where 3 tanh θ = 2θ
            assert check("gd-ex-edge", (waves, 2.5, round(sign * float(np.sqrt(0.2)), digits)))
    assert not check("gd-ex-edge", (logcosh, 3, 1.28)) and not check("gd-ex-edge", (logcosh, 1.9, 1.288))


def test_losses_count_that_overflow_floats_or_are_flat_at_their_minimum():
    """As do those that SymPy's limits or second derivatives say little about."""
    for first, second in ((sp.exp(theta), sp.exp(-theta)), (theta**4 - theta, theta**4 + theta),
                          (sp.log(1 + sp.exp(theta)), sp.log(1 + sp.exp(-theta))), (sp.sin(theta), -sp.sin(theta)),
                          (sp.log(1 + (theta - 1) ** 2), sp.log(1 + (theta + 1) ** 2)), (sp.atan(theta), -sp.atan(theta)),
                          (metacalc.Objective((theta - 1) ** 2, theta), metacalc.Objective((theta + 1) ** 2, theta)),
                          (theta**200 - theta, theta**200 + theta), (sp.sin(theta) - FLAT, -FLAT - sp.sin(theta))):
        assert check("cl-ex-disagree", (first, second, 0)), first


def test_an_answer_off_by_just_the_tolerance_is_right_and_one_beyond_all_bounds_is_not_worked_out():
    check = Checker({"near": Exercise(64, tolerance=1 / 64), "exact": Exercise(64)})
    assert check("near", 65) and check("near", 63) and "off by more" in check("near", 65.01).reason
    assert "not equal" in check("exact", 10**50).reason and "too large" in check("exact", 10**50 + 1).reason


def test_a_reader_can_answer_where_the_chapter_has_used_the_names():
    """The exercise cells bring the symbols that the answer needs, whatever the chapter's cells made of these names."""
    for stem in chapters_with(r'(?m)^check\(\s*"([^"]+)", \.\.\.'):
        names = {}
        spoiled = "a = b = h = t = x = y = eta = theta = theta_0 = gamma = lambda_max = 3\n"
        head = "import numpy as np, sympy as sp\nfrom metacalc import *\nfrom metacalc.course import check\n"
        exec(head + spoiled, names)
        for chapter, kind, source in cells():
            if chapter == stem and kind == "code" and re.search(r"^check\(", source, re.MULTILINE):
                label = re.search(r'check\(\s*"([^"]+)"', source).group(1)
                last_line = SOLUTIONS[label].split("```python\n")[1].split("```")[0].strip().splitlines()
                start = next(i for i, line in enumerate(last_line) if not re.match(r".*sp\.[sS]ymbols?\(", line))
                exec(source, names)
                exec("\n".join(last_line[start:]), names)
                assert check(label, names["answer"]), label


def test_an_answer_may_be_written_as_the_text_writes_it():
    assert check("bg-ex-error", "exp(θ)*h/2") and check("bg-ex-error", sp.exp(sp.Symbol("θ")) * sp.Symbol("h") / 2)
    assert check("gd-ex-decay", "2/(λ_max + γ)") and check("ml-ex-envelope", "a·λ/(a + λ)") and check("cl-ex-steepest", "−5")
    assert check("rc-ex-offset", "noise/τ2")
    assert check("cl-ex-gradient", sp.derive_by_array(x**2 * y + sp.sin(x * y), (x, y)))
    assert check("cl-ex-jacobian", np.array([[1 - 3 * eta], [1 - eta]]))
    assert check("bg-ex-derivative", sp.Subs(sp.Derivative(theta**3, theta), theta, 2))
    assert check("bg-ex-derivative", sp.UnevaluatedExpr(12))
    assert check("cl-ex-disagree", ((theta - sp.Rational(1, 3)) ** 2, (theta + 1) ** 2, "-1/3"))
    assert check("bg-ex-quotient", lambda u: u**2.0)
    assert check("tl-ex-difference", lambda g, q, v: (g(q + v / 10) - g(q - v / 10)) * 5)


def test_what_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr("metacalc.exercises.SECONDS", 0.2)
    assert "too long" in check("bg-ex-quotient", lambda u: sum(sp.sin(u**k) for k in range(2, 30))).reason


def test_names_are_checked():
    with pytest.raises(ValueError, match="name"):
        check("no-such-exercise", 1)
