"""Exact gaps against loops and draws, the bound against sums, integrals and draws, subspaces against their definitions."""

import math

import numpy as np
import pytest
import sympy as sp

from metacalc import Quadratic, interval, maml
from metacalc.generalisation import QuadraticFamily, binary_kl, clipped_square, gaussian_kl, kl_inverse, normal_mean, pac_bayes
from metacalc.representation import moment_matrix, predicted_subspace_error, ridge_error, shared_directions, subspace_error
from metacalc.tasks import Batch, LinearTasks, Quadratics, Sinusoids, VariedShots


@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_exact_losses_are_those_of_maml_on_average(k):
    rng = np.random.default_rng(k)
    family = QuadraticFamily(rng.uniform(0.5, 2, 7), 1.3, 0.8, 4, 0.3, k)
    loss = lambda start, batch: maml(Quadratic(1), [start], batch, 0.3, k)[0] if k else (
        np.asarray(family.a) / 2 * (start - batch.y_query[:, 0]) ** 2).mean()
    rows = []
    for _ in range(3000):
        train, new = family.sample(rng, 0.4), family.sample(rng, 0.4)
        start = family.start(train)
        rows.append((loss(start, train), loss(start, new), (start - 0.4) ** 2))
    if k:
        assert abs(maml(Quadratic(1), [start], train, 0.3, k)[1][0]) < 1e-12
    for found, exact in zip(map(interval, np.transpose(rows)), (family.training, family.new, family.variance)):
        assert abs(found.mean - exact) < 2 * found.half_width
    assert np.isclose(family.gap, family.new - family.training) and np.isclose(2 * family.floor, family.new + family.training)


def test_alike_tasks_cost_a_floor_times_one_plus_or_minus_one_nth():
    for n in (2, 10):
        family = QuadraticFamily(np.full(n, 1.5), 0.7, 1.1, 3, 0.2, 2)
        assert np.isclose(family.training, family.floor * (1 - 1 / n)) and np.isclose(family.new, family.floor * (1 + 1 / n))
    v = 0.7**2 + ((1 - 0.49) / 0.49) ** 2 * 1.1**2 / 3  # (1 − 0.3)² is left
    assert np.isclose(family.variance, v / n) and np.isclose(family.floor, 1.5 * 0.49**2 * v / 2)


def test_kl_and_its_inverse():
    for p, q in ((0.3, 0.6), (0.9, 0.2)):
        assert np.isclose(binary_kl(p, q), p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
    assert binary_kl(0, 0.5) == math.log(2) == binary_kl(1, 0.5) and binary_kl(0, 0) == binary_kl(1, 1) == 0
    assert binary_kl(0.5, 1) == binary_kl(0.5, 0) == np.inf
    p = np.array([0, 0.1, 0.5, 0.9])[:, None]
    q = kl_inverse(p, [0.01, 0.2])
    np.testing.assert_allclose(binary_kl(p, q), np.broadcast_to([0.01, 0.2], (4, 2)), rtol=1e-9)
    assert (q > p).all() and np.isclose(kl_inverse(0, 0.3), 1 - math.exp(-0.3)) and np.isclose(kl_inverse(0.3, 0), 0.3)
    assert (q[:, 0] <= p[:, 0] + math.sqrt(0.01 / 2)).all()  # Pinsker


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_the_constant_is_the_mean_that_the_proof_says(n):
    """kl(risk‖bound) · n is what the theorem says, with C_n as exact fractions, and as the mean over a binomial for two p."""
    exact = sum(math.comb(n, j) * sp.Rational(j, n) ** j * sp.Rational(n - j, n) ** (n - j) for j in range(n + 1))
    assert exact <= n + 1 and (n < 8 or exact <= 2 * math.sqrt(n))
    bound = pac_bayes(0.2, 1.5, n, 0.1)
    right = (1.5 + math.log(float(exact) / 0.1)) / n
    assert np.isclose(binary_kl(0.2, bound), right, rtol=1e-6) or bound > 1 - 1e-9
    for p in (0.3, 0.8):
        mean = sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) * math.exp(n * binary_kl(j / n, p)) for j in range(n + 1))
        assert np.isclose(mean, float(exact))


def test_the_bound_holds_more_often_than_it_promises():
    """On coins of mean 0.3, with nothing learned, in at least 80% of draws."""
    risk = np.random.default_rng(0).binomial(40, 0.3, 4000) / 40
    assert 0.8 <= (pac_bayes(risk, 0.0, 40, 0.2) >= 0.3).mean()


def test_integrals_of_normal_distributions():
    z = np.linspace(-9, 9, 200_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    for mean, sd, cap in ((0.0, 1.0, 2.0), (1.5, 0.4, 1.0), (-3.0, 2.0, 0.5)):
        x = mean + sd * z
        clipped = (np.minimum(1, (x / cap) ** 2) * density).sum() * (z[1] - z[0])
        assert np.isclose(clipped_square(mean, sd, cap), clipped, atol=1e-6)
        ratio = -z * z / 2 - math.log(sd) + ((x - 0.5) / 1.2) ** 2 / 2 + math.log(1.2)
        assert np.isclose(gaussian_kl(mean, sd, 0.5, 1.2), (ratio * density).sum() * (z[1] - z[0]), atol=1e-6)
    assert clipped_square(np.zeros((2, 1)), [1.0, 2.0, 3.0], 1.0).shape == (2, 3)
    assert gaussian_kl(1.0, 2.0, 1.0, 2.0) == 0


def test_means_of_polynomials_in_normal_symbols():
    x, y, a = sp.symbols("x y a")
    assert normal_mean((x + a * y) ** 2 * x**2, [x, y]) == 3 + a**2
    assert normal_mean(x**6 * y**2 + x**3, [x, y]) == 15 and normal_mean(7, [x]) == 7


def test_the_moment_and_the_subspace():
    family = LinearTasks(5, (1.0, 0.6), noise=0.4, k_shots=3)
    batch = family.sample(np.random.default_rng(0), 200_000)
    lam = np.array([1, 0.36, 0, 0, 0])
    np.testing.assert_allclose(moment_matrix(batch), np.diag(lam.sum() + 0.16 + 2 * lam), atol=0.03)
    few = batch[:4]
    by_hand = sum(y**2 * np.outer(x, x) for task in range(4) for x, (y,) in zip(few.x_support[task], few.y_support[task]))
    np.testing.assert_allclose(moment_matrix(few), by_hand / 12)
    rng = np.random.default_rng(1)
    B, other = (np.linalg.qr(rng.normal(size=(5, 2)))[0] for _ in range(2))
    cosines = np.linalg.svd(B.T @ other, compute_uv=False)
    assert np.isclose(subspace_error(B, other), (1 - cosines**2).sum()) and np.isclose(subspace_error(B, -B[:, ::-1]), 0)
    found = shared_directions(np.stack([B @ np.diag([3, 2]) @ B.T, np.eye(5)]), 2)
    assert found.shape == (2, 5, 2) and np.isclose(subspace_error(B, found)[0], 0)


@pytest.mark.parametrize("spreads, noise", [((1.0, 1.0), 0.5), ((1.0, 0.6), 1.0), ((2.0,), 0.0)])
def test_the_predicted_error_is_what_draws_show(spreads, noise):
    family = LinearTasks(8, spreads, noise, k_shots=2, n_query=1)
    found = interval([subspace_error(family.directions, shared_directions(
        moment_matrix(family.sample(np.random.default_rng(seed), 10_000)), len(spreads))) for seed in range(60)])
    assert abs(found.mean - predicted_subspace_error(8, spreads, noise, 20_000)) < 1.6 * found.half_width


def test_the_predicted_error_has_the_moment_of_its_definition():
    a, x, e, spread, sigma = sp.symbols("a x e s sigma")
    moment = normal_mean((spread * a * x + sigma * e) ** 4 * x**2, [a, x, e])
    for s, noise in ((1.0, 0.0), (0.7, 1.5), (2.0, 0.3)):
        C = float(moment.subs({spread: s, sigma: noise}))
        assert np.isclose(predicted_subspace_error(6, (s,), noise, 100), 5 / 400 * C / s**4)


def test_ridge_on_features_is_its_normal_equations():
    batch = LinearTasks(4, (1.0, 1.0), k_shots=3, n_query=5).sample(np.random.default_rng(0), 6)
    B = np.random.default_rng(1).normal(size=(4, 3))  # of two, the eigenvectors' matrix may be its own transpose
    found = ridge_error(B, batch, [0.1, 2.0])
    assert found.shape == (2, 6)
    for i, penalty in enumerate((0.1, 2.0)):
        for j in range(6):
            X, y = batch.x_support[j] @ B, batch.y_support[j]
            w = np.linalg.solve(X.T @ X + penalty * np.eye(3), X.T @ y)
            assert np.isclose(found[i, j], ((batch.x_query[j] @ B @ w - batch.y_query[j]) ** 2).mean())


def test_tasks_of_a_few_directions():
    family = LinearTasks(6, (2.0, 0.0), noise=0.5, k_shots=4, n_query=7)
    batch, again = (family.sample(np.random.default_rng(2), 4000) for _ in range(2))
    np.testing.assert_array_equal(batch.y_support, again.y_support)
    assert batch.x_support.shape == (4000, 4, 6) and batch.y_query.shape == (4000, 7, 1)
    slope = np.linalg.lstsq(batch.x_query[0], batch.y_query[0], rcond=None)[0][:, 0]
    np.testing.assert_allclose(slope[1:], 0, atol=1e-12)
    assert np.isclose(batch.y_query.var(), 4, rtol=0.1) and np.isclose(batch.y_support.var(), 4.25, rtol=0.1)
    assert family.with_shots(2).sample(np.random.default_rng(0), 1).x_support.shape == (1, 2, 6)
    np.testing.assert_array_equal(family.directions, np.eye(6)[:, :2])


def test_noise_is_in_the_support_set_alone():
    plain, noisy = (Sinusoids(noise=noise).sample(np.random.default_rng(0), 2000) for noise in (0.0, 0.5))
    np.testing.assert_array_equal(plain.y_query, noisy.y_query)
    off = noisy.y_support - plain.y_support
    assert np.isclose(off.std(), 0.5, rtol=0.03) and abs(off.mean()) < 0.02


def test_varied_shots_come_about_equally_often():
    tasks, rng = VariedShots(Sinusoids(), (1, 3, 7)), np.random.default_rng(0)
    counts = np.bincount([tasks.sample(rng, 2).x_support.shape[1] for _ in range(900)], minlength=8)
    assert set(np.flatnonzero(counts)) == {1, 3, 7} and (abs(counts[[1, 3, 7]] - 300) < 60).all()
    assert tasks.with_shots(4).sample(rng, 1).x_support.shape[1] == 4


def test_bad_arguments_are_named():
    x = sp.Symbol("x")
    batch = Batch(np.ones((1, 2, 3)), np.ones((1, 2, 1)), np.ones((1, 2, 3)), np.ones((1, 2, 1)))
    rng = np.random.default_rng(0)
    for named, call in (
            ("a must", lambda: QuadraticFamily([-1.0])), ("a must", lambda: QuadraticFamily([[1.0]])),
            ("tau", lambda: QuadraticFamily([1.0], tau=0)), ("sigma", lambda: QuadraticFamily([1.0], sigma=-1)),
            ("k_shots", lambda: QuadraticFamily([1.0], k_shots=0)), ("alpha", lambda: QuadraticFamily([1.0], alpha=0)),
            ("alpha", lambda: QuadraticFamily([2.0], alpha=0.5)), ("k must", lambda: QuadraticFamily([1.0], k=-1)),
            ("rng", lambda: QuadraticFamily([1.0]).sample(0)), ("batch", lambda: QuadraticFamily([1.0]).start(3)),
            ("p must", lambda: binary_kl(1.5, 0.5)), ("q must", lambda: binary_kl(0.5, -0.1)),
            ("bound", lambda: kl_inverse(0.5, -1)), ("p must", lambda: pac_bayes(2.0, 1, 10)),
            ("n must", lambda: pac_bayes(0.1, 1, 0)), ("eps", lambda: pac_bayes(0.1, 1, 10, 1.0)),
            ("sd", lambda: gaussian_kl(0, -1, 0, 1)), ("prior_sd", lambda: gaussian_kl(0, 1, 0, 0)),
            ("cap", lambda: clipped_square(0, 1, 0)), ("expr", lambda: normal_mean(sp.sin(x), [x])),
            ("batch", lambda: moment_matrix(3)), ("matrix", lambda: shared_directions(np.ones((2, 3)), 1)),
            ("matrix", lambda: shared_directions(np.eye(2), 3)), ("found", lambda: subspace_error(np.eye(3), np.eye(2))),
            ("spreads", lambda: predicted_subspace_error(4, (0.0,), 0.1, 10)), ("d must", lambda: predicted_subspace_error(
                1, (1.0, 1.0), 0.1, 10)), ("n must", lambda: predicted_subspace_error(4, (1.0,), 0.1, 0)),
            ("noise", lambda: predicted_subspace_error(4, (1.0,), -0.1, 10)),
            ("B must", lambda: ridge_error(np.eye(2), batch, 1)),
            ("penalty", lambda: ridge_error(np.eye(3), batch, 0)), ("batch", lambda: ridge_error(np.eye(3), 1, 1.0)),
            ("d must", lambda: LinearTasks(0)), ("spreads", lambda: LinearTasks(1)),
            ("spreads", lambda: LinearTasks(3, (-1.0,))),
            ("noise", lambda: LinearTasks(noise=-1)), ("n_query", lambda: LinearTasks(n_query=0)),
            ("noise", lambda: Sinusoids(noise=-0.1)), ("tasks", lambda: VariedShots(Quadratics(1), (1,))),
            ("shots", lambda: VariedShots(Sinusoids(), ())), ("shots", lambda: VariedShots(Sinusoids(), (0,))),
            ("rng", lambda: VariedShots(Sinusoids(), (1,)).sample(0, 1)), ("n_tasks", lambda: LinearTasks().sample(rng, 0))):
        with pytest.raises(ValueError, match=named):
            call()
