/** Which word of a prompt could be completed, and what becomes of it. Pure. */

// A command begins the prompt; a file is meant after an @ that begins a word.
const WORD = /^\/\S*$|(?:^|\s)@(?:"[^"\n]*|[^\s"]*)$/;

/**
 * Whether the end of a text is a word that its agent's node can complete.
 * @param {string} before what stands before the cursor
 */
export function isCompletable(before) {
  return WORD.test(before);
}

/**
 * The text with one completion in place of the word before the cursor, and where the cursor is then.
 * @param {string} text
 * @param {number} cursor
 * @param {string} word
 * @param {string} chosen
 * @returns {{text: string, cursor: number} | null} null: the word is no longer there
 */
export function completed(text, cursor, word, chosen) {
  const before = text.slice(0, cursor);
  if (!before.endsWith(word)) return null;
  const start = before.slice(0, before.length - word.length) + chosen;
  const after = text.slice(cursor);
  // A completion ends its word with a space; there may be one already.
  return { text: start + (chosen.endsWith(" ") && after.startsWith(" ") ? after.slice(1) : after), cursor: start.length };
}
