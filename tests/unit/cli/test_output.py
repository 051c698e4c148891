"""`trader.cli.output`: one document, or aligned text."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from trader.cli.output import duration, emit, money, number, pairs, percent, plain_values, table
from trader.codes import Side


def test_emit_json_is_one_document_and_nothing_else(capsys):
    """What json can't hold becomes what it can."""
    emit({"a": float("nan"), "b": Decimal("0.10"), "c": Side.BUY, "d": (1, None, True), "é": "é"}, "text", as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": None, "b": 0.1, "c": "buy", "d": [1, None, True], "é": "é"}


def test_emit_text_is_the_text(capsys):
    """Without --json people are spoken to."""
    emit({"a": 1}, "text", as_json=False)
    assert capsys.readouterr().out == "text\n"


def test_table_aligns_figures_right_and_words_left():
    """Columns of figures line up at their last digit."""
    rows = [
        {"name": "BTC/USDT", "result": "1,234.50", "share": "5.00 %", "time": "2024-01-03"},
        {"name": "X", "result": "-2.00", "share": None, "time": "2024-01-03"},
    ]
    assert table(rows, {"name": "NAME", "result": "RESULT", "share": "SHARE", "time": "DAY"}, "none").splitlines() == [
        "NAME        RESULT   SHARE  DAY",
        "BTC/USDT  1,234.50  5.00 %  2024-01-03",
        "X            -2.00       -  2024-01-03",
    ]


def test_table_without_rows_says_so():
    """An empty table has words of its own."""
    assert table([], {"a": "A"}, "no open positions") == "no open positions"


def test_pairs_leave_out_what_is_unknown():
    """Names line up, None does not show."""
    assert pairs([("equity", "1"), ("x", None), ("open positions", 0)]) == "equity          1\nopen positions  0"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(42000.5, "42000.5"), (0.00001234, "0.00001234"), (Decimal("0.10"), "0.10"), (float("inf"), "-"), (1e-13, "0")],
)
def test_number_needs_no_exponent(value, expected):
    """Small prices are written out."""
    assert number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-"), (0.25, "0.2 s"), (75, "1 min 15 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_duration_shows_two_units(seconds, expected):
    """Lengths of time are short to read."""
    assert duration(seconds) == expected


def test_money_and_percent_mark_what_is_missing():
    """Amounts have two decimals, unknown ones a dash."""
    assert [money(-1234.5, "USDT"), money(None), percent(0.0525), percent(float("nan"))] == [
        "-1,234.50 USDT",
        "-",
        "5.25 %",
        "-",
    ]


def test_plain_values_keeps_whole_numbers_whole():
    """Ids stay integers."""
    assert plain_values({"id": 2**62})["id"] == 2**62
