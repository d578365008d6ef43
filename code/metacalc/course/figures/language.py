"""The pictures of the language page, drawn from the stored study."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from metacalc.course.figures import picture
from metacalc.course.language import MODEL, Counted, Study, prior_mean, spell
from metacalc.data.languages import english, families, folds, names, split
from metacalc.meta import Learner
from metacalc.stage import COLORS, STYLE, Curve, Guess, Point, Readout, Slider, Stage, panel
from metacalc.studies import Both, interval
from metacalc.tasks import Batch
from metacalc.tasks.letters import ALPHABET, encode, one_hot
from metacalc.training import one_thread

__all__ = ["adapting", "gains", "shown_words", "stopping"]

SHOWN = ("cy", "ga", "ha", "id", "mi", "mt", "so", "to")
CONTEXTS = ("___", "__k", "_ma", "ara", "ini")
STEPS = (0, 1, 2, 3, 5, 8, 12)
LOOKS = {"MAML": ("blue", "-", "o"), "joint": ("orange", "--", "s"), "FOMAML": ("purple", "-.", "^"),
         "ANIL": ("green", ":", "D"),
         "Reptile": ("grey", "-.", "v"), "counts": ("ink", ":", "x"), "bigrams": ("ink", "--", "1"),
         "scratch": ("red", "--", "+")}


def _words(study):
    """What the words of the live figure's fold are on its three sides."""
    fold = study.settings["figure"][1]
    return split(folds("family", study.settings["n_folds"])[fold], fold % 3)


def shown_words(study: Study, seed: int = 0) -> dict[str, tuple[list[str], list[str]]]:
    """The words of the languages that the live figure shows, in a random order.

    Parameters
    ----------
    study : Study
        With whole families held out.
    seed : int

    Returns
    -------
    dict of str: (support, query)
        Language → two lists of words, each as many as the study's largest number of shots.
    """
    test, n = _words(study)[2], max(study.settings["shots"])
    shuffled = {code: [test[code][i] for i in np.random.default_rng(seed).permutation(len(test[code]))] for code in SHOWN}
    return {code: (words[:n], words[n:2 * n]) for code, words in shuffled.items()}


def _task(support, query):
    """One task with these very words."""
    x_support, y_support, _ = encode(support)
    x_query, y_query, _ = encode(query)
    return Batch(one_hot(x_support)[None], y_support[None], one_hot(x_query)[None], y_query[None])


def adapting(study: Study, seed: int = 0) -> Stage:
    """Two starts adapting to a language of a family that neither has met: next letters, bits, and words that they spell.

    Parameters
    ----------
    study : Study
        With whole families held out.
    seed : int
        Fixes the order of the words, and the chances of spelling.
    """
    shots, seen, counted, p, cost, spelt = _tables(study, seed)
    differ = p["MAML"] - p["joint"]
    left, between, right, apart = _axes(1.1 * np.abs(differ).max())
    letters, own = np.arange(len(ALPHABET)), np.array([_frequencies(code) for code in SHOWN])
    marks = [Curve(left, letters, own[:, None, None], color="grey", dash=" ", dots=True, label="all its names")]
    for name, table in p.items():
        beside = letters + (0.15 if name == "MAML" else -0.15)
        marks += [Curve(left, beside, table, color=LOOKS[name][0], dash=" ", dots=True, label=name)]
    marks.append(Curve(right, [-1, STEPS[-1] + 1], np.repeat(counted[:, :, None, None, None], 2, axis=-1), color="grey",
                       dash=":", label="counting"))
    for name in p:
        color, dash, shape = LOOKS[name]
        marks += [Curve(right, np.arange(STEPS[-1] + 1), cost[name][:, :, None, None], color=color, dash=dash),
                  Point(right, np.array(STEPS)[:, None], cost[name][:, :, STEPS, None], color=color, shape=shape, name=name,
                        drag="k")]
    difference = cost["MAML"] - cost["joint"]
    marks += [Curve(apart, np.arange(STEPS[-1] + 1), difference[:, :, None, None], color="blue"),
              Point(apart, np.array(STEPS)[:, None], difference[:, :, STEPS, None], color="blue", name="MAML minus joint")]
    # A bar for each letter, from 0 to the difference; the gaps keep them apart.
    bars = np.stack([np.zeros_like(differ), differ, np.full_like(differ, np.nan)], axis=-1).reshape(*differ.shape[:-1], -1)
    marks.append(Curve(between, np.repeat(letters, 3), bars, color="blue", width=4.5))
    family, mark = families(), ALPHABET[-1]
    title = np.array([f"{english(code)} ({family[code]})" for code in SHOWN])[:, None, None, None]
    likely = {name: np.array([*ALPHABET[:-1], "the end"])[table.argmax(axis=-1)] for name, table in p.items()}
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("language", np.arange(1, len(SHOWN) + 1), "language", 5, "d", names=[english(c) for c in SHOWN]),
         Slider("K", shots, "words seen K", 10, "d"),
         Slider("k", STEPS, "gradient steps k", 5, "d"),
         Slider("context", np.arange(1, len(CONTEXTS) + 1), "letters before", 1, "d",
                names=[context.replace(mark, "") or "none" for context in CONTEXTS])],
        Readout("{title}, seen: {seen}\nMost likely {after}: MAML {best_MAML}, joint {best_joint}.\nBits per letter: MAML "
                "{MAML:.2f}, joint {joint:.2f}, counting {counted:.2f}.\n"
                "MAML spells: {spelt_MAML}.\nJoint spells: {spelt_joint}.",
                title=title, seen=seen[..., None, None], after=[_after(c) for c in CONTEXTS], counted=counted[..., None, None],
                **{f"best_{name}": table for name, table in likely.items()},
                **{name: table[:, :, STEPS, None] for name, table in cost.items()},
                **{f"spelt_{name}": table[..., None] for name, table in spelt.items()}),
        play="k",
        guess=Guess(apart, "y", "By how many bits per letter is MAML’s start worse than the joint one (below 0: better)?",
                    difference[:, :, STEPS, None], marks[4:10], ".3f"),
        alt="Left: the probability of each letter, and of the end of the word, to come next: of the net that starts from "
            "MAML's θ, of the one that starts from the joint θ, and in all names of the language; below, a bar for each "
            "letter: MAML's probability minus that of the joint start. Right: both nets' bits per letter on words not seen, "
            "against the gradient steps, and those of counting; below, MAML's bits minus those of "
            "the joint start.")


@one_thread()
def _tables(study, seed):
    """The numbers of words, the words seen, the bits of counting, and of both starts probabilities, bits and words spelt."""
    fold, shots = study.settings["figure"][1], study.settings["shots"]
    run, train, words = study.runs[fold], _words(study)[0], shown_words(study, seed)
    shape = len(SHOWN), len(shots), len(STEPS), len(CONTEXTS)
    contexts = one_hot([[ALPHABET.index(c) for c in context] for context in CONTEXTS])
    p = {name: np.empty((*shape, len(ALPHABET))) for name in ("MAML", "joint")}
    cost = {name: np.empty((*shape[:2], STEPS[-1] + 1)) for name in p}
    counted, spelt, seen = np.empty(shape[:2]), {name: np.empty(shape[:3], "U96") for name in p}, np.empty(shape[:2], "U96")
    priors = {key: prior_mean(train, *key) for key in {tuple(key) for *key, _ in run["counts"]["chosen"]}}
    for j, K in enumerate(shots):
        *key, strengths = run["counts"]["chosen"][j]
        strengths = [float(value) for value in strengths]
        for i, code in enumerate(SHOWN):
            support, query = words[code]
            task = _task(support[:K], query)
            counted[i, j] = Counted.of(task).bits(priors[tuple(key)], [strengths])[0, 0]
            seen[i, j] = ", ".join(support[:min(K, 5)]) + (", …" if K > 5 else "")
            for name in p:
                learner = Learner(MODEL, study.start(name), run[name]["chosen"][j][0])
                path = learner.adapt(task.x_support, task.y_support, STEPS[-1])[:, 0]
                cost[name][i, j] = MODEL.loss(path, task.x_query, task.y_query) / np.log(2)
                for k, step in enumerate(STEPS):
                    p[name][i, j, k] = MODEL.predict(path[step], contexts)
                    spelt[name][i, j, k] = ", ".join(spell(MODEL, path[step], np.random.default_rng(seed), 5))
    return shots, seen, counted, p, cost, spelt


def _axes(most):
    """Axes for the next letter and for how the nets differ there, at most so much; below bits, their difference."""
    with mpl.rc_context(STYLE):
        left, between = Figure(figsize=(4.3, 4.6)).subplots(2, sharex=True, height_ratios=(3, 2))
        left.set(ylabel="probability, square-root scale", title="what comes next")
        between.set(xlabel="next letter (∎: the end)", ylabel="MAML − joint", xlim=(-0.7, 26.7), ylim=(-most, most))
        between.axhline(0, color=COLORS["grey"], lw=0.9)
        right, apart = Figure(figsize=(3.6, 4.1)).subplots(2, sharex=True, height_ratios=(3, 2))
        right.set(ylabel="bits per letter", xlim=(-0.4, STEPS[-1] + 0.4), ylim=(2.5, 5), title="words not seen")
        apart.set(xlabel="gradient steps", ylabel="MAML − joint", ylim=(-0.06, 0.1))
        apart.axhline(0, color=COLORS["grey"], lw=0.9)
    left.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))  # as much room for 0.1 as for 0.4
    left.set_yticks([0, 0.02, 0.1, 0.2, 0.4, 0.7, 1])
    left.set_ylim(0, 1.02)
    between.set_xticks(np.arange(len(ALPHABET)), [*ALPHABET[:-1], "∎"], fontsize=7)
    return left, between, right, apart


def _after(context):
    """Where in a word the next letter stands."""
    known = context.replace(ALPHABET[-1], "")
    if not known:
        return "at the start of a word"
    return f"after “{known}”" + (" at its start" if context.startswith(ALPHABET[-1]) else "")


def _frequencies(code):
    """What follows each of `CONTEXTS` in all names of a language, shape (contexts, 27)."""
    x, y, _ = encode(sorted({word for words in names(code).values() for word in words}))
    found = [(x == [ALPHABET.index(c) for c in context]).all(axis=1) for context in CONTEXTS]
    return np.array([np.bincount(y[f], minlength=len(ALPHABET)) / max(f.sum(), 1) for f in found])


def stopping(study: Study) -> Stage:
    """Joint training stopped too early, in time and too late, and what MAML seems to gain on it.

    Parameters
    ----------
    study : Study
        With languages held out.
    """
    stops = np.array(study.settings["stops"])
    joint, maml = ({key: [run["stopped"][name][key] for run in study.runs] for key in ("valid", "bits")}
                   for name in ("joint", "MAML"))
    valid = {"joint": np.mean(joint["valid"], axis=0), "MAML": np.mean(maml["valid"], axis=0)}
    test = {name: np.concatenate([np.array(b) for b in found["bits"]], axis=1)
            for name, found in (("joint", joint), ("MAML", maml))}
    place = study.settings["shots"].index(study.settings["trained_shots"])
    chosen = study.bits["MAML"][place]
    gain = test["joint"] - chosen
    mean, half = np.array([interval(row) for row in gain]).T
    fair, fair_half = interval(study.bits["joint"][place] - chosen)
    order = np.sort(gain, axis=1)
    left = panel("outer iterations of joint training", "bits per letter", (stops[0] * 0.8, stops[-1] * 1.25), (3.55, 4.05),
                 "when to stop", size=(4, 3.2))
    left.set_xscale("log")
    right = panel("language, sorted", "gain of MAML in bits", (-2, gain.shape[1] + 1), (-0.1, 0.6), "what MAML seems to gain")
    right.axhline(0, color=COLORS["grey"], lw=0.9, ls="--")
    rank = np.arange(gain.shape[1])
    needed = test["joint"].mean(axis=1)
    marks = [Curve(left, stops, valid["joint"], color="grey", dash="--", dots=True, label="validation"),
             Curve(left, stops, needed, color="orange", dots=True, label="test"),
             Curve(left, [1, 1e5], np.full(2, chosen.mean()), color="blue", dash=":", label="MAML"),
             Point(left, stops, needed, color="red", shape="D", name="The stop", label="stop (drag it)", drag="t"),
             Curve(right, rank, order, color="blue", dash=" ", dots=True, label="one language"),
             Curve(right, [-9, 999], np.repeat(mean[:, None], 2, axis=-1), color="red", label="mean")]
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("t", stops, "joint training stopped after", stops[-1], "d")],
        Readout("Stopped after {t:d} iteration{t:s}, joint training needs {bits:.3f} bits per letter: MAML seems to gain "
                "{mean:.3f} ± {half:.3f}.\nStopped where validation says: {fair:.3f} ± {fair_half:.3f}.",
                bits=needed, mean=mean, half=half, fair=fair, fair_half=fair_half),
        guess=Guess(left, "x", "After how many iterations should joint training stop, for the test languages?",
                    stops[[needed.argmin()]], [marks[1], *marks[3:]], "d"),
        alt="Left: bits per letter of joint training with fine-tuning against the iteration at which it is stopped, on "
            "validation and on test languages, beside MAML's. Right: the difference between joint training and MAML, language "
            "by language.")


def gains(studies: Mapping[str, Study]) -> Figure:
    """What each contender gains on joint training and fine-tuning, against the number of words seen.

    Means and 95% intervals over the units that were held out, languages or families.

    Parameters
    ----------
    studies : dict of str: Study
        Title → study.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.4))
        for ax, (title, study) in zip(figure.subplots(1, len(studies), sharey=True), studies.items()):
            shots = np.array(study.settings["shots"])
            for i, name in enumerate(name for name in LOOKS if name not in ("joint", "scratch")):
                color, dash, shape = LOOKS[name]
                mean, half = interval(study.by_unit(study.bits["joint"] - study.bits[name]).T)
                ax.errorbar(shots * 1.04 ** (i - 2), mean, half, color=COLORS[color], ls=dash, marker=shape, ms=4, lw=1.3,
                            label={"bigrams": "counts of pairs"}.get(name, name))
            ax.axhline(0, color=COLORS["grey"], lw=0.9)
            ax.set(xscale="log", xlabel="words seen K", title=title)
            ax.set_xticks(shots, shots)
            ax.minorticks_off()
        figure.axes[0].set_ylabel("bits per letter gained on joint")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return picture(figure)


def growth_curves(growth: Mapping[tuple[str, int], Mapping[int, Mapping[str, Both]]]) -> Figure:
    """What contenders save on joint training, and joint training on itself, against the number of training languages.

    Means and 95% intervals over the units that were held out, with the seeds' part in them.

    Parameters
    ----------
    growth : dict
        (What was held out, words seen) → what `metacalc.course.language.load_growth` returns.

    Returns
    -------
    matplotlib.figure.Figure
    """
    titles = {"joint": "joint, on itself with the fewest", "MAML": "MAML, on joint", "FOMAML": "FOMAML, on joint"}
    shots, plural = sorted({K for _, K in growth}), {"language": "languages", "family": "families"}
    languages = list(next(iter(growth.values())))
    looks = dict(zip(shots, (("orange", "s"), ("blue", "o"), ("green", "D"))))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.4))
        for ax, (name, title) in zip(figure.subplots(1, len(titles), sharey=True), titles.items()):
            for i, ((held, K), found) in enumerate(growth.items()):
                color, shape = looks[K]
                saved = [found[n][name].by_unit for n in languages]
                ax.errorbar(np.array(languages) * 1.04 ** (i - 2.5), [one.mean for one in saved],
                            [one.half_width for one in saved], color=COLORS[color], ls="-" if held == "language" else "--",
                            marker=shape, ms=4, lw=1.3, label=f"{K} words, {plural[held]} held out")
            ax.axhline(0, color=COLORS["grey"], lw=0.9)
            ax.set(xscale="log", xlabel="training languages", title=title)
            ax.set_xticks(languages, [*languages[:-1], "all"])
            ax.minorticks_off()
        figure.axes[0].set_ylabel("bits per letter saved")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return picture(figure)
