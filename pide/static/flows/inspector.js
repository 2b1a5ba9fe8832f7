/** What the inspector and the page of a machine show beyond the roster: evidence, scrolls, a PXLDisk. */

import { messageOf } from "../client.js";
import { newId } from "../protocol.js";
import { DEFAULT_ZONES } from "../views/disk.js";

/** @typedef {import("../page.js").Page} Page */
/** @typedef {import("../ui.js").DiskView} DiskView */

const DISK_EVERY_MS = 1_000; // a busy disk changes many times a second; its picture need not
const SCROLLS_LIMIT = 100;

/**
 * @param {Page} page
 * @param {import("../client.js").Client} client
 */
export function inspectorFlow(page, client) {
  const disks = diskFlow(page);

  /** Ask for what the open tab shows. */
  const load = () => {
    const agent = page.openAgent;
    if (page.ui.route.kind === "node") disks.refreshDisk(page.ui.route.id);
    if (!agent || page.state.link.phase !== "open") return;
    if (page.ui.tab === "agent") client.probe();
    if (page.ui.tab === "scrolls") loadScrolls(agent.id);
    if (page.ui.tab === "node") disks.refreshDisk(agent.node);
  };

  /** @param {string} agent */
  const loadScrolls = async (agent) => {
    const result = await page.ask("scroll.list", { agent, limit: SCROLLS_LIMIT });
    if (result) page.dispatch({ type: "scroll.list", agent, scrolls: result.scrolls ?? [] });
  };

  /** @param {import("../protocol.js").Agent} agent */
  const sendScroll = async (agent) => {
    const to = page.ui.scroll.to.trim() || (agent.address ?? agent.name);
    const scroll = { scroll_id: `SCROLL-${newId()}`, to, message: page.ui.scroll.message.trim() };
    page.look({ scroll: { ...page.ui.scroll, busy: true, error: "" } });
    try {
      const { state, at } = await page.request("scroll.send", scroll);
      page.dispatch({ type: "scroll.sent", agent: agent.id, scroll: { ...scroll, from: `user:${page.state.me?.name}`, state, at } });
      page.look({ scroll: { to: "", message: "", busy: false, error: "" } });
    } catch (error) {
      page.look({ scroll: { ...page.ui.scroll, busy: false, error: messageOf(error) } });
    }
  };

  return {
    ...disks,
    load,
    sendScroll: (/** @type {import("../protocol.js").Agent} */ agent) => void sendScroll(agent),
    scrollForm: (/** @type {Partial<import("../ui.js").Ui["scroll"]>} */ change) => page.look({ scroll: { ...page.ui.scroll, ...change } }),
    tab: (/** @type {import("../ui.js").Ui["tab"]} */ tab) => {
      page.look({ tab });
      load();
    },
    toggleInspector: () => {
      if (page.phone.matches) page.look({ screen: "inspector", inspectorOpen: true });
      else page.look({ inspectorOpen: !page.ui.inspectorOpen });
      load();
    },
    closeInspector: () => page.look(page.phone.matches ? { screen: "stage" } : { inspectorOpen: false }),
    isEvidenceShown: () =>
      page.ui.route.kind === "agent" && page.ui.tab === "agent" && (page.phone.matches ? page.ui.screen === "inspector" : page.ui.inspectorOpen),
  };
}

/** @param {Page} page */
function diskFlow(page) {
  /** @type {Set<string>} nodes whose picture is about to be asked for again */
  const waiting = new Set();

  /**
   * @param {string} node
   * @param {Partial<DiskView>} change
   */
  const set = (node, change) => {
    const known = page.ui.disks.get(node) ?? { bank: 8, url: "", error: "", zones: DEFAULT_ZONES, height: 256, row: null };
    page.look({ disks: new Map(page.ui.disks).set(node, { ...known, ...change }) });
  };

  /** @param {string} node */
  const refresh = async (node) => {
    const bank = page.ui.disks.get(node)?.bank ?? 8;
    try {
      const { banks } = await page.request("disk.list", { node });
      const told = banks.find((/** @type {{bank: number}} */ one) => one.bank === bank) ?? banks[0];
      const url = `/nodes/${encodeURIComponent(node)}/${bank}.png?at=${Date.now()}`;
      set(node, { bank, url, error: "", height: told?.height ?? 256, zones: zonesOf(told?.zones) });
    } catch (error) {
      set(node, { error: messageOf(error) });
    }
  };

  /** @param {string} node */
  const diskChanged = (node) => {
    if (!page.ui.disks.has(node) || waiting.has(node)) return;
    waiting.add(node);
    setTimeout(() => {
      waiting.delete(node);
      refresh(node);
    }, DISK_EVERY_MS);
  };

  return {
    diskChanged,
    refreshDisk: (/** @type {string} */ node) => void refresh(node),
    diskFailed: (/** @type {string} */ node) => set(node, { error: "The picture did not come: the machine may be away." }),

    /**
     * @param {string} node
     * @param {number} row
     */
    readRow: async (node, row) => {
      const bank = page.ui.disks.get(node)?.bank ?? 8;
      const result = await page.ask("disk.rows", { node, bank, from: row, to: row });
      if (result) set(node, { row: { row, text: rowText(result.rows?.[0]) } });
    },
  };
}

/**
 * @param {any} zones as disk.list tells them
 * @returns {DiskView["zones"]}
 */
function zonesOf(zones) {
  if (!Array.isArray(zones) || !zones.length) return DEFAULT_ZONES;
  return zones.map((zone) => ({ name: String(zone.name), from: Number(zone.first), to: Number(zone.last) }));
}

/**
 * What disk.rows tells of one row, without what is empty.
 * @param {any} told
 */
function rowText(told) {
  if (!told || told.state === "free") return "free";
  const known = Object.entries(told).filter(([, value]) => value !== null && value !== "");
  return JSON.stringify(Object.fromEntries(known), null, 2);
}
