/** Answering what agents wait for, and knowing what that is. */

import { waitingMark } from "../approvals.js";
import { messageOf } from "../client.js";
import { keepIds } from "../keeping.js";
import { toggled } from "../ui.js";

/** @typedef {import("../protocol.js").Approval} Approval */

/** @param {import("../page.js").Page} page */
export function approvalFlow(page) {
  let asking = false;
  let again = false;

  const isShown = () => page.ui.route.kind === "inbox" && page.state.link.phase === "open";

  /** One question at a time; what changes while it is asked is asked for once more. */
  const load = async () => {
    if (!isShown()) return;
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      const { approvals, complete } = await page.request("approval.list");
      page.dispatch({ type: "inbox.told", approvals, complete: complete !== false });
    } catch (error) {
      page.dispatch({ type: "inbox.failed", error: messageOf(error) });
    }
    asking = false;
    if (again) {
      again = false;
      load();
    }
  };

  return {
    loadInbox: () => void load(),

    /**
     * After each change of the state: what is listed may be out of date.
     * @param {import("../state.js").State} before
     */
    inboxSettle: (before) => {
      if (page.state.mesh === before.mesh || !isShown()) return;
      if (waitingMark(page.state.mesh) !== waitingMark(before.mesh)) load();
    },

    /** Whether a time is shown that runs out. */
    isWaitedFor: () => (page.ui.route.kind === "inbox" ? page.state.inbox.approvals.length > 0 : (page.openConversation?.pending.length ?? 0) > 0),

    notNow: (/** @type {string} */ id) => {
      const putOff = toggled(page.ui.putOff, id);
      keepIds("putOff", putOff);
      page.look({ putOff });
    },

    /** @type {import("../views/approval.js").ApprovalActions["answer"]} */
    answer: async (approval, choice, words) => {
      page.look({ answering: new Set([...page.ui.answering, approval.id]) });
      await page.ask("agent.answer", { agent: approval.agent, approval: approval.id, choice, ...words });
      page.look({ answering: new Set([...page.ui.answering].filter((id) => id !== approval.id)) });
      load();
    },
  };
}
