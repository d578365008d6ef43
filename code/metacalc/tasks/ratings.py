"""Ratings: a task is one person, who has rated some items and is to be told how they would rate the others."""

from zlib import crc32

import numpy as np

from metacalc.arrays import ArrayLike, Flags, Integers
from metacalc.checks import count, generator
from metacalc.tasks.base import Batch

__all__ = ["RatingTasks"]


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

    def __init__(self, ratings: ArrayLike, k_shots: int = 5, n_query: int = 10) -> None:
        self.ratings = _ratings(ratings)
        self.k_shots, self.n_query = count(k_shots, "k_shots", 1), count(n_query, "n_query", 1)
        self.n_items = self.ratings.shape[1]
        fewest = int((~np.isnan(self.ratings)).sum(axis=1).min())
        if k_shots + n_query > fewest:
            raise ValueError(f"k_shots + n_query must be at most {fewest}, which one of the people has rated; "
                             f"got {k_shots} + {n_query}")

    def __repr__(self) -> str:
        return (f"RatingTasks({len(self.ratings)} people, {self.n_items} items, k_shots={self.k_shots}, "
                f"n_query={self.n_query}, crc32={crc32(self.ratings.data):08x})")

    def with_shots(self, k_shots: int) -> "RatingTasks":
        """The same people with another number of support ratings."""
        return RatingTasks(self.ratings, k_shots, self.n_query)

    def split(self, test_people: ArrayLike) -> "tuple[RatingTasks, RatingTasks]":
        """Two distributions that share no person: all others, and `test_people`, indices of rows of the ratings."""
        test_people = np.asarray(test_people)
        if test_people.dtype.kind not in "iu" or test_people.ndim != 1 or np.unique(test_people).size != test_people.size:
            raise ValueError(f"test_people must be different row numbers, got {test_people!r}")
        if not 0 < test_people.size < len(self.ratings) or test_people.min() < 0 or test_people.max() >= len(self.ratings):
            raise ValueError(f"test_people must be row numbers below {len(self.ratings)}, some but not all of them")
        rest = np.setdiff1d(np.arange(len(self.ratings)), test_people)
        train, test = (RatingTasks(self.ratings[side], self.k_shots, self.n_query) for side in (rest, test_people))
        return train, test

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`: x of shape (n_tasks, K or n_query, n_items), one-hot; y of shape (n_tasks, K or n_query, 1)."""
        n_tasks = count(n_tasks, "n_tasks", 1)
        people = generator(rng).integers(len(self.ratings), size=n_tasks)
        items = self._draw(rng, people, self.k_shots + self.n_query)
        x, y = np.eye(self.n_items)[items], np.take_along_axis(self.ratings[people], items, axis=1)[..., None]
        K = self.k_shots
        return Batch(x[:, :K], y[:, :K], x[:, K:], y[:, K:])

    def episodes(self, rng: np.random.Generator, n_draws: int = 1) -> tuple[Integers, Integers, Flags]:
        """Every person `n_draws` times, one person after the other: K items to learn from, all others to be judged on.

        Returns
        -------
        people : ndarray of int, shape (n_people · n_draws,)
            Whose ratings they are.
        support : ndarray of int, shape (n_people · n_draws, K)
            The items whose rating is shown.
        query : ndarray of bool, shape (n_people · n_draws, n_items)
            The items that the person has rated too: as many as there are.
        """
        people = np.repeat(np.arange(len(self.ratings)), count(n_draws, "n_draws", 1))
        support = self._draw(rng, people, self.k_shots)
        query = ~np.isnan(self.ratings[people])
        np.put_along_axis(query, support, False, axis=1)
        return people, support, query

    def _draw(self, rng, people, n):
        """n different items for each of the people, from those the person has rated, in random order."""
        keys = np.where(np.isnan(self.ratings[people]), 2.0, rng.random((len(people), self.n_items)))
        return np.argsort(keys, axis=1)[:, :n]


def _ratings(value):
    """A matrix of numbers, NaN where there is none."""
    try:
        ratings = np.ascontiguousarray(value, float)
    except (TypeError, ValueError):
        raise ValueError("ratings must be an array of numbers, NaN where there is none") from None
    if ratings.ndim != 2 or 0 in ratings.shape or np.isinf(ratings).any():
        raise ValueError(f"ratings must have shape (n_people, n_items) and finite entries or NaN, got {ratings.shape}")
    return ratings
