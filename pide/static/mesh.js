/**
 * What the mesh has: nodes and agents as of one revision. Pure.
 *
 * `mesh.changed` covers the revisions (from, rev]. Applying one twice is harmless; a hole, or another epoch
 * (a restarted hypivisor counts from new), makes the view `stale`: whoever wires this asks `mesh.get` again.
 */

import { visible } from "./format.js";

/** @typedef {import("./protocol.js").Agent} Agent */
/** @typedef {import("./protocol.js").Node} Node */

/**
 * @typedef {object} Mesh
 * @property {string} name
 * @property {string} epoch
 * @property {number} rev
 * @property {boolean} stale  a change is missing: ask mesh.get
 * @property {ReadonlyMap<string, Node>} nodes
 * @property {ReadonlyMap<string, Agent>} agents
 * @property {import("./protocol.js").Limits} limits
 */

const NODE_WORDS = ["name", "platform", "version", "address"];
const AGENT_WORDS = ["name", "address", "cwd", "project", "detail", "model"];

/**
 * Names are chosen by machines and programs: what would not be seen in them is made visible once, here, so
 * that no view can show `ada` for something else.
 * @template {object} T
 * @param {T} item
 * @param {string[]} words fields that people read
 * @returns {T}
 */
function legible(item, words) {
  const fields = /** @type {Record<string, unknown>} */ (item);
  /** @type {Record<string, string>} */
  const changed = {};
  for (const word of words) {
    const text = fields[word];
    if (typeof text !== "string") continue;
    const shown = visible(text);
    if (shown !== text) changed[word] = shown;
  }
  return Object.keys(changed).length ? { ...item, ...changed } : item;
}

/**
 * @param {import("./protocol.js").MeshGet} got
 * @returns {Mesh}
 */
export function meshFrom(got) {
  return {
    name: got.mesh,
    epoch: got.epoch,
    rev: got.rev,
    stale: false,
    nodes: new Map(got.nodes.map((node) => [node.id, legible(node, NODE_WORDS)])),
    agents: new Map(got.agents.map((agent) => [agent.id, legible(agent, AGENT_WORDS)])),
    limits: got.limits ?? {},
  };
}

/**
 * @param {Mesh} mesh
 * @param {import("./protocol.js").MeshChanged} change
 * @returns {Mesh}
 */
export function meshChanged(mesh, change) {
  if (change.epoch !== mesh.epoch || change.from > mesh.rev) return { ...mesh, stale: true };
  if (change.rev <= mesh.rev) return mesh;
  const gone = goneIds(change.gone);
  return {
    ...mesh,
    rev: change.rev,
    nodes: merged(mesh.nodes, change.nodes?.map((node) => legible(node, NODE_WORDS)), gone),
    agents: merged(mesh.agents, change.agents?.map((agent) => legible(agent, AGENT_WORDS)), gone),
  };
}

/**
 * A map with some members replaced and some taken out; the same map if nothing of it changes, so that a
 * view of it need not be drawn again.
 * @template {{id: string}} T
 * @param {ReadonlyMap<string, T>} old
 * @param {T[] | undefined} changed
 * @param {string[]} gone
 * @returns {ReadonlyMap<string, T>}
 */
function merged(old, changed, gone) {
  const leaving = gone.filter((id) => old.has(id));
  if (!changed?.length && !leaving.length) return old;
  const next = new Map(old);
  for (const item of changed ?? []) next.set(item.id, item);
  for (const id of leaving) next.delete(id);
  return next;
}

/**
 * Ids that left: a list, or lists by kind.
 * @param {unknown} gone
 * @returns {string[]}
 */
function goneIds(gone) {
  if (Array.isArray(gone)) return gone.map((item) => (typeof item === "object" && item ? item.id : item));
  if (gone && typeof gone === "object") return Object.values(gone).flatMap(goneIds);
  return [];
}

/**
 * Whether what an agent's state says can still be true: its node is there.
 * @param {Mesh} mesh
 * @param {Agent} agent
 */
export function isReachable(mesh, agent) {
  return mesh.nodes.get(agent.node)?.state === "online" && agent.state !== "exited" && agent.state !== "unreachable";
}

/** @type {WeakMap<ReadonlyMap<string, Agent>, ReadonlyMap<string, Agent>>} */
const successors = new WeakMap();

/**
 * Who went on with which ended agent, by the ended one's id: the newest, if that one was gone on with in its turn.
 * @param {ReadonlyMap<string, Agent>} agents
 * @returns {ReadonlyMap<string, Agent>}
 */
export function successorsIn(agents) {
  let found = successors.get(agents);
  if (found) return found;
  /** @type {Map<string, Agent>} */
  const next = new Map();
  for (const agent of agents.values()) if (agent.resumed_from && agents.has(agent.resumed_from)) next.set(agent.resumed_from, agent);
  /** @type {Map<string, Agent>} */
  const last = new Map();
  for (const [id, agent] of next) {
    let newest = agent;
    const seen = new Set([id]);
    for (let after = next.get(newest.id); after && !seen.has(newest.id); after = next.get(newest.id)) {
      seen.add(newest.id);
      newest = after;
    }
    last.set(id, newest);
  }
  found = last;
  successors.set(agents, found);
  return found;
}
