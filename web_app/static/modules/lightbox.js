// Shows one image of the gallery in the whole window. Arrow keys, swipes and buttons show the
// previous and the next image; Escape closes the lightbox. Each image has an address, and the
// browser's Back closes the lightbox.

import { getJSON } from "./api.js";
import { asHTML, asMarkdown, canCopy, copy, linkedImage } from "./copying.js";
import { createElement, createIcon, createShape, messageOf } from "./markup.js";

const MIN_SWIPE_PIXELS = 50;
const PREFETCH_CARDS = 3; // Load more cards when so few are left.
const SHAPE_SCALE = 3; // The size of a thumbnail in the lightbox, compared with the gallery.

const IN_SENTENCES = { Caption: "caption", "Alt text": "alt text" };
const ADDRESS = /^#image-(\d+)$/;

/** @typedef {import("./api.js").ImageStatus} ImageStatus */
/** @typedef {import("./gallery.js").Gallery} Gallery */

export class Lightbox {
  /** @type {HTMLElement | null} */
  #card = null;
  #isStepping = false;

  /** @param {Gallery} gallery */
  constructor(gallery) {
    this.gallery = gallery;
    this.stage = createElement("div", { className: "lightbox__stage", tabIndex: -1 });
    this.caption = createElement("p", {
      className: "lightbox__caption",
      id: "lightbox-caption",
      dir: "auto",
    });
    this.altText = createElement("p", { className: "lightbox__alt", dir: "auto" });
    this.language = createElement("p", { className: "lightbox__alt" });
    this.note = createElement("p", { className: "lightbox__note" });
    this.copyButtons = ["Caption", "Alt text", "HTML", "Markdown"].map((name) =>
      this.#createCopyButton(name)
    );
    this.copyResult = createElement("p", { className: "lightbox__result" });
    this.position = createElement("p", { className: "lightbox__position" });
    this.detailsLink = createElement("a", { className: "lightbox__link" }, "Details");
    this.newCaptionLink = createElement("a", { className: "lightbox__link" }, "New caption");
    this.previous = createButton(
      "previous",
      "Previous image",
      "lightbox__step lightbox__step--previous",
    );
    this.next = createButton("next", "Next image", "lightbox__step lightbox__step--next");
    this.closeButton = createButton("close", "Close", "lightbox__close");
    this.dialog = this.#createDialog();
    this.#listen();
    this.#followAddress();
  }

  /** @param {HTMLElement} card */
  open(card) {
    // Closing moves the focus, and so the page, to the last shown card.
    history.scrollRestoration = "manual";
    history.pushState({ isLightbox: true }, "", addressOf(card));
    this.#open(card);
  }

  /** @param {HTMLElement} card */
  #open(card) {
    this.#show(card);
    // Its link has no address before an image is shown.
    if (!this.dialog.isConnected) {
      document.body.append(this.dialog);
    }
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.stage.focus({ preventScroll: true });
    }
  }

  /** Show the image that the address names, or close. */
  #followAddress() {
    const id = ADDRESS.exec(location.hash)?.[1];
    const card = this.gallery.allCards.find((each) => each.dataset.imageId === id);
    if (card) {
      this.#open(card);
    } else if (id) {
      location.replace(`/images/${id}`); // It is on another page of the gallery.
    } else {
      history.scrollRestoration = "auto";
      this.dialog.close();
    }
  }

  #createDialog() {
    const text = createElement(
      "div",
      { className: "lightbox__text" },
      this.caption,
      this.altText,
      this.language,
      this.note,
    );
    // A screen reader pronounces the caption in its language, so it need not read the name.
    this.language.setAttribute("aria-live", "off");
    text.setAttribute("aria-live", "polite");
    // A long caption scrolls, which the keyboard can do only in an element with the focus.
    text.tabIndex = 0;
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", "Caption");
    const copies = createElement("div", { className: "lightbox__copies" }, ...this.copyButtons);
    copies.setAttribute("role", "group");
    copies.setAttribute("aria-label", "Copy");
    // The messages of the page are behind this dialog.
    this.copyResult.setAttribute("role", "status");
    copies.append(this.copyResult);
    const bar = createElement(
      "div",
      { className: "lightbox__bar" },
      this.position,
      this.newCaptionLink,
      this.detailsLink,
      this.closeButton,
    );
    const dialog = createElement(
      "dialog",
      { className: "lightbox" },
      bar,
      this.previous,
      this.stage,
      this.next,
      text,
      ...(canCopy() ? [copies] : []),
    );
    dialog.setAttribute("aria-label", "Image viewer");
    return dialog;
  }

  #listen() {
    this.previous.addEventListener("click", () => this.#step(-1));
    this.next.addEventListener("click", () => this.#step(1));
    this.closeButton.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.#handleClose());
    globalThis.addEventListener("popstate", () => this.#followAddress());
    this.dialog.addEventListener("keydown", (event) => {
      const hasModifier = event.altKey || event.ctrlKey || event.metaKey;
      if (["ArrowLeft", "ArrowRight"].includes(event.key) && !hasModifier) {
        event.preventDefault();
        this.#step(event.key === "ArrowLeft" ? -1 : 1);
      }
    });
    this.#listenForSwipes();
  }

  #listenForSwipes() {
    /** @type {{ x: number, y: number } | null} */
    let start = null;
    let isSwipe = false;
    this.stage.addEventListener("pointerdown", (event) => {
      start = event.isPrimary ? { x: event.clientX, y: event.clientY } : null;
    });
    this.stage.addEventListener("pointerup", (event) => {
      const x = start ? event.clientX - start.x : 0;
      const y = start ? event.clientY - start.y : 0;
      start = null;
      isSwipe = Math.abs(x) > MIN_SWIPE_PIXELS && Math.abs(x) > 2 * Math.abs(y);
      if (isSwipe) {
        this.#step(x < 0 ? 1 : -1);
      }
    });
    this.stage.addEventListener("pointercancel", () => {
      start = null;
    });
    this.stage.addEventListener("click", (event) => {
      // A click beside the image closes the lightbox. The click at the end of a swipe does not.
      if (event.target === this.stage && !isSwipe) {
        this.dialog.close();
      }
      isSwipe = false;
    });
  }

  /** @param {-1 | 1} step */
  async #step(step) {
    if (this.#isStepping) {
      return;
    }
    this.#isStepping = true;
    try {
      const index = this.#index();
      const isNearEnd = index >= this.gallery.allCards.length - PREFETCH_CARDS;
      if (step > 0 && isNearEnd && this.gallery.hasMore) {
        await this.gallery.loadMore();
      }
      const card = this.gallery.allCards[index + step];
      if (card) {
        history.replaceState(history.state, "", addressOf(card));
        this.#show(card);
      }
    } finally {
      this.#isStepping = false;
    }
  }

  /** Return the index of the shown card. Compare ids, because a refresh replaces the card. */
  #index() {
    return this.gallery.allCards.findIndex((card) =>
      card.dataset.imageId === this.#card?.dataset.imageId
    );
  }

  /** @param {HTMLElement} card */
  async #show(card) {
    this.#card = card;
    this.#showCard(card);
    this.#showPosition();
    const id = card.dataset.imageId;
    try {
      const image = await getJSON(`/api/image_status/${id}`, { fresh: true });
      if (id === this.#card.dataset.imageId) {
        this.#showPreview(image);
      }
    } catch {
      // Keep the thumbnail. The page of the image shows the error.
    }
  }

  /**
   * Show what the card contains at once, so that nothing of the previous image remains.
   *
   * @param {HTMLElement} card
   */
  #showCard(card) {
    const thumbnail = card.querySelector("img.thumbnail");
    this.detailsLink.href = card.querySelector(".card__link")?.getAttribute("href") ?? "";
    this.caption.textContent = textIn(card, ".caption");
    this.caption.lang = card.querySelector(".caption")?.getAttribute("lang") ?? "";
    this.altText.textContent = describeAltText(card);
    this.altText.hidden = !this.altText.textContent;
    const { language, canDescribe } = card.dataset;
    this.language.textContent = language ? `Language: ${language}` : "";
    this.language.hidden = !language;
    this.newCaptionLink.href = `${this.detailsLink.href}#new-caption`;
    this.#setHidden(this.newCaptionLink, canDescribe === undefined);
    this.copyResult.textContent = "";
    const texts = textsToCopy(card);
    for (const button of this.copyButtons) {
      this.#setHidden(button, !texts[button.name]);
    }
    this.note.textContent = textIn(card, ".error-message");
    this.note.hidden = !this.note.textContent;
    this.stage.replaceChildren(
      thumbnail instanceof HTMLImageElement
        ? createFrame(thumbnail)
        : createElement("p", {}, "No thumbnail yet"),
    );
  }

  #showPosition() {
    const [index, count] = [this.#index(), this.gallery.allCards.length];
    this.position.textContent = `${index + 1} of ${count}${this.gallery.hasMore ? "+" : ""}`;
    this.#setDisabled(this.previous, index === 0);
    this.#setDisabled(this.next, index === count - 1 && !this.gallery.hasMore);
  }

  /** @param {string} name */
  #createCopyButton(name) {
    const label = `Copy ${/** @type {Record<string, string>} */ (IN_SENTENCES)[name] ?? name}`;
    const properties = { type: /** @type {const} */ ("button"), className: "lightbox__copy", name };
    const button = createElement("button", properties, createIcon("copy"), ` ${label}`);
    button.addEventListener("click", () => this.#copy(name));
    return button;
  }

  /** @param {string} name */
  async #copy(name) {
    const card = this.#card;
    try {
      const result = await copy(name, card ? textsToCopy(card)[name] : "");
      this.copyResult.textContent = card === this.#card ? result : "";
    } catch (error) {
      this.copyResult.textContent = messageOf(error);
    }
  }

  /**
   * @param {HTMLElement} control
   * @param {boolean} isHidden
   */
  #setHidden(control, isHidden) {
    if (isHidden && control === document.activeElement) {
      this.stage.focus(); // A hidden control loses the focus.
    }
    control.hidden = isHidden;
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {boolean} isDisabled
   */
  #setDisabled(button, isDisabled) {
    if (isDisabled && button === document.activeElement) {
      this.stage.focus(); // A disabled button loses the focus.
    }
    button.disabled = isDisabled;
  }

  /**
   * Show the preview above the thumbnail when it has loaded. The thumbnail is cropped, so the
   * shape of the whole image replaces its shape.
   *
   * @param {ImageStatus} image
   */
  #showPreview(image) {
    const frame = this.stage.querySelector(".lightbox__frame");
    if (!frame || !image.preview_url || !image.preview_srcset) {
      return;
    }
    const shape = frame.firstElementChild;
    shape?.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    shape?.setAttribute("width", String(image.width));
    shape?.setAttribute("height", String(image.height));
    const preview = createElement("img", {
      className: "lightbox__image lightbox__image--preview",
      alt: "",
      decoding: "async",
      draggable: false,
    });
    preview.addEventListener("load", () => preview.classList.add("lightbox__image--loaded"));
    preview.addEventListener("error", () => preview.remove());
    preview.sizes = `min(100vw, calc(100vh * ${image.width / image.height}))`;
    preview.srcset = image.preview_srcset;
    preview.src = image.preview_url;
    frame.append(preview);
  }

  #handleClose() {
    this.stage.replaceChildren(); // Free the memory of a large image.
    const link = this.gallery.allCards[this.#index()]?.querySelector(".card__link");
    if (link instanceof HTMLElement) {
      link.focus();
    }
    if (ADDRESS.test(location.hash)) {
      this.#leaveAddress();
    }
  }

  #leaveAddress() {
    if (history.state?.isLightbox) {
      history.back();
    } else {
      history.replaceState(null, "", location.pathname + location.search);
    }
  }
}

/**
 * Return the texts that can be copied, by their names. A text that is missing is empty.
 *
 * @param {HTMLElement} card
 * @returns {Record<string, string>}
 */
function textsToCopy(card) {
  const caption = textIn(card, ".caption[lang]"); // Not the note that a caption is being written.
  const altText = card.dataset.altText ?? "";
  const isDecorative = card.dataset.decorative !== undefined;
  const alt = isDecorative ? "" : altText || caption;
  const image = linkedImage(card.dataset.imageId ?? "", alt, card.dataset);
  // Until there is a preview, its address shows a cropped copy.
  const hasPreview = (alt || isDecorative) && card.dataset.previewWidth;
  return {
    Caption: caption,
    "Alt text": altText,
    HTML: hasPreview ? asHTML(image) : "",
    Markdown: hasPreview ? asMarkdown(image) : "",
  };
}

/** @param {HTMLElement} card */
function describeAltText(card) {
  if (card.dataset.decorative !== undefined) {
    return "Decorative: no alt text.";
  }
  return card.dataset.altText ? `Alt text: ${card.dataset.altText}` : "";
}

/** @param {HTMLElement} card */
function addressOf(card) {
  return `#image-${card.dataset.imageId}`;
}

/**
 * Create the frame of an image from its thumbnail. The shape gives the frame its size.
 *
 * @param {HTMLImageElement} thumbnail
 */
function createFrame(thumbnail) {
  const width = Number(thumbnail.getAttribute("width"));
  const height = Number(thumbnail.getAttribute("height"));
  const shape = createShape("lightbox__shape");
  shape.setAttribute("viewBox", `0 0 ${width} ${height}`);
  shape.setAttribute("width", String(width * SHAPE_SCALE));
  shape.setAttribute("height", String(height * SHAPE_SCALE));
  const image = createElement("img", {
    className: "lightbox__image",
    src: thumbnail.src,
    alt: thumbnail.alt,
    draggable: false,
  });
  image.dataset.link = "thumbnail";
  image.dataset.imageId = thumbnail.dataset.imageId;
  return createElement("div", { className: "lightbox__frame" }, shape, image);
}

/**
 * @param {string} icon
 * @param {string} label
 * @param {string} className
 */
function createButton(icon, label, className) {
  const button = createElement("button", { type: "button", className }, createIcon(icon));
  button.setAttribute("aria-label", label);
  button.title = label;
  return button;
}

/**
 * @param {HTMLElement} card
 * @param {string} selector
 */
function textIn(card, selector) {
  return card.querySelector(selector)?.textContent?.trim() ?? "";
}
