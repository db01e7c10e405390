// Keeps the texts of the editor of an image in this browser until they are saved or discarded, so
// that a click on a link, Back, a reload or a crash does not lose them.

/** @typedef {Record<string, string>} Draft the values of the fields by their names */

/**
 * @param {number} imageId
 * @returns {Draft | null}
 */
export function readDraft(imageId) {
  try {
    const draft = JSON.parse(localStorage.getItem(keyOf(imageId)) ?? "null");
    const isDraft = typeof draft === "object" && draft !== null &&
      Object.values(draft).every((value) => typeof value === "string");
    return isDraft ? draft : null;
  } catch {
    return null; // The storage is switched off, or its content is damaged.
  }
}

/**
 * @param {number} imageId
 * @param {Draft} draft
 */
export function writeDraft(imageId, draft) {
  try {
    localStorage.setItem(keyOf(imageId), JSON.stringify(draft));
  } catch {
    // The storage is full or switched off. The text is still in the editor.
  }
}

/** @param {number} imageId */
export function discardDraft(imageId) {
  try {
    localStorage.removeItem(keyOf(imageId));
  } catch {
    // The storage is switched off, so there is no draft.
  }
}

/** @param {number} imageId */
function keyOf(imageId) {
  return `draft of image ${imageId}`;
}
