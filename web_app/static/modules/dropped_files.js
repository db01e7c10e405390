// Reads the files of a drop or a paste, including files in folders and subfolders.

/**
 * Return every file of a drop or a paste.
 *
 * Call this while the event is handled: the browser removes its items afterwards.
 *
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
export function readDroppedFiles(transfer) {
  const items = [...(transfer.items ?? [])]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  if (items.length === 0) {
    return Promise.resolve([...transfer.files]);
  }
  return Promise.all(items.map(readItem)).then((files) => files.flat());
}

/** @param {{ entry: FileSystemEntry | null | undefined, file: File | null }} item */
function readItem({ entry, file }) {
  if (entry?.isDirectory) {
    return readFolder(/** @type {FileSystemDirectoryEntry} */ (entry));
  }
  return file ? [file] : [];
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<File[]>}
 */
async function readFolder(folder) {
  const reader = folder.createReader();
  const files = [];
  // A reader returns about 100 entries per call, and none at the end.
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) {
      return files;
    }
    for (const entry of entries) {
      if (entry.isDirectory) {
        files.push(...(await readFolder(/** @type {FileSystemDirectoryEntry} */ (entry))));
      } else {
        files.push(await readFile(/** @type {FileSystemFileEntry} */ (entry)));
      }
    }
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
function readFile(entry) {
  return new Promise((resolve) => {
    // An unreadable file becomes an empty one, so that its row on the page shows an error.
    entry.file(resolve, () => resolve(new File([], entry.name)));
  });
}
