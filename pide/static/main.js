/**
 * Wires the page: the socket and the client to the state, the state to the views, what people do back to
 * both. What each part of the page can do is in flows/.
 */

import { Client } from "./client.js";
import { approvalFlow } from "./flows/approvals.js";
import { conversationFlow } from "./flows/conversation.js";
import { dialogFlow, joinFlow } from "./flows/dialogs.js";
import { inspectorFlow } from "./flows/inspector.js";
import { loginFlow } from "./flows/login.js";
import { recordingFlow } from "./flows/recording.js";
import { resumeFlow } from "./flows/resuming.js";
import { rosterFlow } from "./flows/roster.js";
import { spawnFlow } from "./flows/spawn.js";
import { tellingFlow } from "./flows/telling.js";
import { terminalFlow } from "./flows/terminal.js";
import { trustFlow } from "./flows/trust.js";
import { pageKey } from "./keys.js";
import { Page } from "./page.js";
import { diagnose, takeCode } from "./signin.js";
import { Socket } from "./socket.js";
import { FIRST_SHOWN, routeOf } from "./ui.js";
import { loadHighlighter } from "./views/markdown.js";

const PROBE_EVERY_S = 15; // while somebody looks at the evidence
const AGES_EVERY_MS = 5_000;

const socket = new Socket({
  open: () => new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`),
  diagnose,
  onStatus: (status) => {
    client.linked(status);
    if (status.phase === "signed_out") logins.show("This browser was logged out, or its login was revoked.");
    if (status.phase === "open") {
      inspector.diskLinked();
      inspector.load();
      trust.loadMesh();
      approvals.loadInbox();
    }
    countDown();
  },
  onNotification: (method, params) => {
    switch (method) {
      case "mesh.changed":
      case "agent.events":
      case "prompt.changed":
      case "scroll.changed":
        return page.dispatch({ type: method, params });
      case "agent.reset":
        return params.terminal ? terminal.ended(params.agent) : page.dispatch({ type: method, params });
      case "agent.terminal":
        return terminal.came(params);
      case "disk.changed":
        return inspector.diskChanged(params);
      case "nearby.changed":
        return trust.nearbyChanged();
      case "trust.changed":
        return trust.trustChanged();
      default: // a newer server may tell more than this page knows
        return undefined;
    }
  },
});

const page = new Page({
  root: /** @type {HTMLElement} */ (document.getElementById("app")),
  request: (method, params, timeout_s) => socket.request(method, params, timeout_s),
  onChange: (before) => {
    terminal.settle();
    recording.settle();
    client.settle(before);
    approvals.inboxSettle(before);
    telling.settle(before);
    if (page.state.me?.role !== before.me?.role) trust.loadMesh(); // the page may have been opened at its address
    const nodes = page.state.mesh?.nodes;
    if (nodes === before.mesh?.nodes) return;
    inspector.settleDisk(); // the address may name a machine that is only known now
    for (const [id, { error }] of page.state.disks) {
      const node = nodes?.get(id);
      if (error && node?.state === "online" && before.mesh?.nodes.get(id)?.state !== "online") inspector.refreshDisk(id);
      inspector.diskGrew(id, node?.disk?.banks);
    }
  },
  onNearTop: () => conversation.showOlder(),
});

const client = new Client({
  request: page.request,
  state: () => page.state,
  dispatch: (event) => page.dispatch(event),
  onAttach: (agent, error) => {
    const attachErrors = new Map(page.ui.attachErrors);
    if (error === null) attachErrors.delete(agent);
    else attachErrors.set(agent, error);
    page.look({ attachErrors });
  },
  terminal: (agent) => terminal.wanted(agent),
  onTerminal: (agent, told) => terminal.attached(agent, told),
  onHeartbeat: (seconds) => socket.setHeartbeat(seconds),
});

const logins = loginFlow(page, socket);
const roster = rosterFlow(page);
const approvals = approvalFlow(page);
const conversation = conversationFlow(page, client);
const terminal = terminalFlow(page, client);
const recording = recordingFlow(page);
const inspector = inspectorFlow(page, client);
const dialogs = dialogFlow(page);
const trust = trustFlow(page, dialogs.confirm);
const telling = tellingFlow(page);

/**
 * @param {string} text
 * @param {string} what
 */
async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    page.toast(`Copied the ${what}.`);
  } catch {
    page.toast("This browser does not let pages copy here; select the text instead.", "bad");
  }
}

/** @type {import("./views/app.js").Actions} */
const actions = {
  ...roster,
  ...conversation,
  ...terminal.actions,
  ...recording.actions,
  ...inspector,
  ...dialogs,
  ...resumeFlow(page, client, copy),
  ...spawnFlow(page),
  ...joinFlow(page),
  ...trust,
  ...approvals,
  ...telling.actions,
  login: logins.login,
  logout: () => void logins.logout(),
  retryNow: () => socket.retryNow(),
  back: () => page.go({ kind: "none" }),
  copy: (text, what) => void copy(text, what),
  abort: (agent) => void page.ask("agent.abort", { agent }, "Asked to stop this turn."),
  askStop: (agent) =>
    dialogs.confirm(`Stop ${agent.name}?`, "The agent and what it started will end. Its conversation stays readable.", "Stop agent", () =>
      page.ask("agent.stop", { agent: agent.id }),
    ),
  askForget: (agent) =>
    dialogs.confirm(`Forget ${agent.name}?`, "It leaves the roster. Its session file stays on its machine.", "Forget", async () => {
      if (await page.ask("agent.forget", { agent: agent.id })) page.go({ kind: "none" });
    }),
  askRevoke: (node) =>
    dialogs.confirm(
      `Revoke ${node.name}?`,
      "Its certificate is no longer accepted, and its connection is cut now. Its agents go on there, unseen from here. It comes back only by joining again, with a new key.",
      "Revoke",
      async () => {
        const shown = page.ui.route.kind === "node" && page.ui.route.id === node.id;
        if ((await page.ask("node.revoke", { node: node.id }, `${node.name} is out.`)) && shown) page.go({ kind: "mesh", id: "machines" });
      },
    ),
};
page.actions = actions;

function routeChanged() {
  const route = routeOf(location.hash);
  const now = page.ui.route;
  if (route.kind === now.kind && "id" in route && "id" in now && route.id === now.id) {
    if (route.kind === "agent") page.look({ route }); // its other side
    recording.actions.closeRecording();
    return terminal.settle();
  }
  const agent = route.kind === "agent" ? route.id : null;
  page.look({
    route,
    fresh: new Set([...page.ui.fresh].filter((id) => id !== agent)),
    // Back in the roster the agent that was open is still pointed at; on another page it would look open.
    cursor: agent ?? (route.kind === "none" ? page.ui.cursor : null),
    screen: route.kind === "none" ? "roster" : "stage",
    shown: FIRST_SHOWN,
    follow: true,
    unseen: 0,
    history: "idle",
    scroll: { to: "", message: "", busy: false, error: "" },
  });
  page.reading.setFollow(true);
  page.focusComposer = agent !== null && !page.touch.matches;
  terminal.settle();
  recording.settle();
  client.open(agent);
  inspector.load();
  trust.loadMesh();
  approvals.loadInbox();
}

/** @param {MouseEvent} event */
function clicked(event) {
  const target = event.target instanceof Element ? event.target : null;
  const code = target?.closest("[data-copy]")?.closest(".code")?.querySelector("code");
  if (code) copy(code.textContent ?? "", "code");
  const entryId = target?.closest("[data-copy-entry]")?.getAttribute("data-copy-entry");
  const entry = entryId && page.openConversation?.entries.find((one) => one.id === entryId);
  if (entry) copy(entry.blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n\n"), "message");
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!target || !menu.contains(target) || target.closest(".menu-list")) menu.removeAttribute("open");
  }
}

/** Seconds until the next attempt to connect, for the banner. */
function countDown() {
  const { link } = page.state;
  const countdown_s = link.phase === "waiting" ? Math.max(0, Math.ceil((link.retryAt - performance.now()) / 1_000)) : 0;
  if (countdown_s !== page.ui.countdown_s) page.look({ countdown_s });
}

let sinceProbe_s = 0;

function everySecond() {
  if (document.visibilityState !== "visible") return;
  countDown();
  if (trust.isCountingDown() || approvals.isWaitedFor() || Date.now() - page.ui.now >= AGES_EVERY_MS) page.look({ now: Date.now() });
  sinceProbe_s += 1;
  if (sinceProbe_s >= PROBE_EVERY_S && inspector.isEvidenceShown()) {
    sinceProbe_s = 0;
    client.probe();
  }
}

document.addEventListener("click", clicked);
document.addEventListener("keydown", (event) => {
  if (page.ui.login) return;
  pageKey(event, { ...roster, ...conversation, ...actions, clearFilter: () => roster.filter("") });
});
document.addEventListener("visibilitychange", () => {
  inspector.settleDisk(); // who does not look need not be told
  if (document.visibilityState !== "visible") return;
  // Timers sleep with the page and a dead link looks alive: ask at once instead of finding out a minute later.
  socket.check();
  page.look({ now: Date.now() });
});
addEventListener("online", () => socket.check());
addEventListener("offline", () => socket.check());
addEventListener("pageshow", (event) => event.persisted && socket.check());
addEventListener("hashchange", () => {
  const code = takeCode(); // a login link, opened in a tab that is here already
  if (code) logins.loginByCode(code);
  else routeChanged();
});
addEventListener("resize", () => page.draw());
page.touch.addEventListener("change", () => page.draw());
addEventListener("beforeunload", (event) => {
  // What is not yet with the server would go with the page.
  if ([...page.state.prompts.values()].flat().some((prompt) => prompt.receipt === "sending")) event.preventDefault();
});
setInterval(everySecond, 1_000);

async function start() {
  page.draw();
  socket.start();
  routeChanged();
  await loadHighlighter();
  page.highlighted = true;
  page.draw();
}

start();
