"""The loop around two-level learning: training, its sum over tasks on other processors, and evaluation.

A method is a function `method(model, theta, batch, ...) -> (loss, gradient)`, such as those of `metacalc.meta`.
"""

import ctypes
import json
import numbers
import operator
import os
import warnings
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from metacalc.descent import Rule, _count, _numbers, _scalar, adam
from metacalc.meta import _adapting
from metacalc.tasks.base import _positive_integer

__all__ = ["Evaluation", "Training", "evaluate", "in_parallel", "meta_train"]

IN_CACHE = 100  # tasks that are evaluated together: twice as fast as a thousand, whose parameters no cache holds


def in_parallel(method, executor, n_chunks=None):
    """The same method, its sum over tasks handed in chunks to a `concurrent.futures.Executor`.

    Parameters
    ----------
    method : callable
        Such as `maml`, or one of your own that can be pickled.
    executor : concurrent.futures.Executor
        A process pool, `dask.distributed.Client(...).get_executor()`, or any other.
    n_chunks : int, optional
        Parts of a batch; one for each processor of this machine unless given.

    Returns
    -------
    callable
        `method`, to rounding. A chunk whose worker is lost is worked out here, with a warning.

    Raises
    ------
    ValueError
        If `executor` has no `submit`, or `n_chunks` is not a positive integer.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from metacalc.meta import maml
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Quadratics
    >>> batch = Quadratics(d=2).sample(np.random.default_rng(0), n_tasks=7)
    >>> with ThreadPoolExecutor(2) as pool:
    ...     loss, gradient = in_parallel(maml, pool)(Quadratic(2), np.ones(2), batch, alpha=0.1)
    >>> np.allclose(gradient, maml(Quadratic(2), np.ones(2), batch, alpha=0.1)[1])
    True
    """
    if not callable(getattr(executor, "submit", None)):
        raise ValueError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    n_chunks = os.cpu_count() or 1 if n_chunks is None else _positive_integer(n_chunks, "n_chunks")

    def summed(model, theta, batch, *args, **settings):
        edges = np.linspace(0, len(batch), min(n_chunks, len(batch)) + 1).astype(int)
        chunks = [batch[i:j] for i, j in zip(edges, edges[1:])]
        work = partial(method, model, theta, **settings)
        futures = []
        for chunk in chunks:
            try:
                futures.append(executor.submit(work, chunk, *args))
            except Exception:  # a broken pool
                futures.append(None)
        loss = gradient = 0.0
        for chunk, future in zip(chunks, futures):
            try:
                part = future.result()
            except Exception as error:
                # Either the worker is gone, or the method itself fails, and will again here, where it can be seen.
                part = work(chunk, *args)
                warnings.warn(f"a worker of {executor!r} was lost ({error!r}); its tasks were worked out here",
                              stacklevel=2)
            loss, gradient = loss + len(chunk) * part[0], gradient + len(chunk) * part[1]
        return loss / len(batch), gradient / len(batch)

    return summed


class Training(NamedTuple):
    """What `meta_train` reached.

    Attributes
    ----------
    theta : ndarray, shape (p,)
    n_iters : int
        Iterations done.
    losses : ndarray
        Mean losses over successive blocks of `block` iterations each, at most 512 of them however long the run.
    block : int
    interrupted : bool
        Whether Ctrl-C ended it.
    """

    theta: np.ndarray
    n_iters: int
    losses: np.ndarray
    block: int
    interrupted: bool


def meta_train(method, model, tasks, n_iters, *, eta=1e-3, rule=None, n_tasks=25, theta0=None, dtype=np.float64,
               seed=0, callback=None, checkpoint=None, checkpoint_every=1000, executor=None, progress=True, **settings):
    """Outer loop: θ ← θ − η · direction(gradient of `method` on a fresh batch of tasks), `n_iters` times.

    Parameters
    ----------
    method : callable
        `maml` or another algorithm; `settings` (such as `alpha=0.01, k=5`) are passed on to it.
    model : model
    tasks : task distribution
    n_iters : int
        Iterations in all, at least 1.
    eta : float or callable
        Outer rate, positive, or a function of the iteration 0, 1, ....
    rule : metacalc.descent.Rule, optional
        `adam()` unless given.
    n_tasks : int
        Tasks in a meta-batch.
    theta0 : array_like, shape (p,), optional
        Start; `model.init(rng, dtype)` unless given.
    dtype : float32 or float64
        Precision of the start that `init` gives.
    seed : int
        Fixes the start and all tasks.
    callback : callable, optional
        `callback(iteration, loss, theta)`, after every iteration; the run ends when it returns True.
    checkpoint : path, optional
        File (.npz) that the state is written to, every `checkpoint_every` iterations and at the end. If it exists the
        run goes on from there, with the same result as if it had never stopped.
    executor : concurrent.futures.Executor, optional
        Works out the sum over tasks; see `in_parallel`.
    progress : bool
        Whether to show a progress bar; never with TQDM_DISABLE=1 in the environment.

    Returns
    -------
    Training
        Ctrl-C (KeyboardInterrupt) is no error: it returns, and writes to the checkpoint, what was reached.

    Raises
    ------
    ValueError
        If an argument is not as above, or `checkpoint` belongs to a run with other settings.

    Examples
    --------
    >>> from metacalc.meta import maml
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Quadratics
    >>> run = meta_train(maml, Quadratic(1), Quadratics(1), 500, eta=0.05, theta0=[9.0], progress=False, alpha=0.1)
    >>> bool(abs(run.theta[0]) < 0.5), run.n_iters
    (True, 500)
    """
    n_iters, n_tasks = _positive_integer(n_iters, "n_iters"), _positive_integer(n_tasks, "n_tasks")
    checkpoint_every = _positive_integer(checkpoint_every, "checkpoint_every")
    rate = (lambda t: _scalar(eta(t), "eta")) if callable(eta) else lambda t, fixed=_scalar(eta, "eta"): fixed
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    rule = adam() if rule is None else rule
    if not isinstance(rule, Rule):
        raise ValueError(f"rule must be a Rule, such as momentum(0.9), got {rule!r}")
    if checkpoint is not None and not Path(checkpoint).absolute().parent.is_dir():
        raise ValueError(f"checkpoint must lie in a folder that exists, got {checkpoint}")
    seed = _count(seed, "seed")
    rng = np.random.default_rng(seed)
    theta = model.init(rng, dtype) if theta0 is None else _numbers(theta0, "theta0")
    if theta.ndim != 1 or not np.isfinite(theta).all():
        raise ValueError(f"theta0 must be a vector of finite numbers, got shape {theta.shape}")
    state = _State(0, theta, rule.init(theta), rng.bit_generator.state, ([], 1, 0.0, 0))
    run = json.dumps([_identity(method), repr(model), repr(tasks), _identity(rule.update), n_tasks, seed,
                      _identity(eta), crc32(theta.tobytes()), str(theta.dtype),
                      {name: np.asarray(value).tolist() for name, value in sorted(settings.items())}], default=str)
    if checkpoint is not None and os.path.exists(checkpoint):
        state = _load(checkpoint, state, run)
        rng.bit_generator.state = state.rng
    if executor is not None:
        method = in_parallel(method, executor)

    interrupted = False
    _keep_freed_memory()
    silent = not progress or os.environ.get("TQDM_DISABLE") == "1"  # tqdm's own variable, which it ignores in notebooks
    bar = tqdm(total=n_iters, initial=state.t, disable=silent, mininterval=0.5)
    # One thread: on matrices of this size the library's threads cost more than they bring.
    with bar, threadpool_limits(1, "blas"), np.errstate(all="ignore"):
        try:
            while state.t < n_iters:
                loss, gradient = method(model, state.theta, tasks.sample(rng, n_tasks), **settings)
                direction, memory = rule.update(gradient, state.memory)
                theta = state.theta - rate(state.t) * direction
                # One assignment, so that an interrupt finds a whole state, before the iteration or after it.
                state = _State(state.t + 1, theta, memory, rng.bit_generator.state, _recorded(state.trace, loss))
                bar.update()
                if state.t % checkpoint_every == 0 and checkpoint is not None:
                    _save(checkpoint, state, run)
                if callback is not None and callback(state.t - 1, float(loss), state.theta):
                    break
        except KeyboardInterrupt:
            interrupted = True
        if checkpoint is not None:
            _save(checkpoint, state, run)
    means, block = state.trace[:2]
    return Training(state.theta, state.t, np.array(means), block, interrupted)


class Evaluation(NamedTuple):
    """Losses (or accuracies) after adaptation to fresh tasks; every array has the shape (n_shots, n_steps).

    Attributes
    ----------
    steps : tuple of int
    shots : tuple of int, or None where the distribution was taken as it is and the arrays have the shape (n_steps,)
    mean, ci : ndarray
        Mean over the tasks that did not diverge, and the half-width of its 95% confidence interval, 1.96 s/√n.
    median : ndarray
        Over all tasks.
    diverged : ndarray
        Fraction of tasks whose loss is not finite or above the limit.
    """

    steps: tuple
    shots: tuple | None
    mean: np.ndarray
    ci: np.ndarray
    median: np.ndarray
    diverged: np.ndarray


@threadpool_limits.wrap(limits=1, user_api="blas")  # as in `meta_train`
@np.errstate(all="ignore")
def evaluate(model, theta, tasks, alpha, *, steps=(0, 1, 5, 10), shots=None, n_tasks=600, seed=1, metric="loss",
             limit=100.0, only=None):
    """Adapt θ to tasks it has not seen, and measure on their query sets.

    Parameters
    ----------
    model : model
    theta : array_like, shape (p,)
    tasks : task distribution
    alpha : float or array_like
        Inner rate, or None if θ carries its own (`meta_sgd`).
    steps : sequence of int
        Numbers of inner steps to stop at, each at least 0.
    shots : sequence of int, optional
        Numbers of support examples K to try, by `tasks.with_shots(K)`.
    n_tasks : int
        At least 2.
    seed : int
        Fixes the tasks: two learners that are given the same seed meet the same ones.
    metric : {"loss", "accuracy"}
        "accuracy", for classifiers, is the fraction of query examples whose most probable class is the right one.
    limit : float
        A task whose query loss exceeds it counts as diverged.
    only : slice or array of indices, optional
        As in `adapt`: `model.head` for `anil`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Quadratics
    >>> result = evaluate(Quadratic(1), [0.0], Quadratics(1), alpha=0.5, steps=(0, 1, 10))
    >>> result.mean.round(3), result.diverged
    (array([0.687, 0.091, 0.   ]), array([0., 0., 0.]))
    """
    steps = tuple(steps) if np.iterable(steps) else ()
    if not steps or not all(isinstance(s, (int, np.integer)) and s >= 0 for s in steps):
        raise ValueError(f"steps must be integers of at least 0, got {steps!r}")
    if metric not in ("loss", "accuracy"):
        raise ValueError(f"metric must be 'loss' or 'accuracy', got {metric!r}")
    if not (isinstance(limit, numbers.Real) and limit > 0):
        raise ValueError(f"limit must be positive, got {limit!r}")
    seed = _count(seed, "seed")
    if _positive_integer(n_tasks, "n_tasks") < 2:
        raise ValueError("n_tasks must be at least 2")
    if shots is not None and (not np.iterable(shots) or len(shots := tuple(shots)) == 0):
        raise ValueError(f"shots must be one or more numbers of support examples, got {shots!r}")
    if shots is not None and not hasattr(tasks, "with_shots"):
        raise ValueError(f"shots must be None for {tasks!r}, which has no number of shots")
    rows = []
    for distribution in [tasks] if shots is None else [tasks.with_shots(K) for K in shots]:
        batch = distribution.sample(np.random.default_rng(seed), n_tasks)
        parts = [batch[i:i + IN_CACHE] for i in range(0, n_tasks, IN_CACHE)]
        losses, values = np.concatenate([_measured(model, theta, part, alpha, steps, metric, only) for part in parts], axis=-1)
        usable = losses <= limit
        n = usable.sum(axis=-1)
        mean = np.where(usable, values, 0).sum(axis=-1) / n
        variance = np.where(usable, (values - mean[:, None]) ** 2, 0).sum(axis=-1) / (n - 1)
        # A loss that is NaN ranks as infinite.
        median = np.median(np.where(np.isnan(values), np.inf, values), axis=-1)
        rows.append((mean, 1.96 * np.sqrt(variance / n), median, 1 - n / n_tasks))
    columns = [np.array(c) if shots is not None else c[0] for c in zip(*rows)]
    return Evaluation(steps, None if shots is None else tuple(shots), *columns)


def _measured(model, theta, batch, alpha, steps, metric, only):
    """Each task's loss, and its value in the metric, after each number of steps: shape (2, len(steps), n_tasks)."""
    found = {}
    for s, phi in enumerate(_adapting(model, theta, batch.x_support, batch.y_support, alpha, max(*steps, 1), only)):
        if s in steps:
            loss = model.loss(phi, batch.x_query, batch.y_query)
            found[s] = loss, loss if metric == "loss" else (
                model.predict(phi, batch.x_query).argmax(axis=-1) == batch.y_query).mean(axis=-1)
    return np.stack([found[s] for s in steps], axis=1)


def _keep_freed_memory():
    """Ask glibc, where it is, to keep freed arrays up to 32 MB: else every iteration pages them in anew, 30% slower."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter in (-1, -3):  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
        mallopt(parameter, 1 << 25)


def _identity(value):
    """What tells a setting from another one, as text: for a function its code and the constants that it has been given."""
    if isinstance(value, partial):
        return f"partial({_identity(value.func)}, {[*map(_identity, value.args)]}, {value.keywords})"
    if isinstance(value, Rule):
        return _identity(value.update)
    if not callable(value) or not hasattr(value, "__code__"):
        return repr(value)
    code, given = value.__code__, [cell.cell_contents for cell in value.__closure__ or ()]
    given += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    fixed = [g for g in given if isinstance(g, (int, float, str, Rule, partial)) or hasattr(g, "__code__")]
    constants = [c for c in code.co_consts if isinstance(c, (int, float, str)) and c != value.__doc__]
    return f"{value.__qualname__}({[*map(_identity, fixed)]}, {constants}, {code.co_names}, {crc32(code.co_code)})"


class _State(NamedTuple):
    """All that the next iteration depends on."""

    t: int
    theta: np.ndarray
    memory: object
    rng: dict
    trace: tuple


def _recorded(trace, loss):
    """The trace (means, block, sum, count) with one loss more; when 512 blocks are full, pairs are merged."""
    means, block, total, count = trace
    total, count = total + float(loss), count + 1
    if count == block:
        means, total, count = [*means, total / block], 0.0, 0
        if len(means) == 512:
            means, block = [(a + b) / 2 for a, b in zip(means[::2], means[1::2])], 2 * block
    return means, block, total, count


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


def _save(path, state, run):
    """Write the state to a new file first, so that an interrupt leaves either the old checkpoint or the new one."""
    means, *rest = state.trace
    head = json.dumps({"t": state.t, "rng": state.rng, "trace": rest, "run": run})
    memory = {f"memory{i}": leaf for i, leaf in enumerate(_leaves(state.memory))}
    partial_file = f"{os.fspath(path)}.part"
    with open(partial_file, "wb") as file:
        np.savez(file, head=head, theta=state.theta, means=means, **memory)
    os.replace(partial_file, path)


def _load(path, state, run):
    """The state in a checkpoint; `state` shows the structure of the rule's memory."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
            head = json.loads(str(saved["head"]))
            leaves = (saved[f"memory{i}"] for i in range(len(_leaves(state.memory))))
            loaded = _State(operator.index(head["t"]), saved["theta"], _rebuilt(state.memory, leaves), head["rng"],
                            (saved["means"].tolist(), *head["trace"]))
            if loaded.t < 0 or loaded.theta.shape != state.theta.shape:
                raise ValueError("its iteration or θ is none of this run")
    except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError, BadZipFile, zlib.error) as error:
        raise ValueError(f"checkpoint {path} cannot be read: {error!r}") from error
    if head["run"] != run:
        raise ValueError(f"checkpoint {path} belongs to another run: {head['run']}, not {run}")
    return loaded
