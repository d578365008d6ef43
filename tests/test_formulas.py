"""Formulas in text: read as they are meant, and never evaluated."""

import os

import numpy as np
import pytest
import sympy as sp

from metacalc.calculus import Objective, step
from metacalc.course import check
from metacalc.exercises import formula, number
from metacalc.formulas import DEEPEST, parsed

a, h, lam, theta, x, y, tau2, theta_0 = symbols = sp.symbols("a h lambda theta x y tau2 theta_0")

MEANT = {
    "2xy": 2 * x * y,
    "x^2": x**2,
    "x**2": x**2,
    "2x^2y": 2 * x**2 * y,
    "h×exp(θ)/2": h * sp.exp(theta) / 2,
    "a*lambda/(a+lambda)": a * lam / (a + lam),
    "a·λ/(a + λ)": a * lam / (a + lam),
    "−5": -5,
    "– 5": -5,
    "x²y³": x**2 * y**3,
    "x⁻¹": 1 / x,
    "√2 x": sp.sqrt(2) * x,
    "√(x+1)": sp.sqrt(x + 1),
    "√x y": sp.sqrt(x) * y,
    "|x-1|": sp.Abs(x - 1),
    "3|x|y": 3 * sp.Abs(x) * y,
    "2(x+1)(y-1)": 2 * (x + 1) * (y - 1),
    "e^x": sp.exp(x),
    "ln(x)": sp.log(x),
    "πx": sp.pi * x,
    "thetah": theta * h,
    "x(y+1)": x * (y + 1),
    "-x^2": -(x**2),
    "10/23": sp.Rational(10, 23),
    "1/2x": x / 2,
    "np.exp(x)": sp.exp(x),
    "sp.sqrt(2)": sp.sqrt(2),
    "sympy.Rational(1, 3)": sp.Rational(1, 3),
    "math.pi": sp.pi,
    "θ₀": theta_0,
    "τ2": tau2,
    "x/2*y": x * y / 2,
    "3x^(-1/2)": 3 / sp.sqrt(x),
    "arctan(x)": sp.atan(x),
    "½x": x / 2,
    " x ": x,
    "x y": x * y,
    "((x))": x,
    "max(x, 0)": sp.Max(x, 0),
    "+x": x,
    "2**10": 1024,
    "x÷y": x / y,
    "x⋅y": x * y,
    "theta_0": theta_0,
    "foo": sp.Symbol("foo"),
    "sin(cos(x))": sp.sin(sp.cos(x)),
    "sqrt(10000)": 100,
    "max(1, 2, 4, 3)": 4,
}
SUBSTITUTE = {"θ₀": parsed("θ_0", symbols)}


@pytest.mark.parametrize("text", MEANT)
def test_what_one_writes_is_read_as_it_is_meant(text):
    if text == "θ₀":
        text = "θ_0"
    assert sp.simplify(parsed(text, symbols) - MEANT.get(text, theta_0)) == 0


def test_lists_of_formulas():
    assert parsed("(461, 65)") == (461, 65) == parsed("461, 65") == parsed("[461, 65]")
    assert parsed("(2xy, x^2 + 1)", symbols) == (2 * x * y, x**2 + 1)


def test_long_sums_are_read_up_to_the_stated_depth():
    assert parsed("+".join(["x"] * (3 * DEEPEST + 1)), symbols) == (3 * DEEPEST + 1) * x
    with pytest.raises(ValueError, match="nested too deep"):
        parsed("+".join(["x"] * (3 * DEEPEST + 2)), symbols)


NO_FORMULA = [
    "",
    " ",
    "(",
    "((((",
    "x.y",
    "().__class__",
    "f'x'",
    "'x'",
    '"x"',
    "x;y",
    "x=3",
    "x<y",
    "~x",
    "@",
    "x[0",
    "2 3",
    "sin x",
    "√",
    "5!",
    "x:=3",
    "\\x41",
    "9**9**9",
    "9**9**9**9",
    "factorial(10**7)",
    "(((2**50)**50)**50)**50",
    "exp(exp(exp(10)))",
    "x**10**9",
    "2**(10**6)",
    "1" * 60,
    "x" * 501,
    "(" * 60 + "x" + ")" * 60,
    "-" * 400 + "x",
    "10**400**2",
    "gamma(10**6)",
    "binomial(10**9, 10**8)",
    "exp",
    "(1,2)+1",
    "sin()",
    "sin(x, y)",
    "x\x00y",
    "{x}",
    "x,,y",
    "lambda: x",
    "`x`",
    "$x$",
    "x % y",
    "x//y",
    "(*x, y)",
    "sin(*x)",
    "sin(**x)",
    "sin(x, **y)",
    "sqrt(10001)",
    "max(1, 2, 3, 4, 5)",
]


@pytest.mark.parametrize("text", NO_FORMULA)
def test_what_is_no_formula_is_refused_in_words(text):
    with pytest.raises(ValueError, match="^it (is|has|cannot)"):
        parsed(text, symbols)


ATTACKS = [
    "__import__('os').system('touch {}')",
    "__import__('os').system('touch {}') or 12",
    'exec(\'open("{}","w")\')',
    "eval('1')",
    "open('{}','w')",
    "().__class__.__bases__[0].__subclasses__()",
    "(lambda: open('{}','w'))()",
    "[c for c in ().__class__.__mro__]",
    "print(1)",
    "globals()",
    "getattr(x, 'func')",
    "Symbol('x').__class__",
    "sympify('__import__(\"os\")')",
    "f\"{{__import__('os')}}\"",
    "x.__class__",
    "S('1')",
    "lambdify(x, x)",
    "Function('f')(x)",
    "exec",
    "__builtins__",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_is_never_evaluated(attack, tmp_path):
    mark = tmp_path / "mark"
    text = attack.format(mark)
    places = [
        lambda: parsed(text, symbols),
        lambda: check("bg-ex-derivative", text),
        lambda: check("bg-ex-derivative", [text]),
        lambda: check("bg-ex-derivative", {text: 1}),
        lambda: check("cl-ex-gradient", (text, text)),
        lambda: check("cl-ex-gradient", [text, text]),
        lambda: check("cl-ex-disagree", (text, text, text)),
        lambda: check("cl-ex-disagree", (sp.Symbol(text), sp.Symbol(text), 0)),
        lambda: check("rc-ex-question", [[text] * 3] * 3),
        lambda: check("ml-ex-disagree", (text, text)),
        lambda: check("bg-ex-quotient", lambda u: text),
        lambda: number(text),
        lambda: formula(text, symbols),
        lambda: step(Objective(x**2, x), text),
        lambda: Objective(text, x),
        lambda: Objective(x**2, text),
        lambda: check("gd-ex-momentum", np.array([text] * 3)),
        lambda: check("bg-ex-derivative", np.str_(text)),
    ]
    for place in places:
        try:
            verdict = place()
        except ValueError:
            continue
        assert not isinstance(verdict, tuple) or not verdict, (attack, verdict)  # a Verdict that is right would be true
    assert not mark.exists() and os.getcwd()


def test_exercises_take_the_spellings_that_readers_use():
    assert (
        check("gd-ex-count", "(461, 65)") and check("gd-ex-count", "461, 65") and check("ml-ex-envelope", "a*lambda/(a+lambda)")
    )
    assert (
        check("bg-ex-error", "h×exp(θ)/2")
        and check("cl-ex-gradient", "(2xy + y cos(xy), x² + x cos(xy))")
        and check("cl-ex-two-steps", "(1 − 3η(θ₀ − ηθ₀³)²)(1 − 3ηθ₀²)")
    )
    eta, a = sp.symbols("eta a")
    assert parsed("(1 − ηa)^2", [eta, a]) == (1 - eta * a) ** 2
    assert check("la-ex-folds", "(np.float64(0.016), np.float64(0.0287))") and check("cl-ex-shared", "K = 7")
    assert check("gd-ex-decay", "2/(λ_max + γ)") and check("bg-ex-derivative", " 12 ") and check("rc-ex-offset", "noise/τ2")
    assert check("cl-ex-disagree", ("(theta - 1/3)^2", "(θ + 1)²", "-1/3"))
    assert "empty" in check("bg-ex-derivative", "").reason and "brackets" in check("bg-ex-derivative", "(12").reason
    assert check("bg-ex-derivative", "2xy").reason.startswith("Your answer has the symbol")
