/**
 * Texts that the node asks pi to take, until they show up in the conversation.
 *
 * pi gives no answer to sendUserMessage; the user message that follows is the only confirmation. While pi is idle
 * one text at a time is handed over: of two in the same instant pi would lose one. While it works, what steers is
 * handed over at once, and the rest waits here until the turn is about to end: what pi has in its own queue only
 * the person at its terminal can take back.
 */
import { commandOf, expanded, piExpands } from "./commands.ts";
import type { Guard } from "./guard.ts";
import { trim, type Memory } from "./memory.ts";
import { BAD_PARAMS, CONFLICT, OVERLOADED, Refusal, UNKNOWN } from "./rpc.ts";
import type { PiApi, PiContext, PiImage } from "./shapes.ts";

/** What is known about a prompt id; "unknown": pi dropped it, or a person took it back in the terminal. */
export type PromptState = "queued" | "delivered" | "unknown" | "cancelled";

export type Mode = "prompt" | "steer" | "follow_up";

export interface ExpectedPrompt {
  id: string;
  text: string;
  mode: Mode;
  source: string;
  images: PiImage[];
  /** The scroll that this prompt shows, by sender and id. */
  scroll?: string;
  /** When it came, as the wire has it. */
  at?: string;
  /** When it was handed to pi (milliseconds of a monotonic clock), or undefined while it waits for its turn. */
  handedAt: number | undefined;
}

/** A prompt that waits, as viewers see it. */
export interface QueuedPrompt {
  id: string;
  text: string;
  /** Characters of the text that are not told. */
  cut: number;
  mode: Mode;
  source: string;
  images: number;
  at: string | null;
  /** "handed": pi itself has it, and it cannot be cancelled from here. */
  where: "agent" | "handed";
}

const KNOWN_IDS = 1_000;
/** Characters of a waiting prompt that are shown, and how many prompts are. */
const SHOWN_CHARS = 1_000;
const SHOWN_PROMPTS = 50;
const MAX_EXPECTED = 200;
/** pi may compact, which asks the model, before it starts with a text. */
const START_MS = 120_000;
/** Somebody pressed Enter: pi is about to start, unless an extension swallows the text. */
const FOREIGN_START_MS = 2_000;
/** A text that pi neither queued nor took after this long, with pi at rest, is gone. */
const GONE_MS = 1_000;
const REMEMBERED_INPUTS = 50;

export interface PromptWatcher {
  entered(prompt: ExpectedPrompt): void;
  lost(prompt: ExpectedPrompt, why: string): void;
  queueChanged(): void;
}

export class Prompts {
  private readonly pi: PiApi;
  private readonly memory: Memory;
  private readonly guard: Guard;
  private readonly context: () => PiContext;
  private readonly watcher: PromptWatcher;
  /** Until when pi counts as about to start although it says that it is idle. */
  private startingUntil = 0;
  private timer: NodeJS.Timeout | undefined;
  private inputs: { text: string; source: string }[] = [];

  constructor(pi: PiApi, memory: Memory, guard: Guard, context: () => PiContext, watcher: PromptWatcher) {
    this.pi = pi;
    this.memory = memory;
    this.guard = guard;
    this.context = context;
    this.watcher = watcher;
  }

  /** Take a prompt once per id; the same id again only tells its state. Throws Refusal. */
  take(prompt: Omit<ExpectedPrompt, "handedAt">): PromptState {
    const known = this.memory.prompts.get(prompt.id);
    if (known !== undefined) return known;
    if (prompt.text === "" && prompt.images.length === 0) throw new Refusal(BAD_PARAMS, "the prompt is empty");
    if (this.memory.expected.length >= MAX_EXPECTED) throw new Refusal(OVERLOADED, "too many prompts wait in this pi");
    const ctx = this.context();
    if (ctx.model === undefined || ctx.modelRegistry?.hasConfiguredAuth?.(ctx.model) === false) {
      throw new Refusal(CONFLICT, "this pi has no model that it may use", "choose one with /model or /login in pi");
    }
    if (prompt.images.length > 0 && ctx.model.input?.includes("image") === false) {
      // pi would leave them out without a word, and the model answer as if there were none.
      throw new Refusal(CONFLICT, `${ctx.model.provider}/${ctx.model.id} takes no pictures`, "choose a model that does: `hyperpi model`, or /model in pi");
    }
    const command = prompt.scroll === undefined ? commandOf(this.pi, prompt.text) : undefined;
    if (command?.source === "extension" && piExpands(ctx)) return this.run(prompt.id, prompt.text);
    const text = command === undefined || piExpands(ctx) ? prompt.text : expanded(command, prompt.text);
    this.memory.prompts.set(prompt.id, "queued");
    trim(this.memory.prompts, KNOWN_IDS);
    this.memory.expected.push({ ...prompt, text, at: new Date().toISOString(), handedAt: undefined });
    this.watcher.queueChanged();
    this.pump();
    return "queued";
  }

  /** A command of an extension: pi runs it at once, whatever it is doing, and it leaves no message. */
  private run(id: string, text: string): PromptState {
    this.memory.prompts.set(id, "delivered");
    trim(this.memory.prompts, KNOWN_IDS);
    this.pi.sendUserMessage(text, { expandPromptTemplates: true });
    return "delivered";
  }

  /** What waits, in the order in which it came; scrolls have receipts of their own. */
  queue(): QueuedPrompt[] {
    return this.memory.expected
      .filter(({ scroll }) => scroll === undefined)
      .slice(0, SHOWN_PROMPTS)
      .map(({ id, text, mode, source, images, at, handedAt }) => ({
        id,
        text: text.slice(0, SHOWN_CHARS).toWellFormed(),
        cut: Math.max(0, text.length - SHOWN_CHARS),
        mode,
        source,
        images: images.length,
        at: at ?? null,
        where: handedAt === undefined ? "agent" : "handed",
      }));
  }

  /** Take back what pi does not have yet; the whole text, to be edited. Throws Refusal. */
  cancel(id: string): { text: string; mode: Mode; images: number } {
    const prompt = this.memory.expected.find((found) => found.id === id && found.scroll === undefined);
    if (prompt === undefined) {
      throw this.memory.prompts.get(id) === "delivered"
        ? new Refusal(CONFLICT, "it is in the conversation already", "abort the turn, if it runs")
        : new Refusal(UNKNOWN, "no such prompt waits in this pi");
    }
    if (prompt.handedAt !== undefined) {
      throw new Refusal(CONFLICT, "pi has it in its own queue", "Esc in its terminal takes it back");
    }
    this.memory.expected.splice(this.memory.expected.indexOf(prompt), 1);
    this.memory.prompts.set(id, "cancelled");
    this.watcher.queueChanged();
    return { text: prompt.text, mode: prompt.mode, images: prompt.images.length };
  }

  /** Hand over what may be handed over now, and give up what is gone. */
  private pump(): void {
    this.dropGone();
    for (;;) {
      const idle = this.context().isIdle();
      const now = performance.now();
      const next = this.memory.expected.find(
        ({ handedAt, mode }) => handedAt === undefined && (idle || mode === "steer"),
      );
      if (next === undefined || (idle && now < this.startingUntil)) break;
      if (idle) this.startingUntil = now + START_MS;
      this.hand(next);
    }
    // While pi works, its events bring us back here.
    if (this.memory.expected.length > 0 && this.context().isIdle()) {
      this.pumpAt(Math.max(GONE_MS, this.startingUntil - performance.now()));
    }
  }

  private hand(next: ExpectedPrompt): void {
    next.handedAt = performance.now();
    const deliverAs = next.mode === "steer" ? "steer" : "followUp";
    // Always with deliverAs: without it pi drops a text that arrives while it works.
    this.pi.sendUserMessage(
      next.images.length === 0 ? next.text : [{ type: "text", text: next.text }, ...next.images],
      // A scroll's text begins otherwise; nobody's data is taken for a command.
      { deliverAs, ...(next.scroll === undefined && piExpands(this.context()) ? { expandPromptTemplates: true } : {}) },
    );
    this.watcher.queueChanged();
  }

  /** pi has said all of its answer, and looks next whether something follows: one that waited does. */
  answerEnded(): void {
    const { expected } = this.memory;
    if (this.context().isIdle() || expected.some(({ handedAt, mode }) => handedAt !== undefined && mode !== "steer")) return;
    const next = expected.find(({ handedAt }) => handedAt === undefined);
    if (next !== undefined) this.hand(next);
  }

  private pumpAt(delayMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.guard.wrap("prompt", () => this.pump()), delayMs);
    this.timer.unref();
  }

  /** pi got a text, from whomever. */
  input(text: string, source: string): void {
    if (source === "extension" && this.memory.expected.some((prompt) => prompt.text === text)) return;
    this.inputs.push({ text, source });
    if (this.inputs.length > REMEMBERED_INPUTS) this.inputs.shift();
    if (this.context().isIdle()) this.startingUntil = Math.max(this.startingUntil, performance.now() + FOREIGN_START_MS);
  }

  runStarted(): void {
    this.startingUntil = 0;
    this.pumpAt(0);
  }

  /** A user message entered the conversation: which of ours it is, or where else it came from. */
  echo(text: string, otherwise: string): { source: string; prompt_id?: string } {
    const { expected } = this.memory;
    const handed = expected.filter(({ handedAt }) => handedAt !== undefined);
    const input = this.inputs.findIndex((found) => found.text === text);
    // Another extension may have rewritten the text; with one candidate, no other origin and nothing left in pi's
    // queue, which may be ours, it must be that one.
    const alone = input === -1 && handed.length === 1 && this.inputs.length === 0;
    const lone = alone && !this.context().hasPendingMessages() ? handed[0] : undefined;
    const prompt = handed.find((found) => found.text === text) ?? lone;
    if (prompt === undefined) {
      const found = input === -1 ? this.inputs.shift() : this.inputs.splice(input, 1)[0];
      return { source: found === undefined || found.source === "interactive" ? otherwise : found.source };
    }
    expected.splice(expected.indexOf(prompt), 1);
    this.memory.prompts.set(prompt.id, "delivered");
    this.startingUntil = 0;
    this.watcher.entered(prompt);
    this.watcher.queueChanged();
    this.pumpAt(0);
    return { source: prompt.source, prompt_id: prompt.id };
  }

  /** pi is at rest: what it holds in no queue was taken back by a person, or refused. */
  settled(): void {
    this.pump();
  }

  private dropGone(): void {
    const ctx = this.context();
    if (!ctx.isIdle() || ctx.hasPendingMessages()) return;
    const now = performance.now();
    if (now < this.startingUntil) return;
    this.lose(({ handedAt }) => handedAt !== undefined && now - handedAt >= GONE_MS, "pi did not take it");
  }

  /** Another session: what waited for the old one will not enter this one. */
  sessionReplaced(): void {
    this.startingUntil = 0;
    this.inputs = [];
    this.lose(() => true, "the session was replaced");
  }

  private lose(gone: (prompt: ExpectedPrompt) => boolean, why: string): void {
    const lost = this.memory.expected.filter(gone);
    this.memory.expected = this.memory.expected.filter((prompt) => !gone(prompt));
    for (const prompt of lost) {
      this.memory.prompts.set(prompt.id, "unknown");
      this.watcher.lost(prompt, why);
    }
    if (lost.length > 0) this.watcher.queueChanged();
  }

  end(): void {
    clearTimeout(this.timer);
  }
}
