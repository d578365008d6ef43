"""MAML on an `MLP`, exact and with any number of inner steps, arranged for speed.

A step on K examples changes a layer's weights W by a matrix of rank K:
    W_t = W + Σ_i a_i d_iᵀ,   d_i = −α ∂loss/∂z_i,
where a_i is the layer's input on support example i of task t. So its outputs for an input a' are
    a' W_t = a' W + Σ_i (a'·a_i) d_iᵀ:
one product with the W that all tasks share, and a correction through K scalar products. The way back needs the d'·d_i
in the same manner. And ∇L_query(φ_1) = Σ_j a'_j d'_jᵀ is such a sum too, so that its product with the Hessian needs the
very same scalar products, the other way round. This is `_LowRank`. Where the layer is small, the shots are many or
another step follows, it is less work to write down each task's weights: this is `_PerTask`. Layers that the inner loop
leaves alone are `_Frozen`. Without any step, what remains is joint training.
`metacalc.meta.maml(..., fast=False)` is the definition that the tests hold both to.

The bias is the last row of a layer's weights, as it is in θ; its input is a constant unit behind the others. Products
so small are done before NumPy has made an array for them, so `_Workspace` keeps all arrays and views.
"""

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from metacalc.arrays import Array, Entries

if TYPE_CHECKING:
    from metacalc.models import MLP
    from metacalc.tasks.base import Batch

__all__ = ["steps"]

_workspaces = threading.local()


def steps(model: "MLP", theta: Array, batch: "Batch", alpha: float, k: int, only: Entries | None,
          second_order: bool) -> tuple[Array, Array]:
    """Loss and gradient, as `metacalc.meta.maml` returns them; without `second_order` as `fomaml` does; k may be 0."""
    _, x_support, y_support = model.checked(theta, batch.x_support, batch.y_support)
    _, x_query, y_query = model.checked(theta, batch.x_query, batch.y_query)
    kept = k if second_order else min(k, 2)  # only the way back needs all the weights on the path
    w = _workspace(model, len(batch), x_support.shape[1], x_query.shape[1], k, kept, only is not None, theta.dtype)
    for layer, (start, _, end, m, n) in zip(w.layers, model.layers):
        layer.share(theta[start:end].reshape(m + 1, n))

    for j, support in enumerate(w.support):
        _forward(model, w, j, support, x_support)
        np.multiply(model.output_delta(support.z.tasks, y_support), -alpha, out=support.d[-1].tasks)
        _backward(w, j, support)
        for layer, a, d in zip(w.layers, support.a, support.d):
            layer.adapt(j, a, d)

    query = w.query
    _forward(model, w, k, query, x_query)
    z, y = query.z.rows, y_query.reshape(query.z.rows.shape)
    loss = model.output_loss(z, y)  # all tasks as one: the mean over all examples is the mean over the tasks
    query.d[-1].rows[...] = model.output_delta(z, y)
    _backward(w, k, query)

    # v = ∇L_query(φ_k), then v ← (I − αH(φ_j)) v for j = k − 1, ..., 0.
    for layer, a, d in zip(w.layers, query.a, query.d):
        layer.aim(a, d)
    if second_order:
        for j in range(k - 1, -1, -1):
            _hessian(model, w, j, alpha)
            for layer, a, d, r_a, r_d in zip(w.layers, w.support[j].a, w.support[j].d, w.r_a, w.r_d):
                layer.turn(j, a, d, r_a, r_d)
    return loss, w.gradient.copy()


def _forward(model, w, j, p, x):
    """Inputs a of every layer, slopes σ', and outputs z of the last one, with the weights after j steps."""
    p.a[0].tasks[...] = x
    for layer, a, slope, mask, out in zip(w.layers, p.a, p.slopes, p.masks, p.a[1:]):
        layer.forward(j, a, out)
        z = out.all
        if model.activation == "relu":
            np.copyto(slope, np.greater(z, 0, out=mask))
            z *= slope
        else:
            np.tanh(z, out=z)
            out.inputs[:, -1] = 1  # ReLU keeps it
            np.multiply(z, z, out=slope)
            np.subtract(1, slope, out=slope)
    w.layers[-1].forward(j, p.a[-1], p.z)


def _backward(w, j, p):
    """d of every layer, from the last one's, which is there."""
    for l in range(len(w.layers) - 1, 0, -1):
        w.layers[l].backward(j, p.d[l], p.d[l - 1])
        p.d[l - 1].all *= p.slopes[l - 1]


def _hessian(model, w, j, alpha):
    """The two passes of `MLP.hvp` at the weights after j steps in the direction v; R{d} = −α R{δ}, as d = −α δ."""
    p, r_z, r_a, r_d, bend = w.support[j], w.r_z, w.r_a, w.r_d, model.bend
    for l, layer in enumerate(w.layers):
        layer.forward_v(p.a[l], r_z[l])
        if l > 0:
            np.multiply(p.slopes[l - 1], r_z[l - 1].all, out=r_a[l].all)
            layer.forward(j, r_a[l], w.change[l + 1])
            r_z[l].all += w.change[l + 1].all
    np.multiply(model.r_output_delta(p.z.tasks, r_z[-1].tasks), -alpha, out=r_d[-1].tasks)
    for l in range(len(w.layers) - 1, 0, -1):
        w.layers[l].backward(j, r_d[l], r_d[l - 1])
        w.layers[l].backward_v(p.d[l], w.change[l])
        r_d[l - 1].all += w.change[l].all
        r_d[l - 1].all *= p.slopes[l - 1]
        if bend is not None:
            r_d[l - 1].all += bend(p.a[l].all) * r_z[l - 1].all * p.d[l - 1].all


class _Layer:
    """One layer: its weights W after j steps, the direction v in them, and its part of the gradient.

    The arguments a and d are examples' inputs and ∂loss/∂z; a step adds aᵀ d to W, and −αHv is aᵀ R{d} + R{a}ᵀ d.
    """

    def __init__(self, gradient, first):
        self.gradient, self.product = gradient, np.zeros_like(gradient)
        m, n = gradient.shape
        self.transposed: Any = None if first else _zeros((max(n, 2), m - 1), gradient.dtype)  # goes with `_Units.wide`

    def share(self, W):
        """Take the weights before the first step, which are the same for all tasks."""
        self.W = W
        if self.transposed is not None:
            self.transposed[:W.shape[1]] = W[:-1].T  # contiguous, the product takes a quarter less

    def forward(self, j, a, out):
        """a W."""
        if j == 0:
            np.matmul(a.inputs, self.W, out=out.rows)
        else:
            self.forward_adapted(j, a, out)

    def backward(self, j, d, out):
        """d Wᵀ, without the constant unit."""
        if j == 0:
            np.matmul(d.wide, self.transposed, out=out.rows)
        else:
            self.backward_adapted(j, d, out)

    def forward_adapted(self, j, a, out):
        """a W, with the weights after j ≥ 1 steps."""
        raise NotImplementedError

    def backward_adapted(self, j, d, out):
        """d Wᵀ, with the weights after j ≥ 1 steps."""
        raise NotImplementedError

    def turn(self, j, a, d, r_a, r_d):
        """v ← v − αHv; after the last one, j = 0, only its sum over the tasks is wanted."""
        self.gradient += np.matmul(a.inputs.T, r_d.rows, out=self.product)
        if r_a is not None:
            self.gradient += np.matmul(r_a.inputs.T, d.rows, out=self.product)


class _LowRank(_Layer):
    """One step's change, and v, as their factors a and d; for k = 1."""

    def __init__(self, gradient, first, T, K, K_query, k, kept, change):
        super().__init__(gradient, first)
        self.aa, self.dd = (_zeros((T, K_query, K), gradient.dtype) for _ in range(2))
        self.aa_transposed, self.dd_transposed = self.aa.swapaxes(1, 2), self.dd.swapaxes(1, 2)
        self.below, self.above = change

    def adapt(self, j, a, d):
        self.a, self.d = a, d

    def forward_adapted(self, j, a, out):
        np.matmul(a.input_tasks, self.a.inputs_transposed, out=self.aa)
        np.matmul(self.aa, self.d.tasks, out=self.above.tasks)
        np.matmul(a.inputs, self.W, out=out.rows)
        out.all += self.above.all

    def backward_adapted(self, j, d, out):
        np.matmul(d.tasks, self.d.transposed, out=self.dd)
        np.matmul(self.dd, self.a.tasks, out=self.below.tasks)
        np.matmul(d.wide, self.transposed, out=out.rows)
        out.all += self.below.all

    def aim(self, a, d):
        self.v_a, self.v_d = a, d
        np.matmul(a.inputs.T, d.rows, out=self.gradient)

    def forward_v(self, a, out):
        np.matmul(self.aa_transposed, self.v_d.tasks, out=out.tasks)

    def backward_v(self, d, out):
        np.matmul(self.dd_transposed, self.v_a.tasks, out=out.tasks)


class _PerTask(_Layer):
    """The weights after each step, the last `kept` of them, and v, as one matrix a task."""

    def __init__(self, gradient, first, T, K, K_query, k, kept, change):
        super().__init__(gradient, first)
        m, n = gradient.shape
        # A single column of weights lies there as a row, with a row of zeros for `_Units.wide`.
        memory = _zeros((kept + 1, T, 2, m) if n == 1 else (kept + 1, T, m, n), gradient.dtype)
        matrices = memory[:, :, :1].swapaxes(-1, -2) if n == 1 else memory
        transposed = (memory if n == 1 else memory.swapaxes(-1, -2))[..., :-1]
        self.weights, self.weights_transposed = ([None, *(k * list(stack[1:]))[:k]] for stack in (matrices, transposed))
        self.v, self.v_transposed = matrices[0], transposed[0]
        self.change, self.ones = np.zeros((T, m, n), gradient.dtype), np.ones(T, gradient.dtype)
        self.flat_v, self.flat_gradient = memory[0].reshape(T, -1)[:, :m * n], gradient.ravel()

    def adapt(self, j, a, d):
        W = np.matmul(a.inputs_transposed, d.tasks, out=self.weights[j + 1])
        W += self.weights[j] if j > 0 else self.W

    def forward_adapted(self, j, a, out):
        np.matmul(a.input_tasks, self.weights[j], out=out.tasks)

    def backward_adapted(self, j, d, out):
        np.matmul(d.wide_tasks, self.weights_transposed[j], out=out.tasks)

    def aim(self, a, d):
        np.matmul(a.inputs_transposed, d.tasks, out=self.v)
        np.dot(self.ones, self.flat_v, out=self.flat_gradient)

    def forward_v(self, a, out):
        np.matmul(a.input_tasks, self.v, out=out.tasks)

    def backward_v(self, d, out):
        np.matmul(d.wide_tasks, self.v_transposed, out=out.tasks)

    def turn(self, j, a, d, r_a, r_d):
        if j == 0:
            super().turn(j, a, d, r_a, r_d)
            return
        self.v += np.matmul(a.inputs_transposed, r_d.tasks, out=self.change)
        if r_a is not None:
            self.v += np.matmul(r_a.inputs_transposed, d.tasks, out=self.change)
        if j == 1:  # from here on only the sum over the tasks is wanted
            np.dot(self.ones, self.flat_v, out=self.flat_gradient)


class _Frozen(_Layer):
    """A layer that the inner loop does not move: its weights are all tasks' at every step, and v has no part in it."""

    def __init__(self, gradient, first, *_):
        super().__init__(gradient, first)

    def adapt(self, j, a, d):
        pass

    def forward(self, j, a, out):
        super().forward(0, a, out)

    def backward(self, j, d, out):
        super().backward(0, d, out)

    def aim(self, a, d):
        np.matmul(a.inputs.T, d.rows, out=self.gradient)

    def forward_v(self, a, out):
        out.all[...] = 0

    def backward_v(self, d, out):
        out.all[...] = 0


def _zeros(shape, dtype):
    """As np.zeros, but from the beginning of a cache line on."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, dtype)
    start = -memory.ctypes.data % 64 // memory.itemsize
    return memory[start:start + size].reshape(shape)


class _Units:
    """A row for each example of each task, a column for each unit of a layer and behind them the constant one.

    The same memory is seen as one matrix (`rows`) and as one a task (`tasks`), and with the constant unit (`inputs`,
    `input_tasks`). `all` is for what is done entry by entry; its rows are whole cache lines, which saves up to a third.
    `wide` has two columns at least, the second zero: with an inner dimension of 1 matmul takes three times as long.
    """

    def __init__(self, T, n, width, dtype, alone=False):
        columns = width if alone else -(-(width + 1) // 16) * 16
        self.all = _zeros((T * n, columns), dtype)
        self.rows, self.inputs, self.wide = (self.all[:, :f] for f in (width, width + 1, max(width, 2)))
        tasks = self.all.reshape(T, n, columns)
        self.tasks, self.input_tasks, self.wide_tasks = (tasks[..., :f] for f in (width, width + 1, max(width, 2)))
        self.transposed, self.inputs_transposed = (t.swapaxes(1, 2) for t in (self.tasks, self.input_tasks))


class _Pass:
    """The examples of all tasks on their way through the network and back."""

    def __init__(self, sizes, T, n, dtype):
        self.a = [_Units(T, n, width, dtype) for width in sizes[:-1]]
        for a in self.a:
            a.inputs[:, -1] = 1
        self.slopes = [_zeros(a.all.shape, dtype) for a in self.a[1:]]
        self.masks = [np.zeros(a.all.shape, bool) for a in self.a[1:]]
        self.z = _Units(T, n, sizes[-1], dtype, alone=True)
        self.d = _outputs(sizes, T, n, dtype, wide=True)


def _outputs(sizes, T, n, dtype, wide=False):
    """For every layer what has the shape of its outputs; the last layer's have no constant unit unless `wide`."""
    return [_Units(T, n, width, dtype, alone=l == len(sizes) - 2 and not wide) for l, width in enumerate(sizes[1:])]


class _Workspace:
    """The arrays of `steps`."""

    def __init__(self, model, T, K, K_query, k, kept, head_only, dtype):
        sizes, curved = model.sizes, model.bend is not None
        # The examples' way is kept step by step for the way back; without one, a single place serves all steps.
        self.support = [_Pass(sizes, T, K, dtype) for _ in range(k)] if kept == k else k * [_Pass(sizes, T, K, dtype)]
        self.query = _Pass(sizes, T, K_query, dtype)
        self.r_z, self.r_d = _outputs(sizes, T, K, dtype), _outputs(sizes, T, K, dtype, wide=True)
        # Only a σ'' needs R{z} once R{a} = σ' R{z} is known.
        self.r_a = [None, *(_outputs(sizes, T, K, dtype) if curved else self.r_z)[:-1]]
        self.change = [None, *_outputs(sizes, T, K, dtype)]
        change = self.change if K == K_query else [None, *_outputs(sizes, T, K_query, dtype)]
        self.gradient, self.layers = np.zeros(model.n_params, dtype), []
        for l, (start, _, end, m, n) in enumerate(model.layers):
            # A correction takes K (m + n) products where a task's own weights take m n; the factor 1.2 is measured.
            kind = _LowRank if k == 0 or k == 1 and max(K, K_query) * (m + n) <= 1.2 * m * n else _PerTask
            if head_only and l < len(model.layers) - 1:
                kind = _Frozen
            gradient = self.gradient[start:end].reshape(m + 1, n)
            self.layers.append(kind(gradient, l == 0, T, K, K_query, k, kept, change[l:l + 2]))


def _workspace(model, *shape):
    """This thread's workspace, the last one if it fits."""
    key = (model.sizes, model.activation, *shape)
    if getattr(_workspaces, "key", None) != key:
        _workspaces.value, _workspaces.key = _Workspace(model, *shape), key
    return _workspaces.value
