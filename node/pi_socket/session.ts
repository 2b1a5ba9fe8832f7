/**
 * The conversation as pi's own session has it, newest first from the leaf upwards. Nothing is copied or cached.
 *
 * Entries are reached by their parents instead of getBranch(), whose cost is the whole branch on each call.
 */
import { jsonBytes, PAGE_BYTES } from "./bounds.ts";
import type { Entry, PiEntry, PiSession, SessionCard, Usage } from "./shapes.ts";
import { addUsage, entryOf, usageOf } from "./translate.ts";

export interface Page {
  entries: Entry[];
  more: boolean;
}

/**
 * Up to `limit` entries that end with `from` (a session entry id, or null for none), oldest first.
 *
 * Fewer when they would make a line of more than 1 MiB; `more` tells that older ones exist.
 */
export function page(
  session: PiSession,
  from: string | null,
  limit: number,
  messageIds: ReadonlyMap<string, string>,
  budget = PAGE_BYTES,
): Page {
  const newestFirst: Entry[] = [];
  let left = budget;
  for (const found of upwards(session, from)) {
    const entry = entryOf(found);
    if (entry === undefined) continue;
    const messageId = messageIds.get(entry.id);
    if (messageId !== undefined) entry.message_id = messageId;
    left -= jsonBytes(entry) + 1;
    // The first one always fits: an entry is smaller than a page.
    if (newestFirst.length >= limit || (left < 0 && newestFirst.length > 0)) {
      return { entries: newestFirst.reverse(), more: true };
    }
    newestFirst.push(entry);
  }
  return { entries: newestFirst.reverse(), more: false };
}

/** The entries between `known` (not included) and the leaf, oldest first; `undefined` when the leaf left that branch. */
export function entriesSince(session: PiSession, known: string | null): PiEntry[] | undefined {
  const newestFirst: PiEntry[] = [];
  for (const entry of upwards(session, session.getLeafId())) {
    if (entry.id === known) return newestFirst.reverse();
    newestFirst.push(entry);
  }
  return known === null ? newestFirst.reverse() : undefined;
}

function* upwards(session: PiSession, from: string | null): Generator<PiEntry> {
  let entry = from === null ? undefined : session.getEntry(from);
  while (entry !== undefined) {
    yield entry;
    entry = entry.parentId === null ? undefined : session.getEntry(entry.parentId);
  }
}

/** What the whole session used so far, branches that were left included: they were paid for too. */
export function sessionUsage(session: PiSession): Usage {
  let total: Usage = { input_tokens: 0, output_tokens: 0, cost_usd: 0 };
  for (const entry of session.getEntries()) total = addUsage(total, usageOf(entry.message));
  return total;
}

export function sessionCard(session: PiSession): SessionCard {
  return {
    id: session.getSessionId(),
    file: session.getSessionFile() ?? null,
    name: session.getSessionName?.() ?? null,
  };
}
