"""Letters: a task is a language, whose words are to be continued letter by letter, learned from a few of them."""

import copy
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from metacalc.arrays import Array, ArrayLike, DTypeLike, Integers
from metacalc.checks import count, generator, precision
from metacalc.tasks.base import Batch

__all__ = ["ALPHABET", "CONTEXT", "NextLetter", "encode", "one_hot"]

ALPHABET = "abcdefghijklmnopqrstuvwxyz_"  # the last one stands before a word, and for its end
_PLACES = np.full(256, -1)  # of a character's code in the alphabet
_PLACES[[ord(c) for c in ALPHABET]] = np.arange(len(ALPHABET))
CONTEXT = 3     # letters that the next one is predicted from
LETTERS = 8     # predictions that a word counts for: the mean over the languages is 7.7, the end of the word included


def encode(words: Sequence[str]) -> tuple[Integers, Integers, Integers]:
    """Every prediction that a list of words asks for: three letters, and the one that follows.

    Parameters
    ----------
    words : sequence of str
        In a–z.

    Returns
    -------
    contexts : ndarray of int, shape (n, 3)
        Places in `ALPHABET`; before a word stand its marks.
    following : ndarray of int, shape (n,)
        The letter that follows; at the end of a word, its mark.
    lengths : ndarray of int, shape (len(words),)
        Predictions of each word: its letters and its end.

    Raises
    ------
    ValueError
        If a word has other letters.

    Examples
    --------
    >>> contexts, following, _ = encode(["suomi"])
    >>> [("".join(ALPHABET[i] for i in c), ALPHABET[j]) for c, j in zip(contexts, following)][:2]
    [('___', 's'), ('__s', 'u')]
    """
    mark = ALPHABET[-1]
    text = "".join(mark * CONTEXT + word + mark for word in words)
    lengths = np.array([len(word) + 1 for word in words])
    places = _PLACES[np.frombuffer(text.encode("ascii", "replace"), np.uint8)]
    if (places < 0).any() or text.count(mark) > (CONTEXT + 1) * len(words):
        raise ValueError("words must be in a–z")
    starts = np.cumsum(lengths + CONTEXT) - lengths - CONTEXT
    windows = _runs(starts, lengths)[:, None] + np.arange(CONTEXT + 1)
    return places[windows[:, :-1]], places[windows[:, -1]], lengths


def _runs(starts, lengths):
    """start, start + 1, ... for each length, one run behind the other."""
    return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())


def one_hot(contexts: ArrayLike, dtype: DTypeLike = np.float64) -> Array:
    """What the model sees of contexts, shape (..., 81): 27 entries for each of the three letters, one of them 1.

    Examples
    --------
    >>> one_hot([[26, 26, 0]]).nonzero()[1]
    array([26, 53, 54])
    """
    x = np.eye(len(ALPHABET), dtype=dtype)[np.asarray(contexts)]
    return x.reshape(*x.shape[:-2], -1)


class NextLetter:
    """Tasks of languages: predict the next letter, or the end of the word, from the three letters before it.

    A task is a language. It shows K words of it, in random order, and asks for others. All tasks of a batch have the
    same number of examples, and words have different lengths: so K words are counted as 8K letters, their ends
    included, and the last word is cut there.

    Parameters
    ----------
    words : dict of str: set or list of str
        Each language's different words, in a–z.
    k_shots : int
        Words K to learn from.
    n_query : int
        Words to be judged on.
    dtype : float32 or float64
        Of the inputs x.

    Attributes
    ----------
    codes : tuple of str
        The languages, sorted.

    Raises
    ------
    ValueError
        If an argument is not as above, or a language has too few words for k_shots and n_query.

    Examples
    --------
    >>> tasks = NextLetter({"fi": ["suomi", "ruotsi", "norja", "tanska", "puola"]}, k_shots=1, n_query=2)
    >>> batch = tasks.sample(np.random.default_rng(0), n_tasks=2)
    >>> batch.x_support.shape, batch.y_query.shape
    ((2, 8, 81), (2, 16))
    """

    def __init__(self, words: Mapping[str, Collection[str]], k_shots: int = 10, n_query: int = 10,
                 dtype: DTypeLike = np.float32) -> None:
        self.k_shots, self.n_query = count(k_shots, "k_shots", 1), count(n_query, "n_query", 1)
        precision(dtype)
        self.words, self.dtype, self.codes = words, dtype, tuple(sorted(words))
        if not self.codes:
            raise ValueError("words must hold at least one language")
        self._encoded = []
        for code in self.codes:
            own = sorted(words[code])
            if not own or not all(isinstance(w, str) and w and set(w) <= set(ALPHABET[:-1]) for w in own):
                raise ValueError(f"words of {code} must be words in a–z, at least one")
            if len(set(own)) < len(own):
                raise ValueError(f"words of {code} must be different ones")
            x, y, lengths = encode(own)
            self._encoded.append((x, y, lengths, np.cumsum(lengths) - lengths))
        self._check_size()

    def _check_size(self):
        needed = LETTERS * (self.k_shots + self.n_query)
        for code, (*_, lengths, _) in zip(self.codes, self._encoded):
            if lengths.sum() - lengths.max() + 1 < needed:  # the support may end within a word
                raise ValueError(f"k_shots + n_query must be fewer than {self.k_shots} + {self.n_query}: "
                                 f"{code} has {len(lengths)} words")

    def __repr__(self) -> str:
        size = sum(len(own) for own in self.words.values())
        return (f"NextLetter({len(self.codes)} languages, {' '.join(self.codes)}; {size} words, k_shots={self.k_shots}, "
                f"n_query={self.n_query}, dtype={np.dtype(self.dtype)})")

    def with_shots(self, k_shots: int) -> "NextLetter":
        """The same tasks with another number of words to learn from."""
        other = copy.copy(self)
        other.k_shots = count(k_shots, "k_shots", 1)
        other._check_size()
        return other

    def sample(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch`, each task's language by chance: x of shape (n_tasks, 8K or 8 n_query, 81), y without the 81."""
        return self._drawn(rng, generator(rng).integers(len(self.codes), size=count(n_tasks, "n_tasks", 1)))

    def of_each(self, rng: np.random.Generator, n_tasks: int) -> Batch:
        """Draw a `Batch` of `n_tasks` tasks of the first language, then as many of the second, and so on."""
        return self._drawn(generator(rng), np.repeat(np.arange(len(self.codes)), count(n_tasks, "n_tasks", 1)))

    def _drawn(self, rng, languages):
        m, n = LETTERS * self.k_shots, LETTERS * self.n_query
        contexts = np.empty((len(languages), m + n, CONTEXT), int)
        following = np.empty((len(languages), m + n), int)
        for t, language in enumerate(languages):
            x, y, lengths, starts = self._encoded[language]
            order = rng.permutation(len(lengths))
            rows, ends = _runs(starts[order], lengths[order]), np.cumsum(lengths[order])
            # The query starts with the first word that the support has nothing of.
            rows = np.concatenate([rows[:m], rows[ends[np.searchsorted(ends, m)]:][:n]])
            contexts[t], following[t] = x[rows], y[rows]
        x = one_hot(contexts, self.dtype)
        return Batch(x[:, :m], following[:, :m], x[:, m:], following[:, m:])
