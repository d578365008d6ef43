"""The live figures of two-level learning, entry by entry, against closed forms that share no code with them."""

from functools import cache

import numpy as np

from conftest import only_for_the_legend

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
            f"Meta-gradients at θ = {theta:.1f}: {listed(lambda name: gradient(name, alpha, k, theta))}; Meta-SGD’s by α "
            f"{by_alpha(alpha, k, theta):.4g}.\nThey vanish at: {listed(lambda name: fixed(name, alpha, k))}."
            + "".join(repels))


def landscape(alpha, k):
    bends, best = weights(alpha, k)["MAML"].mean(), fixed("MAML", alpha, k)
    return (f"Meta-loss: least at θ* = {best:.4f}, where it is {meta_loss(alpha, k, best):.4g}; curvature {bends:.4g}.\n"
            f"The outer loop is stable for rates below 2/{bends:.4g} = {2 / bends:.4g}.")


@cache
def outer_path(alpha, beta, n_iters=10, k=3):
    best, factor = fixed("MAML", alpha, k), 1 - beta * weights(alpha, k)["MAML"].mean()
    return best + factor ** np.arange(n_iters + 1) * (-4 - best)


def two_levels(n, alpha, beta):
    t, j = divmod(int(n), 4)
    theta = outer_path(alpha, beta)[t]
    phi = C + (1 - alpha * A) ** j * (theta - C)
    return (f"Outer iteration {t}, inner step {j} of 3: θ = {theta:.4g}, the tasks’ φ = {phi[0]:.4g}, {phi[1]:.4g}, "
            f"{phi[2]:.4g}.\nMean loss at θ {(A / 2 * (theta - C) ** 2).mean():.4g}; after all inner steps "
            f"{meta_loss(alpha, 3, theta):.4g}.")


def close(table, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(table, np.broadcast_to(expected, np.shape(table)), rtol=1e-7, atol=1e-9)


def check_update_arrows(stage):
    left, theta_left, right, sgd, theta_right = stage.marks[:10], stage.marks[10], stage.marks[11:21], *stage.marks[21:]
    alphas, ks, thetas = (s.values for s in stage.sliders)
    assert all(m.toggle for m in (*left, *right, sgd))
    shape = alphas.size, ks.size, thetas.size
    full = lambda table: np.broadcast_to(table, shape)
    for row, name in enumerate(NAMES):
        (arrow, star), (curve, right_star) = left[2 * row:2 * row + 2], right[2 * row:2 * row + 2]
        assert {m.label for m in (arrow, star, curve, right_star)} == {name}
        close(full(arrow.x), thetas)
        close(full(arrow.dx), [[[-0.5 * gradient(name, a, k, t) for t in thetas] for k in ks] for a in alphas])
        close([arrow.y, star.y, arrow.dy + 5 - row], 5 - row)
        for mark in (star, right_star):
            close(full(mark.x), np.array([[fixed(name, a, k) for k in ks] for a in alphas])[..., None])
        close(right_star.y[:, 0, 0], alphas)
        for i, k in enumerate(ks):
            line, rates = curve.x[0, i, 0], curve.y
            close(rates, np.arange(2, 61) / 100)
            there = np.isfinite(line)
            assert there.sum() >= rates.size - 1  # a pole is left out
            np.testing.assert_allclose(line[there], [fixed(name, a, k) for a in rates[there]], rtol=1e-6, atol=1e-8)
    close(full(sgd.dx), full(left[2].dx))  # Meta-SGD moves θ as MAML does
    close(full(sgd.dy), [[[-0.003 * by_alpha(a, k, t) for t in thetas] for k in ks] for a in alphas])
    for mark in (theta_left, theta_right, sgd):
        close(full(mark.x), thetas)
    for mark in (theta_right, sgd):
        close(mark.y[:, 0, 0], alphas)
    close(theta_left.y, 5 + 1)  # above the rows


def check_landscape(stage):
    before, after, best, *shares, total, bends = stage.marks
    only_for_the_legend(before)
    alphas, ks = (s.values for s in stage.sliders)
    for i, alpha in enumerate(alphas):
        for l, k in enumerate(ks):
            close(after.y[i, l], [meta_loss(alpha, k, t) for t in after.x])
            close(best.x[i, l], fixed("MAML", alpha, k))
            close(best.y[i, l], meta_loss(alpha, k, fixed("MAML", alpha, k)))
            close(bends.y[i, l], weights(alpha, k)["MAML"].mean())
    close(bends.x[:, 0], alphas)
    for l, k in enumerate(ks):
        share = np.array([weights(alpha, k)["MAML"] / 3 for alpha in total.x])
        close(total.y[0, l], share.sum(axis=1))
        for task, mark in enumerate(shares):
            close(mark.y[0, l], share[:, task])
            close(mark.x, total.x)


def check_two_levels(stage):
    *tasks, theta, curve, path, point = stage.marks
    frames, alphas, betas = (s.values for s in stage.sliders)
    t, j = np.divmod(frames.astype(int), 4)
    close(theta.y, -1)  # below the curves
    for i, alpha in enumerate(alphas):
        close(curve.y[0, i, 0], [meta_loss(alpha, 3, x) for x in curve.x])
        for l, beta in enumerate(betas):
            outer = outer_path(alpha, beta)[t]
            close([theta.x[:, i, l], path.x[:, i, l], point.x[:, i, l]], outer)
            close([path.y[:, i, l], point.y[:, i, l]], [meta_loss(alpha, 3, x) for x in outer])
            for a, c, trail, end in zip(A, C, tasks[::2], tasks[1::2]):
                walked = np.minimum(np.arange(4), j[:, None])  # a path waits at its end
                phi = c + (1 - alpha * a) ** walked * (outer[:, None] - c)
                close(trail.x[:, i, l], phi)
                close(trail.y[:, i, l], a / 2 * (phi - c) ** 2)
                close([end.x[:, i, l], end.y[:, i, l]], [phi[:, -1], a / 2 * (phi[:, -1] - c) ** 2])


def test_what_the_captions_claim():
    by_hand = lambda name, alpha, k: weights(alpha, k)[name]
    assert all(np.isclose(fixed("Reptile", alpha, 1), fixed("joint", alpha, 1)) for alpha in (0.05, 0.3, 0.6))
    assert by_hand("MAML", 0.25, 3)[0] == by_hand("FOMAML", 0.25, 3)[0] == 0
    assert by_hand("FOMAML", 0.3, 1)[0] < 0 < by_hand("FOMAML", 0.3, 2)[0] and by_hand("FOMAML", 0.45, 3).sum() < 0
    assert all(abs(fixed("MAML", 0.6, k) + 2) < 0.2 for k in range(1, 11))
    flat = [[by_hand("MAML", alpha, k).mean() for k in range(1, 11)] for alpha in (0.1, 0.25, 0.45)]
    assert np.all(np.diff(flat, axis=1) < 0)
    assert np.all(np.diff([by_hand("MAML", 0.6, k).mean() for k in range(1, 11)]) > 0)
    edge = 2 / by_hand("MAML", 0.55, 3).mean()
    assert 0.25 < edge < 1
