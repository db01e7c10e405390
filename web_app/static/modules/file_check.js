// Which files cannot succeed, told before they travel. The server decides; this only spares people
// the wait. The signatures are those of imaging/formats.py.

const SIGNATURE_BYTES = 256;
const FORMATS = "JPEG, PNG, GIF, WebP, AVIF, HEIC, TIFF or BMP";
const HEIF_BRANDS = new Set(
  "avif avis heic heix heim heis hevc hevx hevm hevs mif1 msf1 mif2 mif3".split(" "),
);
const BMP_INFO_HEADER_SIZES = new Set([12, 40, 52, 56, 64, 108, 124]);

/** Why this file cannot be accepted, as a sentence; null when it may be. */
export async function refusalOf(file, maxBytes) {
  if (file.size > maxBytes) {
    const [size, limit] = [file.size, maxBytes].map((bytes) => (bytes / 1024 ** 2).toFixed(1));
    return `It has ${size} MB; at most ${limit} MB can be sent. Export it smaller.`;
  }
  if (file.size === 0) {
    return "It is empty or cannot be read. Check that it opens on your device.";
  }
  let start;
  try {
    start = new Uint8Array(await file.slice(0, SIGNATURE_BYTES).arrayBuffer());
  } catch {
    return "Your browser cannot read it. Check that it opens on your device.";
  }
  return isImage(start) ? null : `It is not an image we can read. Save it as ${FORMATS}.`;
}

/** Whether the first bytes are those of a format that is accepted. */
export function isImage(start) {
  const text = String.fromCharCode(...start);
  if (["\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF87a", "GIF89a"].some((s) => text.startsWith(s))) {
    return true;
  }
  if (["II*\0", "MM\0*", "II+\0", "MM\0+"].some((signature) => text.startsWith(signature))) {
    return true;
  }
  if (text.startsWith("RIFF")) {
    return text.slice(8, 12) === "WEBP";
  }
  if (text.slice(4, 8) === "ftyp") {
    const length = new DataView(start.buffer, start.byteOffset).getUint32(0);
    const brands = [text.slice(8, 12)];
    for (let at = 16; at + 4 <= Math.min(length, start.length); at += 4) {
      brands.push(text.slice(at, at + 4));
    }
    return brands.some((brand) => HEIF_BRANDS.has(brand));
  }
  return (
    text.startsWith("BM") &&
    start.length >= 18 &&
    BMP_INFO_HEADER_SIZES.has(new DataView(start.buffer, start.byteOffset).getUint32(14, true))
  );
}
