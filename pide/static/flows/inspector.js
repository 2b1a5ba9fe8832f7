/** What the inspector and the page of a machine show beyond the roster: evidence, scrolls, a PXLDisk. */

import { messageOf } from "../client.js";
import { newId } from "../protocol.js";
import { diskFlow } from "./disk.js";

/** @typedef {import("../page.js").Page} Page */

const SCROLLS_LIMIT = 100;

/**
 * @param {Page} page
 * @param {import("../client.js").Client} client
 */
export function inspectorFlow(page, client) {
  const isShown = () => (page.phone.matches ? page.ui.screen === "inspector" : page.ui.inspectorOpen);
  const disks = diskFlow(page, () => {
    if (page.ui.route.kind === "node") return page.ui.route.id;
    return page.openAgent && page.ui.tab === "node" && isShown() ? page.openAgent.node : null;
  });

  /** Ask for what the open tab shows. */
  const load = () => {
    const agent = page.openAgent;
    disks.settleDisk();
    if (!agent || page.state.link.phase !== "open") return;
    if (page.ui.tab === "agent") client.probe();
    if (page.ui.tab === "scrolls") loadScrolls(agent.id);
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

  /**
   * @param {string} agent
   * @param {{[name in import("../protocol.js").Setting]?: string}} change
   */
  const configure = async (agent, change) => {
    const used = await page.ask("agent.configure", { agent, ...change });
    const more = ["thinking", "mode"].filter((name) => used?.[name]).map((name) => `, ${name}: ${used[name]}`);
    if (used) page.toast(`Uses ${used.model ?? "no model"}${more.join("")}.`);
    else page.draw(); // what was chosen is not what is used
    client.probe();
  };

  return {
    ...disks,
    load,
    configure: (/** @type {string} */ agent, /** @type {{[name in import("../protocol.js").Setting]?: string}} */ change) => void configure(agent, change),
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
    closeInspector: () => {
      page.look(page.phone.matches ? { screen: "stage" } : { inspectorOpen: false });
      disks.settleDisk();
    },
    isEvidenceShown: () => page.ui.route.kind === "agent" && page.ui.tab === "agent" && isShown(),
  };
}
