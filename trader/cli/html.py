"""The report as one page that stands alone: no script, no other host, readable in ten years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trader.cli.output import Row, money, text

_STYLE = """
:root { color-scheme: dark light; --ink: #d8dee9; --dim: #8892a2; --back: #12161c; --line: #2a313c; --mark: #5aa9e6; }
@media (prefers-color-scheme: light) {
  :root { --ink: #1c2430; --dim: #5b6675; --back: #ffffff; --line: #d9dee6; --mark: #1f6fb2; }
}
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: var(--ink); background: var(--back);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; color: var(--dim); }
pre { font: 13px/1.6 ui-monospace, monospace; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--dim); font-weight: 500; } td.figure, th.figure { text-align: right; }
.wide { overflow-x: auto; } svg { width: 100%; height: auto; }
polyline { fill: none; stroke: var(--mark); stroke-width: 1.5; } line { stroke: var(--line); }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
"""
_WIDTH, _HEIGHT = 900, 220


def page(
    title: str,
    summary: str,
    curve: Sequence[float],
    tables: Sequence[tuple[str, Sequence[Row], Row]],
    curve_words: str = "Result after each round trip",
) -> str:
    """Return a report as HTML.

    Parameters
    ----------
    title : str
        Heading.
    summary : str
        Aligned text.
    curve : sequence of float
        Equity, or the result after each round trip, added up [quote].
    tables : sequence of (str, rows, columns)
        Heading, rows, and headings by key.
    curve_words : str
        What the curve shows.

    Returns
    -------
    str
        The page.
    """
    parts = [f"<h1>{escape(title)}</h1>", f"<pre>{escape(summary)}</pre>"]
    if len(curve) > 1:
        parts += [f"<h2>{escape(curve_words)}</h2>", _chart(curve)]
    for heading, rows, columns in tables:
        if rows:
            parts += [f"<h2>{escape(heading)}</h2>", _table(rows, columns)]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _table(rows: Sequence[Row], columns: Mapping[str, Any]) -> str:
    figures = {key: all(_is_figure(row.get(key)) for row in rows) for key in columns}
    kinds = {key: ' class="figure"' if figure else "" for key, figure in figures.items()}
    head = "".join(f"<th{kinds[key]}>{escape(str(name))}</th>" for key, name in columns.items())
    body = "\n".join(
        "<tr>" + "".join(f"<td{kinds[key]}>{escape(text(row.get(key)))}</td>" for key in columns) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _is_figure(value: Any) -> bool:
    return text(value).strip("-+% s").replace(",", "").replace(".", "", 1).isdigit()


def _chart(curve: Sequence[float]) -> str:
    lowest, highest = min(curve), max(curve)
    if lowest < (highest - lowest) * 2:  # a result: 0 belongs into the picture
        lowest, highest = min(0.0, lowest), max(0.0, highest)
    span = (highest - lowest) or 1.0

    def height(value: float) -> float:
        return 10 + (highest - value) / span * (_HEIGHT - 20)

    step = _WIDTH / (len(curve) - 1)
    points = " ".join(f"{index * step:.1f},{height(value):.1f}" for index, value in enumerate(curve))
    base = 0.0 if lowest <= 0.0 else curve[0]
    zero = f'<line x1="0" x2="{_WIDTH}" y1="{height(base):.1f}" y2="{height(base):.1f}"/>'
    labels = (
        f'<text x="4" y="10">{escape(money(highest))}</text><text x="4" y="{_HEIGHT}">{escape(money(lowest))}</text>'
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 4}" role="img">{zero}<polyline points="{points}"/>{labels}</svg>'
