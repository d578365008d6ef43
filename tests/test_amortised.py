"""The neural process: its gradient by autograd and finite differences, what its mean forgets, and its learner."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from metacalc import Batch, Sinusoids, evaluate, meta_train
from metacalc.amortised import AmortisedLearner, NeuralProcess, neural_process
from metacalc.tasks import VariedShots

SIGMA = {"tanh": anp.tanh, "relu": lambda z: anp.maximum(z, 0)}


def by_definition(model, theta, x, y, x_new):
    """The prediction for one task, written with nothing of the model but its sizes."""
    def net(part, theta, x):
        start = 0
        for l, (m, n) in enumerate(zip(part.sizes, part.sizes[1:])):
            W, b = theta[start:start + m * n].reshape(m, n), theta[start + m * n:start + m * n + n]
            x, start = anp.dot(x, W) + b, start + (m + 1) * n
            x = SIGMA[model.activation](x) if l < len(part.sizes) - 2 else x
        return x

    p = model.encoder.n_params
    code = anp.mean(net(model.encoder, theta[:p], np.concatenate([x, y], axis=1)), axis=0)
    return net(model.decoder, theta[p:], anp.concatenate([x_new, anp.tile(code, (len(x_new), 1))], axis=1))


def example(activation="tanh", d_in=1, d_out=1):
    rng = np.random.default_rng(0)
    model = NeuralProcess((5, 4), 3, d_in, d_out, activation)
    arrays = [rng.normal(size=(3, n, d)) for n, d in ((4, d_in), (4, d_out), (6, d_in), (6, d_out))]
    return model, model.init(rng) + 0.3 * rng.normal(size=model.n_params), Batch(*arrays)


@pytest.mark.parametrize("activation, d_in, d_out", [("tanh", 1, 1), ("tanh", 2, 3), ("relu", 1, 2)])
def test_loss_and_gradient_are_those_of_autograd(activation, d_in, d_out):
    model, theta, batch = example(activation, d_in, d_out)

    def meta_loss(theta):
        return sum(anp.mean((by_definition(model, theta, x, y, x_new) - y_new) ** 2) for x, y, x_new, y_new in zip(
            batch.x_support, batch.y_support, batch.x_query, batch.y_query)) / len(batch)

    loss, gradient = neural_process(model, theta, batch)
    assert np.isclose(loss, meta_loss(theta), rtol=1e-12)
    np.testing.assert_allclose(gradient, autograd.grad(meta_loss)(theta), rtol=1e-9, atol=1e-12)
    predicted = model.predict(theta, batch.x_support, batch.y_support, batch.x_query)
    for i in range(3):
        np.testing.assert_allclose(predicted[i], by_definition(
            model, theta, batch.x_support[i], batch.y_support[i], batch.x_query[i]), rtol=1e-10)
    v, h = np.random.default_rng(1).normal(size=theta.shape), 1e-6
    slope = (neural_process(model, theta + h * v, batch)[0] - neural_process(model, theta - h * v, batch)[0]) / (2 * h)
    assert np.isclose(gradient @ v, slope, rtol=1e-6)


def test_a_table_of_parameters_is_worked_out_in_one_call():
    model, theta, batch = example()
    table = np.stack([[theta, 2 * theta], [theta - 1, -theta], [0 * theta, theta + 0.1]])
    losses, gradients = neural_process(model, table, batch)
    assert losses.shape == (3, 2) and gradients.shape == table.shape
    for i in np.ndindex(3, 2):
        loss, gradient = neural_process(model, table[i], batch)
        assert np.isclose(losses[i], loss) and np.allclose(gradients[i], gradient)


def test_the_mean_forgets_order_and_number():
    model, theta, batch = example()
    x, y = batch.x_support, batch.y_support
    code = model.encode(theta, x, y)
    for order in ([3, 1, 0, 2], [0, 1, 2, 3, 0, 1, 2, 3]):
        np.testing.assert_allclose(model.encode(theta, x[:, order], y[:, order]), code, rtol=1e-12)
    assert not np.allclose(model.encode(theta, x[:, :3], y[:, :3]), code)


def test_its_learner_is_evaluated_like_others():
    model, theta, _ = example()
    learner, tasks = model.learner(theta), Sinusoids(noise=0.5)
    assert isinstance(learner, AmortisedLearner)
    result = evaluate(learner, tasks, steps=(0, 1, 3), shots=(2, 5), n_tasks=150, seed=3)
    for i, K in enumerate((2, 5)):
        batch = tasks.with_shots(K).sample(np.random.default_rng(3), 150)
        predicted = model.predict(theta, batch.x_support, batch.y_support, batch.x_query)
        blank = model.decode(theta, np.zeros((150, 3)), batch.x_query)
        for j, answer in ((0, blank), (1, predicted), (2, predicted)):
            assert np.isclose(result.mean[i, j], ((answer - batch.y_query) ** 2).mean(), rtol=1e-12)


def test_it_learns_and_keeps_precision():
    model = NeuralProcess((16,), 8)
    tasks = VariedShots(Sinusoids(noise=0.1, dtype=np.float32), (5, 10))
    run = meta_train(neural_process, model, tasks, 300, eta=0.005, dtype=np.float32, progress=False)
    assert run.theta.dtype == np.float32 and run.learner is None
    assert run.losses[-30:].mean() < 0.7 * run.losses[:10].mean()


def test_divergence_is_a_result():
    model, theta, batch = example()
    loss, gradient = neural_process(model, 1e200 * theta, batch)
    assert not np.isfinite(loss) and gradient.shape == theta.shape


def test_bad_arguments_are_named():
    model, theta, batch = example()
    x, y = batch.x_support, batch.y_support
    for named, call in (
            ("hidden", lambda: NeuralProcess(())), ("hidden", lambda: NeuralProcess((0,))),
            ("hidden", lambda: NeuralProcess(3)),
            ("n_code", lambda: NeuralProcess((3,), 0)), ("d_in", lambda: NeuralProcess(d_in=0)),
            ("d_out", lambda: NeuralProcess(d_out=0)), ("activation", lambda: NeuralProcess(activation="sine")),
            ("rng", lambda: model.init(0)), ("theta", lambda: model.encode(theta[1:], x, y)),
            ("theta", lambda: model.learner(theta[None])), ("x must", lambda: model.encode(theta, x[0], y)),
            ("y must", lambda: model.encode(theta, x, y[:, 1:])), ("code", lambda: model.decode(theta, np.zeros((2, 3)), x)),
            ("model", lambda: neural_process(None, theta, batch)), ("batch", lambda: neural_process(model, theta, None)),
            ("theta", lambda: neural_process(model, theta[:4], batch))):
        with pytest.raises(ValueError, match=named):
            call()
