/**
 * Tool calls that wait for a person: asked at the node, so at every device, and at pi's own terminal at once.
 *
 * The first answer wins. While the node is there it says which one that was; while it is away the terminal alone
 * decides, and the node is told later. Nobody in time means no. An approval is bound to the exact action by its
 * hash; what was approved is frozen, so that no other extension changes it afterwards.
 */
import { createHash, randomBytes } from "node:crypto";
import { boundedArgs, cutText } from "./bounds.ts";
import type { Guard } from "./guard.ts";
import type { Memory } from "./memory.ts";
import { provisional, readPolicy, reasonsToAsk, type AskPolicy } from "./policy.ts";
import type { Answer } from "./rpc.ts";
import type { Json, PiContext, PiEvent } from "./shapes.ts";

/** The node keeps the time while it is there; this is for a node that hangs. */
const NODE_GRACE_MS = 3_000;
/** For the node to say whose answer was the first. */
const NODE_ANSWER_MS = 5_000;
const MAX_UNSAID = 100;
const SUMMARY_CHARS = 500;
// C0, DEL, C1, and the marks that turn the direction of text.
const STEERING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789";

/** Deny first: whoever was typing when it came up may be about to press Enter. */
const DENY = "Deny";
const DENY_WITH = "Deny, and say why";
const APPROVE = "Approve";
const NOT_NOW = "Not now (answer elsewhere)";

/** What stops a tool call; the model reads the reason. */
export interface Blocked {
  block: true;
  reason: string;
}

type Settled = Blocked | undefined;
type Call = (method: string, params: object, answered?: (answer: Answer) => void) => boolean;

interface Held {
  id: string;
  tool: string;
  input: unknown;
  cwd: string;
  hash: string;
  ask: object;
  timeoutS: number;
  /** Held by what may hold of us, as long as no node has told what does. */
  provisional: boolean;
  /** Dismisses what the terminal shows of it. */
  dismissed: AbortController;
  /** Lets the terminal's answer count that is on its way to the node. */
  unanswered: (() => void) | undefined;
  settle: (settled: Settled) => void;
}

export class Approvals {
  private readonly memory: Memory;
  private readonly guard: Guard;
  private readonly strictest: () => Parameters<typeof provisional>[0];
  private readonly call: Call;
  private readonly held = new Map<string, Held>();
  /** The terminal shows one at a time. */
  private dialogs: Promise<unknown> = Promise.resolve();
  private connected = false;
  /** No node has told yet what holds for us. */
  private isProvisional = false;

  constructor(memory: Memory, guard: Guard, strictest: () => Parameters<typeof provisional>[0], call: Call) {
    this.memory = memory;
    this.guard = guard;
    this.strictest = strictest;
    this.call = call;
  }

  /** A tool is about to run. What has not to be asked is told at once; else a promise that never rejects. */
  hold(found: PiEvent, ctx: PiContext, terminal: boolean): Promise<Settled> | undefined {
    const policy = (this.memory.policy ??= this.beforeAnyNode());
    if (policy.mode === "auto" && policy.ask.length === 0) return undefined;
    const tool = String(found.toolName);
    const reasons = reasonsToAsk(policy, tool, found.input, ctx.cwd);
    if (reasons === undefined) return undefined;
    if (ctx.signal?.aborted === true) return Promise.resolve(blocked("The turn was aborted."));
    return new Promise((settle) => this.begin(found, ctx, tool, reasons, policy, terminal, settle));
  }

  private beforeAnyNode(): AskPolicy {
    this.isProvisional = true;
    return provisional(this.strictest());
  }

  private begin(
    found: PiEvent,
    ctx: PiContext,
    tool: string,
    reasons: string[],
    policy: AskPolicy,
    terminal: boolean,
    done: (settled: Settled) => void,
  ): void {
    const { input } = found;
    const hash = fingerprint(tool, input, ctx.cwd);
    const id = newId();
    const timers: NodeJS.Timeout[] = [];
    const dismissed = new AbortController();
    const { signal } = ctx;
    const aborted = this.guard.wrap("aborted", () => {
      this.tell("approval.withdraw", { id, reason: "the turn was aborted" });
      held.settle(blocked("The turn was aborted."));
    });
    const held: Held = {
      id,
      tool,
      input,
      cwd: ctx.cwd,
      hash,
      ask: {
        id,
        timeout_s: policy.timeout_s,
        action: {
          kind: "tool",
          summary: summaryOf(tool, input),
          hash,
          detail: { tool, args: boundedArgs(input), cwd: ctx.cwd, call_id: String(found.toolCallId), reasons },
        },
      },
      timeoutS: policy.timeout_s,
      provisional: this.isProvisional,
      dismissed,
      unanswered: undefined,
      settle: (settled) => {
        if (!this.held.delete(id)) return;
        for (const timer of timers) clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
        done(settled);
        dismissed.abort();
      },
    };
    this.held.set(id, held);
    signal?.addEventListener("abort", aborted, { once: true });
    const expired = this.guard.wrap("expired", () => this.expired(held));
    timers.push(
      setTimeout(() => (this.connected ? timers.push(setTimeout(expired, NODE_GRACE_MS)) : expired()), policy.timeout_s * 1_000),
    );
    if (this.connected) this.ask(held);
    if (terminal) this.dialogs = this.dialogs.then(this.guard.wrap("dialog", () => this.show(held, ctx)));
  }

  // The node

  /** The node has welcomed us, and said what holds for us. */
  welcomed(policy: unknown): void {
    this.connected = true;
    this.policyTold(policy);
    for (const { method, params } of this.memory.unsaid?.splice(0) ?? []) this.call(method, params);
    for (const held of this.held.values()) this.ask(held);
  }

  disconnected(): void {
    this.connected = false;
    // What the terminal has answered on a connection that is no more takes effect now, and is told later.
    for (const held of [...this.held.values()]) held.unanswered?.();
  }

  /** A node that says nothing of it knows no approvals: then nobody has asked for any. */
  policyTold(policy: unknown): void {
    this.memory.policy = policy === undefined ? provisional({}) : readPolicy(policy);
    this.isProvisional = false;
    for (const held of [...this.held.values()]) {
      if (!held.provisional) continue;
      held.provisional = false;
      if (reasonsToAsk(this.memory.policy, held.tool, held.input, held.cwd) === undefined) held.settle(undefined);
    }
  }

  private ask(held: Held): void {
    this.call("approval.ask", held.ask, (answer) => {
      if (answer.error === undefined) this.decided(answer.result);
      else this.guard.note("approval.ask", answer.error.message); // the terminal, or nobody, answers
    });
  }

  /** The node says what became of one. */
  decided(approval: unknown): void {
    const { id, state, by, via, note } = (approval ?? {}) as Record<string, unknown>;
    const held = this.held.get(String(id));
    if (held === undefined || state === "pending") return;
    if (state === "approved") this.approved(held);
    else held.settle(blocked(why(held, state, via === "terminal" ? "the person at the terminal" : by, note)));
  }

  /** What is approved is what was asked, and stays it: a handler after ours may not change it any more. */
  private approved(held: Held): void {
    if (fingerprint(held.tool, held.input, held.cwd) === held.hash) {
      freeze(held.input);
      held.settle(undefined);
    } else {
      held.settle(blocked("It was approved, but its arguments have changed since it was asked."));
    }
  }

  private expired(held: Held): void {
    this.tell("approval.answer", { id: held.id });
    held.settle(blocked(why(held, "expired", undefined, undefined)));
  }

  /** Tell the node now or once it is back. */
  private tell(method: string, params: object): void {
    if (this.connected && this.call(method, params)) return;
    const unsaid = (this.memory.unsaid ??= []);
    unsaid.push({ method, params });
    if (unsaid.length > MAX_UNSAID) unsaid.shift();
  }

  // The terminal

  private async show(held: Held, ctx: PiContext): Promise<void> {
    const { signal } = held.dismissed;
    if (signal.aborted) return;
    const options = this.connected ? [DENY, APPROVE, DENY_WITH, NOT_NOW] : [DENY, APPROVE, DENY_WITH];
    const { summary, detail } = (held.ask as { action: { summary: string; detail: { reasons: string[] } } }).action;
    const since = detail.reasons.length === 0 ? "" : `\n(${detail.reasons.join(", ")})`;
    const answer = await ctx.ui.select(`Allow this? ${summary}${since}`, options, { signal });
    if (signal.aborted) return;
    if (answer === APPROVE) this.answer(held, "approve", undefined);
    else if (answer === DENY || (answer === undefined && !this.connected)) this.answer(held, "deny", undefined);
    else if (answer === DENY_WITH) {
      const words = await ctx.ui.input("Why not, or what instead?", undefined, { signal });
      if (!signal.aborted) this.answer(held, "deny", words === "" ? undefined : words);
    }
    // "Not now", or Escape: others may answer, and Escape once more ends the turn.
  }

  private answer(held: Held, choice: "approve" | "deny", note: string | undefined): void {
    const params = { id: held.id, choice, ...(note === undefined ? {} : { note }) };
    const alone = this.guard.wrap("answer", () => {
      if (!this.held.has(held.id)) return;
      // It has happened by the time the node hears of it, which may not even know that it was asked.
      const unsaid = (this.memory.unsaid ??= []);
      unsaid.push({ method: "approval.ask", params: held.ask });
      unsaid.push({ method: "approval.answer", params: { ...params, effective: true } });
      if (unsaid.length > MAX_UNSAID) unsaid.splice(0, 2);
      if (choice === "approve") this.approved(held);
      else held.settle(blocked(why(held, "denied", "the person at the terminal", note)));
    });
    if (!this.connected) {
      alone();
      return;
    }
    held.unanswered = alone;
    const late = setTimeout(alone, NODE_ANSWER_MS);
    held.dismissed.signal.addEventListener("abort", () => clearTimeout(late), { once: true });
    this.call("approval.answer", params, (answer) => {
      if (answer.error === undefined) this.decided(answer.result);
      else alone();
    });
  }

  /** The session ends or is replaced: nothing of it runs any more. */
  end(): void {
    for (const held of [...this.held.values()]) {
      this.tell("approval.withdraw", { id: held.id, reason: "the session was closed" });
      held.settle(blocked("The session was closed."));
    }
  }
}

/** One hash for one action: the tool, its arguments whatever the order of their keys, and where it runs. */
export function fingerprint(tool: string, input: unknown, cwd: string): string {
  return createHash("sha256").update(canonical({ tool, input, cwd })).digest("hex");
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(",")}}`;
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const item of Object.values(value)) freeze(item);
}

/** One line for a person; what would steer a terminal, or turn the direction of the text, is told by its number. */
export function summaryOf(tool: string, input: unknown): string {
  const members = (typeof input === "object" && input !== null ? input : {}) as Record<string, Json>;
  const found = members["command"] ?? members["path"] ?? JSON.stringify(input ?? {});
  const line = `${tool}: ${String(found).replace(/\s+/g, " ").trim()}`;
  const more = line.length - SUMMARY_CHARS;
  const shown = more > 0 ? `${line.slice(0, SUMMARY_CHARS)}… [${more} more characters]` : line;
  return shown.toWellFormed().replace(STEERING, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function blocked(reason: string): Blocked {
  return { block: true, reason };
}

/** What the model reads. */
function why(held: Held, state: unknown, by: unknown, note: unknown): string {
  if (state === "expired") return `Nobody approved this within ${Math.round(held.timeoutS)} s, so it was not done.`;
  if (state === "withdrawn") return `This was withdrawn: ${String(note)}`;
  const who = typeof by === "string" ? by : "a person";
  const words = typeof note === "string" && note !== "" ? ` They say: ${cutText(note, 4_000)}` : "";
  return `${who} did not approve this, so it was not done.${words}`;
}

function newId(): string {
  return `ap-${[...randomBytes(8)].map((byte) => ID_LETTERS[byte % ID_LETTERS.length]).join("")}`;
}
