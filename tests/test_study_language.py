"""The language study: a short version runs, and one contender of one fold gives what is stored."""

import importlib.util
import json

import numpy as np
import pytest

from conftest import ROOT
from metacalc import adam, clipped, gradient_descent
from metacalc.course.language import TRAINING, load_study
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
        assert json.loads(path.read_text())["settings"] == json.loads(json.dumps(settings)) and path.stat().st_size < 200_000
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
