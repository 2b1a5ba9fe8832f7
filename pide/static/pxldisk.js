/**
 * A bank of a PXLDisk as its PNG tells of it: rows, records, zones. Reads the file's own bytes by the constant
 * places of docs/pxldisk-format.md; nothing is decompressed and no canvas is asked. Pure.
 */

/** @typedef {"free" | "live" | "consumed" | "damaged" | "superblock"} RowState */

/**
 * @typedef {object} Row
 * @property {number} row
 * @property {RowState} state
 * @property {string} kind
 * @property {number} seq      of its record; 0 for none
 * @property {number} part     of `parts`, from 0
 * @property {number} parts
 * @property {number} at       when it was stored, ms since 1970; 0 for never
 * @property {string} owner    empty in every part but the first
 * @property {string} key
 * @property {Uint8Array} body its piece of the payload
 */

/** @typedef {{name: string, first: number, last: number, owner: string}} Zone */

/**
 * @typedef {object} Picture
 * @property {number} width    pixels
 * @property {number} height   rows
 * @property {Uint8Array} bytes  height * 3 * width: the pixels of all rows
 * @property {readonly Row[]} rows
 * @property {readonly Zone[]} zones
 * @property {number} commit   the commit that the superblock says it holds
 */

/**
 * @typedef {object} Record
 * @property {number[]} rows   the head first
 * @property {boolean} whole   all its parts are there
 * @property {RowState} state
 * @property {string} kind
 * @property {number} seq
 * @property {number} at
 * @property {string} owner
 * @property {string} key
 * @property {Uint8Array} payload
 */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const FIRST_PIXEL = 61;
const AROUND_ROW = 18; // bytes of a scanline's chunk besides its pixels
const AFTER_ROWS = 33; // the last IDAT, IEND
const SUPERBLOCK_ROWS = 2;
const HEADER = 49;
const MARK = 0x50;
const STATES = /** @type {{[code: number]: RowState | undefined}} */ ({ 0xe0: "live", 0x40: "consumed" });
const LOST = new Uint8Array();
const TEXT = new TextDecoder();

/**
 * @param {Uint8Array} png the whole file
 * @returns {Picture}
 * Throws an Error that says why it is no bank.
 */
export function readPicture(png) {
  if (SIGNATURE.some((byte, at) => png[at] !== byte)) throw new Error("this is no PNG");
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  const rowBytes = 3 * width;
  const stride = rowBytes + AROUND_ROW;
  if (png.length !== 47 + height * stride + AFTER_ROWS) throw new Error("this PNG was saved again by another program");
  const bytes = new Uint8Array(height * rowBytes);
  for (let row = 0; row < height; row++) {
    const start = FIRST_PIXEL + row * stride;
    bytes.set(png.subarray(start, start + rowBytes), row * rowBytes);
  }
  const rows = Array.from({ length: height }, (_, row) => readRow(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), row));
  return { width, height, bytes, rows, ...readSuperblock(bytes.subarray(0, rowBytes)) };
}

/**
 * The same picture with some rows replaced, each by its bytes without the zeros at the end.
 * @param {Picture} picture
 * @param {readonly {row: number, content: Uint8Array}[]} changes
 * @returns {Picture}
 */
export function withRows(picture, changes) {
  const rowBytes = 3 * picture.width;
  const bytes = picture.bytes.slice();
  const rows = picture.rows.slice();
  for (const { row, content } of changes) {
    if (row < 0 || row >= picture.height) continue;
    const pixels = bytes.subarray(row * rowBytes, (row + 1) * rowBytes);
    pixels.fill(0);
    pixels.set(content.subarray(0, rowBytes));
    rows[row] = readRow(pixels, row);
  }
  return { ...picture, bytes, rows };
}

/**
 * Rows whose bytes differ.
 * @param {Picture} before
 * @param {Picture} after of the same size
 */
export function changedRows(before, after) {
  const rowBytes = 3 * after.width;
  const changed = [];
  for (let row = SUPERBLOCK_ROWS; row < after.height; row++) {
    for (let at = row * rowBytes; at < (row + 1) * rowBytes; at++) {
      if (before.bytes[at] === after.bytes[at]) continue;
      changed.push(row);
      break;
    }
  }
  return changed;
}

/**
 * The record that a row is a part of, with as many of its parts as this bank still has.
 * @param {Picture} picture
 * @param {number} row
 * @returns {Record | null}
 */
export function recordAt(picture, row) {
  const found = picture.rows[row];
  if (!found || !found.parts) return null;
  const parts = picture.rows.filter((one) => one.parts && one.seq === found.seq).sort((a, b) => a.part - b.part);
  const head = parts[0];
  const payload = new Uint8Array(parts.reduce((sum, one) => sum + one.body.length, 0));
  let at = 0;
  for (const part of parts) {
    payload.set(part.body, at);
    at += part.body.length;
  }
  const whole = parts.length === found.parts && parts.every((one, number) => one.part === number);
  const { state, kind, seq, owner, key } = head;
  return { rows: parts.map((one) => one.row), whole, state, kind, seq, at: head.at, owner, key, payload };
}

/** @param {Picture} picture @param {number} row */
export function zoneOf(picture, row) {
  return picture.zones.find((zone) => row >= zone.first && row <= zone.last);
}

/**
 * How many rows of a zone are in which state.
 * @param {Picture} picture
 * @param {Zone} zone
 */
export function countRows(picture, zone) {
  const counts = { free: 0, live: 0, consumed: 0, damaged: 0, superblock: 0 };
  for (const row of picture.rows.slice(zone.first, zone.last + 1)) counts[row.state] += 1;
  return counts;
}

/**
 * @param {Uint8Array} content the row's bytes, which later changes of the picture leave alone
 * @param {number} row
 * @returns {Row}
 */
function readRow(content, row) {
  const nothing = { row, kind: "", seq: 0, part: 0, parts: 0, at: 0, owner: "", key: "", body: LOST };
  if (row < SUPERBLOCK_ROWS) return { ...nothing, state: "superblock", kind: "superblock" };
  if (content.every((byte) => byte === 0)) return { ...nothing, state: "free" };
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const state = STATES[content[1]];
  const end = HEADER + view.getUint16(11);
  const sound = content[0] === MARK && state && content[2] === 1 && end + 4 <= content.length;
  if (!sound || view.getUint32(end) !== crc32(content.subarray(0, end))) return { ...nothing, state: "damaged" };
  const keyAt = HEADER + content[3];
  const bodyAt = keyAt + content[4];
  return {
    row,
    state,
    kind: TEXT.decode(content.subarray(33, 49)).replace(/\0+$/, ""),
    seq: Number(view.getBigUint64(17)),
    part: view.getUint16(5),
    parts: view.getUint16(7),
    at: Number(view.getBigUint64(25)) / 1_000,
    owner: TEXT.decode(content.subarray(HEADER, keyAt)),
    key: TEXT.decode(content.subarray(keyAt, bodyAt)),
    body: content.slice(bodyAt, end),
  };
}

/** @param {Uint8Array} content of row 0 */
function readSuperblock(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  if (TEXT.decode(content.subarray(0, 4)) !== "PXLD") throw new Error("this PNG is no bank of a PXLDisk");
  /** @type {Zone[]} */
  const zones = [];
  let at = 69;
  for (let number = 0; number < content[68]; number++) {
    const ownerAt = at + 6 + content[at + 4];
    const end = ownerAt + content[at + 5];
    zones.push({
      name: TEXT.decode(content.subarray(at + 6, ownerAt)),
      first: view.getUint16(at),
      last: view.getUint16(at + 2),
      owner: TEXT.decode(content.subarray(ownerAt, end)),
    });
    at = end;
  }
  return { zones, commit: Number(view.getBigUint64(20)) };
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** @param {Uint8Array} bytes  That of PNG and zlib. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
