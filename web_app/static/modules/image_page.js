// An image's own page: its words change by themselves, and are edited in place.

import { getPage, sendJSON } from "./api.js";
import { mount as mountConfirmation } from "./confirm_dialog.js";
import { announcer, numberOf, part } from "./markup.js";
import { StatusPoller } from "./status_poller.js";

export function mount(root) {
  new ImagePage(root);
}

class ImagePage {
  constructor(root) {
    this.root = root;
    this.id = numberOf(root, "imageId");
    this.url = `/api/images/${this.id}`;
    this.announce = announcer(part(root, "announcer"));
    this.poller = new StatusPoller();
    this.actions = {
      retry: () => this.#ask("POST", `${this.url}/retry`, undefined, "It is tried again."),
      regenerate: () =>
        this.#ask("POST", `${this.url}/retry`, { regenerate: true }, "New words are on their way."),
      restore: () => this.#ask("PATCH", this.url, { restore: true }, "The model’s words are back."),
      edit: (form) => this.#save(form),
    };
    root.addEventListener("submit", (event) => this.#submit(event));
    root.addEventListener("click", (event) => this.#click(event));
    this.#prepare();
  }

  get #editor() {
    return this.root.querySelector("[data-editor]");
  }

  /** What belongs to the view, which the server renders anew at each change. */
  #prepare() {
    const view = part(this.root, "view");
    for (const button of view.querySelectorAll('[data-action="clear"], [data-action="cancel"]')) {
      button.hidden = false;
    }
    const thumbnail = view.querySelector(".frame__image");
    if (thumbnail) {
      // The thumbnail stands in until the original is there.
      view.querySelector("[data-frame]").style.setProperty(
        "background-image",
        `url("${thumbnail.src}")`,
      );
    }
    if (view.dataset.status === "pending") {
      this.#watch(view.dataset.version);
    }
  }

  #watch(version) {
    this.poller.watch(this.id, async (image) => {
      if (!image) {
        location.assign("/gallery");
        return;
      }
      if (image.status === "pending" && Date.parse(image.updated_at) === Date.parse(version)) {
        return; // What is shown already.
      }
      version = image.updated_at;
      await this.#refresh();
      if (image.status !== "pending") {
        this.announce(image.status === "completed" ? `Caption: ${image.annotation}` : "It failed.");
      }
    });
  }

  /** Take the view from the page as it now is; while someone is writing, only around them. */
  async #refresh({ keepsEditor = true } = {}) {
    const page = await getPage(location.pathname);
    await closed(this.root.querySelector("dialog[open]"));
    const [old, fresh] = [part(this.root, "view"), part(page, "view")];
    const editor = this.#editor;
    const focused = document.activeElement?.closest("[data-action]")?.dataset.action;
    const hadFocus = old.contains(document.activeElement);
    const held = keepsEditor && editor?.open ? editor : null;
    const selection = held?.contains(document.activeElement) ? document.activeElement : null;
    if (held) {
      fresh.querySelector("[data-editor]")?.replaceWith(held);
    }
    old.replaceWith(fresh);
    for (const details of fresh.querySelectorAll('[data-module="confirm-dialog"]')) {
      mountConfirmation(details);
    }
    const isSettled = fresh.dataset.status !== "pending";
    if (isSettled) {
      this.poller.unwatch(this.id);
    }
    this.#prepare();
    if (selection) {
      selection.focus();
    } else if (hadFocus) {
      const again = focused && fresh.querySelector(`[data-action="${focused}"] button`);
      (again || fresh.querySelector(".editor__summary"))?.focus();
    }
  }

  #submit(event) {
    const act = this.actions[event.target.dataset.action];
    if (act) {
      event.preventDefault();
      act(event.target);
    }
  }

  #click(event) {
    const action = event.target.closest("button[data-action]")?.dataset.action;
    if (action === "cancel") {
      this.#closeEditor();
    } else if (action === "clear") {
      const { annotation, alt_text, tags } = event.target.closest("form").elements;
      for (const field of [annotation, alt_text, tags]) {
        field.value = "";
      }
      annotation.focus();
    }
  }

  #closeEditor() {
    const editor = this.#editor;
    editor.querySelector("form").reset();
    part(editor, "edit-error").hidden = true;
    editor.open = false;
    editor.querySelector("summary").focus();
  }

  async #save(form) {
    const changes = changesOf(form);
    if (Object.keys(changes).length === 0) {
      this.#closeEditor();
      return;
    }
    const problem = part(form, "edit-error");
    try {
      await sendJSON("PATCH", this.url, changes);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      return;
    }
    await this.#refresh({ keepsEditor: false });
    this.announce("Saved.");
  }

  async #ask(method, url, body, words) {
    try {
      await sendJSON(method, url, body);
      await this.#refresh();
      this.announce(words);
    } catch (error) {
      this.announce(error.message);
      this.#tell(error.message);
    }
  }

  #tell(message) {
    let line = this.root.querySelector(".image__error");
    if (!line) {
      line = document.createElement("p");
      line.className = "error-message image__error";
      this.root.querySelector(".image__actions").after(line);
    }
    line.textContent = message;
  }
}

/** When a dialog is closed; at once, when there is none. */
function closed(dialog) {
  return new Promise((resolve) => {
    if (dialog) {
      dialog.addEventListener("close", resolve, { once: true });
    } else {
      resolve();
    }
  });
}

/** The fields that differ from what the server rendered. */
function changesOf(form) {
  const { annotation, alt_text, tags } = form.elements;
  const changes = {};
  for (const field of [annotation, alt_text]) {
    if (field.value !== field.defaultValue) {
      changes[field.name] = field.value.trim() || null;
    }
  }
  if (tags.value !== tags.defaultValue) {
    changes.tags = tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  }
  return changes;
}
