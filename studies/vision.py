"""New characters from one or five examples, whole alphabets held out: writes chapters/results/vision.json.

Omniglot, in four folds: two alphabets for the test, one for all choices, five to learn from; characters that look like
one of a held-out alphabet are left out of the five. A method's settings compete for a quarter of the iterations, the
best of them on the validation alphabet is trained in full, and that alphabet says when to stop and how to adapt. Then
the same on printed characters, once, for the θ's that the chapter's live figure shows.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from metacalc.descent import adam, clipped
from metacalc.meta import anil, fomaml, joint, maml, reptile
from metacalc.models import MLP
from metacalc.practice import packed
from metacalc.studies import Results, choose
from metacalc.tasks import Shifted, nearest_mean, omniglot, printed_characters
from metacalc.training import evaluate

ROOT = Path(__file__).parent.parent
METHODS = {"MAML": maml, "FOMAML": fomaml, "Reptile": reptile, "ANIL": anil}
SETTINGS = {
    "size": 14, "hidden": [128, 64], "n_way": 5, "shots": [1, 5],
    "folds": [  # test alphabets and the validation alphabet; those who share letters stand on the same side
        [["Greek", "Latin"], ["Korean"]], [["Balinese", "Korean"], ["Sanskrit"]],
        [["Early_Aramaic", "Sanskrit"], ["Japanese_(katakana)"]], [["Japanese_(katakana)", "Tagalog"], ["Balinese"]]],
    "seeds": [0], "n_tasks": 8, "n_query": 5, "shift": 1, "max_norm": 1.0,
    "n_iters": {"MAML": 2000, "FOMAML": 2000, "Reptile": 800, "ANIL": 1200, "joint": 2600}, "looks": 4,
    "settings": {
        "MAML": [{"alpha": 0.4, "k": 3, "eta": 0.001}, {"alpha": 0.2, "k": 5, "eta": 0.001}],
        "FOMAML": [{"alpha": 0.2, "k": 3, "eta": 0.001}, {"alpha": 0.1, "k": 5, "eta": 0.001}, {"alpha": 0.1, "k": 5, "eta": 0.003}],
        "Reptile": [{"alpha": 0.03, "k": 10, "eta": 0.01}],
        "ANIL": [{"alpha": 0.4, "k": 3, "eta": 0.001}],
        "joint": [{"eta": 0.001}]},
    "reptile_shots": 10,  # it learns from support sets alone: with one shot, from nothing but the shot that it fits
    "rates": [0.01, 0.03, 0.1],  # to adapt with, where the training names none
    "n_steps": 20, "scratch_rates": [0.1, 0.3, 1.0], "scratch_steps": 30, "pool": 100,
    "validation": [24, 10, 500], "test": [120, 15, 1000],  # tasks an alphabet, query examples a class, seed
    "clipping": {"setting": {"alpha": 0.4, "k": 3, "eta": 0.001}, "n_iters": 800},
}
PRINTED = SETTINGS | {  # 12 images a class
    "hidden": [64, 32], "shots": [1], "folds": [[["Georgian", "Lao"], ["Hebrew", "Old Italic"]]],
    "settings": {name: SETTINGS["settings"][name] for name in ("MAML", "joint")},
    "validation": [24, 7, 500], "test": [120, 7, 1000]}


def accuracies(model, theta, alpha, tasks, n_steps, n_tasks, seed, only=None, chunk=40):
    """Mean accuracy after 0, ..., n_steps steps, and its standard deviation over tasks. A task that overflows has 0."""
    parts = [evaluate(model, theta, tasks, alpha, steps=range(n_steps + 1), n_tasks=min(chunk, n_tasks), seed=seed + i, metric="accuracy",
                      limit=np.inf, only=only) for i in range(max(1, n_tasks // chunk))]
    mean = np.mean([part.mean * (1 - part.diverged) for part in parts], axis=0)
    return mean, np.sqrt(np.mean([min(chunk, n_tasks) * (part.ci / 1.96) ** 2 for part in parts], axis=0))


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

    def validated(self, theta, alpha, only=None, n_steps=None):
        """Validation accuracy after 0, 1, ... steps: the mean over the alphabets."""
        n_tasks, _, seed = self.settings["validation"]
        n_steps = self.settings["n_steps"] if n_steps is None else n_steps
        return np.mean([accuracies(self.model, theta, alpha, tasks, n_steps, n_tasks, seed, only)[0]
                        for tasks in self.validation.values()], axis=0)

    def tested(self, theta, alpha, steps, only=None, n_steps=None):
        """Test accuracy of each alphabet after the chosen number of steps and after all, and its deviation over tasks."""
        n_tasks, _, seed = self.settings["test"]
        n_steps = self.settings["n_steps"] if n_steps is None else n_steps
        found = {name: accuracies(self.model, theta, alpha, tasks, n_steps, n_tasks, seed, only) for name, tasks in self.test.items()}
        return {"alpha": alpha, "steps": steps, "accuracy": {name: mean[steps].round(4) for name, (mean, _) in found.items()},
                "deviation": {name: deviation[steps].round(4) for name, (_, deviation) in found.items()},
                "curve": np.mean([mean for mean, _ in found.values()], axis=0).round(4)}

    def trained(self, name, setting, seed, n_iters, looks, shift, max_norm, progress, method=None):
        """The best θ of a run with one setting, as `choose` chooses, and all starts that were looked at."""
        s, only, seen = self.settings, self.model.head if name == "ANIL" else None, []
        rule = adam() if max_norm is None else clipped(adam(), max_norm)
        training = dict(n_iters=n_iters, every=max(1, n_iters // looks), rule=rule, dtype=np.float32, seed=seed, progress=progress)
        if name != "joint":
            score = lambda theta, alpha: 1 - self.validated(theta, alpha, only)
            return choose(method or METHODS[name], self.model, self.tasks(name, shift), score, [setting], n_tasks=s["n_tasks"],
                          rates=s["rates"] if name == "Reptile" else None, **training), seen
        classifier = MLP((s["size"] ** 2, *s["hidden"], len(self.train)), criterion="cross-entropy")

        def score(theta, alpha):
            if not (seen and seen[-1] is theta):
                seen.append(theta)
            return 1 - self.validated(classifier.with_new_head(theta, s["n_way"])[1], alpha)

        best = choose(joint, classifier, self.tasks(name, shift), score, [setting], rates=s["rates"], n_tasks=1, **training)
        starts = [classifier.with_new_head(theta, s["n_way"])[1] for theta in seen]
        return best._replace(theta=classifier.with_new_head(best.theta, s["n_way"])[1]), starts

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
        theta, s = self.model.init(np.random.default_rng(seed), np.float32), self.settings
        scores = np.array([self.validated(theta, alpha, n_steps=s["scratch_steps"]) for alpha in s["scratch_rates"]])
        rate, steps = np.unravel_index(scores.argmax(), scores.shape)
        return self.tested(theta, s["scratch_rates"][rate], int(steps), n_steps=s["scratch_steps"])


def _features(model, theta, length, x):
    features = model.features(theta, x)
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-9) if length == "one" else features


def competed(fold, name, progress):
    """Validation accuracy of each setting after a quarter of the iterations."""
    s = fold.settings
    grid, n_iters = s["settings"][name], max(1, s["n_iters"][name] // s["looks"])
    return [1 - fold.trained(name, setting, 0, n_iters, 1, s["shift"], s["max_norm"], progress)[0].score for setting in grid]


def compared(fold, name, setting, seed, progress, shift=None, weights=False):
    """A setting trained in full; the θ that validates best, tested."""
    s = fold.settings
    best, starts = fold.trained(name, setting, seed, s["n_iters"][name], s["looks"], s["shift"] if shift is None else shift,
                                s["max_norm"], progress)
    result = {"setting": setting, "iteration": best.iteration, "validation": round(1 - best.score, 4)}
    result |= fold.tested(best.theta, best.alpha, best.steps, fold.model.head if name == "ANIL" else None)
    if starts:
        result["prototypes"] = fold.prototypes(starts)
    return result | ({"theta": packed(best.theta)} if weights else {})


def unclipped(fold, max_norm, progress):
    """MAML with and without clipping, nothing else changed, and how long the gradients of its outer loop were."""
    norms = []

    def recorded(*args, **settings):
        loss, gradient = maml(*args, **settings)
        norms.append(np.linalg.norm(gradient))
        return loss, gradient

    s = fold.settings
    best, _ = fold.trained("MAML", s["clipping"]["setting"], 0, s["clipping"]["n_iters"], 4, s["shift"], max_norm, progress, recorded)
    return {"norms": np.quantile(norms, [0.5, 0.9, 0.99, 1]), "validation": round(1 - best.score, 4),
            **fold.tested(best.theta, best.alpha, best.steps)}


def run(settings, results, characters, progress=True, weights=False, prefix=""):
    """All folds and shots; each result under "fold/shots/method/seed"."""
    for i, (test, validation) in enumerate(settings["folds"]):
        for k_shots in settings["shots"]:
            fold = Fold(characters, characters.split(test, validation), k_shots, settings)
            once = lambda name, work: results.once(f"{prefix}{i}/{k_shots}/{name}", work)
            once("pixels", lambda: {"accuracy": fold.nearest("test")})
            for seed in settings["seeds"]:
                once(f"scratch/{seed}", lambda: fold.scratch(seed))
            for name, grid in settings["settings"].items():
                scores = once(f"{name}/settings", lambda: competed(fold, name, progress)) if len(grid) > 1 else [0]
                best = grid[int(np.argmax(scores))]
                for seed in settings["seeds"]:
                    once(f"{name}/{seed}", lambda: compared(fold, name, best, seed, progress, weights=weights))
                if k_shots == 1 and name in ("MAML", "joint") and not weights:
                    once(f"{name}/not shifted", lambda: compared(fold, name, best, 0, progress, shift=0))
            print(f"fold {i}, {k_shots} shots: done", flush=True)


def run_clipping(settings, results, characters, progress=True):
    """One-shot MAML on images as they are, and standardised to mean 0 and variance 1, with and without clipping."""
    x = characters.x
    for images, seen in (("ink", characters), ("standardised", replace(characters, x=(x - x.mean()) / x.std()))):
        for i, (test, validation) in enumerate(settings["folds"]):
            fold = Fold(seen, characters.split(test, validation), 1, settings)
            for max_norm in (None, settings["max_norm"]):
                results.once(f"clipping/{images}/{'free' if max_norm is None else 'clipped'}/{i}", lambda: unclipped(fold, max_norm, progress))
    print("clipping: done", flush=True)


if __name__ == "__main__":
    results = Results(ROOT / ".studies/vision.json", {"omniglot": SETTINGS, "printed": PRINTED})
    run(PRINTED, results, printed_characters(PRINTED["size"]), weights=True, prefix="printed/")
    characters = omniglot(SETTINGS["size"])
    run(SETTINGS, results, characters)
    run_clipping(SETTINGS, results, characters)
    results.write(ROOT / "chapters/results/vision.json")
    results.path.unlink()
