"""The live figures of gradient descent, entry by entry, against loops and closed forms that share no code with them."""

from functools import cache

import numpy as np
import sympy as sp

from conftest import close, number_of, positions, shown
from metacalc import Objective
from metacalc.course.figures import gradient_descent

theta = sp.Symbol("theta", real=True)


def values(stage, index):
    return [s.values[k] for s, k in zip(stage.sliders, index)]


def price(start, eta):
    end = start - eta * 2 * start
    return (f"Slope {2 * start:.3f}, price δ²/(2 · {eta:.2f}): the step δ = {end - start:.3f} leads to θ′ = {end:.3f}.\n"
            f"f goes from {start**2:.3f} to {end**2:.3f}."
            + ("\nIts minimum has left the picture." if lowest(start, eta) < -4.5 or abs(end) > 3.2 else "")
            + ("\nθ′ on f has left the picture." if abs(end) > 3.2 or end**2 > 9 else ""))


def lowest(start, eta):
    """The least value of the tangent plus the price: half of what the tangent promises is paid for."""
    return start**2 - eta * (2 * start) ** 2 / 2


def check_price(stage):
    tangent, model, least, after, point = stage.marks
    for index in positions(stage):
        start, eta = values(stage, index)
        x, line = shown(stage, tangent, index)
        close(line, start**2 + 2 * start * (x - start))
        close(shown(stage, model, index), [x, line + (x - start) ** 2 / (2 * eta)])
        end = start * (1 - 2 * eta)
        close(shown(stage, least, index), [end, lowest(start, eta)])
        close(shown(stage, after, index), [end, end**2])
        close(shown(stage, point, index), [start, start**2])


def test_what_the_caption_of_the_price_claims():
    """Tangent plus price is f at η = ½, above f for smaller rates and below for larger ones; beyond ½ the step overshoots."""
    x, model = np.linspace(-3, 3, 61), lambda start, eta: start**2 + 2 * start * (x - start) + (x - start) ** 2 / (2 * eta)
    for start in (2.0, -1.0):
        close(model(start, 0.5), x**2)
        assert (model(start, 0.2) >= x**2 - 1e-9).all() and (model(start, 0.8) <= x**2 + 1e-9).all()
        assert lowest(start, 0.2) > (0.6 * start) ** 2 and lowest(start, 0.8) < (0.6 * start) ** 2  # θ′ = ±0.6 θ
        assert start * (1 - 2 * 0.2) * start > 0 > start * (1 - 2 * 0.8) * start
    close(model(0.0, 0.2).min(), 0)  # at the minimum there is nothing to gain


def parabola(n, start, eta):
    end = start
    for _ in range(int(n)):
        end -= eta * 2 * end
    regimes = {eta < 0.5: "the error shrinks monotonically", eta == 0.5: "the minimum is reached in one step",
               0.5 < eta < 1: "the error oscillates and shrinks", eta == 1: "θ jumps back and forth for ever",
               eta > 1: "the error oscillates and grows: divergence"}
    return (f"η = {eta:.3f}: {regimes[True]}.\nAfter {number_of(n, 'iteration')} θ = {end:.4g} and f(θ) = {end**2:.4g}."
            + ("\nθ has left the picture." if abs(end) > 15 or end**2 > 220 else "")
            + ("\nThe loss has left the picture." if not 1e-9 <= end**2 <= 1e9 else ""))


def check_parabola(stage):
    path, point, decay, loss, start = stage.marks
    for index in positions(stage):
        n, begin, eta = values(stage, index)
        t = np.arange(int(n) + 1)
        iterates = begin * (1 - 2 * eta) ** t
        close(shown(stage, path, index), [iterates, iterates**2])
        close(shown(stage, point, index), [iterates[-1], iterates[-1] ** 2])
        close(shown(stage, decay, index), [t, iterates**2])
        close(shown(stage, loss, index), [n, iterates[-1] ** 2])
        close(shown(stage, start, index), [begin, begin**2])


def test_what_the_caption_of_the_parabola_claims():
    """The loss is multiplied by (1 − 2η)² in every iteration: a line that falls, is level at η = 1, and rises."""
    for eta, slope in ((0.1, -1), (0.9, -1), (1.0, 0), (1.05, 1)):
        ends = np.array([10 * (1 - 2 * eta) ** n for n in range(61)])
        steps = np.diff(np.log(ends**2))
        close(steps, steps[0])
        assert np.sign(np.round(steps[0], 12)) == slope
    # At η = 0.1 and at 0.9 the losses are the same: the paths differ in the side that they come from.
    close((1 - 2 * 0.1) ** 2, (1 - 2 * 0.9) ** 2)


def learned(n, nu, eta0):
    """Position and rate at each of n iterations on θ² from 10."""
    theta, rate, slopes, path = 10.0, eta0, [0.0], [(10.0, eta0)]
    for _ in range(int(n)):
        slopes.append(2 * theta)
        rate += nu * slopes[-1] * slopes[-2]
        theta -= rate * slopes[-1]
        path.append((theta, rate))
    return np.array(path)


def learned_rate(n, nu, eta0):
    theta, rate = learned(n, nu, eta0)[-1]
    return (f"With ν = {nu:.0e} the rate goes from {eta0:.3f} to {rate:.4f} in {number_of(n, 'iteration')}.\n"
            f"θ = {theta:.2e}; without learning it would be {10 * (1 - 2 * eta0) ** int(n):.2e}.")


def check_learned_rate(stage):
    path, point, ends, end = stage.marks
    for index in positions(stage):
        n, nu, eta0 = values(stage, index)
        rates = learned(n, nu, eta0)[:, 1]
        close(shown(stage, path, index), [np.arange(n + 1), rates])
        close(shown(stage, point, index), [n, rates[-1]])
        close(shown(stage, end, index), [eta0, learned(100, nu, eta0)[-1, 1]])
        first, last = shown(stage, ends, index)
        close(last, [learned(100, nu, eta)[-1, 1] for eta in first])
        close(first, stage.sliders[2].values)


def test_what_the_caption_of_the_learned_rate_claims():
    _, speeds, rates = (s.values for s in gradient_descent.learned_rate(Objective(theta**2, theta)).sliders)
    ends = {nu: np.array([learned(100, nu, eta)[-1, 1] for eta in rates]) for nu in speeds}
    assert (np.abs(ends[1e-3] - 0.5) < 0.05).all()  # near the best rate, from every first one
    side = lambda eta: np.sign(np.round(eta - 0.5, 9))
    assert all((side(ends[nu]) == side(rates)).all() for nu in speeds if nu < 2e-3)  # and never past it
    at = lambda eta: np.abs(rates - eta).argmin()
    assert abs(ends[1e-5][at(0.3)] - 0.3) < 0.01  # a small ν hardly moves it
    assert ends[2e-3][at(0.2)] > 0.55 and ends[2e-3][at(0.7)] < 0.45  # a large one carries it past
    with np.errstate(all="ignore"):
        assert not np.isfinite(learned(200, 5e-3, 0.1)[-1]).all()


def ends_of(kappa):
    return np.array([1 / kappa, 1.0])


@cache
def heavy_ball(kappa, eta, beta, x, y, n):
    """Errors along both eigendirections by the recurrence of second order, shape (n + 1, 2)."""
    lam, path = ends_of(kappa), [np.array([x, y])]
    path.append((1 - eta * lam) * path[0])
    while len(path) <= n:
        path.append((1 + beta - eta * lam) * path[-1] - beta * path[-2])
    return np.array(path[:n + 1])


def long_run(kappa, eta, beta):
    return max(np.abs(np.linalg.eigvals([[1 + beta - eta * lam, -beta], [1, 0]])).max() for lam in ends_of(kappa))


def best_pair(kappa):
    root = np.sqrt(kappa)
    return 4 * kappa / (root + 1) ** 2, ((root - 1) / (root + 1)) ** 2, (root - 1) / (root + 1)


def iterations_to_a_thousandth(kappa, eta, beta, x=-1.2, y=0.9):
    """Predicted and measured; infinite where it never happens, or not within 400 iterations."""
    rho, error = long_run(kappa, eta, beta), np.hypot(*heavy_ball(kappa, eta, beta, x, y, 400).T)
    small = np.flatnonzero(error <= 1e-3 * error[0])
    with np.errstate(divide="ignore"):
        needed = max(1, np.ceil(np.log(1e-3) / np.log(rho) - 1e-6)) if rho < 1 - 1e-9 else np.inf
    return needed, small[0] if small.size else np.inf


def valley(n, kappa, eta, beta, x0, y0):
    rho, (best_eta, best_beta, best) = long_run(kappa, eta, beta), best_pair(kappa)
    predicted, measured = iterations_to_a_thousandth(kappa, eta, beta, x0, y0)
    if rho >= 1 - 1e-9:
        told = "none, it diverges (r > 1)" if rho > 1 + 1e-9 else "not predicted, for r = 1"
        told += "" if np.isinf(measured) else f", {measured} measured"
    else:
        told = ", ".join(f"{count:.0f} {word}" if count <= 400 else f"more than 400 {word}"
                         for count, word in ((predicted, "predicted"), (measured, "measured")))
    return (f"Long-run factor r = {rho:.4f}; the best pair, η = {best_eta:.3f} and β = {best_beta:.3f}, has {best:.4f}.\n"
            f"Iterations to a thousandth of the initial error: {told}.")


def check_valley(stage):
    levels, path, end, start = stage.marks[:5], *stage.marks[5:8]
    predicted, measured, contours, best, pair = *stage.marks[8:10], stage.marks[10:14], *stage.marks[14:]
    for index in positions(stage):
        n, kappa, eta, beta, x0, y0 = values(stage, index)
        walked = heavy_ball(kappa, eta, beta, x0, y0, int(n))
        error = np.linalg.norm(walked, axis=-1) / np.linalg.norm([x0, y0])
        np.testing.assert_allclose(shown(stage, path, index), walked.T, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(shown(stage, end, index), walked[-1], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(shown(stage, measured, index), [np.arange(n + 1), error], rtol=1e-6, atol=1e-9)
        t, ratio = shown(stage, predicted, index)
        np.testing.assert_allclose(ratio, long_run(kappa, eta, beta) ** t, rtol=1e-5)
        close(t, np.arange(61))
        close(shown(stage, start, index), [x0, y0])
        close(shown(stage, pair, index), [eta, beta])
        close(shown(stage, best, index), best_pair(kappa)[:2])
        for level, radius in zip(levels, (0.3, 0.6, 0.9, 1.2, 1.5)):
            x, y = shown(stage, level, index)
            close(y, radius * np.sin(np.linspace(0, 2 * np.pi, 73)))
            close(x**2 / kappa + y**2, radius**2)
            close(x[0], radius * np.sqrt(kappa))
    kappas = stage.sliders[1].values
    for mark, rho in zip(contours, (0.6, 0.8, 0.9, 0.95), strict=True):
        for i, kappa in enumerate(kappas):
            np.testing.assert_allclose([c[0, i, 0, 0, 0, 0] for c in (mark.x, mark.y)], level_line(kappa, rho), rtol=1e-5,
                                       atol=1e-7)


def level_line(kappa, rho):
    """Where the factor is ρ: both roots of r² − (1 + β − ηλ) r + β lie within the circle of radius ρ if β ≤ ρ² and
    |1 + β − ηλ| ≤ ρ + β/ρ (Jury's criterion), so that straight lines bound it, and 13 points lie on each side."""
    left = lambda beta: kappa * (1 - rho) * (1 - beta / rho)
    right = lambda beta: (1 + rho) * (1 + beta / rho)
    if left(rho**2) > right(rho**2):
        return np.full((2, 26), np.nan)
    tip = max(0, rho * (kappa * (1 - rho) - (1 + rho)) / (kappa * (1 - rho) + (1 + rho)))
    beta = np.linspace(tip, rho**2, 13)
    return np.array([[*left(beta), *right(beta)[::-1]], [*beta, *beta[::-1]]])


def test_what_the_caption_of_the_valley_claims():
    rates, betas = (s.values for s in gradient_descent.valley().sliders[2:4])
    for kappa in (1, 3, 10, 30, 100):  # within reach of slider and click
        eta, beta, rho = best_pair(kappa)
        close([rates[np.abs(rates - eta).argmin()], betas[np.abs(betas - beta).argmin()]], [eta, beta])
        np.testing.assert_allclose(long_run(kappa, eta, beta), rho, atol=1e-6)
        assert min(long_run(kappa, e, b) for e in rates[::6] for b in betas[::4]) >= rho - 1e-6
    plain = iterations_to_a_thousandth(30, 1.9, 0.0)
    assert plain == (106, 103)
    assert iterations_to_a_thousandth(30, *best_pair(30)[:2]) == (19, 28)
    path = heavy_ball(30, 1.9, 0.0, -1.2, 0.9, 30)  # bounces across, and crawls along
    assert (np.diff(np.sign(path[:, 1])) != 0).all() and (path[:, 0] < 0).all()
    assert long_run(30, 3.0, 0.0) > 1 > long_run(30, 3.0, 0.6)  # momentum widens what is stable
    ringing = heavy_ball(30, 0.5, 0.95, -1.2, 0.9, 60)
    np.testing.assert_allclose(long_run(30, 0.5, 0.95), np.sqrt(0.95))
    assert (np.diff(np.sign(ringing[:, 0])) != 0).sum() >= 2 and ringing[:, 0].max() > 0.6


@cache
def adams():
    """Adam on θ² from 1 with 9 rates and 3 memories, in the operations and the order of the algorithm, as leaving is chaotic.

    The largest of each eight errors, the root of v̂ after every eighth gradient, and the iterations of both.
    """
    eta, beta2 = np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0])[:, None], np.array([0.9, 0.95, 0.98])
    position, m, v, errors, roots = np.ones((9, 3)), np.zeros((9, 3)), np.zeros((9, 3)), [], []
    for t in range(1, 802):
        g = 2 * position
        m, v = 0.9 * m + (1 - 0.9) * g, beta2 * v + (1 - beta2) * g * g
        v_hat = v / (1 - beta2**t)
        errors.append(np.abs(position))
        roots.append(v_hat**0.5)
        position = position - eta * (m / (1 - 0.9**t) / (v_hat**0.5 + 1e-8))
    largest = [errors[0], *(np.max(errors[k - 7:k + 1], axis=0) for k in range(8, 801, 8))]
    return np.array(largest), eta * 2 / (np.array(roots[::8]) + 1e-8), np.arange(0, 801, 8)


def leaving(n, eta, beta2):
    errors, reach, t = adams()
    run = list(np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0])).index(eta), [0.9, 0.95, 0.98].index(beta2)
    own, frame = errors[(slice(None), *run)], int(n) // 8
    late = own[t > 600].max()
    return (f"Iteration {n:.0f}: error {own[frame]:.2g}, rate × curvature {reach[(frame, *run)]:.3g}.\n"
            f"Nearest to the minimum at iteration {t[own.argmin()]}: {own.min():.1e}. In the last 200 iterations the error is "
            f"up to {late:.2g}, {late / eta:.2f} of η.")


def check_leaving(stage):
    size, path, point, reach, reached = stage.marks
    errors, reaches, t = adams()
    for marks, expected in (((path, point), errors), ((reach, reached), reaches)):
        for mark in marks:
            close(mark.x[:, 0, 0], t)
            np.testing.assert_allclose(mark.y, expected, rtol=1e-4)
    close(size.x, [0, 800])
    close(size.y[:, 0], stage.sliders[1].values[:, None])


def test_what_the_caption_of_leaving_claims():
    errors, reach, t = adams()
    eta = np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0])[:, None]
    turn = errors.argmin(axis=0)
    assert (np.abs(t[turn] - t[(reach > 38).argmax(axis=0)])[:, 1:] <= 16).all()  # the crossing is the turn
    jump = np.array([[errors[turn[i, j]:, i, j].max() for j in range(3)] for i in range(9)]) / eta
    assert (np.diff(jump, axis=1) > 0).all() and jump.min() > 0.04 and jump.max() < 0.23
    assert (0.15 < jump[:, 2]).all()
    assert (np.diff(turn, axis=1) > 0).all() and (np.diff(turn, axis=0) < 0).all()
    nearest = errors.min(axis=0)
    assert (np.diff(nearest, axis=1) < 0).all() and (nearest[:, 0] > 0.025 * eta[:, 0]).all() and nearest[2, 2] < 1e-10
    assert errors[turn[2, 2]:turn[2, 2] + 6, 2, 2].max() > 0.2 * 0.1  # back within 40 iterations
    late = errors[t > 600].max(axis=0) / eta
    np.testing.assert_allclose(late[:, :2], [[0.043, 0.040]] * 9, atol=5e-4)


@cache
def noisy(sigma):
    """The first of 1000 runs with each rate, and the variance of all in the end; with the figure's noise."""
    noise, rates = np.random.default_rng(0).standard_normal((150, 1000)), np.arange(1, 49) / 50
    position = np.full((48, 1000), 4.0)
    first = [position[:, 0]]
    for drawn in noise:
        position = (1 - 2 * rates[:, None]) * position - rates[:, None] * sigma * drawn
        first.append(position[:, 0])
    return np.array(first), ((position - position.mean(axis=1, keepdims=True)) ** 2).mean(axis=1)


def floor(eta, sigma):
    return eta * sigma**2 / (2 * (2 - 2 * eta))


def noise_floor(n, eta, sigma):
    needed, error = 0, 1.0
    while abs(error) > 1e-3 and needed < 1000:
        needed, error = needed + 1, error * (1 - 2 * eta)
    return (f"Final variance: {floor(eta, sigma):.3g} predicted, {noisy(sigma)[1][round(50 * eta) - 1]:.3g} measured.\n"
            f"The mean falls to a thousandth of the start in {number_of(needed, 'iteration')}.")


def check_noise_floor(stage):
    *band, path, predicted, measured, point = stage.marks
    t, rates, sizes = (s.values for s in stage.sliders)
    close(path.x[:, 0, 0], t)
    close(measured.x, rates[1::2])
    for j, sigma in enumerate(sizes):
        first, variance = noisy(sigma)
        close(path.y[:, :, j], first)
        close(measured.y[j], variance[1::2])
    for index in positions(stage):
        _, eta, sigma = values(stage, index)
        deviation = sigma * np.sqrt(floor(eta, 1) * (1 - (1 - 2 * eta) ** (2 * t)))
        for mark, sign in zip(band, (1, -1)):
            close(shown(stage, mark, index), [t, 4 * (1 - 2 * eta) ** t + sign * 1.96 * deviation])
        close(shown(stage, predicted, index), [rates, floor(rates, sigma)])
        close(shown(stage, point, index), [eta, floor(eta, sigma)])


def test_what_the_caption_of_the_noise_floor_claims():
    rates = np.arange(1, 49) / 50
    for sigma in (0.5, 1.0, 2.0):
        measured = noisy(sigma)[1]
        assert np.abs(measured / floor(rates, sigma) - 1).max() < 3 * np.sqrt(2 / 1000)
        close(floor(rates, sigma), sigma**2 * floor(rates, 1))
    needed = [int(noise_floor(150, eta, 1).split()[-2]) for eta in rates]
    assert (np.diff(floor(rates, 1)) > 0).all()
    assert (np.diff(needed[:25]) <= 0).all() and needed[24] == 1 and (np.diff(needed[24:]) >= 0).all()
    assert needed[4] == needed[44] == 31 and floor(0.9, 1) > 80 * floor(0.1, 1)
    within = [np.mean(np.abs(noisy(2.0)[0][40:, k]) < 1.96 * np.sqrt(floor(rates[k], 2))) for k in range(4, 48)]
    assert abs(np.mean(within) - 0.95) < 0.03


@cache
def wells(start, n=30):
    """Iterates of descent with rate 0.3 and of Newton's method on θ⁴/4 − θ²/2."""
    descent, newton = [start], [start]
    for _ in range(n):
        descent.append(descent[-1] - 0.3 * (descent[-1] ** 3 - descent[-1]))
        newton.append(2 * newton[-1] ** 3 / (3 * newton[-1] ** 2 - 1))
    return np.array(descent), np.array(newton)


def basins(n, start):
    descent, newton = wells(start)
    return f"From θ₀ = {start:.3f}, after 30 iterations: descent at {descent[-1]:.3f}, Newton’s method at {newton[-1]:.3f}."


def check_basins(stage):
    starts, f = stage.sliders[1].values, lambda theta: theta**4 / 4 - theta**2 / 2
    *both, left, right = stage.marks
    ends = np.array([[path[-1] for path in wells(start)] for start in starts])
    ends[starts == 0, 0] = np.nan  # descent stays on the maximum, where the line of its ends has a gap
    for method in (0, 1):
        path, head, map_, end = both[4 * method:4 * method + 4]
        close(map_.x, starts)
        close(map_.y, ends[:, method])
        for index in positions(stage):
            n, start = values(stage, index)
            walked = wells(start)[method]
            own = walked[:int(n) + 1]
            np.testing.assert_allclose(shown(stage, path, index), [own, f(own)], rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(shown(stage, head, index), [own[-1], f(own[-1])], rtol=1e-6, atol=1e-9)
            close(shown(stage, end, index), [start, walked[-1]])
            close(shown(stage, left, index), [start, f(start)])
            close(shown(stage, right, index), [start, -1.4])


def test_what_the_caption_of_the_basins_claims():
    starts = np.arange(-300, 301) / 200
    descent, newton = np.array([[path[-1] for path in wells(start)] for start in starts]).T
    np.testing.assert_allclose(descent[starts != 0], np.sign(starts[starts != 0]), atol=1e-3)
    assert descent[starts == 0] == 0
    size = np.abs(starts)
    np.testing.assert_allclose(newton[size < 1 / np.sqrt(5)], 0, atol=1e-9)
    outer = size > 1 / np.sqrt(3)
    np.testing.assert_allclose(newton[outer], np.sign(starts[outer]), atol=1e-9)
    between = (1 / np.sqrt(5) < starts) & (starts < 1 / np.sqrt(3))
    np.testing.assert_allclose(np.abs(newton[between]), 1, atol=1e-9)
    assert {-1.0, 1.0} == set(newton[between].round(6))
    close(wells(0.5)[1][1], -1)
    assert -47 < wells(0.575)[1][1] < -46
    fine = np.array([wells(start, 60)[1][-1] for start in 1 / np.sqrt(5) + np.geomspace(1e-10, 0.1, 400)])
    assert (np.diff(np.sign(fine)) != 0).sum() >= 10  # ever narrower intervals towards 1/√5


def hills(n, start, eta):
    position = start
    for _ in range(int(n)):
        position -= eta * (position / 5 + 2 * np.cos(2 * position))
    return f"From θ₀ = {start:.2f} with η = {eta:.2f}, after {number_of(n, 'iteration')}: θ = {position:.4f}."


def descended(start, eta, n=40):
    """Iterates on the bowl with waves, from each start."""
    iterates = [start]
    for _ in range(n):
        iterates.append(iterates[-1] - eta * (iterates[-1] / 5 + 2 * np.cos(2 * iterates[-1])))
    return np.array(iterates)


def check_hills(stage):
    path, point, start, end_map, end = stage.marks
    f = lambda t: t**2 / 10 + np.sin(2 * t)
    for index in positions(stage):
        n, theta0, eta = values(stage, index)
        iterates = descended(stage.sliders[1].values, eta)
        own = iterates[:int(n) + 1, index[1]]
        close(shown(stage, path, index), [own, f(own)])
        close(shown(stage, point, index), [own[-1], f(own[-1])])
        close(shown(stage, start, index), [theta0, f(theta0)])
        close(shown(stage, end_map, index), [stage.sliders[1].values, iterates[-1]])
        close(shown(stage, end, index), [theta0, iterates[-1, index[1]]])


def test_what_the_caption_of_the_hills_claims():
    starts = np.linspace(-6, 6, 241)
    end = descended(starts, 0.1)[-1]
    minima = np.unique(descended(starts, 0.1, 4000)[-1].round(6))
    assert minima.size == 5 and np.abs(end[:, None] - minima).min(axis=1).max() < 1e-3  # five steps, reached in 40 iterations
    jumps = np.flatnonzero(np.diff(end) > 0.5)
    assert (np.diff(end) > -1e-3).all() and jumps.size == 4
    slope, bend = (lambda t: t / 5 + 2 * np.cos(2 * t)), (lambda t: 0.2 - 4 * np.sin(2 * t))
    for low, high in zip(starts[jumps], starts[jumps + 1]):  # a hilltop lies between them
        assert slope(low) > 0 > slope(high) and bend((low + high) / 2) < 0
    inner = minima[np.abs(minima) < 6]
    assert inner.size == 4 and (2 / bend(inner) < 0.6).all()
    late = descended(starts, 0.6, 400)[-3:]
    at_rest = np.abs(late[1] - late[2]) < 1e-3
    assert np.abs(late[0] - late[2]).max() < 1e-6 and 0 < at_rest.sum()
    assert (starts[at_rest] < -5.8).all() and (np.abs(late[-1, at_rest]) > 6).all()
    pairs = descended(starts, 0.6)[-2:, starts > -5.8]  # the last two of 40: one on each side of a minimum
    assert ((pairs.min(axis=0)[:, None] < inner) & (inner < pairs.max(axis=0)[:, None])).any(axis=1).all()


def test_what_the_last_exercise_says_of_larger_rates():
    """On ½θ² − ¼θ⁴: a symmetric cycle up to η = 3, two that are not symmetric at 3.1, four points at 3.25, chaos at 3.8."""
    def distinct(eta, n=64):
        theta = 0.3
        for _ in range(20_000):
            theta -= eta * (theta - theta**3)
        orbit = [theta := theta - eta * (theta - theta**3) for _ in range(n)]
        return sorted(set(np.round(orbit, 5)))
    low, high = distinct(2.9)
    close(low, -high)
    np.testing.assert_allclose(np.sort(np.abs(distinct(3.1))), [0.485, 0.665], atol=1e-3)
    assert [len(distinct(eta)) for eta in (3.2, 3.25)] == [2, 4] and len(distinct(3.8)) > 50
