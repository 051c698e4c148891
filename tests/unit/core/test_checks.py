"""The risk check, limit by limit and all at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.unit.core.desks import MINUTE_NS, START_NS, Book, started
from trader.codes import Halt, Limit
from trader.core import kernels

NOW_NS = START_NS + MINUTE_NS  # the close of the first candle


def test_check_good_entry_breaks_nothing_and_is_sized() -> None:
    """20 % of 10,000 at 100 are 20 units: exposure binds before the risk of 1 % over 2 %."""
    book = started()
    assert book.ask() == 0
    assert (book.verdict["lots"], book.verdict["quantity"]) == (20_000, 20.0)
    assert (book.verdict["stop_price"], book.verdict["target_price"]) == (98.0, 103.0)


@pytest.mark.parametrize(
    ("limits", "stop", "lots"),
    [
        ({}, 90.0, 10_000),  # risk: 1 % of 10,000 over 10 = 10 units
        ({"max_symbol_exposure_frac": 1.0}, math.nan, 50_000),  # risk: 100 over 2 = 50 units
        ({"max_symbol_exposure_frac": 1.0, "risk_per_trade_frac": 1.0}, math.nan, 99_850),  # free: 10,000 / 100.15005
        ({"max_symbol_exposure_frac": 1.0, "max_gross_exposure_frac": 0.3}, math.nan, 30_000),
    ],
)
def test_check_size_is_the_smallest_of_risk_exposure_and_capital(
    limits: dict[str, float], stop: float, lots: int
) -> None:
    """Risk at the stop decides, capped by exposure, gross exposure and free capital with its costs."""
    book = started(**limits)
    assert book.ask(stop_price=stop) == 0
    assert book.verdict["lots"] == lots


def _lease(book: Book) -> None:
    book.desk["gate"] = (5 * 10**9, 3 * 10**9, 9 * 10**9)


def _veto(book: Book) -> None:
    book.desk["gate"] = (5 * 10**9, 9 * 10**9, 5 * 10**9)


def _set(where: str, **values: float) -> Any:
    def change(book: Book) -> None:
        record = book.slots if where == "slot" else book.desk[where]
        for name, value in values.items():
            record[name][0] = value

    return change


def _in_flight(*slots: int) -> Any:
    def change(book: Book) -> None:
        for slot in slots:
            book.place(slot, 1_000)

    return change


@pytest.mark.parametrize(
    ("change", "request_", "limit", "observed", "bound"),
    [
        (None, {"confidence": 0.69}, Limit.CONFIDENCE, 0.69, 0.7),
        (_set("account", day_start_equity=10_527.0), {}, Limit.DAILY_LOSS, 1 - 10_000 / 10_527, 0.05),
        (_set("account", day_trades=20), {}, Limit.DAILY_TRADES, 20, 20),
        (_set("account", day_trades=19), {"after": _in_flight(1)}, Limit.DAILY_TRADES, 20, 20),
        (_set("account", open_positions=3), {}, Limit.OPEN_POSITIONS, 3, 3),
        (_set("account", open_positions=1), {"after": _in_flight(1, 2)}, Limit.OPEN_POSITIONS, 3, 3),
        (None, {"quantity": 20.001}, Limit.SYMBOL_EXPOSURE, 2_000.1, 2_000.0),
        (_set("account", drawdown_frac=0.2), {}, Limit.DRAWDOWN, 0.2, 0.2),
        (
            _set("limits", max_symbol_exposure_frac=2.0, max_gross_exposure_frac=2.0),
            {"quantity": 99.9},
            Limit.FREE_CAPITAL,
            99.9 * 100.15005,
            10_000,
        ),
        (
            _set("account", gross_exposure=9_000.0),
            {"quantity": 10.5},
            Limit.GROSS_EXPOSURE | Limit.FREE_CAPITAL,
            None,
            None,
        ),
        (_set("limits", max_gross_exposure_frac=0.1), {"quantity": 10.5}, Limit.GROSS_EXPOSURE, 1_050.0, 1_000.0),
        (None, {"quantity": 0.049}, Limit.MIN_NOTIONAL, 4.9, 5.0),
        (_set("slot", min_quantity=0.2), {"quantity": 0.1}, Limit.MIN_NOTIONAL, 10.0, 20.0),
        (None, {"quantity": 0.0001}, Limit.MIN_NOTIONAL, 0.0, 5.0),
        (None, {"time_ns": NOW_NS + 181 * 10**9}, Limit.STALE_MARK, 181.0, 180.0),
        (_lease, {}, Limit.LEASE, 2.0, 0.0),
        (_veto, {}, Limit.VETO, 0.0, 0.0),
        (_set("account", halt_mask=Halt.PAUSED), {}, Limit.PAUSED, 1.0, 0.0),
        (_set("account", halt_mask=Halt.LEDGER | Halt.FEED), {}, Limit.HALTED, 72.0, 0.0),
        (
            _set("limits", cooldown_ns=60 * 10**9),
            {"after": _set("slot", last_close_ns=NOW_NS - 59 * 10**9)},
            Limit.COOLDOWN,
            59.0,
            60.0,
        ),
        (
            _set("limits", loss_streak_limit=3, loss_streak_cooldown_ns=60 * 10**9),
            {"after": _set("account", loss_streak=3, last_loss_ns=NOW_NS - 10**9)},
            Limit.LOSS_STREAK,
            1.0,
            60.0,
        ),
        (_set("slot", blocked=1), {}, Limit.SYMBOL_BLOCKED, 1.0, 0.0),
        (_in_flight(0), {}, Limit.POSITION_OPEN, 1.0, 0.0),
        (_set("slot", quantity=-2.0), {"quantity": 1.0}, Limit.POSITION_OPEN, -2.0, 0.0),
        (_set("limits", allow_short=0), {"direction": -1}, Limit.SHORT_NOT_ALLOWED, -1.0, 0.0),
        (None, {"stop_price": 100.0, "quantity": 1.0}, Limit.STOP_SIDE, 100.0, 100.0),
        (None, {"stop_price": 101.0, "quantity": 1.0}, Limit.STOP_SIDE, 101.0, 100.0),
        (None, {"stop_price": 99.0, "direction": -1, "quantity": 1.0}, Limit.STOP_SIDE, 99.0, 100.0),
        (None, {"stop_price": -1.0, "quantity": 1.0}, Limit.STOP_SIDE, -1.0, 100.0),
    ],
)
def test_check_one_broken_limit_is_the_only_one_named(
    change: Any, request_: dict[str, Any], limit: Limit, observed: float | None, bound: float | None
) -> None:
    """Each limit is found alone, with the observed value and the bound."""
    book = started(4)
    request = dict(request_)
    for step in (change, request.pop("after", None)):
        if step:
            step(book)
    assert Limit(book.ask(**request)) == limit
    if observed is not None:
        bit = int(limit).bit_length() - 1
        assert book.verdict["observed"][bit] == pytest.approx(observed)
        assert book.verdict["bound"][bit] == pytest.approx(bound)


@pytest.mark.parametrize(
    ("change", "request_"),
    [
        (None, {"confidence": 0.7}),
        (_set("account", day_trades=19), {}),
        (_set("account", open_positions=2), {}),
        (None, {"quantity": 20.0}),
        (None, {"quantity": 0.05}),
        (None, {"time_ns": NOW_NS + 180 * 10**9}),
        (_set("limits", cooldown_ns=60 * 10**9), {"after": _set("slot", last_close_ns=NOW_NS - 60 * 10**9)}),
        (_set("limits", loss_streak_limit=3, loss_streak_cooldown_ns=60), {"after": _set("account", loss_streak=2)}),
        (_set("limits", allow_short=0), {}),
    ],
)
def test_check_value_at_the_edge_passes(change: Any, request_: dict[str, Any]) -> None:
    """What is just allowed is allowed."""
    book = started(4)
    request = dict(request_)
    for step in (change, request.pop("after", None)):
        if step:
            step(book)
    assert Limit(book.ask(**request)) == Limit(0)


def test_check_everything_broken_names_everything() -> None:
    """A verdict holds every broken limit, not the first."""
    book = started(4)
    _set("account", day_start_equity=20_000, day_trades=20, open_positions=5, drawdown_frac=0.5, loss_streak=9)(book)
    _set("account", halt_mask=Halt.PAUSED | Halt.DRAWDOWN, last_loss_ns=NOW_NS, gross_exposure=10_000.0)(book)
    _set("limits", cooldown_ns=10**12, loss_streak_limit=1, loss_streak_cooldown_ns=10**12, allow_short=0)(book)
    _set("limits", max_correlated_exposure_frac=0.1)(book)
    _set("slot", last_close_ns=NOW_NS, blocked=2, quantity=30.0)(book)
    book.desk["gate"] = (9, 1, 1)
    mask = book.ask(direction=-1, confidence=0.0, stop_price=50.0, quantity=0.01, time_ns=NOW_NS + 10**12 - 1)
    assert Limit(mask) == ~Limit.NOT_FINITE & (Limit.STOP_SIDE * 2 - 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        *[("account", name) for name in ("cash", "equity", "gross_exposure", "day_start_equity", "drawdown_frac")],
        *[("request", name) for name in ("confidence", "quantity", "price")],
        *[
            ("limits", name)
            for name in (
                "min_confidence_threshold",
                "max_daily_loss_frac",
                "max_symbol_exposure_frac",
                "max_gross_exposure_frac",
                "max_drawdown_frac",
                "risk_per_trade_frac",
                "leverage",
                "stop_loss_frac",
            )
        ],
        *[
            ("slot", name)
            for name in (
                "mark_price",
                "quantity",
                "lot_size",
                "tick_size",
                "fee_rate_frac",
                "slippage_frac",
                "min_notional",
            )
        ],
    ],
)
def test_check_number_that_is_none_refuses(where: str, name: str, value: float) -> None:
    """NaN or infinity anywhere refuses."""
    book = started()
    if where == "request":
        mask = book.ask(**{name: value})
    else:
        _set(where, **{name: value})(book)
        mask = book.ask(price=100.0)
    assert mask & Limit.NOT_FINITE


@pytest.mark.parametrize(
    "request_",
    [
        {"slot": -1},
        {"slot": 1},
        {"direction": 0},
        {"direction": 2},
        {"price": 0.0},
        {"price": -1.0},
        {"quantity": -1.0},
        {"stop_price": math.inf},
        {"target_price": -math.inf},
    ],
)
def test_check_impossible_request_refuses(request_: dict[str, float]) -> None:
    """A request that can't be counted with is refused, never sized."""
    book = started()
    assert book.ask(**request_) & Limit.NOT_FINITE
    assert book.verdict["lots"] == 0


def test_check_stop_on_the_wrong_side_has_no_size() -> None:
    """Nothing is sized by a stop that can't stop a loss."""
    book = started()
    assert book.ask(stop_price=101.0) == Limit.STOP_SIDE
    assert book.verdict["lots"] == 0


def test_check_before_the_first_candle_refuses() -> None:
    """No mark, no entry."""
    book = Book()
    assert book.ask(price=100.0) & Limit.NOT_FINITE


def test_check_size_below_the_minimum_says_what_leaves_no_room() -> None:
    """When capital is used up, the verdict names the capital and not just the size."""
    book = started(2)
    book.desk["account"]["gross_exposure"] = 9_998.0
    mask = book.ask()
    assert Limit(mask) == Limit.MIN_NOTIONAL | Limit.GROSS_EXPOSURE | Limit.FREE_CAPITAL
    assert book.verdict["observed"][6] == pytest.approx(0.05 * 100 * 1.0005 * 1.001)
    assert book.verdict["bound"][6] == pytest.approx(2.0)


def test_check_reserve_of_orders_in_flight_is_not_free() -> None:
    """Two entries in flight leave what they have not reserved."""
    book = started(3, max_symbol_exposure_frac=1.0, risk_per_trade_frac=1.0)
    book.place(0, 60_000)
    assert book.ask(1) == 0
    assert book.verdict["lots"] == int((10_000 - 6_000 * 1.0005 * 1.001) / (100 * 1.0005 * 1.001) * 1000)
    kernels.cancel(book.desk, book.slots, 0)
    book.ask(1)
    assert book.verdict["lots"] == 99_850


def test_check_leaves_the_account_alone() -> None:
    """A check decides and changes nothing but its verdict."""
    book = started()
    before = (book.desk["account"].tobytes(), book.slots.tobytes())
    book.ask()
    assert (book.desk["account"].tobytes(), book.slots.tobytes()) == before
