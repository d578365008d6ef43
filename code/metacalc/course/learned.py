"""What the page on learned optimisers compares: MAML++'s stabilisers and CAVIA on sine waves, and a learned optimiser with
tuned rules on quadratics and other tasks."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, ArrayLike
from metacalc.course.practice import MODEL, TASKS
from metacalc.descent import Rule, adam, clipped, gradient_descent, momentum, sgd
from metacalc.learned import CoordinateNet, learned_optimiser
from metacalc.meta import Learner, Method, anil, maml, meta_sgd
from metacalc.models import Model, Quadratic, logistic_regression
from metacalc.tasks import Batch, Quadratics
from metacalc.training import Training, evaluate, meta_train
from metacalc.variants import Stepwise, WithContext, cavia, stabilised

__all__ = ["BUDGET", "CLIP", "CONTENDERS", "ETAS", "NET", "SIZE", "Contender", "Tuned", "bowls_of", "choices", "descend",
           "fit_optimiser", "regressions", "score", "train_on_waves", "tuned"]

# --- sine waves -------------------------------------------------------------------------------------------------------

BUDGET = 80_000  # gradients for each task of the batch, a Hessian-vector product counted as two
ETAS = 0.0003, 0.001, 0.003  # outer rates among which validation chooses
K, N_CONTEXT, CLIP, STARTS = 5, 5, 10.0, (0.002, 0.005, 0.01)
EVEN, LAST = [1 / K] * K, [0.0] * (K - 1) + [1.0]
BETWEEN = [(a + b) / 2 for a, b in zip(EVEN, LAST)]


class Contender(NamedTuple):
    """One way to learn a start, and what its inner loop needs.

    Attributes
    ----------
    phases : tuple of (method, gradients for each task in an iteration)
        Each gets an equal part of the budget, and goes on where the last one ended.
    rates : tuple
        Inner rates among which validation chooses; if θ carries its own, where they all start.
    sets : int
        Of rates that θ carries; 0 if it carries none.
    model : model
    """

    phases: tuple[tuple[Method, int], ...]
    rates: tuple[float, ...]
    sets: int = 0
    model: Any = MODEL


def _phase(weights, second_order=True):
    """A phase of `stabilised`: its inner gradients, products, and a query gradient for each weight."""
    cost = K + (2 * K if second_order else 0) + sum(weight > 0 for weight in weights)
    return partial(stabilised, k=K, weights=weights, second_order=second_order), cost


CONTENDERS = {
    "Meta-SGD, k = 1": Contender(((partial(meta_sgd, k=1), 4),), STARTS, 1),
    "Meta-SGD, k = 5": Contender(((partial(meta_sgd, k=K), 3 * K + 1),), STARTS, 1),
    "+ multi-step loss": Contender((_phase(EVEN), _phase(BETWEEN), _phase(LAST)), STARTS, 1),
    "+ rates for each step": Contender((_phase(LAST),), STARTS, K),
    "+ first order first": Contender((_phase(LAST, False), _phase(LAST)), STARTS, 1),
    "+ all three": Contender((_phase(EVEN, False), _phase(BETWEEN), _phase(LAST)), STARTS, K),
    "MAML, k = 5": Contender(((partial(maml, k=K), 3 * K + 1),), (0.005, 0.01, 0.02)),
    "ANIL, k = 5": Contender(((partial(anil, k=K), 3 * K + 1),), (0.005, 0.01, 0.02)),
    "CAVIA, k = 5": Contender(((partial(cavia, k=K), 3 * K + 1),), (0.1, 0.3, 1.0), model=WithContext(MODEL, N_CONTEXT)),
}


def train_on_waves(name: str, seed: int, alpha: float, eta: float = 1e-3, budget: int = BUDGET,
                   looks: int = 8) -> tuple[float, Learner]:
    """Train a contender on sine waves, and keep that of its θ's which validates best.

    The outer loop is Adam with meta-gradients clipped at the length 10, for every contender alike.

    Parameters
    ----------
    name : str
        One of `CONTENDERS`.
    seed : int
    alpha : float
        Inner rate, or where all rates start.
    eta : float
        Outer rate.
    budget : int
        Gradients for each task.
    looks : int
        How often θ is validated in each phase: the mean error with 5 shots after 1, 5 or 10 steps, the least of the three;
        one where a task overflows counts as infinite.

    Returns
    -------
    score : float
    learner : Learner
    """
    contender = CONTENDERS[name]
    theta = contender.model.init(np.random.default_rng(seed), np.float32)
    theta, best = np.concatenate([theta, *[np.full_like(theta, alpha)] * contender.sets]), (np.inf, None)
    settings: dict[str, Any] = {} if contender.sets else {"alpha": alpha}
    for number, (method, cost) in enumerate(contender.phases):
        n_iters = budget // len(contender.phases) // cost

        def look(t, loss, theta):
            nonlocal best
            if (t + 1) % max(n_iters // looks, 1) == 0:
                learner = _learner(contender, theta, alpha)
                found = evaluate(learner, TASKS.with_shots(5), steps=(1, 5, 10), n_tasks=200, seed=500, limit=np.inf)
                errors = np.where((found.diverged > 0) | np.isnan(found.mean), np.inf, found.mean)
                best = (float(errors.min()), learner) if errors.min() < best[0] else best

        theta = meta_train(method, contender.model, TASKS, n_iters, eta=eta, theta0=theta, seed=1000 * number + seed,
                           callback=look, rule=clipped(adam(), CLIP), progress=False, **settings).theta
        if not np.isfinite(theta).all():
            break
    return best[0], best[1] or _learner(contender, theta, alpha)


def _learner(contender, theta, alpha):
    if contender.sets:
        return Stepwise(contender.model, theta)
    return Learner.of(contender.phases[0][0], contender.model, theta, alpha=alpha)


# --- a learned optimiser ----------------------------------------------------------------------------------------------

D, STEPS, NET, SIZE = 10, 25, CoordinateNet(8), 0.1
RATES = 0.01 * 2 ** (np.arange(17) / 2)


def bowls_of(size: float = 1.0, curvature: float = 1.0) -> Quadratics:
    """Quadratics of ten variables with curvatures from 0.05 to 2, times `curvature`; the minima `size` times as far away."""
    return Quadratics(D, curvature=(0.05 * curvature, 2.0 * curvature), spread=size)


def regressions(rng: np.random.Generator, n_tasks: int) -> tuple[Model, Batch]:
    """Logistic regressions with two classes in four dimensions, 30 examples each: ten parameters too."""
    model = logistic_regression(4)
    x, w = rng.normal(size=(n_tasks, 30, 4)), 2 * rng.normal(size=(n_tasks, 4, 1))
    y = ((x @ w)[..., 0] + rng.logistic(size=(n_tasks, 30)) > 0).astype(int)
    return model, Batch(x, y, x, y)


def fit_optimiser(seed: int, n_iters: int = 240, n_tasks: int = 12, truncate: int | None = None) -> Training:
    """Meta-train the net on `bowls_of()` for paths of 25 steps: Adam with clipped meta-gradients, its rate cut near the end."""
    settings: dict[str, Any] = dict(net=NET, start=np.zeros(D), k=STEPS, alpha=SIZE, truncate=truncate)
    return meta_train(learned_optimiser, Quadratic(D), bowls_of(), n_iters, eta=lambda t: 0.02 if t < 0.7 * n_iters else 0.004,
                      rule=clipped(adam(), 1.0), n_tasks=n_tasks, theta0=NET.init(np.random.default_rng(seed)), seed=seed,
                      progress=False, **settings)


class Tuned(NamedTuple):
    """A rule with the setting and the rate that have the least mean score on validation tasks.

    Attributes
    ----------
    score : float
    setting : str
    rule : Rule
    eta : float
    falling : bool
        Whether the rate falls along a straight line, to 0 after the last step.
    """

    score: float
    setting: str
    rule: Rule
    eta: float
    falling: bool


@np.errstate(all="ignore")
def descend(model: Model, batch: Batch, rule: Rule, eta: ArrayLike, k: int = STEPS, falling: bool = False) -> Array:
    """Losses of every task along a rule's path from 0, shape (k + 1, n_tasks), or (k + 1, n, n_tasks) for n rates."""
    eta = np.asarray(eta, float)
    start, rates = np.zeros((*eta.shape, len(batch), model.n_params)), eta[..., None, None]
    path = gradient_descent(lambda phi: model.grad(phi, batch.x_support, batch.y_support), start,
                            (lambda t: rates * (1 - t / k)) if falling else rates, k, rule)
    return model.loss(np.clip(np.nan_to_num(path, nan=1e100), -1e100, 1e100), batch.x_query, batch.y_query)


def score(losses: Array) -> Array:
    """Mean of each task's losses along its path, without the start: what the net is trained for, and the rules are tuned by."""
    return losses[1:].mean(axis=0)


def choices() -> dict[str, list[tuple[str, Rule]]]:
    """The rules that are tuned, each with the settings that are tried."""
    return {
        "gradient descent": [("", sgd())],
        "momentum": [(f"β = {b}", momentum(b)) for b in (0.3, 0.5, 0.7, 0.8, 0.9)],
        "Adam": [(f"β₁ = {b}, β₂ = {c}", adam(b, c)) for b in (0.0, 0.5, 0.8, 0.9) for c in (0.9, 0.99, 0.999)],
    }


def tuned(model: Model, batch: Batch, k: int = STEPS) -> dict[str, Tuned]:
    """Each rule of `choices` with the setting, one of 17 rates, steady or falling, that suits validation tasks best."""
    best = {}
    for name, tried in choices().items():
        found = []
        for setting, rule in tried:
            for falling in (False, True):
                means = score(descend(model, batch, rule, RATES, k, falling)).mean(axis=-1)
                found.append(Tuned(float(means.min()), setting, rule, float(RATES[means.argmin()]), falling))
        best[name] = min(found, key=lambda entry: entry.score)
    return best
