"""Bilevel problems: an outer loss L^Q(φ, θ) where an inner one f(φ, θ) has its minimum φ*(θ), and its derivative by θ.

With H = ∂²f/∂φ² and B = ∂²f/∂φ∂θ at φ*, the hypergradient is ∇F = ∂L^Q/∂θ − Bᵀv, where Hv = ∂L^Q/∂φ. Here φ has the
shape (p,) and θ the shape (d,); neither H nor B is ever formed.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import count, instance, real_array, scalar, tensor
from metacalc.descent import Rule, sgd

__all__ = [
    "Bilevel", "Hypergradient", "OuterPath", "adjoint", "bilevel_descent", "checkpoint_steps", "conjugate_gradients", "counted",
    "example_weights", "implicit_gradient", "inner_descent", "inner_minimum", "neumann", "ridge_penalties", "unrolled",
]


@dataclass(frozen=True, eq=False)
class Bilevel:
    """A bilevel problem, by its first derivatives and the products of its second ones with vectors.

    Parameters
    ----------
    outer : callable
        (φ, θ) to the loss L^Q, its gradient by φ, shape (p,), and by θ, shape (d,).
    grad : callable
        (φ, θ) to ∂f/∂φ, shape (p,).
    hvp : callable
        (φ, θ, v) to Hv, shape (p,).
    cross : callable
        (φ, θ, v) to Bᵀv, the derivative by θ of v · ∂f/∂φ, shape (d,): what reverse mode needs.
    push : callable, optional
        (φ, θ, u) to Bu, how fast ∂f/∂φ changes as θ moves along u, shape (p,): what forward mode needs.
    """

    outer: Callable[[Array, Array], tuple[Any, Array, Array]]
    grad: Callable[[Array, Array], Array]
    hvp: Callable[[Array, Array, Array], Array]
    cross: Callable[[Array, Array, Array], Array]
    push: Callable[[Array, Array, Array], Array] | None = None

    @classmethod
    def of(cls, inner: sp.Expr, outer: sp.Expr, phi: Sequence[sp.Symbol], theta: Sequence[sp.Symbol]) -> "Bilevel":
        """The problem of two expressions, whose derivatives SymPy takes.

        Parameters
        ----------
        inner, outer : expression
            f and L^Q, in the symbols of φ and θ and no others.
        phi, theta : sequence of Symbol
            The inner and the outer parameters.

        Raises
        ------
        ValueError
            If an expression has another symbol.

        Examples
        --------
        >>> phi, theta = sp.symbols("phi theta")
        >>> problem = Bilevel.of((phi - 3) ** 2 + theta * phi**2, phi**2, [phi], [theta])       # φ* = 3/(1 + θ)
        >>> implicit_gradient(problem, [2.0], [1.0])                                            # of 9/(1 + θ)²
        Hypergradient(loss=np.float64(1.0), gradient=array([-0.66666667]))
        """
        inner, outer = sp.sympify(inner), sp.sympify(outer)
        if foreign := (inner.free_symbols | outer.free_symbols) - {*phi, *theta}:
            raise ValueError(f"inner and outer must have no symbols but those of phi and theta, got {foreign}")
        at = sp.Matrix(list(phi)), sp.Matrix(list(theta))
        slope = sp.Matrix([inner]).jacobian(at[0]).T
        slopes = [sp.Matrix([outer]).jacobian(a).T for a in at]
        H, B = (_matrix(slope.jacobian(a), *at) for a in at)
        value, by_phi, by_theta, slope = (_matrix(m, *at) for m in (sp.Matrix([outer]), *slopes, slope))
        return cls(outer=lambda p, t: (value(p, t)[0, 0], by_phi(p, t)[:, 0], by_theta(p, t)[:, 0]),
                   grad=lambda p, t: slope(p, t)[:, 0], hvp=lambda p, t, v: H(p, t) @ v,
                   cross=lambda p, t, v: B(p, t).T @ v, push=lambda p, t, u: B(p, t) @ u)


def _matrix(matrix, phi, theta):
    """A matrix of expressions as a function of φ and θ."""
    found = sp.lambdify([list(phi), list(theta)], matrix, "numpy", cse=True)
    return lambda p, t: np.asarray(found(p, t), float).reshape(matrix.shape)


class Hypergradient(NamedTuple):
    """The outer loss and its derivative by θ (or by the inner rate).

    Attributes
    ----------
    loss : float
        L^Q(φ, θ).
    gradient : ndarray, shape (d,), or float
        Its derivative by θ, or by the inner rate.
    """

    loss: Any
    gradient: Array


def counted(problem: Bilevel) -> tuple[Bilevel, Counter]:
    """The same problem, and how often each of its functions has been called since.

    Parameters
    ----------
    problem : Bilevel
        The two losses and their derivatives.

    Returns
    -------
    problem : Bilevel
        One whose functions count their calls.
    calls : collections.Counter
        The calls so far, by the function's name.

    Examples
    --------
    >>> phi, theta = sp.symbols("phi theta")
    >>> problem, calls = counted(Bilevel.of((phi - theta) ** 2, phi**2, [phi], [theta]))
    >>> _ = unrolled(problem, [1.0], [0.0], alpha=0.1, k=5)
    >>> calls["grad"], calls["hvp"], calls["cross"]
    (5, 5, 5)
    """
    calls: Counter = Counter()

    def counting(name, function):
        def call(*args):
            calls[name] += 1
            return function(*args)
        return call

    problem = _problem(problem)
    given = {f.name: getattr(problem, f.name) for f in fields(Bilevel)}
    return replace(problem, **{n: counting(n, function) for n, function in given.items() if function is not None}), calls


def ridge_penalties(x: ArrayLike, y: ArrayLike, x_query: ArrayLike, y_query: ArrayLike) -> Bilevel:
    """Linear regression with a penalty e^{θ_j} of its own for each feature; no bias.

    f = ‖Xφ − y‖²/(2n) + ½ Σ_j e^{θ_j} φ_j² on the examples to learn from, L^Q = ‖Xφ − y‖²/(2n) on the others.

    Parameters
    ----------
    x, y : array_like, shapes (n, p) and (n,)
        The examples to learn from.
    x_query, y_query : array_like, shapes (n_query, p) and (n_query,)
        The examples to be judged on.

    Returns
    -------
    Bilevel
        With d = p.

    Examples
    --------
    >>> problem = ridge_penalties([[1.0]], [2.0], [[1.0]], [0.5])
    >>> implicit_gradient(problem, [0.0], [1.0])                     # φ* = 2/(1 + e^θ), and (φ* − ½)²/2
    Hypergradient(loss=np.float64(0.125), gradient=array([-0.25]))
    """
    (x, y), (x_query, y_query) = _data(x, y, "x", "y"), _data(x_query, y_query, "x_query", "y_query", np.shape(x)[-1:])
    n, n_query = len(y), len(y_query)

    def outer(phi, theta):
        error = x_query @ phi - y_query
        return error @ error / (2 * n_query), x_query.T @ error / n_query, np.zeros_like(theta)

    return Bilevel(outer,
                   grad=lambda phi, theta: x.T @ (x @ phi - y) / n + np.exp(theta) * phi,
                   hvp=lambda phi, theta, v: x.T @ (x @ v) / n + np.exp(theta) * v,
                   cross=lambda phi, theta, v: np.exp(theta) * phi * v,
                   push=lambda phi, theta, u: np.exp(theta) * phi * u)


def example_weights(x: ArrayLike, y: ArrayLike, x_query: ArrayLike, y_query: ArrayLike, lam: float = 0.01) -> Bilevel:
    """Logistic regression with a weight w_i = 1/(1 + e^{−θ_i}) of its own for each example; no bias (Ren et al. 2018).

    f = (1/n) Σ_i w_i log(1 + e^{−y_i φ·x_i}) + λ/2 ‖φ‖²; L^Q is the mean of the same losses of the others, unweighted.

    Parameters
    ----------
    x, y : array_like, shapes (n, p) and (n,)
        The examples to learn from. Labels are −1 and 1.
    x_query, y_query : array_like, shapes (n_query, p) and (n_query,)
        The examples to be judged on.
    lam : float
        λ, positive.

    Returns
    -------
    Bilevel
        With d = n.
    """
    (x, y), (x_query, y_query) = _data(x, y, "x", "y"), _data(x_query, y_query, "x_query", "y_query", np.shape(x)[-1:])
    lam, n = scalar(lam, "lam"), len(y)
    for labels, name in ((y, "y"), (y_query, "y_query")):
        if not np.isin(labels, (-1, 1)).all():
            raise ValueError(f"{name} must hold the labels −1 and 1")
    signed, signed_query = x * y[:, None], x_query * y_query[:, None]
    wrong = lambda z: _sigmoid(-z)  # the slope of log(1 + e^{−z}) is minus this

    def outer(phi, theta):
        z = signed_query @ phi
        return np.logaddexp(0, -z).mean(), -signed_query.T @ wrong(z) / len(z), np.zeros_like(theta)

    def hvp(phi, theta, v):
        q = wrong(signed @ phi)
        return signed.T @ (_sigmoid(theta) * q * (1 - q) * (signed @ v)) / n + lam * v

    turn = lambda theta: _sigmoid(theta) * _sigmoid(-theta)  # dw/dθ
    return Bilevel(outer, hvp=hvp,
                   grad=lambda phi, theta: lam * phi - signed.T @ (_sigmoid(theta) * wrong(signed @ phi)) / n,
                   cross=lambda phi, theta, v: -turn(theta) * wrong(signed @ phi) * (signed @ v) / n,
                   push=lambda phi, theta, u: -signed.T @ (turn(theta) * wrong(signed @ phi) * u) / n)


def _sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))  # 1/(1 + e^{−z}), which no z overflows


def _data(x, y, name, name_y, width=None):
    """Inputs (n, p) and outputs (n,) that go together."""
    x, y = tensor(x, name), tensor(y, name_y)
    if x.ndim != 2 or x.size == 0 or (width is not None and x.shape[1:] != width):
        raise ValueError(f"{name} must have shape (n, {'p' if width is None else width[0]}) with n ≥ 1, got {x.shape}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"{name_y} must have shape {x.shape[:1]}, one number for each row of {name}, got {y.shape}")
    return x, y


@np.errstate(all="ignore")
def conjugate_gradients(times: Callable[[Array], Array], b: Array, n_steps: int, start: Array | None = None,
                        tol: float = 0.0) -> Array:
    """Solve times(x) = b for each vector along the last axis by conjugate gradients (Hestenes & Stiefel 1952).

    Parameters
    ----------
    times : callable
        x ↦ Ax, A symmetric and positive definite. A vector that meets a direction of negative curvature stays where it is.
    b : ndarray, shape (..., p)
        The right-hand sides.
    n_steps : int
        Number of steps at most; exact from p steps on, but for rounding.
    start : ndarray, optional
        Where to begin, which costs a product; 0 unless given.
    tol : float
        Stop where ‖b − Ax‖ ≤ tol.

    Returns
    -------
    ndarray, shape (..., p)
        Each x.

    Notes
    -----
    With κ = λ_max/λ_min of A and ‖e‖_A² = e·Ae the error of step r is at most 2 ((√κ − 1)/(√κ + 1))^r times that of step 0
    (Nocedal & Wright 2006, equation 5.36).

    Examples
    --------
    >>> A, b = np.diag([1.0, 2.0, 4.0]), np.ones(3)
    >>> conjugate_gradients(lambda x: x @ A, b, n_steps=3)
    array([1.  , 0.5 , 0.25])
    """
    b = real_array(b, "b")
    count(n_steps, "n_steps")
    x, r = (np.zeros_like(b), b) if start is None else (start, b - times(start))
    p, rr = r, (r * r).sum(axis=-1, keepdims=True)
    enough = np.maximum(np.finfo(b.dtype).eps ** 2 * (b * b).sum(axis=-1, keepdims=True), tol**2)
    for _ in range(n_steps):
        if not (rr > enough).any():
            break
        Ap = times(p)
        curvature = (p * Ap).sum(axis=-1, keepdims=True)
        # A vector that has converged, or has met a direction of negative curvature, stays where it is.
        going = (rr > enough) & (curvature > 0)
        step = np.where(going, rr / curvature, 0)
        x, r = x + step * p, np.where(going, r - step * Ap, 0)
        rr, before = (r * r).sum(axis=-1, keepdims=True), rr
        p = r + np.where(going, rr / before, 0) * p
    return x


@np.errstate(all="ignore")
def neumann(times: Callable[[Array], Array], b: Array, n_terms: int, alpha: float, start: Array | None = None) -> Array:
    """The first terms of A⁻¹b = α Σ_j (I − αA)^j b (Neumann's series; for hypergradients Lorraine et al. 2020).

    Parameters
    ----------
    times : callable
        x ↦ Ax.
    b : ndarray, shape (..., p)
        What A⁻¹ is applied to.
    n_terms : int
        Number of terms r. The first needs no product unless there is a `start`, each other one.
    alpha : float
        α, positive; the series converges if every eigenvalue of A lies between 0 and 2/α.
    start : ndarray, optional
        x_0 of x_{j+1} = x_j + α (b − Ax_j), which is the same sum from x_0 = 0 on.

    Returns
    -------
    ndarray, shape (..., p)
        The sum of the terms.

    Notes
    -----
    After r terms the error is (I − αA)^r times that of the start.

    Examples
    --------
    >>> neumann(lambda x: 0.5 * x, np.array([1.0]), n_terms=3, alpha=1.0)        # 1 + 1/2 + 1/4, of 2
    array([1.75])
    """
    b, alpha = real_array(b, "b"), scalar(alpha, "alpha")
    x = np.zeros_like(b) if start is None else start
    for j in range(count(n_terms, "n_terms")):
        x = alpha * b if j == 0 and start is None else x + alpha * (b - times(x))
    return x


def adjoint(problem: Bilevel, theta: ArrayLike, phi: ArrayLike, n_steps: int | None = None, alpha: float | None = None,
            start: Array | None = None, tol: float = 0.0) -> Array:
    """The solution v of Hv = ∂L^Q/∂φ at φ.

    Parameters
    ----------
    problem : Bilevel
        The two losses and their derivatives.
    theta : array_like, shape (d,)
        The outer parameters.
    phi : array_like, shape (p,)
        Where the derivatives are taken.
    n_steps : int, optional
        Steps of conjugate gradients, or terms of the Neumann series; see `implicit_gradient`.
    alpha : float, optional
        If given, the Neumann series with this α is taken.
    start : ndarray, shape (p,), optional
        Where the solver begins.
    tol : float
        Conjugate gradients stop where ‖Hv − ∂L^Q/∂φ‖ ≤ tol.

    Returns
    -------
    ndarray, shape (p,)
        The solution v.
    """
    problem, theta, phi = _problem(problem), _vector(theta, "theta"), _vector(phi, "phi")
    return _adjoint(problem, theta, phi, problem.outer(phi, theta)[1], n_steps, alpha, start, tol)


def _adjoint(problem, theta, phi, by_phi, n_steps, alpha, start, tol):
    times = lambda v: problem.hvp(phi, theta, v)
    n_steps = 2 * phi.size if n_steps is None else n_steps  # rounding makes a few more than p useful
    if alpha is None:
        return conjugate_gradients(times, by_phi, n_steps, start, tol)
    return neumann(times, by_phi, n_steps, alpha, start)


@np.errstate(all="ignore")
def implicit_gradient(problem: Bilevel, theta: ArrayLike, phi: ArrayLike, n_steps: int | None = None,
                      alpha: float | None = None, start: Array | None = None, tol: float = 0.0) -> Hypergradient:
    """The hypergradient ∂L^Q/∂θ − Bᵀv, Hv = ∂L^Q/∂φ, by the implicit function theorem (Bengio 2000; Lorraine et al. 2020).

    Parameters
    ----------
    problem : Bilevel
        The two losses and their derivatives.
    theta : array_like, shape (d,)
        The outer parameters.
    phi : array_like, shape (p,)
        Where the derivatives are taken: φ*(θ), or what an inner loop has reached. H must be positive definite there.
    n_steps : int, optional
        Steps of conjugate gradients; as many as it takes, unless given. With `alpha`, terms of the Neumann series.
    alpha : float, optional
        If given, the Neumann series with this α takes the place of conjugate gradients.
    start : ndarray, shape (p,), optional
        Where the solver begins: a warm start is the v of an earlier θ.
    tol : float
        Conjugate gradients stop where ‖Hv − ∂L^Q/∂φ‖ ≤ tol.

    Returns
    -------
    loss : float
        L^Q(φ, θ).
    gradient : ndarray, shape (d,)
        Its derivative by θ.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> a, c, phi, lam = sp.symbols("a c phi lambda")
    >>> ridge = Bilevel.of(2 * (phi - 3) ** 2 + lam * phi**2 / 2, phi**2 / 2, [phi], [lam])
    >>> implicit_gradient(ridge, [2.0], [2.0]).gradient                   # φ* = 12/(4 + λ), and −144/(4 + λ)³
    array([-0.66666667])
    """
    problem, theta, phi = _problem(problem), _vector(theta, "theta"), _vector(phi, "phi")
    loss, by_phi, by_theta = problem.outer(phi, theta)
    v = _adjoint(problem, theta, phi, by_phi, n_steps, alpha, start, tol)
    return Hypergradient(loss, by_theta - problem.cross(phi, theta, v))


def _problem(value):
    return instance(value, Bilevel, "problem", "a Bilevel")


def _vector(value, name):
    array = real_array(value, name)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a vector of one or more numbers, got shape {array.shape}")
    return array


@np.errstate(all="ignore")
def inner_descent(problem: Bilevel, theta: ArrayLike, start: ArrayLike, alpha: float, k: int) -> Array:
    """φ_0, ..., φ_k: k gradient steps of rate α on the inner loss.

    Parameters
    ----------
    problem : Bilevel
        The two losses and their derivatives.
    theta : array_like, shape (d,)
        The outer parameters.
    start : array_like, shape (p,)
        φ_0.
    alpha : float
        Inner rate, positive.
    k : int
        Number of steps.

    Returns
    -------
    ndarray, shape (k + 1, p)
        The path.

    Examples
    --------
    >>> phi, theta = sp.symbols("phi theta")
    >>> problem = Bilevel.of((phi - theta) ** 2 / 2, phi**2, [phi], [theta])
    >>> inner_descent(problem, [1.0], [0.0], alpha=0.5, k=3)[:, 0]
    array([0.   , 0.5  , 0.75 , 0.875])
    """
    problem, alpha = _problem(problem), scalar(alpha, "alpha")
    theta, start = _vector(theta, "theta"), _vector(start, "start")
    return np.stack(list(_walk(problem, theta, start, alpha, count(k, "k"))))


def _walk(problem, theta, phi, alpha, k):
    """φ_0, ..., φ_k one by one."""
    yield phi
    for _ in range(k):
        phi = phi - alpha * problem.grad(phi, theta)
        yield phi


@np.errstate(all="ignore")
def inner_minimum(problem: Bilevel, theta: ArrayLike, start: ArrayLike, tol: float = 1e-9, n_iters: int = 50) -> Array:
    """φ*(θ), where ‖∂f/∂φ‖ ≤ tol, by Newton steps whose linear systems conjugate gradients solve.

    A step that does not shorten the gradient is halved until it does (Nocedal & Wright 2006, section 7.1).

    Parameters
    ----------
    problem : Bilevel
        With an inner loss that is strongly convex.
    theta : array_like, shape (d,)
        The outer parameters.
    start : array_like, shape (p,)
        Where Newton's method begins.
    tol : float
        Positive.
    n_iters : int
        Largest number of Newton steps; what is reached after them is returned.

    Returns
    -------
    ndarray, shape (p,)
        The minimum φ*(θ).

    Examples
    --------
    >>> phi, theta = sp.symbols("phi theta")
    >>> problem = Bilevel.of(sp.exp(phi) - theta * phi, phi**2, [phi], [theta])           # φ* = log θ
    >>> inner_minimum(problem, [2.0], [0.0]).round(6)
    array([0.693147])
    """
    problem, tol = _problem(problem), scalar(tol, "tol")
    theta, phi = _vector(theta, "theta"), _vector(start, "start")
    slope = problem.grad(phi, theta)
    for _ in range(count(n_iters, "n_iters", 1)):
        size = np.linalg.norm(slope)
        if not size > tol:
            break
        move = conjugate_gradients(lambda v: problem.hvp(phi, theta, v), slope, 2 * phi.size, tol=tol / 2)
        for _ in range(30):
            slope = problem.grad(phi - move, theta)
            if np.linalg.norm(slope) < size:
                break
            move = move / 2
        else:
            return phi  # no step is short enough: rounding is all that is left
        phi = phi - move
    return phi


class OuterPath(NamedTuple):
    """What `bilevel_descent` went through: at every outer iteration θ, the outer loss, and the calls made so far.

    Attributes
    ----------
    theta : ndarray, shape (n_iters + 1, d)
        The outer parameters.
    loss : ndarray, shape (n_iters + 1,)
        L^Q(φ*(θ), θ).
    calls : ndarray, shape (n_iters + 1,)
        Gradients of the inner loss and Hessian-vector products together.
    """

    theta: Array
    loss: Array
    calls: Array


def bilevel_descent(problem: Bilevel, theta: ArrayLike, start: ArrayLike, eta: float, n_iters: int, rule: Rule | None = None,
                    warm: bool = True, tol: float = 1e-6) -> OuterPath:
    """Descend the outer loss by implicit gradients, φ* and v being found to a tolerance at each iteration (Pedregosa 2016).

    Parameters
    ----------
    problem : Bilevel
        The two losses and their derivatives.
    theta : array_like, shape (d,)
        Where the outer descent begins.
    start : array_like, shape (p,)
        Where the inner problem is begun.
    eta : float
        Outer learning rate.
    n_iters : int
        Number of outer iterations.
    rule : Rule, optional
        As of `metacalc.descent`; plain gradient steps unless given.
    warm : bool
        Begin with the φ* and v of the iteration before; else with `start` and 0.
    tol : float
        Length of the inner gradient, and of the residual of Hv = ∂L^Q/∂φ, that is small enough.

    Returns
    -------
    OuterPath
        Where it went: θ, the outer loss and the calls so far, at every iteration.

    Examples
    --------
    >>> phi, theta = sp.symbols("phi theta")
    >>> problem = Bilevel.of((phi - theta) ** 2, (phi - 3) ** 2 / 2, [phi], [theta])
    >>> bilevel_descent(problem, [0.0], [0.0], eta=0.5, n_iters=3).theta[:, 0].round(6)
    array([0.   , 1.5  , 2.25 , 2.625])
    """
    problem, calls = counted(problem)
    at, phi, eta = _vector(theta, "theta"), _vector(start, "start"), scalar(eta, "eta")
    rule = rule or sgd()
    memory, v, begin, path = rule.init(at), None, phi, []
    for t in range(count(n_iters, "n_iters") + 1):
        phi = inner_minimum(problem, at, phi if warm else begin, tol)
        loss, by_phi, by_theta = problem.outer(phi, at)
        path.append((at, loss, calls["grad"] + calls["hvp"]))
        if t < n_iters:
            v = _adjoint(problem, at, phi, by_phi, None, None, v if warm else None, tol)
            direction, memory = rule.update(by_theta - problem.cross(phi, at, v), memory, at)
            at = at - eta * direction
    return OuterPath(*map(np.array, zip(*path)))


@cache
def _split(n, snapshots):
    """Least number of forward steps to visit n points from the last to the first, and how far the first leap goes."""
    if n <= 1:
        return 0, 0
    if snapshots == 0:
        return n * (n - 1) // 2, 0
    return min((j + _split(n - j, snapshots - 1)[0] + _split(j, snapshots)[0], j) for j in range(1, n))


def checkpoint_steps(k: int, snapshots: int) -> int:
    """Number of inner steps that reverse mode computes forwards, if beside φ_0 it may keep so many iterates at a time.

    Parameters
    ----------
    k : int
        Number of inner steps; up to about 200 the search is quick.
    snapshots : int
        c. With c = k nothing is computed twice.

    Returns
    -------
    int
        The least possible number. With n = k + 1 points to visit and the least r such that C(c+r+1, r) ≥ n it is
        rn − C(c+r+1, r−1), C being the binomial coefficient (Griewank & Walther 2000).

    Examples
    --------
    >>> [checkpoint_steps(100, c) for c in (0, 1, 4, 12, 100)]
    [5050, 858, 320, 187, 100]
    """
    return _split(count(k, "k", 1) + 1, count(snapshots, "snapshots"))[0]


@np.errstate(all="ignore")
def unrolled(problem: Bilevel, theta: ArrayLike, start: ArrayLike, alpha: float, k: int, mode: str = "reverse",
             by: str = "theta", snapshots: int | None = None) -> Hypergradient:
    """The derivative of L^Q(φ_k, θ) through k gradient steps of rate α on the inner loss, by θ or by α.

    Along the path φ_{j+1} = φ_j − α ∂f/∂φ. Reverse mode goes back with v_k = ∂L^Q/∂φ and v_j = v_{j+1} − αHv_{j+1} and
    collects −αBᵀv (by α, −∂f/∂φ · v); forward mode takes dφ_j/dθ along, a vector for each entry of θ (Franceschi et al. 2017).

    Parameters
    ----------
    problem : Bilevel
        The two losses and their derivatives.
    theta : array_like, shape (d,)
        The outer parameters.
    start : array_like, shape (p,)
        φ_0, which does not depend on θ.
    alpha : float
        Inner rate, positive.
    k : int
        Number of inner steps, at least 1.
    mode : {"reverse", "forward"}
        Reverse needs k Hessian-vector products and the path; forward d for each step (one, by α), and no path.
    by : {"theta", "alpha"}
        What the derivative is taken by.
    snapshots : int, optional
        In reverse mode: keep at most so many iterates beside φ_0, and compute the others again from them, as seldom as
        possible (`checkpoint_steps`). All are kept unless given.

    Returns
    -------
    loss : float
        L^Q(φ_k, θ).
    gradient : ndarray, shape (d,), or a float by α
        Its derivative.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> phi, theta = sp.symbols("phi theta")
    >>> problem = Bilevel.of((phi - theta) ** 2 / 2, phi**2 / 2, [phi], [theta])
    >>> unrolled(problem, [1.0], [0.0], alpha=0.5, k=2)                    # φ_2 = 3θ/4
    Hypergradient(loss=np.float64(0.28125), gradient=array([0.5625]))
    >>> unrolled(problem, [1.0], [0.0], alpha=0.5, k=2, mode="forward", by="alpha").gradient
    np.float64(0.75)
    """
    problem, alpha = _problem(problem), scalar(alpha, "alpha")
    theta, start = _vector(theta, "theta"), _vector(start, "start")
    count(k, "k", 1)
    for value, name, known in ((mode, "mode", ("reverse", "forward")), (by, "by", ("theta", "alpha"))):
        if value not in known:
            raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {value!r}")
    if mode == "forward":
        if by == "theta" and problem.push is None:
            raise ValueError("problem must have push for forward mode by theta")
        return _forward(problem, theta, start, alpha, k, by)
    back = _Back(problem, theta, alpha, k, by)
    if snapshots is None:
        path = list(_walk(problem, theta, start, alpha, k))
        while path:
            back.visit(len(path) - 1, path.pop())
    else:
        back.through(0, k, start, count(snapshots, "snapshots"))
    return Hypergradient(back.loss, back.collected)


def _forward(problem, theta, phi, alpha, k, by):
    """Forward mode: Phi holds a tangent of φ for each direction."""
    directions = np.eye(theta.size)
    Phi = np.zeros((theta.size if by == "theta" else 1, phi.size))
    for _ in range(k):
        slope = problem.grad(phi, theta)
        turned = np.stack([problem.hvp(phi, theta, z) for z in Phi])
        if by == "theta":
            turned = turned + np.stack([problem.push(phi, theta, u) for u in directions])
        Phi = Phi - alpha * turned - (0 if by == "theta" else slope)
        phi = phi - alpha * slope
    loss, by_phi, by_theta = problem.outer(phi, theta)
    return Hypergradient(loss, Phi @ by_phi + by_theta if by == "theta" else (Phi @ by_phi)[0])


class _Back:
    """Reverse mode, which visits φ_k, ..., φ_0 and needs no two of them at a time."""

    def __init__(self, problem, theta, alpha, k, by):
        self.problem, self.theta, self.alpha, self.k, self.by = problem, theta, alpha, k, by
        self.loss: Any = np.nan
        self.collected: Any = np.float64(0.0)

    def visit(self, j, phi):
        if j == self.k:
            self.loss, self.v, by_theta = self.problem.outer(phi, self.theta)
            self.collected = by_theta if self.by == "theta" else self.collected
        else:
            if self.by == "theta":
                self.collected = self.collected - self.alpha * self.problem.cross(phi, self.theta, self.v)
            else:
                self.collected = self.collected + (self.after - phi) @ self.v / self.alpha
            self.v = self.v - self.alpha * self.problem.hvp(phi, self.theta, self.v)
        self.after = phi

    def through(self, first, last, phi, snapshots):
        """Visit φ_last, ..., φ_first, of which the last is given by the steps from φ_first = `phi` on."""
        if snapshots == 0:
            for j in range(last, first - 1, -1):
                self.visit(j, self.after_steps(phi, j - first))
        elif first == last:
            self.visit(first, phi)
        else:
            leap = _split(last - first + 1, snapshots)[1]
            self.through(first + leap, last, self.after_steps(phi, leap), snapshots - 1)
            self.through(first, first + leap - 1, phi, snapshots)

    def after_steps(self, phi, n):
        return deque(_walk(self.problem, self.theta, phi, self.alpha, n), maxlen=1).pop()
