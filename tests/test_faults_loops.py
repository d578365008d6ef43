"""Right, or refused with the reason: loops, rules, models, tasks and checkpoints, reduced from public bug reports."""

import builtins
import json
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import sympy as sp

from conftest import NOT_OURS
from metacalc import (
    MLP,
    Batch,
    FewShotClassification,
    Learner,
    Quadratic,
    Quadratics,
    RatingTasks,
    Rule,
    Sinusoids,
    adam,
    adamw,
    adapt,
    anil,
    backtracking,
    clipped,
    convergence_factor,
    diverged,
    evaluate,
    finite_difference,
    fomaml,
    gradient_descent,
    maml,
    meta_sgd,
    meta_train,
    momentum,
    newton,
    rate_schedule,
    sgd,
    sharpness,
    with_rates,
)
from metacalc.course.gaussian import GaussianPrior, damped_offset
from metacalc.data.languages import folds
from metacalc.studies import interval
from metacalc.tasks import NextLetter, Pooled, nearest_mean

# --- descent and its rules --------------------------------------------------------------------------------------------


def test_a_number_s_run_is_an_array_s_run():
    for start in (1.0, [1.0], np.float32(1.0)):
        np.testing.assert_allclose(np.ravel(gradient_descent(lambda t: t**0.5, start, 1.5, 3)), [1, -0.5, np.nan, np.nan])
    for grad in (lambda t: t**-0.5, lambda t: (t - 2) ** 1.5, lambda t: 1 / t):
        one, many = gradient_descent(grad, 0.5, 0.7, 6), gradient_descent(grad, [0.5], 0.7, 6)[:, 0]
        np.testing.assert_allclose(one, many)


@pytest.mark.parametrize("dtype, size", [(np.float32, 1e19), (np.float32, 1e30), (np.float64, 1e154), (np.float64, 1e300)])
def test_sums_of_squares_that_overflow(dtype, size):
    long = np.array([3, 4], dtype) * dtype(size)
    for rule in (clipped(sgd(), 1.0), clipped(momentum(0.5), 1.0)):
        direction, _ = rule.update(long, rule.init(np.zeros(2, dtype)))
        np.testing.assert_allclose(direction, [0.6, 0.8], rtol=1e-6)
        assert direction.dtype == dtype
    table, _ = clipped(sgd(), 1.0).update(np.stack([long, [0.3, 0.4]]).astype(dtype), None)
    np.testing.assert_allclose(table, [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    rule, memory = adam(), adam().init(np.zeros(2, dtype))
    with np.errstate(all="ignore"):
        for _ in range(3):
            direction, memory = rule.update(long, memory)
        np.testing.assert_allclose(direction, 1, rtol=1e-5)
        for _ in range(2000):  # and it comes back to ordinary gradients
            direction, memory = rule.update(np.array([1, -1], dtype), memory)
    assert np.isfinite(direction).all()


def test_starts_of_a_function_of_a_number_are_clipped_one_by_one():
    rule = clipped(sgd(), 1.0)
    np.testing.assert_allclose(gradient_descent(lambda t: 2 * t, [30.0, 0.1], 0.1, 1, rule)[1], [29.9, 0.08])
    np.testing.assert_allclose(gradient_descent(lambda t: 2 * t, [[30.0], [0.1]], 0.1, 1, rule)[1], [[29.9], [0.08]])
    bowl = lambda t: t @ np.diag([2.0, 2.0])
    length = np.hypot(60, 0.2)
    np.testing.assert_allclose(gradient_descent(bowl, [30.0, 0.1], 0.1, 1, rule)[1], [30 - 6 / length, 0.1 - 0.02 / length])


def test_with_rate_0_theta_stays():
    path, rates = backtracking(np.log, lambda t: 1 / t, 1.0, 3)
    np.testing.assert_array_equal(path, [1, 0, 0, 0])
    np.testing.assert_array_equal(rates, [1, 0, 0])
    path, rates = backtracking(lambda t: t**2, lambda t: 2 * t, 0.0, 2)
    assert (path == 0).all() and (rates == 0).all()  # at an exact minimum no rate brings a decrease
    steps = gradient_descent(lambda t: 1 / (t - 1), 1.5, lambda t: [0.1, 0.0][t], 2)
    assert steps[1] == steps[2]
    run = meta_train(maml, Quadratic(1), Quadratics(), 5, eta=lambda t: 0.1 * (1 - t / 4), alpha=0.1, progress=False)
    assert run.n_iters == 5 and np.isfinite(run.theta).all()


def test_adamw_is_adam_and_a_pull_to_0():
    grad, decay = lambda t: 2 * (t - 3), 0.1
    found = gradient_descent(grad, [1.0, -2.0], 0.05, 40, adamw(decay, 0.8, 0.99))
    theta, m, v = np.array([1.0, -2.0]), 0, 0
    for t in range(1, 41):
        g = grad(theta)
        m, v = 0.8 * m + 0.2 * g, 0.99 * v + 0.01 * g**2
        theta = theta - 0.05 * (m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8) + decay * theta)
        np.testing.assert_allclose(found[t], theta)
    with pytest.raises(ValueError, match="^theta must"):
        adamw().update(1.0, adamw().init(1.0))
    with pytest.raises(ValueError, match="^weight_decay"):
        adamw(-1)
    np.testing.assert_allclose(
        gradient_descent(grad, 1.0, 0.05, 5, clipped(adamw(0.0), 1e9)), gradient_descent(grad, 1.0, 0.05, 5, adam())
    )


def test_rules_of_two_arguments_go_on_working():
    halved = Rule(lambda theta: None, lambda gradient, memory: (gradient / 2, memory))
    np.testing.assert_allclose(gradient_descent(lambda t: 2 * t, 1.0, 0.1, 2, halved), [1, 0.9, 0.81])
    assert meta_train(maml, Quadratic(1), Quadratics(), 2, rule=halved, alpha=0.1, progress=False).n_iters == 2


square = lambda t: 2 * t
BAD_LOOPS = [
    (lambda: gradient_descent(square, 1.0, 10**400, 3), "eta"),
    (lambda: gradient_descent(lambda t: [1j], [1.0], 0.1, 3), "grad must return"),
    (lambda: gradient_descent(square, 1.0, 0.1, 3, Rule(None, None)), "rule"),
    (lambda: gradient_descent(square, 1.0, 0.1, 3, Rule(lambda t: None, lambda g, m: g)), "rule"),
    (lambda: newton(square, None, 1.0, 3), "hess"),
    (lambda: newton(None, square, 1.0, 3), "grad"),
    (lambda: backtracking(None, square, 1.0, 3), "f "),
    (lambda: backtracking(lambda t: np.array([1.0]), square, 1.0, 3), "f must return"),
    (lambda: convergence_factor([0.1, 0.2], [0.1, 0.2, 0.3], [1.0, 2.0]), "eigenvalues"),
    (lambda: diverged(None), "path"),
    (lambda: diverged([1.0], limit=None), "limit"),
    (lambda: finite_difference(lambda t: t, []), "theta"),
    (lambda: finite_difference(3, [1.0]), "f "),
    (lambda: gradient_descent(lambda t: None, 1.0, 0.1, 3), "grad must return"),
    (lambda: gradient_descent(square, 1.0, lambda t: "a", 3), "eta"),
    (lambda: gradient_descent(square, np.ma.masked_array([1.0, 2.0], [0, 1]), 0.1, 3), "theta0"),
]


@pytest.mark.parametrize("call, name", BAD_LOOPS)
def test_bad_loops_are_refused(call, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        call()


def test_lists_and_exact_numbers_are_gradients_too():
    for rule in (None, momentum(), adam()):
        path = gradient_descent(lambda t: [2 * t[0], t[1]], [1.0, 2.0], 0.1, 3, rule)
        np.testing.assert_allclose(path, gradient_descent(lambda t: np.array([2.0, 1.0]) * t, [1.0, 2.0], 0.1, 3, rule))
    t = sp.Symbol("t")
    np.testing.assert_allclose(gradient_descent(lambda value: (2 * t).subs(t, value), 1.0, 0.1, 2), [1, 0.8, 0.64])


# --- models and tasks -------------------------------------------------------------------------------------------------

NET = MLP((1, 3, 1))
WAVES = Sinusoids(4, 4)
BATCH, THETA = WAVES.sample(np.random.default_rng(0), 3), NET.init(np.random.default_rng(0))
X, Y = BATCH.x_support, BATCH.y_support
CLASSES = FewShotClassification(np.eye(6).repeat(4, axis=0), np.arange(6).repeat(4), 3, 1, 2)
PRIOR = GaussianPrior([3.0, 4.0], [[1.0, 0.5], [0.5, 1.0]], 1.0)
RATINGS = np.arange(24.0).reshape(4, 6)

BAD_MODELS = [
    (lambda: MLP((1, 2, 1), activation=[]), "activation"),
    (lambda: MLP((1, 2, 1), criterion={}), "criterion"),
    (lambda: MLP("ab"), "sizes"),
    (lambda: NET.loss("a", X, Y), "theta"),
    (lambda: NET.loss(None, X, Y), "theta"),
    (lambda: NET.loss(THETA + 1j, X, Y), "theta"),
    (lambda: NET.loss([[1, 2], [3]], X, Y), "theta"),
    (lambda: NET.hvp(THETA, "v", X, Y), "v"),
    (lambda: NET.hvp(THETA, None, X, Y), "v"),
    (lambda: NET.hvp(THETA, THETA * 1j, X, Y), "v"),
    (lambda: NET.grad(THETA, X, "y"), "y"),
    (lambda: NET.grad(THETA, X, None), "y"),
    (lambda: NET.grad(THETA, X * 1j, Y), "x"),
    (lambda: sharpness(NET, THETA, X, Y, only=70), "only"),
    (lambda: NET.with_new_head(THETA[:2], 2), "theta"),
    (lambda: NET.init(np.random.default_rng(0), int), "dtype"),
    (lambda: NET.init(np.random.RandomState(0)), "rng"),
    (lambda: NET.init(0), "rng"),
    (lambda: maml(None, THETA, BATCH, 0.1), "model"),
    (lambda: maml(NET, THETA, None, 0.1), "batch"),
    (lambda: maml(NET, THETA + 1j, BATCH, 0.1), "theta"),
    (lambda: with_rates([1.0, 2.0], [0.1, 0.2, 0.3]), "alpha"),
    (lambda: with_rates("ab", 0.1), "theta"),
    (lambda: with_rates([1.0], None), "alpha"),
    (lambda: with_rates([1j], 0.1), "theta"),
    (lambda: rate_schedule(Quadratic(1), [0.1], None, [1.0]), "batch"),
    (lambda: rate_schedule(Quadratic(1), [0.1 + 1j], BATCH, [1.0]), "theta"),
    (lambda: BATCH["a"], "tasks"),
    (lambda: BATCH[7], "tasks"),
    (lambda: BATCH[0], "tasks"),
    (lambda: Batch(X * 1j, Y, X, Y), "x_support"),
    (lambda: Batch(X, Y, X, np.full(Y.shape, "a")), "y_query"),
    (lambda: CLASSES.sample(0, 3), "rng"),
    (lambda: Pooled(np.eye(4), np.arange(4)).sample(None, 2), "rng"),
    (lambda: RatingTasks(RATINGS, 2, 2).sample(0, 2), "rng"),
    (lambda: NextLetter({"a": ["bcdefgh", "cdefghi", "defghij", "efghijk"]}, 1, 1).sample(None, 2), "rng"),
    (lambda: WAVES.sample(np.random.RandomState(0), 2), "rng"),
    (lambda: Sinusoids(amplitude=("a", "b")), "amplitude"),
    (lambda: Sinusoids(amplitude=("0", "1")), "amplitude"),
    (lambda: Quadratics(curvature=("1", "2")), "curvature"),
    (lambda: Sinusoids(dtype="x"), "dtype"),
    (
        lambda: FewShotClassification(
            np.eye(6).repeat(4, axis=0), np.where(np.arange(24) < 4, np.nan, np.arange(24) // 4), 3, 1, 2
        ),
        "labels",
    ),
    (lambda: CLASSES.with_shots(10**4), "k_shots"),
    (lambda: RatingTasks(RATINGS, 2, 2).split([-1]), "test_people"),
    (lambda: nearest_mean([[[0.0], [2.0]]], [[0, 2]], [[[3.0]]]), "y_support"),
    (lambda: damped_offset([3.0, 4.0], 1.0, [[1.7]], [[5.0]]), "items"),
    (lambda: damped_offset([3.0, 4.0], 1.0, [[-1]], [[5.0]]), "items"),
    (lambda: damped_offset([3.0, 4.0], 1.0, [[0, 0]], [[5.0, 4.0]]), "items"),
    (lambda: damped_offset([3.0, 4.0], 1.0, [[0]], [[5.0, 4.0]]), "y"),
    (lambda: PRIOR.log_likelihood([[1.0]]), "ratings"),
    (lambda: GaussianPrior.fit([[np.inf, 1]]), "ratings"),
    (lambda: GaussianPrior.fit(np.zeros((0, 2))), "ratings"),
    (lambda: folds(seed=None), "seed"),
    (lambda: interval(np.ma.masked_array([1.0, 2.0, 3.0], [0, 0, 1])), "values"),
]


@pytest.mark.parametrize("call, name", BAD_MODELS)
@pytest.mark.filterwarnings("error", *NOT_OURS)
def test_bad_models_and_tasks_are_refused(call, name):
    with pytest.raises(ValueError, match=f"^({name})"):
        call()


def test_odd_but_right():
    assert interval([1, 3]).mean == 2 and len(BATCH[:2]) == 2 == len(BATCH[[0, 2]])
    flat = sharpness(Quadratic(2), np.zeros(2), np.zeros((1, 2, 2)), np.zeros((1, 2)))
    assert flat == 0
    np.testing.assert_allclose(NET.unflatten(list(THETA))[0][0], NET.unflatten(THETA)[0][0])
    half = maml(NET, THETA.astype(np.float16), BATCH, 0.01)[1]
    np.testing.assert_allclose(half, maml(NET, THETA, BATCH, 0.01)[1], rtol=0.1, atol=0.1)
    np.testing.assert_allclose(maml(NET, THETA.astype(">f8"), BATCH, 0.01)[1], maml(NET, THETA, BATCH, 0.01)[1], rtol=1e-9)
    np.testing.assert_array_equal(
        GaussianPrior([0, 0, 0.0], [[4, 0, 0], [0, 3, 2.9], [0, 2.9, 3]], 10).best_questions(range(3), 1), [0]
    )


# --- learners -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, settings",
    [(maml, {"alpha": 0.02, "k": 2}), (fomaml, {"alpha": 0.02}), (anil, {"alpha": 0.05, "k": 2}), (meta_sgd, {})],
)
def test_what_a_run_gives_evaluates_as_the_method_adapts(method, settings):
    run = meta_train(partial(method, **settings), NET, WAVES, 30, seed=1, progress=False)
    found = evaluate(run.learner, WAVES, steps=(0, 3), n_tasks=40, seed=5)
    batch = WAVES.sample(np.random.default_rng(5), 40)
    theta, rate = run.theta[:10], settings.get("alpha", run.theta[10:])
    only = NET.head if method is anil else slice(None)
    phi = np.tile(theta, (40, 1))
    for _ in range(3):
        step = np.zeros_like(phi)
        step[:, only] = (rate * NET.grad(phi, batch.x_support, batch.y_support))[:, only]
        phi = phi - step
    np.testing.assert_allclose(
        found.mean, [NET.loss(theta, batch.x_query, batch.y_query).mean(), NET.loss(phi, batch.x_query, batch.y_query).mean()]
    )
    in_settings = meta_train(method, NET, WAVES, 30, seed=1, progress=False, **settings)
    np.testing.assert_array_equal(in_settings.theta, run.theta)


def test_a_learner_without_a_rate_says_so():
    with pytest.raises(ValueError, match="^alpha must be given"):
        evaluate(Learner(NET, THETA), WAVES, n_tasks=10)
    assert evaluate(Learner(NET, THETA), WAVES, steps=(0,), n_tasks=10).mean.shape == (1,)
    for wrong in (NET, THETA, None, meta_train(maml, NET, WAVES, 1, alpha=0.1, progress=False)):
        with pytest.raises(ValueError, match="^learner must be"):
            evaluate(wrong, WAVES)
    np.testing.assert_array_equal(adapt(NET, THETA, X, Y, 0.1, 2), Learner(NET, THETA, 0.1).adapt(X, Y, 2))


# --- runs and their checkpoints -----------------------------------------------------------------------------------------

RUN = dict(method=partial(maml, alpha=0.1), model=Quadratic(2), tasks=Quadratics(2), n_iters=6, n_tasks=3, progress=False)
BAD_RUNS = [
    (dict(method=3), "method"),
    (dict(model=None), "model"),
    (dict(tasks=None), "tasks"),
    (dict(callback=3), "callback"),
    (dict(checkpoint=3), "checkpoint"),
    (dict(checkpoint=""), "checkpoint"),
    (dict(callback=lambda *_: np.zeros(2)), "callback"),
    (dict(checkpoint="/"), "checkpoint"),
    (dict(eta=lambda t: -1.0), "eta"),
    (dict(theta0=np.ma.masked_array([1.0, 2.0], [1, 0])), "theta0"),
]


@pytest.mark.parametrize("change, name", BAD_RUNS)
def test_bad_runs_are_refused(change, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        meta_train(**RUN | change)


def test_a_disk_that_is_full_loses_nothing_of_what_was_trained(tmp_path, monkeypatch):
    whole = meta_train(**RUN)
    real = builtins.open

    def full(path, mode="r", *args, **kwargs):
        if "w" in mode and str(path).startswith(str(tmp_path)) and ready:
            raise OSError(28, "No space left on device")
        return real(path, mode, *args, **kwargs)

    ready = []
    monkeypatch.setattr(builtins, "open", full)
    with pytest.warns(UserWarning, match="could not be written") as said:
        run = meta_train(
            **RUN | dict(checkpoint=tmp_path / "run.npz", checkpoint_every=1, callback=lambda t, *_: ready.append(t) and None)
        )
    assert len(said) == 1 and run.n_iters == 6
    np.testing.assert_array_equal(run.theta, whole.theta)
    ready.clear()
    assert meta_train(**RUN | dict(checkpoint=tmp_path / "run.npz")).n_iters == 6


def test_a_folder_that_is_read_only_is_noticed_before_the_run(tmp_path, monkeypatch):
    def no(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", no)
    seen = []
    with pytest.raises(ValueError, match="^checkpoint must lie where files can be written"):
        meta_train(**RUN | dict(checkpoint=tmp_path / "run.npz", callback=lambda *_: seen.append(1)))
    assert not seen


def test_what_counts_as_the_same_run(tmp_path):
    path = tmp_path / "run.npz"

    class Own:
        def __init__(self, spread):
            self.spread = spread

        def sample(self, rng, n_tasks):
            return Quadratics(2, spread=self.spread).sample(rng, n_tasks)

    class Schedule:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, t):
            return self.rate / (t + 1)

    table, box = np.array([0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]), {"rate": 0.1}
    same = [
        (dict(method=maml, alpha=0.1), dict(method=maml, alpha=np.float64(0.1), k=1)),
        (dict(tasks=Own(1.0)), dict(tasks=Own(1.0))),
        (dict(eta=Schedule(0.1)), dict(eta=Schedule(0.1))),
        (dict(eta=np.float64(0.05)), dict(eta=0.05)),
        (dict(method=partial(maml, alpha=0.1)), dict(method=maml, alpha=0.1)),
    ]
    for one, other in same:
        path.unlink(missing_ok=True)
        meta_train(**RUN | dict(checkpoint=path, n_iters=3) | one)
        assert meta_train(**RUN | dict(checkpoint=path) | other).n_iters == 6
    apart = [
        (dict(tasks=Own(1.0)), dict(tasks=Own(2.0))),
        (dict(eta=Schedule(0.1)), dict(eta=Schedule(0.2))),
        (dict(eta=lambda t: table[t]), dict(eta=lambda t: (2 * table)[t])),
        (dict(eta=lambda t, r=0.1: r), dict(eta=lambda t, r=0.2: r)),
        (dict(method=partial(maml, alpha=0.1)), dict(method=partial(maml, alpha=0.2))),
    ]
    for one, other in apart:
        path.unlink(missing_ok=True)
        meta_train(**RUN | dict(checkpoint=path, n_iters=3) | one)
        with pytest.raises(ValueError, match="^checkpoint .* belongs to another run"):
            meta_train(**RUN | dict(checkpoint=path) | other)
    path.unlink()
    schedule = lambda t: box["rate"]
    meta_train(**RUN | dict(checkpoint=path, n_iters=3, eta=schedule))
    box["rate"] = 0.5
    with pytest.raises(ValueError, match="another run"):
        meta_train(**RUN | dict(checkpoint=path, eta=schedule))


def test_other_checkpoints_are_refused_in_words(tmp_path):
    path = tmp_path / "run.npz"
    meta_train(**RUN | dict(checkpoint=path))
    with pytest.raises(ValueError, match="^n_iters must be at least 6"):
        meta_train(**RUN | dict(checkpoint=path, n_iters=4))
    with np.load(path) as saved:
        parts = dict(saved)
    head = json.loads(str(parts["head"]))
    old = {key: value for key, value in head.items() if key != "format"} | {"run": '["maml(...)"]'}
    np.savez(path, **parts | {"head": json.dumps(old)})
    with pytest.raises(ValueError, match="earlier version of metacalc"):
        meta_train(**RUN | dict(checkpoint=path))
    for spoiled in (
        {"theta": np.array(["a", "b"])},
        {"means": np.array([[1.0]])},
        {"memory0": np.zeros(5)},
        {"theta": np.zeros(3)},
    ):
        np.savez(path, **parts | spoiled)
        with pytest.raises(ValueError, match="^checkpoint .* cannot be read"):
            meta_train(**RUN | dict(checkpoint=path))
    for change in ({"rng": {"bit_generator": "MT19937"}}, {"trace": [1]}, {"trace": ["a", 0.0, 0]}, {"t": 10**9}):
        np.savez(path, **parts | {"head": json.dumps(head | change)})
        with pytest.raises(ValueError, match="^checkpoint .* cannot be read"):
            meta_train(**RUN | dict(checkpoint=path))
    for key in parts:
        np.savez(path, **{k: v for k, v in parts.items() if k != key})
        with pytest.raises(ValueError, match="^checkpoint .* cannot be read"):
            meta_train(**RUN | dict(checkpoint=path))


def test_two_runs_may_write_to_one_checkpoint(tmp_path):
    failures = []

    def run():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                meta_train(**RUN | dict(n_iters=60, checkpoint=tmp_path / "run.npz", checkpoint_every=1))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert not [f for f in failures if not isinstance(f, ValueError)], failures
    assert not list(tmp_path.glob("*.part"))


def test_a_callback_that_writes_to_theta_changes_nothing():
    def scribble(t, loss, theta):
        theta[:] = 0

    np.testing.assert_array_equal(meta_train(**RUN | dict(callback=scribble)).theta, meta_train(**RUN).theta)


def test_evaluation_counts_as_it_says():
    class Three:
        def sample(self, rng, n_tasks):
            return Batch(
                np.ones((3, 1, 1)), np.array([[1.0], [3.0], [1e3]]), np.ones((3, 1, 1)), np.array([[1.0], [3.0], [1e3]])
            )

    found = evaluate(Learner(Quadratic(1), [0.0], 0.5), Three(), steps=(0,), n_tasks=3, limit=100.0)
    losses = np.array([0.5, 4.5])
    np.testing.assert_allclose(
        [found.mean[0], found.ci[0], found.diverged[0]], [losses.mean(), 1.96 * losses.std(ddof=1) / np.sqrt(2), 1 / 3]
    )
    assert evaluate(Learner(Quadratic(1), [0.0], 0.5), Three(), steps=(0,), n_tasks=3, limit=0.5).diverged[0] == pytest.approx(
        2 / 3
    )
    with pytest.raises(ValueError, match="^metric must be 'loss'"):
        evaluate(Learner(NET, THETA, 0.1), WAVES, metric="accuracy", n_tasks=10)
