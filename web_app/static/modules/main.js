// Finds each element with a `data-module` attribute and starts that module on it.

/** @type {Record<string, () => Promise<{ mount: (element: HTMLElement) => void }>>} */
const modules = {
  "confirm-dialog": () => import("./confirm_dialog.js"),
  exports: () => import("./exports.js"),
  gallery: () => import("./gallery.js"),
  "image-page": () => import("./image_page.js"),
  "review-desk": () => import("./review_desk.js"),
  uploader: () => import("./uploader.js"),
};

/**
 * Start every module within `root`. Each runs independently: if one fails, the others and the
 * plain HTML page still work.
 *
 * @param {ParentNode} root
 */
export function startModules(root) {
  for (const element of root.querySelectorAll("[data-module]")) {
    start(/** @type {HTMLElement} */ (element));
  }
}

/** @param {HTMLElement} element */
async function start(element) {
  const name = element.dataset.module ?? "";
  if (!Object.hasOwn(modules, name)) {
    throw new Error(`Unknown module “${name}”.`);
  }
  const { mount } = await modules[name]();
  mount(element);
}

startModules(document);
import("./links.js").then(({ watchLinks }) => watchLinks(document));
