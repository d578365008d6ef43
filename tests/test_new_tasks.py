"""The contenders of the page on new tasks, and its stored study, of which a short part is run again."""

from dataclasses import replace

import numpy as np
import pytest

from conftest import ROOT
from metacalc import MLP
from metacalc.course.new_tasks import (
    CAP,
    NOISE,
    PRIOR_SD,
    SHOTS,
    STEPS,
    TASKS,
    candidates,
    drawn_losses,
    ends,
    gibbs_bound,
    learned_plane_error,
    losses,
    seeds_interval,
    train,
    wave_answers,
    wave_moments,
)
from metacalc.generalisation import pac_bayes
from metacalc.studies import load
from metacalc.tasks import Batch, Sinusoids

SETTINGS, STORED = load(ROOT / "chapters/results/new_tasks.json")


def test_the_moments_are_those_of_drawn_waves():
    rng = np.random.default_rng(0)
    A, phase = rng.uniform(0.1, 5, 400_000), rng.uniform(0, np.pi, 400_000)
    w = np.stack([A * np.cos(phase), -A * np.sin(phase)])
    mean, covariance = wave_moments()
    np.testing.assert_allclose(mean, w.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(covariance, np.cov(w), atol=0.03)


def test_ridge_is_the_posterior_mean_of_a_normal_prior():
    """Written for the vector of observations instead of the coefficients."""
    batch = Sinusoids(3, 4, noise=0.5).sample(np.random.default_rng(1), 5)
    mean, covariance = wave_moments()
    answers = wave_answers("ridge", batch)
    for i in range(5):
        H, new = (np.hstack([np.sin(x[i]), np.cos(x[i])]) for x in (batch.x_support, batch.x_query))
        gain = new @ covariance @ H.T @ np.linalg.inv(H @ covariance @ H.T + 0.25 * np.eye(3))
        np.testing.assert_allclose(answers[i, :, 0], new @ mean + gain @ (batch.y_support[i, :, 0] - H @ mean), rtol=1e-8)


def test_bayes_is_the_mean_over_a_grid_and_least_squares_is_exact_without_noise():
    batch = Sinusoids(2, 3, noise=0.5).sample(np.random.default_rng(2), 4)
    A, phase = 0.1 + 4.9 * (np.arange(80) + 0.5) / 80, np.pi * (np.arange(120) + 0.5) / 120
    wave = lambda x: (A[:, None] * np.sin(x - phase)).ravel()
    for i in range(4):
        log = sum(-((y - wave(x)) ** 2) / (2 * 0.25) for (x,), (y,) in zip(batch.x_support[i], batch.y_support[i]))
        weights = np.exp(log - log.max())
        expected = [weights @ wave(x) / weights.sum() for (x,) in batch.x_query[i]]
        np.testing.assert_allclose(wave_answers("Bayes", batch)[i, :, 0], expected, rtol=1e-8)
    exact = Sinusoids(2, 3).sample(np.random.default_rng(3), 50)
    np.testing.assert_allclose(wave_answers("least squares", exact), exact.y_query, atol=1e-8)


def test_nobody_beats_bayes_nor_linear_estimates_ridge():
    for K, i in zip(SHOTS, range(len(SHOTS))):
        bayes, ridge, least = (STORED[how]["mean"][i] for how in ("Bayes", "ridge", "least squares"))
        assert bayes < ridge < least
        for who in ("process", "MAML"):
            assert all(STORED[f"{who}/{seed}"]["mean"][i] > bayes for seed in SETTINGS["seeds"])
        batch = TASKS.with_shots(K).sample(np.random.default_rng(SETTINGS["test"]), SETTINGS["n_tasks"])
        found = ((wave_answers("ridge", batch) - batch.y_query) ** 2).mean()
        assert found == pytest.approx(ridge, rel=1e-3)


def test_the_stored_choices_are_the_best_of_their_candidates():
    assert SETTINGS["noise"] == NOISE and SETTINGS["candidates"] == {
        who: [list(setting) for setting in listed] for who, listed in candidates().items()}
    for who, listed in SETTINGS["candidates"].items():
        first = np.argsort([STORED[f"chosen/{who}/{i}"] for i in range(len(listed))])[:SETTINGS["finalists"]]
        finals = {i: np.mean([STORED[f"final/{who}/{i}/{seed}"] for seed in SETTINGS["final_seeds"]]) for i in first}
        best = listed[min(finals, key=lambda i: (np.isnan(finals[i]), finals[i]))]
        assert all(STORED[f"{who}/{seed}"]["setting"] == best for seed in SETTINGS["seeds"])
        found = seeds_interval(STORED, who, SETTINGS["seeds"])
        assert len(found) == len(SHOTS) and found[0].mean == pytest.approx(
            np.mean([STORED[f"{who}/{seed}"]["mean"][0] for seed in SETTINGS["seeds"]]))


@pytest.mark.parametrize("who, setting", [("process", ("small", 0.003)), ("MAML", (1, 0.02, 0.003))])
def test_a_short_training_learns_something(who, setting):
    learner = train(who, setting, 150, seed=0)
    table = losses(learner, replace(TASKS.tasks, dtype=np.float32), n_tasks=100)
    assert table.shape == (len(SHOTS), 1 if who == "process" else len(STEPS))
    assert table.min() < 4 and (who == "process" or isinstance(learner.model, MLP))
    assert who == "process" or (learner.model.sizes, learner.model.activation) == ((1, 40, 40, 1), "tanh")


def test_training_has_all_numbers_of_shots_but_the_largest():
    assert set(TASKS.shots) == set(SHOTS) - {max(SHOTS)}


@pytest.mark.parametrize("n, v", [(4, 1.0), (30, 0.3)])
def test_the_parts_of_the_bound_are_those_of_draws(n, v):
    """θ is drawn about the mean of the z_i, for many draws of these."""
    rng = np.random.default_rng(0)
    z = rng.normal(scale=np.sqrt(v), size=(100_000, n))
    centre, sd = z.mean(axis=1), np.sqrt(v / n)
    theta = rng.normal(centre, sd)
    cut = lambda z: np.minimum((z - theta) ** 2 / (CAP * v), 1).mean()
    divergence = (np.log(PRIOR_SD / sd) + (sd**2 + centre**2) / (2 * PRIOR_SD**2) - 0.5).mean()
    found = gibbs_bound(n, v)
    assert abs(found.training - cut(z[:, 0])) < 0.003
    assert abs(found.new - cut(rng.normal(scale=np.sqrt(v), size=len(z)))) < 0.003
    assert abs(found.divergence - divergence) < 0.001
    assert found.bound == pac_bayes(found.training, found.divergence, n, 0.05) and found.training < found.new < found.bound


def test_drawn_losses_are_those_of_single_tasks_and_their_means_known():
    n_tasks, shots = np.array([2, 5]), np.array([1, 4])
    found = drawn_losses(n_tasks, shots, 20_000)
    rng = np.random.default_rng(0)
    c, xi = (rng.normal(size=(20_000, 5)) for _ in range(2))
    for i, n in enumerate(n_tasks):
        for j, K in enumerate(shots):
            alpha = K / (K + 1)
            adapted = lambda start: start + alpha * (c[:, :n] + xi[:, :n] / np.sqrt(K) - start)
            start = (c - K * xi / np.sqrt(K))[:, :n].mean(axis=1, keepdims=True)  # the gradient of their mean loss is 0 there
            training = ((adapted(start) - c[:, :n]) ** 2 / 2).mean(axis=1)
            new = ((1 - alpha) ** 2 * (start[:, 0] ** 2 + 1) + alpha**2 / K) / 2
            np.testing.assert_allclose(found[:, i, j], [
                training.mean(), new.mean(), training.mean() + np.quantile(new - training, 0.95)])
            known = np.array([1 - 1 / n, 1 + 1 / n]) / (2 * (K + 1))
            np.testing.assert_allclose(found[:2, i, j], known, rtol=0.04)


def test_the_learned_plane_is_that_of_the_examples():
    spreads, counts = np.array([0.3, 1.0]), np.array([50, 400])
    found = learned_plane_error(4, spreads, counts, 2)
    expected = np.zeros((2, 2))
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x, z, xi = rng.normal(size=(400, 4)), rng.normal(size=(2, 400)), rng.normal(size=400)
        for i, j in np.ndindex(2, 2):
            y = z[0] * x[:, 0] + spreads[i] * z[1] * x[:, 1] + 0.5 * xi
            moment = sum(b**2 * np.outer(a, a) for a, b in zip(x[:counts[j]], y))
            plane = np.linalg.eigh(moment)[1][:, 2:]
            expected[i, j] += (2 - (plane[:2] ** 2).sum()) / 2
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_ends_takes_what_validated_best():
    np.testing.assert_array_equal(ends(np.array([[1, 2], [3, 4]]), np.array([[0.1, 0.2], [0.9, 0.3]])), [1, 4])


def test_a_support_set_twice_moves_ridge_and_not_least_squares():
    batch = Sinusoids(4, 3, noise=0.5).sample(np.random.default_rng(4), 6)
    twice = Batch(*(np.concatenate([v, v], axis=1) for v in (batch.x_support, batch.y_support)), batch.x_query, batch.y_query)
    np.testing.assert_allclose(wave_answers("least squares", twice), wave_answers("least squares", batch), rtol=1e-6)
    assert np.abs(wave_answers("ridge", twice) - wave_answers("ridge", batch)).max() > 0.01
