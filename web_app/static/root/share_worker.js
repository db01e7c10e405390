// The service worker that receives the images that a phone's gallery shares with this site.
//
// A phone posts them to /share without the token that a change needs. So they do not go to the
// server: they are kept in the browser, and the upload page, which has the token, sends them. This
// worker sees no other requests, because its scope is /share.

const worker = /** @type {any} */ (globalThis);
const CACHE = "shared-images"; // The same name as in modules/shared_files.js.

worker.addEventListener("install", () => worker.skipWaiting());

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  if (event.request.method === "POST") {
    event.respondWith(keep(event.request));
  }
});

/** @param {Request} request */
async function keep(request) {
  const form = await request.formData();
  const cache = await caches.open(CACHE);
  const files = form.getAll("image").filter((value) => value instanceof File);
  for (const [number, file] of files.entries()) {
    const headers = { "Content-Type": file.type, "X-File-Name": encodeURIComponent(file.name) };
    await cache.put(`/share/${crypto.randomUUID()}-${number}`, new Response(file, { headers }));
  }
  return Response.redirect("/?shared", 303);
}
