"""The live figure: a matplotlib picture with sliders that move marks over it, with or without a kernel.

Python computes everything in advance: a mark's coordinates are arrays with one axis for every slider. matplotlib
paints what does not move and turns the coordinates into places in the picture, whatever the scales of the axes.
The view (`stage.js`) looks the places up and draws; it knows no mathematics.
"""

from __future__ import annotations

import hashlib
import io
import keyword
import numbers
import re
import string
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from metacalc.extras import extra
from metacalc.marks import COLORS, DARK, STYLE, Arrow, Curve, Mark, Path, Point

with extra("figures"):
    import anywidget
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    import traitlets
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase  # of an axes' figure matplotlib says no more
    from numpy.typing import ArrayLike, DTypeLike

__all__ = ["COLORS", "STYLE", "Arrow", "Curve", "Path", "Point", "Readout", "Slider", "Stage", "panel", "style_sheet"]

_MARK, _LEGEND = "stage-mark", "stage-legend"  # ids of what a stage paints on a figure
_DARK_PLACES = ('html[data-theme="dark"] .stage', 'body[data-jp-theme-light="false"] .stage', "body.vscode-dark .stage")


def style_sheet() -> str:
    """The style of every stage: the palette as variables, for light and dark pages, and `stage.css`."""
    light = COLORS | {"paper": "#ffffff"}  # a page's own
    variables = [" ".join(f"--stage-{name}: {code};" for name, code in palette.items()) for palette in (light, DARK)]
    return f""".stage {{ {variables[0]} }}
@media screen {{  /* paper is white */
  {", ".join(_DARK_PLACES)} {{ {variables[1]} }}
}}
/* The browser's own list is light in both themes. */
.stage select option {{ color: {light["ink"]}; background: {light["paper"]}; }}
{FilePath(__file__).with_name("stage.css").read_text(encoding="utf-8")}"""


def panel(xlabel: str, ylabel: str, xlim: tuple[float, float], ylim: tuple[float, float], title: str = "",
          yscale: str = "linear", size: tuple[float, float] = (3.7, 3.2)) -> Axes:
    """One axes of its own figure, which a stage sets beside others or, on a phone, below them.

    Parameters
    ----------
    xlabel, ylabel, title : str
    xlim, ylim : tuple of float
    yscale : str
        "linear" or "log".
    size : tuple of float
        Inches.

    Returns
    -------
    matplotlib.axes.Axes
    """
    with mpl.rc_context(STYLE):
        ax = Figure(figsize=size).subplots()
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, yscale=yscale, ylim=ylim, title=title)
    return ax


@dataclass(frozen=True)
class Slider:
    """One control of a stage, with the positions that it can take.

    Parameters
    ----------
    name : str
        Name of the stage's trait for it, and of its field in a `Readout`.
    values : array_like, shape (n,)
        Positions, increasing and finite; at least one.
    label : str
        What the reader sees, symbol and words: "learning rate η".
    value : float, optional
        Position at the start: the nearest one to this; the first, unless given.
    format : str
        Format of a position, as of `format()`: ".2f", "d".
    unit : str
        Written behind the position.
    names : sequence of str
        What is written instead of the positions, where they stand for something that is no number.

    Raises
    ------
    ValueError
        If an argument is not of that kind.
    """

    name: str
    values: np.ndarray
    label: str
    value: float | None = None
    format: str = ".4g"
    unit: str = ""
    names: Sequence[str] = ()

    if TYPE_CHECKING:  # whatever sequence the values come as, they are an array from then on
        def __init__(self, name: str, values: ArrayLike, label: str, value: float | None = None, format: str = ".4g",
                     unit: str = "", names: Sequence[str] = ()) -> None: ...

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier()) or keyword.iskeyword(self.name):
            raise ValueError(f"name must be an identifier, got {self.name!r}")
        if not self.label:
            raise ValueError(f"label of slider {self.name!r} must not be empty")
        values = np.asarray(self.values)
        if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise ValueError(f"values of slider {self.name!r} must be a one-dimensional array of at least one finite "
                             f"number, got {self.values!r}")
        values = values.astype(float)
        if np.any(np.diff(values) <= 0):
            raise ValueError(f"values of slider {self.name!r} must increase")
        _check_format(self.format, "format")
        if self.format == "d" and not np.array_equal(values, np.round(values)):
            raise ValueError(f"format of slider {self.name!r} must not be d, its values are no whole numbers")
        if len(self.names) not in (0, values.size) or not all(isinstance(n, str) and n for n in (self.label, *self.names)):
            raise ValueError(f"label and names of slider {self.name!r} must be words, names one for each position or none")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "value", self.values[0] if self.value is None else self.nearest(self.value))

    def nearest(self, value: Any) -> float:
        """The position nearest to `value`; ValueError if it is not a number within the slider's range."""
        low, high = self.values[[0, -1]]
        if not isinstance(value, numbers.Real) or not low - 1e-9 * abs(low) <= value <= high + 1e-9 * abs(high):
            raise ValueError(f"{self.name} must lie between {low:g} and {high:g}, got {value!r}")
        return float(self.values[self.index(value)])

    def index(self, value: Any) -> int:
        """Which position is the nearest one to `value`."""
        return int(np.argmin(np.abs(self.values - value)))


class Readout:
    """The numbers under the picture.

    Parameters
    ----------
    template : str
        As of `str.format`, with the names of sliders and tables as fields and the formats f, e, g, d, and s for the ending
        of a plural: nothing at 1.
    **tables : array_like
        Numbers or strings, each broadcasting to one axis for every slider of the stage.

    Raises
    ------
    ValueError
        If a field has no such format.

    Examples
    --------
    >>> Readout("θ = {theta:.3f}, {regime}", theta=[0.5, 0.25], regime="monotone").at((1,))
    'θ = 0.250, monotone'
    >>> Readout("{n:d} step{n:s}", n=[0, 1, 2]).at((1,))
    '1 step'
    """

    def __init__(self, template: str, **tables: ArrayLike) -> None:
        self.template = template
        for name, table in tables.items():
            if np.asarray(table).dtype.kind not in "iufbU":
                raise ValueError(f"table {name!r} must hold numbers or strings")
        self.tables = {name: np.asarray(table) for name, table in tables.items()}
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name == "" or conversion:
                raise ValueError(f"template must name its fields, without conversion, got {template!r}")
            if name is not None and spec != "s" and not (name in self.tables and self.tables[name].dtype.kind == "U"):
                _check_format(spec or ".4g", f"format of {name}")

    def segments(self) -> list[list[str | None]]:
        """List of [text, field or None, format]."""
        return [[text, name, spec or ".4g"] for text, name, spec, _ in string.Formatter().parse(self.template)]

    def at(self, index: tuple[int, ...]) -> str:
        """Text at one position of the sliders."""
        def written(name, spec):
            value = _entry(self.tables[name], index)
            return str(value) if self.tables[name].dtype.kind == "U" else _format(value, spec)

        return "".join(f"{text}{'' if name is None else written(name, spec)}" for text, name, spec in self.segments())


class Stage(anywidget.AnyWidget):
    """A picture with sliders that move marks over it, and a readout of the numbers.

    The position of each slider is a trait of the slider's name: read it, set it (to the nearest position), observe
    or link it like that of any widget.

    Parameters
    ----------
    figure : matplotlib.figure.Figure or sequence of Figure
        What does not move. Several figures stand side by side where there is room, one below the other on a phone. A
        stage paints its marks and its legend on them; another stage of the same figures takes these off first.
    marks : sequence of Path, Point, Curve, Arrow
        On axes of two dimensions.
    sliders : sequence of one to four Slider
        Their order is that of the axes of the marks' arrays.
    readout : Readout, optional
    alt : str
        What a reader who does not see the picture needs to know of it.
    play : str, optional
        Name of the slider that the play button moves; the first, unless given.

    Raises
    ------
    ValueError
        If the arrays of a mark or readout do not broadcast to the sliders' positions, or an argument is missing or
        of another kind.
    """

    # As text: for a path anywidget keeps every instance, to reload it when the file changes.
    _esm = FilePath(__file__).with_name("stage.js").read_text(encoding="utf-8")
    _css = style_sheet()
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    spec = traitlets.Dict().tag(sync=True)
    table = traitlets.Bytes().tag(sync=True)

    def __init__(self, figure: FigureBase | list[FigureBase] | tuple[FigureBase, ...], marks: Iterable[Mark],
                 sliders: Iterable[Slider], readout: Readout | None = None, *, alt: str, play: str | None = None) -> None:
        figures: list[Any] = list(figure) if isinstance(figure, (list, tuple)) else [figure]
        self.marks, self.sliders, self.readout = list(marks), list(sliders), readout
        if not (isinstance(alt, str) and alt.strip()):
            raise ValueError("alt must describe the picture in words")
        self._check_sliders(play)
        self._check_marks(figures)
        if readout is not None:
            self.readout = self._whole(readout)
        self._check_shapes()
        for fig in figures:
            _lay_out(fig, [mark for mark in self.marks if mark.ax.figure is fig])
        tables = _Tables()
        looks = [self._mark_spec(mark, figures, tables) for mark in self.marks]
        for mark in self.marks:
            for artist in self._painted(mark):
                artist.set_gid(_MARK)
        pictures, self._png = [_svg(fig) for fig in figures], _png(figures)
        self.add_traits(**{s.name: _Position(s).tag(sync=True) for s in self.sliders})
        super().__init__(pictures=pictures, table=b"", spec={})
        self.spec = self._spec(alt, play, looks, tables)
        self.table = bytes(tables.buffer)

    @property
    def _names(self) -> list[str]:
        return [s.name for s in self.sliders]

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(s.values.size for s in self.sliders)

    def _check_sliders(self, play: str | None) -> None:
        if not 1 <= len(self.sliders) <= 4 or not all(isinstance(s, Slider) for s in self.sliders):
            raise ValueError(f"sliders must be one to four Slider, got {self.sliders!r}")
        for name in self._names:
            used = hasattr(type(self), name) or name in vars(self) or name.startswith("_")
            if used or self._names.count(name) > 1:
                raise ValueError(f"sliders need distinct names that a widget has no other use for, got {name!r}")
        if play is not None and play not in self._names:
            raise ValueError(f"play must name one of the sliders {self._names}, got {play!r}")

    def _check_marks(self, figures: list[Figure]) -> None:
        if not figures or not all(isinstance(f, Figure) for f in figures):
            raise ValueError("figure must be a matplotlib Figure or a sequence of them")
        for mark in self.marks:
            if not isinstance(mark, Mark) or getattr(mark.ax, "figure", None) not in figures:
                raise ValueError(f"marks must be marks on axes of the figure, got {mark!r}")
            if hasattr(mark.ax, "get_zlim"):
                raise ValueError(f"marks must be on axes of two dimensions, got {type(mark).__name__} on {mark.ax!r}")
            along, drag = getattr(mark, "along", None), getattr(mark, "drag", "")
            if along is not None and along not in self._names:
                raise ValueError(f"along must name one of the sliders {self._names}, got {along!r}")
            if drag and drag not in self._names:
                raise ValueError(f"drag must name one of the sliders {self._names}, got {drag!r}")

    def _whole(self, readout: Readout) -> Readout:
        """The readout with the positions of the sliders among its tables."""
        if not isinstance(readout, Readout):
            raise ValueError(f"readout must be a Readout, got {readout!r}")
        positions = {s.name: _along(s.values, i, len(self.sliders)) for i, s in enumerate(self.sliders)}
        whole = Readout(readout.template, **positions | readout.tables)
        missing = {name for _, name, _ in whole.segments() if name} - set(whole.tables)
        if missing:
            raise ValueError(f"readout has no table for the fields {sorted(missing)}")
        return whole

    def _check_shapes(self) -> None:
        tables = {} if self.readout is None else {f"readout table {n!r}": t for n, t in self.readout.tables.items()}
        for mark in self.marks:
            for name in mark.coordinates:
                array = getattr(mark, name)
                # The last axis of a curve runs along it, whatever its length.
                tables[f"{name} of {type(mark).__name__}"] = array[..., 0] if mark.length and array.ndim else array
        for name, array in tables.items():
            try:
                np.broadcast_to(array, self._shape)
            except ValueError:
                raise ValueError(f"{name} has shape {array.shape}, which does not broadcast to the sliders' {self._shape}"
                                 ) from None

    def _spec(self, alt: str, play: str | None, looks: list[dict], tables: _Tables) -> dict[str, Any]:
        """What the view needs beside the pictures and the tables; `stage.js` describes it."""
        fields = {} if self.readout is None else self.readout.tables
        return {
            "alt": alt, "text": self.text, "marks": looks, "play": self._names.index(play) if play else 0,
            "sliders": [{"name": s.name, "label": s.label, "values": s.values.tolist(), "value": s.value,
                         "format": s.format, "unit": s.unit, "names": list(s.names)} for s in self.sliders],
            "readout": self.readout.segments() if self.readout else [],
            "fields": {name: tables.add_field(table, self._shape) for name, table in fields.items()},
        }

    def _mark_spec(self, mark: Mark, figures: list[Figure], tables: _Tables) -> dict[str, Any]:
        panel, fig = next((i, fig) for i, fig in enumerate(figures) if fig is mark.ax.figure)
        n_axes = len(self.sliders)
        width, height = fig.get_size_inches() * 72  # SVG's user units are points
        box = mark.ax.get_position()
        halves = [_full_rank(c, n_axes + mark.length).astype(np.float16) for c in mark.place()]
        spec = {
            **mark.look(), "panel": panel, "color": mark.color,
            "box": [round(float(v), 3) for v in (box.x0 * width, (1 - box.y1) * height, box.width * width,
                                                 box.height * height)],
            "coordinates": [tables.add(_collapsed(half, n_axes), np.float16) for half in halves],
        }
        if mark.toggle:
            spec["toggle"] = mark.label
        slider = {"along": getattr(mark, "along", ""), "drag": getattr(mark, "drag", "")}
        return spec | {key: self._names.index(name) for key, name in slider.items() if name}

    def _painted(self, mark: Mark) -> Sequence[Artist]:
        """The mark as it is before a reader moves a slider, and as it stays where no script runs."""
        index = tuple(s.index(s.value) for s in self.sliders)
        arrays = [getattr(mark, name) for name in mark.coordinates]
        if not isinstance(mark, Path):
            return mark.paint([_entry(a, index, mark.length) for a in arrays])
        axis = self._names.index(mark.along)
        grown = [index[:axis] + (i,) + index[axis + 1:] for i in range(index[axis] + 1)]
        return mark.paint([[_entry(a, i) for i in grown] for a in arrays])

    @property
    def position(self) -> tuple[int, ...]:
        """Where the sliders stand: the index of each one's position."""
        return tuple(s.index(getattr(self, s.name)) for s in self.sliders)

    @property
    def text(self) -> str:
        """The readout at the sliders' positions."""
        return "" if self.readout is None else self.readout.at(self.position)

    def __repr__(self) -> str:
        where = ", ".join(f"{s.name}={_format(getattr(self, s.name), s.format)} ({s.values.size} positions)"
                          for s in self.sliders)
        return f"Stage({where}): {self.text}"

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        return data | {"text/plain": repr(self), "image/png": self._png}, metadata


class _Position(traitlets.Float):
    """A trait that holds one of a slider's positions; the nearest one to what is assigned."""

    def __init__(self, slider):
        super().__init__(default_value=slider.value)
        self.slider = slider

    def validate(self, obj, value):
        return self.slider.nearest(value)


class _Tables:
    """Arrays one behind the other in a buffer, each once."""

    def __init__(self):
        self.buffer, self._places = bytearray(), {}

    def add(self, array: ArrayLike, dtype: DTypeLike) -> list:
        """Where the array is found: [offset in bytes, kind of number, shape]."""
        data = np.ascontiguousarray(array, dtype=dtype)
        key = (data.dtype.char, data.shape, data.tobytes())
        if key not in self._places:
            self.buffer.extend(bytes(-len(self.buffer) % data.itemsize))
            self._places[key] = [len(self.buffer), data.dtype.name, list(data.shape)]
            self.buffer.extend(key[2])
        return self._places[key]

    def add_field(self, table: np.ndarray, shape: tuple[int, ...]) -> dict[str, Any]:
        """Where a readout's table is found; for one of words, where their numbers in a list are, and the list."""
        table = _full_rank(table, len(shape))
        if table.dtype.kind == "U":
            labels, codes = np.unique(table, return_inverse=True)
            return {"labels": labels.tolist(), "at": self.add(codes.reshape(table.shape), np.uint32)}
        return {"at": self.add(table, np.float64)}


def _along(values, axis, rank):
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def _full_rank(array, rank):
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _collapsed(array, n_axes):
    """The array with length 1 along those of its first axes that nothing changes along."""
    for axis in range(n_axes):
        first = array.take([0], axis)
        if np.array_equal(np.broadcast_to(first, array.shape), array, equal_nan=True):
            array = first
    return array


def _entry(array, index, extra=0):
    """Entry at the sliders' positions of an array that broadcasts over them; `extra` further axes stay."""
    own = array.ndim - extra
    return array[tuple(0 if n == 1 else i for n, i in zip(array.shape, index[len(index) - own:]))]


def _check_format(spec, name):
    if not (isinstance(spec, str) and re.fullmatch(r"\.1?\d[feg]|d", spec)):
        raise ValueError(f"{name} must be d or a number of digits with f, e or g, such as .3f; got {spec!r}")


def _format(value, spec):
    if spec == "s":
        return "" if value == 1 else "s"
    if not np.isfinite(value):
        return {np.inf: "∞", -np.inf: "−∞"}.get(float(value), "not a number")
    text = format(float(value), ".0f" if spec == "d" else spec)
    return re.sub(r"^-(?=[0.]*(e|$))", "", text).replace("-", "−")  # no −0


def _lay_out(fig: Figure, marks: list[Mark]) -> None:
    """Bring the figure into the form in which marks are placed in it, with their legend."""
    plt.close(fig)
    for artist in fig.findobj(lambda artist: artist.get_gid() in (_MARK, _LEGEND)):
        artist.remove()  # an earlier stage's
    for ax in fig.axes:
        ax.get_xlim()  # matplotlib settles pending limits when asked
        ax.get_ylim()
        ax.autoscale(False)
    legend = {}
    for mark in marks:
        if mark.label:
            legend.setdefault(mark.label, mark.handle())
    if legend:
        _add_legend(fig, legend)
    fig.draw_without_rendering()  # so that the axes have the place that they keep


@contextmanager
def _still(fig: Figure) -> Iterator[None]:
    """The house's style, and a layout that the marks do not change: they are placed in it."""
    engine = fig.get_layout_engine()
    fig.set_layout_engine("none")
    try:
        with mpl.rc_context(STYLE):
            yield
    finally:
        fig.set_layout_engine(engine or "none")


def _add_legend(fig, entries):
    """A legend below the axes, in as many columns, up to three, as the figure is wide enough for."""
    for columns in range(min(3, len(entries)), 0, -1):
        with mpl.rc_context(STYLE):
            legend = fig.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)
        legend.set_gid(_LEGEND)
        if columns == 1 or legend.get_window_extent().width <= fig.bbox.width:
            return
        legend.remove()


def _svg(fig):
    """The figure as SVG whose colours a page can change, with the marks that the view replaces in groups of a class."""
    buffer = io.StringIO()
    with _still(fig):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = svg.replace(f'id="{_MARK}"', f'class="{_MARK}"')
    for name, code in COLORS.items():
        svg = svg.replace(code, f"var(--stage-{name}, {code})")
    # Ids of their own: a page has many pictures, and an id is looked up in the first of them.
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{own}-", svg)
    return re.sub(r"\n\s*", "\n", svg)


def _png(figures):
    """The figures, one below the other, as a PNG on white."""
    images = []
    for fig in figures:
        buffer = io.BytesIO()
        with _still(fig):
            fig.savefig(buffer, format="png", dpi=110, facecolor="white")
        images.append(plt.imread(io.BytesIO(buffer.getvalue())))
    width = max(i.shape[1] for i in images)
    padded = [np.pad(i, ((0, 0), (0, width - i.shape[1]), (0, 0)), constant_values=1) for i in images]
    buffer = io.BytesIO()
    plt.imsave(buffer, np.concatenate(padded), format="png")
    return buffer.getvalue()
