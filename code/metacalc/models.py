"""Base learners: what a meta-learner needs to know of a model, which is its loss, gradient and Hessian-vector product.

Parameters are one flat vector θ ∈ R^p, as in the formulas. Every function is batched: θ has the shape (..., p), the
data of a task are x of shape (..., n, d_in) and y, and the leading axes broadcast. So θ of shape (p,) is shared by all
tasks, and θ of shape (n_tasks, p) gives each task its own. The arithmetic is done in θ's precision.

A model of your own needs what `Model` lists, with these shapes. More is optional: `head`, the slice of the last layer, for
ANIL; `linearize(theta, x, y)`, which saves work where the loss, the gradient and the Hessian are wanted at the same point;
`meta_gradient(theta, batch, alpha, k, only, second_order)`, which gives what `metacalc.meta.maml` does by a faster way, or
None where it has none; and `features`, `feature_map` and `layers`, as `MLP` has them, for `metacalc.prototypes`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from metacalc import lowrank
from metacalc.arrays import AnyArray, Array, ArrayLike, DTypeLike, Entries, Numbers
from metacalc.checks import count, generator, precision, real_array, tensor

if TYPE_CHECKING:
    from metacalc.tasks.base import Batch

__all__ = ["MLP", "Model", "Quadratic", "linear_regression", "logistic_regression", "sharpness"]


class Model(Protocol):
    """What a meta-learner asks of a model.

    θ has the shape (..., p), p = `n_params`; its leading axes broadcast with the tasks'.
    """

    n_params: int

    def init(self, rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Array:
        """Random θ, shape (p,)."""
        ...

    def predict(self, theta: Array, x: ArrayLike) -> Array:
        """What the model says of x."""
        ...

    def loss(self, theta: Array, x: ArrayLike, y: ArrayLike) -> Array:
        """Loss of each task, shape (...)."""
        ...

    def grad(self, theta: Array, x: ArrayLike, y: ArrayLike) -> Array:
        """Gradient of each task's loss, shape (..., p)."""
        ...

    def hvp(self, theta: Array, v: Array, x: ArrayLike, y: ArrayLike) -> Array:
        """Hessian of each task's loss times v, shape (..., p)."""
        ...


def _relu(z):
    slope = (z > 0).astype(z.dtype)
    return z * slope, slope  # a third of the time of np.maximum(z, 0)


def _tanh(z):
    a = np.tanh(z)
    return a, 1 - a * a


# Each activation as a function of z that returns a = σ(z) and σ'(z), and σ''/σ' as a function of a.
ACTIVATIONS = {"relu": (_relu, None), "tanh": (_tanh, lambda a: -2 * a)}


class MLP:
    """Multilayer perceptron: a_0 = x, a_l = σ(a_{l-1} W_l + b_l), outputs z_L = a_{L-1} W_L + b_L.

    Parameters
    ----------
    sizes : sequence of int
        Units in each layer, d_in first and d_out last; (1, 40, 40, 1) has two hidden layers, (d_in, d_out) none.
    activation : {"relu", "tanh"}
        σ of the hidden layers. The derivative of the ReLU at 0 is taken as 0, and its second derivative as 0.
    criterion : {"squared", "cross-entropy"}
        "squared": mean of (z_L − y)² over examples and outputs; y has the shape (..., n, d_out).
        "cross-entropy": mean of −log softmax(z_L)[y] over examples; y holds class numbers 0, ..., d_out − 1, shape
        (..., n).

    Attributes
    ----------
    n_params : int
        Length p of θ, which holds W_1 (d_in × d_1, row by row), b_1, W_2, b_2, and so on.
    head : slice
        Where in θ the last layer is.

    Raises
    ------
    ValueError
        If an argument is not as above; from the methods, if `theta`, `x`, `y` or `v` have shapes that do not go
        together, if `x` or `y` are not finite, or if `y` has a class that the model has not.

    Notes
    -----
    The Hessian-vector product is exact (Pearlmutter 1994, section 4: apply R{·} = d/dr at θ + rv, r = 0, to every line of
    the forward and of the backward pass). Each product in these lines brings two more, so it adds at most about two
    gradients' work; Pearlmutter says about one.

    Examples
    --------
    >>> model = MLP((1, 3, 1))
    >>> model.n_params
    10
    >>> x, y = np.ones((5, 4, 1)), np.zeros((5, 4, 1))     # five tasks of four examples
    >>> theta = np.full(10, 0.5)                           # shared by all tasks
    >>> model.predict(theta, x)[0, 0]
    array([2.])
    >>> model.loss(theta, x, y)
    array([4., 4., 4., 4., 4.])
    >>> model.grad(theta, x, y).shape
    (5, 10)
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu", criterion: str = "squared") -> None:
        sizes = tuple(sizes) if np.iterable(sizes) else ()
        if len(sizes) < 2 or not all(isinstance(s, (int, np.integer)) and s >= 1 for s in sizes):
            raise ValueError(f"sizes must be two or more positive integers, got {sizes!r}")
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
        if criterion not in ("squared", "cross-entropy"):
            raise ValueError(f"criterion must be 'squared' or 'cross-entropy', got {criterion!r}")
        if criterion == "cross-entropy" and sizes[-1] < 2:
            raise ValueError(f"sizes must end with two or more classes for the cross-entropy, got {sizes!r}")
        self.sizes, self.activation, self.criterion = sizes, activation, criterion
        ends = np.cumsum([(m + 1) * n for m, n in zip(sizes, sizes[1:])]).tolist()
        self.layers = [(start, start + m * n, end, m, n)
                        for start, end, m, n in zip([0] + ends, ends, sizes, sizes[1:])]
        self.n_params, self.head = ends[-1], slice(self.layers[-1][0], ends[-1])

    def __repr__(self) -> str:
        return f"MLP({self.sizes}, activation={self.activation!r}, criterion={self.criterion!r})"

    def init(self, rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Array:
        """Random θ, shape (p,): weights normal with mean 0 and variance g/d_in, g = 2 for ReLU and 1 for tanh; biases 0.

        `rng` is a `numpy.random.Generator`. Before the outputs g is 1. Source: He et al. 2015, equation 10.
        """
        theta, rng = np.zeros(self.n_params, precision(dtype)), generator(rng)
        for l, (W, _) in enumerate(self.unflatten(theta)):
            gain = 2 if self.activation == "relu" and l < len(self.layers) - 1 else 1
            W[...] = rng.normal(scale=math.sqrt(gain / W.shape[0]), size=W.shape)
        return theta

    @property
    def bend(self) -> Callable[[Array], Array] | None:
        """σ''/σ' as a function of a = σ(z), or None where σ'' is 0."""
        return ACTIVATIONS[self.activation][1]

    def unflatten(self, theta: Any) -> list[tuple[Any, Any]]:
        """The layers [(W_1, b_1), ...] of θ as views, shapes (..., m, n) and (..., n)."""
        theta = real_array(theta, "theta") if isinstance(theta, list | tuple) else theta  # a framework's own stay so
        lead = theta.shape[:-1]
        return [(theta[..., start:middle].reshape(*lead, m, n), theta[..., middle:end])
                for start, middle, end, m, n in self.layers]

    def with_new_head(self, theta: ArrayLike, n_out: int) -> "tuple[MLP, Array]":
        """The same body under a new last layer of zeros: the model with `n_out` outputs, and its θ, shape (..., p').

        Examples
        --------
        >>> model = MLP((2, 3, 4), criterion="cross-entropy")
        >>> fresh, theta = model.with_new_head(model.init(np.random.default_rng(0)), 2)
        >>> fresh.sizes, fresh.predict(theta, [[1.0, 2.0]])
        ((2, 3, 2), array([[0.5, 0.5]]))
        """
        fresh = MLP((*self.sizes[:-1], n_out), self.activation, self.criterion)
        if np.shape(theta)[-1:] != (self.n_params,):
            raise ValueError(f"theta must have a last axis of length {self.n_params}, got shape {np.shape(theta)}")
        theta = np.asarray(theta)
        body = theta[..., :self.head.start]
        return fresh, np.concatenate([body, np.zeros((*body.shape[:-1], fresh.n_params - self.head.start), body.dtype)], -1)

    @np.errstate(all="ignore")
    def features(self, theta: ArrayLike, x: ArrayLike) -> Array:
        """What the last layer sees, a_{L-1}: shape (..., n, d_{L-1})."""
        theta, x, _ = self.checked(theta, x)
        return self.forward(self.unflatten(theta), x)[0][-1]

    @np.errstate(all="ignore")
    def feature_map(self, theta: ArrayLike, x: ArrayLike) -> tuple[Array, Callable[[Array], Array]]:
        """Features of tasks that share θ, and the function that takes the derivatives of a number by them to that by θ.

        x has the shape (n_tasks, n, d_in); with θ of shape (..., p) the features, and their derivatives, have the shape
        (..., n_tasks, n, d_{L-1}). What comes back is summed over the tasks, shape (..., p), and 0 for the head.
        """
        shape = np.shape(x)
        theta, x, _ = self.checked(theta, np.reshape(x, (-1, shape[-1])))
        layers = self.unflatten(theta)
        activations, slopes, _ = self.forward(layers, x)

        def pull_back(by_features):
            body = MLP(self.sizes[:-1], self.activation)
            by_last = slopes[-1] * by_features.reshape(activations[-1].shape)
            deltas = body.backward(layers[:-1], slopes[:-1], by_last)
            gradient = np.zeros(theta.shape, theta.dtype)
            gradient[..., :body.n_params] = body.flat(zip(activations, deltas))
            return gradient

        return activations[-1].reshape(*theta.shape[:-1], *shape[:-1], -1), pull_back

    @np.errstate(all="ignore")
    def predict(self, theta: ArrayLike, x: ArrayLike) -> Array:
        """Outputs, shape (..., n, d_out): values for the squared criterion, class probabilities for the other."""
        theta, x, _ = self.checked(theta, x)
        z = self.forward(self.unflatten(theta), x)[2]
        return z if self.criterion == "squared" else _softmax(z)

    @np.errstate(all="ignore")
    def loss(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Loss of each task, shape (...)."""
        theta, x, targets = self.checked(theta, x, y)
        return self.output_loss(self.forward(self.unflatten(theta), x)[2], targets)

    def grad(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Gradient of each task's loss, shape (..., p), by backpropagation."""
        return self.linearize(theta, x, y)[0]

    def hvp(self, theta: ArrayLike, v: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Hessian of each task's loss times v, shape (..., p); v is shared (p,) or, like θ, one for each task."""
        return self.linearize(theta, x, y)[1](v)

    @np.errstate(all="ignore")
    def linearize(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[
            Array, Callable[[ArrayLike], Array], Callable[[], Array]]:
        """Gradient (..., p), and the functions v ↦ Hv and () ↦ loss at θ, which go on from the same two passes."""
        theta, x, targets = self.checked(theta, x, y)
        layers = self.unflatten(theta)
        activations, slopes, z = self.forward(layers, x)
        deltas = self.backward(layers, slopes, self.output_delta(z, targets))

        def hvp(v):
            directions = self.unflatten(_parameters(v, "v", self.n_params, x, theta.dtype))
            return self._r_gradient(layers, directions, activations, slopes, deltas, z)

        return self.flat(zip(activations, deltas)), hvp, lambda: self.output_loss(z, targets)

    def meta_gradient(self, theta: Array, batch: "Batch", alpha: Numbers, k: int = 1, only: Entries | None = None,
                      second_order: bool = True) -> tuple[Array, Array] | None:
        """What `metacalc.meta.maml` gives, or `fomaml` without `second_order`, by `metacalc.lowrank`; k may be 0.

        None where that is not made for it: it takes one θ in single or double precision, and one inner rate for all
        entries or for the head.
        """
        moves = only is None or isinstance(only, slice) and only == self.head
        if type(self) is MLP and theta.ndim == 1 and theta.dtype in (np.float32, np.float64) and type(alpha) is float and moves:
            return lowrank.steps(self, theta, batch, alpha, k, only, second_order)
        return None

    @np.errstate(all="ignore")
    def _r_gradient(self, layers, directions, activations, slopes, deltas, z) -> Array:
        """R{gradient}, the Hessian times the direction with the layers (V, c)."""
        # Forward: R{z} = R{a} W + a V + c, and R{a} = σ'(z) R{z}. The input does not move with θ.
        r_z: list[Any] = []
        r_activations: list[Any] = [None]
        for l, ((W, _), (V, c), a) in enumerate(zip(layers, directions, activations)):
            r_z.append(_product(a, V))
            r_z[l] += c[..., None, :]
            if l > 0:
                r_activations.append(slopes[l] * r_z[l - 1])
                r_z[l] += r_activations[l] @ W

        # Backward: R{δ_{l-1}} = σ' · (R{δ_l} Wᵀ + δ_l Vᵀ) + σ''/σ' · R{z_{l-1}} · δ_{l-1}.
        r_deltas = [self.r_output_delta(z, r_z[-1])]
        for l in range(len(layers) - 1, 0, -1):
            W, V = layers[l][0], directions[l][0]
            r_d = _product(r_deltas[0], _transposed(W)) + _product(deltas[l], _transposed(V))
            r_d *= slopes[l]
            if self.bend is not None:
                r_d += self.bend(activations[l]) * r_z[l - 1] * deltas[l - 1]
            r_deltas.insert(0, r_d)

        # The gradient of a layer is aᵀ δ, so R{} of it is aᵀ R{δ} + R{a}ᵀ δ.
        out = self.flat(zip(activations, r_deltas))
        for (W, _), r_a, delta in zip(self.unflatten(out)[1:], r_activations[1:], deltas[1:]):
            W += _transposed(r_a) @ delta
        return out

    def forward(self, layers: Sequence[tuple[Any, Any]], x: Array) -> tuple[list[Any], list[Any], Array]:
        """Inputs a_0, ..., a_{L-1} of the layers, the slopes σ' there (none at a_0 = x), and the outputs z_L."""
        sigma, activations = ACTIVATIONS[self.activation][0], [x]
        slopes: list[Any] = [None]
        for W, b in layers[:-1]:
            a, slope = sigma(_product(activations[-1], W) + b[..., None, :])
            activations.append(a)
            slopes.append(slope)
        W, b = layers[-1]
        return activations, slopes, _product(activations[-1], W) + b[..., None, :]

    def backward(self, layers: Sequence[tuple[Any, Any]], slopes: list[Any], delta: Array) -> list[Any]:
        """δ_1, ..., δ_L with δ_l = ∂loss/∂z_l, from the last of them: δ_{l-1} = σ'(z_{l-1}) · δ_l W_lᵀ."""
        deltas = [delta]
        for (W, _), slope in zip(layers[:0:-1], slopes[:0:-1]):
            deltas.insert(0, slope * _product(deltas[0], _transposed(W)))
        return deltas

    def output_loss(self, z: Array, y: Array) -> Array:
        """Loss of each task from its outputs z_L."""
        if self.criterion == "squared":
            return ((z - y) ** 2).sum(axis=(-2, -1)) / (z.shape[-1] * z.shape[-2])
        return _cross_entropy(z, y)

    def output_delta(self, z: Array, y: Array) -> Array:
        """∂loss/∂z_L."""
        if self.criterion == "squared":
            return (z - y) * (2 / (z.shape[-1] * z.shape[-2]))
        return (_softmax(z) - y) / z.shape[-2]

    def r_output_delta(self, z: Array, r_z: Array) -> Array:
        """∂²loss/∂z_L² times R{z_L}."""
        if self.criterion == "squared":
            return r_z * (2 / (z.shape[-1] * z.shape[-2]))
        p = _softmax(z)
        return p * (r_z - (p * r_z).sum(axis=-1, keepdims=True)) / z.shape[-2]

    def flat(self, pairs: Iterable[tuple[Any, Any]]) -> Array:
        """One vector (..., p) from each layer's input a and δ: aᵀ δ for its weights, the sum of δ for its biases."""
        pairs = list(pairs)
        lead = np.broadcast_shapes(*(d.shape[:-2] for _, d in pairs))
        out = np.empty(lead + (self.n_params,), pairs[-1][1].dtype)
        ones = np.ones((1, pairs[0][0].shape[-2]), out.dtype)
        for (W, b), (a, d) in zip(self.unflatten(out), pairs):
            np.matmul(_transposed(a), d, out=W)
            np.matmul(ones, d, out=b[..., None, :])
        return out

    def checked(self, theta: ArrayLike, x: ArrayLike, y: Any = ...) -> tuple[Array, Array, Any]:
        """θ, x and y as arrays of θ's precision that go together; class numbers become one-hot rows."""
        x = tensor(x, "x", getattr(theta, "dtype", np.float64))
        if x.ndim < 2 or x.shape[-1] != self.sizes[0] or x.shape[-2] == 0:
            raise ValueError(f"x must have shape (..., n, {self.sizes[0]}) with n ≥ 1 examples, got {x.shape}")
        theta = _parameters(theta, "theta", self.n_params, x)
        if y is ...:
            return theta, x, None
        if self.criterion == "squared":
            values = tensor(y, "y", theta.dtype)
            _check_targets(values, x.shape[:-1] + self.sizes[-1:], x)
            return theta, x, values
        classes, n_classes = np.asarray(y), self.sizes[-1]
        _check_targets(classes, x.shape[:-1], x)
        if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= n_classes:
            raise ValueError(f"y must hold class numbers, integers from 0 to {n_classes - 1}")
        return theta, x, np.eye(n_classes, dtype=theta.dtype)[classes]


def linear_regression(d_in: int, d_out: int = 1) -> MLP:
    """Linear model xW + b with the mean squared error: an `MLP` without hidden layers.

    Parameters
    ----------
    d_in, d_out : int
        Lengths of x and of y.

    Returns
    -------
    MLP
        With θ = (W, b), of length (d_in + 1) d_out.

    Examples
    --------
    >>> linear_regression(2).grad(np.array([1.0, 2.0, 0.0]), x=[[3.0, 1.0]], y=[[4.0]])
    array([6., 2., 2.])
    """
    return MLP((d_in, d_out))


def logistic_regression(d_in: int, n_classes: int = 2) -> MLP:
    """Multinomial logistic regression, softmax(xW + b) with the cross-entropy: an `MLP` without hidden layers.

    Parameters
    ----------
    d_in : int
        Length of x.
    n_classes : int
        At least 2.

    Returns
    -------
    MLP
        With θ = (W, b), of length (d_in + 1) n_classes.

    Examples
    --------
    >>> logistic_regression(1, n_classes=4).predict(np.zeros(8), x=[[3.0]])
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    return MLP((d_in, n_classes), criterion="cross-entropy")


class Quadratic:
    """The model on which every meta-gradient has a closed form: L(θ) = ½ (θ − c)ᵀ A (θ − c).

    A task's data are its curvature A and its minimum c themselves, in the places of x and y.

    Parameters
    ----------
    d : int
        Length of θ.

    Attributes
    ----------
    n_params : int
        d.
    head : slice
        All of θ.

    Raises
    ------
    ValueError
        If `d` is not a positive integer; from the methods, as in `MLP`, or if `x` is not symmetric.

    Examples
    --------
    >>> model = Quadratic(1)
    >>> a, c = np.array([[[2.0]], [[4.0]]]), np.array([[1.0], [0.0]])     # two tasks
    >>> model.loss(np.array([3.0]), a, c)
    array([ 4., 18.])
    >>> model.grad(np.array([3.0]), a, c)
    array([[ 4.],
           [12.]])
    """

    def __init__(self, d: int = 1) -> None:
        self.n_params = count(d, "d", 1)
        self.head = slice(0, self.n_params)

    def __repr__(self) -> str:
        return f"Quadratic({self.n_params})"

    def init(self, rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Array:
        """Random θ, shape (d,), standard normal; `rng` is a `numpy.random.Generator`."""
        return generator(rng).normal(size=self.n_params).astype(precision(dtype))

    @np.errstate(all="ignore")
    def predict(self, theta: ArrayLike, x: ArrayLike) -> Array:
        """θ itself, which is this model's guess at c; shape (..., d)."""
        theta, x, _ = self.checked(theta, x)
        return np.broadcast_to(theta, np.broadcast_shapes(theta.shape, x.shape[:-1]))

    @np.errstate(all="ignore")
    def loss(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """Loss of each task, shape (...), at θ of shape (..., d); x holds A, shape (..., d, d), and y holds c."""
        theta, A, c = self.checked(theta, x, y)
        e = theta - c
        return (e * _times(A, e)).sum(axis=-1) / 2

    @np.errstate(all="ignore")
    def grad(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """A (θ − c), shape (..., d)."""
        theta, A, c = self.checked(theta, x, y)
        return _times(A, theta - c)

    @np.errstate(all="ignore")
    def hvp(self, theta: ArrayLike, v: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """A v, shape (..., d)."""
        theta, A, c = self.checked(theta, x, y)
        v = _parameters(v, "v", self.n_params, A, theta.dtype)
        return _times(A, np.broadcast_to(v, np.broadcast_shapes(v.shape, theta.shape)))

    def checked(self, theta: ArrayLike, x: ArrayLike, y: Any = ...) -> tuple[Array, Array, Any]:
        """θ, A and c as arrays of θ's precision that go together."""
        d, A = self.n_params, tensor(x, "x", getattr(theta, "dtype", np.float64))
        if A.ndim < 2 or A.shape[-2:] != (d, d):
            raise ValueError(f"x must hold the matrices A, shape (..., {d}, {d}), got {A.shape}")
        if d > 1 and not np.allclose(A, _transposed(A), rtol=1e-5):
            raise ValueError("x must hold symmetric matrices A")
        theta = _parameters(theta, "theta", d, A)
        if y is not ...:
            y = tensor(y, "y", theta.dtype)
            if y.shape != A.shape[:-1]:
                raise ValueError(f"y must hold the minima c, shape {A.shape[:-1]} as x has {A.shape}; got {y.shape}")
        return theta, A, y


def _times(A: Any, v: Any) -> Any:
    """Products of matrices with vectors; in one dimension an elementwise product, many times faster."""
    return A[..., 0] * v if A.shape[-1] == 1 else (A @ v[..., None])[..., 0]


def _product(a: Any, W: Any) -> Any:
    """a @ W, for which NumPy takes three times as long if the inner dimension is 1."""
    return a * W if W.shape[-2] == 1 else a @ W


def _transposed(matrices: Any) -> Any:
    return matrices.swapaxes(-1, -2)


def _cross_entropy(z: Array, y: Array) -> Array:
    """Mean of −log softmax(z) where the one-hot rows y say."""
    z = z - z.max(axis=-1, keepdims=True)
    return (np.log(np.exp(z).sum(axis=-1)) - (z * y).sum(axis=-1)).mean(axis=-1)


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@np.errstate(all="ignore")
def sharpness(model: Model, theta: Array, x: AnyArray, y: AnyArray, only: Entries | None = None, n_iters: int = 50) -> Array:
    """Largest curvature of each task's loss at θ: the eigenvalue of its Hessian that is largest in size.

    By power iteration: a random direction is multiplied by the Hessian again and again, and turns towards that
    eigenvector.

    Parameters
    ----------
    model : model
        With a method `hvp`.
    theta : ndarray, shape (p,)
        Where the curvature is measured.
    x, y : ndarray
        Inputs and targets of the tasks, with the tasks on the first axis.
    only : slice, optional
        The entries of θ that may move, such as `model.head`; all, unless given.
    n_iters : int
        At least 1.

    Returns
    -------
    ndarray, shape (n_tasks,)
        An eigenvalue for each task; negative where the loss curves down most.

    Raises
    ------
    ValueError
        If `n_iters` is no integer of at least 1.

    Examples
    --------
    >>> sharpness(Quadratic(2), np.zeros(2), np.diag([1.0, 3.0])[None], np.zeros((1, 2))).round(6)
    array([3.])
    """
    n_iters, theta = count(n_iters, "n_iters", 1), real_array(theta, "theta")
    moves = moving(theta.shape[-1], only)
    v = last = moves * np.random.default_rng(0).normal(size=(len(x), theta.shape[-1]))
    for _ in range(n_iters):
        length = np.linalg.norm(v, axis=-1, keepdims=True)
        v = v / np.where(length > 0, length, 1)  # without curvature there is nothing to turn to
        v, last = moves * model.hvp(theta, v, x, y), v
    return (v * last).sum(axis=-1)


def moving(p: int, only: Entries | None, dtype: Any = np.float64) -> Array:
    """1 for each of p parameters that moves, and 0 for the others: all move unless `only` names some.

    Raises
    ------
    ValueError
        If `only` is no slice or indices into p parameters.
    """
    mask = np.zeros(p, dtype)
    try:
        mask[slice(None) if only is None else only] = 1
    except (IndexError, ValueError, TypeError):
        raise ValueError(f"only must be a slice or indices into {p} parameters, got {only!r}") from None
    return mask


def _check_targets(y, expected, x):
    """Whether a model's y goes with its x."""
    if y.shape != expected:
        raise ValueError(f"y must have shape {expected}, to go with x of shape {x.shape}; got {y.shape}")


def _parameters(value: Any, name: str, p: int, x: Array, dtype: Any = None) -> Array:
    """`value` as an array of floats, shape (..., p), whose leading axes go with those of x."""
    array = value if type(value) is np.ndarray and value.dtype.kind == "f" else real_array(value, name)
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    if array.ndim == 0 or array.shape[-1] != p:
        raise ValueError(f"{name} must have a last axis of length {p}, one entry for each parameter; "
                         f"got shape {array.shape}")
    if array.ndim > 1:
        try:
            np.broadcast_shapes(array.shape[:-1], x.shape[:-2])
        except ValueError:
            raise ValueError(f"{name} of shape {array.shape} does not go with x of shape {x.shape}: "
                             "their leading axes must broadcast") from None
    return array
