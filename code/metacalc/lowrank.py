"""One step of MAML on an `MLP`, without ever forming a task's own weights.

After one step on K examples, task t's weights differ from the shared W by a matrix of rank K,
    W_t = W − α Σ_i a_i δ_iᵀ,
where a_i are the inputs of the layer on support example i and δ_i = ∂loss/∂z_i. So the layer's outputs for an input a'
are a' W_t = a' W − α Σ_i (a'·a_i) δ_iᵀ: one product with W, shared by all tasks, and a correction through the K × K
scalar products a'·a_i (plus one for the bias, which is a weight whose input is 1). The way back needs the δ'·δ_i in the
same manner; and since ∇L_query(φ_1) = Σ_j a'_j δ'_jᵀ is such a sum of K products too, so does its product with the
Hessian, with the very same scalar products. `metacalc.meta.maml(..., fast=False)` is the definition that the tests hold
this to.
"""

import numpy as np

from metacalc.models import _ACTIVATIONS, MLP

__all__ = ["one_step", "suits"]


def suits(model, theta, alpha):
    """Whether `one_step` can be used: an `MLP`, one θ, one inner rate."""
    return type(model) is MLP and theta.ndim == 1 and np.ndim(alpha) == 0


def one_step(model, theta, batch, alpha, second_order=True):
    """Loss and gradient of `maml` with k = 1, or of `fomaml`.

    Parameters
    ----------
    model : MLP
    theta : ndarray, shape (p,)
    batch : Batch
    alpha : float
    second_order : bool
        False leaves out the Hessian.

    Returns
    -------
    loss : float
    gradient : ndarray, shape (p,)
    """
    T, layers = len(batch), model.unflatten(theta)
    last = len(layers) - 1
    sigma, bend = _ACTIVATIONS[model.activation]
    dot = np.dot  # for plain matrices: `@` takes six times as long where the inner dimension is 1

    def per_task(a):
        return a.reshape(T, -1, a.shape[-1])

    def rows(a):
        return a.reshape(-1, a.shape[-1])

    def products(a, others):
        """α times the scalar products of each task's rows with its other rows, shape (T, n, m)."""
        gram = per_task(a) @ per_task(others).swapaxes(1, 2)
        gram *= alpha
        return gram

    def combined(coefficients, others):
        """Sums of each task's rows with its own coefficients, of shape (T, n, m), as rows."""
        return rows(coefficients @ per_task(others))

    # Support: the ordinary two passes; a[l] are the inputs of layer l and d[l] = ∂loss/∂z, a row for each example.
    _, x, y = model._checked(theta, batch.x_support, batch.y_support)
    a, slopes, d, up = [rows(x)], [None], [None] * len(layers), [None] * len(layers)
    for l, (W, b) in enumerate(layers):
        z = dot(a[l], W)
        z += b
        if l < last:
            for kept, new in zip((a, slopes), sigma(z)):
                kept.append(new)
    outputs = per_task(z)
    d[last] = rows(model._output_delta(outputs, y))
    for l in range(last, 0, -1):
        up[l] = dot(d[l], layers[l][0].T)
        d[l - 1] = up[l] * slopes[l]

    # Query: the same with the weights W_t; aa and dd are α times the scalar products, query rows with support rows.
    _, x, y = model._checked(theta, batch.x_query, batch.y_query)
    a_query, slopes_query, aa = [rows(x)], [None], []
    for l, (W, b) in enumerate(layers):
        aa.append(products(a_query[l], a[l]))
        aa[l] += alpha  # the bias is a weight whose input is 1
        z = dot(a_query[l], W)
        z += b
        z -= combined(aa[l], d[l])
        if l < last:
            for kept, new in zip((a_query, slopes_query), sigma(z)):
                kept.append(new)
    z = per_task(z)
    loss = model._output_loss(z, y).mean()
    d_query, dd = [None] * last + [rows(model._output_delta(z, y))], [None] * len(layers)
    for l in range(last, 0, -1):
        dd[l] = products(d_query[l], d[l])
        below = dot(d_query[l], layers[l][0].T)
        below -= combined(dd[l], a[l])
        below *= slopes_query[l]
        d_query[l - 1] = below

    gradient = np.empty_like(theta)
    parts = model.unflatten(gradient)
    ones = np.ones(len(a_query[0]), theta.dtype)  # its product with a matrix is four times faster than sum(axis=0)
    for (W, b), inputs, delta in zip(parts, a_query, d_query):
        dot(inputs.T, delta, out=W)
        dot(ones, delta, out=b)

    if second_order:
        # Minus α times the Hessian of the support loss times Σ_j a'_j δ'_jᵀ, by the two passes of `MLP.hvp`.
        r_a, r_z = [None], []
        for l, (W, _) in enumerate(layers):
            r_z.append(combined(aa[l].swapaxes(1, 2), d_query[l]))
            if l > 0:
                r_a.append(slopes[l] * r_z[l - 1])
                r_z[l] += dot(r_a[l], W)
        r_d = rows(model._r_output_delta(outputs, per_task(r_z[last])))
        ones = np.ones(len(r_d), theta.dtype)
        for l in range(last, -1, -1):
            W, b = parts[l]
            W -= dot(a[l].T, r_d)
            b -= dot(ones, r_d)
            if l > 0:
                W -= dot(r_a[l].T, d[l])
                r_d = dot(r_d, layers[l][0].T)
                r_d += combined(dd[l].swapaxes(1, 2), a_query[l])
                r_d *= slopes[l]
                if bend is not None:
                    r_d += bend(a[l], slopes[l]) * r_z[l - 1] * up[l]
    gradient /= T
    return loss, gradient
