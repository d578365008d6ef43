"""Ratings: the loader, the task distribution and its folds leak nobody; the Gaussian prior is what its formulas say."""

import csv
import re

import numpy as np
import pytest
import sympy as sp
from scipy.stats import multivariate_normal

from metacalc.course.gaussian import GaussianPrior, damped_offset, implied_variance
from metacalc.data.download import fetch
from metacalc.data.food import food_world_cup, person_folds
from metacalc.meta import adapt
from metacalc.models import linear_regression
from metacalc.tasks import RatingTasks

rng = np.random.default_rng


def made_up(n_people=40, n_items=12, seed=0, gaps=0.4):
    """Ratings that tell whose they are and of what: person + item / 100; everyone has six or more."""
    ratings = np.arange(n_people)[:, None] + np.arange(n_items) / 100
    hidden = rng(seed).random(ratings.shape) < gaps
    hidden[:, :6] &= ~hidden[:, 6:]  # of each pair at least one is there
    return np.where(hidden, np.nan, ratings)


@pytest.fixture(scope="module")
def cuisines():
    try:
        return food_world_cup(download=False)
    except FileNotFoundError as error:
        pytest.skip(f"the Food World Cup is not at hand, its loader is not tested: {error}")


def test_the_survey_is_read_as_it_is_described(cuisines):
    countries, ratings = cuisines
    assert ratings.shape == (1373, 40) and len(set(countries)) == 40 and np.isfinite(ratings).sum() == 23943
    assert set(np.unique(ratings[~np.isnan(ratings)])) == {1, 2, 3, 4, 5}
    assert round(np.isnan(ratings).mean(), 2) == 0.56 and (np.isfinite(ratings).sum(axis=1) >= 15).sum() == 823
    assert all(re.fullmatch(r"[A-Z][A-Za-z ]+", name) for name in countries)
    assert {"Ivory Coast", "Bosnia and Herzegovina", "United States", "Netherlands"} <= set(countries)


def test_the_survey_s_numbers_stand_where_they_belong(cuisines):
    """Against the file itself, read in another way; and nothing of the respondent comes with them."""
    countries, ratings = cuisines
    with open(fetch("food-world-cup/food-world-cup-data.csv", download=False), encoding="latin-1", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, column in zip(countries, ratings.T):
        (question,) = [q for q in rows[0] if q.startswith("Please rate") and re.search(rf"[^A-Za-z]{name}[:.]$", q)]
        assert ["" if np.isnan(v) else f"{v:.0f}" for v in column] == [row[question].replace("N/A", "") for row in rows]


@pytest.mark.parametrize("K", [1, 3])
def test_a_task_is_one_person_and_shows_no_rating_twice(K):
    tasks = RatingTasks(made_up(), k_shots=K, n_query=3)
    batch = tasks.sample(rng(1), 500)
    assert batch.x_support.shape == (500, K, 12) and batch.y_query.shape == (500, 3, 1)
    items = np.concatenate([batch.x_support, batch.x_query], axis=1)
    assert (items.sum(axis=2) == 1).all() and (items.sum(axis=1) <= 1).all()                   # one-hot, nothing drawn twice
    y, item = np.concatenate([batch.y_support, batch.y_query], axis=1)[..., 0], items.argmax(axis=2)
    person = np.floor(y)
    assert (person == person[:, :1]).all() and np.allclose(y, person + item / 100) and len(np.unique(person)) == 40
    again = tasks.sample(rng(1), 500)
    np.testing.assert_array_equal(batch.y_query, again.y_query)
    assert tasks.with_shots(2).sample(rng(), 5).x_support.shape == (5, 2, 12)


def test_every_rating_of_a_person_is_as_likely():
    ratings = np.full((2, 5), np.nan)
    ratings[0, :4], ratings[1] = [0, 1, 2, 3], [5, 6, 7, 8, 9]
    y = RatingTasks(ratings, 2, 1).sample(rng(3), 12000).y_support.ravel()
    for values, expected in (([0, 1, 2, 3], 3000), ([5, 6, 7, 8, 9], 2400)):
        counts = np.array([(y == v).sum() for v in values])
        assert ((counts - expected) ** 2 / expected).sum() < 22                               # χ², 99.9%, and some


def test_episodes_judge_on_all_that_was_not_shown():
    ratings = made_up()
    people, support, query = RatingTasks(ratings, 4, 1).episodes(rng(2), 3)
    assert people.tolist() == np.repeat(np.arange(40), 3).tolist() and support.shape == (120, 4)
    for p, shown, judged in zip(people, support, query):
        assert not judged[shown].any() and len(set(shown)) == 4
        assert set(shown) | set(np.flatnonzero(judged)) == set(np.flatnonzero(~np.isnan(ratings[p])))


def people_in(tasks, seed=0):
    batch = tasks.sample(rng(seed), 3000)
    return set(np.floor(batch.y_support).ravel()) | set(np.floor(batch.y_query).ravel())


def test_one_person_and_one_rating_to_be_judged_on_suffice():
    batch = RatingTasks([[1.0, 2.0, np.nan]], k_shots=1, n_query=1).sample(rng(0), 30)
    assert set(batch.y_query.ravel()) == {1, 2} and (batch.y_support + batch.y_query == 3).all()
    train, test = RatingTasks(made_up(), 2, 3).split([4])
    assert len(train.ratings) == 39 and np.nanmax(test.ratings) < 5


def test_folds_leave_somebody_to_train_on_and_have_validation_people_of_their_own():
    assert [tuple(map(len, fold)) for fold in person_folds(11, 2, 4)] == [(1, 4, 6), (2, 4, 5)]
    with pytest.raises(ValueError, match="n_validation must leave somebody"):
        person_folds(11, 2, 5)
    assert len({person for _, validation, _ in person_folds(823) for person in validation}) >= 490, "of 500"


def test_a_survey_is_read_by_its_questions(monkeypatch, tmp_path):
    file = tmp_path / "survey.csv"
    begin = "Please rate how much you like the traditional cuisine of"
    file.write_text(f"Number,How much do you know of cuisines?,{begin}\N{NO-BREAK SPACE}the Ivory Coast:,{begin} Peru.,Age\n"
                    "1,5,3,N/A,2\n2,4,,5,4\n", encoding="mac_roman")
    monkeypatch.setattr("metacalc.data.food.fetch", lambda name, download: file)
    countries, ratings = food_world_cup()
    assert countries == ("Ivory Coast", "Peru")
    np.testing.assert_array_equal(ratings, [[3, np.nan], [np.nan, 5]])


def test_split_leaks_nobody():
    train, test = RatingTasks(made_up(), 2, 3).split([0, 7, 39])
    assert people_in(test) == {0, 7, 39} and people_in(train) == set(range(40)) - {0, 7, 39}


@pytest.mark.parametrize("n_people, n_folds, n_validation", [(823, 5, 100), (11, 2, 3), (40, 7, 1)])
def test_folds_share_nobody_and_test_everyone_once(n_people, n_folds, n_validation):
    folds = person_folds(n_people, n_folds, n_validation, seed=4)
    assert np.sort(np.concatenate([test for _, _, test in folds])).tolist() == list(range(n_people))
    for train, validation, test in folds:
        assert len(validation) == n_validation and len(set(train) | set(validation) | set(test)) == n_people
        assert len(train) + len(validation) + len(test) == n_people                             # so they are disjoint
    assert not np.array_equal(folds[0][2], person_folds(n_people, n_folds, n_validation, seed=5)[0][2])
    assert len({tuple(validation) for _, validation, _ in folds}) > 1


def test_the_study_s_people_are_kept_apart(cuisines):
    """No person of meta-test is drawn in meta-training, and none of validation in either."""
    ratings = cuisines[1][np.isfinite(cuisines[1]).sum(axis=1) >= 15]
    for train, validation, test in person_folds(len(ratings)):
        marked = np.where(np.isnan(ratings), np.nan, np.arange(len(ratings))[:, None])
        drawn = [people_in(RatingTasks(marked[side], 5, 10)) for side in (train, validation, test)]
        for side, people in zip((train, validation, test), drawn):
            assert people <= set(side)
        assert not (drawn[0] & drawn[1] or drawn[0] & drawn[2] or drawn[1] & drawn[2])


@pytest.mark.parametrize("make, message", [
    (lambda: RatingTasks([1.0, 2.0]), "ratings must have shape"),
    (lambda: RatingTasks([[np.inf, 2.0]]), "ratings must have shape"),
    (lambda: RatingTasks([["good"]]), "ratings must be an array"),
    (lambda: RatingTasks(made_up(), k_shots=0), "k_shots must be"),
    (lambda: RatingTasks(made_up(), n_query=2.5), "n_query must be"),
    (lambda: RatingTasks(made_up(), 6, 7), r"k_shots \+ n_query must be at most"),
    (lambda: RatingTasks(made_up(), 2, 3).sample(rng(), 0), "n_tasks must be"),
    (lambda: RatingTasks(made_up(), 2, 3).episodes(rng(), 0), "n_draws must be"),
    (lambda: RatingTasks(made_up(), 2, 3).split([1, 1]), "test_people must be different"),
    (lambda: RatingTasks(made_up(), 2, 3).split([0.5]), "test_people must be different"),
    (lambda: RatingTasks(made_up(), 2, 3).split([40]), "test_people must be row numbers"),
    (lambda: RatingTasks(made_up(), 2, 3).split(range(40)), "test_people must be row numbers"),
    (lambda: person_folds(10, 1), "n_folds must be"),
    (lambda: person_folds(10, 11), "n_folds must be"),
    (lambda: person_folds(10, 5, 8), "n_validation must"),
    (lambda: person_folds(0), "n_people must be"),
    (lambda: GaussianPrior([[1.0]], [[1.0]], 1.0), "mean must"),
    (lambda: GaussianPrior([1.0], [1.0], 1.0), "cov must"),
    (lambda: GaussianPrior([1.0, 1.0], [[1.0, 2.0], [2.0, 1.0]], 1.0), "cov must be positive"),
    (lambda: GaussianPrior([1.0, 1.0], [[1.0, 0.5], [0.0, 1.0]], 1.0), "cov must"),
    (lambda: GaussianPrior([1.0], [[1.0]], 0.0), "noise must"),
    (lambda: PRIOR.predict([[0, 0]], [[1.0, 1.0]]), "items must be different"),
    (lambda: PRIOR.predict([[9]], [[1.0]]), "items must hold"),
    (lambda: PRIOR.predict([[0.5]], [[1.0]]), "items must hold"),
    (lambda: PRIOR.predict([[1]], [[1.0, 2.0]]), "y must hold"),
    (lambda: PRIOR.predict([[1]], [[np.nan]]), "y must hold"),
    (lambda: GaussianPrior.fit([1.0]), "ratings must have shape"),
    (lambda: GaussianPrior.fit([[1.0, np.nan]]), "ratings must hold one of every item"),
    (lambda: GaussianPrior.fit([[1.0]], strength=-1), "strength must"),
    (lambda: GaussianPrior.fit([[1.0]], noise=np.nan), "noise must"),
    (lambda: GaussianPrior.fit([[1.0]], n_iters=0), "n_iters must"),
    (lambda: damped_offset([1.0], -1, [[0]], [[1.0]]), "ratio must"),
    (lambda: implied_variance(2.0, 0.5, 1), "h must"),
    (lambda: implied_variance(1.0, 0.5, 0), "k must"),
    (lambda: implied_variance(1.0, 0.0, 1), "alpha must"),
])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def random_prior(d=5, seed=0, noise=0.4):
    root = rng(seed).normal(size=(d, d)) / 2
    return GaussianPrior(3 + rng(seed).normal(size=d) / 3, root @ root.T + 0.05 * np.eye(d), noise)


PRIOR = random_prior()


def people_of(prior, n, gaps=0.0, seed=1):
    """Ratings drawn from a prior, some of them hidden."""
    g = rng(seed)
    z = g.multivariate_normal(prior.mean, prior.cov, n)
    y = z + g.normal(size=z.shape) * np.sqrt(prior.noise)
    return np.where(g.random(z.shape) < gaps, np.nan, y)


def test_the_posterior_mean_is_where_the_quadratic_is_flat():
    """∇ of ½(z−μ)ᵀΣ⁻¹(z−μ) + ‖y − z_S‖²/(2σ²) vanishes there, and its Hessian gives the variance."""
    items, y = np.array([[0, 3], [4, 1]]), np.array([[5.0, 2.0], [1.0, 4.0]])
    precision = np.linalg.inv(PRIOR.cov)
    for z, variance, S, ratings in zip(PRIOR.predict(items, y), PRIOR.variance(items), items, y):
        slope = precision @ (z - PRIOR.mean)
        slope[S] += (z[S] - ratings) / PRIOR.noise
        np.testing.assert_allclose(slope, 0, atol=1e-9)
        bend = precision.copy()
        bend[S, S] += 1 / PRIOR.noise
        np.testing.assert_allclose(variance, np.diagonal(np.linalg.inv(bend)))
    np.testing.assert_allclose(PRIOR.predict(np.empty((2, 0)), np.empty((2, 0))), [PRIOR.mean] * 2)


def test_the_posterior_mean_is_the_mean_given_the_ratings():
    """And so has the error that its variance promises, on people drawn from the prior; nothing linear does better."""
    y, items = people_of(PRIOR, 20000), np.array([0, 2])
    z = PRIOR.predict(np.tile(items, (len(y), 1)), y[:, items])
    rest = [1, 3, 4]
    error = ((z - y) ** 2).mean(axis=0)[rest]
    np.testing.assert_allclose(error, PRIOR.variance([items])[0, rest] + PRIOR.noise, rtol=0.05)
    design = np.column_stack([np.ones(len(y)), y[:, items]])
    best = y[:, rest] - design @ np.linalg.lstsq(design, y[:, rest], rcond=None)[0]
    assert np.all(error < (best**2).mean(axis=0) * 1.001)


def test_a_prior_that_knows_an_offset_only_is_the_damped_offset():
    mean, tau2, noise = rng(1).normal(size=6), 0.3, 0.7
    prior = GaussianPrior(mean, tau2 * np.ones((6, 6)), noise)
    for K in (1, 2, 5):
        items = np.array([rng(s).permutation(6)[:K] for s in range(20)])
        y = rng(2).normal(3, 1, items.shape)
        np.testing.assert_allclose(prior.predict(items, y), damped_offset(mean, noise / tau2, items, y))
    np.testing.assert_array_equal(damped_offset(mean, np.inf, items, y), np.tile(mean, (20, 1)))


def test_a_strong_word_for_offsets_makes_the_fit_the_damped_offset():
    ratings, items, y = people_of(PRIOR, 300, 0.3), np.array([[0, 3]]), np.array([[5.0, 2.0]])
    prior = GaussianPrior.fit(ratings, noise=0.4, strength=1e9, spread=0.2, n_iters=50)
    np.testing.assert_allclose(prior.predict(items, y), damped_offset(prior.mean, 2.0, items, y), atol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 20.0])
def test_no_iteration_of_the_fit_lowers_what_it_climbs(strength):
    ratings, seen = people_of(PRIOR, 150, 0.5), []
    GaussianPrior.fit(ratings, 0.4, strength, 0.25, 25, callback=seen.append)

    def height(prior):
        bound = np.linalg.slogdet(prior.cov)[1] + 0.25 * np.linalg.inv(prior.cov).sum()
        return prior.log_likelihood(ratings) - strength / 2 * bound

    heights = np.array([height(prior) for prior in seen])
    assert (np.diff(heights) > -1e-8).all() and heights[-1] > heights[0] + 1


def test_the_fit_starts_from_the_mean_of_the_ratings_that_are_there():
    ratings, seen = np.array([[1.0, np.nan, 5.0], [3.0, 2.0, np.nan], [np.nan, 4.0, 1.0]]), []
    GaussianPrior.fit(ratings, n_iters=1, callback=seen.append)
    np.testing.assert_allclose(seen[0].mean, [2, 3, 3])


def test_the_fit_finds_the_prior_that_people_came_from():
    ratings = people_of(PRIOR, 4000, 0.5)
    prior = GaussianPrior.fit(ratings, PRIOR.noise, n_iters=60)
    np.testing.assert_allclose(prior.mean, PRIOR.mean, atol=4 * 1.5 / np.sqrt(2000))           # four standard errors
    np.testing.assert_allclose(prior.cov, PRIOR.cov, atol=0.15)
    assert prior.log_likelihood(ratings) > PRIOR.log_likelihood(ratings)
    whole = people_of(PRIOR, 500)
    exact = GaussianPrior.fit(whole, PRIOR.noise, n_iters=300)
    np.testing.assert_allclose(exact.mean, whole.mean(axis=0), atol=1e-3)                      # no gaps: the moments
    np.testing.assert_allclose(exact.cov + exact.noise * np.eye(5), np.cov(whole.T, bias=True), atol=1e-2)


def test_log_likelihood_is_the_normal_density():
    row = np.array([4.0, np.nan, 2.0, np.nan, np.nan])
    expected = multivariate_normal(PRIOR.mean[[0, 2]], PRIOR.cov[np.ix_([0, 2], [0, 2])] + 0.4 * np.eye(2)).logpdf(row[[0, 2]])
    assert np.isclose(PRIOR.log_likelihood([row, row]), 2 * expected)


def test_features_carry_the_prior():
    x, w = PRIOR.features()
    np.testing.assert_allclose(x @ x.T, PRIOR.cov, atol=1e-8)
    np.testing.assert_allclose(x @ w, PRIOR.mean)


def test_many_small_steps_in_the_features_and_a_ridge_are_the_posterior_s_neighbours():
    """From w_0, the path of gradient descent passes from the prior's mean to an exact fit of the ratings."""
    x, w = PRIOR.features()
    items, y = np.array([[0, 3]]), np.array([[5.0, 2.0]])
    path = adapt(linear_regression(5), np.append(w, 0.0), x[items], y[..., None], 0.05, 3000, slice(0, 5))[:, 0, :5] @ x.T
    np.testing.assert_allclose(path[0], PRIOR.mean)
    np.testing.assert_allclose(path[-1][[0, 3]], [5.0, 2.0], atol=1e-3)
    posterior = PRIOR.predict(items, y)[0]
    distance = np.abs(path - posterior).max(axis=1)
    assert distance.min() < 0.25 * min(distance[0], distance[-1])


@pytest.mark.parametrize("alpha, k", [(0.1, 1), (0.1, 7), (0.03, 40)])
def test_k_steps_are_the_minimum_with_the_prior_that_they_imply(alpha, k):
    """In general position: a linear model, few examples, any start (Santos 1996)."""
    g = rng(k)
    X, y, theta = g.normal(size=(4, 6)), g.normal(size=(4, 1)), g.normal(size=6)
    H = 2 / 4 * X.T @ X                                                                         # of the mean squared error
    phi = adapt(linear_regression(6), np.append(theta, 0.0), X[None], y[None], alpha, k, slice(0, 6))[k, 0, :6]
    h, U = np.linalg.eigh(H)
    cov = (U * implied_variance(np.maximum(h, 0), alpha, k)) @ U.T
    precision = np.linalg.inv(cov)
    penalised = np.linalg.solve(H + precision, 2 / 4 * X.T @ y[:, 0] + precision @ theta)
    np.testing.assert_allclose(phi, penalised, rtol=1e-7)


def test_implied_variance_goes_to_k_alpha_without_curvature():
    h, alpha, k = sp.symbols("h alpha k", positive=True)
    assert sp.limit(((1 - alpha * h) ** -k - 1) / h, h, 0) == alpha * k
    assert np.isclose(implied_variance(3.0, 0.1, 1), 0.1 / 0.7)
    assert implied_variance(0.0, 0.1, 7) == 0.7000000000000001 and np.isclose(implied_variance(1e-9, 0.1, 7), 0.7)


def test_the_loader_says_where_its_file_goes(monkeypatch, tmp_path):
    monkeypatch.setenv("METACALC_DATA", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    with pytest.raises(FileNotFoundError, match="food-world-cup-data.csv"):
        food_world_cup(download=False)
