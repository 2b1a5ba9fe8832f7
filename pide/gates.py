"""The gate before every route of Pi-DE: it is opened by the role that the route needs, and by nothing else.

Which role that is stands in `hyperpi.roles.ROUTE_ROLES`. A route without a row there is refused to everybody.
"""

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from hyperpi import roles
from hyperpi.errors import HyperPiError
from hyperpi.status import status_of
from pide.gatekeeper import Denied, Gatekeeper, Guest

log = logging.getLogger(__name__)

GUEST = "hyperpi.guest"  # in the scope of a request that a gate let through with a credential

AnyRoute = Route | WebSocketRoute | Mount


def gated(route: AnyRoute, gatekeeper: Gatekeeper) -> AnyRoute:
    """The same route, behind a gate."""
    inner, path = route.app, route.path

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[GUEST] = await _admitted(gatekeeper, HTTPConnection(scope), f"{_method(scope)} {path}")
            await inner(scope, receive, send)
            return
        try:
            gatekeeper.check_place(HTTPConnection(scope))
            scope[GUEST] = await _admitted(gatekeeper, HTTPConnection(scope), f"WEBSOCKET {path}")
        except Exception as exc:  # a boundary: refused before the upgrade, in one line
            await WebSocket(scope, receive, send).send_denial_response(refusal(exc))
            return
        await inner(scope, receive, send)

    route.app = gate
    return route


def guest_of(connection: HTTPConnection) -> Guest:
    """Who was let in through a gate that asks for a credential."""
    guest = connection.scope[GUEST]
    assert isinstance(guest, Guest)
    return guest


def _method(scope: Scope) -> str:
    return "GET" if scope["method"] == "HEAD" else str(scope["method"])


async def _admitted(gatekeeper: Gatekeeper, connection: HTTPConnection, route: str) -> Guest | None:
    """Who comes in by this route; None where nobody is asked. Raises Denied."""
    needed = roles.ROUTE_ROLES.get(route)
    if needed is None:
        raise Denied(403, "this is open to nobody")
    if needed == roles.PUBLIC:
        return None
    guest = await gatekeeper.admit(connection, "pide")
    if not roles.allows(guest.caller.role, needed):
        raise Denied(403, f"this is not for the role {guest.caller.role}", f"it needs the role {needed}")
    return guest


def refusal(exc: Exception) -> Response:
    """What whoever asked is told: one line, and no detail of what is our own mistake."""
    if isinstance(exc, Denied):
        return JSONResponse(exc.body(), exc.status)
    if isinstance(exc, HTTPException):
        return JSONResponse({"error": exc.detail}, exc.status_code, exc.headers)
    if isinstance(exc, HyperPiError):
        body: dict[str, Any] = {"error": str(exc)}
        return JSONResponse({**body, "hint": exc.hint} if exc.hint else body, status_of(exc).http)
    log.error("a request failed", exc_info=exc)
    return JSONResponse({"error": "internal error"}, 500)
