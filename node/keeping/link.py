"""A keeper's end of the agent socket."""

import contextlib
import json
import os
import selectors
import socket
import struct
import sys
from collections.abc import Callable

from node.keeping.lines import MAX_LINE_BYTES, Json, line_of

LINUX = sys.platform == "linux"
CHUNK_BYTES = 64 << 10
TERMINALS = "terminals.sock"  # beside the agent socket: there descriptors are handed over
HAND_OVER_S = 1.0
MAX_UNSENT_BYTES = 2 << 20  # several reports; more means that the node does not read


class Failed(Exception):
    """A request that is answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class NodeLink:
    """One connection to the node's agent socket at a time: JSON-RPC, a line each. Never blocks.

    `serve(method, params)` answers the node's requests, or raises Failed; `lost()` tells that the connection
    has ended.
    """

    def __init__(
        self,
        address_file: str,
        selector: selectors.BaseSelector,
        serve: Callable[[str, Json], Json],
        lost: Callable[[], None],
    ) -> None:
        self.address_file = address_file
        self.selector = selector
        self.serve = serve
        self.lost = lost
        self.socket: socket.socket | None = None
        self.folder = ""  # of the node's sockets
        self.incoming = b""
        self.outgoing = bytearray()
        self.waiting: dict[int, Callable[[Json | None], None]] = {}  # answers to come, by id
        self.number = 0

    def dial(self) -> bool:
        """Whether a connection was made."""
        self.close()
        link = socket.socket(socket.AF_UNIX)
        link.setblocking(False)
        try:
            with open(self.address_file, encoding="utf-8") as file:
                path = file.read(4096).strip()
            # Whoever could put a socket there could give us orders.
            owner = os.stat(os.path.dirname(path))
            if owner.st_uid != os.getuid() or owner.st_mode & 0o022:
                raise PermissionError("the node's socket lies in a folder that others can write")
            link.connect(path)
        except (OSError, ValueError):
            link.close()
            return False
        self.folder = os.path.dirname(path)
        self.socket = link
        self.selector.register(link, selectors.EVENT_READ, self.on_ready)
        return True

    def peer_pid(self) -> int | None:
        """The node's pid, from the kernel."""
        if self.socket is None:
            return None
        # macOS: LOCAL_PEERPID at SOL_LOCAL
        level, option, size = (socket.SOL_SOCKET, socket.SO_PEERCRED, 12) if LINUX else (0, 2, 4)
        try:
            return int(struct.unpack_from("i", self.socket.getsockopt(level, option, size))[0])
        except OSError:
            return None

    def call(self, method: str, params: Json, answered: Callable[[Json | None], None]) -> None:
        """Ask the node; `answered` gets the result, or None for an error. Silence ends the connection."""
        self.number += 1
        self.waiting[self.number] = answered
        self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})

    def hand_over(self, fd: int, message: Json) -> None:
        """Give the node a descriptor of its own, so that it stays open whatever becomes of us."""
        with socket.socket(socket.AF_UNIX) as other, contextlib.suppress(OSError):
            other.settimeout(HAND_OVER_S)
            other.connect(os.path.join(self.folder, TERMINALS))
            socket.send_fds(other, [line_of(message)], [fd])

    def send(self, message: Json) -> None:
        if self.socket is None:
            return
        self.outgoing += line_of(message)
        self.flush()

    def flush(self) -> None:
        if self.socket is None:
            return
        try:
            while self.outgoing:
                del self.outgoing[: self.socket.send(self.outgoing[:CHUNK_BYTES])]
        except BlockingIOError:
            if len(self.outgoing) > MAX_UNSENT_BYTES:
                self.drop()
                return
        except OSError:
            self.drop()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.outgoing else 0)
        self.selector.modify(self.socket, wanted, self.on_ready)

    def on_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self.flush()
        if self.socket is None or not events & selectors.EVENT_READ:
            return
        try:
            chunk = self.socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.drop()
            return
        *lines, self.incoming = (self.incoming + chunk).split(b"\n")
        if len(self.incoming) > MAX_LINE_BYTES:
            self.drop()
            return
        for line in lines:
            self.take(line)

    def take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        method, params = message.get("method"), message.get("params")
        if isinstance(method, str):
            self.answer(message.get("id"), method, params if isinstance(params, dict) else {})
            return
        number, result = message.get("id"), message.get("result")
        if isinstance(number, int) and number in self.waiting:
            self.waiting.pop(number)(result if isinstance(result, dict) else None)

    def answer(self, number: object, method: str, params: Json) -> None:
        try:
            outcome: Json = {"result": self.serve(method, params)}
        except Failed as exc:
            outcome = {"error": {"code": exc.code, "message": str(exc)}}
        if number is not None:
            self.send({"jsonrpc": "2.0", "id": number, **outcome})

    def drop(self) -> None:
        """The connection is of no more use."""
        if self.socket is not None:
            self.close()
            self.lost()

    def abandon(self) -> None:
        """In a process that shares the connection and has no business with it."""
        if self.socket is not None:
            self.socket.close()

    def close(self) -> None:
        if self.socket is not None:
            self.selector.unregister(self.socket)
            self.socket.close()
        self.socket, self.incoming = None, b""
        self.outgoing.clear()
        self.waiting.clear()
