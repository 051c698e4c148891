"""`trader.process.code_pages`: what is given back can still be run."""

from __future__ import annotations

import subprocess
import sys

from trader.process.code_pages import release_code

PROGRAM = """
import re, sys
from pathlib import Path
import llvmlite.binding as llvm
from trader.process.code_pages import release_code

def resident():
    pattern = r"r-xp[^\\n]*libllvmlite[^\\n]*\\n(?:[A-Z][^\\n]*\\n)*?Rss: +([0-9]+) kB"
    return sum(map(int, re.findall(pattern, Path("/proc/self/smaps").read_text())))

module = llvm.parse_assembly("define i32 @one() { ret i32 1 }")
before = resident()
released = release_code("libllvmlite")
after = resident()
again = llvm.parse_assembly("define i32 @two() { ret i32 2 }")
assert released > 10 * 2**20, released
assert after < before, (before, after)
assert "@two" in str(again)
"""


def test_release_code_gives_pages_back_and_the_library_still_works():
    """Fewer pages are resident, and the next call finds its code."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_release_code_of_what_is_not_loaded_is_nothing():
    """Nothing is touched."""
    assert release_code("libnosuchthing") == 0
