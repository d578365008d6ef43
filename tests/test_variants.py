"""CAVIA and MAML++'s stabilisers: against HIPS autograd on the definitions, and as the special cases that they contain."""

from functools import partial

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from conftest import ROOT
from metacalc import MLP, Sinusoids, adapt, evaluate, finite_difference, meta_sgd, meta_train, studies, with_rates
from metacalc.course.learned import BETWEEN, CONTENDERS, EVEN, LAST, train_on_waves
from metacalc.meta import Learner
from metacalc.models import Quadratic
from metacalc.tasks import Quadratics
from metacalc.variants import Stepwise, WithContext, cavia, stabilised
from test_meta import NETS, close, one_loss, problem

SMALL = [NETS[1], NETS[2]]


def wide(model, n_context):
    """The paper's form of the net: the context as further inputs."""
    return MLP((model.sizes[0] + n_context, *model.sizes[1:]), model.activation, model.criterion)


def as_inputs(model, q, theta):
    """θ of WithContext in that form: the rows of B come below those of W_1."""
    p, m, h = model.n_params, model.sizes[0], model.sizes[1]
    return anp.concatenate([theta[:m * h], theta[p:p + q * h], theta[m * h:p]])


@pytest.mark.parametrize("net", SMALL, ids=repr)
@pytest.mark.parametrize("k", [1, 3])
def test_cavia_is_the_paper_s_net_whose_further_inputs_adapt(net, k):
    q, alpha = 2, 0.3
    model = WithContext(net, q)
    _, batch = problem(net, 3)
    rng = np.random.default_rng(k)
    theta = model.init(rng) + 0.2 * rng.normal(size=model.n_params)
    theta[model.context] = 0
    big = wide(net, q)

    def loss(theta, z, x, y):
        inputs = anp.concatenate([x, anp.ones((len(x), 1)) * z], axis=1)
        return one_loss(anp, big, as_inputs(net, q, theta), inputs, y)

    def meta_loss(theta):
        total = 0.0
        for t in range(len(batch)):
            z = anp.zeros(q)
            for _ in range(k):
                z = z - alpha * autograd.grad(loss, 1)(theta, z, batch.x_support[t], batch.y_support[t])
            total = total + loss(theta, z, batch.x_query[t], batch.y_query[t])
        return total / len(batch)

    value, gradient = cavia(model, theta, batch, alpha, k)
    close(value, meta_loss(theta))
    close(gradient, autograd.grad(meta_loss)(theta))
    assert not gradient[model.context].any()
    table = np.stack([theta, theta + 0.1])
    close(cavia(model, table, batch, alpha, k)[1][0], gradient)


@pytest.mark.parametrize("net", SMALL, ids=repr)
def test_the_net_with_a_context_has_its_gradient_and_its_hessian(net):
    model = WithContext(net, 3)
    _, batch = problem(net, 4)
    rng = np.random.default_rng(5)
    theta, v = rng.normal(size=(4, model.n_params)), rng.normal(size=model.n_params)
    x, y = batch.x_support, batch.y_support
    loss_of = lambda t: model.loss(t, x, y)
    slopes = [(loss_of(theta + 1e-6 * e) - loss_of(theta - 1e-6 * e)) / 2e-6 for e in np.eye(model.n_params)]
    numeric = np.stack(slopes, axis=-1)
    close(model.grad(theta, x, y), numeric, 1e-6)
    along = (model.grad(theta + 1e-6 * v, x, y) - model.grad(theta - 1e-6 * v, x, y)) / 2e-6
    close(model.hvp(theta, v, x, y), along, 1e-6)
    assert model.predict(theta, x).shape == net.predict(net.init(rng), x).shape


def test_a_start_with_a_context_keeps_its_precision_and_the_learner_moves_the_context_only():
    model = WithContext(MLP((1, 4, 1)), 2)
    theta = model.init(np.random.default_rng(0), np.float32)
    assert theta.dtype == np.float32 and not theta[model.context].any()
    learner = Learner.of(cavia, model, theta, alpha=0.1)
    batch = Sinusoids(dtype=np.float32).sample(np.random.default_rng(1), 3)
    path = learner.adapt(batch.x_support, batch.y_support, 2)
    assert path.dtype == np.float32 and (path[..., :-2] == theta[:-2]).all() and path[-1, :, -2:].any()
    run = meta_train(partial(cavia, alpha=0.1), model, Sinusoids(), 3, progress=False)
    assert run.learner.only == model.context
    assert evaluate(run.learner, Sinusoids(), n_tasks=5, steps=(0, 1)).mean.shape == (2,)


@pytest.mark.parametrize("net, gain", [(MLP((1, 400, 1)), 2), (MLP((1, 400, 1), "tanh"), 1), (MLP((1, 400)), 1)])
def test_weights_of_the_context_are_drawn_as_those_of_inputs(net, gain):
    model = WithContext(net, 9)
    theta = model.init(np.random.default_rng(0))
    B = theta[net.n_params:model.context.start]
    assert B.size == 9 * 400 and abs(B.std() - np.sqrt(gain / 9)) < 0.01
    np.testing.assert_array_equal(theta[model.context], 0)


def test_the_losses_of_the_inner_steps_are_averaged():
    assert np.allclose([sum(EVEN), sum(BETWEEN), sum(LAST)], 1) and np.ptp(EVEN) == 0 and LAST[-1] == 1


@pytest.mark.parametrize("model", SMALL, ids=repr)
@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize("second_order", [True, False])
def test_stabilised_agrees_with_hips_autograd(model, sets, second_order):
    theta, batch = problem(model, 2)
    rng, k, p, weights = np.random.default_rng(6), 3, model.n_params, [0.2, 0.0, 0.7]
    full = np.concatenate([theta, rng.uniform(-0.05, 0.2, sets * p)])

    def meta_loss(full):
        total, rates = 0.0, full[p:].reshape((sets, p))
        for t in range(len(batch)):
            phi = full[:p]
            for j in range(k):
                g = autograd.grad(lambda q: one_loss(anp, model, q, batch.x_support[t], batch.y_support[t]))(phi)
                g = g if second_order else getattr(g, "_value", g)  # its dependence on φ cut off
                phi = phi - rates[min(j, sets - 1)] * g
                total = total + weights[j] * one_loss(anp, model, phi, batch.x_query[t], batch.y_query[t])
        return total / len(batch)

    loss, gradient = stabilised(model, full, batch, k, weights, second_order)
    close(loss, meta_loss(full))
    close(gradient, autograd.grad(meta_loss)(full))
    tables = stabilised(model, np.stack([full, 1.1 * full]), batch, k, weights, second_order)
    close(tables[1][0], gradient)


@pytest.mark.parametrize("k", [1, 4])
def test_without_its_stabilisers_it_is_meta_sgd(k):
    theta, batch = problem(NETS[1], 2)
    full = with_rates(theta, 0.05)
    for one, other in zip(stabilised(NETS[1], full, batch, k), meta_sgd(NETS[1], full, batch, k)):
        close(one, other)


def test_a_stepwise_learner_takes_its_rates_in_turn_and_keeps_the_last():
    batch = Quadratics(2).sample(np.random.default_rng(0), 3)
    theta, rates = np.array([1.0, -2.0]), np.array([[0.1, 0.2], [0.3, 0.4]])
    path = Stepwise(Quadratic(2), np.concatenate([theta, *rates])).adapt(batch.x_support, batch.y_support, 4)
    phi = np.tile(theta, (3, 1))
    for j in range(5):
        np.testing.assert_allclose(path[j], phi)
        phi = phi - rates[min(j, 1)] * Quadratic(2).grad(phi, batch.x_support, batch.y_support)
    shared = Stepwise(Quadratic(2), with_rates(theta, 0.1)).adapt(batch.x_support, batch.y_support, 2)
    np.testing.assert_allclose(shared, adapt(Quadratic(2), theta, batch.x_support, batch.y_support, 0.1, 2))


NET = WithContext(MLP((1, 2, 1)), 1)
WAVES = Sinusoids().sample(np.random.default_rng(0), 2)


@pytest.mark.parametrize("call, message", [
    (lambda: WithContext(3, 1), "net must be an MLP"), (lambda: WithContext(MLP((1, 1)), 0), "n_context must be"),
    (lambda: NET.init(0), "rng must be"),
    (lambda: NET.loss(np.zeros(3), [[0.0]], [[0.0]]), "theta must have a last axis of length"),
    (lambda: NET.hvp(NET.init(np.random.default_rng(0)), np.zeros(2), [[0.0]], [[0.0]]), "v must have a last axis"),
    (lambda: cavia(MLP((1, 1)), np.zeros(2), WAVES, 0.1), "model must be a net WithContext"),
    (lambda: cavia(NET, np.zeros(NET.n_params), WAVES, -0.1), "alpha must be"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(2), WAVES, 3), "theta must have a last axis of length 4 or 8"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(6), WAVES, 3), "theta must have a last axis of length 4 or 8"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(5), WAVES, 3), "theta must have a last axis"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(4), WAVES, 0), "k must be"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(4), WAVES, 2, weights=[1.0]), "weights must be 2 numbers"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(4), WAVES, 2, weights=[1.0, -1.0]), "weights must be 2 numbers"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(4), WAVES, 2, weights=[0.0, 0.0]), "not all 0"),
    (lambda: stabilised(MLP((1, 1)), np.zeros(4), 3, 2), "batch must be a Batch"),
    (lambda: Stepwise(MLP((1, 1)), np.zeros(2)).adapt([[[1.0]]], [[[1.0]]]), "theta must have a last axis of length 2 times")])
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the page's study -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", list(CONTENDERS))
def test_a_contender_trains_and_adapts_as_the_study_says(name):
    contender = CONTENDERS[name]
    validated, learner = train_on_waves(name, 0, contender.rates[0], budget=250, looks=2)
    again, _ = train_on_waves(name, 0, contender.rates[0], budget=250, looks=2)
    assert validated == again and 0.5 < validated
    assert isinstance(learner, Stepwise) == bool(contender.sets)
    assert learner.theta.size == contender.model.n_params * (1 + contender.sets)


def test_the_budget_counts_gradients_as_they_are_asked_for():
    """A phase's price: gradients of the inner steps and on the query set, and two for each Hessian-vector product."""
    for name in ("Meta-SGD, k = 5", "+ multi-step loss", "+ first order first"):
        for method, cost in CONTENDERS[name].phases:
            asked = [0, 0]

            class Counting(MLP):
                def linearize(self, theta, x, y):
                    asked[0] += 1  # noqa: B023 (used within the turn of the loop)
                    gradient, hessian, loss = super().linearize(theta, x, y)

                    def counted(v):
                        asked[1] += 1  # noqa: B023
                        return hessian(v)

                    return gradient, counted, loss

            model = Counting((1, 3, 1))
            method(model, with_rates(model.init(np.random.default_rng(0)), 0.01), WAVES)
            assert asked[0] + 2 * asked[1] == cost, name


def test_the_stored_results_hold_what_is_compared():
    settings, stored = studies.load(ROOT / "chapters/results/learned.json")
    assert settings["contenders"] == {name: [list(c.rates), c.sets] for name, c in CONTENDERS.items()}
    for name, contender in CONTENDERS.items():
        def score(alpha, eta):
            return stored[f"tuning/{name}/{alpha}/{eta}"]  # noqa: B023 (used within the turn of the loop)

        eta = min(settings["etas"], key=lambda eta: score(contender.rates[1], eta))
        alpha = min(contender.rates, key=lambda alpha: score(alpha, eta))  # noqa: B023
        for seed in settings["seeds"]:
            run = stored[f"waves/{name}/{seed}"]
            assert (run["alpha"], run["eta"]) == (alpha, eta) and len(run["median"]) == len(settings["steps"])


def test_finite_differences_see_the_multi_step_loss():
    theta, batch = problem(NETS[1], 8)
    full, settings = with_rates(theta, 0.05), dict(k=2, weights=[0.5, 0.5])
    close(stabilised(NETS[1], full, batch, **settings)[1],
          finite_difference(lambda t: stabilised(NETS[1], t, batch, **settings)[0], full, h=1e-5), 1e-6)
