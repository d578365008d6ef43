"""The language page's contenders and what they are asked: how many bits a letter costs them, and to spell words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, ArrayLike, Integers, Numbers, PathLike
from metacalc.checks import count
from metacalc.descent import adam, clipped
from metacalc.meta import Learner, Method, anil, fomaml, joint, maml, reptile
from metacalc.models import MLP, Model
from metacalc.studies import Both, both_intervals, load, unpacked
from metacalc.tasks import Batch
from metacalc.tasks.letters import ALPHABET, CONTEXT, encode, one_hot
from metacalc.training import one_thread

__all__ = [
    "MODEL", "TRAINING", "Counted", "Study", "bits", "contenders", "load_growth", "load_study", "posterior_mean",
    "prior_mean", "spell",
]

SIZE = len(ALPHABET)
MODEL = MLP((CONTEXT * SIZE, 64, SIZE), "tanh", "cross-entropy")
TRAINING = {"eta": 2e-3, "rule": clipped(adam(), 1.0), "n_tasks": 10, "dtype": np.float32}
RATES, STEPS = (0.25, 1.0, 4.0), 15  # of adaptation, among which validation chooses


def contenders() -> dict[str, tuple[Method, list[dict[str, Any]], tuple[float, ...] | None]]:
    """What is trained: {name: (method, settings to try, inner rates to try or None for the setting's)}."""
    return {
        "joint": (joint, [{}], RATES[:2]),
        "MAML": (maml, [{"alpha": 4.0, "k": 1}, {"alpha": 1.0, "k": 3}, {"alpha": 2.0, "k": 3}], None),
        "FOMAML": (fomaml, [{"alpha": 4.0, "k": 1}, {"alpha": 1.0, "k": 3}, {"alpha": 2.0, "k": 3}], None),
        "Reptile": (reptile, [{"alpha": 0.25, "k": 5}, {"alpha": 0.5, "k": 3}], RATES[:2]),
        "ANIL": (anil, [{"alpha": 4.0, "k": 1}, {"alpha": 4.0, "k": 3}], None),
    }


def bits(learner: Learner, batch: Batch, n_steps: int) -> Array:
    """Bits per letter on the query words, before and after each inner step: the cross-entropy divided by ln 2.

    Parameters
    ----------
    learner : Learner
        Whose model has the cross-entropy.
    batch : Batch
    n_steps : int

    Returns
    -------
    ndarray, shape (n_steps + 1, n_tasks)

    Examples
    --------
    >>> from metacalc.data.languages import names
    >>> from metacalc.meta import Learner
    >>> from metacalc.models import logistic_regression
    >>> from metacalc.tasks import NextLetter
    >>> finnish = NextLetter({"fi": set(sum(names("fi").values(), ()))}, dtype=np.float64)
    >>> batch = finnish.sample(np.random.default_rng(0), 50)
    >>> learner = Learner(logistic_regression(81, 27), np.zeros(82 * 27), alpha=1.0)
    >>> bits(learner, batch, 10).mean(axis=1).round(2)[[0, 10]]
    array([4.75, 4.33])
    """
    found = []
    with one_thread(), np.errstate(all="ignore"):
        for first in range(0, len(batch), 20):  # what is worked on together stays in the cache
            part = batch[first:first + 20]
            path = learner.iterates(part.x_support, part.y_support, n_steps)
            found.append([learner.model.loss(phi, part.x_query, part.y_query) for phi in path])
    return np.concatenate(found, axis=1) / np.log(2)


def posterior_mean(n: ArrayLike, m: ArrayLike, strength: Numbers) -> Array:
    """Mean of the probabilities after counts n, under a Dirichlet prior of mean m: (n + νm)/(N + ν).

    Parameters
    ----------
    n : array_like, shape (..., size)
        How often each outcome was seen; N is their sum.
    m : array_like, shape (..., size)
        Positive, with the sum 1.
    strength : float
        ν: how many observations the prior counts for; positive.

    Returns
    -------
    ndarray, shape (..., size)

    Raises
    ------
    ValueError
        If `strength` is not positive.

    Examples
    --------
    >>> posterior_mean([3, 1], [0.5, 0.5], strength=4)
    array([0.625, 0.375])
    """
    if not np.all(np.asarray(strength) > 0):
        raise ValueError(f"strength must be positive, got {strength!r}")
    n, m = np.asarray(n, float), np.asarray(m, float)
    return (n + strength * m) / (n.sum(axis=-1, keepdims=True) + strength)


def prior_mean(words: Mapping[str, Sequence[str]], order: int = 1, strength: float = 100.0) -> Array:
    """What follows `order` letters in all languages together: the prior for a language that is not among them.

    The posterior mean of their counts, whose own prior mean is what follows one letter less, and so on down to the
    uniform distribution (MacKay & Peto 1995).

    Parameters
    ----------
    words : dict of str: sequence of str
        Each language's words.
    order : int
        0, 1, 2 or 3 letters.
    strength : float
        Of the prior at each order; positive.

    Returns
    -------
    ndarray, shape (27, 27, 27, 27)
        The last axis is the next letter, the others are the three letters before it, whatever the order.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> q = ALPHABET.index("q")
    >>> ALPHABET[prior_mean({"en": ["equator", "quarter", "iraq"]}, strength=0.1)[0, 4, q].argmax()]
    'u'
    """
    if order not in range(CONTEXT + 1):
        raise ValueError(f"order must be 0, 1, 2 or 3, got {order!r}")
    contexts, following, _ = encode([word for own in words.values() for word in own])
    mean = np.full((1,) * CONTEXT + (SIZE,), 1 / SIZE)
    for known in range(order + 1):
        n = np.zeros((1,) * (CONTEXT - known) + (SIZE,) * (known + 1))
        np.add.at(n, (*np.where(np.arange(CONTEXT) < CONTEXT - known, 0, contexts).T, following), 1)
        mean = posterior_mean(n, mean, strength)
    return np.broadcast_to(mean, (SIZE,) * (CONTEXT + 1))


class Counted(NamedTuple):
    """The letters of tasks' support words, counted for their query letters: what counting needs to predict these.

    Attributes
    ----------
    context, following : ndarray of int, shapes (n_tasks, n_query, 3), (n_tasks, n_query)
        The query: three letters, and the one that follows.
    seen, total : ndarray, shape (4, n_tasks, n_query)
        How often that one, and how often any, followed the last 0, 1, 2, 3 of the three letters in the support words.

    Examples
    --------
    >>> from metacalc.data.languages import names
    >>> from metacalc.tasks import NextLetter
    >>> batch = NextLetter({"fi": set(sum(names("fi").values(), ()))}).sample(np.random.default_rng(0), 50)
    >>> pairs = [[np.inf, strength, np.inf, np.inf] for strength in (1, 10, 1e9)]
    >>> Counted.of(batch).bits(np.full((27,) * 4, 1 / 27), pairs).mean(axis=1).round(1)
    array([5.1, 4.4, 4.8])
    """

    context: Integers
    following: Integers
    seen: Array
    total: Array

    @classmethod
    def of(cls, batch: Batch) -> "Counted":
        """Count in the support words of a `NextLetter` batch."""
        support, query = (x.reshape(*x.shape[:-1], CONTEXT, SIZE).argmax(axis=-1) for x in (batch.x_support, batch.x_query))
        seen, total = np.empty((2, CONTEXT + 1, *query.shape[:2]))
        for task in range(len(batch)):
            same = np.ones((query.shape[1], support.shape[1]), bool)  # query letters × support letters
            follows = batch.y_query[task][:, None] == batch.y_support[task]
            for known in range(CONTEXT + 1):
                if known:
                    same &= query[task][:, None, -known] == support[task][:, -known]
                seen[known, task], total[known, task] = (same & follows).sum(axis=1), same.sum(axis=1)
        return cls(query, batch.y_query, seen, total)

    def bits(self, prior: Array, strengths: ArrayLike) -> Array:
        """Bits per letter on the query words under a Dirichlet prior.

        The prior mean of what follows so many letters is what the counts after fewer have made of `prior`: where a context is
        new, the counts back off to the shorter one.

        Parameters
        ----------
        prior : ndarray, shape (27, 27, 27, 27)
            As from `prior_mean`: what the words of other languages say.
        strengths : array_like, shape (n, 4)
            Of the prior of the counts after 0, 1, 2, 3 letters; positive. Counts whose prior is infinitely strong have no say:
            (inf, 32, inf, inf) counts pairs of letters alone.

        Returns
        -------
        ndarray, shape (n, n_tasks)

        Raises
        ------
        ValueError
            If the strengths are not as above.
        """
        strengths = np.asarray(strengths, float)
        if strengths.ndim != 2 or strengths.shape[1] != CONTEXT + 1 or not np.all(strengths > 0):
            raise ValueError(f"strengths must be positive, of shape (n, {CONTEXT + 1}), got {strengths!r}")
        start, found = prior[(*np.moveaxis(self.context, -1, 0), self.following)], []
        for own in strengths:
            p = start
            for n, N, strength in zip(self.seen, self.total, own):
                p = p if np.isinf(strength) else (n + strength * p) / (N + strength)
            found.append(-np.log2(p).mean(axis=-1))
        return np.array(found)


def spell(model: Model, theta: Array, rng: np.random.Generator, n_words: int, longest: int = 14) -> list[str]:
    """Words spelt by chance, letter by letter, from the model's probabilities.

    Parameters
    ----------
    model : model
        One that predicts the next letter from `one_hot` contexts.
    theta : ndarray, shape (p,)
    rng : numpy.random.Generator
        Asked n_words × longest times, whatever the model: with the same seed two models meet the same chances.
    n_words, longest : int
        Words, and letters that a word has at most.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from metacalc.models import logistic_regression
    >>> spell(logistic_regression(81, 27), np.zeros(82 * 27), np.random.default_rng(0), 3, longest=5)
    ['rhbav', 'yqtoz', 'waxat']
    """
    chances = rng.random((count(n_words, "n_words", 1), count(longest, "longest", 1)))
    letters = np.full((n_words, CONTEXT), SIZE - 1)
    for chance in chances.T:
        p = model.predict(theta, one_hot(letters[:, -CONTEXT:], theta.dtype))
        drawn = (np.cumsum(p, axis=-1) < chance[:, None] * p.sum(axis=-1, keepdims=True)).sum(axis=-1)
        letters = np.concatenate([letters, np.minimum(drawn, SIZE - 1)[:, None]], axis=1)
    return ["".join(ALPHABET[i] for i in word[CONTEXT:]).split(ALPHABET[-1])[0] for word in letters]


class Study(NamedTuple):
    """What `studies/language.py` found with one thing held out, languages or families.

    Attributes
    ----------
    settings : dict
    codes : list of str
        The languages in the order of the folds that tested them.
    bits : dict of str: ndarray, shape (len(settings["shots"]), len(codes))
        Contender → bits per letter of each language after adapting, the mean over the seeds. Among them are "bigrams", counts
        of pairs of letters, and "counts", which back off from three letters to none.
    runs : list of dict
        One for each fold: contender → what was chosen, and more.
    units : list of str
        What was held out, for each of `codes`: the language itself, or its family.
    folds : list of int
        The fold of each of `codes`.
    """

    settings: dict[str, Any]
    codes: list[str]
    bits: dict[str, Array]
    runs: list[dict[str, Any]]
    units: list[str]
    folds: list[int]

    def by_unit(self, values: ArrayLike) -> Array:
        """Means over the languages of each unit that was held out, in the order of their first languages.

        Parameters
        ----------
        values : array_like, shape (..., len(codes))

        Returns
        -------
        ndarray, shape (..., n_units)
        """
        values, units = np.asarray(values, float), np.array(self.units)
        return np.stack([values[..., units == unit].mean(axis=-1) for unit in dict.fromkeys(self.units)], axis=-1)

    def judged(self, values: ArrayLike) -> Both:
        """The mean over what was held out of a number for each language, with its intervals by units and by folds.

        Parameters
        ----------
        values : array_like, shape (len(codes),)
        """
        fold = dict(zip(self.units, self.folds))
        return both_intervals(self.by_unit(values)[None], list(fold.values()))

    def gain(self, name: str, over: str = "joint", shots: int | None = None) -> Both:
        """Bits per letter that a contender saves on another: the mean, with its intervals by units and by folds.

        Parameters
        ----------
        name, over : str
            Contenders.
        shots : int, optional
            Words seen, one of `settings["shots"]`; as many as in training unless given.

        Returns
        -------
        Both
        """
        place = self.settings["shots"].index(self.settings["trained_shots"] if shots is None else shots)
        return self.judged(self.bits[over][place] - self.bits[name][place])

    def start(self, name: str) -> Array:
        """θ of a contender that the study kept for the live figure, shape (p,), in double precision."""
        return unpacked(self.runs[self.settings["figure"][1]][name]["theta"], MODEL)[0]


def load_study(path: PathLike, design: str) -> Study:
    """The results in language.json, and beside it in language_counts.json.

    Parameters
    ----------
    path : path
        Of the first.
    design : {"language", "family"}
        What was held out.

    Returns
    -------
    Study
    """
    from metacalc.data.languages import families

    settings, results = load(path)
    _, counted = load(Path(path).with_name("language_counts.json"))
    runs = [{key.split("/")[2]: run for key, run in (results | counted).items() if key.startswith(f"{design}/{fold}/")}
            for fold in range(settings["n_folds"])]
    names = ["joint", *(name for name in settings["contenders"] if name != "joint"), "scratch", "bigrams", "counts"]
    bits = {name: np.concatenate([np.array(run[name]["bits"]) for run in runs], axis=1) for name in names}
    codes, family = sum((run["languages"] for run in runs), []), families()
    return Study(settings, codes, bits, runs, [family[code] if design == "family" else code for code in codes],
                 [fold for fold, run in enumerate(runs) for _ in run["languages"]])


def load_growth(path: PathLike, design: str, shots: int) -> dict[int, dict[str, Both]]:
    """What more training languages are worth, from language_growth.json and, beside it, language.json.

    Parameters
    ----------
    path : path
        Of the first.
    design : {"language", "family"}
        What was held out.
    shots : int
        Words seen.

    Returns
    -------
    dict
        Number of training languages → the bits per letter that contenders save on joint training; under "joint" those that it
        saves on itself with the fewest languages. Units and seeds together, as `both_intervals` has them.
    """
    settings, results = load(path)
    study, place = load_study(Path(path).with_name("language.json"), design), settings["shots"].index(shots)
    fold = list(dict(zip(study.units, study.folds)).values())

    def bits_of(name, n):
        """Of each seed and each unit."""
        return np.array([study.by_unit(np.concatenate([results[f"{design}/{i}/{n}/{seed}"][name]["bits"][place]
                                                       for i in range(settings["n_folds"])])) for seed in settings["seeds"]])

    fewest, found = bits_of("joint", settings["n_languages"][0]), {}
    for n in settings["n_languages"]:
        joint_bits = bits_of("joint", n)
        saved = {name: joint_bits - bits_of(name, n) for name in settings["contenders"] if name != "joint"}
        found[n] = {name: both_intervals(values, fold) for name, values in ({"joint": fewest - joint_bits} | saved).items()}
    return found
