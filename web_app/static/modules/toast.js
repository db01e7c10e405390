// Shows the result of an action at the bottom of the page, where a screen reader announces it too.

import { createElement, createIcon, getPart } from "./markup.js";

const SHOWN_MS = 8_000;

/**
 * A button in a message.
 *
 * @typedef {object} ToastAction
 * @property {string} label
 * @property {() => void} onPress
 */

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * Show a message in place of the previous one. An error, and a message with a button, stay until
 * they are closed; the others disappear after some seconds.
 *
 * @param {string} text
 * @param {{ isError?: boolean, action?: ToastAction }} [options]
 */
export function showToast(text, { isError = false, action } = {}) {
  const region = getPart(document, "toasts");
  const message = createElement("span", { className: "toast__text", dir: "auto" }, text);
  const close = createElement("button", { type: "button", className: "toast__close" });
  close.append(createIcon("close"));
  close.setAttribute("aria-label", "Close message");
  close.addEventListener("click", hideToast);
  const toast = createElement(
    "div",
    { className: isError ? "toast toast--error" : "toast" },
    createIcon(isError ? "alert" : "check"),
    message,
  );
  if (action) {
    const button = createElement("button", {
      type: "button",
      className: "toast__action",
      textContent: action.label,
    });
    button.addEventListener("click", () => {
      hideToast();
      action.onPress();
    });
    toast.append(button);
  }
  toast.append(close);
  region.replaceChildren(toast);
  clearTimeout(timer);
  timer = isError || action ? undefined : setTimeout(hideUnlessUsed, SHOWN_MS);
}

export function hideToast() {
  clearTimeout(timer);
  getPart(document, "toasts").replaceChildren();
}

/** Hide the message, but not while it has the pointer or the focus. */
function hideUnlessUsed() {
  if (document.querySelector(".toast:is(:hover, :focus-within)")) {
    timer = setTimeout(hideUnlessUsed, SHOWN_MS);
  } else {
    hideToast();
  }
}
