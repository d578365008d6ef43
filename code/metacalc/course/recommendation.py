"""The recommendation page: rivals that share what items are like, a measure of rankings, and what the study has learned."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, ArrayLike, Flags, Integers, PathLike
from metacalc.checks import count, real_array, scalar
from metacalc.course.gaussian import GaussianPrior
from metacalc.descent import adam
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.studies import Both, Interval, load

__all__ = ["N_STEPS", "Taste", "alternating_least_squares", "load_table", "load_taste", "ndcg", "shared_features"]

N_STEPS = 5  # gradient steps that the live figure shows


def alternating_least_squares(ratings: ArrayLike, rank: int, lam: float, n_iters: int = 15,
                              seed: int = 0) -> tuple[Array, Array]:
    """Matrix factorisation with offsets: y_pi ≈ μ_i + o_p + v_i·u_p, with the items' means, and personal offsets and factors.

    In turn, all (o_p, u_p) and all v_i become what minimises the squared errors' sum plus λ times the squares of all o_p, u_p
    and v_i: ridge regressions (Koren, Bell & Volinsky 2009). For somebody new, with the v_i as they are, the same regression is
    the posterior mean of a Gaussian prior of low rank: `GaussianPrior(mean, factors @ factors.T, lam).predict`.

    Parameters
    ----------
    ratings : array_like, shape (n_people, d)
        NaN where there is none.
    rank : int
        Numbers in a factor; 0 leaves the offsets.
    lam : float
        λ, positive.
    n_iters : int
    seed : int
        Of the factors at the start.

    Returns
    -------
    mean : ndarray, shape (d,)
    factors : ndarray, shape (d, 1 + rank)
        Rows (1, v_i): the offset counts for all items alike.

    Examples
    --------
    >>> likes, rng = np.array([1.0, -1.0, 0.5]), np.random.default_rng(0)
    >>> people = 3 + np.outer(rng.normal(size=50), likes)
    >>> mean, factors = alternating_least_squares(people, rank=1, lam=0.01)
    >>> np.corrcoef(factors[:, 1], likes)[0, 1].round(2) in (-1, 1)
    True
    """
    ratings = np.asarray(ratings, float)
    seen = (~np.isnan(ratings)).astype(float)
    mean, lam = np.nanmean(ratings, axis=0), scalar(lam, "lam")
    rest = np.where(seen > 0, ratings - mean, 0.0)

    def ridge(seen, rest, known):
        within = np.einsum("pi,ir,is->prs", seen, known, known, optimize=True) + lam * np.eye(known.shape[1])
        return np.linalg.solve(within, (rest @ known)[..., None])[..., 0]

    factors = np.random.default_rng(seed).normal(size=(len(mean), 1 + count(rank, "rank"))) / max(rank, 1) ** 0.5
    factors[:, 0] = 1.0
    for _ in range(count(n_iters, "n_iters", 1)):
        people = ridge(seen, rest, factors)
        factors[:, 1:] = ridge(seen.T, (rest - seen * people[:, :1]).T, people[:, 1:])
    return mean, factors


def shared_features(model: MLP, theta: ArrayLike, ratings: ArrayLike, decay: float, n_iters: int, eta: float = 3e-3
                    ) -> Iterator[Array]:
    """Joint training with features of items that all people share and a head for each person.

    The loss is the mean over people of their mean squared error, plus `decay` times the mean squared distance of a head from
    the mean head, where all begin. What a newcomer is given is that mean head. Adam goes through all ratings at every step.

    Parameters
    ----------
    model : MLP
        One hidden layer of tanh units on one-hot items, one output.
    theta : array_like, shape (p,)
        The start.
    ratings : array_like, shape (n_people, n_items)
        NaN where there is none; everybody has rated something.
    decay : float
        Not negative.
    n_iters : int
    eta : float
        Rate.

    Yields
    ------
    ndarray, shape (p,)
        After each iteration: the features, and the mean head.
    """
    theta, ratings = real_array(theta, "theta"), np.asarray(ratings, float)
    n_items, hidden = model.sizes[:2]
    seen = ~np.isnan(ratings)
    share, y = seen / seen.sum(axis=1, keepdims=True), np.where(seen, ratings, 0.0)
    body, head = theta[:-hidden - 1], theta[-hidden - 1:]
    params = np.concatenate([body, np.tile(head, len(y))])
    rule, scale = adam(), 2 / len(y)
    memory, decay = rule.init(params), scalar(decay, "decay", positive=False)
    for _ in range(count(n_iters, "n_iters", 1)):
        W, b = params[:n_items * hidden].reshape(n_items, hidden), params[n_items * hidden:body.size]
        heads = params[body.size:].reshape(len(y), -1)
        psi = np.tanh(W + b)
        error = scale * share * (heads[:, :-1] @ psi.T + heads[:, -1:] - y)
        inner = (error.T @ heads[:, :-1]) * (1 - psi**2)
        apart = scale * decay * (heads - heads.mean(axis=0))
        slopes = np.column_stack([error @ psi, error.sum(axis=1)]) + apart
        direction, memory = rule.update(np.concatenate([inner.ravel(), inner.sum(axis=0), slopes.ravel()]), memory)
        params = params - eta * direction
        yield np.concatenate([params[:body.size], params[body.size:].reshape(len(y), -1).mean(axis=0)])


def ndcg(predicted: ArrayLike, ratings: ArrayLike, asked: Flags, n: int = 5) -> Array:
    """Normalised discounted cumulative gain of the n items that are predicted best (Järvelin & Kekäläinen 2002).

    An item at place j = 1, 2, ... counts (2^rating − 1)/log₂(1 + j); the sum is divided by that of the best order, which
    has 1. Of equal predictions the first item comes first.

    Parameters
    ----------
    predicted, ratings : array_like, shape (n_people, n_items)
    asked : ndarray of bool, shape (n_people, n_items)
        Which items are ranked, at least n for everybody; the others' ratings are not looked at.
    n : int

    Returns
    -------
    ndarray, shape (n_people,)

    Raises
    ------
    ValueError
        If somebody has fewer than n items.

    Examples
    --------
    >>> ndcg([[3.0, 2.0, 1.0], [1.0, 5.0, 2.0]], [[1, 5, 2], [1, 5, 2]], np.ones((2, 3), bool), n=2).round(3)
    array([0.625, 1.   ])
    """
    predicted, ratings, asked = np.asarray(predicted, float), np.asarray(ratings, float), np.asarray(asked, bool)
    if asked.sum(axis=1).min() < count(n, "n", 1):
        raise ValueError(f"asked must have at least n = {n} items in each row, got {asked.sum(axis=1).min()}")
    discount = 1 / np.log2(2 + np.arange(n))
    gain = np.where(asked, 2.0 ** np.where(asked, ratings, 0) - 1, -1.0)
    order = np.argsort(np.where(asked, -predicted, np.inf), axis=1, kind="stable")[:, :n]
    reached = (np.take_along_axis(gain, order, axis=1) * discount).sum(axis=1)
    return reached / (-np.sort(-gain, axis=1)[:, :n] * discount).sum(axis=1)


class Taste(NamedTuple):
    """What the study learned of all people's tastes: a net that MAML has trained to adapt, and a Gaussian prior.

    Attributes
    ----------
    countries : tuple of str
    model : MLP
        Ratings as a function of a one-hot row.
    theta : ndarray, shape (p,)
        Its start.
    alpha, steps : float, int
        Inner rate, and the number of steps that did best on validation people.
    prior : GaussianPrior
    rated : ndarray
        The share of people who rated each cuisine.
    """

    countries: tuple[str, ...]
    model: MLP
    theta: Array
    alpha: float
    steps: int
    prior: GaussianPrior
    rated: Array

    def predict(self, ratings: Mapping[str, float], k: int) -> Array:
        """Ratings of all cuisines expected of somebody, by MAML after k steps and by the posterior mean.

        Parameters
        ----------
        ratings : dict
            Country: rating; may be empty.
        k : int
            Gradient steps.

        Returns
        -------
        ndarray, shape (2, n_items)

        Raises
        ------
        ValueError
            If a country is not among those rated, or a rating is not from 1 to 5.
        """
        unknown = [name for name in ratings if name not in self.countries]
        if unknown:
            raise ValueError(f"ratings must be of some of {', '.join(self.countries)}; got {unknown}")
        y = np.array([list(ratings.values())], float)
        if not np.all((y >= 1) & (y <= 5)):
            raise ValueError(f"ratings must lie between 1 and 5, got {ratings}")
        items = np.array([[self.countries.index(name) for name in ratings]], int)
        return np.array([self.path(items, y, k)[k, 0], self.prior.predict(items, y)[0]])

    def path(self, items: Integers, y: Array, k: int = N_STEPS) -> Array:
        """Predictions (k + 1, n_people, n_items) after 0, ..., k steps; without ratings there is nothing to descend."""
        x = np.eye(len(self.countries))
        if items.shape[1] == 0 or k == 0:
            path = np.broadcast_to(self.theta, (k + 1, len(items), self.theta.size))
        else:
            path = Learner(self.model, self.theta, self.alpha).adapt(x[items], y[..., None], k)
        return self.model.predict(path, x)[..., 0]


def load_table(path: PathLike) -> dict[int, dict[str, dict[str, Any]]]:
    """The comparison in recommendation.json.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        Number of ratings → method → what of it: "mse" and "ndcg", their means over people and seeds; "minus joint",
        "minus prior", "minus offset" and "minus factorisation", the `Both` of its squared error minus that rival's, person by
        person; "ndcg minus joint" and "ndcg minus prior" in the same way.
    """
    _, results = load(path)

    def read(value):
        return Both(Interval(*value[:2]), Interval(*value[2:])) if isinstance(value, list) else value

    return {int(K): {name: {field: read(value) for field, value in row.items()} for name, row in rows.items()}
            for K, rows in results["table"].items()}


def load_taste(path: PathLike) -> Taste:
    """The `Taste` in recommendation.json.

    Parameters
    ----------
    path : path

    Returns
    -------
    Taste
    """
    settings, results = load(path)
    live = results["live"]
    d = len(live["countries"])
    cov = np.zeros((d, d))
    cov[np.triu_indices(d)] = live["cov"]
    cov += np.triu(cov, 1).T
    model = MLP((d, settings["hidden"], 1), activation=settings["activation"])
    return Taste(tuple(live["countries"]), model, np.array(live["theta"]), live["alpha"], live["steps"],
                 GaussianPrior(live["mean"], cov, live["noise"]), np.array(live["rated"]))
