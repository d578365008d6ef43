"""Prototypical networks: against HIPS autograd and PyTorch on the definition, and a case that SymPy works out."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sympy as sp

from conftest import optional
from metacalc import MLP, Batch, Learner, evaluate, finite_difference, meta_train
from metacalc.prototypes import Prototypes, protonet
from metacalc.tasks import FewShotClassification, nearest_mean
from metacalc.training import in_parallel
from test_meta import close

NETS = [MLP((4, 6, 5, 3), "relu", "cross-entropy"), MLP((4, 5, 3), "tanh", "cross-entropy"),
        MLP((4, 6, 4, 3, 3), "tanh", "cross-entropy")]


def episodes(seed=0, n_way=3, k_shots=2, n_query=4, n_tasks=5, dtype=float):
    """Tasks whose classes overlap, so that no probability is 0 or 1."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(8, 1, 4)) + rng.normal(size=(8, 10, 4))).reshape(80, 4).astype(dtype)
    return FewShotClassification(x, np.repeat(np.arange(8), 10), n_way, k_shots, n_query).sample(rng, n_tasks)


def start(net, seed=1):
    rng = np.random.default_rng(seed)
    return net.init(rng) + 0.1 * rng.normal(size=net.n_params)


def defined(xp, net, theta, batch):
    """Snell et al. 2017, algorithm 1: log-softmax over −‖f − c‖², the means taken one by one, task by task."""
    total = 0.0
    for t in range(len(batch)):
        def features(x):
            for start, middle, end, m, n in net.layers[:-1]:
                x = x @ xp.reshape(theta[start:middle], (m, n)) + theta[middle:end]
                x = xp.maximum(x, 0 * x) if net.activation == "relu" else xp.tanh(x)
            return x

        seen, asked = features(batch.x_support[t]), features(batch.x_query[t])
        n_way = int(max(batch.y_support[t])) + 1
        rows = [[i for i, y in enumerate(batch.y_support[t]) if y == c] for c in range(n_way)]
        means = [sum(seen[i] for i in own) / len(own) for own in rows]
        for f, y in zip(asked, batch.y_query[t]):
            distances = [((f - c) ** 2).sum() for c in means]
            total = total + distances[int(y)] + xp.log(sum(xp.exp(-d) for d in distances))
    return total / batch.y_query.size


@pytest.mark.parametrize("net", NETS, ids=repr)
@pytest.mark.parametrize("n_way, k_shots", [(3, 1), (3, 2), (5, 3)])
def test_loss_and_gradient_are_those_of_the_definition(net, n_way, k_shots):
    batch, theta = episodes(n_way + k_shots, n_way, k_shots), start(net)
    loss, gradient = protonet(net, theta, batch)
    close(loss, defined(anp, net, theta, batch))
    close(gradient, autograd.grad(lambda theta: defined(anp, net, theta, batch))(theta))
    close(gradient, finite_difference(lambda theta: protonet(net, theta, batch)[0], theta), 1e-6)
    assert not gradient[net.head].any() and gradient[:net.head.start].any()


def test_pytorch_agrees():
    torch = optional("torch")
    net, batch = NETS[0], episodes(4)
    theta = torch.tensor(start(net), requires_grad=True)
    as_tensors = Batch.__new__(Batch)
    for name in ("x_support", "x_query", "y_support", "y_query"):
        object.__setattr__(as_tensors, name, getattr(batch, name) if name[0] == "y" else torch.tensor(getattr(batch, name)))

    class Namespace:
        reshape, maximum, tanh, exp, log = torch.reshape, torch.maximum, torch.tanh, torch.exp, torch.log

    loss = defined(Namespace, net, theta, as_tensors)
    loss.backward()
    own = protonet(net, theta.detach().numpy(), batch)
    close(own[0], loss.item())
    close(own[1], theta.grad.numpy())


def test_one_feature_has_the_closed_form_that_sympy_finds():
    """f(x) = tanh(wx + b), two classes: the loss is log(1 + exp(‖f − c_right‖² − ‖f − c_wrong‖²))."""
    w, b, one, two, query = sp.symbols("w b one two query", real=True)
    f = lambda x: sp.tanh(w * x + b)
    loss = sp.log(1 + sp.exp((f(query) - f(two)) ** 2 - (f(query) - f(one)) ** 2))
    at = {w: 0.7, b: -0.2, one: 1.3, two: -0.4, query: 0.1}
    net = MLP((1, 1, 2), "tanh", "cross-entropy")
    batch = Batch(np.array([[[1.3], [-0.4]]]), np.array([[0, 1]]), np.array([[[0.1]]]), np.array([[1]]))
    theta = np.array([0.7, -0.2, 0.0, 0.0, 0.0, 0.0])
    value, gradient = protonet(net, theta, batch)
    close(value, float(loss.subs(at)))
    close(gradient, [*(float(loss.diff(s).subs(at)) for s in (w, b)), 0, 0, 0, 0])


def test_the_learner_finds_the_nearest_mean_of_the_features():
    """`nearest_mean` knows distances, the learner a linear head."""
    for net in NETS:
        batch, theta = episodes(2, k_shots=3), start(net)
        learner = Learner.of(protonet, net, theta)
        assert type(learner) is Prototypes
        path = learner.adapt(batch.x_support, batch.y_support, k=3)
        assert path.shape == (4, 5, net.n_params) and (path[1:, :, :net.head.start] == theta[:net.head.start]).all()
        assert not path[0][:, net.head].any() and (path[2] == path[1]).all() and (path[3] == path[1]).all()
        p = net.predict(path[1], batch.x_query)
        expected = nearest_mean(net.features(theta, batch.x_support), batch.y_support, net.features(theta, batch.x_query))
        np.testing.assert_array_equal(p.argmax(axis=-1), expected)
        picked = np.take_along_axis(p, batch.y_query[..., None], axis=-1)
        close(-np.log(picked).mean(), protonet(net, theta, batch)[0])
        assert len(list(learner.iterates(batch.x_support, batch.y_support, 0))) == 1


def test_a_table_of_parameters_is_worked_out_in_one_call():
    net, batch = NETS[0], episodes(3)
    table = np.stack([start(net, seed) for seed in range(6)]).reshape(2, 3, -1)
    loss, gradient = protonet(net, table, batch)
    assert loss.shape == (2, 3) and gradient.shape == table.shape
    phi = Prototypes(net, table).adapt(batch.x_support, batch.y_support)
    assert phi.shape == (2, 2, 3, 5, net.n_params)
    for i in np.ndindex(2, 3):
        one = protonet(net, table[i], batch)
        close(loss[i], one[0])
        close(gradient[i], one[1])
        close(phi[1][i], Prototypes(net, table[i]).adapt(batch.x_support, batch.y_support)[1])


def test_it_trains_in_single_precision_also_with_more_classes_than_the_net_has_outputs():
    rng, net = np.random.default_rng(0), MLP((4, 12, 8, 3), criterion="cross-entropy")
    centres = np.zeros((30, 4))
    centres[:, :2] = rng.normal(size=(30, 2))  # the other two coordinates are noise, and large
    x = (centres[:, None] + rng.normal(size=(30, 12, 4)) * [0.2, 0.2, 3, 3]).reshape(360, 4).astype(np.float32)
    labels = np.repeat(np.arange(30), 12)
    train, test = FewShotClassification(x, labels, 3, 1, 5).split(np.arange(10))
    wide = FewShotClassification(train.x, train.labels, 8, 1, 5)
    run = meta_train(protonet, net, wide, 300, eta=0.01, n_tasks=4, dtype=np.float32, progress=False)
    assert run.theta.dtype == np.float32 and type(run.learner) is Prototypes
    before, after = (evaluate(learner, test, steps=(0, 1), n_tasks=200, metric="accuracy").mean
                     for learner in (Prototypes(net, net.init(np.random.default_rng(0))), run.learner))
    assert abs(after[0] - 1 / 3) < 0.02 and after[1] > before[1] + 0.1


def test_its_sum_over_tasks_can_be_shared_out():
    from concurrent.futures import ThreadPoolExecutor

    net, batch = NETS[1], episodes(6, n_tasks=7)
    with ThreadPoolExecutor(2) as pool:
        shared = in_parallel(protonet, pool, 3)(net, start(net), batch)
    for one, other in zip(shared, protonet(net, start(net), batch)):
        close(one, other)


LACKS = Batch(np.ones((1, 2, 4)), np.array([[0, 2]]), np.ones((1, 1, 4)), np.array([[0]]))
ODD = Batch(np.ones((1, 2, 4)), np.array([[0, 1]]), np.ones((1, 1, 4)), np.array([[2]]))
FLOATS = Batch(np.ones((1, 2, 4)), np.array([[0.0, 1.0]]), np.ones((1, 1, 4)), np.array([[1]]))


@pytest.mark.parametrize("make, message", [
    (lambda: protonet(MLP((4, 3), criterion="cross-entropy"), np.zeros(15), episodes()),
     "model must be a classifier with a hidden layer"),
    (lambda: protonet(MLP((4, 3, 3)), np.zeros(27), episodes()), "model must be a classifier with a hidden layer"),
    (lambda: Prototypes(MLP((4, 3, 3)), np.zeros(27)).adapt(np.ones((1, 1, 4)), [[0]]),
     "model must be a classifier with a hidden layer"),
    (lambda: protonet(NETS[1], start(NETS[1]), None), "batch must be"),
    (lambda: protonet(NETS[1], np.zeros(3), episodes()), "theta must have a last axis"),
    (lambda: protonet(NETS[1], start(NETS[1]), LACKS), "y_support must have an example of each of 3 classes"),
    (lambda: protonet(NETS[1], start(NETS[1]), ODD), "y must hold class numbers, integers from 0 to 1"),
    (lambda: protonet(NETS[1], start(NETS[1]), FLOATS), "y must hold class numbers"),
    (lambda: Prototypes(NETS[1], start(NETS[1])).adapt(np.ones((1, 2, 4)), [[0, 1]]), "y_support must have an example of each"),
    (lambda: Prototypes(NETS[1], start(NETS[1])).adapt(np.ones((1, 4, 4)), [[0, 1, 2, 3]]), "y must hold class numbers"),
])
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
