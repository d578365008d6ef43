"""The vision page's contenders, the tasks of its live figure, and the reading of what its study has stored."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metacalc.arrays import Array, Integers, PathLike
from metacalc.data.characters import Characters, printed_characters, script_of
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.studies import interval, load, unpacked

__all__ = ["NAMES", "comparison_table", "episodes", "load_scores", "load_starts", "runs_of"]

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
        "MAML" and "pre-trained" → (`Learner` in double precision with the rate to adapt with, number of steps).
    test : list of str
        The classes that no start has seen, or any look-alike of theirs.
    """
    settings, results = load(path)
    settings = settings["printed"]
    model = MLP((settings["size"] ** 2, *settings["hidden"], settings["n_way"]), criterion="cross-entropy")
    chosen = {name: results[f"printed/0/1/{key}/start"] for name, key in (("MAML", "MAML"), ("pre-trained", "joint"))}
    _, _, test = printed_characters(settings["size"]).split(*settings["folds"][0])
    return {name: (Learner(model, unpacked(run["theta"], model)[0], run["alpha"]), run["steps"])
            for name, run in chosen.items()}, test


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
