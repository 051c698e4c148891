"""What commands print: one JSON document, or aligned plain text."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

Row = Mapping[str, Any]

_FIGURE = re.compile(r"-|[+-]?[0-9][0-9,]*(\.[0-9]+)?( %| s)?")


def emit(document: Any, text: str, *, as_json: bool) -> None:
    """Print a result: the document with --json, else the text.

    Parameters
    ----------
    document : object
        Plain values; NaN and infinity become null, decimals numbers.
    text : str
        The same for people.
    as_json : bool
        What was asked for.
    """
    if as_json:
        text = json.dumps(plain_values(document), indent=2, allow_nan=False, ensure_ascii=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain_values(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_values(item) for item in value]
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)


def table(rows: Sequence[Row], columns: Mapping[str, str], empty: str) -> str:
    """Return rows as aligned text.

    Parameters
    ----------
    rows : sequence of mapping
        One per line.
    columns : mapping of str to str
        Heading by key, in their order; columns of figures are aligned to the right.
    empty : str
        What to say when there is no row.

    Returns
    -------
    str
        Headings and lines, or `empty`.
    """
    if not rows:
        return empty
    cells = [[text(row.get(key)) for key in columns] for row in rows]
    right = [all(_is_figure(line[index]) for line in cells) for index in range(len(columns))]
    lines = [list(columns.values()), *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(_line(line, widths, right) for line in lines)


def pairs(items: Sequence[tuple[str, Any]]) -> str:
    """Return names and values as two aligned columns; None is left out."""
    shown = [(name, text(value)) for name, value in items if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown)


def text(value: Any) -> str:
    """Return one value for people."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | Decimal):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value)) or "-"
    return str(value)


def number(value: float | Decimal) -> str:
    """Return a price or a quantity with as many digits as it needs, at most ten."""
    if not math.isfinite(value):
        return "-"
    shown = f"{value:.10g}"
    return f"{float(value):.10f}".rstrip("0").rstrip(".") if "e-" in shown else shown


def money(value: float | Decimal | None, currency: str = "") -> str:
    """Return an amount with two decimals and its currency."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.2f} {currency}".rstrip()


def percent(fraction: float | None) -> str:
    """Return a fraction as percent, for people."""
    return "-" if fraction is None or not math.isfinite(fraction) else f"{fraction:.2%}".replace("%", " %")


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, below, inner in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {inner}"
    return f"{whole} s"


def warn(message: str) -> None:
    """Say something beside the result."""
    sys.stderr.write(f"trader: {message}\n")


def _is_figure(cell: str) -> bool:
    # amounts come formatted; what begins with a digit but is a time, a date or a word is none
    return _FIGURE.fullmatch(cell) is not None


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    aligned = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return "  ".join(aligned).rstrip()
