/** The middle pane: the whole conversation of one agent, live, and the place to write to it. */

import { guard, html, nothing, repeat } from "../vendor/lit.js";
import { successorsIn } from "../mesh.js";
import { agentPresence, evidenceLines, gapOnTheWay, isBusy } from "../presence.js";
import { decisionOn, isInTurn } from "../conversation.js";
import { allows } from "../protocol.js";
import { approvalView } from "./approval.js";
import { composerView } from "./composer.js";
import { entryView, runningView } from "./entry.js";
import { ago, shortModel, visible } from "../format.js";
import { icon, logo } from "./icons.js";
import { sidesView, terminalView } from "./terminal.js";
import { addressOf, isProgram, lookOf } from "../ui.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../conversation.js").Conversation} Conversation */
/** @typedef {import("../protocol.js").Agent} Agent */

/**
 * @typedef {import("./composer.js").ComposerActions & import("./approval.js").ApprovalActions & import("./terminal.js").TerminalActions & {
 *   back: () => void,
 *   toggleInspector: () => void,
 *   toggle: (id: string) => void,
 *   stageScrolled: () => void,
 *   jumpToLive: () => void,
 *   showOlder: () => void,
 *   olderAgain: () => void,
 *   abort: (agent: string) => void,
 *   askStop: (agent: Agent) => void,
 *   askForget: (agent: Agent) => void,
 *   askRename: (agent: Agent) => void,
 *   attachAgain: (agent: string) => void,
 *   copy: (text: string, what: string) => void,
 *   openSpawn: (node: string | null) => void,
 *   openJoin: () => void,
 * }} StageActions
 */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {StageActions} actions
 * @param {unknown} highlighted  changes when code can be drawn with its colours
 */
export function stageView(state, ui, actions, highlighted) {
  if (ui.route.kind !== "agent") return html`<main class="pane stage">${welcome(state, actions)}</main>`;
  const { id } = ui.route;
  const agent = state.mesh?.agents.get(id);
  const conv = state.conversations.get(id);
  if (state.mesh && !agent && !conv?.loaded) {
    return html`<main class="pane stage">
      <header class="stage-head">${backButton(actions)}<h1>Unknown agent</h1></header>
      <div class="stage-empty"><p>No agent of this mesh has the id in this address. It may have been forgotten.</p></div>
    </main>`;
  }
  if (agent && (lookOf(ui.route, agent) === "terminal" || ui.playing?.agent === id)) {
    return html`<main class="pane stage" aria-label="Terminal">
      ${headView(state, ui, agent, id, actions)} ${gapView(state, ui, agent)} ${terminalView(state, ui, agent, actions)}
    </main>`;
  }
  return html`
    <main class="pane stage" aria-label="Conversation">
      ${headView(state, ui, agent, id, actions)} ${gapView(state, ui, agent)}
      <div class="stage-scroll" id="stage-scroll" tabindex="-1" @scroll=${actions.stageScrolled}>
        <div class="stage-content" id="stage-content" data-attached=${String(conv?.attached ?? false)} role="log" aria-live="off" aria-label="Conversation with ${agent?.name ?? id}">
          ${conv?.loaded ? conversationView(conv, ui, conv.attached && allows(state.me?.role, "agent.answer"), actions, highlighted) : waitingView(ui, id, actions)}
        </div>
      </div>
      ${ui.follow
        ? nothing
        : html`<div class="pill-place"><button class="pill" @click=${actions.jumpToLive}>${icon("down")} Jump to live${ui.unseen ? html` <b>${ui.unseen} new</b>` : nothing}</button></div>`}
      ${composerView(state, ui, agent, id, actions)}
    </main>
  `;
}

/** @param {{back: () => void}} actions */
function backButton(actions) {
  return html`<button class="icon-button only-phone" aria-label="Back to the roster" @click=${actions.back}>${icon("back")}</button>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent | undefined} agent
 * @param {string} id
 * @param {StageActions} actions
 */
function headView(state, ui, agent, id, actions) {
  if (!agent) return html`<header class="stage-head">${backButton(actions)}<h1>${id}</h1></header>`;
  const presence = agentPresence(state, agent, ui.now);
  const node = state.mesh?.nodes.get(agent.node);
  const conv = state.conversations.get(id);
  const proofs = evidenceLines(agent, ui.now, state.probe).map((line) => `${line.name}: ${line.text}`).join("\n");
  const model = agent.model ?? conv?.model;
  return html`
    <header class="stage-head">
      ${backButton(actions)}
      <div class="stage-title">
        <h1>${agent.name}<span class="at">@${node?.name ?? agent.node}</span></h1>
        <p class="stage-sub"><span title=${agent.cwd}>${agent.cwd}</span>${model ? html`<span title=${model}>${shortModel(model)}</span>` : nothing}${agent.mode ? html`<span title="mode: ${agent.mode}">${visible(agent.mode)}</span>` : nothing}</p>
      </div>
      ${sidesView(ui, agent)}
      <span class="state-pill" data-tone=${presence.tone} title=${proofs}>
        <span class="presence" data-tone=${presence.tone} aria-hidden="true"></span>
        <span>${presence.word}</span>
        <span class="state-proof">${agent.last_event ? ago(agent.last_event, ui.now) : ""}</span>
      </span>
      ${isBusy(agent) && !isProgram(agent) && allows(state.me?.role, "agent.abort") && !presence.stale
        ? html`<button class="button small" title="Stop this turn; the agent goes on living" @click=${() => actions.abort(id)}>${icon("stop")}<span class="not-phone">Abort turn</span></button>`
        : nothing}
      ${menuView(state, agent, node, actions)}
      <button class="icon-button" aria-label="Inspector" aria-pressed=${String(ui.inspectorOpen)} title="Inspector (i)" @click=${actions.toggleInspector}>${icon("panel")}</button>
    </header>
  `;
}

/**
 * @param {State} state
 * @param {Agent} agent
 * @param {import("../protocol.js").Node | undefined} node
 * @param {StageActions} actions
 */
function menuView(state, agent, node, actions) {
  const role = state.me?.role;
  const address = agent.address ?? `${agent.name}@${node?.name ?? agent.node}`;
  return html`<details class="menu">
    <summary class="icon-button" aria-label="More about ${agent.name}" title="More">${icon("more")}</summary>
    <div class="menu-list" role="group">
      <button @click=${() => actions.copy(`hyperpi attach ${address}`, "command")}>Copy attach command</button>
      ${agent.terminal
        ? html`<button @click=${() => actions.copy(`hyperpi attach ${address} --tty`, "command")}>Copy terminal command</button>
            <button @click=${() => actions.playRecording(agent.id)}>Replay its terminal</button>
            <button @click=${() => actions.saveRecording(agent)}>Save its recording</button>`
        : nothing}
      <button @click=${() => actions.copy(address, "address")}>Copy address</button>
      ${allows(role, "agent.rename") ? html`<button @click=${() => actions.askRename(agent)}>Rename…</button>` : nothing}
      ${allows(role, "agent.stop") && agent.state !== "exited" ? html`<button class="danger" @click=${() => actions.askStop(agent)}>Stop agent…</button>` : nothing}
      ${allows(role, "agent.resume") && agent.resume ? html`<button @click=${() => actions.resume(agent.id)}>Resume</button>` : nothing}
      ${allows(role, "agent.forget") && agent.state === "exited" ? html`<button class="danger" @click=${() => actions.askForget(agent)}>Forget…</button>` : nothing}
    </div>
  </details>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent | undefined} agent
 */
function gapView(state, ui, agent) {
  const gap = gapOnTheWay(state, agent, ui.now);
  const after = agent?.state === "exited" ? successorsIn(state.mesh?.agents ?? new Map()).get(agent.id) : undefined;
  return gap
    ? html`<p class="gap" data-tone=${gap.tone} role="status">${gap.text}${after ? html` <a href=${addressOf({ kind: "agent", id: after.id })}>${after.name}</a> went on with it.` : nothing}</p>`
    : nothing;
}

/**
 * @param {Ui} ui
 * @param {string} id
 * @param {StageActions} actions
 */
function waitingView(ui, id, actions) {
  const error = ui.attachErrors.get(id);
  if (!error) {
    return html`<div class="skeleton" aria-label="Loading the conversation"><i></i><i></i><i></i><i></i></div>`;
  }
  return html`<div class="stage-empty">
    <p>The conversation cannot be read now: ${error}</p>
    <button class="button" @click=${() => actions.attachAgain(id)}>Try again</button>
  </div>`;
}

/**
 * @param {Conversation} conv
 * @param {Ui} ui
 * @param {boolean} mayAnswer
 * @param {StageActions} actions
 * @param {unknown} highlighted
 */
function conversationView(conv, ui, mayAnswer, actions, highlighted) {
  const from = Math.max(0, conv.entries.length - ui.shown);
  return html`
    ${olderView(conv, ui, from, actions)}
    ${guard([conv.entries, conv.results, conv.runs, conv.decisions, conv.pending, conv.attached, conv.state, from, ui.open, highlighted], () =>
      repeat(
        conv.entries.slice(from),
        (entry) => entry.id,
        (entry) => guard(entryParts(entry, conv, ui, highlighted), () => entryView(entry, conv, ui.open, actions)),
      ),
    )}
    ${runningView(conv, ui.open, actions)} ${pendingView(conv, ui, mayAnswer, actions)}
    ${conv.entries.length === 0 && conv.running.length === 0 ? html`<div class="stage-empty"><p>Nothing said yet. Write the first prompt below.</p></div>` : nothing}
  `;
}

/**
 * What the picture of one entry depends on, so that a tool's progress draws that tool again and no other.
 * @param {import("../protocol.js").Entry} entry
 * @param {Conversation} conv
 * @param {Ui} ui
 * @param {unknown} highlighted
 */
function entryParts(entry, conv, ui, highlighted) {
  /** @type {unknown[]} */
  const parts = [entry, ui.open, highlighted, conv.attached, isInTurn(conv, entry)];
  for (const block of entry.blocks) {
    if (block.type === "tool_call") parts.push(conv.runs.get(block.call_id), conv.results.get(block.call_id), decisionOn(conv, block.call_id));
    if (block.type === "tool_result") parts.push(conv.called.has(block.call_id), conv.runs.get(block.call_id), decisionOn(conv, block.call_id));
  }
  return parts;
}

/**
 * @param {Conversation} conv
 * @param {Ui} ui
 * @param {number} from
 * @param {StageActions} actions
 */
function olderView(conv, ui, from, actions) {
  if (from === 0 && !conv.more) {
    return conv.entries.length ? html`<p class="beginning">the beginning of this conversation</p>` : nothing;
  }
  if (ui.history === "compacted") return html`<p class="beginning">older entries are no longer kept by the agent</p>`;
  if (ui.history === "failed") {
    return html`<p class="beginning">Older entries did not come. <button class="link" @click=${actions.olderAgain}>Try again</button></p>`;
  }
  return html`<p class="beginning"><button class="link" @click=${actions.showOlder}>${ui.history === "loading" ? "Loading older…" : "Older"}</button></p>`;
}

/**
 * @param {Conversation} conv
 * @param {Ui} ui
 * @param {boolean} mayAnswer
 * @param {StageActions} actions
 */
function pendingView(conv, ui, mayAnswer, actions) {
  return repeat(
    conv.pending,
    (approval) => approval.id,
    (approval) => {
      const look = { now: ui.now, mayAnswer, putOff: ui.putOff.has(approval.id), answering: ui.answering.has(approval.id) };
      return approvalView({ agent: conv.agent, ...approval }, look, actions);
    },
  );
}

/**
 * @param {State} state
 * @param {StageActions} actions
 */
function welcome(state, actions) {
  const { mesh, me } = state;
  if (!mesh) return html`<div class="stage-empty">${logo()}<p>Connecting to the mesh…</p></div>`;
  if (mesh.agents.size === 0) {
    return html`<div class="stage-empty wide">
      ${logo()}
      <h1>Your mesh is ready. It has no agents yet.</h1>
      <ol class="steps">
        <li><b>Let pi register itself.</b> Once on each machine:<pre class="command">hyperpi pi install</pre></li>
        <li><b>Work as always.</b> In any project folder:<pre class="command">pi</pre>It appears on the left by itself.</li>
        <li>
          <b>Or from here:</b>
          <span class="steps-actions">
            ${allows(me?.role, "node.spawn") ? html`<button class="button primary" @click=${() => actions.openSpawn(null)}>Start an agent…</button>` : nothing}
            <button class="button" @click=${actions.openJoin}>Add a machine…</button>
          </span>
        </li>
      </ol>
    </div>`;
  }
  return html`<div class="stage-empty">
    ${logo()}
    <h1 class="sr-only">Hyper-Pi, mesh ${mesh.name}</h1>
    <p>Choose an agent on the left.</p>
    <p class="faint"><kbd>j</kbd> <kbd>k</kbd> to move, <kbd>Enter</kbd> to open, <kbd>/</kbd> to filter, <kbd>?</kbd> for all keys</p>
  </div>`;
}
