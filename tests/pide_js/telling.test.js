/** Whom to tell of what while nobody looks: pure. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { nothingTold, tell } from "../../pide/static/telling.js";

const NOON = Date.parse("2026-01-01T12:00:00Z");
const AWAY = { looked: false, allowed: true };
const HERE = { looked: true, allowed: true };

/**
 * @param {string} state
 * @param {number} [since_s]  after noon
 * @param {object} [more]
 */
const agent = (state, since_s = 0, more = {}) => ({ id: "a", name: "fix", node: "n", address: "fix@den", state, since: new Date(NOON + since_s * 1_000).toISOString(), ...more });

/**
 * @param {any[]} agents
 * @param {string} [node]  its state
 */
const mesh = (agents, node = "online") => /** @type {any} */ ({ nodes: new Map([["n", { id: "n", state: node }]]), agents: new Map(agents.map((one) => [one.id, one])) });

/**
 * Play one mesh after the other; what was decided at the last one.
 * @param {[any, typeof AWAY][]} steps
 */
function last(...steps) {
  /** @type {ReturnType<typeof tell>} */
  let decided = { told: nothingTold(), show: [], close: [] };
  for (const [now, eyes] of steps) decided = tell(decided.told, now, eyes);
  return decided;
}

/** @param {any[]} agents */
const away = (...agents) => /** @type {[any, typeof AWAY]} */ ([mesh(agents), AWAY]);

const ASKS = agent("waiting", 5, { detail: "waits for approval: git push", pending: 1 });

test("an agent that begins to wait is told once, with its machine and what it asks", () => {
  const begun = last(away(agent("working")), away(ASKS));
  assert.deepEqual(begun.show, [{ agent: "a", why: "waiting", title: "fix@den", body: "waits for approval: git push" }]);
  const again = tell(begun.told, mesh([{ ...ASKS, watchers: 1 }]), AWAY);
  assert.deepEqual([again.show, again.close], [[], []]);
});

test("what waited when the page was opened is no news", () => {
  assert.deepEqual(last(away(ASKS)).show, []);
  assert.deepEqual(last([null, AWAY], away(ASKS), away({ ...ASKS, watchers: 1 })).show, []);
});

test("nothing is told while somebody looks, nor afterwards what they saw begin", () => {
  assert.deepEqual(last([mesh([agent("working")]), HERE], [mesh([ASKS]), HERE]).show, []);
  assert.deepEqual(last([mesh([agent("working")]), HERE], [mesh([ASKS]), HERE], away(ASKS)).show, []);
});

test("nothing is told to whom the browser or the person does not want it told", () => {
  const not = { looked: false, allowed: false };
  assert.deepEqual(last(away(agent("working")), [mesh([ASKS]), not]).show, []);
  assert.deepEqual(last(away(agent("working")), away(ASKS), [mesh([ASKS]), not]).close, ["a"]);
});

test("a note is closed once the agent was answered anywhere, looked at, or is gone", () => {
  const waits = [away(agent("working")), away(ASKS)];
  assert.deepEqual(last(...waits, away(agent("working", 9))).close, ["a"]);
  assert.deepEqual(last(...waits, [mesh([ASKS]), HERE]).close, ["a"]);
  assert.deepEqual(last(...waits, away()).close, ["a"]);
});

test("another question of the same agent takes the place of the first", () => {
  const other = { ...ASKS, detail: "waits for approval: rm x" };
  const { show, close } = last(away(agent("working")), away(ASKS), away(other));
  assert.deepEqual([show.map((note) => note.body), close], [["waits for approval: rm x"], []]);
});

test("the same question asked once more after it was answered is told once more", () => {
  assert.equal(last(away(agent("working")), away(ASKS), away(agent("working", 9)), away({ ...ASKS })).show.length, 1);
});

test("a machine that comes and goes neither closes what its agent asked nor tells it again", () => {
  const waits = [away(agent("working")), away(ASKS)];
  const gone = last(...waits, [mesh([agent("unreachable", 9, { was: "waiting" })], "disconnected"), AWAY]);
  assert.deepEqual([gone.show, gone.close], [[], []]);
  const back = tell(gone.told, mesh([{ ...ASKS, since: agent("", 20).since }]), AWAY);
  assert.deepEqual([back.show, back.close], [[], []]);
});

test("a turn is told at its end if it was longer than thirty seconds, by the clock of its machine", () => {
  assert.deepEqual(last(away(agent("idle")), away(agent("working", 10)), away(agent("idle", 40))).show, []);
  const { show } = last(away(agent("idle")), away(agent("working", 10)), away(agent("idle", 190)));
  assert.deepEqual(show.map((note) => [note.why, note.body]), [["finished", "has finished a turn of 3 min"]]);
});

test("a turn lasts through its questions, and a question outside of a turn is none", () => {
  const asked = last(away(agent("working", 0)), away({ ...ASKS, since: agent("", 50).since }), away(agent("working", 55)), away(agent("idle", 60)));
  assert.deepEqual(asked.show.map((note) => note.body), ["has finished a turn of 1 min"]);
  assert.deepEqual(last(away(agent("idle")), away(ASKS), away(agent("idle", 500))).show, []);
});

test("what was told of a finished turn is over when the next one begins", () => {
  const done = [away(agent("working")), away(agent("idle", 60))];
  assert.deepEqual(last(...done, away(agent("idle", 60, { watchers: 1 }))).close, []);
  assert.deepEqual(last(...done, away(agent("working", 70))).close, ["a"]);
});

test("a long turn whose agent ends is told too, though its machine is away", () => {
  const { show } = last(away(agent("working")), [mesh([agent("exited", 60, { detail: "crashed" })], "lost"), AWAY]);
  assert.deepEqual(show.map((note) => note.body), ["has ended: crashed"]);
});

test("an agent that gets stuck is told once a turn", () => {
  const stuck = (/** @type {number} */ s) => agent("stuck", s, { detail: "nothing has come from it for 5 min" });
  const once = last(away(agent("working")), away(stuck(5)));
  assert.deepEqual(once.show.map((note) => note.body), ["seems stuck: nothing has come from it for 5 min"]);
  const moving = tell(once.told, mesh([agent("working", 6)]), AWAY);
  assert.deepEqual(moving.close, ["a"]);
  assert.deepEqual(tell(moving.told, mesh([stuck(9)]), AWAY).show, []);
  assert.equal(last(away(agent("working")), away(stuck(5)), away(agent("idle", 6)), away(agent("working", 7)), away(stuck(9))).show.length, 1);
});

test("when there is too much to tell, those who wait go before those who have finished", () => {
  const many = Array.from({ length: 20 }, (_, n) => n);
  const done = many.map((n) => agent("idle", 60, { id: `d${n}` }));
  const full = last(away(...done.map((one) => ({ ...one, state: "working", since: agent("").since })), agent("working")), away(...done, agent("working")));
  assert.equal(full.show.length, 12);
  const { show, close, told } = tell(full.told, mesh([...done, ASKS]), AWAY);
  assert.deepEqual(show.map((note) => note.agent), ["a"]);
  assert.deepEqual([close.length, told.notes.size], [1, 12]);
});

test("what is asked is told in one line of bounded length", () => {
  const [note] = last(away(agent("working")), away(agent("waiting", 5, { detail: `one\n  two ${"x".repeat(500)}` }))).show;
  assert.match(note.body, /^one two x+…$/);
  assert.equal(note.body.length, 140);
});
