// Copies what is written about an image, also as HTML and Markdown for other pages.

/**
 * An image at its lasting address.
 *
 * @typedef {object} LinkedImage
 * @property {string} url
 * @property {string} alt
 * @property {string} width of the preview, in pixels
 * @property {string} height
 */

// In Markdown, each of these characters can begin something else than text.
const MARKDOWN_SIGNS = /[\\`*_{}[\]<>&!~|]/gu;

/** Return whether texts can be copied. The clipboard exists only over HTTPS and on this computer. */
export function canCopy() {
  return Boolean(navigator.clipboard);
}

/**
 * Copy a text, and return the sentence that says so.
 *
 * @param {string} name what is copied, for example "Caption"
 * @param {string} text
 */
export async function copy(name, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    throw new Error("The browser did not allow copying. Select the text and copy it.");
  }
  return `${name} copied.`;
}

/**
 * Return an image with its alt text and the lasting address of its preview.
 *
 * @param {string} id
 * @param {string} alt
 * @param {DOMStringMap} size with the width and the height of the preview
 * @returns {LinkedImage}
 */
export function linkedImage(id, alt, { previewWidth = "", previewHeight = "" }) {
  const url = new URL(`/images/${id}/preview`, location.href).href;
  return { url, alt: onOneLine(alt), width: previewWidth, height: previewHeight };
}

/** @param {LinkedImage} image */
export function asHTML({ url, alt, width, height }) {
  return `<img src="${escapeHTML(url)}" alt="${escapeHTML(alt)}" ` +
    `width="${width}" height="${height}">`;
}

/** @param {LinkedImage} image */
export function asMarkdown({ url, alt }) {
  return `![${alt.replaceAll(MARKDOWN_SIGNS, "\\$&")}](${url})`;
}

/** @param {string} text */
function onOneLine(text) {
  return text.split(/\s+/u).join(" ").trim();
}

/** @param {string} text */
function escapeHTML(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
