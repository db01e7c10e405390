// Reads the first bytes of files from stdin, as base64 in JSON by name, and prints for each name
// whether the check before an upload supports the file.

import { isSupportedImage } from "../../../web_app/static/modules/file_check.js";

const files = JSON.parse(await new Response(Deno.stdin.readable).text());
const supported = Object.entries(files).map(([name, encoded]) => {
  const start = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  return [name, isSupportedImage(start)];
});
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(Object.fromEntries(supported))));
