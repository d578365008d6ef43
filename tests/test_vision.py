"""The vision chapter: its live figure without its code, its stored results, and a short run of its study."""

import copy
import functools
import json
import sys

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sympy as sp

from conftest import ROOT, number_of
from metacalc.course.figures.vision import outline, recognition
from metacalc.course.vision import NAMES, comparison_table, episodes, load_scores, load_starts, runs_of
from metacalc.data.characters import printed_characters, script_of
from metacalc.data.download import fetch
from metacalc.meta import Learner
from metacalc.studies import Results, interval
from metacalc.training import evaluate

sys.path.insert(0, str(ROOT / "studies"))
import vision as study  # noqa: E402

PATH = ROOT / "chapters/results/vision.json"
SHOTS, STEPS = range(1, 6), (0, 1, 2, 3, 5, 10, 15, 20, 30, 50)
LETTERS = printed_characters()


@functools.cache
def starts():
    return load_starts(PATH)


def net(theta, x):
    """Class probabilities of the net 196–64–32–5, layer by layer."""
    end, h = 0, x
    for m, n in ((196, 64), (64, 32), (32, 5)):
        h = anp.dot(h, theta[end:end + m * n].reshape(m, n)) + theta[end + m * n:end + m * n + n]
        end += m * n + n
        h = anp.maximum(0, h) if n != 5 else h
    e = anp.exp(h - h.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@functools.cache
def examples():
    return episodes(LETTERS, starts()[1], 8)


@functools.cache
def answers(name, task, K):
    """Probabilities of the 35 query images after 0, ..., 50 steps: shape (51, 35, 5)."""
    learner, _ = starts()[0][name]
    theta, alpha = learner.theta, learner.alpha
    if name == "prototypes":
        return to_the_nearest_mean(theta, task, K)
    x, y = LETTERS.x[examples()[task - 1]].astype(float), np.repeat(np.arange(5), K)
    support, query = x[:, :K].reshape(5 * K, -1), x[:, 5:].reshape(35, -1)
    gradient = autograd.grad(lambda theta: -anp.mean(anp.log(net(theta, support)[np.arange(5 * K), y])))
    found = [net(theta, query)]
    for _ in range(STEPS[-1]):
        theta = theta - alpha * gradient(theta)
        found.append(net(theta, query))
    return np.array(found)


def to_the_nearest_mean(theta, task, K):
    """The same by the distances of features to class means, from the first step on; before it all letters are alike."""
    f = LETTERS.x[examples()[task - 1]].astype(float)
    for start, (m, n) in ((0, (196, 64)), (196 * 64 + 64, (64, 32))):
        f = np.maximum(0, f @ theta[start:start + m * n].reshape(m, n) + theta[start + m * n:start + m * n + n])
    distances = ((f[:, 5:].reshape(35, 1, -1) - f[:, :K].mean(axis=1)) ** 2).sum(axis=-1)
    e = np.exp(-distances + distances.min(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return np.array([np.full((35, 5), 0.2), *[p] * STEPS[-1]])


def right_and_sure(name, task, K):
    p, truth = answers(name, int(task), int(K)), np.repeat(np.arange(5), 7)
    return (p.argmax(axis=-1) == truth).sum(axis=-1), p[:, np.arange(35), truth].mean(axis=-1)


def figure():
    return recognition(*starts())


def vision_readout(task, K, k):
    found = {name: [values[int(k)] for values in right_and_sure(name, task, K)] for name in starts()[0]}
    script = script_of(LETTERS.labels[examples()[int(task) - 1][0, 0]])
    right = ", ".join(f"{name} {n}" for name, (n, _) in found.items())
    own = ", ".join(f"{name} {p:.2f}" for name, (_, p) in found.items())
    return (f"Task {task:.0f}, five letters of {script}, K = {K:.0f}, after {number_of(k, 'step')}.\n"
            f"Of 35 query images, right: {right}.\nProbability of the right letter, on average: {own}.")


def check_vision(stage):
    *support, query, bars, dashed, dotted, path, point, joint_path, joint_point, mean_path, mean_point = stage.marks
    np.testing.assert_allclose(35 * stage.guess.answer, 35 * point.y, atol=1e-9)
    assert len(support) == 5 and [len(s.values) for s in stage.sliders] == [8, 5, len(STEPS)]
    for r, mark in enumerate((*support, query)):
        for t, task in enumerate(examples()):
            for c, example in enumerate(task[:, r]):
                place = (c + 1, 5.98 + 0.8 * r) if r < 5 else (0, 4.5 - c)
                drawn = 0.78 * (outline(LETTERS.outlines[example]) - 0.5) + place
                span = slice(96 * c, 96 * (c + 1))
                for K in range(mark.x.shape[1]):  # NaN where the shot is not among the first K
                    there = r == 5 or r <= K
                    for coordinate, expected in zip((mark.x, mark.y), drawn.T):
                        np.testing.assert_allclose(coordinate[t, K, 0, span], expected if there else np.full(96, np.nan))
    for name, mark, growing, end, shift in (
            ("MAML", bars, path, point, 0.2), ("pre-trained", dashed, joint_path, joint_point, 0),
            ("prototypes", dotted, mean_path, mean_point, -0.2)):
        assert {m.label for m in (mark, growing, end)} == {name} and all(m.toggle for m in (mark, growing, end))
        height = 4.5 - np.arange(5)[:, None, None] + shift
        np.testing.assert_allclose(mark.y.reshape(5, 5, 3), np.broadcast_to(height, (5, 5, 3)))
        for t in range(1, 9):
            for K in SHOTS:
                p = answers(name, t, K)[list(STEPS)]
                ends = mark.x[t - 1, K - 1].reshape(len(STEPS), 5, 5, 3)
                np.testing.assert_allclose(ends[..., 0] - np.arange(1, 6), -0.42)
                np.testing.assert_allclose((ends[..., 1] - ends[..., 0]) / 0.84, p[:, ::7], atol=1e-6)
                assert np.isnan(ends[..., 2]).all()  # no line from a bar to the next
                for line in (growing, end):
                    np.testing.assert_array_equal(line.x, STEPS)
                    np.testing.assert_allclose(35 * line.y[t - 1, K - 1], right_and_sure(name, t, K)[0][list(STEPS)], atol=1e-9)


def test_the_figure_s_tasks_are_of_letters_that_no_start_has_seen():
    _, test = starts()
    train, validation, held_out = LETTERS.split(*study.PRINTED["folds"][0])
    assert test == held_out
    for task in examples():
        labels = LETTERS.labels[task]
        assert (labels == labels[:, :1]).all() and len(set(labels[:, 0])) == 5 and set(labels[:, 0]) <= set(test)
        assert len({script_of(label) for label in labels[:, 0]}) == 1 and len(np.unique(task)) == task.size


def test_the_cross_entropy_has_the_derivatives_that_two_chapters_state():
    """p − y and diag(p) − pp^T, the latter as a variance and with no eigenvalue above 1/2, which two equal letters reach."""
    z, v = sp.Matrix(sp.symbols("z1:4", real=True)), sp.Matrix(sp.symbols("v1:4", real=True))
    p = z.applyfunc(sp.exp) / sum(map(sp.exp, z))
    covariance = sp.diag(*p) - p * p.T
    for right in range(3):
        loss, y = -sp.log(p[right]), sp.Matrix([int(i == right) for i in range(3)])
        assert sp.simplify(sp.Matrix([loss]).jacobian(z).T - (p - y)) == sp.zeros(3, 1)
        assert sp.simplify(sp.hessian(loss, z) - covariance) == sp.zeros(3)
    variance = sum(p_j * v_j**2 for p_j, v_j in zip(p, v)) - p.dot(v) ** 2
    assert sp.simplify((v.T * covariance * v)[0] - variance) == 0
    for probabilities in np.random.default_rng(0).dirichlet(np.full(27, 0.1), 200):
        assert np.linalg.eigvalsh(np.diag(probabilities) - np.outer(probabilities, probabilities)).max() <= 0.5 + 1e-12
    half = np.array([0.5, 0.5, 0])
    assert np.isclose(np.linalg.eigvalsh(np.diag(half) - np.outer(half, half)).max(), 0.5)


def test_an_outline_keeps_the_letter_s_box():
    for i in range(0, len(LETTERS.x), 97):
        row, box = outline(LETTERS.outlines[i]), LETTERS.outlines[i].get_extents()
        assert row.shape == (96, 2)
        np.testing.assert_allclose([np.nanmin(row, axis=0), np.nanmax(row, axis=0)], [box.min, box.max], atol=0.02)


def test_the_stored_results_are_whole():
    stored = json.loads(PATH.read_text(encoding="utf-8"))
    assert stored["settings"] == json.loads(json.dumps({"omniglot": study.SETTINGS, "printed": study.PRINTED}))
    assert PATH.stat().st_size < 200_000
    for k_shots in (1, 5):
        table = load_scores(PATH, k_shots)
        assert list(table) == list(NAMES) and all(values.shape == (8,) for values in table.values())
        assert table["pixels"].mean() > 0.35 and all(table[n].mean() > table["scratch"].mean() + 0.05
                                                     for n in ("MAML", "joint", "prototypes"))
    assert list(load_scores(PATH, 1, "not shifted")) == ["prototypes", "joint", "MAML"]
    alphabets = [a for test, _ in study.SETTINGS["folds"] for a in test]
    assert len(alphabets) == len(set(alphabets)) == stored["results"]["data"]["alphabets"] == 8
    for test, validation in study.SETTINGS["folds"]:
        assert not set(test) & set(validation)


def test_every_method_had_the_same_outer_rates_and_the_best_has_all_seeds():
    results, settings = json.loads(PATH.read_text(encoding="utf-8"))["results"], study.SETTINGS
    places = [f"{i}/{k}/{name}" for i in range(4) for k in settings["shots"] for name in settings["inner"]]
    for where in places + [f"{i}/1/{name}/not shifted" for i in range(4) for name in ("MAML", "joint")]:
        tried, best = runs_of(results, where)
        assert set(settings["outer"]) <= set(tried) <= {*settings["outer"], *settings["beyond"]}
        inside = max(settings["outer"], key=lambda rate: tried[rate][0]["validation"])
        beyond = dict(zip((min(settings["outer"]), max(settings["outer"])), settings["beyond"]))
        assert set(tried) - set(settings["outer"]) == ({beyond[inside]} if inside in beyond else set())
        wanted = {rate: len(settings["seeds"]) if rate == best else 1 for rate in tried}
        assert {rate: len(found) for rate, found in tried.items()} == wanted
        for rate, found in tried.items():
            for run in found:
                assert run["setting"]["eta"] == rate and run["steps"] <= settings["n_steps"]
                assert run["alpha"] == run["setting"].get("alpha") or run["alpha"] in settings["rates"]


def test_scores_are_means_over_seeds_at_the_rate_that_validates_best(tmp_path):
    run = lambda validation, accuracy: {"validation": validation, "accuracy": {"B": accuracy, "A": accuracy + 0.1}}
    results = {"0/1/MAML/inner": [0.5, 0.4], "0/1/MAML/0.001/0": run(0.5, 0.1), "0/1/MAML/0.003/0": run(0.6, 0.2),
               "0/1/MAML/0.003/1": run(0.1, 0.4),
               "0/1/MAML/not shifted/0.01/0": run(0.9, 0.9), "0/1/pixels": run(0, 0.3), "0/1/scratch/0": run(0, 0.1),
               "0/1/scratch/1": run(0, 0.2)}
    path = tmp_path / "vision.json"
    path.write_text(json.dumps({"settings": {"omniglot": {"folds": [0], "inner": {"MAML": []}, "seeds": [0, 1]}},
                                "results": results}), encoding="utf-8")
    found = load_scores(path, 1)
    np.testing.assert_allclose(found["MAML"], [0.4, 0.3])
    np.testing.assert_allclose(found["scratch"], [0.25, 0.15])
    np.testing.assert_allclose(load_scores(path, 1, rate=0.001)["MAML"], [0.2, 0.1])
    first = load_scores(path, 1, rate=0.003)  # of the first seed alone
    np.testing.assert_allclose([first["MAML"], first["scratch"]], [[0.3, 0.2], [0.2, 0.1]])


def test_tables_are_of_paired_differences():
    one = {"joint": np.array([0.5, 0.6, 0.7]), "MAML": np.array([0.6, 0.7, 0.8])}
    text = comparison_table(one)
    assert "| joint | 0.600 ± 0.248 | – |" in text and "+0.100 ± 0.000" in text


def test_the_study_counts_as_evaluate_does():
    _, _, test = LETTERS.split(*study.PRINTED["folds"][0])
    model, theta, _ = small()
    tasks = LETTERS.tasks(test, k_shots=1, n_query=7)
    for only in (None, model.head):
        mean, deviation = study.accuracies(Learner(model, theta, 0.3, only), tasks, [0, 3, 7], 30, 5)
        expected = evaluate(Learner(model, theta, 0.3, only), tasks, steps=(0, 3, 7), n_tasks=30, seed=5, metric="accuracy")
        np.testing.assert_allclose(mean, expected.mean, atol=1e-6)
        np.testing.assert_allclose(deviation * 1.96 / np.sqrt(30), expected.ci, atol=1e-6)
    overflowing = study.accuracies(Learner(model, theta, 1e30), tasks, [5], 8, 5)[0]
    assert overflowing == 0


def small():
    chosen, test = starts()
    learner, _ = chosen["MAML"]
    return learner.model, learner.theta.astype(np.float32), test


def short(prefix=""):
    """Settings for a few seconds."""
    settings = copy.deepcopy(study.SETTINGS)
    return settings | {"n_iters": dict.fromkeys(settings["n_iters"], 8), "looks": 2, "validation": [4, 5, 500],
                       "test": [4, 5, 1000], "n_steps": 3,
                       "shots": [1], "folds": settings["folds"][:1], "clipping": settings["clipping"] | {"n_iters": 4}}


def test_the_study_runs_in_short_on_print(tmp_path):
    settings = short() | {"folds": study.PRINTED["folds"], "hidden": [8, 8], "validation": [4, 3, 500], "test": [4, 3, 1000]}
    results = Results(tmp_path / "study.json", settings)
    study.run(settings, results, LETTERS, progress=False)
    study.run_clipping(settings, results, LETTERS, progress=False)
    for method in (*study.METHODS, "joint"):
        tried, best = runs_of(results.stored, f"0/1/{method}")
        assert len(tried[best]) == 2
        for run in tried[best]:
            assert set(run["accuracy"]) == {"Georgian", "Lao"} and 0 <= run["validation"] <= 1 and run["steps"] <= 3
    before = copy.deepcopy(results.stored)
    study.run(settings, Results(tmp_path / "study.json", settings), LETTERS, progress=False)
    assert Results(tmp_path / "study.json", settings).stored == before  # nothing is worked out twice


def handwriting():
    try:
        fetch("omniglot/images_background_small1.zip", download=False)
        from metacalc.data.characters import omniglot
        return omniglot(study.SETTINGS["size"], download=False)
    except FileNotFoundError as error:
        pytest.skip(f"the study of handwriting was not rerun: {error}")


def test_stored_results_are_reproduced():
    """What needs no training exactly; a short run of the classifier within what a fraction of the training can reach."""
    characters, settings = handwriting(), study.SETTINGS
    stored = json.loads(PATH.read_text(encoding="utf-8"))["results"]
    for i, (test, validation) in enumerate(settings["folds"]):
        split = characters.split(test, validation)
        for k_shots in settings["shots"]:
            again = study.Fold(characters, split, k_shots, settings).nearest("test")
            assert again == pytest.approx(stored[f"{i}/{k_shots}/pixels"]["accuracy"], abs=1e-4)
    test, validation = settings["folds"][0]
    fold = study.Fold(characters, characters.split(test, validation), 1,
                      settings | {"test": [40, 15, 1000], "rates": [0.03], "n_steps": 12})
    best, _ = fold.trained("joint", {"eta": 0.003}, 0, 400, 1, 1, 1.0, False)
    again = np.mean(list(fold.tested(best)["accuracy"].values()))
    full = np.mean(list(stored["0/1/joint/0.003/0"]["accuracy"].values()))
    alone = np.mean(list(stored["0/1/pixels"]["accuracy"].values()))
    half_width = interval(load_scores(PATH, 1)["joint"])[1]
    assert alone + 0.05 < again < full + half_width
