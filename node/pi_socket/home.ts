/**
 * Where Hyper-Pi keeps its state on this machine, where the node listens, and how to start one.
 *
 * HYPERPI_HOME wins; then `install.json` beside this file, written by `hyperpi pi install`:
 * `{home, start?: argv}`; then the platform's user data folder, as the Python side has it.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, statSync, watch, type FSWatcher } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Guard } from "./guard.ts";

export interface Home {
  path: string;
  /** Argument vector that starts the node, when the installer knew one. */
  start: string[];
}

export function findHome(): Home {
  const installed = readInstallation();
  const given = process.env["HYPERPI_HOME"];
  const written = typeof installed["home"] === "string" ? installed["home"] : undefined;
  const start = installed["start"];
  return {
    path: resolve(given ? expand(given) : (written ?? defaultHome())),
    start: Array.isArray(start) && start.every((word) => typeof word === "string") ? start : [],
  };
}

function readInstallation(): Record<string, unknown> {
  try {
    const file = join(dirname(fileURLToPath(import.meta.url)), "install.json");
    const found: unknown = JSON.parse(readFileSync(file, "utf8"));
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function expand(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

function defaultHome(): string {
  if (process.platform === "darwin") return join(homedir(), "Library", "Application Support", "hyperpi");
  return join(process.env["XDG_DATA_HOME"] || join(homedir(), ".local", "share"), "hyperpi");
}

/** How strict this machine's owner is with the strictest of the agents; empty while no node has ever run. */
export function strictestPolicy(home: string): { strictest?: unknown; timeout_s?: unknown } {
  const file = join(home, "node", "approvals.json");
  if (!existsSync(file)) return {};
  try {
    return (JSON.parse(readFileSync(file, "utf8")) ?? {}) as { strictest?: unknown; timeout_s?: unknown };
  } catch {
    return { strictest: "unreadable" }; // then everything is asked
  }
}

/** The path of the node's socket, or undefined while no node has written one or it is not ours. */
export function nodeAddress(home: string): string | undefined {
  try {
    const path = readFileSync(join(home, "node", "agent.addr"), "utf8").trim();
    // Only a node of the same user may drive this pi, whatever lies in a shared folder.
    return path !== "" && statSync(path).uid === process.getuid?.() ? path : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Call back when the file with the node's address may have changed. Returns what ends it.
 *
 * Best effort (inotify may be exhausted, the folder missing): the caller also retries by time.
 */
export function watchAddress(home: string, guard: Guard, changed: () => void): () => void {
  const folder = [join(home, "node"), home, dirname(home)].find((path) => existsSync(path));
  let watcher: FSWatcher | undefined;
  try {
    const next = folder === home ? "node" : folder === dirname(home) ? basename(home) : "agent.addr";
    if (folder !== undefined) {
      watcher = watch(folder, { persistent: false }, guard.wrap("watch", (_kind, name) => {
        if (name === null || name === next) changed();
      }));
      watcher.on("error", () => watcher?.close());
    }
  } catch {
    watcher = undefined;
  }
  return () => watcher?.close();
}

/**
 * What a node, and whatever it starts, must not take over from this pi: a credential; the marks of the agent that
 * this pi is, since what carries them ends when it is stopped; that this is a pi; and the terminal or window that
 * it runs in, which others would then write to.
 */
const NOT_THE_OWNERS = new RegExp(
  "^(?:" +
    "HYPI_TOKEN|HYPERPI_AGENT|HYPERPI_INSTANCE|PI_CODING_AGENT|AI_AGENT|" +
    "TMUX|TMUX_PANE|STY|WINDOW|ZELLIJ(?:_.*)?|TERM|TERM_.*|COLORTERM|COLUMNS|LINES|WINDOWID|GPG_TTY|SSH_TTY|" +
    "(?:ITERM|KITTY|WEZTERM|ALACRITTY|GHOSTTY|KONSOLE|VTE|VSCODE|NVIM)(?:_.*)?|LC_TERMINAL(?:_.*)?|INSIDE_EMACS|WT_SESSION|" +
    "PWD|OLDPWD|SHLVL|_" +
    ")$",
);

/** Start the node in the background, unless a person stopped it on purpose. */
export function startNode(home: Home, guard: Guard): void {
  const [program, ...args] = home.start;
  if (program === undefined || existsSync(join(home.path, "node", "stopped"))) return;
  const env: NodeJS.ProcessEnv = { HYPERPI_HOME: home.path };
  for (const [name, value] of Object.entries(process.env)) {
    if (name !== "HYPERPI_HOME" && !NOT_THE_OWNERS.test(name)) env[name] = value;
  }
  // Its own session and a neutral folder: it must outlive this pi and pin none of its resources. And by a shell
  // that ends at once, so that it is nobody's child: whoever starts a node is taken for its owner.
  const orphan = ["-c", '"$@" &', "sh", program, ...args];
  const child = spawn("/bin/sh", orphan, { detached: true, stdio: "ignore", cwd: homedir(), env });
  child.on("error", (error) => guard.note("start node", error));
  child.unref();
}
