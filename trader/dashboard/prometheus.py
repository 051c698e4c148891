"""`/metrics`: the status document in Prometheus' text format, with labels that can't grow without bound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

Document = dict[str, Any]

#: name, help, key of the account
_GAUGES = (
    ("trader_equity_quote", "Cash and marked positions, in quote currency.", "equity"),
    ("trader_cash_quote", "Cash, in quote currency.", "cash"),
    ("trader_gross_exposure_quote", "Sum of absolute notionals, in quote currency.", "gross_exposure"),
    ("trader_profit_quote", "Equity less initial capital, in quote currency.", "total_pnl"),
    ("trader_daily_profit_quote", "Equity less equity at the start of the UTC day, in quote currency.", "daily_pnl"),
    ("trader_drawdown_ratio", "Fall from peak equity, 0 to 1.", "drawdown_frac"),
    ("trader_max_drawdown_ratio", "Deepest fall from peak equity, 0 to 1.", "max_drawdown_frac"),
    ("trader_open_positions", "Positions that are open.", "open_positions"),
    ("trader_daily_entries", "Entries filled in this UTC day.", "day_trades"),
)
_COUNTERS = (
    ("trader_round_trips", "Positions opened and closed again.", "round_trips"),
    ("trader_round_trips_won", "Round trips with a net profit.", "wins"),
    ("trader_cycles", "Decision cycles.", "cycles"),
    ("trader_decisions", "Opinions asked of strategies.", "decisions"),
    ("trader_fees_quote", "Fees paid, in quote currency.", "fees_paid"),
)
_WORKER = (
    ("trader_worker_beat_age_seconds", "Time since a process last beat.", "beat_age_s"),
    ("trader_worker_resident_memory_bytes", "Resident memory of a process.", "rss_bytes"),
    ("trader_worker_loop_lag_seconds", "How late a process' loop woke up.", "loop_lag_s"),
)


class _Status(Collector):
    """Says one status document."""

    def __init__(self, status: Document) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Yield every metric that is known."""
        yield from self._service()
        account = self._status["account"]
        if account is not None:
            yield from (GaugeMetricFamily(name, text, account[key]) for name, text, key in _GAUGES)
            yield from (CounterMetricFamily(name, text, account[key]) for name, text, key in _COUNTERS)
        yield from self._limits()
        yield from self._positions()
        yield from self._workers()

    def _service(self) -> Iterable[Metric]:
        status = self._status
        service, market, entries = status["service"], status["market"], status["entries"]
        info = GaugeMetricFamily("trader_info", "What runs here.", labels=["version", "instance", "mode", "quote"])
        info.add_metric([service["version"], service["instance"], service["mode"], service["quote"]], 1)
        yield info
        yield GaugeMetricFamily("trader_up", "1 while the service runs.", float(service["running"]))
        yield GaugeMetricFamily("trader_engine_up", "1 while the engine runs.", float(status["source"] == "engine"))
        yield GaugeMetricFamily("trader_entries_open", "1 while new positions are allowed.", float(entries["open"]))
        if market["data_age_s"] is not None:
            yield GaugeMetricFamily("trader_data_age_seconds", "Time since the last market data.", market["data_age_s"])
        if market["time_ms"] is not None:
            yield GaugeMetricFamily(
                "trader_market_time_seconds", "Market time since the epoch.", market["time_ms"] / 1e3
            )
        if service["uptime_s"] is not None:
            yield GaugeMetricFamily("trader_uptime_seconds", "Time since the service started.", service["uptime_s"])
        yield CounterMetricFamily("trader_reloads", "Configurations applied while running.", service["reloads"])
        yield CounterMetricFamily("trader_reloads_rejected", "Configurations refused.", service["reload_rejected"])

    def _limits(self) -> Iterable[Metric]:
        used = GaugeMetricFamily("trader_limit_used", "What a risk limit counts now.", labels=["limit"])
        allowed = GaugeMetricFamily("trader_limit_allowed", "What a risk limit allows.", labels=["limit"])
        for limit in self._status["limits"]:
            used.add_metric([limit["name"]], limit["used"])
            allowed.add_metric([limit["name"]], limit["allowed"])
        yield from (used, allowed)

    def _positions(self) -> Iterable[Metric]:
        notional = GaugeMetricFamily(
            "trader_position_notional_quote", "Size of a position at its mark.", labels=["symbol"]
        )
        profit = GaugeMetricFamily("trader_position_profit_quote", "Unrealised result.", labels=["symbol"])
        for position in self._status["positions"]:
            if position["notional"] is not None:
                notional.add_metric([position["symbol"]], position["notional"])
            if position["unrealised_pnl"] is not None:
                profit.add_metric([position["symbol"]], position["unrealised_pnl"])
        yield from (notional, profit)

    def _workers(self) -> Iterable[Metric]:
        for name, text, key in _WORKER:
            gauge = GaugeMetricFamily(name, text, labels=["role"])
            for worker in self._status["workers"]:
                if worker[key] is not None:
                    gauge.add_metric([worker["role"]], worker[key])
            yield gauge
        restarts = CounterMetricFamily("trader_worker_restarts", "Restarts of a process.", labels=["role"])
        for worker in self._status["workers"]:
            restarts.add_metric([worker["role"]], worker["restarts"])
        yield restarts


def exposition(status: Document) -> bytes:
    """Return a status document in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(status))
    return generate_latest(registry)
