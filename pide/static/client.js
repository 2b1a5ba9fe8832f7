/**
 * What this page asks the server, and when: the mesh after each connect, the open conversation, prompts until
 * somebody has answered for them. Turns answers into events for `apply`; knows nothing of the page.
 */

import { oldestId } from "./conversation.js";
import { unanswered } from "./prompts.js";
import { ERROR, NoAnswer, RpcError, newId } from "./protocol.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Happening} Happening */
/** @typedef {import("./prompts.js").Prompt} Prompt */

const HISTORY_LIMIT = 200;
const ATTACH_TIMEOUT_S = 30; // the agent itself makes the snapshot, and it may be busy
const ATTACH_AGAIN_MS = 10_000; // after a refusal; a change of its node or state asks sooner
const TERMINAL_AGAIN_MS = 250; // a flood ends streams as fast as they are begun
const PROBE_TIMEOUT_S = 8;
const PROMPT_AGAIN_MS = 3_000;
const MAX_PROMPT_BYTES = 1_000_000; // a frame from a viewer is at most 1 MiB
const RESYNC_LIMIT = 3; // attaches in a row that led to no event: then wait between them

export class Client {
  /**
   * @param {object} options
   * @param {(method: string, params?: object, timeout_s?: number) => Promise<any>} options.request
   * @param {() => State} options.state
   * @param {(event: Happening) => void} options.dispatch
   * @param {(agent: string, error: string | null) => void} options.onAttach
   * @param {(agent: string) => {offset?: number} | null} options.terminal  from where its terminal is wanted too
   * @param {(agent: string, terminal: import("./terminal/session.js").Attached) => void} options.onTerminal
   * @param {(seconds: number) => void} options.onHeartbeat
   * @param {() => number} [options.now]
   */
  constructor({ request, state, dispatch, onAttach, terminal, onTerminal, onHeartbeat, now }) {
    this._request = request;
    this._state = state;
    this._dispatch = dispatch;
    this._onAttach = onAttach;
    this._terminal = terminal;
    this._onTerminal = onTerminal;
    this._onHeartbeat = onHeartbeat;
    this._now = now ?? Date.now;
    /** @type {string | null} */
    this.openAgent = null;
    this._askingMesh = false;
    /** @type {string | null} agent whose attach is under way */
    this._attaching = null;
    this._attachAgain = false;
    this._resyncs = 0;
    /** @type {any} */
    this._againTimer = null;
  }

  /** A new link: ask for everything that may have been missed. @param {import("./socket.js").Status} status */
  async linked(status) {
    this._dispatch({ type: "link", status, at: this._now() });
    if (status.phase !== "open") {
      this._attaching = null;
      clearTimeout(this._againTimer);
      return;
    }
    this._askingMesh = false;
    const mesh = this.askMesh();
    this.attach();
    await mesh;
    const { again, tooOld } = unanswered(this._state().prompts, this._now());
    for (const prompt of again) this._submit(prompt, true);
    for (const { agent, id } of tooOld) {
      this._dispatch({ type: "prompt.changed", params: { agent, id, receipt: "unknown", error: "too long ago to send again by itself" } });
    }
  }

  async askMesh() {
    if (this._askingMesh) return;
    this._askingMesh = true;
    try {
      const result = await this._request("mesh.get");
      this._askingMesh = false;
      this._dispatch({ type: "mesh.get", result, at: this._now() });
      if (result.limits?.heartbeat_s) this._onHeartbeat(result.limits.heartbeat_s);
    } catch (error) {
      this._askingMesh = false;
      // No answer: the socket finds out why, and a new link asks again.
      if (error instanceof RpcError) setTimeout(() => this._state().mesh?.stale !== false && this.askMesh(), 2_000);
    }
  }

  /** @param {string | null} agent */
  open(agent) {
    const before = this.openAgent;
    if (before === agent) return;
    this.openAgent = agent;
    if (before) {
      this._dispatch({ type: "agent.detached", agent: before });
      this._request("agent.detach", { agent: before }).catch(() => {}); // a link that is gone has detached us
    }
    if (agent) {
      this._dispatch({ type: "agent.opened", agent });
      this._resyncs = 0;
      this.attach();
    }
  }

  /** Attach to the open agent: from the cursor if we have one, else with a snapshot. */
  async attach() {
    const agent = this.openAgent;
    if (!agent || this._attaching === agent || this._state().link.phase !== "open") return;
    const conv = this._state().conversations.get(agent);
    const cursor = conv?.loaded && conv.need !== "fresh" ? { epoch: conv.epoch, seq: conv.seq } : {};
    const terminal = this._terminal(agent);
    this._attaching = agent;
    this._attachAgain = false;
    clearTimeout(this._againTimer);
    try {
      const wanted = { agent, ...cursor, ...(terminal && { terminal: true, ...terminal }) };
      const result = await this._request("agent.attach", wanted, ATTACH_TIMEOUT_S);
      if (this._attaching === agent) this._attaching = null;
      if (this.openAgent !== agent) return;
      this._onAttach(agent, null);
      if (result.terminal) this._onTerminal(agent, result.terminal);
      this._dispatch({ type: "agent.attached", result: { ...result, agent } });
      if (this._attachAgain) this.attach();
    } catch (error) {
      if (this._attaching === agent) this._attaching = null;
      if (this.openAgent !== agent) return;
      this._onAttach(agent, messageOf(error));
      this._againTimer = setTimeout(() => this.attach(), ATTACH_AGAIN_MS);
    }
  }

  /** What is wanted of the open agent has changed: its terminal too, or no more. */
  refollow() {
    this._attachAgain = this._attaching === this.openAgent;
    this.attach();
  }

  /** Its terminal's stream has ended: go on from where it is. */
  terminalEnded() {
    clearTimeout(this._againTimer);
    this._againTimer = setTimeout(() => this.attach(), TERMINAL_AGAIN_MS);
  }

  /**
   * After each change of state: ask for what it lacks.
   * @param {State} before
   */
  settle(before) {
    const state = this._state();
    if (state.mesh?.stale) this.askMesh();
    const agent = this.openAgent;
    const conv = agent ? state.conversations.get(agent) : undefined;
    if (!agent || !conv || this._attaching === agent) return;
    const back = cameBack(before, state, agent);
    // An agent that was opened while it started has told of its tools since; a way that was cut may be whole.
    const toldTools = state.mesh?.agents.get(agent)?.tools !== before.mesh?.agents.get(agent)?.tools;
    if (toldTools || (back && state.probe?.error)) this.probe();
    if (conv.seq !== before.conversations.get(agent)?.seq) this._resyncs = 0;
    if (conv.need && before.conversations.get(agent)?.need !== conv.need) this._resync();
    else if (!conv.attached && back) this.attach();
  }

  _resync() {
    this._resyncs += 1;
    if (this._resyncs <= RESYNC_LIMIT) this.attach();
    else this._againTimer = setTimeout(() => this.attach(), ATTACH_AGAIN_MS);
  }

  /** Ask the open agent's node about it: the answer proves the whole way there, and how long it takes. */
  async probe() {
    const agent = this.openAgent;
    if (!agent || this._state().link.phase !== "open") return;
    const asked = performance.now();
    /** @type {import("./state.js").Probe} */
    let probe;
    /** @type {import("./protocol.js").Tool[] | undefined} */
    let tools;
    try {
      const shown = await this._request("agent.show", { agent }, PROBE_TIMEOUT_S);
      const took_ms = performance.now() - asked;
      // Without its card the answer is the hypivisor's memory of an absent node, and proves nothing.
      const error = shown.card === null ? "its machine did not answer" : "";
      tools = shown.card?.tools;
      probe = { agent, at: this._time(), took_ms, error, evidence: error ? null : (shown.evidence ?? null), choices: shown.card };
    } catch (error) {
      probe = { agent, at: this._time(), took_ms: null, error: messageOf(error), evidence: null, choices: null };
    }
    if (this.openAgent === agent) this._dispatch({ type: "agent.probed", probe, tools });
  }

  _time() {
    return new Date(this._now()).toISOString();
  }

  /**
   * Older entries of the open conversation.
   * @returns {Promise<"idle" | "failed" | "compacted">}
   */
  async older() {
    const agent = this.openAgent;
    const conv = agent ? this._state().conversations.get(agent) : undefined;
    const before = conv ? oldestId(conv) : null;
    if (!agent || !before) return "idle";
    try {
      const result = await this._request("agent.history", { agent, before, limit: HISTORY_LIMIT }, ATTACH_TIMEOUT_S);
      this._dispatch({ type: "agent.history", agent, result });
      return "idle";
    } catch (error) {
      return error instanceof RpcError && error.code === ERROR.compacted ? "compacted" : "failed";
    }
  }

  /**
   * @param {string} agent
   * @param {string} text
   * @param {import("./protocol.js").PromptMode} mode
   * @param {import("./protocol.js").Picture[]} [images]
   */
  prompt(agent, text, mode, images = []) {
    /** @type {Prompt} */
    const prompt = { id: newId(), agent, text, mode, sentAt: this._now(), receipt: "sending", images };
    this._dispatch({ type: "prompt.sent", prompt });
    return this._submit(prompt);
  }

  /**
   * @param {Prompt} prompt
   * @param {boolean} [again]  it was sent before and may have arrived
   */
  async _submit(prompt, again = false) {
    const { id, agent, text, mode, images = [] } = prompt;
    const size = images.reduce((sum, image) => sum + image.data.length, new TextEncoder().encode(text).length);
    if (size > MAX_PROMPT_BYTES) {
      this._receipt(prompt, "refused", "longer than 1 MB");
      return;
    }
    try {
      const { receipt } = await this._request("agent.prompt", { agent, text, mode, id, ...(images.length ? { images } : {}) });
      this._receipt(prompt, receipt);
    } catch (error) {
      // That its machine is away now does not tell what became of it before.
      const isAnswer = error instanceof RpcError && !(again && error.code === ERROR.unreachable);
      if (isAnswer) this._receipt(prompt, "refused", messageOf(error));
      // No answer: it may have arrived. The same id again is harmless; on a lost link `linked` does that.
      else setTimeout(() => this._submitIfOpen(prompt), PROMPT_AGAIN_MS);
    }
  }

  /** @param {Prompt} prompt */
  _submitIfOpen(prompt) {
    const known = this._state().prompts.get(prompt.agent)?.find((one) => one.id === prompt.id);
    if (known?.receipt !== "sending" || this._state().link.phase !== "open") return;
    if (unanswered(new Map([[prompt.agent, [known]]]), this._now()).again.length) this._submit(prompt, true);
    else this._receipt(prompt, "unknown");
  }

  /**
   * @param {Prompt} prompt
   * @param {import("./prompts.js").PromptReceipt} receipt
   * @param {string} [error]
   */
  _receipt({ agent, id }, receipt, error) {
    this._dispatch({ type: "prompt.changed", params: { agent, id, receipt, error } });
  }
}

/**
 * Whether the way to an agent is there again.
 * @param {State} before
 * @param {State} state
 * @param {string} agent
 */
function cameBack(before, state, agent) {
  const now = state.mesh?.agents.get(agent);
  const then = before.mesh?.agents.get(agent);
  if (!now || now === then) {
    const nodeNow = now && state.mesh?.nodes.get(now.node);
    const nodeThen = now && before.mesh?.nodes.get(now.node);
    return nodeNow?.state === "online" && nodeThen?.state !== "online";
  }
  return !then || then.state !== now.state || before.mesh?.nodes.get(now.node)?.state !== state.mesh?.nodes.get(now.node)?.state;
}

/**
 * An error for a person: what, and what to do next.
 * @param {unknown} error
 */
export function messageOf(error) {
  if (error instanceof RpcError) return error.hint ? `${error.message} (${error.hint})` : error.message;
  if (error instanceof NoAnswer) return error.message;
  return error instanceof Error ? error.message : String(error);
}
