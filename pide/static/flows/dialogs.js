/** Dialogs: what opens them, what they ask, how they close. */

import { messageOf } from "../client.js";
import { visible } from "../format.js";
import { allows, newId } from "../protocol.js";

/** @typedef {import("../page.js").Page} Page */
/** @typedef {import("../ui.js").SpawnDialog} SpawnDialog */
/** @typedef {{error?: string, busy?: boolean}} Progress */

const SPAWN_TIMEOUT_S = 60; // a program starts there, and says hello
const NAMES = "Names are made of letters, digits, “.”, “_” and “-”, and are unique on a machine.";

/** @param {Page} page */
function closeOn(page) {
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
export function spawnFlow(page) {
  /** @param {Partial<SpawnDialog> & Progress} change */
  const change = (change) => {
    if (page.ui.dialog?.kind === "spawn") page.look({ dialog: { ...page.ui.dialog, ...change } });
  };

  /** @param {string | null} path */
  const browse = async (path) => {
    const { dialog } = page.ui;
    if (dialog?.kind !== "spawn") return;
    const { node, hidden } = dialog;
    change({ path, error: "" });
    try {
      const listing = await page.request("node.folders", path === null ? { node, hidden } : { node, path, hidden });
      const now = page.ui.dialog;
      if (now?.kind === "spawn" && now.node === node && now.path === path) change({ listing });
    } catch (error) {
      change({ error: messageOf(error) });
    }
  };

  /** @param {string | null} node */
  const openSpawn = (node) => {
    if (!allows(page.state.me?.role, "node.spawn")) return page.toast("Starting agents needs the role operator.", "bad");
    const online = [...(page.state.mesh?.nodes.values() ?? [])].filter((one) => one.state === "online");
    const wished = node ?? page.openAgent?.node ?? (page.ui.route.kind === "node" ? page.ui.route.id : undefined);
    const chosen = online.find((one) => one.id === wished) ?? online[0];
    page.look({
      dialog: {
        kind: "spawn",
        node: chosen?.id ?? "",
        path: null,
        listing: null,
        hidden: false,
        newFolder: null,
        requestId: newId(),
        agentKind: "pi",
        name: "",
        prompt: "",
      },
    });
    if (chosen) browse(null);
    return undefined;
  };

  const startAgent = async () => {
    const { dialog } = page.ui;
    if (dialog?.kind !== "spawn" || !dialog.listing || dialog.busy) return;
    const { node, newFolder, agentKind, name, prompt, requestId, listing } = dialog;
    change({ busy: true, error: "" });
    const wanted = {
      node,
      path: listing.path,
      kind: agentKind,
      request_id: requestId,
      ...(newFolder ? { new_folder: newFolder } : {}),
      ...(name.trim() ? { name: name.trim() } : {}),
      ...(prompt.trim() ? { prompt: prompt.trim() } : {}),
    };
    try {
      const { agent, address } = await page.request("node.spawn", wanted, SPAWN_TIMEOUT_S);
      closeOn(page)();
      const given = typeof address === "string" ? address.split("@")[0] : "";
      if (name.trim() && given && given !== name.trim()) page.toast(`Started as ${visible(given)}. ${NAMES}`);
      page.go({ kind: "agent", id: agent });
    } catch (error) {
      // The same request_id stays: trying again cannot start a second one.
      change({ busy: false, error: messageOf(error) });
    }
  };

  return { openSpawn, spawn: change, browse: (/** @type {string | null} */ path) => void browse(path), startAgent: () => void startAgent() };
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
