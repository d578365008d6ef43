"""Sphinx extension: the book in another language, from catalogues in gettext's form (`make zh-texts`).

The pages' texts are Sphinx's own to translate (`chapters/locale`). Here is what it does not reach: titles of exercises, tables
in theorems, the words of outputs, of the theme and its options and of our scripts (`metacalc.words` has their catalogue), links
to the other language, an index and a glossary by sound, a search that finds Chinese words, and spaces that Chinese has not.
"""

import hashlib
import json
import re
from gettext import translation
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.locale import init, translators
from sphinx.search import SearchLanguage
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.i18n import docname_to_domain
from sphinx.util.nodes import extract_messages
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import PersonStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

from metacalc.stage import Stage
from metacalc.words import LOCALE, reworded, t, use

HERE = Path(__file__).parent
SOURCE = "en"
OPTIONS = ("extra_footer", "search_bar_text")  # of the theme: what it says with them
EDITIONS = {"en": ("", "en", "English"), "zh_CN": ("zh/", "zh-Hans", "中文")}  # its folder, code and name
CATALOGUE = LOCALE / "zh_CN/LC_MESSAGES/metacalc.po"
FUNCTION = re.compile(r"^function t\(.*?^}\n", re.MULTILINE | re.DOTALL)
HAN = re.compile("[\u3400-\u9fff]")
CLOSING = "，。；：？！、）》"
MARKS = f"{CLOSING}（《"
# A space that a Chinese page does not have: at its marks, and between two letters or quotes.
GAP = re.compile(rf"(?<=[{MARKS}]) +| +(?=[{MARKS}])|(?<=[\u3400-\u9fff“”…—]) +(?=[\u3400-\u9fff“”…—])")
OTHER = (nodes.literal, nodes.math, nodes.raw)  # what is no text
# Where in the order of GB 2312, by sound for its 3,755 common letters, those begin that are spelt with a letter of ours.
SOUNDS = dict(zip("ABCDEFGHJKLMNOPQRSTWXYZ", "啊芭擦搭蛾发噶哈击喀垃妈拿哦啪期然撒塌挖昔压匝"))
RARE = str.maketrans("熵轭", "商俄")  # letters that have their place by another rule, and common ones of their sound
# What Sphinx and its extensions ask gettext for, where they have no Chinese word, or not ours.
ASKED = ("%s (in module %s)", "%s() (%s method)", "%s() (in module %s)", "© Copyright %(copyright)s.", "Color mode",
         "Link to this definition", "Link to this equation", "Link to this heading", "Link to this term", "Print to PDF",
         "System Settings", "Search finished, found ${resultCount} page(s) matching the search query.")
# What they say without asking: the text of an element, or its name for screen readers; and the names of folded cells.
THEME = ("Hide code cell output", "Hide code cell source", "Main", "Page", "Show code cell output", "Show code cell source",
         "Table of contents", "Toggle primary sidebar", "Toggle secondary sidebar")
SAID = re.compile(rf'(?<=["\n>])(\s*)({"|".join(THEME)})(?=\s*["<])')


def is_source(config):
    return config.language in (None, SOURCE)


def shared(config, name):
    """Address of an asset that all languages load from the English pages' folder, seen from `_static`."""
    return name if is_source(config) else f"../../_static/{name}"


def notes(env):
    """A function that remembers an English text of the page that is read, if it has a word in it, and returns it.

    The environment keeps them: `texts.py` reads there what our catalogue should have.
    """
    found = vars(env).setdefault("texts_of_cells", {}).setdefault(env.docname, {})

    def note(text):
        if re.search(r"[A-Za-z]{2}", re.sub(r"\$[^$]*\$", "", text)):
            found.setdefault(text)
        return text

    return note


def forget(app, env, docname):
    vars(env).setdefault("texts_of_cells", {}).pop(docname, None)


def choose(app, config):
    """Speak the language of the build from here on, in the theme's options too."""
    use(config.language)
    for translator in translators.values():
        vars(translator).get("_catalog", {}).update({text: t(text) for text in ASKED if not is_source(config)})
    config.togglebutton_hint, config.togglebutton_hint_hide = t("Click to show"), t("Click to hide")
    options = config.html_theme_options
    for name in OPTIONS:
        options[name] = t(options[name])
    config.html_title = t(config.html_title or config.project)
    config.author = t(config.author)
    if not is_source(config):
        register_plugin("sphinxcontrib.bibtex.style.referencing", "chinese", Citations)
        config.bibtex_reference_style = "chinese"
        # Pages keep the words of their figures: another catalogue makes them anew.
        config.words_digest = hashlib.sha256(CATALOGUE.read_bytes()).hexdigest()


def write_words(app, config):
    """The script that every page loads first: the words of the others, and the function that looks them up."""
    words = {}
    if not is_source(config):
        catalogue = translation("metacalc", LOCALE, [config.language])
        words = {text: catalogue.gettext(text) for text in [*script_texts(), *ASKED]}
    (function,) = FUNCTION.findall(Stage._esm)
    edition = (HERE / "edition.js").read_text(encoding="utf-8")
    parts = [f"globalThis.metacalcWords = {json.dumps(words, ensure_ascii=False, separators=(',', ':'))};",
             f"globalThis.metacalcT = (() => {{\n{function}return t;\n}})();", f"(() => {{\n{edition}}})();"]
    (Path(app.doctreedir).parent / "assets/words.js").write_text("\n".join(parts) + "\n", encoding="utf-8")
    app.add_js_file("words.js", priority=300, loading_method="defer")


def script_texts():
    """The English texts of our scripts."""
    from babel.messages.extract import extract_from_file

    paths = [HERE.parent / "code/metacalc/stage.js", *sorted(HERE.glob("*.js")), *sorted((HERE / "python").glob("*.js"))]
    texts = {text: None for path in paths for _, text, _, _ in extract_from_file(
        "javascript", path, keywords={"t": None}, options={"parse_template_string": True})}
    cells = json.loads((HERE / "python/cells.json").read_text(encoding="utf-8"))
    return list(texts | {known[0]: None for page in cells.values() for known in page.values() if known[0]})


class Citations(AuthorYearReferenceStyle):
    """Names of authors as a Chinese sentence has them."""

    def __init__(self):
        super().__init__(person=PersonStyle(sep="、", sep2=" 和 ", last_sep=" 和 ", other=" 等"), author_year_sep="，")


class Titles(SphinxTransform):
    """Gives the titles of exercises what Sphinx asks of a text to translate it: where it stands, and how it was written.

    MyST says it of no cell of a table, and Jupyter Book only of tables outside directives.
    """

    default_priority = 5  # before texts are translated

    def apply(self):
        for title in self.document.findall(nodes.Titular):
            kind = type(title).__name__
            if kind == "exercise_subtitle":
                title.source, title.line = self.document["source"], 0
                title.rawsource = "".join(_written(part) for part in title)
            elif kind in ("exercise_title", "solution_title"):
                title["translatable"] = False  # it begins with "Exercise", which has its translation
        for cell in self.document.findall(nodes.entry):
            for text in cell.findall(nodes.paragraph):
                text.source, text.line = text.source or self.document["source"], text.line or 0


def _written(part):
    mark = "$" if isinstance(part, nodes.math) else "`" if isinstance(part, nodes.literal) else ""
    return f"{mark}{part.astext()}{mark}"


class Formulas(SphinxTransform):
    """Translates the words in displayed formulas: Sphinx would take their translation for reStructuredText."""

    default_priority = 10  # before Sphinx does

    def apply(self):
        folders = [str(Path(self.env.srcdir) / folder) for folder in self.config.locale_dirs]
        catalogue, _ = init(folders, self.config.language, docname_to_domain(self.env.docname, self.config.gettext_compact))
        for node, text in list(extract_messages(self.document)):
            if isinstance(node, nodes.math_block) and (said := catalogue.gettext(text)) != text:
                node.rawsource, node[:] = said, [nodes.Text(said)]  # which has no translation any more


class Outputs(SphinxTransform):
    """Tables and sentences that cells have made: their words are in our catalogue, whatever the numbers between them are."""

    default_priority = 5

    def apply(self):
        note = notes(self.env)
        for output in self.document.findall(nodes.container):
            if output.get("nb_element") != "cell_code_output":
                continue
            for element in output.findall(nodes.TextElement):
                element["translatable"] = False
            for text in list(output.findall(nodes.Text)):
                if not isinstance(text.parent, (nodes.raw, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block)):
                    text.parent.replace(text, nodes.Text(reworded(str(text), lambda said: t(note(said)))))


class Glossary(SphinxTransform):
    """Puts the terms into the order of a Chinese dictionary."""

    default_priority = 30  # once they are Chinese

    def apply(self):
        for glossary in self.document.findall(addnodes.glossary):
            for terms in glossary.findall(nodes.definition_list) if not is_source(self.config) else ():
                terms[:] = sorted(terms, key=lambda item: sound(item.next_node(nodes.term).astext()))


class Modules(SphinxTransform):
    """Calls a module so in the index, where Sphinx has the English word in every language."""

    default_priority = 5

    def apply(self):
        for index in self.document.findall(addnodes.index):
            index["entries"] = [(kind, re.sub("^module(?=; )", t("module"), text), *rest)
                                for kind, text, *rest in index["entries"]]


class Spaces(SphinxPostTransform):
    """Takes away the spaces that markup needs between Chinese letters, and those at Chinese marks, which have their own.

    The brackets that proofs and exercises put around their names are Chinese then, too.
    """

    default_priority = 890  # when links have their text, and before formulas and marks are joined

    def run(self):
        if is_source(self.config):
            return
        for block in self.document.findall(nodes.TextElement):
            if isinstance(block, nodes.title) and isinstance(block.parent, nodes.Admonition):
                self._put_brackets(block)
            elif not isinstance(block, (nodes.Inline, nodes.FixedTextElement)):
                self._close(block)

    def _put_brackets(self, title):
        texts = list(title.findall(nodes.Text))
        opening = next((text for text in texts if re.match(r" ?\(", text)), None)
        if opening and HAN.search(title.astext()) and texts[-1].endswith(")"):
            opening.parent.replace(opening, nodes.Text(re.sub(r"^ ?\(", "（", opening)))
            last = list(title.findall(nodes.Text))[-1]
            last.parent.replace(last, nodes.Text(f"{last[:-1]}）"))

    def _close(self, block):
        leaves = [leaf for leaf in block.findall() if not leaf.children and not isinstance(leaf, nodes.Invisible)]
        texts = [str(leaf) if isinstance(leaf, nodes.Text) and not isinstance(leaf.parent, OTHER) else "" for leaf in leaves]
        for leaf, before, text, after in zip(leaves, ["", *texts], texts, [*texts[1:], ""]):
            closed = GAP.sub("", f"{before[-1:].strip() or '$'}{text}{after[:1].strip() or '$'}")[1:-1]
            if closed != text != " ":  # a space alone keeps a label from a link
                place = next(i for i, sibling in enumerate(leaf.parent) if sibling is leaf)  # equal texts have one index()
                leaf.parent[place] = nodes.Text(closed)


def keep_titles(app, doctree):
    """What refers to an exercise names it as its page does: sphinx-exercise has kept a copy from before the translation."""
    for node in doctree.findall(nodes.Admonition):
        if type(node).__name__ == "exercise_enumerable_node":
            app.env.sphinx_exercise_registry[node["label"]]["node"] = node.deepcopy()


def note_prompts(app, doctree):
    """Remember what folded cells are called."""
    note = notes(app.env)
    for cell in doctree.findall(nodes.container):
        for name in ("prompt_show", "prompt_hide"):
            if "{" not in cell.get(name, "{"):
                note(cell[name])


def theme_in(text):
    """The HTML of a page with the theme's words in the chosen language."""
    text = re.sub(r' (?=</span>(<span class="one-word">)?（)', "", text)  # between the number of a theorem and its name
    return SAID.sub(lambda said: said[1] + t(said[2]), text)


def link_editions(app, pagename, templatename, context, doctree):
    """The page in the other language, for its readers and for search machines."""
    up = "../" * pagename.count("/")
    if not is_source(app.config):
        up += "../"
    places = {code: (f"{up}{folder}{pagename}.html", lang, name) for code, (folder, lang, name) in EDITIONS.items()}
    (address, lang, name), = (place for code, place in places.items() if code != (app.config.language or SOURCE))
    context["other_edition"] = {"address": address, "lang": lang, "name": name}
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<link rel="alternate" hreflang="{lang}" href="{address}">' for address, lang, _ in places.values())


def sound(word):
    """What a word is sorted by: the letter that it is listed under, and its place there.

    Examples
    --------
    >>> [sound(word)[0] for word in ("梯度", "Adam", "熵", "学习率", "κ")]
    ['T', 'A', 'S', 'X', '']
    """
    place = word.translate(RARE).lower().encode("gb18030")
    if not HAN.match(word):
        return (word[0].upper() if word[0].isascii() and word[0].isalpha() else "", place)
    letters = [letter for letter, begins in SOUNDS.items() if begins.encode("gb18030") <= place]
    return (letters[-1] if letters else "", place)


def sort_by_sound(app, pagename, templatename, context, doctree):
    """The index in the order of a Chinese dictionary, Latin words among the others."""
    if pagename == "genindex" and "genindexentries" in context and not is_source(app.config):
        entries = sorted((entry for _, group in context["genindexentries"] for entry in group), key=lambda e: sound(e[0]))
        context["genindexentries"] = [(letter or "#", list(group)) for letter, group in
                                      groupby(entries, key=lambda entry: sound(entry[0])[0])]
        context["genindexcounts"] = [len(group) for _, group in context["genindexentries"]]


class Pairs(SearchLanguage):
    """Finds Chinese without a dictionary: by pairs of neighbouring letters, in the index and in what is searched for."""

    lang, language_name = "zh", "Chinese"
    js_stemmer_code = "class Stemmer { stemWord(word) { return word; } }"
    js_splitter_code = r"""
function splitQuery(query) {
  const words = query.match(/[\u3400-\u9fff]+|(?:(?![\u3400-\u9fff])[\p{Letter}\p{Number}_\p{Emoji_Presentation}])+/gu) ?? [];
  const pairs = (word) => Array.from({ length: word.length - 1 }, (_, i) => word.slice(i, i + 2));
  return words.flatMap((word) => (/^[\u3400-\u9fff]{2}/.test(word) ? pairs(word) : [word]));
}"""

    def split(self, input):
        pairs = []
        for word in re.findall("[\u3400-\u9fff]+|[^\\W\u3400-\u9fff]+", input):
            pairs += [word[i:i + 2] for i in range(max(1, len(word) - 1))] if HAN.match(word) else [word]
        return pairs

    def stem(self, word):
        return word.lower()

    def word_filter(self, word):
        return bool(HAN.match(word)) or super().word_filter(word)


def setup(app):
    app.add_config_value("words_digest", "", "env")
    app.connect("config-inited", choose, priority=400)  # before any other says something
    app.connect("config-inited", write_words, priority=600)  # once the folder of assets is there
    app.connect("env-purge-doc", forget)
    app.connect("doctree-read", keep_titles)
    app.connect("doctree-read", note_prompts)
    app.connect("html-page-context", link_editions)
    app.connect("html-page-context", sort_by_sound, priority=400)
    app.add_transform(Titles)
    app.add_transform(Formulas)
    app.add_transform(Outputs)
    app.add_transform(Glossary)
    app.add_transform(Modules)
    app.add_post_transform(Spaces)
    app.add_search_language(Pairs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
