"""gRPC over the certificates of a mesh: servers, channels, and whom a server admits."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import grpc

from hyperpi.errors import HyperPiError, NotForThisRole, Unauthenticated
from hyperpi.status import status_of
from hyperpi.tls import SERVER_NAME, Identity

REFUSAL_KEY = "hyperpi-refusal"  # trailing metadata of a refused enrolment: the name of a pb.Refusal
FIRST_MESSAGE_S = 5.0  # a refused client that sends nothing learns nothing either
_SPIFFE_NODE = re.compile(r"spiffe://([a-z2-7]{16})/node/([a-z0-9-]{1,64})")

_CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.enable_http_proxy", 0),  # a mesh is reached directly; a proxy for the web is not on its path
)


class NodeRevoked(NotForThisRole):
    """This node may not take part any more. Not retryable."""

    def __init__(self) -> None:
        super().__init__(
            "this machine was revoked: the mesh does not trust it any more",
            hint="to let it in again, as another node, run `hyperpi node join` there with a new token",
        )


def peer_node_id(auth_context: Mapping[str, Iterable[bytes]], mesh_id: str) -> str:
    """The node id in the verified certificate of a gRPC peer. Raises Unauthenticated.

    `auth_context` is what grpc's ServicerContext.auth_context() returns; grpc sets `peer_spiffe_id` only when
    a certificate has exactly one URI name.
    """
    found = [raw.decode("ascii", "replace") for raw in auth_context.get("peer_spiffe_id", ())]
    match = _SPIFFE_NODE.fullmatch(found[0]) if len(found) == 1 else None
    if match is None or match[1] != mesh_id:
        raise Unauthenticated("the peer has no node certificate of this mesh", hint="join the mesh again")
    return match[2]


def server_credentials(identity: Identity, *, client_certificates: bool) -> grpc.ServerCredentials:
    """TLS for a server. client_certificates=True demands one of the same CA (mTLS); False asks for none.

    Fixed for the life of the server on purpose: with grpc's dynamic credentials, handshakes at the same time
    as a reload crashed the process (grpcio 1.85.1: fifty concurrent clients, a segmentation fault).
    """
    pair = (identity.key_pem, identity.certificate_pem)
    return grpc.ssl_server_credentials(
        [pair], identity.ca_pem if client_certificates else None, client_certificates
    )


def open_channel(
    address: str,
    *,
    identity: Identity | None = None,
    root_pem: bytes | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """A channel to a hypivisor at HOST:PORT, whose certificate must be for SERVER_NAME.

    With `identity`: mTLS. With `root_pem`: only the server shows a certificate, which must be (issued by) it.
    """
    if identity is not None:
        credentials = grpc.ssl_channel_credentials(
            identity.ca_pem, identity.key_pem, identity.certificate_pem
        )
    elif root_pem is not None:
        credentials = grpc.ssl_channel_credentials(root_pem)
    else:
        raise ValueError("either an identity or a root certificate")  # never the system's roots
    return grpc.aio.secure_channel(address, credentials, options=[*_CHANNEL_OPTIONS, *options])


Asks = TypeVar("Asks")
Answers = TypeVar("Answers")


class Tls13Only(grpc.aio.ServerInterceptor):
    """Refuses calls over anything older than TLS 1.3, which grpc for Python has no option for."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Asks, Answers] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Asks, Answers] | None":
        """Put `admit` before the handler: who the peer is is known only once the call runs."""
        handler = await continuation(handler_call_details)
        return None if handler is None else _guarded(handler, self.admit)

    def admit(self, auth_context: Mapping[str, Iterable[bytes]]) -> None:
        """Raise a HyperPiError unless a call of this peer may be served."""
        if [*auth_context.get("ssl_tls_version", ())] != [b"TLSv1.3"]:
            raise Unauthenticated("this needs TLS 1.3")


class NodesOnly(Tls13Only):
    """Admits nodes of one mesh that are not revoked, over TLS 1.3.

    `is_revoked` and `turned_away`, which is told of those that are, must not block.
    """

    def __init__(
        self,
        mesh_id: str,
        is_revoked: Callable[[str], bool],
        turned_away: Callable[[str, NodeRevoked], None] = lambda node, exc: None,
    ) -> None:
        self._mesh_id = mesh_id
        self._is_revoked = is_revoked
        self._turned_away = turned_away

    def admit(self, auth_context: Mapping[str, Iterable[bytes]]) -> None:
        """Raise Unauthenticated or NodeRevoked unless this peer is a node that we trust."""
        super().admit(auth_context)
        node = peer_node_id(auth_context, self._mesh_id)
        if self._is_revoked(node):
            exc = NodeRevoked()
            self._turned_away(node, exc)
            raise exc


def refusal_text(exc: HyperPiError) -> str:
    """The details of the status that ends a node's call: what is wrong, a newline, what to do about it."""
    return f"{exc}\n{exc.hint or ''}".strip()


def _guarded(
    handler: "grpc.RpcMethodHandler[Any, Any]", admit: Callable[[Mapping[str, Iterable[bytes]]], None]
) -> "grpc.RpcMethodHandler[Any, Any]":
    async def check(context: grpc.aio.ServicerContext[Any, Any]) -> None:
        try:
            admit(context.auth_context())
        except HyperPiError as exc:
            if handler.request_streaming:
                # A stream refused before its first message ends as INTERNAL in grpc's asyncio client.
                with suppress(TimeoutError):
                    async with asyncio.timeout(FIRST_MESSAGE_S):
                        await context.read()
            await context.abort(grpc.StatusCode[status_of(exc).grpc], refusal_text(exc))

    async def coroutine(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await check(context)
        return await inner(request, context)

    async def generator(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        await check(context)
        async with aclosing(inner(request, context)) as answers:
            async for answer in answers:
                yield answer

    sides = (handler.request_streaming, handler.response_streaming)
    kind = "_".join("stream" if streaming else "unary" for streaming in sides)
    inner = getattr(handler, kind)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    guarded: grpc.RpcMethodHandler[Any, Any] = make(
        generator if inspect.isasyncgenfunction(inner) else coroutine,
        handler.request_deserializer,
        handler.response_serializer,
    )
    return guarded
