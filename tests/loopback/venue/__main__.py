"""A fake venue as a process of its own: `python -m tests.loopback.venue --candles FILE.json`."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path

from tests.loopback.venue import FakeVenue, VenueClock


def main() -> None:
    """Serve until SIGTERM; the first line on stdout is the address and the configuration for ccxt."""
    parser = argparse.ArgumentParser(prog="python -m tests.loopback.venue", description=__doc__)
    parser.add_argument("--candles", type=Path, required=True, help="JSON: symbol -> rows of [ms, o, h, l, c, v]")
    parser.add_argument("--dialect", default="binance")
    parser.add_argument("--balance", action="append", default=[], metavar="CURRENCY=AMOUNT")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--history", type=int, default=0, help="candles that are closed at the start")
    parser.add_argument("--speed", type=float, default=0.0, help="market seconds per second; 0: only when told to")
    parser.add_argument("--wall", action="store_true", help="move the candles to the present")
    options = parser.parse_args()
    balances = dict(pair.split("=", 1) for pair in options.balance) or {"USDT": "10000"}
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    venue = FakeVenue(
        json.loads(options.candles.read_text()),
        dialect=options.dialect,
        balances=balances,
        port=options.port,
        history=options.history,
        clock=VenueClock(wall=options.wall),
    )
    with venue:
        print(json.dumps({"url": venue.url, "keys": venue.keys, "config": venue.exchange_config()}), flush=True)
        if options.speed:
            venue.run(options.speed)
        ended.wait()


if __name__ == "__main__":
    main()
