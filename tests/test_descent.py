"""The loop = the closed form; every rule = its textbook recurrence; bad input is refused by name."""

import inspect
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from metacalc import (
    Objective,
    adam,
    adamw,
    backtracking,
    clipped,
    convergence_factor,
    descent,
    diverged,
    gradient_descent,
    momentum,
    nesterov,
    newton,
    sgd,
)

theta = sp.Symbol("theta")
square = Objective(theta**2, theta)


@st.composite
def quadratics(draw):
    """Hessian (symmetric positive definite), minimum, start and a rate below and above the threshold."""
    d = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    A = rng.standard_normal((d, d))
    H = A @ A.T + 0.1 * np.eye(d)
    return H, rng.standard_normal(d), rng.standard_normal(d), draw(st.floats(0.05, 1.1)) * 2 / np.linalg.eigvalsh(H)[-1]


@settings(max_examples=50, deadline=None)
@given(quadratics(), st.integers(0, 60))
def test_loop_is_the_closed_form_on_quadratics(quadratic, t):
    H, minimum, start, eta = quadratic
    path = gradient_descent(lambda th: (th - minimum) @ H, start, eta, t)
    closed = minimum + np.linalg.matrix_power(np.eye(len(H)) - eta * H, t) @ (start - minimum)
    assert path.shape == (t + 1, len(H))
    np.testing.assert_allclose(path[-1], closed, rtol=1e-8, atol=1e-8 * np.abs(closed).max())


def test_symbolic_loop_is_the_closed_form():
    H = sp.Matrix([[2, 1], [1, 3]])
    x = sp.Matrix(sp.symbols("x y"))
    objective = Objective((x.T * H * x)[0] / 2, tuple(x))
    closed = np.linalg.matrix_power(np.eye(2) - 0.2 * np.array(H, float), 30) @ [1.0, -2.0]
    np.testing.assert_allclose(gradient_descent(objective.grad, [1.0, -2.0], 0.2, 30)[-1], closed, rtol=1e-10)


def test_rates_and_starts_broadcast_to_the_runs_one_by_one():
    rates, starts = np.array([0.1, 0.5, 1.2]), np.array([[10.0], [-3.0]])
    together = gradient_descent(square.grad, starts, rates, 20)
    assert together.shape == (21, 2, 3)
    for i, start in enumerate(starts[:, 0]):
        for j, rate in enumerate(rates):
            np.testing.assert_allclose(together[:, i, j], gradient_descent(square.grad, float(start), float(rate), 20),
                                       rtol=1e-12)


def reference(rule, gradient, theta, eta, n, b=0.9, b1=0.9, b2=0.999, eps=1e-8):
    """Rules as their papers write them, one number at a time."""
    v = m = s = 0.0
    look = theta  # the point before the look-ahead, for Nesterov's original form
    path = [theta]
    for t in range(1, n + 1):
        g = gradient(theta)
        if rule == "sgd":
            theta -= eta * g
        elif rule == "momentum":
            v = b * v + g
            theta -= eta * v
        elif rule == "nesterov":
            new = b * v - eta * gradient(look + b * v)
            look, v = look + new, new
            theta = look + b * v
        elif rule in ("adam", "adamw"):
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
            theta -= eta * ((m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps) + (0.01 * theta if rule == "adamw" else 0))
        else:
            raise ValueError(rule)
        path.append(theta)
    return np.array(path)


RULES = {"sgd": sgd(), "momentum": momentum(), "nesterov": nesterov(), "adam": adam(), "adamw": adamw()}


def test_every_rule_is_held_to_its_paper():
    makers = {name for name in descent.__all__ if inspect.signature(getattr(descent, name)).return_annotation is descent.Rule}
    assert makers - {"as_rule", "clipped"} == RULES.keys()


@pytest.mark.parametrize("name, rule", RULES.items())
def test_rules_are_their_papers(name, rule):
    objective = Objective(theta**4 / 4 - theta**2 + theta / 3, theta)
    ours = gradient_descent(objective.grad, 1.7, 0.03, 80, rule)
    np.testing.assert_allclose(ours, reference(name, lambda th: th**3 - 2 * th + 1 / 3, 1.7, 0.03, 80), rtol=1e-9)


def test_an_array_of_momenta_runs_all_of_them():
    betas = np.array([0.0, 0.5, 0.9])
    together = gradient_descent(square.grad, 3.0, 0.1, 15, momentum(betas))
    assert together.shape == (16, 3)
    for j, beta in enumerate(betas):
        np.testing.assert_allclose(together[:, j], gradient_descent(square.grad, 3.0, 0.1, 15, momentum(float(beta))))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 3.0), st.floats(0.0, 0.99), st.lists(st.floats(0.05, 2.0), min_size=1, max_size=4))
def test_convergence_factor_is_the_spectral_radius(eta, beta, eigenvalues):
    radii = [np.abs(np.linalg.eigvals([[1 + beta - eta * lam, -beta], [1, 0]])).max() for lam in eigenvalues]
    assert np.isclose(convergence_factor(eta, beta, eigenvalues), max(radii), rtol=1e-6)


def test_newton():
    f = Objective(theta**4 - theta, theta)
    assert np.isclose(newton(f.grad, f.hess, 1.0, 8)[-1], 0.25 ** (1 / 3))
    x, y = sp.symbols("x y")
    bowl = Objective(x**2 + x * y + 2 * y**2 - x, (x, y))
    ends = newton(bowl.grad, bowl.hess, np.array([[5.0, 5.0], [-3.0, 1.0]]), 1)[-1]
    np.testing.assert_allclose(bowl.grad(ends), 0, atol=1e-12)


def test_newton_survives_a_singular_hessian_in_a_batch():
    x, y = sp.symbols("x y")
    quartic = Objective(x**4 + y**2, (x, y))
    path = newton(quartic.grad, quartic.hess, [[0.0, 1.0], [1.0, 1.0]], 3)
    assert np.isnan(path[1:, 0]).any() and np.isfinite(path[:, 1]).all()
    assert np.isnan(newton(lambda t: 0 * t, lambda t: 0 * t, 1.0, 1)[-1])


def test_backtracking_decreases_the_loss_and_keeps_armijo():
    x, y = sp.symbols("x y")
    f = Objective((1 - x) ** 2 + 100 * (y - x**2) ** 2, (x, y))
    starts = np.array([[-1.2, 1.0], [2.0, 2.0]])
    path, rates = backtracking(f, f.grad, starts, 200)
    assert path.shape == (201, 2, 2) and rates.shape == (200, 2)
    gain = f(path[:-1]) - f(path[1:])
    assert (gain >= 1e-4 * rates * (f.grad(path[:-1]) ** 2).sum(axis=-1) - 1e-15).all()
    one, _ = backtracking(f, f.grad, starts[0], 200)
    np.testing.assert_allclose(path[:, 0], one)
    assert backtracking(f, f.grad, starts, 0)[1].shape == (0, 2)


def test_divergence_is_a_result_without_noise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = gradient_descent(square.grad, 10.0, np.array([0.1, 1.0, 1.2, 3.0]), 3000)
        cubic = gradient_descent(Objective(theta**4, theta).grad, 10.0, 1.0, 50)
        vector = gradient_descent(Objective(theta**4, [theta]).grad, [10.0], 1.0, 50)
    assert list(diverged(path)) == [False, False, True, True]
    assert not np.isfinite(path[-1, 2:]).any() and path.shape == (3001, 4)
    assert diverged(cubic) and diverged(vector).all() and len(cubic) == 51


def test_divergence_of_plain_functions_of_numbers_is_a_result():
    assert np.isnan(gradient_descent(lambda t: 4 * t**3, 10, 1.0, 50)[-1])
    assert gradient_descent(lambda t: 1 / t, 1.0, 1.0, 3)[2] == -np.inf
    assert np.isnan(gradient_descent(lambda t: -math.exp(t), 5, 1.0, 5)[-1])


def test_exact_numbers_are_welcome():
    np.testing.assert_allclose(gradient_descent(lambda t: 2 * t, sp.Rational(1, 2), Fraction(1, 10), 2), [0.5, 0.4, 0.32])


def test_the_start_is_the_caller_s():
    start = np.ones(3)

    def careless(theta):
        theta *= 2
        return theta

    gradient_descent(careless, start, 0.1, 2)
    np.testing.assert_array_equal(start, 1)


def test_newton_wants_a_hessian_for_every_start():
    H = np.array([[2.0, 1.0], [1.0, 3.0]])
    with pytest.raises(ValueError, match="hess"):
        newton(lambda t: t @ H, lambda t: H, [[1.0, 2.0], [3.0, 4.0]], 2)
    np.testing.assert_allclose(newton(lambda t: t @ H, lambda t: H, [1.0, 2.0], 1)[-1], 0, atol=1e-12)


@pytest.mark.parametrize("slope, rate", [(0.5, 1 / 4), (0.4, 1 / 4), (0.9, 1 / 32), (0.1, 1 / 4), (1e-4, 1 / 4)])
def test_backtracking_takes_the_first_rate_that_armijo_allows(slope, rate):
    """On 2θ² that is a rate of at most (1 − slope) / 2."""
    path, rates = backtracking(lambda t: 2 * t**2, lambda t: 4 * t, 1.0, 1, slope=slope)
    assert rates == [rate] and path[1] == 1 - 4 * rate


def test_backtracking_goes_on_with_a_gentle_shrink():
    path, rates = backtracking(lambda t: t**4, lambda t: 4 * t**3, 1.5, 5, shrink=0.99)
    assert (rates > 0).all() and (np.diff(path**4) < 0).all()


def test_a_schedule_is_called_with_the_iteration():
    seen = []
    gradient_descent(square.grad, 1.0, lambda t: seen.append(t) or 0.1, 4)
    assert seen == [0, 1, 2, 3]


def test_zero_iterations_return_the_start():
    np.testing.assert_array_equal(gradient_descent(square.grad, 2.0, [0.1, 0.2], 0), [[2.0, 2.0]])


@pytest.mark.parametrize("arguments, word", [
    (dict(eta=0), "eta"), (dict(eta=-1), "eta"), (dict(eta=np.nan), "eta"), (dict(eta=np.inf), "eta"),
    (dict(eta="fast"), "eta"),
    (dict(eta=[0.1, -0.1]), "eta"), (dict(eta=[]), "eta"), (dict(eta=None), "eta"), (dict(eta=lambda t: -1.0), "eta"),
    (dict(n_iters=-1), "n_iters"), (dict(n_iters=2.5), "n_iters"), (dict(n_iters=True), "n_iters"),
    (dict(n_iters="3"), "n_iters"),
    (dict(theta0=np.nan), "theta0"), (dict(theta0=[]), "theta0"), (dict(theta0="a"), "theta0"),
    (dict(theta0=[[1], [1, 2]]), "theta0"),
    (dict(theta0=1j), "theta0"), (dict(rule="adam"), "rule"), (dict(rule=adam), "rule"),
    (dict(theta0=[1.0, 2.0], eta=[0.1, 0.2, 0.3]), "theta0"),
])
def test_bad_input_is_refused_by_name(arguments, word):
    with pytest.raises(ValueError, match=word):
        gradient_descent(**{"grad": square.grad, "theta0": 10.0, "eta": 0.1, "n_iters": 3} | arguments)


def test_a_start_of_the_wrong_shape_is_refused_by_name():
    x, y = sp.symbols("x y")
    for start in (1.0, [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="theta0"):
            gradient_descent(Objective(x**2 + y**2, (x, y)).grad, start, 0.1, 3)
    with pytest.raises(ValueError, match="theta0"):
        gradient_descent(lambda th: np.zeros(3), np.zeros(2), 0.1, 3)


@pytest.mark.parametrize("make",
                         [lambda: momentum(1.0), lambda: momentum(-0.1), lambda: nesterov(np.nan), lambda: adam(beta1=1),
                          lambda: adam(beta2=[0.9, 1.5]), lambda: adam(eps=0), lambda: convergence_factor(1, 2, [1]),
                          lambda: diverged([1.0], limit=0), lambda: backtracking(square, square.grad, 1.0, 3, shrink=1.0),
                          lambda: backtracking(square, square.grad, 1.0, 3, shrink="a"),
                          lambda: backtracking(square, square.grad, 1.0, 3, eta=[0.1, 0.2]), lambda: diverged(["a"]),
                          lambda: convergence_factor(1, 0, [])])
def test_parameters_of_rules_are_checked(make):
    with pytest.raises(ValueError, match="beta|eps|limit|shrink|eta|path|eigenvalues"):
        make()


def test_clipping_shortens_long_gradients_only_and_each_of_a_table_by_itself():
    gradient = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], np.float32)
    direction, memory = clipped(momentum(0.5), 2.0).update(gradient, np.zeros_like(gradient))
    np.testing.assert_allclose(direction, [[1.2, 1.6], [0.3, 0.4], [0, 0]], rtol=1e-6)
    assert direction.dtype == np.float32
    np.testing.assert_allclose(clipped(momentum(0.5), 2.0).update(gradient, memory)[0], 1.5 * direction, rtol=1e-6)
    np.testing.assert_allclose(clipped(sgd(), 0.25).update(np.array([0.3, 0.4]), None)[0], [0.15, 0.2])
    with pytest.raises(ValueError, match="max_norm"):
        clipped(sgd(), 0)


def test_clipping_a_number():
    path = gradient_descent(lambda theta: 2 * theta, 10.0, 0.1, 2, clipped(sgd(), 1.0))
    np.testing.assert_allclose(path, [10, 9.9, 9.8])


@pytest.mark.parametrize("call, message", [
    (lambda: clipped(None, 1), "rule must be"), (lambda: clipped(sgd(), [1, 2]), "max_norm must be"),
    (lambda: clipped(sgd(), 0), "max_norm must be"),
    (lambda: gradient_descent(None, 1.0, 0.1, 3), "grad must be"),
    (lambda: gradient_descent(lambda t: "x", 1.0, 0.1, 3), "grad must return"),
    (lambda: gradient_descent(lambda t: 1j * t, 1.0, 0.1, 3), "grad must return"),
])
def test_what_is_no_rule_or_gradient_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
