"""The service in one line and in one document."""

from __future__ import annotations

import json

import numpy as np

from trader.codes import Halt, ServiceState
from trader.config.sections import Config
from trader.core.records import new_desk, new_slots
from trader.state.reader import Book
from trader.supervisor.summary import account_document, status_document, status_line


def book(**account: float) -> Book:
    """Return a book with these figures."""
    desk = new_desk()
    for name, value in account.items():
        desk["account"][name] = value
    return Book(desk["account"][0], new_slots(1), ("BTC/USDT",), {})


def test_status_line_says_mode_equity_and_positions():
    """One position is singular."""
    line = status_line(ServiceState.RUNNING, Config(), book(equity=10012.346, open_positions=1), [])
    assert line == "running, paper, equity 10012.35 USDT, 1 position"


def test_status_line_shows_trouble_and_halts():
    """What is wrong comes before the figures, and why entries are halted after them."""
    halted = book(equity=1.0, open_positions=0, halt_mask=int(Halt.PAUSED | Halt.DRAWDOWN))
    line = status_line(ServiceState.DEGRADED, Config(), halted, ["dashboard backoff"])
    assert line == (
        "degraded, paper, dashboard backoff, equity 1.00 USDT, 0 positions, entries halted: paused drawdown"
    )


def test_status_line_without_an_engine_is_short():
    """There are no figures to show."""
    assert status_line(ServiceState.STARTING, Config(), None, []) == "starting, paper"


def test_status_line_names_real_money():
    """LIVE can't be overlooked."""
    config = Config.model_validate({"market": {"source": "exchange"}, "engine": {"enable_trading": True}})
    assert "LIVE" in status_line(ServiceState.RUNNING, config, None, [])


def test_status_document_is_json_even_with_nan():
    """NaN has no place in JSON, and an unknown figure is null."""
    document = status_document(
        state=ServiceState.RUNNING,
        config=Config(),
        epoch=3,
        run_id="r",
        started_boot_ns=0,
        reloads=2,
        rejected=1,
        reduce_only=None,
        stations=[],
        book=book(equity=np.nan, cash=5.0),
    )
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["account"]["equity"] is None
    assert again["account"]["cash"] == 5.0
    assert (again["config_epoch"], again["reloads"], again["reloads_rejected"]) == (3, 2, 1)


def test_account_document_without_a_book_is_null():
    """While the engine starts."""
    assert account_document(None) is None
