/**
 * What must outlive one load of the extension: pi runs the factory again in the same process on /new, /resume,
 * /fork and /reload, and some versions evaluate these modules anew each time. Only globalThis survives.
 *
 * Plain values only: after an upgrade and a /reload the next version of this code reads them.
 */
import { randomUUID } from "node:crypto";
import type { OutboxRecord } from "./outbox.ts";
import type { AskPolicy } from "./policy.ts";
import type { ExpectedPrompt, PromptState } from "./prompts.ts";
import type { ScrollRecord } from "./scrolls.ts";

export interface Memory {
  /** Who this agent is for its node: the same over reloads and redials. */
  instance: string;
  outbox: OutboxRecord;
  /** The node of this process answered at least once; before that no event is kept, a snapshot has them all. */
  registered: boolean;
  messages: number;
  /** Session id and leaf up to which the stream has announced entries. */
  sessionId: string | undefined;
  announced: string | null;
  /** Session entry id -> message id, of entries that were announced. */
  messageIds?: Map<string, string>;
  prompts: Map<string, PromptState>;
  expected: ExpectedPrompt[];
  scrolls: Map<string, ScrollRecord>;
  /** When to ask before a tool runs, as the node has told it last. */
  policy?: AskPolicy | undefined;
  /** What the node is still to be told of approvals that were settled without it. */
  unsaid?: { method: string; params: object }[];
  /** The address line that was printed last; it is not printed twice. */
  printed: string | undefined;
  /** When we last tried to start a node, as Date.now() tells it; 0 since one has welcomed us. */
  nodeStartedAt: number;
  /** Stops whatever load of the extension is attached now; the newest one wins. */
  detach: (() => unknown) | undefined;
}

const KEY = Symbol.for("hyperpi.pi-socket.1");

export function remember(): Memory {
  const store = globalThis as unknown as Record<symbol, Memory | undefined>;
  const known = store[KEY];
  if (known !== undefined) return known;
  const memory: Memory = {
    instance: givenInstance() ?? randomUUID(),
    outbox: { next: 1, events: [] },
    registered: false,
    messages: 0,
    sessionId: undefined,
    announced: null,
    prompts: new Map(),
    expected: [],
    scrolls: new Map(),
    printed: undefined,
    nodeStartedAt: 0,
    detach: undefined,
  };
  store[KEY] = memory;
  return memory;
}

/** The id that a node gave to the process that it spawned: taken once, so that no child of pi inherits it. */
function givenInstance(): string | undefined {
  const given = process.env["HYPERPI_INSTANCE"];
  delete process.env["HYPERPI_INSTANCE"];
  return given !== undefined && /^[0-9a-fA-F-]{36}$/.test(given) ? given : undefined;
}

/** Forget the oldest keys of a map above a bound. */
export function trim(map: Map<string, unknown>, bound: number): void {
  for (const key of map.keys()) {
    if (map.size <= bound) return;
    map.delete(key);
  }
}
