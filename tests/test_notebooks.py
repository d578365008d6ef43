"""Notebooks are committed in one form, and the program that the course grew from still prints what the chapter says."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import sympy as sp
from notebooks import normalised

from conftest import ROOT
from metacalc import Objective, gradient_descent

NOTEBOOKS = sorted((ROOT / "chapters").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_normalised(path):
    assert path.read_text(encoding="utf-8") == normalised(nbformat.read(path, as_version=4)), "run `make notebooks`"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_cell_ran_without_complaint(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error" and output.get("name") != "stderr", "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_say_little(path):
    """Longer functions belong in the package, where they have a test; and a line fits the page."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            assert len(lines) <= 40 and max(map(len, lines)) <= 80, lines


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_folded_checks_have_one_name(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if "hide-input" in cell["metadata"].get("tags", []) and "assert " in "".join(cell["source"]):
            look = cell["metadata"].get("mystnb", {})
            assert look.get("code_prompt_show") == look.get("code_prompt_hide") == "Check it", cell["source"]


@pytest.mark.parametrize("page", ["intro", "01_background", "02_calculus_link", "03_gradient_descent", "03_update_rules"])
def test_what_only_verifies_is_folded_on_the_first_pages(page):
    for cell in json.loads((ROOT / f"chapters/{page}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "assert " in "".join(cell["source"]):
            assert "hide-cell" in cell["metadata"].get("tags", []), cell["source"]


def test_a_name_of_the_library_comes_from_one_place_in_all_chapters():
    homes = {}
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                for node in ast.walk(ast.parse("".join(cell["source"]))):
                    if isinstance(node, ast.ImportFrom) and re.match(r"metacalc(?!\.course)", node.module):
                        for alias in node.names:
                            homes.setdefault(alias.name, set()).add(node.module)
    assert not {name: found for name, found in homes.items() if len(found) > 1}


def test_the_committed_form_knows_equal_cells_apart_and_joins_a_stream_that_was_cut():
    code, stream = nbformat.v4.new_code_cell, lambda text, name="stdout": nbformat.v4.new_output("stream", text=text, name=name)
    cells = [code("1 + 1", execution_count=7), code("1 + 1"),
             code("print()", outputs=[stream("a"), stream("b"), stream("c", "stderr"), stream("d")])]
    cells[0].outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": "2", "image/png": "x"}, execution_count=7,
                                               metadata={"a": 1})]
    found = nbformat.reads(normalised(nbformat.v4.new_notebook(cells=cells)), as_version=4).cells
    assert len({cell.id for cell in found}) == 3 and all(cell.execution_count is None for cell in found)
    assert [(o.name, o.text) for o in found[2].outputs] == [("stdout", "ab"), ("stderr", "c"), ("stdout", "d")]
    (result,) = found[0].outputs
    assert result.data == {"text/plain": "2"} and result.metadata == {} and result.execution_count is None
    assert normalised(nbformat.v4.new_notebook(cells=found)) == normalised(nbformat.v4.new_notebook(cells=cells))


def test_the_seed_s_program_prints_what_the_chapter_says():
    program = Path(__file__).with_name("seed_program.py")
    printed = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True).stdout
    iterates = [float(v) for v in re.findall(r"^Iteration \d+: theta = (\S+)$", printed, re.MULTILINE)]
    (final,) = re.findall(r"^Optimal theta: (\S+)$", printed, re.MULTILINE)
    theta = sp.Symbol("theta")
    path = gradient_descent(Objective(theta**2, theta).grad, 10, 0.1, 100)
    assert len(iterates) == 100 and float(final) == iterates[-1]
    np.testing.assert_allclose(path[1:], iterates, rtol=1e-13)
    chapter = (ROOT / "chapters/03_gradient_descent.ipynb").read_text(encoding="utf-8")
    assert f"after 100 iterations: theta = {float(final):.4e}" in chapter
