/** The left pane: every machine and every agent, with honest presence. */

import { guard, html, live, nothing, repeat } from "../vendor/lit.js";
import { waitingCount } from "../approvals.js";
import { successorsIn } from "../mesh.js";
import { agentPresence, evidenceLines, needsPerson, nodePresence } from "../presence.js";
import { allows } from "../protocol.js";
import { addressOf } from "../ui.js";
import { age, shortModel } from "../format.js";
import { icon, logo } from "./icons.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../roster.js").Row} Row */

/**
 * @typedef {object} RosterActions
 * @property {(text: string) => void} filter
 * @property {(chip: import("../ui.js").Chip) => void} chip
 * @property {(node: string) => void} fold
 * @property {(node: string) => void} showEnded
 * @property {(node: string | null) => void} openSpawn
 * @property {() => void} openJoin
 * @property {() => void} openHelp
 * @property {() => void} openMesh
 * @property {() => void} logout
 * @property {() => void} rosterScrolled
 */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {{above: number, below: number, rows: Row[]}} sight
 * @param {RosterActions} actions
 */
export function rosterView(state, ui, sight, actions) {
  const { mesh, me } = state;
  return html`
    <nav class="pane roster" aria-label="Machines and agents">
      <header class="roster-head">
        <span class="brand">${logo()}<b>Hyper-Pi</b>${mesh ? html`<span class="mesh-name">${mesh.name}</span>` : nothing}</span>
        <span class="spring"></span>
        ${inboxLink(mesh, ui)}
        ${allows(me?.role, "node.spawn")
          ? html`<button class="icon-button" title="Start an agent (n)" aria-label="Start an agent" @click=${() => actions.openSpawn(null)}>${icon("plus")}</button>`
          : nothing}
        <button class="icon-button" title="Add a machine" aria-label="Add a machine" @click=${actions.openJoin}>${icon("machine")}</button>
        <button class="icon-button" title="Keys (?)" aria-label="Keyboard help" @click=${actions.openHelp}>${icon("help")}</button>
      </header>
      <div class="roster-filter">
        <label class="search">
          ${icon("search")}
          <input
            id="filter"
            type="search"
            placeholder="Filter: name, folder, model…"
            aria-label="Filter agents"
            autocomplete="off"
            spellcheck="false"
            .value=${live(ui.filter)}
            @input=${(/** @type {any} */ event) => actions.filter(event.target.value)}
          />
          <kbd>/</kbd>
        </label>
        ${mesh ? guard([mesh.agents, ui.chip], () => chipsView(mesh, ui.chip, actions)) : nothing}
      </div>
      <div class="roster-scroll" id="roster-scroll" @scroll=${actions.rosterScrolled}>
        ${mesh === null
          ? html`<p class="hint">Asking for the mesh…</p>`
          : html`${mesh.agents.size === 0 ? noAgents(state, actions) : nothing}
              ${mesh.agents.size > 0 && sight.rows.length === 0 ? html`<p class="hint">Nothing fits this filter. <button class="link" @click=${() => { actions.filter(""); actions.chip("all"); }}>Show all</button></p>` : nothing}
              <ul class="rows">
                <li class="room" aria-hidden="true" .style=${`height:${sight.above}px`}></li>
                ${repeat(
                  sight.rows,
                  (row) => row.key,
                  (row) => rowView(row, state, ui, actions),
                )}
                <li class="room" aria-hidden="true" .style=${`height:${sight.below}px`}></li>
              </ul>`}
      </div>
      <footer class="roster-foot">
        <span class="link-dot" data-phase=${state.link.phase} aria-hidden="true"></span>
        <span>${me ? html`${me.name} <span class="faint">${me.role}</span>` : "not signed in"}</span>
        <span class="spring"></span>
        ${allows(me?.role, "token.ls") ? meshLink(state, ui) : nothing}
        <button class="link" @click=${actions.logout}>Log out</button>
      </footer>
    </nav>
  `;
}

/**
 * @param {State["mesh"]} mesh
 * @param {Ui} ui
 */
function inboxLink(mesh, ui) {
  const count = waitingCount(mesh);
  const words = count ? `${count} wait for you` : "Nobody waits for you";
  return html`<a class="icon-button inbox-link" href=${addressOf({ kind: "inbox" })} aria-current=${ui.route.kind === "inbox" ? "page" : nothing} aria-label=${words} title=${words}>${icon("inbox")}${count ? html`<span class="badge waiting">${count}</span>` : nothing}</a>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 */
function meshLink({ mesh }, ui) {
  let waiting = 0;
  for (const node of mesh?.nodes.values() ?? []) if (node.state === "pending") waiting += 1;
  return html`<a class="link" href=${addressOf({ kind: "mesh", id: "let-in" })} aria-current=${ui.route.kind === "mesh" ? "page" : nothing} title="Who is let in, and who did what (m)">Mesh${waiting ? html` <span class="badge waiting" title="${waiting} wait to be let in">${waiting}</span>` : nothing}</a>`;
}

/**
 * @param {import("../mesh.js").Mesh} mesh
 * @param {import("../ui.js").Chip} chosen
 * @param {RosterActions} actions
 */
function chipsView(mesh, chosen, actions) {
  let needs = 0;
  let working = 0;
  let ended = 0;
  let all = 0;
  const successors = successorsIn(mesh.agents);
  for (const agent of mesh.agents.values()) {
    if (needsPerson(agent)) needs += 1;
    else if (agent.state === "working" || agent.state === "starting") working += 1;
    else if (agent.state === "exited" && !successors.has(agent.id)) ended += 1;
    if (agent.state !== "exited") all += 1;
  }
  const chips = /** @type {[import("../ui.js").Chip, string, number][]} */ ([
    ["all", "All", all],
    ["needs", "Needs you", needs],
    ["working", "Working", working],
    ["ended", "Ended", ended],
  ]);
  return html`<div class="chips" role="group" aria-label="Which agents">
    ${chips.map(
      ([chip, text, n]) =>
        html`<button class="chip" data-chip=${chip} data-some=${String(n > 0)} aria-pressed=${String(chosen === chip)} @click=${() => actions.chip(chosen === chip ? "all" : chip)}>
          ${text} <span class="n">${n}</span>
        </button>`,
    )}
  </div>`;
}

/**
 * @param {State} state
 * @param {RosterActions} actions
 */
function noAgents(state, actions) {
  return html`
    <div class="hint">
      <p><b>No agents yet.</b></p>
      <p>On this machine, once:</p>
      <pre class="command">hyperpi pi install</pre>
      <p>then in any project folder just type</p>
      <pre class="command">pi</pre>
      <p>and it appears here.${allows(state.me?.role, "node.spawn") ? html` Or <button class="link" @click=${() => actions.openSpawn(null)}>start one from here</button>.` : nothing}</p>
    </div>
  `;
}

/**
 * @param {Row} row
 * @param {State} state
 * @param {Ui} ui
 * @param {RosterActions} actions
 */
function rowView(row, state, ui, actions) {
  switch (row.kind) {
    case "node":
      return nodeRow(row, state, ui, actions);
    case "project":
      return html`<li class="row project-row"><span>${row.name}</span></li>`;
    case "agent":
      return agentRow(row.agent, row.after, state, ui);
    case "ended":
      return html`<li class="row ended-row">
        <button class="link" aria-expanded=${String(row.shown)} @click=${() => actions.showEnded(row.node)}>
          <span class="chevron" aria-hidden="true"></span>${row.count} ended
        </button>
      </li>`;
    case "empty":
      return html`<li class="row empty-row">${row.text}</li>`;
  }
}

/**
 * @param {Extract<Row, {kind: "node"}>} row
 * @param {State} state
 * @param {Ui} ui
 * @param {RosterActions} actions
 */
function nodeRow({ node, folded }, state, ui, actions) {
  const presence = nodePresence(state, node, ui.now);
  const isCurrent = ui.route.kind === "node" && ui.route.id === node.id;
  return html`<li class="row node-row" data-stale=${String(presence.stale)}>
    <button class="fold" aria-expanded=${String(!folded)} aria-label="Agents of ${node.name}" @click=${() => actions.fold(node.id)}>
      <span class="chevron" aria-hidden="true"></span>
    </button>
    <a href=${addressOf({ kind: "node", id: node.id })} aria-current=${isCurrent ? "true" : nothing} title=${`${node.name}: ${presence.word}, ${presence.note}`}>
      <span class="presence" data-tone=${presence.tone} aria-hidden="true"></span>
      <b class="node-name">${node.name}</b>
      <span class="node-word" data-tone=${presence.tone}>${presence.tone === "online" ? "" : presence.word}</span>
    </a>
    ${node.state === "online" && allows(state.me?.role, "node.spawn")
      ? html`<button class="icon-button quiet" aria-label="Start an agent on ${node.name}" title="Start an agent here" @click=${() => actions.openSpawn(node.id)}>${icon("plus")}</button>`
      : nothing}
  </li>`;
}

/**
 * @param {import("../protocol.js").Agent} agent
 * @param {import("../protocol.js").Agent | undefined} after  who went on with it
 * @param {State} state
 * @param {Ui} ui
 */
function agentRow(agent, after, state, ui) {
  const presence = agentPresence(state, agent, ui.now);
  const isCurrent = ui.route.kind === "agent" && ui.route.id === agent.id;
  const proofs = evidenceLines(agent, ui.now).map((line) => `${line.name}: ${line.text}`);
  const second = (after && `went on as ${after.name}`) || presence.note || [shortModel(agent.model), agent.kind === "pi" ? "" : agent.kind].filter(Boolean).join(" · ");
  return html`<li class="row agent-row" data-stale=${String(presence.stale)} data-tone=${presence.tone}>
    <a
      href=${addressOf({ kind: "agent", id: agent.id })}
      data-agent=${agent.id}
      aria-current=${isCurrent ? "true" : nothing}
      data-cursor=${String(ui.cursor === agent.id)}
      title=${[`${agent.address ?? agent.name} in ${agent.cwd}`, `${presence.word}${presence.note ? `, ${presence.note}` : ""}`, ...proofs].join("\n")}
    >
      <span class="presence" data-tone=${presence.tone} aria-hidden="true"></span>
      <span class="agent-name">${agent.name}</span>
      ${ui.fresh.has(agent.id) ? html`<span class="fresh" title="finished something since you looked"><span class="sr-only">new</span></span>` : nothing}
      <span class="agent-word" data-tone=${presence.tone}>${presence.word}</span>
      <span class="agent-age" title="last event">${age(agent.last_event ?? agent.since, ui.now)}</span>
      <span class="agent-second">${second}</span>
      ${agent.watchers ? html`<span class="watchers" title="${agent.watchers} watching">${icon("eye")}${agent.watchers}</span>` : nothing}
    </a>
  </li>`;
}
