// One image, large, over the gallery: arrow keys and swipes turn to its neighbours, Escape closes.

import { getJSON } from "./api.js";
import { element, icon } from "./markup.js";

const SWIPE_PIXELS = 50;

export class Lightbox {
  #card = null;
  #isTurning = false;

  /** `gallery` gives the cards in order (`all`), `hasMore` and `loadMore()`. */
  constructor(gallery) {
    this.gallery = gallery;
    this.#build();
    this.#listen();
  }

  open(card) {
    this.#show(card);
    this.dialog.showModal();
    this.stage.focus({ preventScroll: true });
  }

  #build() {
    this.stage = element("div", { className: "lightbox__stage", tabIndex: -1 });
    this.caption = element("p", { className: "lightbox__caption", id: "lightbox-caption" });
    this.note = element("p", { className: "lightbox__note" });
    this.position = element("p", { className: "lightbox__position" });
    this.page = element("a", { className: "lightbox__link" }, "Details");
    this.previous = button("previous", "Previous image", "lightbox__step lightbox__step--previous");
    this.next = button("next", "Next image", "lightbox__step lightbox__step--next");
    this.closer = button("close", "Close", "lightbox__close");
    const words = element("div", { className: "lightbox__text" }, this.caption, this.note);
    words.setAttribute("aria-live", "polite");
    const bar = element(
      "div",
      { className: "lightbox__bar" },
      this.position,
      this.page,
      this.closer,
    );
    this.dialog = element(
      "dialog",
      { className: "lightbox" },
      bar,
      this.previous,
      this.stage,
      this.next,
      words,
    );
    this.dialog.setAttribute("aria-label", "Image viewer");
    document.body.append(this.dialog);
  }

  #listen() {
    this.previous.addEventListener("click", () => this.#turn(-1));
    this.next.addEventListener("click", () => this.#turn(1));
    this.closer.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.#returnFocus());
    this.dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.#turn(step);
      }
    });
    this.#listenForSwipes();
  }

  #listenForSwipes() {
    let start = null;
    let isSwipe = false;
    this.stage.addEventListener("pointerdown", (event) => {
      start = event.isPrimary ? { x: event.clientX, y: event.clientY } : null;
    });
    this.stage.addEventListener("pointerup", (event) => {
      const across = start ? event.clientX - start.x : 0;
      const down = start ? event.clientY - start.y : 0;
      start = null;
      isSwipe = Math.abs(across) > SWIPE_PIXELS && Math.abs(across) > 2 * Math.abs(down);
      if (isSwipe) {
        this.#turn(across < 0 ? 1 : -1);
      }
    });
    this.stage.addEventListener("pointercancel", () => {
      start = null;
    });
    this.stage.addEventListener("click", (event) => {
      // Beside the image; a swipe ends in a click as well, which means nothing more.
      if (event.target === this.stage && !isSwipe) {
        this.dialog.close();
      }
      isSwipe = false;
    });
  }

  async #turn(step) {
    if (this.#isTurning) {
      return;
    }
    this.#isTurning = true;
    try {
      const at = this.#index();
      if (step > 0 && at >= this.gallery.all.length - 3 && this.gallery.hasMore) {
        await this.gallery.loadMore();
      }
      const card = this.gallery.all[at + step];
      if (card) {
        this.#show(card);
      }
    } finally {
      this.#isTurning = false;
    }
  }

  #index() {
    // By id: the card itself may have been replaced by a newer one.
    return this.gallery.all.findIndex((card) =>
      card.dataset.imageId === this.#card.dataset.imageId
    );
  }

  async #show(card) {
    this.#card = card;
    const id = card.dataset.imageId;
    const link = card.querySelector(".card__link");
    const thumbnail = card.querySelector("img.thumbnail");
    // What the card knows is there at once; nothing of the image before is left standing.
    this.page.setAttribute("href", link.getAttribute("href"));
    this.caption.textContent = card.querySelector(".caption")?.textContent.trim() ?? "";
    this.note.textContent = card.querySelector(".error-message")?.textContent.trim() ?? "";
    this.note.hidden = !this.note.textContent;
    this.stage.replaceChildren(
      thumbnail ? pictureOf(thumbnail) : element("p", {}, "No thumbnail yet"),
    );
    const [at, count] = [this.#index(), this.gallery.all.length];
    this.position.textContent = `${at + 1} of ${count}${this.gallery.hasMore ? "+" : ""}`;
    for (
      const [control, isEnd] of [
        [this.previous, at === 0],
        [this.next, at === count - 1 && !this.gallery.hasMore],
      ]
    ) {
      if (isEnd && control === document.activeElement) {
        this.stage.focus();
      }
      control.disabled = isEnd;
    }
    try {
      this.#showOriginal(id, await getJSON(`/api/image_status/${id}`, { fresh: true }));
    } catch {
      // The thumbnail stays; the image's own page tells more.
    }
  }

  /** Lay the original over the thumbnail once it is there. */
  #showOriginal(id, image) {
    const picture = this.stage.querySelector(".lightbox__frame");
    if (id !== this.#card.dataset.imageId || !picture || !image.original_url) {
      return; // The person has turned on meanwhile.
    }
    picture.firstElementChild.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    picture.firstElementChild.setAttribute("width", image.width);
    picture.firstElementChild.setAttribute("height", image.height);
    const original = element("img", {
      className: "lightbox__image lightbox__image--original",
      alt: "",
      decoding: "async",
      draggable: false,
    });
    original.addEventListener("load", () => original.classList.add("lightbox__image--loaded"));
    original.addEventListener("error", () => original.remove());
    original.src = image.original_url;
    picture.append(original);
  }

  #returnFocus() {
    this.stage.replaceChildren(); // A large image need not stay in memory.
    const card = this.gallery.all[this.#index()];
    card?.querySelector(".card__link").focus();
  }
}

function pictureOf(thumbnail) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  shape.setAttribute("class", "lightbox__shape");
  shape.setAttribute("aria-hidden", "true");
  const [width, height] = [thumbnail.getAttribute("width"), thumbnail.getAttribute("height")];
  shape.setAttribute("viewBox", `0 0 ${width} ${height}`);
  shape.setAttribute("width", width * 3);
  shape.setAttribute("height", height * 3);
  const image = element("img", {
    className: "lightbox__image",
    src: thumbnail.src,
    alt: thumbnail.alt,
    draggable: false,
  });
  image.dataset.link = "thumbnail";
  image.dataset.imageId = thumbnail.dataset.imageId;
  return element("div", { className: "lightbox__frame" }, shape, image);
}

function button(name, label, className) {
  const made = element("button", { type: "button", className }, icon(name));
  made.setAttribute("aria-label", label);
  made.title = label;
  return made;
}
