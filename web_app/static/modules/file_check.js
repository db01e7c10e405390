// Finds files that the server would reject, before they are uploaded. The server decides; this check
// only saves people the wait. The signatures are those of imaging/formats.py.

const SIGNATURE_BYTES = 256;
const TEXT_SIGNATURES = ["\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF87a", "GIF89a"];
const TIFF_SIGNATURES = ["II*\0", "MM\0*", "II+\0", "MM\0+"];
const HEIF_BRANDS = new Set(
  "avif avis heic heix heim heis hevc hevx hevm hevs mif1 msf1 mif2 mif3".split(" "),
);
const BMP_INFO_HEADER_SIZES = new Set([12, 16, 40, 52, 56, 64, 108, 124]);

/**
 * Return why the server would reject a file, or null if it may accept the file.
 *
 * @param {File} file
 * @param {object} limits
 * @param {number} limits.maxBytes
 * @param {string} limits.formats the supported formats, as a part of a sentence
 * @returns {Promise<string | null>}
 */
export async function checkFile(file, { maxBytes, formats }) {
  if (file.size > maxBytes) {
    return `${describeSize(file.size, maxBytes)} Save a smaller copy and try again.`;
  }
  if (file.size === 0) {
    return "This file is empty or cannot be read. Check that it opens on your device.";
  }
  let start;
  try {
    start = new Uint8Array(await file.slice(0, SIGNATURE_BYTES).arrayBuffer());
  } catch {
    return "Your browser cannot read this file. Check that it opens on your device.";
  }
  return isSupportedImage(start) ? null : `We can’t read this kind of file. Save it as ${formats}.`;
}

/**
 * Return whether a file starts with the signature of a supported format.
 *
 * @param {Uint8Array<ArrayBuffer>} start the first bytes of the file
 */
export function isSupportedImage(start) {
  const text = String.fromCharCode(...start);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  if ([...TEXT_SIGNATURES, ...TIFF_SIGNATURES].some((signature) => text.startsWith(signature))) {
    return true;
  }
  if (text.startsWith("RIFF")) {
    return text.slice(8, 12) === "WEBP";
  }
  if (text.slice(4, 8) === "ftyp") {
    return brandsOf(text, view.getUint32(0)).some((brand) => HEIF_BRANDS.has(brand));
  }
  // "BM" also begins ordinary words, so the size of the header that follows must be valid.
  return text.startsWith("BM") && start.length >= 18 &&
    BMP_INFO_HEADER_SIZES.has(view.getUint32(14, true));
}

/**
 * Compare the size of a file with the limit, in megabytes. A file just over the limit is shown as
 * larger than the limit, although both would be rounded to the same number.
 *
 * @param {number} bytes
 * @param {number} maxBytes
 */
function describeSize(bytes, maxBytes) {
  const [size = 0, limit = 0] = [bytes, maxBytes].map((each) => Math.round(each / 1024 ** 2 * 10));
  return `This file is ${Math.max(size, limit + 1) / 10} MB. The limit is ${limit / 10} MB.`;
}

/**
 * Return the brands of an `ftyp` box: the major brand and, after the minor version, the compatible
 * brands.
 *
 * @param {string} text
 * @param {number} boxLength
 */
function brandsOf(text, boxLength) {
  const brands = [text.slice(8, 12)];
  for (let start = 16; start + 4 <= Math.min(boxLength, text.length); start += 4) {
    brands.push(text.slice(start, start + 4));
  }
  return brands;
}
