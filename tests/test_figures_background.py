"""The live figures of the background: weighted means, differences of sines, and Euler's steps beside the matrix exponential."""

from functools import cache

import numpy as np
from scipy.linalg import expm

from conftest import answer, close, positions, shown


def risk(w, tau):
    """Expected squared error of a guess with trust w, three examples and σ = 1."""
    return w**2 / 3 + (1 - w) ** 2 * tau**2


def trusted(tau, m, *examples):
    """Trust, mean of the examples, and guess: the mean of m and the examples, weighted by their precisions."""
    weights = 1 / tau**2, 1, 1, 1
    return 3 / sum(weights), np.mean(examples), np.dot(weights, [m, *examples]) / sum(weights)


def shrinkage(tau, m, x1, x2, x3):
    w, mean, guess = trusted(tau, m, x1, x2, x3)
    return (f"τ = {tau:.3f}: trust w = {w:.3f}. Mean of the examples x̄ = {mean:.3f}, guess {guess:.3f}.\nExpected squared "
            f"error {1 / (3 + 1 / tau**2):.4f}; with the examples only {1 / 3:.4f}.")


def check_shrinkage(stage):
    bell, *points, way, average, width, centre, only, none, guessed, cost, least = stage.marks
    for index in positions(stage):
        tau, m, *examples = (s.values[k] for s, k in zip(stage.sliders, index))
        at, (w, mean, guess) = lambda mark: shown(stage, mark, index), trusted(tau, m, *examples)
        line, shares = np.linspace(0, 6, 121), np.linspace(0, 1, 51)
        close(at(bell), [line, np.exp(-(((line - m) / tau) ** 2) / 2)])
        for point, x in zip(points, examples, strict=True):
            close(at(point), [x, -0.4])
        close(at(way), [[m, mean], [-0.85, -0.85]])
        close([at(average), at(centre), at(guessed)], [[x, -0.85] for x in (mean, m, guess)])
        close(at(width), [m + tau, np.exp(-0.5)])
        close([at(only), at(none)], [[1, 1 / 3], [0, tau**2]])
        close(at(cost), [shares, risk(shares, tau)])
        close(at(least), [w, 1 / (3 + 1 / tau**2)])
        close(answer(stage, index), w)


def test_what_the_shrinkage_s_caption_claims():
    """The least error is below both ends, w grows with τ, and the guess moves w times as far as the mean of the examples."""
    taus = np.arange(4, 205) / 200
    trusts = np.array([trusted(tau, 3, 4, 4, 4)[0] for tau in taus])
    assert (np.diff(trusts) > 0).all() and trusts[0] < 0.002 and trusts[-1] > 0.75
    assert all(risk(w, tau) < min(1 / 3, tau**2) and risk(w, tau) <= risk(np.linspace(0, 1, 101), tau).min()
               for w, tau in zip(trusts, taus))
    (w, _, before), (_, _, after) = trusted(0.5, 3, 3.9, 4.5, 5.1), trusted(0.5, 3, 3.9, 4.5, 5.7)
    close(after - before, w * 0.2)


POINTS, DISTANCES = np.linspace(-1, 3, 201)[:, None], 10.0 ** -(np.arange(61) / 4)
FORWARD = np.abs((np.sin(POINTS + DISTANCES) - np.sin(POINTS)) / DISTANCES - np.cos(POINTS))
CENTRAL = np.abs((np.sin(POINTS + DISTANCES) - np.sin(POINTS - DISTANCES)) / (2 * DISTANCES) - np.cos(POINTS))


def mean_slope(x, width):
    """The slope of a secant of the sine, by the sum-to-product formula, which subtracts no equal numbers."""
    return np.cos(x + width / 2) * np.sinc(width / 2 / np.pi)


def secant(x, m):
    i, j = int(round((x + 1) * 50)), int(round(4 * m))
    h = DISTANCES[j]
    return (f"x = {x:.2f}, h = {h:.2g}: slope of the secant {mean_slope(x, h):.6f}, of the tangent {np.cos(x):.6f}.\nComputed "
            f"with 16 digits, the forward quotient is off by {FORWARD[i, j]:.1e}, the central one by {CENTRAL[i, j]:.1e}.")


def check_secant(stage):
    frame, second, first, curve, secant, tangent, there, here, forward, central, estimate, now = stage.marks
    for index in positions(stage):
        (x, m), at = (s.values[k] for s, k in zip(stage.sliders, index)), lambda mark: shown(stage, mark, index)
        h, u = 10.0**-m, np.linspace(-1.6, 1.6, 65)
        xs, ys = at(frame)
        close(xs, x + 1.6 * h * np.array([-1, 1, 1, -1, -1]))
        close(ys, np.sin(x) + 1.6 * h * np.array([-1, -1, 1, 1, -1]))
        close(at(first), [x, np.sin(x)])
        close(at(second), [x + h, np.sin(x + h)])
        close(at(curve), [u, mean_slope(x, h * u) * u])
        for mark, slope in ((secant, mean_slope(x, h)), (tangent, np.cos(x))):
            close(at(mark), [[-1.6, 1.6], [-1.6 * slope, 1.6 * slope]])
        close(at(there), [1, mean_slope(x, h)])
        close(at(here), [0, 0])
        assert np.allclose(at(estimate)[1], DISTANCES / 2 * np.abs(np.sin(x)) + 1e-16 / DISTANCES, rtol=1e-9, atol=0)
        close(at(now)[0], h)
        close(answer(stage, index), DISTANCES[FORWARD[index[0]].argmin()])
    for mark, table in ((forward, FORWARD), (central, CENTRAL)):
        close(mark.y[:, 0], table)
    close(now.y, FORWARD)
    close([mark.x for mark in (forward, central, estimate)], DISTANCES)


def test_what_the_secant_s_caption_claims():
    """Slopes 1 and 2 on the logarithmic scales, the turn near √(2·10⁻¹⁶/|f″|) and near 10⁻⁵, and what is special at 0."""
    assert POINTS[100, 0] == 1 and POINTS[50, 0] == 0
    order = lambda error: np.log10(error[4] / error[12]) / 2  # h from 10⁻¹ to 10⁻³
    assert abs(order(FORWARD[100]) - 1) < 0.03 and abs(order(CENTRAL[100]) - 2) < 0.03
    best = DISTANCES[FORWARD[100].argmin()], DISTANCES[CENTRAL[100].argmin()]
    assert 3e-9 < best[0] < 1e-7 and 1e-6 < best[1] < 1e-4
    assert FORWARD[100, 56] > 1e-4 and CENTRAL[100, 56] > 1e-4  # h = 10⁻¹⁴: up again
    usual = np.r_[10:40, 60:180]  # where neither f″ nor f‴ is near 0
    turn = np.median(DISTANCES[FORWARD[usual].argmin(axis=1)])
    assert 3e-9 < turn < 1e-7
    assert np.allclose(FORWARD[50], CENTRAL[50], atol=1e-15) and FORWARD[50, 32:].max() < 1e-15


BOWL = np.array([[2.0, 0.6], [0.6, 0.8]])
COUNTS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
bowl = lambda theta: 0.5 * theta @ BOWL @ theta


@cache
def flow(time):
    return expm(-time * BOWL)


def euler_path(n_steps, start):
    path = [np.array(start)]
    for _ in range(int(n_steps)):
        path.append(path[-1] - 2 / n_steps * BOWL @ path[-1])
    return np.array(path)


def distance(n_steps, start):
    return np.linalg.norm(euler_path(n_steps, start)[-1] - flow(2) @ start)


def euler_steps(k, u, v):
    path = euler_path(k, (u, v))
    area = sum(2 / k * (BOWL @ theta) @ (BOWL @ theta) for theta in path[:-1])
    return (f"η = {2 / k:.4g}: the ends are {distance(k, (u, v)):.4f} apart.\n"
            f"Loss removed f(θ₀) − f(θₖ) = {bowl(path[0]) - bowl(path[-1]):.4f}; sum of η‖∇f‖² over the steps "
            f"{area:.4f}; integral along the flow {bowl(path[0]) - bowl(flow(2) @ path[0]):.4f}.")


def check_euler_steps(stage):
    exact, steps, dots, end, last, begin, errors, slope, now = stage.marks
    for index in positions(stage):
        k, *start = (s.values[i] for s, i in zip(stage.sliders, index))
        at, path = lambda mark: shown(stage, mark, index), euler_path(k, start)
        close(np.transpose(at(exact)), [flow(t) @ start for t in np.linspace(0, 2, 61)])
        close(np.transpose(at(steps)), path)
        close(np.transpose(at(dots)), path if k <= 16 else 99)
        close([at(begin), at(last), at(end)], [start, path[-1], flow(2) @ start])
        apart = [distance(n, start) for n in COUNTS]
        for mark, expected in ((errors, apart), (slope, apart[-1] * 64 / np.array(COUNTS))):
            close(at(mark), [2 / np.array(COUNTS), expected])
        close(at(now), [2 / k, distance(k, start)])


def test_what_euler_s_caption_claims():
    start = (-1.6, 1.2)
    apart = {n: distance(n, start) for n in COUNTS}
    assert all(1.8 < apart[n] / apart[2 * n] < 2.2 for n in (4, 8, 16, 32)) and apart[1] > apart[2] > 1
    assert max(np.abs(euler_path(n, start)).max() for n in COUNTS[2:]) < 2.2
    assert np.linalg.eigvalsh(BOWL)[-1] > 1  # so that rates from 2/λ on, η = 2 and 1 among them, are not stable
