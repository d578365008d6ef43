"""The live figures of gradient descent.

The price of a step, the rate on a quadratic, a rate that learns, momentum in a valley, Adam leaving a minimum, the floor that
noise sets, where Newton's method and descent end, and where starts among hills do.
"""

import matplotlib as mpl
import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from metacalc.calculus import Objective, step
from metacalc.descent import adam, convergence_factor, gradient_descent, newton
from metacalc.stage import COLORS, STYLE, Curve, Formula, Guess, Iteration, Path, Point, Readout, Slider, Stage, panel

__all__ = ["basins", "hills", "learned_rate", "leaving", "noise_floor", "parabola", "price", "valley"]

KAPPAS = np.array([1, 3, 10, 30, 100])
LEVELS = {0.6: "-", 0.8: "--", 0.9: "-.", 0.95: ":"}  # of the long-run factor, with their dashes


def price(objective: Objective) -> Stage:
    """What a step minimises: the tangent at any point plus a price for distance, with 150 rates, beside the function.

    Parameters
    ----------
    objective : Objective
        Function of one variable; θ² in the chapter.
    """
    theta, value, slope = objective.variables, objective.expr, objective.gradient
    start, eta, x = sp.symbols("start eta x")
    begin, pull = value.subs(theta, start), slope.subs(theta, start)
    tangent, end = begin + pull * (x - start), start - eta * pull
    model = tangent + (x - start) ** 2 / (2 * eta)
    ax = panel("θ", "value", (-3.2, 3.2), (-4.5, 9), "the function, and what the step minimises", size=(5.6, 3.4))
    line = np.linspace(-3.2, 3.2, 129)
    ax.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    told = [Curve(ax, line, Formula(model, over=(x, line)), color="orange", label="tangent plus price"),
            Point(ax, Formula(end), Formula(model.subs(x, end)), color="orange", shape="D", drag="eta",
                  label="its minimum", name="Its minimum"),
            Point(ax, Formula(end), Formula(value.subs(theta, end)), color="red", label="θ′ on f")]
    return Stage(
        [ax.figure],
        [Curve(ax, line, Formula(tangent, over=(x, line)), color="blue", dash="--", label="tangent"), *told,
         Point(ax, Formula(start), Formula(begin), color="blue", shape="s", label="θ (drag it)", drag="start")],
        [Slider("start", np.arange(-120, 121) / 40, "θ", 2.0, ".3f"),
         Slider("eta", np.arange(1, 151) / 100, "learning rate η", 0.2, ".2f")],
        Readout("Slope {slope:.3f}, price δ²/(2 · {eta:.2f}): the step δ = {step:.3f} leads to θ′ = {end:.3f}.\n"
                "f goes from {before:.3f} to {after:.3f}.", slope=Formula(pull), step=Formula(end - start), end=Formula(end),
                before=Formula(begin), after=Formula(value.subs(theta, end))),
        guess=Guess(ax, "x", "Where is the tangent plus the price least?", Formula(end), told),
        alt="The function, its tangent at θ, and the tangent plus a parabola that is zero at θ: its minimum is θ′.")


def parabola(objective: Objective, n_iters: int = 60) -> Stage:
    """Gradient descent on a quadratic function of a number, from any start with 240 rates: the path on its curve, and the loss.

    Parameters
    ----------
    objective : Objective
        Quadratic function of one variable; θ² in the chapter.
    n_iters : int

    Raises
    ------
    ValueError
        If `objective` is not quadratic.
    """
    if not objective.hessian.is_number:
        raise ValueError(f"objective must be quadratic, got {objective}")
    theta, value, (start, eta, t) = objective.variables, objective.expr, sp.symbols("start eta t")
    run = Iteration({theta: start}, {theta: step(objective, eta)}, "n", t)
    # Flat, so that the start follows a pointer that goes sideways.
    curve = panel("θ", "f(θ)", (-15, 15), (-15, 220), "the path on the curve", size=(3.7, 2.6))
    line = np.linspace(-15, 15, 201)
    curve.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    decay = panel("iteration t", "f(θ) (log scale)", (-1, n_iters + 1), (1e-9, 1e9), "the loss", yscale="log", size=(3.7, 2.6))
    factor, edge = 1 - eta * objective.hessian, sp.Rational(1, 10**9)
    regime = sp.Piecewise((0, sp.Abs(factor) < edge), (1, sp.Abs(factor + 1) < edge), (2, factor > 0), (3, factor > -1),
                          (4, True))
    words = ["the minimum is reached in one step", "θ jumps back and forth for ever", "the error shrinks monotonically",
             "the error oscillates and shrinks", "the error oscillates and grows: divergence"]
    told = [Path(curve, run(theta), run(value), color="blue"), Point(curve, run(theta), run(value), color="red", name="θ"),
            Path(decay, run(t), run(value), color="blue"), Point(decay, run(t), run(value), color="red", name="The loss")]
    return Stage(
        [curve.figure, decay.figure],
        [*told, Point(curve, Formula(start), Formula(value.subs(theta, start)), color="blue", shape="s", drag="start",
                      label="start (drag it)")],
        [Slider("n", np.arange(n_iters + 1), "iterations", 10, "d"),
         Slider("start", np.arange(-140, 141) / 10, "start θ₀", 10.0, ".1f"),
         Slider("eta", np.arange(1, 241) / 200, "learning rate η", 0.1, ".3f")],
        Readout("η = {eta:.3f}: {regime}.\nAfter {n:d} iteration{n:s} θ = {theta:.4g} and f(θ) = {loss:.4g}.",
                theta=run(theta), loss=run(value), regime=Formula(regime, labels=words)),
        guess=Guess(curve, "x", "Where will θ be after these iterations?", run(theta), told),
        alt="Left: the curve of f with the iterates of gradient descent on it. Right: f at each iterate, on a "
            "logarithmic scale.")


def learned_rate(objective: Objective, n_iters: int = 100) -> Stage:
    """Gradient descent on a quadratic function of a number, whose rate goes downhill too: its path, and where every rate ends.

    Parameters
    ----------
    objective : Objective
        Quadratic function of one variable; θ² in the chapter.
    n_iters : int
    """
    theta, rates, begin = objective.variables, np.arange(1, 200) / 200, 10
    rate, previous, nu, eta0, s, t = sp.symbols("rate previous nu eta0 s t")
    new = rate + nu * objective.gradient * previous
    update = {theta: theta - new * objective.gradient, rate: new, previous: objective.gradient}
    start = {theta: sp.Integer(begin), rate: eta0, previous: sp.Integer(0)}
    run, own = (Iteration(start, update, steps, t) for steps in ("n", n_iters))
    whole = Iteration({**start, rate: s}, update, n_iters)
    plain = Iteration({theta: begin}, {theta: step(objective, eta0)}, "n")
    best = float(1 / objective.hessian)
    left = panel("iteration t", "learning rate η", (-2, n_iters + 2), (0, 1.02), "the rate on its way")
    right = panel("initial rate η₀", f"rate after {n_iters} iterations", (0, 1), (0, 1.02), "where each rate ends")
    for ax in (left, right):
        ax.axhline(best, color=COLORS["grey"], lw=1.4, ls="--")
    right.plot([0, 1], [0, 1], color=COLORS["grey"], lw=1, ls=":")
    right.text(0.15, 0.03, "dotted: where it began", color=COLORS["ink"])
    told = [Path(left, run(t), run(rate), color="blue"), Point(left, run(t), run(rate), color="red", name="η"),
            Curve(right, rates, whole(rate, over=(s, rates)), color="blue", dots=True, dash=" "),
            Point(right, Formula(eta0), own(rate), color="red", name="The rate’s end", drag="eta0")]
    return Stage(
        [left.figure, right.figure], told,
        [Slider("n", np.arange(n_iters + 1), "iterations", n_iters, "d"),
         Slider("nu", np.array([1, 2, 5, 10, 20, 50, 100, 200]) / 1e5, "rate ν of the rate", 1e-4, ".0e"),
         Slider("eta0", rates, "initial rate η₀", 0.1, ".3f")],
        Readout("With ν = {nu:.0e} the rate goes from {eta0:.3f} to {rate:.4f} in {n:d} iteration{n:s}.\n"
                "θ = {theta:.2e}; without learning it would be {plain:.2e}.",
                rate=run(rate), theta=run(theta), plain=plain(theta)),
        guess=Guess(left, "y", "Where will the rate be in the end?", own(rate), told, ".2g"),
        alt="Left: the learning rate at each iteration, and the best one as a dashed line. Right: the rate in the end, for "
            "every initial rate.")


def valley(n_iters: int = 60, horizon: int = 400) -> Stage:
    """Heavy-ball momentum on ½(x²/κ + y²) from any start, and a map of its long-run factor over all rates and momenta.

    The pictures show `n_iters` iterations; the number to a thousandth of the initial error is counted up to `horizon`.
    """
    kappa, eta, beta, x0, y0, x, y, t, c = sp.symbols("kappa eta beta x0 y0 x y t c", real=True)
    start, update = _heavy_ball(x**2 / (2 * kappa) + y**2 / 2, {x: x0, y: y0}, eta, beta)
    run, factor, best = Iteration(start, update, "n", t), _long_run(eta, beta, [1 / kappa, 1]), _best_pair(kappa)
    (plane, decay), pairs, count = _plane_and_decay(n_iters), _pairs(), np.arange(n_iters + 1)
    angle, (rates, betas) = np.linspace(0, 2 * np.pi, 73), _grids(best, kappa)
    levels = [Curve(plane, Formula(r * sp.sqrt(kappa) * sp.cos(c), over=(c, angle)), r * np.sin(angle), color="faint",
                    width=1.2) for r in (0.3, 0.6, 0.9, 1.2, 1.5)]
    contours = [Curve(pairs, *_level_line(level), color="green", dash=dash, label=f"r = {level}")
                for level, dash in LEVELS.items()]
    return Stage(
        [plane.figure, pairs.figure],
        [*levels, Path(plane, run(x), run(y), color="blue"), Point(plane, run(x), run(y), color="red", name="The path’s end"),
         Point(plane, Formula(x0), Formula(y0), color="blue", shape="s", label="start (drag it)", drag=("x0", "y0")),
         Curve(decay, count, Formula(factor**c, over=(c, count)), color="grey", dash="--", label="rᵗ, predicted"),
         Path(decay, run(t), run(sp.sqrt((x**2 + y**2) / (x0**2 + y0**2))), color="blue", dots=False, label="measured"),
         *contours, Point(pairs, *map(Formula, best), color="purple", shape="D", label="best pair"),
         Point(pairs, Formula(eta), Formula(beta), color="red", label="(η, β): drag, or click", drag=("eta", "beta"))],
        [Slider("n", count, "iterations", 30, "d"), Slider("kappa", KAPPAS, "condition number κ", 30, "d"),
         Slider("eta", rates, "learning rate η", 1.9, ".3f"), Slider("beta", betas, "momentum β", 0, ".3f"),
         Slider("x0", np.arange(-30, 31) / 20, "start x₀", -1.2, ".2f"),
         Slider("y0", np.arange(-30, 31) / 20, "start y₀", 0.9, ".2f")],
        _counted(start, update, factor, best, t, horizon),
        alt="Left: level lines of the quadratic, ellipses that κ stretches, and the path of momentum on them; below, the "
            "distance from the minimum on a logarithmic scale. Right: level lines of the long-run factor over rate and "
            "momentum, the best pair, and the border beyond which it diverges.")


def _heavy_ball(f, begin, eta, beta):
    """What the method starts with, and its step: v ← βv + ∂f and θ ← θ − ηv for every coordinate θ."""
    start, update = dict(begin), {}
    for theta in begin:
        v = sp.Symbol(f"v_{theta}")
        start[v], update[v] = sp.Integer(0), beta * v + sp.diff(f, theta)
        update[theta] = theta - eta * update[v]
    return start, update


def _long_run(eta, beta, ends):
    """The largest modulus of a root h ± √(h² − β) of z² − (1 + β − ηλ) z + β, where h is half of the bracket.

    Of a complex pair it is √β, as their product is β; of a real one it grows with |h|, so that the ends of the spectrum
    decide.
    """
    low, high = ((1 + beta - eta * end) / 2 for end in ends)
    largest = (sp.Abs(low + high) + sp.Abs(low - high)) / 2  # of |low| and |high|; SymPy is slow with its Max
    return sp.Piecewise((largest + sp.sqrt(largest**2 - beta), largest**2 > beta), (sp.sqrt(beta), True))


def _best_pair(kappa):
    """Rate and momentum that make both ends of the spectrum from 1/κ to 1 critical at once (Polyak 1964)."""
    root = sp.Symbol("s", positive=True)  # of the rate
    (best,) = sp.solve(sp.Eq(1 - root / sp.sqrt(kappa), -(1 - root)), root)
    return best**2, (1 - best) ** 2


def _grids(best, kappa):
    """Rates and momenta that a slider, a drag and a click reach: evenly spaced, and the best pair of every κ."""
    exact = [[float(expr.subs(kappa, int(value))) for value in KAPPAS] for expr in best]
    evenly = [np.arange(1, 201) / 50, np.arange(99) / 100]
    return [np.union1d(grid[np.abs(grid[:, None] - own).min(axis=1) > 0.004], own) for grid, own in zip(evenly, exact)]


def _level_line(level, rows=13):
    """Where the long-run factor is `level`: rates and momenta of shape (1, κ, 1, 1, 1, 1, points), NaN where there is no such.

    At each momentum the factor is least where both ends of the spectrum are equally far from critical; on either side it
    grows, so that halving an interval finds the level.
    """
    eigenvalues = np.stack([1 / KAPPAS, np.ones(KAPPAS.size)], axis=-1)[:, None]
    middle = lambda beta: 2 * (1 + beta) / eigenvalues.sum(axis=-1)
    within = lambda eta, beta: convergence_factor(eta, beta, eigenvalues) <= level + 1e-9
    top = np.full((KAPPAS.size, 1), level**2)  # √β is in every factor
    tip = _halved(lambda beta: within(middle(beta), beta), top, 0 * top)
    beta = tip + (top - tip) * np.linspace(0, 1, rows)
    left, right = (_halved(lambda eta: within(eta, beta), middle(beta), end) for end in (1e-9 + 0 * beta, 2 * (1 + beta)))
    lines = np.stack([np.concatenate([left, right[:, ::-1]], axis=1), np.concatenate([beta, beta[:, ::-1]], axis=1)])
    lines[:, ~within(middle(top), top)[:, 0]] = np.nan
    return lines[:, None, :, None, None, None, None]


def _halved(within, inside, outside):
    """The last point `within`, on the way from those inside to those outside; these themselves where all is."""
    for _ in range(60):
        middle = (inside + outside) / 2
        good = within(middle)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return inside


def _plane_and_decay(n_iters):
    """Axes of equal scales for the path, and below them those for the error."""
    with mpl.rc_context(STYLE):
        plane, decay = Figure(figsize=(3.7, 4.3)).subplots(2, height_ratios=(2.6, 1))
        plane.set(xlabel="x", ylabel="y", xlim=(-1.9, 1.9), ylim=(-1.6, 1.6), aspect="equal",
                  title="the path, and level lines of f")
        plane.grid(False)
        decay.set(xlabel="iteration t", ylabel="error (log)", xlim=(-1, n_iters + 1), ylim=(1e-4, 10), yscale="log")
        decay.set_yticks([1, 1e-3])
    return plane, decay


def _pairs():
    """Axes of rate and momentum, with the border of divergence."""
    pairs = panel("learning rate η", "momentum β", (0, 4.05), (-0.02, 1), "the long-run factor r", size=(3.7, 4.3))
    pairs.grid(False)
    pairs.fill([2, 4, 4.05, 4.05], [0, 1, 1, 0], color=COLORS["red"], alpha=0.12, lw=0)
    pairs.plot([2, 4], [0, 1], color=COLORS["red"], lw=2)
    pairs.text(3.4, 0.1, "diverges:\nη > 2(1 + β)", ha="center", color=COLORS["red"])
    return pairs


def _counted(start, update, factor, best, t, horizon):
    """The readout: the factor, and the iterations to a thousandth of the initial error, predicted from it and counted."""
    rho, hit, (x, y), edge = sp.Symbol("rho"), sp.Symbol("hit"), list(start)[:2], sp.Rational(1, 10**9)
    small = x**2 + y**2 <= (start[x] ** 2 + start[y] ** 2) / 10**6
    counting = sp.Piecewise((hit, hit >= 0), (t, small), (-1, True))
    whole = Iteration({**start, hit: -1}, {**update, hit: counting}, horizon + 1, t)
    settled = Iteration({rho: factor}, {rho: rho}, 0)
    needed = sp.Max(1, sp.ceiling(sp.log(sp.Rational(1, 1000)) / sp.log(rho) - edge))
    predicted = sp.Piecewise((horizon + 3, rho > 1 + edge), (horizon + 2, rho > 1 - edge), (1, rho < edge),
                             (sp.Min(needed, horizon + 1), True))
    measured = sp.Piecewise((hit, hit >= 0), (horizon + 2, factor > 1 - edge), (horizon + 1, True))
    numbers = [*map(str, range(horizon + 1)), f"more than {horizon}"]
    return Readout(
        "Long-run factor r = {rho:.4f}; the best pair, η = {best_eta:.3f} and β = {best_beta:.3f}, has {best_rho:.4f}.\n"
        "Iterations to a thousandth of the initial error: {predicted}{measured}.",
        rho=Formula(factor), best_eta=Formula(best[0]), best_beta=Formula(best[1]), best_rho=Formula(sp.sqrt(best[1])),
        predicted=settled(predicted, labels=[*(f"{n} predicted" for n in numbers), "not predicted, for r = 1",
                                           "none, it diverges (r > 1)"]),
        measured=whole(measured, labels=[*(f", {n} measured" for n in numbers), ""]))


def leaving(objective: Objective, n_iters: int = 800, every: int = 8) -> Stage:
    """Adam at constant rates on a quadratic function of a number: it nears the minimum, and leaves it again.

    Parameters
    ----------
    objective : Objective
        Quadratic function of one variable with its minimum at 0; θ² in the chapter.
    n_iters, every : int
        Iterations, a multiple of `every`: of so many consecutive errors the largest is shown.
    """
    rates, forgets = np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0]), np.array([0.9, 0.95, 0.98])
    path = gradient_descent(objective.grad, 1.0, rates[:, None], n_iters, adam(0.9, forgets))
    count, curvature = np.arange(0, n_iters + 1, every), float(objective.hessian)
    near = np.abs(path[1:]).reshape(-1, every, *path.shape[1:]).max(axis=1)
    error = np.concatenate([np.abs(path[:1]), near])
    reach = rates[:, None] * curvature / (_root_mean_squares(objective.grad(path), forgets)[::every] + 1e-8)
    turn, late = error.argmin(axis=0), error[-200 // every:].max(axis=0)
    left = panel("iteration t", "|θ| (log scale)", (-20, n_iters + 30), (1e-15, 30), "distance from the minimum", "log")
    right = panel("iteration t", "rate × curvature (log scale)", (-20, n_iters + 30), (1e-2, 300), "Adam’s steps", "log")
    border = float(_adam_border(sp.Rational(9, 10)))
    right.axhline(border, color=COLORS["grey"], lw=1.4, ls="--")
    right.text(n_iters, border * 1.3, f"border: {border:.0f}", ha="right", va="bottom", color=COLORS["ink"])
    t = count[:, None, None]
    told = [mark for ax, y, name in ((left, error, "The error"), (right, reach, "Rate × curvature"))
            for mark in (Path(ax, t, y, color="blue", dots=False), Point(ax, t, y, color="red", name=name, drag="n"))]
    return Stage(
        [left.figure, right.figure],
        [Curve(left, [0.0, n_iters], rates[:, None, None] * np.ones(2), color="grey", dash=":", label="η"), *told],
        [Slider("n", count, "iterations", n_iters, "d"), Slider("eta", rates, "learning rate η", 0.1, ".2f"),
         Slider("beta2", forgets, "memory β₂", 0.95, ".2f")],
        Readout("Iteration {n:d}: error {error:.2g}, rate × curvature {reach:.3g}.\nNearest to the minimum at iteration "
                "{turn:d}: {least:.1e}. In the last 200 iterations the error is up to {late:.2g}, {share:.2f} of η.",
                error=error, reach=reach, turn=count[turn], least=error.min(axis=0), late=late, share=late / rates[:, None]),
        guess=Guess(left, "x", "At which iteration is the path nearest to the minimum?", count[turn], told, ".0f"),
        alt="Left: the distance from the minimum at each iteration of Adam, on a logarithmic scale: it falls and then rises. "
            "Right: the rate that Adam gives the gradient, times the curvature, and the border of stability.")


def _root_mean_squares(gradients, forgets):
    """What Adam divides by at every iteration, without ε: the root of the mean square, corrected for its bias."""
    mean, roots = 0.0, []
    for t, gradient in enumerate(gradients, start=1):
        mean = forgets * mean + (1 - forgets) * gradient**2
        roots.append(np.sqrt(mean / (1 - forgets**t)))
    return np.array(roots)


def _adam_border(beta1):
    """Rate times curvature at which −1 is a root of Adam's recurrence with a frozen denominator."""
    reach, r = sp.symbols("reach r")
    (border,) = sp.solve((r**2 - (1 + beta1 - (1 - beta1) * reach) * r + beta1).subs(r, -1), reach)
    return border


def noise_floor(objective: Objective, rng: np.random.Generator, n_iters: int = 150, runs: int = 1000) -> Stage:
    """Descent with noise in the gradient on a quadratic function of a number: one run, and the variance where many settle.

    Parameters
    ----------
    objective : Objective
        Quadratic function of one variable with its minimum at 0; θ² in the chapter.
    rng : numpy.random.Generator
        Draws the noise, normal and the same for all rates and sizes.
    n_iters, runs : int
    """
    rates, sizes, begin = np.arange(1, 49) / 50, np.array([0.5, 1.0, 2.0]), 4.0
    noise = rng.standard_normal((n_iters, runs))
    walked = [_noisy(objective, begin, rates, size * noise) for size in sizes]
    one, final = (np.stack(tables, axis=-1) for tables in zip(*walked))
    eta, sigma, mean, variance, t, c = sp.symbols("eta sigma mean variance t c", positive=True)
    update = step(objective, eta).subs(objective.variables, mean)
    varied = sp.diff(update, mean) ** 2 * variance + eta**2 * sigma**2
    run = Iteration({mean: sp.Float(begin), variance: 0}, {mean: update, variance: varied}, n_iters, t)
    (floor,) = sp.solve(sp.Eq(variance, varied), variance)
    left = panel("iteration t", "θ", (-2, n_iters + 2), (-7, 7), "a run, and where 95% of all runs are")
    right = panel("learning rate η", "variance (log scale)", (0, 1), (5e-4, 100), "the noise floor", "log")
    count = np.arange(n_iters + 1)
    band = [Curve(left, run(t), run(mean + sign * sp.Rational(49, 25) * sp.sqrt(variance)), color="orange", dash="--",
                  label="95% predicted" if sign > 0 else "") for sign in (1, -1)]
    told = [Curve(right, rates, Formula(floor.subs(eta, c), over=(c, rates)), color="orange", dash="--", label="predicted"),
            Curve(right, rates[1::2], final.T[:, 1::2], color="blue", dots=True, dash=" ", label=f"measured, {runs:,} runs"),
            Point(right, Formula(eta), Formula(floor), color="red", name="The variance", drag="eta")]
    with np.errstate(divide="ignore"):
        needed = np.maximum(1, np.ceil(np.log(1e-3) / np.log(np.abs(1 - rates * float(objective.hessian))) - 1e-9))
    return Stage(
        [left.figure, right.figure],
        [*band, Path(left, count[:, None, None], one, color="blue", dots=False, label="one run"), *told],
        [Slider("n", count, "iterations", n_iters, "d"), Slider("eta", rates, "learning rate η", 0.1, ".2f"),
         Slider("sigma", sizes, "noise σ", 2.0, ".1f")],
        Readout("Final variance: {floor:.3g} predicted, {final:.3g} measured.\nThe mean falls to a thousandth of the "
                "start in {needed:d} iteration{needed:s}.", floor=Formula(floor), final=final, needed=needed[:, None]),
        guess=Guess(right, "y", "How large will the variance be in the end?", Formula(floor), told, ".2g"),
        alt="Left: one run of descent with noise, over the iterations, within the band where 95% of all runs are. Right: the "
            "final variance over the rate, predicted and measured, on a logarithmic scale.")


def _noisy(objective, start, rates, noise):
    """Iterates of the first run, with an axis for the rates, and the variance of all runs after the last iteration."""
    drawn = iter(noise)
    path = gradient_descent(lambda theta: objective.grad(theta) + next(drawn), np.full(noise.shape[1], start), rates[:, None],
                            len(noise))
    return path[..., 0], path[-1].var(axis=-1)


def basins(objective: Objective, n_iters: int = 30) -> Stage:
    """Where each start ends under Newton's method and under descent, on a function with a maximum between its minima.

    Parameters
    ----------
    objective : Objective
        Function of one variable; θ⁴/4 − θ²/2 in the chapter.
    n_iters : int
    """
    starts, (start, eta) = np.arange(-300, 301) / 200, (sp.symbols("start"), sp.Rational(3, 10))
    theta, value = objective.variables, objective.expr
    updates = {"Newton": theta - sp.cancel(objective.gradient / objective.hessian), "descent": step(objective, eta)}
    reached = gradient_descent(objective.grad, starts, float(eta), n_iters)[-1]
    ends = {"Newton": dict(y=newton(objective.grad, objective.hess, starts, n_iters)[-1], dots=True, dash=" "),
            "descent": dict(y=np.where(objective.hess(reached) > 0, reached, np.nan), width=7)}
    line = np.linspace(-1.75, 1.75, 201)
    curve = panel("θ", "f(θ)", (-1.75, 1.75), (-0.3, 0.85), "both paths on the curve")
    curve.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    right = panel("start θ₀", f"θ after {n_iters} iterations", (-1.55, 1.55), (-1.5, 1.3), "where each start ends")
    marks, told = [], {}
    for name, color, shape, dash in (("descent", "blue", "o", "-"), ("Newton", "orange", "^", "--")):
        run, whole = (Iteration({theta: start}, {theta: updates[name]}, steps) for steps in ("n", n_iters))
        marks += [Path(curve, run(theta), run(value), color=color, dash=dash),
                  Point(curve, run(theta), run(value), color=color, shape=shape, label=name),
                  Curve(right, starts, color=color, label=name, **ends[name]),
                  Point(right, Formula(start), whole(theta), color=color, shape=shape, name=f"The end of {name}’s path")]
        told[name] = whole(theta)
    grips = [Point(ax, Formula(start), y, color="red", shape="s", label="start (drag it)", drag="start")
             for ax, y in ((curve, Formula(value.subs(theta, start))), (right, -1.4))]
    return Stage(
        [curve.figure, right.figure], [*marks, *grips],
        [Slider("n", np.arange(n_iters + 1), "iterations", n_iters, "d"), Slider("start", starts, "start θ₀", 0.4, ".3f")],
        Readout("From θ₀ = {start:.3f}, after " + str(n_iters) + " iterations: descent at {descent:.3f}, Newton’s method at "
                "{Newton:.3f}.", **told),
        guess=Guess(curve, "x", "Where will Newton’s method end?", told["Newton"], marks),
        alt="Left: a curve with two minima and a maximum between them, with the iterates of descent and of Newton's method. "
            "Right: the point that either reaches, for every start.")


def hills(objective: Objective, n_iters: int = 40) -> Stage:
    """Gradient descent on a function with several minima, from any start with 30 rates: the path, and where all starts end.

    Parameters
    ----------
    objective : Objective
        Function of one variable.
    n_iters : int
    """
    starts, rates, (start, eta, s) = np.linspace(-6, 6, 241), np.arange(1, 31) / 50, sp.symbols("start eta s")
    theta = objective.variables
    descent = Iteration({theta: start}, {theta: step(objective, eta)}, "n")
    whole = Iteration({theta: s}, {theta: step(objective, eta)}, n_iters)
    own = Iteration({theta: start}, {theta: step(objective, eta)}, n_iters)
    line, value = np.linspace(-7.5, 7.5, 301), objective.expr
    curve = panel("θ", "f(θ)", (-7.5, 7.5), (-1.8, 6.6), "the path on the curve")
    curve.plot(line, objective(line), color=COLORS["grey"], lw=1.4)
    ends = panel("start θ₀", f"θ after {n_iters} iterations", (-6.5, 6.5), (-7.5, 7.5), "where each start ends")
    path = [Path(curve, descent(theta), descent(value), color="blue"),
            Point(curve, descent(theta), descent(value), color="red", name="θ")]
    end = [Curve(ends, starts, whole(theta, over=(s, starts)), color="blue", dots=True, dash=" "),
           Point(ends, Formula(start), own(theta), color="red", name="The end of the path", drag="start")]
    return Stage(
        [curve.figure, ends.figure],
        [*path, Point(curve, Formula(start), Formula(value.subs(theta, start)), color="blue", shape="s", drag="start",
                      label="start (drag it)"), *end],
        [Slider("n", np.arange(n_iters + 1), "iterations", n_iters, "d"),
         Slider("start", starts, "start θ₀", 3.0, ".2f"), Slider("eta", rates, "learning rate η", 0.1, ".2f")],
        Readout("From θ₀ = {start:.2f} with η = {eta:.2f}, after {n:d} iteration{n:s}: θ = {theta:.4f}.", theta=descent(theta)),
        guess=Guess(curve, "x", "Where will the path end?", own(theta), [*path, *end]),
        alt="Left: a curve with hills and valleys, and the iterates on it. Right: the point reached, for every start.")
