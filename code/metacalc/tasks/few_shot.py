"""Few-shot classification tasks from any labelled array."""

import math
from zlib import crc32

import numpy as np

from metacalc.arrays import ArrayLike, Integers
from metacalc.checks import count, generator, tensor
from metacalc.tasks.base import Batch, Tasks, distinct

__all__ = ["FewShotClassification", "Pooled", "Shifted", "nearest_mean"]


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

    def __init__(self, x: ArrayLike, labels: ArrayLike, n_way: int = 5, k_shots: int = 1, n_query: int = 15) -> None:
        self.x, self.labels = _labelled(x, labels)
        self.n_way, self.k_shots = count(n_way, "n_way", 1), count(k_shots, "k_shots", 1)
        self.n_query = count(n_query, "n_query", 1)
        self.classes, counts = np.unique(self.labels, return_counts=True)
        if not 2 <= self.n_way <= len(self.classes):
            raise ValueError(f"n_way must be between 2 and {len(self.classes)}, the number of classes; got {n_way}")
        if k_shots + n_query > counts.min():
            raise ValueError(f"k_shots + n_query must be at most {counts.min()}, the size of the smallest class "
                             f"({self.classes[counts.argmin()]}); got {k_shots} + {n_query}")
        self._order = np.argsort(self.labels, kind="stable")
        self._counts, self._starts = counts, np.cumsum(counts) - counts

    def __repr__(self) -> str:
        return (f"FewShotClassification({len(self.classes)} classes, {len(self.x)} examples, n_way={self.n_way}, "
                f"k_shots={self.k_shots}, n_query={self.n_query}, crc32={crc32(np.ascontiguousarray(self.x).data):08x})")

    def with_shots(self, k_shots: int) -> "FewShotClassification":
        """The same tasks with another number of support examples a class."""
        return FewShotClassification(self.x, self.labels, self.n_way, k_shots, self.n_query)

    def split(self, test_classes: ArrayLike) -> "tuple[FewShotClassification, FewShotClassification]":
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
        train, test = (FewShotClassification(self.x[side], self.labels[side], self.n_way, self.k_shots, self.n_query)
                       for side in (~held_out, held_out))
        return train, test

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`: x of shape (n_tasks, N·K or N·n_query, d_in), class by class; y integers, one for each."""
        rng, n_tasks = generator(rng), count(n_tasks, "n_tasks", 1)
        classes = distinct(rng, np.full(n_tasks, len(self.classes)), self.n_way)
        chosen = distinct(rng, self._counts[classes], self.k_shots + self.n_query)
        chosen = self._order[self._starts[classes][..., None] + chosen]  # (n_tasks, N, K + n_query)

        def part(indices):
            x = self.x[indices.reshape(n_tasks, -1)]
            return x, np.tile(np.repeat(np.arange(self.n_way), indices.shape[-1]), (n_tasks, 1))

        return Batch(*part(chosen[..., :self.k_shots]), *part(chosen[..., self.k_shots:]))


class Pooled:
    """All classes of a labelled array in one task, numbered once and for all: what a classifier is pre-trained on.

    Few-shot tasks number their classes anew each time. So `joint` learns nothing from them: averaged over the
    numberings, no prediction beats 1/N for every class. Here a class keeps its number, its place among the sorted labels.

    Parameters
    ----------
    x : array_like, shape (n_all, d_in)
        Examples, finite.
    labels : array_like, shape (n_all,)
        The class of each: numbers or strings.
    n_examples : int
        Examples in a task, at least 2, drawn with replacement. One half is its support set, the other its query set,
        which `joint` takes together.

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
    >>> pool = Pooled(np.arange(6.0)[:, None], list("aabbcc"), n_examples=4)
    >>> batch = pool.sample(np.random.default_rng(0), n_tasks=2)
    >>> batch.x_support.shape, batch.y_query.shape
    ((2, 2, 1), (2, 2))
    >>> bool((batch.y_support == batch.x_support[..., 0] // 2).all())
    True
    """

    def __init__(self, x: ArrayLike, labels: ArrayLike, n_examples: int = 100) -> None:
        self.x, self.labels = _labelled(x, labels)
        self.n_examples = count(n_examples, "n_examples", 1)
        if self.n_examples < 2:
            raise ValueError("n_examples must be at least 2")
        self.classes, self._numbers = np.unique(self.labels, return_inverse=True)

    def __repr__(self) -> str:
        return (f"Pooled({len(self.classes)} classes, {len(self.x)} examples, n_examples={self.n_examples}, "
                f"crc32={crc32(np.ascontiguousarray(self.x).data):08x})")

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`: x of shape (n_tasks, n_examples/2, d_in), y integers, (n_tasks, n_examples/2)."""
        chosen = generator(rng).integers(len(self.x), size=(count(n_tasks, "n_tasks", 1), self.n_examples))
        support, query = np.split(chosen, [self.n_examples // 2], axis=1)
        return Batch(self.x[support], self._numbers[support], self.x[query], self._numbers[query])


class Shifted:
    """Tasks whose images are moved by up to some pixels in either direction, each by its own: data augmentation.

    Parameters
    ----------
    tasks : task distribution
        Of square images, flattened. What comes in at an edge repeats the edge.
    pixels : int
        Largest shift, at least 1.

    Raises
    ------
    ValueError
        If `pixels` is not a positive integer; from `sample`, if the images are not square.

    Examples
    --------
    >>> x, labels = np.random.default_rng(0).random((20, 9)), np.repeat(list("ab"), 10)      # images of 3 × 3 pixels
    >>> tasks = FewShotClassification(x, labels, n_way=2, n_query=5)
    >>> before, after = (t.sample(np.random.default_rng(0), 4).x_query for t in (tasks, Shifted(tasks)))
    >>> before.shape == after.shape, np.array_equal(before, after)
    (True, False)
    """

    def __init__(self, tasks: Tasks, pixels: int = 1) -> None:
        self.tasks, self.pixels = tasks, count(pixels, "pixels", 1)

    def __repr__(self) -> str:
        return f"Shifted({self.tasks!r}, {self.pixels})"

    def with_shots(self, k_shots: int) -> "Shifted":
        """The same tasks with another number of support examples a class."""
        return Shifted(self.tasks.with_shots(k_shots), self.pixels)  # pyright: ignore[reportAttributeAccessIssue] (optional)

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch` and move its images."""
        batch = self.tasks.sample(rng, n_tasks)
        return Batch(self._moved(batch.x_support, rng), batch.y_support, self._moved(batch.x_query, rng), batch.y_query)

    def _moved(self, x, rng):
        size, p = math.isqrt(x.shape[-1]), self.pixels
        if size**2 != x.shape[-1]:
            raise ValueError(f"tasks must have square images, got {x.shape[-1]} pixels")
        sheets = np.pad(x.reshape(-1, size, size), ((0, 0), (p, p), (p, p)), mode="edge")
        down, right = rng.integers(0, 2 * p + 1, size=(2, len(sheets), 1, 1))[..., 0, 0]
        windows = np.lib.stride_tricks.sliding_window_view(sheets, (size, size), axis=(1, 2))
        return windows[np.arange(len(sheets)), down, right].reshape(x.shape)


def nearest_mean(x_support: ArrayLike, y_support: ArrayLike, x_query: ArrayLike) -> Integers:
    """The class whose support examples have the nearest mean: classification without any learning.

    On features instead of inputs these means are called prototypes (Snell, Swersky & Zemel 2017, equations 1 and 2).

    Parameters
    ----------
    x_support : array_like, shape (n_tasks, n_support, d)
        Inputs or features of the support sets.
    y_support : array_like of int, shape (n_tasks, n_support)
        Class numbers 0, ..., N − 1; each occurs in every task.
    x_query : array_like, shape (n_tasks, n_query, d)
        What to classify.

    Returns
    -------
    ndarray of int, shape (n_tasks, n_query)
        Class numbers.

    Examples
    --------
    >>> nearest_mean([[[0.0], [2.0], [9.0]]], [[0, 0, 1]], [[[3.0], [6.0]]])
    array([[0, 1]])
    """
    x_support, x_query, y = np.asarray(x_support), np.asarray(x_query), np.asarray(y_support)
    if y.dtype.kind not in "iu" or not (y[..., None] == np.arange(y.max() + 1)).any(axis=-2).all():
        raise ValueError("y_support must hold class numbers 0, 1, ..., each of them in every task")
    members = (y[..., None] == np.arange(y.max() + 1)).swapaxes(-1, -2).astype(x_support.dtype)
    means = members @ x_support / members.sum(axis=-1, keepdims=True)
    # ‖q − m‖² up to ‖q‖², which all classes share.
    return ((means**2).sum(axis=-1)[..., None, :] - 2 * x_query @ means.swapaxes(-1, -2)).argmin(axis=-1)


def _labelled(x, labels):
    """Examples and their labels as arrays that go together."""
    x, labels = tensor(x, "x"), np.asarray(labels)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x must have shape (n_examples, d_in), got {x.shape}")
    if labels.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape {x.shape[:1]}, one for each example; got {labels.shape}")
    if any(label != label for label in labels.tolist()):
        raise ValueError("labels must name a class for each example, but some are NaN")
    return x, labels
