"""Prototypical networks: features are learned so that the nearest class mean is right. No inner loop moves anything."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import instance, real_array, tensor
from metacalc.meta import Learner, _adapts, _over_tasks
from metacalc.models import _cross_entropy, _softmax
from metacalc.tasks.base import Batch

__all__ = ["Prototypes", "protonet"]


class Prototypes(Learner):
    """A learner whose tasks keep all features and get a head in closed form: a query belongs to the nearest prototype.

    The prototype c_n of a class is the mean of its support examples' features f. Because
    −‖f − c_n‖² = 2 c_n·f − ‖c_n‖² − ‖f‖², and all classes share the last term, the nearest prototype is what a head with
    weights 2 c_n and biases −‖c_n‖² finds (Snell, Swersky & Zemel 2017, equation 8). One step sets it; further steps leave it.

    Parameters
    ----------
    model : MLP, or one with its `features` and `layers`
        A classifier with a hidden layer. Its features are the inputs of its last layer.
    theta : ndarray, shape (..., p)
        Its parameters. Those of the head do not count.
    alpha, only, lam : optional
        Of a `Learner`; nothing here moves along a gradient, and they do not count.

    Raises
    ------
    ValueError
        From `adapt`, if the model is no such classifier, or a task has not as many classes as it.

    Examples
    --------
    >>> from metacalc.models import MLP
    >>> model = MLP((1, 1, 2), criterion="cross-entropy")
    >>> learner = Prototypes(model, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])                  # its one feature is x itself
    >>> phi = learner.adapt([[[1.0], [3.0], [7.0]]], [[0, 0, 1]], k=1)[-1, 0]
    >>> phi                                                                          # prototypes 2 and 7
    array([  1.,   0.,   4.,  14.,  -4., -49.])
    >>> model.predict(phi, [[4.0], [4.5], [5.0]]).argmax(axis=1)                     # the border is in the middle
    array([0, 0, 1])
    """

    def iterates(self, x: ArrayLike, y: ArrayLike, k: int) -> Iterator[Array]:
        """The path of `adapt`, one after the other: θ under a head of zeros, then the same under the prototypes, k times."""
        model = _checked(self.model)
        theta, (start, middle, _, width, n_way) = _over_tasks(real_array(self.theta, "theta")), model.layers[-1]
        x, y = tensor(x, "x", theta.dtype), np.asarray(y)
        c = _members(y, n_way, theta.dtype) @ model.features(theta, x)
        phi = np.array(np.broadcast_to(theta, (*c.shape[:-2], theta.shape[-1])))
        phi[..., start:] = 0
        yield phi
        if k:
            phi = phi.copy()
            phi[..., start:middle] = 2 * c.swapaxes(-1, -2).reshape(*c.shape[:-2], width * n_way)
            phi[..., middle:] = -(c**2).sum(axis=-1)
        for _ in range(k):
            yield phi


@_adapts(learner=Prototypes)
@np.errstate(all="ignore")
def protonet(model: Any, theta: ArrayLike, batch: Batch) -> tuple[Array, Array]:
    """Prototypical networks, trained in episodes: the query loss of the nearest prototype (Snell et al. 2017, algorithm 1).

    With features f_j of the queries, c_n the means of a task's support features, p_jn = softmax_n(−‖f_j − c_n‖²) and
    δ_jn = (p_jn − [y_j = n]) / n_query, the loss is the mean of −log p_{j,y_j}; its derivatives are Σ_n 2 δ_jn c_n by f_j,
    and Σ_j 2 δ_jn (f_j − c_n) by c_n, which a class's support examples share. The model's `feature_map` takes them to θ.

    Parameters
    ----------
    model : MLP, or one with its `feature_map` and `layers`
        A classifier with a hidden layer. Its features are the inputs of its last layer, after the activation.
    theta : array_like, shape (..., p)
        Its parameters. Those of the head have no part in it, and no gradient.
    batch : Batch
        The tasks, each with a support and a query set. They may have more classes than the model has outputs: training with
        more classes than the test has is known to help (there section 3.2).

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the query loss.
    gradient : ndarray, shape (..., p)
        Its exact derivative by θ, 0 for the head.

    Raises
    ------
    ValueError
        If an argument is not as above, or a task's support set lacks a class.

    Examples
    --------
    >>> from metacalc.models import MLP
    >>> model = MLP((1, 1, 2), criterion="cross-entropy")
    >>> batch = Batch([[[1.0], [2.0]]], [[0, 1]], [[[2.0]]], [[1]])     # p = 1 / (1 + exp(−w²)) at the weight w
    >>> loss, gradient = protonet(model, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0], batch)
    >>> float(loss.round(4)), gradient.round(4)                         # log(1 + 1/e), and −2w / (1 + exp(w²)) by w
    (0.3133, array([-0.5379,  0.    ,  0.    ,  0.    ,  0.    ,  0.    ]))
    """
    instance(batch, Batch, "batch", "a Batch, as a task distribution samples it")
    _checked(model)
    theta = real_array(theta, "theta")
    support, of_support = model.feature_map(theta, batch.x_support)
    f, of_query = model.feature_map(theta, batch.x_query)
    members = _members(batch.y_support, int(np.max(batch.y_support)) + 1, theta.dtype)
    right, c = _one_hot(batch.y_query, members.shape[-2], theta.dtype), members @ support

    z = 2 * f @ c.swapaxes(-1, -2) - (c**2).sum(axis=-1)[..., None, :]
    delta = (_softmax(z) - right) / right[..., 0].size
    by_c = 2 * (delta.swapaxes(-1, -2) @ f - delta.sum(axis=-2)[..., None] * c)
    gradient = of_support(members.swapaxes(-1, -2) @ by_c) + of_query(2 * delta @ c)
    return _cross_entropy(z, right).mean(axis=-1), gradient


def _checked(model: Any) -> Any:
    """The model, if it is a classifier with features."""
    if getattr(model, "criterion", None) != "cross-entropy" or len(model.layers) < 2:
        raise ValueError(f"model must be a classifier with a hidden layer, such as an MLP, got {model!r}")
    return model


def _one_hot(y, n_way, dtype):
    """Rows with a 1 at the class number, shape (..., n, n_way)."""
    y = np.asarray(y)
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= n_way:
        raise ValueError(f"y must hold class numbers, integers from 0 to {n_way - 1}")
    return np.eye(n_way, dtype=dtype)[y]


def _members(y, n_way, dtype):
    """What takes a support set's features to the means of the classes, shape (..., n_way, n)."""
    rows = _one_hot(y, n_way, dtype).swapaxes(-1, -2)
    sizes = rows.sum(axis=-1, keepdims=True)
    if not sizes.all():
        raise ValueError(f"y_support must have an example of each of {n_way} classes in every task")
    return rows / sizes
