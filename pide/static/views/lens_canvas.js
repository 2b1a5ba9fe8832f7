/** `<pxl-lens>`: a few rows around one, large enough to see their pixels. */

/** @typedef {import("../pxldisk.js").Picture} Picture */

const AROUND = 3; // rows above and below
const HIGH = 7; // CSS pixels of a row

export class LensCanvas extends HTMLElement {
  constructor() {
    super();
    this._canvas = document.createElement("canvas");
    this._sizes = new ResizeObserver(() => this._paint());
    /** @type {{picture: Picture, row: number} | null} */
    this._view = null;
  }

  connectedCallback() {
    this.replaceChildren(this._canvas);
    this._sizes.observe(this);
  }

  disconnectedCallback() {
    this._sizes.disconnect();
  }

  /** @param {{picture: Picture, row: number}} view */
  set view(view) {
    if (this._view?.picture === view.picture && this._view.row === view.row) return;
    this._view = view;
    this._paint();
  }

  _paint() {
    const context = this._canvas.getContext("2d");
    if (!this._view || !context || !this.clientWidth) return;
    const { picture, row } = this._view;
    const ratio = devicePixelRatio || 1;
    const count = 2 * AROUND + 1;
    const wide = Math.round(this.clientWidth * ratio);
    const high = Math.round(HIGH * ratio);
    this._canvas.width = wide;
    this._canvas.height = count * high;
    for (let line = 0; line < count; line++) {
      const of = row - AROUND + line;
      if (of < 0 || of >= picture.height) continue;
      context.globalAlpha = of === row ? 1 : 0.45;
      const start = of * 3 * picture.width;
      for (let x = 0; x < picture.width; x++) {
        const [r, g, b] = picture.bytes.subarray(start + 3 * x, start + 3 * x + 3);
        const left = Math.round((x * wide) / picture.width);
        context.fillStyle = `rgb(${r} ${g} ${b})`;
        context.fillRect(left, line * high, Math.round(((x + 1) * wide) / picture.width) - left, high - 1);
      }
    }
  }
}

customElements.define("pxl-lens", LensCanvas);
