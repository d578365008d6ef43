"""The language page: its live figures without their code, and the stored study."""

import functools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from conftest import ROOT, number_of
from metacalc.course.figures.language import CONTEXTS, SHOWN, _task, adapting, gains, growth_curves, shown_words, stopping
from metacalc.course.language import Counted, load_growth, load_study
from metacalc.data.languages import families, folds, names, split

PATH = ROOT / "chapters/results/language.json"
LANGUAGE, FAMILY = (load_study(PATH, design) for design in ("language", "family"))
LETTERS = "abcdefghijklmnopqrstuvwxyz_"
ENGLISH = dict(cy="Welsh", ga="Irish", ha="Hausa", id="Indonesian", mi="Māori", mt="Maltese", so="Somali", to="Tongan")
AFTER = ["at the start of a word", "after “k” at its start", "after “ma” at its start", "after “ara”", "after “ini”"]
FOLD = FAMILY.settings["figure"][1]
RUN, K_TEN = FAMILY.runs[FOLD], FAMILY.settings["shots"].index(10)


def weights(phi):
    return phi[:5184].reshape(81, 64), phi[5184:5248], phi[5248:6976].reshape(64, 27), phi[6976:]


def rows(pairs):
    """One-hot rows of (three letters, next letter), and the next letters' numbers."""
    x = np.zeros((len(pairs), 81))
    for row, (context, _) in zip(x, pairs):
        for place, letter in enumerate(context):
            row[27 * place + LETTERS.index(letter)] = 1
    return x, np.array([LETTERS.index(y) for _, y in pairs])


def probabilities(phi, x):
    W, b, V, c = weights(phi)
    h = np.tanh(x @ W + b)
    e = np.exp(h @ V + c)
    return h, e / e.sum(axis=1, keepdims=True)


def pairs(words):
    return [(("___" + word)[i:i + 3], (word + "_")[i]) for word in words for i in range(len(word) + 1)]


@functools.cache
def shown():
    return shown_words(FAMILY)


@functools.cache
def task(code, K):
    support, query = shown()[code]
    return rows(pairs(support[:K])), rows(pairs(query))


@functools.cache
def adapted(name, code, K):
    """φ_0, ..., φ_12, by the gradient written out by hand."""
    (x, y), _ = task(code, K)
    rate, path = RUN[name]["chosen"][FAMILY.settings["shots"].index(K)][0], [FAMILY.start(name)]
    for _ in range(12):
        W, b, V, c = weights(path[-1])
        h, p = probabilities(path[-1], x)
        delta = (p - np.eye(27)[y]) / len(y)
        back = (delta @ V.T) * (1 - h**2)
        gradient = np.concatenate([(x.T @ back).ravel(), back.sum(axis=0), (h.T @ delta).ravel(), delta.sum(axis=0)])
        path.append(path[-1] - rate * gradient)
    return path


@functools.cache
def cost(name, code, K, k):
    _, (x, y) = task(code, K)
    p = probabilities(adapted(name, code, K)[k], x)[1]
    return -np.log2(p[np.arange(len(y)), y]).mean()


@functools.cache
def spelt(name, code, K, k):
    found = []
    for chances in np.random.default_rng(0).random((5, 14)):
        word = "___"
        for chance in chances:
            p = probabilities(adapted(name, code, K)[k], rows([(word[-3:], "a")])[0])[1][0]
            word += LETTERS[min(int((np.cumsum(p) < chance).sum()), 26)]
            if word[-1] == "_":
                break
        found.append(word[3:].rstrip("_"))
    return ", ".join(found)


@functools.cache
def backing_off():
    """Counts of each letter after none to three letters, in the training languages."""
    seen = Counter()
    for own in split(folds("family")[FOLD], FOLD % 3)[0].values():
        for context, y in pairs(own):
            seen.update((context[i:], y) for i in range(4))
    total = Counter()
    for (context, _), n in seen.items():
        total[context] += n
    return seen, total


@functools.cache
def counted(code, K):
    order, pooled, strengths = RUN["counts"]["chosen"][FAMILY.settings["shots"].index(K)]
    seen, total = backing_off()
    support, query = shown()[code]
    own = Counter((c[3 - known:], y) for c, y in pairs(support[:K]) for known in range(4))
    previous = Counter(c[3 - known:] for c, _ in pairs(support[:K]) for known in range(4))
    bits = []
    for context, y in pairs(query):
        p = 1 / 27
        for known in range(order + 1):
            tail = context[3 - known:]
            p = (seen[tail, y] + pooled * p) / (total[tail] + pooled)
        for known, strength in enumerate(strengths):
            if strength != "inf":
                tail = context[3 - known:]
                p = (own[tail, y] + strength * p) / (previous[tail] + strength)
        bits.append(-np.log2(p))
    return np.mean(bits)


def next_letters(name, code, K, k):
    return probabilities(adapted(name, code, K)[k], rows([(context, "a") for context in CONTEXTS])[0])[1]


def adapting_readout(language, K, k, context):
    code, K, k, place = SHOWN[int(language) - 1], int(K), int(k), int(context) - 1
    support, _ = shown()[code]
    seen = ", ".join(support[:min(K, 5)]) + (", …" if K > 5 else "")
    best = {name: [*LETTERS[:26], "the end"][next_letters(name, code, K, k)[place].argmax()] for name in ("MAML", "joint")}
    return (f"{ENGLISH[code]} ({families()[code]}), seen: {seen}\nMost likely {AFTER[place]}: MAML {best['MAML']}, joint "
            f"{best['joint']}.\nBits per letter: MAML {cost('MAML', code, K, k):.2f}, joint {cost('joint', code, K, k):.2f}, "
            f"counting {counted(code, K):.2f}.\nMAML spells: {spelt('MAML', code, K, k)}.\nJoint spells: "
            f"{spelt('joint', code, K, k)}.")


def mean_and_half_width(differences):
    found = stats.ttest_1samp(differences, 0).confidence_interval()
    return np.mean(differences), (found.high - found.low) / 2


@functools.cache
def stops(t):
    i = LANGUAGE.settings["stops"].index(int(t))
    return np.concatenate([run["stopped"]["joint"]["bits"][i] for run in LANGUAGE.runs])


def chosen(name):
    return np.concatenate([run[name]["bits"][K_TEN] for run in LANGUAGE.runs])


def stopping_readout(t):
    mean, half = mean_and_half_width(stops(t) - chosen("MAML"))
    fair = mean_and_half_width(chosen("joint") - chosen("MAML"))
    return (f"Stopped after {number_of(t, 'iteration')}, joint training needs {stops(t).mean():.3f} bits per letter: "
            f"MAML seems to gain {mean:.3f} ± "
            f"{half:.3f}.\nStopped where validation says: {fair[0]:.3f} ± {fair[1]:.3f}.")


def adapting_figure():
    return adapting(FAMILY)


def stopping_figure():
    return stopping(LANGUAGE)


def check_adapting(stage):
    own, maml, joint, counting, *rest, gap, gap_point, bars = stage.marks
    shots, steps = (s.values.astype(int) for s in stage.sliders[1:3])
    for i, code in enumerate(SHOWN):
        listed = Counter(pairs({w for words in names(code).values() for w in words}))
        for j, context in enumerate(CONTEXTS):
            n = np.array([listed[context, y] for y in LETTERS])
            np.testing.assert_allclose(own.y[i, 0, 0, j], n / max(n.sum(), 1))
        for j, K in enumerate(shots):
            np.testing.assert_allclose(counting.y[i, j, 0, 0], counted(code, K), rtol=1e-9)
            own_gap = [cost("MAML", code, K, k) - cost("joint", code, K, k) for k in range(13)]
            np.testing.assert_allclose(gap.y[i, j, 0, 0], own_gap, atol=1e-6)
            np.testing.assert_allclose(gap_point.y[i, j, :, 0], [own_gap[k] for k in steps], atol=1e-6)
            for name, table, (curve, point) in (("MAML", maml, rest[:2]), ("joint", joint, rest[2:])):
                np.testing.assert_allclose(curve.y[i, j, 0, 0], [cost(name, code, K, k) for k in range(13)], rtol=1e-7)
                np.testing.assert_allclose(point.y[i, j, :, 0], [cost(name, code, K, k) for k in steps], rtol=1e-7)
                for l, k in enumerate(steps):
                    np.testing.assert_allclose(table.y[i, j, l], next_letters(name, code, K, k), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(stage.guess.answer, gap_point.y)
    assert all(np.array_equal(point.x[:, 0], steps) for point in (rest[1], rest[3], gap_point))
    apart = maml.y - joint.y  # checked above, each
    np.testing.assert_allclose(bars.y[..., 1::3], apart)
    assert not bars.y[..., ::3].any() and np.isnan(bars.y[..., 2::3]).all() and np.array_equal(bars.x, np.arange(81) // 3)
    assert np.array_equal(own.x, np.arange(27)) and np.abs(apart).max() < bars.ax.get_ylim()[1]
    np.testing.assert_allclose([maml.x - 0.15, joint.x + 0.15], np.tile(np.arange(27), (2, 1)))
    assert all(np.array_equal(curve.x, np.arange(13)) for curve in (rest[0], rest[2], gap))
    assert np.array_equal(counting.x, [-1, 13])  # a level from edge to edge


def check_stopping(stage):
    valid, test, maml, point, one, mean = stage.marks
    tested = {t: stops(t).mean() for t in stage.sliders[0].values}
    assert stage.guess.answer == min(tested, key=tested.get)
    for i, t in enumerate(stage.sliders[0].values):
        gain = stops(t) - chosen("MAML")
        np.testing.assert_allclose([test.y[i], point.y[i]], stops(t).mean())
        np.testing.assert_allclose(one.y[i], np.sort(gain))
        np.testing.assert_allclose(mean.y[i], gain.mean())
        np.testing.assert_allclose(valid.y[i], np.mean([run["stopped"]["joint"]["valid"][i] for run in LANGUAGE.runs]))
    np.testing.assert_allclose(maml.y, chosen("MAML").mean())
    for mark in (valid, test, point):
        np.testing.assert_allclose(mark.x.ravel(), stage.sliders[0].values)
    np.testing.assert_array_equal(one.x, np.arange(111))
    for level, ends in ((maml, [1, 1e5]), (mean, [-9, 999])):  # from edge to edge, and beyond
        low, high = level.ax.get_xlim()
        assert np.array_equal(level.x, ends) and level.x[0] < low and level.x[1] > high


def test_the_live_figure_shows_languages_of_families_that_its_starts_have_not_met():
    fold, family = folds("family")[FOLD], families()
    met = {family[code] for code in fold.train + fold.valid}
    assert set(SHOWN) <= set(fold.test) and not met & {family[code] for code in SHOWN}
    for support, query in shown().values():
        assert len(support) == 50 and len(query) >= 40 and not set(support) & set(query)


def test_the_picture_of_gains_shows_the_stored_numbers():
    figure = gains({"languages held out": LANGUAGE, "families held out": FAMILY})
    for ax, study in zip(figure.axes, (LANGUAGE, FAMILY)):
        for container in ax.containers:
            data, label = container[0].get_ydata(), container.get_label()
            name = {"counts of pairs": "bigrams"}.get(label, label)
            expected = [mean_and_half_width(units(study, row)) for row in study.bits["joint"] - study.bits[name]]
            np.testing.assert_allclose(data, [mean for mean, _ in expected])
            bars = [np.ptp(segment[:, 1]) / 2 for segment in container[2][0].get_segments()]
            np.testing.assert_allclose(bars, [half for _, half in expected])


def test_the_picture_of_growth_shows_each_contender_under_its_name():
    growth = {(held, K): load_growth(ROOT / "chapters/results/language_growth.json", held, K)
              for held in ("language", "family") for K in (2, 10)}
    panels = dict(zip(("joint", "MAML", "FOMAML"), growth_curves(growth).axes))
    for name, ax in panels.items():
        assert ax.get_title().startswith(f"{name}, on ")
        for container, ((held, K), found) in zip(ax.containers, growth.items(), strict=True):
            assert container.get_label() == f"{K} words, {dict(language='languages', family='families')[held]} held out"
            drawn = np.asarray(container[0].get_ydata(), float)
            np.testing.assert_allclose(drawn, [found[n][name].by_unit.mean for n in (8, 16, 32, 64)])
            bars = [np.ptp(segment[:, 1]) / 2 for segment in container[2][0].get_segments()]
            np.testing.assert_allclose(bars, [found[n][name].by_unit.half_width for n in (8, 16, 32, 64)])
    two = growth["language", 2][64]  # as the study of all numbers of words has it: MAML loses most where little is seen
    assert two["MAML"].by_unit.mean < two["FOMAML"].by_unit.mean - 0.05


def units(study, values):
    """Means over what was held out, by hand."""
    found = {}
    for code, value in zip(study.codes, values, strict=True):
        found.setdefault(families()[code] if study is FAMILY else code, []).append(value)
    return [np.mean(own) for own in found.values()]


def test_where_families_are_held_out_a_family_is_the_unit():
    assert len(set(FAMILY.units)) == 23 and len(set(LANGUAGE.units)) == 111
    for study in (LANGUAGE, FAMILY):
        np.testing.assert_allclose(study.by_unit(study.bits["MAML"]), [units(study, row) for row in study.bits["MAML"]])


def test_counts_back_off_to_shorter_contexts():
    """Two words of two letters, by hand: after "a" once b and once the end; the prior says a third for what was not seen."""
    batch = _task(["ab", "a"], ["ab"])
    counted, third = Counted.of(batch), np.full((27,) * 4, 1 / 3)
    # ___ → a: both words; __a → b: one of two; _ab → the end: the word ab
    assert counted.seen[3, 0].tolist() == [2, 1, 1] and counted.total[3, 0].tolist() == [2, 2, 1]
    assert counted.seen[0, 0].tolist() == [2, 1, 2] and (counted.total[0] == 5).all()
    zero = (np.array([2, 1, 2]) + 4 / 3) / (5 + 4)
    both = (np.array([2, 1, 1]) + 2 * zero) / (np.array([2, 2, 1]) + 2)
    found = counted.bits(third, [[4, np.inf, np.inf, 2], [np.inf] * 4])
    np.testing.assert_allclose(found[:, 0], [-np.log2(both).mean(), np.log2(3)])
    for wrong in ([[1, 2, 3]], [[1, 2, 3, 0]], [1, 2, 3, 4]):
        with pytest.raises(ValueError, match="strengths"):
            counted.bits(third, wrong)


def test_both_intervals_of_a_gain_are_those_of_what_was_held_out_and_of_folds():
    for study in (LANGUAGE, FAMILY):
        gain, each = study.gain("MAML", shots=10), study.bits["joint"][K_TEN] - study.bits["MAML"][K_TEN]
        place = {unit: fold for unit, fold in zip(study.units, study.folds)}
        own = np.array(units(study, each))
        folds_ = [own[[place[unit] == fold for unit in dict.fromkeys(study.units)]].mean() for fold in range(5)]
        np.testing.assert_allclose(gain.by_unit, mean_and_half_width(own))
        np.testing.assert_allclose(gain.by_fold, mean_and_half_width(folds_))


def test_no_choice_of_the_counts_strengths_is_at_an_edge_of_its_grid():
    """Of the prior's orders, 1 to 3, validation may take the last: it has the letters that the networks see."""
    for study in (LANGUAGE, FAMILY):
        grid = study.settings["bigrams"]
        for order, pooled, strength in (chosen for run in study.runs for chosen in run["bigrams"]["chosen"]):
            assert order in grid["orders"]
            assert grid["pooled"][0] < pooled < grid["pooled"][-1] and grid["strengths"][0] < strength < grid["strengths"][-1]
