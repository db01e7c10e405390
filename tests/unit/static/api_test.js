// Tests of the requests to the API: errors, retries and the CSRF token.

import assert from "node:assert/strict";

import {
  APIError,
  getJSON,
  isHopeless,
  parseRetryAfter,
  sendJSON,
} from "../../../web_app/static/modules/api.js";
import { browserTest, settle } from "./fakes.js";

browserTest(
  "an error of the server is thrown with its sentence, code and status",
  async ({ server }) => {
    const body = { error: "Image not found.", code: "not_found" };
    server.queueJSON(body, { status: 404, headers: { "Retry-After": "7" } });

    await assert.rejects(getJSON("/api/images/1"), (error) => {
      assert.ok(error instanceof APIError);
      assert.deepEqual(
        [error.message, error.code, error.status, error.retryAfterSeconds],
        ["Image not found.", "not_found", 404, 7],
      );
      return true;
    });
  },
);

browserTest("a request without a response is thrown with status 0", async () => {
  await assert.rejects(getJSON("/api/images/1"), { code: "no_answer", status: 0 });
});

browserTest("an error without JSON is thrown with a sentence", async ({ server }) => {
  server.queueText("<h1>Bad gateway</h1>", { status: 502 });

  await assert.rejects(getJSON("/x"), { status: 502, code: null, message: /502.*Try again/ });
});

browserTest(
  "a rate limited read is repeated after the delay of the server",
  async ({ clock, server }) => {
    server.queueJSON({}, { status: 429, headers: { "Retry-After": "9" } });
    server.queueJSON({ images: [] });

    const result = getJSON("/api/images");
    await settle();
    assert.deepEqual(clock.pendingSeconds, [9]);
    await clock.advance(9);

    assert.deepEqual(await result, { images: [] });
  },
);

browserTest(
  "a rate limited read is repeated three times, then fails",
  async ({ clock, server }) => {
    for (let number = 0; number < 4; number += 1) {
      server.queueJSON({ code: "rate_limited" }, { status: 429 });
    }

    const result = assert.rejects(getJSON("/api/images"), { code: "rate_limited" });
    await clock.advance(60);

    await result;
    assert.equal(server.requests.length, 4);
  },
);

browserTest("a rate limited change is not repeated", async ({ server }) => {
  server.queueJSON({ code: "rate_limited" }, { status: 429 });

  await assert.rejects(sendJSON("POST", "/api/images/1/retry"), { code: "rate_limited" });

  assert.equal(server.requests.length, 1);
});

browserTest("a change carries the CSRF token and JSON", async ({ server }) => {
  server.queueJSON({ id: 1 });

  await sendJSON("PATCH", "/api/images/1", { alt_text: "A dog" });

  const { options } = server.requests[0];
  assert.equal(options.method, "PATCH");
  assert.equal(options.body, '{"alt_text":"A dog"}');
  assert.equal(new Headers(options.headers).get("X-CSRFToken"), "the-token");
});

Deno.test("Retry-After is read as seconds or as a date, within 1 to 300 seconds", () => {
  const inTenSeconds = new Date(Date.now() + 10_500).toUTCString();

  assert.equal(parseRetryAfter("5"), 5);
  assert.equal(parseRetryAfter("0"), 1);
  assert.equal(parseRetryAfter("86400"), 300);
  const seconds = parseRetryAfter(inTenSeconds) ?? 0;
  assert.ok(seconds >= 1 && seconds <= 11, `${seconds}`);
  assert.equal(parseRetryAfter("soon"), null);
  assert.equal(parseRetryAfter(null), null);
});

Deno.test("a failed image is hopeless if another attempt must fail in the same way", () => {
  /** @type {(annotation: string | null, thumbnail: string | null) => any} */
  const image = (annotation, thumbnail) => ({
    annotation_status: annotation ? "failed" : "completed",
    thumbnail_status: thumbnail ? "failed" : "completed",
    annotation_error: annotation && { code: annotation, message: "" },
    thumbnail_error: thumbnail && { code: thumbnail, message: "" },
  });

  assert.equal(isHopeless(image("invalid_image", "invalid_image")), true);
  assert.equal(isHopeless(image(null, "too_many_pixels")), true);
  assert.equal(isHopeless(image("billing", "invalid_image")), false);
  assert.equal(isHopeless(image("billing", null)), false);
  assert.equal(isHopeless(image(null, null)), false);
});
