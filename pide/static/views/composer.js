/** Where a person writes to an agent, and what became of what was written. */

import { html, live, nothing, repeat } from "../vendor/lit.js";
import { straight } from "../format.js";
import { successorsIn } from "../mesh.js";
import { isBusy } from "../presence.js";
import { canSteer, modeFor, notYetDelivered } from "../prompts.js";
import { allows } from "../protocol.js";
import { LIST, completionView, optionId } from "./completion.js";
import { icon } from "./icons.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../protocol.js").Agent} Agent */
/** @typedef {import("../protocol.js").PromptMode} PromptMode */
/** @typedef {import("../prompts.js").Prompt} Prompt */

/**
 * @typedef {object} ComposerActions
 * @property {(agent: string, box: HTMLTextAreaElement) => void} typed
 * @property {(index: number) => void} complete
 * @property {(agent: string, event: ClipboardEvent | DragEvent) => void} picturesGiven
 * @property {(agent: string, input: HTMLInputElement) => void} picturesChosen
 * @property {(agent: string, index: number) => void} dropPicture
 * @property {() => void} closeCompletion
 * @property {(agent: string, mode: PromptMode) => void} mode
 * @property {(agent: string) => void} send
 * @property {(prompt: Prompt) => void} sendAgain
 * @property {(agent: string, id: string, edit: boolean) => void} takeBack
 * @property {(prompt: Prompt) => void} editAgain
 * @property {(prompt: Prompt) => void} dismiss
 * @property {(event: KeyboardEvent) => void} composerKey
 * @property {(agent: string) => void} resume
 * @property {(agent: string, prompt: import("../protocol.js").QueuedPrompt) => void} sendLost
 * @property {(agent: string, prompt: import("../protocol.js").QueuedPrompt) => void} copyLost
 * @property {(id: string) => void} putAway
 * @property {(text: string, what: string) => void} copy
 */

const MODES = /** @type {{mode: PromptMode, text: string, title: string}[]} */ ([
  { mode: "steer", text: "Steer", title: "goes in at the next step of this turn" },
  { mode: "follow_up", text: "Follow up", title: "waits until this turn is over" },
]);

const RECEIPTS = /** @type {Record<Prompt["receipt"], string>} */ ({
  sending: "sending…",
  stored: "stored at its node",
  queued: "queued in the agent",
  delivered: "delivered",
  cancelled: "taken back",
  unknown: "unknown: it may or may not have arrived",
  refused: "refused",
});

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent | undefined} agent
 * @param {string} id
 * @param {ComposerActions} actions
 */
export function composerView(state, ui, agent, id, actions) {
  const mayPrompt = allows(state.me?.role, "agent.prompt");
  const draft = ui.drafts.get(id) ?? "";
  const mode = modeFor(agent, ui.modes.get(id));
  const ended = agent?.state === "exited";
  const told = state.conversations.get(id)?.queue ?? [];
  const queued = new Set(told.map((one) => one.id));
  const queue = whole(told, state.prompts.get(id) ?? []).filter((one) => !ui.putAway.has(one.id));
  const onTheirWay = notYetDelivered(state.prompts, id).filter((prompt) => !queued.has(prompt.id));
  const pictures = ui.pictures.get(id) ?? [];
  const completion = ui.completion?.agent === id && !ended ? ui.completion : null;
  const inTurn = agent !== undefined && isBusy(agent) && state.mesh?.nodes.get(agent.node)?.state === "online";
  return html`
    <footer class="composer">
      ${queueView(queue, id, mayPrompt, actions, mayPrompt && goesOn(state, agent))} ${receiptsView(onTheirWay, state, actions)}
      ${mayPrompt
        ? html`<div class="composer-box" data-disabled=${String(ended)}>
            ${completionView(completion, actions.complete)} ${picturesView(pictures, id, actions)}
            <textarea
              id="composer"
              rows="1"
              aria-label="Prompt for ${agent?.name ?? id}"
              aria-autocomplete="list"
              aria-controls=${completion ? LIST : nothing}
              aria-activedescendant=${completion ? optionId(completion.chosen) : nothing}
              placeholder=${placeholder(state, agent, mode)}
              ?disabled=${ended}
              .value=${live(draft)}
              @input=${(/** @type {any} */ event) => actions.typed(id, event.target)}
              @blur=${actions.closeCompletion}
              @paste=${(/** @type {ClipboardEvent} */ event) => actions.picturesGiven(id, event)}
              @dragover=${(/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") && event.preventDefault()}
              @drop=${(/** @type {DragEvent} */ event) => actions.picturesGiven(id, event)}
              @keydown=${actions.composerKey}
            ></textarea>
            <div class="composer-row">
              ${inTurn
                ? html`<div class="modes" role="group" aria-label="When the prompt goes in">
                    ${MODES.filter((one) => one.mode !== "steer" || canSteer(agent)).map(
                      (one) =>
                        html`<button class="mode" aria-pressed=${String(mode === one.mode)} title=${one.title} @click=${() => actions.mode(id, one.mode)}>${one.text}</button>`,
                    )}
                    <span class="faint not-phone">${MODES.find((one) => one.mode === mode)?.title}</span>
                  </div>`
                : html`<span class="faint not-phone">${ended ? "" : html`<kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> new line`}</span>`}
              <span class="spring"></span>
              ${ended
                ? nothing
                : html`<label class="icon-button" title="Add pictures"
                    >${icon("picture")}<input class="sr-only" type="file" accept="image/*" multiple aria-label="Add pictures" @change=${(/** @type {any} */ event) => actions.picturesChosen(id, event.target)}
                  /></label>`}
              ${agent?.resume && allows(state.me?.role, "agent.resume")
                ? html`<button class="button primary" title="A new agent goes on with this conversation; no turn is run again" ?disabled=${ui.resuming.has(id)} @click=${() => actions.resume(id)}>${ui.resuming.has(id) ? "Resuming…" : "Resume"}</button>`
                : nothing}
              <button class="button primary send" ?hidden=${ended} ?disabled=${ended || (draft.trim() === "" && pictures.length === 0)} aria-label="Send" @click=${() => actions.send(id)}>${icon("send")}</button>
            </div>
          </div>`
        : html`<p class="faint composer-note">You are signed in as ${state.me?.role ?? "viewer"}: you can read, not write. An operator's login can prompt.</p>`}
    </footer>
  `;
}

/**
 * @param {State} state
 * @param {Agent | undefined} agent
 * @param {PromptMode} mode
 */
function placeholder(state, agent, mode) {
  if (!agent) return "";
  if (agent.state === "exited") return "This agent has ended.";
  if (state.link.phase !== "open") return "Write now; it is sent when the hypivisor is back.";
  const node = state.mesh?.nodes.get(agent.node);
  if (node && node.state !== "online") return `${node.name} is away: it cannot take a prompt now.`;
  if (mode === "steer") return `Steer ${agent.name}…`;
  if (mode === "follow_up") return `After this turn, ${agent.name}…`;
  return `Prompt ${agent.name}…`;
}

/**
 * @param {import("../protocol.js").Picture[]} pictures
 * @param {string} agent
 * @param {ComposerActions} actions
 */
function picturesView(pictures, agent, actions) {
  if (!pictures.length) return nothing;
  return html`<ul class="pictures" aria-label="Pictures that go with the prompt">
    ${pictures.map(
      (picture, index) => html`<li>
        <img alt="picture ${index + 1}" src="data:${picture.mime};base64,${picture.data}" />
        <button class="icon-button" aria-label="Remove picture ${index + 1}" @click=${() => actions.dropPicture(agent, index)}>${icon("close")}</button>
      </li>`,
    )}
  </ul>`;
}

const PLACES = /** @type {Record<import("../protocol.js").QueuedPrompt["where"], string>} */ ({
  node: "stored at its node",
  agent: "queued in the agent",
  handed: "in pi's own queue",
  lost: "not taken, as far as is known: the agent ended",
});

const MARKS = /** @type {Partial<Record<import("../protocol.js").QueuedPrompt["where"], string>>} */ ({ node: "stored", lost: "unknown" });

/**
 * Whether there is, or could be, an agent that goes on with this one's conversation.
 * @param {State} state
 * @param {Agent | undefined} agent
 */
function goesOn(state, agent) {
  if (!agent) return false;
  return successorsIn(state.mesh?.agents ?? new Map()).has(agent.id) || (Boolean(agent.resume) && allows(state.me?.role, "agent.resume"));
}

/**
 * The queue with the whole texts of those that were sent from here: it has their beginnings.
 * @param {import("../protocol.js").QueuedPrompt[]} queue
 * @param {Prompt[]} sent
 */
function whole(queue, sent) {
  return queue.map((one) => {
    const ours = sent.find((prompt) => prompt.id === one.id);
    return ours ? { ...one, text: ours.text, cut: 0 } : one;
  });
}

const told = (/** @type {import("../protocol.js").QueuedPrompt} */ one) => (one.cut ? `${one.text}…` : one.text);

/**
 * @param {import("../protocol.js").QueuedPrompt} prompt
 * @param {string} agent
 * @param {ComposerActions} actions
 * @param {boolean} goesOn
 */
function lostView(prompt, agent, actions, goesOn) {
  const whole = !prompt.cut || prompt.kept;
  return html`${goesOn && whole
      ? html`<button class="link" title="Says it to the agent that goes on with this conversation" @click=${() => actions.sendLost(agent, prompt)}>Send again</button>`
      : nothing}
    ${whole
      ? html`<button class="link" @click=${() => actions.copyLost(agent, prompt)}>Copy</button>`
      : html`<span class="receipt-word">only its beginning is known: ${prompt.cut} characters are missing</span>
          <button class="link" @click=${() => actions.copy(prompt.text, "beginning")}>Copy the beginning</button>`}
    <button class="link" @click=${() => actions.putAway(prompt.id)}>Dismiss</button>`;
}

/**
 * What waits for the agent, whoever sent it.
 * @param {import("../protocol.js").QueuedPrompt[]} queue
 * @param {string} agent
 * @param {boolean} mayPrompt
 * @param {ComposerActions} actions
 * @param {boolean} goesOn  whether what an ended agent had not taken can be sent to another one in its place
 */
function queueView(queue, agent, mayPrompt, actions, goesOn) {
  if (!queue.length) return nothing;
  return html`<ul class="receipts queue" aria-label="Prompts that wait">
    ${repeat(
      queue,
      (one) => one.id,
      (one) => html`<li data-receipt=${MARKS[one.where] ?? "queued"} data-queued=${one.id}>
        <span class="receipt-mark" aria-hidden="true"></span>
        <span class="receipt-text" title=${straight(told(one))}>${straight(told(one)) || "(pictures)"}</span>
        <span class="receipt-word">${one.mode === "steer" ? "steers · " : ""}${PLACES[one.where] ?? one.where}</span>
        ${one.where === "lost" ? lostView(one, agent, actions, goesOn) : nothing}
        ${mayPrompt && (one.where === "node" || one.where === "agent")
          ? html`<button class="link" @click=${() => actions.takeBack(agent, one.id, true)}>Edit</button>
              <button class="link" @click=${() => actions.takeBack(agent, one.id, false)}>Cancel</button>`
          : nothing}
      </li>`,
    )}
  </ul>`;
}

/**
 * @param {Prompt[]} prompts
 * @param {State} state
 * @param {ComposerActions} actions
 */
function receiptsView(prompts, state, actions) {
  if (!prompts.length) return nothing;
  return html`<ul class="receipts" aria-label="Prompts on their way">
    ${repeat(
      prompts,
      (prompt) => prompt.id,
      (prompt) => html`<li data-receipt=${prompt.receipt}>
        <span class="receipt-mark" aria-hidden="true"></span>
        <span class="receipt-text" title=${straight(prompt.text)}>${straight(prompt.text)}</span>
        <span class="receipt-word" role="status">${words(prompt, state)}</span>
        ${prompt.receipt === "unknown" ? html`<button class="link" @click=${() => actions.sendAgain(prompt)}>Send again</button>` : nothing}
        ${prompt.receipt === "refused" ? html`<button class="link" @click=${() => actions.editAgain(prompt)}>Edit</button>` : nothing}
        ${prompt.receipt === "unknown" || prompt.receipt === "refused"
          ? html`<button class="link" aria-label="Dismiss" @click=${() => actions.dismiss(prompt)}>Dismiss</button>`
          : nothing}
      </li>`,
    )}
  </ul>`;
}

/**
 * @param {Prompt} prompt
 * @param {State} state
 */
function words(prompt, state) {
  if (prompt.receipt === "sending" && state.link.phase !== "open") return "kept here until the link is back";
  if (prompt.receipt === "refused") return `refused: ${prompt.error ?? ""}`;
  if (prompt.receipt === "unknown" && prompt.error) return `unknown: ${prompt.error}`;
  return RECEIPTS[prompt.receipt];
}
