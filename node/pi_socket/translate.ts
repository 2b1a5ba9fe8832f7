/**
 * pi's messages and session entries as entries and blocks of the agent socket. Pure: no state, no clock, no I/O.
 */
import { BLOCK_CHARS, boundedArgs, cutText, ENTRY_BYTES, IMAGE_CHARS, jsonBytes } from "./bounds.ts";
import type { Block, Entry, PiEntry, PiMessage, Role, Usage } from "./shapes.ts";

/** Session entries that are bookkeeping, not conversation; their effect shows in the agent's card. */
const HIDDEN_TYPES = new Set([
  "model_change",
  "thinking_level_change",
  "label",
  "session_info",
  "custom",
  "usage",
  "context_edit",
]);

/** Roles of messages as readers know them; `undefined` is a message that is not shown (pi's system prompt). */
export function roleOf(message: PiMessage): Role | undefined {
  switch (message.role) {
    case "user":
    case "assistant":
      return message.role;
    case "toolResult":
      return "tool";
    case "system":
      return undefined;
    case "custom":
      return message.display === false ? undefined : "note";
    case "compactionSummary":
    case "branchSummary":
      return "system";
    default:
      return "note";
  }
}

/**
 * A session entry as readers see it, at most ENTRY_BYTES of JSON; `undefined` for what is not part of the
 * conversation. Compactions and branch summaries are role "system"; what we do not know is a note.
 */
export function entryOf(entry: PiEntry): Entry | undefined {
  for (const chars of [BLOCK_CHARS, BLOCK_CHARS / 8, BLOCK_CHARS / 64]) {
    const found = describe(entry, chars);
    if (found === undefined || jsonBytes(found) <= ENTRY_BYTES) return found;
  }
  const found = describe(entry, 256);
  return found && { ...found, blocks: [{ type: "text", text: `[${found.blocks.length} blocks: too large to carry]` }] };
}

function describe(entry: PiEntry, chars: number): Entry | undefined {
  const at = timeOf(entry);
  if (entry.type === "message" && entry.message !== undefined) return messageEntry(entry.id, at, entry.message, chars);
  if (HIDDEN_TYPES.has(entry.type)) return undefined;
  const text = (role: Role, value: string): Entry => ({
    id: entry.id,
    role,
    at,
    blocks: [{ type: "text", text: cutText(value, chars) }],
  });
  const summary = (of: "compaction" | "branch"): Entry => ({
    id: entry.id,
    role: "system",
    at,
    blocks: [{ type: "summary", of, text: cutText(entry.summary ?? "", chars), tokens_before: entry.tokensBefore ?? null }],
  });
  switch (entry.type) {
    case "compaction":
      return summary("compaction");
    case "branch_summary":
      return summary("branch");
    case "custom_message":
      if (entry.display === false) return undefined;
      return { id: entry.id, role: "note", at, blocks: contentBlocks(entry.content, chars) };
    default:
      return text("note", `[${entry.type}]`);
  }
}

/** A message as an entry; also used for one that never got a session entry. `undefined`: not shown. */
export function messageEntry(id: string, at: string, message: PiMessage, chars = BLOCK_CHARS): Entry | undefined {
  const role = roleOf(message);
  if (role === undefined) return undefined;
  const entry: Entry = { id, role, at, blocks: messageBlocks(message, chars) };
  if (message.stopReason === "aborted") entry.interrupted = true;
  return entry;
}

/** The blocks of a message; those of an assistant keep pi's indexes, which the delta events use. */
export function messageBlocks(message: PiMessage, chars = BLOCK_CHARS): Block[] {
  switch (message.role) {
    case "toolResult":
      return resultBlocks(message, chars);
    case "bashExecution": {
      const code = message.exitCode === undefined || message.exitCode === 0 ? "" : `\n[exit code ${message.exitCode}]`;
      return [{ type: "text", text: cutText(`$ ${message.command ?? ""}\n${message.output ?? ""}${code}`, chars) }];
    }
    case "compactionSummary":
    case "branchSummary":
      return [{ type: "text", text: cutText(message.summary ?? "", chars) }];
    default: {
      const blocks = contentBlocks(message.content, chars);
      if (message.stopReason === "error") {
        blocks.push({ type: "text", text: cutText(`Error: ${message.errorMessage ?? "the model failed"}`, chars) });
      }
      return blocks;
    }
  }
}

function resultBlocks(message: PiMessage, chars: number): Block[] {
  const blocks: Block[] = [
    {
      type: "tool_result",
      call_id: String(message.toolCallId ?? ""),
      name: String(message.toolName ?? ""),
      text: cutText(plainText(message.content), chars),
      is_error: message.isError === true,
    },
  ];
  for (const part of parts(message.content)) if (part["type"] === "image") blocks.push(imageBlock(part));
  return blocks;
}

function contentBlocks(content: unknown, chars: number): Block[] {
  if (typeof content === "string") return [{ type: "text", text: cutText(content, chars) }];
  return parts(content).map((part): Block => {
    switch (part["type"]) {
      case "text":
        return { type: "text", text: cutText(String(part["text"] ?? ""), chars) };
      case "thinking":
        return { type: "thinking", text: cutText(String(part["thinking"] ?? ""), chars) };
      case "toolCall":
        return toolCallBlock(part);
      case "image":
        return imageBlock(part);
      default:
        return { type: "text", text: `[${String(part["type"])}]` };
    }
  });
}

/** A tool call of pi (`{id, name, arguments}`) as a block. */
export function toolCallBlock(call: { id?: unknown; name?: unknown; arguments?: unknown }): Block {
  return {
    type: "tool_call",
    call_id: String(call.id ?? ""),
    name: String(call.name ?? ""),
    args: boundedArgs(call.arguments),
  };
}

function imageBlock(part: Record<string, unknown>): Block {
  const mime = String(part["mimeType"] ?? "image/png");
  const picture = String(part["data"] ?? "");
  if (picture.length > IMAGE_CHARS) {
    return { type: "text", text: `[image ${mime}, ${Math.round((picture.length * 3) / 4096)} KiB: too large to show]` };
  }
  return { type: "image", mime, data: picture };
}

/** The text of a message's content, a string or a list of blocks. */
export function plainText(content: unknown): string {
  if (typeof content === "string") return content;
  return parts(content)
    .filter((part) => part["type"] === "text")
    .map((part) => String(part["text"] ?? ""))
    .join("");
}

/** The text of a tool's result as pi hands it to handlers: `{content: […]}`. */
export function resultText(result: unknown): string {
  const content = (result as { content?: unknown } | null | undefined)?.content;
  const pictures = parts(content).filter((part) => part["type"] === "image").length;
  return plainText(content) + (pictures === 0 ? "" : `\n[${pictures} image(s)]`);
}

/** What one assistant message used; zeros for other messages. */
export function usageOf(message: PiMessage | undefined): Usage {
  const usage = message?.role === "assistant" ? message.usage : undefined;
  const count = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);
  return {
    input_tokens: count(usage?.input) + count(usage?.cacheRead) + count(usage?.cacheWrite),
    output_tokens: count(usage?.output),
    cost_usd: count(usage?.cost?.total),
  };
}

export function addUsage(a: Usage, b: Usage): Usage {
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    cost_usd: a.cost_usd + b.cost_usd,
  };
}

/** RFC 3339 in UTC with milliseconds. */
function timeOf(entry: PiEntry): string {
  const parsed = new Date(entry.timestamp);
  return Number.isNaN(parsed.getTime()) ? new Date(entry.message?.timestamp ?? 0).toISOString() : parsed.toISOString();
}

function parts(content: unknown): Record<string, unknown>[] {
  return Array.isArray(content)
    ? content.filter((part): part is Record<string, unknown> => typeof part === "object" && part !== null)
    : [];
}
