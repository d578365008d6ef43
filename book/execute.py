"""Execute the notebooks that changed, as many at a time as there are processors, into the cache that the build reads.

A notebook that fails is left to the build, which then says why.
"""

import os
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor

ROOT = Path(__file__).parent.parent


def quiet_kernels():
    """Keep every kernel from warning that it listens without encryption: it does so on this machine only."""
    profile = ROOT / "_build/ipython/profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 'ERROR'\n")
    os.environ["IPYTHONDIR"] = str(profile.parent)


def main():
    os.environ["TQDM_DISABLE"] = "1"  # nobody watches a progress bar here
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # every processor has a notebook of its own
    quiet_kernels()
    cache = get_cache(ROOT / "_build/.jupyter_cache")
    for path in sorted((ROOT / "chapters").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            cache.add_nb_to_project(str(path))
    load_executor("local-parallel", cache).run_and_cache(timeout=300)


if __name__ == "__main__":
    main()
