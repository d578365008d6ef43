"""The practice chapter's comparison with more seeds and four times the training: writes chapters/results/practice.json.

`short` is the chapter's own budget, with seeds that the chapter does not use: how far one more run may lie from them.
"""

from pathlib import Path

from metacalc.course.practice import ASIDE, CONTENDERS, SHOTS, STEPS, evaluated, train
from metacalc.studies import Results, packed

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "contenders": {name: [c.settings, c.n_iters, c.rates] for name, c in (CONTENDERS | ASIDE).items()}, "shots": SHOTS,
    "steps": STEPS, "short": {"times": 1, "seeds": [1, 2, 3, 4, 5, 6, 7, 8], "looks": 15, "n_validation": 400, "n_tasks": 1000},
    "long": {"times": 4, "seeds": [0, 1], "looks": 24, "n_validation": 1000, "n_tasks": 4000},
}
FIGURE = ("MAML", "joint")  # whose θ's, of the first seed and the long budget, the live figures show


def one(name, seed, times, looks, n_validation, n_tasks):
    """One run of a contender: its table, its learning curve and its θ's."""
    run = train(name, times * (CONTENDERS | ASIDE)[name].n_iters, seed, looks, n_validation)
    table = evaluated(run, n_tasks)
    return run, {"mean": table.mean, "ci": table.ci, "median": table.median, "diverged": table.diverged,
                 "alpha": run.learner.alpha, "iterations": run.iterations, "errors": run.errors}


def run(settings, results):
    for budget in ("short", "long"):
        options = dict(settings[budget])
        seeds = options.pop("seeds")
        for seed in seeds:
            for name in CONTENDERS | (ASIDE if budget == "short" else {}):
                def work():
                    trained, numbers = one(name, seed, **options)
                    if budget == "long" and seed == seeds[0] and name in FIGURE:
                        numbers |= {"theta": packed(trained.learner.theta), "snapshots": packed(trained.snapshots)}
                    return numbers

                print(budget, name, "seed", seed, flush=True)
                results.once(f"{budget}/{name}/{seed}", work)


if __name__ == "__main__":
    results = Results(ROOT / ".studies/practice.json", SETTINGS)
    run(SETTINGS, results)
    results.finish(ROOT / "chapters/results/practice.json")
