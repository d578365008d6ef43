"""Small faults put into the code, one at a time: do the tests notice? `make mutants`, or this with the names of modules.

Of each module a number of places is drawn with a stated seed; at each, one operator, number, comparison or condition is
changed, the module's doctests and the tests that belong to it run, and a mutant that they let pass has survived. Survivors
that no test could tell from the original are listed in `EQUIVALENT`, with the reason. The counts go to CONTRIBUTING.md.
"""

import argparse
import ast
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "code/metacalc"
SEED, DRAWN = 14, 10
TESTS = {  # module: its tests, the likeliest first
    "checks": "test_faults_loops test_descent test_tasks test_models",
    "smoothness": "test_calculus test_faults",
    "numeric": "test_calculus test_faults",
    "calculus": "test_calculus test_faults test_defaults",
    "formulas": "test_formulas test_exercises",
    "descent": "test_descent test_faults_loops test_defaults",
    "models": "test_models test_meta test_defaults",
    "lowrank": "test_meta",
    "tasks/base": "test_tasks test_generalisation",
    "tasks/few_shot": "test_tasks test_characters test_defaults",
    "tasks/synthetic": "test_tasks test_generalisation test_defaults",
    "tasks/letters": "test_languages test_defaults",
    "tasks/ratings": "test_ratings test_defaults",
    "bilevel": "test_bilevel test_meta test_defaults",
    "tape": "test_bilevel",
    "learned": "test_learned test_defaults",
    "variants": "test_variants test_defaults",
    "meta": "test_meta test_meta_closed_forms test_defaults",
    "amortised": "test_amortised test_defaults",
    "prototypes": "test_prototypes test_defaults",
    "generalisation": "test_generalisation test_defaults",
    "representation": "test_generalisation",
    "training": "test_training test_defaults",
    "checkpoint": "test_training",
    "studies": "test_studies test_defaults",
    "live": "test_live",
    "marks": "test_stage test_stage_pictures test_explore test_live",
    "spec": "test_stage test_live test_stage_pictures test_explore",
    "axes": "test_explore",
    "explore": "test_explore",
    "stage": "test_stage test_stage_pictures test_defaults",
    "assignments": "test_assignments",
    "exercises": "test_exercises test_formulas",
    "words": "test_words",
    "data/characters": "test_characters test_defaults",
    "data/strokes": "test_drawing test_defaults",
    "data/languages": "test_languages test_defaults",
    "data/food": "test_ratings test_defaults",
    "data/download": "test_studies test_defaults",
    "course/bilevel": "test_figures_bilevel test_defaults",
    "course/drawing": "test_drawing test_defaults",
    "course/gaussian": "test_ratings test_defaults",
    "course/learned": "test_learned test_variants test_defaults",
    "course/language": "test_languages test_language test_study_language test_defaults",
    "course/new_tasks": "test_new_tasks test_defaults",
    "course/practice": "test_practice test_defaults",
    "course/vision": "test_vision test_defaults",
    "course/recommendation": "test_recommendation",
    "stage.js": "test_stage_js",
}
EQUIVALENT = {  # "module: line after the change": why no test could tell
    "smoothness: jumps = [a[1] != b[1] and abs(a[1] - b[1]) >= 10 * (a[2] + b[2]) + mpmath.mpf(10) ** (-180) * (abs(a[1]) + "
    "abs(b[1])) for a, b in zip(*sides) if a[0] == b[0] == 'limit']": "two limits would have to differ by just the bound",
    "smoothness: others = {s: probe * (1 + sp.Rational(13 * i, 101)) for i, s in enumerate(symbols)}":
        "another line across, no better and no worse",
    "calculus: value = expr.subs({s: float(probe) * (1 + 1.13 * i) for i, s in enumerate(symbols)}).evalf()":
        "the points that are tried are nowhere promised",
    "lowrank: matrices = memory[:, :, :1].swapaxes(-1, +2) if n == 1 else memory": "of four axes, −2 is axis 2",
    "lowrank: def _outputs(sizes, T, n, dtype, wide=True):": "room for a constant unit that nothing reads",
    "training: median = np.median(np.where(np.isnan(values), np.inf, values), axis=+1)": "the last of two axes is axis 1",
    "training: for parameter in (+1, -3):": "how long it takes only",
    "checkpoint: PROBES = [m * 11 ** e for e in range(7) for m in (1, 2, 5)]":
        "which iterations are looked at is not promised",
    "checkpoint: PROBES = [m * 10 ** e for e in range(7) for m in (1, 2, 6)]": "which iterations are looked at is not promised",
    "exercises: SECONDS = 21": "a second more of patience",
    "checks: array = array.astype(dtype if np.dtype(dtype).kind == 'f' else np.float64, copy=True)": "a copy more, of the same",
    "tasks/base: chosen = np.full((*n.shape, m), -2)": "no draw is negative",
    "tasks/letters: _PLACES = np.full(257, -1)": "a byte is at most 255",
    "live: return np.array(value(p, [], 1, c), float)": "without an iteration there is no step to count",
    "marks: middle = [np.power(10.0, (low + high) / 2) if log else (low + high) * 2 for low, high, log in scales]":
        "whatever the axis can show may stand for the formula",
    "tape: @dataclass(frozen=True, eq=True)": "no two numbers stand at one place of one tape",
    "amortised: @dataclass(frozen=True, eq=True)": "lives for one adaptation, and is compared with nothing",
    "explore: where = ', '.join((f'{name} = {value:g}' for name, value in zip(names, runs.path[0, 1])))":
        "runs with all rates start at one place",
    "explore: h = 1e-05 * (2 + np.abs(theta).max())": "a difference's step is nowhere promised",
    "representation: if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-2] < n_directions:":
        "by then the matrix is square",
    "course/learned: x, w = (rng.normal(size=(n_tasks, 30, 4)), 2 * rng.normal(size=(n_tasks, 4, 2)))":
        "a second column that nothing reads",
    "course/learned: found = evaluate(learner, TASKS.with_shots(5), steps=(1, 5, 10), n_tasks=201, seed=500, limit=np.inf)":
        "how many tasks it is chosen on is nowhere promised",
    "lowrank: writes_v = False": "which of two ways a sum is made: how long it takes only",
    "studies: terms = of_units ** 2 / (n_units - 1) + (of_seeds ** 2 / (len(names) * (n_seeds - 1)) if n_seeds >= 1 else 0)":
        "0/0 of a single seed leaves the freedom of the units too",
    "studies: return np.frombuffer(base64.b64decode(text), np.float16).reshape(-2, model.n_params).astype(float)":
        "NumPy works out the length for any negative number",
    "exercises: if ratios and all((abs(ratio - ratios[1]) < 1e-09 * abs(ratio) for ratio in ratios)):":
        "where all are one number, any of them will do",
    "exercises: near = abs(ratios[0] - 1) <= 0.01": "no ratio of floats is just the bound",
    "words: place = 'x=\"0\"' if +1 < legend < found.start() else f'x=\"{ends[-1] / 2 + 30:.0f}\" text-anchor=\"middle\"'":
        "no picture begins with its legend",
    "exercises: points = [dict(zip(symbols, map(sp.Float, rng.uniform(0.3, 1.7, len(symbols))))) for _ in range(5)]":
        "how many places are tried is nowhere promised",
    "axes: LEFT, RIGHT, TOP, BOTTOM = (50.0, 8.0, 23.0, 36.0)": "a margin of a point more looks as well",
    "data/characters: return ink.swapaxes(1, 2).reshape(-2, size * size)[:len(outlines)].astype(np.float32) / 255":
        "NumPy works out the length for any negative number",
    "data/characters: small = np.pad(np.asarray(square.resize((24, 25), Image.Resampling.BOX)), 2) / np.float32(255)":
        "a row of pixels more mistakes the same drawings",
    "stage: own = hashlib.sha256(svg.encode()).hexdigest()[:9]": "a longer name is as good",
}
COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.MatMult: ast.Mult,
}
SIGNS = {
    "===": "!==",
    "!==": "===",
    " < ": " <= ",
    " > ": " >= ",
    " <= ": " < ",
    " >= ": " > ",
    " + ": " - ",
    " - ": " + ",
    " * ": " / ",
    " / ": " * ",
    "&&": "||",
    "||": "&&",
    "true": "false",
    "false": "true",
    " 0": " 1",
    " 1": " 2",
    "0.5": "0.25",
    "!": "",
}


def changes(tree):
    """Every change that can be made, as functions that make it and take it back."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    annotations = {
        id(part)
        for node in ast.walk(tree)
        for field in ("annotation", "returns")
        if getattr(node, field, None)
        for part in ast.walk(getattr(node, field))
    }
    messages = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in docstrings | annotations | messages:
            continue
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                if type(op) in COMPARED:
                    yield node.lineno, (node.ops, i, COMPARED[type(op)]())
        elif (
            isinstance(node, ast.BinOp)
            and type(node.op) in COMPUTED
            and not isinstance(node.left, ast.Constant | ast.JoinedStr) | isinstance(getattr(node.right, "value", None), str)
        ):
            yield node.lineno, (node, "op", COMPUTED[type(node.op)]())
        elif isinstance(node, ast.BoolOp):
            yield node.lineno, (node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node.lineno, (node, "op", ast.UAdd())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node.lineno, (node, "op", ast.UAdd())
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            yield node.lineno, (node, "value", node.value + 1)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node.lineno, (node, "value", not node.value)
        elif isinstance(node, ast.IfExp):
            yield node.lineno, (node, "test", ast.UnaryOp(ast.Not(), node.test))


def python_mutants(text, rng, n):
    """(line, the module's text with one change, the changed line)."""
    tree = ast.parse(text)
    listed = list(changes(tree))
    for line, (holder, place, new) in rng.sample(listed, min(n, len(listed))):
        old = holder[place] if isinstance(holder, list) else getattr(holder, place)
        put = holder.__setitem__ if isinstance(holder, list) else lambda name, value, at=holder: setattr(at, name, value)
        plain = ast.unparse(tree).splitlines()
        put(place, new)
        changed = ast.unparse(ast.fix_missing_locations(tree))
        put(place, old)
        if changed.splitlines() == plain:  # 1e300 + 1
            continue
        (shown,) = [b for a, b in zip(plain, changed.splitlines()) if a != b][:1]
        yield line, changed, shown.strip()


def script_mutants(text, rng, n):
    """The same for JavaScript, outside comments."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", "\0", m.group()), text, flags=re.DOTALL)
    places = [(m.start(), sign) for sign in SIGNS for m in re.finditer(re.escape(sign), code)]
    for start, sign in rng.sample(sorted(places), min(n, len(places))):
        changed = text[:start] + SIGNS[sign] + text[start + len(sign) :]
        line = text.count("\n", 0, start)
        yield line + 1, changed, changed.splitlines()[line].strip()


def run(folder, files):
    """The tests, in a process of their own, with the package in a folder; its exit code is theirs."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(ROOT)
    os.environ |= {"PYTHONPATH": str(folder), "CI": ""}
    sys.path.insert(0, str(folder))
    options = ["-q", "-x", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    sys.exit(int(pytest.main([*options, "--hypothesis-seed=0", *map(str, files)])))


def survives(folder, files, seconds):
    """Whether the tests pass, and in time."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder, files))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def judged(module, drawn, seed, only):
    """Numbers of killed, surviving and equivalent mutants of a module."""
    path = PACKAGE / (module if module.endswith(".js") else f"{module}.py")
    text = path.read_text(encoding="utf-8")
    make = script_mutants if module.endswith(".js") else python_mutants
    killed = alive = equivalent = 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder) / "metacalc")
        copy = Path(folder) / "metacalc" / path.relative_to(PACKAGE)
        files = [copy] * (path.suffix == ".py") + [f"tests/{name}.py" for name in TESTS[module].split()]
        copy.write_text(text if path.suffix == ".js" else ast.unparse(ast.parse(text)), encoding="utf-8")
        begin = time.monotonic()
        if not only and not survives(folder, files, 1200):
            sys.exit(f"{module}: its tests fail without a fault: {files}")
        seconds = 300 + 4 * (time.monotonic() - begin)
        for i, (line, changed, shown) in enumerate(make(text, random.Random(f"{seed} {module}"), drawn)):
            if only not in shown:
                continue
            if f"{module}: {shown}" in EQUIVALENT:
                equivalent += 1
                continue
            copy.write_text(changed, encoding="utf-8")
            os.utime(copy, (i, i))  # a time of its own, by which Python knows that what it compiled before is another text
            if survives(folder, files, seconds):
                alive += 1
                print(f"survived, line {line}:\n{module}: {shown}", flush=True)
            else:
                killed += 1
    return killed, killed + alive, equivalent


def table(found):
    """What CONTRIBUTING.md shows."""
    rows = [f"| `{module}` | {k} | {n} | {e} |" for module, (k, n, e) in found.items()]
    k, n, e = map(sum, zip(*found.values()))
    return "\n".join(["| module | killed | of | that no test could tell |", "| --- | --- | --- | --- |", *rows,
                      f"| all | {k} | {n} ({k / max(1, n):.0%}) | {e} |"])


def noted(results):
    """The guide's table with these results in it, and those of the other modules as they were."""
    guide = ROOT / "CONTRIBUTING.md"
    before, old, after = re.split(r"(?s)(?<=<!-- mutants -->\n)(.*)(?=<!-- /mutants -->)", guide.read_text(encoding="utf-8"))
    known = {name: tuple(map(int, counts)) for name, *counts in re.findall(r"\| `(.+)` \| (\d+) \| (\d+) \| (\d+) \|", old)}
    found = {name: (known | results)[name] for name in TESTS if name in known | results}
    head = f"At most {DRAWN} of each module, drawn with the seed {SEED}:\n\n"
    guide.write_text(before + head + table(found) + "\n" + after, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--drawn", type=int, default=DRAWN)
    parser.add_argument("--seed", default=SEED)
    parser.add_argument("--only", default="", help="just the mutants with this in the changed line")
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import hypothesis  # noqa: F401  (what every test needs is loaded once, except the package)
    import matplotlib.pyplot  # noqa: F401
    import sympy  # noqa: F401

    results = {}
    for name in options.modules:
        results[name] = judged(name, options.drawn, options.seed, options.only)
        print("{}: {} of {} killed, {} that no test could tell".format(name, *results[name]), flush=True)
        if (options.drawn, options.seed, options.only) == (DRAWN, SEED, ""):
            noted(results)
    sys.exit(any(k < 0.95 * n for k, n, _ in results.values()))
