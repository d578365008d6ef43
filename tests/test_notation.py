"""One notation for all pages: every letter of their formulas has one row in the glossary, and old meanings do not come back."""

import json
import re
from collections import Counter

import pytest

from conftest import PAGES, ROOT

GLOSSARY = (ROOT / "chapters/glossary.md").read_text(encoding="utf-8")
SOURCES = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists() or page == "chapters/making"]
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+?)\$", re.DOTALL)
FONTS = ("mathbb", "mathcal")
GREEK = ("alpha beta gamma delta varepsilon epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi varphi chi psi "
         "omega ell Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega").split()
# What a letter must not stand for, and the pages that may use it so.
FORBIDDEN = [
    (r"\\beta", "β is momentum: it belongs to the update rules",
     r"03_gradient_descent|03_update_rules|06_applications/recommendation|09_faq|08_learned"),
    (r"(?<!p)\(T\)|\^T(?![_A-Za-z])|\^\{[^}]*T\}|\bT\s*[/=]|/T\b|\\int_0\^\{?T|= T",
     "T is a task; the time of a flow ends at t_end", None),
    (r"\\rho", "ρ is the Lipschitz constant of a Hessian, which 03 has not", r"04_|08_|06_"),
    (r"\\frac\{?[12]\}?\{?L\}?(?![_(A-Za-z])|\\le L(?![_(A-Za-z])|LI\b|\\eta L(?![_(A-Za-z])|L\\eta|L/\\mu|\\mu/L",
     "L is a loss; smoothness is Λ", None),
    (r"(?<!mathcal )(?<![A-Za-z])N(?![A-Za-z])", "N is a number of classes", r"04_|05_|06_"),
    (r"\bV_[t0]|\bV\s*\\to", "V is the Moreau envelope; a variance is v or Var", None),
    (r"\\bar [AB]|\\bar\{[AB]\}", "means over minibatches are ḡ and q̄", None),
]


def formulas(text):
    """The formulas of a text, without programs."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL).replace(r"\$", "")
    return [block or line for block, line in FORMULA.findall(text)]


def letters(formula):
    """Its letters, Greek ones by name, those of another font with that font."""
    formula = re.sub(r"\\(text|mathrm|operatorname|label|begin|end|tag)\*?\{[^}]*\}", " ", formula)
    found = set()
    for font in FONTS:
        for a, b in re.findall(rf"\\{font}\s*(?:\{{([A-Z])\}}|([A-Z]))", formula):
            found.add(f"{font} {a or b}")
        formula = re.sub(rf"\\{font}\s*(?:\{{[A-Z]\}}|[A-Z])", " ", formula)
    formula = re.sub(r"_\{?(\\min|\\max)\}?", " ", formula)
    commands = set(re.findall(r"\\([A-Za-z]+)", formula))
    return found | (commands & set(GREEK)) | set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))


def rows():
    """The letters of every row of the table; and those that a page, or its sections, has besides."""
    text = GLOSSARY.split("## Notation")[1].split("## Glossary")[0]
    everywhere, besides = [], {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| $"):
            everywhere.append(set().union(*(letters(re.sub(r"[_^](\{[^}]*\}|.)", "", f)) for f in formulas(cells[0]))))
        elif page := re.match(r"\| \[.*?\]\(([\w/]+)\)", line):
            besides[page.group(1)] = set().union(*(letters(f) for f in formulas(cells[1])))
    return everywhere, besides


def text_of(page):
    if (path := ROOT / f"{page}.ipynb").exists():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


def test_no_letter_has_two_rows():
    everywhere, besides = rows()
    count = Counter(letter for row in everywhere for letter in row)
    assert len(everywhere) > 50 and not [letter for letter, times in count.items() if times > 1]
    assert not {letter for own in besides.values() for letter in own} & set(count)


def test_the_meanings_that_are_held_stand_in_the_table():
    text = GLOSSARY.split("## Notation")[1]
    for words in (r"| $\beta$, $\beta_1$, $\beta_2$ | `beta` | momentum", r"| $\Lambda$ | | smoothness",
                  "| $T$, $T_i$ | | a task |", r"| $\rho$ | | Lipschitz constant of the Hessian |", "| $V$ | | Moreau envelope",
                  r"| $\eta$ | `eta` | learning rate"):
        assert words in text


@pytest.mark.parametrize("page", SOURCES)
def test_every_letter_of_a_page_has_a_row(page):
    everywhere, besides = rows()
    chapter = re.match(r"chapters/(\d\d_|06_applications/\w+)?", page).group(1) or "-"
    known = set().union(*everywhere, *(own for name, own in besides.items() if name.startswith(chapter)))
    unknown = {letter: formula for formula in formulas(text_of(page)) for letter in letters(formula) - known}
    assert not unknown


@pytest.mark.parametrize("page", SOURCES)
def test_a_letter_does_not_stand_for_something_else(page):
    found = [f"{why}: {formula.strip()}" for formula in formulas(text_of(page)) for pattern, why, pages in FORBIDDEN
             if not (pages and re.search(pages, page)) and re.search(pattern, formula)]
    assert not found, "\n".join(found)


def test_what_is_forbidden_is_found():
    for formula, why in ((r"\theta(T) - \theta(0)", "T is"), (r"\int_0^T x\,dt", "T is"), ("e^{LT}", "T is"), ("T = 2", "T is"),
                         (r"\frac1L", "L is"), (r"\frac{2}{L}", "L is"), (r"\|H\| \le L", "L is"), ("V_t", "V is"),
                         (r"\beta = 0.1", "β is"), (r"\rho < 1", "ρ is"), (r"\bar A", "means"),
                         ("N = 5", "N is")):
        assert [reason for pattern, reason, _ in FORBIDDEN if re.search(pattern, formula) and reason.startswith(why)], formula
    for formula in ("p(T)", "T_i", r"\mathbb E_{T\sim p(T)}", r"\frac1nL_i(\theta)", r"\frac12L(\theta)", r"\eta\nabla L",
                    r"A^\top", r"\mathcal N(m, \Sigma)"):
        assert not [reason for pattern, reason, _ in FORBIDDEN if re.search(pattern, formula)], formula
    assert letters(r"\mathbb E\,\|\hat c\|^2 = \sigma^2\,\mathrm{tr}\,X_{\text{end}}\lambda_{\max}") == {
        "mathbb E", "c", "sigma", "X", "lambda"}


def test_every_item_of_the_primer_is_linked_from_a_chapter_before_it():
    """And from the first pages that use it, as "What it assumes" and the chapters' own sentences promise."""
    anchors = re.findall(r"^\((pm-\w+)\)=", text_of("chapters/primer"), re.MULTILINE)
    chapters = {page: text_of(page) for page in SOURCES if page != "chapters/primer"}
    assert len(anchors) == 7 and not [a for a in anchors if not any(f"({a})" in text for text in chapters.values())]
    for page, used in {"01_background": "chance interval", "02_calculus_link": "vectors taylor chance interval",
                       "03_gradient_descent": "eigenvalues definite taylor vectors", "03_update_rules": "chance"}.items():
        assert all(f"(pm-{item})" in chapters[f"chapters/{page}"] for item in used.split()), page
