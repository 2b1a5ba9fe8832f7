/**
 * The first module of the page, and all that a stranger loads: it finds out whether the server knows this
 * browser, shows the login page if not, and fetches the app once somebody is in.
 */

import { diagnose, placeOf, signIn, takeCode } from "./signin.js";
import { render } from "./vendor/lit.js";
import { loginView } from "./views/login.js";

const STYLES = ["layout", "roster", "stage", "inspector", "disk", "mesh", "approvals", "terminal"];

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

/**
 * @param {string} reason
 * @param {string} [error]
 * @param {boolean} [busy]
 */
function show(reason, error = "", busy = false) {
  const login = (/** @type {string} */ token) => void come({ token });
  render(loginView({ busy, error, reason }, placeOf(location), { login }), root);
}

/** @param {import("./signin.js").Credential} credential */
async function come(credential) {
  show("", "", true);
  const answer = await signIn(credential);
  if ("guest" in answer) return enter();
  // An old link, opened again by somebody who is in: the link is spent, the session is not.
  if ("code" in credential && (await diagnose()) === "ok") return enter();
  return show("", answer.error);
}

/** Fetch the app; its own modules draw it into the same place. */
async function enter() {
  await Promise.all(STYLES.map((name) => style(`/static/style/${name}.css`)));
  render(null, root);
  await import("./main.js");
}

/** @param {string} href */
function style(href) {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  return new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve); // a page without a style is better than none
    document.head.append(link);
  });
}

const code = takeCode();
addEventListener("hashchange", opened);
if (code) await come({ code });
else if ((await diagnose()) === "signed_out") show("");
else await enter();

/** A login link that is opened in the tab that shows the login page. */
function opened() {
  if (!root.querySelector(".login")) return; // the app has its own way
  const code = takeCode();
  if (code) come({ code });
}
