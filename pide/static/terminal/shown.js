/**
 * What this page has of a terminal's output: pieces by offset, oldest first. Pure.
 *
 * They are kept as they came, because an emulator cannot be given something to show above what it shows: with
 * older pieces it starts anew and is fed all of them.
 */

/** @typedef {{offset: number, bytes: Uint8Array}} Piece */

/**
 * @typedef {object} Shown
 * @property {Piece[]} pieces
 * @property {number | null} end     offset of the next byte; null: nothing is known
 * @property {number} start          where the recording begins, as far as we were told
 * @property {number} held           bytes in the pieces
 */

/** @typedef {{kind: "nothing"} | {kind: "add", bytes: Uint8Array} | {kind: "anew", skipped: number}} Step  for the emulator */

const HELD_BYTES = 8 << 20; // the emulator reads this much in about a second

/** @returns {Shown} */
export function nothingShown() {
  return { pieces: [], end: null, start: 0, held: 0 };
}

/**
 * Bytes that came, in the order of the stream. What is there already is left out. Bytes beyond the end leave a
 * hole: what stood before it is let go, for the emulator's state would be a guess.
 * @param {Shown} shown
 * @param {number} offset
 * @param {Uint8Array} bytes
 * @returns {[Shown, Step]}
 */
export function arrived(shown, offset, bytes) {
  const { end } = shown;
  if (end === null || offset > end) {
    const next = { ...shown, pieces: bytes.length ? [{ offset, bytes }] : [], end: offset + bytes.length, held: bytes.length };
    return [next, end === null ? { kind: "add", bytes } : { kind: "anew", skipped: offset - end }];
  }
  const unseen = bytes.subarray(end - offset);
  if (!unseen.length) return [shown, { kind: "nothing" }];
  const pieces = [...shown.pieces, { offset: end, bytes: unseen }];
  let held = shown.held + unseen.length;
  while (held > HELD_BYTES && pieces.length > 1) held -= /** @type {Piece} */ (pieces.shift()).bytes.length;
  return [{ ...shown, pieces, end: end + unseen.length, held }, { kind: "add", bytes: unseen }];
}

/**
 * @param {Shown} shown
 * @param {Piece} piece  from before the first
 * @param {number} start
 * @returns {Shown}
 */
export function older(shown, piece, start) {
  const first = firstOffset(shown);
  const bytes = piece.bytes.subarray(0, Math.max(0, first - piece.offset));
  if (!bytes.length) return { ...shown, start: first }; // nothing before it is kept
  return { ...shown, start, pieces: [{ offset: piece.offset, bytes }, ...shown.pieces], held: shown.held + bytes.length };
}

/** @param {Shown} shown */
export function firstOffset(shown) {
  return shown.pieces[0]?.offset ?? shown.end ?? 0;
}

/**
 * Whether there is something older to ask for, and room for it.
 * @param {Shown} shown
 */
export function hasOlder(shown) {
  return shown.end !== null && firstOffset(shown) > shown.start && shown.held < HELD_BYTES;
}

/**
 * All of it for an emulator that starts anew: bytes, and how many were skipped between them.
 * @param {Shown} shown
 * @returns {(Uint8Array | number)[]}
 */
export function whole(shown) {
  /** @type {(Uint8Array | number)[]} */
  const told = [];
  let end = null;
  for (const { offset, bytes } of shown.pieces) {
    if (end !== null && offset > end) told.push(offset - end);
    told.push(bytes);
    end = offset + bytes.length;
  }
  return told;
}
