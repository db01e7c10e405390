// Says once for many images that their captions are delayed.

/** @param {number} count the images that wait */
export function describeDelay(count) {
  const waiting = count === 1
    ? "1 image waits for its caption"
    : `${count} images wait for captions`;
  return `${waiting}. We’ll keep trying; you don’t have to do anything.`;
}
