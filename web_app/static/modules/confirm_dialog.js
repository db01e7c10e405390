// Turns a <details> element that asks for confirmation into a modal dialog. Without JavaScript the
// <details> element stays and works.

import { createElement, getPart } from "./markup.js";

/** @param {HTMLElement} details */
export function mount(details) {
  const opener = getPart(details, "opener");
  const body = getPart(details, "body");
  const title = body.querySelector("[id]");
  if (!title) {
    throw new Error("A confirmation needs a title with an id.");
  }
  const cancel = createElement(
    "button",
    { type: "button", className: "button button--quiet" },
    "Cancel",
  );
  const dialog = createElement("dialog", { className: "dialog" }, body);
  const button = createElement("button", { type: "button", className: opener.className });
  dialog.setAttribute("aria-labelledby", title.id);
  button.append(...opener.childNodes);
  button.setAttribute("aria-haspopup", "dialog");
  body.lastElementChild?.prepend(cancel);
  details.replaceWith(button, dialog);

  button.addEventListener("click", () => {
    dialog.showModal();
    cancel.focus(); // A careless Enter must not start something that cannot be undone.
  });
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {
      dialog.close();
    }
  });
}
