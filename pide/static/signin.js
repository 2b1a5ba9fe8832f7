/** How a browser gets in: what the server says of us, and what a login link or a token is exchanged for. */

/** @typedef {{code: string} | {token: string}} Credential */
/** @typedef {{name: string, role: string}} Guest */
/** @typedef {{host: string, isLocal: boolean}} Place  under which address this page was opened */

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

/** @returns {Place} */
export function placeOf(/** @type {{hostname: string, host: string}} */ { hostname, host }) {
  return { host, isLocal: ["localhost", "127.0.0.1", "[::1]"].includes(hostname) };
}

/**
 * Exchange a login code or a token for a session.
 * @param {Credential} credential
 * @returns {Promise<{guest: Guest} | {error: string}>} the error in words, with what to do next
 */
export async function signIn(credential) {
  let answer;
  try {
    answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(credential),
    });
  } catch {
    return { error: "The hypivisor does not answer. Is it running? Try again in a moment." };
  }
  const told = await answer.json().catch(() => ({}));
  return answer.ok ? { guest: told } : { error: refusal("code" in credential, told) };
}

/**
 * @param {boolean} byLink
 * @param {{error?: string, hint?: string}} told by the server
 */
function refusal(byLink, { error, hint }) {
  const what = byLink ? "This login link does not work" : "This token is not accepted";
  return `${what}: ${error ?? "the server did not say why"}.${hint ? ` What to do: ${hint}.` : ""}`;
}
