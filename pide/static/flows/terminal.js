/** The terminal of the open agent: when it is followed, where it is drawn, what goes in by other ways than keys. */

import { messageOf } from "../client.js";
import { openScreen } from "../terminal/screen.js";
import { Session } from "../terminal/session.js";
import { lookOf } from "../ui.js";
import { mayType } from "../views/terminal.js";

/** @typedef {import("../terminal/screen.js").Screen} Screen */

const ARROWS = /** @type {Record<string, string>} */ ({ up: "A", down: "B", right: "C", left: "D" });
const KEYS = /** @type {Record<string, string>} */ ({ esc: "\x1b", tab: "\t", interrupt: "\x03" });

/**
 * @param {import("../page.js").Page} page
 * @param {import("../client.js").Client} client
 */
export function terminalFlow(page, client) {
  /** @type {Session | null} */
  let session = null;
  /** @type {HTMLElement | null} */
  let place = null;

  const openIt = () => {
    const agent = page.openAgent;
    return agent && lookOf(page.ui.route, agent) === "terminal" ? agent : undefined;
  };

  /** @param {string} agent */
  const begin = (agent) =>
    new Session({
      agent,
      request: page.request,
      onLook: (tty) => page.look({ tty }),
      onTrouble: (text) => page.toast(text, "bad"),
      nextFrame: (run) => requestAnimationFrame(run),
    });

  /** After each change of what is known or looked at. */
  const settle = () => {
    const agent = openIt();
    if (session?.agent !== agent?.id) {
      session?.end();
      session = agent ? begin(agent.id) : null;
      page.look({ tty: null, ttyError: "" });
      if (client.openAgent !== null && client.openAgent === page.openAgent?.id) client.refollow();
    }
    if (!session || !agent) return;
    session.allowTyping(mayType(page.state, agent));
    if (!page.openConversation?.attached) session.away();
  };

  /** The place where it is drawn came into the page, or went. @param {Element | undefined} element */
  const placed = (element) => {
    place = element instanceof HTMLElement ? element : null;
    if (place) draw(place, session);
    else if (session?.screen) session.hide();
  };

  /**
   * @param {HTMLElement} where
   * @param {Session | null} whose
   */
  const draw = async (where, whose) => {
    if (!whose) return;
    let screen;
    try {
      screen = await openScreen(where, whose.size, {
        onKeys: (keys, binary) => whose.typed(keys, binary),
        mayAnswer: () => whose.mayAnswer,
        onTaken: () => whose.take(),
        onTop: () => void whose.showOlder(),
        onRoom: () => whose.roomChanged(),
        onLeave: () => document.querySelector("[data-agent][aria-current]")?.closest("a")?.focus(),
      });
    } catch (error) {
      if (session === whose) page.look({ ttyError: messageOf(error) });
      return;
    }
    if (place !== where || session !== whose) return screen.close();
    whose.show(screen);
    if (!page.touch.matches && !page.ui.dialog) screen.term.focus();
    return undefined;
  };

  // Where a phone's keyboard covers the page instead of making it smaller, what it covers is left free.
  const { visualViewport } = window;
  visualViewport?.addEventListener("resize", () => {
    const covered = visualViewport.scale === 1 ? innerHeight - visualViewport.height : 0;
    document.documentElement.style.setProperty("--covered", `${Math.max(0, Math.round(covered))}px`);
  });

  const paste = async () => {
    let text;
    try {
      text = await navigator.clipboard.readText();
    } catch {
      page.look({ dialog: { kind: "paste", text: "" } });
      return;
    }
    session?.screen?.term.paste(text);
  };

  return {
    settle,
    /** See Client: from where its terminal is wanted. @param {string} agent */
    wanted: (agent) => (session?.agent === agent ? (session.offset === undefined ? {} : { offset: session.offset }) : null),
    /** @type {(agent: string, terminal: import("../terminal/session.js").Attached) => void} */
    attached: (agent, terminal) => {
      if (session?.agent === agent) session.attached(terminal);
    },
    /** @param {import("../terminal/session.js").Told} piece */
    came: (piece) => {
      if (session?.agent === piece.agent) session.came(piece);
    },
    /** @param {string} agent */
    ended: (agent) => {
      if (session?.agent !== agent) return;
      session.away();
      client.terminalEnded();
    },
    actions: {
      terminalPlaced: placed,
      takeTerminal: () => {
        session?.take();
        session?.screen?.term.focus();
      },
      olderOutput: () => void session?.showOlder(),
      terminalCtrl: () => session?.setCtrl(!session.ctrl),
      /** @param {string} name */
      terminalKey: (name) => {
        const term = session?.screen?.term;
        if (!term) return;
        const arrow = ARROWS[name];
        const keys = arrow ? `\x1b${term.modes.applicationCursorKeysMode ? "O" : "["}${arrow}` : KEYS[name];
        term.input(keys, true);
      },
      pasteHere: () => void paste(),
      pasteText: (/** @type {string} */ text) => {
        session?.screen?.term.paste(text);
        session?.screen?.term.focus();
      },
    },
  };
}
