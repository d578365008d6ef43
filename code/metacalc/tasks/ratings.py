"""Ratings: a task is one person, who has rated some items and is to be told how they would rate the others."""

import csv
from zlib import crc32

import numpy as np

from metacalc.tasks.base import Batch, _positive_integer
from metacalc.tasks.download import fetch

__all__ = ["RatingTasks", "food_world_cup", "person_folds"]

FOOD_WORLD_CUP = "food-world-cup/food-world-cup-data.csv"
_QUESTION = "the traditional cuisine of"


def food_world_cup(download=True):
    """The Food World Cup: 1,373 people rate the cuisines of 40 countries from 1 to 5.

    Source: FiveThirtyEight's survey, CC BY 4.0, https://github.com/fivethirtyeight/data. Respondents' numbers and
    demographics are dropped on reading, and so are the two questions about their knowledge and interest.

    Parameters
    ----------
    download : bool
        Whether the file may be downloaded where it is not at hand; see `fetch`.

    Returns
    -------
    countries : tuple of str
        40 names.
    ratings : ndarray, shape (1373, 40)
        1, ..., 5, and NaN where there is none.

    Raises
    ------
    FileNotFoundError
        If the file cannot be had, with the place to put it.
    """
    with open(fetch(FOOD_WORLD_CUP, download), encoding="mac_roman", newline="") as file:
        header, *rows = csv.reader(file)
    columns = [i for i, question in enumerate(header) if _QUESTION in question.replace("\xa0", " ")]
    countries = tuple(header[i].replace("\xa0", " ").rsplit(" of ")[-1].strip(" .:").removeprefix("the ") for i in columns)
    return countries, np.array([[float(row[i]) if row[i] in set("12345") else np.nan for i in columns] for row in rows])


class RatingTasks:
    """Few-shot regression of ratings: a task is a person, K of their ratings to learn from, others to be judged on.

    An item is seen by the model as a one-hot row, so that a first layer of weights holds a vector for each item. A task
    draws a person, and then K + `n_query` different items from those the person has rated, all equally likely.

    Parameters
    ----------
    ratings : array_like, shape (n_people, n_items)
        NaN where there is none.
    k_shots, n_query : int
        Ratings in the support and in the query set; no person may have fewer than both together.

    Raises
    ------
    ValueError
        If an argument is not as above; from `sample`, if `n_tasks` is not a positive integer.

    Examples
    --------
    >>> ratings = np.where(np.arange(6) < 5, np.arange(24.0).reshape(4, 6), np.nan)
    >>> train, test = RatingTasks(ratings, k_shots=2, n_query=3).split([1, 3])
    >>> len(train.ratings), len(test.ratings)
    (2, 2)
    >>> batch = test.sample(np.random.default_rng(0), n_tasks=7)
    >>> batch.x_support.shape, batch.y_query.shape
    ((7, 2, 6), (7, 3, 1))
    """

    def __init__(self, ratings, k_shots=5, n_query=10):
        self.ratings = _ratings(ratings)
        self.k_shots, self.n_query = _positive_integer(k_shots, "k_shots"), _positive_integer(n_query, "n_query")
        self.n_items = self.ratings.shape[1]
        fewest = int((~np.isnan(self.ratings)).sum(axis=1).min())
        if k_shots + n_query > fewest:
            raise ValueError(f"k_shots + n_query must be at most {fewest}, which one of the people has rated; "
                             f"got {k_shots} + {n_query}")

    def __repr__(self):
        return (f"RatingTasks({len(self.ratings)} people, {self.n_items} items, k_shots={self.k_shots}, "
                f"n_query={self.n_query}, crc32={crc32(self.ratings):08x})")

    def with_shots(self, k_shots):
        """The same people with another number of support ratings."""
        return RatingTasks(self.ratings, k_shots, self.n_query)

    def split(self, test_people):
        """Two distributions that share no person: all others, and `test_people`, indices of rows of the ratings."""
        test_people = np.asarray(test_people)
        if test_people.dtype.kind not in "iu" or test_people.ndim != 1 or np.unique(test_people).size != test_people.size:
            raise ValueError(f"test_people must be different row numbers, got {test_people!r}")
        if not 0 < test_people.size < len(self.ratings) or test_people.min() < 0 or test_people.max() >= len(self.ratings):
            raise ValueError(f"test_people must be row numbers below {len(self.ratings)}, some but not all of them")
        rest = np.setdiff1d(np.arange(len(self.ratings)), test_people)
        return tuple(RatingTasks(self.ratings[side], self.k_shots, self.n_query) for side in (rest, test_people))

    def sample(self, rng, n_tasks):
        """Draw a `Batch`: x of shape (n_tasks, K or n_query, n_items), one-hot; y of shape (n_tasks, K or n_query, 1)."""
        n_tasks = _positive_integer(n_tasks, "n_tasks")
        people = rng.integers(len(self.ratings), size=n_tasks)
        items = self._draw(rng, people, self.k_shots + self.n_query)
        x, y = np.eye(self.n_items)[items], np.take_along_axis(self.ratings[people], items, axis=1)[..., None]
        K = self.k_shots
        return Batch(x[:, :K], y[:, :K], x[:, K:], y[:, K:])

    def episodes(self, rng, n_draws=1):
        """Every person `n_draws` times, one person after the other: K items to learn from, all others to be judged on.

        Returns
        -------
        people : ndarray of int, shape (n_people · n_draws,)
        support : ndarray of int, shape (n_people · n_draws, K)
            The items whose rating is shown.
        query : ndarray of bool, shape (n_people · n_draws, n_items)
            The items that the person has rated too: as many as there are.
        """
        people = np.repeat(np.arange(len(self.ratings)), _positive_integer(n_draws, "n_draws"))
        support = self._draw(rng, people, self.k_shots)
        query = ~np.isnan(self.ratings[people])
        np.put_along_axis(query, support, False, axis=1)
        return people, support, query

    def _draw(self, rng, people, n):
        """n different items for each of the people, from those the person has rated, in random order."""
        keys = np.where(np.isnan(self.ratings[people]), 2.0, rng.random((len(people), self.n_items)))
        return np.argsort(keys, axis=1)[:, :n]


def person_folds(n_people, n_folds=5, n_validation=100, seed=0):
    """Split people for cross-validation: each is once among the test people.

    Parameters
    ----------
    n_people, n_folds : int
        At least two folds.
    n_validation : int
        Validation people of a fold, drawn from those who are not its test people.
    seed : int

    Returns
    -------
    list of (train, validation, test)
        Three arrays of row numbers, sorted, for each fold; together they are everyone, and they share nobody.

    Raises
    ------
    ValueError
        If an argument is no positive integer, or a fold is left without training people.

    Examples
    --------
    >>> [tuple(map(len, fold)) for fold in person_folds(11, n_folds=2, n_validation=2)]
    [(3, 2, 6), (4, 2, 5)]
    """
    for name, value in (("n_people", n_people), ("n_folds", n_folds), ("n_validation", n_validation)):
        _positive_integer(value, name)
    if not 2 <= n_folds <= n_people:
        raise ValueError(f"n_folds must be between 2 and the number of people, got {n_folds}")
    if n_validation >= n_people - -(-n_people // n_folds):
        raise ValueError(f"n_validation must leave somebody to train on, got {n_validation} of {n_people} people")
    order = np.random.default_rng(seed).permutation(n_people)
    folds = []
    for i in range(n_folds):
        test = order[i::n_folds]
        rest = np.roll(np.setdiff1d(order, test, assume_unique=True), i * n_validation)
        folds.append((np.sort(rest[n_validation:]), np.sort(rest[:n_validation]), np.sort(test)))
    return folds


def _ratings(value):
    """A matrix of numbers, NaN where there is none."""
    try:
        ratings = np.ascontiguousarray(value, float)
    except (TypeError, ValueError):
        raise ValueError("ratings must be an array of numbers, NaN where there is none") from None
    if ratings.ndim != 2 or 0 in ratings.shape or np.isinf(ratings).any():
        raise ValueError(f"ratings must have shape (n_people, n_items) and finite entries or NaN, got {ratings.shape}")
    return ratings
