"""From the tasks that were trained on to new ones: exact gaps on quadratic tasks, and a PAC-Bayes bound that holds in general.

A task with all its examples is one draw from a distribution of tasks, and its loss after adapting one number (Baxter 2000).
So what statistics says of n examples, it says of n tasks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from metacalc.arrays import Array, ArrayLike, Numbers
from metacalc.checks import count, generator, instance, positive, real_array, scalar
from metacalc.tasks.base import Batch

__all__ = ["QuadraticFamily", "binary_kl", "clipped_square", "gaussian_kl", "kl_inverse", "normal_mean", "pac_bayes"]


@dataclass(frozen=True)
class QuadraticFamily:
    """n tasks a_i/2 (θ − c_i)² whose minima are seen through K noisy shots, and what MAML makes of them, in closed form.

    The c_i have mean m and standard deviation τ; the support set shows ĉ_i, the mean of K shots c_i + σξ; the query loss is
    the task's own. Of the way to ĉ_i the inner loop leaves s_i = (1 − αa_i)^k. A new task has one of the same curvatures, each
    equally probable, and a c of its own.

    Parameters
    ----------
    a : array_like, shape (n,)
        Curvatures, positive.
    tau, sigma : float
        τ positive, σ not negative.
    k_shots : int
        Shots K of the support set.
    alpha : float
        Inner rate, positive.
    k : int
        Inner steps; 0 is joint training on the query sets.

    Raises
    ------
    ValueError
        If an argument is not as above, or every s_i is 0, so that the start does not matter.

    Examples
    --------
    >>> family = QuadraticFamily(np.ones(10), tau=1.0, sigma=1.0, k_shots=4, alpha=0.5)
    >>> family.floor, round(family.training, 4), round(family.new, 4)      # the floor, times 1 − 1/10 and 1 + 1/10
    (0.15625, 0.1406, 0.1719)
    """

    a: Array
    tau: float = 1.0
    sigma: float = 1.0
    k_shots: int = 10
    alpha: float = 0.5
    k: int = 1

    if TYPE_CHECKING:  # what is handed in becomes an array
        def __init__(self, a: ArrayLike, tau: float = 1.0, sigma: float = 1.0, k_shots: int = 10, alpha: float = 0.5,
                     k: int = 1) -> None: ...

    def __post_init__(self) -> None:
        a = np.atleast_1d(positive(self.a, "a"))
        if a.ndim != 1:
            raise ValueError(f"a must be one or more curvatures, shape (n,), got shape {a.shape}")
        object.__setattr__(self, "a", a)
        scalar(self.tau, "tau")
        scalar(self.sigma, "sigma", positive=False)
        count(self.k_shots, "k_shots", 1)
        scalar(self.alpha, "alpha")
        count(self.k, "k")
        if not self.left.any():
            raise ValueError(f"alpha must leave a part of the way, but (1 − alpha a)^k is 0 for all tasks at {self.alpha}")

    @property
    def left(self) -> Array:
        """s_i, shape (n,): what the inner loop leaves of the way from θ to ĉ_i."""
        return (1 - self.alpha * self.a) ** self.k

    @property
    def weights(self) -> Array:
        """w_i = a_i s_i², shape (n,)."""
        return self.a * self.left**2

    @property
    def _weighted_spread(self) -> Array:
        # w v with v = τ² + σ²(1 − s)²/(K s²), without dividing by s.
        s = self.left
        return self.a * (s**2 * self.tau**2 + (1 - s) ** 2 * self.sigma**2 / self.k_shots)

    @property
    def floor(self) -> float:
        """The mean loss of a new task with infinitely many training tasks: what K shots leave."""
        return float(self._weighted_spread.mean() / 2)

    @property
    def variance(self) -> float:
        """E (θ̂ − m)² of MAML's start."""
        w = self.weights
        return float((w * self._weighted_spread).sum() / w.sum() ** 2)

    @property
    def gap(self) -> float:
        """The mean difference between the losses of new tasks and of the training tasks."""
        return float(self.weights.mean() * self.variance)

    @property
    def training(self) -> float:
        """The mean of the least training loss."""
        return self.floor - self.gap / 2

    @property
    def new(self) -> float:
        """The mean loss of a new task from the start with the least training loss."""
        return self.floor + self.gap / 2

    def sample(self, rng: np.random.Generator, m: float = 0.0) -> Batch:
        """Draw the n tasks' c_i and ĉ_i about `m`, as a `Batch` for the model `Quadratic(1)`."""
        rng, n = generator(rng), self.a.size
        c = m + self.tau * rng.normal(size=(n, 1))
        seen = c + self.sigma * rng.normal(size=(n, self.k_shots)).mean(axis=1, keepdims=True)
        x = self.a.reshape(n, 1, 1)
        return Batch(x, seen, x, c)

    def start(self, batch: Batch) -> float:
        """Where MAML's objective on these tasks is least: Σ a_i s_i (c_i − (1 − s_i) ĉ_i) / Σ w_i."""
        instance(batch, Batch, "batch", "a Batch, as sample draws it")
        c, seen, s = batch.y_query[:, 0], batch.y_support[:, 0], self.left
        return float((self.a * s * (c - (1 - s) * seen)).sum() / self.weights.sum())


def binary_kl(p: ArrayLike, q: ArrayLike) -> Numbers:
    """kl(p‖q) = p log(p/q) + (1 − p) log((1 − p)/(1 − q)), for p and q in [0, 1].

    Parameters
    ----------
    p, q : float or array_like in [0, 1]
        Two probabilities.

    Returns
    -------
    float or ndarray
        Not negative, perhaps infinite.

    Examples
    --------
    >>> round(binary_kl(0.5, 0.25), 4)
    0.1438
    """
    p, q = _probability(p, "p"), _probability(q, "q")
    with np.errstate(all="ignore"):
        parts = [np.where(x > 0, x * np.log(x / np.where(x > 0, y, 1)), 0) for x, y in ((p, q), (1 - p, 1 - q))]
    return _plain(parts[0] + parts[1])


def kl_inverse(p: ArrayLike, bound: ArrayLike) -> Numbers:
    """The largest q ≤ 1 with kl(p‖q) ≤ `bound`, by bisection.

    Parameters
    ----------
    p : float or array_like in [0, 1]
        What was observed.
    bound : float or array_like
        Not negative.

    Returns
    -------
    float or ndarray
        From p to 1.

    Examples
    --------
    >>> q = kl_inverse(0.1, 0.05)
    >>> round(q, 3), round(binary_kl(0.1, q), 6)
    (0.22, 0.05)
    """
    p, bound = _probability(p, "p"), real_array(bound, "bound")
    if not np.all(bound >= 0):
        raise ValueError(f"bound must not be negative, got {bound!r}")
    low, high = np.broadcast_arrays(p, np.ones_like(bound))
    for _ in range(60):
        middle = (low + high) / 2
        inside = binary_kl(p, middle) <= bound
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return _plain(low)


def pac_bayes(risk: ArrayLike, divergence: ArrayLike, n: int, eps: float = 0.05) -> Numbers:
    """A bound on the mean loss of new tasks, from that of n training tasks; losses are between 0 and 1.

    With probability at least 1 − ε over the n tasks it holds for all distributions of θ at once: kl(risk‖bound) is
    (divergence + log(C_n/ε))/n, where C_n = Σ_j binom(n, j) (j/n)^j (1 − j/n)^{n−j} ≤ 2√n (Maurer 2004, for n ≥ 8).

    Parameters
    ----------
    risk : float or array_like in [0, 1]
        Mean loss of the training tasks, θ drawn from the distribution that was learned.
    divergence : float or array_like
        Kullback–Leibler divergence of that distribution from one that was fixed before the tasks were seen.
    n : int
        Number of tasks.
    eps : float
        ε in (0, 1).

    Returns
    -------
    float or ndarray
        The bound, at most 1.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> round(pac_bayes(0.1, 3.0, 100), 3)
    0.266
    """
    n, eps = count(n, "n", 1), scalar(eps, "eps")
    if eps >= 1:
        raise ValueError(f"eps must be less than 1, got {eps!r}")
    divergence = real_array(divergence, "divergence")
    return kl_inverse(risk, (divergence + math.log(_binomial_sum(n) / eps)) / n)


def _binomial_sum(n):
    """C_n: the mean of exp(n kl(j/n‖p)) over a binomial j, whatever p is."""
    j = np.arange(1, n)
    log_factorial = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    log = log_factorial[n] - log_factorial[j] - log_factorial[n - j] + j * np.log(j / n) + (n - j) * np.log1p(-j / n)
    return 2 + np.exp(log).sum()


def gaussian_kl(mean: ArrayLike, sd: ArrayLike, prior_mean: ArrayLike, prior_sd: ArrayLike) -> Numbers:
    """Kullback–Leibler divergence of the normal distribution of `mean` and `sd` from the prior's, all numbers or arrays.

    Parameters
    ----------
    mean, sd : float or array_like
        Of the one distribution, entry by entry.
    prior_mean, prior_sd : float or array_like
        Of the prior.

    Returns
    -------
    float or ndarray
        Not negative.

    Examples
    --------
    >>> gaussian_kl(1.0, 2.0, 0.0, 2.0)
    0.125
    """
    mean, prior_mean = real_array(mean, "mean"), real_array(prior_mean, "prior_mean")
    sd, prior_sd = positive(sd, "sd"), positive(prior_sd, "prior_sd")
    ratio = np.square(sd) / np.square(prior_sd)
    return _plain((ratio + (mean - prior_mean) ** 2 / np.square(prior_sd) - 1 - np.log(ratio)) / 2)


def clipped_square(mean: ArrayLike, sd: ArrayLike, cap: ArrayLike) -> Numbers:
    """E min(1, x²/cap²) for a normal x of that mean and standard deviation; all numbers or arrays.

    Parameters
    ----------
    mean, sd : float or array_like
        Of x.
    cap : float or array_like
        Where the square is cut off.

    Returns
    -------
    float or ndarray
        From 0 to 1.

    Examples
    --------
    >>> round(clipped_square(0.0, 1.0, 100.0) * 100**2, 6)      # hardly ever clipped
    1.0
    """
    mean, sd, cap = real_array(mean, "mean"), positive(sd, "sd"), positive(cap, "cap")
    low, high = (-cap - mean) / sd, (cap - mean) / sd
    inside = _normal_cdf(high) - _normal_cdf(low)
    density = lambda z: np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    # x = mean + sd z: the integrals of 1, z and z² times the density, from low to high.
    first = density(low) - density(high)
    second = inside + low * density(low) - high * density(high)
    square = np.square(mean) * inside + 2 * mean * sd * first + np.square(sd) * second
    return _plain(1 - inside + square / np.square(cap))


def normal_mean(expr: Any, symbols: Sequence[sp.Symbol]) -> sp.Expr:
    """Mean of a polynomial in independent standard normal symbols: z² has the mean 1, z⁴ 3, z⁶ 15, odd powers 0.

    Parameters
    ----------
    expr : expression
        A polynomial in `symbols`.
    symbols : sequence of Symbol
        Independent, standard normal.

    Returns
    -------
    sympy.Expr
        Free of `symbols`.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> x, a = sp.symbols("x a")
    >>> normal_mean((a * x + 1) ** 4, [x])
    3*a**4 + 6*a**2 + 1
    """
    try:
        terms = sp.Poly(sp.sympify(expr), *symbols).terms()
    except sp.PolynomialError:
        raise ValueError(f"expr must be a polynomial in {list(symbols)}, got {expr}") from None
    moment = lambda power: 0 if power % 2 else sp.factorial2(power - 1)
    return sp.expand(sum(factor * sp.prod([moment(power) for power in powers]) for powers, factor in terms))


def _normal_cdf(z):
    return np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[float])(z)


def _probability(value, name):
    array = real_array(value, name).astype(float)
    if not np.all((array >= 0) & (array <= 1)):
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
    return array


def _plain(array: Any) -> Any:
    return float(array) if np.ndim(array) == 0 else array
