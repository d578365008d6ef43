"""The live figures of two-level learning. All tables come from `metacalc.meta`, as in the text beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from metacalc.descent import gradient_descent
from metacalc.meta import adapt, fomaml, imaml, joint, maml, meta_sgd, reptile, with_rates
from metacalc.models import Quadratic
from metacalc.stage import COLORS, Arrow, Curve, Path, Point, Readout, Slider, Stage, panel
from metacalc.tasks import Batch

__all__ = ["landscape", "quadratic_tasks", "step_graph", "two_levels", "update_arrows"]

SHARPNESS, MINIMA = (4, 1, 0.5), (-2, 1, 2)
MODEL = Quadratic(1)
LOOKS = {  # colour, dash, shape
    "joint": ("ink", ":", "o"), "MAML": ("blue", "-", "D"), "FOMAML": ("orange", "--", "^"),
    "Reptile": ("green", "-.", "s"), "iMAML": ("purple", ":", "D"),
}
TASK_LOOKS = (("blue", "-", "o"), ("green", "--", "s"), ("purple", "-.", "^"))


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


def _gradients(batch, alphas, ks, theta):
    """Each algorithm's meta-gradient, {name: array (alpha, k, theta)}; iMAML with λ = 1/(kα), its inner problem solved."""
    stiff = batch.x_support.max()

    def table(method):
        columns = [method(MODEL, theta[:, None], batch, alphas[:, None, None], int(k))[1][..., 0] for k in ks]
        return np.stack(columns, axis=1)

    def implicit(alpha, k):
        lam = 1 / (k * alpha)
        return imaml(MODEL, theta[:, None], batch, 1 / (stiff + lam), 100, lam=lam, cg_steps=1)[1][..., 0]

    return {"joint": joint(MODEL, theta[:, None], batch)[1][..., 0], "MAML": table(maml), "FOMAML": table(fomaml),
            "Reptile": table(reptile), "iMAML": np.array([[implicit(alpha, int(k)) for k in ks] for alpha in alphas])}


def update_arrows(eta: float = 0.5, eta_alpha: float = 0.003) -> Stage:
    """Three tasks on a line: every algorithm's outer step from θ and the point where its meta-gradient vanishes.

    On quadratics a meta-gradient is W(θ − θ*), so that two of its values give θ* and W.

    Parameters
    ----------
    eta : float
        Rate of the outer steps that the arrows show.
    eta_alpha : float
        Rate at which Meta-SGD moves the inner rate.
    """
    batch, alphas, ks, theta = quadratic_tasks(), np.arange(1, 13) / 20, np.arange(1, 11), np.arange(-8, 9) / 2
    fine = np.arange(2, 61) / 100
    gradients = _gradients(batch, alphas, ks, theta)
    slopes, fixed = _fixed_points(batch, alphas, ks)
    bends, curves = _fixed_points(batch, fine, ks)
    for name, curve in curves.items():  # no line across a pole
        if curve.ndim > 1:
            curve[1:][np.diff(np.sign(bends[name]), axis=0) != 0] = np.nan
    rows, plane = _arrow_axes()
    here, marks = theta[None, None], []
    for (name, (color, dash, shape)), y in zip(LOOKS.items(), range(5, 0, -1)):
        look: dict[str, Any] = dict(color=color, label=name, toggle=True)
        point: dict[str, Any] = dict(shape=shape, name=f"{name}’s θ*", **look)
        star = np.broadcast_to(fixed[name], (alphas.size, ks.size))[..., None]
        curve = np.broadcast_to(curves[name], (fine.size, ks.size)).T[None, :, None]
        marks += [Arrow(rows, here, y, dx=-eta * gradients[name], dy=0, dash=dash, **look), Point(rows, star, y, **point),
                  Curve(plane, curve, fine, dash=dash, **look), Point(plane, star, alphas[:, None, None], **point)]
    start = with_rates(np.broadcast_to(theta[:, None], (alphas.size, theta.size, 1)), alphas[:, None, None])
    both = np.stack([meta_sgd(MODEL, start, batch, int(k))[1] for k in ks], axis=1)
    loss = np.stack([maml(MODEL, theta[:, None], batch, alphas[:, None, None], int(k))[0] for k in ks], axis=1)
    marks += [Arrow(plane, here, alphas[:, None, None], dx=-eta * both[..., 0], dy=-eta_alpha * both[..., 1], color="red",
                    label="Meta-SGD", toggle=True),
              Point(rows, here, 6, color="red", name="θ", drag="theta"),
              Point(plane, here, alphas[:, None, None], color="red", name="(θ, α)", drag="theta")]
    marks.sort(key=lambda mark: mark.ax is plane)  # panel by panel
    words = np.full((alphas.size, ks.size, 1), "", dtype="U64")
    for name in LOOKS:
        words = np.where((slopes[name] < 0)[..., None], np.char.add(words, f" {name}’s repels."), words)
    tables = {f"g_{name}": table for name, table in gradients.items()}
    tables |= {f"s_{name}": np.broadcast_to(table, (alphas.size, ks.size))[..., None] for name, table in fixed.items()}
    listed = lambda kind: ", ".join(f"{name} {{{kind}_{name}:.4g}}" for name in LOOKS)
    return Stage(
        [rows.figure, plane.figure], marks,
        [Slider("alpha", alphas, "inner rate α", 0.15, ".2f"), Slider("k", ks, "inner steps k", 2, "d"),
         Slider("theta", theta, "meta-parameter θ", 4, ".1f")],
        Readout("Meta-loss after adapting: {loss:.4g}.\nMeta-gradients at θ = {theta:.1f}: " + listed("g")
                + "; Meta-SGD’s by α {by_alpha:.4g}.\nThey vanish at: " + listed("s") + ".{words}",
                loss=loss, by_alpha=both[..., 1], words=words, **tables),
        alt="Left: the minima of three tasks on a line, and in one row for each algorithm its outer step from θ as an arrow "
            "and the point where its meta-gradient vanishes. Right: that point for every inner rate, and the step of Meta-SGD "
            "in the plane of θ and α.")


def _fixed_points(batch, rates, ks):
    """Slope of each algorithm's meta-gradient in θ, and where it vanishes: {name: array (rate, k)} each."""
    ends = _gradients(batch, rates, ks, np.array([0.0, 1.0]))
    slopes = {name: g[..., 1] - g[..., 0] for name, g in ends.items()}
    return slopes, {name: -g[..., 0] / slopes[name] for name, g in ends.items()}


def _arrow_axes():
    """Axes with a row for each algorithm, the tasks' minima in it, and axes for the plane of θ and α."""
    rows = panel("θ", "", (-5, 5), (-0.2, 6.6), "the outer step, and where it vanishes", size=(3.9, 3.4))
    rows.set_yticks(range(5, 0, -1), LOOKS)
    for a, c in zip(SHARPNESS, MINIMA):
        rows.axvline(c, color=COLORS["grey"], lw=0.8, ls=":")
        rows.text(c, 0.1, f" a={a:g}", color=COLORS["ink"], fontsize=8, ha="right" if c == 1 else "left")
    return rows, panel("θ", "inner rate α", (-5, 5), (0, 0.62), "θ* for every α", size=(3.6, 3.4))


def landscape() -> Stage:
    """The meta-loss of three tasks after k inner steps of rate α, and its curvature for every α."""
    batch, alphas, ks = quadratic_tasks(), np.arange(1, 31) / 50, np.arange(1, 11)
    line, fine = np.linspace(-5, 5, 61), np.arange(1, 121) / 200
    after = np.stack([maml(MODEL, line[:, None], batch, alphas[:, None, None], int(k))[0] for k in ks], axis=1)

    def curvature(rates, tasks):
        """The second derivative of the meta-loss: the difference of its gradients at 1 and 0."""
        ends = [[maml(MODEL, [end], tasks, rates[:, None], int(k))[1][..., 0] for k in ks] for end in (0.0, 1.0)]
        return np.subtract(ends[1], ends[0]).T

    gradient = np.stack([maml(MODEL, np.zeros(1), batch, alphas[:, None], int(k))[1][..., 0] for k in ks], axis=1)
    bends = curvature(alphas, batch)
    best = -gradient / bends
    least = np.stack([maml(MODEL, best[:, i, None], batch, alphas[:, None], int(k))[0] for i, k in enumerate(ks)], axis=1)
    left = panel("θ", "mean loss of the tasks", (-5, 5), (-0.5, 12), "the meta-loss")
    left.plot(line, joint(MODEL, line[:, None], batch)[0], color=COLORS["grey"], lw=1.4, ls="--")
    right = panel("inner rate α", "curvature, logarithmic", (0, 0.62), (1e-4, 1e3), "second derivatives by θ", yscale="log")
    for a in SHARPNESS:
        if 2 / a < 0.62:
            right.axvline(2 / a, color=COLORS["grey"], lw=0.9, ls="--")
            right.text(2 / a, 3e-4, f"2/{a:g} ", ha="right", color=COLORS["ink"])
    marks = [Curve(left, [9, 9], [0, 0], color="grey", dash="--", label="before adapting"),
             Curve(left, line, after, color="red", label="after k steps"),
             Point(left, best, least, color="red", shape="D", name="The minimum")]
    for i, (a, (color, dash, _)) in enumerate(zip(SHARPNESS, TASK_LOOKS)):
        marks.append(Curve(right, fine, curvature(fine, batch[i:i + 1]).T[None] / len(batch), color=color, dash=dash,
                           label=f"a = {a:g}"))
    marks += [Curve(right, fine, curvature(fine, batch).T[None], color="red", label="sum: meta-loss"),
              Point(right, alphas[:, None], bends, color="red", shape="D", name="The curvature")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("alpha", alphas, "inner rate α", 0.1, ".2f"), Slider("k", ks, "inner steps k", 3, "d")],
        Readout("Meta-loss: least at θ* = {best:.4f}, where it is {least:.4g}; curvature {bends:.4g}.\nThe outer loop is "
                "stable for rates below 2/{bends:.4g} = {edge:.4g}.", best=best, least=least, bends=bends, edge=2 / bends),
        alt="Left: the mean loss of three tasks as a function of the start θ, before and after k inner steps. Right: its "
            "second derivative and each task's share of it against the inner rate, on a logarithmic scale, with the rate at "
            "which the sharpest task diverges.")


def two_levels(k: int = 3, n_iters: int = 10) -> Stage:
    """Two-level learning frame by frame: k inner steps of every task, then one outer step of θ by the MAML gradient.

    Parameters
    ----------
    k, n_iters : int
        Inner steps, and outer iterations.
    """
    batch, alphas, betas = quadratic_tasks(), np.arange(1, 12, 2) / 20, np.array([0.25, 0.5, 1.0, 2.0, 3.0])
    rate = alphas[:, None, None]  # alpha, beta, parameter
    meta = lambda theta: maml(MODEL, theta[..., None], batch, rate, k)
    outer = gradient_descent(lambda theta: meta(theta)[1][..., 0], np.full((alphas.size, 1), -4.0), betas, n_iters)
    inner = np.stack([adapt(MODEL, theta[..., None], batch.x_support, batch.y_support, rate, k)[..., 0] for theta in outer])
    before, after = joint(MODEL, outer[..., None], batch)[0], np.stack([meta(theta)[0] for theta in outer])
    frames = np.arange(n_iters * (k + 1) + 1)
    t, j = frames // (k + 1), frames % (k + 1)
    theta, phi = outer[t], inner[t, j]                                 # frame, alpha, beta (and task)
    walked = np.minimum(np.arange(k + 1), j[:, None])                  # a path waits at its end
    paths = np.moveaxis(inner[t[:, None], walked], 1, -1)

    line = np.linspace(-5, 5, 101)
    loss = lambda i, x: MODEL.loss(x[..., None], batch.x_support[i], batch.y_support[i])
    left = panel("θ, and φ of each task", "loss of a task", (-5, 5), (-2, 24), "inside: every task adapts")
    right = panel("θ", "mean loss after adapting", (-5, 5), (-0.5, 12), "outside: θ learns")
    marks = []
    for i, (a, (color, dash, shape)) in enumerate(zip(SHARPNESS, TASK_LOOKS)):
        left.plot(line, loss(i, line), color=COLORS[color], ls=dash, lw=1.2)
        own = paths[..., i, :]
        marks += [Curve(left, own, loss(i, own), color=color, dots=True),
                  Point(left, phi[..., i], loss(i, phi[..., i]), color=color, shape=shape, label=f"a = {a:g}",
                        name="A task’s φ")]
    curve = np.stack([maml(MODEL, line[::2, None], batch, float(alpha), k)[0] for alpha in alphas])
    marks += [Point(left, theta, -1, color="red", shape="D", label="θ", name="θ"),
              Curve(right, line[::2], curve[None, :, None], color="red", label="meta-loss"),
              Path(right, theta, after[t], color="red", along="n", dash=":"),
              Point(right, theta, after[t], color="red", shape="D", name="The meta-loss at θ")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("n", frames, "frame", k, "d"), Slider("alpha", alphas, "inner rate α", 0.15, ".2f"),
         Slider("beta", betas, "outer rate β", 1.0, ".2f")],
        Readout("Outer iteration {t:d}, inner step {j:d} of " + str(k)
                + ": θ = {theta:.4g}, the tasks’ φ = {p0:.4g}, {p1:.4g}, {p2:.4g}.\n"
                "Mean loss at θ {before:.4g}; after all inner steps {after:.4g}.",
                t=t[:, None, None], j=j[:, None, None], theta=theta, before=before[t], after=after[t],
                **{f"p{i}": phi[..., i] for i in range(3)}),
        alt="Left: the losses of three tasks; from the common θ every task takes its own inner steps. Right: the mean loss "
            "after these steps as a function of θ, with the path of θ over the outer iterations.")


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
