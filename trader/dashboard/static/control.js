// Acting: every command says what will happen, asks, sends, and shows the answer.
import { byId } from "./dom.js";

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

function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}

function confirmed(title, detail, action) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = detail;
  byId("confirm-yes").textContent = action;
  return ask(byId("confirm"));
}

async function post(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin",
    });
    const answer = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, message: answer.error?.message ?? "", result: answer };
  } catch {
    return { ok: false, status: 0, message: "the dashboard does not answer", result: {} };
  }
}

export async function signIn() {
  byId("login-error").textContent = "";
  for (;;) {
    byId("token").value = "";
    if (!(await ask(byId("login")))) return false;
    const answer = await post("/api/login", { token: byId("token").value });
    byId("token").value = "";
    if (answer.ok) { toast("Signed in."); return true; }
    byId("login-error").textContent = answer.message;
  }
}

async function send(command, body, done) {
  let answer = await post(`/api/control/${command}`, body);
  if (answer.status === 401 && (await signIn())) answer = await post(`/api/control/${command}`, body);
  if (answer.ok) toast(done);
  else toast(`${command} refused: ${answer.message}`, true);
}

export async function command(name) {
  const [title, detail, action] = TEXTS[name];
  if (await confirmed(title, detail, action)) await send(name, {}, `${action}: done.`);
}

export async function flatten(positions) {
  const what = positions.length ? `Market orders close ${positions.map((p) => p.symbol).join(", ")}. ` : "Nothing is open now. ";
  if (await confirmed("Flatten everything?", `${what}Entries are paused afterwards, until you resume.`, "Flatten")) {
    await send("flatten", {}, "Flatten: orders are on their way.");
  }
}

export async function close(symbol) {
  if (await confirmed(`Close ${symbol}?`, `A market order closes the whole position in ${symbol} at the next price.`, "Close it")) {
    await send("close", { symbol }, `Close ${symbol}: the order is on its way.`);
  }
}
