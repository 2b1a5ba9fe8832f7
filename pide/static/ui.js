/**
 * What this page shows and how, as far as the server has no say in it: which agent is open, filters,
 * dialogs, drafts. Pure; but for what was put off or turned on (keeping.js) it lives in memory only.
 */

import { noFilter } from "./trust.js";

/** @typedef {"let-in" | "machines" | "logins" | "audit"} MeshTab */
/** @typedef {"conversation" | "terminal"} AgentLook */
/** @typedef {{kind: "none"} | {kind: "agent", id: string, look?: AgentLook} | {kind: "node", id: string} | {kind: "mesh", id: MeshTab} | {kind: "inbox"}} Route */
/** @typedef {"all" | "needs" | "working" | "ended"} Chip */

/**
 * @typedef {{kind: "spawn", node: string, path: string | null, listing: import("./protocol.js").Folders | null, hidden: boolean, newFolder: string | null, requestId: string, kinds: import("./protocol.js").AgentKind[], agentKind: string, command: string, headless: boolean, name: string, prompt: string}} SpawnDialog
 * @typedef {(SpawnDialog | {kind: "join", address: string} | {kind: "help"} | {kind: "confirm", title: string, text: string, verb: string, act: () => void} | {kind: "rename", agent: string, name: string} | {kind: "paste", text: string}) & {error?: string, busy?: boolean}} Dialog
 */

/**
 * @typedef {{id: string, text: string, expires: string, qr: string[] | null, role: string}} Made  a token's command or text, or a login link; id: of the token
 *
 * @typedef {object} LetIn  whom an admin is about to let in
 * @property {"machine" | "browser" | "program"} what
 * @property {string} role
 * @property {string} name
 * @property {number} ttl_s
 * @property {number} uses   0: until it expires
 * @property {Made | null} made
 * @property {boolean} busy
 * @property {string} error
 */

/**
 * @typedef {object} DiskLook  how somebody looks at the PXLDisk that is on the screen
 * @property {number | null} row     pointed at
 * @property {number | null} opened  whose record is shown whole
 * @property {boolean} replay        the slider is there
 * @property {number | null} commit  where it is; null: now
 * @property {boolean} playing
 */

/**
 * @typedef {object} Ui
 * @property {Route} route
 * @property {"roster" | "stage" | "inspector"} screen  which pane a phone shows
 * @property {boolean} inspectorOpen
 * @property {"agent" | "scrolls" | "node"} tab
 * @property {string} filter
 * @property {Chip} chip
 * @property {ReadonlySet<string>} folded     groups of the roster
 * @property {ReadonlySet<string>} endedShown nodes whose ended agents are listed
 * @property {ReadonlySet<string>} fresh      agents that finished something since they were looked at
 * @property {string | null} cursor           agent that the keyboard points at
 * @property {ReadonlySet<string>} open       unfolded tools and thoughts
 * @property {number} shown                   entries of the conversation that are drawn
 * @property {boolean} follow                 stay with the newest
 * @property {number} unseen                  entries that came since the person scrolled up
 * @property {"idle" | "loading" | "failed" | "compacted"} history
 * @property {ReadonlyMap<string, string>} drafts
 * @property {ReadonlyMap<string, import("./protocol.js").Picture[]>} pictures  that go with the next prompt
 * @property {ReadonlyMap<string, import("./protocol.js").PromptMode>} modes
 * @property {{agent: string, word: string, items: import("./protocol.js").Completion[], chosen: number} | null} completion  how the word that is being written could go on
 * @property {ReadonlyMap<string, string>} attachErrors
 * @property {ReadonlySet<string>} putOff     approvals to which this viewer said "not now"
 * @property {ReadonlySet<string>} answering  approvals whose answer is on its way
 * @property {ReadonlySet<string>} resuming   ended agents that are being gone on with
 * @property {ReadonlySet<string>} putAway    prompts that ended agents had not taken, and the person is done with
 * @property {ReadonlySet<string>} passedOver interrupted agents that this viewer has put off
 * @property {boolean} tells                 who does not look is told what waits
 * @property {string} tellsNot                why not, and what to do
 * @property {DiskLook} disk
 * @property {LetIn} letIn
 * @property {import("./trust.js").TrailFilter} trailFilter
 * @property {boolean} endedTokens            list them too
 * @property {{to: string, message: string, busy: boolean, error: string}} scroll
 * @property {import("./terminal/session.js").Look | null} tty  of the terminal that is shown
 * @property {string} ttyError                 why it cannot be shown
 * @property {import("./terminal/player.js").Playing | null} playing  a recording that is looked at in its place
 * @property {Dialog | null} dialog
 * @property {{text: string, tone: "info" | "bad"} | null} toast
 * @property {{busy: boolean, error: string, reason: string} | null} login  the login page, if it is shown
 * @property {string} announced               said to a screen reader
 * @property {number} now
 * @property {number} countdown_s             until the next attempt to connect
 */

/** Entries drawn at first: about a screen, so that it is there at once. */
export const FIRST_SHOWN = 24;
/** More of them, when somebody scrolls up to them or the screen is not full. */
export const SHOWN_STEP = 60;

/** @returns {Ui} */
export function firstUi() {
  return {
    route: { kind: "none" },
    screen: "roster",
    inspectorOpen: true,
    tab: "agent",
    filter: "",
    chip: "all",
    folded: new Set(),
    endedShown: new Set(),
    fresh: new Set(),
    cursor: null,
    open: new Set(),
    shown: FIRST_SHOWN,
    follow: true,
    unseen: 0,
    history: "idle",
    drafts: new Map(),
    pictures: new Map(),
    modes: new Map(),
    completion: null,
    attachErrors: new Map(),
    putOff: new Set(),
    answering: new Set(),
    resuming: new Set(),
    putAway: new Set(),
    passedOver: new Set(),
    tells: false,
    tellsNot: "",
    disk: { row: null, opened: null, replay: false, commit: null, playing: false },
    letIn: { what: "machine", role: "operator", name: "", ttl_s: 900, uses: 1, made: null, busy: false, error: "" },
    trailFilter: noFilter(),
    endedTokens: false,
    scroll: { to: "", message: "", busy: false, error: "" },
    tty: null,
    ttyError: "",
    playing: null,
    dialog: null,
    toast: null,
    login: null,
    announced: "",
    now: Date.now(),
    countdown_s: 0,
  };
}

export const MESH_TABS = /** @type {MeshTab[]} */ (["let-in", "machines", "logins", "audit"]);

/**
 * The place that an address names: `#/a/ID` an agent (`#/a/ID/terminal` its terminal), `#/n/ID` a node,
 * `#/mesh/TAB` the page of the mesh, `#/inbox` what waits for a person.
 * @param {string} hash
 * @returns {Route}
 */
export function routeOf(hash) {
  if (hash === "#/inbox") return { kind: "inbox" };
  const tab = /^#\/mesh(?:\/([\w-]*))?$/.exec(hash);
  if (tab) return { kind: "mesh", id: MESH_TABS.find((one) => one === tab[1]) ?? "let-in" };
  const match = /^#\/([an])\/([^/]+)(?:\/(conversation|terminal))?$/.exec(hash);
  if (!match) return { kind: "none" };
  let id;
  try {
    id = decodeURIComponent(match[2]);
  } catch {
    return { kind: "none" };
  }
  if (match[1] === "n") return { kind: "node", id };
  return { kind: "agent", id, ...(match[3] && { look: /** @type {AgentLook} */ (match[3]) }) };
}

/** @param {Route} route */
export function addressOf(route) {
  if (route.kind === "none") return "#/";
  if (route.kind === "inbox") return "#/inbox";
  if (route.kind === "mesh") return `#/mesh/${route.id}`;
  const look = route.kind === "agent" && route.look ? `/${route.look}` : "";
  return `#/${route.kind === "agent" ? "a" : "n"}/${encodeURIComponent(route.id)}${look}`;
}

/**
 * Which of an agent's two sides is shown: as the address says, else a program's terminal, for it says nothing.
 * @param {Route} route
 * @param {import("./protocol.js").Agent | undefined} agent
 * @returns {AgentLook}
 */
export function lookOf(route, agent) {
  if (route.kind !== "agent" || !agent?.terminal) return "conversation";
  return isProgram(agent) ? "terminal" : (route.look ?? "conversation");
}

/**
 * Whether all that is known of an agent is what its terminal shows.
 * @param {import("./protocol.js").Agent} agent
 */
export function isProgram(agent) {
  return agent.kind === "terminal";
}

/**
 * @template T
 * @param {ReadonlySet<T>} set
 * @param {T} item
 * @returns {ReadonlySet<T>}
 */
export function toggled(set, item) {
  const next = new Set(set);
  if (!next.delete(item)) next.add(item);
  return next;
}
