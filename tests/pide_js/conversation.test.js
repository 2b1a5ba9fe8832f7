import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { agentEvents, agentReset, attach, decisionOn, emptyConversation, isInTurn, olderEntries, oldestId } from "../../pide/static/conversation.js";

const entry = (id, role, blocks, more = {}) => ({ id, message_id: `m-${id}`, role, at: "2026-01-01T00:00:00.000Z", blocks, ...more });
const text = (words) => [{ type: "text", text: words }];

function attached({ entries = [], running = null, seq = 10, epoch = "e1", more = false, ...snapshot } = {}) {
  return attach(emptyConversation("a"), { agent: "a", resume: "fresh", epoch, seq, snapshot: { entries, running, more, ...snapshot } });
}

const batch = (events, epoch = "e1") => ({ agent: "a", epoch, events });
const delta = (seq, words, more = {}) => ({ seq, type: "text_delta", message_id: "m1", block: 0, delta: words, ...more });
const start = (seq) => ({ seq, type: "message_start", message_id: "m1", role: "assistant" });

describe("events", () => {
  test("deltas in order make the running message and move the cursor", () => {
    const conv = agentEvents(attached(), batch([start(11), delta(12, "Hel"), delta(13, "lo")]));
    assert.deepEqual(conv.running[0].blocks, text("Hello"));
    assert.equal(conv.seq, 13);
  });

  test("an event that was already applied is ignored", () => {
    const once = agentEvents(attached(), batch([start(11), delta(12, "Hello")]));
    const twice = agentEvents(once, batch([start(11), delta(12, "Hello")]));
    assert.deepEqual(twice, once);
  });

  test("a batch that overlaps with what was applied only adds what is new", () => {
    const once = agentEvents(attached(), batch([start(11), delta(12, "Hel")]));
    const conv = agentEvents(once, batch([delta(12, "Hel"), delta(13, "lo")]));
    assert.deepEqual(conv.running[0].blocks, text("Hello"));
  });

  test("a hole is not applied: it asks to resume from the last applied event", () => {
    const conv = agentEvents(attached(), batch([start(11), delta(13, "lo")]));
    assert.equal(conv.need, "resume");
    assert.equal(conv.seq, 11);
    assert.deepEqual(conv.running[0].blocks, []);
  });

  test("nothing is applied while a resume is needed", () => {
    const holed = agentEvents(attached(), batch([delta(13, "lo")]));
    assert.equal(agentEvents(holed, batch([start(11)])), holed);
  });

  test("events of another epoch are not ours: ask for a fresh snapshot", () => {
    const conv = agentEvents(attached(), batch([start(11)], "e2"));
    assert.equal(conv.need, "fresh");
    assert.equal(conv.seq, 10);
  });

  test("events before the first snapshot are left to it", () => {
    const conv = emptyConversation("a");
    assert.equal(agentEvents(conv, batch([start(1)])), conv);
  });

  test("a joined delta covers first_seq..seq", () => {
    const conv = agentEvents(attached(), batch([start(11), delta(15, "Hello", { first_seq: 12 }), delta(16, "!")]));
    assert.deepEqual(conv.running[0].blocks, text("Hello!"));
    assert.equal(conv.seq, 16);
    assert.equal(conv.need, null);
  });

  test("a joined delta whose beginning is already in cannot be cut: resume instead of doubling text", () => {
    const once = agentEvents(attached(), batch([start(11), delta(12, "Hel")]));
    const conv = agentEvents(once, batch([delta(14, "Hello", { first_seq: 12 })]));
    assert.equal(conv.need, "resume");
    assert.deepEqual(conv.running[0].blocks, text("Hel"));
  });

  test("replaying a whole stream from any cut gives the same conversation", () => {
    const events = [
      { seq: 11, type: "user_message", message_id: "u1", text: "go", source: "pide", prompt_id: "p1" },
      { seq: 12, type: "message_end", message_id: "u1", entry: entry("1", "user", text("go"), { message_id: "u1" }) },
      start(13),
      delta(14, "a"),
      { seq: 15, type: "message_end", message_id: "m1", entry: entry("2", "assistant", [{ type: "tool_call", call_id: "c", name: "bash", args: {} }], { message_id: "m1" }) },
      { seq: 16, type: "tool_start", call_id: "c", message_id: "m1", name: "bash", args: {} },
      { seq: 17, type: "tool_end", call_id: "c", result: "ok", is_error: false, duration_ms: 3 },
      { seq: 18, type: "notice", level: "info", text: "n" },
    ];
    const whole = agentEvents(attached(), batch(events));
    for (let cut = 0; cut <= events.length; cut += 1) {
      for (let back = 0; back <= cut; back += 1) {
        const first = agentEvents(attached(), batch(events.slice(0, cut)));
        assert.deepEqual(agentEvents(first, batch(events.slice(back))), whole, `cut ${cut}, again from ${back}`);
      }
    }
  });

  test("an unknown event is kept as a note, never dropped", () => {
    const conv = agentEvents(attached(), batch([{ seq: 11, type: "hologram", shape: "cube" }]));
    assert.equal(conv.entries[0].role, "note");
    assert.equal(conv.entries[0].blocks[0].event.shape, "cube");
  });

  test("a block number that no message has does not make a huge array", () => {
    const conv = agentEvents(attached(), batch([start(11), delta(12, "x", { block: 4e9 })]));
    assert.equal(conv.running[0].blocks.length, 1);
  });
});

describe("messages", () => {
  test("message_end replaces the running message by its entry", () => {
    const ended = { seq: 13, type: "message_end", message_id: "m1", entry: entry("7", "assistant", text("Hello"), { message_id: "m1" }) };
    const conv = agentEvents(attached(), batch([start(11), delta(12, "Hel"), ended]));
    assert.equal(conv.running.length, 0);
    assert.deepEqual(conv.entries.map((one) => one.id), ["7"]);
  });

  test("a snapshot taken mid-turn joins with the message_end that follows it", () => {
    const before = attached({ running: { message_id: "m1", role: "assistant", blocks: text("Hel"), tools: [] } });
    assert.deepEqual(before.running[0].blocks, text("Hel"));
    const conv = agentEvents(before, batch([delta(11, "lo"), { seq: 12, type: "message_end", message_id: "m1", entry: entry("7", "assistant", text("Hello"), { message_id: "m1" }) }]));
    assert.equal(conv.running.length, 0);
    assert.deepEqual(conv.entries[0].blocks, text("Hello"));
  });

  test("a snapshot that already has the running message as an entry shows it once", () => {
    const conv = attached({
      entries: [entry("7", "assistant", text("Hello"), { message_id: "m1" })],
      running: { message_id: "m1", role: "assistant", blocks: text("Hel"), tools: [] },
    });
    assert.equal(conv.running.length, 0);
    assert.equal(agentEvents(conv, batch([delta(11, "lo")])).running.length, 0);
  });

  test("a user's message is shown at once and becomes the session's entry later", () => {
    const sent = agentEvents(attached(), batch([{ seq: 11, type: "user_message", message_id: "u1", text: "go", source: "pide", prompt_id: "p1" }]));
    assert.equal(sent.entries.length, 1);
    const conv = agentEvents(sent, batch([{ seq: 12, type: "message_end", message_id: "u1", entry: entry("9", "user", text("go"), { message_id: "u1" }) }]));
    assert.deepEqual(conv.entries.map(({ id, prompt_id, source }) => ({ id, prompt_id, source })), [{ id: "9", prompt_id: "p1", source: "pide" }]);
  });

  test("two messages may be open at once and end in any order", () => {
    const other = { seq: 12, type: "message_start", message_id: "m2", role: "assistant" };
    const conv = agentEvents(attached(), batch([start(11), other, { seq: 13, type: "message_end", message_id: "m1", entry: entry("1", "assistant", text("a"), { message_id: "m1" }) }]));
    assert.deepEqual(conv.running.map((message) => message.message_id), ["m2"]);
  });

  test("an interrupted entry keeps its mark", () => {
    const conv = attached({ entries: [entry("1", "assistant", text("half"), { interrupted: true })] });
    assert.equal(conv.entries[0].interrupted, true);
  });
});

describe("tools", () => {
  const call = { type: "tool_call", call_id: "c1", name: "bash", args: { command: "ls" } };

  test("a tool that starts before its entry is known is shown until the entry shows it", () => {
    const started = agentEvents(attached(), batch([{ seq: 11, type: "tool_start", call_id: "c1", message_id: "m1", name: "bash", args: {} }]));
    assert.equal(started.runs.get("c1").placed, false);
    const conv = agentEvents(started, batch([{ seq: 12, type: "message_end", message_id: "m1", entry: entry("1", "assistant", [call], { message_id: "m1" }) }]));
    assert.equal(conv.runs.get("c1").placed, true);
  });

  test("an update replaces the result, the end gives the duration", () => {
    const conv = agentEvents(
      attached({ entries: [entry("1", "assistant", [call])] }),
      batch([
        { seq: 11, type: "tool_start", call_id: "c1", message_id: "m1", name: "bash", args: {} },
        { seq: 12, type: "tool_update", call_id: "c1", result: "a" },
        { seq: 13, type: "tool_update", call_id: "c1", result: "ab" },
        { seq: 14, type: "tool_end", call_id: "c1", result: "abc", is_error: true, duration_ms: 42 },
      ]),
    );
    const { result, duration_ms, is_error, done, placed } = conv.runs.get("c1");
    assert.deepEqual({ result, duration_ms, is_error, done, placed }, { result: "abc", duration_ms: 42, is_error: true, done: true, placed: true });
  });

  test("tools that a snapshot says are open are running", () => {
    const conv = attached({ entries: [entry("1", "assistant", [call])], running: { message_id: null, role: "assistant", blocks: [], tools: [{ call_id: "c1", name: "bash", args: {} }] } });
    assert.equal(conv.runs.get("c1").done, false);
    assert.equal(conv.runs.get("c1").placed, true);
    assert.equal(conv.running.length, 0);
  });

  test("results of the history belong to their calls", () => {
    const conv = attached({ entries: [entry("1", "assistant", [call]), entry("2", "tool", [{ type: "tool_result", call_id: "c1", text: "out", is_error: false }])] });
    assert.equal(conv.results.get("c1").text, "out");
    assert.ok(conv.called.has("c1"));
  });
});

describe("the running turn", () => {
  const call = { type: "tool_call", call_id: "c1", name: "bash", args: {} };

  test("is that of the newest entry but for results, and only while the agent works", () => {
    const asked = entry("1", "assistant", [call]);
    const conv = attached({ entries: [asked, entry("2", "tool", [{ type: "tool_result", call_id: "c1", text: "" }])], state: "working" });
    assert.equal(isInTurn(conv, asked), true);
    assert.equal(isInTurn({ ...conv, state: "idle" }, asked), false);
    assert.equal(isInTurn({ ...conv, entries: [...conv.entries, entry("3", "assistant", text("done"))] }, asked), false);
  });
});

describe("the end of an agent", () => {
  const end = (seq, more = {}) => ({ seq, type: "state", state: "exited", detail: "killed by SIGKILL", ...more });

  test("what was being said is settled as interrupted, not left open", () => {
    const conv = agentEvents(attached({ entries: [entry("u", "user", text("go"))] }), batch([start(11), delta(12, "Hel"), end(13, { interrupted: true })]));
    assert.deepEqual(conv.running, []);
    assert.deepEqual(conv.entries.map(({ role, interrupted, blocks }) => [role, interrupted, blocks]), [
      ["user", undefined, text("go")],
      ["assistant", true, text("Hel")],
    ]);
    const twice = agentEvents(conv, batch([end(14, { interrupted: true })]));
    assert.deepEqual(twice.entries, conv.entries);
  });

  test("between two messages of a turn the last of them is marked", () => {
    const conv = agentEvents(attached({ entries: [entry("u", "user", text("go"))] }), batch([start(11), end(12, { interrupted: true })]));
    assert.deepEqual(conv.entries.map(({ interrupted }) => interrupted), [true]);
    assert.deepEqual(conv.running, []);
  });

  test("who ends at rest was interrupted in nothing", () => {
    const conv = agentEvents(attached({ entries: [entry("u", "user", text("go"))] }), batch([end(11)]));
    assert.deepEqual(conv.entries.map(({ interrupted }) => interrupted), [undefined]);
  });
});

describe("approvals", () => {
  test("a pending one is listed, an answered one becomes a note that says who", () => {
    const asked = agentEvents(attached(), batch([{ seq: 11, type: "approval", approval: { id: "p", action: { summary: "rm" }, state: "pending" } }]));
    assert.equal(asked.pending.length, 1);
    const conv = agentEvents(asked, batch([{ seq: 12, type: "approval", approval: { id: "p", action: { summary: "rm" }, state: "denied", by: "ada" } }]));
    assert.equal(conv.pending.length, 0);
    assert.equal(conv.entries.at(-1).blocks[0].approval.by, "ada");
  });
});

describe("attach", () => {
  test("ok keeps what there is and goes on", () => {
    const conv = agentEvents(attached({ entries: [entry("1", "user", text("hi"))] }), batch([start(11)]));
    const resumed = attach({ ...conv, attached: false, need: "resume" }, { agent: "a", resume: "ok", epoch: "e1", seq: 11 });
    assert.equal(resumed.entries, conv.entries);
    assert.equal(resumed.running, conv.running);
    assert.equal(resumed.attached, true);
    assert.equal(resumed.need, null);
  });

  test("ok for an epoch that we do not have cannot be joined: ask again without a cursor", () => {
    assert.equal(attach(attached(), { agent: "a", resume: "ok", epoch: "e9", seq: 1 }).need, "fresh");
  });

  test("gap replaces the conversation by its snapshot", () => {
    const old = agentEvents(attached({ entries: [entry("1", "user", text("hi"))] }), batch([start(11), delta(12, "half")]));
    const conv = attach(old, { agent: "a", resume: "gap", epoch: "e2", seq: 500, snapshot: { entries: [entry("5", "user", text("later"))], more: false } });
    assert.deepEqual(conv.entries.map((one) => one.id), ["5"]);
    assert.equal(conv.running.length, 0);
    assert.deepEqual([conv.epoch, conv.seq], ["e2", 500]);
  });

  test("entries that were paged in stay in front of a new snapshot of the same session", () => {
    const session = { id: "s1" };
    const first = olderEntries(attached({ entries: [entry("3", "user", text("c"))], more: true, session }), { entries: [entry("1", "user", text("a")), entry("2", "user", text("b"))], more: true });
    const conv = attach(first, { agent: "a", resume: "gap", epoch: "e2", seq: 9, snapshot: { entries: [entry("3", "user", text("c")), entry("4", "user", text("d"))], more: true, session } });
    assert.deepEqual(conv.entries.map((one) => one.id), ["1", "2", "3", "4"]);
  });

  test("but not when the session is another one", () => {
    const first = olderEntries(attached({ entries: [entry("3", "user", text("c"))], more: true, session: { id: "s1" } }), { entries: [entry("1", "user", text("a"))], more: false });
    const conv = attach(first, { agent: "a", resume: "gap", epoch: "e2", seq: 9, snapshot: { entries: [entry("3", "user", text("c"))], more: true, session: { id: "s2" } } });
    assert.deepEqual(conv.entries.map((one) => one.id), ["3"]);
  });

  test("a reset asks for a fresh snapshot and keeps the past readable until it comes", () => {
    const conv = agentReset(attached({ entries: [entry("1", "user", text("hi"))] }), { reason: "new" });
    assert.equal(conv.need, "fresh");
    assert.equal(conv.entries.length, 1);
  });
});

describe("history", () => {
  test("older entries go in front, each once", () => {
    const conv = olderEntries(attached({ entries: [entry("3", "user", text("c"))], more: true }), { entries: [entry("2", "user", text("b")), entry("3", "user", text("c"))], more: true });
    assert.deepEqual(conv.entries.map((one) => one.id), ["2", "3"]);
    assert.equal(conv.more, true);
  });

  test("an empty answer ends the paging whatever it says", () => {
    assert.equal(olderEntries(attached({ more: true }), { entries: [], more: true }).more, false);
    const known = entry("3", "user", text("c"));
    assert.equal(olderEntries(attached({ entries: [known], more: true }), { entries: [known], more: true }).more, false);
  });

  test("a note of the session itself counts as an entry of it", () => {
    const conv = attached({ entries: [entry("7", "note", text("[model_change]"))], more: true, session: { id: "s" } });
    assert.equal(oldestId(conv), "7");
  });

  test("notes and unconfirmed messages are not what older ones are asked for", () => {
    const conv = agentEvents(attached(), batch([{ seq: 11, type: "notice", level: "info", text: "n" }, { seq: 12, type: "user_message", message_id: "u", text: "x", source: "pide" }]));
    assert.equal(oldestId(conv), null);
    assert.equal(oldestId(attached({ entries: [entry("3", "user", text("c"))] })), "3");
  });
});

describe("approvals of calls", () => {
  const approval = (state, more = {}) => ({ id: "ap-1", action: { kind: "tool", summary: "bash: rm", detail: { call_id: "c1" } }, state, ...more });
  const called = [entry("1", "assistant", [{ type: "tool_call", call_id: "c1", name: "bash", args: {} }])];

  test("a call waits until it is decided, and says whose word it was", () => {
    const waits = agentEvents(attached({ entries: called }), batch([{ seq: 11, type: "approval", approval: approval("pending") }]));
    assert.equal(decisionOn(waits, "c1")?.state, "pending");
    const decided = agentEvents(waits, batch([{ seq: 12, type: "approval", approval: approval("denied", { by: "ann", note: "why" }) }]));
    assert.deepEqual(decisionOn(decided, "c1"), { call_id: "c1", state: "denied", by: "ann", via: undefined, note: "why" });
    assert.equal(decided.entries.length, 1, "the call says it, no note has to");
  });

  test("whoever comes later is told by the snapshot", () => {
    const conv = attached({ entries: called, decisions: [{ call_id: "c1", state: "denied", by: "ann" }] });
    assert.equal(decisionOn(conv, "c1")?.by, "ann");
    assert.equal(decisionOn(conv, "c2"), undefined);
  });

  test("what was asked about no call that is shown stays a note", () => {
    const conv = agentEvents(attached(), batch([{ seq: 11, type: "approval", approval: approval("denied", { by: "ann" }) }]));
    assert.equal(conv.entries.at(-1)?.blocks[0].type, "approval");
  });
});
