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
    way_back = second_order and k > 0
    w = _workspace(model, len(batch), x_support.shape[1], x_query.shape[1], k, way_back, only is not None, theta.dtype)
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
        layer.aim(a, d) if way_back else np.matmul(a.inputs.T, d.rows, out=layer.gradient)
    if way_back:
        for j in range(k - 1, -1, -1):
            _hessian(model, w, j, alpha)
            for layer, pairs in zip(w.layers, w.support[j].pairs):
                layer.turn(j, pairs)
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
    p, bend = w.support[j], model.bend
    r_z, r_a, r_d = p.r_z, p.r_a, p.r_d
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

    writes_v = False  # whether v is written down for each task

    def __init__(self, gradient, first, with_query):
        self.gradient, self.product, self.with_query = gradient, np.zeros_like(gradient), with_query
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

    def turn(self, j, pairs):
        """v ← v − αHv, as the sum of the pairs' products; after the last one, j = 0, only its sum over tasks is wanted."""
        ((left, right),) = pairs
        if self.with_query:  # then the product has v too
            np.matmul(left, right, out=self.gradient)
        else:
            self.gradient += np.matmul(left, right, out=self.product)


class _LowRank(_Layer):
    """One step's change, and v, as their factors a and d; for k = 1."""

    def __init__(self, gradient, first, with_query, T, K, K_query, k, kept, change):
        super().__init__(gradient, first, with_query)
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

    def forward_v(self, a, out):
        np.matmul(self.aa_transposed, self.v_d.tasks, out=out.tasks)

    def backward_v(self, d, out):
        np.matmul(self.dd_transposed, self.v_a.tasks, out=out.tasks)


class _PerTask(_Layer):
    """The weights after each step, the last `kept` of them, and v, as one matrix a task."""

    writes_v = True

    def __init__(self, gradient, first, with_query, T, K, K_query, k, kept, change):
        super().__init__(gradient, first, with_query)
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

    def forward_v(self, a, out):
        np.matmul(a.input_tasks, self.v, out=out.tasks)

    def backward_v(self, d, out):
        np.matmul(d.wide_tasks, self.v_transposed, out=out.tasks)

    def turn(self, j, pairs):
        if j == 0:  # from here on only the sum over the tasks is wanted
            if not self.with_query:
                np.dot(self.ones, self.flat_v, out=self.flat_gradient)
            super().turn(j, pairs)
            return
        for left, right in pairs:
            self.v += np.matmul(left, right, out=self.change)


class _Frozen(_Layer):
    """A layer that the inner loop does not move: its weights are all tasks' at every step, and v has no part in it."""

    def __init__(self, gradient, first, with_query, *_):
        super().__init__(gradient, first, with_query)

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

    def __init__(self, memory, width):
        self.all = memory.reshape(-1, memory.shape[-1])
        self.rows, self.inputs, self.wide = (self.all[:, :f] for f in (width, width + 1, max(width, 2)))
        self.tasks, self.input_tasks, self.wide_tasks = (memory[..., :f] for f in (width, width + 1, max(width, 2)))
        self.transposed, self.inputs_transposed = (t.swapaxes(1, 2) for t in (self.tasks, self.input_tasks))


def _units(T, n, width, dtype, alone=False):
    """Units in memory of their own; without the constant one, if they are to stand alone."""
    return _Units(_zeros((T, n, width if alone else _columns(width)), dtype), width)


def _columns(width):
    return -(-(width + 1) // 16) * 16


def _stack(T, counts, width, dtype):
    """Units for several sets of examples, one behind the other in one memory, and that memory."""
    columns, ends = _columns(width), T * np.cumsum([0, *counts])
    memory = _zeros((ends[-1], columns), dtype)
    return [_Units(memory[start:end].reshape(T, -1, columns), width) for start, end in zip(ends, ends[1:])], memory


class _Pass:
    """The examples of all tasks on their way through the network and back."""

    def __init__(self, sizes, T, n, dtype, a=None, d=None):
        self.a = a or [_units(T, n, width, dtype) for width in sizes[:-1]]
        self.d = d or _outputs(sizes, T, n, dtype, wide=True)
        for place in self.a:
            place.inputs[:, -1] = 1
        self.slopes = [_zeros(place.all.shape, dtype) for place in self.a[1:]]
        self.masks = [np.zeros(place.all.shape, bool) for place in self.a[1:]]
        self.z = _units(T, n, sizes[-1], dtype, alone=True)


class _WayBack(_Pass):
    """Beside them R{a}, R{z} and R{d}, and for each layer `pairs` of factors: their products' sum is −αHv.

    a and R{a} lie in one memory and R{d} and d in another, so that one product gives their sum over the tasks. With k = 1
    v is such a sum from the start, and where `with_query` says so the query's a and d lie there too.
    """

    def __init__(self, sizes, T, n, n_query, dtype, j, with_query, head_only, curved):
        a, d, query_a, query_d, self.r_a, self.r_d, self.pairs = ([] for _ in range(7))
        for l, (width, next_width) in enumerate(zip(sizes, sizes[1:])):
            counts = [n_query] * with_query[l] + [n] * (2 if l else 1)  # the first layer's inputs are given: R{a} = 0
            inputs, left = _stack(T, counts, width, dtype)
            outputs, right = _stack(T, counts, next_width, dtype)
            query_a.append(inputs.pop(0) if with_query[l] else _units(T, n_query, width, dtype))
            query_d.append(outputs.pop(0) if with_query[l] else _units(T, n_query, next_width, dtype))
            a.append(inputs[0])
            self.r_a.append(inputs[1] if l else None)
            self.r_d.append(outputs[0])
            d.append(outputs[1] if l else _units(T, n, next_width, dtype))
            if j == 0 or head_only and l < len(sizes) - 2:  # one v for all tasks
                self.pairs.append([(left[:, :width + 1].T, right[:, :next_width])])
            else:
                factors = [(a[l], self.r_d[l]), (self.r_a[l], d[l])][:len(inputs)]
                self.pairs.append([(f.inputs_transposed, g.tasks) for f, g in factors])
        super().__init__(sizes, T, n, dtype, a, d)
        self.query = _Pass(sizes, T, n_query, dtype, query_a, query_d)
        # Only a σ'' needs R{z} once R{a} = σ' R{z} is known.
        inner = _outputs(sizes, T, n, dtype)[:-1] if curved else self.r_a[1:]
        self.r_z = [*inner, _units(T, n, sizes[-1], dtype, alone=True)]


def _outputs(sizes, T, n, dtype, wide=False):
    """For every layer what has the shape of its outputs; the last layer's have no constant unit unless `wide`."""
    return [_units(T, n, width, dtype, alone=l == len(sizes) - 2 and not wide) for l, width in enumerate(sizes[1:])]


class _Workspace:
    """The arrays of `steps`."""

    def __init__(self, model, T, K, K_query, k, way_back, head_only, dtype):
        sizes, curved = model.sizes, model.bend is not None
        kinds = []
        for l, (_, _, _, m, n) in enumerate(model.layers):
            # A correction takes K (m + n) products where a task's own weights take m n; the factor 1.2 is measured.
            low_rank = k == 0 or k == 1 and max(K, K_query) * (m + n) <= 1.2 * m * n
            kinds.append(_Frozen if head_only and l < len(model.layers) - 1 else _LowRank if low_rank else _PerTask)
        # A sum over tasks of their own v costs less than a product, unless the layer is small.
        with_query = [k == 1 and (not kind.writes_v or (m + 1) * n <= 100)
                      for kind, (_, _, _, m, n) in zip(kinds, model.layers)]
        # The examples' way is kept step by step for the way back; without one, a single place serves all steps.
        self.support: list[Any]
        if way_back:
            self.support = [_WayBack(sizes, T, K, K_query, dtype, j, with_query, head_only, curved) for j in range(k)]
            self.query = self.support[0].query
        else:
            self.support, self.query = k * [_Pass(sizes, T, K, dtype)], _Pass(sizes, T, K_query, dtype)
        self.change = [None, *_outputs(sizes, T, K, dtype)]
        change = self.change if K == K_query else [None, *_outputs(sizes, T, K_query, dtype)]
        kept = k if way_back else min(k, 2)  # only the way back needs all the weights on the path
        self.gradient, self.layers = np.zeros(model.n_params, dtype), []
        for l, (kind, (start, _, end, m, n)) in enumerate(zip(kinds, model.layers)):
            gradient = self.gradient[start:end].reshape(m + 1, n)
            self.layers.append(kind(gradient, l == 0, with_query[l], T, K, K_query, k, kept, change[l:l + 2]))


def _workspace(model, *shape):
    """This thread's workspace, the last one if it fits."""
    key = (model.sizes, model.activation, *shape)
    if getattr(_workspaces, "key", None) != key:
        _workspaces.value, _workspaces.key = _Workspace(model, *shape), key
    return _workspaces.value
