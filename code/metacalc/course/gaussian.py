"""A Gaussian prior over tasks: what a new person's ratings are worth when the covariance of all people's is known.

A person is a vector z ∈ R^d of values for d items, drawn from N(μ, Σ); a rating is y_i = z_i + ε with ε ~ N(0, σ²). Minus
the logarithm of the posterior density of z is a quadratic, so that its minimum is one linear system.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metacalc.arrays import Array, ArrayLike, Integers, Numbers
from metacalc.checks import count, real_array, scalar

__all__ = ["GaussianPrior", "damped_offset", "implied_variance"]


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """The prior z ~ N(μ, Σ), and ratings y_i = z_i + ε, ε ~ N(0, σ²).

    Parameters
    ----------
    mean : array_like, shape (d,)
        μ.
    cov : array_like, shape (d, d)
        Σ, symmetric and positive semidefinite.
    noise : float
        σ², positive.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> prior = GaussianPrior([3.0, 4.0], [[1.0, 0.5], [0.5, 1.0]], noise=1.0)
    >>> prior.predict([[0]], [[5.0]])     # who likes the first item two points more than most ...
    array([[4. , 4.5]])
    """

    mean: Array
    cov: Array
    noise: float

    if TYPE_CHECKING:  # what is handed in becomes an array
        def __init__(self, mean: ArrayLike, cov: ArrayLike, noise: float) -> None: ...

    def __post_init__(self) -> None:
        mean, cov = np.asarray(self.mean, float), np.asarray(self.cov, float)
        if mean.ndim != 1 or mean.size == 0 or not np.isfinite(mean).all():
            raise ValueError(f"mean must be a vector of finite numbers, got shape {mean.shape}")
        if cov.shape != (mean.size, mean.size) or not np.isfinite(cov).all() or not np.allclose(cov, cov.T):
            raise ValueError(f"cov must be a symmetric matrix of shape {(mean.size, mean.size)}, got shape {cov.shape}")
        if np.linalg.eigvalsh(cov)[0] < -1e-8 * np.trace(cov):
            raise ValueError("cov must be positive semidefinite")
        scalar(self.noise, "noise")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "cov", cov)

    def predict(self, items: ArrayLike, y: ArrayLike) -> Array:
        """Posterior mean of all items, μ + Σ_{·S} (Σ_SS + σ²I)⁻¹ (y − μ_S), from ratings of some.

        Parameters
        ----------
        items : array_like of int, shape (n_people, K)
            The items S that each has rated, different ones; K may be 0.
        y : array_like, shape (n_people, K)
            Their ratings.

        Returns
        -------
        ndarray, shape (n_people, d)

        Source: Rasmussen & Williams 2006, equation 2.23.
        """
        items, y = self._checked(items, y)
        within = self.cov[items[:, :, None], items[:, None, :]] + self.noise * np.eye(items.shape[1])
        pull = np.linalg.solve(within, (y - self.mean[items])[..., None])
        return self.mean + (pull * self.cov[items]).sum(axis=1)

    def variance(self, items: ArrayLike) -> Array:
        """Posterior variance of all items, shape (n_people, d): it depends on what was rated, not on how."""
        items, _ = self._checked(items, np.zeros(np.shape(items)))
        within = self.cov[items[:, :, None], items[:, None, :]] + self.noise * np.eye(items.shape[1])
        return np.diagonal(self.cov) - (self.cov[items] * np.linalg.solve(within, self.cov[items])).sum(axis=1)

    def best_questions(self, items: Sequence[int], n: int = 3) -> tuple[int, ...]:
        """The n of these items whose ratings leave the least variance in all others together.

        The posterior variance does not depend on what the ratings will be, so the questions can be chosen before them.

        Parameters
        ----------
        items : sequence of int
            The items that may be asked about; all sets of n of them are tried.
        n : int

        Returns
        -------
        tuple of int

        Examples
        --------
        >>> GaussianPrior(np.zeros(3), [[1, 0.9, 0.5], [0.9, 1, 0.1], [0.5, 0.1, 1]], 0.5).best_questions(range(3), 1)
        (0,)
        """
        sets = list(itertools.combinations(items, count(n, "n", 1)))
        if not sets:
            raise ValueError(f"n must be at most the number of items, got {n} of {len(list(items))}")
        left = self.variance(sets)
        np.put_along_axis(left, np.array(sets), 0.0, axis=1)
        return tuple(int(i) for i in sets[int(left.sum(axis=1).argmin())])

    def features(self) -> tuple[Array, Array]:
        """Features x_i ∈ R^d of the items and the start w_0 with which the prior is that of a linear model.

        With w ~ N(w_0, I), the values x_iᵀ w of the items are N(μ, Σ).

        Returns
        -------
        x : ndarray, shape (d, d)
        w : ndarray, shape (d,)
        """
        variance, directions = np.linalg.eigh(self.cov)
        x = directions * np.sqrt(np.maximum(variance, 1e-9 * variance[-1]))
        return x, np.linalg.solve(x, self.mean)

    @classmethod
    def fit(cls, ratings: ArrayLike, noise: float = 0.3, strength: float = 0.0, spread: float = 0.25, n_iters: int = 30,
            callback: "Callable[[GaussianPrior], object] | None" = None) -> "GaussianPrior":
        """Learn μ and Σ from ratings with gaps, by expectation maximisation (Dempster, Laird & Rubin 1977).

        Every iteration increases the likelihood of the ratings times |Σ|^{−ν/2} exp(−ν/2 tr(Σ⁻¹Λ)), or leaves it as it
        is. Λ = `spread` · 11ᵀ says that people differ by an offset and in nothing else, and ν = `strength` counts the
        people whose word that is: as ν grows, `predict` becomes `damped_offset`.

        Parameters
        ----------
        ratings : array_like, shape (n_people, d)
            NaN where there is none; every item must have been rated.
        noise : float
            σ², positive.
        strength : float
            ν, not negative.
        spread : float
            Variance of the offset in Λ, positive.
        n_iters : int
        callback : callable, optional
            `callback(prior)`, with the prior before every iteration.

        Returns
        -------
        GaussianPrior
        """
        ratings = np.asarray(ratings, float)
        if ratings.ndim != 2 or 0 in ratings.shape or np.isinf(ratings).any():
            raise ValueError(f"ratings must have shape (n_people, d), finite or NaN, got {ratings.shape}")
        seen = ~np.isnan(ratings)
        if not seen.any(axis=0).all():
            raise ValueError("ratings must hold one of every item; there is none of "
                             f"{np.flatnonzero(~seen.any(axis=0)).tolist()}")
        strength = scalar(strength, "strength", positive=False)
        n, d = ratings.shape
        target = scalar(spread, "spread") * np.ones((d, d))
        mean = np.where(seen, ratings, 0).sum(axis=0) / seen.sum(axis=0)
        prior = cls(mean, target + spread * np.eye(d), scalar(noise, "noise"))
        for _ in range(count(n_iters, "n_iters", 1)):
            if callback is not None:
                callback(prior)
            # What is not seen is a rating of infinite noise: row and column of Σ_SS are 0, and the residual is 0.
            rows = seen[:, :, None] * prior.cov
            within = rows * seen[:, None, :]
            within[:, np.arange(d), np.arange(d)] += np.where(seen, prior.noise, 1.0)
            gain = np.linalg.solve(within, rows)                                             # (Σ_SS + σ²I)⁻¹ Σ_{S·}
            z = prior.mean + (np.where(seen, ratings - prior.mean, 0)[:, None, :] @ gain)[:, 0]  # E step: the posterior means
            spare = n * prior.cov - np.tensordot(rows, gain, axes=([0, 1], [0, 1]))          # and the sum of the covariances
            mean = z.mean(axis=0)
            cov = (spare + (z - mean).T @ (z - mean) + strength * target) / (n + strength)   # M step
            prior = cls(mean, (cov + cov.T) / 2, prior.noise)
        return prior

    def log_likelihood(self, ratings: ArrayLike) -> float:
        """Logarithm of the density of the ratings that are there, summed over people."""
        total, ratings = 0.0, real_array(ratings, "ratings")
        if ratings.ndim != 2 or ratings.shape[1] != self.mean.size:
            raise ValueError(f"ratings must have shape (n_people, {self.mean.size}), got {ratings.shape}")
        for row in ratings:
            (items,) = np.nonzero(~np.isnan(row))
            within = self.cov[np.ix_(items, items)] + self.noise * np.eye(items.size)
            r = row[items] - self.mean[items]
            total -= (r @ np.linalg.solve(within, r) + np.linalg.slogdet(2 * np.pi * within)[1]) / 2
        return total

    def _checked(self, items: ArrayLike, y: ArrayLike) -> tuple[Integers, Array]:
        return _rated(items, y, self.mean.size)


def _rated(items: ArrayLike, y: ArrayLike, d: int) -> tuple[Integers, Array]:
    """Which of d items each person has rated, different ones, and the ratings."""
    items = np.asarray(items)
    if items.size == 0:
        items = items.astype(int)
    y = real_array(y, "y")
    if items.ndim != 2 or items.dtype.kind not in "iu" or (items.size and not 0 <= items.min() <= items.max() < d):
        raise ValueError(f"items must hold numbers of items below {d}, shape (n_people, K)")
    if (np.diff(np.sort(items, axis=1), axis=1) == 0).any():
        raise ValueError("items must be different ones for each person")
    if y.shape != items.shape or not np.isfinite(y).all():
        raise ValueError(f"y must hold a finite rating for each of the items, shape {items.shape}; got shape {y.shape}")
    return items, y


def damped_offset(mean: ArrayLike, ratio: float, items: ArrayLike, y: ArrayLike) -> Array:
    """Item means and a personal offset: μ + Σ_{i∈S} (y_i − μ_i) / (K + ratio), the posterior mean for Σ = τ²11ᵀ.

    Parameters
    ----------
    mean : array_like, shape (d,)
        Mean rating μ of each item.
    ratio : float
        σ²/τ², not negative: how many ratings the prior is worth. Infinite, it leaves the item means.
    items, y : array_like, shape (n_people, K)
        As in `GaussianPrior.predict`.

    Returns
    -------
    ndarray, shape (n_people, d)

    Examples
    --------
    >>> damped_offset([3.0, 4.0, 2.0], ratio=1.0, items=[[0]], y=[[5.0]])
    array([[4., 5., 3.]])
    """
    if not (np.ndim(ratio) == 0 and ratio >= 0):
        raise ValueError(f"ratio must not be negative, got {ratio!r}")
    mean = real_array(mean, "mean")
    items, y = _rated(items, y, mean.size)
    offset = (y - mean[items]).sum(axis=1) / np.maximum(items.shape[1] + ratio, 1e-300)
    return mean + offset[:, None]


def implied_variance(h: ArrayLike, alpha: float, k: int) -> Numbers:
    """Variance of the prior that k gradient steps of rate α stand for, along a direction of curvature h.

    v = ((1 − αh)^{−k} − 1) / h, and kα where h = 0: with it, the minimum of ½h(φ − c)² + (φ − θ)²/(2v) is what k
    steps on the first term reach from θ. Source: Santos 1996.

    Parameters
    ----------
    h : array_like
        Curvatures, not negative, with αh < 1.
    alpha : float
    k : int

    Returns
    -------
    float or ndarray

    Examples
    --------
    >>> v = implied_variance(2.0, alpha=0.25, k=1)
    >>> float(v), float(2 * 3 / (2 + 1 / v))             # from θ = 0 to c = 3: half of the way, as one step goes
    (0.5, 1.5)
    """
    h, alpha, k = np.asarray(h, float), scalar(alpha, "alpha"), count(k, "k", 1)
    if not ((h >= 0) & (alpha * h < 1)).all():
        raise ValueError(f"h must hold curvatures from 0 to below 1/alpha = {1 / alpha:g}, got {h!r}")
    safe = np.where(h > 0, h, 1.0)
    return np.where(h > 0, np.expm1(-k * np.log1p(-alpha * safe)) / safe, k * alpha)[()]
