/**
 * What agents wait for, over all machines, and how one of them can be answered. Pure.
 *
 * The roster says how many wait, and changes with each; what they are is asked for while somebody looks.
 */

/** @typedef {import("./protocol.js").Approval} Approval */
/** @typedef {import("./protocol.js").Choice} Choice */

/**
 * @typedef {object} Inbox
 * @property {Approval[]} approvals  oldest first, as they were told last
 * @property {boolean} told          they were told at all
 * @property {boolean} complete      every machine could be asked
 * @property {string} error
 */

/** @returns {Inbox} */
export function emptyInbox() {
  return { approvals: [], told: false, complete: true, error: "" };
}

/**
 * How many wait for a person, as the roster has it.
 * @param {import("./mesh.js").Mesh | null} mesh
 */
export function waitingCount(mesh) {
  let count = 0;
  for (const agent of mesh?.agents.values() ?? []) count += agent.state === "exited" ? 0 : (agent.pending ?? 0);
  return count;
}

/**
 * Changes whenever what waits may be something else than before.
 * @param {import("./mesh.js").Mesh | null} mesh
 */
export function waitingMark(mesh) {
  const parts = [];
  for (const agent of mesh?.agents.values() ?? []) if (agent.pending) parts.push(`${agent.id} ${agent.pending} ${agent.detail}`);
  return parts.sort().join("\n");
}

/**
 * The ways to answer; an agent that names none takes a plain yes or no.
 * @param {Approval} approval
 * @returns {Choice[]}
 */
export function choicesOf(approval) {
  if (approval.choices?.length) return approval.choices;
  return [
    { id: "approve", label: "Approve", kind: "allow_once" },
    { id: "deny", label: "Deny", kind: "reject_once" },
  ];
}

/**
 * The one answer that a button may press upon somebody: once, and no more than was asked.
 * @param {Choice} choice
 */
export function isPlainYes(choice) {
  return choice.kind === "allow_once" || choice.kind === "text";
}

/**
 * What an action does, as far as its agent says: the arguments of a tool, or what a dialog shows.
 * @param {Approval} approval
 * @returns {{tool: string, args: unknown, cwd: string, reasons: string[], texts: string[]}}
 */
export function actionOf(approval) {
  const { detail, kind } = approval.action ?? {};
  const known = /** @type {Record<string, any>} */ (detail && typeof detail === "object" ? detail : {});
  const texts = [typeof detail === "string" ? detail : "", known.message].filter((text) => typeof text === "string" && text !== "");
  return {
    tool: typeof known.tool === "string" ? known.tool : (kind ?? ""),
    args: kind === "dialog" ? undefined : (known.args ?? (typeof detail === "object" && known.tool === undefined ? detail : undefined)),
    cwd: typeof known.cwd === "string" ? known.cwd : "",
    reasons: Array.isArray(known.reasons) ? known.reasons.map(String) : [],
    texts,
  };
}

/**
 * How long there is to answer: "9:41", or "" when that is not known.
 * @param {Approval} approval
 * @param {number} now ms
 */
export function timeLeft(approval, now) {
  const ms = Date.parse(approval.expires_at ?? "") - now;
  if (Number.isNaN(ms)) return "";
  const s = Math.max(0, Math.ceil(ms / 1_000));
  if (s >= 3_600) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

/**
 * What became of a call that a person was asked about, in a few words; "" where there is nothing to say.
 * @param {import("./protocol.js").Decision | undefined} decision
 */
export function decisionWords(decision) {
  const by = decision?.via === "terminal" ? " at its terminal" : decision?.by ? ` by ${decision.by}` : "";
  switch (decision?.state) {
    case "pending":
      return "waits for approval";
    case "approved":
    case "denied":
      return `${decision.state}${by}`;
    case "expired":
      return "denied: nobody answered";
    case "withdrawn":
      return "not run";
    default:
      return "";
  }
}

/**
 * How one was decided, for the line that stays in the conversation.
 * @param {Approval} approval
 */
export function outcomeWords(approval) {
  const what = approval.action?.summary ?? approval.action?.kind ?? "A request";
  const note = approval.note ? ` (${approval.note})` : "";
  switch (approval.state) {
    case "expired":
      return `${what}: nobody answered in time, which denied it`;
    case "withdrawn":
      return `${what}: withdrawn${note}`;
    default: {
      const by = approval.via === "terminal" ? " at its terminal" : approval.by ? ` by ${approval.by}` : "";
      const choice = approval.choices?.find((one) => one.id === approval.choice && one.kind === "option");
      const chosen = choice ? `: ${choice.label}` : "";
      return `${what}: ${approval.state}${by}${chosen}${note}`;
    }
  }
}
