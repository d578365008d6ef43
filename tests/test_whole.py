"""The course as one work: every sentence of the article it grew from has its place; search, index, order, reading times."""

import re
from collections import Counter
from html import unescape

import pytest
from pages import reading_minutes, terms

from conftest import HTML, PAGES, ROOT, missing, number_of
from live_figures import FIGURES
from metacalc.course.figures.intro import CHAPTERS, ROUTES

# Section of the article, page, anchor, and words that must stand in the section of that anchor.
ARTICLE = [
    ("title", "chapters/intro", "the-calculus-of-learning-to-learn", "learning to learn"),
    ("1.1 meta-learning", "chapters/01_background", "bg-learning", "learn(ing)? how to learn|learning to learn"),
    ("1.2 the role of calculus: rates of change", "chapters/01_background", "bg-rates", "rates? of change"),
    ("1.2 the role of calculus: accumulation", "chapters/01_background", "bg-accumulation", "accumulation"),
    ("2.1 shared structure", "chapters/02_calculus_link", "cl-shared", "share"),
    ("2.2 calculus and meta-learning", "chapters/02_calculus_link", "cl-link", "differentiat"),
    ("3.1 gradient descent", "chapters/03_gradient_descent", "{h1}", "gradient descent"),
    ("3.2 two levels of learning", "chapters/04_meta_learning", "{h1}", "base learner"),
    ("4.1 the update rule", "chapters/03_gradient_descent", "{h1}", "learning rate"),
    ("4.2 the objective", "chapters/04_meta_learning", "ml-objective", "meta-learner"),
    ("the program", "chapters/05_practice", "seed-program", "Optimal theta"),
    ("5 language", "chapters/06_applications/language", "application-language", "language"),
    ("5 vision", "chapters/06_applications/vision", "application-vision", "character"),
    ("5 recommendation", "chapters/06_applications/recommendation", "application-recommendation", "rating"),
    ("6 Deep Learning", "chapters/07_tools", "deep-learning-book", "Goodfellow"),
    ("6 the specialization", "chapters/07_tools", "deep-learning-specialization", "Coursera"),
    ("6 TensorFlow", "chapters/07_tools", "tensorflow-and-pytorch", "TensorFlow"),
    ("6 PyTorch", "chapters/07_tools", "tensorflow-and-pytorch", "PyTorch"),
    ("7 trends", "chapters/08_outlook", "trends", "challenge"),
    ("7 more efficient algorithms", "chapters/08_outlook", "challenge-efficiency", "memory"),
    ("7 theory", "chapters/08_outlook", "challenge-theory", "convex"),
    ("7 more applications", "chapters/08_outlook", "challenge-applications", "in-context"),
    ("8 the role of calculus", "chapters/09_faq", "faq-role-of-calculus", "calculus"),
    ("8 how gradient descent works", "chapters/09_faq", "faq-gradient-descent", "gradient"),
]


def article(page):
    if not (HTML / f"{page}.html").exists():
        missing("the book is not built: run `make book`")
    text = (HTML / f"{page}.html").read_text(encoding="utf-8")
    return text[text.index("<article"):text.index("</article>")]


@pytest.mark.parametrize("section, page, anchor, words", ARTICLE, ids=[row[0] for row in ARTICLE])
def test_every_part_of_the_article_has_its_place(section, page, anchor, words):
    text = article(page)
    if anchor == "{h1}":
        place = text
    else:
        start = text.index(f'id="{anchor}"')
        place = text[start:]
    assert re.search(words, re.sub(r"<[^>]+>", "", place), re.IGNORECASE), section


def test_previous_and_next_follow_the_table_of_contents():
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    order = [page for page in PAGES if page != "genindex"]
    for before, after in zip(order, order[1:]):
        text = (HTML / f"{before}.html").read_text(encoding="utf-8")
        (link,) = re.findall(r'<a class="right-next"\s+href="([^"]+)"', text)
        assert (HTML / f"{before}.html").parent.joinpath(link).resolve() == (HTML / f"{after}.html").resolve()
        text = (HTML / f"{after}.html").read_text(encoding="utf-8")
        (link,) = re.findall(r'<a class="left-prev"\s+href="([^"]+)"', text)
        assert (HTML / f"{after}.html").parent.joinpath(link).resolve() == (HTML / f"{before}.html").resolve()


def test_the_index_names_the_chapters_where_a_term_is_used():
    text = (HTML / "genindex.html").read_text(encoding="utf-8")
    entries = dict(re.findall(r'<li><a href="chapters/glossary\.html#term-[^"]*"><strong>([^<]+)</strong></a>(.*?)(?=<li><a '
                              r'href="chapters/glossary|</td>)',
                              text, re.DOTALL))
    assert {unescape(name).lower() for name in entries} == set(terms())
    assert not [name for name, places in entries.items() if "href" not in places]
    for term, page, name in (("gradient descent", "03_gradient_descent", "3 Gradient descent"),
                             ("Hessian", "02_calculus_link", "2 Core concepts"),
                             ("support set", "04_meta_learning", "4 The mathematics of meta-learning"),
                             ("momentum", "03_update_rules", "Update rules"),
                             ("prototype", "06_applications/vision", "Vision<")):
        assert re.search(rf'href="chapters/{page}\.html#[^"]+">{name}', entries[term]), (term, entries[term])


def test_the_glossary_is_in_order_and_says_each_term_once():
    block = (ROOT / "chapters/glossary.md").read_text(encoding="utf-8").split(":::{glossary}\n")[1].split("\n:::")[0]
    entries = [entry.splitlines() for entry in block.split("\n\n")]
    names = [entry[0].lower() for entry in entries]
    assert names == sorted(set(names))
    assert all(re.match(r"  \{zh}`[^`]+`: \S.*\.$", lines[-1]) and not any(line.startswith(" ") for line in lines[:-1])
               for lines in entries)


def test_chapters_say_how_long_they_take():
    for page in PAGES:
        if (ROOT / f"{page}.ipynb").exists():
            said = re.search(r'class="reading-time">About (\d+) minutes? to read', article(page))
            assert said and 1 <= int(said.group(1)) <= 90, page
    for page, figures in FIGURES.items():
        assert f" · {number_of(len(figures), 'live figure')}" in article(page), page
    assert re.search(r"· \d+ exercises</p>", article("chapters/03_gradient_descent"))
    assert reading_minutes(400, 0, 0, 0) == 2 and reading_minutes(0, 4, 4, 0) == 2 and reading_minutes(0, 0, 0, 3) == 6


def test_live_figures_are_numbered_chapter_by_chapter():
    so_far = Counter()
    for page in (page for page in PAGES if page in FIGURES):
        shown = re.findall(r"<strong>Live figure ?([\d.]*)\.</strong>", article(page))
        if number := re.match(r"chapters/0?(\d+)_", page):
            chapter, first = number.group(1), so_far[number.group(1)] + 1
            so_far[chapter] += len(FIGURES[page])
            assert shown == [f"{chapter}.{i}" for i in range(first, so_far[chapter] + 1)], page
        else:
            assert shown == [""], page
    linked = r'href="04_meta_learning\.html#ml-arrows">(<[^>]*>)*live figure(<[^>]*>)* 4\.1</'
    assert re.search(linked, article("chapters/04_implicit"))


def test_pictures_are_shown():
    """And not what Python says of them: a notebook learns from pyplot's backend how to show a figure."""
    assert not [page for page in PAGES if re.search(r"Figure size \d+x\d+", article(page))]


def test_the_routes_stop_where_they_say():
    numbered = {}
    for page in PAGES:
        if number := re.match(r"chapters/(\d\d)_", page):
            numbered.setdefault(int(number.group(1)), []).append(article(page))
    titles = [re.search(r"<h1>(.*?)<a", pages[0], re.DOTALL).group(1) for pages in numbered.values()]
    titles = [unescape(re.sub(r'<span class="section-number">.*?</span>', "", title)) for title in titles]
    assert titles == list(CHAPTERS)
    live = [number for number, pages in numbered.items() if any("Live figure" in page for page in pages)]
    assert list(ROUTES["an evening of figures"][0]) == live and list(ROUTES["the whole course"][0]) == list(numbered)


@pytest.mark.parametrize("from_file", [False, True], ids=["server", "file"])
def test_search_works_offline_and_leads_to_the_page(browser, server, from_file):
    base = HTML.as_uri() + "/" if from_file else server[0]
    page = browser.new_page()
    left = []
    page.on("request", lambda request: None if request.url.startswith((base, "data:", "blob:")) else left.append(request.url))
    page.goto(f"{base}search.html?q=hessian")
    page.wait_for_selector("#search-results ul.search li a[href*='04_meta_learning']")
    found = page.locator("#search-results ul.search li a").evaluate_all("links => links.map(a => a.href)")
    assert any("04_meta_learning" in link for link in found) and not left
    # A key, not a click: the line that says how many were found moves the links when it comes, under a pressed button too.
    page.locator("#search-results ul.search li a[href*='04_meta_learning']").first.press("Enter")
    page.wait_for_selector("article h1")
    assert "meta-learning" in page.locator("article h1").inner_text()
    page.close()
