"""A script as an owner writes it: the service from Python, looked at, stopped, reported."""

import asyncio
import json
import sys
from pathlib import Path

from trader import AutonomousTradingSystem, SimpleRSIStrategy, Strategy
from trader.domain.market import Candles
from trader.domain.signal import Signals


class Mine(Strategy):
    """Made in the script itself: it does what the RSI does."""

    name = "mine"
    lookback_bars = 1000
    warmup_bars = 30

    def __init__(self, symbol: str | None = None, timeframe: str | None = None, period: int = 14) -> None:
        super().__init__(symbol, timeframe)
        self.inner = SimpleRSIStrategy(period=period)

    def signals(self, candles: Candles) -> Signals:
        """Return what the RSI says."""
        return self.inner.signals(candles)


async def main(folder: Path) -> None:
    """Run until a few decisions were made."""
    system = AutonomousTradingSystem(
        strategies=[SimpleRSIStrategy(symbol="BTC/USDT", timeframe="1m"), Mine("ETH/USDT", period=9)],
        initial_capital=5000.0,
        data_dir=folder / "data",
        log_dir=folder / "logs",
        dashboard_port=0,
        config={"market": {"speed": 600}},
    )
    running = asyncio.create_task(system.start())
    status = system.get_status()
    while not running.done() and status["decisions"] < 20:
        await asyncio.sleep(0.2)
        status = system.get_status()
    report = system.get_performance_report()
    await system.stop()
    await running
    print(json.dumps({"status": status, "report": report, "after": system.get_status()}, default=str))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
