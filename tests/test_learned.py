"""The learned optimiser and its two gradients: against HIPS autograd, closed forms, and loops written out once more."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from conftest import ROOT
from metacalc import adam, finite_difference, gradient_descent, meta_train, studies
from metacalc.course.learned import NET, SIZE, bowls_of, choices, descend, fit_optimiser, regressions, score, tuned
from metacalc.learned import CoordinateNet, evolution, learned_optimiser, path_gradient
from metacalc.models import MLP, Quadratic, logistic_regression
from metacalc.tasks import Batch, Quadratics


def problem(seed=0, d=3, n_tasks=4, hidden=4):
    rng = np.random.default_rng(seed)
    net = CoordinateNet(hidden)
    theta = net.init(rng) + 0.2 * rng.normal(size=net.n_params)
    support, query = Quadratics(d).sample(rng, n_tasks), Quadratics(d, spread=2.0).sample(rng, n_tasks)
    return net, theta, Batch(support.x_support, support.y_support, query.x_support, query.y_support), rng.normal(size=d)


def directions(xp, theta, h, g, m, v, t):
    """The net of the docstring once more: direction and new means, for a list of three means."""
    W, b = theta[:4 * h].reshape((4, h)), theta[4 * h:5 * h]
    V, c = theta[5 * h:7 * h].reshape((h, 2)), theta[7 * h:]
    m = [decay * mean + (1 - decay) * g for decay, mean in zip((0.0, 0.5, 0.9), m)]
    v = 0.99 * v + 0.01 * g**2
    s = xp.sqrt(v / (1 - 0.99**t) + 1e-16)
    seen = [mean / (1 - decay**t) / s for decay, mean in zip((0.0, 0.5, 0.9), m)] + [xp.log(s)]
    hidden = xp.tanh(xp.stack(seen, axis=-1) @ W + b)
    out = hidden @ V + c
    return out[..., 0] * xp.exp(out[..., 1]), m, v


def task_loss(theta, h, A, c, B, b, start, k, alpha, state=None, first=0, count=None):
    """Mean query loss of one task over `count` of k steps from step `first` on, and where its state ends."""
    count = k if count is None else count
    phi, m, v = (start, [0 * start] * 3, 0 * start) if state is None else state
    total = 0.0
    for t in range(first + 1, first + count + 1):
        u, m, v = directions(anp, theta, h, A @ (phi - c), m, v, t)
        phi = phi - alpha * u
        total = total + (phi - b) @ B @ (phi - b) / 2 / k
    return total, (phi, m, v)


@pytest.mark.parametrize("k", [1, 2, 6])
def test_the_unrolled_gradient_agrees_with_hips_autograd(k):
    net, theta, batch, start = problem(k)
    tasks = list(zip(batch.x_support, batch.y_support, batch.x_query, batch.y_query))
    mean = lambda t: sum(task_loss(t, 4, *task, start, k, 0.2)[0] for task in tasks) / len(tasks)
    loss, gradient = learned_optimiser(Quadratic(3), theta, batch, net, start, k, 0.2)
    np.testing.assert_allclose(loss, mean(theta), rtol=1e-10)
    np.testing.assert_allclose(gradient, autograd.grad(mean)(theta), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("truncate", [1, 2, 3, 4, 7])
def test_no_derivative_passes_from_one_window_to_the_one_before(truncate):
    net, theta, batch, start = problem(1)
    k, expected = 7, 0.0
    for task in zip(batch.x_support, batch.y_support, batch.x_query, batch.y_query):
        state = None
        for first in range(0, k, truncate):
            count = min(truncate, k - first)
            window = lambda t: task_loss(t, 4, *task, start, k, 0.2, state, first, count)  # noqa: B023 (called at once)
            expected = expected + autograd.grad(lambda t: window(t)[0])(theta) / len(batch)
            state = window(theta)[1]
    gradient = learned_optimiser(Quadratic(3), theta, batch, net, start, k, 0.2, truncate=truncate)[1]
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("model", [logistic_regression(2), MLP((1, 3, 1), activation="tanh")], ids=repr)
def test_the_unrolled_gradient_is_that_of_finite_differences_on_other_models_and_tables(model):
    rng = np.random.default_rng(3)
    net, theta = CoordinateNet(3), CoordinateNet(3).init(rng)
    x, z = rng.normal(size=(3, 6, model.sizes[0])), rng.normal(size=(3, 4, model.sizes[0]))
    answers = (lambda s: rng.integers(0, 2, s.shape[:-1])) if model.criterion == "cross-entropy" else np.sin
    batch, start = Batch(x, answers(x), z, answers(z)), model.init(rng)
    table = np.stack([theta, 1.1 * theta])
    loss, gradient = learned_optimiser(model, table, batch, net, start, 5)
    numeric = finite_difference(lambda t: learned_optimiser(model, t, batch, net, start, 5)[0], table, h=1e-5)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-7)
    one = learned_optimiser(model, theta, batch, net, start, 5)
    np.testing.assert_allclose(loss[0], one[0])
    np.testing.assert_allclose(gradient[0], one[1], rtol=1e-10)


def test_the_rule_takes_the_path_that_the_gradient_belongs_to():
    net, theta, batch, _ = problem(2)
    alike = Batch(batch.x_support, batch.y_support, batch.x_support, batch.y_support)
    path = gradient_descent(lambda phi: Quadratic(3).grad(phi, batch.x_support, batch.y_support), np.zeros((4, 3)), 0.2, 6,
                            net.rule(theta))
    losses = Quadratic(3).loss(path, batch.x_support, batch.y_support)
    np.testing.assert_allclose(losses[1:].mean(), learned_optimiser(Quadratic(3), theta, alike, net, np.zeros(3), 6, 0.2)[0])
    single = gradient_descent(lambda phi: phi, np.array([2.0, -1.0]), 0.1, 4, net.rule(theta))
    for i, start in enumerate((2.0, -1.0)):
        np.testing.assert_allclose(gradient_descent(lambda phi: phi, start, 0.1, 4, net.rule(theta)), single[:, i])


def test_it_begins_near_adam():
    rng = np.random.default_rng(0)
    net, g = CoordinateNet(8), np.cumsum(rng.normal(size=(30, 50)), axis=0)
    mine, other = net.rule(net.init(rng)), adam(0.9, 0.99)
    memory, theirs = mine.init(g[0]), other.init(g[0])
    for row in g:
        u, memory = mine.update(row, memory, None)
        w, theirs = other.update(row, theirs, None)
    assert np.corrcoef(u, w)[0, 1] > 0.9 and 0.5 < np.abs(u).mean() / np.abs(w).mean() < 2


def test_meta_training_lowers_the_loss():
    net, tasks = CoordinateNet(4), Quadratics(3)
    start = net.init(np.random.default_rng(0))
    settings = dict(net=net, start=np.zeros(3), k=10)
    run = meta_train(learned_optimiser, Quadratic(3), tasks, 60, eta=0.02, theta0=start, progress=False, **settings)
    fresh = tasks.sample(np.random.default_rng(9), 100)
    before, after = (learned_optimiser(Quadratic(3), t, fresh, **settings)[0] for t in (start, run.theta))
    assert after < 0.6 * before and run.learner is None


# --- products of Jacobians --------------------------------------------------------------------------------------------

def test_path_gradient_agrees_with_the_closed_form_of_a_chaotic_descent():
    angle = np.linspace(0.1, 3.0, 7)
    path, by_start, _ = path_gradient(lambda p, a: p - a * (p**3 - p), lambda p, a: 1 - a * (3 * p**2 - 1),
                                      lambda p, a: p - p**3, np.sqrt(2) * np.cos(angle), 2.0, 9)
    for k in range(10):
        np.testing.assert_allclose(path[k], (-1) ** k * np.sqrt(2) * np.cos(3.0**k * angle), atol=1e-9)
        np.testing.assert_allclose(by_start[k], (-3.0) ** k * np.sin(3.0**k * angle) / np.sin(angle), atol=1e-8 * 9**k)


def test_path_gradient_agrees_with_finite_differences():
    maps = lambda p, a: p - a * np.sin(p), lambda p, a: 1 - a * np.cos(p), lambda p, a: -np.sin(p)
    starts, rates = np.array([[0.5], [1.0]]), np.array([0.3, 1.2, 2.5])
    path, by_start, by_rate = path_gradient(*maps, starts, rates, 5)
    assert path.shape == by_start.shape == by_rate.shape == (6, 2, 3)
    for moved, found in (((1e-6, 0.0), by_start), ((0.0, 1e-6), by_rate)):
        up, down = (path_gradient(*maps, starts + s * moved[0], rates + s * moved[1], 5)[0] for s in (1, -1))
        np.testing.assert_allclose(found, (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


# --- evolution strategies ---------------------------------------------------------------------------------------------

A, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -2.0])
bowl = lambda t: np.einsum("ni,ij,nj->n", t, A, t) / 2 + t @ b + 3


def test_evolution_has_the_mean_and_the_variance_of_the_theorem_on_a_quadratic():
    rng, theta, n = np.random.default_rng(0), np.array([0.4, 0.7]), 5
    found = [evolution(bowl, theta, 0.5, n, rng) for _ in range(4000)]
    gradient, tries = A @ theta + b, np.array([g for _, g in found])
    deviation = np.sqrt(3 * (gradient**2).sum() / n / 4000)
    assert np.abs(tries.mean(axis=0) - gradient).max() < 4 * deviation
    np.testing.assert_allclose(((tries - gradient) ** 2).sum(axis=1).mean(), 3 * (gradient**2).sum() / n, rtol=0.1)
    smooth = bowl(theta[None])[0] + 0.5**2 * np.trace(A) / 2
    assert abs(np.mean([value for value, _ in found]) - smooth) < 0.02


def test_independent_draws_agree_in_the_mean_only():
    rng, theta = np.random.default_rng(0), np.array([0.4, 0.7])
    tries = np.array([evolution(bowl, theta, 0.5, 20, rng, antithetic=False)[1] for _ in range(2000)])
    spread = tries.std(axis=0) / np.sqrt(2000)
    assert (np.abs(tries.mean(axis=0) - A @ theta - b) < 4 * spread).all()
    paired = np.array([evolution(bowl, theta, 0.5, 20, rng)[1] for _ in range(2000)])
    assert (tries.var(axis=0) > 2 * paired.var(axis=0)).all()


def test_evolution_differentiates_a_step():
    """F = 1 where θ > 0: F_σ is the normal distribution function, its slope at 0 the density 1/(σ√2π)."""
    _, gradient = evolution(lambda t: (t[:, 0] > 0).astype(float), [0.0], 0.5, 40_000, np.random.default_rng(0))
    np.testing.assert_allclose(gradient, [1 / (0.5 * np.sqrt(2 * np.pi))], rtol=0.03)


def test_evolution_is_fixed_by_its_seed_and_asks_for_pairs():
    seen = []
    first = evolution(lambda t: seen.append(t) or bowl(t), b, 0.1, 6, np.random.default_rng(3))
    again = evolution(bowl, b, 0.1, 6, np.random.default_rng(3))
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_allclose(seen[0][:6] + seen[0][6:], np.tile(2 * b, (6, 1)))


# --- arguments --------------------------------------------------------------------------------------------------------

NET_3, TWO = CoordinateNet(3), Quadratics(2).sample(np.random.default_rng(0), 2)
THETA = NET_3.init(np.random.default_rng(0))
GOOD = dict(model=Quadratic(2), theta=THETA, batch=TWO, net=NET_3, start=np.zeros(2))


@pytest.mark.parametrize("change, message", [
    (dict(net=None), "net must be a CoordinateNet"), (dict(batch=3), "batch must be a Batch"), (dict(k=0), "k must be"),
    (dict(theta=THETA[1:]), "theta must have a last axis of length 23"), (dict(theta=1.0), "theta must have"),
    (dict(start=np.zeros(3)), "start must have shape"), (dict(alpha=-1.0), "alpha must be"),
    (dict(truncate=0), "truncate must be a positive integer")])
def test_bad_arguments_of_the_learned_optimiser_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        learned_optimiser(**(GOOD | change))


@pytest.mark.parametrize("call, message", [
    (lambda: CoordinateNet(0), "n_hidden must be"), (lambda: NET_3.rule(np.stack([THETA, THETA])), "theta must be one vector"),
    (lambda: NET_3.init(0), "rng must be"),
    (lambda: path_gradient(1, abs, abs, 1.0, 1.0, 2), "step must be a function"),
    (lambda: path_gradient(abs, abs, 2, 1.0, 1.0, 2), "by_theta must be a function"),
    (lambda: path_gradient(abs, abs, abs, [1.0, 2.0], [1.0, 2.0, 3.0], 2), "does not broadcast"),
    (lambda: path_gradient(abs, abs, abs, 1.0, 1.0, -1), "k must be"),
    (lambda: evolution(bowl, [[1.0]], 0.1, 2, np.random.default_rng(0)), "theta must be one vector"),
    (lambda: evolution(3, [1.0], 0.1, 2, np.random.default_rng(0)), "f must be a function"),
    (lambda: evolution(bowl, b, 0.0, 2, np.random.default_rng(0)), "sigma must be"),
    (lambda: evolution(bowl, b, 0.1, 0, np.random.default_rng(0)), "n_pairs must be"),
    (lambda: evolution(bowl, b, 0.1, 2, 7), "rng must be"),
    (lambda: evolution(lambda t: t, b, 0.1, 2, np.random.default_rng(0)), "f must give a number for each of 4 rows")])
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the page's comparison --------------------------------------------------------------------------------------------

def test_the_rivals_are_tuned():
    batch = bowls_of().sample(np.random.default_rng(0), 20)
    found = tuned(Quadratic(10), batch, 10)
    assert set(found) == set(choices())
    for name, best in found.items():
        again = descend(Quadratic(10), batch, best.rule, best.eta, 10, best.falling)
        np.testing.assert_allclose(score(again).mean(), best.score)
        for factor in (0.5, 2.0):
            other = descend(Quadratic(10), batch, best.rule, factor * best.eta, 10, best.falling)
            assert score(other).mean() > best.score, name
        assert 0.01 < best.eta < 2.56


def test_a_falling_rate_falls_along_a_line_and_what_diverges_is_large_and_no_nan():
    batch = bowls_of().sample(np.random.default_rng(0), 2)
    rule = choices()["gradient descent"][0][1]
    phi, expected = np.zeros((2, 10)), []
    for t in range(4):
        phi = phi - 0.4 * (1 - t / 4) * Quadratic(10).grad(phi, batch.x_support, batch.y_support)
        expected.append(Quadratic(10).loss(phi, batch.x_support, batch.y_support))
    np.testing.assert_allclose(descend(Quadratic(10), batch, rule, 0.4, 4, True)[1:], expected)
    wild = descend(Quadratic(10), batch, rule, 1e9, 100)
    assert not np.isnan(wild).any() and wild[-1].min() > 1e100


def test_regressions_are_small_and_learnable():
    model, batch = regressions(np.random.default_rng(0), 30)
    assert model.n_params == 10 and batch.x_support.shape == (30, 30, 4) and set(np.unique(batch.y_support)) == {0, 1}
    losses = descend(model, batch, choices()["momentum"][2][1], 1.0, 60)
    assert np.allclose(losses[0], np.log(2)) and losses[-1].mean() < 0.4


def test_the_stored_optimisers_are_what_the_study_trains():
    _, stored = studies.load(ROOT / "chapters/results/learned.json")
    fresh = bowls_of().sample(np.random.default_rng(77), 50)
    for seed in range(1, 5):
        theta = np.array(stored[f"optimiser/{seed}"])
        assert score(descend(Quadratic(10), fresh, NET.rule(theta), SIZE)).mean() < 0.05
    run = fit_optimiser(1, n_iters=3)
    assert run.n_iters == 3 and run.losses[0] > run.losses[-1] * 0.5
