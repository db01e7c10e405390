// The review desk: shows one image after the other without loading the page again, and has keys for
// everything that its buttons do.

import { APIError, getJSON, getPage, getWithETag, sendJSON } from "./api.js";
import { asHTML, asMarkdown, canCopy, copy, linkedImage } from "./copying.js";
import { discardDraft, readDraft, writeDraft } from "./drafts.js";
import { closestTarget, getPart, messageOf } from "./markup.js";
import { isSwitchedOn, shortcutOf, switchShortcuts } from "./review_keys.js";
import { StatusPoller } from "./status_poller.js";
import { showToast } from "./toast.js";

/** @typedef {import("./api.js").ImageStatus} ImageStatus */
/** @typedef {HTMLInputElement | HTMLTextAreaElement} Field */
/** @typedef {"annotation" | "alt_text" | "tags"} TextName */

/**
 * What reverses an action, and the image that is then shown.
 *
 * @typedef {object} Undo
 * @property {number} id
 * @property {string} message
 * @property {() => Promise<unknown>} run
 */

const MAX_UNDOS = 50;
/** @type {TextName[]} */
const TEXTS = ["annotation", "alt_text", "tags"];
const NO_ETAG = '"none"'; // Matches no image.

/** @param {HTMLElement} root */
export function mount(root) {
  new ReviewDesk(root);
}

class ReviewDesk {
  /** @type {Undo[]} */
  #undos = [];
  #isBusy = false;
  /** Whether the texts that were left last could be saved. */
  #saving = Promise.resolve(true);
  #poller = new StatusPoller();

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.help = getPart(root, "help", HTMLDialogElement);
    root.addEventListener("submit", (event) => this.#handleSubmit(event));
    root.addEventListener("click", (event) => this.#handleClick(event));
    root.addEventListener("input", (event) => this.#handleInput(event));
    root.addEventListener("change", (event) => this.#handleChange(event));
    root.addEventListener("keydown", (event) => this.#handleFieldKey(event));
    document.addEventListener("keydown", (event) => this.#handleKey(event));
    addEventListener("popstate", () => this.#run(() => this.#load(location.href)));
    this.#prepareHelp();
    this.#prepareView();
  }

  get #view() {
    return getPart(this.root, "view");
  }

  /** @returns {HTMLFormElement | null} */
  get #form() {
    return this.root.querySelector('[data-part="form"]');
  }

  get #id() {
    return Number(this.#view.dataset.imageId);
  }

  get #url() {
    return `/api/images/${this.#id}`;
  }

  /** @param {"prev" | "next"} relation */
  #step(relation) {
    return this.root.querySelector(`a[rel="${relation}"]`)?.getAttribute("href") ?? null;
  }

  #prepareHelp() {
    const opener = getPart(document, "help-opener");
    const box = getPart(this.help, "switch", HTMLInputElement);
    opener.hidden = false;
    opener.addEventListener("click", () => this.help.showModal());
    getPart(this.help, "help-closer").addEventListener("click", () => this.help.close());
    box.checked = isSwitchedOn();
    box.addEventListener("change", () => switchShortcuts(box.checked));
  }

  /** Prepare the part of the page that is replaced with each image. */
  #prepareView() {
    const form = this.#form;
    if (!form) {
      return;
    }
    const id = this.#id;
    getPart(form, "undo").hidden = this.#undos.length === 0;
    for (const button of this.root.querySelectorAll('[data-action="copy"]')) {
      button.toggleAttribute("hidden", !canCopy());
    }
    this.#restoreDraft(form);
    this.#preloadNext();
    if (this.#view.dataset.status === "pending") {
      this.#watch(id, this.#view.dataset.version ?? "");
    }
  }

  /** Load the preview of the next image, so that it is shown at once. */
  #preloadNext() {
    const next = this.root.querySelector('a[rel="next"]');
    if (next instanceof HTMLElement && next.dataset.srcset) {
      const image = new Image();
      image.sizes = next.dataset.sizes ?? "";
      image.srcset = next.dataset.srcset;
    }
  }

  /**
   * @param {number} id
   * @param {string} version the `updated_at` that the page shows
   */
  #watch(id, version) {
    this.#poller.watch(id, async (image) => {
      const isShown = this.#id === id;
      if (image?.status === "pending" && Date.parse(image.updated_at) === Date.parse(version)) {
        return;
      }
      if (image?.status !== "pending") {
        this.#poller.unwatch(id);
      }
      // Texts that are being edited must not be replaced.
      if (isShown && !this.#isBusy && this.#changes() === null) {
        await this.#run(() => this.#load(location.href, { keepsFocus: true }));
        if (image?.status !== "pending") {
          showToast(image?.annotation ? `Caption: ${image.annotation}` : "The work has ended.");
        }
      }
    });
  }

  /** @param {Event} event */
  #handleInput(event) {
    const form = this.#form;
    if (!form || !(event.target instanceof Node) || !form.contains(event.target)) {
      return;
    }
    const { alt_text, annotation, tags, version } = fieldsOf(form);
    const fields = [alt_text, annotation, tags, version];
    writeDraft(this.#id, Object.fromEntries(fields.map(({ name, value }) => [name, value])));
    getPart(form, "saved").textContent = "";
    showLength(form);
  }

  /** @param {HTMLFormElement} form */
  #restoreDraft(form) {
    const draft = readDraft(this.#id);
    const { alt_text, annotation, tags, version } = fieldsOf(form);
    const texts = [alt_text, annotation, tags];
    if (!draft || form.dataset.isConflict !== undefined) {
      return;
    }
    if (texts.every(({ name, value }) => value === (draft[name] ?? value))) {
      discardDraft(this.#id);
      return;
    }
    // With its version, so that a draft of older texts does not replace newer ones unnoticed.
    for (const field of [...texts, version]) {
      field.value = draft[field.name] ?? field.value;
    }
    getPart(form, "draft").hidden = false;
    showLength(form);
  }

  /**
   * Save a field when it is left.
   *
   * @param {Event} event
   */
  #handleChange(event) {
    if (closestTarget(event, ".field__input") && !this.#isBusy) {
      this.#saving = this.#attempt(() => this.#save());
    }
  }

  /** @param {SubmitEvent} event */
  #handleSubmit(event) {
    const action = event.submitter instanceof HTMLButtonElement ? event.submitter.value : "approve";
    event.preventDefault();
    this.#act(action);
  }

  /** @param {MouseEvent} event */
  #handleClick(event) {
    const hasModifier = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    const step = closestTarget(event, "a[rel]");
    if (step instanceof HTMLAnchorElement && !hasModifier && event.button === 0) {
      event.preventDefault();
      this.#run(() => this.#leaveFor(step.href));
    } else if (closestTarget(event, '[data-part="undo"]')) {
      this.#act("undo");
    } else if (closestTarget(event, '[data-action="discard"]')) {
      discardDraft(this.#id);
      this.#run(() => this.#load(location.href));
    }
    const copied = closestTarget(event, '[data-action="copy"]');
    if (copied) {
      this.#attempt(() => this.#copy(copied));
    }
  }

  /** @param {HTMLElement} button */
  async #copy(button) {
    const form = this.#form;
    if (!form) {
      return;
    }
    const { alt_text: { value: altText }, annotation: { value: caption } } = fieldsOf(form);
    const alt = this.#isDecorative() ? "" : altText || caption;
    const image = linkedImage(String(this.#id), alt, button.dataset);
    /** @type {Record<string, string>} */
    const texts = {
      "Caption": caption,
      "Alt text": this.#isDecorative() ? "" : altText,
      "HTML": asHTML(image),
      "Markdown": asMarkdown(image),
    };
    const format = button.dataset.format ?? "";
    showToast(await copy(format, texts[format]));
  }

  /**
   * In a field, Enter saves and approves, and Escape leaves it.
   *
   * @param {KeyboardEvent} event
   */
  #handleFieldKey(event) {
    // While a word is composed, Enter ends the composition.
    if (!closestTarget(event, ".field__input") || event.isComposing || hasModifierKey(event)) {
      return;
    }
    if (event.key === "Enter") {
      event.preventDefault();
      this.#act(closestTarget(event, '[data-part="context"]') ? "regenerate" : "approve");
    } else if (event.key === "Escape") {
      getPart(this.root, "name").focus();
    }
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    const action = isSwitchedOn() || event.key === "?" ? shortcutOf(event) : null;
    if (!action || this.help.open) {
      return;
    }
    event.preventDefault();
    this.#act(action);
  }

  /** @param {string} action */
  #act(action) {
    const next = this.#step("next");
    /** @type {Record<string, () => Promise<unknown> | void>} */
    const actions = {
      help: () => this.help.showModal(),
      edit: () => this.#edit(),
      new_caption: () => this.#openNewCaption(),
      next: () => this.#goTo(next, "This is the last image of the list."),
      previous: () => this.#goTo(this.#step("prev"), "This is the first image of the list."),
      undo: () => this.#undo(),
      save: () => this.#save({ isAsked: true }),
      approve: () => this.#approve(),
      unapprove: () => this.#decide({ reviewed: false }, "The approval is withdrawn."),
      decorative: () => this.#decide({ decorative: true }, "Decorative: its alt text is empty."),
      not_decorative: () => this.#decide({ decorative: false }, "Not decorative any more."),
      toggle_decorative: () => this.#act(this.#isDecorative() ? "not_decorative" : "decorative"),
      regenerate: () => this.#regenerate(),
      delete: () => this.#delete(),
    };
    const needsImage = !["help", "undo"].includes(action);
    if (!Object.hasOwn(actions, action) || (needsImage && !this.#form)) {
      return;
    }
    if (["help", "edit", "new_caption", "toggle_decorative"].includes(action)) {
      actions[action]();
    } else {
      this.#run(async () => await actions[action]());
    }
  }

  /**
   * Run one action at a time. A key that is pressed meanwhile is ignored, so that it does not act on
   * the next image. An action waits for the texts that are being saved.
   *
   * @param {() => Promise<unknown>} act
   */
  async #run(act) {
    if (this.#isBusy) {
      return;
    }
    this.#isBusy = true;
    this.root.setAttribute("aria-busy", "true");
    // After an error, the desk can show another image.
    if (await this.#saving) {
      await this.#attempt(act);
    }
    this.#saving = Promise.resolve(true);
    this.#isBusy = false;
    this.root.removeAttribute("aria-busy");
  }

  /**
   * Run an action, and show its error.
   *
   * @param {() => Promise<unknown>} act
   * @returns {Promise<boolean>} whether there was none
   */
  async #attempt(act) {
    try {
      await act();
      return true;
    } catch (error) {
      await this.#explain(error);
      return false;
    }
  }

  /** @param {unknown} error */
  async #explain(error) {
    const form = this.#form;
    if (error instanceof APIError && error.status === 404) {
      discardDraft(this.#id);
      await this.#load(location.href).catch(() => {});
      showToast("This image was deleted meanwhile.", { isError: true });
    } else if (error instanceof APIError && error.code === "changed_meanwhile" && form) {
      discardDraft(this.#id); // The page that follows has its texts.
      const action = document.createElement("input");
      Object.assign(action, { type: "hidden", name: "action", value: "save" });
      form.append(action);
      form.submit(); // The server shows both texts.
    } else if (error instanceof APIError && error.code === "invalid_edit" && form) {
      const line = getPart(form, "edit-error");
      line.textContent = error.message;
      line.hidden = false;
    } else {
      showToast(messageOf(error), { isError: true });
    }
  }

  #isDecorative() {
    return this.root.querySelector('button[value="not_decorative"]') !== null;
  }

  #edit() {
    const field = getPart(this.root, "alt-text", HTMLTextAreaElement);
    field.focus();
    field.select();
  }

  /** Show the context for a new caption, unless one is being written. */
  #openNewCaption() {
    const details = this.root.querySelector('[data-part="new-caption"]');
    if (details instanceof HTMLDetailsElement) {
      details.open = true;
      const context = getPart(details, "context", HTMLInputElement);
      context.focus();
      context.select();
    }
  }

  /**
   * Return the texts that were edited, as the API expects them, or null.
   *
   * @returns {Record<string, string | string[] | null> | null}
   */
  #changes() {
    const form = this.#form;
    if (!form) {
      return null;
    }
    const { alt_text, annotation, tags } = fieldsOf(form);
    /** @type {Record<string, string | string[] | null>} */
    const changes = {};
    // After a conflict, the fields begin with texts that are not saved.
    const isConflict = form.dataset.isConflict !== undefined;
    for (const field of [alt_text, annotation]) {
      if (isConflict || field.value !== field.defaultValue) {
        changes[field.name] = field.value.trim() || null;
      }
    }
    if (isConflict || tags.value !== tags.defaultValue) {
      changes.tags = tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    }
    return Object.keys(changes).length > 0 ? changes : null;
  }

  /**
   * Change the image, if it still has the texts that the page shows, and remember how to undo it.
   *
   * @param {Record<string, unknown>} changes
   * @param {string} undone the message of the undo, unless it withdraws an approval
   * @returns {Promise<ImageStatus>}
   */
  async #patch(changes, undone) {
    const form = this.#form;
    const id = this.#id;
    const url = this.#url;
    const version = form ? fieldsOf(form).version.value : "";
    const before = await getJSON(url);
    const image = await sendJSON("PATCH", url, changes, { "If-Match": `"page.${version}"` });
    discardDraft(id);
    /** @type {Record<string, unknown>} */
    const old = {};
    for (const name of TEXTS) {
      if (name in changes) {
        old[name] = before[name];
      }
    }
    if (before.decorative && "alt_text" in old) {
      delete old.alt_text; // It is not known while the image is decorative.
    }
    if (before.decorative !== image.decorative) {
      old.decorative = before.decorative;
    }
    if (changes.reviewed !== undefined && (before.review === "reviewed") !== changes.reviewed) {
      old.reviewed = before.review === "reviewed";
    }
    if (Object.keys(old).length > 0) {
      const etag = await this.#etagOf(image);
      const message = old.reviewed === false
        ? "The approval is withdrawn. The image is unreviewed now."
        : undone;
      this.#remember({ id, message, run: () => this.#restore(id, old, etag) });
    }
    return image;
  }

  /**
   * Return the ETag of an image that was just saved, or one that matches no image if it was
   * changed since.
   *
   * @param {ImageStatus} saved
   */
  async #etagOf(saved) {
    try {
      const { body, etag } = await getWithETag(`/api/images/${saved.id}`);
      return body.updated_at === saved.updated_at ? etag : NO_ETAG;
    } catch {
      return NO_ETAG; // The texts are saved, so this is no error of the edit.
    }
  }

  /**
   * Give an image its earlier texts, unless it has other ones than those that were saved here. Then
   * both are shown.
   *
   * @param {number} id
   * @param {Record<string, any>} old
   * @param {string} etag the ETag of what was saved here
   */
  async #restore(id, old, etag) {
    const names = TEXTS.filter((name) => name in old);
    try {
      /** @type {Record<string, string>} */
      const headers = names.length > 0 ? { "If-Match": etag } : {};
      await sendJSON("PATCH", `/api/images/${id}`, old, headers);
    } catch (error) {
      if (error instanceof APIError && error.code === "changed_meanwhile") {
        await this.#load(this.#address(id));
        this.#fill(names, old);
      }
      throw error;
    }
  }

  /**
   * Write earlier texts into the fields, so that the server shows them beside the present ones.
   *
   * @param {TextName[]} names
   * @param {Record<string, any>} texts
   */
  #fill(names, texts) {
    const form = this.#form;
    if (form) {
      const fields = fieldsOf(form);
      for (const name of names) {
        fields[name].value = [texts[name] ?? ""].flat().join(", ");
      }
      fields.version.value = ""; // Not the version of the present texts, or they would be replaced.
    }
  }

  /** @param {Undo} undo */
  #remember(undo) {
    this.#undos = [...this.#undos.slice(1 - MAX_UNDOS), undo];
  }

  /** @param {{ isAsked?: boolean }} [options] */
  async #save({ isAsked = false } = {}) {
    const changes = this.#changes();
    if (changes) {
      await this.#patch(changes, "The earlier text is back.");
      await this.#update();
    }
    if (changes || isAsked) {
      getPart(this.root, "saved").textContent = "Saved.";
    }
  }

  /**
   * Show what the server says about the saved texts. The fields and the buttons stay, because one of
   * them may be used at this moment.
   */
  async #update() {
    const [form, id] = [this.#form, this.#id];
    if (!form || form.dataset.isConflict !== undefined) {
      await this.#load(location.href, { keepsFocus: true });
      return;
    }
    const page = await getPage(this.#address(id));
    const fresh = page.querySelector('[data-part="form"]');
    if (this.#id !== id || !(fresh instanceof HTMLFormElement)) {
      return;
    }
    getPart(this.root, "facts").replaceWith(getPart(page, "facts"));
    const [fields, freshFields] = [fieldsOf(form), fieldsOf(fresh)];
    fields.version.value = freshFields.version.value;
    for (const name of /** @type {const} */ (["alt_text", "annotation", "tags"])) {
      fields[name].defaultValue = freshFields[name].defaultValue;
    }
    getPart(form, "undo").hidden = this.#undos.length === 0;
  }

  async #approve() {
    const next = this.#step("next");
    await this.#patch({ ...this.#changes(), reviewed: true }, "The earlier text is back.");
    await this.#load(next ?? this.#first());
    showToast("Approved.", { action: this.#undoButton() });
  }

  /**
   * @param {Record<string, boolean>} decision
   * @param {string} message
   */
  async #decide(decision, message) {
    const changes = this.#changes();
    await this.#patch({ ...changes, ...decision }, "Undone.");
    await this.#load(location.href, { keepsFocus: true });
    showToast(message, { action: this.#undoButton() });
  }

  async #regenerate() {
    const context = getPart(this.root, "context", HTMLInputElement).value;
    await this.#save();
    await sendJSON("POST", `${this.#url}/retry`, { regenerate: true, context });
    getPart(this.root, "name").focus();
    await this.#load(location.href, { keepsFocus: true });
    showToast("Writing a new caption…");
  }

  async #delete() {
    const id = this.#id;
    const next = this.#step("next");
    await this.#save();
    await sendJSON("DELETE", this.#url);
    this.#remember({
      id,
      message: "Restored from your bin.",
      run: () => sendJSON("POST", `/api/images/${id}/undelete`),
    });
    await this.#load(next ?? this.#first());
    showToast("Moved to your bin.", { action: this.#undoButton() });
  }

  #undoButton() {
    return { label: "Undo", onPress: () => this.#act("undo") };
  }

  async #undo() {
    const undo = this.#undos.at(-1);
    if (!undo) {
      showToast("There is nothing to undo.");
      return;
    }
    await undo.run();
    this.#undos.pop();
    await this.#load(this.#address(undo.id));
    showToast(undo.message);
  }

  /**
   * @param {string | null} url
   * @param {string} otherwise what to say without an address
   */
  async #goTo(url, otherwise) {
    if (url) {
      await this.#leaveFor(url);
    } else {
      showToast(otherwise);
    }
  }

  /** @param {string} url */
  async #leaveFor(url) {
    await this.#save();
    await this.#load(url);
  }

  /** The address of the list without an image: its first image is shown. */
  #first() {
    return this.#address(null);
  }

  /** @param {number | null} id */
  #address(id) {
    const url = new URL(location.href);
    url.pathname = "/review"; // After a conflict, the address is the one of the form.
    if (id === null) {
      url.searchParams.delete("image");
    } else {
      url.searchParams.set("image", String(id));
    }
    return url.href;
  }

  /**
   * Show another image, or this one as the server has it now.
   *
   * @param {string} address
   * @param {{ keepsFocus?: boolean }} [options] `keepsFocus` keeps the focus in the same field
   */
  async #load(address, { keepsFocus = false } = {}) {
    const url = new URL(address, location.href);
    if (url.pathname !== "/review" || (keepsFocus && !url.searchParams.has("image"))) {
      url.href = this.#address(this.#id);
    }
    const page = await getPage(url.href);
    const focused = document.activeElement;
    const name = focused instanceof HTMLElement ? focused.getAttribute("name") : null;
    this.#view.replaceWith(getPart(page, "view"));
    if (url.href !== location.href) {
      history[keepsFocus ? "replaceState" : "pushState"](null, "", url);
    }
    this.#prepareView();
    const same = keepsFocus && name && this.root.querySelector(`.field__input[name="${name}"]`);
    (same instanceof HTMLElement ? same : getPart(this.root, "name")).focus();
  }
}

/** @param {KeyboardEvent} event */
function hasModifierKey(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
}

/**
 * @param {HTMLFormElement} form
 * @returns {Record<"alt_text" | "annotation" | "tags" | "version", Field>}
 */
function fieldsOf(form) {
  /** @param {string} name */
  const field = (name) => /** @type {Field} */ (form.elements.namedItem(name));
  return {
    alt_text: field("alt_text"),
    annotation: field("annotation"),
    tags: field("tags"),
    version: field("version"),
  };
}

/** @param {HTMLFormElement} form */
function showLength(form) {
  const hint = getPart(form, "length");
  const limit = hint.dataset.limit ?? "";
  const { length } = fieldsOf(form).alt_text.value.trim();
  hint.textContent = `${length} of ${limit} characters`;
}
