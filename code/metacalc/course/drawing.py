"""Characters that a reader draws on the vision page, judged by learners that have stored starts. It needs NumPy alone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metacalc.arrays import Array, ArrayLike, PathLike
from metacalc.checks import count
from metacalc.data.strokes import ink
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.prototypes import Prototypes
from metacalc.studies import load, unpacked

__all__ = ["MOST_EXAMPLES", "judged", "load_drawing_starts"]

MOST_EXAMPLES = 5  #: Of a character, that the learners may be shown.


def load_drawing_starts(path: PathLike) -> tuple[dict[str, tuple[Learner, int]], int]:
    """The starts for drawn characters that `studies/drawing.py` has stored.

    Parameters
    ----------
    path : path
        Of drawing.json.

    Returns
    -------
    starts : dict
        "MAML" and "pre-trained" → (`Learner` in double precision with the rate to adapt with, number of steps that validated
        best); "prototypes" are those of the pre-trained features, which take one step.
    n_steps : int
        The most steps that the study allowed.
    """
    settings, results = load(path)
    model = MLP((settings["size"] ** 2, *settings["hidden"], settings["n_way"]), criterion="cross-entropy")
    starts = {name: (Learner(model, unpacked(results[key]["theta"], model)[0], results[key]["alpha"]), results[key]["steps"])
              for name, key in (("MAML", "MAML"), ("pre-trained", "joint"))}
    return starts | {"prototypes": (Prototypes(model, starts["pre-trained"][0].theta), 1)}, settings["n_steps"]


def judged(starts: Mapping[str, tuple[Learner, int]], support: Sequence[Sequence[Sequence[ArrayLike]]],
           query: Sequence[ArrayLike], k: int = 20) -> dict[str, Array]:
    """What learners say a drawing is, after each step of adapting to some examples.

    Parameters
    ----------
    starts : dict
        Name → (`Learner`, anything), as `load_drawing_starts` returns it.
    support : sequence
        For each class its examples, one to `MOST_EXAMPLES` drawings; a drawing is a list of strokes, as `ink` takes it.
    query : sequence of array_like
        The strokes of the drawing that is asked about.
    k : int
        Steps, at least one.

    Returns
    -------
    dict
        Name → probabilities of the classes after 0, 1, …, k steps, shape (k + 1, n_way). Not finite where a path diverges.

    Raises
    ------
    ValueError
        If there are not as many classes as the learners have outputs, a class has no example or too many, or `ink` cannot
        paint a drawing.
    """
    model: Any = next(iter(starts.values()))[0].model
    k, n_way, side = count(k, "k", 1), model.sizes[-1], math.isqrt(model.sizes[0])
    if len(support) != n_way or not all(1 <= len(examples) <= MOST_EXAMPLES for examples in support):
        raise ValueError(f"support must be {n_way} classes, each with 1 to {MOST_EXAMPLES} examples")
    x = np.array([ink(drawing, side) for examples in support for drawing in examples])
    y = np.repeat(np.arange(n_way), [len(examples) for examples in support])
    asked = ink(query, side)[None]
    found = {}
    with np.errstate(all="ignore"):
        for name, (learner, _) in starts.items():
            phi = learner.adapt(x[None], y[None], k)[:, 0]
            found[name] = learner.model.predict(phi, asked)[:, 0]
    return found
