"""Names of the types that signatures share: what is handed in is converted and checked, what comes out is an array."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

__all__ = ["AnyArray", "Array", "ArrayLike", "DTypeLike", "Entries", "Flags", "Integers", "Numbers", "PathLike"]

#: What NumPy makes an array of: numbers, lists, arrays.
ArrayLike: TypeAlias = npt.ArrayLike
#: What NumPy takes for a precision, such as `np.float32`.
DTypeLike: TypeAlias = npt.DTypeLike
if TYPE_CHECKING:  # NumPy's operators on floats of some precision or other take the checker four times as long
    Array: TypeAlias = NDArray[Any]
else:
    #: Array of floats.
    Array = NDArray[np.floating]
#: Array of truth values.
Flags: TypeAlias = NDArray[np.bool_]
#: Array of integers.
Integers: TypeAlias = NDArray[np.integer]
#: Array of class numbers or of floats, or of labels.
AnyArray: TypeAlias = NDArray[Any]
#: A number if the shape is (), else an `Array`.
Numbers: TypeAlias = float | Array
#: Some entries of θ, or some tasks of a batch.
Entries: TypeAlias = slice | Integers | Sequence[int]
#: Where a file is.
PathLike: TypeAlias = str | os.PathLike[str]
