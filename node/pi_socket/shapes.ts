/**
 * The shapes that cross pi-socket's two edges: what the agent socket carries, and the little of pi that is used.
 *
 * pi's own types are not imported on purpose: the same files must load in every pi, whatever its packages are called.
 */

/** A value that survives JSON unchanged. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One piece of an entry. `block` in a delta event is an index into the blocks of the running message. */
export type Block =
  | { type: "text"; text: string }
  | { type: "thinking"; text: string }
  | { type: "tool_call"; call_id: string; name: string; args: Json }
  | { type: "tool_result"; call_id: string; name?: string; text: string; is_error: boolean }
  | { type: "image"; mime: string; data: string }
  /** What stands for a part of the conversation: the one before a compaction, or a branch that was left. */
  | { type: "summary"; of: "compaction" | "branch"; text: string; tokens_before: number | null };

export type Role = "user" | "assistant" | "tool" | "system" | "note";

/** One settled piece of the conversation; `id` is the id of pi's session entry. */
export interface Entry {
  id: string;
  message_id?: string;
  role: Role;
  at: string;
  blocks: Block[];
  interrupted?: true;
}

/** One event of the stream. Numbers are given by the outbox, `seq` by the node. */
export type Event = { type: string; at: string } & { [key: string]: Json | Entry | Block[] | undefined };

/** A tool call that has begun and not ended. */
export interface OpenTool {
  call_id: string;
  name: string;
  args: Json;
  result: string;
}

/** The unfinished message of a snapshot; after it ended, the tools that it called and that still run. */
export interface Running {
  message_id: string;
  role: Role;
  blocks: Block[];
  tools: OpenTool[];
}

/** Totals of one session. `input_tokens` counts everything that the model read, from a cache or not. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cost_usd: number;
  /** What the model reads now of what it can; null where pi cannot tell, as just after a compaction. */
  context?: { tokens: number | null; window: number; percent: number | null };
}

export interface SessionCard {
  id: string;
  file: string | null;
  name: string | null;
}

export interface Card {
  model: string | null;
  thinking: string | null;
  models: string[];
  thinking_levels: string[];
  tools: { name: string; description: string; active: boolean }[];
  skills: { name: string; description: string }[];
}

export type State = "idle" | "working" | "waiting";

/** A message of pi: user, assistant, toolResult, bashExecution, custom, …; unknown roles happen. */
export interface PiMessage {
  role: string;
  content?: unknown;
  timestamp?: number;
  stopReason?: string;
  errorMessage?: string;
  usage?: { input?: number; output?: number; cacheRead?: number; cacheWrite?: number; cost?: { total?: number } };
  toolCallId?: string;
  toolName?: string;
  isError?: boolean;
  display?: boolean;
  customType?: string;
  command?: string;
  output?: string;
  exitCode?: number;
  summary?: string;
}

/** An entry of pi's session tree; unknown types happen. */
export interface PiEntry {
  type: string;
  id: string;
  parentId: string | null;
  timestamp: string;
  message?: PiMessage;
  summary?: string;
  tokensBefore?: number;
  content?: unknown;
  customType?: string;
  display?: boolean;
}

/** The read-only session manager of pi. */
export interface PiSession {
  getLeafId(): string | null;
  getEntry(id: string): PiEntry | undefined;
  getEntries(): PiEntry[];
  getSessionId(): string;
  getSessionFile(): string | undefined;
  getSessionName?(): string | undefined;
}

export interface PiModel {
  id: string;
  provider: string;
  reasoning?: boolean;
  /** What it takes: "text", "image". */
  input?: string[];
  /** What a level is for its provider; null: it has none such. */
  thinkingLevelMap?: { [level: string]: unknown };
}

/** What pi hands to every event handler. It throws once its session was replaced. */
export interface PiContext {
  hasUI: boolean;
  mode?: string;
  cwd: string;
  ui: {
    notify(text: string, level?: "info" | "warning" | "error"): void;
    setStatus(key: string, text: string | undefined): void;
    select(title: string, options: string[], more: { signal: AbortSignal }): Promise<string | undefined>;
    input(title: string, placeholder: string | undefined, more: { signal: AbortSignal }): Promise<string | undefined>;
  };
  /** Of the turn that runs; aborted when a person ends it. */
  signal?: AbortSignal | undefined;
  sessionManager: PiSession;
  model?: PiModel;
  modelRegistry?: { hasConfiguredAuth?(model: PiModel): boolean; getAvailable?(): PiModel[] };
  getContextUsage?(): { tokens: number | null; contextWindow: number; percent: number | null } | undefined;
  isIdle(): boolean;
  hasPendingMessages(): boolean;
  abort(): void;
  shutdown(): void;
}

export interface PiImage {
  type: "image";
  data: string;
  mimeType: string;
}

/** What pi hands to the factory. */
export interface PiApi {
  on(name: string, handler: (event: PiEvent, ctx: PiContext) => unknown): unknown;
  sendUserMessage(
    content: string | ({ type: "text"; text: string } | PiImage)[],
    options: { deliverAs?: "steer" | "followUp"; expandPromptTemplates?: boolean },
  ): void;
  getActiveTools(): string[];
  getAllTools(): { name: string; description?: string }[];
  /** False: there is no key for it. */
  setModel(model: PiModel): Promise<boolean>;
  getThinkingLevel?(): string;
  setThinkingLevel(level: string): void;
  getCommands?(): PiCommand[];
}

/** A slash command, a prompt template or a skill ("skill:NAME"). */
export interface PiCommand {
  name: string;
  description?: string;
  source: string;
  sourceInfo?: { path?: string };
}

/** Any event of pi; which members are there depends on its type. */
export interface PiEvent {
  type: string;
  reason?: string;
  text?: string;
  source?: string;
  title?: string;
  message?: PiMessage;
  assistantMessageEvent?: { type: string; contentIndex?: number; delta?: string; toolCall?: PiToolCall };
  toolCallId?: string;
  toolName?: string;
  args?: unknown;
  /** Of `tool_call`; other handlers may change it in place. */
  input?: unknown;
  partialResult?: unknown;
  result?: unknown;
  isError?: boolean;
  durationMs?: number;
}

export interface PiToolCall {
  id?: string;
  name?: string;
  arguments?: unknown;
}
