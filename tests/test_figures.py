"""Every entry of every live figure's tables, against a computation that shares no code with the figure."""

import itertools
import re

import numpy as np
import pytest

from conftest import positions
from live_figures import FIGURES, theta
from metacalc import Objective, Point, Stage
from metacalc.course.figures.gradient_descent import parabola
from metacalc.live import Formula

ALL = [pytest.param(figure, id=f"{page}-{i}") for page, listed in FIGURES.items() for i, figure in enumerate(listed)]
NUMBER = re.compile(r"−?\d+(?:\.\d+)?(?:e[+−]\d+)?")
MANY = 600  # positions of a figure


def same_readout(shown, expected):
    """Equal words, and numbers equal to one unit of the last digit shown."""
    shown, expected = (text.replace("-", "−") for text in (shown, expected))
    if NUMBER.sub("#", shown) != NUMBER.sub("#", expected):
        return False
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(expected)):
        mantissa, _, power = a.replace("−", "-").partition("e")
        unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
        if abs(float(a.replace("−", "-")) - float(b.replace("−", "-"))) > 1.001 * unit:
            return False
    return True


def test_same_readout_notices_a_digit():
    assert same_readout("θ = −1.234e−05 now", "θ = -1.235e-05 now")
    assert not same_readout("θ = 1.234", "θ = 1.236") and not same_readout("θ = 1.234", "x = 1.234")
    assert not same_readout("θ = −1.234", "θ = 1.234")


@pytest.mark.parametrize("figure", ALL)
def test_readout_at_its_positions(figure):
    """At every one; where there are many, or formulas make them endless, at the corners and some at random."""
    stage = figure.build()
    few = np.prod([s.values.size for s in stage.sliders]) <= MANY
    tables = not any(isinstance(table, Formula) for table in stage.readout.tables.values())
    all_of_them = itertools.product(*(range(s.values.size) for s in stage.sliders))
    for index in all_of_them if few and tables else positions(stage, MANY // 2):
        expected = figure.readout(*(s.values[i] for s, i in zip(stage.sliders, index)))
        shown = stage.readout.at(index, stage.sliders)
        # What the view adds where a mark leaves the picture is tested in the browser.
        assert same_readout(shown, "\n".join(expected.split("\n")[:shown.count("\n") + 1])), (index, shown, expected)


@pytest.mark.parametrize("figure", ALL)
def test_marks_at_every_position(figure):
    figure.check(figure.build())


def one_wrong_entry(table):
    """Copies of a table with its first, middle or last number changed, and one where a gap is filled; or another formula."""
    if isinstance(table, Formula):
        yield table + 0.01
        return
    drawn, gaps = np.argwhere(~np.isnan(table)), np.argwhere(np.isnan(table))
    for place in {tuple(drawn[i]) for i in (0, len(drawn) // 2, -1)}:
        wrong = table.copy()
        wrong[place] += 0.01 * max(1, abs(wrong[place]))
        yield wrong
    for place in map(tuple, gaps[:1]):
        wrong = table.copy()
        wrong[place] = 0.0
        yield wrong


@pytest.mark.parametrize("figure", ALL)
def test_one_wrong_entry_is_noticed(figure):
    """The checks above are able to fail: any table of any mark with one entry changed is refused."""
    stage = figure.build()
    figure.check(stage)  # what objects to everything has noticed nothing
    for i, mark in enumerate(stage.marks):
        for name in mark.coordinates:
            table = getattr(mark, name)
            for wrong in one_wrong_entry(table):
                object.__setattr__(mark, name, wrong)
                try:
                    figure.check(stage)
                except AssertionError:
                    continue
                finally:
                    object.__setattr__(mark, name, table)
                pytest.fail(f"{figure.check.__name__} overlooks {name} of mark {i}, {type(mark).__name__} {mark.label!r}")


@pytest.mark.parametrize("figure", ALL)
def test_places_in_the_picture(figure):
    """What the page gets: matplotlib's own transform, within a quarter of a pixel of a 400-pixel picture."""
    stage = figure.build()
    for look, mark in zip(stage.spec["marks"], stage.marks):
        for place, exact in zip(look["coordinates"], mark.place()):
            if isinstance(exact, tuple):  # a formula's numbers are made by the view: see test_formulas_js.py
                assert place["scale"] == exact[1]
                continue
            offset, kind, shape = place
            assert kind == "float16"
            shipped = np.frombuffer(stage.table, np.float16, int(np.prod(shape)), offset).reshape(shape).astype(float)
            exact = exact.reshape((1,) * (len(shape) - exact.ndim) + exact.shape)
            shipped = np.broadcast_to(shipped, exact.shape)  # what a slider does not change is shipped once
            inside = np.abs(exact) <= 0.5
            assert np.all(np.abs(shipped - exact)[inside] < 0.25 / 400)
            assert np.array_equal(np.isnan(shipped), np.isnan(exact))
            assert np.all(np.abs(shipped[~inside & ~np.isnan(exact)]) > 0.4999)


def test_parabola_wants_a_quadratic():
    with pytest.raises(ValueError, match="objective"):
        parabola(Objective(theta**4, theta))


@pytest.mark.parametrize("figure", ALL)
def test_every_figure_says_what_it_shows(figure):
    stage = figure.build()
    assert isinstance(stage, Stage) and len(stage.spec["alt"]) > 60
    points = [m for m in stage.marks if isinstance(m, Point)]
    assert all(m.name or m.label for m in points)
