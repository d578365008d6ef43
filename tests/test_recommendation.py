"""The application to recommendation: its figures entry by entry, and its study's numbers, held to the data if at hand."""

import functools
import importlib.util
import json

import numpy as np
import pytest

from conftest import ROOT, number_of
from metacalc.course.figures import recommendation as figures
from metacalc.course.recommendation import N_STEPS, load_taste
from metacalc.data.food import food_world_cup
from metacalc.studies import Results

PATH = ROOT / "chapters/results/recommendation.json"
RESULTS = json.loads(PATH.read_text(encoding="utf-8"))
LIVE, TABLE = RESULTS["results"]["live"], RESULTS["results"]["table"]
N = len(LIVE["countries"])
THETA, MEAN, COV = np.array(LIVE["theta"]), np.array(LIVE["mean"]), np.zeros((N, N))
for value, i, j in zip(LIVE["cov"], *np.triu_indices(N)):
    COV[i, j] = COV[j, i] = value
ASKED = ["England", "India", "Cuba"]


def net(theta):
    """The layers of the net by hand: every item's output, and its inner activations."""
    H = RESULTS["settings"]["hidden"]
    W, b, w, c = theta[:N * H].reshape(N, H), theta[N * H:N * H + H], theta[-H - 1:-1], theta[-1]
    a = np.tanh(W + b)
    return a @ w + c, a, w


@functools.cache
def by_hand(ratings):
    """Predictions after 0, ..., 5 steps, and the posterior's mean and variance, for ratings of `ASKED` (0: none)."""
    rated = [(LIVE["countries"].index(name), rating) for name, rating in zip(ASKED, ratings) if rating]
    theta, path = THETA.copy(), [net(THETA)[0]]
    for _ in range(5):
        z, a, w = net(theta)
        slope = np.zeros_like(theta)
        for i, rating in rated:
            e, H = 2 / len(rated) * (z[i] - rating), a.shape[1]
            inner = e * w * (1 - a[i] ** 2)
            slope[i * H:(i + 1) * H] += inner
            slope[N * H:N * H + H] += inner
            slope[-H - 1:-1] += e * a[i]
            slope[-1] += e
        theta = theta - LIVE["alpha"] * slope
        path.append(net(theta)[0])
    # The posterior in the form with the precisions: only its diagonal changes where somebody has rated.
    precision = np.linalg.inv(COV)
    pull = np.zeros(N)
    for i, rating in rated:
        precision[i, i] += 1 / LIVE["noise"]
        pull[i] = (rating - MEAN[i]) / LIVE["noise"]
    variance = np.linalg.inv(precision)
    return np.array(path), MEAN + variance @ pull, np.diagonal(variance)


def moved(z, start):
    return np.sqrt(((z - start) ** 2).mean())


def cuisines_readout(england, india, cuba, k):
    path, posterior, _ = by_hand((england, india, cuba))
    unknown = [i for i, name in enumerate(LIVE["countries"]) if name not in ASKED]
    best = [unknown[int(np.argmax(z[unknown]))] for z in (path[int(k)], posterior)]
    return (f"After {number_of(k, 'step')} MAML expects you to like best, of the 37 others: "
            f"{LIVE['countries'][best[0]]} ({path[int(k)][best[0]]:.2f}). "
            f"The Gaussian prior: {LIVE['countries'][best[1]]} ({posterior[best[1]]:.2f}).\nChange of the predictions (root "
            f"mean square): MAML {moved(path[int(k)], path[0]):.3f}, Gaussian prior {moved(posterior, MEAN):.3f}.")


def rating_errors_readout(shots):
    row = TABLE[f"{shots:.0f}"]
    error = {name: row[name]["mse"][0] for name in ("Gaussian prior", "MAML", "joint + fine-tuning", "damped offset")}
    return (f"From {number_of(shots, 'rating')}: " + ", ".join(f"{name} {value:.3f}" for name, value in error.items())
            + f".\nMAML minus Gaussian prior, person by person: {row['MAML']['minus prior'][0]:.4f} ± "
              f"{row['MAML']['minus prior'][1]:.4f}.")


def cuisines():
    return figures.cuisines(load_taste(PATH))


def rating_errors():
    return figures.comparison(TABLE, RESULTS["settings"]["shots"])


def close(table, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(table, np.broadcast_to(expected, np.shape(table)), rtol=1e-6, atol=1e-8)


@functools.cache
def all_by_hand():
    """Everything at every position: paths (6, 6, 6, 6, N), posterior means and variances (6, 6, 6, 1, N)."""
    index = [(a, b, c) for a in range(6) for b in range(6) for c in range(6)]
    paths, means, variances = zip(*(by_hand(tuple(map(float, ratings))) for ratings in index))
    one = lambda z: np.array(z).reshape(6, 6, 6, 1, N)
    return np.array(paths).reshape(6, 6, 6, 6, N), one(means), one(variances)


def check_cuisines(stage):
    paths, means, variances = all_by_hand()
    rows, (first, second, third, level, path, point) = stage.marks[:-6], stage.marks[-6:]
    order = sorted(range(N), key=lambda i: -LIVE["rated"][i])
    shown = [LIVE["countries"].index(name) for name in ASKED]
    shown += [i for i in order if i not in shown][:13]
    for n, i in enumerate(shown):
        bar, prior, maml = rows[3 * n:3 * n + 3]
        close(bar.x, means[..., i, None] + np.sqrt(variances[..., i, None]) * [-1, 1])
        close(prior.x, means[..., i])
        close(maml.x, paths[..., i])
        close([bar.y, prior.y, maml.y - 0.42], 15 - n - 0.21)
        assert LIVE["countries"][i] in prior.name and LIVE["countries"][i] in maml.name
    for axis, mark in enumerate((first, second, third)):
        close(np.moveaxis(mark.x, axis, 0).ravel(), np.arange(6))
        assert mark.y == 15 - axis and mark.drag == (ASKED[axis].lower(),) == (stage.sliders[axis].name,)
    close(stage.guess.answer, paths[..., shown[3]])
    rms = lambda z, start: np.sqrt(((z - start) ** 2).mean(axis=-1))
    close(level.y, rms(means, MEAN)[..., None])
    close(level.x, [-0.3, 5.3])
    for mark in (path, point):
        close(mark.y, rms(paths, paths[0, 0, 0, 0]))
        close(mark.x, np.arange(6))


def check_rating_errors(stage):
    marks = iter(stage.marks)
    close(stage.guess.answer, [TABLE[K]["MAML"]["minus prior"][0] for K in ("2", "5", "10")])
    for field in ("mse", "minus prior"):
        for row, name in enumerate(figures.LOOKS):
            mean, half = np.array([TABLE[K][name][field] for K in ("2", "5", "10")]).T
            bar, point = next(marks), next(marks)
            close(bar.x, np.stack([mean - half, mean + half], axis=-1))
            close(point.x, mean)
            close([bar.y, point.y], 6 - row)
            assert point.name == name


def test_the_questions_are_the_best_of_the_best_known():
    taste = load_taste(PATH)
    order = sorted(range(N), key=lambda i: -LIVE["rated"][i])[:16]
    left = {}
    for a in order:
        for b in order:
            for c in order:
                if a < b < c:
                    S = [a, b, c]
                    rest = COV - COV[:, S] @ np.linalg.inv(COV[np.ix_(S, S)] + LIVE["noise"] * np.eye(3)) @ COV[S]
                    left[a, b, c] = np.diagonal(rest).sum() - sum(rest[i, i] for i in S)
    assert {LIVE["countries"][i] for i in min(left, key=left.get)} == set(ASKED)
    assert taste.countries == tuple(LIVE["countries"])


def test_a_path_has_the_steps_that_the_figure_shows():
    taste = load_taste(ROOT / "chapters/results/recommendation.json")
    assert N_STEPS == 5 and len(taste.path(np.array([[0, 1]]), np.array([[1.0, 2.0]]))) == N_STEPS + 1


def test_one_s_own_ratings():
    taste = load_taste(PATH)
    z = taste.predict({"India": 2, "England": 5}, 3)
    path, posterior, _ = by_hand((5.0, 2.0, 0.0))
    np.testing.assert_allclose(z, [path[3], posterior], rtol=1e-9)
    np.testing.assert_allclose(taste.predict({}, 4), [path[0], MEAN], rtol=1e-9)
    path, posterior, _ = by_hand((1.0, 0.0, 5.0))  # the lowest rating and the highest, and a single step
    np.testing.assert_allclose(taste.predict({"England": 1, "Cuba": 5}, 1), [path[1], posterior], rtol=1e-9)
    for wrong in ({"Atlantis": 3}, {"Italy": 6}, {"Italy": np.nan}):
        with pytest.raises(ValueError, match="ratings must"):
            taste.predict(wrong, 1)


def study():
    spec = importlib.util.spec_from_file_location("study_recommendation", ROOT / "studies/recommendation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def module():
    try:
        food_world_cup(download=False)
    except FileNotFoundError as error:
        pytest.skip(f"the Food World Cup is not at hand, the study is not rerun: {error}")
    return study()


def test_the_study_s_folds_share_nobody(module):
    _, _, enough, light, folds = module.folds(module.SETTINGS)
    assert RESULTS["settings"] == json.loads(json.dumps(module.SETTINGS)), "run `make studies`"
    seen = np.zeros(len(enough), int)
    for fold in folds:
        train, validation, test = map(set, fold.people)
        assert not (train & validation or train & test or validation & test)
        assert np.array_equal(fold.train, enough[sorted(train)], equal_nan=True)
        seen[sorted(test)] += 1
    assert (seen == 1).all() and (np.isfinite(light).sum(axis=1) < 15).all()


def test_what_is_deterministic_comes_out_again(module):
    """All folds of the methods without training, to the digits that are stored."""
    _, _, _, _, folds = module.folds(module.SETTINGS)
    for K in module.SETTINGS["shots"]:
        judged = [module.item_means(fold, K) for fold in folds]
        for name in ("item mean", "damped offset"):
            errors = np.concatenate([j[name][f"errors {K}"] for j in judged])
            mean, half = module.interval(errors)
            np.testing.assert_allclose(TABLE[str(K)][name]["mse"], [mean, half], rtol=1e-4)
    data = json.loads(json.dumps(module.missing(module.SETTINGS), default=lambda a: a.tolist()))
    np.testing.assert_allclose(data["item_mean"], RESULTS["results"]["data"]["item_mean"], rtol=1e-4)
    np.testing.assert_allclose(data["groups"], RESULTS["results"]["data"]["groups"], rtol=1e-4)


def test_a_short_run_of_the_study_comes_near_its_numbers(module, tmp_path):
    """One fold, with the settings that the study chose there; another machine's rounding moves a trained net a little."""
    settings, i, K = module.SETTINGS, 1, 5
    chosen = {name: RESULTS["results"]["chosen"][f"{K} {name}"][i][0] for name in ("MAML", "Gaussian prior")}
    short = settings | {"inner": [chosen["MAML"]], "noise": [chosen["Gaussian prior"]["noise"]],
                        "strength": [chosen["Gaussian prior"]["strength"]]}
    results = module.run(short, Results(tmp_path / "short.json", short), shots=[K], only_folds=[i],
                         methods=["damped offset", "MAML", "Gaussian prior"], traps=False, progress=False)
    stored = {name: RESULTS["results"]["folds"][str(K)][name][i] for name in module.METHODS}
    errors = {name: float(np.mean(results.stored[f"{i} {K} {name}"]["errors 5"]))
              for name in ("damped offset", "MAML", "Gaussian prior")}
    assert errors["damped offset"] == pytest.approx(stored["damped offset"], abs=1e-4)
    assert errors["Gaussian prior"] == pytest.approx(stored["Gaussian prior"], abs=1e-3)
    assert errors["MAML"] == pytest.approx(stored["MAML"], abs=0.015)
    assert max(errors["MAML"], errors["Gaussian prior"]) < errors["damped offset"] < stored["item mean"]
    again = module.run(short, Results(tmp_path / "short.json", short), shots=[K], only_folds=[i], methods=["MAML"], traps=False,
                       progress=False)
    assert again.stored == results.stored  # an interrupted study goes on where it was
