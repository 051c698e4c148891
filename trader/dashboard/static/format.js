// Numbers and times as people read them; nothing here touches the page.
const MINUS = "\u2212";
const grouped = new Map();

function grouper(digits) {
  let format = grouped.get(digits);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    grouped.set(digits, format);
  }
  return format;
}

const missing = (value) => value === null || value === undefined || !Number.isFinite(value);

export function number(value, digits = 2) {
  if (missing(value)) return "–";
  const text = grouper(digits).format(Math.abs(value));
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

export function signed(value, digits = 2) {
  if (missing(value)) return "–";
  const text = grouper(digits).format(Math.abs(value));
  if (!/[1-9]/.test(text)) return text;
  return (value < 0 ? MINUS : "+") + text;
}

// Amounts have as many decimals as people write of their currency.
const CURRENCY_DIGITS = { BTC: 6, XBT: 6, ETH: 5, BNB: 4, JPY: 0, KRW: 0, IDR: 0, VND: 0 };
let quoteDigits = 2;
export function setQuote(quote) { quoteDigits = CURRENCY_DIGITS[quote] ?? 2; }
export const money = (value) => number(value, quoteDigits);
export const signedMoney = (value) => signed(value, quoteDigits);

export const percent = (frac, digits = 2) => (missing(frac) ? "–" : `${number(frac * 100, digits)} %`);
export const signedPercent = (frac, digits = 2) => (missing(frac) ? "–" : `${signed(frac * 100, digits)} %`);

// As many decimals as the instrument's step has: 0.01 gives 2, 1e-8 gives 8.
export function stepDigits(step) {
  if (missing(step) || step <= 0) return 2;
  for (let digits = 0; digits <= 10; digits += 1) {
    const scaled = step * 10 ** digits;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6) return digits;
  }
  return 10;
}

export const price = (value, step) => (step > 0 ? number(value, stepDigits(step)) : loosePrice(value));

// For a price whose step is not known: four significant digits at least, two decimals at least.
export function loosePrice(value) {
  if (missing(value)) return "–";
  const magnitude = Math.abs(value);
  if (magnitude >= 100 || magnitude === 0) return number(value, 2);
  return number(value, Math.min(10, Math.max(2, 4 - Math.floor(Math.log10(magnitude)))));
}

export function duration(seconds) {
  if (missing(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${String(Math.floor(s % 60)).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

export function age(seconds) {
  if (missing(seconds)) return "–";
  return seconds < 60 ? `${Math.max(0, seconds).toFixed(1)} s` : duration(seconds);
}

const iso = (ms) => new Date(ms).toISOString();
export const dateTime = (ms) => (ms ? iso(ms).slice(0, 19).replace("T", " ") : "–");
export const dayTime = (ms) => (ms ? iso(ms).slice(5, 16).replace("T", " ") : "–");
export const clock = (ms) => (ms ? iso(ms).slice(11, 19) : "–");

// The browser's own time, with its distance from UTC: what stands in tooltips.
export function offset(date) {
  const minutes = -date.getTimezoneOffset();
  const rest = Math.abs(minutes) % 60;
  return `UTC${minutes < 0 ? MINUS : "+"}${Math.floor(Math.abs(minutes) / 60)}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}
const two = (n) => String(n).padStart(2, "0");
export function local(ms) {
  if (!ms) return "";
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} ${offset(at)}`;
}

export function bytes(value) {
  return missing(value) || value <= 0 ? "–" : `${number(value / 1048576, 0)} MiB`;
}

export const words = (name) => (name || "").replaceAll("_", " ");
export const tone = (value) => (missing(value) || Math.abs(value) < 5e-9 ? "" : value > 0 ? "gain" : "loss");
