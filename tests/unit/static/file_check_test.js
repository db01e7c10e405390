// Tests of the check that a file passes before its upload. tests/unit/static/test_modules.py
// compares the formats with those of the server.

import assert from "node:assert/strict";

import { checkFile, isSupportedImage } from "../../../web_app/static/modules/file_check.js";

const MAX_BYTES = 2 * 1024 ** 2;
const LIMITS = { maxBytes: MAX_BYTES, formats: "JPEG or PNG" };

/** @param {string} text one character per byte */
function bytes(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** @param {string} text */
function file(text) {
  return new File([bytes(text)], "a.jpg");
}

Deno.test("a JPEG is accepted", async () => {
  assert.equal(await checkFile(file("\xff\xd8\xff\xe0..."), LIMITS), null);
});

Deno.test("a file over the limit is rejected with its size and the limit", async () => {
  const large = new File([bytes("\xff\xd8\xff"), new Uint8Array(3 * 1024 ** 2)], "a.jpg");

  const refusal = await checkFile(large, LIMITS);

  assert.match(refusal ?? "", /^This file is 3 MB\. The limit is 2 MB\./);
});

Deno.test("a file just over the limit is shown as larger than the limit", async () => {
  const larger = new File([new Uint8Array(MAX_BYTES + 1)], "a.jpg");

  const refusal = await checkFile(larger, LIMITS);

  assert.match(refusal ?? "", /^This file is 2\.1 MB\. The limit is 2 MB\./);
});

Deno.test("a file of exactly the limit is accepted", async () => {
  const exact = new File([bytes("\xff\xd8\xff"), new Uint8Array(MAX_BYTES - 3)], "a.jpg");

  assert.equal(await checkFile(exact, LIMITS), null);
});

Deno.test("a file of another kind is rejected with the supported formats", async () => {
  const refusal = await checkFile(file("<!doctype html>"), LIMITS);

  assert.equal(refusal, "We can’t read this kind of file. Save it as JPEG or PNG.");
});

Deno.test("an empty file is rejected", async () => {
  assert.match(await checkFile(new File([], "a.jpg"), LIMITS) ?? "", /^This file is empty/);
});

Deno.test("a file that the browser cannot read is rejected", async () => {
  const unreadable = file("\xff\xd8\xff");
  unreadable.slice = () => {
    throw new DOMException("gone", "NotReadableError");
  };

  assert.match(await checkFile(unreadable, LIMITS) ?? "", /cannot read this file/);
});

for (
  const [name, text] of Object.entries({
    "a web page": "<!doctype html>",
    "a text that begins with BM": "BMW builds cars in Munich.",
    "a WAV file": "RIFF....WAVE",
    "an MP4 film": "\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "a single byte": "\xff",
    "a cut ftyp box": "\0\0\0\x18ftyp",
  })
) {
  Deno.test(`${name} is not a supported image`, () => {
    assert.equal(isSupportedImage(bytes(text)), false);
  });
}

Deno.test("an image is recognised at an offset in a larger buffer", () => {
  const whole = bytes("....BM" + "\0".repeat(12) + "\x28\0\0\0");

  assert.equal(isSupportedImage(whole.subarray(4)), true);
});

Deno.test("a compatible brand makes a HEIF file supported", () => {
  assert.equal(isSupportedImage(bytes("\0\0\0\x18ftypabcd\0\0\0\0abcdmif1")), true);
});

Deno.test("bytes after the ftyp box are not read as brands", () => {
  assert.equal(isSupportedImage(bytes("\0\0\0\x14ftypabcd\0\0\0\0abcdmif1")), false);
});
