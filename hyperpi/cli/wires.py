"""How messages of the command travel: lines on a Unix socket, or frames of a WebSocket.

Plain blocking sockets: the command is done in milliseconds and waits for one thing at a time. Every wait
has a limit, which the caller gives.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hyperpi.errors import HyperPiError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

MAX_MESSAGE_BYTES = 64 << 20  # a roster of 10,000 agents takes 6 MB; more than this is not an answer
CONNECT_S = 2.0  # to a Unix socket: its listener is either there or not
SEND_S = 10.0  # the other side takes what we send at once, or is stuck
LOOK_UP_S = 0.5  # a Ctrl-C that comes between two instructions wakes no system call; then it is this late
_READ_BYTES = 256 << 10


class ConnectionLost(HyperPiError):
    """The connection has ended. `code`: the close code of the contract, None without one."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason, hint="try again")
        self.code = code


class Wire(Protocol):
    """Whole messages in both directions. `send` may be called by another thread."""

    def send(self, message: bytes) -> None:
        """Raises ConnectionLost."""

    def receive(self, timeout_s: float) -> bytes | None:
        """The next message, None after `timeout_s` seconds without one. Raises ConnectionLost."""

    def close(self) -> None:
        """End the connection."""


class UnixWire:
    """One message a line."""

    def __init__(self, path: Path) -> None:
        """Connect. Raises OSError when nobody listens."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(CONNECT_S)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(SEND_S)
        self._sending = threading.Lock()
        self._unread = bytearray()
        self._looked_at = 0  # bytes of `_unread` that hold no newline

    def send(self, message: bytes) -> None:
        """See Wire."""
        try:
            with self._sending:
                self._socket.sendall(message + b"\n")
        except OSError as exc:
            raise ConnectionLost(f"the connection has ended: {exc.strerror or exc}") from None

    def receive(self, timeout_s: float) -> bytes | None:
        """See Wire."""
        deadline = time.monotonic() + timeout_s
        while (line := self._line()) is None:
            left_s = deadline - time.monotonic()
            ready, _, _ = select.select([self._socket], [], [], max(0.0, min(LOOK_UP_S, left_s)))
            if ready:
                self._read()
            elif left_s <= LOOK_UP_S:
                return None
        return line

    def _line(self) -> bytes | None:
        end = self._unread.find(b"\n", self._looked_at)
        if end < 0:
            self._looked_at = len(self._unread)
            return None
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        self._looked_at = 0
        return line

    def _read(self) -> None:
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except OSError as exc:
            raise ConnectionLost(f"the connection has ended: {exc.strerror or exc}") from None
        if not chunk:
            raise ConnectionLost("the other side has ended the connection")
        self._unread += chunk
        if len(self._unread) > MAX_MESSAGE_BYTES:
            raise ConnectionLost(f"a message is larger than {MAX_MESSAGE_BYTES} bytes")

    def close(self) -> None:
        """See Wire."""
        self._socket.close()


class WebSocketWire:
    """One message a text frame."""

    def __init__(self, connection: "ClientConnection", close: Callable[[], None]) -> None:
        self._connection = connection
        self._close = close

    def send(self, message: bytes) -> None:
        """See Wire."""
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(message.decode())
        except (ConnectionClosed, OSError) as exc:
            raise _lost(exc) from None

    def receive(self, timeout_s: float) -> bytes | None:
        """See Wire."""
        from websockets.exceptions import ConnectionClosed

        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            try:
                frame = self._connection.recv(max(0.0, min(LOOK_UP_S, left_s)))
            except TimeoutError:
                if left_s <= LOOK_UP_S:
                    return None
            except (ConnectionClosed, OSError) as exc:
                raise _lost(exc) from None
            else:
                return frame.encode() if isinstance(frame, str) else frame

    def close(self) -> None:
        """See Wire."""
        self._close()


def _lost(exc: Exception) -> ConnectionLost:
    closed = getattr(exc, "rcvd", None)  # the Close frame of a polite end
    if closed is None:
        return ConnectionLost("the connection has ended without a word")
    return ConnectionLost(f"the connection was closed: {closed.reason or closed.code}", closed.code)
