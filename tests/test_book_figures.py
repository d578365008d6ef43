"""The live figures of the built book in a real browser: with keys, mouse, play button, from a file and without JavaScript."""

import base64
import json
import math
import re

import numpy as np
import pytest
from stages import save

from conftest import DESK, HTML, PHONE
from live_figures import FIGURES
from metacalc.course.figures import gradient_descent
from metacalc.stage import style_sheet
from test_figures import same_readout

SLIDERS = "input[type=range]"
every_stage = pytest.mark.parametrize("page_name, i",
                                      [pytest.param(page, i, id=f"{page}-{i}") for page, figures in FIGURES.items()
                                       for i in range(len(figures))],
                                      scope="module")
AT_POSITIONS = """(stage, positions) => positions.map((position) => {
  stage.querySelectorAll("input[type=range]").forEach((input, i) => {
    input.value = position[i];
    input.dispatchEvent(new Event("input", {bubbles: true}));
  });
  const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2];
  return {readout: stage.querySelector(".stage-readout").innerText,
          places: [...stage.querySelectorAll(".stage-mark")].map((mark) => middle(mark.querySelector("path").getBBox()))};
})"""


AS_NEW = """(stage) => {
  stage.scrollIntoView({block: "center", behavior: "instant"});
  stage.querySelector(".stage-reset").click();
  const pace = stage.querySelector("select");
  pace.value = "1";
  pace.dispatchEvent(new Event("change", {bubbles: true}));
}"""


def stage_at(page, i):
    """A stage in view, as it is when the page is new."""
    stage = page.locator(".stage").nth(i)
    stage.evaluate(AS_NEW)
    return stage


def swipe(page, x, y, across, down):
    """A finger comes down, moves by twelve steps of so many pixels, and goes."""
    finger = page.context.new_cdp_session(page)
    for kind, step in (("touchStart", 0), *(("touchMove", n) for n in range(1, 13)), ("touchEnd", None)):
        at = [] if step is None else [{"x": x + across * step, "y": y + down * step}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    finger.detach()


def by_panel(model):
    """A figure's marks and what the view is told of them, in the order in which the page has them: picture by picture."""
    return sorted(zip(model.marks, model.spec["marks"], strict=True), key=lambda pair: pair[1]["panel"])


def draggable(model):
    return [look for _, look in by_panel(model) if "drag" in look]


def drawn(stage):
    """What is drawn: the outlines of all marks."""
    return stage.locator(".stage-mark path").evaluate_all("paths => paths.map(p => p.getAttribute('d')).join('|')")


def values(stage):
    return [float(v) for v in stage.locator(SLIDERS).evaluate_all("inputs => inputs.map(i => i.value)")]


# Comes to every control of a stage from above and from below, as a finger or the Tab key does, and says what is then wrong:
# the control is covered, or not all of its picture is to be seen.
WITH_EACH_CONTROL = """(stage) => {
  const strip = stage.querySelector(".stage-panels"), panel = strip.querySelector(".stage-panel"), wrong = [];
  const at = (x, y) => document.elementFromPoint(Math.min(Math.max(x, 1), innerWidth - 2), y);
  for (const control of stage.querySelectorAll("input, button, select")) for (const way of ["down", "up"]) {
    scrollTo(0, way === "down" ? 0 : document.body.scrollHeight);
    if (way === "down") control.scrollIntoView({block: "nearest"}); else control.focus();
    const place = control.getBoundingClientRect(), picture = panel.getBoundingClientRect();
    const hit = at(place.x + place.width / 2, place.y + place.height / 2);
    const corners = [[4, 4], [4, -4], [-4, 4], [-4, -4]].map(([x, y]) => strip.contains(
      at(x > 0 ? picture.left + x : picture.right + x, y > 0 ? picture.top + y : picture.bottom + y)));
    if (hit !== control && !hit?.contains(control)) wrong.push(`${way} to ${control.name || control.className}: covered`);
    if (!corners.every(Boolean)) wrong.push(`${way} to ${control.name || control.className}: picture out of sight`);
  }
  return wrong;
}"""
# How far from its centre, to each side, a grip can be taken hold of.
REACH = """grip => {
  grip.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
  const box = grip.getScreenCTM(), x = box.e + box.a * grip.cx.baseVal.value, y = box.f + box.d * grip.cy.baseVal.value;
  const held = (u, v) => document.elementFromPoint(x + u, y + v)?.matches(".stage-grip");
  return [[1, 0], [-1, 0], [0, 1], [0, -1]].map(([u, v]) => {
    let far = 0;
    while (far < 22 && held(u * (far + 1), v * (far + 1))) far++;
    return far;
  });
}"""


@every_stage
def test_page_carries_the_tables(page_name, i):
    text = (HTML / f"{page_name}.html").read_text(encoding="utf-8")
    data = json.loads(re.findall(r'<script type="application/json" class="stage-data">(.*?)</script>', text, re.DOTALL)[i])
    stage = FIGURES[page_name][i].build()
    assert base64.b64decode(data["table"]) == stage.table and data["spec"] == json.loads(json.dumps(stage.spec))


def test_the_book_s_style_is_the_widget_s():
    assert (HTML / "_static/stage.css").read_text(encoding="utf-8") == style_sheet()


@every_stage
def test_sliders_move_the_marks(visit, page_name, i):
    stage = stage_at(visit(page_name), i)
    for slider in stage.locator(SLIDERS).all():
        before, start = drawn(stage), slider.input_value()
        assert slider.get_attribute("aria-label") and slider.get_attribute("aria-valuetext")
        slider.focus()
        slider.press("End")
        last = int(slider.get_attribute("max"))
        there = last - (2 if last > 3 else 1)
        for _ in range(last - there):
            slider.press("ArrowLeft")
        assert int(slider.input_value()) == there
        by_keyboard = drawn(stage)
        box = slider.bounding_box()
        slider.page.mouse.click(box["x"] + (0.2 if there else 0.8) * box["width"], box["y"] + box["height"] / 2)
        assert int(slider.input_value()) < there or not there and int(slider.input_value()) == last
        by_mouse = drawn(stage)
        assert len({by_keyboard, by_mouse}) == 2 and (by_keyboard != before or int(start) == there)


@every_stage
def test_numbers_and_marks_are_the_loop_s(visit, page_name, i):
    figure = FIGURES[page_name][i]
    model = figure.build()
    rng = np.random.default_rng(i)
    sizes = [s.values.size for s in model.sliders]
    positions = [model.position, [0] * len(sizes), [n - 1 for n in sizes], *(rng.integers(sizes).tolist() for _ in range(12))]
    for position, shown in zip(positions, stage_at(visit(page_name), i).evaluate(AT_POSITIONS, positions)):
        expected = figure.readout(*(s.values[k] for s, k in zip(model.sliders, position)))
        # Sentences of the view about marks outside the picture come last, in the order of the marks.
        core = "\n".join(shown["readout"].split("\n")[:expected.count("\n") + 1])
        assert same_readout(core, expected), (position, shown, expected)
        check_points(model, position, **shown)


def fraction(place, sliders, shape, position):
    if not isinstance(place, tuple):
        return float(np.broadcast_to(place, shape)[position])
    formula, (low, high, log) = place
    value = formula.at(sliders, position)
    with np.errstate(all="ignore"):
        return ((np.log10(value) if log else value) - low) / (high - low) - 0.5


def check_points(model, position, readout, places):
    """Every point is drawn where its numbers say, or at the edge, with a word about it, if that is outside."""
    for (x, y), (mark, look) in zip(places, by_panel(model), strict=True):
        if look["kind"] != "point":
            continue
        shape = tuple(s.values.size for s in model.sliders)
        u, v = (fraction(c, model.sliders, shape, tuple(position)) for c in mark.place())
        if np.isnan(u) or np.isnan(v):
            assert f"{look['name']} is no longer a number" in readout
            continue
        width, height = look["box"][2:]
        if abs(u) <= 0.499 and abs(v) <= 0.499:
            assert abs(x - (0.5 + u) * width) < 1 and abs(y - (0.5 - v) * height) < 1
        elif max(abs(u), abs(v)) > 0.501:
            assert f"{look['name']} has left the picture" in readout
            assert -1 <= x <= width + 1 and -1 <= y <= height + 1


@pytest.mark.parametrize("page_name", ["chapters/03_gradient_descent"])
def test_divergence_is_told(visit, page_name):
    stage = stage_at(visit(page_name), 1)
    n, _, eta = stage.locator(SLIDERS).all()
    eta.fill("239")
    n.fill("60")
    said = stage.locator(".stage-readout").inner_text()
    assert "divergence" in said and "θ has left the picture" in said and "The loss has left the picture" in said
    points = stage.locator('[data-mark="point"] path').evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    assert all(points) and "NaN" not in drawn(stage) and "Infinity" not in drawn(stage)


@every_stage
def test_dragging_a_mark_moves_its_slider(visit, page_name, i):
    page = visit(page_name)
    stage = stage_at(page, i)
    model = FIGURES[page_name][i].build()
    for grip, look in zip(stage.locator(".stage-grip").all(), draggable(model), strict=True):
        slider = stage.locator(SLIDERS).nth(look["drag"][0])
        before = int(slider.input_value())
        for far in (-60, 80):  # one way a slider may be at its end
            box = grip.bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.move(box["x"] + far, box["y"] + box["height"] / 2, steps=4)
            page.mouse.up()
            follows = (grip.bounding_box()["x"] - box["x"]) * np.sign(far) > 10
            if int(slider.input_value()) != before and follows:
                break
        assert int(slider.input_value()) != before and follows, "the mark follows the pointer"


@every_stage
def test_a_finger_drags_a_mark_and_does_not_scroll(visit, page_name, i):
    page = visit(page_name, PHONE)
    stage = stage_at(page, i)
    for grip, look in zip(stage.locator(".stage-grip").all(), draggable(FIGURES[page_name][i].build()), strict=True):
        grip.scroll_into_view_if_needed()
        slider, scrolled = stage.locator(SLIDERS).nth(look["drag"][0]), page.evaluate("scrollY")
        before = int(slider.input_value())
        for side in (-5, 5):
            box = grip.bounding_box()
            swipe(page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, side, 4)
            if int(slider.input_value()) != before:
                break
        assert int(slider.input_value()) != before and page.evaluate("scrollY") == scrolled


@every_stage
def test_a_phone_shows_the_picture_with_the_control_that_moves(visit, page_name, i):
    page = visit(page_name, PHONE)
    assert not page.locator(".stage").nth(i).evaluate(WITH_EACH_CONTROL)


@every_stage
def test_a_grip_is_as_wide_as_a_finger(visit, page_name, i):
    stage = visit(page_name, PHONE).locator(".stage").nth(i)
    reached = [grip.evaluate(REACH) for grip in stage.locator(".stage-grip").all()]
    assert all(min(sides) >= 21 for sides in reached), reached
    assert len(reached) == sum("drag" in mark for mark in FIGURES[page_name][i].build().spec["marks"])


@pytest.mark.parametrize("page_name", ["chapters/03_gradient_descent"])
def test_pictures_are_swiped_on_a_phone_and_stand_still_at_a_desk(visit, page_name):
    desk = visit(page_name).locator(".stage-panels").nth(1)
    assert desk.get_attribute("tabindex") is None and desk.get_attribute("aria-label")
    page = visit(page_name, PHONE)
    strip = page.locator(".stage-panels").nth(1)
    second = """() => {
      const strip = document.querySelectorAll(".stage-panels")[1];
      const place = strip.querySelectorAll(".stage-panel")[1].getBoundingClientRect();
      return place.left >= 0 && place.right <= innerWidth;
    }"""
    strip.evaluate("strip => { strip.scrollIntoView({block: 'center'}); strip.scrollLeft = 0; }")
    assert strip.get_attribute("tabindex") == "0" and strip.get_attribute("aria-label")
    strip.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(second)
    strip.evaluate("strip => { strip.scrollLeft = 0; }")
    box = strip.bounding_box()
    swipe(page, 280, box["y"] + 0.8 * box["height"], -10, 0)
    page.wait_for_function(second)
    strip.evaluate("strip => { strip.scrollLeft = 0; }")


@pytest.mark.parametrize("page_name", ["chapters/03_gradient_descent"])
def test_the_line_of_python_covers_no_control(visit, page_name):
    page = visit(page_name, PHONE)
    stage = page.locator(".stage").nth(1)
    assert page.locator("#pst-back-to-top").count() == 0
    for state in ("loading", "ready"):
        page.evaluate("""state => {
          const bar = document.body.appendChild(document.createElement("div"));
          Object.assign(bar, {className: "python-bar", textContent: "Python"}).dataset.state = state;
        }""", state)
        assert page.locator(".python-bar").is_visible() and not stage.evaluate(WITH_EACH_CONTROL), state
        foot = page.evaluate("""() => { scrollTo(0, document.body.scrollHeight);
          return document.querySelector(".bd-footer, footer").getBoundingClientRect().bottom
            <= document.querySelector(".python-bar").getBoundingClientRect().top + 1; }""")
        page.locator(".python-bar").evaluate("bar => bar.remove()")
        assert foot, "the end of the page is above it"


@pytest.mark.parametrize("page_name", ["chapters/04_meta_learning"])
def test_an_arrow_that_leaves_the_picture_ends_at_its_edge(visit, page_name):
    stage = stage_at(visit(page_name), 0)
    alpha, k, _ = stage.locator(SLIDERS).all()
    alpha.fill("116")
    k.fill("9")
    assert "MAML’s arrow points out of the picture" in stage.locator(".stage-readout").inner_text()
    inside = stage.locator('[data-mark="arrow"]').evaluate_all("""marks => marks.map(mark => {
      const [w, h] = [mark.width.baseVal.value, mark.height.baseVal.value], box = mark.getBBox();
      return box.x > -3 && box.y > -3 && box.x + box.width < w + 3 && box.y + box.height < h + 3;
    })""")
    assert inside and all(inside)


@pytest.mark.parametrize("page_name", ["chapters/04_meta_learning"])
def test_marks_can_be_switched_off(visit, page_name):
    page = visit(page_name)
    stage = stage_at(page, 0)
    boxes = stage.get_by_role("group", name="show").get_by_role("checkbox")
    labels = list(dict.fromkeys(m["toggle"] for m in FIGURES[page_name][0].build().spec["marks"] if "toggle" in m))
    assert boxes.evaluate_all("boxes => boxes.map(b => b.labels[0].textContent)") == labels
    hidden = lambda: set(stage.locator(".stage-mark").evaluate_all(
        "marks => marks.filter(m => getComputedStyle(m).display === 'none').map(m => m.dataset.toggle)"))
    alpha, k, _ = stage.locator(SLIDERS).all()
    alpha.fill("66")
    k.fill("0")
    assert "FOMAML’s θ* has left the picture" in stage.locator(".stage-readout").inner_text() and hidden() == set()
    box = stage.get_by_role("checkbox", name="FOMAML", exact=True)
    box.focus()
    box.press("Space")
    assert hidden() == {"FOMAML"} and "FOMAML’s θ* has left" not in stage.locator(".stage-readout").inner_text()
    k.fill("1")
    stage.get_by_role("checkbox", name="MAML", exact=True).click()
    assert hidden() == {"FOMAML", "MAML"}
    box.press("Space")
    assert hidden() == {"MAML"}
    stage.locator(".stage-reset").click()
    assert hidden() == set() and all(b.is_checked() for b in boxes.all())


@every_stage
def test_works_from_a_file_on_a_phone(visit, page_name, i):
    stage = stage_at(visit(page_name, PHONE), i)
    before = drawn(stage)
    slider = stage.locator(SLIDERS).first
    slider.fill("1" if slider.input_value() != "1" else "2")
    assert drawn(stage) != before


@pytest.mark.parametrize("page_name", list(FIGURES))
def test_the_page_does_not_move_when_its_figures_come_to_life(visit, browser, server, page_name):
    live, page = visit(page_name), browser.new_page(viewport=DESK["viewport"])
    page.route(re.compile("stage-host|mathjax"), lambda route: route.abort())  # without them, the place is kept
    page.goto(f"{server[0]}{page_name}.html")
    heights = [box["height"] for box in (stage_at(live, i).bounding_box() for i in range(len(FIGURES[page_name])))]
    assert page.locator(".stage[data-live]").count() == 0
    still = page.locator(".stage").evaluate_all("stages => stages.map(s => s.getBoundingClientRect().height)")
    page.close()
    assert all(abs(a - b) < 30 for a, b in zip(heights, still, strict=True)), (heights, still)


@pytest.mark.parametrize("page_name", list(FIGURES))
def test_without_javascript_the_picture_stands(browser, server, page_name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server[0]}{page_name}.html")
    for i, figure in enumerate(FIGURES[page_name]):
        stage = page.locator(".stage").nth(i)
        model = figure.build()
        assert stage.locator(".stage-panel > svg").count() == len(model.pictures)
        assert stage.locator(".stage-mark path").count() > 0
        assert stage.locator(".stage-readout").inner_text() == model.text
        assert stage.locator(".stage-panels").get_attribute("aria-label")
    context.close()


@pytest.mark.parametrize("page_name", ["chapters/03_gradient_descent"])
def test_print_shows_the_picture_without_controls(visit, page_name):
    page = visit(page_name)
    stage = stage_at(page, 1)
    page.emulate_media(media="print")
    assert not stage.locator(".stage-controls").is_visible()
    page.set_viewport_size({"width": 300, "height": 900})  # a narrow column: no strip there
    boxes = [panel.bounding_box() for panel in stage.locator(".stage-panel > svg").all()]
    assert len(boxes) == 2 and all(box["x"] >= 0 and box["x"] + box["width"] <= 300 for box in boxes)
    page.set_viewport_size(DESK["viewport"])
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    ground, ink = page.evaluate("[document.body, document.querySelector('.stage')].map(e => getComputedStyle(e))"
                                ".map((s, i) => i ? s.color : s.backgroundColor)")
    assert ground in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)") and ink == "rgb(31, 35, 40)"
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.emulate_media(media="screen")


@every_stage
def test_play_advances_and_stops(visit, page_name, i):
    """On a clock that the test turns. At the pace that the figure has, and at no more than two steps a second for who
    wants calm."""
    model = FIGURES[page_name][i].build()
    last = model.sliders[model.spec["play"]].values.size - 1
    seconds = 1.6 if last > 3 else 0.6
    for reader, pace in ((DESK, min(20, max(2, last / 6))), (PHONE, 2)):
        page = visit(page_name, reader)
        stage = stage_at(page, i)
        played, button = stage.locator(SLIDERS).nth(model.spec["play"]), stage.locator(".stage-play")
        page.clock.install()
        page.clock.pause_at(page.evaluate("Date.now() + 1000"))
        played.fill("0")
        before = drawn(stage)
        button.press("Enter")
        page.clock.run_for(1000 * seconds)
        assert math.floor(pace * (seconds - 0.1)) <= int(played.input_value()) <= min(last, pace * seconds)
        assert "Pause" in button.inner_text()
        button.click()
        stopped = played.input_value(), drawn(stage)
        page.clock.run_for(3000)
        assert (played.input_value(), drawn(stage)) == stopped and stopped[1] != before
        stage.locator(".stage-reset").click()
        assert tuple(int(v) for v in values(stage)) == model.position
        stage.locator("select").select_option("4")
        played.fill(str(last - 2))
        button.click()
        page.clock.run_for(1500)
        assert "Play" in button.inner_text() and played.input_value() == str(last)
        page.clock.resume()


def test_a_saved_page_is_live(browser, tmp_path):
    """What an author looks at before the book is built: one file, of a figure whose sliders do not stand where they started."""
    stage, page, troubles = gradient_descent.valley(), browser.new_page(), []
    stage.kappa = 100
    save(stage, tmp_path / "valley.html")
    page.on("console", lambda message: troubles.append(message.text))
    page.on("request", lambda request: None if request.url.startswith(("file:", "blob:")) else troubles.append(request.url))
    page.goto((tmp_path / "valley.html").as_uri())
    page.wait_for_selector(".stage[data-live]")
    assert page.locator(".stage-readout").inner_text() == stage.text
    page.locator(SLIDERS).nth(1).fill("0")
    stage.kappa = 1
    assert page.locator(".stage-readout").inner_text() == stage.text and not troubles
    page.close()
