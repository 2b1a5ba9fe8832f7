/**
 * One agent's terminal on this page: what it showed and shows, who gives it its size, what is typed. Brings the
 * parts together; the mesh and the page are behind `options`, the emulator behind `screen`.
 */

import { messageOf } from "../client.js";
import { bytes as sizeText } from "../format.js";
import { fromBase64, fromBinary, fromCleanStart } from "./bytes.js";
import { arrived, firstOffset, hasOlder, nothingShown, older, whole } from "./shown.js";
import { asked, isFree, noTurn, refused, roomChanged, taken, told, wanted } from "./turn.js";
import { Typist } from "./typist.js";

/** @typedef {import("./screen.js").Screen} Screen */
/** @typedef {import("./turn.js").Size} Size */

/**
 * @typedef {{offset: number, start: number, end: number, cols: number, rows: number}} Attached  the `terminal` of agent.attach's answer
 * @typedef {{agent: string, offset: number, data: string, cols?: number, rows?: number}} Told    agent.terminal
 */

/**
 * @typedef {object} Look  what the page says around the terminal
 * @property {Size | null} size
 * @property {boolean} ours          this page gives it its size
 * @property {boolean} attached
 * @property {"idle" | "loading" | "failed"} older
 * @property {boolean} hasOlder
 * @property {boolean} ctrl          the next key goes with Ctrl
 */

/**
 * @typedef {object} SessionOptions
 * @property {string} agent
 * @property {(method: string, params: object) => Promise<any>} request
 * @property {(look: Look) => void} onLook
 * @property {(text: string) => void} onTrouble
 * @property {(run: () => void) => void} nextFrame
 */

const ASK_SIZE_MS = 120; // a pane that is dragged changes at each frame
const SIZED_MS = 2_000; // after the answer; it had that size already if nothing is told

export class Session {
  /** @param {SessionOptions} options */
  constructor(options) {
    this.agent = options.agent;
    this._options = options;
    /** @type {Screen | null} */
    this.screen = null;
    this._shown = nothingShown();
    this._turn = noTurn();
    this._historyEnd = 0; // bytes before it were not said to us when they were said
    this._attached = false;
    this._mayType = false;
    /** @type {Look["older"]} */
    this._older = "idle";
    this._ctrl = false;
    /** @type {any} */
    this._sizeTimer = null;
    this._ended = false;
    this._typist = new Typist({
      send: (data) => options.request("agent.input", { agent: this.agent, data }),
      onLost: (error) => options.onTrouble(`Not typed: ${messageOf(error)}`),
      nextFrame: options.nextFrame,
    });
  }

  /** From where to go on; undefined: the last of what was shown. */
  get offset() {
    return this._shown.end ?? undefined;
  }

  /**
   * The emulator is there.
   * @param {Screen} screen
   */
  show(screen) {
    this.screen = screen;
    if (this._turn.size) screen.resize(this._turn.size);
    this._feedAll();
    this._applyTyping();
    this.roomChanged();
  }

  /** There is no place for it now. */
  hide() {
    this.screen?.close();
    this.screen = null;
  }

  end() {
    this._ended = true;
    clearTimeout(this._sizeTimer);
    this._typist.end();
    this.hide();
  }

  /** The size that it has, or what any terminal has. @returns {Size} */
  get size() {
    return this._turn.size ?? { cols: 80, rows: 24 };
  }

  // --- what the mesh says ---

  /** @param {Attached} attached */
  attached({ start, end, cols, rows }) {
    this._attached = true;
    this._historyEnd = end;
    this._shown = { ...this._shown, start };
    this._sized({ cols, rows });
    this._applyTyping();
    if (isFree(this._turn)) this.take();
  }

  /** No bytes come any more, until `attached`. */
  away() {
    this._attached = false;
    this._turn = { ...this._turn, asked: null };
    this._applyTyping();
  }

  /** @param {Told} piece */
  came(piece) {
    const bytes = fromBase64(piece.data);
    const isFirst = this._shown.end === null;
    const [shown, step] = arrived(this._shown, piece.offset, bytes);
    this._shown = shown;
    if (step.kind === "anew") this._feedAll(step.skipped);
    if (step.kind === "add") this._feed(isFirst && piece.offset > shown.start ? fromCleanStart(step.bytes) : step.bytes, piece.offset);
    if (piece.cols && piece.rows) this._sized({ cols: piece.cols, rows: piece.rows });
    else if (isFirst || step.kind === "anew") this._look();
  }

  /** @param {Size} size */
  _sized(size) {
    const before = this._turn.size;
    this._turn = told(this._turn, size);
    if (before?.cols !== size.cols || before.rows !== size.rows) this.screen?.resize(size);
    this._settleSize();
    this._look();
  }

  // --- what the emulator is fed ---

  /**
   * @param {Uint8Array} bytes
   * @param {number} offset
   */
  _feed(bytes, offset) {
    this.screen?.write(bytes, offset >= this._historyEnd);
  }

  /** @param {number} [skipped] bytes before all of it */
  _feedAll(skipped = 0) {
    const { screen } = this;
    if (!screen) return;
    screen.reset();
    if (skipped) screen.mark(`${sizeText(skipped)} went by and are not shown; scroll up for them`);
    let isFirst = firstOffset(this._shown) > this._shown.start;
    for (const part of whole(this._shown)) {
      if (typeof part === "number") screen.mark(`${sizeText(part)} were not recorded`);
      else screen.write(isFirst ? fromCleanStart(part) : part, false);
      isFirst = false;
    }
  }

  /** Show what is above the top. */
  async showOlder() {
    const { screen } = this;
    if (!screen || this._older === "loading" || !hasOlder(this._shown)) return;
    this._setOlder("loading");
    let piece;
    try {
      piece = await this._options.request("agent.scrollback", { agent: this.agent, before: firstOffset(this._shown) });
    } catch {
      this._setOlder("failed");
      return;
    }
    if (this._ended || this.screen !== screen) return;
    this._shown = older(this._shown, { offset: piece.offset, bytes: fromBase64(piece.data) }, piece.start);
    await screen.shown();
    const { lines, line } = screen;
    this._feedAll();
    await screen.shown();
    screen.term.scrollToLine(line + screen.lines - lines); // where it was read
    this._setOlder("idle");
  }

  /** @param {Look["older"]} is */
  _setOlder(is) {
    this._older = is;
    this._look();
  }

  // --- its size ---

  /** The pane has another size, or letters have. */
  roomChanged() {
    const room = this.screen?.room();
    if (!room) return;
    this._turn = roomChanged(this._turn, room);
    this.screen?.scale();
    if (isFree(this._turn)) this.take();
    this._settleSize();
  }

  /** Somebody uses this one: it gives the terminal its size. */
  take() {
    if (!this._mayType || !this._attached || this._turn.ours) return;
    this._turn = taken(this._turn);
    this._settleSize();
    this._look();
  }

  _settleSize() {
    if (this._sizeTimer !== null || !this._attached || !wanted(this._turn)) return;
    this._sizeTimer = setTimeout(() => {
      this._sizeTimer = null;
      const size = this._attached && this._mayType ? wanted(this._turn) : null;
      if (size) this._askSize(size);
    }, ASK_SIZE_MS);
  }

  /** @param {Size} size */
  async _askSize(size) {
    this._turn = asked(this._turn, size);
    try {
      await this._options.request("agent.resize", { agent: this.agent, ...size });
      setTimeout(() => this._turn.asked === size && this._sized(size), SIZED_MS);
    } catch (error) {
      this._turn = refused(this._turn);
      if (this._attached) this._options.onTrouble(`Not resized: ${messageOf(error)}`);
    }
    this._look();
  }

  // --- what is typed ---

  /** @param {boolean} may  by role, and because it runs */
  allowTyping(may) {
    if (may === this._mayType) return;
    this._mayType = may;
    this._applyTyping();
    if (isFree(this._turn)) this.take();
  }

  _applyTyping() {
    this.screen?.setTyping(this._mayType && this._attached);
    this._look();
  }

  get mayAnswer() {
    return this._mayType && this._attached && this._turn.ours;
  }

  /**
   * @param {string} keys
   * @param {boolean} binary
   */
  typed(keys, binary) {
    if (!this._mayType || !this._attached) return;
    this.take();
    if (binary) return this._typist.type(fromBinary(keys));
    const text = this._ctrl ? withCtrl(keys) : keys;
    if (this._ctrl) this.setCtrl(false);
    return this._typist.type(new TextEncoder().encode(text));
  }

  /** @param {boolean} on */
  setCtrl(on) {
    this._ctrl = on;
    this._look();
  }

  get ctrl() {
    return this._ctrl;
  }

  _look() {
    if (this._ended) return;
    this._options.onLook({
      size: this._turn.size,
      ours: this._turn.ours,
      attached: this._attached,
      older: this._older,
      hasOlder: hasOlder(this._shown),
      ctrl: this._ctrl,
    });
  }
}

/**
 * The same key with Ctrl, if there is such a thing.
 * @param {string} keys
 */
export function withCtrl(keys) {
  if (keys.length !== 1) return keys;
  const code = keys.toUpperCase().charCodeAt(0);
  if (code === 0x20) return "\0";
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : keys;
}
