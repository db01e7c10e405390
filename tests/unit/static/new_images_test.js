// Tests of the number of new images.

import assert from "node:assert/strict";

import { countNew, describeNew } from "../../../web_app/static/modules/new_images.js";

Deno.test("images above the newest one that is shown are new", () => {
  assert.equal(countNew([{ id: 7 }, { id: 6 }, { id: 5 }], 5), 2);
  assert.equal(countNew([], 5), 0);
});

Deno.test("the number of new images is told in words", () => {
  assert.equal(describeNew(1, 24), "1 new image");
  assert.equal(describeNew(5, 24), "5 new images");
  assert.equal(describeNew(24, 24), "24 or more new images");
});
