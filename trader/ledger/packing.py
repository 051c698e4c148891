"""Packing: a day of snapshots as a few kilobytes that come back bit by bit.

Values of one column change little from row to row: their bytes are sorted by place (all first bytes, all second
bytes, ...) and deflated; whole numbers are kept as differences, so that a regular step costs nothing.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

_LEVEL = 6


def pack(column: Column) -> bytes:
    """Return a column of int64 or float64 as bytes."""
    words = np.diff(column, prepend=column.dtype.type(0)) if column.dtype.kind == "i" else column
    places = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 8).T
    return zlib.compress(places.tobytes(), _LEVEL)


def unpack(data: bytes, kind: str) -> Column:
    """Return the column that was packed.

    Parameters
    ----------
    data : bytes
        As `pack` made it.
    kind : str
        "i8" or "f8".
    """
    places = np.frombuffer(zlib.decompress(data), np.uint8)
    words = np.ascontiguousarray(places.reshape(8, -1).T).view(kind).reshape(-1)
    return np.cumsum(words) if kind == "i8" else words
