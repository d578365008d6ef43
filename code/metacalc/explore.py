"""A live figure of a reader's own function, from text: its gradient by SymPy, its paths for all learning rates by NumPy.

The text may come from anyone, as from a link: it is parsed (`metacalc.formulas`) and never evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from metacalc.axes import Axes, painted
from metacalc.calculus import Objective
from metacalc.descent import adam, adamw, diverged, gradient_descent, momentum, nesterov, sgd
from metacalc.formulas import GREEK, parsed
from metacalc.marks import Path, Point
from metacalc.numeric import compiled, real_part
from metacalc.spec import Readout, Slider
from metacalc.words import listed, spoken, t

if TYPE_CHECKING:
    from collections.abc import Callable

    from metacalc.arrays import Array

__all__ = ["RULES", "explore"]

#: The update rules that a reader may choose.
RULES = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "adamw": adamw}
ITERATIONS, DECADES = 60, 4  # of rates, which makes 41
SERIES = 1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0  # a decade in ten steps, as Renard had it
LOWEST = -7  # power of ten of the smallest rate
SIDE, LINES = 56, 10  # of the grid that level lines are found on, and how many of these


def explore(text: str, start: str = "", rule: str = "sgd") -> dict[str, Any]:
    """The live figure of an update rule on a function of one or two variables, with sliders for η and the iterations.

    Parameters
    ----------
    text : str
        The function, as one types it: `x^4 - 3x^2`, `(1 - x)^2 + 100(y - x^2)^2`.
    start : str
        Where to start: a number, or two for two variables in the order of their names, `1, -1`. Chosen if empty.
    rule : str
        A name in `RULES`, with its defaults.

    Returns
    -------
    dict
        "latex" and "gradient", equations in LaTeX; "stage", the state of a live figure (`metacalc.axes.painted`).

    Raises
    ------
    ValueError
        If the text is no formula of one or two variables, its function is none that `Objective` takes, the start is no such
        point or the function or its gradient has no finite value there, or the rule is unknown.

    Examples
    --------
    >>> made = explore("x^2 + 3y^2", start="2, 1", rule="momentum")
    >>> print(made["latex"])
    f(x, y) = x^{2} + 3 y^{2}
    >>> made["stage"]["spec"]["sliders"][0]["name"]
    'n'
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {str(rule)[:40]!r}")
    objective, names = _objective(text)
    runs = _Runs(objective, names, _start(start, names), rule)
    if not (np.isfinite(runs.loss[0, 0]) and np.all(np.isfinite(objective.grad(runs.start)))):
        where = listed(f"{name} = {value:g}" for name, value in zip(names, runs.path[0, 0]))
        raise ValueError(t("start must be where the function and its gradient are finite; at {where} they are not",
                           where=where))
    f = f"f({', '.join(map(sp.latex, _symbols(objective)))})"
    if len(names) == 1:
        gradient = f"f'{f[1:]} = {sp.latex(objective.gradient)}"
    else:
        gradient = rf"\nabla {f} = {sp.latex(objective.gradient)}"
    return {"latex": f"{f} = {sp.latex(objective.expr)}", "gradient": gradient, "stage": _stage(runs)}


def _symbols(objective):
    return objective.variables if objective.is_vector else (objective.variables,)


def _objective(text: str) -> tuple[Objective, list[str]]:
    """The function, and the names of its variables as they are written."""
    expr = parsed(text)
    if not isinstance(expr, tuple):
        short = [s for s in expr.free_symbols if len(s.name) == 1 or s.name in GREEK]
        expr = parsed(text, short)  # now xy is a product
    if isinstance(expr, tuple):
        raise ValueError(t("it must be one formula, not a list of them"))
    symbols = sorted(expr.free_symbols, key=lambda s: s.name)
    names = [GREEK[s.name] if s.name in GREEK else str(s.name) for s in symbols]
    if not symbols:
        raise ValueError(t("it has no variable, such as x: there is nothing to descend on"))
    if len(symbols) > 2:
        raise ValueError(t("it has {n} variables, {names}; a picture has room for one or two",
                           n=len(symbols), names=listed(names)))
    return Objective(expr, symbols if len(symbols) == 2 else symbols[0]), names


def _start(text: str, names: list[str]) -> Any:
    """The start as a float, or as an array of two."""
    wanted = t("a number, such as 2") if len(names) == 1 else t(
        "two numbers, {x} and {y}, such as 1, -1", x=names[0], y=names[1])
    if not isinstance(text, str):
        raise ValueError(f"start must be {wanted}, in text, got {text!r}")
    try:
        values = parsed(text) if text.strip() else ((sp.Integer(2),), (sp.Integer(2), sp.Integer(1)))[len(names) - 1]
    except ValueError as error:
        raise ValueError(t("start must be {wanted}: {error}", wanted=wanted, error=error)) from None
    values = values if isinstance(values, tuple) else (values,)
    if len(values) != len(names) or any(isinstance(v, tuple) or v.free_symbols for v in values):
        raise ValueError(t("start must be {wanted}, got {text}", wanted=wanted, text=text.strip()[:40]))
    if not all(v.is_extended_real and abs(v.evalf(5)) < 1e100 for v in values):
        raise ValueError(t("start must be finite and real, got {text}", text=text.strip()[:40]))
    theta = [float(v) for v in values]
    return np.array(theta) if len(names) == 2 else theta[0]


@dataclass
class _Runs:
    """The paths of a rule for all rates at once; in every array iterations come first, then rates."""

    objective: Objective
    names: list[str]
    start: Any
    rule: str

    def __post_init__(self) -> None:
        all_rates = np.array([float(f"{m}e{k}") for k in range(LOWEST, 5) for m in SERIES])
        rates = all_rates if len(self.names) == 1 else all_rates[:, None]
        path = gradient_descent(self._slope, self.start, rates, ITERATIONS, RULES[self.rule]())
        self.path = path[..., None] if len(self.names) == 1 else path
        size = max(1.0, float(np.abs(self.start).max()))
        kept = self._window(all_rates, diverged(self.path, 1e12 * size).any(axis=-1))
        self.rates, self.path = all_rates[kept], self.path[:, kept]
        self.grown = diverged(self.path, 1e6 * size).any(axis=-1)
        self.loss = self.values(self.path)

    def _window(self, rates: Array, beyond: Any) -> slice:
        """Four decades of rates, 0.001 to 10 unless the first that diverges lies below 0.01 or above 10."""
        first = np.log10(rates[beyond.argmax()]) if beyond.any() else 0.0
        low = -3 + min(0, np.floor(first + 1e-9) + 2) + max(0, np.floor(first - 1e-9))
        at = len(SERIES) * int(np.clip(low, LOWEST, 0) - LOWEST)
        return slice(at, at + len(SERIES) * DECADES + 1)

    @cached_property
    def _plain(self) -> Callable[..., Any]:
        """The function without the repair of single values, which would take a second where a whole half plane has none."""
        return compiled([self.objective.expr], _symbols(self.objective))

    def _slope(self, theta: Any) -> Any:
        """The gradient, once for runs at one place: where it must be worked out as a limit, all of them would take seconds."""
        rows = np.reshape(theta, (-1, len(self.names)))
        if len(rows) > 1 and (rows == rows[0]).all():
            return np.broadcast_to(self.objective.grad(theta[0]), np.shape(theta))
        return self.objective.grad(theta)

    def values(self, theta: Array) -> Array:
        """The function at points of shape (..., number of variables)."""
        with np.errstate(all="ignore"):
            found = real_part(self._plain(*np.moveaxis(theta, -1, 0))[0])
        found = np.array(np.broadcast_to(found, theta.shape[:-1]), float)
        single = np.isnan(found) & (np.abs(theta) < 1e6).all(axis=-1)
        if single.any():
            points, place = np.unique(theta[single], axis=0, return_inverse=True)
            if len(points) <= 20:  # where a formula is 0/0, say; what has run away is no matter
                found[single] = self.objective(points[:, 0] if len(self.names) == 1 else points)[place.ravel()]
        return found

    @cached_property
    def calm(self) -> Array:
        """Which rates go downhill: f ends no higher than it began, and on the way rises little beside what it falls."""
        with np.errstate(all="ignore"):
            rises = np.maximum(np.diff(self.loss, axis=0), 0).sum(axis=0)
            return ~self.grown & (rises <= 3 * (self.loss[0] - self.loss[-1]))

    @cached_property
    def best(self) -> int:
        """Of these rates the one that ends lowest; of several the smallest, but for what rounding leaves."""
        if not self.calm.any():
            return 0
        ends = np.where(self.calm, self.loss[-1], np.inf)
        return int(np.argmax(ends <= ends.min() + 1e-9 * (self.loss[0, 0] - ends.min())))

    @cached_property
    def shown(self) -> Array:
        """Iterates that the picture is made for, shape (n, number of variables): of the same rates, if not far off."""
        away = np.abs(self.path - self.path[0]).max(axis=-1)
        reach = away.max(axis=0)
        near = self.calm & (away <= max(4 * np.median(reach[self.calm]), reach[self.best])) if self.calm.any() else away == 0
        return self.path[near & np.isfinite(self.loss)]

    def edge(self) -> float | None:
        """2/L, from the curvature at the lowest point that was reached, where the gradient is 0 there."""
        theta = self.path[-1, self.best]
        grad = lambda points: self.objective.grad(points[..., 0] if len(self.names) == 1 else points).reshape(points.shape)
        h = 1e-5 * (1 + np.abs(theta).max())
        shifts = h * np.eye(len(theta))
        with np.errstate(all="ignore"):
            around = grad(np.concatenate([theta + shifts, theta - shifts, [theta, self.path[0, 0]]]))
        hessian = (around[:len(theta)] - around[len(theta):-2]) / (2 * h)
        level = np.abs(around[-2]).max() <= 1e-3 * np.abs(around[-1]).max()
        if not (level and np.isfinite(hessian).all()):
            return None
        largest = np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1]
        return 2 / largest if largest > 1e-6 else None

    def told(self) -> Array:
        """What each rate did, in words."""
        with np.errstate(all="ignore"):
            higher = ~(self.loss[-1] <= self.loss[0] + 1e-12 * np.abs(self.loss[0]))
            last = np.abs(np.diff(self.path[-9:], axis=0)).max(axis=(0, 2))
            still = last <= 1e-3 * np.abs(self.path - self.path[0]).max(axis=(0, 2))
            left = (np.isnan(self.loss) & (np.abs(self.path).max(axis=-1) <= 1e6)).any(axis=0)
        return np.select(
            [left, self.grown, higher, still],
            [t("the path leaves where f is defined"), t("the path diverges"),
             t("after {n} iterations f is larger than at the start", n=ITERATIONS), t("the path comes to rest")],
            t("after {n} iterations the path still moves", n=ITERATIONS))


def _around(values: Array, share: float) -> tuple[float, float]:
    """Limits with room on both sides of some numbers."""
    low, high = float(values.min()), float(values.max())
    least = 1e-3 * max(1.0, abs(low), abs(high))
    room = share * (high - low) if high - low > least else max(1.0, 0.5 * abs(low)) if high == low else least
    return low - room, high + room


def _heights(everywhere: Array, reached: Array) -> tuple[float, float]:
    """Limits for f: all that was reached, and of the rest what is no more than a few times higher or deeper."""
    everywhere, reached = everywhere[np.isfinite(everywhere)], reached[np.isfinite(reached)]
    low, high = float(reached.min()), float(reached.max())
    if everywhere.size:
        spread = high - low if high > low else float(np.subtract(*np.quantile(everywhere, [0.9, 0.1])))
        low = min(low, max(float(everywhere.min()), low - 3 * spread))
        high = max(high, min(float(everywhere.max()), high + spread))
    return _around(np.array([low, high]), 0.06)


def _stage(runs: _Runs) -> dict[str, Any]:
    """The state of the live figure: the path on the function, and beside it f along the iterations."""
    count = np.arange(ITERATIONS + 1)
    left, right = (_graph if len(runs.names) == 1 else _plane)(runs)
    places = (runs.path[..., 0], runs.loss if len(runs.names) == 1 else runs.path[..., 1])
    start, name = [place[0, 0] for place in places], runs.names[0] if len(runs.names) == 1 else t("The path")
    marks = [Path(left, places[0], places[1]), Point(left, start[0], start[1], shape="s", name=t("The start")),
             Point(left, places[0], places[1], color="red", name=name),
             Path(right, count[:, None], runs.loss), Point(right, count[:, None], runs.loss, color="red", name="f")]
    point = listed(f"{name} = {{v{i}:.4g}}" for i, name in enumerate(runs.names))
    words = t("η = {eta:.3g}: {told}.\nAfter {n:d} iteration{n:s} {point}, f = {loss:.5g}.").replace("{point}", point)
    edge = runs.edge() if runs.rule == "sgd" else None
    if edge is not None:
        words += t("\nAt the lowest point reached L = {L:.4g}: plain steps are stable there below η = 2/L = {edge:.4g}.")
    tables = {f"v{i}": runs.path[..., i] for i in range(len(runs.names))}
    tables |= {} if edge is None else {"L": np.array(2 / edge), "edge": np.array(edge)}
    kind = t("curve of f") if len(runs.names) == 1 else t("level lines of f")
    return spoken(painted(
        [left, right], marks,
        [Slider("n", count, t("iterations"), 20, "d"),
         Slider("eta", runs.rates, t("learning rate η"), runs.rates[runs.best], ".3g")],
        Readout(words, told=runs.told(), loss=runs.loss, **tables),
        alt=t("Your own function. Left: the {kind} with the path of {rule}. Right: f at each iteration.", kind=kind,
              rule=runs.rule)))


def _graph(runs: _Runs) -> tuple[Axes, Axes]:
    """The axes for a function of a number, with its curve."""
    xlim = _around(runs.shown, 0.25)
    line = np.linspace(*xlim, 401)
    curve, reached = runs.values(line[:, None]), runs.values(runs.shown)
    ylim = _heights(curve, reached)
    name = runs.names[0]
    left = Axes(name, f"f({name})", xlim, ylim, t("the path on the curve"))
    left.plot(line, curve)
    return left, _decay(runs, curve, ylim)


def _plane(runs: _Runs) -> tuple[Axes, Axes]:
    """The axes for a function of two numbers, with level lines that have equal areas between them."""
    xlim, ylim = (_around(runs.shown[:, i], 0.25) for i in (0, 1))
    xlim, ylim = _equal(xlim, ylim)
    left = Axes(runs.names[0], runs.names[1], xlim, ylim, t("the path, and level lines of f"))
    x, y = np.linspace(*xlim, SIDE), np.linspace(*ylim, SIDE)
    z = runs.values(np.stack(np.meshgrid(x, y), axis=-1))
    finite = z[np.isfinite(z)]
    if finite.size:
        left.contour(x, y, z, np.unique(np.quantile(finite, (np.arange(LINES) + 0.5) / LINES)))
    return left, _decay(runs, z, _heights(np.array([]), runs.values(runs.shown)))


def _equal(xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The same limits, one of them wider, so that right angles are right; but not if a path would be a mere stroke."""
    _, _, width, height = Axes("", "", xlim, ylim).box
    scale = (xlim[1] - xlim[0]) / width, (ylim[1] - ylim[0]) / height
    if not 1 / 8 < scale[0] / scale[1] < 8:
        return xlim, ylim
    wider = [((low + high) / 2 - size * max(scale) / 2, (low + high) / 2 + size * max(scale) / 2)
             for (low, high), size in ((xlim, width), (ylim, height))]
    return wider[0], wider[1]


def _decay(runs: _Runs, everywhere: Array, ylim: tuple[float, float]) -> Axes:
    """The axes for f along the iterations, logarithmic if f is nowhere negative and falls by a factor of 100."""
    loss = runs.loss[:, runs.calm]
    loss = loss[np.isfinite(loss)]
    positive = loss[loss > 0]
    log = positive.size and loss.min() >= 0 and np.nanmin(everywhere) >= 0 and positive.min() < runs.loss[0, 0] / 100
    if log:
        top = runs.loss[0, 0]
        ylim = max(positive.min() / 3, 1e-12 * top), 1e3 * top
    return Axes(t("iteration"), t("f, logarithmic") if log else "f", (-1, ITERATIONS + 1), ylim, t("f along the path"),
                "log" if log else "linear")
