// How images are to be described: reads the fields of a form, and keeps the choices for uploads in
// this browser. The context is not kept, because other images need another one.

const KEY = "how to describe uploads";
/** In the form for many images: leave the language or the style to the site again. */
export const AS_SITE = "site";
const EMBEDDED_TEXT = "use_embedded_text";
const KEPT = ["language", "also_in", "style", EMBEDDED_TEXT];

/**
 * Return the options of a form by their names. An empty value leaves an option to the site.
 *
 * @param {HTMLElement} form
 * @returns {Record<string, string | boolean | null>}
 */
export function readOptions(form) {
  const { also_in: further = "", [EMBEDDED_TEXT]: choice, ...options } = readFields(form);
  const first = options.language === AS_SITE ? "" : options.language;
  return {
    ...options,
    ...further.trim() && { language: `${first},${further}` },
    ...choice && { [EMBEDDED_TEXT]: choice === "true" },
  };
}

/**
 * Restore the options of the last visit, and keep those that a person chooses.
 *
 * @param {HTMLElement} root the fields
 * @param {HTMLElement} summary names the options while the fields are hidden
 */
export function keepOptions(root, summary) {
  const kept = read();
  for (const field of fieldsOf(root)) {
    field.value = KEPT.includes(field.name) ? kept[field.name] ?? "" : field.value;
    // The option of an earlier version may be missing.
    if (field instanceof HTMLSelectElement && field.selectedIndex < 0) {
      field.selectedIndex = 0;
    }
  }
  const show = () => {
    const text = fieldsOf(root).map(describe).filter(Boolean).join(", ");
    summary.textContent = text ? `: ${text}` : "";
  };
  root.addEventListener("change", () => {
    const options = Object.entries(readFields(root)).filter(([name]) => KEPT.includes(name));
    write(Object.fromEntries(options));
    show();
  });
  show();
}

/**
 * @param {HTMLElement} root
 * @returns {Record<string, string>}
 */
function readFields(root) {
  return Object.fromEntries(fieldsOf(root).map(({ name, value }) => [name, value]));
}

/** @param {HTMLElement} root */
function fieldsOf(root) {
  return /** @type {(HTMLInputElement | HTMLSelectElement)[]} */ (
    [...root.querySelectorAll("[data-option]")]
  );
}

/** @param {HTMLInputElement | HTMLSelectElement} field */
function describe(field) {
  if (field.name === EMBEDDED_TEXT) {
    return field.value === "true" && "with the description in the file";
  }
  if (field instanceof HTMLSelectElement) {
    return field.value && field.selectedOptions[0]?.textContent?.trim();
  }
  return field.name === "also_in" ? field.value.trim() : field.value && "with context";
}

/** @returns {Record<string, string>} */
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof kept === "object" && kept !== null ? kept : {};
  } catch {
    return {}; // The storage is switched off, or its content is damaged.
  }
}

/** @param {Record<string, string>} options */
function write(options) {
  try {
    localStorage.setItem(KEY, JSON.stringify(options));
  } catch {
    // The storage is full or switched off. The options are used all the same.
  }
}
