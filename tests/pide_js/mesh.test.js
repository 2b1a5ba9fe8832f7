import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { meshChanged, meshFrom } from "../../pide/static/mesh.js";
import { inSight, offsetOf, rosterRows, HEIGHT } from "../../pide/static/roster.js";

const node = (id, more = {}) => ({ id, name: id, state: "online", ...more });
const agent = (id, more = {}) => ({ id, name: id, node: "n1", kind: "pi", state: "idle", cwd: "/home/ada/p", ...more });
const mesh = (more = {}) => meshFrom({ mesh: "m", epoch: "e1", rev: 5, me: { name: "ada", role: "admin" }, nodes: [node("n1")], agents: [agent("a1"), agent("a2")], ...more });
const look = { filter: "", chip: "all", folded: new Set(), endedShown: new Set() };

describe("mesh.changed", () => {
  test("the next revision is merged in", () => {
    const next = meshChanged(mesh(), { epoch: "e1", from: 5, rev: 6, agents: [agent("a1", { state: "working" })] });
    assert.equal(next.agents.get("a1").state, "working");
    assert.equal(next.rev, 6);
    assert.equal(next.stale, false);
  });

  test("a revision that we have is ignored", () => {
    const now = mesh();
    assert.equal(meshChanged(now, { epoch: "e1", from: 4, rev: 5, gone: ["a1"] }), now);
  });

  test("a change that reaches back before our revision covers the rest", () => {
    const next = meshChanged(mesh(), { epoch: "e1", from: 3, rev: 8, gone: ["a2"] });
    assert.equal(next.rev, 8);
    assert.deepEqual([...next.agents.keys()], ["a1"]);
  });

  test("a hole makes the mesh stale and changes nothing", () => {
    const next = meshChanged(mesh(), { epoch: "e1", from: 6, rev: 7, gone: ["a1"] });
    assert.equal(next.stale, true);
    assert.equal(next.rev, 5);
    assert.ok(next.agents.has("a1"));
  });

  test("another epoch makes the mesh stale, whatever its numbers", () => {
    assert.equal(meshChanged(mesh(), { epoch: "e2", from: 5, rev: 6 }).stale, true);
  });

  test("what left may be told as a list or by kind", () => {
    assert.equal(meshChanged(mesh(), { epoch: "e1", from: 5, rev: 6, gone: { agents: ["a1"], nodes: [] } }).agents.size, 1);
    assert.equal(meshChanged(mesh(), { epoch: "e1", from: 5, rev: 6, gone: ["n1"] }).nodes.size, 0);
  });

  test("what does not change is the same object, so that it is not drawn again", () => {
    const now = mesh();
    assert.equal(meshChanged(now, { epoch: "e1", from: 5, rev: 6, agents: [agent("a1")] }).nodes, now.nodes);
  });
});

describe("names", () => {
  test("with characters that cannot be seen are shown with them", () => {
    const bad = mesh({ nodes: [node("n1", { name: "den\u202enimda" })], agents: [agent("a1", { name: "ad\u200ba", detail: null })] });
    assert.equal(bad.nodes.get("n1").name, "den⟨202e⟩nimda");
    assert.equal(bad.agents.get("a1").name, "ad⟨200b⟩a");
    const next = meshChanged(bad, { epoch: "e1", from: 5, rev: 6, agents: [agent("a2", { name: "x\u0007" })] });
    assert.equal(next.agents.get("a2").name, "x⟨0007⟩");
  });
});

describe("the roster", () => {
  test("groups agents by machine and then by project", () => {
    const rows = rosterRows(mesh({ agents: [agent("b", { cwd: "/x/web" }), agent("a", { cwd: "/x/web" }), agent("c", { cwd: "/x/api" })] }), look);
    assert.deepEqual(rows.map((row) => row.key), ["n:n1", "p:n1:api", "a:c", "p:n1:web", "a:a", "a:b"]);
  });

  test("an agent of a machine that is not told is still listed", () => {
    const rows = rosterRows(mesh({ nodes: [], agents: [agent("a")] }), look);
    assert.deepEqual(rows.map((row) => row.kind), ["node", "project", "agent"]);
  });

  test("ended agents are counted, and listed when asked for or looked for", () => {
    const many = mesh({ agents: [agent("a"), agent("z", { state: "exited" })] });
    assert.ok(!rosterRows(many, look).some((row) => row.key === "a:z"));
    assert.equal(rosterRows(many, look).at(-1).count, 1);
    assert.ok(rosterRows(many, { ...look, endedShown: new Set(["n1"]) }).some((row) => row.key === "a:z"));
    assert.ok(rosterRows(many, { ...look, filter: "z" }).some((row) => row.key === "a:z"));
  });

  test("every word of the filter must fit, in any of name, machine, folder, model", () => {
    const two = mesh({ agents: [agent("web", { model: "x/sonnet" }), agent("api")] });
    assert.deepEqual(rosterRows(two, { ...look, filter: "SONNET ada" }).filter((row) => row.kind === "agent").map((row) => row.agent.id), ["web"]);
    assert.equal(rosterRows(two, { ...look, filter: "sonnet nothing" }).length, 0);
  });

  test("those that wait for a person can be looked at alone", () => {
    const rows = rosterRows(mesh({ agents: [agent("a"), agent("b", { state: "waiting" }), agent("c", { state: "stuck" })] }), { ...look, chip: "needs" });
    assert.deepEqual(rows.filter((row) => row.kind === "agent").map((row) => row.agent.id), ["b", "c"]);
  });

  test("only rows near the window are drawn, and the room of the others is kept", () => {
    const agents = Array.from({ length: 10_000 }, (_, n) => agent(`a${String(n).padStart(5, "0")}`));
    const rows = rosterRows(mesh({ agents }), look);
    const whole = rows.reduce((sum, row) => sum + HEIGHT[row.kind], 0);
    for (const top of [0, 5_000, whole - 800]) {
      const sight = inSight(rows, HEIGHT, top, 800);
      const drawn = sight.rows.reduce((sum, row) => sum + HEIGHT[row.kind], 0);
      assert.equal(sight.above + drawn + sight.below, whole);
      assert.ok(sight.rows.length < 80);
      assert.ok(sight.above <= top && sight.above + drawn >= top + 800);
    }
    assert.equal(offsetOf(rows, HEIGHT, "a:a00001"), HEIGHT.node + HEIGHT.project + HEIGHT.agent);
  });
});

test("an ended agent that another went on with is listed only when it is looked for, and says who did", () => {
  const look = { filter: "", chip: /** @type {const} */ ("all"), folded: new Set(), endedShown: new Set(["n1"]) };
  const chain = mesh({
    agents: [
      agent("old", { state: "exited" }),
      agent("mid", { state: "exited", resumed_from: "old" }),
      agent("now", { resumed_from: "mid" }),
      agent("other", { state: "exited" }),
    ],
  });
  const names = (/** @type {any} */ change) => rosterRows(chain, { ...look, ...change }).filter((row) => row.kind === "agent").map((row) => /** @type {any} */ (row).agent.id);
  assert.deepEqual(names({}), ["now", "other"]);
  assert.deepEqual(names({ chip: "ended" }), ["other"]);
  assert.deepEqual(names({ filter: "old" }), ["old"]);
  const [row] = rosterRows(chain, { ...look, filter: "mid" }).filter((one) => one.kind === "agent");
  assert.equal(/** @type {any} */ (row).after.id, "now");
});
