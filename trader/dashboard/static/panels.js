// One function per panel: takes its part of the snapshot, writes it into the page.
import { byId, className, KeyedTable, make, rowOf, text, two } from "./dom.js";
import {
  age, bytes, dateTime, dayTime, duration, loosePrice, number, percent, price, signed, signedPercent, stepDigits, tone, words,
} from "./format.js";

function figure(id, noteId, value, note, classes = "") {
  text(byId(id), value);
  className(byId(id), `value ${classes}`.trim());
  text(byId(noteId), note);
}

export function showHero(account, quote) {
  if (!account) return;
  const a = account;
  figure("equity", "equity-note", number(a.equity), `${quote} · cash ${number(a.cash)} · from ${number(a.initial_capital, 0)}`);
  figure("total-pnl", "total-note", signed(a.total_pnl), `${signedPercent(a.total_pnl_frac)} · fees ${number(a.fees_paid)}`, tone(a.total_pnl));
  figure("daily-pnl", "daily-note", signed(a.daily_pnl), `${signedPercent(a.daily_pnl_frac)} · UTC day`, tone(a.daily_pnl));
  figure("drawdown", "drawdown-note", percent(a.drawdown_frac), `worst ${percent(a.max_drawdown_frac)}`);
  const pending = a.pending_orders ? ` · ${a.pending_orders} in flight` : "";
  figure("open", "open-note", number(a.open_positions, 0), `unrealised ${signed(a.unrealised_pnl)}${pending}`);
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
  two(cells[4], signed(p.unrealised_pnl), signedPercent(p.unrealised_frac), tone(p.unrealised_pnl));
  fillPlan(cells[5], p);
  text(cells[6], duration(p.age_s));
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
  text(ends.children[1], p.expires_in_s === null ? "" : `ends in ${duration(p.expires_in_s)}`);
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
  text(cells[1], d.symbol || "–");
  pill(cells[2], label, kind);
  text(cells[3], d.direction === "hold" ? "–" : number(d.confidence, 2));
  text(cells[4], loosePrice(d.price));
  text(cells[5], d.why);
}

const EXITS = { stop: "bad", stop_gap: "bad", target: "good", target_gap: "good", trailing: "caution", time: "caution" };

function fillTrip(row, t) {
  const cells = row.children;
  text(cells[0], dayTime(t.closed_ms));
  two(cells[1], t.symbol, t.strategy || t.side);
  pill(cells[2], words(t.reason), EXITS[t.reason] ?? "");
  text(cells[3], `${loosePrice(t.entry_price)} → ${loosePrice(t.exit_price)}`);
  text(cells[4], duration(t.held_s));
  two(cells[5], signed(t.pnl), signedPercent(t.pnl_frac), tone(t.pnl));
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

export function makeTables(onClose) {
  return {
    positions: new KeyedTable(byId("positions"), buildPosition(onClose), fillPosition),
    decisions: new KeyedTable(byId("decisions"), () => rowOf("", "", "", "num", "num wide", "why"), fillDecision),
    trips: new KeyedTable(byId("trips"), () => rowOf("", "", "", "num roomy", "num wide", "num"), fillTrip),
    workers: new KeyedTable(byId("workers"), () => rowOf("", "", "num wide", "num", "num", "num roomy", "num"), fillWorker),
  };
}

export const interesting = (decision) => !QUIET.has(decision.decided);

export function showFacts(status, elapsedS) {
  const { market, service } = status;
  text(byId("market-time"), market.time_ms ? dateTime(market.time_ms) : "–");
  const dataAge = market.data_age_s === null ? null : market.data_age_s + elapsedS;
  text(byId("data-age"), age(dataAge));
  className(byId("data-age"), market.stale ? "loss" : "");
  const next = market.next_decision_s === null ? null : Math.max(0, market.next_decision_s - elapsedS);
  text(byId("next-decision"), next === null ? "–" : duration(next));
  text(byId("uptime"), duration(service.uptime_s === null ? null : service.uptime_s + elapsedS));
  text(byId("cycles"), number(status.account?.cycles, 0));
  text(byId("decision-count"), number(status.account?.decisions, 0));
  text(byId("instance"), service.instance);
  text(byId("epoch"), service.epoch ? `configuration ${service.epoch}${service.reloads ? ` · ${service.reloads} reloads` : ""}` : "");
  text(byId("exposure"), status.account ? `exposure ${number(status.account.gross_exposure)} ${service.quote}` : "");
  text(byId("version"), `trader ${service.version}`);
}
