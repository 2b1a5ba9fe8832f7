/** What lies over the page: start an agent, add a machine, keys, questions. */

import { html, live, nothing } from "../vendor/lit.js";
import { spawnBody } from "./spawn.js";
import { icon } from "./icons.js";
import { toastView } from "./toast.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../ui.js").Dialog} Dialog */

/**
 * @typedef {object} MoreActions
 * @property {() => void} closeDialog
 * @property {(name: string) => void} rename
 * @property {() => void} applyRename
 * @property {(text: string) => void} pasteText
 * @property {(text: string, what: string) => void} copy
 *
 * @typedef {MoreActions & import("./spawn.js").SpawnActions} DialogActions
 */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {DialogActions} actions
 */
export function dialogView(state, ui, actions) {
  const { dialog } = ui;
  if (!dialog) return nothing;
  const clicked = (/** @type {MouseEvent} */ event) => {
    if (event.target === event.currentTarget) actions.closeDialog();
  };
  return html`<dialog class="dialog" data-kind=${dialog.kind} aria-labelledby="dialog-title" @close=${actions.closeDialog} @mousedown=${clicked}>
    <div class="dialog-box">
      <header><h2 id="dialog-title">${titleOf(dialog)}</h2><span class="spring"></span><button class="icon-button" aria-label="Close" @click=${actions.closeDialog}>${icon("close")}</button></header>
      ${bodyOf(dialog, state, actions)} ${dialog.error ? html`<p class="error" role="alert">${dialog.error}</p>` : nothing}
    </div>
    ${toastView(ui)}
  </dialog>`;
}

/** @param {Dialog} dialog */
function titleOf(dialog) {
  switch (dialog.kind) {
    case "spawn":
      return "Start an agent";
    case "join":
      return "Add a machine";
    case "help":
      return "Keys";
    case "rename":
      return "Rename";
    case "paste":
      return "Paste into the terminal";
    case "confirm":
      return dialog.title;
  }
}

/**
 * @param {Dialog} dialog
 * @param {State} state
 * @param {DialogActions} actions
 */
function bodyOf(dialog, state, actions) {
  switch (dialog.kind) {
    case "spawn":
      return spawnBody(dialog, state, actions);
    case "join":
      return joinBody(dialog.address, actions);
    case "help":
      return helpBody();
    case "rename":
      return html`<form @submit=${(/** @type {Event} */ event) => { event.preventDefault(); actions.applyRename(); }}>
        <label>New name <input autofocus autocomplete="off" spellcheck="false" .value=${live(dialog.name)} @input=${(/** @type {any} */ event) => actions.rename(event.target.value)} required /></label>
        <footer><span class="spring"></span><button class="button primary" ?disabled=${dialog.busy}>Rename</button></footer>
      </form>`;
    case "paste":
      return html`<form @submit=${(/** @type {any} */ event) => { event.preventDefault(); actions.closeDialog(); actions.pasteText(event.target.elements.text.value); }}>
        <label>This browser does not let pages read what was copied: paste it here <textarea name="text" rows="4" autofocus spellcheck="false"></textarea></label>
        <footer><span class="spring"></span><button class="button primary">Type it</button></footer>
      </form>`;
    case "confirm":
      return html`<p>${dialog.text}</p>
        <footer><span class="spring"></span><button class="button" autofocus @click=${actions.closeDialog}>Cancel</button><button class="button danger" ?disabled=${dialog.busy} @click=${dialog.act}>${dialog.verb}</button></footer>`;
  }
}

/**
 * @param {string} address
 * @param {DialogActions} actions
 */
function joinBody(address, actions) {
  return html`<section>
    <p>Install Hyper-Pi there, then run:</p>
    ${commandLine(`hyperpi node join ${address || "HOST"}`, actions)}
    <p class="faint">It shows six digits and waits until an admin of this mesh approves them. On the same network <code>hyperpi node join</code> alone finds this mesh. With a token, which an admin can make, there is nothing to compare.</p>
  </section>`;
}

/**
 * @param {string} text
 * @param {DialogActions} actions
 */
function commandLine(text, actions) {
  return html`<div class="command-line"><pre class="command" tabindex="0">${text}</pre><button type="button" class="button small" @click=${() => actions.copy(text, "command")}>Copy</button></div>`;
}

const KEYS = [
  ["j  k", "next, previous agent"],
  ["↓  ↑", "the same, in the roster"],
  ["Enter", "open the agent; in it: write to it"],
  ["/", "filter the roster"],
  ["n", "start an agent"],
  ["i", "show or hide the inspector"],
  ["m", "the page of the mesh: who is let in (admins)"],
  ["End", "jump to live"],
  ["Enter", "in the prompt: send"],
  ["Shift Enter", "in the prompt: new line"],
  ["Alt Enter", "in the prompt, while a turn runs: send as follow-up"],
  ["Ctrl Shift C  Ctrl Shift V", "in a terminal: copy, paste"],
  ["Ctrl Shift L", "leave a terminal by the keyboard"],
  ["Esc", "leave the prompt, the filter, a dialog"],
  ["?", "this list"],
];

function helpBody() {
  return html`<dl class="keys">${KEYS.map(([keys, what]) => html`<dt>${keys.split("  ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd>`)}</dl>`;
}
