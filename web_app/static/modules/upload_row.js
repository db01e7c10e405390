// One file's row: what it is, how far it has come, what became of it.

import { element, icon, part } from "./markup.js";

/**
 * States: checking, waiting, sending, paused, cancelled, rejected (cannot succeed), failed (may be
 * sent again), duplicate, accepted (the server works on it), completed, unfinished (the server's
 * work failed).
 */
const OUTCOMES = {
  checking: [null, "Checking"],
  waiting: ["clock", "Waiting"],
  sending: ["upload", "Sending"],
  paused: ["clock", "The server asks for a pause"],
  cancelled: ["close", "Cancelled"],
  rejected: ["alert", "Not accepted"],
  failed: ["alert", "Not sent"],
  duplicate: ["check", "You have sent this before"],
  accepted: ["check", "Accepted"],
  completed: ["check", "Done"],
  unfinished: ["alert", "Accepted, but not finished"],
};
const CANCELLABLE = ["checking", "waiting", "sending", "paused"];
const RETRYABLE = ["failed", "cancelled", "unfinished"];

export class UploadRow {
  constructor(template, file, { onCancel, onRetry }) {
    this.file = file;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.state = null;
    this.id = null;
    this.sentShare = 0;
    for (const name of ["preview", "outcome", "progress", "detail", "link", "retry", "cancel"]) {
      this[name] = part(this.element, name);
    }
    part(this.element, "name").textContent = file.webkitRelativePath || file.name;
    part(this.element, "size").textContent = formatBytes(file.size);
    this.progress.setAttribute("aria-label", `${file.name}: share sent`);
    for (const [name, listener] of [["cancel", onCancel], ["retry", onRetry]]) {
      this[name].append(element("span", { className: "visually-hidden" }, ` ${file.name}`));
      this[name].addEventListener("click", () => listener(this));
    }
    this.show("checking");
  }

  get canRetry() {
    return RETRYABLE.includes(this.state);
  }

  get canCancel() {
    return CANCELLABLE.includes(this.state);
  }

  /** Enter a state, with a sentence of detail where there is one. */
  show(state, detail = "") {
    const hadFocus = this.element.contains(document.activeElement);
    const [name, words] = OUTCOMES[state];
    this.state = state;
    this.element.dataset.state = state;
    this.outcome.replaceChildren(...(name ? [icon(name)] : []), words);
    this.detail.textContent = detail;
    this.detail.hidden = !detail;
    this.progress.hidden = !["sending", "paused", "waiting"].includes(state);
    this.retry.hidden = !this.canRetry;
    this.cancel.hidden = !this.canCancel;
    const focused = document.activeElement;
    if (hadFocus && (focused === document.body || focused.hidden)) {
      this.keepFocus();
    }
  }

  /** The button that was pressed went away; the row's next one takes over. */
  keepFocus() {
    const next = [this.retry, this.cancel, this.link].find((control) => !control.hidden);
    (next ?? this.element).focus?.();
  }

  showProgress(share) {
    this.sentShare = share;
    this.progress.value = share;
    if (share === 1) {
      this.outcome.replaceChildren(icon("clock"), "Arrived, being checked");
    }
  }

  /** The file's own image, in formats this browser can show. */
  showPreview() {
    const url = URL.createObjectURL(this.file);
    const image = element("img", { alt: "", decoding: "async", loading: "lazy", src: url });
    image.addEventListener("error", () => {
      URL.revokeObjectURL(url);
      image.remove();
      this.hasPreview = false;
    });
    image.addEventListener("load", () => URL.revokeObjectURL(url));
    this.hasPreview = true;
    this.preview.append(image);
  }

  linkTo(url, words) {
    this.link.href = url;
    this.link.replaceChildren(
      words,
      element("span", { className: "visually-hidden" }, ` ${this.file.name}`),
    );
    this.link.hidden = false;
  }

  /** What the server has made of the image so far; null when it was deleted meanwhile. */
  showImage(image) {
    if (!image) {
      this.show("cancelled", "It was deleted.");
      this.retry.hidden = true;
      return;
    }
    if (!this.hasPreview && image.thumbnail_url) {
      this.hasPreview = true;
      this.preview.append(element("img", { alt: "", src: image.thumbnail_url }));
    }
    const problems = [image.annotation_error, image.thumbnail_error].filter(Boolean);
    const problem = problems.map(({ message }) => message).join(" ");
    if (image.status === "completed") {
      this.show("completed", image.annotation ?? "");
    } else if (image.status === "failed") {
      this.show("unfinished", problem);
    } else if (problem) {
      this.show("accepted", `${problem} It is tried again by itself.`);
    } else {
      this.show("accepted", image.annotation ?? "Waiting for its caption…");
    }
  }
}

function formatBytes(bytes) {
  if (bytes < 1000) {
    return `${bytes} bytes`;
  }
  return bytes < 1024 ** 2
    ? `${Math.round(bytes / 1024)} kB`
    : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}
