"""The contenders of the page on bilevel learning: many hyperparameters by implicit gradients, against searches of equal cost.

Costs are calls: gradients of the inner loss and Hessian-vector products, each of which is two products with the data.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, Integers
from metacalc.bilevel import Bilevel, OuterPath, bilevel_descent, counted, example_weights, inner_minimum, ridge_penalties
from metacalc.descent import adam
from metacalc.studies import Interval, interval

__all__ = ["Draw", "Run", "contenders", "flipped_labels", "gap", "lasso", "regression", "table"]

N_FEATURES, N_EXAMPLES, SIGNAL, N_RELEVANT = 200, 100, 4.0, 10
N_NOISY, N_CLEAN, N_INPUTS, WRONG, LAM = 400, 30, 20, 0.4, 0.01
RULES = ("as the others", "by another rule")
ETA, TOL = 0.1, 1e-3
SURE = 20.0  # a weight of 1


class Draw(NamedTuple):
    """One set of data: what is learned from, what hyperparameters are chosen on, and the error of a final φ on new data.

    Attributes
    ----------
    problem : Bilevel
    start : ndarray
        The φ that is begun with.
    refit : callable
        The hyperparameters to the φ that is learned with them from all the data, the validation examples included.
    error : callable
        φ to its expected error on new data.
    theta : callable
        A level to equal hyperparameters.
    others : dict
        Name to φ: simpler things to do with the same data; of several settings the tuning draws choose.
    order : ndarray
        The hyperparameters in order of what is known to be true: features of large weight first, examples with right labels.
    """

    problem: Bilevel
    start: Array
    refit: Callable[[Array], Array]
    error: Callable[[Array], float]
    theta: Callable[[float], Array]
    others: dict[str, list[Array]]
    order: Integers


def regression(seed: int, sparse: bool) -> Draw:
    """Linear regression with 200 features and 100 + 100 examples, of unit noise; a tenth of the features matter, or all.

    A hyperparameter is the logarithm of a feature's penalty. The error is what the expected squared error has above 1.
    """
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=N_FEATURES)
    truth[N_RELEVANT if sparse else N_FEATURES:] = 0
    truth *= np.sqrt(SIGNAL / (N_RELEVANT if sparse else N_FEATURES))
    x = rng.normal(size=(2, N_EXAMPLES, N_FEATURES))
    y = x @ truth + rng.normal(size=(2, N_EXAMPLES))
    problem, start = ridge_penalties(x[0], y[0], x[1], y[1]), np.zeros(N_FEATURES)
    pooled = x.reshape(-1, N_FEATURES), y.ravel()
    all_data = ridge_penalties(*pooled, *pooled)
    # With twice the examples the same prior is half the penalty.
    refit = lambda theta: inner_minimum(all_data, theta - np.log(2), start, 1e-6)
    fits = [lasso(x[0], y[0], level) for level in LASSO]
    best = LASSO[int(np.argmin([((y[1] - x[1] @ phi) ** 2).sum() for phi in fits]))]
    return Draw(problem, start, refit, lambda phi: float(((phi - truth) ** 2).sum()), lambda t: np.full(N_FEATURES, t),
                {"lasso": [lasso(*pooled, best / np.sqrt(2))]}, np.argsort(-np.abs(truth), kind="stable"))


LASSO = tuple(np.geomspace(0.02, 2, 21).tolist())


def lasso(x: Array, y: Array, level: float, n_iters: int = 400) -> Array:
    """The minimum of ‖Xφ − y‖²/(2n) + level ‖φ‖₁, by proximal gradient steps with momentum (Beck & Teboulle 2009)."""
    n, rate = len(y), len(y) / np.linalg.norm(x, 2) ** 2
    phi = ahead = np.zeros(x.shape[1])
    t = 1.0
    for _ in range(n_iters):
        z = ahead - rate * x.T @ (x @ ahead - y) / n
        after, t_after = np.sign(z) * np.maximum(np.abs(z) - rate * level, 0), (1 + np.sqrt(1 + 4 * t * t)) / 2
        ahead, phi, t = after + (t - 1) / t_after * (after - phi), after, t_after
    return phi


def flipped_labels(seed: int, systematic: bool) -> Draw:
    """A linear rule in 20 inputs to learn from 400 examples, 40% of them with wrong labels, and 30 right ones.

    The wrong labels are the opposite ones, or where systematic those of another linear rule. A hyperparameter is an
    example's θ_i, its weight 1/(1 + e^{−θ_i}). The error is the share of new examples that are misjudged.
    """
    rng = np.random.default_rng(seed)
    rule, other = rng.normal(size=(2, N_INPUTS))
    x, clean = rng.normal(size=(N_NOISY, N_INPUTS)), rng.normal(size=(N_CLEAN, N_INPUTS))
    wrong = rng.random(N_NOISY) < WRONG
    y = np.where(wrong, np.sign(x @ other) if systematic else -np.sign(x @ rule), np.sign(x @ rule))
    clean_y = np.sign(clean @ rule)
    both, start = (np.concatenate([x, clean]), np.concatenate([y, clean_y])), np.zeros(N_INPUTS)
    sure = lambda n: np.full(n, SURE)

    def fit(x, y, theta, lam=LAM):
        return inner_minimum(example_weights(x, y, clean, clean_y, lam), theta, start, 1e-6)

    def error(phi):
        cosine = phi @ rule / np.linalg.norm(phi) / np.linalg.norm(rule)
        return float(np.arccos(np.clip(cosine, -1, 1)) / np.pi)

    together = lambda theta: fit(*both, np.concatenate([theta, sure(N_CLEAN)]))
    return Draw(example_weights(x, y, clean, clean_y, LAM), start, together, error, lambda t: np.full(N_NOISY, t), {
        "all equal": [fit(*both, sure(N_NOISY + N_CLEAN), lam) for lam in (0.001, 0.01, 0.1, 1.0)],
        "the 30 alone": [fit(clean, clean_y, sure(N_CLEAN), lam) for lam in (0.001, 0.01, 0.1, 1.0)],
        "one weight for the 400": [together(np.full(N_NOISY, t)) for t in (0.0, -1.0, -2.0, -3.0, -4.0)],
        "(the right labels known)": [fit(x[~wrong], y[~wrong], sure((~wrong).sum()))]},
        np.argsort(wrong, kind="stable"))


class Run(NamedTuple):
    """Errors on new data of a list of settings, from which the tuning draws choose one, and what they cost in calls."""

    errors: list[float]
    validation: list[float]
    calls: list[int]


def contenders(draw: Draw, seed: int, stops: tuple[int, ...], levels: Array, spread: float) -> dict[str, Run]:
    """What each contender reaches on a set of data.

    Parameters
    ----------
    draw : Draw
    seed : int
        Of the random search.
    stops : tuple of int
        Numbers of outer iterations after which implicit gradients may stop; the last is the end.
    levels : ndarray
        The grid of one common hyperparameter.
    spread : float
        Random search draws levels between the ends of the grid, and around them every hyperparameter by itself, with a
        standard deviation between 0 and this.

    Returns
    -------
    dict of str: Run
    """
    one, at = _grid(draw, levels)
    path = bilevel_descent(draw.problem, draw.theta(at), draw.start, ETA, stops[-1], adam(), tol=TOL)
    found = {"one for all, grid": one, "implicit gradients": _judged(draw, path, stops)}
    found["random search"] = _searched(draw, np.random.default_rng(seed), int(path.calls[-1]), levels, spread)
    for name, phis in draw.others.items():
        found[name] = Run([draw.error(phi) for phi in phis], [], [])
    return found


def _grid(draw: Draw, levels: Array) -> tuple[Run, float]:
    problem, calls = counted(draw.problem)
    phi, losses = draw.start, []
    for level in levels.tolist():
        phi = inner_minimum(problem, draw.theta(level), phi, TOL)
        losses.append(float(problem.outer(phi, draw.theta(level))[0]))
    at = float(levels[int(np.argmin(losses))])
    return Run([draw.error(draw.refit(draw.theta(at)))], [min(losses)], [calls["grad"] + calls["hvp"]]), at


def _judged(draw: Draw, path: OuterPath, stops: tuple[int, ...]) -> Run:
    errors = [draw.error(draw.refit(path.theta[t])) for t in stops]
    return Run(errors, path.loss[list(stops)].tolist(), path.calls[list(stops)].tolist())


def _searched(draw: Draw, rng: np.random.Generator, budget: int, levels: Array, spread: float) -> Run:
    problem, calls = counted(draw.problem)
    best, chosen = np.inf, draw.theta(0.0)
    while calls["grad"] + calls["hvp"] < budget:
        theta = draw.theta(rng.uniform(levels[0], levels[-1]))
        theta = theta + rng.uniform(0, spread) * rng.normal(size=theta.size)
        loss = float(problem.outer(inner_minimum(problem, theta, draw.start, TOL), theta)[0])
        if loss < best:
            best, chosen = loss, theta
    return Run([draw.error(draw.refit(chosen))], [best], [calls["grad"] + calls["hvp"]])


def _rows(runs: list[dict[str, Any]], n_tuning: int) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """For each contender its name, the setting that is best on the tuning draws, and its results on the other draws."""
    for name in runs[0]:
        errors = np.array([run[name]["errors"] for run in runs])
        yield name, int(errors[:n_tuning].mean(axis=0).argmin()), [run[name] for run in runs[n_tuning:]]


def gap(runs: list[dict[str, Any]], n_tuning: int, name: str, other: str) -> Interval:
    """How much larger the error of one contender is than that of another, on the same draws."""
    left = {row: [run["errors"][setting] for run in runs] for row, setting, runs in _rows(runs, n_tuning)}
    return interval(np.subtract(left[name], left[other]))


def table(runs: list[dict[str, Any]], n_tuning: int, end: str = "implicit gradients") -> list[dict[str, Any]]:
    """What is reported: for each contender the mean error on the draws that were not tuned on, its interval, and its cost.

    Parameters
    ----------
    runs : list of dict
        For each draw, the contenders' `Run`s as dictionaries.
    n_tuning : int
        The first draws choose the settings.
    end : str
        The contender that is also reported with its last setting, as "..., to the end".

    Returns
    -------
    list of dict
        Rows with `name`, `setting` (its place in the list), `error` (an Interval), `validation` and `calls`.
    """
    rows = []
    for name, setting, left in _rows(runs, n_tuning):
        last = len(left[0]["errors"]) - 1
        for label, i in ({name: setting} | ({f"{name}, to the end": last} if name == end else {})).items():
            rows.append({"name": label, "setting": i, "error": interval([run["errors"][i] for run in left])}
                        | {key: float(np.mean([run[key][i] for run in left])) if left[0][key] else np.nan
                           for key in ("validation", "calls")})
    return rows
