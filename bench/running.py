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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from hyperpi.errors import UnknownMethod
from hyperpi.holder import holder_of
from hyperpi.lines import Lines, dial

START_S = 20.0
SHM = Path("/dev/shm")
TOKEN = "bench-" + uuid.uuid4().hex  # of a system that lives for a minute
Json = dict[str, Any]


@dataclass(slots=True)
class System:
    """A running system."""

    home: Path
    started: float
    up: subprocess.Popen[bytes] | None = None  # of a machine with a hypivisor

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this system is given."""
        ours = {"HYPERPI_HOME": str(self.home), "HYPI_TOKEN": TOKEN, "HYPERPI_LOG": "error"}
        # As for a user: an installed program is compiled once, not at each start.
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, **ours}

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
def running(
    *flags: str, module: str = "hyperpi.cli.main", stdout: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[System]:
    """Start a system and end it, its node included. `module` runs in the place of the command."""
    with tempfile.TemporaryDirectory(prefix="hpb-") as folder:
        home = Path(folder)
        command = [sys.executable, "-m", module, "up", "--name", "bench", "--no-mdns"]
        command += ["--port", "0", "--grpc-port", "0", "--enrol-port", "0", *flags]
        system = System(home, time.perf_counter())
        up = system.up = subprocess.Popen(command, env=system.environment, stdout=stdout)
        try:
            wait_until(lambda: (home / "hypivisor/run.json").exists(), "the hypivisor")
            wait_until(lambda: (home / "node/run.json").exists(), "the node")
            wait_until(lambda: system.said("node")["linked"], "the link")
            yield system
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(10)
            end_node(system)


@contextlib.contextmanager
def joined(system: System, name: str) -> Iterator[System]:
    """A second machine of the mesh, in a home of its own: only its node runs."""
    place = SHM if SHM.is_dir() else None  # another machine would have another drive
    with tempfile.TemporaryDirectory(prefix="hpb-", dir=place) as folder:
        machine = System(Path(folder) / "home", time.perf_counter())
        token = write_join_token(system, Path(folder))
        where = f"127.0.0.1:{system.said('hypivisor')['enrol_port']}"
        try:
            hyperpi(machine, "node", "join", where, "--token-file", token, "--name", name, "--no-mdns")
            yield machine
        finally:
            end_node(machine)


def write_join_token(system: System, folder: Path) -> str:
    """Make a join token; the path of a file that holds it."""
    path = folder / "token"
    path.write_text(json.loads(hyperpi(system, "token", "create", "--role", "node", "--json"))["token"])
    return str(path)


def end_node(machine: System) -> None:
    """End a machine's node, if one runs."""
    lock = machine.home / "node" / "lock"
    if (pid := holder_of(lock)) is not None:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: holder_of(lock) is None, "the end of a node")


def hyperpi(system: System, *argv: str) -> str:
    """Run the command; what it printed."""
    command = [sys.executable, "-m", "hyperpi.cli.main", *argv]
    return subprocess.run(
        command, env=system.environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def cpu_s(pid: int) -> float:
    """Processor time that a process has had, in steps of a clock tick."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        self.scrolls: list[str] = []  # ids in the order in which they came, doubles too
        self.delivered = asyncio.Event()  # set with each of them
        self._sent = 0

    async def read(self, count: int, patience_s: float) -> None:
        """Return once that many scrolls have come. Raises TimeoutError."""
        async with asyncio.timeout(patience_s):
            while len(self.scrolls) < count:
                self.delivered.clear()
                await self.delivered.wait()

    async def emit(self, events: list[Json]) -> None:
        """Send a run of events; returns when the node has them."""
        first, self._sent = self._sent + 1, self._sent + len(events)
        await self.rpc.call("agent.events", {"from": first, "events": events}, 10)


@contextlib.asynccontextmanager
async def agent(system: System, name: str) -> AsyncIterator[Agent]:
    """Register an agent as long as the block lasts."""

    def answer(method: str, params: msgspec.Raw) -> Any:
        if method == "snapshot":
            return {"entries": [], "more": False, "running": None}
        if method == "deliver":
            made.scrolls.append(msgspec.json.decode(params)["scroll"]["scroll_id"])
            made.delivered.set()
            return {"opcode_type": "text_display", "content": "read"}
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
        asked = await self.ask(method, params)
        while True:
            message = await self.next()
            if message.get("id") == asked:
                if "error" in message:
                    raise RuntimeError(message["error"])
                result: Json = message["result"]
                return result

    async def ask(self, method: str, params: Json) -> int:
        """Send a request; the id that its answer will have."""
        self._id += 1
        asked = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        await self.socket.send(json.dumps(asked))
        return self._id

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
