"""The shell over the core: requests in, verdicts out, and the switches."""

from __future__ import annotations

import ast
import math
from decimal import Decimal
from pathlib import Path

import pytest

import trader
from tests.unit.core.desks import MINUTE_NS, START_NS, Book
from trader.codes import Direction, Halt, Limit, Reason, Side
from trader.config.sections import Config
from trader.domain.signal import Signal
from trader.domain.verdict import Approved, Refused
from trader.risk.manager import EnhancedRiskManager

NOW_NS = START_NS + MINUTE_NS
SIGNAL = Signal(
    strategy="simple_rsi",
    symbol="ETH/USDT",
    time_ns=NOW_NS,
    price=100.0,
    direction=Direction.LONG,
    confidence=0.8,
    stop_price=math.nan,
    target_price=math.nan,
)


class Desk:
    """A manager over two symbols that have seen one candle."""

    def __init__(self, **risk: float) -> None:
        self.book = Book(2)
        self.manager = EnhancedRiskManager(self.book.desk, self.book.slots, ("BTC/USDT", "ETH/USDT"))
        self.manager.apply_limits(Config.model_validate({"risk": risk}), 4)
        self.book.candle(0, (50_000.0,) * 4, (100.0,) * 4)

    def evaluate(self, signal: Signal = SIGNAL, lease: int = 20, clear: int = 20) -> Approved | Refused:
        """Ask the manager, with lease and veto good unless said."""
        return self.manager.evaluate(signal, NOW_NS, lease, clear, 10, 42)


def test_evaluate_good_signal_is_approved_with_an_exact_quantity() -> None:
    """The request carries whole lots as a decimal, the decision, and no level that nobody named."""
    verdict = Desk().evaluate()
    assert isinstance(verdict, Approved)
    request = verdict.request
    assert (request.symbol, request.side, request.quantity) == ("ETH/USDT", Side.BUY, Decimal("20.000"))
    assert (request.reason, request.decision_id, request.reference_price) == (Reason.SIGNAL, 42, 100.0)
    assert math.isnan(request.stop_price)
    assert math.isnan(request.target_price)
    assert not request.reduce_only


def test_evaluate_signals_own_levels_travel_with_the_request() -> None:
    """A stop of the strategy sizes the order and goes into its plan."""
    verdict = Desk().evaluate(SIGNAL._replace(stop_price=90.0, target_price=130.0))
    assert isinstance(verdict, Approved)
    assert verdict.request.quantity == Decimal(10)  # 1 % of 10,000 over 10
    assert (verdict.request.stop_price, verdict.request.target_price) == (90.0, 130.0)


def test_evaluate_bad_signal_is_refused_with_every_limit_and_number() -> None:
    """A refusal is a value with all that is wrong, readable."""
    verdict = Desk().evaluate(SIGNAL._replace(direction=Direction.SHORT, confidence=0.2), lease=4, clear=10)
    assert isinstance(verdict, Refused)
    broken = {item.limit: item for item in verdict.broken}
    assert set(broken) == {Limit.CONFIDENCE, Limit.LEASE, Limit.VETO, Limit.SHORT_NOT_ALLOWED}
    assert (broken[Limit.CONFIDENCE].observed, broken[Limit.CONFIDENCE].bound) == (0.2, 0.7)
    assert (
        str(broken[Limit.CONFIDENCE])
        == "the signal's confidence is below risk.min_confidence_threshold (0.2 against 0.7)"
    )
    assert verdict.mask == sum(broken)
    assert verdict.request.side == Side.SELL


def test_evaluate_nan_confidence_is_refused() -> None:
    """A strategy that computes nonsense gets no order."""
    verdict = Desk().evaluate(SIGNAL._replace(confidence=math.nan))
    assert isinstance(verdict, Refused)
    assert verdict.mask & Limit.NOT_FINITE


def test_evaluate_infinite_stop_is_refused_and_not_taken_for_the_default() -> None:
    """An infinite level is a mistake, not an omission."""
    verdict = Desk().evaluate(SIGNAL._replace(stop_price=-math.inf))
    assert isinstance(verdict, Refused)
    assert verdict.mask & Limit.NOT_FINITE


@pytest.mark.parametrize("direction", [Direction.HOLD, Direction.FLAT])
def test_evaluate_signal_that_is_no_entry_raises(direction: Direction) -> None:
    """Only entries are checked; asking for more is a mistake of the caller."""
    with pytest.raises(ValueError, match=f"{direction.name} of simple_rsi is no entry"):
        Desk().evaluate(SIGNAL._replace(direction=direction))


def test_evaluate_symbol_without_slot_raises_naming_those_there_are() -> None:
    """A symbol that isn't traded here has no verdict."""
    with pytest.raises(ValueError, match="XRP/USDT has no slot here; traded are BTC/USDT, ETH/USDT"):
        Desk().evaluate(SIGNAL._replace(symbol="XRP/USDT"))


def test_apply_limits_next_check_uses_them() -> None:
    """Limits changed between two cycles hold from the next check on."""
    desk = Desk()
    assert isinstance(desk.evaluate(), Approved)
    desk.manager.apply_limits(Config.model_validate({"risk": {"min_confidence_threshold": 0.9}}), 5)
    verdict = desk.evaluate()
    assert isinstance(verdict, Refused)
    assert verdict.mask == Limit.CONFIDENCE
    assert desk.book.desk["limits"]["config_epoch"][0] == 5


def test_pause_refuses_and_resume_lifts() -> None:
    """An owner's pause stops entries until the owner resumes."""
    desk = Desk()
    desk.manager.pause()
    verdict = desk.evaluate()
    assert isinstance(verdict, Refused)
    assert verdict.mask == Limit.PAUSED
    assert desk.manager.resume() == Halt.PAUSED
    assert isinstance(desk.evaluate(), Approved)
    assert desk.manager.resume() == Halt(0)


def test_resume_after_drawdown_counts_anew_and_keeps_the_record() -> None:
    """Resuming would mean nothing if the old peak halted again at once."""
    desk = Desk(max_drawdown_frac=0.1, max_daily_loss_frac=0.9)
    account = desk.book.desk["account"]
    account["cash"] = 8_500.0
    desk.book.candle(1, (50_000.0,) * 4, (100.0,) * 4)
    assert desk.manager.halts == Halt.DRAWDOWN
    assert desk.manager.resume() == Halt.DRAWDOWN
    desk.book.candle(2, (50_000.0,) * 4, (100.0,) * 4)
    assert desk.manager.halts == Halt(0)
    assert account["max_drawdown_frac"][0] == pytest.approx(0.15)
    assert account["peak_equity"][0] == 8_500.0


def test_resume_after_a_pause_leaves_the_drawdown_as_it_is() -> None:
    """A pause says nothing about money: the peak that drawdown counts from stays."""
    desk = Desk()
    account = desk.book.desk["account"]
    account["cash"] = 9_000.0
    desk.book.candle(1, (50_000.0,) * 4, (100.0,) * 4)
    desk.manager.pause()
    assert desk.manager.resume() == Halt.PAUSED
    assert account["peak_equity"][0] == 10_000.0
    assert account["drawdown_frac"][0] == pytest.approx(0.1)


def test_evaluate_with_nothing_to_spend_is_refused_for_a_quantity_of_zero() -> None:
    """A size below one lot is no order, and says so."""
    desk = Desk()
    desk.book.slots["lot_size"] = 1_000.0
    verdict = desk.evaluate()
    assert isinstance(verdict, Refused)
    assert verdict.request.quantity == 0


def test_halt_and_release_touch_their_own_cause_only() -> None:
    """Causes are independent; an owner's resume does not lift a daily loss."""
    desk = Desk()
    desk.manager.halt(Halt.DAILY_LOSS)
    desk.manager.halt(Halt.LEDGER)
    desk.manager.pause()
    desk.manager.release(Halt.LEDGER)
    assert desk.manager.halts == Halt.DAILY_LOSS | Halt.PAUSED
    assert desk.manager.resume() == Halt.PAUSED
    assert desk.manager.halts == Halt.DAILY_LOSS


def test_manager_wrong_arrays_raise() -> None:
    """Slots and symbols that don't match are found at the start."""
    book = Book(2)
    with pytest.raises(ValueError, match="want a desk and 1 slots"):
        EnhancedRiskManager(book.desk, book.slots, ("BTC/USDT",))


def test_approved_is_made_in_the_manager_only() -> None:
    """No other module can wave an order through."""
    root = Path(trader.__file__).parent
    makers = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Approved":
                makers.add(str(path.relative_to(root)))
    assert makers == {"risk/manager.py"}


def test_alone_checks_against_an_account_of_its_own() -> None:
    """In a notebook: no array, no supervisor; the same limits and the same sizing."""
    config = Config.model_validate({"risk": {"risk_per_trade_frac": 0.01, "max_symbol_exposure_frac": 1.0}})
    manager = EnhancedRiskManager.alone(("BTC/USDT", "ETH/USDT"), 10_000.0, config)
    verdict = manager.check(SIGNAL._replace(stop_price=98.0))
    assert isinstance(verdict, Approved)
    assert verdict.request.quantity == Decimal(50)
    assert verdict.request.decision_id == 0
    timid = manager.check(SIGNAL._replace(confidence=0.2))
    assert isinstance(timid, Refused)
    assert [broken.limit for broken in timid.broken] == [Limit.CONFIDENCE]
    for price in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(ValueError, match=f"no entry at a price of {price}"):
            manager.check(SIGNAL._replace(price=price))
    cheap = manager.check(SIGNAL._replace(price=0.5, stop_price=0.49))
    assert isinstance(cheap, Approved)
    with pytest.raises(ValueError, match="DOGE/USDT has no slot here"):
        manager.check(SIGNAL._replace(symbol="DOGE/USDT"))
