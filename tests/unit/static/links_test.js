// Tests of the renewal of presigned URLs.

import assert from "node:assert/strict";

import { watchLinks } from "../../../web_app/static/modules/links.js";
import {
  browserTest,
  FakeAnchor,
  FakeElement,
  FakeImage,
  FakeMutationObserver,
  FakeSource,
  settle,
} from "./fakes.js";

/** @typedef {import("./fakes.js").FakeDocument} FakeDocument */

/** @param {number} id */
function urlsOf(id) {
  return {
    id,
    thumbnail_url: `/thumbnails/${id}?new`,
    preview_url: `/previews/${id}?new`,
    preview_srcset: `/previews/${id}?new 2048w`,
    original_url: `/originals/${id}?new`,
  };
}

/**
 * @template {FakeElement} T
 * @param {T} element
 * @param {number} id
 * @param {"thumbnail" | "preview" | "original"} [link]
 */
function withLink(element, id, link = "thumbnail") {
  Object.assign(element.dataset, { link, imageId: String(id) });
  return element;
}

/**
 * Fire the error event of an image, which the document receives.
 *
 * @param {FakeDocument} document
 * @param {FakeElement} target
 */
function fail(document, target) {
  const event = new Event("error");
  Object.defineProperty(event, "target", { value: target });
  document.dispatchEvent(event);
}

/**
 * @param {FakeDocument} document
 * @param {FakeElement} target
 * @param {object} [properties]
 */
async function click(document, target, properties = {}) {
  const event = new Event("click", { cancelable: true });
  const values = { target, button: 0, ...properties };
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(event, name, { value });
  }
  document.dispatchEvent(event);
  await settle();
  return event;
}

/** @param {FakeDocument} document */
function watch(document) {
  watchLinks(/** @type {any} */ (document));
}

browserTest("images that fail together are renewed by one request", async (browser) => {
  const { clock, server, document } = browser;
  const [first, second] = [withLink(new FakeImage(), 1), withLink(new FakeImage(), 2)];
  document.with(new FakeElement().with(first), new FakeElement().with(second));
  watch(document);
  server.queueJSON({ images: [urlsOf(1), urlsOf(2)] });

  fail(document, first);
  fail(document, second);
  await clock.advance(1);

  assert.deepEqual(server.requests.map(({ url }) => url), ["/api/image_status?ids=1,2"]);
  assert.deepEqual([first.src, second.src], ["/thumbnails/1?new", "/thumbnails/2?new"]);
});

browserTest("an image that failed before the module was loaded is renewed", async (browser) => {
  const { clock, server, document } = browser;
  const image = withLink(new FakeImage(), 1);
  Object.assign(image, { complete: true, naturalWidth: 0 });
  document.with(new FakeElement().with(image));
  server.queueJSON({ images: [urlsOf(1)] });

  watch(document);
  await clock.advance(1);

  assert.equal(image.src, "/thumbnails/1?new");
});

browserTest("the source of a picture gets the new URLs of the preview", async (browser) => {
  const { clock, server, document } = browser;
  const [source, image] = [
    withLink(new FakeSource(), 1, "preview"),
    withLink(new FakeImage(), 1),
  ];
  document.with(new FakeElement().with(source, image));
  watch(document);
  server.queueJSON({ images: [urlsOf(1)] });

  fail(document, image);
  await clock.advance(1);

  assert.deepEqual([source.srcset, image.src], ["/previews/1?new 2048w", "/thumbnails/1?new"]);
});

browserTest("after a second failure a picture shows the thumbnail only", async (browser) => {
  const { clock, server, document } = browser;
  const source = withLink(new FakeSource(), 1, "preview");
  const image = withLink(new FakeImage(), 1);
  const picture = new FakeElement().with(source, image);
  document.with(picture);
  watch(document);
  server.queueJSON({ images: [urlsOf(1)] });
  fail(document, image);
  await clock.advance(1);

  fail(document, image);
  assert.deepEqual(picture.children, [image]);

  fail(document, image);
  assert.ok(image.classes.has("thumbnail--broken"));
  assert.equal(server.requests.length, 1);
});

browserTest("an image without a data-link attribute is left alone", async (browser) => {
  const { clock, server, document } = browser;
  watch(document);

  fail(document, new FakeImage());
  await clock.advance(1);

  assert.equal(server.requests.length, 0);
});

browserTest("a click on an old link opens the original with a new URL", async (browser) => {
  const { server, document } = browser;
  const link = withLink(new FakeAnchor(), 1, "original");
  link.dataset.freshUntil = "0";
  watch(document);
  server.queueJSON(urlsOf(1));

  const event = await click(document, link);

  assert.equal(event.defaultPrevented, true);
  assert.deepEqual([link.href, link.clicks], ["/originals/1?new", 1]);
  assert.equal((await click(document, link)).defaultPrevented, false);
});

browserTest("a click with a modifier key is left to the browser", async (browser) => {
  const { server, document } = browser;
  const link = withLink(new FakeAnchor(), 1, "original");
  link.dataset.freshUntil = "0";
  watch(document);

  const event = await click(document, link, { ctrlKey: true });

  assert.equal(event.defaultPrevented, false);
  assert.equal(server.requests.length, 0);
});

browserTest("a link is followed even if no new URL can be fetched", async ({ document }) => {
  const link = withLink(new FakeAnchor(), 1, "original");
  Object.assign(link, { href: "/originals/1?old" });
  link.dataset.freshUntil = "0";
  watch(document);

  await click(document, link);

  assert.deepEqual([link.href, link.clicks], ["/originals/1?old", 1]);
});

browserTest("only a colour of six digits is shown in the place of an image", async (browser) => {
  const [valid, invalid] = [new FakeElement(), new FakeElement()];
  valid.dataset.color = "#336699";
  invalid.dataset.color = "#336699ff";
  browser.document.with(valid, invalid);

  watch(browser.document);

  assert.equal(valid.styles.get("background-color"), "#336699");
  assert.equal(invalid.styles.size, 0);
  await settle();
});

browserTest("an element that is added later shows its colour", async ({ document }) => {
  watch(document);
  const added = new FakeElement();
  added.dataset.color = "#112233";

  FakeMutationObserver.last?.callback([{ addedNodes: [added] }]);

  assert.equal(added.styles.get("background-color"), "#112233");
  await settle();
});
