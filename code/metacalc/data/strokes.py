"""Strokes of a pen, as a page records them, painted as the handwriting of `metacalc.data.characters` is."""

from collections.abc import Sequence

import numpy as np

from metacalc.arrays import Array, ArrayLike
from metacalc.checks import count

__all__ = ["ink"]

SHEET, BRUSH, LONGER = 105, 5.0, 63.0  # of Omniglot's drawings: pixels along a side, the pen's width, the median longer side
MOST_STROKES, MOST_POINTS = 100, 2000  # what a page sends may be anything
APART = 0.6  # pixels from one point to the next along a stroke


def ink(strokes: Sequence[ArrayLike], size: int = 14) -> Array:
    """The image of a drawing, whatever its place and size: centred on a sheet, and as large as Omniglot's drawings mostly are.

    Those are painted on 105 × 105 pixels with a pen five pixels wide, and the longer side of the pen's way has, in the median,
    63 of them. So it has here; then the sheet is averaged, as the data set's are, to fewer pixels.

    Parameters
    ----------
    strokes : sequence of array_like, each of shape (n, 2)
        For each stroke the points that the pen went through, x to the right and y downwards, in any unit. A single point
        is a dot. At most 100 strokes and 2000 points.
    size : int
        Pixels along a side of the image.

    Returns
    -------
    ndarray, shape (size²,)
        Ink, from 0 to 1, row by row from the top.

    Raises
    ------
    ValueError
        If there are no strokes, or too many, or one is no list of finite points; if `size` is not from 1 to 105.

    Examples
    --------
    >>> ink([[[0, 0], [10, 0]]], size=7).reshape(7, 7).round(2)[2:5]          # a line from left to right
    array([[0.  , 0.  , 0.  , 0.  , 0.  , 0.  , 0.  ],
           [0.  , 0.24, 0.33, 0.33, 0.33, 0.24, 0.  ],
           [0.  , 0.  , 0.  , 0.  , 0.  , 0.  , 0.  ]])
    """
    if not 1 <= count(size, "size", 1) <= SHEET:
        raise ValueError(f"size must be at most {SHEET}, got {size}")
    lines = _checked(strokes)
    every = np.concatenate(lines)
    low, high = every.min(axis=0), every.max(axis=0)
    scale = LONGER / max((high - low).max(), 1e-6)  # a single point has no size
    points = np.concatenate([_dense((line - (low + high) / 2) * scale + SHEET / 2) for line in lines])
    sheet = np.clip(BRUSH / 2 + 0.5 - _distance(points), 0, 1)  # a pixel at the border has as much ink as the pen covers of it
    edges = np.linspace(0, SHEET, size + 1)
    pixels = np.arange(SHEET)
    share = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, 1) * size / SHEET
    return (share @ sheet @ share.T).ravel()


def _checked(strokes) -> list[Array]:
    """The strokes as arrays of shape (n, 2)."""
    if isinstance(strokes, str) or not hasattr(strokes, "__len__") or not 0 < len(strokes) <= MOST_STROKES:
        raise ValueError(f"strokes must be a list of 1 to {MOST_STROKES} strokes")
    lines = []
    for stroke in strokes:
        try:
            line = np.asarray(stroke, float)
        except (TypeError, ValueError):
            line = np.empty(0)
        if line.shape[1:] != (2,) or not len(line) or not (np.abs(line) < 1e9).all():
            raise ValueError("strokes must each be a list of points (x, y), of finite numbers")
        lines.append(line)
    if sum(map(len, lines)) > MOST_POINTS:
        raise ValueError(f"strokes must have at most {MOST_POINTS} points in all, got {sum(map(len, lines))}")
    return lines


def _dense(line: Array) -> Array:
    """Points along a line, at most `APART` from one another."""
    lengths = np.hypot(*np.diff(line, axis=0).T)
    way = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, way[-1], int(np.ceil(way[-1] / APART)) + 1)
    return np.stack([np.interp(at, way, column) for column in line.T], axis=1)


def _distance(points: Array) -> Array:
    """Of each pixel's middle from the nearest point, shape (SHEET, SHEET), row by row; large where the pen does not reach."""
    reach = np.arange(-3, 4)
    cells = np.floor(points).astype(int)[:, None, None, :] + np.stack(np.meshgrid(reach, reach), axis=-1)
    distance = np.full((SHEET, SHEET), np.inf)
    np.minimum.at(distance, (cells[..., 1], cells[..., 0]), np.hypot(*np.moveaxis(cells + 0.5 - points[:, None, None], -1, 0)))
    return distance
