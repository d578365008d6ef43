"""The sinusoid comparison of the practice chapter: who takes part, how each is trained, and what it is judged by."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from metacalc import studies
from metacalc.arrays import Array, Integers, PathLike
from metacalc.checks import count
from metacalc.extras import extra
from metacalc.meta import Learner, Method, anil, fomaml, joint, maml, meta_sgd, reptile, with_rates
from metacalc.models import MLP
from metacalc.tasks import Sinusoids
from metacalc.training import Evaluation, evaluate, meta_train

__all__ = ["CONTENDERS", "Contender", "Run", "comparison_table", "evaluated", "load_runs", "load_starts", "outside",
           "train"]

MODEL, TASKS = MLP((1, 40, 40, 1)), Sinusoids(dtype=np.float32)
SHOTS, STEPS = (5, 10, 20), (0, 1, 5, 10)
ALPHA = 0.01  # the inner rate of the paper
FINE_TUNING = (0.0001, 0.0003, 0.001, 0.003, 0.005, 0.01)  # rates that are tried where the objective names none


class Contender(NamedTuple):
    """One way to a start θ.

    Attributes
    ----------
    method : callable or None
        As `meta_train` takes it; None for a random start.
    settings : dict
        Its settings in training.
    n_iters : int
        The chapter's budget: about five seconds on one core, whatever the method.
    rates : tuple
        Rates to adapt with, among which validation tasks choose; None is a θ that carries its own.
    """

    method: Method | None
    settings: dict[str, Any]
    n_iters: int
    rates: tuple[float | None, ...]


CONTENDERS = {
    "MAML": Contender(maml, {"alpha": ALPHA}, 15_000, (ALPHA,)),
    "FOMAML": Contender(fomaml, {"alpha": ALPHA}, 15_000, (ALPHA,)),
    "Reptile": Contender(reptile, {"alpha": 0.005, "k": 5}, 6_000, FINE_TUNING),
    "Meta-SGD": Contender(meta_sgd, {}, 10_000, (None,)),
    "ANIL": Contender(anil, {"alpha": ALPHA}, 10_000, (ALPHA,)),
    "joint": Contender(joint, {}, 15_000, FINE_TUNING),
    "scratch": Contender(None, {}, 0, FINE_TUNING),
}
ASIDE = {"Reptile at 0.01": Contender(reptile, {"alpha": 0.01, "k": 5}, 6_000, (0.01,))}  # some of its runs end in NaN


class Run(NamedTuple):
    """A trained contender.

    Attributes
    ----------
    learner : Learner
        With the θ, of those looked at during training, and the rate to adapt with that have the least validation error.
    iterations : ndarray, shape (n,)
        When θ was looked at.
    errors : ndarray, shape (n, len(STEPS))
        Validation error then, with 5 shots, after `STEPS` inner steps.
    snapshots : ndarray, shape (n, p)
        The θ's.
    """

    learner: Learner
    iterations: Integers
    errors: Array
    snapshots: Array


def train(name: str, n_iters: int | None = None, seed: int = 0, looks: int = 15, n_validation: int = 400,
          progress: bool = True) -> Run:
    """Train a contender and choose, on validation tasks, among its θ's and the rates to adapt with.

    The tasks of validation are the same for all contenders, and nobody trains on them. The score is the mean error
    with 5 shots after that of 1, 5 and 10 steps which suits the contender best.

    Parameters
    ----------
    name : str
        One of `CONTENDERS`.
    n_iters : int, optional
        The contender's own budget unless given.
    seed : int
        Of the start and the training tasks.
    looks : int
        How often θ is looked at after the start, at least 1: first often, later more seldom.
    n_validation : int
        Validation tasks.
    progress : bool

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If there is no such contender, or an argument is not as above.
    """
    contenders = CONTENDERS | ASIDE
    if name not in contenders:
        raise ValueError(f"name must be one of {list(contenders)}, got {name!r}")
    method, settings, budget, rates = contenders[name]
    n_iters = budget if n_iters is None else n_iters
    looks = count(looks, "looks", 1)
    start = MODEL.init(np.random.default_rng(seed), np.float32)
    start = with_rates(start, ALPHA) if rates == (None,) else start
    iterations, snapshots = [0], [start]
    if method is not None:
        wanted = set((n_iters * np.linspace(0, 1, looks + 1) ** 2).round().astype(int))

        def look(t, loss, theta):
            if t + 1 in wanted:
                iterations.append(t + 1)
                snapshots.append(theta)

        meta_train(method, MODEL, TASKS, n_iters, theta0=start, seed=seed, callback=look, progress=progress, **settings)
    learners = [[Learner.of(method or joint, MODEL, theta, alpha=alpha) for theta in snapshots] for alpha in rates]
    errors = np.array([[_validation(learner, n_validation) for learner in row] for row in learners])
    score = np.where(np.isnan(errors), np.inf, errors)[..., 1:].min(axis=-1)
    rate, best = np.unravel_index(score.argmin(), score.shape)
    return Run(learners[rate][best], np.array(iterations), errors[rate], np.array(snapshots))


def evaluated(run: Run, n_tasks: int = 1000, seed: int = 1000) -> Evaluation:
    """`evaluate` on new tasks with 5, 10 and 20 shots, after 0, 1, 5 and 10 steps; the same tasks for every contender.

    Returns
    -------
    Evaluation
    """
    return evaluate(run.learner, TASKS, steps=STEPS, shots=SHOTS, n_tasks=n_tasks, seed=seed)


def _validation(learner, n_tasks):
    """Mean error with 5 shots after `STEPS`, infinite where a task overflows."""
    result = evaluate(learner, TASKS.with_shots(5), steps=STEPS, n_tasks=n_tasks, seed=500, limit=np.inf)
    return np.where(result.diverged > 0, np.inf, result.mean)


def load_runs(path: PathLike, budget: str) -> dict[str, list[dict[str, Any]]]:
    """The results of `studies/practice.py` for one budget.

    Parameters
    ----------
    path : path
        Of practice.json.
    budget : {"short", "long"}

    Returns
    -------
    dict
        Contender → list of its runs, one for each seed.
    """
    _, results = studies.load(path)
    runs = {}
    for key, run in results.items():
        its_budget, name, _ = key.split("/")
        if its_budget == budget:
            runs.setdefault(name, []).append(run)
    return runs


def load_starts(path: PathLike) -> dict[str, Learner]:
    """The starts that MAML and joint training found with the long budget, with their rates to adapt with.

    Parameters
    ----------
    path : path
        Of practice.json.
    """
    runs = load_runs(path, "long")
    return {name: Learner(MODEL, studies.unpacked(runs[name][0]["theta"], MODEL)[0], runs[name][0]["alpha"])
            for name in ("MAML", "joint")}


def comparison_table(tables: Mapping[str, Evaluation], shots: int = 5) -> str:
    """Markdown table: mean ± half-width of its 95% confidence interval, below it the median, and the share of tasks lost.

    A task is lost if its error exceeds 100. The mean is that of the others, and left out where one task in twenty is lost.

    Parameters
    ----------
    tables : dict
        Contender → `Evaluation`.
    shots : int
        One of `SHOTS`.
    """
    i = SHOTS.index(shots)
    lines = [f"| {shots} shots | " + " | ".join(f"k = {k}" for k in STEPS) + " |", "|" + " --- |" * (len(STEPS) + 1)]
    for name, table in tables.items():
        cells = []
        for mean, ci, median, lost in zip(table.mean[i], table.ci[i], table.median[i], table.diverged[i]):
            cell = f"{studies.Interval(mean, ci):.2f}" if lost < 0.05 else "no mean"
            cell += f"<br>{median:.2f}" if median <= 100 else "<br>over 100"
            cells.append(cell + (f"<br>{lost:.1%} lost" if lost else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def outside(tables: Mapping[str, Evaluation], short: Mapping[str, list[dict[str, Any]]],
            confidence: float = 0.99) -> list[str]:
    """Which entries of the tables lie where a further seed would not: outside the prediction interval from stored runs.

    Parameters
    ----------
    tables : dict
        Contender → `Evaluation`.
    short : dict
        `load_runs(path, "short")`.
    confidence : float
        Of each interval, Student's t on the logarithms of the errors (means and medians).

    Returns
    -------
    list of str
    """
    with extra("studies"):
        from scipy import stats
    found = []
    for name, table in tables.items():
        for column in ("mean", "median"):
            size = lambda error: np.log(np.minimum(error, 100))  # beyond that a task has diverged
            logs = size([run[column] for run in short[name]])
            n = len(logs)
            reach = stats.t.ppf((1 + confidence) / 2, n - 1) * logs.std(axis=0, ddof=1) * np.sqrt(1 + 1 / n)
            off = ~(np.abs(size(getattr(table, column)) - logs.mean(axis=0)) <= reach + 0.005)
            found += [f"{name}: {column} with {SHOTS[i]} shots after {STEPS[j]} steps" for i, j in np.argwhere(off)]
    return found
