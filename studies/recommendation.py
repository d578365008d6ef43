"""Recommendation: a new person's ratings of cuisines from a few of theirs. Writes chapters/results/recommendation.json.

People are held out in five folds; of the others, some are validation people, on whom every choice is made: settings,
stopping, inner rate and steps, hyperparameters. The unit of all intervals is the person. Run by `make studies`.
"""

from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from metacalc.course.gaussian import GaussianPrior, damped_offset
from metacalc.data.food import food_world_cup, person_folds
from metacalc.descent import adam, clipped
from metacalc.meta import Learner, anil, fomaml, joint, maml, reptile
from metacalc.models import MLP, linear_regression
from metacalc.studies import Results, best_adaptation, choose, interval
from metacalc.tasks import RatingTasks
from metacalc.training import meta_train, one_thread

ROOT = Path(__file__).parent.parent
FINAL, PARTIAL = ROOT / "chapters/results/recommendation.json", ROOT / ".studies/recommendation.json"
SETTINGS = {
    "min_ratings": 15, "light_ratings": 8, "n_folds": 5, "n_validation": 100, "split_seed": 0, "shots": [2, 5, 10],
    "draws": 10, "validation_draws": 4, "episode_seed": 100, "hidden": 16, "activation": "tanh", "seed": 0, "more_seeds": [1],
    "n_iters": 2000, "every": 200, "eta": 3e-3, "n_tasks": 25, "max_steps": 10,
    "inner": [{"alpha": 0.3, "k": 1}, {"alpha": 0.1, "k": 3}, {"alpha": 0.1, "k": 5}, {"alpha": 0.2, "k": 5}],
    "joint_iters": 3000, "rates": [0.01, 0.03, 0.1, 0.2, 0.3], "scratch_rates": [0.03, 0.1, 0.2, 0.3, 0.5],
    "ratios": [0.5, 1, 1.5, 2, 3, 4, 6, 8, 12], "noise": [0.2, 0.3, 0.4, 0.5, 0.6], "strength": [0, 30, 100, 300, 1000],
    "spread": 0.25, "em_iters": 30, "narrow_strength": 100,
    "feature_rates": [0.05, 0.1, 0.2, 0.3], "feature_steps": 60,
    "inner_steps": [1, 2, 3, 5, 10], "inner_rate": 0.1, "overtrained_iters": 9000, "clip": 1.0, "live_shots": 3,
    "outer_rates": [1e-3, 9e-3],
}
META = {"MAML": maml, "FOMAML": fomaml, "Reptile": reptile, "ANIL": anil}
METHODS = ["item mean", "damped offset", "from scratch", "joint + fine-tuning", *META, "Gaussian prior",
           "descent on its features"]


class Fold:
    """The people of one fold, and what is asked of a learner there."""

    def __init__(self, settings, ratings, people, number):
        s = self.settings = settings
        self.number, self.people = number, people
        self.train, self.validation, self.test = (ratings[side] for side in people)
        self.n_items = ratings.shape[1]
        self.model = MLP((self.n_items, s["hidden"], 1), activation=s["activation"])
        # How often an item is rated, for weights that undo it; from the training people.
        self.rated = (~np.isnan(self.train)).mean(axis=0)

    def at(self, eta):
        """The same fold, to be trained at another outer rate; at a smaller one for as many more iterations."""
        s, other = self.settings, copy(self)
        longer = max(1, round(s["eta"] / eta))
        other.settings = s | {"eta": eta, **{key: longer * s[key] for key in ("n_iters", "joint_iters", "every")}}
        return other

    def tasks(self, K):
        return RatingTasks(self.train, K, self.settings["min_ratings"] - K)

    def start(self, seed):
        """Random θ, its output moved to the mean training rating."""
        theta = self.model.init(np.random.default_rng([self.number, seed]))
        theta[-1] = np.nanmean(self.train)
        return theta

    def score(self, K, only=None, steps=None, x=None):
        """What `choose` asks of a learner: mean squared error over validation people after 0, 1, ... steps.

        `only` are the entries of θ that move, unless the learner has its own; x are the items' features, one-hot unless given.
        """
        s = self.settings
        episodes = Episodes(self.validation, K, s["validation_draws"], s["episode_seed"] + 10 * K)

        def score(learner):
            learner = learner if only is None else replace(learner, only=only)
            return np.array([episodes.errors(z).mean()
                             for z in adapted(learner, episodes, s["max_steps"] if steps is None else steps, x)])
        return score

    def judged(self, predict, K, also=()):
        """What is kept of a learner that has been chosen for K ratings: its errors on the test people of the fold."""
        s = self.settings
        out = {}
        for shots in (K, *also):
            episodes = Episodes(self.test, shots, s["draws"], s["episode_seed"] + shots)
            z = predict(episodes)
            out[f"errors {shots}"] = episodes.errors(z)
            if shots == K:
                out["weighted"] = episodes.errors(z, 1 / self.rated)
                squared = episodes.squared(z)
                out["items"] = [squared.sum(axis=0), episodes.query.sum(axis=0)]
                each = squared[episodes.query]
                out["single"] = [each.size, each.sum(), (each**2).sum()]
        return out


class Episodes:
    """Draws of K ratings to learn from, the same for every method, and all other ratings to be judged on."""

    def __init__(self, ratings, K, draws, seed):
        self.draws, self.n_people = draws, len(ratings)
        people, self.items, self.query = RatingTasks(ratings, K, 1).episodes(np.random.default_rng(seed), draws)
        self.y = np.take_along_axis(ratings[people], self.items, axis=1)
        self.truth = np.nan_to_num(ratings[people])

    def squared(self, z):
        """Squared errors of predictions z, shape (n_people · draws, n_items); 0 where nothing is to be judged on."""
        return np.where(self.query, (z - self.truth) ** 2, 0)

    def errors(self, z, weights=1.0):
        """Mean squared error of each person over the draws."""
        weights = weights * self.query
        means = (weights * self.squared(z)).sum(axis=1) / weights.sum(axis=1)
        return means.reshape(self.n_people, self.draws).mean(axis=1)


def adapted(learner, episodes, steps, x=None):
    """Predictions of all items after 0, 1, ..., `steps` inner steps, each of shape (n_episodes, n_items)."""
    x = np.eye(learner.model.sizes[0]) if x is None else x
    with np.errstate(all="ignore"):
        return [np.broadcast_to(learner.model.predict(phi, x)[..., 0], episodes.truth.shape)
                for phi in learner.iterates(x[episodes.items], episodes.y[..., None], steps)]


def after(best, x=None):
    """The learner itself: predictions for episodes after the number of steps that was chosen."""
    return lambda episodes: adapted(best.learner, episodes, best.steps, x)[best.steps]


def gradient_method(fold, name, K, seed, inner=None, rule=None, also=()):
    """Meta-training with all choices made on the validation people; its errors on the test people."""
    s = fold.settings
    best = choose(META[name], fold.model, fold.tasks(K), fold.score(K), s["inner"] if inner is None else inner,
                  n_iters=s["n_iters"], every=s["every"], eta=s["eta"], rule=rule, n_tasks=s["n_tasks"],
                  theta0=lambda setting: fold.start(seed), seed=seed, progress=False)
    return chosen(best) | fold.judged(after(best), K, also), best


def chosen(best):
    return {"setting": best.setting, "alpha": best.learner.alpha, "steps": best.steps, "iteration": best.iteration,
            "validation": best.score}


def pre_training(fold, K, seed, also=()):
    """Joint training on all ratings; whether the whole net or its head is fine-tuned is a choice like the others."""
    s, tries = fold.settings, []
    for only in (None, fold.model.head):
        best = choose(joint, fold.model, fold.tasks(K), fold.score(K, only), [{}], n_iters=s["joint_iters"], every=s["every"],
                      eta=s["eta"], n_tasks=s["n_tasks"], rates=s["rates"], theta0=lambda setting: fold.start(seed), seed=seed,
                      progress=False)
        tries.append(best._replace(learner=replace(best.learner, only=only)))
    best = min(tries, key=lambda one: one.score)
    return chosen(best) | {"head": best.learner.only is not None} | fold.judged(after(best), K, also), best


def scratch(fold, K):
    """A random net whose output starts at 3, the middle of the scale, trained on the K ratings alone."""
    s, theta = fold.settings, fold.start(fold.settings["seed"])
    theta[-1] = 3.0
    best = best_adaptation(Learner(fold.model, theta), fold.score(K), s["scratch_rates"])
    return {"alpha": best.learner.alpha, "steps": best.steps, "validation": best.score} | fold.judged(after(best), K)


def item_means(fold, K):
    """Item means, and with a damped personal offset, their damping chosen on the validation people."""
    s, mean = fold.settings, np.nanmean(fold.train, axis=0)
    episodes = Episodes(fold.validation, K, s["validation_draws"], s["episode_seed"] + 10 * K)
    scores = [episodes.errors(damped_offset(mean, ratio, episodes.items, episodes.y)).mean() for ratio in s["ratios"]]
    ratio = s["ratios"][int(np.argmin(scores))]
    judged = {name: fold.judged(lambda e: damped_offset(mean, value, e.items, e.y), K)
              for name, value in (("item mean", np.inf), ("damped offset", ratio))}
    judged["damped offset"] |= {"ratio": ratio, "validation": min(scores)}
    return judged


def priors(fold):
    """The prior fitted with every pair of hyperparameters."""
    s = fold.settings
    return [({"noise": noise, "strength": strength},
             GaussianPrior.fit(fold.train, noise, strength, s["spread"], s["em_iters"]))
            for noise in s["noise"] for strength in s["strength"]]


def best_prior(fold, fitted, K):
    s = fold.settings
    episodes = Episodes(fold.validation, K, s["validation_draws"], s["episode_seed"] + 10 * K)
    scores = [episodes.errors(prior.predict(episodes.items, episodes.y)).mean() for _, prior in fitted]
    i = int(np.argmin(scores))
    return *fitted[i], scores[i]


def gaussian(fold, fitted, K, also=()):
    """The posterior mean; and gradient descent from the prior's mean, in the features in which the prior is N(w_0, I)."""
    s = fold.settings
    setting, prior, score = best_prior(fold, fitted, K)
    posterior = {"setting": setting, "validation": score} | fold.judged(lambda e: prior.predict(e.items, e.y), K, also)
    # What would have been chosen from a grid that ends earlier.
    narrow, other, score = best_prior(fold, [one for one in fitted if one[0]["strength"] <= s["narrow_strength"]] or fitted, K)
    posterior["narrow"] = {"setting": narrow, "validation": score,
                           "errors": fold.judged(lambda e: other.predict(e.items, e.y), K)[f"errors {K}"]}

    x, w = prior.features()
    start = Learner(linear_regression(len(w)), np.append(w, 0.0), only=slice(0, len(w)))
    best = best_adaptation(start, fold.score(K, steps=s["feature_steps"], x=x), s["feature_rates"])
    descent = {"alpha": best.learner.alpha, "steps": best.steps, "validation": best.score} | fold.judged(after(best, x), K)
    return {"Gaussian prior": posterior, "descent on its features": descent}, prior


def overtrained(fold, K):
    """Test error of joint training + fine-tuning every 500 iterations, its fine-tuning chosen on validation each time."""
    s, score = fold.settings, fold.score(K)
    episodes = Episodes(fold.test, K, s["draws"], s["episode_seed"] + K)
    curve = []

    def look(t, loss, theta):
        if (t + 1) % 500 == 0:
            best = best_adaptation(Learner(fold.model, theta), score, s["rates"])
            curve.append(episodes.errors(after(best)(episodes)).mean())

    meta_train(joint, fold.model, fold.tasks(K), s["overtrained_iters"], eta=s["eta"], n_tasks=s["n_tasks"],
               theta0=fold.start(s["seed"]), seed=s["seed"], callback=look, progress=False)
    return curve


def light_raters(fold, light, predict, K):
    """Errors on people who rated too few cuisines to be among those that anything was trained on."""
    s = fold.settings
    episodes = Episodes(light, K, s["draws"], s["episode_seed"] + K)
    return episodes.errors(predict(episodes))


def folds(settings):
    """The data, and the five folds of the people with enough ratings; and the people with a few less."""
    countries, ratings = food_world_cup()
    counts = (~np.isnan(ratings)).sum(axis=1)
    enough = ratings[counts >= settings["min_ratings"]]
    light = ratings[(counts >= settings["light_ratings"]) & (counts < settings["min_ratings"])]
    people = person_folds(len(enough), settings["n_folds"], settings["n_validation"], settings["split_seed"])
    return countries, ratings, enough, light, [Fold(settings, enough, p, i) for i, p in enumerate(people)]


def run(settings, results, shots=None, only_folds=None, methods=METHODS, traps=True, progress=True):
    """All of the study, or the named part of it, into `results`."""
    _, _, _, light, listed = folds(settings)
    shots = settings["shots"] if shots is None else shots
    listed = listed if only_folds is None else [listed[i] for i in only_folds]
    bar = tqdm(total=len(listed) * (len(shots) * len(methods) + traps), disable=None if progress else True)
    with one_thread(), bar:
        for fold in listed:
            fitted = None
            for K in shots:
                also = [k for k in settings["shots"] if k != K] if K == 5 else []
                key = lambda name: f"{fold.number} {K} {name}"
                for name in methods:
                    if name in ("item mean", "damped offset"):
                        results.once(key(name), lambda: item_means(fold, K)[name])
                    elif name == "from scratch":
                        results.once(key(name), lambda: scratch(fold, K))
                    elif name in ("Gaussian prior", "descent on its features"):
                        def work():
                            nonlocal fitted
                            fitted = priors(fold) if fitted is None else fitted
                            out, prior = gaussian(fold, fitted, K, also)
                            out["Gaussian prior"]["light"] = (
                                light_raters(fold, light, lambda e: prior.predict(e.items, e.y), K) if K == 5 else [])
                            return out[name]
                        results.once(key(name), work)
                    else:
                        def work():
                            seed = settings["seed"]
                            out, best = (pre_training(fold, K, seed, also) if name == "joint + fine-tuning"
                                         else gradient_method(fold, name, K, seed, also=also))
                            return out | {"light": light_raters(fold, light, after(best), K) if K == 5 else []}
                        results.once(key(name), work)
                    bar.update()
            if traps:
                more(settings, results, fold)
                bar.update()
    return results


def more(settings, results, fold):
    """Another seed, inner steps, clipping, a baseline trained for too long, other outer rates; all with five ratings."""
    K, kept = 5, lambda out: {key: out[key] for key in ("errors 5", "validation")}
    for seed in settings["more_seeds"]:
        for name in META:
            inner = [results.stored[f"{fold.number} {K} {name}"]["setting"]]
            results.once(f"{fold.number} {K} {name} seed {seed}", lambda: kept(gradient_method(fold, name, K, seed, inner)[0]))
        results.once(f"{fold.number} {K} joint + fine-tuning seed {seed}", lambda: kept(pre_training(fold, K, seed)[0]))
    for k in settings["inner_steps"]:
        inner = [{"alpha": settings["inner_rate"], "k": k}]
        results.once(f"{fold.number} {K} MAML k {k}",
                     lambda: kept(gradient_method(fold, "MAML", K, settings["seed"], inner)[0]))
    inner = [results.stored[f"{fold.number} {K} MAML"]["setting"]]
    results.once(f"{fold.number} {K} MAML clipped", lambda: kept(gradient_method(
        fold, "MAML", K, settings["seed"], inner, clipped(adam(), settings["clip"]))[0]))
    results.once(f"{fold.number} {K} overtrained", lambda: overtrained(fold, K))
    inner = [results.stored[f"{fold.number} {K} MAML"]["setting"]]
    for eta in settings["outer_rates"]:
        at = fold.at(eta)
        results.once(f"{fold.number} {K} MAML eta {eta}",
                     lambda: kept(gradient_method(at, "MAML", K, settings["seed"], inner)[0]))
        results.once(f"{fold.number} {K} joint + fine-tuning eta {eta}", lambda: kept(pre_training(at, K, settings["seed"])[0]))


def live(settings):
    """Weights for the live figure: MAML for three ratings, the prior, and joint training, on all but the validation people."""
    countries, _, enough, _, listed = folds(settings)
    train, validation, test = listed[0].people
    people = np.sort(np.concatenate([train, test])), validation, validation
    fold, K = Fold(settings, enough, people, 0), settings["live_shots"]
    with one_thread():
        _, best = gradient_method(fold, "MAML", K, settings["seed"])
        _, usual = pre_training(fold, K, settings["seed"])
        setting, prior, _ = best_prior(fold, priors(fold), K)
    upper = np.triu_indices(len(countries))
    rounded = lambda a, digits=4: [float(f"{v:.{digits}g}") for v in a]  # Σ may be nearly singular
    return {"countries": countries, "mean_rating": np.round(np.nanmean(fold.train, axis=0), 3),
            "rated": np.round(fold.rated, 3),
            "theta": rounded(best.learner.theta), "alpha": best.learner.alpha, "steps": best.steps, "k": best.setting["k"],
            "iteration": best.iteration, "theta joint": rounded(usual.learner.theta), "mean": rounded(prior.mean),
            "cov": rounded(prior.cov[upper], 6),
            "noise": setting["noise"], "strength": setting["strength"], "people": len(fold.train)}


def missing(settings):
    """How the number of ratings and their height go together, over cuisines and over people."""
    countries, ratings, enough, light, _ = folds(settings)
    there = ~np.isnan(ratings)
    counts, means = there.sum(axis=1), np.nanmean(np.where(there.any(axis=1, keepdims=True), ratings, 3.0), axis=1)
    edges = [1, 8, 15, 22, 30, 41]
    groups = []
    for low, high in zip(edges, edges[1:]):
        group = means[(counts >= low) & (counts < high)]
        groups.append([low, high - 1, len(group), *interval(group)])
    return {"people": len(ratings), "ratings": int(there.sum()), "enough": len(enough), "light": len(light),
            "item_share": np.round(there.mean(axis=0), 4), "item_mean": np.round(np.nanmean(ratings, axis=0), 4),
            "groups": groups,
            "values": [int((ratings == v).sum()) for v in range(1, 6)],
            "all_equal": int((np.nanstd(enough, axis=1) == 0).sum()),
            "variances": [float(np.nanvar(enough)), float(np.nanmean((enough - np.nanmean(enough, axis=0)) ** 2))]}


def summary(settings, results, data, weights):
    """What the chapter needs: means and intervals over people, and paired differences."""
    stored, n = results.stored, range(settings["n_folds"])
    pooled = lambda name, field: np.concatenate([stored[f"{i} {name}"][field] for i in n])
    pair = lambda values: [float(v) for v in interval(values)]
    out = {"data": data, "live": weights, "table": {}, "chosen": {}, "folds": {}}
    for K in settings["shots"]:
        errors = {name: pooled(f"{K} {name}", f"errors {K}") for name in METHODS}
        out["table"][str(K)] = {name: {
            "mse": pair(e), "minus joint": pair(e - errors["joint + fine-tuning"]),
            "minus prior": pair(e - errors["Gaussian prior"]),
            "minus offset": pair(e - errors["damped offset"])} for name, e in errors.items()}
        out["folds"][str(K)] = {name: [float(np.mean(stored[f"{i} {K} {name}"][f"errors {K}"])) for i in n] for name in METHODS}
        for name in METHODS[1:]:
            keys = ("setting", "alpha", "steps", "iteration", "head", "ratio")
            out["chosen"][f"{K} {name}"] = [[stored[f"{i} {K} {name}"][k] for k in keys if k in stored[f"{i} {K} {name}"]]
                                            for i in n]
    five = {name: pooled(f"5 {name}", "errors 5") for name in METHODS}
    trained = [*META, "joint + fine-tuning", "Gaussian prior"]
    out["trained with 5"] = {name: {str(K): pair(pooled(f"5 {name}", f"errors {K}") - pooled(f"{K} {name}", f"errors {K}"))
                                    for K in settings["shots"] if K != 5} for name in trained}
    weighted = {name: pooled(f"5 {name}", "weighted") for name in METHODS}
    out["weighted"] = {name: {"mse": pair(e), "minus joint": pair(e - weighted["joint + fine-tuning"]),
                              "minus prior": pair(e - weighted["Gaussian prior"])} for name, e in weighted.items()}
    out["narrow"] = {}
    for K in settings["shots"]:
        narrow = [stored[f"{i} {K} Gaussian prior"]["narrow"] for i in n]
        errors = np.concatenate([one["errors"] for one in narrow])
        out["narrow"][str(K)] = {"mse": pair(errors), "MAML minus it": pair(pooled(f"{K} MAML", f"errors {K}") - errors),
                                 "chosen": [[one["setting"], one["validation"]] for one in narrow],
                                 "wide": [[stored[f"{i} {K} Gaussian prior"][key] for key in ("setting", "validation")]
                                          for i in n]}
    out["items"] = {}
    for name in METHODS:
        total = np.sum([stored[f"{i} 5 {name}"]["items"] for i in n], axis=0)
        out["items"][name] = np.round(total[0] / total[1], 4)
    light = {name: np.mean([stored[f"{i} 5 {name}"]["light"] for i in n], axis=0) for name in trained}
    out["light"] = {name: {"mse": pair(e), "minus joint": pair(e - light["joint + fine-tuning"]),
                           "minus prior": pair(e - light["Gaussian prior"])} for name, e in light.items()}
    count, total, squares = np.sum([stored[f"{i} 5 MAML"]["single"] for i in n], axis=0)
    out["unit"] = {"person": pair(five["MAML"]),
                   "rating": [total / count, 1.96 * np.sqrt((squares / count - (total / count) ** 2) / count)],
                   "n_ratings": int(count)}
    out["seeds"] = {name: [float(five[name].mean()),
                           *(float(pooled(f"5 {name} seed {seed}", "errors 5").mean()) for seed in settings["more_seeds"])]
                    for name in [*META, "joint + fine-tuning"]}
    out["inner steps"] = {str(k): pair(pooled(f"5 MAML k {k}", "errors 5")) for k in settings["inner_steps"]}
    out["outer rates"] = {name: {str(eta): {"mse": pair(e), "minus prior": pair(e - five["Gaussian prior"]),
                                            "minus usual": pair(e - five[name])}
                                 for eta in settings["outer_rates"] for e in [pooled(f"5 {name} eta {eta}", "errors 5")]}
                          for name in ("MAML", "joint + fine-tuning")}
    out["clipped"] = pair(pooled("5 MAML clipped", "errors 5") - five["MAML"])
    curves = np.array([stored[f"{i} 5 overtrained"] for i in n])
    weights = [len(stored[f"{i} 5 MAML"]["errors 5"]) for i in n]
    out["overtrained"] = np.average(curves, axis=0, weights=weights)
    return out


if __name__ == "__main__":
    partial_results = run(SETTINGS, Results(PARTIAL, SETTINGS))
    data, weights = missing(SETTINGS), partial_results.once("live", lambda: live(SETTINGS))
    final = Results(FINAL, SETTINGS)
    final.stored = {}
    for key, value in summary(SETTINGS, partial_results, data, weights).items():
        final.once(key, lambda: value)
    partial_results.path.unlink()
