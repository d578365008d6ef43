"""The live figures of the outlook, entry by entry, against explicit Hessians and polynomials."""

from functools import cache

import numpy as np
import pytest

from conftest import number_of
from metacalc.course.figures import outlook
from metacalc.models import MLP
from metacalc.tasks import Sinusoids

RATES, STEPS = 0.00125 * 2 ** np.linspace(0, 4, 17), range(1, 13)


def derivatives(theta, x, y):
    """Gradient and Hessian of mean (v·tanh(wx + b) + c − y)² for every task, written down by hand: (n, 25), (n, 25, 25)."""
    w, b, v, c = theta[:, :8], theta[:, 8:16], theta[:, 16:24], theta[:, 24:]
    s = np.tanh(x * w[:, None] + b[:, None])                              # task, example, unit
    ds, dds = 1 - s**2, -2 * s * (1 - s**2)
    r = (s * v[:, None]).sum(-1) + c - y[..., 0]
    first = np.concatenate([v[:, None] * ds * x, v[:, None] * ds, s, np.ones((*x.shape[:2], 1))], -1)
    second = np.zeros((*x.shape[:2], 25, 25))
    i = np.arange(8)
    second[:, :, i, i], second[:, :, 8 + i, 8 + i] = v[:, None] * dds * x**2, v[:, None] * dds
    second[:, :, i, 8 + i] = second[:, :, 8 + i, i] = v[:, None] * dds * x
    second[:, :, i, 16 + i] = second[:, :, 16 + i, i] = ds * x
    second[:, :, 8 + i, 16 + i] = second[:, :, 16 + i, 8 + i] = ds
    n = x.shape[1]
    hessian = 2 / n * (np.einsum("tei,tej->tij", first, first) + np.einsum("te,teij->tij", r, second))
    return 2 / n * (r[..., None] * first).sum(axis=1), hessian


def krylov(A, b, size):
    """What `size` steps of conjugate gradients reach: the minimum of ½xᵀAx − bᵀx over span(b, Ab, ..., A^{size−1} b)."""
    columns = [b]
    while len(columns) < size:
        columns.append(A @ columns[-1])
    basis = np.linalg.qr(np.stack(columns, axis=-1))[0]
    return basis @ np.linalg.solve(basis.T @ A @ basis, basis.T @ b)


@cache
def gradients(alpha, k):
    """The meta-gradients through the last 0, ..., k steps, and the implicit one."""
    rng = np.random.default_rng(0)
    start = MLP((1, 8, 1), activation="tanh").init(rng)
    batch = Sinusoids().sample(rng, 25)
    phi, hessians = np.tile(start, (25, 1)), []
    for _ in range(k):
        g, H = derivatives(phi, batch.x_support, batch.y_support)
        phi, hessians = phi - alpha * g, [*hessians, H]
    v = derivatives(phi, batch.x_query, batch.y_query)[0]
    through = [v.mean(axis=0)]
    for H in reversed(hessians):
        v = v - alpha * (H @ v[..., None])[..., 0]
        through.append(v.mean(axis=0))
    phi, lam = np.tile(start, (25, 1)), 1 / (k * alpha)
    for _ in range(k):
        phi = phi - alpha * (derivatives(phi, batch.x_support, batch.y_support)[0] + lam * (phi - start))
    H, v = derivatives(phi, batch.x_support, batch.y_support)[1], derivatives(phi, batch.x_query, batch.y_query)[0]
    return through, np.mean([krylov(np.eye(25) + H[i] / lam, v[i], 3) for i in range(25)], axis=0)


@cache
def distances(alpha, k):
    """[(angle in degrees, relative error)] for r = 0, ..., k, and for the implicit gradient."""
    *shorter, full = gradients(alpha, k)[0]
    apart = []
    for g in (*shorter, gradients(alpha, k)[1]):
        unit, other = g / np.linalg.norm(g), full / np.linalg.norm(full)
        angle = 2 * np.arctan2(np.linalg.norm(unit - other), np.linalg.norm(unit + other))  # exact for small angles too
        apart.append((np.degrees(angle), np.linalg.norm(g - full) / np.linalg.norm(full)))
    return [*apart[:-1], (0.0, 0.0)], apart[-1]


def truncation(alpha, k, r):
    k, r = int(k), min(int(r), int(k))
    shorter, implicit = distances(alpha, k)
    return (f"Back through the last {r} of {number_of(k, 'step')}: {k + 1} gradients, "
            f"{number_of(r, 'Hessian-vector product')}; angle {shorter[r][0]:.1f}°, "
            f"relative error {shorter[r][1]:.3f}.\nFirst order: {k + 1} gradients; {shorter[0][0]:.1f}°, {shorter[0][1]:.3f}. "
            f"Implicit: {k + 2} gradients, 3 Hessian-vector products; {implicit[0]:.1f}°, {implicit[1]:.3f}.")


def curvatures(kappa):
    return kappa ** np.linspace(-1, 0, 12)


def mean_loss(rates, kappa):
    a = curvatures(kappa)
    return (a / 2 * np.prod(1 - np.multiply.outer(a, rates), axis=-1) ** 2).mean()


@cache
def learned(k, kappa, equal=False):
    """150 iterations of Adam on the rates, with the derivative of the mean loss by the product rule."""
    a = curvatures(kappa)
    rates = np.linspace(0.8, 1.2, k) if k > 1 and not equal else np.ones(k)
    path, m, v = [rates], 0, 0
    for n in range(1, 151):
        left = 1 - np.multiply.outer(a, rates)
        others = np.stack([np.prod(np.delete(left, j, axis=1), axis=1) for j in range(k)], axis=-1)
        slope = (-a[:, None] ** 2 * np.prod(left, axis=1)[:, None] * others).mean(axis=0)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        rates = rates - 0.06 * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)
        path.append(rates)
    return np.array(path)


@cache
def least(k, kappa):
    """The least mean loss of k steps by orthogonality: the part of √a that no a^{j + 1/2}, 1 ≤ j ≤ k, explains."""
    a = curvatures(kappa)
    basis = np.linalg.qr(np.stack([a ** (j + 0.5) for j in range(1, k + 1)], axis=-1))[0]
    rest = np.sqrt(a) - basis @ (basis.T @ np.sqrt(a))
    return (rest**2).mean() / 2


def learned_schedule(n, k, kappa):
    n, k, kappa = int(n), int(k), int(kappa)
    rates = learned(k, kappa)[n]
    return (f"After {number_of(n, 'outer iteration')} the rates are {', '.join(f'{r:.3f}' for r in rates)}.\nMean loss left: "
            f"{mean_loss(rates, kappa):.3g}; with equal rates {mean_loss(learned(k, kappa, True)[-1], kappa):.3g}; the least "
            f"possible {least(k, kappa):.3g}.")


def close(table, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.broadcast_to(table, expected.shape), expected, rtol=1e-6, atol=1e-6)


def check_truncation(stage):
    angles, level, first, angle, errors, implicit, first_error, error = stage.marks
    for i, alpha in enumerate(RATES):
        for j, k in enumerate(STEPS):
            shorter, other = distances(alpha, k)
            padded = shorter + shorter[-1:] * (12 - k)
            for column, (curve, start, now) in enumerate(((angles, first, angle), (errors, first_error, error))):
                close(curve.y[i, j, 0, :k + 1], np.array(shorter)[:, column])
                close(start.y[i, j, 0], shorter[0][column])
                close(now.y[i, j], np.array(padded)[:, column])
            assert np.isnan(angles.y[i, j, 0, k + 1:]).all() and np.isnan(errors.y[i, j, 0, k + 1:]).all()
            close(level.y[i, j, 0], [other[0]] * 2)
            close(implicit.y[i, j, 0], other[1])
            close(stage.guess.answer[i, j, 0], min(r for r in range(k + 1) if shorter[r][1] < 0.1))
    for j, k in enumerate(STEPS):
        r = np.minimum(np.arange(13), k)
        close(angle.x[j], r)
        close(error.x[j], k + 1 + 2 * r)
        close(errors.x[j, 0, :k + 1], k + 1 + 2 * np.arange(k + 1))
        assert np.isnan(errors.x[j, 0, k + 1:]).all()
        close(first_error.x[j, 0], k + 1)
        close(implicit.x[j, 0], k + 2 + 2 * 3)
    close(angles.x, np.arange(13))
    close([first.x, *level.x], [0, 0, 12])


def check_learned_schedule(stage):
    single, best, path, point, equal_left, left, roots, tasks = stage.marks
    ns, ks, kappas = (s.values.astype(int) for s in stage.sliders)
    for m, kappa in enumerate(kappas.tolist()):
        close(tasks.x[m], curvatures(kappa))
        for j, k in enumerate(ks.tolist()):
            rates, equal = learned(k, kappa)[ns], learned(k, kappa, True)[-1]
            close(np.log(single.y[0, j, m]), np.full(2, np.log(mean_loss(equal, kappa))))
            close(np.log(best.y[0, j, m]), np.full(2, np.log(least(k, kappa))))
            for mark in (path, point):
                close(np.log(mark.y[:, j, m]), np.log([mean_loss(r, kappa) for r in rates]))
            close(left.y[:, j, m], np.prod(1 - np.einsum("nj,a->naj", rates, left.x), axis=-1))
            close(equal_left.y[0, j, m], np.prod(1 - np.multiply.outer(equal_left.x, equal), axis=-1))
            close(roots.x[:, j, m, :k], 1 / rates)
            assert np.isnan(roots.x[:, j, m, k:]).all()
            close(stage.guess.answer[0, j, m], 1 / learned(k, kappa)[-1].max())
    for mark in (path, point):
        close(mark.x[:, 0, 0], ns)
    close(roots.y, np.where(np.isnan(roots.x), np.nan, 0))
    close(tasks.y, np.full(12, -0.7))
    for mark in (single, best):
        close(mark.x, [0, 150])
    for mark in (equal_left, left):
        close(mark.x, np.linspace(0, 1.1, 56))


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("kappa", [4, 64])
def test_no_rates_are_better_than_the_best(k, kappa):
    a = outlook.bowls(kappa).x_support.ravel()
    np.testing.assert_allclose(a, curvatures(kappa))
    rates = outlook.best_rates(a, k)
    lowest = mean_loss(rates, kappa)
    assert np.isclose(lowest, least(k, kappa), rtol=1e-9)
    assert np.all(np.diff(rates) > 0) and np.all((1 / rates > a.min()) & (1 / rates < a.max()))
    rng = np.random.default_rng(0)
    assert all(mean_loss(rates + size * rng.normal(size=k), kappa) > lowest for size in (0.01, 0.1, 1.0) for _ in range(20))
