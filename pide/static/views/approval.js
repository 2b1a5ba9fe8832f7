/** What an agent wants to do and may not yet: the exact action, how long there is to think, and the answers. */

import { html, nothing } from "../vendor/lit.js";
import { actionOf, choicesOf, isPlainYes, timeLeft } from "../approvals.js";
import { visible } from "../format.js";
import { argumentsView } from "./tool.js";

/** @typedef {import("../protocol.js").Approval} Approval */

/**
 * @typedef {object} ApprovalActions
 * @property {(approval: Approval, choice: string, words: {note?: string, text?: string}) => void} answer
 * @property {(id: string) => void} notNow  shown to this viewer in one line only, and back
 */

/**
 * @param {Approval} approval
 * @param {object} look
 * @param {number} look.now
 * @param {boolean} look.mayAnswer
 * @param {boolean} look.putOff     this viewer said "not now"
 * @param {boolean} look.answering  an answer from here is on its way
 * @param {ApprovalActions} actions
 * @param {unknown} [from]  whose it is, where that is not clear from the place
 */
export function approvalView(approval, { now, mayAnswer, putOff, answering }, actions, from = nothing) {
  const left = timeLeft(approval, now);
  const time = left ? html`<span class="approval-time" title="Nobody's answer denies it">${left}</span>` : nothing;
  const title = visible(approval.action?.summary ?? approval.action?.kind ?? "A request");
  if (putOff) {
    return html`<section class="approval put-off" data-approval=${approval.id} role="group" aria-label="Put off">
      ${from} <span class="approval-line">${title}</span> ${time}
      <button class="link" @click=${() => actions.notNow(approval.id)}>Show</button>
    </section>`;
  }
  const isDialog = approval.action?.kind === "dialog";
  const { tool, args, cwd, reasons, texts } = actionOf(approval);
  return html`<section class="approval" data-approval=${approval.id} role="group" aria-label=${isDialog ? "It asks" : "Approval asked"}>
    <header>${from}<b>${isDialog ? "It asks" : "Allow this?"}</b>${isDialog || !tool ? nothing : html`<span class="approval-tool">${visible(tool)}</span>`}<span class="spring"></span>${time}</header>
    ${args === undefined ? html`<p class="approval-title">${title}</p>` : nothing}
    ${texts.map((text) => html`<pre class="approval-text" tabindex="0">${visible(text)}</pre>`)}
    ${pathOf(args)} ${argumentsView(tool, args)}
    ${reasons.length || cwd
      ? html`<p class="approval-why">${reasons.map((reason) => html`<span class="reason">${visible(reason)}</span>`)}${cwd ? html`<span class="faint">in ${visible(cwd)}</span>` : nothing}</p>`
      : nothing}
    ${mayAnswer ? answersView(approval, answering, actions) : html`<p class="faint">An operator answers this. <button class="link" @click=${() => actions.notNow(approval.id)}>Not now</button></p>`}
  </section>`;
}

/** @param {unknown} args */
function pathOf(args) {
  const path = args && typeof args === "object" ? /** @type {Record<string, unknown>} */ (args).path : undefined;
  return typeof path === "string" ? html`<p class="approval-path">${visible(path)}</p>` : nothing;
}

/**
 * @param {Approval} approval
 * @param {boolean} answering
 * @param {ApprovalActions} actions
 */
function answersView(approval, answering, actions) {
  const choices = choicesOf(approval);
  const text = choices.find((choice) => choice.kind === "text");
  const detail = /** @type {any} */ (approval.action?.detail);
  const isDialog = approval.action?.kind === "dialog";
  /** @param {Event} event @param {string} choice */
  const answer = (event, choice) => {
    const card = /** @type {HTMLElement} */ (event.currentTarget).closest(".approval");
    const words = (/** @type {string} */ name) => {
      const field = card?.querySelector(`[name="${name}"]`);
      return field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement ? field.value : "";
    };
    const note = words("note").trim();
    actions.answer(approval, choice, { ...(note ? { note } : {}), ...(choice === text?.id ? { text: words("text") } : {}) });
  };
  return html`
    ${text
      ? html`<textarea name="text" class="approval-field" rows=${detail?.method === "editor" ? 6 : 1} aria-label=${visible(approval.action?.summary ?? text.label)} placeholder=${visible(detail?.placeholder ?? "")}>${visible(detail?.prefill ?? "")}</textarea>`
      : nothing}
    ${isDialog ? nothing : html`<input name="note" class="approval-field" maxlength="4000" autocomplete="off" aria-label="A note with the answer" placeholder="Note; with a denial, its reason" />`}
    <footer>
      ${choices.map(
        (choice) =>
          html`<button class="button ${isPlainYes(choice) ? "primary" : ""}" ?disabled=${answering} @click=${(/** @type {Event} */ event) => answer(event, choice.id)}>${visible(choice.label)}</button>`,
      )}
      <span class="spring"></span>
      <button class="link" title="It stays open for everybody else, and comes back here on a click" @click=${() => actions.notNow(approval.id)}>Not now</button>
    </footer>
  `;
}
