// The upload page: accepts files by drop, paste and file picker, and shows the result of each.

import { sendJSON } from "./api.js";
import { isChosen, readDroppedFiles } from "./dropped_files.js";
import { keepOptions, readOptions } from "./caption_options.js";
import { describeDelay } from "./delay.js";
import { checkFile } from "./file_check.js";
import { closestTarget, createAnnouncer, getNumber, getPart, messageOf } from "./markup.js";
import { acceptSharedFiles, takeSharedFiles } from "./shared_files.js";
import { StatusPoller } from "./status_poller.js";
import { UploadQueue } from "./upload_queue.js";
import { UploadRow } from "./upload_row.js";

/** @typedef {import("./upload_queue.js").Upload} Upload */
/** @typedef {import("./upload_queue.js").UploadResult} UploadResult */
/** @typedef {import("./upload_row.js").RowState} RowState */

const UNREADABLE = "Your browser cannot read this. Check that you may open it on your device.";

/** @type {RowState[]} */
const UPLOADED_STATES = ["accepted", "completed", "failed"];
/** @type {RowState[]} */
const SENT_STATES = [...UPLOADED_STATES, "duplicate"];
const COUNTDOWN_MS = 1000;

/** @param {HTMLElement} form */
export function mount(form) {
  new Uploader(/** @type {HTMLFormElement} */ (form));
}

class Uploader {
  /** @type {UploadRow[]} */
  #rows = [];
  /** @type {Map<UploadRow, Upload>} */
  #uploads = new Map();

  /** @param {HTMLFormElement} form */
  constructor(form) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.countdown = undefined;
    this.form = form;
    this.limits = {
      maxBytes: getNumber(form, "maxUploadBytes"),
      formats: form.dataset.acceptedFormats ?? "",
    };
    this.input = getPart(form, "input", HTMLInputElement);
    this.folderInput = getPart(form, "folder-input", HTMLInputElement);
    this.folderButton = getPart(form, "folder-button");
    this.cameraInput = getPart(form, "camera-input", HTMLInputElement);
    this.cameraButton = getPart(form, "camera-button");
    this.dropzone = getPart(form, "dropzone");
    this.queueSection = getPart(form, "queue");
    this.rows = getPart(form, "rows");
    this.summary = getPart(form, "summary");
    this.progress = getPart(this.queueSection, "progress", HTMLProgressElement);
    this.retryFailed = getPart(form, "retry-failed");
    this.retryFailedCount = getPart(form, "retry-failed-count");
    this.cancelAll = getPart(form, "cancel-all");
    this.galleryLink = getPart(form, "gallery-link");
    this.banner = getPart(form, "banner");
    this.bannerText = getPart(form, "banner-text");
    this.showProblems = getPart(form, "show-problems");
    this.rowTemplate = getPart(form, "row-template", HTMLTemplateElement);
    this.announce = createAnnouncer(getPart(form, "announcer"));
    this.poller = new StatusPoller();
    this.queue = new UploadQueue(form.action, {
      isOwnerKnown: "ownerKnown" in form.dataset,
      onState: () => this.#update(),
    });
    keepOptions(getPart(form, "describe"), getPart(form, "chosen"));
    this.#listen();
    this.#replacePlainForm();
    this.#updateBanner();
    this.#addShared();
  }

  /** Add the images that another app on this device shared with the site. */
  async #addShared() {
    acceptSharedFiles();
    if (new URLSearchParams(location.search).has("shared")) {
      history.replaceState(null, "", location.pathname);
      this.#add(await takeSharedFiles());
    }
  }

  /** Hide the controls of the plain form. This comes last, so that the form works until then. */
  #replacePlainForm() {
    const label = getPart(this.form, "label");
    label.textContent = "Choose images";
    label.classList.add("button");
    getPart(this.form, "submit").hidden = true;
    // A phone has no folders to choose and nothing to paste.
    const parts = matchMedia("(any-pointer: fine)").matches
      ? ["drop-title", "folder-button", "paste-hint"]
      : ["camera-button"];
    for (const name of parts) {
      getPart(this.form, name).hidden = false;
    }
    this.form.classList.add("uploader--enhanced");
  }

  #listen() {
    for (const input of [this.input, this.folderInput, this.cameraInput]) {
      input.addEventListener("change", () => {
        const files = [...(input.files ?? [])];
        input.value = ""; // Choosing the same file again must fire another change event.
        this.#add(files);
      });
    }
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.folderButton.addEventListener("click", () => this.folderInput.click());
    this.cameraButton.addEventListener("click", () => this.cameraInput.click());
    this.cancelAll.addEventListener("click", () => this.#cancelAll());
    this.retryFailed.addEventListener("click", () => this.#retryFailed());
    this.showProblems.addEventListener("click", () => this.#showProblem());
    this.#listenForDrops();
    document.addEventListener("paste", (event) => this.#paste(event));
    window.addEventListener("beforeunload", (event) => {
      if (this.queue.isBusy) {
        event.preventDefault();
      }
    });
  }

  #listenForDrops() {
    // Every element that the pointer enters or leaves fires an event, so count them.
    let depth = 0;
    /** @param {number} change */
    const changeDepth = (change) => {
      depth = Math.max(0, depth + change);
      this.dropzone.classList.toggle("dropzone--ready", depth > 0);
    };
    document.addEventListener("dragenter", (event) => hasFiles(event) && changeDepth(1));
    document.addEventListener("dragleave", (event) => hasFiles(event) && changeDepth(-1));
    document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    document.addEventListener("drop", async (event) => {
      if (!event.dataTransfer || !hasFiles(event)) {
        return;
      }
      event.preventDefault(); // Otherwise the browser leaves the page and opens the file.
      changeDepth(-depth);
      this.#addDropped(await readDroppedFiles(event.dataTransfer));
    });
  }

  /** @param {ClipboardEvent} event */
  async #paste(event) {
    if (event.clipboardData && !closestTarget(event, "input:not([type=file]), textarea")) {
      this.#addDropped(await readDroppedFiles(event.clipboardData));
    }
  }

  /** @param {import("./dropped_files.js").DroppedFiles} dropped */
  #addDropped({ files, unreadable }) {
    for (const name of unreadable) {
      this.#addRow(new File([], name)).show("rejected", UNREADABLE);
    }
    this.#add(files);
  }

  /** @param {File[]} files */
  #add(files) {
    for (const file of files.filter(isChosen)) {
      this.#check(this.#addRow(file));
    }
    this.#update();
    if (this.#rows.length > 0) {
      this.queueSection.scrollIntoView({ block: "nearest" });
    }
  }

  /** @param {File} file */
  #addRow(file) {
    const row = new UploadRow(this.rowTemplate, file, {
      onCancel: (cancelled) => this.#cancel(cancelled),
      onRetry: (retried) => this.#retry(retried),
    });
    this.#rows.push(row);
    this.rows.append(row.element);
    return row;
  }

  /** @param {UploadRow} row */
  async #check(row) {
    const refusal = await checkFile(row.file, this.limits);
    if (row.state !== "checking") {
      return; // It was cancelled during the check.
    }
    if (refusal) {
      row.show("rejected", refusal);
    } else {
      row.showPreview();
      this.#send(row);
    }
    this.#update();
  }

  /** @param {UploadRow} row */
  #send(row) {
    /** @type {Upload} */
    const upload = {
      file: row.file,
      options: readOptions(this.form),
      onStart: () => this.#show(row, "sending"),
      onProgress: (share) => {
        row.showProgress(share);
        this.#update();
      },
      onWait: () => {
        row.showProgress(0);
        this.#show(row, "waiting");
      },
      onResult: (result) => this.#finish(row, result),
    };
    this.#uploads.set(row, upload);
    row.showProgress(0);
    row.show("waiting");
    this.queue.add(upload);
  }

  /**
   * @param {UploadRow} row
   * @param {UploadResult} result
   */
  #finish(row, result) {
    this.#uploads.delete(row);
    if (result.url) {
      row.id = result.id ?? null;
      row.linkTo(result.url, result.outcome === "duplicate" ? "Open it" : "Open");
    }
    if (result.outcome === "accepted") {
      row.show("accepted", "Writing a caption…");
      this.#watch(row);
    } else {
      row.show(result.outcome, result.message);
    }
    this.#update();
  }

  /** @param {UploadRow} row */
  #watch(row) {
    if (row.id !== null) {
      this.poller.watch(row.id, (image) => {
        row.showStatus(image);
        this.#update();
      });
    }
  }

  /**
   * @param {UploadRow} row
   * @param {RowState} state
   * @param {string} [detail]
   */
  #show(row, state, detail) {
    row.show(state, detail);
    this.#update();
  }

  /** @param {UploadRow} row */
  #cancel(row) {
    const upload = this.#uploads.get(row);
    this.#uploads.delete(row);
    row.show("cancelled");
    if (upload) {
      this.queue.cancel(upload);
    }
    this.#update();
  }

  #cancelAll() {
    // Start with the last row, so that a cancelled upload does not start one that waits.
    for (const row of this.#rows.filter((each) => each.canCancel).reverse()) {
      this.#cancel(row);
    }
    this.#update();
  }

  #retryFailed() {
    for (const row of this.#failedRows()) {
      this.#retry(row);
    }
  }

  /** Return the rows for which another attempt can help. */
  #failedRows() {
    return this.#rows.filter((row) => row.canRetry && row.state !== "cancelled");
  }

  /** @param {UploadRow} row */
  async #retry(row) {
    if (row.state !== "failed") {
      this.#send(row); // The server does not have the file.
      this.#update();
      return;
    }
    row.show("accepted", "Trying again…");
    try {
      row.showStatus(await sendJSON("POST", `/api/images/${row.id}/retry`));
      this.#watch(row);
    } catch (error) {
      row.show("failed", messageOf(error));
    }
    this.#update();
  }

  #update() {
    const isBusy = this.#rows.some((row) => row.canCancel);
    this.queueSection.hidden = this.#rows.length === 0;
    this.#updateSummary();
    this.#updateBanner();
    this.#sortRows();
    this.showProblems.hidden = !this.#rows.some((row) => row.hasProblem);
    this.progress.value = sentShareOf(this.#rows);
    this.progress.hidden = !isBusy;
    this.cancelAll.hidden = !isBusy;
    const failedCount = this.#failedRows().length;
    this.retryFailed.hidden = failedCount === 0;
    this.retryFailedCount.textContent = `(${failedCount})`;
    this.galleryLink.hidden = isBusy || this.#count(...SENT_STATES) === 0;
  }

  /** Say once, above all files, what stops them. */
  #updateBanner() {
    const text = this.#describeState();
    this.banner.hidden = !text;
    if (this.bannerText.textContent !== text) {
      this.bannerText.textContent = text;
    }
    clearTimeout(this.countdown);
    if (this.queue.state.busyUntil !== null) {
      this.countdown = setTimeout(() => this.#updateBanner(), COUNTDOWN_MS);
    }
  }

  #describeState() {
    const { isOffline, busyUntil, hasNoCookies } = this.queue.state;
    const waiting = this.#count("waiting", "sending");
    const delayed = this.#rows.filter((row) => row.state === "accepted" && row.delay);
    return [
      isOffline &&
      `Connection lost. ${countFiles(waiting)}. Uploading continues when you are online.`,
      busyUntil !== null &&
      `The server is busy. ${countFiles(waiting)}. Continuing in ${secondsUntil(busyUntil)} s.`,
      delayed[0]?.delay &&
      `${delayed[0].delay} ${describeDelay(delayed.length)}`,
      (hasNoCookies || !navigator.cookieEnabled) &&
      "Your browser does not keep cookies. You can upload, but you cannot edit or delete these " +
        "images later. Allow cookies for this site, and reload the page.",
    ].filter(Boolean).join(" ");
  }

  /** Move files with a problem to the top, in their order. */
  #sortRows() {
    const problems = this.#rows.filter((row) => row.hasProblem);
    if (problems.every((row, index) => row.element === this.rows.children[index])) {
      return;
    }
    const focused = document.activeElement;
    this.rows.prepend(...problems.map((row) => row.element));
    if (focused instanceof HTMLElement && this.rows.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
  }

  #showProblem() {
    const row = this.#rows.find((each) => each.hasProblem);
    if (row) {
      row.element.tabIndex = -1;
      row.element.scrollIntoView({ block: "center" });
      row.element.focus({ preventScroll: true });
    }
  }

  #updateSummary() {
    const failed = this.#rows.filter((row) => row.state === "failed");
    const withoutCaption = failed.filter((row) => !row.hasCaption).length;
    const text = [
      `${this.#count(...UPLOADED_STATES)} of ${this.#rows.length} uploaded`,
      this.#count("completed") && `${this.#count("completed")} with caption`,
      this.#count("duplicate") && `${this.#count("duplicate")} already uploaded`,
      this.#count("rejected") && `${this.#count("rejected")} not accepted`,
      this.#count("not_sent") && `${this.#count("not_sent")} not sent`,
      withoutCaption && `${withoutCaption} couldn’t be captioned`,
      failed.length > withoutCaption && `${failed.length - withoutCaption} without thumbnail`,
      this.#count("cancelled") && `${this.#count("cancelled")} cancelled`,
    ].filter(Boolean).join(" · ");
    if (this.summary.textContent !== text) {
      this.summary.textContent = text;
      this.announce(`${text.replaceAll(" · ", ", ")}.`);
    }
  }

  /** @param {...RowState} states */
  #count(...states) {
    return this.#rows.filter((row) => states.includes(row.state)).length;
  }
}

/**
 * Return the share of all bytes that was sent, 0 to 1. Rejected and cancelled files do not count.
 *
 * @param {UploadRow[]} rows
 */
function sentShareOf(rows) {
  const counted = rows.filter((row) => !["rejected", "cancelled"].includes(row.state));
  const totalBytes = counted.reduce((sum, row) => sum + row.file.size, 0);
  const sentBytes = counted.reduce((sum, row) => {
    const share = SENT_STATES.includes(row.state) ? 1 : row.sentShare;
    return sum + row.file.size * share;
  }, 0);
  return totalBytes > 0 ? sentBytes / totalBytes : 0;
}

/** @param {number} count */
function countFiles(count) {
  return count === 1 ? "1 file waits" : `${count} files wait`;
}

/** @param {number} time in milliseconds */
function secondsUntil(time) {
  return Math.max(Math.ceil((time - Date.now()) / 1000), 1);
}

/** @param {DragEvent} event */
function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
