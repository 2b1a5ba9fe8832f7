/** One-shot timers by name, none of which keeps pi alive or can end it. */
import type { Guard } from "./guard.ts";

export class Timers {
  private readonly guard: Guard;
  private readonly running = new Map<string, NodeJS.Timeout>();

  constructor(guard: Guard) {
    this.guard = guard;
  }

  has(name: string): boolean {
    return this.running.has(name);
  }

  /** Call back once after the delay; a timer of the same name is replaced. */
  start(name: string, delayMs: number, callback: () => void): void {
    this.cancel(name);
    const timer = setTimeout(
      this.guard.wrap(name, () => {
        this.running.delete(name);
        callback();
      }),
      delayMs,
    );
    timer.unref();
    this.running.set(name, timer);
  }

  cancel(name: string): void {
    clearTimeout(this.running.get(name));
    this.running.delete(name);
  }

  cancelAll(): void {
    for (const name of [...this.running.keys()]) this.cancel(name);
  }
}
