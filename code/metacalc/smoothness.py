"""What is known of an expression's kinks: where they can be at all, and whether they are there.

An expression is smooth wherever the arguments of its functions lie where these are smooth. What is left are the zeros of
a few *switches*: the arguments of Abs and sign, the differences of Max and Min, the border of a branch, the base of a
root, a denominator, 1 − u² for acos u, and so on. SymPy locates these zeros, exactly where it can. On either side of each,
the value and the gradient are worked out with 250 digits at three shrinking distances, and their limits decide: different
ones are a jump or a kink, equal ones are none, infinite ones are a pole, and where one side is outside the domain there is
nothing to decide. Zeros that cannot be located, and limits that do not settle, decide nothing either, and are reported.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import mpmath
import numpy as np
import sympy as sp
from sympy.core.relational import Relational

__all__ = ["Kinks", "differentiated", "examined", "prepared"]

DIGITS, DISTANCES = 250, (1e-12, 1e-24, 1e-48)
PROBES = tuple(map(sp.Rational, ("7/10", "-7/10", "23/10", "-113/10", "530/7")))  # for the variables that a line leaves alone
JUMPS = (sp.floor, sp.ceiling, sp.frac, sp.Mod, sp.arg, sp.re, sp.im, sp.conjugate, sp.DiracDelta, sp.Derivative, sp.Subs)
# Smooth wherever they are finite; every other function is no longer known to be, and is reported.
SMOOTH = (sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc, sp.sinh, sp.cosh, sp.tanh, sp.coth, sp.sech, sp.csch,
          sp.asinh, sp.acosh, sp.atanh, sp.atan, sp.asin, sp.acos, sp.acot, sp.asec, sp.acsc, sp.atan2, sp.erf, sp.erfc,
          sp.erfi, sp.gamma, sp.loggamma, sp.digamma, sp.polygamma, sp.beta, sp.LambertW, sp.zeta, sp.factorial, sp.besselj,
          sp.bessely, sp.besseli, sp.besselk, sp.Ei, sp.li, sp.Si, sp.Ci, sp.Shi, sp.Chi, sp.fresnels, sp.fresnelc, sp.airyai,
          sp.airybi, sp.lowergamma, sp.uppergamma, sp.legendre, sp.chebyshevt, sp.chebyshevu, sp.hermite, sp.laguerre, sp.Abs,
          sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise, sp.binomial, sp.elliptic_k, sp.elliptic_e, sp.expint, sp.erfinv,
          sp.erfcinv, sp.rf, sp.ff, sp.harmonic)


class Kinks(NamedTuple):
    """What was found.

    Attributes
    ----------
    kink : sympy.Expr or None
        A switch across whose zero the value or the gradient jumps.
    undecided : tuple of sympy.Expr
        Switches some of whose zeros could not be located or decided, and functions that nothing is known of.
    removable : tuple of float
        Of a function of one variable: where its own formula is 0/0, and the limits are its value and derivatives.
    """

    kink: sp.Expr | None
    undecided: tuple[sp.Expr, ...]
    removable: tuple[float, ...]


def prepared(expr: sp.Expr) -> sp.Expr:
    """The expression without what stands for another one.

    Sums, integrals and derivatives are worked out, branches that hold at single points left out (what they stand for is the
    limit; `examined` sees to it that it is), sinc written out.

    Parameters
    ----------
    expr : sympy.Expr
        In real symbols.

    Returns
    -------
    sympy.Expr
        The same function.
    """
    expr = expr.doit().replace(sp.SingularityFunction, lambda u, a, n: sp.Piecewise(((u - a) ** n, u >= a), (0, True)))
    expr = expr.replace(sp.sinc, lambda u: sp.sin(u) / u)
    if expr.has(sp.Piecewise):
        expr = expr.replace(lambda e: isinstance(e, sp.Piecewise), lambda p: sp.Piecewise(*(
            (value, _off_points(condition)) for value, condition in p.args)))
    return expr


def _off_points(condition):
    """A condition as it is almost everywhere: an equation of the variables fails there."""
    return condition.replace(lambda e: isinstance(e, sp.Eq | sp.Ne) and e.free_symbols,
                             lambda e: sp.true if isinstance(e, sp.Ne) else sp.false)


def differentiated(expr: sp.Expr, symbols: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """The partial derivatives of an expression in real symbols that is continuous.

    So a delta, as the derivative of sign has it, only ever comes with the factor 0.

    Parameters
    ----------
    expr : sympy.Expr
        In real symbols, continuous.
    symbols : sequence of sympy.Symbol
        What to differentiate by.

    Returns
    -------
    list of sympy.Expr
        A partial derivative for each symbol.
    """
    return [sp.diff(expr, s).replace(sp.DiracDelta, lambda *_: sp.S.Zero) for s in symbols]


def examined(given: sp.Expr, expr: sp.Expr, partials: list[sp.Expr], symbols: tuple[sp.Symbol, ...],
             named: tuple[sp.Symbol, ...] | None = None) -> Kinks:
    """What is known of the kinks of a function.

    Parameters
    ----------
    given : sympy.Expr
        In real symbols, as it was written.
    expr : sympy.Expr
        What `prepared` made of it.
    partials : list of sympy.Expr
        Its partial derivatives.
    symbols : tuple of sympy.Symbol
        Real ones.
    named : tuple of sympy.Symbol, optional
        The reader's own symbols that these stand for. What is assumed of them holds: a positive one is nowhere zero.

    Returns
    -------
    Kinks
        A kink if there is one, and what could not be decided.
    """
    undecided = [f for f in expr.atoms(sp.Function) if not isinstance(f, SMOOTH) and f.free_symbols]
    removable, seen = set(), set()
    entries = [expr, *partials]
    own, assumed = given if given.has(sp.Eq, sp.Ne) else None, dict(zip(symbols, named or symbols))
    for switch, is_pole in _switches(given):
        if switch in seen or not switch.free_symbols or switch.is_nonzero or switch.xreplace(assumed).is_nonzero:
            continue
        seen.add(switch)
        places, complete = _places(switch, symbols)
        if not complete:
            undecided.append(switch)
        for point, direction in places:
            verdict = _decided(entries, own, symbols, point, direction)
            if verdict == "kink":
                return Kinks(switch, tuple(undecided), ())
            if verdict == "undecided" and switch not in undecided:
                undecided.append(switch)
            if verdict == "smooth" and len(symbols) == 1 and (is_pole or own is not None):
                removable.add(float(point[0]))
    return Kinks(None, tuple(undecided), tuple(sorted(removable)))


def _switches(expr):
    """(expression, whether the formula is singular where it vanishes) for everything that may end smoothness there."""
    for node in sp.preorder_traversal(expr):
        if isinstance(node, sp.Abs | sp.sign | sp.Heaviside | sp.atan2 | sp.acot):
            yield node.args[0], False
        elif isinstance(node, sp.Max | sp.Min):
            yield from ((a - b, False) for a, b in itertools.combinations(node.args, 2))
        elif isinstance(node, sp.SingularityFunction):
            yield node.args[0] - node.args[1], False
        elif isinstance(node, Relational):
            yield node.lhs - node.rhs, isinstance(node, sp.Eq | sp.Ne)
        elif isinstance(node, sp.asin | sp.acos | sp.asec | sp.acsc):
            yield node.args[0] ** 2 - 1, False
        elif isinstance(node, sp.tan | sp.sec):
            yield sp.cos(node.args[0]), True
        elif isinstance(node, sp.cot | sp.csc):
            yield sp.sin(node.args[0]), True
        elif isinstance(node, sp.coth | sp.csch | sp.sinc):
            yield node.args[0], True
        elif isinstance(node, sp.log):
            yield node.args[0], True
        elif node.is_Pow and node.base.free_symbols and not (node.exp.is_Integer and node.exp > 0):
            yield node.base, bool(node.exp.is_negative)


def _places(switch, symbols):
    """Where a switch vanishes: [(point, direction across)], and whether these are known to stand for all such places."""
    # What a float is, not what it is short for: the formula has its kink there.
    switch = switch.xreplace({f: sp.Rational(*float(f).as_integer_ratio()) for f in switch.atoms(sp.Float)})
    own = [s for s in symbols if s in switch.free_symbols]
    if len(symbols) == 1:
        roots, complete = _roots(switch, symbols[0])
        return [((root,), (1,)) for root in roots], complete
    places, complete = _touching(switch, symbols, own), True
    for v in own:
        for probe in PROBES[:3]:
            others = {s: probe * (1 + sp.Rational(13 * i, 100)) for i, s in enumerate(symbols)}
            along = switch.subs({s: p for s, p in others.items() if s != v})
            roots, known = _roots(along, v) if along.free_symbols else ([], True)
            complete &= known
            places += [(tuple(root if s == v else others[s] for s in symbols), tuple(int(s == v) for s in symbols))
                       for root in roots[:6]]
    return places, complete


def _touching(switch, symbols, own):
    """Points where a polynomial switch vanishes with its gradient, as x² + y² does: no line at random meets these."""
    if not switch.is_polynomial(*own) or len(own) < 2 or sp.Poly(switch, *own).total_degree() > 4:
        return []
    try:
        solutions = sp.solve([sp.diff(switch, s) for s in own] + [switch], own, dict=True)
    except NotImplementedError:
        return []
    direction, places = tuple(sp.Rational(3 + 2 * i, 5) for i in range(len(symbols))), []
    for solution in solutions[:4]:
        full = {s: solution.get(s, s) for s in symbols}
        point = tuple(value.subs(dict(zip(symbols, PROBES * len(symbols)))) for value in full.values())
        if all(value.is_real for value in point):
            places.append((point, direction))
    return places


def _roots(u, x):
    """Real zeros of an expression in one symbol: some of them if there are many; and whether these stand for all."""
    numerator, _ = sp.fraction(sp.together(u)) if u.has(sp.Pow) else (u, None)
    if numerator.is_polynomial(x):
        polynomial = sp.Poly(numerator, x)
        if polynomial.domain.is_ZZ or polynomial.domain.is_QQ:
            return list(dict.fromkeys(sp.real_roots(polynomial)))[:24], True
    if not isinstance(numerator, sp.Expr) or numerator.is_positive or numerator.is_negative:
        return [], True
    try:
        found = _members(sp.solveset(numerator, x, sp.S.Reals)) if sp.count_ops(numerator) < 40 else None
    except (NotImplementedError, ValueError, TypeError, RecursionError, AttributeError):
        found = None
    return (_searched(numerator, x), False) if found is None else (found, True)


def _members(places):
    """Some of the elements of a set that SymPy has found, a period's worth or more; None if it has not found them."""
    if places is sp.S.EmptySet:
        return []
    if isinstance(places, sp.FiniteSet):
        return [p for p in places if p.is_real]
    if isinstance(places, sp.Union):
        parts = [_members(part) for part in places.args]
        return None if any(part is None for part in parts) else sum(parts, [])
    if isinstance(places, sp.ImageSet) and len(places.lamda.variables) == 1 and places.base_sets == (sp.S.Integers,):
        return [p for n in (0, 1, -1, 2) if (p := places.lamda(n)).is_real]
    return None


def _searched(u, x):
    """Where an expression changes its sign, found by numbers: between −1000 and 1000, finer towards 0."""
    try:
        f = sp.lambdify(x, u, "numpy")
        outer = np.geomspace(20, 1000, 400)
        grid = np.concatenate([-outer[::-1], np.linspace(-19.997, 19.99, 1999), outer])
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(f(grid), float), grid.shape)
        brackets = np.flatnonzero(values[:-1] * values[1:] < 0)[:8]
        exact = sp.lambdify(x, u, "mpmath")
        with mpmath.workdps(DIGITS):
            found = [mpmath.findroot(exact, (float(grid[i]), float(grid[i + 1])), solver="anderson", tol=1e-240, verify=False)
                     for i in brackets]
            return [sp.Float(root, DIGITS) for root in found if abs(exact(root)) < 1e-100]
    except (NameError, TypeError, ValueError, ArithmeticError, NotImplementedError):
        return []


def _decided(entries, own, symbols, point, direction):
    """"smooth", "kink", "nothing" (a pole, or the end of the domain) or "undecided", at a point in a direction across."""
    function = sp.lambdify(symbols, entries, "mpmath", cse=True)
    with mpmath.workdps(DIGITS):
        try:
            place = [mpmath.mpf(sp.N(p, DIGITS)._to_mpmath(int(DIGITS * 3.33))) for p in point]
        except (TypeError, ValueError, AttributeError):
            return "undecided"
        sides = [_side(function, place, direction, sign) for sign in (-1, 1)]
        if "none" in (sides[0][0], sides[1][0]):
            return "undecided"
        kinds = [{entry[0] for entry in pair} for pair in zip(*sides)]
        if kinds[0] & {"outside", "pole"}:
            return "nothing"
        if "unclear" in kinds[0]:
            return "undecided"
        jumps = [a[1] != b[1] and abs(a[1] - b[1]) > 10 * (a[2] + b[2]) + mpmath.mpf(10) ** -180 * (abs(a[1]) + abs(b[1]))
                 for a, b in zip(*sides) if a[0] == b[0] == "limit"]
        if any(jumps) or any("pole" in kind for kind in kinds[1:]) or own is not None and _apart(own, symbols, point, sides):
            return "kink"
    return "undecided" if any(kind != {"limit"} for kind in kinds) else "smooth"


def _apart(own, symbols, point, sides):
    """Whether the value that is written for a single point is another one than the limit there."""
    value = own.subs(dict(zip(symbols, point)))
    if not value.is_number or not value.is_finite:
        return False
    value = mpmath.mpf(sp.N(value, 60)._to_mpmath(200)) if value.is_real else mpmath.inf
    return abs(value - sides[0][0][1]) > 10 * sides[0][0][2] + 1e-12 * (1 + abs(value))


def _side(function, place, direction, sign):
    """What each entry does on one side of a place: (kind, limit, how far it is still from it)."""
    values = []
    for h in DISTANCES:
        try:
            values.append([mpmath.mpmathify(v)
                           for v in function(*(p + sign * mpmath.mpf(h) * d for p, d in zip(place, direction)))])
        except ZeroDivisionError:
            return ["none"]
        except (TypeError, ValueError, ArithmeticError, NameError, NotImplementedError):
            return ["none"]
    found = []
    for a, b, c in zip(*values):
        if any(mpmath.isnan(v) or abs(mpmath.im(v)) > 1e-200 * (1 + abs(v)) for v in (a, b, c)):
            found.append(("outside",))
            continue
        a, b, c = map(mpmath.re, (a, b, c))
        moved, still = abs(b - a), abs(c - b)
        if still <= 1e-3 * moved or still <= mpmath.mpf(10) ** -150 * (1 + abs(c)):
            found.append(("limit", c, still))
        elif abs(c) > abs(b) > abs(a) and still >= 0.5 * moved:
            found.append(("pole",))
        else:
            found.append(("unclear",))
    return found
