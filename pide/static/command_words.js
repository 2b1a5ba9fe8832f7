/** A command line as a person writes it. Pure. */

const WORD = /\s*((?:[^\s'"\\]|\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*")+)/y;
const PART = /\\([\s\S])|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|([^\s'"\\]+)/g;

/**
 * Its words, with quotes and backslashes as a shell reads them and nothing else that a shell does; null if a
 * quote is not closed.
 * @param {string} line
 * @returns {string[] | null}
 */
export function wordsOf(line) {
  const words = [];
  let at = 0;
  while (line.slice(at).trim() !== "") {
    WORD.lastIndex = at;
    const found = WORD.exec(line);
    if (!found) return null;
    at = WORD.lastIndex;
    words.push(found[1].replace(PART, (_all, escaped, plain, quoted, bare) => escaped ?? plain ?? quoted?.replace(/\\([\\"$`])/g, "$1") ?? bare));
  }
  return words;
}
