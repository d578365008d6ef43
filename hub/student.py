"""A student's server: puts the chapters into the student's home, and starts. The hub runs this as the student."""

import shutil
import sys
from pathlib import Path

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"


def hand_out(chapters, home):
    """Copy what is not in the student's folder yet; what is there is the student's own, and stays.

    Parameters
    ----------
    chapters, home : pathlib.Path

    Returns
    -------
    pathlib.Path
        The student's folder, `metacalc` in their home.
    """
    folder = home / "metacalc"
    for source in sorted(chapters.rglob("*")):
        target = folder / source.relative_to(chapters)
        if source.is_file() and not target.exists() and ".ipynb_checkpoints" not in source.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            shutil.copyfile(source, partial)
            partial.replace(target)  # whole or not at all
    return folder


if __name__ == "__main__":
    from jupyterhub.singleuser import main

    sys.argv.append(f"--ServerApp.root_dir={hand_out(CHAPTERS, Path.home())}")
    main()
