"""Candle files written: what replay reads, whole or not at all, with a note of what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.market.candle_files import rising, write_feather
from trader.domain.market import Candles
from trader.errors import MarketDataError
from trader.market.candle_writer import asked_spans, gaps_of, merge_candles, write_candle_file
from trader.market.candles_file import read_candle_file
from trader.market.spans import joined, without
from trader.units import timeframe_ns

NAMES = ("open_ns", "open", "high", "low", "close", "volume")


def part(candles, chosen):
    """Return some of the candles."""
    return Candles(candles.symbol, candles.timeframe, *(getattr(candles, name)[chosen] for name in NAMES))


def assert_same(got, want):
    """Compare candles to the bit."""
    for name in NAMES:
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))


def test_written_file_reads_back_with_its_note(tmp_path):
    """Feather in freqtrade's layout."""
    candles = rising(50)
    path = tmp_path / "BTC_USDT-5m.feather"
    write_candle_file(path, candles, [(0, 5), (5, 9), (20, 30)])
    assert_same(read_candle_file(path, "BTC/USDT", "5m"), candles)
    assert asked_spans(path, candles) == [(0, 9), (20, 30)]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_file_of_another_program_counts_as_asked_for_from_end_to_end(tmp_path):
    """Its holes are taken to be its venue's."""
    candles = rising(50)
    path = write_feather(tmp_path, candles)
    last = int(candles.open_ns[-1]) + timeframe_ns("5m")
    assert asked_spans(path, candles) == [(int(candles.open_ns[0]), last)]


def test_write_into_a_folder_that_is_not_there_leaves_nothing(tmp_path):
    """And names the file."""
    with pytest.raises(MarketDataError, match="can not be written"):
        write_candle_file(tmp_path / "no" / "x.feather", rising(3))


def test_merged_candles_are_in_order_and_the_second_counts():
    """Overlaps are no doubles."""
    candles = rising(10)
    merged = merge_candles(part(candles, slice(4, 10)), part(candles, slice(0, 6)))
    assert_same(merged, candles)


def test_gaps_are_named_from_the_first_missing_candle_to_the_next_one():
    """Two holes."""
    candles = rising(10)
    step = timeframe_ns("5m")
    first = int(candles.open_ns[0])
    holed = part(candles, [0, 1, 4, 5, 9])
    assert gaps_of(holed, step) == [(first + 2 * step, first + 4 * step), (first + 6 * step, first + 9 * step)]


def test_spans_are_joined_and_taken_away():
    """Half-open, in any order."""
    assert joined([(5, 9), (1, 3), (3, 4), (8, 12), (2, 2)]) == [(1, 4), (5, 12)]
    assert without((0, 20), [(5, 9), (1, 3), (15, 30)]) == [(0, 1), (3, 5), (9, 15)]
    assert without((0, 20), []) == [(0, 20)]
    assert without((4, 8), [(0, 20)]) == []
