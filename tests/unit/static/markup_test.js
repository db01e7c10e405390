// Tests of the helpers that find elements and announce texts.

import assert from "node:assert/strict";

import {
  createAnnouncer,
  getNumber,
  getPart,
  messageOf,
} from "../../../web_app/static/modules/markup.js";
import { browserTest, FakeElement, FakeImage, settle } from "./fakes.js";

/** @param {string} part */
function element(part) {
  const made = new FakeElement();
  made.dataset.part = part;
  return made;
}

/**
 * @param {FakeElement} root
 * @returns {any}
 */
function asElement(root) {
  return root;
}

browserTest("a part is found by its name", async ({ document }) => {
  const rows = element("rows");
  document.with(element("summary"), new FakeElement().with(rows));

  assert.equal(getPart(asElement(document), "rows"), asElement(rows));
  await settle();
});

browserTest("a missing part is an error that names it", async () => {
  const root = new FakeElement();
  root.classList.add("queue");

  assert.throws(() => getPart(asElement(root), "rows"), /data-part="rows" in <div class="queue">/);
  await settle();
});

browserTest("a part of another class than expected is an error", async ({ document }) => {
  document.with(element("preview"));

  assert.throws(() => getPart(asElement(document), "preview", /** @type {any} */ (FakeImage)));
  await settle();
});

browserTest("a number is read from a data attribute", async () => {
  const root = new FakeElement();
  root.dataset.imageId = "12";

  assert.equal(getNumber(asElement(root), "imageId"), 12);
  await settle();
});

for (const value of [undefined, "", "twelve"]) {
  browserTest(`the data attribute ${value} is not a number`, async () => {
    const root = new FakeElement();
    if (value !== undefined) {
      root.dataset.imageId = value;
    }

    assert.throws(() => getNumber(asElement(root), "imageId"), /“imageId”/);
    await settle();
  });
}

browserTest("texts within a second are announced as one, the latest", async ({ clock }) => {
  const region = new FakeElement();
  const announce = createAnnouncer(asElement(region));

  announce("1 of 3 sent");
  announce("2 of 3 sent");
  assert.equal(region.textContent, "");
  assert.deepEqual(clock.pendingSeconds, [1]);
  await clock.advance(1);
  assert.equal(region.textContent, "2 of 3 sent");

  announce("3 of 3 sent");
  await clock.advance(1);
  assert.equal(region.textContent, "3 of 3 sent");
});

Deno.test("the message of anything that was thrown is a text", () => {
  assert.equal(messageOf(new Error("It failed.")), "It failed.");
  assert.equal(messageOf("a text"), "a text");
});
