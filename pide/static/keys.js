/** The keyboard of the page: which key means what, depending on where the person is. */

/**
 * @typedef {object} KeyActions
 * @property {(step: 1 | -1) => void} moveCursor
 * @property {() => void} openCursor
 * @property {() => void} focusFilter
 * @property {() => void} focusComposer
 * @property {() => void} toggleInspector
 * @property {() => void} jumpToLive
 * @property {(node: string | null) => void} openSpawn
 * @property {() => void} openHelp
 * @property {() => void} openMesh
 * @property {() => void} clearFilter
 */

/**
 * @param {KeyboardEvent} event
 * @param {KeyActions} actions
 */
export function pageKey(event, actions) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest("dialog, .xterm")) return; // what is typed into a terminal is its program's
  const inField = target.matches("input, textarea, select");
  if (event.key === "Escape") {
    if (target.id === "filter") actions.clearFilter();
    if (inField) target.blur();
    return;
  }
  const inFilter = target.id === "filter";
  if (inFilter && event.key === "ArrowDown") return done(event, () => actions.moveCursor(1));
  if (inFilter && event.key === "Enter") return done(event, actions.openCursor);
  if (inField) return;
  const inRoster = target.closest(".roster") !== null || target === document.body;
  const onButton = target.matches("button, summary") || (target.matches("a") && !target.hasAttribute("data-agent"));
  switch (event.key) {
    case "j":
      return done(event, () => actions.moveCursor(1));
    case "k":
      return done(event, () => actions.moveCursor(-1));
    case "ArrowDown":
      return inRoster ? done(event, () => actions.moveCursor(1)) : undefined;
    case "ArrowUp":
      return inRoster ? done(event, () => actions.moveCursor(-1)) : undefined;
    case "Enter":
      if (onButton) return undefined;
      return done(event, inRoster && target.hasAttribute("data-agent") ? actions.openCursor : actions.focusComposer);
    case "/":
      return done(event, actions.focusFilter);
    case "n":
      return done(event, () => actions.openSpawn(null));
    case "i":
      return done(event, actions.toggleInspector);
    case "m":
      return done(event, actions.openMesh);
    case "End":
      return done(event, actions.jumpToLive);
    case "?":
      return done(event, actions.openHelp);
    default:
      return undefined;
  }
}

/**
 * @param {KeyboardEvent} event
 * @param {() => void} act
 */
function done(event, act) {
  event.preventDefault();
  act();
}
