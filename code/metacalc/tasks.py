"""Task distributions: `distribution.sample(rng, n_tasks)` draws a `Batch`, each task with a support and a query set.

Whatever is random comes from the `numpy.random.Generator` that is passed in, so that a seed fixes every task.
"""

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from metacalc.models import _data

__all__ = ["Batch", "FewShotClassification", "Quadratics", "Sinusoids"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A meta-batch of tasks: K shots each to learn from (support), and others to be judged on (query).

    Parameters
    ----------
    x_support, y_support : array_like, shapes (n_tasks, K, ...)
    x_query, y_query : array_like, shapes (n_tasks, n_query, ...)

    Raises
    ------
    ValueError
        If the four do not have the same number of tasks, at least one, or an x and its y not the same number of
        examples, at least one; or if an entry is not finite.

    Examples
    --------
    >>> x, y = np.ones((3, 5, 1)), np.zeros((3, 5, 1))
    >>> batch = Batch(x, y, x, y)
    >>> len(batch), len(batch[:2])
    (3, 2)
    """

    x_support: np.ndarray
    y_support: np.ndarray
    x_query: np.ndarray
    y_query: np.ndarray

    def __post_init__(self):
        for name in self.__dataclass_fields__:
            array = np.asarray(getattr(self, name))
            if array.dtype.kind not in "iu":  # class numbers stay integers
                array = _data(array, name, array.dtype)
            if array.ndim < 2 or 0 in array.shape[:2]:
                raise ValueError(f"{name} must have shape (n_tasks, n_examples, ...), both at least 1; "
                                 f"got {array.shape}")
            object.__setattr__(self, name, array)
        for name in self.__dataclass_fields__:
            shape = getattr(self, name).shape
            if shape[0] != len(self):
                raise ValueError(f"{name} must hold {len(self)} tasks, as x_support does; got shape {shape}")
        for x, y in (("x_support", "y_support"), ("x_query", "y_query")):
            n, shape = getattr(self, x).shape[1], getattr(self, y).shape
            if shape[1] != n:
                raise ValueError(f"{y} must hold {n} examples a task, as {x} does; got shape {shape}")

    def __len__(self):
        return self.x_support.shape[0]

    def __getitem__(self, tasks):
        """The batch of the tasks that a slice or an array of indices names."""
        return Batch(self.x_support[tasks], self.y_support[tasks], self.x_query[tasks], self.y_query[tasks])


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
    curvature: tuple = (0.5, 2.0)
    spread: float = 1.0

    def __post_init__(self):
        _positive_integer(self.d, "d")
        low, _ = _interval(self.curvature, "curvature")
        if low <= 0:
            raise ValueError(f"curvature must be positive, got {self.curvature!r}")
        if not (np.isfinite(self.spread) and self.spread >= 0):
            raise ValueError(f"spread must be finite and not negative, got {self.spread!r}")

    def sample(self, rng, n_tasks):
        """Draw a `Batch`: x of shape (n_tasks, d, d) holds the A_i, y of shape (n_tasks, d) the c_i."""
        n_tasks = _positive_integer(n_tasks, "n_tasks")
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
    amplitude: tuple = (0.1, 5.0)
    phase: tuple = (0.0, np.pi)
    x_range: tuple = (-5.0, 5.0)
    dtype: type = np.float64

    def __post_init__(self):
        for name in ("k_shots", "n_query"):
            _positive_integer(getattr(self, name), name)
        for name in ("amplitude", "phase", "x_range"):
            _interval(getattr(self, name), name)
        if np.dtype(self.dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype!r}")

    def with_shots(self, k_shots):
        """The same tasks with another number of support points."""
        return replace(self, k_shots=k_shots)

    def sample(self, rng, n_tasks):
        """Draw a `Batch`: arrays of shape (n_tasks, K or n_query, 1)."""
        n_tasks = _positive_integer(n_tasks, "n_tasks")
        amplitude = rng.uniform(*self.amplitude, (n_tasks, 1, 1)).astype(self.dtype)
        phase = rng.uniform(*self.phase, (n_tasks, 1, 1)).astype(self.dtype)
        x = rng.uniform(*self.x_range, (n_tasks, self.k_shots + self.n_query, 1)).astype(self.dtype)
        y = amplitude * np.sin(x - phase)
        K = self.k_shots
        return Batch(x[:, :K], y[:, :K], x[:, K:], y[:, K:])


class FewShotClassification:
    """N-way K-shot classification tasks from any labelled array (Vinyals et al. 2016; Lake et al. 2015).

    A task draws N classes, numbers them 0, ..., N − 1 in a random order of its own, and draws from each K examples for
    the support set and `n_query` others for the query set.

    Parameters
    ----------
    x : array_like, shape (n_examples, d_in)
        Examples, finite.
    labels : array_like, shape (n_examples,)
        The class of each: numbers or strings.
    n_way : int
        Classes N of a task, at least 2 and at most as many as there are.
    k_shots, n_query : int
        Support and query examples of each class in a task; no class may have fewer than both together.

    Attributes
    ----------
    classes : ndarray
        The different labels, sorted.

    Raises
    ------
    ValueError
        If an argument is not as above; from `sample`, if `n_tasks` is not a positive integer.

    Examples
    --------
    >>> x, labels = np.arange(40.0)[:, None], np.repeat(list("abcdefgh"), 5)
    >>> train, test = FewShotClassification(x, labels, n_way=3, k_shots=2, n_query=3).split(["a", "d", "g"])
    >>> "".join(train.classes), "".join(test.classes)
    ('bcefh', 'adg')
    >>> batch = train.sample(np.random.default_rng(0), n_tasks=4)
    >>> batch.x_support.shape, batch.y_query.shape
    ((4, 6, 1), (4, 9))
    """

    def __init__(self, x, labels, n_way=5, k_shots=1, n_query=15):
        self.x = _data(x, "x", getattr(x, "dtype", np.float64))
        self.labels = np.asarray(labels)
        if self.x.ndim != 2 or 0 in self.x.shape:
            raise ValueError(f"x must have shape (n_examples, d_in), got {self.x.shape}")
        if self.labels.shape != self.x.shape[:1]:
            raise ValueError(f"labels must have shape {self.x.shape[:1]}, one for each example; "
                             f"got {self.labels.shape}")
        for name, value in (("n_way", n_way), ("k_shots", k_shots), ("n_query", n_query)):
            setattr(self, name, _positive_integer(value, name))
        self.classes, counts = np.unique(self.labels, return_counts=True)
        if not 2 <= self.n_way <= len(self.classes):
            raise ValueError(f"n_way must be between 2 and {len(self.classes)}, the number of classes; got {n_way}")
        if k_shots + n_query > counts.min():
            raise ValueError(f"k_shots + n_query must be at most {counts.min()}, the size of the smallest class "
                             f"({self.classes[counts.argmin()]}); got {k_shots} + {n_query}")
        self._order = np.argsort(self.labels, kind="stable")
        self._counts, self._starts = counts, np.cumsum(counts) - counts

    def __repr__(self):
        return (f"FewShotClassification({len(self.classes)} classes, {len(self.x)} examples, n_way={self.n_way}, "
                f"k_shots={self.k_shots}, n_query={self.n_query}, crc32={crc32(np.ascontiguousarray(self.x)):08x})")

    def with_shots(self, k_shots):
        """The same tasks with another number of support examples a class."""
        return FewShotClassification(self.x, self.labels, self.n_way, k_shots, self.n_query)

    def split(self, test_classes):
        """Two distributions with disjoint classes: for meta-training all others, for meta-testing `test_classes`.

        `test_classes` is a sequence of labels; it must leave n_way classes or more on either side.
        """
        test_classes = np.asarray(test_classes)
        unknown = np.setdiff1d(test_classes, self.classes)
        if unknown.size:
            raise ValueError(f"test_classes must be labels that occur; {unknown.tolist()} do not")
        held_out = np.isin(self.labels, test_classes)
        for n, side in ((len(np.unique(test_classes)), "meta-testing"),
                        (len(self.classes) - len(np.unique(test_classes)), "meta-training")):
            if n < self.n_way:
                raise ValueError(f"test_classes must leave {self.n_way} or more classes for {side}, not {n}")
        return tuple(FewShotClassification(self.x[side], self.labels[side], self.n_way, self.k_shots, self.n_query)
                     for side in (~held_out, held_out))

    def sample(self, rng, n_tasks):
        """Draw a `Batch`: x of shape (n_tasks, N·K or N·n_query, d_in), class by class; y integers, (n_tasks, N·K)."""
        n_tasks = _positive_integer(n_tasks, "n_tasks")
        classes = _distinct(rng, np.full(n_tasks, len(self.classes)), self.n_way)
        chosen = _distinct(rng, self._counts[classes], self.k_shots + self.n_query)
        chosen = self._order[self._starts[classes][..., None] + chosen]  # (n_tasks, N, K + n_query)

        def part(indices):
            x = self.x[indices.reshape(n_tasks, -1)]
            return x, np.tile(np.repeat(np.arange(self.n_way), indices.shape[-1]), (n_tasks, 1))

        return Batch(*part(chosen[..., :self.k_shots]), *part(chosen[..., self.k_shots:]))


def _distinct(rng, n, m):
    """For each entry of `n`, m different integers from 0, ..., n − 1 in random order: shape (*n.shape, m).

    Floyd's algorithm (Bentley & Floyd 1987): draw from 0, ..., j for j = n − m, ..., n − 1, and take j itself if the
    draw was taken already. Its time does not depend on n.
    """
    chosen = np.full((*n.shape, m), -1)
    for i in range(m):
        j = n - m + i
        draw = rng.integers(0, j + 1)
        taken = (chosen == draw[..., None]).any(axis=-1)
        chosen[..., i] = np.where(taken, j, draw)
    return rng.permuted(chosen, axis=-1)


def _positive_integer(value, name):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def _interval(value, name):
    """A pair low ≤ high of finite numbers."""
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair of numbers, got {value!r}") from None
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"{name} must be a finite range low ≤ high, got {value!r}")
    return low, high
