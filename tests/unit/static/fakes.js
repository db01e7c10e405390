// Fakes of the browser for tests of the JavaScript modules: a clock, requests, a document.

/**
 * A clock that moves only when a test moves it. It replaces `Date.now` and the timers.
 */
export class FakeClock {
  now = 1_000_000;
  #nextId = 1;
  /** @type {Map<number, { at: number, callback: () => void }>} */
  #timers = new Map();
  #originals = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    dateNow: Date.now,
  };

  install() {
    Object.assign(globalThis, {
      /**
       * @param {() => void} callback
       * @param {number} ms
       */
      setTimeout: (callback, ms) => {
        this.#timers.set(this.#nextId, { at: this.now + ms, callback });
        return this.#nextId++;
      },
      /** @param {number} id */
      clearTimeout: (id) => this.#timers.delete(id),
    });
    Date.now = () => this.now;
  }

  uninstall() {
    const { setTimeout, clearTimeout, dateNow } = this.#originals;
    Object.assign(globalThis, { setTimeout, clearTimeout });
    Date.now = dateNow;
  }

  /** The seconds until each pending timer, in order. */
  get pendingSeconds() {
    return [...this.#timers.values()].map(({ at }) => (at - this.now) / 1000).sort((a, b) => a - b);
  }

  /**
   * Move the time forward and run the timers that are due, one after the other.
   *
   * @param {number} seconds
   */
  async advance(seconds) {
    const end = this.now + seconds * 1000;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end);
      const [next] = due.sort(([, a], [, b]) => a.at - b.at);
      if (!next) {
        break;
      }
      const [id, { at, callback }] = next;
      this.#timers.delete(id);
      this.now = at;
      callback();
      await settle();
    }
    this.now = end;
    await settle();
  }
}

/** Let all promises that can continue do so. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

/** A server that records the requests of `fetch` and answers with what a test has queued. */
export class FakeServer {
  /** @type {{ url: string, options: RequestInit }[]} */
  requests = [];
  /** @type {((url: string) => Response)[]} */
  #responses = [];
  #original = globalThis.fetch;

  install() {
    globalThis.fetch = (url, options = {}) => {
      this.requests.push({ url: String(url), options });
      const respond = this.#responses.shift();
      if (!respond) {
        return Promise.reject(new TypeError("No response is queued."));
      }
      return Promise.resolve(respond(String(url)));
    };
  }

  uninstall() {
    globalThis.fetch = this.#original;
  }

  /**
   * @param {unknown} body
   * @param {ResponseInit} [options]
   */
  queueJSON(body, options) {
    this.#responses.push(() => Response.json(body, options));
  }

  /**
   * @param {string} text
   * @param {ResponseInit} [options]
   */
  queueText(text, options) {
    this.#responses.push(() => new Response(text, options));
  }

  /**
   * Queue a function that builds the response from the URL.
   *
   * @param {(url: string) => unknown} build
   */
  queue(build) {
    this.#responses.push((url) => Response.json(build(url)));
  }
}

/** An XMLHttpRequest that a test answers by hand. */
export class FakeXMLHttpRequest extends EventTarget {
  /** @type {FakeXMLHttpRequest[]} */
  static sent = [];
  upload = new EventTarget();
  /** @type {Record<string, string>} */
  headers = {};
  /** @type {Record<string, string>} */
  responseHeaders = {};
  method = "";
  url = "";
  /** @type {FormData | null} */
  body = null;
  status = 0;
  responseText = "";
  isAborted = false;

  /**
   * @param {string} method
   * @param {string} url
   */
  open(method, url) {
    [this.method, this.url] = [method, url];
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  setRequestHeader(name, value) {
    this.headers[name] = value;
  }

  /** @param {string} name */
  getResponseHeader(name) {
    return this.responseHeaders[name] ?? null;
  }

  /** @param {FormData} body */
  send(body) {
    this.body = body;
    FakeXMLHttpRequest.sent.push(this);
  }

  abort() {
    this.isAborted = true;
  }

  /**
   * @param {number} status
   * @param {unknown} body
   * @param {Record<string, string>} [headers]
   */
  async respond(status, body, headers = {}) {
    this.status = status;
    this.responseText = typeof body === "string" ? body : JSON.stringify(body);
    this.responseHeaders = headers;
    this.dispatchEvent(new Event("load"));
    await settle();
  }

  async fail() {
    this.dispatchEvent(new Event("error"));
    await settle();
  }
}

/** An element of a fake document: attributes, children and events, no layout. */
export class FakeElement extends EventTarget {
  /** @type {FakeElement[]} */
  children = [];
  /** @type {FakeElement | null} */
  parentElement = null;
  /** @type {Record<string, string>} */
  dataset = {};
  /** @type {Set<string>} */
  classes = new Set();
  textContent = "";
  localName = "div";
  src = "";
  srcset = "";
  href = "";
  clicks = 0;
  complete = false;
  naturalWidth = 1;
  /** @type {Map<string, string>} */
  styles = new Map();
  style = {
    /**
     * @param {string} name
     * @param {string} value
     */
    setProperty: (name, value) => this.styles.set(name, value),
  };
  classList = {
    /** @param {string} name */
    add: (name) => this.classes.add(name),
  };

  get className() {
    return [...this.classes].join(" ");
  }

  /**
   * @param {...FakeElement} children
   * @returns {this}
   */
  with(...children) {
    for (const child of children) {
      child.parentElement = this;
      this.children.push(child);
    }
    return this;
  }

  remove() {
    const siblings = this.parentElement?.children ?? [];
    siblings.splice(siblings.indexOf(this), 1);
  }

  /** @param {string} name */
  getAttribute(name) {
    return this.dataset[name.replace("data-", "")] ?? null;
  }

  /** @param {string} selector of the form `tag[data-name]`, `tag[data-name="value"]` */
  matches(selector) {
    const match = selector.match(/^(\w*)\[data-(\w+)(?:="(.*)")?\]$/);
    if (!match) {
      throw new Error(`The fake does not support the selector ${selector}.`);
    }
    const [, tag, name = "", value] = match;
    const isTag = !tag || tag === this.localName;
    return isTag && name in this.dataset && (value === undefined || this.dataset[name] === value);
  }

  /**
   * @param {string} selector
   * @returns {FakeElement[]}
   */
  querySelectorAll(selector) {
    return this.children.flatMap((child) => [
      ...(child.matches(selector) ? [child] : []),
      ...child.querySelectorAll(selector),
    ]);
  }

  /** @param {string} selector */
  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null;
  }

  /**
   * @param {string} selector
   * @returns {FakeElement | null}
   */
  closest(selector) {
    return this.matches(selector) ? this : this.parentElement?.closest(selector) ?? null;
  }

  click() {
    this.clicks += 1;
  }
}

export class FakeImage extends FakeElement {
  /** @override */
  localName = "img";
}

export class FakeSource extends FakeElement {
  /** @override */
  localName = "source";
}

export class FakeAnchor extends FakeElement {
  /** @override */
  localName = "a";
}

/** A document with a body, a visibility and a CSRF token. */
export class FakeDocument extends FakeElement {
  hidden = false;
  csrfToken = "the-token";
  body = new FakeElement();

  /**
   * @override
   * @param {string} selector
   */
  querySelector(selector) {
    if (selector === 'meta[name="csrf-token"]') {
      return /** @type {any} */ ({ content: this.csrfToken });
    }
    return super.querySelector(selector);
  }
}

/** @typedef {{ clock: FakeClock, server: FakeServer, document: FakeDocument }} FakeBrowser */

/**
 * Register a test that runs in a fake browser.
 *
 * @param {string} name
 * @param {(browser: FakeBrowser) => Promise<void>} body
 */
export function browserTest(name, body) {
  Deno.test(name, async () => {
    const [clock, server, document] = [new FakeClock(), new FakeServer(), installDocument()];
    clock.install();
    server.install();
    try {
      await body({ clock, server, document });
    } finally {
      server.uninstall();
      clock.uninstall();
    }
  });
}

/** Replace the document and the element classes of the browser. */
function installDocument() {
  const document = new FakeDocument();
  Object.assign(globalThis, {
    document,
    Element: FakeElement,
    HTMLElement: FakeElement,
    HTMLImageElement: FakeImage,
    HTMLSourceElement: FakeSource,
    HTMLAnchorElement: FakeAnchor,
    XMLHttpRequest: FakeXMLHttpRequest,
    MutationObserver: FakeMutationObserver,
  });
  FakeXMLHttpRequest.sent = [];
  FakeMutationObserver.last = null;
  return document;
}

export class FakeMutationObserver {
  /** @type {FakeMutationObserver | null} */
  static last = null;

  /** @param {(changes: { addedNodes: FakeElement[] }[]) => void} callback */
  constructor(callback) {
    this.callback = callback;
    FakeMutationObserver.last = this;
  }

  observe() {}
}
