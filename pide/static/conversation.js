/**
 * One agent's conversation as this viewer has it: a snapshot, then events in order. Pure.
 *
 * The cursor (epoch, seq) advances with each applied event and never before. An event that is already in
 * (by seq) is ignored; one that would leave a hole is not applied: `need` then says to attach again.
 */

/** @typedef {import("./protocol.js").Entry} Entry */
/** @typedef {import("./protocol.js").Block} Block */
/** @typedef {import("./protocol.js").StreamEvent} StreamEvent */
/** @typedef {import("./protocol.js").Approval} Approval */
/** @typedef {import("./protocol.js").Decision} Decision */

/** @typedef {{message_id: string, role: string, blocks: Block[], at?: string}} OpenMessage */

/**
 * @typedef {object} ToolRun  one call of a tool, seen live or told by a snapshot
 * @property {string} call_id
 * @property {string} name
 * @property {unknown} [args]
 * @property {unknown} [result]
 * @property {boolean} done
 * @property {boolean} is_error
 * @property {number} [duration_ms]
 * @property {string} [at]
 * @property {boolean} placed  an entry of the conversation shows it
 */

/**
 * @typedef {object} Conversation
 * @property {string} agent
 * @property {string} epoch
 * @property {number} seq
 * @property {boolean} loaded      there is a snapshot behind what we show
 * @property {boolean} attached    events of it come in now
 * @property {null | "resume" | "fresh"} need  attach again: from the cursor, or from nothing
 * @property {Entry[]} entries     newest last
 * @property {boolean} more        older ones can be asked for
 * @property {OpenMessage[]} running  messages that have begun and not ended
 * @property {ReadonlyMap<string, ToolRun>} runs
 * @property {ReadonlyMap<string, Block>} results  tool_result blocks by call_id
 * @property {ReadonlySet<string>} called  call_ids that an entry shows
 * @property {string | null} state
 * @property {string | null} detail
 * @property {import("./protocol.js").Tool[]} tools
 * @property {string | null} model
 * @property {import("./protocol.js").Session | null} session
 * @property {import("./protocol.js").Usage | null} usage
 * @property {Approval[]} pending
 * @property {ReadonlyMap<string, Decision>} decisions  how calls were approved or not, by call_id
 * @property {import("./protocol.js").QueuedPrompt[]} queue  prompts that wait, whoever sent them
 * @property {string | null} resetReason  why the conversation that was shown before is not this one
 */

/** One object, so that a call that goes on waiting is not drawn again. @type {Decision} */
const WAITS = { call_id: "", state: "pending" };
const MAX_BLOCKS = 1_000; // of one message: a block number is an agent's word, and an array's length here

/**
 * @param {string} agent
 * @returns {Conversation}
 */
export function emptyConversation(agent) {
  return {
    agent,
    epoch: "",
    seq: 0,
    loaded: false,
    attached: false,
    need: null,
    entries: [],
    more: false,
    running: [],
    runs: new Map(),
    results: new Map(),
    called: new Set(),
    state: null,
    detail: null,
    tools: [],
    model: null,
    session: null,
    usage: null,
    pending: [],
    decisions: new Map(),
    queue: [],
    resetReason: null,
  };
}

/**
 * The answer to agent.attach.
 * @param {Conversation} conv
 * @param {import("./protocol.js").Attached} attached
 * @returns {Conversation}
 */
export function attach(conv, attached) {
  if (attached.resume === "ok" && !attached.snapshot) {
    if (attached.epoch === conv.epoch) return { ...conv, attached: true, need: null };
    return { ...conv, need: "fresh" }; // "ok" for a ring that we do not have: we cannot join the two
  }
  const snapshot = attached.snapshot;
  if (!snapshot) return { ...conv, need: "fresh" };
  const older = olderPart(conv, snapshot);
  const entries = older ? [...older, ...snapshot.entries] : snapshot.entries;
  const results = new Map();
  const called = new Set();
  for (const entry of entries) indexBlocks(entry, results, called);
  const running = snapshot.running;
  /** @type {Map<string, ToolRun>} */
  const runs = new Map();
  for (const tool of running?.tools ?? []) {
    runs.set(tool.call_id, {
      call_id: tool.call_id,
      name: tool.name,
      args: tool.args,
      result: tool.result,
      done: tool.duration_ms !== undefined,
      is_error: tool.is_error ?? false,
      duration_ms: tool.duration_ms,
      at: tool.at,
      placed: called.has(tool.call_id),
    });
  }
  // What was seen live keeps its duration, which the history does not tell.
  for (const [id, run] of conv.runs) if (run.done && !runs.has(id) && called.has(id)) runs.set(id, run);
  return {
    ...conv,
    epoch: attached.epoch,
    seq: attached.seq,
    loaded: true,
    attached: true,
    need: null,
    entries,
    more: older ? conv.more : snapshot.more,
    running:
      running && running.message_id !== null && !isKnown(entries, running.message_id)
        ? [{ message_id: running.message_id, role: running.role, blocks: running.blocks }]
        : [],
    runs,
    results,
    called,
    state: snapshot.state ?? null,
    detail: null,
    tools: snapshot.tools ?? [],
    model: snapshot.model ?? null,
    session: snapshot.session ?? null,
    usage: snapshot.usage ?? null,
    pending: (snapshot.pending ?? []).filter((approval) => approval.state === "pending"),
    decisions: new Map([...conv.decisions, ...(snapshot.decisions ?? []).map((one) => /** @type {const} */ ([one.call_id, one]))]),
    queue: snapshot.queue ?? [],
  };
}

/**
 * Entries that were paged in before and lie in front of a new snapshot of the same session.
 * @param {Conversation} conv
 * @param {import("./protocol.js").Snapshot} snapshot
 * @returns {Entry[] | null}
 */
function olderPart(conv, snapshot) {
  const first = snapshot.entries[0];
  if (!first || !snapshot.more || !conv.session?.id || conv.session.id !== snapshot.session?.id) return null;
  const at = conv.entries.findIndex((entry) => entry.id === first.id);
  return at > 0 ? conv.entries.slice(0, at).filter((entry) => !isOurs(entry)) : null;
}

/**
 * @param {Conversation} conv
 * @param {import("./protocol.js").AgentEvents} batch
 * @returns {Conversation}
 */
export function agentEvents(conv, batch) {
  if (conv.need) return conv;
  if (!conv.loaded) return conv; // the snapshot that is on its way tells all of this
  if (batch.epoch !== conv.epoch) return { ...conv, need: "fresh" };
  let next = conv;
  for (const event of batch.events) {
    if (event.seq <= next.seq) continue;
    const first = event.first_seq ?? event.seq;
    if (first !== next.seq + 1) {
      // A hole, or a joined delta of which we have the beginning: applying it would lose or double text.
      return { ...next, need: "resume" };
    }
    next = { ...applyEvent(next, event), seq: event.seq };
  }
  return next;
}

/**
 * @param {Conversation} conv
 * @param {StreamEvent} event
 * @returns {Conversation}
 */
function applyEvent(conv, event) {
  switch (event.type) {
    case "state": {
      const next = { ...conv, state: event.state, detail: event.detail ?? null };
      return event.state === "exited" ? brokenOff(next, Boolean(event.interrupted)) : next;
    }
    case "user_message":
      return userMessage(conv, event);
    case "message_start":
      if (isKnown(conv.entries, event.message_id) || conv.running.some((open) => open.message_id === event.message_id)) {
        return conv;
      }
      return {
        ...conv,
        running: [...conv.running, { message_id: event.message_id, role: event.role, blocks: [], at: event.at }],
      };
    case "text_delta":
      return delta(conv, event, "text");
    case "thinking_delta":
      return delta(conv, event, "thinking");
    case "message_end":
      return messageEnd(conv, event);
    case "tool_start":
      return run(conv, event, {
        name: event.name,
        args: event.args,
        done: false,
        is_error: false,
        at: event.at,
        placed: conv.called.has(event.call_id),
      });
    case "tool_update":
      return run(conv, event, { result: event.result });
    case "tool_end":
      return run(conv, event, {
        result: event.result,
        is_error: Boolean(event.is_error),
        duration_ms: event.duration_ms,
        done: true,
      });
    case "approval":
      return approvalChanged(conv, event.approval, event);
    case "queue":
      return { ...conv, queue: Array.isArray(event.prompts) ? event.prompts : [] };
    case "usage":
      return { ...conv, usage: usageOf(event) };
    case "notice":
      return note(conv, event, { type: "notice", level: String(event.level ?? "info"), text: String(event.text ?? "") });
    case "scroll":
      return note(conv, event, { type: "scroll", scroll: event.scroll ?? event });
    default:
      return note(conv, event, { type: "unknown", event });
  }
}

/**
 * The agent has ended: what it had begun to say will not go on, and says so.
 * @param {Conversation} conv
 * @param {boolean} interrupted  it was in the middle of a turn
 * @returns {Conversation}
 */
function brokenOff(conv, interrupted) {
  const unsaid = conv.running.filter((open) => open.blocks.length);
  const entries = [
    ...conv.entries,
    ...unsaid.map(({ message_id, role, blocks, at }) => ({ id: `message:${message_id}`, message_id, role, at, blocks, interrupted: true })),
  ];
  const last = entries[entries.length - 1];
  if (interrupted && last && !last.interrupted) entries[entries.length - 1] = { ...last, interrupted: true };
  return { ...conv, running: [], entries };
}

/**
 * @param {Conversation} conv
 * @param {StreamEvent} event
 */
function userMessage(conv, event) {
  const { message_id, text, source, prompt_id } = event;
  const running = conv.running.filter((open) => open.message_id !== message_id);
  const at = indexOfMessage(conv.entries, message_id);
  if (at >= 0) {
    const entries = conv.entries.slice();
    entries[at] = { ...entries[at], source, prompt_id };
    return { ...conv, running, entries };
  }
  /** @type {Entry} */
  const entry = {
    id: `message:${message_id}`, // until message_end brings the session's own
    message_id,
    role: "user",
    at: event.at,
    blocks: [{ type: "text", text: String(text ?? "") }],
    source,
    prompt_id,
  };
  return { ...conv, running, entries: [...conv.entries, entry] };
}

/**
 * @param {Conversation} conv
 * @param {StreamEvent} event
 * @param {"text" | "thinking"} type
 */
function delta(conv, event, type) {
  const { message_id } = event;
  const index = Number.isInteger(event.block) && event.block >= 0 && event.block <= MAX_BLOCKS ? event.block : 0;
  let at = conv.running.findIndex((open) => open.message_id === message_id);
  const running = conv.running.slice();
  if (at < 0) {
    if (isKnown(conv.entries, message_id)) return conv; // it has ended: the entry says it all
    at = running.push({ message_id, role: "assistant", blocks: [], at: event.at }) - 1;
  }
  const blocks = running[at].blocks.slice();
  const old = blocks[index];
  blocks[index] = { ...old, type: old?.type ?? type, text: (old?.text ?? "") + String(event.delta ?? "") };
  running[at] = { ...running[at], blocks };
  return { ...conv, running };
}

/**
 * @param {Conversation} conv
 * @param {StreamEvent} event
 */
function messageEnd(conv, event) {
  /** @type {Entry} */
  const entry = event.entry;
  const message_id = event.message_id ?? entry?.message_id;
  const running = conv.running.filter((open) => open.message_id !== message_id);
  if (!entry) return { ...conv, running };
  const { results, called } = indexed(conv, [entry]);
  let { runs } = conv;
  const placed = entry.blocks.filter((block) => block.type === "tool_call" && runs.get(block.call_id)?.placed === false);
  if (placed.length) {
    const next = new Map(runs);
    for (const { call_id } of placed) next.set(call_id, { .../** @type {ToolRun} */ (runs.get(call_id)), placed: true });
    runs = next;
  }
  let at = message_id ? indexOfMessage(conv.entries, message_id) : -1;
  if (at < 0) at = lastIndex(conv.entries, (known) => known.id === entry.id);
  const entries = conv.entries.slice();
  if (at >= 0) {
    const { source, prompt_id } = entries[at];
    entries[at] = { source, prompt_id, ...entry, message_id };
  } else {
    entries.push({ ...entry, message_id });
  }
  return { ...conv, running, entries, results, called, runs };
}

/**
 * @param {Conversation} conv
 * @param {StreamEvent} event
 * @param {Partial<ToolRun>} change
 */
function run(conv, event, change) {
  const runs = new Map(conv.runs);
  const { call_id } = event;
  const known = runs.get(call_id) ?? { call_id, name: "tool", done: false, is_error: false, placed: false };
  runs.set(call_id, { ...known, ...change });
  return { ...conv, runs };
}

/**
 * @param {Conversation} conv
 * @param {Approval} approval
 * @param {StreamEvent} event
 */
function approvalChanged(conv, approval, event) {
  if (!approval) return conv;
  const others = conv.pending.filter((known) => known.id !== approval.id);
  if (approval.state === "pending") return { ...conv, pending: [...others, approval] };
  const call_id = callOf(approval);
  if (call_id === null) return note({ ...conv, pending: others }, event, { type: "approval", approval });
  const { state, by, via, note: words } = approval;
  const next = { ...conv, pending: others, decisions: new Map([...conv.decisions, [call_id, { call_id, state, by, via, note: words }]]) };
  // The call says what became of it, wherever it is shown.
  return conv.called.has(call_id) || conv.runs.has(call_id) ? next : note(next, event, { type: "approval", approval });
}

/**
 * The call of a tool that an approval is about.
 * @param {Approval} approval
 * @returns {string | null}
 */
function callOf(approval) {
  const detail = /** @type {{call_id?: unknown} | null | undefined} */ (approval.action?.detail);
  return typeof detail?.call_id === "string" && detail.call_id !== "" ? detail.call_id : null;
}

/**
 * Whether a call waits for a person, or what somebody or nobody has said to it.
 * @param {Conversation} conv
 * @param {string} call_id
 * @returns {Decision | undefined}
 */
export function decisionOn(conv, call_id) {
  if (conv.pending.some((approval) => callOf(approval) === call_id)) return WAITS;
  return conv.decisions.get(call_id);
}

/**
 * Something to show at this place of the conversation that is no entry of the agent's session.
 * @param {Conversation} conv
 * @param {StreamEvent} event
 * @param {Block} block
 */
function note(conv, event, block) {
  /** @type {Entry} */
  const entry = { id: `note:${conv.epoch}:${event.seq}`, role: "note", at: event.at, blocks: [block] };
  return { ...conv, entries: [...conv.entries, entry] };
}

/**
 * @param {Conversation} conv
 * @param {{entries: Entry[], more: boolean}} history the answer to agent.history
 * @returns {Conversation}
 */
export function olderEntries(conv, history) {
  const known = new Set(conv.entries.map((entry) => entry.id));
  const older = history.entries.filter((entry) => !known.has(entry.id));
  const more = history.more && older.length > 0; // an answer without anything new would be asked for for ever
  return { ...conv, entries: [...older, ...conv.entries], more, ...indexed(conv, older) };
}

/**
 * The oldest entry that the agent's session knows: what to ask older ones for.
 * @param {Conversation} conv
 */
export function oldestId(conv) {
  return conv.entries.find((entry) => !isOurs(entry) && entry.id !== entry.message_id)?.id ?? null;
}

/**
 * Whether the tools that an entry calls may still be on their way: it is the newest but for their results.
 * @param {Conversation} conv
 * @param {Entry} entry
 */
export function isInTurn(conv, entry) {
  if (conv.state !== "working" && conv.state !== "waiting" && conv.state !== "stuck") return false;
  let at = conv.entries.length - 1;
  while (at >= 0 && conv.entries[at].role !== "assistant" && conv.entries[at].role !== "user") at -= 1;
  return conv.entries[at] === entry;
}

/**
 * An entry made here from an event, which the agent's session does not know.
 * @param {Entry} entry
 */
function isOurs(entry) {
  return entry.id.startsWith("note:") || entry.id.startsWith("message:");
}

/**
 * The conversation itself changed (/new, /resume, a lost ring): what we show is of the past.
 * @param {Conversation} conv
 * @param {{reason?: string}} reset
 * @returns {Conversation}
 */
export function agentReset(conv, reset) {
  return { ...conv, need: "fresh", resetReason: reset.reason ?? "reset" };
}

/**
 * What a conversation knows of calls and results with some entries more; the same objects if they add none,
 * for a copy costs as much as the conversation is long.
 * @param {Conversation} conv
 * @param {Entry[]} entries
 */
function indexed(conv, entries) {
  const types = new Set(entries.flatMap((entry) => entry.blocks.map((block) => block.type)));
  if (!types.has("tool_call") && !types.has("tool_result")) return { results: conv.results, called: conv.called };
  const results = new Map(conv.results);
  const called = new Set(conv.called);
  for (const entry of entries) indexBlocks(entry, results, called);
  return { results, called };
}

/**
 * @param {Entry} entry
 * @param {Map<string, Block>} results
 * @param {Set<string>} called
 */
function indexBlocks(entry, results, called) {
  for (const block of entry.blocks) {
    if (block.type === "tool_result") results.set(block.call_id, block);
    if (block.type === "tool_call") called.add(block.call_id);
  }
}

/**
 * @param {Entry[]} entries
 * @param {string | null | undefined} message_id
 */
function isKnown(entries, message_id) {
  return Boolean(message_id) && indexOfMessage(entries, message_id) >= 0;
}

/**
 * @param {Entry[]} entries
 * @param {string | null | undefined} message_id
 */
function indexOfMessage(entries, message_id) {
  return lastIndex(entries, (entry) => entry.message_id === message_id);
}

/**
 * From the newest backwards, and not for ever: what is still open is near the end.
 * @param {Entry[]} entries
 * @param {(entry: Entry) => boolean} fits
 */
function lastIndex(entries, fits) {
  for (let at = entries.length - 1; at >= Math.max(0, entries.length - 500); at -= 1) if (fits(entries[at])) return at;
  return -1;
}

/** @param {StreamEvent} event */
function usageOf(event) {
  const { input_tokens, output_tokens, cost_usd, context } = event.usage ?? event;
  return { input_tokens, output_tokens, cost_usd, context: context ?? null };
}
