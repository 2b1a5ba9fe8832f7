/**
 * Hands what is typed to the agent: in order, what comes within one frame together, a long paste piece by piece,
 * the next one when the former has been taken. What cannot be handed over is dropped and told, never kept for later:
 * keys that arrive minutes after they were pressed do harm.
 */

import { ERROR, RpcError } from "../protocol.js";
import { PIECE_BYTES, joined, toBase64 } from "./bytes.js";

const SMALL_BYTES = 1 << 10; // a person's keys: several calls may be under way, or typing would lag on a slow line
const UNDER_WAY = 4;
const AGAIN_MS = [100, 200, 400, 800, 1_500, 3_000]; // for a program that does not read what was typed before
const MAX_WAITING_BYTES = 4 << 20;

export class Typist {
  /**
   * @param {object} options
   * @param {(data: string) => Promise<unknown>} options.send   agent.input; rejects with RpcError or NoAnswer
   * @param {(error: Error) => void} options.onLost
   * @param {(run: () => void) => void} options.nextFrame
   * @param {(run: () => void, ms: number) => void} [options.later]
   */
  constructor({ send, onLost, nextFrame, later }) {
    this._send = send;
    this._onLost = onLost;
    this._nextFrame = nextFrame;
    this._later = later ?? ((run, ms) => setTimeout(run, ms));
    /** @type {Uint8Array[]} */
    this._waiting = [];
    this._waitingBytes = 0;
    this._underWay = 0;
    this._isBulk = false; // a large piece is under way: behind it nothing may be, for it may have to be sent again
    this._framed = false;
    /** @type {string | null} a piece that was refused for now; nothing overtakes it */
    this._again = null;
    this._tries = 0;
    this._ended = false;
  }

  /** @param {Uint8Array} bytes */
  type(bytes) {
    if (this._ended || !bytes.length) return;
    if (this._waitingBytes + bytes.length > MAX_WAITING_BYTES) return this._lose(new Error("more than 4 MB wait to be typed"));
    this._waiting.push(bytes);
    this._waitingBytes += bytes.length;
    if (!this._framed) this._goOn(); // a single key goes at once; what follows it in the same frame goes together
    return undefined;
  }

  /** Nothing is typed any more, and nobody is told. */
  end() {
    this._ended = true;
    this._waiting = [];
  }

  _goOn() {
    while (!this._ended && this._again === null && this._waiting.length && this._hasRoom()) {
      const all = joined(this._waiting);
      const piece = all.subarray(0, PIECE_BYTES);
      this._waiting = piece.length < all.length ? [all.subarray(PIECE_BYTES)] : [];
      this._waitingBytes = all.length - piece.length;
      this._isBulk = piece.length >= SMALL_BYTES;
      this._hand(toBase64(piece));
    }
    if (this._framed) return;
    this._framed = true;
    this._nextFrame(() => {
      this._framed = false;
      if (this._waiting.length) this._goOn();
    });
  }

  _hasRoom() {
    const isSmall = this._waitingBytes < SMALL_BYTES && !this._isBulk && this._tries === 0;
    return this._underWay === 0 || (isSmall && this._underWay < UNDER_WAY);
  }

  /** @param {string} data */
  async _hand(data) {
    this._underWay += 1;
    try {
      await this._send(data);
      this._tries = 0;
    } catch (error) {
      const isFull = error instanceof RpcError && error.code === ERROR.overloaded;
      if (isFull && this._underWay === 1 && this._again === null && this._tries < AGAIN_MS.length) {
        this._again = data;
        this._later(() => this._tryAgain(), AGAIN_MS[this._tries]);
        this._tries += 1;
      } else {
        this._lose(error instanceof Error ? error : new Error(String(error)));
      }
    } finally {
      this._underWay -= 1;
    }
    this._goOn();
  }

  _tryAgain() {
    const data = this._again;
    this._again = null;
    if (data !== null && !this._ended) this._hand(data);
  }

  /** @param {Error} error */
  _lose(error) {
    this._waiting = [];
    this._waitingBytes = 0;
    this._again = null;
    this._tries = 0;
    if (!this._ended) this._onLost(error);
  }
}
