/** A PXLDisk to look at: its bank as pixels, what stands in its rows, and what it was like before. */

import { shownFlashes, shownPicture } from "../disks.js";
import { gistOf, payloadText, rowTitle, storedWords } from "../disk_text.js";
import { fullTime, visible } from "../format.js";
import { countRows, recordAt, zoneOf } from "../pxldisk.js";
import { html, live, nothing, repeat } from "../vendor/lit.js";
import { nextInUse } from "./bank_canvas.js";
import { icon } from "./icons.js";
import "./lens_canvas.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../protocol.js").Node} Node */
/** @typedef {import("../disks.js").Disk} Disk */
/** @typedef {import("../pxldisk.js").Picture} Picture */
/** @typedef {import("../pxldisk.js").Record} Record */

/**
 * @typedef {object} DiskActions
 * @property {(node: string) => void} refreshDisk
 * @property {(node: string, bank: number) => void} chooseBank
 * @property {(row: number | null) => void} pointAtRow
 * @property {(row: number | null) => void} openRow
 * @property {(node: string) => void} toggleReplay
 * @property {(node: string, commit: number | null) => void} lookBack  null: now
 * @property {(node: string) => void} playLog
 * @property {(node: string) => void} verifyDisk
 */

const NEWEST = 6; // records that are listed
const TONES = /** @type {{[zone: string]: string}} */ ({ system: "--unreachable", input_scrolls: "--working", output_opcodes: "--accent" });
const MORE_TONES = ["--waiting", "--starting", "--stuck", "--idle"];

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Node} node
 * @param {DiskActions} actions
 */
export function diskView(state, ui, node, actions) {
  const disk = state.disks.get(node.id);
  const picture = disk && shownPicture(disk);
  if (!disk || !picture) {
    return disk?.error
      ? html`<p class="faint">${disk.error} <button class="link" @click=${() => actions.refreshDisk(node.id)}>Try again</button></p>`
      : html`<p class="faint">Asking for the picture…</p>`;
  }
  const tones = picture.zones.map((zone, number) => TONES[zone.name] ?? MORE_TONES[number % MORE_TONES.length]);
  const row = ui.disk.row !== null && ui.disk.row < picture.height ? ui.disk.row : null;
  const record = row === null ? null : recordAt(picture, row);
  return html`<div class="pxl" data-past=${String(disk.past !== null)}>
    ${headView(state, ui, node, disk, picture, actions)}
    <div class="pxl-body">
      <div class="pxl-frame">
        <pxl-bank
          tabindex="0"
          role="slider"
          aria-orientation="vertical"
          aria-label="Rows of ${disk.bank}.png: arrow keys move, Enter opens"
          aria-valuemin="0"
          aria-valuemax=${picture.height - 1}
          aria-valuenow=${row ?? 0}
          aria-valuetext=${row === null ? "no row chosen" : rowWords(picture, row, record, ui.now)}
          .view=${{ picture, tones, flashes: shownFlashes(disk), row, record: record?.rows ?? [] }}
          @row-point=${(/** @type {CustomEvent<number | null>} */ event) => actions.pointAtRow(event.detail)}
          @row-open=${(/** @type {CustomEvent<number | null>} */ event) => actions.openRow(event.detail)}
        ></pxl-bank>
        ${ui.disk.replay ? replayView(ui, node, disk, actions) : nothing}
      </div>
      <div class="pxl-side">
        ${checkView(disk)} ${legendView(picture, tones)} ${readoutView(ui, picture, row, record, actions)}
        ${ui.disk.opened !== null && ui.disk.opened < picture.height ? recordView(ui, picture, ui.disk.opened, actions) : newestView(ui, picture, tones, actions)}
      </div>
    </div>
  </div>`;
}

/**
 * @param {State} state
 * @param {Ui} ui
 * @param {Node} node
 * @param {Disk} disk
 * @param {Picture} picture
 * @param {DiskActions} actions
 */
function headView(state, ui, node, disk, picture, actions) {
  const connected = state.link.phase === "open" && node.state === "online" && !disk.error;
  const picturePath = `/nodes/${encodeURIComponent(node.id)}/${disk.bank}.png${disk.past ? `?commit=${disk.past.commit}` : ""}`;
  return html`<div class="pxl-head">
    <div class="pxl-banks" role="group" aria-label="Banks">
      ${disk.banks.map(
        (bank) => html`<button aria-pressed=${String(bank === disk.bank)} @click=${() => actions.chooseBank(node.id, bank)}>${bank}.png</button>`,
      )}
    </div>
    ${disk.past
      ? html`<span class="pxl-mode" data-mode="past">as it was</span>`
      : connected
        ? html`<span class="pxl-mode" data-mode="live">live</span>`
        : html`<span class="pxl-mode" data-mode="stale" title=${disk.error}>as last seen</span>`}
    <span class="spring"></span>
    <button class="button small" aria-expanded=${String(ui.disk.replay)} @click=${() => actions.toggleReplay(node.id)}>Replay</button>
    <button class="button small" ?disabled=${disk.check?.busy} @click=${() => actions.verifyDisk(node.id)}>${disk.check?.busy ? "Checking…" : "Verify"}</button>
    <a class="button small" href=${picturePath} download="${node.name}-${disk.bank}-${picture.commit}.png" title="The PNG itself: every row is in it">Save</a>
  </div>`;
}

/**
 * @param {Picture} picture
 * @param {string[]} tones
 */
function legendView(picture, tones) {
  return html`<ol class="pxl-legend" aria-label="Zones">
    ${picture.zones.map((zone, number) => {
      const counts = countRows(picture, zone);
      return html`<li .style=${`--tone: var(${tones[number]})`}>
        <b>${breakable(zone.name)}</b>
        <span class="faint">rows ${zone.first}–${zone.last}${zone.owner ? ` of ${visible(zone.owner)}` : ""}</span>
        <span class="pxl-fill" role="img" aria-label="${counts.live} live, ${counts.consumed} consumed, ${counts.free} free">
          <i .style=${`flex-grow:${counts.live}`} data-state="live"></i><i .style=${`flex-grow:${counts.damaged}`} data-state="damaged"></i><i .style=${`flex-grow:${counts.consumed}`} data-state="consumed"></i><i .style=${`flex-grow:${counts.free}`} data-state="free"></i>
        </span>
        <span class="pxl-counts">${counts.live} live · ${counts.consumed} used${counts.damaged ? html` · <em class="bad">${counts.damaged} damaged</em>` : nothing}</span>
      </li>`;
    })}
  </ol>`;
}

/** A name that may be broken behind its underscores. @param {string} name */
function breakable(name) {
  return visible(name).split("_").map((part, at) => (at ? html`_<wbr />${part}` : part));
}

/**
 * @param {Ui} ui
 * @param {Node} node
 * @param {Disk} disk
 * @param {DiskActions} actions
 */
function replayView(ui, node, disk, actions) {
  const { history } = disk;
  if (!history) return html`<p class="faint pxl-replay">Reading the log…</p>`;
  const commit = ui.disk.commit ?? history.newest;
  const at = disk.past?.commit === commit ? disk.past.at : history.times.get(commit);
  const move = (/** @type {any} */ event) => {
    const wanted = Number(event.target.value);
    actions.lookBack(node.id, wanted >= history.newest ? null : wanted);
  };
  return html`<div class="pxl-replay">
    <button class="icon-button" aria-label=${ui.disk.playing ? "Pause" : "Play the log"} ?disabled=${history.oldest >= history.newest} @click=${() => actions.playLog(node.id)}>
      ${icon(ui.disk.playing ? "pause" : "play")}
    </button>
    <input
      type="range"
      aria-label="Commit to look at"
      aria-valuetext=${ui.disk.commit === null ? "now" : `commit ${commit}${at ? `, ${fullTime(at)}` : ""}`}
      min=${history.oldest}
      max=${history.newest}
      step="1"
      .value=${live(String(commit))}
      @input=${move}
    />
    <span class="pxl-when">
      ${ui.disk.commit === null ? html`<b>now</b>` : html`<b>${at ? fullTime(at) : "…"}</b>`}
      <span class="faint">commit ${commit} of ${history.newest}</span>
    </span>
    <button class="button small" ?disabled=${ui.disk.commit === null} @click=${() => actions.lookBack(node.id, null)}>Now</button>
  </div>`;
}

/**
 * What stands in the row that is pointed at; it always takes the same room, so that nothing jumps.
 * @param {Ui} ui
 * @param {Picture} picture
 * @param {number | null} row
 * @param {Record | null} record
 * @param {DiskActions} actions
 */
function readoutView(ui, picture, row, record, actions) {
  const step = (/** @type {1 | -1} */ way) => () => {
    const next = nextInUse(picture, row ?? (way > 0 ? -1 : picture.height), way);
    if (next !== null) {
      actions.pointAtRow(next);
      if (ui.disk.opened !== null) actions.openRow(next);
    }
  };
  return html`<div class="pxl-readout" data-empty=${String(row === null)}>
    <div class="pxl-about">
      ${row === null
        ? html`<p class="faint">One scanline is one row. Point at one, tap it, or use the arrow keys.</p>`
        : html`<pxl-lens .view=${{ picture, row }}></pxl-lens>
            <p class="pxl-title"><b>${rowTitle(picture, row)}</b>${record ? html` <span class="faint">· ${storedWords(record, ui.now).short}</span>` : nothing}</p>
            <p class="pxl-words">${record ? html`${whoLine(record)} ${gistOf(record).words}` : html`<span class="faint">${picture.rows[row].state === "damaged" ? "Its bytes are not what was written." : "Nothing stands here."}</span>`}</p>`}
    </div>
    <div class="pxl-steps">
      <button class="icon-button" aria-label="The record above" @click=${step(-1)}>${icon("up")}</button>
      <button class="icon-button" aria-label="The record below" @click=${step(1)}>${icon("down")}</button>
    </div>
  </div>`;
}

/** @param {Record} record */
function whoLine(record) {
  const { from, to } = gistOf(record);
  return html`<b>${from || visible(record.kind)}</b>${to && to !== from ? html`<span class="faint"> → </span><b>${to}</b>` : nothing}`;
}

/**
 * @param {Picture} picture
 * @param {number} row
 * @param {Record | null} record
 * @param {number} now
 */
function rowWords(picture, row, record, now) {
  if (!record) return rowTitle(picture, row);
  const { from, to, words } = gistOf(record);
  const who = [from && `from ${from}`, to && `to ${to}`, storedWords(record, now).short, words].filter(Boolean);
  return `${rowTitle(picture, row)}, ${who.join(", ")}`;
}

/**
 * @param {Ui} ui
 * @param {Picture} picture
 * @param {number} row
 * @param {DiskActions} actions
 */
function recordView(ui, picture, row, actions) {
  const record = recordAt(picture, row);
  const close = html`<button class="icon-button" aria-label="Close the record" @click=${() => actions.openRow(null)}>${icon("close")}</button>`;
  if (!record) {
    return html`<section class="pxl-record" aria-label="Row ${row}"><header><h4>${rowTitle(picture, row)}</h4><span class="spring"></span>${close}</header>
      <p class="faint">${picture.rows[row].state === "superblock" ? `It tells of the bank: ${picture.width}x${picture.height} pixels, ${picture.zones.length} zones, commit ${picture.commit}.` : "No record stands here."}</p></section>`;
  }
  const { short, long } = storedWords(record, ui.now);
  return html`<section class="pxl-record" aria-label="Record ${record.seq}" aria-live="polite">
    <header><h4>${visible(record.kind)} <span class="pxl-state" data-state=${record.state}>${record.state}</span></h4><span class="spring"></span>${close}</header>
    <dl class="facts">
      <dt>rows</dt><dd>${record.rows.join(", ")} <span class="faint">${zoneOf(picture, row)?.name ?? ""}</span></dd>
      <dt>record</dt><dd>${record.seq}</dd>
      <dt>stored</dt><dd>${long} <span class="faint">${short}</span></dd>
      ${record.owner ? html`<dt>owner</dt><dd>${visible(record.owner)}</dd>` : nothing}
      ${record.key ? html`<dt>key</dt><dd class="path">${visible(record.key)}</dd>` : nothing}
      <dt>payload</dt><dd>${record.payload.length} bytes</dd>
    </dl>
    ${record.whole ? nothing : html`<p class="faint">Some of its rows were used again since it was consumed: this is what is left.</p>`}
    <pre class="row-text" tabindex="0">${payloadText(record)}</pre>
  </section>`;
}

/**
 * @param {Ui} ui
 * @param {Picture} picture
 * @param {string[]} tones
 * @param {DiskActions} actions
 */
function newestView(ui, picture, tones, actions) {
  const heads = picture.rows.filter((row) => row.parts && row.part === 0);
  const newest = heads.sort((a, b) => b.seq - a.seq).slice(0, NEWEST);
  if (!newest.length) return html`<p class="faint">No record was stored in this bank yet. Scrolls and their answers appear here as they are written.</p>`;
  return html`<ol class="pxl-newest" aria-label="Newest records">
    ${repeat(
      newest,
      (row) => row.seq,
      (head) => {
        const record = /** @type {Record} */ (recordAt(picture, head.row));
        const tone = tones[picture.zones.findIndex((zone) => head.row >= zone.first && head.row <= zone.last)] ?? "--faint";
        return html`<li .style=${`--tone: var(${tone})`}>
          <button data-state=${head.state} @click=${() => actions.openRow(head.row)} @pointerenter=${() => actions.pointAtRow(head.row)}>
            <span class="pxl-row">${head.row}</span><span class="pxl-who">${whoLine(record)}</span><time class="faint">${storedWords(record, ui.now).short}</time>
            <span class="pxl-words">${gistOf(record).words}</span>
          </button>
        </li>`;
      },
    )}
  </ol>`;
}

/** @param {Disk} disk */
function checkView({ check }) {
  if (!check || check.busy) return nothing;
  if (check.error) return html`<p class="error" role="status">${check.error}</p>`;
  if (!check.count) {
    return html`<p class="pxl-sound" role="status">Every byte of the disk, its log and its snapshots is as it was written. <span class="faint">${fullTime(check.at)}</span></p>`;
  }
  return html`<div class="pxl-problems" role="status">
    <p class="error">${check.count} ${check.count === 1 ? "thing is" : "things are"} wrong. <code>hyperpi disk repair</code> on that machine mends it.</p>
    <ul>
      ${check.problems.slice(0, 20).map(
        (problem) => html`<li><b>${problem.file}</b>${problem.row === null ? nothing : html` row ${problem.row}`}${problem.offset === null ? nothing : html` <span class="faint">at byte ${problem.offset}</span>`}: ${problem.what} <span class="faint">(${problem.remedy})</span></li>`,
      )}
    </ul>
  </div>`;
}
