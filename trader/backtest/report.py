"""A backtest as one HTML page that stands alone: charts one can zoom into, and no request to anywhere.

plotly.min.js comes from the installed package and is put into the page; plotly's Python code is not imported.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from trader.backtest.history import History
from trader.backtest.result import BacktestResult, Trade, monthly, thinned
from trader.clock import NS_PER_S, format_utc
from trader.domain.market import FloatArray, IntArray
from trader.domain.metrics import Curve, daily_equity, simple_returns
from trader.errors import TraderError

#: points of a curve, and candles of a chart, at most: more than a screen has columns
_POINTS = 4000
_CANDLES = 1500
#: trades that the table shows; the CSV has them all
_TRADES = 500

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year")

_STYLE = """
:root { color-scheme: dark light; --ink: #d8dee9; --dim: #8892a2; --back: #12161c; --line: #2a313c; --good: #4fb286;
        --bad: #e0626b; }
@media (prefers-color-scheme: light) { :root { --ink: #1c2430; --dim: #5b6675; --back: #fff; --line: #d9dee6; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: var(--ink); background: var(--back);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1rem; margin: 2.2rem 0 .5rem; }
p, th, dt { color: var(--dim); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .8rem 1.2rem; }
dt { font-size: .8rem; } dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; text-align: left; }
td.n, th.n { text-align: right; } td.good { color: var(--good); } td.bad { color: var(--bad); }
.chart { height: 22rem; } .chart.small { height: 15rem; } details { margin: .5rem 0; } summary { cursor: pointer; }
"""

_SCRIPT = """
const ink = getComputedStyle(document.documentElement).getPropertyValue('--ink');
const line = getComputedStyle(document.documentElement).getPropertyValue('--line');
const layout = extra => Object.assign({
  margin: {l: 60, r: 20, t: 10, b: 40}, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
  font: {color: ink}, modebar: {bgcolor: 'rgba(0,0,0,0)'},
  xaxis: {gridcolor: line, rangeslider: {visible: false}}, yaxis: {gridcolor: line},
  legend: {orientation: 'h', y: 1.1}}, extra || {});
const draw = element => {
  if (element.dataset.drawn) return;
  element.dataset.drawn = '1';
  const figure = DATA[element.id];
  Plotly.newPlot(element, figure.data, layout(figure.layout), {responsive: true, displaylogo: false});
};
document.querySelectorAll('.chart').forEach(element => {
  const box = element.closest('details');
  if (!box || box.open) draw(element);  // a box that is open from the start has told so before anyone listened
});
document.querySelectorAll('details').forEach(box => box.addEventListener('toggle', () => {
  if (box.open) box.querySelectorAll('.chart').forEach(draw);
}));
"""

_FIGURES = (
    ("Final equity", "final_equity", "money"),
    ("Return", "total_return_frac", "percent"),
    ("A year (CAGR)", "cagr_frac", "percent"),
    ("Deviation, a year", "volatility_frac", "percent"),
    ("Sharpe", "sharpe", "figure"),
    ("Sortino", "sortino", "figure"),
    ("Calmar", "calmar", "figure"),
    ("Worst drawdown", "max_drawdown_frac", "percent"),
    ("at midnights", "max_drawdown_daily_frac", "percent"),
    ("Trades", "trades", "count"),
    ("Won", "win_rate_frac", "percent"),
    ("Profit factor", "profit_factor", "figure"),
    ("Expectancy", "expectancy", "money"),
    ("SQN", "sqn", "figure"),
    ("Time in the market", "exposure_time_frac", "percent"),
    ("Turnover", "turnover", "figure"),
    ("Fees", "fees", "money"),
    ("Days", "days", "figure"),
)


def page(result: BacktestResult, history: History) -> str:
    """Return the page.

    Parameters
    ----------
    result : BacktestResult
        What is shown.
    history : History
        The candles that it was made on.

    Raises
    ------
    TraderError
        When plotly is not installed.
    """
    figures = _charts(result, history)
    return stand_alone(_title(result), [_head(result), *_chart_parts(figures), *_tables(result)], figures)


def stand_alone(title: str, parts: Sequence[str], figures: Mapping[str, Any]) -> str:
    """Return a page with charts that needs no other file.

    Parameters
    ----------
    title : str
        What a browser's tab shows.
    parts : sequence of str
        HTML; a chart is `<div class="chart" id="NAME">`.
    figures : mapping
        Plotly's data and layout by NAME.
    """
    data = json.dumps(figures, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>{plotly_script()}</script>\n<script>const DATA = {data};\n{_SCRIPT}</script>\n</body></html>\n"
    )


def plotly_script() -> str:
    """Return plotly.min.js of the installed package, without importing its Python code."""
    found = importlib.util.find_spec("plotly")
    path = Path(found.origin).parent / "package_data" / "plotly.min.js" if found and found.origin else None
    if path is None or not path.is_file():
        raise TraderError("plotly is not installed, or has no plotly.min.js: the page needs it for its charts")
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


# ----------------------------------------------------------------------------------------- charts


def _charts(result: BacktestResult, history: History) -> dict[str, dict[str, Any]]:
    times, equity = thinned(result.curve, _POINTS)
    held_times, held = thinned(result.baseline.curve, _POINTS)
    charts = {
        "equity": {
            "data": [_line("equity", times, equity), _line("buy and hold", held_times, held, dash="dot")],
            "layout": {"yaxis": {"title": result.config.quote}},
        },
        "drawdown": {
            "data": [_line("drawdown", times, -_drawdown(result.curve, equity), fill="tozeroy", color="#e0626b")],
            "layout": {"yaxis": {"tickformat": ".1%"}},
        },
        "returns": _distribution(simple_returns(daily_equity(result.curve)[1]), "days", ".1%"),
        "results": _distribution(np.array([trade.pnl for trade in result.trades]), "trades", ",.0f"),
    }
    if result.denials:
        charts["denials"] = _denials(result.denials, result.symbols)
    for slot, symbol in enumerate(result.symbols):
        charts[f"candles-{slot}"] = _candles(
            history, slot, [trade for trade in result.trades if trade.symbol == symbol]
        )
    return charts


def _line(name: str, times: IntArray, values: FloatArray, **more: str) -> dict[str, Any]:
    style = {"width": 1.5, "dash": more.get("dash", "solid")} | ({"color": more["color"]} if "color" in more else {})
    trace = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": _stamps(times),
        "y": _numbers(values),
        "line": style,
    }
    return trace | ({"fill": more["fill"]} if "fill" in more else {})


def _drawdown(curve: Curve, equity: FloatArray) -> FloatArray:
    peak = np.maximum(np.maximum.accumulate(equity), curve.initial)
    fallen: FloatArray = 1.0 - equity / peak
    return fallen


def _distribution(values: FloatArray, what: str, shape: str) -> dict[str, Any]:
    trace = {"type": "histogram", "x": _numbers(values), "nbinsx": 60, "name": what}
    return {"data": [trace], "layout": {"yaxis": {"title": what}, "xaxis": {"tickformat": shape}, "bargap": 0.05}}


def _denials(denials: Mapping[str, Mapping[str, int]], symbols: Sequence[str]) -> dict[str, Any]:
    limits = sorted(denials, key=lambda limit: sum(denials[limit].values()))
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": symbol,
            "y": [limit.replace("_", " ") for limit in limits],
            "x": [denials[limit].get(symbol, 0) for limit in limits],
        }
        for symbol in symbols
    ]
    return {"data": bars, "layout": {"barmode": "stack", "margin": {"l": 140, "r": 20, "t": 10, "b": 40}}}


def _candles(history: History, slot: int, trades: Sequence[Trade]) -> dict[str, Any]:
    """Return a symbol's candles, put together where there are too many, with its trades on them."""
    candles = history.candles(slot)
    inside = int(np.searchsorted(candles.open_ns, history.start_ns))
    count = len(candles) - inside
    edges = np.unique(np.linspace(inside, len(candles), min(count, _CANDLES) + 1, dtype=np.int64))
    first, last = edges[:-1], edges[1:] - 1
    trace = {
        "type": "candlestick",
        "name": history.symbols[slot],
        "x": _stamps(candles.open_ns[first]),
        "open": _numbers(candles.open[first]),
        "high": _numbers(np.maximum.reduceat(candles.high[: edges[-1]], first)),
        "low": _numbers(np.minimum.reduceat(candles.low[: edges[-1]], first)),
        "close": _numbers(candles.close[last]),
    }
    entry = _marks("entry", trades, "entry", "triangle-up", "#5aa9e6")
    won = _marks("exit, won", [trade for trade in trades if trade.pnl > 0], "exit", "circle", "#4fb286")
    lost = _marks("exit, lost", [trade for trade in trades if trade.pnl <= 0], "exit", "x", "#e0626b")
    return {"data": [trace, entry, won, lost], "layout": {}}


def _marks(name: str, trades: Sequence[Trade], which: str, symbol: str, color: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [format_utc(getattr(trade, f"{which}_ns")) for trade in trades],
        "y": [getattr(trade, f"{which}_price") for trade in trades],
        "text": [f"{trade.side} {trade.strategy}: {trade.exit_reason}, {trade.pnl:+.2f}" for trade in trades],
        "marker": {"symbol": symbol, "color": color, "size": 9, "line": {"width": 1, "color": "#12161c"}},
    }


def _stamps(times: IntArray) -> list[str]:
    return [str(stamp) + "Z" for stamp in times.astype("datetime64[ns]").astype("datetime64[s]")]


def _numbers(values: FloatArray) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


# ------------------------------------------------------------------------------------------- text


def _title(result: BacktestResult) -> str:
    return f"backtest: {', '.join(one.use for one in result.config.strategies)}"


def _head(result: BacktestResult) -> str:
    figures = asdict(result.metrics)
    cells = [f"<div><dt>{escape(name)}</dt><dd>{_shown(figures[key], kind)}</dd></div>" for name, key, kind in _FIGURES]
    cells.append(f"<div><dt>Buy and hold</dt><dd>{_shown(result.baseline.total_return_frac, 'percent')}</dd></div>")
    about = (
        f"{', '.join(result.symbols)}, {result.timeframe}, {format_utc(result.start_ns)}"
        f" to {format_utc(result.end_ns)}, {result.bars:,} candles; amounts in {result.config.quote}"
    )
    notes = [*result.notes]
    notes += [f"strategy {one.strategy} failed {one.failures} times: {one.failure}" for one in result.failures]
    if result.metrics.indicative:
        notes.append("annualised figures are indicative: there are less than 30 days")
    listed = "".join(f"<p>{escape(note)}</p>" for note in dict.fromkeys(notes))
    return f"<h1>{escape(_title(result))}</h1><p>{escape(about)}</p><dl>{''.join(cells)}</dl>{listed}"


def _chart_parts(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parts = [
        '<h2>Equity</h2><div class="chart" id="equity"></div>',
        '<h2>Drawdown</h2><div class="chart small" id="drawdown"></div>',
    ]
    boxes = [
        f"<details{' open' if index == 0 else ''}><summary>{escape(figure['data'][0]['name'])}</summary>"
        f'<div class="chart" id="{name}"></div></details>'
        for index, (name, figure) in enumerate((n, f) for n, f in figures.items() if n.startswith("candles-"))
    ]
    parts.append("<h2>Trades on the candles</h2>" + "".join(boxes))
    parts.append('<h2>Distribution of daily returns</h2><div class="chart small" id="returns"></div>')
    parts.append('<h2>Distribution of results</h2><div class="chart small" id="results"></div>')
    if "denials" in figures:
        parts.append('<h2>Entries refused, by limit</h2><div class="chart" id="denials"></div>')
    return parts


def _tables(result: BacktestResult) -> list[str]:
    parts = ["<h2>Months</h2>" + _months(result)]
    for title, groups in (
        ("Symbols", result.by_symbol),
        ("Strategies", result.by_strategy),
        ("Exits", result.by_reason),
    ):
        rows = [
            [
                one.name,
                _shown(one.trades, "count"),
                _shown(one.win_rate_frac, "percent"),
                _shown(one.pnl, "money"),
                _shown(one.fees, "money"),
                _shown(one.profit_factor, "figure"),
                _shown(one.best, "money"),
                _shown(one.worst, "money"),
            ]
            for one in groups
        ]
        head = [title, "trades", "won", "result", "fees", "profit factor", "best", "worst"]
        parts.append(f"<h2>{title}</h2>" + html_table(head, rows))
    if result.denials:
        rows = [
            [limit.replace("_", " "), f"{sum(by.values()):,}", *(f"{by.get(symbol, 0):,}" for symbol in result.symbols)]
            for limit, by in sorted(result.denials.items(), key=lambda item: -sum(item[1].values()))
        ]
        parts.append("<h2>Entries refused</h2>" + html_table(["limit", "all", *result.symbols], rows))
    shown = result.trades[-_TRADES:]
    title = f"Last {_TRADES} of {len(result.trades)} trades" if len(result.trades) > len(shown) else "Trades"
    head = ["closed", "symbol", "side", "strategy", "quantity", "entry", "exit", "result", "reason", "held"]
    parts.append(f"<h2>{title}</h2>" + html_table(head, [_trade(trade) for trade in shown]))
    return parts


def _trade(trade: Trade) -> list[str]:
    held_h = (trade.exit_ns - trade.entry_ns) / NS_PER_S / 3600
    return [
        format_utc(trade.exit_ns),
        trade.symbol,
        trade.side,
        trade.strategy,
        f"{trade.quantity:.10g}",
        f"{trade.entry_price:.10g}",
        f"{trade.exit_price:.10g}",
        f"{trade.pnl:,.2f}",
        trade.exit_reason,
        f"{held_h:.1f} h",
    ]


def _months(result: BacktestResult) -> str:
    by_year: dict[str, dict[int, float]] = {}
    whole: dict[str, float] = {}
    for month in monthly(result.curve):
        year, number = month.month.split("-")
        if month.return_frac is not None:
            by_year.setdefault(year, {})[int(number)] = month.return_frac
            whole[year] = (1.0 + whole.get(year, 0.0)) * (1.0 + month.return_frac) - 1.0
    head = "".join(f'<th class="n">{name}</th>' for name in _MONTHS)
    lines = []
    for year, months in by_year.items():
        values = [months.get(number) for number in range(1, 13)] + [whole[year]]
        cells = "".join(
            f'<td class="n {"" if value is None else "good" if value >= 0 else "bad"}">{_shown(value, "percent")}</td>'
            for value in values
        )
        lines.append(f"<tr><td>{year}</td>{cells}</tr>")
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; columns of figures are aligned to the right."""
    if not rows:
        return "<p>none</p>"
    figures = [all(row[at][:1] in "-+0123456789" and "T" not in row[at] for row in rows) for at in range(len(head))]
    kinds = [' class="n"' if figure else "" for figure in figures]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def _shown(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    shapes = {"money": "{:,.2f}", "percent": "{:.2%}", "figure": "{:.2f}", "count": "{:,.0f}"}
    return shapes[kind].format(value).replace("%", " %")
