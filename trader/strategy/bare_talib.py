"""TA-Lib without the data frame libraries that its wrapper imports whenever they happen to be installed.

pandas costs half a second of every start and 60 MiB, and nothing here hands it to TA-Lib.
"""

from __future__ import annotations

import sys
from types import ModuleType


def _import_alone() -> ModuleType:
    hidden = [name for name in ("pandas", "polars") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: as if it were not installed
    try:
        import talib as found
    finally:
        for name in hidden:
            del sys.modules[name]
    module: ModuleType = found
    return module


talib = _import_alone()
