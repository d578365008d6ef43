"""The live figures of the outlook: the price of a meta-gradient, and a learning-rate schedule that is learned."""

from functools import cache
from typing import Any

import numpy as np

from metacalc.arrays import Array, ArrayLike
from metacalc.descent import adam, gradient_descent
from metacalc.meta import imaml, maml, rate_schedule
from metacalc.models import MLP, Quadratic
from metacalc.stage import COLORS, Curve, Guess, Path, Point, Readout, Slider, Stage, panel
from metacalc.tasks import Batch, Sinusoids

__all__ = ["best_rates", "bowls", "learned_schedule", "truncation"]

CG_STEPS = 3


def truncation(k_max: int = 12) -> Stage:
    """The meta-gradient through the last r of k inner steps: its error against the full one, and its cost.

    A tanh network at its random start, on 25 sinusoid tasks. The implicit gradient, with λ = 1/(kα), belongs to another inner
    problem; its distance from MAML's gradient is drawn with the others.

    Parameters
    ----------
    k_max : int
        Largest number of inner steps.
    """
    alphas, ks, rs = 0.02 * 2 ** (np.arange(-16, 1) / 4), np.arange(1, k_max + 1), np.arange(k_max + 1)
    shape = alphas.size, ks.size, rs.size
    angle, error, implicit = np.zeros(shape), np.zeros(shape), np.zeros((2, *shape[:2], 1))
    for i, alpha in enumerate(alphas.tolist()):
        for j, k in enumerate(ks.tolist()):
            *shorter, implicit[:, i, j, 0] = _distances(alpha, k)
            angle[i, j, :k], error[i, j, :k] = np.transpose(shorter)

    through = np.minimum(rs, ks[:, None])
    cost, cost_implicit = ks[:, None] + 1 + 2 * through, ks[:, None] + 2 + 2 * CG_STEPS
    there = np.where(rs <= ks[:, None], 1, np.nan)  # no curve beyond r = k
    curve = lambda table: table[:, :, None, :] * there[:, None, :]
    across = np.array([0.0, k_max])
    left = panel("r, inner steps differentiated", "degrees", (-0.4, k_max + 0.4), (-3, 75), "angle to the full gradient")
    right = panel("cost, in gradients", "relative error", (0, 3 * k_max + 3), (-0.05, 1.3), "error against cost")
    looks: dict[str, Any] = dict(color="purple", dash=":", label="implicit")
    marks = [
        Curve(left, rs, curve(angle), color="blue", dots=True, label="truncated"),
        Curve(left, across, np.broadcast_to(implicit[0, ..., None], (*shape[:2], 1, 2)), **looks),
        Point(left, 0, angle[..., :1], color="orange", shape="^", label="first-order", name="The first-order angle"),
        Point(left, through, angle, color="red", shape="D", label="r (drag it)", name="The angle", drag="r"),
        Curve(right, cost[:, None] * there[:, None], curve(error), color="blue", dots=True),
        Point(right, cost_implicit, implicit[1], color="purple", shape="s", name="The implicit error"),
        Point(right, cost[:, :1], error[..., :1], color="orange", shape="^", name="The first-order error"),
        Point(right, cost, error, color="red", shape="D", name="The error")]
    # Beyond r = k the error is 0, as at k.
    needed = (error < 0.1).argmax(axis=-1)[..., None]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("alpha", alphas, "inner rate α", 0.01, ".5f"), Slider("k", ks, "inner steps k", 10, "d"),
         Slider("r", rs, "last steps r", 2, "d")],
        Readout("Back through the last {through:d} of {k:d} step{k:s}: {grads:d} gradients, {through:d} Hessian-vector "
                "product{through:s}; angle {angle:.1f}°, relative error {error:.3f}.\nFirst order: {grads:d} gradients; "
                "{angle0:.1f}°, {error0:.3f}. Implicit: {grads2:d} gradients, " + f"{CG_STEPS} Hessian-vector products; "
                + "{angle1:.1f}°, {error1:.3f}.",
                through=through, grads=ks[:, None] + 1, grads2=ks[:, None] + 2, angle=angle, error=error,
                angle0=angle[..., :1], error0=error[..., :1], angle1=implicit[0], error1=implicit[1]),
        guess=Guess(left, "x", "How many of the k steps must be differentiated for an error under 10%?", needed, marks, "d"),
        play="r",
        alt="Left: the angle between the truncated meta-gradient and the full one falls as more inner steps are "
            "differentiated, with a level line for the implicit gradient. Right: the relative error against the cost in "
            "gradients, for the first-order, truncated and implicit gradients.")


@cache
def _distances(alpha, k):
    """For r = 0, ..., k − 1 and for the implicit gradient: angle in degrees to the full gradient, and relative error."""
    rng = np.random.default_rng(0)
    net = MLP((1, 8, 1), activation="tanh")
    theta, batch = net.init(rng), Sinusoids().sample(rng, 25)
    full = maml(net, theta, batch, alpha, k)[1]
    gradients = [maml(net, theta, batch, alpha, k, truncate=r)[1] for r in range(k)]
    gradients.append(imaml(net, theta, batch, alpha, k, lam=1 / (k * alpha), cg_steps=CG_STEPS)[1])
    size = np.linalg.norm(full)
    cosines = [gradient @ full / np.linalg.norm(gradient) / size for gradient in gradients]
    return [(np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.linalg.norm(gradient - full) / size)
            for cosine, gradient in zip(cosines, gradients)]


def bowls(kappa: float, n: int = 12) -> Batch:
    """Tasks a/2 θ² of one variable, with n curvatures in geometric progression from 1/κ to 1, as a `Batch`.

    Examples
    --------
    >>> bowls(4, 3).x_support.ravel()
    array([0.25, 0.5 , 1.  ])
    """
    a, c = np.geomspace(1 / kappa, 1, n)[:, None, None], np.zeros((n, 1))
    return Batch(a, c, a, c)


def best_rates(curvatures: ArrayLike, k: int) -> Array:
    """The k rates, in increasing order, that leave least of the losses a/2 θ² from θ = 1 on average.

    The rest is p(a) = Π (1 − α_j a). Of all polynomials of degree k with p(0) = 1 the one with the least Σ a p(a)² is
    a problem of least squares; its roots are the 1/α_j.

    Parameters
    ----------
    curvatures : array_like, shape (n,)
        Positive, at least k of them different.
    k : int

    Returns
    -------
    ndarray, shape (k,)

    Examples
    --------
    >>> best_rates([1, 4], 2)                    # two rates for two curvatures: nothing is left
    array([0.25, 1.  ])
    """
    a = np.asarray(curvatures, float)
    powers = a[:, None] ** np.arange(1, k + 1)
    q = np.linalg.lstsq(np.sqrt(a)[:, None] * powers, np.sqrt(a), rcond=None)[0]  # p = 1 − q_1 a − ... − q_k a^k
    return np.sort(1 / np.roots([*-q[::-1], 1]).real)


def learned_schedule(k_max: int = 5, n_iters: int = 150, every: int = 5) -> Stage:
    """Rates of k steps, learned by descent on the loss that they leave, and what they make of every curvature.

    Parameters
    ----------
    k_max : int
        Largest number of steps.
    n_iters, every : int
        Outer iterations of Adam, and how many of them a position of the slider is.
    """
    kappas, ks = np.array([4, 8, 16, 32, 64]), np.arange(1, k_max + 1)
    shown = np.arange(0, n_iters + 1, every)
    line = np.linspace(0, 1.1, 56)
    shape = shown.size, ks.size, kappas.size
    loss, least, single = np.zeros(shape), np.zeros(shape[1:]), np.zeros(shape[1:])
    left_over, left_by_one = np.zeros((*shape, line.size)), np.zeros((*shape[1:], line.size))
    roots, words = np.full((*shape, k_max), np.nan), np.full(shape, "", "U64")
    for m, kappa in enumerate(kappas.tolist()):
        of = lambda rates: rate_schedule(Quadratic(1), rates, bowls(kappa), [1.0])[0]
        for j, k in enumerate(ks.tolist()):
            path = _learned(kappa, k, n_iters)
            rates, equal = path[::every, 0], path[-1, 1]
            loss[:, j, m], single[j, m], least[j, m] = of(rates), of(equal), of(best_rates(bowls(kappa).x_support.ravel(), k))
            left_over[:, j, m] = np.prod(1 - rates[:, None, :] * line[:, None], axis=-1)
            left_by_one[j, m] = np.prod(1 - equal * line[:, None], axis=-1)
            roots[:, j, m, :k] = 1 / rates
            words[:, j, m] = [", ".join(f"{rate:.3f}" for rate in row) for row in rates]

    height = panel("outer iteration", "mean loss (log scale)", (-5, n_iters + 5), (3e-6, 0.2), "the loss after k steps",
                   yscale="log")
    rest = panel("curvature a", "left of θ", (0, 1.12), (-0.75, 1.05), "p(a) = Π (1 − αⱼa)")
    rest.axhline(0, color=COLORS["grey"], lw=0.8)
    rest.set_yticks([-0.5, 0, 0.5, 1])
    ends, level = np.array([0.0, n_iters]), lambda table: np.broadcast_to(table[None, ..., None], (1, *shape[1:], 2))
    n = shown[:, None, None]
    marks = [
        Curve(height, ends, level(single), color="grey", dash="--", label="equal"),
        Curve(height, ends, level(least), color="green", dash=":", label="best"),
        Path(height, n, loss, color="red", dots=False, label="learned"),
        Point(height, n, loss, color="red", shape="D", name="The loss", drag="n"),
        Curve(rest, line, left_by_one[None], color="grey", dash="--"),
        Curve(rest, line, left_over, color="red"),
        Curve(rest, roots, 0.0 * roots, color="red", dots=True, dash=":", label="1/αⱼ"),
        Curve(rest, np.stack([bowls(kappa).x_support.ravel() for kappa in kappas]), np.full(12, -0.7), color="blue", dots=True,
              dash=":", label="tasks")]
    return Stage(
        [height.figure, rest.figure], marks,
        [Slider("n", shown, "outer iterations", n_iters, "d"), Slider("k", ks, "steps k", 3, "d"),
         Slider("kappa", kappas, "curvature ratio κ", 16, "d")],
        Readout("After {n:d} outer iteration{n:s} the rates are {words}.\nMean loss left: {loss:.3g}; with equal rates "
                "{single:.3g}; the least possible {least:.3g}.", words=words, loss=loss, single=single, least=least),
        guess=Guess(rest, "x", f"Where is the leftmost zero of p after {n_iters} iterations: 1/α of the largest rate?",
                    np.nanmin(roots[-1:], axis=-1), marks[4:7], ".3f"),
        alt="Left: the mean loss that k steps leave falls over the outer iterations, below a level line for equal rates, "
            "towards one for the least possible. Right: what is left of the start for every curvature, a polynomial whose "
            "roots are one over the learned rates, with the curvatures of the tasks as dots.")


@cache
def _learned(kappa, k, n_iters):
    """Paths of k rates under Adam, from different rates and, second, from equal ones."""
    starts = np.stack([np.linspace(0.8, 1.2, k) if k > 1 else np.ones(1), np.ones(k)])
    slope = lambda rates: rate_schedule(Quadratic(1), rates, bowls(kappa), [1.0])[1]
    return gradient_descent(slope, starts, 0.06, n_iters, adam())
