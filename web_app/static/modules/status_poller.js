// Asks where images stand: many in one request, ever more slowly, never in a hidden tab, and not at
// all once everything is final.

import { getJSON } from "./api.js";

const FIRST_SECONDS = 1;
const LONGEST_SECONDS = 15;
const GROWTH = 1.5;
const MAX_IDS = 100; // The most that one request may name.

export class StatusPoller {
  #watched = new Map(); // id → { onChange, seen }
  #seconds = FIRST_SECONDS;
  #timer = null;
  #isAsking = false;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        this.#stop();
      } else {
        this.#askSoon(0);
      }
    });
  }

  /**
   * Call `onChange(image)` at each change until the image is final, and `onChange(null)` should it
   * be deleted.
   */
  watch(id, onChange) {
    this.#watched.set(Number(id), { onChange, seen: null });
    this.#seconds = FIRST_SECONDS;
    this.#stop();
    this.#askSoon(this.#seconds);
  }

  unwatch(id) {
    this.#watched.delete(Number(id));
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #askSoon(seconds) {
    if (this.#watched.size === 0 || this.#timer !== null || this.#isAsking || document.hidden) {
      return;
    }
    this.#timer = setTimeout(() => this.#ask(), seconds * 1000);
  }

  async #ask() {
    this.#timer = null;
    this.#isAsking = true;
    this.#seconds = Math.min(this.#seconds * GROWTH, LONGEST_SECONDS);
    try {
      const ids = [...this.#watched.keys()];
      for (let start = 0; start < ids.length; start += MAX_IDS) {
        await this.#askFor(ids.slice(start, start + MAX_IDS));
      }
    } catch (error) {
      // Trouble passes; what is watched is asked for again, later.
      this.#seconds = Math.max(this.#seconds, error.retryAfterSeconds ?? 5);
    }
    this.#isAsking = false;
    this.#askSoon(this.#seconds);
  }

  async #askFor(ids) {
    const { images } = await getJSON(`/api/image_status?ids=${ids.join(",")}`);
    const answers = new Map(images.map((image) => [image.id, image]));
    for (const id of ids) {
      this.#tell(id, answers.get(id) ?? null);
    }
  }

  #tell(id, image) {
    const watch = this.#watched.get(id);
    if (!watch) {
      return; // No longer of interest.
    }
    if (!image || image.status !== "pending") {
      this.#watched.delete(id);
    }
    const seen = image &&
      `${image.updated_at} ${image.annotation_status} ${image.thumbnail_status}`;
    if (seen !== watch.seen || !image) {
      watch.seen = seen;
      this.#seconds = FIRST_SECONDS; // Things move: look again soon.
      watch.onChange(image);
    }
  }
}
