"""The live figure: a matplotlib picture with sliders that move marks over it, with or without a kernel.

Python computes everything in advance: a mark's coordinates are arrays with one axis for every slider. matplotlib
paints what does not move and turns the coordinates into places in the picture, whatever the scales of the axes.
The view (`stage.js`) looks the places up and draws; it knows no mathematics.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from metacalc.extras import extra
from metacalc.live import Formula, Iteration
from metacalc.marks import COLORS, DARK, STYLE, Arrow, Curve, Mark, Path, Point
from metacalc.spec import (
    Guess,
    Readout,
    Slider,
    Tables,
    check_shapes,
    check_sliders,
    entry,
    guess_spec,
    mark_spec,
    spec_of,
    whole,
    written,
)

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

__all__ = ["COLORS", "STYLE", "Arrow", "Curve", "Formula", "Guess", "Iteration", "Path", "Point", "Readout", "Slider", "Stage",
           "panel", "style_sheet"]

_MARK, _LEGEND = "stage-mark", "stage-legend"  # ids of what a stage paints on a figure
_DARK_PLACES = ('html[data-theme="dark"] .stage', 'body[data-jp-theme-light="false"] .stage', "body.vscode-dark .stage")


def style_sheet() -> str:
    """The style of every stage: the palette as variables, for light and dark pages, and `stage.css`.

    Returns
    -------
    str
        What a page that shows stages loads.
    """
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
    xlabel, ylabel : str
        What stands at the axes.
    xlim, ylim : tuple of float
        Their two ends.
    title : str
        What stands above them.
    yscale : {"linear", "log"}
        Scale of the vertical one.
    size : tuple of float
        Width and height in inches.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; `.figure` is what a `Stage` takes.
    """
    with mpl.rc_context(STYLE):
        ax = Figure(figsize=size).subplots()
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, yscale=yscale, ylim=ylim, title=title)
    return ax


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
    sliders : sequence of one to eight Slider
        Their order is that of the axes of the marks' arrays.
    readout : Readout, optional
        The numbers under the picture.
    alt : str
        What a reader who does not see the picture needs to know of it.
    play : str, optional
        Name of the slider that the play button moves; the first, unless given.
    guess : Guess, optional
        What a reader may predict before seeing it.

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
                 sliders: Iterable[Slider], readout: Readout | None = None, *, alt: str, play: str | None = None,
                 guess: Guess | None = None) -> None:
        figures: list[Any] = list(figure) if isinstance(figure, (list, tuple)) else [figure]
        self.marks, self.sliders, self.readout, self.guess = list(marks), list(sliders), readout, guess
        if not (isinstance(alt, str) and alt.strip()):
            raise ValueError("alt must describe the picture in words")
        self.guess = guess
        self._check_names(play)
        self._check_marks(figures)
        if readout is not None:
            self.readout = whole(readout, self.sliders)
        check_shapes(self.marks, self.readout, self.sliders)
        self._figures = figures
        self._lay_out()
        tables = Tables()
        looks = [mark_spec(mark, *_placed(mark.ax, figures), self.sliders, tables) for mark in self.marks]
        asked = guess and guess_spec(guess, *_placed(guess.ax, figures), self.marks, self.sliders, tables)
        self._paint()
        pictures = [_svg(fig) for fig in figures]
        self.add_traits(**{s.name: _Position(s).tag(sync=True) for s in self.sliders})
        super().__init__(pictures=pictures, table=b"", spec={})
        self.spec = spec_of(looks, self.sliders, self.readout, tables, alt=alt, play=play, guess=asked)
        self.table = bytes(tables.buffer)

    @property
    def _names(self) -> list[str]:
        return [s.name for s in self.sliders]

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(s.values.size for s in self.sliders)

    def _check_names(self, play: str | None) -> None:
        check_sliders(self.sliders, play)
        for name in self._names:
            if hasattr(type(self), name) or name in vars(self) or name.startswith("_"):
                raise ValueError(f"sliders need distinct names that a widget has no other use for, got {name!r}")

    def _check_marks(self, figures: list[Figure]) -> None:
        if not figures or not all(isinstance(f, Figure) for f in figures):
            raise ValueError("figure must be a matplotlib Figure or a sequence of them")
        for mark in self.marks:
            if not isinstance(mark, Mark) or getattr(mark.ax, "figure", None) not in figures:
                raise ValueError(f"marks must be marks on axes of the figure, got {mark!r}")
            if hasattr(mark.ax, "get_zlim"):
                raise ValueError(f"marks must be on axes of two dimensions, got {type(mark).__name__} on {mark.ax!r}")
            along, drags = getattr(mark, "along", None), getattr(mark, "drag", ())
            if along is not None and along not in self._names:
                raise ValueError(f"along must name one of the sliders {self._names}, got {along!r}")
            for drag in drags:
                if drag not in self._names:
                    raise ValueError(f"drag must name one of the sliders {self._names}, got {drag!r}")

    def _lay_out(self) -> None:
        for fig in self._figures:
            _lay_out(fig, [mark for mark in self.marks if mark.ax.figure is fig])

    def _paint(self) -> None:
        self._artists = [artist for mark in self.marks for artist in self._painted(mark)]
        for artist in self._artists:
            artist.set_gid(_MARK)

    @functools.cached_property
    def _png(self) -> bytes:
        """The picture where no script runs; drawn when it is asked for, which in a page's Python it never is."""
        if any(artist.figure is None for artist in self._artists):  # another stage of the figures took them off
            self._lay_out()
            self._paint()
        return _png(self._figures)

    def _painted(self, mark: Mark) -> Sequence[Artist]:
        """The mark as it is before a reader moves a slider, and as it stays where no script runs."""
        index = tuple(s.index(s.value) for s in self.sliders)
        arrays = [getattr(mark, name) for name in mark.coordinates]
        if not isinstance(mark, Path):
            return mark.paint([entry(a, index, mark.length, self.sliders) for a in arrays])
        axis = self._names.index(mark.along)
        grown = [index[:axis] + (i,) + index[axis + 1:] for i in range(index[axis] + 1)]
        return mark.paint([a.line(self.sliders, index) if isinstance(a, Formula) else [entry(a, i) for i in grown]
                           for a in arrays])

    @property
    def position(self) -> tuple[int, ...]:
        """Where the sliders stand: the index of each one's position."""
        return tuple(s.index(getattr(self, s.name)) for s in self.sliders)

    @property
    def text(self) -> str:
        """The readout at the sliders' positions."""
        return "" if self.readout is None else self.readout.at(self.position, self.sliders)

    def __repr__(self) -> str:
        where = ", ".join(f"{s.name}={written(getattr(self, s.name), s.format)} ({s.values.size} positions)"
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


def _placed(ax: Any, figures: list[Any]) -> tuple[int, tuple[float, float, float, float]]:
    """Index of the figure of axes, and their place there in points, which are SVG's units: left, top, width, height."""
    panel, fig = next((i, fig) for i, fig in enumerate(figures) if fig is ax.figure)
    width, height = fig.get_size_inches() * 72
    box = ax.get_position()
    return panel, (box.x0 * width, (1 - box.y1) * height, box.width * width, box.height * height)


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
    if engine := fig.get_layout_engine():  # so that the axes have the place that they keep
        engine.execute(fig)
    for ax in fig.axes:
        ax.apply_aspect()


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
