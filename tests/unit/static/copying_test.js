// Tests of the texts that are copied for other pages.

import assert from "node:assert/strict";
import { asHTML, asMarkdown } from "../../../web_app/static/modules/copying.js";

const url = "https://images.example/images/7/preview";
const image = { url, width: "2048", height: "1365" };

Deno.test("HTML has the address, the alt text and the size", () => {
  assert.equal(
    asHTML({ ...image, alt: "Dog on a beach" }),
    `<img src="${url}" alt="Dog on a beach" width="2048" height="1365">`,
  );
});

Deno.test("no alt text ends the attribute or begins markup", () => {
  assert.match(
    asHTML({ ...image, alt: '"><script>&amp;' }),
    /alt="&quot;&gt;&lt;script&gt;&amp;amp;" width/u,
  );
});

Deno.test("Markdown has the alt text and the address", () => {
  assert.equal(asMarkdown({ ...image, alt: "Dog" }), `![Dog](${url})`);
});

Deno.test("an alt text is text in Markdown, too", () => {
  assert.equal(
    asMarkdown({ ...image, alt: "A [sign] \\ *and* <b>" }),
    `![A \\[sign\\] \\\\ \\*and\\* \\<b\\>](${url})`,
  );
});
