// How modules find their way in the page, and say so loudly when it is not there.

/** The one element marked `data-part="name"` within `root`. Throws when there is none. */
export function part(root, name) {
  const found = root.querySelector(`[data-part="${name}"]`);
  if (!found) {
    throw new Error(`The markup lacks data-part="${name}" in ${describe(root)}.`);
  }
  return found;
}

/** An attribute `data-…` of an element, as a number. Throws when it is none. */
export function numberOf(element, name) {
  const value = Number(element.dataset[name]);
  if (!element.dataset[name] || Number.isNaN(value)) {
    throw new Error(`${describe(element)} lacks a number in its data attribute “${name}”.`);
  }
  return value;
}

/** An icon of the page's own set. */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `${new URL("../icons.svg", import.meta.url).pathname}#${name}`);
  svg.append(use);
  return svg;
}

/** An element with properties and children, in one breath. Text is text, never markup. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Say something to a screen reader through a live region, at most once a second: the latest. */
export function announcer(region) {
  let timer = null;
  let latest = "";
  return (words) => {
    latest = words;
    timer ??= setTimeout(() => {
      timer = null;
      region.textContent = latest;
    }, 1000);
  };
}

function describe(root) {
  return root === document ? "the document" : `<${root.localName} class="${root.className}">`;
}
