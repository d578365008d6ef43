"""Every entry of every live figure's tables, against a computation that shares no code with the figure."""

import itertools
import re

import numpy as np
import pytest
from scipy.linalg import expm

from live_figures import (
    BOWL,
    BOWL_START,
    CENTRAL,
    DISTANCES,
    FIGURES,
    FLOW_END,
    FORWARD,
    POINTS,
    euler_path,
    heavy_ball,
    theta,
    tilted,
    wells_path,
)
from metacalc import Objective, Point, Stage
from metacalc.course.figures.gradient_descent import parabola
from test_figures_meta import CHECKS as META_CHECKS
from test_figures_outlook import CHECKS as OUTLOOK_CHECKS
from test_language import CHECKS as LANGUAGE_CHECKS
from test_practice import CHECKS as PRACTICE_CHECKS
from test_recommendation import CHECKS as RECOMMENDATION_CHECKS
from test_vision import CHECKS as VISION_CHECKS

ALL = [pytest.param(figure, id=f"{page}-{i}") for page, listed in FIGURES.items() for i, figure in enumerate(listed)]
NUMBER = re.compile(r"−?\d+(?:\.\d+)?(?:e[+−]\d+)?")


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
def test_readout_at_every_position(figure):
    stage = figure.build()
    positions = [range(s.values.size) for s in stage.sliders]
    for index in itertools.product(*positions):
        expected = figure.readout(*(s.values[i] for s, i in zip(stage.sliders, index)))
        shown = stage.readout.at(index)
        # What the view adds where a mark leaves the picture is tested in the browser.
        assert same_readout(shown, "\n".join(expected.split("\n")[:shown.count("\n") + 1])), (index, shown, expected)


def close(table, expected):
    expected = np.broadcast_to(expected, np.broadcast_shapes(np.shape(table), np.shape(expected)))
    np.testing.assert_allclose(np.broadcast_to(table, expected.shape), expected, rtol=1e-9, atol=1e-9)


def check_parabola(stage):
    n, eta = (s.values for s in stage.sliders)
    iterates = 10 * (1 - 2 * eta) ** n[:, None]
    path, point, decay, loss = stage.marks
    for mark in (path, point):
        close(mark.x, iterates)
        close(mark.y, iterates**2)
    for mark in (decay, loss):
        close(mark.x, n[:, None])
        close(mark.y, iterates**2)


def check_valley(stage):
    *levels, path, predicted, measured = stage.marks
    kappas, rates, betas = (s.values for s in stage.sliders)
    for i, j, k in np.ndindex(kappas.size, rates.size, betas.size):
        expected = heavy_ball(kappas[i], rates[j], betas[k], 40)
        np.testing.assert_allclose(np.stack([path.x[i, j, k], path.y[i, j, k]], -1), expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(measured.y[i, j, k], np.linalg.norm(expected, axis=-1), rtol=1e-6, atol=1e-9)
        blocks = [np.array([[1 + betas[k] - rates[j] * lam, -betas[k]], [1, 0]]) for lam in (1 / kappas[i], 1)]
        rho = max(np.abs(np.linalg.eigvals(b)).max() for b in blocks)
        np.testing.assert_allclose(predicted.y[i, j, k], 1.5 * rho ** np.arange(41), rtol=1e-5)
    for level in levels:  # every point of a level line has the same loss
        value = (level.x**2 / kappas[:, None, None, None] + level.y**2) / 2
        assert np.ptp(value) < 1e-12


def check_hills(stage):
    path, point, start, ends, end = stage.marks
    n, starts, rates = (s.values for s in stage.sliders)
    for j, k in np.ndindex(starts.size, rates.size):
        position, iterates = starts[j], []
        for _ in n:
            iterates.append(position)
            position -= rates[k] * (position / 5 + 2 * np.cos(2 * position))
        iterates = np.array(iterates)
        for mark in (path, point):
            np.testing.assert_allclose(mark.x[:, j, k], iterates, atol=1e-6)
            np.testing.assert_allclose(mark.y[:, j, k], iterates**2 / 10 + np.sin(2 * iterates), atol=1e-6)
        assert np.isclose(start.x[j, 0], starts[j])
        assert np.isclose(start.y[j, k], iterates[0] ** 2 / 10 + np.sin(2 * iterates[0]))
        assert np.isclose(end.y[j, k], iterates[-1], atol=1e-6) and np.isclose(ends.y[0, 0, k, j], iterates[-1], atol=1e-6)


def check_learning_to_learn(stage):
    n, alphas = (s.values for s in stage.sliders)
    *pairs, after, _, reached = stage.marks
    tasks = ((4, -2), (1, 1), (0.5, 2))
    for j, alpha in enumerate(alphas):
        position, path = -4.0, []
        for _ in n:
            path.append(position)
            position -= 0.3 * sum(a * (1 - alpha * a) ** 2 * (position - c) for a, c in tasks) / 3
        path = np.array(path)
        for (a, c), point, arrow in zip(tasks, pairs[::2], pairs[1::2]):
            close(point.x[:, j], path)
            close(point.y[:, j], a / 2 * (path - c) ** 2)
            close(arrow.x[:, j], path)
            close(arrow.dx[:, j], -alpha * a * (path - c))
            close(arrow.y[:, j] + arrow.dy[:, j], a / 2 * ((1 - alpha * a) * (path - c)) ** 2)
        mean = lambda t: sum(a / 6 * ((1 - alpha * a) * (t - c)) ** 2 for a, c in tasks)
        close(reached.y[:, j], mean(path))
        close(after.y[0, j], mean(after.x))


def check_secant(stage):
    tangent, secant, point, second, forward, central, now = stage.marks
    points, h = POINTS, DISTANCES
    close(tangent.y[:, 0, :], np.sin(points) + np.cos(points) * (tangent.x - points))
    close(secant.y, np.sin(points)[..., None] + FORWARD[..., None] * (secant.x - points[..., None]))
    close(np.stack([point.x, point.y]), [points, np.sin(points)])
    close(np.stack([second.x, second.y]), [points + h, np.sin(points + h)])
    for mark, table in ((forward, FORWARD), (central, CENTRAL)):
        close(mark.x, h)
        close(mark.y[:, 0], np.abs(table - np.cos(points)))
    close(now.x, h)
    close(now.y, np.abs(FORWARD - np.cos(points)))


def check_euler_steps(stage):
    flow, steps, errors, slope, now = stage.marks
    close(np.stack([flow.x, flow.y], -1), [expm(-t * BOWL) @ BOWL_START for t in np.linspace(0, 2, 101)])
    counts = stage.sliders[0].values.astype(int)
    expected = []
    for i, n in enumerate(counts):
        path = euler_path(n)
        padded = np.concatenate([path, np.repeat(path[-1:], counts[-1] - n, axis=0)])
        close(np.stack([steps.x[i], steps.y[i]], -1), padded)
        expected.append(np.linalg.norm(path[-1] - FLOW_END))
    for mark in (errors, now):
        close(np.stack([mark.x, mark.y]), [2 / counts, expected])
    close(slope.y / slope.x, expected[-1] * counts[-1] / 2)


def check_direction(stage):
    gradient, arrow, _, quotients, slope_now, quotient_now = stage.marks
    angles, h = (s.values for s in stage.sliders)
    u, v = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    close([gradient.dx * 3, gradient.dy * 3], [2.3, 1.7])
    close(np.stack([arrow.dx[:, 0], arrow.dy[:, 0]]), 0.7 * np.stack([u, v]))
    close([gradient.x, gradient.y, arrow.x, arrow.y], [1, 0.6, 1, 0.6])
    expected = (tilted(1 + np.multiply.outer(u, h), 0.6 + np.multiply.outer(v, h)) - tilted(1, 0.6)) / h
    close(quotient_now.y, expected)
    close(quotients.y[0], expected.T)
    close(slope_now.y[:, 0], 2.3 * u + 1.7 * v)
    close(np.stack([slope_now.x[:, 0], quotient_now.x[:, 0], quotients.x]), angles)


def check_chain(stage):
    curve, tangent, point, path, factor = stage.marks
    ks, starts, rates = (s.values for s in stage.sliders)
    for l, rate in enumerate(rates):
        for j, start in enumerate(starts):
            iterates, factors, _ = wells_path(ks[-1], start, rate)
            close(point.y[:, j, l], iterates)
            for mark in (path, factor):
                close(mark.y[:, j, l], factors)
            for i, k in enumerate(ks):
                product = wells_path(k, start, rate)[2]
                close(np.diff(tangent.y[i, j, l]) / np.diff(tangent.x[j, 0]), product)
                close([tangent.y[i, j, l].mean(), tangent.x[j, 0].mean()], [iterates[i], start])
        for i, begin in enumerate(curve.x):
            close(curve.y[:, 0, l, i], wells_path(ks[-1], begin, rate)[0])
    close(point.x[:, 0], starts)
    close(np.stack([path.x, factor.x])[:, :, 0, 0], ks)


CHECKS = {"chain": check_chain, "direction": check_direction, "euler_steps": check_euler_steps, "secant": check_secant,
          "learning_to_learn": check_learning_to_learn, "parabola": check_parabola, "valley": check_valley,
          "hills": check_hills, **META_CHECKS, **PRACTICE_CHECKS, **OUTLOOK_CHECKS, **RECOMMENDATION_CHECKS, **LANGUAGE_CHECKS,
          **VISION_CHECKS}


@pytest.mark.parametrize("figure", ALL)
def test_marks_at_every_position(figure):
    CHECKS[figure.readout.__name__](figure.build())


@pytest.mark.parametrize("figure", ALL)
def test_one_wrong_entry_is_noticed(figure):
    """The checks above are able to fail: each mark's table with one entry changed is refused."""
    stage = figure.build()
    check = CHECKS[figure.readout.__name__]
    for mark in stage.marks[:-2]:
        for name in ("x", "y"):
            table = getattr(mark, name)
            if table.size < 2 or mark.x.size == 2:
                continue
            wrong = table.copy()
            place = tuple(s // 2 for s in wrong.shape)
            if np.isnan(wrong[place]):  # a gap; take an entry that is drawn
                drawn = np.argwhere(~np.isnan(wrong))
                place = tuple(drawn[len(drawn) // 2])
            wrong[place] += 0.01
            object.__setattr__(mark, name, wrong)
            try:
                with pytest.raises(AssertionError):
                    check(stage)
            finally:
                object.__setattr__(mark, name, table)


@pytest.mark.parametrize("figure", ALL)
def test_places_in_the_picture(figure):
    """What the page gets: matplotlib's own transform, within a quarter of a pixel of a 400-pixel picture."""
    stage = figure.build()
    for look, mark in zip(stage.spec["marks"], stage.marks):
        for (offset, kind, shape), exact in zip(look["coordinates"], mark.place()):
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
