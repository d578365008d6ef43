"""Data sets that the course names but does not carry: fetched once, from a pinned place, and checked."""

import os
from pathlib import Path

from metacalc.extras import extra

__all__ = ["damaged", "fetch"]

MIRROR = "METACALC_DATA"  # environment variable: a folder that holds the files already
_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/python/"
_FIVETHIRTYEIGHT = "https://raw.githubusercontent.com/fivethirtyeight/data/fcf572c4fba05a42f1f34f415bd5e6dc389efd68/"
FILES = {  # place in the mirror and in the cache: address, SHA-256 (or "md5:" and what others pin it by)
    "omniglot/images_background.zip": (_OMNIGLOT + "images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"),
    "omniglot/images_background_small1.zip": (
        _OMNIGLOT + "images_background_small1.zip", "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4"),
    "omniglot/images_background_small2.zip": (
        _OMNIGLOT + "images_background_small2.zip", "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f"),
    "food-world-cup/food-world-cup-data.csv": (
        _FIVETHIRTYEIGHT + "food-world-cup/food-world-cup-data.csv",
        "0ada78c5e93576f50fa84954d1c940292c2211ff9f0cfc0ba5f2d46ac232dd98"),
}
NAMES = {"sha256": "SHA-256", "md5": "MD5"}


def fetch(name: str, download: bool = True, repacked: bool = False) -> Path:
    """Path of a data file: from the folder that METACALC_DATA names, from the cache, or downloaded to the cache.

    Parameters
    ----------
    name : str
        One of `FILES`, such as "omniglot/images_background_small1.zip".
    download : bool
        Whether it may be downloaded.
    repacked : bool
        Whether an archive that is there already may have been packed anew, so that its hash is another one. Then the caller
        checks what is in it; a download must have the pinned hash all the same.

    Returns
    -------
    pathlib.Path
        A file whose hash is the pinned one, unless it was found and may be `repacked`.

    Raises
    ------
    ValueError
        If there is no data set file of that name.
    FileNotFoundError
        If it cannot be had, or what was found is damaged. The message says from where to get it and where to put it.
        A download that breaks off leaves nothing behind.
    """
    if name not in FILES:
        raise ValueError(f"name must be one of {sorted(FILES)}, got {name!r}")
    with extra("data"):
        import pooch
    url, pinned = FILES[name]
    algorithm, digest = pinned.split(":") if ":" in pinned else ("sha256", pinned)
    cached = Path(pooch.os_cache("metacalc")) / name
    mirror = os.environ.get(MIRROR)
    for path in ([Path(mirror) / name] if mirror else []) + [cached]:
        if path.is_file():
            if not repacked and pooch.file_hash(path, algorithm) != digest:
                raise damaged(path, name, f"its {NAMES[algorithm]} is not {digest}")
            return path
    help_ = f"Get {url} by hand, and put it at {cached}, or into a folder named by {MIRROR}, as {name}."
    if not download:
        raise FileNotFoundError(f"{name} is not on this machine. {help_}")
    try:
        return Path(pooch.retrieve(url, f"{algorithm}:{digest}", fname=cached.name, path=cached.parent, progressbar=True))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{name} could not be downloaded ({error}). {help_}") from error


def damaged(path: Path, name: str, why: str) -> FileNotFoundError:
    """The error for a file that is there but is not what it should be: what is wrong, and what to do.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    name : str
        One of `FILES`.
    why : str
        What is wrong with it.

    Returns
    -------
    FileNotFoundError
        To be raised.

    Examples
    --------
    >>> print(damaged(Path("a.csv"), "food-world-cup/food-world-cup-data.csv", "it is empty"))     # doctest: +ELLIPSIS
    a.csv is damaged: it is empty. Delete it, and it is fetched again, or put there what https://... gives.
    """
    return FileNotFoundError(f"{path} is damaged: {why}. Delete it, and it is fetched again, or put there what "
                             f"{FILES[name][0]} gives.")
