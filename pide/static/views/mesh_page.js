/** The Mesh page: who and what is let in. For admins. */

import { guard, html, nothing, repeat } from "../vendor/lit.js";
import { ago, fullTime, visible } from "../format.js";
import { heardWords, nodePresence } from "../presence.js";
import { allows } from "../protocol.js";
import { ahead, certificateWords, clockWords, tokenState } from "../trust.js";
import { MESH_TABS, addressOf } from "../ui.js";
import { icon } from "./icons.js";
import { letInView, waitingView } from "./let_in.js";
import { trailView } from "./trail.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../protocol.js").Node} Node */
/** @typedef {import("../protocol.js").Token} Token */
/** @typedef {import("../protocol.js").LoginSession} LoginSession */

/**
 * @typedef {import("./let_in.js").LetInActions & import("./trail.js").TrailActions & {
 *   back: () => void,
 *   loadMesh: () => void,
 *   askRevoke: (node: Node) => void,
 *   revokeToken: (token: Token) => void,
 *   revokeSession: (session: LoginSession) => void,
 *   endedTokens: () => void,
 * }} MeshPageActions
 */

const TITLES = { "let-in": "Let in", machines: "Machines", logins: "Logins", audit: "Audit trail" };

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {import("../ui.js").MeshTab} tab
 * @param {MeshPageActions} actions
 */
export function meshPage(state, ui, tab, actions) {
  const { mesh, me, trust } = state;
  if (!mesh) return html`<main class="pane stage"><div class="stage-empty"><p>Connecting to the mesh…</p></div></main>`;
  if (!allows(me?.role, "token.ls")) {
    return html`<main class="pane stage"><div class="stage-empty"><h1>This page is for admins.</h1><p>You are here as ${me?.role}. An admin of ${visible(mesh.name)} can make you a login link with more rights.</p><button class="button" @click=${actions.back}>Back</button></div></main>`;
  }
  const nodes = [...mesh.nodes.values()];
  const waiting = nodes.filter((node) => node.state === "pending");
  return html`<main class="pane stage" aria-label="Mesh">
    <header class="stage-head mesh-head">
      <button class="icon-button only-phone" aria-label="Back to the roster" @click=${actions.back}>${icon("back")}</button>
      <h1>Mesh <span class="faint">${visible(mesh.name)}</span></h1>
      <nav class="mesh-tabs" aria-label="Parts of this page">
        ${MESH_TABS.map((one) => {
          const count = one === "let-in" && waiting.length ? html` <span class="badge waiting">${waiting.length}</span>` : nothing;
          return html`<a href=${addressOf({ kind: "mesh", id: one })} aria-current=${tab === one ? "page" : nothing}>${TITLES[one]}${count}</a>`;
        })}
      </nav>
    </header>
    <div class="stage-scroll">
      <div class="mesh-page" data-tab=${tab}>
        ${trust.error ? html`<p class="error" role="alert">This could not be read: ${trust.error} <button class="link" @click=${actions.loadMesh}>Try again</button></p>` : nothing}
        ${tab === "let-in"
          ? letInView(state, ui, waiting, actions)
          : tab === "machines"
            ? machinesView(state, ui, nodes, waiting, actions)
            : tab === "logins"
              ? html`${sessionsView(trust, ui, actions)} ${tokensView(trust, ui, actions)}`
              : guard([trust.trail, trust.verdict, ui.trailFilter, mesh.nodes], () => trailView(trust, mesh.nodes, ui, actions))}
      </div>
    </div>
  </main>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Node[]} nodes
 * @param {Node[]} waiting
 * @param {MeshPageActions} actions
 */
function machinesView(state, ui, nodes, waiting, actions) {
  const joined = nodes.filter((node) => node.state !== "pending").sort((a, b) => (a.name < b.name ? -1 : 1));
  return html`${waiting.length ? waitingView(waiting, ui.now, actions) : nothing}
    <section class="sheet" aria-label="Machines">
      <header><h2>Machines</h2><span class="faint">${joined.length}</span><span class="spring"></span><a class="button small" href=${addressOf({ kind: "mesh", id: "let-in" })}>${icon("plus")}Add a machine</a></header>
      ${joined.length
        ? html`<table class="grid">
            <thead><tr><th>machine</th><th>heard</th><th>address</th><th>version</th><th class="number">agents</th><th>certificate</th><th><span class="sr-only">acts</span></th></tr></thead>
            <tbody>${repeat(joined, (node) => node.id, (node) => machineRow(state, ui, node, actions))}</tbody>
          </table>`
        : html`<p class="faint">None has joined yet.</p>`}
    </section>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Node} node
 * @param {MeshPageActions} actions
 */
function machineRow(state, ui, node, actions) {
  const presence = nodePresence(state, node, ui.now);
  const certificate = certificateWords(node.certificate, ui.now);
  const ends = node.certificate ? `ends ${fullTime(node.certificate.expires)}` : "";
  return html`<tr data-stale=${String(presence.stale)}>
    <td data-label="machine"><a class="link" href=${addressOf({ kind: "node", id: node.id })}><span class="presence" data-tone=${presence.tone} aria-hidden="true"></span><b>${node.name}</b></a><span class="faint">${presence.word}</span></td>
    <td data-label="heard" title=${fullTime(node.last_heard)}>${heardWords(state, node, ui.now)}${node.clock_s ? html`<span class="certificate" data-tone="warn">${clockWords(node.clock_s)}</span>` : nothing}</td>
    <td data-label="address" class="path">${node.address ?? "–"}</td>
    <td data-label="version"><span>${node.version || "–"}</span><span class="faint wide-only">${node.platform ?? ""}</span></td>
    <td data-label="agents" class="number">${node.agents ?? 0}</td>
    <td data-label="certificate" title=${ends}><span class="certificate" data-tone=${certificate.tone}>${certificate.next || certificate.age}</span>${certificate.next ? html`<span class="faint">${certificate.age}</span>` : nothing}</td>
    <td class="acts"><button class="link danger" aria-label="Revoke ${node.name}" @click=${() => actions.askRevoke(node)}>Revoke…</button></td>
  </tr>`;
}

/**
 * @param {import("../trust.js").Trust} trust
 * @param {Ui} ui
 * @param {MeshPageActions} actions
 */
function sessionsView({ sessions, mine }, ui, actions) {
  return html`<section class="sheet" aria-label="Browsers">
    <header><h2>Browsers that are logged in</h2><span class="faint">${sessions?.length ?? ""}</span></header>
    ${sessions === null
      ? html`<p class="faint">Asking…</p>`
      : html`<table class="grid">
          <thead><tr><th>who</th><th>role</th><th>from</th><th>page</th><th>logged in</th><th>last use</th><th>ends</th><th><span class="sr-only">acts</span></th></tr></thead>
          <tbody>
            ${repeat(sessions, (one) => one.id, (one) => html`<tr data-mine=${String(one.id === mine)}>
                <td data-label="who"><b>${one.name}</b>${one.id === mine ? html`<span class="badge mine">this browser</span>` : nothing}</td>
                <td data-label="role">${one.role}</td>
                <td data-label="from" class="path">${one.address}</td>
                <td data-label="page" class="path">${one.origin}</td>
                <td data-label="logged in" title=${fullTime(one.created)}>${ago(one.created, ui.now)}${one.token ? html`<span class="faint">with token ${one.token}</span>` : nothing}</td>
                <td data-label="last use" title=${fullTime(one.last_used)}>${ago(one.last_used, ui.now)}</td>
                <td data-label="ends" title=${`${fullTime(one.expires)}, if it is not used`}>in ${ahead(one.expires, ui.now)}</td>
                <td class="acts"><button class="link danger" aria-label="Log out ${one.name} from ${one.address}" @click=${() => actions.revokeSession(one)}>Log out…</button></td>
              </tr>`)}
          </tbody>
        </table>`}
  </section>`;
}

/**
 * @param {import("../trust.js").Trust} trust
 * @param {Ui} ui
 * @param {MeshPageActions} actions
 */
function tokensView({ tokens, mine }, ui, actions) {
  if (tokens === null) return html`<section class="sheet" aria-label="Tokens"><header><h2>Tokens</h2></header><p class="faint">Asking…</p></section>`;
  const ended = tokens.filter((token) => !tokenState(token, ui.now).lives);
  const shown = ui.endedTokens ? tokens : tokens.filter((token) => tokenState(token, ui.now).lives);
  return html`<section class="sheet" aria-label="Tokens">
    <header>
      <h2>Tokens</h2><span class="faint">${tokens.length - ended.length} good</span>
      ${ended.length ? html`<button class="link" aria-pressed=${String(ui.endedTokens)} @click=${actions.endedTokens}>${ui.endedTokens ? "hide" : "show"} ${ended.length} ended</button>` : nothing}
      <span class="spring"></span><a class="button small" href=${addressOf({ kind: "mesh", id: "let-in" })}>${icon("plus")}New token</a>
    </header>
    ${shown.length
      ? html`<table class="grid">
          <thead><tr><th>token</th><th>for</th><th>made</th><th>state</th><th>last use</th><th>from</th><th><span class="sr-only">acts</span></th></tr></thead>
          <tbody>${repeat(shown, (token) => token.id, (token) => tokenRow(token, mine, ui.now, actions))}</tbody>
        </table>`
      : html`<p class="faint">None is good now.</p>`}
  </section>`;
}

/**
 * @param {Token} token
 * @param {string} mine
 * @param {number} now
 * @param {MeshPageActions} actions
 */
function tokenRow(token, mine, now, actions) {
  const { word, lives } = tokenState(token, now);
  return html`<tr data-ended=${String(!lives)}>
    <td data-label="token"><b>${token.name ?? html`<span class="faint">no name</span>`}</b><span class="path faint">${token.id}</span>${token.id === mine ? html`<span class="badge mine">this page</span>` : nothing}</td>
    <td data-label="for">${token.role === "node" ? "a machine" : token.role}</td>
    <td data-label="made" title=${fullTime(token.created)}>${ago(token.created, now)}</td>
    <td data-label="state" title=${`until ${fullTime(token.expires)}`}>${word}</td>
    <td data-label="last use" title=${fullTime(token.last_used)}>${ago(token.last_used, now)}</td>
    <td data-label="from" class="path">${token.last_from ?? (token.last_used ? "this machine" : "–")}</td>
    <td class="acts">${lives ? html`<button class="link danger" aria-label="Revoke token ${token.name ?? token.id}" @click=${() => actions.revokeToken(token)}>Revoke…</button>` : nothing}</td>
  </tr>`;
}
