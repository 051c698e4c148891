"""The pictures of the README: the page of a service that replays real candles, in a real browser.

    python -m tests.screenshots --out docs        (make screenshots)

TRADER_TEST_DATA names the folder of real candles; Debian's chromium and chromedriver take the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from tests.acceptance.service import Service
from tests.browser.conftest import Browser, start_browser
from tests.serving import eventually

SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "LINK/USDT", "AVAX/USDT"]
PATIENCE_S = 300.0


def configuration(candles: Path) -> dict[str, Any]:
    """Return a replay that is busy: a few strategies, several positions at a time."""
    return {
        "market": {
            "source": "replay", "candles": str(candles), "timeframe": "5m", "symbols": SYMBOLS, "speed": 15_000,
            "since": "2024-01-10",
        },
        "strategies": [{"use": "donchian_atr"}, {"use": "ema_trend"}, {"use": "simple_rsi"}],
        "engine": {"loop_interval_seconds": 300, "max_new_positions_per_cycle": 2},
        "risk": {"max_daily_loss_frac": 0.2, "max_drawdown_frac": 0.4, "risk_per_trade_frac": 0.004},
        "exits": {"trailing_stop_frac": 0.03},
        "dashboard": {"port": 0},
    }  # fmt: skip


def worth_a_picture(status: dict[str, Any]) -> bool:
    """Return whether positions are open and much has happened."""
    account = status["account"]
    return status["source"] == "engine" and account["open_positions"] >= 3 and account["round_trips"] >= 60


def shoot(browser: Browser, url: str, out: Path) -> None:
    """Take the pictures: overview, candles of a position in the light theme, phone."""

    def drawn(kind: str) -> None:
        script = f"const d = document.getElementById('chart').dataset; return d.drawn === '{kind}' && d.took"
        browser.eventually(lambda: browser.js(script), f"chart {kind}")
        browser.eventually(lambda: browser.rows("trips") and browser.rows("decisions"), "the tables")

    browser.resize(1920, 1080)
    browser.open(url)
    browser.click("tab-days")
    browser.click("tab-equity")
    drawn("equity")
    browser.driver.save_screenshot(str(out / "dashboard.png"))
    browser.click("theme")
    browser.click("tab-candles")
    browser.js("document.querySelector('#ranges [data-range=\"604800\"]').click()")
    symbol = browser.js("return document.querySelector('#positions tbody td span')?.textContent")
    browser.js(
        f"const s = document.getElementById('chart-symbol'); s.value = '{symbol or SYMBOLS[0]}'; "
        "s.dispatchEvent(new Event('change'))"
    )
    drawn("candles")
    browser.driver.save_screenshot(str(out / "dashboard-candles.png"))
    browser.click("theme")
    browser.click("tab-equity")
    browser.resize(390, 1560)
    drawn("equity")
    browser.driver.save_screenshot(str(out / "dashboard-phone.png"))


def main() -> None:
    """Run the service until it is worth a picture, and take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    out = parser.parse_args().out
    candles = Path(os.environ["TRADER_TEST_DATA"]) / "genetrader-binance-2024"
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "service", configuration(candles))
        service.start()
        browser = Browser(lambda: start_browser(Path(tempfile.mkdtemp(dir=folder))))
        try:
            pattern = r"the dashboard listens on (http://\S+)/"
            url = eventually(lambda: re.search(pattern, service.text()), "the address", PATIENCE_S)[1]

            def status() -> dict[str, Any]:
                with urllib.request.urlopen(f"{url}/api/status") as answer:
                    return dict(json.load(answer))

            eventually(lambda: worth_a_picture(status()), "a busy account", PATIENCE_S)
            shoot(browser, url, out)
        finally:
            browser.driver.quit()
            service.kill()


if __name__ == "__main__":
    main()
