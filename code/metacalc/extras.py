"""What the library loads when it is used: packages of an extra, and what to install where one is missing.

The library itself needs NumPy and SymPy alone. `pyproject.toml` lists what belongs to each extra.
"""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["extra"]


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around the imports of packages that belong to an extra: where one is missing, the error names the extra.

    Parameters
    ----------
    name : str
        As in `pip install 'metacalc[figures]'`.

    Raises
    ------
    ImportError
        If a package of the extra is not installed.

    Examples
    --------
    >>> with extra("figures"):
    ...     import no_such_package
    Traceback (most recent call last):
    ImportError: this needs no_such_package, which is not installed: pip install 'metacalc[figures]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"this needs {error.name}, which is not installed: pip install 'metacalc[{name}]'") from error
