"""Two relatives of MAML: CAVIA, whose tasks move a few context parameters only, and the stabilisers of MAML++.

Both are methods as `metacalc.meta` has them. In the comments φ_0 = θ, ..., φ_k are the iterates of the inner loop on one task.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from metacalc.arrays import Array, ArrayLike, DTypeLike
from metacalc.checks import count, generator, instance, real_array, tensor
from metacalc.meta import Learner, _adapts, _linearize, _over_tasks, maml
from metacalc.models import MLP, Model
from metacalc.tasks.base import Batch

__all__ = ["Stepwise", "WithContext", "cavia", "stabilised"]


class WithContext:
    """A net with context parameters z: its first layer's biases are b_1 + zB (Zintgraf et al. 2019, section 3).

    To hand z to the first layer as further inputs, as the paper does, adds zB to what the layer adds up, the same for every
    example: it moves the biases within the subspace that B spans.

    Parameters
    ----------
    net : MLP
        The net that gets the context.
    n_context : int
        Length q of z.

    Attributes
    ----------
    n_params : int
        Length of θ, which holds the net's own parameters, B (q × d_1, row by row), and z last.
    context, head : slice
        Where in θ they are.

    Raises
    ------
    ValueError
        If `net` is no MLP, or `n_context` no positive integer; from the methods, as in `MLP`.

    Examples
    --------
    >>> model = WithContext(MLP((1, 3, 1)), n_context=2)
    >>> model.n_params, model.context                      # 10 + 2 · 3 + 2
    (18, slice(16, 18, None))
    """

    def __init__(self, net: MLP, n_context: int) -> None:
        self.net, self.n_context = instance(net, MLP, "net", "an MLP"), count(n_context, "n_context", 1)
        _, start, end, _, width = net.layers[0]
        self._bias, self._width = slice(start, end), width
        p, self.head = net.n_params, net.head
        self.n_params = p + n_context * width + n_context
        self.context = slice(self.n_params - n_context, self.n_params)

    def __repr__(self) -> str:
        return f"WithContext({self.net!r}, n_context={self.n_context})"

    def init(self, rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Array:
        """Random θ, shape (p,): the net's own, B normal as the weights of q inputs would be, and z = 0."""
        theta = self.net.init(generator(rng), dtype)
        gain = 2 if self.net.activation == "relu" and len(self.net.layers) > 1 else 1
        B = rng.normal(scale=math.sqrt(gain / self.n_context), size=self.n_context * self._width)
        return np.concatenate([theta, B, np.zeros(self.n_context)]).astype(theta.dtype)

    def predict(self, theta: ArrayLike, x: ArrayLike) -> Array:
        """Outputs, as the net's."""
        return self.net.predict(self._moved(*self._parts(theta, "theta")), x)

    def loss(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Loss of each task, shape (...)."""
        return self.net.loss(self._moved(*self._parts(theta, "theta")), x, y)

    def grad(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Gradient of each task's loss, shape (..., p)."""
        return self.linearize(theta, x, y)[0]

    def hvp(self, theta: ArrayLike, v: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Hessian of each task's loss times v, shape (..., p)."""
        return self.linearize(theta, x, y)[1](v)

    @np.errstate(all="ignore")
    def linearize(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[
            Array, Callable[[ArrayLike], Array], Callable[[], Array]]:
        """Gradient (..., p), and the functions v ↦ Hv and () ↦ loss at θ."""
        own, B, z = self._parts(theta, "theta")
        gradient, hessian, loss = self.net.linearize(self._moved(own, B, z), x, y)

        def hvp(v):
            u, V, w = self._parts(v, "v")
            # Along (u, V, w) the biases move by u_b + zV + wB, and z ⊗ g_b and B g_b, the rest of the gradient, move too.
            r = hessian(self._moved(self._moved(u, V, z), B, w))
            return self._joined(r, _outer(z, r[..., self._bias]) + _outer(w, gradient[..., self._bias]),
                                _times(B, r[..., self._bias]) + _times(V, gradient[..., self._bias]))

        by_bias = gradient[..., self._bias]
        return self._joined(gradient, _outer(z, by_bias), _times(B, by_bias)), hvp, loss

    def _parts(self, theta, name):
        """The net's own parameters, B of shape (..., q, d_1), and z."""
        theta = real_array(theta, name)
        if theta.ndim == 0 or theta.shape[-1] != self.n_params:
            raise ValueError(f"{name} must have a last axis of length {self.n_params}, one entry for each parameter; "
                             f"got shape {theta.shape}")
        p = self.net.n_params
        return (theta[..., :p], theta[..., p:self.context.start].reshape(*theta.shape[:-1], self.n_context, self._width),
                theta[..., self.context])

    def _moved(self, own, B, z):
        """The net's parameters with the biases b_1 + zB."""
        shift = (z[..., None, :] @ B)[..., 0, :]
        moved = np.array(np.broadcast_to(own, np.broadcast_shapes(shift.shape[:-1] + own.shape[-1:], own.shape)))
        moved[..., self._bias] += shift
        return moved

    def _joined(self, own, B, z):
        lead = np.broadcast_shapes(own.shape[:-1], B.shape[:-2], z.shape[:-1])
        parts = own, B.reshape(*B.shape[:-2], -1), z
        return np.concatenate([np.broadcast_to(part, lead + part.shape[-1:]) for part in parts], axis=-1)


@_adapts(only=lambda model: model.context)
@np.errstate(all="ignore")
def cavia(model: WithContext, theta: ArrayLike, batch: Batch, alpha: ArrayLike, k: int = 1) -> tuple[Array, Array]:
    """CAVIA: `maml` whose inner loop moves the context z only, from 0 for every task (Zintgraf et al. 2019, equations 4, 5).

    Parameters
    ----------
    model : WithContext
        A net with context parameters.
    theta : array_like, shape (..., p)
        Its entries for z stay what they are, 0 at `model.init`: no gradient moves them.
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
        Its exact derivative by θ, 0 for z.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> model = WithContext(MLP((1, 1)), n_context=1)               # w x + b + z B
    >>> batch = Batch([[[0.0]]], [[[1.0]]], [[[0.0]]], [[[1.0]]])   # one task: the answer is 1
    >>> cavia(model, [0.0, 0.0, 1.0, 0.0], batch, alpha=0.25)       # a step takes z to ½; left is ¼
    (np.float64(0.25), array([ 0. , -0.5, -1. ,  0. ]))
    """
    instance(model, WithContext, "model", "a net WithContext")
    loss, gradient = maml(model, theta, batch, alpha, k, only=model.context)
    gradient[..., model.context] = 0
    return loss, gradient


class Stepwise(Learner):
    """A learner that carries its rates, one set for each of the first m steps; the last set serves all later ones.

    Parameters
    ----------
    model : model
        What adapts, as `metacalc.models` describes it.
    theta : ndarray, shape ((1 + m) p,)
        The parameters and behind them m sets of rates, as `stabilised` learns them.
    alpha, only, lam : optional
        Of a `Learner`; the rates are in `theta`, and nothing else counts.

    Raises
    ------
    ValueError
        From `adapt`, if θ is of another length.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> learner = Stepwise(Quadratic(1), [8.0, 0.5, 0.25])             # halves θ, then takes a quarter of it off
    >>> learner.adapt([[[1.0]]], [[0.0]], k=3)[..., 0, 0]
    array([8.  , 4.  , 3.  , 2.25])
    """

    def iterates(self, x: ArrayLike, y: ArrayLike, k: int) -> Iterator[Array]:
        """The path of `adapt`, one after the other."""
        phi, rates = _sets_of_rates(self.model, self.theta)
        yield phi
        for j in range(k):
            phi = phi - rates[min(j, len(rates) - 1)] * self.model.grad(phi, x, y)
            yield phi


@_adapts(learner=False)
@np.errstate(all="ignore")
def stabilised(model: Model, theta: ArrayLike, batch: Batch, k: int = 5, weights: ArrayLike | None = None,
               second_order: bool = True) -> tuple[Array, Array]:
    """Meta-SGD with three stabilisers of MAML++ (Antoniou, Edwards & Storkey 2019, section 4).

    The loss is Σ_j w_j L_query(φ_j) over the inner steps j = 1, ..., k, each of which may have rates of its own; and the
    Hessians may be left out, as MAML++ does for the first part of a training. What it anneals is done by successive runs of
    `meta_train`, each from where the last one ended. (MAML++ shares a rate within a layer; here, as in Meta-SGD, every
    parameter has its own.)

    Parameters
    ----------
    model : model
        What learns, as `metacalc.models` describes it.
    theta : array_like, shape (..., 2p) or (..., (1 + k) p)
        The parameters, and behind them their rates: one set for all steps, as in `meta_sgd`, or one for each step.
    batch : Batch
        The tasks, each with a support and a query set.
    k : int
        Number of inner steps, at least 1.
    weights : array_like, shape (k,), optional
        w_1, ..., w_k, not negative and not all 0. All weight on the last step unless given.
    second_order : bool
        False leaves out every Hessian.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the weighted sum of the query losses.
    gradient : ndarray, in the shape of `theta`
        Its derivative by the parameters and by the rates.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> batch = Batch([[[2.0]]], [[0.0]], [[[2.0]]], [[0.0]])                     # one task, θ²
    >>> stabilised(Quadratic(1), [1.0, 0.25], batch, 2, weights=[0.5, 0.5])       # (¼ + 1/16) / 2
    (np.float64(0.15625), array([ 0.3125, -1.5   ]))
    """
    k = count(k, "k", 1)
    shares = np.eye(k)[-1] if weights is None else tensor(weights, "weights")
    if shares.shape != (k,) or shares.min() < 0 or not shares.any():
        raise ValueError(f"weights must be {k} numbers, one for each step, not negative and not all 0, got {shares!r}")
    instance(batch, Batch, "batch", "a Batch, as a task distribution samples it")
    phi, rates = _sets_of_rates(model, theta, k)
    rates = rates if len(rates) == k else rates * k
    loss, steps = 0.0, []
    for weight, alpha in zip(shares.tolist(), rates):
        gradient, hessian, _ = _linearize(model, phi, batch.x_support, batch.y_support)
        phi, query = phi - alpha * gradient, 0.0
        if weight:
            query, _, left = _linearize(model, phi, batch.x_query, batch.y_query)
            loss, query = loss + weight * left().mean(axis=-1), weight * query
        steps.append((alpha, gradient, hessian, query))
    v, slopes = 0.0, []
    for alpha, gradient, hessian, query in reversed(steps):
        v = v + query
        slopes.append(-(gradient * v).mean(axis=-2))
        v = v - hessian(alpha * v) if second_order else v
    by_rates = slopes[::-1] if np.shape(theta)[-1] == (1 + k) * model.n_params and k > 1 else [sum(slopes[1:], slopes[0])]
    gradient = np.concatenate([v.mean(axis=-2), *by_rates], axis=-1)  # pyright: ignore[reportAttributeAccessIssue]
    return loss, gradient  # pyright: ignore[reportReturnType]  (some weight is not 0)


def _sets_of_rates(model: Any, theta: ArrayLike, k: int | None = None) -> tuple[Array, list[Array]]:
    """θ and its sets of rates, each with an axis for the tasks; one set or k of them, or any number of k is not given."""
    theta, p = real_array(theta, "theta"), model.n_params
    n_sets = (theta.shape[-1] if theta.ndim else 0) / p - 1
    if n_sets < 1 or n_sets % 1 or k not in (None, n_sets) and n_sets > 1:
        wanted = f"{2 * p} or {(1 + k) * p}" if k else f"{p} times 2 or more"
        raise ValueError(f"theta must have a last axis of length {wanted}, the parameters and their rates; "
                         f"got shape {theta.shape}")
    own, *rates = np.split(theta, int(n_sets) + 1, axis=-1)
    return _over_tasks(own), [_over_tasks(each) for each in rates]


def _outer(z, g):
    return z[..., :, None] * g[..., None, :]


def _times(B, g):
    return (B @ g[..., None])[..., 0]
