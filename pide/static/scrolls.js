/**
 * Scrolls of one agent with their receipts, one per recipient. Pure.
 */

/** @typedef {import("./protocol.js").Scroll} Scroll */
/** @typedef {{to: string, state: import("./protocol.js").ScrollState, reason?: string | null, opcode?: Scroll["opcode"]}} ScrollReceipt */
/** @typedef {Scroll & {receipts: ScrollReceipt[]}} KnownScroll */

/**
 * @param {any} raw one element of scroll.list
 * @returns {KnownScroll}
 */
export function scrollFrom(raw) {
  const scroll = raw.scroll && typeof raw.scroll === "object" ? { ...raw, ...raw.scroll } : raw;
  const receipts = Array.isArray(raw.receipts)
    ? raw.receipts
    : raw.state
      ? [{ to: scroll.to, state: raw.state, reason: raw.reason, opcode: raw.opcode }]
      : [];
  return { ...scroll, receipts };
}

/**
 * @param {KnownScroll[]} scrolls
 * @param {{scroll_id: string, to?: string, state: import("./protocol.js").ScrollState, reason?: string, opcode?: Scroll["opcode"]}} change
 * @returns {KnownScroll[]}
 */
export function scrollChanged(scrolls, change) {
  const at = scrolls.findIndex((scroll) => scroll.scroll_id === change.scroll_id);
  if (at < 0) return scrolls;
  const scroll = scrolls[at];
  const to = change.to ?? scroll.to;
  const receipt = { to, state: change.state, reason: change.reason, opcode: change.opcode };
  const known = scroll.receipts.some((old) => old.to === to);
  const receipts = known
    ? scroll.receipts.map((old) => (old.to === to ? { ...old, ...receipt } : old))
    : [...scroll.receipts.filter((old) => old.to !== scroll.to), receipt];
  const next = scrolls.slice();
  next[at] = { ...scroll, receipts };
  return next;
}
