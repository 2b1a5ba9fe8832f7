import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { completed, isCompletable } from "../../pide/static/completion.js";

describe("what can be completed", () => {
  for (const before of ["/", "/ski", "@", "look at @src/ma", 'say @"my no', "line\n@x"]) {
    test(`${JSON.stringify(before)} can`, () => assert.ok(isCompletable(before)));
  }
  for (const before of ["", "hello", "/skill x", "see /etc", "ann@example", '@"done" ', "@file and"]) {
    test(`${JSON.stringify(before)} cannot`, () => assert.ok(!isCompletable(before)));
  }
});

describe("what becomes of it", () => {
  test("the word is replaced and the cursor stands behind it", () => {
    assert.deepEqual(completed("see @ma now", 7, "@ma", "@src/main.py "), { text: "see @src/main.py now", cursor: 17 });
  });
  test("at the end a space follows", () => {
    assert.deepEqual(completed("/re", 3, "/re", "/review "), { text: "/review ", cursor: 8 });
  });
  test("a word that is no longer there is left alone", () => {
    assert.equal(completed("see @other", 10, "@ma", "@src/main.py "), null);
  });
});
