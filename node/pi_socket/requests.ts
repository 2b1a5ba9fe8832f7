/** What a node may ask of this pi, and the checks on what it sends. */
import type { Approvals } from "./approvals.ts";
import { readCard } from "./card.ts";
import { listCommands } from "./commands.ts";
import type { Conversation } from "./conversation.ts";
import { configure } from "./model.ts";
import type { Mode, Prompts } from "./prompts.ts";
import { BAD_PARAMS, COMPACTED, Refusal, UNKNOWN_METHOD, type Answer } from "./rpc.ts";
import type { Scrolls } from "./scrolls.ts";
import { page, sessionCard } from "./session.ts";
import type { PiApi, PiContext, PiImage, State, Usage } from "./shapes.ts";

const SNAPSHOT_ENTRIES = 200;
const HISTORY_ENTRIES = 100;
const MAX_ENTRIES = 1_000;

/** The parts and facts of the tether that answers are made of. */
export interface Subject {
  readonly pi: PiApi;
  readonly ctx: PiContext;
  readonly conversation: Conversation;
  readonly prompts: Prompts;
  readonly scrolls: Scrolls;
  readonly approvals: Approvals;
  readonly state: State;
  readonly usage: Usage;
  /** Call back when all events up to now are written, and none after. Throws Refusal. */
  whenWritten(callback: () => void): void;
  stop(): void;
  /** Answer with what a promise brings, and tell what it has changed. */
  answerLater(promise: Promise<object>, reply: (answer: Answer) => void): void;
}

type Params = Record<string, unknown>;

/** Answer one request, now or later. Throws Refusal. */
export function serve(subject: Subject, method: string, params: Params, reply: (answer: Answer) => void): void {
  switch (method) {
    case "ping":
      reply({ result: {} });
      break;
    case "prompt":
      reply({ result: { receipt: prompt(subject.prompts, params) } });
      break;
    case "commands":
      reply({ result: { commands: listCommands(subject.pi, subject.ctx) } });
      break;
    case "unqueue":
      reply({ result: subject.prompts.cancel(String(params["id"])) });
      break;
    case "abort":
      subject.ctx.abort();
      reply({ result: {} });
      break;
    case "stop":
      reply({ result: {} });
      subject.stop();
      break;
    case "snapshot":
      subject.whenWritten(() => reply({ result: snapshot(subject, limitOf(params["limit"], SNAPSHOT_ENTRIES)) }));
      break;
    case "history":
      reply({ result: history(subject, params) });
      break;
    case "configure":
      subject.answerLater(configure(subject.pi, () => subject.ctx, params), reply);
      break;
    case "deliver":
      subject.scrolls.deliver(params["scroll"], reply);
      break;
    case "approval.decided":
      subject.approvals.decided(params);
      reply({ result: {} });
      break;
    case "policy":
      subject.approvals.policyTold(params["approvals"]);
      reply({ result: {} });
      break;
    default:
      throw new Refusal(UNKNOWN_METHOD, `pi has no ${method}`);
  }
}

function prompt(prompts: Prompts, params: Params): string {
  const { text, id, mode = "prompt", source = "api", images = [] } = params;
  if (typeof text !== "string" || typeof id !== "string" || typeof source !== "string" || !isMode(mode)) {
    throw new Refusal(BAD_PARAMS, "a prompt has text, id, source and a mode: prompt, steer or follow_up");
  }
  return prompts.take({ id, text, mode, source, images: imagesOf(images) });
}

function snapshot({ pi, ctx, conversation, prompts, state, usage }: Subject, limit: number): object {
  const session = ctx.sessionManager;
  const { tools, model, thinking } = readCard(pi, ctx);
  return {
    ...page(session, session.getLeafId(), limit, conversation.messageIds),
    running: conversation.running(),
    state,
    tools,
    model,
    thinking,
    session: sessionCard(session),
    usage,
    queue: prompts.queue(),
  };
}

function history({ ctx, conversation }: Subject, params: Params): object {
  const session = ctx.sessionManager;
  const before = typeof params["before"] === "string" ? session.getEntry(params["before"]) : undefined;
  if (before === undefined) throw new Refusal(COMPACTED, "the session has no such entry", "attach again");
  return page(session, before.parentId, limitOf(params["limit"], HISTORY_ENTRIES), conversation.messageIds);
}

function limitOf(value: unknown, otherwise: number): number {
  return typeof value === "number" && value >= 1 ? Math.min(Math.floor(value), MAX_ENTRIES) : otherwise;
}

function isMode(value: unknown): value is Mode {
  return value === "prompt" || value === "steer" || value === "follow_up";
}

/** Images as blocks of the contract (`{mime, data}`, base64). */
function imagesOf(value: unknown): PiImage[] {
  if (!Array.isArray(value)) throw new Refusal(BAD_PARAMS, "images is a list");
  return value.map((image: unknown) => {
    const { mime, data } = (image ?? {}) as { mime?: unknown; data?: unknown };
    if (typeof mime !== "string" || typeof data !== "string") throw new Refusal(BAD_PARAMS, "an image has mime and data");
    return { type: "image", data, mimeType: mime };
  });
}
