/**
 * How large anything may get on the wire. A line of the agent socket is at most 1 MiB; all bounds stay below it.
 *
 * Every text that leaves this process goes through `cutText`, so that the wire never carries a lone surrogate.
 */
import type { Json } from "./shapes.ts";

/** Characters of one block of an entry. */
export const BLOCK_CHARS = 65_536;
/** Characters of a tool's result in `tool_end`; the entry that follows has up to BLOCK_CHARS. */
export const TOOL_END_CHARS = 16_384;
/** Characters of a tool's output so far in `tool_update`: the newest ones. */
export const TOOL_UPDATE_CHARS = 8_192;
/** Base64 characters of one image; a larger one is named, not carried. */
export const IMAGE_CHARS = 196_608;
/** Bytes of one entry as JSON; its blocks are cut harder until it fits. */
export const ENTRY_BYTES = 262_144;
/** Bytes of the entries of one snapshot or history page. */
export const PAGE_BYTES = 700_000;
/** Characters of one string inside a tool's arguments, and of all of them as JSON. */
const ARG_CHARS = 16_384;
const ARGS_CHARS = 65_536;
const ARGS_DEPTH = 12;
const ARGS_WIDTH = 1_000;

/** The first characters of a text (or the last, with `keep: "tail"`) and a note of how many were cut. */
export function cutText(text: string, limit: number, keep: "head" | "tail" = "head"): string {
  if (text.length <= limit) return text.toWellFormed();
  const cut = text.length - limit;
  // toWellFormed after the slice: the cut may have split a surrogate pair.
  return keep === "head"
    ? `${text.slice(0, limit).toWellFormed()}\n[… ${cut} more characters were cut]`
    : `[… ${cut} earlier characters were cut]\n${text.slice(-limit).toWellFormed()}`;
}

/** A tool's arguments as bounded JSON: strict readers refuse deep nesting, huge integers and lone surrogates. */
export function boundedArgs(args: unknown): Json {
  const value = plain(args, ARGS_DEPTH);
  const text = JSON.stringify(value);
  return text.length <= ARGS_CHARS ? value : { cut: cutText(text, ARGS_CHARS / 4) };
}

/** Any value as JSON of limited depth and width; never throws. Also for a scroll's data. */
function plain(value: unknown, depth: number): Json {
  if (value === null || value === undefined || typeof value === "boolean") return value ?? null;
  if (typeof value === "string") return cutText(value, ARG_CHARS);
  if (typeof value === "number") return Number.isFinite(value) && Math.abs(value) < 1e15 ? value : String(value);
  if (typeof value !== "object") return String(value);
  if (depth === 0) return "[nested deeper]";
  if (Array.isArray(value)) return value.slice(0, ARGS_WIDTH).map((item) => plain(item, depth - 1));
  const found: { [key: string]: Json } = {};
  for (const [key, item] of Object.entries(value).slice(0, ARGS_WIDTH)) {
    found[cutText(key, 256)] = plain(item, depth - 1);
  }
  return found;
}

/** UTF-8 bytes of a value as JSON. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
