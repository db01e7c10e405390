// The gallery: more cards as one scrolls, cards that keep themselves up to date, a lightbox.

import { getPage, sendJSON } from "./api.js";
import { Lightbox } from "./lightbox.js";
import { announcer, part } from "./markup.js";
import { StatusPoller } from "./status_poller.js";

const AHEAD = "800px"; // More is fetched this long before the end comes into sight.

export function mount(root) {
  new Gallery(root);
}

class Gallery {
  #isLoading = false;

  constructor(root) {
    this.cards = part(root, "cards");
    this.pager = part(root, "pager");
    this.announce = announcer(part(root, "announcer"));
    this.poller = new StatusPoller();
    this.lightbox = new Lightbox(this);
    this.#watchAll(this.cards.children);
    this.cards.addEventListener("click", (event) => this.#openLightbox(event));
    this.cards.addEventListener("submit", (event) => this.#retry(event));
    this.#enhancePager();
  }

  /** Cards in their order, for the lightbox. */
  get all() {
    return [...this.cards.querySelectorAll("[data-image-id].card")];
  }

  get hasMore() {
    return Boolean(this.#nextLink);
  }

  get #nextLink() {
    return this.pager.querySelector('a[rel="next"]');
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
    this.observer ??= new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && this.loadMore(),
      { rootMargin: AHEAD },
    );
    this.observer.observe(link);
  }

  /** Fetch the page that "Load more" links to, and take its cards and its own such link. */
  async loadMore({ movesFocus = false } = {}) {
    const link = this.#nextLink;
    if (!link || this.#isLoading) {
      return;
    }
    this.#isLoading = true;
    link.textContent = "Loading more…";
    try {
      const page = await getPage(link.href);
      const shown = new Set(this.all.map((card) => card.dataset.imageId));
      const cards = [...page.querySelectorAll(".gallery > .card")].filter(
        (card) => !shown.has(card.dataset.imageId),
      );
      this.cards.append(...cards);
      this.#watchAll(cards);
      this.observer.unobserve(link);
      const next = page.querySelector('.pager a[rel="next"]');
      if (next) {
        link.href = next.getAttribute("href");
        link.textContent = "Load more";
        this.observer.observe(link);
      } else {
        link.remove();
      }
      this.announce(`${cards.length} more images${next ? "" : ", and these were the last"}.`);
      if (movesFocus) {
        cards[0]?.querySelector("a")?.focus();
      }
    } catch (error) {
      // The link stays: pressing it tries again.
      this.observer.unobserve(link);
      link.textContent = "Could not load more. Try again";
      this.announce(error.message);
    }
    this.#isLoading = false;
  }

  #watchAll(cards) {
    for (const card of cards) {
      if (card.dataset.status === "pending") {
        this.#watch(card.dataset.imageId);
      }
    }
  }

  #watch(id) {
    let isFirst = true;
    this.poller.watch(id, async (image) => {
      const card = this.#card(id);
      if (!card) {
        return;
      }
      if (!image) {
        card.remove();
        return;
      }
      // The first answer usually tells what the page shows already.
      const isNews = !isFirst || Date.parse(image.updated_at) !== Date.parse(card.dataset.version);
      isFirst = false;
      if (isNews || image.status !== "pending") {
        await this.refresh(id);
        if (image.status === "completed" && image.annotation) {
          this.announce(`New caption: ${image.annotation}`);
        } else if (image.status === "failed") {
          this.announce(`${image.filename} failed.`);
        }
      }
    });
  }

  #card(id) {
    return this.cards.querySelector(`.card[data-image-id="${Number(id)}"]`);
  }

  /** Replace one card by what the server now renders for it. */
  async refresh(id) {
    const page = await getPage(`/images/${Number(id)}/card`);
    const [old, fresh] = [this.#card(id), page.querySelector(".card")];
    if (!old || !fresh) {
      return;
    }
    const hadFocus = old.contains(document.activeElement);
    old.replaceWith(fresh);
    if (hadFocus) {
      fresh.querySelector("a").focus();
    }
  }

  async #retry(event) {
    if (event.target.dataset.action !== "retry") {
      return;
    }
    event.preventDefault();
    const card = event.target.closest(".card");
    const id = card.dataset.imageId;
    event.submitter.disabled = true;
    try {
      await sendJSON("POST", `/api/images/${id}/retry`);
      this.announce("It is tried again.");
    } catch (error) {
      this.announce(error.message);
    }
    await this.refresh(id);
    this.#watch(id);
  }

  #openLightbox(event) {
    const link = event.target.closest(".card__link");
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (link && isPlain && !event.altKey) {
      event.preventDefault();
      this.lightbox.open(link.closest(".card"));
    }
  }
}
