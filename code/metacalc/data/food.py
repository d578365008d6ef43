"""The Food World Cup: what people say of the cuisines of 40 countries."""

import csv

import numpy as np

from metacalc.arrays import Array, Integers
from metacalc.checks import count
from metacalc.data.download import fetch

__all__ = ["food_world_cup", "person_folds"]

FOOD_WORLD_CUP = "food-world-cup/food-world-cup-data.csv"
_QUESTION = "the traditional cuisine of"


def food_world_cup(download: bool = True) -> tuple[tuple[str, ...], Array]:
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


def person_folds(n_people: int, n_folds: int = 5, n_validation: int = 100,
                 seed: int = 0) -> list[tuple[Integers, Integers, Integers]]:
    """Split people for cross-validation: each is once among the test people.

    Parameters
    ----------
    n_people, n_folds : int
        At least two folds.
    n_validation : int
        Validation people of a fold, drawn from those who are not its test people.
    seed : int
        Fixes who is where.

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
        count(value, name, 1)
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
