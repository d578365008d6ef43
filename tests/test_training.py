"""The loop around the meta-learners: its sum over tasks, interrupts, checkpoints, evaluation."""

import json
import multiprocessing
import os
import signal
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from conftest import NOT_OURS, optional
from metacalc import adam, clipped, momentum, nesterov, sgd, training
from metacalc.checkpoint import described
from metacalc.meta import Learner, adapt, fomaml, imaml, joint, maml, meta_sgd, rate_schedule, reptile, with_rates
from metacalc.models import MLP, Quadratic, logistic_regression
from metacalc.tasks import Batch, FewShotClassification, Quadratics, Sinusoids
from metacalc.training import evaluate, in_parallel, meta_train
from test_meta import NETS, close, problem

# --- the sum over tasks, elsewhere ------------------------------------------------------------------------------------

ARGUMENTS = dict(method=maml, model=MLP((1, 8, 1)), tasks=Sinusoids(), n_iters=12, n_tasks=5, progress=False,
                 alpha=0.01)


@pytest.mark.parametrize("method, extra", [(maml, dict(alpha=0.1)), (meta_sgd, {}), (joint, {})])
def test_threads_give_the_serial_result(method, extra):
    model = NETS[1]
    theta, batch = problem(model, n_tasks=7)
    theta = with_rates(theta, 0.1) if method is meta_sgd else theta
    with ThreadPoolExecutor(3) as pool:
        for n_chunks in (1, 3, 20):
            loss, gradient = in_parallel(method, pool, n_chunks)(model, theta, batch, *extra.values())
            np.testing.assert_array_equal(gradient, in_parallel(method, pool, n_chunks)(model, theta, batch, **extra)[1])
            close(loss, method(model, theta, batch, **extra)[0])
            close(gradient, method(model, theta, batch, **extra)[1])


def test_processes_give_the_serial_result_even_if_they_are_killed():
    serial = meta_train(**ARGUMENTS)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        close(meta_train(**ARGUMENTS, executor=pool).theta, serial.theta)

        def kill(iteration, loss, theta):
            if iteration == 4:
                for pid in list(pool._processes):  # all: the last one could do all that is left before the loss is noticed
                    os.kill(pid, signal.SIGKILL)

        with pytest.warns(UserWarning, match="a worker of .* was lost"):
            close(meta_train(**ARGUMENTS, executor=pool, callback=kill).theta, serial.theta)


def test_dask_gives_the_serial_result_even_if_a_worker_is_killed():
    distributed = optional("distributed")
    serial = meta_train(**ARGUMENTS)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        with client.get_executor() as pool:
            close(meta_train(**ARGUMENTS, executor=pool).theta, serial.theta)

            def kill(iteration, loss, theta):
                if iteration == 4:
                    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

            close(meta_train(**ARGUMENTS, executor=pool, callback=kill).theta, serial.theta)


def test_a_pool_that_takes_no_work_is_named_with_its_own_error():
    batch = Quadratics().sample(np.random.default_rng(0), 4)
    with ThreadPoolExecutor(2) as pool:
        pool.shutdown()
        with pytest.warns(UserWarning, match="cannot schedule new futures"):
            close(in_parallel(maml, pool)(Quadratic(1), np.ones(1), batch, alpha=0.1)[1],
                  maml(Quadratic(1), np.ones(1), batch, alpha=0.1)[1])


def test_an_error_of_the_method_is_not_taken_for_a_lost_worker():
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="^alpha must be positive"):
        in_parallel(maml, pool)(Quadratic(1), np.ones(1), Quadratics().sample(np.random.default_rng(0), 4), alpha=-1)


# --- the loop ---------------------------------------------------------------------------------------------------------

QUICK = dict(method=maml, model=Quadratic(2), tasks=Quadratics(2), n_tasks=3, progress=False, alpha=0.1)


def same(one, other):
    assert one.n_iters == other.n_iters and one.block == other.block
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(one.losses, other.losses)


def test_the_loop_is_the_loop():
    rng = np.random.default_rng(5)
    theta = Quadratic(2).init(rng)
    rule, losses = momentum(0.5), []
    memory = rule.init(theta)
    for t in range(7):
        loss, gradient = maml(Quadratic(2), theta, Quadratics(2).sample(rng, 3), 0.1)
        direction, memory = rule.update(gradient, memory)
        theta = theta - 0.1 / (t + 1) * direction
        losses.append(loss)
    run = meta_train(**QUICK, n_iters=7, seed=5, eta=lambda t: 0.1 / (t + 1), rule=momentum(0.5))
    np.testing.assert_array_equal(run.theta, theta)
    np.testing.assert_array_equal(run.losses, losses)
    assert (run.n_iters, run.block, run.interrupted) == (7, 1, False)


@pytest.mark.parametrize("method, extra", [
    (maml, dict(alpha=0.3)), (fomaml, dict(alpha=0.3)), (reptile, dict(alpha=0.3, k=3)), (joint, {}),
    (imaml, dict(alpha=0.3, k=30, lam=1.0))])
@pytest.mark.parametrize("rule", [sgd(), momentum(), nesterov(), adam()], ids=["sgd", "momentum", "nesterov", "adam"])
def test_training_finds_the_minimum_with_every_rule(method, extra, rule):
    """Two tasks, drawn as often: the minimum is the weighted mean that the closed form gives."""
    class Two:
        def sample(self, rng, n_tasks):
            a, c = np.array([[[1.0]], [[3.0]]]), np.array([[0.0], [1.0]])
            return Batch(a, c, a, c)

    run = meta_train(method, Quadratic(1), Two(), 600, eta=lambda t: 0.3 * 0.99**t, rule=rule, progress=False, **extra)
    a, k = np.array([1.0, 3.0]), extra.get("k", 1)
    w = {maml: a * (1 - 0.3 * a) ** 2, fomaml: a * (1 - 0.3 * a), reptile: 1 - (1 - 0.3 * a) ** k, joint: a,
         imaml: a / (a + 1) ** 2}[method]
    assert run.theta[0] == pytest.approx(w[1] / w.sum(), abs=1e-3)


def test_same_seed_same_result_and_another_seed_another():
    same(meta_train(**QUICK, n_iters=20, seed=3), meta_train(**QUICK, n_iters=20, seed=3))
    assert (meta_train(**QUICK, n_iters=20, seed=3).theta != meta_train(**QUICK, n_iters=20, seed=4).theta).all()


@pytest.mark.parametrize("rule", [sgd(), momentum(), adam()], ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("stop", [1, 10, 13, 29])
def test_a_run_that_was_interrupted_resumes_to_the_identical_result(tmp_path, rule, stop):
    whole = meta_train(**QUICK, n_iters=30, rule=rule)

    def interrupt(iteration, loss, theta):
        if iteration == stop - 1:
            raise KeyboardInterrupt

    options = dict(QUICK, n_iters=30, rule=rule, checkpoint=tmp_path / "run.npz", checkpoint_every=10)
    part = meta_train(**options, callback=interrupt)
    assert part.interrupted and part.n_iters == len(part.losses) == stop
    same(meta_train(**options), whole)
    same(meta_train(**options), whole)      # finished: nothing left to do
    same(meta_train(**dict(options, n_iters=45)), meta_train(**QUICK, n_iters=45, rule=rule))
    assert os.listdir(tmp_path) == ["run.npz"]


def test_a_run_that_was_killed_resumes_from_its_last_checkpoint(tmp_path):
    options = dict(QUICK, n_iters=30, checkpoint=tmp_path / "run.npz", checkpoint_every=10)

    def fail(iteration, loss, theta):
        if iteration == 17:
            raise MemoryError

    with pytest.raises(MemoryError):
        meta_train(**options, callback=fail)
    reached = []
    same(meta_train(**options, callback=lambda t, *_: reached.append(t)), meta_train(**QUICK, n_iters=30))
    assert reached == list(range(10, 30))


@pytest.fixture
def default_ctrl_c():
    """A shell starts what it runs in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_the_middle_of_an_iteration_returns_what_was_reached(tmp_path, default_ctrl_c):
    calls = []

    def slow(*arguments, **settings):
        calls.append(1)
        if len(calls) == 6:
            signal.raise_signal(signal.SIGINT)  # after the tasks of this iteration were drawn
        return maml(*arguments, **settings)

    options = dict(QUICK, method=slow, n_iters=20, checkpoint=tmp_path / "run.npz")
    part = meta_train(**options)
    assert part.interrupted and part.n_iters == 5
    np.testing.assert_array_equal(part.theta, meta_train(**QUICK, n_iters=5).theta)
    same(meta_train(**options), meta_train(**QUICK, n_iters=20))


def test_one_thread_is_asked_of_linear_algebra_while_it_lasts(monkeypatch):
    asked = []

    class Controller:
        @contextmanager
        def limit(self, **settings):
            asked.append(settings)
            yield
            asked.append("over")

    monkeypatch.setattr(training, "_linear_algebra", Controller)
    with training.one_thread():
        assert asked == [{"limits": 1, "user_api": "blas"}]
    assert asked[1:] == ["over"]
    monkeypatch.setattr(training, "_linear_algebra", lambda: None)
    with training.one_thread():  # without threadpoolctl
        assert len(asked) == 2


def test_a_run_whose_theta_is_none_of_the_model_s_has_no_learner():
    arguments = dict(model=Quadratic(1), tasks=Quadratics(1), n_iters=2, progress=False)
    assert meta_train(rate_schedule, theta0=[0.1, 0.2], start=[1.0], **arguments).learner is None
    assert meta_train(maml, alpha=0.1, **arguments).learner.alpha == 0.1


def test_what_a_function_was_given_is_described_and_ends():
    def again(t):
        return again

    assert described(again) == described(again) != described(lambda t: 0.1)
    assert described(lambda t: 0.1) == described(lambda t: 0.1) != described(lambda t: 0.2)
    assert described({"b": 1, "a": [0.5, None]}) == {"a": [0.5, None], "b": 1}


def test_the_callback_sees_every_iteration_and_can_end_the_run():
    seen = []
    run = meta_train(**QUICK, n_iters=50, callback=lambda t, loss, theta: seen.append((t, loss, theta)) or t == 7)
    assert [t for t, *_ in seen] == list(range(8)) and run.n_iters == 8 and not run.interrupted
    np.testing.assert_array_equal([loss for _, loss, _ in seen], run.losses)
    np.testing.assert_array_equal(seen[-1][2], run.theta)


def test_the_trace_is_bounded_and_keeps_the_means():
    every = []
    run = meta_train(**QUICK, n_iters=3000, callback=lambda t, loss, theta: every.append(loss) and None)
    assert len(run.losses) <= 512 and run.block == 8
    whole = np.array(every[:len(run.losses) * run.block]).reshape(-1, run.block)
    np.testing.assert_allclose(run.losses, whole.mean(axis=1))


def test_memory_does_not_grow_with_the_length_of_a_run():
    """The loop's own: drawing tasks and working out gradients, which is slow when watched, is left out."""
    class Nothing:
        def sample(self, rng, n_tasks):
            return None

    def still(model, theta, batch):
        return theta @ theta, 0 * theta

    peaks = []
    for n_iters in (1000, 4000):
        tracemalloc.start()
        assert meta_train(still, Quadratic(2), Nothing(), n_iters, progress=False).n_iters == n_iters
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20_000  # 3,000 numbers kept would be 24,000 bytes or more


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    meta_train(**QUICK, n_iters=5, checkpoint=path)
    for change in (dict(seed=1), dict(alpha=0.2), dict(method=fomaml), dict(tasks=Quadratics(2, spread=3.0)),
                   dict(n_tasks=4), dict(rule=sgd()), dict(eta=0.5), dict(theta0=[1.0, 2.0]), dict(k=2)):
        with pytest.raises(ValueError, match="^checkpoint .* (another run|cannot be read)"):
            meta_train(**QUICK | dict(n_iters=5, checkpoint=path) | change)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="^checkpoint .* cannot be read"):
        meta_train(**QUICK, n_iters=5, checkpoint=path)


def test_training_learns_sinusoids_and_beats_joint_training():
    model, tasks = MLP((1, 40, 40, 1)), Sinusoids(dtype=np.float32)
    runs = {method: meta_train(method, model, tasks, 1500, eta=3e-3, dtype=np.float32, progress=False, **extra).theta
            for method, extra in ((maml, dict(alpha=0.01)), (joint, {}))}
    assert runs[maml].dtype == np.float32
    meta, pre = (evaluate(Learner(model, runs[m], 0.01), tasks, steps=(0, 1, 5), n_tasks=200) for m in (maml, joint))
    assert meta.mean[1] < 0.6 * meta.mean[0] and meta.mean[1] < 0.6 * pre.mean[1]


# --- evaluation -------------------------------------------------------------------------------------------------------

def test_evaluation_is_what_it_says():
    model, tasks = NETS[1], Sinusoids()
    theta = model.init(np.random.default_rng(0))
    result = evaluate(Learner(model, theta, 0.05), tasks, steps=(0, 3), shots=(4, 8), n_tasks=50, seed=7)
    assert result.steps == (0, 3) and result.shots == (4, 8)
    batch = Sinusoids(k_shots=8).sample(np.random.default_rng(7), 50)
    phi = adapt(model, theta, batch.x_support, batch.y_support, 0.05, 3)
    for column, s in enumerate((0, 3)):
        losses = model.loss(phi[s], batch.x_query, batch.y_query)
        close(result.mean[1, column], losses.mean())
        close(result.ci[1, column], 1.96 * losses.std(ddof=1) / np.sqrt(50))
        close(result.median[1, column], np.median(losses))
    assert (result.diverged == 0).all()
    same_tasks = evaluate(Learner(model, theta, 0.05), tasks.with_shots(8), steps=(0, 3), n_tasks=50, seed=7)
    np.testing.assert_array_equal(same_tasks.mean, result.mean[1])


def test_diverged_tasks_are_counted_and_kept_out_of_the_mean(recwarn):
    class Three:
        def sample(self, rng, n_tasks):
            a, c = np.array([0.5, 0.5, 50.0]).reshape(3, 1, 1), np.array([[1.0], [3.0], [1.0]])
            return Batch(a, c, a, c)

    result = evaluate(Learner(Quadratic(1), [0.0], 1.0), Three(), steps=(1, 400), n_tasks=3)
    np.testing.assert_allclose(result.diverged, [1 / 3, 1 / 3])        # 50 · 49²/2 at once, then infinite
    close(result.mean[0], (0.25 * 0.25 + 0.25 * 2.25) / 2)
    close(result.median, [0.25 * 2.25, 0.25 * 9 * 0.25**400])
    assert not recwarn.list


def test_accuracy_and_only_and_learned_rates():
    x = np.repeat(np.eye(6) * 4, 10, axis=0)
    tasks = FewShotClassification(x, np.repeat(np.arange(6), 10), n_way=3, k_shots=2, n_query=3)
    model = logistic_regression(6, 3)
    theta = np.zeros(model.n_params)
    result = evaluate(Learner(model, theta, 0.5), tasks, steps=(0, 20), shots=(1, 5), n_tasks=40, metric="accuracy")
    assert result.mean.shape == (2, 2) and (result.mean[:, 1] == 1).all() and (result.mean[:, 0] == 1 / 3).all()
    noisy = FewShotClassification(x + np.random.default_rng(2).normal(scale=2, size=x.shape), tasks.labels, 3, 2, 3)
    result = evaluate(Learner(model, theta, 0.5), noisy, steps=(20,), n_tasks=40, seed=3, metric="accuracy")
    batch = noisy.sample(np.random.default_rng(3), 40)
    phi = adapt(model, theta, batch.x_support, batch.y_support, 0.5, 20)[-1]
    right = model.predict(phi, batch.x_query).argmax(-1) == batch.y_query
    assert 0.5 < result.mean[0] < 1
    close(result.mean, [right.mean()])
    close(result.ci, [1.96 * right.mean(axis=1).std(ddof=1) / np.sqrt(40)])
    net = NETS[1]
    theta, _ = problem(net)
    head = evaluate(Learner(net, theta, 0.1, only=net.head), Sinusoids(), steps=(0, 2), n_tasks=20)
    rates = np.zeros(net.n_params)
    rates[net.head] = 0.1
    np.testing.assert_array_equal(
        evaluate(Learner(net, np.concatenate([theta, rates])), Sinusoids(), steps=(0, 2), n_tasks=20).mean, head.mean)
    assert head.mean[1] != evaluate(Learner(net, theta, 0.1), Sinusoids(), steps=(0, 2), n_tasks=20).mean[1]


@pytest.mark.slow
def test_maml_reaches_the_papers_numbers_on_sinusoids():
    """Finn, Abbeel & Levine 2017, table 2 and section 5.1: 0.67, 0.38 and 0.35 after 1, 5 and 10 steps on 5 points.

    A few tasks on the brink of divergence dominate the mean, and their number goes up and down along a run. So θ is
    chosen on validation tasks, and judged on others.
    """
    model, tasks = MLP((1, 40, 40, 1)), Sinusoids(k_shots=5, dtype=np.float32)
    for seed in range(3):
        best = [np.inf, None]

        def validate(t, loss, theta):
            if (t + 1) % 2000 == 0:
                result = evaluate(Learner(model, theta, 0.01), tasks, steps=(1, 5, 10), n_tasks=2000, seed=500, limit=np.inf)
                score = (result.mean + 1000 * result.diverged).sum()
                if score < best[0]:
                    best[:] = score, theta

        meta_train(maml, model, Sinusoids(dtype=np.float32), 60_000, dtype=np.float32, seed=seed, progress=False,
                   callback=validate, alpha=0.01)
        result = evaluate(Learner(model, best[1], 0.01), tasks, steps=(1, 5, 10), n_tasks=4000, seed=1000)
        print(seed, *(np.round(column, 4).tolist() for column in result[2:]))
        assert (result.mean - result.ci <= [0.67, 0.38, 0.35]).all()
        assert (result.median < result.mean).all() and (result.diverged <= 0.002).all()


@pytest.mark.parametrize("one, other", [
    (dict(rule=momentum(0.5)), dict(rule=momentum(0.9))), (dict(), dict(rule=adam(beta1=0.5))),
    (dict(rule=clipped(momentum(0.1), 1)), dict(rule=clipped(momentum(0.9), 1))),
    (dict(rule=clipped(sgd(), 1)), dict(rule=clipped(sgd(), 2))),
    (dict(eta=lambda t: 0.1 / (t + 1)), dict(eta=lambda t: 0.2 / (t + 1))),
    (dict(eta=lambda t: 0.1 / (t + 1)), dict(eta=lambda t: 0.1 * (t + 1))),
    (dict(method=lambda *a, **k: maml(*a, **k)), dict(method=lambda *a, **k: fomaml(*a, **k))),
    (dict(method=partial(maml, k=2)), dict(method=partial(maml, k=3))),
])
def test_a_checkpoint_tells_rules_schedules_and_methods_apart(tmp_path, one, other):
    path = tmp_path / "run.npz"
    meta_train(**QUICK | dict(n_iters=2, checkpoint=path) | one)
    assert meta_train(**QUICK | dict(n_iters=3, checkpoint=path) | one).n_iters == 3
    with pytest.raises(ValueError, match="another run"):
        meta_train(**QUICK | dict(n_iters=4, checkpoint=path) | other)


@pytest.mark.filterwarnings("error", *NOT_OURS)
def test_a_checkpoint_that_is_spoiled_is_refused_in_words(tmp_path):
    path = tmp_path / "run.npz"
    arguments = QUICK | dict(n_iters=2, checkpoint=path)
    meta_train(**arguments)
    whole = path.read_bytes()
    with np.load(path) as saved:
        parts = dict(saved)
    head = json.loads(str(parts["head"]))
    heads = ["null", "[1]", json.dumps(head | {"t": "two"}), json.dumps(head | {"t": -5}),
             json.dumps({k: v for k, v in head.items() if k != "rng"}),
             json.dumps(head | {"trace": [0, 0.0, 2]}), json.dumps(head | {"trace": [1.0, 0.0, 0]})]
    for i in range(len(heads) + 5):
        if i < len(heads):
            with open(path, "wb") as file:
                np.savez(file, **parts | {"head": heads[i]})
        else:
            path.write_bytes([whole[:len(whole) // 2], whole[:-10], whole[:100], b"", b"no archive"][i - len(heads)])
        with pytest.raises(ValueError, match="cannot be read"):
            meta_train(**arguments | dict(n_iters=3))
    np.save(tmp_path / "array", np.ones(3))
    with pytest.raises(ValueError, match="cannot be read"):
        meta_train(**arguments | dict(n_iters=3, checkpoint=tmp_path / "array.npy"))


def test_a_method_with_settings_of_its_own_can_be_spread():
    batch = Quadratics(2).sample(np.random.default_rng(0), 5)
    with ThreadPoolExecutor(2) as pool:
        close(in_parallel(partial(maml, k=2), pool)(Quadratic(2), np.ones(2), batch, 0.1)[1],
              maml(Quadratic(2), np.ones(2), batch, 0.1, 2)[1])
    assert meta_train(**QUICK | dict(n_iters=2, method=partial(maml, k=2))).n_iters == 2


# --- bad input --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("executor, n_chunks, message", [
    ("pool", None, "executor must be"), (ThreadPoolExecutor(1), 0, "n_chunks must be"),
])
def test_bad_executors_are_refused(executor, n_chunks, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        in_parallel(maml, executor, n_chunks)


@pytest.mark.parametrize("change, message", [
    (dict(n_iters=0), "n_iters must be"), (dict(n_tasks=0), "n_tasks must be"), (dict(eta=0.0), "eta must be"),
    (dict(eta=np.nan), "eta must be"), (dict(seed=-1), "seed must be"), (dict(theta0=[np.nan, 1]), "theta0 must be"),
    (dict(theta0=np.ones((2, 2))), "theta0 must be"), (dict(checkpoint_every=0), "checkpoint_every must be"),
    (dict(executor=3), "executor must be"), (dict(alpha=-1), "alpha must be"), (dict(k=0), "k must be"),
    *[(dict(eta=eta), "eta must") for eta in ("a", None, [0.1, 0.2], lambda t: -1, lambda t: np.nan)],
    (dict(seed=True), "seed must be"),
    *[(dict(dtype=dtype), "dtype must be") for dtype in (np.float16, int, complex)], (dict(theta0=[1j, 1]), "theta0 must"),
    *[(dict(rule=rule), "rule must be") for rule in ("adam", adam)],
    (dict(checkpoint="/no/such/folder/run.npz"), "checkpoint must lie"),
])
def test_bad_training_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        meta_train(**QUICK | dict(n_iters=2) | change)


@pytest.mark.parametrize("change, message", [
    (dict(steps=()), "steps must be"), (dict(steps=(1, -1)), "steps must be"), (dict(metric="f1"), "metric must be"),
    (dict(limit=0), "limit must be"), (dict(n_tasks=1), "n_tasks must be"), (dict(shots=(5,)), "shots must be None"),
    (dict(learner=Learner(Quadratic(2), np.ones(2), 0.0)), "alpha must be"),
    (dict(learner=Learner(Quadratic(2), np.ones(2))), "alpha must be given"),
    (dict(learner=Learner(Quadratic(2), np.ones(3))), "theta must have a last axis of length 4"),
    (dict(learner=Quadratic(2)), "learner must be"),
    (dict(learner=Learner(Quadratic(2), np.ones((5, 2)), 0.1)), "learner must have one θ"),
    (dict(steps=(True,)), "steps must be"), (dict(metric="accuracy"), "metric must be 'loss'"),
    *[(dict(steps=steps), "steps must be") for steps in (3, None)],
    *[(dict(shots=shots), "shots must be") for shots in (5, ())],
    *[(dict(limit=limit), "limit must be") for limit in ("a", None, [1])], (dict(seed="a"), "seed must be"),
])
def test_bad_evaluation_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        evaluate(**dict(learner=Learner(Quadratic(2), np.ones(2), 0.1), tasks=Quadratics(2)) | change)


def test_shots_of_zero_are_refused():
    with pytest.raises(ValueError, match="^k_shots must be"):
        evaluate(Learner(MLP((1, 2, 1)), np.zeros(7), 0.1), Sinusoids(), shots=(0,))


def test_a_start_is_given_or_made_by_the_model():
    class Bowl:
        """A model without init."""
        n_params, loss, grad = 1, Quadratic(1).loss, Quadratic(1).grad

    with pytest.raises(ValueError, match="model must have init"):
        meta_train(joint, Bowl(), Quadratics(1), 1, progress=False)
    assert meta_train(joint, Bowl(), Quadratics(1), 1, theta0=[9.0], progress=False).theta.shape == (1,)
