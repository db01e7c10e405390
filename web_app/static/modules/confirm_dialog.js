// Turns a <details> that asks for confirmation into a modal dialog. Without script it stays what
// it is, and works.

import { element, part } from "./markup.js";

export function mount(details) {
  const opener = part(details, "opener");
  const body = part(details, "body");
  const title = body.querySelector("[id]");
  if (!title) {
    throw new Error("A confirmation needs a title with an id.");
  }
  const cancel = element("button", { type: "button", className: "button button--quiet" }, "Cancel");
  const dialog = element("dialog", { className: "dialog" }, body);
  const button = element("button", { type: "button", className: opener.className });
  dialog.setAttribute("aria-labelledby", title.id);
  button.append(...opener.childNodes);
  button.setAttribute("aria-haspopup", "dialog");
  body.lastElementChild.prepend(cancel);
  details.replaceWith(button, dialog);

  button.addEventListener("click", () => {
    dialog.showModal();
    cancel.focus(); // What cannot be undone is never one careless Enter away.
  });
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {
      dialog.close();
    }
  });
}
