"""The live figures of two-level learning: meta-gradients that SymPy derives by composing inner steps, as the text does.

The tests hold these formulas to what `metacalc.meta` computes.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from matplotlib.axes import Axes

from metacalc.calculus import Objective, step
from metacalc.stage import COLORS, Arrow, Curve, Formula, Guess, Iteration, Path, Point, Readout, Slider, Stage, panel
from metacalc.tasks import Batch

__all__ = ["landscape", "meta_gradients", "quadratic_tasks", "step_graph", "two_levels", "update_arrows"]

SHARPNESS, MINIMA = (4, 1, 0.5), (-2, 1, 2)
THETA, ALPHA, ETA = sp.symbols("theta alpha eta", real=True)
STEPS = sp.Symbol("k", integer=True, positive=True)
ALONG = sp.Symbol("s")  # what runs along a curve
LOOKS = {  # colour, dash, shape
    "joint": ("ink", ":", "o"), "MAML": ("blue", "-", "D"), "FOMAML": ("orange", "--", "^"),
    "Reptile": ("green", "-.", "s"), "iMAML": ("purple", ":", "D"),
}
TASK_LOOKS = (("blue", "-", "o"), ("green", "--", "s"), ("purple", "-.", "^"))
RATES, PLACES = np.arange(4, 121) / 200, np.arange(-100, 101) / 20


def quadratic_tasks(sharpness: Sequence[float] = SHARPNESS, minima: Sequence[float] = MINIMA) -> Batch:
    """The tasks L_i(θ) = a_i/2 (θ − c_i)² of one variable as a `Batch`, whose query set is the support set.

    Parameters
    ----------
    sharpness, minima : sequence of float
        a_i > 0 and c_i.

    Returns
    -------
    Batch

    Examples
    --------
    >>> quadratic_tasks([4, 1], [-2, 1]).y_support.ravel()
    array([-2.,  1.])
    """
    a, c = np.array(sharpness, float)[:, None, None], np.array(minima, float)[:, None]
    return Batch(a, c, a, c)


@cache
def _tasks():
    """The three tasks as objectives."""
    return [Objective(sp.Rational(str(a)) / 2 * (THETA - c) ** 2, THETA) for a, c in zip(SHARPNESS, MINIMA)]


def _adapted(task, k=STEPS):
    """Where k inner steps of rate α lead from θ: a step is an affine map, and so is its power, about the same fixed point."""
    once = step(task, ALPHA)
    (fixed,) = sp.solve(once - THETA, THETA)
    return fixed + sp.expand(sp.diff(once, THETA)) ** k * (THETA - fixed)


def _near(task):
    """The minimum of the task's loss plus λ/2 (φ − θ)², λ = 1/(kα)."""
    phi = sp.Symbol("phi", real=True)
    (end,) = sp.solve(sp.diff(task.expr.subs(THETA, phi) + (phi - THETA) ** 2 / (2 * STEPS * ALPHA), phi), phi)
    return end


def _mean(exprs):
    return sp.Add(*exprs) / len(SHARPNESS)


@cache
def _losses():
    """What each task has left of its loss after k steps of rate α from θ."""
    return [sp.simplify(task.expr.subs(THETA, _adapted(task))) for task in _tasks()]


@cache
def meta_gradients() -> dict[str, sp.Expr]:
    """Each algorithm's meta-gradient on the three tasks by θ, and Meta-SGD's by α, in the symbols theta, alpha and k."""
    every = {
        "joint": lambda task: task.gradient,
        "MAML": lambda task: sp.diff(task.expr.subs(THETA, _adapted(task)), THETA),
        "FOMAML": lambda task: task.gradient.subs(THETA, _adapted(task)),
        "Reptile": lambda task: (THETA - _adapted(task)) / ALPHA,
        "iMAML": lambda task: sp.diff(task.expr.subs(THETA, _near(task)), THETA),
        # Powers are joined: a division by 1 − αa would have no value where it is 0.
        "by α": lambda task: sp.powsimp(sp.diff(task.expr.subs(THETA, _adapted(task)), ALPHA)),
    }
    return {name: _mean([sp.factor(of(task)) for task in _tasks()]) for name, of in every.items()}


@cache
def _bend(name):
    """The second derivative that stands behind a meta-gradient: on quadratics it does not depend on θ."""
    return sp.simplify(sp.diff(meta_gradients()[name], THETA))


def _star(name):
    """Where the meta-gradient vanishes, which is linear in θ."""
    return -meta_gradients()[name].subs(THETA, 0) / _bend(name)


def _table(expr, alphas, ks):
    """An expression at every rate and number of steps, shape (alphas, ks)."""
    found = sp.lambdify((ALPHA, STEPS), expr, "numpy")(alphas[:, None], ks.astype(float))
    return np.array(np.broadcast_to(found, (alphas.size, ks.size)))


def update_arrows(eta: float = 0.5, eta_alpha: float = 0.003) -> Stage:
    """Three tasks on a line: every algorithm's outer step from θ and the point where its meta-gradient vanishes.

    Parameters
    ----------
    eta : float
        Rate of the outer steps that the arrows show.
    eta_alpha : float
        Rate at which Meta-SGD moves the inner rate.
    """
    ks, gradients = np.arange(1, 11), meta_gradients()
    rows, plane = _arrow_axes()
    marks, told = [], []
    for (name, (color, dash, shape)), y in zip(LOOKS.items(), range(5, 0, -1)):
        look: dict[str, Any] = dict(color=color, label=name, toggle=True)
        star: dict[str, Any] = dict(shape=shape, name=f"{name}’s θ*", **look)
        bends, ends = (_table(expr, RATES, ks) for expr in (_bend(name), _star(name)))
        ends[1:][np.diff(np.sign(bends), axis=0) != 0] = np.nan  # no line across a pole
        own = [Arrow(rows, Formula(THETA), y, dx=Formula(-eta * gradients[name]), dy=0, dash=dash, **look),
               Point(rows, Formula(_star(name)), y, **star), Curve(plane, ends.T[None, :, None], RATES, dash=dash, **look),
               Point(plane, Formula(_star(name)), Formula(ALPHA), **star)]
        marks += own
        told += own if name == "MAML" else []
    learned = Arrow(plane, Formula(THETA), Formula(ALPHA), dx=Formula(-eta * gradients["MAML"]),
                    dy=Formula(-eta_alpha * gradients["by α"]), color="red", label="Meta-SGD", toggle=True)
    marks += [learned, Point(rows, Formula(THETA), 6, color="red", name="θ", drag="theta"),
              Point(plane, Formula(THETA), Formula(ALPHA), color="red", name="(θ, α)", label="(θ, α): drag it",
                    drag=("theta", "alpha"))]
    marks.sort(key=lambda mark: mark.ax is plane)  # panel by panel
    words = np.full((RATES.size, ks.size, 1), "", dtype="U64")
    for name in LOOKS:
        words = np.where((_table(_bend(name), RATES, ks) < 0)[..., None], np.char.add(words, f" {name}’s repels."), words)
    tables = {f"g_{name}": Formula(gradients[name]) for name in LOOKS} | {f"s_{name}": Formula(_star(name)) for name in LOOKS}
    listed = lambda kind: ", ".join(f"{name} {{{kind}_{name}:.4g}}" for name in LOOKS)
    return Stage(
        [rows.figure, plane.figure], marks,
        [Slider("alpha", RATES, "inner rate α", 0.15, ".3f"), Slider("k", ks, "inner steps k", 2, "d"),
         Slider("theta", PLACES, "meta-parameter θ", 4, ".2f")],
        Readout("Meta-loss after adapting: {loss:.4g}.\nMeta-gradients at θ = {theta:.2f}: " + listed("g")
                + "; Meta-SGD’s by α {by_alpha:.4g}.\nThey vanish at: " + listed("s") + ".{words}",
                loss=Formula(_mean(_losses())), by_alpha=Formula(gradients["by α"]), words=words, **tables),
        guess=Guess(rows, "x", "Where does MAML’s meta-gradient vanish?", Formula(_star("MAML")), [*told, learned]),
        alt="Left: the minima of three tasks on a line, and in one row for each algorithm its outer step from θ as an arrow "
            "and the point where its meta-gradient vanishes. Right: that point for every inner rate, and the step of Meta-SGD "
            "in the plane of θ and α.")


def _arrow_axes():
    """Axes with a row for each algorithm, the tasks' minima in it, and axes for the plane of θ and α."""
    rows = panel("θ", "", (-5, 5), (-0.2, 6.6), "the outer step, and where it vanishes", size=(3.9, 3.4))
    rows.set_yticks(range(6, 0, -1), ["θ", *LOOKS])
    for a, c in zip(SHARPNESS, MINIMA):
        rows.axvline(c, color=COLORS["grey"], lw=0.8, ls=":")
        rows.text(c, 0.1, f" a={a:g}", color=COLORS["ink"], fontsize=8, ha="right" if c == 1 else "left")
    return rows, panel("θ", "inner rate α", (-5, 5), (0, 0.62), "θ* for every α", size=(3.6, 3.4))


def landscape() -> Stage:
    """The meta-loss of three tasks after k inner steps of rate α, its minimum, and its curvature for every α."""
    ks, line, fine = np.arange(1, 11), np.linspace(-5, 5, 101), np.arange(1, 121) / 200
    loss, bends, star = _mean(_losses()), _bend("MAML"), _star("MAML")
    least = loss.subs(THETA, star)
    left = panel("θ", "mean loss of the tasks", (-5, 5), (-0.3, 6), "the meta-loss")
    before = sp.lambdify(THETA, _mean([task.expr for task in _tasks()]), "numpy")
    left.plot(line, before(line), color=COLORS["grey"], lw=1.4, ls="--")
    right = panel("inner rate α", "curvature (log scale)", (0, 0.62), (1e-4, 1e3), "second derivatives in θ", yscale="log")
    for a in SHARPNESS:
        if 2 / a < 0.62:
            right.axvline(2 / a, color=COLORS["grey"], lw=0.9, ls="--")
            right.text(2 / a, 3e-4, f"2/{a:g} ", ha="right", color=COLORS["ink"])
    over = lambda expr, symbol, values: Formula(expr.subs(symbol, ALONG), over=(ALONG, values))
    locus = [over(expr, ALPHA, fine) for expr in (star, least)]
    marks = [Curve(left, [9, 9], [0, 0], color="grey", dash="--", label="before adapting"),
             Curve(left, line, over(loss, THETA, line), color="red", label="after k steps"),
             Curve(left, *locus, color="grey", dash=":", label="minima for all α"),
             Point(left, Formula(star), Formula(least), color="red", shape="D", name="The minimum",
                   label="minimum (drag it)", drag="alpha")]
    for own, a, (color, dash, _) in zip(_losses(), SHARPNESS, TASK_LOOKS):
        share = sp.simplify(sp.diff(own, THETA, 2)) / len(SHARPNESS)
        marks.append(Curve(right, fine, over(share, ALPHA, fine), color=color, dash=dash, label=f"a = {a:g}"))
    marks += [Curve(right, fine, over(bends, ALPHA, fine), color="red", label="sum: meta-loss"),
              Point(right, Formula(ALPHA), Formula(bends), color="red", shape="D", name="The curvature", drag="alpha")]
    flattest = fine[_table(bends, fine, ks).argmin(axis=0)]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("alpha", np.arange(8, 241) / 400, "inner rate α", 0.1, ".4f"), Slider("k", ks, "inner steps k", 3, "d")],
        Readout("Meta-loss: least at θ* = {best:.4f}, where it is {least:.4g}; curvature {bends:.4g}.\nThe outer loop is "
                "stable for rates below 2/{bends:.4g} = {edge:.4g}.", best=Formula(star), least=Formula(least),
                bends=Formula(bends), edge=Formula(2 / bends)),
        guess=Guess(right, "x", "At which α does adapting make the meta-loss flattest?", flattest[None], marks[1:], ".3f"),
        alt="Left: the mean loss of three tasks as a function of the start θ, before and after k inner steps, and where its "
            "minimum is for every inner rate. Right: its second derivative and each task's share of it against the inner rate, "
            "on a logarithmic scale, with the rate at which the sharpest task diverges.")


def _frames(k: int, start: sp.Symbol, steps: str | int = "n") -> tuple[Iteration, tuple[sp.Symbol, ...], sp.Symbol]:
    """Two-level learning frame by frame: θ, and φ of every task, which take k inner steps before θ takes one outer step."""
    phis, t = sp.symbols(f"phi:{len(SHARPNESS)}", real=True), sp.Symbol("t", integer=True)
    ends = [task.expr.subs(THETA, step(task, ALPHA, k)) for task in _tasks()]
    moved = THETA - ETA * sp.factor(sp.diff(_mean(ends), THETA))
    inside = sp.Mod(t, k + 1) < k  # else the frame is an outer step
    update = {phi: sp.Piecewise((step(task, ALPHA).subs(THETA, phi), inside), (moved, True))
              for task, phi in zip(_tasks(), phis)}
    update[THETA] = sp.Piecewise((THETA, inside), (moved, True))
    return Iteration({THETA: start} | dict.fromkeys(phis, start), update, steps, t), phis, t


def two_levels(k: int = 3, n_iters: int = 10) -> Stage:
    """Two-level learning frame by frame: k inner steps of every task, then one outer step of θ by the MAML gradient.

    Parameters
    ----------
    k, n_iters : int
        Inner steps, and outer iterations.
    """
    start, line = sp.Symbol("start", real=True), np.linspace(-5, 5, 101)
    run, phis, t = _frames(k, start)
    before, after = _mean([task.expr for task in _tasks()]), _mean(_losses()).subs(STEPS, k)
    left = panel("θ, and φ of each task", "loss of a task", (-5, 5), (-2, 24), "inside: every task adapts")
    right = panel("θ", "mean loss after adapting", (-5, 5), (-0.5, 12), "outside: θ learns")
    marks: list[Any] = [Point(right, Formula(start), Formula(after.subs(THETA, start)), color="blue", shape="s",
                              name="The start", label="start θ₀ (drag it)", drag="start")]
    for task, phi, a, (color, dash, shape) in zip(_tasks(), phis, SHARPNESS, TASK_LOOKS):
        left.plot(line, task(line), color=COLORS[color], ls=dash, lw=1.2)
        walked = _adapted(task, sp.Min(ALONG, sp.Mod(t, k + 1)))  # a path waits at its end
        steps = (ALONG, np.arange(k + 1))
        marks += [Curve(left, run(walked, over=steps), run(task.expr.subs(THETA, walked), over=steps), color=color, dots=True),
                  Point(left, run(phi), run(task.expr.subs(THETA, phi)), color=color, shape=shape, label=f"a = {a:g}",
                        name="A task’s φ")]
    marks += [Point(left, run(THETA), -1, color="red", shape="D", label="θ", name="θ"),
              Curve(right, line, Formula(after.subs(THETA, ALONG), over=(ALONG, line)), color="red", label="meta-loss"),
              Path(right, run(THETA), run(after), color="red", along="n", dash=":"),
              Point(right, run(THETA), run(after), color="red", shape="D", name="The meta-loss at θ")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("n", np.arange(n_iters * (k + 1) + 1), "frame", k, "d"), Slider("start", PLACES, "start θ₀", -4, ".2f"),
         Slider("alpha", RATES, "inner rate α", 0.15, ".3f"),
         Slider("eta", np.arange(1, 61) / 20, "outer rate η", 1.0, ".2f")],
        Readout("Outer iteration {t:d}, inner step {j:d} of " + str(k)
                + ": θ = {theta:.4g}, the tasks’ φ = {p0:.4g}, {p1:.4g}, {p2:.4g}.\n"
                "Mean loss at θ {before:.4g}; after all inner steps {after:.4g}.",
                t=run(sp.floor(t / (k + 1))), j=run(sp.Mod(t, k + 1)), theta=run(THETA), before=run(before), after=run(after),
                **{f"p{i}": run(phi) for i, phi in enumerate(phis)}),
        guess=Guess(right, "x", f"Where will θ be after {n_iters} outer iterations?",
                    _frames(k, start, n_iters * (k + 1))[0](THETA), marks[1:]),
        alt="Left: the losses of three tasks; from the common θ every task takes its own inner steps. Right: the mean loss "
            "after these steps as a function of θ, with the path of θ over the outer iterations from a start.")


def step_graph(axes: Axes) -> None:
    """The computation graph of one MAML step, painted on `axes`; dashed is the arrow that first-order MAML cuts.

    Each arrow is labelled with the derivative of its head by its tail. A derivative by θ is the sum over the ways that
    lead from θ, each the product of its labels.
    """
    nodes = {  # place, and the room that arrows leave around the formula
        r"$\theta$": (0, 0, 11), r"$\nabla L^S(\theta)$": (1.6, 1, 15), r"$\phi$": (3.2, 0, 11),
        r"$L^Q(\phi)$": (5.2, 0, 24)}
    theta, slope, phi, loss = nodes
    arrows = [(theta, phi, "$I$", "center"), (theta, slope, "$H$", "right"), (slope, phi, r"$-\alpha$", "left"),
              (phi, loss, r"$\nabla L^Q(\phi)$", "center")]
    for tail, head, label, side in arrows:
        (x0, y0, room), (x1, y1, room_ahead) = nodes[tail], nodes[head]
        cut = label == "$H$"
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=dict(
            arrowstyle="-|>", color=COLORS["orange" if cut else "blue"], lw=1.8, ls="--" if cut else "-",
            shrinkA=room, shrinkB=room_ahead))
        axes.annotate(label, ((x0 + x1) / 2, (y0 + y1) / 2), (0, 7), textcoords="offset points", fontsize=12, ha=side)
    for name, (x, y, _) in nodes.items():
        axes.annotate(name, (x, y), ha="center", va="center", fontsize=14)
    axes.set(xlim=(-0.3, 5.8), ylim=(-0.3, 1.3))
    axes.set_axis_off()
