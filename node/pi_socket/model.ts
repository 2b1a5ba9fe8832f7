/** Which model pi uses, how hard it thinks, and which others it could use. */
import { BAD_PARAMS, CONFLICT, Refusal } from "./rpc.ts";
import type { PiApi, PiContext, PiModel } from "./shapes.ts";

/** Models that are told; somebody with many providers has hundreds. */
const MAX_MODELS = 200;
const MAX_NEAR = 5;
const LEVELS = ["off", "minimal", "low", "medium", "high", "xhigh", "max"];
/** pi offers these only where the model says what they mean. */
const RARE_LEVELS = new Set(["xhigh", "max"]);

export interface Configured {
  model: string | null;
  thinking: string | null;
}

export function nameOf(model: PiModel | undefined): string | null {
  return model === undefined ? null : `${model.provider}/${model.id}`;
}

/** What holds now. */
export function configured(pi: PiApi, ctx: PiContext): Configured {
  return { model: nameOf(ctx.model), thinking: pi.getThinkingLevel?.() ?? null };
}

/** The names of the models that pi has a key for. */
export function modelNames(ctx: PiContext): string[] {
  return available(ctx)
    .slice(0, MAX_MODELS)
    .map((model) => `${model.provider}/${model.id}`);
}

/** The levels that a model knows; pi takes the nearest of them for another. */
export function thinkingLevels(model: PiModel | undefined): string[] {
  if (model === undefined) return [];
  if (model.reasoning !== true) return ["off"];
  const told = model.thinkingLevelMap ?? {};
  return LEVELS.filter((level) => told[level] !== null && (!RARE_LEVELS.has(level) || told[level] !== undefined));
}

/** Another model, another level, or both; what holds then. Rejects with Refusal, having changed nothing. */
export async function configure(
  pi: PiApi,
  context: () => PiContext,
  wanted: { model?: unknown; thinking?: unknown },
): Promise<Configured> {
  const { model: name, thinking: level } = wanted;
  if ((name ?? undefined) === undefined && (level ?? undefined) === undefined) {
    throw new Refusal(BAD_PARAMS, "name a model, a thinking level, or both");
  }
  const model = typeof name === "string" ? find(available(context()), name) : context().model;
  if (typeof level === "string") {
    const known = thinkingLevels(model);
    if (!known.includes(level)) {
      throw new Refusal(BAD_PARAMS, `${nameOf(model) ?? "no model"} does not think at ${level}`, `one of: ${known.join(", ")}`);
    }
  }
  if (typeof name === "string" && model !== undefined && !(await pi.setModel(model))) {
    throw new Refusal(CONFLICT, `pi has no key for ${nameOf(model)}`, "use /login in pi, or set its API key");
  }
  if (typeof level === "string") pi.setThinkingLevel(level);
  return configured(pi, context());
}

/** The one that a text names: `provider/id`, or an id that only one provider has. Throws Refusal. */
function find(models: PiModel[], text: string): PiModel {
  const exact = models.filter((model) => `${model.provider}/${model.id}` === text);
  const named = exact.length > 0 ? exact : models.filter(({ id }) => id === text);
  const [only, other] = named;
  if (only !== undefined && other === undefined) return only;
  if (only !== undefined) {
    throw new Refusal(BAD_PARAMS, `several providers have ${text}`, `one of: ${list(named)}`);
  }
  const near = nearest(models, text);
  throw new Refusal(
    BAD_PARAMS,
    `pi has no model ${text}`,
    near.length > 0 ? `did you mean ${list(near)}?` : "pi has no model that it may use: see /login in pi",
  );
}

function list(models: PiModel[]): string {
  return models.slice(0, MAX_NEAR).map(nameOf).join(", ");
}

/** Those that share most pairs of letters with a text; the first few when none does. */
function nearest(models: PiModel[], text: string): PiModel[] {
  const wanted = pairs(text);
  const scored = models.map((model) => {
    const found = pairs(`${model.provider}/${model.id}`);
    const shared = [...wanted].filter((pair) => found.has(pair)).length;
    return { model, score: shared / Math.max(1, wanted.size + found.size - shared) };
  });
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, MAX_NEAR)
    .map(({ model }) => model);
}

function pairs(text: string): Set<string> {
  const lower = text.toLowerCase();
  return new Set(Array.from({ length: Math.max(0, lower.length - 1) }, (_, at) => lower.slice(at, at + 2)));
}

function available(ctx: PiContext): PiModel[] {
  return ctx.modelRegistry?.getAvailable?.() ?? [];
}
