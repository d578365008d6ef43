"""Python in the built pages, in a real browser: cells, answers, what is kept, what must never run."""

import gzip
import json
import re
import sys

import numpy as np
import page_python
import pytest
import sympy as sp

import metacalc
from conftest import DESK, HTML, PHONE, ROOT
from metacalc.assignments import collect
from metacalc.course import check
from metacalc.course.answers import EXERCISES
from test_book import violations
from test_exercises import SOLUTIONS, WRONG

sys.path.insert(0, str(ROOT / "book/python"))
import trial  # noqa: E402

PAGE = "chapters/01_background"
HERE = sum(label.startswith("bg-") for label in EXERCISES)  # exercises of this page
IN_THE_GATE = [PAGE]  # the others, which take a quarter of an hour: `make page-cells`, or -m slow


@pytest.fixture(scope="module")
def running(tab):
    """The first chapter with Python running."""
    page = tab(PAGE, script=trial.LISTEN)
    run(page, 0)
    return page


def cell(page, n):
    return page.locator(".cell").nth(n)


def said(page, n, words="done", seconds=60):
    cell(page, n).locator(".cell-said", has_text=words).wait_for(timeout=1000 * seconds, state="attached")


def run(page, n, words="done", seconds=60):
    cell(page, n).get_by_role("button", name=f"Run cell {n + 1}").click()
    said(page, n, words, seconds)


def write(page, n, source):
    edit = cell(page, n).get_by_role("button", name="Edit")
    if edit.is_visible():
        edit.click()
    cell(page, n).locator("textarea").fill(source)


def test_a_page_is_as_light_as_before_until_python_is_asked_for(tab, browser, server):
    context = browser.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server[0]}{PAGE}.html")
    page.locator(".cell-tools").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "/python/" in url] and not page.workers
    assert len(gzip.compress((HTML / "_static/python.js").read_bytes(), 9)) <= 15_000
    assert not page.locator(".python-bar:visible").count()
    sizes = page_python.megabytes(json.loads((HTML / "_static/python/manifest.json").read_text()))
    total = sum(size for name, size in sizes.items() if name not in ("data", "fonts", "rare", "scipy"))
    named = re.search(r"loads Python, (\d+) MB", page.locator(".cell-tools").first.inner_text())
    assert abs(int(named[1]) - total) < 1 and total <= 27
    context.close()


@pytest.mark.parametrize("name", [pytest.param(page, marks=[] if page in IN_THE_GATE else pytest.mark.slow)
                                  for page in trial.code_cells()])
def test_cells_show_in_the_page_what_is_stored(name, browser, server, tab):
    known = json.loads((ROOT / "book/python/cells.json").read_text(encoding="utf-8")).get(name, {})
    for code, _, why, difference in trial.try_page(browser, server[0], name):
        assert why is not None, f"{code.source}\n{difference}"
        assert (why or None) == (known.get(code.id) or [None])[0], code.source
        assert why or not difference, difference


def test_the_list_of_cells_that_do_not_run_is_short_and_current():
    known = json.loads((ROOT / "book/python/cells.json").read_text(encoding="utf-8"))
    ids = {page: {code.id for code in cells} for page, cells in trial.code_cells().items()}
    assert all(set(notes) <= ids[page] for page, notes in known.items()), "make page-cells"
    assert sum(note[0] is not None for notes in known.values() for note in notes.values()) <= 12


def ask(page, call, **given):
    return page.evaluate("([call, given]) => metacalc.Python.ask(call, given)", [call, given])


@pytest.mark.parametrize("label", sorted(label for label, exercise in EXERCISES.items() if not exercise.program))
def test_an_exercise_is_answered_in_a_line(running, label):
    (code,) = re.findall(r"```python\n(.*?)```", SOLUTIONS[label], re.DOTALL)
    names = {"np": np, "sp": sp, **{name: getattr(metacalc, name) for name in metacalc.__all__}}
    exec(code, names)
    assert ask(running, "check", name=label, text=str(names["answer"])) == {"right": True, "reason": ""}
    for answer, _ in [wrong for wrong in WRONG[label] if "nan" not in str(wrong)][:2]:
        verdict = ask(running, "check", name=label, text=str(answer))
        assert not verdict["right"] and verdict["reason"], answer


def test_a_program_is_answered_in_its_cell(running):
    n = running.locator(".cell").evaluate_all("cells => cells.findIndex(c => c.classList.contains('exercise-bg-ex-quotient'))")
    write(running, n, 'check("bg-ex-quotient", lambda x: x**3)')
    run(running, n)
    assert "✗" in cell(running, n).locator(".cell_output").inner_text()
    write(running, n, 'check("bg-ex-quotient", lambda x: x**2)')
    run(running, n)
    assert cell(running, n).locator(".answer-verdict").inner_text() == "✓ Right."


def test_an_answer_is_typeset_checked_counted_and_kept(tab, running):
    place = running.locator(".exercise-bg-ex-error")
    place.get_by_role("textbox").fill("e^θ h/3")
    place.locator(".answer-formula mjx-container").wait_for()
    place.get_by_role("button", name="Check").click()
    place.locator(".answer-verdict", has_text="✗ Right up to a constant factor.").wait_for()
    place.get_by_role("textbox").fill("h e^theta / 2")
    place.get_by_role("textbox").press("Enter")
    place.locator(".answer-verdict", has_text="✓ Right.").wait_for()
    assert re.match(rf"[12] of {HERE} exercises here solved", running.locator(".solved").inner_text())
    other = tab(PAGE, context=running.context)  # another tab, and later
    assert other.locator(".exercise-bg-ex-error .answer-verdict").inner_text() == "✓ Right."
    assert other.locator(".exercise-bg-ex-error input").input_value() == "h e^theta / 2"
    first = tab("chapters/intro", context=running.context)
    assert re.match(rf"[12] of {len(EXERCISES)} exercises of the course solved", first.locator(".solved").inner_text())
    other.get_by_role("button", name="Forget").click()
    other.get_by_role("button", name="Press again").click()
    other.wait_for_load_state()
    other.locator(".solved", has_text=f"0 of {HERE}").wait_for()
    running.locator(".solved", has_text=f"0 of {HERE}").wait_for()


def test_answers_are_saved_as_the_file_that_a_teacher_collects(tab, tmp_path):
    page = tab(PAGE)
    for label, answer, verdict in (("bg-ex-error", "h e^theta / 2", "✓"), ("bg-ex-derivative", "8", "✗")):
        place = page.locator(f".exercise-{label}")
        place.get_by_role("textbox").fill(answer)
        place.get_by_role("textbox").press("Enter")
        place.locator(".answer-verdict", has_text=verdict).wait_for(timeout=60_000)
    n = page.locator(".cell").evaluate_all("cells => cells.findIndex(c => c.classList.contains('exercise-bg-ex-quotient'))")
    write(page, n, 'check("bg-ex-quotient", lambda x: x**2)')
    run(page, n)
    page.reload()
    assert page.locator(".exercise-bg-ex-derivative input").input_value() == "8"
    page.get_by_role("button", name="Save my answers").click()
    assert not violations(page)
    page.get_by_label("Your name").fill("Ada Lovelace")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the file").click()
    assert download.value.suggested_filename == "answers.json"
    download.value.save_as(tmp_path / "answers.json")
    found = collect(tmp_path, check)
    (row,) = found.rows
    assert (row.student, row.total, row.notes) == ("Ada Lovelace", 1, ()) and not found.differences()
    assert {name: one.status for name, one in row.results.items()} == {
        "bg-ex-error": "right", "bg-ex-derivative": "wrong", "bg-ex-quotient": "not re-checked"}
    assert all(one.given.date[:2] == "20" for one in row.results.values())
    assert found.programs()[0][2].strip() == 'check("bg-ex-quotient", lambda x: x**2)'


def test_a_changed_cell_survives_a_reload_and_goes_back(tab):
    page = tab(PAGE)
    source = cell(page, 1).locator("pre").inner_text()
    write(page, 1, "print('mine')")
    page.reload()
    assert cell(page, 1).locator("textarea").input_value() == "print('mine')"
    run(page, 1)
    assert cell(page, 1).locator(".cell_output").inner_text().strip() == "mine"
    cell(page, 1).get_by_role("button", name="Put cell 2 back as printed").click()
    assert cell(page, 1).locator("textarea").count() == 0 and cell(page, 1).locator("pre").first.inner_text() == source
    assert cell(page, 1).locator(".cell_output mjx-container").count()
    page.reload()
    assert cell(page, 1).locator("textarea").count() == 0


def test_an_endless_loop_is_stopped_and_python_starts_again(tab):
    page = tab(PAGE)
    write(page, 1, "for i in range(3): print(i)\nwhile True: pass")
    cell(page, 1).get_by_role("button", name="Run cell 2").click()
    cell(page, 1).locator(".cell_output", has_text="2").wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    said(page, 1, "Python was stopped")
    write(page, 1, "print('again')")
    run(page, 1)
    assert cell(page, 1).locator(".cell_output").inner_text().strip() == "again"


def test_errors_are_told_in_words(running):
    write(running, 3, "no_such_name")
    run(running, 3, "ended with an error")
    assert "run all above" in cell(running, 3).locator(".cell_output").inner_text()
    write(running, 3, "import numpy as np\nnp.ones((2**14, 2**15))")
    run(running, 3, "ended with an error")
    assert "2 GB" in cell(running, 3).locator(".cell_output").inner_text()
    cell(running, 3).get_by_role("button", name="Put cell 4 back as printed").click()


def test_run_all_above_and_a_live_figure_made_anew(running):
    page = running
    n = page.locator(".cell").evaluate_all("cells => cells.findLastIndex(c => c.querySelector('.stage'))")
    cell(page, n).get_by_role("button", name="Run all above").click()
    said(page, n)
    stage = cell(page, n).locator(".stage[data-live]")
    stage.wait_for()
    before = stage.locator(".stage-readout").inner_text()
    stage.locator("input[type=range]").first.press("ArrowRight")
    assert stage.locator(".stage-readout").inner_text() != before
    assert "K =  1" in cell(page, 3).locator(".cell_output").inner_text()


def test_a_folded_cell_runs_and_shows_by_itself_what_went_wrong_in_it(tab):
    page = tab("chapters/04_meta_learning")
    n = page.locator(".cell").evaluate_all("cells => cells.findIndex(c => c.matches('.tag_hide-cell'))")
    folded, fold = cell(page, n), cell(page, n).locator("details.hide")
    printed = folded.locator(".cell_output pre").text_content()
    fold.locator("summary").press("Enter")
    folded.get_by_role("button", name="Run all above").press("Enter")
    said(page, n, seconds=120)
    assert folded.locator(".cell_output pre").text_content().strip() == printed.strip()
    write(page, n, "1 / 0")
    page.reload()
    assert fold.get_attribute("open") is not None and folded.locator("textarea").input_value() == "1 / 0"
    fold.locator("summary").click()
    cell(page, n + 1).get_by_role("button", name="Run all above").click()
    said(page, n + 1, "not run", seconds=120)
    assert fold.get_attribute("open") is not None and folded.get_by_text("ZeroDivisionError").first.is_visible()
    folded.get_by_role("button", name=f"Put cell {n + 1} back as printed").click()
    page.reload()
    assert fold.get_attribute("open") is None


def test_a_page_from_a_file_says_what_to_do(browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{(HTML / PAGE).as_uri()}.html")
    cell(page, 0).get_by_role("button", name="Run cell 1").click()
    said(page, 0, "make serve")
    context.close()


# Nothing of these may run: each would set a mark on the page or in the worker, or leave the server.
ANSWERS = ["__import__('js').eval('self.mark = 1') or 12", "eval('12')", "().__class__.__bases__[0]", "[c for c in (12,)][0]",
           "12 if open('/x', 'w') else 12", "lambda: 12", "(((2**50)**50)**50)**50", "x" * 5000,
           "sp.S('__import__(\"os\").system(\"x\")')"]
SHOWN = ["<img src=x onerror='window.mark = 1'>", "<script>window.mark = 1</script>", "<svg onload='window.mark = 1'></svg>",
         "<iframe srcdoc='<script>parent.mark = 1</script>'></iframe>", "<a href='javascript:window.mark = 1'>a</a>",
         "<form action='https://example.org'><button>b</button></form>", "<style>@import 'https://example.org/x.css'</style>"]


@pytest.mark.parametrize("text", ANSWERS)
def test_a_typed_answer_is_never_run(running, text):
    verdict = ask(running, "check", name="bg-ex-derivative", text=text)
    assert not verdict["right"] and verdict["reason"]
    assert not ask(running, "typeset", text=text, symbols=["x"]).get("latex", "").count("mark")


def test_what_a_cell_shows_is_shown_and_not_run(running):
    for kind, texts in (("HTML", SHOWN), ("SVG", [f"<svg xmlns='http://www.w3.org/2000/svg'>{SHOWN[1]}</svg>"]),
                        ("Latex", [r"$\href{javascript:window.mark=1}{x}$"])):
        for text in texts:
            write(running, 3, f"from IPython.display import {kind}\n{kind}({text!r})")
            run(running, 3)
    running.wait_for_timeout(300)
    output = cell(running, 3).locator(".cell_output")
    assert not output.locator("script, iframe, form, style, a[href], [onerror], [onload]").count()
    assert running.evaluate("window.mark === undefined")
    cell(running, 3).get_by_role("button", name="Put cell 4 back as printed").click()


def test_neither_a_link_nor_what_is_stored_runs_anything(tab, running):
    running.evaluate("""() => { for (const key of Object.keys(localStorage)) localStorage.removeItem(key);
        localStorage.setItem("metacalc:solved:bg-ex-derivative", "<img src=x onerror='window.mark = 1'>");
        localStorage.setItem(`metacalc:cell:chapters/01_background:${JSON.parse(
          document.querySelector("meta[name='metacalc-cells']").content)[1][0]}`, "import js; js.postMessage('x')"); }""")
    page = tab(PAGE, context=running.context, script=trial.LISTEN, fragment="#f=__import__('js')&<img src=x onerror=alert(1)>")
    page.wait_for_timeout(300)
    assert not page.workers and page.evaluate("window.mark === undefined && heard.length === 0")
    assert cell(page, 1).locator("textarea").input_value() == "import js; js.postMessage('x')"
    page.evaluate("localStorage.clear()")


def test_the_worker_reaches_this_server_alone(running):
    write(running, 3, """import js
for address in ("https://example.org/", "http://127.0.0.1:9/"):
    request = js.XMLHttpRequest.new()
    try:
        request.open("GET", address, False)
        request.send()
        print("sent")
    except Exception as error:
        print("refused")
try:
    js.importScripts("https://example.org/x.js")
except Exception as error:
    print("refused")
print(hasattr(js, "document"), hasattr(js, "localStorage"))""")
    run(running, 3)
    assert cell(running, 3).locator(".cell_output").inner_text().split() == ["refused"] * 3 + ["False"] * 2
    cell(running, 3).get_by_role("button", name="Put cell 4 back as printed").click()


def test_an_editor_by_keyboard_alone(running):
    cell(running, 4).get_by_role("button", name="Edit").focus()
    running.keyboard.press("Enter")
    area = cell(running, 4).locator("textarea")
    assert area.evaluate("a => a === document.activeElement")
    running.keyboard.press("Control+A")
    running.keyboard.type("for i in range(2):")
    running.keyboard.press("Enter")
    running.keyboard.type("print(i)")
    running.keyboard.press("Shift+Enter")
    said(running, 4)
    assert cell(running, 4).locator(".cell_output").inner_text().split() == ["0", "1"]
    assert area.input_value() == "for i in range(2):\n    print(i)"
    assert area.bounding_box() == cell(running, 4).locator(".cell-shown").bounding_box()  # the colours lie under their letters
    running.keyboard.press("Tab")
    assert area.input_value().count("    ") == 2
    running.keyboard.press("Control+Z")
    assert area.input_value() == "for i in range(2):\n    print(i)"
    running.keyboard.press("Escape")
    running.keyboard.press("Tab")
    assert not area.evaluate("a => a === document.activeElement")
    cell(running, 4).get_by_role("button", name="Put cell 5 back as printed").click()


@pytest.mark.parametrize("reader", [DESK, PHONE], ids=["desk", "phone"])
def test_every_state_is_accessible_and_no_wider_than_the_page(tab, running, reader):
    page = running if reader is DESK else tab(PAGE, reader)
    write(page, 1, "print('a line that is much longer than a phone is wide, so that it has to scroll', 1, 2, 3)")
    run(page, 1)
    write(page, 3, "1/0")
    run(page, 3, "ended with an error")
    place = page.locator(".exercise-bg-ex-error")
    place.get_by_role("textbox").fill("h")
    place.get_by_role("button", name="Check").click()
    place.locator(".answer-verdict", has_text="✗").wait_for()
    page.get_by_text("Answer in a cell").first.click()
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".python-bar").get_by_role("status").inner_text().startswith("Python is ready")
