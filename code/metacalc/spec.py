"""What a live figure is made of beside its pictures: sliders, readout, and the spec and the table that the view reads.

Nothing here needs matplotlib or a widget: `stage` makes figures of it that matplotlib paints, `axes` those that Python paints
in a page. `stage.js` describes the format.
"""

from __future__ import annotations

import keyword
import numbers
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metacalc.live import Formula, axis_scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, DTypeLike

    from metacalc.marks import Mark

__all__ = ["Guess", "Readout", "Slider", "Tables", "check_shapes", "check_sliders", "entry", "guess_spec", "mark_spec",
           "spec_of", "whole", "written"]


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


@dataclass(frozen=True)
class Guess:
    """What a reader may predict before the figure shows it: a coordinate, set by a slider or a click in the axes.

    Parameters
    ----------
    ax : Axes
        Of the figure, where the guess is drawn as a line.
    axis : str
        "x" or "y": which coordinate is asked for.
    question : str
        What the reader is asked.
    answer : array_like or Formula
        What is true, over the sliders' positions.
    hides : sequence of Mark
        Marks of the figure that would tell; they come back with the answer.
    format : str
        Of guess and answer.

    Raises
    ------
    ValueError
        If an argument is not of that kind.
    """

    ax: Any
    axis: str
    question: str
    answer: Any
    hides: Sequence[Mark]
    format: str = ".2f"

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y"):
            raise ValueError(f"axis must be 'x' or 'y', got {self.axis!r}")
        if not (isinstance(self.question, str) and self.question.strip()):
            raise ValueError("question must ask something")
        _check_format(self.format, "format")
        if not isinstance(self.answer, Formula):
            object.__setattr__(self, "answer", np.asarray(self.answer, float))


def guess_spec(guess: Guess, panel: int, box: Iterable[float], marks: Sequence[Mark], sliders: Sequence[Slider],
               tables: Tables) -> dict[str, Any]:
    """What the view needs to ask; arguments as of `mark_spec`, with the marks in their order.

    Raises
    ------
    ValueError
        If the answer is not one over the sliders' positions, or a mark that it hides is not the figure's.
    """
    check_shapes([], Readout("", answer=guess.answer), sliders)
    if not all(any(mark is hidden for mark in marks) for hidden in guess.hides):
        raise ValueError("hides must be marks of the figure")
    return {"question": guess.question, "panel": panel, "box": [round(float(v), 3) for v in box], "axis": guess.axis,
            "scale": axis_scale(guess.ax, guess.axis), "format": guess.format,
            "answer": tables.add_field(guess.answer, sliders)["at"],
            "hides": [i for i, mark in enumerate(marks) if any(mark is hidden for hidden in guess.hides)]}


class Readout:
    """The numbers under the picture.

    Parameters
    ----------
    template : str
        As of `str.format`, with the names of sliders and tables as fields and the formats f, e, g, d, and s for the ending
        of a plural: nothing at 1.
    **tables : array_like or Formula
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

    def __init__(self, template: str, **tables: ArrayLike | Formula) -> None:
        self.template = template
        self.tables = {name: t if isinstance(t, Formula) else np.asarray(t) for name, t in tables.items()}
        for name, table in self.tables.items():
            if not isinstance(table, Formula) and table.dtype.kind not in "iufbU":
                raise ValueError(f"table {name!r} must hold numbers or strings")
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name == "" or conversion:
                raise ValueError(f"template must name its fields, without conversion, got {template!r}")
            if name is not None and spec != "s" and not (name in self.tables and _is_words(self.tables[name])):
                _check_format(spec or ".4g", f"format of {name}")

    def segments(self) -> list[list[str | None]]:
        """List of [text, field or None, format]."""
        return [[text, name, spec or ".4g"] for text, name, spec, _ in string.Formatter().parse(self.template)]

    def at(self, index: tuple[int, ...], sliders: Sequence[Slider] = ()) -> str:
        """Text at one position of the sliders, which formulas need to know."""
        def told(name, spec):
            table = self.tables[name]
            value = entry(table, index, sliders=sliders)
            if isinstance(table, Formula) and table.labels:
                return table.labels[int(value)]
            return str(value) if _is_words(table) else written(value, spec)

        return "".join(f"{text}{'' if name is None else told(name, spec)}" for text, name, spec in self.segments())


def _is_words(table):
    return bool(table.labels) if isinstance(table, Formula) else table.dtype.kind == "U"


class Tables:
    """Arrays one behind the other in a buffer, and what is iterated, each once."""

    def __init__(self) -> None:
        self.buffer, self._places, self.runs, self._iterated = bytearray(), {}, [], []

    def add(self, array: ArrayLike, dtype: DTypeLike) -> list:
        """Where the array is found: [offset in bytes, kind of number, shape]."""
        data = np.ascontiguousarray(array, dtype=dtype)
        key = (data.dtype.char, data.shape, data.tobytes())
        if key not in self._places:
            self.buffer.extend(bytes(-len(self.buffer) % data.itemsize))
            self._places[key] = [len(self.buffer), data.dtype.name, list(data.shape)]
            self.buffer.extend(key[2])
        return self._places[key]

    def add_formula(self, formula: Formula, sliders: Sequence[Slider]) -> dict[str, Any]:
        """What the view evaluates of a formula, its iteration among the `runs`."""
        codes, run, names = formula.codes(sliders), formula.run, [s.name for s in sliders]
        made: dict[str, Any] = {"value": codes["value"][0]}
        if run is not None:
            if run not in self._iterated:
                steps = {"slider": names.index(run.steps)} if isinstance(run.steps, str) else {"count": run.steps}
                self._iterated.append(run)
                self.runs.append({"start": codes["start"], "update": codes["update"], **steps})
            made["run"] = self._iterated.index(run)
        if formula.values is not None:
            made["over"] = self.add(formula.values, np.float64)
        return made

    def add_field(self, table: np.ndarray | Formula, sliders: Sequence[Slider]) -> dict[str, Any]:
        """Where a readout's table is found; for one of words, where their numbers in a list are, and the list."""
        if isinstance(table, Formula):
            return {"at": self.add_formula(table, sliders)} | ({"labels": list(table.labels)} if table.labels else {})
        table = _full_rank(table, len(sliders))
        if table.dtype.kind == "U":
            labels, codes = np.unique(table, return_inverse=True)
            return {"labels": labels.tolist(), "at": self.add(codes.reshape(table.shape), np.uint32)}
        return {"at": self.add(table, np.float64)}


def check_sliders(sliders: Sequence[Slider], play: str | None) -> None:
    """ValueError unless these are one to eight sliders of distinct names, and `play` is one of the names or none."""
    if not 1 <= len(sliders) <= 8 or not all(isinstance(s, Slider) for s in sliders):
        raise ValueError(f"sliders must be one to eight Slider, got {sliders!r}")
    names = [s.name for s in sliders]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sliders need distinct names that a widget has no other use for, got {name!r}")
    if play is not None and play not in names:
        raise ValueError(f"play must name one of the sliders {names}, got {play!r}")


def whole(readout: Readout, sliders: Sequence[Slider]) -> Readout:
    """The readout with the positions of the sliders among its tables; ValueError if it has a field without a table."""
    if not isinstance(readout, Readout):
        raise ValueError(f"readout must be a Readout, got {readout!r}")
    positions = {s.name: _along(s.values, i, len(sliders)) for i, s in enumerate(sliders)}
    made = Readout(readout.template, **positions | readout.tables)
    missing = {name for _, name, _ in made.segments() if name} - set(made.tables)
    if missing:
        raise ValueError(f"readout has no table for the fields {sorted(missing)}")
    return made


def check_shapes(marks: Iterable[Mark], readout: Readout | None, sliders: Sequence[Slider]) -> None:
    """ValueError unless every array of the marks and of the readout broadcasts to the sliders' positions or is a formula."""
    shape = tuple(s.values.size for s in sliders)
    tables = {} if readout is None else {f"readout table {n!r}": t for n, t in readout.tables.items()}
    for mark in marks:
        for name in mark.coordinates:
            array = getattr(mark, name)
            # The last axis of a curve runs along it, whatever its length.
            of = f"{name} of {type(mark).__name__}"
            tables[of] = array[..., 0] if mark.length and not isinstance(array, Formula) and array.ndim else array
    for name, array in tables.items():
        if isinstance(array, Formula):
            array.check(sliders)
            continue
        # NumPy's own broadcasting refuses shapes of more elements than an address can name, as those of a few sliders are.
        if array.ndim > len(shape) or any(n not in (1, full) for n, full in zip(array.shape[::-1], shape[::-1])):
            raise ValueError(f"{name} has shape {array.shape}, which does not broadcast to the sliders' {shape}")


def mark_spec(mark: Mark, panel: int, box: Iterable[float], sliders: Sequence[Slider], tables: Tables) -> dict[str, Any]:
    """What the view needs to draw a mark, whose coordinates go into `tables`.

    Parameters
    ----------
    mark : Mark
    panel : int
        Index of its picture.
    box : iterable of four floats
        Left, top, width and height of its axes in the picture, in points.
    sliders : sequence of Slider
    tables : Tables

    Returns
    -------
    dict
    """
    n_axes, names = len(sliders), [s.name for s in sliders]

    def placed(c):
        if isinstance(c, tuple):
            formula, scale = c
            return tables.add_formula(formula, sliders) | {"scale": scale}
        return tables.add(_collapsed(_full_rank(c, n_axes + mark.length).astype(np.float16), n_axes), np.float16)

    spec = {
        **mark.look(), "panel": panel, "color": mark.color, "box": [round(float(v), 3) for v in box],
        "coordinates": [placed(c) for c in mark.place()],
    }
    if mark.toggle:
        spec["toggle"] = mark.label
    along, drag = getattr(mark, "along", ""), getattr(mark, "drag", ())
    return spec | ({"along": names.index(along)} if along else {}) | ({"drag": [names.index(d) for d in drag]} if drag else {})


def spec_of(looks: list[dict[str, Any]], sliders: Sequence[Slider], readout: Readout | None, tables: Tables, *, alt: str,
            play: str | None = None, guess: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the view needs beside the pictures and the tables; `stage.js` describes it.

    Parameters
    ----------
    looks : list of dict
        As `mark_spec` makes them.
    sliders : sequence of Slider
    readout : Readout or None
        As `whole` makes it.
    tables : Tables
        Where the readout's go.
    alt : str
    play : str, optional
    guess : dict, optional
        As `guess_spec` makes it.

    Returns
    -------
    dict
    """
    fields = {} if readout is None else readout.tables
    start = tuple(s.index(s.value) for s in sliders)
    return {
        "alt": alt, "text": "" if readout is None else readout.at(start, sliders), "marks": looks,
        "play": [s.name for s in sliders].index(play) if play else 0,
        "sliders": [{"name": s.name, "label": s.label, "values": s.values.tolist(), "value": s.value,
                     "format": s.format, "unit": s.unit, "names": list(s.names)} for s in sliders],
        "readout": readout.segments() if readout else [],
        "fields": {name: tables.add_field(table, sliders) for name, table in fields.items()},
        "runs": tables.runs,
    } | ({"guess": guess} if guess else {})


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


def entry(array: np.ndarray | Formula, index: tuple[int, ...], extra: int = 0, sliders: Sequence[Slider] = ()) -> Any:
    """Entry at the sliders' positions of an array that broadcasts over them; `extra` further axes stay. Or a formula's."""
    if isinstance(array, Formula):
        return array.line(sliders, index) if extra else array.at(sliders, index)
    own = array.ndim - extra
    return array[tuple(0 if n == 1 else i for n, i in zip(array.shape, index[len(index) - own:]))]


def _check_format(spec, name):
    if not (isinstance(spec, str) and re.fullmatch(r"\.1?\d[feg]|d", spec)):
        raise ValueError(f"{name} must be d or a number of digits with f, e or g, such as .3f; got {spec!r}")


def written(value: Any, spec: str) -> str:
    """A number in one of the formats d, .nf, .ne and .ng, or s, the ending of a plural."""
    if spec == "s":
        return "" if value == 1 else "s"
    if not np.isfinite(value):
        return {np.inf: "∞", -np.inf: "−∞"}.get(float(value), "not a number")
    text = format(float(value), ".0f" if spec == "d" else spec)
    return re.sub(r"^-(?=[0.]*(e|$))", "", text).replace("-", "−")  # no −0
