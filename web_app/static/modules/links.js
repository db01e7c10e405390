// Renews presigned URLs. They expire after minutes, so an image of an old page fails to load: it
// then gets a new URL, once. Until an image is loaded, its dominant colour is shown in its place.

import { getJSON } from "./api.js";

const BATCH_DELAY_MS = 50;
const MAX_IDS = 100; // The limit of one request to /api/image_status.
const FRESH_MS = 30_000;

/** @typedef {import("./api.js").ImageStatus} ImageStatus */
/** @typedef {HTMLImageElement | HTMLSourceElement} ImageElement */

/**
 * Elements that need a new URL, by the id of their image.
 *
 * @type {Map<number, ImageElement[]>}
 */
const renewals = new Map();
let isScheduled = false;

/**
 * Renew the URLs of all images in a document, including images that are added later.
 *
 * @param {Document} root
 */
export function watchLinks(root) {
  root.addEventListener("error", (event) => scheduleRenewal(event.target), { capture: true });
  showColors(root);
  for (const image of root.querySelectorAll("img[data-link]")) {
    // An image that failed before this module was loaded fires no more events.
    if (image instanceof HTMLImageElement && image.complete && image.naturalWidth === 0) {
      scheduleRenewal(image);
    }
  }
  new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      if (node instanceof Element) {
        showColors(node);
      }
    }
  }).observe(root.body, { childList: true, subtree: true });
  root.addEventListener("click", openFreshLink);
}

/** @param {Document | Element} root */
function showColors(root) {
  const elements = [...root.querySelectorAll("[data-color]")];
  if (root instanceof Element && root.matches("[data-color]")) {
    elements.push(root);
  }
  for (const element of elements) {
    const color = element.getAttribute("data-color") ?? "";
    if (element instanceof HTMLElement && /^#[0-9a-f]{6}$/i.test(color)) {
      element.style.setProperty("background-color", color);
    }
  }
}

/** @param {EventTarget | null} image */
function scheduleRenewal(image) {
  if (!(image instanceof HTMLImageElement) || !image.dataset.link) {
    return;
  }
  const source = image.parentElement?.querySelector("source[data-link]");
  if (image.dataset.renewed) {
    // The new URL failed too. Without its <source>, a <picture> shows the thumbnail.
    if (source) {
      source.remove();
    } else {
      image.classList.add("thumbnail--broken");
    }
    return;
  }
  image.dataset.renewed = "true";
  const id = Number(image.dataset.imageId);
  const elements = source instanceof HTMLSourceElement ? [source, image] : [image];
  renewals.set(id, [...(renewals.get(id) ?? []), ...elements]);
  if (!isScheduled) {
    isScheduled = true;
    setTimeout(renewLinks, BATCH_DELAY_MS);
  }
}

async function renewLinks() {
  isScheduled = false;
  const elementsById = new Map(renewals);
  renewals.clear();
  const ids = [...elementsById.keys()];
  for (let start = 0; start < ids.length; start += MAX_IDS) {
    const batch = ids.slice(start, start + MAX_IDS).join(",");
    /** @type {{ images: ImageStatus[] }} */
    const { images } = await getJSON(`/api/image_status?ids=${batch}`, { fresh: true });
    for (const image of images) {
      for (const element of elementsById.get(image.id) ?? []) {
        setLink(element, image);
      }
    }
  }
}

/**
 * @param {ImageElement} element
 * @param {ImageStatus} image
 */
function setLink(element, image) {
  if (element instanceof HTMLSourceElement) {
    element.srcset = image.preview_srcset ?? "";
  } else {
    element.src = linkOf(element, image) ?? element.src;
  }
}

/**
 * Return the link that an element shows or opens.
 *
 * @param {HTMLElement} element
 * @param {ImageStatus} image
 */
function linkOf(element, image) {
  switch (element.dataset.link) {
    case "original":
      return image.original_url;
    case "preview":
      return image.preview_url;
    default:
      return image.thumbnail_url;
  }
}

/**
 * Follow a link to an image with a new URL, because the page may have been open for long.
 *
 * @param {MouseEvent} event
 */
async function openFreshLink(event) {
  const link = event.target instanceof Element ? event.target.closest("a[data-link]") : null;
  const hasModifier = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) {
    return;
  }
  if (hasModifier || isFresh(link)) {
    return;
  }
  event.preventDefault();
  try {
    const image = await getJSON(`/api/image_status/${link.dataset.imageId}`, { fresh: true });
    link.href = linkOf(link, image) ?? link.href;
  } catch {
    // Follow the old URL, which may still work.
  }
  link.dataset.freshUntil = String(performance.now() + FRESH_MS);
  link.click();
}

/**
 * Return whether the URL of a link was renewed, or the page was opened, a short time ago.
 *
 * @param {HTMLElement} link
 */
function isFresh(link) {
  return performance.now() < Number(link.dataset.freshUntil ?? FRESH_MS);
}
