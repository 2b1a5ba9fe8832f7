/**
 * An extension that writes down what pi hands to extensions: each event, and how its session stands at that moment.
 *
 * One JSON line each: {event, leaf, entries (new ones), session?, idle, pending}. What grows with a message
 * (`message` and `partial` of an update) is left out, as pi-socket reads neither.
 */
import { appendFileSync } from "node:fs";

const EVENTS = [
  "session_start",
  "session_shutdown",
  "agent_start",
  "agent_end",
  "agent_settled",
  "turn_start",
  "turn_end",
  "input",
  "message_start",
  "message_update",
  "message_end",
  "tool_call",
  "tool_execution_start",
  "tool_execution_update",
  "tool_execution_end",
  "model_select",
  "thinking_level_select",
  "session_compact",
  "session_tree",
  "session_info_changed",
  "user_bash",
];
const SYSTEM_CHARS = 40;

const file = process.env["PI_RECORDING"] ?? "";
const hidden: [string, string][] = JSON.parse(process.env["PI_RECORDING_HIDES"] ?? "[]");

export default function recorder(pi: any): void {
  const known = new Set<string>();
  let session = "";

  const write = (found: any, ctx: any): void => {
    const manager = ctx.sessionManager;
    const card = { id: manager.getSessionId(), file: manager.getSessionFile() ?? null, name: manager.getSessionName?.() ?? null };
    const line: any = { event: slim(found), leaf: manager.getLeafId(), idle: ctx.isIdle(), pending: ctx.hasPendingMessages() };
    if (JSON.stringify(card) !== session) {
      if (!session.includes(card.id)) known.clear();
      session = JSON.stringify(card);
      line.session = card;
    }
    const fresh = manager.getEntries().filter((entry: any) => !known.has(entry.id));
    for (const entry of fresh) known.add(entry.id);
    if (fresh.length > 0) line.entries = fresh.map(short);
    let text = JSON.stringify(line);
    for (const [place, name] of hidden) text = text.replaceAll(place, name);
    appendFileSync(file, `${text}\n`);
  };

  for (const name of EVENTS) pi.on(name, (found: any, ctx: any) => write(found, ctx));
  pi.registerCommand("goto", { handler: async (id: string, ctx: any) => void (await ctx.navigateTree(id)) });
  pi.registerCommand("again", { handler: async (_: string, ctx: any) => void (await ctx.reload()) });
}

function slim(found: any): any {
  const { messages, toolResults, context, entries, compactionEntry, ...rest } = found;
  if (rest.type === "message_update") {
    const { partial, message, ...update } = rest.assistantMessageEvent;
    return { type: rest.type, assistantMessageEvent: update };
  }
  if (rest.message !== undefined) rest.message = brief(rest.message);
  return rest;
}

function short({ systemMessage, ...entry }: any): any {
  return entry.message === undefined ? entry : { ...entry, message: brief(entry.message) };
}

/** Instructions of pi and declarations of tools are long, and shown to nobody. */
function brief(message: any): any {
  if (message.role !== "system") return message;
  return { role: "system", timestamp: message.timestamp, content: String(JSON.stringify(message.content)).slice(0, SYSTEM_CHARS) };
}
