"""Copies of the master sides of this machine's terminals.

A terminal whose master side nobody has open hangs up on its program. Keepers hold them; they hand this
process a copy, so that a keeper that is killed leaves a terminal that the next one can take over.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from hyperpi.lines import peer_of

log = logging.getLogger(__name__)

HAND_OVER_S = 1.0  # a keeper says one line, at once
MAX_LINE_BYTES = 4096
ACCEPT_AGAIN_S = 1.0  # as asyncio's own servers do
WAITING = 16  # keepers that dial at the same time


class _Said(msgspec.Struct):
    agent: str


class Masters:
    """One descriptor per agent. `keeper_of(agent)`: the pid of whoever may hand over its terminal."""

    def __init__(self, keeper_of: Callable[[str], int | None]) -> None:
        self._keeper_of = keeper_of
        self._held: dict[str, int] = {}

    def of(self, agent: str) -> int | None:
        """The master of an agent's terminal; None if we have none. It stays ours."""
        return self._held.get(agent)

    def drop(self, agent: str) -> None:
        """The agent has ended."""
        if (fd := self._held.pop(agent, None)) is not None:
            os.close(fd)

    async def serve(self, path: Path) -> None:
        """Take what keepers hand over, until cancelled; then let go of all."""
        loop = asyncio.get_running_loop()
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.setblocking(False)
            listener.bind(str(path))
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
            listener.listen(WAITING)
            try:
                while True:
                    try:
                        connection, _ = await loop.sock_accept(listener)
                    except OSError as exc:
                        # No descriptor is free: the keeper waits in line, and the node goes on.
                        log.warning("a terminal waits to be taken over reason=%s", exc.strerror)
                        await asyncio.sleep(ACCEPT_AGAIN_S)
                        continue
                    with connection:
                        self._keep(*await asyncio.to_thread(_received, connection))
            finally:
                path.unlink(missing_ok=True)
                for agent in list(self._held):
                    self.drop(agent)

    def _keep(self, line: bytes, fds: list[int], pid: int | None) -> None:
        try:
            said = msgspec.json.decode(line, type=_Said)
        except msgspec.DecodeError:
            said = _Said("")
        if len(fds) == 1 and pid is not None and pid == self._keeper_of(said.agent):
            self.drop(said.agent)
            self._held[said.agent] = fds[0]
            return
        for fd in fds:
            os.close(fd)
        log.warning("a terminal was not taken over agent=%s pid=%s", said.agent, pid)


def _received(connection: socket.socket) -> tuple[bytes, list[int], int | None]:
    """One line, the descriptors that came with it, and who sent them. Blocks, not for long."""
    connection.setblocking(True)
    connection.settimeout(HAND_OVER_S)
    pid, uid = peer_of(connection)
    with contextlib.suppress(OSError):
        line, fds, _, _ = socket.recv_fds(connection, MAX_LINE_BYTES, 1)
        for fd in fds:
            os.set_inheritable(fd, False)
        return line, list(fds), pid if uid == os.getuid() else None
    return b"", [], None
