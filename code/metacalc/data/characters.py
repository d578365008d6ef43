"""Characters as images: handwritten ones of 8 or 30 alphabets, printed ones of 9 scripts; and splits without leaks.

A class is a character, named "script/character". Alphabets borrow from one another, so that a script that was never
seen in training may hold letters that were. `Characters.split` keeps look-alikes apart: no two classes that it hands
out look alike, whether they stand on the same side of the split or not.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path as FilePath
from unicodedata import category, decomposition

import numpy as np

from metacalc.arrays import AnyArray, Array, Flags
from metacalc.checks import count
from metacalc.data.download import damaged, fetch
from metacalc.extras import extra
from metacalc.tasks.few_shot import FewShotClassification, Pooled

with extra("data"):
    import matplotlib
    import scipy
    from matplotlib import ft2font
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D, Bbox
    from PIL import Image

__all__ = ["CONFUSABLES", "Characters", "omniglot", "omniglot_background", "printed_characters", "script_of"]

FACES = tuple(f"DejaVu{family}{style}.ttf" for family, styles in (
    ("Sans", ("", "-Bold", "-Oblique", "-BoldOblique")), ("SansMono", ("", "-Bold", "-Oblique", "-BoldOblique")),
    ("Serif", ("", "-Bold", "-Italic", "-BoldItalic"))) for style in styles)
FACES += tuple(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta"))
SCRIPTS = {  # first and last letter of each range; letters with accents are left out
    "Armenian": "ԱՖաֆ", "Cyrillic": "АЯаяЂЂЄЅІІЈЋЏЏђђєѕііјћџџ", "Georgian": "აჶႠჅ", "Greek": "ΑΩαω", "Hebrew": "את",
    "Lao": "ກຮ", "Latin": "AZazÐÐ", "Lisu": "ꓐꓷ", "Old Italic": "\U00010300\U0001031e",
}
BACKGROUND = "6fc6ea88438c54f4578e2d75f006b4a3a08061caf28479112a8da779b6b7eab0"  # of names and pixels in images_background.zip
#: Letters that are taken for one another, after the families in the Unicode Consortium's list for Technical Standard 39.
CONFUSABLES = tuple("""AΑАꓮ BΒВꓐ CСꓚ Dꓓ EΕЕꓰ Fꓝ Gꓖ HΗНꓧ IlΙІꓲ JЈꓙ KΚКꓗ Lꓡ MΜМꓟ NΝꓠ OoΟοОоՕօס PΡРꓑ Rꓣ SЅՏꓢ TΤТꓔ UՍꓴ Vꓦ Wꓪ XΧХꓫ
YΥꓬ ZΖꓜ aаα cс eе gց hһհ iіι jј nո pрρ qզ sѕ uսυ vν xх yуγ ΓГ ΠП ФΦ κк rг""".split())


@dataclass(frozen=True, eq=False)
class Characters:
    """Images of characters, which of them look alike, and splits of them by scripts.

    Parameters
    ----------
    x : ndarray of float32, shape (n_examples, size²)
        Ink, from 0 to 1.
    labels : ndarray of str, shape (n_examples,)
        "script/character".
    alike : ndarray of bool, shape (n_classes, n_classes)
        Which classes look alike, in the order of `classes`.
    outlines : tuple of matplotlib.path.Path
        Of printed characters, the outline of each example in the unit square.
    turns : ndarray of bool, shape (3, n_classes, n_classes), optional
        Of handwriting, which classes look like which others, or like themselves, if they are turned by 90, 180, 270 degrees.
    """

    x: Array
    labels: AnyArray
    alike: Flags
    outlines: tuple[Path, ...] = field(default=(), repr=False)
    turns: Flags | None = field(default=None, repr=False)

    @property
    def classes(self) -> AnyArray:
        """The different labels, sorted."""
        return np.unique(self.labels)

    @property
    def scripts(self) -> list[str]:
        """The different scripts, sorted."""
        return sorted({script_of(c) for c in self.classes})

    def split(self, test: Sequence[str], validation: Sequence[str] = ()) -> tuple[list[str], list[str], list[str]]:
        """Classes for meta-training, validation and meta-testing, of which no two look alike.

        The scripts are gone through in this order: test, validation, all others. A class is kept unless it looks like
        one that has been kept already. So the test script stays as whole as it can, and the training set pays.

        Parameters
        ----------
        test, validation : sequence of str
            Scripts; different ones.

        Returns
        -------
        train : list of str
            Labels for meta-training.
        validation : list of str
            For validation.
        test : list of str
            For meta-testing.

        Raises
        ------
        ValueError
            If a script does not occur, or stands on more than one side.
        """
        for name, scripts in (("test", list(test)), ("validation", list(validation))):
            if not set(scripts) <= set(self.scripts):
                raise ValueError(f"{name} must be some of the scripts {self.scripts}, got {scripts!r}")
        if set(test) & set(validation):
            raise ValueError(f"validation must not share a script with test, got {sorted(set(test) & set(validation))}")
        train = [s for s in self.scripts if s not in (*test, *validation)]
        classes, kept, sides = self.classes, [], []
        for scripts in (test, validation, train):
            before = len(kept)
            for c, label in enumerate(classes):
                if script_of(label) in scripts and not self.alike[c, kept].any():
                    kept.append(c)
            sides.append(classes[kept[before:]].tolist())
        return sides[2], sides[1], sides[0]

    def turned(self, classes: Sequence[str], apart_from: Sequence[str] = ()) -> tuple[Array, AnyArray]:
        """Images of some classes, and the same turned by 90, 180 and 270 degrees as further classes, for training.

        It multiplies by nearly four the classes that there are to learn from (Santoro et al. 2016). A turned class
        is left out if it looks like one of `apart_from`, as a turned N looks like a Z, or like itself, as an O does.

        Parameters
        ----------
        classes : sequence of str
            Labels for meta-training.
        apart_from : sequence of str
            Labels for validation and meta-testing.

        Returns
        -------
        x : ndarray, shape (n, size²)
            First as they are, then turn by turn, anticlockwise.
        labels : ndarray of str, shape (n,)
            The class of each; a turned one has the degrees behind its name, "Latin/character01 90°".

        Raises
        ------
        ValueError
            If it is not known how the classes look when they are turned, as of printed characters.

        Examples
        --------
        >>> new = np.zeros((3, 1, 1), bool)
        >>> letters = Characters(np.array([[1, 2, 3, 4]]), np.array(["a/b"]), new[0], turns=new)
        >>> x, labels = letters.turned(["a/b"])
        >>> x.tolist(), labels.tolist()
        ([[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]], ['a/b', 'a/b 90°', 'a/b 180°', 'a/b 270°'])
        """
        if self.turns is None:
            raise ValueError("turns must be known: which classes look like which if they are turned")
        names, own = np.unique(self.labels, return_inverse=True)
        size, apart = math.isqrt(self.x.shape[1]), np.isin(names, apart_from)
        chosen = np.isin(names, classes)
        x, labels = [self.x[chosen[own]]], [self.labels[chosen[own]]]
        for turn, alike in enumerate(self.turns, start=1):
            kept = (chosen & ~alike[:, apart].any(axis=1) & ~alike.diagonal())[own]
            sheets = np.rot90(self.x[kept].reshape(-1, size, size), turn, axes=(1, 2))
            x.append(sheets.reshape(-1, size**2))
            labels.append(np.char.add(self.labels[kept], f" {90 * turn}°"))
        return np.concatenate(x), np.concatenate(labels)

    def tasks(self, classes: Sequence[str], n_way: int = 5, k_shots: int = 1, n_query: int = 5) -> FewShotClassification:
        """N-way classification tasks among some of the classes, as a `FewShotClassification`."""
        chosen = np.isin(self.labels, classes)
        return FewShotClassification(self.x[chosen], self.labels[chosen], n_way, k_shots, n_query)

    def by_script(self, classes: Sequence[str], n_way: int = 5, k_shots: int = 1,
                  n_query: int = 5) -> dict[str, FewShotClassification]:
        """The same for each script on its own: {script: `FewShotClassification` of its classes}."""
        scripts = sorted({script_of(c) for c in classes})
        return {s: self.tasks([c for c in classes if script_of(c) == s], n_way, k_shots, n_query) for s in scripts}

    def pool(self, classes: Sequence[str], n_examples: int = 100) -> Pooled:
        """Some of the classes in one task, as `Pooled`."""
        chosen = np.isin(self.labels, classes)
        return Pooled(self.x[chosen], self.labels[chosen], n_examples)


def script_of(label: str) -> str:
    """The script that a class belongs to.

    Parameters
    ----------
    label : str
        "script/character".

    Returns
    -------
    str
        The part before the slash.

    Examples
    --------
    >>> script_of("Greek/α")
    'Greek'
    """
    return label.split("/")[0]


@cache
def omniglot(size: int = 14, download: bool = True) -> Characters:
    """Handwritten characters of 8 alphabets, each by 20 people: two parts of Omniglot (Lake et al. 2015; MIT licence).

    Characters of two alphabets look alike if, of one of them, at least a fifth of the drawings are nearer to a drawing of
    the other character than to any other of their own.

    Parameters
    ----------
    size : int
        Pixels along a side; the drawings have 105, which are averaged.
    download : bool
        Whether the files may be downloaded; see `fetch`.

    Returns
    -------
    Characters
        4,840 examples of 242 classes.

    Raises
    ------
    ValueError
        If `size` is not a positive integer.
    FileNotFoundError
        If the files cannot be had.
    """
    size, images = count(size, "size", 1), {}
    for part in ("small1", "small2"):  # Greek and Latin are in both
        with zipfile.ZipFile(fetch(f"omniglot/images_background_{part}.zip", download)) as archive:
            for name in archive.namelist():
                if name.endswith(".png"):
                    _, script, character, drawing = name.split("/")
                    images.setdefault((f"{script}/{character}", drawing), archive.read(name))
    drawings = [Image.open(io.BytesIO(images[key])).convert("L") for key in sorted(images)]
    return _drawn(drawings, np.array([label for label, _ in sorted(images)]), size)


@cache
def omniglot_background(size: int = 28, download: bool = True) -> Characters:
    """Handwritten characters of 30 alphabets, each by 20 people: Omniglot's whole background set (Lake et al. 2015).

    The licence is MIT. Characters of two alphabets look alike if `omniglot` would say so. To compare all 19,280 drawings takes
    half a minute of one processor.

    Parameters
    ----------
    size : int
        Pixels along a side; the drawings have 105, which are averaged.
    download : bool
        Whether the file may be downloaded; see `fetch`.

    Returns
    -------
    Characters
        19,280 examples of 964 classes.

    Raises
    ------
    ValueError
        If `size` is not a positive integer.
    FileNotFoundError
        If the file cannot be had, or does not hold the drawings, every pixel of them. How they are packed does not matter.
    """
    size, name = count(size, "size", 1), "omniglot/images_background.zip"
    path, images, digest = fetch(name, download, repacked=True), {}, hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.namelist()):
                if entry.endswith(".png"):
                    images[entry.split("/", 1)[1]] = Image.open(io.BytesIO(archive.read(entry))).convert("L")
    except (zipfile.BadZipFile, OSError, IndexError) as error:
        raise damaged(path, name, f"it cannot be read ({error})") from error
    for entry in sorted(images):
        digest.update(entry.encode() + np.packbits(np.asarray(images[entry]) < 128).tobytes())
    if digest.hexdigest() != BACKGROUND:
        raise damaged(path, name, f"the SHA-256 of its drawings' names and pixels is not {BACKGROUND}")
    return _drawn([images[entry] for entry in sorted(images)], np.array([e.rpartition("/")[0] for e in sorted(images)]), size)


def _drawn(drawings, labels, size):
    """Characters from drawings of 105 × 105 pixels, sorted by their labels."""
    x = 1 - np.array([drawing.resize((size, size), Image.Resampling.BOX) for drawing in drawings], np.float32) / 255
    turns = _mistaken(np.array([_fitted(drawing) for drawing in drawings]), labels)
    scripts = np.array([script_of(c) for c in np.unique(labels)])
    alike = turns[0] & (scripts[:, None] != scripts)
    return Characters(_frozen(x.reshape(len(x), -1)), _frozen(labels), _frozen(alike), turns=_frozen(turns[1:]))


def _fitted(drawing):
    """A drawing's ink, whatever its place and size on the sheet, fitted into a square of 28 × 28 pixels and blurred."""
    ink = Image.eval(drawing, lambda v: 255 - v)
    ink = ink.crop(ink.getbbox())
    (width, height), side = ink.size, max(ink.size)
    square = Image.new("L", (side, side))
    square.paste(ink, ((side - width) // 2, (side - height) // 2))
    small = np.pad(np.asarray(square.resize((24, 24), Image.Resampling.BOX)), 2) / np.float32(255)
    return scipy.ndimage.gaussian_filter(small, 1.5)


def _mistaken(sheets, labels, share=0.2):
    """Which classes, turned by 0, 90, 180, 270 degrees, are mistaken for which by the nearest drawing, or the other way round.

    Shape (4, n_classes, n_classes). A drawing is taken for one of another class if that is as near as any of its own class.
    """
    classes, own = np.unique(labels, return_inverse=True)
    starts, places = np.searchsorted(own, np.arange(len(classes))), np.arange(len(own))
    still, mistaken, least = _standardised(sheets.reshape(len(sheets), -1)), [], np.empty((len(own), 1))
    for turn in range(4):
        rows = _standardised(np.rot90(sheets, turn, axes=(1, 2)).reshape(len(sheets), -1))
        nearest = np.empty((len(rows), len(classes)), np.float32)
        for part in np.array_split(places, -(-len(rows) // 1000)):  # all at once would take 1.5 GB for a thousand classes
            likeness = rows[part] @ still.T
            if turn == 0:
                likeness[np.arange(len(part)), part] = -1
            nearest[part] = np.maximum.reduceat(likeness, starts, axis=1)
        if turn == 0:
            least = nearest[places, own][:, None]
        wrong = np.add.reduceat(nearest >= least, starts, axis=0, dtype=float)
        mistaken.append(wrong / np.bincount(own)[:, None] >= share)
    return np.stack([mistaken[turn] | mistaken[-turn].T for turn in range(4)])


@cache
def printed_characters(size: int = 14, seed: int = 0) -> Characters:
    """Letters of 9 scripts in the typefaces that come with matplotlib (DejaVu and STIX), each a little displaced.

    An example is a letter in one face, fitted into the square, then turned, slanted, stretched and moved at random. A
    letter that fewer than 12 faces have is drawn two or three times in each, so that all classes have 12 or 16. Two
    letters look alike if, fitted into the square and not displaced, their images correlate by 0.94 or more in a face
    that has both, or if one of `CONFUSABLES` names both.

    Parameters
    ----------
    size : int
        Pixels along a side.
    seed : int
        Fixes the displacements.

    Returns
    -------
    Characters

    Raises
    ------
    ValueError
        If `size` is not a positive integer.

    Examples
    --------
    >>> characters = printed_characters()
    >>> train, _, test = characters.split(test=["Georgian"])
    >>> "Latin/R" in train, "Georgian/ა" in test, "Georgian/ა" in train
    (True, True, False)
    >>> all_but_greek, _, greek = characters.split(test=["Greek"])
    >>> "Greek/Α" in greek, "Latin/A" in all_but_greek, "Cyrillic/А" in all_but_greek
    (True, False, False)
    """
    size, rng = count(size, "size", 1), np.random.default_rng(seed)
    glyphs = [(f"{script}/{letter}", face, outline) for script, ranges in SCRIPTS.items()
              for letter in _letters(ranges) for face, outline in _outlines(letter)]
    labels, faces, fitted = (list(column) for column in zip(*glyphs))
    alike = _alike(labels, faces, _raster(fitted, 14))
    counts = dict(zip(*np.unique(labels, return_counts=True)))
    drawn = [(label, outline) for label, outline in zip(labels, fitted) for _ in range(-(-12 // counts[label]))]
    outlines = tuple(outline.transformed(_displacement(rng)) for _, outline in drawn)
    return Characters(_frozen(_raster(outlines, size)), _frozen(np.array([label for label, _ in drawn])), _frozen(alike),
                      outlines)


def _letters(ranges):
    """The letters without accents in a string of pairs: first and last of each range."""
    among = [chr(c) for first, last in zip(ranges[::2], ranges[1::2]) for c in range(ord(first), ord(last) + 1)]
    return [c for c in among if category(c) in ("Lu", "Ll", "Lo") and not decomposition(c)]


@cache
def _fonts():
    """Each face and the characters that it has."""
    folder = FilePath(matplotlib.get_data_path()) / "fonts/ttf"
    fonts = [ft2font.FT2Font(str(folder / face)) for face in FACES]
    for font in fonts:
        font.set_size(64, 72)
    return [(font, font.get_charmap()) for font in fonts]


def _outlines(letter):
    """The letter's outline in each face that has it: [(number of the face, Path)], its longer side 0.8 about (½, ½)."""
    found = []
    flags = getattr(ft2font, "LoadFlags", None)  # which matplotlib has from 3.10 on
    no_hinting = flags.NO_HINTING if flags else getattr(ft2font, "LOAD_NO_HINTING")  # noqa: B009
    for number, (font, known) in enumerate(_fonts()):
        if ord(letter) in known:
            font.load_char(ord(letter), flags=no_hinting)
            vertices, codes = font.get_path()
            low, high = vertices.min(axis=0), vertices.max(axis=0)
            found.append((number, Path(0.5 + 0.8 * (vertices - (low + high) / 2) / (high - low).max(), codes)))
    return found


def _displacement(rng):
    """A random affine map near the identity that leaves nearly all of the letter in the unit square."""
    turn, slant, stretch = rng.normal(0, (4, 5, 0.08))
    scale = rng.uniform(0.75, 1.05)
    return (Affine2D().translate(-0.5, -0.5).rotate_deg(turn).skew_deg(slant, 0)
            .scale(scale * np.exp(stretch), scale * np.exp(-stretch)).translate(*rng.normal(0.5, 0.03, 2)))


def _raster(outlines, size):
    """Ink in size × size pixels for outlines in the unit square: all drawn by Agg, without hinting, on one sheet."""
    columns = 64
    rows = -(-len(outlines) // columns)
    renderer = RendererAgg(columns * size, rows * size, 72)
    context = renderer.new_gc()
    context.set_linewidth(0)
    for i, outline in enumerate(outlines):
        row, column = divmod(i, columns)
        corner = column * size, (rows - 1 - row) * size
        context.set_clip_rectangle(Bbox.from_bounds(*corner, size, size))
        renderer.draw_path(context, outline, Affine2D().scale(size).translate(*corner), (0, 0, 0, 1))
    ink = np.asarray(renderer.buffer_rgba())[..., 3].reshape(rows, size, columns, size)
    return ink.swapaxes(1, 2).reshape(-1, size * size)[:len(outlines)].astype(np.float32) / 255


def _alike(labels, faces, x, least=0.94):
    """Which classes have images that correlate by `least` or more in some face, or are named in CONFUSABLES."""
    classes, own = np.unique(labels, return_inverse=True)
    alike = np.zeros((len(classes),) * 2, bool)
    for face in range(len(FACES)):
        there = np.flatnonzero(np.array(faces) == face)
        alike[np.ix_(own[there], own[there])] |= _correlations(x[there]) >= least
    letters = [label.split("/")[1] for label in classes]
    for family in CONFUSABLES:
        for a, b in combinations([i for i, letter in enumerate(letters) if letter in family], 2):
            alike[a, b] = alike[b, a] = True
    return alike & ~np.eye(len(classes), dtype=bool)


def _correlations(x):
    """Of every image with every other, shape (n, n)."""
    x = _standardised(x)
    return x @ x.T


def _standardised(x):
    """Images with mean 0 and length 1."""
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _frozen(array):
    """The array, no longer to be written to: what is cached is shared."""
    array.setflags(write=False)
    return array
