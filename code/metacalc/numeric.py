"""Expressions into NumPy functions that are right where the formula, taken literally, overflows or is 0/0.

Before an expression is compiled, sums of exponentials, squares and hyperbolic functions are rewritten (`robust`), by
SymPy's own `logaddexp` and `hypot`. Where a value is not a number all the same, it is worked out with 60 digits.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from math import exp, log1p
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from sympy.codegen.cfunctions import hypot
from sympy.codegen.numpy_nodes import logaddexp

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import real_array
from metacalc.extras import extra

__all__ = ["compiled", "elementwise", "real_part", "repaired", "robust"]

LARGEST = sp.Float("1.79e308", 20)
LOG2 = math.log(2)
NEAR = 0.1  # how close to a removable singularity the formula has lost its digits
MOST = 2000  # values that are repaired in one call


def robust(expr: sp.Expr) -> sp.Expr:
    """An equal expression that neither overflows nor cancels where the textbook's form does.

    Examples
    --------
    >>> x, y = sp.symbols("x y", real=True)
    >>> robust(sp.log(1 + sp.exp(x)))
    logaddexp(0, x)
    >>> robust(1 / (1 + sp.exp(-x)))
    exp(-logaddexp(0, -x))
    >>> robust(x / sp.sqrt(1 + x**2))
    over(x, hypot(1, x))
    """
    expr = _folded(expr)
    if expr.has(sp.cosh, sp.sinh):
        expr = _hyperbolic(expr)
    return _rewritten(expr) if expr.has(sp.exp, sp.cosh, sp.Pow) else expr


def _folded(expr):
    """Constants that no machine number or no array of integers can hold, as numbers; ValueError where one is too large."""
    def number(e):
        value = e.evalf(20)
        if not value.is_Float or abs(value) > LARGEST:
            raise ValueError(f"expr must have numbers that floating point can hold, got "
                             f"{value.evalf(4) if value.is_number else e}")
        return sp.Float(value, 17)

    def large(e):
        return max(abs(e.p), e.q) >= 2**53

    if not any(large(n) for n in expr.atoms(sp.Rational)):
        return expr

    def fold(e):
        if not e.free_symbols and e.is_real and any(large(n) for n in e.atoms(sp.Rational)):
            return number(e)
        if e.is_Pow and e.exp.is_Rational:
            return fold(e.base) ** e.exp
        if e.is_Mul:
            constant, rest = e.as_independent(*e.free_symbols, as_Add=False)
            return fold(constant) * (rest.func(*map(fold, rest.args)) if rest.args else rest)
        return e.func(*map(fold, e.args)) if e.args else e

    return fold(expr)


def _hyperbolic(expr):
    """sinh u / cosh u as tanh u: the quotient of two numbers too large is none."""
    def quotient(e):
        powers = e.as_powers_dict()
        for base in [b for b in powers if isinstance(b, sp.sinh)]:
            other = sp.cosh(base.args[0])
            above, below = powers[base], -powers.get(other, sp.S.Zero)
            n = min(above, below) if above.is_Integer and below.is_Integer else 0
            if n > 0:
                e = e * (sp.tanh(base.args[0]) * other / base) ** n
        return e

    return expr.replace(lambda e: e.is_Mul, quotient)


def _rewritten(e):
    """`robust`, part by part."""
    if e.is_Atom:
        return e
    if not isinstance(e, sp.Expr):
        return e.func(*map(_rewritten, e.args))
    if isinstance(e, sp.log):
        written = _log(e.args[0])
        if written is not None:
            return written
    if e.is_Mul or e.is_Pow:
        written = _product(e)
        if written is not None:
            return written
    if e.is_Mul:
        e = _with_squares(e)
    if e.is_Pow:
        root = _root(e)
        if root is not None:
            return root
    return e.func(*map(_rewritten, e.args)) if e.args else e


def _exponentials(e):
    """[(positive number, exponent)] of a sum of exponentials, one of them at least no constant; None for anything else."""
    terms = []
    for term in sp.Add.make_args(e):
        coefficient, rest = term.as_coeff_Mul()
        if not coefficient.is_positive:
            return None
        if rest is sp.S.One:
            terms.append((coefficient, sp.S.Zero))
        elif isinstance(rest, sp.exp):
            terms.append((coefficient, rest.args[0]))
        elif isinstance(rest, sp.cosh):
            terms += [(coefficient / 2, rest.args[0]), (coefficient / 2, -rest.args[0])]
        else:
            return None
    return terms if any(a.free_symbols for _, a in terms) else None


def _log_sum(terms):
    """log Σ c exp(a)."""
    logs = sorted((_rewritten(a) + sp.log(c) for c, a in terms), key=sp.default_sort_key)
    total = logs[0]
    for other in logs[1:]:
        total = logaddexp(total, other)
    return total


def _factors(e):
    """A product as number · exp(exponent) · Π (Σ c exp(a))^power · others: (number, exponent, [(terms, power)], others)."""
    number, exponent, sums, others = sp.S.One, sp.S.Zero, [], []

    def take(base, power):
        nonlocal number, exponent
        if base.is_Mul and (power.is_Integer or all(f.is_positive for f in base.args)):
            for factor in base.args:
                take(factor, power)
        elif base.is_Pow and base.exp.is_number and (power.is_Integer or base.base.is_positive):
            take(base.base, base.exp * power)
        elif isinstance(base, sp.exp):
            exponent += base.args[0] * power
        elif base.is_number and power.is_number and base.is_positive:
            number *= base**power
        elif (terms := _exponentials(base)) is not None:
            sums.append((terms, power))
        elif base.is_Add and base.has(sp.exp) and power.is_Integer and power < 0 and (apart := _combined(base)) is not None:
            for part, n in apart:
                take(part, n * power)
        else:
            others.append(base**power)

    take(e, sp.S.One)
    return number, exponent, sums, others


def _combined(base):
    """A sum with quotients in it as [(numerator, 1), (denominator, −1)], if that leaves products of sums of exponentials."""
    numerator, denominator = sp.fraction(sp.together(base), exact=True)
    if denominator is sp.S.One:
        return None
    numerator = sp.expand(numerator)
    simple = numerator.is_Mul or numerator.is_positive or _exponentials(numerator)
    return [(numerator, sp.S.One), (denominator, -sp.S.One)] if simple else None


def _log(argument):
    """The logarithm of a product of sums of exponentials, or of a sum of squares; None for anything else."""
    for candidate in (argument, None):
        if candidate is None:
            apart = _combined(argument) if argument.is_Add and argument.has(sp.exp) else None
            if apart is None:
                break
            candidate = sp.Mul(*(part**n for part, n in apart))
        number, exponent, sums, others = _factors(candidate)
        rest = sp.Mul(*others)
        plain = not rest.has(sp.exp, sp.cosh)  # which could overflow by itself, where the product does not
        if plain and exponent is not sp.S.Zero or sums and (plain or rest.is_positive):
            written = sp.log(number) + _rewritten(exponent) + sum(power * _log_sum(terms) for terms, power in sums)
            return written + sp.log(_rewritten(rest))
    squares = _squares(argument)
    return None if squares is None else 2 * sp.log(_hypot(squares))


def _product(e):
    """A product with powers of sums of exponentials in it, all exponentials drawn together; None for anything else."""
    if not e.has(sp.exp, sp.cosh):
        return None
    number, exponent, sums, others = _factors(e)
    if not any(power.is_negative for _, power in sums):
        return None
    for i, other in enumerate(others):
        base, n = other.as_base_exp()
        if not (base.is_Add and base.has(sp.exp, sp.cosh) and n.is_Integer and n > 0):
            continue
        # A sum in the numerator is divided term by term, each of which is a small number by itself.
        for j, (terms, power) in enumerate(sums):
            if power.is_number and power <= -n:
                below = _log_sum(terms)
                divided = sp.Add(*(_divided(term, below) for term in base.args)) ** n
                sums[j] = (terms, power + n)
                kept = number * sp.exp(exponent) * sp.Mul(*others[:i], *others[i + 1:]) * sp.Mul(
                    *(sp.Add(*(c * sp.exp(a) for c, a in terms)) ** power for terms, power in sums))
                return divided * _rewritten(kept)
    total = _rewritten(exponent) + sum(power * _log_sum(terms) for terms, power in sums)
    return number * sp.Mul(*map(_rewritten, others)) * sp.exp(total, evaluate=not total.has(logaddexp))


def _divided(term, below):
    """A term over exp(below), its exponentials drawn together."""
    if term.has(sp.cosh):
        term = sp.expand(term.replace(sp.cosh, lambda u: (sp.exp(u) + sp.exp(-u)) / 2))
        if term.is_Add:
            return sp.Add(*(_divided(part, below) for part in term.args))
    number, exponent, sums, others = _factors(term)
    total = _rewritten(exponent) - below + sum(power * _log_sum(terms) for terms, power in sums)
    return number * sp.Mul(*map(_rewritten, others)) * sp.exp(total, evaluate=False)


def _squares(e):
    """The v of a sum of two or more squares v²; None for anything else."""
    found = []
    if not e.is_Add:
        return None
    for term in e.args:
        coefficient, rest = term.as_coeff_Mul()
        if not coefficient.is_positive:
            return None
        if rest is sp.S.One:
            found.append(sp.sqrt(coefficient))
        elif rest.is_Pow and rest.exp == 2:
            found.append(sp.sqrt(coefficient) * rest.base)
        else:
            return None
    return found if any(v.free_symbols for v in found) else None


def _hypot(squares):
    values = sorted(map(_rewritten, squares), key=sp.default_sort_key)
    total = values[0]
    for other in values[1:]:
        total = hypot(total, other)
    return total


class over(sp.Function):
    """A quotient that no power and no product takes apart, as it would a/b: (a/b)² as a²/b² overflows."""

    def _numpycode(self, printer):
        return "(({})/({}))".format(*map(printer._print, self.args))

    _pythoncode = _numpycode


def _root(e):
    """(Σ v²)^{n/2}, n odd, as a power of hypot; None for anything else."""
    if e.exp.is_Rational and e.exp.q == 2 and (squares := _squares(e.base)) is not None:
        return _hypot(squares) ** (2 * e.exp)
    return None


def _with_squares(e):
    """In a product, powers of v over powers of √(… + v² + …) as powers of their quotient, which no overflow reaches."""
    powers = e.as_powers_dict()
    for base, power in list(powers.items()):
        if power.is_Rational and power < 0 and power.q in (1, 2) and (squares := _squares(base)) is not None:
            h, left = _hypot(squares), -2 * power
            for v in squares:
                plain = v.as_coeff_Mul()[1]
                n = min(powers.get(plain, sp.S.Zero), left) if powers.get(plain, sp.S.Zero).is_Integer else sp.S.Zero
                if n > 0 and (power.q == 2 or n % 2 == 0):
                    e = sp.Mul(e, base ** (n / 2), plain**-n, over(plain, h) ** n)
                    left -= n
    return e


def _logaddexp(a, b):
    """For single floats, as `math` has none."""
    if a == b:  # of infinite ones the difference is none
        return a + LOG2
    return a + log1p(exp(b - a)) if a > b else b + log1p(exp(a - b))


def compiled(entries: Sequence[sp.Expr], symbols: Sequence[sp.Symbol]) -> Callable[..., list[Any]]:
    """NumPy function of one argument a symbol that returns the list of the entries' values."""
    entries = [_two_by_two(robust(e)) for e in entries]
    named = _anonymous(entries, symbols)
    cse = not any(e.has(sp.Sum, sp.Product, sp.Integral) for e in entries)  # a bound variable is no subexpression
    for modules in ("numpy", ["scipy", "numpy"]):  # SciPy, slower to load, only for functions that NumPy has not
        try:
            if modules != "numpy":
                with extra("special"):
                    import scipy.special  # noqa: F401  (what lambdify imports)
            function = sp.lambdify(*named, modules=modules, cse=cse)
            with np.errstate(all="ignore"):
                function(*(np.full(2, 0.7) for _ in symbols))  # `math`'s functions would pass with a number
            return function
        except (NameError, TypeError, NotImplementedError, AttributeError):
            continue
    raise ValueError(f"expr has a function with no numerical counterpart: {entries}")


def _two_by_two(e):
    """Max and Min of many as NumPy's of two, which broadcast: SymPy 1.13 hands all to `amax` in one list."""
    for kind, name in ((sp.Max, "maximum"), (sp.Min, "minimum")):
        if e.has(kind):
            of = sp.Function(name)
            e = e.replace(kind, lambda *args: reduce(of, sorted(args, key=sp.default_sort_key)))
    return e


def _anonymous(entries, symbols):
    """The symbols and the entries in symbols that no function or constant is called by."""
    stand_in = {s: sp.Dummy(f"x{i}", real=True) for i, s in enumerate(symbols)}
    return list(stand_in.values()), [e.xreplace(stand_in) for e in entries]


def _with_quotients(expr):
    """exp(−logaddexp(0, u)) as 1/(1 + exp u): as exact and quicker where, as for single floats, an overflow is noticed."""
    def quotient(e):
        exponent = sp.expand(e.args[0])
        for term in exponent.atoms(logaddexp):
            rest, u = exponent + term, term.args[1]
            if term.args[0] == 0 and rest in (0, u):
                return 1 / (1 + sp.exp(u if rest == 0 else -u))
        return e

    return expr.replace(lambda e: isinstance(e, sp.exp), quotient) if expr.has(logaddexp) else expr


def elementwise(expr: sp.Expr, symbol: sp.Symbol, removable: Sequence[float] = ()) -> Callable[[ArrayLike], Any]:
    """NumPy function of a number, elementwise on arrays and fast for plain floats."""
    function, repair = compiled([expr], [symbol]), repaired([expr], [symbol])
    places = np.array(removable)
    near = NEAR * np.maximum(1, np.abs(places))
    (argument,), (entry,) = _anonymous([_with_quotients(robust(expr))], [symbol])
    try:
        on_floats: Any = sp.lambdify([argument], entry, modules=[{"logaddexp": _logaddexp}, "math"],
                                     cse=not entry.has(sp.Sum, sp.Product, sp.Integral))
    except NotImplementedError:
        on_floats = None  # calling it is a TypeError, which is handled like others
    quick = None if places.size else float

    def fast(theta):
        if type(theta) is quick:
            try:
                value = float(on_floats(theta))  # ten times faster than an array of one element
                if value == value:
                    return value
            except (ArithmeticError, NameError, TypeError, ValueError):
                pass  # where Python raises, IEEE arithmetic below goes on with inf or nan
        theta = real_array(theta, "theta")
        with np.errstate(all="ignore"):
            value = np.asarray(real_part(function(theta)[0]), theta.dtype)
            value = np.broadcast_to(value, theta.shape).copy() if value.shape != theta.shape else value
            odd = np.isnan(value) & np.isfinite(theta)
            for place, reach in zip(places, near):
                odd |= np.abs(theta - place) < reach
        if odd.any():
            value = np.array(value)
            value[odd] = repair(theta[odd][:, None], value[odd][:, None])[:, 0]
        return value[()]

    return fast


def _reach(entries):
    """How large a point may be: exponentials of exponentials take digits without end."""
    tall = any(e.has(sp.exp, sp.cosh, sp.sinh, sp.gamma, sp.factorial) or any(p.exp.free_symbols for p in e.atoms(sp.Pow))
               for e in entries)
    return 1e4 if tall else math.inf


def repaired(entries: Sequence[sp.Expr], symbols: Sequence[sp.Symbol]) -> Callable[[Array, Array], Array]:
    """A function that works values out anew with 60 digits: `repair(points, values)`, of shapes (n, d) and (n, len(entries)).

    At a point itself, or where the formula is singular there, as the limit from two sides that agree. Whatever has no real
    value stays as it was.
    """
    function = None

    def repair(points, values):
        nonlocal function
        if function is None:
            function = sp.lambdify(*_anonymous(entries, symbols), "mpmath"), _reach(entries)
        done = np.array(values, float)
        worst_first = np.argsort(~np.isnan(done).any(axis=1), kind="stable")[:MOST]
        for i in worst_first:
            row, point = done[i], points[i].astype(float)
            if np.abs(point).max(initial=0) < function[1]:
                found = _at(function[0], [mpmath.mpf(p) for p in point])
                row[:] = [new if new is not None else old for new, old in zip(found or [None] * len(row), row)]
        return done

    return repair


def _at(function, point):
    """The entries' values at a point, or where that fails their limits; None for those that have none."""
    here, again = (_values(function, point, digits) for digits in (60, 120))
    if here is not None and again is not None and None not in again and all(map(_alike, here, again)):
        return again
    with mpmath.workdps(400):
        beside = [[p + sign * mpmath.mpf(10) ** -30 * (1 + abs(p)) * (1 + mpmath.mpf(i) / 7) for i, p in enumerate(point)]
                  for sign in (-1, 1)]
    sides = [_values(function, place, 400) for place in beside]
    if None in sides:
        return here
    limits = [a if _alike(a, b) else None for a, b in zip(*sides)]
    return limits if here is None else [limit if limit is not None else new for new, limit in zip(here, limits)]


def _alike(a, b):
    return a is not None and b is not None and (a == b or abs(a - b) <= 1e-12 * (abs(a) + abs(b)) + 1e-25)


def _values(function, point, digits):
    """The entries as floats, None for one that is not real; None altogether where the formula cannot be worked out."""
    with mpmath.workdps(digits):
        try:
            values = [mpmath.mpmathify(v) for v in function(*(+p for p in point))]
        except (TypeError, ValueError, ArithmeticError, NameError, NotImplementedError):
            return None
    return [None if mpmath.isnan(v) or abs(mpmath.im(v)) > 1e-40 * (1 + abs(v)) else _as_float(mpmath.re(v)) for v in values]


def _as_float(value):
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def real_part(value: Any) -> Any:
    """NaN where a value is complex, as NumPy's own square root of −1 has it."""
    return np.where(np.imag(value) == 0, np.real(value), np.nan) if np.iscomplexobj(value) else value
