"""Right, or refused with the reason: inputs reduced from public bug reports, each for a kind, and siblings of each kind.

Right values by hand, by the definition, or by mpmath with 60 digits.
"""

import time
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from metacalc import Objective, gradient_descent
from metacalc.numeric import _with_quotients, robust

x, y = sp.symbols("x y")
S, R = sp.Symbol, sp.Rational


def exactly(expr, order, at, symbol=x):
    """A derivative of an expression at a place, with 60 digits."""
    value = sp.diff(expr, symbol, order).subs(symbol, sp.Float(at, 60)).evalf(30)
    return float(value)


# --- no symbol's name changes a value ---------------------------------------------------------------------------------

NAMES = [
    "pi",
    "e",
    "E",
    "I",
    "gamma",
    "beta",
    "exp",
    "sqrt",
    "sign",
    "abs",
    "cos",
    "select",
    "less",
    "numpy",
    "lambda",
    "nan",
    "inf",
    "where",
    "log",
    "Dummy",
    "x0",
    "array",
    "math",
    "_x",
    "zeta",
    "N",
    "S",
    "θ",
    r"\theta",
    "logaddexp",
    "Max",
    "True_",
    "def",
]


def everything(s):
    """A formula with constants, functions and branches that a symbol could be called by."""
    return sp.pi * s**2 + sp.E * s + sp.exp(s) * sp.cos(s) + sp.Piecewise((s**2, s < 5), (10 * s - 25, True))


PLAIN = Objective(everything(S("plain")), S("plain"))


@pytest.mark.parametrize("name", NAMES)
def test_no_symbol_s_name_changes_a_value(name):
    named = Objective(everything(S(name)), S(name))
    for place in (0.5, np.array([0.5, 1.5])):
        for method in ("__call__", "grad", "hess"):
            np.testing.assert_allclose(getattr(named, method)(place), getattr(PLAIN, method)(place), rtol=1e-14)
    two = Objective(everything(S(name)) * S("other"), (S(name), S("other")))
    np.testing.assert_allclose(two([0.5, 2.0]), 2 * PLAIN(0.5))


def test_the_reported_names():
    s = S("pi")
    assert np.isclose(Objective(sp.pi * s**2, s)(0.5), 0.25 * np.pi) and np.isclose(Objective(sp.pi * s**2, s).grad(0.5), np.pi)
    s = S("e")
    assert np.isclose(Objective((s - sp.E) ** 2, s)(1.0), (1 - np.e) ** 2)
    s = S("gamma")
    assert np.isclose(Objective(sp.gamma(s + 1), s).grad(0.5), float(mpmath.diff(mpmath.gamma, 1.5)))


# --- kinks ------------------------------------------------------------------------------------------------------------

KINKED = [
    sp.Abs(x - 23) + sp.Abs(x - 30) + sp.Abs(x - 41),
    sp.Max(0, x - 50),
    sp.Piecewise((x, x < 25), (x + 5, True)),
    sp.Abs(x**2 - R(1, 10**6)),
    sp.sqrt(x**2 - 2 * x + 1),
    sp.sqrt(1 - sp.cos(x)),
    sp.acos(sp.cos(x)),
    sp.atan(sp.tan(x)),
    sp.SingularityFunction(x, 0, 1),
    # siblings
    sp.Abs(x - 10**6),
    sp.Max(x, 2 * x - 900),
    sp.Min(x**2, 1000),
    sp.asin(sp.sin(x)),
    sp.atan(1 / x),
    sp.tanh(1 / x),
    sp.exp(sp.Abs(x - 100)),
    sp.sqrt(sp.sin(x) ** 2),
    sp.Abs(sp.sin(x)),
    sp.Abs(sp.exp(x) - 5),
    sp.Abs(x**3 - 2 * x - 700),
    sp.Abs(x) ** R(3, 4),
    sp.sign(x) * x,
    sp.Heaviside(x - 40) * (x - 40),
    sp.Piecewise((1, sp.Eq(x, 2)), (x**2, True)),
    sp.Piecewise((sp.sin(x) / x, sp.Ne(x, 0)), (2, True)),
    sp.Piecewise((x**2, x < 1), (2 * x, True)),
    sp.Max(x, 0, 3 - x),
    sp.log(sp.Abs(x) + 1),
    sp.Abs(x) / (1 + x**2),
    sp.SingularityFunction(x, 70, 0),
    sp.Abs(x - sp.sqrt(2)),
    sp.Abs(x - sp.pi * 50),
    1e-9 * sp.Abs(x - 0.3),
    sp.sqrt((x - 0.1) ** 2),
    sp.acos(1 - x**2),
    sp.asin(sp.cos(x) ** 2 - 1),
    sp.Abs(sp.cos(x) - x),
    sp.Max(sp.exp(x), 5),
    sp.sqrt(1 - sp.sin(x)),
    sp.asin(2 * x / (1 + x**2)),
    sp.Abs(sp.log(x)),
    (x**2) ** R(1, 3),
    sp.Abs(sp.tan(x)),
]
KINKED_IN_TWO = [
    sp.Abs(3 * x + y - 250),
    sp.sqrt(x**2 + y**2),
    -20 * sp.exp(-0.2 * sp.sqrt(0.5 * (x**2 + y**2))) - sp.exp(0.5 * (sp.cos(2 * sp.pi * x) + sp.cos(2 * sp.pi * y))),
    sp.Max(x, y),
    sp.Min(x * y, 100),
    sp.sqrt((x - 3) ** 2 + (y + 1) ** 2),
    sp.Abs(x) * sp.Abs(y),
    sp.sqrt(x**2 - 2 * x * y + y**2),
    sp.atan2(y, x),
    sp.Piecewise((x, x + y > 60), (y, True)),
    sp.Abs(x - y) ** R(1, 2),
    sp.sqrt(x**2 + y**2 - 2 * x + 1),
    sp.Max(0, 1 - x * y) + y**2,
]


@pytest.mark.parametrize("expr", KINKED, ids=str)
def test_kinks_are_refused(expr):
    with pytest.raises(ValueError, match="^expr must be differentiable; .* has a kink or a jump where"):
        Objective(expr, x)


@pytest.mark.parametrize("expr", KINKED_IN_TWO, ids=str)
def test_kinks_in_two_variables_are_refused(expr):
    with pytest.raises(ValueError, match="^expr must be differentiable; .* has a kink or a jump where"):
        Objective(expr, (x, y))


SMOOTH = {  # expression: (place, value, slope, curvature)
    sp.Piecewise(((sp.exp(x) - 1) / x, sp.Ne(x, 0)), (1, True)): (0.0, 1, 1 / 2, 1 / 3),
    sp.Piecewise((sp.log(1 + x) / x, sp.Ne(x, 0)), (1, True)): (0.0, 1, -1 / 2, 2 / 3),
    sp.Piecewise((sp.sin(x) / x, sp.Ne(x, 0)), (1, True)): (0.0, 1, 0, -1 / 3),
    sp.Piecewise((x**3, sp.Ne(x, 1)), (1, True)): (1.0, 1, 3, 6),
    sp.sinc(x): (0.0, 1, 0, -1 / 3),
    sp.sin(x) / x: (0.0, 1, 0, -1 / 3),
    (sp.exp(x) - 1) / x: (0.0, 1, 1 / 2, 1 / 3),
    sp.log(sp.Abs(x)): (-2.0, np.log(2), -1 / 2, -1 / 4),
    1 / sp.Abs(x): (-2.0, 1 / 2, 1 / 4, 1 / 4),
    (x**2 - 1) / (x - 1): (1.0, 2, 1, 0),
    (1 - sp.cos(x)) / x**2: (0.0, 1 / 2, 0, -1 / 12),
    x / sp.tanh(x): (0.0, 1, 0, 2 / 3),
    (x - sp.sin(x)) / x**3: (0.0, 1 / 6, 0, -1 / 60),
    sp.sin(x) / (x - sp.pi): (0.0, 0, -1 / np.pi, -2 / np.pi**2),
    sp.Abs(x) ** 3: (0.0, 0, 0, 0),
    x * sp.Abs(x): (-3.0, -9, 6, -2),
    sp.sqrt(x**2 + 1): (0.0, 1, 0, 1),
    sp.exp(-1 / x**2): (0.0, 0, 0, 0),
    sp.Max(0, x) ** 3: (-1.0, 0, 0, 0),
    sp.sqrt(x): (4.0, 2, 1 / 4, -1 / 32),
    sp.log(x - 20): (21.0, 0, 1, -1),
    sp.Abs(x**2 + 1): (2.0, 5, 4, 2),
    sp.Piecewise((x**2 / 2, sp.Abs(x) < 1), (sp.Abs(x) - R(1, 2), True)): (3.0, 2.5, 1, 0),
    sp.tan(x): (0.0, 0, 1, 0),
    sp.acos(x): (0.0, np.pi / 2, -1, 0),
    sp.sqrt(sp.exp(x)): (0.0, 1, 1 / 2, 1 / 4),
    sp.sqrt(2 + sp.cos(x)): (0.0, np.sqrt(3), 0, -1 / (2 * np.sqrt(3))),
    sp.sign(x) * x**3: (0.0, 0, 0, 0),
    sp.Piecewise((0, sp.Eq(x, 0)), (x**2, True)): (0.0, 0, 0, 2),
    sp.sqrt(x**6): (0.0, 0, 0, 0),
    sp.Abs(x - 5) ** 3: (4.0, 1, -3, 6),
    1 / x: (2.0, 1 / 2, -1 / 4, 1 / 4),
    x * sp.cot(x): (0.0, 1, 0, -2 / 3),
    x * sp.csc(x): (0.0, 1, 0, 1 / 3),
    sp.cot(x): (1.0, 1 / np.tan(1), -1 / np.sin(1) ** 2, 2 * np.cos(1) / np.sin(1) ** 3),
    sp.log(x**2): (-1.0, 0, -2, -2),
    sp.Mul(2, x, evaluate=False): (3.0, 6, 2, 0),
    sp.besselj(0, x): (0.0, 1, 0, -1 / 2),
    sp.LambertW(x): (0.0, 0, 1, -2),
    sp.Max(x**2, -1): (2.0, 4, 4, 2),
    sp.asinh(x): (0.0, 0, 1, 0),
}


@pytest.mark.parametrize("expr", SMOOTH, ids=str)
def test_smooth_functions_are_taken_and_their_removable_singularities_filled(expr):
    place, *expected = SMOOTH[expr]
    f = Objective(expr, x)
    for found, right in zip((f(place), f.grad(place), f.hess(place)), expected):
        assert np.isclose(found, right, rtol=1e-12, atol=1e-12), (found, right)
    for found, right in zip((f, f.grad, f.hess), expected):
        np.testing.assert_allclose(found(np.array([place, place + 1]))[0], right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "expr",
    [sp.sin(x) / x, (sp.exp(x) - 1) / x, sp.log(1 + x) / x, (x - sp.sin(x)) / x**3, (1 - sp.cos(x)) / x**2, x * sp.cot(x)],
    ids=str,
)
def test_close_to_a_removable_singularity_no_digits_are_lost(expr):
    f = Objective(expr, x)
    for order, function in enumerate((f, f.grad, f.hess)):
        derivative = sp.diff(expr, x, order)
        for at in (1e-12, -1e-9, 1e-7, 3e-5, -1e-3, 8e-3, 2e-2):
            right = float(derivative.subs(x, sp.Rational(at)).evalf(30, maxn=500))
            assert abs(function(at) - right) < 1e-9 * (1 + abs(right)), (order, at)


def test_only_where_the_formula_is_singular_are_limits_taken_for_its_values():
    assert Objective(sp.sinc(x), x)._removable == (0,) == Objective(x * sp.csc(x), x)._removable
    for expr in (sp.Max(0, x) ** 3, x * sp.Abs(x), sp.Max(x**2, 2 * x - 1), sp.SingularityFunction(x, 0, 2)):
        assert Objective(expr, x)._removable == ()


def test_what_is_assumed_of_a_symbol_holds_for_its_kinks():
    """A positive variable is nowhere zero; elsewhere its kinks are found as those of any other."""
    positive = sp.Symbol("p", positive=True)
    assert Objective(positive * sp.log(positive), positive)._removable == ()
    assert Objective(x**2 * sp.log(x**2), x)._removable == (0,)
    for expr in (sp.Abs(positive - 1), sp.Abs(sp.log(positive)) + positive):
        with pytest.raises(ValueError, match="kink"):
            Objective(expr, positive)


def test_what_cannot_be_decided_is_taken_and_says_so():
    assert Objective(x**2, x).undecided == () == Objective(sp.log(1 + sp.exp(x)), x).undecided
    for expr in (sp.Max(0, x) ** 3, x * sp.Abs(x), sp.sqrt(x), x * sp.cot(x)):  # what was decided is not reported
        assert Objective(expr, x).undecided == ()
    # Slopes that swing for ever, or settle so slowly that three distances cannot tell.
    for expr in (x**2 * sp.sin(1 / x), x / sp.log(sp.Abs(x)), x * sp.Abs(x) ** R(1, 50)):
        assert x in Objective(expr, x).undecided
    slow = Objective(x * sp.Abs(x) ** R(1, 1000), x)
    assert slow.undecided and all(e.free_symbols == {x} for e in slow.undecided)
    assert Objective(sp.exp(sp.exp(x)) + sp.sqrt(sp.exp(x) + x**2 * sp.sin(x) ** 2 + sp.Abs(sp.cos(x) + 3)), x).grad(1.0) > 0


# --- overflow ---------------------------------------------------------------------------------------------------------

softplus, sigmoid = sp.log(1 + sp.exp(x)), 1 / (1 + sp.exp(-x))
STEADY = {
    "softplus": softplus,
    "sigmoid": sigmoid,
    "sigmoid, other form": sp.exp(x) / (1 + sp.exp(x)),
    "log-sigmoid": sp.log(sigmoid),
    "log(1 − sigmoid)": -sp.log(1 - sigmoid),
    "cross-entropy": -R(1, 3) * sp.log(sigmoid) - R(2, 3) * sp.log(1 - sigmoid),
    "log-cosh": sp.log(sp.cosh(x)),
    "tanh by exponentials": (sp.exp(x) - sp.exp(-x)) / (sp.exp(x) + sp.exp(-x)),
    "sech²": 1 / sp.cosh(x) ** 2,
    "logistic loss": sp.log(1 + sp.exp(-3 * x)),
    "softmax": sp.exp(2 * x) / (sp.exp(2 * x) + sp.exp(-x) + 5),
    "swish": x * sigmoid,
    "log-sum-exp": sp.log(sp.exp(x) + sp.exp(2 * x) + sp.exp(-x)),
    "−log softmax": -sp.log(sp.exp(x) / (sp.exp(x) + sp.exp(3) + sp.exp(-x))),
    "mish": x * sp.tanh(softplus),
    "cosh among other terms": (x * sp.cosh(x) + 1) / (1 + sp.exp(x) + sp.exp(-x)),
    "sinh's part": (x * sp.exp(x) + sp.cosh(x)) / (sp.exp(x) + 3 * sp.exp(-x)),
    "sum": softplus + sp.log(1 + sp.exp(1 - x)),
    "square of sigmoid": (sigmoid - R(1, 2)) ** 2,
    "sinh/cosh": sp.sinh(x) / sp.cosh(x),
    "hypot": sp.sqrt(1 + x**2),
    "pseudo-Huber": 4 * (sp.sqrt(1 + (x / 2) ** 2) - 1),
}


@pytest.mark.parametrize("name", STEADY)
def test_textbook_forms_do_not_overflow(name):
    f = Objective(STEADY[name], x)
    with mpmath.workdps(900):
        for order, function in enumerate((f, f.grad, f.hess)):
            exact = sp.lambdify(x, sp.diff(STEADY[name], x, order), "mpmath")
            for at in (1000.0, -1000.0, 750.0, -36.0, 40.0, 1.5, 0.0, 1e-3):
                right = float(exact(mpmath.mpf(at)))
                for found in (function(at), function(np.array([at, 1.0]))[0]):
                    assert abs(found - right) <= 1e-9 * abs(right) + 1e-12, (order, at, found, right)


@pytest.mark.parametrize("expr", [sp.exp(x) / (1 + sp.exp(x)), sigmoid, 1 / (1 + sp.exp(x)), 5 / (1 + sp.exp(3 * x - 1)),
                                  1 / (1 + sp.exp(x)) + sp.cos(x) / (1 + sp.exp(-2 * x)), 1 / (2 + sp.exp(x)),
                                  sp.exp(2 * x) / (1 + sp.exp(x)), sp.exp(-3 * x) / (1 + sp.exp(x)) ** 2], ids=str)
def test_single_floats_keep_their_digits_in_the_tails(expr):
    f, exact = Objective(expr, x), sp.lambdify(x, expr, "mpmath")
    with mpmath.workdps(900):
        for at in (-300.0, -36.0, -1.0, 0.0, 2.5, 36.0, 300.0):
            np.testing.assert_allclose(f(at), float(exact(mpmath.mpf(at))), rtol=1e-13, atol=1e-300)


def test_single_floats_take_a_sigmoid_as_a_quotient():
    """Which is quicker than a logarithm and an exponential, and as exact: its overflow is noticed."""
    assert _with_quotients(robust(sp.diff(softplus, x))) == 1 / (1 + sp.exp(-x))
    assert _with_quotients(robust(1 / (1 + sp.exp(2 * x)))) == 1 / (1 + sp.exp(2 * x))


def test_a_quotient_in_a_sum_of_exponentials_keeps_its_digits():
    """The slope of log(e^{-2x} + sigmoid(-x)) is −2 but for 4e^{2x} far on the left: its own slope there is no rounding."""
    f = Objective(sp.log(sp.exp(-2 * x) + 1 / (1 + sp.exp(x))), x)
    assert abs(f.hess(-40.0)) < 1e-17 and f.grad(-40.0) == -2


def test_log_sum_exp_of_two():
    f = Objective(sp.log(sp.exp(x) + sp.exp(y)), (x, y))
    right = 1000 + np.log1p(np.exp(-1))
    p = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose([f([1000.0, 999.0]), *f.grad([1000.0, 999.0])], [right, p, 1 - p], rtol=1e-12)
    np.testing.assert_allclose(f.hess([-1000.0, -1001.0]), p * (1 - p) * np.array([[1, -1], [-1, 1]]), rtol=1e-9)
    np.testing.assert_allclose(Objective(-sp.log(1 - sigmoid), x)(40.0), 40)


def test_the_logarithm_of_a_product_with_an_exponential_does_not_overflow():
    for factor in (x, x**2, x - 1, 1 / (1 + x**2)):
        f = Objective(sp.log(factor * sp.exp(x)), x)
        for at in (1000.0, 3.0):
            assert np.isclose(f(at), float(sp.log(factor.subs(x, at)) + at), rtol=1e-12)
            assert np.isclose(f.grad(at), float((sp.diff(factor, x) / factor).subs(x, at)) + 1, rtol=1e-12)
    assert np.isnan(Objective(sp.log(x * sp.exp(x)), x)(-1.0)) and Objective(sp.log(x * sp.exp(x)), x)(0.0) == -np.inf
    assert np.isclose(Objective(sp.log((x - 1) * (1 + sp.exp(x))), x)(1000.0), 1000 + np.log(999))
    f = Objective(sp.log((sp.exp(x) - 1) * sp.exp(-x)), x)  # 1 − exp(−x): its parts overflow, it does not
    np.testing.assert_allclose(f([1.0, 1000.0]), [np.log1p(-np.exp(-1)), 0], atol=1e-15)


@pytest.mark.parametrize("at", [1e200, -1e200, 1e160])
def test_sums_of_squares_do_not_overflow(at):
    f = Objective(sp.sqrt(1 + x**2), x)
    assert f(at) == abs(at) and f.grad(at) == np.sign(at) and f.hess(at) == 0
    g = Objective(sp.sqrt(1 + x**2 + 4 * y**2), (x, y))
    np.testing.assert_allclose(g.grad([at, abs(at)]), [np.sign(at) / np.sqrt(5), 4 / np.sqrt(5)])
    assert np.isclose(Objective(sp.log(1 + x**2), x)(at), 2 * np.log(abs(at)))
    many = np.full(3000, at)  # more than are worked out anew with 60 digits
    for power in (2, 3, 4):
        quotient = Objective((x / sp.sqrt(1 + x**2)) ** power, x)
        assert quotient(at) == np.sign(at) ** power and (quotient(many) == np.sign(at) ** power).all()
    assert np.isclose(Objective(x / (1 + x**2) ** R(3, 2), x)(1e150), 1e-300, rtol=1e-12, atol=0)
    h = Objective(x**2 / (1 + x**2), x)
    assert h(at) == 1 and h.grad(at) == h.hess(at) == 0


# --- what has a numerical counterpart ---------------------------------------------------------------------------------


def test_what_was_said_to_have_no_numerical_counterpart_has_one():
    assert np.isclose(Objective(x - 21 * sp.log(x) + sp.log(sp.factorial(21)), x)(5.0), 16.5815, atol=1e-3)
    i = sp.Symbol("i")
    f = Objective(sp.Sum((x * i + y - i**2) ** 2, (i, 1, 5)), (x, y))
    np.testing.assert_allclose(f.grad([1.0, 0.0]), [-340, -80])
    losses = Objective(sp.Sum(sp.log(1 + sp.exp(-i * x)), (i, 1, 4)), x)
    assert np.isclose(losses.grad(0.0), -5) and np.isclose(losses(-1000.0), 10000)
    assert np.isclose(Objective(sp.Integral(sp.exp(-(y**2)), (y, 0, x)), x)(0.7), 0.60068567)
    assert Objective(sp.Derivative(x**3, x), x)(2.0) == 12 and Objective(sp.Derivative(x**3, x), x).grad(2.0) == 12
    assert np.isclose(Objective(x / sp.Integer(10) ** 30, x).grad(2.0), 1e-30) and np.isclose(
        Objective(x**2 * 2**70, x)(1.0), 2.0**70
    )
    assert np.isclose(Objective(sp.Product(x + i, (i, 1, 3)), x).grad(0.0), 11)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Objective(sp.sin(x).series(x, 0, 5), x), "removeO"),
        (lambda: Objective(sp.Lambda(x, x**2), x), "single SymPy expression"),
        (lambda: Objective(x**2 * sp.Integer(10) ** 400, x)(1.0), "floating point"),
        (lambda: Objective(S("x", real=True) ** 2, x), "assumptions"),
        (lambda: Objective(sp.IndexedBase("w")[0] ** 2, sp.IndexedBase("w")[0]), "Symbol|symbol"),
        (lambda: Objective(sp.MatrixSymbol("w", 2, 1)[0] ** 2, [sp.MatrixSymbol("w", 2, 1)[0]]), "none, but a MatrixElement"),
        (lambda: Objective(sp.Integral(sp.exp(sp.sin(y * x) ** y), (y, 0, x)), x), "expr must"),
        (lambda: Objective(sp.floor(x) * x, x), "differentiable"),
        (lambda: Objective(x**2, x)("3"), "theta must"),
        (lambda: Objective(x**2, x)(None), "theta must"),
        (lambda: Objective(x**2, x)(2j), "theta must"),
    ],
)
def test_what_cannot_be_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_exact_numbers_are_taken_wherever_floats_are():
    f = Objective(x**2, x)
    for number in (R(1, 2), Fraction(1, 2), sp.Float(0.5), np.float32(0.5), "0.5"[:0] or 0.5):
        assert f(number) == 0.25 and f.grad(number) == 1
    assert np.isclose(f(10**30), 1e60, rtol=1e-15) and f.grad([R(1, 2), 3]).tolist() == [1, 6]
    symbolic = lambda t: sp.diff(x**2, x).subs(x, t)
    np.testing.assert_allclose(gradient_descent(symbolic, 10, 0.1, 3), [10, 8, 6.4, 5.12])


def test_a_reader_does_not_wait():
    for expr in (*KINKED[:10], *SMOOTH):
        begin = time.perf_counter()
        try:
            Objective(expr, x)
        except ValueError:
            pass
        assert time.perf_counter() - begin < 3, expr
