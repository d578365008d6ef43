"""The live figures of the page on new tasks, against closed forms, integrals and draws one by one."""

import math
from functools import cache

import numpy as np
from scipy.optimize import brentq

from conftest import close, number_of, positions, shown
from metacalc.course.new_tasks import gibbs_bound

Z = np.linspace(-9, 9, 20_001)
DENSITY = np.exp(-Z * Z / 2) / math.sqrt(2 * math.pi) * (Z[1] - Z[0])


def losses(n, K):
    """Training, new, floor, and variance of the start: s = 1/(K + 1), v = K + 1."""
    floor = 0.5 / (K + 1)
    return floor * (1 - 1 / n), floor * (1 + 1 / n), floor, (K + 1) / n


@cache
def constant(n):
    log = lambda share, times: times * math.log(share) if times else 0.0
    choose = lambda j: math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1)
    return sum(math.exp(choose(j) + log(j / n, j) + log(1 - j / n, n - j)) for j in range(n + 1))


RISK = float((np.minimum(1, Z * Z / 5) * DENSITY).sum())


@cache
def bound(n, K):
    """By an integral in the place of the closed form, and a root in the place of bisection."""
    v = K + 1
    divergence = 0.5 * (2 * v / n / 9 - 1 + math.log(9 * n / v))
    right = (divergence + math.log(constant(n) / 0.05)) / n
    excess = lambda q: RISK * math.log(RISK / q) + (1 - RISK) * math.log((1 - RISK) / (1 - q)) - right
    root = brentq(excess, RISK, 1 - 1e-15) if excess(1 - 1e-15) > 0 else 1.0
    return 5 * losses(n, K)[2] * root


def tasks_and_shots(n, K):
    n, K = int(n), int(K)
    training, new, floor, variance = losses(n, K)
    return (f"{n} tasks with {number_of(K, 'shot')}: the start is off by {math.sqrt(variance):.3f}.\n"
            f"Training tasks {training:.4f}, new tasks {new:.4f}, floor {floor:.4f}; bound {bound(n, K):.4f}.")


@cache
def draws():
    """The figure's draws, each set of tasks by itself: what training tasks cost, new ones, and the quantile, for (K, n)."""
    rng, found = np.random.default_rng(0), np.zeros((3, 60, 10))
    all_c, all_xi = rng.normal(size=(1000, 1000)), rng.normal(size=(1000, 1000))
    for i, n in enumerate((2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)):
        c, xi = all_c[:, :n], all_xi[:, :n]
        for j in range(60):
            s, seen = 1 / (j + 2), c + xi / math.sqrt(j + 1)
            start = ((c - (1 - s) * seen) / s).mean(axis=1)
            adapted = seen + s * (start[:, None] - seen)
            training = ((adapted - c) ** 2 / 2).mean(axis=1)
            new = s**2 / 2 * (start**2 + 1) + (1 - s) ** 2 / (j + 1) / 2
            found[:, j, i] = training.mean(), new.mean(), training.mean() + np.quantile(new - training, 0.95)
    return found


def check_tasks_and_shots(stage):
    diamond, upper, quantile, new, training, discs, green, floor, now = stage.marks
    numbers, shots = (s.values.astype(int) for s in stage.sliders)
    grid = np.array([[losses(n, K) for K in shots.tolist()] for n in numbers.tolist()])
    close(training.y[0], grid[..., 0].T)
    close(new.y[0], grid[..., 1].T)
    close(floor.y[0], np.repeat(grid[0, :, 2, None], 2, axis=1))
    close(now.y, grid[..., 1])
    close(now.x[:, 0], numbers)
    close(diamond.x[:, 0], numbers)
    close(diamond.y[0], shots)
    for mark in (upper, new, training):
        close(mark.x, numbers)
    upper_bound = [[bound(n, K) for n in numbers.tolist()] for K in shots.tolist()]
    np.testing.assert_allclose(upper.y[0], upper_bound, rtol=1e-5)
    for mark, table in zip((green, discs, quantile), draws()):
        close(mark.x, [2, 3, 5, 10, 20, 50, 100, 200, 500, 1000])
        close(mark.y[0], table)
    close(floor.x, [1.8, 1100])
    close(stage.guess.answer, 10)
    assert new.y[0, 0][numbers >= 10].max() <= 1.1 * 0.25 + 1e-12 < new.y[0, 0][numbers == 9]


@cache
def predicted(n, spread):
    """To order 1/n, from the moments of normal variables written down once more."""
    lam, t, noise = np.array([1, spread**2]), 1 + spread**2, 0.25
    D = 3 * (t**2 + 2 * (lam**2).sum() + 2 * t * noise + noise**2) + 12 * lam * (t + 2 * lam + noise)
    return min(8 / (4 * n) * (D / lam**2).sum(), 2)


def spread_of_tasks(n, spread):
    return (f"Condition number of the tasks {1 / spread**2:.1f}; after {n:.0f} examples the predicted error is "
            f"{predicted(n, spread):.3f}.")


@cache
def learned_errors(spreads, counts):
    """The moment matrix at three spreads, by definition; between them it is the quadratic that takes these values."""
    t, error = np.array(spreads)[:, None, None], 0.0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        x, z, xi = rng.normal(size=(30_000, 10)), rng.normal(size=(2, 30_000)), rng.normal(size=30_000)
        columns = []
        for n in counts:
            at = [x[:n].T @ (x[:n] * (z[0] * x[:, 0] + q * z[1] * x[:, 1] + 0.5 * xi)[:n, None] ** 2) / n for q in (0, 0.5, 1)]
            M = at[0] * (2 * t - 1) * (t - 1) + at[1] * 4 * t * (1 - t) + at[2] * t * (2 * t - 1)
            columns.append((np.linalg.svd(M)[0][:, 2:, :2] ** 2).sum(axis=(1, 2)))
        error = error + np.stack(columns, axis=1) / 16
    return error


def check_spread_of_tasks(stage):
    tasks, first, second, curve, discs, missed, now = stage.marks
    counts, spreads = (s.values for s in stage.sliders)
    close(curve.y[0], [[predicted(n, t) for n in counts] for t in spreads])
    close(now.y, np.array([[predicted(n, t) for t in spreads] for n in counts]))
    close(now.x[:, 0], counts)
    close(curve.x, counts)
    close(second.dx[0], spreads)
    close([second.x, second.y, second.dy, first.x, first.y, first.dx], 0)
    close(first.dy, 1)
    close(missed.y, [1, 1])
    close(missed.x, [90, 33_000])
    dots = np.random.default_rng(1).normal(size=(2, 60))
    close(tasks.y, dots[0])
    close(tasks.x[0], spreads[:, None] * dots[1])
    close(discs.x, counts[::5])
    np.testing.assert_allclose(discs.y[0], learned_errors(tuple(spreads), tuple(counts[::5].astype(int))), rtol=1e-6)
    assert [len(shown(stage, tasks, index)[0]) for index in positions(stage, 3)] == [60] * 6


def test_the_bound_of_the_figure_is_that_of_the_page_for_one_variance():
    for n, K in ((5, 1), (100, 5)):
        found = gibbs_bound(n, K + 1.0)
        assert math.isclose(5 * losses(n, K)[2] * found.bound, bound(n, K), rel_tol=1e-4)
        sd = math.sqrt(1 + 2 / n)
        assert math.isclose(found.new, (np.minimum(1, (sd * Z) ** 2 / 5) * DENSITY).sum(), rel_tol=1e-6)
