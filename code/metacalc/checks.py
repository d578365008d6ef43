"""The one home of argument checks. Each returns what it was given in the form that is worked with, or raises a
ValueError that names the argument and says what was expected."""

import math
from typing import Any, TypeVar

import numpy as np

from metacalc.arrays import Array, DTypeLike, Numbers

__all__ = [
    "count", "generator", "instance", "interval", "positive", "precision", "real_array", "scalar", "tensor",
    "unit_interval",
]

T = TypeVar("T")


def real_array(value: Any, name: str) -> Array:
    """`value` as an array of floats, whose precision is kept. Exact numbers, such as SymPy's or fractions, are converted."""
    if type(value) is np.ndarray and value.dtype.kind == "f":
        return value
    array = None
    if not np.ma.is_masked(value):  # what is masked is not there, and a plain array would bring it back
        try:
            array = np.asarray(value)
            if array.dtype.kind in "iub":
                array = array.astype(float)
            elif array.dtype.kind == "O":
                array = array.astype(float) if all(hasattr(v, "__float__") for v in array.flat) else None
            elif array.dtype.kind != "f":
                array = None
        except (TypeError, ValueError, OverflowError):
            array = None
    if array is None:
        raise ValueError(f"{name} must be or hold real numbers, got {value!r}")
    return array


def tensor(value: Any, name: str, dtype: DTypeLike | None = None) -> Array:
    """`value` as an array of finite numbers in the precision `dtype`; if that is none of floats, in double precision."""
    array = np.asarray(value) if type(value) is not np.ndarray else value
    if array.dtype.kind != "f":
        try:
            array = real_array(value, name)
        except ValueError:
            raise ValueError(f"{name} must be an array of real numbers, got {value!r}") from None
    if dtype is not None and dtype != array.dtype:
        array = array.astype(dtype if np.dtype(dtype).kind == "f" else np.float64, copy=False)
    flat = array.ravel()
    # A sum of squares is finite only if every term is, and takes a microsecond; should it overflow, look closer.
    if not math.isfinite(flat.dot(flat)) and not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers, but some are NaN or infinite")
    return array


def positive(value: Any, name: str) -> Numbers:
    """`value` as a float or an array of floats, all positive and finite."""
    try:
        array = real_array(value, name)
    except ValueError:
        array = np.array(np.nan)
    if array.size == 0 or not np.all(np.isfinite(array) & (array > 0)):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(array) if array.ndim == 0 else array


def scalar(value: Any, name: str, positive: bool = True) -> float:
    """`value` as one finite float, positive or else at least 0."""
    array = real_array(value, name)
    if array.ndim or not np.isfinite(array) or array < 0 or (positive and array == 0):
        raise ValueError(f"{name} must be one finite number, {'positive' if positive else 'not negative'}, got {value!r}")
    return float(array)


def unit_interval(value: Any, name: str) -> Numbers:
    """`value` as a float or an array of floats, all in [0, 1)."""
    array = real_array(value, name)
    if array.size == 0 or not np.all((array >= 0) & (array < 1)):
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value!r}")
    return float(array) if array.ndim == 0 else array


def count(value: Any, name: str, least: int = 0) -> int:
    """`value` as an integer of at least `least`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{name} must be {kind}, got {value!r}")
    return int(value)


def interval(value: Any, name: str) -> tuple[float, float]:
    """`value` as a pair low ≤ high of finite numbers."""
    try:
        low, high = (float(real_array(end, name)) for end in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair of numbers, got {value!r}") from None
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"{name} must be a finite range low ≤ high, got {value!r}")
    return low, high


def precision(value: Any, name: str = "dtype") -> Any:
    """`value`, which must be single or double precision."""
    try:
        known = np.dtype(value) in (np.float32, np.float64)
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"{name} must be float32 or float64, got {value!r}")
    return value


def generator(rng: Any) -> np.random.Generator:
    """`rng`, which must be NumPy's source of chance."""
    return instance(rng, np.random.Generator, "rng", "a numpy.random.Generator, such as np.random.default_rng(0)")


def instance(value: Any, kind: type[T], name: str, described: str) -> T:
    """`value`, which must be of a kind that is described in words."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {described}, got {value!r}")
    return value
