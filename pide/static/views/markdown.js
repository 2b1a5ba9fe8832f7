/**
 * Markdown of agents to HTML that is safe to insert, and the bounded version of it for text that still grows.
 *
 * Three walls: raw HTML in the text is shown as text; marked makes only the elements below; DOMPurify lets
 * only these through. Pictures become links, so that an agent cannot make a browser fetch an address.
 */

import { Marked } from "../vendor/marked.js";
import DOMPurify from "../vendor/dompurify.js";
import { straight, visible } from "../format.js";

const ALLOWED = {
  ALLOWED_TAGS: [
    ..."p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong del a span div button".split(" "),
    ..."table thead tbody tr th td".split(" "),
  ],
  ALLOWED_ATTR: ["href", "title", "class", "start", "align", "rel", "target", "type", "data-copy"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

const MAX_HIGHLIGHT_CHARS = 20_000; // highlighting is linear, but a log pasted as code is not worth a frame
const MAX_TAIL_CHARS = 8_000; // of running text that is parsed again each frame

/** @type {typeof import("../vendor/highlight.js").default | null} */
let highlighter = null;

/** Load the highlighter; text rendered before shows plain code. Resolves when it is there. */
export async function loadHighlighter() {
  highlighter = (await import("../vendor/highlight.js")).default;
  parts.clear();
}

/** @param {string} text */
function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/**
 * Code with spans for its syntax, escaped.
 * @param {string} code
 * @param {string | undefined} language
 */
export function highlight(code, language) {
  const name = (language ?? "").trim().split(/\s+/)[0].toLowerCase();
  if (!highlighter || !name || code.length > MAX_HIGHLIGHT_CHARS || !highlighter.getLanguage(name)) {
    return escapeHtml(code);
  }
  return highlighter.highlight(code, { language: name, ignoreIllegals: true }).value;
}

/** @param {string} href */
function isWebAddress(href) {
  return /^(?:https?:|mailto:)/i.test(href);
}

/**
 * @param {string} href
 * @param {string} inner HTML
 */
function link(href, inner) {
  if (!isWebAddress(href)) return inner; // a relative address would be one of ours
  return `<a href="${escapeHtml(href)}" target="_blank" rel="noopener noreferrer nofollow">${inner}</a>`;
}

const marked = new Marked({
  gfm: true,
  breaks: false,
  async: false,
  renderer: {
    html(token) {
      return escapeHtml(token.text);
    },
    code(token) {
      const lang = escapeHtml((token.lang ?? "").trim().split(/\s+/)[0]);
      return (
        `<div class="code"><div class="code-head"><span>${lang || "text"}</span>` +
        `<button type="button" class="link" data-copy="1">Copy</button></div>` +
        `<pre><code class="hljs">${highlight(visible(token.text), token.lang)}</code></pre></div>`
      );
    },
    link(token) {
      return link(token.href ?? "", this.parser.parseInline(token.tokens ?? []));
    },
    image(token) {
      return link(token.href ?? "", `[picture: ${escapeHtml(token.text || token.href || "")}]`);
    },
    checkbox(token) {
      return token.checked ? "☑ " : "☐ ";
    },
  },
});

/**
 * @param {string} text
 * @returns {string} HTML
 */
export function markdown(text) {
  return DOMPurify.sanitize(marked.parse(straight(text)), ALLOWED);
}

/** @type {WeakMap<object, {html: string, highlighted: boolean}>} */
const finished = new WeakMap();

/**
 * The HTML of a finished block, made once. A text that was seen growing costs nothing: its parts are known.
 * @param {import("../protocol.js").Block} block
 */
export function blockHtml(block) {
  const known = finished.get(block);
  const highlighted = highlighter !== null;
  if (known && known.highlighted === highlighted) return known.html;
  const text = String(block.text ?? "");
  // A link may be defined anywhere in the text: only the whole of it knows.
  const parts = DEFINES_LINKS.test(text) ? [text] : settledParts(text, 0);
  const html = parts.map(partHtml).join("");
  finished.set(block, { html, highlighted });
  return html;
}

const DEFINES_LINKS = /^ {0,3}\[[^\]]+\]:/m;
const KEPT_PARTS = 1_000;

/** @type {Map<string, string>} HTML by text, the oldest first */
const parts = new Map();

/** @param {string} text */
function partHtml(text) {
  const known = parts.get(text);
  if (known !== undefined) return known;
  const html = markdown(text);
  parts.set(text, html);
  if (parts.size > KEPT_PARTS) parts.delete(/** @type {string} */ (parts.keys().next().value));
  return html;
}

/**
 * A text cut where nothing on one side can change the meaning of the other; the last part is open.
 * @param {string} text
 * @param {number} from
 */
function settledParts(text, from) {
  const ends = boundaries(text, from);
  return [...ends, text.length].map((end, at) => text.slice(at === 0 ? from : ends[at - 1], end)).filter(Boolean);
}

/**
 * @typedef {{done: number, chunks: string[]}} Growing  how far a growing text is settled, and its HTML
 * @type {Map<string, Growing>}
 */
const growing = new Map();

/**
 * A growing text as settled HTML chunks, each made once, and a tail that is made again each time. A tail
 * that outgrows its bound (one long code block) is given as plain text until it ends.
 * @param {string} key   of the message and block
 * @param {string} text
 * @returns {{chunks: string[], tailHtml: string | null, tailText: string}}
 */
export function growingHtml(key, text) {
  let known = growing.get(key);
  if (!known || known.done > text.length) {
    known = { done: 0, chunks: [] };
    growing.set(key, known);
  }
  const end = boundaries(text, known.done).at(-1);
  if (end !== undefined) {
    known.chunks = [...known.chunks, ...settledParts(text.slice(0, end), known.done).map(partHtml)];
    known.done = end;
  }
  const tailText = text.slice(known.done);
  return { chunks: known.chunks, tailHtml: tailText.length <= MAX_TAIL_CHARS ? markdown(tailText) : null, tailText };
}

/**
 * Forget the growing texts of messages that have ended.
 * @param {Set<string>} alive keys still growing
 */
export function forgetGrown(alive) {
  for (const key of growing.keys()) if (!alive.has(key)) growing.delete(key);
}

/**
 * Where a text can be cut so that what follows cannot change what is before: after a blank line outside a
 * code fence that is followed by the beginning of a new block (not by a list, a quote or something indented,
 * which may belong to what came before).
 * @param {string} text
 * @param {number} from start of a block
 */
export function boundaries(text, from) {
  /** @type {number[]} */
  const found = [];
  let at = from;
  let fence = "";
  let afterBlank = false;
  while (at < text.length) {
    const newline = text.indexOf("\n", at);
    if (newline < 0) break; // a line without its end may still become anything
    const line = text.slice(at, newline);
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) {
      if (mark && mark[0] === fence[0] && mark.length >= fence.length) fence = "";
    } else {
      if (afterBlank && /^[^\s>|*+\-\d]/.test(line)) found.push(at);
      if (mark) fence = mark;
    }
    afterBlank = !fence && line.trim() === "";
    at = newline + 1;
  }
  return found;
}
