/** Dialogs: what opens them, what they ask, how they close. */

import { visible } from "../format.js";
import { allows } from "../protocol.js";

/** @typedef {import("../page.js").Page} Page */

export const NAMES = "Names are made of letters, digits, “.”, “_” and “-”, and are unique on a machine.";

/** @param {Page} page */
export function closeOn(page) {
  return () => {
    const open = document.querySelector("dialog[open]");
    // Its own close gives the focus back to where it was; the close event brings us here again.
    if (open instanceof HTMLDialogElement) open.close();
    else page.look({ dialog: null });
  };
}

/** @param {Page} page */
export function dialogFlow(page) {
  const closeDialog = closeOn(page);
  return {
    closeDialog,
    openHelp: () => page.look({ dialog: { kind: "help" } }),

    /**
     * @param {string} title
     * @param {string} text
     * @param {string} verb
     * @param {() => unknown} act
     */
    confirm: (title, text, verb, act) => {
      const confirmed = () => {
        closeDialog();
        act();
      };
      page.look({ dialog: { kind: "confirm", title, text, verb, act: confirmed } });
    },

    askRename: (/** @type {import("../protocol.js").Agent} */ agent) => page.look({ dialog: { kind: "rename", agent: agent.id, name: agent.name } }),
    rename: (/** @type {string} */ name) => {
      if (page.ui.dialog?.kind === "rename") page.look({ dialog: { ...page.ui.dialog, name } });
    },
    applyRename: () => {
      const { dialog } = page.ui;
      if (dialog?.kind !== "rename") return;
      closeDialog();
      renameAgent(page, dialog.agent, dialog.name.trim());
    },
  };
}

/**
 * Rename, and tell the name that it has got: the node decides.
 * @param {Page} page
 * @param {string} agent
 * @param {string} name
 */
async function renameAgent(page, agent, name) {
  if (!(await page.ask("agent.rename", { agent, name }))) return;
  const shown = await page.request("agent.show", { agent }).catch(() => null); // the roster tells as well
  const given = typeof shown?.name === "string" ? shown.name : name;
  page.toast(given === name ? "Renamed." : `Renamed to ${visible(given)}. ${NAMES}`);
}

/** @param {Page} page */
export function joinFlow(page) {
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  return {
    /** An admin lets machines in on the page of the mesh; others are told how to ask. */
    openJoin: () => {
      if (allows(page.state.me?.role, "token.create")) page.go({ kind: "mesh", id: "let-in" });
      else page.look({ dialog: { kind: "join", address: isLocal ? "" : location.hostname } });
    },
    openMesh: () => {
      if (allows(page.state.me?.role, "token.ls")) page.go({ kind: "mesh", id: "let-in" });
    },
  };
}
