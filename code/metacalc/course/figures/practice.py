"""The live figures of few-shot regression: adapting to a sine wave or to own points, and the outer loop that learned."""

from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp

from metacalc.arrays import ArrayLike
from metacalc.course.practice import ALPHA, MODEL, STEPS
from metacalc.meta import Learner
from metacalc.stage import COLORS, Curve, Formula, Guess, Path, Point, Readout, Slider, Stage, panel

__all__ = ["outer_learning", "own_points", "sinusoid_fits"]

LINE = np.linspace(-5, 5, 81)
SUPPORT = np.random.default_rng(0).uniform(-5, 5, 20)  # the first K of them
GAP = -0.5  # where none of the first five is near
STARTS = (("blue", "-"), ("orange", "--"))


def _fits(learner, x, y, steps, line=LINE):
    """Predictions on `line` after each number of steps, for tasks that share x."""
    path = learner.adapt(np.broadcast_to(x[:, None], (*y.shape, 1)), y[..., None], max(steps))
    return MODEL.predict(path[list(steps)], line[:, None])[..., 0]  # step, task, point


def sinusoid_fits(starts: Mapping[str, Learner], shots: Sequence[int] = (5, 10),
                  steps: Sequence[int] = (0, 1, 5, 10)) -> Stage:
    """Two starts adapting side by side to the sine wave that the reader chooses, by dragging its crest.

    Parameters
    ----------
    starts : dict of two
        Name → `Learner` of the model `MODEL`.
    shots : sequence of int
        Numbers of support points, at most 20.
    steps : sequence of int
        Numbers of inner steps.
    """
    amplitudes, phases = np.arange(2, 19) / 4, np.arange(17) / 16
    amplitude, phase, s = sp.symbols("amplitude phase s")
    wave = amplitude * sp.sin(s - sp.pi * phase)
    grid = np.meshgrid(amplitudes, phases, indexing="ij")
    A, phi = (g.ravel()[:, None] for g in grid)
    waves = sp.lambdify((amplitude, phase, s), wave, "numpy")
    shown = np.where(np.arange(max(shots)) < np.array(shots)[:, None], SUPPORT[:max(shots)], np.nan)[:, None]
    errors, between, marks, panels = {}, {}, [], []
    for (name, learner), (color, _) in zip(starts.items(), STARTS):
        fits = np.stack([_fits(learner, SUPPORT[:K], waves(A, phi, SUPPORT[:K]), steps) for K in shots])
        fits = np.moveaxis(fits, 2, 0).reshape(*grid[0].shape, len(shots), len(steps), LINE.size)
        errors[name] = ((fits - waves(*(g[..., None, None, None] for g in grid), LINE)) ** 2).mean(axis=-1)
        between[name] = fits[..., np.flatnonzero(LINE == GAP)[0]]
        ax = panel("x", "y", (-5, 5), (-6.5, 6.5), name)
        panels.append(ax)
        # Every other point, and a third of a pixel: what a picture shows, and half as much to load.
        marks += [Curve(ax, LINE, Formula(wave, over=(s, LINE)), color="grey", dash="--", label="sine wave"),
                  Curve(ax, LINE[::2], np.round(fits[..., ::2] * 30) / 30, color=color, label="net"),
                  Curve(ax, shown, Formula(wave, over=(s, SUPPORT[:max(shots)])), color="ink", dash=" ", dots=True,
                        label="points"),
                  Point(ax, Formula(sp.pi * (phase + sp.Rational(1, 2))), Formula(amplitude), color="red", shape="s",
                        name="The crest", label="crest (drag it)", drag=("phase", "amplitude"))]
    panels[0].axvline(GAP, color=COLORS["grey"], lw=0.8, ls=":")
    (first, one), (second, other) = errors.items()
    return Stage(
        [ax.figure for ax in panels], marks,
        [Slider("amplitude", amplitudes, "amplitude A", 3.5, ".2f"), Slider("phase", phases, "phase φ", 0.125, ".4f", "π"),
         Slider("K", shots, "support points K", 5, "d"), Slider("k", steps, "inner steps k", 1, "d")],
        Readout("After k = {k:d} step{k:s} on {K:d} point{K:s}, mean squared error on the whole interval: "
                + first + " {first:.3f}, " + second + " {second:.3f}.", first=_short(one), second=_short(other)), play="k",
        guess=Guess(panels[0], "y", f"What will the net say at x = {GAP} (dotted line), where no point is near?",
                    _short(between[first]), [marks[1], marks[5]]),
        alt=f"Two panels with the same sine wave and the same support points: the fit of the net that starts from {first}, and "
            f"of the one that starts from {second}, after k gradient steps on these points.")


def _short(table):
    """Numbers of few binary digits, which compress well; a figure shows three decimals of them."""
    return np.round(table * 4096) / 4096


def own_points(starts: Mapping[str, Learner], x: ArrayLike, y: ArrayLike, n_steps: int = 20) -> Stage:
    """Two starts adapting step by step to any points.

    Parameters
    ----------
    starts : dict of two
        Name → `Learner` of the model `MODEL`.
    x, y : array_like, shape (n,)
        Between −5 and 5; at least one.
    n_steps : int

    Raises
    ------
    ValueError
        If x and y are not such points.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or not x.size or not (np.abs([x, y]) <= 5).all():
        raise ValueError(f"x and y must be equally many numbers between -5 and 5, got {x.tolist()} and {y.tolist()}")
    k, left, right = np.arange(n_steps + 1), panel("x", "y", (-5, 5), (-6.5, 6.5), "the fit"), panel(
        "inner steps k", "mean squared error (log scale)", (-0.5, n_steps + 0.5), (1e-3, 100), "on these points", yscale="log")
    left.plot(x, y, "o", color=COLORS["ink"], ms=4.2, mew=0)
    marks, errors = [Curve(left, [9, 9], [0, 0], color="ink", dash=" ", dots=True, label="points")], []
    for (name, learner), (color, dash), shape in zip(starts.items(), STARTS, "Ds"):
        fit, there = (_fits(learner, x, y[None], k, line)[:, 0] for line in (LINE, x))
        errors.append(((there - y) ** 2).mean(axis=-1))
        marks += [Curve(left, LINE, fit, color=color, dash=dash, label=name),
                  Path(right, k, errors[-1], color=color, dash=dash, along="k", dots=False),
                  Point(right, k, errors[-1], color=color, shape=shape, name=f"{name}’s error")]
    first, second = starts
    return Stage(
        [left.figure, right.figure], sorted(marks, key=lambda mark: mark.ax is right),
        [Slider("k", k, "inner steps k", 1, "d")],
        Readout("After k = {k:d} step{k:s}, mean squared error on these points: " + first + " {first:.3g}, " + second
                + " {second:.3g}.", first=errors[0], second=errors[1]),
        alt=f"Left: some points, and the fits of the nets that start from {first} and from {second}, after k gradient steps on "
            "these points. Right: their errors on the points for each number of steps.")


def outer_learning(iterations: Sequence[int], errors: ArrayLike, snapshots: ArrayLike, amplitude: float = 3.0,
                   phase: float = 1.0, K: int = 10) -> Stage:
    """θ on its way through the outer loop: the validation error, and the net before and after adapting to one task.

    Parameters
    ----------
    iterations : sequence of int
    errors : array_like, shape (n, len(STEPS))
        Validation error at these iterations after `STEPS` inner steps.
    snapshots : array_like, shape (n, p)
        θ at these iterations.
    amplitude, phase : float
        The task that is shown.
    K : int
        Its support points, at most 20.
    """
    errors = np.asarray(errors, float)
    x, wave = SUPPORT[:K], lambda x: amplitude * np.sin(x - phase)
    fits = np.stack([_fits(Learner(MODEL, theta, ALPHA), x, wave(x)[None], STEPS)[:, 0]
                     for theta in np.asarray(snapshots, float)])
    mse = ((fits - wave(LINE)) ** 2).mean(axis=-1)
    thousands = np.array(iterations) / 1000
    left = panel("thousands of outer iterations", "validation error (log scale)",
                 (-0.03 * thousands[-1], 1.03 * thousands[-1]), (0.2, 40), "learning to learn", yscale="log")
    right = panel("x", "y", (-5, 5), (-6.5, 6.5), "one task")
    right.plot(LINE, wave(LINE), color=COLORS["grey"], lw=1.4, ls="--")
    right.plot(x, wave(x), "o", color=COLORS["ink"], ms=4.2, mew=0)
    marks = [Path(left, thousands[:, None], errors[:, j, None], color=color, dash=dash, label=f"k = {STEPS[j]}",
                  along="n", dots=False)
             for j, (color, dash) in enumerate((("grey", "--"), ("green", "-."), ("purple", ":"), ("blue", "-")))]
    marks += [Point(left, thousands[:, None], errors, color="red", shape="D", name="The error", label="drag it",
                    drag=("n", "k")),
              Curve(right, LINE, fits[:, :1], color="grey", label="before"),
              Curve(right, LINE, fits, color="blue", label="after k steps"),
              Curve(right, [9, 9], [0, 0], color="grey", dash="--", label="the wave")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("n", iterations, "outer iterations", iterations[-1], "d"), Slider("k", STEPS, "inner steps k", 1, "d")],
        Readout("After {n:d} outer iteration{n:s}: validation error {error:.3g} after k = {k:d} inner step{k:s}; "
                "on the task shown {mse:.3g}.",
                error=errors, mse=mse),
        guess=Guess(left, "y", "How large is the error of the net before it adapts, k = 0?", errors[:, :1],
                    [marks[0], *marks[4:6]]),
        alt="Left: the validation error with 5 points after 0, 1, 5 and 10 inner steps, falling over the outer iterations. "
            f"Right: one sine wave with {K} support points, the net before adapting and after k steps.")
