"""Reaching a hypivisor elsewhere by the address of its Pi-DE, with a token, over a WebSocket."""

import ipaddress
import json
import ssl
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hyperpi.cli.wires import MAX_MESSAGE_BYTES, WebSocketWire
from hyperpi.config import PIDE_PORT
from hyperpi.errors import (
    BadRequest,
    HyperPiError,
    NotForThisRole,
    NothingThere,
    RefusedByPolicy,
    Unauthenticated,
)

OPEN_S = 10.0  # DNS, TCP, TLS and the upgrade together
PING_S = 10.0  # a half-open line is noticed within two of them

_SCHEMES = {"": "", "ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """Where a Pi-DE answers."""

    url: str  # ws://… or wss://…, ending in /ws
    host: str
    secure: bool

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, or at our end of a tunnel."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_remote(text: str) -> RemoteAddress:
    """Read HOST[:PORT], http(s)://… or ws(s)://…; without a scheme TLS is used for all but loopback.

    Raises BadRequest for what is no address, and RefusedByPolicy where a token would travel in clear text.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "", text.strip()
    wish = _SCHEMES.get(scheme.lower())
    try:
        parts = urlsplit("//" + rest)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if wish is None or not host or parts.username is not None or parts.query or parts.fragment:
        raise BadRequest(
            f"{text!r} is not the address of a Pi-DE", hint="write HOST:PORT, https://HOST or ws://HOST:PORT"
        )
    loopback = RemoteAddress("", host, False).loopback
    secure = wish == "wss" or (not wish and not loopback)
    if not secure and not loopback:
        raise RefusedByPolicy(
            f"a token would travel to {host} in clear text",
            hint=f"use https://{parts.netloc}, or a tunnel that ends on this machine",
        )
    where = f"[{host}]" if ":" in host else host
    if port is not None:
        where += f":{port}"
    elif not wish:
        where += f":{PIDE_PORT}"
    path = parts.path.rstrip("/").removesuffix("/ws")
    return RemoteAddress(f"{'wss' if secure else 'ws'}://{where}{path}/ws", host, secure)


def dial(address: RemoteAddress, token: str, authorities: Iterable[Path]) -> WebSocketWire:
    """Connect with a token. `authorities`: CA certificates that are trusted besides the system's.

    Raises NothingThere when nobody answers, Unauthenticated or NotForThisRole when we are not let in.
    """
    from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
    from websockets.sync.client import connect

    if not token.isascii() or not token.isprintable():
        raise Unauthenticated("the token holds characters that no token has", hint="copy it again, whole")
    opened = ExitStack()
    try:
        connection = opened.enter_context(
            connect(
                address.url,
                additional_headers={"Authorization": f"Bearer {token}"},
                ssl=_tls(authorities) if address.secure else None,
                open_timeout=OPEN_S,
                close_timeout=1,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                max_size=MAX_MESSAGE_BYTES,
                compression=None,
                proxy=None if address.loopback else True,
            )
        )
    except InvalidStatus as exc:
        raise _not_let_in(address, exc.response.status_code, exc.response.body) from None
    except ssl.SSLCertVerificationError as exc:
        raise NothingThere(
            f"{address.host} is not trusted: {exc.verify_message}",
            hint="join its mesh, or let SSL_CERT_FILE name the CA certificate of the mesh",
        ) from None
    except (OSError, InvalidHandshake, InvalidURI, EOFError) as exc:
        raise NothingThere(
            f"no Pi-DE answers at {address.url}: {_reason(exc)}",
            hint="is it running? HYPIVISOR and --hypivisor say where it is looked for",
        ) from None
    return WebSocketWire(connection, opened.close)


def _reason(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text).splitlines()[0]


def _not_let_in(address: RemoteAddress, status: int, body: bytes | bytearray | None) -> HyperPiError:
    try:
        said = str(json.loads(body or b"")["error"])
    except (ValueError, TypeError, KeyError):
        said = f"HTTP {status}"
    if status == 401:
        return Unauthenticated(
            f"{address.host} does not accept this token: {said}",
            hint="make a new one there with `hyperpi token create`; HYPI_TOKEN or --token-file hold it",
        )
    if status == 403:
        return NotForThisRole(f"{address.host} does not let this token in: {said}")
    if status == 429:
        return Unauthenticated(f"{address.host} takes no more attempts for now: {said}", hint="wait a minute")
    return NothingThere(
        f"{address.url} answers with {said}", hint="is that the address of a Pi-DE, as `up` printed it?"
    )


def _tls(authorities: Iterable[Path]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in authorities:
        if path.is_file():
            context.load_verify_locations(path)
    return context
