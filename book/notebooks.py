"""Run the chapters' notebooks and store them in the one form that is committed: `python book/notebooks.py [FILE ...]`.

A committed notebook holds the text of its outputs, which the tests compare with a fresh run. Pictures and widgets are
made by the build, and so is what cells tagged `nbval-ignore-output` print: it varies from machine to machine.
"""

import argparse
import functools
import hashlib
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CHAPTERS = Path(__file__).parent.parent / "chapters"
KEPT = {"text/plain", "text/latex", "text/markdown", "text/html"}

os.environ["TQDM_DISABLE"] = "1"  # nobody watches a progress bar here
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as where the tests run them


def normalised(notebook):
    """The notebook's text with nothing in it that a run or an editor leaves by chance.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Returns
    -------
    str
    """
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = set()
    for cell in notebook.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        while name in seen:
            name = hashlib.sha256(name.encode()).hexdigest()[:8]
        seen.add(name)
        cell.id = name
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")}
        if cell.cell_type == "code":
            cell.execution_count = None  # one cell more would renumber all that follow
            cell.outputs = _joined(cell.outputs)
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
            for output in cell.outputs:
                if "data" in output:
                    output.data = {k: v for k, v in output.data.items() if k in KEPT}
                    output.metadata = {}
                if "execution_count" in output:
                    output.execution_count = None
    return nbformat.writes(notebook, indent=1) + "\n"


@functools.cache
def code_cells():
    """The chapters' code cells: page, such as chapters/intro → its notebook's."""
    paths = [path for path in sorted(CHAPTERS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    return {path.relative_to(CHAPTERS.parent).with_suffix("").as_posix(): [
        cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"] for path in paths}


def _joined(outputs):
    """Consecutive pieces of one stream as one output: where a stream is cut is chance."""
    joined = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def run(path):
    """Execute a notebook in its folder and write it back normalised."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    path.write_text(normalised(notebook), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, default=sorted(CHAPTERS.rglob("*.ipynb")))
    for file in parser.parse_args().files:
        print(file)
        run(file)
