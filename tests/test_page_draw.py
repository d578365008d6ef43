"""A reader's own character in the built page: drawn with mouse, finger and keys, put into columns, judged by stored nets."""

import json
import re

import numpy as np
import pytest

from conftest import DESK, PHONE, ROOT, heard
from metacalc.course.drawing import judged, load_drawing_starts
from metacalc.data.strokes import ink
from test_book import violations
from test_book_figures import swipe

PAGE = "chapters/06_applications/vision"
SIGNS = ["lightning", "fork", "spiral", "ladder", "boat"]
LEARNERS = ["MAML", "pre-trained", "prototypes"]
STROKES = """(place) => [...place.querySelectorAll("polyline")].map((line) =>
  line.getAttribute("points").split(" ").map((point) => point.split(",").map(Number)))"""


@pytest.fixture(scope="module")
def opened(tab):
    """A function that opens the page at the part where one draws; nothing may go wrong on it."""
    wrong = []

    def part(reader=DESK):
        page = heard(tab(PAGE, reader), wrong)
        page.locator(".draw-pad").scroll_into_view_if_needed()
        return page

    yield part
    assert not wrong


@pytest.fixture(scope="module")
def desk(opened):
    """The page with Python running: a ready-made drawing was judged, by keys alone."""
    page = opened()
    assert re.fullmatch(r"Which one is it\? \(loads Python, 1\d MB\)", page.locator(".draw-judge").inner_text())
    page.locator(".draw-character select").focus()
    page.keyboard.type("fork")
    assert len(strokes(page)) == 2 and page.locator(".draw-pad").get_attribute("aria-label") == "Drawing pad; strokes: 2"
    page.keyboard.press("Tab")
    page.locator(".draw-judge").press("Enter")
    page.locator(".draw-result").wait_for(timeout=60_000)
    assert said(page) == "MAML: column 2; pre-trained: column 2; prototypes: column 2."
    return page


@pytest.fixture
def anew(desk):
    """The same as it was at the start, but for Python."""
    desk.get_by_role("button", name="Start over").click()
    return desk


def strokes(page):
    return page.locator(".draw-pad").evaluate(STROKES)


def examples(page):
    """The strokes of all examples, column by column."""
    return page.locator(".draw-column").evaluate_all(
        f"columns => columns.map((column) => [...column.querySelectorAll('.draw-example')].map({STROKES}))")


def said(page):
    return page.locator(".draw-said").inner_text()


def put(page, i):
    page.get_by_role("button", name=f"Put into {i + 1}", exact=True).click()


def judge(page):
    """Ask, and wait for the verdicts."""
    page.locator(".draw-judge").click()
    page.wait_for_function("document.querySelector('.draw-said').textContent.includes('prototypes:')", timeout=60_000)
    return dict(re.findall(r"([\w-]+): (\w+ ?\d?)", said(page)))


def shown(page):
    """Percentages in the table, a column for each learner."""
    rows = page.locator(".draw-table tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].slice(1).map((cell) => cell.innerText))")
    return np.array([[int(cell.strip().removesuffix("%")) for cell in row] for row in rows])


def by_mouse(page, points, steps=8):
    """One stroke through points, from 0 to 100."""
    box = page.locator(".draw-pad").bounding_box()
    places = [(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()


def test_the_mouse_draws_what_prototypes_recognise(anew):
    for i, given in enumerate(examples(anew)):
        anew.get_by_role("button", name="Clear").click()
        for stroke in given[0]:
            by_mouse(anew, [(8 + 0.85 * x, 6 + 0.8 * y) for x, y in stroke])
        drawn = strokes(anew)
        assert len(drawn) == len(given[0]) and all(len(stroke) > 5 for stroke in drawn)
        x, y = drawn[0][0]
        assert abs(x - 8 - 0.85 * given[0][0][0][0]) < 1 and abs(y - 6 - 0.8 * given[0][0][0][1]) < 1
        assert judge(anew)["prototypes"] == f"column {i + 1}", SIGNS[i]


@pytest.mark.parametrize("i", range(5))
def test_a_sign_that_is_drawn_again_is_recognised_by_all(anew, i):
    anew.locator(".draw-character select").select_option(label=f"{SIGNS[i]}, drawn again")
    assert judge(anew) == dict.fromkeys(LEARNERS, f"column {i + 1}")
    best = anew.locator(".draw-table td.draw-best").evaluate_all("cells => cells.map((cell) => cell.parentElement.rowIndex)")
    assert best == [i + 1] * 3


def test_the_page_shows_what_the_package_says(anew):
    anew.locator(".draw-character select").select_option(label="arrow")
    put(anew, 3)
    anew.locator(".draw-character select").select_option(label="boat, drawn again")
    put(anew, 4)
    by_mouse(anew, [(20, 20), (80, 30), (30, 70), (90, 90)])
    judge(anew)
    support, query = examples(anew), strokes(anew)
    assert [len(column) for column in support] == [1, 1, 1, 2, 2]
    starts, n_steps = load_drawing_starts(ROOT / "chapters/results/drawing.json")
    expected = judged(starts, support, query, n_steps)
    made = anew.evaluate("given => metacalc.Python.ask('judge', given)", {"support": support, "query": query})
    assert list(made["answers"]) == LEARNERS and made["steps"] == {name: steps for name, (_, steps) in starts.items()}
    for name in LEARNERS:
        np.testing.assert_allclose(made["answers"][name], expected[name], atol=1e-9)
    np.testing.assert_allclose(np.ravel(made["seen"]), ink(query), atol=1e-9)
    slider = anew.locator(".draw-steps input")
    assert slider.get_attribute("max") == str(n_steps)
    for k in (0, 1, 7, n_steps):
        slider.fill(str(k))
        assert np.abs(shown(anew) - 100 * np.stack([expected[name][k] for name in LEARNERS], axis=1)).max() < 0.51
        assert slider.get_attribute("aria-valuetext") == f"steps: {k}"
        assert anew.locator(".draw-steps output").inner_text() == str(k)


def test_the_slider_looks_up_every_step_and_says_who_is_undecided(anew):
    anew.locator(".draw-character select").select_option(label="spiral, drawn again")
    judge(anew)
    slider = anew.locator(".draw-steps input")
    anew.evaluate("""() => {
      const { Python } = metacalc, { ask } = Python;
      window.asked = 0;
      Python.ask = (...given) => { window.asked += 1; return ask.apply(Python, given); };
    }""")
    slider.focus()
    slider.press("Home")
    assert said(anew).endswith("pre-trained: undecided; prototypes: undecided.") and (shown(anew)[:, 1:] == 20).all()
    slider.press("ArrowRight")
    first = shown(anew)
    assert said(anew).endswith("prototypes: column 3.")
    slider.press("End")
    assert said(anew) == "MAML: column 3; pre-trained: column 3; prototypes: column 3."
    last = shown(anew)
    assert last[2, 1] > first[2, 1] and (last[:, 2] == first[:, 2]).all()
    assert anew.evaluate("window.asked") == 0


def test_columns_take_and_give_back_examples(anew):
    before = examples(anew)
    put(anew, 2)
    assert said(anew) == "Draw a character first, or take a ready-made one."
    anew.locator(".draw-judge").click()
    assert said(anew) == "Draw a character first, or take a ready-made one."
    for n in range(2, 6):
        anew.locator(".draw-character select").select_option(label="cross")
        put(anew, 2)
        assert said(anew) == f"Examples in column 3: {n}." and not strokes(anew)
        assert anew.evaluate("document.activeElement.textContent") == "Put into 3"
    anew.locator(".draw-character select").select_option(label="cross")
    put(anew, 2)
    assert said(anew) == "Column 3 is full: take an example out first." and len(strokes(anew)) == 2
    anew.get_by_role("button", name="Take example 1 out of column 3").click()
    assert [len(column) for column in examples(anew)] == [1, 1, 4, 1, 1]
    anew.get_by_role("button", name="Take example 1 out of column 5").press("Enter")
    anew.locator(".draw-judge").click()
    assert said(anew) == "Column 5 needs an example."
    anew.get_by_role("button", name="Start over").click()
    assert examples(anew) == before and not strokes(anew) and anew.locator(".draw-character select").input_value() == ""


def test_strokes_are_undone_and_bounded(anew):
    by_mouse(anew, [(10, 10), (90, 90)])
    by_mouse(anew, [(90, 10), (90, 10)])  # a dot
    assert [len(stroke) > 1 for stroke in strokes(anew)] == [True, True]  # a dot is a line to itself
    anew.get_by_role("button", name="Undo stroke").click()
    assert len(strokes(anew)) == 1
    for _ in range(45):
        by_mouse(anew, [(50, 50), (52, 50)], steps=1)
    assert len(strokes(anew)) == 40 and said(anew) == "The pad takes no more strokes."
    anew.get_by_role("button", name="Clear").click()
    assert not strokes(anew)
    by_mouse(anew, [(50, 50), *[(50 + 40 * np.cos(7 * a), 50 + 40 * np.sin(7 * a)) for a in range(80)], (-80, 300)], steps=4)
    assert sum(map(len, strokes(anew))) <= 1500 and np.min(strokes(anew)[0]) >= 0 and np.max(strokes(anew)[0]) <= 100


def test_an_answer_to_another_drawing_is_not_left_standing(anew):
    anew.locator(".draw-character select").select_option(label="ladder, drawn again")
    judge(anew)
    by_mouse(anew, [(10, 10), (90, 90)])
    assert said(anew) == "The drawings have changed: judge again."
    assert anew.locator(".draw-character select").input_value() == ""


def test_divergence_is_told(anew):
    nothing = [[0.2] * 5, [None] * 5]
    made = {"answers": {"MAML": nothing, "pre-trained": nothing, "prototypes": [[0.2] * 5, [0, 0, 1, 0, 0]]},
            "seen": [[0, 1], [1, 0]], "steps": {"MAML": 1}}
    other = anew.context.new_page()
    other.goto(anew.url)
    other.locator(".draw-character select").select_option(label="cross")
    other.evaluate(f"metacalc.Python.ask = async () => ({json.dumps(made)})")
    other.locator(".draw-judge").click()
    other.wait_for_function("document.querySelector('.draw-said').textContent.includes('prototypes:')")
    assert said(other) == "MAML: diverged; pre-trained: diverged; prototypes: column 3."
    assert other.locator(".draw-table td", has_text="diverged").count() == 10
    other.evaluate("metacalc.Python.ask = async () => ({ reason: 'strokes must be few' })")
    other.locator(".draw-judge").click()
    other.locator(".draw-said.draw-wrong", has_text="Not judged: strokes must be few.").wait_for()
    other.close()


def test_the_part_is_accessible_with_its_answer(desk):
    desk.locator(".draw-character select").select_option(label="cross")
    judge(desk)
    assert not violations(desk)
    assert desk.locator(".draw-said").get_attribute("role") == "status"


def test_a_finger_draws_on_a_phone(opened):
    page = opened(PHONE)
    box, before = page.locator(".draw-pad").bounding_box(), page.evaluate("scrollY")
    swipe(page, box["x"] + 40, box["y"] + 30, 10, 12)
    assert len(strokes(page)) == 1 and len(strokes(page)[0]) >= 8 and page.evaluate("scrollY") == before
    swipe(page, box["x"] + 160, box["y"] + 30, -10, 12)
    swipe(page, box["x"] + box["width"] / 2, box["y"] + 20, 0, 12)
    assert len(strokes(page)) == 3
    sizes = page.locator(".draw-character :is(button, select)").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect()).map((box) => Math.min(box.width, box.height))")
    assert min(sizes) >= 44
    put(page, 0)
    page.locator(".draw-character select").select_option(label="boat, drawn again")
    judge(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    outside = page.locator(".draw-character *").evaluate_all(
        "parts => parts.filter(p => { const b = p.getBoundingClientRect(); return b.left < -0.5 || b.right > 360.5; })"
        ".map(p => p.outerHTML)")
    assert not outside and not violations(page)
    assert page.locator(".draw-bar").first.evaluate("bar => getComputedStyle(bar).transitionDuration") == "0s"


def test_other_pages_do_not_load_it(browser, server):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server[0]}chapters/01_background.html")
    assert not [url for url in asked if "draw.js" in url]
    page.close()
