"""The stage as an object: traits, tables, the static picture, and bad input refused by name."""

import gc
import re
import weakref

import matplotlib.pyplot as plt
import numpy as np
import pytest
import traitlets
from matplotlib.figure import Figure

from metacalc import Arrow, Curve, Path, Point, Readout, Slider, Stage
from metacalc.stage import panel


def sliders():
    return [Slider("n", np.arange(3), "iterations", format="d"), Slider("eta", [0.1, 0.2], "rate η", 0.2, unit="1/s")]


def small(**changes):
    ax = panel("x", "y", (0, 1), (1e-2, 1e2), yscale="log")
    arguments = dict(figure=ax.figure, marks=[Point(ax, [[0.5], [0.6], [0.7]], [1.0, 10.0], color="red")], sliders=sliders(),
                     readout=Readout("η = {eta:.1f}, n = {n:d}: {v:.2f} {word}", v=[1.0, 2.0], word=["low", "high"]),
                     alt="A point.")
    return Stage(**arguments | changes)


def test_positions_are_traits():
    stage, seen = small(), []
    assert (stage.n, stage.eta, stage.position) == (0, 0.2, (0, 1))
    stage.observe(lambda change: seen.append(change.new), "eta")
    stage.eta = 0.12
    assert stage.eta == 0.1 and seen == [0.1] and stage.text == "η = 0.1, n = 0: 1.00 low"
    other = small()
    link = traitlets.link((stage, "n"), (other, "n"))
    stage.n = 2
    assert other.n == 2
    link.unlink()
    stage.n = np.int64(1)
    for bad in (0.5, np.nan, -1, "fast", None):
        with pytest.raises(ValueError, match="eta"):
            stage.eta = bad


def test_places_follow_the_scales_of_the_axes():
    ax = panel("x", "y", (0, 10), (1e-2, 1e2), yscale="log")
    x, y = Point(ax, [0.0, 5.0, 10.0, 20.0, np.nan, 0.0], [1.0, 1e-2, 1e2, 0.0, 1.0, np.inf]).place()
    np.testing.assert_allclose(x[:4], [-0.5, 0, 0.5, 1.5])
    np.testing.assert_allclose(y[:3], [0, -0.5, 0.5], atol=1e-12)
    assert y[3] < -10 and np.isnan(x[4]) and np.isnan(y[4]) and y[5] > 10


def test_readout_formats():
    readout = Readout("{a:.3g} {b:.1e} {c:d} {d:.2f}", a=[1234.5, np.nan, np.inf], b=[-0.00015, 0, 1], c=[2.0, 3, 4],
                      d=[1, 2, -np.inf])
    assert readout.at((0,)) == "1.23e+03 −1.5e−04 2 1.00"
    assert readout.at((1,)).startswith("not a number") and readout.at((2,)).startswith("∞") and readout.at((2,)).endswith("−∞")


def test_readouts_of_one_template_do_not_mix():
    shared = Readout("η = {eta:.1f}")
    first = small(readout=shared)
    second = small(readout=shared, sliders=[sliders()[0], Slider("eta", [5, 6], "rate")])
    assert first.text == "η = 0.2" and second.text == "η = 5.0"


def test_limits_that_matplotlib_has_not_settled_yet_hold():
    figure, ax = plt.subplots()
    ax.plot([0, 100], [0, 50])
    (u,), (v,) = Stage(figure, [Point(ax, [50.0], [25.0])], [Slider("n", [0], "n")], alt="A point.").marks[0].place()
    assert abs(u) < 1e-9 and abs(v) < 1e-9


def test_far_paths_keep_their_direction_and_far_points_their_sides():
    ax = panel("x", "y", (0, 1), (0, 1))
    x, y = Path(ax, [1e6, 1e300], [1e12, -1e300]).place()
    assert abs(x[0] / y[0] - 1e-6) < 1e-9 and np.isclose(x[1], -y[1])
    x, y = Point(ax, [1e6, 1e300, 0.25], [1e12, -1e300, 1e300]).place()
    assert x[0] > 1e3 and y[0] > 1e3 and x[1] > 1e3 and y[1] < -1e3 and np.isclose(x[2], -0.25) and y[2] > 1e3
    Stage(ax.figure, [Arrow(ax, 0.5, 0.5, dx=-1e300, dy=1e300)], [Slider("n", [0], "n")], alt="An arrow.")


def test_a_legend_has_as_many_columns_as_its_figure_is_wide_enough_for():
    for words, columns in (("short", 3), ("some words", 2), ("a label of very many words, which has a row of its own", 1)):
        ax = panel("x", "y", (0, 1), (0, 1))
        Stage(ax.figure, [Point(ax, 0.5, 0.5, label=f"{words} {i}") for i in range(3)], sliders(), alt="Points.")
        (legend,) = ax.figure.legends
        assert legend._ncols == columns and (columns == 1 or legend.get_window_extent().width <= ax.figure.bbox.width)


def test_the_legend_and_the_static_picture_draw_lines_as_the_view_does():
    ax = panel("x", "y", (0, 1), (0, 1))
    marks = [Path(ax, [0.1, 0.2], 0.5), Curve(ax, [0.1, 0.2], 0.5, dots=True, width=2.5), Arrow(ax, 0.1, 0.1, dx=0.2, dy=0.2)]
    for mark in marks:
        look, handle = mark.look(), mark.handle()
        assert handle.get_linewidth() == look["width"]
        if "dot" in look:  # of one colour, without a rim
            assert (handle.get_markersize(), handle.get_markeredgewidth()) == (look["dot"], 0)
    assert [Arrow(ax, 0.1, 0.1, dx=0.2, dy=0.2, label=label).look()["name"] for label in ("", "ours")] == [
        "An arrow", "ours’s arrow"]
    (patch,) = marks[-1].paint((0.1, 0.1, 0.2, 0.2))
    assert patch.get_linewidth() == marks[-1].look()["width"]


def test_a_panel_has_a_grid_two_sides_and_words_of_nine_points():
    ax = panel("x", "y", (0, 1), (0, 1))
    assert {side for side, spine in ax.spines.items() if spine.get_visible()} == {"left", "bottom"}
    assert all(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())
    Stage(ax.figure, [Point(ax, 0.5, 0.5, label="a point")], sliders(), alt="A point.")
    assert {text.get_fontsize() for text in (*ax.figure.legends[0].get_texts(), *ax.get_xticklabels())} == {9}


def test_a_closed_stage_is_forgotten():
    stage = small()
    kept = weakref.ref(stage)
    stage.close()
    del stage
    gc.collect()
    assert kept() is None


def test_positions_can_have_names():
    slider = Slider("who", [0, 1], "who", names=["Ada", "Emmy"], format="d")
    ax = panel("x", "y", (0, 1), (0, 1))
    assert Stage(ax.figure, [], [slider], alt="Nothing.").spec["sliders"][0]["names"] == ["Ada", "Emmy"]
    for bad in (dict(names=["Ada"]), dict(names=["Ada", 3]), dict(label=5), dict(values=[0.5, 1.5])):
        with pytest.raises(ValueError, match="names|label|format"):
            Slider(**dict(name="who", values=[0, 1], label="who", format="d") | bad)


def test_ids_of_pictures_differ():
    first, second = small(), small(marks=[])
    ids = [set(re.findall(r'\bid="([^"]+)"', stage.pictures[0])) for stage in (first, second)]
    assert ids[0] and not ids[0] & ids[1]


def test_the_static_picture_has_the_marks_and_theme_colours():
    stage = small()
    (svg,) = stage.pictures
    assert svg.startswith("<svg") and svg.count('class="stage-mark"') == 1 and "var(--stage-ink" in svg
    assert "dc:date" not in svg and stage._repr_mimebundle_()[0]["image/png"][:4] == b"\x89PNG"
    assert small().pictures == stage.pictures, "the same picture twice must be the same text"
    assert repr(stage) == repr(small()) == "Stage(n=0 (3 positions), eta=0.2 (2 positions)): η = 0.2, n = 0: 2.00 high"


def test_several_figures_and_every_mark():
    left, right = panel("x", "y", (0, 1), (0, 1)), panel("x", "y", (0, 1), (0, 1))
    stage = Stage([left.figure, right.figure], [
        Path(left, np.arange(3)[:, None] / 3, [0.1, 0.2], along="n", label="path"),
        Curve(right, [0.0, 0.5, 1.0], np.arange(6).reshape(1, 2, 3), color="green", dots=True, width=4.0),
        Arrow(right, 0.1, [0.1, 0.2], dx=0.3, dy=[[0.1], [0.2], [0.3]], color="purple"),
    ], sliders(), alt="Three marks.", play="eta")
    assert [m["panel"] for m in stage.spec["marks"]] == [0, 1, 1] and stage.spec["play"] == 1
    assert len(stage.pictures) == 2 and stage.text == "" and [m["width"] for m in stage.spec["marks"]] == [1.3, 4.0, 2]
    assert "stroke-width: 4" in stage.pictures[1]


def test_marks_of_one_label_are_switched_together_and_stand_in_the_legend_once():
    ax = panel("x", "y", (0, 1), (0, 1))
    both = dict(label="ours", toggle=True)
    stage = Stage(ax.figure,
                  [Point(ax, 0.5, 0.5, **both), Arrow(ax, 0.1, 0.1, dx=0.2, dy=0.2, **both),
                   Point(ax, 0.2, 0.2, label="theirs")],
                  sliders(), alt="Three marks.")
    assert [m.get("toggle") for m in stage.spec["marks"]] == ["ours", "ours", None]
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == ["ours", "theirs"]


@pytest.mark.parametrize("make, word", [
    (lambda: Slider("eta", [], "rate"), "values"), (lambda: Slider("eta", [1, np.nan], "rate"), "values"),
    (lambda: Slider("eta", [2, 1], "rate"), "values"), (lambda: Slider("eta", [[1]], "rate"), "values"),
    (lambda: Slider("eta", ["a"], "rate"), "values"), (lambda: Slider("1", [1], "rate"), "name"),
    (lambda: Slider("lambda", [1], "rate"), "name"),
    (lambda: Slider("eta", [2**53, 2**53 + 1], "rate"), "values"), (lambda: Slider("eta", [1, 2], "rate", "a"), "eta"),
    (lambda: Slider("eta", [1], "rate", format=None), "format"), (lambda: Readout("{}", a=[1]), "template"),
    (lambda: Readout("{a!r}", a=[1]), "template"), (lambda: Readout("{a}", a=[1j]), "table"),
    (lambda: small(sliders=["n"]), "sliders"), (lambda: small(sliders=[Slider("_shape", [1], "l")]), "sliders"),
    (lambda: small(figure=None), "figure"),
    (lambda: Slider("eta", [1, 2], ""), "label"), (lambda: Slider("eta", [1, 2], "rate", 5), "eta"),
    (lambda: Slider("eta", [1, 2], "rate", format="%d"), "format"), (lambda: Readout("{a:>3}", a=[1]), "format"),
    (lambda: small(alt=" "), "alt"), (lambda: small(figure=[]), "figure"), (lambda: small(figure="picture"), "figure"),
    (lambda: small(sliders=[]), "sliders"), (lambda: small(sliders=[sliders()[0]] * 2), "sliders"),
    (lambda: small(sliders=[Slider("layout", [1], "l")]), "sliders"), (lambda: small(play="alpha"), "play"),
    (lambda: small(readout="text"), "readout"), (lambda: small(readout=Readout("{missing}", v=[1.0, 2.0])), "missing"),
    (lambda: small(readout=Readout("{v:.1f}", v=np.ones(5))), "v"), (lambda: small(marks=[3]), "marks"),
    (lambda: small(marks=[Point(Figure().subplots(), 1, 1)]), "marks"),
])
def test_bad_input_is_refused_by_name(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize("kind, arguments, word", [
    (Point, dict(x=np.ones(5), y=1.0), "x of Point"), (Point, dict(x=[], y=1.0), "x of Point"),
    (Point, dict(x=1.0, y=["a"]), "y of Point"),
    (Point, dict(x=1.0, y=1.0, color="mauve"), "color"), (Point, dict(x=1.0, y=1.0, shape="star"), "shape"),
    (Path, dict(x=1.0, y=1.0, along="alpha"), "along"), (Curve, dict(x=[1.0, 2], y=np.ones((4, 2))), "y of Curve"),
    (Arrow, dict(x=1.0, y=1.0), "dx of Arrow"), (Curve, dict(x=np.ones(5), y=np.ones(4)), "equal length"),
    (Curve, dict(x=np.ones(5), y=np.ones(5), width=0), "width"),
    (Point, dict(x=1.0, y=1.0, toggle=True), "toggle"), (Path, dict(x=1.0, y=1.0, along="n", dash="xx"), "dash"),
    (Point, dict(x=1.0, y=1.0, drag="alpha"), "drag"),
])
def test_bad_marks_are_refused_by_name(kind, arguments, word):
    ax = panel("x", "y", (0, 1), (0, 1))
    with pytest.raises(ValueError, match=word):
        Stage(ax.figure, [kind(ax, **arguments)], sliders(), alt="A mark.")
