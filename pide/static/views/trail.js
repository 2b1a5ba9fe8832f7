/** The audit trail on the Mesh page: who did what, from where, with what result. */

import { html, live, nothing, repeat } from "../vendor/lit.js";
import { count, fullTime } from "../format.js";
import { SINCE } from "../trust.js";

/** @typedef {import("../trust.js").Trust} Trust */
/** @typedef {import("../trust.js").TrailFilter} TrailFilter */
/** @typedef {import("../trust.js").TrailRow} TrailRow */

/**
 * @typedef {object} TrailActions
 * @property {(change: Partial<TrailFilter>) => void} filterTrail
 * @property {() => void} clearTrailFilter
 * @property {() => void} trailOlder
 * @property {() => void} trailTop
 * @property {() => void} verifyTrail
 */

const RESULTS = ["", "asked", "done", "refused", "failed"];
const ACTS = ["node.", "node.join", "node.revoke", "node.spawn", "node.renew", "token.", "login", "session.revoke", "agent.", "agent.prompt", "agent.answer", "scroll.send", "disk."];

/**
 * @param {Trust} trust
 * @param {ReadonlyMap<string, import("../protocol.js").Node>} nodes
 * @param {import("../ui.js").Ui} ui
 * @param {TrailActions} actions
 */
export function trailView({ trail, verdict }, nodes, ui, actions) {
  const filter = ui.trailFilter;
  const isFiltered = Object.values(filter).some(Boolean);
  return html`<section class="sheet" aria-label="Audit trail">
    <header><h2>Audit trail</h2><span class="spring"></span>${verdictView(verdict, actions)}</header>
    <form class="form-row trail-filter" role="search" aria-label="Filter the audit trail" @submit=${(/** @type {Event} */ event) => event.preventDefault()}>
      ${field("who", "Who", "anybody", filter, actions)} ${field("what", "What", "anything", filter, actions, "acts")}
      <datalist id="acts">${ACTS.map((act) => html`<option value=${act}></option>`)}</datalist>
      <label>Result <select name="result" @change=${(/** @type {any} */ event) => actions.filterTrail({ result: event.target.value })}>${RESULTS.map((one) => html`<option value=${one} ?selected=${filter.result === one}>${one || "any"}</option>`)}</select></label>
      ${field("about", "About", "a machine, an agent…", filter, actions)}
      <label>In <select name="since" @change=${(/** @type {any} */ event) => actions.filterTrail({ since: event.target.value })}>${Object.entries(SINCE).map(([key, { words }]) => html`<option value=${key} ?selected=${filter.since === key}>${words}</option>`)}</select></label>
      ${isFiltered ? html`<button type="button" class="link" @click=${actions.clearTrailFilter}>Clear</button>` : nothing}
    </form>
    ${trail.newer ? html`<button class="button small" @click=${actions.trailTop}>There are newer rows: show them</button>` : nothing}
    ${trail.rows === null
      ? html`<p class="faint">Asking…</p>`
      : html`${trail.rows.length
            ? html`<table class="grid trail" aria-busy=${String(trail.busy)}>
                <thead><tr><th>time</th><th>who</th><th>from</th><th>what</th><th>result</th><th>details</th></tr></thead>
                <tbody>${repeat(trail.rows, (row) => row.seq, (row) => rowView(row, nodes))}</tbody>
              </table>`
            : html`<p class="faint">${trail.next !== null ? "Nothing fits among the newest rows." : isFiltered ? "Nothing fits." : "Nothing is recorded yet."}</p>`}
          ${trail.next !== null ? html`<button class="button small" ?disabled=${trail.busy} @click=${actions.trailOlder}>${trail.busy ? "Looking…" : "Look further back"}</button>` : trail.rows.length ? html`<p class="faint">That is all.</p>` : nothing}`}
  </section>`;
}

/**
 * @param {"who" | "what" | "about"} key
 * @param {string} label
 * @param {string} placeholder
 * @param {TrailFilter} filter
 * @param {TrailActions} actions
 * @param {string} [list]
 */
function field(key, label, placeholder, filter, actions, list) {
  return html`<label>${label} <input name=${key} type="search" autocomplete="off" spellcheck="false" list=${list ?? nothing} placeholder=${placeholder} .value=${live(filter[key])} @input=${(/** @type {any} */ event) => actions.filterTrail({ [key]: event.target.value })} /></label>`;
}

/**
 * @param {TrailRow} row
 * @param {ReadonlyMap<string, import("../protocol.js").Node>} nodes
 */
function rowView(row, nodes) {
  // The trail has the ids of machines, which they keep; people know their names.
  const named = (/** @type {string} */ text) => (nodes.has(text) ? html`${nodes.get(text)?.name} <span class="faint">${text}</span>` : text);
  return html`<tr>
    <td data-label="time" class="when" title="row ${row.seq}">${fullTime(row.at)}</td>
    <td data-label="who"><b>${named(row.who)}</b></td>
    <td data-label="from" class="path">${row.origin}</td>
    <td data-label="what" class="act">${row.what}</td>
    <td data-label="result"><span class="result" data-result=${row.result}>${row.result}</span></td>
    <td data-label="details" class="details">${row.details.map(([key, value]) => html`<span><span class="faint">${key}</span> <bdi>${named(value)}</bdi></span> `)}</td>
  </tr>`;
}

/**
 * @param {Trust["verdict"]} verdict
 * @param {TrailActions} actions
 */
function verdictView(verdict, actions) {
  if (verdict === "busy") return html`<span class="verdict" role="status">Checking the chain…</span>`;
  const again = html`<button class="link" @click=${actions.verifyTrail}>${verdict ? "Check again" : "Check the chain"}</button>`;
  if (verdict === null) return again;
  return verdict.broken_at === null
    ? html`<span class="verdict good" role="status">${count(verdict.rows)} rows, none changed, none missing.</span>${again}`
    : html`<span class="verdict error" role="alert">Broken at row ${verdict.broken_at}: ${verdict.reason}. Keep the file as it is and compare it with a backup.</span>${again}`;
}
