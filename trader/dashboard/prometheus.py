"""`/metrics`: the status document in Prometheus' text format, with labels that can't grow without bound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from trader.codes import Halt, Veto

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
    ("trader_unrealised_profit_quote", "Result of what is open, before the fees of closing it.", "unrealised_pnl"),
    ("trader_peak_equity_quote", "Highest equity so far, in quote currency.", "peak_equity"),
    ("trader_open_positions", "Positions that are open.", "open_positions"),
    ("trader_pending_orders", "Orders in flight.", "pending_orders"),
    ("trader_loss_streak", "Losing round trips in a row, up to now.", "loss_streak"),
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
_WORKER_COUNTERS = (
    ("trader_worker_restarts", "Restarts of a process.", "restarts"),
    ("trader_worker_log_records_lost", "Log records that a process could not keep.", "log_dropped"),
)
#: of an exchange: name, help, key, factor
_EXCHANGE = (
    ("trader_exchange_connected", "1 while the exchange's feed is connected.", "connected"),
    ("trader_exchange_message_age_seconds", "Time since the exchange's last message.", "message_age_s"),
    ("trader_exchange_clock_skew_seconds", "The venue's clock less ours.", "clock_skew_s"),
    ("trader_exchange_maintenance", "1 while the venue says that it is closed.", "maintenance"),
    ("trader_exchange_reconciled_age_seconds", "Time since ledger and venue were last compared.", "reconciled_age_s"),
    ("trader_exchange_differences", "Unexplained differences between ledger and venue.", "differences"),
    ("trader_exchange_errors_in_window", "Errors within recovery.error_window_seconds.", "errors_in_window"),
    ("trader_exchange_errors_in_row", "Errors in a row, up to now.", "errors_in_row"),
    ("trader_exchange_orders_open", "Orders at the venue, protective stops included.", "orders_open"),
    ("trader_exchange_orders_unknown", "Orders that are being looked up.", "orders_unknown"),
    ("trader_exchange_stops_missing", "Positions without a stop at the venue.", "stops_missing"),
)
_EXCHANGE_COUNTERS = (
    ("trader_exchange_errors", "Errors of the exchange since the engine was started.", "errors"),
    ("trader_exchange_reconnects", "Times that the feed was connected again.", "reconnects"),
    ("trader_exchange_reconciliations", "Comparisons of ledger and venue.", "reconciliations"),
    ("trader_exchange_naked_seconds", "Time that positions had no stop at the venue.", "naked_s"),
)
_LEVELS = {"ok": 0, "warning": 1, "grave": 2}
_BREAKER = {"closed": 0, "half_open": 1, "open": 2}
#: labels that come from the configuration are cut off here, whatever it holds
MOST_SYMBOLS = 1000


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
        yield from self._halts()
        yield from self._health()
        yield from self._strategies()
        yield from self._exchange()

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
        for name, text, key in (
            ("trader_lease_seconds", "How long the supervisor's lease lasts.", "lease_s"),
            ("trader_clearance_seconds", "How long the monitor's clearance lasts.", "clear_s"),
        ):
            if entries[key] is not None:
                yield GaugeMetricFamily(name, text, entries[key])
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
        for position in self._status["positions"][:MOST_SYMBOLS]:
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
        for name, text, key in _WORKER_COUNTERS:
            counter = CounterMetricFamily(name, text, labels=["role"])
            for worker in self._status["workers"]:
                if worker[key] is not None:
                    counter.add_metric([worker["role"]], worker[key])
            yield counter

    def _halts(self) -> Iterable[Metric]:
        active = {reason["code"] for reason in self._status["entries"]["reasons"]}
        halts = GaugeMetricFamily("trader_halted", "1 while entries are halted for a cause.", labels=["cause"])
        for halt in Halt:
            name = (halt.name or "").lower()
            halts.add_metric([name], float(name in active))
        vetoes = GaugeMetricFamily("trader_vetoed", "1 while the monitor objects for a cause.", labels=["cause"])
        for veto in Veto:
            name = (veto.name or "").lower()
            vetoes.add_metric([name], float(f"veto_{name}" in active))
        yield from (halts, vetoes)

    def _health(self) -> Iterable[Metric]:
        level = GaugeMetricFamily("trader_health_level", "0 ok, 1 warning, 2 grave.", labels=["check"])
        value = GaugeMetricFamily("trader_health_value", "What a health check looks at.", labels=["check"])
        bound = GaugeMetricFamily("trader_health_bound", "What it is held against.", labels=["check"])
        for check in self._status["health"]:
            level.add_metric([check["name"]], _LEVELS[check["level"]])
            for family, key in ((value, "value"), (bound, "bound")):
                if check[key] is not None:
                    family.add_metric([check["name"]], check[key])
        yield from (level, value, bound)

    def _strategies(self) -> Iterable[Metric]:
        disabled = GaugeMetricFamily("trader_strategy_disabled", "1 while it is not asked.", labels=["strategy"])
        failures = CounterMetricFamily("trader_strategy_failures", "Answers that failed.", labels=["strategy"])
        # by name: two of one name would be one series twice, which no parser takes
        for name, one in {one["name"]: one for one in self._status["strategies"]}.items():
            disabled.add_metric([name], float(one["state"] == "disabled"))
            if one["failures"] is not None:
                failures.add_metric([name], one["failures"])
        yield from (disabled, failures)

    def _exchange(self) -> Iterable[Metric]:
        venue = self._status["exchange"]
        breaker = GaugeMetricFamily("trader_exchange_breaker", "0 closed, 1 half open, 2 open.")
        if venue is not None:
            breaker.add_metric([], _BREAKER[venue["breaker"]])
        yield breaker
        for kind, table in ((GaugeMetricFamily, _EXCHANGE), (CounterMetricFamily, _EXCHANGE_COUNTERS)):
            for name, text, key in table:
                family = kind(name, text)
                if venue is not None and venue[key] is not None:
                    family.add_metric([], float(venue[key]))
                yield family


def exposition(status: Document) -> bytes:
    """Return a status document in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(status))
    return generate_latest(registry)
