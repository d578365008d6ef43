"""The book on paper: one document of all pages, and what Chromium prints of it."""

import re
from collections import Counter

import pytest

from conftest import HTML, missing, optional
from metacalc.course.answers import EXERCISES

pdf = optional("pdf")  # book/pdf.py, and with it what the extra of that name installs
pdfplumber, PdfReader = optional("pdfplumber"), optional("pypdf").PdfReader
MILLIMETRE = 72 / 25.4
SIDES, TOP = 20 * MILLIMETRE, 6 * MILLIMETRE  # in which nothing stands; over and under a page its title and number

STRETCHED = "⎢⎥⎪⎜⎟∣∥\ue154"  # the middles of long brackets and braces: MathJax clips what is too long of them, on paper too


@pytest.fixture(scope="module")
def pages():
    if not HTML.exists():
        missing("the book is not built: run `make book`")
    return pdf.pages_of(HTML)


@pytest.fixture(scope="module")
def whole(pages):
    return pdf.made(pdf.document(HTML, pages, "../html/"))


def test_every_link_within_the_book_arrives_and_no_anchor_stands_twice(whole):
    ids = Counter(node["id"] for node in whole.select("[id]"))
    assert not [name for name, number in ids.items() if number > 1]
    links = [link["href"] for link in whole.select("a[href]")]
    assert not [link for link in links if not link.startswith(("#", "https:", "http:", "mailto:"))]
    assert not {link[1:] for link in links if link[0] == "#"} - ids.keys()
    assert sum(link[0] == "#" for link in links) > 1000


def test_the_end_has_all_answers_and_the_chapters_none(whole, pages):
    named = {node["id"]: node for node in whole.select("[id]")}
    asked, end = whole.select(".exercise.admonition"), named[pdf.SOLUTIONS]
    assert len(asked) == len(EXERCISES) and not whole.select(".solution.admonition, details.choice, details:not([open])")
    for exercise in asked:
        answer = named[exercise.select_one(".pointer a")["href"][1:]]
        assert answer.find_parent(id=pdf.SOLUTIONS) is end and answer.section.get_text().strip()
        assert answer.find("strong", string="Hint.") and answer.select_one(f'.answer-title a[href="#{exercise["id"]}"]')
    checks = whole.select(".self-check")
    assert checks and len(end.select(".answer")) == len(asked) + len(checks)
    for check in checks:
        said = named[check.select_one(".pointer a")["href"][1:]].select("dd")
        assert len(said) == len(check.select(".printed-choices > li")) >= 2
        assert sum(one.get_text().strip().startswith("Yes") for one in said) == 1


def test_a_figure_is_drawn_at_the_end_of_its_course(whole):
    slider = {"label": "steps k", "names": [], "values": [0, 1, 2], "value": 0, "format": "d", "unit": "of 2"}
    assert pdf.position(slider, 2) == "steps k = 2 of 2"
    assert pdf.position({**slider, "names": ["a", "b", "c"], "unit": ""}, 1) == "steps k = b"
    stages = whole.select(".stage")
    assert stages and len(whole.select(".stage-positions")) == len(stages) == len(whole.select("script.stage-data"))
    first = whole.select_one(".stage-positions").get_text()
    assert first.startswith("Drawn at outer iterations = 40; inner rate α = 0.20")


def test_an_index_entry_names_pages(whole):
    entries = whole.find(id="genindex").select("li")
    assert len(entries) > 50 and all(entry.select(".page-number") for entry in entries)


def printed(browser, folder, pages):
    source, output = folder / "book.html", folder / "book.pdf"
    source.write_text(pdf.document(HTML, pages, f"{HTML.as_uri()}/"), encoding="utf-8")
    pdf.print_pdf(browser, source, output)
    return output


def fonts(reader):
    """The fonts of all pages, each by its dictionary."""
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            yield font.get_object()


def embedded(font):
    if font["/Subtype"] == "/Type3":
        return True
    inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
    return any(key in inner["/FontDescriptor"] for key in ("/FontFile", "/FontFile2", "/FontFile3"))


def bookmarks(reader, outline):
    """Titles of the bookmarks and the pages that they lead to, in their order."""
    for entry in outline:
        yield from (bookmarks(reader, entry) if isinstance(entry, list)
                    else [(entry.title, reader.get_destination_page_number(entry) + 1)])


def spoken(heading):
    """A heading's words, with its few formulas as they are read."""
    return re.sub(r"\s+", " ", heading.get_text()).strip().replace(r"\(\alpha\)", "α").replace(r"\(", "").replace(r"\)", "")


def look(output, pages):
    """What holds of every book, of one chapter or of all."""
    reader = PdfReader(output)
    root, numbers = reader.trailer["/Root"], pdf.numbers_of(output)
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en" and "/StructTreeRoot" in root
    assert reader.metadata.title == pdf.BOOK and all(map(embedded, fonts(reader)))
    marks, document = list(bookmarks(reader, reader.outline)), pdf.made(output.with_suffix(".html").read_text(encoding="utf-8"))
    assert [title for title, _ in marks] == [spoken(heading) for heading in document.find_all(re.compile("^h[1-6]$"))]
    assert {page.title for page in pages} | {pdf.ENDING, "Contents"} <= {title for title, _ in marks}
    led = [link.get_object() for page in reader.pages for link in page.get("/Annots", [])]
    inner = [link["/Dest"].lstrip("/") for link in led if "/Dest" in link]
    assert len(inner) > 20 and set(inner) <= numbers.keys()
    outer = [link["/A"]["/URI"] for link in led if "/A" in link and "/URI" in link["/A"]]
    assert all(address.startswith("http") and "127.0.0.1" not in address for address in outer)
    texts = []
    with pdfplumber.open(output) as book:
        for number, page in enumerate(book.pages, start=1):
            chars = [char for char in page.chars if char["text"].strip() and char["text"] not in STRETCHED]
            for char in chars:
                assert char["x0"] > SIDES - 1 and char["x1"] < page.width - SIDES + 1, (number, char["text"], char["x1"])
                assert char["top"] > TOP and char["bottom"] < page.height - TOP, (number, char["text"])
            texts.append(page.extract_text())
            assert number == 1 or texts[-1].splitlines()[-1] == str(number)
            page.close()
    assert "CC BY 4.0" in texts[0] and "Version" in texts[0] and texts[1].startswith("Contents")
    assert not re.search(r"\bpage 000\b|(solution|Answers): page\s*\n|▶ Play\n|^Check it$", "\n".join(texts), re.MULTILINE)
    for text in texts:  # a figure's picture, its positions and its caption's beginning are not parted
        assert text.count("Drawn at") == len(re.findall(r"Live figure( [\d.]+)?\. ", text)), text
    listed = re.findall(r"^(.+?) (\d+)$", "\n".join(texts[1:numbers[pages[0].name] - 1]), re.MULTILINE)
    for page in pages:
        assert (page.title, str(numbers[page.name])) in listed
    named = {title for title, _ in marks}
    assert not {(title, int(number)) for title, number in listed if title in named} - {*marks}, "contents and bookmarks differ"
    return texts


def test_a_chapter_on_paper(browser, tmp_path, pages):
    chapter = [page for page in pages if page.name == "03_gradient_descent"]
    texts = look(printed(browser, tmp_path, chapter), chapter)
    assert 15 <= len(texts) <= 40 and "Exercise 3.1 (The slope of a step)" in " ".join(texts)


@pytest.mark.slow
def test_the_whole_book_on_paper(browser, tmp_path, pages):
    texts = look(printed(browser, tmp_path, pages), pages)
    assert 250 <= len(texts) <= 650
