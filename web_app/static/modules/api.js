// Requests to the JSON API and to the pages of this site. Requests that change something carry the
// CSRF token of the page.

const TOKEN_SELECTOR = 'meta[name="csrf-token"]';
const MAX_RETRIES = 3;
const DEFAULT_RETRY_SECONDS = 5;
const MAX_RETRY_SECONDS = 300;

/**
 * Why a job failed or, while the job is pending, why its last attempt failed.
 *
 * @typedef {object} JobError
 * @property {string} code
 * @property {string} message
 */

/**
 * The fields of the API's image object that the pages use.
 *
 * @typedef {object} ImageStatus
 * @property {number} id
 * @property {string} filename
 * @property {"pending" | "completed" | "failed"} status
 * @property {string} annotation_status
 * @property {string} thumbnail_status
 * @property {string | null} annotation
 * @property {{ caption: "model" | "human" | null }} sources
 * @property {boolean} decorative
 * @property {"unreviewed" | "reviewed" | "changed"} review
 * @property {JobError | null} annotation_error
 * @property {JobError | null} thumbnail_error
 * @property {string | null} thumbnail_url
 * @property {string | null} preview_url
 * @property {string | null} preview_srcset
 * @property {string | null} original_url
 * @property {number} width
 * @property {number} height
 * @property {string} updated_at
 */

/** An error response of the server, or no response. The message is written for people. */
export class APIError extends Error {
  /**
   * @param {string} message
   * @param {object} details
   * @param {string | null} details.code the stable error code of the API
   * @param {number} details.status the HTTP status, or 0 without a response
   * @param {number | null} details.retryAfterSeconds null without a `Retry-After` header
   */
  constructor(message, { code, status, retryAfterSeconds }) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** @returns {string} the CSRF token of this page */
export function csrfToken() {
  return tokenElement(document)?.content ?? "";
}

/**
 * Fetch JSON.
 *
 * @param {string} url
 * @param {{ fresh?: boolean }} [options] `fresh` skips every cache, because presigned URLs in a
 *   cached response may have expired
 */
export async function getJSON(url, { fresh = false } = {}) {
  return readJSON(await fetchWithRetry(url, { cache: fresh ? "reload" : "no-cache" }));
}

/**
 * Fetch JSON, and its ETag, which a later edit can send as `If-Match`.
 *
 * @param {string} url
 * @returns {Promise<{ body: any, etag: string }>}
 */
export async function getWithETag(url) {
  const response = await fetchWithRetry(url, { cache: "no-cache" });
  return { body: await readJSON(response), etag: response.headers.get("ETag") ?? "" };
}

/**
 * Send JSON and return the JSON of the response, or null if it has none.
 *
 * @param {"POST" | "PATCH" | "DELETE"} method
 * @param {string} url
 * @param {object} [body]
 * @param {Record<string, string>} [headers] further headers
 */
export async function sendJSON(method, url, body, headers = {}) {
  const request = () =>
    fetchWithRetry(url, {
      method,
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": csrfToken(),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  try {
    return await readJSON(await request());
  } catch (error) {
    if (!(error instanceof APIError) || error.code !== "csrf_failed" || !(await renewToken())) {
      throw error;
    }
    return readJSON(await request());
  }
}

/**
 * Fetch a page of this site and parse it.
 *
 * @param {string} url
 * @param {{ fresh?: boolean }} [options]
 */
export async function getPage(url, { fresh = false } = {}) {
  const response = await fetchWithRetry(url, {
    headers: { Accept: "text/html" },
    cache: fresh ? "reload" : "no-cache",
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!response.ok) {
    throw createError(response, { error: page.querySelector("h1")?.textContent });
  }
  return page;
}

/**
 * Fetch a new CSRF token. A page that stays open outlives its token.
 *
 * @returns {Promise<boolean>} whether there is a new token
 */
export async function renewToken() {
  const token = tokenElement(await getPage(location.href, { fresh: true }))?.content;
  const current = tokenElement(document);
  if (!token || !current) {
    return false;
  }
  current.content = token;
  for (const field of document.querySelectorAll('input[name="csrf_token"]')) {
    /** @type {HTMLInputElement} */ (field).value = token;
  }
  return true;
}

// The same bytes always fail in the same way with these codes.
const HOPELESS_CODES = ["invalid_image", "too_many_pixels", "unsupported_format", "upload_failed"];

/**
 * Return whether no failed job can succeed at another attempt.
 *
 * @param {ImageStatus} image
 */
export function isHopeless(image) {
  const errors = [
    image.annotation_status === "failed" ? image.annotation_error : null,
    image.thumbnail_status === "failed" ? image.thumbnail_error : null,
  ].filter((error) => error !== null);
  return errors.length > 0 && errors.every((error) => HOPELESS_CODES.includes(error.code));
}

/**
 * Say which job of a failed image failed, and why.
 *
 * @param {ImageStatus} image
 */
export function describeFailure(image) {
  if (image.annotation_status === "failed") {
    return `Captioning failed: ${image.annotation_error?.message ?? ""}`;
  }
  return `Creating the thumbnail failed: ${image.thumbnail_error?.message ?? ""}`;
}

/**
 * Read a `Retry-After` header, which holds a number of seconds or a date.
 *
 * @param {string | null} header
 * @returns {number | null} seconds, or null if the header is missing or invalid
 */
export function parseRetryAfter(header) {
  if (!header) {
    return null;
  }
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), MAX_RETRY_SECONDS) : null;
}

/**
 * Send a request. Repeat a read that was rate limited (429) after the delay that the server names.
 *
 * @param {string} url
 * @param {RequestInit} options
 */
async function fetchWithRetry(url, options) {
  for (let retries = 0;; retries += 1) {
    const response = await fetchOnce(url, options);
    if (response.status !== 429 || options.method || retries === MAX_RETRIES) {
      return response;
    }
    const seconds = parseRetryAfter(response.headers.get("Retry-After")) ?? DEFAULT_RETRY_SECONDS;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

/**
 * @param {string} url
 * @param {RequestInit} options
 */
async function fetchOnce(url, { headers = {}, ...options }) {
  try {
    return await fetch(url, { headers: { Accept: "application/json", ...headers }, ...options });
  } catch {
    throw new APIError("The server did not answer. Check your connection and try again.", {
      code: "no_answer",
      status: 0,
      retryAfterSeconds: null,
    });
  }
}

/** @param {Response} response */
async function readJSON(response) {
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    throw createError(response, body);
  }
  return body;
}

/**
 * @param {Response} response
 * @param {{ error?: string | null, code?: string } | null} body
 */
function createError(response, body) {
  return new APIError(
    body?.error ?? `The server answered with status ${response.status}. Try again.`,
    {
      code: body?.code ?? null,
      status: response.status,
      retryAfterSeconds: parseRetryAfter(response.headers.get("Retry-After")),
    },
  );
}

/**
 * @param {Document} page
 * @returns {HTMLMetaElement | null}
 */
function tokenElement(page) {
  return page.querySelector(TOKEN_SELECTOR);
}
