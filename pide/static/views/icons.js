/** The few pictures of the page, drawn in the text's colour. */

import { html } from "../vendor/lit.js";

const PATHS = {
  plus: "M8 3v10M3 8h10",
  machine: "M2.5 3.5h11v7h-11zM6 13.5h4M8 10.5v3",
  help: "M5.8 6a2.2 2.2 0 1 1 3 2c-.5.2-.8.6-.8 1.1v.4M8 12v.4",
  search: "M7 11.5a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9zM10.5 10.5l3 3",
  eye: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8zM8 9.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4z",
  back: "M10 3 5 8l5 5",
  panel: "M2.5 3.5h11v9h-11zM10 3.5v9",
  stop: "M4.5 4.5h7v7h-7z",
  picture: "M2.500 3.500h11v9h-11zM5.500 6.500h.01M3 11.500l3-3 2 2 2.500-3 2.500 3.500",
  send: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  folder: "M2 4.5v8h12v-7H8l-1.500-2H2z",
  up: "M8 13V4M4 8l4-4 4 4",
  play: "M5.5 3.5v9l7-4.5z",
  talk: "M2.5 3.5h11v7.5h-6l-3 2.5v-2.5h-2z",
  terminal: "m3 4.5 3.5 3.5L3 11.5M8.5 12h4.5",
  pause: "M5.5 4v8M10.5 4v8",
  inbox: "M2 9.500h3.500l1 2h3l1-2H14M3.500 3.500h9L14 9.500v3.500H2V9.500z",
  close: "m4 4 8 8M12 4l-8 8",
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}

/** The mark of the project: a pi in pixels. */
export function logo() {
  return html`<svg class="logo" viewBox="0 0 8 8" aria-hidden="true" shape-rendering="crispEdges">
    <path d="M1 2h6v1H1zM2 3h1v3H2zM5 3h1v3H5zM6 6h1v1H6zM1 6h1v1H1z" />
  </svg>`;
}
