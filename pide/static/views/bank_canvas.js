/**
 * `<pxl-bank>`: a bank drawn pixel by pixel, a whole number of device pixels each, with zones outlined, changed
 * rows flashing, and the row that somebody points at. Says `row-point` and `row-open`; knows nothing of disks.
 */

/** @typedef {import("../pxldisk.js").Picture} Picture */

/**
 * @typedef {object} BankView
 * @property {Picture} picture
 * @property {readonly string[]} tones     a CSS variable of each zone
 * @property {ReadonlyMap<number, number>} flashes  rows and when they changed, ms (Date.now)
 * @property {number | null} row           pointed at
 * @property {readonly number[]} record    rows of its record
 */

const FLASH_MS = 1_400;
const GUTTER = 16; // CSS pixels left of the picture: the state of each row, and which belong together
const LARGEST = 640; // CSS pixels; larger shows no more
const SNAP = 14; // CSS pixels that a finger may miss a row by
const SHADES = /** @type {{[state: string]: number}} */ ({ live: 1, consumed: 0.38, superblock: 0.6, free: 0.07 });

export class BankCanvas extends HTMLElement {
  constructor() {
    super();
    /** @type {BankView | null} */
    this._view = null;
    this._base = document.createElement("canvas");
    this._over = document.createElement("canvas");
    this._still = matchMedia("(prefers-reduced-motion: reduce)");
    this._sizes = new ResizeObserver(() => this._resize());
    this._scale = 0; // device pixels of one pixel
    this._frame = 0;
    this.addEventListener("pointermove", (event) => event.pointerType !== "touch" && this._point(this._rowAt(event)));
    this.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && this._point(null));
    this.addEventListener("click", (event) => this._open(this._rowAt(/** @type {PointerEvent} */ (event))));
    this.addEventListener("keydown", (event) => this._key(event));
  }

  connectedCallback() {
    this._base.className = "pxl-pixels";
    this._over.className = "pxl-marks";
    this.replaceChildren(this._base, this._over);
    if (this.parentElement) this._sizes.observe(this.parentElement);
  }

  disconnectedCallback() {
    this._sizes.disconnect();
    cancelAnimationFrame(this._frame);
    this._frame = 0;
  }

  /** @param {BankView} view */
  set view(view) {
    const before = this._view;
    this._view = view;
    if (before?.picture.width !== view.picture.width || before?.picture.height !== view.picture.height) this._resize();
    if (before?.picture !== view.picture) this._paint(view.picture);
    this._mark();
  }

  // --- drawing ---

  /** The largest whole number of device pixels for a pixel that fits. */
  _resize() {
    const view = this._view;
    if (!view || !this.parentElement) return;
    const { width, height } = view.picture;
    const ratio = devicePixelRatio || 1;
    const room = Math.min(LARGEST, this.parentElement.clientWidth - GUTTER);
    const scale = Math.max(1, Math.floor((room * ratio) / width));
    const size = [scale, ratio, width, height].join();
    if (size === this.dataset.size) return;
    this.dataset.size = size;
    this._scale = scale;
    const [wide, high] = [(width * scale) / ratio, (height * scale) / ratio];
    this.style.width = `${wide + GUTTER}px`;
    this.style.height = `${high}px`;
    Object.assign(this._base.style, { width: `${wide}px`, height: `${high}px`, left: `${GUTTER}px` });
    this._base.width = width;
    this._base.height = height;
    this._over.width = Math.round(GUTTER * ratio) + width * scale;
    this._over.height = height * scale;
    this._paint(view.picture);
    this._mark();
  }

  /** @param {Picture} picture */
  _paint({ width, height, bytes }) {
    const context = this._base.getContext("2d");
    if (!context || this._base.width !== width || this._base.height !== height) return;
    const image = context.createImageData(width, height);
    const { data } = image;
    for (let from = 0, to = 0; from < bytes.length; from += 3, to += 4) {
      data[to] = bytes[from];
      data[to + 1] = bytes[from + 1];
      data[to + 2] = bytes[from + 2];
      data[to + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  /** Once a frame, and again as long as something fades. */
  _mark() {
    this._frame ||= requestAnimationFrame(() => {
      this._frame = 0;
      if (this._drawMarks(Date.now())) this._mark();
    });
  }

  /**
   * @param {number} now
   * @returns {boolean} whether something is still fading
   */
  _drawMarks(now) {
    const view = this._view;
    const context = this._over.getContext("2d");
    if (!view || !context || !this._scale) return false;
    const { picture } = view;
    const scale = this._scale;
    const gutter = this._over.width - picture.width * scale;
    const style = getComputedStyle(this);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim() || "#888";
    const tones = view.tones.map(colour);
    const toneOf = (/** @type {number} */ row) => tones[picture.zones.findIndex((zone) => row >= zone.first && row <= zone.last)] ?? colour("--faint");
    context.clearRect(0, 0, this._over.width, this._over.height);

    const bar = gutter * 0.42;
    for (const row of picture.rows) {
      context.globalAlpha = SHADES[row.state] ?? 1;
      context.fillStyle = row.state === "damaged" ? colour("--bad") : toneOf(row.row);
      context.fillRect(gutter - bar - gutter * 0.14, row.row * scale, bar, scale);
    }

    const line = Math.max(1, Math.round(this._over.width / this.clientWidth || 1));
    context.lineWidth = line;
    context.globalAlpha = 0.75;
    picture.zones.forEach((zone, number) => {
      context.strokeStyle = tones[number];
      const top = zone.first * scale;
      const high = (zone.last - zone.first + 1) * scale;
      context.strokeRect(gutter + line / 2, top + line / 2, picture.width * scale - line, high - line);
    });

    const fading = this._drawFlashes(context, now, gutter, line, toneOf, colour("--pxl-bright"));
    context.globalAlpha = 1;
    if (view.row !== null) this._drawPointed(context, gutter, line, colour("--pxl-bright"), colour("--pxl-pointed"));
    return fading;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} now
   * @param {number} gutter
   * @param {number} line
   * @param {(row: number) => string} toneOf
   * @param {string} bright
   */
  _drawFlashes(context, now, gutter, line, toneOf, bright) {
    const scale = this._scale;
    const wide = this._over.width - gutter;
    const flashing = [...(this._view?.flashes ?? [])].filter(([, at]) => now - at >= 0 && now - at < FLASH_MS);
    const crowd = Math.max(1, Math.sqrt(flashing.length / 12)); // many at once would be one blinding block
    for (const [row, at] of flashing) {
      // Without motion it is there, and then it is not; with it, it glows and fades.
      const left = (this._still.matches ? 0.6 : (1 - (now - at) / FLASH_MS) ** 2) / crowd;
      const glow = this._still.matches ? 0 : Math.ceil((7 * line * left) / crowd);
      const top = row * scale;
      context.fillStyle = toneOf(row);
      context.globalAlpha = 0.32 * left;
      context.fillRect(gutter, top - glow, wide, scale + 2 * glow);
      context.fillStyle = bright;
      context.globalAlpha = 0.9 * left;
      context.fillRect(gutter, top, wide, scale);
      context.fillStyle = toneOf(row);
      context.globalAlpha = Math.min(1, 1.4 * left);
      context.fillRect(0, top - line * 2, gutter - line, scale + line * 4);
    }
    const told = flashing.map(([row]) => row).join(" ");
    if (this.dataset.flashing !== told) this.dataset.flashing = told;
    return flashing.length > 0;
  }

  /**
   * The row that is pointed at, and the others of its record with a bracket.
   * @param {CanvasRenderingContext2D} context
   * @param {number} gutter
   * @param {number} line
   * @param {string} bright
   * @param {string} accent
   */
  _drawPointed(context, gutter, line, bright, accent) {
    const view = /** @type {BankView} */ (this._view);
    const scale = this._scale;
    const wide = this._over.width - gutter;
    const frame = (/** @type {number} */ row) => context.strokeRect(gutter - line / 2, row * scale - line / 2, wide, scale + line);
    context.strokeStyle = accent;
    context.fillStyle = accent;
    for (const row of view.record) {
      frame(row);
      context.fillRect(0, row * scale, gutter, Math.max(scale, line));
    }
    if (view.record.length > 1) {
      const [first, last] = [Math.min(...view.record), Math.max(...view.record)];
      context.fillRect(0, first * scale, line * 2, (last - first + 1) * scale);
    }
    context.strokeStyle = bright;
    context.lineWidth = line;
    if (view.row !== null) frame(view.row);
  }

  // --- pointing ---

  /** @param {MouseEvent} event */
  _rowAt(event) {
    const view = this._view;
    if (!view) return null;
    const box = this.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * view.picture.height);
    if (row < 0 || row >= view.picture.height) return null;
    const finger = /** @type {PointerEvent} */ (event).pointerType === "touch";
    return finger ? nearestInUse(view.picture, row, Math.ceil((SNAP / box.height) * view.picture.height)) : row;
  }

  /** @param {number | null} row */
  _point(row) {
    if (row !== this._view?.row) this.dispatchEvent(new CustomEvent("row-point", { detail: row }));
  }

  /** @param {number | null} row */
  _open(row) {
    this.dispatchEvent(new CustomEvent("row-open", { detail: row }));
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const view = this._view;
    if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = view.picture.height - 1;
    const now = view.row ?? -1;
    const steps = /** @type {{[key: string]: () => number | null}} */ ({
      ArrowDown: () => Math.min(last, now + 1),
      ArrowUp: () => Math.max(0, now < 0 ? last : now - 1),
      PageDown: () => Math.min(last, now + 16),
      PageUp: () => Math.max(0, now - 16),
      Home: () => 0,
      End: () => last,
      ArrowRight: () => nextInUse(view.picture, now, 1),
      ArrowLeft: () => nextInUse(view.picture, now, -1),
    });
    if (event.key in steps) this._point(steps[event.key]() ?? view.row);
    else if (event.key === "Enter" || event.key === " ") this._open(view.row);
    else if (event.key === "Escape") this._open(null);
    else return;
    event.preventDefault();
  }
}

/**
 * The next row in a direction that holds a record, the head of each once.
 * @param {Picture} picture
 * @param {number} from
 * @param {1 | -1} step
 */
export function nextInUse(picture, from, step) {
  for (let row = from + step; row >= 0 && row < picture.height; row += step) {
    const { parts, part } = picture.rows[row];
    if (parts && part === 0) return row;
  }
  return null;
}

/**
 * @param {Picture} picture
 * @param {number} row
 * @param {number} reach
 */
function nearestInUse(picture, row, reach) {
  for (let away = 0; away <= reach; away++) {
    for (const near of [row - away, row + away]) if (picture.rows[near]?.parts) return near;
  }
  return row;
}

customElements.define("pxl-bank", BankCanvas);
