import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { apply, emptyState } from "../../pide/static/state.js";
import { certificateWords, clockWords, countdown, noFilter, qrPath, tokenState, trailParams } from "../../pide/static/trust.js";
import { addressOf, routeOf } from "../../pide/static/ui.js";

const NOW = Date.parse("2026-01-31T12:00:00Z");
const inS = (s) => new Date(NOW + s * 1_000).toISOString();
const token = (more = {}) => ({ id: "t", role: "node", name: null, created: inS(-60), expires: inS(600), uses_left: 1, last_used: null, last_from: null, joined: null, revoked: false, ...more });
const row = (seq, more = {}) => ({ seq, at: inS(seq), who: "ada", origin: "cli", what: "node.join", result: "done", details: {}, ...more });

describe("a token", () => {
  test("is good while it has time and uses, and says how it ended", () => {
    assert.deepEqual(tokenState(token(), NOW), { word: "good for 10 min, 1 use left", lives: true });
    assert.deepEqual(tokenState(token({ uses_left: null }), NOW), { word: "good for 10 min", lives: true });
    assert.deepEqual(tokenState(token({ uses_left: 0, joined: "attic" }), NOW), { word: "used by attic", lives: false });
    assert.deepEqual(tokenState(token({ uses_left: 0 }), NOW), { word: "used up", lives: false });
    assert.deepEqual(tokenState(token({ expires: inS(-120) }), NOW), { word: "expired 2 min ago", lives: false });
    assert.deepEqual(tokenState(token({ revoked: true, expires: inS(-1) }), NOW), { word: "revoked", lives: false });
  });

  test("counts down to nothing", () => {
    assert.equal(countdown(inS(900), NOW), "15:00");
    assert.equal(countdown(inS(59.2), NOW), "1:00");
    assert.equal(countdown(inS(7_203), NOW), "2:00:03");
    assert.equal(countdown(inS(90 * 86_400), NOW), "90 days");
    assert.equal(countdown(inS(0), NOW), "");
    assert.equal(countdown("nonsense", NOW), "");
  });
});

describe("a certificate", () => {
  const words = (issued, renews, expires) => certificateWords({ issued: issued && inS(issued), renews: renews && inS(renews), expires: inS(expires) }, NOW);

  test("says how old it is and what comes next", () => {
    assert.deepEqual(words(-86_400, 3 * 86_400, 6 * 86_400), { age: "issued 1 d ago", next: "renews in 3 d", tone: "" });
    assert.deepEqual(words(-86_400, -60, 86_400), { age: "issued 1 d ago", next: "renewal due, ends in 1 d", tone: "warn" });
    assert.equal(words(-86_400, -3_600, -60).tone, "bad");
    assert.deepEqual(words(null, null, 86_400), { age: "issued earlier", next: "ends in 1 d", tone: "" });
    assert.equal(certificateWords(null, NOW).age, "not known");
  });
});

describe("the audit trail", () => {
  const told = (state, ...events) => events.reduce(apply, state);
  const page = (rows, next = null, older = false) => ({ type: "trust.trail", rows, next, older });

  test("is read page by page, and a first page begins anew", () => {
    let state = told(emptyState(), page([row(9), row(8)], 8), page([row(7)], null, true));
    assert.deepEqual(state.trust.trail.rows.map(({ seq }) => seq), [9, 8, 7]);
    assert.equal(state.trust.trail.pages, 2);
    state = told(state, { type: "trust.trailNewer" }, page([row(10), row(9)], 9));
    assert.deepEqual(state.trust.trail.rows.map(({ seq }) => seq), [10, 9]);
    assert.deepEqual([state.trust.trail.pages, state.trust.trail.newer, state.trust.trail.next], [1, false, 9]);
  });

  test("shows what would not be seen, in keys, texts and deep values", () => {
    const state = told(emptyState(), page([row(1, { who: "a\u202eb", details: { "k\u200b": ["x\u2066y"] } })]));
    assert.equal(state.trust.trail.rows[0].who, "a⟨202e⟩b");
    assert.deepEqual(state.trust.trail.rows[0].details, [["k⟨200b⟩", '["x⟨2066⟩y"]']]);
  });

  test("is asked for by what is filled in", () => {
    assert.deepEqual(trailParams(noFilter(), NOW), {});
    const filter = { ...noFilter(), who: " ada ", what: "", result: "done", since: "hour" };
    assert.deepEqual(trailParams(filter, NOW), { who: "ada", result: "done", since: "2026-01-31T11:00:00.000Z" });
  });

  test("keeps what was read when an answer does not come", () => {
    const state = told(emptyState(), page([row(1)]), { type: "trust.trailBusy", busy: true }, { type: "trust.failed", error: "no answer" });
    assert.deepEqual([state.trust.trail.rows.length, state.trust.trail.busy, state.trust.error], [1, false, "no answer"]);
    assert.equal(told(state, page([row(1)])).trust.error, "");
  });
});

test("tokens stand newest first, browsers by their last use", () => {
  let state = apply(emptyState(), { type: "trust.tokens", tokens: [token({ id: "old", created: inS(-900) }), token({ id: "new" })] });
  assert.deepEqual(state.trust.tokens.map(({ id }) => id), ["new", "old"]);
  const session = (id, used) => ({ id, name: "ada", role: "admin", origin: "o", address: "a", created: inS(-9), last_used: inS(used), expires: inS(9), token: null });
  state = apply(state, { type: "trust.sessions", sessions: [session("idle", -500), session("busy", -1)], mine: "busy" });
  assert.deepEqual(state.trust.sessions.map(({ id }) => id), ["busy", "idle"]);
});

test("a QR code is drawn as runs of dark modules with a margin of four", () => {
  assert.equal(qrPath(["1101", "0000", "0001"]), "M4 4h2v1h-2zM7 4h1v1h-1zM7 6h1v1h-1z");
});

test("the page of the mesh has an address for each part", () => {
  assert.deepEqual(routeOf("#/mesh/audit"), { kind: "mesh", id: "audit" });
  assert.deepEqual(routeOf("#/mesh"), { kind: "mesh", id: "let-in" });
  assert.deepEqual(routeOf("#/mesh/elsewhere"), { kind: "mesh", id: "let-in" });
  assert.equal(addressOf({ kind: "mesh", id: "logins" }), "#/mesh/logins");
});

test("a clock that is wrong is told in one unit, with its direction", () => {
  assert.equal(clockWords(86_400), "its clock is 24 h ahead");
  assert.equal(clockWords(-90), "its clock is 90 s behind");
  assert.equal(clockWords(-864_000), "its clock is 10 days behind");
});
