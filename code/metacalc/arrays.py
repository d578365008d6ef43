"""Names of the types that signatures share: what is handed in is converted and checked, what comes out is an array."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["AnyArray", "Array", "ArrayLike", "DTypeLike", "Entries", "Flags", "Integers", "Numbers", "PathLike"]

if TYPE_CHECKING:  # NumPy's operators on floats of some precision or other take the checker four times as long
    Array: TypeAlias = NDArray[Any]
else:
    Array = NDArray[np.floating]
Flags: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.integer]
AnyArray: TypeAlias = NDArray[Any]  # of class numbers or floats, of labels
Numbers: TypeAlias = float | Array  # a number if the shape is ()
Entries: TypeAlias = slice | Integers | Sequence[int]  # of θ, tasks of a batch
PathLike: TypeAlias = str | os.PathLike[str]
