/** The Mesh page: what it asks for while it is on the screen, and what an admin does on it. */

import { messageOf } from "../client.js";
import { visible } from "../format.js";
import { allows } from "../protocol.js";
import { noFilter, tokenState, trailParams } from "../trust.js";

/** @typedef {import("../page.js").Page} Page */
/** @typedef {import("../ui.js").LetIn} LetIn */
/** @typedef {import("../trust.js").TrailFilter} TrailFilter */

const TRAIL_ROWS = 100;
const VERIFY_TIMEOUT_S = 60; // it walks the whole trail
const FILTER_AFTER_MS = 250; // after the last key
const AGAIN_MS = 1_000; // between two readings because of news

/**
 * @param {Page} page
 * @param {(title: string, text: string, verb: string, act: () => unknown) => void} confirm
 */
export function trustFlow(page, confirm) {
  const tab = () => (page.ui.route.kind === "mesh" ? page.ui.route.id : null);
  const isAdmin = () => allows(page.state.me?.role, "token.ls");
  const canAsk = () => tab() !== null && isAdmin() && page.state.link.phase === "open";

  /** Run one reading at a time; news meanwhile lead to one more, not to many. @param {() => Promise<void>} read */
  const oneAtATime = (read) => {
    let running = false;
    let again = false;
    return async () => {
      again = running;
      if (running) return;
      running = true;
      do {
        again = false;
        if (!canAsk()) break;
        try {
          await read();
        } catch (error) {
          page.dispatch({ type: "trust.failed", error: messageOf(error) });
        }
        if (again) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      } while (again);
      running = false;
    };
  };

  const readTokens = oneAtATime(async () => {
    const { tokens } = await page.request("token.ls");
    page.dispatch({ type: "trust.tokens", tokens });
  });
  const readSessions = oneAtATime(async () => {
    const me = await fetch("/me", { cache: "no-store" }).then((answer) => answer.json()).catch(() => ({}));
    const { sessions } = await page.request("session.ls");
    page.dispatch({ type: "trust.sessions", sessions, mine: me.credential ?? "" });
  });
  const readNearby = oneAtATime(async () => page.dispatch({ type: "trust.nearby", nearby: await page.request("node.nearby") }));
  const readTrail = oneAtATime(() => readPage(false));

  /** @param {boolean} older */
  const readPage = async (older) => {
    const filter = page.ui.trailFilter;
    const { next } = page.state.trust.trail;
    page.dispatch({ type: "trust.trailBusy", busy: true });
    const params = { ...trailParams(filter, Date.now()), limit: TRAIL_ROWS, ...(older && next !== null ? { before: next } : {}) };
    const answer = await page.request("audit.list", params);
    if (filter === page.ui.trailFilter) page.dispatch({ type: "trust.trail", rows: answer.rows, next: answer.next, older });
  };

  const verify = async () => {
    if (page.state.trust.verdict === "busy") return;
    page.dispatch({ type: "trust.verdict", verdict: "busy" });
    try {
      page.dispatch({ type: "trust.verdict", verdict: await page.request("audit.verify", {}, VERIFY_TIMEOUT_S) });
    } catch (error) {
      page.dispatch({ type: "trust.verdict", verdict: null });
      page.toast(messageOf(error), "bad");
    }
  };

  /** Ask for what the open tab shows. */
  const load = () => {
    if (!canAsk()) return;
    switch (tab()) {
      case "let-in":
        readTokens();
        readNearby();
        break;
      case "machines":
        readNearby();
        break;
      case "logins":
        readTokens();
        readSessions();
        break;
      case "audit":
        readTrail();
        if (page.state.trust.verdict === null) verify();
    }
  };

  /** Something that the open tab shows may be out of date. */
  const changed = () => {
    if (tab() !== "audit") return load();
    // Who reads further back is not thrown to the top.
    if (page.state.trust.trail.pages > 1) page.dispatch({ type: "trust.trailNewer" });
    else readTrail();
  };

  /** @param {Partial<LetIn>} change */
  const letIn = (change) => page.look({ letIn: { ...page.ui.letIn, ...change } });

  const create = async () => {
    const { what, role, name, ttl_s, uses } = page.ui.letIn;
    const named = name.trim() ? { name: name.trim() } : {};
    letIn({ busy: true, error: "", made: null });
    try {
      if (what === "browser") {
        const { url, expires, qr } = await page.request("login.create", { role, ...named, qr: true });
        letIn({ busy: false, made: { id: "", text: url, expires, qr, role } });
      } else {
        const asked = { role: what === "machine" ? "node" : role, ttl_s, uses, ...named, qr: what === "machine" };
        const made = await page.request("token.create", asked);
        letIn({ busy: false, made: { id: made.id, text: made.command ?? made.token, expires: made.expires, qr: made.qr ?? null, role: made.role } });
        readTokens();
      }
      page.look({ now: Date.now() });
    } catch (error) {
      letIn({ busy: false, error: messageOf(error) });
    }
  };

  /** @param {import("../protocol.js").Token} token */
  const revokeToken = (token) => {
    const sessions = (page.state.trust.sessions ?? []).filter((session) => session.token === token.id).length;
    const browsers = sessions ? ` ${sessions === 1 ? "The browser" : `${sessions} browsers`} that it logged in will be logged out.` : "";
    const what = token.role === "node" ? "No machine joins with it any more; machines that have joined stay." : `Who uses it loses the connection now and does not get in again.${browsers}`;
    const mine = token.id === page.state.trust.mine ? " It is the token that this page uses." : "";
    confirm(`Revoke the token ${token.name ?? token.id}?`, what + mine, "Revoke token", async () => {
      if (await page.ask("token.revoke", { id: token.id }, "The token is revoked.")) readTokens();
    });
  };

  return {
    loadMesh: load,
    trustChanged: changed,
    nearbyChanged: () => void (tab() === "let-in" || tab() === "machines" ? readNearby() : undefined),
    letIn,
    letInNow: () => void create(),
    doneWithMade: () => letIn({ made: null }),
    revokeToken,
    revokeMade: () => {
      const token = page.state.trust.tokens?.find((one) => one.id === page.ui.letIn.made?.id);
      if (token && tokenState(token, Date.now()).lives) revokeToken(token);
    },

    /** @param {import("../protocol.js").LoginSession} session */
    revokeSession: (session) => {
      const mine = session.id === page.state.trust.mine;
      const text = mine ? "It is this browser: this page ends, and needs a new login link." : `Its open pages end now. It comes back only with a new login link${session.token ? " or the token" : ""}.`;
      confirm(`Log out ${session.name}, who came from ${session.address}?`, text, "Log out", async () => {
        if ((await page.ask("session.revoke", { id: session.id }, "Logged out.")) && !mine) readSessions();
      });
    },

    approve: (/** @type {string} */ code) => void page.ask("node.approve", { code }, "Approved. It joins once it is confirmed on that machine too."),
    /** @param {import("../protocol.js").Node} node */
    deny: (node) =>
      confirm(`Turn ${node.name} away?`, "Its request ends, on its screen too. Whoever is there can ask again.", "Turn away", () =>
        page.ask("node.deny", { code: (node.code ?? "").replace(/\s/g, "") }, `${visible(node.name)} is turned away.`),
      ),

    endedTokens: () => page.look({ endedTokens: !page.ui.endedTokens }),
    verifyTrail: () => void verify(),
    trailTop: () => void readTrail(),
    trailOlder: () => void readPage(true).catch((error) => page.dispatch({ type: "trust.failed", error: messageOf(error) })),
    /** @param {Partial<TrailFilter>} change */
    filterTrail: (change) => {
      page.look({ trailFilter: { ...page.ui.trailFilter, ...change } });
      clearTimeout(filterTimer);
      filterTimer = setTimeout(readTrail, FILTER_AFTER_MS);
    },
    clearTrailFilter: () => {
      page.look({ trailFilter: noFilter() });
      readTrail();
    },
    /** Whether something on the screen counts down. */
    isCountingDown: () => tab() === "let-in" && page.ui.letIn.made !== null,
  };
}

/** @type {any} */
let filterTimer = null;
