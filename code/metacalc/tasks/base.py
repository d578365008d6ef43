"""What every task distribution gives, a `Batch`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from metacalc.arrays import AnyArray, ArrayLike, Entries, Integers
from metacalc.checks import count, generator, tensor

__all__ = ["Batch", "Tasks", "VariedShots", "distinct"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A meta-batch of tasks: K shots each to learn from (support), and others to be judged on (query).

    Parameters
    ----------
    x_support, y_support : array_like, shapes (n_tasks, K, ...)
        What each task shows.
    x_query, y_query : array_like, shapes (n_tasks, n_query, ...)
        What it is judged on.

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

    x_support: AnyArray
    y_support: AnyArray
    x_query: AnyArray
    y_query: AnyArray

    if TYPE_CHECKING:  # what is handed in becomes an array
        def __init__(self, x_support: ArrayLike, y_support: ArrayLike, x_query: ArrayLike, y_query: ArrayLike) -> None: ...

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            array = np.asarray(getattr(self, name))
            if array.dtype.kind not in "iu":  # class numbers stay integers
                array = tensor(array, name)
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

    def __len__(self) -> int:
        return self.x_support.shape[0]

    def __getitem__(self, tasks: Entries) -> "Batch":
        """The batch of the tasks that a slice or an array of indices names."""
        if not isinstance(tasks, slice) and (np.ndim(tasks) != 1 or np.asarray(tasks).dtype.kind not in "iub"):
            raise ValueError(f"tasks must be a slice or a list of indices, got {tasks!r}")
        return Batch(self.x_support[tasks], self.y_support[tasks], self.x_query[tasks], self.y_query[tasks])


class Tasks(Protocol):
    """What training and evaluation ask of a task distribution. One that has shots has `with_shots(k_shots)` too."""

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a batch of tasks, all chance from `rng`."""
        ...


@dataclass(frozen=True)
class VariedShots:
    """Tasks whose number of shots is drawn anew for every batch: training for support sets of any size.

    Parameters
    ----------
    tasks : task distribution
        One with `with_shots`.
    shots : sequence of int
        Numbers of shots, each equally probable.

    Raises
    ------
    ValueError
        If `tasks` has no number of shots, or `shots` is not one or more positive integers.

    Examples
    --------
    >>> from metacalc.tasks import Sinusoids
    >>> tasks, rng = VariedShots(Sinusoids(), (2, 5)), np.random.default_rng(0)
    >>> sorted({tasks.sample(rng, 4).x_support.shape[1] for _ in range(20)})
    [2, 5]
    """

    tasks: Any
    shots: tuple[int, ...]

    def __post_init__(self) -> None:
        if not hasattr(self.tasks, "with_shots"):
            raise ValueError(f"tasks must have a number of shots, and with_shots, as Sinusoids has, got {self.tasks!r}")
        if not np.iterable(self.shots) or len(shots := tuple(self.shots)) == 0:
            raise ValueError(f"shots must be one or more positive integers, got {self.shots!r}")
        object.__setattr__(self, "shots", tuple(count(K, "shots", 1) for K in shots))

    def with_shots(self, k_shots: int) -> Any:
        """The tasks with that number of shots, always."""
        return self.tasks.with_shots(k_shots)

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a number of shots, then a batch of tasks with so many."""
        rng = generator(rng)
        return self.tasks.with_shots(self.shots[rng.integers(len(self.shots))]).sample(rng, n_tasks)


def distinct(rng: np.random.Generator, n: Integers, m: int) -> Integers:
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
