"""The mesh as the owner of this machine sees it: through the hypivisor, and only while somebody looks.

A node needs no roster but its own. When its owner lists agents or attaches to one elsewhere, the node becomes
a front end of the hypivisor with its own certificate, and stays one a little longer than the last look.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hyperpi.console_client import ConsoleClient, Notify
from hyperpi.control import Occupancy
from hyperpi.errors import NodeUnreachable
from hyperpi.mesh_view import MeshView
from node.link import Link

log = logging.getLogger(__name__)

OPEN_S = 10.0  # a handshake and the whole roster
LINGER_S = 30.0  # commands come in bursts, and a handshake costs more than a quiet stream
STALE_S = 5.0  # away for so long, it dials anew: the address or our certificate may have changed


class MeshWindow:
    """Opened by the first who asks for its client. `switched`: what viewers should look at has changed."""

    def __init__(self, link: Link, notify: Notify, switched: Callable[[], None]) -> None:
        self._link = link
        self._notify = notify
        self._switched = switched
        self._asked, self._opened, self._closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._client: ConsoleClient | None = None

    @property
    def view(self) -> MeshView | None:
        """The roster of the mesh; None while it cannot be followed."""
        client = self._client
        return client.view if client is not None and client.connected.is_set() else None

    async def client(self) -> ConsoleClient:
        """Connected, with the whole roster. Raises NodeUnreachable."""
        try:
            async with asyncio.timeout(OPEN_S):
                while True:
                    self._asked.set()
                    await self._opened.wait()
                    client = self._client
                    if (
                        client is not None
                        and await _first(client.connected, self._closed) is client.connected
                    ):
                        return client
        except TimeoutError:
            raise NodeUnreachable(
                "the hypivisor does not show its mesh", hint="`hyperpi doctor` looks for the reason"
            ) from None

    async def run(self, lookers: Occupancy) -> None:
        """Open when asked, close when nobody has looked for a while; until cancelled."""
        while True:
            await self._asked.wait()
            channel = self._link.open_channel()
            if channel is None:  # whoever asked has a limit of their own, and asks again
                self._asked.clear()
            else:
                await self._follow(ConsoleClient(channel), lookers)

    async def _follow(self, client: ConsoleClient, lookers: Occupancy) -> None:
        client.on_notice.append(self._notify)
        self._client, self._closed = client, asyncio.Event()
        self._opened.set()
        parts: list[Coroutine[Any, Any, None]] = [
            client.run(),
            self._tell_switches(client),
            self._dial_anew(client),
            _until_unused(lookers),
        ]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._client = None
            self._opened.clear()
            self._asked.clear()
            self._closed.set()
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    log.error("the mesh could not be followed", exc_info=ended)
            client.view.wake()

    async def _tell_switches(self, client: ConsoleClient) -> None:
        while True:
            await client.connected.wait()
            self._switched()
            await client.disconnected.wait()

    async def _dial_anew(self, client: ConsoleClient) -> None:
        while True:
            try:
                async with asyncio.timeout(STALE_S):
                    await client.connected.wait()
            except TimeoutError:
                if (channel := self._link.open_channel()) is not None:
                    client.redial(channel)
            else:
                await client.disconnected.wait()


async def _until_unused(lookers: Occupancy) -> None:
    while True:
        await lookers.empty.wait()
        try:
            async with asyncio.timeout(LINGER_S):
                await lookers.occupied.wait()
        except TimeoutError:
            return


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """The one that is set first."""
    waiting = {asyncio.ensure_future(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(event for task, event in waiting.items() if task in done)
    finally:
        for task in waiting:
            task.cancel()
