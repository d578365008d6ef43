"""The live figures of the page on new tasks: tasks against shots, and how evenly tasks spread over what they share."""

import numpy as np

from metacalc.course.new_tasks import CAP, drawn_losses, gibbs_bound, learned_plane_error
from metacalc.representation import predicted_subspace_error
from metacalc.stage import COLORS, Arrow, Curve, Guess, Point, Readout, Slider, Stage, panel

__all__ = ["spread_of_tasks", "tasks_and_shots"]

NUMBERS = np.unique(np.round(np.geomspace(2, 1000, 72)).astype(int))
DRAWN = np.array([2, 3, 5, 10, 20, 50, 100, 200, 500, 1000])


def tasks_and_shots(n_draws: int = 1000) -> Stage:
    """n training tasks and K shots as a point of a plane, and the losses of training tasks and new ones.

    Curvature, spread and noise are 1. One inner step whose rate suits K, α = K/(K + 1), leaves s = 1/(K + 1) of the way.

    Parameters
    ----------
    n_draws : int
        Sets of training tasks that the measured losses are the mean over.
    """
    shots = np.arange(1, 61)
    s, v = 1 / (shots + 1), 1.0 + shots
    floor = s**2 * v / 2
    training, new, quantile = drawn_losses(DRAWN, shots, n_draws)
    bound = CAP * floor * np.array([gibbs_bound(n, v).bound for n in NUMBERS.tolist()])
    across = lambda table: np.moveaxis(table, 0, -1)[None]  # (n, K) to (1, K, n): along a curve

    plane = _plane(floor, shots)
    losses = panel("training tasks n", "loss", (1.8, 1100), (0.004, 1.6), "loss after adapting", "log")
    losses.set_xscale("log")
    exact = {sign: floor * (1 + sign / NUMBERS[:, None]) for sign in (-1, 0, 1)}
    ends = np.array([1.8, 1100])
    enough = NUMBERS[(exact[1] <= 1.1 * floor + 1e-12).all(axis=1)].min()
    marks = [
        Point(plane, NUMBERS[:, None], shots[None, :], color="red", shape="D", label="n and K (drag it)", drag=("n", "K")),
        Curve(losses, NUMBERS, across(bound), color="purple", dash="-.", label="bound"),
        Curve(losses, DRAWN, across(quantile), color="orange", dash=":", dots=True, label="new, 95% of draws"),
        Curve(losses, NUMBERS, across(exact[1]), color="blue", label="new tasks"),
        Curve(losses, NUMBERS, across(exact[-1]), color="green", dash="--", label="training tasks"),
        Curve(losses, DRAWN, across(new), color="blue", dash=" ", dots=True, label="drawn"),
        Curve(losses, DRAWN, across(training), color="green", dash=" ", dots=True),
        Curve(losses, ends, np.repeat(floor[None, :, None], 2, axis=2), color="grey", dash=":", label="floor"),
        Point(losses, NUMBERS[:, None], exact[1], color="red", shape="D", name="The loss of new tasks", drag="n")]
    return Stage(
        [plane.figure, losses.figure], marks,
        [Slider("n", NUMBERS, "training tasks n", 30, "d"), Slider("K", shots, "shots K", 5, "d")],
        Readout("{n:d} tasks with {K:d} shot{K:s}: the start is off by {off:.3f}.\nTraining tasks {training:.4f}, new tasks "
                "{new:.4f}, floor {floor:.4f}; bound {bound:.4f}.",
                off=np.sqrt(v / NUMBERS[:, None]), training=exact[-1], new=exact[1], floor=floor[None], bound=bound),
        guess=Guess(losses, "x", "From how many tasks on do new tasks cost at most 10% more than the floor?",
                    np.full((1, 1), enough), marks[1:], "d"),
        play="n",
        alt="Left: a plane of the number of training tasks and the number of shots, with level lines of the loss of new tasks: "
            "steep for few tasks, level for many. Right: against the number of tasks, the losses of training tasks and of new "
            "ones approach a floor from below and from above; a bound lies above them.")


def _plane(floor, shots):
    ax = panel("training tasks n", "shots K", (1.8, 1100), (0, 62), "loss of new tasks, level lines")
    ax.set_xscale("log")
    n = np.geomspace(1.8, 1100, 120)
    levels = (0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
    lines = ax.contour(n, shots, floor[:, None] * (1 + 1 / n), levels=levels, colors=COLORS["grey"], linewidths=0.9)
    ax.clabel(lines, fmt="%.4g", fontsize=8)
    return ax


def spread_of_tasks(d: int = 10, n_draws: int = 16) -> Stage:
    """Tasks in a plane of d dimensions, their spread in its second direction, and the error of the plane that is learned.

    Parameters
    ----------
    d : int
    n_draws : int
        Sets of examples that the measured error is the mean over.
    """
    spreads, counts = np.linspace(0.005, 1, 200), np.unique(np.round(np.geomspace(100, 30_000, 61)).astype(int))
    drawn = counts[::5]
    # To order 1/n; no error is above 2.
    predicted = np.minimum([predicted_subspace_error(d, (1.0, t), 0.5, 1) / counts for t in spreads.tolist()], 2)
    measured = learned_plane_error(d, spreads, drawn, n_draws)
    dots = np.random.default_rng(1).normal(size=(2, 60))
    plane = panel("second direction", "first direction", (-2.8, 2.8), (-2.8, 2.8), "coefficients of 60 tasks")
    errors = panel("examples, nK", "squared sines", (90, 33_000), (0.002, 4), "error of the learned plane", "log")
    errors.set_xscale("log")
    table = lambda t: np.asarray(t)[None, :, None] if np.ndim(t) == 1 else np.asarray(t)[None]
    marks = [
        Curve(plane, spreads[None, :, None] * dots[1], dots[0], color="grey", dash=" ", dots=True),
        Arrow(plane, 0, 0, color="green", dx=0, dy=1, label="spread 1"),
        Arrow(plane, 0, 0, color="red", dx=spreads[None, :], dy=0, label="second spread (drag it)", drag="spread"),
        Curve(errors, counts, table(predicted), color="blue", label="predicted"),
        Curve(errors, drawn, table(measured), color="orange", dash=" ", dots=True, label="measured"),
        Curve(errors, np.array([90, 33_000]), np.ones(2), color="grey", dash=":", label="one direction missed"),
        Point(errors, counts[:, None], predicted.T, color="red", shape="D", name="The predicted error", drag="n")]
    return Stage(
        [plane.figure, errors.figure], marks,
        [Slider("n", counts, "examples nK", 3000, "d"), Slider("spread", spreads, "second spread", 0.5, ".2f")],
        Readout("Condition number of the tasks {kappa:.1f}; after {n:d} examples the predicted error is {error:.3f}.",
                kappa=1 / spreads[None, :] ** 2, error=predicted.T),
        play="spread",
        alt="Left: the coefficients of sixty tasks in the plane of two directions; the second spread can be dragged. Right: "
            "the error of the plane that is learned falls with the number of examples; it is the larger, the smaller the "
            "second spread.")
