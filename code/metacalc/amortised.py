"""Learners that adapt without a gradient: a network reads the support set and writes what the task's answers depend on.

The smallest one is the conditional neural process with a mean only (Garnelo et al. 2018): φ = mean_j encoder(x_j, y_j),
prediction = decoder(x, φ). The mean makes it blind to the order of the examples (Zaheer et al. 2017), and to their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metacalc.arrays import Array, ArrayLike, DTypeLike
from metacalc.checks import count, generator, instance, precision, real_array, tensor
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.tasks.base import Batch

__all__ = ["AmortisedLearner", "NeuralProcess", "neural_process"]


class NeuralProcess:
    """Encoder (x, y) ↦ code and decoder (x, mean code) ↦ y, two nets (`MLP`) whose parameters stand one behind the other in θ.

    Parameters
    ----------
    hidden : sequence of int
        Units of the hidden layers, the same for encoder and decoder.
    n_code : int
        Length of the code φ.
    d_in, d_out : int
        Lengths of x and of y.
    activation : {"relu", "tanh"}

    Attributes
    ----------
    encoder, decoder : MLP
    n_params : int
        Length p of θ.

    Raises
    ------
    ValueError
        If an argument is not as above; from the methods, if arrays do not go together.

    Notes
    -----
    The loss is the mean squared error. Garnelo et al. give a variance out too, and train by the likelihood.

    Examples
    --------
    >>> model = NeuralProcess(hidden=(8,), n_code=3)
    >>> theta = model.init(np.random.default_rng(0))
    >>> x, y = np.array([[[0.0], [1.0]]]), np.array([[[2.0], [3.0]]])     # one task, two examples
    >>> np.allclose(model.encode(theta, x, y), model.encode(theta, x[:, ::-1], y[:, ::-1]))      # in any order
    True
    >>> model.predict(theta, x, y, [[[5.0]]]).shape
    (1, 1, 1)
    """

    def __init__(self, hidden: Sequence[int] = (40, 40), n_code: int = 20, d_in: int = 1, d_out: int = 1,
                 activation: str = "relu") -> None:
        if not np.iterable(hidden) or len(tuple(hidden)) == 0:
            raise ValueError(f"hidden must be one or more positive integers, got {hidden!r}")
        self.n_code, self.d_in, self.d_out = count(n_code, "n_code", 1), count(d_in, "d_in", 1), count(d_out, "d_out", 1)
        self.hidden, self.activation = tuple(count(units, "hidden", 1) for units in hidden), activation
        self.encoder = MLP((d_in + d_out, *self.hidden, n_code), activation)
        self.decoder = MLP((d_in + n_code, *self.hidden, d_out), activation)
        self.n_params = self.encoder.n_params + self.decoder.n_params

    def __repr__(self) -> str:
        return (f"NeuralProcess({self.hidden}, n_code={self.n_code}, d_in={self.d_in}, d_out={self.d_out}, "
                f"activation={self.activation!r})")

    def init(self, rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Array:
        """Random θ, shape (p,), each network as `MLP.init` has it."""
        rng, dtype = generator(rng), precision(dtype)
        return np.concatenate([net.init(rng, dtype) for net in (self.encoder, self.decoder)])

    @np.errstate(all="ignore")
    def encode(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
        """The code of each task, shape (..., n_tasks, n_code), from x (n_tasks, K, d_in) and y (n_tasks, K, d_out)."""
        theta, pairs = self._checked(theta, x, y)
        z = self.encoder.forward(self._layers(theta)[0], pairs.reshape(-1, pairs.shape[-1]))[2]
        return _by_task(z, *pairs.shape[:2]).mean(axis=-2)

    @np.errstate(all="ignore")
    def decode(self, theta: ArrayLike, code: ArrayLike, x: ArrayLike) -> Array:
        """Answers, shape (..., n_tasks, n, d_out), at x (n_tasks, n, d_in) for codes (..., n_tasks, n_code)."""
        theta, code = self._theta(theta), real_array(code, "code")
        x = _inputs(x, "x", self.d_in, theta)
        if code.shape[-2:] not in ((len(x), self.n_code), (1, self.n_code)):
            raise ValueError(f"code must have shape (..., {len(x)}, {self.n_code}), got {code.shape}")
        z = self.decoder.forward(self._layers(theta)[1], _beside(x, code))[2]
        return _by_task(z, *x.shape[:2])

    def predict(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike, x_new: ArrayLike) -> Array:
        """Answers at `x_new`, shape (..., n_tasks, n, d_out), after one look at each task's x and y."""
        return self.decode(theta, self.encode(theta, x, y), x_new)

    def learner(self, theta: ArrayLike) -> "AmortisedLearner":
        """The learner with these parameters: what `evaluate` takes. Step 0 is the code 0, step 1 that of the support set."""
        theta = self._theta(theta)
        if theta.ndim != 1:
            raise ValueError(f"theta must have shape ({self.n_params},), got {theta.shape}")
        conditioned: Any = _Conditioned(self, theta)
        return AmortisedLearner(conditioned, np.zeros(self.n_code, theta.dtype))

    def _theta(self, theta):
        theta = real_array(theta, "theta")
        if theta.shape[-1:] != (self.n_params,):
            raise ValueError(f"theta must have a last axis of length {self.n_params}, got shape {theta.shape}")
        return theta

    def _checked(self, theta, x, y):
        theta = self._theta(theta)
        x, y = _inputs(x, "x", self.d_in, theta), _inputs(y, "y", self.d_out, theta)
        if x.shape[:2] != y.shape[:2]:
            raise ValueError(f"y must have shape {(*x.shape[:2], self.d_out)}, as many examples as x has, got {y.shape}")
        return theta, np.concatenate([x, y], axis=-1)

    def _layers(self, theta):
        n = self.encoder.n_params
        return self.encoder.unflatten(theta[..., :n]), self.decoder.unflatten(theta[..., n:])


@np.errstate(all="ignore")
def neural_process(model: NeuralProcess, theta: ArrayLike, batch: Batch) -> tuple[Array, Array]:
    """Query loss of a `NeuralProcess` after reading each support set, and its gradient: a method for `meta_train`.

    With φ_i = mean_j e(x_j, y_j) one backward pass through the decoder gives ∂L/∂φ_i, the sum over the query's examples of
    what reaches the decoder's inputs; every e(x_j, y_j) of a task gets ∂L/∂φ_i / K, and goes back through the encoder.

    Parameters
    ----------
    model : NeuralProcess
        Encoder and decoder.
    theta : array_like, shape (..., p)
        The parameters of both.
    batch : Batch
        The tasks, each with a support and a query set.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean over tasks of the mean squared error on the query set.
    gradient : ndarray, shape (..., p)
        Its exact derivative by θ.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.tasks import Sinusoids
    >>> model, rng = NeuralProcess((8,), 4), np.random.default_rng(0)
    >>> loss, gradient = neural_process(model, model.init(rng), Sinusoids().sample(rng, 25))
    >>> gradient.shape == (model.n_params,)
    True
    """
    instance(model, NeuralProcess, "model", "a NeuralProcess")
    instance(batch, Batch, "batch", "a Batch, as a task distribution samples it")
    theta, pairs = model._checked(theta, batch.x_support, batch.y_support)
    _, asked = model._checked(theta, batch.x_query, batch.y_query)
    encoder, decoder = model._layers(theta)
    n_tasks, K = pairs.shape[:2]

    activations, slopes, z = model.encoder.forward(encoder, pairs.reshape(n_tasks * K, -1))
    code = _by_task(z, n_tasks, K).mean(axis=-2)
    x, y = asked[..., :model.d_in], asked[..., model.d_in:].reshape(-1, model.d_out)
    d_activations, d_slopes, z = model.decoder.forward(decoder, _beside(x, code))

    d_deltas = model.decoder.backward(decoder, d_slopes, model.decoder.output_delta(z, y))
    to_input = d_deltas[0] @ np.swapaxes(decoder[0][0], -1, -2)
    to_code = _by_task(to_input[..., model.d_in:], n_tasks, x.shape[1]).sum(axis=-2) / K
    deltas = model.encoder.backward(encoder, slopes, np.repeat(to_code, K, axis=-2))
    gradients = model.encoder.flat(zip(activations, deltas)), model.decoder.flat(zip(d_activations, d_deltas))
    return model.decoder.output_loss(z, y), np.concatenate(gradients, axis=-1)


neural_process.learner = False  # type: ignore[attr-defined]  (`meta_train` asks; `NeuralProcess.learner` has it)


@dataclass(frozen=True, eq=False)
class AmortisedLearner(Learner):
    """A learner whose tasks differ in a code that an encoder writes in one pass; `NeuralProcess.learner` makes one.

    Parameters
    ----------
    model : model
        The decoder, as a model of the code alone.
    theta : ndarray, shape (n_code,)
        The code 0.
    alpha, only, lam : optional
        Of a `Learner`; nothing here has a rate.
    """

    def iterates(self, x: ArrayLike, y: ArrayLike, k: int) -> Iterator[Array]:
        """The code 0, then `k` times the code of each support set: more steps change nothing."""
        conditioned: Any = self.model
        x = np.asarray(x)
        yield np.zeros((len(x), conditioned.n_params), conditioned.theta.dtype)
        if k > 0:
            code = conditioned.process.encode(conditioned.theta, x, y)
            for _ in range(k):
                yield code


@dataclass(frozen=True, eq=False)
class _Conditioned:
    """The decoder as a model of the code alone."""

    process: NeuralProcess
    theta: Array

    @property
    def n_params(self):
        return self.process.n_code

    def predict(self, code, x):
        return self.process.decode(self.theta, code, x)

    def loss(self, code, x, y):
        off = self.predict(code, x) - np.asarray(y)
        return (off * off).mean(axis=(-2, -1))


def _inputs(value, name, width, theta):
    array = tensor(value, name, theta.dtype)
    if array.ndim != 3 or array.shape[-1] != width or 0 in array.shape:
        raise ValueError(f"{name} must have shape (n_tasks, n, {width}), got {array.shape}")
    return array


def _by_task(rows, n_tasks, n):
    return rows.reshape(*rows.shape[:-2], n_tasks, n, rows.shape[-1])


def _beside(x, code):
    """A row for each example of each task: its x, and behind it the task's code; shape (..., n_tasks · n, d_in + n_code)."""
    n_tasks, n = x.shape[:2]
    lead = code.shape[:-2]
    codes = np.broadcast_to(code[..., None, :], (*lead, n_tasks, n, code.shape[-1]))
    both = np.concatenate([np.broadcast_to(x, (*lead, *x.shape)), codes], axis=-1)
    return both.reshape(*lead, n_tasks * n, -1)
