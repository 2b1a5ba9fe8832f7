/** Moving through the roster. */

import { toggled } from "../ui.js";

/** @param {import("../page.js").Page} page */
export function rosterFlow(page) {
  return {
    filter: (/** @type {string} */ filter) => page.look({ filter, cursor: null }),
    chip: (/** @type {import("../ui.js").Chip} */ chip) => page.look({ chip, cursor: null }),
    fold: (/** @type {string} */ node) => page.look({ folded: toggled(page.ui.folded, node) }),
    showEnded: (/** @type {string} */ node) => page.look({ endedShown: toggled(page.ui.endedShown, node) }),
    rosterScrolled: () => page.draw(),

    /** @param {1 | -1} step */
    moveCursor: (step) => {
      const ids = page.rows().flatMap((row) => (row.kind === "agent" ? [row.agent.id] : []));
      if (!ids.length) return;
      const at = page.ui.cursor ? ids.indexOf(page.ui.cursor) : -1;
      const first = step > 0 ? 0 : ids.length - 1;
      const next = ids[at < 0 ? first : Math.min(ids.length - 1, Math.max(0, at + step))];
      page.revealRow(`a:${next}`);
      page.focusAgent = next;
      page.look({ cursor: next, screen: "roster" });
    },

    openCursor: () => {
      const first = page.rows().find((row) => row.kind === "agent");
      const id = page.ui.cursor ?? (first?.kind === "agent" ? first.agent.id : null);
      if (id) page.go({ kind: "agent", id });
    },

    focusFilter: () => {
      page.look({ screen: "roster" });
      document.getElementById("filter")?.focus();
    },
  };
}
