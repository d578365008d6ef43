"""The application to recommendation: its figures entry by entry, and its study's numbers, held to the data if at hand."""

import functools
import importlib.util
import json

import numpy as np
import pytest

from conftest import ROOT, number_of
from metacalc.course.figures import recommendation as figures
from metacalc.course.recommendation import N_STEPS, alternating_least_squares, load_table, load_taste, ndcg, shared_features
from metacalc.data.food import food_world_cup
from metacalc.models import MLP
from metacalc.studies import Results

PATH = ROOT / "chapters/results/recommendation.json"
RESULTS = json.loads(PATH.read_text(encoding="utf-8"))
LIVE, STORED, TABLE = RESULTS["results"]["live"], RESULTS["results"]["table"], load_table(PATH)
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
    shown = [f"{z:.2f}" if z <= 5 else f"5; it says {z:.2f}, beyond the scale"
             for z in (path[int(k)][best[0]], posterior[best[1]])]
    return (f"After {number_of(k, 'step')} MAML expects you to like best, of the 37 others: "
            f"{LIVE['countries'][best[0]]} ({shown[0]}). "
            f"The Gaussian prior: {LIVE['countries'][best[1]]} ({shown[1]}).\nChange of the predictions (root "
            f"mean square): MAML {moved(path[int(k)], path[0]):.3f}, Gaussian prior {moved(posterior, MEAN):.3f}.")


def rating_errors_readout(shots):
    row = STORED[f"{shots:.0f}"]
    names = ("Gaussian prior", "matrix factorisation", "MAML", "joint + fine-tuning")
    mean, half, folds, wide = row["MAML"]["minus joint"]
    return (f"From {number_of(shots, 'rating')}: " + ", ".join(f"{name} {row[name]['mse'][0]:.3f}" for name in names)
            + f".\nMAML minus joint + fine-tuning, person by person: {mean:.4f} ± {half:.4f} by people, "
              f"{folds:.4f} ± {wide:.4f} by folds.")


def cuisines():
    return figures.cuisines(load_taste(PATH))


def rating_errors():
    return figures.comparison(TABLE)


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
    close(stage.guess.answer, [STORED[K]["joint + fine-tuning"]["minus prior"][0] for K in ("2", "5", "10")])
    for field in ("mse", "minus prior"):
        for row, name in enumerate(figures.LOOKS):
            mean, half = np.array([STORED[K][name][field][:2] for K in ("2", "5", "10")]).T
            bar, point = next(marks), next(marks)
            close(bar.x, np.stack([mean - half, mean + half], axis=-1))
            close(point.x, mean)
            close([bar.y, point.y], 5 - row)
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
            np.testing.assert_allclose(STORED[str(K)][name]["mse"][:2], [mean, half], rtol=1e-4)
    data = json.loads(json.dumps(module.missing(module.SETTINGS), default=lambda a: a.tolist()))
    np.testing.assert_allclose(data["item_mean"], RESULTS["results"]["data"]["item_mean"], rtol=1e-4)
    np.testing.assert_allclose(data["groups"], RESULTS["results"]["data"]["groups"], rtol=1e-4)


def test_a_short_run_of_the_study_comes_near_its_numbers(module, tmp_path, monkeypatch):
    """One fold, with the settings that the study chose there; another machine's rounding moves a trained net a little."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    settings, i = module.SETTINGS, 1
    kept = RESULTS["results"]["chosen"]
    short = settings | {"shots": [5], "inner": [kept["5 MAML"][i][0]], "seeds": [0],
                        "joint": settings["joint"] | {"decay": [kept["5 joint + fine-tuning"][i][0]["decay"]]},
                        "factorisation": {key: [value] for key, value in kept["5 matrix factorisation"][i][0].items()}}
    results = module.run(short, Results(tmp_path / "short.json", short), only_folds=[i],
                         only=["means", "joint", "factorisation", "MAML 5"])
    stored = {name: RESULTS["results"]["folds"]["5"][name][i] for name in module.METHODS}
    found = module.Stored(short, results.stored)
    for name, near in (("damped offset", 1e-4), ("matrix factorisation", 1e-4), ("joint + fine-tuning", 0.01), ("MAML", 0.015)):
        assert np.mean(found.of(i, name, 5)["errors 5"]) == pytest.approx(stored[name], abs=near), name
    before = (tmp_path / "short.json").read_text()
    again = Results(tmp_path / "short.json", short)
    module.run(short, again, only_folds=[i], only=["MAML 5"])
    assert (tmp_path / "short.json").read_text() == before  # an interrupted study goes on where it was


def test_matrix_factorisation_alternates_between_ridge_regressions():
    """At the end of many rounds neither side can be improved: both gradients of the stated objective vanish."""
    rng = np.random.default_rng(0)
    ratings = np.where(rng.random((30, 6)) < 0.7, rng.integers(1, 6, (30, 6)), np.nan)
    ratings[0] = 3.0
    mean, factors = alternating_least_squares(ratings, rank=2, lam=1.5, n_iters=400, seed=1)
    seen, rest = ~np.isnan(ratings), np.nan_to_num(ratings - mean)
    np.testing.assert_allclose(mean, np.nanmean(ratings, axis=0))
    people = np.array([np.linalg.solve(factors[own].T @ factors[own] + 1.5 * np.eye(3), factors[own].T @ row[own])
                       for own, row in zip(seen, rest)])
    error = np.where(seen, people @ factors.T - rest, 0)
    np.testing.assert_allclose((error.T @ people[:, 1:]) + 1.5 * factors[:, 1:], 0, atol=1e-6)
    assert (factors[:, 0] == 1).all() and alternating_least_squares(ratings, 0, 1.0)[1].shape == (6, 1)


def test_joint_training_with_own_heads_follows_its_loss():
    """Its first step moves every entry of the features by about the rate, against a slope by finite differences; with a strong
    pull towards the mean head all heads stay one, and the net is that of joint training with one head."""
    rng, model = np.random.default_rng(0), MLP((4, 3, 1), "tanh")
    ratings = np.where(rng.random((7, 4)) < 0.8, rng.normal(size=(7, 4)), np.nan)
    ratings[:, 0] = 1.0
    theta = model.init(rng)

    def loss(body):
        z = model.predict(np.append(body, theta[-4:]), np.eye(4))[:, 0]
        return np.mean([np.nanmean((z - row) ** 2) for row in ratings])

    slope = np.array([(loss(theta[:-4] + step) - loss(theta[:-4] - step)) / 2e-6 for step in 1e-6 * np.eye(15)])
    first = next(iter(shared_features(model, theta, ratings, 0.1, 1, eta=1e-3)))
    np.testing.assert_allclose((theta - first)[:-4], 1e-3 * np.sign(slope), rtol=1e-3)
    *_, last = shared_features(model, theta, ratings, 0.0, 3000, eta=1e-2)
    *_, held = shared_features(model, theta, ratings, 1e3, 3000, eta=1e-2)
    assert loss(held[:-4]) != loss(last[:-4]) and np.isfinite(last).all()


def test_the_gain_of_a_ranking_by_hand():
    ratings, asked = np.array([[5, 3, 4, 1]]), np.array([[True, True, True, False]])
    best = 31 + 15 / np.log2(3)
    found = 7 + 31 / np.log2(3)  # the item rated 3 first, then the one rated 5
    np.testing.assert_allclose(ndcg([[2.0, 3.0, 1.0, 9.0]], ratings, asked, n=2), found / best)
    np.testing.assert_allclose(ndcg(ratings, ratings, asked, n=3), 1)
    with pytest.raises(ValueError, match="asked"):
        ndcg(ratings, ratings, asked, n=4)


def test_the_table_is_read_as_it_is_stored():
    for K, rows in STORED.items():
        for name, row in rows.items():
            for field, value in row.items():
                both = TABLE[int(K)][name][field]
                assert [*both.by_unit, *both.by_fold] == value
