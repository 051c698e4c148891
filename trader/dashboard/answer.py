"""Bytes ready to be sent: a document encoded once, its tag, its packed form made when somebody takes it; and CSV."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

#: below this, packing saves nothing [bytes]
PACK_FROM_BYTES = 1024
#: what a spreadsheet would take for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Document = dict[str, Any]


class Encoded:
    """A document's bytes, the same for everybody who asks.

    Parameters
    ----------
    body : bytes
        The document.
    kind : str
        Its content type.
    etag : str, optional
        Its tag; made of the bytes by default.
    """

    __slots__ = ("_packed", "body", "etag", "kind", "name")

    def __init__(self, body: bytes, kind: str = "application/json; charset=UTF-8", etag: str = "") -> None:
        self.body = body
        self.kind = kind
        self.etag = etag or f'"{zlib.crc32(body):08x}-{len(body):x}"'
        self.name: str | None = None  #: under which a browser saves it
        self._packed: bytes | None = None

    @property
    def packed(self) -> bytes:
        """The bytes in gzip's form."""
        if self._packed is None:
            self._packed = gzip.compress(self.body, 5, mtime=0)
        return self._packed


def encode(document: Any) -> bytes:
    """Return a document as JSON; NaN and infinity become null."""
    return orjson.dumps(document)


def as_csv(name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Encoded:
    """Return rows as a file for a spreadsheet.

    Parameters
    ----------
    name : str
        The file's name without its suffix.
    rows : sequence of mapping
        What a JSON answer would hold; nested values become JSON texts.
    columns : sequence of str
        Members of each row, in this order.

    Returns
    -------
    Encoded
        RFC 4180, UTF-8; a text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    encoded = Encoded(file.getvalue().encode(), "text/csv; charset=UTF-8")
    encoded.name = f"{name}.csv"
    return encoded


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(value).decode()
    return "" if value is None else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
