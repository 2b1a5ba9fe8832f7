/**
 * One WebSocket to Pi-DE that comes back by itself: JSON-RPC requests with timeouts, notifications, capped
 * jittered backoff, a check whenever the page comes to the foreground. Knows nothing of the page or of what
 * the messages mean; resuming from cursors is done by whoever listens to `onStatus`.
 */

import { CLOSE, NoAnswer, readFrame, requestFrame } from "./protocol.js";

/**
 * @typedef {"offline" | "gone" | "slow" | "restarting"} Cause
 *   offline: this device has no network; gone: nothing answers; slow: we could not keep up, resume
 * @typedef {{phase: "connecting", attempt: number, cause?: Cause} | {phase: "open"} | {phase: "waiting", attempt: number, cause: Cause, retryAt: number} | {phase: "signed_out"} | {phase: "stopped"}} Status
 *   retryAt: on the clock that `now` gives, in milliseconds
 */

/**
 * @typedef {object} Timers
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 */

const BASE_MS = 400;
const CAP_MS = 15_000; // a phone that comes back waits at most this long, and `check` cuts it short
const STABLE_MS = 10_000; // open for this long: the next failure starts from BASE_MS again
const OPEN_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_S = 20;
const CHECK_TIMEOUT_MS = 4_000; // a frozen phone's socket looks open for minutes; an answer proves it

/**
 * How long to wait before the attempt after `attempt` failures: half fixed, half jitter, so that viewers
 * that lost one hypivisor together do not come back together.
 * @param {number} attempt 0 for the first
 * @param {() => number} random in [0, 1)
 */
export function backoffMs(attempt, random) {
  const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 20));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

export class Socket {
  /**
   * @param {object} options
   * @param {() => any} options.open                     makes a WebSocket
   * @param {() => Promise<"ok" | "signed_out" | "offline" | "gone">} options.diagnose why a handshake failed
   * @param {(status: Status) => void} options.onStatus
   * @param {(method: string, params: any) => void} options.onNotification
   * @param {Timers} [options.timers]
   * @param {() => number} [options.now]                 milliseconds, never going back
   * @param {() => number} [options.random]
   */
  constructor({ open, diagnose, onStatus, onNotification, timers, now, random }) {
    this._open = open;
    this._diagnose = diagnose;
    this._onStatus = onStatus;
    this._onNotification = onNotification;
    /** @type {Timers} */
    this._timers = timers ?? {
      setTimeout: (run, ms) => setTimeout(run, ms),
      clearTimeout: (timer) => clearTimeout(timer),
    };
    this._now = now ?? (() => performance.now());
    this._random = random ?? Math.random;
    /** @type {Status} */
    this.status = { phase: "stopped" };
    /** @type {any} */
    this._ws = null;
    /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void, timer: any}>} */
    this._pending = new Map();
    this._lastId = 0;
    this._attempt = 0;
    this._heartbeatMs = 15_000;
    this._heardAt = 0;
    /** @type {any} */
    this._retryTimer = null;
    /** @type {any} */
    this._idleTimer = null;
    this._openedAt = 0;
    this._checking = false;
  }

  start() {
    if (this.status.phase === "stopped" || this.status.phase === "signed_out") this._connect();
  }

  stop() {
    this._timers.clearTimeout(this._retryTimer);
    this._drop();
    this._become({ phase: "stopped" });
  }

  /**
   * Silence for this long is answered by a question of ours.
   * @param {number} seconds
   */
  setHeartbeat(seconds) {
    this._heartbeatMs = Math.max(5, seconds) * 1_000;
    if (this.status.phase === "open") this._watchIdle();
  }

  /** Try now instead of waiting: the person asked, or the network came back. */
  retryNow() {
    if (this.status.phase !== "waiting") return;
    this._timers.clearTimeout(this._retryTimer);
    this._connect();
  }

  /** The page is in front again: prove that the link lives, or replace it. */
  check() {
    if (this.status.phase === "waiting") this.retryNow();
    if (this.status.phase !== "open" || this._checking) return;
    this._checking = true;
    const ws = this._ws;
    // Any answer will do, "method not found" as well: it has been there and back.
    this.request("ping", {}, CHECK_TIMEOUT_MS / 1_000)
      .catch((error) => {
        if (error instanceof NoAnswer && this._ws === ws) this._lost("gone", true);
      })
      .finally(() => {
        this._checking = false;
      });
  }

  /**
   * Call a method. Rejects with RpcError (the server said no) or NoAnswer (nobody knows).
   * @param {string} method
   * @param {object} [params]
   * @param {number} [timeout_s]
   * @returns {Promise<any>}
   */
  request(method, params = {}, timeout_s = REQUEST_TIMEOUT_S) {
    if (this.status.phase !== "open") return Promise.reject(new NoAnswer("not connected"));
    const id = ++this._lastId;
    return new Promise((resolve, reject) => {
      const timer = this._timers.setTimeout(() => {
        this._pending.delete(id);
        reject(new NoAnswer(`no answer to ${method} within ${timeout_s} s`));
      }, timeout_s * 1_000);
      this._pending.set(id, { resolve, reject, timer });
      this._ws.send(requestFrame(id, method, params));
    });
  }

  /** @param {Status} status */
  _become(status) {
    this.status = status;
    this._onStatus(status);
  }

  /** @param {Cause} [cause] */
  _connect(cause) {
    this._become({ phase: "connecting", attempt: this._attempt, cause });
    const ws = this._open();
    this._ws = ws;
    const tooLong = this._timers.setTimeout(() => {
      if (this._ws === ws) this._failed();
    }, OPEN_TIMEOUT_MS);
    ws.onopen = () => {
      if (this._ws !== ws) return;
      this._timers.clearTimeout(tooLong);
      this._openedAt = this._now();
      this._heard();
      this._become({ phase: "open" });
      this._watchIdle();
    };
    ws.onmessage = (/** @type {{data: unknown}} */ message) => {
      if (this._ws === ws && typeof message.data === "string") this._receive(message.data);
    };
    ws.onclose = (/** @type {{code: number}} */ closed) => {
      this._timers.clearTimeout(tooLong);
      if (this._ws !== ws) return;
      if (this.status.phase === "open") this._closed(closed.code);
      else this._failed();
    };
  }

  /** @param {string} text */
  _receive(text) {
    this._heard();
    const frame = readFrame(text);
    if (frame.kind === "notification") this._onNotification(frame.method, frame.params);
    if (frame.kind !== "answer") return;
    const call = this._pending.get(frame.id);
    if (!call) return; // it came after its timeout
    this._pending.delete(frame.id);
    this._timers.clearTimeout(call.timer);
    if (frame.error) call.reject(frame.error);
    else call.resolve(frame.result);
  }

  _heard() {
    this._heardAt = this._now();
  }

  _watchIdle() {
    this._timers.clearTimeout(this._idleTimer);
    const quiet_ms = this._now() - this._heardAt;
    this._idleTimer = this._timers.setTimeout(
      () => {
        if (this.status.phase !== "open") return;
        if (this._now() - this._heardAt >= this._heartbeatMs) this.check();
        this._watchIdle();
      },
      Math.max(1_000, this._heartbeatMs - quiet_ms),
    );
  }

  /** @param {number} code */
  _closed(code) {
    if (code === CLOSE.revoked) {
      this._drop();
      this._become({ phase: "signed_out" });
      return;
    }
    this._lost(code === CLOSE.slow ? "slow" : code === CLOSE.restarting ? "restarting" : "gone", code === CLOSE.slow);
  }

  /**
   * An open link is over.
   * @param {Cause} cause
   * @param {boolean} atOnce
   */
  _lost(cause, atOnce) {
    const wasStable = this._now() - this._openedAt >= STABLE_MS;
    if (wasStable) this._attempt = 0;
    this._drop();
    // "At once" only for a link that has worked: one that is closed again and again must back off.
    if (atOnce && wasStable) this._connect(cause);
    else this._wait(cause);
  }

  /** A handshake did not succeed; a browser does not say why, so ask. */
  _failed() {
    this._drop();
    const attempt = this._attempt;
    this._diagnose().then((why) => {
      if (this.status.phase !== "connecting" || this._attempt !== attempt) return;
      if (why === "signed_out") this._become({ phase: "signed_out" });
      else this._wait(why === "offline" ? "offline" : "gone");
    });
  }

  /** @param {Cause} cause */
  _wait(cause) {
    const delay = backoffMs(this._attempt, this._random);
    this._attempt += 1;
    this._become({ phase: "waiting", attempt: this._attempt, cause, retryAt: this._now() + delay });
    this._retryTimer = this._timers.setTimeout(() => this._connect(cause), delay);
  }

  /** Let go of the WebSocket; every open call ends without an answer. */
  _drop() {
    const ws = this._ws;
    this._ws = null;
    this._timers.clearTimeout(this._idleTimer);
    for (const { reject, timer } of this._pending.values()) {
      this._timers.clearTimeout(timer);
      reject(new NoAnswer("the link was lost"));
    }
    this._pending.clear();
    if (ws) ws.close();
  }
}
