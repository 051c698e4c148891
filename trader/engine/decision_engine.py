"""The cycle, wiring only: market event -> exits -> signals -> risk -> orders -> ledger.

The order of a cycle is fixed: roll the UTC day and check the loss limits, evaluate exits, ask every
strategy, take the best signal, check it against every limit, order, record. The first two happen
on every market event, cycle or not, in one call into compiled code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trader.codes import Decided, Direction, Halt, Reason, limit_names
from trader.config.sections import Config
from trader.core.selection import judge, most_confident
from trader.domain.decision import Decision
from trader.domain.market import Candles, MarketEvent
from trader.domain.signal import Signal
from trader.domain.verdict import Approved, Refused
from trader.engine.announce import tell_decisions, tell_halt
from trader.engine.fence import Gate
from trader.engine.panel import Opinion, StrategyPanel
from trader.engine.schedule import CycleSchedule
from trader.execution.router import OrderRouter
from trader.ledger.journal import Ledger
from trader.market.store import CandleStore
from trader.risk.exit_monitor import ExitPlanMonitor
from trader.risk.manager import EnhancedRiskManager
from trader.strategy.base import Strategy

if TYPE_CHECKING:
    from trader.engine.alone import PaperEngine

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Book:
    """The arrays that kernels work on and the service shares."""

    desk: Records  #: shape (1,), dtype DESK
    slots: Records  #: shape (symbols,), dtype SLOT
    symbols: tuple[str, ...]  #: by slot


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an opinion."""

    decided: Decided
    mask: int = 0  #: codes.Limit that were broken
    order_id: int = 0  #: of the order that followed
    detail: str = ""


#: stands in the record of a cycle in which no strategy had anything to judge
NOBODY_ASKED = Opinion(-1, -1, Signal("", "", 0, math.nan, Direction.HOLD, 0.0, math.nan, math.nan), Decided.HOLD)


class AutonomousDecisionEngine:
    """Turns market events into decisions, orders and ledger entries.

    Nothing here waits, sends or writes to disk by itself: every call is a step that the caller
    commits. So a step is either wholly in the ledger or never happened.

    Parameters
    ----------
    book : Book
        Account and slots, restored from the ledger.
    store : CandleStore
        Closed candles by slot, filled up to the last processed event.
    panel : StrategyPanel
        Strategies to ask.
    risk : EnhancedRiskManager
        The check between every signal and every order.
    router : OrderRouter
        Sends what risk has approved, and settles what the kernels report.
    ledger : Ledger
        Where every decision is recorded.
    schedule : CycleSchedule
        When a cycle is due.
    max_new_positions : int
        Entries that one cycle may order.
    match : bool
        Whether the kernels match orders (paper); on an exchange the venue does.
    """

    def __init__(
        self,
        book: Book,
        store: CandleStore,
        panel: StrategyPanel,
        risk: EnhancedRiskManager,
        router: OrderRouter,
        ledger: Ledger,
        schedule: CycleSchedule,
        *,
        max_new_positions: int = 1,
        match: bool = True,
    ) -> None:
        self.book = book
        self.panel = panel
        self.schedule = schedule
        self.max_new_positions = max_new_positions
        self._store = store
        self._risk = risk
        self._router = router
        self._ledger = ledger
        self._exits = ExitPlanMonitor(book.desk, book.slots, book.symbols, match=match)
        self._account = book.desk["account"][0]

    @staticmethod
    def alone(
        strategies: Sequence[Strategy], candles: Sequence[Candles], ledger: str | Path, config: Config | None = None
    ) -> PaperEngine:
        """Return an engine on paper over candles at hand, with an account and a ledger of its own.

        Parameters
        ----------
        strategies : sequence of Strategy
            Each for its own symbol, or for all.
        candles : sequence of Candles
            One per symbol, all of one timeframe.
        ledger : path
            File of the ledger; begun when it is missing.
        config : Config, optional
            Its risk, exits, costs, capital and instruments count.
        """
        from trader.engine.alone import PaperEngine  # noqa: PLC0415 - it derives from this class

        return PaperEngine(strategies, candles, ledger, config)

    def take_panel(self, panel: StrategyPanel, store: CandleStore) -> None:
        """Go on with other strategies, and the candles they look at, from the next event on."""
        self.panel, self._store = panel, store

    # ------------------------------------------------------------------ market

    def on_market(self, event: MarketEvent, gate: Gate) -> None:
        """Process candles that closed together, and decide when a cycle is due.

        Parameters
        ----------
        event : MarketEvent
            Closed candles, ascending by slot.
        gate : Gate
            Lease and clearance as they were just read.
        """
        self._store.append(event.candles)
        self._risk.watch(event.candles)
        self._settle(self._exits.on_candles(event.candles))
        if self.schedule.take(event.time_ns):
            self._cycle(event.time_ns, gate)

    def on_time(self, now_ns: int, gate: Gate) -> None:
        """Roll the day, check limits and time exits without a candle; decide when a cycle is due.

        Parameters
        ----------
        now_ns : int
            Market time [ns UTC], not before the last event.
        gate : Gate
            Lease and clearance as they were just read.
        """
        self._settle(self._exits.on_time(now_ns))
        if self.schedule.take(now_ns):
            self._cycle(now_ns, gate)

    def _settle(self, count: int) -> None:
        if count:
            self._router.settle(self._exits.events, count)

    # ------------------------------------------------------------------- cycle

    def _cycle(self, now_ns: int, gate: Gate) -> None:
        before_ns = int(self._account["cycle_ns"])
        self._account["cycles"] += 1
        self._account["cycle_ns"] = now_ns
        opinions = list(self.panel.ask(self.book.slots["candle_ns"].tolist(), before_ns, now_ns))
        self._account["decisions"] += len(opinions)
        if opinions:
            numbers = [self._ledger.next_decision_id() for _ in opinions]
            outcomes = self._decide(opinions, numbers, now_ns, gate)
            rows = [self._row(now_ns, *row) for row in zip(numbers, opinions, outcomes, strict=True)]
        else:
            rows = [self._row(now_ns, self._ledger.next_decision_id(), NOBODY_ASKED, Outcome(Decided.NO_NEW_CANDLE))]
        self._ledger.record_decisions(rows)
        tell_decisions(rows)

    def _decide(self, opinions: Sequence[Opinion], numbers: Sequence[int], now_ns: int, gate: Gate) -> list[Outcome]:
        """Order exits first, then entries from the most confident on; answer in the order of asking."""
        outcomes = [Outcome(opinion.decided, detail=opinion.detail) for opinion in opinions]
        entries: list[int] = []
        for index, opinion in enumerate(opinions):
            direction = opinion.signal.direction
            if direction is Direction.HOLD:
                continue
            wants, reason = judge(self.book.slots, opinion.slot, opinion.strategy_index, int(direction))
            if wants == Decided.ORDERED:
                entries.append(index)
            elif wants == Decided.EXIT_ORDERED:
                outcomes[index] = self._exit(opinion, Reason(reason), numbers[index])
            else:
                outcomes[index] = Outcome(Decided(wants))
        confidences = np.array([opinions[index].signal.confidence for index in entries])
        taken = 0
        while (chosen := most_confident(confidences, len(entries)) if entries else -1) >= 0:
            confidences[chosen] = -1.0
            index = entries[chosen]
            if taken < self.max_new_positions:
                outcomes[index] = self._enter(opinions[index], numbers[index], now_ns, gate)
                taken += outcomes[index].decided is Decided.ORDERED
            else:
                outcomes[index] = Outcome(Decided.NOT_CHOSEN)
        return outcomes

    def _exit(self, opinion: Opinion, reason: Reason, number: int) -> Outcome:
        order = self._router.close(opinion.slot, reason, number)
        if order is None or order.decision_id != number:
            return Outcome(Decided.NOTHING_TO_EXIT, detail="an exit is already on its way")
        return Outcome(Decided.EXIT_ORDERED, order_id=order.order_id)

    def _enter(self, opinion: Opinion, number: int, now_ns: int, gate: Gate) -> Outcome:
        verdict = self._risk.evaluate(
            opinion.signal,
            now_ns=now_ns,
            boottime_ns=gate.now_ns,
            lease_until_ns=gate.lease_until_ns,
            clear_until_ns=gate.clear_until_ns,
            decision_id=number,
        )
        match verdict:
            case Approved():
                order = self._router.send(verdict, opinion.slot, opinion.strategy_index)
                return Outcome(Decided.ORDERED, order_id=order.order_id)
            case Refused():
                return Outcome(Decided.DENIED, verdict.mask, detail=_broken_as_json(verdict))

    def _row(self, now_ns: int, number: int, opinion: Opinion, outcome: Outcome) -> Decision:
        signal = opinion.signal
        return Decision(
            decision_id=number,
            cycle=int(self._account["cycles"]),
            time_ns=now_ns,
            strategy=signal.strategy,
            symbol=signal.symbol,
            candle_ns=signal.time_ns,
            price=signal.price,
            direction=int(signal.direction),
            confidence=signal.confidence,
            value=signal.value,
            decided=int(outcome.decided),
            mask=outcome.mask,
            order_id=outcome.order_id,
            detail=outcome.detail,
            note=signal.note,
        )

    # ---------------------------------------------------------------- commands

    def pause(self) -> None:
        """Refuse entries until `resume`; exits go on."""
        self.halt(Halt.PAUSED)

    def resume(self) -> Halt:
        """Allow entries again: lift a pause and a halt for drawdown, and return what was lifted."""
        lifted = self._risk.resume()
        self._journal_halt(lifted, active=False)
        return lifted

    def close(self, symbol: str, reason: Reason = Reason.OWNER_CLOSE) -> bool:
        """Cancel a symbol's entry in flight and order the close of its position; return whether there was one."""
        slot = self.book.symbols.index(symbol)
        return self._router.close(slot, reason) is not None

    def flatten(self) -> tuple[str, ...]:
        """Pause, withdraw entries in flight and order the close of every position.

        Returns
        -------
        tuple of str
            Symbols whose close was ordered.
        """
        self.pause()
        return tuple(symbol for symbol in self.book.symbols if self.close(symbol, Reason.OWNER_FLATTEN))

    @property
    def halts(self) -> Halt:
        """Why entries are halted now."""
        return self._risk.halts

    def halt(self, cause: Halt) -> None:
        """Refuse entries for a cause, until it is lifted; exits go on."""
        raised = cause & ~self._risk.halts
        self._risk.halt(cause)
        self._journal_halt(raised, active=True)

    def lift(self, causes: Halt) -> None:
        """End the halts of these causes."""
        lifted = causes & self._risk.halts
        self._risk.release(causes)
        self._journal_halt(lifted, active=False)

    def _journal_halt(self, causes: Halt, *, active: bool) -> None:
        for cause in causes:
            self._ledger.record_halt(cause, active=active, time_ns=int(self._account["event_ns"]))
            tell_halt(cause, active=active)


def _broken_as_json(verdict: Refused) -> str:
    numbers = {limit_names(item.limit)[0]: [_finite(item.observed), _finite(item.bound)] for item in verdict.broken}
    return json.dumps(numbers, separators=(",", ":"))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
