// The page of one image: shows a new caption when it arrives, and edits the texts in place.

import { APIError, describeFailure, getJSON, getPage, sendJSON } from "./api.js";
import { readOptions } from "./caption_options.js";
import { mount as mountConfirmation } from "./confirm_dialog.js";
import { asHTML, asMarkdown, canCopy, copy, linkedImage } from "./copying.js";
import { discardDraft, readDraft, writeDraft } from "./drafts.js";
import { closestTarget, getNumber, getPart, messageOf } from "./markup.js";
import { StatusPoller } from "./status_poller.js";
import { showToast } from "./toast.js";

/** @type {Record<string, string>} */
const RESTORED = {
  annotation: "The caption is the AI version again.",
  alt_text: "The alt text is the AI version again.",
  tags: "The tags are the AI version again.",
};

// The keys that open the image before and the image after this one.
/** @type {Record<string, "prev" | "next">} */
const STEPS = { k: "prev", ArrowLeft: "prev", j: "next", ArrowRight: "next" };

/** @param {HTMLElement} root */
export function mount(root) {
  new ImagePage(root);
}

/** @param {KeyboardEvent} event */
function followKey(event) {
  const step = STEPS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const hasModifier = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  const isElsewhere = closestTarget(event, "input, textarea, select, [contenteditable], dialog");
  if (step && !hasModifier && !isElsewhere && !event.defaultPrevented) {
    const link = document.querySelector(`.breadcrumb a[rel="${step}"]`);
    if (link instanceof HTMLAnchorElement) {
      link.click();
    }
  }
}

class ImagePage {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.id = getNumber(root, "imageId");
    this.url = `/api/images/${this.id}`;
    this.poller = new StatusPoller();
    /** @type {Record<string, (form: HTMLFormElement) => Promise<void>>} */
    this.actions = {
      retry: () => this.#change("POST", `${this.url}/retry`, undefined, "Trying again…"),
      regenerate: (form) =>
        this.#change(
          "POST",
          `${this.url}/retry`,
          { regenerate: true, ...readOptions(form) },
          "Writing a new caption…",
        ),
      restore: (form) => this.#restore(form),
      "restore-language": (form) => this.#restoreLanguage(form),
      "restore-version": (form) => this.#restoreVersion(form),
      edit: (form) => this.#save(form),
    };
    root.addEventListener("submit", (event) => this.#handleSubmit(event));
    root.addEventListener("click", (event) => this.#handleClick(event));
    root.addEventListener("input", (event) => this.#keepDraft(event));
    document.addEventListener("keydown", (event) => followKey(event));
    this.#prepareView();
    this.#openNewCaption();
  }

  /** @returns {HTMLDetailsElement | null} */
  get #earlierTexts() {
    return this.root.querySelector('[data-part="earlier-texts"]');
  }

  /** @returns {HTMLDetailsElement | null} */
  get #editor() {
    return this.root.querySelector("[data-editor]");
  }

  /** Prepare the part of the page that is replaced after each change. */
  #prepareView() {
    const view = getPart(this.root, "view");
    const names = ["clear", "cancel", ...(canCopy() ? ["copy"] : [])];
    for (const button of view.querySelectorAll("button[data-action]")) {
      if (button instanceof HTMLElement && names.includes(button.dataset.action ?? "")) {
        button.hidden = false;
      }
    }
    const image = view.querySelector("img.frame__image");
    const frame = view.querySelector("[data-frame]");
    if (image instanceof HTMLImageElement && frame instanceof HTMLElement && isFromGallery()) {
      // Show the thumbnail until the preview is loaded. Only a visitor from the gallery has loaded
      // it already; for others it would delay the preview.
      frame.style.setProperty("background-image", `url("${image.src}")`);
    }
    if (view.dataset.status === "pending") {
      this.#watch(view.dataset.version ?? "");
    }
    this.#restoreDraft();
  }

  /** Open the form for a new caption if the address names it, as the link of the lightbox does. */
  #openNewCaption() {
    const form = this.root.querySelector('[data-part="new-caption"]');
    if (form instanceof HTMLDetailsElement && location.hash === `#${form.id}`) {
      form.open = true;
      form.querySelector("summary")?.focus();
    }
  }

  /** @param {Event} event */
  #keepDraft(event) {
    const form = closestTarget(event, '[data-action="edit"]');
    if (form instanceof HTMLFormElement) {
      const { annotation, altText, tags, version } = editorFields(form);
      const fields = [annotation, altText, tags, version, ...translationFields(form)];
      writeDraft(this.id, Object.fromEntries(fields.map(({ name, value }) => [name, value])));
    }
  }

  #restoreDraft() {
    const [draft, editor] = [readDraft(this.id), this.#editor];
    const form = editor?.querySelector("form");
    // An open editor has newer texts than the draft.
    if (!draft || !editor || !form || editor.open) {
      return;
    }
    const { annotation, altText, tags, version } = editorFields(form);
    const texts = [annotation, altText, tags, ...translationFields(form)];
    if (texts.every(({ name, value }) => value === draft[name])) {
      discardDraft(this.id);
      return;
    }
    // With its version, so that a draft of older texts does not replace newer ones unnoticed.
    for (const field of [...texts, version]) {
      field.value = draft[field.name] ?? field.value;
    }
    editor.open = true;
    getPart(form, "draft").hidden = false;
  }

  /** @param {string} version the `updated_at` that the page shows */
  #watch(version) {
    this.poller.watch(this.id, async (image) => {
      if (!image) {
        location.assign("/gallery");
        return;
      }
      if (image.status === "pending" && Date.parse(image.updated_at) === Date.parse(version)) {
        return; // The page shows this version already.
      }
      version = image.updated_at;
      await this.#refresh();
      if (image.status !== "pending") {
        showToast(describeEnd(image), { isError: image.status === "failed" });
      }
    });
  }

  /**
   * Replace the view by the version that the server renders now.
   *
   * @param {{ keepsEditor?: boolean }} [options] `keepsEditor` leaves an open editor and its text
   *   in place
   */
  async #refresh({ keepsEditor = true } = {}) {
    // After a conflict, the address is the one of the form.
    const page = await getPage(`/images/${this.id}${location.search}`);
    await waitUntilClosed(this.root.querySelector("dialog[open]"));
    const [old, fresh] = [getPart(this.root, "view"), getPart(page, "view")];
    const focused = document.activeElement;
    const hadFocus = old.contains(focused);
    const editor = keepsEditor && this.#editor?.open ? this.#editor : null;
    if (editor) {
      fresh.querySelector("[data-editor]")?.replaceWith(editor);
    }
    const editorHadFocus = editor?.contains(focused) ?? false;
    const isOpen = this.#earlierTexts?.open;
    old.replaceWith(fresh);
    if (this.#earlierTexts && isOpen) {
      this.#earlierTexts.open = true;
    }
    for (const details of fresh.querySelectorAll('[data-module="confirm-dialog"]')) {
      mountConfirmation(/** @type {HTMLElement} */ (details));
    }
    if (fresh.dataset.status !== "pending") {
      this.poller.unwatch(this.id);
    }
    this.#prepareView();
    if (editorHadFocus) {
      focusOn(focused);
    } else if (hadFocus) {
      const action = focused?.closest("[data-action]")?.getAttribute("data-action");
      const button = action && fresh.querySelector(`[data-action="${action}"] button`);
      focusOn(button || fresh.querySelector(".editor__summary"));
    }
  }

  /** @param {SubmitEvent} event */
  #handleSubmit(event) {
    const form = event.target;
    if (!(form instanceof HTMLFormElement)) {
      return;
    }
    const act = this.actions[form.dataset.action ?? ""];
    if (!act) {
      return;
    }
    event.preventDefault();
    const button = form.querySelector('button[type="submit"]');
    if (button?.getAttribute("aria-disabled") !== "true") {
      this.#runOnce(button, () => act(form));
    }
  }

  /**
   * Run an action once, and keep its button in place until then: the next click of an impatient
   * person must not press another one.
   *
   * @param {Element | null} button
   * @param {() => Promise<void>} act
   */
  async #runOnce(button, act) {
    button?.setAttribute("aria-disabled", "true");
    await act();
    button?.removeAttribute("aria-disabled");
  }

  /** @param {MouseEvent} event */
  #handleClick(event) {
    const button = closestTarget(event, "button[data-action]");
    const form = button?.closest("form");
    if (button?.dataset.action === "copy") {
      this.#copy(button);
    } else if (button?.dataset.action === "cancel") {
      this.#closeEditor();
    } else if (button?.dataset.action === "clear" && form) {
      const { annotation, altText, tags } = editorFields(form);
      for (const field of [annotation, altText, tags]) {
        field.value = "";
      }
      annotation.focus();
    }
  }

  /** @param {HTMLElement} button */
  async #copy(button) {
    const part = button.closest("[data-copied]");
    const text = part?.querySelector(".caption, [data-copy-source]")?.textContent ?? "";
    const { alt = "", ...size } = button.dataset;
    const image = linkedImage(String(this.id), alt, size);
    /** @type {Record<string, string>} */
    const formats = { HTML: asHTML(image), Markdown: asMarkdown(image) };
    const format = button.dataset.format;
    try {
      showToast(
        await (format
          ? copy(format, formats[format])
          : copy(part?.getAttribute("data-copied") ?? "", text)),
      );
    } catch (error) {
      showToast(messageOf(error), { isError: true });
    }
  }

  #closeEditor() {
    const editor = this.#editor;
    if (editor) {
      discardDraft(this.id);
      editor.querySelector("form")?.reset();
      getPart(editor, "edit-error").hidden = true;
      getPart(editor, "draft").hidden = true;
      editor.open = false;
      editor.querySelector("summary")?.focus();
    }
  }

  /** @param {HTMLFormElement} form */
  async #save(form) {
    const changes = changedFields(form);
    if (Object.keys(changes).length === 0) {
      this.#closeEditor();
      return;
    }
    try {
      // Only the last part of an ETag, the version of the texts, is compared.
      const headers = { "If-Match": `"page.${editorFields(form).version.value}"` };
      await sendJSON("PATCH", this.url, changes, headers);
    } catch (error) {
      if (error instanceof APIError && error.code === "changed_meanwhile") {
        discardDraft(this.id); // The page that follows has its texts.
        form.submit(); // The server shows both texts.
        return;
      }
      const line = getPart(form, "edit-error");
      line.textContent = messageOf(error);
      line.hidden = false;
      return;
    }
    discardDraft(this.id);
    await this.#refresh({ keepsEditor: false });
    showToast("Saved.");
  }

  /**
   * Restore the model's text in one field, and offer to undo it.
   *
   * @param {HTMLFormElement} form
   */
  async #restore(form) {
    const field = String(new FormData(form).get("field"));
    await this.#replaceText(
      field,
      (undo) => this.#change("PATCH", this.url, { restore: [field] }, RESTORED[field], undo),
      (before) => this.#change("PATCH", this.url, { [field]: before[field] }, "Your text is back."),
    );
  }

  /**
   * Restore the model's texts in a further language, and offer to undo it.
   *
   * @param {HTMLFormElement} form
   */
  async #restoreLanguage(form) {
    const language = String(new FormData(form).get("language"));
    /** @param {object | null} texts */
    const body = (texts) => ({ translations: { [language]: texts } });
    const success = "The texts are the AI version again.";
    await this.#replaceText(
      "translations",
      (undo) => this.#change("PATCH", this.url, body(null), success, undo),
      (before) => {
        // A text that is missing now must be missing again after the undo.
        const earlier = { caption: null, alt_text: null, ...before.translations[language] };
        return this.#change("PATCH", this.url, body(earlier), "Your texts are back.");
      },
    );
  }

  /**
   * Restore an earlier text, and offer to undo it.
   *
   * @param {HTMLFormElement} form
   */
  async #restoreVersion(form) {
    const url = `${this.url}/versions/restore`;
    const data = new FormData(form);
    const field = String(data.get("field"));
    const [number, present] = [Number(data.get("number")), Number(data.get("present"))];
    await this.#replaceText(
      field,
      (undo) => this.#change("POST", url, { field, number }, "The earlier text is back.", undo),
      () => this.#change("POST", url, { field, number: present }, "Undone."),
    );
  }

  /**
   * Replace a text, and offer to undo it.
   *
   * @param {string} field
   * @param {(undo: import("./toast.js").ToastAction) => Promise<void>} replace
   * @param {(before: Record<string, any>) => Promise<void>} putBack gets the image as it was
   */
  async #replaceText(field, replace, putBack) {
    /** @type {Record<string, any>} */
    let before;
    try {
      before = await getJSON(this.url);
    } catch (error) {
      showToast(messageOf(error), { isError: true });
      return;
    }
    // A decorative image is no longer decorative when it gets an alt text.
    const wasDecorative = field === "alt_text" && before.decorative;
    const success = "The image is decorative again.";
    const undo = () =>
      wasDecorative
        ? this.#change("PATCH", this.url, { decorative: true }, success)
        : putBack(before);
    await replace({ label: "Undo", onPress: undo });
  }

  /**
   * Change the image through the API, and announce the result.
   *
   * @param {"POST" | "PATCH"} method
   * @param {string} url
   * @param {object | undefined} body
   * @param {string} success
   * @param {import("./toast.js").ToastAction} [action] a button beside the message of success
   */
  async #change(method, url, body, success, action) {
    try {
      await sendJSON(method, url, body);
      await this.#refresh();
      showToast(success, { action });
    } catch (error) {
      showToast(messageOf(error), { isError: true });
    }
  }
}

/**
 * Say how the work on an image ended.
 *
 * @param {import("./api.js").ImageStatus} image
 */
function describeEnd(image) {
  if (image.status === "failed") {
    return describeFailure(image);
  }
  return image.sources.caption === "human"
    ? "The new AI version is ready. Your text stays."
    : `Caption: ${image.annotation ?? "none"}`;
}

/**
 * Wait until a dialog is closed. Return at once without a dialog.
 *
 * @param {Element | null} dialog
 * @returns {Promise<void>}
 */
function waitUntilClosed(dialog) {
  return new Promise((resolve) => {
    if (dialog) {
      dialog.addEventListener("close", () => resolve(), { once: true });
    } else {
      resolve();
    }
  });
}

function isFromGallery() {
  return document.referrer.startsWith(`${location.origin}/gallery`);
}

/** @param {Element | null | ""} element */
function focusOn(element) {
  if (element instanceof HTMLElement) {
    element.focus();
  }
}

/**
 * @param {HTMLFormElement} form
 * @returns {Record<
 *   "annotation" | "altText" | "tags" | "version",
 *   HTMLInputElement | HTMLTextAreaElement
 * >}
 */
function editorFields(form) {
  /** @param {string} name */
  const field = (
    name,
  ) => /** @type {HTMLInputElement | HTMLTextAreaElement} */ (form.elements.namedItem(name));
  return {
    annotation: field("annotation"),
    altText: field("alt_text"),
    tags: field("tags"),
    version: field("version"),
  };
}

/**
 * Return the fields of the texts in further languages: `translations.de.caption`.
 *
 * @param {HTMLFormElement} form
 * @returns {HTMLTextAreaElement[]}
 */
function translationFields(form) {
  return [...form.querySelectorAll("textarea")].filter(({ name }) =>
    name.startsWith("translations.")
  );
}

/** @param {string} text */
function splitTags(text) {
  return text.split(",").map((tag) => tag.trim()).filter(Boolean);
}

/**
 * Return the fields of the editor that were changed, as the API expects them.
 *
 * @param {HTMLFormElement} form
 */
function changedFields(form) {
  const { annotation, altText, tags } = editorFields(form);
  /** @type {Record<string, string | string[] | object | null>} */
  const changes = {};
  /** @type {Record<string, Record<string, string | null>>} */
  const translations = {};
  // After a conflict, the fields begin with texts that are not saved.
  const isConflict = form.dataset.isConflict !== undefined;
  for (const field of [annotation, altText]) {
    if (isConflict || field.value !== field.defaultValue) {
      changes[field.name] = field.value.trim() || null;
    }
  }
  if (isConflict || tags.value !== tags.defaultValue) {
    changes.tags = splitTags(tags.value);
  }
  for (const field of translationFields(form)) {
    if (isConflict || field.value !== field.defaultValue) {
      const [, language, name] = field.name.split(".");
      translations[language] = { ...translations[language], [name]: field.value.trim() || null };
      changes.translations = translations;
    }
  }
  return changes;
}
