// The selection of the gallery: choose images by checkbox, Shift-click, long press or keyboard, and
// run one action on all of them. Without this script, the same form is sent to the server.

import { getJSON, sendJSON } from "./api.js";
import { AS_SITE, readOptions } from "./caption_options.js";
import { imagesInWords, numbered } from "./counts.js";
import { startExport } from "./exports.js";
import { closestTarget, getPart, messageOf } from "./markup.js";
import { showToast } from "./toast.js";

const LONG_PRESS_MS = 500;
const IMAGES_PER_REQUEST = 200; // Fewer than the API allows, so that the progress moves.
const MAX_EXPORTED_IDS = 500;
const CHECKBOX = ".card__checkbox";

/** @typedef {import("./gallery.js").Gallery} Gallery */

/**
 * @typedef {object} BatchResult
 * @property {number} id
 * @property {"done" | "unchanged" | "refused"} outcome
 * @property {{ code: string, message: string } | null} error
 */

/** @type {Record<string, (images: string) => string>} */
const MESSAGES = {
  retry: (images) => `Trying ${images} again…`,
  regenerate: (images) => `Writing new captions for ${images}…`,
  add_tags: (images) => `Added tags to ${images}.`,
  remove_tags: (images) => `Removed tags from ${images}.`,
  approve: (images) => `Approved ${images}.`,
  delete: (images) => `Moved ${images} to your bin.`,
};

// The action that undoes another one, and its message.
/** @type {Record<string, string>} */
const INVERSE = { add_tags: "remove_tags", approve: "unapprove", delete: "undelete" };
/** @type {Record<string, (images: string) => string>} */
const UNDONE = {
  remove_tags: (images) => `Removed the tag from ${images}.`,
  unapprove: (images) => `Withdrew the approval of ${images}. The state is “Unreviewed” now.`,
  undelete: (images) => `Restored ${images}.`,
};

export class Selection {
  /** @type {Set<number>} */
  #ids = new Set();
  #hasAllMatching = false;
  #isRunning = false;
  /** @type {HTMLElement | null} the card from which a range begins */
  #anchor = null;

  /**
   * @param {Gallery} gallery
   * @param {HTMLFormElement} form
   * @param {HTMLElement | null} opener
   */
  constructor(gallery, form, opener) {
    this.gallery = gallery;
    this.form = form;
    this.opener = opener;
    this.count = getPart(form, "selection-count");
    this.progress = getPart(form, "selection-progress", HTMLProgressElement);
    this.selectAll = getButton(form, "select-all");
    this.selectAll.hidden = hasTimesOfChanges();
    // On a slow line, images may be selected before this script runs.
    this.#ids = new Set(this.#ownCards.filter((card) => checkboxOf(card)?.checked).map(idOf));
    this.#listen();
    this.#update();
  }

  get isActive() {
    return !this.form.hidden;
  }

  /**
   * Return the filter that the server applied to this list. The address of the page can have other
   * parameters, for example those of a newsletter, which the server refuses in an action.
   *
   * @returns {[string, string][]}
   */
  get #shownFilter() {
    const { searchParams } = new URL(this.selectAll.dataset.list ?? "", location.href);
    return [...searchParams].filter(([name]) => !["mine", "sort"].includes(name));
  }

  #listen() {
    const { cards } = this.gallery;
    this.opener?.setAttribute("role", "button");
    this.opener?.addEventListener("click", (event) => this.#turn(event));
    this.opener?.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        this.#turn(event);
      }
    });
    this.form.addEventListener("submit", (event) => this.#submit(event));
    this.form.addEventListener("click", (event) => {
      if (closestTarget(event, '[data-action="end-selection"]')) {
        event.preventDefault();
        this.end();
      }
    });
    this.selectAll.addEventListener("click", () => this.#chooseAllMatching());
    // First, so that the click that ends a long press does not toggle the card.
    this.#listenForLongPresses(cards);
    cards.addEventListener("click", (event) => this.#click(event), { capture: true });
    cards.addEventListener("keydown", (event) => this.#press(event), { capture: true });
    cards.addEventListener("change", (event) => this.#toggled(event));
    document.addEventListener("keydown", (event) => this.#pressAnywhere(event));
  }

  /** @param {HTMLElement} cards */
  #listenForLongPresses(cards) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let wasLong = false;
    const cancel = () => clearTimeout(timer);
    cards.addEventListener("pointerdown", (event) => {
      const card = cardOf(event);
      wasLong = false;
      if (event.pointerType !== "mouse" && card && checkboxOf(card) && !this.isActive) {
        timer = setTimeout(() => {
          wasLong = true;
          this.#begin();
          this.#select([card], true);
          this.#anchor = card;
        }, LONG_PRESS_MS);
      }
    });
    for (const name of ["pointerup", "pointercancel", "pointermove"]) {
      cards.addEventListener(name, cancel);
    }
    // The long press itself must neither open the menu of the browser nor toggle the card.
    for (const name of ["contextmenu", "click"]) {
      cards.addEventListener(name, (event) => {
        if (wasLong) {
          event.preventDefault();
          event.stopImmediatePropagation();
          wasLong = name === "contextmenu";
        }
      }, { capture: true });
    }
  }

  get #ownCards() {
    return this.gallery.allCards.filter((card) => checkboxOf(card));
  }

  /** @param {Event} event */
  #turn(event) {
    event.preventDefault();
    if (this.isActive) {
      this.end();
    } else {
      this.#begin();
      focusOn(checkboxOf(this.#ownCards[0]));
    }
  }

  #begin() {
    this.form.hidden = false;
    this.gallery.cards.classList.add("gallery--selecting");
    this.gallery.updateTabStops();
    this.#update();
  }

  /** End the selection, and give the focus back to the gallery. */
  end() {
    const hadFocus = this.form.contains(document.activeElement) ||
      document.activeElement?.matches(CHECKBOX);
    this.#ids.clear();
    this.#hasAllMatching = false;
    this.form.hidden = true;
    this.form.reset();
    for (const details of this.form.querySelectorAll("details")) {
      details.open = false;
    }
    this.gallery.cards.classList.remove("gallery--selecting");
    this.#showChecks();
    this.gallery.updateTabStops();
    this.#update();
    if (hadFocus) {
      focusOn(this.opener);
    }
  }

  /** Show the present selection on cards that were added or replaced. */
  showOn() {
    this.#showChecks();
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const card = cardOf(event);
    const isOpen = event.ctrlKey || event.metaKey || event.altKey || event.button !== 0;
    if (!this.isActive || !card || !checkboxOf(card) || isOpen) {
      return;
    }
    const link = closestTarget(event, ".card__link");
    const box = closestTarget(event, CHECKBOX);
    if (event.shiftKey && (link || box)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      // A checkbox that refuses a click takes its old state back after this handler.
      setTimeout(() => this.#selectRange(card));
    } else if (link) {
      event.preventDefault();
      event.stopImmediatePropagation();
      this.#toggle(card);
    }
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const card = cardOf(event);
    const isOnCard = closestTarget(event, `.card__link, ${CHECKBOX}`) !== null;
    if (!card || !isOnCard || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const isOwn = checkboxOf(card) !== null;
    if (event.key === "x" && isOwn) {
      event.preventDefault();
      const hadMode = this.isActive;
      if (!hadMode) {
        this.#begin();
        focusOn(checkboxOf(card));
      }
      this.#toggle(card);
    } else if (event.key === " " && this.isActive && closestTarget(event, ".card__link") && isOwn) {
      event.preventDefault();
      this.#toggle(card);
    } else if (event.shiftKey && event.key.startsWith("Arrow") && this.isActive) {
      event.preventDefault();
      event.stopImmediatePropagation();
      this.#extend(card, event.key);
    }
  }

  /** @param {KeyboardEvent} event */
  #pressAnywhere(event) {
    if (!this.isActive || document.querySelector("dialog[open]")) {
      return;
    }
    const isInField = event.target instanceof Element && event.target.matches(
      "textarea, input:not([type=checkbox]), select",
    );
    if (event.key === "Escape") {
      this.end();
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey) && !isInField) {
      event.preventDefault();
      this.#select(this.#ownCards, true);
    }
  }

  /** @param {Event} event */
  #toggled(event) {
    const box = event.target;
    const card = cardOf(event);
    if (card && box instanceof HTMLInputElement && box.matches(CHECKBOX)) {
      this.#anchor = card;
      this.#select([card], box.checked);
    }
  }

  /** @param {HTMLElement} card */
  #toggle(card) {
    this.#anchor = card;
    this.#select([card], !this.#ids.has(idOf(card)));
  }

  /**
   * Move the focus as the arrow key does, and select both cards.
   *
   * @param {HTMLElement} card
   * @param {string} key
   */
  #extend(card, key) {
    const target = this.gallery.neighbourOf(card, key);
    this.#anchor ??= card;
    if (target) {
      this.#selectRange(target);
      focusOn(checkboxOf(target) ?? target.querySelector(".card__link"));
    }
  }

  /**
   * Select all cards from the last one that was chosen to this one.
   *
   * @param {HTMLElement} card
   */
  #selectRange(card) {
    const cards = this.gallery.allCards;
    const last = this.#anchor === null
      ? -1
      : cards.findIndex((each) => each.dataset.imageId === this.#anchor?.dataset.imageId);
    const ends = [cards.indexOf(card), last < 0 ? cards.indexOf(card) : last];
    this.#select(cards.slice(Math.min(...ends), Math.max(...ends) + 1), true);
    this.#anchor ??= card;
  }

  /**
   * @param {HTMLElement[]} cards
   * @param {boolean} isSelected
   */
  #select(cards, isSelected) {
    this.#hasAllMatching = false;
    for (const card of cards.filter((each) => checkboxOf(each))) {
      if (isSelected) {
        this.#ids.add(idOf(card));
      } else {
        this.#ids.delete(idOf(card));
      }
    }
    this.#showChecks();
    this.#update();
  }

  /** Select all images of the viewer that match the search, also those that are not loaded. */
  async #chooseAllMatching() {
    const search = new URLSearchParams([...this.#shownFilter, ["mine", "true"], ["limit", "1"]]);
    try {
      const { count } = await getJSON(`/api/images?${search}`);
      this.#ids = new Set(this.#ownCards.map(idOf));
      this.#hasAllMatching = true;
      this.#showChecks();
      this.#update(count === null || count > 1000 ? "More than 1,000" : numbered(count));
    } catch (error) {
      showToast(messageOf(error), { isError: true });
    }
  }

  #showChecks() {
    for (const card of this.#ownCards) {
      const box = checkboxOf(card);
      if (box) {
        box.checked = this.#ids.has(idOf(card));
      }
    }
  }

  /** @param {string} [matching] the number of images that match */
  #update(matching) {
    const count = this.#ids.size;
    if (this.#hasAllMatching) {
      this.count.textContent = `All that match are selected: ${matching}`;
    } else if (count > 0) {
      this.count.textContent = `${numbered(count)} selected`;
    } else {
      this.count.textContent = "Select images, then an action.";
    }
    this.opener?.setAttribute("aria-pressed", String(this.isActive));
  }

  /** @param {SubmitEvent} event */
  async #submit(event) {
    event.preventDefault();
    const action = event.submitter instanceof HTMLButtonElement ? event.submitter.value : "";
    if (this.#isRunning) {
      return;
    }
    if (this.#ids.size === 0 && !this.#hasAllMatching) {
      showToast("Select at least one image first.", { isError: true });
      return;
    }
    if (action === "export") {
      this.#export();
      return;
    }
    const tags = String(new FormData(this.form).get("tags")).split(",")
      .map((tag) => tag.trim()).filter(Boolean);
    if (action.endsWith("_tags") && tags.length === 0) {
      showToast("Write at least one tag first.", { isError: true });
      return;
    }
    this.#isRunning = true;
    const fields = action === "regenerate" ? this.#chosenOptions() : {};
    await this.#run(action, action.endsWith("_tags") ? { tags } : fields);
    this.#isRunning = false;
    this.progress.hidden = true;
  }

  /**
   * Return the options for new captions. Those that are empty stay as they are, and null leaves one
   * to the site.
   *
   * @returns {object}
   */
  #chosenOptions() {
    const { old_context: isRemoved, ...options } = readOptions(this.form);
    for (const name of ["language", "style"]) {
      options[name] = options[name] === AS_SITE ? null : options[name];
    }
    const chosen = Object.entries(options).filter(([, value]) => value !== "");
    return { ...isRemoved && { context: null }, ...Object.fromEntries(chosen) };
  }

  #export() {
    let search = new URLSearchParams();
    if (this.#hasAllMatching) {
      search = new URLSearchParams([...this.#shownFilter, ["mine", "true"]]);
    } else if (this.#ids.size > MAX_EXPORTED_IDS) {
      showToast(`Select up to ${MAX_EXPORTED_IDS} images, or all that match.`, { isError: true });
      return;
    } else {
      search.set("ids", [...this.#ids].join(","));
    }
    search.set("format", "csv");
    startExport("Selected images (CSV)", `/api/export?${search}`);
  }

  /**
   * Run an action on the selected images, some at a time, and show what became of them.
   *
   * @param {string} action
   * @param {{ tags?: string[] }} fields
   */
  async #run(action, fields) {
    /** @type {BatchResult[]} */
    const results = [];
    let failure = "";
    try {
      for await (const some of this.#send(action, fields)) {
        results.push(...some);
      }
    } catch (error) {
      failure = messageOf(error);
    }
    const done = results.filter((result) => result.outcome === "done").map(({ id }) => id);
    const refused = results.filter((result) => result.outcome === "refused");
    const reason = failure || refused[0]?.error?.message;
    const text = done.length > 0
      ? MESSAGES[action](imagesInWords(done.length))
      : "Nothing to change for the selected images.";
    this.#show(action, done);
    if (reason) {
      const left = failure ? "The others" : imagesInWords(refused.length);
      const before = done.length > 0 ? `${text} ` : "";
      showToast(`${before}${left} not changed: ${reason}`, {
        isError: true,
        action: this.#undoOf(action, done, fields),
      });
      return;
    }
    showToast(text, { action: this.#undoOf(action, done, fields) });
  }

  /**
   * Send the action for the selected images, and yield the results of each request.
   *
   * @param {string} action
   * @param {object} fields
   * @returns {AsyncGenerator<BatchResult[]>}
   */
  async *#send(action, fields) {
    this.progress.hidden = false;
    if (!this.#hasAllMatching) {
      yield* this.#sendIds(action, [...this.#ids], fields);
      return;
    }
    this.progress.removeAttribute("value"); // How many images match is not known.
    const shown = this.#shownFilter;
    const tags = shown.filter(([name]) => name === "tag").map(([, value]) => value);
    const filter = { ...Object.fromEntries(shown), tag: tags };
    let cursor = {};
    while (true) {
      const body = { action, filter, ...fields, ...cursor };
      const { results, next_cursor } = await sendJSON("POST", "/api/images/batch", body);
      yield results;
      if (next_cursor === null) {
        return;
      }
      cursor = { cursor: next_cursor };
    }
  }

  /**
   * @param {string} action
   * @param {number[]} ids
   * @param {object} [fields]
   * @returns {AsyncGenerator<BatchResult[]>}
   */
  async *#sendIds(action, ids, fields = {}) {
    this.progress.max = ids.length;
    this.progress.value = 0;
    for (let start = 0; start < ids.length; start += IMAGES_PER_REQUEST) {
      const some = ids.slice(start, start + IMAGES_PER_REQUEST);
      const body = { action, ids: some, ...fields };
      yield (await sendJSON("POST", "/api/images/batch", body)).results;
      this.progress.value = start + some.length;
    }
  }

  /**
   * Show the changed images. Those that were refused stay selected.
   *
   * @param {string} action
   * @param {number[]} done
   */
  #show(action, done) {
    this.#hasAllMatching = false;
    for (const id of done) {
      this.#ids.delete(id);
    }
    if (action === "delete") {
      this.gallery.removeCards(done);
    } else {
      this.gallery.refreshAll(done);
    }
    if (this.#ids.size === 0) {
      this.end();
    } else {
      this.#showChecks();
      this.#update();
    }
  }

  /**
   * @param {string} action
   * @param {number[]} done
   * @param {{ tags?: string[] }} fields
   * @returns {import("./toast.js").ToastAction | undefined}
   */
  #undoOf(action, done, { tags = [] }) {
    // An image may have had some of several tags before.
    const inverse = action === "add_tags" && tags.length !== 1 ? undefined : INVERSE[action];
    if (!inverse || done.length === 0) {
      return undefined;
    }
    const undo = async () => {
      /** @type {number[]} */
      const restored = [];
      try {
        const body = inverse === "remove_tags" ? { tags } : {};
        for await (const results of this.#sendIds(inverse, done, body)) {
          restored.push(...results.filter(({ error }) => !error).map(({ id }) => id));
        }
        showToast(UNDONE[inverse](imagesInWords(restored.length)));
      } catch (error) {
        showToast(messageOf(error), { isError: true });
      }
      if (inverse === "undelete") {
        this.gallery.restoreCards(restored);
      } else {
        this.gallery.refreshAll(restored);
      }
    };
    // The approval of texts that were changed since an earlier one cannot be undone: without it, they
    // are not reviewed.
    const label = inverse === "unapprove" ? "Withdraw approval" : "Undo";
    return { label, onPress: undo };
  }
}

/**
 * @param {Event} event
 * @returns {HTMLElement | null}
 */
function cardOf(event) {
  return closestTarget(event, ".card");
}

/**
 * @param {Element | undefined} card
 * @returns {HTMLInputElement | null}
 */
function checkboxOf(card) {
  return card?.querySelector(CHECKBOX) ?? null;
}

/**
 * @param {HTMLFormElement} form
 * @param {string} action
 */
function getButton(form, action) {
  const button = form.querySelector(`button[data-action="${action}"]`);
  if (!(button instanceof HTMLButtonElement)) {
    throw new Error(`The selection lacks its button “${action}”.`);
  }
  return button;
}

/** @param {Element | null | undefined} element */
function focusOn(element) {
  if (element instanceof HTMLElement) {
    element.focus();
  }
}

/**
 * Return whether the dates of the list are those of changes. In the filter of an action they would be
 * those of uploads, so it would find other images than are shown.
 */
function hasTimesOfChanges() {
  const search = new URLSearchParams(location.search);
  return search.get("sort") === "changed" && Boolean(search.get("since") || search.get("until"));
}

/** @param {HTMLElement} card */
function idOf(card) {
  return Number(card.dataset.imageId);
}
