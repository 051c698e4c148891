"""The runner: what a backtest reports is consistent, and what strategies do wrong stays theirs."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.unit.backtest.conftest import SYMBOLS, config_of, lively
from tests.unit.market.candle_files import without, write_feather
from trader.backtest.history import load
from trader.backtest.report import page
from trader.backtest.result import monthly, thinned
from trader.backtest.runner import run
from trader.codes import Direction
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.errors import ConfigError, MarketDataError, StrategyError
from trader.strategy.base import Strategy

HERE = "tests.unit.backtest.test_runner"


def test_run_adds_up_to_its_own_trades(market: Path) -> None:
    """Equity is the capital, what trades made, and what is still open; fees are those of all fills."""
    result = run(config_of(market))
    closed = math.fsum(trade.pnl for trade in result.trades)
    assert len(result.trades) > 20
    entry_fees = sum(one.quantity * one.entry_price * 0.001 for one in result.open_positions)
    unrealised = math.fsum(one.unrealised_pnl for one in result.open_positions)
    assert result.metrics.final_equity == pytest.approx(10_000 + closed + unrealised - entry_fees, rel=1e-12)
    assert result.metrics.fees == pytest.approx(math.fsum(trade.fees for trade in result.trades) + entry_fees)
    for trade in result.trades:
        sign = 1 if trade.side == "long" else -1
        gross = sign * trade.quantity * (trade.exit_price - trade.entry_price)
        assert trade.gross_pnl == pytest.approx(gross, rel=1e-9, abs=1e-9)
        assert trade.pnl == pytest.approx(gross - trade.fees, rel=1e-9, abs=1e-9)
        assert trade.entry_ns <= trade.exit_ns


def test_run_twice_gives_the_same(market: Path) -> None:
    """A backtest is a function of its configuration and its candles."""
    one, other = run(config_of(market)).document(), run(config_of(market)).document()
    for document in (one, other):
        document.pop("elapsed_s")
    assert one == other


def test_run_groups_and_months_sum_to_the_whole(market: Path) -> None:
    """Nothing is counted twice or left out."""
    result = run(config_of(market))
    for groups in (result.by_symbol, result.by_strategy, result.by_reason):
        assert sum(group.trades for group in groups) == result.metrics.trades
        assert math.fsum(group.pnl for group in groups) == pytest.approx(math.fsum(t.pnl for t in result.trades))
    months = monthly(result.curve)
    assert [month.month for month in months] == ["2024-01", "2024-02", "2024-03"]
    assert months[0].start_equity == 10_000
    assert months[-1].end_equity == result.metrics.final_equity
    assert all(a.end_equity == b.start_equity for a, b in itertools.pairwise(months))


def test_run_document_is_json_and_the_csv_has_every_trade(market: Path) -> None:
    """No NaN, no infinity; times in UTC; a header."""
    result = run(config_of(market))
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert document["trades"][0]["entry_time"].endswith("Z")
    assert document["metrics"]["trades"] == len(document["trades"]) == len(result.trades)
    assert "credentials" not in document["config"]
    lines = result.trades_csv().splitlines()
    assert lines[0].startswith("position_id,symbol,side,strategy,quantity,entry_price,exit_price,entry_time,exit_time")
    assert len(lines) == len(result.trades) + 1
    assert float(lines[1].split(",")[5]) == result.trades[0].entry_price


def test_run_tells_of_gaps_and_of_spans_that_differ(market: Path) -> None:
    """What was not filled in is said."""
    write_feather(market, without(lively(2000, SYMBOLS[0], 1), 500, 501, 900))
    notes = "\n".join(run(config_of(market)).notes)
    assert "AAA/USDT: 3 candles are missing in 2 gaps" in notes
    assert "BBB/USDT: begins at 2024-01-03T01:00:00Z" in notes
    assert "BBB/USDT: ends at" in notes


def test_run_below_thirty_days_is_indicative(market: Path) -> None:
    """The label is in the result and among the notes."""
    result = run(config_of(market, market={"until": "2024-01-20"}))
    assert result.metrics.indicative
    assert any("indicative" in note for note in result.notes)


def test_run_since_a_date_is_warm_at_its_first_candle(market: Path) -> None:
    """Candles before `since` are history: the same opinions from the first candle on as in a longer run."""
    whole = run(config_of(market))
    late = run(config_of(market, market={"since": "2024-02-10"}))
    assert late.curve.time_ns[0] == late.start_ns + 3600 * 10**9
    first = next(t for t in late.trades)
    assert first.entry_ns - late.start_ns < 10 * 86_400 * 10**9
    assert len(late.trades) < len(whole.trades)


def test_run_without_a_replay_is_refused(market: Path) -> None:
    """A simulated market is no history."""
    with pytest.raises(ConfigError, match="a backtest needs replay"):
        run(config_of(market, market={"source": "simulated"}))


class Failing(Strategy):
    """Buys all the time, and says a NaN confidence from a bar on."""

    name = "failing"
    first, count = 100, 3

    def signals(self, candles: Candles) -> Signals:
        """Return opinions some of which are none."""
        bars, nan = len(candles), np.full(len(candles), np.nan)
        confidence = np.ones(bars)
        hour = (candles.open_ns // (3600 * 10**9) - 473_352).astype(int)  # hours since 2024-01-01
        confidence[(hour >= self.first) & (hour < self.first + self.count)] = np.nan
        return Signals(np.full(bars, int(Direction.LONG), np.int8), confidence, nan, nan, nan)


class FailingForGood(Failing):
    """The same, and never recovers."""

    count = 10**6


class Raising(Strategy):
    """Always raises."""

    def signals(self, candles: Candles) -> Signals:
        """Raise."""
        raise RuntimeError("broken")


class Short(Strategy):
    """Answers in arrays of the wrong length."""

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion too few."""
        few = np.zeros(len(candles) - 1)
        return Signals(few.astype(np.int8), few, few, few, few)


def test_run_counts_opinions_that_are_none_and_goes_on(market: Path) -> None:
    """Three failures in a row, of one symbol: counted, and the strategy is asked again."""
    one = {"symbols": [SYMBOLS[0]]}
    result = run(config_of(market, market=one, strategies=[{"use": f"{HERE}:Failing"}]))
    (failed,) = result.failures
    assert (failed.failures, failed.disabled) == (3, None)
    assert any(trade.entry_ns > result.start_ns + 200 * 3600 * 10**9 for trade in result.trades)


def test_run_disables_a_strategy_that_fails_five_times_in_a_row(market: Path) -> None:
    """As the live engine does: nothing is opened after the fifth failure."""
    result = run(config_of(market, strategies=[{"use": f"{HERE}:FailingForGood"}]))
    (failed,) = result.failures
    assert failed.failures == 5
    assert failed.disabled == "2024-01-05T07:00:00Z"  # two symbols: 2 + 2 + 1 from the candle of 04:00 on
    assert result.trades
    limit_ns = result.start_ns + 103 * 3600 * 10**9
    assert all(trade.entry_ns <= limit_ns for trade in result.trades)


@pytest.mark.parametrize(("name", "words"), [("Raising", "raised RuntimeError: broken"), ("Short", "must be an array")])
def test_run_names_the_strategy_that_breaks(market: Path, name: str, words: str) -> None:
    """An exception over the whole history is refused with the strategy's and the symbol's name."""
    with pytest.raises(StrategyError, match=f"AAA/USDT: .*{words}"):
        run(config_of(market, strategies=[{"use": f"{HERE}:{name}"}]))


def test_load_names_the_file_and_the_row_of_every_bad_candle(market: Path) -> None:
    """Both files are looked at before anything is refused."""
    for symbol, seed in zip(SYMBOLS, (1, 2), strict=True):
        candles = lively(100, symbol, seed)
        candles.high[41] = candles.low[41] - 1
        write_feather(market, candles)
    with pytest.raises(MarketDataError) as caught:
        load(config_of(market).market)
    for symbol in SYMBOLS:
        assert f"{symbol.replace('/', '_')}-1h.feather: row 42: high is below low" in str(caught.value)


def test_load_lays_candles_out_by_moment_and_slot(market: Path) -> None:
    """The tape is in the order that a replay delivers, and each symbol's candles come back as they were."""
    history = load(config_of(market).market)
    tape = history.tape
    assert (np.diff(tape.rows["close_ns"]) >= 0).all()
    assert tape.starts[-1] == len(tape.rows) == 3900
    for start, end in zip(tape.starts[:-1], tape.starts[1:], strict=True):
        assert len(set(tape.rows["close_ns"][start:end])) == 1
        assert (np.diff(tape.rows["slot"][start:end]) > 0).all()
    for slot, seed in enumerate((1, 2)):
        whole = lively((2000, 1900)[slot], SYMBOLS[slot], seed)
        assert (history.candles(slot).close == whole.close).all()


def test_page_stands_alone_and_shows_everything(market: Path) -> None:
    """No request to anywhere, a mark for each trade, every section."""
    config = config_of(market)
    history = load(config.market)
    result = run(config, history)
    text = page(result, history)
    assert "<script src" not in text
    assert 'href="http' not in text.split("<script>")[0]
    data = json.loads(text.rsplit("const DATA = ", 1)[1].split(";\n", 1)[0].replace("<\\/", "</"))
    for slot, symbol in enumerate(SYMBOLS):
        marks = data[f"candles-{slot}"]["data"]
        assert marks[0]["type"] == "candlestick"
        assert len(marks[1]["x"]) == sum(trade.symbol == symbol for trade in result.trades)
        assert len(marks[0]["x"]) <= 1500
        assert max(marks[0]["high"]) == history.candles(slot).high.max()
    for name in ("equity", "drawdown", "returns", "results", "denials"):
        assert f'id="{name}"' in text
    assert data["drawdown"]["data"][0]["y"]
    assert -min(data["drawdown"]["data"][0]["y"]) == pytest.approx(result.metrics.max_drawdown_frac)
    assert text.count("<h2>") >= 10


def test_thinned_keeps_the_lowest_and_the_highest(market: Path) -> None:
    """A curve with few points still shows its drawdown."""
    curve = run(config_of(market)).curve
    _, equity = thinned(curve, 100)
    assert len(equity) <= 102
    assert (equity.min(), equity.max(), equity[-1]) == (curve.equity.min(), curve.equity.max(), curve.equity[-1])


def test_run_rules_that_nobody_keeps_fail_as_they_do_live(market: Path) -> None:
    """Five opinions with an impossible rule, and the strategy is not asked again."""
    result = run(config_of(market, strategies=[{"use": "tests.unit.strategy.cheats:Unruly"}]))
    (failed,) = result.failures
    assert failed.strategy == "unruly"
    assert not result.trades


def test_run_says_which_rule_ended_a_trade(market: Path) -> None:
    """In the trade, and in the CSV."""
    rules = ["RSI(3) above 80 on 2h", "age over 9h"]
    result = run(config_of(market, exits={"take_profit_frac": None, "invalidations": rules}))
    notes = {trade.exit_note for trade in result.trades if trade.exit_reason == "invalidated"}
    assert notes == {*rules}
    assert not any(trade.exit_note for trade in result.trades if trade.exit_reason != "invalidated")
    assert "age over 9h" in result.trades_csv()
    assert "invalidated" in {group.name for group in result.by_reason}


def test_run_more_indicators_than_there_is_room_for_is_refused(market: Path) -> None:
    """Before anything is played."""
    rules = [f"RSI({period}) above 90 on 1h" for period in (2, 4, 6, 8)]
    strategies = [{"use": "tests.unit.engine.scripted:Ruled"}]
    with pytest.raises(ConfigError, match="there is room for 4"):
        run(config_of(market, strategies=strategies, exits={"invalidations": rules}))
