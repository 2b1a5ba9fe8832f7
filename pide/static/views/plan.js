/** An agent's plan: its steps, and how far each has come. */

import { html, nothing } from "../vendor/lit.js";
import { straight, visible } from "../format.js";

/** @typedef {{text: string, status: string, priority?: string}} Step */

const WORDS = /** @type {Record<string, string>} */ ({ completed: "done", in_progress: "being done", pending: "to do" });

/** @param {import("../protocol.js").Block} block of type plan */
export function planView(block) {
  /** @type {Step[]} */
  const steps = (Array.isArray(block.steps) ? block.steps : []).filter((step) => typeof step?.text === "string");
  const done = steps.filter((step) => step.status === "completed").length;
  return html`<section class="plan" aria-label="plan">
    <header><b>Plan</b><span class="faint">${done} of ${steps.length} done</span></header>
    <ol>
      ${steps.map(
        (step) => html`<li data-step=${Object.hasOwn(WORDS, step.status) ? step.status : "pending"}>
          <span class="step-mark" role="img" aria-label=${WORDS[step.status] ?? "to do"}></span>
          <span class="step-text">${straight(step.text)}</span>
          ${step.priority === "high" ? html`<span class="faint">${visible(step.priority)}</span>` : nothing}
        </li>`,
      )}
    </ol>
  </section>`;
}
