/** What this pi can do, as its node and its viewers see it. Read on demand: other extensions add tools late. */
import { cutText } from "./bounds.ts";
import { configured, modelNames, thinkingLevels } from "./model.ts";
import type { Card, PiApi, PiContext } from "./shapes.ts";

const MAX_TOOLS = 200;
const DESCRIPTION_CHARS = 300;

/** Active tools come first. */
export function readCard(pi: PiApi, ctx: PiContext): Card {
  const active = new Set(pi.getActiveTools());
  const tools = pi.getAllTools().map(({ name, description }) => ({
    name,
    description: cutText(description ?? "", DESCRIPTION_CHARS),
    active: active.has(name),
  }));
  return {
    ...configured(pi, ctx),
    models: modelNames(ctx),
    thinking_levels: thinkingLevels(ctx.model),
    tools: tools.sort((a, b) => Number(b.active) - Number(a.active)).slice(0, MAX_TOOLS),
    skills: (pi.getCommands?.() ?? [])
      .filter(({ source }) => source === "skill")
      .map(({ name, description }) => ({
        name: name.replace(/^skill:/, ""),
        description: cutText(description ?? "", DESCRIPTION_CHARS),
      })),
  };
}
