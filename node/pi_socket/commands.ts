/**
 * Slash commands, prompt templates and skills of pi: which there are, and what a text that begins with one becomes.
 *
 * pi's own (/model, /new, …) are for its terminal: no extension can run them. From 1.0 on pi runs and expands the
 * others itself when it is asked to; before that a text of ours reached the model as it was, so that templates and
 * skills are expanded here, and commands of extensions cannot be offered.
 */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { cutText } from "./bounds.ts";
import type { PiApi, PiCommand, PiContext } from "./shapes.ts";

const MAX_COMMANDS = 500;
const DESCRIPTION_CHARS = 200;
const MAX_FILE_BYTES = 262_144;

export interface Command {
  name: string;
  description: string;
  kind: "command" | "prompt" | "skill";
}

/** Whether pi expands a text itself (`expandPromptTemplates`). */
export function piExpands(ctx: PiContext): boolean {
  return ctx.mode !== undefined; // came with it
}

/** Those that do something when they are sent from afar. */
export function listCommands(pi: PiApi, ctx: PiContext): Command[] {
  return (pi.getCommands?.() ?? [])
    .filter(({ source }) => source !== "extension" || piExpands(ctx))
    .slice(0, MAX_COMMANDS)
    .map(({ name, description, source }) => ({
      name,
      description: cutText(description ?? "", DESCRIPTION_CHARS),
      kind: source === "skill" || source === "prompt" ? source : "command",
    }));
}

/** The command that a text begins with. */
export function commandOf(pi: PiApi, text: string): PiCommand | undefined {
  const name = /^\/(\S+)/.exec(text)?.[1];
  return name === undefined ? undefined : (pi.getCommands?.() ?? []).find((found) => found.name === name);
}

/** The text with its template or skill in place of its name; the same when that cannot be read. */
export function expanded(command: PiCommand, text: string): string {
  const file = command.sourceInfo?.path;
  if (file === undefined || (command.source !== "prompt" && command.source !== "skill")) return text;
  let body: string;
  try {
    const whole = readFileSync(file);
    if (whole.length > MAX_FILE_BYTES) return text;
    body = whole.toString("utf8").replace(/^---\r?\n[\s\S]*?\r?\n---\r?\n?/, "").trim();
  } catch {
    return text;
  }
  const rest = text.slice(command.name.length + 1).trim();
  if (command.source === "prompt") return filled(body, rest);
  const name = command.name.replace(/^skill:/, "");
  const skill = `<skill name="${name}" location="${file}">\nPaths in it are relative to ${dirname(file)}.\n\n${body}\n</skill>`;
  return rest === "" ? skill : `${skill}\n\n${rest}`;
}

/** A template with its arguments: $1 and on are words, which quotes hold together, $@ and $ARGUMENTS all of them. */
function filled(template: string, rest: string): string {
  const words = Array.from(rest.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g), (found) => found[1] ?? found[2] ?? found[3] ?? "");
  return template.replace(/\$(\d+|@|ARGUMENTS\b)/g, (_, which: string) =>
    /^\d/.test(which) ? (words[Number(which) - 1] ?? "") : words.join(" "),
  );
}
