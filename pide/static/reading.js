/**
 * Keeps the reading position of the stage: at the newest while the person follows, at the same words while
 * they read further up, also when older entries appear above or blocks change their height.
 */

const AT_END_PX = 48;
const NEAR_TOP_PX = 700;

export class Reading {
  /**
   * @param {object} on
   * @param {(follow: boolean) => void} on.follow
   * @param {() => void} on.nearTop
   */
  constructor(on) {
    this._on = on;
    this.follow = true;
    this._top = 0;
    /** @type {{entry: string, top: number} | null} */
    this._anchor = null;
    /** @type {HTMLElement | null} */
    this._scroller = null;
    this._sizes = new ResizeObserver(() => this.toEndIfFollowing());
  }

  /** Before a drawing that may change what is above: remember the words in sight. */
  beforeDraw() {
    const scroller = this._scroller;
    this._anchor = null;
    if (!scroller || this.follow) return;
    const edge = scroller.getBoundingClientRect().top;
    for (const element of scroller.querySelectorAll("[data-entry]")) {
      const box = element.getBoundingClientRect();
      if (box.bottom > edge && box.height > 0) {
        this._anchor = { entry: element.getAttribute("data-entry") ?? "", top: box.top };
        return;
      }
    }
  }

  afterDraw() {
    this._watch();
    const scroller = this._scroller;
    if (!scroller) return;
    if (this.follow) {
      this.toEndIfFollowing();
    } else if (this._anchor) {
      const element = scroller.querySelector(`[data-entry="${CSS.escape(this._anchor.entry)}"]`);
      if (element) scroller.scrollTop += element.getBoundingClientRect().top - this._anchor.top;
      this._top = scroller.scrollTop;
    }
  }

  /** Lit may replace the pane: watch the one that is there. */
  _watch() {
    const scroller = document.getElementById("stage-scroll");
    const content = document.getElementById("stage-content");
    if (scroller === this._scroller) return;
    this._sizes.disconnect();
    this._scroller = scroller;
    this._top = 0;
    if (scroller && content) {
      this._sizes.observe(scroller);
      this._sizes.observe(content);
    }
  }

  /** Whether what is drawn does not fill the window and a little more. */
  hasRoom() {
    const scroller = this._scroller;
    return scroller !== null && scroller.scrollHeight < scroller.clientHeight + NEAR_TOP_PX;
  }

  toEndIfFollowing() {
    if (!this.follow || !this._scroller) return;
    this._scroller.scrollTop = this._scroller.scrollHeight;
    this._top = this._scroller.scrollTop;
  }

  /** @param {boolean} follow */
  setFollow(follow) {
    this.follow = follow;
    this.toEndIfFollowing();
  }

  scrolled() {
    const scroller = this._scroller;
    if (!scroller) return;
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    const atEnd = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    // Only a movement upwards leaves the end; growth below us does not.
    const movedUp = scrollTop < this._top - 1;
    this._top = scrollTop;
    const follow = atEnd || (this.follow && !movedUp);
    if (follow !== this.follow) {
      this.follow = follow;
      this._on.follow(follow);
    }
    if (scrollTop < NEAR_TOP_PX && !this.follow) this._on.nearTop();
  }
}
