"""A reader's own function in the built pages: typed, drawn, linked; what a link carries starts nothing."""

import re

import pytest

from conftest import DESK, PHONE, heard

PAGES = ["chapters/intro", "chapters/03_gradient_descent"]


@pytest.fixture(scope="module")
def form(tab):
    """A function that opens a page with a form; nothing may go wrong on it."""
    wrong = []

    def opened(name=PAGES[0], reader=DESK, fragment=""):
        page = heard(tab(name, reader, fragment=fragment), wrong)
        page.locator(".own-form").wait_for()
        return page

    yield opened
    assert not wrong


@pytest.fixture(scope="module")
def drawn(form):
    """The first page with its example drawn, by the Enter key."""
    page = form()
    assert re.fullmatch(r"Draw \(loads Python, \d\d MB\)", page.locator(".own-draw").inner_text())
    page.locator(".own-form [name=f]").press("Enter")
    page.locator(".own-figure[data-live]").wait_for(timeout=60_000)
    return page


def draw(page, f, start="", rule="sgd"):
    """Type, press Draw and wait; returns what the page says, or the readout."""
    page.locator(".own-form [name=rule]").evaluate("(list, value) => { list.value = value; }", rule)
    for name, text in (("f", f), ("start", start)):
        page.locator(f".own-form [name={name}]").fill(text)
    page.evaluate("document.querySelector('.own-said').textContent = '?'")
    page.locator(".own-draw").click()
    page.wait_for_function("!['?', 'Drawing …'].includes(document.querySelector('.own-said').textContent)")
    return page.locator(".own-said").inner_text() or page.locator(".own-figure .stage-readout").inner_text()


def fields(page):
    return [page.locator(f".own-form [name={name}]").input_value() for name in ("f", "start", "rule")]


def test_a_function_is_drawn_with_its_gradient(drawn):
    assert drawn.locator(".own-draw").inner_text() == "Draw"
    assert "f = " in draw(drawn, "x^2 + 10y^2", "2, 1")
    assert drawn.locator(".own-formulas mjx-container").count() == 2 and drawn.locator(".own-formulas mjx-merror").count() == 0
    assert drawn.locator(".own-figure .stage-panel svg").count() and drawn.locator(".own-figure input[type=range]").count() == 2


def test_sliders_stay_where_the_reader_put_them(drawn):
    draw(drawn, "x^2", "1")
    rate = drawn.locator(".own-figure input[name=eta]")
    rate.fill("33")
    stood = rate.get_attribute("aria-valuetext")
    assert "the path diverges" in drawn.locator(".own-figure .stage-readout").inner_text()
    assert "the path diverges" in draw(drawn, "3x^2 + x", "1") and rate.get_attribute("aria-valuetext") == stood
    drawn.locator(".own-figure .stage-reset").click()


@pytest.mark.parametrize("f, start, words", [
    ("abs(x)", "1", "expr must be differentiable; Abs(x) has a kink or a jump where x = 0"),
    ("__import__('js').eval('1')", "", "it has the name __import__, which no formula has"),
    ("x + y + z", "", "it has 3 variables"), ("x^2", "1, 2", "start must be a number"),
])
def test_what_is_refused_is_refused_in_words_and_the_figure_stays(drawn, f, start, words):
    draw(drawn, "x^2", "1")
    assert words in draw(drawn, f, start) and drawn.locator(".own-form [name=f]").get_attribute("aria-invalid") == "true"
    assert drawn.locator(".own-figure .stage-readout").inner_text()
    draw(drawn, "x^2", "1")
    assert drawn.locator(".own-form [name=f]").get_attribute("aria-invalid") == "false"


def test_a_new_function_is_there_at_once(drawn):
    times = []
    for k in range(9):
        drawn.locator(".own-form [name=f]").fill(f"x^4 - 3x^2 + {k}x" if k % 2 else f"x^2 + {k + 2}y^2")
        drawn.locator(".own-form [name=start]").fill("2" if k % 2 else "2, 1")
        times.append(drawn.evaluate("""() => new Promise((done) => {
          const began = performance.now();
          const seen = new MutationObserver(() => { seen.disconnect(); done(performance.now() - began); });
          seen.observe(document.querySelector(".own-figure"), { childList: true });
          document.querySelector(".own-form").requestSubmit();
        })"""))
        drawn.wait_for_function("document.querySelector('.own-said').textContent === ''")
    assert sorted(times)[4] < 400, times  # 200 on a quiet machine


def test_a_link_fills_the_fields_and_starts_nothing(form, drawn):
    draw(drawn, "x^2 + y^2 + 1", "2, 1", "adam")
    drawn.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    drawn.get_by_role("button", name="Copy link").click()
    fragment = "#" + drawn.evaluate("window.copied").split("#")[1]
    page = form(PAGES[1], PHONE, fragment)
    assert fields(page) == ["x^2 + y^2 + 1", "2, 1", "adam"] and not page.workers
    page.wait_for_timeout(500)
    assert not page.workers and not page.locator(".own-figure > *").count()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(page.url.split("#")[0] + "#f=x^2+3x&start=1")  # as written by hand, and on a page that is open
    page.wait_for_function("document.querySelector('.own-form [name=f]').value === 'x^2+3x'")
    assert fields(page) == ["x^2+3x", "1", "sgd"]


@pytest.mark.parametrize("fragment, found", [
    ("#f=" + "x" * 501, None), ("#f=%E0%A4%A", None), ("#start=3", None), ("#" + "a" * 2000 + "&f=x", None),
    ("#f=x&rule=__proto__&start=" + "1" * 101, ["x", "", "sgd"]), ("#f=x&constructor=1&figure=2", ["x", "", "sgd"]),
    ("#f=<img src=x onerror=alert(1)>", ["<img src=x onerror=alert(1)>", "", "sgd"]),
])
def test_of_a_link_only_what_can_be_meant_is_taken(form, fragment, found):
    page = form(fragment=fragment)
    assert fields(page) == (found or ["x^4 - 3x^2 + x", "2", "sgd"])
    assert page.locator(".own-function img").count() == 0
    page.close()
