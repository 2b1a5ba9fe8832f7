/**
 * Who gives the terminal its size: all who look share one, and the last who took it has it. Pure.
 *
 * This viewer takes it when somebody types or taps into the terminal, and at once when nobody has given it one;
 * as long as it is ours, the terminal has the size of our pane. When it gets another size, another viewer has
 * taken it, and we show what fits.
 */

/** @typedef {{cols: number, rows: number}} Size */

/**
 * @typedef {object} Turn
 * @property {boolean} ours
 * @property {Size | null} size   that the terminal has
 * @property {Size | null} room   that our pane has
 * @property {Size | null} asked  that we asked for and have not been told of yet
 */

/** A terminal that is started has it until somebody looks. */
const UNSIZED = { cols: 120, rows: 40 };

/** @returns {Turn} */
export function noTurn() {
  return { ours: false, size: null, room: null, asked: null };
}

/**
 * @param {Turn} turn
 * @param {Size} size
 * @returns {Turn}
 */
export function told(turn, size) {
  if (turn.asked) return { ...turn, size, asked: same(turn.asked, size) ? null : turn.asked };
  const isOthers = !same(turn.size, size) && !same(turn.room, size);
  return { ...turn, size, ours: turn.ours && !isOthers };
}

/**
 * @param {Turn} turn
 * @param {Size} room
 */
export function roomChanged(turn, room) {
  return same(turn.room, room) ? turn : { ...turn, room };
}

/**
 * Whether it can be taken without being asked: nobody else has another size for it.
 * @param {Turn} turn
 */
export function isFree({ size, room }) {
  return size !== null && (same(size, UNSIZED) || same(size, room));
}

/** @param {Turn} turn */
export function taken(turn) {
  return turn.ours ? turn : { ...turn, ours: true };
}

/**
 * The size to ask for now, if there is one.
 * @param {Turn} turn
 * @returns {Size | null}
 */
export function wanted(turn) {
  if (!turn.ours || !turn.room) return null;
  return same(turn.asked ?? turn.size, turn.room) ? null : turn.room;
}

/**
 * @param {Turn} turn
 * @param {Size} size
 */
export function asked(turn, size) {
  return { ...turn, asked: size };
}

/**
 * It was refused, or nobody knows: the terminal has the size that it has.
 * @param {Turn} turn
 * @returns {Turn}
 */
export function refused(turn) {
  return { ...turn, ours: false, asked: null };
}

/**
 * @param {Size | null} one
 * @param {Size | null} other
 */
function same(one, other) {
  return one !== null && other !== null && one.cols === other.cols && one.rows === other.rows;
}
