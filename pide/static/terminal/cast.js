/** A terminal's recording in the asciinema format, version 2, and where one is in it. Pure. */

/** @typedef {import("./turn.js").Size} Size */
/** @typedef {{at: number, text: string} | {at: number, size: Size}} Step  at: seconds from the beginning */
/** @typedef {{size: Size, begunAt: number | null, steps: Step[]}} Cast  begunAt: Unix seconds */

const LONGEST_PAUSE_S = 1.5; // a program that waited a night for somebody is not watched waiting

/** @returns {Cast} */
export function emptyCast() {
  return { size: { cols: 80, rows: 24 }, begunAt: null, steps: [] };
}

/**
 * What a recording tells with some lines more. A line that cannot be read is left out.
 * @param {Cast} cast
 * @param {string[]} lines
 * @returns {Cast}
 */
export function withLines(cast, lines) {
  let { size, begunAt } = cast;
  const steps = cast.steps.slice();
  for (const line of lines) {
    let said;
    try {
      said = JSON.parse(line);
    } catch {
      continue;
    }
    if (Array.isArray(said)) {
      const step = stepOf(said);
      if (step) steps.push(step);
    } else if (said?.version === 2) {
      size = { cols: Number(said.width) || size.cols, rows: Number(said.height) || size.rows };
      begunAt = Number(said.timestamp) || null;
    }
  }
  return { size, begunAt, steps };
}

/**
 * @param {unknown[]} said
 * @returns {Step | null}
 */
function stepOf([at, kind, told]) {
  if (typeof at !== "number" || typeof told !== "string") return null;
  if (kind === "o") return { at, text: told };
  const size = kind === "r" ? /^(\d+)x(\d+)$/.exec(told) : null;
  return size ? { at, size: { cols: Number(size[1]), rows: Number(size[2]) } } : null; // others are of no picture
}

/**
 * When each step is shown, in seconds from the beginning.
 * @param {Step[]} steps
 * @param {boolean} skips  long pauses are cut short
 */
export function timesOf(steps, skips) {
  const times = new Float64Array(steps.length);
  let cut = 0;
  let before = steps[0]?.at ?? 0;
  for (const [index, { at }] of steps.entries()) {
    if (skips) cut += Math.max(0, at - before - LONGEST_PAUSE_S);
    // A clock that was set back does not play backwards.
    times[index] = Math.max(index ? times[index - 1] : 0, at - cut);
    before = at;
  }
  return times;
}

/**
 * How many steps have been shown at a time.
 * @param {Float64Array} times
 * @param {number} time
 */
export function stepsUntil(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}
