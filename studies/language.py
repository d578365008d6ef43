"""Learning a language from a few words, languages and whole families held out: writes chapters/results/language.json.

`python studies/language.py language_counts` runs counts that back off alone, in a few minutes, `language_growth` what fewer
training languages make of three contenders, in half an hour; the first part takes an hour on one processor, for two seeds.
Five folds for each design.
"""

import sys
from copy import copy
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from metacalc.course.language import MODEL, RATES, STEPS, TRAINING, Counted, bits, contenders, load_study, prior_mean
from metacalc.data.languages import folds, split
from metacalc.meta import Learner, joint, maml
from metacalc.studies import Results, best_adaptation, choose, packed
from metacalc.tasks import NextLetter
from metacalc.training import meta_train

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "designs": ["language", "family"], "n_folds": 5, "seeds": [0, 1], "n_iters": 500, "every": 50,
    "shots": [1, 2, 5, 10, 20, 50], "trained_shots": 10, "n_valid": 2, "n_test": 8,
    "contenders": {name: [settings, rates] for name, (_, settings, rates) in contenders().items()},
    "rates": RATES, "own rate too": True, "n_steps": STEPS, "scratch": {"rates": [0.5, 1.0], "n_steps": 60},
    "bigrams": {"orders": [1, 2, 3], "pooled": [20, 80, 320, 640, 1280, 2560, 5120], "strengths": [2, 4, 8, 16, 32, 64, 128]},
    "training": {"eta": TRAINING["eta"], "n_tasks": TRAINING["n_tasks"], "rule": "adam, gradients clipped to 1"},
    "stops": [25, 50, 100, 200, 400, 1000, 2000], "figure": ["family", 4],
    "outer_rates": [7e-4, TRAINING["eta"], 6e-3],
}
COUNTING = {
    "designs": SETTINGS["designs"], "n_folds": 5, "shots": SETTINGS["shots"], "trained_shots": 10, "n_valid": 2, "n_test": 8,
    "orders": [1, 2, 3], "pooled": SETTINGS["bigrams"]["pooled"],
    "strengths": [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, "inf"], "sweeps": 3,
}
GROWTH = {
    "designs": SETTINGS["designs"], "n_folds": 5, "seeds": [0, 1, 2], "n_languages": [8, 16, 32, 64], "shots": [2, 10, 50],
    "contenders": ["joint", "FOMAML", "MAML"],  # 64 are all: a fold has 55 to 64
}


class Sides:
    """The three sides of a fold, and the tasks on which all are compared."""

    def __init__(self, settings, design, fold):
        self.words = split(folds(design, settings["n_folds"])[fold], fold % 3)
        self.train, self.valid, self.test = (NextLetter(words, settings["trained_shots"]) for words in self.words)
        self.settings = settings

    def batch(self, side, shots):
        tasks, n = getattr(self, side).with_shots(shots), self.settings[f"n_{side}"]
        return tasks.of_each(np.random.default_rng(1 if side == "valid" else 2), n)

    def by_language(self, values):
        """The mean over each test language's tasks."""
        return values.reshape(*values.shape[:-1], -1, self.settings["n_test"]).mean(axis=-1)


def validation(batch, n_steps):
    """What `choose` asks of a learner: its bits per letter on validation tasks, after 0, 1, ... steps."""
    return lambda learner: bits(learner, batch, n_steps).mean(axis=1)


def tested(sides, learner, rates, n_steps, all_shots=None):
    """With each number of shots: the rate and steps that validate best, and each test language's bits per letter."""
    chosen, found = [], []
    for shots in sides.settings["shots"] if all_shots is None else all_shots:
        best = best_adaptation(learner, validation(sides.batch("valid", shots), n_steps), rates)
        chosen.append([best.learner.alpha, best.steps])
        found.append(sides.by_language(bits(best.learner, sides.batch("test", shots), best.steps)[best.steps]))
    return chosen, np.array(found)


def trained(sides, name):
    """A contender: its settings chosen with the first seed, trained with all of them."""
    settings = sides.settings
    grid, runs = settings["contenders"][name][0], []
    for seed in settings["seeds"]:
        best = best_of(sides, name, grid, seed, TRAINING["eta"])
        grid = [best.setting]
        runs.append((best, *tested(sides, best.learner, with_own(settings["rates"], best.setting), settings["n_steps"])))
    return runs


def with_own(rates, setting):
    """The rates to adapt with, and the one that was trained with."""
    return sorted({*rates, *([setting["alpha"]] if "alpha" in setting else [])})


def best_of(sides, name, grid, seed, eta):
    """What `choose` finds for a contender with one seed and one outer rate; a smaller rate gets as many more iterations."""
    settings, (method, _, rates) = sides.settings, contenders()[name]
    valid, longer = sides.batch("valid", settings["trained_shots"]), max(1, round(TRAINING["eta"] / eta))
    return choose(method, MODEL, sides.train, validation(valid, settings["n_steps"]), grid,
                  n_iters=longer * settings["n_iters"],
                  every=longer * settings["every"], rates=rates, seed=seed, progress=False, **TRAINING | {"eta": eta})


def outer_rates(sides, chosen):
    """With other outer rates: the validation score and each test language's bits after adapting to the trained number of words.

    `chosen` is {contender: setting}; one seed.
    """
    settings, found = sides.settings, {}
    for name, setting in chosen.items():
        found[name] = {"valid": [], "iteration": [], "bits": []}
        for eta in settings["outer_rates"]:
            best = best_of(sides, name, [setting], settings["seeds"][0], eta)
            _, (at_trained,) = tested(sides, best.learner, with_own(settings["rates"], setting), settings["n_steps"],
                                      all_shots=[settings["trained_shots"]])
            for key, value in (("valid", best.score), ("iteration", best.iteration), ("bits", at_trained.round(4))):
                found[name][key].append(value)
    return found


def summary(sides, runs):
    best, chosen, _ = runs[0]
    found = np.array([found for _, _, found in runs])
    place = sides.settings["shots"].index(sides.settings["trained_shots"])
    return {"setting": best.setting, "iterations": [run[0].iteration for run in runs], "chosen": chosen,
            "seeds": found[:, place].mean(axis=-1), "bits": found.mean(axis=0).round(4)}


def scratch(sides):
    """Random starts that adapt to the shown words alone."""
    options = sides.settings["scratch"]
    starts = (Learner(MODEL, MODEL.init(np.random.default_rng(seed), np.float32)) for seed in sides.settings["seeds"])
    runs = [tested(sides, start, options["rates"], options["n_steps"]) for start in starts]
    return {"chosen": runs[0][0], "bits": np.mean([found for _, found in runs], axis=0).round(4)}


def bigrams(sides):
    """Counts under a Dirichlet prior from the training languages, its order and strengths chosen on validation tasks."""
    options, chosen, found = sides.settings["bigrams"], [], []
    priors = {(order, pooled): prior_mean(sides.words[0], order, pooled) for order in options["orders"]
              for pooled in options["pooled"]}
    pairs = [[np.inf, strength, np.inf, np.inf] for strength in options["strengths"]]
    for shots in sides.settings["shots"]:
        valid, test = (Counted.of(sides.batch(side, shots)) for side in ("valid", "test"))
        table = {key: valid.bits(prior, pairs).mean(axis=1) for key, prior in priors.items()}
        key = min(table, key=lambda key: table[key].min())
        best = int(table[key].argmin())
        chosen.append([*key, options["strengths"][best]])
        found.append(sides.by_language(test.bits(priors[key], [pairs[best]])[0]))
    return {"chosen": chosen, "bits": np.round(found, 4)}


def backing_off(sides, options, all_shots):
    """Counts after none to three letters: the prior's order, and all strengths, chosen on validation tasks.

    The strengths after none to three letters are chosen in turn while the others are held, a few times over.
    """
    chosen, found = [], []
    strengths = [float(value) for value in options["strengths"]]
    priors = {(order, pooled): prior_mean(sides.words[0], order, pooled) for order in options["orders"]
              for pooled in options["pooled"]}
    for shots in all_shots:
        valid, test = (Counted.of(sides.batch(side, shots)) for side in ("valid", "test"))
        best = np.inf, None, None
        for key, prior in priors.items():
            own = np.array([np.inf] * 4)
            for known in [*range(4)] * options["sweeps"]:
                tries = np.tile(own, (len(strengths), 1))
                tries[:, known] = strengths
                scores = valid.bits(prior, tries).mean(axis=1)
                own = tries[scores.argmin()]
            best = min(best, (scores.min(), key, own), key=lambda one: one[0])
        _, key, own = best
        chosen.append([*key, [value if np.isfinite(value) else "inf" for value in own.tolist()]])
        found.append(sides.by_language(test.bits(priors[key], [own])[0]))
    return {"chosen": chosen, "bits": np.round(found, 4)}


def stopped(sides, method, setting, rates):
    """Test bits of one training that is stopped after each of `stops` iterations; rate and steps from validation."""
    shots, rows = sides.settings["trained_shots"], []
    valid, test = sides.batch("valid", shots), sides.batch("test", shots)

    def look(t, loss, theta):
        if t + 1 in sides.settings["stops"]:
            best = best_adaptation(Learner(MODEL, theta), validation(valid, sides.settings["n_steps"]), rates)
            on_test = sides.by_language(bits(best.learner, test, best.steps)[best.steps]).round(4)
            rows.append((best.score, best.learner.alpha, best.steps, on_test))

    meta_train(method, MODEL, sides.train, sides.settings["stops"][-1], callback=look, progress=False, **setting, **TRAINING)
    return dict(zip(("valid", "rate", "steps", "bits"), zip(*rows)))


def fewer(settings, sides, chosen, n_languages, seed):
    """Each contender with its setting in `chosen`, trained on so many languages: for a seed, fewer are among the more."""
    sides, words, found = copy(sides), sides.words[0], {}
    drawn = np.random.default_rng(seed).permutation(sorted(words))[:n_languages]
    sides.train = NextLetter({code: words[code] for code in drawn}, sides.settings["trained_shots"])
    for name in settings["contenders"]:
        best = best_of(sides, name, [chosen[name]], seed, TRAINING["eta"])
        rates = with_own(sides.settings["rates"], chosen[name])
        _, at = tested(sides, best.learner, rates, sides.settings["n_steps"], settings["shots"])
        found[name] = {"iteration": best.iteration, "bits": at.round(4)}
    return found


# Of the parts of a fold, in seconds or so.
COSTS = {"languages": 1, "bigrams": 6, "scratch": 150, "joint": 25, "MAML": 55, "FOMAML": 55, "Reptile": 40, "ANIL": 45,
         "stopped": 60, "outer rates": 70, "counts": 10}


def comparison(settings, sides, name, stored, design, fold):
    """One part of a fold of the first study."""
    if name == "languages":
        return sides.test.codes
    if name in ("bigrams", "scratch"):
        return {"bigrams": bigrams, "scratch": scratch}[name](sides)
    if name == "outer rates":
        return outer_rates(sides, {name: stored(name)["setting"] for name in ("joint", "MAML")})
    if name == "stopped":
        setting = stored("MAML")["setting"]
        return {"joint": stopped(sides, joint, {}, settings["rates"][:2]),
                "MAML": stopped(sides, maml, setting, [setting["alpha"]])}
    runs = trained(sides, name)
    found = summary(sides, runs)
    if [design, fold] == settings["figure"] and name in ("joint", "MAML"):
        found["theta"] = packed(runs[0][0].learner.theta)
    return found


def run(settings, results, study="language"):
    """All of a study into its results, fold by fold."""
    @lru_cache(maxsize=1)
    def sides(design, fold):
        return Sides(settings if study == "language" else SETTINGS, design, fold)

    def work(design, fold, name):
        if name == "counts":
            return backing_off(sides(design, fold), settings, settings["shots"])
        stored = lambda other: results.stored[f"{design}/{fold}/{other}"]
        return comparison(settings, sides(design, fold), name, stored, design, fold)

    todo, costs = {}, {}
    for design in settings["designs"]:
        for fold in range(settings["n_folds"]):
            also = ["stopped", "outer rates"] if design == "language" else []
            names = ["languages", "bigrams", "scratch", *settings.get("contenders", ()), *also]
            for name in ["counts"] if study == "language_counts" else names:
                key = f"{design}/{fold}/{name}"
                todo[key], costs[key] = partial(work, design, fold, name), COSTS[name]
    results.each(todo, study, costs)


def run_growth(settings, results, study="language_growth"):
    """The third study, seed by seed, with the settings that the first one chose."""
    @lru_cache(maxsize=1)
    def fold_of(design, fold):
        runs = load_study(ROOT / "chapters/results/language.json", design).runs[fold]
        return Sides(SETTINGS, design, fold), {name: runs[name]["setting"] for name in settings["contenders"]}

    def work(design, fold, n_languages, seed):
        return fewer(settings, *fold_of(design, fold), n_languages, seed)

    results.each({f"{design}/{fold}/{n}/{seed}": partial(work, design, fold, n, seed)
                  for seed in settings["seeds"] for design in settings["designs"] for fold in range(settings["n_folds"])
                  for n in settings["n_languages"]}, study)


STUDIES = {"language": SETTINGS, "language_counts": COUNTING, "language_growth": GROWTH}


if __name__ == "__main__":
    for study in sys.argv[1:] or STUDIES:
        results = Results(ROOT / f".studies/{study}.json", STUDIES[study])
        (run_growth if study == "language_growth" else run)(STUDIES[study], results, study)
        results.finish(ROOT / f"chapters/results/{study}.json")
