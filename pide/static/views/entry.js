/** One entry of a conversation, finished or still growing, as blocks. */

import { html, nothing, repeat, unsafeHTML } from "../vendor/lit.js";
import { outcomeWords } from "../approvals.js";
import { decisionOn, isInTurn } from "../conversation.js";
import { clockTime, count, fullTime, straight, visible, wordCount } from "../format.js";
import { blockHtml, growingHtml } from "./markdown.js";
import { planView } from "./plan.js";
import { toolView } from "./tool.js";

/** @typedef {import("../protocol.js").Entry} Entry */
/** @typedef {import("../protocol.js").Block} Block */
/** @typedef {import("../conversation.js").Conversation} Conversation */
/** @typedef {{toggle: (id: string) => void}} Actions */

const IMAGE_TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

const SOURCES = /** @type {Record<string, string>} */ ({
  terminal: "in its terminal",
  pide: "from Pi-DE",
  cli: "from the command line",
  api: "by a program",
});

/**
 * @param {Entry} entry
 * @param {Conversation} conv
 * @param {ReadonlySet<string>} open
 * @param {Actions} actions
 */
export function entryView(entry, conv, open, actions) {
  if (entry.role === "note") return noteView(entry, conv, open, actions);
  if (entry.role === "tool") return toolEntry(entry, conv, open, actions);
  const blocks = entry.blocks.map((block, at) =>
    // What a person wrote is shown as it was written.
    entry.role === "user" && block.type === "text"
      ? html`<div class="prose plain">${straight(block.text)}</div>`
      : blockView(block, `${entry.id}:${at}`, conv, open, actions, isInTurn(conv, entry)),
  );
  return html`
    <article class="entry" data-role=${entry.role} data-source=${entry.source ?? nothing} data-entry=${entry.id} aria-label=${label(entry)}>
      ${entry.role === "assistant"
        ? nothing
        : html`<header class="entry-head">
            <b>${entry.role === "user" ? (entry.source === "scroll" ? "Scroll" : "User") : entry.role}</b>
            ${entry.source && entry.source !== "scroll" ? html`<span>${SOURCES[entry.source] ?? entry.source}</span>` : nothing}
            ${entry.prompt_id ? html`<span class="tick" title="delivered: the agent has it in its conversation">✓</span>` : nothing}
            ${time(entry.at)}
          </header>`}
      ${blocks}
      ${entry.interrupted ? html`<p class="interrupted">interrupted: this turn did not finish</p>` : nothing}
      ${entry.role === "assistant" && entry.blocks.at(-1)?.type === "text"
        ? html`<footer class="entry-foot">${time(entry.at)}<button class="link" data-copy-entry=${entry.id}>Copy</button></footer>`
        : nothing}
    </article>
  `;
}

/** @param {Entry} entry */
function label(entry) {
  return `${entry.role} message`;
}

/** @param {string | undefined} at */
function time(at) {
  return at ? html`<time datetime=${at} title=${fullTime(at)}>${clockTime(at)}</time>` : nothing;
}

/**
 * @param {Block} block
 * @param {string} key
 * @param {Conversation} conv
 * @param {ReadonlySet<string>} open
 * @param {Actions} actions
 * @param {boolean} [inTurn]
 */
function blockView(block, key, conv, open, actions, inTurn = false) {
  switch (block?.type) {
    case undefined:
      return nothing;
    case "text":
      return block.text ? html`<div class="prose">${unsafeHTML(blockHtml(block))}</div>` : nothing;
    case "thinking":
      return block.text ? thinkingView(block.text, key, open.has(key), actions) : nothing;
    case "tool_call":
      return toolView(
        {
          call_id: block.call_id,
          name: block.name,
          args: block.args,
          run: conv.runs.get(block.call_id),
          result: conv.results.get(block.call_id),
          decision: decisionOn(conv, block.call_id),
          attached: conv.attached,
          inTurn,
          open,
        },
        actions,
      );
    case "tool_result":
      return html`<pre class="result" tabindex="0">${straight(block.text)}</pre>`;
    case "summary":
      return summaryView(block, key, open.has(key), actions);
    case "image":
      return imageView(block);
    case "plan":
      return planView(block);
    default:
      return unknownView(block.type, block);
  }
}

/**
 * @param {string} text
 * @param {string} key
 * @param {boolean} isOpen
 * @param {Actions} actions
 */
function thinkingView(text, key, isOpen, actions) {
  return html`
    <div class="thinking">
      <button class="thinking-line" aria-expanded=${String(isOpen)} @click=${() => actions.toggle(key)}>
        <span class="chevron" aria-hidden="true"></span>thinking<span class="faint"> · ${wordCount(text)} words</span>
      </button>
      ${isOpen ? html`<div class="thinking-text">${straight(text)}</div>` : nothing}
    </div>
  `;
}

/**
 * What stands for a part of the conversation that the agent no longer reads.
 * @param {Block} block
 * @param {string} key
 * @param {boolean} isOpen
 * @param {Actions} actions
 */
function summaryView(block, key, isOpen, actions) {
  const tokens = typeof block.tokens_before === "number" && block.tokens_before > 0 ? ` · ${count(block.tokens_before)} tokens before` : "";
  const title = block.of === "branch" ? "Another branch was left" : "The conversation was compacted";
  return html`
    <div class="summary" data-of=${block.of}>
      <button class="thinking-line" aria-expanded=${String(isOpen)} @click=${() => actions.toggle(key)}>
        <span class="chevron" aria-hidden="true"></span>${title}<span class="faint">${tokens} · ${isOpen ? "" : "show "}what was kept</span>
      </button>
      ${isOpen ? html`<div class="prose">${unsafeHTML(blockHtml(block))}</div>` : nothing}
    </div>
  `;
}

/** @param {Block} block */
function imageView(block) {
  if (!IMAGE_TYPES.has(block.mime) || typeof block.data !== "string" || !/^[A-Za-z0-9+/=\s]*$/.test(block.data)) {
    return unknownView(`image ${block.mime ?? ""}`, { type: block.type, mime: block.mime });
  }
  return html`<img class="picture" alt="picture in the conversation" loading="lazy" src="data:${block.mime};base64,${block.data}" />`;
}

/**
 * @param {string} type
 * @param {unknown} what
 */
function unknownView(type, what) {
  return html`<details class="unknown">
    <summary>${type}</summary>
    <pre>${JSON.stringify(what, null, 2)}</pre>
  </details>`;
}

/**
 * A result whose call is shown elsewhere needs no place of its own.
 * @param {Entry} entry
 * @param {Conversation} conv
 * @param {ReadonlySet<string>} open
 * @param {Actions} actions
 */
function toolEntry(entry, conv, open, actions) {
  const others = entry.blocks.filter((block) => block.type !== "tool_result");
  const orphans = entry.blocks.filter((block) => block.type === "tool_result" && !conv.called.has(block.call_id));
  if (!others.length && !orphans.length) return nothing;
  return html`
    <article class="entry" data-role="tool" data-entry=${entry.id} aria-label="result of a tool">
      ${orphans.map((block) =>
        toolView(
          {
            call_id: block.call_id,
            name: conv.runs.get(block.call_id)?.name ?? "result",
            args: conv.runs.get(block.call_id)?.args,
            run: conv.runs.get(block.call_id),
            result: block,
            decision: decisionOn(conv, block.call_id),
            attached: conv.attached,
            inTurn: false,
            open,
          },
          actions,
        ),
      )}
      ${others.map((block, at) => blockView(block, `${entry.id}:${at}`, conv, open, actions))}
    </article>
  `;
}

/**
 * @param {Entry} entry
 * @param {Conversation} conv
 * @param {ReadonlySet<string>} open
 * @param {Actions} actions
 */
function noteView(entry, conv, open, actions) {
  if (entry.blocks.length === 1 && entry.blocks[0].type === "plan") return html`<div class="entry" data-role="note" data-entry=${entry.id}>${planView(entry.blocks[0])}</div>`;
  const level = entry.blocks[0]?.level ?? entry.blocks[0]?.type ?? "text";
  const inner = entry.blocks.map((block, at) => {
    switch (block.type) {
      case "notice":
        return html`<span>${straight(block.text)}</span>`;
      case "scroll":
        return scrollNote(block.scroll);
      case "approval":
        return html`<span>${straight(outcomeWords(block.approval))}</span>`;
      case "unknown":
        return unknownView(String(block.event?.type), block.event);
      default:
        return blockView(block, `${entry.id}:${at}`, conv, open, actions);
    }
  });
  return html`<div class="note" data-level=${level} data-entry=${entry.id}>${inner}${time(entry.at)}</div>`;
}

/** @param {any} scroll */
function scrollNote(scroll) {
  return html`<span><b>Scroll</b> from ${visible(scroll.from ?? "unknown")}: ${straight(scroll.message)}</span>`;
}

/**
 * A message that is still being written, and tools that run without an entry.
 * @param {Conversation} conv
 * @param {ReadonlySet<string>} open
 * @param {Actions} actions
 */
export function runningView(conv, open, actions) {
  const loose = [...conv.runs.values()].filter((run) => !run.placed);
  const isSilent = conv.state === "working" && !conv.running.some((message) => message.blocks.length) && ![...conv.runs.values()].some((run) => !run.done);
  return html`
    ${repeat(
      conv.running.filter((message) => message.blocks.length > 0),
      (message) => message.message_id,
      (message) => html`
        <article class="entry running" data-role=${message.role} aria-label="${message.role} message, being written">
          ${message.blocks.map((block, at) => growingBlock(block, `${message.message_id}:${at}`, conv, open, actions))}
        </article>
      `,
    )}
    ${repeat(
      loose,
      (run) => run.call_id,
      (run) =>
        html`<div class="entry" data-role="tool">
          ${toolView({ call_id: run.call_id, name: run.name, args: run.args, run, result: conv.results.get(run.call_id), decision: decisionOn(conv, run.call_id), attached: conv.attached, inTurn: true, open }, actions)}
        </div>`,
    )}
    ${isSilent ? html`<p class="activity"><i></i><i></i><i></i><span class="sr-only">working</span></p>` : nothing}
  `;
}

/**
 * @param {Block} block
 * @param {string} key
 * @param {Conversation} conv
 * @param {ReadonlySet<string>} open
 * @param {Actions} actions
 */
function growingBlock(block, key, conv, open, actions) {
  if (block?.type === "thinking") {
    return html`<div class="thinking growing">
      <div class="thinking-line">thinking<span class="faint"> · ${wordCount(block.text)} words</span></div>
      <div class="thinking-text">${straight(block.text.slice(-400))}</div>
    </div>`;
  }
  if (block?.type !== "text") return blockView(block, key, conv, open, actions);
  const { chunks, tailHtml, tailText } = growingHtml(key, block.text);
  return html`<div class="prose">
    ${chunks.map((chunk) => html`<div class="chunk">${unsafeHTML(chunk)}</div>`)}
    <div class="chunk tail">${tailHtml === null ? html`<pre>${straight(tailText)}</pre>` : unsafeHTML(tailHtml)}</div>
  </div>`;
}
