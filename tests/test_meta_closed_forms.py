"""For k = 1, ..., 10 and any family of quadratic tasks: what SymPy derives = closed form = the loop = finite differences."""

from functools import cache

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from metacalc import finite_difference
from metacalc.course.figures.meta_learning import quadratic_tasks
from metacalc.meta import adapt, fomaml, imaml, joint, maml, meta_sgd, reptile, with_rates
from metacalc.models import Quadratic

MODEL = Quadratic(1)
NAMES = ["joint", "MAML", "FOMAML", "Reptile", "iMAML", "Meta-SGD"]


@cache
def derived(k):
    """Each algorithm's direction on one task by differentiating the k-step path, as NumPy functions of (a, c, α, λ, θ)."""
    a, c, alpha, lam, theta, phi = symbols = sp.symbols("a c alpha lam theta phi")
    loss = a / 2 * (theta - c) ** 2
    end = theta
    for _ in range(k):
        end = end - alpha * sp.diff(loss, theta).subs(theta, end)
    (near,) = sp.solve(sp.diff(loss.subs(theta, phi) + lam / 2 * (phi - theta) ** 2, phi), phi)
    after = loss.subs(theta, end)
    directions = {"joint": sp.diff(loss, theta), "MAML": sp.diff(after, theta), "FOMAML": sp.diff(loss, theta).subs(theta, end),
                  "Reptile": (theta - end) / alpha, "iMAML": sp.diff(loss.subs(theta, near), theta),
                  "Meta-SGD": sp.diff(after, alpha)}
    return {name: sp.lambdify(symbols[:-1], expression, cse=True) for name, expression in directions.items()}


def closed(name, a, c, alpha, lam, theta, k):
    left = (1 - alpha * a) ** k
    if name == "Meta-SGD":
        return -k * a**2 * (1 - alpha * a) ** (2 * k - 1) * (theta - c) ** 2
    weight = {"joint": a, "MAML": a * left**2, "FOMAML": a * left, "Reptile": (1 - left) / alpha,
              "iMAML": a * (lam / (a + lam)) ** 2}
    return weight[name] * (theta - c)


def loop(name, batch, alpha, lam, theta, k):
    stiff = float(batch.x_support.max())
    solved = dict(alpha=1 / (stiff + lam), k=600, lam=lam, cg_steps=1)
    return {"joint": lambda: joint(MODEL, theta, batch), "MAML": lambda: maml(MODEL, theta, batch, alpha, k),
            "FOMAML": lambda: fomaml(MODEL, theta, batch, alpha, k), "Reptile": lambda: reptile(MODEL, theta, batch, alpha, k),
            "iMAML": lambda: imaml(MODEL, theta, batch, **solved),
            "Meta-SGD": lambda: meta_sgd(MODEL, with_rates(theta, alpha), batch, k)}[name]()


number = lambda low, high: st.floats(low, high, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", range(1, 11))
@settings(max_examples=15, deadline=None)
@given(tasks=st.lists(st.tuples(number(0.1, 3.0), number(-5, 5)), min_size=1, max_size=5), alpha=number(0.01, 0.7),
       lam=number(0.1, 5.0), theta=number(-5, 5))
def test_four_ways_agree(name, k, tasks, alpha, lam, theta):
    a, c = np.array(tasks).T
    batch = quadratic_tasks(a, c)
    symbolic = np.mean(derived(k)[name](a, c, alpha, lam, theta))
    formula = np.mean(closed(name, a, c, alpha, lam, theta, k))
    gradient = loop(name, batch, alpha, lam, [theta], k)[1][-1]
    size = np.abs(closed(name, a, c, alpha, lam, theta, k)).max() + 1e-6
    # Adding up α(φ − c) step by step and raising to the k-th power round differently, in Reptile over α.
    assert abs(symbolic - formula) < 1e-9 * size + 1e-12
    assert abs(gradient - formula) < 1e-9 * size + 1e-12
    if name in ("FOMAML", "Reptile"):  # the gradients of no loss: a difference of the losses on the way stands in
        path = adapt(MODEL, [theta], batch.x_support, batch.y_support, alpha, k)[..., 0]
        slope = lambda phi: finite_difference(lambda q: a / 2 * (q[..., 0] - c) ** 2, phi[:, None], 1e-5)[:, 0]
        numeric = np.mean(slope(path[k]) if name == "FOMAML" else sum(slope(phi) for phi in path[:k]))
    elif name == "Meta-SGD":
        numeric = finite_difference(lambda r: maml(MODEL, [theta], batch, float(r[0]), k)[0], [alpha], 1e-6)[0]
    else:
        numeric = finite_difference(lambda t: loop(name, batch, alpha, lam, t, k)[0], [theta], 1e-5)[0]
    scale = 1 + np.mean(a * (np.abs(theta - c) + 1) ** 2) * max(1, *np.abs(1 - alpha * a)) ** (2 * k)
    assert abs(numeric - formula) < 1e-5 * scale * k
