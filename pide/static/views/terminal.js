/** The other side of an agent: its terminal, live or its recording, and what a phone's keyboard lacks. */

import { html, keyed, nothing, ref } from "../vendor/lit.js";
import { fullTime } from "../format.js";
import { allows } from "../protocol.js";
import { SPEEDS } from "../terminal/player.js";
import { addressOf, isProgram, lookOf } from "../ui.js";
import { icon } from "./icons.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../protocol.js").Agent} Agent */

/**
 * @typedef {object} TerminalActions
 * @property {(element: Element | undefined) => void} terminalPlaced
 * @property {() => void} takeTerminal
 * @property {() => void} olderOutput
 * @property {() => void} terminalCtrl
 * @property {(name: string) => void} terminalKey
 * @property {() => void} pasteHere
 * @property {(agent: string) => void} playRecording
 * @property {(agent: Agent) => void} saveRecording
 * @property {() => void} closeRecording
 * @property {(element: Element | undefined) => void} playerPlaced
 * @property {() => void} playerToggle
 * @property {(time: number) => void} playerSeek
 * @property {(speed: number) => void} playerSpeed
 * @property {(skips: boolean) => void} playerSkips
 * @property {(event: KeyboardEvent) => void} playerKey
 */

const KEYS = [
  ["esc", "Esc", "Escape"],
  ["tab", "Tab", "Tab"],
  ["ctrl", "Ctrl", "Ctrl, with the next key"],
  ["left", "←", "Left"],
  ["down", "↓", "Down"],
  ["up", "↑", "Up"],
  ["right", "→", "Right"],
  ["interrupt", "^C", "Ctrl C"],
];

/**
 * The two sides of an agent to choose from, if it has two.
 * @param {Ui} ui
 * @param {Agent} agent
 */
export function sidesView(ui, agent) {
  if (!agent.terminal || isProgram(agent)) return nothing;
  const look = lookOf(ui.route, agent);
  /**
   * @param {import("../ui.js").AgentLook} which
   * @param {string} text
   * @param {"talk" | "terminal"} picture
   * @param {number} [waiting] for a person
   */
  const side = (which, text, picture, waiting) =>
    html`<a class="mode" href=${addressOf({ kind: "agent", id: agent.id, look: which })} title=${text} aria-label=${waiting ? `${text}, ${waiting} wait for an answer` : text} aria-current=${look === which ? "page" : nothing}>${icon(picture)}<span class="not-phone">${text}</span>${waiting ? html` <span class="badge waiting" title="${waiting} wait for an answer">${waiting}</span>` : nothing}</a>`;
  return html`<nav class="modes sides" aria-label="What to look at">${side("conversation", "Conversation", "talk", agent.pending)}${side("terminal", "Terminal", "terminal")}</nav>`;
}

/**
 * Whether its terminal takes keys from here, if we are connected to it.
 * @param {State} state
 * @param {Agent} agent
 */
export function mayType(state, agent) {
  const isThere = state.mesh?.nodes.get(agent.node)?.state === "online";
  return isThere && agent.state !== "exited" && allows(state.me?.role, "agent.input");
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent} agent
 * @param {TerminalActions} actions
 */
export function terminalView(state, ui, agent, actions) {
  if (ui.playing?.agent === agent.id) return playerView(ui.playing, agent, lookOf(ui.route, agent) === "terminal" && agent.state !== "exited", actions);
  const { tty } = ui;
  return html`
    <div class="tty" data-ready=${String(Boolean(tty?.attached))} data-ours=${String(Boolean(tty?.ours))}>
      ${tty?.hasOlder ? olderView(tty.older, actions) : nothing}
      ${keyed(agent.id, html`<div class="tty-place" ${ref(actions.terminalPlaced)} aria-label="Terminal of ${agent.name}"></div>`)}
      ${ui.ttyError ? html`<div class="stage-empty"><p>The terminal cannot be shown: ${ui.ttyError}</p></div>` : nothing}
    </div>
    ${mayType(state, agent) ? keyBar(ui, actions) : nothing} ${footView(state, ui, agent, actions)}
  `;
}

/**
 * @param {import("../terminal/session.js").Look["older"]} older
 * @param {TerminalActions} actions
 */
function olderView(older, actions) {
  const text = older === "loading" ? "Loading older…" : older === "failed" ? "Older output did not come; try again" : "Older output";
  return html`<button class="tty-older pill" ?disabled=${older === "loading"} title="Or scroll up at the top" @click=${actions.olderOutput}>${icon("up")} ${text}</button>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent} agent
 * @param {TerminalActions} actions
 */
function footView(state, ui, agent, actions) {
  const { tty } = ui;
  const size = tty?.size;
  const note = noteOf(state, ui, agent);
  return html`<footer class="tty-foot" data-quiet=${String(note === "")}>
    <span class="tty-note" role="status" title=${note}>${note}</span>
    <span class="spring"></span>
    ${size ? html`<span class="faint tty-size" title="columns × rows" data-size="${size.cols}x${size.rows}">${size.cols}×${size.rows}</span>` : nothing}
    ${mayType(state, agent) && tty?.attached && !tty.ours ? html`<button class="button small" title="Give the terminal the size of this pane" @click=${actions.takeTerminal}>Fit here</button>` : nothing}
    <button class="button small not-phone" @click=${() => actions.playRecording(agent.id)}>${icon("play")}<span>Replay</span></button>
    <button class="button small not-phone" title="Save the recording in the asciinema format" @click=${() => actions.saveRecording(agent)}>${icon("down")}<span>Save</span></button>
  </footer>`;
}

/**
 * What one has to know of the terminal now.
 * @param {State} state
 * @param {Ui} ui
 * @param {Agent} agent
 */
function noteOf(state, ui, agent) {
  const { tty } = ui;
  const error = ui.attachErrors.get(agent.id);
  if (agent.state === "exited") return "It has ended. This is what it showed last.";
  if (error) return `Not connected: ${error}`;
  if (!tty?.attached) return "Connecting… nothing can be typed.";
  if (!allows(state.me?.role, "agent.input")) return `You are signed in as ${state.me?.role ?? "viewer"}: you can watch, not type.`;
  if (!mayType(state, agent)) return "Its machine cannot be reached: nothing can be typed.";
  if (!tty.ours) return "Sized by another window: type or tap to take over.";
  return "";
}

/**
 * @param {Ui} ui
 * @param {TerminalActions} actions
 */
function keyBar(ui, actions) {
  // The focus stays where it is, or a phone's keyboard would go.
  const keepFocus = (/** @type {Event} */ event) => event.preventDefault();
  const pressed = (/** @type {string} */ name) => (name === "ctrl" ? actions.terminalCtrl() : actions.terminalKey(name));
  return html`<div class="tty-keys" role="toolbar" aria-label="Keys" @pointerdown=${keepFocus} @mousedown=${keepFocus}>
    ${KEYS.map(
      ([name, text, title]) =>
        html`<button class="tty-key" aria-label=${title} aria-pressed=${name === "ctrl" ? String(Boolean(ui.tty?.ctrl)) : nothing} @click=${() => pressed(name)}>${text}</button>`,
    )}
    <button class="tty-key" @click=${actions.pasteHere}>Paste</button>
  </div>`;
}

/**
 * @param {import("../terminal/player.js").Playing} playing
 * @param {Agent} agent
 * @param {boolean} backToLive  what is behind it
 * @param {TerminalActions} actions
 */
function playerView(playing, agent, backToLive, actions) {
  const { phase, time, length, running, speed } = playing;
  const value = (/** @type {any} */ event) => Number(event.target.value);
  return html`
    <div class="tty" data-player=${phase} @keydown=${actions.playerKey}>
      ${keyed("player", html`<div class="tty-place" ${ref(actions.playerPlaced)} aria-label="Recording of the terminal of ${agent.name}"></div>`)}
      ${phase === "failed" ? html`<div class="stage-empty"><p>The recording cannot be read: ${playing.error}</p></div>` : nothing}
      ${phase === "ready" && length === 0 ? html`<div class="stage-empty"><p>Nothing of it was recorded.</p></div>` : nothing}
    </div>
    <footer class="tty-foot player" @keydown=${actions.playerKey}>
      <button class="icon-button" aria-label=${running ? "Pause" : "Play"} ?disabled=${phase !== "ready"} @click=${actions.playerToggle}>${icon(running ? "pause" : "play")}</button>
      <input type="range" aria-label="Time" min="0" max=${length} step="any" .value=${String(time)} aria-valuetext=${clock(time)} @input=${(/** @type {Event} */ event) => actions.playerSeek(value(event))} />
      <span class="player-time" title=${playing.wasAt ? fullTime(new Date(playing.wasAt).toISOString()) : ""}>${phase === "loading" ? "loading…" : `${clock(time)} / ${clock(length)}`}</span>
      <label class="check not-phone" title="Pauses longer than a moment are cut short"><input type="checkbox" .checked=${playing.skips} @change=${(/** @type {any} */ event) => actions.playerSkips(event.target.checked)} />skip pauses</label>
      <select aria-label="Speed" @change=${(/** @type {Event} */ event) => actions.playerSpeed(value(event))}>
        ${SPEEDS.map((one) => html`<option value=${one} ?selected=${one === speed}>${one}×</option>`)}
      </select>
      <button class="button small" title="Save it in the asciinema format" @click=${() => actions.saveRecording(agent)}>${icon("down")}<span class="not-phone">Save</span></button>
      <button class="button small" @click=${actions.closeRecording}>${backToLive ? "Live" : "Close"}</button>
    </footer>
  `;
}

/** @param {number} seconds */
function clock(seconds) {
  const s = Math.floor(seconds);
  const minutes = `${Math.floor(s / 60) % 60}`;
  const rest = `${s % 60}`.padStart(2, "0");
  return s >= 3_600 ? `${Math.floor(s / 3_600)}:${minutes.padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
