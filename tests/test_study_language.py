"""The language study: a short version runs, and one contender of one fold gives what is stored."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import ROOT
from metacalc import adam, clipped, gradient_descent
from metacalc.course.language import TRAINING, load_growth, load_study
from metacalc.data.languages import families, folds
from metacalc.studies import Results
from test_languages import studied

SPEC = importlib.util.spec_from_file_location("study_language", ROOT / "studies/language.py")
study = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(study)
PATH = ROOT / "chapters/results/language.json"
SHORT = study.SETTINGS | {
    "n_folds": 5, "seeds": [0], "n_iters": 4, "every": 4, "n_valid": 1, "n_test": 1, "shots": [1, 10], "rates": [1.0],
    "n_steps": 1,
    "stops": [2, 4], "scratch": {"rates": [1.0], "n_steps": 1}, "bigrams": {"orders": [1], "pooled": [80], "strengths": [32]},
    "outer_rates": [1e-3, 2e-3],
    "contenders": {name: [grid[:1], rates] for name, (grid, rates) in study.SETTINGS["contenders"].items()},
}
COUNTING = study.COUNTING | {"n_valid": 1, "n_test": 1, "shots": [1, 10], "orders": [1], "pooled": [80],
                             "strengths": [32, "inf"], "sweeps": 1}


def test_a_short_version_runs_and_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    path = tmp_path / "language.json"
    results = Results(path, SHORT)
    study.run(SHORT, results)
    results = Results(path.with_name("language_counts.json"), COUNTING)
    study.run(COUNTING, results, "language_counts")
    before = path.read_text()
    again = Results(path, SHORT)
    again.once = lambda key, work: again.stored[key]
    study.run(SHORT, again)
    assert path.read_text() == before
    for design in ("language", "family"):
        short = load_study(path, design)
        assert sorted(short.codes) == sorted(families()) and all(b.shape == (2, len(families())) for b in short.bits.values())
        assert all(np.isfinite(b).all() and (b > 2).all() and (b < 8).all() for b in short.bits.values())


def test_what_is_stored_was_made_with_the_settings_in_the_program():
    for name, settings in study.STUDIES.items():
        path = PATH.with_name(f"{name}.json")
        assert json.loads(path.read_text())["settings"] == json.loads(json.dumps(settings)) and path.stat().st_size < 250_000
    for design in ("language", "family"):
        assert [run["languages"] for run in load_study(PATH, design).runs] == [list(fold.test) for fold in folds(design)]


@studied
@pytest.mark.parametrize("design, fold", [("family", 4)])
def test_the_stored_numbers_come_out_again(design, fold):
    """Counting exactly; joint training, one of its seeds, as closely as two of its seeds agree."""
    sides, kept = study.Sides(study.SETTINGS, design, fold), load_study(PATH, design).runs[fold]
    np.testing.assert_allclose(study.bigrams(sides)["bits"], kept["bigrams"]["bits"], atol=1e-4)
    found = study.backing_off(sides, study.COUNTING, [10])
    assert found["chosen"][0] == kept["counts"]["chosen"][study.SETTINGS["shots"].index(10)]
    np.testing.assert_allclose(found["bits"][0], kept["counts"]["bits"][study.SETTINGS["shots"].index(10)], atol=1e-4)
    settings = study.SETTINGS | {"seeds": [0], "shots": [10]}
    sides = study.Sides(settings, design, fold)
    found = study.summary(sides, study.trained(sides, "joint"))
    place = study.SETTINGS["shots"].index(10)
    np.testing.assert_allclose(found["seeds"][0], kept["joint"]["seeds"][0], atol=0.01)
    assert np.abs(np.array(found["bits"][0]) - np.array(kept["joint"]["bits"][place])).max() < 0.1


def test_training_clips_gradients_as_the_settings_say():
    grad = lambda theta: theta * [3.0, 40.0]  # of norms below and above 1
    found, expected = (gradient_descent(grad, [0.3, 0.02], 0.1, 20, rule) for rule in (
        TRAINING["rule"], clipped(adam(), 1.0)))
    np.testing.assert_array_equal(found, expected)
    assert study.SETTINGS["training"]["rule"] == "adam, gradients clipped to 1"


def test_fewer_languages_are_drawn_the_same_way_and_their_gains_are_read(tmp_path, monkeypatch):
    """A short version; what is read of it is worked out a second way, from its file alone."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    short = study.GROWTH | {"designs": ["language"], "seeds": [0, 1], "n_languages": [2, 3], "shots": [2]}
    asked = []

    def brief(settings, sides, chosen, n_languages, seed):
        assert set(chosen) == {"joint", "FOMAML", "MAML"}
        rng = np.random.default_rng([n_languages, seed, *map(ord, sides.test.codes[0])])
        asked.append((n_languages, seed))
        return {name: {"iteration": 1, "bits": rng.normal(4, 0.1, (1, len(sides.test.codes)))} for name in chosen}

    monkeypatch.setattr(study, "fewer", brief)
    results = Results(tmp_path / "language_growth.json", short)
    study.run_growth(short, results)
    assert asked == [(n, seed) for seed in (0, 1) for _ in range(5) for n in (2, 3)]
    for name in ("language.json", "language_counts.json"):
        (tmp_path / name).write_text(PATH.with_name(name).read_text())
    found = load_growth(tmp_path / "language_growth.json", "language", 2)
    values = {(n, name, seed): np.concatenate([results.stored[f"language/{i}/{n}/{seed}"][name]["bits"][0] for i in range(5)])
              for n in (2, 3) for name in ("joint", "MAML") for seed in (0, 1)}
    for n in (2, 3):
        own = np.mean([values[n, "joint", seed] - values[n, "MAML", seed] for seed in (0, 1)])
        more = np.mean([values[2, "joint", seed] - values[n, "joint", seed] for seed in (0, 1)])
        assert found[n]["MAML"].by_unit.mean == pytest.approx(own, abs=1e-6)
        assert found[n]["joint"].by_unit.mean == pytest.approx(more, abs=1e-6)


def test_of_fewer_languages_the_fewest_are_among_the_more(monkeypatch):
    sides, drawn = study.Sides(study.SETTINGS, "language", 0), []
    monkeypatch.setattr(study, "best_of", lambda sides, *_: drawn.append(set(sides.train.codes)) or SimpleNamespace(
        learner=None, iteration=0))
    monkeypatch.setattr(study, "tested", lambda *_: ([], np.zeros((1, 1))))
    for n in (8, 16, 64):
        study.fewer(study.GROWTH | {"contenders": ["joint"]}, sides, {"joint": {}}, n, 0)
    eight, sixteen, every = drawn
    assert (len(eight), len(sixteen)) == (8, 16) and eight < sixteen < every == set(sides.words[0]) == set(sides.train.codes)
