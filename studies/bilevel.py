"""Many hyperparameters by implicit gradients, against searches of equal cost: writes chapters/results/bilevel.json.

It takes about three minutes.

The first draws of data choose settings (when to stop, for one), the others are reported.
"""

from pathlib import Path

import numpy as np

from metacalc.course.bilevel import contenders, flipped_labels, regression
from metacalc.studies import Results

ROOT = Path(__file__).parent.parent
SETTINGS = {"n_tuning": 10, "n_draws": 50, "stops": [0, 2, 5, 10, 20, 40, 100], "penalties": [-6, 4, 21], "weights": [-4, 4, 9],
            "spread": 3.0}
KINDS = {
    "penalties, few features matter": (lambda seed: regression(seed, sparse=True), "penalties"),
    "penalties, all features matter": (lambda seed: regression(seed, sparse=False), "penalties"),
    "weights, opposite labels": (lambda seed: flipped_labels(seed, systematic=False), "weights"),
    "weights, labels of another rule": (lambda seed: flipped_labels(seed, systematic=True), "weights"),
}


def one(kind, seed, settings):
    """What every contender reaches on the draw of a seed."""
    make, levels = KINDS[kind]
    found = contenders(make(seed), seed, tuple(settings["stops"]), np.linspace(*settings[levels]), settings["spread"])
    return {name: run._asdict() for name, run in found.items()}


def run(settings, results):
    for kind in KINDS:
        results.once(kind, lambda: [one(kind, seed, settings) for seed in range(settings["n_draws"])])


if __name__ == "__main__":
    results = Results(ROOT / ".studies/bilevel.json", SETTINGS)
    run(SETTINGS, results)
    results.finish(ROOT / "chapters/results/bilevel.json")
