"""Characters that a reader draws: their ink against what matplotlib paints, the judgement against learners asked step by step,
the stored starts against their study, and a short run of it."""

import copy
import json
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from conftest import ROOT
from metacalc.course.drawing import MOST_EXAMPLES, judged, load_drawing_starts
from metacalc.data.characters import omniglot, printed_characters
from metacalc.data.strokes import ink
from metacalc.meta import Learner
from metacalc.studies import Choice, Results, load
from metacalc.training import evaluate

sys.path.insert(0, str(ROOT / "studies"))
import drawing as study  # noqa: E402

PATH = ROOT / "chapters/results/drawing.json"
SQUARE = [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]
CURVES = [
    [[[0, 0], [30, 80], [60, 10], [90, 75]]],
    [[[50, 0], [50, 100]], [[10, 20], [90, 20], [70, 60]], [[15, 90], [30, 95]]],
    [[[np.cos(a) * (4 + a), np.sin(a) * (4 + a)] for a in np.linspace(0, 9, 60)]],
]


def drawings(seed, n):
    """Some drawings of one to three random strokes."""
    rng = np.random.default_rng(seed)
    return [[rng.normal(0, 9, (rng.integers(2, 9), 2)).cumsum(axis=0) for _ in range(rng.integers(1, 4))] for _ in range(n)]


def painted(strokes, side=8):
    """The same by Agg, with the pen of the docstring, on a sheet whose pixels divide those of the image."""
    every = np.concatenate([np.asarray(stroke, float) for stroke in strokes])
    low, high = every.min(axis=0), every.max(axis=0)
    n = 14 * side
    renderer = RendererAgg(n, n, 72)
    context = renderer.new_gc()
    context.set_linewidth(5 / 105 * n)
    context.set_snap(False)
    context.set_capstyle("round")
    context.set_joinstyle("round")
    place = (Affine2D().translate(*-(low + high) / 2).scale(0.6 / (high - low).max()).scale(1, -1).translate(0.5, 0.5).scale(n))
    for stroke in strokes:
        renderer.draw_path(context, Path(np.asarray(stroke, float)), place)
    sheet = np.asarray(renderer.buffer_rgba())[..., 3] / 255
    return sheet.reshape(14, side, 14, side).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize("strokes", [*CURVES, *drawings(1, 5)])
def test_ink_is_what_matplotlib_paints(strokes):
    mine, theirs = ink(strokes), painted(strokes)
    assert np.abs(mine - theirs).max() < 0.04 and np.abs(mine - theirs).mean() < 0.002
    assert mine.min() == 0 and mine.max() <= 1


def test_ink_lies_where_the_pen_went_and_weighs_what_it_covers():
    square = ink(SQUARE, 105).reshape(105, 105)
    rows = np.flatnonzero(square.any(axis=1))
    assert rows[0] == 105 - 1 - rows[-1] == (105 - 63 - 5) // 2  # 63 and half a pen beyond on either side
    assert abs(square.sum() - (4 * 63 * 5 - 4 * 6.25 * (1 - np.pi / 4))) < 4 + 2  # round corners, which borders round off
    np.testing.assert_allclose(square, square.T, atol=1e-12)
    np.testing.assert_allclose(square, square[::-1], atol=1e-12)
    line = ink([[[0, 0], [0, 9]]], 21).reshape(21, 21)  # a pixel is as wide as the pen
    np.testing.assert_allclose(line[6:15, 10], 1, atol=5e-3)
    assert not line[:, [*range(10), *range(11, 21)]].max() > 0.05 and not line[:3].any()
    down = ink([[[0, 0], [5, 0], [5, 9]]]).reshape(14, 14)
    assert down[:7].sum() > down[7:].sum() and down[:, 7:].sum() > down[:, :7].sum()  # y downwards
    for size in (1, 5, 14, 28, 105):
        assert ink(SQUARE, size).sum() * (105 / size) ** 2 == pytest.approx(square.sum())
    dot = ink([[[3, 4]]], 105)
    assert abs(dot.sum() - np.pi * 2.5**2) < 1.5


@pytest.mark.parametrize("strokes", [*CURVES, *drawings(2, 3)])
def test_ink_does_not_depend_on_place_size_or_order(strokes):
    usual = ink(strokes)
    moved = [[12.0, -7.0] + 3.5 * np.asarray(stroke, float) for stroke in strokes]
    np.testing.assert_allclose(ink(moved), usual, atol=1e-9)
    back = [np.asarray(stroke, float)[::-1] for stroke in strokes[::-1]]
    assert np.abs(ink(back) - usual).max() < 0.01
    finer = [np.insert(np.asarray(s, float), 1, np.add(s[0], s[1]) / 2, axis=0) for s in strokes]
    assert np.abs(ink(finer) - usual).max() < 0.01


@pytest.mark.parametrize("strokes, words", [
    ([], "1 to 100 strokes"), ([[[0, 0]]] * 101, "1 to 100 strokes"), (None, "1 to 100 strokes"), ("abc", "1 to 100 strokes"),
    ([[]], "points"), ([[[0, np.nan]]], "finite"), ([[[0, np.inf]]], "finite"), ([[[0, 1e9]]], "finite"),
    ([[[0, 1, 2]]], "points"), ([[["a", "b"]]], "points"),
    ([[0, 1]], "points"), ([[[0, 1], [2]]], "points"), ([[None]], "points"), ([[[1e10, 0]]], "finite"),
    ([np.zeros((2001, 2))], "2000 points"),
])
def test_what_is_no_drawing_is_refused_in_words(strokes, words):
    with pytest.raises(ValueError, match=f"strokes must .*{words}"):
        ink(strokes)


@pytest.mark.parametrize("size", [0, 106, 1.5])
def test_a_size_is_that_of_an_image(size):
    with pytest.raises(ValueError, match="size"):
        ink(SQUARE, size)


def test_ink_weighs_what_the_data_set_s_drawings_weigh():
    """A line as long as a usual drawing's longer side has the ink that Omniglot's pen leaves on it: ten by the side."""
    try:
        x = omniglot(14, download=False).x.reshape(-1, 14, 14)
    except FileNotFoundError:
        pytest.skip("Omniglot is not at hand")
    sides = np.array([np.ptp(np.flatnonzero(image.max(axis=axis) > 0.2)) for image in x[::7] for axis in (0, 1)])
    longer = sides.reshape(-1, 2).max(axis=1) + 1
    mine = np.array([ink(strokes).reshape(14, 14) for strokes in drawings(3, 100)])
    own = np.array([np.ptp(np.flatnonzero(image.max(axis=axis) > 0.2)) for image in mine for axis in (0, 1)]).reshape(-1, 2)
    assert abs(np.median(longer) - np.median(own.max(axis=1) + 1)) <= 1
    middle = np.array([[np.flatnonzero(image.max(axis=axis) > 0.2)[[0, -1]].mean() for axis in (0, 1)] for image in x[::7]])
    assert np.abs(np.median(middle, axis=0) - 6.5).max() <= 0.5
    assert abs(np.quantile(x[::7].max(axis=(1, 2)), 0.5) - np.quantile(mine.max(axis=(1, 2)), 0.5)) < 0.15


@pytest.fixture(scope="module")
def starts():
    return load_drawing_starts(PATH)


def test_the_judgement_is_that_of_learners_asked_step_by_step(starts):
    learners, n_steps = starts
    some = iter(drawings(4, 20))
    support = [[next(some) for _ in range(n)] for n in (1, 3, 1, 2, 5)]
    query = next(some)
    found = judged(learners, support, query, n_steps)
    x = np.stack([ink(drawing) for column in support for drawing in column])
    y = np.array([0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 4, 4])
    assert list(found) == ["MAML", "pre-trained", "prototypes"]
    for name, table in found.items():
        learner, _ = learners[name]
        assert table.shape == (n_steps + 1, 5)
        np.testing.assert_allclose(table.sum(axis=1), 1)
        for k in (1, 4, n_steps):
            phi = learner.adapt(x[None], y[None], k)[-1, 0]
            np.testing.assert_allclose(table[k], learner.model.predict(phi, ink(query)[None])[0], atol=1e-12)
    np.testing.assert_allclose(found["pre-trained"][0], 0.2)  # a head of zeros
    assert (found["prototypes"][1:] == found["prototypes"][1]).all()
    features = learners["prototypes"][0].model.features(learners["prototypes"][0].theta, np.vstack([x, ink(query)]))
    means = np.array([features[:-1][y == c].mean(axis=0) for c in range(5)])
    assert found["prototypes"][1].argmax() == ((features[-1] - means) ** 2).sum(axis=1).argmin()


def test_what_is_the_same_drawing_wins(starts):
    support = [[drawing] for drawing in drawings(5, 5)]
    for c in range(5):
        moved = [2 * np.asarray(stroke) + 5 for stroke in support[c][0]]
        for table in judged(*starts[:1], support, moved, 11).values():
            assert table[-1].argmax() == c


def test_divergence_is_a_result(starts):
    learner, steps = starts[0]["MAML"]
    wild = {"MAML": (Learner(learner.model, learner.theta, 1e200), steps)}
    support = [[drawing] for drawing in drawings(6, 5)]
    table = judged(wild, support, SQUARE, 4)["MAML"]
    assert np.isfinite(table[0]).all() and not np.isfinite(table[-1]).all()


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (1, 1, 1, 1, 1, 1), (1, 1, 0, 1, 1), (1, 1, MOST_EXAMPLES + 1, 1, 1)])
def test_five_columns_have_one_to_five_examples(starts, counts):
    with pytest.raises(ValueError, match="support must be 5 classes, each with 1 to 5 examples"):
        judged(starts[0], [[SQUARE] * n for n in counts], SQUARE, 1)
    with pytest.raises(ValueError, match="strokes"):
        judged(starts[0], [[SQUARE]] * 5, [], 1)
    with pytest.raises(ValueError, match="k must"):
        judged(starts[0], [[SQUARE]] * 5, SQUARE, 0)


def test_stored_starts_are_those_of_the_study(starts):
    settings, results = load(PATH)
    assert settings == json.loads(json.dumps(study.SETTINGS)) and PATH.stat().st_size < 250_000
    (learners, n_steps), model = starts, starts[0]["MAML"][0].model
    assert n_steps == settings["n_steps"] and model.sizes == (196, 128, 64, 5)
    assert not set(settings["test alphabets"]) & set(settings["validation alphabets"])
    assert results["data"]["to learn from"] == 20 and results["data"]["alphabets"] == 30
    assert not learners["pre-trained"][0].theta[model.head].any()
    assert learners["prototypes"][0].theta is learners["pre-trained"][0].theta
    for key, name in (("MAML", "MAML"), ("joint", "pre-trained")):
        assert learners[name][1] == results[key]["steps"] <= n_steps and learners[name][0].alpha == results[key]["alpha"]
        assert list(results[key]["accuracy"]) == sorted(settings["test alphabets"])


def test_the_study_runs_in_short_on_print(tmp_path):
    settings = copy.deepcopy(study.SETTINGS) | {
        "hidden": [8, 8], "n_iters": {"MAML": 8, "joint": 8}, "looks": 2, "validation": [4, 3, 500], "test": [4, 3, 1000],
        "n_steps": 3, "test alphabets": ["Georgian", "Lao"], "validation alphabets": ["Hebrew", "Old Italic"]}
    results = Results(tmp_path / "study.json", settings)
    study.run(settings, results, printed_characters(), progress=False)
    results.finish(tmp_path / "drawing.json")
    learners, n_steps = load_drawing_starts(tmp_path / "drawing.json")
    assert n_steps == 3 and results.stored["data"]["to learn from"] == 5
    split = printed_characters().split(settings["test alphabets"], settings["validation alphabets"])
    fold = study.Fold(printed_characters(), split, 1, settings)
    for name, result in (("MAML", results.stored["MAML"]), ("pre-trained", results.stored["joint"]),
                         ("prototypes", results.stored["joint"]["prototypes"])):
        learner, steps = learners[name]  # what is stored is what was tested
        again = fold.tested(Choice(0.0, learner, steps))
        assert again["accuracy"] == pytest.approx(result["accuracy"]) and steps == result["steps"]


def test_what_is_stored_is_as_good_on_the_data_as_the_study_says():
    try:
        characters = omniglot(14, download=False)
    except FileNotFoundError:
        pytest.skip("Omniglot is not at hand")
    settings, results = load(PATH)
    n_tasks, n_query, seed = settings["test"]
    own = characters.by_script([c for c in characters.classes if c.startswith("Korean/")], n_query=n_query)["Korean"]
    for name, result in (("MAML", results["MAML"]), ("prototypes", results["joint"]["prototypes"])):
        learner, steps = load_drawing_starts(PATH)[0][name]
        right = evaluate(learner, own, steps=(steps,), n_tasks=n_tasks, seed=seed, metric="accuracy").mean[0]
        assert abs(right - result["accuracy"]["Korean"]) < 0.04, name  # here with what looks like another alphabet's
