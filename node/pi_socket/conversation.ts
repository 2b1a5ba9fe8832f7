/**
 * From pi's events to the events of the stream, and what is running at this moment. No timers, no I/O.
 *
 * pi's session tree is the truth: an entry is announced (`message_end`) when the session has it, whether or not
 * events led to it (a `!command` or a compaction has none). Deltas only show it earlier.
 */
import { BLOCK_CHARS, boundedArgs, cutText, TOOL_END_CHARS, TOOL_UPDATE_CHARS } from "./bounds.ts";
import { trim, type Memory } from "./memory.ts";
import type { Block, Event, Json, PiEvent, PiMessage, PiSession, Role, Running } from "./shapes.ts";
import { entriesSince } from "./session.ts";
import { entryOf, messageBlocks, messageEntry, plainText, resultText, roleOf, toolCallBlock } from "./translate.ts";

/** A running tool's output is sent at most this often. */
export const TOOL_UPDATE_EVERY_MS = 100;
/** A delta above this is split: some providers stream a whole answer as one. */
const DELTA_CHARS = 16_384;
/** Entries whose message ids are remembered for snapshots. */
const JOINED_ENTRIES = 1_000;

/** Where a user message came from. */
export interface Origin {
  source: string;
  prompt_id?: string;
}

/** A message between its start and the moment the session has its entry. */
interface OpenMessage {
  message_id: string;
  role: Role;
  blocks: Block[];
  /** The message as it ended; undefined while it streams. */
  ended: PiMessage | undefined;
  /** First half of a surrogate pair that two deltas split, by block. */
  halves: Map<number, string>;
}

interface Tool {
  call_id: string;
  name: string;
  args: Json;
  result: string;
  startedAt: number;
  sentAt: number;
  unsent: boolean;
}

export class Conversation {
  /** Session entry id -> message id, for the entries that this process announced. */
  readonly messageIds: Map<string, string>;
  private readonly memory: Memory;
  private open: OpenMessage[] = [];
  private readonly tools = new Map<string, Tool>();
  private caller = "";

  constructor(memory: Memory) {
    this.memory = memory;
    this.messageIds = memory.messageIds ??= new Map();
  }

  /** Another session, or another branch of it: what ran before is no part of it. */
  restart(session: PiSession): void {
    this.open = [];
    this.tools.clear();
    this.messageIds.clear();
    this.memory.announced = session.getLeafId();
  }

  messageStarted(message: PiMessage, origin: Origin): Event[] {
    const role = roleOf(message);
    if (role === undefined) return [];
    const opened: OpenMessage = {
      message_id: this.nextId(),
      role,
      blocks: role === "assistant" ? [] : messageBlocks(message),
      ended: undefined,
      halves: new Map(),
    };
    this.open.push(opened);
    const { message_id } = opened;
    if (role === "assistant") {
      this.caller = message_id;
      return [event("message_start", { message_id, role })];
    }
    if (role !== "user") return [];
    const text = cutText(plainText(message.content), BLOCK_CHARS);
    return [event("user_message", { message_id, text, ...origin })];
  }

  messageUpdated(update: NonNullable<PiEvent["assistantMessageEvent"]>): Event[] {
    const message = this.open.findLast((found) => found.role === "assistant" && found.ended === undefined);
    const index = update.contentIndex;
    if (message === undefined || typeof index !== "number" || index < 0 || index > 10_000) return [];
    switch (update.type) {
      case "text_start":
      case "text_delta":
        return this.grown(message, index, "text", update.delta ?? "");
      case "thinking_start":
      case "thinking_delta":
        return this.grown(message, index, "thinking", update.delta ?? "");
      case "toolcall_end":
        blockAt(message, index, "text");
        message.blocks[index] = toolCallBlock(update.toolCall ?? {});
        return [];
      default:
        return [];
    }
  }

  private grown(message: OpenMessage, index: number, type: "text" | "thinking", delta: string): Event[] {
    const block = blockAt(message, index, type);
    let whole = (message.halves.get(index) ?? "") + delta;
    message.halves.delete(index);
    if (/[\uD800-\uDBFF]$/.test(whole)) {
      message.halves.set(index, whole.slice(-1));
      whole = whole.slice(0, -1);
    }
    block.text += whole.toWellFormed();
    const { message_id } = message;
    return pieces(whole).map((piece) => event(`${type}_delta`, { message_id, block: index, delta: piece }));
  }

  messageEnded(message: PiMessage): Event[] {
    const role = roleOf(message);
    const opened = this.open.findLast((found) => found.role === role && found.ended === undefined);
    if (opened === undefined) return [];
    opened.ended = message;
    opened.blocks = messageBlocks(message);
    if (message.stopReason !== "error") return [];
    return [event("notice", { level: "error", text: cutText(message.errorMessage ?? "the model failed", 2_000) })];
  }

  toolStarted(found: PiEvent, nowMs: number): Event[] {
    const call_id = String(found.toolCallId);
    const tool: Tool = {
      call_id,
      name: String(found.toolName),
      args: boundedArgs(found.args),
      result: "",
      startedAt: nowMs,
      sentAt: -Infinity,
      unsent: false,
    };
    this.tools.set(call_id, tool);
    return [event("tool_start", { call_id, message_id: this.caller, name: tool.name, args: tool.args })];
  }

  /** Keeps the newest output; `dueUpdates` sends it at a bounded rate. */
  toolUpdated(found: PiEvent): void {
    const tool = this.tools.get(String(found.toolCallId));
    if (tool === undefined) return;
    tool.result = cutText(resultText(found.partialResult), TOOL_UPDATE_CHARS, "tail");
    tool.unsent = true;
  }

  /** Updates whose turn it is, and whether more wait for theirs. */
  dueUpdates(nowMs: number): { events: Event[]; later: boolean } {
    const events: Event[] = [];
    let later = false;
    for (const tool of this.tools.values()) {
      if (!tool.unsent) continue;
      if (nowMs - tool.sentAt < TOOL_UPDATE_EVERY_MS) {
        later = true;
        continue;
      }
      tool.unsent = false;
      tool.sentAt = nowMs;
      events.push(event("tool_update", { call_id: tool.call_id, result: tool.result }));
    }
    return { events, later };
  }

  toolEnded(found: PiEvent, nowMs: number): Event[] {
    const call_id = String(found.toolCallId);
    const tool = this.tools.get(call_id);
    this.tools.delete(call_id);
    const measured = tool === undefined ? 0 : nowMs - tool.startedAt;
    return [
      event("tool_end", {
        call_id,
        result: cutText(resultText(found.result), TOOL_END_CHARS),
        is_error: found.isError === true,
        duration_ms: Math.round(found.durationMs ?? measured),
      }),
    ];
  }

  /** Announce the entries that the session got since the last call; "moved" when the leaf left its branch. */
  announce(session: PiSession): Event[] | "moved" {
    const leaf = session.getLeafId();
    if (leaf === this.memory.announced) return [];
    const fresh = entriesSince(session, this.memory.announced);
    if (fresh === undefined) return "moved";
    this.memory.announced = leaf;
    const events: Event[] = [];
    for (const found of fresh) {
      const entry = entryOf(found);
      const opened = found.message === undefined ? undefined : this.takeOpen(found.message);
      if (entry === undefined) continue;
      const message_id = opened?.message_id ?? this.nextId();
      this.messageIds.set(entry.id, message_id);
      events.push(event("message_end", { message_id, entry: { ...entry, message_id } }));
    }
    trim(this.messageIds, JOINED_ENTRIES);
    return events;
  }

  private takeOpen(message: PiMessage): OpenMessage | undefined {
    const index = this.open.findIndex(({ ended }) => ended !== undefined && sameMessage(ended, message));
    return index === -1 ? undefined : this.open.splice(index, 1)[0];
  }

  /** pi has come to rest: whatever is still open will not go on. */
  settle(nowMs: number): Event[] {
    const events: Event[] = [];
    for (const tool of this.tools.values()) {
      const result = tool.result || "[interrupted]";
      const duration_ms = Math.round(nowMs - tool.startedAt);
      events.push(event("tool_end", { call_id: tool.call_id, result, is_error: true, duration_ms }));
    }
    this.tools.clear();
    for (const { message_id, role, blocks, ended } of this.open) {
      const at = new Date().toISOString();
      const found = ended && messageEntry(message_id, at, ended);
      const entry = found ?? { id: message_id, role, at, blocks, interrupted: true as const };
      events.push(event("message_end", { message_id, entry: { ...entry, message_id } }));
    }
    this.open = [];
    return events;
  }

  running(): Running | null {
    const tools = [...this.tools.values()].map(({ call_id, name, args, result }) => ({ call_id, name, args, result }));
    const opened = this.open.find(({ role }) => role === "assistant" || role === "user");
    if (opened === undefined) {
      return tools.length === 0 ? null : { message_id: this.caller, role: "assistant", blocks: [], tools };
    }
    const blocks = opened.blocks.map((block) =>
      block.type === "text" || block.type === "thinking"
        ? { ...block, text: cutText(block.text, BLOCK_CHARS / 4, "tail") }
        : block,
    );
    return { message_id: opened.message_id, role: opened.role, blocks, tools };
  }

  private nextId(): string {
    this.memory.messages += 1;
    return `m${this.memory.messages}`;
  }
}

/** An event as of now. */
export function event(type: string, members: Record<string, Json | Event[string]>): Event {
  return { type, at: new Date().toISOString(), ...members };
}

function blockAt(message: OpenMessage, index: number, type: "text" | "thinking"): { text: string } {
  const { blocks } = message;
  while (blocks.length <= index) blocks.push({ type: "text", text: "" });
  const block = blocks[index];
  if (block !== undefined && "text" in block && block.type === type) return block;
  const made = { type, text: "" };
  blocks[index] = made;
  return made;
}

/** A long text in parts that each fit an event; never splits a surrogate pair. */
function pieces(text: string): string[] {
  if (text === "") return [];
  if (text.length <= DELTA_CHARS) return [text.toWellFormed()];
  const split = /[\uD800-\uDBFF]/.test(text.charAt(DELTA_CHARS - 1)) ? DELTA_CHARS - 1 : DELTA_CHARS;
  return [text.slice(0, split).toWellFormed(), ...pieces(text.slice(split))];
}

function sameMessage(a: PiMessage, b: PiMessage): boolean {
  return a === b || (a.role === b.role && a.timestamp === b.timestamp && a.toolCallId === b.toolCallId);
}
