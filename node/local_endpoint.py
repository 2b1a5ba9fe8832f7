"""The node's own `/ws` on loopback, for programs of this machine, with or without a hypivisor.

The same JSON-RPC as Pi-DE's. `/agents/NAME` is the same with that agent attached from the start: the answer
to that `agent.attach` comes first, with the id "agent.attached". Every credential is the token in node/token;
a browser page has none, unless it was opened from disk and brings it.
"""

import getpass
import hmac
import http
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from hyperpi import strict_json
from hyperpi.contract import MAX_FRAME_BYTES
from hyperpi.errors import BadEnvelope
from hyperpi.private_file import write_private
from hyperpi.roles import OPERATOR, Caller
from hyperpi.status import to_json_rpc
from hyperpi.viewer import Backend, Viewer, serve_viewer

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PROTOCOL = Subprotocol("hyperpi")
BEARER_PROTOCOL = "bearer."
TOKEN_CHARS = 32  # shorter is not one that we made
ATTACHED = "agent.attached"  # the id of the attach that an address with an agent asks for


class LocalEndpoint:
    """Serves viewers of this machine."""

    def __init__(self, backend: Backend, token: str) -> None:
        self.viewers: set[Viewer] = set()
        self.port = 0
        self._backend = backend
        self._token = token

    async def listen(self, wished_port: int) -> Server:
        """Begin to listen on loopback, on the wished port or, when that is busy, on any."""
        for port in (wished_port, 0):
            try:
                server = await serve(
                    self._serve_one,
                    LOOPBACK,
                    port,
                    process_request=self._admit,
                    # Not `subprotocols`: with that a program that brings its token in a header is refused.
                    select_subprotocol=_subprotocol,
                    max_size=MAX_FRAME_BYTES,
                    compression=None,
                    server_header=None,
                )
            except OSError:
                if port == 0:
                    raise
                continue
            self.port = next(iter(server.sockets)).getsockname()[1]
            return server
        raise AssertionError("unreachable: port 0 either listens or raises")

    def url_of(self, name: str) -> str:
        """The address of an agent's stream."""
        return f"ws://{LOOPBACK}:{self.port}/agents/{name}"

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Host, Origin, credential, path: the first that does not fit is answered before the upgrade."""
        if any(len(request.headers.get_all(name)) > 1 for name in ("Host", "Origin", "Authorization")):
            return connection.respond(http.HTTPStatus.BAD_REQUEST, "a header came twice\n")
        host = request.headers.get("Host", "").rpartition(":")[0]
        if host not in {LOOPBACK, "localhost"}:
            return connection.respond(http.HTTPStatus.BAD_REQUEST, "this Host is not served here\n")
        offered = [
            part.strip() for part in ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
        ]
        given = [part.removeprefix(BEARER_PROTOCOL) for part in offered if part.startswith(BEARER_PROTOCOL)]
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given.append(token.strip())
        origin = request.headers.get("Origin")
        if origin not in {None, "null"}:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "pages are not served here\n")
        if not any(hmac.compare_digest(one.encode(), self._token.encode()) for one in given):
            hint = "send the token in node/token as Authorization: Bearer\n"
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, hint)
        path = urlsplit(request.path).path
        if path != "/ws" and not path.startswith("/agents/"):
            return connection.respond(http.HTTPStatus.NOT_FOUND, "there is /ws and /agents/NAME\n")
        return None

    async def _serve_one(self, connection: ServerConnection) -> None:
        viewer = Viewer(self._backend, Caller(getpass.getuser(), OPERATOR, "api"), _Outlet(connection))
        self.viewers.add(viewer)
        try:
            if agent := _agent_in(connection):
                viewer.rpc.receive(_attach(agent))
            await serve_viewer(viewer, lambda: _read(connection, viewer))
        finally:
            self.viewers.discard(viewer)


def _subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return PROTOCOL if PROTOCOL in offered else None


def _agent_in(connection: ServerConnection) -> str | None:
    assert connection.request is not None
    path = urlsplit(connection.request.path).path
    return unquote(path.removeprefix("/agents/")) if path.startswith("/agents/") else None


def _attach(agent: str) -> bytes:
    return strict_json.encode(
        {"jsonrpc": "2.0", "id": ATTACHED, "method": "agent.attach", "params": {"agent": agent}}
    )


async def _read(connection: ServerConnection, viewer: Viewer) -> None:
    try:
        async for message in connection:
            if isinstance(message, str):
                viewer.rpc.receive(message)
                continue
            error = BadEnvelope("binary frames are not taken", hint="send JSON as text")
            await connection.send(
                strict_json.encode({"jsonrpc": "2.0", "id": None, "error": to_json_rpc(error)}), text=True
            )
    except ConnectionClosed:
        pass


class _Outlet:
    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def send(self, message: bytes) -> None:
        try:
            await self._connection.send(message, text=True)
        except ConnectionClosed:
            raise ConnectionResetError("the program has gone") from None

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)


def local_token(path: Path) -> str:
    """The token of this node's endpoint, made at the first start (0600)."""
    try:
        known = path.read_text("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        known = ""
    if len(known) < TOKEN_CHARS:  # none, or what a full disk has left of one
        known = secrets.token_urlsafe(32)
        write_private(path, f"{known}\n".encode())
    return known
