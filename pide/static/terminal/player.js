/** Plays the recording of a terminal on a screen: the same emulator that shows it live. */

import { messageOf } from "../client.js";
import { emptyCast, stepsUntil, timesOf, withLines } from "./cast.js";

/** @typedef {import("./screen.js").Screen} Screen */

/**
 * @typedef {object} Playing
 * @property {string} agent
 * @property {"loading" | "ready" | "failed"} phase
 * @property {string} error
 * @property {number} time      seconds, of `length`
 * @property {number} length
 * @property {boolean} running
 * @property {number} speed
 * @property {boolean} skips    long pauses are cut short
 * @property {number | null} wasAt  when it was like this, Unix ms
 */

export const SPEEDS = [0.5, 1, 2, 4, 8, 16];
const LOOK_EVERY_MS = 100;
const LOAD_TIMEOUT_S = 30;

/**
 * All lines of a recording, piece by piece.
 * @param {(method: string, params: object, timeout_s?: number) => Promise<any>} request
 * @param {string} agent
 * @param {(lines: string[]) => boolean} each  whether to go on
 */
export async function readRecording(request, agent, each) {
  let offset = 0;
  for (;;) {
    const piece = await request("agent.recording", { agent, offset }, LOAD_TIMEOUT_S);
    if (!each(piece.lines) || piece.next === null) return;
    if (piece.next <= offset) throw new Error("the recording does not go on where it says");
    offset = piece.next;
  }
}

export class Player {
  /**
   * @param {object} options
   * @param {string} options.agent
   * @param {(method: string, params: object, timeout_s?: number) => Promise<any>} options.request
   * @param {(playing: Playing) => void} options.onLook
   * @param {(run: (now: number) => void) => void} options.nextFrame  now: milliseconds
   */
  constructor({ agent, request, onLook, nextFrame }) {
    this._request = request;
    this._onLook = onLook;
    this._nextFrame = nextFrame;
    this._cast = emptyCast();
    this._times = timesOf([], true);
    this._shown = 0; // steps on the screen
    /** @type {Screen | null} */
    this._screen = null;
    this._tickedAt = 0;
    this._lookedAt = 0;
    this._ended = false;
    /** @type {Playing} */
    this.playing = { agent, phase: "loading", error: "", time: 0, length: 0, running: false, speed: 1, skips: true, wasAt: null };
  }

  async load() {
    try {
      await readRecording(this._request, this.playing.agent, (lines) => {
        this._cast = withLines(this._cast, lines);
        this._measure();
        this._look({});
        return !this._ended;
      });
    } catch (error) {
      this._look({ phase: "failed", error: messageOf(error) });
      return;
    }
    this._look({ phase: "ready" });
    this._anew();
    if (this._cast.steps.length) this.toggle();
  }

  /** @param {Screen | null} screen */
  show(screen) {
    this._screen = screen;
    this._anew();
  }

  end() {
    this._ended = true;
    this._screen?.close();
    this._screen = null;
  }

  toggle() {
    const { running, time, length } = this.playing;
    if (running) return this._look({ running: false });
    if (time >= length) this.seek(0);
    this._look({ running: true });
    this._tickedAt = 0;
    this._tick();
    return undefined;
  }

  /** @param {number} time */
  seek(time) {
    this._look({ time: Math.max(0, Math.min(time, this.playing.length)) });
    this._draw();
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this._look({ speed });
  }

  /** @param {boolean} skips */
  setSkips(skips) {
    const shown = this._shown;
    this._look({ skips });
    this._measure();
    this._look({ time: shown ? this._times[shown - 1] : 0 }); // the same picture, at its new time
  }

  _measure() {
    this._times = timesOf(this._cast.steps, this.playing.skips);
    this.playing = { ...this.playing, length: this._times.at(-1) ?? 0 };
  }

  _tick() {
    this._nextFrame((now) => {
      const { running, speed, time, length } = this.playing;
      if (this._ended || !running) return;
      const passed_s = this._tickedAt ? ((now - this._tickedAt) / 1_000) * speed : 0;
      this._tickedAt = now;
      const next = Math.min(length, time + passed_s);
      this.playing = { ...this.playing, time: next, running: next < length };
      this._draw();
      if (now - this._lookedAt >= LOOK_EVERY_MS || next >= length) {
        this._lookedAt = now;
        this._look({});
      }
      if (next < length) this._tick();
    });
  }

  _anew() {
    this._shown = 0;
    this._screen?.reset();
    this._screen?.resize(this._cast.size);
    this._draw();
  }

  /** Bring the screen to the time that it is. */
  _draw() {
    const { steps } = this._cast;
    const until = stepsUntil(this._times, this.playing.time);
    const step = steps[until - 1];
    this.playing = { ...this.playing, wasAt: this._cast.begunAt && step ? (this._cast.begunAt + step.at) * 1_000 : null };
    const screen = this._screen;
    if (!screen) return;
    if (until < this._shown) {
      screen.reset();
      screen.resize(this._cast.size);
      this._shown = 0;
    }
    let text = "";
    for (const next of steps.slice(this._shown, until)) {
      if ("text" in next) {
        text += next.text;
      } else {
        screen.write(text, false);
        screen.resize(next.size);
        text = "";
      }
    }
    if (text) screen.write(text, false);
    this._shown = until;
  }

  /** @param {Partial<Playing>} change */
  _look(change) {
    this.playing = { ...this.playing, ...change };
    if (!this._ended) this._onLook(this.playing);
  }
}
