"""What a stage ships: where its marks are painted, the tables' form, one palette; and figures that serve again."""

import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from conftest import ROOT
from metacalc import Arrow, Curve, Path, Point, Readout, Slider, Stage
from metacalc.marks import COLORS, DARK
from metacalc.stage import panel, style_sheet

N, K = np.arange(4)[:, None], np.arange(3)
PAIR = re.compile(r"(-?[\d.]+) (-?[\d.]+)")


def sliders():
    return [Slider("n", N[:, 0], "steps", 2), Slider("k", K, "levels", 1)]


def axes(**changes):
    return panel(**dict(xlabel="x", ylabel="y", xlim=(0, 4), ylim=(0, 8), title="Marks") | changes)


def painted(stage, color):
    """Corners of the outlines, and places of the dots, that the static picture has of a colour."""
    groups = re.findall(r'<g class="stage-mark">.*?</g>', stage.pictures[0], re.DOTALL)
    groups = [group for group in groups if COLORS[color] in group]
    outlines = [np.array(PAIR.findall(d), float) for group in groups for d in re.findall(r'<path d="([^"]*)"', group)]
    dots = [place for group in groups for place in re.findall(r'<use[^>]* x="([-\d.]+)" y="([-\d.]+)"', group)]
    return outlines, np.array(dots, float)


def in_points(ax, places):
    """Where matplotlib has places of the data, in units of the SVG: points, from the top."""
    scale, height = 72 / ax.figure.dpi, 72 * ax.figure.get_figheight()
    return np.array([0, height]) + np.array([scale, -scale]) * ax.transData.transform(np.asarray(places, float))


def test_the_static_picture_has_the_marks_where_the_sliders_start():
    ax = axes()
    stage = Stage(ax.figure, [
        Path(ax, N, 2 * K, along="n", color="blue"), Point(ax, N, 3 * K, color="red"),
        Curve(ax, [0.0, 1.0, 2.0, 4.0], K[:, None] + [0.0, 2.0, 5.0, 6.0], color="green", dots=True),
    ], sliders(), alt="Marks.")
    (line,), dots = painted(stage, "blue")
    np.testing.assert_allclose(line, in_points(ax, [[0, 2], [1, 2], [2, 2]]), atol=0.01)
    np.testing.assert_allclose(dots, line, atol=0.01)
    np.testing.assert_allclose(painted(stage, "red")[1], in_points(ax, [[2, 3]]), atol=0.01)
    (line,), dots = painted(stage, "green")
    np.testing.assert_allclose(line, in_points(ax, [[0, 1], [1, 3], [2, 6], [4, 7]]), atol=0.01)
    np.testing.assert_allclose(dots, line, atol=0.01)


def test_a_hollow_point_is_a_ring_of_its_colour():
    ax = axes()
    ring, disc = (Point(ax, 1, 2, color="red", hollow=hollow) for hollow in (True, False))
    for artist in (*ring.paint([1, 2]), ring.handle()):
        assert (artist.get_markerfacecolor(), artist.get_markeredgecolor()) == (COLORS["paper"], COLORS["red"])
    assert ring.look() == disc.look() | {"hollow": True} and disc.handle().get_markerfacecolor() == COLORS["red"]


@pytest.mark.parametrize("yscale, ylim", [("linear", (0, 8)), ("log", (1e-2, 1e2))])
def test_the_static_picture_has_arrows_from_foot_to_head(yscale, ylim):
    ax = axes(yscale=yscale, ylim=ylim)
    stage = Stage(ax.figure, [Arrow(ax, N / 2, 1.0 * K, dx=N, dy=3.0 * K, color="purple")], sliders(), alt="An arrow.")
    (shaft, head), _ = painted(stage, "purple")
    foot, tip = in_points(ax, [[1, 1], [3, 4]])
    np.testing.assert_allclose(shaft[0], foot, atol=0.01)
    assert np.hypot(*(head[1] - tip)) < 3, "within the width of its line"
    along, across = tip - foot, (head[1] - foot) @ [[0, 1], [-1, 0]]
    assert abs(across @ along) / (along @ along) < 1e-3, "on the way from foot to head"


def test_the_static_picture_has_no_arrow_that_is_no_number_or_far_away():
    for length in (np.nan, np.inf, 1e9):
        ax = axes()
        stage = Stage(ax.figure, [Arrow(ax, 1, 1, dx=length, dy=1, color="purple")], sliders(), alt="An arrow.")
        assert painted(stage, "purple")[0] == []


def test_viewers_that_run_no_widget_have_the_marks_too():
    ax = axes()
    png = Stage(ax.figure, [Point(ax, N, K, color="red")], sliders(), alt="A point.")._png
    image = plt.imread(io.BytesIO(png))[..., :3]
    rows, columns = np.nonzero(np.abs(image - to_rgb(COLORS["red"])).max(axis=-1) < 0.02)
    assert rows.size > 50
    np.testing.assert_allclose([columns.mean(), rows.mean()], in_points(ax, [2, 1]) * 110 / 72, atol=1.5)
    assert image.shape[:2] == tuple(np.round(ax.figure.get_size_inches()[::-1] * 110).astype(int))


@pytest.mark.parametrize("label", ["", "a legend"])
def test_the_box_is_matplotlib_s(label):
    left, right = axes(size=(3.0, 2.0), title=""), axes(yscale="log", ylim=(1e-9, 1e9))
    stage = Stage([left.figure, right.figure], [Point(right, 1, 1, label=label), Point(left, 1, 1)], sliders(), alt="Points.")
    for look, ax in zip(stage.spec["marks"], (right, left)):
        left, bottom, width, height = np.array(ax.get_window_extent().bounds) * 72 / ax.figure.dpi
        top = 72 * ax.figure.get_figheight() - bottom - height
        np.testing.assert_allclose(look["box"], [left, top, width, height], atol=2e-3)


def shipped(stage, place):
    offset, kind, shape = place
    assert offset % np.dtype(kind).itemsize == 0, "an array of a browser begins at a multiple of its type's size"
    return np.frombuffer(stage.table, kind, int(np.prod(shape)), offset).reshape(shape)


def test_tables_have_an_axis_for_every_slider_and_the_types_that_the_view_reads():
    ax = axes()
    stage = Stage(ax.figure, [Point(ax, N, 2.0), Path(ax, N, K, along="n"), Curve(ax, [0.0, 1.0], K[:, None] + [0.0, 1.0]),
                              Arrow(ax, 1.0, 1.0, dx=K, dy=N + K)],
                  sliders(), Readout("{v:.3f} {word} {n}", v=np.pi * K, word=["odd", "even", "odd"]), alt="Marks.")
    kinds = {kind for look in stage.spec["marks"] for _, kind, _ in look["coordinates"]}
    shapes = [[shape for _, _, shape in look["coordinates"]] for look in stage.spec["marks"]]
    assert kinds == {"float16"}
    assert shapes == [[[4, 1], [1, 1]], [[4, 1], [1, 3]], [[1, 1, 2], [1, 3, 2]], [[1, 1], [1, 1], [1, 3], [4, 3]]]
    fields = stage.spec["fields"]
    forms = [fields[name]["at"][1:] for name in ("v", "word", "n")]
    assert forms == [["float64", [1, 3]], ["uint32", [1, 3]], ["float64", [4, 1]]]
    assert shipped(stage, fields["v"]["at"]).tolist() == [list(np.pi * K)]
    assert [fields["word"]["labels"][i] for i in shipped(stage, fields["word"]["at"])[0]] == ["odd", "even", "odd"]
    assert shipped(stage, fields["n"]["at"]).tolist() == N.tolist() and "labels" not in fields["n"]


def test_an_array_is_shipped_once_and_begins_where_a_browser_can_read_it():
    ax = axes()
    stage = Stage(ax.figure, [Point(ax, N, 2.0), Point(ax, N, 2.0, color="red")], sliders(), Readout("{v}", v=np.pi * K),
                  alt="A point.")
    assert stage.spec["marks"][0]["coordinates"] == stage.spec["marks"][1]["coordinates"]
    assert shipped(stage, stage.spec["fields"]["v"]["at"]).tolist() == [list(np.pi * K)]
    assert len(stage.table) == 16 + 8 * (4 + 3 + 3), "five halves, what is missing to a multiple of 8, and the positions and v"


def test_half_precision_is_finite_wherever_a_mark_is():
    far = np.array([1e300, -1e300, np.inf, np.nan])[:, None]
    ax = axes()
    marks = [Point(ax, far, 1.0), Point(ax, 1.0, -far), Path(ax, far, far, along="n"), Arrow(ax, 1, 1, dx=far, dy=-1e9)]
    stage = Stage(ax.figure, marks, sliders(), alt="Far away.")
    for look in stage.spec["marks"]:
        tables = [shipped(stage, place).astype(float) for place in look["coordinates"]]
        assert not any(np.isinf(table).any() for table in tables), look["kind"]
        assert any(np.isnan(table[-1]).any() for table in tables), "what is no number stays so"
        assert max(np.abs(table[:3]).max() for table in tables) > 1e3, "and what is far, far"


def test_a_figure_serves_a_second_stage_as_it_served_the_first():
    def made(ax, label):
        return Stage(ax.figure, [Point(ax, N, K, label=label), Arrow(ax, 1, 1, dx=1, dy=K)], sliders(), alt="Marks.")

    def picture(stage):
        """Without its ids: a clip's is a hash of its place to the last digit, and a layout is not so exact."""
        return re.sub(r'(\bid="|#)\w+-\w+', r"\1", stage.pictures[0])

    for before, after in (("a label", "another"), ("a label", ""), ("", "a label")):
        used, kept = axes(), axes()
        first = made(used, before)
        again, fresh = made(used, after), made(kept, after)
        assert again.spec == fresh.spec and again.table == fresh.table
        assert picture(again) == picture(fresh) != picture(first)


def test_axes_of_three_dimensions_are_refused():
    figure = plt.figure()
    with pytest.raises(ValueError, match="two dimensions.*Point"):
        Stage(figure, [Point(figure.add_subplot(projection="3d"), 1, 1)], sliders(), alt="A point.")


def test_the_palette_has_one_home():
    assert set(DARK) == set(COLORS)
    assert not re.search("#[0-9a-f]{3}", (ROOT / "code/metacalc/stage.css").read_text(encoding="utf-8"), re.IGNORECASE)
    light, _, dark = style_sheet().partition("@media screen")
    for name, code in COLORS.items():
        assert f"--stage-{name}: {'#ffffff' if name == 'paper' else code};" in light
        assert f"--stage-{name}: {DARK[name]};" in dark
    assert Stage._css == style_sheet()
