/**
 * One xterm.js in the page: bytes go in, keys come out. It is fetched when the first one is made.
 *
 * It must not know where bytes come from, nor who may type.
 */

/** @typedef {import("../vendor/xterm.js").Terminal} Xterm */
/** @typedef {import("./turn.js").Size} Size */

export const FONT_PX = 13;
const MIN_FONT_PX = 6; // smaller is not read; what does not fit then is scrolled to
const SCROLLBACK_LINES = 50_000;

const THEME = {
  background: "#0b0d10",
  foreground: "#dce3ea",
  cursor: "#b8e35a",
  cursorAccent: "#141a06",
  selectionBackground: "#3b4a2a",
  selectionInactiveBackground: "#2c3526",
  scrollbarSliderBackground: "#303a4580",
  scrollbarSliderHoverBackground: "#45525f",
  scrollbarSliderActiveBackground: "#5a6876",
  black: "#1e252d",
  red: "#ff7373",
  green: "#8fce6f",
  yellow: "#e6b95c",
  blue: "#6cb2ff",
  magenta: "#c9a0f5",
  cyan: "#5fd0c5",
  white: "#c7d0d9",
  brightBlack: "#6b7886",
  brightRed: "#ff9a94",
  brightGreen: "#b3e692",
  brightYellow: "#ffd77f",
  brightBlue: "#9accff",
  brightMagenta: "#dfc3ff",
  brightCyan: "#8fe8dd",
  brightWhite: "#f4f7fa",
};

/** @type {Promise<typeof import("../vendor/xterm.js")> | null} */
let fetched = null;

/** The module and its style sheet, once. */
function fetchXterm() {
  fetched ??= Promise.all([import("../vendor/xterm.js"), styled("/static/vendor/xterm.css")])
    .then(([module]) => module)
    .catch((error) => {
      fetched = null; // the next one tries again
      throw error;
    });
  return fetched;
}

/** @param {string} href */
function styled(href) {
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = href;
    link.addEventListener("load", resolve);
    link.addEventListener("error", () => reject(new Error(`${href} did not come`)));
    document.head.append(link);
  });
}

/**
 * @param {HTMLElement} place  in the page; its size is the room that there is
 * @param {Size} size
 * @param {ScreenListener} listener
 */
export async function openScreen(place, size, listener) {
  const xterm = await fetchXterm();
  return new Screen(xterm, place, size, listener);
}

/**
 * @typedef {object} ScreenListener
 * @property {(bytes: string, binary: boolean) => void} [onKeys]  what was typed; binary: a character per byte
 * @property {() => boolean} [mayAnswer]    whether a question of the program is ours to answer
 * @property {() => void} [onTaken]         somebody tapped into it
 * @property {() => void} [onTop]           somebody wants to see what is above the top
 * @property {() => void} [onRoom]          there is another amount of room
 * @property {() => void} [onLeave]         somebody wants to leave it by the keyboard
 */

export class Screen {
  /**
   * @param {typeof import("../vendor/xterm.js")} xterm
   * @param {HTMLElement} place
   * @param {Size} size
   * @param {ScreenListener} listener
   */
  constructor({ Terminal, FitAddon, xtermDocument }, place, size, listener) {
    this._place = place;
    this._listener = listener;
    this._font = FONT_PX;
    this._isLive = this._isLiveNext = false;
    this.term = new Terminal({
      cols: size.cols,
      rows: size.rows,
      documentOverride: xtermDocument,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: FONT_PX,
      theme: THEME,
      scrollback: SCROLLBACK_LINES,
      cursorBlink: false,
      disableStdin: true,
      macOptionIsMeta: true,
      rightClickSelectsWord: false,
    });
    this._fit = new FitAddon();
    this.term.loadAddon(this._fit);
    this.term.open(place);
    this.term.onData((keys) => listener.onKeys?.(keys, false));
    this.term.onBinary((bytes) => listener.onKeys?.(bytes, true));
    this.term.attachCustomKeyEventHandler((event) => this._key(event));
    this._refuseQuestions();
    this._ends = new AbortController();
    const { signal } = this._ends;
    place.addEventListener("pointerdown", () => listener.onTaken?.(), { signal });
    place.addEventListener("wheel", (event) => event.deltaY < 0 && this._wantsTop(), { signal, passive: true });
    this._touches(signal);
    this._watch = new ResizeObserver(() => listener.onRoom?.());
    this._watch.observe(place);
  }

  close() {
    this._watch.disconnect();
    this._ends.abort();
    this.term.dispose();
  }

  // --- what it shows ---

  /**
   * @param {Uint8Array | string} bytes  or text, as recordings have it
   * @param {boolean} live  it is being said now, so that questions in it can be answered
   */
  write(bytes, live) {
    // The emulator reads later: what it reads then is as live as it was when it was written.
    if (live !== this._isLiveNext) this.term.write("", () => (this._isLive = live));
    this._isLiveNext = live;
    this.term.write(bytes);
  }

  /**
   * A line of ours, which no program wrote.
   * @param {string} text
   */
  mark(text) {
    const room = Math.max(0, this.term.cols - text.length - 4);
    this.term.write(`\x1b[0m\r\n\x1b[33m── ${text} ${"─".repeat(room)}\x1b[0m\r\n`);
  }

  /** As new, once it has read what was written before. */
  reset() {
    this.term.write("", () => this.term.reset());
  }

  /** Settled when all that was written is shown. */
  shown() {
    return new Promise((resolve) => this.term.write("", () => resolve(undefined)));
  }

  /** @param {Size} size */
  resize({ cols, rows }) {
    // In its turn: what was written before was meant for the size before.
    this.term.write("", () => {
      this.term.resize(cols, rows);
      this.scale();
    });
  }

  // --- its room ---

  /** The size that fills the room with letters of the usual size. */
  room() {
    this._setFont(FONT_PX);
    const room = this._fit.proposeDimensions();
    if (!room || !Number.isFinite(room.cols) || !Number.isFinite(room.rows)) return null;
    return { cols: Math.max(2, Math.min(room.cols, 1_000)), rows: Math.max(1, Math.min(room.rows, 1_000)) };
  }

  /** Letters of the size at which all of it can be seen; never larger than usual. */
  scale() {
    const room = this.room();
    if (!room) return;
    const fits = Math.min(room.cols / this.term.cols, room.rows / this.term.rows, 1);
    this._setFont(fits >= 1 ? FONT_PX : Math.max(MIN_FONT_PX, Math.floor(FONT_PX * fits * 2) / 2));
  }

  /** @param {number} font */
  _setFont(font) {
    if (this._font === font) return;
    this._font = font;
    this.term.options.fontSize = font;
  }

  // --- what is typed ---

  /** @param {boolean} may */
  setTyping(may) {
    this.term.options.disableStdin = !may;
    this.term.options.cursorBlink = may;
  }

  get lines() {
    return this.term.buffer.active.length;
  }

  get line() {
    return this.term.buffer.active.viewportY;
  }

  /** Whether the oldest that it has is on the screen. */
  isAtTop() {
    const { type, viewportY } = this.term.buffer.active;
    return type === "normal" && viewportY === 0;
  }

  /**
   * @param {KeyboardEvent} event
   * @returns {boolean} whether it goes on to the program
   */
  _key(event) {
    if (event.type !== "keydown") return true;
    if (event.ctrlKey && event.shiftKey && event.code === "KeyC") {
      event.preventDefault();
      navigator.clipboard?.writeText(this.term.getSelection()).catch(() => {});
      return false;
    }
    if (event.ctrlKey && event.shiftKey && event.code === "KeyL") {
      event.preventDefault();
      this._listener.onLeave?.();
      return false;
    }
    if (event.shiftKey && event.key === "PageUp") this._wantsTop();
    return true;
  }

  _wantsTop() {
    if (this.isAtTop()) this._listener.onTop?.();
  }

  /** Fingers scroll what was shown; the emulator itself knows only wheels. @param {AbortSignal} signal */
  _touches(signal) {
    let from = 0;
    let left = 0;
    const began = (/** @type {TouchEvent} */ event) => {
      from = event.touches[0].clientY;
      left = 0;
    };
    const moved = (/** @type {TouchEvent} */ event) => {
      if (event.touches.length !== 1) return;
      const height = this._place.clientHeight / this.term.rows;
      left += from - event.touches[0].clientY;
      from = event.touches[0].clientY;
      const lines = Math.trunc(left / height);
      if (!lines) return;
      left -= lines * height;
      if (lines < 0) this._wantsTop();
      this.term.scrollLines(lines);
      event.preventDefault();
    };
    this._place.addEventListener("touchstart", began, { signal, passive: true });
    this._place.addEventListener("touchmove", moved, { signal, passive: false });
  }

  /**
   * A program asks what the terminal can do, and where its cursor is. Of all that look, one may answer, and
   * nobody to what was asked long ago.
   */
  _refuseQuestions() {
    const { parser } = this.term;
    const isRefused = () => !(this._isLive && (this._listener.mayAnswer?.() ?? false));
    for (const id of [
      { final: "c" },
      { prefix: ">", final: "c" },
      { final: "n" },
      { prefix: "?", final: "n" },
      { intermediates: "$", final: "p" },
      { prefix: "?", intermediates: "$", final: "p" },
    ]) {
      parser.registerCsiHandler(id, isRefused);
    }
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, isRefused);
    for (const code of [4, 10, 11, 12]) parser.registerOscHandler(code, (data) => data.includes("?") && isRefused());
  }
}
