"""Studies: choices on validation tasks, results that survive an interrupt, intervals; and data that is fetched."""

import json

import numpy as np
import pooch
import pytest
from scipy import stats

from metacalc.data import download
from metacalc.data.download import fetch
from metacalc.descent import sgd
from metacalc.meta import joint, maml
from metacalc.models import Quadratic
from metacalc.studies import Results, choose, interval
from metacalc.tasks import Quadratics
from metacalc.training import evaluate

TASKS, MODEL = Quadratics(1, spread=1.0), Quadratic(1)


def score(learner):
    return evaluate(learner, TASKS, steps=range(4), n_tasks=50, seed=3).mean


def test_results_are_kept_as_they_come_and_dropped_when_the_settings_change(tmp_path):
    path = tmp_path / "several/results/study.json"
    study = Results(path, {"seed": 0, "rates": (0.1, 0.2)})
    assert study.once("a", lambda: np.arange(3)) == [0, 1, 2]

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.once("b", interrupted)
    again = Results(path, {"seed": 0, "rates": [0.1, 0.2]})
    assert again.once("a", interrupted) == [0, 1, 2] and again.once("b", lambda: {"x": np.float32(1 / 3)}) == {"x": 0.333333}
    assert json.loads(path.read_text())["results"] == {"a": [0, 1, 2], "b": {"x": 0.333333}}
    assert Results(path, {"seed": 1, "rates": [0.1, 0.2]}).stored == {} and not list(tmp_path.rglob("*.part"))


def test_a_finished_study_is_not_worked_out_again(tmp_path):
    study = Results(tmp_path / "own.json", {"seed": 0})
    study.once("a", lambda: 1)
    study.finish(tmp_path / "results/study.json")
    assert Results(tmp_path / "own.json", {"seed": 0}).once("a", lambda: 2) == 1
    assert Results(tmp_path / "results/study.json", {"seed": 0}).stored == {"a": 1}


def test_the_choice_is_the_best_of_all_that_validation_saw():
    seen = {}

    def recorded(learner):
        scores = score(learner)
        seen[float(learner.theta[0]), learner.alpha] = scores
        return scores

    best = choose(maml, MODEL, TASKS, recorded, [{"alpha": 0.2, "k": 1}, {"alpha": 0.5, "k": 2}], n_iters=25, every=10,
                  theta0=lambda setting: [3.0], eta=0.1, rule=sgd(), progress=False)
    assert len(seen) == 2 * 3  # after 10, 20 and 25 iterations
    own = seen[float(best.learner.theta[0]), best.learner.alpha]
    assert best.score == min(s.min() for s in seen.values()) == own[best.steps]
    assert best.learner.alpha == best.setting["alpha"] and best.iteration in (10, 20, 25)


@pytest.mark.parametrize("scores, iteration", [([3, 2, 1], 25), ([1, 1, 1], 10), ([2, 1, 1], 20)])
def test_validation_looks_at_every_tenth_iteration_and_the_last_and_the_first_of_equals_is_chosen(scores, iteration):
    upcoming = iter(scores)
    best = choose(maml, MODEL, TASKS, lambda learner: [next(upcoming)], [{"alpha": 0.2}], n_iters=25, every=10, progress=False)
    assert best.iteration == iteration and best.score == min(scores) and next(upcoming, None) is None


def test_a_baseline_has_its_rate_and_its_end_chosen_too_and_a_score_that_is_nan_loses():
    rates = []

    def broken(learner):
        rates.append(learner.alpha)
        return np.full(3, np.nan) if learner.alpha == 0.7 else score(learner)

    best = choose(joint, MODEL, TASKS, broken, [{}], n_iters=20, every=10, rates=(0.3, 0.7), eta=0.1, progress=False)
    assert rates == [0.3, 0.7] * 2 and best.learner.alpha == 0.3 and best.steps > 0
    with pytest.raises(ValueError, match="finite"):
        choose(joint, MODEL, TASKS, lambda *_: [np.nan], [{}], n_iters=2, every=1, rates=[0.1], progress=False)
    with pytest.raises(ValueError, match="settings"):
        choose(joint, MODEL, TASKS, score, [], n_iters=2, every=1)


def test_the_interval_is_the_t_test_s():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, 2))
    mean, half_width = interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    np.testing.assert_allclose([mean - half_width, mean + half_width], [expected.low, expected.high])
    for bad in ([1.0], 3.0, [1.0, np.nan]):
        with pytest.raises(ValueError, match="values"):
            interval(bad)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A data set of one small file, no mirror, an empty cache."""
    source = tmp_path / "source.txt"
    source.write_text("ratings")
    monkeypatch.setattr(download, "FILES", {"small/file.txt": (source.as_uri(), pooch.file_hash(source))})
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv(download.MIRROR, raising=False)
    return tmp_path


def test_the_mirror_is_asked_first_then_the_cache(small, monkeypatch):
    for folder in ("mirror", "cache/metacalc"):
        (small / folder / "small").mkdir(parents=True)
        (small / folder / "small/file.txt").write_text("ratings")
    assert fetch("small/file.txt") == small / "cache/metacalc/small/file.txt"
    monkeypatch.setenv(download.MIRROR, str(small / "mirror"))
    assert fetch("small/file.txt") == small / "mirror/small/file.txt"


def test_a_missing_or_damaged_file_says_where_it_goes_and_leaves_nothing(small, monkeypatch):
    place = small / "cache/metacalc/small/file.txt"
    with pytest.raises(FileNotFoundError, match=str(place)):
        fetch("small/file.txt", download=False)

    def broken(content):
        def get(url, output_file, *_):
            with open(output_file, "w") as file:
                file.write(content)
            if content == "rat":
                raise OSError("the connection was lost")
        return get

    for content in ("rat", "not the ratings"):
        monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: broken(content))
        with pytest.raises(FileNotFoundError, match=str(place)):
            fetch("small/file.txt")
        assert not [p for p in (small / "cache").rglob("*") if p.is_file()]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("rat")
    with pytest.raises(FileNotFoundError, match="damaged"):
        fetch("small/file.txt")
    with pytest.raises(ValueError, match="name"):
        fetch("small/other.txt")


def test_without_leave_nothing_is_downloaded(small, monkeypatch):
    def no(*_, **__):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(pooch, "retrieve", no)
    with pytest.raises(FileNotFoundError, match="by hand"):
        fetch("small/file.txt", download=False)


def test_a_download_arrives_where_it_is_looked_for(small, monkeypatch):
    def get(url, output_file, *_):
        with open(output_file, "w") as file:
            file.write("ratings")

    asked = []
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **options: asked.append(options) or get)
    path = fetch("small/file.txt")
    assert asked == [{"progressbar": True}], "large files take their time"
    assert path.read_text() == "ratings" and path == fetch("small/file.txt", download=False)
