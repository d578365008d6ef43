"""Two starts for characters that a reader draws, and how good they are on new alphabets: writes chapters/results/drawing.json.

Omniglot's whole background set at 14 × 14 pixels: twenty alphabets to learn from, four for all choices, six for the test. MAML
and the classifier are trained with one shot, once each, at the settings that `vision.py` chose most often; nothing is tuned
anew. The validation alphabets say when to stop, by how many steps to adapt, and the classifier's rate. What is tested is
what is stored, in half precision; prototypes are those of the classifier's features.
"""

from dataclasses import replace
from pathlib import Path

from vision import SETTINGS as CHOSEN
from vision import Fold

from metacalc.data.characters import omniglot_background
from metacalc.prototypes import Prototypes
from metacalc.studies import Results, packed, unpacked

ROOT = Path(__file__).parent.parent
SETTINGS = {name: CHOSEN[name] for name in ("size", "hidden", "n_way", "n_tasks", "n_query", "shift", "max_norm", "n_iters",
                                            "looks", "rates", "pool", "validation", "test")} | {
    "test alphabets": ["Alphabet_of_the_Magi", "Balinese", "Cyrillic", "Gujarati", "Korean",
                       "Ojibwe_(Canadian_Aboriginal_Syllabics)"],  # every fifth
    "validation alphabets": ["Arcadian", "Burmese_(Myanmar)", "Hebrew", "Mkhedruli_(Georgian)"],
    "methods": {"MAML": {"alpha": 0.2, "k": 5, "eta": 0.003}, "joint": {"eta": 0.01}},
    "k_shots": 1, "n_steps": 20, "seed": 0}


def start(fold, name, progress=True):
    """A method's θ as it is stored, with the rate and the number of steps that validate best, and tested."""
    s = fold.settings
    best, _ = fold.trained(name, s["methods"][name], s["seed"], s["n_iters"][name], s["looks"], s["shift"], s["max_norm"],
                           progress)
    theta = packed(best.learner.theta)
    stored = replace(best.learner, theta=unpacked(theta, fold.model)[0])
    found = {"iteration": best.iteration, "validation": round(1 - best.score, 4), **fold.tested(best._replace(learner=stored))}
    if name == "joint":
        nearest = best._replace(learner=Prototypes(fold.model, stored.theta), steps=1)
        found["prototypes"] = fold.tested(nearest)
    return found | {"theta": theta}


def run(settings, results, characters, progress=True):
    """Both starts, each under its method's name, and under "data" what they learned from."""
    split = characters.split(settings["test alphabets"], settings["validation alphabets"])
    fold = Fold(characters, split, settings["k_shots"], settings)
    results.each({"data": lambda: {"alphabets": len(characters.scripts), "split": [len(side) for side in split],
                                   "to learn from": len({label.split("/")[0] for label in split[0]})}}
                 | {name: lambda name=name: start(fold, name, progress) for name in settings["methods"]})


if __name__ == "__main__":
    results = Results(ROOT / ".studies/drawing.json", SETTINGS)
    run(SETTINGS, results, omniglot_background(SETTINGS["size"]))
    results.finish(ROOT / "chapters/results/drawing.json")
