/**
 * The `document` that xterm.js is given when it is vendored (see scripts/vendor_static.py).
 *
 * Our pages forbid inline styles. xterm.js makes `<style>` elements for its theme and sets the attribute `style`
 * for colours that are not in its palette; both would be refused. What is created here does the same by means
 * that the policy allows: constructable style sheets, and the CSS object model.
 */

const page = globalThis.document; // not `document`: that name is replaced by what this module exports

/** In the place of a `<style>`: its text is a sheet of the page as long as it is not removed. */
function styleElement() {
  const element = page.createElement("i");
  element.hidden = true;
  const sheet = new CSSStyleSheet();
  page.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
  element.remove = () => {
    page.adoptedStyleSheets = page.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/** Shared by all elements, for there may be one for each letter on the screen. */
function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

function createElement(name) {
  if (name === "style") return styleElement();
  const element = page.createElement(name);
  if (name === "span") element.setAttribute = setAttribute;
  return element;
}

export const xtermDocument = new Proxy(page, {
  get(target, key) {
    if (key === "createElement") return createElement;
    const value = Reflect.get(target, key);
    return typeof value === "function" ? value.bind(target) : value;
  },
  set: (target, key, value) => Reflect.set(target, key, value),
});
