"""How every kernel is compiled: one decorator, so that none can differ.

Kernels address fields as `record["name"]`: the one spelling that compiled code and numpy's own
records both understand, so that the same source runs with JIT switched off in the tests.

A compile cache does not notice when a kernel's callee changes in another file. Whoever sets
NUMBA_CACHE_DIR keys it by a hash of the sources.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import njit

#: cached on disk, without the GIL, and a division by zero gives inf instead of a hidden branch
kernel = partial(njit, cache=True, nogil=True, error_model="numpy", _nrt=False)

#: the same for what a hot loop calls, so that no call is left in it
inline_kernel = partial(njit, cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)


@inline_kernel
def number(value: int) -> Any:
    """Return a constant as a number like any other: every callee would be compiled once more for a constant."""
    return value + 0  # a sum has no constant's type
