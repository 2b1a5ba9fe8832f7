/** The dialog that starts an agent: where, of which kind, with what. */

import { html, live, nothing } from "../vendor/lit.js";
import { visible } from "../format.js";
import { icon } from "./icons.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").SpawnDialog} SpawnDialog */

/**
 * @typedef {object} SpawnActions
 * @property {(change: Partial<SpawnDialog>) => void} spawn
 * @property {(node: string) => void} spawnOn
 * @property {(path: string | null) => void} browse
 * @property {() => void} startAgent
 */

/**
 * @param {SpawnDialog & {busy?: boolean}} dialog
 * @param {State} state
 * @param {SpawnActions} actions
 */
export function spawnBody(dialog, state, actions) {
  const nodes = [...(state.mesh?.nodes.values() ?? [])].filter((node) => node.state === "online");
  if (!nodes.length) {
    return html`<p>No machine of this mesh is online now. <code>hyperpi node run</code> starts the node of a joined machine.</p>`;
  }
  const { listing } = dialog;
  const kind = dialog.kinds.find((one) => one.name === dialog.agentKind);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    actions.startAgent();
  };
  const text = (/** @type {keyof SpawnDialog} */ key) => (/** @type {any} */ event) => actions.spawn({ [key]: event.target.value });
  return html`<form class="spawn" @submit=${submit}>
    <div class="form-grid">
      <label>Machine
        <select @change=${(/** @type {any} */ event) => { actions.spawnOn(event.target.value); }}>
          ${nodes.map((node) => html`<option value=${node.id} ?selected=${node.id === dialog.node}>${node.name}</option>`)}
        </select>
      </label>
      <label>Kind
        <select @change=${(/** @type {any} */ event) => actions.spawn({ agentKind: event.target.value, command: "", headless: false })}>
          ${dialog.kinds.map((one) => html`<option value=${one.name} ?selected=${one.name === dialog.agentKind}>${visible(one.name)}</option>`)}
        </select>
      </label>
      <label>Name <input autocomplete="off" spellcheck="false" placeholder="given by the node" .value=${live(dialog.name)} @input=${text("name")} /></label>
    </div>
    ${folderBrowser(dialog, listing, actions)}
    ${kind ? commandView(dialog, kind, actions) : nothing}
    <label>First prompt <textarea rows="2" ?disabled=${!kind?.prompts} placeholder=${kind?.prompts ? "optional" : "it takes none: start it, then type into it"} .value=${live(dialog.prompt)} @input=${text("prompt")}></textarea></label>
    <footer>
      <span class="path" title=${chosenPath(dialog)}>${chosenPath(dialog)}</span><span class="spring"></span>
      <button class="button primary" ?disabled=${dialog.busy || !listing || !listing.allowed || dialog.newFolder === ""}>${dialog.busy ? "Starting…" : "Start here"}</button>
    </footer>
  </form>`;
}

/**
 * What it is started with.
 * @param {SpawnDialog} dialog
 * @param {import("../protocol.js").AgentKind} kind
 * @param {SpawnActions} actions
 */
function commandView(dialog, kind, actions) {
  const mayBeEmpty = !kind.command || kind.name === "terminal";
  return html`<div class="spawn-more">
    <label>${kind.command ? "Command" : "Arguments"}
      <input class="mono" name="command" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder=${placeholderOf(kind)} ?required=${!mayBeEmpty}
        title="No shell reads it: for pipes and variables write sh -c '…'" .value=${live(dialog.command)}
        @input=${(/** @type {any} */ event) => actions.spawn({ command: event.target.value })} /></label>
    ${kind.headless
      ? html`<label class="check" title="Without a terminal: it can only be prompted"><input type="checkbox" name="headless" .checked=${dialog.headless} @change=${(/** @type {any} */ event) => actions.spawn({ headless: event.target.checked })} />headless</label>`
      : nothing}
  </div>`;
}

/** @param {import("../protocol.js").AgentKind} kind */
function placeholderOf(kind) {
  if (!kind.command) return "optional";
  return kind.name === "terminal" ? "htop; empty: your shell" : "the program and its arguments";
}

/** @param {SpawnDialog} dialog */
function chosenPath(dialog) {
  const path = dialog.listing?.path ?? "";
  return dialog.newFolder ? `${path.replace(/\/$/, "")}/${dialog.newFolder}` : path;
}

/**
 * @param {SpawnDialog & {busy?: boolean}} dialog
 * @param {import("../protocol.js").Folders | null} listing
 * @param {SpawnActions} actions
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
 * @param {SpawnActions} actions
 */
function crumbs(path, actions) {
  const parts = path.split("/").filter(Boolean);
  return html`<button type="button" class="link" @click=${() => actions.browse("/")}>/</button>${parts.map(
      (part, at) => html`<button type="button" class="link" @click=${() => actions.browse(`/${parts.slice(0, at + 1).join("/")}`)}>${part}</button><span class="faint">/</span>`,
    )}`;
}
