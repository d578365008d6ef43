"""The live figure of the page on learned optimisers, entry by entry, against loops of its own."""

from functools import cache

import numpy as np

from conftest import number_of

THETA, STEPS, SIGMAS = -2 + 0.04 * np.arange(201), [1, 2, 3, 4, 6, 8, 12, 16], (0.1, 0.3, 0.9)
FINE = np.arange(-1140, 1741)  # in units of 1/150: from −2 − 4 · 0.9 to 6 + 4 · 0.9


@cache
def walked():
    """Losses and derivatives at all places of the fine grid after 0, ..., 16 steps; the derivative by the adjoint."""
    theta = FINE / 150
    rate = 1 + np.tanh(theta / 2)
    path = [np.full(theta.shape, 0.3)]
    for _ in range(16):
        path.append((1 + rate) * path[-1] - rate * path[-1] ** 3)
    loss = [p**4 / 4 - p**2 / 2 + 0.25 for p in path]
    slopes = []
    for k in range(17):
        v, by_rate = path[k] ** 3 - path[k], 0.0
        for p in path[k - 1::-1] if k else []:
            by_rate = by_rate - v * (p**3 - p)
            v = v * (1 + rate - 3 * rate * p**2)
        slopes.append(by_rate * (1 - np.tanh(theta / 2) ** 2) / 2)
    return np.array(loss), np.array(slopes)


@cache
def smoothed(i, k, sigma):
    """Smoothed loss, its derivative, and the standard deviation of one pair's estimate, by two-sided sums."""
    j = int(np.flatnonzero(FINE == round(150 * THETA[i]))[0])
    reach = round(4 * sigma * 150)
    eps = np.arange(-reach, reach + 1) / 150 / sigma
    weight = np.exp(-eps**2 / 2)
    weight /= weight.sum()
    around = walked()[0][k, j - reach:j + reach + 1]
    pair = (around - around[::-1]) / 2 / sigma * eps
    return weight @ around, weight @ (around * eps) / sigma, np.sqrt(weight @ pair**2 - (weight @ pair) ** 2)


def numbers(theta, k, sigma):
    i = int(round((theta + 2) / 0.04))
    j = int(np.flatnonzero(FINE == round(150 * theta))[0])
    loss, slope = (part[int(k), j] for part in walked())
    return 1 + np.tanh(theta / 2), loss, slope, *smoothed(i, int(k), min(SIGMAS, key=lambda s: abs(s - sigma)))


def unrolled(theta, k, sigma):
    rate, loss, slope, level, tilt, deviation = numbers(theta, k, sigma)
    minus = lambda text: text.replace("-", "−")
    slope, tilt, deviation = (0.0 if abs(value) < 1e-9 else value for value in (slope, tilt, deviation / 10))
    return (f"Rate {rate:.3f}: after {number_of(int(k), 'step')} the loss is {loss:.4f}, "
            f"its derivative {minus(f'{slope:.3g}')}.\n"
            f"Smoothed: {level:.4f}, derivative {minus(f'{tilt:.3g}')}, which 100 pairs estimate to ± "
            f"{minus(f'{deviation:.2g}')}.")


def close(table, expected, tol=1e-6):
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.broadcast_to(table, expected.shape), expected, rtol=tol, atol=tol)


def check_unrolled(stage):
    rough, smooth, tangent, its, here, level, exact, soft, noise, size = stage.marks
    loss, slope = walked()
    at = np.array([int(np.flatnonzero(FINE == round(150 * t))[0]) for t in THETA])
    shown = np.flatnonzero((FINE >= -300) & (FINE <= 900))[::2]
    close(rough.x, FINE[shown] / 150)
    close(smooth.x, THETA)
    for point in (here, level):
        close(point.x[:, 0, 0], THETA)
    for line in (tangent, its):
        close(line.x[:, 0, 0], THETA[:, None] + [-0.6, 0.6])
    for curve in (exact, soft, noise):
        close(curve.x, STEPS)
    close(size.x[:, 0], STEPS)
    floor = lambda values: np.log(np.maximum(np.abs(values), 1e-12))
    found = np.array([[[smoothed(i, k, s) for s in SIGMAS] for k in STEPS] for i in range(201)])  # (θ, k, σ, 3)
    close(level.y, found[..., 0])
    close(np.moveaxis(smooth.y[0], -1, 0), found[..., 0])
    for s, by in enumerate((-0.6, 0.6)):
        close(its.y[..., s], found[..., 0] + by * found[..., 1])
    close(np.log(np.moveaxis(soft.y[:, 0], -1, 1)), floor(found[..., 1]), 1e-4)
    close(np.log(np.moveaxis(noise.y[:, 0], -1, 1)), floor(found[..., 2] / 10), 1e-4)
    for m, k in enumerate(STEPS):
        close(rough.y[0, m, 0], loss[k, shown])
        close(here.y[:, m, 0], loss[k, at])
        close(size.y[:, m, 0] / np.exp(floor(slope[k, at])), np.ones(201), 1e-5)
        close(exact.y[:, 0, 0, m] / np.exp(floor(slope[k, at])), np.ones(201), 1e-5)
        for s, by in enumerate((-0.6, 0.6)):
            line = loss[k, at] + by * slope[k, at]
            close(tangent.y[:, m, 0, s] / (1 + np.abs(line)), line / (1 + np.abs(line)), 1e-5)
    close(stage.guess.answer[:, 0, 0] / np.exp(floor(slope[16, at])), np.ones(201), 1e-5)
