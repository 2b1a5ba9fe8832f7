import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Client } from "../../pide/static/client.js";
import { NoAnswer, RpcError, allows, readFrame } from "../../pide/static/protocol.js";
import { promptChanged, promptSent, unanswered } from "../../pide/static/prompts.js";
import { scrollChanged, scrollFrom } from "../../pide/static/scrolls.js";
import { apply, emptyState } from "../../pide/static/state.js";

const prompt = (more = {}) => ({ id: "p1", agent: "a", text: "go", mode: "prompt", sentAt: 0, receipt: "sending", ...more });
const receiptOf = (state) => state.prompts.get("a")[0].receipt;
const snapshot = { entries: [], more: false };
const meshGot = (more = {}) => ({ mesh: "m", epoch: "e", rev: 1, me: { name: "ada", role: "admin" }, nodes: [{ id: "n", name: "n", state: "online" }], agents: [{ id: "a", name: "a", node: "n", state: "idle", cwd: "/", kind: "pi" }], ...more });

function opened() {
  let state = apply(emptyState(), { type: "link", status: { phase: "open" }, at: 1 });
  state = apply(state, { type: "mesh.get", result: meshGot(), at: 1 });
  state = apply(state, { type: "agent.opened", agent: "a" });
  return apply(state, { type: "agent.attached", result: { agent: "a", resume: "fresh", epoch: "e1", seq: 0, snapshot } });
}

describe("receipts of prompts", () => {
  const after = (...receipts) => {
    let prompts = promptSent(new Map(), prompt());
    for (const receipt of receipts) prompts = promptChanged(prompts, { agent: "a", id: "p1", receipt });
    return prompts.get("a")[0].receipt;
  };

  test("go forward and never back", () => {
    assert.equal(after("stored", "queued", "delivered"), "delivered");
    assert.equal(after("delivered", "stored"), "delivered");
    assert.equal(after("queued", "stored"), "queued");
  });

  test("unknown ends as soon as somebody knows", () => {
    assert.equal(after("stored", "unknown"), "unknown");
    assert.equal(after("stored", "unknown", "delivered"), "delivered");
    assert.equal(after("delivered", "unknown"), "delivered");
  });

  test("a receipt for a prompt of another page changes nothing", () => {
    const prompts = promptSent(new Map(), prompt());
    assert.equal(promptChanged(prompts, { agent: "a", id: "other", receipt: "stored" }), prompts);
  });

  test("the echo in the conversation is a proof of delivery", () => {
    let state = apply(opened(), { type: "prompt.sent", prompt: prompt() });
    const events = [{ seq: 1, type: "user_message", message_id: "u", text: "go", source: "pide", prompt_id: "p1" }];
    state = apply(state, { type: "agent.events", params: { agent: "a", epoch: "e1", events } });
    assert.equal(receiptOf(state), "delivered");
  });

  test("an agent that lost a prompt says so, and the person can send it again", () => {
    let state = apply(opened(), { type: "prompt.sent", prompt: prompt({ receipt: "queued" }) });
    const events = [{ seq: 1, type: "notice", level: "warning", text: "A prompt was lost: reload", prompt_id: "p1" }];
    state = apply(state, { type: "agent.events", params: { agent: "a", epoch: "e1", events } });
    assert.equal(receiptOf(state), "unknown");
    assert.match(state.prompts.get("a")[0].error, /reload/);
  });

  test("prompts too old for their idempotency key are not sent again", () => {
    const prompts = promptSent(promptSent(new Map(), prompt({ sentAt: 0 })), prompt({ id: "p2", sentAt: 3_000_000 }));
    const { again, tooOld } = unanswered(prompts, 3_600_000);
    assert.deepEqual([again.map((one) => one.id), tooOld.map((one) => one.id)], [["p2"], ["p1"]]);
  });
});

describe("state", () => {
  test("a lost link keeps everything readable and marks it as not attached", () => {
    const state = apply(opened(), { type: "link", status: { phase: "waiting", attempt: 1, cause: "gone", retryAt: 5 }, at: 77 });
    assert.equal(state.conversations.get("a").attached, false);
    assert.equal(state.conversations.get("a").loaded, true);
    assert.equal(state.mesh.agents.size, 1);
    assert.equal(state.heardAt, 77);
  });

  test("the time of the last knowledge does not move while attempts fail", () => {
    let state = apply(opened(), { type: "link", status: { phase: "waiting", attempt: 1, cause: "gone", retryAt: 5 }, at: 77 });
    state = apply(state, { type: "link", status: { phase: "connecting", attempt: 1 }, at: 99 });
    assert.equal(state.heardAt, 77);
  });

  test("only so many conversations are kept, the least recently opened goes first", () => {
    let state = emptyState();
    for (let n = 0; n < 12; n += 1) state = apply(state, { type: "agent.opened", agent: `a${n}` });
    assert.equal(state.conversations.size, 8);
    assert.ok(state.conversations.has("a11") && !state.conversations.has("a3"));
  });

  test("events of an agent that is not open change nothing", () => {
    const state = opened();
    const next = apply(state, { type: "agent.events", params: { agent: "b", epoch: "x", events: [{ seq: 1, type: "state", state: "idle" }] } });
    assert.equal(next, state);
  });

  test("apply leaves the old state as it was", () => {
    const state = opened();
    const copy = structuredClone(state);
    apply(state, { type: "agent.events", params: { agent: "a", epoch: "e1", events: [{ seq: 1, type: "message_start", message_id: "m", role: "assistant" }, { seq: 2, type: "text_delta", message_id: "m", block: 0, delta: "x" }] } });
    apply(state, { type: "mesh.changed", params: { epoch: "e", from: 1, rev: 2, gone: ["a"] } });
    assert.deepEqual(state, copy);
  });
});

describe("scrolls", () => {
  test("one receipt per recipient, each with its own series", () => {
    let scrolls = [scrollFrom({ scroll_id: "S", from: "ada", to: "*@den", message: "hi", state: "accepted" })];
    scrolls = scrollChanged(scrolls, { scroll_id: "S", to: "a@den", state: "stored" });
    scrolls = scrollChanged(scrolls, { scroll_id: "S", to: "b@den", state: "refused", reason: "full" });
    scrolls = scrollChanged(scrolls, { scroll_id: "S", to: "a@den", state: "answered", opcode: { opcode_type: "text_display", content: "ok" } });
    assert.deepEqual(scrolls[0].receipts.map(({ to, state }) => [to, state]), [["a@den", "answered"], ["b@den", "refused"]]);
    assert.equal(scrolls[0].receipts[0].opcode.content, "ok");
  });

  test("a change of an unknown scroll is ignored", () => {
    const scrolls = [scrollFrom({ scroll_id: "S", to: "a", message: "m", state: "accepted" })];
    assert.equal(scrollChanged(scrolls, { scroll_id: "T", to: "a", state: "stored" }), scrolls);
  });
});

describe("frames", () => {
  test("are answers, notifications or unreadable, and never an exception", () => {
    assert.equal(readFrame("{").kind, "unreadable");
    assert.equal(readFrame("null").kind, "unreadable");
    assert.equal(readFrame("[]").kind, "unreadable");
    assert.equal(readFrame('{"id":"x","result":1}').kind, "unreadable");
    assert.equal(readFrame('{"id":1,"result":null}').kind, "answer");
    assert.deepEqual(readFrame('{"method":"m"}'), { kind: "notification", method: "m", params: {} });
  });
});

describe("roles", () => {
  test("each may do what the ones before it may", () => {
    assert.deepEqual(["viewer", "operator", "admin"].map((role) => allows(role, "agent.prompt")), [false, true, true]);
    assert.deepEqual(["viewer", "operator", "admin"].map((role) => allows(role, "token.create")), [false, false, true]);
    assert.equal(allows(undefined, "agent.attach"), false);
  });
});

/** A client over a state and a server of the test's own. */
function clientOf(answers) {
  const calls = [];
  const world = { state: emptyState(), calls, errors: new Map(), terminal: null, told: [] };
  world.dispatch = (event) => {
    const before = world.state;
    world.state = apply(before, event);
    if (world.state !== before) world.client.settle(before);
  };
  world.client = new Client({
    request: async (method, params) => {
      calls.push([method, params]);
      const answer = answers[method];
      if (answer === undefined) return {};
      const result = typeof answer === "function" ? answer(params) : answer;
      if (result instanceof Error) throw result;
      return result;
    },
    state: () => world.state,
    dispatch: world.dispatch,
    onAttach: (agent, error) => world.errors.set(agent, error),
    terminal: () => world.terminal,
    onTerminal: (agent, told) => world.told.push([agent, told]),
    onHeartbeat: () => {},
    now: () => 1_000,
  });
  world.called = (method) => calls.filter(([name]) => name === method).map(([, params]) => params);
  return world;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("the client", () => {
  const attachedTo = (seq) => (params) =>
    params.epoch ? { agent: "a", resume: "ok", epoch: params.epoch, seq: params.seq } : { agent: "a", resume: "fresh", epoch: "e1", seq, snapshot };

  test("asks for the mesh and the open conversation on every new link, from its cursor", async () => {
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": attachedTo(4) });
    world.client.open("a");
    await world.client.linked({ phase: "open" });
    await settled();
    await world.client.linked({ phase: "waiting", attempt: 1, cause: "gone", retryAt: 0 });
    await world.client.linked({ phase: "open" });
    assert.equal(world.called("mesh.get").length, 2);
    assert.deepEqual(world.called("agent.attach"), [{ agent: "a" }, { agent: "a", epoch: "e1", seq: 4 }]);
  });

  test("asks for the mesh again when a revision is missing", async () => {
    const world = clientOf({ "mesh.get": meshGot() });
    await world.client.linked({ phase: "open" });
    world.dispatch({ type: "mesh.changed", params: { epoch: "e", from: 7, rev: 8 } });
    await settled();
    assert.equal(world.called("mesh.get").length, 2);
    assert.equal(world.state.mesh.stale, false);
  });

  test("resumes after a hole from the last applied event", async () => {
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": attachedTo(4) });
    world.client.open("a");
    await world.client.linked({ phase: "open" });
    await settled();
    world.dispatch({ type: "agent.events", params: { agent: "a", epoch: "e1", events: [{ seq: 6, type: "state", state: "idle" }] } });
    await settled();
    assert.deepEqual(world.called("agent.attach").at(-1), { agent: "a", epoch: "e1", seq: 4 });
    assert.equal(world.state.conversations.get("a").need, null);
  });

  test("attaches without a cursor after a reset", async () => {
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": attachedTo(4) });
    world.client.open("a");
    await world.client.linked({ phase: "open" });
    await settled();
    world.dispatch({ type: "agent.reset", params: { agent: "a", epoch: "e2", reason: "new" } });
    await settled();
    assert.deepEqual(world.called("agent.attach").at(-1), { agent: "a" });
  });

  test("does not attach for ever to a server whose answers never fit", async () => {
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": (params) => ({ agent: "a", resume: "ok", epoch: `other${Math.random()}`, seq: params.seq ?? 0 }) });
    world.client.open("a");
    await world.client.linked({ phase: "open" });
    for (let n = 0; n < 50; n += 1) await settled();
    assert.ok(world.called("agent.attach").length < 8);
    await world.client.linked({ phase: "stopped" });
  });

  test("says why a conversation cannot be read, and tries again when its node is back", async () => {
    let away = true;
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": (params) => (away ? new RpcError("not reachable", -32011) : attachedTo(1)(params)) });
    world.client.open("a");
    await world.client.linked({ phase: "open" });
    await settled();
    assert.equal(world.errors.get("a"), "not reachable");
    world.dispatch({ type: "mesh.changed", params: { epoch: "e", from: 1, rev: 2, nodes: [{ id: "n", name: "n", state: "disconnected" }] } });
    away = false;
    world.dispatch({ type: "mesh.changed", params: { epoch: "e", from: 2, rev: 3, nodes: [{ id: "n", name: "n", state: "online" }] } });
    await settled();
    assert.equal(world.state.conversations.get("a").attached, true);
    await world.client.linked({ phase: "stopped" });
  });

  test("proves the way to an agent by asking its node, and takes no memory for a proof", async () => {
    let card = {};
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": attachedTo(1), "agent.show": () => ({ evidence: { stream: "2026-01-01T00:00:00Z" }, card }) });
    await world.client.linked({ phase: "open" });
    world.client.open("a");
    await world.client.probe();
    assert.equal(world.state.probe.error, "");
    assert.equal(world.state.probe.evidence.stream, "2026-01-01T00:00:00Z");
    card = null;
    await world.client.probe();
    assert.match(world.state.probe.error, /did not answer/);
    assert.equal(world.state.probe.evidence, null);
  });

  test("leaves the agent that was open before", async () => {
    const world = clientOf({ "mesh.get": meshGot(), "agent.attach": attachedTo(1) });
    await world.client.linked({ phase: "open" });
    world.client.open("a");
    await settled();
    world.client.open("b");
    await settled();
    assert.deepEqual(world.called("agent.detach"), [{ agent: "a" }]);
    assert.equal(world.state.conversations.get("a").attached, false);
  });

  test("sends a prompt without an answer again on the next link, under the same id", async () => {
    let answer = new NoAnswer("the link was lost");
    const world = clientOf({ "mesh.get": meshGot(), "agent.prompt": () => answer });
    await world.client.linked({ phase: "open" });
    await world.client.prompt("a", "go", "prompt");
    assert.equal(receiptOf(world.state), "sending");
    await world.client.linked({ phase: "waiting", attempt: 1, cause: "gone", retryAt: 0 });
    answer = { id: "x", receipt: "stored" };
    await world.client.linked({ phase: "open" });
    await settled();
    const ids = world.called("agent.prompt").map((params) => params.id);
    assert.equal(ids.length, 2);
    assert.equal(ids[0], ids[1]);
    assert.equal(receiptOf(world.state), "stored");
  });

  test("does not repeat a prompt that was refused, and says why", async () => {
    const world = clientOf({ "mesh.get": meshGot(), "agent.prompt": new RpcError("no", -32012, { hint: "ask" }) });
    await world.client.linked({ phase: "open" });
    await world.client.prompt("a", "go", "prompt");
    assert.equal(receiptOf(world.state), "refused");
    assert.equal(world.state.prompts.get("a")[0].error, "no (ask)");
    await world.client.linked({ phase: "open" });
    assert.equal(world.called("agent.prompt").length, 1);
  });

  test("does not send what no frame can carry", async () => {
    const world = clientOf({});
    await world.client.linked({ phase: "open" });
    await world.client.prompt("a", "é".repeat(600_000), "prompt");
    assert.equal(world.called("agent.prompt").length, 0);
    assert.equal(receiptOf(world.state), "refused");
  });
});
