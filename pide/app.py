"""Pi-DE's HTTP side: the app, logging in, pictures, health and metrics. `/ws` is in `viewers`."""

import asyncio
import base64
import errno
import ipaddress
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from hyperpi import pictures, strict_json
from hyperpi.clock import from_rfc3339
from hyperpi.console_client import ConsoleClient
from hyperpi.contract import MAX_FRAME_BYTES
from hyperpi.errors import Conflict, HyperPiError, RefusedByPolicy
from pide.gatekeeper import Denied, Gatekeeper, Site, site
from pide.gates import AnyRoute, gated, guest_of, refusal
from pide.uploads import Uploads
from pide.viewers import Viewers

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MAX_BODY_BYTES = 64 << 10
MAX_ETAGS = 16  # of one If-None-Match
SESSION_S = 7 * 86_400
STOP_S = 3.0
DATE_S = 1.0  # as exact as the date of an answer is

HEADERS = {
    b"cache-control": b"no-cache",  # asked for again each time, or an upgrade would mix old and new modules
    b"content-security-policy": b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


@dataclass(frozen=True, slots=True)
class PideConfig:
    """What one Pi-DE is told. A port of 0 picks one."""

    host: str = "127.0.0.1"
    port: int = 31415
    public_url: str | None = None
    mesh_tag: str = "mesh"  # names the cookie, as the hypivisor says
    names: tuple[str, ...] = ()  # addresses of this machine, when it listens on all
    certificate: tuple[Path, Path] | None = None  # certificate and key files: TLS


class Pide:
    """The front end of one mesh."""

    def __init__(self, client: ConsoleClient, site: Site, port: int) -> None:
        self.site = site
        self.port = port
        self._client = client
        self._gatekeeper = Gatekeeper(site, client)
        self.uploads = Uploads(time.monotonic)
        self.viewers = Viewers(client, self._gatekeeper, self.uploads)
        routes: list[AnyRoute] = [
            Route("/", self._index),
            Route("/healthz", self._health),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/me", self._me),
            Route("/metrics", self._metrics),
            Route("/uploads", self._upload, methods=["POST"]),
            Route("/nodes/{node}/{bank:int}.png", self._bank),
            WebSocketRoute("/ws", self.viewers.endpoint),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        self.routes = [gated(route, self._gatekeeper) for route in routes]
        # A bare router: Starlette's own error pages would answer before ours.
        self.asgi: ASGIApp = _Front(Router(self.routes, default=_nothing_there), self._gatekeeper)

    # --- public ----------------------------------------------------------------------------------------

    async def _index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _health(self, _request: Request) -> Response:
        connected = self._client.connected.is_set()
        status = "ok" if connected else "no hypivisor"
        return JSONResponse({"status": status}, 200 if connected else 503)

    async def _login(self, request: Request) -> Response:
        session = await self._gatekeeper.login(request, await _json_body(request))
        answer = JSONResponse({"name": session["name"], "role": session["role"]})
        answer.set_cookie(
            self.site.cookie,
            session["cookie"],
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=self.site.secure,
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        await self._gatekeeper.logout(request)
        answer = JSONResponse({})
        answer.delete_cookie(self.site.cookie, httponly=True, samesite="strict", secure=self.site.secure)
        return answer

    # --- with a credential -----------------------------------------------------------------------------

    async def _me(self, request: Request) -> Response:
        """Who asks, and the id under which their session or token is listed."""
        guest = guest_of(request)
        who = {"name": guest.caller.name, "role": guest.caller.role, "credential": guest.credential}
        return JSONResponse({**who, "mesh": self._client.view.mesh})

    async def _bank(self, request: Request) -> Response:
        """A consistent picture, of now or with `?commit=` or `?at=` (Unix seconds, RFC 3339) of the past.

        It is private and asked for again each time; who has the same already gets no bytes.
        """
        asked = {
            "node": request.path_params["node"],
            "bank": request.path_params["bank"],
            "unless": _etags(request.headers.get("if-none-match", "")),
            **_moment(request),
        }
        answer = msgspec.json.decode(await self._client.call("disk.png", asked, guest_of(request).caller))
        headers = {
            "cache-control": "private, no-cache",
            "etag": f'"{answer["etag"]}"',
            "vary": "cookie, authorization",
            "hyperpi-commit": str(answer["commit"]),
        }
        if answer["at"] is not None:
            headers["hyperpi-at"] = answer["at"]
        if "png" not in answer:
            return Response(status_code=304, headers=headers)
        return Response(base64.b64decode(answer["png"]), media_type="image/png", headers=headers)

    async def _upload(self, request: Request) -> Response:
        """A picture for a prompt: its bytes as the body. Answers `{upload, mime, bytes}`."""
        content = await _body(request, pictures.MAX_BYTES)
        mime = pictures.kind_of(content)
        if mime is None:
            raise Denied(400, "a picture is PNG, JPEG, GIF or WebP", "send its bytes as the body")
        name = self.uploads.put(guest_of(request).credential, mime, base64.b64encode(content).decode())
        return JSONResponse({"upload": name, "mime": mime, "bytes": len(content)})

    async def _metrics(self, _request: Request) -> Response:
        view = self._client.view
        lines = [
            "# HELP hyperpi_nodes Nodes of the mesh by state.",
            "# TYPE hyperpi_nodes gauge",
            *_gauge("hyperpi_nodes", view.nodes.values()),
            "# HELP hyperpi_agents Agents of the mesh by state.",
            "# TYPE hyperpi_agents gauge",
            *_gauge("hyperpi_agents", view.agents.values()),
            "# HELP hyperpi_viewers Viewers connected to this Pi-DE.",
            "# TYPE hyperpi_viewers gauge",
            f"hyperpi_viewers {len(self.viewers)}",
            "# HELP hyperpi_roster_revision Changes of the roster since the hypivisor started.",
            "# TYPE hyperpi_roster_revision counter",
            f"hyperpi_roster_revision {view.rev}",
        ]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


class _Front:
    """Around everything: Host and Origin, security headers, errors as one JSON line."""

    def __init__(self, inner: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._inner = inner
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)  # a WebSocket is refused in its own words
            return
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                given = {name.lower() for name, _ in message.get("headers", ())}
                added = [item for item in HEADERS.items() if item[0] not in given]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            self._gatekeeper.check_place(Request(scope))
            await self._inner(scope, receive, with_headers)
        except Exception as exc:  # a boundary: whatever it is, the browser gets one line and no detail
            if started:
                raise
            await refusal(exc)(scope, receive, with_headers)


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    nothing = Denied(404, "there is nothing here")
    if scope["type"] != "websocket":
        raise nothing
    await WebSocket(scope, receive, send).send_denial_response(refusal(nothing))


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Denied(413, f"a body is at most {limit} bytes")
    return bytes(body)


async def _json_body(request: Request) -> dict[str, Any]:
    try:
        parsed = strict_json.loads(await _body(request, MAX_BODY_BYTES))
    except HyperPiError as exc:
        raise Denied(400, f"this is not JSON: {exc}") from None
    if not isinstance(parsed, dict):
        raise Denied(400, "send a JSON object")
    return parsed


def _etags(header: str) -> list[str]:
    """The first few etags of If-None-Match."""
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in header.split(","))
    return [tag for tag in tags if tag][:MAX_ETAGS]


def _moment(request: Request) -> dict[str, Any]:
    """Which past state a picture is asked for. Raises Denied."""
    asked: dict[str, Any] = {}
    try:
        if (commit := request.query_params.get("commit")) is not None:
            asked["commit"] = int(commit)
        if (at := request.query_params.get("at")) is not None:
            asked["at"] = float(at) if at.replace(".", "", 1).isdigit() else from_rfc3339(at)
    except ValueError:
        raise Denied(
            400, "commit is a number, at is Unix seconds or a time such as 2026-01-31T12:00:00Z"
        ) from None
    return asked


def _gauge(name: str, items: Any) -> Iterator[str]:
    states = Counter(msgspec.json.decode(item)["state"] for item in items)
    for state, count in sorted(states.items()):
        yield f'{name}{{state="{state}"}} {count}'


class _NoFalseAlarm(logging.Filter):
    """uvicorn takes a WebSocket that was refused with an answer for one that got none, and logs an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        return "without completing handshake" not in record.getMessage()


class _Server(uvicorn.Server):
    """One that sleeps: uvicorn's own wakes ten times a second to see whether it is to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Make `serve` return once what is open has ended."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """See uvicorn.Server. Each tick renews the date that answers carry."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._ending.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the command that runs us."""
        yield


_QUIET = _NoFalseAlarm()  # one: adding it again adds nothing


def listen(config: PideConfig) -> tuple[PideConfig, socket.socket]:
    """Take the port, and say which it is. Raises Conflict when it is taken, RefusedByPolicy without TLS where
    it would be needed.
    """
    if config.certificate is None and not _is_loopback(config.host):
        raise RefusedByPolicy(
            f"Pi-DE listens on {config.host} with TLS or not at all",
            hint="`hyperpi up --host` sets TLS up, or use a tunnel with --public-url",
        )
    listening = _listen(config.host, config.port)
    return replace(config, port=listening.getsockname()[1]), listening


def site_of(config: PideConfig) -> Site:
    """The names of a Pi-DE whose port is known."""
    return site(
        config.host,
        config.port,
        tls=config.certificate is not None,
        mesh_tag=config.mesh_tag,
        names=config.names,
        public_url=config.public_url,
    )


@asynccontextmanager
async def running(config: PideConfig, listening: socket.socket, client: ConsoleClient) -> AsyncIterator[Pide]:
    """Serve Pi-DE on what `listen` gave as long as the block lasts."""
    pide = Pide(client, site_of(config), config.port)
    certificate, key = config.certificate or (None, None)
    server = _Server(
        uvicorn.Config(
            pide.asgi,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=MAX_FRAME_BYTES,
            ws_per_message_deflate=False,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
            ssl_certfile=str(certificate) if certificate else None,
            ssl_keyfile=str(key) if key else None,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_QUIET)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="pi-de")
    try:
        yield pide
    finally:
        pide.viewers.end_all()
        server.end()
        try:
            async with asyncio.timeout(STOP_S):
                await serving
        except TimeoutError:
            server.force_exit = True
        listening.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as exc:
        listening.close()
        theirs = exc.errno == errno.EADDRNOTAVAIL
        hint = (
            "this machine has no such address: see --host"
            if theirs
            else "choose another with --port, or 0 for any"
        )
        raise Conflict(f"cannot listen on {host}:{port}: {exc.strerror}", hint=hint) from None
    listening.listen(512)
    return listening
