// Sends files, a few at a time, one to a request; waits when the server asks for patience.

import { csrfToken, parseRetryAfter, renewToken } from "./api.js";

const PARALLEL = 3;
const MAX_WAITS = 30; // Of one file. A server that is away for longer gets a rest from it.
const DEFAULT_WAIT_SECONDS = 5;

/**
 * `send` and what became of it.
 *
 * The first answer to a new visitor sets the cookie that makes the images theirs. Requests sent
 * beside it would each make another owner, so until `isOwnerKnown`, one travels alone.
 */
export class UploadQueue {
  #waiting = [];
  #active = new Map(); // job → XMLHttpRequest
  #pausedUntil = 0;
  #timer = null;

  constructor(url, { isOwnerKnown }) {
    this.url = url;
    this.isOwnerKnown = isOwnerKnown;
  }

  /** Something is on its way or waits for its turn. */
  get isBusy() {
    return this.#waiting.length + this.#active.size > 0;
  }

  /** A job: `file`, and `onStart()`, `onProgress(0…1)`, `onWait(seconds)`, `onResult(result)`. */
  add(job) {
    job.waits = 0;
    this.#waiting.push(job);
    this.#next();
  }

  /** Forget a job wherever it stands. */
  cancel(job) {
    this.#waiting = this.#waiting.filter((waiting) => waiting !== job);
    const request = this.#active.get(job);
    this.#active.delete(job);
    request?.abort();
    this.#next();
  }

  #next() {
    const pauseMs = this.#pausedUntil - Date.now();
    if (pauseMs > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#next();
      }, pauseMs);
      return;
    }
    const parallel = this.isOwnerKnown ? PARALLEL : 1;
    while (this.#active.size < parallel && this.#waiting.length > 0) {
      this.#send(this.#waiting.shift());
    }
  }

  #send(job) {
    const request = new XMLHttpRequest(); // fetch() cannot tell how much of a file has left.
    const body = new FormData();
    body.append("image", job.file, job.file.name);
    request.open("POST", this.url);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total > 0) {
        job.onProgress(event.loaded / event.total);
      }
    });
    request.addEventListener("load", () => this.#answered(job, request));
    request.addEventListener(
      "error",
      () =>
        this.#finish(job, {
          outcome: "failed",
          message: "The connection broke. Retry when you are online.",
        }),
    );
    this.#active.set(job, request);
    job.onStart();
    request.send(body);
  }

  async #answered(job, request) {
    const body = parseJSON(request.responseText);
    if ([429, 503].includes(request.status) && job.waits < MAX_WAITS) {
      this.#wait(job, parseRetryAfter(request.getResponseHeader("Retry-After")));
      return;
    }
    if (body?.code === "csrf_failed" && !job.hasNewToken) {
      job.hasNewToken = true;
      if (await renewToken().catch(() => false)) {
        this.#active.delete(job);
        this.#waiting.unshift(job);
        this.#next();
        return;
      }
    }
    // Whatever the answer says of the file, it has named its sender.
    this.isOwnerKnown ||= Boolean(body?.results);
    this.#finish(job, resultOf(request.status, body));
  }

  #wait(job, seconds) {
    const pauseSeconds = seconds ?? DEFAULT_WAIT_SECONDS;
    job.waits += 1;
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + pauseSeconds * 1000);
    this.#active.delete(job);
    this.#waiting.unshift(job);
    job.onWait(pauseSeconds);
    this.#next();
  }

  #finish(job, result) {
    if (!this.#active.delete(job)) {
      return; // It was cancelled meanwhile.
    }
    job.onResult(result);
    this.#next();
  }
}

/** What an answer means for one file: `outcome`, `id`, `url`, `message`. */
function resultOf(status, body) {
  const result = body?.results?.[0];
  if (result && result.outcome !== "rejected") {
    return { outcome: result.outcome, id: result.id, url: result.url };
  }
  const message = result?.error?.message ?? body?.error ?? `The server answered with ${status}.`;
  // Trouble of the server's passes; a refused file stays refused.
  const isPassing = status >= 500 || status === 429 || status === 408 ||
    body?.code === "csrf_failed";
  return { outcome: isPassing ? "failed" : "rejected", message };
}

function parseJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
