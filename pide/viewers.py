"""`/ws`: one viewer per WebSocket, closed when its credential ends or we stop."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from hyperpi.console_client import ConsoleClient
from hyperpi.errors import BadEnvelope, HyperPiError
from hyperpi.event import Cursor
from hyperpi.mesh_view import MeshView
from hyperpi.roles import Caller
from hyperpi.status import to_json_rpc
from hyperpi.strict_json import encode
from hyperpi.terminal_view import TerminalFeed
from hyperpi.viewer import RESTARTING, REVOKED, BankFeed, Feed, Viewer, serve_viewer
from pide.gatekeeper import Gatekeeper, Guest
from pide.gates import guest_of
from pide.uploads import Uploads

log = logging.getLogger(__name__)

KEEP_S = 60.0  # how often an open page proves that its session is in use, and is told when it has ended
CLOSE_S = 2.0


class Viewers:
    """Everybody who is connected now."""

    def __init__(self, client: ConsoleClient, gatekeeper: Gatekeeper, uploads: Uploads) -> None:
        self._client = client
        self._uploads = uploads
        self._gatekeeper = gatekeeper
        self._connected: dict[Viewer, Guest] = {}
        client.on_notice.append(self._notice)

    def __len__(self) -> int:
        return len(self._connected)

    def _notice(self, topic: str, method: str, params: bytes) -> None:
        kind, _, credential = topic.partition(":")
        if kind == "credential":
            self._uploads.end(credential)
        for viewer, guest in list(self._connected.items()):
            if kind != "credential":
                viewer.notice(topic, method, params)
            elif guest.credential == credential:
                viewer.end(REVOKED, "logged out or revoked")

    async def endpoint(self, websocket: WebSocket) -> None:
        """Serve one WebSocket that its gate has let in, from handshake to close."""
        guest = guest_of(websocket)
        await websocket.accept(guest.subprotocol)
        backend = _WithUploads(self._client, self._uploads, guest.credential)
        viewer = Viewer(backend, guest.caller, _Outlet(websocket))
        self._connected[viewer] = guest
        keeping = asyncio.create_task(self._keep(viewer, guest), name="keep-session")
        try:
            await serve_viewer(viewer, lambda: _read(websocket, viewer))
        finally:
            keeping.cancel()
            del self._connected[viewer]

    async def _keep(self, viewer: Viewer, guest: Guest) -> None:
        # At once for the first time: it may have ended while we let them in.
        while True:
            with suppress(HyperPiError):  # the hypivisor is away: nothing was said about the session
                if not await self._gatekeeper.still_holds(guest):
                    viewer.end(REVOKED, "the session has ended")
            await asyncio.sleep(KEEP_S)

    def end_all(self) -> None:
        """We are stopping: pages come back by themselves."""
        for viewer in self._connected:
            viewer.end(RESTARTING, "restarting")


async def _read(websocket: WebSocket, viewer: Viewer) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is None:
            error = BadEnvelope("binary frames are not taken", hint="send JSON as text")
            answer = {"jsonrpc": "2.0", "id": None, "error": to_json_rpc(error)}
            await websocket.send_text(encode(answer).decode())
        else:
            viewer.rpc.receive(text)


class _WithUploads:
    """The mesh as one viewer asks it: its uploads go with its prompts."""

    def __init__(self, client: ConsoleClient, uploads: Uploads, owner: str) -> None:
        self._client, self._uploads, self._owner = client, uploads, owner

    @property
    def view(self) -> MeshView:
        return self._client.view

    async def mesh(self, caller: Caller) -> bytes:
        return await self._client.mesh(caller)

    async def feed(self, agent: str, cursor: Cursor | None) -> Feed:
        return await self._client.feed(agent, cursor)

    async def terminal(self, agent: str) -> TerminalFeed:
        return await self._client.terminal(agent)

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        return await self._client.watch_bank(node, bank, wake)

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        if method == "agent.prompt":
            params = self._uploads.fill(self._owner, params)
        return await self._client.call(method, params, caller)


class _Outlet:
    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, message: bytes) -> None:
        try:
            await self._websocket.send({"type": "websocket.send", "text": message.decode()})
        except WebSocketDisconnect:
            raise ConnectionResetError("the page has gone") from None

    async def close(self, code: int, reason: str) -> None:
        # The peer may have gone already, or may not read: neither is worth waiting for.
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code, reason)
