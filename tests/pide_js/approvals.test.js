/** What waits for a person, in words: pure. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { actionOf, choicesOf, decisionWords, outcomeWords, timeLeft, waitingCount, waitingMark } from "../../pide/static/approvals.js";

/** @param {any[]} agents */
const mesh = (agents) => /** @type {any} */ ({ agents: new Map(agents.map((agent) => [agent.id, agent])) });

test("what waits is counted over all agents that have not ended", () => {
  assert.equal(waitingCount(null), 0);
  assert.equal(waitingCount(mesh([{ id: "a", pending: 2 }, { id: "b" }, { id: "c", pending: 1, state: "exited" }])), 2);
});

test("the mark changes with what waits and with nothing else", () => {
  const one = waitingMark(mesh([{ id: "a", pending: 1, detail: "rm" }, { id: "b", state: "idle" }]));
  assert.equal(one, waitingMark(mesh([{ id: "b", state: "working" }, { id: "a", pending: 1, detail: "rm" }])));
  assert.notEqual(one, waitingMark(mesh([{ id: "a", pending: 1, detail: "mv" }])));
});

test("an agent that names no choices takes yes or no", () => {
  assert.deepEqual(choicesOf(/** @type {any} */ ({ action: {} })).map((choice) => choice.id), ["approve", "deny"]);
});

test("an action is shown as it is, whether a tool, a dialog or something else", () => {
  const tool = actionOf(/** @type {any} */ ({ action: { kind: "tool", detail: { tool: "bash", args: { command: "x" }, cwd: "/a", reasons: ["r"] } } }));
  assert.deepEqual(tool, { tool: "bash", args: { command: "x" }, cwd: "/a", reasons: ["r"], texts: [] });
  const dialog = actionOf(/** @type {any} */ ({ action: { kind: "dialog", detail: { method: "confirm", message: "Sure?" } } }));
  assert.deepEqual([dialog.args, dialog.texts], [undefined, ["Sure?"]]);
  assert.deepEqual(actionOf(/** @type {any} */ ({ action: { kind: "x", detail: "words" } })).texts, ["words"]);
  assert.deepEqual(actionOf(/** @type {any} */ ({ action: { kind: "x", detail: { a: 1 } } })).args, { a: 1 });
});

test("the time that is left runs out at nothing", () => {
  const at = Date.parse("2026-01-01T00:00:00Z");
  const approval = (/** @type {number} */ s) => /** @type {any} */ ({ action: {}, expires_at: new Date(at + s * 1_000).toISOString() });
  assert.equal(timeLeft(approval(61), at), "1:01");
  assert.equal(timeLeft(approval(-5), at), "0:00");
  assert.equal(timeLeft(approval(3_661), at), "1 h 1 min");
  assert.equal(timeLeft(/** @type {any} */ ({ action: {} }), at), "");
});

test("everybody reads who answered, and where", () => {
  const decided = (/** @type {object} */ more) => outcomeWords(/** @type {any} */ ({ action: { summary: "rm x" }, ...more }));
  assert.equal(decided({ state: "denied", by: "ada", note: "no" }), "rm x: denied by ada (no)");
  assert.equal(decided({ state: "approved", by: "terminal", via: "terminal" }), "rm x: approved at its terminal");
  assert.equal(decided({ state: "expired" }), "rm x: nobody answered in time, which denied it");
  assert.equal(decided({ state: "withdrawn", note: "aborted" }), "rm x: withdrawn (aborted)");
  const choices = [{ id: "0", label: "staging", kind: "option" }];
  assert.equal(decided({ state: "approved", by: "ada", choice: "0", choices }), "rm x: approved by ada: staging");
});

test("a call tells who let it through or not", () => {
  const words = (/** @type {any} */ decision) => decisionWords(decision);
  assert.equal(words({ state: "pending" }), "waits for approval");
  assert.equal(words({ state: "denied", by: "ann", via: "pide" }), "denied by ann");
  assert.equal(words({ state: "approved", by: "terminal", via: "terminal" }), "approved at its terminal");
  assert.equal(words({ state: "expired" }), "denied: nobody answered");
  assert.equal(words(undefined), "");
});
