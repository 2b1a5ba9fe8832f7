"""What the mesh adds to a real pi: `python -m bench.pi [--json]`.

Needs a pi (scripts/fetch_pi.sh); its model is the scripted one of the tests, on the same machine, so what is
measured is pi itself, pi-socket, the node, the hypivisor, Pi-DE and the way between them.
"""

import asyncio
import contextlib
import json
import os
import re
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from bench.agents import at_share
from bench.figure import Figure, at_most, table_of
from bench.running import Json, System, Viewer, running

ROUNDS = 5
TOKENS, PAUSE_MS = 1_000, 4
PROMPTS = 20
MESSAGES = 1_000
STAMP = re.compile(r"t(\d+) ")


def measure() -> list[Figure]:
    """All figures, in one run of one system."""
    sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "pi")]  # as pytest finds them
    from model_server import model_server

    with model_server() as model, owner_of_pi(model.url) as rig, running() as system:
        return asyncio.run(_measure(system, rig))


@contextlib.contextmanager
def owner_of_pi(model_url: str) -> Iterator[Any]:
    """A PiRig; meanwhile this process has the environment of somebody whose pi has the scripted model."""
    from rig import PI, PiRig, short_folder

    if PI is None:
        sys.exit("no pi here: run scripts/fetch_pi.sh first")
    before = dict(os.environ)
    with short_folder() as folder:
        rig = PiRig(folder, folder / "nowhere", model_url)
        given = rig.environment()
        os.environ.update({name: given[name] for name in given if name not in {"HOME", "HYPERPI_HOME"}})
        os.environ["PATH"] = f"{PI.parent}{os.pathsep}{os.environ['PATH']}"
        os.environ["HOME"] = str(folder)
        try:
            yield rig
        finally:
            os.environ.clear()
            os.environ.update(before)


async def _measure(system: System, rig: Any) -> list[Figure]:
    figures = [await start(system, rig)]
    async with system.viewer() as viewer, spawned(viewer, rig.folder) as agent:
        await viewer.call("agent.attach", {"agent": agent})
        figures.append(await first_event(viewer, agent))
        figures += await tokens(viewer, agent)
    figures.append(await history(system, rig))
    return figures


@contextlib.asynccontextmanager
async def spawned(viewer: Viewer, path: Path, *args: str) -> AsyncIterator[str]:
    """A pi, once it is listed as idle; stopped when the block is left, whatever happened in it."""
    where = {"node": "bench", "path": str(path), "headless": True, "args": args}
    await viewer.call("mesh.get", {})
    asked = await viewer.ask("node.spawn", {**where, "request_id": uuid.uuid4().hex})
    agent = ""
    states: dict[str, str] = {}
    while not agent or states.get(agent) != "idle":
        message = await viewer.next()
        if message.get("id") == asked:
            agent = message["result"]["agent"]
        elif message.get("method") == "mesh.changed":
            states |= {one["id"]: one["state"] for one in message["params"].get("agents", ())}
    try:
        yield agent
    finally:
        await viewer.call("agent.stop", {"agent": agent})


async def start(system: System, rig: Any) -> Figure:
    """From the call to an agent that is listed and waits; pi alone, until it answers a first command."""
    alone, listed = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        async with rig.headless(HYPERPI_TETHERED="bench") as pi:
            await pi.command("get_state")
            alone.append(time.perf_counter() - began)
        async with system.viewer() as viewer:
            began = time.perf_counter()
            async with spawned(viewer, rig.folder):
                listed.append(time.perf_counter() - began)
    added = statistics.median(listed) - statistics.median(alone)
    words = (
        f"{statistics.median(listed):.2f} s, pi alone {statistics.median(alone):.2f} s; medians of {ROUNDS}"
    )
    return at_most("a spawned pi listed and ready, beyond pi's own start", added, "s", 0.3, words)


async def first_event(viewer: Viewer, agent: str) -> Figure:
    """From a prompt's receipt to the first event of its turn."""
    waits_ms = []
    for number in range(PROMPTS):
        asked = await viewer.ask("agent.prompt", {"agent": agent, "text": f"prompt {number}"})
        accepted = heard = None
        ended = False
        while accepted is None or not ended:
            message = await viewer.next()
            if message.get("id") == asked:
                accepted = time.perf_counter()
            for event in events_of(message, agent):
                heard = heard or time.perf_counter()
                ended = ended or is_last(event)
        assert heard is not None
        waits_ms.append(max(0.0, heard - accepted) * 1e3)
    words = f"median of {PROMPTS}, slowest {max(waits_ms):.1f} ms; HAPI 3.2 ms, opencode 13"
    return at_most("prompt accepted to first event", statistics.median(waits_ms), "ms", 3, words)


async def tokens(viewer: Viewer, agent: str) -> list[Figure]:
    """How late tokens come that leave one by one, and how many bytes they are that leave all at once."""
    late, _, _ = await turn_of(viewer, agent, PAUSE_MS)
    p50, p99 = (at_share([(each, 1) for each in late], share) / 1e3 for share in (0.5, 0.99))
    words = (
        f"p99 {p99:.1f} ms; {TOKENS} tokens, {PAUSE_MS} ms apart; opencode 2.5 ms in one process, HAPI 106"
    )
    _, deltas, kb = await turn_of(viewer, agent, 0)
    merged = f"{TOKENS} tokens of 13 bytes at once, {deltas} deltas; HAPI 258, opencode 299"
    return [
        at_most("token leaves the model to client, p50", p50, "ms", 5, words),
        at_most("bytes to a client, tokens faster than frames", kb, "kB", 120, merged),
    ]


async def turn_of(viewer: Viewer, agent: str, pause_ms: int) -> tuple[list[int], int, float]:
    """How late each token of a turn came, in microseconds; in how many deltas; how many kB it all was."""
    await viewer.ask("agent.prompt", {"agent": agent, "text": f"stamps: {TOKENS} {pause_ms}"})
    late: list[int] = []
    deltas, before, ended = 0, viewer.received_bytes, False
    while not ended:
        message = await viewer.next()
        now = time.monotonic_ns() // 1_000
        for event in events_of(message, agent):
            if event["type"] == "text_delta":
                deltas += 1
                late += [now - int(stamp) for stamp in STAMP.findall(event["delta"])]
            ended = ended or is_last(event)
    assert len(late) == TOKENS, f"{len(late)} of {TOKENS} tokens came"
    return late, deltas, (viewer.received_bytes - before) / 1e3


async def history(system: System, rig: Any) -> Figure:
    """All of a conversation of 1,000 messages, from a living pi."""
    path = rig.folder / "long.jsonl"
    write_session(path, rig.folder)
    times_ms = []
    async with system.viewer() as viewer, spawned(viewer, rig.folder, "--session", str(path)) as agent:
        for _ in range(ROUNDS):
            async with system.viewer() as other:
                await other.call("mesh.get", {})
                began = time.perf_counter()
                snapshot = (await other.call("agent.attach", {"agent": agent}))["snapshot"]
                entries, more = snapshot["entries"], snapshot["more"]
                while more:
                    wanted = {"agent": agent, "before": entries[0]["id"], "limit": 500}
                    page = await other.call("agent.history", wanted)
                    entries, more = page["entries"] + entries, page["more"]
                times_ms.append((time.perf_counter() - began) * 1e3)
    messages = [entry for entry in entries if entry["role"] in {"user", "assistant"}]
    assert len(messages) == MESSAGES, len(messages)
    words = f"attach and pages, median of {ROUNDS}; HAPI 27 ms, opencode 65"
    return at_most(f"full history, {MESSAGES} messages", statistics.median(times_ms), "ms", 30, words)


def write_session(path: Path, cwd: Path) -> None:
    """A conversation as pi keeps it."""
    at = "2026-01-05T10:00:00.000Z"
    lines: list[Json] = [
        {"type": "session", "version": 3, "id": str(uuid.uuid4()), "timestamp": at, "cwd": str(cwd)}
    ]
    parent = None
    for number in range(MESSAGES):
        text = [{"type": "text", "text": f"message {number}: " + "words of a usual length " * 8}]
        message: Json = {"role": "user", "content": text, "timestamp": 1767607200000}
        if number % 2:
            usage = {"input": 1, "output": 1, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 2}
            cost = dict.fromkeys(("input", "output", "cacheRead", "cacheWrite", "total"), 0)
            model = {"api": "openai-completions", "provider": "fake", "model": "fake-1", "stopReason": "stop"}
            message |= {"role": "assistant", "usage": {**usage, "cost": cost}, **model}
        entry = f"{number:08x}"
        lines.append(
            {"type": "message", "id": entry, "parentId": parent, "timestamp": at, "message": message}
        )
        parent = entry
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def is_last(event: Json) -> bool:
    """Whether a turn without tools has ended with this."""
    return bool(event["type"] == "message_end" and event["entry"]["role"] == "assistant")


def events_of(message: Json, agent: str) -> list[Json]:
    """The events of an agent in a message, if it brings any."""
    if message.get("method") != "agent.events" or message["params"]["agent"] != agent:
        return []
    found: list[Json] = message["params"]["events"]
    return found


if __name__ == "__main__":
    table_of("pi", measure)
