"""New characters from one or five examples, whole alphabets held out: writes chapters/results/vision.json.

Omniglot, in four folds: two alphabets for the test, one for all choices, five to learn from; characters that look like
one of a held-out alphabet are left out of the five. A method's inner settings compete for a quarter of the iterations.
With the best of them it is trained in full at every outer rate, the same rates for all methods, and where the best of
these is the smallest or the largest, at the next one beyond. The validation alphabet judges, and says when to stop and
how to adapt. The best is trained from further seeds. Then the same on printed characters, from one seed, for the θ's
that the chapter's live figure shows.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from metacalc.data.characters import omniglot, printed_characters
from metacalc.descent import adam, clipped
from metacalc.meta import Learner, anil, fomaml, joint, maml, reptile
from metacalc.models import MLP
from metacalc.studies import Results, best_adaptation, choose, packed
from metacalc.tasks import Shifted, nearest_mean

ROOT = Path(__file__).parent.parent
METHODS = {"MAML": maml, "FOMAML": fomaml, "Reptile": reptile, "ANIL": anil}
SETTINGS = {
    "size": 14, "hidden": [128, 64], "n_way": 5, "shots": [1, 5],
    "folds": [  # test alphabets and the validation alphabet; those who share letters stand on the same side
        [["Greek", "Latin"], ["Korean"]], [["Balinese", "Korean"], ["Sanskrit"]],
        [["Early_Aramaic", "Sanskrit"], ["Japanese_(katakana)"]], [["Japanese_(katakana)", "Tagalog"], ["Balinese"]]],
    "seeds": [0, 1], "n_tasks": 8, "n_query": 5, "shift": 1, "max_norm": 1.0,
    "n_iters": {"MAML": 2000, "FOMAML": 2000, "Reptile": 800, "ANIL": 1200, "joint": 2600}, "looks": 4,
    "outer": [0.001, 0.003, 0.01], "beyond": [0.0003, 0.03],  # outer rates, for everyone; tried where the best is at an edge
    "inner": {  # compete at the outer rate "heat"
        "MAML": [{"alpha": 0.4, "k": 3}, {"alpha": 0.2, "k": 5}],
        "FOMAML": [{"alpha": 0.2, "k": 3}, {"alpha": 0.1, "k": 5}],
        "Reptile": [{"alpha": 0.03, "k": 10}],
        "ANIL": [{"alpha": 0.4, "k": 3}, {"alpha": 0.2, "k": 5}],
        "joint": [{}]},
    "reptile_shots": 10,  # it learns from support sets alone: with one shot, from nothing but the shot that it fits
    "rates": [0.002, 0.005, 0.01, 0.03, 0.1],  # to adapt with, where the training names none
    "scratch_rates": [0.1, 0.3, 1.0, 3.0], "n_steps": 50, "pool": 100, "heat": 0.003,
    "validation": [24, 10, 500], "test": [120, 15, 1000],  # tasks an alphabet, query examples a class, seed
    "clipping": {"inner": {"alpha": 0.4, "k": 3}, "n_iters": 800},
}
PRINTED = SETTINGS | {  # 12 images a class
    "hidden": [64, 32], "shots": [1], "folds": [[["Georgian", "Lao"], ["Hebrew", "Old Italic"]]], "seeds": [0],
    "inner": {name: SETTINGS["inner"][name] for name in ("MAML", "joint")},
    "validation": [24, 7, 500], "test": [120, 7, 1000]}


@np.errstate(all="ignore")
def accuracies(learner, tasks, steps, n_tasks, seed, chunk=40):
    """Mean accuracy after each of some numbers of steps, and its deviation over tasks. A task that overflows has 0.

    `evaluate` would leave that task out, and a start that loses tasks would gain by it; and it works out losses, which
    nobody asks for here. Otherwise both agree.
    """
    found = []
    for i in range(max(1, n_tasks // chunk)):
        batch = tasks.sample(np.random.default_rng(seed + i), min(chunk, n_tasks))
        right = []
        for step, phi in enumerate(learner.iterates(batch.x_support, batch.y_support, max(steps))):
            if step in steps:
                p = learner.model.predict(phi, batch.x_query)
                right.append(((p.argmax(axis=-1) == batch.y_query) & np.isfinite(p).all(axis=-1)).mean(axis=-1))
        found.append(right)
    found = np.concatenate(found, axis=1)
    return found.mean(axis=1), found.std(axis=1, ddof=1)


class Fold:
    """One split at a number of shots: its tasks, and how a start θ is validated and tested."""

    def __init__(self, characters, split, k_shots, settings):
        self.settings, self.k_shots, self.characters = settings, k_shots, characters
        self.train, *held_out = split
        self.model = MLP((settings["size"] ** 2, *settings["hidden"], settings["n_way"]), criterion="cross-entropy")
        self.validation, self.test = (
            characters.by_script(classes, settings["n_way"], k_shots, n_query)
            for classes, (_, n_query, _) in zip(held_out, (settings["validation"], settings["test"])))

    def tasks(self, name, shift):
        """What a method is trained on."""
        s = self.settings
        if name == "joint":
            tasks = self.characters.pool(self.train, s["pool"])
        else:
            shots, n_query = (s["reptile_shots"], 1) if name == "Reptile" else (self.k_shots, s["n_query"])
            tasks = self.characters.tasks(self.train, s["n_way"], shots, n_query)
        return Shifted(tasks, shift) if shift else tasks

    def validated(self, learner):
        """Share of wrong answers on validation tasks after 0, 1, ... steps: the mean over the alphabets."""
        n_tasks, _, seed = self.settings["validation"]
        steps = range(self.settings["n_steps"] + 1)
        return 1 - np.mean([accuracies(learner, tasks, steps, n_tasks, seed)[0] for tasks in self.validation.values()], axis=0)

    def tested(self, best):
        """Test accuracy of each alphabet after the chosen number of steps, and its deviation over tasks."""
        n_tasks, _, seed = self.settings["test"]
        found = {name: accuracies(best.learner, tasks, [best.steps], n_tasks, seed) for name, tasks in self.test.items()}
        return {"alpha": best.learner.alpha, "steps": best.steps,
                "accuracy": {name: mean[0].round(4) for name, (mean, _) in found.items()},
                "deviation": {name: deviation[0].round(4) for name, (_, deviation) in found.items()}}

    def trained(self, name, setting, seed, n_iters, looks, shift, max_norm, progress, method=None):
        """The best learner of a run with one setting, as `choose` chooses, and all starts that were looked at."""
        s, seen = self.settings, []
        rule = adam() if max_norm is None else clipped(adam(), max_norm)
        training = dict(n_iters=n_iters, every=max(1, n_iters // looks), rule=rule, dtype=np.float32, seed=seed,
                        progress=progress)
        if name != "joint":
            return choose(method or METHODS[name], self.model, self.tasks(name, shift), self.validated, [setting],
                          n_tasks=s["n_tasks"], rates=s["rates"] if name == "Reptile" else None, **training), seen
        classifier = MLP((s["size"] ** 2, *s["hidden"], len(self.train)), criterion="cross-entropy")

        def fresh(learner):
            return Learner(*classifier.with_new_head(learner.theta, s["n_way"]), learner.alpha)

        def score(learner):
            if not (seen and seen[-1] is learner.theta):
                seen.append(learner.theta)
            return self.validated(fresh(learner))

        best = choose(joint, classifier, self.tasks(name, shift), score, [setting], rates=s["rates"], n_tasks=1, **training)
        starts = [classifier.with_new_head(theta, s["n_way"])[1] for theta in seen]
        return best._replace(learner=fresh(best.learner)), starts

    def nearest(self, side, features=lambda x: x):
        """Accuracy of each alphabet by the nearest class mean."""
        n_tasks, _, seed = self.settings[side]
        batches = {name: tasks.sample(np.random.default_rng(seed), n_tasks) for name, tasks in getattr(self, side).items()}
        return {name: (nearest_mean(features(b.x_support), b.y_support, features(b.x_query)) == b.y_query).mean().round(4)
                for name, b in batches.items()}

    def prototypes(self, starts):
        """Nearest class mean on a classifier's features, as they are or of length 1: what validates best."""
        on = [(look, length, partial(_features, self.model, theta, length)) for look, theta in enumerate(starts, start=1)
              for length in ("free", "one")]
        look, length, features = max(on, key=lambda way: np.mean(list(self.nearest("validation", way[-1]).values())))
        return {"look": look, "length": length, "accuracy": self.nearest("test", features)}

    def scratch(self, seed):
        """Training from a random start, its rate and number of steps chosen on validation tasks."""
        start = Learner(self.model, self.model.init(np.random.default_rng(seed), np.float32))
        return self.tested(best_adaptation(start, self.validated, self.settings["scratch_rates"]))


def _features(model, theta, length, x):
    features = model.features(theta, x)
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-9) if length == "one" else features


def competed(fold, name, shift, progress):
    """Each inner setting's validation accuracy after a quarter of the iterations, at one outer rate."""
    s = fold.settings
    runs = [fold.trained(name, inner | {"eta": s["heat"]}, 0, max(1, s["n_iters"][name] // s["looks"]), 1, shift, s["max_norm"],
                         progress)[0]
            for inner in s["inner"][name]]
    return [round(1 - best.score, 4) for best in runs]


def full(fold, name, kind, shift, seed, once, progress, weights=False):
    """A method trained in full at every outer rate from the first seed, and from `seed` at the rate that validates best."""
    s, inner = fold.settings, fold.settings["inner"][name]
    if len(inner) > 1:
        inner = [inner[int(np.argmax(once(f"{kind}/inner", lambda: competed(fold, name, shift, progress))))]]

    def at(eta, seed):
        return once(f"{kind}/{eta}/{seed}",
                    lambda: full_run(fold, name, inner[0] | {"eta": eta}, seed, shift, progress))["validation"]

    first = {eta: at(eta, s["seeds"][0]) for eta in s["outer"]}
    for edge, eta in zip((min(s["outer"]), max(s["outer"])), s["beyond"]):
        if max(first, key=first.get) == edge:
            first[eta] = at(eta, s["seeds"][0])
    best = max(first, key=first.get)
    at(best, seed)
    if weights:
        once(f"{kind}/start",
             lambda: full_run(fold, name, inner[0] | {"eta": best}, s["seeds"][0], shift, progress, weights=True))


def full_run(fold, name, setting, seed, shift, progress, weights=False):
    """A setting trained in full; the θ that validates best, tested."""
    s = fold.settings
    best, starts = fold.trained(name, setting, seed, s["n_iters"][name], s["looks"], shift, s["max_norm"], progress)
    result = {"setting": setting, "iteration": best.iteration, "validation": round(1 - best.score, 4)}
    result |= fold.tested(best)
    if starts:
        result["prototypes"] = fold.prototypes(starts)
    return result | ({"theta": packed(best.learner.theta)} if weights else {})


def unclipped(fold, max_norm, progress):
    """MAML with or without clipping, at the outer rate that validates best, and how long its outer gradients were."""
    s, runs = fold.settings, []
    for eta in s["outer"]:
        norms = []

        def recorded(*args, **settings):
            loss, gradient = maml(*args, **settings)
            norms.append(np.linalg.norm(gradient))
            return loss, gradient

        best, _ = fold.trained("MAML", s["clipping"]["inner"] | {"eta": eta}, 0, s["clipping"]["n_iters"], 4, s["shift"],
                               max_norm, progress, recorded)
        runs.append((best, norms))
    best, norms = min(runs, key=lambda run: run[0].score)
    return {"eta": best.setting["eta"], "tried": [round(1 - run.score, 4) for run, _ in runs],
            "norms": np.quantile(norms, [0.5, 0.9, 0.99, 1]), **fold.tested(best)}


def run(settings, results, characters, progress=True, weights=False, prefix=""):
    """All folds and shots, seed by seed; each result under "fold/shots/method/outer rate/seed"."""
    folds = {f"{prefix}{i}/{k_shots}": Fold(characters, characters.split(*split), k_shots, settings)
             for i, split in enumerate(settings["folds"]) for k_shots in settings["shots"]}
    for seed in settings["seeds"]:
        for where, fold in folds.items():
            once = lambda name, work: results.once(f"{where}/{name}", work)
            once("pixels", lambda: {"accuracy": fold.nearest("test")})
            once(f"scratch/{seed}", lambda: fold.scratch(seed))
            for name in settings["inner"]:
                kinds = [(name, settings["shift"])]
                if fold.k_shots == 1 and name in ("MAML", "joint") and not weights:
                    kinds.append((f"{name}/not shifted", 0))
                for kind, shift in kinds:
                    full(fold, name, kind, shift, seed, once, progress, weights)
            print(f"seed {seed}, {where}: done", flush=True)


def run_clipping(settings, results, characters, progress=True):
    """One-shot MAML on images as they are, and standardised to mean 0 and variance 1, with and without clipping."""
    x = characters.x
    for images, seen in (("ink", characters), ("standardised", replace(characters, x=(x - x.mean()) / x.std()))):
        for i, (test, validation) in enumerate(settings["folds"]):
            fold = Fold(seen, characters.split(test, validation), 1, settings)
            for max_norm in (None, settings["max_norm"]):
                results.once(f"clipping/{images}/{'free' if max_norm is None else 'clipped'}/{i}",
                             lambda: unclipped(fold, max_norm, progress))
    print("clipping: done", flush=True)


if __name__ == "__main__":
    results = Results(ROOT / ".studies/vision.json", {"omniglot": SETTINGS, "printed": PRINTED})
    run(PRINTED, results, printed_characters(PRINTED["size"]), weights=True, prefix="printed/")
    characters = omniglot(SETTINGS["size"])
    results.once("data",
                 lambda: {"alphabets": len(characters.scripts), "classes": len(characters.classes), "images": len(characters.x),
                          "split": [[len(side) for side in characters.split(*split)] for split in SETTINGS["folds"]]})
    run(SETTINGS | {"seeds": SETTINGS["seeds"][:1]}, results, characters)
    run_clipping(SETTINGS, results, characters)
    run(SETTINGS, results, characters)
    results.finish(ROOT / "chapters/results/vision.json")
