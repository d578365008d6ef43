"""Bilevel problems: every way to a hypergradient against closed forms, finite differences, autograd and JAX, and its cost."""

import gc
import weakref
from math import comb

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sympy as sp

from conftest import NOT_OURS, optional
from metacalc import descent, finite_difference
from metacalc.bilevel import (
    Bilevel,
    adjoint,
    bilevel_descent,
    checkpoint_steps,
    conjugate_gradients,
    counted,
    example_weights,
    implicit_gradient,
    inner_descent,
    inner_minimum,
    neumann,
    ridge_penalties,
    unrolled,
)
from metacalc.meta import imaml
from metacalc.models import MLP
from metacalc.tape import Tape
from metacalc.tasks import Batch

rng = np.random.default_rng(0)
X, XQ, Y, YQ = rng.normal(size=(12, 4)), rng.normal(size=(9, 4)), rng.normal(size=12), rng.normal(size=9)
LABELS, LABELS_Q = np.sign(Y), np.sign(YQ)


def smooth():
    """A problem with φ and θ of two entries each, whose outer loss depends on θ directly and whose H is not constant."""
    p, q, s, t = sp.symbols("p q s t")
    inner = sp.exp(p - t) + (p - s * q) ** 2 + q**2 + sp.cosh(q + t) + s * p
    return Bilevel.of(inner, p**2 * q + sp.sin(s) * q + t**2, [p, q], [s, t])


PROBLEMS = {
    "expressions": (smooth(), np.array([0.3, -0.2]), np.zeros(2), 0.05),
    "ridge": (ridge_penalties(X, Y, XQ, YQ), np.array([-1.0, 0.0, 0.5, -2.0]), np.ones(4), 0.2),
    "weights": (example_weights(X, LABELS, XQ, LABELS_Q, 0.1), rng.normal(size=12), np.zeros(4), 0.5),
}
every = pytest.mark.parametrize("name", PROBLEMS)


def close(found, expected, rtol=1e-7, atol=1e-10):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


@every
def test_a_problem_s_derivatives_fit_each_other(name):
    problem, theta, phi, _ = PROBLEMS[name]
    phi = phi + 0.1 * rng.normal(size=phi.size)
    v, u = rng.normal(size=phi.size), rng.normal(size=theta.size)
    by_phi, by_theta = problem.outer(phi, theta)[1:]
    close(by_phi, finite_difference(lambda p: problem.outer(p, theta)[0], phi, h=1e-5), 1e-6, 1e-8)
    close(by_theta, finite_difference(lambda t: problem.outer(phi, t)[0], theta, h=1e-5), 1e-6, 1e-8)
    bent = (problem.grad(phi + 1e-5 * v, theta) - problem.grad(phi - 1e-5 * v, theta)) / 2e-5
    close(problem.hvp(phi, theta, v), bent, 1e-6, 1e-8)
    moved = (problem.grad(phi, theta + 1e-5 * u) - problem.grad(phi, theta - 1e-5 * u)) / 2e-5
    close(problem.push(phi, theta, u), moved, 1e-6, 1e-8)
    close(problem.cross(phi, theta, v) @ u, v @ problem.push(phi, theta, u))  # Bᵀ and B


@every
def test_implicit_gradient_is_the_derivative_at_the_minimum(name):
    problem, theta, start, _ = PROBLEMS[name]
    solved = lambda t: inner_minimum(problem, t, start, tol=1e-12)
    phi = solved(theta)
    assert np.linalg.norm(problem.grad(phi, theta)) <= 1e-12
    loss, gradient = implicit_gradient(problem, theta, phi)
    assert loss == problem.outer(phi, theta)[0]
    close(gradient, finite_difference(lambda t: problem.outer(solved(t), t)[0], theta, h=1e-5), 1e-6, 1e-9)
    H = np.stack([problem.hvp(phi, theta, e) for e in np.eye(phi.size)])
    v = np.linalg.solve(H, problem.outer(phi, theta)[1])
    close(adjoint(problem, theta, phi), v)
    alpha = 1 / np.linalg.eigvalsh(H).max()
    close(implicit_gradient(problem, theta, phi, n_steps=4000, alpha=alpha).gradient, gradient, 1e-6)
    close(implicit_gradient(problem, theta, phi, start=v, n_steps=0).gradient, gradient)
    close(implicit_gradient(problem, theta, phi, start=v, n_steps=1, alpha=alpha).gradient, gradient)
    loose = adjoint(problem, theta, phi, tol=1e-2)
    assert 0 < np.linalg.norm(H @ loose - H @ v) <= 1e-2


def test_ridge_has_its_closed_form():
    problem, theta, start, _ = PROBLEMS["ridge"]
    H = X.T @ X / 12 + np.diag(np.exp(theta))
    phi = np.linalg.solve(H, X.T @ Y / 12)
    close(inner_minimum(problem, theta, start), phi, 1e-6)
    expected = -np.exp(theta) * phi * np.linalg.solve(H, XQ.T @ (XQ @ phi - YQ) / 9)
    close(implicit_gradient(problem, theta, phi).gradient, expected)


def test_imaml_is_a_corollary():
    model, lam = MLP((1, 3, 1), activation="tanh"), 2.0
    theta = model.init(np.random.default_rng(1))
    data = np.random.default_rng(2).normal(size=(4, 1, 5, 1))
    x, y, xq, yq = (one[0] for one in data)
    problem = Bilevel(lambda p, t: (model.loss(p, xq, yq), model.grad(p, xq, yq), np.zeros_like(t)),
                      grad=lambda p, t: model.grad(p, x, y) + lam * (p - t),
                      hvp=lambda p, t, v: model.hvp(p, v, x, y) + lam * v, cross=lambda p, t, v: -lam * v)
    loss, gradient = imaml(model, theta, Batch(*data), 0.1, 400, lam=lam, cg_steps=30)
    phi = inner_minimum(problem, theta, theta, 1e-12)
    close(implicit_gradient(problem, theta, phi).gradient, gradient, 1e-6)
    close(loss, problem.outer(phi, theta)[0], 1e-8)


@every
@pytest.mark.parametrize("k", [1, 2, 7])
def test_unrolled_is_the_derivative_of_the_path_in_both_modes(name, k):
    problem, theta, start, alpha = PROBLEMS[name]
    end = lambda t, a=alpha: problem.outer(inner_descent(problem, t, start, a, k)[-1], t)[0]
    by_theta = finite_difference(end, theta, h=1e-5)
    by_alpha = finite_difference(lambda a: end(theta, a[0]), [alpha], h=1e-6)[0]
    for mode in ("reverse", "forward"):
        loss, gradient = unrolled(problem, theta, start, alpha, k, mode)
        close(loss, end(theta), 1e-12)
        close(gradient, by_theta, 2e-6, 1e-8)
        close(unrolled(problem, theta, start, alpha, k, mode, by="alpha").gradient, by_alpha, 2e-6, 1e-8)


@every
@pytest.mark.parametrize("snapshots", [0, 1, 2, 3, 12, 40])
def test_checkpoints_change_the_cost_alone(name, snapshots):
    problem, theta, start, alpha = PROBLEMS[name]
    asked, calls = counted(problem)
    for by in ("theta", "alpha"):
        calls.clear()
        found, expected = (unrolled(p, theta, start, alpha, 12, by=by, snapshots=c)
                           for p, c in ((asked, snapshots), (problem, None)))
        close(found.gradient, expected.gradient, 1e-12)
        assert found.loss == expected.loss
        assert calls["grad"] == checkpoint_steps(12, snapshots)
        assert calls["hvp"] == 12 and calls["cross"] == (12 if by == "theta" else 0)


def alive(problem, theta, k, snapshots):
    """The largest number of iterates that are alive at a time, where a step begins."""
    seen, most = [], 0

    def grad(phi, t):
        nonlocal most
        if all(ref() is not phi for ref in seen):
            seen.append(weakref.ref(phi))
        most = max(most, sum(ref() is not None for ref in seen))
        return problem.grad(phi, t)

    gc.collect()
    unrolled(Bilevel(problem.outer, grad, problem.hvp, problem.cross), theta, np.ones(4), 0.2, k, snapshots=snapshots)
    return most


def test_no_more_iterates_are_kept_than_allowed():
    problem, theta, *_ = PROBLEMS["ridge"]
    for snapshots in (1, 2, 3, 5):
        assert alive(problem, theta, 20, snapshots) <= snapshots + 3  # φ_0, the one that walks, and the one after it


@pytest.mark.parametrize("k", range(1, 40, 3))
@pytest.mark.parametrize("c", range(8))
def test_checkpoints_follow_the_binomial_law(k, c):
    n = k + 1
    r = next(r for r in range(n + 1) if comb(c + 1 + r, r) >= n)
    assert checkpoint_steps(k, c) == r * n - comb(c + 1 + r, r - 1)


def test_forward_and_reverse_cost_what_is_said():
    problem, theta, start, alpha = PROBLEMS["weights"]  # 12 meta-parameters
    asked, calls = counted(problem)
    for mode, by, expected in (("reverse", "theta", (5, 5, 5, 0)), ("reverse", "alpha", (5, 5, 0, 0)),
                               ("forward", "theta", (5, 60, 0, 60)), ("forward", "alpha", (5, 5, 0, 0))):
        calls.clear()
        unrolled(asked, theta, start, alpha, 5, mode, by)
        assert tuple(calls[name] for name in ("grad", "hvp", "cross", "push")) == expected and calls["outer"] == 1


@pytest.mark.parametrize("kappa", [1.5, 10, 200])
def test_solvers_keep_their_bounds(kappa):
    lam = np.geomspace(1 / kappa, 1, 30)
    b = np.random.default_rng(4).normal(size=30)
    exact, times = b / lam, lambda v: lam * v
    energy = lambda e: np.sqrt((lam * e * e).sum())
    root, alpha = np.sqrt(kappa), 2 / (1 + 1 / kappa)
    for m in range(12):
        cg = conjugate_gradients(times, b, m)
        assert energy(cg - exact) <= 2 * ((root - 1) / (root + 1)) ** m * energy(exact) * (1 + 1e-12)
        series = neumann(times, b, m, alpha)
        close(series, exact - (1 - alpha * lam) ** m * exact, 1e-9)
        assert np.linalg.norm(series - exact) <= ((kappa - 1) / (kappa + 1)) ** m * np.linalg.norm(exact) * (1 + 1e-12)
    krylov = np.linalg.qr(np.stack([lam**j * b for j in range(5)], axis=-1))[0]  # CG is best in the Krylov space
    A = krylov.T @ (lam[:, None] * krylov)
    close(conjugate_gradients(times, b, 5), krylov @ np.linalg.solve(A, krylov.T @ b), 1e-6, 1e-8)


def test_backpropagation_at_the_minimum_is_the_neumann_series():
    problem, theta, start, alpha = PROBLEMS["expressions"]
    phi = inner_minimum(problem, theta, start, 1e-13)
    for k in (1, 3, 10):
        close(unrolled(problem, theta, phi, alpha, k).gradient, implicit_gradient(problem, theta, phi, k, alpha).gradient, 1e-8)


def test_autograd_differentiates_the_same_program():
    theta, start, alpha = np.array([-1.0, 0.0, 0.5, -2.0]), np.ones(4), 0.2

    def program(t, a):
        phi = start
        for _ in range(6):
            phi = phi - a * (anp.dot(X.T, anp.dot(X, phi) - Y) / 12 + anp.exp(t) * phi)
        return anp.sum((anp.dot(XQ, phi) - YQ) ** 2) / 18

    problem = PROBLEMS["ridge"][0]
    close(unrolled(problem, theta, start, alpha, 6).gradient, autograd.grad(program)(theta, alpha))
    close(unrolled(problem, theta, start, alpha, 6, by="alpha").gradient, autograd.grad(program, 1)(theta, alpha))


def test_jax_differentiates_the_same_programs():
    jax = optional("jax")
    jnp = jax.numpy
    with jax.enable_x64(True):
        problem, theta, start, alpha = PROBLEMS["weights"]
        Z, ZQ = jnp.array(X * LABELS[:, None]), jnp.array(XQ * LABELS_Q[:, None])
        inner = lambda p, t: (jax.nn.sigmoid(t) * jnp.logaddexp(0, -Z @ p)).mean() + 0.05 * p @ p
        outer = lambda p: jnp.logaddexp(0, -ZQ @ p).mean()

        def program(t):
            phi = jnp.array(start)
            for _ in range(5):
                phi = phi - alpha * jax.grad(inner)(phi, t)
            return outer(phi)

        close(unrolled(problem, theta, start, alpha, 5).gradient, jax.grad(program)(jnp.array(theta)))
        phi = jnp.array(inner_minimum(problem, theta, start, 1e-13))
        v = jnp.linalg.solve(jax.hessian(inner)(phi, jnp.array(theta)), jax.grad(outer)(phi))
        expected = -jax.grad(lambda t: jax.grad(inner)(phi, t) @ v)(jnp.array(theta))
        close(implicit_gradient(problem, theta, phi).gradient, expected)


def test_outer_descent_finds_the_penalty_and_warm_starts_spare_calls():
    problem, theta, start, _ = PROBLEMS["ridge"]
    paths = [bilevel_descent(problem, theta, start, 0.1, 60, descent.adam(), warm=warm, tol=1e-8) for warm in (True, False)]
    close(paths[0].theta, paths[1].theta, 1e-4)
    assert paths[0].theta.shape == (61, 4) and paths[0].loss[-1] < paths[0].loss[0]
    assert (np.diff(paths[0].calls) >= 0).all()
    slope = implicit_gradient(problem, theta, inner_minimum(problem, theta, start))
    plain = bilevel_descent(problem, theta, start, 0.1, 1, tol=1e-10)
    close(plain.theta[1], theta - 0.1 * slope.gradient)
    close(plain.loss[0], slope.loss)


def test_newton_halves_steps_that_lead_too_far():
    p, t = sp.symbols("p t")
    problem = Bilevel.of(sp.sqrt(1 + (p - t) ** 2), p**2, [p], [t])  # plain Newton diverges from |p − t| > 1
    close(inner_minimum(problem, [1.0], [4.0]), [1.0], atol=1e-8)


def test_a_loop_that_diverges_says_so_in_numbers():
    problem, theta, start, _ = PROBLEMS["ridge"]
    loss, gradient = unrolled(problem, theta, start, 1e3, 200)
    assert not np.isfinite(loss) and not np.isfinite(gradient).all()


SMALL = dict(x=[[1.0]], y=[1.0], x_query=[[1.0]], y_query=[1.0])
AT = [1.0, 0.0], [0.0, 0.0]  # θ and φ of the smooth problem


@pytest.mark.parametrize("call, name", [
    (lambda: ridge_penalties(**SMALL | {"x": [1.0]}), "x"),
    (lambda: ridge_penalties(**SMALL | {"y": [1.0, 2.0]}), "y"),
    (lambda: ridge_penalties(**SMALL | {"x_query": [[1.0, 2.0]]}), "x_query"),
    (lambda: ridge_penalties(**SMALL | {"y_query": 1.0}), "y_query"),
    (lambda: example_weights(**SMALL | {"y": [0.0]}), "y"),
    (lambda: example_weights(**SMALL | {"y_query": [2.0]}), "y_query"),
    (lambda: example_weights(**SMALL, lam=0.0), "lam"),
    (lambda: implicit_gradient(smooth(), 1.0, [0.0, 0.0]), "theta"),
    (lambda: implicit_gradient(smooth(), [1.0, 0.0], 0.0), "phi"),
    (lambda: implicit_gradient("it", [1.0], [0.0]), "problem"),
    (lambda: implicit_gradient(smooth(), *AT, n_steps=-1), "n_steps"),
    (lambda: implicit_gradient(smooth(), *AT, alpha=-1.0), "alpha"),
    (lambda: unrolled(smooth(), *AT, 0.1, 0), "k"),
    (lambda: unrolled(smooth(), *AT, 0, 1), "alpha"),
    (lambda: unrolled(smooth(), *AT, 0.1, 1, "both"), "mode"),
    (lambda: unrolled(None, [1.0], [0.0], 0.1, 1), "problem"),
    (lambda: unrolled(smooth(), *AT, 0.1, 1, by="eta"), "by"),
    (lambda: unrolled(smooth(), *AT, 0.1, 1, snapshots=1.5), "snapshots"),
    (lambda: unrolled(Bilevel(*[None] * 4), [1.0], [0.0], 0.1, 1, "forward"), "problem"),
    (lambda: checkpoint_steps(0, 1), "k"),
    (lambda: checkpoint_steps(3, -1), "snapshots"),
    (lambda: counted(3), "problem"), (lambda: adjoint(3, *AT), "problem"), (lambda: inner_minimum(3, *AT), "problem"),
    (lambda: inner_descent(3, *AT, 0.1, 1), "problem"), (lambda: bilevel_descent(3, *AT, 0.1, 1), "problem"),
    (lambda: inner_minimum(smooth(), *AT, 0), "tol"),
    (lambda: bilevel_descent(smooth(), *AT, 0.0, 3), "eta"),
    (lambda: inner_descent(smooth(), [1.0, 0.0], [], 0.1, 1), "start"),
    (lambda: Bilevel.of(sp.Symbol("z"), 0, [sp.Symbol("p")], [sp.Symbol("t")]), "inner"),
    (lambda: Tape(lambda x: x * x, 3.0), "at"),
    (lambda: Tape(lambda x: 3.0, [3.0]), "function"),
    (lambda: Tape(lambda x: x * x, [3.0]).forward([1.0, 2.0]), "direction"),
])
def test_what_is_wrong_is_named(call, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        call()


def rational(*x):
    """A program of all four operations, with constants on either side, and numbers that meet themselves."""
    total = 2.0 - x[0]
    for u, w in zip(x, x[1:]):
        total = total * u + w / (1 + u * u) - 3 / w
    return (total - total * x[-1]) / (4.0 * x[1]) + x[0] / x[0] + x[1] * x[1] - 1.5 + total / 2.0


@pytest.mark.parametrize("n", [2, 5, 20])
def test_a_tape_gives_both_gradients_within_the_bounds(n):
    at = np.random.default_rng(n).uniform(0.5, 1.5, n)
    tape = Tape(rational, at)
    assert tape.value == rational(*at)
    expected = autograd.grad(lambda z: rational(*(z[i] for i in range(n))))(at)
    reverse, forward = tape.reverse(), tape.forward_gradient()
    close(reverse.value, expected)
    close(forward.value, expected)
    direction = np.arange(n, dtype=float)
    close(tape.forward(direction).value, expected @ direction)
    assert reverse.operations <= 4 * tape.operations and reverse.products <= 2 * tape.products
    assert forward.operations <= 3 * n * tape.operations and forward.operations > n * tape.operations / 2


def test_a_tape_counts_by_hand():
    counts = {"+": (lambda x, y: x + y, (2, 0), (1, 0)), "-": (lambda x, y: x - y, (2, 0), (1, 0)),
              "*": (lambda x, y: x * y, (4, 2), (3, 2)), "/": (lambda x, y: x / y, (4, 2), (3, 2)),
              "constant": (lambda x, y: 2 * x, (2, 1), (1, 1)), "below": (lambda x, y: 2 / y, (3, 2), (2, 2))}
    for function, back, ahead in counts.values():
        tape = Tape(function, [3.0, 5.0])
        assert tape.reverse()[1:] == back and tape.forward([1.0, 0.0])[1:] == ahead and tape.operations == 1
    assert Tape(lambda x: x * x / x, [3.0]).products == 2


@pytest.mark.filterwarnings("error", *NOT_OURS)
def test_weights_and_losses_stand_far_out():
    """At ±1000 too, without a warning: a weight is 0 or 1, and the gradient of a lost example is its own."""
    problem = example_weights([[1.0], [1.0]], [1, 1], [[1.0]], [1], lam=0.5)
    np.testing.assert_allclose(problem.grad(np.array([-1000.0]), np.array([1000.0, -1000.0])), [0.5 * -1000 - 1 / 2])
    loss, by_phi, _ = problem.outer(np.array([-1000.0]), np.zeros(2))
    np.testing.assert_allclose([loss, by_phi[0]], [1000, -1])
    assert np.isfinite(problem.hvp(np.array([1000.0]), np.zeros(2), np.ones(1))).all()
