"""Studies: choices on validation tasks, results that survive an interrupt, intervals; and data that is fetched."""

import json

import numpy as np
import pooch
import pytest
from scipy import stats

from metacalc import studies
from metacalc.data import download
from metacalc.data.download import fetch
from metacalc.descent import sgd
from metacalc.meta import joint, maml
from metacalc.models import Quadratic
from metacalc.studies import Results, both_intervals, choose, interval
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


def test_a_study_goes_on_with_what_is_missing_and_adds_up_its_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    now = iter(range(100))
    monkeypatch.setattr(studies.time, "perf_counter", lambda: float(next(now)))
    study, asked = Results(tmp_path / "own.json", {"seed": 0}), []

    def stops():
        raise KeyboardInterrupt

    todo = {name: (lambda name=name: asked.append(name) or name.upper()) for name in "abc"}
    with pytest.raises(KeyboardInterrupt):
        study.each(todo | {"b": stops})
    again = Results(tmp_path / "own.json", {"seed": 0})
    again.each(todo, "letters", costs={"c": 3})
    assert asked == ["a", "b", "c"] and again.stored == {"a": "A", "b": "B", "c": "C"}
    assert again.seconds == 3 == json.loads((tmp_path / "own.json").read_text())["seconds"]  # one each, by this clock
    assert Results(tmp_path / "own.json", {"seed": 1}).seconds == 0


class Bar:
    """In the place of tqdm: what it is told."""

    def __init__(self, total, initial, **options):
        self.total, self.n = total, initial
        bars.append((initial, total))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        bars.append((self.n, self.total))

    def set_postfix_str(self, text):
        bars.append(text)

    def update(self, cost):
        self.n += cost


bars = []


def test_the_bar_of_a_study_knows_what_is_done_and_what_each_part_costs(tmp_path, monkeypatch):
    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    study = Results(tmp_path / "own.json", {})
    study.once("a", lambda: 1)
    study.each(dict.fromkeys("abc", lambda: 1), "letters", costs={"b": 2})
    assert bars == [(1, 4), "b", "c", (4, 4)]


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


def test_a_choice_comes_with_the_learning_curve_of_its_setting():
    seen = []

    def judge(choice):
        seen.append(choice)
        return -choice.score

    best = choose(maml, MODEL, TASKS, score, [{"alpha": 0.2, "k": 1}, {"alpha": 0.5, "k": 2}], n_iters=25, every=10,
                  theta0=lambda setting: [3.0], eta=0.1, rule=sgd(), judge=judge, progress=False)
    own = [one for one in seen if one.setting == best.setting]
    assert len(seen) == 6 and [tuple(look) for look in best.curve] == [(one.iteration, one.score, -one.score) for one in own]
    assert [look.iteration for look in best.curve] == [10, 20, 25] and best.score == min(look.score for look in best.curve)
    plain = choose(maml, MODEL, TASKS, score, [{"alpha": 0.2}], n_iters=20, every=10, progress=False)
    assert [look.judged for look in plain.curve] == [None, None]


@pytest.mark.parametrize("scores, iteration", [([3, 2, 1], 25), ([1, 1, 1], 10), ([2, 1, 1], 20)])
def test_validation_looks_at_every_tenth_iteration_and_the_last_and_the_first_of_equals_is_chosen(scores, iteration):
    upcoming = iter(scores)
    best = choose(maml, MODEL, TASKS, lambda learner: [next(upcoming)], [{"alpha": 0.2}], n_iters=25, every=10, progress=False)
    assert best.iteration == iteration and best.score == min(scores) and next(upcoming, None) is None


@pytest.mark.parametrize("every, looks", [([3, 12], [3, 12, 25]), ((25,), [25]), ([], [25]), (7, [7, 14, 21, 25])])
def test_validation_may_look_at_iterations_of_one_s_choice(every, looks):
    best = choose(maml, MODEL, TASKS, score, [{"alpha": 0.2}], n_iters=25, every=every, progress=False)
    assert [look.iteration for look in best.curve] == looks
    with pytest.raises(ValueError, match="every must be"):
        choose(maml, MODEL, TASKS, score, [{"alpha": 0.2}], n_iters=25, every=[0, 3], progress=False)


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


def drawn(rng, n_studies, sizes, n_seeds, luck):
    """Made-up studies: units with spread 1, what a training's units share, and a rest; the true mean is 0."""
    folds = np.repeat(np.arange(len(sizes)), sizes)
    units = rng.normal(size=(1, len(folds), n_studies))
    shared = luck * rng.normal(size=(n_seeds, len(sizes), n_studies))[:, folds]
    return units + shared + 0.5 * rng.normal(size=(n_seeds, len(folds), n_studies)), folds


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_nineteen_of_twenty_intervals_hold_the_truth_whatever_the_seeds_do(luck):
    values, folds = drawn(np.random.default_rng(0), 4000, [20, 22, 25, 22, 22], 3, luck)
    both = both_intervals(values, folds)
    assert [0.93 < np.mean(one.side == 0) < 0.985 for one in both] == [True, True]
    naive = interval(values.mean(axis=0))
    if luck:
        assert np.mean(naive.side == 0) < 0.9 and (both.by_unit.half_width >= naive.half_width * 0.99).all()
    assert both.side.shape == (4000,) and (np.abs(both.side) <= np.abs(both.by_fold.side)).all()


def test_both_intervals_by_hand():
    values, folds = drawn(np.random.default_rng(1), 1, [3, 5], 3, 2.0)
    values, names = values[..., 0], np.array(["a", "b"])[folds]
    both, between, inside, sizes = both_intervals(values, names), 0.0, 0.0, [3, 5]
    for fold, n in enumerate(sizes):
        own, square = values[:, folds == fold], 0.0
        for s in range(3):
            between += n * (own[s].mean() - own.mean()) ** 2 / 2
            square += sum((own[s, u] - own[s].mean() - own[:, u].mean() + own.mean()) ** 2 for u in range(n))
        inside += square / (2 * (n - 1))
    seeds = max((between - inside) / sum(sizes), 0) / 3 * ((3 / 8) ** 2 + (5 / 8) ** 2 - 1 / 8)
    units = np.var(values.mean(axis=0), ddof=1) / 8
    freedom = (units + seeds) ** 2 / (units**2 / 7 + seeds**2 / 4)
    assert seeds > 0
    np.testing.assert_allclose(both.by_unit, [values.mean(), stats.t.ppf(0.975, freedom) * np.sqrt(units + seeds)])
    np.testing.assert_allclose(both.by_fold, interval([values[:, :3].mean(), values[:, 3:].mean()]))
    np.testing.assert_allclose(both_intervals(values[:1], folds).by_unit, interval(values[0]))
    assert (-both).by_unit.mean == -both.by_unit.mean and f"{both:+.2f}" == f"{both.by_unit:+.2f} by units, " \
        f"{both.by_fold:+.2f} by folds"
    for wrong, groups, name in ((values, folds[:5], "values"), (values[0], folds, "values"), (values, np.zeros(8), "folds"),
                                (values * np.nan, folds, "values")):
        with pytest.raises(ValueError, match=name):
            both_intervals(wrong, groups)


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
