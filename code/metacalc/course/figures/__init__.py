"""The pictures of the chapters, a module a chapter. They draw; what they show is computed by the library."""

from typing import Any

import metacalc.stage  # noqa: F401  (where the extra `figures` is missing, says so)


def picture(figure: Any) -> Any:
    """The figure, as a cell's last value: a notebook knows how to show one only once pyplot has opened a figure of its own."""
    import matplotlib.pyplot as plt  # not above, where it would come before the word on the extra

    plt.close(plt.figure())
    return figure
