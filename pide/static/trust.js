/**
 * Who is let in, as an admin is told: tokens, browsers, machines nearby, the audit trail. Pure.
 *
 * Names and details come from strangers too: what would not be seen in them is made visible here, once.
 */

import { ago, span, visible } from "./format.js";

/** @typedef {import("./protocol.js").Token} Token */
/** @typedef {import("./protocol.js").LoginSession} LoginSession */
/** @typedef {import("./protocol.js").AuditRow} AuditRow */
/** @typedef {import("./protocol.js").Certificate} Certificate */
/** @typedef {{who: string, what: string, result: string, about: string, since: string}} TrailFilter  since: a key of SINCE */
/** @typedef {{seq: number, at: string, who: string, origin: string, what: string, result: string, details: [string, string][]}} TrailRow */

/**
 * @typedef {object} Trail  the part of the audit trail that is on the screen
 * @property {TrailRow[] | null} rows  newest first
 * @property {number | null} next      where older rows begin, if there are any
 * @property {number} pages            that were read; new rows are put on top while there is one
 * @property {boolean} newer           there are newer rows than these
 * @property {boolean} busy
 */

/** @typedef {{rows: number, head: string, broken_at: number | null, reason: string}} Verdict */

/**
 * @typedef {object} Trust
 * @property {Token[] | null} tokens       newest first
 * @property {LoginSession[] | null} sessions  the most recently used first
 * @property {import("./protocol.js").Neighbours | null} nearby
 * @property {string} mine                 id of the session or token of this page
 * @property {Trail} trail
 * @property {Verdict | "busy" | null} verdict
 * @property {string} error                why the last answer did not come
 */

/**
 * @typedef {{type: "trust.tokens", tokens: Token[]}
 *   | {type: "trust.sessions", sessions: LoginSession[], mine: string}
 *   | {type: "trust.nearby", nearby: import("./protocol.js").Neighbours}
 *   | {type: "trust.trail", rows: AuditRow[], next: number | null, older: boolean}
 *   | {type: "trust.trailBusy", busy: boolean}
 *   | {type: "trust.trailNewer"}
 *   | {type: "trust.verdict", verdict: Verdict | "busy" | null}
 *   | {type: "trust.failed", error: string}} TrustHappening
 */

/** How far back the trail is asked for, in seconds; none: all of it. */
export const SINCE = /** @type {Record<string, {words: string, s: number}>} */ ({
  "": { words: "any time", s: 0 },
  hour: { words: "the last hour", s: 3_600 },
  day: { words: "the last day", s: 86_400 },
  week: { words: "the last week", s: 7 * 86_400 },
  month: { words: "the last 30 days", s: 30 * 86_400 },
});

/** @returns {TrailFilter} */
export const noFilter = () => ({ who: "", what: "", result: "", about: "", since: "" });

/** @returns {Trust} */
export function emptyTrust() {
  const trail = { rows: null, next: null, pages: 0, newer: false, busy: false };
  return { tokens: null, sessions: null, nearby: null, mine: "", trail, verdict: null, error: "" };
}

/**
 * @param {Trust} trust
 * @param {TrustHappening} event
 * @returns {Trust}
 */
export function trustTold(trust, event) {
  switch (event.type) {
    case "trust.tokens":
      return { ...trust, tokens: event.tokens.map(legibleToken).sort(byTime("created")), error: "" };
    case "trust.sessions":
      return { ...trust, sessions: event.sessions.map(legibleSession).sort(byTime("last_used")), mine: event.mine, error: "" };
    case "trust.nearby":
      return { ...trust, nearby: event.nearby };
    case "trust.trail":
      return { ...trust, trail: trailRead(trust.trail, event), error: "" };
    case "trust.trailBusy":
      return { ...trust, trail: { ...trust.trail, busy: event.busy } };
    case "trust.trailNewer":
      return { ...trust, trail: { ...trust.trail, newer: true } };
    case "trust.verdict":
      return { ...trust, verdict: event.verdict };
    case "trust.failed":
      return { ...trust, trail: { ...trust.trail, busy: false }, error: event.error };
  }
}

/**
 * @param {Trail} trail
 * @param {{rows: AuditRow[], next: number | null, older: boolean}} page
 * @returns {Trail}
 */
function trailRead(trail, { rows, next, older }) {
  const read = rows.map(legibleRow);
  const first = older ? (trail.rows ?? []) : [];
  return { rows: [...first, ...read], next, pages: older ? trail.pages + 1 : 1, newer: older && trail.newer, busy: false };
}

/** @param {"created" | "last_used"} key */
function byTime(key) {
  return (/** @type {any} */ a, /** @type {any} */ b) => (a[key] < b[key] ? 1 : a[key] > b[key] ? -1 : 0);
}

/** @param {Token} token */
const legibleToken = (token) => ({
  ...token,
  name: token.name === null ? null : visible(token.name),
  last_from: token.last_from && visible(token.last_from),
  joined: token.joined && visible(token.joined),
});

/** @param {LoginSession} session */
const legibleSession = (session) => ({
  ...session,
  name: visible(session.name),
  origin: visible(session.origin),
  address: visible(session.address),
});

/**
 * @param {AuditRow} row
 * @returns {TrailRow}
 */
function legibleRow(row) {
  const told = (/** @type {unknown} */ value) => visible(typeof value === "string" ? value : JSON.stringify(value));
  const details = /** @type {[string, string][]} */ (Object.entries(row.details ?? {}).map(([key, value]) => [visible(key), told(value)]));
  const { seq, at } = row;
  return { seq, at, who: visible(row.who), origin: visible(row.origin), what: visible(row.what), result: visible(row.result), details };
}

/**
 * Params of audit.list.
 * @param {TrailFilter} filter
 * @param {number} now
 */
export function trailParams({ who, what, result, about, since }, now) {
  const texts = Object.entries({ who, what, result, about }).filter(([, text]) => text.trim() !== "");
  const from = SINCE[since]?.s;
  return {
    ...Object.fromEntries(texts.map(([key, text]) => [key, text.trim()])),
    ...(from ? { since: new Date(now - from * 1_000).toISOString() } : {}),
  };
}

/**
 * What became of a token.
 * @param {Token} token
 * @param {number} now
 * @returns {{word: string, lives: boolean}}
 */
export function tokenState(token, now) {
  if (token.revoked) return { word: "revoked", lives: false };
  if (token.uses_left === 0) return { word: token.joined ? `used by ${token.joined}` : "used up", lives: false };
  const left = Date.parse(token.expires) - now;
  if (left <= 0) return { word: `expired ${ago(token.expires, now)}`, lives: false };
  const uses = token.uses_left === null ? "" : `, ${token.uses_left} use${token.uses_left === 1 ? "" : "s"} left`;
  return { word: `good for ${ahead(token.expires, now)}${uses}`, lives: true };
}

/**
 * How old a certificate is and when its machine renews it.
 * @param {Certificate | null | undefined} certificate
 * @param {number} now
 * @returns {{age: string, next: string, tone: "" | "warn" | "bad"}}
 */
export function certificateWords(certificate, now) {
  if (!certificate) return { age: "not known", next: "", tone: "" };
  const age = certificate.issued ? `issued ${ago(certificate.issued, now)}` : "issued earlier";
  if (Date.parse(certificate.expires) <= now) return { age, next: `ended ${ago(certificate.expires, now)}; renewed when it comes back`, tone: "bad" };
  if (!certificate.renews) return { age, next: `ends in ${ahead(certificate.expires, now)}`, tone: "" };
  if (Date.parse(certificate.renews) > now) return { age, next: `renews in ${ahead(certificate.renews, now)}`, tone: "" };
  return { age, next: `renewal due, ends in ${ahead(certificate.expires, now)}`, tone: "warn" };
}

/**
 * That a machine's clock is wrong: what people see of it, and why its times look odd.
 * @param {number} aheadS  seconds, negative when it is behind
 */
export function clockWords(aheadS) {
  const seconds = Math.abs(aheadS);
  const [size, unit] = seconds >= 172_800 ? [86_400, "days"] : seconds >= 7_200 ? [3_600, "h"] : seconds >= 120 ? [60, "min"] : [1, "s"];
  return `its clock is ${Math.round(seconds / size)} ${unit} ${aheadS > 0 ? "ahead" : "behind"}`;
}

/**
 * How long until a time, in one unit.
 * @param {string} at
 * @param {number} now
 */
export function ahead(at, now) {
  const text = span(Date.parse(at) - now);
  return text === "now" ? "a moment" : text;
}

/**
 * A countdown: `14:32`, `2:03:00`; empty when it is over.
 * @param {string} at
 * @param {number} now
 */
export function countdown(at, now) {
  const s = Math.ceil((Date.parse(at) - now) / 1_000);
  if (!(s > 0)) return "";
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const [h, m] = [Math.floor(s / 3_600), Math.floor(s / 60) % 60];
  return h >= 48 ? `${Math.floor(h / 24)} days` : h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/**
 * The outline of a QR code's dark modules as an SVG path, one unit a module, after a margin of four.
 * @param {string[]} rows  of 0 and 1
 */
export function qrPath(rows) {
  const parts = [];
  for (const [y, row] of rows.entries()) {
    for (const run of row.matchAll(/1+/g)) parts.push(`M${run.index + 4} ${y + 4}h${run[0].length}v1h-${run[0].length}z`);
  }
  return parts.join("");
}
