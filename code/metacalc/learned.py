"""A learned optimiser: a small net that proposes every coordinate's step, and two ways to the gradient of its training.

The net's own parameters are θ, what all tasks share; φ_0, ..., φ_k are the iterates that it takes on one task, and its
`rule` runs in `metacalc.descent.gradient_descent` like any other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import count, generator, instance, real_array, scalar
from metacalc.descent import Rule
from metacalc.meta import _linearize
from metacalc.models import Model
from metacalc.tasks.base import Batch

__all__ = ["CoordinateNet", "evolution", "learned_optimiser", "path_gradient"]

DECAYS, SQUARES, EPS = (0.0, 0.5, 0.9), 0.99, 1e-8  # of the running means of g, of that of g²; and what guards the root


class CoordinateNet:
    """The net of a learned optimiser, the same for every coordinate (after Andrychowicz et al. 2016, section 2.1).

    Of a coordinate's gradients g it sees their running means m with the decays 0 (g itself), 0.5 and 0.9, each divided by
    √v, the root of a running mean of squares as in Adam, and log √v. One hidden layer of tanh units gives two numbers o_1 and
    o_2, and the direction is o_1 exp(o_2).

    Parameters
    ----------
    n_hidden : int
        Hidden units.

    Attributes
    ----------
    n_params : int
        Length of θ: W_1 (4 × n_hidden, row by row), b_1, W_2 (n_hidden × 2), b_2.

    Raises
    ------
    ValueError
        If `n_hidden` is no positive integer.

    Examples
    --------
    >>> net = CoordinateNet(8)
    >>> net.n_params
    58
    >>> net.rule(net.init(np.random.default_rng(0))).init(np.zeros(3))[0].shape     # the means of g
    (3, 3)
    """

    n_features = len(DECAYS) + 1

    def __init__(self, n_hidden: int = 8) -> None:
        self.n_hidden = count(n_hidden, "n_hidden", 1)
        self.n_params = (self.n_features + 1) * n_hidden + 2 * n_hidden + 2

    def __repr__(self) -> str:
        return f"CoordinateNet({self.n_hidden})"

    def init(self, rng: np.random.Generator) -> Array:
        """Random θ, shape (p,), that begins near Adam with β_1 = 0.9: W_1 is normal, and least squares fit W_2 to that."""
        W = generator(rng).normal(scale=0.3, size=(self.n_features, self.n_hidden))
        seen = rng.normal(size=(400, self.n_features))
        wanted = np.stack([seen[:, len(DECAYS) - 1], np.zeros(400)], axis=-1)
        V = np.linalg.lstsq(np.hstack([np.tanh(seen @ W), np.ones((400, 1))]), wanted, rcond=1e-3)[0]
        return np.concatenate([W.ravel(), np.zeros(self.n_hidden), V.ravel()])

    def rule(self, theta: ArrayLike) -> Rule:
        """The optimiser with the parameters θ, shape (p,), as an update rule: its direction entry by entry.

        Examples
        --------
        >>> from metacalc.descent import gradient_descent
        >>> net = CoordinateNet()
        >>> theta = net.init(np.random.default_rng(0))
        >>> path = gradient_descent(lambda phi: phi, np.ones(2), 0.1, 60, net.rule(theta))
        >>> bool(abs(path[-1]).max() < 0.5)
        True
        """
        theta = self.checked(theta)
        if theta.ndim != 1:
            raise ValueError(f"theta must be one vector, got shape {theta.shape}")
        layers = self.layers(theta)
        return Rule(lambda phi: self.memory(np.asarray(phi)), lambda g, memory, phi=None: self.step(layers, g, memory)[:2])

    def checked(self, theta: ArrayLike) -> Array:
        """θ as an array of floats with a last axis of length `n_params`, or a ValueError."""
        theta = real_array(theta, "theta")
        if theta.ndim == 0 or theta.shape[-1] != self.n_params:
            raise ValueError(f"theta must have a last axis of length {self.n_params}, got shape {theta.shape}")
        return theta

    def layers(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """W_1, b_1, W_2 and b_2 of θ, ready for arrays of coordinates with one axis more than θ has."""
        h, f, lead = self.n_hidden, self.n_features, theta.shape[:-1]
        W, b, V, c = np.split(theta, [f * h, (f + 1) * h, (f + 3) * h], axis=-1)
        V = V.reshape(*lead, h, 2)
        return W.reshape(*lead, f, h), b[..., None, :], V, c[..., None, :]

    def memory(self, phi: Array) -> tuple[Array, Array, int]:
        """What the optimiser remembers before its first step: the means of g and of g², and the number of steps."""
        return np.zeros((len(DECAYS), *phi.shape)), np.zeros(phi.shape), 0

    def step(self, layers: Any, g: Any, memory: Any) -> tuple[Array, tuple[Array, Array, int], tuple[Any, ...]]:
        """Direction for the gradient g, shape (..., coordinates), new memory, and what the way back needs of it."""
        m, v, t = memory
        decays, t = np.reshape(DECAYS, (-1, *[1] * np.ndim(g))), t + 1
        m, v = decays * m + (1 - decays) * g, SQUARES * v + (1 - SQUARES) * np.square(g)
        s = np.sqrt(v / (1 - SQUARES**t) + EPS**2)
        x = np.concatenate([m / (1 - decays**t) / s, np.log(s)[None]])
        x = np.moveaxis(x, 0, -1)
        W, b, V, c = layers
        shape, flat = x.shape[:-1], x.reshape(*np.shape(W)[:-2], -1, self.n_features)
        h = np.tanh(flat @ W + b)
        o = h @ V + c
        scale = np.exp(o[..., 1])
        direction = (o[..., 0] * scale).reshape(shape)
        return direction, (m, v, t), (g, s, flat, h, scale, direction, t)

    def back(self, layers: Any, cache: tuple[Any, ...], by_direction: Array, by_memory: tuple[Array, Array]) -> tuple[
            Array, Array, tuple[Array, Array]]:
        """Derivatives by θ, by g and by the old memory, from those by the direction and by the new memory."""
        (g, s, x, h, scale, direction, t), (W, _, V, _) = cache, layers
        shape, lead = np.shape(g), np.shape(W)[:-2]
        decays = np.reshape(DECAYS, (-1, *[1] * len(shape)))
        out = np.stack([by_direction.reshape(scale.shape) * scale, (by_direction * direction).reshape(scale.shape)], axis=-1)
        hidden = (out @ V.swapaxes(-1, -2)) * (1 - h * h)
        by_theta = [x.swapaxes(-1, -2) @ hidden, hidden.sum(axis=-2), h.swapaxes(-1, -2) @ out, out.sum(axis=-2)]
        by_x = np.moveaxis((hidden @ W.swapaxes(-1, -2)).reshape(*shape, -1), -1, 0)
        x = np.moveaxis(x.reshape(*shape, -1), -1, 0)
        by_s = (by_x[-1] - (by_x[:-1] * x[:-1]).sum(axis=0)) / s
        by_m = by_memory[0] + by_x[:-1] / (1 - decays**t) / s
        by_v = by_memory[1] + by_s / (2 * s * (1 - SQUARES**t))
        by_g = ((1 - decays) * by_m).sum(axis=0) + 2 * (1 - SQUARES) * g * by_v
        return (np.concatenate([part.reshape(*lead, -1) for part in by_theta], axis=-1), by_g, (decays * by_m, SQUARES * by_v))


@np.errstate(all="ignore")
def learned_optimiser(model: Model, theta: ArrayLike, batch: Batch, net: CoordinateNet, start: ArrayLike, k: int = 20,
                      alpha: float = 0.1, truncate: int | None = None) -> tuple[Array, Array]:
    """The loss of a learned optimiser on a batch, and its gradient through all k steps that it takes.

    φ_{j+1} = φ_j − α u_θ(∇L_support(φ_0), ..., ∇L_support(φ_j)), with the direction u_θ of the net; the loss is the mean of
    L_query(φ_j) over j = 1, ..., k and the tasks (Andrychowicz et al. 2016, equation 3, but with the gradients' own dependence
    on θ, which takes a Hessian-vector product a step and is left out there).

    Parameters
    ----------
    model : model
        What is optimised.
    theta : array_like, shape (..., p)
        The net's parameters.
    batch : Batch
        The tasks, each with a support and a query set.
    net : CoordinateNet
        The optimiser's net.
    start : array_like, shape (model.n_params,)
        Where every task starts, φ_0.
    k : int
        Number of steps, at least 1.
    alpha : float
        Positive; what the net's directions are multiplied by.
    truncate : int, optional
        Truncated backpropagation through time (Williams & Peng 1990): cut the path into windows of so many steps, and let no
        derivative pass from one to the window before. At least 1; k or more is exact.

    Returns
    -------
    loss : float or ndarray, shape (...)
        Mean of the query loss over all steps and tasks.
    gradient : ndarray, shape (..., p)
        Its derivative by θ; truncated, a biased one.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> from metacalc.tasks import Quadratics
    >>> batch, net = Quadratics(d=3).sample(np.random.default_rng(0), 5), CoordinateNet()
    >>> theta = net.init(np.random.default_rng(1))
    >>> loss, gradient = learned_optimiser(Quadratic(3), theta, batch, net, np.zeros(3), k=10)
    >>> better, _ = learned_optimiser(Quadratic(3), theta - 0.1 * gradient, batch, net, np.zeros(3), k=10)
    >>> gradient.shape, bool(better < loss)
    ((58,), True)
    """
    instance(net, CoordinateNet, "net", "a CoordinateNet")
    instance(batch, Batch, "batch", "a Batch, as a task distribution samples it")
    theta, start, k, alpha = net.checked(theta), real_array(start, "start"), count(k, "k", 1), scalar(alpha, "alpha")
    window = k if truncate is None else count(truncate, "truncate", 1)
    if start.shape != (model.n_params,):
        raise ValueError(f"start must have shape ({model.n_params},), got {start.shape}")
    layers = net.layers(theta)
    phi = np.broadcast_to(start, (*theta.shape[:-1], len(batch), model.n_params))
    alike = batch.x_query is batch.x_support and batch.y_query is batch.y_support
    memory, steps, loss = net.memory(phi), [], 0.0
    here = _linearize(model, phi, batch.x_support, batch.y_support)
    for _ in range(k):
        direction, memory, cache = net.step(layers, here[0], memory)
        phi, hessian = phi - alpha * direction, here[1]
        here = _linearize(model, phi, batch.x_support, batch.y_support)
        query = here if alike else _linearize(model, phi, batch.x_query, batch.y_query)
        loss = loss + query[2]().mean(axis=-1) / k
        steps.append((cache, hessian, query[0] / (k * len(batch))))
    nothing = np.zeros_like(phi), (np.zeros_like(memory[0]), np.zeros_like(memory[1]))
    gradient, (v, by_memory) = 0.0, nothing
    for j in range(k - 1, -1, -1):
        cache, hessian, query = steps[j]
        if (j + 1) % window == 0:
            v, by_memory = nothing
        v = v + query
        by_theta, by_g, by_memory = net.back(layers, cache, -alpha * v, by_memory)
        gradient, v = gradient + by_theta, v + hessian(by_g)
    return loss, gradient  # pyright: ignore[reportReturnType]  (k is 1 or more)


@np.errstate(all="ignore")
def path_gradient(step: Callable[[Any, Any], Any], by_phi: Callable[[Any, Any], Any], by_theta: Callable[[Any, Any], Any],
                  phi0: ArrayLike, theta: ArrayLike, k: int) -> tuple[Array, Array, Array]:
    """The path φ_{j+1} = U(φ_j, θ) of numbers, and its derivatives by φ_0 and by θ: products of Jacobians, and their sum.

    ∂φ_{j+1}/∂φ_0 = U_φ ∂φ_j/∂φ_0 and dφ_{j+1}/dθ = U_φ dφ_j/dθ + U_θ: forward mode, step by step.

    Parameters
    ----------
    step, by_phi, by_theta : callable
        U and its two partial derivatives, elementwise functions of φ and θ.
    phi0, theta : float or array_like
        They broadcast: many starts and many θ at once.
    k : int
        Number of steps.

    Returns
    -------
    path : ndarray, shape (k + 1, ...)
        The iterates, in the shape that `phi0` and `theta` broadcast to.
    by_start : ndarray, shape (k + 1, ...)
        Their derivatives by φ_0.
    by_parameter : ndarray, shape (k + 1, ...)
        Their derivatives by θ.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> U, by_phi, by_theta = lambda q, a: q - a * q, lambda q, a: 1 - a, lambda q, a: -q      # descent on φ²/2
    >>> path_gradient(U, by_phi, by_theta, 8.0, 0.5, 2)
    (array([8., 4., 2.]), array([1.  , 0.5 , 0.25]), array([ 0., -8., -8.]))
    """
    phi0, theta = real_array(phi0, "phi0"), real_array(theta, "theta")
    for name, function in (("step", step), ("by_phi", by_phi), ("by_theta", by_theta)):
        if not callable(function):
            raise ValueError(f"{name} must be a function, got {function!r}")
    try:
        phi, theta = np.broadcast_arrays(phi0, theta)
    except ValueError:
        raise ValueError(f"phi0 of shape {phi0.shape} does not broadcast with theta of shape {theta.shape}") from None
    state = phi, np.ones(phi.shape), np.zeros(phi.shape)
    path = [state]
    for _ in range(count(k, "k")):
        phi, by_start, total = state
        across = by_phi(phi, theta)
        state = step(phi, theta), across * by_start, across * total + by_theta(phi, theta)
        path.append(state)
    by_path, by_start, total = (np.array([state[i] for state in path]) for i in range(3))
    return by_path, by_start, total


@np.errstate(all="ignore")
def evolution(f: Callable[[Array], Any], theta: ArrayLike, sigma: float, n_pairs: int, rng: np.random.Generator,
              antithetic: bool = True) -> tuple[Array, Array]:
    """Gradient of the smoothed function F_σ(θ) = E f(θ + σε), ε standard normal, from values of f alone.

    ∇F_σ(θ) = E[f(θ + σε) ε] / σ, and so also E[(f(θ + σε) − f(θ − σε)) ε] / 2σ: the mean over pairs of that (antithetic
    sampling; Salimans et al. 2017, section 2). f need not be differentiable.

    Parameters
    ----------
    f : callable
        From a table of θ, shape (n, p), to their values, shape (n,).
    theta : array_like, shape (p,)
        Where the gradient is wanted.
    sigma : float
        Positive.
    n_pairs : int
        At least 1; f is asked for twice as many values.
    rng : numpy.random.Generator
        All chance comes from it.
    antithetic : bool
        False draws 2n independent ε in place of n pairs ±ε.

    Returns
    -------
    value : float
        Mean of the values, an estimate of F_σ(θ).
    gradient : ndarray, shape (p,)
        An unbiased estimate of ∇F_σ(θ).

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> value, gradient = evolution(lambda t: 3 * t[:, 0], [1.0], 0.1, 10_000, np.random.default_rng(0))
    >>> bool(abs(value - 3) < 1e-9), bool(abs(gradient[0] - 3) < 0.2)
    (True, True)
    """
    theta, sigma, n_pairs = real_array(theta, "theta"), scalar(sigma, "sigma"), count(n_pairs, "n_pairs", 1)
    if theta.ndim != 1:
        raise ValueError(f"theta must be one vector, got shape {theta.shape}")
    if not callable(f):
        raise ValueError(f"f must be a function, got {f!r}")
    moves = generator(rng).normal(size=(n_pairs if antithetic else 2 * n_pairs, theta.size))
    moves = np.concatenate([moves, -moves]) if antithetic else moves
    values = real_array(f(theta + sigma * moves), "f")
    if values.shape != (2 * n_pairs,):
        raise ValueError(f"f must give a number for each of {2 * n_pairs} rows, got shape {values.shape}")
    return values.mean(), (values[:, None] * moves).mean(axis=0) / sigma
