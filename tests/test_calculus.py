"""SymPy's gradient = finite differences = the lambdified function, for random expressions; bad input is refused."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metacalc import Objective, finite_difference, gradient_descent, step

x, y, z = sp.symbols("x y z")


def expressions():
    """Smooth expressions in x, y, z that are real everywhere."""
    leaves = st.sampled_from([x, y, z]) | st.integers(-3, 3).map(sp.Integer)
    unary = st.sampled_from([sp.sin, sp.cos, sp.tanh, lambda u: sp.exp(-u**2), lambda u: sp.log(1 + u**2),
                             lambda u: u**2, lambda u: u**3, lambda u: 1 / (1 + u**2), lambda u: sp.sqrt(2 + u**2)])
    binary = st.sampled_from([lambda u, v: u + v, lambda u, v: u * v, lambda u, v: u - v])
    return st.recursive(leaves, lambda inner: st.builds(lambda f, u: f(u), unary, inner)
                        | st.builds(lambda f, u, v: f(u, v), binary, inner, inner), max_leaves=5)


@settings(max_examples=60, deadline=None)
@given(expressions(), st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3))
def test_gradient_and_hessian_agree_with_finite_differences(expr, point):
    objective, point = Objective(expr, (x, y, z)), np.array(point)
    scale = 1 + max(abs(objective(point)), np.abs(objective.grad(point)).max(), np.abs(objective.hess(point)).max())
    assume(scale < 1e4)
    np.testing.assert_allclose(objective.grad(point), finite_difference(objective, point), atol=1e-7 * scale**2)
    rows = np.stack([finite_difference(lambda p, i=i: objective.grad(p)[..., i], point) for i in range(3)])
    np.testing.assert_allclose(objective.hess(point), rows, atol=1e-6 * scale**2)


@settings(max_examples=40, deadline=None)
@given(expressions(), st.floats(-1.5, 1.5))
def test_numpy_functions_are_the_symbolic_ones(expr, value):
    expr = expr.subs({y: x + 1, z: 2})
    objective = Objective(expr, x)
    for function, symbolic in ((objective, expr), (objective.grad, sp.diff(expr, x)), (objective.hess, sp.diff(expr, x, 2))):
        exact = float(symbolic.subs(x, sp.Float(value, 30)).evalf(20))
        assert np.isclose(function(value), exact, rtol=1e-9, atol=1e-9)
        assert np.isclose(function(np.array([value, value]))[1], exact, rtol=1e-9, atol=1e-9)


def test_batches_and_precision():
    bowl = Objective(x**2 + 3 * y**2, (x, y))
    points = np.arange(24.0).reshape(3, 4, 2)
    assert bowl(points).shape == (3, 4) and bowl.grad(points).shape == (3, 4, 2) and bowl.hess(points).shape == (3, 4, 2, 2)
    np.testing.assert_array_equal(bowl.grad(points)[1, 2], bowl.grad(points[1, 2]))
    assert bowl.grad(points.astype(np.float32)).dtype == np.float32
    assert Objective(x**2, [x]).grad(np.ones((5, 1))).shape == (5, 1)


def test_derivatives_are_expressions_in_the_variables():
    cubic, saddle = Objective(x**3, x), Objective(x**3 * y, (x, y))
    assert cubic.gradient == 3 * x**2 and cubic.hessian == 6 * x
    assert saddle.gradient == sp.Matrix([3 * x**2 * y, x**3])
    assert saddle.hessian == sp.Matrix([[6 * x * y, 3 * x**2], [3 * x**2, 0]])


def test_constant_gradients_keep_the_shape():
    assert Objective(3 * x, x).grad(np.zeros((2, 3))).shape == (2, 3)
    np.testing.assert_array_equal(Objective(3 * x + y**2, (x, y)).grad(np.ones((4, 2))), [[3, 2]] * 4)


def test_kinks_that_the_gradient_does_not_feel_are_fine():
    huber = Objective(sp.Piecewise((x**2 / 2, sp.Abs(x) < 1), (sp.Abs(x) - sp.Rational(1, 2), True)), x)
    np.testing.assert_array_equal(huber.grad([-3, -0.5, 0.5, 3]), [-1, -0.5, 0.5, 1])
    np.testing.assert_array_equal(Objective(sp.Max(0, x) ** 2, x).hess([-1.0, 1.0]), [0, 2])
    np.testing.assert_array_equal(Objective(x * sp.Abs(x), x).grad([-2.0, 0.0, 3.0]), [4, 0, 6])


def test_kinks_in_several_variables_are_found():
    for expr in (sp.Abs(x**2 + y), sp.Max(x**2 + y, 0), sp.atan2(y, x)):
        with pytest.raises(ValueError, match="expr .*kink"):
            Objective(expr, (x, y))
    assert Objective(1000 * sp.Max(0, x) ** 2, x).grad(2.0) == 4000


def test_domains_far_from_zero_and_special_functions():
    assert Objective(sp.log(x - 20), x).grad(21.0) == 1 and Objective(sp.sqrt(x - 12), x)(16.0) == 2
    assert Objective(sp.log(-x - 30), x).grad(-31.0) == -1
    np.testing.assert_allclose(Objective(sp.gamma(x), x)([3.0, 5.0]), [2, 24])


def test_in_several_variables_limits_are_taken_at_a_point_and_in_tables():
    f, e = Objective(sp.sin(x) / x * sp.exp(y) + y**2, (x, y)), np.e
    for points, at in (([0.0, 1.0], ()), ([[[2.0, 1.0], [0.0, 1.0]]] * 3, (2, 1))):
        points = np.array(points)
        assert np.isclose(f(points)[at], e + 1)
        np.testing.assert_allclose(f.grad(points)[at], [0, e + 2], atol=1e-12)
        np.testing.assert_allclose(f.hess(points)[at], [[-e / 3, 0], [0, e + 2]], atol=1e-12)
    assert np.isnan(f([np.nan, 1.0])) and f.grad(np.zeros((0, 2))).shape == (0, 2)


def test_step_is_one_iteration():
    f = Objective(x**4 + x * y + y**2, (x, y))
    symbolic = step(f, sp.Rational(1, 10), 2).subs({x: 1, y: -2})
    np.testing.assert_allclose(gradient_descent(f.grad, [1.0, -2.0], 0.1, 2)[-1], np.array(symbolic, float).ravel())


def test_overflow_and_domain_are_ieee_values():
    assert Objective(x**3, x)(1e200) == np.inf
    assert np.isnan(Objective(sp.log(x), x)(-1.0)) and np.isnan(Objective(x ** sp.Rational(4, 3), x)(-8.0))
    assert Objective(1 / x, x)(0.0) == np.inf
    assert np.isclose(Objective(sp.erf(x), x).grad(0.0), 2 / np.sqrt(np.pi))


def test_step_composes():
    eta = sp.Symbol("eta")
    f = Objective(x**2 + y**4, (x, y))
    once = step(f, eta)
    twice = once.subs({x: once[0], y: once[1]}, simultaneous=True)
    assert sp.expand(step(f, eta, k=2) - twice) == sp.zeros(2, 1)
    assert step(f, eta, k=0) == sp.Matrix([x, y])


@pytest.mark.parametrize("expr, word", [
    (x + y, "unknown symbols"), (sp.I * x, "complex"), (sp.sqrt(-1 - x**2), "complex"), (sp.Abs(x), "kink"),
    (sp.Max(x, 0), "kink"), (sp.floor(x), "differentiable"), (sp.sign(x), "differentiable"),
    (sp.Heaviside(x), "differentiable"),
    (sp.Piecewise((x**2, x < 0), (x, True)), "kink"), (sp.sqrt(sp.Abs(x)), "kink"), (sp.Function("g")(x), "differentiable"),
    (sp.Abs(x) / 100000, "kink"), (sp.sqrt(x**2), "kink"), (sp.Abs(sp.cos(x) - x), "kink"), (sp.Matrix([x**2, x]), "single"),
    (sp.arg(x), "differentiable"),
    (sp.Mod(x, 1), "differentiable"), ("x**2", "SymPy"), ([x], "SymPy"), (x < 1, "single"), (sp.oo, "finite"), (None, "SymPy"),
])
def test_expressions_that_no_loop_can_descend_are_refused(expr, word):
    with pytest.raises(ValueError, match=f"expr .*{word}"):
        Objective(expr, x)


@pytest.mark.parametrize("variables", [(), (x, x), (x, sp.Symbol("x", real=True)), 3, "x", (x, 2), x**2])
def test_variables_are_checked(variables):
    with pytest.raises(ValueError, match="variables"):
        Objective(x**2, variables)


@pytest.mark.parametrize("theta", [np.ones(3), 1.0, "a", 1j, [None, 1]])
def test_theta_is_checked(theta):
    with pytest.raises(ValueError, match="theta"):
        Objective(x**2 + y**2, (x, y)).grad(theta)


@pytest.mark.parametrize("eta, k, word",
                         [(0, 1, "eta"), (-0.1, 1, "eta"), (sp.nan, 1, "eta"), (x, 1, "eta"), (None, 1, "eta"),
                          ([0.1], 1, "eta"), ("0.1 +", 1, "eta"), (0.1, -1, "k"), (0.1, 1.5, "k")])
def test_step_is_checked(eta, k, word):
    with pytest.raises(ValueError, match=word):
        step(Objective(x**2, x), eta, k)


@pytest.mark.parametrize("theta, h", [(1.0, 1e-6), ([1.0], 0), ([1.0], np.nan)])
def test_finite_difference_is_checked(theta, h):
    with pytest.raises(ValueError, match="theta|h "):
        finite_difference(lambda t: t.sum(axis=-1), theta, h)
