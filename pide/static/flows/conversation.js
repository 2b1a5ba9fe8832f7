/** Reading one agent's conversation and writing to it. */

import { SHOWN_STEP, FIRST_SHOWN, toggled } from "../ui.js";
import { MAX_PICTURES, picturesIn, shrunk } from "../pictures.js";
import { completionFlow } from "./completion.js";
import { modeFor } from "../prompts.js";

/** @typedef {import("../protocol.js").PromptMode} PromptMode */
/** @typedef {import("../prompts.js").Prompt} Prompt */

/**
 * @param {import("../page.js").Page} page
 * @param {import("../client.js").Client} client
 */
export function conversationFlow(page, client) {
  const jumpToLive = () => {
    page.look({ follow: true, unseen: 0, shown: Math.min(page.ui.shown, FIRST_SHOWN) });
    page.reading.setFollow(true);
  };

  /** Draw older entries that are here, and ask for more when they run out. */
  const showOlder = async () => {
    const conv = page.openConversation;
    if (!conv?.loaded || page.ui.history === "loading") return;
    const hidden = conv.entries.length - page.ui.shown;
    if (hidden > 0) page.look({ shown: page.ui.shown + Math.min(hidden, SHOWN_STEP) });
    if (hidden > SHOWN_STEP || !conv.more || !conv.attached || page.ui.history !== "idle") return;
    page.look({ history: "loading" });
    const history = await client.older();
    const now = page.openConversation;
    if (now?.agent !== conv.agent) return;
    const added = Math.max(0, now.entries.length - conv.entries.length);
    page.look({ history, shown: page.ui.shown + Math.min(added, SHOWN_STEP) });
  };

  const draft = (/** @type {string} */ agent, /** @type {string} */ text) => page.look({ drafts: new Map(page.ui.drafts).set(agent, text) });
  const completion = completionFlow(page, draft);

  /** @param {string} agent */
  const send = (agent) => {
    const text = (page.ui.drafts.get(agent) ?? "").trim();
    const images = page.ui.pictures.get(agent) ?? [];
    if (text === "" && images.length === 0) return;
    const mode = modeFor(page.state.mesh?.agents.get(agent), page.ui.modes.get(agent));
    draft(agent, "");
    completion.close();
    setPictures(agent, []);
    client.prompt(agent, text, mode, images);
    jumpToLive();
  };

  /** @param {Prompt} prompt */
  const dismiss = (prompt) => page.dispatch({ type: "prompt.dismissed", agent: prompt.agent, id: prompt.id });

  /** @param {string} agent @param {import("../protocol.js").Picture[]} pictures */
  const setPictures = (agent, pictures) => page.look({ pictures: new Map(page.ui.pictures).set(agent, pictures) });

  /** @param {string} agent @param {File[]} files */
  const addPictures = async (agent, files) => {
    for (const file of files) {
      const known = page.ui.pictures.get(agent) ?? [];
      if (known.length >= MAX_PICTURES) return page.toast(`A prompt takes ${MAX_PICTURES} pictures.`, "bad");
      try {
        const picture = await shrunk(file);
        setPictures(agent, [...(page.ui.pictures.get(agent) ?? []), picture]);
      } catch (error) {
        page.toast(/** @type {Error} */ (error).message, "bad");
      }
    }
  };

  /** @param {string} agent @param {string} text */
  const write = (agent, text) => {
    const known = page.ui.drafts.get(agent) ?? "";
    draft(agent, known ? `${text}\n${known}` : text);
    document.getElementById("composer")?.focus();
  };

  /** @param {string} agent @param {string} id @param {boolean} edit */
  const takeBack = async (agent, id, edit) => {
    const taken = await page.ask("agent.unqueue", { agent, id });
    if (!taken) return;
    page.dispatch({ type: "prompt.changed", params: { agent, id, receipt: "cancelled" } });
    if (edit) write(agent, taken.text ?? "");
    if (edit && taken.images) page.toast("Its pictures have to be added again.");
  };

  return {
    jumpToLive,
    takeBack: (/** @type {string} */ agent, /** @type {string} */ id, /** @type {boolean} */ edit) => void takeBack(agent, id, edit),
    send,
    dismiss,
    showOlder: () => void showOlder(),
    olderAgain: () => {
      page.look({ history: "idle" });
      showOlder();
    },
    stageScrolled: () => page.reading.scrolled(),
    toggle: (/** @type {string} */ id) => page.look({ open: toggled(page.ui.open, id) }),
    attachAgain: () => void client.attach(),
    focusComposer: () => document.getElementById("composer")?.focus(),

    /** @param {string} agent @param {HTMLTextAreaElement} box */
    typed: (agent, box) => {
      draft(agent, box.value);
      completion.typed(agent, box);
    },
    complete: completion.complete,
    /** @param {string} agent @param {ClipboardEvent | DragEvent} event */
    picturesGiven: (agent, event) => {
      const files = picturesIn("clipboardData" in event ? event.clipboardData : event.dataTransfer);
      if (files.length === 0) return;
      event.preventDefault();
      void addPictures(agent, files);
    },
    /** @param {string} agent @param {HTMLInputElement} input */
    picturesChosen: (agent, input) => {
      void addPictures(agent, [...(input.files ?? [])]);
      input.value = ""; // the same one may be chosen again
    },
    dropPicture: (/** @type {string} */ agent, /** @type {number} */ index) =>
      setPictures(agent, (page.ui.pictures.get(agent) ?? []).filter((_, at) => at !== index)),
    closeCompletion: completion.close,
    mode: (/** @type {string} */ agent, /** @type {PromptMode} */ mode) => page.look({ modes: new Map(page.ui.modes).set(agent, mode) }),

    /** @param {KeyboardEvent} event */
    composerKey: (event) => {
      const { route } = page.ui;
      if (completion.key(event)) return;
      if (route.kind !== "agent" || event.key !== "Enter" || event.isComposing || event.shiftKey) return;
      if (page.touch.matches) return; // the Enter of a phone's keyboard is the only way to a new line
      event.preventDefault();
      if (event.altKey) page.look({ modes: new Map(page.ui.modes).set(route.id, "follow_up") });
      send(route.id);
    },

    /** @param {Prompt} prompt */
    sendAgain: (prompt) => {
      dismiss(prompt);
      client.prompt(prompt.agent, prompt.text, prompt.mode, prompt.images);
    },

    /** @param {Prompt} prompt */
    editAgain: (prompt) => {
      dismiss(prompt);
      write(prompt.agent, prompt.text);
      if (prompt.images?.length) setPictures(prompt.agent, prompt.images);
    },
  };
}
