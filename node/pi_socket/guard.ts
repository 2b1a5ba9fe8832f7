/**
 * Nothing that happens in here may end somebody's pi: an uncaught error in a timer or socket callback would.
 *
 * Every callback that Node.js or pi calls goes through a Guard. Errors go to a small log file in the home of
 * Hyper-Pi when there is one, and are counted otherwise; nothing is written to the terminal.
 */
import { appendFileSync, existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";

const LOG_BYTES = 262_144;
/** A loop of errors must not fill a disk: after this many lines a process only counts. */
const LINES_PER_PROCESS = 200;

export class Guard {
  /** Errors caught so far. */
  caught = 0;
  private readonly home: string;

  constructor(home: string) {
    this.home = home;
  }

  /** The same callback, which cannot throw; it returns undefined then, or when its promise rejects. */
  wrap<A extends unknown[], R>(what: string, callback: (...args: A) => R): (...args: A) => R | undefined {
    return (...args: A): R | undefined => {
      try {
        const result = callback(...args);
        if (result instanceof Promise) {
          return result.catch((error: unknown) => {
            this.note(what, error);
            return undefined;
          }) as R;
        }
        return result;
      } catch (error) {
        this.note(what, error);
        return undefined;
      }
    };
  }

  /** Record an error; never throws. */
  note(what: string, error: unknown): void {
    this.caught += 1;
    if (this.caught > LINES_PER_PROCESS) return;
    try {
      if (!existsSync(this.home)) return;
      const folder = join(this.home, "logs");
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const file = join(folder, "pi-socket.log");
      if (existsSync(file) && statSync(file).size > LOG_BYTES) renameSync(file, `${file}.1`);
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      const line = `${new Date().toISOString()} pid=${process.pid} ${what}: ${text.slice(0, 2_000)}\n`;
      appendFileSync(file, line, { mode: 0o600 });
    } catch {
      // A full or read-only disk: the counter is all that is left.
    }
  }
}
