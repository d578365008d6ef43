"""The whole book as a PDF, printed by Chromium from the built pages: `python book/pdf.py`.

The pages' articles become one document, so that links lead from chapter to chapter and headings become bookmarks. Paper folds
nothing: hints, solutions and the answers of self-checks stand at the end, and what only verifies is left to the notebooks.
The document is printed twice, for only the first print tells on which page everything stands.
"""

import datetime
import json
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

import browser
from bs4 import BeautifulSoup
from downloads import ABOUT, BOOK, PDF, offer_pdf
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, TextStringObject

from metacalc.spec import written

HERE = Path(__file__).parent
HTML = HERE.parent / "_build/html"
ROOT_PAGE = "chapters/intro.html"
SOLUTIONS, ENDING = "hints-and-solutions", "Hints, solutions and answers"
INDEX = "genindex"
# What a page has for its screen alone, or for its reader's answers.
LEFT_OUT = ("script:not(.stage-data)", "a.headerlink", ".reading-time", ".answer-cell", ".take-along", ".genindex-jumpbox",
            "details.hide", ".needs-kernel", "style")
PICTURE = re.compile(r"<svg.*?</svg>", re.DOTALL)
NAMES_IDS = ("for", "headers", "aria-labelledby", "aria-describedby")


class Page(NamedTuple):
    """A page of the book: how deep it stands in the table of contents, its file, its title there."""

    level: int
    file: str
    title: str

    @property
    def name(self):
        """What its anchors begin with."""
        return "-".join(part for part in PurePosixPath(self.file).with_suffix("").parts if part != "chapters")


def pages_of(html):
    """The book's pages in reading order, from the contents beside the first one."""
    soup = BeautifulSoup((html / ROOT_PAGE).read_text(encoding="utf-8"), "html.parser")
    listed = [Page(1, ROOT_PAGE, soup.h1.find(string=True))]
    for link in soup.select("nav.bd-links li > a"):
        level = len(link.find_parents("li"))
        listed.append(Page(level, urljoin(ROOT_PAGE, link["href"]), link.get_text().strip()))
    return listed


class Article:
    """A page's article, made ready for paper.

    Parameters
    ----------
    html : Path
        The folder of the built book.
    page : Page
    names : dict of str to str
        The name of every page by its file: a link to one of these becomes a link within the document.
    base : str
        Where the folder is, seen from the document.
    """

    def __init__(self, html, page, names, base):
        self.page, self.names, self.base = page, names, base
        text = (html / page.file).read_text(encoding="utf-8")
        text = text[text.index("<article"):text.index("</article>") + len("</article>")]
        self.pictures = {}
        self.soup = made(PICTURE.sub(self.keep, text))
        self.article = self.soup.article
        self.place_sliders()
        self.take_out_answers()
        for rest in self.soup.select(", ".join(LEFT_OUT)):
            rest.decompose()
        for fold in self.soup.select("details"):
            fold["open"] = ""
        self.rename()
        self.nest()

    def keep(self, match):
        """A picture as it is, but for its anchors, and what stands in its place meanwhile: half of a page is drawings."""
        name = f"{self.page.name}-{len(self.pictures)}"
        anchors = lambda found: f"{found[1]}{self.anchor(found[2])}"
        self.pictures[name] = re.sub(r'(\bid="|href="#|url\(#)([^")]+)', anchors, match[0])
        return f'<i data-picture="{name}"></i>'

    def place_sliders(self):
        """A figure that begins at the start of its course is drawn at the end; under it stands where the sliders are."""
        for script in self.soup.select("script.stage-data"):
            data = json.loads(script.string)
            sliders = data["spec"]["sliders"]
            player = sliders[data["spec"]["play"]]
            if data[player["name"]] == player["values"][0]:
                data[player["name"]] = player["values"][-1]
            script.string = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
            note = self.soup.new_tag("p", attrs={"class": "stage-positions"})
            note.string = f"Drawn at {'; '.join(position(slider, data[slider['name']]) for slider in sliders)}."
            script.insert_after(note)

    def take_out_answers(self):
        """Hints, solutions and what is said of the choices of a self-check, for the end of the book."""
        self.answers = self.soup.new_tag("div")
        self.article.append(self.answers)  # until the links in it are mended
        for check in self.soup.select(".self-check"):
            self.answer(check, "Answers", [self.said_of_choices(check)])
        for solution in self.soup.select(".solution.admonition"):
            exercise, hint = self.soup.find(id=solution.a["href"].lstrip("#")), solution.find_previous_sibling()
            parts = [solution.find("section").extract()]
            if hint.name == "details" and hint.summary.get_text().strip() == "Hint":
                body = hint.select_one(".sd-card-body").extract()
                body.p.insert(0, made("<strong>Hint.</strong> "))
                parts.insert(0, body)
                hint.decompose()
            self.answer(exercise, "Hint and solution", parts)
            solution.decompose()

    def answer(self, question, words, parts):
        """What answers a question, with links there and back."""
        title, name = question.select_one(".admonition-title").get_text().strip(), question["id"]
        question.append(made(f'<p class="pointer">{words}: page <a class="page-number" href="#answer-{name}"></a></p>'))
        answer = self.soup.new_tag("div", id=f"answer-{name}", attrs={"class": "answer"})
        answer.append(made(f'<p class="answer-title"><strong>{escape(title)}</strong>, page '
                           f'<a class="page-number" href="#{name}"></a></p>'))
        answer.extend(parts)
        self.answers.append(answer)

    def said_of_choices(self, check):
        """The choices stay with their question; what is said of each is returned."""
        choices, said = (self.soup.new_tag(name) for name in ("ul", "dl"))
        choices["class"] = "printed-choices"
        for choice in check.select("details.choice"):
            item, term, meaning = (self.soup.new_tag(name) for name in ("li", "dt", "dd"))
            words = choice.select_one(".sd-summary-text")
            term.string = words.get_text()[:3]
            item.extend(list(words.contents))
            meaning.extend(list(choice.select_one(".sd-card-body").contents))
            choices.append(item)
            said.extend([term, meaning])
            choice.decompose()
        check.append(choices)
        return said

    def rename(self):
        """Anchors of this page begin with its name, and links lead to them. An id that the page gives twice stays once."""
        self.article["id"] = self.page.name
        seen = set()
        for node in self.soup.find_all(True):
            for key, value in list(node.attrs.items()):
                if key == "id" and node is not self.article:
                    node["id"] = self.anchor(value)
                    if node["id"] in seen:
                        del node["id"]
                    seen.add(self.anchor(value))
                elif key in NAMES_IDS:
                    node[key] = " ".join(map(self.anchor, [value] if isinstance(value, str) else value))
            if node.name == "img":
                node["src"] = self.base + urljoin(self.page.file, node["src"])
            if node.name == "a" and node.get("href"):
                self.lead(node)

    def anchor(self, name):
        return f"{self.page.name}.{re.sub(r'[^A-Za-z0-9_-]', '-', unquote(name))}" if name else self.page.name

    def lead(self, link):
        file, place = urldefrag(urljoin(self.page.file, link["href"]))
        if file in self.names:
            place = re.sub(r"[^A-Za-z0-9_-]", "-", unquote(place))
            link["href"] = "#" + ".".join(filter(None, (self.names[file], place)))
        elif not re.match(r"[a-z]+:", file):
            link.unwrap()  # to a file beside the pages

    def nest(self):
        """A page that stands below a chapter has its headings one level lower, and its title looks as a chapter's."""
        self.article.name = "section"
        self.article["class"] = ["printed-page", f"level-{self.page.level}"]
        self.article["style"] = f"page: {css_name(self.page)}"
        for heading in self.soup.find_all(re.compile("^h[1-6]$")):
            section = heading.parent
            if section.name == "section" and section is not self.article and section.get("id") and not heading.get("id"):
                heading["id"] = section["id"]  # where its words stand: the section may begin at the foot of the page before
                del section["id"]
            heading["class"] = [f"as-{heading.name}"]
            heading.name = f"h{min(6, int(heading.name[1]) + self.page.level - 1)}"


def position(slider, value):
    """A slider's label and where it stands, as the figure writes it."""
    place = slider["names"][slider["values"].index(value)] if slider["names"] else written(value, slider["format"])
    return f"{slider['label']} = {place} {slider['unit']}".rstrip()


def css_name(page):
    return re.sub(r"\W", "-", f"page-{page.name}")


def made(text):
    """The elements of a piece of HTML."""
    return BeautifulSoup(text, "html.parser")


def cover():
    """Title, version, licence, and what paper has not."""
    day, name, more = datetime.date.today(), *BOOK.split(": ")
    licence = '<a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>'
    return made(f'''<section class="cover"><p class="cover-title">{name}<br><span>{more}</span></p>
        <p>Version {ABOUT["Version"]}, printed on {day.day} {day:%B %Y}</p>
        <p>By the metacalc authors. Text: {licence}. Code: MIT.</p>
        <p class="cover-note">This is the book on paper. On its pages figures have sliders, of which the captions speak. Here
        each is drawn once, where it begins or where its course ends, and under it stands where its sliders are. Hints,
        solutions and the answers to <em>Check yourself</em> are at the end. Cells that are folded on the pages are in the
        notebooks alone.</p>
        </section>''')


def contents(sections):
    """The table of contents, chapters and their sections, each with its page."""
    lines = []
    for section in sections:
        for heading in section.select(".as-h1" if section["id"] == INDEX else ".as-h1, .as-h2"):
            depth = section["class"][1] if heading["class"] == ["as-h1"] else "section"
            place = heading["id"] if depth == "section" else section["id"]
            lines.append(f'<li class="{depth}"><a href="#{place}"><span>{heading.decode_contents()}</span>'
                         f'<span class="page-number"></span></a></li>')
    return made(f'<nav class="printed-contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></nav>')


def solutions(articles):
    """The end of the book: every chapter's hints, solutions and answers."""
    soup = made(f'<section class="printed-page level-1" id="{SOLUTIONS}" style="page: {SOLUTIONS}">'
                f'<h1 class="as-h1" id="{SOLUTIONS}-title">{ENDING}</h1></section>')
    asked = [article for article in articles if article.answers.contents]
    for article in asked:
        soup.section.append(made(f'<h2 class="as-h2" id="{SOLUTIONS}-{article.page.name}">{escape(article.page.title)}</h2>'))
        soup.section.append(article.answers)
    return [soup.section] if asked else []


def number_index(index):
    """On paper the index leads to pages: one line an entry."""
    for entry in index.select("table li"):
        if entry.find_parent("li"):
            continue
        links = entry.select("a")
        term = links[0].get_text() if links and links[0].strong else entry.find(string=True).strip()
        numbers = ", ".join(f'<a class="page-number" href="{link["href"]}"></a>' for link in links)
        entry.clear()
        entry.append(made(f"{term} <span class=\"page-numbers\">{numbers}</span>"))


def head(html, pages, base):
    """The style sheets of all pages, in their order, and then that of paper."""
    sheets = {}
    for page in pages:
        for tag in re.findall(r"<link[^>]+stylesheet[^>]*>", (html / page.file).read_text(encoding="utf-8")):
            address = re.search(r'href="([^"]+)"', tag)[1]
            sheets[urljoin(page.file, address)] = None
    return "".join(f'<link rel="stylesheet" href="{base}{sheet}">' for sheet in sheets)


def running(pages):
    """Over the pages of a chapter its title, as a named page has it."""
    titles = {css_name(page): page.title for page in pages} | {SOLUTIONS: ENDING}
    return "".join(f"@page {name} {{ @top-left {{ content: {json.dumps(title, ensure_ascii=False)}; }} }}\n"
                   for name, title in titles.items())


def scripts(html, base):
    """What typesets the formulas, with the pages' own settings, and what draws the figures."""
    text = (html / ROOT_PAGE).read_text(encoding="utf-8")
    settings = re.search(r"<script>window\.MathJax = .*?</script>", text)[0]
    found = re.findall(r'<script[^>]* src="([^"]+(?:mathjax|stage-host)[^"]+)"', text)
    return settings + "".join(f'<script src="{base}{urljoin(ROOT_PAGE, source)}" defer></script>' for source in found)


def document(html, pages, base):
    """The document to print.

    Parameters
    ----------
    html : Path
        The folder of the built book.
    pages : list of Page
    base : str
        Where that folder is, seen from the document, with a slash at its end.

    Returns
    -------
    str
    """
    names = {page.file: page.name for page in pages}
    articles = [Article(html, page, names, base) for page in pages]
    end = solutions(articles)
    last = [article.article for article in articles if article.page.name == INDEX]
    for index in last:
        number_index(index)
    sections = [article.article for article in articles if article.article not in last] + end + last
    parts = [str(part) for part in (cover(), contents(sections), *sections)]
    pictures = {name: picture for article in articles for name, picture in article.pictures.items()}
    text = re.sub('<i data-picture="([^"]+)"></i>', lambda match: pictures[match[1]], "".join(parts))
    style = (HERE / "pdf.css").read_text(encoding="utf-8") + running(pages)
    return (f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{BOOK}</title>'
            f'{head(html, pages, base)}<style>{style}</style></head><body><main class="bd-main"><div class="bd-content">'
            f'<div class="bd-article-container"><article class="bd-article">{text}</article></div></div></main>'
            f"{scripts(html, base)}</body></html>")


DRAWN = """() => window.MathJax?.startup?.promise
  && [...document.querySelectorAll("script.stage-data")].every((script) => script.previousElementSibling.dataset.live)"""
NUMBER = """numbers => document.querySelectorAll(".page-number").forEach((place) => {
  const target = (place.getAttribute("href") ?? place.parentElement.getAttribute("href")).slice(1);
  place.textContent = numbers[target] ?? "000";
})"""
JOIN = """() => document.querySelectorAll(".page-numbers").forEach((line) => {  // an entry names a page once, in their order
  const links = [...new Map([...line.children].map((link) => [+link.textContent, link])).entries()]
    .sort(([one], [other]) => one - other).map(([, link]) => link);
  line.replaceChildren(...links.flatMap((link, i) => (i ? [", ", link] : [link])));
})"""

HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((heading) => {
  const copy = heading.cloneNode(true);
  copy.querySelectorAll("mjx-container").forEach((formula) => formula.replaceWith(formula.querySelector("math").textContent));
  return copy.textContent.replace(/\\s+/g, " ").trim();
})"""


def numbers_of(file):
    """On which page of a PDF each of its named places is, counted from 1."""
    reader = PdfReader(file)
    pages = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages, start=1)}
    return {name.lstrip("/"): pages[place.page.idnum] for name, place in reader.named_destinations.items()}


def bookmarks(first):
    """A bookmark, those below it, and the next with theirs: in the order of the headings."""
    while first is not None:
        first = first.get_object()
        yield first
        yield from bookmarks(first.get("/First"))
        first = first.get("/Next")


def name_bookmarks(file, titles):
    """Give bookmarks their headings' words: Chromium leaves out formulas, and the space where a line of a heading ends."""
    writer = PdfWriter(file, incremental=True)
    for bookmark, title in zip(bookmarks(writer.root_object["/Outlines"]["/First"]), titles, strict=True):
        if bookmark["/Title"] != title:
            bookmark[NameObject("/Title")] = TextStringObject(title)
    writer.write(file)


def print_pdf(chromium, source, output):
    """Print a document as often as its page numbers need, in general twice.

    Parameters
    ----------
    chromium : playwright.sync_api.Browser
    source : Path
        HTML.
    output : Path

    Raises
    ------
    RuntimeError
        If the numbers do not settle.
    """
    page = chromium.new_page()
    page.set_default_timeout(0)  # the whole book takes minutes to typeset
    page.goto(source.resolve().as_uri())
    page.wait_for_function(DRAWN)
    page.evaluate("() => MathJax.startup.promise.then(() => document.fonts.ready).then(() => null)")
    numbers = None
    for _ in range(4):
        page.evaluate(NUMBER, numbers or {})
        if numbers:
            page.evaluate(JOIN)
        page.pdf(path=output, prefer_css_page_size=True, print_background=True, tagged=True, outline=True)
        before, numbers = numbers, numbers_of(output)
        if numbers == before:
            name_bookmarks(output, page.evaluate(HEADINGS))
            page.close()
            return
    raise RuntimeError("the page numbers do not settle")


def lacks_chinese():
    """Whether no font of this machine has Chinese characters, as far as fontconfig is there to say so."""
    program = shutil.which("fc-list")
    return program is not None and not subprocess.run([program, ":lang=zh"], capture_output=True).stdout


def main():
    if browser.program() is None:
        sys.exit(f"Printing needs one of {', '.join(browser.PROGRAMS)}.")
    if lacks_chinese():
        print("No font here has Chinese characters: they will be boxes. (On Debian: apt install fonts-wqy-microhei)")
    source = HTML.parent / "pdf/book.html"
    source.parent.mkdir(exist_ok=True)
    source.write_text(document(HTML, pages_of(HTML), "../html/"), encoding="utf-8")
    partial = source.with_name("book.pdf")
    with sync_playwright() as playwright:
        print_pdf(playwright.chromium.launch(executable_path=browser.program(), args=browser.FLAGS), source, partial)
    partial.replace(HTML / PDF)  # whole or not at all
    offer_pdf(HTML, ROOT_PAGE.removesuffix(".html"))


if __name__ == "__main__":
    main()
