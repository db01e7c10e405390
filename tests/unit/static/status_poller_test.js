// Tests of the status poller: what it requests, when, and what it reports.

import assert from "node:assert/strict";

import { StatusPoller } from "../../../web_app/static/modules/status_poller.js";
import { browserTest } from "./fakes.js";

/** @typedef {import("./fakes.js").FakeServer} FakeServer */

/**
 * @param {number} id
 * @param {string} [status]
 * @param {string} [updatedAt]
 */
function image(id, status = "pending", updatedAt = "2026-11-26T00:00:00Z") {
  const jobs = { annotation_status: status, thumbnail_status: status };
  return { id, status, updated_at: updatedAt, ...jobs };
}

/**
 * Return the status of every image in a URL, unchanged and pending.
 *
 * @param {string} url
 */
function allPending(url) {
  return { images: idsIn(url).map((id) => image(id)) };
}

/** @param {string} url */
function idsIn(url) {
  return url.split("ids=")[1].split(",").map(Number);
}

/** @param {FakeServer} server */
function requestedIds(server) {
  return server.requests.map(({ url }) => idsIn(url));
}

browserTest("all watched images are in one request", async ({ clock, server }) => {
  const poller = new StatusPoller();
  poller.watch(1, () => {});
  poller.watch("2", () => {});
  server.queue(allPending);

  await clock.advance(1);

  assert.deepEqual(requestedIds(server), [[1, 2]]);
});

browserTest("one request names at most 100 images", async ({ clock, server }) => {
  const poller = new StatusPoller();
  for (let id = 1; id <= 101; id += 1) {
    poller.watch(id, () => {});
  }
  server.queue(allPending);
  server.queue(allPending);

  await clock.advance(1);

  assert.deepEqual(requestedIds(server).map((ids) => ids.length), [100, 1]);
});

browserTest(
  "a completed image is reported once and no longer requested",
  async ({ clock, server }) => {
    /** @type {unknown[]} */
    const reported = [];
    new StatusPoller().watch(1, (changed) => reported.push(changed?.status));
    server.queueJSON({ images: [image(1, "completed")] });

    await clock.advance(60);

    assert.deepEqual(reported, ["completed"]);
    assert.equal(server.requests.length, 1);
  },
);

browserTest("a deleted image is reported as null", async ({ clock, server }) => {
  /** @type {unknown[]} */
  const reported = [];
  new StatusPoller().watch(1, (changed) => reported.push(changed));
  server.queueJSON({ images: [] });

  await clock.advance(60);

  assert.deepEqual(reported, [null]);
  assert.equal(server.requests.length, 1);
});

browserTest("an unchanged image is reported only once", async ({ clock, server }) => {
  let reports = 0;
  new StatusPoller().watch(1, () => reports += 1);
  for (let number = 0; number < 3; number += 1) {
    server.queue(allPending);
  }

  await clock.advance(5);

  assert.ok(server.requests.length >= 3);
  assert.equal(reports, 1);
});

browserTest(
  "the interval grows up to 15 seconds while nothing changes",
  async ({ clock, server }) => {
    new StatusPoller().watch(1, () => {});
    for (let number = 0; number < 12; number += 1) {
      server.queue(allPending);
    }

    const intervals = [];
    for (let number = 0; number < 12; number += 1) {
      const [seconds] = clock.pendingSeconds;
      intervals.push(seconds);
      await clock.advance(seconds);
    }

    assert.deepEqual(intervals.slice(0, 4), [1, 1, 1.5, 2.25]);
    assert.equal(intervals.at(-1), 15);
  },
);

browserTest("a change makes the interval short again", async ({ clock, server }) => {
  new StatusPoller().watch(1, () => {});
  for (let number = 0; number < 6; number += 1) {
    server.queue(allPending);
    await clock.advance(clock.pendingSeconds[0]);
  }
  assert.ok(clock.pendingSeconds[0] > 3);

  server.queueJSON({ images: [image(1, "pending", "2026-11-26T00:01:00Z")] });
  await clock.advance(clock.pendingSeconds[0]);

  assert.deepEqual(clock.pendingSeconds, [1]);
});

browserTest(
  "after an error the poller waits as long as the server asks",
  async ({ clock, server }) => {
    new StatusPoller().watch(1, () => {});
    server.queueJSON({}, { status: 503, headers: { "Retry-After": "40" } });

    await clock.advance(1);

    assert.deepEqual(clock.pendingSeconds, [40]);
  },
);

browserTest("without a response the poller tries again after 5 seconds", async ({ clock }) => {
  new StatusPoller().watch(1, () => {});

  await clock.advance(1);

  assert.deepEqual(clock.pendingSeconds, [5]);
});

browserTest(
  "a hidden tab sends no requests and resumes when shown",
  async ({ clock, server, document }) => {
    new StatusPoller().watch(1, () => {});
    document.hidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
    await clock.advance(60);
    assert.equal(server.requests.length, 0);

    server.queue(allPending);
    document.hidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
    await clock.advance(0);

    assert.equal(server.requests.length, 1);
  },
);

browserTest("an image that is watched in a hidden tab is not requested", async (browser) => {
  const { clock, server, document } = browser;
  const poller = new StatusPoller();
  document.hidden = true;

  poller.watch(1, () => {});
  await clock.advance(60);

  assert.equal(server.requests.length, 0);
});

browserTest("an unwatched image is not reported", async ({ clock, server }) => {
  let reports = 0;
  const poller = new StatusPoller();
  poller.watch(1, () => reports += 1);
  server.queue((url) => {
    poller.unwatch(1);
    return allPending(url);
  });

  await clock.advance(60);

  assert.equal(reports, 0);
  assert.equal(server.requests.length, 1);
});
