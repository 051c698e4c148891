"""Stands for a module that compiles: `python -m tests.unit.process.some_compiler SHARE PID`, as $COMPILER says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

share, parent = sys.argv[1:]
assert int(parent) == os.getppid()
Path(os.environ["NUMBA_CACHE_DIR"], f"share-{share}").write_text(str(os.getpid()))
if os.environ["COMPILER"] == "hangs":
    time.sleep(600)
sys.exit(3 if os.environ["COMPILER"] == "fails" else 0)
