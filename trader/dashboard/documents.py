"""The documents that GET answers; each handler names its arguments and its model."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from trader.dashboard import models, queries, view
from trader.dashboard.answer import Encoded, as_csv, encode
from trader.dashboard.prometheus import exposition
from trader.dashboard.web import Asking, Base

NS_PER_MS = 1_000_000


class Status(Base):
    """The present: service, market, account, limits, positions, processes, strategies, health."""

    answers = models.StatusDocument

    def get(self) -> None:
        """Answer the status document."""
        if self.request.query:
            self.arguments(queries.Arguments)
        self.answer(self.services.board.encoded("status", lambda: self.services.board.status))


class Snapshot(Base):
    """What the websocket sends first, for pages without one."""

    answers = models.SnapshotDocument

    def get(self) -> None:
        """Answer the snapshot."""
        self.arguments(queries.Arguments)
        self.answer(self.services.board.snapshot())


class Performance(Base):
    """The summary under its published names."""

    answers = models.PerformanceDocument

    def get(self) -> None:
        """Answer the summary."""
        self.arguments(queries.Arguments)
        board = self.services.board
        self.answer(board.encoded("performance", lambda: view.performance_document(board.status)))


class _Listing(Base):
    """A list of the status document, as JSON or CSV."""

    arguments_model = queries.Listing
    member = ""

    def get(self) -> None:
        """Answer the list."""
        board, query = self.services.board, self.arguments(queries.Listing)
        if query.format == "csv":
            board.refresh()
            self.answer(as_csv(self.member, board.status[self.member], _columns(self.answers, self.member)))
        else:
            self.answer(board.encoded(self.member, lambda: {self.member: board.status[self.member]}))


class Positions(_Listing):
    """Open positions and entries in flight, with their exit plans."""

    answers = models.PositionsDocument
    member = "positions"


class Workers(_Listing):
    """The processes: pid, age, memory, restarts, beat."""

    answers = models.WorkersDocument
    member = "workers"


class Strategies(_Listing):
    """The strategies and how they are doing."""

    answers = models.StrategiesDocument
    member = "strategies"


class Health(Asking):
    """The monitor's checks, worst first, and how they changed."""

    arguments_model = queries.Listing
    answers = models.HealthDocument

    async def get(self) -> None:
        """Answer the checks."""
        board, query = self.services.board, self.arguments(queries.Listing)
        checks = board.refresh()["health"]
        if query.format == "csv":
            self.answer(as_csv("health", checks, _columns(self.answers, "health")))
        else:
            changes = await self.asked(self.services.archive.health_changes())
            self.answer_document({"health": checks, "changes": changes})


class _Paged(Asking):
    """A table of the ledger or the log, page by page, as JSON or CSV."""

    member = ""

    async def rows(self, query: Any) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page and where the next begins."""
        raise NotImplementedError

    async def get(self) -> None:
        """Answer a page, newest first."""
        query: Any = self.arguments(self.arguments_model)
        self.known_symbol(getattr(query, "symbol", None))
        rows, following = await self.asked(self.rows(query))
        if query.format == "csv":
            self.answer(as_csv(self.member, rows, _columns(self.answers, self.member)))
        else:
            self.answer_document({self.member: rows, "next": following})


class Orders(_Paged):
    """Orders, newest first."""

    arguments_model = queries.OrdersQuery
    answers = models.OrdersDocument
    member = "orders"

    async def rows(self, query: queries.OrdersQuery) -> tuple[list[dict[str, Any]], str | None]:
        """Return orders."""
        return await self.services.archive.orders(query)


class Trades(_Paged):
    """Round trips, the last closed first."""

    arguments_model = queries.TradesQuery
    answers = models.TradesDocument
    member = "trades"

    async def rows(self, query: queries.TradesQuery) -> tuple[list[dict[str, Any]], str | None]:
        """Return round trips."""
        return await self.services.archive.trips(query)


class Decisions(_Paged):
    """Decisions with their reasons, newest first."""

    arguments_model = queries.DecisionsQuery
    answers = models.DecisionsDocument
    member = "decisions"

    async def rows(self, query: queries.DecisionsQuery) -> tuple[list[dict[str, Any]], str | None]:
        """Return decisions."""
        return await self.services.archive.decisions(query)


class Logs(_Paged):
    """The newest lines of the log."""

    arguments_model = queries.LogsQuery
    answers = models.LogsDocument
    member = "lines"

    async def rows(self, query: queries.LogsQuery) -> tuple[list[dict[str, Any]], str | None]:
        """Return lines."""
        return await self.services.archive.lines(query)


class Equity(Asking):
    """The equity curve over any range, thinned here."""

    arguments_model = queries.EquityQuery
    answers = models.EquityDocument

    async def get(self) -> None:
        """Answer the curve."""
        query, board = self.arguments(queries.EquityQuery), self.services.board
        since_ns, until_ns = query.since_ms * NS_PER_MS, query.until_ms * NS_PER_MS
        old = await self.asked(self.services.archive.curve(query.points, since_ns, until_ns))
        self.answer_document({"points": board.curve(old, query.points, query.since_ms, query.until_ms)})


class Candles(Asking):
    """Candles of one symbol, few enough, with what was traded on them."""

    arguments_model = queries.CandlesQuery
    answers = models.CandlesDocument

    async def get(self) -> None:
        """Answer candles and marks."""
        query, board = self.arguments(queries.CandlesQuery), self.services.board
        self.known_symbol(query.symbol)
        status = board.refresh()
        document = await self.asked(self.services.archive.candles(query, board.market_ns))
        held = next((item for item in status["positions"] if item["symbol"] == query.symbol), None)
        if held is not None and held["side"] != "none":
            document["marks"].append(view.open_mark(held))
        document |= {
            "symbol": query.symbol,
            "timeframe": status["market"]["timeframe"],
            "tick_size": board.tick_size(query.symbol),
        }
        self.answer_document(document)


class Profit(Asking):
    """Realised profit by UTC day and by symbol."""

    arguments_model = queries.ProfitQuery
    answers = models.ProfitDocument

    async def get(self) -> None:
        """Answer both."""
        query = self.arguments(queries.ProfitQuery)
        self.answer_document(
            await self.asked(self.services.archive.profit(query.since_ms * NS_PER_MS, query.until_ms * NS_PER_MS))
        )


class Model(Asking):
    """The language model: calls and spend against their caps, breaker, last answers."""

    answers = models.ModelDocument

    async def get(self) -> None:
        """Answer its books."""
        self.arguments(queries.Arguments)
        self.answer_document({"llm": await self.asked(self.services.archive.model())})


class Healthz(Base):
    """200 while the service does its work, else 503 with reasons."""

    public = True
    answers = models.HealthzDocument

    def get(self) -> None:
        """Answer the health document."""
        self.arguments(queries.Arguments)
        document = view.health_document(self.services.board.refresh())
        self.set_status(HTTPStatus.OK if document["ok"] else HTTPStatus.SERVICE_UNAVAILABLE)
        self.answer_document(document)


class Metrics(Base):
    """Everything, for Prometheus."""

    def get(self) -> None:
        """Answer the metrics."""
        body = exposition(self.services.board.refresh())
        self.answer(Encoded(body, "text/plain; version=0.0.4; charset=utf-8"))


class OpenApi(Base):
    """The description of all these documents and commands."""

    def get(self) -> None:
        """Answer the OpenAPI document."""
        from trader.dashboard.openapi import description

        self.arguments(queries.Arguments)
        self.set_header("Cache-Control", "max-age=60")
        self.answer(Encoded(encode(description(self.services.board.config.instance))))


def _columns(model: type[models.Document] | None, member: str) -> Sequence[str]:
    """Return a table's columns: the members of the model of its rows."""
    assert model is not None  # noqa: S101 - every table has a model
    (row,) = model.model_fields[member].annotation.__args__  # type: ignore[union-attr]
    return tuple(row.model_fields)
