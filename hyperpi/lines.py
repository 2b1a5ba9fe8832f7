"""JSON-RPC over a Unix socket, one message a line: the agent socket and the control sockets.

A line is at most 1 MiB. The writer's buffer is bounded: a peer that does not read is cut off, since its
own side can dial again and resume.
"""

import asyncio
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from hyperpi.contract import MAX_FRAME_BYTES
from hyperpi.errors import BadMessage, Conflict
from hyperpi.rpc import Connection, Handler
from hyperpi.status import to_json_rpc
from hyperpi.strict_json import encode

log = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 16 << 20  # a peer this far behind has stopped reading


class Lines:
    """One peer on a Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self.rpc = Connection(self._send, handler)
        self.peer_pid, _uid = peer_of(writer.get_extra_info("socket"))
        self._reader = reader
        self._writer = writer

    def _send(self, message: bytes) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.warning("a peer does not read and is cut off pid=%s", self.peer_pid)
            transport.abort()
            return
        self._writer.write(message + b"\n")

    async def run(self, on_line: Callable[[], None] | None = None) -> None:
        """Read until the peer has gone. Returns quietly however it went."""
        try:
            while line := await self._reader.readline():
                if on_line is not None:
                    on_line()
                if line.strip():
                    self.rpc.receive(line)
        except ValueError:  # the reader's word for a line over its limit
            error = BadMessage(f"a line is larger than {MAX_FRAME_BYTES} bytes")
            self._send(encode({"jsonrpc": "2.0", "id": None, "error": to_json_rpc(error)}))
        except (ConnectionError, OSError):
            pass
        finally:
            await self.rpc.close()
            self._writer.close()

    def cut(self) -> None:
        """End the connection now."""
        self._writer.transport.abort()


async def dial(path: Path, handler: Handler) -> Lines:
    """Connect to a Unix socket. Raises OSError when nobody listens."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_FRAME_BYTES)
    return Lines(reader, writer, handler)


# One connection, and the peer's pid. Whatever it does with them, they are closed when it returns.
ServeOne = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


async def serve(path: Path, serve_one: ServeOne, listening: Callable[[], object] = lambda: None) -> None:
    """Listen on a Unix socket for processes of our own user, until cancelled; then every connection ends.

    Another user's process is refused, whatever the mode of the socket. `listening` is called once. Raises
    Conflict when another process listens there.
    """
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            pid, uid = peer_of(writer.get_extra_info("socket"))
            if uid == os.getuid():
                await serve_one(reader, writer, pid)
            else:
                log.warning("a process of another user was refused uid=%d", uid)
        except asyncio.CancelledError:
            pass  # we are stopping; asyncio.streams would log the cancellation as an error
        finally:
            connections.discard(task)
            writer.close()

    if path.exists() and _answers(path):
        raise Conflict(f"{path} is already served by another process")
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(accept, str(path), limit=MAX_FRAME_BYTES)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    listening()
    try:
        await asyncio.Event().wait()
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """pid and uid of the process at the other end, as the kernel knows them."""
    if sys.platform == "linux":
        packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _gid = struct.unpack("3i", packed)
        return pid, uid
    # macOS: LOCAL_PEERPID (2) and LOCAL_PEERCRED (1) at SOL_LOCAL (0); struct xucred begins version, uid.
    pid = struct.unpack("i", sock.getsockopt(0, 2, 4))[0]
    _version, uid = struct.unpack("Ii", sock.getsockopt(0, 1, 8))
    return pid, uid
