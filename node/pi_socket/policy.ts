/** Whether a tool call has to be asked, by the policy that the node has told for this agent. Pure but for links. */
import { placed, risks } from "./risk.ts";
import { takeApart } from "./shell.ts";

export const MODES = ["auto", "ask-risky", "ask-all"] as const;
export type Mode = (typeof MODES)[number];

/** As the node tells it: see docs/contract. */
export interface AskPolicy {
  mode: Mode;
  ask: string[];
  allow: string[];
  timeout_s: number;
}

const DEFAULT_TIMEOUT_S = 600;

/** What to keep to until a node has told us: the strictest of what its owner wants of anybody, if there is one. */
export function provisional(written: { strictest?: unknown; timeout_s?: unknown }): AskPolicy {
  return readPolicy({ mode: written.strictest ?? "auto", timeout_s: written.timeout_s });
}

/** A policy from the wire. What cannot be read asks everything: it was not "auto" that somebody wanted to say. */
export function readPolicy(value: unknown): AskPolicy {
  const found = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const texts = (list: unknown): string[] =>
    Array.isArray(list) ? list.filter((item): item is string => typeof item === "string") : [];
  const timeout = found["timeout_s"];
  return {
    mode: MODES.find((known) => known === found["mode"]) ?? "ask-all",
    ask: texts(found["ask"]),
    allow: texts(found["allow"]),
    timeout_s: typeof timeout === "number" && timeout > 0 ? timeout : DEFAULT_TIMEOUT_S,
  };
}

/** Why a call has to be asked; undefined: it may run. In "auto" without patterns nothing is looked at. */
export function reasonsToAsk(policy: AskPolicy, tool: string, input: unknown, cwd: string): string[] | undefined {
  const { mode, ask, allow } = policy;
  if (mode === "auto" && ask.length === 0) return undefined;
  const wanted = ask.find((pattern) => asksFor(pattern, tool, input, cwd));
  if (wanted === undefined && (mode === "auto" || allows(allow, tool, input, cwd))) return undefined;
  const found = risks(tool, input, cwd);
  if (wanted !== undefined) return [`${wanted} is asked`, ...found];
  return mode === "ask-all" || found.length > 0 ? found : undefined;
}

/** One that asks for more than was meant does no harm: the whole command and each part of it may fit. */
function asksFor(pattern: string, tool: string, input: unknown, cwd: string): boolean {
  const glob = globOf(pattern, tool);
  if (typeof glob !== "string") return glob;
  return [subject(input), ...(tool === "bash" ? parts(subject(input)) : places(input, cwd))].some((text) => fits(glob, text));
}

/** One that lets pass more than was meant does: each part of a command must fit, and nothing in it be computed. */
function allows(patterns: string[], tool: string, input: unknown, cwd: string): boolean {
  const globs = patterns.map((pattern) => globOf(pattern, tool));
  if (globs.includes(true)) return true;
  const known = globs.filter((glob): glob is string => typeof glob === "string");
  if (known.length === 0) return false;
  const texts = tool === "bash" ? plainParts(subject(input)) : places(input, cwd).slice(0, 1);
  return texts.length > 0 && texts.every((text) => known.some((glob) => fits(glob, text)));
}

/** The glob of a pattern that is for this tool; true without one; false: it is for another tool. */
function globOf(pattern: string, tool: string): string | boolean {
  const colon = pattern.indexOf(":");
  const name = colon === -1 ? pattern : pattern.slice(0, colon);
  if (!fits(name, tool)) return false;
  return colon === -1 ? true : pattern.slice(colon + 1);
}

/** What a tool is called with, as patterns see it: its command or its path. */
function subject(input: unknown): string {
  const members = (typeof input === "object" && input !== null ? input : {}) as Record<string, unknown>;
  const found = members["command"] ?? members["path"];
  return typeof found === "string" ? found : JSON.stringify(input ?? null);
}

/** A path as it is and, if within the folder, relative to it: `src/../../x` is not within `src/`. */
function places(input: unknown, cwd: string): string[] {
  const path = subject(input);
  const found = placed(path, cwd);
  return [found.path, found.whole, path];
}

function parts(command: string): string[] {
  try {
    const { commands, nested } = takeApart(command);
    return [...commands.map(({ words }) => words.join(" ")), ...nested.flatMap(parts)];
  } catch {
    return [command];
  }
}

function plainParts(command: string): string[] {
  try {
    const { commands, nested } = takeApart(command);
    const plain = nested.length === 0 && commands.every(({ writes, words }) => writes.length === 0 && !words.some((word) => word.includes("$")));
    return plain ? commands.map(({ words }) => words.join(" ")) : [];
  } catch {
    return [];
  }
}

/** `*` stands for anything, also for `/` and nothing; all else for itself. */
function fits(glob: string, text: string): boolean {
  const pattern = glob.split("*").map((piece) => piece.replace(/[\\^$.|?+()[\]{}]/g, "\\$&")).join("[^]*");
  return new RegExp(`^${pattern}$`).test(text);
}
