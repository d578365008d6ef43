"""Run every chapter's cells in the built pages, in order, as a reader would: `make page-cells`.

What a cell shows there is compared with what is stored in the notebook. `cells.json` gets, by page and cell, why a cell does
not run in a page, or about how many minutes it takes: the pages say so on its button.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import browser as chromium  # noqa: E402
import budgets  # noqa: E402
from notebooks import code_cells  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

ROOT = HERE.parent.parent
LISTEN = """
const Plain = Worker;
window.heard = [];
window.Worker = class extends Plain {
  constructor(address) {
    super(address);
    this.addEventListener("message", ({data}) => { if (!["loaded", "importing"].includes(data.event)) heard.push(data); });
  }
};
"""
MINUTE = 60  # what takes longer than half of it is said to take minutes
VARIES = re.compile(r"0x[0-9a-f]+")


def stored(cell):
    """What a notebook holds of a cell's outputs: printed text, and each shown object's text and LaTeX."""
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
    shown = [(o.data.get("text/plain", ""), o.data.get("text/latex")) for o in cell.outputs if "data" in o]
    return printed, shown


def heard(events):
    """The same of what the page was told."""
    printed = "".join(e["text"] for e in events if e["event"] == "stream" and e["name"] == "stdout")
    shown = [(e["data"].get("text/plain", ""), e["data"].get("text/latex")) if e["event"] == "display" else (e["text"], None)
             for e in events if e["event"] in ("display", "stage")]
    return printed, shown


def reason(events):
    """Why a cell does not run in a page, from what it said; "" if it does, None if it should."""
    for event in events:
        if event["event"] == "widget":
            return "its controls need JupyterLab"
        if event["event"] == "error":
            missing = re.search(r"No module named '(\w+)'", event["value"])
            return f"needs {missing[1].lstrip('_')}" if missing else None
    return ""


def differs(cell, events):
    """How a cell's outputs differ from the stored ones; "" if they do not, or vary from machine to machine anyway."""
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return ""
    for kind, before, now in zip(("printed", "shown"), stored(cell), heard(events)):
        if VARIES.sub("", str(before)) != VARIES.sub("", str(now)):
            return f"{kind}\n  stored {before}\n  page   {now}"
    return ""


def try_page(browser, address, name, skip=(), timeout=1200):
    """Every cell of a page run in order: (cell, seconds, why it does not run or None, how its output differs)."""
    cells = code_cells()[name]
    page = browser.new_page()
    page.add_init_script(LISTEN)
    page.goto(f"{address}{name}.html")
    for index, cell in enumerate(cells):
        if index in skip:
            continue
        tools = page.locator(".cell").nth(index).locator(".cell-tools")
        page.evaluate("() => { heard.length = 0; }")
        start = time.perf_counter()
        tools.locator("button").first.evaluate("button => { button.disabled = false; button.click(); }")
        tools.locator(".cell-said", has_text=re.compile("done|error|Python")).wait_for(timeout=1000 * timeout, state="attached")
        events = page.evaluate("() => heard")
        yield cell, time.perf_counter() - start, reason(events), differs(cell, events)
    page.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", help="such as chapters/01_background; all, unless given")
    pages = parser.parse_args().pages or list(code_cells())
    known = json.loads((HERE / "cells.json").read_text(encoding="utf-8"))
    address, faults = budgets.serve(), 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.program(), args=chromium.FLAGS)
        for name in pages:
            notes, total = {}, 0
            for cell, seconds, why, difference in try_page(browser, address, name):
                total += seconds
                if why:
                    notes[cell.id] = [why]
                elif seconds > MINUTE / 2:
                    notes[cell.id] = [None, max(1, round(seconds / MINUTE))]
                if why is None or (difference and not why):
                    faults += 1
                    print(f"{name} {cell.id}: {difference or 'an error'}", flush=True)
            known[name] = notes
            print(f"{name}: {total:.0f} s, {notes}", flush=True)
        browser.close()
    text = json.dumps({name: notes for name, notes in sorted(known.items()) if notes}, indent=1, ensure_ascii=False)
    (HERE / "cells.json").write_text(text + "\n", encoding="utf-8")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
