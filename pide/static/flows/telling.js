/** Telling somebody who does not look that an agent waits, is stuck or has finished: the switch, and the notes. */

import { keepSwitch, keptSwitch } from "../keeping.js";
import { Notes, askPermission, whyNot } from "../notes.js";
import { nothingTold, tell } from "../telling.js";
import { addressOf, routeOf } from "../ui.js";

const SWITCH = "tells";

/** @param {import("../page.js").Page} page */
export function tellingFlow(page) {
  const notes = new Notes((address) => page.go(routeOf(address)));
  let told = nothingTold();

  const isLooked = () => document.visibilityState === "visible";

  const settle = () => {
    const { told: next, show, close } = tell(told, page.state.mesh, { looked: isLooked(), allowed: page.ui.tells && whyNot() === "" });
    told = next;
    if (!show.length && !close.length) return;
    notes.change(show.map((note) => ({ ...note, address: addressOf({ kind: "agent", id: note.agent }) })), close);
  };

  /** Somebody has come to the page, or gone from it. */
  const settleLook = () => {
    settle();
    notes.lookedAt(isLooked());
    if (!isLooked() || !page.ui.tells) return;
    notes.closeAll();
    page.look({ tellsNot: whyNot() }); // it may have been taken back meanwhile
  };

  /** @param {boolean} wanted */
  const turn = async (wanted) => {
    const tellsNot = wanted ? (await askPermission()) || (await notes.tryOut()) : "";
    const tells = wanted && tellsNot === "";
    keepSwitch(SWITCH, tells);
    page.look({ tells, tellsNot });
    if (!tells) notes.leave();
    settle();
  };

  page.look({ tells: keptSwitch(SWITCH) });
  settleLook();
  document.addEventListener("visibilitychange", settleLook);
  // Nobody could close them any more once what they tell of is over.
  addEventListener("pagehide", () => notes.change([], [...told.notes.keys()]));

  return {
    /** @param {import("../state.js").State} before */
    settle: (before) => {
      if (page.state.mesh !== before.mesh) settle();
    },
    actions: { turnTelling: (/** @type {boolean} */ wanted) => void turn(wanted) },
  };
}
