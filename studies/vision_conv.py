"""The thirty alphabets with the convolutional net that the field compares by: writes chapters/results/vision_conv.json.

The splits, the tasks, the learners and every choice are those of `vision_scale.py`; the net alone is another, and PyTorch
works out its gradients, on one thread. That takes the extra `frameworks`, and hours, so there is one shot and one seed.
"""

import numpy as np
import torch
import torch.nn.functional as F
import vision_scale
from torch.autograd import grad

from metacalc.checks import precision
from metacalc.data.characters import omniglot_background
from metacalc.studies import Results

METHODS = ["MAML", "joint", "ProtoNet"]
SETTINGS = vision_scale.SETTINGS | {
    "hidden": [64] * 4, "shots": [1], "seeds": [0],
    "long": {"methods": ["MAML", "joint"], "looks": {"1": [4000]}, "slower": None},
    "inner": {name: vision_scale.SETTINGS["inner"][name] for name in METHODS},
    "n_iters": {name: vision_scale.SETTINGS["n_iters"][name] for name in METHODS}}


class ConvNet:
    """Blocks of 3 × 3 filters with stride 2, batch normalization and ReLU; the mean over the places; and a linear head.

    With four blocks of 64 filters it is the net of the MAML paper for Omniglot (Finn et al. 2017, section 5.2). A model as
    `metacalc.models` describes it. Mean and variance are those of the images that come together, a task's support set or its
    queries, in training and test alike, as in that paper: so what is said of a query depends on the others.

    Parameters
    ----------
    side : int
        Pixels along an edge of an image.
    filters : sequence of int
        In each block.
    n_classes : int
        Outputs of the head.
    """

    criterion = "cross-entropy"

    def __init__(self, side, filters, n_classes):
        self.side, self.filters, self.n_classes = side, tuple(filters), n_classes
        shapes = [(9 * m, n, 2 * n) for m, n in zip((1, *filters), filters)] + [(filters[-1], n_classes, n_classes)]
        ends = np.cumsum([m * n + extra for m, n, extra in shapes]).tolist()
        self.layers = [(start, start + m * n, end, m, n) for start, end, (m, n, _) in zip([0] + ends, ends, shapes)]
        self.n_params, self.head = ends[-1], slice(self.layers[-1][0], ends[-1])

    def __repr__(self):
        return f"ConvNet({self.side}, {self.filters}, {self.n_classes})"

    def init(self, rng, dtype=np.float64):
        """Filters normal with variance 2/fan-in and the head with 1/fan-in, as in an `MLP`; gains 1, all else 0."""
        theta = np.zeros(self.n_params, precision(dtype))
        for start, middle, _, m, n in self.layers:
            gain = 1 if start == self.head.start else 2
            theta[start:middle] = rng.normal(scale=np.sqrt(gain / m), size=m * n)
            theta[middle:middle + n] = gain - 1
        return theta

    def with_new_head(self, theta, n_classes):
        """The same body under a new head of zeros, and its θ."""
        fresh = ConvNet(self.side, self.filters, n_classes)
        return fresh, np.concatenate([theta[:self.head.start], np.zeros(fresh.n_params - fresh.head.start, theta.dtype)])

    def mapped(self, theta, x):
        """Features of x, shape (n_tasks, n, side²), by tensors θ of shape (p,) or (n_tasks, p): (n_tasks, n, filters)."""
        n_tasks, n = x.shape[:2]
        groups = theta.shape[0] if theta.ndim == 2 else 1  # with θ's of their own the tasks are groups of channels
        per = n_tasks // groups
        images = x.reshape(groups, per * n, self.side, self.side).transpose(0, 1)
        for start, middle, end, m, n_out in self.layers[:-1]:
            filters = theta[..., start:middle].reshape(groups, 3, 3, m // 9, n_out).permute(0, 4, 3, 1, 2)
            z = F.conv2d(images, filters.reshape(groups * n_out, m // 9, 3, 3), stride=2, padding=1, groups=groups)
            z = z.reshape(per, n, groups, n_out, *z.shape[-2:])
            variance, mean = torch.var_mean(z, (1, 4, 5), correction=0, keepdim=True)
            gain, shift = theta[..., middle:end].reshape(groups, 2, n_out, 1, 1).unbind(1)
            images = F.relu((z - mean) * torch.rsqrt(variance + 1e-5) * gain + shift).reshape(per * n, -1, *z.shape[-2:])
        return images.reshape(per, n, groups, n_out, -1).mean(-1).permute(2, 0, 1, 3).reshape(n_tasks, n, n_out)

    def logits(self, theta, x):
        """What the head makes of the features, shape (n_tasks, n, n_classes)."""
        start, middle, end, m, n = self.layers[-1]
        W = theta[..., start:middle].reshape(*theta.shape[:-1], m, n)
        return self.mapped(theta, x) @ W + theta[..., None, middle:end]

    def losses(self, theta, x, y):
        """The cross-entropy of each task."""
        return F.cross_entropy(self.logits(theta, x).transpose(1, 2), y, reduction="none").mean(-1)

    def features(self, theta, x):
        """As those of an `MLP`; NumPy in and out, as all that follows."""
        return self.asked(self.mapped, theta, x)

    def feature_map(self, theta, x):
        """As that of an `MLP`."""
        theta, (x,) = tensors(theta, x)
        theta.requires_grad_()
        features = self.mapped(theta, x)
        return features.detach().numpy(), lambda by: grad(features, theta, torch.from_numpy(by))[0].numpy()

    def predict(self, theta, x):
        """Class probabilities."""
        return self.asked(lambda theta, x: self.logits(theta, x).softmax(-1), theta, x)

    def loss(self, theta, x, y):
        """The cross-entropy of each task."""
        return self.asked(self.losses, theta, x, y)

    def grad(self, theta, x, y):
        """Its gradient: one for each task, also where they share θ."""
        theta, (x, y) = tensors(theta, x, y)
        theta = theta.expand(len(x), -1).clone().requires_grad_()
        return grad(self.losses(theta, x, y).sum(), theta)[0].numpy()

    def hvp(self, theta, v, x, y):
        """Its Hessian times v."""
        theta, (v, x, y) = tensors(theta, v, x, y)
        theta = theta.expand(len(x), -1).clone().requires_grad_()
        slope = grad(self.losses(theta, x, y).sum(), theta, create_graph=True)[0]
        return grad(slope, theta, v.expand_as(slope))[0].numpy()

    def meta_gradient(self, theta, batch, alpha, k, only=None, second_order=True):
        """`maml`, and `joint` with k = 0: PyTorch differentiates through the inner steps."""
        if only is not None or not isinstance(alpha, float):
            return None
        theta, (x, y, *queries) = tensors(theta, batch.x_support, batch.y_support, batch.x_query, batch.y_query)
        theta.requires_grad_()
        phi = theta.expand(len(x), -1) if k else theta
        for _ in range(k):
            phi = phi - alpha * grad(self.losses(phi, x, y).sum(), phi, create_graph=second_order)[0]
        loss = self.losses(phi, *queries).mean()
        return loss.item(), grad(loss, theta)[0].numpy()

    @torch.no_grad()
    def asked(self, function, theta, *data):
        """A function of tensors, asked with arrays."""
        theta, data = tensors(theta, *data)
        return function(theta, *data).numpy()


def tensors(theta, *data):
    """Arrays as tensors of θ's precision; class numbers as integers."""
    theta = np.ascontiguousarray(theta)
    kinds = [np.int64 if np.asarray(one).dtype.kind in "iu" else theta.dtype for one in data]
    return torch.from_numpy(theta), [torch.from_numpy(np.ascontiguousarray(one, kind)) for one, kind in zip(data, kinds)]


class Fold(vision_scale.Fold):
    """A split of `vision_scale.py` with another net."""

    def net(self, n_classes):
        """A classifier: what learns."""
        return ConvNet(self.settings["size"], self.settings["hidden"], n_classes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = Results(vision_scale.ROOT / ".studies/vision_conv.json", SETTINGS)
    vision_scale.run(SETTINGS, results, omniglot_background(SETTINGS["size"]), Fold)
    results.finish(vision_scale.ROOT / "chapters/results/vision_conv.json")
