// Charts by plotly.js, which is loaded when the first numbers are there: a page never waits for it.
import { byId, text } from "./dom.js";
import { money, percent, signedMoney as signed, words } from "./format.js";

const MOST_POINTS = 4000;
const SHOWN_POINTS = 1500;
const CANDLES = 400;
const DAY_S = 86400;
const EMPTY = {
  equity: "The curve begins with the first closed candle.",
  candles: "No candles to show for this symbol: they come with the market's first candle, or from the files of market.candles.",
  days: "No position was closed in this range: each UTC day with one gets a bar.",
  symbols: "No position was closed in this range: each symbol with one gets a bar.",
};
const LABELS = { equity: "Equity and drawdown", candles: "Candles", days: "Profit by UTC day", symbols: "Profit by symbol" };

let loading = null;
// One script element for as long as the page lives; a failed load is tried again with the next drawing.
function plotly() {
  if (globalThis.Plotly) return Promise.resolve(globalThis.Plotly);
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.plotly;
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => { script.remove(); loading = null; reject(new Error("plotly")); };
    document.head.append(script);
  });
  return loading;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { line: of("--accent"), grid: of("--line"), ink: of("--text"), muted: of("--muted"), gain: of("--gain"), loss: of("--loss"), warn: of("--warn"), raised: of("--raised"), font: style.fontFamily };
}

const iso = (ms) => new Date(ms).toISOString().slice(0, 23);
const faded = (colour, share) => `${colour}${Math.round(share * 255).toString(16).padStart(2, "0")}`;

export class Charts {
  constructor() {
    this.host = byId("chart");
    this.empty = byId("chart-empty");
    this.kind = "equity";
    this.rangeS = 0;
    this.points = [];
    this.baseline = null;
    this.symbol = "";
    this.strategiesOpen = "";
    this.request = 0;
    this.drawnAt = 0;
    this.queued = 0;
    this.marketMs = 0;
    this.data = { candles: null, days: null, symbols: null };
    new ResizeObserver(() => { if (globalThis.Plotly && this.host.data) globalThis.Plotly.Plots.resize(this.host); }).observe(this.host);
  }

  replace(points) {
    this.points = points.slice(-MOST_POINTS);
    if (this.kind === "equity") this.redraw();
  }

  append(points) {
    const last = this.points.length ? this.points[this.points.length - 1][0] : -Infinity;
    const fresh = points.filter((point) => point[0] > last);
    if (!fresh.length) return;
    this.points.push(...fresh);
    if (this.points.length > MOST_POINTS) {
      // the older half gives up every second point: the shape stays, memory doesn't grow
      const half = this.points.length >> 1;
      this.points = this.points.filter((_, index) => index >= half || index % 2 === 0);
    }
    if (this.kind === "equity") this.redraw();
  }

  setSymbols(names) {
    const select = byId("chart-symbol");
    if (select.options.length === names.length && names.every((name, index) => select.options[index].value === name)) return;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (!names.includes(this.symbol)) [this.symbol = ""] = names;
    select.value = this.symbol;
  }

  async show(kind, rangeS = this.rangeS) {
    this.kind = kind;
    this.rangeS = rangeS;
    byId("chart-symbol-field").hidden = kind !== "candles";
    byId("chart-panel").setAttribute("aria-labelledby", `tab-${kind}`);
    await this.load();
  }

  // What a range needs comes thinned from the server; the newest of the equity curve is pushed.
  async load() {
    const began = performance.now();
    const request = ++this.request;
    delete this.host.dataset.took;
    const since = this.rangeS && this.marketMs ? Math.max(0, this.marketMs - this.rangeS * 1000) : 0;
    const paths = {
      equity: `/api/equity?points=${SHOWN_POINTS}&since_ms=${since}`,
      candles: `/api/candles?symbol=${encodeURIComponent(this.symbol)}&points=${CANDLES}&since_ms=${since}`,
      days: `/api/profit?since_ms=${since}`,
      symbols: `/api/profit?since_ms=${since}`,
    };
    if (this.kind === "candles" && !this.symbol) { this.say(); return; }
    try {
      const response = await fetch(paths[this.kind]);
      if (!response.ok || request !== this.request) return;
      const found = await response.json();
      if (request !== this.request) return;
      if (this.kind === "equity") this.points = found.points;
      else this.data[this.kind] = found;
      this.loadedAt = Date.now();
    } catch { /* the link says that the server is away */ }
    await this.draw();
    if (request === this.request) this.host.dataset.took = (performance.now() - began).toFixed(0);
  }

  // Called with each frame: what is not pushed is asked for again now and then, while it is looked at.
  follow(marketMs) {
    this.marketMs = marketMs ?? this.marketMs;
    const every = this.kind === "equity" ? 60000 : 5000;
    if (document.hidden || Date.now() - (this.loadedAt ?? 0) < every) return;
    this.loadedAt = Date.now();
    this.load();
  }

  redraw() {
    clearTimeout(this.queued);
    const wait = Math.max(0, 900 - (Date.now() - this.drawnAt));
    this.queued = setTimeout(() => { if (!document.hidden) this.draw(); }, wait);
  }

  async draw() {
    this.drawnAt = Date.now();
    const build = { equity: () => this.equity(), candles: () => this.candles(), days: () => this.days(), symbols: () => this.bySymbol() }[this.kind];
    const figure = build();
    this.say(figure);
    if (!figure) { if (globalThis.Plotly && this.host.data) globalThis.Plotly.purge(this.host); return; }
    try {
      const library = await plotly();
      await library.react(this.host, figure.traces, figure.layout, { displayModeBar: false, responsive: false, showTips: false, doubleClick: "reset" });
      this.host.dataset.drawn = this.kind;
    } catch { text(this.empty, "The chart library did not load; trying again with the next numbers."); this.empty.hidden = false; }
  }

  say(figure) {
    this.empty.hidden = Boolean(figure);
    text(this.empty, EMPTY[this.kind]);
    this.host.setAttribute("aria-label", figure ? figure.summary : `${LABELS[this.kind]}: ${EMPTY[this.kind]}`);
  }

  layout(extra) {
    const c = colours();
    const axis = { gridcolor: c.grid, zerolinecolor: c.grid, linecolor: c.grid, tickfont: { color: c.muted, size: 12 }, automargin: true };
    const { xaxis, yaxis, yaxis2, ...rest } = extra;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 12, r: 12, t: 8, b: 8 }, showlegend: false,
      font: { family: c.font, size: 12, color: c.ink }, hovermode: "x unified", dragmode: "zoom", autosize: true,
      hoverlabel: { bgcolor: c.raised, bordercolor: c.grid, font: { color: c.ink, size: 12 } },
      uirevision: `${this.kind}-${this.symbol}-${this.rangeS}`,
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, side: "right", ...yaxis }, ...(yaxis2 ? { yaxis2: { ...axis, side: "right", ...yaxis2 } } : {}), ...rest,
    };
  }

  visible() {
    if (!this.rangeS || !this.points.length) return this.points;
    const from = this.points[this.points.length - 1][0] - this.rangeS * 1000;
    return this.points.filter((point) => point[0] >= from);
  }

  equity() {
    const points = this.visible();
    if (points.length < 2) return null;
    const c = colours();
    const times = points.map((point) => iso(point[0]));
    const [low, high] = points.reduce(([l, h], point) => [Math.min(l, point[1]), Math.max(h, point[1])], [Infinity, -Infinity]);
    const deepest = points.reduce((most, point) => Math.max(most, point[2]), 0);
    const pad = Math.max((high - low) * 0.06, Math.abs(high) * 1e-5);
    const last = points[points.length - 1];
    const base = this.baseline !== null && this.baseline > low - (high - low) && this.baseline < high + (high - low) ? this.baseline : null;
    return {
      summary: `Equity from ${times[0].slice(0, 16)} to ${times[times.length - 1].slice(0, 16)} UTC: ${money(points[0][1])} to ${money(last[1])}, deepest drawdown ${percent(deepest)}`,
      traces: [
        { x: times, y: points.map((p) => p[1]), name: "equity", type: "scatter", mode: "lines", line: { color: c.line, width: 1.7 }, hovertemplate: "%{y:,.2f}<extra>equity</extra>" },
        { x: times, y: points.map((p) => -p[2]), name: "drawdown", yaxis: "y2", type: "scatter", mode: "lines", fill: "tozeroy", fillcolor: faded(c.loss, 0.28), line: { color: c.loss, width: 1 }, hovertemplate: "%{y:.2%}<extra>drawdown</extra>" },
      ],
      layout: this.layout({
        xaxis: { type: "date", anchor: "y2", hoverformat: "%Y-%m-%d %H:%M:%S UTC" },
        yaxis: { domain: [0.27, 1], tickformat: ",", range: [Math.min(low, base ?? low) - pad, Math.max(high, base ?? high) + pad] },
        yaxis2: { domain: [0, 0.22], tickformat: ".1%", rangemode: "tozero", nticks: 3 },
        shapes: base === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: base, y1: base, line: { color: c.muted, width: 1, dash: "dot" } }],
      }),
    };
  }

  candles() {
    const d = this.data.candles;
    if (!d || !d.candles.length || d.symbol !== this.symbol) return null;
    const c = colours();
    const columns = [0, 1, 2, 3, 4].map((index) => d.candles.map((row) => (index ? row[index] : iso(row[0]))));
    const first = d.candles[0][0];
    const end = d.candles[d.candles.length - 1][0] + d.step_s * 1000;
    const last = d.candles[d.candles.length - 1];
    const span = (mark) => [iso(Math.max(mark.entry_ms, first)), iso(mark.exit_ms ?? end)];
    const level = (key, name, colour) => {
      const [x, y] = [[], []];
      for (const mark of d.marks) if (mark[key] !== null) { x.push(...span(mark), null); y.push(mark[key], mark[key], null); }
      return { x, y, name, type: "scatter", mode: "lines", line: { color: colour, width: 1.2, dash: "dot" }, connectgaps: false, hovertemplate: `%{y}<extra>${name}</extra>` };
    };
    const closed = d.marks.filter((mark) => mark.exit_ms !== null);
    const entries = d.marks.filter((mark) => mark.entry_ms >= first);
    return {
      summary: `Candles of ${d.symbol}, ${d.candles.length} of ${span({ entry_ms: first, exit_ms: end }).map((t) => t.slice(0, 16)).join(" to ")} UTC, last close ${last[4]}; ${entries.length} entries, ${closed.length} exits`,
      traces: [
        { x: columns[0], open: columns[1], high: columns[2], low: columns[3], close: columns[4], name: d.symbol, type: "candlestick", increasing: { line: { color: c.gain, width: 1 } }, decreasing: { line: { color: c.loss, width: 1 } } },
        level("stop_price", "stop", c.loss), level("target_price", "target", c.gain), level("trailing_price", "trailing stop", c.warn),
        { x: entries.map((m) => iso(m.entry_ms)), y: entries.map((m) => m.entry_price), name: "entry", type: "scatter", mode: "markers", marker: { color: c.line, size: 10, symbol: entries.map((m) => (m.side === "long" ? "triangle-up" : "triangle-down")), line: { color: c.ink, width: 1 } }, text: entries.map((m) => m.side), hovertemplate: "%{text} at %{y}<extra>entry</extra>" },
        { x: closed.map((m) => iso(m.exit_ms)), y: closed.map((m) => m.exit_price), name: "exit", type: "scatter", mode: "markers", marker: { color: closed.map((m) => (m.pnl > 0 ? c.gain : c.loss)), size: 9, symbol: "x", line: { color: c.ink, width: 0.5 } }, text: closed.map((m) => `${words(m.reason)}, ${signed(m.pnl)}`), hovertemplate: "%{text}<extra>exit at %{y}</extra>" },
      ],
      layout: this.layout({ xaxis: { type: "date", rangeslider: { visible: false }, range: [iso(first), iso(end)], hoverformat: "%Y-%m-%d %H:%M UTC" }, yaxis: { tickformat: ",", fixedrange: false } }),
    };
  }

  days() {
    const rows = this.data.days?.days ?? [];
    if (!rows.length) return null;
    const c = colours();
    const width = DAY_S * 800;
    return {
      summary: `Profit of ${rows.length} UTC days, ${rows[0].day} to ${rows[rows.length - 1].day}: ${rows.filter((row) => row.pnl > 0).length} with a gain, ${signed(rows.reduce((sum, row) => sum + row.pnl, 0))} in all`,
      traces: [{ x: rows.map((row) => row.day), y: rows.map((row) => row.pnl), width: rows.map(() => width), type: "bar", marker: { color: rows.map((row) => (row.pnl < 0 ? c.loss : c.gain)) }, text: rows.map((row) => `${row.trades} round trips, ${row.wins} won`), textposition: "none", hovertemplate: "%{y:,.2f}<br>%{text}<extra></extra>" }],
      layout: this.layout({ xaxis: { type: "date", hoverformat: "%Y-%m-%d UTC" }, yaxis: { tickformat: "," }, bargap: 0.2 }),
    };
  }

  bySymbol() {
    const rows = [...(this.data.symbols?.symbols ?? [])].sort((a, b) => a.pnl - b.pnl);
    if (!rows.length) return null;
    const c = colours();
    return {
      summary: `Profit by symbol: ${rows.map((row) => `${row.symbol} ${signed(row.pnl)}`).reverse().join(", ")}`,
      traces: [{ x: rows.map((row) => row.pnl), y: rows.map((row) => row.symbol), orientation: "h", type: "bar", marker: { color: rows.map((row) => (row.pnl < 0 ? c.loss : c.gain)) }, text: rows.map((row) => `${row.trades} round trips, ${row.wins} won, fees ${money(row.fees)}`), textposition: "none", hovertemplate: "%{x:,.2f}<br>%{text}<extra></extra>" }],
      layout: this.layout({ xaxis: { tickformat: "," }, yaxis: { side: "left", type: "category" }, hovermode: "closest", bargap: 0.35 }),
    };
  }
}
