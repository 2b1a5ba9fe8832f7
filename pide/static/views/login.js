/** The page for somebody whom the server does not know yet. */

import { html, nothing } from "../vendor/lit.js";
import { logo } from "./icons.js";

/**
 * @param {{busy: boolean, error: string, reason: string}} login
 * @param {{login: (token: string) => void}} actions
 */
export function loginView(login, actions) {
  const submit = (/** @type {any} */ event) => {
    event.preventDefault();
    const field = event.target.elements.token;
    actions.login(field.value.trim());
    field.value = "";
  };
  return html`<main class="login">
    <form class="login-card" @submit=${submit}>
      ${logo()}
      <h1>Hyper-Pi</h1>
      ${login.reason ? html`<p role="status">${login.reason}</p>` : nothing}
      <p>On the machine where the hypivisor runs:</p>
      <pre class="command">hyperpi login</pre>
      <p>and open the link that it prints. It works once, for five minutes.</p>
      <label for="token">Or paste a token</label>
      <div class="login-row">
        <input id="token" name="token" type="password" autocomplete="off" spellcheck="false" required ?disabled=${login.busy} />
        <button class="button primary" ?disabled=${login.busy}>${login.busy ? "…" : "Sign in"}</button>
      </div>
      ${login.error ? html`<p class="error" role="alert">${login.error}</p>` : nothing}
      <p class="faint">The token is exchanged for a session and not kept in this browser.</p>
    </form>
  </main>`;
}
