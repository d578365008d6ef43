"""Expressions into gradients, Hessians and update steps, and all of these into NumPy functions.

SymPy derives; `sympy.lambdify` turns the very expression that a chapter shows into the function that its loop runs.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import sympy as sp

from metacalc.checks import count, real_array, scalar
from metacalc.smoothness import (
    checked_expression,
    compiled,
    differentiated,
    elementwise,
    partial_derivatives,
    real_part,
)

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

    Raises
    ------
    ValueError
        If `variables` are not distinct symbols, if `expr` is no single expression, has an unknown symbol, is
        complex-valued, or is not differentiable everywhere in its domain.

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

    def __init__(self, expr, variables):
        self.variables = _checked_variables(variables)
        self._symbols = self.variables if self.is_vector else (self.variables,)
        self.expr = checked_expression(expr, self._symbols)
        partials = differentiated(self.expr, self._symbols)
        self.gradient = sp.Matrix(partials) if self.is_vector else partials[0]
        self._functions = {}

    def __repr__(self):
        return f"Objective({self.expr}, {self.variables})"

    def _repr_latex_(self):
        return f"$\\displaystyle {sp.latex(self.expr)}$"

    @property
    def is_vector(self):
        """True if f is a function of a vector, False if of a number."""
        return isinstance(self.variables, tuple)

    @cached_property
    def hessian(self):
        if not self.is_vector:
            return partial_derivatives(self.gradient, self._symbols)[0]
        return sp.Matrix([partial_derivatives(g, self._symbols) for g in self.gradient])

    def _evaluate(self, name, theta, expression, rank):
        """Value at `theta` of an expression with `rank` axes (0 for f, 1 for its gradient, 2 for its Hessian)."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = (
                compiled(list(expression) if rank else [expression], self._symbols) if self.is_vector
                else elementwise(expression, self.variables))
        if not self.is_vector:
            return function(theta)
        theta = real_array(theta, "theta")
        d = len(self._symbols)
        if theta.ndim == 0 or theta.shape[-1] != d:
            raise ValueError(f"theta must have a last axis of length {d}, one entry for each of {self.variables}; "
                             f"got shape {theta.shape}")
        with np.errstate(all="ignore"):
            entries = function(*np.moveaxis(theta, -1, 0))
        batch = theta.shape[:-1]
        entries = [np.broadcast_to(np.asarray(real_part(e), theta.dtype), batch) for e in entries]
        return np.stack(entries, axis=-1).reshape(batch + (d,) * rank) if rank else entries[0][()]

    def __call__(self, theta):
        """Value f(theta): shape of `theta`, without its last axis if `variables` is a sequence."""
        return self._evaluate("value", theta, self.expr, 0)

    def grad(self, theta):
        """Gradient at `theta`, in the shape of `theta`."""
        return self._evaluate("grad", theta, self.gradient, 1)

    def hess(self, theta):
        """Second derivative at `theta`: the shape of `theta`, with its last axis twice if `variables` is a sequence."""
        return self._evaluate("hess", theta, self.hessian, 2)


def step(objective, eta, k=1):
    """Gradient-descent update θ ↦ θ − η∇f(θ), applied `k` times, as an expression in the starting point.

    Parameters
    ----------
    objective : Objective
    eta : sympy.Expr or number
        Learning rate; a positive number, or an expression whose symbols are none of the objective's variables.
    k : int
        Number of updates, at least 0.

    Returns
    -------
    sympy.Expr, or sympy.Matrix of shape (d, 1)

    Raises
    ------
    ValueError
        If `objective` is no Objective, `eta` is a number that is not positive and finite or depends on the variables, or `k` is no integer ≥ 0.

    Examples
    --------
    >>> theta, eta = sp.symbols("theta eta")
    >>> sp.factor(step(Objective(theta**2, theta), eta, k=3))
    -theta*(2*eta - 1)**3
    """
    if not isinstance(objective, Objective):
        raise ValueError(f"objective must be an Objective, got {objective!r}")
    try:
        eta = sp.sympify(eta, strict=True)  # text is not evaluated
    except sp.SympifyError:
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


def finite_difference(f, theta, h=1e-6):
    """Gradient by central differences, one coordinate at a time: the oracle that knows no formula.

    Parameters
    ----------
    f : callable
        Function of an array whose last axis has length d; it returns a number for each batch entry.
    theta : array_like, shape (..., d)
    h : float
        Step, positive. The error is of order h² from the Taylor remainder plus 1e-16 |f|/h from rounding.

    Returns
    -------
    ndarray, shape (..., d)

    Examples
    --------
    >>> finite_difference(lambda t: (t**2).sum(axis=-1), [1.0, 3.0]).round(6)
    array([2., 6.])
    """
    theta = real_array(theta, "theta")
    if theta.ndim == 0:
        raise ValueError("theta must have at least one axis, got a number")
    shifts = scalar(h, "h") * np.eye(theta.shape[-1])
    return np.stack([(f(theta + s) - f(theta - s)) / (2 * h) for s in shifts], axis=-1)


def _checked_variables(variables):
    if isinstance(variables, sp.Symbol):
        return variables
    if not isinstance(variables, (Sequence, sp.MatrixBase, sp.Tuple)):
        raise ValueError(f"variables must be a symbol or a sequence of symbols, got {variables!r}")
    variables = tuple(variables)
    if (not variables or not all(isinstance(v, sp.Symbol) for v in variables)
            or len({v.name for v in variables}) < len(variables)):
        raise ValueError(f"variables must be one or more symbols with distinct names, got {variables!r}")
    return variables
