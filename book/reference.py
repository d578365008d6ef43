"""Sphinx extension: the reference, made from the docstrings, and its links to the chapters and back.

A page of the reference has a `room` directive for every module that it describes. Its lines say which section of the
book derives what: `maml: ml-maml`. From them come "Derived in" under the entry and "In the package" under the section.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import inspect as sphinx_inspect
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from metacalc.words import t

CHAPTERS = Path(__file__).parent.parent / "chapters"
PAGES = CHAPTERS / "reference"
ROOM = re.compile(r"^```\{room\} (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
log = logging.getLogger(__name__)


def rooms():
    """Every page of the reference → its modules → which section derives what: {name: label}."""
    return {path.stem: {f"metacalc.{module}": dict(line.split(": ") for line in body.splitlines())
                        for module, body in ROOM.findall(path.read_text(encoding="utf-8"))}
            for path in sorted(PAGES.glob("*.md"))}


@functools.cache
def derivations():
    """The full name of what is derived → the label of the section that does it."""
    return {f"{module}.{name}": label for modules in rooms().values() for module, derived in modules.items()
            for name, label in derived.items()}


def kind(thing):
    """What autodoc calls it."""
    return "class" if inspect.isclass(thing) else "function" if inspect.isroutine(thing) else "data"


def words(module, name):
    """What the comment above a constant says of it, in its own module or in the one that it comes from."""
    thing = getattr(module, name)
    homes = [home for home, other in sys.modules.items()
             if home.startswith("metacalc.") and getattr(other, name, None) is thing]
    found = (ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name)) for home in [module.__name__, *homes])
    return next((lines for lines in found if lines), [])


class Room(SphinxDirective):
    """A module: what it says of itself, a table of its public names, and their entries."""

    required_arguments = 1
    has_content = True

    def run(self):
        module = importlib.import_module(f"metacalc.{self.arguments[0]}")
        for name in set(dict(line.split(": ") for line in self.content)) - set(module.__all__):
            log.warning(f"{module.__name__} has no public name {name}", location=self.get_location())
        kinds = {name: kind(getattr(module, name)) for name in module.__all__}
        lines = ["```{eval-rst}", f".. automodule:: {module.__name__}", "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in kinds if kinds[name] != "data"]
        for name, what in kinds.items():
            if what == "data":
                lines += ["", f".. py:data:: {name}", "", *(f"   {line}" for line in words(module, name))]
            else:
                lines += ["", f".. auto{what}:: {name}", "   :members:" if what == "class" else ""]
        place = nodes.container(classes=["room"])
        self.state.nested_parse(StringList([*lines, "```"], source=self.get_source_info()[0]), self.content_offset, place)
        return place.children


class Written:
    """A default as its source writes it."""

    def __init__(self, node):
        self.text = ast.unparse(node)

    def __repr__(self):
        return self.text


def text_of(annotation):
    """A type as its source writes it, without the quotes around one that is defined further below."""
    return annotation.value if isinstance(annotation, ast.Constant) and annotation.value else ast.unparse(annotation)


def written(thing):
    """How its source writes a signature: {parameter: (type, default)}, and {"return": (type, None)}."""
    thing = inspect.unwrap(thing)
    if inspect.isclass(thing) and not hasattr(thing, "_fields") and not dataclasses.is_dataclass(thing):
        return written(thing.__init__)
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    except (OSError, TypeError):
        return {}
    if isinstance(node, ast.ClassDef):  # its fields, and those that it inherits
        bases = [base for base in reversed(thing.__mro__[1:]) if base.__module__.startswith("metacalc")]
        fields = {key: field for base in bases for key, field in written(base).items()}
        return fields | {field.target.id: (text_of(field.annotation), field.value) for field in node.body
                         if isinstance(field, ast.AnnAssign)}
    args = node.args
    places, named = args.posonlyargs + args.args, args.kwonlyargs
    defaults = [None] * (len(places) - len(args.defaults)) + args.defaults + args.kw_defaults + [None, None]
    found = {a.arg: (text_of(a.annotation), default)
             for a, default in zip([*places, *named, args.vararg, args.kwarg], defaults) if a is not None and a.annotation}
    return found | ({"return": (text_of(node.returns), None)} if node.returns else {})


def sign(app, what, name, thing, options, signature, returns):
    """A signature with the types by their names, `ArrayLike` and not the twelve types that it stands for."""
    if signature is None or what not in ("class", "function", "method"):
        return None
    if getattr(thing, "_is_protocol", False):  # nobody makes one
        return "", None
    source, plain, parameters = written(thing), inspect.signature(thing), []
    for p in plain.parameters.values():
        kind, default = source.get(p.name, (p.empty, None))
        simple = default is None or p.default is p.empty or isinstance(default, ast.Call)  # field(default=...) is none
        if p.name not in ("self", "cls"):
            parameters.append(p.replace(annotation=kind, default=p.default if simple else Written(default)))
    shown = plain.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return sphinx_inspect.stringify_signature(shown), None if what == "class" else source.get("return", (None,))[0]


def skip(app, what, name, thing, skipped, options):
    """The default of a field, if it is a class; a field of a named tuple, which its class describes."""
    return True if inspect.isclass(thing) or str(getattr(thing, "__doc__", "")).startswith("Alias for field number") else None


def entries(env):
    """What the reference describes: every name that leads to just one entry → (full name, page, id)."""
    domain, found, twice = env.domains["py"], {}, set()
    modules = sorted(domain.modules, key=len, reverse=True)
    for full, entry in domain.objects.items():
        module = next((m for m in modules if full.startswith(f"{m}.")), None)
        if entry.objtype == "module" or module is None:
            continue
        short = full.removeprefix(f"{module}.")
        for name in (full, f"metacalc.{short}", short):
            twice |= {name} if found.setdefault(name, (full,))[0] != full else set()
            found[name] = full, entry.docname, entry.node_id
    return {name: place for name, place in found.items() if name not in twice}


def described(node):
    """The full name of the entry that a node stands in, or nothing."""
    while node is not None and not (isinstance(node, addnodes.desc) and node[0].get("fullname")):
        node = node.parent
    return "" if node is None else f"{node[0]['module']}.{node[0]['fullname']}"


class NamedInCode(SphinxPostTransform):
    """Code in a sentence that names an entry of the reference leads there: in a chapter, the first time in each section."""

    default_priority = 30

    def run(self):
        found, seen = entries(self.env), set()
        for node in list(self.document.findall(nodes.literal)):
            name = re.match(r"([A-Za-z_][\w.]*)(\(.*\))?$", node.astext())
            if name is None or isinstance(node.parent, (nodes.reference, nodes.title)):
                continue
            here, section = described(node), node.parent
            while section is not None and not isinstance(section, nodes.section):
                section = section.parent
            nearer = [f"{here.rsplit('.', k)[0]}.{name[1]}" for k in (0, 1, 2)] if here else []
            place = next((found[full] for full in (*nearer, name[1]) if full in found), None)
            if place is None or place[0] == here or (place[0], here or id(section)) in seen:
                continue
            seen.add((place[0], here or id(section)))
            node.replace_self(make_refnode(self.app.builder, self.env.docname, place[1], place[2], node.deepcopy(), place[0]))


class Derived(SphinxPostTransform):
    """Links from an entry to the section of a chapter that derives it, and from there back."""

    default_priority = 31

    def run(self):
        labels, found, back = self.env.domains["std"].labels, entries(self.env), {}
        for full, label in derivations().items():
            if label not in labels or full not in found:
                log.warning(f"{full} is said to be derived in {label}: one of them is missing", location=self.env.docname)
            elif labels[label][0] == self.env.docname:
                back.setdefault(labels[label][1], []).append(found[full])
        for section in self.document.findall(nodes.section):
            places = [place for key in section["ids"] for place in back.get(key, [])]
            if places:
                end = next((i for i, child in enumerate(section) if isinstance(child, nodes.section)), len(section))
                section.insert(end, self._in_the_package(places))
        for entry in list(self.document.findall(addnodes.desc)):
            label = derivations().get(described(entry))
            if label in labels:
                entry[-1].insert(1, self._derived_in(*labels[label]))

    def _link(self, page, anchor, content):
        return make_refnode(self.app.builder, self.env.docname, page, anchor, content)

    def _in_the_package(self, places):
        line = nodes.paragraph("", t("In the package: "), classes=["in-the-package"])
        for i, (full, page, anchor) in enumerate(places):
            name = full.rsplit(".", 1)[-1]
            line += [nodes.Text(t(", ") if i else ""), self._link(page, anchor, nodes.literal("", name))]
        return line

    def _derived_in(self, page, anchor, title):
        line = nodes.paragraph("", t("Derived in "), classes=["derived-in"])
        headings = (link.children for link in self.env.tocs[page].findall(nodes.reference) if link.astext() == title)
        shown = next(headings, [nodes.Text(title)])  # with its formulas
        line += self._link(page, anchor, nodes.inline("", "", *(part.deepcopy() for part in shown)))
        if any(line.findall(nodes.math)):
            self.env.domains["math"].data["has_equations"][self.env.docname] = True  # a page without formulas has no MathJax
        chapter = re.split("[:：]", self.env.titles[page].astext())[0]
        line += [] if title.startswith(chapter) else [nodes.Text(t(" ({chapter})", chapter=chapter))]
        return line


def plain(app, env, node, contnode):
    """A type in a signature: an entry of the reference, wherever that is, or a plain word; the type checker knows them all."""
    parent = node.parent
    while parent is not None and not isinstance(parent, addnodes.desc_signature):
        parent = parent.parent
    if parent is None:
        return None
    place = entries(env).get(node["reftarget"])
    return make_refnode(app.builder, node["refdoc"], place[1], place[2], contnode, place[0]) if place else contnode


def again(app, env, names):
    """With a page of the reference, read the chapters again that its derivations lead to."""
    derivations.cache_clear()
    if any(name.startswith("chapters/reference/") for name in names):
        labels = env.domains["std"].labels
        names += sorted({labels[label][0] for label in derivations().values() if label in labels} - {*names})


def setup(app):
    app.add_directive("room", Room)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", plain)
    app.connect("env-before-read-docs", again)
    app.add_post_transform(NamedInCode)
    app.add_post_transform(Derived)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
