"""The built book in a real browser: every page of `_toc.yml`, every live figure on it."""

import base64
import json
import re

import numpy as np
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from conftest import HTML, ROOT
from live_figures import FIGURES
from test_figures import same_readout

from metacalc.stage import _format


def pages_of(entry):
    yield from ([entry["file"]] if "file" in entry else [])
    yield from ([entry["root"]] if "root" in entry else [])
    for key in ("parts", "chapters", "sections"):
        for child in entry.get(key, []):
            yield from pages_of(child)


PAGES = list(pages_of(yaml.safe_load((ROOT / "_toc.yml").read_text())))
SLIDERS = "input[type=range]"
STAGES = [pytest.param(page, i, id=f"{page}-{i}") for page, figures in FIGURES.items() for i in range(len(figures))]


@pytest.fixture
def open_page(browser, server):
    """Open a page, and fail at the end if anything went wrong on it or anything left the server."""
    address, not_found = server
    contexts, troubles = [], []

    def opened(page_name, base=address, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "no-preference"} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        page.on("request", lambda request: None if request.url.startswith((base, "data:", "blob:")) else troubles.append(f"left: {request.url}"))
        page.goto(f"{base}{page_name}.html")
        page.wait_for_load_state("networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles and not not_found, (troubles, not_found)


def stage_at(page, i):
    page.wait_for_function("n => document.querySelectorAll('.stage[data-live]').length > n", arg=i)
    stage = page.locator(".stage").nth(i)
    stage.scroll_into_view_if_needed()
    return stage


def drawn(stage):
    """What is drawn: the outlines of all marks."""
    return stage.locator(".stage-mark path").evaluate_all("paths => paths.map(p => p.getAttribute('d')).join('|')")


def values(stage):
    return [float(v) for v in stage.locator(SLIDERS).evaluate_all("inputs => inputs.map(i => i.value)")]


@pytest.mark.parametrize("page_name", PAGES)
def test_page_is_whole(open_page, page_name):
    page = open_page(page_name)
    assert page.locator("article h1").count() == 1
    formulas = page.locator("article .math").count()
    page.wait_for_function("n => document.querySelectorAll('article mjx-container').length >= n", arg=formulas)
    assert page.locator("mjx-merror, .stage-mark-error").count() == 0
    assert page.locator("article .math:not(:has(mjx-container))").count() == 0
    assert page.locator("text=/(\\\\\\(|\\$\\$)/").filter(visible=True).locator("xpath=self::*[not(ancestor-or-self::pre)]").count() == 0
    broken = page.locator("img").evaluate_all("images => images.filter(i => !i.complete || !i.naturalWidth || !i.alt).map(i => i.src)")
    assert not broken


@pytest.mark.parametrize("page_name", PAGES)
def test_self_checks_hold_their_answers(open_page, page_name):
    page = open_page(page_name)
    for question in page.locator(".admonition:has(> .admonition-title:text-is('Check yourself'))").all():
        choices = question.locator("details")
        assert choices.count() >= 3
        choices.first.locator("summary").press("Enter")
        assert choices.first.get_attribute("open") is not None and choices.first.locator(".sd-summary-content").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_name", PAGES)
def test_page_is_accessible(open_page, page_name, scheme):
    page = open_page(page_name, color_scheme=scheme)
    page.wait_for_function("document.querySelectorAll('.stage:not([data-live])').length === 0")
    found = Axe().run(page, context={"include": [["article"]]}, options={"preload": False}).response["violations"]
    grave = [f"{v['id']}: {[n['target'] for n in v['nodes']][:3]}" for v in found if v["impact"] in ("serious", "critical")]
    assert not grave


@pytest.mark.parametrize("page_name", PAGES)
def test_page_fits_a_phone(open_page, page_name):
    page = open_page(page_name, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for i in range(page.locator(".stage").count()):
        box = stage_at(page, i).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360
        for row in page.locator(".stage").nth(i).locator("input, button, select").all():
            inner = row.bounding_box()
            assert inner["x"] >= 0 and inner["x"] + inner["width"] <= 360


def test_links_within_the_book_arrive():
    ids = {}
    for page in PAGES:
        text = (HTML / f"{page}.html").read_text(encoding="utf-8")
        ids[(HTML / f"{page}.html").resolve()] = (set(re.findall(r'\bid="([^"]+)"', text)), text)
    for path, (_, text) in list(ids.items()):
        article = text[text.index("<article"):text.index("</article>")]
        for link in re.findall(r'<a[^>]* href="([^"]+)"', article):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            file = (path.parent / target).resolve() if target else path
            assert file.exists(), (path.name, link)
            if anchor and file in ids:
                assert anchor in ids[file][0], (path.name, link)


@pytest.mark.parametrize("page_name", PAGES)
def test_every_stage_has_an_independent_check(open_page, page_name):
    page = open_page(page_name)
    assert page.locator(".stage").count() == len(FIGURES.get(page_name, [])), "list the page's figures in live_figures.py"


@pytest.mark.parametrize("page_name, i", STAGES)
def test_page_carries_the_tables(page_name, i):
    text = (HTML / f"{page_name}.html").read_text(encoding="utf-8")
    data = json.loads(re.findall(r'<script type="application/json" class="stage-data">(.*?)</script>', text, re.DOTALL)[i])
    stage = FIGURES[page_name][i].build()
    assert base64.b64decode(data["table"]) == stage.table and data["spec"] == json.loads(json.dumps(stage.spec))


@pytest.mark.parametrize("page_name, i", STAGES)
def test_sliders_move_the_marks(open_page, page_name, i):
    stage = stage_at(open_page(page_name), i)
    for slider in stage.locator(SLIDERS).all():
        before, start = drawn(stage), slider.input_value()
        assert slider.get_attribute("aria-label") and slider.get_attribute("aria-valuetext")
        slider.focus()
        slider.press("End")
        slider.press("ArrowLeft")
        slider.press("ArrowLeft")
        last = int(slider.get_attribute("max"))
        assert int(slider.input_value()) == last - 2
        by_keyboard = drawn(stage)
        box = slider.bounding_box()
        slider.page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2)
        assert int(slider.input_value()) < last - 2
        by_mouse = drawn(stage)
        assert len({by_keyboard, by_mouse}) == 2 and (by_keyboard != before or int(start) == last - 2)


@pytest.mark.parametrize("page_name, i", STAGES)
def test_numbers_and_marks_are_the_loop_s(open_page, page_name, i):
    figure = FIGURES[page_name][i]
    model = figure.build()
    stage = stage_at(open_page(page_name), i)
    rng = np.random.default_rng(i)
    sizes = [s.values.size for s in model.sliders]
    indices = [model.position, [0] * len(sizes), [n - 1 for n in sizes], *(rng.integers(sizes) for _ in range(12))]
    for index in indices:
        for slider, k in zip(stage.locator(SLIDERS).all(), index):
            slider.fill(str(k))
        expected = figure.readout(*(s.values[k] for s, k in zip(model.sliders, index)))
        shown = stage.locator(".stage-readout").inner_text()
        # Sentences of the view about marks outside the picture come last, in the order of the marks.
        core = expected.count("\n") + 1
        assert same_readout("\n".join(shown.split("\n")[:core]), expected), (index, shown, expected)
        check_points(stage, model, index)


def check_points(stage, model, index):
    """Every point is drawn where its numbers say, or at the edge, with a word about it, if that is outside."""
    groups = stage.locator(".stage-mark").all()
    said = stage.locator(".stage-readout").inner_text()
    for group, mark, look in zip(groups, model.marks, model.spec["marks"]):
        if look["kind"] != "point":
            continue
        shape = tuple(s.values.size for s in model.sliders)
        u, v = (float(np.broadcast_to(c, shape)[tuple(index)]) for c in mark.place())
        box = group.evaluate("g => { const b = g.querySelector('path').getBBox(); return [b.x + b.width / 2, b.y + b.height / 2]; }")
        width, height = look["box"][2:]
        if abs(u) <= 0.499 and abs(v) <= 0.499:
            assert abs(box[0] - (0.5 + u) * width) < 1 and abs(box[1] - (0.5 - v) * height) < 1
        elif max(abs(u), abs(v)) > 0.501:
            assert f"{look['name']} has left the picture" in said
            assert -1 <= box[0] <= width + 1 and -1 <= box[1] <= height + 1


@pytest.mark.parametrize("reduced_motion", ["no-preference", "reduce"])
@pytest.mark.parametrize("page_name, i", STAGES)
def test_play_advances_and_stops(open_page, page_name, i, reduced_motion):
    page = open_page(page_name, reduced_motion=reduced_motion)
    stage = stage_at(page, i)
    model = FIGURES[page_name][i].build()
    played = stage.locator(SLIDERS).nth(model.spec["play"])
    played.fill("0")
    before, button = drawn(stage), stage.locator(".stage-play")
    button.press("Enter")
    page.wait_for_function("([input]) => Number(input.value) >= 2", arg=[played.element_handle()], timeout=5000)
    button.click()
    stopped = played.input_value(), drawn(stage)
    page.wait_for_timeout(700)
    assert (played.input_value(), drawn(stage)) == stopped and stopped[1] != before
    stage.locator(".stage-reset").click()
    assert tuple(int(v) for v in values(stage)) == model.position
    if reduced_motion == "no-preference":
        stage.locator("select").select_option("4")
        played.fill(str(int(played.get_attribute("max")) - 2))
        button.click()
        page.wait_for_function("([b]) => b.textContent.includes('Play')", arg=[button.element_handle()], timeout=5000)
        assert played.input_value() == played.get_attribute("max")


def test_view_and_python_write_numbers_alike(browser):
    rng = np.random.default_rng(0)
    specs = ["d", ".0f", ".1f", ".2f", ".3f", ".6f", ".1e", ".2e", ".1g", ".3g", ".4g", ".6g"]
    numbers = [0.0, -0.0, 0.25, 2.5, 3.5, 0.125, -0.375, 1e22, -1e22, 12345.0, 123450.0, 0.5, 1.5, 1e-5, 9.9995, 99999.5, 4.66e-10, 1e100,
               -0.0004, np.inf, -np.inf, np.nan, *(rng.integers(-200, 200, 60) / 16), *(10.0 ** rng.uniform(-12, 12, 200) * rng.choice([-1, 1], 200))]
    cases = [[float(v), spec] for v in numbers for spec in specs]
    source = (ROOT / "code/metacalc/stage.js").read_text(encoding="utf-8").replace("export default", "const module =")
    page = browser.new_page()
    written = page.evaluate("([source, cases]) => { const f = new Function(source + '; return format;')(); return cases.map(([v, s]) => f(v, s)); }",
                            [source, cases])
    page.close()
    assert [(v, s, w) for (v, s), w in zip(cases, written) if w != _format(v, s)] == []


def test_divergence_is_told(open_page):
    stage = stage_at(open_page("chapters/03_gradient_descent"), 0)
    n, eta = stage.locator(SLIDERS).all()
    eta.fill("47")
    n.fill("60")
    said = stage.locator(".stage-readout").inner_text()
    assert "divergence" in said and "θ has left the picture" in said and "The loss has left the picture" in said
    points = stage.locator('[data-mark="point"] path').evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    assert all(points) and "NaN" not in drawn(stage) and "Infinity" not in drawn(stage)


@pytest.mark.parametrize("page_name, i", STAGES)
def test_dragging_a_mark_moves_its_slider(open_page, page_name, i):
    page = open_page(page_name)
    stage = stage_at(page, i)
    model = FIGURES[page_name][i].build()
    for grip, look in zip(stage.locator(".stage-grip").all(), [m for m in model.spec["marks"] if "drag" in m]):
        slider = stage.locator(SLIDERS).nth(look["drag"])
        before = int(slider.input_value())
        box = grip.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] - 40, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        moved = int(slider.input_value())
        assert moved != before
        after = grip.bounding_box()
        assert after["x"] < box["x"] - 10, "the mark follows the pointer"


def test_marks_can_be_switched_off(open_page):
    page = open_page("chapters/04_meta_learning")
    stage = stage_at(page, 0)
    boxes = stage.get_by_role("group", name="show").get_by_role("checkbox")
    labels = list(dict.fromkeys(m["toggle"] for m in FIGURES["chapters/04_meta_learning"][0].build().spec["marks"] if "toggle" in m))
    assert boxes.evaluate_all("boxes => boxes.map(b => b.labels[0].textContent)") == labels
    hidden = lambda: set(stage.locator(".stage-mark").evaluate_all(
        "marks => marks.filter(m => getComputedStyle(m).display === 'none').map(m => m.dataset.toggle)"))
    alpha, k, _ = stage.locator(SLIDERS).all()
    alpha.fill("6")
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


@pytest.mark.parametrize("page_name", PAGES)
def test_works_from_a_file(open_page, page_name):
    page = open_page(page_name, base=f"{HTML.as_uri()}/")
    for i in range(len(FIGURES.get(page_name, []))):
        stage = stage_at(page, i)
        before = drawn(stage)
        slider = stage.locator(SLIDERS).first
        slider.fill("1" if slider.input_value() != "1" else "2")
        assert drawn(stage) != before


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


def test_print_shows_the_picture_without_controls(open_page):
    page = open_page("chapters/03_gradient_descent")
    stage = stage_at(page, 0)
    page.emulate_media(media="print")
    assert not stage.locator(".stage-controls").is_visible() and stage.locator(".stage-panel > svg").first.is_visible()
