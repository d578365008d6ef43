"""Self-checks: every question has one right choice, and asks for one before it answers, in a real browser."""

import re

import nbformat
import pytest
import selfcheck
from axe_playwright_python.sync_playwright import Axe
from docutils import nodes
from docutils.utils import new_document
from sphinx_design.shared import create_component

from conftest import DESK, HTML, PAGES, PHONE, ROOT, missing

PAGE = "chapters/02_calculus_link"
SOURCES = [path for page in PAGES for path in (ROOT / f"{page}.ipynb", ROOT / f"{page}.md") if path.exists()]
QUESTION = re.compile(r"^::::\{admonition\} Check yourself\n(.*?)^::::$", re.MULTILINE | re.DOTALL)
CHOICE = re.compile(r"^:::\{dropdown\} (.*?)\n(.*?)^:::$", re.MULTILINE | re.DOTALL)


def asked(path):
    """The self-checks of a chapter: the choices of each, title and explanation."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
    return [CHOICE.findall(question) for question in QUESTION.findall(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_question_has_one_right_choice_and_says_so(path):
    questions = asked(path)
    assert path.read_text(encoding="utf-8").count("} Check yourself") == len(questions)
    for choices in questions:
        assert len(choices) >= 3 and not selfcheck.faults(choices), choices


def test_a_question_without_one_right_choice_is_a_fault():
    right, wrong, unclear = ("(a) 1", "Yes: so it is."), ("(b) 2", "No. It is not."), ("(b) 2", "Not quite.")
    assert not selfcheck.faults([right, wrong])
    assert selfcheck.faults([right, ("(b) 2", "Yes, too.")]) == ["2 choices are right"]
    assert selfcheck.faults([("(a) 1", "No."), wrong]) == ["0 choices are right"]
    assert selfcheck.faults([right, unclear]) == ["(b) begins with neither Yes nor No"]
    assert selfcheck.faults([right, ("2", "No.")]) == ["choice 2 is not called (b)"]
    assert selfcheck.verdict("Yesterday") is None and selfcheck.verdict("Nothing") is None and selfcheck.verdict("") is None


def test_the_build_marks_the_right_choice_and_warns_of_what_is_unclear(caplog):
    def page(*explanations):
        question = nodes.admonition("", nodes.title("", "Check yourself"), nodes.paragraph("", "Which?"))
        for letter, text in zip("abc", explanations):
            question += create_component("dropdown", type="dropdown", container_classes=[], children=[
                nodes.rubric("", f"({letter}) so"), nodes.paragraph("", text)])
        document = new_document("chapter")
        document += question
        selfcheck.mark(document)
        return question

    question = page("No.", "Yes: it is.", "No.")
    assert question["classes"] == ["self-check"] and question["ids"][0].startswith("check-") and not caplog.records
    assert [dropdown["container_classes"] for dropdown in question[2:]] == [["choice"], ["choice", "choice-right"], ["choice"]]
    assert question["ids"] != page("No.", "Yes: it must be.", "No.")["ids"]  # what was answered was another question
    page("No.", "Perhaps.", "No.")
    assert [record.getMessage() for record in caplog.records] == [
        "Check yourself: (b) begins with neither Yes nor No", "Check yourself: 0 choices are right"]


@pytest.fixture
def tab(browser, server):
    """A function that opens the page with a memory of its own, or with that of an earlier one."""
    contexts, troubles = [], []

    def opened(reader=DESK, context=None, **more):
        if context is None:
            context = browser.new_context(**reader, **more)
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"{server[0]}{PAGE}.html", wait_until="domcontentloaded")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def parts(page, number=0):
    """A question, its radio buttons, what was said of each choice, and the right one's place."""
    question = page.locator(".self-check").nth(number)
    right = [selfcheck.verdict(text) for _, text in asked(ROOT / f"{PAGE}.ipynb")[number]].index(True)
    return question, question.get_by_role("radio"), question.get_by_role("status"), right


def violations(page):
    found = Axe().run(page, context={"include": [[".self-check"]]}, options={"preload": False, "resultTypes": ["violations"]})
    return [f"{v['id']}: {[n['target'] for n in v['nodes']]}" for v in found.response["violations"]]


def button(question, name):
    return question.get_by_role("button", name=name, exact=True)


def test_a_choice_comes_before_the_explanation(tab):
    question, radios, said, right = parts(page := tab())
    answer, wrong = button(question, "Answer"), (right + 1) % 3
    assert radios.count() == said.count() == 3 and answer.is_disabled()
    assert question.locator("details, .choice-why").filter(visible=True).count() == 0
    assert "(a)" in radios.nth(0).evaluate("radio => radio.labels[0].textContent")
    radios.nth(wrong).check()
    assert said.all_inner_texts() == ["", "", ""]
    answer.click()
    told = said.all_inner_texts()
    assert told[wrong].startswith("✗ Wrong. ") and not re.search(r"Wrong\. (No\b|[a-z])", told[wrong])
    assert [bool(text) for text in told] == [i == wrong for i in range(3)]
    assert question.locator("details").filter(visible=True).count() == 0 and not button(question, "Answer again").is_visible()
    radios.nth(right).check()
    answer.click()
    assert said.nth(right).inner_text().startswith("✓ Right. ") and said.nth(wrong).inner_text().startswith("✗ Wrong. ")
    (other,) = {0, 1, 2} - {right, wrong}
    why = question.locator("details").filter(visible=True)
    assert why.count() == 1 and why.locator("summary").inner_text() == f"Why not ({'abc'[other]})?"
    why.locator("summary").click()
    assert why.locator(".choice-why").is_visible()
    assert not violations(page)


def test_formulas_are_typeset_wherever_they_go(tab):
    page = tab()
    page.evaluate("window.MathJax.startup.promise.then(() => true)")
    question, radios, said, right = parts(page)
    for i in range(3):
        radios.nth(i).check()
        button(question, "Answer").click()
    assert question.locator(".math").count() == question.locator(".math mjx-container").count() > 2
    for formula in question.locator(".choice-why mjx-container").all():
        assert formula.bounding_box()["height"] > 8


def test_the_keyboard_alone_is_enough(tab):
    question, radios, said, right = parts(page := tab())
    radios.nth(0).focus()
    page.keyboard.press("Enter")
    assert said.all_inner_texts() == ["", "", ""]  # nothing is chosen yet
    page.keyboard.press("Space")
    for _ in range(right):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert button(question, "Answer").evaluate("button => button === document.activeElement")
    page.keyboard.press("Enter")
    assert said.nth(right).inner_text().startswith("✓ Right. ")
    assert button(question, "Answer").evaluate("button => button === document.activeElement")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert said.all_inner_texts() == ["", "", ""] and question.locator(":checked").count() == 0
    assert radios.nth(0).evaluate("radio => radio === document.activeElement")


def test_what_was_answered_right_is_remembered_until_it_is_asked_again(tab):
    question, radios, said, right = parts(page := tab())
    radios.nth((right + 1) % 3).check()
    button(question, "Answer").click()
    question, radios, said, right = parts(page := tab(context=page.context))
    assert said.all_inner_texts() == ["", "", ""] and question.locator(":checked").count() == 0  # a wrong answer is forgotten
    radios.nth(right).check()
    button(question, "Answer").click()
    assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('metacalc:choice:')).length") == 1
    page.reload()
    question, radios, said, right = parts(page)
    assert radios.nth(right).is_checked() and said.nth(right).inner_text().startswith("✓ Right. ")
    assert parts(page, 1)[2].all_inner_texts() == ["", "", ""]
    assert question.locator("details").filter(visible=True).count() == 2
    button(question, "Answer again").click()
    page.reload()
    assert parts(page)[2].all_inner_texts() == ["", "", ""]


def test_a_browser_that_keeps_nothing_asks_all_the_same(tab, browser):
    context = browser.new_context()
    context.add_init_script("""for (const name of ["getItem", "setItem", "removeItem"]) {
      const before = Storage.prototype[name];
      Storage.prototype[name] = function (key, ...rest) {
        if (key.startsWith("metacalc:")) throw new Error("switched off");  // the theme cannot do without
        return before.call(this, key, ...rest);
      };
    }""")
    question, radios, said, right = parts(tab(context=context))
    radios.nth(right).check()
    button(question, "Answer").click()
    assert said.nth(right).inner_text().startswith("✓ Right. ")
    button(question, "Answer again").click()
    assert said.all_inner_texts() == ["", "", ""]
    context.close()


def test_a_phone_has_room_for_it_and_for_a_finger(tab):
    page = tab(PHONE, is_mobile=True)
    for number in range(2):
        question, radios, said, right = parts(page, number)
        for i in [*({0, 1, 2} - {right}), right][1:]:
            radios.nth(i).check()
            button(question, "Answer").tap()
        question.locator("summary").filter(visible=True).tap()
    sizes = page.locator(".choices :is(label, button, summary)").filter(visible=True).evaluate_all(
        "parts => parts.map(part => part.getBoundingClientRect()).map(box => [box.height, box.left, box.right])")
    assert len(sizes) == 12 and all(height >= 44 and left >= 0 and width <= 360 for height, left, width in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("html").get_attribute("data-theme") == "dark" and not violations(page)


def test_paper_has_the_question_and_the_choices(tab):
    question, radios, said, right = parts(page := tab())
    radios.nth(right).check()
    button(question, "Answer").click()
    page.emulate_media(media="print")
    assert question.locator("p").first.is_visible()
    assert question.locator("label").filter(visible=True).count() == 3
    assert question.locator("button, details, .choice-why").filter(visible=True).count() == 0


def test_without_a_script_the_choices_are_dropdowns(tab):
    question = tab(java_script_enabled=False).locator(".self-check").first
    choices = question.locator("details")
    assert choices.count() == 3 and question.locator("input, button").count() == 0
    choices.first.locator("summary").click()
    assert choices.first.locator(".sd-summary-content").is_visible()
    assert re.match("Yes|No", choices.first.locator(".sd-summary-content").inner_text())


def test_only_pages_that_ask_load_the_script():
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    for path in SOURCES:
        page = HTML / path.relative_to(ROOT).with_suffix(".html")
        text = page.read_text(encoding="utf-8")
        assert text.count("choice-right") == len(asked(path))
        assert ("selfcheck.js" in text) == bool(asked(path)), page
