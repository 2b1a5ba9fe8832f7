"""The mesh as the owner of this machine sees it: through the hypivisor, and only while somebody looks.

A node needs no roster but its own. When its owner lists agents or attaches to one elsewhere, the node becomes
a front end of the hypivisor with its own certificate, and stays one a little longer than the last look.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hyperpi.console_client import ConsoleClient, Notify
from hyperpi.control import Occupancy
from hyperpi.errors import NodeUnreachable
from hyperpi.mesh_view import MeshView
from node.link import Link

OPEN_S = 10.0  # a handshake and the whole roster
LINGER_S = 30.0  # commands come in bursts, and a handshake costs more than a quiet stream
STALE_S = 30.0  # away for so long, it is opened anew: the address or our certificate may have changed


class MeshWindow:
    """Opened by the first who asks for its client. `switched`: what viewers should look at has changed."""

    def __init__(self, link: Link, notify: Notify, switched: Callable[[], None]) -> None:
        self._link = link
        self._notify = notify
        self._switched = switched
        self._client: ConsoleClient | None = None
        self._asked, self._opened = asyncio.Event(), asyncio.Event()

    @property
    def view(self) -> MeshView | None:
        """The roster of the mesh; None while it cannot be followed."""
        client = self._client
        return client.view if client is not None and client.connected.is_set() else None

    async def client(self) -> ConsoleClient:
        """Connected, with the whole roster. Raises NodeUnreachable."""
        self._asked.set()
        try:
            async with asyncio.timeout(OPEN_S):
                await self._opened.wait()
                assert self._client is not None
                await self._client.connected.wait()
                return self._client
        except TimeoutError:
            raise NodeUnreachable(
                "the hypivisor does not show its mesh", hint="`hyperpi doctor` looks for the reason"
            ) from None

    async def run(self, lookers: Occupancy) -> None:
        """Open when asked, close when nobody has looked for a while; until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            channel = self._link.open_channel()
            if channel is not None:
                await self._follow(ConsoleClient(channel), lookers)

    async def _follow(self, client: ConsoleClient, lookers: Occupancy) -> None:
        client.on_notice.append(self._notify)
        self._client = client
        self._opened.set()
        parts: list[Coroutine[Any, Any, None]] = [
            client.run(),
            self._tell_switches(client),
            _until_unused(lookers),
            _until_stale(client),
        ]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._client = None
            self._opened.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            client.view.wake()

    async def _tell_switches(self, client: ConsoleClient) -> None:
        while True:
            await client.connected.wait()
            self._switched()
            await client.disconnected.wait()


async def _until_unused(lookers: Occupancy) -> None:
    while True:
        await lookers.empty.wait()
        try:
            async with asyncio.timeout(LINGER_S):
                await lookers.occupied.wait()
        except TimeoutError:
            return


async def _until_stale(client: ConsoleClient) -> None:
    while True:
        try:
            async with asyncio.timeout(STALE_S):
                await client.connected.wait()
        except TimeoutError:
            return
        await client.disconnected.wait()
