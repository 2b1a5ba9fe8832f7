/**
 * Events that the node has not acknowledged, numbered from 1 per instance.
 *
 * Bounded by count and size. Over a bound everything in it is dropped: the node sees the hole in the numbers,
 * starts a new ring and asks for a snapshot, which holds all of it anyway. Nothing here knows about sockets.
 */
import { jsonBytes } from "./bounds.ts";
import type { Event } from "./shapes.ts";

export const MAX_EVENTS = 5_000;
export const MAX_BYTES = 4 * 1024 * 1024;
/** One `agent.events` request; a line may have 1 MiB, and one event at most a quarter of that. */
const BATCH_EVENTS = 256;
const BATCH_BYTES = 600_000;
/** A delta grows by merging up to this many characters. */
const MERGED_CHARS = 16_384;

/** The part that survives a reload of the extension: plain values only. */
export interface OutboxRecord {
  /** The number that the next event gets. */
  next: number;
  /** Unacknowledged events; the last one has number next - 1, without holes. */
  events: { event: Event; bytes: number }[];
}

export interface Batch {
  from: number;
  events: Event[];
}

export class Outbox {
  private readonly record: OutboxRecord;
  private bytes: number;
  /** The number of the first event that was not handed out since the last rewind. */
  private unsent: number;

  constructor(record: OutboxRecord) {
    this.record = record;
    this.bytes = record.events.reduce((sum, item) => sum + item.bytes, 0);
    this.unsent = this.first;
  }

  private get first(): number {
    return this.record.next - this.record.events.length;
  }

  /** Number and keep an event. A delta that continues the newest, still unsent one is merged into it. */
  offer(event: Event): void {
    const { record } = this;
    const last = record.events.at(-1);
    if (last !== undefined && this.unsent < record.next && continues(last.event, event)) {
      const added = String(event["delta"]);
      last.event["delta"] = String(last.event["delta"]) + added;
      const bytes = Buffer.byteLength(JSON.stringify(added)) - 2;
      last.bytes += bytes;
      this.bytes += bytes;
    } else {
      const bytes = jsonBytes(event);
      record.events.push({ event, bytes });
      record.next += 1;
      this.bytes += bytes;
    }
    if (record.events.length > MAX_EVENTS || this.bytes > MAX_BYTES) this.clear();
  }

  /** The next events that were not handed out yet, or undefined. */
  take(): Batch | undefined {
    const start = this.unsent - this.first;
    const events: Event[] = [];
    let bytes = 0;
    for (const item of this.record.events.slice(start, start + BATCH_EVENTS)) {
      if (events.length > 0 && bytes + item.bytes > BATCH_BYTES) break;
      bytes += item.bytes;
      events.push(item.event);
    }
    if (events.length === 0) return undefined;
    const from = this.unsent;
    this.unsent += events.length;
    return { from, events };
  }

  /** Everything up to this number is safe with the node. */
  acknowledge(number: number): void {
    const count = Math.min(Math.max(0, number - this.first + 1), this.record.events.length);
    for (const item of this.record.events.splice(0, count)) this.bytes -= item.bytes;
    this.unsent = Math.max(this.unsent, this.first);
  }

  /**
   * A new connection: hand out again what the node does not have.
   *
   * `acked` beyond our last number means that the node knows this instance from before our process began;
   * numbering goes on behind it, so that nothing new is taken for a repetition.
   */
  resume(acked: number): void {
    if (acked >= this.record.next) this.record.next = acked + 1 + this.record.events.length;
    else this.acknowledge(acked);
    this.unsent = this.first;
  }

  /** Drop everything; numbers are not used again. */
  clear(): void {
    this.record.events.length = 0;
    this.bytes = 0;
    this.unsent = this.record.next;
  }
}

function continues(last: Event, event: Event): boolean {
  return (
    (event.type === "text_delta" || event.type === "thinking_delta") &&
    last.type === event.type &&
    last["message_id"] === event["message_id"] &&
    last["block"] === event["block"] &&
    String(last["delta"]).length < MERGED_CHARS
  );
}
