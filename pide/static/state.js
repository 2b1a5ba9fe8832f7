/**
 * All that this page knows from the server, and `apply(state, event) => state`, the one way it changes. Pure:
 * no DOM, no clock, no network. Server truth comes in only as notifications and answers; a reload rebuilds
 * everything from mesh.get and agent.attach.
 */

import { emptyInbox } from "./approvals.js";
import { agentEvents, agentReset, attach, emptyConversation, olderEntries } from "./conversation.js";
import { emptyDisk, historyTold, movedTo, pictureRead, rowsChanged, rowsRead } from "./disks.js";
import { meshChanged, meshFrom } from "./mesh.js";
import { promptChanged, promptDismissed, promptSent } from "./prompts.js";
import { scrollChanged, scrollFrom } from "./scrolls.js";
import { emptyTrust, trustTold } from "./trust.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./scrolls.js").KnownScroll} KnownScroll */
/** @typedef {import("./disks.js").Disk} Disk */
/** @typedef {import("./pxldisk.js").Picture} Picture */

/**
 * @typedef {{agent: string, at: string, took_ms: number | null, error: string, evidence: import("./protocol.js").Evidence | null, choices: import("./protocol.js").Choices | null}} Probe
 *   One question sent to an agent's node on the way that this page uses, and its answer.
 */

/**
 * @typedef {object} State
 * @property {import("./socket.js").Status} link
 * @property {import("./protocol.js").Me | null} me
 * @property {import("./mesh.js").Mesh | null} mesh
 * @property {number | null} heardAt            when the mesh was last known to be true, ms
 * @property {ReadonlyMap<string, Conversation>} conversations  by agent, least recently opened first
 * @property {import("./prompts.js").Prompts} prompts
 * @property {ReadonlyMap<string, KnownScroll[]>} scrolls by agent
 * @property {Probe | null} probe               of the open agent
 * @property {import("./disks.js").Disks} disks
 * @property {import("./trust.js").Trust} trust what admins are told
 * @property {import("./approvals.js").Inbox} inbox  what waits for a person, on all machines
 */

/**
 * @typedef {{type: "link", status: import("./socket.js").Status, at: number}
 *   | {type: "mesh.get", result: import("./protocol.js").MeshGet, at: number}
 *   | {type: "mesh.changed", params: import("./protocol.js").MeshChanged}
 *   | {type: "agent.opened", agent: string}
 *   | {type: "agent.attached", result: import("./protocol.js").Attached}
 *   | {type: "agent.detached", agent: string}
 *   | {type: "agent.events", params: import("./protocol.js").AgentEvents}
 *   | {type: "agent.reset", params: {agent: string, epoch?: string, reason?: string}}
 *   | {type: "agent.history", agent: string, result: {entries: import("./protocol.js").Entry[], more: boolean}}
 *   | {type: "agent.probed", probe: Probe, tools?: import("./protocol.js").Tool[]}
 *   | {type: "prompt.sent", prompt: import("./prompts.js").Prompt}
 *   | {type: "prompt.changed", params: {agent: string, id: string, receipt: import("./prompts.js").PromptReceipt, error?: string}}
 *   | {type: "prompt.dismissed", agent: string, id: string}
 *   | {type: "scroll.list", agent: string, scrolls: any[]}
 *   | {type: "scroll.sent", agent: string, scroll: any}
 *   | {type: "scroll.changed", params: any}
 *   | {type: "inbox.told", approvals: import("./protocol.js").Approval[], complete: boolean}
 *   | {type: "inbox.failed", error: string}
 *   | import("./trust.js").TrustHappening
 *   | DiskHappening} Happening
 */

/**
 * @typedef {{type: "disk.chosen", node: string, bank: number}
 *   | {type: "disk.listed", node: string, banks: number[]}
 *   | {type: "disk.picture", node: string, bank: number, picture: Picture, at: number}
 *   | {type: "disk.changed", params: import("./protocol.js").DiskChanged, at: number}
 *   | {type: "disk.rows", node: string, bank: number, rows: {row: number, content: Uint8Array}[]}
 *   | {type: "disk.settled", node: string, bank: number, rows: number[]}
 *   | {type: "disk.history", node: string, bank: number, result: import("./protocol.js").DiskHistory}
 *   | {type: "disk.moment", node: string, bank: number, moment: {commit: number, at: string, picture: Picture} | null, at: number}
 *   | {type: "disk.checked", node: string, check: Disk["check"]}
 *   | {type: "disk.failed", node: string, error: string}} DiskHappening
 */

const KEPT_CONVERSATIONS = 8; // enough to flip between agents; each may hold thousands of entries

/** @returns {State} */
export function emptyState() {
  return {
    link: { phase: "stopped" },
    me: null,
    mesh: null,
    heardAt: null,
    conversations: new Map(),
    prompts: new Map(),
    scrolls: new Map(),
    probe: null,
    disks: new Map(),
    trust: emptyTrust(),
    inbox: emptyInbox(),
  };
}

/**
 * @param {State} state
 * @param {Happening} event
 * @returns {State}
 */
export function apply(state, event) {
  switch (event.type) {
    case "link":
      return linkChanged(state, event);
    case "mesh.get":
      return { ...state, mesh: meshFrom(event.result), me: event.result.me, heardAt: event.at };
    case "mesh.changed":
      return state.mesh ? { ...state, mesh: meshChanged(state.mesh, event.params) } : state;
    case "agent.opened":
      return opened(state, event.agent);
    case "agent.attached":
      return withConversation(state, event.result.agent, (conv) => attach(conv, event.result));
    case "agent.detached":
      return withConversation(state, event.agent, (conv) => ({ ...conv, attached: false }));
    case "agent.events":
      return eventsCame(state, event.params);
    case "agent.reset":
      return withConversation(state, event.params.agent, (conv) => agentReset(conv, event.params));
    case "agent.history":
      return withConversation(state, event.agent, (conv) => olderEntries(conv, event.result));
    case "agent.probed":
      return probed(state, event);
    case "prompt.sent":
      return { ...state, prompts: promptSent(state.prompts, event.prompt) };
    case "prompt.changed":
      return { ...state, prompts: promptChanged(state.prompts, event.params) };
    case "prompt.dismissed":
      return { ...state, prompts: promptDismissed(state.prompts, event.agent, event.id) };
    case "scroll.list":
      return { ...state, scrolls: new Map(state.scrolls).set(event.agent, event.scrolls.map(scrollFrom)) };
    case "scroll.sent":
      return {
        ...state,
        scrolls: new Map(state.scrolls).set(event.agent, [
          ...(state.scrolls.get(event.agent) ?? []),
          scrollFrom(event.scroll),
        ]),
      };
    case "scroll.changed":
      return {
        ...state,
        scrolls: new Map([...state.scrolls].map(([agent, list]) => [agent, scrollChanged(list, event.params)])),
      };
    case "inbox.told":
      return { ...state, inbox: { approvals: event.approvals, told: true, complete: event.complete, error: "" } };
    case "inbox.failed":
      return { ...state, inbox: { ...state.inbox, error: event.error } };
    case "trust.tokens":
    case "trust.sessions":
    case "trust.nearby":
    case "trust.trail":
    case "trust.trailBusy":
    case "trust.trailNewer":
    case "trust.verdict":
    case "trust.failed":
      return { ...state, trust: trustTold(state.trust, event) };
    default:
      return diskHappened(state, event);
  }
}

/**
 * What is of another bank than the one that is looked at comes too late, and is no longer wanted.
 * @param {State} state
 * @param {DiskHappening} event
 * @returns {State}
 */
function diskHappened(state, event) {
  const { node, bank } = event.type === "disk.changed" ? event.params : { bank: undefined, ...event };
  const disk = state.disks.get(node) ?? emptyDisk();
  if (event.type !== "disk.chosen" && bank !== undefined && bank !== disk.bank) return state;
  const next = diskAfter(disk, event);
  return next === disk && state.disks.has(node) ? state : { ...state, disks: new Map(state.disks).set(node, next) };
}

/**
 * @param {Disk} disk
 * @param {DiskHappening} event
 * @returns {Disk}
 */
function diskAfter(disk, event) {
  switch (event.type) {
    case "disk.chosen":
      return { ...emptyDisk(event.bank), banks: disk.banks, check: disk.check };
    case "disk.listed":
      return { ...disk, banks: event.banks, error: "" };
    case "disk.picture":
      return pictureRead(disk, event.picture, event.at);
    case "disk.changed":
      return rowsChanged(disk, event.params.rows, event.at);
    case "disk.rows":
      return rowsRead(disk, event.rows);
    case "disk.settled":
      return { ...disk, told: new Map([...disk.told].filter(([row]) => !event.rows.includes(row))) };
    case "disk.history":
      return historyTold(disk, event.result);
    case "disk.moment":
      return movedTo(disk, event.moment, event.at);
    case "disk.checked":
      return { ...disk, check: event.check };
    case "disk.failed":
      return { ...disk, error: event.error };
  }
}

/**
 * A lost link takes nothing away: what was known stays readable, marked as not attached.
 * @param {State} state
 * @param {{status: import("./socket.js").Status, at: number}} event
 */
function linkChanged(state, { status, at }) {
  const wasOpen = state.link.phase === "open";
  const conversations =
    status.phase === "open" || !wasOpen
      ? state.conversations
      : new Map([...state.conversations].map(([id, conv]) => [id, { ...conv, attached: false }]));
  return { ...state, link: status, conversations, heardAt: wasOpen ? at : state.heardAt };
}

/**
 * @param {State} state
 * @param {{probe: Probe, tools?: import("./protocol.js").Tool[]}} event
 */
function probed(state, { probe, tools }) {
  const known = tools ? withConversation(state, probe.agent, (conv) => ({ ...conv, tools })) : state;
  return { ...known, probe };
}

/**
 * @param {State} state
 * @param {string} agent
 */
function opened(state, agent) {
  const conversations = new Map(state.conversations);
  const conv = conversations.get(agent) ?? emptyConversation(agent);
  conversations.delete(agent);
  conversations.set(agent, conv);
  for (const oldest of conversations.keys()) {
    if (conversations.size <= KEPT_CONVERSATIONS) break;
    conversations.delete(oldest);
  }
  return { ...state, conversations };
}

/**
 * @param {State} state
 * @param {import("./protocol.js").AgentEvents} params
 */
function eventsCame(state, params) {
  const next = withConversation(state, params.agent, (conv) => agentEvents(conv, params));
  let { prompts } = next;
  for (const event of params.events) {
    if (!event.prompt_id) continue;
    const about = { agent: params.agent, id: event.prompt_id };
    // The echo in the conversation is the proof of delivery, whichever notification comes first.
    if (event.type === "user_message") prompts = promptChanged(prompts, { ...about, receipt: "delivered" });
    // The agent says that it lost one.
    if (event.type === "notice") prompts = promptChanged(prompts, { ...about, receipt: "unknown", error: event.text });
  }
  return prompts === next.prompts ? next : { ...next, prompts };
}

/**
 * @param {State} state
 * @param {string} agent
 * @param {(conv: Conversation) => Conversation} change
 * @returns {State}
 */
function withConversation(state, agent, change) {
  const conv = state.conversations.get(agent);
  if (!conv) return state;
  const next = change(conv);
  return next === conv ? state : { ...state, conversations: new Map(state.conversations).set(agent, next) };
}
