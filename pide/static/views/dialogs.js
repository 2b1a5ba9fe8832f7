/** What lies over the page: start an agent, add a machine, keys, questions. */

import { html, live, nothing } from "../vendor/lit.js";
import { visible } from "../format.js";
import { icon } from "./icons.js";
import { toastView } from "./toast.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../ui.js").Dialog} Dialog */
/** @typedef {import("../ui.js").SpawnDialog} SpawnDialog */

/**
 * @typedef {object} DialogActions
 * @property {() => void} closeDialog
 * @property {(change: Partial<SpawnDialog>) => void} spawn
 * @property {(path: string | null) => void} browse
 * @property {() => void} startAgent
 * @property {(name: string) => void} rename
 * @property {() => void} applyRename
 * @property {(text: string, what: string) => void} copy
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
    case "confirm":
      return html`<p>${dialog.text}</p>
        <footer><span class="spring"></span><button class="button" autofocus @click=${actions.closeDialog}>Cancel</button><button class="button danger" ?disabled=${dialog.busy} @click=${dialog.act}>${dialog.verb}</button></footer>`;
  }
}

/**
 * @param {SpawnDialog & {busy?: boolean}} dialog
 * @param {State} state
 * @param {DialogActions} actions
 */
function spawnBody(dialog, state, actions) {
  const nodes = [...(state.mesh?.nodes.values() ?? [])].filter((node) => node.state === "online");
  if (!nodes.length) {
    return html`<p>No machine of this mesh is online now. <code>hyperpi node run</code> starts the node of a joined machine.</p>`;
  }
  const { listing } = dialog;
  const kinds = new Set(["pi", ...[...(state.mesh?.agents.values() ?? [])].map((agent) => agent.kind)]);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    actions.startAgent();
  };
  const text = (/** @type {keyof SpawnDialog} */ key) => (/** @type {any} */ event) => actions.spawn({ [key]: event.target.value });
  return html`<form class="spawn" @submit=${submit}>
    <div class="form-grid">
      <label>Machine
        <select @change=${(/** @type {any} */ event) => { actions.spawn({ node: event.target.value, path: null, listing: null }); actions.browse(null); }}>
          ${nodes.map((node) => html`<option value=${node.id} ?selected=${node.id === dialog.node}>${node.name}</option>`)}
        </select>
      </label>
      <label>Kind <input list="kinds" autocomplete="off" spellcheck="false" .value=${live(dialog.agentKind)} @input=${text("agentKind")} required /></label>
      <datalist id="kinds">${[...kinds].map((kind) => html`<option value=${kind}></option>`)}</datalist>
      <label>Name <input autocomplete="off" spellcheck="false" placeholder="given by the node" .value=${live(dialog.name)} @input=${text("name")} /></label>
    </div>
    ${folderBrowser(dialog, listing, actions)}
    <label>First prompt <textarea rows="2" placeholder="optional" .value=${live(dialog.prompt)} @input=${text("prompt")}></textarea></label>
    <footer>
      <span class="path" title=${chosenPath(dialog)}>${chosenPath(dialog)}</span><span class="spring"></span>
      <button class="button primary" ?disabled=${dialog.busy || !listing || !listing.allowed || dialog.newFolder === ""}>${dialog.busy ? "Starting…" : "Start here"}</button>
    </footer>
  </form>`;
}

/** @param {SpawnDialog} dialog */
function chosenPath(dialog) {
  const path = dialog.listing?.path ?? "";
  return dialog.newFolder ? `${path.replace(/\/$/, "")}/${dialog.newFolder}` : path;
}

/**
 * @param {SpawnDialog & {busy?: boolean}} dialog
 * @param {import("../protocol.js").Folders | null} listing
 * @param {DialogActions} actions
 */
function folderBrowser(dialog, listing, actions) {
  return html`<section class="folders" aria-label="Folder">
    <header>
      <button type="button" class="icon-button" aria-label="Folder above" title="Up" ?disabled=${!listing?.parent} @click=${() => actions.browse(listing?.parent ?? null)}>${icon("up")}</button>
      <span class="crumbs">${listing ? crumbs(listing.path, actions) : "Reading…"}</span>
      <span class="spring"></span>
      <label class="check"><input type="checkbox" .checked=${dialog.hidden} @change=${(/** @type {any} */ event) => { actions.spawn({ hidden: event.target.checked }); actions.browse(listing?.path ?? null); }} />hidden</label>
      <button type="button" class="link" @click=${() => actions.spawn({ newFolder: dialog.newFolder === null ? "" : null })}>${dialog.newFolder === null ? "New folder" : "No new folder"}</button>
    </header>
    ${dialog.newFolder === null
      ? nothing
      : html`<label class="new-folder">New folder in it <input autofocus autocomplete="off" spellcheck="false" .value=${live(dialog.newFolder)} @input=${(/** @type {any} */ event) => actions.spawn({ newFolder: event.target.value })} /></label>`}
    <ul class="folder-list" tabindex="-1">
      ${listing === null
        ? html`<li class="faint">…</li>`
        : listing.folders.length === 0
          ? html`<li class="faint">No folders inside. You can start here.</li>`
          : listing.folders.map(
              (folder) => html`<li>
                <button type="button" @click=${() => actions.browse(folder.path)}>
                  ${icon("folder")}<span class="folder-name">${visible(folder.name)}</span>
                  ${folder.project ? html`<span class="badge">${folder.project}</span>` : nothing}
                  ${folder.agents ? html`<span class="badge busy">${folder.agents} agent${folder.agents === 1 ? "" : "s"}</span>` : nothing}
                </button>
              </li>`,
            )}
    </ul>
    ${listing && !listing.allowed ? html`<p class="warning" role="status">The policy of this machine does not allow agents in this folder. Its owner can add the folder to node.toml.</p>` : nothing}
  </section>`;
}

/**
 * @param {string} path
 * @param {DialogActions} actions
 */
function crumbs(path, actions) {
  const parts = path.split("/").filter(Boolean);
  return html`<button type="button" class="link" @click=${() => actions.browse("/")}>/</button>${parts.map(
      (part, at) => html`<button type="button" class="link" @click=${() => actions.browse(`/${parts.slice(0, at + 1).join("/")}`)}>${part}</button><span class="faint">/</span>`,
    )}`;
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
  ["Esc", "leave the prompt, the filter, a dialog"],
  ["?", "this list"],
];

function helpBody() {
  return html`<dl class="keys">${KEYS.map(([keys, what]) => html`<dt>${keys.split("  ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd>`)}</dl>`;
}
