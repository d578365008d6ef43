"""The reference: every public name once, its docstring whole, and links from an algorithm to its derivation and back."""

import importlib
import inspect
import pkgutil
import re
from html import unescape

import pytest
import reference

import metacalc
from conftest import HTML, missing

# Rooms that are the house's own, for other rooms and not for its users.
OWN = {"axes", "checks", "data", "data.download", "extras", "live", "lowrank", "marks", "numeric", "spec", "tasks.base",
       "tasks.few_shot", "tasks.letters", "tasks.ratings", "tasks.synthetic", "words"}
# What is public in these rooms and derived in no chapter.
UNDERIVED = {
    "adamw": "the paper that its entry names is its only source here",
    "finite_difference": "the oracle that knows no formula",
    "Rule": "a pair of functions", "as_rule": "a check", "diverged": "a comparison",
    "Learner": "what training yields", "Method": "a signature", "unwrapped": "a look under a decorator",
    "Hypergradient": "a result", "OuterPath": "a result", "counted": "counts calls",
    "inner_descent": "plain gradient descent", "inner_minimum": "damped Newton steps",
    "clipped_square": "an integral of the bound's example", "normal_mean": "a table of moments",
    "Derivative": "a result", "Recorded": "a number on the tape",
}
DERIVED_ROOMS = ("amortised", "bilevel", "calculus", "descent", "generalisation", "learned", "meta", "prototypes",
                 "representation", "tape", "variants")
# What the docstrings need not do, of all that numpydoc's validation asks for.
TASTE = {
    "ES01": "a summary may say all there is to say",
    "EX01": "an example stands where it says more than the signature; all of them run as doctests",
    "SA01": "names in the text are links already",
    "SS02": "a summary may begin with a symbol of the formulas, θ or φ*",
    "PR08": "so may a description",
    "SS05": "it takes every first word that ends in s for a verb",
}
# A method says the shapes of what it takes and gives in its summary; where it has sections, they are held to the rest.
TASTE_OF_METHODS = {"PR01", "RT01", "YD01"}
ROOMS = {module: page for page, modules in reference.rooms().items() for module in modules}
PUBLIC = {f"{module}.{name}": getattr(importlib.import_module(module), name)
          for module in ROOMS for name in importlib.import_module(module).__all__}


def page(name):
    path = HTML / f"chapters/{name}.html"
    if not path.exists():
        missing("the book is not built: run `make book`")
    return path.read_text(encoding="utf-8")


def test_every_room_of_the_library_is_in_the_reference_or_the_house_s_own():
    modules = {module.name for module in pkgutil.walk_packages(metacalc.__path__, "metacalc.")}
    library = {name for name in modules if not name.startswith("metacalc.course")}
    assert set(ROOMS) | {f"metacalc.{room}" for room in OWN} == library
    assert not set(ROOMS) & {f"metacalc.{room}" for room in OWN}
    assert sum(len(modules) for modules in reference.rooms().values()) == len(ROOMS)


def test_every_public_name_has_one_entry():
    entries = [name for stem in reference.rooms() for name in re.findall(r'<dt class="sig[^>]* id="([\w.]+)"',
                                                                         page(f"reference/{stem}"))]
    assert len(entries) == len(set(entries)) and set(PUBLIC) <= set(entries)
    for name in metacalc.__all__:
        homes = [full for full, thing in PUBLIC.items() if full.endswith(f".{name}") and thing is getattr(metacalc, name)]
        assert len(homes) == 1, (name, homes)


def test_every_algorithm_says_where_it_is_derived():
    names = {name for room in DERIVED_ROOMS for name in importlib.import_module(f"metacalc.{room}").__all__}
    derived = {full.rsplit(".", 1)[1] for full in reference.derivations()}
    assert names - derived == set(UNDERIVED)
    assert set(reference.derivations()) <= set(PUBLIC)


@pytest.mark.parametrize("full", reference.derivations())
def test_an_entry_leads_to_its_derivation_and_back(full):
    stem = ROOMS[full.rsplit(".", 1)[0]]
    text = page(f"reference/{stem}")
    entry = text[text.index(f'id="{full}"'):].split('class="sig sig-object')[0]
    there = re.search(r'<p class="derived-in">Derived in <a [^>]*href="\.\./([^"]+)\.html#([^"]+)"', entry)
    assert there, "the entry has no link"
    chapter = page(there[1])  # beside the reference, in chapters/
    (section,) = re.findall(rf'<section id="{there[2]}">|<section id="[^"]*">\n<span id="{there[2]}"></span>', chapter)
    (back,) = re.findall(r'<p class="in-the-package">.*?</p>', chapter[chapter.index(section):], re.DOTALL)[:1]
    assert f'reference/{stem}.html#{full}"' in back


def validated():
    """Every entry with words of its own, and whether it is a method."""
    for full, thing in PUBLIC.items():
        if reference.kind(thing) != "data":
            yield full, thing, False
        for name, member in vars(thing).items() if inspect.isclass(thing) else ():
            function = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
            if name[0] != "_" and inspect.isfunction(function) and function.__doc__:
                yield f"{full}.{name}", function, True


@pytest.mark.filterwarnings("ignore:Widget")  # numpydoc looks at every attribute of a stage
def test_docstrings_are_whole():
    """By numpydoc's validation. The fields of a named tuple are its attributes; a protocol takes no arguments."""
    from numpydoc.docscrape import get_doc_object
    from numpydoc.validate import validate

    faults = {}
    for full, thing, method in validated():
        found = dict(reversed(validate(full)["errors"]))
        fields = ", ".join(getattr(thing, "_fields", ()))
        described = ", ".join(entry.name for entry in get_doc_object(thing)["Attributes"]) if fields else None
        if described == fields or getattr(thing, "_is_protocol", False):
            found.pop("PR01", None)
        codes = set(found) - set(TASTE) - (TASTE_OF_METHODS if method else set())
        if codes:
            faults[full] = [found[code] for code in sorted(codes)]
    assert not faults


def test_constants_are_described():
    assert all(reference.words(importlib.import_module(full.rsplit(".", 1)[0]), full.rsplit(".", 1)[1])
               for full, thing in PUBLIC.items() if reference.kind(thing) == "data")


def test_a_signature_has_its_types_by_name():
    text = page("reference/meta")
    start = text.index('id="metacalc.meta.maml"')
    signature = unescape(re.sub(r"<[^>]+>", "", text[start:text.index("</dt>", start)]))
    assert re.search(r"theta: ArrayLike,\s*batch: Batch,\s*alpha: ArrayLike,\s*k: int = 1,", signature), signature
    assert "→ tuple[Array, Array]" in signature and "numpy" not in signature


def test_the_index_has_the_functions():
    text = (HTML / "genindex.html").read_text(encoding="utf-8") if HTML.exists() else missing("the book is not built")
    assert re.search(r'href="chapters/reference/meta\.html#metacalc\.meta\.maml"', text)


def test_search_finds_a_function(browser, server):
    page = browser.new_page()
    page.goto(f"{server[0]}search.html?q=conjugate_gradients")
    page.wait_for_selector("#search-results a[href*='reference/bilevel.html#metacalc.bilevel.conjugate_gradients']")
    page.close()
