/** How times, sizes and paths are written. Pure. */

/**
 * A duration in one unit: "now", "8 s", "3 min", "2 h", "5 d".
 * @param {number} ms
 */
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1_000));
  if (s < 2) return "now";
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/**
 * How long ago an RFC 3339 time was; empty for what is no time.
 * @param {string | null | undefined} at
 * @param {number} now ms
 */
export function age(at, now) {
  const ms = at ? Date.parse(at) : Number.NaN;
  return Number.isNaN(ms) ? "" : span(now - ms);
}

/**
 * The same as a phrase.
 * @param {string | null | undefined} at
 * @param {number} now
 */
export function ago(at, now) {
  const text = age(at, now);
  return text === "" ? "never" : text === "now" ? "just now" : `${text} ago`;
}

// Made once: a new format costs as much as a hundred uses of it.
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hour12: false });

/** @param {string | number | null | undefined} at */
export function clockTime(at) {
  const date = new Date(at ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? "" : CLOCK.format(date);
}

/** @param {string | null | undefined} at */
export function fullTime(at) {
  const date = new Date(at ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? "" : FULL.format(date);
}

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`;
}

const PLAIN = new Intl.NumberFormat("en");

/** @param {number | null | undefined} n */
export function count(n) {
  if (n === null || n === undefined) return "–";
  if (n < 10_000) return PLAIN.format(n);
  if (n < 1_000_000) return `${(n / 1_000).toFixed(n < 100_000 ? 1 : 0)}k`;
  return `${(n / 1_000_000).toFixed(1)}M`;
}

/** @param {number | null | undefined} n */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  if (n < 1_024) return `${n} B`;
  if (n < 1_048_576) return `${(n / 1_024).toFixed(0)} KiB`;
  if (n < 1_073_741_824) return `${(n / 1_048_576).toFixed(0)} MiB`;
  return `${(n / 1_073_741_824).toFixed(1)} GiB`;
}

/** @param {number | null | undefined} usd */
export function money(usd) {
  if (usd === null || usd === undefined) return "–";
  return usd !== 0 && usd < 0.01 ? "< $0.01" : `$${usd.toFixed(2)}`;
}

/** @param {string} path */
export function baseName(path) {
  return path.replace(/\/+$/, "").split("/").pop() || path || "/";
}

/**
 * The model without its provider.
 * @param {string | null | undefined} model
 */
export function shortModel(model) {
  return model ? (model.split("/").pop() ?? model) : "";
}

const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * A text with control, zero-width and direction characters made visible: names and commands must read as
 * they are, or somebody approves what they did not see.
 * @param {string | null | undefined} text
 */
export function visible(text) {
  return (text ?? "").replace(UNSEEN, hex);
}

const TURNING = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * A longer text with only those characters made visible that turn the direction of others: it may be written
 * right to left, and may join and mark letters, but cannot be read as something else than what it says.
 * @param {string | null | undefined} text
 */
export function straight(text) {
  return String(text ?? "").replace(TURNING, hex);
}

/** @param {string} char */
function hex(char) {
  return `\u27e8${char.charCodeAt(0).toString(16).padStart(4, "0")}\u27e9`;
}

/** @param {string} text */
export function wordCount(text) {
  return text.trim() === "" ? 0 : text.trim().split(/\s+/).length;
}
