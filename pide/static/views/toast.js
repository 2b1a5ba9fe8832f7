/** A word about what was just done, for a few seconds. */

import { html } from "../vendor/lit.js";
import { straight } from "../format.js";

/**
 * Drawn within the open dialog, if there is one: what lies outside of a modal dialog lies under its backdrop.
 * @param {import("../ui.js").Ui} ui
 */
export function toastView({ toast }) {
  return html`<div class="toast" role="status" data-tone=${toast?.tone ?? "info"} data-shown=${String(toast !== null)}>${straight(toast?.text)}</div>`;
}
