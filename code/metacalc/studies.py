"""Studies: methods compared on held-out tasks. All choices are made on validation tasks; results are stored as they come.

The unit of an interval is what is held out: a task, an alphabet, a language, a person.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy

from metacalc.descent import _numbers
from metacalc.training import meta_train

__all__ = ["Choice", "Results", "choose", "interval"]


class Results:
    """Results of a study, written to a file one by one, so that an interrupted study goes on where it was.

    Parameters
    ----------
    path : path
        A JSON file. What it holds is taken over if it was made with the same settings, and dropped otherwise.
    settings : dict
        All that the results depend on, seeds included: names, numbers, lists. No dates and no machines.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "study.json"
    >>> Results(path, {"seed": 0}).once("answer", lambda: np.float64(42.0))
    42.0
    >>> Results(path, {"seed": 0}).once("answer", lambda: "not worked out again")
    42.0
    """

    def __init__(self, path, settings):
        self.path, self.settings = Path(path), _plain(settings)
        stored = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        self.stored = stored.get("results", {}) if stored.get("settings") == self.settings else {}

    def once(self, key, work):
        """The stored result of that name; if there is none, that of `work()`, which is stored.

        Arrays become lists. Floats keep six significant digits, more than another machine reproduces.
        """
        if key not in self.stored:
            self.stored[key] = _plain(work())
            self.write(self.path)
        return self.stored[key]

    def write(self, path):
        """Write settings and results, a line each: to a new file first, so that an interrupt leaves the old one or the new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.stored.items())
        partial.write_text(f'{{"settings": {json.dumps(self.settings)},\n"results": {{\n{lines}\n}}}}\n', encoding="utf-8")
        os.replace(partial, path)


class Choice(NamedTuple):
    """What was best on the validation tasks.

    Attributes
    ----------
    score : float
        The validation score, lower is better.
    theta : ndarray, shape (p,)
    setting : dict
        The method's settings that θ was trained with.
    alpha, steps : float, int
        Rate and number of inner steps to adapt with; `alpha` is None if θ carries its own rates.
    iteration : int
        Outer iterations until θ.
    """

    score: float
    theta: np.ndarray
    setting: dict
    alpha: float
    steps: int
    iteration: int


def choose(method, model, tasks, score, settings, *, n_iters, every, rates=None, theta0=None, **training):
    """Train with every setting, and keep the θ, the setting, the inner rate and the number of steps that validate best.

    Every baseline goes through the same choice as every meta-learner; that includes when to stop.

    Parameters
    ----------
    method : callable
        As `meta_train` takes it.
    model : model
    tasks : task distribution
        For meta-training.
    score : callable
        `score(theta, alpha) -> array (n_steps + 1,)`: validation score, lower is better, after 0, 1, ..., n_steps
        inner steps of rate alpha. NaN loses.
    settings : sequence of dict
        Settings of the method to try, such as `[{"alpha": 0.1, "k": 3}]`; `[{}]` if it has none.
    n_iters, every : int
        Outer iterations, and after how many of them θ is validated.
    rates : sequence of float, optional
        Inner rates to adapt with; that of the setting unless given.
    theta0 : callable, optional
        `theta0(setting)`, the start of a run, where the model's own will not do.
    **training
        Handed on to `meta_train`: eta, rule, n_tasks, dtype, seed, progress.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If there are no settings, or no θ has a finite score.
    """
    best = Choice(np.inf, None, None, None, None, None)
    if not len(settings):
        raise ValueError("settings must not be empty; [{}] for a method without settings")
    for setting in settings:
        def validate(t, loss, theta):
            nonlocal best
            if (t + 1) % every and t + 1 != n_iters:
                return
            for alpha in [setting.get("alpha")] if rates is None else rates:
                scores = np.asarray(score(theta, alpha), float)
                scores = np.where(np.isnan(scores), np.inf, scores)
                steps = int(scores.argmin())
                if scores[steps] < best.score:
                    best = Choice(float(scores[steps]), theta, setting, alpha, steps, t + 1)

        start = {} if theta0 is None else {"theta0": theta0(setting)}
        meta_train(method, model, tasks, n_iters, callback=validate, **start, **setting, **training)
    if best.theta is None:
        raise ValueError("score must be finite for at least one θ")
    return best


def interval(values):
    """Mean over units, and half-width of its 95% confidence interval by Student's t.

    For two methods on the same units hand in the differences: that interval is the narrower one.

    Parameters
    ----------
    values : array_like, shape (n_units, ...)
        At least two units.

    Returns
    -------
    mean, half_width : float or ndarray, shape (...)

    Raises
    ------
    ValueError
        If there are fewer than two units, or values that are not finite.

    Examples
    --------
    >>> mean, half_width = interval([1.0, 2.0, 3.0])
    >>> float(mean), round(float(half_width), 3)
    (2.0, 2.484)
    """
    values = _numbers(values, "values")
    if values.ndim == 0 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("values must hold two or more units along the first axis, all finite")
    n = len(values)
    with np.errstate(all="ignore"):
        return values.mean(axis=0), scipy.stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def _plain(value):
    """What JSON can hold: arrays as lists, floats to six significant digits."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}")
    return value.item() if isinstance(value, np.generic) else value
