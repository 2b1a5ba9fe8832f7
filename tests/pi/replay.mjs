// Plays a recording of pi (see recorder.ts) to pi-socket, which dials the node of HYPERPI_HOME as ever.
// usage: node replay.mjs JITI CACHE FOLDER RECORDING
// Prints "played" after the last event but pi's own end, which follows when stdin has ended.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [jitiPath, cache, folder, recording] = process.argv.slice(2);
const { createJiti } = await import(pathToFileURL(jitiPath).href);
const jiti = createJiti(import.meta.url, { fsCache: cache });
const { default: piSocket } = await jiti.import(`${folder}/index.ts`);

const lines = readFileSync(recording, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** What pi knew at the line that is being played. */
let entries = new Map();
let now = lines[0];
let session = { id: "none", file: null, name: null };
let handlers = new Map();

const ctx = {
  hasUI: true,
  cwd: "/",
  ui: { notify() {}, setStatus() {}, select: async () => undefined, input: async () => undefined },
  sessionManager: {
    getLeafId: () => now.leaf,
    getEntry: (id) => entries.get(id),
    getEntries: () => [...entries.values()],
    getSessionId: () => session.id,
    getSessionFile: () => session.file ?? undefined,
    getSessionName: () => session.name ?? undefined,
  },
  isIdle: () => now.idle,
  hasPendingMessages: () => now.pending,
  abort() {},
  shutdown() {},
};
const pi = {
  on: (name, handler) => void handlers.set(name, [...(handlers.get(name) ?? []), handler]),
  sendUserMessage() {},
  getActiveTools: () => [],
  getAllTools: () => [],
  getCommands: () => [],
  setModel: async () => false,
  setThinkingLevel() {},
};

/** Everybody waits for the node before the first event, or the start would be told by a snapshot alone. */
const registered = () => globalThis[Symbol.for("hyperpi.pi-socket.1")]?.registered === true;

/** @param {any} line */
async function play(line) {
  now = line;
  if (line.session !== undefined) {
    if (line.session.id !== session.id) entries = new Map();
    session = line.session;
  }
  for (const entry of line.entries ?? []) entries.set(entry.id, entry);
  for (const handler of handlers.get(line.event.type) ?? []) await handler(line.event, ctx);
  if (line.event.type === "session_shutdown") {
    handlers = new Map(); // pi runs the factory again, for whatever comes next
    piSocket(pi);
  }
  if (line.event.type === "session_start") while (!registered()) await new Promise((resolve) => setTimeout(resolve, 5));
  await tick();
}

const quits = lines.at(-1).event.reason === "quit" ? [lines.pop()] : [];
piSocket(pi);
for (const line of lines) await play(line);
console.log("played");
process.stdin.resume().on("end", async () => {
  for (const line of quits) await play(line);
  process.exit(0);
});
