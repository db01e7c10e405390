// The upload page: takes files by drop, paste and picker, and shows what becomes of each.

import { sendJSON } from "./api.js";
import { filesOf } from "./dropped_files.js";
import { refusalOf } from "./file_check.js";
import { announcer, numberOf, part } from "./markup.js";
import { StatusPoller } from "./status_poller.js";
import { UploadQueue } from "./upload_queue.js";
import { UploadRow } from "./upload_row.js";

const SENT = ["accepted", "completed", "unfinished", "duplicate"];

export function mount(form) {
  new Uploader(form);
}

class Uploader {
  #rows = [];
  #jobs = new Map(); // row → job

  constructor(form) {
    this.form = form;
    this.maxBytes = numberOf(form, "maxUploadBytes");
    for (
      const name of [
        "input",
        "folder-input",
        "folder-button",
        "dropzone",
        "rows",
        "summary",
        "progress",
        "retry-failed",
        "cancel-all",
        "gallery-link",
        "row-template",
      ]
    ) {
      this[camelCase(name)] = part(form, name);
    }
    this.announce = announcer(part(form, "announcer"));
    this.poller = new StatusPoller();
    this.queue = new UploadQueue(form.action, { isOwnerKnown: "ownerKnown" in form.dataset });
    this.#listen();
    // Only now, with everything in place, the plain form gives way.
    part(form, "label").textContent = "Choose images";
    part(form, "label").classList.add("button");
    part(form, "submit").hidden = true;
    for (const name of ["drop-title", "folder-button", "paste-hint"]) {
      part(form, name).hidden = false;
    }
    form.classList.add("uploader--enhanced");
  }

  #listen() {
    for (const input of [this.input, this.folderInput]) {
      input.addEventListener("change", () => {
        const files = [...input.files];
        input.value = ""; // So that the same file can be chosen again.
        this.#add(files);
      });
    }
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.folderButton.addEventListener("click", () => this.folderInput.click());
    this.cancelAll.addEventListener("click", () => this.#cancelAll());
    this.retryFailed.addEventListener("click", () => this.#retryFailed());
    this.#listenForDrops();
    document.addEventListener("paste", (event) => this.#paste(event));
    window.addEventListener("beforeunload", (event) => {
      if (this.queue.isBusy) {
        event.preventDefault();
      }
    });
  }

  #listenForDrops() {
    let depth = 0; // Each element that is entered or left tells of it; only the page counts.
    const isFiles = (event) => event.dataTransfer?.types.includes("Files");
    const light = (change) => {
      depth = Math.max(0, depth + change);
      this.dropzone.classList.toggle("dropzone--ready", depth > 0);
    };
    document.addEventListener("dragenter", (event) => isFiles(event) && light(1));
    document.addEventListener("dragleave", (event) => isFiles(event) && light(-1));
    document.addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
    document.addEventListener("drop", async (event) => {
      if (!isFiles(event)) {
        return;
      }
      event.preventDefault(); // Or the browser would leave the page to show the file.
      light(-depth);
      this.#add(await filesOf(event.dataTransfer));
    });
  }

  async #paste(event) {
    if (event.target.closest?.("input:not([type=file]), textarea")) {
      return;
    }
    const files = await filesOf(event.clipboardData);
    this.#add(files);
  }

  #add(files) {
    for (const file of files) {
      const row = new UploadRow(this.rowTemplate, file, {
        onCancel: (cancelled) => this.#cancel(cancelled),
        onRetry: (retried) => this.#retry(retried),
      });
      this.#rows.push(row);
      this.rows.append(row.element);
      this.#check(row);
    }
    this.#update();
    if (files.length > 0) {
      part(this.form, "queue").scrollIntoView({ block: "nearest" });
    }
  }

  async #check(row) {
    const refusal = await refusalOf(row.file, this.maxBytes);
    if (row.state !== "checking") {
      return; // Cancelled meanwhile.
    }
    if (refusal) {
      row.show("rejected", refusal);
    } else {
      row.showPreview();
      this.#send(row);
    }
    this.#update();
  }

  #send(row) {
    const job = {
      file: row.file,
      onStart: () => this.#show(row, "sending"),
      onProgress: (share) => {
        row.showProgress(share);
        this.#update();
      },
      onWait: (seconds) =>
        this.#show(row, "paused", `It goes on by itself in ${Math.ceil(seconds)} s.`),
      onResult: (result) => this.#finish(row, result),
    };
    this.#jobs.set(row, job);
    row.showProgress(0);
    row.show("waiting");
    this.queue.add(job);
  }

  #finish(row, result) {
    this.#jobs.delete(row);
    if (result.url) {
      row.id = result.id;
      row.linkTo(result.url, result.outcome === "duplicate" ? "Open the first" : "Open");
    }
    if (result.outcome === "accepted") {
      row.show("accepted", "Waiting for its caption…");
      this.#watch(row);
    } else {
      row.show(result.outcome, result.message);
    }
    this.#update();
  }

  #watch(row) {
    this.poller.watch(row.id, (image) => {
      row.showImage(image);
      this.#update();
    });
  }

  #show(row, state, detail) {
    row.show(state, detail);
    this.#update();
  }

  #cancel(row) {
    const job = this.#jobs.get(row);
    this.#jobs.delete(row);
    row.show("cancelled");
    if (job) {
      this.queue.cancel(job);
    }
    this.#update();
  }

  #cancelAll() {
    // The last first, so that none that waits is started by the end of one before it.
    for (const row of this.#rows.filter((each) => each.canCancel).reverse()) {
      this.#cancel(row);
    }
    this.#update();
  }

  #retryFailed() {
    for (const row of this.#rows.filter((each) => ["failed", "unfinished"].includes(each.state))) {
      this.#retry(row);
    }
  }

  async #retry(row) {
    if (row.state !== "unfinished") {
      this.#send(row); // It never arrived.
      this.#update();
      return;
    }
    row.show("accepted", "Trying again…");
    try {
      row.showImage(await sendJSON("POST", `/api/images/${row.id}/retry`));
      this.#watch(row);
    } catch (error) {
      row.show("unfinished", error.message);
    }
    this.#update();
  }

  #update() {
    const count = (...states) => this.#rows.filter((row) => states.includes(row.state)).length;
    const total = this.#rows.length;
    const refused = count("rejected", "failed");
    const busy = this.#rows.filter((row) => row.canCancel).length;
    const words = [
      `${count(...SENT)} of ${total} sent`,
      count("completed") && `${count("completed")} with caption`,
      count("duplicate") && `${count("duplicate")} sent before`,
      refused && `${refused} not accepted`,
      count("unfinished") && `${count("unfinished")} failed on the server`,
      count("cancelled") && `${count("cancelled")} cancelled`,
    ].filter(Boolean).join(" · ");
    part(this.form, "queue").hidden = total === 0;
    if (this.summary.textContent !== words) {
      this.summary.textContent = words;
      this.announce(`${words.replaceAll(" · ", ", ")}.`);
    }
    const travelling = this.#rows.filter((row) => !["rejected", "cancelled"].includes(row.state));
    const bytes = travelling.reduce((sum, row) => sum + row.file.size, 0);
    const sent = travelling.reduce((sum, row) => sum + row.file.size * shareOf(row), 0);
    this.progress.value = bytes > 0 ? sent / bytes : 0;
    this.progress.hidden = busy === 0;
    this.cancelAll.hidden = busy === 0;
    this.retryFailed.hidden = count("failed", "unfinished") === 0;
    this.galleryLink.hidden = busy > 0 || count(...SENT) === 0;
  }
}

function shareOf(row) {
  return SENT.includes(row.state) ? 1 : row.sentShare;
}

function camelCase(name) {
  return name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
}
