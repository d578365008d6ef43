"""The Chinese edition: whole, in step with the English, the same formulas and numbers, and alive in a browser."""

import json
import re
from collections import Counter

import pytest
import texts
import translation
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from docutils import nodes

from conftest import DESK, HTML, PAGES, missing, python_in_pages
from metacalc import words
from metacalc.course import check
from metacalc.explore import explore

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
                kept[formula(found)] += 1
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
    assert "a、b" in check.verdict("bg-ex-derivative", "a + b").reason


def test_the_readout_of_one_s_own_function_speaks_chinese(chinese):
    for text, start in (("x^2", "2"), ("x^2 + 3y^2", "2, 1"), ("x^4 - x^2", "1"), ("-x^2", "1")):
        state = explore(text, start=start)["stage"]
        said = [state["spec"]["text"], state["spec"]["alt"], *(slider["label"] for slider in state["spec"]["sliders"]),
                *(label for field in state["spec"]["fields"].values() for label in field.get("labels", ()))]
        assert all(HAN.search(words) for words in said), said
        assert not re.search("[A-Za-z]{3}", re.sub("sgd|abs", "", " ".join(said))), said
        assert not re.search(">[^<]*[a-z]{4}[^<]*</text>", "".join(state["pictures"]))


def test_english_is_what_the_code_says():
    assert repr(check.verdict("bg-ex-derivative", 12)) == "✓ Right."
    state = {"spec": {}, "pictures": []}
    assert words.spoken(state) is state


def test_the_index_is_in_the_order_of_sounds():
    in_order = ["Adam", "动量", "熵", "适应", "梯度", "学习率"]
    assert sorted(in_order[::-1], key=translation.sound) == in_order
    index = chinese_page("genindex")
    assert "COLORS（" in index and not re.search(r"module<|COLORS\(\)", index)
    letters = re.findall(r'<h2 id="([^"]*)"', index)
    assert letters == sorted(letters) and len(letters) > 20 and not any(map(HAN.match, letters))


def chinese_page(name):
    if not (HTML / "zh").exists():
        missing("the Chinese pages are not built: run `make book`")
    return (HTML / f"zh/{name}.html").read_text(encoding="utf-8")


def test_the_glossary_is_in_the_order_of_sounds():
    page = chinese_page("chapters/glossary")
    terms = re.findall('(?:<dl[^>]*>|</dd>)\\s*<dt id="term-[^>]*>([^<]+)', page)  # the first of those that share an entry
    assert len(terms) > 50 and terms == sorted(terms, key=translation.sound)


@pytest.mark.parametrize("page_name", [*PAGES, "search", "py-modindex"])
def test_the_theme_says_nothing_in_english(page_name):
    page = chinese_page(page_name)
    asked = [text for text in translation.ASKED if "%" not in text and "$" not in text]
    assert not translation.SAID.search(page)
    assert not re.search("|".join([*asked, "Click to", "Copyright [0-9]", "prf-prf", "列印"]), page)


@pytest.mark.parametrize("page_name", PAGES)
def test_tables_in_theorems_are_translated(page_name):
    article = BeautifulSoup(chinese_page(page_name), "html.parser").article
    for cell in article.select(":is(.proof, .exercise, .solution) table :is(th, td)"):
        for other in cell.select(".math, code"):
            other.decompose()
        assert HAN.search(cell.text) or not re.search(r"\b[a-z]{3}", cell.text), cell.text  # names begin with a capital


@pytest.mark.parametrize("page_name", PAGES)
def test_chinese_words_have_no_spaces_between_them(page_name):
    page = re.sub("<(pre|script|svg).*?</\\1>", "", chinese_page(page_name), flags=re.DOTALL)
    article = re.sub('<p class="admonition-title".*?</p>', "", page[page.index("<article"):page.index("</article>")])
    letter, tags = "[\u3400-\u9fff]", "(?:</?(?:em|strong|a|span|cite)\\b[^>]*>)+"
    assert not re.search("<(p|td)>[^<]*± ", article)
    assert not re.findall(f".{{9}}{letter}(?:{tags} | {tags}|[，。；：]{tags} | (?=[，。；：])){letter}", article)


def test_only_spaces_between_chinese_words_go():
    said = [nodes.Text("学习 "), nodes.emphasis("", "就是"), nodes.Text(" 下降。 沿 "), nodes.math("", "x"), nodes.Text(" 的 "),
            nodes.literal("", "step"), nodes.Text("， 见 MAML "), nodes.strong("", "梯度"), nodes.Text(" "),
            nodes.emphasis("", "一步："), nodes.Text("再 "), nodes.emphasis("", "（“反向”）"), nodes.Text("。")]
    block = nodes.paragraph("", "", *said)
    translation.Spaces._close(None, block)
    assert block.astext() == "学习就是下降。沿 x 的 step，见 MAML 梯度 一步：再（“反向”）。"


@pytest.mark.parametrize("page_name", PAGES)
def test_displayed_formulas_are_those_of_the_english_page(page_name):
    """But for the words in them, which are Chinese."""
    texts_of = [chinese_page(page_name), (HTML / f"{page_name}.html").read_text(encoding="utf-8")]
    chinese, english = (re.findall(r"\\\[(.*?)\\\]", text, re.DOTALL) for text in texts_of)
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
    page.wait_for_function("document.querySelector('#search-results .search-summary').textContent.includes('条结果')")
    page.locator("a.edition").evaluate("link => link.click()")
    page.wait_for_url(lambda url: "/search.html?q=" in url and "/zh/" not in url, wait_until="domcontentloaded")
    page.close()


def test_a_fold_says_what_it_does(visit):
    button = visit(f"zh/{PAGE}").locator(".solution .toggle-button").first
    assert button.get_attribute("aria-label") == "显示或隐藏解答" and button.get_attribute("data-toggle-hint") == "点击显示"


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
