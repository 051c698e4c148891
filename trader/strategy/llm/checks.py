"""What a proposal is held against: the market's own numbers, never those that the model names beside them.

Each check is a row of a table and says what it saw and what it demands, passed or not, so that a record shows every
one of them and a test can make every one of them fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trader.clock import NS_PER_S, utc_day
from trader.codes import RuleKind
from trader.config.sections import LlmConfig
from trader.domain.invalidation import Invalidation
from trader.domain.view import MarketView, SymbolView
from trader.strategy.llm.prompt import metrics
from trader.strategy.llm.reply import Proposal, Rule
from trader.strategy.llm.vocabulary import OPENS, Action, Hold, Metric, Op
from trader.units import timeframe_ns

#: the stop must be at least so many ticks away, whatever the range is
MIN_STOP_TICKS = 3

_NS_PER_MINUTE = 60 * NS_PER_S
_NAN = math.nan


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check of one proposal."""

    symbol: str
    action: Action
    check: Hold  #: the reason for a hold when it fails
    ok: bool
    observed: float | str | None
    limit: float | str | None


@dataclass(frozen=True, slots=True)
class Final:
    """What is to be done in one symbol."""

    symbol: str
    action: Action
    reason: Hold  #: why it is a hold; NONE for what is acted upon
    confidence: float = 0.0
    price: float = _NAN  #: when it was decided [quote per base]
    stop_price: float = _NAN
    target_price: float = _NAN
    risk_frac: float = _NAN
    invalidations: tuple[Invalidation, ...] = ()
    justification: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A proposal beside everything that it is checked against."""

    proposal: Proposal
    view: MarketView
    one: SymbolView
    settings: LlmConfig

    @property
    def sign(self) -> int:
        """+1 for a long position, -1 for a short one."""
        return -1 if self.proposal.action is Action.OPEN_SHORT else 1

    @property
    def price(self) -> float:
        """Close of the last candle; NaN: there is none."""
        close = self.one.candles.close
        return float(close[-1]) if len(close) else _NAN

    @property
    def risk_price(self) -> float:
        """What the stop costs per unit, fees and slippage of both sides included [quote]."""
        stop = _or_nan(self.proposal.stop_price)
        return self.sign * (self.price - stop) + self._costs(stop, 2)

    @property
    def reward_price(self) -> float:
        """What the target brings per unit after fees, and slippage of the entry [quote]."""
        target = _or_nan(self.proposal.target_price)
        return self.sign * (target - self.price) - self._costs(target, 1)

    def _costs(self, exit_price: float, slips: int) -> float:
        fees = self.one.fee_rate_frac * (self.price + exit_price)
        return fees + self.one.slippage_frac * (self.price + (exit_price if slips > 1 else 0.0))


def check(proposal: Proposal, view: MarketView, settings: LlmConfig) -> tuple[Final, tuple[Verdict, ...]]:
    """Hold a proposal against the market, and say what is to be done.

    Parameters
    ----------
    proposal : Proposal
        Of the right form.
    view : MarketView
        What the model was asked about.
    settings : LlmConfig
        The limits.

    Returns
    -------
    final : Final
        The proposal, or a hold with the reason of the first check that failed.
    verdicts : tuple of Verdict
        Every check that applies to the action, in order.
    """
    one = next(one for one in view.symbols if one.symbol == proposal.symbol)
    case = Case(proposal, view, one, settings)
    if proposal.action is Action.HOLD:
        return _hold(case, Hold.MODEL), ()
    rows = _OPEN_CHECKS if proposal.action in OPENS else _CLOSE_CHECKS
    verdicts = tuple(
        Verdict(proposal.symbol, proposal.action, name, *_finite(*judge(case))) for name, judge in rows.items()
    )
    failed = next((verdict for verdict in verdicts if not verdict.ok), None)
    if failed is not None:
        return _hold(case, failed.check), verdicts
    if proposal.action is Action.CLOSE:
        return Final(
            one.symbol, Action.CLOSE, Hold.NONE, proposal.confidence, case.price, justification=proposal.justification
        ), verdicts
    return Final(
        one.symbol,
        proposal.action,
        Hold.NONE,
        proposal.confidence,
        case.price,
        _or_nan(proposal.stop_price),
        _or_nan(proposal.target_price),
        _or_nan(proposal.risk_frac),
        _rules(proposal),
        proposal.justification,
    ), verdicts


def invalidation_of(rule: Rule) -> Invalidation:
    """Return a rule as the trading core enforces it.

    Raises
    ------
    ValueError
        When its value is none that such a rule can have.
    """
    frame_ns = timeframe_ns(rule.timeframe)
    if rule.metric is Metric.CLOSE:
        kind = RuleKind.CLOSE_BELOW if rule.op is Op.LT else RuleKind.CLOSE_ABOVE
        return Invalidation(kind, rule.value, frame_ns)
    kind = RuleKind.RSI_BELOW if rule.op is Op.LT else RuleKind.RSI_ABOVE
    return Invalidation(kind, rule.value, frame_ns, 14)


def _rules(proposal: Proposal) -> tuple[Invalidation, ...]:
    age = Invalidation(RuleKind.AGE_OVER, frame_ns=(proposal.max_hold_minutes or 1) * _NS_PER_MINUTE)
    return (*(invalidation_of(rule) for rule in proposal.invalidations), age)


def _hold(case: Case, reason: Hold) -> Final:
    proposal = case.proposal
    return Final(
        proposal.symbol,
        Action.HOLD,
        reason,
        proposal.confidence,
        case.price,
        justification=proposal.justification,
    )


# -- the checks: each returns (ok, observed, limit) --------------------------------------------

_Seen = tuple[bool, float | str | None, float | str | None]


def _candles(case: Case) -> _Seen:
    close = case.one.candles.close
    return len(close) > 0 and math.isfinite(case.price), float(len(close)), 1.0


def _fresh(case: Case) -> _Seen:
    candles = case.one.candles
    length_ns = timeframe_ns(candles.timeframe)
    closed_ns = int(candles.open_ns[-1]) + length_ns if len(candles) else 0
    age_s, limit_s = (case.view.time_ns - closed_ns) / NS_PER_S, 3 * length_ns / NS_PER_S
    return age_s <= limit_s, age_s, limit_s


def _short(case: Case) -> _Seen:
    return case.sign > 0 or case.view.allow_short, case.proposal.action.value, "allow_short"


def _flat(case: Case) -> _Seen:
    quantity = case.one.position.quantity if case.one.position else 0.0
    return quantity == 0, quantity, 0.0


def _no_order(case: Case) -> _Seen:
    return not case.one.order_in_flight, float(case.one.order_in_flight), 0.0


def _confidence(case: Case) -> _Seen:
    return (
        case.proposal.confidence >= case.settings.min_confidence,
        case.proposal.confidence,
        (case.settings.min_confidence),
    )


def _cooldown(case: Case) -> _Seen:
    last_ns = case.one.last_close_ns
    passed_s = (case.view.time_ns - last_ns) / NS_PER_S if last_ns else math.inf
    return passed_s >= case.settings.cooldown_s, passed_s, case.settings.cooldown_s


def _entries_hour(case: Case) -> _Seen:
    since_ns = case.view.time_ns - 3_600 * NS_PER_S
    count = sum(entry_ns > since_ns for entry_ns in case.view.entries_ns)
    return count < case.settings.max_entries_per_hour, float(count), float(case.settings.max_entries_per_hour)


def _entries_day(case: Case) -> _Seen:
    today = utc_day(case.view.time_ns)
    count = sum(utc_day(entry_ns) == today for entry_ns in case.view.entries_ns)
    return count < case.settings.max_entries_per_day, float(count), float(case.settings.max_entries_per_day)


def _stop_named(case: Case) -> _Seen:
    stop = case.proposal.stop_price
    return stop is not None and stop > 0, stop, 0.0


def _stop_side(case: Case) -> _Seen:
    stop = _or_nan(case.proposal.stop_price)
    return case.sign * (case.price - stop) > 0, stop, case.price


def _stop_near(case: Case) -> _Seen:
    distance = abs(case.price - _or_nan(case.proposal.stop_price))
    atr = metrics(case.one.candles, case.one.candles.timeframe)[Metric.ATR]
    ticks = MIN_STOP_TICKS * float(case.one.instrument.tick_size)
    limit = max(ticks, case.settings.min_stop_atr * atr if math.isfinite(atr) else 0.0)
    return distance >= limit, distance, limit


def _stop_far(case: Case) -> _Seen:
    frac = abs(case.price - _or_nan(case.proposal.stop_price)) / case.price
    return frac <= case.settings.max_stop_frac, frac, case.settings.max_stop_frac


def _target_named(case: Case) -> _Seen:
    target = case.proposal.target_price
    return target is not None and target > 0, target, 0.0


def _target_side(case: Case) -> _Seen:
    target = _or_nan(case.proposal.target_price)
    return case.sign * (target - case.price) > 0, target, case.price


def _reward_risk(case: Case) -> _Seen:
    ratio = case.reward_price / case.risk_price if case.risk_price > 0 else _NAN
    return ratio >= case.settings.min_reward_risk, ratio, case.settings.min_reward_risk


def _risk(case: Case) -> _Seen:
    frac = _or_nan(case.proposal.risk_frac)
    return 0 < frac <= case.settings.max_risk_frac, frac, case.settings.max_risk_frac


def _hold_time(case: Case) -> _Seen:
    minutes = case.proposal.max_hold_minutes
    ok = minutes is not None and 1 <= minutes <= case.settings.max_hold_minutes
    return ok, None if minutes is None else float(minutes), float(case.settings.max_hold_minutes)


def _rules_possible(case: Case) -> _Seen:
    for rule in case.proposal.invalidations:
        try:
            invalidation_of(rule)
        except ValueError as error:
            return False, str(error), None
    return True, None, None


def _rules_not_true(case: Case) -> _Seen:
    for rule in case.proposal.invalidations:
        reading = metrics(case.one.candles, rule.timeframe)[rule.metric]
        true = reading < rule.value if rule.op is Op.LT else reading > rule.value
        if true or math.isnan(reading):
            return False, reading, rule.value
    return True, None, None


def _open(case: Case) -> _Seen:
    quantity = case.one.position.quantity if case.one.position else 0.0
    return quantity != 0, quantity, None


def _held(case: Case) -> _Seen:
    position = case.one.position
    held_s = (case.view.time_ns - position.entry_ns) / NS_PER_S if position else 0.0
    return held_s >= case.settings.min_hold_s, held_s, case.settings.min_hold_s


_Check = Callable[[Case], _Seen]

_OPEN_CHECKS: Mapping[Hold, _Check] = {
    Hold.NO_CANDLES: _candles,
    Hold.STALE: _fresh,
    Hold.SHORT_NOT_ALLOWED: _short,
    Hold.POSITION_OPEN: _flat,
    Hold.ORDER_IN_FLIGHT: _no_order,
    Hold.LOW_CONFIDENCE: _confidence,
    Hold.COOLDOWN: _cooldown,
    Hold.ENTRIES_HOUR: _entries_hour,
    Hold.ENTRIES_DAY: _entries_day,
    Hold.NO_STOP: _stop_named,
    Hold.STOP_SIDE: _stop_side,
    Hold.STOP_NEAR: _stop_near,
    Hold.STOP_FAR: _stop_far,
    Hold.NO_TARGET: _target_named,
    Hold.TARGET_SIDE: _target_side,
    Hold.REWARD_RISK: _reward_risk,
    Hold.RISK: _risk,
    Hold.MAX_HOLD: _hold_time,
    Hold.INVALIDATION: _rules_possible,
    Hold.ALREADY_INVALID: _rules_not_true,
}

_CLOSE_CHECKS: Mapping[Hold, _Check] = {
    Hold.NOTHING_OPEN: _open,
    Hold.MIN_HOLD: _held,
}

#: every check that there is, for the tests
ALL_CHECKS: Sequence[Hold] = (*_OPEN_CHECKS, *_CLOSE_CHECKS)


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


# a NaN or an infinity is no JSON: a record says null
def _finite(ok: bool, observed: float | str | None, limit: float | str | None) -> _Seen:
    return ok, _shown(observed), _shown(limit)


def _shown(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
