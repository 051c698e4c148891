"""Which address leads where: the documents' table, which the application and the OpenAPI document both read."""

from __future__ import annotations

from trader.dashboard import documents
from trader.dashboard.web import Base

#: every document, the ones that are asked most often first
REST: tuple[tuple[str, type[Base]], ...] = (
    ("/api/status", documents.Status),
    ("/api/snapshot", documents.Snapshot),
    ("/healthz", documents.Healthz),
    ("/metrics", documents.Metrics),
    ("/api/equity", documents.Equity),
    ("/api/candles", documents.Candles),
    ("/api/performance", documents.Performance),
    ("/api/positions", documents.Positions),
    ("/api/orders", documents.Orders),
    ("/api/trades", documents.Trades),
    ("/api/decisions", documents.Decisions),
    ("/api/profit", documents.Profit),
    ("/api/logs", documents.Logs),
    ("/api/workers", documents.Workers),
    ("/api/strategies", documents.Strategies),
    ("/api/health", documents.Health),
    ("/api/llm", documents.Model),
    ("/api/openapi.json", documents.OpenApi),
)
