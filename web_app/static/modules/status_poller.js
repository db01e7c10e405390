// Polls the status of pending images: many in one request, less often while nothing changes, not in
// a hidden tab, and not after every image is completed or failed.

import { APIError, getJSON } from "./api.js";

const MIN_INTERVAL_SECONDS = 1;
const MAX_INTERVAL_SECONDS = 15;
const INTERVAL_GROWTH = 1.5;
const ERROR_INTERVAL_SECONDS = 5;
const MAX_IDS = 100; // The limit of one request to /api/image_status.

/** @typedef {import("./api.js").ImageStatus} ImageStatus */
/** @typedef {(image: ImageStatus | null) => void} ChangeListener */

export class StatusPoller {
  /** @type {Map<number, { onChange: ChangeListener, lastVersion: string | null }>} */
  #watched = new Map();
  #intervalSeconds = MIN_INTERVAL_SECONDS;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  #isPolling = false;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        this.#cancelPoll();
      } else {
        this.#schedulePoll(0);
      }
    });
  }

  /**
   * Call `onChange(image)` after each change until the image is completed or failed. Call
   * `onChange(null)` if the image was deleted.
   *
   * @param {number | string} id
   * @param {ChangeListener} onChange
   */
  watch(id, onChange) {
    this.#watched.set(Number(id), { onChange, lastVersion: null });
    this.#intervalSeconds = MIN_INTERVAL_SECONDS;
    this.#cancelPoll();
    this.#schedulePoll(this.#intervalSeconds);
  }

  /** @param {number | string} id */
  unwatch(id) {
    this.#watched.delete(Number(id));
  }

  #cancelPoll() {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
    }
    this.#timer = null;
  }

  /** @param {number} seconds */
  #schedulePoll(seconds) {
    const isScheduled = this.#timer !== null || this.#isPolling;
    if (this.#watched.size > 0 && !isScheduled && !document.hidden) {
      this.#timer = setTimeout(() => this.#poll(), seconds * 1000);
    }
  }

  async #poll() {
    this.#timer = null;
    this.#isPolling = true;
    this.#intervalSeconds = Math.min(
      this.#intervalSeconds * INTERVAL_GROWTH,
      MAX_INTERVAL_SECONDS,
    );
    try {
      const ids = [...this.#watched.keys()];
      for (let start = 0; start < ids.length; start += MAX_IDS) {
        await this.#fetchStatus(ids.slice(start, start + MAX_IDS));
      }
    } catch (error) {
      // Poll again later: most errors of the network and the server are transient.
      const retryAfterSeconds = error instanceof APIError ? error.retryAfterSeconds : null;
      this.#intervalSeconds = Math.max(
        this.#intervalSeconds,
        retryAfterSeconds ?? ERROR_INTERVAL_SECONDS,
      );
    }
    this.#isPolling = false;
    this.#schedulePoll(this.#intervalSeconds);
  }

  /** @param {number[]} ids */
  async #fetchStatus(ids) {
    /** @type {{ images: ImageStatus[] }} */
    const { images } = await getJSON(`/api/image_status?ids=${ids.join(",")}`);
    const imagesById = new Map(images.map((image) => [image.id, image]));
    for (const id of ids) {
      this.#notify(id, imagesById.get(id) ?? null);
    }
  }

  /**
   * @param {number} id
   * @param {ImageStatus | null} image
   */
  #notify(id, image) {
    const watch = this.#watched.get(id);
    if (!watch) {
      return; // It was unwatched while the request was running.
    }
    if (!image || image.status !== "pending") {
      this.#watched.delete(id);
    }
    const version = image &&
      `${image.updated_at} ${image.annotation_status} ${image.thumbnail_status}`;
    if (version !== watch.lastVersion || !image) {
      watch.lastVersion = version;
      this.#intervalSeconds = MIN_INTERVAL_SECONDS; // The next change is likely to come soon.
      watch.onChange(image);
    }
  }
}
