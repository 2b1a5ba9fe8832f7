/** A bank of a node's PXLDisk as the picture that it is: one scanline per row, in zones. */

import { html, nothing } from "../vendor/lit.js";

/** @typedef {import("../ui.js").Ui} Ui */
/** @typedef {import("../ui.js").DiskView} DiskView */
/** @typedef {import("../protocol.js").Node} Node */

/**
 * @typedef {object} DiskActions
 * @property {(node: string) => void} refreshDisk
 * @property {(node: string, row: number) => void} readRow
 * @property {(node: string) => void} diskFailed
 */

/** What a bank has unless it was created otherwise. */
export const DEFAULT_ZONES = [
  { name: "system", from: 0, to: 8 },
  { name: "input_scrolls", from: 9, to: 199 },
  { name: "output_opcodes", from: 200, to: 255 },
];

/**
 * @param {Ui} ui
 * @param {Node} node
 * @param {DiskActions} actions
 */
export function diskView(ui, node, actions) {
  const disk = ui.disks.get(node.id);
  if (!disk) return html`<p class="faint">Asking for the picture…</p>`;
  if (disk.error) {
    return html`<p class="faint">${disk.error} <button class="link" @click=${() => actions.refreshDisk(node.id)}>Try again</button></p>`;
  }
  const read = (/** @type {any} */ event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * disk.height);
    if (row >= 0 && row < disk.height) actions.readRow(node.id, row);
  };
  return html`
    <div class="disk">
      <button class="disk-picture" @click=${read} aria-label="Picture of bank ${disk.bank}: choose a row to read it">
        <img src=${disk.url} alt="" width="256" height="256" draggable="false" @error=${() => actions.diskFailed(node.id)} />
      </button>
      <ol class="zones" aria-label="Zones">
        ${disk.zones.map(
          (zone) => html`<li data-zone=${zone.name} .style=${`flex-grow:${zone.to - zone.from + 1}`}>
            <span>${zone.name}</span><span class="faint">${zone.from}–${zone.to}</span>
          </li>`,
        )}
      </ol>
    </div>
    ${disk.row === null
      ? html`<p class="faint">${disk.bank}.png · one scanline is one row · click one to read it</p>`
      : html`<p class="faint">row ${disk.row.row} · ${zoneOf(disk, disk.row.row)}</p><pre class="row-text" tabindex="0">${disk.row.text}</pre>`}
    ${node.disk?.live_rows !== undefined
      ? html`<p class="faint">${node.disk.live_rows} live, ${node.disk.free_rows ?? "?"} free rows in ${node.disk.banks ?? 1} bank${node.disk.banks === 1 ? "" : "s"}
          <button class="link" @click=${() => actions.refreshDisk(node.id)}>Refresh</button></p>`
      : nothing}
  `;
}

/**
 * @param {DiskView} disk
 * @param {number} row
 */
function zoneOf(disk, row) {
  return disk.zones.find((zone) => row >= zone.from && row <= zone.to)?.name ?? "no zone";
}
