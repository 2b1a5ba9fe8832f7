/** One machine: as a card in the inspector, and as a page of its own. */

import { html, nothing } from "../vendor/lit.js";
import { agentPresence, heardWords, nodePresence } from "../presence.js";
import { allows } from "../protocol.js";
import { addressOf } from "../ui.js";
import { diskView } from "./disk.js";
import { ago, bytes } from "../format.js";
import { certificateWords } from "../trust.js";
import { icon } from "./icons.js";
import { waitingView } from "./let_in.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../protocol.js").Node} Node */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Node} node
 */
export function nodeFacts(state, ui, node) {
  const presence = nodePresence(state, node, ui.now);
  return html`<section class="card" aria-label="Machine">
    <h2><span class="presence" data-tone=${presence.tone} aria-hidden="true"></span>${node.name}<span class="card-note">${presence.word}</span></h2>
    <dl class="facts" data-stale=${String(presence.stale)}>
      <dt>last heard</dt><dd>${heardWords(state, node, ui.now)}</dd>
      <dt>${node.state} since</dt><dd>${node.since ? ago(node.since, ui.now) : "–"}</dd>
      <dt>platform</dt><dd>${node.platform || "not told"}</dd>
      <dt>version</dt><dd>${node.version || "not told"}</dd>
      <dt>address</dt><dd>${node.address ?? "not told"}</dd>
      ${node.certificate ? html`<dt>certificate</dt><dd>${certificateLine(node, ui.now)}</dd>` : nothing}
      <dt>agents</dt><dd>${node.agents ?? 0}</dd>
      ${node.load ? html`<dt title="of the node process">load</dt><dd>${(node.load.cpu ?? 0).toFixed(2)} cores, ${bytes(node.load.mem_bytes)}</dd>` : nothing}
      ${node.disk ? html`<dt>disk</dt><dd>${node.disk.live_rows ?? "?"} live rows, ${node.disk.free_rows ?? "?"} free</dd>` : nothing}
    </dl>
  </section>`;
}

/**
 * @param {Node} node
 * @param {number} now
 */
function certificateLine(node, now) {
  const { age, next } = certificateWords(node.certificate, now);
  return next ? `${age}, ${next}` : age;
}

/**
 * @typedef {import("./disk.js").DiskActions & {
 *   back: () => void,
 *   approve: (code: string) => void,
 *   deny: (node: Node) => void,
 *   askRevoke: (node: Node) => void,
 *   openSpawn: (node: string | null) => void,
 * }} NodeActions
 */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {string} id
 * @param {NodeActions} actions
 */
export function nodePage(state, ui, id, actions) {
  const node = state.mesh?.nodes.get(id);
  const role = state.me?.role;
  if (!node) {
    return html`<main class="pane stage"><div class="stage-empty"><p>${state.mesh ? "No machine of this mesh has the id in this address." : "Connecting to the mesh…"}</p></div></main>`;
  }
  const agents = [...(state.mesh?.agents.values() ?? [])].filter((agent) => agent.node === id);
  return html`<main class="pane stage" aria-label="Machine ${node.name}">
    <header class="stage-head">
      <button class="icon-button only-phone" aria-label="Back to the roster" @click=${actions.back}>${icon("back")}</button>
      <div class="stage-title"><h1>${node.name}</h1><p class="stage-sub"><span>${node.platform ?? ""}</span></p></div>
      ${node.state === "online" && allows(role, "node.spawn")
        ? html`<button class="button small" @click=${() => actions.openSpawn(node.id)}>${icon("plus")}Start an agent</button>`
        : nothing}
      ${allows(role, "node.revoke") && node.state !== "pending" ? html`<button class="button small danger" @click=${() => actions.askRevoke(node)}>Revoke…</button>` : nothing}
    </header>
    <div class="stage-scroll">
      <div class="node-page">
        ${node.state === "pending" ? pendingNode(node, ui.now, role, actions) : nodeFacts(state, ui, node)}
        ${node.state === "pending" ? nothing : html`<section class="card" aria-label="PXLDisk"><h3>PXLDisk</h3>${diskView(state, ui, node, actions)}</section>`}
        ${node.state === "pending" ? nothing : html`<section class="card" aria-label="Agents">
          <h3>Agents <span class="faint">${agents.length}</span></h3>
          ${agents.length
            ? html`<ul class="node-agents">
                ${agents.slice(0, 300).map((agent) => {
                  const presence = agentPresence(state, agent, ui.now);
                  return html`<li data-stale=${String(presence.stale)}>
                    <a href=${addressOf({ kind: "agent", id: agent.id })}><span class="presence" data-tone=${presence.tone} aria-hidden="true"></span><b>${agent.name}</b><span class="path">${agent.cwd}</span><span class="faint">${presence.word}</span></a>
                  </li>`;
                })}
              </ul>`
            : html`<p class="faint">None. Type <code>pi</code> in a folder there, or start one from here.</p>`}
        </section>`}
      </div>
    </div>
  </main>`;
}

/**
 * @param {Node} node
 * @param {number} now
 * @param {import("../protocol.js").Role | undefined} role
 * @param {NodeActions} actions
 */
function pendingNode(node, now, role, actions) {
  if (allows(role, "node.approve")) return waitingView([node], now, actions);
  return html`<section class="card" aria-label="Join request"><h2>${node.name} asks to join</h2><p>Its screen shows six digits; an admin of this mesh can approve them.</p></section>`;
}
