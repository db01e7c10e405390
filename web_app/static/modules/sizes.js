// Writes sizes of files. `web_app/routes/pages.py` writes them in the same way.

const UNIT = 1024;

/** @param {number} bytes */
export function formatBytes(bytes) {
  if (bytes < UNIT) {
    return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  }
  return bytes < UNIT ** 2
    ? `${Math.round(bytes / UNIT)} kB`
    : `${Math.round(bytes / UNIT ** 2 * 10) / 10} MB`;
}
