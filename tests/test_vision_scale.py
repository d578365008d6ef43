"""The study of thirty alphabets: its splits, its stored results and their reading, and a short run of it."""

import copy
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from conftest import ROOT
from metacalc.course.figures.vision import learning_curves
from metacalc.course.vision import SCALE_NAMES, Scale, load_scale, scale_table
from metacalc.data.characters import omniglot, omniglot_background, printed_characters, script_of
from metacalc.prototypes import Prototypes
from metacalc.studies import Results, both_intervals

sys.path.insert(0, str(ROOT / "studies"))
import vision_scale as study  # noqa: E402

PATH = ROOT / "chapters/results/vision_scale.json"
SCALE = load_scale(PATH)
LETTERS = printed_characters()
KNOWN = replace(LETTERS, turns=np.zeros((3, *LETTERS.alike.shape), bool))  # as if all turned letters were new


def short():
    """Settings for a few seconds, on print."""
    settings = copy.deepcopy(study.SETTINGS)
    return settings | {"size": 14, "hidden": [8, 8], "n_validation": 2, "seeds": [0, 1], "n_query": 3, "reptile_shots": 4,
                       "n_iters": dict.fromkeys(settings["n_iters"], 8),
                       "long": settings["long"] | {"looks": {"1": [12, 16], "5": [12]}},
                       "validation": [2, 5, 500], "test": [2, 5, 1000], "steps": [1, 3], "scratch_steps": [1, 3]}


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    """A short run on print, interrupted and gone on with: its folder, its settings and its results."""
    folder, settings = tmp_path_factory.mktemp("brief"), short()
    results = Results(folder / "study.json", settings)
    work = study.todo(settings, results, KNOWN)
    for key in list(work)[:40]:
        results.once(key, work[key])
    results = Results(folder / "study.json", settings)
    study.run(settings, results, KNOWN)
    results.finish(folder / "results/study.json")
    return folder, settings, results.stored


def test_a_short_run_has_every_result_and_leaves_no_checkpoint(brief):
    folder, settings, stored = brief
    assert not list(folder.glob("*.npz"))
    for fold in range(3):
        for k_shots in (1, 5):
            where = f"{fold}/{k_shots}"
            test = set(KNOWN.scripts[fold::3])
            assert set(stored[f"{where}/pixels"]["accuracy"]) == set(stored[f"{where}/scratch/1"]["accuracy"]) == test
            for name in study.METHODS:
                found = stored[f"{where}/{name}/settings"]
                assert len(found["tried"]) == 4 and found["best"] in [run["setting"] for run in found["tried"]]
                for seed in (0, 1):
                    curve = stored[f"{where}/{name}/{seed}"]["curve"]
                    assert [look["iteration"] for look in curve] == [2, 4, 8]
                    assert all(set(look["accuracy"]) == test and look["steps"] in (1, 3) for look in curve)
                    assert all(("prototypes" in look) == (name == "joint") for look in curve)
                longer = settings["long"]["looks"][str(k_shots)]
                long = f"{where}/{name}/0/long"
                assert (long in stored) == (name in settings["long"]["methods"])
                assert long not in stored or [look["iteration"] for look in stored[long]["curve"]] == longer
                slower = f"{where}/{name}/0/slower"
                assert (slower in stored) == (long in stored)
                assert slower not in stored or [look["iteration"] for look in stored[slower]["curve"]] == [8, *longer]


def test_a_longer_training_is_the_shorter_one_gone_on_with(brief):
    _, settings, stored = brief
    fold = study.Fold(KNOWN, 1, 1, settings)
    for name in settings["long"]["methods"]:
        best = stored[f"1/1/{name}/settings"]["best"]
        whole = study.curve(fold, name, best, 0, [2, 4, 8, 12, 16])["curve"]
        found = stored[f"1/1/{name}/0"]["curve"] + stored[f"1/1/{name}/0/long"]["curve"]
        assert [(a["iteration"], a["steps"]) for a in whole] == [(b["iteration"], b["steps"]) for b in found]
        for one, other in zip(whole, found):
            assert one["accuracy"] == pytest.approx(other["accuracy"], abs=1e-4)


def test_a_fold_s_sides_share_no_class_and_only_training_is_turned():
    for i in range(3):
        fold = study.Fold(KNOWN, i, 1, short())
        train, validation, test = fold.sides
        sides = [{script_of(c) for c in side} for side in fold.sides]
        assert sides[2] == set(KNOWN.scripts[i::3]) and len(sides[1]) == 2 and not set.intersection(*sides)
        assert {label.split(" ")[0] for label in fold.labels} == {label.split(" ")[0] for label in train}
        assert {label.rpartition(" ")[2] for label in fold.labels} >= {"90°", "180°", "270°"}
        for side, tasks in ((validation, fold.validation), (test, fold.test)):
            labels = np.concatenate([one.labels for one in tasks.values()])
            assert set(labels) == set(side) and not any("°" in label for label in labels)
            rows = {row.tobytes() for one in tasks.values() for row in one.x}
            assert not rows & {row.tobytes() for row in fold.x}


def test_the_counts_are_those_of_the_splits(brief):
    _, settings, stored = brief
    data = stored["data"]
    assert (data["alphabets"], data["classes"], data["images"]) == (9, len(KNOWN.classes), len(KNOWN.x))
    for i, (sides, turned) in enumerate(zip(data["split"], data["with turns"])):
        fold = study.Fold(KNOWN, i, 5, settings)
        assert sides == [len(side) for side in fold.sides] and turned == 4 * sides[0] == len(set(fold.labels))


def test_every_method_has_as_many_settings_and_the_same_outer_rates():
    s = study.SETTINGS
    assert set(s["inner"]) == set(s["n_iters"]) == set(study.METHODS) < set(SCALE_NAMES)
    assert {len(inner) for inner in s["inner"].values()} == {2}
    for key, found in SCALE.results.items():
        if key.endswith("/settings"):
            inner = s["inner"][key.split("/")[2]]
            first, *others = s["outer"]
            tried, best = [run["setting"] for run in found["tried"]], {}
            assert tried[:2] == [one | {"eta": first} for one in inner]
            winner = max(found["tried"][:2], key=lambda run: run["validation"])["setting"]
            assert tried[2:] == [winner | {"eta": eta} for eta in others]
            best = max(found["tried"], key=lambda run: run["validation"])["setting"]
            assert found["best"] == best


def test_the_stored_results_are_whole(tmp_path):
    stored = json.loads(PATH.read_text(encoding="utf-8"))
    assert stored["settings"] == json.loads(json.dumps(Results(tmp_path / "none.json", study.SETTINGS).settings))
    assert PATH.stat().st_size < 300_000
    assert list(SCALE.folds.values()) == [i for i in range(3) for _ in range(10)] and len(set(SCALE.folds)) == 30
    assert set(SCALE_NAMES) - {"iMAML"} <= set(SCALE.methods)
    s = study.SETTINGS
    for name in SCALE.methods:
        for k_shots in s["shots"]:
            values = SCALE.accuracy(name, k_shots)
            assert values.shape == (len(SCALE.seeds(name, k_shots)), 30) and 0.2 < values.min() <= values.max() <= 1
            for fold in range(3) if SCALE.usual(name) else ():
                for seed in SCALE.seeds(name, k_shots):
                    looks = SCALE.looks(name, k_shots, fold, seed)
                    usual = [SCALE.usual(name) // part for part in s["looks"]]
                    assert [look["iteration"] for look in looks][:3] == usual
                    assert all(look["steps"] in s["steps"] for look in looks)


def test_a_scale_reads_the_look_that_validates_best_within_a_budget():
    def look(iteration, validation, *accuracy):
        return {"iteration": iteration, "validation": validation, "accuracy": dict(zip("AB", accuracy))}

    def other(one):
        return one | {"accuracy": dict(zip("CD", one["accuracy"].values()))}

    runs = {"0": [look(2, 0.6, 0.5, 0.7), look(4, 0.5, 0.1, 0.1)], "1": [look(2, 0.1, 0.0, 0.0), look(4, 0.2, 0.6, 0.8)],
            "0/long": [look(16, 0.9, 0.9, 0.8), look(20, 0.5, 0.1, 0.1)],
            "0/slower": [look(4, 1.0, 0.0, 0.0), look(16, 0.8, 0.1, 0.1), look(20, 1.0, 0.7, 0.7)]}
    results = {f"{fold}/1/MAML/{end}": {"seconds": 2.5 + int(end[0]), "curve": [change(one) for one in curve]}
               for fold, change in ((0, dict), (1, other)) for end, curve in runs.items()}
    flat = {"seconds": 5, "curve": [look(2, 0.5, 0.4, 0.5)]}
    flat["curve"][0]["prototypes"] = {"A": 0.1, "B": 0.3}
    turned = [other(one) | {"prototypes": {"C": 0.2, "D": 0.4}} for one in flat["curve"]]
    results |= {"0/1/joint/0": flat, "1/1/joint/0": {"seconds": 5, "curve": turned},
                "0/1/joint/1": flat, "0/1/pixels": {"accuracy": {"A": 0.3, "B": 0.2}},
                "1/1/pixels": {"accuracy": {"C": 0.1, "D": 0.4}}, "0/1/scratch/0": {"accuracy": {"A": 0.3, "B": 0.2}}}
    settings = {"shots": [1], "n_folds": 2, "seeds": [0, 1], "n_iters": {"MAML": 4, "joint": 4}}
    scale = Scale(settings, results, {"A": 0, "B": 0, "C": 1, "D": 1})
    assert scale.methods == ["prototypes", "joint", "MAML", "pixels"]
    np.testing.assert_allclose(scale.accuracy("prototypes", 1), [[0.1, 0.3, 0.2, 0.4]])
    assert (scale.usual("prototypes"), scale.usual("MAML"), scale.usual("pixels")) == (4, 4, None)
    assert scale.seconds("prototypes", 1) == 5 and scale.seconds("MAML", 1) == 3
    assert scale.seeds("MAML", 1) == [0, 1] and scale.seeds("joint", 1) == [0] and scale.seeds("scratch", 1) == []
    np.testing.assert_allclose(scale.accuracy("MAML", 1), [[0.5, 0.7] * 2, [0.6, 0.8] * 2])
    np.testing.assert_allclose(scale.accuracy("MAML", 1, 16), [[0.9, 0.8] * 2])
    np.testing.assert_allclose(scale.accuracy("MAML", 1, 2), [[0.5, 0.7] * 2, [0.0, 0.0] * 2])
    np.testing.assert_allclose(scale.accuracy("pixels", 1), [[0.3, 0.2, 0.1, 0.4]])
    np.testing.assert_allclose(scale.accuracy("MAML", 1, 20), [[0.7] * 4])
    assert [look["validation"] for look in scale.looks("MAML", 1, 0, 0)] == [0.6, 0.5, 0.9, 1.0]
    assert scale.budgets("MAML", 1) == [2, 4, 16, 20] and scale.budgets("joint", 1) == [2]
    gain = scale.gain("MAML", "joint", 1)  # from the one seed that both have
    assert gain == both_intervals([[0.5 - 0.4, 0.7 - 0.5] * 2], [0, 0, 1, 1])
    assert gain.by_unit.mean == pytest.approx(0.15) and gain.by_fold.half_width == pytest.approx(0, abs=1e-12)
    assert scale.gain("MAML", "pixels", 1).by_unit.mean == pytest.approx(0.65 - 0.25)
    table = scale_table(scale, 1)
    assert "| joint | 0.450 | – | – | 4 | 5 | 1 |" in table
    assert "| MAML | 0.650 | +0.150 ± 0.092 | ± 0.000 | 4 | 3 | 2 |" in table
    assert "| pixels | 0.250 | −0.200 ± 0.184 | ± 0.000 | – | – | – |" in table
    with pytest.raises(ValueError, match="n_iters must be at least"):
        scale.accuracy("MAML", 1, 1)


def test_the_picture_shows_every_method_from_look_to_look():
    for k_shots in (1, 5):
        (ax,) = learning_curves(SCALE, k_shots).axes
        lines = {line.get_label(): line for line in ax.get_lines() if line.get_label()[0] != "_"}
        assert list(lines) == [name for name in SCALE.methods if name not in ("scratch", "pixels")]
        for name, line in lines.items():
            x, y = line.get_data()
            assert list(x) == SCALE.budgets(name, k_shots)
            np.testing.assert_allclose(y, [SCALE.accuracy(name, k_shots, n)[0].mean() for n in x])
        looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines.values()}
        assert len(looks) == len(lines)


def test_stored_results_are_reproduced():
    """What needs no training exactly, and the first look at a training."""
    try:
        characters = omniglot_background(study.SETTINGS["size"], download=False)
    except FileNotFoundError as error:
        pytest.skip(f"the study of thirty alphabets was not rerun: {error}")
    for k_shots in (1, 5):
        fold = study.Fold(characters, 2, k_shots, study.SETTINGS)
        assert fold.nearest()["accuracy"] == pytest.approx(SCALE.results[f"2/{k_shots}/pixels"]["accuracy"], abs=1e-4)
    s, best = study.SETTINGS, SCALE.results["2/5/ProtoNet/settings"]["best"]
    stored = SCALE.looks("ProtoNet", 5, 2, 0)[0]
    again = fold.trained("ProtoNet", best, 0, [s["n_iters"]["ProtoNet"] // s["looks"][0]], s["factors"])
    assert type(again.learner) is Prototypes and 1 - again.score == pytest.approx(stored["validation"], abs=0.03)
    assert 1 - again.score > 0.6


def test_the_background_set_is_what_the_study_says():
    """All 30 alphabets, and what `omniglot` has of them pixel by pixel; no split of the study's leaks."""
    try:
        characters = omniglot_background(study.SETTINGS["size"], download=False)  # kept from the test before
    except FileNotFoundError as error:
        pytest.skip(f"the whole background set was not tested: {error}")
    assert len(characters.x) == 19280 and len(characters.classes) == 964 and len(characters.scripts) == 30
    assert set(np.unique(characters.labels, return_counts=True)[1]) == {20} and characters.x.shape[1] == 784
    assert (characters.alike == characters.alike.T).all() and not characters.alike.diagonal().any()
    np.testing.assert_array_equal(characters.turns[1], characters.turns[1].T)  # half a turn there is half a turn back
    np.testing.assert_array_equal(characters.turns[0], characters.turns[2].T)
    small = omniglot(28, download=False)
    np.testing.assert_array_equal(characters.x[np.isin(characters.labels, small.classes)], small.x)
    places = {c: i for i, c in enumerate(characters.classes)}
    for fold in range(3):
        train, validation, test = characters.split(characters.scripts[fold::3])
        assert not validation and {script_of(c) for c in test} == set(characters.scripts[fold::3]) and len(train) > 300
        assert not characters.alike[np.ix_([places[c] for c in train], [places[c] for c in test])].any()
