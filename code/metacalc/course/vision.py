"""The vision page's contenders, the tasks of its live figure, and the reading of what its study has stored."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from metacalc.arrays import Array, Integers, PathLike
from metacalc.data.characters import Characters, printed_characters, script_of
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.prototypes import Prototypes
from metacalc.studies import Both, both_intervals, interval, load, unpacked

__all__ = [
    "NAMES", "SCALE_NAMES", "Scale", "comparison_table", "episodes", "load_scale", "load_scores", "load_starts", "runs_of",
    "scale_table",
]

SCALE_NAMES = ("ProtoNet", "prototypes", "joint", "MAML", "ANIL", "FOMAML", "Meta-SGD", "Reptile", "iMAML", "scratch", "pixels")
NAMES = ("prototypes", "joint", "MAML", "ANIL", "FOMAML", "Reptile", "scratch", "pixels")


def runs_of(results: Mapping[str, Any], where: str) -> tuple[dict[float, list[Any]], float]:
    """The runs of one method in one fold, by outer rate.

    Parameters
    ----------
    results : dict
        The results in vision.json.
    where : str
        "fold/shots/method", such as "0/1/MAML"; with "/not shifted" behind it, those on images as they are.

    Returns
    -------
    found : dict
        Outer rate → its runs, a seed each.
    best : float
        The rate that validates best from the first seed: the study's choice.
    """
    found = {}
    for key, result in results.items():
        rate, _, seed = key.removeprefix(f"{where}/").partition("/")
        if key.startswith(f"{where}/") and seed.isdigit():
            found.setdefault(float(rate), []).append(result)
    return found, max(found, key=lambda rate: found[rate][0]["validation"])


def load_scores(path: PathLike, k_shots: int, kind: str = "", rate: float | None = None) -> dict[str, Array]:
    """What `studies/vision.py` has stored of handwriting: accuracies on held-out alphabets, each the mean over the seeds.

    Parameters
    ----------
    path : path
        Of vision.json.
    k_shots : int
        1 or 5.
    kind : str
        "not shifted" for the runs on images as they are.
    rate : float, optional
        An outer rate for all methods, instead of the one that each was given on validation tasks; then from the first seed.

    Returns
    -------
    dict
        Method → array (n_alphabets,), the alphabets in alphabetical order.
    """
    settings, results = load(path)
    settings, found = settings["omniglot"], {}

    def add(name, result):
        for alphabet, accuracy in result["accuracy"].items():
            found.setdefault(name, {}).setdefault(alphabet, []).append(accuracy)

    for fold in range(len(settings["folds"])):
        where = f"{fold}/{k_shots}"
        for name in ("MAML", "joint") if kind else settings["inner"]:
            tried, best = runs_of(results, f"{where}/{name}/{kind}" if kind else f"{where}/{name}")
            for run in tried[best] if rate is None else tried[rate][:1]:
                add(name, run)
                if "prototypes" in run:
                    add("prototypes", run["prototypes"])
        if not kind:
            add("pixels", results[f"{where}/pixels"])
            for seed in settings["seeds"] if rate is None else settings["seeds"][:1]:
                add("scratch", results[f"{where}/scratch/{seed}"])
    return {name: np.array([np.mean(found[name][a]) for a in sorted(found[name])]) for name in NAMES if name in found}


def comparison_table(table: Mapping[str, Array], reference: str = "joint") -> str:
    """Markdown table: mean accuracy with its 95% confidence interval over alphabets, and the paired difference to one method.

    Parameters
    ----------
    table : dict
        As `load_scores` returns it.
    reference : str
    """
    lines = [f"| | accuracy | less {reference} |", "| --- | --- | --- |"]
    for name, values in table.items():
        paired = "–" if name == reference else interval(values - table[reference]).markdown("+.3f")
        lines.append(f"| {name} | {interval(values)} | {paired} |")
    return "\n".join(lines)


def load_starts(path: PathLike) -> tuple[dict[str, tuple[Learner, int]], list[str]]:
    """The starts for printed characters that `studies/vision.py` has stored.

    Parameters
    ----------
    path : path
        Of vision.json.

    Returns
    -------
    starts : dict
        "MAML" and "pre-trained" → (`Learner` in double precision with the rate to adapt with, number of steps); "prototypes"
        are those of the pre-trained features, which take one step.
    test : list of str
        The classes that no start has seen, or any look-alike of theirs.
    """
    settings, results = load(path)
    settings = settings["printed"]
    model = MLP((settings["size"] ** 2, *settings["hidden"], settings["n_way"]), criterion="cross-entropy")
    chosen = {name: results[f"printed/0/1/{key}/start"] for name, key in (("MAML", "MAML"), ("pre-trained", "joint"))}
    _, _, test = printed_characters(settings["size"]).split(*settings["folds"][0])
    starts = {name: (Learner(model, unpacked(run["theta"], model)[0], run["alpha"]), run["steps"])
              for name, run in chosen.items()}
    return starts | {"prototypes": (Prototypes(model, starts["pre-trained"][0].theta), 1)}, test


def episodes(characters: Characters, classes: Sequence[str], n_tasks: int, n_way: int = 5, n_examples: int = 12,
             seed: int = 0) -> Integers:
    """Which examples make up some tasks, each within one script; the scripts take turns.

    Parameters
    ----------
    characters : Characters
    classes : sequence of str
    n_tasks, n_way, n_examples : int
        Tasks, classes of a task, examples of a class.
    seed : int

    Returns
    -------
    ndarray of int, shape (n_tasks, n_way, n_examples)
        Indices into `characters.x`.
    """
    rng, scripts = np.random.default_rng(seed), sorted({script_of(c) for c in classes})
    chosen = []
    for t in range(n_tasks):
        among = [c for c in classes if script_of(c) == scripts[t % len(scripts)]]
        chosen.append([rng.choice(np.flatnonzero(characters.labels == c), n_examples, replace=False)
                       for c in rng.choice(among, n_way, replace=False)])
    return np.array(chosen)


class Scale(NamedTuple):
    """What `studies/vision_scale.py` has stored: accuracies on thirty held-out alphabets, from look to look of every training.

    Attributes
    ----------
    settings : dict
        What the study was told.
    results : dict
        What came out, by key.
    folds : dict
        Alphabet → the fold that it was held out in, fold by fold.
    """

    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    folds: Mapping[str, int]

    @property
    def methods(self) -> list[str]:
        """The contenders that the study is done with, from one seed at least, in the order of `SCALE_NAMES`."""
        return [name for name in SCALE_NAMES if all(self.seeds(name, k) for k in self.settings["shots"])]

    def seeds(self, name: str, k_shots: int) -> list[int]:
        """The seeds from which all folds of a contender are done; [0] for the pixels, which need none."""
        name = "joint" if name == "prototypes" else name
        places = [f"{i}/{k_shots}/{name}" for i in range(self.settings["n_folds"])]
        if name == "pixels":
            return [0] if all(where in self.results for where in places) else []
        return [seed for seed in self.settings["seeds"] if all(f"{where}/{seed}" in self.results for where in places)]

    def looks(self, name: str, k_shots: int, fold: int, seed: int) -> list[dict[str, Any]]:
        """The looks of one training: iteration, validation, alpha, steps, accuracy by alphabet. From those beyond the usual
        iterations on, they are of the training at a smaller outer rate if there is one, and it validates better."""
        key = f"{fold}/{k_shots}/{'joint' if name == 'prototypes' else name}/{seed}"
        longer = [self.results[f"{key}/{kind}"]["curve"] for kind in ("long", "slower") if f"{key}/{kind}" in self.results]
        best = {look["iteration"]: look for look in sorted(sum(longer, []), key=lambda look: look["validation"])}
        looks = [*self.results[key]["curve"], *(best[n] for n in sorted(best) if n > (self.usual(name) or 0))]
        return [look | {"accuracy": look["prototypes"]} for look in looks] if name == "prototypes" else looks

    def budgets(self, name: str, k_shots: int) -> list[int]:
        """After how many outer iterations a method was looked at in all folds, from the first seed."""
        looked = [{look["iteration"] for look in self.looks(name, k_shots, i, self.settings["seeds"][0])}
                  for i in range(self.settings["n_folds"])]
        return sorted(set.intersection(*looked))

    def usual(self, name: str) -> int | None:
        """The outer iterations that a contender has from every seed; None if it has none. Prototypes are the classifier's."""
        return self.settings["n_iters"].get("joint" if name == "prototypes" else name)

    def seconds(self, name: str, k_shots: int) -> float:
        """Processor time of a usual training, its looks included: the mean over folds and seeds."""
        key = "joint" if name == "prototypes" else name
        return float(np.mean([self.results[f"{i}/{k_shots}/{key}/{seed}"]["seconds"]
                              for i in range(self.settings["n_folds"]) for seed in self.seeds(name, k_shots)]))

    def accuracy(self, name: str, k_shots: int, n_iters: int | None = None) -> Array:
        """Of each seed and alphabet, shape (n_seeds, n_alphabets): that of the look which validates best within a budget.

        Parameters
        ----------
        name : str
            One of `SCALE_NAMES`.
        k_shots : int
            1 or 5.
        n_iters : int, optional
            Outer iterations; those that every seed had, unless given. From more than these there is one seed.

        Returns
        -------
        ndarray, shape (n_seeds, n_alphabets)
            The alphabets in the order of `folds`.

        Raises
        ------
        ValueError
            If there is no look within the budget.
        """
        usual = self.usual(name)
        if usual is None:
            found = [[self.results[f"{i}/{k_shots}/{name}" + f"/{seed}" * (name == "scratch")]["accuracy"]
                      for i in range(self.settings["n_folds"])] for seed in self.seeds(name, k_shots)]
        else:
            budget, seeds = n_iters or usual, self.seeds(name, k_shots)
            found = [[self._chosen(name, k_shots, i, seed, budget)["accuracy"] for i in range(self.settings["n_folds"])]
                     for seed in (seeds if budget <= usual else seeds[:1])]
        return np.array([[folds[i][alphabet] for alphabet, i in self.folds.items()] for folds in found])

    def gain(self, name: str, over: str, k_shots: int, n_iters: int | None = None) -> Both:
        """How much more accurate one contender is than another, paired over the alphabets and over the seeds that both have."""
        mine, theirs = self.accuracy(name, k_shots, n_iters), self.accuracy(over, k_shots, n_iters)
        if "pixels" not in (name, over):  # which are the same from every seed
            n_seeds = min(len(mine), len(theirs))
            mine, theirs = mine[:n_seeds], theirs[:n_seeds]
        return both_intervals(mine - theirs, list(self.folds.values()))

    def _chosen(self, name, k_shots, fold, seed, budget):
        """The look that validates best within the budget."""
        within = [look for look in self.looks(name, k_shots, fold, seed) if look["iteration"] <= budget]
        if not within:
            raise ValueError(f"n_iters must be at least that of the first look at {name}, got {budget}")
        return max(within, key=lambda look: look["validation"])


def load_scale(path: PathLike) -> Scale:
    """The stored study of thirty alphabets.

    Parameters
    ----------
    path : path
        Of vision_scale.json.

    Returns
    -------
    Scale
        All of it.
    """
    settings, results = load(path)
    folds = {alphabet: i for i in range(settings["n_folds"])
             for alphabet in results[f"{i}/{settings['shots'][0]}/pixels"]["accuracy"]}
    return Scale(settings, results, folds)


def scale_table(scale: Scale, k_shots: int, reference: str = "joint") -> str:
    """Markdown table: mean accuracy, and the paired difference to one contender with both kinds of intervals.

    Parameters
    ----------
    scale : Scale
        The study.
    k_shots : int
        1 or 5.
    reference : str
        Whose accuracy is taken off the others'.

    Returns
    -------
    str
        A line for each contender that the study is done with.
    """
    lines = [f"| | accuracy | less {reference}, by alphabets | by folds | iterations | seconds | seeds |", "| --- " * 7 + "|"]
    for name in scale.methods:
        n_iters = scale.usual(name) or "–"
        values = scale.accuracy(name, k_shots)
        cells = ["–", "–"]
        if name != reference:
            gain = scale.gain(name, reference, k_shots)
            cells = [gain.by_unit.markdown("+.3f"), f"± {gain.by_fold.half_width:.3f}"]
        seeds = "–" if name == "pixels" else len(values)
        seconds = f"{scale.seconds(name, k_shots):.0f}" if scale.usual(name) else "–"
        lines.append(f"| {name} | {values.mean():.3f} | {cells[0]} | {cells[1]} | {n_iters} | {seconds} | {seeds} |")
    return "\n".join(lines)
