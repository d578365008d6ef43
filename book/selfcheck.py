"""Sphinx extension: "Check yourself" asks for a choice before it answers.

An admonition of that name holds a question and a dropdown for each choice, (a), (b), ..., whose text begins with "Yes" or
"No". Here the choices are marked; `selfcheck.js` makes radio buttons of them. Without it they stay dropdowns.
"""

import hashlib
import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset

HERE = Path(__file__).parent
TITLE = "Check yourself"
VERDICTS = {"Yes": True, "No": False}
log = logging.getLogger(__name__)


def verdict(explanation):
    """Whether a choice is right, by the first word of what is said of it; None if it does not say.

    Examples
    --------
    >>> verdict("Yes: Euler's method has order one."), verdict("No. Both cover the same time."), verdict("Not for ever.")
    (True, False, None)
    """
    return VERDICTS.get(re.match(r"\w*", explanation)[0])


def faults(choices):
    """What is wrong with a self-check, given its choices as pairs of title and explanation.

    Examples
    --------
    >>> faults([("(a) 1.", "No."), ("(b) 2.", "Perhaps."), ("(d) 3.", "No.")])
    ['(b) begins with neither Yes nor No', 'choice 3 is not called (c)', '0 choices are right']
    """
    found = []
    for letter, (title, explanation) in zip("abcdefgh", choices):
        if not title.startswith(f"({letter}) "):
            found.append(f"choice {ord(letter) - 96} is not called ({letter})")
        if verdict(explanation) is None:
            found.append(f"({letter}) begins with neither Yes nor No")
    right = sum(verdict(explanation) is True for _, explanation in choices)
    return found + ([f"{right} choices are right"] if right != 1 else [])


def questions(doctree):
    """The self-checks of a page, each with its dropdowns."""
    for node in doctree.findall(nodes.admonition):
        if isinstance(node[0], nodes.title) and node[0].astext() == TITLE:
            yield node, [child for child in node if isinstance(child, nodes.container) and child.get("type") == "dropdown"]


class Marks(SphinxTransform):
    """Says in classes what is a self-check and which choice is right, in whatever language the page will be."""

    default_priority = 5  # before texts are translated

    def apply(self):
        mark(self.document)


def mark(doctree):
    """Mark the self-checks of a page. What was answered is remembered by a hash of the words."""
    for node, dropdowns in questions(doctree):
        choices = [(dropdown[0].astext(), "\n".join(part.astext() for part in dropdown[1:])) for dropdown in dropdowns]
        for fault in faults(choices):
            log.warning(f"{TITLE}: {fault}", location=node, type="selfcheck")
        name = "check-" + hashlib.sha256(node.astext().encode()).hexdigest()[:8]
        node["classes"].append("self-check")
        node["ids"].append(name)
        for dropdown, (_, explanation) in zip(dropdowns, choices):
            dropdown["container_classes"] = [*dropdown["container_classes"], "choice"]
            if verdict(explanation):
                dropdown["container_classes"].append("choice-right")


def lay(app, config):
    copy_asset(HERE / "selfcheck.js", Path(app.doctreedir).parent / "assets")


def load(app, pagename, templatename, context, doctree):
    """The script, on the pages that have a self-check."""
    if doctree and any("self-check" in node["classes"] for node in doctree.findall(nodes.admonition)):
        app.add_js_file("selfcheck.js", loading_method="defer")


def setup(app):
    app.connect("config-inited", lay, priority=600)  # once the folder of assets is there
    app.add_transform(Marks)
    app.connect("html-page-context", load)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
