/** One call of a tool: a line that says what and how it went, its arguments and result on demand. */

import { html, nothing, unsafeHTML } from "../vendor/lit.js";
import { editsOf, resultText, summaryOf, withoutAnsi } from "../tool_text.js";
import { decisionWords } from "../approvals.js";
import { duration, straight, visible } from "../format.js";
import { highlight } from "./markdown.js";

/** @typedef {import("../conversation.js").ToolRun} ToolRun */
/** @typedef {import("../protocol.js").Block} Block */

const MAX_SHOWN_CHARS = 20_000; // of a result, until the person asks for all of it

/**
 * @param {object} tool
 * @param {string} tool.call_id
 * @param {string} tool.name
 * @param {unknown} tool.args
 * @param {ToolRun | undefined} tool.run
 * @param {Block | undefined} tool.result
 * @param {import("../protocol.js").Decision | undefined} tool.decision  what a person said to it, or that it waits for one
 * @param {boolean} tool.attached   what we know of it is of now
 * @param {boolean} tool.inTurn     its turn has not come, rather than that nothing is known
 * @param {ReadonlySet<string>} tool.open  what the person has unfolded
 * @param {{toggle: (id: string) => void}} actions
 */
export function toolView({ call_id, name, args, run, result, decision, attached, inTurn, open }, actions) {
  const isOpen = open.has(call_id);
  const isError = run?.done ? run.is_error : Boolean(result?.is_error);
  const ended = Boolean(run?.done || result);
  const status = statusOf(ended, isError, decision, run, inTurn);
  const said = decisionWords(decision);
  const words = { ok: duration(run?.duration_ms), failed: "failed", running: attached ? "running" : "was running", "no-result": "no result", waiting: "waiting", asked: said, denied: said };
  return html`
    <div class="tool" data-status=${status}>
      <button class="tool-line" aria-expanded=${String(isOpen)} @click=${() => actions.toggle(call_id)}>
        <span class="tool-mark" aria-hidden="true"></span>
        <span class="tool-name">${visible(name)}</span>
        <span class="tool-summary">${summaryOf(args)}</span>
        <span class="tool-time">${visible(words[status])}</span>
      </button>
      ${isOpen ? toolBody(call_id, name, args, run, result, decision, open, actions) : nothing}
    </div>
  `;
}

/**
 * A call that was not let through has not failed: nobody ran it.
 * @param {boolean} ended
 * @param {boolean} isError
 * @param {import("../protocol.js").Decision | undefined} decision
 * @param {ToolRun | undefined} run
 * @param {boolean} inTurn
 */
function statusOf(ended, isError, decision, run, inTurn) {
  if (decision?.state === "pending") return "asked";
  if (decision && decision.state !== "approved" && (isError || !ended)) return "denied";
  if (ended) return isError ? "failed" : "ok";
  return run ? "running" : inTurn ? "waiting" : "no-result";
}

/**
 * @param {string} call_id
 * @param {string} name
 * @param {unknown} args
 * @param {ToolRun | undefined} run
 * @param {Block | undefined} result
 * @param {import("../protocol.js").Decision | undefined} decision
 * @param {ReadonlySet<string>} open
 * @param {{toggle: (id: string) => void}} actions
 */
function toolBody(call_id, name, args, run, result, decision, open, actions) {
  const text = result ? withoutAnsi(String(result.text ?? "")) : resultText(run?.result);
  const all = `${call_id}:all`;
  const cut = text.length > MAX_SHOWN_CHARS && !open.has(all);
  return html`
    <div class="tool-body">
      ${argumentsView(name, args)}
      ${decision && decision.state !== "pending" ? html`<p class="tool-decision">${visible(decisionWords(decision))}${decision.note ? html`: ${straight(decision.note)}` : nothing}</p>` : nothing}
      ${text === ""
        ? html`<p class="faint">${run?.done || result ? "It returned nothing." : "Nothing returned yet."}</p>`
        : html`<pre class="result" tabindex="0" aria-label="result of ${visible(name)}">${straight(cut ? text.slice(0, MAX_SHOWN_CHARS) : text)}</pre>`}
      ${cut
        ? html`<button class="link" @click=${() => actions.toggle(all)}>Show all ${text.length.toLocaleString("en")} characters</button>`
        : nothing}
    </div>
  `;
}

/**
 * @param {string} name
 * @param {unknown} args
 */
export function argumentsView(name, args) {
  const edits = editsOf(args);
  if (edits.length) {
    return html`<pre class="diff" tabindex="0" aria-label="changes of ${visible(name)}">${edits.map(
      ({ removed, added }) => html`${lines(removed, "del", "-")}${lines(added, "ins", "+")}`,
    )}</pre>`;
  }
  const values = /** @type {Record<string, unknown> | null} */ (args && typeof args === "object" ? args : null);
  if (typeof values?.command === "string") return code(values.command, "bash", name);
  if (typeof values?.content === "string" && typeof values?.path === "string") {
    return code(values.content, values.path.split(".").pop(), name);
  }
  if (args === undefined || args === null) return nothing;
  return code(typeof args === "string" ? args : JSON.stringify(args, null, 2), "json", name);
}

/**
 * @param {string} text
 * @param {string | undefined} language
 * @param {string} name
 */
function code(text, language, name) {
  return html`<pre class="arguments" tabindex="0" aria-label="arguments of ${visible(name)}"><code class="hljs">${unsafeHTML(
    highlight(visible(text), language),
  )}</code></pre>`;
}

/**
 * @param {string} text
 * @param {string} kind
 * @param {string} sign
 */
function lines(text, kind, sign) {
  if (text === "") return nothing;
  return text.replace(/\n$/, "").split("\n").map((line) => html`<span class=${kind}>${sign} ${visible(line)}${"\n"}</span>`);
}
