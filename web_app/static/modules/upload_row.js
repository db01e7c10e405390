// The row of one file on the upload page: name, progress and result.

import { isHopeless } from "./api.js";
import { createElement, createIcon, getPart } from "./markup.js";
import { formatBytes } from "./sizes.js";

/** @typedef {import("./api.js").ImageStatus} ImageStatus */

/**
 * The states of a row, with the icon and the text of each.
 *
 * - `rejected`: sending the file again cannot succeed; `not_sent`: it may succeed.
 * - `accepted`: the jobs of the image are pending; `completed` and `failed`: they have ended.
 *
 * @satisfies {Record<string, { icon: string | null, text: string }>}
 */
const STATES = {
  checking: { icon: null, text: "Checking…" },
  waiting: { icon: "clock", text: "Waiting" },
  sending: { icon: "upload", text: "Uploading" },
  cancelled: { icon: "close", text: "Cancelled" },
  rejected: { icon: "alert", text: "Not accepted" },
  not_sent: { icon: "alert", text: "Not sent" },
  duplicate: { icon: "check", text: "Already uploaded" },
  accepted: { icon: "check", text: "Uploaded" },
  completed: { icon: "check", text: "Done" },
  failed: { icon: "alert", text: "Uploaded, captioning failed" },
};

/** @typedef {keyof typeof STATES} RowState */

/** @type {RowState[]} */
const STATES_WITH_PROGRESS = ["waiting", "sending"];
/** @type {RowState[]} */
const CANCELLABLE_STATES = ["checking", ...STATES_WITH_PROGRESS];
/** @type {RowState[]} */
const RETRYABLE_STATES = ["not_sent", "cancelled", "failed"];

/** @type {RowState[]} */
const PROBLEM_STATES = ["rejected", "not_sent", "failed"];

export class UploadRow {
  /** @type {RowState} */
  state = "checking";
  /** @type {number | null} */
  id = null;
  sentShare = 0;
  hasPreview = false;
  hasCaption = false;
  isHopeless = false;
  /** @type {string | null} why the server has to wait before it can caption the image */
  delay = null;

  /**
   * @param {HTMLTemplateElement} template
   * @param {File} file
   * @param {object} listeners
   * @param {(row: UploadRow) => void} listeners.onCancel
   * @param {(row: UploadRow) => void} listeners.onRetry
   */
  constructor(template, file, { onCancel, onRetry }) {
    this.file = file;
    const row = document.importNode(template.content, true).firstElementChild;
    this.element = /** @type {HTMLElement} */ (row);
    this.preview = getPart(this.element, "preview");
    this.outcome = getPart(this.element, "outcome");
    this.progress = getPart(this.element, "progress", HTMLProgressElement);
    this.detail = getPart(this.element, "detail");
    this.link = getPart(this.element, "link", HTMLAnchorElement);
    this.retry = getPart(this.element, "retry", HTMLButtonElement);
    this.cancel = getPart(this.element, "cancel", HTMLButtonElement);
    getPart(this.element, "name").textContent = file.webkitRelativePath || file.name;
    // The size of an unreadable file is not known.
    getPart(this.element, "size").textContent = file.size > 0 ? formatBytes(file.size) : "";
    this.progress.setAttribute("aria-label", `Upload progress of ${file.name}`);
    for (const button of [this.retry, this.cancel]) {
      button.append(createElement("span", { className: "visually-hidden" }, ` ${file.name}`));
    }
    this.retry.addEventListener("click", () => onRetry(this));
    this.cancel.addEventListener("click", () => onCancel(this));
    this.show("checking");
  }

  get canRetry() {
    return RETRYABLE_STATES.includes(this.state) && !this.isHopeless;
  }

  /** Whether a person may have to act on this file. */
  get hasProblem() {
    return PROBLEM_STATES.includes(this.state);
  }

  get canCancel() {
    return CANCELLABLE_STATES.includes(this.state);
  }

  /**
   * Enter a state.
   *
   * @param {RowState} state
   * @param {string} [detail] a sentence below the state
   * @param {string} [text] replaces the text of the state
   */
  show(state, detail = "", text = STATES[state].text) {
    const hadFocus = this.element.contains(document.activeElement);
    const { icon } = STATES[state];
    this.state = state;
    this.element.dataset.state = state;
    this.outcome.replaceChildren(...(icon ? [createIcon(icon)] : []), text);
    this.detail.textContent = detail;
    this.detail.hidden = !detail;
    this.progress.hidden = !STATES_WITH_PROGRESS.includes(state);
    this.retry.hidden = !this.canRetry;
    this.cancel.hidden = !this.canCancel;
    const focused = document.activeElement;
    if (hadFocus && (focused === document.body || isHidden(focused))) {
      this.#moveFocus();
    }
  }

  /** Move the focus from a button that was hidden to the next control of the row. */
  #moveFocus() {
    const next = [this.retry, this.cancel, this.link].find((control) => !control.hidden);
    (next ?? this.element).focus();
  }

  /** @param {number} share the share of the file that was sent, 0 to 1 */
  showProgress(share) {
    this.sentShare = share;
    this.progress.value = share;
    if (share === 1) {
      this.outcome.replaceChildren(createIcon("clock"), "Checking…");
    }
  }

  /** Show the file itself, if the browser supports its format. */
  showPreview() {
    const url = URL.createObjectURL(this.file);
    const image = createElement("img", { alt: "", decoding: "async", loading: "lazy", src: url });
    image.addEventListener("error", () => {
      URL.revokeObjectURL(url);
      image.remove();
      this.hasPreview = false;
    });
    image.addEventListener("load", () => URL.revokeObjectURL(url));
    this.hasPreview = true;
    this.preview.append(image);
  }

  /**
   * @param {string} url
   * @param {string} text
   */
  linkTo(url, text) {
    this.link.href = url;
    this.link.replaceChildren(
      text,
      createElement("span", { className: "visually-hidden" }, ` ${this.file.name}`),
    );
    this.link.hidden = false;
  }

  /**
   * Show the status of the image on the server.
   *
   * @param {ImageStatus | null} image null if the image was deleted
   */
  showStatus(image) {
    if (!image) {
      this.show("cancelled", "This image was deleted.");
      this.retry.hidden = true;
      return;
    }
    if (!this.hasPreview && image.thumbnail_url) {
      this.hasPreview = true;
      this.preview.append(createElement("img", { alt: "", src: image.thumbnail_url }));
    }
    const errors = [image.annotation_error, image.thumbnail_error].filter((error) =>
      error !== null
    );
    const message = [...new Set(errors.map((error) => error.message))].join(" ");
    this.isHopeless = isHopeless(image);
    this.delay = null;
    if (image.status === "completed") {
      this.show("completed", image.annotation ?? "");
    } else if (image.status === "failed") {
      this.hasCaption = image.annotation_status !== "failed";
      const text = this.hasCaption ? "Uploaded, creating the thumbnail failed" : undefined;
      this.show("failed", message, text);
    } else {
      this.delay = message || null;
      const text = message ? "Waiting for its caption" : "Writing a caption…";
      this.show("accepted", image.annotation ?? text);
    }
  }
}

/** @param {Element | null} element */
function isHidden(element) {
  return element instanceof HTMLElement && element.hidden;
}
