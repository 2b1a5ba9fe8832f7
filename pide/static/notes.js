/**
 * The browser's own notifications: whether it allows them, shown, closed, clicked. Knows nothing of agents but ids,
 * and of the page nothing at all.
 */

const WORKER = "/static/note_worker.js";
const NOWHERE = "/static/notes/"; // its scope: no page is there, so that it has a say in none
const TAG = "hyperpi:";
const LOOKED_AT = "hyperpi.looked-at"; // a lock, held by every page of this browser that somebody looks at

const ACTIVE_MS = 5_000; // for what takes milliseconds

const NONE = "This browser shows no notifications for this page; another browser may.";
const REFUSED = "The browser does not allow it. Allow notifications for this page in its settings, then turn this on again.";
const UNTRUSTED = "This browser shows notifications only for pages whose certificate it trusts. Install the mesh's authority on this device, then turn this on again.";

/** Why there can be no notes, and what to do; "" if there can. */
export function whyNot() {
  if (!("Notification" in globalThis)) return NONE;
  return Notification.permission === "granted" ? "" : REFUSED;
}

/**
 * To be called at a click: only then does a browser ask.
 * @returns {Promise<string>} as whyNot
 */
export async function askPermission() {
  if ("Notification" in globalThis) await Notification.requestPermission();
  return whyNot();
}

export class Notes {
  /** @param {(address: string) => void} onClick */
  constructor(onClick) {
    this._onClick = onClick;
    /** @type {Promise<ServiceWorkerRegistration | null> | null} */
    this._worker = null;
    /** @type {Map<string, Notification>} those without a worker, by agent */
    this._own = new Map();
    this._doing = Promise.resolve();
    /** @type {(() => void) | null} */
    this._letGo = null;
    navigator.serviceWorker?.addEventListener("message", (event) => {
      if (typeof event.data?.address === "string") onClick(event.data.address);
    });
  }

  /**
   * Whether the browser does what it allows.
   * @returns {Promise<string>} as whyNot
   */
  async tryOut() {
    if (await this._registered()) return "";
    try {
      new Notification("Hyper-Pi", { silent: true }).close();
      return "";
    } catch {
      return UNTRUSTED; // it wants a worker, and lets us have none
    }
  }

  /**
   * In the order in which it is called; what a browser refuses is not shown.
   * @param {{agent: string, title: string, body: string, address: string}[]} show
   * @param {string[]} close  agents
   */
  change(show, close) {
    this._then(async () => {
      const worker = await this._registered();
      for (const agent of close) await this._close(worker, agent);
      if (show.length && (await isLookedAt())) return;
      for (const note of show) await this._show(worker, note);
    });
  }

  /** Every note of ours in this browser, whichever page showed it. */
  closeAll() {
    this._then(async () => {
      for (const agent of [...this._own.keys()]) await this._close(null, agent);
      const worker = await navigator.serviceWorker?.getRegistration(NOWHERE);
      for (const note of (await worker?.getNotifications()) ?? []) if (note.tag.startsWith(TAG)) note.close();
    });
  }

  /** Nothing stays behind of it in this browser. */
  leave() {
    this.closeAll();
    this._then(async () => {
      this._worker = null;
      await (await navigator.serviceWorker?.getRegistration(NOWHERE))?.unregister();
    });
  }

  /**
   * Other pages of this browser show nothing while somebody looks at this one.
   * @param {boolean} looked
   */
  lookedAt(looked) {
    this._letGo?.();
    this._letGo = null;
    if (!looked) return;
    const held = new Promise((resolve) => {
      this._letGo = () => resolve(undefined);
    });
    navigator.locks?.request(LOOKED_AT, { mode: "shared" }, () => held);
  }

  /** @param {() => Promise<void>} act */
  _then(act) {
    this._doing = this._doing.then(act).catch((error) => console.info("a notification was not changed:", error));
  }

  /** @returns {Promise<ServiceWorkerRegistration | null>} null: this browser lets us have none */
  _registered() {
    this._worker ??= register().catch(() => null);
    this._worker.then((worker) => {
      if (!worker) this._worker = null; // there may be one the next time
    });
    return this._worker;
  }

  /**
   * @param {ServiceWorkerRegistration | null} worker
   * @param {{agent: string, title: string, body: string, address: string}} note
   */
  async _show(worker, { agent, title, body, address }) {
    const options = { tag: TAG + agent, body, data: { address } };
    if (worker) return worker.showNotification(title, options);
    const shown = new Notification(title, options);
    shown.onclick = () => {
      shown.close();
      focus();
      this._onClick(address);
    };
    this._own.set(agent, shown);
  }

  /**
   * @param {ServiceWorkerRegistration | null} worker
   * @param {string} agent
   */
  async _close(worker, agent) {
    this._own.get(agent)?.close();
    this._own.delete(agent);
    for (const note of (await worker?.getNotifications({ tag: TAG + agent })) ?? []) note.close();
  }
}

/** A worker that can show notes: one that is active. @returns {Promise<ServiceWorkerRegistration | null>} */
async function register() {
  const registration = await navigator.serviceWorker?.register(WORKER, { scope: NOWHERE });
  const worker = registration?.active ?? registration?.waiting ?? registration?.installing;
  if (!worker) return null;
  if (worker.state === "activated") return registration;
  return new Promise((resolve) => {
    setTimeout(() => resolve(null), ACTIVE_MS);
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve(registration);
      if (worker.state === "redundant") resolve(null);
    });
  });
}

async function isLookedAt() {
  const { held } = (await navigator.locks?.query()) ?? {};
  return held?.some((lock) => lock.name === LOOKED_AT) ?? false;
}
