// Reads the files of a drop or a paste, including files in folders and subfolders.

// Files that the system puts into folders. macOS keeps data of photo.jpg in ._photo.jpg.
const SYSTEM_FILES = /^(\.DS_Store|Thumbs\.db|desktop\.ini|\._.*)$/i;

/**
 * The files of a drop or a paste.
 *
 * @typedef {object} DroppedFiles
 * @property {File[]} files
 * @property {string[]} unreadable the names of files and folders that the browser cannot read
 */

/**
 * Return every file of a drop or a paste.
 *
 * Call this while the event is handled: the browser removes its items afterwards.
 *
 * @param {DataTransfer} transfer
 * @returns {Promise<DroppedFiles>}
 */
export async function readDroppedFiles(transfer) {
  const items = [...(transfer.items ?? [])]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  /** @type {DroppedFiles} */
  const dropped = { files: [], unreadable: [] };
  if (items.length === 0) {
    dropped.files.push(...transfer.files);
  }
  for (const { entry, file } of items) {
    if (entry?.isDirectory) {
      await readFolder(/** @type {FileSystemDirectoryEntry} */ (entry), dropped);
    } else if (file) {
      dropped.files.push(file);
    }
  }
  return dropped;
}

/**
 * Return whether a file was chosen by a person, and not put there by the system.
 *
 * @param {File} file
 */
export function isChosen(file) {
  return !SYSTEM_FILES.test(file.name);
}

/**
 * Add the files of a folder. A part that cannot be read does not stop the rest.
 *
 * @param {FileSystemDirectoryEntry} folder
 * @param {DroppedFiles} dropped
 */
async function readFolder(folder, dropped) {
  for (const entry of await readEntries(folder, dropped)) {
    if (entry.isDirectory) {
      await readFolder(/** @type {FileSystemDirectoryEntry} */ (entry), dropped);
    } else {
      await readFile(/** @type {FileSystemFileEntry} */ (entry), dropped);
    }
  }
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @param {DroppedFiles} dropped
 * @returns {Promise<FileSystemEntry[]>}
 */
async function readEntries(folder, dropped) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const found = [];
  // A reader returns about 100 entries per call, and none at the end.
  for (;;) {
    try {
      /** @type {FileSystemEntry[]} */
      const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (entries.length === 0) {
        return found;
      }
      found.push(...entries);
    } catch {
      dropped.unreadable.push(folder.name);
      return found;
    }
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @param {DroppedFiles} dropped
 */
async function readFile(entry, dropped) {
  try {
    dropped.files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  } catch {
    dropped.unreadable.push(entry.name);
  }
}
