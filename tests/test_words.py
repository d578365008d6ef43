"""Texts in another language: what figures show, with the same numbers and marks."""

import re

import numpy as np
import pytest

from metacalc import words
from metacalc.axes import Axes, painted
from metacalc.spec import Guess
from metacalc.stage import Path, Point, Readout, Slider, Stage, panel


def state_of(stage):
    return {"spec": stage.spec, "pictures": stage.pictures}


@pytest.fixture
def state():
    """A figure that says something in every place where one can."""
    ax, positions = panel("step & more", "loss", (0, 3), (0, 3), "the title"), np.arange(3)
    n = positions[:, None]
    path = Path(ax, n, n, label="the path", toggle=True)
    return state_of(Stage(
        ax.figure, [path, Point(ax, n, n, name="The end")],
        [Slider("n", positions, "steps", 1, "d", "km"), Slider("kind", [0, 1], "which", names=("slow", "fast"))],
        Readout("After {n:d} step{n:s}: {told}, {n:.1f} {{sic}}. {rule} at {n:.0e}.", rule="told",
                told=[["none"], ["one of 3"], ["all of 3"]]),
        guess=Guess(ax, "x", "Where?", n, [path]), alt="A picture."))


def replaced(text):
    """Every word in small letters turned over, fields and numbers as they are."""
    return re.sub(r"\{[^{}]*\}|[A-Za-z]+", lambda m: m[0] if m[0][0] == "{" else m[0][::-1], text)


def test_the_same_words_make_the_same_figure(state):
    assert words.spoken(state, lambda text: text) == state


def test_every_word_is_said_anew_and_every_number_stays(state):
    said = words.spoken(state, replaced)
    spec, own = said["spec"], state["spec"]
    assert spec["alt"] == "A erutcip." and spec["guess"]["question"] == "erehW?"
    assert [slider["label"] for slider in spec["sliders"]] == ["spets", "hcihw"]
    assert spec["sliders"][0]["unit"] == "mk" and spec["sliders"][1]["names"] == ["wols", "tsaf"]
    assert [mark.get("toggle") or mark["name"] for mark in spec["marks"]] == ["eht htap", "ehT dne"]
    assert spec["fields"]["told"]["labels"] == ["lla fo 3", "enon", "eno fo 3"]
    assert spec["text"] == "retfA 1 pets: eno fo 3, 1.0 {sic}. dlot ta 1e+00."
    assert [field for _, *field in spec["readout"]] == [field for _, *field in own["readout"]]
    (picture,) = said["pictures"]
    shown = re.findall(r"<text [^>]*>([^<]+)</text>", picture)
    assert shown == ["pets &amp; erom", "ssol", "eht eltit", "eht htap"]
    assert [re.findall(r"(\w+)=\"[^\"]*\"", tag)[0] for tag in re.findall(r"<text [^>]*>", picture)] == ["x"] * 4
    assert picture.count('text-anchor="middle"') == 3  # but not in the legend
    assert picture.count("<defs>") == state["pictures"][0].count("<defs>")  # whose shapes other texts may use


def test_a_field_may_change_its_place_and_an_english_ending_may_go(state):
    told = words.template(state["spec"]["readout"])
    said = words.spoken(state, lambda text: "{told}: {n:d}, {rule}, {n:.1f}, {n:.0e}" if text == told else text)
    assert said["spec"]["text"] == "one of 3: 1, told, 1.0, 1e+00"
    assert [(name, how) for _, name, how in said["spec"]["readout"]][:2] == [("told", ".4g"), ("n", "d")]


def test_a_readout_that_is_not_its_template_s_is_refused(state):
    broken = state | {"spec": state["spec"] | {"text": "Something else."}}
    with pytest.raises(ValueError, match="text must be the readout at the start, got 'Something else.'"):
        words.spoken(broken, replaced)


def test_samples_of_data_are_no_words_of_ours():
    many = [f"word{'a' * i}" for i in range(61)]
    assert words._relabelled(many, replaced) == many and words._relabelled(many[:60], replaced) != many[:60]


def test_axes_that_python_paints_are_said_anew():
    ax = Axes("iteration", "f(x)", (0, 1), (0, 1), "the path")
    made = painted([ax], [Point(ax, 0.5, 0.5)], [Slider("n", [0, 1], "n")], alt="One.")
    (picture,) = words.spoken(made, replaced)["pictures"]
    assert "noitareti</text>" in picture and "eht htap</text>" in picture and "iteration" not in picture


def test_a_language_without_a_catalogue_is_english():
    words.use("xx")
    assert words.listed("ab") == "a, b"
    assert words.t("Right.") == "Right." and words.t("{n} of {n}", n=3) == "3 of 3" and words.t("{n}") == "{n}"
    assert words.spoken({"spec": {}, "pictures": []}) == {"spec": {}, "pictures": []}
    words.use(None)
