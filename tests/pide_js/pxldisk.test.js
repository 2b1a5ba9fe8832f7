// A bank read in the browser: the committed disks and what their JSON says that they hold.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { changedRows, countRows, readPicture, recordAt, withRows, zoneOf } from "../../pide/static/pxldisk.js";

const VECTORS = new URL("../pxldisk/vectors/", import.meta.url);
const AT_REST = readdirSync(VECTORS).filter((name) => name !== "power-cut"); // that one waits to be opened

/** @param {string} name @param {number} bank */
const picture = (name, bank = 8) => readPicture(new Uint8Array(readFileSync(new URL(`${name}/${bank}.png`, VECTORS))));
const held = (/** @type {string} */ name) => JSON.parse(readFileSync(new URL(`${name}/holds.json`, VECTORS), "utf8"));
const hex = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString("hex");

for (const name of AT_REST) {
  test(`what ${name} holds is read as it was written`, () => {
    const wanted = held(name);
    for (const bank of wanted.banks) {
      const found = picture(name, bank);
      assert.deepEqual([found.width, found.height], [wanted.width, wanted.height]);
      const zones = found.zones.map((zone) => [zone.name, [zone.first, zone.last, zone.owner || null]]);
      assert.deepEqual(Object.fromEntries(zones), wanted.zones);
      const damaged = wanted.damaged.filter((one) => one[0] === bank).map((one) => one[1]);
      assert.deepEqual(found.rows.filter((row) => row.state === "damaged").map((row) => row.row), damaged);
      for (const record of wanted.records.filter((one) => one.bank === bank)) {
        for (const row of record.rows) {
          const seen = recordAt(found, row);
          assert.ok(seen, `row ${row}`);
          assert.deepEqual(
            [seen.rows, seen.whole, seen.seq, seen.state, seen.kind, seen.owner || null, seen.key || null],
            [record.rows, true, record.seq, record.state, record.kind, record.owner, record.key],
          );
          assert.equal(hex(seen.payload), record.payload);
          assert.equal(Math.round(seen.at * 1_000), record.at_us);
        }
      }
    }
  });
}

test("a row that is replaced is read anew, and the picture before stays as it was", () => {
  const before = picture("chained");
  const row = before.rows.findIndex((one) => one.state === "live");
  const content = before.bytes.slice(row * 144, (row + 1) * 144);
  const after = withRows(before, [{ row, content: new Uint8Array() }, { row: 99, content }]);
  assert.equal(after.rows[row].state, "free");
  assert.equal(before.rows[row].state, "live");
  assert.deepEqual(changedRows(before, after), [row]);
  assert.deepEqual(changedRows(before, withRows(after, [{ row, content }])), []);
});

test("a record that lost a part is shown as far as it is there", () => {
  const before = picture("chained");
  const long = before.rows.find((one) => one.parts > 1 && one.state === "live");
  assert.ok(long);
  const last = before.rows.find((one) => one.seq === long.seq && one.part === long.parts - 1);
  assert.ok(last);
  const found = recordAt(withRows(before, [{ row: last.row, content: new Uint8Array() }]), long.row);
  assert.equal(found?.whole, false);
  assert.equal(found?.rows.length, long.parts - 1);
});

test("one flipped bit makes a row damaged and no other", () => {
  const before = picture("one-row");
  const row = before.rows.findIndex((one) => one.state === "live");
  const content = before.bytes.slice(row * 144, (row + 1) * 144);
  content[50] ^= 1;
  const after = withRows(before, [{ row, content }]);
  assert.deepEqual(after.rows.filter((one) => one.state === "damaged").map((one) => one.row), [row]);
  assert.equal(recordAt(after, row), null);
});

test("zones know their rows", () => {
  const found = picture("chained");
  const zone = zoneOf(found, 3);
  assert.equal(zone?.name, "in");
  const counts = countRows(found, found.zones[1]);
  assert.equal(counts.free + counts.live + counts.consumed + counts.damaged, zone && zone.last - zone.first + 1);
});

test("what is no bank is refused with a reason", () => {
  const png = new Uint8Array(readFileSync(new URL("one-row/8.png", VECTORS)));
  assert.throws(() => readPicture(png.subarray(1)), /no PNG/);
  assert.throws(() => readPicture(png.subarray(0, png.length - 1)), /saved again/);
  const other = png.slice();
  other[61] ^= 1;
  assert.throws(() => readPicture(other), /no bank/);
});
