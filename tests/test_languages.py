"""Languages: what must not leak from meta-training to meta-test, and what is counted, measured and spelt."""

import re
from itertools import combinations

import babel
import numpy as np
import pytest
import sympy as sp
from babel import Locale, localedata
from scipy.special import logsumexp

from conftest import ROOT
from metacalc import MLP, Learner
from metacalc.course.language import MODEL, RATES, STEPS, Counted, bits, posterior_mean, prior_mean, spell
from metacalc.data import languages as module
from metacalc.data.languages import (
    COPIES,
    FAMILIES,
    SIMILAR,
    _words,
    english,
    entity_groups,
    families,
    folds,
    names,
    normalise,
    overlap,
    split,
)
from metacalc.studies import best_adaptation, load
from metacalc.tasks.letters import ALPHABET, NextLetter, encode, one_hot

DESIGNS = [(by, i) for by in ("language", "family") for i in range(5)]


studied = pytest.mark.skipif(not babel.__version__.startswith(module.BABEL + "."),
                             reason=f"Babel {babel.__version__} has other words than {module.BABEL}, which was studied")


def usable(code):
    """The rule by which a language takes part, worked out from its locale."""
    all_words = [w for table in ("languages", "territories") for entity, name in getattr(Locale.parse(code), table).items()
                 if entity.isalpha() for w in _words(name)]
    plain = [w for w in all_words if re.fullmatch("[a-z]+", w)]
    return len(set(plain)) >= 250 and len(plain) >= 0.9 * len(all_words)


@studied
def test_every_usable_language_has_one_family_and_no_other_has_one():
    listed = sum(FAMILIES.values(), [])
    assert len(listed) == len(set(listed)) and not set(listed) & set(COPIES)
    assert {code for code in localedata.locale_identifiers() if "_" not in code and usable(code)} == {*listed, *COPIES}
    assert all(english(code) for code in listed) and len({english(code) for code in listed}) == len(listed)


@studied
def test_copies_are_copies_and_those_kept_are_not():
    assert all(overlap(copy, kept) >= 0.8 and kept in families() for copy, kept in COPIES.items())
    assert all(overlap(*pair) < 0.8 for pair in combinations(families(), 2))


@pytest.mark.parametrize("by, i", DESIGNS)
def test_no_language_or_family_stands_on_two_sides(by, i):
    fold, family = folds(by)[i], families()
    for one, other in combinations(fold, 2):
        assert not set(one) & set(other)
        assert all(overlap(a, b) < SIMILAR for a in one for b in other)
        if by == "family":
            assert not {family[a] for a in one} & {family[b] for b in other}
    assert len(fold.train) >= 50 and min(len(fold.valid), len(fold.test)) >= 15


@pytest.mark.parametrize("by", ["language", "family"])
def test_every_language_is_tested_once(by):
    assert sorted(code for fold in folds(by) for code in fold.test) == sorted(families())


@pytest.mark.parametrize("by, i", DESIGNS)
def test_no_entity_and_no_word_stands_on_two_sides(by, i):
    sides = split(folds(by)[i], part=i % 3)
    assert [tuple(sorted(side)) for side in sides] == [tuple(sorted(codes)) for codes in folds(by)[i]]
    train, valid, test = ({w for own in side.values() for w in own} for side in sides)
    assert not train & valid and not train & test and not valid & test
    group = {e: g for g in entity_groups() for e in g}
    for unseen, seen in ((sides[2], train | valid), (sides[1], train)):  # every word names an entity whose group was never seen
        fresh = {g for g in entity_groups() if not {w for code in families() for e in g for w in names(code).get(e, ())} & seen}
        for code, own in unseen.items():
            assert set(own) <= {w for e, words in names(code).items() if group[e] in fresh for w in words}


def test_cognates_are_in_one_group():
    group = {e: g for g in entity_groups() for e in g}
    assert set(group) == {e for code in families() for e in names(code)}
    pairs = ["fi FI", "de DE", "hu HU", "el GR", "sq AL", "is IS", "sv SE", "ja JP", "ko KR", "zh CN", "fr FR", "tr TR",
             "cs CZ", "hy AM", "ka GE", "pl PL", "th TH", "vi VN", "fj FJ", "mt MT", "so SO", "mn MN", "nl NL"]
    for language, territory in map(str.split, pairs):
        assert group[f"L-{language}"] == group[f"T-{territory}"]
    assert group["L-fi"] != group["L-de"] and group["T-CD"] == group["T-CG"]


def test_similar_languages_come_in_pairs():
    pairs = module._similar()
    assert pairs and all(len(pair) == 2 for pair in pairs)


def test_entities_belong_together_if_they_share_a_stem_in_two_languages(monkeypatch):
    """In two of two that name both; one language more where they do not, and they still have more than 30%."""
    there = {"a": {"X": ("turkey",), "Y": ("turkish",)}, "b": {"X": ("turkei",), "Y": ("turkisch",)},
             "c": {"X": ("suomi",), "Y": ("soome",)}}
    monkeypatch.setattr(module, "names", there.__getitem__)
    for codes, groups in ((("a", "b"), [("X", "Y")]), (("a", "b", "c"), [("X", "Y")]), (("a", "c"), [("X",), ("Y",)])):
        monkeypatch.setattr(module, "families", lambda codes=codes: dict.fromkeys(codes, ""))
        assert module.entity_groups.__wrapped__() == groups


def test_words_are_normalised():
    assert normalise("Åland-saaret (Ahvenanmaa)") == ("aland", "saaret", "ahvenanmaa")
    assert normalise("Łódź Đà Straße İstanbul ʻŌlelo c’h cʼh") == ("lodz", "da", "strasse", "istanbul", "olelo", "c", "h", "ch")
    assert normalise("Ελλάδα ɛwɛ 2") == ()
    assert all(re.fullmatch("[a-z]+", w) for code in families() for words in names(code).values() for w in words)


def test_a_word_is_encoded_letter_by_letter():
    contexts, following, lengths = encode(["ab", "c"])
    read = [("".join(ALPHABET[i] for i in c), ALPHABET[j]) for c, j in zip(contexts, following)]
    assert read == [("___", "a"), ("__a", "b"), ("_ab", "_"), ("___", "c"), ("__c", "_")] and lengths.tolist() == [3, 2]
    x = one_hot(contexts)
    assert x.shape == (5, 81) and np.array_equal(x.reshape(5, 3, 27).argmax(axis=-1), contexts) and np.all(x.sum(axis=-1) == 3)
    for bad in ("Ab", "ä", "a b", "a_b"):
        with pytest.raises(ValueError, match="words"):
            encode(["ab", bad])


WORDS = {"xx": ["".join(w) for w in combinations("abcdefgh", 3)], "yy": ["z" * n for n in range(1, 20)]}


def spelt(x, y):
    """The words that a row of examples spells, the last one perhaps cut."""
    letters = "".join(ALPHABET[i] for i in y)
    marks = x.reshape(-1, 3, 27).argmax(axis=-1)[:, -1] == 26
    assert marks[0] and all(marks[i] == (letters[i - 1] == "_") for i in range(1, len(letters)))
    return letters.split("_")


def test_tasks_show_some_words_and_ask_for_others():
    tasks = NextLetter(WORDS, k_shots=3, n_query=4)
    batch = tasks.sample(np.random.default_rng(0), 40)
    assert batch.x_support.shape == (40, 24, 81) and batch.y_query.shape == (40, 32) and batch.x_query.dtype == np.float32
    for t in range(40):
        support, query = spelt(batch.x_support[t], batch.y_support[t]), spelt(batch.x_query[t], batch.y_query[t])
        code = "xx" if set("".join(support)) <= set("abcdefgh") else "yy"
        whole = support[:-1] + query[:-1]
        assert set(whole) <= set(WORDS[code]) and len(set(whole)) == len(whole)
        if support[-1]:  # the word that is cut is not asked for
            assert any(w.startswith(support[-1]) and w not in query[:-1] for w in WORDS[code])
    again = tasks.sample(np.random.default_rng(0), 40)
    assert np.array_equal(again.x_query, batch.x_query) and np.array_equal(again.y_support, batch.y_support)
    each = tasks.with_shots(5).of_each(np.random.default_rng(1), 3)
    assert each.y_support.shape == (6, 40)
    assert [set(spelt(x, y)[0]) <= {"z"} for x, y in zip(each.x_support, each.y_support)] == [False] * 3 + [True] * 3


def test_words_may_be_just_as_many_as_a_task_asks_for():
    """16 letters are shown or asked for, and 2 of the word that the support ends in may be lost."""
    words = ["aa", "bb", "cc", "dd", "ee", "ff"]
    tasks = NextLetter({"xx": words}, k_shots=1, n_query=1)
    assert tasks.sample(np.random.default_rng(0), 200).y_query.shape == (200, 8)
    with pytest.raises(ValueError, match="k_shots . n_query"):
        NextLetter({"xx": [*words[1:], "a"]}, k_shots=1, n_query=1)


def test_all_words_are_drawn_equally_often():
    tasks = NextLetter({"xx": WORDS["xx"]}, k_shots=1, n_query=1)
    batch = tasks.sample(np.random.default_rng(0), 4000)
    first = ["".join(ALPHABET[i] for i in y[:3]) for y in batch.y_support]
    counts = np.array([first.count(w) for w in WORDS["xx"]])
    expected = 4000 / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 95  # χ² with 55 degrees of freedom: 99.9% lie below 93.2


@pytest.mark.parametrize("make, message", [
    (lambda: NextLetter({}), "words must hold"), (lambda: NextLetter({"xx": []}), "words of xx"),
    (lambda: NextLetter({"xx": ["é"]}), "words of xx"),
    (lambda: NextLetter({"xx": ["a_b"]}), "words of xx"),
    (lambda: NextLetter({"xx": ["ab", "ab"]}), "words of xx must be different"),
    (lambda: NextLetter(WORDS, k_shots=0), "k_shots"), (lambda: NextLetter(WORDS, n_query=2.5), "n_query"),
    (lambda: NextLetter(WORDS, k_shots=30), "k_shots . n_query"), (lambda: NextLetter(WORDS, dtype=int), "dtype"),
    (lambda: NextLetter(WORDS, 1, 1).sample(np.random.default_rng(0), 0), "n_tasks"), (lambda: names("qqq"), "code"),
    (lambda: folds("script"), "by"),
    (lambda: folds(n_folds=2), "n_folds"), (lambda: split(folds()[0], part=3), "part"),
    (lambda: prior_mean(WORDS, order=4), "order"),
    (lambda: posterior_mean([1, 2], [0.5, 0.5], 0), "strength"),
    (lambda: spell(MODEL, np.zeros(MODEL.n_params), np.random.default_rng(0), 0), "n_words"),
])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_bits_are_those_of_a_loop_over_the_letters():
    rng = np.random.default_rng(3)
    model = MLP((81, 4, 27), "tanh", "cross-entropy")
    batch = NextLetter(WORDS, 3, 4, dtype=np.float64).sample(rng, 25)
    theta = rng.normal(size=model.n_params)
    learner = Learner(model, theta, 0.5)
    found, path = bits(learner, batch, 2), learner.adapt(batch.x_support, batch.y_support, 2)
    for t, j in ((0, 0), (7, 1), (24, 2)):
        (W, b), (V, c) = model.unflatten(path[j] if path[j].ndim == 1 else path[j][t])
        z = np.tanh(batch.x_query[t] @ W + b) @ V + c
        cost = [logsumexp(row) - row[y] for row, y in zip(z, batch.y_query[t])]
        np.testing.assert_allclose(found[j, t], np.mean(cost) / np.log(2))


def test_validation_chooses_the_rate_and_the_steps():
    batch = NextLetter(WORDS, 3, 4, dtype=np.float64).sample(np.random.default_rng(0), 12)
    theta = MODEL.init(np.random.default_rng(0))
    best = best_adaptation(Learner(MODEL, theta), lambda learner: bits(learner, batch, 4).mean(axis=1), (0.1, 1.0, 1e6))
    table = {r: bits(Learner(MODEL, theta, r), batch, 4).mean(axis=1) for r in (0.1, 1.0)}
    assert table[best.learner.alpha][best.steps] == best.score == min(t.min() for t in table.values())


def test_the_posterior_mean_is_the_integral_over_the_simplex():
    p, q = sp.symbols("p q", positive=True)
    counts, prior = (2, 1, 3), (2, 1, 3)  # αm with α = 6
    density = sp.prod(base ** (n + a - 1) for base, n, a in zip((p, q, 1 - p - q), counts, prior))
    integral = lambda f: sp.integrate(sp.integrate(sp.expand(f), (q, 0, 1 - p)), (p, 0, 1))
    expected = [integral(density * base) / integral(density) for base in (p, q, 1 - p - q)]
    np.testing.assert_allclose(posterior_mean(counts, np.array(prior) / 6, 6), np.array(expected, float))


def test_counting_is_that_of_a_loop_over_the_letters():
    batch = NextLetter(WORDS, 3, 4).sample(np.random.default_rng(0), 5)
    prior = prior_mean({"zz": ["abc", "bca", "zzz"]}, order=2, strength=5.0)
    found = Counted.of(batch).bits(prior, [[np.inf, strength, np.inf, np.inf] for strength in (0.5, 8.0)])
    letters = lambda x: x.reshape(-1, 3, 27).argmax(axis=-1)
    for t in range(5):
        for a, strength in enumerate((0.5, 8.0)):
            seen = list(zip(letters(batch.x_support[t])[:, -1], batch.y_support[t]))
            cost = []
            for context, y in zip(letters(batch.x_query[t]), batch.y_query[t]):
                n, total = seen.count((context[-1], y)), sum(previous == context[-1] for previous, _ in seen)
                cost.append(-np.log2((n + strength * prior[tuple(context)][y]) / (total + strength)))
            np.testing.assert_allclose(found[a, t], np.mean(cost))


def test_the_pooled_prior_backs_off_letter_by_letter():
    words = {"xx": ["ab", "abc"], "yy": ["b"]}
    a, b, end = (ALPHABET.index(c) for c in "ab_")
    start = np.array([0.0] * 27)
    start[a], start[b], start[end], start[2] = 2, 3, 3, 1  # all letters: a 2, b 3, c 1, ends 3
    zero = (start + 4.0 / 27) / (start.sum() + 4)
    np.testing.assert_allclose(prior_mean(words, 0, 4.0)[b, end, a], zero)
    after_a = 4.0 * zero
    after_a[b] += 2
    np.testing.assert_allclose(prior_mean(words, 1, 4.0)[b, end, a], after_a / 6)
    after_end_a = 4.0 * after_a / 6
    after_end_a[b] += 2
    np.testing.assert_allclose(prior_mean(words, 2, 4.0)[b, end, a], after_end_a / 6)
    for order in range(4):
        np.testing.assert_allclose(prior_mean(words, order).sum(axis=-1), 1)


def test_a_chance_at_the_end_of_the_line_ends_the_word():
    """Rounded sums may leave a chance above all of them: the last letter is the end of the word."""
    class Above:
        random = staticmethod(lambda shape: np.full(shape, 1 + 1e-9))

    assert spell(MODEL, MODEL.init(np.random.default_rng(0)), Above(), 2) == ["", ""]


def test_the_stored_study_took_the_steps_that_the_course_names():
    settings, _ = load(ROOT / "chapters/results/language.json")
    assert settings["n_steps"] == STEPS and tuple(settings["rates"]) == RATES


def test_words_are_spelt_with_the_model_s_probabilities():
    model = MLP((81, 27), criterion="cross-entropy")
    theta = np.zeros(model.n_params)
    W, bias = model.unflatten(theta)[0]
    bias[:] = -50
    bias[[0, 26]] = np.log([3, 1])  # the letter a with probability ¾, else the end
    lengths = np.array([len(w) for w in spell(model, theta, np.random.default_rng(0), 4000, longest=40)])
    np.testing.assert_allclose([np.mean(lengths == n) for n in range(4)], 0.25 * 0.75 ** np.arange(4), atol=0.025)
    assert set(spell(model, theta, np.random.default_rng(1), 40, longest=1)) == {"", "a"}
    assert len(spell(model, theta, np.random.default_rng(1), 1)) == 1
    assert spell(model, theta, np.random.default_rng(5), 3) == spell(model, theta, np.random.default_rng(5), 3)
