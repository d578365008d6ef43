"""One-level learning: gradient descent and its relatives, for many starts, rates and momenta in one call.

An update rule is a pair of pure functions, as in optax: `init(theta)` gives the rule's memory, and
`update(gradient, memory, theta)` gives a direction and the new memory; the loop then moves θ ← θ − η · direction.
"""

import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, ArrayLike, Flags
from metacalc.checks import count, instance, positive, real_array, scalar, unit_interval

__all__ = [
    "Rule", "adam", "adamw", "as_rule", "backtracking", "clipped", "convergence_factor", "diverged", "gradient_descent",
    "momentum", "nesterov", "newton", "sgd",
]


class Rule(NamedTuple):
    """An update rule: `init(theta) -> memory` and `update(gradient, memory, theta) -> (direction, memory)`.

    Most rules do not ask where θ is, and leave out the last argument; `adamw` is one that does. A rule that takes the
    entries of a gradient together, as `clipped` does, has in `by_entry` the update for many starts of a function of a
    number, where each entry is a run of its own.

    Attributes
    ----------
    init : callable
        From θ to the memory before the first step.
    update : callable
        From gradient, memory and θ to the direction and the new memory.
    by_entry : callable, optional
        The update where every entry of θ is a run of its own; `update` unless given.
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]
    by_entry: Callable[..., tuple[Any, Any]] | None = None


def sgd() -> Rule:
    """Plain gradient step, direction = g (Cauchy 1847); with a noisy gradient, stochastic gradient descent.

    Returns
    -------
    Rule
        For `gradient_descent` and `metacalc.training.meta_train`.

    Examples
    --------
    >>> sgd().update(3.0, None)
    (3.0, None)
    """
    return Rule(init=lambda theta: None, update=lambda gradient, memory, theta=None: (gradient, memory))


def momentum(beta: ArrayLike = 0.9) -> Rule:
    """Heavy ball: v ← βv + g, direction = v (Polyak 1964).

    Parameters
    ----------
    beta : float or array_like in [0, 1)
        An array, shaped to broadcast with θ, runs every value at once.

    Returns
    -------
    Rule
        For `gradient_descent` and `metacalc.training.meta_train`.

    Raises
    ------
    ValueError
        If `beta` is outside [0, 1).
    """
    beta = unit_interval(beta, "beta")

    def update(gradient, velocity, theta=None):
        velocity = beta * velocity + gradient
        return velocity, velocity

    return Rule(init=lambda theta: 0.0 * theta, update=update)


def nesterov(beta: ArrayLike = 0.9) -> Rule:
    """Nesterov's accelerated gradient: v ← βv + g, direction = g + βv (Nesterov 1983).

    In this form (Bengio, Boulanger-Lewandowski & Pascanu 2013) θ is the look-ahead point, where the gradient is taken.

    Parameters
    ----------
    beta : float or array_like in [0, 1)
        An array, shaped to broadcast with θ, runs every value at once.

    Returns
    -------
    Rule
        For `gradient_descent` and `metacalc.training.meta_train`.

    Raises
    ------
    ValueError
        If `beta` is outside [0, 1).
    """
    beta = unit_interval(beta, "beta")

    def update(gradient, velocity, theta=None):
        velocity = beta * velocity + gradient
        return gradient + beta * velocity, velocity

    return Rule(init=lambda theta: 0.0 * theta, update=update)


def adam(beta1: ArrayLike = 0.9, beta2: ArrayLike = 0.999, eps: float = 1e-8) -> Rule:
    """Adam: m / (√v + ε), from bias-corrected means of g and g² (Kingma & Ba 2015, algorithm 1).

    Parameters
    ----------
    beta1, beta2 : float or array_like in [0, 1)
        Decay rates of the two means.
    eps : float
        Positive; keeps the denominator from zero.

    Returns
    -------
    Rule
        For `gradient_descent` and `metacalc.training.meta_train`.

    Raises
    ------
    ValueError
        If an argument is outside its range.
    """
    beta1, beta2 = unit_interval(beta1, "beta1"), unit_interval(beta2, "beta2")
    least = positive(eps, "eps")

    def update(gradient, memory, theta=None):
        m, v, t = memory
        gradient, t = _squarable(gradient), t + 1
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient * gradient
        return m / (1 - beta1**t) / ((v / (1 - beta2**t)) ** 0.5 + least), (m, v, t)

    return Rule(init=lambda theta: (0.0 * theta, 0.0 * theta, 0), update=update)


def adamw(weight_decay: float = 0.01, beta1: ArrayLike = 0.9, beta2: ArrayLike = 0.999, eps: float = 1e-8) -> Rule:
    """Adam with decoupled weight decay: Adam's direction + λθ (Loshchilov & Hutter 2019, algorithm 2).

    The decay is no part of the gradient, so that Adam's scaling leaves it alone: θ ← (1 − ηλ) θ − η · Adam's direction.

    Parameters
    ----------
    weight_decay : float
        λ, not negative.
    beta1, beta2 : float or array_like in [0, 1)
        Decay rates of the two means, as in `adam`.
    eps : float
        Positive; keeps the denominator from zero.

    Returns
    -------
    Rule
        For `gradient_descent` and `metacalc.training.meta_train`.

    Raises
    ------
    ValueError
        If an argument is outside its range; from `update`, if it is not told θ.

    Examples
    --------
    >>> rule = adamw(weight_decay=0.1)
    >>> rule.update(0.0, rule.init(5.0), 5.0)[0]     # no gradient: what is left pulls towards 0
    0.5
    """
    decay, plain = scalar(weight_decay, "weight_decay", positive=False), adam(beta1, beta2, eps)

    def update(gradient, memory, theta=None):
        if theta is None:
            raise ValueError("theta must be given: weight decay pulls it towards 0")
        direction, memory = plain.update(gradient, memory)
        return direction + decay * theta, memory

    return Rule(plain.init, update)


def _squarable(gradient: Any) -> Any:
    """The gradient, its finite entries no larger than what can be squared: Adam's direction would be 0 for ever after."""
    if np.ndim(gradient) == 0:
        flat, total = gradient, gradient * gradient
    else:
        flat = gradient.ravel()
        total = flat.dot(flat)
    if math.isfinite(total):  # a sum of squares is finite only if every term is
        return gradient
    bound = np.sqrt(np.finfo(getattr(gradient, "dtype", float)).max) / 4
    return np.where(np.isinf(gradient), gradient, np.clip(gradient, -bound, bound))[()]


def _norm(gradient: Any) -> Any:
    """Length of a gradient, or of each along the last axis, whatever its squares would overflow."""
    if np.ndim(gradient) == 0:
        return abs(gradient)
    largest = np.abs(gradient).max(axis=-1, keepdims=True, initial=0)
    scaled = gradient / np.where((largest > 0) & np.isfinite(largest), largest, 1)
    return np.where(np.isfinite(largest), largest, 1) * np.sqrt((scaled * scaled).sum(axis=-1, keepdims=True))


def clipped(rule: Rule, max_norm: float) -> Rule:
    """The same rule, its gradients longer than `max_norm` shortened to that length (Pascanu et al. 2013, algorithm 1).

    Parameters
    ----------
    rule : Rule
        What takes the shortened gradients.
    max_norm : float
        Positive.

    Returns
    -------
    Rule
        For `gradient_descent` and `metacalc.training.meta_train`.

    Raises
    ------
    ValueError
        If `rule` is no Rule, or `max_norm` not positive.

    Examples
    --------
    >>> clipped(sgd(), 1.0).update(np.array([3.0, 4.0]), None)[0]
    array([0.6, 0.8])
    """
    rule = as_rule(rule)
    max_norm = scalar(max_norm, "max_norm")

    def shortened(gradient, norm):
        return gradient * np.minimum(1, max_norm / np.where(norm > 0, norm, 1))

    def update(gradient, memory, theta=None):
        return rule.update(shortened(gradient, _norm(gradient)), memory, theta)

    def by_entry(gradient, memory, theta=None):
        return (rule.by_entry or rule.update)(shortened(gradient, np.abs(gradient)), memory, theta)

    return Rule(rule.init, update, by_entry)


def as_rule(rule: Any) -> Rule:
    """The rule, its `update` ready to be told θ; ValueError if it is none.

    Parameters
    ----------
    rule : Rule
        Its `update` takes two or three arguments.

    Returns
    -------
    Rule
        One whose `update` takes three arguments.
    """
    instance(rule, Rule, "rule", "a Rule, such as momentum(0.9)")
    if not callable(rule.init) or not callable(rule.update):
        raise ValueError(f"rule must have two functions, init and update, got {rule!r}")
    try:
        inspect.signature(rule.update).bind("gradient", "memory", "theta")
    except TypeError:
        return rule._replace(update=lambda gradient, memory, theta=None: rule.update(gradient, memory))
    except ValueError:  # a function in C tells nothing of its arguments
        pass
    return rule


def gradient_descent(grad: Callable[[Any], Any], theta0: ArrayLike, eta: ArrayLike | Callable[[int], Any], n_iters: int,
                     rule: Rule | None = None) -> Array:
    """Path of the iteration θ ← θ − η · direction, from `theta0` on.

    Parameters
    ----------
    grad : callable
        Gradient: an array like θ to an array of the same shape (`Objective.grad`, say). One that takes a single number too
        is that of a function of a number, and each entry of θ a run of its own.
    theta0 : array_like
        Starting point, or many: any shape that `grad` takes.
    eta : float, array_like, or callable
        Learning rate, positive. An array, shaped to broadcast with `theta0`, runs all rates at once. A callable
        gives the rate of iteration t = 0, 1, ..., which may be 0: then θ stays.
    n_iters : int
        Number of iterations, at least 0.
    rule : Rule, optional
        Update rule; `sgd()`, the plain gradient step, unless given.

    Returns
    -------
    ndarray, shape (n_iters + 1, ...)
        Every iterate, `theta0` first, in the shape that `theta0` and `eta` broadcast to. A run that diverges goes on with
        huge, infinite or NaN values; see `diverged`.

    Raises
    ------
    ValueError
        If `eta` is not positive and finite, `n_iters` no integer ≥ 0, `theta0` not finite, not real, or not of a
        shape that goes with `grad` and `eta`, `grad` no function to real numbers, or `rule` none.

    Examples
    --------
    >>> gradient_descent(lambda theta: 2 * theta, theta0=10, eta=0.1, n_iters=3)
    array([10.  ,  8.  ,  6.4 ,  5.12])
    >>> gradient_descent(lambda theta: 2 * theta, theta0=10, eta=[0.1, 0.5, 1.1], n_iters=2)
    array([[ 10. ,  10. ,  10. ],
           [  8. ,   0. , -12. ],
           [  6.4,   0. ,  14.4]])
    """
    theta = _start(theta0)
    n_iters = count(n_iters, "n_iters")
    rule = sgd() if rule is None else as_rule(rule)
    rate = eta if callable(eta) else None
    if rate is None:
        eta = positive(eta, "eta")
        theta = _broadcast_start(theta, eta)
    memory, update = rule.init(theta), rule.update
    path = [theta]
    with np.errstate(all="ignore"):
        for t in range(n_iters):
            if t:
                gradient = _gradient(grad, theta)
            else:
                gradient = _first_gradient(grad, theta)
                if rule.by_entry is not None and np.ndim(theta) and _of_a_number(grad, theta, gradient):
                    update = rule.by_entry
            direction, memory = _updated(update, gradient, memory, theta) if t == 0 else update(gradient, memory, theta)
            now = eta if rate is None else _scheduled(rate(t))
            theta = theta if type(now) is float and now == 0 else theta - now * direction
            path.append(theta)
    path[0] = np.broadcast_to(path[0], np.shape(theta))  # a rule with an array of momenta widens θ at the first step
    return np.array(path)


def newton(grad: Callable[[Any], Any], hess: Callable[[Any], Any], theta0: ArrayLike, n_iters: int,
           eta: ArrayLike = 1.0) -> Array:
    """Path of Newton's method θ ← θ − η [∇²f(θ)]⁻¹ ∇f(θ); η < 1 damps it.

    Parameters
    ----------
    grad, hess : callable
        Gradient, shape (..., d), and Hessian, shape (..., d, d), at θ of shape (..., d); or, for a function of a
        number, both elementwise on a number or one axis of them.
    theta0 : array_like
        Starting point or points.
    n_iters : int
        Number of iterations, at least 0.
    eta : float or array_like
        Positive step length.

    Returns
    -------
    ndarray, shape (n_iters + 1, ...)
        Every iterate, in the shape that `theta0` and `eta` broadcast to. A run that meets a singular Hessian is NaN from
        there on.

    Raises
    ------
    ValueError
        As in `gradient_descent`.

    Examples
    --------
    >>> newton(lambda t: t**3 - 8, lambda t: 3 * t**2, theta0=3.0, n_iters=4).round(4)
    array([3.    , 2.2963, 2.0366, 2.0007, 2.    ])
    """
    def newton_direction(theta):
        gradient, curvature = np.asarray(grad(theta)), np.asarray(hess(theta))
        if gradient.ndim <= 1 and curvature.shape in ((), gradient.shape):
            return gradient / curvature
        if curvature.shape != (*gradient.shape, *gradient.shape[-1:]):
            raise ValueError(f"hess must return the shape {(*gradient.shape, *gradient.shape[-1:])}, "
                             f"got {curvature.shape}")
        usable = np.linalg.slogdet(curvature)[0] != 0  # LAPACK would refuse the whole batch for one singular matrix
        return np.linalg.solve(np.where(usable[..., None, None], curvature, np.nan), gradient[..., None])[..., 0]

    _function(grad, "grad")
    _function(hess, "hess")
    # As floats of NumPy's, which divide by zero without an exception.
    return gradient_descent(newton_direction, np.asarray(_start(theta0)), eta, n_iters)


def backtracking(f: Callable[[Any], Any], grad: Callable[[Any], Any], theta0: ArrayLike, n_iters: int, eta: float = 1.0,
                 shrink: float = 0.5, slope: float = 1e-4) -> tuple[Array, Array]:
    """Gradient descent that shrinks its rate until the loss falls enough (Armijo 1966).

    Every iteration starts from `eta` and multiplies it by `shrink` until f(θ − ηg) ≤ f(θ) − slope · η‖g‖².

    Parameters
    ----------
    f, grad : callable
        Function and gradient of θ, shape (..., d); or, for a function of a number, both elementwise.
    theta0 : array_like
        Starting point or points; each has its own rates.
    n_iters : int
        Number of iterations, at least 0.
    eta : float
        Largest rate tried, positive.
    shrink, slope : float in (0, 1)
        Factor between the rates tried; share of the promised decrease that is enough.

    Returns
    -------
    path : ndarray, shape (n_iters + 1, ...)
        Every iterate, `theta0` first.
    rates : ndarray, shape (n_iters, ...)
        Rates taken; 0 where no rate down to 1e-18 `eta` brings a decrease (at a minimum, to rounding).

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> path, rates = backtracking(lambda t: t**4, lambda t: 4 * t**3, theta0=1.5, n_iters=3)
    >>> rates
    array([0.125, 1.   , 1.   ])
    """
    theta = np.asarray(_start(theta0))
    _function(f, "f")
    _function(grad, "grad")
    n_iters, largest = count(n_iters, "n_iters"), positive(eta, "eta")
    if np.ndim(largest):
        raise ValueError(f"eta must be a single number, got {largest!r}")
    for name, value in (("shrink", shrink), ("slope", slope)):
        if not (isinstance(value, numbers.Real) and 0 < value < 1):
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    trials = math.ceil(math.log(1e-18) / math.log(shrink))
    path, rates = [theta], []
    with np.errstate(all="ignore"):
        for _ in range(n_iters):
            value, gradient = np.asarray(f(theta)), np.asarray(_first_gradient(grad, theta))
            if value.shape not in (theta.shape, theta.shape[:-1]):
                raise ValueError(f"f must return a number for each start, an array of shape {theta.shape} or "
                                 f"{theta.shape[:-1]}, got {value.shape}")
            as_theta = (lambda a: a[..., None]) if value.ndim < theta.ndim else (lambda a: a)
            squared = (gradient**2).sum(axis=-1) if value.ndim < theta.ndim else gradient**2
            rate, too_long = np.full(value.shape, largest), np.full(value.shape, True)
            for _ in range(trials):
                too_long = ~(f(theta - as_theta(rate) * gradient) <= value - slope * rate * squared)
                if not too_long.any():
                    break
                rate = np.where(too_long, shrink * rate, rate)
            rate = np.where(too_long | (squared == 0), 0.0, rate)  # at a minimum none brings a decrease
            theta = np.where(as_theta(rate) > 0, theta - as_theta(rate) * gradient, theta)  # with rate 0 it stays
            path.append(theta)
            rates.append(rate)
    return np.array(path), np.array(rates).reshape((n_iters, *np.shape(f(path[0]))))


def convergence_factor(eta: ArrayLike, beta: ArrayLike, eigenvalues: ArrayLike) -> Any:
    """Factor by which heavy-ball momentum shrinks the error on a quadratic, per iteration and in the long run.

    In the eigenbasis of the Hessian the iteration is e_{t+1} = (1 + β − ηλ) e_t − β e_{t−1}; the factor is the
    largest modulus of a root of r² − (1 + β − ηλ) r + β over all λ (Polyak 1964). With β = 0 it is the largest abs(1 − ηλ).

    Parameters
    ----------
    eta : float or array_like
        Learning rate, positive.
    beta : float or array_like in [0, 1)
        Momentum; 0 is plain gradient descent.
    eigenvalues : array_like, shape (..., d)
        Eigenvalues λ of the Hessian; axes other than the last broadcast with `eta` and `beta`.

    Returns
    -------
    float or ndarray
        Below 1 the iteration converges, above 1 it diverges.

    Raises
    ------
    ValueError
        If `eta` or `beta` is outside its range.

    Examples
    --------
    >>> float(convergence_factor(0.5, 0.0, [1.0, 3.0]))
    0.5
    >>> float(convergence_factor(4 / 9, 1 / 9, [1.0, 4.0]).round(6))  # the best pair here: (√κ − 1)/(√κ + 1) = 1/3
    0.333333
    """
    eta, beta = np.asarray(positive(eta, "eta")), np.asarray(unit_interval(beta, "beta"))
    eigenvalues = real_array(eigenvalues, "eigenvalues")
    if eigenvalues.ndim == 0 or eigenvalues.size == 0 or not np.all(np.isfinite(eigenvalues)):
        raise ValueError(f"eigenvalues must be finite numbers along a last axis, got {eigenvalues!r}")
    try:
        half = (1 + beta[..., None] - eta[..., None] * eigenvalues) / 2
    except ValueError:
        raise ValueError(f"eigenvalues of shape {eigenvalues.shape} must go with eta of shape {eta.shape} and beta of shape "
                         f"{beta.shape}") from None
    spread = np.sqrt(half**2 - beta[..., None] + 0j)
    return np.maximum(np.abs(half + spread), np.abs(half - spread)).max(axis=-1)[()]


def diverged(path: ArrayLike, limit: float = 1e6) -> np.bool_ | Flags:
    """Which runs of a path diverged: an entry that is not finite, or larger than `limit` in absolute value.

    Parameters
    ----------
    path : array_like, shape (n_iters + 1, ...)
        As `gradient_descent` returns it.
    limit : float
        Positive.

    Returns
    -------
    bool or ndarray of bool, shape (...)
        Entry by entry; for vectors, take `.any(axis=-1)`.

    Examples
    --------
    >>> diverged(gradient_descent(lambda theta: 2 * theta, 10, [0.5, 1.0, 1.2], n_iters=100))
    array([False, False,  True])
    """
    bound = positive(limit, "limit")
    return np.any(~(np.abs(real_array(path, "path")) <= bound), axis=0)[()]


def _start(theta0: ArrayLike) -> Any:
    """`theta0` as a Python float, which a scalar run is fastest with, or as an array of floats of its own."""
    theta = np.array(real_array(theta0, "theta0"))
    if not np.all(np.isfinite(theta)):
        raise ValueError(f"theta0 must hold finite real numbers, got {theta0!r}")
    if theta.size == 0:
        raise ValueError("theta0 must not be empty")
    return float(theta) if theta.ndim == 0 and not isinstance(theta0, (np.ndarray, np.generic)) else theta


def _broadcast_start(theta, eta):
    try:
        shape = np.broadcast_shapes(np.shape(theta), np.shape(eta))
    except ValueError:
        raise ValueError(f"theta0 of shape {np.shape(theta)} does not broadcast with eta of shape {np.shape(eta)}"
                         ) from None
    return theta if shape == np.shape(theta) else np.broadcast_to(theta, shape)


def _scheduled(rate):
    """A rate that a schedule gives: positive, or 0."""
    array = real_array(rate, "eta")
    return 0.0 if array.ndim == 0 and array == 0 else positive(rate, "eta")


def _updated(update: Callable[..., Any], gradient: Any, memory: Any, theta: Any) -> tuple[Any, Any]:
    """A rule's first update, with a complaint if it gives anything but a direction and a memory."""
    result = update(gradient, memory, theta)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ValueError(f"rule must give a direction and its new memory, got {result!r}")
    return result


def _of_a_number(grad, theta, gradient):
    """Whether `grad` is the gradient of a function of a number, so that θ holds many starts and no vector."""
    first = (0,) * np.ndim(theta)
    try:
        alone = np.asarray(grad(float(theta[first])))
        return alone.shape == () and bool(np.isclose(float(alone), gradient[first], rtol=1e-5, equal_nan=True))
    except Exception:  # a function of a vector may raise anything
        return False


def _first_gradient(grad: Callable[[Any], Any], theta: Any) -> Any:
    """The gradient at `theta`, with a complaint about `grad` or `theta0` if the two do not go together."""
    _function(grad, "grad")
    try:
        gradient = _called(grad, theta)
    except ValueError as error:
        raise ValueError(f"theta0 of shape {np.shape(theta)} does not suit grad: {error}") from error
    gradient = _real(gradient)
    if np.shape(gradient) != np.shape(theta):
        raise ValueError(f"theta0 has shape {np.shape(theta)}, but its gradient has shape {np.shape(gradient)}")
    return gradient


def _gradient(grad: Callable[[Any], Any], theta: Any) -> Any:
    return _real(_called(grad, theta))


def _called(grad: Callable[[Any], Any], theta: Any) -> Any:
    """grad(theta); where Python's own arithmetic raises, as 1 / 0.0 does, or turns complex, IEEE's values instead."""
    try:
        gradient = grad(theta)
        if type(gradient) is complex:
            gradient = grad(np.asarray(theta))
    except ArithmeticError:
        try:
            gradient = grad(np.asarray(theta))
        except ArithmeticError:  # a function of the math module
            return np.full(np.shape(theta), np.nan)[()]
    return gradient


def _real(gradient: Any) -> Any:
    """A gradient as a float or an array of floats, from lists and exact numbers such as SymPy's too."""
    if type(gradient) is float or getattr(getattr(gradient, "dtype", None), "kind", "") == "f":
        return gradient
    try:
        return real_array(gradient, "grad")[()]
    except ValueError:
        raise ValueError(f"grad must return real numbers, got {gradient!r}") from None


def _function(value: Any, name: str) -> None:
    if not callable(value):
        raise ValueError(f"{name} must be a function, got {value!r}")
