// The button that retries every failed image of this owner.

import { sendJSON } from "./api.js";
import { messageOf } from "./markup.js";

/** @param {HTMLElement} element */
export function mount(element) {
  const button = /** @type {HTMLButtonElement} */ (element);
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await sendJSON("POST", "/api/images/retry");
      location.assign("/gallery");
    } catch (error) {
      button.disabled = false;
      button.textContent = messageOf(error);
    }
  });
}
