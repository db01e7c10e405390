// Starts exports, and shows how many images the server has sent. The browser itself receives the
// file as a download, so that a large one needs no memory of the page.

import { APIError, getJSON } from "./api.js";
import { imagesInWords, numbered } from "./counts.js";
import { closestTarget, createElement, createIcon, getPart } from "./markup.js";
import { showToast } from "./toast.js";

const INTERVAL_SECONDS = 1; // As often as the server stores the progress.
const ERROR_INTERVAL_SECONDS = 5;
// The request for the download may wait before the server begins the export.
const MAX_MISSES = 30;
const LOOK_AT_DOWNLOADS = "Look at the downloads of your browser.";

/**
 * The fields of the API's export object that the pages use.
 *
 * @typedef {object} ExportProgress
 * @property {"running" | "completed" | "stopped"} state
 * @property {number | null} images
 * @property {number} images_done
 * @property {{ message: string } | null} error
 */

/** @param {HTMLElement} root links that download an export */
export function mount(root) {
  root.addEventListener("click", (event) => {
    const link = closestTarget(event, "a[download]");
    const isOther = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (link instanceof HTMLAnchorElement && !isOther) {
      event.preventDefault();
      startExport(link.text.trim(), link.href);
    }
  });
}

/**
 * Start a download. Show its progress at the top of the page, and then how it ended.
 *
 * @param {string} label begins each message, because several exports can run at once
 * @param {string} address
 */
export async function startExport(label, address) {
  const id = newUUID();
  const url = new URL(address, location.href);
  url.searchParams.set("export_id", id);
  createElement("a", { href: url.href, download: "" }).click();

  const container = getPart(document, "exports");
  for (const ended of container.querySelectorAll(".export--ended")) {
    ended.remove();
  }
  const text = createElement("span", {}, `${label}: The export begins…`);
  const bar = createElement("progress");
  bar.setAttribute("aria-label", `Progress of the export: ${label}`);
  const line = createElement("p", { className: "export" }, text, bar);
  container.append(line);
  showToast(`${label}: The export has started. Your browser saves the file.`);

  const last = await followExport(id, (progress) => {
    text.textContent = `${label}: ${describeExport(progress)}`;
    if (progress.images) {
      bar.max = progress.images;
      bar.value = progress.images_done;
    }
  });
  line.classList.add("export--ended");
  text.textContent = `${label}: ${describeExport(last)}`;
  const close = createElement("button", { type: "button", className: "export__close" });
  close.append(createIcon("close"));
  close.setAttribute("aria-label", `Close message: ${label}`);
  close.addEventListener("click", () => line.remove());
  bar.replaceWith(close);
  showToast(text.textContent, { isError: last?.state !== "completed" });
}

/**
 * Read the progress of an export until it ends, but not in a hidden tab.
 *
 * @param {string} id
 * @param {(progress: ExportProgress) => void} onChange
 * @returns {Promise<ExportProgress | null>} its end, or null if the server knows no such export
 */
export async function followExport(id, onChange) {
  for (let misses = 0; misses < MAX_MISSES;) {
    let seconds = INTERVAL_SECONDS;
    try {
      await untilVisible();
      const progress = await getJSON(`/api/exports/${id}`);
      if (progress.state !== "running") {
        return progress;
      }
      onChange(progress);
    } catch (error) {
      if (!(error instanceof APIError)) {
        throw error;
      }
      // Most other errors of the network and the server are transient.
      const isUnknown = error.status === 404;
      misses += isUnknown ? 1 : 0;
      seconds = isUnknown ? INTERVAL_SECONDS : error.retryAfterSeconds ?? ERROR_INTERVAL_SECONDS;
    }
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
  return null;
}

/** @param {ExportProgress | null} progress */
export function describeExport(progress) {
  if (progress === null) {
    return `The progress of this export is not known. ${LOOK_AT_DOWNLOADS}`;
  }
  const { state, images, images_done: done, error } = progress;
  const all = images ?? done;
  const counted = all === done ? imagesInWords(done) : `${numbered(done)} of ${imagesInWords(all)}`;
  switch (state) {
    case "running":
      return counted;
    case "completed":
      // The page cannot know what the browser has saved. Images that were deleted meanwhile are not
      // in the file.
      return `The server has sent the whole file (${imagesInWords(done)}). ${LOOK_AT_DOWNLOADS}`;
    default:
      return error?.message ?? `The export stopped after ${counted}. Start it again.`;
  }
}

/** Return a random UUID. `crypto.randomUUID` is missing in pages over plain HTTP. */
export function newUUID() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = bytes[6] & 0x0f | 0x40;
  bytes[8] = bytes[8] & 0x3f | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** @returns {Promise<void>} */
function untilVisible() {
  if (!document.hidden) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(untilVisible()), { once: true });
  });
}
