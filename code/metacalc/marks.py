"""Marks: what a live figure draws over its picture, in data coordinates. The colours and the style of all pictures.

matplotlib is needed only to paint them: a page's own axes (`metacalc.axes`) do without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from metacalc.extras import extra
from metacalc.live import Formula, axis_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

__all__ = ["COLORS", "DARK", "STYLE", "Arrow", "Curve", "Mark", "Path", "Point"]

#: Okabe & Ito's palette (2008), told apart with any colour vision. In a page each is a CSS variable, lighter in the
#: dark theme. Paper is not quite white: in a picture's SVG a colour is known by its code, and white may be a figure's own.
COLORS = {
    "ink": "#1f2328", "grey": "#6e7781", "faint": "#d0d7de", "paper": "#fefefe",
    "blue": "#0072b2", "orange": "#b35c00", "green": "#00795a", "red": "#c4320a", "purple": "#9a4a78",
}
DARK = {
    "ink": "#e6edf3", "grey": "#9aa4ae", "faint": "#3d444d", "paper": "#14181e",
    "blue": "#58b4f0", "orange": "#f0a040", "green": "#3fcf9f", "red": "#ff8566", "purple": "#e29ac4",
}
#: How matplotlib paints what does not move.
STYLE: dict[Any, Any] = {
    "axes.edgecolor": COLORS["grey"], "axes.grid": True, "axes.labelcolor": COLORS["ink"], "axes.linewidth": 0.8,
    "axes.spines.right": False, "axes.spines.top": False, "axes.titlesize": 10, "axes.titlecolor": COLORS["ink"],
    "axes.labelsize": 10, "axes.unicode_minus": True, "axes.facecolor": "none", "figure.facecolor": "none",
    "figure.constrained_layout.use": True, "font.family": "DejaVu Sans", "font.size": 9,
    "grid.color": COLORS["faint"], "grid.linewidth": 0.6, "legend.fontsize": 9, "legend.frameon": False,
    "legend.labelcolor": COLORS["ink"], "lines.color": COLORS["ink"], "mathtext.fontset": "dejavusans",
    "savefig.bbox": None, "svg.fonttype": "path", "svg.hashsalt": "metacalc", "text.color": COLORS["ink"],
    "xtick.color": COLORS["grey"], "xtick.labelcolor": COLORS["ink"], "ytick.color": COLORS["grey"],
    "ytick.labelcolor": COLORS["ink"],
}
_DASHES = {"-": "", "--": "6 3", ":": "1.5 2.5", "-.": "7 2.5 1.5 2.5", " ": "0 9999"}
_SHAPES = "os^D"


def _handle(x: Any, y: Any, **looks: Any) -> Line2D:
    with extra("figures"):
        from matplotlib.lines import Line2D
    return Line2D(x, y, **looks)


@dataclass(frozen=True)
class Mark:
    """What all marks share: axes, coordinates in the data units of the axes, and looks.

    An array of coordinates broadcasts to one axis for every slider of the stage, in their order; a `Formula` is evaluated
    by the view. With `toggle=True` a
    reader can switch the mark off and on; marks of one label go together, and stand in the legend once.
    """

    ax: Any  # matplotlib's Axes, or our own
    x: ArrayLike | Formula
    y: ArrayLike | Formula
    color: str = "blue"
    label: str = ""
    toggle: bool = field(default=False, kw_only=True)

    coordinates = ("x", "y")
    length = 0  # extra axes of a mark's arrays
    far = 6e4  # where the view's numbers end, in boxes
    width = 1.0  # of its line

    def __post_init__(self) -> None:
        if self.color not in COLORS:
            raise ValueError(f"color must be one of {sorted(COLORS)}, got {self.color!r}")
        if self.toggle and not self.label:
            raise ValueError(f"toggle of {type(self).__name__} needs a label, which names it")
        for name in self.coordinates:
            if isinstance(getattr(self, name), Formula):
                continue
            array = np.asarray(getattr(self, name))
            if array.dtype.kind not in "iuf" or array.size == 0:
                raise ValueError(f"{name} of {type(self).__name__} must be a non-empty array of real numbers")
            object.__setattr__(self, name, array.astype(float))
        if isinstance(getattr(self, "drag", ()), str):
            object.__setattr__(self, "drag", (self.drag,) if self.drag else ())  # type: ignore[attr-defined]
        dash, shape = getattr(self, "dash", "-"), getattr(self, "shape", "o")
        if dash not in _DASHES:
            raise ValueError(f"dash must be one of {list(_DASHES)}, got {dash!r}")
        if shape not in _SHAPES:
            raise ValueError(f"shape must be one of {', '.join(_SHAPES)}, got {shape!r}")
        if not self.width > 0:
            raise ValueError(f"width must be positive, got {self.width!r}")
        if self.length:
            try:
                arrays = [a for a in map(self.__getattribute__, self.coordinates) if not isinstance(a, Formula)]
                np.broadcast_shapes(*(a.shape[-1:] for a in arrays))
            except ValueError:
                raise ValueError(f"x and y of {type(self).__name__} must have last axes of equal length") from None

    def place(self) -> tuple[Any, ...]:
        """Coordinates as fractions of the axes' box by the axes' own transforms, (0, 0) at its centre.

        In place of an array a pair of a formula and the scale that the view makes fractions of its values with: the ends
        of the axis, and 1 if it is logarithmic, else 0.
        """
        return self._placed(self.x, self.y)

    def _placed(self, x: Any, y: Any) -> tuple[Any, ...]:
        live = [isinstance(c, Formula) for c in (x, y)]
        if not any(live):
            return self._fractions(x, y)
        scales = [axis_scale(self.ax, axis) for axis in "xy"]
        # The axes' transforms take each coordinate by itself: in place of a formula stands the middle.
        middle = [np.power(10.0, (low + high) / 2) if log else (low + high) / 2 for low, high, log in scales]
        fractions = self._fractions(*(m if is_live else c for c, m, is_live in zip((x, y), middle, live)))
        return tuple((c, scale) if is_live else fraction
                     for c, scale, fraction, is_live in zip((x, y), scales, fractions, live))

    def look(self) -> dict[str, Any]:
        """What the view needs to know to draw it."""
        raise NotImplementedError

    def handle(self) -> Line2D:
        """Its picture in a legend."""
        raise NotImplementedError

    def paint(self, coordinates: Sequence[Any]) -> Sequence[Artist]:
        """Paint it, with its coordinates at one position of the sliders, on its axes."""
        raise NotImplementedError

    def _fractions(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, ...]:
        x, y = np.broadcast_arrays(x, y)
        to_box = self.ax.to_box if hasattr(self.ax, "to_box") else (self.ax.transData + self.ax.transAxes.inverted()).transform
        with np.errstate(all="ignore"):
            nan = np.isnan(x) | np.isnan(y)
            flat = np.stack([np.clip(np.nan_to_num(a, nan=1.0), -1e300, 1e300).ravel() for a in (x, y)], axis=-1)
            placed = to_box(flat) - 0.5
            # Half precision ends at 65504. What is further away comes nearer along its direction from the centre.
            distance = np.abs(placed).max(axis=-1, keepdims=True)
            placed = (placed * np.minimum(1, self.far / np.maximum(distance, 1))).reshape(*x.shape, 2)
        return tuple(np.where(nan, np.nan, placed[..., i]) for i in (0, 1))


@dataclass(frozen=True)
class _Line(Mark):
    """What a path and a curve share: how a joined row of points is drawn."""

    dash: str = "-"
    dots: bool = False

    @property
    def _style(self) -> dict[str, Any]:
        return dict(color=COLORS[self.color], lw=self.width, ls=self.dash, marker="o" if self.dots else None, ms=4.2, mew=0)

    def look(self) -> dict[str, Any]:
        return {"kind": type(self).__name__.lower(), "dash": _DASHES[self.dash], "width": self.width,
                "dot": 4.2 if self.dots else 0}

    def handle(self) -> Line2D:
        return _handle([], [], **self._style)

    def paint(self, coordinates: Sequence[Any]) -> Sequence[Artist]:
        return self.ax.plot(*np.broadcast_arrays(*coordinates), **self._style)


@dataclass(frozen=True)
class Path(_Line):
    """A path that grows along one slider: at its position i the points 0, …, i, joined, are shown.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where it is drawn.
    x, y : array_like
        Coordinates; along the axis of the slider `along`, the points of the path.
    color : str
        A name in `COLORS`.
    label : str
        Entry in the legend; none if empty.
    dash : str
        "-", "--", ":", "-." or " ", which draws no line.
    dots : bool
        Whether the points are marked.
    along : str
        Name of the slider that the path grows along.
    toggle : bool
        Whether a reader can switch it off, by a box with its label; marks of one label go together.
    """

    along: str = "n"
    dots: bool = True
    width = 1.3


@dataclass(frozen=True)
class Point(Mark):
    """A point; where it leaves the picture, an arrow at the edge says so.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where it is drawn.
    x, y : array_like or Formula
        Coordinates in data units; one axis for every slider.
    color : str
        A name in `COLORS`.
    label : str
        Entry in the legend; none if empty.
    shape : str
        "o" disc, "s" square, "^" triangle or "D" diamond.
    name : str
        What the readout calls it when it has left the picture; its label, unless given.
    drag : str or sequence of str
        Names of sliders: dragging the point, or a click in its panel, moves them to the positions that bring the point
        nearest to the pointer.
    toggle : bool
        Whether a reader can switch it off, by a box with its label; marks of one label go together.
    hollow : bool
        Whether it is a ring: a place that does not count yet, or no longer.
    """

    shape: str = "o"
    name: str = ""
    drag: str | Sequence[str] = ()
    hollow: bool = field(default=False, kw_only=True)
    far = np.inf  # A point beyond the edge is only shown by the edge that it is beyond, each coordinate by itself.

    def place(self) -> tuple[Any, ...]:
        return tuple(c if isinstance(c, tuple) else np.clip(c, -6e4, 6e4) for c in self._placed(self.x, self.y))

    def look(self) -> dict[str, Any]:
        return {"kind": "point", "shape": self.shape, "size": 9, "name": self.name or self.label or "the point"} | (
            {"hollow": True} if self.hollow else {})

    def handle(self) -> Line2D:
        return _handle([], [], color=COLORS[self.color], lw=0, marker=self.shape, ms=8, **self._ring)

    def paint(self, coordinates: Sequence[Any]) -> Sequence[Artist]:
        edge = {"mec": COLORS["paper"], "mew": 1} | self._ring
        return self.ax.plot(*([c] for c in coordinates), color=COLORS[self.color], lw=0, marker=self.shape, ms=9, **edge)

    @property
    def _ring(self) -> dict[str, Any]:
        return {"mfc": COLORS["paper"], "mec": COLORS[self.color], "mew": 1.6} if self.hollow else {}


@dataclass(frozen=True)
class Curve(_Line):
    """A curve that changes with the sliders; the last axis of its arrays runs along the curve.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where it is drawn.
    x, y : array_like or Formula
        Coordinates in data units; one axis for every slider.
    color : str
        A name in `COLORS`.
    label : str
        Entry in the legend; none if empty.
    dash : str
        "-", "--", ":", "-." or " ", which draws no line.
    dots : bool
        Whether the points are marked.
    toggle : bool
        Whether a reader can switch it off, by a box with its label; marks of one label go together.
    width : float
        Width of the line in points, positive.
    """

    width: float = field(default=1.6, kw_only=True)
    length = 1


@dataclass(frozen=True)
class Arrow(Mark):
    """An arrow from (x, y) to (x + dx, y + dy).

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where it is drawn.
    x, y : array_like or Formula
        Coordinates in data units; one axis for every slider.
    color : str
        A name in `COLORS`.
    label : str
        Entry in the legend; none if empty.
    dx, dy : array_like
        Components in data units.
    dash : str
        "-", "--", ":" or "-.".
    drag : str or sequence of str
        As for `Point`, for the arrow's head.
    toggle : bool
        Whether a reader can switch it off, by a box with its label; marks of one label go together.
    """

    dx: ArrayLike | Formula | None = None
    dy: ArrayLike | Formula | None = None
    dash: str = "-"
    drag: str | Sequence[str] = ()
    coordinates = ("x", "y", "dx", "dy")

    def place(self) -> tuple[Any, ...]:
        x, y, dx, dy = (getattr(self, name) for name in self.coordinates)
        return self._placed(x, y) + self._placed(x + dx, y + dy)

    def look(self) -> dict[str, Any]:
        return {"kind": "arrow", "dash": _DASHES[self.dash], "width": 2,
                "name": f"{self.label}’s arrow" if self.label else "An arrow"}

    def handle(self) -> Line2D:
        return _handle([], [], color=COLORS[self.color], lw=2, ls=self.dash, marker=">", markevery=[1], ms=6)

    def paint(self, coordinates: Sequence[Any]) -> Sequence[Artist]:
        x, y, dx, dy = coordinates
        ends = [tuple(0.5 + np.array(self._fractions(*end))) for end in ((x, y), (x + dx, y + dy))]
        if not np.isfinite(ends).all() or np.abs(ends).max() > 1e3:
            return []
        with extra("figures"):
            from matplotlib.patches import FancyArrowPatch
        return [self.ax.add_patch(FancyArrowPatch(*ends, transform=self.ax.transAxes, arrowstyle="-|>", mutation_scale=12, lw=2,
                                                  ls=self.dash, color=COLORS[self.color], shrinkA=0, shrinkB=0))]
