"""Characters: what is drawn, and that no split lets a class or a look-alike of one on both sides."""

import hashlib
import io
import itertools
import zipfile

import numpy as np
import pytest
from matplotlib.path import Path as _Path
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw

from metacalc.data import characters as module
from metacalc.data.characters import CONFUSABLES, omniglot, omniglot_background, printed_characters, script_of
from metacalc.tasks import Batch, Shifted

PRINTED = printed_characters()
SPLITS = [(["Georgian", "Lao"], ["Hebrew", "Old Italic"]), (["Greek"], ["Latin"]), (["Lisu"], ["Cyrillic"]),
          (["Latin", "Armenian"], [])]


def on_this_machine():
    try:
        return omniglot(download=False)
    except FileNotFoundError as error:
        pytest.skip(f"the handwritten characters were not tested: {error}")


def filled(outline, size=40):
    """A letter's outline, fitted to the square and painted by Pillow, which shares no code with Agg."""
    box = outline.get_extents()
    scale = 0.8 * size / max(box.width, box.height)
    centred = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2)
    fitted = outline.transformed(centred.scale(scale).translate(size / 2, size / 2))
    winding = np.zeros((size, size), int)
    for part in fitted.to_polygons():
        sheet = Image.new("L", (size, size))
        ImageDraw.Draw(sheet).polygon([tuple(p) for p in part], fill=1)
        area = (part[:-1, 0] * part[1:, 1] - part[1:, 0] * part[:-1, 1]).sum()
        winding += np.asarray(sheet, int) * int(np.sign(area))
    return (winding != 0).ravel()


@pytest.fixture(scope="module")
def overlap():
    """Labels, and for each two the largest share of common ink in one face, painted once more."""
    labels = [f"{script}/{letter}" for script, ranges in module.SCRIPTS.items() for letter in module._letters(ranges)]
    painted = np.zeros((len(module.FACES), len(labels), 40**2), np.float32)
    for i, label in enumerate(labels):
        for face, outline in module._outlines(label[-1]):
            painted[face, i] = filled(outline)
    common = painted @ painted.swapaxes(1, 2)
    ink = painted.sum(axis=-1)
    return labels, (common / np.maximum(ink[:, :, None] + ink[:, None] - common, 1)).max(axis=0)


@pytest.mark.parametrize("test, validation", SPLITS, ids=str)
def test_no_class_and_no_look_alike_stands_on_two_sides(test, validation, overlap):
    train, valid, held_out = PRINTED.split(test, validation)
    assert {script_of(c) for c in held_out} == set(test) and {script_of(c) for c in valid} == set(validation)
    assert not {script_of(c) for c in train} & {*test, *validation} and len(train) >= 40
    sides = [(train, valid), (train, held_out), (valid, held_out)]
    labels, shared = overlap
    for one, other in sides:
        assert not set(one) & set(other)
        places = [[labels.index(c) for c in side] for side in (one, other)]
        assert shared[np.ix_(*places)].max(initial=0) < 0.95
        for a, b in itertools.product(one, other):
            assert not any(a[-1] in family and b[-1] in family for family in CONFUSABLES), (a, b)
    tasks = [PRINTED.tasks(side) for side in (train, valid, held_out) if len(side) >= 5]
    rows = [{row.tobytes() for row in t.x} for t in tasks]
    assert not any(a & b for a, b in itertools.combinations(rows, 2))  # no image twice


def test_the_look_alikes_that_everyone_knows_are_found_by_their_images_alone(monkeypatch):
    monkeypatch.setattr(module, "CONFUSABLES", ())
    by_image = printed_characters.__wrapped__()
    where = {label: i for i, label in enumerate(by_image.classes)}
    alike = lambda a, b: by_image.alike[where[a], where[b]]
    for latin, greek, cyrillic in ("AΑА", "EΕЕ", "HΗН", "OΟО", "PΡР", "TΤТ", "XΧХ"):
        assert alike(f"Latin/{latin}", f"Greek/{greek}") and alike(f"Greek/{greek}", f"Cyrillic/{cyrillic}")
    assert alike("Latin/A", "Lisu/ꓮ") and alike("Latin/o", "Armenian/օ")
    assert alike("Latin/c", "Latin/C") and alike("Latin/m", "Cyrillic/т")
    for a, b in (("Latin/A", "Greek/Β"), ("Greek/Ω", "Greek/Δ"), ("Latin/p", "Latin/q"), ("Georgian/დ", "Latin/D")):
        assert not alike(a, b)
    named = {(a, b) for a, b in itertools.combinations(where, 2) if any(a[-1] in f and b[-1] in f for f in CONFUSABLES)}
    found = {(a, b) for a, b in named if alike(a, b)}
    assert 0.8 * len(named) < len(found) < len(named)  # most; and the list is needed for the rest
    assert PRINTED.alike.sum() > by_image.alike.sum() > 2 * len(named)


def test_collections_of_characters_are_told_apart_by_identity():
    """Arrays have no truth value, so that comparing them entry by entry would raise."""
    some, same = (module.Characters(np.zeros((1, 4)), np.array(["a/b"]), np.zeros((1, 1), bool)) for _ in range(2))
    assert some != same and len({some, same, some}) == 2


def test_printed_characters_are_what_they_say():
    labels, counts = np.unique(PRINTED.labels, return_counts=True)
    assert set(counts) == {12, 16} and len(PRINTED.outlines) == len(PRINTED.x) == len(PRINTED.labels)
    assert PRINTED.scripts == sorted(module.SCRIPTS) and len(labels) > 400
    assert (PRINTED.alike == PRINTED.alike.T).all() and not PRINTED.alike.diagonal().any()
    assert PRINTED.x.min() == 0 and PRINTED.x.max() == 1 and PRINTED.x.dtype == np.float32
    assert np.all(PRINTED.x.sum(axis=1) > 2)
    again, other = printed_characters.__wrapped__(), printed_characters.__wrapped__(seed=1)
    np.testing.assert_array_equal(again.x, PRINTED.x)
    assert not np.array_equal(other.x, PRINTED.x) and (other.alike == PRINTED.alike).all()
    with pytest.raises(ValueError, match="read-only"):
        PRINTED.x[0, 0] = 1.0


def test_printed_classes_are_as_many_as_the_chapter_counts():
    assert len(PRINTED.classes) == 460 and len(PRINTED.scripts) == 9


def test_an_image_is_the_ink_within_its_outline():
    rng = np.random.default_rng(0)
    for i in rng.integers(len(PRINTED.x), size=60):
        outline = PRINTED.outlines[i]
        centres = (np.stack(np.meshgrid(np.arange(56), 55 - np.arange(56)), axis=-1).reshape(-1, 2) + 0.5) / 56
        inside = sum(np.sign(signed_area(part)) * _Path(part).contains_points(centres) for part in outline.to_polygons()) != 0
        ink = inside.reshape(14, 4, 14, 4).mean(axis=(1, 3)).ravel()
        assert np.abs(ink - PRINTED.x[i]).mean() < 0.03 and np.corrcoef(ink, PRINTED.x[i])[0, 1] > 0.95


def signed_area(part):
    return (part[:-1, 0] * part[1:, 1] - part[1:, 0] * part[:-1, 1]).sum()


def test_a_face_s_letter_is_drawn_once_where_there_are_faces_enough():
    """Support and query images of a letter are of different faces, so that none is the other slightly moved."""
    for label in ("Georgian/ა", "Latin/A", "Armenian/Ա"):
        shapes = {len(PRINTED.outlines[i].vertices) for i in np.flatnonzero(PRINTED.labels == label)}
        faces = len(module._outlines(label[-1]))
        assert faces == (PRINTED.labels == label).sum() and len(shapes) > 3


def test_shifted_images_are_moved_by_a_pixel_and_nothing_else():
    tasks = PRINTED.tasks(PRINTED.classes[:20], n_way=3, k_shots=2, n_query=4)
    plain, moved = tasks.sample(np.random.default_rng(3), 6), Shifted(tasks).sample(np.random.default_rng(3), 6)
    np.testing.assert_array_equal(plain.y_query, moved.y_query)
    seen = set()
    for before, after in zip(plain.x_query.reshape(-1, 14, 14), moved.x_query.reshape(-1, 14, 14)):
        sheet = np.pad(before, 1, mode="edge")
        where = [(i, j) for i in range(3) for j in range(3) if np.array_equal(sheet[i:i + 14, j:j + 14], after)]
        assert where
        seen.update(where[:1])
    assert len(seen) == 9
    assert Shifted(tasks, 2).with_shots(3).sample(np.random.default_rng(0), 2).x_support.shape == (2, 9, 196)
    assert "Shifted(FewShotClassification" in repr(Shifted(tasks))


def sheets(tmp_path, monkeypatch, per_class=4):
    """Two small archives like Omniglot's, with an alphabet in both."""
    rng, paths = np.random.default_rng(0), {}
    for part, scripts in (("small1", "Aa Bb"), ("small2", "Bb Cc")):
        paths[part] = tmp_path / f"{part}.zip"
        with zipfile.ZipFile(paths[part], "w") as archive:
            for script in scripts.split():
                for character in range(5):
                    for drawing in range(per_class):
                        page = np.ones((105, 105), bool)
                        top, left = rng.integers(5, 25, 2)
                        # The second character is the same in all alphabets.
                        bar = 12 * character + (0 if character == 1 else 5 * "ABC".index(script[0]))
                        page[top:top + 70, left:left + 5] = page[top + bar:top + bar + 5, left:left + 50] = False
                        image = io.BytesIO()
                        Image.fromarray(page).save(image, "png")
                        archive.writestr(f"{part}/{script}/character{character:02d}/{drawing:02d}.png", image.getvalue())
    monkeypatch.setattr(module, "fetch", lambda name, download: paths[name.split("_")[-1][:-4]])
    return omniglot.__wrapped__()


def test_handwriting_is_read_from_both_archives_each_drawing_once(tmp_path, monkeypatch):
    characters = sheets(tmp_path, monkeypatch)
    assert characters.scripts == ["Aa", "Bb", "Cc"] and len(characters.classes) == 15 and len(characters.x) == 60
    assert characters.x.shape == (60, 196) and 0 <= characters.x.min() < 0.01 and 0.3 < characters.x.max() <= 1
    same = [f"{s}/character01" for s in characters.scripts]
    where = [list(characters.classes).index(c) for c in same]
    assert characters.alike[np.ix_(where, where)].sum() == 6
    train, _, test = characters.split(["Bb"])
    assert "Bb/character01" in test and not {"Aa/character01", "Cc/character01"} & set(train)
    assert len(test) == 5  # look-alikes within an alphabet are different characters, and stay
    assert list(characters.by_script(characters.classes, n_query=1)) == ["Aa", "Bb", "Cc"]


def test_omniglot_is_the_data_set_that_the_chapter_describes():
    characters = on_this_machine()
    assert len(characters.x) == 4840 and len(characters.classes) == 242 and len(characters.scripts) == 8
    assert set(np.unique(characters.labels, return_counts=True)[1]) == {20}
    alike = {tuple(sorted(characters.classes[[i, j]])) for i, j in np.argwhere(characters.alike)}
    assert (characters.alike == characters.alike.T).all()
    assert ("Greek/character15", "Latin/character15") in alike  # the letter o
    assert all(script_of(a) != script_of(b) for a, b in alike) and 20 < len(alike) < 60
    for test in itertools.combinations(characters.scripts, 2):
        train, validation, held_out = characters.split(test, [s for s in characters.scripts if s not in test][:1])
        names = list(characters.classes)
        for one, other in itertools.combinations((train, validation, held_out), 2):
            assert not set(one) & set(other)
            assert not characters.alike[np.ix_([names.index(c) for c in one], [names.index(c) for c in other])].any()


def drawn(character, rng):
    """An L, a cross, a bar with a hook or a T: ink on a sheet of 105 × 105, its strokes of random lengths."""
    page, (long, wide) = np.zeros((105, 105), bool), rng.integers(50, 75, 2)
    if character == 0:
        page[20:20 + long, 20:28] = page[12 + long:20 + long, 20:20 + wide // 2] = True
    elif character == 1:
        page[20:20 + long, 48:56] = page[16 + long // 2:24 + long // 2, 52 - wide // 2:52 + wide // 2] = True
    elif character == 2:
        page[20:20 + long, 20:28] = page[20:40, 20:20 + wide // 3] = True
    else:
        page[20:28, 20:20 + long] = page[20:20 + wide, 16 + long // 2:24 + long // 2] = True
    return page


def background(path, scripts=("Aa", "Bb"), top="images_background/", backwards=False, extra=True):
    """An archive like that of the background set: the characters of its second alphabet are those of the first, turned."""
    rng, entries = np.random.default_rng(0), {}
    for i, script in enumerate(scripts):
        for character in range(4):
            for drawing in range(4):
                page = ~np.rot90(drawn((character + i) % 4, rng), i)
                image = io.BytesIO()
                Image.fromarray(page).save(image, "png")
                entries[f"{top}{script}/character{character:02d}/{drawing:04d}_{drawing:02d}.png"] = image.getvalue(), page
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if backwards else zipfile.ZIP_STORED) as archive:
        for name in sorted(entries, reverse=backwards):
            archive.writestr(name, entries[name][0])
        if extra:
            archive.writestr(f"{top}notes.txt", "not a drawing")
    names = sorted(entries)
    return hashlib.sha256(b"".join(name.removeprefix(top).encode() + np.packbits(~entries[name][1]).tobytes()
                                   for name in names)).hexdigest()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("METACALC_DATA", str(tmp_path))
    (tmp_path / "omniglot").mkdir()
    return tmp_path / "omniglot/images_background.zip"


def test_the_background_set_is_known_by_its_drawings_however_they_are_packed(mirror, monkeypatch):
    digest = background(mirror)
    monkeypatch.setattr(module, "BACKGROUND", digest)
    first = omniglot_background.__wrapped__(7)
    assert first.x.shape == (32, 49) and first.scripts == ["Aa", "Bb"] and len(first.classes) == 8
    assert first.turns.shape == (3, 8, 8) and not first.x.flags.writeable
    assert background(mirror, backwards=True, extra=False) == digest
    np.testing.assert_array_equal(omniglot_background.__wrapped__(7).x, first.x)
    background(mirror, scripts=("Aa", "Bc"))
    with pytest.raises(FileNotFoundError, match="background.zip is damaged: the SHA-256 of its drawings.*put there what"):
        omniglot_background.__wrapped__(7)
    mirror.write_bytes(b"no archive")
    with pytest.raises(FileNotFoundError, match="damaged: it cannot be read"):
        omniglot_background.__wrapped__(7)


def test_without_the_file_the_message_says_where_to_put_it(mirror):
    if (module.fetch.__globals__["MIRROR"], mirror.exists()) == ("METACALC_DATA", False):
        try:
            omniglot_background(download=False)
        except FileNotFoundError as error:
            for word in ("is not on this machine", "brendenlake/omniglot", "METACALC_DATA", "omniglot/images_background.zip"):
                assert word in str(error)


def brute_turns(drawings, labels, turn, share=0.2):
    """One pair of classes after the other: is a turned, is as near to b as to its own, or is b to a turned back?"""
    names = sorted(set(labels))
    still = [module._fitted(d) for d in drawings]
    likeness = lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 1]
    found = np.zeros((len(names),) * 2, bool)
    for (i, a), (j, b) in itertools.product(enumerate(names), repeat=2):
        for one, other, by, place in ((a, b, turn, (i, j)), (b, a, -turn, (i, j))):
            mine = [k for k, label in enumerate(labels) if label == one]
            theirs = [k for k, label in enumerate(labels) if label == other]
            wrong = [max(likeness(np.rot90(still[k], by), still[m]) for m in theirs)
                     >= max(likeness(still[k], still[m]) for m in mine if m != k) for k in mine]
            found[place] |= np.mean(wrong) >= share
    return found


def test_turned_classes_are_new_and_none_looks_like_a_held_out_one(mirror, monkeypatch):
    monkeypatch.setattr(module, "BACKGROUND", background(mirror))
    characters = omniglot_background.__wrapped__(7)
    with zipfile.ZipFile(mirror) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith("png"))
        drawings = [Image.open(io.BytesIO(archive.read(name))).convert("L") for name in names]
    for turn in (1, 2, 3):
        np.testing.assert_array_equal(characters.turns[turn - 1], brute_turns(drawings, characters.labels.tolist(), turn))
    assert characters.turns.any() and not characters.turns.all()
    classes = characters.classes.tolist()
    train, _, test = characters.split(["Bb"])
    x, labels = characters.turned(train, test)
    assert labels[:len(train) * 4].tolist() == [label for label in characters.labels if label in train]
    for label in set(labels):
        name, _, degrees = label.partition(" ")
        own = x[labels == label].reshape(-1, 7, 7)
        plain = characters.x[characters.labels == name].reshape(-1, 7, 7)
        turn = int(degrees[:-1] or 0) // 90 if degrees else 0
        np.testing.assert_array_equal(own, np.rot90(plain, turn, axes=(1, 2)))
        if turn:
            place = classes.index(name)
            assert not characters.turns[turn - 1][place, place]
            assert not characters.turns[turn - 1][place, [classes.index(c) for c in test]].any()
    kept = {f"{name} {90 * turn}°" for turn in (1, 2, 3) for i, name in enumerate(classes) if name in train
            and not characters.turns[turn - 1][i, [i] + [classes.index(c) for c in test]].any()}
    assert set(labels) == {*train, *kept} and {script_of(label) for label in labels} == {"Aa"}


@pytest.mark.parametrize("make, message", [
    (lambda: PRINTED.split(["Klingon"]), "test must be"), (lambda: PRINTED.split(["Greek"], ["Klingon"]), "validation must be"),
    (lambda: PRINTED.split(["Greek"], ["Greek"]), "validation must not"), (lambda: printed_characters(0), "size must be"),
    (lambda: omniglot(size=1.5), "size must be"), (lambda: omniglot_background(0), "size must be"),
    (lambda: PRINTED.turned(["Greek/α"]), "turns must be known"), (lambda: Shifted(None, 0), "pixels must be"),
    (lambda: Shifted(Flat()).sample(np.random.default_rng(0), 1), "tasks must have square"),
    (lambda: PRINTED.tasks(["Greek/α"]), "n_way must be"), (lambda: PRINTED.pool(PRINTED.classes, 1), "n_examples must be"),
])
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


class Flat:
    def sample(self, rng, n_tasks):
        x, y = np.ones((n_tasks, 2, 7)), np.zeros((n_tasks, 2), int)
        return Batch(x, y, x, y)
