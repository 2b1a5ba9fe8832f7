/**
 * pi-socket: the tether from one pi to the node of its machine.
 *
 * pi loads this folder from its global extensions and runs the factory below, again for every session of the
 * process. Nothing is opened here: some runs of pi (`--list-models`) have no session at all.
 */
import { Guard } from "./guard.ts";
import { findHome } from "./home.ts";
import { remember } from "./memory.ts";
import type { PiApi, PiContext, PiEvent } from "./shapes.ts";
import { Tether } from "./tether.ts";

/** Some exist only in later versions of pi; asking for an unknown one does no harm. */
const EVENTS = [
  "agent_start",
  "agent_end",
  "agent_settled",
  "turn_start",
  "turn_end",
  "input",
  "message_start",
  "message_update",
  "message_end",
  "tool_execution_start",
  "tool_execution_update",
  "tool_execution_end",
  "model_select",
  "thinking_level_select",
  "session_compact",
  "session_tree",
  "session_info_changed",
  "user_bash",
  "ui_prompt_start",
  "ui_prompt_end",
];

/**
 * Whether whoever drives this pi (an adapter, node/acp) has made it an agent already: it is not to be listed twice.
 * Said to this process alone, so that what pi starts is not meant.
 */
function isTethered(): boolean {
  const key = Symbol.for("hyperpi.pi-socket.tethered"); // the factory runs again for every session
  const store = globalThis as unknown as Record<symbol, boolean | undefined>;
  store[key] ??= process.env["HYPERPI_TETHERED"] !== undefined;
  delete process.env["HYPERPI_TETHERED"];
  return store[key];
}

export default function piSocket(pi: PiApi): void {
  if (isTethered()) return;
  const home = findHome();
  const guard = new Guard(home.path);
  const memory = remember();
  let tether: Tether | undefined;
  const on = (name: string, handler: (event: PiEvent, ctx: PiContext) => unknown): void => {
    pi.on(name, guard.wrap(name, handler));
  };

  on("session_start", (event, ctx) => {
    // A `pi -p` is a short-lived child of something, not an agent that somebody attends.
    if (!ctx.hasUI || ctx.mode === "print" || ctx.mode === "json") return;
    tether ??= new Tether(pi, ctx, memory, home, guard);
    tether.begin(event.reason ?? "startup", ctx);
  });
  for (const name of EVENTS) on(name, (event, ctx) => tether?.handle(event, ctx));
  // Not through the guard alone: what fails here must not let a call pass that somebody wants to see first.
  pi.on("tool_call", (event, ctx) => {
    try {
      return tether?.hold(event, ctx);
    } catch (error) {
      guard.note("tool_call", error);
      return { block: true, reason: "pi-socket could not ask whether this may be done; see its log." };
    }
  });
  on("session_shutdown", (event) => {
    const ending = tether;
    tether = undefined;
    return ending?.end(event.reason ?? "quit");
  });
}
