"""Base learners, against oracles that share no code with them: SymPy, differences, HIPS autograd, PyTorch, JAX."""

import pickle

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import optional
from metacalc import finite_difference
from metacalc.models import MLP, Quadratic, linear_regression, logistic_regression, sharpness

MODELS = [
    MLP((1, 40, 40, 1)),
    MLP((2, 5, 4, 3, 2), activation="tanh"),
    MLP((3, 6, 4), criterion="cross-entropy"),
    MLP((2, 7, 3), activation="tanh", criterion="cross-entropy"),
    linear_regression(3, 2),
    logistic_regression(3, 4),
]
name = repr


def problem(model, rng, n_tasks=3, n=5, dtype=np.float64):
    """Per-task parameters, direction and data for a model, away from the ReLU's kinks with probability 1."""
    theta = model.init(rng, dtype) + 0.3 * rng.normal(size=(n_tasks, model.n_params)).astype(dtype)
    v = rng.normal(size=theta.shape).astype(dtype)
    x = rng.normal(size=(n_tasks, n, model.sizes[0])).astype(dtype)
    if model.criterion == "squared":
        y = rng.normal(size=(n_tasks, n, model.sizes[-1])).astype(dtype)
    else:
        y = rng.integers(0, model.sizes[-1], size=(n_tasks, n))
    return theta, v, x, y


def outputs(xp, model, theta, x):
    """The network written out once more, for any array module: one task, θ of shape (p,)."""
    end, h = 0, x
    for l, (m, n) in enumerate(zip(model.sizes, model.sizes[1:])):
        W, b = theta[end:end + m * n].reshape((m, n)), theta[end + m * n:end + m * n + n]
        end += m * n + n
        h = h @ W + b
        if l < len(model.sizes) - 2:
            h = xp.tanh(h) if model.activation == "tanh" else h * (h > 0)
    return h


def one_loss(xp, model, theta, x, y):
    z = outputs(xp, model, theta, x)
    if model.criterion == "squared":
        return ((z - y) ** 2).mean()
    one_hot = xp.eye(model.sizes[-1])[y]
    return (xp.log(xp.exp(z).sum(1)) - (z * one_hot).sum(1)).mean()


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_gradient_and_hvp_agree_with_hips_autograd(model):
    theta, v, x, y = problem(model, np.random.default_rng(0))
    loss, grad, hvp = model.loss(theta, x, y), model.grad(theta, x, y), model.hvp(theta, v, x, y)
    for t in range(len(theta)):
        f = lambda q: one_loss(anp, model, q, x[t], y[t])
        np.testing.assert_allclose(loss[t], f(theta[t]), rtol=1e-12)
        np.testing.assert_allclose(grad[t], autograd.grad(f)(theta[t]), rtol=1e-10, atol=1e-12)
        directional = autograd.grad(lambda q: anp.dot(autograd.grad(f)(q), v[t]))
        np.testing.assert_allclose(hvp[t], directional(theta[t]), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("model", MODELS[:4], ids=name)
def test_gradient_and_hvp_agree_with_pytorch(model):
    torch = optional("torch")
    theta, v, x, y = problem(model, np.random.default_rng(1))
    grad, hvp = model.grad(theta, x, y), model.hvp(theta, v, x, y)
    criterion = torch.nn.functional.mse_loss if model.criterion == "squared" else torch.nn.functional.cross_entropy
    for t in range(len(theta)):
        q = torch.tensor(theta[t], requires_grad=True)
        loss = criterion(outputs(torch, model, q, torch.tensor(x[t])), torch.tensor(y[t]))
        g, = torch.autograd.grad(loss, q, create_graph=True)
        np.testing.assert_allclose(grad[t], g.detach(), rtol=1e-10, atol=1e-12)
        hv, = torch.autograd.grad(g @ torch.tensor(v[t]), q)
        np.testing.assert_allclose(hvp[t], hv, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("model", MODELS[:4], ids=name)
def test_gradient_and_hvp_agree_with_jax(model):
    jax = optional("jax")
    with jax.enable_x64(True):
        theta, v, x, y = problem(model, np.random.default_rng(2))
        f = lambda q, x, y: one_loss(jax.numpy, model, q, x, y)
        grads = jax.jit(jax.vmap(jax.grad(f)))(theta, x, y)
        hvps = jax.jit(jax.vmap(lambda q, v, x, y: jax.jvp(lambda q: jax.grad(f)(q, x, y), (q,), (v,))[1]))(theta, v, x, y)
    np.testing.assert_allclose(model.grad(theta, x, y), grads, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.hvp(theta, v, x, y), hvps, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("model", [MLP((1, 2, 1), activation="tanh"), linear_regression(2), logistic_regression(1, 3)],
                         ids=name)
def test_loss_gradient_and_hessian_agree_with_sympy(model):
    theta, _, x, y = problem(model, np.random.default_rng(3), n_tasks=1, n=2)
    symbols = sp.symbols(f"theta:{model.n_params}")
    total, end, rows = 0, 0, [sp.Matrix(1, model.sizes[0], x[0, i].tolist()) for i in range(2)]
    for l, (m, n) in enumerate(zip(model.sizes, model.sizes[1:])):
        W, b = sp.Matrix(m, n, symbols[end:end + m * n]), sp.Matrix(1, n, symbols[end + m * n:end + m * n + n])
        end += m * n + n
        rows = [h * W + b for h in rows]
        if l < len(model.sizes) - 2:
            rows = [h.applyfunc(sp.tanh) for h in rows]
    for i, z in enumerate(rows):
        if model.criterion == "squared":
            total += sum((z[j] - y[0, i, j]) ** 2 for j in range(len(z))) / len(z)
        else:
            total += sp.log(sum(sp.exp(e) for e in z)) - z[int(y[0, i])]
    loss = total / 2
    gradient = [sp.diff(loss, s) for s in symbols]
    hessian = [[sp.diff(g, s) for s in symbols] for g in gradient]
    values = [np.array(f(*theta[0]), float) for f in (sp.lambdify(symbols, e) for e in (loss, gradient, hessian))]
    np.testing.assert_allclose(model.loss(theta, x, y)[0], values[0], rtol=1e-12)
    np.testing.assert_allclose(model.grad(theta, x, y)[0], values[1], rtol=1e-10, atol=1e-13)
    columns = [model.hvp(theta, e, x, y)[0] for e in np.eye(model.n_params)]
    np.testing.assert_allclose(columns, values[2], rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5), activation=st.sampled_from(["relu", "tanh"]),
       classes=st.booleans(), seed=st.integers(0, 1000))
def test_any_mlp_agrees_with_finite_differences(sizes, activation, classes, seed):
    sizes[-1] += classes
    model = MLP(sizes, activation, "cross-entropy" if classes else "squared")
    theta, v, x, y = problem(model, np.random.default_rng(seed), n_tasks=2, n=3)
    grad = model.grad(theta, x, y)
    differences = finite_difference(lambda q: model.loss(q, x, y), theta)
    kinked = activation == "relu" and not np.allclose(grad, differences, rtol=1e-4, atol=1e-5)
    if kinked:  # a difference that straddles a kink says nothing; there must be another one that does not
        differences = finite_difference(lambda q: model.loss(q, x, y), theta, h=1e-8)
    np.testing.assert_allclose(grad, differences, rtol=1e-3, atol=1e-4 * (1 + np.abs(grad).max()))
    h = 1e-7
    along = (model.grad(theta + h * v, x, y) - model.grad(theta - h * v, x, y)) / (2 * h)
    np.testing.assert_allclose(model.hvp(theta, v, x, y), along, rtol=1e-3, atol=1e-4 * (1 + np.abs(along).max()))


@pytest.mark.parametrize("model", [*MODELS, Quadratic(3)], ids=name)
def test_hessian_is_symmetric_and_linear(model):
    rng = np.random.default_rng(4)
    if isinstance(model, Quadratic):
        A = rng.normal(size=(3, 3, 3))
        theta, v, x, y = rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), A + A.swapaxes(1, 2), rng.normal(size=(3, 3))
    else:
        theta, v, x, y = problem(model, rng)
    u = rng.normal(size=v.shape)
    H = lambda w: model.hvp(theta, w, x, y)
    np.testing.assert_allclose((u * H(v)).sum(1), (v * H(u)).sum(1), rtol=1e-9)
    np.testing.assert_allclose(H(2 * u - 3 * v), 2 * H(u) - 3 * H(v), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("model", MODELS, ids=name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shared_parameters_are_the_same_for_every_task_and_precision_is_kept(model, dtype):
    theta, v, x, y = problem(model, np.random.default_rng(5), dtype=dtype)
    shared, tol = theta[0], 1e-5 if dtype == np.float32 else 1e-12
    tiled, v_tiled = np.tile(shared, (3, 1)), np.tile(v[0], (3, 1))
    for one, many in [(model.loss(shared, x, y), model.loss(tiled, x, y)),
                      (model.grad(shared, x, y), model.grad(tiled, x, y)),
                      (model.hvp(shared, v[0], x, y), model.hvp(tiled, v_tiled, x, y)),
                      (model.hvp(shared, v, x, y), model.hvp(tiled, v, x, y)),
                      (model.predict(shared, x), model.predict(tiled, x))]:
        assert one.dtype == many.dtype == dtype and one.shape == many.shape
        np.testing.assert_allclose(one, many, rtol=tol, atol=tol * 10)
    for t in range(3):  # a batch is its tasks, one by one
        np.testing.assert_allclose(model.grad(theta, x, y)[t], model.grad(theta[t], x[t], y[t]), rtol=tol, atol=tol)


def test_a_table_of_parameters_broadcasts_with_the_tasks():
    model, rng = MLP((1, 4, 1)), np.random.default_rng(6)
    theta, _, x, y = problem(model, rng, n_tasks=3)
    table = rng.normal(size=(7, 1, model.n_params))
    assert model.loss(table, x, y).shape == (7, 3)
    np.testing.assert_allclose(model.grad(table, x, y)[4], model.grad(table[4, 0], x, y), rtol=1e-12)
    np.testing.assert_allclose(model.hvp(table, theta, x, y)[4], model.hvp(table[4, 0], theta, x, y), rtol=1e-12)


def test_predictions_are_probabilities_for_classifiers_and_outputs_otherwise():
    model, rng = logistic_regression(3, 4), np.random.default_rng(7)
    theta, _, x, y = problem(model, rng)
    p = model.predict(theta, 300 * x)  # large logits must not overflow
    np.testing.assert_allclose(p.sum(-1), 1)
    assert np.isfinite(model.loss(theta, 300 * x, y)).all()
    W, b = linear_regression(2).unflatten(np.array([1.0, 2.0, 3.0]))[0]
    np.testing.assert_array_equal(linear_regression(2).predict(np.array([1.0, 2.0, 3.0]), [[5.0, 7.0]]), [[22.0]])
    assert W.tolist() == [[1.0], [2.0]] and b.tolist() == [3.0]


def test_quadratic_is_its_formula():
    A, c, theta = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -1.0]), np.array([0.5, 2.0])
    e, model = theta - c, Quadratic(2)
    np.testing.assert_allclose(model.loss(theta, A[None], c[None]), [e @ A @ e / 2])
    np.testing.assert_allclose(model.grad(theta, A[None], c[None]), [A @ e])
    np.testing.assert_allclose(model.hvp(theta, e, A[None], c[None]), [A @ e])
    np.testing.assert_allclose(model.predict(theta, A[None]), [theta])


def test_init_is_reproducible_and_scaled():
    model = MLP((1, 400, 400, 1))
    theta = model.init(np.random.default_rng(0))
    np.testing.assert_array_equal(theta, model.init(np.random.default_rng(0)))
    (_, b), (W, _), (V, _) = model.unflatten(theta)
    assert not b.any()
    assert W.std() == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert V.std() == pytest.approx(np.sqrt(1 / 400), rel=0.1)
    assert model.init(np.random.default_rng(0), np.float32).dtype == np.float32
    assert model.head == slice(model.n_params - 401, model.n_params)
    assert Quadratic(3).init(np.random.default_rng(0)).shape == (3,)


def test_models_can_be_pickled():
    for model in [*MODELS, Quadratic(2)]:
        assert repr(pickle.loads(pickle.dumps(model))) == repr(model)


def test_divergence_is_a_result_without_a_warning(recwarn):
    model = MLP((1, 3, 1))
    x, y = np.ones((1, 2, 1)), np.ones((1, 2, 1))
    for value in (1e200, np.inf, np.nan):
        theta = np.full(10, value)
        assert not np.isfinite(model.loss(theta, x, y)).any()
        model.grad(theta, x, y), model.hvp(theta, theta, x, y)
    assert not recwarn.list


@pytest.mark.parametrize("arguments, message", [
    (dict(sizes=(1,)), "sizes must be"),
    (dict(sizes=(1, 0)), "sizes must be"),
    (dict(sizes=(1, 2.5)), "sizes must be"),
    (dict(sizes=(1, 2), activation="gelu"), "activation must be"),
    (dict(sizes=(1, 2), criterion="hinge"), "criterion must be"),
    (dict(sizes=(1, 1), criterion="cross-entropy"), "sizes must end"),
])
def test_bad_models_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        MLP(**arguments)


@pytest.mark.parametrize("change, message", [
    (dict(theta=np.ones(9)), "theta must have a last axis of length 10"),
    (dict(theta=np.float64(1)), "theta must have"),
    (dict(theta=np.ones((5, 10))), "theta of shape .* does not go with x"),
    (dict(v=np.ones(9)), "v must have a last axis of length 10"),
    (dict(v=np.ones((5, 10))), "v of shape .* does not go with x"),
    (dict(x=np.ones((2, 4, 2))), "x must have shape"),
    (dict(x=np.ones((2, 0, 1)), y=np.ones((2, 0, 1))), "x must have shape"),
    (dict(x=np.full((2, 4, 1), np.nan)), "x must hold finite"),
    (dict(x="text"), "x must be an array"),
    (dict(y=np.ones((2, 4))), "y must have shape"),
    (dict(y=np.ones((2, 3, 1))), "y must have shape"),
    (dict(y=np.full((2, 4, 1), np.inf)), "y must hold finite"),
])
def test_bad_data_are_refused(change, message):
    arguments = dict(theta=np.ones(10), v=np.ones(10), x=np.ones((2, 4, 1)), y=np.ones((2, 4, 1))) | change
    with pytest.raises(ValueError, match=f"^{message}"):
        MLP((1, 3, 1)).hvp(**arguments)


def test_large_finite_data_are_not_mistaken_for_infinite_ones():
    x = np.full((1, 2, 1), 1e30, np.float32)  # its sum of squares overflows
    assert np.isfinite(linear_regression(1).predict(np.ones(2, np.float32), x)).all()


@pytest.mark.parametrize("y", [np.full((1, 2), 4), np.full((1, 2), -1), np.full((1, 2), 0.5)])
def test_classes_that_do_not_exist_are_refused(y):
    with pytest.raises(ValueError, match="^y must hold class numbers"):
        logistic_regression(1, 4).loss(np.zeros(8), np.ones((1, 2, 1)), y)


@pytest.mark.parametrize("arguments, message", [
    (dict(x=np.ones((1, 2, 3))), "x must hold the matrices A"),
    (dict(x=np.array([[[1.0, 2.0], [0.0, 1.0]]])), "x must hold symmetric"),
    (dict(y=np.ones((1, 3))), "y must hold the minima c"),
    (dict(theta=np.ones(3)), "theta must have"),
])
def test_bad_quadratics_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Quadratic(2).loss(**(dict(theta=np.ones(2), x=np.eye(2)[None], y=np.ones((1, 2))) | arguments))
    with pytest.raises(ValueError, match="^d must be"):
        Quadratic(0)


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_features_are_what_the_head_makes_outputs_of(model):
    theta, _, x, _ = problem(model, np.random.default_rng(8))
    W, b = model.unflatten(theta)[-1]
    z = model.features(theta, x) @ W + b[..., None, :]
    expected = z if model.criterion == "squared" else np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(model.predict(theta, x), expected, rtol=1e-12)


def test_a_new_head_leaves_the_body():
    model = MLP((3, 6, 4), criterion="cross-entropy")
    theta, _, x, _ = problem(model, np.random.default_rng(8))
    fresh, start = model.with_new_head(theta, 2)
    assert fresh.sizes == (3, 6, 2) and fresh.criterion == "cross-entropy" and start.shape == (3, fresh.n_params)
    np.testing.assert_array_equal(fresh.features(start, x), model.features(theta, x))
    np.testing.assert_array_equal(fresh.predict(start, x), 0.5)
    assert not start[:, fresh.head].any() and fresh.with_new_head(start.astype(np.float32), 3)[1].dtype == np.float32


def test_the_sharpness_is_the_largest_eigenvalue_of_the_hessian():
    model, rng = MLP((4, 3, 5), "tanh", "cross-entropy"), np.random.default_rng(0)
    theta, x, y = model.init(rng), rng.normal(size=(2, 6, 4)), rng.integers(5, size=(2, 6))
    each = np.array([model.hvp(theta, e, x, y) for e in np.eye(model.n_params)])
    for only in (slice(None), model.head):
        eigenvalues = [np.linalg.eigvalsh(each[only, i][:, only]) for i in range(2)]
        largest = [w[np.abs(w).argmax()] for w in eigenvalues]
        np.testing.assert_allclose(sharpness(model, theta, x, y, only, n_iters=2000), largest, rtol=1e-5)
    with pytest.raises(ValueError, match="n_iters"):
        sharpness(model, theta, x, y, n_iters=0)
