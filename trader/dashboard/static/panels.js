// One function per panel: takes its part of the snapshot, writes it into the page.
import { attribute, byId, className, make, rowOf, text, two } from "./dom.js";
import {
  age, bytes, dateTime, dayTime, duration, local, loosePrice, money, number, percent, price, signedMoney, signedPercent, stepDigits, tone, words,
} from "./format.js";
import { DataTable } from "./tables.js";

function figure(id, noteId, value, note, classes = "") {
  text(byId(id), value);
  className(byId(id), `value ${classes}`.trim());
  text(byId(noteId), note);
}

export function showHero(account, quote) {
  if (!account) return;
  const a = account;
  figure("equity", "equity-note", money(a.equity), `${quote} · cash ${money(a.cash)} · from ${money(a.initial_capital)}`);
  figure("total-pnl", "total-note", signedMoney(a.total_pnl), `${signedPercent(a.total_pnl_frac)} · fees ${money(a.fees_paid)}`, tone(a.total_pnl));
  figure("daily-pnl", "daily-note", signedMoney(a.daily_pnl), `${signedPercent(a.daily_pnl_frac)} · UTC day`, tone(a.daily_pnl));
  figure("drawdown", "drawdown-note", percent(a.drawdown_frac), `worst ${percent(a.max_drawdown_frac)}`);
  const pending = a.pending_orders ? ` · ${a.pending_orders} in flight` : "";
  figure("open", "open-note", number(a.open_positions, 0), `unrealised ${signedMoney(a.unrealised_pnl)}${pending}`);
  figure("trades", "trades-note", number(a.round_trips, 0), a.day_trades === 1 ? "1 entry today" : `${number(a.day_trades, 0)} entries today`);
  figure("win", "win-note", percent(a.win_frac, 1), a.round_trips ? `${a.wins} won · ${a.losses} lost` : "no closed position yet");
}

// Losses that come near their limit are a warning; a full count only means: no further entry; and a position is
// sized up to its cap in the normal course of things.
const LOSSES = new Set(["daily_loss", "drawdown", "loss_streak"]);
const COUNTS = new Set(["open_positions", "daily_trades"]);

function levelOf(name, share) {
  if (LOSSES.has(name)) return share >= 0.999999 ? "bad" : share >= 0.7 ? "caution" : "";
  return COUNTS.has(name) && share >= 0.999999 ? "caution" : "";
}

function amount(value, limit) {
  if (limit.kind === "frac") return percent(value, limit.allowed < 0.1 ? 2 : 1);
  return number(value, 0);
}

export function showLimits(limits) {
  const holder = byId("limits");
  if (!limits || !limits.length) return;
  if (holder.childElementCount !== limits.length || !holder.firstElementChild.dataset.limit) {
    holder.replaceChildren(...limits.map((limit) => buildMeter(limit)));
  }
  limits.forEach((limit, index) => fillMeter(holder.children[index], limit));
}

function buildMeter(limit) {
  const meter = make("div", "meter");
  meter.dataset.limit = limit.name;
  const line = make("div", "line");
  const right = make("span", "num");
  right.append(make("b"), document.createTextNode(""));
  line.append(make("span"), right);
  const bar = make("div", "bar");
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.append(make("i"));
  meter.append(line, bar);
  return meter;
}

function fillMeter(meter, limit) {
  const share = limit.allowed > 0 ? limit.used / limit.allowed : limit.used > 0 ? 1 : 0;
  const level = levelOf(limit.name, share);
  className(meter, `meter ${level}`.trim());
  const [line, bar] = meter.children;
  text(line.firstElementChild, limit.note ? `${limit.label} · ${limit.note}` : limit.label);
  text(line.lastElementChild.firstChild, amount(limit.used, limit));
  const rest = ` of ${amount(limit.allowed, limit)}`;
  if (line.lastElementChild.lastChild.data !== rest) line.lastElementChild.lastChild.data = rest;
  const width = `${Math.min(100, Math.max(0, share * 100)).toFixed(1)}%`;
  if (bar.firstElementChild.style.width !== width) bar.firstElementChild.style.width = width;
  bar.setAttribute("aria-label", `${limit.label}: ${amount(limit.used, limit)} of ${amount(limit.allowed, limit)}`);
  bar.setAttribute("aria-valuenow", Math.min(100, share * 100).toFixed(0));
}

function buildPosition(onClose) {
  return (item) => {
    const row = rowOf("", "num wide", "num wide", "num", "num", "plan", "num wide", "act");
    const plan = row.children[5];
    const track = make("div", "track");
    track.append(make("i"), make("b"));
    const ends = make("div", "ends");
    ends.append(make("span"), make("span"), make("span"));
    plan.append(track, ends);
    const button = make("button", "small", "Close");
    button.type = "button";
    button.setAttribute("aria-label", `Close ${item.symbol}`);
    button.addEventListener("click", () => onClose(item.symbol));
    row.children[7].append(button);
    return row;
  };
}

function fillPosition(row, p) {
  const cells = row.children;
  two(cells[0], p.symbol, p.side === "none" ? `${p.pending.side} in flight` : `${p.side} · ${p.strategy ?? "–"}`);
  text(cells[1], number(p.quantity, stepDigits(p.lot_size)));
  text(cells[2], price(p.entry_price, p.tick_size));
  text(cells[3], price(p.mark_price, p.tick_size));
  two(cells[4], signedMoney(p.unrealised_pnl), signedPercent(p.unrealised_frac), tone(p.unrealised_pnl));
  fillPlan(cells[5], p);
  text(cells[6], duration(p.age_s));
  attribute(cells[6], "title", p.entry_ms ? `since ${dateTime(p.entry_ms)} UTC, ${local(p.entry_ms)}` : "");
  cells[7].firstElementChild.disabled = p.side === "none";
}

// Where the price stands between stop (left) and target (right); the tick is the entry.
function fillPlan(cell, p) {
  const [track, ends] = cell.children;
  const low = p.effective_stop_price;
  const open = p.target_price === null;
  const high = open ? (low === null ? null : p.entry_price + 2 * (p.entry_price - low)) : p.target_price;
  const place = (value) => {
    if (low === null || high === null || value === null || high === low) return null;
    return Math.min(100, Math.max(0, ((value - low) / (high - low)) * 100));
  };
  const [entry, mark] = [place(p.entry_price), place(p.mark_price)];
  className(track, open ? "track open-end" : "track");
  track.firstElementChild.hidden = entry === null;
  track.lastElementChild.hidden = mark === null;
  if (entry !== null) track.firstElementChild.style.left = `${entry}%`;
  if (mark !== null) track.lastElementChild.style.left = `${mark}%`;
  const trailing = p.stop_kind === "trailing" ? "trailing " : "";
  text(ends.children[0], low === null ? "no stop" : `${trailing}stop ${price(low, p.tick_size)} (${signedPercent(p.to_stop_frac, 1)})`);
  const also = [...(p.expires_in_s === null ? [] : [`ends in ${duration(p.expires_in_s)}`]), ...p.rules, ...(p.blocked ? ["entries blocked"] : [])];
  text(ends.children[1], also.join(" · "));
  text(ends.children[2], open ? "no target" : `${price(p.target_price, p.tick_size)} (${signedPercent(p.to_target_frac, 1)}) target`);
}

const OUTCOMES = {
  ordered: ["entry", "good"], denied: ["denied", "bad"], not_chosen: ["not chosen", "caution"], exit_ordered: ["exit", "good"],
  nothing_to_exit: ["nothing to exit", "quiet"], warming_up: ["warming up", "quiet"], failed: ["failed", "bad"],
  no_new_candle: ["no new candle", "quiet"], hold: ["hold", "quiet"],
};
const QUIET = new Set(["hold", "no_new_candle", "warming_up", "nothing_to_exit"]);

function pill(cell, label, kind) {
  if (!cell.firstElementChild) cell.append(make("span"));
  className(cell.firstElementChild, `pill ${kind}`.trim());
  text(cell.firstElementChild, label);
}

function fillDecision(row, d) {
  const cells = row.children;
  const [label, kind] = OUTCOMES[d.decided] ?? [words(d.decided), ""];
  row.className = QUIET.has(d.decided) ? "idle" : "";
  text(cells[0], dayTime(d.time_ms));
  attribute(cells[0], "title", `${dateTime(d.time_ms)} UTC, ${local(d.time_ms)}`);
  text(cells[1], d.symbol || "–");
  pill(cells[2], label, kind);
  text(cells[3], d.direction === "hold" ? "–" : number(d.confidence, 2));
  text(cells[4], loosePrice(d.price));
  text(cells[5], d.note ? `${d.why} · ${d.note}` : d.why);
}

const EXITS = { stop: "bad", stop_gap: "bad", target: "good", target_gap: "good", trailing: "caution", time: "caution" };

function fillTrip(row, t) {
  const cells = row.children;
  text(cells[0], dayTime(t.closed_ms));
  attribute(cells[0], "title", `${dateTime(t.closed_ms)} UTC, ${local(t.closed_ms)}`);
  two(cells[1], t.symbol, t.strategy || t.side);
  pill(cells[2], words(t.reason), EXITS[t.reason] ?? "");
  attribute(cells[2], "title", t.note ?? "");
  two(cells[3], loosePrice(t.entry_price), `→ ${loosePrice(t.exit_price)}`);
  text(cells[4], duration(t.held_s));
  two(cells[5], signedMoney(t.pnl), signedPercent(t.pnl_frac), tone(t.pnl));
}

const WORKER_KIND = { ready: "good", starting: "caution", reconciling: "caution", suspect: "caution", backoff: "bad", killing: "bad", fatal: "bad" };

function fillWorker(row, w) {
  const cells = row.children;
  text(cells[0], w.role);
  pill(cells[1], w.state, WORKER_KIND[w.state] ?? "");
  text(cells[2], w.pid || "–");
  text(cells[3], bytes(w.rss_bytes));
  text(cells[4], age(w.beat_age_s));
  text(cells[5], duration(w.up_s));
  text(cells[6], number(w.restarts, 0));
  className(cells[6], w.restarts ? "num warn" : "num");
}

const ORDER_KIND = { filled: "good", rejected: "bad", lost: "bad", unknown: "bad", canceled: "quiet", expired: "quiet" };

function fillOrder(row, o) {
  const cells = row.children;
  text(cells[0], dayTime(o.created_ms));
  attribute(cells[0], "title", `${dateTime(o.created_ms)} UTC, ${local(o.created_ms)}`);
  two(cells[1], o.symbol, o.strategy || words(o.reason));
  text(cells[2], `${o.side} ${o.kind}${o.reduce_only ? ", reduces" : ""}`);
  pill(cells[3], o.state, ORDER_KIND[o.state] ?? "caution");
  text(cells[4], o.filled_quantity === o.quantity ? o.quantity : `${o.filled_quantity} of ${o.quantity}`);
  text(cells[5], words(o.reason));
  text(cells[6], o.note || o.client_order_id);
}

const CHECK_KIND = { ok: "good", warning: "caution", grave: "bad" };
const short = (value) => (value === null ? "–" : Math.abs(value) >= 1e9 ? number(value / 1e9, 1) + " G" : number(value, Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : 3));

function fillCheck(row, c) {
  const cells = row.children;
  text(cells[0], words(c.name));
  pill(cells[1], c.level, CHECK_KIND[c.level] ?? "");
  text(cells[2], c.value === null ? "–" : `${short(c.value)} ${c.unit}`.trim());
  text(cells[3], c.bound === null ? "–" : `${short(c.bound)} ${c.unit}`.trim());
  text(cells[4], c.since ? c.since.slice(5, 16).replace("T", " ") : "–");
  attribute(cells[4], "title", c.since ? local(Date.parse(c.since)) : "");
  text(cells[5], c.text);
}

const LEVEL_KIND = { ERROR: "bad", CRITICAL: "bad", WARNING: "caution", DEBUG: "quiet" };

function fillLine(row, line) {
  const cells = row.children;
  text(cells[0], line.time.slice(5, 19).replace("T", " "));
  attribute(cells[0], "title", local(Date.parse(line.time)));
  pill(cells[1], line.level.toLowerCase(), LEVEL_KIND[line.level] ?? "");
  text(cells[2], line.role);
  text(cells[3], line.exception ? `${line.message}\n${line.exception}` : line.message);
}

const STRATEGY_KIND = { active: "good", failing: "caution", disabled: "bad" };

function fillStrategy(row, s) {
  const cells = row.children;
  text(cells[0], s.name);
  pill(cells[1], s.state, STRATEGY_KIND[s.state] ?? "");
  text(cells[2], number(s.asked, 0));
  text(cells[3], number(s.failures, 0));
  attribute(cells[3], "title", s.last_failure ? `last at ${s.last_failure}` : "");
}

const column = (label, value, classes = "", wordsOf = null) => ({ label, value, classes, words: wordsOf });
const VERDICTS = Object.keys(OUTCOMES);
const BROKEN = [
  "confidence", "daily_loss", "daily_trades", "open_positions", "symbol_exposure", "drawdown", "free_capital", "min_notional", "stale_mark",
  "lease", "veto", "paused", "halted", "not_finite", "gross_exposure", "cooldown", "loss_streak", "correlated", "symbol_blocked",
  "position_open", "short_not_allowed", "stop_side",
];
export const interesting = (decision) => !QUIET.has(decision.decided);

export function makeTables(onClose) {
  const outcome = (d) => OUTCOMES[d.decided]?.[0] ?? d.decided;
  return {
    positions: new DataTable({
      name: "positions", path: "/api/positions", key: (item) => item.symbol, build: buildPosition(onClose), fill: fillPosition,
      columns: [
        column("Symbol", (p) => p.symbol, "", (p) => `${p.symbol} ${p.side} ${p.strategy}`), column("Quantity", (p) => p.quantity, "num wide"), column("Entry", (p) => p.entry_price, "num wide"),
        column("Mark", (p) => p.mark_price, "num"), column("Result", (p) => p.unrealised_pnl, "num"), column("Exit plan: stop to target", (p) => p.to_stop_frac, "plan"),
        column("Age", (p) => p.age_s, "num wide"), { label: "Close", classes: "act" },
      ],
    }),
    decisions: new DataTable({
      name: "decisions", path: "/api/decisions", key: (item) => item.id, fill: fillDecision, rowsOf: (found) => found.decisions,
      filters: [
        { name: "symbol", label: "Symbol of decisions", all: "All symbols", options: [] },
        { name: "decided", label: "Verdict", all: "All verdicts", options: VERDICTS },
        { name: "broken", label: "Limit that was broken", all: "Any limit", options: BROKEN },
        { name: "acted", kind: "check", id: "idle", label: "show holds", send: (shown) => (shown ? "" : "true"), local: (row, shown) => shown || interesting(row) },
      ],
      columns: [
        column("Time", (d) => d.time_ms, "", (d) => d.time), column("Symbol", (d) => d.symbol), column("Outcome", outcome), column("Conf.", (d) => d.confidence, "num"),
        column("Price", (d) => d.price, "num wide"), column("Why", (d) => d.why, "why", (d) => `${d.why} ${d.note ?? ""} ${d.strategy}`),
      ],
    }),
    orders: new DataTable({
      name: "orders", path: "/api/orders", key: (item) => item.id, fill: fillOrder, rowsOf: (found) => found.orders,
      filters: [{ name: "symbol", label: "Symbol of orders", all: "All symbols", options: [] }],
      columns: [
        column("Created", (o) => o.created_ms, "", (o) => o.created), column("Symbol", (o) => o.symbol, "", (o) => `${o.symbol} ${o.strategy}`), column("Order", (o) => `${o.side} ${o.kind}`, "wide"), column("State", (o) => o.state),
        column("Filled", (o) => Number(o.filled_quantity), "num"), column("Reason", (o) => o.reason, "wide"), column("Note", (o) => o.note || o.client_order_id, "why wide"),
      ],
    }),
    trips: new DataTable({
      name: "trips", path: "/api/trades", key: (item) => item.id, fill: fillTrip, rowsOf: (found) => found.trades,
      columns: [
        column("Closed", (t) => t.closed_ms, "", (t) => t.closed), column("Symbol", (t) => t.symbol, "", (t) => `${t.symbol} ${t.strategy}`), column("Exit", (t) => t.reason), column("Entry → exit", (t) => t.exit_price, "num roomy"),
        column("Held", (t) => t.held_s, "num wide"), column("Result", (t) => t.pnl, "num"),
      ],
    }),
    health: new DataTable({
      name: "health", path: "/api/health", key: (item) => item.name, fill: fillCheck,
      columns: [column("Check", (c) => c.name), column("State", (c) => ["ok", "warning", "grave"].indexOf(c.level), "", (c) => c.level), column("Value", (c) => c.value, "num"), column("Bound", (c) => c.bound, "num wide"), column("Since", (c) => c.since, "wide"), column("What it means", (c) => c.text, "why")],
    }),
    logs: new DataTable({
      name: "logs", path: "/api/logs", key: (item) => item.key, fill: fillLine,
      rowsOf: (found) => keyed(found.lines),
      filters: [
        { name: "level", label: "Lowest level", all: "All levels", options: ["INFO", "WARNING", "ERROR"] },
        { name: "role", label: "Process", all: "All processes", options: ["supervisor", "engine", "monitor", "dashboard"] },
      ],
      columns: [column("Time", (l) => l.time), column("Level", (l) => l.level), column("Process", (l) => l.role), column("Message", (l) => l.message, "why log")],
    }),
    workers: new DataTable({
      name: "workers", path: "/api/workers", key: (item) => item.role, fill: fillWorker, minCsv: true,
      columns: [column("Process", (w) => w.role), column("State", (w) => w.state), column("PID", (w) => w.pid, "num wide"), column("Memory", (w) => w.rss_bytes, "num"), column("Beat", (w) => w.beat_age_s, "num"), column("Up", (w) => w.up_s, "num roomy"), column("Restarts", (w) => w.restarts, "num")],
    }),
    strategies: new DataTable({
      name: "strategies", path: "/api/strategies", key: (item) => item.name, fill: fillStrategy, minCsv: true,
      columns: [column("Strategy", (s) => s.name), column("State", (s) => s.state), column("Asked", (s) => s.asked, "num"), column("Failures", (s) => s.failures, "num")],
    }),
  };
}

// Two lines may be the same to the letter: they are told apart by how often they came.
function keyed(lines) {
  const seen = new Map();
  return lines.map((line) => {
    const name = `${line.time} ${line.role} ${line.pid} ${line.message}`;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return { ...line, key: `${name} ${seen.get(name)}` };
  });
}

const fact = (id, value, classes = "") => { text(byId(id), value); className(byId(id), classes); };

export function showFacts(status, elapsedS) {
  const { market, service, entries, account, health, exchange } = status;
  text(byId("market-time"), market.time_ms ? dateTime(market.time_ms) : "–");
  text(byId("market-local"), market.time_ms ? `${local(market.time_ms)} here` : "\u00a0");
  const dataAge = market.data_age_s === null ? null : market.data_age_s + elapsedS;
  fact("data-age", age(dataAge), market.stale ? "loss" : "");
  const next = market.next_decision_s === null ? null : Math.max(0, market.next_decision_s - elapsedS);
  text(byId("next-decision"), next === null ? "–" : duration(next));
  text(byId("uptime"), duration(service.uptime_s === null ? null : service.uptime_s + elapsedS));
  text(byId("cycles"), number(account?.cycles, 0));
  text(byId("decision-count"), number(account?.decisions, 0));
  const active = status.strategies.filter((one) => one.state !== "disabled").length;
  fact("strategy-count", `${active} of ${status.strategies.length}`, active < status.strategies.length ? "loss" : "");
  const running = status.source === "engine";
  const gate = (id, left) => fact(id, left === null || !running ? "–" : left > 0 ? "held" : "lost", running && !(left > 0) ? "loss" : "");
  gate("lease", entries.lease_s);
  gate("clearance", entries.clear_s);
  fact("breaker", exchange ? words(exchange.breaker) : "none needed", exchange && exchange.breaker !== "closed" ? "loss" : "");
  const bad = health.filter((check) => check.level !== "ok");
  fact("health-count", health.length ? (bad.length ? `${bad.length} of ${health.length} complain` : `${health.length} checks fine`) : "–", bad.some((check) => check.level === "grave") ? "loss" : bad.length ? "warn" : "");
  text(byId("epoch"), service.epoch ? `${service.epoch}${service.reloads ? ` · ${service.reloads} reloads` : ""}${service.reload_rejected ? ` · ${service.reload_rejected} refused` : ""}` : "–");
  text(byId("instance"), service.instance);
  text(byId("exposure"), account ? `exposure ${money(account.gross_exposure)} ${service.quote}` : "");
  text(byId("version"), `trader ${service.version}`);
}

function showPairs(holder, pairs) {
  if (holder.childElementCount !== pairs.length) {
    holder.replaceChildren(...pairs.map(([name]) => { const pair = make("div"); pair.append(make("dt", "", name), make("dd")); return pair; }));
  }
  pairs.forEach(([, value, bad], index) => { const cell = holder.children[index].lastElementChild; text(cell, value); className(cell, bad ? "loss" : ""); });
}

function fillAnswer(row, a) {
  const cells = row.children;
  text(cells[0], a.time ? a.time.slice(5, 16).replace("T", " ") : "–");
  attribute(cells[0], "title", a.time ? local(Date.parse(a.time)) : "");
  two(cells[1], a.text, [a.model, a.cost_usd === null ? null : `${a.cost_usd} USD`, a.latency_s === null ? null : `${number(a.latency_s, 1)} s`, a.message].filter(Boolean).join(" · "));
}

let answers = null;
export function showModel(llm) {
  byId("model-panel").hidden = !llm;
  if (!llm) return;
  answers ??= new DataTable({ name: "model", key: (item) => item.id, fill: fillAnswer, columns: [column("Asked at", (a) => a.time), column("Answer", (a) => a.text, "why log")] });
  const spent = Number(llm.spent_usd) + Number(llm.reserved_usd);
  showPairs(byId("model-facts"), [
    ["Calls today", `${llm.calls_today} of ${llm.max_calls_per_day}`, llm.calls_today >= llm.max_calls_per_day],
    ["Spent today", `${number(spent, 4)} of ${number(Number(llm.max_usd_per_day), 2)} USD`, spent >= Number(llm.max_usd_per_day)],
    ["Breaker", words(llm.breaker) + (llm.breaker_reason ? `: ${llm.breaker_reason}` : ""), llm.breaker !== "closed"],
    ["Failures in a row", number(llm.failures_in_a_row, 0), llm.failures_in_a_row > 0],
  ]);
  answers.show(llm.decisions);
}

export function showExchange(exchange) {
  byId("exchange-panel").hidden = !exchange;
  if (!exchange) return;
  const x = exchange;
  const pairs = [
    ["Feed", x.connected ? `connected, ${age(x.message_age_s)}` : "not connected", !x.connected], ["Reconnects", number(x.reconnects, 0), false],
    ["Clock skew", `${number(x.clock_skew_s, 3)} s`, false], ["Breaker", words(x.breaker), x.breaker !== "closed"],
    ["Errors", `${number(x.errors_in_window, 0)} lately, ${number(x.errors, 0)} in all`, x.errors_in_row > 0], ["Reconciled", x.reconciled_age_s === null ? "not yet" : `${age(x.reconciled_age_s)} ago`, false],
    ["Unexplained", number(x.differences, 0), x.differences > 0], ["Blocked symbols", number(x.blocked, 0), x.blocked > 0],
    ["Orders at the venue", `${number(x.orders_open, 0)}${x.orders_unknown ? `, ${x.orders_unknown} unknown` : ""}`, x.orders_unknown > 0],
    ["Stops there", `${number(x.stops_standing, 0)}${x.stops_missing ? `, ${x.stops_missing} missing` : ""}`, x.stops_missing > 0],
    ["Without a stop", `${duration(x.naked_s)} in all, ${duration(x.naked_longest_s)} longest`, false], ["Maintenance", x.maintenance ? "yes" : "no", x.maintenance],
  ];
  showPairs(byId("exchange"), pairs);
}
