"""The built book in a real browser: every page of `_toc.yml`. Its live figures are in `test_book_figures`."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from conftest import HTML, PAGES, PHONE
from live_figures import FIGURES

every_page = pytest.mark.parametrize("page_name", PAGES, scope="module")  # the tests of one page in turn, then the next page's

# A listing has thousands of words in two dozen colours, a formula a hundred elements in one, and each costs axe a
# millisecond. Of those that look alike the first stays; what the function returns puts the others back.
THIN_OUT = """() => {
  const seen = new Set(), first = (look) => !seen.has(look) && seen.add(look);
  const whole = [...document.querySelectorAll("article pre, article .math")].map((place) => [place, [...place.childNodes]]);
  const looks = whole.map(([place]) => `${place.className} ${getComputedStyle(place).color} in ` +
    (place.closest(".highlight, td, th, summary, .admonition") ?? place.parentElement).className);
  whole.forEach(([place, parts], i) => {
    if (place.matches("pre")) place.replaceChildren(
      ...parts.filter((t) => !t.className || first(`${t.className} in ${looks[i]}`)));
    else if (!first(looks[i])) place.replaceChildren();
  });
  return () => whole.forEach(([place, parts]) => place.replaceChildren(...parts));
}"""
COLOURS, SCROLLING = ["color-contrast", "link-in-text-block"], ["scrollable-region-focusable"]


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
        "images => images.filter(i => !i.complete || !i.naturalWidth || !i.alt).map(i => i.src)")
    assert not broken
    assert page.locator(".stage").count() == len(FIGURES.get(page_name, [])), "list the page's figures in live_figures.py"


def violations(page, thin_out=True, **options):
    restore = page.evaluate_handle(THIN_OUT if thin_out else "() => () => null")
    found = Axe().run(page, context={"include": [["article"]]},
                      options={"preload": False, "resultTypes": ["violations"]} | options)
    restore.evaluate("restore => restore()")
    return [f"{v['id']}: {[n['target'] for n in v['nodes']][:3]}" for v in found.response["violations"]
            if v["impact"] in ("serious", "critical")]


@every_page
def test_page_is_accessible(visit, page_name):
    assert not violations(visit(page_name))


@every_page
def test_colours_and_scrolling_are_accessible_in_the_dark_on_a_phone(visit, page_name):
    page = visit(page_name, PHONE)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert not violations(page, thin_out=False, runOnly=SCROLLING)  # what scrolls depends on all that is in it
    assert not violations(page, runOnly=COLOURS)


@every_page
def test_page_fits_a_phone(visit, page_name):
    page = visit(page_name, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    outside = page.locator(".stage, .stage :is(input, button, select)").evaluate_all(
        "parts => parts.filter(p => { const b = p.getBoundingClientRect(); return b.left < 0 || b.right > 360; })"
        ".map(p => p.outerHTML)")
    assert not outside


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
