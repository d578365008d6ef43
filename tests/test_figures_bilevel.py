"""The live figures of bilevel learning, entry by entry, against loops of their own and closed forms; and the study."""

from functools import cache

import numpy as np
import pytest

from conftest import ROOT, answer, number_of, positions, shown
from metacalc.bilevel import implicit_gradient, inner_descent, unrolled
from metacalc.course import bilevel as course
from metacalc.course.figures.bilevel import FLOOR, KAPPAS, bowl
from metacalc.studies import load

KS = np.arange(201)


@cache
def left_over(kappa):
    """What a component of φ has left after k steps of the best rate, over (k, λ)."""
    lam = np.geomspace(1 / kappa, 1, 60)
    return lam, ((kappa - 1 - 2 * kappa * (lam - 1 / kappa)) / (kappa + 1)) ** KS[:, None]  # from 1 at 1/κ to −1 at 1


@cache
def conjugate(kappa):
    """The iterates 0, ..., 30 of conjugate gradients for Hv = φ_k, over (r, k, λ), and last for φ*; in extended precision."""
    lam, rest = left_over(kappa)
    lam, r = lam.astype(np.longdouble), np.vstack([1 - rest, np.ones(60)]).astype(np.longdouble)
    x, p = np.zeros_like(r), r
    found = [x]
    with np.errstate(all="ignore"):
        for _ in range(30):
            rr, curvature = (r * r).sum(axis=1), (p * lam * p).sum(axis=1)
            a = np.where(rr > 1e-34, rr / curvature, 0)[:, None]
            x, r = x + a * p, r - a * lam * p
            p = r + np.where(rr > 1e-34, (r * r).sum(axis=1) / rr, 0)[:, None] * p
            found.append(x)
    return np.array(found)


def floored(error):
    return np.maximum(np.asarray(error, float), FLOOR)


@cache
def at_minimum(kappa):
    """Errors of v over r, of conjugate gradients and of the series, in the norm of H."""
    lam, rest = left_over(kappa)
    norm = lambda e: np.sqrt((lam * e * e).sum(axis=-1))
    return floored(norm(conjugate(kappa)[:, -1] - 1 / lam) / norm(1 / lam)), floored(norm(rest[:31] / lam) / norm(1 / lam))


@cache
def in_all(kappa):
    """Errors of the hypergradient at φ_k: of conjugate gradients and the series over (r, k), of unrolling over k."""
    lam, rest = left_over(kappa)
    norm = lambda e: np.linalg.norm(np.asarray(e, float) * np.ones(60), axis=-1) / np.linalg.norm(1 / lam)
    series = norm((1 - (1 - rest[:31, None]) * (1 - rest)) / lam)
    return floored(norm(conjugate(kappa)[:, :-1] - 1 / lam)), floored(series), floored(norm((1 - (1 - rest) ** 2) / lam))


def bounds(kappa, r, k):
    fast, slow = (np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1), (kappa - 1) / (kappa + 1)
    return 2 * fast**r, slow**r, slow**k + 2 * np.sqrt(kappa) * fast**r * (1 + slow**k)


def solvers(kappa, r, k):
    kappa, r, k = int(kappa), int(r), int(k)
    (cg, series), (whole, _, alone), limits = at_minimum(kappa), in_all(kappa), bounds(kappa, r, k)
    return (f"At φ*, after {number_of(r, 'product')}: conjugate gradients {cg[r]:.2e} (bound {limits[0]:.2e}), Neumann "
            f"{series[r]:.2e} (bound {limits[1]:.2e}).\nAfter {number_of(k, 'inner step')}: with these conjugate gradients "
            f"{whole[r, k]:.2e} (bound {limits[2]:.2e}); unrolled, which takes {number_of(k, 'product')}, {alone[k]:.2e}.")


def close(table, expected):
    np.testing.assert_allclose(table, np.broadcast_to(expected, np.shape(table)), rtol=2e-4, atol=1e-12)


def check_solvers(stage):
    series, slow, series_now, cg, fast, cg_now, series_at, unrolled_all, unrolled_now, cg_at, allowed, now = stage.marks
    every = np.arange(0, 201, 5)
    for i, kappa in enumerate(KAPPAS):
        (by_cg, by_series), (whole, with_series, alone) = at_minimum(kappa), in_all(kappa)
        for mark, expected in ((cg, by_cg), (series, by_series), (unrolled_all, alone[every])):
            close(mark.y[i, 0, 0], expected)
        for mark, expected in ((cg_now, by_cg[:, None]), (series_now, by_series[:, None])):
            close(mark.y[i], expected)
        close(unrolled_now.y[i, 0], alone)
        close(now.y[i], whole)
        close(cg_at.y[i, :, 0], whole[:, every])
        close(series_at.y[i, :, 0], with_series[:, every])
        close(stage.guess.answer[i, 0, 0], np.flatnonzero(by_cg < 1e-3)[0])
    for mark in (cg, series):
        close(mark.x, np.arange(31))
    for mark in (cg_now, series_now):
        close(mark.x[:, 0], np.arange(31))
    for mark in (unrolled_all, cg_at, series_at):
        close(mark.x, every)
    for mark in (now, unrolled_now):
        close(mark.x, np.arange(201))
    for index in positions(stage):
        kappa, r, k = (s.values[i] for s, i in zip(stage.sliders, index))
        close(shown(stage, fast, index), [np.arange(31), bounds(kappa, np.arange(31), k)[0]])
        close(shown(stage, slow, index), [np.arange(31), bounds(kappa, np.arange(31), k)[1]])
        close(shown(stage, allowed, index), [every, bounds(kappa, r, every)[2]])
        assert answer(stage, index) == np.flatnonzero(at_minimum(kappa)[0] < 1e-3)[0]
    assert now.drag == ("k",) and cg_now.drag == ("r",)


@cache
def learned(kind):
    """Errors on validation and new data, and the penalties' exponents, along 100 iterations of Adam with exact solutions."""
    rng = np.random.default_rng(12)
    truth = rng.normal(size=200)
    truth[10 if kind == 0 else 200:] = 0
    truth *= np.sqrt(4 / (10 if kind == 0 else 200))
    x = rng.normal(size=(2, 100, 200))
    y = x @ truth + rng.normal(size=(2, 100))
    both, both_y = x.reshape(200, 200), y.ravel()
    theta, m, v, rows = np.zeros(200), 0.0, 0.0, []
    for t in range(1, 102):
        H = x[0].T @ x[0] / 100 + np.diag(np.exp(theta))
        phi = np.linalg.solve(H, x[0].T @ y[0] / 100)
        error = x[1] @ phi - y[1]
        final = np.linalg.solve(both.T @ both / 200 + np.diag(np.exp(theta)) / 2, both.T @ both_y / 200)
        rows.append(((error**2).mean(), 1 + ((final - truth) ** 2).sum(), theta))
        slope = -np.exp(theta) * phi * np.linalg.solve(H, x[1].T @ error / 100)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        theta = theta - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    validation, new, thetas = map(np.array, zip(*rows))
    return validation, new, thetas[:, np.argsort(-np.abs(truth), kind="stable")]


def penalties(kind, t):
    t = int(t)
    validation, new, theta = learned(int(kind))
    return (f"After {number_of(t, 'outer iteration')}: validation error {validation[t]:.3f}, error on new data {new[t]:.3f}; "
            f"with one penalty for all {new[0]:.3f}.\nThe penalties lie between e^{theta[t].min():.2f} and "
            f"e^{theta[t].max():.2f}.")


def check_penalties(stage):
    level, validation, validation_now, new, now, dots = stage.marks
    near = lambda table, expected: np.testing.assert_allclose(table, np.broadcast_to(expected, np.shape(table)), rtol=1e-3,
                                                              atol=1e-3)
    for kind in (0, 1):
        by_validation, by_new, theta = learned(kind)
        near(level.y[kind, 0], by_new[0])
        for mark, expected in ((validation, by_validation), (new, by_new)):
            near(mark.y[kind, 0], expected)
        for mark, expected in ((validation_now, by_validation), (now, by_new)):
            near(mark.y[kind], expected)
        near(dots.y[kind], theta[:, :60])
        near(stage.guess.answer[kind, 0], by_new.argmin())
    near(level.x, [0, 100])
    near(dots.x, np.arange(60))
    for mark in (validation, new, validation_now, now):
        near(mark.x, np.arange(101))


@pytest.mark.parametrize("kappa", KAPPAS)
def test_errors_keep_within_their_bounds(kappa):
    (cg, series), (whole, *_) = at_minimum(kappa), in_all(kappa)
    r = np.arange(31)
    assert (cg <= np.maximum(bounds(kappa, r, 0)[0], FLOOR) * 1.001).all()
    assert (series <= np.maximum(bounds(kappa, r, 0)[1], FLOOR) * 1.001).all()
    assert (whole <= np.maximum(bounds(kappa, r[:, None], KS)[2], FLOOR) * 1.001).all()


@pytest.mark.parametrize("kappa", [2, 50])
def test_the_figure_s_closed_forms_are_what_the_library_computes(kappa):
    problem, theta, lam = bowl(kappa)
    alpha, exact = 2 / (1 + 1 / kappa), 1 / lam
    for k in (1, 10, 55):
        phi = inner_descent(problem, theta, np.zeros(60), alpha, k)[-1]
        errors = [np.linalg.norm(g.gradient - exact) / np.linalg.norm(exact) for g in (
            unrolled(problem, theta, np.zeros(60), alpha, k), implicit_gradient(problem, theta, phi, 12),
            implicit_gradient(problem, theta, phi, 12, alpha))]
        whole, with_series, alone = in_all(kappa)
        close(floored(errors), [alone[k], whole[12, k], with_series[12, k]])


@pytest.mark.parametrize("kind, make", [
    ("penalties, few features matter", lambda: course.regression(12, sparse=True)),
    ("weights, labels of another rule", lambda: course.flipped_labels(12, systematic=True))])
def test_the_study_is_what_its_program_finds(kind, make):
    settings, results = load(ROOT / "chapters/results/bilevel.json")
    stops = tuple(t for t in settings["stops"] if t <= 20)
    levels = np.linspace(*settings[kind.split(",")[0]])
    found = course.contenders(make(), 12, stops, levels, settings["spread"])
    for name, run in found.items():
        if name != "random search":  # whose budget is that of the last stop
            stored = results[kind][12][name]
            np.testing.assert_allclose(run.errors, stored["errors"][:len(run.errors)], rtol=1e-3)
            np.testing.assert_allclose(run.calls, stored["calls"][:len(run.calls)], rtol=0.05)
    # The search may spend what implicit gradients did, and finishes what it has begun.
    assert 1 <= found["random search"].calls[0] / found["implicit gradients"].calls[-1] < 1.5


def test_the_table_chooses_on_the_tuning_draws_alone():
    runs = [{"implicit gradients": {"errors": [1.0, 2.0 + n], "validation": [3.0, 4.0], "calls": [5, 7]},
             "b": {"errors": [1.0 * n], "validation": [], "calls": []}} for n in range(4)]
    rows = course.table(runs, 2)
    assert [row["name"] for row in rows] == ["implicit gradients", "implicit gradients, to the end", "b"]
    assert [row["setting"] for row in rows] == [0, 1, 0] and rows[0]["error"].mean == 1 and rows[1]["error"].mean == 4.5
    assert rows[0]["calls"] == 5 and rows[1]["validation"] == 4 and np.isnan(rows[2]["calls"])
    assert course.gap(runs, 2, "b", "implicit gradients").mean == 1.5


def test_the_lasso_s_steps_are_those_of_beck_and_teboulle():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8)), rng.normal(size=30)
    rate = 30 / np.linalg.eigvalsh(x.T @ x)[-1]
    phi, z, t = [np.zeros(8)], np.zeros(8), 1.0
    for _ in range(6):
        u = z - rate * x.T @ (x @ z - y) / 30
        phi.append(np.where(np.abs(u) > 0.02 * rate, u - np.sign(u) * 0.02 * rate, 0))
        t, before = (1 + np.sqrt(1 + 4 * t**2)) / 2, t
        z = phi[-1] + (before - 1) / t * (phi[-1] - phi[-2])
    np.testing.assert_allclose(course.lasso(x, y, 0.02, 6), phi[-1], rtol=1e-9)


def test_the_lasso_is_a_minimum():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8)), rng.normal(size=30)
    phi = course.lasso(x, y, 0.2, 4000)
    slope = x.T @ (y - x @ phi) / 30
    assert (phi == 0).any() and (phi != 0).any()
    np.testing.assert_allclose(slope[phi != 0], 0.2 * np.sign(phi[phi != 0]), rtol=1e-6)
    assert (np.abs(slope[phi == 0]) <= 0.2 + 1e-9).all()
