/** Starting an agent: on which machine, in which folder, of which kind. */

import { messageOf } from "../client.js";
import { wordsOf } from "../command_words.js";
import { visible } from "../format.js";
import { ERROR, RpcError, allows, newId } from "../protocol.js";
import { NAMES, closeOn } from "./dialogs.js";

/** @typedef {import("../page.js").Page} Page */
/** @typedef {import("../ui.js").SpawnDialog} SpawnDialog */
/** @typedef {import("../protocol.js").AgentKind} AgentKind */
/** @typedef {{error?: string, busy?: boolean}} Progress */

const SPAWN_TIMEOUT_S = 60; // a program starts there, and says hello

/** What a node can start, until it has said; one of an older version does not. @type {AgentKind[]} */
const ANY_NODE = [{ name: "pi", command: false, prompts: true, headless: false }];

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
        kinds: ANY_NODE,
        agentKind: "pi",
        command: "",
        headless: false,
        name: "",
        prompt: "",
      },
    });
    if (chosen) spawnOn(chosen.id);
    return undefined;
  };

  /** @param {string} node */
  const spawnOn = (node) => {
    change({ node, path: null, listing: null });
    browse(null);
    askKinds(node);
  };

  /** @param {string} node */
  const askKinds = async (node) => {
    /** @type {AgentKind[]} */
    let kinds;
    try {
      ({ kinds } = await page.request("node.kinds", { node }));
    } catch (error) {
      if (!(error instanceof RpcError && error.code === ERROR.methodNotFound)) return; // its folders tell what is wrong
      kinds = ANY_NODE;
    }
    const { dialog } = page.ui;
    if (dialog?.kind !== "spawn" || dialog.node !== node) return;
    change({ kinds, agentKind: kinds.some((one) => one.name === dialog.agentKind) ? dialog.agentKind : (kinds[0]?.name ?? "") });
  };

  const startAgent = async () => {
    const { dialog } = page.ui;
    if (dialog?.kind !== "spawn" || !dialog.listing || dialog.busy) return undefined;
    const { node, newFolder, agentKind, command, headless, name, prompt, requestId, listing } = dialog;
    const kind = dialog.kinds.find((one) => one.name === agentKind);
    const args = wordsOf(command);
    if (args === null) return change({ error: "A quote is opened and not closed in the command." });
    change({ busy: true, error: "" });
    const wanted = {
      node,
      path: listing.path,
      kind: agentKind,
      request_id: requestId,
      ...(newFolder ? { new_folder: newFolder } : {}),
      ...(name.trim() ? { name: name.trim() } : {}),
      ...(prompt.trim() && kind?.prompts ? { prompt: prompt.trim() } : {}),
      ...(args.length ? { args } : {}),
      ...(headless && kind?.headless ? { headless } : {}),
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
    return undefined;
  };

  return { openSpawn, spawn: change, spawnOn, browse: (/** @type {string | null} */ path) => void browse(path), startAgent: () => void startAgent() };
}
