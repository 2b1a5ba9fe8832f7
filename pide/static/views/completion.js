/** The list of how a word could go on, above the place where it is written. */

import { html, nothing } from "../vendor/lit.js";
import { visible } from "../format.js";

/** @typedef {import("../protocol.js").Completion} Completion */

export const LIST = "completions";

/** @param {number} index */
export function optionId(index) {
  return `completion-${index}`;
}

/**
 * @param {{items: Completion[], chosen: number} | null} completion
 * @param {(index: number) => void} complete
 */
export function completionView(completion, complete) {
  if (!completion) return nothing;
  return html`<ul class="completions" id=${LIST} role="listbox" aria-label="Completions">
    ${completion.items.map(
      (item, index) => html`<li
        id=${optionId(index)}
        role="option"
        aria-selected=${String(index === completion.chosen)}
        data-kind=${item.kind}
        @pointerdown=${(/** @type {Event} */ event) => event.preventDefault()}
        @click=${() => complete(index)}
      >
        <b>${visible(item.text.trim())}</b><span>${visible(item.description || (item.kind === "file" ? "" : item.kind))}</span>
      </li>`,
    )}
  </ul>`;
}
