"""Proof at start: every entry point is compiled, and gives the results that it must give.

A kernel compiled wrongly, or taken from a spoiled cache, would trade wrongly without a word. So a
short trading day is played on a private desk before anything trades, and each number that comes out is held
against one worked out by hand, which stands beside it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trader.clock import NS_PER_S
from trader.codes import CoreEvent, Decided, Direction, Halt, Limit, Reason, RuleKind
from trader.core.correlation import correlate, keep_closes
from trader.core.invalidations import take_history
from trader.core.kernels import apply_fill, attach_plan, cancel, check_entry, on_candles, on_time, place
from trader.core.records import CANDLE, fund, new_closes, new_desk, new_events, new_slots
from trader.core.rulebook import write_gauges, write_rules
from trader.core.selection import judge, most_confident
from trader.domain.invalidation import Gauge, Invalidation
from trader.errors import KernelError

Check = tuple[str, float, float]

#: 2024-01-03T23:50:00Z, so that the day rolls within the scene
START_NS = 1_704_325_800 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S

_LIMITS = {
    "max_open_positions": 5,
    "min_confidence_threshold": 0.7,
    "max_daily_loss_frac": 0.001,
    "max_daily_trades": 20,
    "max_symbol_exposure_frac": 0.2,
    "max_gross_exposure_frac": 1.0,
    "max_drawdown_frac": 0.2,
    "risk_per_trade_frac": 0.01,
    "leverage": 1.0,
    "allow_short": 1,
    "stale_mark_ns": 3 * MINUTE_NS,
    "stop_loss_frac": 0.02,
    "take_profit_frac": 0.03,
}
_SLOT = {"tick_size": 0.01, "lot_size": 0.001, "min_notional": 5.0, "fee_rate_frac": 0.001, "slippage_frac": 0.0005}


class _Scene:
    """Two symbols on a private account, and the numbers that have come out so far."""

    def __init__(self) -> None:
        self.desk: Any = new_desk()
        self.slots: Any = new_slots(2)
        self.events: Any = new_events(2)
        self.checks: list[Check] = []
        fund(self.desk, 10_000.0)
        for name, limit in _LIMITS.items():
            self.desk["limits"][name] = limit
        for name, value in _SLOT.items():
            self.slots[name] = value

    def candle(self, minute: int, o: float, h: float, l: float, c: float) -> int:
        """Play the same candle for both symbols; return the number of events."""
        candles = np.zeros(2, CANDLE)
        open_ns = START_NS + minute * MINUTE_NS
        for slot in range(2):
            candles[slot] = (slot, open_ns, open_ns + MINUTE_NS, o, h, l, c, 1.0)
        return self.play(candles)

    def play(self, candles: Any) -> int:
        """Play candles that nobody is to change, which is how a feed may hand them out.

        To the compiler they are another type, and it takes writable ones for these, not these for writable ones: so
        this is the one version that is compiled.
        """
        candles.flags.writeable = False
        return int(on_candles(self.desk, self.slots, candles, 1, self.events))

    def ask(self, slot: int, direction: int, confidence: float, boottime_ns: int) -> None:
        """Check an entry at 100, with lease and veto both good until boot time 10."""
        time_ns = int(self.desk["account"]["event_ns"][0])
        self.desk["gate"] = (boottime_ns, 10, 10)
        self.desk["request"] = (slot, direction, confidence, 0.0, 100.0, math.nan, math.nan, time_ns)
        check_entry(self.desk, self.slots)

    def expect(self, what: str, value: float, expected: float) -> None:
        """Remember a number and what it has to be."""
        self.checks.append((what, float(value), expected))


def _entry(scene: _Scene) -> None:
    """Approve and fill a long entry in slot 0."""
    account, verdict, slot = scene.desk["account"], scene.desk["verdict"], scene.slots[0]
    scene.expect("events of the first candle", scene.candle(0, 100.0, 101.0, 99.0, 100.0), 1)
    scene.expect("first event", scene.events["kind"][0], CoreEvent.DAY_ROLLED)
    scene.ask(0, 1, 0.8, 9)
    scene.expect("verdict of a good entry", verdict["mask"][0], 0)
    scene.expect("size", verdict["lots"][0], 20_000)  # 20 % of 10,000 at 100, in lots of 0.001
    scene.expect("stop", verdict["stop_price"][0], 98.0)
    scene.expect("target", verdict["target_price"][0], 103.0)
    place(scene.desk, scene.slots, 0, 20_000, 7, int(Reason.SIGNAL), 0, math.nan, math.nan)
    scene.expect("reserved", slot["reserved"], 2003.001)  # 2,000 x 1.0005 x 1.001
    scene.expect("events of the entry", scene.candle(1, 100.01, 100.5, 99.5, 100.0), 1)
    scene.expect("entry price", scene.events["price"][0], 100.07)  # 100.01 x 1.0005 = 100.060005, up
    scene.expect("entry fee", scene.events["fee"][0], 2.0014)
    scene.expect("cash after the entry", account["cash"][0], 7996.5986)  # 10,000 - 2,001.4 - 2.0014
    scene.expect("equity after the entry", account["equity"][0], 9996.5986)
    scene.expect("plan's stop", slot["stop_price"], 98.07)  # 98.0686, towards the entry
    scene.expect("plan's target", slot["target_price"], 103.07)  # 103.0721, towards the entry
    scene.expect("flat closes", judge(scene.slots, 0, 0, int(Direction.FLAT))[0], Decided.EXIT_ORDERED)
    scene.expect("the next candidate", most_confident(np.array([0.5, 0.9, 0.9]), 3), 1)


def _exit(scene: _Scene) -> None:
    """Hit the stop, halt for the day, and be refused for every reason at once."""
    account, verdict = scene.desk["account"], scene.desk["verdict"]
    scene.expect("events of the stop", scene.candle(2, 99.0, 99.5, 97.0, 98.0), 2)
    scene.expect("stop's reason", scene.events["reason"][0], Reason.STOP)
    scene.expect("stop's price", scene.events["price"][0], 98.02)  # 98.07 x 0.9995 = 98.020965, down
    scene.expect("result", scene.events["pnl"][0], -44.9618)  # -20 x 2.05 - 2.0014 - 1.9604
    scene.expect("halt", scene.events["reason"][1], Halt.DAILY_LOSS)
    scene.ask(9, 1, 0.1, 12)
    broken = Limit.CONFIDENCE | Limit.DAILY_LOSS | Limit.HALTED | Limit.LEASE | Limit.VETO | Limit.NOT_FINITE
    scene.expect("verdict of a bad entry", verdict["mask"][0], int(broken))
    scene.expect("loss", verdict["observed"][0][1], 0.00449618)
    scene.expect("its bound", verdict["bound"][0][1], 0.001)
    scene.expect("equity", account["equity"][0], 9955.0382)


def _rest(scene: _Scene) -> None:
    """Roll the day, and use every other entry point once."""
    account, slot = scene.desk["account"], scene.slots[1]
    midnight_ns = START_NS + 10 * MINUTE_NS
    scene.expect("events of no candles", scene.play(np.zeros(0, CANDLE)), 0)
    scene.expect("events of midnight", on_time(scene.desk, scene.slots, midnight_ns, scene.events), 2)
    scene.expect("resumed", scene.events["kind"][1], CoreEvent.RESUMED)
    scene.expect("halts on the new day", account["halt_mask"][0], 0)
    n = apply_fill(
        scene.desk, scene.slots, 1, -1, 1.0, 100.0, 0.1, midnight_ns, int(Reason.UNEXPLAINED), scene.events, 0
    )
    scene.expect("events of a short", n, 1)
    attach_plan(scene.desk, scene.slots, 1, 101.234, math.nan)
    scene.expect("short's stop", slot["stop_price"], 101.23)
    scene.expect("short's target", slot["target_price"], 97.0)
    place(scene.desk, scene.slots, 1, 1000, 8, int(Reason.OWNER_CLOSE), -1, math.nan, math.nan)
    scene.expect("in flight", account["pending_orders"][0], 1)
    cancel(scene.desk, scene.slots, 1)
    scene.expect("cancelled", account["pending_orders"][0], 0)
    scene.expect("short's worth", account["equity"][0], 9956.9382)  # 9,955.0382 + 100 - 0.1 - 98


def _look_back(scene: _Scene) -> None:
    """Refuse what moves with an open position, and close it when its RSI says so."""
    slots, verdict = scene.slots, scene.desk["verdict"]
    scene.candle(0, 100.0, 100.0, 100.0, 100.0)
    place(scene.desk, slots, 1, 10_000, 9, int(Reason.SIGNAL), 0, math.nan, math.nan)
    write_rules(slots[1], [Invalidation(RuleKind.RSI_BELOW, 50.0, 0, 2)])
    write_gauges(slots[1], [Gauge(0, 2)])
    take_history(slots[1], np.array([START_NS, START_NS + MINUTE_NS]), np.array([99.0, 100.0]))
    scene.candle(1, 100.0, 101.0, 99.0, 101.0)
    scene.expect("average rise", slots["gauge_up"][1][0], 1.0)
    scene.desk["limits"]["bar_ns"] = MINUTE_NS
    scene.desk["limits"]["max_daily_loss_frac"] = 0.5
    scene.desk["limits"]["max_correlated_exposure_frac"] = 0.1
    scene.desk["limits"]["correlation_threshold"] = 0.9
    closes, rows = new_closes(2, 2), np.zeros(6, CANDLE)
    for row, price in enumerate((50.0, 100.0, 52.0, 99.0, 51.0, 101.0)):
        open_ns = START_NS + (row // 2 - 1) * MINUTE_NS
        rows[row] = (row % 2, open_ns, open_ns + MINUTE_NS, price, price, price, price, 1.0)
    rows.flags.writeable = False
    keep_closes(closes, rows, 0, 6, MINUTE_NS)
    correlate(scene.desk, slots, closes, 0)
    scene.expect("correlation", slots["correlation"][1], -1.0)  # two returns lie on a line
    scene.ask(0, -1, 0.8, 9)
    scene.expect("verdict beside what moves along", verdict["mask"][0], int(Limit.CORRELATED | Limit.MIN_NOTIONAL))
    scene.expect("events of a fallen RSI", scene.candle(2, 101.0, 101.0, 99.0, 99.0), 1)
    scene.expect("its reason", scene.events["reason"][0], Reason.INVALIDATED)
    scene.expect("its rule", scene.events["rule"][0], 1)
    scene.expect("average fall", slots["gauge_down"][1][0], 1.0)


def _seal() -> None:
    """Let no entry point be compiled again: another type of argument would stop trading for seconds.

    An integer or a code where a float or an integer is wanted is converted then, anything else is a TypeError.
    """
    asked = (apply_fill, attach_plan, cancel, check_entry, correlate, judge, keep_closes, most_confident, place)
    for entry in (*asked, on_candles, on_time, take_history):
        if hasattr(entry, "disable_compile"):  # not with JIT switched off
            entry.disable_compile()


def warm_up() -> None:
    """Compile or load every entry point and hold a played scene against golden numbers.

    No entry point is compiled again afterwards, whatever it is called with.

    Raises
    ------
    KernelError
        When a number is not what it must be; names each, with both values. The compile cache is to be wiped then.
    """
    scene = _Scene()
    _entry(scene)
    _exit(scene)
    _rest(scene)
    look = _Scene()
    _look_back(look)
    wrong = [
        f"{what}: {value!r}, not {expected!r}"
        for what, value, expected in (*scene.checks, *look.checks)
        if not math.isclose(value, expected, rel_tol=1e-12, abs_tol=1e-9)
    ]
    if wrong:
        raise KernelError(f"the compiled kernels give wrong results; wipe the compile cache: {'; '.join(wrong)}")
    _seal()
