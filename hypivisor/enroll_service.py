"""The enrol port: what a machine without a certificate may ask for, and nothing else.

`Enroller` decides and records (blocking, in the store's thread); `EnrolmentService` is its gRPC edge. Every
join, renewal and refusal leaves an audit row, and what cannot be audited is refused.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from hyperpi import channels, secret_text, tls
from hyperpi.address import clean_name, new_id
from hyperpi.audit import Audit, AuditUnwritable
from hyperpi.database import DiskThread, StoreUnwritable
from hyperpi.errors import BadRequest, Conflict, HyperPiError, NotFound
from hyperpi.status import status_of
from hyperpi.wire.hyperpi.v1 import enrolment_pb2 as pb
from hyperpi.wire.hyperpi.v1 import enrolment_pb2_grpc as rpc
from hypivisor.attempts import AttemptLimiter, TooManyAttempts, address_key
from hypivisor.ca import MeshCa
from hypivisor.joins import (
    KNOCK_TTL_S,
    Join,
    JoinDenied,
    JoinExpired,
    JoinFull,
    JoinSuperseded,
    PendingJoins,
)
from hypivisor.refusals import RefusalTrail
from hypivisor.rows import Certified, Mesh, NodeRow
from hypivisor.store import KeyRevoked, Store
from hypivisor.tokens import TokenExpired, TokenOtherName, TokenUnknown, TokenUsed, check_join

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024  # the largest honest message here has under 4 KiB
MAX_STREAMS = 64  # concurrent calls of one connection
SPENT_PER_ADDRESS, SPENT_OVERALL = 100, 500  # right secrets of spent tokens: no guesses, but rows on our disk

STEP_TIMEOUT_S = 30.0  # between hello, key and reveal no person has anything to do
# A request without a token shows a code that an impostor in between hits once in a million: few tries each.
REQUESTS_PER_ADDRESS, REQUESTS_OVERALL = 20, 200

REFUSALS: dict[type[HyperPiError], pb.Refusal] = {
    TokenUnknown: pb.TOKEN_UNKNOWN,
    TokenUsed: pb.TOKEN_USED,
    TokenExpired: pb.TOKEN_EXPIRED,
    TokenOtherName: pb.TOKEN_OTHER_NAME,
    KeyRevoked: pb.KEY_REVOKED,
    NotFound: pb.NODE_UNKNOWN,
    BadRequest: pb.BAD_REQUEST,
    TooManyAttempts: pb.TOO_MANY_ATTEMPTS,
    JoinExpired: pb.JOIN_EXPIRED,
    JoinDenied: pb.JOIN_DENIED,
    JoinFull: pb.JOIN_FULL,
    JoinSuperseded: pb.JOIN_SUPERSEDED,
}


class OtherMesh(Conflict):
    """A machine came with a token of another mesh; it kept the token to itself. Not retryable."""

    def __init__(self) -> None:
        super().__init__(
            "a machine came with a token of another mesh",
            hint="make a token here for it: `hyperpi token create --role node`",
        )


@dataclass(frozen=True, slots=True)
class Granted:
    """A machine that was let in, or let in again."""

    node: NodeRow
    certificate_pem: bytes
    expires_at: float  # Unix seconds


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where nodes connect: the gRPC port, and hosts of this machine, best first."""

    grpc_port: int
    addresses: tuple[str, ...] = ()


class Enroller:
    """Lets machines in. Blocks on the store; for its thread."""

    def __init__(
        self, store: Store, ca: MeshCa, audit: Audit, refusals: RefusalTrail, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._ca = ca
        self._audit = audit
        self._refusals = refusals
        self._clock = clock
        self._guesses = AttemptLimiter("enrol", store, clock)
        self._spent = AttemptLimiter(
            "enrol-spent", store, clock, per_address=SPENT_PER_ADDRESS, overall=SPENT_OVERALL
        )

        self._requests = AttemptLimiter(
            "enrol-request", store, clock, per_address=REQUESTS_PER_ADDRESS, overall=REQUESTS_OVERALL
        )

    def enroll(
        self, token_id: str, secret: str, csr_der: bytes, wished_name: str, host_name: str, address: str
    ) -> Granted:
        """Use a join token for the key of a request. Raises a class of REFUSALS, AuditUnwritable."""
        self._check("node.join", address)
        wished = clean_name(wished_name, "") if wished_name else ""
        try:
            public_key = tls.read_csr(csr_der)
            now = self._clock()
            node, certificate = self._store.use_token_for_node(
                token_id,
                lambda row: check_join(row, secret, wished, public_key, now),
                public_key,
                self._certify(public_key, "node.join", address, {"token": token_id[:16]}),
                new_id=new_id("n"),
                name=wished or clean_name(host_name, "node"),
                now=now,
                address=address,
            )
        except tuple(REFUSALS) as exc:
            self._failed("node.join", address, exc, {"token": token_id[:16]})
            raise
        return Granted(node, certificate, tls.expires_at(certificate))

    def renew(self, node_id: str, csr_der: bytes, address: str) -> Granted:
        """A new certificate for a node that shows its pinned key, also when the old one has expired.

        A request is proof of the key and nothing more: whoever replays one gets a certificate that only the
        holder of the key can use. Raises a class of REFUSALS, AuditUnwritable.
        """
        self._check("node.renew", address)
        try:
            public_key = tls.read_csr(csr_der)
            node, certificate = self._store.renew_node(
                node_id, public_key, self._certify(public_key, "node.renew", address, {})
            )
        except tuple(REFUSALS) as exc:
            self._failed("node.renew", address, exc, {"node": node_id[:64]})
            raise
        return Granted(node, certificate, tls.expires_at(certificate))

    def count_request(self, address: str) -> None:
        """Count a request to join without a token. Raises TooManyAttempts."""
        self._requests.check(address)
        self._requests.failed(address)

    def now(self) -> float:
        """Unix seconds, by the clock that everything here goes by."""
        return self._clock()

    def check_key(self, public_key: bytes) -> None:
        """Raise KeyRevoked before anybody is asked to look at a code."""
        self._store.check_key(public_key)

    def adopt(self, public_key: bytes, wished_name: str, who: str, address: str) -> Granted:
        """Let in a machine whose six digits an admin approved and its own user confirmed.

        Raises KeyRevoked, AuditUnwritable.
        """
        node, certificate = self._store.add_node(
            public_key,
            self._certify(public_key, "node.join", address, {"approved_by": who}),
            new_id=new_id("n"),
            name=clean_name(wished_name, "node"),
            now=self._clock(),
        )
        return Granted(node, certificate, tls.expires_at(certificate))

    def _certify(
        self, public_key: bytes, what: str, address: str, details: dict[str, object]
    ) -> Callable[[str, str], Certified]:
        """What the store calls inside its transaction: no audit row, no certificate, no node."""

        def certify(node_id: str, name: str) -> Certified:
            now = self._clock()
            pem = self._ca.issue_node(public_key, node_id, now)
            self._audit.append(name, address, what, "done", {"node": node_id, **details})
            return Certified(pem, now, tls.renew_at(pem), tls.expires_at(pem))

        return certify

    def refused(self, what: str, address: str, exc: HyperPiError, details: dict[str, object]) -> None:
        """Write down that a machine was turned away."""
        self._refusals.note("?", address, what, exc, details)

    def _check(self, what: str, address: str) -> None:
        try:
            self._guesses.check(address)
            self._spent.check(address)
        except TooManyAttempts as exc:
            self.refused(what, address, exc, {})
            raise

    def _failed(self, what: str, address: str, exc: HyperPiError, details: dict[str, object]) -> None:
        limiter = self._guesses if isinstance(exc, TokenUnknown | BadRequest | NotFound) else self._spent
        limiter.failed(address)
        self.refused(what, address, exc, details)


class EnrolmentService(rpc.EnrolmentServicer):
    """`hyperpi.v1.Enrolment` over an Enroller."""

    def __init__(
        self,
        enroller: Enroller,
        ca: MeshCa,
        mesh: Callable[[], Mesh],
        disk: DiskThread,
        reachable: Callable[[], Reachable],
        *,
        joins: PendingJoins | None = None,
        certified: Callable[[NodeRow], None] = lambda node: None,
    ) -> None:
        self._enroller = enroller
        self._ca = ca
        self._mesh = mesh
        self._disk = disk
        self._reachable = reachable
        self._certified = certified
        self.joins = joins or PendingJoins(ca.fingerprint, time.monotonic)

    async def GetMesh(
        self,
        request: pb.GetMeshRequest,
        context: grpc.aio.ServicerContext[pb.GetMeshRequest, pb.GetMeshReply],
    ) -> pb.GetMeshReply:
        """Which mesh this is and what time it has; nothing secret."""
        mesh = self._mesh()
        if request.wanted and not secret_text.base32(self._ca.fingerprint).startswith(request.wanted.lower()):
            address = peer_host(context.peer())
            await self._disk.call(self._enroller.refused, "node.join", address, OtherMesh(), {})
        return pb.GetMeshReply(
            ca_pem=self._ca.certificate_pem,
            mesh_id=mesh.id,
            mesh_name=mesh.name,
            now_ms=int(self._enroller.now() * 1000),
        )

    async def Enroll(
        self,
        request: pb.EnrollRequest,
        context: grpc.aio.ServicerContext[pb.EnrollRequest, pb.EnrollReply],
    ) -> pb.EnrollReply:
        """Join with a token."""
        address = peer_host(context.peer())
        async with _refusing(context, "join", address):
            granted = await self._disk.call(
                self._enroller.enroll,
                request.token_id,
                request.token_secret,
                request.csr_der,
                request.wished_name,
                request.host_name,
                address,
            )
        log.info("node joined node=%s name=%s address=%s", granted.node.id, granted.node.name, address)
        self._certified(granted.node)
        return self._granted(granted)

    async def Renew(
        self,
        request: pb.RenewRequest,
        context: grpc.aio.ServicerContext[pb.RenewRequest, pb.RenewReply],
    ) -> pb.RenewReply:
        """Renew a certificate."""
        address = peer_host(context.peer())
        async with _refusing(context, "renewal", address):
            granted = await self._disk.call(self._enroller.renew, request.node_id, request.csr_der, address)
        log.info("certificate renewed node=%s address=%s", granted.node.id, address)
        self._certified(granted.node)
        at = self._reachable()
        return pb.RenewReply(
            certificate_pem=granted.certificate_pem,
            expires_at_ms=int(granted.expires_at * 1000),
            name=granted.node.name,
            grpc_port=at.grpc_port,
            addresses=at.addresses,
        )

    async def RequestJoin(
        self,
        request_iterator: AsyncIterator[pb.JoinStep],
        context: grpc.aio.ServicerContext[pb.JoinStep, pb.JoinAnswer],
    ) -> None:
        """Join by six digits: see the proto for the order of the steps."""
        address = peer_host(context.peer())
        async with _refusing(context, "join by code", address), self._noting(address):
            # Read first: a call refused before its first message ends as INTERNAL in grpc's asyncio client.
            hello = (await _step(context, "hello")).hello
            await self._disk.call(self._enroller.count_request, address)
            woken = asyncio.Event()
            name = clean_name(hello.wished_name or hello.host_name, "node")
            join = self.joins.begin(address_key(address), name, woken.set)
            try:
                await context.write(pb.JoinAnswer(commitment=pb.JoinCommitment(commitment=join.commitment)))
                key = (await _step(context, "key")).key
                public_key = tls.read_csr(key.csr_der)
                await self._disk.call(self._enroller.check_key, public_key)
                nonce = self.joins.reveal(join, public_key, key.nonce)
                reveal = pb.JoinReveal(nonce=nonce, expires_after_s=int(KNOCK_TTL_S))
                await context.write(pb.JoinAnswer(reveal=reveal))
                log.info("a machine waits to be approved name=%s address=%s", name, address)
                await self._decided(join, woken, context)
                granted = await self._disk.call(
                    self._enroller.adopt, public_key, name, str(join.approved_by), address
                )
            finally:
                self.joins.remove(join)
            log.info("node joined node=%s name=%s address=%s", granted.node.id, granted.node.name, address)
            self._certified(granted.node)
            await context.write(pb.JoinAnswer(granted=self._granted(granted)))

    @asynccontextmanager
    async def _noting(self, address: str) -> AsyncIterator[None]:
        """Write down why a request without a token came to nothing."""
        try:
            yield
        except tuple(REFUSALS) as exc:
            await self._disk.call(self._enroller.refused, "node.join", address, exc, {})
            raise

    async def _decided(
        self, join: Join, woken: asyncio.Event, context: grpc.aio.ServicerContext[pb.JoinStep, pb.JoinAnswer]
    ) -> None:
        """Return when both sides said yes. Raises what ended the request."""
        reading = asyncio.create_task(self._listen(join, context), name="join-steps")
        try:
            while not join.ready:
                if join.over is not None:
                    raise join.over
                woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.joins.left_s(join)):
                        await woken.wait()
                self.joins.expire()
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _listen(
        self, join: Join, context: grpc.aio.ServicerContext[pb.JoinStep, pb.JoinAnswer]
    ) -> None:
        """Take in knocks and the confirmation until the machine goes away."""
        while True:
            step = await context.read()
            match step.WhichOneof("step") if isinstance(step, pb.JoinStep) else None:
                case "knock":
                    self.joins.knock(join)
                case "confirm":
                    self.joins.confirm(join)
                case None:
                    join.end(JoinExpired("the machine went away"))
                    return
                case _:
                    join.end(BadRequest("only knock and confirm come after the code"))
                    return

    def _granted(self, granted: Granted) -> pb.EnrollReply:
        mesh, at = self._mesh(), self._reachable()
        return pb.EnrollReply(
            node_id=granted.node.id,
            name=granted.node.name,
            certificate_pem=granted.certificate_pem,
            expires_at_ms=int(granted.expires_at * 1000),
            grpc_port=at.grpc_port,
            addresses=at.addresses,
            ca_pem=self._ca.certificate_pem,
            mesh_id=mesh.id,
            mesh_name=mesh.name,
        )


def enrol_server(
    service: rpc.EnrolmentServicer, identity: tls.Identity, addresses: Sequence[str]
) -> tuple[grpc.aio.Server, list[int]]:
    """A server for the enrol port on each HOST:PORT, not yet started, and the ports it got.

    TLS 1.3 where only the server shows a certificate. Raises OSError when a port is taken.
    """
    server = grpc.aio.server(
        interceptors=[channels.Tls13Only()],
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.server_handshake_timeout_ms", 10_000),  # grpc's own is two minutes
            ("grpc.max_connection_idle_ms", 60_000),  # without a call; who waits to be approved has one
        ],
    )
    rpc.add_EnrolmentServicer_to_server(service, server)
    credentials = channels.server_credentials(identity, client_certificates=False)
    try:
        return server, [server.add_secure_port(address, credentials) for address in addresses]
    except RuntimeError as exc:  # what grpc raises when it cannot bind
        raise OSError(f"cannot listen on {' '.join(addresses)}: {exc}") from None


@asynccontextmanager
async def _refusing(
    context: grpc.aio.ServicerContext[Any, Any], what: str, address: str
) -> AsyncIterator[None]:
    """End the call with the status of an error; the trailing metadata says which refusal it is exactly."""
    try:
        yield
    except HyperPiError as exc:
        kind = next((REFUSALS[cls] for cls in type(exc).__mro__ if cls in REFUSALS), pb.REFUSAL_UNSPECIFIED)
        if isinstance(exc, AuditUnwritable | StoreUnwritable):  # nobody's fault but our disk's: not counted
            kind = pb.NOT_RECORDED
        log.debug("%s refused address=%s reason=%s", what, address, type(exc).__name__)  # told by the trail
        await context.abort(
            grpc.StatusCode[status_of(exc).grpc], str(exc), ((channels.REFUSAL_KEY, pb.Refusal.Name(kind)),)
        )
    except Exception:  # the edge: strangers on this port learn nothing of what broke
        log.exception("%s failed address=%s", what, address)
        await context.abort(grpc.StatusCode.INTERNAL, "internal error")


async def _step(context: grpc.aio.ServicerContext[pb.JoinStep, pb.JoinAnswer], expected: str) -> pb.JoinStep:
    """The next message of a machine that joins by code. Raises BadRequest, JoinExpired."""
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            step = await context.read()
    except TimeoutError:
        raise JoinExpired(f"no {expected} came") from None
    if not isinstance(step, pb.JoinStep) or step.WhichOneof("step") != expected:
        raise BadRequest(f"{expected} is what comes now")
    return step


def peer_host(peer: str) -> str:
    """The host of grpc's peer text: `ipv4:127.0.0.1:5` or `ipv6:%5B::1%5D:5`."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind or "?"
    return rest.rpartition(":")[0].strip("[]")
