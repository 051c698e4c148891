"""Compiles the kernels of service and backtest before the first test: workers of one run would each do it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.unit.backtest.conftest import SYMBOLS, config_of, lively
from tests.unit.market.candle_files import write_feather
from trader.backtest.history import load
from trader.backtest.runner import run
from trader.core.live import warm_up_live
from trader.core.warmup import warm_up


def main() -> None:
    """Call everything that is compiled, as the service and a backtest do."""
    warm_up()
    warm_up_live()
    with tempfile.TemporaryDirectory() as name:
        for seed, symbol in enumerate(SYMBOLS):
            write_feather(Path(name), lively(300, symbol, seed))
        config = config_of(Path(name))
        run(config, load(config.market))


if __name__ == "__main__":
    main()
