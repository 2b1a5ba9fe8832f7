/** Everything that waits for a person, over all machines. */

import { html, live, nothing, repeat } from "../vendor/lit.js";
import { visible } from "../format.js";
import { allows } from "../protocol.js";
import { addressOf } from "../ui.js";
import { approvalView } from "./approval.js";
import { icon } from "./icons.js";

/** @typedef {import("./approval.js").ApprovalActions & {back: () => void, loadInbox: () => void, turnTelling: (wanted: boolean) => void}} InboxActions */

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
        ${tellingView(ui, actions)}
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

const TELLS = "The browser notifies you when an agent waits, seems stuck or has finished a long turn, while Pi-DE is open but not in sight. There is no push service: once the page is closed, nothing is told.";

/**
 * @param {import("../ui.js").Ui} ui
 * @param {InboxActions} actions
 */
function tellingView({ tells, tellsNot }, actions) {
  return html`<div class="telling">
    <label class="check" title=${TELLS}>
      <input type="checkbox" role="switch" .checked=${live(tells && !tellsNot)} @change=${(/** @type {any} */ event) => actions.turnTelling(event.target.checked)} />
      <span>Notify me when I am not looking <span class="faint">(while this page is open)</span></span>
    </label>
    ${tellsNot ? html`<p class="error" role="alert">${tellsNot}</p>` : nothing}
  </div>`;
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
