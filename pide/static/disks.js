/**
 * What this page knows of the PXLDisks that it looks at: of each node one bank, as it is and, when somebody
 * looks back, as it was. Pure.
 */

import { changedRows, withRows } from "./pxldisk.js";

/** @typedef {import("./pxldisk.js").Picture} Picture */
/** @typedef {import("./protocol.js").ChangedRow} ChangedRow */
/** @typedef {import("./protocol.js").DiskProblem} DiskProblem */

/**
 * @typedef {object} Moment  a past state
 * @property {number} commit
 * @property {string} at      when that commit was made
 * @property {Picture} picture
 * @property {ReadonlyMap<number, number>} flashes rows that differ from what was shown before, and when they came
 */

/**
 * @typedef {object} Disk
 * @property {number} bank    8 for 8.png
 * @property {readonly number[]} banks
 * @property {Picture | null} picture
 * @property {ReadonlyMap<number, ChangedRow>} told  rows whose new bytes are still to be read
 * @property {ReadonlyMap<number, number>} flashes   rows, and when they changed here, ms
 * @property {string} error
 * @property {{oldest: number, newest: number, times: ReadonlyMap<number, string>} | null} history
 * @property {Moment | null} past
 * @property {{busy: boolean, error: string, problems: readonly DiskProblem[], count: number, at: string} | null} check
 */

/** @typedef {ReadonlyMap<string, Disk>} Disks by node */

const FIRST_BANK = 8;
const FLASHES_KEPT_MS = 5_000;

/** @returns {Disk} */
export function emptyDisk(bank = FIRST_BANK) {
  return { bank, banks: [bank], picture: null, told: new Map(), flashes: new Map(), error: "", history: null, past: null, check: null };
}

/** What is shown: the past if somebody looks at it. @param {Disk} disk */
export function shownPicture(disk) {
  return disk.past?.picture ?? disk.picture;
}

/** @param {Disk} disk */
export function shownFlashes(disk) {
  return disk.past?.flashes ?? disk.flashes;
}

/**
 * Rows that its node has told of. What is known already is no news: after a pause a node tells of every row.
 * @param {Disk} disk
 * @param {readonly ChangedRow[]} rows
 * @param {number} now ms
 * @returns {Disk}
 */
export function rowsChanged(disk, rows, now) {
  const told = new Map(disk.told);
  const flashes = new Map([...disk.flashes].filter(([, at]) => now - at < FLASHES_KEPT_MS));
  for (const row of rows) {
    if (agrees(disk.picture, row)) told.delete(row.row);
    else {
      told.set(row.row, row);
      if (disk.picture) flashes.set(row.row, now);
    }
  }
  return { ...disk, told, flashes };
}

/**
 * A whole picture of now. It may be older than what was told meanwhile: that is still to be read.
 * @param {Disk} disk
 * @param {Picture} picture
 * @param {number} now ms
 * @returns {Disk}
 */
export function pictureRead(disk, picture, now) {
  const told = new Map([...disk.told].filter(([, row]) => !agrees(picture, row)));
  const before = disk.picture;
  const flashes = new Map(disk.flashes);
  if (before && before.bytes.length === picture.bytes.length) {
    for (const row of changedRows(before, picture)) if (!flashes.has(row)) flashes.set(row, now);
  }
  return { ...disk, picture, told, flashes, error: "" };
}

/**
 * The bytes of some rows, read after they were told of.
 * @param {Disk} disk
 * @param {readonly {row: number, content: Uint8Array}[]} rows
 * @returns {Disk}
 */
export function rowsRead(disk, rows) {
  if (!disk.picture) return disk;
  const told = new Map(disk.told);
  for (const { row } of rows) told.delete(row);
  return { ...disk, picture: withRows(disk.picture, rows), told };
}

/**
 * A past state, or null for now.
 * @param {Disk} disk
 * @param {{commit: number, at: string, picture: Picture} | null} moment
 * @param {number} now ms
 * @returns {Disk}
 */
export function movedTo(disk, moment, now) {
  if (moment === null) return disk.past ? { ...disk, past: null } : disk;
  const before = shownPicture(disk);
  const comparable = before && before.bytes.length === moment.picture.bytes.length;
  const flashes = new Map(comparable ? changedRows(before, moment.picture).map((row) => [row, now]) : []);
  return { ...disk, past: { ...moment, flashes } };
}

/**
 * @param {Disk} disk
 * @param {{oldest: number, newest: number, commits: readonly {commit: number, at: string}[]}} told
 * @returns {Disk}
 */
export function historyTold(disk, told) {
  const times = new Map(disk.history?.times);
  for (const { commit, at } of told.commits) times.set(commit, at);
  return { ...disk, history: { oldest: told.oldest, newest: told.newest, times } };
}

/**
 * @param {Picture | null} picture
 * @param {ChangedRow} told
 */
function agrees(picture, told) {
  const row = picture?.rows[told.row];
  return row !== undefined && row.seq === told.seq && row.state === told.state;
}
