"""Words of a hundred languages, and splits of them without leaks. They come with the package `babel`.

Babel carries Unicode's CLDR, and in it the names of languages and of territories in many languages (licence
Unicode-3.0): `Locale("fi").languages`, `.territories`. A meta-test on them is fair only if three things do not leak:

- the language itself, and in the harder test its family (`folds`);
- the names: those of one entity are cognates (Finland, Finlandia, Finnland). So the entities are split too, in groups
  that share a stem (`entity_groups`), and a word that is spelt alike on both sides is not trained on (`split`);
- lists that are copies: some locales hold the names of another language (`COPIES`), and close relatives spell most names
  alike (`overlap`, `SIMILAR`).
"""

import re
import unicodedata
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from metacalc.checks import count
from metacalc.extras import extra
from metacalc.tasks.letters import ALPHABET

__all__ = [
    "COPIES", "FAMILIES", "Fold", "english", "entity_groups", "families", "folds", "names", "normalise", "overlap", "split",
]

BABEL = "2.18"  # whose words the families and the copies below, and the stored results, come from: each release has others
SIMILAR = 0.6   # two languages that spell this share of their names alike, or more, never stand on two sides
STEM, SHARE, COMMON = 4, 0.3, 12  # see `entity_groups`

#: Every locale without script or territory in its name that has 250 different words or more, at least nine tenths of
#: them in the letters a–z, but for `COPIES`. Families are those of Glottolog (Hammarström et al. 2024), Indo-European and
#: Atlantic-Congo by their branches. Latin stands with Romance; creoles and constructed languages stand with the family
#: that most of their words come from, so that no one's vocabulary is on two sides.
FAMILIES = {family: codes.split() for family, codes in {
    "Romance": "an ast ca eo es fr fur gl ia ie it kea la lij lld mfe oc pt rm ro sc scn vec",
    "Germanic": "af da de en fo frr fy gsw is ksh lb nb nds nl pcm sv wae",
    "Bantu": "asa bez kde ksb lg lu luy mer nd nyn rn sbp sn sw xh xog zu",
    "Slavic": "bs cs hr hsb pl sk sl szl",
    "Afro-Asiatic": "ha kab mt om rif so tzm",
    "Austronesian": "bew id jv mg mi ms to",
    "Atlantic-Congo other than Bantu": "ee ff sg wo yo",
    "Uralic": "et fi hu se smn",
    "Celtic": "br cy ga gd",
    "Turkic": "tk tr uz",
    "Baltic": "lt lv",
    "Nilotic": "kln luo",
    "Albanian": "sq", "Austroasiatic": "vi", "Basque": "eu", "Dravidian": "kxv", "Eskimo-Aleut": "kl", "Iranian": "ku",
    "Khoe-Kwadi": "naq", "Macro-Jê": "kgp", "Quechuan": "qu", "Songhay": "dje", "Tupian": "yrl",
}.items()}

#: Locales left out, and the one that is kept in their place: four fifths of their names or more are the same.
COPIES = {
    **dict.fromkeys(("ceb", "fil", "ig"), "en"), **dict.fromkeys(("khq", "ses", "twq"), "dje"),
    **dict.fromkeys(("dav", "ebu", "guz", "jmc", "kam", "ki", "rof", "rwk", "saq", "teo", "vun"), "luy"),
    "cgg": "nyn", "dsb": "hsb", "ht": "fr", "nn": "nb", "no": "nb", "seh": "pt",
}
# Letters that Unicode does not decompose; the letter-like apostrophes only join.
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th",
                        "ʻ": "", "ʼ": ""})


def families() -> dict[str, str]:
    """{code: family} of all languages, sorted by code.

    Returns
    -------
    dict of str: str
        Language code: family.

    Examples
    --------
    >>> families()["fi"], len(families())
    ('Uralic', 111)
    """
    return dict(sorted((code, family) for family, codes in FAMILIES.items() for code in codes))


def english(code: str) -> str:
    """The English name of a language.

    Parameters
    ----------
    code : str
        As Babel has it.

    Returns
    -------
    str
        The name.

    Examples
    --------
    >>> english("fi")
    'Finnish'
    """
    return _locale(code).english_name or {"lld": "Ladin"}[code]


def normalise(name: str) -> tuple[str, ...]:
    """The words of a name in the letters a–z. A word that has another letter is left out.

    Case is folded; diacritics go (Unicode's compatibility decomposition NFKD without its combining marks); letters
    with a stroke and ligatures are written plainly (ł, ø, æ); whatever is no letter separates words.

    Parameters
    ----------
    name : str
        In whatever script.

    Returns
    -------
    tuple of str
        The words that are left.

    Examples
    --------
    >>> normalise("Côte d’Ivoire")
    ('cote', 'd', 'ivoire')
    >>> normalise("Việt Nam (Вьетнам)")
    ('viet', 'nam')
    """
    return tuple(word for word in _words(name) if set(word) <= set(ALPHABET))


def _words(name):
    letters = (c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return re.findall(r"[^\W\d_]+", "".join(letters).translate(_PLAIN))


@cache
def names(code: str) -> dict[str, tuple[str, ...]]:
    """Names of languages and territories in a language, {entity: words}.

    Parameters
    ----------
    code : str
        A locale of CLDR, such as "fi".

    Returns
    -------
    dict of str: tuple of str
        Entities are "L-fi", "T-FI" and the like; one without a word in a–z is missing.

    Raises
    ------
    ValueError
        If there is no such locale.

    Examples
    --------
    >>> names("fi")["T-DE"], names("fi")["L-de"]
    (('saksa',), ('saksa',))
    """
    locale = _locale(code)
    listed = {f"{kind}-{entity}": normalise(name)
              for kind, table in (("L", locale.languages), ("T", locale.territories))
              for entity, name in table.items() if entity.isalpha()}
    return {entity: words for entity, words in listed.items() if words}


def _locale(code):
    with extra("data"):
        from babel import Locale
    try:
        return Locale.parse(code)
    except Exception as error:  # babel raises kinds of its own
        raise ValueError(f"code must name a locale of CLDR, got {code!r}") from error


def overlap(one: str, other: str) -> float:
    """Share of the entities that both languages name whose names are spelt alike.

    Parameters
    ----------
    one, other : str
        Codes of two languages.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> overlap("teo", "luy") > 0.98, overlap("fi", "et") < 0.4    # the former two are no relatives at all
    (True, True)
    """
    ours, theirs = names(one), names(other)
    shared = len(ours.keys() & theirs.keys())
    return len(ours.items() & theirs.items()) / shared if shared else 0.0


@cache
def _similar():
    """Every pair of languages with an `overlap` of `SIMILAR` or more, all pairs at once."""
    codes, spellings = list(families()), {}
    entities = {e: i for i, e in enumerate(sorted({e for code in codes for e in names(code)}))}
    table = np.full((len(codes), len(entities)), -1)
    for row, code in zip(table, codes):
        for entity, words in names(code).items():
            row[entities[entity]] = spellings.setdefault(words, len(spellings))
    named = table >= 0
    shared = named.astype(int) @ named.T
    alike = np.array([((table == row) & named).sum(axis=1) for row in table])
    return {frozenset((codes[i], codes[j])) for i, j in np.argwhere(alike >= SIMILAR * shared) if i < j}


@cache
def entity_groups() -> list[tuple[str, ...]]:
    """The entities in groups whose names are related, such as Finland and Finnish; the largest first.

    In one language two entities share a stem if words of theirs agree in their first four letters. A stem of more than
    twelve entities ("island", "west") says nothing. Two entities belong together if they share a stem in 30% of the
    languages that name both, and in two at least; so does whatever belongs together with one of them.

    Returns
    -------
    list of tuple of str

    Examples
    --------
    >>> [g for g in entity_groups() if "T-TR" in g]
    [('L-crh', 'L-ota', 'L-tk', 'L-tr', 'L-tt', 'T-TC', 'T-TM', 'T-TR')]
    """
    together, naming = Counter(), defaultdict(set)
    for code in families():
        stems = defaultdict(set)
        for entity, words in names(code).items():
            naming[entity].add(code)
            for word in words:
                if len(word) >= STEM:
                    stems[word[:STEM]].add(entity)
        alike = [combinations(sorted(group), 2) for group in stems.values() if len(group) <= COMMON]
        together.update({pair for pairs in alike for pair in pairs})
    groups = {entity: {entity} for entity in naming}
    for (a, b), n in together.items():
        if n >= max(2, SHARE * len(naming[a] & naming[b])) and groups[a] is not groups[b]:
            groups[a] |= groups[b]
            for entity in groups[b]:
                groups[entity] = groups[a]
    return sorted({tuple(sorted(group)) for group in groups.values()}, key=lambda group: (-len(group), group))


class Fold(NamedTuple):
    """Codes of the languages for meta-training, for validation and for meta-testing.

    Attributes
    ----------
    train : tuple of str
        Codes for meta-training.
    valid : tuple of str
        For validation.
    test : tuple of str
        For meta-testing.
    """

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]


def folds(by: str = "language", n_folds: int = 5, seed: int = 0) -> list[Fold]:
    """Splits of the languages such that each is held out for testing once.

    A fifth is tested on, the next fifth validates, the rest trains; without the languages that spell too many names as
    one does that is held out (`SIMILAR`): they sit out.

    Parameters
    ----------
    by : {"language", "family"}
        What is held out: single languages, whose relatives may be in training; or whole families.
    n_folds : int
        At least 3.
    seed : int
        Fixes the order in which the languages are dealt out.

    Returns
    -------
    list of Fold
        One for each part that is held out.

    Raises
    ------
    ValueError
        If an argument is not as above.

    Examples
    --------
    >>> len(folds()), len(folds()[0].test)
    (5, 23)
    """
    if by not in ("language", "family"):
        raise ValueError(f"by must be 'language' or 'family', got {by!r}")
    count(n_folds, "n_folds", 3)
    count(seed, "seed")
    units = list(FAMILIES.values()) if by == "family" else [[code] for code in families()]
    parts = _dealt(units, n_folds, seed)

    def apart(codes, held_out):
        return tuple(sorted(c for c in codes if not any(frozenset((c, other)) in _similar() for other in held_out)))

    result = []
    for i in range(n_folds):
        test, valid, *train = parts[i:] + parts[:i]
        valid = apart(valid, test)
        result.append(Fold(apart(sum(train, []), [*test, *valid]), valid, tuple(sorted(test))))
    return result


def _dealt(units, n_parts, seed):
    """The units' members in parts of about equal size: large units first, else in random order, to the smallest part."""
    order = np.random.default_rng(seed).permutation(len(units))
    parts = [[] for _ in range(n_parts)]
    for unit in sorted((units[i] for i in order), key=len, reverse=True):
        min(parts, key=len).extend(unit)
    return parts


def split(fold: Fold, part: int = 0, seed: int = 0) -> tuple[
        dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
    """The words of a fold's three sides: of different languages, of different entities, and none on two sides.

    The groups of entities are dealt out to three parts, one for each side; the largest group always trains. A word that
    occurs in any language among the names of a held-out entity is not trained on.

    Parameters
    ----------
    fold : Fold
        Which languages are on which side.
    part : int
        Which part tests, 0, 1 or 2; the next one validates.
    seed : int
        Fixes how the groups are dealt out.

    Returns
    -------
    train : dict of str: list of str
        Language code: its different words, sorted.
    valid : dict of str: list of str
        The same of the languages for validation.
    test : dict of str: list of str
        The same of those for meta-testing.

    Raises
    ------
    ValueError
        If `part` is not 0, 1 or 2.

    Examples
    --------
    >>> train, valid, test = split(folds()[0])
    >>> sorted(test) == list(folds()[0].test), "saksa" in test["fi"] if "fi" in test else "fi" in {*train, *valid}
    (True, True)
    """
    if part not in (0, 1, 2):
        raise ValueError(f"part must be 0, 1 or 2, got {part!r}")
    parts = _dealt(entity_groups()[1:], 3, seed)
    test, valid = set(parts[part]), set(parts[(part + 1) % 3])

    def written(entities):
        return {w for code in families() for e, words in names(code).items() if e in entities for w in words}

    def words(codes, those, held_out):
        unwanted = written(held_out)
        return {c: sorted({w for e, ws in names(c).items() if those(e) for w in ws} - unwanted) for c in codes}

    return (words(fold.train, lambda e: e not in test | valid, test | valid), words(fold.valid, valid.__contains__, test),
            words(fold.test, test.__contains__, set()))
