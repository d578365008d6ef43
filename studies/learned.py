"""MAML++'s stabilisers on Meta-SGD's lost tasks, with CAVIA, MAML and ANIL, and learned optimisers of further seeds: writes
chapters/results/learned.json, in about half an hour on one core.

Each contender is tuned: the outer rate with the middle one of its inner rates, then the inner rate.
"""

import time
from pathlib import Path

from metacalc.course.learned import BUDGET, CLIP, CONTENDERS, ETAS, fit_optimiser, train_on_waves
from metacalc.course.practice import TASKS
from metacalc.studies import Results
from metacalc.training import evaluate

ROOT = Path(__file__).parent.parent
SETTINGS = {"contenders": {name: [c.rates, c.sets] for name, c in CONTENDERS.items()}, "budget": BUDGET, "etas": list(ETAS),
            "seeds": [1, 2, 3], "tuning": 0, "steps": [0, 1, 5, 10], "shots": 5, "n_tasks": 1000,
            "optimisers": [1, 2, 3, 4], "clip": CLIP}


def waves(settings, results):
    for name, contender in CONTENDERS.items():
        def score(alpha, eta):
            return once(results, f"tuning/{name}/{alpha}/{eta}",
                        lambda: train_on_waves(name, settings["tuning"], alpha, eta)[0])

        eta = min(settings["etas"], key=lambda eta: score(contender.rates[1], eta))
        alpha = min(contender.rates, key=lambda alpha: score(alpha, eta))
        for seed in settings["seeds"]:
            def work():
                validated, learner = train_on_waves(name, seed, alpha, eta)
                found = evaluate(learner, TASKS.with_shots(settings["shots"]), steps=settings["steps"],
                                 n_tasks=settings["n_tasks"], seed=1000)
                return {"alpha": alpha, "eta": eta, "validated": validated} | {
                    part: getattr(found, part) for part in ("mean", "ci", "median", "diverged")}

            once(results, f"waves/{name}/{seed}", work)


def optimisers(settings, results):
    for seed in settings["optimisers"]:
        once(results, f"optimiser/{seed}", lambda: fit_optimiser(seed).theta)


def once(results, key, work):
    """`results.once`, telling what it does and how long it took."""
    began = time.perf_counter()
    found = results.once(key, work)
    print(f"{key}: {time.perf_counter() - began:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    results = Results(ROOT / ".studies/learned.json", SETTINGS)
    for part in (optimisers, waves):
        part(SETTINGS, results)
    results.finish(ROOT / "chapters/results/learned.json")
