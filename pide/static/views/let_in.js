/** The part of the Mesh page where machines, browsers and programs are let in. */

import { html, nothing } from "../vendor/lit.js";
import { ago, visible } from "../format.js";
import { countdown, qrPath, tokenState } from "../trust.js";
import { addressOf } from "../ui.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../ui.js").LetIn} LetIn */
/** @typedef {import("../protocol.js").Node} Node */

/**
 * @typedef {object} LetInActions
 * @property {(change: Partial<LetIn>) => void} letIn
 * @property {() => void} letInNow
 * @property {() => void} doneWithMade
 * @property {() => void} revokeMade
 * @property {(code: string) => void} approve
 * @property {(node: Node) => void} deny
 * @property {(text: string, what: string) => void} copy
 */

const KINDS = /** @type {[LetIn["what"], string][]} */ ([
  ["machine", "A machine"],
  ["browser", "A browser"],
  ["program", "A program"],
]);

const TIMES = [
  [900, "15 minutes"],
  [3_600, "an hour"],
  [86_400, "a day"],
  [7 * 86_400, "a week"],
  [90 * 86_400, "90 days"],
];

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Node[]} waiting
 * @param {LetInActions} actions
 */
export function letInView(state, ui, waiting, actions) {
  const { letIn } = ui;
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    actions.letInNow();
  };
  return html`${waiting.length ? waitingView(waiting, ui.now, actions) : nothing}
    <section class="sheet let-in" aria-label="Let somebody in">
      <div class="choice" role="group" aria-label="Whom">
        ${KINDS.map(([what, words]) => html`<button type="button" aria-pressed=${String(letIn.what === what)} @click=${() => actions.letIn({ what, made: null, error: "", ...FIRST[what] })}>${words}</button>`)}
      </div>
      <form class="form-row" @submit=${submit}>
        ${fields(letIn, actions)}
        <button class="button primary" ?disabled=${letIn.busy}>${letIn.busy ? "…" : letIn.what === "browser" ? "Make a link" : "Make a token"}</button>
      </form>
      <p class="faint">${EXPLAINED[letIn.what]}</p>
      ${letIn.error ? html`<p class="error" role="alert">${letIn.error}</p>` : nothing}
      ${letIn.made ? madeView(letIn, letIn.made, state, ui, actions) : nothing}
    </section>
    ${letIn.what === "machine" ? nearbyView(state.trust.nearby) : nothing}`;
}

/** What is most often wanted. */
const FIRST = /** @type {Record<LetIn["what"], Partial<LetIn>>} */ ({
  machine: { ttl_s: 900, uses: 1, name: "" },
  browser: { role: "admin", name: "" },
  program: { role: "operator", ttl_s: 86_400, uses: 0, name: "" },
});

const EXPLAINED = {
  machine: "Over there, with Hyper-Pi installed: run the command. Or run hyperpi node join without a token: then it shows six digits and waits here.",
  browser: "The link works once, for five minutes. Hold the QR code to the camera of a phone, or send the link to whom it is for.",
  program: "It is shown once and stored as a hash. A program takes it as HYPI_TOKEN; a person can paste it into the login page.",
};

/**
 * @param {LetIn} letIn
 * @param {LetInActions} actions
 */
function fields(letIn, actions) {
  const set = (/** @type {keyof LetIn} */ key) => (/** @type {any} */ event) => actions.letIn({ [key]: event.target.value });
  const name = html`<label>${letIn.what === "machine" ? "Only as" : "Name"} <input name="name" autocomplete="off" spellcheck="false" maxlength="64" placeholder=${letIn.what === "machine" ? "any name" : letIn.what === "browser" ? "yours" : "whose it is"} .value=${letIn.name} @input=${set("name")} /></label>`;
  const role = html`<label>Role
    <select name="role" @change=${set("role")}>${["viewer", "operator", "admin"].map((one) => html`<option value=${one} ?selected=${letIn.role === one}>${one}</option>`)}</select>
  </label>`;
  const number = (/** @type {"ttl_s" | "uses"} */ key) => (/** @type {any} */ event) => actions.letIn({ [key]: Number(event.target.value) });
  const time = html`<label>Good for
    <select name="ttl" @change=${number("ttl_s")}>${TIMES.map(([s, words]) => html`<option value=${s} ?selected=${letIn.ttl_s === s}>${words}</option>`)}</select>
  </label>`;
  const uses = html`<label>Uses
    <select name="uses" @change=${number("uses")}>${[1, 5, 20, 0].map((n) => html`<option value=${n} ?selected=${letIn.uses === n}>${n || "until it expires"}</option>`)}</select>
  </label>`;
  if (letIn.what === "browser") return [role, name];
  return letIn.what === "machine" ? [name, time, uses] : [role, name, time, uses];
}

/**
 * What was made, while it can be used, and then what became of it.
 * @param {LetIn} letIn
 * @param {import("../ui.js").Made} made
 * @param {State} state
 * @param {Ui} ui
 * @param {LetInActions} actions
 */
function madeView(letIn, made, state, ui, actions) {
  const token = state.trust.tokens?.find((one) => one.id === made.id);
  const left = countdown(made.expires, ui.now);
  const over = token && !tokenState(token, ui.now).lives ? tokenState(token, ui.now).word : left ? "" : "expired";
  const joined = token?.joined ? [...(state.mesh?.nodes.values() ?? [])].find((node) => node.name === token.joined) : undefined;
  const what = letIn.what === "machine" ? "command" : letIn.what === "browser" ? "link" : "token";
  return html`<div class="made" data-over=${String(over !== "")}>
    ${made.qr && !over ? qrView(made.qr, what) : nothing}
    <div class="made-text">
      ${over ? nothing : html`<div class="command-line"><pre class="command" tabindex="0">${made.text}</pre><button type="button" class="button small" @click=${() => actions.copy(made.text, what)}>Copy</button></div>`}
      <p role="status" class="made-state">
        ${token?.joined
          ? html`<b class="good">${token.joined} has joined.</b> ${joined ? html`<a class="link" href=${addressOf({ kind: "node", id: joined.id })}>Show it</a>` : nothing}`
          : over
            ? html`<b>It is ${over}.</b>`
            : html`<span class="countdown" aria-label="expires in ${left}">${left}</span> left${token && token.uses_left !== null && token.uses_left > 1 ? `, ${token.uses_left} uses` : ""}. It is not shown again once you leave.`}
      </p>
      <p class="form-row">
        ${token && !over ? html`<button type="button" class="link danger" @click=${actions.revokeMade}>Revoke…</button>` : nothing}
        <button type="button" class="link" @click=${actions.doneWithMade}>Done</button>
      </p>
    </div>
  </div>`;
}

/**
 * Dark on light whatever the page's colours are: cameras want it so.
 * @param {string[]} rows
 * @param {string} what
 */
function qrView(rows, what) {
  const side = rows.length + 8;
  return html`<svg class="qr" viewBox="0 0 ${side} ${side}" role="img" aria-label="QR code of the ${what}" shape-rendering="crispEdges"><path class="qr-ground" d="M0 0h${side}v${side}h-${side}z" /><path d=${qrPath(rows)} /></svg>`;
}

/**
 * Machines that have asked and wait for an admin, with the digits to compare.
 * @param {Node[]} waiting
 * @param {number} now
 * @param {Pick<LetInActions, "approve" | "deny">} actions
 */
export function waitingView(waiting, now, actions) {
  return html`<section class="sheet waiting-room" aria-label="Waiting to be let in">
    <header><h2>Waiting to be let in</h2></header>
    <p class="faint">Approve only if the machine's own screen shows the same six digits. Somebody confirms them there as well.</p>
    <ul class="machines waiting">
      ${waiting.map(
        (node) => html`<li>
          <span class="join-code">${node.code ?? ""}</span><b>${visible(node.name)}</b><span class="path">${visible(node.address ?? "")}</span><span class="faint">asked ${ago(node.since, now)}</span>
          ${node.approved
            ? html`<span class="good">approved, waits for the confirmation there</span>`
            : html`<button type="button" class="button small primary" @click=${() => actions.approve((node.code ?? "").replace(/\s/g, ""))}>It shows the same: approve</button>`}
          <button type="button" class="link danger" aria-label="Turn ${visible(node.name)} away" @click=${() => actions.deny(node)}>Turn away…</button>
        </li>`,
      )}
    </ul>
  </section>`;
}

/**
 * Machines that say they could join. Whoever they are, their names come from strangers.
 * @param {import("../protocol.js").Neighbours | null} nearby
 */
function nearbyView(nearby) {
  if (!nearby) return nothing;
  const { candidates, more, listening } = nearby;
  return html`<section class="sheet" aria-label="Seen on this network">
    <header><h2>Seen on this network, not joined</h2></header>
    ${candidates.length
      ? html`<ul class="machines nearby">
            ${candidates.map((one) => html`<li><b>${visible(one.name)}</b><span class="path">${visible(one.addresses.join(", "))}</span><span class="faint">${visible(one.version)}</span></li>`)}
          </ul>
          <p class="faint">Run <code>hyperpi node join</code> there.${more ? " There are more than are listed." : ""} Anybody on the network may claim any name.</p>`
      : html`<p class="faint">${listening ? "None. A machine with Hyper-Pi appears here while its node runs and is in no mesh." : "This hypivisor does not listen: it was started with --no-mdns."}</p>`}
  </section>`;
}
