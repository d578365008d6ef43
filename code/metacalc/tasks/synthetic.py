"""Tasks made of formulas: quadratics, sine waves, and linear maps of a few shared directions."""

from dataclasses import dataclass, replace

import numpy as np

from metacalc.arrays import Array, DTypeLike
from metacalc.checks import count, generator, interval, precision, real_array, scalar
from metacalc.tasks.base import Batch

__all__ = ["LinearTasks", "Quadratics", "Sinusoids"]


@dataclass(frozen=True)
class Quadratics:
    """Tasks L_i(θ) = ½ (θ − c_i)ᵀ A_i (θ − c_i) for the model `Quadratic`, which sees A_i and c_i as its data.

    A_i = Q diag(a) Qᵀ with a_j uniform in `curvature` and Q uniform among the orthogonal matrices; c_i is normal with
    standard deviation `spread` about 0. The query set is the support set: both are the task itself.

    Parameters
    ----------
    d : int
        Length of θ.
    curvature : pair of float
        Range of the curvatures, 0 < low ≤ high.
    spread : float
        Not negative.

    Raises
    ------
    ValueError
        If an argument is outside its range; from `sample`, if `n_tasks` is not a positive integer.

    Examples
    --------
    >>> batch = Quadratics(d=2).sample(np.random.default_rng(0), n_tasks=3)
    >>> batch.x_support.shape, batch.y_support.shape
    ((3, 2, 2), (3, 2))
    """

    d: int = 1
    curvature: tuple[float, float] = (0.5, 2.0)
    spread: float = 1.0

    def __post_init__(self) -> None:
        count(self.d, "d", 1)
        low, _ = interval(self.curvature, "curvature")
        if low <= 0:
            raise ValueError(f"curvature must be positive, got {self.curvature!r}")
        scalar(self.spread, "spread", positive=False)

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`: x of shape (n_tasks, d, d) holds the A_i, y of shape (n_tasks, d) the c_i."""
        rng, n_tasks = generator(rng), count(n_tasks, "n_tasks", 1)
        a = rng.uniform(*self.curvature, (n_tasks, self.d))
        # QR of a normal matrix, its signs made unique, is uniform among the orthogonal matrices (Mezzadri 2007).
        Q, R = np.linalg.qr(rng.normal(size=(n_tasks, self.d, self.d)))
        Q *= np.sign(np.diagonal(R, axis1=-2, axis2=-1))[:, None, :]
        A = (Q * a[:, None, :]) @ Q.swapaxes(-1, -2)
        A, c = (A + A.swapaxes(-1, -2)) / 2, rng.normal(scale=self.spread, size=(n_tasks, self.d))
        return Batch(A, c, A, c)


@dataclass(frozen=True)
class Sinusoids:
    """Few-shot regression of sine waves, y = A sin(x − φ) (Finn, Abbeel & Levine 2017, section 5.1).

    A, φ and x are uniform in their ranges; one amplitude and one phase a task.

    Parameters
    ----------
    k_shots : int
        Support points K of a task.
    n_query : int
        Query points of a task.
    amplitude, phase, x_range : pair of float
        Ranges low ≤ high of A, of φ (radians) and of x.
    dtype : data type
        float64, or float32 for a loop in single precision.
    noise : float
        Standard deviation of the noise in the support set's answers, not negative; those of the query set are exact.

    Raises
    ------
    ValueError
        If an argument is outside its range; from `sample`, if `n_tasks` is not a positive integer.

    Examples
    --------
    >>> batch = Sinusoids(k_shots=5).sample(np.random.default_rng(0), n_tasks=25)
    >>> batch.x_support.shape, batch.y_query.shape
    ((25, 5, 1), (25, 10, 1))
    """

    k_shots: int = 10
    n_query: int = 10
    amplitude: tuple[float, float] = (0.1, 5.0)
    phase: tuple[float, float] = (0.0, np.pi)
    x_range: tuple[float, float] = (-5.0, 5.0)
    dtype: DTypeLike = np.float64
    noise: float = 0.0

    def __post_init__(self) -> None:
        scalar(self.noise, "noise", positive=False)
        for name in ("k_shots", "n_query"):
            count(getattr(self, name), name, 1)
        for name in ("amplitude", "phase", "x_range"):
            interval(getattr(self, name), name)
        precision(self.dtype)

    def with_shots(self, k_shots: int) -> "Sinusoids":
        """The same tasks with another number of support points."""
        return replace(self, k_shots=k_shots)

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`: arrays of shape (n_tasks, K or n_query, 1)."""
        rng, n_tasks = generator(rng), count(n_tasks, "n_tasks", 1)
        amplitude = rng.uniform(*self.amplitude, (n_tasks, 1, 1)).astype(self.dtype)
        phase = rng.uniform(*self.phase, (n_tasks, 1, 1)).astype(self.dtype)
        x = rng.uniform(*self.x_range, (n_tasks, self.k_shots + self.n_query, 1)).astype(self.dtype)
        y = amplitude * np.sin(x - phase)
        K = self.k_shots
        if self.noise:
            y[:, :K] += rng.normal(scale=self.noise, size=(n_tasks, K, 1)).astype(self.dtype)
        return Batch(x[:, :K], y[:, :K], x[:, K:], y[:, K:])


@dataclass(frozen=True)
class LinearTasks:
    """Linear regression y = x·θ + noise, with x normal in d dimensions and θ in the span of the first few unit vectors.

    The j-th coefficient of θ is normal with mean 0 and standard deviation `spreads[j]`, all others are 0. (Turned together, x
    and θ look the same, so that it is no loss to name the directions.) The query set's answers are exact.

    Parameters
    ----------
    d : int
        Length of x.
    spreads : sequence of float
        At most d, not negative.
    noise : float
        Standard deviation of the noise in the support set's answers, not negative.
    k_shots, n_query : int
        Examples of the support and of the query set.

    Raises
    ------
    ValueError
        If an argument is outside its range; from `sample`, if `n_tasks` is not a positive integer.

    Examples
    --------
    >>> batch = LinearTasks(d=20, k_shots=5).sample(np.random.default_rng(0), n_tasks=3)
    >>> batch.x_support.shape, batch.y_query.shape
    ((3, 5, 20), (3, 10, 1))
    """

    d: int = 20
    spreads: tuple[float, ...] = (1.0, 1.0)
    noise: float = 0.5
    k_shots: int = 10
    n_query: int = 10

    def __post_init__(self) -> None:
        for name in ("d", "k_shots", "n_query"):
            count(getattr(self, name), name, 1)
        scalar(self.noise, "noise", positive=False)
        spreads = real_array(self.spreads, "spreads")
        if spreads.ndim != 1 or not 1 <= spreads.size <= self.d or not np.all(np.isfinite(spreads) & (spreads >= 0)):
            raise ValueError(f"spreads must be from 1 to {self.d} numbers, none negative, got {self.spreads!r}")

    def with_shots(self, k_shots: int) -> "LinearTasks":
        """The same tasks with another number of support points."""
        return replace(self, k_shots=k_shots)

    @property
    def directions(self) -> Array:
        """The shared directions as columns, shape (d, len(spreads))."""
        return np.eye(self.d)[:, :len(self.spreads)]

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`: x of shape (n_tasks, K or n_query, d), y of shape (n_tasks, K or n_query, 1)."""
        rng, n_tasks = generator(rng), count(n_tasks, "n_tasks", 1)
        coefficients = np.asarray(self.spreads) * rng.normal(size=(n_tasks, len(self.spreads)))
        x = rng.normal(size=(n_tasks, self.k_shots + self.n_query, self.d))
        y = x[..., :len(self.spreads)] @ coefficients[..., None]
        K = self.k_shots
        y[:, :K] += self.noise * rng.normal(size=(n_tasks, K, 1))
        return Batch(x[:, :K], y[:, :K], x[:, K:], y[:, K:])
