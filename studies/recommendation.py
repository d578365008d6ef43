"""Recommendation: a new person's ratings of cuisines from a few of theirs. Writes chapters/results/recommendation.json.

People are held out in five folds; of the others, some are validation people, on whom every choice is made: settings,
stopping, inner rate and steps, hyperparameters. Three seeds for joint training and, from five ratings, for MAML; one elsewhere.
About half an hour on one processor. The unit of all intervals is the person, or the fold. Run by `make studies`.
"""

from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from metacalc.course.gaussian import GaussianPrior, damped_offset
from metacalc.course.recommendation import alternating_least_squares, ndcg, shared_features
from metacalc.data.food import food_world_cup, person_folds
from metacalc.meta import Learner, joint, maml
from metacalc.models import MLP, linear_regression
from metacalc.studies import Results, best_adaptation, both_intervals, choose, interval
from metacalc.tasks import RatingTasks
from metacalc.training import meta_train, one_thread

ROOT = Path(__file__).parent.parent
FINAL, PARTIAL = ROOT / "chapters/results/recommendation.json", ROOT / ".studies/recommendation.json"
SETTINGS = {
    "min_ratings": 15, "light_ratings": 8, "n_folds": 5, "n_validation": 100, "split_seed": 0, "shots": [2, 5, 10],
    "draws": 10, "validation_draws": 4, "episode_seed": 100, "hidden": 16, "activation": "tanh", "seeds": [0, 1, 2],
    "n_iters": 2000, "every": 400, "eta": 3e-3, "n_tasks": 25, "max_steps": 10,
    "inner": [{"alpha": 0.1, "k": 3}, {"alpha": 0.2, "k": 5}],
    "rates": [0.03, 0.1, 0.3], "scratch_rates": [0.03, 0.1, 0.2, 0.3, 0.5],
    "joint": {"decay": [0.4, 0.8, 1.6, 3.2, 6.4], "looks": [200, 400, 700, 1000, 1500, 2500, 4000],
              "rates": [0.003, 0.01, 0.02, 0.05, 0.1], "steps": 40},
    "factorisation": {"rank": [0, 1, 2, 3, 5, 8], "lam": [4, 8, 16, 32, 64], "new": [0.0625, 0.125, 0.25, 0.5, 1]},
    "ratios": [0.5, 1, 1.5, 2, 3, 4, 6, 8, 12], "noise": [0.2, 0.3, 0.4, 0.5], "strength": [10, 30, 100, 300, 1000],
    "spread": 0.25, "em_iters": 30, "narrow_strength": 100,
    "feature_rates": [0.05, 0.1, 0.2, 0.3], "feature_steps": 60,
    "live_shots": 3,
    "cold": {"n_validation": 8, "rank": [1, 2, 3], "lam": [2, 5, 10], "noise": [0.3, 0.5, 0.8], "ratios": [0.5, 1, 2, 4, 8],
             "draws": 4},
}
METHODS = ["item mean", "damped offset", "from scratch", "one head for all", "joint + fine-tuning", "matrix factorisation",
           "MAML", "Gaussian prior", "descent on its features"]
RIVALS = {"joint": "joint + fine-tuning", "prior": "Gaussian prior", "offset": "damped offset",
          "factorisation": "matrix factorisation"}


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
                out["ndcg"] = episodes.per_person(ndcg(z, episodes.truth, episodes.query))
                out["weighted"] = episodes.errors(z, 1 / self.rated)
                each = episodes.squared(z)[episodes.query]
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
        return self.per_person((weights * self.squared(z)).sum(axis=1) / weights.sum(axis=1))

    def per_person(self, values):
        """The mean over each person's draws."""
        return values.reshape(self.n_people, self.draws).mean(axis=1)


def adapted(learner, episodes, steps, x=None):
    """Predictions of all items after 0, 1, ..., `steps` inner steps in turn, each of shape (n_episodes, n_items)."""
    x = np.eye(learner.model.sizes[0]) if x is None else x
    with np.errstate(all="ignore"):
        for phi in learner.iterates(x[episodes.items], episodes.y[..., None], steps):
            yield np.broadcast_to(learner.model.predict(phi, x)[..., 0], episodes.truth.shape)


def after(best, x=None):
    """The learner itself: predictions for episodes after the number of steps that was chosen."""
    return lambda episodes: deque(adapted(best.learner, episodes, best.steps, x), maxlen=1)[0]


def meta_learned(fold, K, seed, inner=None, also=()):
    """Meta-training with all choices made on the validation people; its errors on the test people."""
    s = fold.settings
    best = choose(maml, fold.model, fold.tasks(K), fold.score(K), s["inner"] if inner is None else inner,
                  n_iters=s["n_iters"], every=s["every"], eta=s["eta"], n_tasks=s["n_tasks"],
                  theta0=lambda setting: fold.start(seed), seed=seed, progress=False)
    return chosen(best) | fold.judged(after(best), K, also), best


def chosen(best):
    return {"setting": best.setting, "alpha": best.learner.alpha, "steps": best.steps, "iteration": best.iteration,
            "validation": best.score, "curve": [[look.iteration, look.score] for look in best.curve]}


def one_head(fold):
    """Joint training of the same net for everybody, on one-hot items: it can learn item means. Fine-tuned for each K."""
    s, best = fold.settings, {}
    scores = {K: fold.score(K) for K in s["shots"]}

    def look(t, loss, theta):
        if (t + 1) % s["every"] == 0:
            for K, score in scores.items():
                found = best_adaptation(Learner(fold.model, theta), score, s["rates"])
                if K not in best or found.score < best[K].score:
                    best[K] = found._replace(iteration=t + 1)

    seed = s["seeds"][0]
    meta_train(joint, fold.model, fold.tasks(5), s["n_iters"], eta=s["eta"], n_tasks=s["n_tasks"], theta0=fold.start(seed),
               seed=seed, callback=look, progress=False)
    return {str(K): chosen(best[K]) | fold.judged(after(best[K]), K) for K in s["shots"]}, best


def own_heads(fold, seed, decays=None):
    """Joint training with a head for each person, the mean head fine-tuned: decay, stopping, rate and steps chosen for each K.

    With the features held, fine-tuning a head is linear regression. The curve is of the decay that validates best: validation
    error, and error on the test people, at every look.
    """
    s, options, best, curves = fold.settings, fold.settings["joint"], {}, {}
    hidden = s["hidden"]
    scores = {K: partial(fold.score, K, steps=options["steps"]) for K in s["shots"]}
    test = {K: Episodes(fold.test, K, s["draws"], s["episode_seed"] + K) for K in s["shots"]}
    for decay in options["decay"] if decays is None else decays:
        path = shared_features(fold.model, fold.start(seed), fold.train, decay, options["looks"][-1], s["eta"])
        for t, theta in enumerate(path, 1):
            if t not in options["looks"]:
                continue
            W = theta[:fold.n_items * hidden].reshape(fold.n_items, hidden)
            x = np.tanh(W + theta[fold.n_items * hidden:-hidden - 1])
            for K in s["shots"]:
                start = Learner(linear_regression(hidden), theta[-hidden - 1:])
                found = best_adaptation(start, scores[K](x=x), options["rates"])
                error = test[K].errors(after(found, x)(test[K])).mean() if K == 5 else None
                curves.setdefault((K, decay), []).append([t, found.score, error])
                if K not in best or found.score < best[K][0].score:
                    best[K] = found._replace(setting={"decay": decay}, iteration=t), x, theta
    out = {}
    for K, (found, x, _) in best.items():
        out[str(K)] = chosen(found) | {"curve": curves[K, found.setting["decay"]]} | fold.judged(
            after(found, x), K, [k for k in s["shots"] if k != K] if K == 5 else [])
    return out, best


def factorised(fold):
    """Matrix factorisation: rank, the ridge in training and that of a new person chosen for each K."""
    s, options, best = fold.settings, fold.settings["factorisation"], {}
    valid = {K: Episodes(fold.validation, K, s["validation_draws"], s["episode_seed"] + 10 * K) for K in s["shots"]}
    for rank in options["rank"]:
        for lam in options["lam"]:
            mean, factors = alternating_least_squares(fold.train, rank, lam)
            for new in options["new"]:
                prior = GaussianPrior(mean, factors @ factors.T, new * lam)
                for K, episodes in valid.items():
                    score = episodes.errors(prior.predict(episodes.items, episodes.y)).mean()
                    if K not in best or score < best[K][0]:
                        best[K] = score, {"rank": rank, "lam": lam, "new": new}, prior
    return {str(K): {"setting": setting, "validation": score} | fold.judged(lambda e: prior.predict(e.items, e.y), K)
            for K, (score, setting, prior) in best.items()}, best


def scratch(fold, K):
    """A random net whose output starts at 3, the middle of the scale, trained on the K ratings alone."""
    s, theta = fold.settings, fold.start(fold.settings["seeds"][0])
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


def gaussian_parts(fold, light):
    """The prior and the descent on its features, for every K: the fits are the same."""
    s, fitted, out = fold.settings, priors(fold), {}
    for K in s["shots"]:
        also = [k for k in s["shots"] if k != K] if K == 5 else []
        out[str(K)], prior = gaussian(fold, fitted, K, also)
        if K == 5:
            out["light"] = light_raters(fold, light, lambda e: prior.predict(e.items, e.y), K)
    return out


def parts(settings, results, fold, light):
    """What is worked out in one fold: {name: work}, most of it for all K together."""
    first = settings["seeds"][0]

    def joint_part(seed):
        decays = None if seed == first else [results.stored[f"{fold.number} joint"]["5"]["setting"]["decay"]]
        out, best = own_heads(fold, seed, decays)
        found, x, _ = best[5]
        return out | {"light": light_raters(fold, light, after(found, x), 5)}

    def meta_part(K, seed):
        inner = None if seed == first else [results.stored[f"{fold.number} MAML {K}"]["setting"]]
        out, best = meta_learned(fold, K, seed, inner, [k for k in settings["shots"] if k != K] if K == 5 else [])
        return out | ({"light": light_raters(fold, light, after(best), K)} if K == 5 else {})

    todo = {"means": lambda: {str(K): item_means(fold, K) for K in settings["shots"]},
            "scratch": lambda: {str(K): scratch(fold, K) for K in settings["shots"]},
            "one head": lambda: one_head(fold)[0], "factorisation": lambda: factorised(fold)[0],
            "prior": partial(gaussian_parts, fold, light)}
    for seed in settings["seeds"]:
        tail = f" seed {seed}" if seed else ""
        todo |= {f"joint{tail}": partial(joint_part, seed), f"MAML 5{tail}": partial(meta_part, 5, seed)}
    return todo | {f"MAML {K}": partial(meta_part, K, first) for K in settings["shots"] if K != 5}


# Of the parts of a fold, in seconds or so.
COSTS = {"means": 1, "scratch": 5, "one head": 15, "factorisation": 8, "joint": 25, "prior": 55, "MAML": 10}


def run(settings, results, only_folds=None, only=None):
    """All of the study, or the named part of it, into `results`."""
    _, _, _, light, listed = folds(settings)
    todo, costs = {}, {}
    each = [(fold.number, parts(settings, results, fold, light))
            for fold in (listed if only_folds is None else [listed[i] for i in only_folds])]
    for name in each[0][1]:
        for number, works in each:
            if only is None or name in only:
                key = f"{number} {name}"
                todo[key], costs[key] = works[name], next(cost for start, cost in COSTS.items() if name.startswith(start))
    with one_thread():
        results.each(todo, "recommendation", costs)
    return results


def live(settings, stored):
    """Weights for the live figure: MAML for three ratings, the prior, and joint training, on all but the validation people.

    The settings are those that the first fold has chosen from two ratings, and for joint training from five.
    """
    countries, _, enough, _, listed = folds(settings)
    train, validation, test = listed[0].people
    people = np.sort(np.concatenate([train, test])), validation, validation
    fold, K = Fold(settings | {"shots": [5]}, enough, people, 0), settings["live_shots"]
    setting = stored["0 prior"]["2"]["Gaussian prior"]["setting"]
    with one_thread():
        _, best = meta_learned(fold, K, settings["seeds"][0], [stored["0 MAML 2"]["setting"]])
        usual = own_heads(fold, settings["seeds"][0], [stored["0 joint"]["5"]["setting"]["decay"]])[1][5][2]
        prior = GaussianPrior.fit(fold.train, setting["noise"], setting["strength"], settings["spread"], settings["em_iters"])
    upper = np.triu_indices(len(countries))
    rounded = lambda a, digits=4: [float(f"{v:.{digits}g}") for v in a]  # Σ may be nearly singular
    return {"countries": countries, "mean_rating": np.round(np.nanmean(fold.train, axis=0), 3),
            "rated": np.round(fold.rated, 3),
            "theta": rounded(best.learner.theta), "alpha": best.learner.alpha, "steps": best.steps, "k": best.setting["k"],
            "iteration": best.iteration, "theta joint": rounded(usual), "mean": rounded(prior.mean),
            "cov": rounded(prior.cov[upper], 6),
            "noise": setting["noise"], "strength": setting["strength"], "people": len(fold.train)}


def cold_items(settings):
    """Cuisines that nobody in training has rated, from K people's ratings: squared errors of each, over all its other raters.

    Items are held out in folds, others are validation items. All that is known of people comes from the items that are left.
    """
    options, (_, _, ratings, _, _) = settings["cold"], folds(settings)
    order, n = np.random.default_rng(settings["split_seed"]).permutation(ratings.shape[1]), settings["n_folds"]
    out = {str(K): {} for K in settings["shots"]}
    for number in range(n):
        test = order[number::n]
        rest = np.roll(np.setdiff1d(order, test, assume_unique=True), number * options["n_validation"])
        train, valid = rest[options["n_validation"]:], rest[:options["n_validation"]]
        guesses = item_guesses(options, ratings[:, train])
        for K in settings["shots"]:
            at = lambda items, seed: [cold_errors(guesses, ratings[:, i], K, options["draws"], [seed, i]) for i in items]
            scores = {key: np.mean([one[key] for one in at(valid, 1)]) for key in guesses}
            judged = at(test, 2)
            for name in {key[0] for key in guesses}:
                best = min((key for key in guesses if key[0] == name), key=scores.get)
                out[str(K)].setdefault(name, []).append([one[best] for one in judged])
    return out


def item_guesses(options, warm):
    """What may be said of a new item: {(name, setting): function of raters (n, K) and their ratings, to what all would say}."""
    level = np.nanmean(warm)
    offset = np.nansum(warm - np.nanmean(warm, axis=0), axis=1) / ((~np.isnan(warm)).sum(axis=1) + 2)
    guesses = {}
    for ratio in options["ratios"]:
        flat = np.full(len(warm), level)
        guesses["item mean", ratio] = partial(damped_offset, flat, ratio)
        guesses["both offsets", ratio] = partial(damped_offset, flat + offset, ratio)
    for rank in options["rank"]:
        for lam in options["lam"]:
            means, factors = alternating_least_squares(warm, rank, lam)
            seen = (~np.isnan(warm)).astype(float)
            within = np.einsum("pi,ir,is->prs", seen, factors, factors, optimize=True) + lam * np.eye(1 + rank)
            pull = np.where(seen > 0, warm - means, 0.0) @ factors
            people = np.linalg.solve(within, pull[..., None])[..., 0]  # (o_p, u_p): a rating is μ_i + o_p + v_i·u_p
            x = np.column_stack([np.ones(len(warm)), people[:, 1:]])
            own = np.column_stack([means, factors[:, 1:]])  # of each item, as x is of each person
            mean, cov = people[:, 0] + x @ own.mean(axis=0), x @ np.cov(own.T) @ x.T
            for noise in options["noise"]:
                guesses["people's factors", rank, lam, noise] = GaussianPrior(mean, cov, noise).predict
    return guesses


def cold_errors(guesses, ratings, K, draws, seed):
    """Mean squared error of each guess at an item, over draws of K raters, on all others who rated it."""
    (raters,) = np.nonzero(~np.isnan(ratings))
    rng = np.random.default_rng(seed)
    shown = np.array([rng.permutation(raters)[:K] for _ in range(draws)])
    asked = np.zeros((draws, len(ratings)), bool)
    asked[:, raters] = True
    np.put_along_axis(asked, shown, False, axis=1)
    truth = np.nan_to_num(ratings)
    return {key: np.mean(((guess(shown, ratings[shown]) - truth) ** 2)[asked]) for key, guess in guesses.items()}


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


class Stored:
    """What the folds have stored, read by method and number of ratings."""

    def __init__(self, settings, stored):
        self.settings, self.stored, self.n = settings, stored, range(settings["n_folds"])

    def of(self, fold, name, K, seed=None):
        """All that is kept of a method in a fold."""
        at = lambda key: self.stored[f"{fold} {key}"]
        where = {"item mean": "means", "damped offset": "means", "from scratch": "scratch", "one head for all": "one head",
                 "joint + fine-tuning": "joint", "matrix factorisation": "factorisation", "Gaussian prior": "prior",
                 "descent on its features": "prior"}
        if name not in where:
            return at(f"{name} {K}" + (f" seed {seed}" if seed else ""))
        own = at(where[name] + (f" seed {seed}" if seed else ""))[str(K)]
        return own[name] if where[name] in ("means", "prior") else own

    def people(self, name, K, field):
        """A field of a method, shape (n_seeds, n_people): the people of the folds, one fold after the other."""
        several = name == "joint + fine-tuning" or name == "MAML" and K == 5
        seeds = self.settings["seeds"] if several else self.settings["seeds"][:1]
        return np.array([np.concatenate([self.of(i, name, K, seed)[field] for i in self.n]) for seed in seeds])

    @property
    def folds(self):
        return np.repeat(self.n, [len(self.of(i, "item mean", 5)["errors 5"]) for i in self.n])

    def both(self, values):
        """Mean and half-width by people and seeds, mean and half-width by folds."""
        by_unit, by_fold = both_intervals(values, self.folds)
        return [*map(float, by_unit), *map(float, by_fold)]


def table(kept):
    """K → method → its error and ranking, and its differences to the rivals'."""
    out = {}
    for K in kept.settings["shots"]:
        errors = {name: kept.people(name, K, f"errors {K}") for name in METHODS}
        ranking = {name: kept.people(name, K, "ndcg") for name in METHODS}
        out[str(K)] = {name: {
            "mse": kept.both(e), "ndcg": kept.both(ranking[name]),
            **{f"minus {short}": kept.both(e - errors[rival]) for short, rival in RIVALS.items()},
            **{f"ndcg minus {short}": kept.both(ranking[name] - ranking[RIVALS[short]]) for short in ("joint", "prior")}}
            for name, e in errors.items()}
    return out


def robustness(kept):
    """What the choices and traps change, with five ratings: seeds, stopping, the prior's grid; and learning curves."""
    n = kept.n
    out = {"seeds": {name: kept.people(name, 5, "errors 5").mean(axis=1)
                      for name in ("MAML", "joint + fine-tuning")}}
    weights = [np.sum(kept.folds == i) for i in n]
    curves = np.array([[[look[1:] for look in kept.of(i, "joint + fine-tuning", 5)["curve"]]] for i in n])[:, 0]
    out["joint curve"] = {"iterations": kept.settings["joint"]["looks"], "validation": curves[..., 0].mean(axis=0),
                          "test": np.average(curves[..., 1], axis=0, weights=weights)}
    out["MAML curve"] = np.mean([[score for _, score in kept.of(i, "MAML", 5)["curve"]] for i in n], axis=0)
    out["narrow"] = {}
    for K in kept.settings["shots"]:
        narrow = [kept.of(i, "Gaussian prior", K)["narrow"] for i in n]
        errors = np.concatenate([one["errors"] for one in narrow])
        out["narrow"][str(K)] = {
            "MAML minus it": kept.both(kept.people("MAML", K, f"errors {K}") - errors),
            "chosen": [[one["setting"], one["validation"]] for one in narrow],
            "wide": [[kept.of(i, "Gaussian prior", K)[key] for key in ("setting", "validation")] for i in n]}
    return out


def summary(settings, results, data, weights, cold):
    """What the chapter needs: means, and intervals by people and by folds of paired differences."""
    kept, stored = Stored(settings, results.stored), results.stored
    n = kept.n
    out = {"data": data, "live": weights, "table": table(kept), "cold items": cold, "chosen": {}, "folds": {}}
    out |= robustness(kept)
    for K in settings["shots"]:
        out["folds"][str(K)] = {name: [float(np.mean(kept.of(i, name, K)[f"errors {K}"])) for i in n] for name in METHODS}
        for name in METHODS[1:]:
            keys = ("setting", "alpha", "steps", "iteration", "ratio")
            out["chosen"][f"{K} {name}"] = [[kept.of(i, name, K)[k] for k in keys if k in kept.of(i, name, K)] for i in n]
    trained = ["MAML", "joint + fine-tuning", "Gaussian prior"]
    first = lambda name, K, shots: kept.people(name, K, f"errors {shots}")[:1]
    out["trained with 5"] = {name: {str(K): kept.both(first(name, 5, K) - first(name, K, K))
                                    for K in settings["shots"] if K != 5} for name in trained}
    weighted = {name: kept.people(name, 5, "weighted") for name in METHODS}
    out["weighted"] = {name: {"mse": float(e.mean()), **{f"minus {short}": kept.both(e - weighted[RIVALS[short]])
                                                         for short in ("joint", "prior")}} for name, e in weighted.items()}
    light = {"MAML": "MAML 5", "joint + fine-tuning": "joint", "Gaussian prior": "prior"}
    light = {name: np.mean([stored[f"{i} {part}"]["light"] for i in n], axis=0) for name, part in light.items()}
    out["light"] = {name: {"mse": float(e.mean()), **{f"minus {short}": [float(v) for v in interval(e - light[RIVALS[short]])]
                                                      for short in ("joint", "prior")}} for name, e in light.items()}
    count, total, squares = np.sum([kept.of(i, "MAML", 5)["single"] for i in n], axis=0)
    out["unit"] = {"person": [float(v) for v in interval(kept.people("MAML", 5, "errors 5")[0])],
                   "rating": [total / count, 1.96 * np.sqrt((squares / count - (total / count) ** 2) / count)],
                   "n_ratings": int(count)}
    return out


if __name__ == "__main__":
    results = run(SETTINGS, Results(PARTIAL, SETTINGS))
    results.each({"live": lambda: live(SETTINGS, results.stored), "cold": lambda: cold_items(SETTINGS)}, "live, cold items")
    results.finish(FINAL, summary(SETTINGS, results, missing(SETTINGS), results.stored["live"], results.stored["cold"]))
