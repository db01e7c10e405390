// Requests to our own API, with the token that proves they come from our own page.

const TOKEN = 'meta[name="csrf-token"]';
const MAX_WAITS = 3;
const DEFAULT_WAIT_SECONDS = 5;

/** What the server refused, in its own words. */
export class APIError extends Error {
  constructor(message, { code, status, retryAfterSeconds }) {
    super(message);
    this.code = code;
    this.status = status; // 0: no answer at all.
    this.retryAfterSeconds = retryAfterSeconds; // null: the server did not say.
  }
}

export function csrfToken() {
  return document.querySelector(TOKEN)?.content ?? "";
}

/** Ask for JSON. `fresh` leaves out every cache, for links that may have died in one. */
export async function getJSON(url, { fresh = false } = {}) {
  return readJSON(await send(url, { cache: fresh ? "reload" : "no-cache" }));
}

/** Send JSON and return the answer's, or null when it has none. */
export async function sendJSON(method, url, body) {
  const ask = () =>
    send(url, {
      method,
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  try {
    return await readJSON(await ask());
  } catch (error) {
    if (error.code !== "csrf_failed" || !(await renewToken())) {
      throw error;
    }
    return readJSON(await ask());
  }
}

/** A page of ours, parsed. */
export async function getPage(url, { fresh = false } = {}) {
  const response = await send(url, {
    headers: { Accept: "text/html" },
    cache: fresh ? "reload" : "no-cache",
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!response.ok) {
    throw errorOf(response, { error: page.querySelector("h1")?.textContent });
  }
  return page;
}

/** Fetch a new token, for a page that was open for longer than its token lived. */
export async function renewToken() {
  const page = await getPage(location.href, { fresh: true });
  const token = page.querySelector(TOKEN)?.content;
  if (token) {
    document.querySelector(TOKEN).content = token;
    for (const field of document.querySelectorAll('input[name="csrf_token"]')) {
      field.value = token;
    }
  }
  return Boolean(token);
}

/** Seconds that a `Retry-After` header asks for: a number or a date. Null when there is none. */
export function parseRetryAfter(header) {
  if (!header) {
    return null;
  }
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), 300) : null;
}

/** Ask, and again when the server asks for patience: a page that is only read is worth a wait. */
async function send(url, options) {
  for (let waits = 0;; waits += 1) {
    const response = await ask(url, options);
    if (response.status !== 429 || options.method || waits === MAX_WAITS) {
      return response;
    }
    const seconds = parseRetryAfter(response.headers.get("Retry-After")) ?? DEFAULT_WAIT_SECONDS;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

async function ask(url, { headers = {}, ...options }) {
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

async function readJSON(response) {
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    throw errorOf(response, body);
  }
  return body;
}

function errorOf(response, body) {
  return new APIError(body?.error ?? `The server answered with ${response.status}. Try again.`, {
    code: body?.code ?? null,
    status: response.status,
    retryAfterSeconds: parseRetryAfter(response.headers.get("Retry-After")),
  });
}
