/**
 * What the page holds (state, ui) and its one drawing per frame. Flows change it through `dispatch` and
 * `look`; nobody else keeps a copy.
 */

import { messageOf } from "./client.js";
import { keptIds } from "./keeping.js";
import { Reading } from "./reading.js";
import { HEIGHT, HEIGHT_TOUCH, inSight, offsetOf, rosterRows } from "./roster.js";
import { needsPerson } from "./presence.js";
import { apply, emptyState } from "./state.js";
import { FIRST_SHOWN, addressOf, firstUi } from "./ui.js";
import { render } from "./vendor/lit.js";
import { appView } from "./views/app.js";
import { forgetGrown } from "./views/markdown.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./ui.js").Ui} Ui */

const TOAST_MS = 3_000;
const TOAST_BAD_MS = 8_000;

export class Page {
  /**
   * @param {object} options
   * @param {HTMLElement} options.root
   * @param {(method: string, params?: object, timeout_s?: number) => Promise<any>} options.request
   * @param {(before: State) => void} options.onChange  after each change of the state
   * @param {() => void} options.onNearTop              somebody reads the oldest that is drawn
   */
  constructor({ root, request, onChange, onNearTop }) {
    this.phone = matchMedia("(max-width: 720px)");
    this.touch = matchMedia("(pointer: coarse)");
    this.request = request;
    this._root = root;
    this._onChange = onChange;
    this._onNearTop = onNearTop;
    /** @type {State} */
    this.state = emptyState();
    /** @type {Ui} */
    this.ui = { ...firstUi(), putOff: keptIds("putOff"), passedOver: keptIds("passedOver"), inspectorOpen: !matchMedia("(max-width: 1180px)").matches };
    /** @type {import("./views/app.js").Actions | null} */
    this.actions = null;
    this.highlighted = false;
    /** @type {string | null} a roster link to focus once it is drawn */
    this.focusAgent = null;
    this.focusComposer = false;
    this.reading = new Reading({
      follow: (follow) => this.look({ follow, unseen: follow ? 0 : this.ui.unseen, shown: follow ? this._fewest() : this.ui.shown }),
      nearTop: onNearTop,
    });
    this._drawing = 0;
    /** @type {any} */
    this._toastTimer = null;
    /** @type {{parts: unknown[], rows: import("./roster.js").Row[]}} */
    this._rows = { parts: [], rows: [] };
    /** @type {{parts: unknown[], sight: {above: number, below: number, rows: import("./roster.js").Row[]}}} */
    this._sight = { parts: [], sight: { above: 0, below: 0, rows: [] } };
  }

  // --- changing ---

  /** @param {import("./state.js").Happening} event */
  dispatch(event) {
    const before = this.state;
    this.state = apply(before, event);
    if (this.state === before) return;
    this._noticeChanges(before);
    this._onChange(before);
    // A page that is not seen draws no frame; its title is all that is seen of it.
    if (document.visibilityState !== "visible" && this.state.mesh !== before.mesh) this._name();
    this.draw();
  }

  /** @param {Partial<Ui>} change */
  look(change) {
    this.ui = { ...this.ui, ...change };
    this.draw();
  }

  /**
   * @param {string} text
   * @param {"info" | "bad"} [tone]
   */
  toast(text, tone = "info") {
    clearTimeout(this._toastTimer);
    this._toastTimer = setTimeout(() => this.look({ toast: null }), tone === "bad" ? TOAST_BAD_MS : TOAST_MS);
    this.look({ toast: { text, tone } });
  }

  /**
   * Call a method; what goes wrong is told to the person.
   * @param {string} method
   * @param {object} params
   * @param {string} [done] what to say when it worked
   */
  async ask(method, params, done) {
    try {
      const result = await this.request(method, params);
      if (done) this.toast(done);
      return result;
    } catch (error) {
      this.toast(messageOf(error), "bad");
      return undefined;
    }
  }

  /** @param {import("./ui.js").Route} route */
  go(route) {
    location.hash = addressOf(route);
  }

  // --- reading ---

  get openAgent() {
    const { route } = this.ui;
    return route.kind === "agent" ? this.state.mesh?.agents.get(route.id) : undefined;
  }

  get openConversation() {
    const { route } = this.ui;
    return route.kind === "agent" ? this.state.conversations.get(route.id) : undefined;
  }

  get heights() {
    return this.touch.matches ? HEIGHT_TOUCH : HEIGHT;
  }

  /** The rows of the roster, made again only when something of them changed. */
  rows() {
    const { mesh } = this.state;
    if (!mesh) return [];
    const { filter, chip, folded, endedShown } = this.ui;
    const parts = [mesh.nodes, mesh.agents, filter, chip, folded, endedShown];
    if (parts.some((part, at) => part !== this._rows.parts[at])) this._rows = { parts, rows: rosterRows(mesh, this.ui) };
    return this._rows.rows;
  }

  // --- drawing ---

  /** Once per frame, however many events came. */
  draw() {
    this._drawing ||= requestAnimationFrame(() => {
      this._drawing = 0;
      if (!this.actions) return;
      this.reading.beforeDraw();
      render(appView(this.state, this.ui, this._rowsInSight(), this.highlighted, this.actions), this._root);
      this.reading.afterDraw();
      this._afterDraw();
    });
  }

  _rowsInSight() {
    const rows = this.rows();
    const scroller = document.getElementById("roster-scroll");
    const top = Math.floor((scroller?.scrollTop ?? 0) / 200) * 200; // draw anew every few rows, not every pixel
    const height = Math.max(600, scroller?.clientHeight ?? innerHeight);
    const parts = [rows, this.heights, top, height];
    if (parts.some((part, at) => part !== this._sight.parts[at])) {
      this._sight = { parts, sight: inSight(rows, this.heights, top, height) };
    }
    return this._sight.sight;
  }

  _afterDraw() {
    if (this.reading.hasRoom()) this._onNearTop();
    // showModal gives the focus trap, Esc and the inert page behind; it needs the element in the page.
    const dialog = document.querySelector("dialog:not([open])");
    if (dialog instanceof HTMLDialogElement) dialog.showModal();
    this._focus();
    const running = this.openConversation?.running ?? [];
    forgetGrown(new Set(running.flatMap((message) => message.blocks.map((_, at) => `${message.message_id}:${at}`))));
    this._name();
  }

  _focus() {
    if (this.focusAgent) {
      const link = document.querySelector(`[data-agent="${CSS.escape(this.focusAgent)}"]`);
      if (link instanceof HTMLElement) link.focus({ preventScroll: true });
      this.focusAgent = null;
    }
    const composer = document.getElementById("composer");
    if (!(composer instanceof HTMLTextAreaElement)) return;
    if (!CSS.supports("field-sizing", "content")) {
      composer.style.height = "auto";
      composer.style.height = `${Math.min(composer.scrollHeight, 240)}px`;
    }
    if (this.focusComposer) composer.focus({ preventScroll: true });
    this.focusComposer = false;
  }

  /** The title of the window says how many wait for a person. */
  _name() {
    let needing = 0;
    for (const agent of this.state.mesh?.agents.values() ?? []) if (needsPerson(agent)) needing += 1;
    const title = `${needing ? `(${needing}) ` : ""}${this.openAgent ? `${this.openAgent.name} · ` : ""}Hyper-Pi`;
    if (document.title === title) return;
    document.title = title;
    // Where the page was installed as an app, its icon tells the same; elsewhere there is no such method.
    navigator.setAppBadge?.(needing).catch(() => {});
  }

  /**
   * Bring a row of the roster into its window.
   * @param {string} key
   */
  revealRow(key) {
    const scroller = document.getElementById("roster-scroll");
    const top = offsetOf(this.rows(), this.heights, key);
    if (!scroller || top < 0) return;
    const { node, project, agent } = this.heights;
    if (top < scroller.scrollTop + node) scroller.scrollTop = top - node - project;
    else if (top + agent > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + agent - scroller.clientHeight + 8;
  }

  // --- what a change means for this page ---

  /** @param {State} before */
  _noticeChanges(before) {
    if (this.state.mesh && before.mesh && this.state.mesh.agents !== before.mesh.agents) {
      this._noticeStates(before.mesh.agents, this.state.mesh.agents);
    }
    const conv = this.openConversation;
    const then = conv && before.conversations.get(conv.agent);
    if (conv && then && conv.entries.length > then.entries.length) this._noticeEntries(then.entries, conv.entries);
  }

  /**
   * Agents that came to rest while nobody looked, and the state of the open one for a screen reader.
   * @param {ReadonlyMap<string, import("./protocol.js").Agent>} before
   * @param {ReadonlyMap<string, import("./protocol.js").Agent>} now
   */
  _noticeStates(before, now) {
    const open = this.openAgent;
    const lookedAt = document.visibilityState === "visible" ? open?.id : undefined;
    const rested = [...now.values()].filter(
      (agent) => agent.state !== "working" && agent.id !== lookedAt && before.get(agent.id)?.state === "working",
    );
    if (rested.length) this.ui = { ...this.ui, fresh: new Set([...this.ui.fresh, ...rested.map((agent) => agent.id)]) };
    if (open && open.state !== before.get(open.id)?.state) this.ui = { ...this.ui, announced: `${open.name}: ${open.state}` };
  }

  /**
   * @param {import("./protocol.js").Entry[]} before
   * @param {import("./protocol.js").Entry[]} now
   */
  _noticeEntries(before, now) {
    if (this.ui.follow) {
      this.ui = { ...this.ui, shown: this._fewest() };
    } else if (now[0]?.id === before[0]?.id) {
      const added = now.length - before.length;
      this.ui = { ...this.ui, shown: this.ui.shown + added, unseen: this.ui.unseen + added };
    }
  }

  /** Whoever follows the newest needs no more than a screen of the past. */
  _fewest() {
    return Math.min(this.ui.shown, FIRST_SHOWN * 4);
  }
}
