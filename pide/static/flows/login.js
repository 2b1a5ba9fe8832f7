/** Who we are to the server: logging in with a link's code or a token, logging out, finding out why not. */

import { emptyState } from "../state.js";

/** @typedef {import("../page.js").Page} Page */

/**
 * Why a handshake failed, which the WebSocket itself does not tell.
 * @returns {Promise<"ok" | "signed_out" | "offline" | "gone">}
 */
export async function diagnose() {
  try {
    const answer = await fetch("/me", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    if (answer.status === 401) return "signed_out";
    return answer.ok ? "ok" : "gone";
  } catch {
    return navigator.onLine ? "gone" : "offline";
  }
}

/** The code of a one-use login link, taken out of the address: it must not stay in the history. */
export function takeCode() {
  const code = /^#login=([\w.~-]+)$/.exec(location.hash)?.[1];
  if (code) history.replaceState(null, "", location.pathname);
  return code;
}

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

  /** @param {{code: string} | {token: string}} credential */
  const login = async (credential) => {
    page.look({ login: { busy: true, error: "", reason: page.ui.login?.reason ?? "" } });
    let answer;
    try {
      answer = await fetch("/login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(credential),
      });
    } catch {
      return refuse("The hypivisor does not answer. Try again in a moment.");
    }
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      const why = "code" in credential ? "This login link was used before or is too old. Ask for a new one." : "This token is not accepted.";
      return refuse(answer.status === 401 || answer.status === 403 ? why : (told.error ?? why));
    }
    if (page.state.me && told.name !== page.state.me.name) return startAnew();
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
