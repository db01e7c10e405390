// Writes numbers of images as words.

/** @param {number} count */
export function numbered(count) {
  return count.toLocaleString("en");
}

/** @param {number} count */
export function imagesInWords(count) {
  return `${numbered(count)} ${count === 1 ? "image" : "images"}`;
}
