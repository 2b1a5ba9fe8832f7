"""Who may come in: Host and Origin first, then a credential, which the hypivisor checks.

A page of another site must not reach us through the owner's browser (Origin), nor through a name that it
points at us (Host); cookies count only from our own pages.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import HTTPConnection

from hyperpi import contract
from hyperpi.console_client import ConsoleClient
from hyperpi.errors import HyperPiError, Unauthenticated
from hyperpi.roles import Caller
from hyperpi.status import status_of

log = logging.getLogger(__name__)

GATE = Caller("pi-de", "viewer", "pide")
BEARER_PROTOCOL = "bearer."
PROTOCOL = "hyperpi"


class Denied(Exception):
    """Not let in: an HTTP status, a reason, and what to do next."""

    def __init__(self, status: int, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.hint = hint

    def body(self) -> dict[str, Any]:
        """As JSON."""
        error: dict[str, Any] = {"error": str(self)}
        return {**error, "hint": self.hint} if self.hint else error


@dataclass(frozen=True, slots=True)
class Site:
    """The names under which this Pi-DE is ours."""

    origins: frozenset[str]  # scheme://host[:port], lower case
    hosts: frozenset[str]  # host[:port]
    cookie: str
    secure: bool
    url: str  # the one to print


def site(
    host: str, port: int, *, tls: bool, mesh_tag: str, names: tuple[str, ...], public_url: str | None
) -> Site:
    """The site of a Pi-DE on host:port. `names`: addresses of this machine, when it listens on all."""
    scheme = "https" if tls else "http"
    default = 443 if tls else 80
    everywhere = host in {"0.0.0.0", "::"}  # noqa: S104  compared, not bound
    local = ("127.0.0.1", "localhost", "[::1]")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    hosts = {*local, *names} if everywhere else {host, *(local if host in local else ())}
    origins = {f"{scheme}://{name}" if port == default else f"{scheme}://{name}:{port}" for name in hosts}
    first = f"{scheme}://{(names or local)[0] if everywhere else host}" + (
        "" if port == default else f":{port}"
    )
    if public_url:
        parts = urlsplit(public_url)
        origins.add(f"{parts.scheme}://{parts.netloc}".lower())
        first = f"{parts.scheme}://{parts.netloc}"
    return Site(
        origins=frozenset(origin.lower() for origin in origins),
        hosts=frozenset(urlsplit(origin).netloc.lower() for origin in origins),
        cookie=f"hyperpi-{mesh_tag}",
        secure=tls or bool(public_url and public_url.startswith("https:")),
        url=first,
    )


class Verified(msgspec.Struct):
    """What the hypivisor says of a credential."""

    name: str
    role: str
    credential: str


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was let in, and by which credential, so that its end ends their connections."""

    caller: Caller
    credential: str
    by_cookie: bool
    subprotocol: str | None = None


class Gatekeeper:
    """Lets viewers in."""

    def __init__(self, site: Site, client: ConsoleClient) -> None:
        self.site = site
        self._client = client

    def check_place(self, connection: HTTPConnection) -> None:
        """Raise Denied unless a request is meant for us (Host) and comes from our page or none (Origin)."""
        host = connection.headers.get("host", "").lower()
        if host not in self.site.hosts:
            raise Denied(400, "this Host is not served here", "open the address that `hyperpi up` printed")
        origin = connection.headers.get("origin")
        if origin is None and _changes(connection) and self._token_of(connection)[0] is None:
            # Browsers send one with whatever changes something; programs bring a token.
            raise Denied(403, "this changes something, and says not from where", "use a token: hyperpi token")
        if origin is None or origin.lower() in self.site.origins:
            return
        if origin == "null" and self._token_of(connection)[1]:
            return  # a page opened from disk, which brings its own token
        raise Denied(
            403, "this page does not belong to Hyper-Pi", "open the address that `hyperpi up` printed"
        )

    async def admit(self, connection: HTTPConnection, source: str) -> Guest:
        """Whoever brings a credential that holds. Raises Denied."""
        token, by_protocol = self._token_of(connection)
        cookie = connection.cookies.get(self.site.cookie)
        try:
            if token is not None:
                found = await self._ask("auth.bearer", {"token": token, "address": address_of(connection)})
                caller = Caller(found.name, found.role, "api")
                return Guest(caller, found.credential, False, PROTOCOL if by_protocol else None)
            if cookie is not None:
                origin = connection.headers.get("origin")
                if origin is None and (connection.scope["type"] != "http" or _changes(connection)):
                    raise Denied(403, "a cookie counts only from our own pages", "use a token: hyperpi token")
                found = await self._ask("auth.session", {"cookie": cookie, "origin": origin})
                return Guest(Caller(found.name, found.role, source), found.credential, True)
        except HyperPiError as exc:
            raise Denied(status_of(exc).http, str(exc), exc.hint) from None
        raise Denied(401, "you are not logged in", "get a login link with `hyperpi login`")

    async def login(self, connection: HTTPConnection, body: Mapping[str, Any]) -> dict[str, Any]:
        """Exchange a code or token for a session: {cookie, name, role}. Raises Denied."""
        given = {key: body[key] for key in ("code", "token") if isinstance(body.get(key), str)}
        if len(given) != 1:
            raise Denied(400, "send one of code or token")
        origin = (connection.headers.get("origin") or self.site.url).lower()
        asked = {**given, "address": address_of(connection), "origin": origin}
        try:
            answer = await self._client.call("auth.login", asked, GATE)
        except HyperPiError as exc:
            status = 401 if isinstance(exc, Unauthenticated) else status_of(exc).http
            raise Denied(status, str(exc), exc.hint) from None
        session: dict[str, Any] = msgspec.json.decode(answer)
        return session

    async def logout(self, connection: HTTPConnection) -> None:
        """End the session of the cookie, and every connection that it opened."""
        if (cookie := connection.cookies.get(self.site.cookie)) is not None:
            asked = {"cookie": cookie, "address": address_of(connection)}
            await self._client.call("auth.logout", asked, GATE)

    async def still_holds(self, guest: Guest) -> bool:
        """Whether a session or token is still good; an open page counts as using its session."""
        asked = {"credential": guest.credential, "session": guest.by_cookie}
        answer = await self._client.call("auth.keep", asked, GATE)
        return bool(msgspec.json.decode(answer)["holds"])

    async def _ask(self, method: str, params: contract.Json) -> Verified:
        return msgspec.json.decode(await self._client.call(method, params, GATE), type=Verified)

    @staticmethod
    def _token_of(connection: HTTPConnection) -> tuple[str | None, bool]:
        """A bearer token and whether it came as a subprotocol, the only way for a page to send one."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip(), False
        offered = connection.headers.get("sec-websocket-protocol", "")
        for protocol in (part.strip() for part in offered.split(",")):
            if protocol.startswith(BEARER_PROTOCOL):
                return protocol.removeprefix(BEARER_PROTOCOL), True
        return None, False


def _changes(connection: HTTPConnection) -> bool:
    """Whether a request may do more than read."""
    return connection.scope["type"] == "http" and connection.scope["method"] not in {"GET", "HEAD"}


def address_of(connection: HTTPConnection) -> str:
    """Where somebody comes from, for the limiter and the audit trail."""
    return connection.client.host if connection.client else "unknown"
