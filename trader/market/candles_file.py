"""Candle files: Feather in freqtrade's layout, and CSV; read as they are, nothing is guessed or filled in.

pyarrow does the reading. It is imported when a file is read, so that who trades another market does
not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trader.clock import parse_utc
from trader.domain.market import Candles, FloatArray, IntArray
from trader.errors import MarketDataError

PRICE_COLUMNS = ("open", "high", "low", "close", "volume")
TIME_COLUMNS = ("date", "timestamp")

#: units of a whole number of time since the epoch, by the largest value [ns each]; year 2286 and earlier
_EPOCH_UNITS = ((10**10, 10**9), (10**13, 10**6), (10**16, 10**3), (10**19, 1))


def candle_file_stem(symbol: str, timeframe: str) -> str:
    """Return the name that a symbol's file has before its suffix: BTC_USDT-5m for BTC/USDT at 5m."""
    return f"{symbol.replace('/', '_').replace(':', '_')}-{timeframe}"


def find_candle_file(folder: Path, symbol: str, timeframe: str) -> Path:
    """Return the file that holds a symbol's candles.

    Parameters
    ----------
    folder : Path
        Where the files are.
    symbol, timeframe : str
        What they must hold.

    Returns
    -------
    Path
        The Feather file if there is one, else the CSV file.

    Raises
    ------
    MarketDataError
        When there is neither, naming what was looked for and what is there for this symbol.
    """
    stem = candle_file_stem(symbol, timeframe)
    for suffix in (".feather", ".csv"):
        path = folder / (stem + suffix)
        if path.is_file():
            return path
    if not folder.is_dir():
        raise MarketDataError(f"{folder}: no such folder; market.candles must name a folder of candle files")
    others = sorted(path.name for path in folder.glob(candle_file_stem(symbol, "*")))
    there = f"; there are {', '.join(others)}" if others else ""
    raise MarketDataError(f"{folder / stem}.feather: no such file, and no {stem}.csv beside it{there}")


def read_candle_file(path: Path, symbol: str, timeframe: str) -> Candles:
    """Read a file's candles without judging them: see `trader.market.validation`.

    Parameters
    ----------
    path : Path
        A .feather or .csv file.
    symbol, timeframe : str
        What its candles are of.

    Returns
    -------
    Candles
        In the file's order; a missing number is NaN.

    Raises
    ------
    MarketDataError
        When the file can not be read, or a cell is no number or no time.
    """
    read = _read_csv if path.suffix == ".csv" else _read_feather
    try:
        table = read(path)
    except OSError as error:
        raise MarketDataError(f"{path}: can not be read: {error.strerror or error}") from error
    time_column = _check_columns(path, table.column_names)
    open_ns = _times(path, time_column, _trimmed(table[time_column]))
    return Candles(symbol, timeframe, open_ns, *(_numbers(path, name, _trimmed(table[name])) for name in PRICE_COLUMNS))


def _read_feather(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import feather

    try:
        table = feather.read_table(path, memory_map=False)
        table.validate(full=True)
        return table.rename_columns([name.lower() for name in table.column_names])
    # damaged lengths ask for exabytes, damaged names are no UTF-8
    except (pa.ArrowException, MemoryError, UnicodeDecodeError) as error:
        what = "it is empty" if path.stat().st_size == 0 else str(error)
        raise MarketDataError(f"{path}: no Feather file: {what}") from error


# every cell stays text here, so that a bad one can be named by its row
def _read_csv(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    header = _csv_header(path)
    short: list[Any] = []

    def remember(row: Any) -> str:
        short.append(row)
        return "skip"

    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False, column_names=header, skip_rows=1),
            parse_options=csv.ParseOptions(invalid_row_handler=remember),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise MarketDataError(f"{path}: no CSV file: {error}") from error
    if short:
        row = short[0]
        number = "" if row.number is None else f" {row.number - 1}"
        cells = f"{row.actual_columns} cells, the header has {row.expected_columns}"
        raise MarketDataError(f"{path}: row{number} has {cells}: {row.text[:80]!r}")
    return table


def _csv_header(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(65_536)
    if not line.strip():
        raise MarketDataError(f"{path}: it is empty")
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MarketDataError(f"{path}: line 1 is no UTF-8 text, so this is no CSV file") from error
    header = [name.strip().strip('"').lower() for name in text.rstrip("\r\n").split(",")]
    _check_columns(path, header, ": line 1 must be the header; it is " + repr(text.strip()[:80]))
    return header


def _check_columns(path: Path, names: list[str], found: str = "") -> str:
    time_column = next((name for name in TIME_COLUMNS if name in names), None)
    missing = [name for name in PRICE_COLUMNS if names.count(name) != 1]
    if time_column is None:
        missing.insert(0, " or ".join(TIME_COLUMNS))
    if missing or time_column is None:
        there = found or f"; its columns are {', '.join(names) or 'none'}"
        raise MarketDataError(f"{path}: needs exactly one column {', '.join(missing)}{there}")
    return time_column


# many a CSV file has a space after each comma
def _trimmed(column: Any) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    return compute.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column


# without a copy, and without to_numpy: that imports pandas wherever it is installed
def _plain(column: Any) -> Any:
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.from_dlpack(whole)


def _numbers(path: Path, name: str, column: Any) -> FloatArray:
    import pyarrow as pa

    def number(cell: str) -> float:
        return float(cell)

    try:
        numbers = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _bad_cell(path, name, column, number, "a number", error) from error
    if numbers.null_count:  # rare, and refused by the validation that follows
        return np.array([np.nan if value is None else value for value in numbers.to_pylist()])
    return np.array(_plain(numbers), np.float64)


def _times(path: Path, name: str, column: Any) -> IntArray:
    import pyarrow as pa

    if column.null_count:
        row = column.is_null().to_pylist().index(True) + 1
        raise MarketDataError(f"{path}: row {row}: {name} is missing")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        try:
            return _as_ns(column)
        except pa.ArrowInvalid as error:
            raise MarketDataError(f"{path}: column {name}: {error}") from error
    if pa.types.is_integer(column.type):
        return _epoch_to_ns(_plain(column.cast(pa.int64())))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _texts_to_ns(path, name, column)
    raise MarketDataError(f"{path}: column {name} holds {column.type}, not times")


# texts: whole numbers since the epoch, or ISO 8601 with or without an offset (UTC without)
def _texts_to_ns(path: Path, name: str, column: Any) -> IntArray:
    import pyarrow as pa

    try:
        return _epoch_to_ns(_plain(column.cast(pa.int64())))
    except pa.ArrowInvalid:
        pass
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            return _as_ns(column.cast(kind))
        except pa.ArrowInvalid:
            continue
    try:
        return np.array([parse_utc(text) for text in column.to_pylist()], np.int64)
    except ValueError as error:
        wanted = "an ISO 8601 time or a time since the epoch"
        raise _bad_cell(path, name, column, _time_of_any_kind, wanted, error) from error


# which cell is no time at all; where each is one, some are of another kind than the rest
def _time_of_any_kind(cell: str) -> int:
    return int(cell) if cell.strip().isdecimal() else parse_utc(cell)


def _as_ns(column: Any) -> IntArray:
    import pyarrow as pa

    zone = getattr(column.type, "tz", None)
    return np.array(_plain(column.cast(pa.timestamp("ns", tz=zone)).cast(pa.int64())), np.int64)


# one unit for the whole column, chosen by its largest value: a single cell can not change its meaning
def _epoch_to_ns(values: IntArray) -> IntArray:
    largest = int(np.abs(values).max()) if len(values) else 0
    unit_ns = next(unit for limit, unit in _EPOCH_UNITS if largest < limit)
    return np.array(values * unit_ns, np.int64)


def _bad_cell(
    path: Path, name: str, column: Any, read: Callable[[str], object], wanted: str, error: Exception
) -> MarketDataError:
    for row, cell in enumerate(column.to_pylist(), 1):
        try:
            read(str(cell))
        except ValueError:
            return MarketDataError(f"{path}: row {row}: {name} is {cell!r}, not {wanted}")
    return MarketDataError(f"{path}: column {name}: {error}")
