// Uploads files: one per request, a few requests at a time. Pauses when the server asks for it and
// while there is no connection.

import { csrfToken, parseRetryAfter, renewToken, sendJSON } from "./api.js";

const MAX_PARALLEL_REQUESTS = 3;
const MAX_PAUSES_PER_FILE = 30; // A server that is busy for longer gets no more requests for it.
const MAX_LOSSES_PER_FILE = 5; // A file that breaks every connection must not stop the others.
const DEFAULT_PAUSE_SECONDS = 5;
const PROBE_URL = "/health";
const MIN_PROBE_SECONDS = 1;
const MAX_PROBE_SECONDS = 30;
const KEPT = "Its caption stays as it is. Ask for a new one on its page.";
const LOST = "The connection was lost each time this file was sent. Check that the file still " +
  "opens on your device, and retry.";

/**
 * The outcome of one upload. `not_sent` means that sending the file again may succeed, `rejected`
 * that it cannot.
 *
 * @typedef {object} UploadResult
 * @property {"accepted" | "duplicate" | "rejected" | "not_sent"} outcome
 * @property {number} [id]
 * @property {string} [url]
 * @property {string} [message]
 */

/**
 * A file and the functions that follow its upload.
 *
 * @typedef {object} Upload
 * @property {File} file
 * @property {Record<string, string | boolean | null>} options how to describe it: further fields of the form
 * @property {() => void} onStart
 * @property {(share: number) => void} onProgress called with the share that was sent, 0 to 1
 * @property {() => void} onWait called when the file must be sent again after a pause
 * @property {(result: UploadResult) => void} onResult
 */

/**
 * What stops the whole queue: the server is busy until `until` (a time in milliseconds), or there
 * is no connection. `hasNoCookies` says that the browser did not keep the cookie of its owner.
 *
 * @typedef {object} QueueState
 * @property {number | null} busyUntil
 * @property {boolean} isOffline
 * @property {boolean} hasNoCookies
 */

/**
 * The queue of one page.
 *
 * A visitor whose page request had no owner cookie gets one before the first upload, so that the
 * image belongs to the visitor even if the response to its upload is lost. If that fails, the first
 * response sets the cookie. Parallel requests without the cookie would each create another owner,
 * so the queue sends one file at a time until `isOwnerKnown`.
 */
export class UploadQueue {
  /** @type {Upload[]} */
  #queued = [];
  /** @type {Map<Upload, XMLHttpRequest>} */
  #active = new Map();
  /** @type {WeakMap<Upload, number>} */
  #pauseCounts = new WeakMap();
  /** @type {WeakMap<Upload, number>} */
  #lossCounts = new WeakMap();
  /** @type {WeakSet<Upload>} */
  #hasNewToken = new WeakSet();
  #wasOwnerRequested = false;
  #isRequestingOwner = false;
  #pausedUntil = 0;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  #isOffline = false;
  #probeSeconds = MIN_PROBE_SECONDS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #probeTimer;
  #hasNoCookies = false;

  /**
   * @param {string} url
   * @param {{ isOwnerKnown: boolean, onState?: () => void }} options `onState` is called when
   *   `state` has changed
   */
  constructor(url, { isOwnerKnown, onState = () => {} }) {
    this.url = url;
    this.isOwnerKnown = isOwnerKnown;
    this.onState = onState;
    globalThis.addEventListener("online", () => this.#isOffline && this.#probe());
  }

  /** @returns {QueueState} */
  get state() {
    return {
      busyUntil: this.#pausedUntil > Date.now() ? this.#pausedUntil : null,
      isOffline: this.#isOffline,
      hasNoCookies: this.#hasNoCookies,
    };
  }

  /** Whether an upload is running or queued. */
  get isBusy() {
    return this.#queued.length + this.#active.size > 0;
  }

  /** @param {Upload} upload */
  add(upload) {
    this.#pauseCounts.set(upload, 0);
    this.#lossCounts.set(upload, 0);
    this.#queued.push(upload);
    this.#startNext();
  }

  /**
   * Remove an upload, and abort its request if it is running.
   *
   * @param {Upload} upload
   */
  cancel(upload) {
    this.#queued = this.#queued.filter((queued) => queued !== upload);
    const request = this.#active.get(upload);
    this.#active.delete(upload);
    request?.abort();
    this.#startNext();
  }

  #startNext() {
    if (this.#isOffline || this.#isRequestingOwner || this.#queued.length === 0) {
      return;
    }
    const pauseMs = this.#pausedUntil - Date.now();
    if (pauseMs > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.onState();
        this.#startNext();
      }, pauseMs);
      return;
    }
    if (!this.isOwnerKnown && !this.#wasOwnerRequested) {
      this.#requestOwner();
      return;
    }
    const limit = this.isOwnerKnown ? MAX_PARALLEL_REQUESTS : 1;
    while (this.#active.size < limit) {
      const upload = this.#queued.shift();
      if (!upload) {
        return;
      }
      this.#send(upload);
    }
  }

  async #requestOwner() {
    this.#wasOwnerRequested = true;
    this.#isRequestingOwner = true;
    this.isOwnerKnown = await sendJSON("POST", "/api/owners").then(() => true, () => false);
    this.#isRequestingOwner = false;
    this.#startNext();
  }

  /** @param {Upload} upload */
  #send(upload) {
    const request = new XMLHttpRequest(); // fetch() does not report upload progress.
    const body = new FormData();
    for (const [name, value] of Object.entries(upload.options)) {
      body.append(name, String(value));
    }
    body.append("image", upload.file, upload.file.name);
    request.open("POST", this.url);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total > 0) {
        upload.onProgress(event.loaded / event.total);
      }
    });
    request.addEventListener("load", () => this.#handleResponse(upload, request));
    request.addEventListener("error", () => this.#handleLoss(upload));
    this.#active.set(upload, request);
    upload.onStart();
    request.send(body);
  }

  /**
   * @param {Upload} upload
   * @param {XMLHttpRequest} request
   */
  async #handleResponse(upload, request) {
    const body = parseJSON(request.responseText);
    const pauseCount = this.#pauseCounts.get(upload) ?? 0;
    if ([429, 503].includes(request.status) && pauseCount < MAX_PAUSES_PER_FILE) {
      this.#pauseCounts.set(upload, pauseCount + 1);
      this.#pause(upload, parseRetryAfter(request.getResponseHeader("Retry-After")));
      return;
    }
    if (body?.code === "csrf_failed" && !this.#hasNewToken.has(upload)) {
      this.#hasNewToken.add(upload);
      if (await renewToken().catch(() => false)) {
        this.#requeue(upload);
        return;
      }
    }
    if (body?.owner_token && this.isOwnerKnown) {
      this.#hasNoCookies = true; // The server has made another owner.
      this.onState();
    }
    // A response with results has set the owner cookie, even if it rejects the file.
    this.isOwnerKnown ||= Boolean(body?.results);
    this.#finish(upload, readResult(request.status, body));
  }

  /**
   * @param {Upload} upload
   * @param {number | null} retryAfterSeconds
   */
  #pause(upload, retryAfterSeconds) {
    const seconds = retryAfterSeconds ?? DEFAULT_PAUSE_SECONDS;
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + seconds * 1000);
    this.#requeue(upload);
    this.onState();
  }

  /**
   * Stop the queue until there is a connection again.
   *
   * @param {Upload} upload
   */
  #handleLoss(upload) {
    const lossCount = (this.#lossCounts.get(upload) ?? 0) + 1;
    this.#lossCounts.set(upload, lossCount);
    if (lossCount > MAX_LOSSES_PER_FILE) {
      this.#finish(upload, { outcome: "not_sent", message: LOST });
      return;
    }
    if (!this.#isOffline) {
      this.#isOffline = true;
      this.#probeSeconds = MIN_PROBE_SECONDS;
      this.#scheduleProbe();
    }
    this.#requeue(upload);
    this.onState();
  }

  #scheduleProbe() {
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => this.#probe(), this.#probeSeconds * 1000);
    this.#probeSeconds = Math.min(2 * this.#probeSeconds, MAX_PROBE_SECONDS);
  }

  /** Continue if the server answers, with any status; else try again later. */
  async #probe() {
    clearTimeout(this.#probeTimer);
    const isBack = await fetch(PROBE_URL, { cache: "no-store" }).then(() => true, () => false);
    if (!isBack) {
      this.#scheduleProbe();
      return;
    }
    this.#isOffline = false;
    this.onState();
    this.#startNext();
  }

  /** @param {Upload} upload */
  #requeue(upload) {
    if (!this.#active.delete(upload)) {
      return; // It was cancelled in the meantime.
    }
    this.#queued.unshift(upload);
    upload.onWait();
    this.#startNext();
  }

  /**
   * @param {Upload} upload
   * @param {UploadResult} result
   */
  #finish(upload, result) {
    if (!this.#active.delete(upload)) {
      return; // It was cancelled while the request was running.
    }
    upload.onResult(result);
    this.#startNext();
  }
}

/**
 * Read the result of one file from the response of the server.
 *
 * @param {number} status
 * @param {any} body
 * @returns {UploadResult}
 */
function readResult(status, body) {
  const result = body?.results?.[0];
  if (result && result.outcome !== "rejected") {
    const { outcome, id, url } = result;
    return result.options_ignored ? { outcome, id, url, message: KEPT } : { outcome, id, url };
  }
  const message = result?.error?.message ?? body?.error ??
    `The server answered with status ${status}. Try again.`;
  // Server errors are transient. A file that was rejected will be rejected again.
  const isTransient = status >= 500 || status === 429 || status === 408 ||
    body?.code === "csrf_failed";
  return { outcome: isTransient ? "not_sent" : "rejected", message };
}

/** @param {string} text */
function parseJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
