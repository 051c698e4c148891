"""Signals from the first statement on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from trader.supervisor.signals import Signals


def test_signals_are_counted_and_watched():
    """SIGTERM and SIGINT count, SIGHUP is one reload however often it comes."""
    before = signal.getsignal(signal.SIGHUP)  # under nohup it is ignored
    signals = Signals()
    woken = []
    signals.install()
    try:
        signals.watch = lambda: woken.append(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert (signals.stops, signals.reload, len(woken)) == (2, True, 4)
    finally:
        signals.restore()
    assert signal.getsignal(signal.SIGHUP) == before


def test_signals_module_imports_nothing_heavy():
    """What comes before the handlers must be quick: neither numpy nor pydantic nor asyncio."""
    code = "import sys, trader.supervisor.main; print(*(m for m in ('numpy','pydantic','asyncio') if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "asyncio"  # main itself runs the loop


def test_supervisor_imports_no_worker_library():
    """The supervisor stays small: no compiler, exchange, web server or data frames."""
    code = (
        "import sys, trader.supervisor.service, trader.supervisor.main, trader.supervisor.preflight, trader.logs;"
        "print(*(m for m in ('numba','ccxt','tornado','pandas','pyarrow','talib','rich') if m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
