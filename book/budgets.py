"""Measure what a reader waits for, and rewrite the table of budgets in CONTRIBUTING.md: `make budgets`."""

import functools
import gzip
import http.server
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from pathlib import Path

import browser as chromium
from notebooks import code_cells
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
HTML = ROOT / "_build/html"
FIRST_FIGURE = """
new MutationObserver((_, observer) => {
  if (!document.querySelector(".stage[data-live]")) return;
  window.firstFigure = performance.now();
  observer.disconnect();
}).observe(document, {subtree: true, attributes: true, childList: true});
"""
LATENCY = """stages => stages.flatMap(stage => [...stage.querySelectorAll("input[type=range]")].flatMap(input => {
  const times = [];
  for (let round = 0; round < 3; round++) for (let k = 0; k <= Number(input.max); k++) {
    input.value = k;
    const start = performance.now();
    input.dispatchEvent(new Event("input"));
    stage.querySelector(".stage-mark path").getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return times;
}))"""

# A pointer that no hand holds cannot be captured: so the grips are told that it is.
DRAGS = """stages => stages.flatMap(stage => [...stage.querySelectorAll(".stage-grip")].flatMap(grip => {
  const times = [], box = grip.ownerSVGElement.ownerSVGElement.getBoundingClientRect();
  grip.hasPointerCapture = () => true;
  for (let k = 0; k < 60; k++) {
    const at = {clientX: box.left + box.width * (0.2 + 0.01 * k), clientY: box.top + box.height * (0.5 + 0.2 * Math.sin(k))};
    const start = performance.now();
    grip.dispatchEvent(new PointerEvent("pointermove", {pointerId: 1, ...at}));
    stage.querySelector(".stage-mark path").getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return times;
}))"""

CORE = ["core", "course"]
WHOLE = [*CORE, "cells", "figures", "results"]
FIGURE = """import sympy as sp
from metacalc import Objective
from metacalc.course.figures.background import secant

x = sp.Symbol("x", real=True)
secant(Objective(sp.sin(x), x))"""
TIMED = """async ([archives, call, given]) => {
  const start = performance.now();
  await metacalc.Python.ask(call, given, {archives});
  return (performance.now() - start) / 1000;
}"""


def serve():
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=HTML))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def measure_page(browser, address, page_name):
    """First-visit weight in bytes (gzip, fonts as they are), ms to the first figure, latencies of sliders and drags in ms."""
    context = browser.new_context()
    page, bodies = context.new_page(), {}
    page.on("requestfinished", lambda r: bodies.setdefault(r.url, r.response().body()) if r.url.startswith("http") else None)
    page.add_init_script(FIRST_FIGURE)
    page.goto(address + page_name)
    page.wait_for_load_state("networkidle")
    weight = sum(len(b) if ".woff" in url else len(gzip.compress(b, 6)) for url, b in bodies.items())
    stages = page.locator(".stage").count()
    latencies = [sorted(page.locator(".stage").evaluate_all(measure)) for measure in (LATENCY, DRAGS)]
    # Before that event, as a rule: then it is negative.
    first = page.evaluate("firstFigure - performance.getEntriesByType('navigation')[0].domContentLoadedEventStart"
                          ) if stages else None
    context.close()
    return weight, first, latencies, stages


def first_tries():
    """A page with an exercise and a live figure, an answer to the exercise, and a cell that makes the figure."""
    for page, cells in code_cells().items():
        asked = [m[1] for cell in cells for m in re.finditer(r'^check\("([\w-]+)"', cell.source, re.MULTILINE)]
        if asked and any("Stage(" in str(cell.outputs) for cell in cells):
            return page, {"name": asked[0], "text": "12"}, {"source": FIGURE}
    raise LookupError("no chapter has an exercise and a live figure")


def python_times(playwright, address):
    """Seconds from asking for Python to what was asked, on a first and on a third visit; then, medians, of more.

    A visit is a start of the browser with one profile: the browser keeps what it compiled when it has seen it twice.
    """
    taken, (page_name, answer, picture) = {}, first_tries()
    for name, archives, call, given in (("core", CORE, "check", answer), ("matplotlib", WHOLE, "cell", picture)):
        with tempfile.TemporaryDirectory() as profile:
            for visit in ("cold", "again", "warm"):
                browser = playwright.chromium.launch_persistent_context(
                    profile, executable_path=chromium.program(), args=chromium.FLAGS)
                page = browser.new_page()
                page.goto(f"{address}{page_name}.html")
                page.wait_for_load_state("networkidle")
                taken[name, visit] = page.evaluate(TIMED, [archives, call, given])
                page.wait_for_timeout(5000)  # the browser writes what it compiled when it finds the time
                if (name, visit) == ("core", "warm"):
                    taken["answer"] = statistics.median(page.evaluate(TIMED, [CORE, "check", answer]) for _ in range(15))
                    functions = [{"text": f"x^4 - {k}x^2 + y^2", "start": "", "rule": "sgd"} for k in range(2, 12)]
                    taken["function"] = statistics.median(page.evaluate(TIMED, [CORE, "explore", f]) for f in functions)
                browser.close()
    return taken


def build_time():
    """Seconds of a build from nothing, all notebooks executed, the environment installed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "course"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", "_build", ".git"))
        start = time.perf_counter()
        subprocess.run([sys.executable, copy / "book/execute.py"], check=True, capture_output=True)
        subprocess.run([Path(sys.executable).with_name("jupyter-book"), "build", "-W", "-n", copy], check=True,
                       capture_output=True)
        return time.perf_counter() - start


def import_ratio(times=7):
    """CPU time of `import metacalc` over that of `import numpy, sympy`, in fresh interpreters that take turns.

    The least time of each counts: other work on the machine only ever adds. All are imported as bytecode, as after their
    first import by a reader: where Python is told to write none, what pip has not compiled would be compiled each time.
    """
    with tempfile.TemporaryDirectory() as bytecode:
        env = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}

        def seconds(program):
            timed = f"import time; start = time.process_time(); {program}; print(time.process_time() - start)"
            return float(subprocess.run([sys.executable, "-c", timed], env=env, capture_output=True, text=True,
                                        check=True).stdout)

        taken = [[seconds(program) for program in ("import numpy, sympy", "import metacalc")] for _ in range(1 + times)]
    plain, ours = map(min, zip(*taken))
    return ours / plain


def python_lines(taken):
    """What the table says of Python in the pages."""
    from page_python import megabytes  # which needs Sphinx, and who asks for the other budgets may have none

    sizes = megabytes(json.loads((HTML / "_static/python/manifest.json").read_text(encoding="utf-8")))
    core, whole = (sizes["runtime"] + sum(sizes[name] for name in names) for names in (CORE, WHOLE))
    script = len(gzip.compress((HTML / "_static/python.js").read_bytes(), 6))
    rows = [("script that every page loads, gzip", f"{script / 1e3:.1f} KB", "15 KB"),
            ("to download for answers and functions, gzip", f"{core:.1f} MB", "17 MB"),
            ("to download with matplotlib, gzip", f"{whole:.1f} MB", "27 MB"),
            ("from the button to the first answer, cold", f"{taken['core', 'cold']:.1f} s", "4 s"),
            ("the same from the browser's cache", f"{taken['core', 'warm']:.1f} s", "2.5 s"),
            ("from the button to a live figure drawn with matplotlib, cold", f"{taken['matplotlib', 'cold']:.1f} s", "7 s"),
            ("the same from the browser's cache", f"{taken['matplotlib', 'warm']:.1f} s", "5 s"),
            ("an answer's verdict, median", f"{1e3 * taken['answer']:.0f} ms", "200 ms"),
            ("the figure of a new function, median", f"{1e3 * taken['function']:.0f} ms", "200 ms")]
    return ["| Python in a page | | budget |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows), ""]


def loop_time():
    """Seconds of a plain loop: what the times of two machines are compared by."""
    def loop():
        total = 0
        for i in range(10_000_000):
            total += i
        return total

    return min(timeit.repeat(loop, number=1, repeat=3))


def main():
    address, rows = serve(), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.program(), args=chromium.FLAGS)
        for page in sorted((HTML / "chapters").rglob("*.html")):
            name = page.relative_to(HTML).as_posix()
            weight, first, latencies, stages = measure_page(browser, address, name)
            p95 = " | ".join(f"{times[int(0.95 * len(times))]:.1f} ms" if times else "–" for times in latencies)
            rows.append(f"| `{name}` | {stages} | {weight / 1e6:.2f} MB | {f'{first:.0f} ms' if stages else '–'} | {p95} |")
        times = python_times(playwright, address) if (HTML / "_static/python").exists() else None
        browser.close()
    table = "\n".join([
        "| page | live figures | first visit, gzip (budget 1.2 MB) | "
        "first figure after DOMContentLoaded (500 ms; − is before it) | "
        "slider to redrawn DOM, p95 (8 ms) | drag to redrawn DOM, p95 (8 ms) |",
        "| --- | --- | --- | --- | --- | --- |", *rows, "",
        *(python_lines(times) if times else []),
        f"Clean build with execution of all chapters: {build_time():.0f} s (budget 150 s).",
        f"`import metacalc`: {import_ratio():.2f} times the CPU time of `import numpy, sympy` (budget 1.3).",
        f"The machine adds up ten million numbers in a loop in {loop_time():.2f} s; times on another go by that."])
    guide = ROOT / "CONTRIBUTING.md"
    before, rest = guide.read_text(encoding="utf-8").split("<!-- budgets -->\n", 1)
    after = rest.split("<!-- /budgets -->", 1)[1]
    guide.write_text(f"{before}<!-- budgets -->\n{table}\n<!-- /budgets -->{after}", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
