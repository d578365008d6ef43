"""What survives an interrupt: the state of a run in one file, and what tells one run from another."""

import json
import operator
import os
import threading
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from metacalc.arrays import Array, PathLike

__all__ = ["State", "described", "load", "looked_at", "place", "save"]

FORMAT = 2
PROBES = [m * 10**e for e in range(7) for m in (1, 2, 5)]  # iterations at which a schedule is looked at


class State(NamedTuple):
    """All that the next iteration depends on.

    Attributes
    ----------
    t : int
        Iterations done.
    theta : ndarray
        What has been learned so far.
    memory : object
        The update rule's.
    rng : mapping
        State of the generator that all chance comes from.
    trace : tuple
        The losses so far, as `metacalc.training` keeps them.
    """

    t: int
    theta: Array
    memory: Any
    rng: Mapping[str, Any]
    trace: tuple[list[float], int, float, int]


def place(path: PathLike) -> Path:
    """The path of a checkpoint, which can be written; ValueError that names it if not.

    Parameters
    ----------
    path : path
        Where the file shall be.

    Returns
    -------
    pathlib.Path
        Its path.
    """
    try:
        path = Path(path)
    except TypeError:
        raise ValueError(f"checkpoint must be the path of a file, got {path!r}") from None
    if not path.name or path.is_dir():
        raise ValueError(f"checkpoint must name a file, got {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"checkpoint must lie in a folder that exists, got {path}")
    trial = _part(path)
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ValueError(f"checkpoint must lie where files can be written, got {path}: {error}") from error
    return path


def described(value: Any, depth: int = 4) -> Any:
    """What tells a setting from another one, in JSON's terms: of a function its name, what it names and what it was given.

    Neither its bytes, which another Python compiles otherwise, nor an address, which another process does not share.

    Parameters
    ----------
    value : object
        A setting.
    depth : int
        How deep to look into what it holds.

    Returns
    -------
    object
        What JSON can write.
    """
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.size < 100:
            return array.tolist()
        return [*array.shape, str(array.dtype), zlib.crc32(np.ascontiguousarray(array).tobytes())]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth == 0:
        return type(value).__qualname__
    deeper = partial(described, depth=depth - 1)
    if isinstance(value, partial):
        return ["partial", deeper(value.func), deeper(value.args), deeper(value.keywords)]
    if isinstance(value, dict):
        return {str(key): deeper(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [deeper(entry) for entry in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)]
    if hasattr(value, "__code__"):
        given = [cell.cell_contents for cell in value.__closure__ or ()]
        given = [one for one in given if not isinstance(one, list | dict | set | np.ndarray)]  # what may change as it runs
        given += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        told = [c for c in value.__code__.co_consts if isinstance(c, float | str) and c != value.__doc__]
        return [value.__qualname__, *value.__code__.co_names, *told, *map(deeper, given)]
    if " at 0x" in repr(value):
        return [type(value).__qualname__, deeper(getattr(value, "__dict__", {}))]
    return repr(value)


def looked_at(schedule: Callable[..., Any], n_iters: int) -> dict[str, float | None]:
    """A schedule's rates at some of the iterations, {iteration: rate}: what differs by a global shows there.

    Parameters
    ----------
    schedule : callable
        From an iteration to a rate.
    n_iters : int
        Iterations in all.

    Returns
    -------
    dict of str: float or None
        Iteration: rate.
    """
    found = {}
    for t in [0, *PROBES]:
        if t < n_iters:
            try:
                found[str(t)] = float(schedule(t))
            except Exception:  # the run itself will meet the error, and name it
                found[str(t)] = None
    return found


def save(path: PathLike, state: State, run: dict[str, Any]) -> None:
    """Write the state to a new file first, so that an interrupt leaves either the old checkpoint or the new one.

    Parameters
    ----------
    path : path
        The checkpoint.
    state : State
        What to write.
    run : dict
        What the run is; `load` compares it.
    """
    means, *rest = state.trace
    head = json.dumps({"format": FORMAT, "t": state.t, "rng": state.rng, "trace": rest, "run": run})
    memory = {f"memory{i}": leaf for i, leaf in enumerate(_leaves(state.memory))}
    part = _part(path)
    try:
        with open(part, "wb") as file:
            np.savez(file, head=head, theta=state.theta, means=means, **memory)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: PathLike, state: State, run: dict[str, Any]) -> State:
    """The state in a checkpoint of this very run.

    Parameters
    ----------
    path : path
        The checkpoint.
    state : State
        A start, which shows the shape of θ and the structure of the rule's memory.
    run : dict
        What the run is; `save` was given the same.

    Returns
    -------
    State
        Where the run goes on.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or one of another run or of an earlier version.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
            head = json.loads(str(saved["head"]))
            if "t" in head and "format" not in head:
                raise _Other("was written by an earlier version of metacalc, and cannot be continued; its θ is "
                             f"np.load({str(path)!r})['theta']")
            if head["run"] != run and _differences(head["run"], run):
                raise _Other(f"belongs to another run: {'; '.join(_differences(head['run'], run))}")
            leaves = (saved[f"memory{i}"] for i in range(len(_leaves(state.memory))))
            loaded = State(operator.index(head["t"]), saved["theta"], _rebuilt(state.memory, leaves), head["rng"],
                           (saved["means"].tolist(), *head["trace"]))
        _check(loaded, state)
    except _Other as error:
        raise ValueError(f"checkpoint {path} {error}") from None
    except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError, NotImplementedError, BadZipFile,
            zlib.error) as error:
        raise ValueError(f"checkpoint {path} cannot be read: it is no checkpoint of this run, or damaged "
                         f"({error!r})") from error
    return loaded


class _Other(Exception):
    """A checkpoint that is whole, and not this run's."""


def _check(loaded, state):
    """ValueError where what was read cannot be a state of this run."""
    means, block, total, count = loaded.trace
    sound = loaded.t >= 0 and loaded.theta.shape == state.theta.shape and loaded.theta.dtype.kind == "f"
    sound &= all(isinstance(n, int) and n >= least for n, least in ((block, 1), (count, 0))) and isinstance(total, float)
    sound &= all(np.shape(a) == np.shape(b) for a, b in zip(_leaves(loaded.memory), _leaves(state.memory), strict=True))
    if not sound or loaded.t != len(means) * block + count:
        raise ValueError("its iteration, its losses or its θ are none of this run")
    np.random.default_rng().bit_generator.state = loaded.rng  # raises if it is the state of no such generator


def _differences(saved, run):
    """Where two runs differ, in words. Schedules are compared where both were looked at."""
    found = []
    for key in {**saved, **run}:
        before, now = saved.get(key), run.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            keys = before.keys() & now.keys() if key == "rates" else before.keys() | now.keys()
            found += [f"{name} was {before.get(name)}, not {now.get(name)}" for name in sorted(keys)
                      if before.get(name) != now.get(name)]
        elif before != now:
            found.append(f"{key} was {before}, not {now}")
    return found


def _part(path):
    """A file beside `path` that no other process or thread writes to."""
    return Path(f"{os.fspath(path)}.{os.getpid()}-{threading.get_ident()}.part")


def _leaves(memory):
    """The numbers and arrays in a rule's memory, in order."""
    if isinstance(memory, (tuple, list)):
        return [leaf for part in memory for leaf in _leaves(part)]
    return [] if memory is None else [memory]


def _rebuilt(memory, leaves):
    """A memory of the same structure whose numbers and arrays come from the iterator `leaves`."""
    if isinstance(memory, (tuple, list)):
        return type(memory)(_rebuilt(part, leaves) for part in memory)
    return None if memory is None else type(memory)(next(leaves)) if np.ndim(memory) == 0 else next(leaves)
