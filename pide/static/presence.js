/**
 * What may honestly be said about an agent or a node, and on what evidence. Pure.
 *
 * A state is only shown as true while the whole path to it is there: our link, its node, the agent itself.
 * Otherwise it is what was last known, and says since when and which part is gone.
 */

import { age, ago, bytes, clockTime } from "./format.js";

/** @typedef {import("./protocol.js").Agent} Agent */
/** @typedef {import("./protocol.js").Node} Node */
/** @typedef {import("./state.js").State} State */

/** @typedef {{tone: string, word: string, note: string, stale: boolean}} Presence */

const QUIET_MS = 10 * 60_000; // "working" without one event for this long needs saying

/**
 * @param {State} state
 * @param {Agent} agent
 * @param {number} now
 * @returns {Presence}
 */
export function agentPresence(state, agent, now) {
  const node = state.mesh?.nodes.get(agent.node);
  if (agent.state === "exited") {
    return { tone: "exited", word: "ended", note: agent.detail ?? "", stale: false };
  }
  if (state.link.phase !== "open") {
    return { tone: "stale", word: `was ${agent.was ?? agent.state}`, note: `as of ${clockTime(state.heardAt)}`, stale: true };
  }
  if (!node || node.state !== "online") {
    const note = node?.last_heard ? `last heard ${ago(node.last_heard, now)}` : `its machine is ${node?.state ?? "unknown"}`;
    return { tone: "stale", word: `was ${agent.was ?? agent.state}`, note, stale: true };
  }
  if (agent.state === "unreachable") {
    return { tone: "unreachable", word: "unreachable", note: agent.detail ?? "its connection dropped", stale: true };
  }
  const last = agent.last_event ? Date.parse(agent.last_event) : Number.NaN;
  if (agent.state === "working" && now - last > QUIET_MS) {
    return { tone: "quiet", word: "working", note: `silent for ${age(agent.last_event, now)}`, stale: false };
  }
  return { tone: agent.state, word: agent.state, note: agent.detail ?? "", stale: false };
}

/**
 * @param {State} state
 * @param {Node} node
 * @param {number} now
 * @returns {Presence}
 */
export function nodePresence(state, node, now) {
  if (state.link.phase !== "open") {
    return { tone: "stale", word: `was ${node.state}`, note: `as of ${clockTime(state.heardAt)}`, stale: true };
  }
  if (node.state === "online") {
    return { tone: "online", word: "online", note: `heard ${heardWords(state, node, now)}`, stale: false };
  }
  if (node.state === "pending") {
    return { tone: "waiting", word: "wants to join", note: "compare the code, then approve", stale: false };
  }
  const note = node.last_heard ? `heard ${ago(node.last_heard, now)}` : "";
  return { tone: node.state === "left" ? "exited" : "stale", word: node.state, note, stale: true };
}

/**
 * When a node was last heard. While it is online not every heartbeat is told to viewers; being online means
 * that the last one is no older than the limit.
 * @param {State} state
 * @param {Node} node
 * @param {number} now
 */
export function heardWords(state, node, now) {
  const within_s = state.mesh?.limits.disconnected_s;
  const isOlder = now - Date.parse(node.last_heard ?? "") > (within_s ?? 0) * 1_000;
  if (state.link.phase === "open" && node.state === "online" && within_s && isOlder) return `within the last ${within_s} s`;
  return ago(node.last_heard, now);
}

/**
 * The proofs behind an agent's state, in words. A probe of this page is newer than what the roster tells,
 * which changes with states and not with every heartbeat.
 * @param {Agent} agent
 * @param {number} now
 * @param {import("./state.js").Probe | null} [probe]
 * @returns {{name: string, text: string, title: string}[]}
 */
export function evidenceLines(agent, now, probe) {
  const ours = probe?.agent === agent.id ? probe : null;
  const { process, stream, turn, heartbeat } = newest(agent.evidence ?? {}, ours?.evidence ?? {});
  const path = ours && {
    name: "path",
    text: ours.error ? `no answer: ${ours.error}` : `answered in ${Math.max(1, Math.round(ours.took_ms ?? 0))} ms, ${ago(ours.at, now)}`,
    title: "a question from this page to the agent's machine and back",
  };
  return [
    ...(path ? [path] : []),
    { name: "process", text: process ? `seen ${ago(process, now)}` : "not seen", title: "its pid and start time were checked at the node" },
    { name: "stream", text: stream ? `heard ${ago(stream, now)}` : "nothing heard", title: "the last message or answer from the agent" },
    { name: "turn", text: turn ? `moved ${ago(turn, now)}` : "no turn yet", title: "the last step of a turn" },
    ...(heartbeat ? [{ name: "heartbeat", text: `answered ${ago(heartbeat, now)}`, title: "the last time that it answered whether it is there" }] : []),
    ...(agent.load
      ? [{ name: "load", text: `${agent.load.cpu.toFixed(2)} cores, ${bytes(agent.load.mem_bytes)}`, title: "of its process and all that it has started" }]
      : []),
  ];
}

/**
 * @param {import("./protocol.js").Evidence} one
 * @param {import("./protocol.js").Evidence} other
 * @returns {import("./protocol.js").Evidence}
 */
function newest(one, other) {
  const later = (/** @type {string | null | undefined} */ a, /** @type {string | null | undefined} */ b) => ((a ?? "") > (b ?? "") ? a : b);
  return { process: later(one.process, other.process), stream: later(one.stream, other.stream), turn: later(one.turn, other.turn), heartbeat: later(one.heartbeat, other.heartbeat) };
}

/**
 * In a turn, though it may wait for a person meanwhile, or be stuck: then most of all it may have to be aborted.
 * @param {Agent | undefined} agent
 */
export function isBusy(agent) {
  return agent?.state === "working" || agent?.state === "waiting" || agent?.state === "stuck";
}

/**
 * Agents that wait for a person, or that are stuck.
 * @param {Agent} agent
 */
export function needsPerson(agent) {
  return agent.state === "waiting" || agent.state === "stuck";
}

/**
 * Agents that broke off by mishap on machines that are there, so that they can be gone on with.
 * @param {State} state
 * @param {ReadonlySet<string>} passedOver  those that this viewer has put off
 * @returns {Agent[]}
 */
export function offeredAgain(state, passedOver) {
  const { agents, nodes } = state.mesh ?? {};
  return [...(agents?.values() ?? [])].filter(
    (agent) => agent.resume === "offered" && !passedOver.has(agent.id) && nodes?.get(agent.node)?.state === "online",
  );
}

/**
 * Which part of the way to this agent is gone, for the line above its conversation.
 * @param {State} state
 * @param {Agent | undefined} agent
 * @param {number} now
 * @returns {{tone: "bad" | "warn" | "info", text: string} | null}
 */
export function gapOnTheWay(state, agent, now) {
  if (!agent || state.link.phase !== "open") return null; // the banner speaks of the link
  const node = state.mesh?.nodes.get(agent.node);
  if (agent.state === "exited") {
    return { tone: "info", text: `This agent ended${agent.detail ? `: ${agent.detail}` : ""}. Its conversation stays readable.` };
  }
  if (!node) return { tone: "warn", text: "The node of this agent is not in the mesh any more." };
  if (node.state !== "online") {
    const heard = node.last_heard ? `; last heard ${ago(node.last_heard, now)}` : "";
    const asleep = node.state === "left" ? `${node.name} has left the mesh` : `${node.name} is not reachable${heard}`;
    return { tone: "warn", text: `${asleep}. The agent may well be running there. This is the last that was seen.` };
  }
  if (agent.state === "unreachable") {
    return { tone: "warn", text: `${node.name} is there, this agent does not answer${agent.detail ? `: ${agent.detail}` : ""}.` };
  }
  if (agent.state === "stuck") return { tone: "bad", text: `This agent seems stuck${agent.detail ? `: ${agent.detail}` : ""}.` };
  return null;
}
