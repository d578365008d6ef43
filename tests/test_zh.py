"""The Chinese edition: whole, in step with the English, the same formulas and numbers, and alive in a browser."""

import json
import re
from collections import Counter

import pytest
import texts
import translation
from axe_playwright_python.sync_playwright import Axe

from conftest import DESK, HTML, PAGES, missing, python_in_pages
from metacalc import words
from metacalc.course import check

CATALOGUES = sorted([*texts.PAGES.rglob("*.po"), translation.CATALOGUE])
every_catalogue = pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
HAN = translation.HAN
PAGE = "chapters/03_gradient_descent"
# Numbers that Chinese writes as such where English has a word.
WORDS = {name: str(i) for i, name in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split())} | {
    "first": "1", "second": "2", "third": "3", "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60",
    "hundred": "100", "thousand": "1000", "million": "1000000", "four hundredths": "0.04"} | {
    name: str(i) for i, name in enumerate(
        "January February March April May June July August September October November December".split(), start=1)}
TERMS = {  # what is searched for, and a page that it must be found on
    "梯度下降": "03_gradient_descent", "元学习": "04_meta_learning", "超梯度": "04_bilevel", "隐式微分": "04_implicit",
    "动量": "03_update_rules", "特征值": "primer", "链式法则": "02_calculus_link", "支持集": "04_meta_learning",
    "条件数": "03_gradient_descent", "矩阵分解": "06_applications/recommendation"}


def messages(path):
    return [message for message in texts.read(path) if message.id]


def parts(text):
    """What a translation takes over: formulas, targets of links and roles, code; and its numbers."""
    kept, rest = Counter(), text
    for pattern in (r"\{eq\}`[^`]*`", r"\$[^$]+\$", r"(?<=\])\([^)\s]+\)", r"\{[\w:]+\}`[^`]*`", r"`+[^`]+`+"):
        for found in re.findall(pattern, rest):
            role = re.match(r"\{([\w:]+)\}`(?:[^`<]*<)?([^`>]*)", found)
            if role is None:
                kept[re.sub(r"\s+", "", found)] += 1
            elif role[1] not in ("term", "zh"):
                kept[f"{role[1]} {role[2]}"] += 1
            else:
                kept[role[1]] += role[1] == "term"  # its target has another name
        rest = re.sub(pattern, " ", rest)
    return kept, Counter(number.rstrip(".,") for number in re.findall(r"\d[\d.,]*", rest)), rest


def formula(text):
    """A display formula without the words in it."""
    return re.sub(r"\\text\{[^}]*\}|\s+", "", text)


@every_catalogue
def test_every_text_is_translated(path):
    waiting = [message.id for message in messages(path) if message.fuzzy or not message.string]
    assert len(waiting) == 0, waiting[:5]


@every_catalogue
def test_formulas_links_and_code_are_those_of_the_english(path):
    for message in messages(path):
        if message.id.startswith("\n") and "\\" in message.id:
            assert formula(message.id) == formula(message.string)
        elif message.string:
            assert parts(message.id)[0] == parts(message.string)[0], (message.id, message.string)


@every_catalogue
def test_numbers_are_those_of_the_english(path):
    for message in messages(path):
        (_, own, rest), (_, said, _) = parts(message.id), parts(message.string or message.id)
        in_words = {number for word, number in WORDS.items() if re.search(word, rest, re.IGNORECASE)}
        assert not own - said and set(said - own) <= in_words | set(own), (message.id, message.string, own - said, said - own)


def test_templates_have_the_same_fields():
    def fields(text):
        return Counter(field for field in re.findall(r"\{[^{}]*\}", text) if not field.endswith(":s}"))

    for message in messages(translation.CATALOGUE):
        assert fields(message.id) == fields(message.string or message.id), message.id


def test_the_catalogues_are_those_of_the_english_texts():
    """As `make zh-texts` leaves them."""
    if not (texts.READ / "environment.pickle").exists():
        missing("the book is not built: run `make book`")
    wanted = texts.catalogues()
    assert set(wanted) == set(CATALOGUES)
    for path, listed in wanted.items():
        assert [message.id for message in messages(path)] == listed, path
    compiled = words.gettext.translation("metacalc", words.LOCALE, ["zh_CN"])
    assert all(compiled.gettext(message.id) == message.string for message in messages(translation.CATALOGUE) if message.string)


def test_self_checks_begin_with_the_words_that_the_page_leaves_out():
    chinese = {message.id: message.string for message in messages(translation.CATALOGUE)}
    right, wrong = chinese["Yes|No"].split("|")
    for path in CATALOGUES:
        for message in messages(path):
            verdict = re.match(r"(Yes|No)[.:,]", message.id)
            if verdict:
                assert re.match(f"({right if verdict[1] == 'Yes' else wrong})[。：，]", message.string), message.string


@pytest.fixture
def chinese():
    words.use("zh_CN")
    yield
    words.use(None)


def test_a_verdict_speaks_chinese(chinese):
    for answer in (8, "sin(", 13, "x"):
        verdict = check.verdict("bg-ex-derivative", answer)
        assert not verdict and HAN.search(verdict.reason), verdict
    assert HAN.search(repr(check.verdict("bg-ex-derivative", 12)))


def test_english_is_what_the_code_says():
    assert repr(check.verdict("bg-ex-derivative", 12)) == "✓ Right."
    state = {"spec": {}, "pictures": []}
    assert words.spoken(state) is state


def test_the_index_is_in_the_order_of_sounds():
    in_order = ["Adam", "动量", "熵", "适应", "梯度", "学习率"]
    assert sorted(in_order[::-1], key=translation.sound) == in_order
    if not (HTML / "zh").exists():
        missing("the Chinese pages are not built: run `make book`")
    index = (HTML / "zh/genindex.html").read_text(encoding="utf-8")
    letters = re.findall(r'<h2 id="([^"]*)"', index)
    assert letters == sorted(letters) and len(letters) > 20 and not any(map(HAN.match, letters))


@pytest.mark.parametrize("page_name", PAGES)
def test_displayed_formulas_are_those_of_the_english_page(page_name):
    """But for the words in them, which are Chinese."""
    if not (HTML / "zh").exists():
        missing("the Chinese pages are not built: run `make book`")
    texts_of = [(HTML / f"{folder}{page_name}.html").read_text(encoding="utf-8") for folder in ("", "zh/")]
    english, chinese = (re.findall(r"\\\[(.*?)\\\]", text, re.DOTALL) for text in texts_of)
    assert list(map(formula, english)) == list(map(formula, chinese))
    assert not any(re.search(r"\\text\{[^}]*[a-z]{2} [^}]*}", shown) for shown in chinese)  # single ones name letters


def states(page_name):
    text = (HTML / f"{page_name}.html").read_text(encoding="utf-8")
    return [json.loads(data) for data in re.findall(r'class="stage-data">(.*?)</script>', text, re.DOTALL)]


@pytest.mark.parametrize("page_name", [PAGE, "chapters/06_applications/recommendation"])
def test_figures_show_the_same_in_other_words(visit, page_name):
    for own, said in zip(states(page_name), states(f"zh/{page_name}"), strict=True):
        assert own["table"] == said["table"] and HAN.search(said["spec"]["alt"]) and HAN.search(said["spec"]["text"])
    seen = []
    for folder in ("", "zh/"):
        stages = visit(f"{folder}{page_name}").locator(".stage").all()
        for stage in stages:
            stage.locator("input[type=range]").first.press("End")
        seen.append([(stage.locator(".stage-mark path").evaluate_all("paths => paths.map(p => p.getAttribute('d'))"),
                      stage.locator(".stage-readout").inner_text(),
                      stage.locator(".stage-speed > span, .stage-reset, .stage-play").all_inner_texts()) for stage in stages])
    for (drawn, readout, labels), (drawn_zh, readout_zh, labels_zh) in zip(*seen, strict=True):
        assert drawn == drawn_zh and HAN.search(readout_zh) and not HAN.search(readout)
        assert set(re.findall(r"\d+\.\d+", readout_zh)) == set(re.findall(r"\d+\.\d+", readout))
        assert all(map(HAN.search, labels_zh)) and not any(map(HAN.search, labels))


def test_a_prediction_is_asked_for_in_chinese(visit):
    stage = visit(f"zh/{PAGE}").locator(".stage").first
    stage.locator(".stage-guess").click()
    assert HAN.search(stage.locator(".stage-readout").inner_text()) and "?" not in stage.locator(".stage-readout").inner_text()
    stage.locator(".stage-guess").click()
    assert HAN.search(stage.locator(".stage-readout").inner_text().splitlines()[-1])


@pytest.mark.parametrize("page_name", [PAGE, "chapters/glossary", "chapters/intro"])
def test_pages_are_accessible(visit, page_name):
    page = visit(f"zh/{page_name}")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    found = Axe().run(page, context={"include": [["article"], ["a.edition"]], "exclude": [["mjx-container"], ["pre"]]},
                      options={"preload": False, "resultTypes": ["violations"]})
    assert not [v["id"] for v in found.response["violations"] if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("reader", [DESK, "file"], ids=["from a server", "from a file"])
def test_the_switch_stays_on_the_section(browser, server, reader):
    base = server[0] if reader is DESK else f"{HTML.as_uri()}/"
    context = browser.new_context(**DESK)
    page = context.new_page()
    page.goto(f"{base}{PAGE}.html", wait_until="domcontentloaded")
    section = page.locator("article section section:has(> h2)").nth(2)
    for folder, lang in (("zh/", "zh-CN"), ("", "en")):
        page.evaluate("window.MathJax.startup.promise.then(() => true)")
        section.evaluate("section => section.scrollIntoView({behavior: 'instant'})")
        link = page.locator("a.edition")
        assert link.get_attribute("lang") == link.get_attribute("hreflang") != page.locator("html").get_attribute("lang")
        link.evaluate("link => link.click()")  # the theme's bar of buttons hides while one reads on
        page.wait_for_url(f"{base}{folder}{PAGE}.html#{section.get_attribute('id')}", wait_until="domcontentloaded")
        assert page.locator("html").get_attribute("lang") == lang
        assert page.locator(f"[id='{section.get_attribute('id')}']").count() == 1
    context.close()


def test_the_search_finds_chinese_terms(browser, server):
    page = browser.new_page()
    for term, name in TERMS.items():
        page.goto(f"{server[0]}zh/search.html?q={term}")
        page.wait_for_function("document.querySelector('#search-results .search-summary')?.textContent.match(/\\d/)")
        page.locator("#search-results li a").first.wait_for()
        found = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.pathname)")
        assert any(path.endswith(f"zh/chapters/{name}.html") for path in found), (term, found)
    page.close()


def test_an_exercise_answers_in_chinese(tab):
    python_in_pages()
    page = tab("zh/chapters/01_background")
    form = page.locator(".answer-form").nth(1)
    field, verdict = form.locator("input"), form.locator(".answer-verdict")
    for answer, sign in (("8", "✗"), ("12", "✓")):
        field.fill(answer)
        form.locator("button").click()
        page.wait_for_function("([verdict, sign]) => verdict.textContent.startsWith(sign)",
                               arg=[verdict.element_handle(), sign], timeout=60000)
        assert HAN.search(verdict.inner_text())
