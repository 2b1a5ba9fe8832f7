/** Completing the word that is being written: asked of the agent's node, chosen by keys, mouse or touch. */

import { completed, isCompletable } from "../completion.js";
import { allows } from "../protocol.js";

const ASK_AFTER_MS = 80;

/**
 * @param {import("../page.js").Page} page
 * @param {(agent: string, text: string) => void} write  another draft
 */
export function completionFlow(page, write) {
  /** @type {any} */
  let timer = null;
  let asked = 0;

  const close = () => {
    clearTimeout(timer);
    asked += 1; // an answer that is on its way comes too late
    if (page.ui.completion) page.look({ completion: null });
  };

  /** @param {string} agent @param {string} before */
  const ask = async (agent, before) => {
    const mine = ++asked;
    const result = await page.request("agent.complete", { agent, text: before }).catch(() => null); // then there is none
    if (mine !== asked) return;
    const items = result?.items ?? [];
    page.look({ completion: items.length ? { agent, word: result.word, items, chosen: 0 } : null });
  };

  /** @param {string} agent @param {HTMLTextAreaElement} box */
  const typed = (agent, box) => {
    clearTimeout(timer);
    const before = box.value.slice(0, box.selectionStart);
    if (!isCompletable(before) || !allows(page.state.me?.role, "agent.complete")) close();
    else timer = setTimeout(() => void ask(agent, before), ASK_AFTER_MS);
  };

  /** @param {number} index */
  const complete = (index) => {
    const { completion } = page.ui;
    const box = document.getElementById("composer");
    const item = completion?.items[index];
    if (!completion || !item || !(box instanceof HTMLTextAreaElement)) return;
    const next = completed(box.value, box.selectionStart, completion.word, item.text);
    close();
    if (!next) return;
    box.value = next.text; // now, for the cursor; the draft draws the same
    box.setSelectionRange(next.cursor, next.cursor);
    write(completion.agent, next.text);
    box.focus();
    if (item.kind === "folder") typed(completion.agent, box);
  };

  /**
   * Whether a key was for the list.
   * @param {KeyboardEvent} event
   */
  const key = (event) => {
    const { completion } = page.ui;
    if (!completion || event.isComposing) return false;
    const count = completion.items.length;
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? count - 1 : 0;
    if (step) page.look({ completion: { ...completion, chosen: (completion.chosen + step) % count } });
    else if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey)) complete(completion.chosen);
    else if (event.key === "Escape") close();
    else return false;
    event.preventDefault();
    event.stopPropagation(); // Escape would leave the box
    return true;
  };

  return { typed, complete, close, key };
}
