import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { wordsOf } from "../../pide/static/command_words.js";
import { ERROR, NoAnswer, RpcError } from "../../pide/static/protocol.js";
import { PIECE_BYTES, fromBase64, fromBinary, fromCleanStart, toBase64 } from "../../pide/static/terminal/bytes.js";
import { emptyCast, stepsUntil, timesOf, withLines } from "../../pide/static/terminal/cast.js";
import { Player } from "../../pide/static/terminal/player.js";
import { Session, withCtrl } from "../../pide/static/terminal/session.js";
import { arrived, firstOffset, hasOlder, nothingShown, older, whole } from "../../pide/static/terminal/shown.js";
import { asked, isFree, noTurn, refused, roomChanged, taken, told, wanted } from "../../pide/static/terminal/turn.js";
import { Typist } from "../../pide/static/terminal/typist.js";
import { addressOf, lookOf, routeOf } from "../../pide/static/ui.js";

const bytes = (text) => new TextEncoder().encode(text);
const text = (data) => new TextDecoder().decode(data);
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("bytes", () => {
  test("every byte comes back from base64, however many there are", () => {
    const all = Uint8Array.from({ length: 70_000 }, (_, at) => at & 0xff);
    assert.deepEqual(fromBase64(toBase64(all)), all);
    assert.deepEqual(fromBase64(toBase64(new Uint8Array())), new Uint8Array());
  });

  test("a mouse report is one byte per character", () => {
    assert.deepEqual([...fromBinary("\x1b[M\xff\x80")], [0x1b, 0x5b, 0x4d, 0xff, 0x80]);
  });

  test("what begins in the middle is shown from a line or a sequence on", () => {
    assert.equal(text(fromCleanStart(bytes("8;5;12mred\nnext line"))), "next line");
    assert.equal(text(fromCleanStart(bytes("mred\x1b[0m next"))), "\x1b[0m next");
    assert.equal(text(fromCleanStart(Uint8Array.of(0x82, 0xac, 0x0a, 0x41))), "A");
    assert.equal(text(fromCleanStart(bytes("neither"))), "neither");
  });
});

describe("what was shown", () => {
  const begun = () => arrived({ ...nothingShown(), start: 0 }, 100, bytes("hello"))[0];
  const told = (shown) => whole(shown).map((part) => (typeof part === "number" ? part : text(part)));

  test("goes on where it ended, and what came twice is left out", () => {
    let [shown, step] = arrived(begun(), 105, bytes(" you"));
    assert.deepEqual([shown.end, text(step.bytes)], [109, " you"]);
    [shown, step] = arrived(shown, 103, bytes("lo you there"));
    assert.deepEqual([shown.end, text(step.bytes)], [115, " there"]);
    assert.deepEqual(arrived(shown, 100, bytes("hello"))[1], { kind: "nothing" });
    assert.deepEqual(told(shown).join(""), "hello you there");
  });

  test("begins anew behind a hole, and says how many were skipped", () => {
    const [shown, step] = arrived(begun(), 200, bytes("later"));
    assert.deepEqual(step, { kind: "anew", skipped: 95 });
    assert.deepEqual(told(shown), ["later"]);
    assert.ok(hasOlder(shown));
  });

  test("gets older pieces at its front, without what it has, until the recording begins", () => {
    let shown = older(begun(), { offset: 96, bytes: bytes("say hello") }, 90);
    assert.deepEqual(told(shown).join(""), "say hello");
    assert.ok(hasOlder(shown));
    shown = older(shown, { offset: 90, bytes: bytes("I want ") .subarray(0, 6) }, 90);
    assert.equal(firstOffset(shown), 90);
    assert.ok(!hasOlder(shown));
  });

  test("tells where something between two pieces was not recorded, and stops asking for what is not kept", () => {
    let shown = older(begun(), { offset: 50, bytes: bytes("old") }, 50);
    assert.deepEqual(told(shown), ["old", 47, "hello"]);
    shown = older(begun(), { offset: 100, bytes: new Uint8Array() }, 60);
    assert.ok(!hasOlder(shown));
  });

  test("holds no more than a few megabytes", () => {
    let shown = nothingShown();
    for (let at = 0; at < 20 << 20; at += 1 << 20) [shown] = arrived(shown, at, new Uint8Array(1 << 20));
    assert.ok(shown.held <= 8 << 20);
    assert.equal(shown.end, 20 << 20);
  });
});

describe("whose size it is", () => {
  const pane = { cols: 100, rows: 30 };
  const mine = () => taken(roomChanged(told(noTurn(), { cols: 120, rows: 40 }), pane));

  test("nobody is asked for a size before somebody uses the terminal", () => {
    const turn = roomChanged(told(noTurn(), { cols: 90, rows: 20 }), pane);
    assert.equal(wanted(turn), null);
    assert.ok(!isFree(turn));
    assert.deepEqual(wanted(taken(turn)), pane);
  });

  test("one that nobody has sized is free, and so is one that fits", () => {
    assert.ok(isFree(told(noTurn(), { cols: 120, rows: 40 })));
    assert.ok(isFree(roomChanged(told(noTurn(), pane), pane)));
    assert.ok(!isFree(noTurn()));
  });

  test("another size takes it away; the same size, told again, does not", () => {
    let turn = told(asked(mine(), pane), pane);
    assert.deepEqual([turn.ours, turn.asked], [true, null]);
    turn = told(roomChanged(turn, { cols: 99, rows: 30 }), pane);
    assert.ok(turn.ours);
    assert.ok(!told(turn, { cols: 80, rows: 24 }).ours);
  });

  test("what others asked for before us is overtaken by what we asked for", () => {
    let turn = told(asked(mine(), pane), { cols: 80, rows: 24 });
    assert.ok(turn.ours);
    assert.equal(wanted(turn), null); // it is on its way
    turn = told(turn, pane);
    assert.deepEqual([turn.ours, turn.size], [true, pane]);
  });

  test("a refusal gives it back", () => {
    assert.deepEqual(wanted(refused(asked(mine(), pane))), null);
  });
});

/** A typist whose calls are answered by hand. */
function typing() {
  const world = { calls: [], frames: [], waits: [], lost: [] };
  world.typist = new Typist({
    send: (data) => new Promise((resolve, reject) => world.calls.push({ text: text(fromBase64(data)), resolve, reject })),
    onLost: (error) => world.lost.push(error.message),
    nextFrame: (run) => world.frames.push(run),
    later: (run) => world.waits.push(run),
  });
  world.type = (keys) => world.typist.type(bytes(keys));
  world.frame = () => world.frames.splice(0).forEach((run) => run());
  return world;
}

describe("the typist", () => {
  const full = () => new RpcError("it does not read", ERROR.overloaded);

  test("sends a key at once and joins what follows in the same frame", () => {
    const world = typing();
    for (const key of "abc") world.type(key);
    assert.deepEqual(world.calls.map((call) => call.text), ["a"]);
    world.frame();
    assert.deepEqual(world.calls.map((call) => call.text), ["a", "bc"]);
  });

  test("hands over a paste piece by piece, and what is typed meanwhile behind it", async () => {
    const world = typing();
    const paste = "x".repeat(PIECE_BYTES * 2 + 10);
    world.type(paste);
    world.frame();
    world.type("end");
    world.frame();
    assert.equal(world.calls.length, 1);
    for (let at = 0; at < world.calls.length; at += 1) {
      world.calls[at].resolve();
      await settled();
      world.frame();
    }
    assert.equal(world.calls.map((call) => call.text).join(""), `${paste}end`);
    assert.equal(world.calls.length, 3);
  });

  test("waits for a program that does not read, and sends the same piece again", async () => {
    const world = typing();
    world.type("x".repeat(PIECE_BYTES));
    world.calls[0].reject(full());
    await settled();
    world.type("after");
    world.frame();
    assert.equal(world.calls.length, 1);
    world.waits.shift()();
    assert.equal(world.calls[1].text, world.calls[0].text);
    world.calls[1].resolve();
    await settled();
    world.frame();
    assert.deepEqual([world.calls[2].text, world.lost], ["after", []]);
  });

  test("drops what waits when it cannot be handed over, and says so once", async () => {
    const world = typing();
    world.type("x".repeat(PIECE_BYTES + 5));
    world.calls[0].reject(new NoAnswer("the link was lost"));
    await settled();
    world.frame();
    assert.deepEqual(world.lost, ["the link was lost"]);
    assert.equal(world.calls.length, 1);
    world.type("on");
    world.frame();
    assert.equal(world.calls[1].text, "on");
  });
});

/** What a screen is asked to do, in order. */
function screenOf(world) {
  return {
    write: (data, live) => world.did.push([live ? "live" : "past", typeof data === "string" ? data : text(data)]),
    mark: (words) => world.did.push(["mark", words]),
    reset: () => world.did.push(["reset"]),
    resize: ({ cols, rows }) => world.did.push(["resize", cols, rows]),
    room: () => ({ cols: 80, rows: 20 }),
    scale: () => {},
    setTyping: (may) => world.did.push(["typing", may]),
    shown: async () => {},
    close: () => world.did.push(["close"]),
    lines: 1,
    line: 0,
    term: { scrollToLine: () => {} },
  };
}

function sessionOf(answers = {}) {
  const world = { did: [], calls: [], trouble: [] };
  world.session = new Session({
    agent: "a",
    request: async (method, params) => {
      world.calls.push([method, params]);
      return answers[method] ?? {};
    },
    onLook: (look) => (world.look = look),
    onTrouble: (words) => world.trouble.push(words),
    nextFrame: () => {},
  });
  world.attached = (end, start = 0) => world.session.attached({ offset: 0, start, end, cols: 90, rows: 25 });
  world.came = (offset, said, more = {}) => world.session.came({ agent: "a", offset, data: toBase64(bytes(said)), ...more });
  world.fed = () => world.did.splice(0).filter(([what]) => ["live", "past", "mark", "reset"].includes(what));
  return world;
}

describe("a terminal on the page", () => {
  test("what was said before it was attached is the past, whose questions nobody answers", () => {
    const world = sessionOf();
    world.attached(5);
    world.session.show(screenOf(world));
    world.fed();
    world.came(0, "hello");
    world.came(5, "\x1b[c");
    assert.deepEqual(world.fed(), [["past", "hello"], ["live", "\x1b[c"]]);
    assert.equal(world.session.mayAnswer, false); // nobody uses it here
    world.session.allowTyping(true);
    world.session.take();
    assert.equal(world.session.mayAnswer, true);
  });

  test("goes on from its offset after a lost link, and marks a hole", () => {
    const world = sessionOf();
    world.attached(0);
    world.session.show(screenOf(world));
    world.came(0, "one ");
    assert.equal(world.session.offset, 4);
    world.session.away();
    world.attached(10);
    world.came(4, "two");
    world.fed();
    world.came(5_007, "three");
    assert.deepEqual(world.fed(), [["reset"], ["mark", "5 KiB went by and are not shown; scroll up for them"], ["past", "three"]]);
  });

  test("nothing is typed while it is not attached, and not by who may not", () => {
    const world = sessionOf();
    world.session.typed("x", false);
    world.attached(0);
    world.session.typed("x", false);
    assert.deepEqual(world.calls, []);
    world.session.allowTyping(true);
    world.session.typed("é", false);
    assert.deepEqual(world.calls, [["agent.input", { agent: "a", data: toBase64(bytes("é")) }]]);
    world.session.away();
    world.session.typed("y", false);
    assert.equal(world.calls.length, 1);
  });

  test("Ctrl of the key bar goes with one key", () => {
    assert.deepEqual(["c", "C", "[", " ", "ä", "\x1b[A"].map(withCtrl), ["\x03", "\x03", "\x1b", "\0", "ä", "\x1b[A"]);
    const world = sessionOf();
    world.attached(0);
    world.session.allowTyping(true);
    world.session.setCtrl(true);
    world.session.typed("d", false);
    assert.equal(world.calls[0][1].data, toBase64(Uint8Array.of(4)));
    assert.equal(world.look.ctrl, false);
  });

  test("older output is put in front, and the screen is fed all of it", async () => {
    const world = sessionOf({ "agent.scrollback": { offset: 0, data: toBase64(bytes("first\n")), start: 0 } });
    world.attached(12);
    world.session.show(screenOf(world));
    world.came(6, "second");
    assert.ok(world.look.hasOlder);
    world.fed();
    await world.session.showOlder();
    assert.deepEqual(world.calls, [["agent.scrollback", { agent: "a", before: 6 }]]);
    assert.deepEqual(world.fed(), [["reset"], ["past", "first\n"], ["past", "second"]]);
    assert.ok(!world.look.hasOlder);
  });
});

describe("a recording", () => {
  const LINES = [
    '{"version":2,"width":90,"height":20,"timestamp":1700000000}',
    '[0.0,"o","a"]',
    '[1.0,"r","60x10"]',
    '[1.0,"o","b"]',
    "broken",
    '[1.0,"i","typed"]',
    '[601.0,"o","c"]',
  ];

  test("is read line by line, and what is no picture is left out", () => {
    const cast = withLines(withLines(emptyCast(), LINES.slice(0, 2)), LINES.slice(2));
    assert.deepEqual(cast.size, { cols: 90, rows: 20 });
    assert.equal(cast.steps.length, 4);
    assert.deepEqual([...timesOf(cast.steps, false)], [0, 1, 1, 601]);
    assert.deepEqual([...timesOf(cast.steps, true)], [0, 1, 1, 2.5]);
  });

  test("a clock that was set back does not play backwards", () => {
    assert.deepEqual([...timesOf([{ at: 5, text: "" }, { at: 2, text: "" }, { at: 6, text: "" }], false)], [5, 5, 6]);
  });

  test("it is found by halves how many steps are over", () => {
    const times = Float64Array.from([0, 1, 1, 2.5]);
    assert.deepEqual([-1, 0, 0.5, 1, 2, 9].map((time) => stepsUntil(times, time)), [0, 1, 1, 3, 3, 4]);
  });

  test("is fetched in pieces, plays, and can be looked at anywhere", async () => {
    const world = { did: [], frames: [], looks: [] };
    const player = new Player({
      agent: "a",
      request: async (_method, { offset }) => (offset ? { lines: LINES.slice(3), next: null } : { lines: LINES.slice(0, 3), next: 7 }),
      onLook: (look) => world.looks.push(look),
      nextFrame: (run) => world.frames.push(run),
    });
    player.show(screenOf(world));
    await player.load();
    const frame = (now) => world.frames.shift()(now);
    assert.deepEqual([player.playing.phase, player.playing.running, player.playing.length], ["ready", true, 2.5]);
    world.did.length = 0;
    frame(1_000);
    frame(2_200);
    assert.deepEqual(world.did.filter(([, said]) => said !== ""), [["resize", 60, 10], ["past", "b"]]);
    frame(9_000);
    assert.deepEqual([player.playing.running, player.playing.time], [false, 2.5]);
    assert.deepEqual(world.did.at(-1), ["past", "c"]);
    world.did.length = 0;
    player.seek(0.5);
    assert.deepEqual(world.did, [["reset"], ["resize", 90, 20], ["past", "a"]]);
    assert.equal(new Date(player.playing.wasAt).getTime(), 1_700_000_000_000);
    player.setSkips(false);
    assert.deepEqual([player.playing.length, player.playing.time], [601, 0]);
  });
});

describe("a command line", () => {
  test("is read as a shell reads words and quotes", () => {
    assert.deepEqual(wordsOf(`sh -c 'echo "$HOME"' a\\ b "say \\"hi\\" $X" x''y`), ["sh", "-c", 'echo "$HOME"', "a b", 'say "hi" $X', "xy"]);
    assert.deepEqual(wordsOf("  "), []);
    assert.deepEqual(wordsOf("''"), [""]);
  });

  test("is none when a quote is not closed", () => {
    assert.equal(wordsOf("echo 'oops"), null);
    assert.equal(wordsOf('echo "oops\\"'), null);
    assert.equal(wordsOf("echo \\"), null);
  });
});

describe("the two sides of an agent", () => {
  const terminal = { cols: 80, rows: 24 };
  const pi = { id: "a", kind: "pi", terminal };

  test("are told by the address, and a program has only the one", () => {
    const route = routeOf("#/a/a/terminal");
    assert.deepEqual(route, { kind: "agent", id: "a", look: "terminal" });
    assert.equal(addressOf(route), "#/a/a/terminal");
    assert.equal(lookOf(route, pi), "terminal");
    assert.equal(lookOf(routeOf("#/a/a"), pi), "conversation");
    assert.equal(lookOf(routeOf("#/a/a"), { ...pi, kind: "terminal" }), "terminal");
    assert.equal(lookOf(route, { ...pi, terminal: null }), "conversation");
    assert.deepEqual(routeOf("#/a/a/nonsense"), { kind: "none" });
  });
});
