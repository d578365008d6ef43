"""The pictures of the first page: three tasks and one start, and the ways through the course."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from metacalc.calculus import Objective, step
from metacalc.descent import gradient_descent
from metacalc.stage import COLORS, STYLE, Arrow, Curve, Point, Readout, Slider, Stage, panel

__all__ = ["learning_path", "learning_to_learn"]

SHARPNESS, MINIMA = (4, 1, sp.Rational(1, 2)), (-2, 1, 2)
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


def learning_to_learn(sharpness: Sequence[sp.Expr | float] = SHARPNESS, minima: Sequence[sp.Expr | float] = MINIMA,
                      n_iters: int = 30) -> Stage:
    """Three tasks ½a(θ − c)² and one start θ that learns to be a good one to adapt from, for ten inner rates.

    The meta-loss is the mean of the tasks' losses after one inner step of rate α; with α = 0 it is the mean loss.
    """
    theta, alpha = sp.symbols("theta alpha")
    tasks = [Objective(sp.Rational(1, 2) * a * (theta - c)**2, theta) for a, c in zip(sharpness, minima)]
    adapted = [step(task, alpha) for task in tasks]
    after = sp.Add(*(task.expr.subs(theta, new) for task, new in zip(tasks, adapted))) / len(tasks)
    rates = np.arange(10) / 20
    losses = [Objective(after.subs(alpha, float(rate)), theta) for rate in rates]
    path = np.stack([gradient_descent(loss.grad, -4.0, 0.3, n_iters) for loss in losses], axis=-1)
    new = [sp.lambdify((theta, alpha), u)(path, rates) for u in adapted]
    line = np.linspace(-5, 5, 101)

    left = panel("θ", "loss of a task", (-5, 5), (-1, 24), "one start, three tasks")
    right = panel("θ", "mean loss of the tasks", (-5, 5), (-0.5, 12), "what is minimised")
    right.plot(line, losses[0](line), color=COLORS["grey"], lw=1.6, ls="--")
    looks = (("blue", "-", "o"), ("green", "--", "s"), ("purple", "-.", "^"))
    marks = []
    for a, word, task, u, (color, dash, shape) in zip(sharpness, ("sharp", "medium", "flat"), tasks, new, looks):
        left.plot(line, task(line), color=COLORS[color], ls=dash, lw=1.4)
        marks += [Point(left, path, task(path), color=color, shape=shape, label=f"a = {a} ({word})", name="A task's loss"),
                  Arrow(left, path, task(path), color=color, dx=u - path, dy=task(u) - task(path))]
    before, reached = losses[0](path), np.stack([f(path[:, i]) for i, f in enumerate(losses)], axis=-1)
    marks += [Curve(right, line, np.stack([f(line) for f in losses])[None], color="red", label="after it"),
              Curve(right, [9, 9], [0, 0], color="grey", dash="--", label="before the inner step"),  # for the legend
              Point(right, path, reached, color="red", shape="D", name="θ")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("n", np.arange(n_iters + 1), "outer iterations", 0, "d"),
         Slider("alpha", rates, "inner rate α", 0.2, ".2f")],
        Readout("After {n:d} outer iteration{n:s} θ = {theta:.3f}: mean loss {before:.3f} before an inner step of rate "
                "α = {alpha:.2f}, {after:.3f} after it.", theta=path, before=before, after=reached),
        alt="Left: the losses of three tasks, the common start θ and an arrow for each task's inner step. Right: "
            "the mean loss of the tasks before and after that step, with θ on its way to the minimum of the latter.")
