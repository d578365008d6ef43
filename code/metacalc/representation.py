"""A linear representation that tasks share: y = x·θ_i + noise, with all θ_i in one subspace, found by the method of moments."""

from collections.abc import Sequence

import numpy as np

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import count, instance, positive, real_array, scalar
from metacalc.tasks.base import Batch

__all__ = ["moment_matrix", "predicted_subspace_error", "ridge_error", "shared_directions", "subspace_error"]


def moment_matrix(batch: Batch) -> Array:
    """The mean of y² x xᵀ over all examples of the support sets, shape (d, d).

    For x of mean 0 and covariance I, normal, its expectation is (tr Σ + σ²) I + 2Σ, with Σ = E θθᵀ: the directions in which
    tasks differ from 0 stand out (Tripuraneni, Jin & Jordan 2021, algorithm 1).

    Parameters
    ----------
    batch : Batch
        x of shape (n_tasks, K, d), y of shape (n_tasks, K, 1).

    Returns
    -------
    ndarray, shape (d, d)
        Symmetric.

    Examples
    --------
    >>> from metacalc.tasks import LinearTasks
    >>> batch = LinearTasks(d=3, spreads=(1.0,), noise=0.0).sample(np.random.default_rng(0), 50_000)
    >>> np.allclose(moment_matrix(batch), np.diag([3.0, 1.0, 1.0]), atol=0.1)
    True
    """
    instance(batch, Batch, "batch", "a Batch, as LinearTasks samples it")
    scaled = (batch.x_support * batch.y_support).reshape(-1, batch.x_support.shape[-1])
    return scaled.T @ scaled / len(scaled)


def shared_directions(matrix: ArrayLike, n_directions: int) -> Array:
    """The eigenvectors of the largest eigenvalues of symmetric matrices (..., d, d) as columns, shape (..., d, n_directions).

    Parameters
    ----------
    matrix : array_like, shape (..., d, d)
        Symmetric.
    n_directions : int
        At most d.

    Returns
    -------
    ndarray, shape (..., d, n_directions)
        Orthonormal columns.

    Examples
    --------
    >>> abs(shared_directions(np.diag([1.0, 3.0, 2.0]), 2))
    array([[0., 0.],
           [1., 0.],
           [0., 1.]])
    """
    matrix, n_directions = real_array(matrix, "matrix"), count(n_directions, "n_directions", 1)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] < n_directions:
        raise ValueError(f"matrix must have shape (..., d, d) with d at least {n_directions}, got {matrix.shape}")
    return np.linalg.eigh(matrix)[1][..., ::-1][..., :n_directions]


def subspace_error(B: ArrayLike, found: ArrayLike) -> Array:
    """Sum of the squared sines of the angles between two subspaces, of columns (d, l) and (..., d, l), orthonormal each.

    0 if they are the same, l if they are perpendicular.

    Parameters
    ----------
    B : array_like, shape (d, l)
        Orthonormal columns.
    found : array_like, shape (..., d, l)
        Other ones.

    Returns
    -------
    ndarray, shape (...)
        From 0 to l.

    Examples
    --------
    >>> round(float(subspace_error([[1.0], [0.0]], [[0.6], [0.8]])), 6)
    0.64
    """
    B, found = real_array(B, "B"), real_array(found, "found")
    if B.ndim != 2 or found.shape[-2:] != B.shape:
        raise ValueError(f"found must have the columns of B, shape (..., {B.shape}), got {found.shape}")
    return ((found - B @ (B.T @ found)) ** 2).sum(axis=(-2, -1))


def predicted_subspace_error(d: int, spreads: Sequence[float], noise: float, n: int) -> float:
    """The mean of `subspace_error` after n examples in all, to order 1/n, for normal tasks and inputs.

    With λ_j = spread_j², t = Σλ_j and the noise's variance σ² it is (d − l)/(4n) Σ_j C_j/λ_j², where
    C_j = E y⁴(x·v_j)² = 3(t² + 2Σλ_i² + 2tσ² + σ⁴) + 12 λ_j (t + 2λ_j + σ²).

    Parameters
    ----------
    d : int
        Length of x.
    spreads : sequence of float
        Standard deviations of the tasks' l coefficients, positive.
    noise : float
        Standard deviation σ of the noise.
    n : int
        Tasks times shots.

    Returns
    -------
    float
        In the units of `subspace_error`.

    Examples
    --------
    >>> round(predicted_subspace_error(20, (1.0, 1.0), 0.0, 10_000), 4)
    0.0648
    """
    lam = np.square(np.atleast_1d(positive(spreads, "spreads")))
    d, n, variance = count(d, "d", lam.size), count(n, "n", 1), scalar(noise, "noise", positive=False) ** 2
    t = lam.sum()
    C = 3 * (t**2 + 2 * (lam**2).sum() + 2 * t * variance + variance**2) + 12 * lam * (t + 2 * lam + variance)
    return float((d - lam.size) / (4 * n) * (C / lam**2).sum())


def ridge_error(B: ArrayLike, batch: Batch, penalty: ArrayLike) -> Array:
    """Each task's mean squared error on the query set, when ridge regression on the features Bᵀx has seen its support set.

    Parameters
    ----------
    B : array_like, shape (d, l)
        Columns are directions; the identity is learning from scratch.
    batch : Batch
        x of shape (n_tasks, K, d), y of shape (n_tasks, K, 1).
    penalty : float or array_like, shape (...)
        λ of ‖y − Xw‖² + λ‖w‖², positive.

    Returns
    -------
    ndarray, shape (..., n_tasks)
        The errors.

    Examples
    --------
    >>> x = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    >>> batch = Batch(x, [[[2.0], [4.0]]], x, [[[2.0], [4.0]]])
    >>> ridge_error(np.eye(2), batch, 1.0)                    # half of each coefficient is left
    array([2.5])
    """
    B, penalty = real_array(B, "B"), np.asarray(positive(penalty, "penalty"))
    instance(batch, Batch, "batch", "a Batch, as LinearTasks samples it")
    if B.ndim != 2 or B.shape[0] != batch.x_support.shape[-1]:
        raise ValueError(f"B must have {batch.x_support.shape[-1]} rows, as x has entries, got shape {B.shape}")
    X, new = batch.x_support @ B, batch.x_query @ B
    lam, vectors = np.linalg.eigh(np.swapaxes(X, -1, -2) @ X)
    target = np.swapaxes(vectors, -1, -2) @ (np.swapaxes(X, -1, -2) @ batch.y_support)
    w = vectors @ (target / (np.maximum(lam, 0) + penalty[..., None, None])[..., None])
    return ((new @ w - batch.y_query) ** 2).mean(axis=(-2, -1))
