/**
 * One load of the extension, attached to one session of pi: pi's events go in, the node's requests come back.
 *
 * Handlers only push to queues; everything is written on the next tick, several events in one request.
 */
import { Approvals, type Blocked } from "./approvals.ts";
import { cutText } from "./bounds.ts";
import { readCard } from "./card.ts";
import { Conversation, event, TOOL_UPDATE_EVERY_MS } from "./conversation.ts";
import type { Guard } from "./guard.ts";
import { startNode, strictestPolicy, type Home } from "./home.ts";
import { Link, type LinkUser } from "./link.ts";
import type { Memory } from "./memory.ts";
import { Outbox } from "./outbox.ts";
import { Prompts, type ExpectedPrompt, type PromptWatcher, type QueuedPrompt } from "./prompts.ts";
import { serve, type Subject } from "./requests.ts";
import { INTERNAL, OVERLOADED, Refusal, type Answer } from "./rpc.ts";
import { Scrolls } from "./scrolls.ts";
import { sessionCard, sessionUsage } from "./session.ts";
import type { Card, Event, PiApi, PiContext, PiEvent, PiMessage, SessionCard, State, Usage } from "./shapes.ts";
import { Timers } from "./timers.ts";
import { addUsage, plainText, usageOf } from "./translate.ts";

const START_AGAIN_MS = 60_000; // a node that does not come up is not started more often than that
const REGISTER_MS = 10_000;
/** Requests that wait for the socket to drain. */
const MAX_ASKS = 64;
/** After so many refusals in a row the outbox is given up: the node asks for a snapshot instead. */
const MAX_REFUSALS = 3;
/** When to look whether pi is at rest, after a run ended; the last one repeats. */
const IDLE_LOOKS_MS = [10, 50, 200, 500];
/** pi 0.73 retries a failed request after 2 s, 4 s, 8 s and tells nobody; a failure counts as final after that. */
const RETRY_GRACE_MS = 3_500;
const MOST_RETRIES = 3;
/** A `!command` of the person shows in the session when it has ended, without an event. */
const LEAF_LOOK_MS = 500;
const END_MS = 150;

/** Events that come in numbers and never mean another card. */
const FREQUENT = new Set(["message_update", "tool_execution_update"]);

interface Change {
  state?: State;
  detail?: string;
  card?: Card;
  session?: SessionCard;
  usage?: Usage;
  reset?: string;
  queue?: QueuedPrompt[];
}

export class Tether implements LinkUser, PromptWatcher, Subject {
  readonly pi: PiApi;
  private readonly memory: Memory;
  private readonly home: Home;
  private readonly guard: Guard;
  private readonly link: Link;
  private readonly outbox: Outbox;
  readonly conversation: Conversation;
  readonly prompts: Prompts;
  readonly scrolls: Scrolls;
  readonly approvals: Approvals;
  private readonly timers: Timers;
  private readonly detach: () => unknown;
  ctx: PiContext;
  state: State = "idle";
  usage: Usage = { input_tokens: 0, output_tokens: 0, cost_usd: 0 };
  /** The card as it was sent last, and whether it may have changed. */
  private card = "";
  private cardDue = true;
  private change: Change = {};
  private asks: (() => void)[] = [];
  private registered = false;
  private url: string | undefined;
  private refusals = 0;
  private failures = 0;
  private flushing = false;
  private ended = false;

  constructor(pi: PiApi, ctx: PiContext, memory: Memory, home: Home, guard: Guard) {
    this.pi = pi;
    this.ctx = ctx;
    this.memory = memory;
    this.home = home;
    this.guard = guard;
    this.timers = new Timers(guard);
    this.outbox = new Outbox(memory.outbox);
    this.conversation = new Conversation(memory);
    this.link = new Link(home.path, guard, this);
    this.detach = guard.wrap("detach", () => this.end("detached"));
    this.prompts = new Prompts(pi, memory, guard, () => this.ctx, this);
    this.scrolls = new Scrolls(memory, () => this.prompts, (method, params, answered) => {
      if (this.registered) this.link.call(method, params, answered);
      return this.registered;
    });
    this.approvals = new Approvals(memory, guard, () => strictestPolicy(home.path), (method, params, answered) => {
      if (this.registered) this.link.call(method, params, answered);
      return this.registered;
    });
  }

  /** session_start, which some ways into a session emit twice. */
  begin(reason: string, ctx: PiContext): void {
    if (this.ended) return; // loaded twice: the other load has taken over
    this.ctx = ctx;
    if (this.memory.detach !== this.detach) {
      this.memory.detach?.();
      this.memory.detach = this.detach;
    }
    const session = ctx.sessionManager;
    const id = session.getSessionId();
    this.usage = { ...sessionUsage(session), ...this.contextUsage() };
    if (this.memory.sessionId === undefined) this.conversation.restart(session);
    else if (this.memory.sessionId !== id) this.replaced(reason);
    this.memory.sessionId = id;
    this.setState(ctx.isIdle() ? "idle" : "working");
    this.link.dial();
    this.flushSoon();
  }

  /** Every other event of pi. */
  handle(found: PiEvent, ctx: PiContext): void {
    if (this.ended) return;
    this.ctx = ctx;
    if (!FREQUENT.has(found.type)) this.cardDue = true;
    this.catchUp();
    this.translate(found);
    this.flushSoon();
  }

  /** tool_call: undefined lets it run, a promise holds it until somebody has decided. */
  hold(found: PiEvent, ctx: PiContext): Promise<Blocked | undefined> | undefined {
    return this.ended ? undefined : this.approvals.hold(found, ctx, !this.headless);
  }

  private translate(found: PiEvent): void {
    const now = performance.now();
    const { message } = found;
    switch (found.type) {
      case "agent_start":
        this.timers.cancel("idle");
        this.timers.cancel("retry");
        this.setState("working");
        this.prompts.runStarted();
        break;
      case "agent_end":
        this.lookForIdle(0);
        break;
      case "agent_settled":
        this.settled();
        this.scrolls.givenUp();
        break;
      case "input":
        this.prompts.input(found.text ?? "", found.source ?? "interactive");
        break;
      case "message_start":
        if (message !== undefined) this.messageStarted(message);
        break;
      case "message_update":
        if (found.assistantMessageEvent) this.emit(this.conversation.messageUpdated(found.assistantMessageEvent));
        break;
      case "message_end":
        if (message !== undefined) this.messageEnded(message);
        break;
      case "tool_execution_start":
        this.emit(this.conversation.toolStarted(found, now));
        break;
      case "tool_execution_update":
        this.conversation.toolUpdated(found);
        this.sendToolUpdates();
        break;
      case "tool_execution_end":
        this.emit(this.conversation.toolEnded(found, now));
        break;
      case "turn_end": // pi counts what the model has read when its message is in the session
      case "model_select": // another one has another window
      case "session_compact":
        this.tellContext();
        break;
      case "user_bash":
        this.watchLeaf(this.ctx.sessionManager.getLeafId());
        break;
      case "ui_prompt_start":
        this.setState("waiting");
        if (found.title !== undefined) this.change.detail = cutText(found.title, 300);
        break;
      case "ui_prompt_end":
        this.setState(this.ctx.isIdle() ? "idle" : "working");
        break;
      case "session_info_changed":
        this.change.session = sessionCard(this.ctx.sessionManager);
        break;
      default: // the others only say that the session or the card may have changed
        break;
    }
  }

  private messageStarted(message: PiMessage): void {
    const origin =
      message.role === "user"
        ? this.prompts.echo(plainText(message.content), this.headless ? "rpc" : "terminal")
        : { source: "" };
    this.emit(this.conversation.messageStarted(message, origin));
  }

  private messageEnded(message: PiMessage): void {
    this.emit(this.conversation.messageEnded(message));
    if (message.role !== "assistant") return;
    this.usage = { ...this.usage, ...addUsage(this.usage, usageOf(message)) };
    this.change.usage = this.usage;
    this.emit([event("usage", { ...this.usage })]);
    switch (message.stopReason) {
      case "error":
        this.scrolls.failed(message.errorMessage ?? "the model failed");
        break;
      case "aborted":
        this.scrolls.error("the turn was aborted");
        break;
      case "toolUse":
        break;
      default:
        this.failures = 0;
        this.prompts.answerEnded();
        this.scrolls.finalText(plainText(message.content));
    }
  }

  private tellContext(): void {
    const found = this.contextUsage();
    if (JSON.stringify(found.context) === JSON.stringify(this.usage.context)) return;
    this.usage = { ...this.usage, ...found };
    this.change.usage = this.usage;
    this.emit([event("usage", { ...this.usage })]);
  }

  /** How full the model's window is. */
  private contextUsage(): Pick<Usage, "context"> {
    const found = this.ctx.getContextUsage?.();
    if (found === undefined) return {};
    return { context: { tokens: found.tokens, window: found.contextWindow, percent: found.percent } };
  }

  /** Another conversation from here on. What the node did not take of the old one is no loss to it. */
  private replaced(reason: string): void {
    this.flush();
    this.outbox.clear();
    this.conversation.restart(this.ctx.sessionManager);
    this.change.reset = reason;
    this.change.session = sessionCard(this.ctx.sessionManager);
    if (reason !== "tree") {
      this.prompts.sessionReplaced();
      this.scrolls.error("the conversation was replaced");
      this.change.usage = this.usage;
    }
  }

  /** `pi --mode rpc`: a program, not a person, is at the other end of its terminal. */
  private get headless(): boolean {
    const { argv } = process;
    return this.ctx.mode === "rpc" || argv[argv.indexOf("--mode") + 1] === "rpc";
  }

  // Coming to rest

  private lookForIdle(look: number): void {
    const delay = IDLE_LOOKS_MS[Math.min(look, IDLE_LOOKS_MS.length - 1)];
    this.timers.start("idle", delay ?? 0, () => {
      if (!this.ctx.isIdle()) this.lookForIdle(look + 1);
      else this.settled();
    });
  }

  private settled(): void {
    this.timers.cancel("idle");
    this.catchUp();
    this.emit(this.conversation.settle(performance.now()));
    this.setState("idle");
    this.prompts.settled();
    this.scrolls.resend();
    if (this.scrolls.failing) {
      const grace = RETRY_GRACE_MS + 2_000 * (2 ** this.failures - 1);
      this.failures = this.failures >= MOST_RETRIES ? 0 : this.failures + 1;
      this.timers.start("retry", grace, () => {
        this.failures = 0;
        this.scrolls.givenUp();
      });
    }
    this.flushSoon();
  }

  private setState(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.change.state = state;
  }

  private watchLeaf(known: string | null): void {
    this.timers.start("leaf", LEAF_LOOK_MS, () => {
      if (this.ctx.sessionManager.getLeafId() === known) this.watchLeaf(known);
      else this.flushSoon();
    });
  }

  private sendToolUpdates(): void {
    const { events, later } = this.conversation.dueUpdates(performance.now());
    this.emit(events);
    if (later && !this.timers.has("tools")) this.timers.start("tools", TOOL_UPDATE_EVERY_MS, () => this.sendToolUpdates());
  }

  // Out to the node

  private emit(events: Event[]): void {
    // Before the node knows this agent, a snapshot will tell it everything.
    if (this.memory.registered) for (const found of events) this.outbox.offer(found);
    if (events.length > 0) this.flushSoon();
  }

  private catchUp(): void {
    const events = this.conversation.announce(this.ctx.sessionManager);
    if (events === "moved") this.replaced("tree");
    else this.emit(events);
  }

  private flushSoon(): void {
    if (this.flushing || this.ended) return;
    this.flushing = true;
    setImmediate(
      this.guard.wrap("flush", () => {
        this.flushing = false;
        if (this.ended) return;
        this.catchUp();
        this.flush();
      }),
    );
  }

  /** Write events, then changes, then answers that speak of both, as long as the socket takes them. */
  private flush(): void {
    if (!this.registered) return;
    if (this.change.reset !== undefined) this.sendChange();
    while (this.link.ready) {
      const batch = this.outbox.take();
      if (batch === undefined) break;
      this.link.call("agent.events", batch, (answer) => this.acknowledged(answer));
    }
    if (!this.link.ready) return;
    this.sendChange();
    this.asks.shift()?.();
    if (this.asks.length > 0) this.flushSoon();
  }

  private sendChange(): void {
    if (this.cardDue) {
      const card = readCard(this.pi, this.ctx);
      const text = JSON.stringify(card);
      if (text !== this.card) this.change.card = card;
      this.card = text;
      this.cardDue = false;
    }
    if (Object.keys(this.change).length === 0) return;
    this.link.call("agent.changed", this.change);
    this.change = {};
  }

  private acknowledged(answer: Answer): void {
    const acked = (answer.result as { acked?: unknown } | undefined)?.acked;
    if (typeof acked === "number") {
      this.refusals = 0;
      this.outbox.acknowledge(acked);
      return;
    }
    this.refusals += 1;
    this.guard.note("agent.events", answer.error?.message ?? "not acknowledged");
    if (this.refusals >= MAX_REFUSALS) {
      this.refusals = 0;
      this.outbox.clear();
    }
    this.link.drop();
  }

  // The link

  opened(): void {
    const { ctx } = this;
    this.timers.start("register", REGISTER_MS, () => this.link.drop());
    const params = {
      instance: this.memory.instance,
      kind: "pi",
      cwd: ctx.cwd,
      pid: process.pid,
      session: sessionCard(ctx.sessionManager),
      card: readCard(this.pi, ctx),
    };
    this.link.call("agent.register", params, this.guard.wrap("registered", (answer) => this.welcomed(answer)));
  }

  private welcomed(answer: Answer): void {
    this.timers.cancel("register");
    const welcome = answer.result as { acked?: unknown; url?: unknown; approvals?: unknown } | undefined;
    if (welcome === undefined) {
      this.guard.note("agent.register", answer.error?.message ?? "refused");
      this.link.drop();
      return;
    }
    this.link.trust();
    this.outbox.resume(typeof welcome.acked === "number" ? welcome.acked : 0);
    this.registered = true;
    this.memory.registered = true;
    this.memory.nodeStartedAt = 0;
    // Another session in agent.register is a reset already; only a move inside of one is still to be told.
    const moved = this.change.reset === "tree";
    this.change = {
      state: this.state,
      session: sessionCard(this.ctx.sessionManager),
      usage: this.usage,
      queue: this.prompts.queue(),
    };
    if (moved) this.change.reset = "tree";
    this.card = JSON.stringify(readCard(this.pi, this.ctx)); // agent.register has just told it
    this.flush();
    this.scrolls.resend();
    this.approvals.welcomed(welcome.approvals);
    this.showAddress(typeof welcome.url === "string" ? welcome.url : undefined);
  }

  private showAddress(url: string | undefined): void {
    this.url = url;
    if (url === undefined) return;
    this.ctx.ui.setStatus("hyperpi", url);
    if (this.memory.printed === url) return;
    this.memory.printed = url;
    if (!this.headless) this.ctx.ui.notify(`Hyper-Pi: ${url}`, "info"); // else it would be told to its own viewers
  }

  drained(): void {
    this.flushSoon();
  }

  closed(): void {
    this.timers.cancel("register");
    this.registered = false;
    this.asks = [];
    this.scrolls.disconnected();
    this.approvals.disconnected();
    if (this.url !== undefined) this.ctx.ui.setStatus("hyperpi", `${this.url} (reconnecting)`);
  }

  absent(): void {
    if (Date.now() - this.memory.nodeStartedAt < START_AGAIN_MS) return;
    this.memory.nodeStartedAt = Date.now();
    startNode(this.home, this.guard);
  }

  // Requests of the node

  request(method: string, params: Record<string, unknown>, id: number | string | undefined): void {
    if (this.ended) return; // the next load of the extension, or the node, asks again
    try {
      serve(this, method, params, (answer) => this.link.answer(id, answer));
    } catch (error) {
      if (!(error instanceof Refusal)) this.guard.note(method, error);
      const refusal = error instanceof Refusal ? error : new Refusal(INTERNAL, "pi-socket failed; see its log");
      this.link.answer(id, { error: refusal.toError() });
    }
  }

  stop(): void {
    if (!this.ctx.isIdle()) this.ctx.abort();
    this.ctx.shutdown();
    // In rpc mode pi looks at that wish only after its next command.
    if (this.headless) this.timers.start("stop", 300, () => process.kill(process.pid, "SIGTERM"));
  }

  /** See Subject. */
  answerLater(promise: Promise<object>, reply: (answer: Answer) => void): void {
    const answered = this.guard.wrap("answer", (answer: Answer) => {
      this.cardDue = true;
      reply(answer);
      this.flushSoon();
    });
    promise.then(
      (result) => answered({ result }),
      (error: unknown) => {
        // Not a refusal of ours: pi itself would not, and its words are for the person who asked.
        const said = error instanceof Refusal ? error : new Refusal(INTERNAL, `pi: ${error instanceof Error ? error.message : String(error)}`);
        answered({ error: said.toError() });
      },
    );
  }

  /** See Subject. */
  whenWritten(callback: () => void): void {
    if (this.asks.length >= MAX_ASKS) throw new Refusal(OVERLOADED, "too many requests wait for this connection");
    this.asks.push(callback);
    this.catchUp();
    this.flush();
  }

  entered(prompt: ExpectedPrompt): void {
    this.scrolls.entered(prompt);
  }

  /** See PromptWatcher: the node is told, and the person at the terminal, who sees only what pi itself has. */
  queueChanged(): void {
    this.change.queue = this.prompts.queue();
    const waiting = this.change.queue.filter(({ where }) => where === "agent").length;
    this.ctx.ui.setStatus("hyperpi-queue", waiting === 0 ? undefined : `${waiting} prompt${waiting === 1 ? "" : "s"} from elsewhere wait`);
    this.flushSoon();
  }

  lost(prompt: ExpectedPrompt, why: string): void {
    this.scrolls.lost(prompt, why);
    this.emit([event("notice", { level: "warning", text: `A prompt was lost: ${why}`, prompt_id: prompt.id })]);
  }

  /** session_shutdown. Only a pi that ends says goodbye; after /new and the like the instance goes on. */
  async end(reason: string): Promise<void> {
    if (this.ended) return;
    this.guard.wrap("last events", () => {
      this.catchUp();
      this.flush();
    })();
    this.guard.wrap("approvals", () => this.approvals.end())();
    this.ended = true;
    this.timers.cancelAll();
    this.prompts.end();
    if (this.memory.detach === this.detach) this.memory.detach = undefined;
    if (this.registered && reason === "quit") this.link.call("agent.bye", { reason });
    this.registered = false;
    await this.link.end(END_MS);
  }
}
