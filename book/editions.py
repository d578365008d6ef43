"""Build the book in both languages at once, each on a processor of its own, from the same executed notebooks.

`python book/editions.py` builds both, `python book/editions.py zh` the Chinese one alone. Its pages go into the folder `zh`
beside the English ones; a file that is the same in both is on the disk once.
"""

import filecmp
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

from jupyter_book.sphinx import build_sphinx

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "_build"
HTML = BUILD / "html"
# Pages are trees of millions of nodes: to look for garbage among them as often as Python does takes a third of the time.
RARELY = (300_000, 50, 1000)
ENGLISH = (sys.executable, "-c", f"import gc; gc.set_threshold(*{RARELY}); from jupyter_book.cli.main import main; main()",
           "build", "-W", "-n", "--keep-going", ".")


def build(folder, builder="html", **options):
    """Build with the book's configuration and the executed notebooks, all else apart in a folder of its own.

    Parameters
    ----------
    folder : Path
    builder : str
        As Sphinx calls it; the pages go into a folder of that name.
    **options
        What differs from `_config.yml`.

    Returns
    -------
    int or Exception
        0 if all went well.
    """
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    options |= {"external_toc_path": str(ROOT / "_toc.yml"), "latex_individualpages": False,
                "nb_execution_cache_path": str(BUILD / ".jupyter_cache")}
    return build_sphinx(str(ROOT), str(folder / builder), noconfig=True, path_config=str(ROOT / "_config.yml"),
                        doctreedir=str(folder / ".doctrees"), confoverrides=options, builder=builder, warningiserror=True,
                        keep_going=True, quiet=True)


def link(source, target):
    """The file under another name too; a copy where the disk has no such links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def lay(source, target):
    """Put the pages of one language into a folder of the English ones."""
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and not name.parts[0].startswith("."):
            twin = target.parent / name
            same = twin.is_file() and filecmp.cmp(path, twin, shallow=False)
            link(twin if same else path, target / name)


def main():
    gc.set_threshold(*RARELY)
    english = None if sys.argv[1:] == ["zh"] else subprocess.Popen(ENGLISH, cwd=ROOT)
    failed = build(BUILD / "zh", language="zh_CN")
    failed = (english.wait() if english else 0) or failed
    if failed:
        sys.exit(1)
    lay(BUILD / "zh/html", HTML / "zh")
    print(f"The Chinese pages are in {HTML / 'zh/index.html'}")


if __name__ == "__main__":
    main()
