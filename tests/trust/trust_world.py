"""A small real mesh: store, CA, audit trail, enrol port and a gRPC port for nodes, on port 0 of loopback."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from hyperpi import channels, tls
from hyperpi.audit import Audit
from hyperpi.database import DiskThread
from hypivisor.attempts import AttemptLimiter
from hypivisor.ca import MeshCa
from hypivisor.enroll_service import Enroller, EnrolmentService, Reachable
from hypivisor.refusals import RefusalTrail
from hypivisor.rows import Mesh
from hypivisor.sessions import Sessions
from hypivisor.store import Store
from hypivisor.tokens import Tokens


@dataclass
class Clock:
    """Wall-clock seconds that move only when a test says so; starts now, for TLS looks at the real time."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class NodePort(grpc.GenericRpcHandler):
    """What the gRPC port offers here: it tells a node its own id, in one answer or in a stream."""

    def __init__(self, mesh_id: str) -> None:
        self._mesh_id = mesh_id
        self.served: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return {
            "/test/Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "/test/Generator": grpc.unary_stream_rpc_method_handler(self._generator),
            "/test/Coroutine": grpc.unary_stream_rpc_method_handler(self._coroutine),
            "/test/Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }.get(handler_call_details.method)

    def _who(self, context: grpc.aio.ServicerContext) -> bytes:
        node_id = channels.peer_node_id(context.auth_context(), self._mesh_id)
        self.served.append(node_id)
        return node_id.encode()

    async def _unary(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return self._who(context)

    async def _generator(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        yield self._who(context)
        yield b"more"

    async def _coroutine(self, request: bytes, context: grpc.aio.ServicerContext) -> None:
        await context.write(self._who(context))
        await context.write(b"more")

    async def _talk(
        self, request_iterator: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        async for _ in request_iterator:
            yield self._who(context)


@dataclass
class World:
    """One hypivisor's trust, and the ports of it."""

    folder: Path
    clock: Clock
    store: Store
    ca: MeshCa
    audit: Audit
    tokens: Tokens
    sessions: Sessions
    limiter: AttemptLimiter
    enroller: Enroller
    service: EnrolmentService
    disk: DiskThread
    nodes: NodePort
    enrol_port: int = 0
    grpc_port: int = 0

    def identity(self) -> tls.Identity:
        return self.ca.server_identity(self.clock())

    def join_token(self, **options: Any) -> str:
        return self.tokens.create("node", **options).token

    def audited(self) -> list[tuple[str, str]]:
        return [(row.what, row.result) for row in reversed(self.audit.ls())]


def make_world(folder: Path, clock: Clock) -> World:
    store = Store.open(folder / "store.db")
    ca = MeshCa.open(folder, "home", clock())
    mesh = store.ensure_mesh(ca.mesh_id, "home")
    audit = Audit.open(folder / "audit.db", clock)
    limiter = AttemptLimiter("people", store, clock)
    tokens = Tokens(store, ca.fingerprint, clock, limiter, pre_shared="correct horse battery staple")
    disk = DiskThread("store")
    enroller = Enroller(store, ca, audit, RefusalTrail(audit, clock, clock), clock)
    nodes = NodePort(ca.mesh_id)
    world = World(
        folder=folder,
        clock=clock,
        store=store,
        ca=ca,
        audit=audit,
        tokens=tokens,
        sessions=Sessions(store, tokens, clock, limiter),
        limiter=limiter,
        enroller=enroller,
        service=EnrolmentService(
            enroller, ca, lambda: Mesh(mesh.id, mesh.name), disk, lambda: Reachable(world.grpc_port)
        ),
        disk=disk,
        nodes=nodes,
    )
    return world


Serve = Callable[[grpc.aio.Server], Awaitable[None]]
