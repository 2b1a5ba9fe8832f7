// Calls functions of pi-socket's modules, which pi's own jiti loads as pi does.
// usage: node evaluate.mjs JITI CACHE FOLDER < [[module, function, [args…]], …]  > [result, …]
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [jitiPath, cache, folder] = process.argv.slice(2);
const { createJiti } = await import(pathToFileURL(jitiPath).href);
const jiti = createJiti(import.meta.url, { fsCache: cache });
const results = [];
for (const [module, name, args] of JSON.parse(readFileSync(0, "utf8"))) {
  const loaded = await jiti.import(`${folder}/${module}.ts`);
  results.push((await loaded[name](...args)) ?? null);
}
process.stdout.write(JSON.stringify(results));
