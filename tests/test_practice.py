"""The practice chapter: its contenders and bands, its live figures without their code, and its stored results."""

import functools
import itertools
import json

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from conftest import ROOT, number_of, only_for_the_legend, positions, shown
from metacalc.course.figures.practice import LINE, SUPPORT, outer_learning, own_points, sinusoid_fits
from metacalc.course.practice import (
    CONTENDERS,
    INNER_LOOPS,
    MODEL,
    SHOTS,
    STEPS,
    TASKS,
    best_inner,
    comparison_table,
    evaluated,
    inner_contender,
    load_runs,
    load_starts,
    outside,
    tabled,
    train,
    wave_features,
)
from metacalc.meta import Learner
from metacalc.models import MLP, sharpness
from metacalc.studies import load, packed, unpacked
from metacalc.tasks import Sinusoids
from metacalc.training import Evaluation, evaluate

PATH = ROOT / "chapters/results/practice.json"
INNER, EDGE = (ROOT / f"chapters/results/practice_{name}.json" for name in ("inner", "edge"))
MAML, JOINT = (load_runs(PATH, "long")[name][0] for name in ("MAML", "joint"))
STARTS = {"MAML": (unpacked(MAML["theta"], MODEL)[0], 0.01), "joint": (unpacked(JOINT["theta"], MODEL)[0], JOINT["alpha"])}


def net(theta, x):
    """The net 1–40–40–1, for one θ, layer by layer."""
    W1, b1, W2, b2, W3, b3 = (theta[i:j] for i, j in ((0, 40), (40, 80), (80, 1680), (1680, 1720), (1720, 1760), (1760, 1761)))
    h = anp.maximum(0, x[:, None] * W1 + b1)
    return anp.maximum(0, anp.dot(h, W2.reshape(40, 40)) + b2) @ W3 + b3


def adapted(theta, alpha, x, y, k):
    """φ_0, ..., φ_k."""
    gradient, path = autograd.grad(lambda theta: anp.mean((net(theta, x) - y) ** 2)), [theta]
    for _ in range(k):
        path.append(path[-1] - alpha * gradient(path[-1]))
    return path


@functools.cache
def fitted(who, amplitude, phase, K):
    """Predictions on the line after 0, ..., 10 steps, and their mean squared errors; `who` is a start or a snapshot."""
    theta, alpha = STARTS[who] if who in STARTS else (unpacked(MAML["snapshots"], MODEL)[who], 0.01)
    x = SUPPORT[:int(K)]
    fits = np.array([net(phi, LINE) for phi in adapted(theta, alpha, x, amplitude * np.sin(x - phase), 10)])
    return fits, ((fits - amplitude * np.sin(LINE - phase)) ** 2).mean(axis=-1)


def fits_readout(amplitude, phase, K, k):
    errors = [fitted(who, amplitude, np.pi * phase, K)[1][int(k)] for who in STARTS]
    return (f"After k = {number_of(k, 'step')} on {number_of(K, 'point')}, mean squared error on the whole interval: MAML "
            f"{errors[0]:.3f}, joint {errors[1]:.3f}.")


OWN = np.array([[-4, 1.6], [-3, -0.4], [-1.5, -2], [0, 0.2], [1.5, 2], [3, 0.3], [4.5, -1.9]]).T


@functools.cache
def own_fits(who):
    """Predictions on the line after 0, ..., 20 steps on the points, and the errors on them."""
    path = adapted(*STARTS[who], *OWN, 20)
    return np.array([net(theta, LINE) for theta in path]), [((net(theta, OWN[0]) - OWN[1]) ** 2).mean() for theta in path]


def own_readout(k):
    maml, joint = (own_fits(who)[1][int(k)] for who in STARTS)
    return f"After k = {number_of(k, 'step')}, mean squared error on these points: MAML {maml:.3g}, joint {joint:.3g}."


def learning_readout(n, k):
    i = MAML["iterations"].index(int(n))
    return (f"After {number_of(n, 'outer iteration')}: validation error {MAML['errors'][i][STEPS.index(int(k))]:.3g} after k = "
            f"{number_of(k, 'inner step')}; on the task shown {fitted(i, 3.0, 1.0, 10)[1][int(k)]:.3g}.").replace("inf ", "∞ ")


def fits():
    return sinusoid_fits(load_starts(PATH))


def own():
    return own_points(load_starts(PATH), *OWN)


def learning():
    return outer_learning(MAML["iterations"], MAML["errors"], unpacked(MAML["snapshots"], MODEL))


def check_fits(stage):
    A, phi, shots, steps = (s.values for s in stage.sliders)
    for who, (truth, curve, dots, crest) in zip(STARTS, (stage.marks[:4], stage.marks[4:])):
        np.testing.assert_array_equal(curve.x, LINE[::2])
        np.testing.assert_allclose(curve.y * 30, np.round(curve.y * 30), atol=1e-9)  # rounded to a thirtieth
        assert crest.drag == ("phase", "amplitude")
        for index in positions(stage):
            a, p, K, k = (s.values[i] for s, i in zip(stage.sliders, index))
            wave = lambda x: a * np.sin(x - np.pi * p)
            np.testing.assert_allclose(shown(stage, truth, index), [LINE, wave(LINE)], atol=1e-12)
            np.testing.assert_allclose(shown(stage, crest, index), [np.pi * (p + 0.5), a])
            x, y = shown(stage, dots, index)
            np.testing.assert_array_equal(x, [*SUPPORT[:int(K)], *[np.nan] * (10 - int(K))])
            np.testing.assert_allclose(y, wave(SUPPORT[:10]), atol=1e-12)
        for (i, a), (j, p), (m, K) in itertools.product(enumerate(A), enumerate(phi), enumerate(shots)):
            expected = fitted(who, a, np.pi * p, K)[0][steps.astype(int)]
            np.testing.assert_allclose(curve.y[i, j, m], expected[:, ::2], atol=0.0168)
            if who == "MAML":
                np.testing.assert_allclose(stage.guess.answer[i, j, m], expected[:, LINE == -0.5][:, 0], atol=2e-4)


def check_own(stage):
    points, *fits, _, _, _, _ = stage.marks
    only_for_the_legend(points)
    k = np.arange(21)
    for who, fit, path, point in zip(STARTS, fits, stage.marks[3::2], stage.marks[4::2]):
        np.testing.assert_array_equal(fit.x, LINE)
        np.testing.assert_allclose(fit.y, own_fits(who)[0], atol=1e-6)
        for mark in (path, point):
            np.testing.assert_array_equal(mark.x, k)
            np.testing.assert_allclose(mark.y, own_fits(who)[1], rtol=1e-6)


def check_learning(stage):
    *paths, point, before, after, wave = stage.marks
    only_for_the_legend(wave)
    for mark in (*paths, point):
        np.testing.assert_array_equal(mark.x[:, 0], np.array(MAML["iterations"]) / 1000)
    for path, errors in zip(paths, np.array(MAML["errors"]).T):
        np.testing.assert_array_equal(path.y[:, 0], errors)
    np.testing.assert_array_equal(point.y, MAML["errors"])
    np.testing.assert_array_equal(stage.guess.answer[:, 0], np.array(MAML["errors"])[:, 0])
    expected = np.array([fitted(i, 3.0, 1.0, 10)[0] for i in range(len(MAML["iterations"]))])
    for mark in (before, after):
        np.testing.assert_array_equal(mark.x, LINE)
    np.testing.assert_allclose(after.y, expected[:, list(STEPS)], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(before.y, expected[:, :1], rtol=1e-6, atol=1e-6)


def test_the_program_is_the_one_that_the_course_grew_from():
    cells = json.loads((ROOT / "chapters/05_practice.ipynb").read_text(encoding="utf-8"))["cells"]
    (program,) = ["".join(c["source"]) for c in cells if "def f(theta)" in "".join(c["source"])]
    assert program.strip() == (ROOT / "tests/seed_program.py").read_text(encoding="utf-8").strip()


def test_the_bands_tell_a_seed_from_another_algorithm():
    """Every stored run lies in the bands of the others; who is not a neighbour in the ranking lies outside."""
    ranking = ["MAML", "FOMAML", "Reptile", "ANIL", "joint", "scratch"]
    short = load_runs(PATH, "short")
    for name in CONTENDERS:
        assert len(short[name]) >= 8
        others = {name: short[name][1:]}
        assert len(outside({name: tabled(short[name][0])}, others)) <= 2
    for name in CONTENDERS:
        for other in CONTENDERS:
            neighbours = name in ranking and other in ranking and abs(ranking.index(name) - ranking.index(other)) < 3
            if not neighbours and name != other:
                assert outside({name: tabled(short[other][0])}, short), (name, other)


def test_the_bands_are_prediction_intervals_and_all_that_diverges_is_alike():
    """Of two runs: Student's t with one degree of freedom is Cauchy's, whose quartile is 1."""
    filled = lambda value: np.full((len(SHOTS), len(STEPS)), value)
    runs = lambda *errors: {"x": [{"mean": filled(error), "median": filled(error)} for error in errors]}
    seen = lambda mean, median: {"x": Evaluation(STEPS, SHOTS, filled(mean), filled(0.1), filled(median), filled(0.0))}
    middle, reach = np.exp(0.5), np.sqrt(3) / 2  # |log e − log 1| / √2 · √(1 + 1/2)
    for sign in (1, -1):
        inside, beyond = middle * np.exp(sign * (reach + 0.004)), middle * np.exp(sign * (reach + 0.006))
        assert outside(seen(inside, inside), runs(1.0, np.e), 0.5) == []
        assert len(outside(seen(inside, beyond), runs(1.0, np.e), 0.5)) == len(SHOTS) * len(STEPS)
        assert "x: mean with 5 shots after 0 steps" in outside(seen(beyond, inside), runs(1.0, np.e), 0.5)
    assert outside(seen(100.0, np.inf), runs(1e3, 1e9)) == [] != outside(seen(99.0, 99.0), runs(1e3, 1e9))


def test_the_stored_results_are_of_the_contenders_that_the_chapter_has():
    settings = json.loads(PATH.read_text())["settings"]
    assert {name: settings["contenders"][name] for name in CONTENDERS} == json.loads(
        json.dumps({name: [c.settings, c.n_iters, c.rates] for name, c in CONTENDERS.items()}))
    for name in CONTENDERS:
        assert len(load_runs(PATH, "long")[name]) == len(settings["long"]["seeds"])
        assert len(load_runs(PATH, "short")[name]) == len(settings["short"]["seeds"]) and 0 not in settings["short"]["seeds"]


def test_training_keeps_what_validates_best():
    run = train("joint", 60, looks=3, n_validation=20, progress=False)
    assert run.iterations.tolist() == [0, 7, 27, 60] and run.errors.shape == (4, len(STEPS))
    assert any(np.array_equal(run.learner.theta, theta) for theta in run.snapshots)
    same = train("joint", 60, looks=3, n_validation=20, progress=False)
    np.testing.assert_array_equal(run.snapshots, same.snapshots)
    for bad in (dict(who="none"), dict(who="MAML", n_iters=10, looks=0)):
        with pytest.raises(ValueError, match="who|looks"):
            train(**bad, progress=False)


def test_all_contenders_start_alike_and_scratch_stays_there():
    starts = {name: train(name, min(1, c.n_iters), looks=1, n_validation=5, progress=False).snapshots[0]
              for name, c in CONTENDERS.items()}
    for theta in starts.values():
        np.testing.assert_array_equal(theta[:MODEL.n_params], starts["scratch"])
    text = comparison_table({"scratch": evaluated(train("scratch", n_validation=5), n_tasks=5)})
    assert text.count("\n") == 2 and "±" in text


def test_anil_is_trained_as_a_loop_by_hand_trains_it():
    """Twenty iterations of Adam on the gradient through one step of the head, by autograd."""
    run = train("ANIL", 20, looks=1, n_validation=5, progress=False)
    rng, head = np.random.default_rng(0), slice(1720, 1761)
    theta, m, v = run.snapshots[0].astype(float), 0, 0

    def loss(theta, x, y, xq, yq):
        body, start = theta[:1720], theta[1720:]
        inner = autograd.grad(lambda h: anp.mean((net(anp.concatenate([body, h]), x) - y) ** 2))
        return anp.mean((net(anp.concatenate([body, start - 0.01 * inner(start)]), xq) - yq) ** 2)

    for t in range(1, 21):
        batch = Sinusoids(dtype=np.float32).sample(rng, 25)
        tasks = zip(*(getattr(batch, name)[..., 0].astype(float) for name in ("x_support", "y_support", "x_query", "y_query")),
                    strict=True)
        g = np.mean([autograd.grad(loss)(theta, *task) for task in tasks], axis=0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(run.snapshots[-1], theta, atol=2e-4)
    assert run.learner.only == head


def test_a_mean_without_many_of_the_tasks_is_not_printed():
    columns = (np.array([[2.0, 3.0, 4.0, 5.0]] * 3), np.full((3, 4), 0.1), np.array([[1.0, 2.0, 101.0, np.inf]] * 3),
               np.array([[0.0, 0.002, 0.2, 0.7]] * 3))
    row = comparison_table({"x": Evaluation(STEPS, SHOTS, *columns)}).splitlines()[-1]
    assert row == ("| x | 2.00 ± 0.10<br>1.00 | 3.00 ± 0.10<br>2.00<br>0.2% lost | "
                   "no mean<br>over 100<br>20.0% lost | no mean<br>over 100<br>70.0% lost |")


def test_waves_are_two_features_of_the_net():
    """Its last hidden layer is ReLU(±size sin x), ReLU(±size cos x) to the error of chords of a quarter; the head is 0."""
    x = np.linspace(-5, 5, 997)
    for size in (1, 10):
        theta = wave_features(size)
        W1, b1, W2, b2 = (theta[i:j] for i, j in ((0, 40), (40, 80), (80, 1680), (1680, 1720)))
        hidden = np.maximum(0, np.maximum(0, x[:, None] * W1 + b1) @ W2.reshape(40, 40) + b2)
        waves = size * np.stack([np.sin(x), -np.sin(x), np.cos(x), -np.cos(x)], axis=-1)
        assert np.abs(hidden[:, :4] - np.maximum(0, waves)).max() <= size * 0.25**2 / 8 + 1e-9
        assert not hidden[:, 4:].any() and not theta[MODEL.head].any() and theta.shape == (MODEL.n_params,)


def test_a_linear_head_on_two_features_learns_waves_that_nobody_trained():
    """Every task in 100 steps of the head; by hand, from ten points, with the two features alone."""
    tasks = Sinusoids(10).sample(np.random.default_rng(4), 200)
    phi = Learner(MODEL, wave_features(10), 0.01, MODEL.head).adapt(tasks.x_support, tasks.y_support, 100)
    error = MODEL.loss(phi[-1], tasks.x_query, tasks.y_query)
    assert np.median(error) < 1e-3 and error.mean() < 0.05
    for x, y, xq, yq in zip(*(getattr(tasks, name)[..., 0] for name in ("x_support", "y_support", "x_query", "y_query"))):
        amplitudes = np.linalg.lstsq(np.stack([np.sin(x), np.cos(x)], -1), y, rcond=None)[0]
        np.testing.assert_allclose(amplitudes @ [np.sin(xq), np.cos(xq)], yq, atol=1e-6)


def test_one_step_of_a_head_behind_relus_moves_all_outputs_the_same_way():
    """Its kernel 1 + h·h is at least 1, whatever θ is; behind tanh it has both signs."""
    x = np.linspace(-5, 5, 41)
    for seed in range(3):
        for activation in ("relu", "tanh"):
            model = MLP(MODEL.sizes, activation)
            theta = model.init(np.random.default_rng(seed)) * 3
            there = model.features(theta, x[:, None])
            kernel = 1 + there @ there.T
            step = Learner(model, theta, 0.01, model.head).adapt(x[None, :1, None], np.array([[[50.0]]]))[:, 0]
            moved = model.predict(step[1], x[:, None])[:, 0] - model.predict(step[0], x[:, None])[:, 0]
            residual = 50 - model.predict(theta, x[:1, None])[0, 0]
            np.testing.assert_allclose(moved, 0.02 * residual * kernel[0], rtol=1e-6, atol=1e-9)
            assert kernel.min() >= 1 if activation == "relu" else kernel.min() < 0


def test_the_inner_loops_are_stored_and_the_best_is_what_validates_best():
    settings, results = load(INNER)
    grid = list(itertools.product(settings["methods"], settings["activations"], settings["k"], settings["alpha"]))
    assert settings["methods"] == list(reversed(INNER_LOOPS)) and len(grid) == 24
    again = [(*best_inner(results, name), seed) for name in settings["methods"] for seed in settings["again"]]
    wanted = {"/".join(map(str, key)) for key in [*((*setting, settings["seed"]) for setting in grid), *again]}
    assert set(results) == wanted
    scores = {key: np.nanmin(np.array(run["errors"])[:, 1:]) for key, run in results.items() if key.endswith("/0")}
    for start in ("ANIL", "MAML", "ANIL/relu", "MAML/tanh/1"):
        best = "/".join(map(str, (*best_inner(results, start), 0)))
        assert scores[best] == min(score for key, score in scores.items() if key.startswith(start + "/"))
    for key in (key for key, run in results.items() if "theta" in run):
        name, activation, k, alpha, seed = key.split("/")
        contender = inner_contender(name, activation, int(k), float(alpha))
        assert contender.n_iters == settings["n_iters"]
        only = contender.model.head if name == "ANIL" else None
        learner = Learner(contender.model, unpacked(results[key]["theta"], contender.model)[0], float(alpha), only)
        found = evaluate(learner, TASKS, steps=STEPS, shots=SHOTS, n_tasks=settings["n_tasks"], seed=1000)
        np.testing.assert_allclose(found.median, tabled(results[key]).median, rtol=0.1, atol=0.01)  # θ in half precision


@pytest.mark.slow
def test_the_best_inner_loop_of_the_head_is_reproduced():
    """About a minute."""
    settings, results = load(INNER)
    setting, seed = best_inner(results, "ANIL"), settings["again"][0]
    run = train(inner_contender(*setting), settings["n_iters"], seed, settings["looks"], settings["n_validation"], False)
    again, stored = evaluated(run, settings["n_tasks"]), tabled(results["/".join(map(str, (*setting, seed)))])
    np.testing.assert_array_less(np.abs(again.mean - stored.mean), again.ci + stored.ci + 1e-9)


def test_the_sharpness_at_every_rate_is_stored():
    settings, results = load(EDGE)
    assert list(results) == [str(alpha) for alpha in settings["alpha"]]
    for run in results.values():
        assert run["iterations"][-1] == settings["n_iters"] and len(run["alpha_lambda"]) == settings["looks"] + 1
    seen = Sinusoids(settings["shots"]).sample(np.random.default_rng(7), settings["n_tasks"])
    start = MODEL.init(np.random.default_rng(settings["seed"]), np.float32).astype(float)
    at_first = np.median(sharpness(MODEL, start, seen.x_support, seen.y_support))
    for alpha, run in results.items():
        assert np.isclose(run["alpha_lambda"][0], float(alpha) * at_first, rtol=1e-3)


def test_theta_survives_packing_to_half_precision():
    theta = MODEL.init(np.random.default_rng(0))
    np.testing.assert_allclose(unpacked(packed(np.stack([theta, 2 * theta])), MODEL)[1], 2 * theta, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENDERS)
def test_the_long_results_are_reproduced(name):
    """A minute or two a contender; the seed's own interval over tasks."""
    settings = json.loads(PATH.read_text())["settings"]["long"]
    options = dict(seed=settings["seeds"][0], looks=settings["looks"], n_validation=settings["n_validation"], progress=False)
    for run in load_runs(PATH, "long")[name][:1]:
        again = evaluated(train(name, settings["times"] * CONTENDERS[name].n_iters, **options), settings["n_tasks"])
        np.testing.assert_array_less(np.abs(again.mean - run["mean"]), np.add(again.ci, run["ci"]) + 1e-9)


def test_own_points_are_checked():
    for x, y in (([], []), ([1, 2], [1]), ([6], [0]), ([0], [np.nan]), ([[0]], [[0]])):
        with pytest.raises(ValueError, match="x and y"):
            own_points(load_starts(PATH), x, y)
