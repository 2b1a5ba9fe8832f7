/** The page for somebody whom the server does not know yet. */

import { html, nothing } from "../vendor/lit.js";
import { logo } from "./icons.js";

/**
 * @param {{busy: boolean, error: string, reason: string}} login
 * @param {import("../signin.js").Place} place
 * @param {{login: (token: string) => void}} actions
 */
export function loginView(login, place, actions) {
  const submit = (/** @type {any} */ event) => {
    event.preventDefault();
    const field = event.target.elements.token;
    actions.login(field.value.trim());
    field.value = "";
  };
  return html`<main class="login">
    <form class="login-card" @submit=${submit}>
      <h1>${logo()}Hyper-Pi</h1>
      ${login.reason ? html`<p role="status">${login.reason}</p>` : nothing}
      ${login.error ? html`<p class="error" role="alert">${login.error}</p>` : nothing}
      <section>
        <h2>With a login link</h2>
        <p>On the machine where the hypivisor runs, type</p>
        <pre class="command">hyperpi login</pre>
        <p>and open the link that it prints in this browser. A link works once and for five minutes; then this browser stays logged in for seven days, or until it has not been used for twelve hours.</p>
      </section>
      <details ?open=${matchMedia("(pointer: coarse)").matches}>
        <summary>On a phone or another computer</summary>
        <p>Where Pi-DE is open already, an admin chooses <b>Mesh</b>, <b>Let in</b>, <b>A browser</b> and holds the QR code to your camera. In a terminal <code>hyperpi login --qr</code> draws it.</p>
        ${place.isLocal
          ? html`<p>This page was opened as <code>${place.host}</code>, which no other device can reach. For other devices start <code>hyperpi up --host 0.0.0.0</code>, or use a tunnel.</p>`
          : html`<p>The link leads to the address that <code>hyperpi up</code> was told; the device must reach it, as it reached <code>${place.host}</code>.</p>`}
      </details>
      <details>
        <summary>You are not the owner of that machine</summary>
        <p>Ask an admin of this mesh for a link: <code>hyperpi login --role viewer --name YOU</code>.</p>
      </details>
      <section>
        <label for="token">Or paste a token</label>
        <div class="login-row">
          <input id="token" name="token" type="password" autocomplete="off" spellcheck="false" required ?disabled=${login.busy} />
          <button class="button primary" ?disabled=${login.busy}>${login.busy ? "…" : "Sign in"}</button>
        </div>
        <p class="faint">From <code>hyperpi token create</code>. It is exchanged for a session and not kept in this browser.</p>
      </section>
    </form>
  </main>`;
}
