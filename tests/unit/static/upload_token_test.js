// Tests of an expired CSRF token: the upload queue fetches a new one, once for each file.

import assert from "node:assert/strict";

import { UploadQueue } from "../../../web_app/static/modules/upload_queue.js";
import { browserTest, FakeXMLHttpRequest, settle } from "./fakes.js";

/** @typedef {import("./fakes.js").FakeServer} FakeServer */

const EXPIRED = { code: "csrf_failed", error: "The page was open for too long." };

/**
 * Let the server answer with a page that has this token.
 *
 * @param {FakeServer} server
 * @param {string} token
 */
function queuePage(server, token) {
  server.queueText("<html>");
  const page = { querySelector: () => ({ content: token }) };
  Object.assign(globalThis, {
    location: { href: "http://images.test/" },
    DOMParser: class {
      parseFromString() {
        return page;
      }
    },
  });
}

function createUpload() {
  /** @type {any[]} */
  const results = [];
  return {
    file: new File(["..."], "a.jpg"),
    results,
    onStart() {},
    onProgress() {},
    options: {},
    onWait() {},
    /** @param {unknown} result */
    onResult: (result) => void results.push(result),
  };
}

browserTest("a file is sent again with the new token", async ({ server, document }) => {
  queuePage(server, "the-new-token");
  const [queue, upload] = [new UploadQueue("/upload", { isOwnerKnown: true }), createUpload()];
  const token = { content: "the-old-token" };
  document.querySelector = () => /** @type {any} */ (token);
  queue.add(upload);

  await FakeXMLHttpRequest.sent[0].respond(400, EXPIRED);
  await settle();

  assert.deepEqual(upload.results, []);
  assert.equal(FakeXMLHttpRequest.sent[1].headers["X-CSRFToken"], "the-new-token");
});

browserTest("a second expired token ends the upload as not sent", async ({ server }) => {
  const [queue, upload] = [new UploadQueue("/upload", { isOwnerKnown: true }), createUpload()];
  queue.add(upload);
  queuePage(server, "the-new-token");
  await FakeXMLHttpRequest.sent[0].respond(400, EXPIRED);
  await settle();
  queuePage(server, "the-third-token");

  await FakeXMLHttpRequest.sent[1].respond(400, EXPIRED);

  assert.equal(server.requests.length, 1);
  assert.deepEqual(upload.results, [{ outcome: "not_sent", message: EXPIRED.error }]);
});

browserTest("a file cancelled during the renewal is not sent again", async ({ server }) => {
  const [queue, upload] = [new UploadQueue("/upload", { isOwnerKnown: true }), createUpload()];
  queue.add(upload);
  queuePage(server, "the-new-token");

  const response = FakeXMLHttpRequest.sent[0].respond(400, EXPIRED);
  queue.cancel(upload);
  await response;

  assert.equal(FakeXMLHttpRequest.sent.length, 1);
  assert.equal(queue.isBusy, false);
});
