"""The practice chapter's comparison with more seeds and longer training, and two questions that it raises.

`python studies/practice.py NAME` works one out and writes chapters/results/NAME.json; without a name, all three:

- `practice`: the comparison. `short` is the chapter's own budget, with seeds that the chapter does not use: how far one more
  run may lie from them.
- `practice_inner`: is the last layer enough? MAML and ANIL over one grid of activations, inner steps and inner rates, and
  what validates best of each again, with other seeds.
- `practice_edge`: where MAML drives the sharpness of its tasks, for several inner rates.
"""

import sys
import time
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from metacalc.course.practice import (
    ASIDE,
    CONTENDERS,
    MODEL,
    SHOTS,
    STEPS,
    TASKS,
    best_inner,
    evaluated,
    inner_contender,
    train,
)
from metacalc.meta import maml
from metacalc.models import sharpness
from metacalc.studies import Results, packed
from metacalc.tasks import Sinusoids
from metacalc.training import meta_train

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "contenders": {name: [c.settings, c.n_iters, c.rates] for name, c in (CONTENDERS | ASIDE).items()}, "shots": SHOTS,
    "steps": STEPS, "short": {"times": 1, "seeds": [1, 2, 3, 4, 5, 6, 7, 8], "looks": 15, "n_validation": 400, "n_tasks": 1000},
    "long": {"times": 4, "seeds": [0, 1], "looks": 24, "n_validation": 1000, "n_tasks": 4000},
}
FIGURE = ("MAML", "joint")  # whose θ's, of the first seed and the long budget, the live figures show
INNER = {
    "methods": ["ANIL", "MAML"], "activations": ["relu", "tanh"], "k": [1, 5], "alpha": [0.01, 0.02, 0.05],
    "n_iters": 10_000, "seed": 0, "again": [1, 2], "looks": 15, "n_validation": 400, "n_tasks": 1000, "shots": SHOTS,
    "steps": STEPS,
}
EDGE = {"alpha": [0.0025, 0.005, 0.02, 0.04], "n_iters": 40_000, "seed": 0, "looks": 12, "n_tasks": 200, "shots": 10}


def numbers(run, n_tasks):
    """What is stored of a run: its table and its learning curve."""
    table = evaluated(run, n_tasks)
    return {"mean": table.mean, "ci": table.ci, "median": table.median, "diverged": table.diverged,
            "alpha": run.learner.alpha, "iterations": run.iterations, "errors": run.errors}


def comparison(settings, results):
    for budget in ("short", "long"):
        options = dict(settings[budget])
        seeds, times, n_tasks = (options.pop(name) for name in ("seeds", "times", "n_tasks"))
        for seed in seeds:
            for name, contender in (CONTENDERS | (ASIDE if budget == "short" else {})).items():
                def work():
                    run = train(name, times * contender.n_iters, seed, **options)
                    stored = numbers(run, n_tasks)
                    if budget == "long" and seed == seeds[0] and name in FIGURE:
                        stored |= {"theta": packed(run.learner.theta), "snapshots": packed(run.snapshots)}
                    return stored

                once(results, f"{budget}/{name}/{seed}", work)


def inner(settings, results):
    options = {name: settings[name] for name in ("n_iters", "looks", "n_validation")}

    def work(setting, seed):
        run = train(inner_contender(*setting), seed=seed, **options)
        kept = {"theta": packed(run.learner.theta)} if seed in settings["again"] else {}
        return numbers(run, settings["n_tasks"]) | kept

    for name in settings["methods"]:
        for rest in product(*(settings[axis] for axis in ("activations", "k", "alpha"))):
            setting = name, *rest
            once(results, "/".join(map(str, (*setting, settings["seed"]))), partial(work, setting, settings["seed"]))
        setting = best_inner(results.stored, name, settings["seed"])
        for seed in settings["again"]:
            once(results, "/".join(map(str, (*setting, seed))), partial(work, setting, seed))


def edge(settings, results):
    seen = Sinusoids(settings["shots"]).sample(np.random.default_rng(7), settings["n_tasks"])
    wanted = (settings["n_iters"] * np.linspace(0, 1, settings["looks"] + 1) ** 2).round().astype(int).tolist()

    def work(alpha):
        start, iterations, medians = MODEL.init(np.random.default_rng(settings["seed"]), np.float32), [], []

        def look(t, loss, theta):
            if t in wanted:
                iterations.append(t)
                medians.append(alpha * np.median(sharpness(MODEL, theta.astype(float), seen.x_support, seen.y_support)))

        look(0, None, start)
        meta_train(partial(maml, alpha=alpha), MODEL, TASKS, settings["n_iters"], theta0=start, seed=settings["seed"],
                   callback=lambda t, loss, theta: look(t + 1, loss, theta), progress=False)
        return {"iterations": iterations, "alpha_lambda": medians}

    for alpha in settings["alpha"]:
        once(results, str(alpha), partial(work, alpha))


def once(results, key, work):
    """`results.once`, telling what it does and how long it took."""
    began = time.perf_counter()
    results.once(key, work)
    print(f"{key}: {time.perf_counter() - began:.0f} s", flush=True)


STUDIES = {"practice": (comparison, SETTINGS), "practice_inner": (inner, INNER), "practice_edge": (edge, EDGE)}


if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        run, settings = STUDIES[name]
        results = Results(ROOT / f".studies/{name}.json", settings)
        run(settings, results)
        results.finish(ROOT / f"chapters/results/{name}.json")
