"""The built book in a real browser: every page of `_toc.yml`. Its live figures are in `test_book_figures`."""

import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from conftest import DESK, HTML, PAGES, PHONE
from live_figures import FIGURES

every_page = pytest.mark.parametrize("page_name", PAGES, scope="module")  # the tests of one page in turn, then the next page's

# A listing has thousands of words in two dozen colours, a signature hundreds, a formula a hundred elements in one, a picture a
# thousand without a word, and each costs axe a millisecond. Of those that look alike the first stays; what the function returns
# puts the others back.
THIN_OUT = """() => {
  const seen = new Set(), first = (look) => !seen.has(look) && seen.add(look);
  const picture = "svg:not(:has([role], [tabindex], [aria-label], text))";
  const whole = [...document.querySelectorAll(`article :is(pre, .math, dt.sig, .classifier, ${picture})`)]
    .map((place) => [place, [...place.childNodes]]);
  const looks = whole.map(([place]) => `${place.className} ${getComputedStyle(place).color} in ` +
    (place.closest(".highlight, td, th, summary, .admonition") ?? place.parentElement).className);
  whole.forEach(([place, parts], i) => {
    if (place.matches("pre, dt.sig")) place.replaceChildren(
      ...parts.filter((t) => !t.className || t.matches("[id], a") || first(`${t.className} in ${looks[i]}`)));
    else if (place.matches("svg")) place.replaceChildren(...parts.filter((part) => part.localName === "title"));
    else if (!first(looks[i])) place.replaceChildren();
  });
  const shaded = [...document.querySelectorAll("article .scrolls")];  // axe judges no text on a gradient
  shaded.forEach((place) => place.classList.remove("scrolls"));
  return () => {
    whole.forEach(([place, parts]) => place.replaceChildren(...parts));
    shaded.forEach((place) => place.classList.add("scrolls"));
  };
}"""
# What scrolls sideways, folded or not, and does not show it or cannot be reached with keys; and formulas that are cut.
HIDES_ITS_REST = """async () => {
  const folded = [...document.querySelectorAll("article details:not([open])")];
  folded.forEach((details) => { details.open = true; });
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  const wrong = [...document.querySelectorAll("article *")].filter((place) => {
    if (place.matches("mjx-container *, svg *, textarea, .stage-panels, .cell-editor")) return false;
    const style = getComputedStyle(place), formula = place.matches("span.math") && place.querySelector("mjx-math");
    if (formula ? formula.offsetWidth <= place.clientWidth + 2 : place.scrollWidth <= place.clientWidth + 1) return false;
    if (!place.clientWidth || (!formula && !["auto", "scroll"].includes(style.overflowX))) return false;
    return style.overflowX !== "auto" || place.tabIndex !== 0 || !style.backgroundImage.includes("gradient");
  }).map((place) => `${place.localName}.${place.className}: ${place.textContent.slice(0, 40)}`);
  folded.forEach((details) => { details.open = false; });
  return wrong;
}"""
# Folded cells that show more than a line with their one name, or whose button is called something else.
NO_FOLD = """() => [...document.querySelectorAll("article .cell.tag_hide-cell > details.hide")].filter((fold) => {
  const summary = fold.querySelector("summary"), names = [...summary.querySelectorAll("p")].filter((part) =>
    part.textContent.trim() === "Check it" && part.checkVisibility({visibilityProperty: true, opacityProperty: true}));
  return names.length !== 1 || summary.hasAttribute("aria-label") || fold.getBoundingClientRect().height >= 50
    || fold.querySelector("pre").checkVisibility();
}).map((fold) => fold.textContent.slice(0, 60))"""
WIDE_AT_A_DESK = """() => [...document.querySelectorAll("article pre, article .pst-scrollable-table-container")]
  .filter((place) => place.scrollWidth > place.clientWidth + 1).map((place) => place.textContent)"""
# Formulas whose punctuation, or the bracket before them, stands in another line.
LEFT_ALONE = """() => [...document.querySelectorAll("article span.math")].filter((formula) => {
  const block = formula.closest("p, li, td, th, dd, dt, h1, h2, h3, h4, summary");
  if (!block || !formula.getClientRects().length) return false;
  const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT,
    (text) => text.parentElement.closest("mjx-container") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  let before = null, after = null;
  while (!after && texts.nextNode()) {
    if (formula.compareDocumentPosition(texts.currentNode) & Node.DOCUMENT_POSITION_FOLLOWING) after = texts.currentNode;
    else if (texts.currentNode.data) before = texts.currentNode;
  }
  const place = formula.getBoundingClientRect(), letter = document.createRange();
  const elsewhere = (text, i) => {
    letter.setStart(text, i);
    letter.setEnd(text, i + 1);
    const there = letter.getBoundingClientRect();
    return there.top >= place.bottom - 4 || there.bottom <= place.top + 4;
  };
  return (/^[.,:;!?)]/.test(after?.data ?? "") && elsewhere(after, 0))
    || (/[(\\[]$/.test(before?.data ?? "") && elsewhere(before, before.length - 1));
}).map((formula) => formula.closest("p, li, td, th, dd, dt, h1, h2, h3, h4").textContent)"""
# On paper: what is beside the page, what would still scroll or could break within its frame, and light ink.
LOST_ON_PAPER = """() => {
  const article = document.querySelector("article"), {left, right} = article.getBoundingClientRect(), lost = [];
  const FRAMES = ".cell_input, .output, .stage, .caption-live, .cell_output > img";
  for (const part of article.querySelectorAll("*")) {
    if (part.matches("mjx-container *, svg *, .stage-grip")) continue;
    const style = getComputedStyle(part), place = part.getBoundingClientRect();
    if (!place.width || style.position === "absolute") continue;
    const cut = style.overflowX !== "visible" && !part.matches("span.math") && part.scrollWidth > part.clientWidth + 1;
    const breaks = style.breakInside !== "avoid" && part.matches(FRAMES);
    const [red, green, blue] = style.color.match(/[0-9.]+/g).map(Number);
    const pale = part.matches("pre, pre span") && red + green + blue > 450;
    if (place.right > right + 1 || place.left < left - 1 || cut || breaks || pale) lost.push(
      `${part.localName}.${part.className} ${[cut, breaks, pale]}: ${part.textContent.slice(0, 40)}`);
  }
  return lost;
}"""
# Which share of the page's height is code and what it prints, figures and pictures left out.
CODE = """() => {
  const height = (selector) => [...document.querySelectorAll(`article ${selector}`)]
    .reduce((sum, place) => sum + place.getBoundingClientRect().height, 0);
  const whole = document.querySelector("article").getBoundingClientRect().height;
  return (height(".cell") - height(".cell .stage") - height(".cell_output img")) / whole;
}"""
COLOURS = ["color-contrast", "link-in-text-block"]


@every_page
def test_page_is_whole(visit, page_name):
    page = visit(page_name)
    assert page.locator("article h1").count() == 1
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() >= formulas
    assert page.locator("mjx-merror, .stage-mark-error").count() == 0
    assert page.locator("article .math:not(:has(mjx-container))").count() == 0
    raw = page.locator("text=/(\\\\\\(|\\$\\$)/").filter(visible=True)
    assert raw.locator("xpath=self::*[not(ancestor-or-self::pre)]").count() == 0
    broken = page.locator("img").evaluate_all(
        "images => images.filter(i => !i.complete || !i.naturalWidth || !/^[^/]+$/.test(i.alt)).map(i => i.src)")
    assert not broken
    assert page.locator(".stage").count() == len(FIGURES.get(page_name, [])), "list the page's figures in live_figures.py"


def violations(page, **options):
    restore = page.evaluate_handle(THIN_OUT)
    found = Axe().run(page, context={"include": [["article"]]},
                      options={"preload": False, "resultTypes": ["violations"]} | options)
    restore.evaluate("restore => restore()")
    return [f"{v['id']}: {[n['target'] for n in v['nodes']][:3]}" for v in found.response["violations"]
            if v["impact"] in ("serious", "critical")]


@every_page
def test_page_is_accessible(visit, page_name):
    assert not violations(visit(page_name))


@every_page
def test_colours_are_accessible_in_the_dark_on_a_phone(visit, page_name):
    page = visit(page_name, PHONE)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert not violations(page, runOnly=COLOURS)  # what scrolls is looked at below, with all that is in it


@every_page
def test_page_fits_a_phone(visit, page_name):
    page = visit(page_name, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    outside = page.locator(".stage, .stage :is(input, button, select)").evaluate_all(
        "parts => parts.filter(p => { const b = p.getBoundingClientRect(); return b.left < 0 || b.right > 360; })"
        ".map(p => p.outerHTML)")
    assert not outside


@every_page
def test_what_only_verifies_is_folded_under_one_name_and_opens_with_keys(visit, page_name):
    page = visit(page_name)
    assert page.locator("article details.hide[open]").count() == 0
    assert not page.evaluate(NO_FOLD)
    for fold in page.locator("article .cell.tag_hide-cell > details.hide").all()[:1]:
        fold.locator("summary").press("Enter")
        assert fold.locator(".cell_input pre").is_visible() and fold.get_by_text("Check it").filter(visible=True).count() == 1
        fold.locator("summary").press("Enter")
        assert not fold.locator(".cell_input pre").is_visible()


@every_page
def test_what_scrolls_sideways_shows_it_and_can_be_reached(visit, page_name):
    page = visit(page_name, PHONE)
    if page.evaluate(HIDES_ITS_REST):
        page.wait_for_timeout(400)  # the theme looks for stops of the Tab key a while after the page has changed
        assert not page.evaluate(HIDES_ITS_REST)


@every_page
def test_code_outputs_and_tables_fit_a_desk(visit, page_name):
    assert not visit(page_name).evaluate(WIDE_AT_A_DESK)


@every_page
def test_at_most_half_of_a_page_is_code(visit, page_name):
    assert visit(page_name).evaluate(CODE) <= 0.5


@every_page
def test_no_line_begins_with_the_punctuation_of_a_formula(visit, page_name):
    for reader in (DESK, PHONE):
        assert not visit(page_name, reader).evaluate(LEFT_ALONE)


@every_page
def test_paper_has_all_of_a_page(visit, page_name):
    """What only verifies is on it where the reader has opened it."""
    page = visit(page_name)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 900})  # A4 within its margins
    lost = [page.evaluate(f"document.documentElement.dataset.theme = '{theme}'") and page.evaluate(LOST_ON_PAPER)
            for theme in ("dark", "light")]
    for fold in page.locator("article .cell.tag_hide-cell > details.hide").all()[:1]:
        assert not fold.is_visible()
        fold.evaluate("fold => { fold.open = true; }")
        assert fold.is_visible()
        fold.evaluate("fold => { fold.open = false; }")
    page.set_viewport_size(DESK["viewport"])
    page.emulate_media(media="screen")
    assert lost == [[], []]


@every_page
def test_a_picture_is_no_slab_in_the_dark(visit, page_name):
    """Its corners have the colour of the page, and its ink is light."""
    page = visit(page_name, PHONE)
    ground = [int(v) for v in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]]
    for picture in page.locator("article img").all():
        shot = 255 * plt.imread(io.BytesIO(picture.screenshot()))[..., :3]
        corners = shot[[2, 2, -3, -3], [2, -3, 2, -3]]
        assert np.abs(corners - ground).max() < 12 and shot.mean(axis=-1).max() > 150, picture.get_attribute("alt")


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
