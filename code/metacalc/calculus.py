"""Expressions into gradients, Hessians and update steps, and all of these into NumPy functions.

SymPy derives; `sympy.lambdify` turns the very expression that a chapter shows into the function that its loop runs.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import count, real_array, scalar
from metacalc.formulas import sympified
from metacalc.numeric import compiled, elementwise, real_part, repaired
from metacalc.smoothness import JUMPS, PROBES, Kinks, differentiated, examined, prepared

__all__ = ["Objective", "finite_difference", "step"]


class Objective:
    """A differentiable real function of one or more real variables.

    Parameters
    ----------
    expr : sympy.Expr or number
        The function f. Its free symbols must all be among `variables`.
    variables : sympy.Symbol or sequence of sympy.Symbol
        One symbol: f is a function of a number, and the NumPy functions act elementwise on arrays of any shape.
        A sequence of d symbols: f is a function of a vector, the last axis of an array (length d); all other axes
        are a batch.

    Attributes
    ----------
    expr : sympy.Expr
    variables : sympy.Symbol or tuple of sympy.Symbol
    gradient : sympy.Expr, or sympy.Matrix of shape (d, 1)
    hessian : sympy.Expr, or sympy.Matrix of shape (d, d)
    undecided : tuple of sympy.Expr
        What could not be decided about kinks: expressions some of whose zeros may be one, and functions that nothing is
        known of. Empty for most.

    Raises
    ------
    ValueError
        If `variables` are not distinct symbols; if `expr` is no single expression, has an unknown symbol, is
        complex-valued or has a number that floating point cannot hold; or if it has a kink or a jump: a point in the
        interior of its domain where its value or its gradient has two different finite limits, or its gradient an
        infinite one. Those are found wherever SymPy can locate what may be one, the zeros of an argument of Abs, of a
        difference in Max, of a branch's border, of the base of a root and so on (`metacalc.smoothness`), in one variable;
        in several, along lines across them and at isolated points of polynomial ones. What it cannot locate is searched
        for by changes of sign, and named in `undecided`. Where the limits agree and the formula itself is 0/0, they are the
        value, the gradient and the Hessian there.

    Notes
    -----
    The NumPy functions are those of the expressions, rewritten so that sums of exponentials and of squares do not overflow
    (`metacalc.numeric`).

    Examples
    --------
    >>> theta = sp.Symbol("theta")
    >>> f = Objective(theta**2, theta)
    >>> f.gradient
    2*theta
    >>> f.grad(10.0)
    20.0
    >>> f.grad([1, -2, 3])
    array([ 2., -4.,  6.])

    >>> x, y = sp.symbols("x y")
    >>> bowl = Objective(x**2 + 3 * y**2, (x, y))
    >>> bowl.gradient.T
    Matrix([[2*x, 6*y]])
    >>> bowl.grad([[1.0, 1.0], [0.0, 2.0]])
    array([[ 2.,  6.],
           [ 0., 12.]])
    """

    def __init__(self, expr: Any, variables: sp.Symbol | Sequence[sp.Symbol]) -> None:
        self.variables = _checked_variables(variables)
        self._symbols = self.variables if self.is_vector else (self.variables,)
        self.expr = _checked_expression(expr, self._symbols)
        # Real stand-ins: for a symbol that may be complex SymPy differentiates |x| into parts that no loop can run.
        self._real = tuple(sp.Dummy(s.name, real=True) for s in self._symbols)
        given = self.expr.subs(dict(zip(self._symbols, self._real)))
        self._prepared, self._partials, found = _checked_smooth(given, self.expr, self._real, self._symbols)
        self.undecided = tuple(self._named(e) for e in found.undecided)
        self._removable = found.removable
        partials = [self._named(p) for p in self._partials]
        self.gradient = sp.Matrix(partials) if self.is_vector else partials[0]
        self._functions: dict[str, Any] = {}

    def _named(self, expr: Any) -> Any:
        """An expression in the stand-ins, in the variables."""
        return expr.subs(dict(zip(self._real, self._symbols)))

    def __repr__(self):
        return f"Objective({self.expr}, {self.variables})"

    def _repr_latex_(self):
        return f"$\\displaystyle {sp.latex(self.expr)}$"

    @property
    def is_vector(self) -> bool:
        """True if f is a function of a vector, False if of a number."""
        return isinstance(self.variables, tuple)

    @cached_property
    def _second(self) -> list[list[sp.Expr]]:
        """The rows of the Hessian in the stand-ins."""
        return [differentiated(partial, self._real) for partial in self._partials]

    @cached_property
    def hessian(self) -> Any:
        """The second derivatives, as SymPy has them."""
        rows = [[self._named(e) for e in row] for row in self._second]
        return sp.Matrix(rows) if self.is_vector else rows[0][0]

    def _made(self, rank: int) -> Any:
        """The NumPy function of a number; or that of a vector, and what repairs its values."""
        entries = [self._prepared] if rank == 0 else self._partials if rank == 1 else sum(self._second, [])
        if self.is_vector:
            return compiled(entries, self._real), repaired(entries, self._real)
        return elementwise(entries[0], self._real[0], self._removable)

    def _evaluate(self, name: str, theta: ArrayLike, rank: int) -> Any:
        """Value at `theta` of f (rank 0), its gradient (1) or its Hessian (2)."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = self._made(rank)
        if not self.is_vector:
            return function(theta)
        function, repair = function
        theta = real_array(theta, "theta")
        d = len(self._symbols)
        if theta.ndim == 0 or theta.shape[-1] != d:
            raise ValueError(f"theta must have a last axis of length {d}, one entry for each of {self.variables}; "
                             f"got shape {theta.shape}")
        batch = theta.shape[:-1]
        table = np.empty((*batch, d**rank), theta.dtype)
        with np.errstate(all="ignore"):
            for i, entry in enumerate(function(*(np.moveaxis(theta, -1, 0) if batch else theta))):
                table[..., i] = real_part(entry)
        missing = np.isnan(table)
        if missing.any():
            odd = missing.any(axis=-1) & np.isfinite(theta).all(axis=-1)  # no number, at a point that is one
            table[odd] = repair(theta[odd], table[odd])
        return table.reshape(batch + (d,) * rank) if rank else table[..., 0][()]

    def __call__(self, theta: ArrayLike) -> Any:
        """Value f(theta): shape of `theta`, without its last axis if `variables` is a sequence."""
        return self._evaluate("value", theta, 0)

    def grad(self, theta: ArrayLike) -> Any:
        """Gradient at `theta`, in the shape of `theta`."""
        return self._evaluate("grad", theta, 1)

    def hess(self, theta: ArrayLike) -> Any:
        """Second derivative at `theta`: the shape of `theta`, with its last axis twice if `variables` is a sequence."""
        return self._evaluate("hess", theta, 2)


def step(objective: Objective, eta: Any, k: int = 1) -> Any:
    """Gradient-descent update θ ↦ θ − η∇f(θ), applied `k` times, as an expression in the starting point.

    Parameters
    ----------
    objective : Objective
        What is descended.
    eta : sympy.Expr or number
        Learning rate; a positive number, or an expression whose symbols are none of the objective's variables.
    k : int
        Number of updates, at least 0.

    Returns
    -------
    sympy.Expr, or sympy.Matrix of shape (d, 1)
        Where the updates lead, in the objective's variables and the symbols of `eta`.

    Raises
    ------
    ValueError
        If `objective` is no Objective, `eta` is a number that is not positive and finite or depends on the variables, or `k` is
        no integer ≥ 0.

    Examples
    --------
    >>> theta, eta = sp.symbols("theta eta")
    >>> sp.factor(step(Objective(theta**2, theta), eta, k=3))
    -theta*(2*eta - 1)**3
    """
    if not isinstance(objective, Objective):
        raise ValueError(f"objective must be an Objective, got {objective!r}")
    try:
        eta = sympified(eta)
    except ValueError:
        eta = None
    if not isinstance(eta, sp.Expr):
        raise ValueError("eta must be a number or a SymPy expression")
    if eta.free_symbols & set(objective._symbols):
        raise ValueError(f"eta must not depend on the variables {objective.variables}, got {eta}")
    if not (eta.free_symbols or (eta.is_finite and eta.is_positive)):
        raise ValueError(f"eta must be positive and finite, got {eta}")
    theta = sp.Matrix(objective._symbols) if objective.is_vector else objective.variables
    for _ in range(count(k, "k")):
        here = list(zip(objective._symbols, theta if objective.is_vector else [theta]))
        theta = theta - eta * objective.gradient.subs(here, simultaneous=True)
    return theta


def finite_difference(f: Callable[[Any], Any], theta: ArrayLike, h: float = 1e-6) -> Array:
    """Gradient by central differences, one coordinate at a time: the oracle that knows no formula.

    Parameters
    ----------
    f : callable
        Function of an array whose last axis has length d; it returns a number for each batch entry.
    theta : array_like, shape (..., d)
        Where the gradient is wanted.
    h : float
        Step, positive. The error is of order h² from the Taylor remainder plus 1e-16 abs(f)/h from rounding.

    Returns
    -------
    ndarray, shape (..., d)
        The gradient, but for the error of `h`.

    Examples
    --------
    >>> finite_difference(lambda t: (t**2).sum(axis=-1), [1.0, 3.0]).round(6)
    array([2., 6.])
    """
    theta = real_array(theta, "theta")
    if theta.ndim == 0 or theta.shape[-1] == 0:
        raise ValueError(f"theta must have a last axis of one or more numbers, got shape {theta.shape}")
    if not callable(f):
        raise ValueError(f"f must be a function, got {f!r}")
    shifts = scalar(h, "h") * np.eye(theta.shape[-1])
    return np.stack([(f(theta + s) - f(theta - s)) / (2 * h) for s in shifts], axis=-1)


def _checked_variables(variables: Any) -> Any:
    if isinstance(variables, sp.Symbol):
        return variables
    if not isinstance(variables, (Sequence, sp.MatrixBase, sp.Tuple)) or isinstance(variables, str):
        raise ValueError(f"variables must be a symbol or a sequence of symbols, got {variables!r}")
    variables = tuple(variables)
    others = [v for v in variables if not isinstance(v, sp.Symbol)]
    if others:
        raise ValueError(f"variables must be Symbols, such as sympy.symbols makes; {others[0]!r} is none, but a "
                         f"{type(others[0]).__name__}")
    if not variables or len({v.name for v in variables}) < len(variables):
        raise ValueError(f"variables must be one or more symbols with distinct names, got {variables!r}")
    return variables


def _checked_expression(expr: Any, symbols: tuple[sp.Symbol, ...]) -> Any:
    """`expr` as a SymPy expression in these symbols that is finite and real."""
    try:
        expr = sympified(expr)
    except ValueError:
        raise ValueError(f"expr must be a SymPy expression, got {expr!r}") from None
    if not isinstance(expr, sp.Expr) or isinstance(expr, (sp.MatrixBase, sp.MatrixExpr, sp.Lambda)):
        raise ValueError(f"expr must be a single SymPy expression, got {expr!r}")
    if expr.has(sp.Order):
        raise ValueError(f"expr must be without a term O(...); take {expr}.removeO()")
    unknown = expr.free_symbols - set(symbols)
    if unknown:
        twins = {s.name for s in symbols} & {s.name for s in unknown}
        if twins:
            raise ValueError(f"expr has the unknown symbols {sorted(twins)}: those of the variables are spelt alike, and are "
                             "others, made with other assumptions such as real=True; make each symbol once")
        raise ValueError(f"expr has the unknown symbols {sorted(map(str, unknown))}; variables are {symbols}")
    if expr.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise ValueError(f"expr must be finite, got {expr}")
    return expr


def _checked_smooth(given: Any, expr: Any, real: tuple[sp.Symbol, ...], symbols: tuple[sp.Symbol, ...]
                    ) -> tuple[sp.Expr, list[sp.Expr], Kinks]:
    """What is to be computed for an expression in real stand-ins, its partial derivatives, and what is known of its kinks."""
    try:
        smooth = prepared(given)
    except (NotImplementedError, ValueError, TypeError) as error:
        raise ValueError(f"expr must be one that SymPy can work out, got {expr}: {error}") from error
    if not any(_is_real_at(smooth, real, probe) for probe in PROBES + (11, -11, 47, -47)):
        raise ValueError(f"expr must be real-valued; {expr} is complex-valued wherever it was tried")
    jumps = [f for f in smooth.atoms(*JUMPS) if f.free_symbols] if smooth.has(*JUMPS) else []
    partials = differentiated(smooth, real)
    if jumps or any(p.has(sp.Derivative, sp.Subs, sp.I) for p in partials):
        raise ValueError(f"expr must be differentiable, and {expr} is not, or SymPy does not know its derivative")
    if smooth.has(sp.Integral):
        raise ValueError(f"expr must have no integral that SymPy cannot work out, got {expr}")
    found = examined(given, smooth, partials, real, symbols)
    if found.kink is not None:
        where = found.kink.subs(dict(zip(real, symbols)))
        raise ValueError(f"expr must be differentiable; {expr} has a kink or a jump where {where} = 0")
    return smooth, partials, found


def _is_real_at(expr: Any, symbols: tuple[sp.Symbol, ...], probe: Any) -> bool:
    """False only where the value has an imaginary part; a pole decides nothing."""
    value = expr.subs({s: float(probe) * (1 + 0.13 * i) for i, s in enumerate(symbols)}).evalf()
    return not value.is_finite or abs(sp.im(value)) <= 1e-12 * (1 + abs(value))
