"""The live figures of the built book in Firefox: with keys, mouse and play button; and Python in a page.

It asks the page alone what a figure has, so it holds for every figure; that the numbers are right, Chromium's tests say.
"""

import math

import pytest

from conftest import missing, python_in_pages
from firefox import Firefox, program
from live_figures import FIGURES

PAGE = "chapters/01_background"
SLIDERS = ".stage-controls input[type=range]"
# Without the folder in their names, for the tests of this file stay together in one process: it has the one Firefox.
ALL = [pytest.param((page, i), id=f"{page.split('/')[-1]}-{i}")
       for page, figures in FIGURES.items() for i in range(len(figures))]
# On all pages but that one the formulas stay as they were written: to set them takes longer than all that is asked here.
PLAIN = f"""() => {{
  let settings;
  if (!location.pathname.endsWith("{PAGE}.html")) Object.defineProperty(window, "MathJax", {{
    get: () => settings, set: (given) => {{ settings = {{ ...given, startup: {{ ...given.startup, typeset: false }} }}; }},
  }});
}}"""
PARTS = f"const SLIDERS = {SLIDERS!r};" """
const stage = document.querySelectorAll(".stage")[i];
const sliders = [...stage.querySelectorAll(SLIDERS)], button = stage.querySelector(".stage-play");
const ends = () => sliders.map((slider) => Number(slider.max));
const values = () => sliders.map((slider) => Number(slider.value));
const words = () => sliders.map((slider) => slider.getAttribute("aria-valuetext"));
const shown = () => [stage.querySelector(".stage-readout"), ...stage.querySelectorAll(".stage-mark path")]
  .map((e) => e.getAttribute("d") ?? e.textContent).join("|");
/** Left, top, width and height of a part that is in view. */
const box = (part) => {
  part.scrollIntoView({ block: "center", behavior: "instant" });
  const { x, y, width, height } = part.getBoundingClientRect();
  return [x, y, width, height];
};
"""


class Figure:
    """A stage of the page that Firefox shows, as a reader gets hold of it."""

    def __init__(self, firefox, i):
        self.firefox, self.i = firefox, i

    def ask(self, what, **given):
        """What a JavaScript expression says of `PARTS` and of what is given by name."""
        return self.firefox.call(f"(i, {{{', '.join(given)}}}) => {{ {PARTS} return {what}; }}", self.i, given)

    def state(self):
        """The sliders' values, what a screen reader says of each, and the picture with its readout."""
        return self.ask("[values(), words(), shown()]")

    def places(self, selector, n, *across):
        """Points of a part, which is brought into view: in the middle of its height, at fractions of its width."""
        x, y, width, height = self.ask("box(stage.querySelectorAll(selector)[n])", selector=selector, n=n)
        return [(x + fraction * width, y + height / 2) for fraction in across]

    def place(self, selector, n=0):
        return self.places(selector, n, 0.5)[0]

    def press(self, selector):
        self.firefox.mouse(self.place(selector), "down", "up")

    def reset(self):
        """As it was when the page was new."""
        self.ask("stage.querySelector('.stage-reset').click()")
        return self


@pytest.fixture(scope="module")
def firefox():
    if program() is None:
        missing("no Firefox on this machine: the figures are not tested in it")
    with Firefox() as firefox:
        firefox.ask("script.addPreloadScript", functionDeclaration=PLAIN)
        yield firefox


@pytest.fixture(scope="module")
def visit(firefox, server):
    """A function that opens a page of the book, unless it is open."""
    address, not_found = server

    def opened(page):
        if firefox.call("() => location.href") != f"{address}{page}.html":
            firefox.open(f"{address}{page}.html")
            firefox.wait("() => document.querySelector('.stage') && !document.querySelector('.stage:not([data-live])')")
            firefox.call("() => window.MathJax?.startup?.promise.then(() => true)")
        return firefox

    yield opened
    assert not not_found, not_found


@pytest.fixture(scope="module", params=ALL)
def opened(visit, request):
    """A figure of a page that is opened once for all of them; nothing may go wrong on it."""
    page, i = request.param
    firefox = visit(page)
    yield Figure(firefox, i)
    firefox.call("() => new Promise(requestAnimationFrame)")
    troubles, firefox.troubles = firefox.troubles, []
    assert not troubles


@pytest.fixture
def figure(opened):
    return opened.reset()


def test_every_slider_obeys_the_keyboard(figure):
    before = figure.state()
    for k, last in enumerate(figure.ask("ends()")):
        ways = (("End", "ArrowLeft"), last - 1), (("Home", "ArrowRight"), 1), (("End",), last)
        keys, there = next((keys, there) for keys, there in ways if there != before[0][k])
        figure.ask("sliders[k].focus()", k=k)
        figure.firefox.press(*keys)
        after = figure.state()
        assert after[0] == [*before[0][:k], there, *before[0][k + 1:]]
        assert after[1][k] != before[1][k] and after[2] != before[2]
        before = after


def test_every_slider_obeys_the_mouse(figure):
    before = figure.state()
    for k, last in enumerate(figure.ask("ends()")):
        left, right = figure.places(SLIDERS, k, 0.2, 0.85)
        there, back = (right, left) if before[0][k] < last / 2 else (left, right)
        figure.firefox.mouse(there, "down")
        after = figure.state()
        assert (after[0][k] - before[0][k]) * (there[0] - back[0]) > 0
        assert after[1][k] != before[1][k] and after[2] != before[2]
        figure.firefox.mouse(back, "up")
        before = figure.state()
        assert (after[0][k] - before[0][k]) * (there[0] - back[0]) > 0


def test_every_grip_follows_the_mouse(figure):
    """What is held comes to the pointer: the grip under it, or one that lies over that one."""
    centres = """[...stage.querySelectorAll('.stage-grip')].map((grip) => grip.getBoundingClientRect())
      .map(({ x, y, width, height }) => [x + width / 2, y + height / 2])"""
    for n in range(len(figure.ask(centres))):
        start, before = figure.place(".stage-grip", n), figure.state()
        under = [m for m, place in enumerate(figure.ask(centres)) if math.dist(place, start) < 15]
        figure.firefox.mouse(start, "down")
        for across, down in ((80, 0), (-80, 0), (0, -60), (0, 60)):  # some stand at the end of their way
            pointer = start[0] + across, start[1] + down
            figure.firefox.mouse(pointer)
            held = figure.state()
            if held[0] != before[0]:
                break
        assert all(old != new for old, new in zip(before, held))
        places = figure.ask(centres)
        assert any(math.dist(places[m], pointer) < math.dist(start, pointer) for m in under)
        figure.firefox.mouse("up")
        assert figure.state() == held


def play(figure):
    """Press Play, and wait for the first step; after that it goes slowly, not to be at its end before it is paused."""
    figure.ask("""void (window.moved = new Promise((moved) => {
      const start = String(values()), speed = stage.querySelector("select");
      speed.value = "4";
      requestAnimationFrame(function look() {
        if (String(values()) === start) return requestAnimationFrame(look);
        speed.value = "0.25";
        moved();
      });
    }))""")
    figure.press(".stage-play")
    figure.ask("window.moved")


def test_play_moves_a_slider_until_it_is_paused(figure):
    before = figure.state()
    play(figure)
    now, playing = figure.ask("[values(), button.textContent.includes('Pause')]")
    (k,) = (k for k, (old, new) in enumerate(zip(before[0], now)) if old != new)
    assert playing == (now[k] < figure.ask("ends()")[k])
    if playing:
        figure.press(".stage-play")
    stopped = figure.state()
    assert "Play" in figure.ask("button.textContent")
    assert all(old != new for old, new in zip(before, stopped))
    figure.ask("stage.querySelector('select').value = '4'")  # were it still playing, this would soon be seen
    assert figure.ask("new Promise((wait) => setTimeout(wait, 200)).then(() => [values(), words(), shown()])") == stopped


def test_a_guess_is_told_beside_what_is_true(figure):
    """By keyboard alone, in a figure that asks for one."""
    focus = "[...stage.querySelectorAll('button')].some((b) => text.includes(b.textContent) && (b.focus() ?? true))"
    if not figure.ask(focus, text=["Predict first"]):
        return
    figure.firefox.press("Enter", "ArrowRight", "ArrowRight")
    guess = figure.ask("document.activeElement.getAttribute('aria-valuetext')")
    assert figure.ask(focus, text=["Show what is true"])
    figure.firefox.press("Enter")
    assert guess and f"You guessed {guess}; it is " in figure.ask("shown()")


def test_a_hand_on_the_slider_that_plays_takes_over(visit):
    figure = Figure(visit(PAGE), 0).reset()
    start = figure.ask("values()")
    play(figure)
    (k,) = (k for k, (old, new) in enumerate(zip(start, figure.ask("values()"))) if old != new)
    figure.firefox.mouse(figure.place(SLIDERS, k), "down")
    held = figure.state()
    assert abs(held[0][k] - figure.ask("ends()")[k] / 2) <= 1 and "Play" in figure.ask("button.textContent")
    figure.firefox.mouse("up")
    assert figure.state() == held


def test_python_in_a_page_judges_an_answer(visit):
    python_in_pages()
    firefox, place = visit(PAGE), ".exercise-bg-ex-derivative"
    said = f"(words) => document.querySelector('{place} .answer-verdict').textContent.startsWith(words)"
    for answer, words in (("8", "✗ That is f(2), the value."), ("12", "✓ Right.")):
        firefox.call(f"() => document.querySelector('{place} input').select()")
        firefox.press(*answer, "Tab", "Enter")  # on Check
        firefox.wait(said, words, seconds=60)
    assert firefox.call("() => document.querySelectorAll('mjx-container').length") and not firefox.troubles
