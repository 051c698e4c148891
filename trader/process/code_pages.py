"""Giving back the pages of a library whose code was needed once.

Loading compiled kernels touches most of LLVM, 70 MiB of code that is never run again. Pages of code are never
written to, so the kernel may forget them: whoever does run them finds them in the page cache or in the file.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

_MADV_DONTNEED = 4

#: address range and path of a mapping; only code: a page of data may have been written to since it was read
_CODE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ [1-9][0-9]* +(/.*)$", re.MULTILINE)


def release_code(library: str) -> int:
    """Let the kernel take back the code of a loaded library.

    Parameters
    ----------
    library : str
        Part of its file's name, as in `libllvmlite`.

    Returns
    -------
    int
        How much of it was mapped [bytes]; 0 where it is not loaded.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    released = 0
    for start, end, path in _CODE.findall(Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")):
        if library in Path(path).name:
            address, length = int(start, 16), int(end, 16) - int(start, 16)
            released += length if madvise(address, length, _MADV_DONTNEED) == 0 else 0
    return released
