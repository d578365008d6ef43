"""Studies: methods compared on held-out tasks. All choices are made on validation tasks; results are stored as they come.

The unit of an interval is what is held out: a task, an alphabet, a language, a person. Units that one training is judged on
share its luck: `both_intervals` says what that does to an interval.
"""

import base64
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
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

__all__ = [
    "Both", "Choice", "Interval", "Look", "Results", "best_adaptation", "both_intervals", "choose", "interval", "load",
    "packed", "unpacked",
]


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
        same = stored.get("settings") == self.settings
        self.stored = stored.get("results", {}) if same else {}
        self.seconds = float(stored.get("seconds", 0.0)) if same else 0.0  # of work, over all sittings

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The stored result of that name; if there is none, that of `work()`, which is stored.

        Arrays become lists. Floats keep six significant digits, more than another machine reproduces.
        """
        if key not in self.stored:
            began = time.perf_counter()
            self.stored[key] = _plain(work())
            self.seconds += time.perf_counter() - began
            self.write(self.path)
        return self.stored[key]

    def each(self, todo: Mapping[str, Callable[[], Any]], title: str = "", costs: Mapping[str, float] | None = None) -> None:
        """The results of all names, those that are missing worked out in turn; a bar tells how long the rest will take.

        Parameters
        ----------
        todo : dict of str: callable
            As `once` takes them. What comes later may read in `stored` what came before.
        title : str
            Of the bar, which TQDM_DISABLE=1 in the environment switches off.
        costs : dict of str: float, optional
            About how long each takes, in any unit, so that the time left is a good guess; 1 where nothing is said.

        Examples
        --------
        >>> import tempfile
        >>> study = Results(Path(tempfile.mkdtemp()) / "study.json", {"seed": 0})
        >>> study.each({"one": lambda: 1, "two": lambda: 2 * study.stored["one"]}, costs={"two": 5})
        >>> study.stored
        {'one': 1, 'two': 2}
        """
        with extra("studies"):
            from tqdm.auto import tqdm
        cost = {key: (costs or {}).get(key, 1.0) for key in todo}
        done = sum(cost[key] for key in todo if key in self.stored)
        form = "{desc}: {percentage:.0f}%|{bar}| {elapsed}, left {remaining}{postfix}"
        with tqdm(total=sum(cost.values()), initial=done, desc=title, bar_format=form, miniters=0) as bar:
            for key in todo:
                if key not in self.stored:
                    bar.set_postfix_str(key)
                    self.once(key, todo[key])
                    bar.update(cost[key])

    def write(self, path: PathLike, results: dict[str, Any] | None = None) -> None:
        """Write settings and results, a line each: to a new file first, so that an interrupt leaves the old or the new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        kept: Any = self.stored if results is None else _plain(results)
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in kept.items())
        head = f'"settings": {json.dumps(self.settings)},\n"seconds": {round(self.seconds)}'
        partial.write_text(f'{{{head},\n"results": {{\n{lines}\n}}}}\n', encoding="utf-8")
        os.replace(partial, path)

    def finish(self, path: PathLike, results: dict[str, Any] | None = None) -> None:
        """Write the finished study to its place: all results, or what is made of them, and the seconds of work.

        Its own file stays, so that nothing is worked out again.
        """
        self.write(path, results)


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


class Look(NamedTuple):
    """What validation sees of a training after some of its iterations: a point of its learning curve.

    Attributes
    ----------
    iteration : int
        Outer iterations until then.
    score : float
        The validation score with the inner rate and the number of steps that are best there.
    judged : object
        What `judge` of `choose` said of it; None without.
    """

    iteration: int
    score: float
    judged: Any = None


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
    curve : tuple of Look
        The learning curve of the training with that setting, to its end.
    """

    score: float
    learner: Learner
    steps: int
    setting: dict[str, Any] | None = None
    iteration: int | None = None
    curve: tuple[Look, ...] = ()


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
           settings: Sequence[dict[str, Any]], *, n_iters: int, every: int | Sequence[int],
           rates: Sequence[float | None] | None = None, theta0: Callable[[dict[str, Any]], ArrayLike] | None = None,
           judge: Callable[[Choice], Any] | None = None, **training: Any) -> Choice:
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
    n_iters : int
        Outer iterations.
    every : int or sequence of int
        After how many of them θ is validated, again and again; or after which ones. After the last one it always is.
    rates : sequence of float, optional
        Inner rates to adapt with; that of the setting unless given.
    theta0 : callable, optional
        `theta0(setting)`, the start of a run, where the model's own will not do.
    judge : callable, optional
        `judge(choice)`, asked at every look of what validates best there, say for its error on test tasks. The answers stand in
        the learning curve; nothing is chosen by them.
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
    best: Choice | None = None
    if not len(settings):
        raise ValueError("settings must not be empty; [{}] for a method without settings")
    several = isinstance(every, Sequence)
    looks = {count(t, "every", 1) for t in every} if several else range(0, n_iters, count(every, "every", 1))
    for setting in settings:
        curve: list[Look] = []

        def validate(t, loss, theta):
            nonlocal best
            if t + 1 not in looks and t + 1 != n_iters:
                return
            found = best_adaptation(Learner.of(method, model, theta, **setting), score, rates)
            found = found._replace(setting=setting, iteration=t + 1)
            curve.append(Look(t + 1, found.score, judge and judge(found)))
            if found.score < (np.inf if best is None else best.score):
                best = found

        start = {} if theta0 is None else {"theta0": theta0(setting)}
        meta_train(method, model, tasks, n_iters, callback=validate, **start, **setting, **training)
        if best is not None and best.setting is setting:
            best = best._replace(curve=tuple(curve))
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


class Both(NamedTuple):
    """A mean over units and seeds with two intervals: the units' own with the seeds' part in it, and that of the folds.

    Attributes
    ----------
    by_unit, by_fold : Interval
        Numbers, or arrays of one shape. The second allows for all that the units of a fold have in common.
    """

    by_unit: Interval
    by_fold: Interval

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        return f"{self.by_unit:{spec}} by units, {self.by_fold:{spec}} by folds"

    def __neg__(self) -> "Both":
        return Both(-self.by_unit, -self.by_fold)

    @property
    def side(self) -> int | Integers:
        """On which side of 0 both intervals lie: 1 above, −1 below, 0 if either contains 0."""
        side = np.where(np.equal(self.by_unit.side, self.by_fold.side), self.by_unit.side, 0)
        return side if np.ndim(side) else int(side)


def both_intervals(values: ArrayLike, folds: ArrayLike) -> Both:
    """The mean of a paired difference over units and seeds, with 95% intervals by units and by folds.

    In fold f the training with seed s is judged on the units u of the fold. Its luck a is theirs together:
    value = mean + b_u + a_{fs} + rest, all random. The variance of the mean is then that of the units' means over the seeds,
    divided by their number U, plus var(a)/S · (Σ_f (U_f/U)² − 1/U): what units that share a training add. var(a) is estimated
    from how a fold's seeds differ (analysis of variance, 0 if negative), the degrees of freedom by Satterthwaite's formula
    (Searle, Casella & McCulloch 1992, chapters 2 to 4). The interval by folds takes each fold's mean for one observation.

    Parameters
    ----------
    values : array_like, shape (n_seeds, n_units, ...)
        One seed will do: then nothing is known of var(a), and it counts as 0.
    folds : array_like, shape (n_units,)
        Which fold each unit was held out in, by number or name; two folds at least.

    Returns
    -------
    Both
        For each of the other axes, if there are any.

    Raises
    ------
    ValueError
        If the shapes do not fit, values are not finite, or there are fewer than two folds.

    Examples
    --------
    >>> luck = np.repeat([[0.1, -0.1], [-0.1, 0.1], [0.0, 0.0]], 4, axis=1)  # of three seeds in two folds of four units
    >>> units = np.array([0.2, 0.3, 0.4, 0.3, 0.3, 0.4, 0.2, 0.3])
    >>> print(both_intervals([units], [0, 0, 0, 0, 1, 1, 1, 1]))
    0.300 ± 0.063 by units, 0.300 ± 0.000 by folds
    >>> print(both_intervals(units + luck, [0, 0, 0, 0, 1, 1, 1, 1]).by_unit)
    0.300 ± 0.102
    """
    values, folds = real_array(values, "values"), np.asarray(folds)
    if values.ndim < 2 or folds.shape != values.shape[1:2] or not np.isfinite(values).all():
        raise ValueError(f"values must be finite, of shape (n_seeds, n_units, ...) with a fold for each unit, got shapes "
                         f"{values.shape} and {folds.shape}")
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError(f"folds must be two or more, got {names.tolist()}")
    by_fold = interval(np.stack([values[:, folds == name].mean(axis=(0, 1)) for name in names]))
    with extra("studies"):
        from scipy import stats
    n_seeds, n_units = values.shape[:2]
    shared = sum(np.mean(folds == name) ** 2 for name in names) - 1 / n_units
    of_units = values.mean(axis=0).var(axis=0, ddof=1) / n_units
    of_seeds = shared * _luck(values, folds) / n_seeds
    with np.errstate(all="ignore"):
        terms = of_units**2 / (n_units - 1) + (of_seeds**2 / (len(names) * (n_seeds - 1)) if n_seeds > 1 else 0)
        freedom = np.where(terms > 0, (of_units + of_seeds) ** 2 / terms, n_units - 1)
    half_width = stats.t.ppf(0.975, freedom) * np.sqrt(of_units + of_seeds)
    return Both(Interval(values.mean(axis=(0, 1)), half_width if np.ndim(half_width) else float(half_width)), by_fold)


def _luck(values, folds):
    """The variance of what the units of one training have in common, pooled over the folds; 0 from one seed."""
    n_seeds = len(values)
    if n_seeds == 1:
        return np.zeros(values.shape[2:])
    surplus, weight = 0.0, 0.0
    for name in np.unique(folds):
        own = values[:, folds == name]
        n = own.shape[1]
        if n == 1:  # its luck and the rest are one
            continue
        means = own.mean(axis=1, keepdims=True)
        rest = own - means - own.mean(axis=0) + own.mean(axis=(0, 1))
        between = n * means[:, 0].var(axis=0, ddof=1)
        surplus = surplus + between - (rest**2).sum(axis=(0, 1)) / ((n_seeds - 1) * (n - 1))
        weight += n
    return np.maximum(surplus / weight, 0) if weight else np.zeros(values.shape[2:])


def _plain(value):
    """What JSON can hold: arrays as lists, floats to six significant digits."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}")
    return value.item() if isinstance(value, np.generic) else value
