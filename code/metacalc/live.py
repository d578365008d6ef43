"""Numbers of a live figure that its view computes: formulas of the sliders' positions, and iterations from them.

A table over all positions would be heavy where a start is dragged along a line of hundreds of places, or in a plane. Here
SymPy prints one expression twice: for NumPy, which paints the picture that stands without a script, and for JavaScript,
which the view evaluates as its sliders move. Nothing is written by hand a second time; `stage.js` describes the format.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from metacalc.arrays import Array
    from metacalc.spec import Slider

__all__ = ["Formula", "Iteration", "axis_scale"]


class Iteration:
    """States x₀, x₁ = g(x₀), …: what a figure iterates.

    Parameters
    ----------
    start : dict of Symbol to expression
        What each variable of the state begins with, in symbols named as the sliders are.
    update : dict of Symbol to expression
        What it becomes in a step, in the state's symbols, the sliders' and `t`.
    steps : str or int
        Name of the slider whose position is the number of steps, or that number.
    t : Symbol, optional
        Stands for the number of the step, 0 in the first.

    Raises
    ------
    ValueError
        If `start` and `update` are not for the same symbols, or an argument is of another kind.

    Examples
    --------
    >>> theta, eta = sp.symbols("theta eta")
    >>> descent = Iteration({theta: 1}, {theta: theta - eta * 2 * theta}, 2)
    >>> descent(theta**2).expr
    theta**2
    """

    def __init__(self, start: Mapping[sp.Symbol, Any], update: Mapping[sp.Symbol, Any], steps: str | int,
                 t: sp.Symbol | None = None) -> None:
        if not start or set(start) != set(update) or not all(isinstance(s, sp.Symbol) for s in start):
            raise ValueError(f"start and update must be for the same symbols, got {list(start)} and {list(update)}")
        if not isinstance(steps, str) and not (isinstance(steps, int) and steps >= 0):
            raise ValueError(f"steps must be a slider's name or a number of steps, got {steps!r}")
        self.state, self.steps, self.t = tuple(start), steps, t or sp.Dummy("t")
        self.start, self.update = ([sp.sympify(given[s]) for s in self.state] for given in (start, update))

    def __call__(self, expr: Any, over: tuple[sp.Symbol, ArrayLike] | None = None, labels: Sequence[str] = ()) -> Formula:
        """An expression of the state, the sliders and the number of steps, after the steps; arguments as of `Formula`."""
        return Formula(expr, over, labels, self)


class Formula:
    """A number that depends on the sliders' positions, in place of a table of a mark or a readout.

    Parameters
    ----------
    expr : expression
        In symbols named as the sliders are; of an iteration, in those of its state too.
    over : tuple of Symbol and array_like, shape (n,), optional
        Of a curve: the parameter that runs along it, and its values.
    labels : sequence of str
        Of a readout: the words of which `expr` is the index.
    run : Iteration, optional
        Whose state `expr` is evaluated at. Without `over` a line of it joins the states of all steps.

    Raises
    ------
    ValueError
        If SymPy cannot print the expression for JavaScript, or the values of `over` are not finite numbers.
    """

    __array_ufunc__ = None  # so that an array leaves the sum with it to `__radd__`

    def __init__(self, expr: Any, over: tuple[sp.Symbol, ArrayLike] | None = None, labels: Sequence[str] = (),
                 run: Iteration | None = None) -> None:
        self.expr, self.labels, self.run = sp.sympify(expr), tuple(labels), run
        self.symbol, self.values = (None, None) if over is None else (over[0], np.asarray(over[1], float))
        if self.values is not None and not (self.values.ndim == 1 and self.values.size and np.isfinite(self.values).all()):
            raise ValueError(f"over must have a one-dimensional array of finite numbers, got {over!r}")

    def __add__(self, other: Any) -> Formula:
        if isinstance(other, Formula):
            if other.run is not self.run or other.symbol != self.symbol:
                raise ValueError("formulas add up if they are of one iteration and run over the same values")
            other = other.expr
        over = None if self.symbol is None or self.values is None else (self.symbol, self.values)
        return Formula(self.expr + sp.sympify(np.asarray(other).item() if isinstance(other, np.ndarray) else other), over,
                       (), self.run)

    __radd__ = __add__

    def codes(self, sliders: Sequence[Slider]) -> dict[str, list[str]]:
        """The expressions in JavaScript: "value" and, of an iteration, "start" and "update".

        There p holds the sliders' positions, s the state, t counts the steps, and c runs along a curve.
        """
        return {name: [_javascript(e) for e in exprs] for name, exprs in self._placed(sliders).items()}

    def at(self, sliders: Sequence[Slider], index: Sequence[int]) -> Any:
        """Its value at one position of the sliders: a float, or with `over` an array."""
        p = [float(s.values[k]) for s, k in zip(sliders, index)]
        if self.values is not None:
            return np.array([self._states(sliders, index, p, c)[-1] for c in self.values])
        return float(self._states(sliders, index, p, 0.0)[-1])

    def line(self, sliders: Sequence[Slider], index: Sequence[int]) -> Array:
        """Its values along a curve: over its parameter, or at every step of an iteration, the start included."""
        if self.values is not None or self.run is None:
            return np.atleast_1d(self.at(sliders, index))
        return self._states(sliders, index, [float(s.values[k]) for s, k in zip(sliders, index)], 0.0)

    def check(self, sliders: Sequence[Slider]) -> None:
        """ValueError unless all its symbols are sliders', or of its iteration or parameter."""
        run, names = self.run, [s.name for s in sliders]
        known = {self.symbol} | (set(run.state) | {run.t} if run else set())
        for expr in (self.expr, *(run.update if run else ())):
            self._named(expr.free_symbols - known, names)
        for expr in run.start if run else ():
            self._named(expr.free_symbols - {self.symbol}, names)
        if run and isinstance(run.steps, str):
            if run.steps not in names:
                raise ValueError(f"steps must name one of the sliders {names}, got {run.steps!r}")
            counts = sliders[names.index(run.steps)].values
            if not np.array_equal(counts, np.round(np.abs(counts))):
                raise ValueError(f"the positions of {run.steps!r} must be numbers of steps, got {counts}")

    @staticmethod
    def _named(symbols, names):
        for symbol in symbols:
            if symbol.name not in names:
                raise ValueError(f"a formula has the symbol {symbol}, which names none of the sliders {names}")

    def _placed(self, sliders):
        """The expressions in the symbols that the view knows."""
        run = self.run
        own = {} if run is None else {s: sp.Symbol(f"s[{i}]") for i, s in enumerate(run.state)} | {run.t: sp.Symbol("t")}
        own |= {} if self.symbol is None else {self.symbol: sp.Symbol("c")}
        exprs = {"value": [self.expr]} | ({"start": run.start, "update": run.update} if run else {})
        named = {s.name: sp.Symbol(f"p[{i}]") for i, s in enumerate(sliders)}
        symbols = set().union(*(e.free_symbols for listed in exprs.values() for e in listed)) - set(own)
        places = own | {symbol: named[symbol.name] for symbol in symbols}
        return {name: [e.xreplace(places) for e in listed] for name, listed in exprs.items()}

    @cached_property
    def _functions(self):
        """NumPy's functions of (p, s, t, c), for the sliders that it was first asked with."""
        return {}

    def _function(self, sliders, name):
        key = name, tuple(s.name for s in sliders)
        if key not in self._functions:
            exprs = self._placed(sliders)[name]
            p, s = ([sp.Symbol(f"{letter}[{i}]") for i in range(n)]
                    for letter, n in (("p", len(sliders)), ("s", len(self.run.state) if self.run else 0)))
            self._functions[key] = sp.lambdify([p, s, sp.Symbol("t"), sp.Symbol("c")], exprs, "numpy", cse=True)
        return self._functions[key]

    def _states(self, sliders, index, p, c):
        """The formula's value at each state of its iteration, one without."""
        run, value = self.run, self._function(sliders, "value")
        if run is None:
            with np.errstate(all="ignore"):
                return np.array(value(p, [], 0, c), float)
        names = [s.name for s in sliders]
        steps = int(p[names.index(run.steps)]) if isinstance(run.steps, str) else run.steps
        found = np.empty(steps + 1)
        update = self._function(sliders, "update")
        with np.errstate(all="ignore"):
            state = [np.float64(x) for x in self._function(sliders, "start")(p, [0] * len(run.state), 0, c)]
            for t in range(steps + 1):
                (found[t],) = value(p, state, t, c)
                state = [np.float64(x) for x in update(p, state, t, c)]
        return found


def _javascript(expr):
    try:
        code = sp.jscode(expr)
    except NotImplementedError:
        code = "//"  # what it writes, in older versions, above code that is not whole
    if "//" in code:
        raise ValueError(f"expr must be one that SymPy prints for JavaScript, got {expr}")
    return " ".join(code.split())


def axis_scale(ax: Any, axis: str) -> list[float]:
    """The ends of an axis, "x" or "y", of matplotlib's axes or ours, and 1 if it is logarithmic, else 0; then logarithms."""
    if hasattr(ax, "to_box"):
        limits, log = getattr(ax, f"{axis}lim"), axis == "y" and ax.log
    else:
        limits, log = getattr(ax, f"get_{axis}lim")(), getattr(ax, f"get_{axis}scale")() == "log"
    return [*(float(np.log10(v) if log else v) for v in limits), int(log)]
