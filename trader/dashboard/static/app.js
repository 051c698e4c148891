// The page: takes frames from the link and shows them; says plainly when it shows old numbers.
import { Charts } from "./charts.js";
import * as control from "./control.js";
import { byId, className, text } from "./dom.js";
import { clock, duration, offset, setQuote, signedPercent, words } from "./format.js";
import { Link } from "./link.js";
import { makeTables, showExchange, showFacts, showHero, showLimits, showModel } from "./panels.js";
import { makeTabs } from "./tables.js";

const KEPT_DECISIONS = 200;
const KEPT_TRIPS = 100;

const view = { status: null, decisions: [], trips: [], receivedAt: 0, link: "connecting" };
const charts = new Charts();
const tables = makeTables((symbol) => control.close(symbol, view.status?.positions ?? []));
const LOADED = ["orders", "logs"];
let table = "decisions";

function takeFrame(frame) {
  // an update holds what has changed; what it leaves out is as it was
  view.status = frame.type === "snapshot" ? frame.status : { ...view.status, ...frame.status };
  view.receivedAt = Date.now();
  setQuote(view.status.service.quote);
  charts.baseline = view.status.account?.initial_capital ?? null;
  charts.setSymbols(view.status.market.names);
  if (frame.type === "snapshot" && charts.rangeS === 0) charts.replace(frame.equity);
  else if (frame.equity) charts.append(frame.equity);
  charts.follow(view.status.market.time_ms);
  if (frame.decisions) view.decisions = frame.decisions.slice(0, KEPT_DECISIONS);
  if (frame.trades) view.trips = frame.trades.slice(0, KEPT_TRIPS);
  show();
  if (frame.decisions) refresh("decisions", view.decisions);
  if (frame.trades) refresh("trips", view.trips);
  if (frame.decisions || frame.trades) followTable();
}

// What is pushed is shown as it comes; what was filtered or paged by the server is asked for anew.
function refresh(name, rows) {
  const found = tables[name];
  if (!found.filtered && !found.paged) {
    found.show(rows);
    if (found.more) { found.next = cursor(name, rows); found.more.hidden = !found.next; }
  } else if (!found.paged && Date.now() - (found.loadedAt ?? 0) > 2000) found.load();
}

function cursor(name, rows) {
  const last = rows[rows.length - 1];
  if (!last || rows.length < (name === "trips" ? 50 : 60)) return null;
  return name === "decisions" ? String(last.id) : null;
}

function followTable() {
  const found = tables[table];
  if (LOADED.includes(table) && !found.paged && !document.hidden && Date.now() - (found.loadedAt ?? 0) > 2000) found.load();
}

// The model's books are files of their own: asked for at the start and now and then, while somebody looks.
async function lookAtModel() {
  if (document.hidden) return;
  try {
    const response = await fetch("/api/llm");
    if (response.ok) showModel((await response.json()).llm);
  } catch { /* the link says that the server is away */ }
}

function show() {
  const { status } = view;
  showHero(status.account, status.service.quote);
  showLimits(status.limits);
  tables.positions.show(status.positions);
  tables.workers.show(status.workers);
  tables.strategies.show(status.strategies);
  tables.health.show(status.health);
  showExchange(status.exchange);
  for (const name of ["decisions", "orders"]) tables[name].setOptions("symbol", status.market.names);
  const busy = !status.service.running;
  for (const id of ["pause", "flatten", "reload"]) byId(id).disabled = busy;
  text(byId("pause"), status.entries.paused ? "Resume" : "Pause");
  tick();
}

function headline(status) {
  if (!status.service.running) return ["bad", "stopped", "The service is not running. What you see is the ledger as it was left."];
  if (status.source !== "engine" && status.service.state === "starting") return ["caution", "starting", "The engine is starting: it loads its kernels and reads the ledger."];
  if (status.source !== "engine") return ["bad", "engine down", "The engine is not up. Numbers are the last known; the supervisor starts it again."];
  const reasons = status.entries.reasons;
  if (reasons.length) {
    const severe = reasons.some((reason) => reason.code !== "paused");
    const state = status.entries.paused && !severe ? "paused" : "halted";
    return [severe ? "bad" : "caution", state, `Entries stopped: ${reasons.map((reason) => reason.text).join("; ")}. Exits go on.`];
  }
  if (status.service.state !== "running") return ["caution", words(status.service.state), `The service is ${words(status.service.state)}.`];
  const strategies = status.market.strategies.join(", ");
  return ["good", "running", `Entries are open. ${status.market.symbols} symbols on ${status.market.timeframe}, ${strategies}, ${status.market.source} market.`];
}

const ICONS = { good: "ok", caution: "halt", bad: "off" };

// Runs each second as well, so that ages grow and a silent server is noticed.
function tick() {
  const { status } = view;
  const elapsedS = view.receivedAt ? (Date.now() - view.receivedAt) / 1000 : 0;
  const stale = view.link === "lost" && elapsedS > 1.5;
  text(byId("link"), { live: "live", polling: "polling every 5 s", lost: "disconnected", connecting: "connecting" }[view.link]);
  const now = new Date();
  text(byId("local"), ` · your clock ${now.toTimeString().slice(0, 8)} (${offset(now)})`);
  if (!status) {
    if (view.link === "lost") notice("bad", "Disconnected: the dashboard does not answer. Trying again.");
    return;
  }
  let [level, state, message] = headline(status);
  if (stale) [level, state, message] = ["bad", "disconnected", `Disconnected: these numbers are of ${clock(view.receivedAt)} UTC, ${duration(elapsedS)} old. Trying again.`];
  const dim = stale ? " stale" : status.source === "engine" ? "" : " old";
  className(document.body, `${status.service.mode}${dim}`);
  text(byId("mode"), status.service.mode);
  text(byId("state"), state);
  className(byId("state"), `badge state ${level}`);
  notice(level, message);
  showFacts(status, elapsedS);
  title(status, level, stale ? "disconnected" : state);
}

function notice(level, message) {
  className(byId("notice"), `notice ${level}`);
  text(byId("notice-text"), message);
}

function title(status, level, state) {
  const profit = status.account ? signedPercent(status.account.total_pnl_frac) : "–";
  const said = state === "running" ? "" : ` · ${state}`;
  const next = state === "disconnected" ? "disconnected · trader" : `${profit}${said} · ${status.service.mode.toUpperCase()} · trader`;
  if (document.title !== next) document.title = next;
  const icon = `/static/${ICONS[level]}.svg`;
  if (byId("favicon").getAttribute("href") !== icon) byId("favicon").setAttribute("href", icon);
}

function chooseRange(button) {
  for (const other of byId("ranges").children) other.setAttribute("aria-pressed", String(other === button));
  charts.show(charts.kind, Number(button.dataset.range));
}

function chooseTable(tab) {
  table = tab.dataset.table;
  for (const panel of document.querySelectorAll(".tabpanel")) panel.hidden = panel.id !== `panel-${table}`;
  if (LOADED.includes(table)) tables[table].load();
}

function wire() {
  byId("ranges").addEventListener("click", (event) => { if (event.target.dataset.range) chooseRange(event.target); });
  makeTabs(byId("chart-tabs"), (tab) => charts.show(tab.dataset.chart));
  makeTabs(byId("table-tabs"), chooseTable);
  byId("chart-symbol").addEventListener("change", (event) => { charts.symbol = event.target.value; charts.load(); });
  byId("pause").addEventListener("click", () => control.command(view.status?.entries.paused ? "resume" : "pause"));
  byId("reload").addEventListener("click", () => control.command("reload"));
  byId("flatten").addEventListener("click", () => control.flatten(view.status?.positions ?? []));
  byId("session").addEventListener("click", () => control.signInOrOut());
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
    charts.redraw();
  });
  setInterval(tick, 1000);
  setInterval(followTable, 5000);
  setInterval(lookAtModel, 15000);
  lookAtModel();
  control.lookAtSession();
}

// fetched while there is somebody to ask: "off" is needed when there is not
for (const name of ["ok", "halt", "off"]) new Image().src = `/static/${name}.svg`;
wire();
new Link({
  onFrame: takeFrame,
  onState: (state) => { view.link = state; tick(); },
});
