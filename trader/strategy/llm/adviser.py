"""The adviser: one question in order: is it allowed, what may it cost, what came back, what of it holds, on disk.

Whatever goes wrong on the way is a hold with a reason and a record. Only what the owner has to mend is raised.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import trader
from trader.clock import NS_PER_S, utc_ns
from trader.codes import Breaker
from trader.config.sections import LlmConfig
from trader.domain.view import MarketView
from trader.errors import StrategyError
from trader.logs.events import log_event
from trader.strategy.llm import breaker
from trader.strategy.llm.answer import Answer
from trader.strategy.llm.budget import Budget, BudgetUnwritable, Reservation
from trader.strategy.llm.checks import Final, Verdict, check
from trader.strategy.llm.client import Attempt, Client
from trader.strategy.llm.decision import (
    Decision,
    decision_id,
    final_document,
    held,
    proposal_document,
    read_decision,
    verdict_document,
)
from trader.strategy.llm.records import Records, RecordsUnwritable
from trader.strategy.llm.reply import DecisionInvalid, Proposal, read_reply
from trader.strategy.llm.request import cost_usd, question_key, request_body, snapshot_hash, worst_cost_usd
from trader.strategy.llm.vocabulary import PROMPT_VERSION, SCHEMA_VERSION, Hold, rule_timeframes
from trader.units import EXACT, exact, plain

log = logging.getLogger(__name__)

EVENT = "llm.decision"

#: the first wait before another try, doubled with each one [s]
_BACKOFF_S = 1.0

#: what tells nothing about the model, and so leaves the breaker as it is
_NOT_THE_MODEL = frozenset({Hold.BUDGET_CALLS, Hold.BUDGET_USD, Hold.BREAKER, Hold.NO_RECORD, Hold.NO_DISK})


class RecordMissing(StrategyError):
    """A replay asks what the decision records have no answer to."""


@dataclass(slots=True)
class Inquiry:
    """One question while it is under way: what the record will say."""

    name: str
    view: MarketView
    body: dict[str, Any]
    key: str
    began_s: float
    attempts: list[dict[str, Any]] = field(default_factory=list)
    answer: Answer | None = None
    status: int | None = None
    raw_body: str = ""
    spent_usd: Decimal = Decimal(0)
    reserved_usd: Decimal = Decimal(0)  #: of tries whose outcome is not known
    proposals: tuple[Proposal, ...] | None = None
    verdicts: tuple[Verdict, ...] = ()
    message: str = ""


class Adviser:
    """Asks one model about the market, one question at a time.

    Parameters
    ----------
    settings : LlmConfig
        Section `llm`.
    client : Client or None
        Asks the server; None in replay, where no socket is opened.
    budget : Budget or None
        None in replay, where nothing is spent.
    records : Records
        Where every decision is written down.
    known : mapping
        Records by key, for the modes record and replay.
    clock : callable
        The wall clock [ns UTC].
    """

    def __init__(
        self,
        settings: LlmConfig,
        client: Client | None,
        budget: Budget | None,
        records: Records,
        known: Mapping[str, dict[str, Any]] | None = None,
        clock: Callable[[], int] = utc_ns,
    ) -> None:
        self._settings = settings
        self._client = client
        self._budget = budget
        self._records = records
        self._known = dict(known or {})
        self._clock = clock
        self._busy = False
        if budget is not None:
            budget.set_breaker(breaker.at_start(budget.breaker()))

    def close(self) -> None:
        """Let go of files and sockets."""
        if self._client is not None:
            self._client.close()
        if self._budget is not None:
            self._budget.close()

    async def decide(self, view: MarketView, market_now: Callable[[], int] | None) -> Decision | None:
        """Ask about a view, and write down what comes of it.

        Parameters
        ----------
        view : MarketView
            What is known.
        market_now : callable or None
            Returns market time while the market goes on; None: the market waits.

        Returns
        -------
        Decision or None
            None while another question is under way: there is one at a time.

        Raises
        ------
        RecordMissing
            In replay, when there is no answer and that is to be an error.
        """
        if self._busy:
            return None
        self._busy = True
        try:
            body = request_body(view, self._settings)
            inquiry = Inquiry(decision_id(view.time_ns), view, body, question_key(body), time.monotonic())
            earlier = self._earlier(inquiry)
            if earlier is not None:
                return earlier
            finals = await self._finals(inquiry)
            return self._write_down(inquiry, finals, market_now)
        finally:
            self._busy = False

    # -- what is known already -----------------------------------------------------------------

    def _earlier(self, inquiry: Inquiry) -> Decision | None:
        record = self._known.get(inquiry.key)
        mode = self._settings.mode
        if record is None:
            if mode == "replay" and self._settings.on_missing_record == "error":
                raise RecordMissing(
                    f"{inquiry.name}: {self._records.folder} has no answer to this question: the candles, the settings "
                    f"or the account differ from when it was recorded (llm.on_missing_record: hold goes on)"
                )
            return None
        same_moment = record["decision_id"] == inquiry.name
        if mode == "live" and not same_moment:
            return None
        found = read_decision(record)
        # at the same moment after a restart, or as long after the question as it took then
        late_ns = found.effective_ns - found.market_ns
        return replace(
            found, decision_id=inquiry.name, market_ns=inquiry.view.time_ns, effective_ns=inquiry.view.time_ns + late_ns
        )

    # -- asking --------------------------------------------------------------------------------

    async def _finals(self, inquiry: Inquiry) -> tuple[Final, ...]:
        symbols = [one.symbol for one in inquiry.view.symbols]
        reason = Hold.NO_RECORD if self._client is None else await self._ask(inquiry)
        self._note_breaker(reason)
        if reason is not Hold.NONE:
            return held(symbols, reason)
        finals: dict[str, Final] = {one.symbol: one for one in held(symbols, Hold.MISSING_SYMBOL)}
        for proposal in inquiry.proposals or ():
            finals[proposal.symbol], verdicts = check(proposal, inquiry.view, self._settings)
            inquiry.verdicts += verdicts
        return tuple(finals.values())

    async def _ask(self, inquiry: Inquiry) -> Hold:
        assert self._budget is not None
        if not breaker.allows(self._budget.breaker(), self._clock()):
            return Hold.BREAKER
        self._budget.set_breaker(breaker.while_trying(self._budget.breaker()))
        give_up_s = inquiry.began_s + self._settings.deadline_s
        try:
            reason = await self._try_until(inquiry, give_up_s)
        except BudgetUnwritable as error:
            inquiry.message = str(error)
            return Hold.NO_DISK
        if reason is not Hold.NONE or inquiry.answer is None:
            return reason
        try:
            inquiry.proposals = read_reply(
                inquiry.answer.content,
                [one.symbol for one in inquiry.view.symbols],
                rule_timeframes(inquiry.view.timeframe),
            )
        except DecisionInvalid as error:
            inquiry.message = str(error)
            return error.reason
        return Hold.NONE

    async def _try_until(self, inquiry: Inquiry, give_up_s: float) -> Hold:
        """Ask until there is an answer, no further try can help, or the time is up."""
        wait_s = 0.0
        reason = Hold.TIMEOUT
        for number in range(self._settings.max_retries + 1):
            left_s = give_up_s - time.monotonic() - wait_s
            if number and left_s <= 0:
                break  # the last answer stays: there is no time for another
            await asyncio.sleep(wait_s)
            outcome = await self._try_once(inquiry, left_s, wait_s)
            if isinstance(outcome, Hold):
                return outcome if not number else reason
            reason = outcome.answer.reason
            if not outcome.answer.retry:
                break
            wait_s = _BACKOFF_S * 2**number if outcome.retry_after_s is None else outcome.retry_after_s
        return reason

    async def _try_once(self, inquiry: Inquiry, timeout_s: float, waited_s: float) -> Attempt | Hold:
        assert self._client is not None
        assert self._budget is not None
        worst = worst_cost_usd(inquiry.body, self._settings)
        reservation = self._budget.reserve(self._clock(), inquiry.name, worst)
        if isinstance(reservation, Hold):
            return reservation
        attempt = await self._client.ask(inquiry.body, max(timeout_s, 0.001))
        answer = attempt.answer
        inquiry.attempts.append(
            {"status": attempt.status, "error_type": answer.error_type or answer.reason.value, "wait_s": waited_s}
        )
        inquiry.answer, inquiry.status, inquiry.raw_body = answer, attempt.status, attempt.body
        inquiry.message = answer.message
        if self._settle(inquiry, reservation, answer):
            inquiry.answer = replace(answer, reason=Hold.COST, retry=False)
            return replace(attempt, answer=inquiry.answer)
        return attempt

    def _settle(self, inquiry: Inquiry, reservation: Reservation, answer: Answer) -> bool:
        """Book what a try has cost; return whether it was more than could be."""
        assert self._budget is not None
        usage = answer.usage
        if usage is None:
            if answer.free:
                self._budget.settle(reservation, Decimal(0))
            else:
                inquiry.reserved_usd = EXACT.add(inquiry.reserved_usd, reservation.usd)
            return False
        cost = usage.cost_usd
        if cost is None:
            cost = cost_usd(usage.prompt_tokens, usage.completion_tokens, self._settings)
        self._budget.settle(reservation, cost, usage.prompt_tokens, usage.completion_tokens)
        inquiry.spent_usd = EXACT.add(inquiry.spent_usd, cost)
        if cost <= reservation.usd:
            return False
        inquiry.message = f"the call has cost {plain(cost)} USD, at most {plain(reservation.usd)} was possible"
        return True

    def _note_breaker(self, reason: Hold) -> None:
        if self._budget is None or reason in _NOT_THE_MODEL:
            return
        try:
            before = self._budget.breaker()
            after = breaker.CLOSED
            if reason is not Hold.NONE:
                settings = self._settings
                after = breaker.after_failure(
                    before, reason, self._clock(), settings.breaker_failures, settings.breaker_cooldown_s
                )
            if after != before:
                self._budget.set_breaker(after)
        except BudgetUnwritable as error:
            log.error("%s", error)
            return
        if after.state is Breaker.OPEN and before.state is not Breaker.OPEN:
            log_event(
                log, logging.ERROR, "llm.breaker_open", f"the model is left alone after {after.failures} failures in a "
                f"row, the last one: {reason.value}; no entries by it until it answers again", reason=reason.value,
            )  # fmt: skip
        elif after.state is Breaker.CLOSED and before.state is not Breaker.CLOSED:
            log_event(log, logging.INFO, "llm.breaker_closed", "the model answers again")

    # -- writing down --------------------------------------------------------------------------

    def _write_down(
        self, inquiry: Inquiry, finals: tuple[Final, ...], market_now: Callable[[], int] | None
    ) -> Decision:
        latency_s = round(time.monotonic() - inquiry.began_s, 3)
        asked_ns = inquiry.view.time_ns
        took_ns = round(latency_s * NS_PER_S)
        effective_ns = asked_ns + took_ns if market_now is None else max(market_now(), asked_ns)
        decision = Decision(inquiry.name, asked_ns, effective_ns, finals)
        record = self._record(inquiry, decision, latency_s)
        try:
            self._records.append(record)
        except RecordsUnwritable as error:
            log.error("%s", error)
            return replace(decision, finals=held([one.symbol for one in finals], Hold.NO_DISK))
        self._known[inquiry.key] = record
        self._tell(inquiry, decision)
        return decision

    def _record(self, inquiry: Inquiry, decision: Decision, latency_s: float) -> dict[str, Any]:
        answer = inquiry.answer or Answer(Hold.NONE)
        usage = answer.usage
        return {
            "decision_id": inquiry.name,
            "ts_ns": self._clock(),
            "market_ns": decision.market_ns,
            "effective_ns": decision.effective_ns,
            "mode": self._settings.mode,
            "key": inquiry.key,
            "snapshot_hash": snapshot_hash(inquiry.body),
            "prompt_version": PROMPT_VERSION,
            "schema_version": SCHEMA_VERSION,
            "code_version": trader.__version__,
            "request": inquiry.body,
            "http_status": inquiry.status,
            "attempts": inquiry.attempts,
            "raw_body": inquiry.raw_body,
            "generation_id": answer.generation_id,
            "model_used": answer.model,
            "provider": answer.provider,
            "usage": None
            if usage is None
            else {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens},
            "cost_usd": plain(inquiry.spent_usd),
            "reserved_usd": plain(inquiry.reserved_usd),
            "latency_s": latency_s,
            "parsed": None if inquiry.proposals is None else [proposal_document(one) for one in inquiry.proposals],
            "verdicts": [verdict_document(one) for one in inquiry.verdicts],
            "final": [final_document(one) for one in decision.finals],
            "message": inquiry.message,
        }

    def _tell(self, inquiry: Inquiry, decision: Decision) -> None:
        words = ", ".join(
            f"{one.symbol} {one.action.value}" + (f" ({one.reason.value})" if one.reason is not Hold.NONE else "")
            for one in decision.finals
        )
        failed = inquiry.proposals is None
        log_event(
            log,
            logging.WARNING if failed else logging.INFO,
            EVENT,
            f"{decision.decision_id}: {words}" + (f": {inquiry.message}" if failed and inquiry.message else ""),
            llm_decision_id=decision.decision_id,
            cost_usd=plain(inquiry.spent_usd),
            reasons=sorted({one.reason.value for one in decision.finals if one.reason is not Hold.NONE}),
        )


def day_cap_usd(settings: LlmConfig) -> Decimal:
    """Return what a UTC day may cost [USD]."""
    return exact(settings.max_usd_per_day)
