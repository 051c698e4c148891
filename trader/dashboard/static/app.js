// The page: takes frames from the link and shows them; says plainly when it shows old numbers.
import { EquityChart } from "./chart.js";
import * as control from "./control.js";
import { byId, className, text } from "./dom.js";
import { clock, duration, signedPercent, words } from "./format.js";
import { Link } from "./link.js";
import { interesting, makeTables, showFacts, showHero, showLimits } from "./panels.js";

const KEPT_DECISIONS = 200;
const KEPT_TRIPS = 100;

const view = { status: null, decisions: [], trips: [], receivedAt: 0, link: "connecting" };
const chart = new EquityChart(byId("chart"), byId("tip"), byId("chart-empty"));
const tables = makeTables((symbol) => control.close(symbol));

function takeFrame(frame) {
  view.status = frame.status;
  view.receivedAt = Date.now();
  if (frame.type === "snapshot") {
    if (chart.rangeMs === 0) chart.replace(frame.equity);
    else chart.append(frame.equity);
  } else if (frame.equity) {
    chart.append(frame.equity);
  }
  if (frame.decisions) view.decisions = frame.decisions.slice(0, KEPT_DECISIONS);
  if (frame.trades) view.trips = frame.trades.slice(0, KEPT_TRIPS);
  chart.baseline = frame.status.account?.initial_capital ?? null;
  show();
  if (frame.decisions) showDecisions();
  if (frame.trades) showTrips();
}

function show() {
  const { status } = view;
  showHero(status.account, status.service.quote);
  showLimits(status.limits);
  tables.positions.show(status.positions, (item) => item.symbol);
  tables.workers.show(status.workers, (item) => item.role);
  const busy = !status.service.running;
  for (const id of ["pause", "flatten", "reload"]) byId(id).disabled = busy;
  text(byId("pause"), status.entries.paused ? "Resume" : "Pause");
  tick();
}

function showDecisions() {
  const shown = byId("idle").checked ? view.decisions : view.decisions.filter(interesting);
  tables.decisions.show(shown.slice(0, 100), (item) => item.id);
}

function showTrips() {
  tables.trips.show(view.trips, (item) => item.id);
  text(byId("trips-note"), view.trips.length ? `last ${view.trips.length}` : "");
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
  text(byId("local"), ` · your clock ${now.toTimeString().slice(0, 8)} (UTC${offset(now)})`);
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
  title(status, level, stale);
}

function offset(now) {
  const minutes = -now.getTimezoneOffset();
  const sign = minutes < 0 ? "\u2212" : "+";
  const rest = Math.abs(minutes) % 60;
  return `${sign}${Math.floor(Math.abs(minutes) / 60)}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}

function notice(level, message) {
  className(byId("notice"), `notice ${level}`);
  text(byId("notice-text"), message);
}

function title(status, level, stale) {
  const profit = status.account ? signedPercent(status.account.total_pnl_frac) : "–";
  const next = stale ? "disconnected · trader" : `${profit} · ${status.service.mode.toUpperCase()} · trader`;
  if (document.title !== next) document.title = next;
  const icon = `/static/${ICONS[level]}.svg`;
  if (byId("favicon").getAttribute("href") !== icon) byId("favicon").setAttribute("href", icon);
}

async function chooseRange(button) {
  for (const other of byId("ranges").children) other.setAttribute("aria-pressed", String(other === button));
  chart.rangeMs = Number(button.dataset.range) * 1000;
  const last = chart.points.length ? chart.points[chart.points.length - 1][0] : 0;
  const since = chart.rangeMs ? `&since_ms=${last - chart.rangeMs}` : "";
  try {
    const response = await fetch(`/api/equity?points=1500${since}`);
    if (response.ok) chart.replace((await response.json()).points);
  } catch { /* the link says that the server is away */ }
  chart.redraw();
}

function wire() {
  byId("idle").addEventListener("change", showDecisions);
  byId("ranges").addEventListener("click", (event) => { if (event.target.dataset.range) chooseRange(event.target); });
  byId("pause").addEventListener("click", () => control.command(view.status?.entries.paused ? "resume" : "pause"));
  byId("reload").addEventListener("click", () => control.command("reload"));
  byId("flatten").addEventListener("click", () => control.flatten(view.status?.positions ?? []));
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
    chart.redraw();
  });
  setInterval(tick, 1000);
}

// fetched while there is somebody to ask: "off" is needed when there is not
for (const name of ["ok", "halt", "off"]) new Image().src = `/static/${name}.svg`;
wire();
new Link({
  onFrame: takeFrame,
  onState: (state) => { view.link = state; tick(); },
});
