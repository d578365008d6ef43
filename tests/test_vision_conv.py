"""The study with a convolutional net: the net against PyTorch's own layers and finite differences, a short run, the results."""

import copy
import sys

import numpy as np
import pytest

from conftest import ROOT, optional
from metacalc import Batch, Learner, finite_difference
from metacalc.course.vision import load_scale
from metacalc.meta import fomaml, joint, maml
from metacalc.prototypes import Prototypes, protonet
from metacalc.studies import Results
from test_meta import close
from test_vision_scale import KNOWN, SCALE, short

torch = optional("torch")
sys.path.insert(0, str(ROOT / "studies"))
import vision_conv as study  # noqa: E402

NET = study.ConvNet(10, (3, 4), 3)
CONV = load_scale(ROOT / "chapters/results/vision_conv.json")


def start(seed=1, net=NET):
    rng = np.random.default_rng(seed)
    return net.init(rng) + 0.1 * rng.normal(size=net.n_params)


def tasks(seed=0, n_tasks=4):
    rng = np.random.default_rng(seed)
    return Batch(rng.random((n_tasks, 6, 100)), np.tile([0, 1, 2], (n_tasks, 2)),
                 rng.random((n_tasks, 9, 100)), np.tile([0, 1, 2], (n_tasks, 3)))


def layers(net, theta):
    """The same net of PyTorch's own layers."""
    blocks, (*body, (start, middle, end, m, n)) = [], net.layers
    for first, second, last, depth, width in body:
        conv = torch.nn.Conv2d(depth // 9, width, 3, stride=2, padding=1, bias=False, dtype=torch.float64)
        norm = torch.nn.BatchNorm2d(width, track_running_stats=False, dtype=torch.float64)
        filters = theta[first:second].reshape(3, 3, depth // 9, width)
        for parameter, values in zip((conv.weight, norm.weight, norm.bias),
                                     (filters.transpose(3, 2, 0, 1), *theta[second:last].reshape(2, width))):
            parameter.data = torch.from_numpy(values.copy())
        blocks += [conv, norm, torch.nn.ReLU()]
    head = torch.nn.Linear(m, n, dtype=torch.float64)
    head.weight.data = torch.from_numpy(theta[start:middle].reshape(m, n).T)
    head.bias.data = torch.from_numpy(theta[middle:end])
    body = torch.nn.Sequential(*blocks, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return body, torch.nn.Sequential(body, head)


def test_the_net_is_that_of_pytorch_s_layers_task_by_task():
    theta, batch = start(), tasks()
    body, whole = layers(NET, theta)
    for one in range(len(batch)):
        x, y = batch.x_query[one], batch.y_query[one]
        images = torch.from_numpy(x.reshape(-1, 1, 10, 10))
        loss = torch.nn.functional.cross_entropy(whole(images), torch.from_numpy(y))
        close(NET.features(theta, batch.x_query)[one], body(images).detach().numpy())
        close(NET.predict(theta, batch.x_query)[one], whole(images).softmax(-1).detach().numpy())
        close(NET.loss(theta, batch.x_query, batch.y_query)[one], loss.item())
        loss.backward()
        slope = body[0].weight.grad.numpy().transpose(2, 3, 1, 0).ravel()
        close(NET.grad(theta, batch.x_query, batch.y_query)[one][:slope.size], slope)
        whole.zero_grad()


def test_tasks_with_a_theta_of_their_own_are_worked_out_together():
    batch = tasks()
    thetas = np.stack([start(seed) for seed in range(4)])
    for function in (NET.features, NET.predict):
        close(function(thetas, batch.x_query), [function(t, x[None])[0] for t, x in zip(thetas, batch.x_query)])
    close(NET.grad(thetas, batch.x_query, batch.y_query),
          [NET.grad(t, x[None], y[None])[0] for t, x, y in zip(thetas, batch.x_query, batch.y_query)])


# A step is as small as rounding allows: where a ReLU has its kink, in the path of the inner steps too, the loss has one.
@pytest.mark.parametrize("method", [joint, protonet, lambda *args: maml(*args, 0.1, 1), lambda *args: maml(*args, 0.05, 2)],
                         ids=["joint", "protonet", "maml", "maml, two steps"])
def test_gradients_are_slopes(method):
    theta, batch = start(), tasks()
    directions = np.random.default_rng(5).normal(size=(6, NET.n_params))
    slopes = [finite_difference(lambda t, d=d: method(NET, theta + t[0] * d, batch)[0], np.zeros(1), h=1e-8)[0]
              for d in directions]
    close(directions @ method(NET, theta, batch)[1], slopes, 1e-5)


def test_the_fast_ways_are_the_plain_ones():
    theta, batch = start(), tasks()
    for method in (maml, fomaml):
        for fast, plain in zip(method(NET, theta, batch, 0.1, 2), method(NET, theta, batch, 0.1, 2, fast=False)):
            close(fast, plain)
    phi = Learner(NET, theta, 0.1).adapt(batch.x_support, batch.y_support, 2)
    close(maml(NET, theta, batch, 0.1, 2)[0], NET.loss(phi[-1], batch.x_query, batch.y_query).mean())
    p = NET.predict(Prototypes(NET, theta).adapt(batch.x_support, batch.y_support)[-1], batch.x_query)
    close(-np.log(np.take_along_axis(p, batch.y_query[..., None], -1)).mean(), protonet(NET, theta, batch)[0])


def test_joint_training_sees_a_task_s_images_together():
    theta, batch = start(), tasks()
    both = Batch(batch.x_support, batch.y_support, *(np.concatenate(pair, axis=1) for pair in (
        (batch.x_support, batch.x_query), (batch.y_support, batch.y_query))))
    loss, gradient = joint(NET, theta, batch)
    close(loss, NET.loss(theta, both.x_query, both.y_query).mean())
    close(gradient, NET.grad(theta, both.x_query, both.y_query).mean(axis=0))


def test_a_new_head_keeps_the_features():
    fresh, theta = NET.with_new_head(start(), 5)
    assert theta.size == fresh.n_params and not theta[fresh.head].any()
    close(fresh.features(theta, tasks().x_query), NET.features(start(), tasks().x_query))
    close(fresh.predict(theta, tasks().x_query), 0.2)


def test_a_short_run_has_every_result(tmp_path):
    settings = copy.deepcopy(study.SETTINGS) | {name: short()[name] for name in (
        "size", "n_validation", "n_query", "validation", "test", "steps", "scratch_steps")}
    settings |= {"hidden": [4, 4], "n_iters": dict.fromkeys(study.METHODS, 8),
                 "long": study.SETTINGS["long"] | {"looks": {"1": [12]}}}
    results = Results(tmp_path / "study.json", settings)
    study.vision_scale.run(settings, results, KNOWN, study.Fold)
    results.finish(tmp_path / "results/study.json")
    scale = load_scale(tmp_path / "results/study.json")
    assert scale.methods == ["ProtoNet", "prototypes", "joint", "MAML", "scratch", "pixels"]
    assert scale.budgets("MAML", 1) == scale.budgets("joint", 1) == [2, 4, 8, 12] and scale.budgets("ProtoNet", 1) == [2, 4, 8]
    assert all(0 <= scale.accuracy(name, 1).min() and scale.accuracy(name, 1).max() <= 1 for name in scale.methods)


def test_what_is_stored_is_whole_and_of_the_same_splits():
    assert CONV.settings == study.SETTINGS and CONV.folds == SCALE.folds
    assert CONV.methods == ["ProtoNet", "prototypes", "joint", "MAML", "scratch", "pixels"]
    assert (CONV.accuracy("pixels", 1) == SCALE.accuracy("pixels", 1)).all()
    assert CONV.results["data"] == SCALE.results["data"]
    for i in range(3):
        for name in study.METHODS:
            found = CONV.results[f"{i}/1/{name}/settings"]
            assert found["best"] in [run["setting"] for run in found["tried"]] and len(found["tried"]) == 4
