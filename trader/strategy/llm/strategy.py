"""The strategy `llm` as the engine, a backtest and a preflight know it."""

from __future__ import annotations

import copy
import ipaddress
import logging
import random
from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from trader.clock import NS_PER_S, parse_utc
from trader.codes import Direction, RuleKind
from trader.config.secrets import Secret, resolve
from trader.config.sections import Config, LlmConfig, SecretConfig
from trader.domain.invalidation import Gauge, Invalidation
from trader.domain.market import Candles
from trader.domain.signal import Signal, Signals
from trader.domain.view import MarketView
from trader.errors import ConfigError
from trader.logs.redaction import hide
from trader.strategy.advised import AdvisedStrategy
from trader.strategy.base import Strategy
from trader.strategy.llm.adviser import Adviser, day_cap_usd
from trader.strategy.llm.budget import BUDGET_FILE, Budget
from trader.strategy.llm.checks import Final
from trader.strategy.llm.decision import Decision, read_decision
from trader.strategy.llm.prompt import LONG_CANDLES
from trader.strategy.llm.records import Records
from trader.strategy.llm.vocabulary import OPENS, Action, Hold, rule_timeframes
from trader.units import BPS, plain, timeframe_ns

log = logging.getLogger(__name__)

_DIRECTIONS = {Action.OPEN_LONG: Direction.LONG, Action.OPEN_SHORT: Direction.SHORT, Action.CLOSE: Direction.FLAT}
_BY_MOMENT = attrgetter("effective_ns")


class LlmStrategy(AdvisedStrategy):
    """Trades on what a language model proposes, as far as code lets it.

    It has no parameters of its own: everything is in the section `llm`, which has to say `enabled: true`.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    """

    name = "llm"
    warmup_bars = 50

    def __init__(self, symbol: str | None = None, timeframe: str | None = None) -> None:
        super().__init__(symbol, timeframe)
        self.settings = LlmConfig()
        self.decisions: list[Decision] = []  #: by the moment they came in force
        self._adviser: Adviser | None = None
        self._interval_ns = 180 * NS_PER_S
        self._max_age_ns = 360 * NS_PER_S
        self.follows_price = False  # of a baseline: levels are moved to where the price is
        self._costs_usd: list[tuple[int, Decimal, Decimal]] = []  # of records: moment, spent, of unknown outcome

    def bind(self, timeframe: str) -> None:
        """Learn the market's timeframe: what the model is shown reaches back far enough in the longest one."""
        frames = rule_timeframes(timeframe)
        self.timeframes = MappingProxyType(dict.fromkeys(frames[1:], LONG_CANDLES))
        self.gauges = tuple(Gauge.of("" if frame == timeframe else frame) for frame in frames)
        super().bind(timeframe)

    def equip(self, config: Config, folder: Path | None) -> None:
        """Take over the section `llm`, and open what it needs unless `folder` is None.

        Raises
        ------
        ConfigError
            When the model may not be asked, has no key, or was replayed without records.
        """
        settings = config.llm
        if not settings.enabled:
            raise ConfigError("llm.enabled: the strategy llm is used, but llm.enabled is false: it costs money")
        self.settings = settings
        self.period_s = settings.period_s
        candle_ns = timeframe_ns(config.market.timeframe)
        self._interval_ns = round(config.engine.loop_interval_seconds * NS_PER_S)
        self._max_age_ns = (
            2 * max(self._interval_ns, candle_ns)
            if settings.max_decision_age_s is None
            else round(settings.max_decision_age_s * NS_PER_S)
        )
        key = None if settings.mode == "replay" else find_key(settings)
        if folder is None:
            return
        records = Records(folder / settings.record_path)
        known = self._read(records)
        if settings.mode == "replay":
            if not known:
                raise ConfigError(f"llm.mode: replay, but {records.folder} holds no decision records")
            self._adviser = Adviser(settings, None, None, records, known)
            return
        from trader.strategy.llm.client import Client

        budget = Budget(folder / BUDGET_FILE, settings.max_calls_per_day, day_cap_usd(settings))
        self._adviser = Adviser(settings, Client(settings.base_url, key), budget, records, known)

    def recall(self, config: Config, folder: Path) -> None:
        """Take the recorded decisions as said, for a history: nobody is asked, and nothing is spent.

        Raises
        ------
        ConfigError
            When there are none.
        """
        self.equip(config.model_copy(update={"llm": config.llm.model_copy(update={"mode": "replay"})}), None)
        records = Records(folder / config.llm.record_path)
        found = list(records.read())
        if not found:
            raise ConfigError(
                f"strategies: llm: {records.folder} holds no decision records: a history is traded on what the model "
                "has said; let it run on paper, or replay these candles with llm.mode: record, first"
            )
        self.decisions = sorted(map(read_decision, found), key=_BY_MOMENT)
        self._costs_usd = [
            (int(record["market_ns"]), Decimal(record["cost_usd"]), Decimal(record["reserved_usd"])) for record in found
        ]

    def remarks(self, start_ns: int, end_ns: int) -> tuple[str, ...]:
        """Return what the decisions of a history have cost, and whether the model may have read it before."""
        inside = [costs for costs in self._costs_usd if start_ns <= costs[0] <= end_ns]
        spent = sum((one[1] for one in inside), Decimal(0))
        unknown = sum((one[2] for one in inside), Decimal(0))
        more = f", and up to {plain(unknown)} USD more where nobody said what" if unknown else ""
        said = [f"llm: {len(inside)} questions have cost {plain(spent)} USD{more}; the figures are before that"]
        if self.settings.training_cutoff is not None and start_ns < parse_utc(self.settings.training_cutoff):
            said.append(f"llm: contaminated: the model has read the past up to {self.settings.training_cutoff}")
        return tuple(said)

    def at_random(self, draw: random.Random, start_ns: int, end_ns: int) -> Strategy:
        """Return the opens of these decisions at moments that are drawn, their levels as far from the price as here."""
        other = copy.copy(self)
        other.follows_price = True
        other.decisions = sorted(
            (
                replace(one, market_ns=moment_ns, effective_ns=moment_ns, finals=opens)
                for one in self.decisions
                if start_ns <= one.effective_ns <= end_ns
                and (opens := tuple(final for final in one.finals if final.action in OPENS))
                for moment_ns in (draw.randint(start_ns, end_ns),)
            ),
            key=_BY_MOMENT,
        )
        return other

    def finish(self) -> None:
        """Let go of files and sockets."""
        if self._adviser is not None:
            self._adviser.close()

    # -- live ----------------------------------------------------------------------------------

    async def decide(self, view: MarketView, market_now: Callable[[], int] | None) -> None:
        """Ask the model, and keep what it has decided until the next cycle takes it."""
        if self._adviser is None:
            raise ConfigError("the strategy llm was not equipped")
        decision = await self._adviser.decide(view, market_now)
        if decision is not None:
            self._keep(decision)

    def said(self, symbol: str, after_ns: int, until_ns: int, price: float) -> Signal | None:
        """Return the newest decision on a symbol that came in force within a span; None: there is none."""
        for decision in reversed(self.decisions):
            if decision.effective_ns <= after_ns:
                return None
            final = next((one for one in decision.finals if one.symbol == symbol), None)
            if decision.effective_ns <= until_ns and final is not None:
                return self._signal(decision, final, until_ns, price)
        return None

    # a moment that is asked about again after a crash must not stand there twice
    def _keep(self, decision: Decision) -> None:
        self.decisions = [one for one in self.decisions[-1000:] if one.decision_id != decision.decision_id]
        insort(self.decisions, decision, key=_BY_MOMENT)

    def _signal(self, decision: Decision, final: Final, time_ns: int, price: float) -> Signal:
        if self.follows_price:
            scale = price / final.price
            age = tuple(rule for rule in final.invalidations if rule.kind is RuleKind.AGE_OVER)
            final = replace(
                final,
                price=price,
                stop_price=final.stop_price * scale,
                target_price=final.target_price * scale,
                invalidations=age,
            )
        final = self._still_good(decision, final, time_ns, price)
        direction = _DIRECTIONS.get(final.action, Direction.HOLD)
        return Signal(
            self.name,
            final.symbol,
            time_ns,
            price,
            direction,
            final.confidence if direction is not Direction.HOLD else 0.0,
            final.stop_price,
            final.target_price,
            note=note_of(decision, final),
            invalidations=final.invalidations,
        )

    def _still_good(self, decision: Decision, final: Final, time_ns: int, price: float) -> Final:
        """Return a decision as it was, or as a hold when it has become old or the price has moved away."""
        if final.reason is not Hold.NONE:
            return final
        if time_ns - decision.market_ns > self._max_age_ns:
            return _held(final, Hold.STALE)
        if final.action is not Action.CLOSE and not abs(price / final.price - 1) <= self.settings.max_slip_bps * BPS:
            return _held(final, Hold.PRICE_MOVED)
        return final

    def _read(self, records: Records) -> Mapping[str, dict[str, Any]]:
        """Return the records by key; in live mode only those that a restart may meet again."""
        known: dict[str, dict[str, Any]] = {}
        for record in records.read():
            known[str(record["key"])] = record
            if self.settings.mode != "replay":
                self._keep(read_decision(record))
        return known

    # -- history -------------------------------------------------------------------------------

    def signals(self, candles: Candles) -> Signals:
        """Return what was decided, at the bars at which an engine would have taken it."""
        bars = len(candles)
        closes_ns = candles.open_ns + timeframe_ns(candles.timeframe)
        direction = np.zeros(bars, np.int8)
        confidence = np.zeros(bars)
        stop, target, nothing = np.full(bars, np.nan), np.full(bars, np.nan), np.full(bars, np.nan)
        rules: dict[int, tuple[Invalidation, ...]] = {}
        for decision in self.decisions:
            final = next((one for one in decision.finals if one.symbol == candles.symbol), None)
            if final is None:
                continue
            # until the first bar of the next cycle on the grid: no cycle that takes it comes later
            cycle_ns = -(-decision.effective_ns // self._interval_ns) * self._interval_ns
            first, last = np.searchsorted(closes_ns, [decision.effective_ns, cycle_ns]).tolist()
            for bar in range(first, min(last + 1, bars)):
                signal = self._signal(decision, final, int(closes_ns[bar]), float(candles.close[bar]))
                direction[bar] = int(signal.direction)
                confidence[bar] = signal.confidence
                stop[bar], target[bar] = signal.stop_price, signal.target_price
                rules.pop(bar, None)
                if signal.invalidations and signal.direction in (Direction.LONG, Direction.SHORT):
                    rules[bar] = signal.invalidations
        return Signals(direction, confidence, stop, target, nothing, rules)


def find_key(settings: LlmConfig) -> Secret | None:
    """Return the key of the server; None when it is on loopback and there is none.

    Raises
    ------
    ConfigError
        When a server elsewhere would be asked without a key.
    """
    where = settings.api_key
    key = "llm.api_key"
    if where is None and settings.api_key_env is not None:
        where, key = SecretConfig(env=settings.api_key_env), "llm.api_key_env"
    try:
        if where is None:
            raise ConfigError("llm.api_key: no key is configured")
        secret = resolve(where, key)
    except ConfigError:
        if settings.api_key is None and _is_loopback(settings.base_url):
            return None
        raise
    hide(secret.reveal())
    return secret


def note_of(decision: Decision, final: Final) -> str:
    """Return what a decision says of itself: its name first, so that `trader llm show` finds it."""
    why = f"{final.reason.value}: " if final.reason not in (Hold.NONE, Hold.MODEL) else ""
    return f"{decision.decision_id}: {why}{final.justification}".rstrip(": ")


def _held(final: Final, reason: Hold) -> Final:
    return Final(final.symbol, Action.HOLD, reason, final.confidence, final.price, justification=final.justification)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
