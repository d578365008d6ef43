"""Studies: methods compared on held-out tasks. All choices are made on validation tasks; results are stored as they come.

The unit of an interval is what is held out: a task, an alphabet, a language, a person.
"""

import base64
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, ArrayLike, Integers, Numbers, PathLike
from metacalc.checks import count, real_array
from metacalc.extras import extra
from metacalc.meta import Learner, Method
from metacalc.models import Model
from metacalc.tasks.base import Tasks
from metacalc.training import meta_train

__all__ = ["Choice", "Interval", "Results", "best_adaptation", "choose", "interval", "load", "packed", "unpacked"]


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

    def __init__(self, path: PathLike, settings: dict[str, Any]) -> None:
        self.path, self.settings = Path(path), _plain(settings)
        stored = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        self.stored = stored.get("results", {}) if stored.get("settings") == self.settings else {}

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The stored result of that name; if there is none, that of `work()`, which is stored.

        Arrays become lists. Floats keep six significant digits, more than another machine reproduces.
        """
        if key not in self.stored:
            self.stored[key] = _plain(work())
            self.write(self.path)
        return self.stored[key]

    def write(self, path: PathLike) -> None:
        """Write settings and results, a line each: to a new file first, so that an interrupt leaves the old or the new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.stored.items())
        partial.write_text(f'{{"settings": {json.dumps(self.settings)},\n"results": {{\n{lines}\n}}}}\n', encoding="utf-8")
        os.replace(partial, path)

    def finish(self, path: PathLike) -> None:
        """Write the finished study to its place. Its own file stays, so that it is not worked out again."""
        self.write(path)


def load(path: PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the results of a study, as `Results` has written them.

    Parameters
    ----------
    path : path
        The stored file.

    Returns
    -------
    settings : dict
        What the study was told.
    results : dict
        What came out, by key.

    Raises
    ------
    ValueError
        If the file holds no study.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return content["settings"], content["results"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"path must be that of a study's results, got {path}: {error!r}") from error


def packed(theta: ArrayLike) -> str:
    """θ, or several, in half precision as text.

    Parameters
    ----------
    theta : array_like, shape (p,) or (n, p)
        One vector of parameters or several.

    Returns
    -------
    str
        In base 64.
    """
    return base64.b64encode(np.asarray(theta, np.float16).tobytes()).decode()


def unpacked(text: str, model: Model) -> Array:
    """The θ's of a model in a text made by `packed`, shape (n, p), in double precision.

    Parameters
    ----------
    text : str
        What `packed` has made.
    model : model
        Whose θ they are.

    Returns
    -------
    ndarray, shape (n, p)
        In double precision.
    """
    return np.frombuffer(base64.b64decode(text), np.float16).reshape(-1, model.n_params).astype(float)


class Choice(NamedTuple):
    """What was best on the validation tasks.

    Attributes
    ----------
    score : float
        The validation score, lower is better.
    learner : Learner
        With the inner rate to adapt with.
    steps : int
        The number of inner steps to adapt by.
    setting : dict, optional
        The method's settings that it was trained with.
    iteration : int, optional
        Outer iterations until then.
    """

    score: float
    learner: Learner
    steps: int
    setting: dict[str, Any] | None = None
    iteration: int | None = None


def best_adaptation(learner: Learner, score: Callable[[Learner], ArrayLike],
                    rates: Sequence[float | None] | None = None) -> Choice:
    """The inner rate and the number of steps that validate best.

    Parameters
    ----------
    learner : Learner
        What was trained.
    score : callable
        `score(learner) -> array (n_steps + 1,)`: validation score, lower is better, after 0, 1, ..., n_steps inner steps.
        NaN loses.
    rates : sequence of float, optional
        Inner rates to try; the learner's own unless given. None stands for that one.

    Returns
    -------
    Choice
        Its score is infinite if no number of steps has a finite one.

    Raises
    ------
    ValueError
        If there are no rates.

    Examples
    --------
    >>> from metacalc.models import Quadratic
    >>> error = lambda learner: np.abs(1 - learner.alpha * np.arange(4))
    >>> best = best_adaptation(Learner(Quadratic(1), np.ones(1)), error, rates=[0.3, 0.5])
    >>> best.learner.alpha, best.steps
    (0.5, 2)
    """
    tries = [learner if alpha is None else replace(learner, alpha=alpha) for alpha in ([None] if rates is None else rates)]
    if not tries:
        raise ValueError("rates must not be empty")
    tables = [np.nan_to_num(np.asarray(score(one), float), nan=np.inf, posinf=np.inf) for one in tries]
    best = min(range(len(tries)), key=lambda i: tables[i].min())
    return Choice(float(tables[best].min()), tries[best], int(tables[best].argmin()))


def choose(method: Method, model: Model, tasks: Tasks, score: Callable[[Learner], ArrayLike],
           settings: Sequence[dict[str, Any]], *, n_iters: int, every: int, rates: Sequence[float | None] | None = None,
           theta0: Callable[[dict[str, Any]], ArrayLike] | None = None, **training: Any) -> Choice:
    """Train with every setting, and keep the θ, the setting, the inner rate and the number of steps that validate best.

    Every baseline goes through the same choice as every meta-learner; that includes when to stop.

    Parameters
    ----------
    method : callable
        As `meta_train` takes it.
    model : model
        What learns, as `metacalc.models` describes it.
    tasks : task distribution
        For meta-training.
    score : callable
        As in `best_adaptation`; the learner is what the method has trained so far.
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
        The best of all, with the learner.

    Raises
    ------
    ValueError
        If there are no settings, or no θ has a finite score.
    """
    best = None
    if not len(settings):
        raise ValueError("settings must not be empty; [{}] for a method without settings")
    every = count(every, "every", 1)
    for setting in settings:
        def validate(t, loss, theta):
            nonlocal best
            if (t + 1) % every and t + 1 != n_iters:
                return
            found = best_adaptation(Learner.of(method, model, theta, **setting), score, rates)
            if found.score < (np.inf if best is None else best.score):
                best = found._replace(setting=setting, iteration=t + 1)

        start = {} if theta0 is None else {"theta0": theta0(setting)}
        meta_train(method, model, tasks, n_iters, callback=validate, **start, **setting, **training)
    if best is None:
        raise ValueError("score must be finite for at least one θ")
    return best


class Interval(NamedTuple):
    """A mean and the half-width of its 95% confidence interval: numbers, or arrays of one shape.

    Attributes
    ----------
    mean : float or ndarray
        The mean.
    half_width : float or ndarray
        Half the length of its 95% confidence interval.

    Examples
    --------
    >>> gain = Interval(0.1234, 0.05)
    >>> str(gain), f"{gain:+.2f}", gain.side
    ('0.123 ± 0.050', '+0.12 ± 0.05', 1)
    >>> (-gain).markdown("+.2f"), (-gain).side
    ('−0.12 ± 0.05', -1)
    """

    mean: Numbers
    half_width: Numbers

    @property
    def side(self) -> int | Integers:
        """On which side of 0 the interval lies: 1 above, −1 below, 0 if it contains 0."""
        side = (np.sign(self.mean) * (np.abs(self.mean) > self.half_width)).astype(int)
        return side if np.ndim(self.mean) else int(side)

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        """Mean ± half-width, both in the format of a number; a sign is the mean's."""
        spec = spec or ".3f"
        sign, number = ("+", spec[1:]) if spec.startswith("+") else ("", spec)
        return f"{self.mean:{sign}z{number}} ± {self.half_width:{number}}"  # z: no −0.000

    def markdown(self, spec: str = ".3f") -> str:
        """The same for a table in the text, with a minus sign in the place of the hyphen."""
        return format(self, spec).replace("-", "−")

    def __neg__(self) -> "Interval":
        return Interval(-self.mean, self.half_width)


def interval(values: ArrayLike) -> Interval:
    """Mean over units, and half-width of its 95% confidence interval by Student's t.

    For two methods on the same units hand in the differences: that interval is the narrower one.

    Parameters
    ----------
    values : array_like, shape (n_units, ...)
        At least two units.

    Returns
    -------
    Interval
        Mean and half-width: floats, or arrays of shape (...).

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
    values = real_array(values, "values")
    if values.ndim == 0 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("values must hold two or more units along the first axis, all finite")
    with extra("studies"):
        from scipy import stats
    n = len(values)
    with np.errstate(all="ignore"):
        return Interval(values.mean(axis=0), stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n))


def _plain(value):
    """What JSON can hold: arrays as lists, floats to six significant digits."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}")
    return value.item() if isinstance(value, np.generic) else value
