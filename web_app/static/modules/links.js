// Presigned links live for minutes. One that died on an open page is renewed, once, by asking where
// its image stands; and a colour stands in its place until its image is there.

import { getJSON } from "./api.js";

const GATHER_MS = 50;
const renewals = new Map(); // Image id → elements that wait for a new link.
let timer = null;

/** Look after the links in `root`, and in whatever comes to stand there later. */
export function watchLinks(root) {
  root.addEventListener("error", (event) => renew(event.target), { capture: true });
  showColors(root);
  for (const image of root.querySelectorAll("img[data-link]")) {
    // It failed before anyone listened.
    if (image.complete && image.naturalWidth === 0) {
      renew(image);
    }
  }
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node instanceof Element) {
          showColors(node);
        }
      }
    }
  }).observe(document.body, { childList: true, subtree: true });
  root.addEventListener("click", openFreshLink);
}

function showColors(root) {
  const colored = [...root.querySelectorAll("[data-color]")];
  for (const element of root.matches?.("[data-color]") ? [root, ...colored] : colored) {
    if (/^#[0-9a-f]{6}$/i.test(element.dataset.color)) {
      element.style.setProperty("background-color", element.dataset.color);
    }
  }
}

function renew(image) {
  if (!(image instanceof HTMLImageElement) || !image.dataset.link) {
    return;
  }
  const source = image.parentElement.querySelector("source[data-link]");
  if (image.dataset.renewed) {
    // The new link failed as well. Without its original, a picture shows its thumbnail.
    if (source) {
      source.remove();
    } else {
      image.classList.add("thumbnail--broken");
    }
    return;
  }
  image.dataset.renewed = "true";
  const id = Number(image.dataset.imageId);
  renewals.set(id, [...(renewals.get(id) ?? []), ...[source, image].filter(Boolean)]);
  timer ??= setTimeout(fetchLinks, GATHER_MS);
}

async function fetchLinks() {
  timer = null;
  const waiting = new Map(renewals);
  renewals.clear();
  const ids = [...waiting.keys()];
  for (let start = 0; start < ids.length; start += 100) {
    const asked = ids.slice(start, start + 100).join(",");
    const { images } = await getJSON(`/api/image_status?ids=${asked}`, { fresh: true });
    for (const image of images) {
      for (const element of waiting.get(image.id)) {
        applyLink(element, image);
      }
    }
  }
}

function applyLink(element, image) {
  const link = element.dataset.link === "original" ? image.original_url : image.thumbnail_url;
  if (!link) {
    return;
  }
  if (element instanceof HTMLSourceElement) {
    element.srcset = link;
  } else {
    element.src = link;
  }
}

/** A link to an original is followed with a new signature, however long the page was open. */
async function openFreshLink(event) {
  const link = event.target.closest?.("a[data-link]");
  if (!link || event.defaultPrevented || event.button !== 0 || isFresh(link)) {
    return;
  }
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) {
    return;
  }
  event.preventDefault();
  try {
    const image = await getJSON(`/api/image_status/${link.dataset.imageId}`, { fresh: true });
    link.href = image.original_url ?? link.href;
  } finally {
    link.dataset.freshUntil = String(performance.now() + 30_000);
    link.click();
  }
}

function isFresh(link) {
  // The first seconds of a page need no renewal either.
  return performance.now() < Number(link.dataset.freshUntil ?? 30_000);
}
