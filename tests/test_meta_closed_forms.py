"""For k = 1, ..., 10 and any family of quadratic tasks: what SymPy derives = closed form = the loop = finite differences.

Then what the chapter says beyond them: resting points that repel, other losses than quadratics, the first order in α.
"""

from functools import cache

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from metacalc import Objective, finite_difference, gradient_descent
from metacalc.course.figures.meta_learning import quadratic_tasks
from metacalc.meta import adapt, fomaml, imaml, joint, maml, meta_sgd, reptile, with_rates
from metacalc.models import Quadratic
from metacalc.tasks import Batch, Quadratics

MODEL = Quadratic(1)
NAMES = ["joint", "MAML", "FOMAML", "Reptile", "iMAML", "Meta-SGD"]


@cache
def derived(k):
    """Each algorithm's direction on one task by differentiating the k-step path, as NumPy functions of (a, c, α, λ, θ)."""
    a, c, alpha, lam, theta, phi = symbols = sp.symbols("a c alpha lam theta phi")
    loss = a / 2 * (theta - c) ** 2
    end = theta
    for _ in range(k):
        end = end - alpha * sp.diff(loss, theta).subs(theta, end)
    (near,) = sp.solve(sp.diff(loss.subs(theta, phi) + lam / 2 * (phi - theta) ** 2, phi), phi)
    after = loss.subs(theta, end)
    directions = {"joint": sp.diff(loss, theta), "MAML": sp.diff(after, theta), "FOMAML": sp.diff(loss, theta).subs(theta, end),
                  "Reptile": (theta - end) / alpha, "iMAML": sp.diff(loss.subs(theta, near), theta),
                  "Meta-SGD": sp.diff(after, alpha)}
    return {name: sp.lambdify(symbols[:-1], expression, cse=True) for name, expression in directions.items()}


def closed(name, a, c, alpha, lam, theta, k):
    left = (1 - alpha * a) ** k
    if name == "Meta-SGD":
        return -k * a**2 * (1 - alpha * a) ** (2 * k - 1) * (theta - c) ** 2
    weight = {"joint": a, "MAML": a * left**2, "FOMAML": a * left, "Reptile": (1 - left) / alpha,
              "iMAML": a * (lam / (a + lam)) ** 2}
    return weight[name] * (theta - c)


def loop(name, batch, alpha, lam, theta, k):
    stiff = float(batch.x_support.max())
    solved = dict(alpha=1 / (stiff + lam), k=600, lam=lam, cg_steps=1)
    return {"joint": lambda: joint(MODEL, theta, batch), "MAML": lambda: maml(MODEL, theta, batch, alpha, k),
            "FOMAML": lambda: fomaml(MODEL, theta, batch, alpha, k), "Reptile": lambda: reptile(MODEL, theta, batch, alpha, k),
            "iMAML": lambda: imaml(MODEL, theta, batch, **solved),
            "Meta-SGD": lambda: meta_sgd(MODEL, with_rates(theta, alpha), batch, k)}[name]()


number = lambda low, high: st.floats(low, high, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", range(1, 11))
@settings(max_examples=15, deadline=None)
@given(tasks=st.lists(st.tuples(number(0.1, 3.0), number(-5, 5)), min_size=1, max_size=5), alpha=number(0.01, 0.7),
       lam=number(0.1, 5.0), theta=number(-5, 5))
def test_four_ways_agree(name, k, tasks, alpha, lam, theta):
    a, c = np.array(tasks).T
    batch = quadratic_tasks(a, c)
    symbolic = np.mean(derived(k)[name](a, c, alpha, lam, theta))
    formula = np.mean(closed(name, a, c, alpha, lam, theta, k))
    gradient = loop(name, batch, alpha, lam, [theta], k)[1][-1]
    size = np.abs(closed(name, a, c, alpha, lam, theta, k)).max() + 1e-6
    # Adding up α(φ − c) step by step and raising to the k-th power round differently, in Reptile over α.
    assert abs(symbolic - formula) < 1e-9 * size + 1e-12
    assert abs(gradient - formula) < 1e-9 * size + 1e-12
    if name in ("FOMAML", "Reptile"):  # the gradients of no loss: a difference of the losses on the way stands in
        path = adapt(MODEL, [theta], batch.x_support, batch.y_support, alpha, k)[..., 0]
        slope = lambda phi: finite_difference(lambda q: a / 2 * (q[..., 0] - c) ** 2, phi[:, None], 1e-5)[:, 0]
        numeric = np.mean(slope(path[k]) if name == "FOMAML" else sum(slope(phi) for phi in path[:k]))
    elif name == "Meta-SGD":
        numeric = finite_difference(lambda r: maml(MODEL, [theta], batch, float(r[0]), k)[0], [alpha], 1e-6)[0]
    else:
        numeric = finite_difference(lambda t: loop(name, batch, alpha, lam, t, k)[0], [theta], 1e-5)[0]
    scale = 1 + np.mean(a * (np.abs(theta - c) + 1) ** 2) * max(1, *np.abs(1 - alpha * a)) ** (2 * k)
    assert abs(numeric - formula) < 1e-5 * scale * k


@pytest.mark.parametrize("k", range(1, 6))
def test_the_matrices_of_the_table_and_where_their_directions_vanish(k):
    tasks, I = Quadratics(d=3).sample(np.random.default_rng(0), 6), np.eye(3)
    A, c, lam = tasks.x_support, tasks.y_support, 0.7
    J = np.array([np.linalg.matrix_power(I - 0.3 * M, k) for M in A])
    W = {joint: A, maml: A @ J @ J, fomaml: A @ J, reptile: (I - J) / 0.3,
         imaml: lam**2 * A @ np.linalg.inv((A + lam * I) @ (A + lam * I))}
    arguments = {joint: {}, imaml: dict(alpha=0.2, k=800, lam=lam, cg_steps=3)}
    for method, matrices in W.items():
        direction = lambda t: method(Quadratic(3), t, tasks, **arguments.get(method, dict(alpha=0.3, k=k)))[1]
        best = np.linalg.solve(matrices.sum(axis=0), np.einsum("nij,nj->i", matrices, c))
        assert np.abs(direction(best)).max() < 1e-11
        np.testing.assert_allclose(direction(best + I), matrices.mean(axis=0), atol=1e-10)  # symmetric
        assert method in (fomaml, reptile) or np.linalg.eigvalsh(matrices.mean(axis=0)).min() > 0


@pytest.mark.parametrize("method, alpha, k, W", [(fomaml, 0.5, 1, (-1.5, 0.5)), (reptile, 0.9, 2, (-2.1, 1.1)),
                                                 (maml, 0.5, 1, (0.75, 0.25))])
def test_with_shared_curvature_a_resting_point_may_be_a_saddle_but_not_maml_s(method, alpha, k, W):
    A, c = np.tile(np.diag([3.0, 1.0]), (3, 1, 1)), np.array([[0.0, 1.0], [2.0, -1.0], [1.0, 3.0]])
    tasks = Batch(A, c, A, c)
    direction = lambda t: method(Quadratic(2), t, tasks, alpha, k)[1]
    mean = c.mean(axis=0)
    np.testing.assert_allclose(direction(mean), 0, atol=1e-12)
    np.testing.assert_allclose(direction(mean + np.eye(2)), np.diag(W), atol=1e-12)
    away = gradient_descent(direction, mean + [0.01, 1.0], 0.2, 20)[-1] - mean
    assert (abs(away[0]) > 0.01) == (min(W) < 0) and abs(away[1]) < 1


def test_two_copies_of_a_loss_that_is_no_quadratic_can_part_maml_from_joint_training():
    theta = sp.Symbol("theta", real=True)
    soft = theta**2 / 2 - sp.Rational(9, 10) * sp.log(sp.cosh(theta))
    pair = [Objective(soft.subs(theta, theta - shift), theta) for shift in (-2, 2)]
    line = np.linspace(-6, 6, 2401)
    before = sum(f(line) for f in pair) / 2
    ends = [line - f.grad(line) for f in pair]
    np.testing.assert_allclose(ends, [shift + 0.9 * np.tanh(line - shift) for shift in (-2, 2)], atol=1e-12)
    after = sum(f(end) for f, end in zip(pair, ends)) / 2
    joint_end, maml_end = line[before.argmin()], line[after.argmin()]
    assert abs(joint_end) < 1e-9 and abs(abs(maml_end) - 2) < 0.02
    assert round(after[before.argmin()], 4) == 0.0732 and round(after.min(), 4) == 0.0405


@pytest.mark.parametrize("k", range(2, 6))
def test_the_first_order_in_alpha_for_fresh_minibatches(k):
    """MAML, FOMAML and Reptile on k losses of two variables; terms of degree 3 decide the coefficients of 1 and α."""
    u, v, alpha, place = *sp.symbols("u v alpha"), sp.Matrix(sp.symbols("u v"))
    rng, powers = np.random.default_rng(k), [(m, n) for m in range(4) for n in range(4 - m)]
    losses = [sum(int(rng.integers(-5, 6)) * u**m * v**n for m, n in powers) for _ in range(k)]
    here = {u: 2, v: -1}
    slopes, bends = [sp.Matrix([f]).jacobian(place).T for f in losses], [sp.hessian(f, (u, v)) for f in losses]
    g, H = [m.subs(here) for m in slopes], [m.subs(here) for m in bends]
    cut = lambda m: m.applyfunc(lambda e: sum(sp.Poly(e, alpha).coeff_monomial(alpha**n) * alpha**n for n in (0, 1)))
    at = lambda m, p: m.subs({u: p[0], v: p[1]}, simultaneous=True)
    path = [sp.Matrix([2, -1])]
    for i in range(k - 1):
        path.append(cut((path[-1] - alpha * at(slopes[i], path[-1])).expand()))
    taken = [at(slopes[i], path[i]).expand() for i in range(k)]
    back = taken[-1]
    for i in reversed(range(k - 1)):
        back = (back - alpha * at(bends[i], path[i]) * back).expand()
    pairs = [(i, j) for j in range(k) for i in range(j)]
    assert cut(taken[-1]) == cut(g[-1] - alpha * sum((H[-1] * g[i] for i in range(k - 1)), sp.zeros(2, 1)))
    assert cut(back) == cut(g[-1] - alpha * sum((H[-1] * g[i] + H[i] * g[-1] for i in range(k - 1)), sp.zeros(2, 1)))
    assert cut(sum(taken, sp.zeros(2, 1))) == cut(sum(g, sp.zeros(2, 1))
                                                  - alpha * sum((H[j] * g[i] for i, j in pairs), sp.zeros(2, 1)))


def test_what_the_second_term_means():
    """q̄ = E[H_i g_j] = ½∇‖ḡ‖² for independent minibatches of one task, and not if i = j; over tasks the squares split."""
    u, v, rng = *sp.symbols("u v"), np.random.default_rng(0)
    place, here = sp.Matrix([u, v]), {u: 1, v: -2}
    powers = [(m, n) for m in range(4) for n in range(4 - m)]
    lengths, means = [], []
    for _ in range(3):  # tasks
        losses = [sum(int(rng.integers(-5, 6)) * u**m * v**n for m, n in powers) for _ in range(4)]
        g, H = [sp.Matrix([f]).jacobian(place).T for f in losses], [sp.hessian(f, (u, v)) for f in losses]
        g_bar = sum(g, sp.zeros(2, 1)) / 4
        q_bar = sum((h * slope for h in H for slope in g), sp.zeros(2, 1)) / 16  # all pairs of draws with replacement
        half = sp.Matrix([g_bar.dot(g_bar) / 2]).jacobian(place).T
        assert (q_bar - half).expand() == sp.zeros(2, 1)
        assert (sum((h * slope for h, slope in zip(H, g)), sp.zeros(2, 1)) / 4 - half).expand() != sp.zeros(2, 1)
        assert sp.expand(sum(a.dot(b) for a in g for b in g) / 16 - g_bar.dot(g_bar)) == 0
        means.append(g_bar.subs(here))
        lengths.append(means[-1].dot(means[-1]))
    joint_slope = sum(means, sp.zeros(2, 1)) / 3
    spread = sum((m - joint_slope).dot(m - joint_slope) for m in means) / 3
    assert sum(lengths) / 3 == joint_slope.dot(joint_slope) + spread


def test_the_arg_min_jumps_where_the_penalty_does_not_outweigh_the_curvature():
    phi = np.linspace(-2, 2, 40001)
    best = lambda theta, lam: phi[(phi**4 / 4 - phi**2 / 2 + lam / 2 * (phi - theta) ** 2).argmin()]
    jump = lambda lam: best(1e-4, lam) - best(-1e-4, lam)
    assert jump(0.5) > 1.4 and jump(0.9) > 0.6 and jump(2) < 1e-3
    for theta, lam in [(0.3, 2.0), (-1.0, 1.5), (0.8, 0.5)]:  # in between, its slope is that of the theorem
        slope = (best(theta + 0.05, lam) - best(theta - 0.05, lam)) / 0.1
        assert abs(slope - lam / (lam + 3 * best(theta, lam) ** 2 - 1)) < 0.03
