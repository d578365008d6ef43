"""Every exercise's printed solution passes its checker, and wrong answers are refused with a reason."""

import json
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

x, y, eta, theta, t, a = sp.symbols("x y eta theta t a")
quadratic = metacalc.Objective(theta**2, theta)


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
    "bg-ex-derivative": [(8, "value"), (-12, "sign"), (3, "not equal"), ("q", "symbol q")],
    "bg-ex-quotient": [(lambda u: sp.I * u**2, "real number"), (lambda u: u**2 * sp.Symbol("h", positive=True), "nothing else"),
                       (lambda u: u, "forward"), (lambda u: u**3, "central"), ("x**2", "Python function"), (np.sin, "used")],
    "bg-ex-error": [("exp(theta)*h", "Taylor"), ("-exp(theta)*h/2", "sign"), ("h/2", "depend on theta"),
                    ("3*exp(theta)*h", "constant factor")],
    "bg-ex-flow": [("theta_0*exp(-t)", "dθ/dt"), ("theta_0/(1 + t)", "not equal"), ("theta_0", "depend on t")],
    "bg-ex-integral": [("a*theta_0**2/2*(1 - exp(-a*t))", "twice"), ("a*theta_0**2/2", "depend on t"),
                       ("-a*theta_0**2/2*(1 - exp(-2*a*t))", "sign")],
    "cl-ex-gradient": [((2 * x * y + sp.cos(x * y), x**2 + sp.cos(x * y)), "chain rule"), (2 * x * y, "2 answers"),
                       ((2 * x * y, x**2), "Entry 1")],
    "cl-ex-steepest": [(5, "ascent"), (-7, "length"), (-25, "not equal")],
    "cl-ex-jacobian": [((3, 1), "Hessian"), ((1 + 3 * eta, 1 + eta), "subtracts"), ((1 - eta, 1 - 3 * eta), "Entry 1")],
    "cl-ex-two-steps": [(1 - eta * a, "one step"), (2 * (1 - eta * a), "multiply"), (1 - eta**2 * a**2, "not equal")],
    "cl-ex-shared": [(6, "K − r − 1"), (61, "without"), (7.05, "exact number"), (20, "not equal")],
    "cl-ex-disagree": [(((theta - 1) ** 2, (theta + 1) ** 2, np.nan), "finite"),
                       ((-theta / 20, theta**2 + theta / 20, 0), "bounded"),
                       ((sp.log(theta), (theta - 1) ** 2 - theta, 1), "everywhere"),
                       ((theta**2 - 1e-12 * theta, theta**2 + 1e-12 * theta, 0), "point"),
                       ((theta**2, theta**2, 0), "point against"), ((-(theta - 1) ** 2, -(theta + 1) ** 2, 0), "no minimum"),
                       ((theta**2 - 9 * theta, 9 * theta, 0), "bounded below"),
                       (((theta - 1) ** 2, (theta + 1) ** 2, 0.5), "not zero"), (3, "used")],
    "gd-ex-routine": [(sp.Rational(1, 2), "cubic"), (0.43, "not equal"), ("eta", "symbol eta")],
    "gd-ex-count": [((921, 130), "square"), ((461, 400), "Entry 2"), (461, "2 answers"), ((460, 64), "round up"),
                    ((461, 64.7), "Entry 2")],
    "gd-ex-decay": [("2/lambda_max", "curves"), ("1/(lambda_max + gamma)", "constant factor"), ("2/(lambda_max*gamma)", "add")],
    "gd-ex-momentum": [((0.25, np.nan, 0.5625), "finite"), ((0.5, 0.5, 0.5625), "Entry 1"), ((0.25, 0.25, 0.5625), "Entry 2"),
                       ((0.25, 0.5, 0.7), "Entry 3"), ((2, 0.5, 0.5), "[0, 1)")],
    "gd-ex-edge": [((metacalc.Objective(theta**2, theta), 1 + 1e-8, 1.0), "attract"),
                   ((metacalc.Objective(theta**4 / 4 - theta**2 / 2, theta), 2 / 3, 2.0), "does not exceed"),
                   ((quadratic, 1.0, 1.0), "does not exceed"), ((quadratic, 0.3, 1.0), "two points"),
                   ((quadratic, 0.3, 0.0), "does not move"), ((theta**2, 1, 1), "Objective")],
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
    "tl-ex-difference": [(lambda g, q, v: (g(q + 2e-8 * v) - g(q + 1e-8 * v)) / 1e-8, "first order"),
                         (lambda g, q, v: (g(q + 1e-7 * v) - g(q)) / 1e-7, "first order"),
                         (lambda g, q, v: (g(q + 1e-4 * v) - g(q - 1e-4 * v)) / 1e-4, "factor of two"),
                         (lambda g, q, v: g(q) * v, "1 gradients"),
                         (lambda g, q, v: (g(q + v) - g(q - v)) / 2, "not the Hessian"),
                         (lambda g, q, v: (g(q) * v).sum() + g(v).sum(), "shape"), (3, "function")],
    "tl-ex-checkpoints": [((10, 10), "together"), ((50, 52), "smaller sum"), ((20, 25), "Entry 1")],
    "out-ex-truncated": [(1, "walked"), (6, "2k"), (5, "full"), (4, "not equal")],
    "out-ex-error": [("(1 - a*alpha)**(r - k)", "ratio"), ("(1 - a*alpha)**(k - r) - 1", "more factors"),
                     ("1 - (1 - a*alpha)**(r - k)", "sign")],
    "out-ex-budget": [((3100, 1550, 1033), "query set takes a gradient"), ((2818, 1937, 1476), "as two gradients"),
                      ((3100, 2066, 1550), "one more"), ((2818, 1476, 999), "not equal")],
    "out-ex-crossover": [(2, "its square"), (sp.Rational(1, 4), "n* grows"), (8, "not equal")],
    "out-ex-convex": [((quadratic, 0.5), "is convex there"), ((metacalc.Objective(sp.sin(theta), theta), 0.1), "not convex on"),
                      ((metacalc.Objective(theta**4, theta), 0.1), "at most 1"), ((theta**4, 0.1), "Objective"), (3, "used")],
    "out-ex-even": [((sp.sqrt(3) + 1) / (3 * sp.sqrt(3) + 1), "smaller"), (sp.Rational(1, 2), "factor a"), (0.175, "exact")],
    "out-ex-attention": [("K/(K + d + 1)", "without noise"), ("K/(K + d + 1 + d*sigma**2)", "Divide"), ("sigma", "depend on")],
    "out-ex-rate": [(sp.Rational(1, 2), "mean of the losses"), (sp.Rational(2, 5), "factor 3"), (0.36, "exact")],
    "out-ex-ridge": [("a*(b - c)/b", "pulls towards 0"), ("(c - b)/b", "sharper"), ("a*(c - b)", "not equal")],
    "rc-ex-offset": [("tau2/noise", "other way round"), ("noise", "spread"), ("2*noise/tau2", "constant factor")],
    "rc-ex-two": [("tau2 - c**2/tau2", "without noise"), ("c**2/(tau2 + noise)", "takes away"), ("tau2", "depend on")],
    "rc-ex-steps": [("log(lam/(K + lam))/log(1 - alpha)", "curvature"),
                    ("log(K/(K + lam))/log(1 - 2*alpha)", "left of the way"), ("5", "depend on")],
    "rc-ex-taylor": [("k*alpha", "without h"), ("k*(k - 1)*alpha**2/2", "binomial"), ("k*(k + 1)*alpha**2", "constant factor")],
    "rc-ex-em": [("s/n", "forgets"), ("(s/n + t)/2", "weighted"), ("s/(n + nu)", "something to say")],
    "rc-ex-question": [([[1, 0, 0], [0, 1, 0], [0, 0, 2]], "most uncertain item is the best"),
                       ([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]], "together"),
                       ([[1, 2, 0], [2, 1, 0], [0, 0, 3]], "semidefinite"), ([[1, 0], [0, 1]], "3 × 3"), (3, "used")],
    "la-ex-slope": [("p - 1", "natural"), ("p/log(2)", "did not come"), ("(1 - p)/log(2)", "sign")],
    "la-ex-bits": [((-sp.log(sp.Rational(17, 64), 2), sp.Rational(17, 64)), "Average"), ((3, 8), "Entry 2"), (3, "2 answers")],
    "la-ex-posterior": [(sp.Rational(3, 10), "without the prior"), (sp.Rational(1, 8), "without the counts"), (1, "not equal")],
    "la-ex-half": [("N/(N + nu)", "frequencies"), ("nu", "depend on N")],
    "la-ex-curvature": [((sp.Rational(1, 4), "8/r**2"), "eigenvalues"), ((sp.Rational(1, 2), "2/r**2"), "2/λ"),
                        ((sp.Rational(1, 2), 4), "moves W"), ((1, "2/r**2"), "Entry 1")],
    "la-ex-apart": [(("es", "an"), "one family"), (("fi", "sw"), "agree"), (("fi", "fi"), "different"), (3, "used")],
    "vi-ex-gradient": [("1/(1 + exp(z2 - z1))", "2 answers"), (("1/(1 + exp(z2 - z1))", "1/(1 + exp(z1 - z2))"), "subtracted"),
                       (("1/(1 + exp(z1 - z2))", "-1/(1 + exp(z1 - z2))"), "falls")],
    "vi-ex-sharp": [("1/N - 1/N**2", "diagonal"), (1, "each"), ("N", "not equal")],
    "vi-ex-step": [("1/(1 + 4*exp(-alpha))", "mean over"), ("1/5", "before"), ("exp(alpha/5)/(1 + exp(alpha/5))", "not equal")],
    "vi-ex-interval": [((0.02, 0.02 * 2.36462425), "√8"), ((0.02, 0.02 * 1.959964 / np.sqrt(8)), "Student"),
                       ((0.03, 0.0167), "Entry 1")],
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
    assert check("cl-ex-two-steps", "1 - 2*a*eta + a**2*eta**2")
    assert check("cl-ex-gradient", sp.Matrix([y * sp.cos(x * y) + 2 * x * y, x**2 + x * sp.cos(x * y)]))
    assert check("gd-ex-routine", 10 / 23) and check("cl-ex-shared", 7.0)
    assert check("pr-ex-family", Lines()) and check("pr-ex-family", Lines(dtype=np.float32))


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
