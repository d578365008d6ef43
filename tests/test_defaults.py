"""Every documented default, in one table: one that changes changes what a reader's program does."""

import importlib
import inspect

DEFAULTS = {
    "amortised.AmortisedLearner": {"lam": 0.0},
    "amortised.NeuralProcess": {"activation": "relu", "d_in": 1, "d_out": 1, "hidden": (40, 40), "n_code": 20},
    "bilevel.adjoint": {"tol": 0.0},
    "bilevel.bilevel_descent": {"tol": 1e-06, "warm": True},
    "bilevel.conjugate_gradients": {"tol": 0.0},
    "bilevel.example_weights": {"lam": 0.01},
    "bilevel.implicit_gradient": {"tol": 0.0},
    "bilevel.inner_minimum": {"n_iters": 50, "tol": 1e-09},
    "bilevel.unrolled": {"by": "theta", "mode": "reverse"},
    "calculus.finite_difference": {"h": 1e-06},
    "calculus.step": {"k": 1},
    "course.bilevel.lasso": {"n_iters": 400},
    "course.bilevel.table": {"end": "implicit gradients"},
    "course.drawing.judged": {"k": 20},
    "course.gaussian.GaussianPrior.best_questions": {"n": 3},
    "course.gaussian.GaussianPrior.fit": {"n_iters": 30, "noise": 0.3, "spread": 0.25, "strength": 0.0},
    "course.language.prior_mean": {"order": 1, "strength": 100.0},
    "course.language.spell": {"longest": 14},
    "course.practice.best_inner": {"seed": 0},
    "course.practice.comparison_table": {"shots": 5},
    "course.practice.evaluated": {"n_tasks": 1000, "seed": 1000},
    "course.practice.outside": {"confidence": 0.99},
    "course.practice.train": {"looks": 15, "n_validation": 400, "progress": True, "seed": 0},
    "course.practice.wave_features": {"size": 10.0},
    "course.recommendation.alternating_least_squares": {"n_iters": 15, "seed": 0},
    "course.recommendation.Taste.path": {"k": 5},
    "course.recommendation.ndcg": {"n": 5},
    "course.recommendation.shared_features": {"eta": 0.003},
    "course.language.Study.gain": {"over": "joint"},
    "course.vision.comparison_table": {"reference": "joint"},
    "course.vision.episodes": {"n_examples": 12, "n_way": 5, "seed": 0},
    "course.vision.load_scores": {"kind": ""},
    "course.vision.scale_table": {"reference": "joint"},
    "course.new_tasks.gibbs_bound": {"eps": 0.05},
    "course.new_tasks.losses": {"n_tasks": 1000, "seed": 1000},
    "course.new_tasks.seeds_interval": {"what": "mean"},
    "course.new_tasks.wave_answers": {"noise": 0.5},
    "course.new_tasks.wave_moments": {"n": 400},
    "data.characters.Characters": {"outlines": ()},
    "data.characters.Characters.by_script": {"k_shots": 1, "n_query": 5, "n_way": 5},
    "data.characters.Characters.pool": {"n_examples": 100},
    "data.characters.Characters.split": {"validation": ()},
    "data.characters.Characters.tasks": {"k_shots": 1, "n_query": 5, "n_way": 5},
    "data.characters.Characters.turned": {"apart_from": ()},
    "data.characters.omniglot": {"download": True, "size": 14},
    "data.characters.omniglot_background": {"download": True, "size": 28},
    "data.characters.printed_characters": {"seed": 0, "size": 14},
    "data.download.fetch": {"download": True, "repacked": False},
    "data.food.food_world_cup": {"download": True},
    "data.food.person_folds": {"n_folds": 5, "n_validation": 100, "seed": 0},
    "data.languages.folds": {"by": "language", "n_folds": 5, "seed": 0},
    "data.languages.split": {"part": 0, "seed": 0},
    "data.strokes.ink": {"size": 14},
    "course.learned.bowls_of": {"curvature": 1.0, "size": 1.0},
    "course.learned.descend": {"falling": False, "k": 25},
    "course.learned.fit_optimiser": {"n_iters": 240, "n_tasks": 12},
    "course.learned.train_on_waves": {"eta": 0.001, "budget": 80000, "looks": 8},
    "course.learned.tuned": {"k": 25},
    "descent.adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-08},
    "descent.adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.01},
    "descent.backtracking": {"eta": 1.0, "shrink": 0.5, "slope": 0.0001},
    "descent.diverged": {"limit": 1000000.0},
    "descent.momentum": {"beta": 0.9},
    "descent.nesterov": {"beta": 0.9},
    "descent.newton": {"eta": 1.0},
    "generalisation.QuadraticFamily": {"alpha": 0.5, "k": 1, "k_shots": 10, "sigma": 1.0, "tau": 1.0},
    "generalisation.QuadraticFamily.sample": {"m": 0.0},
    "generalisation.pac_bayes": {"eps": 0.05},
    "learned.CoordinateNet": {"n_hidden": 8},
    "learned.evolution": {"antithetic": True},
    "learned.learned_optimiser": {"alpha": 0.1, "k": 20},
    "meta.Learner": {"lam": 0.0},
    "prototypes.Prototypes": {"lam": 0.0},
    "meta.Learner.adapt": {"k": 1},
    "meta.adapt": {"k": 1, "lam": 0.0},
    "meta.anil": {"k": 1},
    "meta.fomaml": {"fast": True, "k": 1},
    "meta.imaml": {"cg_steps": 10, "k": 10, "lam": 1.0},
    "meta.joint": {"fast": True},
    "meta.maml": {"fast": True, "k": 1},
    "meta.meta_sgd": {"k": 1},
    "meta.reptile": {"k": 1},
    "models.MLP": {"activation": "relu", "criterion": "squared"},
    "models.MLP.meta_gradient": {"k": 1, "second_order": True},
    "models.Quadratic": {"d": 1},
    "models.linear_regression": {"d_out": 1},
    "models.logistic_regression": {"n_classes": 2},
    "models.sharpness": {"n_iters": 50},
    "spec.Guess": {"format": ".2f"}, "spec.Readout.at": {"sliders": ()},
    "spec.Slider": {"format": ".4g", "names": (), "unit": ""},
    "spec.entry": {"extra": 0, "sliders": ()},
    "explore.explore": {"start": "", "rule": "sgd"},
    "stage.panel": {"size": (3.7, 3.2), "title": "", "yscale": "linear"},
    "studies.Interval.markdown": {"spec": ".3f"},
    "studies.Results.each": {"title": ""},
    "tasks.few_shot.FewShotClassification": {"k_shots": 1, "n_query": 15, "n_way": 5},
    "tasks.few_shot.Pooled": {"n_examples": 100},
    "tasks.few_shot.Shifted": {"pixels": 1},
    "tasks.letters.NextLetter": {"k_shots": 10, "n_query": 10},
    "tasks.ratings.RatingTasks": {"k_shots": 5, "n_query": 10},
    "tasks.ratings.RatingTasks.episodes": {"n_draws": 1},
    "tasks.synthetic.LinearTasks": {"d": 20, "k_shots": 10, "n_query": 10, "noise": 0.5, "spreads": (1.0, 1.0)},
    "tasks.synthetic.Quadratics": {"curvature": (0.5, 2.0), "d": 1, "spread": 1.0},
    "tasks.synthetic.Sinusoids": {
        "amplitude": (0.1, 5.0),
        "k_shots": 10,
        "n_query": 10,
        "noise": 0.0,
        "phase": (0.0, 3.141592653589793),
        "x_range": (-5.0, 5.0),
    },
    "training.evaluate": {"limit": 100.0, "metric": "loss", "n_tasks": 600, "seed": 1, "steps": (0, 1, 5, 10)},
    "training.meta_train": {"checkpoint_every": 1000, "eta": 0.001, "n_tasks": 25, "progress": True, "seed": 0},
    "variants.Stepwise": {"lam": 0.0},
    "variants.cavia": {"k": 1},
    "variants.stabilised": {"k": 5, "second_order": True},
}


def defaults():
    """{place: {parameter: default}} of all public functions and methods whose defaults are plain."""
    found = {}
    for place in {".".join(place.rsplit(".", 2 if place.split(".")[-2][0].isupper() else 1)[:-1]) for place in DEFAULTS}:
        place = ".".join(part for part in place.split(".") if not part[0].isupper())
        module = importlib.import_module(f"metacalc.{place}")
        for name in module.__all__:
            public = getattr(module, name)
            if getattr(public, "__module__", None) != module.__name__ or not callable(public):
                continue
            listed = [(name, public)]
            if inspect.isclass(public):
                own = [
                    (k, v)
                    for k, v in vars(public).items()
                    if k[0] != "_" and (inspect.isfunction(v) or isinstance(v, classmethod))
                ]
                listed = [(name, public.__init__), *((f"{name}.{k}", v) for k, v in own)]
            for key, function in listed:
                signature = inspect.signature(getattr(function, "__func__", function))
                plain = {
                    k: p.default for k, p in signature.parameters.items() if isinstance(p.default, int | float | str | tuple)
                }
                found |= {f"{place}.{key}": plain} if plain else {}
    return found


def test_every_default_is_the_documented_one():
    assert defaults() == DEFAULTS
