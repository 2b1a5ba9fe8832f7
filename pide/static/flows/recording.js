/** The recording of a terminal: to replay it in the page, or to take it along. */

import { messageOf } from "../client.js";
import { Player, readRecording } from "../terminal/player.js";
import { openScreen } from "../terminal/screen.js";

const STEP_S = 5;

/** @param {import("../page.js").Page} page */
export function recordingFlow(page) {
  /** @type {Player | null} */
  let player = null;

  const close = () => {
    player?.end();
    player = null;
    if (page.ui.playing) page.look({ playing: null });
  };

  /** @param {Element | undefined} element */
  const placed = async (element) => {
    const whose = player;
    if (!(element instanceof HTMLElement) || !whose) return;
    try {
      const screen = await openScreen(element, { cols: 80, rows: 24 }, { onRoom: () => screen.scale() });
      if (player !== whose || !element.isConnected) screen.close();
      else whose.show(screen);
    } catch (error) {
      page.toast(messageOf(error), "bad");
    }
  };

  /** @param {string} agent */
  const play = (agent) => {
    close();
    player = new Player({
      agent,
      request: page.request,
      onLook: (playing) => page.look({ playing }),
      nextFrame: (run) => requestAnimationFrame(run),
    });
    page.look({ playing: player.playing });
    player.load();
  };

  /** @param {import("../protocol.js").Agent} agent */
  const download = async (agent) => {
    /** @type {string[]} */
    const parts = [];
    page.toast("Fetching the recording…");
    try {
      await readRecording(page.request, agent.id, (lines) => parts.push(...lines.map((line) => `${line}\n`)) >= 0);
    } catch (error) {
      page.toast(messageOf(error), "bad");
      return;
    }
    if (!parts.length) {
      page.toast("Nothing of it was recorded.", "bad");
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type: "application/x-asciicast" }));
    link.download = `${agent.name}.cast`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it when it has asked where to put it
    page.toast(`Saved as ${link.download}.`);
  };

  /** Keys of a player that is open. @param {KeyboardEvent} event */
  const key = (event) => {
    if (!player || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !(event.target instanceof HTMLButtonElement)) player.toggle();
    else if (event.key === "ArrowLeft") player.seek(player.playing.time - STEP_S);
    else if (event.key === "ArrowRight") player.seek(player.playing.time + STEP_S);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  };

  return {
    /** What is played is of the agent that is open, or nothing is. */
    settle: () => {
      if (player && page.openAgent?.id !== player.playing.agent) close();
    },
    actions: {
      playRecording: play,
      saveRecording: (/** @type {import("../protocol.js").Agent} */ agent) => void download(agent),
      closeRecording: close,
      playerPlaced: (/** @type {Element | undefined} */ element) => void placed(element),
      playerToggle: () => player?.toggle(),
      playerSeek: (/** @type {number} */ time) => player?.seek(time),
      playerSpeed: (/** @type {number} */ speed) => player?.setSpeed(speed),
      playerSkips: (/** @type {boolean} */ skips) => player?.setSkips(skips),
      playerKey: key,
    },
  };
}
