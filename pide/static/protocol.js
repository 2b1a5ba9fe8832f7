/**
 * The shapes that travel over /ws, with the names of the public contract, and what a frame may be.
 * Knows nothing of sockets, state or the page.
 */

/** @typedef {"viewer" | "operator" | "admin"} Role */
/** @typedef {"starting" | "idle" | "working" | "waiting" | "stuck" | "exited" | "unreachable"} AgentState */
/** @typedef {"online" | "disconnected" | "lost" | "left" | "pending"} NodeState */
/** @typedef {"stored" | "queued" | "delivered" | "unknown" | "cancelled"} Receipt */
/** @typedef {{mime: string, data: string}} Picture  base64 */
/** @typedef {{text: string, kind: "command" | "prompt" | "skill" | "file" | "folder", description?: string}} Completion */
/** @typedef {{id: string, text: string, mode: PromptMode, source?: string, images?: number, at?: string | null, cut?: number, kept?: boolean, where: "node" | "agent" | "handed" | "lost"}} QueuedPrompt */
/** @typedef {"prompt" | "steer" | "follow_up"} PromptMode */
/** @typedef {"accepted" | "relayed" | "stored" | "delivered" | "answered" | "expired" | "refused" | "unknown"} ScrollState */

/** @typedef {{process?: string | null, stream?: string | null, turn?: string | null, heartbeat?: string | null}} Evidence  RFC 3339 times of the last proof. */
/** @typedef {{window: number, tokens?: number | null, percent?: number | null}} ContextUsage */
/** @typedef {{input_tokens?: number, output_tokens?: number, cost_usd?: number, context?: ContextUsage | null}} Usage */
/** @typedef {{id?: string | null, file?: string | null, name?: string | null}} Session */
/** @typedef {{name: string, description?: string}} Tool */
/** @typedef {{model?: string | null, thinking?: string | null, mode?: string | null, models?: string[], thinking_levels?: string[], modes?: string[]}} Choices  models that an agent could use, levels at which it could think, modes in which it could work */
/** @typedef {"model" | "thinking" | "mode"} Setting  what agent.configure changes */

/**
 * @typedef {object} Ending
 * @property {"quit" | "crash" | "killed" | "closed" | "stopped" | "reboot" | "upgrade" | "unknown"} why
 * @property {string} at
 * @property {boolean} [interrupted]  in the middle of a turn
 * @property {string | null} [by]
 * @property {number | null} [code]
 * @property {string | null} [signal]
 */

/**
 * @typedef {object} Agent
 * @property {string} id
 * @property {string} name
 * @property {string} node      id of its node
 * @property {string} [address] name@node
 * @property {string} kind
 * @property {AgentState} state
 * @property {AgentState | null} [was]  its state when last heard of, while its node is away
 * @property {string | null} [detail]
 * @property {string} cwd
 * @property {string | null} [project]
 * @property {number | null} [pid]
 * @property {string | null} [model]
 * @property {string | null} [thinking]
 * @property {string | null} [mode]
 * @property {Session | null} [session]
 * @property {number} [tools]
 * @property {string} [since]
 * @property {string | null} [last_event]
 * @property {Evidence} [evidence]
 * @property {number} [watchers]
 * @property {Usage} [usage]
 * @property {number} [pending]  approvals that it waits for
 * @property {string | null} [resumed_from]
 * @property {{cols: number, rows: number} | null} [terminal]  if it runs, or ran, in one that its node holds
 * @property {{cpu: number, mem_bytes: number} | null} [load]  cores and bytes, with all that it has started
 * @property {"offered" | "possible" | null} [resume]  agent.resume; offered: it broke off by mishap
 * @property {Ending | null} [ending]
 */

/**
 * @typedef {object} Node
 * @property {string} id
 * @property {string} name
 * @property {NodeState} state
 * @property {string} [since]
 * @property {string | null} [last_heard]
 * @property {string} [version]
 * @property {string} [platform]
 * @property {string | null} [address]
 * @property {number} [agents]
 * @property {{cpu?: number, mem_bytes?: number} | null} [load]
 * @property {{banks?: number, live_rows?: number, free_rows?: number} | null} [disk]
 * @property {string} [code]    the six digits of a join that waits for approval
 * @property {boolean} [approved] such a join: an admin said yes, its own person has not yet
 * @property {Certificate | null} [certificate]
 * @property {number | null} [clock_s]  seconds that its clock is ahead of the hypivisor's; null where it is right
 */

/** @typedef {{issued: string | null, renews: string | null, expires: string}} Certificate  RFC 3339; null where it is not known */

/**
 * @typedef {{heartbeat_s?: number, disconnected_s?: number, lost_s?: number, [more: string]: unknown}} Limits
 * @typedef {{name: string, role: Role}} Me
 * @typedef {{mesh: string, epoch: string, rev: number, me: Me, nodes: Node[], agents: Agent[], limits?: Limits}} MeshGet
 * @typedef {{epoch: string, from: number, rev: number, nodes?: Node[], agents?: Agent[], gone?: unknown}} MeshChanged
 */

/**
 * @typedef {{type: string, [more: string]: any}} Block
 *   text {text}, thinking {text}, tool_call {call_id, name, args}, tool_result {call_id, text, is_error}, image {mime, data}
 */

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {string | null} [message_id]
 * @property {string} role       user | assistant | tool | system | note
 * @property {string} [at]
 * @property {Block[]} blocks
 * @property {boolean} [interrupted]
 * @property {string} [source]    of a user's message
 * @property {string} [prompt_id] of a prompt that came from here
 */

/** @typedef {{id: string, label: string, kind: "allow_once" | "allow_always" | "reject_once" | "reject_always" | "option" | "text"}} Choice */

/**
 * @typedef {object} Approval
 * @property {string} id
 * @property {string} [agent]
 * @property {string} [address] of its agent, where they are listed
 * @property {{kind?: string, summary?: string, detail?: unknown, hash?: string}} action
 * @property {Choice[]} [choices]
 * @property {string} [asked_at]
 * @property {string | null} [expires_at]
 * @property {"pending" | "approved" | "denied" | "expired" | "withdrawn"} state
 * @property {string | null} [choice]
 * @property {string | null} [by]
 * @property {string | null} [via]  pide | cli | api | terminal
 * @property {string | null} [note]
 */

/** @typedef {{call_id: string, state: Approval["state"], by?: string | null, via?: string | null, note?: string | null}} Decision  on a call of a tool */

/**
 * @typedef {{call_id: string, message_id?: string | null, name: string, args?: unknown, result?: unknown, is_error?: boolean, duration_ms?: number, at?: string}} OpenTool
 * @typedef {{message_id: string | null, role: string, blocks: Block[], tools?: OpenTool[]}} Running
 */

/**
 * @typedef {object} Snapshot
 * @property {Entry[]} entries  newest last
 * @property {boolean} more
 * @property {Running | null} [running]
 * @property {AgentState} [state]
 * @property {Tool[]} [tools]
 * @property {string | null} [model]
 * @property {Session | null} [session]
 * @property {Usage | null} [usage]
 * @property {Approval[]} [pending]
 * @property {Decision[]} [decisions]
 * @property {QueuedPrompt[]} [queue]
 */

/**
 * @typedef {{agent: string, resume: "ok" | "fresh" | "gap", epoch: string, seq: number, snapshot?: Snapshot, terminal?: import("./terminal/session.js").Attached}} Attached
 * @typedef {{seq: number, first_seq?: number, at?: string, type: string, [more: string]: any}} StreamEvent
 * @typedef {{agent: string, epoch: string, events: StreamEvent[]}} AgentEvents
 */

/**
 * @typedef {object} Scroll
 * @property {string} scroll_id
 * @property {string} [from]
 * @property {string} to
 * @property {string} message
 * @property {string | null} [intent]
 * @property {string} [urgency]
 * @property {string | null} [reply_to]
 * @property {string} [at]
 * @property {ScrollState} [state]
 * @property {string | null} [reason]
 * @property {{opcode_type?: string, content?: unknown} | null} [opcode]
 */

/**
 * @typedef {{id: string, role: "node" | Role, name: string | null, created: string, expires: string, uses_left: number | null, last_used: string | null, last_from: string | null, joined: string | null, revoked: boolean}} Token
 * @typedef {{id: string, name: string, role: Role, origin: string, address: string, created: string, last_used: string, expires: string, token: string | null}} LoginSession
 * @typedef {{seq: number, at: string, who: string, origin: string, what: string, result: string, details: Record<string, unknown>}} AuditRow
 */

/** @typedef {{name: string, addresses: string[], version: string}} Nearby  a machine that says it could join; anybody may say so */
/** @typedef {{candidates: Nearby[], more: boolean, listening: boolean}} Neighbours */

/**
 * @typedef {{row: number, state: string, kind: string, seq: number}} ChangedRow
 * @typedef {{node: string, bank: number, rows: ChangedRow[]}} DiskChanged
 * @typedef {{oldest: number, newest: number, commits: {commit: number, at: string, rows: ChangedRow[]}[]}} DiskHistory
 * @typedef {{file: string, row: number | null, offset: number | null, what: string, remedy: string}} DiskProblem
 */

/** @typedef {{path: string, parent: string | null, folders: {name: string, path: string, project?: string | null, agents?: number}[], allowed: boolean}} Folders */

/** @typedef {{name: string, command: boolean, prompts: boolean, headless: boolean}} AgentKind  command: its arguments name the program */

export const CLOSE = /** @type {const} */ ({ slow: 4000, revoked: 4001, restarting: 4002 });

export const ERROR = /** @type {const} */ ({
  methodNotFound: -32601,
  notForThisRole: -32001,
  unknown: -32004,
  ambiguous: -32005,
  conflict: -32009,
  compacted: -32010,
  unreachable: -32011,
  refused: -32012,
  expired: -32013,
  overloaded: -32029,
});

const ROLES = ["viewer", "operator", "admin"];

/** The least role of what the page offers; the server decides again. */
const NEEDED = /** @type {Record<string, Role>} */ ({
  "agent.prompt": "operator",
  "agent.abort": "operator",
  "agent.stop": "operator",
  "agent.forget": "operator",
  "agent.resume": "operator",
  "agent.rename": "operator",
  "agent.configure": "operator",
  "agent.unqueue": "operator",
  "agent.complete": "operator",
  "agent.answer": "operator",
  "agent.input": "operator",
  "node.folders": "operator",
  "node.spawn": "operator",
  "scroll.send": "operator",
  "node.approve": "admin",
  "node.nearby": "admin",
  "node.revoke": "admin",
  "node.deny": "admin",
  "token.create": "admin",
  "token.ls": "admin",
});

/**
 * Whether a role may call a method.
 * @param {Role | undefined} role
 * @param {string} method
 */
export function allows(role, method) {
  return ROLES.indexOf(role ?? "") >= ROLES.indexOf(NEEDED[method] ?? "viewer");
}

/** An answer with an `error` member. */
export class RpcError extends Error {
  /**
   * @param {string} message
   * @param {number} code
   * @param {{hint?: string, [more: string]: unknown}} [data]
   */
  constructor(message, code, data) {
    super(message);
    this.code = code;
    this.data = data ?? {};
  }

  /** What to do next, if the server said so. */
  get hint() {
    return typeof this.data.hint === "string" ? this.data.hint : "";
  }
}

/** No answer: the link went away or the time was over. Whether the call had an effect is not known. */
export class NoAnswer extends Error {}

/**
 * @typedef {{kind: "answer", id: number, result?: any, error?: RpcError} | {kind: "notification", method: string, params: any} | {kind: "unreadable"}} Frame
 */

/**
 * What one text frame says. Never throws: what is not JSON-RPC is `unreadable`.
 * @param {string} text
 * @returns {Frame}
 */
export function readFrame(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return { kind: "unreadable" };
  }
  if (frame === null || typeof frame !== "object" || Array.isArray(frame)) return { kind: "unreadable" };
  if (typeof frame.method === "string") {
    return { kind: "notification", method: frame.method, params: frame.params ?? {} };
  }
  if (typeof frame.id !== "number") return { kind: "unreadable" };
  if (frame.error && typeof frame.error === "object") {
    const { message, code, data } = frame.error;
    return { kind: "answer", id: frame.id, error: new RpcError(String(message ?? "failed"), Number(code), data) };
  }
  return { kind: "answer", id: frame.id, result: frame.result };
}

/**
 * @param {number} id
 * @param {string} method
 * @param {object} params
 */
export function requestFrame(id, method, params) {
  return JSON.stringify({ jsonrpc: "2.0", id, method, params });
}

/** A new idempotency key. randomUUID is missing on pages without TLS, getRandomValues is not. */
export function newId() {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
