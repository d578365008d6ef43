"""The pictures of the page on what is assumed: means, quadratics, expansions."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from metacalc.calculus import Objective
from metacalc.course.figures import picture
from metacalc.stage import COLORS, STYLE

__all__ = ["expansions", "intervals", "quadratics"]


def intervals(samples: np.ndarray, truth: float) -> Figure:
    """Histograms of single values and of means of samples, and the first 40 samples' 95% intervals with those that miss.

    Parameters
    ----------
    samples : ndarray of shape (repeats, n)
    truth : float
        The expectation that the intervals are for.
    """
    mean, half = samples.mean(axis=1), 1.96 * samples.std(axis=1, ddof=1) / np.sqrt(samples.shape[1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3))
        left, right = figure.subplots(1, 2)
        bins = np.linspace(samples.min(), samples.max(), 60)
        for values, color, kind, name in ((samples.ravel(), "blue", "stepfilled", "single values"),
                                          (mean, "orange", "step", f"means of {samples.shape[1]}")):
            left.hist(values, bins, density=True, color=COLORS[color], histtype=kind, lw=2, label=name,
                      alpha=0.5 if kind == "stepfilled" else 1)
        left.set(xlabel="value", yticks=[], title="spread")
        left.legend()
        for row, (m, h) in enumerate(zip(mean[:40], half[:40])):
            missed = abs(m - truth) > h
            right.plot([m - h, m + h], [row, row], "--" if missed else "-", color=COLORS["red" if missed else "blue"],
                       marker="x" if missed else None, lw=1.6)
        right.axvline(truth, color=COLORS["ink"], lw=1)
        right.set(xlabel="value", yticks=[], title="40 intervals and the truth")
    return picture(figure)


def quadratics(matrices: dict[str, np.ndarray]) -> Figure:
    """Level lines of ½θᵀAθ for several symmetric A, with the eigenvectors as arrows; dashed where the value is negative.

    Parameters
    ----------
    matrices : dict of str: ndarray of shape (2, 2)
        Each matrix by the title of its picture.
    """
    line = np.linspace(-1.5, 1.5, 121)
    theta = np.stack(np.meshgrid(line, line), axis=-1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.8))
        for ax, (title, A) in zip(figure.subplots(1, len(matrices)), matrices.items()):
            height = 0.5 * np.einsum("...i,ij,...j", theta, A, theta)
            steps = np.abs(height).max() * np.arange(1, 8)**2 / 60
            levels = [*-steps[::-1], *steps]
            ax.contour(line, line, height, levels, colors=COLORS["grey"], linewidths=0.9, negative_linestyles="dashed")
            values, vectors = np.linalg.eigh(A)
            for value, v, color in zip(values, vectors.T, ("orange", "blue")):
                ax.annotate("", v, (0, 0), arrowprops={"arrowstyle": "-|>", "color": COLORS[color], "lw": 2})
                ax.annotate(f"{value:g}", 1.2 * v, color=COLORS[color], ha="center", va="center", weight="bold")
            ax.set(title=title, xticks=[], yticks=[], aspect="equal")
    return picture(figure)


def expansions(objective: Objective, at: float) -> Figure:
    """A function of one variable with its tangent and its parabola at a point.

    Parameters
    ----------
    objective : Objective
    at : float
    """
    move = np.linspace(-2.2, 2.2, 121)
    tangent = objective(at) + objective.grad(at) * move
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.8))
        ax = figure.subplots()
        ax.plot(at + move, objective(at + move), color=COLORS["grey"], lw=2, label="f")
        ax.plot(at + move, tangent, "--", color=COLORS["blue"], label="tangent")
        ax.plot(at + move, tangent + objective.hess(at) * move**2 / 2, "-.", color=COLORS["orange"], label="parabola")
        ax.plot(at, objective(at), "o", color=COLORS["red"])
        ax.set(xlabel="x", ylim=(-2.2, 2.2))
        ax.legend(loc="lower right")
    return picture(figure)
