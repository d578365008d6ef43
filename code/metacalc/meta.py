"""Two-level learning: one function for each algorithm, one training loop, one evaluation.

An algorithm is a function `method(model, theta, batch, ...) -> (loss, gradient)`: the mean over the batch's tasks of
the query loss after adaptation, and the gradient that the outer loop descends. θ has the shape (p,); or (..., p), and
then all leading axes are a table of meta-parameters, worked out in one call, and `alpha` may be an array that
broadcasts with θ. In the comments φ_0 = θ, ..., φ_k are the iterates of the inner loop on one task.
"""

import ctypes
import json
import os
import warnings
from collections import deque
from functools import partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from metacalc.descent import _count, adam
from metacalc.lowrank import steps, suits
from metacalc.tasks.base import _positive_integer

__all__ = [
    "Evaluation", "Training", "adapt", "anil", "evaluate", "fomaml", "imaml", "in_parallel", "joint", "maml",
    "meta_sgd", "meta_train", "rate_schedule", "reptile", "with_rates",
]


@np.errstate(all="ignore")
def adapt(model, theta, x, y, alpha, k=1, only=None, lam=0.0):
    """Inner loop: k gradient steps φ ← φ − α ∇L(φ) on each task, from θ on.

    Parameters
    ----------
    model : model
        As `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts.
    x, y : array_like, shapes (n_tasks, K, ...)
        What the tasks show, as the model takes it: a support set.
    alpha : float or array_like
        Inner rate, positive; an array must broadcast with θ. None if θ carries its own rates, see `with_rates`.
    k : int
        Number of steps, at least 1.
    only : slice or array of indices, optional
        The entries of θ that move; all unless given.
    lam : float
        Proximal strength λ ≥ 0: descend L(φ) + λ/2 ‖φ − θ‖² instead (Rajeswaran et al. 2019, equation 3).

    Returns
    -------
    ndarray, shape (k + 1, ..., n_tasks, p)
        The path φ_0, ..., φ_k. A task that diverges goes on with huge, infinite or NaN values.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> a, c = np.array([[[1.0]], [[2.0]]]), np.array([[0.0], [4.0]])     # two tasks
    >>> adapt(Quadratic(1), [8.0], a, c, alpha=0.25, k=2)[..., 0]
    array([[8. , 8. ],
           [6. , 6. ],
           [4.5, 5. ]])
    """
    theta, alpha = _start(model, theta, alpha, k)
    path = _iterates(model, theta, x, y, _masked(theta, alpha, only), k, _not_negative(lam, "lam"))
    return np.stack(np.broadcast_arrays(*path))


@np.errstate(all="ignore")
def maml(model, theta, batch, alpha, k=1, only=None, fast=True, truncate=None):
    """Model-agnostic meta-learning, exact: differentiates through all k inner steps (Finn, Abbeel & Levine 2017).

    The chain rule along the path, with H the Hessian of the support loss (there equation 1, for k = 1):
    ∇θ L_query(φ_k) = (I − αH(φ_0)) (I − αH(φ_1)) ... (I − αH(φ_{k−1})) ∇L_query(φ_k).

    Parameters
    ----------
    model : model
    theta : array_like, shape (..., p)
    batch : Batch
    alpha : float or array_like
        Inner rate, positive; an array must broadcast with θ.
    k : int
        Number of inner steps, at least 1.
    only : slice or array of indices, optional
        The entries of θ that the inner loop moves; all unless given.
    fast : bool
        Take an `MLP` with one inner rate, unless truncated, by `metacalc.lowrank`: the same to rounding, in about half
        the time.
    truncate : int, optional
        Go back through the last `truncate` inner steps only, and take the factors of the steps before for the identity
        (Shaban et al. 2019): 0 is `fomaml`, k or more is exact. No more steps than these are kept in memory.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., p)

    Raises
    ------
    ValueError
        If an argument is not as above, or the batch does not suit the model.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[0.5]]], [[0.0]], [[[0.5]]], [[0.0]])      # one task, θ²/4
    >>> loss, gradient = maml(Quadratic(1), [4.0], batch, alpha=1.0, k=2)
    >>> gradient                                                   # a (1 − αa)^{2k} θ
    array([0.125])
    """
    theta, alpha = _start(model, theta, alpha, k)
    through = k if truncate is None else min(_count(truncate, "truncate"), k)
    if fast and through == k and suits(model, theta, alpha, only):
        return steps(model, theta, batch, alpha, k)
    alpha = _masked(theta, alpha, only)
    phi, hessians = _over_tasks(theta), deque(maxlen=through)
    for _ in range(k):
        gradient, hessian, _ = _linearize(model, phi, batch.x_support, batch.y_support)
        phi = phi - alpha * gradient
        hessians.append(hessian)
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    for hessian in reversed(hessians):
        v = v - hessian(alpha * v)
    return loss().mean(axis=-1), v.mean(axis=-2)


@np.errstate(all="ignore")
def fomaml(model, theta, batch, alpha, k=1, only=None, fast=True):
    """First-order MAML: `maml` with every Hessian left out, which leaves ∇L_query(φ_k) (Finn et al. 2017, section 5.2).

    Parameters, returns and errors as in `maml`.
    """
    theta, alpha = _start(model, theta, alpha, k)
    if fast and suits(model, theta, alpha, only):
        return steps(model, theta, batch, alpha, k, second_order=False)
    phi = _last(_iterates(model, theta, batch.x_support, batch.y_support, _masked(theta, alpha, only), k))
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    return loss().mean(axis=-1), v.mean(axis=-2)


@np.errstate(all="ignore")
def anil(model, theta, batch, alpha, k=1):
    """Almost no inner loop: `maml` whose inner loop moves only the model's head (Raghu et al. 2020, section 4).

    All of θ is still learned in the outer loop. Parameters, returns and errors as in `maml`; adapt the result with
    `only=model.head`.
    """
    return maml(model, theta, batch, alpha, k, only=model.head)


@np.errstate(all="ignore")
def meta_sgd(model, theta, batch, k=1):
    """Meta-SGD: learns an inner rate for each parameter together with the parameters (Li et al. 2017, equation 4).

    Along the path ∂φ_{j+1}/∂α = diag(−∇L(φ_j)); the rest is `maml`. A learned rate may turn negative.

    Parameters
    ----------
    model : model
    theta : array_like, shape (..., 2p)
        The parameters and behind them their rates; see `with_rates`.
    batch : Batch
    k : int
        Number of inner steps, at least 1.

    Returns
    -------
    loss : float or ndarray, shape (...)
    gradient : ndarray, shape (..., 2p)

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[2.0]]], [[0.0]], [[[2.0]]], [[0.0]])      # one task, θ²
    >>> meta_sgd(Quadratic(1), with_rates([1.0], 0.25), batch)     # loss ((1 − 2α) θ)², its derivatives by θ and α
    (np.float64(0.25), array([ 0.5, -2. ]))
    """
    theta, alpha = _start(model, theta, None, k)
    phi, steps = _over_tasks(theta), []
    for _ in range(k):
        gradient, hessian, _ = _linearize(model, phi, batch.x_support, batch.y_support)
        phi = phi - alpha * gradient
        steps.append((gradient, hessian))
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    v_alpha = 0.0
    for gradient, hessian in reversed(steps):
        v_alpha = v_alpha - gradient * v
        v = v - hessian(alpha * v)
    return loss().mean(axis=-1), np.concatenate([v.mean(axis=-2), v_alpha.mean(axis=-2)], axis=-1)


@np.errstate(all="ignore")
def rate_schedule(model, theta, batch, start):
    """Learns the rates of k steps of gradient descent, one for each step, from a fixed start (Maclaurin et al. 2015).

    The meta-parameters are the rates, φ_j = φ_{j−1} − α_j ∇L_support(φ_{j−1}). With v_k = ∇L_query(φ_k) and
    v_{j−1} = (I − α_j H(φ_{j−1})) v_j the hypergradient is ∂L_query(φ_k)/∂α_j = −∇L_support(φ_{j−1}) · v_j.

    Parameters
    ----------
    model : model
    theta : array_like, shape (..., k)
        The rates α_1, ..., α_k. A learned one may turn negative.
    batch : Batch
    start : array_like, shape (p,)
        Where every task starts, φ_0.

    Returns
    -------
    loss : float or ndarray, shape (...)
    gradient : ndarray, shape (..., k)

    Raises
    ------
    ValueError
        If `theta` has no last axis of at least one rate, `start` is not of the model's length, or the batch does not
        suit the model.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[2.0]]], [[0.0]], [[[2.0]]], [[0.0]])      # one task, θ²
    >>> rate_schedule(Quadratic(1), [0.25, 0.25], batch, start=[1.0])      # the loss is ((1 − 2α_1)(1 − 2α_2))²
    (np.float64(0.0625), array([-0.5, -0.5]))
    """
    theta, start = np.asarray(theta), np.asarray(start)
    theta = theta if theta.dtype.kind == "f" else theta.astype(float)
    if theta.ndim == 0 or theta.shape[-1] == 0:
        raise ValueError(f"theta must have a last axis of one or more rates, got shape {theta.shape}")
    if start.shape != (model.n_params,):
        raise ValueError(f"start must have shape ({model.n_params},), got {start.shape}")
    phi, steps = start.astype(theta.dtype), []
    for alpha in np.moveaxis(theta, -1, 0)[..., None, None]:
        gradient, hessian, _ = _linearize(model, phi, batch.x_support, batch.y_support)
        phi = phi - alpha * gradient
        steps.append((alpha, gradient, hessian))
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    slopes = []
    for alpha, gradient, hessian in reversed(steps):
        slopes.append(-(gradient * v).sum(axis=-1).mean(axis=-1))
        v = v - hessian(alpha * v)
    return loss().mean(axis=-1), np.stack(slopes[::-1], axis=-1)


@np.errstate(all="ignore")
def reptile(model, theta, batch, alpha, k=1):
    """Reptile: descends (θ − φ_k) / α, the sum of the inner gradients (Nichol, Achiam & Schulman 2018, algorithm 1).

    It learns from the support set alone; the query set only serves the loss that is returned. With k = 1 it is joint
    training on the support sets. Parameters, returns and errors as in `maml`.
    """
    theta, alpha = _start(model, theta, alpha, k)
    phi = _last(_iterates(model, theta, batch.x_support, batch.y_support, alpha, k))
    loss = model.loss(phi, batch.x_query, batch.y_query).mean(axis=-1)
    return loss, ((_over_tasks(theta) - phi) / alpha).mean(axis=-2)


@np.errstate(all="ignore")
def imaml(model, theta, batch, alpha, k=10, lam=1.0, cg_steps=10):
    """Implicit MAML: the gradient through the proximal minimum φ*, whatever path led there (Rajeswaran et al. 2019).

    φ* minimises L_support(φ) + λ/2 ‖φ − θ‖², and by the implicit function theorem (there lemma 1)
    ∇θ L_query(φ*) = (I + H(φ*)/λ)⁻¹ ∇L_query(φ*). Here φ* is what k gradient steps reach, and the linear system is
    solved by conjugate gradients.

    Parameters
    ----------
    model : model
    theta : array_like, shape (..., p)
    batch : Batch
    alpha : float or array_like
        Rate of the inner steps, positive; stable below 2/(λ_max(H) + λ).
    k : int
        Number of inner steps, at least 1.
    lam : float
        Proximal strength λ, positive.
    cg_steps : int
        Steps of conjugate gradients, at least 1; exact from p steps on, but for rounding. A task whose H + λI turns
        out not to be positive definite stops at the step before.

    Returns
    -------
    loss : float or ndarray, shape (...)
    gradient : ndarray, shape (..., p)

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[3.0]]], [[0.0]], [[[3.0]]], [[0.0]])          # one task, 3θ²/2
    >>> loss, gradient = imaml(Quadratic(1), [16.0], batch, alpha=0.25, k=20, lam=1.0)
    >>> gradient                                                       # a (λ / (a + λ))² θ
    array([3.])
    """
    theta, alpha = _start(model, theta, alpha, k)
    if not _not_negative(lam, "lam") > 0:
        raise ValueError(f"lam must be positive, got {lam!r}")
    cg_steps = _positive_integer(cg_steps, "cg_steps")
    phi = _last(_iterates(model, theta, batch.x_support, batch.y_support, alpha, k, lam))
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    hessian = _linearize(model, phi, batch.x_support, batch.y_support)[1]
    v = _conjugate_gradients(lambda u: u + hessian(u) / lam, v, cg_steps)
    return loss().mean(axis=-1), v.mean(axis=-2)


@np.errstate(all="ignore")
def joint(model, theta, batch):
    """Joint training, the baseline: mean loss and gradient at θ itself over all examples, support and query alike.

    Parameters, returns and errors as in `maml`, without an inner loop.
    """
    theta, _ = _start(model, theta, 1.0, 1)
    theta = _over_tasks(theta)
    n_support, n_query = batch.x_support.shape[1], batch.x_query.shape[1]
    w = n_support / (n_support + n_query)
    gradient, _, loss = _linearize(model, theta, batch.x_support, batch.y_support)
    gradient_query, _, loss_query = _linearize(model, theta, batch.x_query, batch.y_query)
    loss, gradient = w * loss() + (1 - w) * loss_query(), w * gradient + (1 - w) * gradient_query
    return loss.mean(axis=-1), gradient.mean(axis=-2)


def with_rates(theta, alpha):
    """θ with an inner rate for each parameter behind it, shape (..., 2p): what `meta_sgd` learns.

    Examples
    --------
    >>> with_rates([1.0, 2.0], 0.01)
    array([1.  , 2.  , 0.01, 0.01])
    """
    theta = np.asarray(theta)
    theta = theta if theta.dtype.kind == "f" else theta.astype(float)
    return np.concatenate([theta, np.broadcast_to(np.asarray(alpha, theta.dtype), theta.shape)], axis=-1)


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

    def summed(model, theta, batch, **settings):
        edges = np.linspace(0, len(batch), min(n_chunks, len(batch)) + 1).astype(int)
        chunks = [batch[i:j] for i, j in zip(edges, edges[1:])]
        work = partial(method, model, theta, **settings)
        futures = []
        for chunk in chunks:
            try:
                futures.append(executor.submit(work, chunk))
            except Exception:  # a broken pool
                futures.append(None)
        loss = gradient = 0.0
        for chunk, future in zip(chunks, futures):
            try:
                part = future.result()
            except Exception as error:
                # Either the worker is gone, or the method itself fails, and will again here, where it can be seen.
                part = work(chunk)
                warnings.warn(f"a worker of {executor!r} was lost ({error!r}); its tasks were worked out here",
                              stacklevel=2)
            loss, gradient = loss + len(chunk) * part[0], gradient + len(chunk) * part[1]
        return loss / len(batch), gradient / len(batch)

    summed.__name__ = method.__name__
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
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Quadratics
    >>> run = meta_train(maml, Quadratic(1), Quadratics(1), 500, eta=0.05, theta0=[9.0], progress=False, alpha=0.1)
    >>> bool(abs(run.theta[0]) < 0.5), run.n_iters
    (True, 500)
    """
    n_iters, n_tasks = _positive_integer(n_iters, "n_iters"), _positive_integer(n_tasks, "n_tasks")
    checkpoint_every = _positive_integer(checkpoint_every, "checkpoint_every")
    rate = eta if callable(eta) else lambda t: eta
    if not callable(eta) and not (np.ndim(eta) == 0 and np.isfinite(eta) and eta > 0):
        raise ValueError(f"eta must be positive and finite, got {eta!r}")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    rule = adam() if rule is None else rule
    rng = np.random.default_rng(seed)
    theta = model.init(rng, dtype) if theta0 is None else np.array(theta0)
    theta = theta if theta.dtype.kind == "f" else theta.astype(float)
    if theta.ndim != 1 or not np.isfinite(theta).all():
        raise ValueError(f"theta0 must be a vector of finite numbers, got shape {theta.shape}")
    state = _State(0, theta, rule.init(theta), rng.bit_generator.state, ([], 1, 0.0, 0))
    run = json.dumps([method.__name__, repr(model), repr(tasks), rule.update.__qualname__, n_tasks, seed,
                      "schedule" if callable(eta) else eta, crc32(theta.tobytes()), str(theta.dtype),
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
    steps = tuple(steps)
    if not steps or not all(isinstance(s, (int, np.integer)) and s >= 0 for s in steps):
        raise ValueError(f"steps must be integers of at least 0, got {steps!r}")
    if metric not in ("loss", "accuracy"):
        raise ValueError(f"metric must be 'loss' or 'accuracy', got {metric!r}")
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit!r}")
    if _positive_integer(n_tasks, "n_tasks") < 2:
        raise ValueError("n_tasks must be at least 2")
    if shots is not None and not hasattr(tasks, "with_shots"):
        raise ValueError(f"shots must be None for {tasks!r}, which has no number of shots")
    rows = []
    for distribution in [tasks] if shots is None else [tasks.with_shots(K) for K in shots]:
        batch = distribution.sample(np.random.default_rng(seed), n_tasks)
        path = adapt(model, theta, batch.x_support, batch.y_support, alpha, max(*steps, 1), only)
        losses = np.array([model.loss(path[s], batch.x_query, batch.y_query) for s in steps])
        values = losses if metric == "loss" else np.array(
            [(model.predict(path[s], batch.x_query).argmax(axis=-1) == batch.y_query).mean(axis=-1) for s in steps])
        usable = losses <= limit
        n = usable.sum(axis=-1)
        mean = np.where(usable, values, 0).sum(axis=-1) / n
        variance = np.where(usable, (values - mean[:, None]) ** 2, 0).sum(axis=-1) / (n - 1)
        # A loss that is NaN ranks as infinite.
        median = np.median(np.where(np.isnan(values), np.inf, values), axis=-1)
        rows.append((mean, 1.96 * np.sqrt(variance / n), median, 1 - n / n_tasks))
    columns = [np.array(c) if shots is not None else c[0] for c in zip(*rows)]
    return Evaluation(steps, None if shots is None else tuple(shots), *columns)


def _iterates(model, theta, x, y, alpha, k, lam=0.0):
    """φ_0, ..., φ_k one by one, each of shape (..., n_tasks, p), but for φ_0 = θ, which the tasks share."""
    theta = phi = _over_tasks(theta)
    yield theta
    for _ in range(k):
        direction = model.grad(phi, x, y)
        if lam:
            direction = direction + lam * (phi - theta)
        phi = phi - alpha * direction
        yield phi


def _last(iterates):
    """The last of them, none of the others being kept."""
    return deque(iterates, maxlen=1).pop()


def _conjugate_gradients(times, b, n_steps):
    """Solve times(x) = b for each vector along the last axis (Hestenes & Stiefel 1952)."""
    x, r = np.zeros_like(b), b
    p, rr = r, (r * r).sum(axis=-1, keepdims=True)
    tiny = np.finfo(b.dtype).eps ** 2 * rr
    for _ in range(n_steps):
        Ap = times(p)
        curvature = (p * Ap).sum(axis=-1, keepdims=True)
        # A vector that has converged, or has met a direction of negative curvature, stays where it is.
        going = (rr > tiny) & (curvature > 0)
        step = np.where(going, rr / curvature, 0)
        x, r = x + step * p, np.where(going, r - step * Ap, 0)
        rr, before = (r * r).sum(axis=-1, keepdims=True), rr
        p = r + np.where(going, rr / before, 0) * p
    return x


def _linearize(model, phi, x, y):
    """Gradient of each task at φ, and the functions v ↦ H(φ) v and () ↦ loss."""
    if hasattr(model, "linearize"):
        return model.linearize(phi, x, y)
    return model.grad(phi, x, y), lambda v: model.hvp(phi, v, x, y), lambda: model.loss(phi, x, y)


def _over_tasks(theta):
    """θ with an axis for the tasks before its last, unless it is a single vector."""
    return theta if theta.ndim == 1 else theta[..., None, :]


def _start(model, theta, alpha, k):
    """θ as floats; α positive and ready to broadcast with (..., n_tasks, p), taken out of θ if None; k checked."""
    _positive_integer(k, "k")
    theta = np.asarray(theta)
    theta = theta if theta.dtype.kind == "f" else theta.astype(float)
    p = model.n_params if alpha is not None else 2 * model.n_params
    if theta.ndim == 0 or theta.shape[-1] != p:
        raise ValueError(f"theta must have a last axis of length {p}"
                         f"{', the parameters and their rates' if alpha is None else ''}; got shape {theta.shape}")
    if alpha is None:
        return theta[..., :p // 2], _over_tasks(theta[..., p // 2:])
    if type(alpha) is float and 0 < alpha < float("inf"):
        return theta, alpha
    alpha = np.asarray(alpha)
    if alpha.dtype.kind not in "iuf" or not (np.isfinite(alpha) & (alpha > 0)).all():
        raise ValueError(f"alpha must be positive and finite, got {alpha!r}")
    try:
        shape = np.broadcast_shapes(alpha.shape, theta.shape)
    except ValueError:
        raise ValueError(f"alpha of shape {alpha.shape} does not broadcast with theta of shape {theta.shape}"
                         ) from None
    if alpha.ndim == 0:
        return theta, float(alpha)
    return np.broadcast_to(theta, shape), _over_tasks(np.broadcast_to(alpha.astype(theta.dtype), shape))


def _masked(theta, alpha, only):
    """α where the inner loop moves θ, and 0 elsewhere."""
    if only is None:
        return alpha
    mask = np.zeros(theta.shape[-1], theta.dtype)
    try:
        mask[only] = 1
    except (IndexError, ValueError):
        raise ValueError(f"only must be a slice or indices into {len(mask)} parameters, got {only!r}") from None
    return alpha * mask


def _not_negative(value, name):
    if not (np.ndim(value) == 0 and np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return float(value)


def _keep_freed_memory():
    """Ask glibc, where it is, to keep freed arrays up to 32 MB: else every iteration pages them in anew, 30% slower."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter in (-1, -3):  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
        mallopt(parameter, 1 << 25)


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
        with np.load(path, allow_pickle=False) as saved:
            head = json.loads(str(saved["head"]))
            leaves = (saved[f"memory{i}"] for i in range(len(_leaves(state.memory))))
            loaded = _State(head["t"], saved["theta"], _rebuilt(state.memory, leaves), head["rng"],
                            (saved["means"].tolist(), *head["trace"]))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"checkpoint {path} cannot be read: {error!r}") from error
    if head["run"] != run:
        raise ValueError(f"checkpoint {path} belongs to another run: {head['run']}, not {run}")
    return loaded
