"""Two-level learning: one function for each algorithm. `training` has the loop around them.

An algorithm is a function `method(model, theta, batch, ...) -> (loss, gradient)`: the mean over the batch's tasks of
the query loss after adaptation, and the gradient that the outer loop descends. θ has the shape (p,); or (..., p), and
then all leading axes are a table of meta-parameters, worked out in one call, and `alpha` may be an array that
broadcasts with θ. In the comments φ_0 = θ, ..., φ_k are the iterates of the inner loop on one task.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from metacalc.arrays import Array, ArrayLike, Entries, Numbers
from metacalc.bilevel import conjugate_gradients
from metacalc.checks import count, instance, positive, real_array, scalar
from metacalc.models import Model, moving
from metacalc.tasks.base import Batch

__all__ = [
    "Learner", "Method", "adapt", "anil", "fomaml", "imaml", "joint", "maml", "meta_sgd", "rate_schedule", "reptile",
    "unwrapped", "with_rates",
]


F = TypeVar("F", bound=Callable[..., Any])


class Method(Protocol):
    """What `metacalc.training.meta_train` asks of an algorithm."""

    def __call__(self, model: Model, theta: Array, batch: Batch, /, *args: Any, **settings: Any) -> tuple[Any, Array]:
        """The loss, shape (...), and the gradient that the outer loop descends, in the shape of `theta`."""
        ...


@dataclass(frozen=True, eq=False)
class Learner:
    """What meta-training yields: a model, where its tasks start, and how they adapt from there.

    Parameters
    ----------
    model : model
        What adapts, as `metacalc.models` describes it.
    theta : ndarray, shape (..., p), or (..., 2p) if it carries its own rates
        Where every task starts.
    alpha : float or array_like, optional
        Inner rate. None if θ carries its own (`with_rates`), or if there is none yet, as after joint training.
    only : slice or array of indices, optional
        The entries of θ that move, such as `model.head` for `anil`; all unless given.
    lam : float
        Proximal strength, as in `adapt`: that of `imaml`.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> learner = Learner(Quadratic(1), [8.0], alpha=0.25)
    >>> learner.adapt([[[1.0]], [[2.0]]], [[0.0], [4.0]], k=2)[..., 0]
    array([[8. , 8. ],
           [6. , 6. ],
           [4.5, 5. ]])
    """

    model: Model
    theta: ArrayLike
    alpha: ArrayLike | None = None
    only: Entries | None = None
    lam: float = 0.0

    @classmethod
    def of(cls, method: Method, model: Model, theta: ArrayLike, **settings: Any) -> "Learner":
        """The learner that a method of this module, or one of your own, has trained: it adapts at test as in training.

        Parameters
        ----------
        method : callable
            The algorithm, or a `partial` of it.
        model : model
            What it was trained with.
        theta : ndarray
            What was learned.
        **settings
            Those of the method: `alpha`, `only` and `lam` count.

        Examples
        --------
        >>> from metacalc.models import MLP
        >>> net = MLP((1, 3, 1))
        >>> Learner.of(anil, net, np.zeros(10), alpha=0.1).only == net.head
        True
        """
        function, settings = unwrapped(method, settings)
        only = function.only(model) if hasattr(function, "only") else settings.get("only")
        kind: Any = getattr(function, "learner", cls) or cls
        return kind(model, theta, settings.get("alpha"), only, settings.get("lam", 0.0))

    @np.errstate(all="ignore")
    def adapt(self, x: ArrayLike, y: ArrayLike, k: int = 1) -> Array:
        """The path of `k` inner steps on support sets, as the function `adapt` returns it."""
        return np.stack(np.broadcast_arrays(*self.iterates(x, y, k)))

    def iterates(self, x: ArrayLike, y: ArrayLike, k: int) -> Iterator[Array]:
        """The path of `adapt`, one after the other."""
        p = self.model.n_params
        if self.alpha is None and np.shape(self.theta)[-1:] == (p,):
            if k == 0:
                return iter([_over_tasks(np.asarray(self.theta))])
            raise ValueError("alpha must be given: this learner has no inner rate, as joint training names none; "
                             "Learner(model, theta, alpha) has one")
        theta, alpha = _start(self.model, self.theta, self.alpha, max(k, 1))
        return _iterates(self.model, theta, x, y, _masked(theta, alpha, self.only), k, scalar(self.lam, "lam", positive=False))


def unwrapped(method: Any, settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The algorithm itself, without `functools.partial` or a decorator around it, and all its settings.

    Parameters
    ----------
    method : callable
        An algorithm, or a `partial` or a decorated one.
    settings : dict
        Settings that were given beside it; they win.

    Returns
    -------
    method : callable
        The innermost function.
    settings : dict
        All settings together.
    """
    while True:
        if isinstance(method, partial):
            method, settings = method.func, method.keywords | settings
        elif hasattr(method, "__wrapped__") and not any(hasattr(method, name) for name in ("only", "start", "learner")):
            method = method.__wrapped__
        else:
            return method, settings


def _adapts(**how: Any) -> Callable[[F], F]:
    """Says of a method what `Learner.of` and `meta_train` have to know: `only`, a function from the model to the entries of
    θ that it adapts; `start`, one from the model's own start to that of the method; `learner`, the class of `Learner` that
    adapts as it does, or False if its θ is none."""
    def marked(method):
        for name, value in how.items():
            setattr(method, name, value)
        return method

    return marked


def adapt(model: Model, theta: ArrayLike, x: ArrayLike, y: ArrayLike, alpha: ArrayLike | None, k: int = 1,
          only: Entries | None = None, lam: float = 0.0) -> Array:
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
    return Learner(model, theta, alpha, only, lam).adapt(x, y, count(k, "k", 1))


@np.errstate(all="ignore")
def maml(model: Model, theta: ArrayLike, batch: Batch, alpha: ArrayLike, k: int = 1, only: Entries | None = None,
         fast: bool = True, truncate: int | None = None) -> tuple[Array, Array]:
    """Model-agnostic meta-learning, exact: differentiates through all k inner steps (Finn, Abbeel & Levine 2017).

    The chain rule along the path, with H the Hessian of the support loss (there equation 1, for k = 1):
    ∇θ L_query(φ_k) = (I − αH(φ_0)) (I − αH(φ_1)) ... (I − αH(φ_{k−1})) ∇L_query(φ_k).

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts; all leading axes are a table.
    batch : Batch
        The tasks, each with a support and a query set.
    alpha : float or array_like
        Inner rate, positive; an array must broadcast with θ.
    k : int
        Number of inner steps, at least 1.
    only : slice or array of indices, optional
        The entries of θ that the inner loop moves; all unless given.
    fast : bool
        Take the model's own faster way where it has one that suits, unless truncated. That of an `MLP`, where all
        entries or those of the head move with one rate, is `metacalc.lowrank`: the same to rounding, in about half the
        time; it keeps its arrays for the next call.
    truncate : int, optional
        Go back through the last `truncate` inner steps only, and take the factors of the steps before for the identity:
        0 is `fomaml`, k or more is exact. No more steps than these are kept in memory. Shaban et al. 2019 truncate
        where a parameter enters at every step, by leaving out the terms of the earlier ones; ours enters at the first only.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., p)
        Its exact derivative by θ.

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
    theta, alpha = _start(model, theta, alpha, k, batch)
    through = int(k if truncate is None else min(count(truncate, "truncate"), k))
    found = _fast(model, theta, batch, alpha, k, only) if fast and through == k else None
    if found is not None:
        return found
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
def fomaml(model: Model, theta: ArrayLike, batch: Batch, alpha: ArrayLike, k: int = 1, only: Entries | None = None,
           fast: bool = True) -> tuple[Array, Array]:
    """First-order MAML: `maml` with every Hessian left out, which leaves ∇L_query(φ_k) (Finn et al. 2017, section 5.2).

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts; all leading axes are a table.
    batch : Batch
        The tasks, each with a support and a query set.
    alpha : float or array_like
        Inner rate, positive; an array must broadcast with θ.
    k : int
        Number of inner steps, at least 1.
    only : slice or array of indices, optional
        The entries of θ that the inner loop moves; all unless given.
    fast : bool
        Take the model's own faster way where it has one that suits, as `maml` does.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., p)
        The query gradient at φ_k, mean over tasks.

    Raises
    ------
    ValueError
        If an argument is not as above, or the batch does not suit the model.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[0.5]]], [[0.0]], [[[0.5]]], [[0.0]])      # one task, θ²/4
    >>> fomaml(Quadratic(1), [4.0], batch, alpha=1.0, k=2)[1]      # a (1 − αa)^k θ
    array([0.5])
    """
    theta, alpha = _start(model, theta, alpha, k, batch)
    found = _fast(model, theta, batch, alpha, k, only, second_order=False) if fast else None
    if found is not None:
        return found
    phi = _last(_iterates(model, theta, batch.x_support, batch.y_support, _masked(theta, alpha, only), k))
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    return loss().mean(axis=-1), v.mean(axis=-2)


@_adapts(only=lambda model: model.head)
@np.errstate(all="ignore")
def anil(model: Model, theta: ArrayLike, batch: Batch, alpha: ArrayLike, k: int = 1) -> tuple[Array, Array]:
    """Almost no inner loop: `maml` whose inner loop moves only the model's head (Raghu et al. 2020, section 4).

    All of θ is still learned in the outer loop. What it learns adapts with `only=model.head`, as `Learner.of` knows.

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts; all leading axes are a table.
    batch : Batch
        The tasks, each with a support and a query set.
    alpha : float or array_like
        Inner rate, positive; an array must broadcast with θ.
    k : int
        Number of inner steps, at least 1.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., p)
        Its exact derivative by θ.

    Raises
    ------
    ValueError
        If an argument is not as above, or the batch does not suit the model.
    """
    return maml(model, theta, batch, alpha, k, only=model.head)  # pyright: ignore[reportAttributeAccessIssue] (optional)


@_adapts(start=lambda theta: with_rates(theta, 0.01))
@np.errstate(all="ignore")
def meta_sgd(model: Model, theta: ArrayLike, batch: Batch, k: int = 1) -> tuple[Array, Array]:
    """Meta-SGD: learns an inner rate for each parameter together with the parameters (Li et al. 2017, equation 4).

    Along the path ∂φ_{j+1}/∂α = diag(−∇L(φ_j)); the rest is `maml`. A learned rate may turn negative. `meta_train` starts
    all rates at 0.01, unless it is given `theta0`.

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., 2p)
        The parameters and behind them their rates; see `with_rates`.
    batch : Batch
        The tasks, each with a support and a query set.
    k : int
        Number of inner steps, at least 1.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., 2p)
        Its derivative by the parameters, and behind it that by the rates.

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
    theta, alpha = _start(model, theta, None, k, batch)
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
    both = v.mean(axis=-2), v_alpha.mean(axis=-2)  # pyright: ignore[reportAttributeAccessIssue] (k is 1 or more)
    return loss().mean(axis=-1), np.concatenate(both, axis=-1)


@_adapts(learner=False)
@np.errstate(all="ignore")
def rate_schedule(model: Model, theta: ArrayLike, batch: Batch, start: ArrayLike) -> tuple[Array, Array]:
    """Learns the rates of k steps of gradient descent, one for each step, from a fixed start (Maclaurin et al. 2015).

    The meta-parameters are the rates, φ_j = φ_{j−1} − α_j ∇L_support(φ_{j−1}). With v_k = ∇L_query(φ_k) and
    v_{j−1} = (I − α_j H(φ_{j−1})) v_j the hypergradient is ∂L_query(φ_k)/∂α_j = −∇L_support(φ_{j−1}) · v_j.

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., k)
        The rates α_1, ..., α_k. A learned one may turn negative.
    batch : Batch
        The tasks, each with a support and a query set.
    start : array_like, shape (p,)
        Where every task starts, φ_0.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., k)
        Its derivative by the rates.

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
    theta, start = real_array(theta, "theta"), real_array(start, "start")
    instance(batch, Batch, "batch", "a Batch, as a task distribution samples it")
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
def reptile(model: Model, theta: ArrayLike, batch: Batch, alpha: ArrayLike, k: int = 1) -> tuple[Array, Array]:
    """Reptile: descends (θ − φ_k) / α, the sum of the inner gradients (Nichol, Achiam & Schulman 2018, algorithm 1).

    It learns from the support set alone; the query set only serves the loss that is returned. With k = 1 it is joint
    training on the support sets.

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts; all leading axes are a table.
    batch : Batch
        The tasks, each with a support and a query set.
    alpha : float or array_like
        Inner rate, positive; an array must broadcast with θ.
    k : int
        Number of inner steps, at least 1.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., p)
        Mean over tasks of (θ − φ_k) / α.

    Raises
    ------
    ValueError
        If an argument is not as above, or the batch does not suit the model.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[0.5]]], [[0.0]], [[[0.5]]], [[0.0]])      # one task, θ²/4
    >>> reptile(Quadratic(1), [4.0], batch, alpha=1.0, k=2)[1]     # (1 − (1 − αa)^k) θ / α
    array([3.])
    """
    theta, alpha = _start(model, theta, alpha, k, batch)
    phi = _last(_iterates(model, theta, batch.x_support, batch.y_support, alpha, k))
    loss = model.loss(phi, batch.x_query, batch.y_query).mean(axis=-1)
    return loss, ((_over_tasks(theta) - phi) / alpha).mean(axis=-2)


@np.errstate(all="ignore")
def imaml(model: Model, theta: ArrayLike, batch: Batch, alpha: ArrayLike, k: int = 10, lam: float = 1.0,
          cg_steps: int = 10) -> tuple[Array, Array]:
    """Implicit MAML: the gradient through the proximal minimum φ*, whatever path led there (Rajeswaran et al. 2019).

    φ* minimises L_support(φ) + λ/2 ‖φ − θ‖², and by the implicit function theorem (there lemma 1)
    ∇θ L_query(φ*) = (I + H(φ*)/λ)⁻¹ ∇L_query(φ*). Here φ* is what k gradient steps reach, and the linear system is
    solved by conjugate gradients.

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts; all leading axes are a table.
    batch : Batch
        The tasks, each with a support and a query set.
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
        Mean over tasks of the query loss at φ_k.
    gradient : ndarray, shape (..., p)
        Its derivative by θ, as if φ_k were the minimum φ*.

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
    theta, alpha = _start(model, theta, alpha, k, batch)
    lam = scalar(lam, "lam")
    cg_steps = count(cg_steps, "cg_steps", 1)
    phi = _last(_iterates(model, theta, batch.x_support, batch.y_support, alpha, k, lam))
    v, _, loss = _linearize(model, phi, batch.x_query, batch.y_query)
    hessian = _linearize(model, phi, batch.x_support, batch.y_support)[1]
    v = conjugate_gradients(lambda u: u + hessian(u) / lam, v, cg_steps)
    return loss().mean(axis=-1), v.mean(axis=-2)


@np.errstate(all="ignore")
def joint(model: Model, theta: ArrayLike, batch: Batch, fast: bool = True) -> tuple[Array, Array]:
    """Joint training, the baseline: mean loss and gradient at θ itself over all examples, support and query alike.

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., p)
        Where every task starts; all leading axes are a table.
    batch : Batch
        The tasks, each with a support and a query set.
    fast : bool
        Take the model's own faster way where it has one that suits, as `maml` does.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean loss at θ over all examples of all tasks.
    gradient : ndarray, shape (..., p)
        Mean gradient at θ.

    Raises
    ------
    ValueError
        If an argument is not as above, or the batch does not suit the model.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Batch
    >>> batch = Batch([[[0.5]]], [[0.0]], [[[0.5]]], [[0.0]])      # one task, θ²/4
    >>> joint(Quadratic(1), [4.0], batch)                          # no inner loop: its loss and slope at θ itself
    (np.float64(4.0), array([2.]))
    """
    theta, alpha = _start(model, theta, 1.0, 1, batch)
    if fast and hasattr(model, "meta_gradient"):
        x, y = (np.concatenate(both, axis=1) for both in ((batch.x_support, batch.x_query), (batch.y_support, batch.y_query)))
        found = _fast(model, theta, Batch(batch.x_support, batch.y_support, x, y), alpha, 0)
        if found is not None:
            return found
    theta = _over_tasks(theta)
    n_support, n_query = batch.x_support.shape[1], batch.x_query.shape[1]
    w = n_support / (n_support + n_query)
    gradient, _, loss = _linearize(model, theta, batch.x_support, batch.y_support)
    gradient_query, _, loss_query = _linearize(model, theta, batch.x_query, batch.y_query)
    loss, gradient = w * loss() + (1 - w) * loss_query(), w * gradient + (1 - w) * gradient_query
    return loss.mean(axis=-1), gradient.mean(axis=-2)


def with_rates(theta: ArrayLike, alpha: ArrayLike) -> Array:
    """θ with an inner rate for each parameter behind it, shape (..., 2p): what `meta_sgd` learns.

    Parameters
    ----------
    theta : array_like, shape (..., p)
        The parameters.
    alpha : float or array_like
        Their rates; an array must broadcast to the shape of `theta`.

    Returns
    -------
    ndarray, shape (..., 2p)
        Both, one behind the other.

    Examples
    --------
    >>> with_rates([1.0, 2.0], 0.01)
    array([1.  , 2.  , 0.01, 0.01])
    """
    theta, alpha = real_array(theta, "theta"), real_array(alpha, "alpha")
    try:
        rates = np.broadcast_to(alpha.astype(theta.dtype), theta.shape)
    except ValueError:
        raise ValueError(f"alpha of shape {alpha.shape} must broadcast to that of theta, {theta.shape}") from None
    return np.concatenate([theta, rates], axis=-1)


def _iterates(model: Model, theta: Array, x: ArrayLike, y: ArrayLike, alpha: Numbers, k: int,
              lam: float = 0.0) -> Iterator[Array]:
    """φ_0, ..., φ_k one by one, each of shape (..., n_tasks, p), but for φ_0 = θ, which the tasks share."""
    theta = phi = _over_tasks(theta)
    yield theta
    for _ in range(k):
        direction = model.grad(phi, x, y)
        if lam:
            direction = direction + lam * (phi - theta)
        phi = phi - alpha * direction
        yield phi


def _last(iterates: Iterator[Array]) -> Array:
    """The last of them, none of the others being kept."""
    return deque(iterates, maxlen=1).pop()


def _linearize(model: Any, phi: Array, x: ArrayLike, y: ArrayLike) -> tuple[
        Array, Callable[[Array], Array], Callable[[], Array]]:
    """Gradient of each task at φ, and the functions v ↦ H(φ) v and () ↦ loss."""
    if hasattr(model, "linearize"):
        return model.linearize(phi, x, y)
    return model.grad(phi, x, y), lambda v: model.hvp(phi, v, x, y), lambda: model.loss(phi, x, y)


def _fast(model: Model, theta: Array, batch: Batch, alpha: Numbers, k: int, only: Entries | None = None,
          second_order: bool = True) -> tuple[Array, Array] | None:
    """What the model's own faster way gives, if it has one that suits, or None."""
    way = getattr(model, "meta_gradient", None)
    return None if way is None else way(theta, batch, alpha, k, only, second_order)


def _over_tasks(theta: Array) -> Array:
    """θ with an axis for the tasks before its last, unless it is a single vector."""
    return theta if theta.ndim == 1 else theta[..., None, :]


def _start(model: Model, theta: ArrayLike, alpha: ArrayLike | None, k: int, *batches: Batch) -> tuple[Array, Numbers]:
    """θ as floats; α positive and ready to broadcast with (..., n_tasks, p), taken out of θ if None; the rest checked."""
    count(k, "k", 1)
    if not hasattr(model, "n_params"):
        raise ValueError(f"model must have n_params, loss, grad and the like, as an MLP has, got {model!r}")
    for batch in batches:
        instance(batch, Batch, "batch", "a Batch, as a task distribution samples it")
    theta = real_array(theta, "theta")
    p = model.n_params if alpha is not None else 2 * model.n_params
    if theta.ndim == 0 or theta.shape[-1] != p:
        raise ValueError(f"theta must have a last axis of length {p}"
                         f"{', the parameters and their rates' if alpha is None else ''}; got shape {theta.shape}")
    if alpha is None:
        return theta[..., :p // 2], _over_tasks(theta[..., p // 2:])
    if type(alpha) is float and 0 < alpha < float("inf"):
        return theta, alpha
    alpha = np.asarray(positive(alpha, "alpha"))
    try:
        shape = np.broadcast_shapes(alpha.shape, theta.shape)
    except ValueError:
        raise ValueError(f"alpha of shape {alpha.shape} does not broadcast with theta of shape {theta.shape}"
                         ) from None
    if alpha.ndim == 0:
        return theta, float(alpha)
    return np.broadcast_to(theta, shape), _over_tasks(np.broadcast_to(alpha.astype(theta.dtype), shape))


def _masked(theta: Array, alpha: Numbers, only: Entries | None) -> Numbers:
    """α where the inner loop moves θ, and 0 elsewhere."""
    return alpha if only is None else alpha * moving(theta.shape[-1], only, theta.dtype)
