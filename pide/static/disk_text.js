/** How records and rows of a PXLDisk are written for people. Pure. */

import { ago, fullTime, straight, visible } from "./format.js";
import { zoneOf } from "./pxldisk.js";

/** @typedef {import("./pxldisk.js").Picture} Picture */
/** @typedef {import("./pxldisk.js").Record} Record */

const WORDS_CHARS = 140;
const STRICT = new TextDecoder("utf-8", { fatal: true });

/**
 * What a record is about: who sent it to whom, and its first words.
 * @param {Record} record
 * @returns {{from: string, to: string, words: string}}
 */
export function gistOf(record) {
  const held = jsonOf(record);
  const inner = held?.scroll ?? held?.opcode ?? held;
  const said = inner?.message ?? inner?.content ?? inner?.text;
  return {
    from: visible(word(inner?.from) || word(held?.sender) || record.owner),
    to: visible(word(held?.to) || word(inner?.to)),
    words: firstWords(typeof said === "string" ? said : said === undefined ? textOf(record) : JSON.stringify(said)),
  };
}

/**
 * The payload whole: JSON laid out, other text as it is, anything else in hexadecimal.
 * @param {Record} record
 */
export function payloadText(record) {
  const held = jsonOf(record);
  return straight(held === undefined ? textOf(record) : JSON.stringify(held, null, 2));
}

/**
 * One line about a row, for the eye and for a screen reader.
 * @param {Picture} picture
 * @param {number} row
 */
export function rowTitle(picture, row) {
  const { state, kind, part, parts } = picture.rows[row];
  const zone = visible(zoneOf(picture, row)?.name ?? "no zone");
  if (state === "superblock") return `row ${row}, ${row ? "the superblock's copy" : "the superblock"}`;
  if (state === "free" || state === "damaged") return `row ${row}, ${zone}, ${state}`;
  return `row ${row}, ${zone}, ${state} ${visible(kind)}${parts > 1 ? `, part ${part + 1} of ${parts}` : ""}`;
}

/**
 * @param {Record} record
 * @param {number} now ms
 */
export function storedWords(record, now) {
  const at = new Date(record.at).toISOString();
  return { short: ago(at, now), long: fullTime(at) };
}

/** @param {Record} record */
function jsonOf(record) {
  try {
    const held = JSON.parse(STRICT.decode(record.payload));
    return typeof held === "object" && held !== null ? held : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Record} record */
function textOf({ payload }) {
  try {
    return STRICT.decode(payload);
  } catch {
    return Array.from(payload, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
}

/** @param {unknown} value */
function word(value) {
  return typeof value === "string" ? value : "";
}

/** @param {string} text */
function firstWords(text) {
  const line = straight(text).replace(/\s+/g, " ").trim();
  return line.length > WORDS_CHARS ? `${line.slice(0, WORDS_CHARS).trimEnd()}…` : line;
}
