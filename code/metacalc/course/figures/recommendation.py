"""The figures of the application to recommendation, drawn from what its study stored (`studies/recommendation.py`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from metacalc.course.recommendation import N_STEPS, Taste
from metacalc.stage import COLORS, STYLE, Curve, Guess, Path, Point, Readout, Slider, Stage, panel
from metacalc.studies import Both

__all__ = ["comparison", "cuisines", "gaps"]

N_ROWS = 16

def cuisines(taste: Taste, asked: Sequence[str] | None = None) -> Stage:
    """Three cuisines to rate with sliders, and what MAML and the Gaussian prior expect of the others.

    Parameters
    ----------
    taste : Taste
    asked : sequence of three str, optional
        Countries; those that tell most about the others, among the most widely known, unless given.
    """
    known = np.argsort(-taste.rated, kind="stable")
    if asked is None:
        asked = [taste.countries[i] for i in taste.prior.best_questions(known[:N_ROWS].tolist(), 3)]
    rated = [taste.countries.index(name) for name in asked]
    shown = rated + sorted((i for i in known if i not in rated), key=lambda i: -taste.rated[i])[:N_ROWS - 3]
    maml, posterior, spread = _tables(taste, rated)
    moved = lambda z: np.sqrt(((z - z[:1, :1, :1]) ** 2).mean(axis=-1))  # from what is said of somebody unknown
    shift, shift_posterior = moved(maml), moved(posterior)

    rows, right = _axes([taste.countries[i] for i in shown])
    marks = []
    for row, i in zip(range(N_ROWS - 1, -1, -1), shown):
        rows.plot(taste.prior.mean[i], row, marker="|", ms=11, mew=1.5, color=COLORS["grey"])
        sd = np.sqrt(spread[..., i, None]) * [-1, 1]
        marks += [Curve(rows, posterior[..., i, None] + sd, row - 0.21, color="green"),
                  Point(rows, posterior[..., i], row - 0.21, color="green", shape="s", label="Gaussian prior (± 1 sd)",
                        name=f"The posterior mean of {taste.countries[i]}"),
                  Point(rows, maml[..., i], row + 0.21, color="blue", label="MAML", name=f"MAML’s {taste.countries[i]}")]
    sliders, shape = [], np.arange(6.0)
    for axis, i in enumerate(rated):
        name, place = taste.countries[i], shape.reshape([-1 if a == axis else 1 for a in range(4)])
        sliders.append(Slider(_trait(name), shape, f"{name} (0: none)", (5, 2, 0)[axis], "d"))
        marks.append(Point(rows, place, N_ROWS - 1 - axis, color="red", shape="^", label="your rating", name=f"Your {name}",
                           drag=_trait(name)))
    sliders.append(Slider("k", np.arange(N_STEPS + 1), "gradient steps", taste.steps, "d"))
    marks += [Curve(right, [-0.3, N_STEPS + 0.3], shift_posterior[..., None], color="green", dash="--", label="Gaussian prior"),
              Path(right, np.arange(N_STEPS + 1.0), shift, color="blue", along="k", label="MAML"),
              Point(right, np.arange(N_STEPS + 1.0), shift, color="blue", name="MAML’s change", drag="k")]
    tables = _best(taste, rated, maml=maml, prior=posterior)
    return Stage(
        [rows.figure, right.figure], marks, sliders,
        Readout("After {k:d} step{k:s} MAML expects you to like best, of the 37 others: {best_maml} ({top_maml}). The "
                "Gaussian prior: {best_prior} ({top_prior}).\nChange of the predictions (root mean square): MAML "
                "{shift:.3f}, Gaussian prior {shift_prior:.3f}.",
                shift=shift, shift_prior=shift_posterior, **tables),
        play="k",
        guess=Guess(rows, "x", f"What will MAML expect you to say of {taste.countries[shown[3]]}, the first below the line?",
                    maml[..., shown[3]], marks[9:12]),
        alt="Left: three cuisines that the reader rates and thirteen others, with the rating that MAML expects of each after "
            "some gradient steps and the one that the Gaussian prior expects, with its standard deviation; a tick marks the "
            "average person. Right: how far the predictions have moved from the average person’s, for each number of gradient "
            "steps.")


def _axes(countries):
    """Axes with a row for each country, and axes for how far the predictions move."""
    rows = panel("rating", "", (-0.6, 5.6), (-0.7, N_ROWS - 0.3), "what you would say of each", size=(4.1, 5.2))
    rows.set_xticks(range(6), ["not\ntried", "1", "2", "3", "4", "5"])
    rows.set_yticks(range(N_ROWS), countries[::-1])
    rows.axhline(N_ROWS - 3.5, color=COLORS["grey"], lw=0.8)
    rows.axvline(0.5, color=COLORS["grey"], lw=0.8)
    for end in (1, 5):
        rows.axvline(end, color=COLORS["grey"], lw=0.8, ls=":")  # of the scale
    right = panel("gradient steps", "change of the 40 predictions (rms)", (-0.3, N_STEPS + 0.3), (-0.1, 2.3),
                  "how far the ratings carry", size=(4.1, 3.6))
    return rows, right


def _best(taste, asked, **predictions):
    """The cuisine that is expected to be liked best among those not asked about, and its rating, for the readout."""
    others = np.array([i for i in range(len(taste.countries)) if i not in asked])
    tables = {}
    for name, z in predictions.items():
        best = z[..., others].argmax(axis=-1)
        tables[f"best_{name}"] = np.array(taste.countries)[others[best]]
        tables[f"top_{name}"] = _on_the_scale(z[..., others].max(axis=-1))
    return tables


def _on_the_scale(z):
    """Predicted ratings as text; a model that does not know where the scale ends may go beyond it, which is said."""
    text = np.array([f"{value:.2f}" if 1 <= value <= 5 else f"{np.clip(value, 1, 5):.0f}; it says {value:.2f}, beyond the scale"
                     for value in z.ravel()])
    return text.reshape(z.shape)


def _trait(country):
    return country.lower().replace(" ", "_")


def _tables(taste, asked):
    """Predictions for all positions: axes are the three ratings, 0 for none, the steps and the items; the prior's variance."""
    shape, d = (6, 6, 6), len(taste.countries)
    positions = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    maml, posterior, spread = np.empty((216, N_STEPS + 1, d)), np.empty((216, 1, d)), np.empty((216, 1, d))
    given = positions > 0
    for pattern in np.unique(given, axis=0):
        here = (given == pattern).all(axis=1)
        items = np.tile(np.array(asked)[pattern], (here.sum(), 1))
        y = positions[here][:, pattern].astype(float)
        maml[here] = np.moveaxis(taste.path(items, y), 0, 1)
        posterior[here, 0], spread[here, 0] = taste.prior.predict(items, y), taste.prior.variance(items)
    return maml.reshape(*shape, -1, d), posterior.reshape(*shape, 1, d), spread.reshape(*shape, 1, d)


LOOKS = {  # colour, shape
    "damped offset": ("grey", "s"), "one head for all": ("purple", "^"), "joint + fine-tuning": ("ink", "o"),
    "matrix factorisation": ("orange", "^"), "MAML": ("blue", "D"), "Gaussian prior": ("green", "s"),
}


def comparison(table: Mapping[int, Mapping[str, Mapping[str, Both]]]) -> Stage:
    """Error of each method on held-out people, and its paired difference to the Gaussian prior, for each number of ratings.

    Parameters
    ----------
    table : dict
        As `load_table` reads it. What is drawn are the intervals by people; the readout has those by folds too.
    """
    shots = sorted(table)

    def of(name, field):
        return np.array([table[K][name][field].by_unit for K in shots]).T

    left = panel("mean squared error", "", (0.54, 0.76), (-0.6, len(LOOKS) - 0.4), "error on held-out people", size=(4.2, 3.2))
    right = panel("difference", "", (-0.025, 0.095), (-0.6, len(LOOKS) - 0.4), "minus the Gaussian prior’s error",
                  size=(4.2, 3.2))
    right.axvline(0, color=COLORS["grey"], lw=1)
    marks = []
    for ax, field in ((left, "mse"), (right, "minus prior")):
        ax.set_yticks(range(len(LOOKS)), list(LOOKS)[::-1])
        for row, (name, (color, shape)) in zip(range(len(LOOKS) - 1, -1, -1), LOOKS.items()):
            mean, half = of(name, field)
            marks += [Curve(ax, mean[:, None] + half[:, None] * [-1, 1], row, color=color),
                      Point(ax, mean, row, color=color, shape=shape, name=name)]
    gap = [table[K]["MAML"]["minus joint"] for K in shots]
    mse = {name: of(name, "mse")[0] for name in ("Gaussian prior", "matrix factorisation", "MAML", "joint + fine-tuning")}
    return Stage(
        [left.figure, right.figure], marks, [Slider("shots", shots, "ratings seen, K", 5, "d")],
        Readout("From {shots:d} rating{shots:s}: Gaussian prior {prior:.3f}, matrix factorisation {factors:.3f}, MAML "
                "{maml:.3f}, joint + fine-tuning {joint:.3f}.\nMAML minus joint + fine-tuning, person by person: {more:.4f} ± "
                "{half:.4f} by people, {folds:.4f} ± {wide:.4f} by folds.",
                prior=mse["Gaussian prior"], factors=mse["matrix factorisation"], maml=mse["MAML"],
                joint=mse["joint + fine-tuning"], more=np.array([one.by_unit.mean for one in gap]),
                half=np.array([one.by_unit.half_width for one in gap]), folds=np.array([one.by_fold.mean for one in gap]),
                wide=np.array([one.by_fold.half_width for one in gap])),
        guess=Guess(right, "x", "How much larger than the Gaussian prior’s is the error of joint training with fine-tuning?",
                    of("joint + fine-tuning", "minus prior")[0], [mark for mark in marks if mark.ax is right], ".4f"),
        alt="Left: the mean squared error of six methods on held-out people, with 95% intervals. Right: the paired difference "
            "of each method’s error and the Gaussian prior’s, with 95% intervals; right of zero the method is worse.")


def gaps(data: Mapping[str, Any], countries: Sequence[str]) -> Figure:
    """Who rates what: the mean rating of a cuisine against how many rated it, and of a person against how many they rated.

    Parameters
    ----------
    data : dict
        What the study has stored of its data.
    countries : sequence of str
    """
    style: dict[Any, Any] = STYLE | {"figure.facecolor": "white"}
    with mpl.rc_context(style):
        fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2))
        left.scatter(data["item_share"], data["item_mean"], s=22, color=COLORS["blue"])
        for i in np.argsort(data["item_mean"])[[0, -1]]:
            side = 1 if data["item_share"][i] < 0.5 else -1
            left.annotate(countries[i], (data["item_share"][i], data["item_mean"][i]), xytext=(7 * side, -3),
                          textcoords="offset points", ha="left" if side > 0 else "right")
        left.set(xlabel="share of people who rated it", ylabel="mean rating", title="40 cuisines", xlim=(0, 1))
        low, high, _, mean, half = np.array(data["groups"]).T
        right.errorbar(range(len(mean)), mean, half, fmt="s", color=COLORS["green"], capsize=3)
        right.set_xticks(range(len(mean)), [f"{a:.0f}–{b:.0f}" for a, b in zip(low, high)])
        right.set(xlabel="number of cuisines rated", ylabel="mean rating", title="people")
    plt.close(fig)
    return fig
