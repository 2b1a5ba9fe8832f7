/** The page: banner, three panes, what lies over them. */

import { guard, html, nothing } from "../vendor/lit.js";
import { placeOf } from "../signin.js";
import { bannerView } from "./banner.js";
import { dialogView } from "./dialogs.js";
import { inboxPage } from "./inbox.js";
import { inspectorView } from "./inspector.js";
import { loginView } from "./login.js";
import { meshPage } from "./mesh_page.js";
import { nodePage } from "./node.js";
import { rosterView } from "./roster.js";
import { stageView } from "./stage.js";
import { toastView } from "./toast.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */

/**
 * @typedef {import("./roster.js").RosterActions & import("./stage.js").StageActions & import("./inspector.js").InspectorActions
 *   & import("./node.js").NodeActions & import("./dialogs.js").DialogActions
 *   & import("./inbox.js").InboxActions & import("./mesh_page.js").MeshPageActions & import("./banner.js").InterruptedActions & {login: (token: string) => void, retryNow: () => void}} Actions
 */

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {{above: number, below: number, rows: import("../roster.js").Row[]}} sight rows of the roster to draw
 * @param {unknown} highlighted
 * @param {Actions} actions
 */
export function appView(state, ui, sight, highlighted, actions) {
  if (ui.login) return loginView(ui.login, placeOf(location), actions);
  const withInspector = ui.route.kind === "agent" && ui.inspectorOpen;
  return html`
    <div class="app" data-screen=${ui.screen} data-inspector=${String(withInspector)} data-link=${state.link.phase}>
      ${bannerView(state, ui, actions)}
      <div class="panes">
        ${guard([state.mesh, state.link, state.me, ui.route, ui.filter, ui.chip, ui.fresh, ui.cursor, ui.now, sight], () =>
          rosterView(state, ui, sight, actions),
        )}
        ${mainView(state, ui, highlighted, actions)}
        ${withInspector || ui.screen === "inspector" ? inspectorView(state, ui, actions) : nothing}
      </div>
      ${dialogView(state, ui, actions)}
      <div class="sr-only" role="status">${ui.announced}</div>
      ${ui.dialog ? nothing : toastView(ui)}
    </div>
  `;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {unknown} highlighted
 * @param {Actions} actions
 */
function mainView(state, ui, highlighted, actions) {
  switch (ui.route.kind) {
    case "node":
      return nodePage(state, ui, ui.route.id, actions);
    case "mesh":
      return meshPage(state, ui, ui.route.id, actions);
    case "inbox":
      return inboxPage(state, ui, actions);
    default:
      return stageView(state, ui, actions, highlighted);
  }
}
