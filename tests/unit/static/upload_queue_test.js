// Tests of the upload queue: how many requests run, what pauses it and what each file reports.

import assert from "node:assert/strict";

import { UploadQueue } from "../../../web_app/static/modules/upload_queue.js";
import { browserTest, FakeXMLHttpRequest, settle } from "./fakes.js";

const ACCEPTED = { results: [{ outcome: "accepted", id: 7, url: "/images/7" }] };

/** The requests that were sent, in order. */
function sent() {
  return FakeXMLHttpRequest.sent;
}

/**
 * Build an upload that records what it reports.
 *
 * @param {string} [name]
 */
function createUpload(name = "a.jpg") {
  /** @type {unknown[]} */
  const events = [];
  return {
    file: new File(["..."], name),
    options: { language: "de" },
    events,
    onStart: () => void events.push("start"),
    /** @param {number} share */
    onProgress: (share) => void events.push(share),
    onWait: () => void events.push("wait"),
    /** @param {unknown} result */
    onResult: (result) => void events.push(result),
  };
}

/** @param {{ isOwnerKnown?: boolean, count?: number }} [options] */
function createQueue({ isOwnerKnown = true, count = 1 } = {}) {
  /** @type {import("../../../web_app/static/modules/upload_queue.js").QueueState[]} */
  const states = [];
  const queue = new UploadQueue("/upload", {
    isOwnerKnown,
    onState: () => states.push(queue.state),
  });
  const uploads = Array.from({ length: count }, (_, number) => createUpload(`${number}.jpg`));
  uploads.forEach((upload) => queue.add(upload));
  return { queue, uploads, states };
}

browserTest("a file is sent as a form with the CSRF token", async () => {
  createQueue();

  const [request] = sent();
  assert.deepEqual([request.method, request.url], ["POST", "/upload"]);
  assert.deepEqual(request.headers, { Accept: "application/json", "X-CSRFToken": "the-token" });
  const file = request.body?.get("image");
  assert.ok(file instanceof File && file.name === "0.jpg");
  assert.equal(request.body?.get("language"), "de");
  await settle();
});

browserTest("a file that was sent before says that its caption stays", async () => {
  const { uploads: [upload] } = createQueue();

  const result = { outcome: "duplicate", id: 7, url: "/images/7", options_ignored: true };
  sent()[0].respond(201, { results: [result] });
  await settle();

  const { message } = /** @type {{ message: string }} */ (upload.events.at(-1));
  assert.match(message, /^Its caption stays/);
});

browserTest("an accepted file reports its id and its page", async () => {
  const { queue, uploads: [upload] } = createQueue();

  await sent()[0].respond(201, ACCEPTED);

  const result = { outcome: "accepted", id: 7, url: "/images/7" };
  assert.deepEqual(upload.events, ["start", result]);
  assert.equal(queue.isBusy, false);
});

browserTest("progress is reported as a share", async () => {
  const { uploads: [upload] } = createQueue();

  const event = new ProgressEvent("progress", { lengthComputable: true, loaded: 30, total: 120 });
  sent()[0].upload.dispatchEvent(event);

  assert.deepEqual(upload.events, ["start", 0.25]);
  await settle();
});

browserTest("three requests run at a time", async () => {
  createQueue({ count: 5 });
  assert.equal(sent().length, 3);

  await sent()[1].respond(201, ACCEPTED);

  assert.equal(sent().length, 4);
});

browserTest("a new visitor gets an owner before the first file is sent", async ({ server }) => {
  server.queueJSON({ owner_token: "the-owner" }, { status: 201 });

  createQueue({ isOwnerKnown: false, count: 5 });

  assert.equal(sent().length, 0);
  await settle();
  const [{ url, options }] = server.requests;
  assert.deepEqual([options.method, url], ["POST", "/api/owners"]);
  assert.equal(sent().length, 3);
  await sent()[0].respond(201, ACCEPTED);
  assert.equal(server.requests.length, 1);
});

browserTest("a file cancelled during the request for an owner is not sent", async ({ server }) => {
  server.queueJSON({ owner_token: "the-owner" }, { status: 201 });
  const { queue, uploads } = createQueue({ isOwnerKnown: false, count: 2 });

  queue.cancel(uploads[0]);
  await settle();

  assert.equal(sent().length, 1);
  assert.deepEqual(uploads[0].events, []);
});

browserTest("without an owner one request runs until the cookie is set", async () => {
  createQueue({ isOwnerKnown: false, count: 5 });
  await settle();
  assert.equal(sent().length, 1);

  await sent()[0].respond(201, ACCEPTED);

  assert.equal(sent().length, 4);
});

browserTest("a rejected first file sets the owner cookie too", async () => {
  createQueue({ isOwnerKnown: false, count: 4 });
  await settle();

  await sent()[0].respond(415, { results: [{ outcome: "rejected", error: { message: "No." } }] });

  assert.equal(sent().length, 4);
});

for (const status of [429, 503]) {
  browserTest(`the queue pauses after ${status} as long as the server asks`, async ({ clock }) => {
    const { uploads: [first], states } = createQueue({ isOwnerKnown: false, count: 2 });
    await settle();

    await sent()[0].respond(status, {}, { "Retry-After": "30" });

    assert.deepEqual(first.events, ["start", "wait"]);
    assert.equal(states.at(-1)?.busyUntil, Date.now() + 30_000);
    await clock.advance(29);
    assert.equal(sent().length, 1);
    await clock.advance(1);
    assert.equal(states.at(-1)?.busyUntil, null);
    assert.equal(sent().length, 2);
    await sent()[1].respond(201, ACCEPTED);
    assert.equal(first.events.length, 4);
  });
}

browserTest("without Retry-After the queue pauses for 5 seconds", async ({ clock }) => {
  createQueue();

  await sent()[0].respond(503, {});

  assert.deepEqual(clock.pendingSeconds, [5]);
});

browserTest("a server that stays busy ends the upload as not sent", async ({ clock }) => {
  const { uploads: [upload] } = createQueue();

  for (let number = 0; number <= 30; number += 1) {
    await sent()[number].respond(503, { error: "Busy. Try again." });
    await clock.advance(5);
  }

  assert.equal(sent().length, 31);
  assert.deepEqual(upload.events.at(-1), { outcome: "not_sent", message: "Busy. Try again." });
});

for (
  const { status, body, outcome, message } of [
    {
      status: 415,
      body: { error: "Not an image." },
      outcome: "rejected",
      message: "Not an image.",
    },
    {
      status: 422,
      body: "<html>",
      outcome: "rejected",
      message: "The server answered with status 422. Try again.",
    },
    { status: 500, body: { error: "Our error." }, outcome: "not_sent", message: "Our error." },
    { status: 408, body: { error: "Too slow." }, outcome: "not_sent", message: "Too slow." },
  ]
) {
  browserTest(`status ${status} is reported as ${outcome}`, async () => {
    const { uploads: [upload] } = createQueue();

    await sent()[0].respond(status, body);

    assert.deepEqual(upload.events.at(-1), { outcome, message });
  });
}

browserTest("the error of a file is preferred to that of the request", async () => {
  const { uploads: [upload] } = createQueue();
  const results = [{ outcome: "rejected", error: { message: "This file is empty." } }];

  await sent()[0].respond(400, { error: "Another sentence.", results });

  assert.deepEqual(upload.events.at(-1), { outcome: "rejected", message: "This file is empty." });
});

browserTest("a lost connection stops all files until the server answers", async (parts) => {
  const { server, clock } = parts;
  const { uploads, states } = createQueue({ count: 5 });

  for (const request of sent().slice()) {
    await request.fail();
  }

  assert.equal(states.at(-1)?.isOffline, true);
  assert.equal(sent().length, 3);
  await clock.advance(1); // The first probe fails.
  assert.equal(sent().length, 3);
  server.queueJSON({ status: "ok" });
  await clock.advance(2);
  assert.equal(server.requests.at(-1)?.url, "/health");
  assert.equal(states.at(-1)?.isOffline, false);
  assert.equal(sent().length, 6);
  for (let number = 3; number < 8; number += 1) {
    await sent()[number].respond(201, ACCEPTED);
  }
  for (const { events } of uploads) {
    assert.deepEqual(events.at(-1), { outcome: "accepted", id: 7, url: "/images/7" });
  }
});

browserTest("the browser's return to the network continues at once", async ({ server }) => {
  createQueue();
  await sent()[0].fail();
  server.queueJSON({ status: "ok" });

  globalThis.dispatchEvent(new Event("online"));
  await settle();

  assert.equal(sent().length, 2);
});

browserTest("probes become rarer while there is no connection", async ({ server, clock }) => {
  createQueue();
  await sent()[0].fail();

  await clock.advance(120);

  assert.equal(server.requests.length, 7); // After 1, 3, 7, 15, 31, 61 and 91 seconds.
});

browserTest("a file that breaks every connection ends as not sent", async ({ server, clock }) => {
  const { uploads: [breaking, next] } = createQueue({ isOwnerKnown: false, count: 2 });
  await settle();

  for (let number = 0; number <= 5; number += 1) {
    await sent()[number].fail();
    server.queueJSON({ status: "ok" });
    await clock.advance(1);
  }

  assert.equal(/** @type {any} */ (breaking.events.at(-1)).outcome, "not_sent");
  assert.deepEqual(next.events, ["start"]);
});

browserTest("an owner that the browser did not keep is reported", async ({ server }) => {
  server.queueJSON({ owner_token: "the-owner" }, { status: 201 });
  const { states } = createQueue({ isOwnerKnown: false });
  await settle();

  await sent()[0].respond(201, { ...ACCEPTED, owner_token: "another-owner" });

  assert.equal(states.at(-1)?.hasNoCookies, true);
});

browserTest("a cancelled request is aborted and reports nothing", async () => {
  const { queue, uploads: [upload] } = createQueue();

  queue.cancel(upload);
  await sent()[0].respond(201, ACCEPTED);

  assert.equal(sent()[0].isAborted, true);
  assert.deepEqual(upload.events, ["start"]);
  assert.equal(queue.isBusy, false);
});

browserTest("a cancelled file that was queued is never sent", async () => {
  const { queue, uploads } = createQueue({ isOwnerKnown: false, count: 2 });
  await settle();

  queue.cancel(uploads[1]);
  await sent()[0].respond(201, ACCEPTED);

  assert.equal(sent().length, 1);
  assert.deepEqual(uploads[1].events, []);
});
