"""Lay the built book out for any host of static files, in _build/publish: `make publish`.

What browsers may keep for ever has a name of its own content, and `_headers` says so in the form that Netlify and Cloudflare
Pages read. Beside what shrinks lie variants in gzip and Brotli, for servers that send such files as they are.
"""

import gzip
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HTML, PUBLISHED = ROOT / "_build/html", ROOT / "_build/publish"
UNREAD = re.compile(r"^\.|^(zh/)?_static/(locales/|.*webpack-macros\.html$)")  # notes of the build, and of the theme for itself
SHRINKS = {".css", ".html", ".inv", ".ipynb", ".js", ".json", ".md", ".py", ".svg", ".ttf", ".txt", ".wasm"}
LEAST, GAIN = 1024, 0.95  # bytes of a file, and the share of it, for which a variant pays
KINDS = {  # how the address begins and ends, the first that fits
    "pages": ("", ".html"), "pictures": ("_images/", ""), "notebooks to download": ("_sources/", ""),
    "Python in the pages": ("_static/python/", ""), "scripts, styles, fonts": ("_static/", ""), "other": ("", "")}
FOR_EVER = "public, max-age=31536000, immutable"


def files(folder):
    """Paths of all files in a folder, as they are addressed, variants not counted."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if not path.endswith((".gz", ".br"))]


def headers(folder):
    """What `_headers` says: which folders' files never change under their names, and that a file's type is what it claims."""
    kept = [f"{edition}_images/" for edition in ("", "zh/") if (folder / edition / "_images").exists()]
    manifest = folder / "_static/python/manifest.json"
    if manifest.exists():
        kept.append(f"_static/python/{json.loads(manifest.read_text(encoding='utf-8'))['kept']}")
    rules = {"/*": ("X-Content-Type-Options: nosniff", "Referrer-Policy: strict-origin-when-cross-origin")}
    rules |= {f"/{path}*": (f"Cache-Control: {FOR_EVER}",) for path in kept}
    return "".join("\n".join([path, *(f"  {line}" for line in lines)]) + "\n" for path, lines in rules.items())


def squeeze(path):
    """Write the variants of a file that are worth it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
        Bytes that a server sends: of the file, and by gzip and Brotli.
    """
    import brotli

    data = path.read_bytes()
    sizes = dict.fromkeys(("plain", "gzip", "brotli"), len(data))
    if path.suffix not in SHRINKS or len(data) < LEAST:
        return sizes
    for name, suffix, small in (("gzip", ".gz", gzip.compress(data, 9, mtime=0)), ("brotli", ".br", brotli.compress(data))):
        if len(small) < GAIN * len(data):
            path.with_name(path.name + suffix).write_bytes(small)
            sizes[name] = len(small)
    return sizes


def kind(path):
    path = path.removeprefix("zh/")
    return next(name for name, (start, end) in KINDS.items() if path.startswith(start) and path.endswith(end))


def listing(sizes):
    """A table of what there is, kind by kind, and then file by file.

    Parameters
    ----------
    sizes : dict
        Path → what `squeeze` returns.
    """
    def total(chosen):
        return [len(chosen), *(f"{sum(size[how] for size in chosen) / 1e6:.2f}" for how in ("plain", "gzip", "brotli"))]

    def table(*rows):
        return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)

    by_kind = {name: [size for path, size in sizes.items() if kind(path) == name] for name in KINDS}
    largest = sorted(sizes.items(), key=lambda item: -item[1]["plain"])
    return "\n".join([
        table(["what", "files", "MB", "by gzip", "by Brotli"], ["---"] * 5,
              *([name, *total(chosen)] for name, chosen in by_kind.items()), ["all", *total(sizes.values())]),
        table(["file", "bytes", "by gzip", "by Brotli"], ["---"] * 4, *([path, *size.values()] for path, size in largest))])


def lay(source, target):
    """Copy what readers load of a built book into a new folder, with what hosts read of it."""
    shutil.rmtree(target, ignore_errors=True)
    for path in files(source):
        if not UNREAD.search(path):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, target / path)
    shutil.copyfile(Path(__file__).with_name("404.html"), target / "404.html")
    (target / ".nojekyll").touch()  # GitHub Pages would leave out every folder that begins with _
    (target / "_headers").write_text(headers(target), encoding="utf-8")


def main():
    if not (HTML / "index.html").exists():
        sys.exit("The book is not built: run `make book`.")
    lay(HTML, PUBLISHED)
    text = listing({path: squeeze(PUBLISHED / path) for path in files(PUBLISHED)})
    PUBLISHED.with_name("publish.md").write_text(text, encoding="utf-8")
    print(text.split("\n\n")[0])


if __name__ == "__main__":
    main()
