"""The pictures of the vision chapter, the live one above all: new letters, told apart after more and more gradient steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from metacalc.arrays import Array, ArrayLike
from metacalc.course.figures import picture
from metacalc.course.vision import Scale, episodes
from metacalc.data.characters import printed_characters, script_of
from metacalc.meta import Learner
from metacalc.stage import COLORS, Curve, Guess, Path, Point, Readout, Slider, Stage, panel
from metacalc.studies import interval

__all__ = ["accuracies", "learning_curves", "outline", "pictures", "recognition"]

CURVES = (("green", "-", "s"), ("green", "--", "p"), ("orange", "-", "o"), ("blue", "-", "D"), ("blue", "--", "v"),
          ("blue", ":", "^"), ("ink", "--", "P"), ("ink", ":", "X"), ("grey", "-", "."))
LOOKS = (("blue", "-", "D"), ("orange", "--", "s"), ("green", ":", "o"))


def accuracies(one: Mapping[str, Array], five: Mapping[str, Array]) -> Figure:
    """The same as a picture: each alphabet a dot, the mean and its interval a bar."""
    ax = panel("accuracy on held-out alphabets", "", (0.3, 1.0), (len(one) - 0.4, -0.8), size=(6.2, 3.6))
    for table, color, marker, shift, label in ((one, "blue", "D", -0.16, "1 shot"), (five, "orange", "s", 0.16, "5 shots")):
        for row, values in enumerate(table.values()):
            mean, half = interval(values)
            ax.plot(values, np.full(values.size, row + shift), "o", ms=3, color=COLORS[color], alpha=0.35)
            ax.errorbar(mean, row + shift, xerr=half, color=COLORS[color], marker=marker, ms=6, capsize=3, lw=1.4,
                        label=label if row == 0 else None)
    ax.set_yticks(range(len(one)), one)
    ax.legend(loc="upper left", ncols=2)
    return picture(ax.figure)


def learning_curves(scale: Scale, k_shots: int) -> Figure:
    """Accuracy on held-out alphabets against the outer iterations, of every method: the mean over alphabets, first seed.

    Parameters
    ----------
    scale : Scale
        As `metacalc.course.vision.load_scale` returns it.
    k_shots : int
        1 or 5.
    """
    shown = [name for name in scale.methods if scale.usual(name)]
    curves = {name: [(n, scale.accuracy(name, k_shots, n)[0].mean()) for n in scale.budgets(name, k_shots)] for name in shown}
    ends = [points[-1][0] for points in curves.values()]
    starts = [points[0][0] for points in curves.values()]
    heights = [height for points in curves.values() for _, height in points]
    ax = panel("outer iterations", f"accuracy, {k_shots} shot" + "s" * (k_shots > 1), (0.8 * min(starts), 1.25 * max(ends)),
               (min(heights) - 0.03, max(heights) + 0.03), size=(6.2, 3.6))
    ax.set_xscale("log")
    ticks = [n for n in (100, 200, 400, 800, 1600, 4000, 8000) if n < 1.25 * max(ends)]
    ax.set_xticks(ticks, [f"{n}" for n in ticks])
    ax.set_xticks([], minor=True)
    for (name, points), (color, dash, marker) in zip(curves.items(), CURVES):
        ax.plot(*zip(*points), dash, color=COLORS[color], marker=marker, ms=5, lw=1.5, label=name)
    level = scale.accuracy("pixels", k_shots).mean()
    if ax.get_ylim()[0] < level:
        ax.axhline(level, color=COLORS["grey"], lw=0.8)
        ax.annotate("pixels", (ax.get_xlim()[1], level), (-2, 2), textcoords="offset points", ha="right", color=COLORS["grey"])
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return picture(ax.figure)


def pictures(x: ArrayLike, titles: Sequence[str] = (), columns: Sequence[str] | None = None) -> Figure:
    """Images side by side, row by row, as a learner sees them.

    Parameters
    ----------
    x : array_like, shape (n_rows, n_columns, size²)
    titles : sequence of str
        One for each row.
    columns : sequence of str, optional
    """
    x = np.asarray(x)
    size = int(np.sqrt(x.shape[-1]))
    sheet = np.pad(x.reshape(*x.shape[:2], size, size), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0)
    sheet = sheet.swapaxes(1, 2).reshape(x.shape[0] * (size + 2), -1)
    ax = panel("", "", (0, sheet.shape[1]), (sheet.shape[0], 0),
               size=(min(6.4, 0.9 + 0.45 * x.shape[1]), 0.2 + 0.45 * x.shape[0]))
    ax.imshow(1 - sheet, cmap="gray", vmin=0, vmax=1, extent=(0, sheet.shape[1], sheet.shape[0], 0), aspect="auto",
              interpolation="nearest")
    ax.grid(False)
    ax.set_yticks((np.arange(x.shape[0]) + 0.5) * (size + 2), titles or [""] * x.shape[0])
    ax.set_xticks((np.arange(x.shape[1]) + 0.5) * (size + 2) if columns else [], columns or [])
    ax.tick_params(length=0)
    return picture(ax.figure)


def outline(path: Outline, n_points: int = 96) -> Array:
    """A letter's outline as one row of points in the unit square, NaN between its parts and behind them.

    Parameters
    ----------
    path : matplotlib.path.Path
        In the unit square.
    n_points : int
        Length of the row; from an outline of more points those go that matter least.

    Returns
    -------
    ndarray, shape (n_points, 2)
    """
    # In lines of pixel length instead of curves.
    parts = [np.asarray(part)[:-1] / 30 for part in path.transformed(Affine2D().scale(30)).to_polygons()]
    room = (n_points - 2 * len(parts)) / max(1, sum(map(len, parts)))
    gap = np.full((1, 2), np.nan)
    closed = [_thinned(part, max(3, int(len(part) * min(1, room)))) for part in parts]
    row = np.concatenate([piece for part in closed for piece in (part, part[:1], gap)])[:n_points]
    return np.concatenate([row, np.full((n_points - len(row), 2), np.nan)])


def _thinned(corners, n):
    """A polygon of n corners: of its neighbours' triangles the smallest goes, again and again (Visvalingam & Whyatt 1993)."""
    while len(corners) > n:
        before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
        corners = np.delete(corners, np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]).argmin(), axis=0)
    return corners


def recognition(starts: Mapping[str, tuple[Learner, int]], test: Sequence[str], n_tasks: int = 8, shots: int = 5,
                steps: Sequence[int] = (0, 1, 2, 3, 5, 10, 15, 20, 30, 50)) -> Stage:
    """Five letters of an unseen script: the support images, and what three learners make of five query images.

    Parameters
    ----------
    starts, test
        As `metacalc.course.vision.load_starts` returns them.
    n_tasks : int
    shots : int
        The largest number of support images of a letter.
    steps : sequence of int
        Numbers of inner steps, increasing from 0.
    """
    characters = printed_characters()
    chosen = episodes(characters, test, n_tasks)
    n_way, n_query = chosen.shape[1], chosen.shape[2] - shots
    left = panel("", "", (-0.55, n_way + 0.55), (-0.1, n_way + 0.6 + 0.8 * shots), size=(3.7, 5.2))
    right = panel("gradient steps k", "", (-0.5, steps[-1] + 0.5), (-0.03, 1.03),
                  f"right answers, of {n_way * n_query} query images")
    columns, rows = np.arange(1, n_way + 1), n_way - np.arange(n_way) - 0.5
    _table(left, columns, rows)
    marks, tables = _examples(left, characters, chosen, shots, columns, rows), {}
    still = len(marks)
    for (name, (learner, _)), (color, dash, shape), shift in zip(starts.items(), LOOKS, (0.2, 0.0, -0.2)):
        p = np.stack([_probabilities(learner, characters.x[chosen], K, shots, steps) for K in range(1, shots + 1)], axis=1)
        truth = np.repeat(np.arange(n_way), n_query)
        right_answers = (p.argmax(axis=-1) == truth).mean(axis=-1)
        own = p[..., np.arange(truth.size), truth].mean(axis=-1)
        shown = p[..., ::n_query, :]                                             # the first query image of each letter
        ends = np.full((*shown.shape, 3), np.nan)
        ends[..., 0], ends[..., 1] = columns - 0.42, columns - 0.42 + 0.84 * shown
        height = np.broadcast_to((rows + shift)[:, None, None], (n_way, n_way, 3))
        look: dict[str, Any] = dict(color=color, label=name, toggle=True)
        marks += [Curve(left, ends.reshape(*ends.shape[:3], -1), height.ravel(), dash=dash, width=4.0, **look),
                  Path(right, np.array(steps, float), right_answers, along="k", dash=dash, dots=False, **look),
                  Point(right, np.array(steps, float), right_answers, shape=shape, **look)]
        tables |= {f"{shape}_right": np.rint(right_answers * truth.size), f"{shape}_own": own}
    telling = marks[still:]
    marks.sort(key=lambda mark: mark.ax is right)
    words = np.array([script_of(str(characters.labels[task[0, 0]])) for task in chosen])[:, None, None]
    first, second, third = starts
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("task", np.arange(1, n_tasks + 1), "task", 2, "d"), Slider("K", np.arange(1, shots + 1), "shots K", 1, "d"),
         Slider("k", steps, "gradient steps k", 10, "d")],
        Readout("Task {task:d}, five letters of {script}, K = {K:d}, after {k:d} step{k:s}.\nOf {n:d} query images, right: "
                + first + " {D_right:d}, " + second + " {s_right:d}, " + third + " {o_right:d}.\n"
                "Probability of the right letter, on average: " + first + " {D_own:.2f}, " + second + " {s_own:.2f}, " + third
                + " {o_own:.2f}.", n=n_way * n_query, script=words, **tables), play="k",
        guess=Guess(right, "y", f"What fraction of the query images will {first}’s start get right?",
                    tables["D_right"] / (n_way * n_query), telling),
        alt="Left: above, the support images of five letters, one column for each; below, five query images, one row for each, "
            "with a bar in each column for the probability that each learner gives to that letter. The right letter is on the "
            "diagonal. Right: the fraction of right answers after each number of gradient steps.")


def _examples(ax, characters, chosen, shots, columns, rows):
    """The support images of each letter, above, and one query image of each, at the left, as curves for every task."""
    def drawn(examples, x, y):
        """Outlines of examples about the places (x, y), for every task."""
        rows = [[0.78 * (outline(characters.outlines[i]) - 0.5) + place for i, *place in zip(task, x, y)] for task in examples]
        return np.reshape(rows, (len(examples), 1, 1, -1, 2))

    n_way, marks = len(columns), []
    for shot in range(shots):  # a letter's image number `shot` is shown from so many shots on
        glyphs = drawn(chosen[:, :, shot], columns, np.full(n_way, n_way + 0.98 + 0.8 * shot))
        shown = np.where(np.arange(shots) >= shot, 0.0, np.nan)[:, None, None]
        marks.append(Curve(ax, glyphs[..., 0] + shown, glyphs[..., 1] + shown, color="ink", width=0.9))
    glyphs = drawn(chosen[:, :, shots], np.zeros(n_way), rows)
    return [*marks, Curve(ax, glyphs[..., 0], glyphs[..., 1], color="ink", width=0.9)]


def _table(ax, columns, rows):
    """What stands still in the table of probabilities: its columns, its diagonal, words."""
    ax.set_axis_off()
    for x, y in zip(columns, rows):
        ax.axvspan(x - 0.48, x + 0.48, color=COLORS["faint"], alpha=0.25, lw=0)
        ax.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, ec=COLORS["green"], lw=1.4))
    ax.text(0, rows[0] + 1.45, "support", ha="center", va="center", color=COLORS["ink"])
    ax.text(0, rows[0] + 0.72, "query", ha="center", va="center", color=COLORS["ink"])
    ax.axhline(rows[0] + 0.98, color=COLORS["grey"], lw=0.8)


def _probabilities(learner, x, K, shots, steps):
    """Class probabilities, (n_tasks, n_steps, n_way · n_query, n_way); x has the shape (n_tasks, n_way, n_examples, d)."""
    n_tasks, n_way = x.shape[:2]
    y = np.broadcast_to(np.repeat(np.arange(n_way), K), (n_tasks, n_way * K))
    path = learner.adapt(x[:, :, :K].reshape(n_tasks, n_way * K, -1), y, max(steps))
    return learner.model.predict(path[list(steps)], x[:, :, shots:].reshape(n_tasks, -1, x.shape[-1])).swapaxes(0, 1)
