"""A learner that adapts without a gradient against MAML, on noisy waves: `python studies/new_tasks.py`, a quarter of an hour.

Writes chapters/results/new_tasks.json. Settings are chosen on validation tasks, and for MAML the number of steps at test for
each number of shots too. Iterations are such that each contender trains for about the same time.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from metacalc.course.new_tasks import NOISE, SHOTS, STEPS, TASKS, candidates, ends, losses, train, wave_answers
from metacalc.studies import Results

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "noise": NOISE, "shots": SHOTS, "steps": STEPS, "candidates": candidates(), "seeds": [0, 1, 2, 3, 4],
    "finalists": 3, "final_seeds": [101],
    "n_iters": {"process": 20_000, "MAML 1": 12_000, "MAML 5": 4000}, "n_tasks": 1000, "validation": 500, "test": 1000,
}
OUTSIDE = replace(TASKS.tasks, phase=(np.pi, 2 * np.pi))  # waves of phases that nobody trained on


def budget(settings, who, setting):
    return settings["n_iters"][who if who == "process" else f"MAML {setting[0]}"]


def chosen(settings, results, who):
    """The setting with the least mean over shots on validation tasks: the best after a fifth of the budget train whole, and
    with other seeds, as what is fast at first may fail later."""
    listed = settings["candidates"][who]

    def score(setting, seed, part=1):
        learner = train(who, setting, budget(settings, who, setting) // part, seed)
        return losses(learner, seed=settings["validation"], n_tasks=400).min(axis=-1).mean()

    first = [once(results, f"chosen/{who}/{i}", lambda s=setting: score(s, 100, 5)) for i, setting in enumerate(listed)]
    finals = {i: np.mean([once(results, f"final/{who}/{i}/{seed}", lambda s=listed[i], n=seed: score(s, n))
                          for seed in settings["final_seeds"]])
              for i in np.argsort(first)[:settings["finalists"]].tolist()}
    return tuple(listed[min(finals, key=lambda i: (np.isnan(finals[i]), finals[i]))])


def trained(settings, who, setting, seed):
    """Its test losses with the steps that validate best for each number of shots, and those on waves of another kind."""
    learner = train(who, setting, budget(settings, who, setting), seed)
    validated = losses(learner, seed=settings["validation"], n_tasks=400)
    tables = {name: losses(learner, tasks, settings["n_tasks"], settings["test"])
              for name, tasks in (("mean", TASKS), ("outside", OUTSIDE))}
    return {"setting": list(setting), "steps": np.argmin(validated, axis=-1)} | {
        name: ends(table, validated) for name, table in tables.items()}


def reference(settings, how):
    """The same of an estimate that has the two features; its moments are those of the usual tasks, outside too."""
    found = {}
    for name, tasks in (("mean", TASKS), ("outside", OUTSIDE)):
        found[name] = []
        for K in SHOTS:
            batch = tasks.with_shots(K).sample(np.random.default_rng(settings["test"]), settings["n_tasks"])
            found[name].append(((wave_answers(how, batch) - batch.y_query) ** 2).mean())
    return found


def once(results, key, work):
    began = time.perf_counter()
    result = results.once(key, work)
    print(f"{key}: {time.perf_counter() - began:.0f} s", flush=True)
    return result


def study(settings, results):
    for how in ("least squares", "ridge", "Bayes"):
        once(results, how, lambda how=how: reference(settings, how))
    for who in ("process", "MAML"):
        setting = chosen(settings, results, who)
        for seed in settings["seeds"]:
            once(results, f"{who}/{seed}", lambda seed=seed, who=who, s=setting: trained(settings, who, s, seed))


if __name__ == "__main__":
    results = Results(ROOT / ".studies/new_tasks.json", SETTINGS)
    study(SETTINGS, results)
    results.finish(ROOT / "chapters/results/new_tasks.json")
