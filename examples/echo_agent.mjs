// An agent that repeats what it is told. HYPERPI_HOME=… node echo_agent.mjs; hyperpi prompt echo hello
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

const instance = randomUUID(); // one per life of this program: whoever dials again with it is the same agent
const entries = [], events = []; // the conversation, and all that was ever told of it: event n is events[n - 1]

function say(role, text) {
  const message_id = `m${entries.length}`;
  const entry = { id: `e${entries.length}`, message_id, role, blocks: [{ type: "text", text }] };
  entries.push(entry);
  events.push({ type: "message_end", message_id, entry });
}

function dial() {
  let path = "";
  try {
    path = readFileSync(`${process.env.HYPERPI_HOME}/node/agent.addr`, "utf8").trim();
  } catch {} // no node yet
  const node = createConnection({ path: path || "/nowhere" });
  const send = (message) => node.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  node.on("error", () => {}); // no node now: "close" comes next
  node.on("close", () => setTimeout(dial, 200 + Math.random() * 800));
  const me = { instance, kind: "echo", name: "echo", cwd: process.cwd(), pid: process.pid };
  send({ id: 1, method: "agent.register", params: me });
  const lines = createInterface({ input: node }).on("error", () => {});
  lines.on("line", (line) => {
    const { id, method, params, result } = JSON.parse(line);
    let told = events.length;
    if (method === undefined && id === 1) {
      told = result.acked; // registered; so many of our events are there already
    } else if (method === "prompt" && params.images?.length > 0) {
      send({ id, error: { code: -32602, message: "echo takes no pictures" } }); // not left out without a word
    } else if (method === "prompt") {
      say("user", params.text);
      say("assistant", `You said: ${params.text}`);
      send({ id, result: { receipt: "delivered" } });
    } else if (method === "snapshot") {
      send({ id, result: { entries, more: false, running: null } });
    } else if (method === "deliver") {
      send({ id, result: { opcode_type: "text_display", content: "understood" } }); // a scroll, and its answer
    } else if (method !== undefined && id !== undefined) {
      send({ id, error: { code: -32601, message: "not found" } }); // ping, abort, stop: that is a fine answer
    }
    const rest = events.slice(told);
    if (rest.length > 0) send({ id: 2, method: "agent.events", params: { from: told + 1, events: rest } });
  });
}

dial();
