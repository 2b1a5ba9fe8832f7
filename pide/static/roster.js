/**
 * The roster as a flat list of rows of known height: machines, their projects, their agents. Pure, and cheap
 * enough for ten thousand agents; the view draws only the rows in sight.
 */

import { successorsIn } from "./mesh.js";
import { needsPerson } from "./presence.js";
import { baseName } from "./format.js";

/** @typedef {import("./protocol.js").Agent} Agent */
/** @typedef {import("./protocol.js").Node} Node */
/** @typedef {import("./mesh.js").Mesh} Mesh */

/**
 * @typedef {{kind: "node", key: string, node: Node, folded: boolean}
 *   | {kind: "project", key: string, name: string}
 *   | {kind: "agent", key: string, agent: Agent, after?: Agent}
 *   | {kind: "ended", key: string, node: string, count: number, shown: boolean}
 *   | {kind: "empty", key: string, text: string}} Row
 */

/** Pixels of each kind of row; the style sheet says the same. */
export const HEIGHT = { node: 38, project: 24, agent: 46, ended: 28, empty: 30 };
export const HEIGHT_TOUCH = { node: 46, project: 28, agent: 58, ended: 44, empty: 36 };

const byName = new Intl.Collator().compare; // many times faster than localeCompare in a sort

/** @param {Agent} agent */
export function projectOf(agent) {
  return agent.project ? baseName(agent.project) : baseName(agent.cwd);
}

/**
 * An ended agent that another one went on with is not listed, unless it is looked for: the other one has its name
 * and its conversation.
 * @param {Mesh} mesh
 * @param {{filter: string, chip: import("./ui.js").Chip, folded: ReadonlySet<string>, endedShown: ReadonlySet<string>}} look
 * @returns {Row[]}
 */
export function rosterRows(mesh, { filter, chip, folded, endedShown }) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const narrowed = words.length > 0 || chip !== "all";
  /** @type {Map<string, Agent[]>} */
  const byNode = new Map();
  const successors = successorsIn(mesh.agents);
  for (const agent of mesh.agents.values()) {
    if (words.length === 0 && agent.state === "exited" && successors.has(agent.id)) continue;
    if (!fitsChip(agent, chip) || !fitsWords(mesh, agent, words)) continue;
    const list = byNode.get(agent.node);
    if (list) list.push(agent);
    else byNode.set(agent.node, [agent]);
  }
  /** @type {Row[]} */
  const rows = [];
  for (const node of sortedNodes(mesh, byNode)) {
    const agents = byNode.get(node.id) ?? [];
    if (narrowed && !agents.length && !(words.length && hasWords(node.name, words))) continue;
    const isFolded = !narrowed && folded.has(node.id);
    rows.push({ kind: "node", key: `n:${node.id}`, node, folded: isFolded });
    if (!isFolded) rows.push(...rowsOfNode(node, agents, successors, narrowed, endedShown));
  }
  return rows;
}

/**
 * @param {Node} node
 * @param {Agent[]} agents
 * @param {ReadonlyMap<string, Agent>} successors
 * @param {boolean} narrowed
 * @param {ReadonlySet<string>} endedShown
 * @returns {Row[]}
 */
function rowsOfNode(node, agents, successors, narrowed, endedShown) {
  const ended = agents.filter((agent) => agent.state === "exited");
  const showEnded = narrowed || endedShown.has(node.id);
  const shown = showEnded ? agents : agents.filter((agent) => agent.state !== "exited");
  shown.sort((a, b) => byName(projectOf(a), projectOf(b)) || byName(a.name, b.name) || (a.id < b.id ? -1 : 1));
  /** @type {Row[]} */
  const rows = [];
  let project = "";
  for (const agent of shown) {
    const name = projectOf(agent);
    if (name !== project || rows.length === 0) rows.push({ kind: "project", key: `p:${node.id}:${name}`, name });
    project = name;
    rows.push({ kind: "agent", key: `a:${agent.id}`, agent, after: successors.get(agent.id) });
  }
  if (!shown.length && !narrowed && node.state !== "pending") {
    rows.push({ kind: "empty", key: `e:${node.id}`, text: ended.length ? "no agent running" : "no agents yet" });
  }
  if (ended.length && !narrowed) {
    rows.push({ kind: "ended", key: `x:${node.id}`, node: node.id, count: ended.length, shown: showEnded });
  }
  return rows;
}

/**
 * Those that wait for approval first, then by name; a place that does not change when a machine sleeps.
 * @param {Mesh} mesh
 * @param {Map<string, Agent[]>} byNode
 * @returns {Node[]}
 */
function sortedNodes(mesh, byNode) {
  const nodes = [...mesh.nodes.values()];
  for (const id of byNode.keys()) {
    // An agent is never dropped from sight because its node is not told.
    if (!mesh.nodes.has(id)) nodes.push({ id, name: id, state: "lost" });
  }
  const first = (/** @type {Node} */ node) => (node.state === "pending" ? 0 : 1);
  return nodes.sort((a, b) => first(a) - first(b) || byName(a.name, b.name));
}

/**
 * @param {Agent} agent
 * @param {import("./ui.js").Chip} chip
 */
function fitsChip(agent, chip) {
  if (chip === "needs") return needsPerson(agent);
  if (chip === "working") return agent.state === "working" || agent.state === "starting";
  if (chip === "ended") return agent.state === "exited";
  return true;
}

/**
 * @param {Mesh} mesh
 * @param {Agent} agent
 * @param {string[]} words
 */
function fitsWords(mesh, agent, words) {
  if (!words.length) return true;
  const node = mesh.nodes.get(agent.node)?.name ?? "";
  return hasWords(`${agent.name}@${node} ${agent.cwd} ${agent.model ?? ""} ${agent.kind} ${agent.state}`, words);
}

/**
 * @param {string} text
 * @param {string[]} words
 */
function hasWords(text, words) {
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

/**
 * The rows in sight, and the room that the others take above and below.
 * @param {Row[]} rows
 * @param {Record<Row["kind"], number>} heights
 * @param {number} top     scrolled, in pixels
 * @param {number} height  of the window
 * @returns {{above: number, below: number, rows: Row[]}}
 */
export function inSight(rows, heights, top, height) {
  const margin = height; // one window each way, so that fast scrolling finds rows there
  let at = 0;
  let above = 0;
  while (at < rows.length && above + heights[rows[at].kind] < top - margin) {
    above += heights[rows[at].kind];
    at += 1;
  }
  let used = above;
  let end = at;
  while (end < rows.length && used < top + height + margin) {
    used += heights[rows[end].kind];
    end += 1;
  }
  let below = 0;
  for (let rest = end; rest < rows.length; rest += 1) below += heights[rows[rest].kind];
  return { above, below, rows: rows.slice(at, end) };
}

/**
 * Where a row begins, in pixels; -1 if it is not there.
 * @param {Row[]} rows
 * @param {Record<Row["kind"], number>} heights
 * @param {string} key
 */
export function offsetOf(rows, heights, key) {
  let top = 0;
  for (const row of rows) {
    if (row.key === key) return top;
    top += heights[row.kind];
  }
  return -1;
}
