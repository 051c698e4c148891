"""The guards that a process sets before anything else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trader.process import bootstrap

CODE = """
import ctypes, mmap, os, sys
from trader.process.bootstrap import forbid_new_code
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_size_t)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

def becomes_code():
    page = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    return libc.mprotect(page, 4096, mmap.PROT_READ | mmap.PROT_EXEC) == 0

before = becomes_code()
if not forbid_new_code(children=sys.argv[1] == "children"):
    print("old kernel")
    sys.exit()
print(before, becomes_code(), flush=True)
if os.fork() == 0:
    print(becomes_code(), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(("whom", "child"), [("children", "False"), ("self", "True")])
def test_forbid_new_code_keeps_written_memory_from_being_executed(whom, child):
    """In this process, and in its children when they are meant; a kernel that can't do it is no error."""
    done = subprocess.run([sys.executable, "-c", CODE, whom], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "old kernel":
        pytest.skip("this kernel has no PR_SET_MDWE with these flags")
    assert done.stdout.split() == ["True", "False", child]


def test_roles_that_compile_nothing_are_all_but_the_engine():
    """Where new code is forbidden, numba can't even be imported."""
    assert set(bootstrap.COMPILE_NOTHING) == {"monitor", "dashboard"}
