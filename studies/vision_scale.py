"""New characters of 30 alphabets, ten held out in each of three folds: writes chapters/results/vision_scale.json.

Omniglot's whole background set at 28 × 28 pixels, and the fully connected net of the MAML paper. Of the twenty alphabets of
a fold that are not held out, four judge all choices, and sixteen are learned from, their characters turned by 90, 180 and 270
degrees too. Every method has two settings of its own, which compete at the middle one of three outer rates, and the better
one then at the other two, each for an eighth of the iterations. The best is trained in full, from the first seed and from the
others. At some looks on the way the validation alphabets choose how to adapt, among three rates and some numbers of steps,
and the held-out alphabets are judged with it: a learning curve. Three methods go on for several times as long, and are trained
for as long at a third of the outer rate too, as the competition was a short one.

The order is that of importance, so that an interrupted study is whole in what it has begun with.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
from vision import accuracies

from metacalc.data.characters import omniglot_background
from metacalc.descent import adam, clipped
from metacalc.meta import Learner, anil, fomaml, imaml, joint, maml, meta_sgd, reptile, with_rates
from metacalc.models import MLP
from metacalc.prototypes import Prototypes, protonet
from metacalc.studies import Results, best_adaptation, choose
from metacalc.tasks import FewShotClassification, Pooled, Shifted, nearest_mean

ROOT = Path(__file__).parent.parent
METHODS = {"MAML": maml, "joint": joint, "ProtoNet": protonet, "FOMAML": fomaml, "ANIL": anil, "Reptile": reptile,
           "Meta-SGD": meta_sgd, "iMAML": imaml}
SETTINGS = {
    "size": 28, "hidden": [256, 128, 64, 64], "n_way": 5, "shots": [1, 5], "n_folds": 3, "n_validation": 4, "seeds": [0, 1, 2],
    "n_tasks": 8, "n_query": 5, "shift": 2, "max_norm": 1.0, "outer": [0.003, 0.001, 0.01],
    "inner": {  # an iteration sees 240 images at one shot, if nothing else is said
        "MAML": [{"alpha": 0.4, "k": 1}, {"alpha": 0.2, "k": 3}],
        "joint": [{"n_examples": 80}, {"n_examples": 240}],
        "ProtoNet": [{"n_way": 5, "n_tasks": 8}, {"n_way": 20, "n_tasks": 2}],
        "FOMAML": [{"alpha": 0.4, "k": 1}, {"alpha": 0.1, "k": 3}],
        "ANIL": [{"alpha": 0.4, "k": 1}, {"alpha": 0.4, "k": 3}],
        "Reptile": [{"alpha": 0.03, "k": 5}, {"alpha": 0.1, "k": 5}],
        "Meta-SGD": [{"start": 0.05, "k": 1}, {"start": 0.2, "k": 1}],
        "iMAML": [{"alpha": 0.3, "k": 15, "lam": 0.1, "cg_steps": 3}, {"alpha": 0.3, "k": 15, "lam": 0.1, "cg_steps": 1}]},
    "n_iters": {"MAML": 1600, "joint": 1600, "ProtoNet": 1600, "FOMAML": 1600, "ANIL": 1600,
                "Reptile": 320, "Meta-SGD": 560, "iMAML": 200},  # an iteration of these three takes several times as long
    "looks": [4, 2, 1], "compete": 8,  # a look after each of these parts of the iterations
    "long": {"methods": ["MAML", "joint", "ProtoNet"], "looks": {"1": [4000, 8000], "5": [4000]}, "slower": 1 / 3},
    "reptile_shots": 10,  # it learns from support sets alone
    "joint_rate": 0.03, "factors": [0.3, 1.0, 3.0],  # rates to adapt with: these times the method's own
    "steps": [1, 3, 5, 10],
    "scratch_rates": [0.03, 0.1, 0.3, 1.0], "scratch_steps": [5, 10, 20, 50],
    "validation": [12, 15, 500], "test": [25, 15, 1000],  # tasks an alphabet, query examples a class, seed
}


class Fold:
    """One split at a number of shots: its tasks, and how a start θ is validated and tested."""

    def __init__(self, characters, fold, k_shots, settings):
        s = self.settings = settings
        scripts = characters.scripts
        test = scripts[fold::s["n_folds"]]
        rest = [script for script in scripts if script not in test]
        self.sides = characters.split(test, rest[fold::len(rest) // s["n_validation"]][:s["n_validation"]])
        self.k_shots, (train, *held_out) = k_shots, self.sides
        self.x, self.labels = characters.turned(train, held_out[0] + held_out[1])
        self.model = self.net(s["n_way"])
        self.validation, self.test = (characters.by_script(side, s["n_way"], k_shots, s[name][1])
                                      for side, name in zip(held_out, ("validation", "test")))

    def net(self, n_classes):
        """A classifier: what learns."""
        return MLP((self.settings["size"] ** 2, *self.settings["hidden"], n_classes), criterion="cross-entropy")

    def tasks(self, name, n_way=None, n_examples=None):
        """What a method is trained on."""
        s = self.settings
        if name == "joint":
            return Shifted(Pooled(self.x, self.labels, n_examples), s["shift"])
        shots, n_query = (s["reptile_shots"], 1) if name == "Reptile" else (self.k_shots, s["n_query"])
        return Shifted(FewShotClassification(self.x, self.labels, n_way or s["n_way"], shots, n_query), s["shift"])

    def validated(self, learner, among="steps"):
        """Share of wrong answers on validation tasks after 0, 1, ... steps, the mean over the alphabets; NaN where unasked."""
        steps, (n_tasks, _, seed) = self.settings[among], self.settings["validation"]
        found = np.full(max(steps) + 1, np.nan)
        found[steps] = 1 - np.mean([accuracies(learner, tasks, steps, n_tasks, seed)[0]
                                    for tasks in self.validation.values()], axis=0)
        return found

    def tested(self, best):
        """How it adapts, and the test accuracy of each alphabet."""
        n_tasks, _, seed = self.settings["test"]
        accuracy = {name: accuracies(best.learner, tasks, [best.steps], n_tasks, seed)[0][0].round(4)
                    for name, tasks in self.test.items()}
        return {"alpha": best.learner.alpha, "steps": best.steps, "accuracy": accuracy}

    def trained(self, name, setting, seed, looks, factors, judge=None, checkpoint=None):
        """What validates best in a training with one setting, and its learning curve; `looks` are iterations."""
        s, inner = self.settings, dict(setting)
        tasks = self.tasks(name, inner.pop("n_way", None), inner.pop("n_examples", None))
        start, model, score = inner.pop("start", None), self.model, self.validated
        rates = [factor * inner.get("alpha", s["joint_rate"]) for factor in factors]
        training = dict(n_iters=looks[-1], every=looks, rule=clipped(adam(), s["max_norm"]), dtype=np.float32, seed=seed,
                        n_tasks=inner.pop("n_tasks", s["n_tasks"]), progress=False, checkpoint=checkpoint,
                        checkpoint_every=looks[-1])
        if name == "joint":
            model = self.net(len(tasks.tasks.classes))
            training["n_tasks"] = 1

            def score(learner):
                return self.validated(Learner(*model.with_new_head(learner.theta, s["n_way"]), learner.alpha))
        if start:
            theta0 = with_rates(model.init(np.random.default_rng(seed), np.float32), start)
            training["theta0"] = lambda _: theta0
        return choose(METHODS[name], model, tasks, score, [inner], judge=judge and partial(judge, name, model),
                      rates=None if name in ("ProtoNet", "Meta-SGD") else rates, **training)

    def judged(self, name, model, best):
        """`tested`; a classifier is so under its new head, and then with the means of its features in the head's place."""
        if name != "joint":
            return self.tested(best)
        model, theta = model.with_new_head(best.learner.theta, self.settings["n_way"])
        nearest = self.tested(best._replace(learner=Prototypes(model, theta), steps=1))
        return self.tested(best._replace(learner=Learner(model, theta, best.learner.alpha))) | {
            "prototypes": nearest["accuracy"]}

    def nearest(self):
        """Accuracy of each alphabet by the nearest class mean of the pixels."""
        n_tasks, _, seed = self.settings["test"]
        batches = {name: tasks.sample(np.random.default_rng(seed), n_tasks) for name, tasks in self.test.items()}
        return {"accuracy": {name: (nearest_mean(b.x_support, b.y_support, b.x_query) == b.y_query).mean().round(4)
                             for name, b in batches.items()}}

    def scratch(self, seed):
        """Training from a random start, its rate and number of steps chosen on validation tasks."""
        start = Learner(self.model, self.model.init(np.random.default_rng(seed), np.float32))
        validated = partial(self.validated, among="scratch_steps")
        return self.tested(best_adaptation(start, validated, self.settings["scratch_rates"]))


def competed(fold, name):
    """The setting with the best validation accuracy after a part of the iterations, and those of all that were tried."""
    s, tried = fold.settings, []
    looks = [max(1, s["n_iters"][name] // s["compete"])]

    def compete(settings):
        for setting in settings:
            score = fold.trained(name, setting, s["seeds"][0], looks, [1.0]).score
            tried.append({"setting": setting, "validation": round(1 - score, 4)})
        return max(tried, key=lambda run: run["validation"])["setting"]

    first, *others = s["outer"]
    inner = compete([inner | {"eta": first} for inner in s["inner"][name]])
    return {"best": compete([inner | {"eta": eta} for eta in others]), "tried": tried}


def curve(fold, name, setting, seed, looks, checkpoint=None):
    """The learning curve of a setting, with the test accuracies at every look, and the seconds of processor time it took."""
    began = time.process_time()
    best = fold.trained(name, setting, seed, looks, fold.settings["factors"], fold.judged, checkpoint)
    seen = [{"iteration": look.iteration, "validation": round(1 - look.score, 4)} | look.judged for look in best.curve]
    return {"seconds": round(time.process_time() - began, 1), "curve": seen}


def counted(characters, folds):
    """How much there is to learn from, and to be judged on: classes of training, validation and test, fold by fold."""
    return {"alphabets": len(characters.scripts), "classes": len(characters.classes), "images": len(characters.x),
            "split": [[len(side) for side in fold.sides] for fold in folds],
            "with turns": [len(np.unique(fold.labels)) for fold in folds]}


def todo(settings, results, characters, kind=Fold):
    """All work by its key, in the order of its importance: an interrupted study is whole in what it has begun with."""
    s = settings
    folds = {f"{i}/{k}": kind(characters, i, k, s) for k in s["shots"] for i in range(s["n_folds"])}
    work = {"data": partial(counted, characters, list(folds.values())[:s["n_folds"]])}
    first, *others = s["seeds"]
    for where, fold in folds.items():
        work[f"{where}/pixels"], work[f"{where}/scratch/{first}"] = fold.nearest, partial(fold.scratch, first)

    def add(name, seed):
        for where, fold in folds.items():
            key = f"{where}/{name}"
            if seed == first:
                work[f"{key}/settings"] = partial(competed, fold, name)
            work[f"{key}/{seed}"] = partial(full, fold, key, seed, results)

    *most, last = s["inner"]
    for name in most:
        add(name, first)
    for where, fold in folds.items():
        for name in s["long"]["methods"]:
            key = f"{where}/{name}"
            work[f"{key}/{first}/long"] = partial(full, fold, key, first, results, True)
            if s["long"]["slower"]:
                work[f"{key}/{first}/slower"] = partial(slower, fold, key, first, results)
    add(last, first)
    for seed in others:
        for name in s["inner"]:
            add(name, seed)
        work |= {f"{where}/scratch/{seed}": partial(fold.scratch, seed) for where, fold in folds.items()}
    return work


def full(fold, key, seed, results, long=False):
    """A method's training in full, or for longer; the latter goes on from where the former ended."""
    s, name = fold.settings, key.split("/")[-1]
    checkpoint = None
    if name in s["long"]["methods"] and seed == s["seeds"][0]:
        checkpoint = results.path.with_name(f"{results.path.stem}_{key.replace('/', '_')}_{seed}.npz")
    usual = [max(1, s["n_iters"][name] // part) for part in s["looks"]]
    looks = s["long"]["looks"][str(fold.k_shots)] if long else usual
    found = curve(fold, name, results.stored[f"{key}/settings"]["best"], seed, looks, checkpoint)
    if long and checkpoint:
        checkpoint.unlink(missing_ok=True)
    return found


def slower(fold, key, seed, results):
    """A longer training from the start, at a part of the outer rate."""
    s, name = fold.settings, key.split("/")[-1]
    setting = results.stored[f"{key}/settings"]["best"]
    looks = [s["n_iters"][name], *s["long"]["looks"][str(fold.k_shots)]]
    return curve(fold, name, setting | {"eta": setting["eta"] * s["long"]["slower"]}, seed, looks)


def run(settings, results, characters, kind=Fold):
    """All folds and shots, seed by seed; each result under "fold/shots/method/seed"."""
    work = todo(settings, results, characters, kind)
    results.each(work, "vision at scale", {key: 4.0 if key.endswith(("long", "slower")) else 1.0 for key in work})


if __name__ == "__main__":
    results = Results(ROOT / ".studies/vision_scale.json", SETTINGS)
    run(SETTINGS, results, omniglot_background(SETTINGS["size"]))
    results.finish(ROOT / "chapters/results/vision_scale.json")
