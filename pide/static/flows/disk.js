/**
 * Looking at a PXLDisk: watch its bank while it is on the screen, read what changed, look back, check it. First
 * watch, then read: what happens in between is told.
 */

import { messageOf } from "../client.js";
import { emptyDisk } from "../disks.js";
import { readPicture } from "../pxldisk.js";
import "../views/bank_canvas.js";

/** @typedef {import("../page.js").Page} Page */
/** @typedef {import("../pxldisk.js").Picture} Picture */
/** @typedef {{node: string, bank: number}} Bank */
/** @typedef {{commit: number, at: string, picture: Picture}} Moment */

const ROWS_AT_ONCE = 48; // more than these, and the whole picture is shorter
const WHOLE_EVERY_MS = 400; // a disk that is written to without pause must not fill the way to a phone
const AGAIN_MS = 3_000;
const HISTORY_LIMIT = 300;
const HISTORY_EVERY_MS = 2_000;
const MOMENTS_KEPT = 32; // a picture is 200 KB
const PLAY_STEPS = 80; // of the log, when it is played from its end
const PLAY_EVERY_MS = 140;
const VERIFY_TIMEOUT_S = 30;

/**
 * @param {Page} page
 * @param {() => string | null} shownNode whose disk is on the screen
 */
export function diskFlow(page, shownNode) {
  /** @type {Bank | null} */
  let watched = null;
  let reading = false;
  let historyTimer = 0;
  let againTimer = 0;
  /** @type {Map<string, Moment>} */
  const moments = new Map();
  /** @type {number | null | undefined} where to move next; null: now; undefined: nowhere */
  let wanted;
  let moving = false;

  const diskOf = (/** @type {string} */ node) => page.state.disks.get(node) ?? emptyDisk();
  const isWatched = (/** @type {Bank} */ bank) => watched === bank && page.state.link.phase === "open";

  /** Watch what is on the screen, and nothing else. */
  const settle = () => {
    const node = page.state.link.phase === "open" && document.visibilityState === "visible" ? shownNode() : null;
    const bank = node === null ? 0 : diskOf(node).bank;
    if (node === (watched?.node ?? null) && (node === null || bank === watched?.bank)) return;
    if (watched && page.state.link.phase === "open") page.request("disk.unwatch", watched).catch(() => {}); // a link that is gone watches nothing
    if (watched?.node !== node) leavePast();
    watched = node === null ? null : { node, bank };
    if (watched) begin(watched);
  };

  /** @param {string} node */
  const listBanks = async (node) => {
    const { banks } = await page.request("disk.list", { node });
    page.dispatch({ type: "disk.listed", node, banks: banks.map((/** @type {{bank: number}} */ one) => one.bank) });
  };

  /** @param {Bank} bank */
  const begin = async (bank) => {
    try {
      await page.request("disk.watch", bank);
      if (!isWatched(bank)) return;
      await Promise.all([listBanks(bank.node), readWhole(bank)]);
      readChanged();
    } catch (error) {
      failed(bank, error);
    }
  };

  /**
   * Say why, and try again by itself: a machine that is away comes back, a network that changed is there again.
   * @param {Bank} bank
   * @param {unknown} error
   */
  const failed = (bank, error) => {
    if (watched !== bank) return;
    page.dispatch({ type: "disk.failed", node: bank.node, error: messageOf(error) });
    window.clearTimeout(againTimer);
    againTimer = window.setTimeout(() => isWatched(bank) && begin(bank), AGAIN_MS);
  };

  /** @param {Bank} bank */
  const readWhole = async (bank) => {
    const { picture } = await fetchPicture(bank, "");
    if (watched === bank) page.dispatch({ type: "disk.picture", ...bank, picture, at: Date.now() });
  };

  /** Read the bytes of rows that were told of, until none is left; changes that come meanwhile gather. */
  const readChanged = async () => {
    const bank = watched;
    if (!bank || reading) return;
    reading = true;
    try {
      while (isWatched(bank) && diskOf(bank.node).picture && diskOf(bank.node).told.size) {
        const only = [...diskOf(bank.node).told.keys()];
        if (only.length > ROWS_AT_ONCE) {
          await readWhole(bank);
          const left = [...diskOf(bank.node).told.keys()].filter((row) => only.includes(row));
          page.dispatch({ type: "disk.settled", ...bank, rows: left }); // the picture is newer than what was told
          await new Promise((done) => window.setTimeout(done, WHOLE_EVERY_MS));
        } else {
          const { rows } = await page.request("disk.rows", { ...bank, only, content: true });
          page.dispatch({ type: "disk.rows", ...bank, rows: rows.map(rowFrom) });
        }
      }
    } catch (error) {
      failed(bank, error);
    } finally {
      reading = false;
      if (watched && watched !== bank) readChanged();
    }
  };

  /** @param {import("../protocol.js").DiskChanged} params */
  const diskChanged = (params) => {
    if (params.node !== watched?.node || params.bank !== watched.bank) return;
    page.dispatch({ type: "disk.changed", params, at: Date.now() });
    readChanged();
    if (page.ui.disk.replay) historyTimer ||= window.setTimeout(askHistory, HISTORY_EVERY_MS);
  };

  const askHistory = async () => {
    window.clearTimeout(historyTimer);
    historyTimer = 0;
    const bank = watched;
    if (!bank) return;
    try {
      const result = await page.request("disk.history", { ...bank, limit: HISTORY_LIMIT });
      if (watched === bank) page.dispatch({ type: "disk.history", ...bank, result });
    } catch (error) {
      page.toast(messageOf(error), "bad");
    }
  };

  // --- the past ---

  const leavePast = () => {
    wanted = undefined;
    moments.clear();
    if (watched) page.dispatch({ type: "disk.moment", ...watched, moment: null, at: Date.now() });
    page.look({ disk: { ...page.ui.disk, row: null, opened: null, replay: false, commit: null, playing: false } });
  };

  /**
   * @param {Bank} bank
   * @param {number} commit
   */
  const momentOf = async (bank, commit) => {
    const key = `${bank.node} ${bank.bank} ${commit}`;
    const known = moments.get(key);
    if (known) return known;
    const made = await fetchPicture(bank, `?commit=${commit}`);
    moments.set(key, made);
    const [oldest] = moments.keys();
    if (moments.size > MOMENTS_KEPT) moments.delete(oldest);
    return made;
  };

  /** Go where the slider is: one question at a time, and where it was meanwhile is not asked for. */
  const move = async () => {
    if (moving) return;
    moving = true;
    try {
      while (wanted !== undefined && watched) {
        const bank = watched;
        const commit = wanted;
        wanted = undefined;
        const moment = commit === null ? null : await momentOf(bank, commit);
        if (watched === bank) page.dispatch({ type: "disk.moment", ...bank, moment, at: Date.now() });
      }
    } catch (error) {
      page.look({ disk: { ...page.ui.disk, playing: false } });
      page.toast(messageOf(error), "bad");
    } finally {
      moving = false;
    }
  };

  /** @param {number | null} commit */
  const goTo = (commit) => {
    wanted = commit;
    page.look({ disk: { ...page.ui.disk, commit } });
    return move();
  };

  /** @param {string} node */
  const play = async (node) => {
    if (page.ui.disk.playing) {
      page.look({ disk: { ...page.ui.disk, playing: false } });
      return;
    }
    const { history } = diskOf(node);
    if (!history) return;
    page.look({ disk: { ...page.ui.disk, playing: true } });
    let commit = page.ui.disk.commit ?? Math.max(history.oldest, history.newest - PLAY_STEPS);
    while (page.ui.disk.playing && watched?.node === node && commit < history.newest) {
      await goTo(commit);
      await new Promise((done) => window.setTimeout(done, PLAY_EVERY_MS));
      if (page.ui.disk.commit !== commit) break; // somebody moved the slider
      commit += 1;
    }
    const played = page.ui.disk.playing && commit >= history.newest;
    page.look({ disk: { ...page.ui.disk, playing: false } });
    if (played) goTo(null);
  };

  /** @param {string} node */
  const verify = async (node) => {
    const told = (/** @type {object} */ check) =>
      page.dispatch({ type: "disk.checked", node, check: { busy: false, error: "", problems: [], count: 0, at: "", ...check } });
    told({ busy: true });
    try {
      told(await page.request("disk.verify", { node }, VERIFY_TIMEOUT_S));
    } catch (error) {
      told({ error: messageOf(error) });
    }
  };

  return {
    settleDisk: settle,
    diskChanged,

    /** A link that is new watches nothing yet. */
    diskLinked: () => {
      watched = null;
      settle();
    },

    /** What the roster says of a machine's disk has changed. */
    diskGrew: (/** @type {string} */ node, /** @type {number | undefined} */ banks) => {
      if (node === watched?.node && banks !== undefined && banks !== diskOf(node).banks.length) listBanks(node).catch(() => {}); // told again in a while
    },

    refreshDisk: (/** @type {string} */ node) => {
      if (watched?.node === node) begin(watched);
      else settle();
    },

    chooseBank: (/** @type {string} */ node, /** @type {number} */ bank) => {
      if (bank === diskOf(node).bank) return;
      leavePast();
      page.dispatch({ type: "disk.chosen", node, bank });
      settle();
    },

    pointAtRow: (/** @type {number | null} */ row) => page.look({ disk: { ...page.ui.disk, row: row ?? page.ui.disk.opened } }),
    openRow: (/** @type {number | null} */ row) => page.look({ disk: { ...page.ui.disk, row: row ?? page.ui.disk.row, opened: row } }),

    toggleReplay: (/** @type {string} */ _node) => {
      const replay = !page.ui.disk.replay;
      page.look({ disk: { ...page.ui.disk, replay, playing: false } });
      if (replay) askHistory();
      else goTo(null);
    },

    lookBack: (/** @type {string} */ _node, /** @type {number | null} */ commit) => {
      page.look({ disk: { ...page.ui.disk, playing: false } });
      goTo(commit);
    },

    playLog: (/** @type {string} */ node) => void play(node),
    verifyDisk: (/** @type {string} */ node) => void verify(node),
  };
}

/**
 * A picture of now or of a past commit, with the commit and its time as the server tells them.
 * @param {Bank} bank
 * @param {string} query
 */
async function fetchPicture({ node, bank }, query) {
  const answer = await fetch(`/nodes/${encodeURIComponent(node)}/${bank}.png${query}`, { credentials: "same-origin" });
  if (!answer.ok) {
    const { error, hint } = await answer.json().catch(() => ({ error: "the picture did not come", hint: "" }));
    throw new Error(hint ? `${error} (${hint})` : error);
  }
  const picture = readPicture(new Uint8Array(await answer.arrayBuffer()));
  return { picture, commit: Number(answer.headers.get("hyperpi-commit")), at: answer.headers.get("hyperpi-at") ?? "" };
}

/** @param {{row: number, content: string}} told as disk.rows tells it */
function rowFrom({ row, content }) {
  return { row, content: Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0)) };
}
