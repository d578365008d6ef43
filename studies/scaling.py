"""What spreading a batch over processes gains, on a machine with nothing else to do: writes chapters/results/scaling.json.

Times are of one machine and not reproduced elsewhere; the practice chapter shows them because its own page may be built
on a busy one.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from dask.distributed import Client

from metacalc.course.practice import ALPHA, MODEL, TASKS
from metacalc.meta import maml
from metacalc.studies import Results
from metacalc.training import meta_train

ROOT = Path(__file__).parent.parent
SETTINGS = {"sizes": [25, 100, 500, 4000], "workers": 2, "n_iters": 20, "repeats": 7}


def seconds(executor, n_tasks, n_iters):
    """Time of one iteration of MAML."""
    begin = time.perf_counter()
    meta_train(maml, MODEL, TASKS, n_iters, n_tasks=n_tasks, alpha=ALPHA, executor=executor, progress=False)
    return (time.perf_counter() - begin) / n_iters


def compared(executor, settings):
    """For each number of tasks the median times [alone, spread], taken in turn."""
    seconds(executor, 25, 2)  # wakes the workers
    times = [[[seconds(e, n, settings["n_iters"]) for e in (None, executor)] for _ in range(settings["repeats"])]
             for n in settings["sizes"]]
    return np.median(times, axis=1)


def run(settings, results):
    with ProcessPoolExecutor(settings["workers"]) as pool:
        results.once("process pool", lambda: compared(pool, settings))
    with Client(dashboard_address=None, n_workers=settings["workers"], threads_per_worker=1, silence_logs=50) as cluster:
        results.once("Dask", lambda: compared(cluster.get_executor(), settings))
    results.once("processors", os.cpu_count)


if __name__ == "__main__":
    results = Results(ROOT / ".studies/scaling.json", SETTINGS)
    run(SETTINGS, results)
    results.finish(ROOT / "chapters/results/scaling.json")
