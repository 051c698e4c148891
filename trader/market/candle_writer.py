"""Candle files written: Feather in freqtrade's layout, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from trader.domain.market import Candles
from trader.errors import MarketDataError
from trader.market.spans import Span, joined
from trader.units import timeframe_ns

#: where a file keeps which spans of time its venue was asked for: a hole inside one is the venue's, not ours
ASKED = b"trader.asked_ns"


def write_candle_file(path: Path, candles: Candles, asked: Sequence[Span] = ()) -> None:
    """Write candles to a Feather file in one step: a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : Path
        Ends in .feather; replaced if it exists.
    candles : Candles
        Oldest first.
    asked : sequence of Span
        What the venue was asked for; kept in the file for `asked_spans`.

    Raises
    ------
    MarketDataError
        When the file can't be written (disk full, no permission); the old one is untouched then.
    """
    try:
        _replace(path, candles, asked)
    except OSError as error:
        raise MarketDataError(f"{path}: can not be written: {error.strerror or error}") from error


def asked_spans(path: Path, candles: Candles) -> list[Span]:
    """Return what the venue was asked for to make a file.

    Parameters
    ----------
    path : Path
        A Feather file.
    candles : Candles
        What is in it. Without a note (a file of another program) all from the first to the last counts as asked for.
    """
    import pyarrow as pa

    length_ns = timeframe_ns(candles.timeframe)
    held = [(int(candles.open_ns[0]), int(candles.open_ns[-1]) + length_ns)] if len(candles) else []
    try:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
            note = (reader.schema.metadata or {}).get(ASKED)
        return joined([(int(start_ns), int(end_ns)) for start_ns, end_ns in json.loads(note)] if note else held)
    except (pa.ArrowException, ValueError, TypeError):
        return held


def _replace(path: Path, candles: Candles, asked: Sequence[Span]) -> None:
    import pyarrow as pa
    from pyarrow import feather

    columns = {name: pa.array(getattr(candles, name)) for name in ("open", "high", "low", "close", "volume")}
    date = pa.array(candles.open_ns // 1_000_000).cast(pa.timestamp("ms", tz="UTC"))
    table = pa.table({"date": date, **columns})
    if asked:
        table = table.replace_schema_metadata({ASKED: json.dumps(joined(asked)).encode()})
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    made = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            feather.write_feather(table, file, compression="lz4")
            file.flush()
            os.fsync(file.fileno())
        made.chmod(0o644)  # candles are no secret, and mkstemp makes them one
        made.replace(path)
    except BaseException:
        with suppress(OSError):
            made.unlink()
        raise


def merge_candles(first: Candles, second: Candles) -> Candles:
    """Return the candles of both, oldest first and each once; where both have one, the second's counts.

    Parameters
    ----------
    first, second : Candles
        Of one symbol and timeframe.
    """
    names = ("open_ns", "open", "high", "low", "close", "volume")
    joined = [np.concatenate((getattr(second, name), getattr(first, name))) for name in names]
    _, chosen = np.unique(joined[0], return_index=True)
    return Candles(first.symbol, first.timeframe, *(np.ascontiguousarray(column[chosen]) for column in joined))


def gaps_of(candles: Candles, length_ns: int) -> list[tuple[int, int]]:
    """Return the holes between candles as first missing open and end [ns UTC].

    Parameters
    ----------
    candles : Candles
        Oldest first.
    length_ns : int
        Length of a candle [ns].
    """
    steps = np.diff(candles.open_ns)
    found = np.flatnonzero(steps > length_ns)
    return [(int(candles.open_ns[i]) + length_ns, int(candles.open_ns[i + 1])) for i in found]
