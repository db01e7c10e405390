// The images that another app on this device shared with the site, which share_worker.js keeps.

const CACHE = "shared-images"; // The same name as in root/share_worker.js.

/** Register the worker, so that the device offers this site when a person shares an image. */
export function acceptSharedFiles() {
  // A browser without workers, or one that forbids them here, shares nothing.
  navigator.serviceWorker?.register("/share_worker.js", { scope: "/share" }).catch(() => {});
}

/**
 * Return the shared files, and remove them from the browser.
 *
 * @returns {Promise<File[]>}
 */
export async function takeSharedFiles() {
  const cache = await caches.open(CACHE);
  const responses = await Promise.all((await cache.keys()).map((key) => cache.match(key)));
  await caches.delete(CACHE);
  return Promise.all(responses.filter((response) => response !== undefined).map(toFile));
}

/** @param {Response} response */
async function toFile(response) {
  const name = decodeURIComponent(response.headers.get("X-File-Name") ?? "image");
  const type = response.headers.get("Content-Type") ?? "";
  return new File([await response.blob()], name, { type });
}
