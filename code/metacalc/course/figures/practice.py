"""The live figures of few-shot regression: adapting to a sine wave, and the outer loop that learned the start."""

from collections.abc import Mapping, Sequence

import numpy as np

from metacalc.arrays import ArrayLike
from metacalc.course.practice import ALPHA, MODEL, STEPS
from metacalc.meta import Learner
from metacalc.stage import COLORS, Curve, Path, Point, Readout, Slider, Stage, panel

__all__ = ["outer_learning", "sinusoid_fits"]

LINE = np.linspace(-5, 5, 81)
SUPPORT = np.random.default_rng(0).uniform(-5, 5, 20)  # the first K of them


def _fits(learner, x, y, steps):
    """Predictions on `LINE` after each number of steps, for tasks that share x."""
    path = learner.adapt(np.broadcast_to(x[:, None], (*y.shape, 1)), y[..., None], max(steps))
    return MODEL.predict(path[list(steps)], LINE[:, None])[..., 0]  # step, task, point


def sinusoid_fits(starts: Mapping[str, Learner], shots: Sequence[int] = (5, 10, 20),
                  steps: Sequence[int] = (0, 1, 2, 3, 5, 10)) -> Stage:
    """Two starts adapting side by side to the sine wave that the reader chooses.

    Parameters
    ----------
    starts : dict of two
        Name → `Learner` of the model `MODEL`.
    shots : sequence of int
        Numbers of support points, at most 20.
    steps : sequence of int
        Numbers of inner steps.
    """
    amplitudes, phases = np.linspace(0.5, 4.5, 5), np.arange(5) / 4
    A, phi = (g.ravel()[:, None] for g in np.meshgrid(amplitudes, np.pi * phases, indexing="ij"))
    grid = (amplitudes.size, phases.size)
    truth = A * np.sin(LINE - phi)
    marks, errors, panels = [], {}, []
    dots = np.full((*grid, len(shots), 1, SUPPORT.size), np.nan)
    for i, K in enumerate(shots):
        dots[:, :, i, 0, :K] = (A * np.sin(SUPPORT[:K] - phi)).reshape(*grid, K)
    for (name, learner), color in zip(starts.items(), ("blue", "orange")):
        fits = np.stack([_fits(learner, SUPPORT[:K], A * np.sin(SUPPORT[:K] - phi), steps) for K in shots])
        errors[name] = ((fits - truth) ** 2).mean(axis=-1).transpose(2, 0, 1).reshape(*grid, len(shots), len(steps))
        fits = fits.transpose(2, 0, 1, 3).reshape(*grid, len(shots), len(steps), LINE.size)
        ax = panel("x", "y", (-5, 5), (-6.5, 6.5), name)
        panels.append(ax.figure)
        marks += [Curve(ax, LINE, truth.reshape(*grid, 1, 1, LINE.size), color="grey", dash="--", label="sine wave"),
                  Curve(ax, LINE, fits, color=color, label="net"),
                  Curve(ax, SUPPORT, dots, color="ink", dash=" ", dots=True, label="points")]
    first, second = starts
    return Stage(
        panels, marks,
        [Slider("amplitude", amplitudes, "amplitude A", 3.5, ".1f"), Slider("phase", phases, "phase φ", 0.5, ".2f", "π"),
         Slider("K", shots, "support points K", 5, "d"), Slider("k", steps, "inner steps k", 1, "d")],
        Readout("After k = {k:d} step{k:s} on {K:d} point{K:s}, mean squared error on the whole interval: "
                + first + " {first:.3f}, " + second + " {second:.3f}.", first=errors[first], second=errors[second]), play="k",
        alt=f"Two panels with the same sine wave and the same support points: the fit of the net that starts from {first}, and "
            f"of the one that starts from {second}, after k gradient steps on these points.")


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
    left = panel("thousands of outer iterations", "validation error, logarithmic",
                 (-0.03 * thousands[-1], 1.03 * thousands[-1]), (0.2, 40), "learning to learn", yscale="log")
    right = panel("x", "y", (-5, 5), (-6.5, 6.5), "one task")
    right.plot(LINE, wave(LINE), color=COLORS["grey"], lw=1.4, ls="--")
    right.plot(x, wave(x), "o", color=COLORS["ink"], ms=4.2, mew=0)
    marks = [Path(left, thousands[:, None], errors[:, j, None], color=color, dash=dash, label=f"k = {STEPS[j]}",
                  along="n", dots=False)
             for j, (color, dash) in enumerate((("grey", "--"), ("green", "-."), ("purple", ":"), ("blue", "-")))]
    marks += [Point(left, thousands[:, None], errors, color="red", shape="D", name="The error"),
              Curve(right, LINE, fits[:, :1], color="grey", label="before"),
              Curve(right, LINE, fits, color="blue", label="after k steps"),
              Curve(right, [9, 9], [0, 0], color="grey", dash="--", label="the wave")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("n", iterations, "outer iterations", iterations[-1], "d"), Slider("k", STEPS, "inner steps k", 1, "d")],
        Readout("After {n:d} outer iteration{n:s}: validation error {error:.3g} after k = {k:d} inner step{k:s}; "
                "on the task shown {mse:.3g}.",
                error=errors, mse=mse),
        alt="Left: the validation error with 5 points after 0, 1, 5 and 10 inner steps, falling over the outer iterations. "
            f"Right: one sine wave with {K} support points, the net before adapting and after k steps.")
