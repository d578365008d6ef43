"""The pictures of the first page: three tasks and one start, and the ways through the course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from metacalc.calculus import Objective, step
from metacalc.stage import COLORS, STYLE, Arrow, Curve, Formula, Guess, Iteration, Path, Point, Readout, Slider, Stage, panel

if TYPE_CHECKING:
    from metacalc.marks import Mark

__all__ = ["learning_path", "learning_to_learn"]

SHARPNESS, MINIMA = (4, 1, sp.Rational(1, 2)), (-1, 1, 4)
LOOKS = (("sharp", "blue", "-", "o"), ("medium", "green", "--", "D"), ("flat", "purple", "-.", "s"))
OUTER_RATE, LINE, SIZE, S = 0.5, np.linspace(-5, 5, 101), (3.7, 3.7), sp.Symbol("s")
CHAPTERS = ("Background", "Core concepts and the calculus link", "Gradient descent", "The mathematics of meta-learning",
            "Practice", "Applications", "Tools and resources", "Trends and challenges", "Questions and answers")
ROUTES = {  # which chapters, colour, dash, shape
    "the whole course": (range(1, 10), "blue", "-", "o"),
    "an evening of figures": ((1, 2, 3, 4, 5, 6, 8), "orange", "--", "s"),
    "to use it at work": ((3, 4, 5, 6, 7, 9), "green", "-.", "^"),
}


def learning_path() -> None:
    """The chapters as stops on three routes through the course, drawn on the current pyplot backend."""
    with mpl.rc_context(STYLE):
        ax = plt.subplots(figsize=(5.6, 4.2))[1]
        for x, (name, (stops, color, dash, shape)) in enumerate(ROUTES.items()):
            ax.plot([x] * len(stops), stops, dash, color=COLORS[color], marker=shape, ms=9, lw=2, label=name)
        for number, chapter in enumerate(CHAPTERS, start=1):
            ax.text(len(ROUTES) - 0.3, number, f"{number}  {chapter}", va="center", fontsize=10)
        ax.set(xlim=(-0.5, 8), ylim=(9.6, 0.4))
        ax.axis("off")
        ax.figure.legend(loc="outside lower center", ncols=3)


class _Tasks:
    """Tasks ½a(θ − c)² with movable minima, after one inner step each; α, the minima and θ stay symbols."""

    def __init__(self) -> None:
        self.theta, self.alpha, self.start, distance = sp.symbols("theta alpha start distance")
        self.minima = sp.symbols(f"c1:{len(SHARPNESS) + 1}")
        valleys = [Objective(sp.Rational(1, 2) * a * distance**2, distance) for a in SHARPNESS]
        moved = [(valley, step(valley, self.alpha), self.theta - c) for valley, c in zip(valleys, self.minima)]
        self.losses = [valley.expr.subs(distance, away) for valley, _, away in moved]
        self.adapted = [c + new.subs(distance, away) for c, (_, new, away) in zip(self.minima, moved)]
        self.left = [loss.subs(self.theta, new) for loss, new in zip(self.losses, self.adapted)]
        self.after = sp.Add(*self.left) / len(valleys)
        self.slope = sp.diff(self.after, self.theta)
        self.pulls = [sp.factor(sp.diff(loss, self.theta, 2)) for loss in self.left]
        (self.rest,) = sp.solve(self.slope, self.theta)

    def without(self, expr: sp.Expr) -> sp.Expr:
        """An expression, without the inner step."""
        return expr.subs(self.alpha, 0)

    def mean_at(self, place: sp.Symbol) -> sp.Expr:
        """The mean loss after the step, with another symbol for θ."""
        return self.after.subs(self.theta, place)


def learning_to_learn(n_iters: int = 40) -> Stage:
    """Three tasks ½a(θ − c)², whose minima a reader moves, and one start θ that learns to be a good one to adapt from.

    The meta-loss is the mean of the tasks' losses after one inner step of rate α; with α = 0 it is the mean loss. Its
    derivative is the mean of a(1 − αa)²(θ − c): each task pulls with the weight a(1 − αa)².
    """
    tasks, places = _Tasks(), np.linspace(-5, 5, 201)
    theta, start = tasks.theta, sp.Symbol("start")
    descent = Iteration({theta: start}, {theta: theta - OUTER_RATE * tasks.slope}, "n")
    left, valleys, steps = _losses(tasks, descent)
    above, below = _stacked()
    told = steps + _means(above, tasks, descent) + [Point(below, Formula(tasks.rest), -0.1, color="red", shape="^",
                                                          label="rest", name="The place of rest")]
    pulls = {word: Formula(pull) for (word, *_), pull in zip(LOOKS, tasks.pulls)}
    return Stage(
        [left.figure, above.figure],
        [*valleys, Curve(above, LINE, Formula(tasks.without(tasks.mean_at(S)), over=(S, LINE)), color="grey", dash="--",
                         label="before the inner step"), *_shares(below, tasks), *told],
        [Slider("n", np.arange(n_iters + 1), "outer iterations", 0, "d"),
         Slider("alpha", np.arange(51) / 100, "inner rate α", 0.2, ".2f"), Slider("start", places, "start of θ", -3, ".2f"),
         *(Slider(c.name, places, f"{word} task’s c", m, ".2f") for c, (word, *_), m in zip(tasks.minima, LOOKS, MINIMA))],
        Readout("After {n:d} outer iteration{n:s} θ = {theta:.3f}: mean loss {before:.3f} before an inner step of rate "
                "α = {alpha:.2f}, {after:.3f} after it.\nPulls a(1 − αa)²: {sharp:.3f}, {medium:.3f}, {flat:.3f}. θ comes to "
                "rest at {rest:.3f}; without the inner step it would at {joint:.3f}.",
                theta=descent(theta), before=descent(tasks.without(tasks.after)), after=descent(tasks.after),
                rest=Formula(tasks.rest), joint=Formula(tasks.without(tasks.rest)), **pulls),
        guess=Guess(above, "x", "Where will θ come to rest?", Formula(tasks.rest), told),
        alt="Left: the losses of three tasks, the common θ and an arrow for each task's inner step. Right, above: the mean "
            "loss of the tasks before and after that step, with θ on its way to the minimum of the latter. Below: each task's "
            "share of the pull on θ, as a bar at its minimum.")


def _losses(tasks: _Tasks, descent: Iteration) -> tuple[Any, list[Mark], list[Mark]]:
    """The valleys with their minima; and what would tell where θ is, with the inner steps from there."""
    ax, theta = panel("θ", "loss of a task", (-5, 5), (-1.2, 22), "one start, three tasks", size=SIZE), tasks.theta
    valleys: list[Mark] = []
    told: list[Mark] = [Curve(ax, descent(theta, over=(S, [0, 1])), [-1.2, 22], color="red", dash=":", label="θ")]
    for (word, color, dash, shape), a, c, loss, new in zip(LOOKS, SHARPNESS, tasks.minima, tasks.losses, tasks.adapted):
        valleys += [Curve(ax, LINE, Formula(loss.subs(theta, S), over=(S, LINE)), color=color, dash=dash),
                    Point(ax, Formula(c), 0, color=color, shape=shape, label=f"{word}, a = {a}", drag=c.name)]
        told.append(Arrow(ax, descent(theta), descent(loss), color=color, dx=descent(new - theta),
                          dy=descent(loss.subs(theta, new) - loss)))
    return ax, valleys, told


def _means(ax: Any, tasks: _Tasks, descent: Iteration) -> list[Mark]:
    """The mean loss after the inner step, and the path of θ on it."""
    return [Curve(ax, LINE, Formula(tasks.mean_at(S), over=(S, LINE)), color="red", label="after it"),
            Path(ax, descent(tasks.theta), descent(tasks.after), color="red", dash=":"),
            Point(ax, descent(tasks.theta), descent(tasks.after), color="red", name="θ"),
            Point(ax, Formula(tasks.start), Formula(tasks.mean_at(tasks.start)), color="ink", shape="s", label="start",
                  name="The start", drag="start")]


def _shares(ax: Any, tasks: _Tasks) -> list[Mark]:
    """Bars: what share of the pull each task has; ticks: what it would have without the inner step. And the rest of that."""
    marks: list[Mark] = []
    for (_, color, _, shape), c, pull in zip(LOOKS, tasks.minima, tasks.pulls):
        share, ends = pull / sp.Add(*tasks.pulls), [0, 1]
        joint = Formula(tasks.without(share), over=(S, ends))
        marks += [Curve(ax, Formula(c, over=(S, ends)), Formula(S * share, over=(S, ends)), color=color, width=7),
                  Point(ax, Formula(c), Formula(share), color=color, shape=shape, name="A share", drag=c.name),
                  Curve(ax, Formula(c + S, over=(S, [-0.45, 0.45])), joint, color="grey")]
    return [*marks, Curve(ax, Formula(tasks.without(tasks.rest), over=(S, [0, 1])), [-0.2, 1.08], color="grey", dash="--")]


def _stacked() -> tuple[Any, Any]:
    """Two axes over the same θ, one above the other: for the mean loss, and for the tasks' shares of the pull."""
    with mpl.rc_context(STYLE):
        above, below = Figure(figsize=SIZE).subplots(2, 1, sharex=True, height_ratios=(6, 5))
        above.set(ylabel="mean loss", xlim=(-5, 5), ylim=(-0.5, 13), title="what is minimised, and who pulls")
        below.set(xlabel="θ", ylabel="share of pull", ylim=(-0.2, 1.08), yticks=[0, 0.5, 1])
    return above, below
