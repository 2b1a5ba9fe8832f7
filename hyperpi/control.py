"""The control socket: the methods of `/ws` for the owner of this machine, one JSON message a line.

Agents run as their owner, so their tools can open it too: a peer that an agent has started has the agent's
rights and name.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from hyperpi import lines
from hyperpi.contract import MAX_FRAME_BYTES
from hyperpi.errors import BadMessage
from hyperpi.process_tree import Lineage, Relative, lineage
from hyperpi.roles import AGENT, UNSEEN, Caller
from hyperpi.status import to_json_rpc
from hyperpi.strict_json import encode
from hyperpi.viewer import RESTARTING, Backend, Viewer, serve_viewer

# Of another pid namespace, gone already, or nested too deep: an agent's tool could be any of these.
SOMEBODY = Caller("somebody", UNSEEN, "cli")


class Occupancy:
    """Whether somebody is there: one of the two events is set."""

    def __init__(self) -> None:
        self.occupied, self.empty = asyncio.Event(), asyncio.Event()
        self.empty.set()

    def tell(self, count: int) -> None:
        """How many there are now."""
        now, past = (self.occupied, self.empty) if count else (self.empty, self.occupied)
        now.set()
        past.clear()


class ControlSocket:
    """Serves one Unix socket. `agents`: the address of every living agent of this machine by its process."""

    def __init__(
        self, backend: Backend, owner: Callable[[], Caller], agents: Callable[[], Mapping[Relative, str]]
    ) -> None:
        self.viewers: set[Viewer] = set()
        self.occupancy = Occupancy()
        self._backend = backend
        self._owner = owner
        self._agents = agents
        # Who started us could have read every secret of ours: it gains nothing by becoming an agent later.
        self._starters = lineage(os.getpid()).family

    async def serve(self, path: Path) -> None:
        """Listen until cancelled. Raises Conflict when another process listens there."""
        await lines.serve(path, self._serve_one)

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer_pid: int
    ) -> None:
        peer = lineage(peer_pid)
        caller = self._caller(peer)
        viewer = Viewer(self._backend, caller, _LineOutlet(writer))
        self.viewers.add(viewer)
        self.occupancy.tell(len(self.viewers))

        async def read() -> None:
            try:
                while line := await reader.readline():
                    now = self._caller(peer)
                    if now.role != caller.role or (now.role == AGENT and now.name != caller.name):
                        # Its ancestor has become an agent, or has another name: it comes back as who it is.
                        viewer.end(RESTARTING, "this process belongs to an agent now")
                        return
                    viewer.rpc.receive(line)
            except ValueError:  # the reader's word for a line over its limit
                error = BadMessage(f"a line is larger than {MAX_FRAME_BYTES} bytes")
                writer.write(encode({"jsonrpc": "2.0", "id": None, "error": to_json_rpc(error)}) + b"\n")

        try:
            await serve_viewer(viewer, read)
        finally:
            self.viewers.discard(viewer)
            self.occupancy.tell(len(self.viewers))

    def _caller(self, peer: Lineage) -> Caller:
        agent = peer.nearest(self._agents(), self._starters)
        if agent is not None:
            return Caller(agent, AGENT, "agent")
        return self._owner() if peer.complete else SOMEBODY


class _LineOutlet:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, message: bytes) -> None:
        self._writer.write(message + b"\n")
        await self._writer.drain()

    async def close(self, code: int, reason: str) -> None:
        closing = {
            "jsonrpc": "2.0",
            "method": "connection.closing",
            "params": {"code": code, "reason": reason},
        }
        self._writer.write(encode(closing) + b"\n")
        self._writer.close()
