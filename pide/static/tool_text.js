/** What a call of a tool did, in words: a summary, its result, the changes it asks for. Pure. */

import { visible } from "./format.js";

const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;

const TELLING = ["command", "cmd", "path", "file_path", "filePath", "file", "pattern", "query", "url", "name", "description"];

/** @param {string} text */
export function withoutAnsi(text) {
  return text.replace(ANSI, "");
}

/**
 * What of the arguments tells most, in one line.
 * @param {unknown} args
 */
export function summaryOf(args) {
  if (typeof args === "string") return oneLine(args);
  if (!args || typeof args !== "object") return "";
  const values = /** @type {Record<string, unknown>} */ (args);
  const key = TELLING.find((name) => typeof values[name] === "string") ?? Object.keys(values).find((name) => typeof values[name] === "string");
  return key ? oneLine(String(values[key])) : oneLine(JSON.stringify(args));
}

/** @param {string} text */
function oneLine(text) {
  const line = visible(text.replace(/\s+/g, " ").trim());
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}

/**
 * A result as text: some tools give a string, some content blocks, some anything.
 * @param {unknown} result
 * @returns {string}
 */
export function resultText(result) {
  if (result === null || result === undefined) return "";
  if (typeof result === "string") return withoutAnsi(result);
  if (Array.isArray(result)) return result.map(resultText).join("\n");
  if (typeof result === "object") {
    const { text, content } = /** @type {{text?: unknown, content?: unknown}} */ (result);
    if (typeof text === "string") return withoutAnsi(text);
    if (content !== undefined) return resultText(content);
    return JSON.stringify(result, null, 2);
  }
  return String(result);
}

/**
 * Replacements that an edit asks for, if the arguments are of that kind.
 * @param {unknown} args
 * @returns {{removed: string, added: string}[]}
 */
export function editsOf(args) {
  if (!args || typeof args !== "object") return [];
  const values = /** @type {Record<string, any>} */ (args);
  const one = (/** @type {Record<string, any>} */ edit) => ({
    removed: edit?.oldText ?? edit?.old_text ?? edit?.old_string ?? edit?.oldString,
    added: edit?.newText ?? edit?.new_text ?? edit?.new_string ?? edit?.newString,
  });
  const edits = Array.isArray(values.edits) ? values.edits.map(one) : [one(values)];
  return edits.filter((edit) => typeof edit.removed === "string" && typeof edit.added === "string");
}
