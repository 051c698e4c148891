// Acting: every command says what will happen, asks, sends, and shows the answer.
import { byId, make, text } from "./dom.js";
import { money, signedMoney } from "./format.js";

// what this session's commands carry; the cookie itself can't be read here
let xsrf = null;

const TEXTS = {
  pause: ["Pause entries?", "No new position is opened until you resume. Open positions keep their stops and targets.", "Pause entries"],
  resume: ["Resume entries?", "New positions may be opened again, within the limits.", "Resume entries"],
  reload: ["Reload the configuration?", "The file is read and checked. On any problem the running configuration stays.", "Reload"],
};

let toastTimer = 0;
function toast(message, bad = false) {
  const node = byId("toast");
  node.textContent = message;
  node.className = bad ? "toast bad" : "toast";
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 6000);
}

// The browser tells of a close a moment after it: a dialog that was opened again meanwhile must not hear the old one.
function ask(dialog) {
  dialog.answered?.(dialog.returnValue === "yes");
  return new Promise((resolve) => {
    const answered = (yes) => { if (dialog.answered === answered) dialog.answered = null; resolve(yes); };
    dialog.answered = answered;
    dialog.returnValue = "no";
    dialog.onclose = () => { if (!dialog.open) dialog.answered?.(dialog.returnValue === "yes"); };
    dialog.showModal();
  });
}

function confirmed(title, detail, action, list = []) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = detail;
  byId("confirm-list").replaceChildren(...list.map((line) => make("li", "", line)));
  byId("confirm-yes").textContent = action;
  return ask(byId("confirm"));
}

async function post(path, body, method = "POST") {
  try {
    const headers = { "Content-Type": "application/json", ...(xsrf ? { "X-XSRF-Token": xsrf } : {}) };
    const response = await fetch(path, { method, headers, body: JSON.stringify(body), credentials: "same-origin" });
    const answer = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, message: answer.error?.message ?? "", result: answer };
  } catch {
    return { ok: false, status: 0, message: "the dashboard does not answer", result: {} };
  }
}

function know(session) {
  xsrf = session.signed_in ? session.xsrf : null;
  text(byId("session"), xsrf ? "Sign out" : "Sign in");
}

// Whether this browser is signed in; asked at the start and when a command finds the session gone.
export async function lookAtSession() {
  try {
    const response = await fetch("/api/login", { cache: "no-store" });
    if (response.ok) know(await response.json());
  } catch { /* the link says that the server is away */ }
}

export async function signIn() {
  byId("login-error").textContent = "";
  for (;;) {
    byId("token").value = "";
    if (!(await ask(byId("login")))) return false;
    const answer = await post("/api/login", { token: byId("token").value });
    byId("token").value = "";
    if (answer.ok) { know(answer.result); toast("Signed in."); return true; }
    byId("login-error").textContent = answer.message;
  }
}

export async function signInOrOut() {
  if (!xsrf) { await signIn(); return; }
  const answer = await post("/api/login", {}, "DELETE");
  if (answer.ok || answer.status === 401) { know({ signed_in: false }); toast("Signed out."); } else toast(answer.message, true);
}

async function send(command, body, done) {
  if (!xsrf) await lookAtSession();
  let answer = { status: 401 };
  if (xsrf) answer = await post(`/api/control/${command}`, body);
  if (answer.status === 401) {
    know({ signed_in: false });
    if (!(await signIn())) { toast(`${command}: not sent, nobody is signed in.`, true); return; }
    answer = await post(`/api/control/${command}`, body);
  }
  if (answer.ok) toast(typeof done === "function" ? done(answer.result.result ?? {}) : done);
  else toast(`${command} refused: ${answer.message}`, true);
}

export async function command(name) {
  const [title, detail, action] = TEXTS[name];
  const changes = (result) => (name === "reload" && Array.isArray(result.changed) ? ` ${result.changed.length ? result.changed.join("; ") : "Nothing has changed."}` : "");
  if (await confirmed(title, detail, action)) await send(name, {}, (result) => `${action}: done.${changes(result)}`);
}

const holding = (p) => `${p.symbol}: ${p.side}, worth ${money(p.notional)}, result ${signedMoney(p.unrealised_pnl)} so far`;

export async function flatten(positions) {
  const held = positions.filter((p) => p.side !== "none");
  const what = held.length ? `Market orders close ${held.length === 1 ? "this position" : `these ${held.length} positions`} at the next price. ` : "Nothing is open now. ";
  if (await confirmed("Flatten everything?", `${what}Entries are paused afterwards, until you resume.`, "Flatten", held.map(holding))) {
    await send("flatten", {}, "Flatten: orders are on their way.");
  }
}

export async function close(symbol, positions) {
  const held = positions.filter((p) => p.symbol === symbol);
  if (await confirmed(`Close ${symbol}?`, `A market order closes the whole position in ${symbol} at the next price. Its strategy may open another one later.`, "Close it", held.map(holding))) {
    await send("close", { symbol }, `Close ${symbol}: the order is on its way.`);
  }
}
