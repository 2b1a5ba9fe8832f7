/**
 * What is between this page and the mesh, if something is. One line, in words that say which part is gone. Else
 * what a mishap has interrupted.
 */

import { html, nothing } from "../vendor/lit.js";
import { offeredAgain } from "../presence.js";
import { allows } from "../protocol.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {{resumeAll: () => void, showInterrupted: () => void, passOver: () => void}} InterruptedActions */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {{retryNow: () => void} & InterruptedActions} actions
 */
export function bannerView(state, ui, actions) {
  const { link } = state;
  if (link.phase === "open") return interruptedView(state, ui, actions);
  if (link.phase === "stopped" || link.phase === "signed_out") return nothing;
  if (link.phase === "connecting" && link.attempt === 0) {
    return state.mesh === null ? nothing : html`<div class="banner" data-tone="info" role="status">Connecting again…</div>`;
  }
  const cause = link.cause ?? "gone";
  const when = link.phase === "waiting" ? (ui.countdown_s > 0 ? `trying again in ${ui.countdown_s} s` : "trying again") : "trying now…";
  return html`<div class="banner" data-tone=${cause === "offline" ? "bad" : "warn"} role="status">
    <b>${title(cause)}</b>
    <span>${explanation(cause)}</span>
    <span class="spring"></span>
    <span class="faint">${when}</span>
    ${link.phase === "waiting" ? html`<button class="link" @click=${actions.retryNow}>Try now</button>` : nothing}
  </div>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {InterruptedActions} actions
 */
function interruptedView(state, ui, actions) {
  const agents = offeredAgain(state, ui.passedOver);
  if (!agents.length || !allows(state.me?.role, "agent.resume")) return nothing;
  const rebooted = agents.every((agent) => agent.ending?.why === "reboot");
  const busy = agents.some((agent) => ui.resuming.has(agent.id));
  return html`<div class="banner" data-tone="info" role="status">
    <b>${agents.length === 1 ? `${agents[0]?.name} was interrupted.` : `${agents.length} agents were interrupted.`}</b>
    <span>${rebooted ? "Their machine was restarted." : "They ended by mishap."} Their conversations are kept.</span>
    <span class="spring"></span>
    <button class="link" ?disabled=${busy} @click=${actions.resumeAll}>${agents.length === 1 ? "Resume" : "Resume all"}</button>
    <button class="link" @click=${actions.showInterrupted}>Show</button>
    <button class="link" @click=${actions.passOver}>Not now</button>
  </div>`;
}

/** @param {import("../socket.js").Cause} cause */
function title(cause) {
  return { offline: "This device is offline.", gone: "The hypivisor does not answer.", slow: "Catching up.", restarting: "The hypivisor is restarting." }[cause];
}

/** @param {import("../socket.js").Cause} cause */
function explanation(cause) {
  return {
    offline: "What you see is the last that was known.",
    gone: "Agents go on without it. What you see is the last that was known.",
    slow: "This page could not keep up and resumes where it was.",
    restarting: "Agents go on without it.",
  }[cause];
}
