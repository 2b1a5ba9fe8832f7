/**
 * What became of each prompt sent from this page. Pure.
 *
 * A prompt is `sending` until the server answers. No answer is not a failure: the same id is sent again when
 * the link is back, which the server counts once. Only when its key may have been forgotten is it `unknown`.
 */

import { isBusy } from "./presence.js";

/** @typedef {import("./protocol.js").Receipt | "sending" | "refused"} PromptReceipt */
/** @typedef {{id: string, agent: string, text: string, mode: import("./protocol.js").PromptMode, sentAt: number, receipt: PromptReceipt, error?: string, images?: import("./protocol.js").Picture[]}} Prompt  images: until the server has them */
/** @typedef {ReadonlyMap<string, Prompt[]>} Prompts  by agent, oldest first */

const KEPT_PER_AGENT = 50;
// The server keeps idempotency keys for at least an hour; a minute of that is for clocks.
const KEY_KEPT_MS = 59 * 60_000;

const RANK = /** @type {Record<PromptReceipt, number>} */ ({
  sending: 0,
  unknown: 1,
  stored: 2,
  queued: 3,
  delivered: 4,
  cancelled: 5,
  refused: 5,
});

/**
 * @param {Prompts} prompts
 * @param {Prompt} prompt
 * @returns {Prompts}
 */
export function promptSent(prompts, prompt) {
  const list = prompts.get(prompt.agent) ?? [];
  return new Map(prompts).set(prompt.agent, [...list, prompt].slice(-KEPT_PER_AGENT));
}

/**
 * A receipt from an answer, a notification or the conversation itself. It only ever gets better: `unknown`
 * says that nobody can tell, which ends as soon as somebody can.
 * @param {Prompts} prompts
 * @param {{agent: string, id: string, receipt: PromptReceipt, error?: string}} change
 * @returns {Prompts}
 */
export function promptChanged(prompts, { agent, id, receipt, error }) {
  const list = prompts.get(agent) ?? [];
  const at = list.findIndex((prompt) => prompt.id === id);
  if (at < 0) return prompts;
  const known = list[at];
  const becomesUnknown = receipt === "unknown" && known.receipt !== "delivered" && known.receipt !== "refused";
  if (!becomesUnknown && RANK[receipt] <= RANK[known.receipt]) return prompts;
  const next = list.slice();
  // Once it is with the server, its pictures are too.
  next[at] = { ...known, receipt, error, images: RANK[receipt] >= RANK.stored && receipt !== "refused" ? undefined : known.images };
  return new Map(prompts).set(agent, next);
}

/**
 * Take one out of the list: the person has seen that it failed.
 * @param {Prompts} prompts
 * @param {string} agent
 * @param {string} id
 * @returns {Prompts}
 */
export function promptDismissed(prompts, agent, id) {
  return new Map(prompts).set(
    agent,
    (prompts.get(agent) ?? []).filter((prompt) => prompt.id !== id),
  );
}

/**
 * What to send again on a new link, and what is too old for that.
 * @param {Prompts} prompts
 * @param {number} now
 * @returns {{again: Prompt[], tooOld: Prompt[]}}
 */
export function unanswered(prompts, now) {
  const open = [...prompts.values()].flat().filter((prompt) => prompt.receipt === "sending");
  return {
    again: open.filter((prompt) => now - prompt.sentAt < KEY_KEPT_MS),
    tooOld: open.filter((prompt) => now - prompt.sentAt >= KEY_KEPT_MS),
  };
}

/**
 * Those that the conversation does not show yet.
 * @param {Prompts} prompts
 * @param {string} agent
 */
export function notYetDelivered(prompts, agent) {
  return (prompts.get(agent) ?? []).filter((prompt) => prompt.receipt !== "delivered" && prompt.receipt !== "cancelled");
}

/**
 * The mode that a prompt is sent with: while a turn runs, one of the two that a turn can take.
 * @param {import("./protocol.js").Agent | undefined} agent
 * @param {import("./protocol.js").PromptMode | undefined} chosen
 * @returns {import("./protocol.js").PromptMode}
 */
export function modeFor(agent, chosen) {
  if (!isBusy(agent)) return "prompt";
  return chosen === "follow_up" || !canSteer(agent) ? "follow_up" : "steer";
}

/**
 * Whether a turn of it takes words before it is over: the Agent Client Protocol has no way to say them.
 * @param {import("./protocol.js").Agent | undefined} agent
 */
export function canSteer(agent) {
  return agent?.kind !== "acp";
}
