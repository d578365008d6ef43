"""A program's operations written down as it runs, and its derivatives gathered in both orders, every operation counted.

Numbers here are scalars, and what they go through are sums, differences, products and quotients: enough to see what a
derivative costs. For more, `metacalc.models` and the frameworks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import ArrayLike
from metacalc.checks import real_array

__all__ = ["Derivative", "Recorded", "Tape"]


class Derivative(NamedTuple):
    """What a pass over a tape gives, and its price.

    Attributes
    ----------
    value : ndarray or float
        The gradient, or the slope along a direction.
    operations : int
        Additions, subtractions, multiplications and divisions that the pass took, beside those of the program itself.
    products : int
        The multiplications and divisions among them.
    """

    value: Any
    operations: int
    products: int


@dataclass(frozen=True, eq=False)
class Recorded:
    """A number on a tape. What it is combined with by + − * / is written down there; plain numbers are constants.

    Parameters
    ----------
    tape : Tape
        Where it stands.
    index : int
        Its place there.
    value : float
        What it is.
    """

    tape: Tape
    index: int
    value: float

    def __add__(self, other: Any) -> Recorded:
        return self.tape.write("+", self, other)

    def __radd__(self, other: Any) -> Recorded:
        return self.tape.write("+", other, self)

    def __sub__(self, other: Any) -> Recorded:
        return self.tape.write("-", self, other)

    def __rsub__(self, other: Any) -> Recorded:
        return self.tape.write("-", other, self)

    def __mul__(self, other: Any) -> Recorded:
        return self.tape.write("*", self, other)

    def __rmul__(self, other: Any) -> Recorded:
        return self.tape.write("*", other, self)

    def __truediv__(self, other: Any) -> Recorded:
        return self.tape.write("/", self, other)

    def __rtruediv__(self, other: Any) -> Recorded:
        return self.tape.write("/", other, self)


_VALUES: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}


class Tape:
    """The operations of a program, in their order.

    Parameters
    ----------
    function : callable
        Takes n numbers, and returns one that it makes of them by + − * /, in loops and branches of whatever kind.
    at : array_like, shape (n,)
        Where it is evaluated.

    Attributes
    ----------
    value : float
    operations : int
        Operations of the program; as many numbers are on the tape, beside the inputs.
    products : int
        The multiplications and divisions among them.

    Raises
    ------
    ValueError
        If `at` is no vector of numbers, or the function returns nothing that depends on them.

    Notes
    -----
    A pass back costs at most 4 operations for each of the program's, and 2 products for each product (Baur & Strassen 1983).

    Examples
    --------
    >>> tape = Tape(lambda x, y, z: x * y * z, [2.0, 3.0, 4.0])
    >>> tape.value, tape.operations
    (24.0, 2)
    >>> tape.reverse()
    Derivative(value=array([12.,  8.,  6.]), operations=8, products=4)
    >>> tape.forward([1.0, 0.0, 0.0]).value
    12.0
    """

    def __init__(self, function: Callable[..., Any], at: ArrayLike) -> None:
        at = real_array(at, "at")
        if at.ndim != 1:
            raise ValueError(f"at must be a vector of numbers, got shape {at.shape}")
        self.size, self.lines = at.size, []
        self.values = at.tolist()
        result = function(*(Recorded(self, i, v) for i, v in enumerate(self.values)))
        if not isinstance(result, Recorded) or result.tape is not self:
            raise ValueError(f"function must return a number made of its arguments, got {result!r}")
        self.result, self.value = result.index, result.value

    @property
    def operations(self) -> int:
        return len(self.lines)

    @property
    def products(self) -> int:
        return sum(sign in "*/" for sign, _, _ in self.lines)

    def write(self, sign: str, a: Any, b: Any) -> Recorded:
        """Note an operation, and return its result."""
        a, b = (x if isinstance(x, Recorded) else float(x) for x in (a, b))
        values = [x.value if isinstance(x, Recorded) else x for x in (a, b)]
        self.values.append(_VALUES[sign](*values))
        self.lines.append((sign, a, b))
        return Recorded(self, len(self.values) - 1, self.values[-1])

    def reverse(self) -> Derivative:
        """The gradient by all inputs: from the last line back, each number hands on how fast the result changes with it."""
        bars, spent = [0.0] * len(self.values), _Spent()
        bars[self.result] = 1.0
        for i in reversed(range(len(self.lines))):
            sign, a, b = self.lines[i]
            u, v, bar = _value(a), _value(b), bars[self.size + i]
            if sign == "/":
                bar = spent.product(bar / v)
            by_b = {"+": bar, "-": -bar, "*": bar * u, "/": -bar * self.values[self.size + i]}[sign]
            for x, share, multiplied in ((a, bar * v if sign == "*" else bar, sign == "*"), (b, by_b, sign in "*/")):
                if isinstance(x, Recorded):
                    bars[x.index] += spent.product(share) if multiplied else share
                    spent.operations += 1
        return Derivative(np.array(bars[:self.size]), spent.operations, spent.products)

    def forward(self, direction: ArrayLike) -> Derivative:
        """The slope along one direction of the inputs: with every line goes that of its tangent."""
        dots: list[float] = real_array(direction, "direction").tolist()
        if len(dots) != self.size:
            raise ValueError(f"direction must have shape ({self.size},), got {np.shape(direction)}")
        spent = _Spent()
        for i, (sign, a, b) in enumerate(self.lines):
            terms, c = [], self.values[self.size + i]
            factors = {"*": (_value(b), _value(a)), "/": (None, c)}.get(sign, (None, None))
            for x, factor, turned in zip((a, b), factors, (1, -1 if sign in "-/" else 1)):
                if isinstance(x, Recorded):
                    dot = dots[x.index]
                    terms.append(turned * (dot if factor is None else spent.product(dot * factor)))
            spent.operations += len(terms) - 1
            dots.append(spent.product(sum(terms) / _value(b)) if sign == "/" else sum(terms))
        return Derivative(dots[self.result], spent.operations, spent.products)

    def forward_gradient(self) -> Derivative:
        """The gradient by all inputs in forward mode: a pass for each."""
        passes = [self.forward(row) for row in np.eye(self.size)]
        return Derivative(np.array([one.value for one in passes]), *(sum(column) for column in list(zip(*passes))[1:]))


class _Spent:
    operations = products = 0

    def product(self, result):
        """Count the product or quotient whose result it is handed."""
        self.operations, self.products = self.operations + 1, self.products + 1
        return result


def _value(x):
    return x.value if isinstance(x, Recorded) else x
