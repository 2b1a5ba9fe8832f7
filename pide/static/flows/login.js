/** Who we are to the server, once the app is here: logging in again, logging out. */

import { diagnose, signIn } from "../signin.js";
import { emptyState } from "../state.js";

/** @typedef {import("../page.js").Page} Page */

/**
 * @param {Page} page
 * @param {import("../socket.js").Socket} socket
 */
export function loginFlow(page, socket) {
  /** @param {string} reason */
  const show = (reason) => page.look({ login: { busy: false, error: "", reason }, dialog: null });

  /** @param {string} error */
  const refuse = (error) => page.look({ login: { busy: false, error, reason: "" } });

  /** Forget everything that this page holds: somebody else may come to it. */
  const startAnew = () => {
    socket.stop();
    page.state = emptyState();
    location.replace("/");
  };

  /** @param {import("../signin.js").Credential} credential */
  const login = async (credential) => {
    page.look({ login: { busy: true, error: "", reason: page.ui.login?.reason ?? "" } });
    const answer = await signIn(credential);
    if ("error" in answer) {
      const stillIn = "code" in credential && (await diagnose()) === "ok"; // the link is spent, the session is not
      return stillIn ? page.look({ login: null }) : refuse(answer.error);
    }
    if (page.state.me && answer.guest.name !== page.state.me.name) return startAnew();
    page.look({ login: null });
    return socket.start();
  };

  return {
    show,
    login: (/** @type {string} */ token) => void login({ token }),
    loginByCode: (/** @type {string} */ code) => login({ code }),
    logout: async () => {
      await fetch("/logout", { method: "POST" }).catch(() => undefined); // then its session ends by time
      startAnew();
    },
  };
}
