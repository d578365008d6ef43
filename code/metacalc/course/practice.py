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

__all__ = ["CONTENDERS", "Contender", "Run", "best_inner", "comparison_table", "evaluated", "inner_contender", "load_runs",
           "load_starts", "outside", "tabled", "train", "wave_features"]

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
    model : MLP
        The net of the paper, unless given.
    """

    method: Method | None
    settings: dict[str, Any]
    n_iters: int
    rates: tuple[float | None, ...]
    model: MLP = MODEL


CONTENDERS = {
    "MAML": Contender(maml, {"alpha": ALPHA}, 15_000, (ALPHA,)),
    "FOMAML": Contender(fomaml, {"alpha": ALPHA}, 15_000, (ALPHA,)),
    "Reptile": Contender(reptile, {"alpha": 0.005, "k": 5}, 6_000, FINE_TUNING),
    "Meta-SGD": Contender(meta_sgd, {}, 10_000, (None,)),
    "ANIL": Contender(anil, {"alpha": ALPHA}, 10_000, (ALPHA,)),
    "joint": Contender(joint, {}, 15_000, FINE_TUNING),
    "scratch": Contender(None, {}, 0, FINE_TUNING),
}
INNER_LOOPS = {"MAML": maml, "ANIL": anil}  # which differ in what the inner loop moves, and in nothing else
ASIDE = {"Reptile at 0.01": Contender(reptile, {"alpha": 0.01, "k": 5}, 6_000, (0.01,))}  # some of its runs end in NaN


def inner_contender(name: str, activation: str, k: int, alpha: float) -> Contender:
    """MAML or ANIL with an inner loop of its own, on the net of the paper with the given activation.

    Parameters
    ----------
    name : {"MAML", "ANIL"}
    activation : {"relu", "tanh"}
    k : int
        Inner steps in training.
    alpha : float
        Inner rate, in training and after it.

    Returns
    -------
    Contender
    """
    return Contender(INNER_LOOPS[name], {"alpha": alpha, "k": k}, 10_000, (alpha,), MLP(MODEL.sizes, activation))


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


def train(who: str | Contender, n_iters: int | None = None, seed: int = 0, looks: int = 15, n_validation: int = 400,
          progress: bool = True) -> Run:
    """Train a contender and choose, on validation tasks, among its θ's and the rates to adapt with.

    The tasks of validation are the same for all contenders, and nobody trains on them. The score is the mean error
    with 5 shots after that of 1, 5 and 10 steps which suits the contender best.

    Parameters
    ----------
    who : str or Contender
        The name of one of `CONTENDERS`, or another one.
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
    if not isinstance(who, Contender) and who not in contenders:
        raise ValueError(f"who must be a Contender or one of {list(contenders)}, got {who!r}")
    method, settings, budget, rates, model = who if isinstance(who, Contender) else contenders[who]
    n_iters = budget if n_iters is None else n_iters
    looks = count(looks, "looks", 1)
    start = model.init(np.random.default_rng(seed), np.float32)
    start = with_rates(start, ALPHA) if rates == (None,) else start
    iterations, snapshots = [0], [start]
    if method is not None:
        wanted = set((n_iters * np.linspace(0, 1, looks + 1) ** 2).round().astype(int))

        def look(t, loss, theta):
            if t + 1 in wanted:
                iterations.append(t + 1)
                snapshots.append(theta)

        meta_train(method, model, TASKS, n_iters, theta0=start, seed=seed, callback=look, progress=progress, **settings)
    learners = [[Learner.of(method or joint, model, theta, alpha=alpha) for theta in snapshots] for alpha in rates]
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


def best_inner(results: Mapping[str, Any], start: str, seed: int = 0) -> tuple[str, str, int, float]:
    """Which setting of `inner_contender` has the least validation error, by the score of `train`.

    Parameters
    ----------
    results : dict
        Key "name/activation/k/alpha/seed" → run, as `studies/practice.py` stores them in practice_inner.json.
    start : str
        What the keys begin with: "ANIL", or "ANIL/tanh", or "ANIL/tanh/5".
    seed : int
        The runs of this seed count.

    Returns
    -------
    tuple
        Name, activation, k, alpha.
    """
    keys = [key for key in results if key.startswith(f"{start}/") and key.endswith(f"/{seed}")]
    best = min(keys, key=lambda key: np.nanmin(np.array(results[key]["errors"])[:, 1:]))
    name, activation, k, alpha, _ = best.split("/")
    return name, activation, int(k), float(alpha)


def tabled(run: Mapping[str, Any]) -> Evaluation:
    """The table of a stored run, as `evaluated` gives that of a fresh one.

    Returns
    -------
    Evaluation
    """
    return Evaluation(STEPS, SHOTS, *(np.array(run[column]) for column in ("mean", "ci", "median", "diverged")))


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


def wave_features(size: float = 10.0) -> Array:
    """A θ of the chapter's net whose last hidden layer is ReLU(±size · sin x) and ReLU(±size · cos x), with the head 0.

    Between 41 equally spaced points of [−5, 5] the waves are straight: a unit of the first layer makes each kink. Of the
    second layer, four units are used.

    Parameters
    ----------
    size : float

    Returns
    -------
    ndarray, shape (p,)
    """
    (_, d, _), knots = MODEL.sizes[1:], np.linspace(-5, 5, MODEL.sizes[1] + 1)
    waves = size * np.stack([np.sin(knots), -np.sin(knots), np.cos(knots), -np.cos(knots)])
    slopes = np.diff(waves) / np.diff(knots)
    W_2, b_2 = np.zeros((MODEL.sizes[1], d)), np.zeros(d)
    W_2[:, :4], b_2[:4] = np.diff(slopes, prepend=0).T, waves[:, 0]
    return np.concatenate([np.ones(MODEL.sizes[1]), -knots[:-1], W_2.ravel(), b_2, np.zeros(d + 1)])


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
