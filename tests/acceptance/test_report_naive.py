"""The report's numbers again, by a second and naive implementation: plain loops over the ledger's rows and the candles.

Nothing here uses the project's own arithmetic: equity is put together from fills and closes, figures are written
down as their definitions say.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import Service, replay_config

pytestmark = pytest.mark.data

DAY_NS = 86_400 * 10**9
UNTIL = datetime(2024, 4, 1, tzinfo=UTC)
SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]
RISKY = {
    "risk": {"risk_per_trade_frac": 0.02, "max_symbol_exposure_frac": 0.5, "max_daily_trades": 50},
    "exits": {
        "stop_loss_frac": 0.02,
        "take_profit_frac": 0.03,
        "trailing_stop_frac": 0.015,
        "max_hold_seconds": 172800,
    },
    "strategies": [{"use": "simple_rsi"}, {"use": "donchian_atr"}],
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, real_candles: Path) -> Iterator[Service]:
    """Replay three real months through the whole service."""
    candles = real_candles / "genetrader-binance-2024"
    config = replay_config(candles, "1h", SYMBOLS, **RISKY)
    config["market"]["until"] = UNTIL.isoformat()
    service = Service(tmp_path_factory.mktemp("naive"), config)
    assert service.run() == 0
    yield service
    service.kill()


@pytest.fixture(scope="module")
def document(played: Service) -> dict[str, Any]:
    """Return what the service reports of itself."""
    return played.json("report")


def near(found: Any, expected: Any) -> bool:
    """Tell whether two numbers are equal to 1e-9, or both are missing."""
    if expected is None or found is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def rows(service: Service, statement: str) -> list[Any]:
    """Return rows of the ledger."""
    return service.rows(statement)


class Naive:
    """Everything from fills, closes and round trips."""

    def __init__(self, service: Service, candles: Path) -> None:
        self.initial = float(rows(service, "SELECT value FROM meta WHERE key = 'initial_capital'")[0][0])
        fills = rows(
            service,
            "SELECT symbol, side, CAST(price AS REAL), CAST(quantity AS REAL), CAST(fee AS REAL), time_ns, reason "
            "FROM fills ORDER BY fill_id",
        )
        self.fills = [dict(zip(("symbol", "side", "price", "quantity", "fee", "time_ns", "reason"), row, strict=True))
                      for row in fills]  # fmt: skip
        names = ("symbol", "entry_ns", "exit_ns", "pnl", "fees", "strategy", "exit_reason")
        self.trips = [
            dict(zip(names, row, strict=True))
            for row in rows(
                service,
                "SELECT symbol, entry_ns, exit_ns, CAST(pnl AS REAL), CAST(fees AS REAL), strategy, exit_reason "
                "FROM round_trips ORDER BY exit_ns, position_id",
            )
        ]
        self.opens: dict[int, dict[str, float]] = defaultdict(dict)
        self.closes = self._closes(candles)
        self.curve = self._curve()

    def _closes(self, candles: Path) -> dict[int, dict[str, float]]:
        """Return the closes by the time at which they are known."""
        from pyarrow import feather

        found: dict[int, dict[str, float]] = defaultdict(dict)
        for symbol in SYMBOLS:
            table = feather.read_table(candles / f"{symbol.replace('/', '_')}-1h.feather")
            columns = (table[name].to_pylist() for name in ("date", "open", "close"))
            for moment, opened, close in zip(*columns, strict=True):
                if moment < UNTIL:
                    found[(int(moment.timestamp()) + 3600) * 10**9][symbol] = close
                self.opens[int(moment.timestamp()) * 10**9][symbol] = opened
        return dict(sorted(found.items()))

    def _curve(self) -> list[tuple[int, float]]:
        """Return equity at every close: cash of all fills so far, and what is held at its last close."""
        cash, held, marks = self.initial, dict.fromkeys(SYMBOLS, 0.0), {}
        waiting, curve = list(self.fills), []
        for moment, closes in self.closes.items():
            # an order of this close fills at the next open, which has the same time; levels are hit inside a candle
            while waiting and (waiting[0]["time_ns"] < moment or self._inside(waiting[0], moment)):
                fill = waiting.pop(0)
                cash -= fill["side"] * fill["quantity"] * fill["price"] + fill["fee"]
                held[fill["symbol"]] += fill["side"] * fill["quantity"]
            marks |= closes
            curve.append((moment, cash + sum(held[name] * marks[name] for name in SYMBOLS if held[name])))
        assert not waiting
        return curve

    def _inside(self, fill: dict[str, Any], moment: int) -> bool:
        """Tell whether a fill at this time belongs to the candle that closes then: a stop or a target in it.

        A trailing stop may be both: passed over by an open (then it fills there, less 5 bps), or reached inside.
        """
        if fill["time_ns"] != moment:
            return False
        at_open = self.opens[moment].get(fill["symbol"], math.nan) * (1 + fill["side"] * 5e-4)
        return fill["reason"] in (2, 4) or (
            fill["reason"] == 6 and not math.isclose(fill["price"], at_open, rel_tol=1.5e-4)
        )


@pytest.fixture(scope="module")
def naive(played: Service, real_candles: Path) -> Naive:
    """Return the second implementation, fed."""
    return Naive(played, real_candles / "genetrader-binance-2024")


def trip_figures(trips: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of round trips, written down as they are defined."""
    gains = [trip["pnl"] for trip in trips if trip["pnl"] > 0]
    losses = [trip["pnl"] for trip in trips if trip["pnl"] < 0]
    streak = longest = 0
    for trip in trips:
        streak = streak + 1 if trip["pnl"] < 0 else 0
        longest = max(longest, streak)
    count = len(trips)
    return {
        "trades": count,
        "wins": len(gains),
        "losses": len(losses),
        "win_rate_frac": len(gains) / count if count else None,
        "pnl": sum(trip["pnl"] for trip in trips),
        "fees": sum(trip["fees"] for trip in trips),
        "profit_factor": sum(gains) / -sum(losses) if losses else None,
        "expectancy": sum(trip["pnl"] for trip in trips) / count if count else None,
        "average_win": sum(gains) / len(gains) if gains else None,
        "average_loss": sum(losses) / len(losses) if losses else None,
        "best": max((trip["pnl"] for trip in trips), default=None),
        "worst": min((trip["pnl"] for trip in trips), default=None),
        "average_held_s": sum(trip["exit_ns"] - trip["entry_ns"] for trip in trips) / 1e9 / count if count else None,
        "longest_loss_streak": longest,
    }


def test_snapshots_are_the_curve_of_fills_and_closes(played: Service, naive: Naive) -> None:
    """Each snapshot that was kept, packed days included, is what fills and closes say."""
    from trader.ledger.metrics import MetricsReader

    found = MetricsReader(played.data_dir / "metrics.db").series(names=("time_ns", "equity"))
    assert found["time_ns"].tolist() == [moment for moment, _ in naive.curve]
    wrong = [
        (moment, mine, theirs)
        for (moment, mine), theirs in zip(naive.curve, found["equity"].tolist(), strict=True)
        if not near(theirs, mine)
    ]
    assert wrong == []
    packed = sqlite3.connect(played.data_dir / "metrics.db")
    assert packed.execute("SELECT count(DISTINCT day) FROM packed").fetchone()[0] > 80
    packed.close()


def test_report_summary_equals_the_naive_one(document: dict[str, Any], naive: Naive) -> None:
    """Capital, result, fees, drawdown over every mark."""
    summary = document["summary"]
    final, peak, worst = naive.curve[-1][1], naive.initial, 0.0
    for _, equity in naive.curve:
        peak = max(peak, equity)
        worst = max(worst, (peak - equity) / peak)
    expected = {
        "current_capital": final,
        "total_pnl": final - naive.initial,
        "total_pnl_percent": (final / naive.initial - 1) * 100,
        "fees_paid": sum(fill["fee"] for fill in naive.fills),
        "max_drawdown": worst * 100,
        "total_trades": len(naive.trips),
        "win_rate": 100 * sum(trip["pnl"] > 0 for trip in naive.trips) / len(naive.trips),
    }
    assert {name: (summary[name], value) for name, value in expected.items() if not near(summary[name], value)} == {}
    assert len(naive.trips) > 100


def test_report_metrics_equal_the_naive_ones(document: dict[str, Any], naive: Naive) -> None:
    """Daily returns from the first mark of each day; sample deviation; 365 days; N under Sortino."""
    days: dict[int, float] = {}
    for moment, equity in naive.curve:
        days.setdefault(moment // DAY_NS, equity)
    starts = list(days.values())
    returns = [after / before - 1 for before, after in pairwise(starts)]
    mean = sum(returns) / len(returns)
    deviation = math.sqrt(sum((one - mean) ** 2 for one in returns) / (len(returns) - 1))
    downside = math.sqrt(sum(min(one, 0.0) ** 2 for one in returns) / len(returns))
    first, (last, final) = naive.curve[0][0], naive.curve[-1]
    span_days = (last - first) / DAY_NS
    growth = (final / naive.initial) ** (365 / span_days) - 1
    peak, worst, since, longest = naive.initial, 0.0, first, 0
    worst_amount = 0.0
    for moment, equity in naive.curve:
        if equity >= peak:
            since = moment
        longest = max(longest, moment - since)
        peak = max(peak, equity)
        worst, worst_amount = max(worst, 1 - equity / peak), max(worst_amount, peak - equity)
    pnl = [trip["pnl"] for trip in naive.trips]
    average = sum(pnl) / len(pnl)
    spread = math.sqrt(sum((one - average) ** 2 for one in pnl) / (len(pnl) - 1))
    figures = trip_figures(naive.trips)
    win_rate = figures["win_rate_frac"]
    expected = {
        "days": span_days,
        "daily_returns": len(returns),
        "sharpe": mean / deviation * math.sqrt(365),
        "sortino": mean / downside * math.sqrt(365),
        "volatility_frac": deviation * math.sqrt(365),
        "cagr_frac": growth,
        "calmar": growth / worst,
        "max_drawdown_frac": worst,
        "max_drawdown": worst_amount,
        "longest_drawdown_s": longest / 1e9,
        "sqn": math.sqrt(len(pnl)) * average / spread,
        "expectancy_ratio": (1 + figures["average_win"] / -figures["average_loss"]) * win_rate - 1,
        "profit_factor": figures["profit_factor"],
        "expectancy": average,
        "turnover": sum(f["price"] * f["quantity"] for f in naive.fills) / (sum([*starts, final]) / (len(starts) + 1)),
    }
    found = document["metrics"]
    assert {name: (found[name], value) for name, value in expected.items() if not near(found[name], value)} == {}


def test_report_groups_equal_the_naive_ones(document: dict[str, Any], naive: Naive) -> None:
    """By symbol, strategy, exit reason and hour of day."""
    from trader.codes import Reason

    keys = {
        "by_symbol": lambda trip: trip["symbol"],
        "by_strategy": lambda trip: trip["strategy"],
        "by_exit_reason": lambda trip: Reason(trip["exit_reason"]).name.lower(),
        "by_hour": lambda trip: f"{datetime.fromtimestamp(trip['exit_ns'] // 10**9, UTC).hour:02d}",
    }
    for name, key in keys.items():
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for trip in naive.trips:
            groups[key(trip)].append(trip)
        found = document["trading_activity"][name]
        assert set(found) == set(groups), name
        assert len(groups) > 1, name
        for group, trips in groups.items():
            expected = trip_figures(trips)
            wrong = {field: (found[group][field], value) for field, value in expected.items()
                     if not near(found[group][field], value)}  # fmt: skip
            assert wrong == {}, (name, group)


def test_report_capital_and_lately_equal_the_naive_ones(document: dict[str, Any], naive: Naive) -> None:
    """Mean, median, least, greatest, deviation; the last hour, day and week."""
    values = sorted(equity for _, equity in naive.curve)
    count = len(values)
    mean = math.fsum(values) / count
    stats = document["capital_stats"]
    expected = {
        "mean": mean,
        "median": (values[(count - 1) // 2] + values[count // 2]) / 2,
        "min": values[0],
        "max": values[-1],
        "std": math.sqrt(math.fsum((one - mean) ** 2 for one in values) / (count - 1)),
        "count": count,
    }
    assert {name: (stats[name], value) for name, value in expected.items() if not near(stats[name], value)} == {}
    end, capital = naive.curve[-1]
    for name, hours in (("1h", 1), ("1d", 24), ("7d", 168)):
        since = end - hours * 3600 * 10**9
        start = [equity for moment, equity in naive.curve if moment <= since][-1]
        trips = [trip for trip in naive.trips if since < trip["exit_ns"] <= end]
        peak, worst = start, 0.0
        for equity in (equity for moment, equity in naive.curve if moment > since):
            peak = max(peak, equity)
            worst = max(worst, 1 - equity / peak)
        found = document["recent_performance"][name]
        for field, value in (
            ("pnl", capital - start),
            ("pnl_percent", (capital / start - 1) * 100),
            ("max_drawdown", worst * 100),
            ("trades", len(trips)),
            ("realised_pnl", sum(trip["pnl"] for trip in trips)),
        ):
            assert near(found[field], value), (name, field, found[field], value)


def test_library_on_the_same_folder_reports_the_same(played: Service, document: dict[str, Any]) -> None:
    """`PerformanceMonitor` is what the service uses: its report is the command's."""
    from trader.monitor.performance import PerformanceMonitor

    with PerformanceMonitor(10_000.0, played.data_dir) as monitor:
        found = json.loads(json.dumps(monitor.generate_report()))
    assert found["summary"] == document["summary"]
    assert found["metrics"] == document["metrics"]
    assert found["recent_performance"] == document["recent_performance"]


def test_every_acted_decision_has_a_story_that_ends(played: Service) -> None:
    """From candles to result: the numbers of the story are those of the ledger."""
    decisions = played.json("decisions", "BTC/USDT", "--acted", "--since", "2024-02-01", "--until", "2024-03-01")
    ordered = [one for one in decisions if one["decided"] == "ordered"]
    denied = [one for one in decisions if one["decided"] == "denied"]
    assert ordered
    assert denied
    for one in (ordered[0], ordered[-1]):
        story = played.json("explain", str(one["decision_id"]), "--config", str(played.config_file))
        (trip,) = rows(played, f"SELECT pnl, exit_reason FROM round_trips WHERE decision_id = {one['decision_id']}")
        assert near(story["result"]["pnl"], float(trip[0]))
        assert len(story["candles"]) == 5
        assert near(story["candles"][-1]["c"], one["price"])
        (fill,) = story["entry"]["fills"]
        assert fill["price"] > 0
        assert "No limit stood against it." in story["story"]
        assert story["story"][-1].startswith("Closed ")
    story = played.json("explain", str(denied[0]["decision_id"]), "--config", str(played.config_file))
    assert len([line for line in story["story"] if line.startswith("  ")]) == len(denied[0]["limits"])
