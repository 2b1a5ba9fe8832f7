"""A whole system for benchmarks: `hyperpi up` with a node in its own home, and agents that do as told."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from hyperpi.errors import UnknownMethod
from hyperpi.holder import holder_of
from hyperpi.lines import Lines, dial

START_S = 20.0
TOKEN = "bench-" + uuid.uuid4().hex  # of a system that lives for a minute
Json = dict[str, Any]


@dataclass(slots=True)
class System:
    """A running system."""

    home: Path
    started: float
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def said(self, part: str) -> Json:
        """run.json of `hypivisor` or `node`."""
        found: Json = json.loads((self.home / part / "run.json").read_text())
        return found

    @contextlib.asynccontextmanager
    async def viewer(self) -> AsyncIterator["Viewer"]:
        """A program on /ws."""
        url = self.said("hypivisor")["url"].replace("http", "ws", 1) + "/ws"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(url, additional_headers=headers, compression=None, max_size=None) as socket:
            yield Viewer(socket)


@contextlib.contextmanager
def running() -> Iterator[System]:
    """Start a system and end it, its node included."""
    with tempfile.TemporaryDirectory(prefix="hpb-") as folder:
        home = Path(folder)
        environment = {**os.environ, "HYPERPI_HOME": str(home), "HYPI_TOKEN": TOKEN, "HYPERPI_LOG": "error"}
        command = [sys.executable, "-m", "hyperpi.cli.main", "up", "--name", "bench", "--no-mdns"]
        command += ["--port", "0", "--grpc-port", "0", "--enrol-port", "0"]
        system = System(home, time.perf_counter())
        up = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: (home / "hypivisor/run.json").exists(), "the hypivisor")
            wait_until(lambda: (home / "node/run.json").exists(), "the node")
            wait_until(lambda: system.said("node")["linked"], "the link")
            yield system
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(10)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(system.said("node")["pid"], signal.SIGTERM)
            wait_until(lambda: holder_of(home / "node" / "lock") is None, "the end of the node")


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come in {START_S:g} s")
        time.sleep(0.005)


class Agent:
    """A small real agent on the agent socket."""

    def __init__(self, lines: Lines) -> None:
        self.rpc = lines.rpc
        self.id = ""
        self._sent = 0

    async def emit(self, events: list[Json]) -> None:
        """Send a run of events; returns when the node has them."""
        first, self._sent = self._sent + 1, self._sent + len(events)
        await self.rpc.call("agent.events", {"from": first, "events": events}, 10)


@contextlib.asynccontextmanager
async def agent(system: System, name: str) -> AsyncIterator[Agent]:
    """Register an agent as long as the block lasts."""

    def answer(method: str, _params: msgspec.Raw) -> Any:
        if method == "snapshot":
            return {"entries": [], "more": False, "running": None}
        raise UnknownMethod(method)

    lines = await dial(Path((system.home / "node/agent.addr").read_text().strip()), answer)
    reading = asyncio.create_task(lines.run())
    made = Agent(lines)
    card = {"model": "bench/model", "tools": [], "skills": []}
    hello = {"instance": str(uuid.uuid4()), "kind": "bench", "name": name, "cwd": "/", "pid": os.getpid()}
    registered = await made.rpc.call("agent.register", {**hello, "card": card}, 10)
    made.id = registered["agent"]
    try:
        yield made
    finally:
        lines.cut()
        await reading


class Viewer:
    """JSON-RPC over one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received_bytes = 0
        self._id = 0

    async def call(self, method: str, params: Json) -> Json:
        """The result; notifications in between are dropped."""
        self._id += 1
        asked = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        await self.socket.send(json.dumps(asked))
        while True:
            message = await self.next()
            if message.get("id") == self._id:
                if "error" in message:
                    raise RuntimeError(message["error"])
                result: Json = message["result"]
                return result

    async def attach(self, agent: str) -> None:
        """Follow an agent, once the mesh has heard of it."""
        while agent not in {found["id"] for found in (await self.call("mesh.get", {}))["agents"]}:
            await self.next()
        await self.call("agent.attach", {"agent": agent})

    async def next(self) -> Json:
        """The next message."""
        raw = await asyncio.wait_for(self.socket.recv(), 10)
        self.received_bytes += len(raw)
        message: Json = json.loads(raw)
        return message


async def _agent_alone(home: Path, name: str) -> None:
    """An agent in a process of its own, to be killed: prints its id, then lives."""
    async with agent(System(home, 0.0), name) as alone:
        print(alone.id, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_agent_alone(Path(sys.argv[1]), sys.argv[2]))
