// "Retry all of mine": every failed image of this owner becomes pending again.

import { sendJSON } from "./api.js";

export function mount(button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await sendJSON("POST", "/api/images/retry");
      location.assign("/gallery");
    } catch (error) {
      button.disabled = false;
      button.textContent = error.message;
    }
  });
}
