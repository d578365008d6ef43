"""The chapter on tools: what its cells make of the frameworks is metacalc's, and its page says what was compared."""

import html
import json
import os
import re
from importlib.util import find_spec

import autograd
import matplotlib.pyplot as plt
import numpy as np
import pytest

from conftest import HTML, ROOT, missing, optional
from metacalc.course.figures.meta_learning import step_graph
from metacalc.meta import fomaml, maml

NOTEBOOK = ROOT / "chapters/07_tools.ipynb"
MODULES = {"PyTorch": "torch", "TensorFlow": "tensorflow", "JAX": "jax"}
VARIES = "nbval-ignore-output"  # the tag of the cells that need the frameworks


@pytest.fixture(scope="module")
def names():
    """What the chapter's cells define, up to the first that needs a framework, and the table of them in that one."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    first = next(i for i, cell in enumerate(cells) if VARIES in cell["metadata"].get("tags", []))
    table = re.match(r"FRAMEWORKS = \{.*?^\}\n", "".join(cells[first]["source"]), re.DOTALL | re.MULTILINE).group()
    namespace, environment = {}, dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(NOTEBOOK.parent)
        for source in [*("".join(cell["source"]) for cell in cells[:first]), table]:
            exec(source, namespace)
        plt.close("all")
        yield namespace
    os.environ.clear()
    os.environ.update(environment)


def error(theirs, ours):
    return np.abs(theirs - ours).max() / np.abs(ours).max()


@pytest.mark.parametrize("framework, module", MODULES.items())
def test_a_framework_s_gradients_are_ours(names, framework, module):
    optional(module)
    named, make, hvp = names["FRAMEWORKS"][framework]
    assert named == module
    for dtype, tolerance, k, ours in [(np.float64, 1e-12, 1, maml), (np.float32, 1e-5, 2, maml),
                                      (np.float64, 1e-12, 2, fomaml)]:
        model, theta, batch = names["problem"](dtype, seed=3)
        loss, gradient = make(model, 0.01, k, first_order=ours is fomaml)(theta, *names["arrays"](batch))
        expected_loss, expected = ours(model, theta, batch, 0.01, k)
        assert loss.dtype == gradient.dtype == dtype and gradient.shape == theta.shape
        assert abs(loss - expected_loss) < tolerance * expected_loss and error(gradient, expected) < tolerance
        other = (maml if ours is fomaml else fomaml)(model, theta, batch, 0.01, k)[1]
        assert error(gradient, other) > 0.01  # so that one could not pass for the other
    v = np.random.default_rng(4).normal(size=theta.size)
    x, y = batch.x_support[1], batch.y_support[1]
    assert error(hvp(model, theta, v, x, y), model.hvp(theta, v, x, y)) < 1e-12


def test_forgetting_create_graph_gives_first_order_maml_and_no_error(names):
    torch = optional("torch")
    model, theta, batch = names["problem"](np.float64)
    loss, q = names["torch_loss"](model), torch.tensor(theta, requires_grad=True)
    total = 0.0
    for xs, ys, xq, yq in zip(*map(torch.tensor, names["arrays"](batch))):
        (g,) = torch.autograd.grad(loss(q, xs, ys), q)
        total = total + loss(q - 0.01 * g, xq, yq) / len(batch)
    (gradient,) = torch.autograd.grad(total, q)
    assert error(gradient.numpy(), fomaml(model, theta, batch, 0.01)[1]) < 1e-12


def test_the_tape_differentiates_once_and_twice_as_autograd_does(names):
    def f(a, b, c):
        return (a * b + c) * b * b + a * c * c * c + a

    def at(q):
        return f(*q)

    rng = np.random.default_rng(5)
    q, v = rng.normal(size=3), rng.normal(size=3)
    inputs, direction = [names["Var"](t) for t in q], [names["Var"](t) for t in v]
    y = f(*inputs)
    slopes = names["reverse"](y, inputs)
    np.testing.assert_allclose([s.value for s in slopes], autograd.grad(at)(q), rtol=1e-12)
    along = dict(zip(inputs, direction))
    np.testing.assert_allclose(names["forward"](y, along).value, autograd.grad(at)(q) @ v, rtol=1e-12)
    curved = names["reverse"](sum((s * d for s, d in zip(slopes, direction)), names["ZERO"]), inputs)
    expected = autograd.hessian(at)(q) @ v
    np.testing.assert_allclose([s.value for s in curved], expected, rtol=1e-12)
    np.testing.assert_allclose([names["forward"](s, along).value for s in slopes], expected, rtol=1e-12)
    assert names["reverse"](y.detach(), inputs)[0].value == 0


def test_the_graph_s_dashed_arrow_is_the_hessian():
    figure, axes = plt.subplots()
    step_graph(axes)
    dashed = [a for a in axes.texts if a.arrow_patch is not None and a.arrow_patch.get_linestyle() == "--"]
    (hessian,) = [a for a in axes.texts if a.get_text() == "$H$"]
    assert len(dashed) == 1 and len([a for a in axes.texts if a.arrow_patch is not None]) == 4
    middle = (np.array(dashed[0].xy) + dashed[0].get_position()) / 2  # an annotation's position is its arrow's tail
    np.testing.assert_allclose(hessian.xy, middle)
    plt.close(figure)


def test_the_page_says_what_it_compared():
    page = HTML / "chapters/07_tools.html"
    if not page.exists():
        missing("the book is not built: run `make book`")
    text = html.unescape(re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8")))
    for framework, module in MODULES.items():
        here = find_spec(module) is not None
        assert bool(re.search(rf"^{framework} +(\d+e[-+]\d+ *){{5}}$", text, re.MULTILINE)) == here
        absent = re.findall(rf"^{framework} +not installed; pip install '\.\[frameworks\]'$", text, re.MULTILINE)
        assert len(absent) == (0 if here else 2)
