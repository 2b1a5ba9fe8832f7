/**
 * What a viewer has put off or turned on, kept in this browser: nobody else's business, so no server has it.
 *
 * A browser may refuse to keep anything, in a private window for instance: then a reload forgets it.
 */

const MOST = 500; // ids of each kind; the oldest give way

/**
 * @param {string} name
 * @returns {ReadonlySet<string>}
 */
export function keptIds(name) {
  try {
    const found = JSON.parse(localStorage.getItem(`hyperpi.${name}`) ?? "[]");
    return new Set(Array.isArray(found) ? found.filter((id) => typeof id === "string") : []);
  } catch {
    return new Set();
  }
}

/**
 * @param {string} name
 * @param {ReadonlySet<string>} ids
 */
export function keepIds(name, ids) {
  try {
    localStorage.setItem(`hyperpi.${name}`, JSON.stringify([...ids].slice(-MOST)));
  } catch {
    // Refused or full: this page still knows.
  }
}

/**
 * Whether something that is off by default was turned on.
 * @param {string} name
 */
export function keptSwitch(name) {
  try {
    return localStorage.getItem(`hyperpi.${name}`) === "on";
  } catch {
    return false;
  }
}

/**
 * @param {string} name
 * @param {boolean} on
 */
export function keepSwitch(name, on) {
  try {
    if (on) localStorage.setItem(`hyperpi.${name}`, "on");
    else localStorage.removeItem(`hyperpi.${name}`);
  } catch {
    // Refused or full: this page still knows.
  }
}
