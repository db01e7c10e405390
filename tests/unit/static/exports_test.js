// Tests of the progress of an export: what is requested, when, and the sentences about it.

import assert from "node:assert/strict";

import { describeExport, followExport, newUUID } from "../../../web_app/static/modules/exports.js";
import { browserTest } from "./fakes.js";

/** @typedef {import("../../../web_app/static/modules/exports.js").ExportProgress} ExportProgress */

/**
 * @param {Partial<ExportProgress>} [changes]
 * @returns {ExportProgress}
 */
function progress(changes = {}) {
  return { state: "running", images: 2300, images_done: 120, error: null, ...changes };
}

browserTest("an export is followed each second until it ends", async ({ clock, server }) => {
  /** @type {number[]} */
  const shown = [];
  const last = followExport("an-id", (each) => shown.push(each.images_done));
  server.queueJSON(progress());
  server.queueJSON(progress({ images_done: 240 }));
  server.queueJSON(progress({ state: "completed", images_done: 2300 }));

  await clock.advance(2);

  assert.deepEqual(server.requests.map(({ url }) => url), Array(3).fill("/api/exports/an-id"));
  assert.deepEqual(shown, [120, 240]);
  assert.equal((await last)?.images_done, 2300);
  assert.deepEqual(clock.pendingSeconds, []);
});

browserTest("an export may begin after the first request", async ({ clock, server }) => {
  const last = followExport("an-id", () => {});
  server.queueJSON({ code: "export_not_found" }, { status: 404 });
  server.queueJSON({ code: "export_not_found" }, { status: 404 });
  server.queueJSON(progress({ state: "stopped" }));

  await clock.advance(2);

  assert.equal((await last)?.state, "stopped");
});

browserTest("an export that never begins is given up", async ({ clock, server }) => {
  const last = followExport("an-id", () => {});
  for (let count = 0; count < 30; count += 1) {
    server.queueJSON({ code: "export_not_found" }, { status: 404 });
  }

  await clock.advance(60);

  assert.equal(await last, null);
  assert.equal(server.requests.length, 30);
});

browserTest("an export is followed when the connection is back", async ({ clock, server }) => {
  const last = followExport("an-id", () => {});
  await clock.advance(4.9);
  assert.equal(server.requests.length, 1); // Without an answer.
  server.queueJSON(progress({ state: "completed" }));

  await clock.advance(0.2);

  assert.equal((await last)?.state, "completed");
});

browserTest("a hidden tab asks for nothing", async ({ clock, server, document }) => {
  document.hidden = true;
  const last = followExport("an-id", () => {});
  await clock.advance(60);
  assert.equal(server.requests.length, 0);

  server.queueJSON(progress({ state: "completed" }));
  document.hidden = false;
  document.dispatchEvent(new Event("visibilitychange"));

  assert.equal((await last)?.state, "completed");
});

/** @type {[ExportProgress | null, string][]} */
const SENTENCES = [
  [progress(), "120 of 2,300 images"],
  [progress({ images: null }), "120 images"],
  [progress({ images: 1, images_done: 0 }), "0 of 1 image"],
  [
    progress({ state: "completed", images_done: 2300 }),
    "The server has sent the whole file (2,300 images). Look at the downloads of your browser.",
  ],
  [
    progress({ state: "completed", images_done: 2299 }),
    "The server has sent the whole file (2,299 images). Look at the downloads of your browser.",
  ],
  [
    progress({ state: "completed", images_done: 1 }),
    "The server has sent the whole file (1 image). Look at the downloads of your browser.",
  ],
  [
    progress({ state: "stopped" }),
    "The export stopped after 120 of 2,300 images. Start it again.",
  ],
  [
    progress({ state: "stopped", error: { message: "Wait a minute." } }),
    "Wait a minute.",
  ],
  [
    null,
    "The progress of this export is not known. Look at the downloads of your browser.",
  ],
];

for (const [each, sentence] of SENTENCES) {
  Deno.test(`the progress is told: ${sentence}`, () => {
    assert.equal(describeExport(each), sentence);
  });
}

Deno.test("each export gets a random UUID of version 4", () => {
  const ids = Array.from({ length: 100 }, newUUID);

  assert.equal(new Set(ids).size, 100);
  for (const id of ids) {
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
});
