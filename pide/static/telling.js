/**
 * Whom to tell of what while nobody looks at the page: agents that begin to wait for a person, that get stuck, that
 * have come to the end of a long turn. Pure: no DOM, no clock.
 *
 * Only what changes is told. What was so when the page was opened, or while somebody looked, is no news.
 */

import { span } from "./format.js";
import { isReachable } from "./mesh.js";
import { isBusy } from "./presence.js";

/** @typedef {import("./protocol.js").Agent} Agent */
/** @typedef {import("./mesh.js").Mesh} Mesh */

/** @typedef {{agent: string, why: "waiting" | "stuck" | "finished", title: string, body: string}} Note  at most one of an agent */

/**
 * @typedef {object} Known      an agent as it was last heard of
 * @property {Agent} agent
 * @property {number} began     when its turn did, by its node's clock, ms; NaN: it is in none, or nobody saw
 * @property {boolean} wasStuck in this turn
 */

/**
 * @typedef {object} Told
 * @property {ReadonlyMap<string, Known> | null} known  null: the mesh was not seen yet
 * @property {ReadonlyMap<string, Note>} notes          shown, and neither answered nor looked at since
 */

const LONG_TURN_MS = 30_000; // nobody has gone away from a shorter one
const MOST_NOTES = 12; // at once; more are a wall that nobody reads, and the title of the page counts them all
const MOST_CHARACTERS = 140;
const URGENCY = { waiting: 0, stuck: 1, finished: 2 };

/** @returns {Told} */
export function nothingTold() {
  return { known: null, notes: new Map() };
}

/**
 * @param {Told} told
 * @param {Mesh | null} mesh
 * @param {object} eyes
 * @param {boolean} eyes.looked   somebody looks at the page
 * @param {boolean} eyes.allowed  the person and the browser want notes
 * @returns {{told: Told, show: Note[], close: string[]}}  close: the agents whose notes are over
 */
export function tell(told, mesh, { looked, allowed }) {
  if (!mesh) return { told, show: [], close: [] };
  const mayTell = allowed && !looked;
  /** @type {Map<string, Known>} */
  const known = new Map();
  /** @type {Note[]} */
  const open = [];
  for (const agent of mesh.agents.values()) {
    const then = told.known?.get(agent.id);
    const now = isHeard(mesh, agent) ? heard(then, agent) : then;
    if (!now) continue;
    known.set(agent.id, now);
    if (!mayTell) continue;
    const shown = told.notes.get(agent.id);
    const note = (told.known && now !== then && newsOf(then, now)) || (shown && stillHolds(shown, now.agent) ? shown : null);
    if (note) open.push(note);
  }
  open.sort((one, other) => URGENCY[one.why] - URGENCY[other.why]);
  const notes = new Map(open.slice(0, MOST_NOTES).map((note) => [note.agent, note]));
  return {
    told: { known, notes },
    show: [...notes.values()].filter((note) => told.notes.get(note.agent) !== note),
    close: [...told.notes.keys()].filter((agent) => !notes.has(agent)),
  };
}

/**
 * What an agent is said to do is true only while its machine is there; that it ended stays true.
 * @param {Mesh} mesh
 * @param {Agent} agent
 */
function isHeard(mesh, agent) {
  return agent.state === "exited" || isReachable(mesh, agent);
}

/**
 * @param {Known | undefined} then
 * @param {Agent} agent
 * @returns {Known}
 */
function heard(then, agent) {
  if (then?.agent === agent) return then;
  // A question may come outside of any turn: to wait does not begin one.
  const since = agent.state === "waiting" ? Number.NaN : Date.parse(agent.since ?? "");
  const before = then?.began ?? Number.NaN;
  const began = !isBusy(agent) ? Number.NaN : Number.isNaN(before) ? since : before;
  return { agent, began, wasStuck: isBusy(agent) && (agent.state === "stuck" || then?.wasStuck === true) };
}

/**
 * @param {Known | undefined} then
 * @param {Known} now
 * @returns {Note | null}
 */
function newsOf(then, { agent }) {
  const note = (/** @type {Note["why"]} */ why, /** @type {string} */ words) => ({ agent: agent.id, why, title: agent.address ?? agent.name, body: oneLine(words) });
  const detail = agent.detail ? `: ${agent.detail}` : "";
  if (agent.state === "waiting") {
    const isSame = then?.agent.state === "waiting" && then.agent.detail === agent.detail;
    return isSame ? null : note("waiting", agent.detail || "waits for you"); // the detail is a sentence
  }
  if (agent.state === "stuck") return then?.wasStuck ? null : note("stuck", `seems stuck${detail}`);
  if (!then || isBusy(agent)) return null;
  const took_ms = Date.parse(agent.since ?? "") - then.began;
  if (!(took_ms > LONG_TURN_MS)) return null;
  if (agent.state === "exited") return note("finished", `has ended${detail}`);
  return note("finished", `has finished a turn of ${span(took_ms)}`);
}

/**
 * @param {Note} note
 * @param {Agent} agent
 */
function stillHolds(note, agent) {
  return note.why === "finished" ? !isBusy(agent) : agent.state === note.why;
}

/** @param {string} text */
function oneLine(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS - 1)}…` : line;
}
