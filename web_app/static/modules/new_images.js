// Tells how many images were uploaded since the list was shown, and adds them on request.

import { getJSON } from "./api.js";
import { getNumber } from "./markup.js";

// A page that nobody looks at asks nothing, and a page without news asks less and less often.
const MIN_SECONDS = 15;
const MAX_SECONDS = 240;

export class NewImages {
  #seconds = MIN_SECONDS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {HTMLButtonElement} button shows the number; its `data-url` lists the newest images
   * @param {{ newestId: () => number, add: () => Promise<void> }} list `add` adds the new ones
   */
  constructor(button, list) {
    this.button = button;
    this.list = list;
    this.button.addEventListener("click", () => this.#add());
    document.addEventListener("visibilitychange", () => this.#wait(MIN_SECONDS));
    this.#wait(MIN_SECONDS);
  }

  /** @param {number} seconds */
  #wait(seconds) {
    clearTimeout(this.#timer);
    this.#seconds = seconds;
    if (!document.hidden) {
      this.#timer = setTimeout(() => this.#look(), seconds * 1000);
    }
  }

  async #look() {
    try {
      // The browser sends the ETag of its last response, so most responses are 304.
      const { images } = await getJSON(this.button.dataset.url ?? "");
      this.#show(countNew(images, this.list.newestId()));
      this.#wait(Math.min(MAX_SECONDS, this.#seconds * 1.5));
    } catch {
      this.#wait(MAX_SECONDS); // There is nothing that a person could do about it.
    }
  }

  /** @param {number} count */
  #show(count) {
    const text = describeNew(count, getNumber(this.button, "limit"));
    if (this.button.textContent !== text) {
      this.button.textContent = text;
    }
    this.button.hidden = count === 0;
  }

  async #add() {
    this.button.disabled = true;
    try {
      await this.list.add();
      this.#show(0);
    } finally {
      this.button.disabled = false;
      this.#wait(MIN_SECONDS);
    }
  }
}

/**
 * @param {{ id: number }[]} images
 * @param {number} newestId
 */
export function countNew(images, newestId) {
  return images.filter((image) => image.id > newestId).length;
}

/**
 * @param {number} count
 * @param {number} limit the most images that a response has
 */
export function describeNew(count, limit) {
  if (count === limit) {
    return `${count} or more new images`;
  }
  return count === 1 ? "1 new image" : `${count} new images`;
}
