import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { agentPresence, gapOnTheWay, isBusy } from "../../pide/static/presence.js";
import { addressOf, routeOf } from "../../pide/static/ui.js";
import { age, bytes, count, duration, straight } from "../../pide/static/format.js";
import { modeFor } from "../../pide/static/prompts.js";
import { boundaries } from "../../pide/static/views/markdown.js";
import { editsOf, resultText, summaryOf, withoutAnsi } from "../../pide/static/tool_text.js";

describe("growing markdown", () => {
  const settled = (text) => text.slice(0, boundaries(text, 0).at(-1) ?? 0);

  test("is settled up to the last block that nothing can change any more", () => {
    assert.equal(settled("one\n\ntwo\nstill two"), "one\n\n");
    assert.equal(settled("one\n\ntwo\n\nthree\n"), "one\n\ntwo\n\n");
  });

  test("is never cut inside a code fence", () => {
    assert.equal(settled("a\n\n```py\nx\n\ny\n"), "a\n\n");
    assert.equal(settled("a\n\n```py\nx\n\ny\n```\n\nb\n"), "a\n\n```py\nx\n\ny\n```\n\n");
    assert.equal(settled("````\n```\n\ninside\n"), "");
  });

  test("keeps lists, quotes and indented lines with what they may belong to", () => {
    assert.equal(settled("1. a\n\n2. b\n\n3. c\n"), "");
    assert.equal(settled("- a\n\n  more of a\n"), "");
    assert.equal(settled("> a\n\n> b\n"), "");
  });

  test("never takes an unfinished line", () => {
    assert.equal(settled("one\n\ntw"), "");
  });
});

describe("presence", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");
  const agent = { id: "a", name: "a", node: "n", kind: "pi", state: "idle", cwd: "/", last_event: "2026-01-01T11:59:58Z" };
  const stateWith = (node, link = { phase: "open" }) => ({ link, heardAt: now, mesh: { nodes: new Map(node ? [["n", { id: "n", name: "den", ...node }]] : []), agents: new Map() } });

  test("is only as good as the whole way to the agent", () => {
    assert.equal(agentPresence(stateWith({ state: "online" }), agent, now).tone, "idle");
    assert.equal(agentPresence(stateWith({ state: "disconnected" }), agent, now).tone, "stale");
    assert.equal(agentPresence(stateWith({ state: "online" }, { phase: "waiting" }), agent, now).tone, "stale");
    assert.equal(agentPresence(stateWith(null), agent, now).tone, "stale");
  });

  test("of an agent whose machine is away says what it was doing", () => {
    const away = { ...agent, state: "unreachable", was: "working" };
    assert.equal(agentPresence(stateWith({ state: "disconnected" }), away, now).word, "was working");
    assert.equal(agentPresence(stateWith({ state: "online" }, { phase: "waiting" }), away, now).word, "was working");
  });

  test("says when working has been silent", () => {
    const silent = { ...agent, state: "working", last_event: "2026-01-01T11:30:00Z" };
    const presence = agentPresence(stateWith({ state: "online" }), silent, now);
    assert.equal(presence.tone, "quiet");
    assert.match(presence.note, /30 min/);
  });

  test("an ended agent stays ended while its node sleeps", () => {
    assert.equal(agentPresence(stateWith({ state: "lost" }), { ...agent, state: "exited" }, now).tone, "exited");
  });

  test("tells node gone from agent gone", () => {
    assert.match(gapOnTheWay(stateWith({ state: "lost" }), agent, now).text, /den is not reachable/);
    assert.match(gapOnTheWay(stateWith({ state: "online" }), { ...agent, state: "unreachable", detail: "not answering" }, now).text, /not answer/);
    assert.equal(gapOnTheWay(stateWith({ state: "online" }), agent, now), null);
  });
});

describe("tools in words", () => {
  test("the summary is what tells most, on one line", () => {
    assert.equal(summaryOf({ timeout: 5, command: "ls\n  -l" }), "ls -l");
    assert.equal(summaryOf({ n: 1 }), '{"n":1}');
    assert.equal(summaryOf(null), "");
  });

  test("a command shows what would otherwise not be seen", () => {
    assert.equal(summaryOf({ command: "rm \u202e-rf" }), "rm ⟨202e⟩-rf");
  });

  test("a text may be written right to left, and cannot be read as another", () => {
    assert.equal(straight("שלום \u200f \u200d \u202egnp.exe\u2069"), "שלום \u200f \u200d ⟨202e⟩gnp.exe⟨2069⟩");
    assert.equal(straight(undefined), "");
  });

  test("results of any shape become text", () => {
    assert.equal(resultText("x"), "x");
    assert.equal(resultText({ content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] }), "a\nb");
    assert.equal(resultText({ code: 1 }), '{\n  "code": 1\n}');
    assert.equal(resultText(undefined), "");
  });

  test("terminal colours and links are taken out", () => {
    assert.equal(withoutAnsi("\u001b[31mred\u001b[0m \u001b]8;;http://x\u0007link\u001b]8;;\u0007"), "red link");
  });

  test("edits are found in the shapes that agents use", () => {
    assert.deepEqual(editsOf({ path: "x", oldText: "a", newText: "b" }), [{ removed: "a", added: "b" }]);
    assert.deepEqual(editsOf({ edits: [{ old_string: "a", new_string: "b" }] }), [{ removed: "a", added: "b" }]);
    assert.deepEqual(editsOf({ filePath: "x", oldString: "a", newString: "b" }), [{ removed: "a", added: "b" }]);
    assert.deepEqual(editsOf({ command: "ls" }), []);
  });
});

describe("words for numbers", () => {
  test("ages, sizes, counts, durations", () => {
    const now = Date.parse("2026-01-01T12:00:00Z");
    assert.deepEqual(["2026-01-01T11:59:59.5Z", "2026-01-01T11:59:20Z", "2026-01-01T11:00:00Z", "2025-12-29T12:00:00Z"].map((at) => age(at, now)), ["now", "40 s", "1 h", "3 d"]);
    assert.equal(age("nonsense", now), "");
    assert.equal(bytes(61 << 20), "61 MiB");
    assert.equal(count(48_211), "48.2k");
    assert.equal(duration(83_000), "1 min 23 s");
  });
});

describe("addresses", () => {
  test("name an agent or a machine, with any id", () => {
    for (const route of [{ kind: "agent", id: "a/b #%" }, { kind: "node", id: "n1" }]) assert.deepEqual(routeOf(addressOf(route)), route);
  });

  test("that are broken lead nowhere", () => {
    for (const hash of ["", "#", "#/a/", "#/x/1", "#/a/%E0%A4%A"]) assert.deepEqual(routeOf(hash), { kind: "none" });
  });
});

test("a turn can be aborted while it works, waits or is stuck, and words for an ACP agent wait for its end", () => {
  const states = ["working", "waiting", "stuck", "idle", "exited"];
  assert.deepEqual(states.filter((state) => isBusy(/** @type {any} */ ({ state }))), ["working", "waiting", "stuck"]);
  assert.equal(modeFor(/** @type {any} */ ({ state: "stuck", kind: "pi" }), undefined), "steer");
  assert.equal(modeFor(/** @type {any} */ ({ state: "working", kind: "acp" }), "steer"), "follow_up");
});
