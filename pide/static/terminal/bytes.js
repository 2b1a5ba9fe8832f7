/** Bytes of a terminal as they travel. Pure. */

export const PIECE_BYTES = 32 << 10; // typed in one call; the contract takes 96 KiB, the mesh interleaves smaller ones better

const ESCAPE = 0x1b;
const NEWLINE = 0x0a;
const SEARCHED_BYTES = 4 << 10;
const CHARS_AT_ONCE = 8 << 10; // arguments of one call

/**
 * @param {string} text
 * @returns {Uint8Array}
 */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHARS_AT_ONCE) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHARS_AT_ONCE));
  }
  return btoa(binary);
}

/**
 * The bytes that a string of one character per byte stands for, as mouse reports come.
 * @param {string} binary
 */
export function fromBinary(binary) {
  return Uint8Array.from(binary, (char) => char.charCodeAt(0) & 0xff);
}

/** @param {Uint8Array[]} parts */
export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * What can be shown of bytes whose beginning is not known: they may begin within a character or a sequence.
 * @param {Uint8Array} bytes
 */
export function fromCleanStart(bytes) {
  const searched = bytes.subarray(0, SEARCHED_BYTES);
  const at = searched.findIndex((byte) => byte === ESCAPE || byte === NEWLINE);
  if (at < 0) return bytes;
  return bytes.subarray(searched[at] === NEWLINE ? at + 1 : at);
}
