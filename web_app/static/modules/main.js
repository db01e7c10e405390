// Finds each element that names a module, and starts that module on it.

const modules = {
  "confirm-dialog": () => import("./confirm_dialog.js"),
  gallery: () => import("./gallery.js"),
  "image-page": () => import("./image_page.js"),
  "retry-all": () => import("./retry_all.js"),
  uploader: () => import("./uploader.js"),
};

/**
 * Start every module named within `root`. Each works alone: one that fails leaves the others and
 * the plain page behind it working.
 */
export function startModules(root) {
  for (const element of root.querySelectorAll("[data-module]")) {
    start(element);
  }
}

async function start(element) {
  const name = element.dataset.module;
  if (!Object.hasOwn(modules, name)) {
    throw new Error(`No module is called “${name}”.`);
  }
  const { mount } = await modules[name]();
  mount(element);
}

startModules(document);
import("./links.js").then(({ watchLinks }) => watchLinks(document));
