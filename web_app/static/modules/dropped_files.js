// The files of a drop: also those in folders, however deep.

/**
 * Every file of a drop or of a paste.
 *
 * Must be called while the event is being handled: its items are gone afterwards.
 */
export function filesOf(transfer) {
  const entries = [...(transfer.items ?? [])]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  if (entries.length === 0) {
    return Promise.resolve([...transfer.files]);
  }
  return Promise.all(entries.map(readItem)).then((files) => files.flat());
}

function readItem({ entry, file }) {
  if (entry?.isDirectory) {
    return readFolder(entry);
  }
  return file ? [file] : [];
}

async function readFolder(folder) {
  const reader = folder.createReader();
  const files = [];
  // A reader gives about a hundred entries at a time, and none when it is through.
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) {
      return files;
    }
    for (const entry of entries) {
      files.push(...(entry.isDirectory ? await readFolder(entry) : [await readFile(entry)]));
    }
  }
}

function readFile(entry) {
  return new Promise((resolve) => {
    // A file that cannot be read is told to its owner like any other that cannot be sent.
    entry.file(resolve, () => resolve(new File([], entry.name)));
  });
}
