"""Plays a history through the trading core and tells what came of it.

Everything that decides is in `trader.core` and the strategies; here are the private arrays that it works on, and the
reading of what it reports.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trader.backtest import history as candles_of
from trader.backtest.falls import falls_of
from trader.backtest.history import History
from trader.backtest.invalidated import exit_notes
from trader.backtest.opinions import Columns, ask, stack
from trader.backtest.positions import Positions, positions, trips_of
from trader.backtest.result import BacktestResult, Baseline, Held, StrategyFailures, Trade, groups_of
from trader.clock import NS_PER_DAY, NS_PER_S, format_utc
from trader.codes import CoreEvent, Decided, Halt, Limit, Reason
from trader.config.sections import Config
from trader.core.history import Log, new_log, play
from trader.core.records import fund, new_desk, new_slots
from trader.domain.metrics import Curve, daily_equity, measure, sharpe, simple_returns, worst_drawdown
from trader.domain.metrics import cagr as growth
from trader.errors import ConfigError, KernelError
from trader.market.instruments import write_instruments
from trader.risk.lookback import correlation_bars, gauges_of
from trader.risk.manager import EnhancedRiskManager
from trader.state.paths import base_dir
from trader.strategy.advised import AdvisedStrategy, recall, remarks
from trader.strategy.registry import Bound, create
from trader.units import BPS

Records = npt.NDArray[np.void]

#: tells how much is done: a stage in words, and a fraction 0..1
Progress = Callable[[str, float], None]

#: moments between two reports of progress
_STRETCH = 1_000_000

#: draws of random moments that advice is held against
_CHANCES = 20

#: core events between two visits to compiled code
_ROOM = 4096


@dataclass(frozen=True, slots=True)
class Played:
    """What a history left behind: the account and the symbols at its end, and all that was reported."""

    desk: Records
    slots: Records
    log: Log
    events: Records  #: all of them, dtype CORE_EVENT


def _silent(stage: str, done: float) -> None:
    """Show no progress."""


def interval_ns(config: Config) -> int:
    """Return the distance of decision cycles on their grid [ns]."""
    return round(config.engine.loop_interval_seconds * NS_PER_S)


def bind(config: Config, base: Path | None = None) -> tuple[Bound, ...]:
    """Create the configured strategies with the slots that each is asked for.

    Parameters
    ----------
    config : Config
        The whole configuration.
    base : Path, optional
        Folder that `data_dir` is relative to, where strategies have kept what they said; see `base_dir`.
    """
    bound = create(config.strategies, tuple(config.market.symbols), config.market.timeframe)
    recall(bound, config, base_dir(base) / config.data_dir)
    return bound


def run(
    config: Config, history: History | None = None, progress: Progress = _silent, base: Path | None = None
) -> BacktestResult:
    """Backtest a configuration.

    Parameters
    ----------
    config : Config
        As the service would run it; its market must be a replay.
    history : History, optional
        Its candles, when they are loaded already.
    progress : callable
        Is told what is being done, and how much of it is.
    base : Path, optional
        Folder that `data_dir` is relative to; see `bind`.

    Returns
    -------
    BacktestResult
        Trades, figures and curve.

    Raises
    ------
    ConfigError
        When the configuration can't be backtested.
    MarketDataError
        Naming what is wrong in each candle file, with its row.
    StrategyError
        When a strategy raises.
    """
    if config.market.source != "replay":
        raise ConfigError(f"market.source: {config.market.source}: a backtest needs replay, and the folder of candles")
    started = time.perf_counter()
    bound = bind(config, base)  # before the candles: a wrong name is found at once
    progress("reading candles", 0.0)
    if history is None:
        history = candles_of.load(config.market)
    columns = []
    for index, one in enumerate(bound):
        progress(f"asking {one.name}", index / len(bound))
        columns.append(ask(one, history, interval_ns(config)))
    played = simulate(config, history, columns, progress)
    progress("measuring", 1.0)
    chance = by_chance(config, history, bound, columns, float(played.desk["account"]["equity"][0]))
    return _result(config, history, bound, columns, played, started, chance)


def by_chance(
    config: Config, history: History, bound: Sequence[Bound], columns: Sequence[Columns], equity: float
) -> tuple[str, ...]:
    """Return what the entries of strategies that are asked for advice come to at random moments, in words.

    Parameters
    ----------
    config, history, bound, columns
        Of the run.
    equity : float
        What it came to [quote].
    """
    notes = []
    for index, one in enumerate(bound):
        if not isinstance(one.strategy, AdvisedStrategy):
            continue
        ends = []
        for seed in range(_CHANCES):
            draw = random.Random(seed)  # noqa: S311 - moments of a baseline, no secret
            other = one.strategy.at_random(draw, history.start_ns, history.end_ns)
            if other is not None:
                asked = ask(replace(one, strategy=other), history, interval_ns(config))
                played = simulate(config, history, [*columns[:index], asked, *columns[index + 1 :]])
                ends.append(float(played.desk["account"]["equity"][0]))
        if ends:
            better = sum(end >= equity for end in ends)
            notes.append(
                f"{one.name}: the same entries at {len(ends)} draws of random moments end at {np.median(ends):,.2f} "
                f"(median); {better} of them are not worse"
            )
    return tuple(notes)


def simulate(config: Config, history: History, columns: Sequence[Columns], progress: Progress = _silent) -> Played:
    """Play a history on an account of its own.

    Parameters
    ----------
    config : Config
        Capital, limits, exits, costs and the cycle.
    history : History
        The candles.
    columns : sequence of Columns
        What each strategy says of them.
    progress : callable
        As in `run`.

    Raises
    ------
    KernelError
        When more happened in one moment than there is room for.
    """
    desk, slots = new_desk(), new_slots(len(history.symbols))
    fund(desk, config.initial_capital)
    write_instruments(slots, history.instruments)
    risk = EnhancedRiskManager(desk, slots, history.symbols)
    risk.apply_limits(config, 1)
    gauges = gauges_of(config, (gauge for one in columns for gauge in one.gauges))
    risk.look_back(config, gauges, history.before)
    opinions = stack(columns, len(slots))
    grid_ns, tape = interval_ns(config), history.tape
    log = new_log(tape, len(columns), len(slots), history.start_ns, grid_ns, _ROOM, correlation_bars(config))
    if risk.closes is not None:
        log.closes[:] = risk.closes
    told: list[Records] = []
    moments = len(tape.starts) - 1
    while (at := int(log.progress["event"][0])) < moments:
        progress("trading", at / moments)
        stretch = tape._replace(starts=tape.starts[: min(at + _STRETCH, moments) + 1])
        count = play(desk, slots, stretch, opinions, log, grid_ns, config.engine.max_new_positions_per_cycle)
        if count < 0:
            raise KernelError(f"a moment had more to report than {len(log.events)} events hold")
        told.append(log.events[:count].copy())
    return Played(desk, slots, log, np.concatenate(told))


def curve_of(config: Config, history: History, log: Log) -> Curve:
    """Return equity after each moment of a run."""
    return Curve(history.start_ns, config.initial_capital, history.times_ns, log.equity)


# ------------------------------------------------------------------------------------- the result


def _result(
    config: Config,
    history: History,
    bound: Sequence[Bound],
    columns: Sequence[Columns],
    played: Played,
    started: float,
    chance: tuple[str, ...],
) -> BacktestResult:
    names = tuple(one.name for one in bound)
    held = positions(played.events, len(bound))
    trades = _trades(held, history, names, exit_notes(played.events, columns, config))
    curve = curve_of(config, history, played.log)
    account = played.desk["account"][0]
    return BacktestResult(
        config=config,
        symbols=history.symbols,
        timeframe=history.timeframe,
        start_ns=history.start_ns,
        end_ns=history.end_ns,
        bars=history.bars,
        cycles=int(account["cycles"]),
        metrics=measure(curve, trips_of(held), falls_of(curve)),
        baseline=buy_and_hold(config, history),
        curve=curve,
        trades=trades,
        open_positions=_still_held(held, history, names, played.slots),
        by_symbol=groups_of(trades, history.symbols, lambda trade: trade.symbol),
        by_strategy=groups_of(trades, names, lambda trade: trade.strategy),
        by_reason=groups_of(trades, (), lambda trade: trade.exit_reason),
        denials=_denials(played.log, history.symbols),
        decisions=_decisions(played.log, names),
        rejected_orders=int((played.events["kind"] == int(CoreEvent.ORDER_REJECTED)).sum()),
        halts=_halts(played.events),
        failures=tuple(
            StrategyFailures(name, one.failures, format_utc(one.disabled_ns) if one.disabled_ns else None, one.failure)
            for name, one in zip(names, columns, strict=True)
            if one.failures
        ),
        notes=(*_notes(history), *remarks(bound, history.start_ns, history.end_ns), *chance),
        elapsed_s=time.perf_counter() - started,
    )


def _trades(held: Positions, history: History, names: Sequence[str], notes: Mapping[int, str]) -> tuple[Trade, ...]:
    order = held.in_order_of_closing()
    amounts = (held.quantity, held.entry_price, held.exit_price, held.entry_ns, held.exit_ns)
    results = (held.pnl + held.fees, held.fees, held.pnl)
    columns = (
        (order + 1).tolist(),
        [history.symbols[slot] for slot in held.slot[order]],
        ["long" if side > 0 else "short" for side in held.side[order]],
        [names[strategy] for strategy in held.strategy[order]],
        *(column[order].tolist() for column in (*amounts, *results)),
        [Reason(reason).name.lower() for reason in held.exit_reason[order].tolist()],
        [notes.get(number, "") for number in (order + 1).tolist()],
    )
    return tuple(Trade(*row) for row in zip(*columns, strict=True))


def _still_held(held: Positions, history: History, names: Sequence[str], slots: Records) -> tuple[Held, ...]:
    found = []
    for at in np.flatnonzero(~held.closed).tolist():
        slot = slots[int(held.slot[at])]
        quantity, mark = float(slot["quantity"]), float(slot["mark_price"])
        entry = float(slot["entry_price"])
        found.append(
            Held(
                history.symbols[int(held.slot[at])],
                "long" if quantity > 0 else "short",
                names[int(held.strategy[at])],
                abs(quantity),
                entry,
                int(held.entry_ns[at]),
                mark,
                quantity * (mark - entry),
                _level(slot["stop_price"]),
                _level(slot["target_price"]),
            )
        )
    return tuple(found)


def _level(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _denials(log: Log, symbols: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return refused entries by broken limit, then symbol; one that broke several counts under each."""
    found: dict[str, dict[str, int]] = {}
    for limit in Limit:
        bit = int(limit).bit_length() - 1
        counts = {symbol: int(log.denied[slot, bit]) for slot, symbol in enumerate(symbols) if log.denied[slot, bit]}
        if counts and limit.name:
            found[limit.name.lower()] = counts
    return found


def _decisions(log: Log, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return opinions by strategy, then what became of them."""
    return {
        name: {
            Decided(code).name.lower(): int(count)
            for code, count in enumerate(log.decided[index])
            if count and code in set(Decided)
        }
        for index, name in enumerate(names)
    }


def _halts(events: Records) -> tuple[tuple[str, str, str], ...]:
    kinds = (int(CoreEvent.HALTED), int(CoreEvent.RESUMED))
    return tuple(
        (format_utc(int(one["time_ns"])), CoreEvent(int(one["kind"])).name.lower(), Halt(int(one["reason"])).name or "")
        for one in events[np.isin(events["kind"], kinds)]
    )


def _notes(history: History) -> tuple[str, ...]:
    """Return what an owner should know of the candles before believing the figures: gaps and differing spans."""
    notes = []
    spans = {}
    for slot, symbol in enumerate(history.symbols):
        times, _ = history.closes(slot)
        spans[symbol] = (int(times[0]), int(times[-1]))
        missing = (times[-1] - times[0]) // history.timeframe_ns + 1 - len(times)
        if missing:
            gaps = int((np.diff(times) > history.timeframe_ns).sum())
            notes.append(f"{symbol}: {missing} candles are missing in {gaps} gaps; nothing was filled in")
    last = max(end for _, end in spans.values())
    first = min(start for start, _ in spans.values())
    for symbol, (start, end) in spans.items():
        if start > first:
            notes.append(f"{symbol}: begins at {format_utc(start)}, {_length(start - first)} after the first symbol")
        if end < last:
            notes.append(f"{symbol}: ends at {format_utc(end)}, {_length(last - end)} before the last symbol")
    if history.end_ns - history.start_ns < 30 * NS_PER_DAY:
        notes.append("less than 30 days: annualised figures are indicative at best")
    return tuple(notes)


def _length(span_ns: int) -> str:
    hours = span_ns / NS_PER_S / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


def buy_and_hold(config: Config, history: History) -> Baseline:
    """Return what the same capital would have come to, split evenly over the symbols and never touched again.

    Each share buys at its symbol's first open, with slippage and fee, and is marked at each close. What is not
    invested yet is cash.
    """
    share = config.initial_capital / len(history.symbols)
    cost = (1.0 + config.execution.slippage_bps * BPS) * (1.0 + config.execution.fee_rate_frac)
    times = history.times_ns
    equity = np.zeros(len(times))
    rows = history.rows[history.first :]
    for slot in range(len(history.symbols)):
        mine = 0 if len(history.symbols) == 1 else int(np.argmax(rows["slot"] == slot))
        quantity = share / (float(rows["open"][mine]) * cost)
        closed_ns, close = history.closes(slot)
        if len(closed_ns) == len(times):
            equity += quantity * close
        else:
            at = np.searchsorted(closed_ns, times, side="right") - 1
            equity += np.where(at < 0, share, quantity * close[at])
    curve = Curve(history.start_ns, config.initial_capital, times, equity)
    days = (history.end_ns - history.start_ns) / NS_PER_DAY
    _, daily = daily_equity(curve)
    return Baseline(
        final_equity=float(equity[-1]),
        total_return_frac=float(equity[-1]) / config.initial_capital - 1.0,
        cagr_frac=growth(config.initial_capital, float(equity[-1]), days),
        sharpe=sharpe(simple_returns(daily)),
        max_drawdown_frac=worst_drawdown(config.initial_capital, equity)[0],
        curve=curve,
    )
