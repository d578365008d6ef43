"""What all tests share, the notebooks' too."""

import os

os.environ["TQDM_DISABLE"] = "1"  # for the notebooks' kernels: nobody watches a progress bar
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # every processor has a test of its own


def pytest_collection_modifyitems(items):
    """Committed notebooks keep no execution counts, for one more cell would renumber all that follow it; but nbval takes a
    cell without a count for one that was never run."""
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            item.cell.execution_count = 0
