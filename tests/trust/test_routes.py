"""Every route of Pi-DE by every role: the routes are read from the app, what they need from the table."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from hyperpi import roles
from hyperpi.errors import RefusedByPolicy, Unauthenticated
from hyperpi.mesh_view import MeshView
from hyperpi.roles import Caller
from pide.app import Pide, PideConfig, listen
from pide.gatekeeper import site
from pide.gates import AnyRoute, gated

HOST = "127.0.0.1:31415"
CREDENTIALS = ("none", "wrong", *roles.ROLES)


class Hypivisor:
    """Knows one token for each role, by its name; as Pi-DE sees it."""

    def __init__(self) -> None:
        self.view = MeshView("home")
        self.connected = asyncio.Event()
        self.on_notice: list[Any] = []
        self.asked: list[tuple[str, str]] = []  # method, role of whoever it was asked for

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        if method == "auth.bearer":
            if params["token"] not in roles.ROLES:
                raise Unauthenticated("the token is not known here")
            return json.dumps({"name": "ann", "role": params["token"], "credential": "t-1"}).encode()
        if method == "auth.keep":
            return b'{"holds":true}'
        self.asked.append((method, caller.role))
        return b'{"etag":"e","commit":1,"at":null,"png":""}'


@pytest.fixture
def pide() -> Pide:
    ours = site("127.0.0.1", 31415, tls=False, mesh_tag="m", names=(), public_url=None)
    return Pide(Hypivisor(), ours, 31415)


def rows_of(route: AnyRoute) -> set[str]:
    """The rows that a route needs in the table."""
    if isinstance(route, WebSocketRoute):
        return {f"WEBSOCKET {route.path}"}
    if isinstance(route, Mount):
        return {f"GET {route.path}"}
    return {f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}}


def place_of(row: str) -> tuple[str, str]:
    """A method and a path that lead to a route."""
    method, path = row.split()
    path = path.replace("{node}", "den").replace("{bank:int}", "8")
    return method, f"{path}/main.js" if path == "/static" else path


async def asked(app: Any, method: str, path: str, credential: str, **more: str) -> int:
    """The status of one request from a page of ours; 101 for a WebSocket that was let in."""
    headers = [
        (name.encode(), value.encode())
        for name, value in {"host": HOST, "origin": f"http://{HOST}", **more}.items()
        if value
    ]
    if credential != "none":
        headers.append((b"authorization", f"Bearer {credential}".encode()))
    websocket = method == "WEBSOCKET"
    scope: dict[str, Any] = {
        "type": "websocket" if websocket else "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "ws" if websocket else "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 31415),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    coming = [{"type": "websocket.connect"}] if websocket else [{"type": "http.request", "body": b"{}"}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop(0)
        if not websocket:
            await asyncio.Event().wait()  # it stays for the whole answer
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            statuses.append(101)
        elif message["type"].endswith("response.start"):
            statuses.append(message["status"])

    async with asyncio.timeout(10):
        await app(scope, receive, send)
    return statuses[0]


def test_every_route_has_a_row_in_the_table_and_every_row_a_route(pide: Pide) -> None:
    declared = [row for route in pide.routes for row in rows_of(route)]
    assert sorted(declared) == sorted(roles.ROUTE_ROLES)
    assert set(roles.ROUTE_ROLES.values()) <= {roles.PUBLIC, *roles.ROLES}


def test_what_is_public_is_what_lets_people_in_and_nothing_of_the_mesh() -> None:
    public = {row for row, needed in roles.ROUTE_ROLES.items() if needed == roles.PUBLIC}
    assert public == {"GET /", "GET /static", "GET /healthz", "POST /login", "POST /logout"}


@pytest.mark.parametrize("row", sorted(roles.ROUTE_ROLES))
@pytest.mark.parametrize("needed", [None, *roles.ROLES])
async def test_a_route_is_open_to_the_role_it_needs_and_to_nobody_below(
    pide: Pide, monkeypatch: pytest.MonkeyPatch, row: str, needed: str | None
) -> None:
    """As the table has it, and as if it asked for another role: so it is the table that decides."""
    if needed is not None:
        monkeypatch.setitem(roles.ROUTE_ROLES, row, needed)
    wanted = roles.ROUTE_ROLES[row]
    method, path = place_of(row)
    found = {who: await asked(pide.asgi, method, path, who) for who in CREDENTIALS}
    for who, status in found.items():
        if wanted == roles.PUBLIC or roles.allows(who, wanted):
            # Past the gate: a login without a code is a bad request, and a hypivisor is away here.
            assert status in {101, 200, 400, 503}, (row, who, status)
        else:
            assert status == (403 if who in roles.ROLES else 401), (row, who, status)


@pytest.mark.parametrize("row", sorted(roles.ROUTE_ROLES))
async def test_a_route_without_a_row_is_refused_to_everybody(
    pide: Pide, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    monkeypatch.delitem(roles.ROUTE_ROLES, row)
    method, path = place_of(row)
    assert {await asked(pide.asgi, method, path, who) for who in CREDENTIALS} == {403}


async def test_a_new_route_is_refused_until_it_has_a_row(pide: Pide, monkeypatch: pytest.MonkeyPatch) -> None:
    route = gated(Route("/new", lambda _request: PlainTextResponse("here")), pide._gatekeeper)
    pide.routes.append(route)
    with pytest.raises(AssertionError):
        test_every_route_has_a_row_in_the_table_and_every_row_a_route(pide)
    router = pide.asgi._inner
    router.routes.append(route)
    assert {await asked(pide.asgi, "GET", "/new", who) for who in CREDENTIALS} == {403}
    monkeypatch.setitem(roles.ROUTE_ROLES, "GET /new", roles.ADMIN)
    found = {who: await asked(pide.asgi, "GET", "/new", who) for who in CREDENTIALS}
    assert found == {"none": 401, "wrong": 401, "viewer": 403, "operator": 403, "admin": 200}


async def test_what_is_asked_of_the_mesh_is_asked_in_the_role_of_whoever_came(pide: Pide) -> None:
    for role in roles.ROLES:
        assert await asked(pide.asgi, "GET", "/nodes/den/8.png", role) == 200
    assert pide._client.asked == [("disk.png", role) for role in roles.ROLES]


PLACES = {
    "our page": ({}, True),
    "no page": ({"origin": ""}, None),
    "foreign page": ({"origin": "https://evil.example"}, False),
    "page of another port": ({"origin": "http://127.0.0.1:1"}, False),
    "page whose name begins as ours": ({"origin": f"http://{HOST}.evil.example"}, False),
    "page from disk": ({"origin": "null"}, None),
    "foreign host": ({"host": "evil.example"}, False),
    "foreign host, our port": ({"host": "evil.example:31415"}, False),
    "no host": ({"host": ""}, False),
}


@pytest.mark.parametrize("row", sorted(roles.ROUTE_ROLES))
@pytest.mark.parametrize("place", PLACES)
async def test_every_route_looks_at_origin_and_host_before_anything_else(
    pide: Pide, row: str, place: str
) -> None:
    method, path = place_of(row)
    headers, ours = PLACES[place]
    found = {who: await asked(pide.asgi, method, path, who, **headers) for who in ("none", "wrong", "admin")}
    if ours is False:
        assert set(found.values()) <= {400, 403}, found
        assert pide._client.asked == []
    elif ours:
        assert found["admin"] in {101, 200, 400, 503}, found
    elif method == "POST" or place == "page from disk":
        # What changes something says from where, or brings a token; and every page from disk has one origin.
        assert found["none"] == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "fe80::1"])
def test_beyond_this_machine_nothing_is_served_without_tls(host: str) -> None:
    with pytest.raises(RefusedByPolicy, match="TLS"):
        listen(PideConfig(host=host, port=0))


def test_on_loopback_a_port_is_taken_without_tls() -> None:
    for host in ("127.0.0.1", "localhost"):
        config, listening = listen(PideConfig(host=host, port=0))
        with listening:
            assert config.port > 0


@pytest.mark.parametrize("row", sorted(roles.ROUTE_ROLES))
async def test_another_verb_never_opens_a_route(pide: Pide, row: str) -> None:
    method, path = place_of(row)
    if method == "WEBSOCKET":
        assert await asked(pide.asgi, "GET", path, "admin") == 404
        return
    for other in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        if other != method:
            assert await asked(pide.asgi, other, path, "admin") in {403, 405}, other
