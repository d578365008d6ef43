"""Expressions into gradients, Hessians and update steps, and all of these into NumPy functions.

SymPy derives; `sympy.lambdify` turns the very expression that a chapter shows into the function that its loop runs.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations

import numpy as np
import scipy  # its parts load when they are first used
import sympy as sp
from sympy.core.relational import Relational

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
        self.expr = _checked_expression(expr, self._symbols)
        partials = _checked_gradient(self.expr, self._symbols)
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
            return _partial_derivatives(self.gradient, self._symbols)[0]
        return sp.Matrix([_partial_derivatives(g, self._symbols) for g in self.gradient])

    def _evaluate(self, name, theta, expression, rank):
        """Value at `theta` of an expression with `rank` axes (0 for f, 1 for its gradient, 2 for its Hessian)."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = (
                _compiled(list(expression) if rank else [expression], self._symbols) if self.is_vector
                else _elementwise(expression, self.variables))
        if not self.is_vector:
            return function(theta)
        theta = _float_array(theta, "theta")
        d = len(self._symbols)
        if theta.ndim == 0 or theta.shape[-1] != d:
            raise ValueError(f"theta must have a last axis of length {d}, one entry for each of {self.variables}; "
                             f"got shape {theta.shape}")
        with np.errstate(all="ignore"):
            entries = function(*np.moveaxis(theta, -1, 0))
        batch = theta.shape[:-1]
        entries = [np.broadcast_to(np.asarray(_real(e), theta.dtype), batch) for e in entries]
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
        eta = sp.sympify(eta)
    except sp.SympifyError:
        eta = None
    if not isinstance(eta, sp.Expr):
        raise ValueError("eta must be a number or a SymPy expression")
    if eta.free_symbols & set(objective._symbols):
        raise ValueError(f"eta must not depend on the variables {objective.variables}, got {eta}")
    if not (eta.free_symbols or (eta.is_finite and eta.is_positive)):
        raise ValueError(f"eta must be positive and finite, got {eta}")
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 0:
        raise ValueError(f"k must be an integer of at least 0, got {k!r}")
    theta = sp.Matrix(objective._symbols) if objective.is_vector else objective.variables
    for _ in range(k):
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
    theta = _float_array(theta, "theta")
    if theta.ndim == 0:
        raise ValueError("theta must have at least one axis, got a number")
    if not (isinstance(h, (int, float)) and np.isfinite(h) and h > 0):
        raise ValueError(f"h must be positive and finite, got {h!r}")
    shifts = h * np.eye(theta.shape[-1])
    return np.stack([(f(theta + s) - f(theta - s)) / (2 * h) for s in shifts], axis=-1)


def _float_array(value, name):
    """`value` as an array of floats; floats keep their precision."""
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        return array.astype(float)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} must hold real numbers, got {value!r}")
    return array


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


def _checked_expression(expr, symbols):
    try:
        expr = sp.sympify(expr, strict=True)
    except sp.SympifyError:
        raise ValueError(f"expr must be a SymPy expression, got {expr!r}") from None
    if not isinstance(expr, sp.Expr) or isinstance(expr, (sp.MatrixBase, sp.MatrixExpr)):
        raise ValueError(f"expr must be a single SymPy expression, got {expr!r}")
    unknown = expr.free_symbols - set(symbols)
    if unknown:
        raise ValueError(f"expr has the unknown symbols {sorted(map(str, unknown))}; variables are {symbols}")
    if expr.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise ValueError(f"expr must be finite, got {expr}")
    if not any(_is_real_at(expr, symbols, point) for point in _probes(symbols)):
        raise ValueError(f"expr must be real-valued; {expr} is complex-valued wherever it was tried")
    return expr


def _probes(symbols):
    """A few unremarkable points, of both signs and many sizes."""
    for size in (0.7, -0.7, 2.3, -2.3, 0.05, 11.3, -11.3, 47.0, -47.0, 530.0, -530.0):
        yield [(s, size * (1 + 0.13 * i)) for i, s in enumerate(symbols)]


def _is_real_at(expr, symbols, point):
    """False only where the value has an imaginary part; a pole decides nothing."""
    value = expr.subs(point).evalf()
    return not value.is_finite or abs(sp.im(value)) <= 1e-12 * (1 + abs(value))


def _partial_derivatives(expr, symbols):
    # Real stand-ins: for a symbol that may be complex SymPy differentiates |x| into parts that no loop can run.
    stand_in = {s: sp.Dummy(s.name, real=True) for s in symbols}
    real_expr = expr.subs(stand_in, simultaneous=True)
    back = {v: s for s, v in stand_in.items()}
    # What is differentiated is continuous (`_checked_gradient`), so that a delta only ever comes with the factor 0.
    return [sp.diff(real_expr, v).replace(sp.DiracDelta, lambda *_: sp.S.Zero).subs(back, simultaneous=True)
            for v in back]


def _checked_gradient(expr, symbols):
    jumps = [f for f in expr.atoms(sp.sign, sp.Heaviside, sp.floor, sp.ceiling, sp.frac, sp.arg, sp.DiracDelta)
             if f.free_symbols]
    partials = _partial_derivatives(expr, symbols)
    if jumps or any(p.has(sp.Derivative, sp.Subs, sp.I) for p in partials):
        raise ValueError(f"expr must be differentiable, and {expr} is not, or SymPy does not know its derivative")
    kink = _kink(expr, partials, symbols)
    if kink is not None:
        raise ValueError(f"expr must be differentiable; {expr} has a kink or a jump where {kink} = 0")
    return partials


def _switches(expr):
    """Expressions that vanish where `expr` changes from one formula to another."""
    for f in expr.atoms(sp.Abs, sp.atan2):
        yield f.args[0]
    for f in expr.atoms(sp.Max, sp.Min):
        yield from (a - b for a, b in combinations(f.args, 2))
    for relation in expr.atoms(Relational):
        yield relation.lhs - relation.rhs


def _kink(expr, partials, symbols):
    """The switch of `expr` across which its value or gradient jumps, or None."""
    real = {s: sp.Dummy(s.name, real=True) for s in symbols}  # √x² is |x| for a real x only
    switches = [u for u in _switches(expr.subs(real, simultaneous=True)) if u.free_symbols]
    if not switches:
        return None
    both = _compiled([expr, *partials], symbols)
    for u in switches:
        for v in u.free_symbols:
            for probe in _probes(list(real.values())):
                point = dict(probe)
                along = u.subs({s: x for s, x in point.items() if s != v})
                for root in _sign_changes(along, v):
                    if _jumps(lambda x: both(*({**point, v: x}[real[s]] for s in symbols)), root):
                        return u.subs({d: s for s, d in real.items()})
    return None


def _sign_changes(expr, symbol):
    """Where an expression in one symbol changes its sign, between −20 and 20."""
    try:
        f = sp.lambdify(symbol, expr, "numpy")
        with np.errstate(all="ignore"):
            grid = np.linspace(-20.003, 20, 2001)
            values = np.broadcast_to(np.asarray(f(grid), float), grid.shape)
            brackets = np.flatnonzero(values[:-1] * values[1:] < 0)
            return [scipy.optimize.brentq(f, grid[i], grid[i + 1], xtol=1e-14) for i in brackets[:8]]
    except (NameError, TypeError, ValueError):
        return []


def _jumps(function, root):
    """Whether a list of values changes across `root` by an amount that does not shrink with the distance."""
    with np.errstate(all="ignore"):
        gaps = [np.abs(np.array(function(np.float64(root + h)), float) - np.array(function(np.float64(root - h)), float))
                for h in (1e-5, 1e-7)]
        size = np.abs(np.array(function(np.float64(root + 1e-5)), float))
    return bool(np.any((gaps[1] > 0.5 * gaps[0]) & (gaps[1] > 1e-8 * size)))


def _compiled(entries, symbols):
    """NumPy function of one argument a symbol that returns the list of the entries' values."""
    for modules in ("numpy", ["scipy", "numpy"]):  # SciPy, slower to load, only for functions that NumPy has not
        try:
            function = sp.lambdify(symbols, entries, modules=modules, cse=True)
            with np.errstate(all="ignore"):
                function(*(np.full(2, 0.7) for _ in symbols))  # `math`'s functions would pass with a number
            return function
        except (NameError, TypeError, NotImplementedError):
            continue
    raise ValueError(f"expr has a function with no numerical counterpart: {entries}")


def _elementwise(expr, symbol):
    """NumPy function of a number, elementwise on arrays and fast for plain floats."""
    function = _compiled([expr], [symbol])
    try:
        on_floats = sp.lambdify([symbol], expr, modules="math", cse=True)
    except NotImplementedError:
        on_floats = None  # calling it is a TypeError, which is handled like others

    def elementwise(theta):
        if type(theta) is float:
            try:
                return float(on_floats(theta))  # ten times faster than an array of one element
            except (ArithmeticError, NameError, TypeError, ValueError):
                pass  # where Python raises, IEEE arithmetic below goes on with inf or nan
        theta = _float_array(theta, "theta")
        with np.errstate(all="ignore"):
            value = np.asarray(_real(function(theta)[0]), theta.dtype)
        return np.broadcast_to(value, theta.shape).copy()[()] if value.shape != theta.shape else value[()]

    return elementwise


def _real(value):
    """NaN where a value is complex, as NumPy's own square root of −1 has it."""
    return np.where(np.imag(value) == 0, np.real(value), np.nan) if np.iscomplexobj(value) else value
