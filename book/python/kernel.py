"""The Python of a page, in its worker: runs cells as IPython does, checks answers, draws a reader's own function, and lets
learners judge a reader's own character.

Results go to the page as events in JSON, pictures and tables with them; a live figure goes as its data, and the page mounts it.
"""

import functools
import io
import json
import logging
import math
import os
import pathlib
import sys
import tarfile
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder

import metacalc_page

_request = None  # id of the one that is being answered


def say(event, table=None, **fields):
    """Send the page an event of the request that is being answered."""
    metacalc_page.say(json.dumps({"id": _request, "event": event, **fields}), table)


class OnDemand(MetaPathFinder):
    """Unpacks the archive that a module is in, or needs, when the module is first imported."""

    def __init__(self, archives):
        self.archives = archives
        self.homes = {module: name for name, archive in archives.items() for module in archive["modules"]}

    def forget(self, name):
        self.homes = {module: home for module, home in self.homes.items() if home != name}

    def find_spec(self, fullname, path=None, target=None):
        name = self.homes.get(fullname)
        if name is not None:
            self.forget(name)
            with tarfile.open(fileobj=io.BytesIO(metacalc_page.fetch(name).to_bytes()), mode="r:gz") as whole:
                whole.extractall(self.archives[name]["folder"], filter="data")
            for library in pathlib.Path(self.archives[name]["folder"]).glob("lib*.so"):
                metacalc_page.link(library.name, str(library))
            look_again()
        return None  # now the others find it


_on_demand, _course = None, None


def look_again():
    """What finders remember of folders is out of date. (`importlib.invalidate_caches` also reads the library's anew.)"""
    for finder in sys.path_importer_cache.values():
        if isinstance(finder, FileFinder):
            finder.invalidate_caches()


def begin(manifest, page, language=""):
    """Called once, before the other requests."""
    global _on_demand, _course
    _course = manifest["course"]
    sys.path[:0] = manifest["path"]
    time.process_time = time.perf_counter  # a worker has no clock of its own: there it stands still
    _on_demand = OnDemand(manifest["archives"])
    sys.meta_path.insert(0, _on_demand)
    folder = os.path.join(_course, os.path.dirname(page))  # a chapter reads files beside itself
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    os.environ["METACALC_LANGUAGE"] = language


def loaded(loaded):
    """The page has unpacked an archive."""
    _on_demand.forget(loaded)
    look_again()


def answer(request, call, arguments):
    """Answer a request of the page; its result as JSON."""
    global _request
    _request = request
    calls = {"start": begin, "load": loaded, "check": checked, "cell": run, "typeset": typeset, "explore": explored,
             "judge": judgement}
    return json.dumps(calls[call](**json.loads(arguments)))


def checked(name, text):
    """The verdict on an answer that was typed."""
    from metacalc.course import check

    verdict = check(name, text if text.strip() else ...)
    return {"right": verdict.right, "reason": verdict.reason}


def typeset(text, symbols):
    """A formula that was typed as LaTeX, or what is wrong with it."""
    import sympy as sp

    from metacalc.formulas import parsed

    try:
        return {"latex": sp.latex(parsed(text, map(sp.Symbol, symbols)))}
    except ValueError as error:
        return {"reason": str(error)}


def explored(text, start, rule):
    """The live figure of a function that was typed, its table in base64, or what is wrong with it."""
    from metacalc.explore import explore

    try:
        made = explore(text, start, rule)
    except (ValueError, ImportError) as error:  # a function may need a package that this page has not
        return {"reason": str(error)}
    return made | {"stage": made["stage"] | {"table": _base64(made["stage"]["table"])}}


@functools.cache
def drawing_starts():
    """What the learners start from who judge drawings: it came with the archive of results."""
    from metacalc.course.drawing import load_drawing_starts

    return load_drawing_starts(os.path.join(_course, "chapters/results/drawing.json"))


def judgement(support, query):
    """What the learners say of a drawing after each step, null where a path diverges; or what is wrong with the drawings."""
    from metacalc.course.drawing import judged
    from metacalc.data.strokes import ink

    starts, n_steps = drawing_starts()
    try:
        found = judged(starts, support, query, n_steps)
    except ValueError as error:
        return {"reason": str(error)}
    side = math.isqrt(starts["MAML"][0].model.sizes[0])
    return {"answers": {name: [[p if math.isfinite(p) else None for p in row] for row in table.tolist()]
                        for name, table in found.items()},
            "seen": ink(query, side).reshape(side, side).tolist(),
            "steps": {name: steps for name, (_, steps) in starts.items()}}


def run(source):
    """Run a cell; what it shows goes to the page as it comes."""
    done = shell().run_cell(source, store_history=False)
    shell().events.trigger("post_execute")  # again: pyplot and its backend only begin to listen in their first cell
    solved = None
    if type(done.result).__name__ == "Verdict" and done.result:
        from metacalc.course import check

        solved = next((one.text for one in reversed(check.answers.values())), "")  # the last that was right, as text
    return {"right": done.success, "heap": metacalc_page.heap(), "solved": solved}


_shell = None


def shell():
    """IPython's shell: what a cell shows is decided by its formatters, as in JupyterLab."""
    global _shell
    if _shell:
        return _shell
    import tqdm.std
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    class Hook(DisplayHook):
        def __call__(self, result=None):
            if result is not None:
                self.update_user_ns(result)
                self.fill_exec_result(result)
                show(*self.compute_format_data(result))

    class Publisher(DisplayPublisher):
        def publish(self, data, metadata=None, **options):
            show(data, metadata)

        def clear_output(self, wait=False):
            say("clear", wait=wait)

    class Shell(InteractiveShell):
        def _showtraceback(self, etype, evalue, stb):
            lines = self.InteractiveTB.stb2text(stb)
            say("error", name=etype.__name__, value=str(evalue), traceback=lines)

        def enable_gui(self, gui=None):
            pass

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # fonts that no figure here is written in are not here
    sys.modules["tqdm.autonotebook"] = tqdm.std  # a progress bar is text here: that of a notebook is a widget
    HistoryManager.enabled = False
    _shell = Shell.instance(displayhook_class=Hook, display_pub_class=Publisher, colors="nocolor")
    _shell.InteractiveTB.set_mode("Plain")
    _shell.display_formatter.mimebundle_formatter.for_type_by_name("metacalc.stage", "Stage", staged)
    sys.stdout, sys.stderr = Stream("stdout"), Stream("stderr")
    return _shell


class Stream:
    """What is printed, told to the page."""

    encoding = "utf-8"

    def __init__(self, name):
        self.name = name

    def write(self, text):
        if text:
            say("stream", name=self.name, text=text)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


STAGE = "application/vnd.metacalc.stage"


def staged(stage):
    """What the page mounts of a live figure; the picture for places without scripts is not drawn."""
    # Each figure has a class of its own, with its sliders as traits: IPython takes the name it waits for for that one alone.
    _shell.display_formatter.mimebundle_formatter.for_type(sys.modules["metacalc.stage"].Stage, staged)
    from metacalc.words import spoken

    state = spoken({"spec": stage.spec, "pictures": stage.pictures, **{s.name: getattr(stage, s.name) for s in stage.sliders}})
    return {STAGE: {"table": stage.table, "state": state, "text": repr(stage)}}


def show(data, metadata=None):
    """Tell the page what a cell shows: IPython's MIME bundle, a live figure's data where it holds one."""
    if STAGE in data:
        return say("stage", **data[STAGE])
    if "application/vnd.jupyter.widget-view+json" in data:
        return say("widget")
    if "text/markdown" in data:
        from markdown_it import MarkdownIt

        data["text/html"] = MarkdownIt("commonmark").enable("table").render(data["text/markdown"])
    images = {kind: value if isinstance(value, str) else _base64(value) for kind, value in data.items()}
    say("display", data=images)


def _base64(data):
    import base64

    return base64.b64encode(data).decode()
