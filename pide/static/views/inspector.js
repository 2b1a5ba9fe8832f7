/** The right pane: what is known of the open agent and its node, and on what evidence. */

import { html, live, nothing, repeat } from "../vendor/lit.js";
import { agentPresence, evidenceLines } from "../presence.js";
import { allows } from "../protocol.js";
import { addressOf, isProgram } from "../ui.js";
import { diskView } from "./disk.js";
import { ago, clockTime, count, fullTime, money, straight, visible } from "../format.js";
import { icon } from "./icons.js";
import { nodeFacts } from "./node.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../protocol.js").Agent} Agent */

/**
 * @typedef {import("./disk.js").DiskActions & {
 *   tab: (tab: Ui["tab"]) => void,
 *   closeInspector: () => void,
 *   scrollForm: (change: Partial<Ui["scroll"]>) => void,
 *   sendScroll: (agent: Agent) => void,
 *   configure: (agent: string, change: {[name in import("../protocol.js").Setting]?: string}) => void,
 *   copy: (text: string, what: string) => void,
 * }} InspectorActions
 */

const TABS = /** @type {[Ui["tab"], string][]} */ ([
  ["agent", "Agent"],
  ["scrolls", "Scrolls"],
  ["node", "Machine"],
]);

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {InspectorActions} actions
 */
export function inspectorView(state, ui, actions) {
  const agent = ui.route.kind === "agent" ? state.mesh?.agents.get(ui.route.id) : undefined;
  if (!agent) return nothing;
  return html`
    <aside class="pane inspector" aria-label="Inspector">
      <header class="inspector-head">
        <button class="icon-button only-phone" aria-label="Back to the conversation" @click=${actions.closeInspector}>${icon("back")}</button>
        <div class="tabs" role="tablist" aria-label="Inspector">
          ${TABS.map(
            ([tab, text]) =>
              html`<button role="tab" id="tab-${tab}" aria-controls="inspector-body" aria-selected=${String(ui.tab === tab)} @click=${() => actions.tab(tab)}>${text}</button>`,
          )}
        </div>
        <button class="icon-button not-phone" aria-label="Close the inspector" @click=${actions.closeInspector}>${icon("close")}</button>
      </header>
      <div class="inspector-body" id="inspector-body" role="tabpanel" aria-labelledby="tab-${ui.tab}" tabindex="-1">
        ${ui.tab === "agent" ? agentCard(state, ui, agent, actions) : nothing}
        ${ui.tab === "scrolls" ? scrollsView(state, ui, agent, actions) : nothing}
        ${ui.tab === "node" ? machineView(state, ui, agent, actions) : nothing}
      </div>
    </aside>
  `;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent} agent
 * @param {InspectorActions} actions
 */
function agentCard(state, ui, agent, actions) {
  const conv = state.conversations.get(agent.id);
  const presence = agentPresence(state, agent, ui.now);
  const node = state.mesh?.nodes.get(agent.node);
  const usage = conv?.usage ?? agent.usage;
  const session = conv?.session ?? agent.session;
  return html`
    <section class="card" aria-label="Presence">
      <h2>
        <span class="presence" data-tone=${presence.tone} aria-hidden="true"></span>${presence.word}
        ${presence.note ? html`<span class="card-note">${presence.note}</span>` : nothing}
      </h2>
      <dl class="facts" data-stale=${String(presence.stale)}>
        ${evidenceLines(agent, ui.now, state.probe).map((line) => html`<dt title=${line.title}>${line.name}</dt><dd>${line.text}</dd>`)}
        <dt>state since</dt><dd title=${fullTime(agent.since)}>${agent.since ? ago(agent.since, ui.now) : "–"}</dd>
        <dt>watching</dt><dd>${agent.watchers ?? 0}</dd>
      </dl>
    </section>
    <section class="card" aria-label="Identity">
      <dl class="facts">
        <dt>address</dt><dd><button class="copyable" title="Copy" @click=${() => actions.copy(agent.address ?? agent.name, "address")}>${agent.address ?? agent.name}</button></dd>
        <dt>machine</dt><dd>${node ? html`<a href=${addressOf({ kind: "node", id: node.id })}>${node.name}</a>` : agent.node}</dd>
        <dt>folder</dt><dd class="path">${agent.cwd}</dd>
        ${agent.project && agent.project !== agent.cwd ? html`<dt>project</dt><dd class="path">${agent.project}</dd>` : nothing}
        <dt>kind</dt><dd>${agent.kind}</dd>
        ${isProgram(agent) ? nothing : modelFacts(state, agent, actions)}
        ${isProgram(agent) ? nothing : html`<dt>session</dt><dd class="path">${visible(session?.name ?? session?.id ?? "not told")}</dd>`}
        ${session?.file ? html`<dt>session file</dt><dd class="path">${visible(session.file)}</dd>` : nothing}
        <dt>pid</dt><dd>${agent.pid ?? "–"}</dd>
        ${agent.resumed_from ? html`<dt>continues</dt><dd><a href=${addressOf({ kind: "agent", id: agent.resumed_from })}>${state.mesh?.agents.get(agent.resumed_from)?.name ?? agent.resumed_from}</a></dd>` : nothing}
      </dl>
    </section>
    ${isProgram(agent) ? nothing : html`${usageView(usage)} ${toolsView(agent, conv)}`}
  `;
}

/** @param {import("../protocol.js").Usage | null | undefined} usage */
function usageView(usage) {
  return html`<section class="card" aria-label="Usage">
    <h3>Usage</h3>
    <div class="figures">
      <div><b>${count(usage?.input_tokens)}</b><span>tokens in</span></div>
      <div><b>${count(usage?.output_tokens)}</b><span>tokens out</span></div>
      <div><b>${money(usage?.cost_usd)}</b><span>cost</span></div>
    </div>
    ${contextView(usage?.context)}
  </section>`;
}

/**
 * @param {Agent} agent
 * @param {import("../conversation.js").Conversation | undefined} conv
 */
function toolsView(agent, conv) {
  return html`<section class="card" aria-label="Tools">
    <h3>Tools <span class="faint">${conv?.loaded ? conv.tools.length : (agent.tools ?? 0)}</span></h3>
    ${conv?.loaded
      ? conv.tools.length
        ? html`<ul class="tools">
            ${conv.tools.map((tool) => html`<li><b>${tool.name}</b><span>${tool.description ?? ""}</span></li>`)}
          </ul>`
        : html`<p class="faint">This agent told of no tools.</p>`
      : html`<p class="faint">Listed once its conversation is read.</p>`}
  </section>`;
}

const SCROLL_WORDS = /** @type {Record<string, string>} */ ({
  accepted: "accepted: on the sender's disk",
  relayed: "on its way",
  stored: "on the receiver's disk",
  delivered: "delivered to the agent",
  answered: "answered",
  expired: "expired undelivered",
  refused: "refused",
  unknown: "unknown",
});

/**
 * What it runs on: to be changed where the agent has told what else it could use.
 * @param {State} state
 * @param {Agent} agent
 * @param {InspectorActions} actions
 */
function modelFacts(state, agent, actions) {
  const choices = state.probe?.agent === agent.id ? state.probe.choices : null;
  const mayChoose = allows(state.me?.role, "agent.configure") && agent.state !== "exited" && agent.state !== "unreachable";
  const row = (/** @type {import("../protocol.js").Setting} */ name, /** @type {string | null | undefined} */ now, /** @type {string[]} */ others) => {
    if (!mayChoose || others.length === 0) return html`<dt>${name}</dt><dd>${visible(now ?? "not told")}</dd>`;
    const known = now && !others.includes(now) ? [now, ...others] : others;
    return html`<dt><label for="choose-${name}">${name}</label></dt>
      <dd>
        <select id="choose-${name}" .value=${live(now ?? "")} @change=${(/** @type {any} */ event) => actions.configure(agent.id, { [name]: event.target.value })}>
          ${now ? nothing : html`<option value="">not told</option>`}
          ${known.map((one) => html`<option value=${one} ?selected=${one === now}>${visible(one)}</option>`)}
        </select>
      </dd>`;
  };
  return html`${row("model", agent.model, choices?.models ?? [])}
  ${agent.thinking ? row("thinking", agent.thinking, choices?.thinking_levels ?? []) : nothing}
  ${agent.mode ? row("mode", agent.mode, choices?.modes ?? []) : nothing}`;
}

/** @param {import("../protocol.js").ContextUsage | null | undefined} context */
function contextView(context) {
  if (!context?.window) return nothing;
  const percent = Math.min(100, Math.max(0, context.percent ?? 0));
  const told = context.tokens === null || context.tokens === undefined ? "not counted yet" : `${count(context.tokens)} of ${count(context.window)}`;
  return html`<div class="context">
    <meter min="0" max="100" high="80" .value=${percent} aria-label="Context window"></meter>
    <span>context: ${told}${context.tokens ? ` (${Math.round(percent)} %)` : nothing}</span>
  </div>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent} agent
 * @param {InspectorActions} actions
 */
function scrollsView(state, ui, agent, actions) {
  const scrolls = state.scrolls.get(agent.id);
  const form = ui.scroll;
  const send = (/** @type {Event} */ event) => {
    event.preventDefault();
    actions.sendScroll(agent);
  };
  return html`
    ${allows(state.me?.role, "scroll.send")
      ? html`<form class="card scroll-form" @submit=${send}>
          <label>To <input list="addresses" autocomplete="off" spellcheck="false" placeholder=${agent.address ?? agent.name} .value=${live(form.to)} @input=${(/** @type {any} */ event) => actions.scrollForm({ to: event.target.value })} /></label>
          <datalist id="addresses">${[...(state.mesh?.agents.values() ?? [])].slice(0, 200).map((one) => html`<option value=${one.address ?? one.name}></option>`)}</datalist>
          <label>Message <textarea rows="3" .value=${live(form.message)} @input=${(/** @type {any} */ event) => actions.scrollForm({ message: event.target.value })}></textarea></label>
          <div class="form-row">
            <span class="faint">Stored before it is acknowledged.</span><span class="spring"></span>
            <button class="button primary" ?disabled=${form.busy || form.message.trim() === ""}>Send scroll</button>
          </div>
          ${form.error ? html`<p class="error" role="alert">${form.error}</p>` : nothing}
        </form>`
      : nothing}
    ${scrolls === undefined
      ? html`<p class="hint">Asking for scrolls…</p>`
      : scrolls.length === 0
        ? html`<p class="hint">No scrolls to or from ${agent.name} yet. A scroll is a message that waits on disk until its receiver takes it, even if a machine sleeps.</p>`
        : html`<ul class="scrolls">
            ${repeat([...scrolls].reverse(), (scroll) => scroll.scroll_id, scrollView)}
          </ul>`}
  `;
}

/** @param {import("../scrolls.js").KnownScroll} scroll */
function scrollView(scroll) {
  return html`<li class="scroll">
    <header><b>${visible(scroll.from ?? "?")}</b><span class="faint">→</span><b>${visible(scroll.to)}</b><span class="spring"></span><time title=${fullTime(scroll.at)}>${clockTime(scroll.at)}</time></header>
    <p>${straight(scroll.message)}</p>
    ${scroll.receipts.map(
      (receipt) => html`<p class="receipt" data-state=${receipt.state}>
          <span class="receipt-mark" aria-hidden="true"></span>
          ${receipt.to !== scroll.to ? html`<b>${visible(receipt.to)}</b>` : nothing}
          ${SCROLL_WORDS[receipt.state] ?? receipt.state}${receipt.reason ? html`: ${straight(receipt.reason)}` : nothing}
        </p>
        ${receipt.opcode ? html`<pre class="opcode">${straight(opcodeText(receipt.opcode))}</pre>` : nothing}`,
    )}
  </li>`;
}

/** @param {NonNullable<import("../protocol.js").Scroll["opcode"]>} opcode */
function opcodeText(opcode) {
  const { content, opcode_type } = opcode;
  return typeof content === "string" ? content : `${opcode_type ?? "opcode"} ${JSON.stringify(content, null, 2)}`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent} agent
 * @param {InspectorActions} actions
 */
function machineView(state, ui, agent, actions) {
  const node = state.mesh?.nodes.get(agent.node);
  if (!node) return html`<p class="hint">The machine of this agent is not listed in the mesh.</p>`;
  return html`${nodeFacts(state, ui, node)}
    <section class="card" aria-label="PXLDisk"><h3>PXLDisk</h3>${diskView(state, ui, node, actions)}</section>`;
}
