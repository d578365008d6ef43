"""Axes painted as SVG by Python alone: what a page draws a reader's own function on, where matplotlib would be 10 MB to load.

They take marks as matplotlib's axes do, and `painted` gives what a stage sends to the view (`stage.js`).
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from metacalc.marks import COLORS
from metacalc.spec import Tables, check_shapes, check_sliders, mark_spec, spec_of, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from metacalc.arrays import Array
    from metacalc.marks import Mark
    from metacalc.spec import Readout, Slider

__all__ = ["Axes", "level_segments", "painted", "ticks"]

LEFT, RIGHT, TOP, BOTTOM = 50.0, 8.0, 22.0, 36.0  # margins around the axes, in points


def ticks(low: float, high: float, about: int = 5, log: bool = False) -> list[float]:
    """Round numbers between two others: multiples of 1, 2 or 5 times a power of ten; with `log` powers of ten.

    Parameters
    ----------
    low, high : float
        low < high; positive with `log`.
    about : int
        How many are wanted, roughly.
    log : bool

    Returns
    -------
    list of float

    Examples
    --------
    >>> ticks(-1.3, 2.1)
    [-1.0, 0.0, 1.0, 2.0]
    >>> ticks(1e-5, 1e3, log=True)
    [1e-05, 0.001, 0.1, 10.0, 1000.0]
    """
    if log:
        first, last = int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9))
        return [float(f"1e{n}") for n in range(first, last + 1, max(1, -(-(last - first) // about)))]
    power = 10.0 ** np.floor(np.log10((high - low) / about))
    step = next(m * power for m in (1, 2, 5, 10) if (high - low) / (m * power) <= about + 1e-9)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(f"{n * step:.12g}") for n in first + np.arange(min(last - first, 3 * about) + 1)]


def level_segments(x: Array, y: Array, z: Array, level: float) -> Array:
    """The line on which a function has a value, by marching squares: straight pieces, one or two in each cell it crosses.

    Parameters
    ----------
    x, y : ndarray, shapes (nx,), (ny,)
    z : ndarray, shape (ny, nx)
        The function's values; cells at one that is not finite are left out.
    level : float

    Returns
    -------
    ndarray, shape (n, 2, 2)
        Both ends of each piece, as (x, y).
    """
    with np.errstate(all="ignore"):
        inside, low, left = z > level, (level - z[:, :-1]) / np.diff(z, axis=1), (level - z[:-1]) / np.diff(z, axis=0)
        along = np.stack(np.broadcast_arrays(x[:-1] + low * np.diff(x), y[:, None]), axis=-1)  # on edges along x
        up = np.stack(np.broadcast_arrays(x, y[:-1, None] + left * np.diff(y)[:, None]), axis=-1)
    crossed_along, crossed_up = inside[:, :-1] != inside[:, 1:], inside[:-1] != inside[1:]
    # The edges of each cell, in turn: below, right, above, left.
    places = np.stack([along[:-1], up[:, 1:], along[1:], up[:, :-1]])
    crossed = np.stack([crossed_along[:-1], crossed_up[:, 1:], crossed_along[1:], crossed_up[:, :-1]])
    finite = np.isfinite(z)
    crossed &= finite[:-1, :-1] & finite[:-1, 1:] & finite[1:, :-1] & finite[1:, 1:]
    two, four = crossed.sum(axis=0) == 2, crossed.all(axis=0)
    ends = places[:, two][np.argsort(~crossed[:, two], axis=0, kind="stable")[:2], np.arange(two.sum())]
    middle = (z[:-1, :-1] + z[:-1, 1:] + z[1:, :-1] + z[1:, 1:])[four] / 4 > level
    # In a saddle the line keeps to the corners that the middle is not like.
    with_first = (middle == inside[:-1, :-1][four])[:, None]
    below, right, above, beside = places[:, four]
    first = np.stack([below, np.where(with_first, right, beside)])
    second = np.stack([above, np.where(with_first, beside, right)])
    return np.concatenate([ends, first, second], axis=1).transpose(1, 0, 2)


class Axes:
    """One pair of axes, a picture of its own.

    Parameters
    ----------
    xlabel, ylabel : str
    xlim, ylim : tuple of float
    title : str
    yscale : str
        "linear" or "log".
    size : tuple of float
        Of the picture, in inches.

    Raises
    ------
    ValueError
        If limits are not finite and increasing, or not positive on a logarithmic scale.
    """

    def __init__(self, xlabel: str, ylabel: str, xlim: tuple[float, float], ylim: tuple[float, float], title: str = "",
                 yscale: str = "linear", size: tuple[float, float] = (3.7, 3.2)) -> None:
        for name, (low, high) in (("xlim", xlim), ("ylim", ylim)):
            if not (np.isfinite([low, high]).all() and low < high):
                raise ValueError(f"{name} must be finite and increase, got {(low, high)}")
        self.log = yscale == "log"
        if self.log and not ylim[0] > 0:
            raise ValueError(f"ylim must be positive on a logarithmic scale, got {ylim}")
        self.labels, self.xlim, self.ylim = (xlabel, ylabel, title), xlim, ylim
        self.width, self.height = 72 * size[0], 72 * size[1]
        self.box = LEFT, TOP, self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        self._painted: list[str] = []

    def to_box(self, points: Array) -> Array:
        """Places in fractions of the box, from its lower left corner, of points of shape (..., 2)."""
        (x0, x1), (y0, y1) = self.xlim, self.ylim
        x, y = points[..., 0], points[..., 1]
        if self.log:
            y, y0, y1 = np.log10(np.maximum(y, 1e-300)), np.log10(y0), np.log10(y1)
        return np.stack([x / (x1 - x0) - x0 / (x1 - x0), y / (y1 - y0) - y0 / (y1 - y0)], axis=-1)

    def _places(self, points: Any) -> Array:
        """The same in the picture; what is far outside ends ten pictures away."""
        left, top, width, height = self.box
        fractions = np.clip(self.to_box(np.asarray(points, float)), -10, 11)
        return np.round(np.stack([left + fractions[..., 0] * width, top + (1 - fractions[..., 1]) * height], axis=-1), 1)

    def _add(self, d: str, color: str, width: float, more: str = "") -> None:
        if d:
            self._painted.append(f'<path d="{d}" fill="none" stroke="{ink(color)}" stroke-width="{width:g}"{more}/>')

    def plot(self, x: ArrayLike, y: ArrayLike, color: str = "grey", width: float = 1.4, dash: str = "") -> None:
        """A curve through points, with gaps where one is not finite."""
        points = np.stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)), axis=-1)
        whole_ones = np.isfinite(points).all(axis=-1)
        pieces = np.split(points, np.flatnonzero(np.diff(whole_ones)) + 1)
        drawn = ["M" + "L".join(f"{u:g},{v:g}" for u, v in self._places(piece))
                 for piece in pieces if len(piece) > 1 and np.isfinite(piece).all()]
        self._add("".join(drawn), color, width, f' stroke-dasharray="{dash}"' if dash else "")

    def contour(self, x: Array, y: Array, z: Array, levels: ArrayLike, color: str = "grey") -> None:
        """Level lines, the lower ones drawn darker; arguments as of `level_segments`."""
        levels = np.atleast_1d(levels)
        for level, opacity in zip(levels, np.linspace(1, 0.4, len(levels))):
            ends = self._places(level_segments(x, y, z, level)).reshape(-1, 4)
            d = ("M%.1f %.1f %.1f %.1f" * len(ends)) % tuple(ends.ravel().tolist())
            self._add(d, color, 1, f' stroke-opacity="{opacity:.2f}" stroke-linecap="round"')

    def svg(self) -> str:
        """The picture."""
        left, top, width, height = self.box
        place = f'{left:g} {top:g} {width:g} {height:g}'
        # An <svg> within clips what is painted to the axes, without an id that another picture might have.
        inner = (f'<svg x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" viewBox="{place}">'
                 f'{"".join(self._painted)}</svg>')
        frame = f'<path d="M{left:g},{top:g}v{height:g}h{width:g}" fill="none" stroke="{ink("grey")}" stroke-width=".8"/>'
        xlabel, ylabel, title = map(html.escape, self.labels)
        middle, centre = left + width / 2, top + height / 2
        words = (f'<g font-size="10" fill="{ink("ink")}" text-anchor="middle"><text x="{middle:g}" y="15">{title}</text>'
                 f'<text x="{middle:g}" y="{self.height - 7:g}">{xlabel}</text>'
                 f'<text transform="translate(11,{centre:g})rotate(-90)">{ylabel}</text></g>')
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
                f'width="{self.width:g}pt" height="{self.height:g}pt" font-family="DejaVu Sans, Verdana, sans-serif">'
                f'{self._ticks()}{inner}{frame}{words}</svg>')

    def _ticks(self) -> str:
        """The grid, and the numbers at its lines."""
        left, top, width, height = self.box
        across, up = ticks(*self.xlim), ticks(*self.ylim, log=self.log)
        columns = self._places([(x, self.ylim[0]) for x in across])[:, 0] if across else []
        rows = self._places([(self.xlim[0], y) for y in up])[:, 1] if up else []
        grid = "".join(f"M{u:g},{top:g}v{height:g}" for u in columns) + "".join(f"M{left:g},{v:g}h{width:g}" for v in rows)
        text = lambda x, y, number: f'<text x="{x:g}" y="{y:g}">{number}</text>'
        below = "".join(text(u, top + height + 13, _number(x, across)) for u, x in zip(columns, across))
        beside = "".join(text(left - 5, v + 3, _number(y, up, self.log)) for v, y in zip(rows, up))
        return (f'<path d="{grid}" stroke="{ink("faint")}" stroke-width=".6"/>'
                f'<g font-size="9" fill="{ink("ink")}"><g text-anchor="middle">{below}</g>'
                f'<g text-anchor="end">{beside}</g></g>')


def ink(color: str) -> str:
    """A colour of the palette as a page can change it."""
    return f"var(--stage-{color}, {COLORS[color]})"


def _number(value: float, others: Sequence[float], log: bool = False) -> str:
    """A number at a tick, with as many digits as tell it from the others."""
    minus = lambda text: str(text).replace("-", "−")
    largest = max(map(abs, others))
    if value == 0 or not (log or largest >= 1e5 or largest < 1e-3):
        return minus(f"{value:.10g}")
    digits, _, power = f"{value:.3e}".partition("e")
    digits = digits.rstrip("0").rstrip(".")
    raised = f'<tspan dy="-3.5" font-size="6.5">{minus(int(power))}</tspan>'
    return f"10{raised}" if digits == "1" else f"{minus(digits)}·10{raised}"


def painted(axes: Sequence[Axes], marks: Sequence[Mark], sliders: Sequence[Slider], readout: Readout | None = None, *,
            alt: str, play: str | None = None) -> dict[str, Any]:
    """The state of a live figure on painted axes, as a `Stage` has it on matplotlib's.

    Parameters
    ----------
    axes : sequence of Axes
        A picture each.
    marks : sequence of Mark
        On these axes.
    sliders : sequence of one to eight Slider
    readout : Readout, optional
    alt : str
    play : str, optional

    Returns
    -------
    dict
        "spec", "pictures", "table" (bytes), and the position of each slider under its name.

    Raises
    ------
    ValueError
        If the arrays of a mark or readout do not broadcast to the sliders' positions, or an argument is of another kind.
    """
    check_sliders(sliders, play)
    readout = None if readout is None else whole(readout, sliders)
    check_shapes(marks, readout, sliders)
    tables, panel = Tables(), {id(ax): i for i, ax in enumerate(axes)}
    looks = [mark_spec(mark, panel[id(mark.ax)], mark.ax.box, sliders, tables) for mark in marks]
    spec = spec_of(looks, sliders, readout, tables, alt=alt, play=play)
    positions = {s.name: s.value for s in sliders}
    return {"spec": spec, "pictures": [ax.svg() for ax in axes], "table": bytes(tables.buffer), **positions}
