"""Small faults put into the code, one at a time: do the tests notice? `make mutants`.

Of each module a number of places is drawn with a stated seed; at each, one operator, number, comparison or condition is
changed, the tests that belong to the module run, and a mutant that they let pass has survived. Survivors that no test could
tell from the original are listed in `EQUIVALENT`, with the reason. The kill rates are written to CONTRIBUTING.md.
"""

import argparse
import ast
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "code/metacalc"
SEED, DRAWN, SECONDS = 14, 10, 300
TESTS = {  # module: its tests, the likeliest first
    "checks": "test_faults_loops test_descent test_tasks test_models",
    "smoothness": "test_calculus test_faults",
    "numeric": "test_calculus test_faults",
    "calculus": "test_calculus test_faults",
    "formulas": "test_formulas test_exercises",
    "descent": "test_descent test_faults_loops",
    "models": "test_models test_meta",
    "lowrank": "test_meta",
    "tasks/base": "test_tasks",
    "tasks/few_shot": "test_tasks test_characters",
    "tasks/synthetic": "test_tasks",
    "tasks/letters": "test_languages",
    "tasks/ratings": "test_ratings",
    "meta": "test_meta test_meta_closed_forms",
    "training": "test_training",
    "checkpoint": "test_training",
    "studies": "test_studies",
    "marks": "test_stage test_stage_pictures test_figures",
    "spec": "test_stage test_stage_pictures test_figures",
    "axes": "test_explore",
    "explore": "test_explore",
    "stage": "test_stage test_stage_pictures test_figures",
    "exercises": "test_exercises test_formulas",
    "data/characters": "test_characters",
    "data/languages": "test_languages",
    "data/food": "test_ratings",
    "data/download": "test_studies",
    "course/gaussian": "test_ratings",
    "course/language": "test_languages test_language",
    "course/practice": "test_practice",
    "course/vision": "test_vision",
    "course/recommendation": "test_recommendation",
    "stage.js": "test_stage_js",
}
EQUIVALENT = {  # "module: line after the change": why no test could tell
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
        (shown,) = [b for a, b in zip(plain, changed.splitlines()) if a != b][:1] or ["(no change)"]
        yield line, changed, shown.strip()


def script_mutants(text, rng, n):
    """The same for JavaScript, outside comments."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", "\0", m.group()), text, flags=re.DOTALL)
    places = [(m.start(), sign) for sign in SIGNS for m in re.finditer(re.escape(sign), code)]
    for start, sign in rng.sample(sorted(places), min(n, len(places))):
        changed = text[:start] + SIGNS[sign] + text[start + len(sign) :]
        line = text.count("\n", 0, start)
        yield line + 1, changed, changed.splitlines()[line].strip()


def survives(folder, tests):
    """Whether the tests pass with the package in a folder."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1", "CI": "", "METACALC_MUTANT": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=--doctest-modules",
        "--override-ini",
        "testpaths=",
    ]
    for test in tests:
        try:
            done = subprocess.run([*command, test], cwd=ROOT, env=environment, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode:
            return False
    return True


def judged(module, drawn, seed):
    """Killed, equivalent and surviving mutants of a module."""
    path = PACKAGE / (module if module.endswith(".js") else f"{module}.py")
    text = path.read_text(encoding="utf-8")
    make = script_mutants if module.endswith(".js") else python_mutants
    tests = [f"tests/{name}.py" for name in TESTS[module].split() if (ROOT / f"tests/{name}.py").exists()]
    killed, equivalent, alive = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cp", "-r", str(PACKAGE), folder], check=True)
        copy = Path(folder) / "metacalc" / path.relative_to(PACKAGE)
        for line, changed, shown in make(text, random.Random(f"{seed} {module}"), drawn):
            if f"{module}: {shown}" in EQUIVALENT:
                equivalent += 1
                continue
            copy.write_text(changed, encoding="utf-8")
            if survives(folder, tests):
                alive.append(f"{module}:{line}: {shown}")
                print("survived", alive[-1], flush=True)
            else:
                killed += 1
    return killed, equivalent, alive


def table(found):
    """What CONTRIBUTING.md shows."""
    rows = ["| module | killed | of | that no test could tell |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{module}` | {killed} | {killed + len(alive)} | {equivalent} |"
        for module, (killed, equivalent, alive) in found.items()
    ]
    total = [sum(column) for column in zip(*((k, len(a), e) for k, e, a in found.values()))]
    return "\n".join(
        [*rows, f"| all | {total[0]} | {total[0] + total[1]} ({total[0] / max(1, sum(total[:2])):.0%}) | {total[2]} |"]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--drawn", type=int, default=DRAWN)
    parser.add_argument("--seed", default=SEED)
    options = parser.parse_args()
    results = {}
    for name in options.modules:
        results[name] = judged(name, options.drawn, options.seed)
        print(name, "killed", results[name][0], "equivalent", results[name][1], "survived", len(results[name][2]), flush=True)
    if options.modules == list(TESTS):
        guide = ROOT / "CONTRIBUTING.md"
        text = guide.read_text(encoding="utf-8")
        head = f"Mutants: {options.drawn} a module, drawn with the seed {options.seed}.\n\n"
        guide.write_text(
            re.sub(
                r"(<!-- mutants -->\n).*?(<!-- /mutants -->)",
                lambda m: m[1] + head + table(results) + "\n" + m[2],
                text,
                flags=re.DOTALL,
            ),
            encoding="utf-8",
        )
    else:
        print(table(results))
    sys.exit(any(k < 0.95 * (k + len(a)) for k, _, a in results.values()))
