/**
 * The service worker behind the notes of this page: some browsers show notes through one only. It is registered
 * for a folder in which no page is, so it sees nothing that a page loads; it keeps nothing and hears no push.
 *
 * All that it does is to bring somebody who clicked a note to what the note is about.
 */

const worker = /** @type {any} */ (self); // its types are another library than the page's

worker.addEventListener("install", () => worker.skipWaiting());

worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(bringTo(event.notification.data.address));
});

/**
 * To the page that was used last, else to a new one.
 * @param {string} address  #/a/ID
 */
async function bringTo(address) {
  const clients = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = clients.find((/** @type {any} */ client) => new URL(client.url).pathname === "/");
  if (!page) return worker.clients.openWindow(`/${address}`);
  page.postMessage({ address });
  return page.focus();
}
