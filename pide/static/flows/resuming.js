/** Going on with agents that have ended. */

import { keepIds } from "../keeping.js";
import { offeredAgain } from "../presence.js";
import { visible } from "../format.js";
import { messageOf } from "../client.js";
import { modeFor } from "../prompts.js";
import { successorsIn } from "../mesh.js";

const START_TIMEOUT_S = 30;

/**
 * @param {import("../page.js").Page} page
 * @param {import("../client.js").Client} client
 * @param {(text: string, what: string) => void} copy
 */
export function resumeFlow(page, client, copy) {
  /** @param {ReadonlySet<string>} resuming */
  const look = (resuming) => page.look({ resuming });

  /**
   * @param {string} agent
   * @returns {Promise<string | null>} the new agent's id
   */
  const start = async (agent) => {
    if (page.ui.resuming.has(agent)) return null;
    look(new Set([...page.ui.resuming, agent]));
    try {
      // Asked again for the same agent it is still one that goes on with it.
      const { agent: now } = await page.request("agent.resume", { agent }, START_TIMEOUT_S);
      return now;
    } catch (error) {
      const name = page.state.mesh?.agents.get(agent)?.name ?? agent;
      page.toast(`${visible(name)} was not resumed: ${messageOf(error)}`, "bad");
      return null;
    } finally {
      look(new Set([...page.ui.resuming].filter((one) => one !== agent)));
    }
  };

  const putAway = (/** @type {string} */ id) => page.look({ putAway: new Set([...page.ui.putAway, id]) });

  /**
   * The whole of what an ended agent had not taken: its queue, which everybody is told, has the beginning.
   * @param {string} agent
   * @param {import("../protocol.js").QueuedPrompt} prompt
   * @returns {Promise<string | null>}
   */
  const wholeText = async (agent, prompt) => {
    if (!prompt.cut) return prompt.text;
    const shown = await page.ask("agent.show", { agent });
    if (!shown) return null;
    /** @type {import("../protocol.js").QueuedPrompt[]} */
    const queue = shown.queue ?? [];
    const found = queue.find((one) => one.id === prompt.id);
    if (found && !found.cut) return found.text;
    page.toast("The whole prompt could not be had: its machine is away, or knows only the beginning.", "bad");
    return null;
  };

  return {
    putAway,
    /**
     * @param {string} agent
     * @param {import("../protocol.js").QueuedPrompt} prompt
     */
    copyLost: async (agent, prompt) => {
      const text = await wholeText(agent, prompt);
      if (text !== null) copy(text, "prompt");
    },
    /**
     * Say what an ended agent had not taken to the one that goes on with it, which is started if there is none.
     * @param {string} agent
     * @param {import("../protocol.js").QueuedPrompt} prompt
     */
    sendLost: async (agent, prompt) => {
      const text = await wholeText(agent, prompt);
      if (text === null) return;
      const now = successorsIn(page.state.mesh?.agents ?? new Map()).get(agent)?.id ?? (await start(agent));
      if (!now) return;
      putAway(prompt.id);
      void client.prompt(now, text, modeFor(page.state.mesh?.agents.get(now), "follow_up"));
      if (prompt.images) page.toast("Its pictures have to be added again.");
      page.go({ kind: "agent", id: now });
    },
    /** @param {string} agent */
    resume: async (agent) => {
      const now = await start(agent);
      if (now) page.go({ kind: "agent", id: now });
    },
    resumeAll: async () => {
      const wanted = offeredAgain(page.state, page.ui.passedOver);
      const started = (await Promise.all(wanted.map((agent) => start(agent.id)))).filter((id) => id !== null);
      if (started.length) page.toast(`${started.length} resumed. They wait for you: no turn was run again.`);
    },
    showInterrupted: () => page.look({ chip: "ended", filter: "", cursor: null, screen: "roster" }),
    passOver: () => {
      const passedOver = new Set([...page.ui.passedOver, ...offeredAgain(page.state, page.ui.passedOver).map((agent) => agent.id)]);
      keepIds("passedOver", passedOver);
      page.look({ passedOver });
    },
  };
}
