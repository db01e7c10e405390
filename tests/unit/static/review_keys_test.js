// Tests of the keys of the review desk.

import assert from "node:assert/strict";
import {
  isSwitchedOn,
  shortcutOf,
  switchShortcuts,
} from "../../../web_app/static/modules/review_keys.js";

class FakeElement {
  /** @param {string[]} matching the selectors of the elements around it */
  constructor(...matching) {
    this.matching = matching;
  }

  /** @param {string} selector */
  closest(selector) {
    return selector.split(", ").some((each) => this.matching.includes(each)) ? this : null;
  }
}

const stored = new Map();
Object.assign(globalThis, { Element: FakeElement });
Object.defineProperty(globalThis, "localStorage", {
  value: {
    /** @param {string} key */
    getItem: (key) => stored.get(key) ?? null,
    /** @param {string} key @param {string} value */
    setItem: (key, value) => stored.set(key, value),
  },
});

/**
 * @param {string} key
 * @param {object} [changes]
 */
function press(key, changes = {}) {
  const event = {
    key,
    ctrlKey: false,
    metaKey: false,
    altKey: false,
    defaultPrevented: false,
    isComposing: false,
    repeat: false,
    target: new FakeElement("body"),
    ...changes,
  };
  return shortcutOf(/** @type {any} */ (event));
}

Deno.test("each key has its action, whatever its case", () => {
  const actions = ["e", "E", "j", "ArrowRight", "k", "ArrowLeft", "d", "r", "Delete", "Enter", "?"]
    .map((key) => press(key));
  assert.deepEqual(actions, [
    "edit",
    "edit",
    "next",
    "next",
    "previous",
    "previous",
    "toggle_decorative",
    "new_caption",
    "delete",
    "approve",
    "help",
  ]);
  assert.equal(press("x"), null);
  assert.equal(press("constructor"), null);
});

Deno.test("no key acts while a text is typed, in a dialog, or when it is held down", () => {
  for (const around of ["textarea", "input", "select", "[contenteditable]", "dialog"]) {
    for (const key of ["e", "Enter", "Delete", "j"]) {
      assert.equal(press(key, { target: new FakeElement(around) }), null, `${key} in ${around}`);
    }
    assert.equal(press("z", { target: new FakeElement(around), ctrlKey: true }), null);
  }
  for (const state of ["defaultPrevented", "isComposing", "repeat"]) {
    assert.equal(press("Enter", { [state]: true }), null, state);
  }
});

Deno.test("keys with a modifier are left to the browser, except for undo", () => {
  for (const modifier of ["ctrlKey", "metaKey", "altKey"]) {
    for (const key of ["e", "d", "r", "ArrowLeft", "Enter", "Delete"]) {
      assert.equal(press(key, { [modifier]: true }), null, `${modifier} ${key}`);
    }
  }
  assert.equal(press("z", { ctrlKey: true }), "undo");
  assert.equal(press("z", { metaKey: true }), "undo");
  assert.equal(press("z"), null);
  assert.equal(press("z", { ctrlKey: true, altKey: true }), null);
});

Deno.test("Enter presses the button or the link that has the focus", () => {
  for (const around of ["a", "button", "summary"]) {
    assert.equal(press("Enter", { target: new FakeElement(around) }), null);
    assert.equal(press("j", { target: new FakeElement(around) }), "next");
  }
});

Deno.test("the shortcuts can be switched off", () => {
  assert.equal(isSwitchedOn(), true);
  switchShortcuts(false);
  assert.equal(isSwitchedOn(), false);
  switchShortcuts(true);
  assert.equal(isSwitchedOn(), true);
});
