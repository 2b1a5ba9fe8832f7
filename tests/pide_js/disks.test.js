// What the page knows of a PXLDisk: rows told and rows read, in whatever order they come.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { emptyDisk, historyTold, movedTo, pictureRead, rowsChanged, rowsRead, shownFlashes, shownPicture } from "../../pide/static/disks.js";
import { gistOf, payloadText, rowTitle } from "../../pide/static/disk_text.js";
import { readPicture, recordAt, withRows } from "../../pide/static/pxldisk.js";
import { apply, emptyState } from "../../pide/static/state.js";

const PNG = new Uint8Array(readFileSync(new URL("../pxldisk/vectors/chained/8.png", import.meta.url)));
const PICTURE = readPicture(PNG);
const LIVE = /** @type {import("../../pide/static/pxldisk.js").Row} */ (PICTURE.rows.find((row) => row.state === "live"));
const NOW = 1_000_000;

const contentOf = (/** @type {number} */ row) => PICTURE.bytes.slice(row * 144, (row + 1) * 144);
const told = (/** @type {number} */ row, more = {}) => ({ row, state: "live", kind: "scroll", seq: 99, ...more });
const freed = withRows(PICTURE, [{ row: LIVE.row, content: new Uint8Array() }]);

test("a row that changed flashes at once and is read until its bytes are here", () => {
  const before = pictureRead(emptyDisk(), freed, NOW);
  const changed = rowsChanged(before, [told(LIVE.row, { kind: LIVE.kind, seq: LIVE.seq })], NOW);
  assert.deepEqual([...changed.told.keys()], [LIVE.row]);
  assert.deepEqual([...changed.flashes], [[LIVE.row, NOW]]);
  const read = rowsRead(changed, [{ row: LIVE.row, content: contentOf(LIVE.row) }]);
  assert.equal(read.told.size, 0);
  assert.equal(read.picture?.rows[LIVE.row].seq, LIVE.seq);
  assert.equal(before.picture?.rows[LIVE.row].state, "free");
});

test("being told of what is known already is no news", () => {
  const disk = pictureRead(emptyDisk(), PICTURE, NOW);
  const same = rowsChanged(disk, PICTURE.rows.map(({ row, state, kind, seq }) => ({ row, state, kind, seq })), NOW);
  assert.equal(same.told.size, 0);
  assert.equal(same.flashes.size, 0);
});

test("a picture that is older than what was told leaves that to be read", () => {
  const early = rowsChanged(emptyDisk(), [told(LIVE.row, { seq: LIVE.seq })], NOW);
  assert.deepEqual([...pictureRead(early, freed, NOW).told.keys()], [LIVE.row]);
  assert.equal(pictureRead(early, PICTURE, NOW).told.size, 0);
});

test("a picture read after a pause flashes what differs", () => {
  const disk = pictureRead(pictureRead(emptyDisk(), freed, NOW), PICTURE, NOW + 5);
  assert.deepEqual([...disk.flashes], [[LIVE.row, NOW + 5]]);
});

test("old flashes are forgotten", () => {
  const disk = rowsChanged(pictureRead(emptyDisk(), PICTURE, NOW), [told(3)], NOW);
  assert.deepEqual([...rowsChanged(disk, [told(4)], NOW + 60_000).flashes.keys()], [4]);
});

test("the past is shown instead of the present, which goes on behind it", () => {
  const disk = pictureRead(emptyDisk(), PICTURE, NOW);
  const back = movedTo(disk, { commit: 1, at: "2026-01-05T10:00:00.000Z", picture: freed }, NOW);
  assert.equal(shownPicture(back), freed);
  assert.deepEqual([...shownFlashes(back).keys()], [LIVE.row]);
  const later = rowsRead(rowsChanged(back, [told(3)], NOW), [{ row: 3, content: new Uint8Array() }]);
  assert.equal(shownPicture(later), freed);
  assert.equal(shownPicture(movedTo(later, null, NOW))?.rows[3].state, "free");
});

test("times of commits are kept as the log is read on", () => {
  const at = (/** @type {number} */ commit) => ({ commit, at: `2026-01-05T10:00:0${commit}.000Z`, rows: [] });
  const first = historyTold(emptyDisk(), { oldest: 0, newest: 2, commits: [at(1), at(2)] });
  const second = historyTold(first, { oldest: 0, newest: 3, commits: [at(3)] });
  assert.deepEqual([...(second.history?.times.keys() ?? [])], [1, 2, 3]);
  assert.equal(second.history?.newest, 3);
});

test("what is told of another bank than the one on the screen changes nothing", () => {
  const state = apply(emptyState(), { type: "disk.chosen", node: "n1", bank: 9 });
  const params = { node: "n1", bank: 8, rows: [told(3)] };
  assert.equal(apply(state, { type: "disk.changed", params, at: NOW }), state);
  assert.equal(apply(state, { type: "disk.picture", node: "n1", bank: 8, picture: PICTURE, at: NOW }), state);
  const other = apply(state, { type: "disk.picture", node: "n1", bank: 9, picture: PICTURE, at: NOW });
  assert.equal(other.disks.get("n1")?.picture, PICTURE);
  assert.equal(apply(other, { type: "disk.chosen", node: "n1", bank: 8 }).disks.get("n1")?.picture, null);
});

test("a record says who sent it to whom, and its first words", () => {
  const record = (/** @type {unknown} */ held, owner = "") => ({
    ...{ rows: [9], whole: true, state: /** @type {const} */ ("live"), kind: "scroll_in", seq: 1, at: 0, key: "", owner },
    payload: new TextEncoder().encode(typeof held === "string" ? held : JSON.stringify(held)),
  });
  const scroll = { from: "lead@den", to: "client@attic", message: "schema  changed\nagain" };
  assert.deepEqual(gistOf(record({ sender: "lead@den", to: "client@attic", scroll })), { from: "lead@den", to: "client@attic", words: "schema changed again" });
  assert.deepEqual(gistOf(record({ opcode: { from: "a", to: "b", content: { done: true } } })), { from: "a", to: "b", words: '{"done":true}' });
  assert.deepEqual(gistOf(record("plain text", "me")), { from: "me", to: "", words: "plain text" });
  assert.equal(gistOf(record("x".repeat(999))).words.length, 141);
  const turned = gistOf(record({ from: "lead\u202e@den", message: "txt\u202egpj" }));
  assert.deepEqual([turned.from, turned.words], ["lead⟨202e⟩@den", "txt⟨202e⟩gpj"]);
  assert.equal(payloadText(record({ a: 1 })), '{\n  "a": 1\n}');
  const bytes = { ...record(""), payload: Uint8Array.of(0xff, 0x00, 0x10) };
  assert.equal(payloadText(bytes), "ff 00 10");
  assert.equal(gistOf(bytes).words, "ff 00 10");
});

test("a row has a line for a screen reader, whatever stands in it", () => {
  assert.match(rowTitle(PICTURE, 0), /superblock/);
  assert.match(rowTitle(freed, LIVE.row), /row \d+, (in|out), free/);
  const long = PICTURE.rows.find((row) => row.parts > 1 && row.part === 1);
  assert.ok(long && recordAt(PICTURE, long.row));
  assert.match(rowTitle(PICTURE, long.row), /part 2 of \d/);
});
