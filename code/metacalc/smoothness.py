"""What `Objective` asks of an expression: that it is real, that it is smooth, and that NumPy can work it out."""

from itertools import combinations

import numpy as np
import sympy as sp
from sympy.core.relational import Relational

from metacalc.checks import real_array
from metacalc.extras import extra

__all__ = ["checked_expression", "compiled", "differentiated", "elementwise", "partial_derivatives", "real_part"]


def checked_expression(expr, symbols):
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


def partial_derivatives(expr, symbols):
    # Real stand-ins: for a symbol that may be complex SymPy differentiates |x| into parts that no loop can run.
    stand_in = {s: sp.Dummy(s.name, real=True) for s in symbols}
    real_expr = expr.subs(stand_in, simultaneous=True)
    back = {v: s for s, v in stand_in.items()}
    # What is differentiated is continuous (`_checked_gradient`), so that a delta only ever comes with the factor 0.
    return [sp.diff(real_expr, v).replace(sp.DiracDelta, lambda *_: sp.S.Zero).subs(back, simultaneous=True)
            for v in back]


def differentiated(expr, symbols):
    jumps = [f for f in expr.atoms(sp.sign, sp.Heaviside, sp.floor, sp.ceiling, sp.frac, sp.arg, sp.DiracDelta)
             if f.free_symbols]
    partials = partial_derivatives(expr, symbols)
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
    both = compiled([expr, *partials], symbols)
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
            return [_root(f, grid[i], grid[i + 1]) for i in brackets[:8]]
    except (NameError, TypeError, ValueError):
        return []


def _root(f, low, high):
    """Where f changes its sign between `low` and `high`, by bisection."""
    below = f(low) < 0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (f(middle) < 0) == below else (low, middle)
    return high


def _jumps(function, root):
    """Whether a list of values changes across `root` by an amount that does not shrink with the distance."""
    with np.errstate(all="ignore"):
        gaps = [np.abs(np.array(function(np.float64(root + h)), float) - np.array(function(np.float64(root - h)), float))
                for h in (1e-5, 1e-7)]
        size = np.abs(np.array(function(np.float64(root + 1e-5)), float))
    return bool(np.any((gaps[1] > 0.5 * gaps[0]) & (gaps[1] > 1e-8 * size)))


def compiled(entries, symbols):
    """NumPy function of one argument a symbol that returns the list of the entries' values."""
    for modules in ("numpy", ["scipy", "numpy"]):  # SciPy, slower to load, only for functions that NumPy has not
        try:
            if modules != "numpy":
                with extra("special"):
                    import scipy.special  # noqa: F401  (what lambdify imports)
            function = sp.lambdify(symbols, entries, modules=modules, cse=True)
            with np.errstate(all="ignore"):
                function(*(np.full(2, 0.7) for _ in symbols))  # `math`'s functions would pass with a number
            return function
        except (NameError, TypeError, NotImplementedError):
            continue
    raise ValueError(f"expr has a function with no numerical counterpart: {entries}")


def elementwise(expr, symbol):
    """NumPy function of a number, elementwise on arrays and fast for plain floats."""
    function = compiled([expr], [symbol])
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
        theta = real_array(theta, "theta")
        with np.errstate(all="ignore"):
            value = np.asarray(real_part(function(theta)[0]), theta.dtype)
        return np.broadcast_to(value, theta.shape).copy()[()] if value.shape != theta.shape else value[()]

    return elementwise


def real_part(value):
    """NaN where a value is complex, as NumPy's own square root of −1 has it."""
    return np.where(np.imag(value) == 0, np.real(value), np.nan) if np.iscomplexobj(value) else value
