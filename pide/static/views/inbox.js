/** Everything that waits for a person, over all machines. */

import { html, nothing, repeat } from "../vendor/lit.js";
import { visible } from "../format.js";
import { allows } from "../protocol.js";
import { addressOf } from "../ui.js";
import { approvalView } from "./approval.js";
import { icon } from "./icons.js";

/** @typedef {import("./approval.js").ApprovalActions & {back: () => void, loadInbox: () => void}} InboxActions */

/**
 * @param {import("../state.js").State} state
 * @param {import("../ui.js").Ui} ui
 * @param {InboxActions} actions
 */
export function inboxPage(state, ui, actions) {
  const { approvals, told, complete, error } = state.inbox;
  const mayAnswer = state.link.phase === "open" && allows(state.me?.role, "agent.answer");
  return html`<main class="pane stage" aria-label="Waiting for you">
    <header class="stage-head">
      <button class="icon-button only-phone" aria-label="Back to the roster" @click=${actions.back}>${icon("back")}</button>
      <h1>Waiting for you</h1>
    </header>
    <div class="stage-scroll">
      <div class="inbox">
        ${error ? html`<p class="error" role="alert">This could not be read: ${error} <button class="link" @click=${actions.loadInbox}>Try again</button></p>` : nothing}
        ${complete ? nothing : html`<p class="hint">Some machines could not be asked; what waits there is missing here.</p>`}
        ${told && !approvals.length ? html`<p class="hint">Nobody waits for you.</p>` : nothing}
        ${repeat(
          approvals,
          (approval) => approval.id,
          (approval) => {
            const look = { now: ui.now, mayAnswer, putOff: ui.putOff.has(approval.id), answering: ui.answering.has(approval.id) };
            return approvalView(approval, look, actions, fromView(state, approval));
          },
        )}
      </div>
    </div>
  </main>`;
}

/**
 * @param {import("../state.js").State} state
 * @param {import("../protocol.js").Approval} approval
 */
function fromView(state, approval) {
  const agent = state.mesh?.agents.get(approval.agent ?? "");
  const name = agent?.address ?? approval.address ?? approval.agent ?? "";
  return html`<a class="approval-from" href=${addressOf({ kind: "agent", id: approval.agent ?? "" })}>${visible(name)}</a> `;
}
