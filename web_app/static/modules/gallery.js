// The gallery: loads more cards while one scrolls, updates pending cards, and opens the lightbox.

import { describeFailure, getPage, sendJSON } from "./api.js";
import { describeDelay } from "./delay.js";
import { Lightbox } from "./lightbox.js";
import { closestTarget, createAnnouncer, getPart, messageOf } from "./markup.js";
import { NewImages } from "./new_images.js";
import { Selection } from "./selection.js";
import { StatusPoller } from "./status_poller.js";
import { showToast } from "./toast.js";

const PREFETCH_MARGIN = "800px"; // Load the next page when its link is this close to the viewport.

/** @param {HTMLElement} root */
export function mount(root) {
  new Gallery(root);
}

export class Gallery {
  #isLoading = false;
  /** @type {HTMLElement | null} the card that had the focus last */
  current = null;
  /** @type {IntersectionObserver | null} */
  #observer = null;
  /** @type {Selection | null} null for a viewer without images */
  selection = null;
  /** @type {{ card: HTMLElement, before: Element | null }[]} removed cards, and their places */
  #removed = [];

  /** @param {HTMLElement} root */
  constructor(root) {
    this.cards = getPart(root, "cards");
    this.pager = getPart(root, "pager");
    this.delay = getPart(root, "delay");
    this.delayText = getPart(root, "delay-text");
    this.announce = createAnnouncer(getPart(root, "announcer"));
    this.poller = new StatusPoller();
    this.lightbox = new Lightbox(this);
    const form = root.querySelector('[data-part="selection"]');
    if (form instanceof HTMLFormElement) {
      this.selection = new Selection(this, form, document.querySelector('[data-part="select"]'));
    }
    this.#watchPending(this.allCards);
    this.cards.addEventListener("click", (event) => this.#openLightbox(event));
    this.cards.addEventListener("keydown", (event) => this.#moveFocus(event));
    this.cards.addEventListener(
      "focusin",
      (event) => this.#setTabStops(closestTarget(event, ".card")),
    );
    this.#setTabStops(null);
    this.cards.addEventListener("submit", (event) => this.#retry(event));
    this.#enhancePager();
    const button = root.querySelector('[data-part="new-images"]');
    if (button instanceof HTMLButtonElement) {
      new NewImages(button, { newestId: () => this.#newestId, add: () => this.#addNew() });
    }
  }

  get #newestId() {
    return Math.max(0, ...this.allCards.map(idOf));
  }

  /** Add the cards of the images that were uploaded since the list was shown. */
  async #addNew() {
    const page = await getPage(location.pathname + location.search);
    const newestId = this.#newestId;
    const fresh = cardsIn(page);
    const cards = fresh.filter((card) => idOf(card) > newestId);
    if (cards.length === fresh.length) {
      location.reload(); // There may be more between these and the ones that are shown.
      return;
    }
    this.cards.prepend(...cards);
    const count = page.querySelector("[data-gallery-count]");
    document.querySelector("[data-gallery-count]")?.replaceChildren(count?.textContent ?? "");
    this.#setTabStops(null);
    this.selection?.showOn();
    this.#watchPending(cards);
    this.announce(`Added ${cards.length} new ${cards.length === 1 ? "image" : "images"}.`);
    this.#focusTarget(cards[0])?.focus();
  }

  /** The cards in their order on the page. */
  get allCards() {
    return cardsIn(this.cards);
  }

  get hasMore() {
    return this.#nextLink !== null;
  }

  /** @returns {HTMLAnchorElement | null} */
  get #nextLink() {
    return this.pager.querySelector('a[rel="next"]');
  }

  /**
   * Make one card a stop of the Tab key. The arrow keys lead to the others, and the page of an
   * image has its tags.
   *
   * @param {HTMLElement | null} current null keeps the present one
   */
  #setTabStops(current) {
    this.current = current ?? this.current;
    const cards = this.allCards;
    const stop = cards.find((card) => card.dataset.imageId === this.current?.dataset.imageId) ??
      cards[0];
    for (const card of cards) {
      const target = this.#focusTarget(card);
      for (const each of card.querySelectorAll("a, .card__checkbox")) {
        /** @type {HTMLElement} */ (each).tabIndex = card === stop && each === target ? 0 : -1;
      }
    }
  }

  /** Adapt the stops of the Tab key after the selection began or ended. */
  updateTabStops() {
    this.#setTabStops(null);
  }

  /**
   * Return what gets the focus of a card: its checkbox while images are selected, else its link.
   *
   * @param {HTMLElement | undefined} card
   * @returns {HTMLElement | null}
   */
  #focusTarget(card) {
    const box = this.selection?.isActive ? card?.querySelector(".card__checkbox") : null;
    return /** @type {HTMLElement | null} */ (box ?? card?.querySelector(".card__link") ?? null);
  }

  /**
   * Return the card to which a key leads from another one.
   *
   * @param {HTMLElement} card
   * @param {string} key
   * @returns {HTMLElement | undefined}
   */
  neighbourOf(card, key) {
    return this.allCards[this.#indexFrom(card, key) ?? -1];
  }

  /**
   * @param {Element | null | undefined} card
   * @param {string} key
   * @returns {number | undefined} undefined if the key moves no focus
   */
  #indexFrom(card, key) {
    const columns = getComputedStyle(this.cards).gridTemplateColumns.split(" ").length;
    const index = this.allCards.findIndex((each) => each === card);
    const targets = {
      ArrowLeft: index - 1,
      ArrowRight: index + 1,
      ArrowUp: index - columns,
      ArrowDown: index + columns,
      Home: 0,
      End: this.allCards.length - 1,
    };
    return index < 0 ? undefined : targets[/** @type {keyof typeof targets} */ (key)];
  }

  /** @param {KeyboardEvent} event */
  async #moveFocus(event) {
    const card = closestTarget(event, ".card__link, .card__checkbox")?.closest(".card");
    const hasModifier = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    const target = this.#indexFrom(card, event.key);
    if (target === undefined || hasModifier) {
      return;
    }
    event.preventDefault();
    if (target >= this.allCards.length && this.hasMore) {
      await this.loadMore();
    }
    this.#focusTarget(this.allCards[target])?.focus();
  }

  #enhancePager() {
    const link = this.#nextLink;
    if (!link) {
      return;
    }
    link.setAttribute("role", "button");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) {
        return;
      }
      event.preventDefault();
      this.loadMore({ movesFocus: true });
    });
    link.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        event.preventDefault();
        this.loadMore({ movesFocus: true });
      }
    });
    this.#observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) {
          this.loadMore();
        }
      },
      { rootMargin: PREFETCH_MARGIN },
    );
    this.#observer.observe(link);
  }

  /** Fetch the next page of the gallery, and append its cards to this one. */
  async loadMore({ movesFocus = false } = {}) {
    const link = this.#nextLink;
    if (!link || this.#isLoading) {
      return;
    }
    this.#isLoading = true;
    link.textContent = "Loading more…";
    try {
      const page = await getPage(link.href);
      const shownIds = new Set(this.allCards.map((card) => card.dataset.imageId));
      const cards = cardsIn(page).filter((card) => !shownIds.has(card.dataset.imageId));
      this.cards.append(...cards);
      this.#setTabStops(null);
      this.selection?.showOn();
      this.#watchPending(cards);
      this.#observer?.unobserve(link);
      const next = page.querySelector('.pager a[rel="next"]');
      if (next) {
        link.href = next.getAttribute("href") ?? "";
        link.textContent = "Load more";
        this.#observer?.observe(link);
      } else {
        link.remove();
      }
      this.announce(describeLoaded(cards.length, next === null));
      if (movesFocus) {
        cards[0]?.querySelector("a")?.focus();
      }
    } catch (error) {
      // Keep the link, so that pressing it tries again.
      this.#observer?.unobserve(link);
      link.textContent = "Could not load more images. Try again";
      this.announce(messageOf(error));
    }
    this.#isLoading = false;
  }

  /** @param {HTMLElement[]} cards */
  #watchPending(cards) {
    for (const card of cards) {
      if (card.dataset.status === "pending") {
        this.#watch(idOf(card));
      }
    }
  }

  /** @param {number} id */
  #watch(id) {
    let isFirst = true;
    this.poller.watch(id, async (image) => {
      const card = this.#findCard(id);
      if (!card) {
        return;
      }
      if (!image) {
        card.remove();
        this.#setTabStops(null);
        return;
      }
      // The first response usually describes what the page already shows.
      const version = Date.parse(card.dataset.version ?? "");
      const isNew = !isFirst || Date.parse(image.updated_at) !== version;
      isFirst = false;
      if (isNew || image.status !== "pending") {
        await this.refresh(id);
        if (image.status === "completed" && image.annotation) {
          this.announce(`New caption: ${image.annotation}`);
        } else if (image.status === "failed") {
          this.announce(`${image.filename}: ${describeFailure(image)}`);
        }
      }
    });
  }

  /**
   * @param {number} id
   * @returns {HTMLElement | null}
   */
  #findCard(id) {
    return this.cards.querySelector(`.card[data-image-id="${id}"]`);
  }

  /**
   * Replace a card by the version that the server renders now.
   *
   * @param {number} id
   */
  async refresh(id) {
    // The link of the card keeps the search and the page of the gallery.
    const link = this.#findCard(id)?.querySelector(".card__link");
    const place = link instanceof HTMLAnchorElement ? link.search : "";
    const page = await getPage(`/images/${id}/card${place}`);
    const [old, fresh] = [this.#findCard(id), page.querySelector(".card")];
    if (!old || !fresh) {
      return;
    }
    const hadFocus = old.contains(document.activeElement);
    old.replaceWith(fresh);
    this.#setTabStops(null);
    this.selection?.showOn();
    this.#showDelay();
    if (hadFocus && fresh instanceof HTMLElement) {
      this.#focusTarget(fresh)?.focus();
    }
  }

  /**
   * Show images again that were changed, one after the other, and watch those that are pending.
   *
   * @param {number[]} ids
   */
  async refreshAll(ids) {
    for (const id of ids) {
      if (this.#findCard(id)) {
        await this.refresh(id);
        this.#watchPending([this.#findCard(id)].filter((card) => card !== null));
      }
    }
  }

  /**
   * Remove the cards of deleted images. `restoreCards` can put them back.
   *
   * @param {number[]} ids
   */
  removeCards(ids) {
    this.#removed = [];
    for (const id of ids) {
      const card = this.#findCard(id);
      if (card) {
        this.#removed.push({ card, before: card.nextElementSibling });
        this.poller.unwatch(id);
        card.remove();
      }
    }
    this.#setTabStops(null);
  }

  /**
   * Put removed cards back.
   *
   * @param {number[]} ids
   */
  restoreCards(ids) {
    // In the opposite order, because the card after one may have been removed later.
    for (const { card, before } of this.#removed.reverse()) {
      if (ids.includes(idOf(card))) {
        this.cards.insertBefore(card, before?.parentNode === this.cards ? before : null);
        this.#watchPending([card]);
      }
    }
    this.#removed = [];
    this.#setTabStops(null);
  }

  /** Say once, above all cards, why captions are delayed. */
  #showDelay() {
    const delays = this.allCards.flatMap((card) => card.dataset.delay ?? []);
    const text = delays.length > 0 ? `${delays[0]} ${describeDelay(delays.length)}` : "";
    this.delay.hidden = !text;
    if (this.delayText.textContent !== text) {
      this.delayText.textContent = text;
      this.announce(text);
    }
  }

  /** @param {SubmitEvent} event */
  async #retry(event) {
    const card = closestTarget(event, '[data-action="retry"]')?.closest(".card");
    if (!(card instanceof HTMLElement)) {
      return;
    }
    event.preventDefault();
    const id = idOf(card);
    if (event.submitter instanceof HTMLButtonElement) {
      event.submitter.disabled = true;
    }
    try {
      await sendJSON("POST", `/api/images/${id}/retry`);
      showToast("Trying again…");
    } catch (error) {
      showToast(messageOf(error), { isError: true });
    }
    await this.refresh(id);
    this.#watch(id);
  }

  /** @param {MouseEvent} event */
  #openLightbox(event) {
    const card = closestTarget(event, ".card__link")?.closest(".card");
    const hasModifier = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (card instanceof HTMLElement && event.button === 0 && !hasModifier) {
      event.preventDefault();
      this.lightbox.open(card);
    }
  }
}

/**
 * @param {ParentNode} root
 * @returns {HTMLElement[]}
 */
function cardsIn(root) {
  return [...root.querySelectorAll(".card")].filter((card) => card instanceof HTMLElement);
}

/**
 * @param {number} count
 * @param {boolean} isLast
 */
function describeLoaded(count, isLast) {
  const loaded = `Loaded ${count} more ${count === 1 ? "image" : "images"}.`;
  return isLast ? `${loaded} There are no more.` : loaded;
}

/** @param {HTMLElement} card */
function idOf(card) {
  return Number(card.dataset.imageId);
}
