/**
 * The Unix socket to the node: newline-delimited JSON-RPC 2.0 in both directions, redialled for ever.
 *
 * Knows lines, requests and answers; what they mean is the tether's. Timers and the socket never keep pi alive.
 */
import { createConnection, type Socket } from "node:net";
import type { Guard } from "./guard.ts";
import { nodeAddress, watchAddress } from "./home.ts";
import type { Answer } from "./rpc.ts";

const MAX_LINE_BYTES = 1_048_576;
/** Above this many bytes in the socket's own buffer nothing more is written until it has drained. */
const HIGH_WATER_BYTES = 1_048_576;
/** So many requests may wait for their answers; a node that reads and never answers must not fill memory. */
const MAX_WAITING = 500;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 15_000;
/** How a node ends or is missing; nothing to be noted. */
const ORDINARY_ERRORS = new Set(["ECONNREFUSED", "ENOENT", "EPIPE", "ECONNRESET"]);
/** A node that was just seen gets a moment to listen; several agents do not dial in the same instant. */
const SEEN_MS = 30;

export interface LinkUser {
  opened(): void;
  request(method: string, params: Record<string, unknown>, id: number | string | undefined): void;
  /** Room to write again. */
  drained(): void;
  /** Only for a connection that was open. */
  closed(): void;
  /** A try that found no node. */
  absent(): void;
}

export class Link {
  private readonly home: string;
  private readonly guard: Guard;
  private readonly user: LinkUser;
  private socket: Socket | undefined;
  private open = false;
  private chunks: Buffer[] = [];
  private buffered = 0;
  private nextId = 1;
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private retries = 0;
  private timer: NodeJS.Timeout | undefined;
  private unwatch: (() => void) | undefined;
  private ended = false;

  constructor(home: string, guard: Guard, user: LinkUser) {
    this.home = home;
    this.guard = guard;
    this.user = user;
  }

  get ready(): boolean {
    const written = this.socket?.writableLength ?? 0;
    return this.open && written < HIGH_WATER_BYTES && this.waiting.size < MAX_WAITING;
  }

  dial(): void {
    if (this.ended || this.socket !== undefined) return;
    this.cancelRetry();
    const path = nodeAddress(this.home);
    if (path === undefined) {
      this.retry();
      this.user.absent();
      return;
    }
    const socket = createConnection({ path });
    this.socket = socket;
    socket.unref();
    const { guard } = this;
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (!ORDINARY_ERRORS.has(error.code ?? "")) guard.note("socket", error);
    });
    socket.on("connect", guard.wrap("connect", () => {
      this.open = true;
      this.user.opened();
    }));
    socket.on("data", (chunk: Buffer) => {
      try {
        this.receive(socket, chunk);
      } catch (error) {
        guard.note("receive", error);
        socket.destroy();
      }
    });
    socket.on("drain", guard.wrap("drain", () => this.user.drained()));
    socket.on("close", guard.wrap("close", () => this.lost(socket)));
  }

  /** The other side is a node indeed: should it go, the first retry comes soon. */
  trust(): void {
    this.retries = 0;
  }

  /** Send a request; the answer never comes when the connection ends first. */
  call(method: string, params: object, answered?: (answer: Answer) => void): void {
    const id = this.nextId++;
    if (answered !== undefined) this.waiting.set(id, answered);
    this.write({ jsonrpc: "2.0", id, method, params });
  }

  answer(id: number | string | undefined, answer: Answer): void {
    if (id !== undefined) this.write({ jsonrpc: "2.0", id, ...answer });
  }

  /** Break the connection and dial again later. */
  drop(): void {
    this.socket?.destroy();
  }

  /** Write what is queued, then end for good; resolves when the bytes are with the system, or soon. */
  async end(waitMs: number): Promise<void> {
    this.ended = true;
    this.cancelRetry();
    const { socket } = this;
    if (socket === undefined) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(done, waitMs);
      socket.end(() => {
        clearTimeout(timer);
        done();
      });
    });
    socket.destroy();
  }

  private write(message: object): void {
    if (this.open) this.socket?.write(`${JSON.stringify(message)}\n`);
  }

  private receive(socket: Socket, chunk: Buffer): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      if (end === -1) break;
      this.chunks.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.chunks).toString("utf8");
      this.chunks = [];
      this.buffered = 0;
      start = end + 1;
      if (line.trim() !== "") this.dispatch(line);
      if (socket.destroyed) return;
    }
    this.chunks.push(chunk.subarray(start));
    this.buffered += chunk.length - start;
    if (this.buffered > MAX_LINE_BYTES) throw new Error(`a line of more than ${MAX_LINE_BYTES} bytes`);
  }

  private dispatch(line: string): void {
    const message = JSON.parse(line) as Record<string, unknown> | null;
    if (typeof message !== "object" || message === null) throw new Error("not a JSON-RPC message");
    const id = message["id"];
    if (typeof message["method"] === "string") {
      const params = message["params"];
      const named = typeof params === "object" && params !== null ? (params as Record<string, unknown>) : {};
      this.user.request(message["method"], named, typeof id === "number" || typeof id === "string" ? id : undefined);
    } else if (typeof id === "number") {
      const answered = this.waiting.get(id);
      const wasFull = this.waiting.size >= MAX_WAITING;
      this.waiting.delete(id);
      answered?.(message as Answer);
      if (wasFull) this.user.drained();
    }
  }

  private lost(socket: Socket): void {
    if (this.socket !== socket) return;
    const wasOpen = this.open;
    this.socket = undefined;
    this.open = false;
    this.chunks = [];
    this.buffered = 0;
    this.waiting.clear();
    if (this.ended) return;
    this.retry(); // first: what the user of the link does may fail
    if (wasOpen) this.user.closed();
    else this.user.absent();
  }

  private retry(): void {
    if (this.ended) return;
    const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.retries);
    this.retries += 1;
    this.schedule(longest * (0.5 + Math.random() / 2));
    this.unwatch ??= watchAddress(this.home, this.guard, () => {
      if (this.socket === undefined && !this.ended) this.schedule(SEEN_MS * (1 + Math.random()));
    });
  }

  private schedule(delayMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.guard.wrap("dial", () => this.dial()), delayMs);
    this.timer.unref();
  }

  private cancelRetry(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.unwatch?.();
    this.unwatch = undefined;
  }
}
