"""The live figures of two-level learning, entry by entry, against closed forms that share no code with them."""

from functools import cache

import numpy as np
import sympy as sp

from conftest import answer, only_for_the_legend, positions, shown
from metacalc import meta, step
from metacalc.course.figures import meta_learning
from metacalc.course.figures.meta_learning import ALPHA, STEPS, THETA, meta_gradients, quadratic_tasks
from metacalc.models import Quadratic

A, C = np.array([4.0, 1.0, 0.5]), np.array([-2.0, 1.0, 2.0])
NAMES = ["joint", "MAML", "FOMAML", "Reptile", "iMAML"]


@cache
def weights(alpha, k):
    """The weight of each task, by hand; iMAML has λ = 1/(kα)."""
    left, lam = (1 - alpha * A) ** k, 1 / (k * alpha)
    return {"joint": A, "MAML": A * left**2, "FOMAML": A * left, "Reptile": (1 - left) / alpha,
            "iMAML": A * (lam / (A + lam)) ** 2}


@cache
def gradient(name, alpha, k, theta):
    return (weights(alpha, k)[name] * (theta - C)).mean()


@cache
def fixed(name, alpha, k):
    w = weights(alpha, k)[name]
    return (w * C).sum() / w.sum()


@cache
def by_alpha(alpha, k, theta):
    """The derivative of ½a(1 − αa)^{2k}(θ − c)² by α."""
    return (-k * A**2 * (1 - alpha * A) ** (2 * k - 1) * (theta - C) ** 2).mean()


@cache
def meta_loss(alpha, k, theta):
    return (A / 2 * (1 - alpha * A) ** (2 * k) * (theta - C) ** 2).mean()


def update_arrows(alpha, k, theta):
    listed = lambda f: ", ".join(f"{name} {f(name):.4g}" for name in NAMES)
    repels = [f" {name}’s repels." for name in NAMES if weights(alpha, k)[name].sum() < 0]
    return (f"Meta-loss after adapting: {meta_loss(alpha, k, theta):.4g}.\n"
            f"Meta-gradients at θ = {theta:.2f}: {listed(lambda name: gradient(name, alpha, k, theta))}; Meta-SGD’s by α "
            f"{by_alpha(alpha, k, theta):.4g}.\nThey vanish at: {listed(lambda name: fixed(name, alpha, k))}."
            + "".join(repels))


def landscape(alpha, k):
    bends, best = weights(alpha, k)["MAML"].mean(), fixed("MAML", alpha, k)
    return (f"Meta-loss: least at θ* = {best:.4f}, where it is {meta_loss(alpha, k, best):.4g}; curvature {bends:.4g}.\n"
            f"The outer loop is stable for rates below 2/{bends:.4g} = {2 / bends:.4g}.")


@cache
def outer_path(start, alpha, eta, n_iters=10, k=3):
    best, factor = fixed("MAML", alpha, k), 1 - eta * weights(alpha, k)["MAML"].mean()
    return best + factor ** np.arange(n_iters + 1) * (start - best)


def two_levels(n, start, alpha, eta):
    t, j = divmod(int(n), 4)
    theta = outer_path(start, alpha, eta)[t]
    phi = C + (1 - alpha * A) ** j * (theta - C)
    return (f"Outer iteration {t}, inner step {j} of 3: θ = {theta:.4g}, the tasks’ φ = {phi[0]:.4g}, {phi[1]:.4g}, "
            f"{phi[2]:.4g}.\nMean loss at θ {(A / 2 * (theta - C) ** 2).mean():.4g}; after all inner steps "
            f"{meta_loss(alpha, 3, theta):.4g}.")


def close(table, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(table, np.broadcast_to(expected, np.shape(table)), rtol=1e-7, atol=1e-9)


def check_update_arrows(stage):
    left, theta_left, right, sgd, theta_right = stage.marks[:10], stage.marks[10], stage.marks[11:21], *stage.marks[21:]
    assert all(m.toggle for m in (*left, *right, sgd)) and theta_right.drag == ("theta", "alpha")
    rates, ks = (s.values for s in stage.sliders[:2])
    for index in positions(stage):
        alpha, k, theta = (s.values[i] for s, i in zip(stage.sliders, index))
        at = lambda mark: shown(stage, mark, index)
        for row, name in enumerate(NAMES):
            (arrow, star), (_, right_star) = left[2 * row:2 * row + 2], right[2 * row:2 * row + 2]
            close(at(arrow), [theta, 5 - row, -0.5 * gradient(name, alpha, k, theta), 0])
            close(at(star), [fixed(name, alpha, k), 5 - row])
            close(at(right_star), [fixed(name, alpha, k), alpha])
        # Meta-SGD moves θ as MAML does.
        close(at(sgd), [theta, alpha, -0.5 * gradient("MAML", alpha, k, theta), -0.003 * by_alpha(alpha, k, theta)])
        close(at(theta_left), [theta, 6])  # above the rows
        close(at(theta_right), [theta, alpha])
        close(answer(stage, index), fixed("MAML", alpha, k))
    for row, name in enumerate(NAMES):
        curve = right[2 * row]
        assert {m.label for m in (*left[2 * row:2 * row + 2], *right[2 * row:2 * row + 2])} == {name}
        close(curve.y, rates)
        for i, k in enumerate(ks):
            line = curve.x[0, i, 0]
            there = np.isfinite(line)
            assert there.sum() >= rates.size - 1  # a pole is left out
            np.testing.assert_allclose(line[there], [fixed(name, a, k) for a in rates[there]], rtol=1e-6, atol=1e-8)


def check_landscape(stage):
    before, after, locus, best, *shares, total, bends = stage.marks
    only_for_the_legend(before)
    rates = np.arange(1, 121) / 200
    for index in positions(stage):
        alpha, k = (s.values[i] for s, i in zip(stage.sliders, index))
        at = lambda mark: shown(stage, mark, index)
        close(at(after), [after.x, [meta_loss(alpha, k, t) for t in after.x]])
        stars = [fixed("MAML", a, k) for a in rates]
        close(at(locus), [stars, [meta_loss(a, k, t) for a, t in zip(rates, stars)]])
        star = fixed("MAML", alpha, k)
        close(at(best), [star, meta_loss(alpha, k, star)])
        close(at(bends), [alpha, weights(alpha, k)["MAML"].mean()])
        share = np.array([weights(a, k)["MAML"] / 3 for a in rates])
        close(at(total), [rates, share.sum(axis=1)])
        for task, mark in enumerate(shares):
            close(at(mark), [rates, share[:, task]])
        close(answer(stage, index), rates[share.sum(axis=1).argmin()])
    np.testing.assert_array_equal(after.x, np.linspace(-5, 5, 101))


def check_two_levels(stage):
    begin, *tasks, theta, curve, path, point = stage.marks
    for index in positions(stage):
        n, start, alpha, eta = (s.values[i] for s, i in zip(stage.sliders, index))
        at = lambda mark: shown(stage, mark, index)
        t, j = divmod(int(n), 4)
        outer = outer_path(start, alpha, eta)
        close(at(theta), [outer[t], -1])  # below the curves
        close(at(begin), [start, meta_loss(alpha, 3, start)])
        close(at(curve), [curve.x, [meta_loss(alpha, 3, x) for x in curve.x]])
        close(at(point), [outer[t], meta_loss(alpha, 3, outer[t])])
        walked = outer[np.arange(int(n) + 1) // 4]
        close(at(path), [walked, [meta_loss(alpha, 3, x) for x in walked]])
        close(answer(stage, index), outer[10])
        for a, c, trail, end in zip(A, C, tasks[::2], tasks[1::2]):
            phi = c + (1 - alpha * a) ** np.minimum(np.arange(4), j) * (outer[t] - c)  # a path waits at its end
            close(at(trail), [phi, a / 2 * (phi - c) ** 2])
            close(at(end), [phi[-1], a / 2 * (phi[-1] - c) ** 2])
    np.testing.assert_array_equal(curve.x, np.linspace(-5, 5, 101))


def test_the_formulas_are_what_the_loops_compute():
    """Derived once for a symbolic number of steps; `metacalc.meta` takes the steps one by one."""
    derived, batch, model = meta_gradients(), quadratic_tasks(), Quadratic(1)
    value = lambda expr, *at: float(sp.lambdify((THETA, ALPHA, STEPS), expr, "numpy")(*at))
    for theta, alpha, k in [(4.0, 0.15, 2), (-3.3, 0.25, 1), (0.7, 0.25, 5), (1.9, 0.6, 9), (-5.0, 0.02, 10)]:
        for name, method in (("MAML", meta.maml), ("FOMAML", meta.fomaml), ("Reptile", meta.reptile)):
            close(value(derived[name], theta, alpha, k), method(model, [theta], batch, alpha, k)[1][0])
        close(value(derived["joint"], theta, alpha, k), meta.joint(model, [theta], batch)[1][0])
        lam = 1 / (k * alpha)
        implicit = meta.imaml(model, [theta], batch, 1 / (4 + lam), 400, lam=lam, cg_steps=1)
        close(value(derived["iMAML"], theta, alpha, k), implicit[1][0])
        both = meta.meta_sgd(model, meta.with_rates(np.array([theta]), alpha), batch, k)[1]
        close([value(derived[name], theta, alpha, k) for name in ("MAML", "by α")], both)


def test_steps_compose_to_the_closed_form():
    for task in meta_learning._tasks():
        for k in (1, 2, 5):
            assert sp.expand(step(task, ALPHA, k) - meta_learning._adapted(task, k)) == 0


RATES = np.arange(4, 121) / 200


def repels(name, k):
    return [alpha for alpha in RATES if weights(alpha, k)[name].sum() < 0]


def test_what_the_caption_of_the_arrows_claims():
    assert all(np.isclose(fixed("Reptile", alpha, 1), fixed("joint", alpha, 1)) for alpha in RATES)
    far = lambda alpha, k: abs(fixed("Reptile", alpha, k) - 1 / 3)
    assert all(far(alpha, 2000) < 1e-6 < far(alpha, 10) for alpha in RATES if alpha < 0.5)
    swings = [np.flatnonzero([far(alpha, k) > 0.1 for k in range(1, 400)])[-1] for alpha in (0.4, 0.45, 0.48, 0.49)]
    assert swings == sorted(swings) and fixed("Reptile", 0.45, 2) > 1 / 3 > fixed("Reptile", 0.45, 5)
    for k in range(1, 11):
        assert weights(0.25, k)["MAML"][0] == weights(0.25, k)["FOMAML"][0] == 0
        for alpha in RATES[RATES > 0.25]:
            assert (weights(alpha, k)["FOMAML"][0] < 0) == (k % 2 == 1)
        near = [abs(fixed("MAML", alpha, k) + 2) for alpha in RATES if alpha > 0.5]
        assert max(near) < 0.4 and np.all(np.diff(near) < 0)
        assert not (k % 2 and repels("Reptile", k)) and all((weights(a, k)["Reptile"][0] < 0) == (k % 2 == 0)
                                                            for a in RATES[RATES > 0.5])
    assert all(abs(fixed("MAML", alpha, k + 1) + 2) < abs(fixed("MAML", alpha, k) + 2)
               for alpha in RATES if alpha > 0.5 for k in range(1, 10))
    firsts = {("FOMAML", 1): 0.32, ("FOMAML", 3): 0.38, ("Reptile", 4): 0.575, ("Reptile", 10): 0.53}
    for (name, k), first in firsts.items():
        np.testing.assert_allclose(repels(name, k), RATES[RATES >= first - 1e-9])
    assert repels("Reptile", 2) == []


def test_what_the_caption_of_the_landscape_claims():
    bend, rates, counts = lambda alpha, k: weights(alpha, k)["MAML"].mean(), np.arange(8, 241) / 400, range(1, 11)
    assert all(np.all(np.diff([bend(alpha, k) for k in counts]) < 0) for alpha in rates[rates < 0.5])
    assert all(np.all(np.diff([bend(alpha, k) for k in counts]) > 0) for alpha in rates[rates > 0.5099])
    assert all(np.all(np.diff([weights(alpha, k)["MAML"][0] for k in counts]) > 0) for alpha in rates[rates > 0.5])
    assert all(1 < fixed("MAML", 0.25, k) < 2 for k in counts)
    assert abs(fixed("MAML", 0.6, 10) + 2) < 1e-3 and bend(0.6, 10) > 1000
    fine = np.arange(1, 121) / 200
    assert fine[np.argmin([bend(alpha, 3) for alpha in fine])] == 0.355


def test_what_the_caption_of_the_two_levels_claims():
    factor = lambda alpha, eta: 1 - eta * weights(alpha, 3)["MAML"].mean()
    assert abs(factor(0.15, 1)) < 1 and factor(0.55, 0.5) < -1 < factor(0.55, 0.45) < 0
    assert all(factor(0.55, eta) < -1 for eta in np.arange(10, 61) / 20) and abs(1 - 0.55 * 4) > 1
    ends = [outer_path(start, 0.15, 1.0, 200)[-1] for start in (-5, 0, 5)]
    np.testing.assert_allclose(ends, fixed("MAML", 0.15, 3))
