// The keys of the review desk. They can be switched off, because speech input may press them
// unintended (WCAG 2.1.4).

const STORAGE_KEY = "review shortcuts";

/** @type {Record<string, string>} */
const ACTIONS = {
  "?": "help",
  ArrowLeft: "previous",
  ArrowRight: "next",
  Delete: "delete",
  Enter: "approve",
  d: "toggle_decorative",
  e: "edit",
  j: "next",
  k: "previous",
  r: "new_caption",
};

/**
 * The part of a keyboard event that decides.
 *
 * @typedef {Pick<
 *   KeyboardEvent,
 *   "key" | "ctrlKey" | "metaKey" | "altKey" | "defaultPrevented" | "isComposing" | "repeat"
 * > & { target: EventTarget | null }} Key
 */

/**
 * Return the action of a key, or null. No key acts while text is typed.
 *
 * @param {Key} event
 * @returns {string | null}
 */
export function shortcutOf(event) {
  const isInField = isWithin(event, "input, textarea, select, [contenteditable], dialog");
  // A key that is held down must not approve one image after the other.
  if (isInField || event.defaultPrevented || event.isComposing || event.repeat) {
    return null;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "z" && (event.ctrlKey || event.metaKey) && !event.altKey) {
    return "undo";
  }
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return null;
  }
  // Enter presses a button or a link that has the focus.
  if (key === "Enter" && isWithin(event, "a, button, summary")) {
    return null;
  }
  return Object.hasOwn(ACTIONS, key) ? ACTIONS[key] : null;
}

/**
 * @param {Key} event
 * @param {string} selector
 */
function isWithin(event, selector) {
  return event.target instanceof Element && event.target.closest(selector) !== null;
}

/** Return whether the shortcuts are switched on in this browser. */
export function isSwitchedOn() {
  try {
    return localStorage.getItem(STORAGE_KEY) !== "off";
  } catch {
    return true; // The storage is switched off.
  }
}

/** @param {boolean} isOn */
export function switchShortcuts(isOn) {
  try {
    localStorage.setItem(STORAGE_KEY, isOn ? "on" : "off");
  } catch {
    // The storage is switched off, so the shortcuts stay on.
  }
}
