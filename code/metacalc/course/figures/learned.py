"""The live figure of the page on learned optimisers: a meta-loss that grows rough with the horizon, and that loss smoothed."""

from typing import Any

import numpy as np

from metacalc.arrays import Array
from metacalc.learned import path_gradient
from metacalc.stage import Curve, Guess, Point, Readout, Slider, Stage, panel

__all__ = ["rate_of", "unrolled"]

START, PAIRS = 0.3, 100
LEFT, RIGHT, STEP = -2.0, 6.0, 1 / 150  # of the slider θ, and between the places where the smoothing is summed up


def rate_of(theta: Any) -> Any:
    """The rate 2/(1 + e^−θ), which stays between 0 and 2 whatever the meta-parameter θ is.

    Examples
    --------
    >>> float(rate_of(0.0))
    1.0
    """
    return 2 / (1 + np.exp(-theta))


def losses(theta: Array, k: int) -> tuple[Array, Array]:
    """Losses after 0, ..., k steps on the double well φ⁴/4 − φ²/2 + 1/4 from φ = 0.3, and their derivatives by θ: (k + 1, n).

    Examples
    --------
    >>> [float(part[1, 0].round(4)) for part in losses(np.array([0.0]), 1)]       # a step of rate 1 takes φ to 0.573
    [0.1128, -0.0525]
    """
    slope = lambda phi: phi**3 - phi
    path, _, by_theta = path_gradient(
        lambda phi, t: phi - rate_of(t) * slope(phi), lambda phi, t: 1 - rate_of(t) * (3 * phi**2 - 1),
        lambda phi, t: -rate_of(t) * (1 - rate_of(t) / 2) * slope(phi), START, theta, k)
    return (path**2 - 1) ** 2 / 4, slope(path) * by_theta


def smoothed(values: Array, places: Array, sigma: float) -> tuple[Array, Array, Array]:
    """For values F at distances `STEP`: the smoothed ones, their derivative, and the standard deviation of one pair's estimate.

    Sums in the place of the integrals E F(θ + σε), E[Δε] and E[(Δε)²], with Δ = (F(θ + σε) − F(θ − σε))/2σ, as far as 4σ.

    Parameters
    ----------
    values : ndarray, shape (k, n)
    places : ndarray of int
        Where among the n.
    sigma : float

    Returns
    -------
    value, slope, deviation : ndarray, shape (k, places.size)
    """
    reach = int(round(4 * sigma / STEP))
    eps = np.arange(reach + 1) * STEP / sigma
    weight = np.exp(-(eps**2) / 2) * np.where(eps > 0, 2, 1)
    weight = weight / weight.sum()
    moves = np.arange(reach + 1)[:, None]
    found = []
    for row in values:
        up, down = row[places + moves], row[places - moves]
        estimate = (up - down) / (2 * sigma) * eps[:, None]
        slope = weight @ estimate
        found.append((weight @ (up + down) / 2, slope, np.sqrt(weight @ (estimate - slope) ** 2)))
    value, slope, deviation = (np.array(part) for part in zip(*found))
    return value, slope, deviation


def unrolled() -> Stage:
    """The loss after k steps with a learned rate, rough and smoothed, and the sizes of both derivatives at every horizon."""
    sigmas, ks = np.array([0.1, 0.3, 0.9]), np.array([1, 2, 3, 4, 6, 8, 12, 16])
    beyond = int(round(4 * sigmas[-1] / STEP))
    n = int(round((RIGHT - LEFT) / STEP)) + 1
    fine = LEFT + STEP * np.arange(-beyond, n + beyond)
    places = beyond + np.arange(0, n, 6)
    theta, drawn = fine[places], slice(beyond, beyond + n, 2)
    F, slope = (part[ks] for part in losses(fine, 16))
    parts = np.stack([smoothed(F, places, sigma) for sigma in sigmas.tolist()], axis=-1)  # (3, k, θ, σ)
    level, tilt, deviation = np.moveaxis(parts, 1, 2)  # each (θ, k, σ)
    here, steep = F[:, places].T[..., None], slope[:, places].T[..., None]
    noise = deviation / np.sqrt(PAIRS)

    left = panel("θ, with the rate 2/(1 + e⁻ᶿ)", "loss after k steps", (LEFT, RIGHT), (-0.03, 0.3), "the meta-loss F(θ)")
    right = panel("horizon k", "logarithmic", (0, 17), (1e-5, 1e9), "how large the derivatives are", yscale="log")
    right.set_xticks(range(0, 17, 4))
    width = np.array([-0.6, 0.6])
    tangent = lambda value, by: value[..., None] + by[..., None] * width
    floor = lambda table: np.maximum(np.abs(table), 1e-12)
    shown = lambda table: np.where(np.abs(table) < 1e-9, 0.0, table)  # the rest of the digits is rounding
    rows = lambda table: floor(np.moveaxis(table, 1, -1)[:, None])  # one curve over all horizons for each θ (and σ)
    marks = [
        Curve(left, fine[drawn], F[None, :, None, drawn], color="grey", width=0.9, label="F"),
        Curve(left, theta, np.moveaxis(level, 0, -1)[None], color="blue", label="smoothed by σ"),
        Curve(left, theta[:, None, None, None] + width, tangent(here, steep), color="red", dash="--", label="exact tangent"),
        Curve(left, theta[:, None, None, None] + width, tangent(level, tilt), color="purple", dash="-.", label="its tangent"),
        Point(left, theta[:, None, None], here, color="red", shape="D", name="F at θ", drag="theta"),
        Point(left, theta[:, None, None], level, color="purple", shape="o", name="The smoothed loss"),
        Curve(right, ks, rows(steep), color="red", dots=True, dash="--", label="|F′|"),
        Curve(right, ks, rows(tilt), color="purple", dots=True, dash="-.", label="|derivative of the smoothed|"),
        Curve(right, ks, rows(noise), color="orange", dash=":", label=f"error of {PAIRS} pairs"),
        Point(right, ks[:, None], floor(steep), color="red", shape="D", name="|F′|")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("theta", theta, "meta-parameter θ (drag it)", 4.0, ".2f"), Slider("k", ks, "horizon k", 12, "d"),
         Slider("sigma", sigmas, "smoothing σ", 0.3, ".2f")],
        Readout("Rate {rate:.3f}: after {k:d} step{k:s} the loss is {loss:.4f}, its derivative {steep:.3g}.\n"
                "Smoothed: {level:.4f}, derivative {tilt:.3g}, which " + f"{PAIRS} pairs estimate to ± " + "{noise:.2g}.",
                rate=rate_of(theta)[:, None, None], loss=here, steep=shown(steep), level=level, tilt=shown(tilt),
                noise=shown(noise)),
        guess=Guess(right, "y", "How large is the exact derivative after 16 steps?", floor(steep[:, -1:]), marks[6:], ".2g"),
        play="k",
        alt="Left: the loss after k steps on the double well against a meta-parameter that fixes the rate, level and smooth "
            "for small rates and a jagged band for large ones, with a smoothed curve through it and the tangents of both at θ. "
            "Right: the sizes of both derivatives against the horizon, on a logarithmic scale: the exact one grows by orders "
            "of magnitude, that of the smoothed loss does not.")
