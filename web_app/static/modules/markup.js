// Helpers that find and create elements. They throw when the markup of a page lacks what a module
// needs, so that a mistake in a template is noticed.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const ANNOUNCE_DELAY_MS = 1000;

/**
 * Return the element marked `data-part="name"` within `root`.
 *
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} name
 * @param {new () => T} [type] the class that the element must have
 * @returns {T}
 */
export function getPart(root, name, type) {
  const found = root.querySelector(`[data-part="${name}"]`);
  if (!(found instanceof (type ?? HTMLElement))) {
    throw new Error(`The markup lacks data-part="${name}" in ${describe(root)}.`);
  }
  return /** @type {T} */ (found);
}

/**
 * Return a data attribute of an element as a number.
 *
 * @param {HTMLElement} element
 * @param {string} name as in `dataset`, for example "imageId"
 */
export function getNumber(element, name) {
  const value = Number(element.dataset[name]);
  if (!element.dataset[name] || Number.isNaN(value)) {
    throw new Error(`${describe(element)} lacks a number in its data attribute “${name}”.`);
  }
  return value;
}

/**
 * Return the nearest element around the target of an event that matches a selector.
 *
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function closestTarget(event, selector) {
  return event.target instanceof Element ? event.target.closest(selector) : null;
}

/**
 * Create an icon from icons.svg.
 *
 * @param {string} name
 */
export function createIcon(name) {
  const icon = createShape("icon");
  const use = document.createElementNS(SVG_NAMESPACE, "use");
  use.setAttribute("href", `${new URL("../icons.svg", import.meta.url).pathname}#${name}`);
  icon.append(use);
  return icon;
}

/**
 * Create an empty SVG element that assistive technology ignores.
 *
 * @param {string} className
 */
export function createShape(className) {
  const svg = document.createElementNS(SVG_NAMESPACE, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

/**
 * Create an element with properties and children. Strings become text, never markup.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function createElement(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * Create a function that announces a text to screen readers through a live region. It announces at
 * most one text per second, the latest.
 *
 * @param {HTMLElement} region
 * @returns {(text: string) => void}
 */
export function createAnnouncer(region) {
  let isScheduled = false;
  let latest = "";
  return (text) => {
    latest = text;
    if (!isScheduled) {
      isScheduled = true;
      setTimeout(() => {
        isScheduled = false;
        region.textContent = latest;
      }, ANNOUNCE_DELAY_MS);
    }
  };
}

/**
 * Return the message of anything that was thrown.
 *
 * @param {unknown} error
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @param {ParentNode} root */
function describe(root) {
  return root instanceof Element ? `<${root.localName} class="${root.className}">` : "the document";
}
