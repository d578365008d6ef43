"""What the page on new tasks compares: measured losses and bounds; a neural process, MAML, and what can be known of a wave."""

from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from metacalc.amortised import NeuralProcess, neural_process
from metacalc.arrays import Array, ArrayLike, Integers, Numbers
from metacalc.generalisation import clipped_square, gaussian_kl, pac_bayes
from metacalc.meta import Learner, maml
from metacalc.models import MLP
from metacalc.representation import shared_directions, subspace_error
from metacalc.studies import Interval, interval
from metacalc.tasks import Batch, LinearTasks, Sinusoids, VariedShots
from metacalc.training import evaluate, meta_train

__all__ = [
    "CAP", "NOISE", "PRIOR_SD", "SHOTS", "TASKS", "Bound", "candidates", "drawn_losses", "ends", "gibbs_bound",
    "learned_plane_error", "losses", "seeds_interval", "train", "wave_answers", "wave_moments",
]

CAP, PRIOR_SD = 5.0, 3.0  # losses are cut off at so many floors; the spread of θ that the bound expects beforehand
NOISE, SHOTS = 0.5, (1, 2, 5, 10, 20, 50)
TASKS = VariedShots(Sinusoids(noise=NOISE, dtype=np.float32), (1, 2, 5, 10, 20))
STEPS = (1, 2, 5, 10, 20)
NETS = {"small": ((40, 40), 20), "wide": ((64, 64), 64)}


class Bound(NamedTuple):
    """Losses of a θ drawn about MAML's start, cut off at `CAP` floors, as parts of that; and the bound on the second."""

    training: Numbers
    new: Numbers
    divergence: Numbers
    bound: Numbers


def gibbs_bound(n: int, v: ArrayLike, eps: float = 0.05) -> Bound:
    """The PAC-Bayes bound for n quadratic tasks of one curvature, whose z_i are normal with mean 0 and variance v (arrays too).

    θ is drawn with the variance v/n about the mean of the z_i. So z_i − θ has the variance v for a training task, and
    v(1 + 2/n) for a new one. In place of the divergence stands its mean over the training tasks.
    """
    sd, cap = np.sqrt(v), np.sqrt(CAP * np.asarray(v))
    training, new = clipped_square(0.0, sd, cap), clipped_square(0.0, sd * np.sqrt(1 + 2 / n), cap)
    divergence = gaussian_kl(sd / np.sqrt(n), sd / np.sqrt(n), 0.0, PRIOR_SD)
    return Bound(training, new, divergence, pac_bayes(training, divergence, n, eps))


def drawn_losses(n_tasks: Integers, shots: Integers, n_draws: int) -> Array:
    """Losses of quadratic tasks over draws of the training tasks: curvature, spread and noise are 1, α = K/(K + 1).

    Parameters
    ----------
    n_tasks, shots : ndarray of int
        Numbers of training tasks, and of shots.
    n_draws : int

    Returns
    -------
    ndarray, shape (3, len(n_tasks), len(shots))
        The means for training tasks and for new ones; and what the first and the 95% quantile of the difference make together.
    """
    rng = np.random.default_rng(0)
    c, xi = (rng.normal(size=(n_draws, n_tasks[-1])) for _ in range(2))
    sums = [np.cumsum(x, axis=1)[:, n_tasks - 1] / n_tasks for x in (c, xi, c * c, c * xi, xi * xi)]
    found = np.zeros((3, n_tasks.size, shots.size))
    for j, K in enumerate(shots.tolist()):
        s, factor = 1 / (K + 1), np.sqrt(K)  # z = c − (1 − s)/s ξ/√K
        start = sums[0] - factor * sums[1]
        square = sums[2] - 2 * factor * sums[3] + factor**2 * sums[4]
        training, new = s**2 / 2 * (square - start**2), s**2 / 2 * (1 + K + start**2)
        found[:, :, j] = training.mean(0), new.mean(0), training.mean(0) + np.quantile(new - training, 0.95, axis=0)
    return found


def learned_plane_error(d: int, spreads: Array, counts: Integers, n_draws: int) -> Array:
    """Mean `subspace_error` of the plane that is learned from so many examples, shape (len(spreads), len(counts)).

    Parameters
    ----------
    d : int
        Dimensions, of which tasks use two.
    spreads : ndarray
        Spreads in the second direction; in the first it is 1, and the noise is ½.
    counts : ndarray of int
        Numbers of examples.
    n_draws : int
    """
    error, truth = np.zeros((spreads.size, counts.size)), LinearTasks(d).directions
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        x, z, xi = rng.normal(size=(counts[-1], d)), rng.normal(size=(2, counts[-1])), rng.normal(size=counts[-1])
        first, second = z[0] * x[:, 0] + 0.5 * xi, z[1] * x[:, 1]
        edges = [0, *counts]
        parts = [[(x[i:j] * y[i:j, None]).T @ x[i:j] for i, j in zip(edges, edges[1:])]
                 for y in (first**2, 2 * first * second, second**2)]
        # y² is a polynomial of the second spread, and so is the mean of y² x xᵀ.
        M0, M1, M2 = (np.cumsum(part, axis=0) / counts[:, None, None] for part in np.array(parts))
        t = spreads[:, None, None, None]
        error += subspace_error(truth, shared_directions(M0 + t * M1 + t**2 * M2, 2))
    return error / n_draws


def candidates() -> dict[str, list[tuple[Any, ...]]]:
    """The settings among which validation tasks choose: nets and outer rates; inner steps, inner rates and outer rates."""
    return {"process": list(product(NETS, (0.001, 0.003, 0.01, 0.03))),
            "MAML": list(product((1, 5), (0.005, 0.01, 0.02, 0.05), (0.003, 0.01, 0.03, 0.1)))}


def train(who: str, setting: tuple[Any, ...], n_iters: int, seed: int) -> Learner:
    """Train a contender with Adam, its rate falling evenly to 0.

    Parameters
    ----------
    who : {"process", "MAML"}
    setting : tuple
        One of its `candidates`.
    n_iters : int
    seed : int

    Returns
    -------
    Learner
    """
    *inner, eta = setting
    options: dict[str, Any] = dict(eta=lambda t: eta * (1 - t / n_iters), seed=seed, dtype=np.float32, progress=False)
    if who == "process":
        model: Any = NeuralProcess(*NETS[inner[0]])
        method: Any = neural_process
        return model.learner(meta_train(method, model, TASKS, n_iters, **options).theta)
    k, alpha = inner
    run = meta_train(partial(maml, alpha=alpha, k=k), MLP((1, 40, 40, 1), "tanh"), TASKS, n_iters, **options)
    assert run.learner is not None
    return run.learner


def losses(learner: Learner, tasks: Sinusoids | VariedShots = TASKS, n_tasks: int = 1000, seed: int = 1000) -> Array:
    """Mean query loss for each of `SHOTS` (rows) after each number of `STEPS`; a neural process has one column."""
    steps = (1,) if hasattr(learner.model, "process") else STEPS
    return evaluate(learner, tasks, steps=steps, shots=SHOTS, n_tasks=n_tasks, seed=seed).mean


def wave_moments(tasks: Sinusoids | None = None, n: int = 400) -> tuple[Array, Array]:
    """Mean and covariance of the coefficients (A cos φ, −A sin φ) of a wave's two features sin x and cos x.

    Parameters
    ----------
    tasks : Sinusoids, optional
        The usual ones unless given.
    n : int
        Points of the midpoint rule, for A and for φ.

    Returns
    -------
    mean : ndarray, shape (2,)
    covariance : ndarray, shape (2, 2)

    Examples
    --------
    >>> mean, covariance = wave_moments()
    >>> np.allclose(mean, [0, -2.55 * 2 / np.pi], atol=1e-4)
    True
    """
    w = _coefficients(tasks or Sinusoids(), n, n)
    return w.mean(axis=0), np.cov(w.T, bias=True)


def _coefficients(tasks, n_amplitudes, n_phases):
    """Coefficients on a grid of midpoints, all equally probable."""
    middle = lambda ends, n: ends[0] + (ends[1] - ends[0]) * (np.arange(n) + 0.5) / n
    A, phase = np.meshgrid(middle(tasks.amplitude, n_amplitudes), middle(tasks.phase, n_phases))
    return np.stack([A * np.cos(phase), -A * np.sin(phase)], axis=-1).reshape(-1, 2)


def wave_answers(how: str, batch: Batch, noise: float = NOISE, tasks: Sinusoids | None = None) -> Array:
    """Answers on the query set, from the two features sin x and cos x, shape (n_tasks, n, 1).

    Parameters
    ----------
    how : {"least squares", "ridge", "Bayes"}
        The shortest of the coefficients that fit best; the best linear estimate of them, by `wave_moments`; or their mean
        given the support set, which no learner beats on average, over a grid of 80 amplitudes and 120 phases.
    batch : Batch
    noise : float
        Standard deviation of the noise in the support set, positive.
    tasks : Sinusoids, optional
        What amplitude and phase are drawn from; the usual ranges unless given.
    """
    features = lambda x: np.concatenate([np.sin(x), np.cos(x)], axis=-1).astype(float)
    H, y = features(batch.x_support), batch.y_support.astype(float)
    if how == "least squares":
        w = np.linalg.pinv(H) @ y
    else:
        G, b = np.swapaxes(H, 1, 2) @ H / noise**2, np.swapaxes(H, 1, 2) @ y / noise**2
        if how == "ridge":
            mean, covariance = wave_moments(tasks)
            inverse = np.linalg.inv(covariance)
            w = np.linalg.solve(G + inverse, b + (inverse @ mean)[:, None])
        else:
            w = _posterior_means(G, b[..., 0], _coefficients(tasks or Sinusoids(), 80, 120))[..., None]
    return features(batch.x_query) @ w


def _posterior_means(G, b, grid):
    means = np.empty(b.shape)
    for i in range(len(b)):
        log = grid @ b[i] - ((grid @ G[i]) * grid).sum(axis=-1) / 2
        weights = np.exp(log - log.max())
        means[i] = weights @ grid / weights.sum()
    return means


def seeds_interval(stored: dict[str, Any], who: str, seeds: list[int], what: str = "mean") -> list[Interval]:
    """For each of `SHOTS` the mean over seeds of a stored contender's loss, with its interval."""
    table = np.array([stored[f"{who}/{seed}"][what] for seed in seeds])
    return [interval(column) for column in table.T]


def ends(table: Array, validated: Array) -> Array:
    """Of each row the entry in the column that validated best: the number of steps is chosen for each number of shots."""
    return table[np.arange(len(table)), np.argmin(validated, axis=-1)]
