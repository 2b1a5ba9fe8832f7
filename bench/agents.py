"""What coming to an agent costs: `python -m bench.agents [--json]`.

Long conversations, a blip, 300 viewers at once, keepers. Agents and viewers are processes of this benchmark,
on the same machine as all that is measured.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from bench.figure import Figure, at_most, table_of
from bench.mesh import pss_mb
from bench.running import TOKEN, Json, System, agent, cpu_s, running
from hyperpi.errors import UnknownMethod
from hyperpi.lines import dial

ENTRIES = 10_000
PAGE = 500
ROUNDS = 9
BLIP_EVENTS = 200
VIEWERS = 300
VIEWER_PROCESSES = 2
RATE = 1_000  # events a second
BATCH = 20
RUN_S = 8.0


def measure() -> list[Figure]:
    """All figures, in one run of one system."""
    with running() as system:
        return asyncio.run(_measure(system))


async def _measure(system: System) -> list[Figure]:
    figures = await long_history(system)
    figures.append(await blip(system))
    figures += await crowd(system)
    figures += await keepers(system)
    return figures


# --- long conversations -----------------------------------------------------------------------------------


def entry(number: int) -> Json:
    """One of a conversation, as the contract has it."""
    role = ("user", "assistant")[number % 2]
    text = f"entry {number}: " + "words of a usual length " * 8
    return {"id": f"{number:08x}", "role": role, "at": AT, "blocks": [{"type": "text", "text": text}]}


AT = "2026-01-05T10:00:00.000Z"


def session_file(path: Path) -> None:
    """The same conversation as pi keeps it."""
    with path.open("w") as file:
        print(
            json.dumps({"type": "session", "version": 3, "id": "s", "timestamp": AT, "cwd": "/"}), file=file
        )
        for number in range(ENTRIES):
            made = entry(number)
            parent = f"{number - 1:08x}" if number else None
            message = {"role": made["role"], "content": made["blocks"]}
            head = {"type": "message", "id": made["id"], "parentId": parent, "timestamp": AT}
            print(json.dumps({**head, "message": message}), file=file)


@contextlib.asynccontextmanager
async def pi_of(system: System, path: Path) -> AsyncIterator[str]:
    """An agent that answers from memory as pi-socket does, with that session; gone when the block is left."""
    entries = [entry(number) for number in range(ENTRIES)]

    def answer(method: str, raw: msgspec.Raw) -> Any:
        params = msgspec.json.decode(raw)
        if method == "snapshot":
            return {"entries": entries[-params["limit"] :], "more": True, "running": None}
        if method == "history":
            end = int(params["before"], 16)
            first = max(0, end - params["limit"])
            return {"entries": entries[first:end], "more": first > 0}
        raise UnknownMethod(method)

    lines = await dial(Path((system.home / "node/agent.addr").read_text().strip()), answer)
    reading = asyncio.create_task(lines.run())
    session = {"id": "s", "file": str(path), "name": None}
    hello = {"instance": str(uuid.uuid4()), "kind": "pi", "name": "long", "cwd": "/", "pid": os.getpid()}
    registered = await lines.rpc.call("agent.register", {**hello, "session": session}, 10)
    try:
        yield registered["agent"]
        await lines.rpc.call("agent.bye", {"reason": "quit"}, 10)
    finally:
        lines.cut()
        await reading


async def long_history(system: System) -> list[Figure]:
    """The newest part first, then page by page to the beginning."""
    path = system.home / "long.jsonl"
    session_file(path)
    async with pi_of(system, path) as living:
        figures = await _read(system, living, "of a living agent")
    async with system.viewer() as viewer:
        while not any(
            one["id"] == living and one["state"] == "exited"
            for one in (await viewer.call("mesh.get", {}))["agents"]
        ):
            await viewer.next()
    return figures + await _read(system, living, "from a session file")


async def _read(system: System, agent_id: str, whose: str) -> list[Figure]:
    firsts, wholes = [], []
    for _ in range(ROUNDS):
        async with system.viewer() as viewer:
            await viewer.call("mesh.get", {})
            began = time.perf_counter()
            entries = (await viewer.call("agent.attach", {"agent": agent_id}))["snapshot"]["entries"]
            firsts.append((time.perf_counter() - began) * 1e3)
            more = True
            while more:
                params = {"agent": agent_id, "before": entries[0]["id"], "limit": PAGE}
                page = await viewer.call("agent.history", params)
                entries, more = page["entries"] + entries, page["more"]
            wholes.append((time.perf_counter() - began) * 1e3)
            assert [one["id"] for one in entries] == [f"{number:08x}" for number in range(ENTRIES)]
    said = f"{ENTRIES} entries, pages of {PAGE}, median of {ROUNDS}"
    return [
        at_most(f"first screen {whose}", statistics.median(firsts), "ms", 150, said),
        at_most(f"all of it {whose}", statistics.median(wholes), "ms", 1_000, said),
    ]


async def blip(system: System) -> Figure:
    """From dialling again to the last of the events that were missed."""
    times_ms = []
    async with agent(system, "blip") as source:
        for _ in range(ROUNDS):
            async with system.viewer() as viewer:
                await viewer.attach(source.id)
                cursor = await viewer.call("agent.attach", {"agent": source.id})
            await source.emit([_delta(f"w{number}") for number in range(BLIP_EVENTS)])
            began = time.perf_counter()
            async with system.viewer() as viewer:
                asked = {"agent": source.id, "epoch": cursor["epoch"], "seq": cursor["seq"]}
                await viewer.ask("agent.attach", asked)
                seen = 0
                while seen < BLIP_EVENTS:
                    message = await viewer.next()
                    if message.get("method") == "agent.events":
                        seen += len(message["params"]["events"])
                times_ms.append((time.perf_counter() - began) * 1e3)
    words = f"dialling, attaching and {BLIP_EVENTS} missed events, median of {ROUNDS}"
    return at_most("resume after a blip", statistics.median(times_ms), "ms", 50, words)


# --- a crowd ----------------------------------------------------------------------------------------------

MARK = b'"delta":"t'
STAMP = re.compile(MARK + rb"(\d+) ")


class Onlooker(asyncio.Protocol):
    """A viewer that reads as a program in C would: it counts events and looks at when they were made."""

    def __init__(self, host: str, token: str, agent_id: str) -> None:
        self.host, self.token, self.agent = host, token, agent_id
        self.events = 0
        self.late: list[tuple[int, int]] = []  # microseconds, of so many events
        self.closed = False
        self.attached = asyncio.Event()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        head = (
            f"GET /ws HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n"
        )
        transport.write(head.encode())

    def _attach(self) -> None:
        params = {"agent": self.agent}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "agent.attach", "params": params}
        text = json.dumps(asked).encode()
        assert len(text) < 126
        self._transport.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)  # masked with zeros

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns() // 1_000
        text = self._rest + data
        if not self.attached.is_set():
            if text.startswith(b"HTTP/1.1 101") and text.endswith(b"\r\n\r\n"):
                self._attach()
                text = b""
            elif b'"resume"' in text:
                self.attached.set()
        events = text.count(MARK)
        if events and (oldest := STAMP.search(text)):  # of all that came together the one that waited longest
            self.late.append((now - int(oldest[1]), events))
        self.events += events
        self._rest = text[1 - len(MARK) :]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True


def onlookers(count: int, port: int, token: str, agent_id: str, parent: Connection) -> None:
    """A process with so many viewers: says when all have attached, then what they saw once it is told to."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        made = []
        for _ in range(count):
            _, onlooker = await loop.create_connection(
                lambda: Onlooker(f"127.0.0.1:{port}", token, agent_id), "127.0.0.1", port
            )
            await asyncio.wait_for(onlooker.attached.wait(), 10)
            made.append(onlooker)
        parent.send("attached")
        await asyncio.to_thread(parent.recv)
        late = [one for onlooker in made for one in onlooker.late]
        parent.send((sum(one.events for one in made), late, sum(one.closed for one in made)))

    asyncio.run(look())


def at_share(late: list[tuple[int, int]], share: float) -> int:
    """How late the events at that share of all were; `late` is (lateness, how many)."""
    left = share * sum(count for _, count in late)
    for lateness, count in sorted(late):
        left -= count
        if left <= 0:
            return lateness
    raise ValueError("nobody saw anything")


async def crowd(system: System) -> list[Figure]:
    """One agent at 1,000 events a second, 300 viewers."""
    port = int(system.said("hypivisor")["url"].rpartition(":")[2])
    spawn = multiprocessing.get_context("spawn")
    async with agent(system, "stage") as source:
        async with system.viewer() as viewer:
            await viewer.attach(source.id)
        pipes = []
        for _ in range(VIEWER_PROCESSES):
            ours, theirs = spawn.Pipe()
            count = VIEWERS // VIEWER_PROCESSES
            process = spawn.Process(target=onlookers, args=(count, port, TOKEN, source.id, theirs))
            process.start()
            pipes.append((process, ours))
        for _, pipe in pipes:
            await asyncio.to_thread(pipe.recv)
        pid = system.said("hypivisor")["pid"]
        cpu_before, began, sent = cpu_s(pid), time.monotonic(), 0
        onlookers_before = sum(cpu_s(process.pid) for process, _ in pipes)
        while (now := time.monotonic()) - began < RUN_S:
            if (wait_s := began + sent / RATE - now) > 0:
                await asyncio.sleep(wait_s)
            stamp = time.monotonic_ns() // 1_000
            await source.emit([_delta(f"t{stamp} w{number}") for number in range(BATCH)])
            sent += BATCH
        took_s = time.monotonic() - began
        await asyncio.sleep(1.0)  # what is under way arrives
        busy = (cpu_s(pid) - cpu_before) / took_s
        looking = (sum(cpu_s(process.pid) for process, _ in pipes) - onlookers_before) / took_s
        seen, late, dropped = 0, [], 0
        for process, pipe in pipes:
            pipe.send("tell")
            events, some, closed = await asyncio.to_thread(pipe.recv)
            seen, dropped = seen + events, dropped + closed
            late += some
            process.join(10)
    p50, p99 = (at_share(late, share) / 1e3 for share in (0.5, 0.99))
    words = f"{sent / took_s:.0f} events/s to {VIEWERS} viewers, {seen / took_s:,.0f} deliveries/s"
    missing = sent * VIEWERS - seen
    costs = f"hypivisor + Pi-DE {busy:.2f} cores, viewers {looking:.2f}"
    return [
        at_most("a crowd: event to viewer, p99", p99, "ms", 50, f"p50 {p50:.1f} ms; {words}"),
        at_most("a crowd: viewers dropped", dropped, "", 0, costs),
        at_most("a crowd: events that somebody did not get", missing, "", 0, words),
    ]


# --- at rest ----------------------------------------------------------------------------------------------


async def keepers(system: System) -> list[Figure]:
    """Memory of a keeper whose program does nothing."""
    toml = system.home / "node/node.toml"
    toml.write_text('roots = ["/tmp"]\n[kinds]\nidle = ["sleep", "300"]\n')
    figures = []
    async with system.viewer() as viewer:
        for kind, args in (("idle", []), ("terminal", ["sleep", "300"])):
            wanted = {"node": "bench", "path": str(system.home), "kind": kind, "args": args}
            started = None
            while started is None:  # node.toml is read a moment after it was written
                with contextlib.suppress(RuntimeError):
                    started = await viewer.call("node.spawn", {**wanted, "request_id": uuid.uuid4().hex})
            kept = json.loads((system.home / "node/keepers" / f"{started['agent']}.json").read_text())
            await asyncio.sleep(1.0)
            size_mb = pss_mb(kept["keeper_pid"]) + pss_mb(kept["standby_pid"])
            holds = "a terminal" if kind == "terminal" else "pipes"
            figures.append(
                at_most(f"memory of a keeper with {holds}", size_mb, "MB", 15, "PSS, with who stands by")
            )
            await viewer.call("agent.stop", {"agent": started["agent"]})
    return figures


def _delta(text: str) -> Json:
    return {"type": "text_delta", "message_id": "m1", "block": 0, "delta": text}


if __name__ == "__main__":
    table_of("agents", measure)
