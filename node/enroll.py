"""Joining a mesh and staying in it: the client of the enrol port.

The order is the point. The server's certificate is read without trusting it, the CA certificate is fetched
over a connection that accepts only that very certificate, its fingerprint is compared with the one in the
token, and only a new connection that trusts just this CA ever carries the secret.
"""

import asyncio
import ipaddress
import logging
import platform
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import grpc

from hyperpi import channels, join_token, secret_text, tls
from hyperpi.candidates import FINGERPRINT_PREFIX
from hyperpi.clock import OFF_S, apart, rfc3339
from hyperpi.errors import HyperPiError, NothingThere
from hyperpi.wire.hyperpi.v1 import enrolment_pb2 as pb
from hyperpi.wire.hyperpi.v1 import enrolment_pb2_grpc as rpc
from node import identity
from node.identity import Membership
from node.join_code import agree_on_code, approved
from node.refusals import (
    BadAnswer,
    JoinExpired,
    KeyRevoked,
    NotAnEnrolPort,
    NothingListening,
    TimedOut,
    WrongClock,
    WrongMesh,
    failure_of,
    not_an_enrol_port,
    refusal_of,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0  # a LAN answers in milliseconds; a host that drops packets never does
CALL_TIMEOUT_S = 10.0  # the hypivisor syncs two files to its disk, behind whoever came before
ATTEMPTS = 3  # of a call whose answer may have been lost; asking again with the same key is harmless
RETRY_AFTER_S = 0.5
MAX_ADDRESSES = 8  # of one host name
WAIT_FOR_APPROVAL_S = 1800.0  # a person walks to another machine


@dataclass(frozen=True, slots=True)
class _Server:
    """A hypivisor whose CA was read but not yet trusted."""

    target: str  # numeric HOST:PORT, the same machine for every connection
    leaf_pem: bytes
    ca_pem: bytes
    ahead_s: float = 0.0  # how far our clock is ahead of its clock


async def join(folder: Path, host: str, port: int, token: str, wished_name: str | None = None) -> Membership:
    """Join the mesh that a token is for, through the enrol port at HOST:PORT, and save the membership.

    `folder` is the identity folder. Raises BadJoinToken, WrongMesh, BadAnswer, NothingListening,
    NotAnEnrolPort, TimedOut, one of node.refusals, OSError; each with a hint for a person.
    """
    wanted = join_token.parse_join_token(token)
    server = await _meet(host, port, secret_text.base32(wanted.ca_fingerprint)[:FINGERPRINT_PREFIX])
    _compare(server, wanted.ca_fingerprint, f"{host}:{port}")
    key_pem = await asyncio.to_thread(identity.joining_key, folder, wanted.ca_fingerprint)
    try:
        membership = await _enroll(server, host, port, wanted, wished_name, key_pem)
    except KeyRevoked:
        log.warning("the key of this machine was revoked, joining with a new one")
        key_pem = await asyncio.to_thread(identity.new_joining_key, folder)
        membership = await _enroll(server, host, port, wanted, wished_name, key_pem)
    await asyncio.to_thread(identity.save, folder, membership)
    return membership


async def join_by_code(
    folder: Path,
    host: str,
    port: int,
    confirm: Callable[[str], Awaitable[bool]],
    wished_name: str | None = None,
) -> Membership:
    """Join without a token: `confirm(code)` asks the person here whether Pi-DE shows the same six digits.

    Nothing is retried: each try shows a code that an impostor in between matches once in a million, so a
    person must see each of them. Waits at most WAIT_FOR_APPROVAL_S. Raises what `join` raises, JoinDenied,
    JoinExpired, JoinFull, JoinSuperseded.
    """
    server = await _meet(host, port)
    _check_leaf(server, f"{host}:{port}")
    fingerprint = tls.fingerprint(server.ca_pem)
    key_pem = await asyncio.to_thread(identity.joining_key, folder, fingerprint)
    try:
        reply = await _join_by_code(server, host, port, key_pem, confirm, wished_name)
    except KeyRevoked:  # said before a code was shown
        key_pem = await asyncio.to_thread(identity.new_joining_key, folder)
        reply = await _join_by_code(server, host, port, key_pem, confirm, wished_name)
    membership = _membership(server, host, port, key_pem, reply)
    await asyncio.to_thread(identity.save, folder, membership)
    return membership


async def renew(folder: Path, membership: Membership) -> Membership:
    """Get a new certificate for the same key and save it; also after the old one has expired.

    Tries each known address. Raises what `join` raises, for the last address that was tried.
    """
    failure: HyperPiError = NothingThere("no address of the hypivisor is known", hint="join again")
    for address in membership.enrol:
        host, _, port = address.rpartition(":")
        try:
            renewed = await _renew(membership, host.strip("[]"), int(port))
        except NothingThere as exc:
            failure = exc
            continue
        await asyncio.to_thread(identity.save, folder, renewed)
        return renewed
    raise failure


async def clock_ahead(membership: Membership) -> float:
    """How many seconds our clock is ahead of the hypivisor's, which its enrol port tells anybody.

    Raises WrongClock when they are so far apart that it cannot be asked, NothingThere.
    """
    failure: HyperPiError = NothingThere("no address of the hypivisor is known", hint="join again")
    for address in membership.enrol:
        host, _, port = address.rpartition(":")
        try:
            target = (await resolve(host.strip("[]"), int(port)))[0]
            _check_clock(await _read_leaf(target, address), address)
            async with channels.open_channel(target, root_pem=membership.identity.ca_pem) as channel:
                call = rpc.EnrolmentStub(channel).GetMesh
                reply = await call(pb.GetMeshRequest(), timeout=CALL_TIMEOUT_S)
        except NothingThere as exc:
            failure = exc
        except grpc.aio.AioRpcError as exc:
            failure = failure_of(exc, host, int(port))
        else:
            return time.time() - reply.now_ms / 1000 if reply.now_ms else 0.0
    raise failure


async def resolve(host: str, port: int) -> list[str]:
    """The numeric HOST:PORT addresses of a host, as the system's resolver orders them, .local names included.

    gRPC's own resolver does not ask mDNS. Raises NothingListening, TimedOut.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise TimedOut(f"the name {host} could not be looked up in time", hint="use its IP address") from None
    except (OSError, UnicodeError):
        raise NothingListening(
            f"no host named {host!r}", hint="check the name, or use an IP address"
        ) from None
    return list(dict.fromkeys(host_port(entry[4][0], port) for entry in found))[:MAX_ADDRESSES]


def host_port(host: str | int, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    text = str(host)
    try:
        return f"[{text}]:{port}" if ipaddress.ip_address(text).version == 6 else f"{text}:{port}"
    except ValueError:
        return f"{text}:{port}"


# --- the steps ---------------------------------------------------------------------------------------


async def _meet(host: str, port: int, wanted: str = "") -> _Server:
    """Fetch what the server says about itself. Nothing of it is to be believed yet."""
    failure: HyperPiError = NothingListening(f"no address of {host!r} answers")
    for target in await resolve(host, port):
        try:
            leaf_pem = await _read_leaf(target, f"{host}:{port}")
        except (NothingListening, TimedOut) as exc:
            failure = exc
            continue
        if tls.SERVER_NAME not in tls.names_in(leaf_pem):
            raise not_an_enrol_port(host, port)
        _check_clock(leaf_pem, f"{host}:{port}")
        # Only this very certificate is accepted; whether it is worth anything is decided by _compare.
        async with channels.open_channel(target, root_pem=leaf_pem) as channel:
            call = rpc.EnrolmentStub(channel).GetMesh
            try:
                reply = await call(pb.GetMeshRequest(wanted=wanted), timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError as exc:
                if exc.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
                    raise not_an_enrol_port(host, port) from None  # TLS as ours, but it asks for more
                raise failure_of(exc, host, port) from None
        return _Server(target, leaf_pem, reply.ca_pem, _ahead(reply, f"{host}:{port}"))
    raise failure


async def _read_leaf(target: str, shown: str) -> bytes:
    """The certificate (PEM) that a TLS server shows, unverified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # compared with the token's fingerprint, through its CA, in _compare
    context.set_alpn_protocols(["h2"])
    host, _, port = target.rpartition(":")
    writer = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=context, server_hostname=tls.SERVER_NAME
            )
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    except TimeoutError:
        raise TimedOut(
            f"{shown} did not answer within {CONNECT_TIMEOUT_S:.0f} s",
            hint="check the address, and that no firewall drops the enrol port (31417 by default)",
        ) from None
    except ConnectionRefusedError:
        raise NothingListening(
            f"nothing listens at {shown}",
            hint="is `hyperpi up` running there? the enrol port is 31417 by default",
        ) from None
    except (ssl.SSLError, ConnectionError):
        raise NotAnEnrolPort(
            f"what listens at {shown} does not speak TLS 1.3",
            hint="use the enrol port (31417 by default), not the one for people or browsers",
        ) from None
    except OSError as exc:
        raise NothingListening(f"{shown} cannot be reached: {exc.strerror or exc}") from None
    finally:
        if writer is not None:
            writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der).encode()


def _check_clock(leaf_pem: bytes, shown: str) -> None:
    """Raise WrongClock when the server's certificate does not hold by our clock: no handshake can succeed."""
    now = time.time()
    if tls.is_valid(leaf_pem, now):
        return
    begins = tls.begins_at(leaf_pem)
    edge = begins + tls.BACKDATE_S if now < begins else tls.expires_at(leaf_pem)  # it had that time once
    raise WrongClock(
        f"this machine's clock says {rfc3339(now)}, "
        f"at least {apart(now - edge)} that of the hypivisor at {shown}",
        hint="set the clock of the one that is wrong (turn on time synchronisation), then try again",
    )


def _ahead(reply: pb.GetMeshReply, shown: str) -> float:
    """How far our clock is ahead of the hypivisor's; said aloud when that matters."""
    ahead_s = time.time() - reply.now_ms / 1000 if reply.now_ms else 0.0
    if abs(ahead_s) >= OFF_S:
        log.warning(
            "this machine's clock is %s that of the hypivisor at %s; turn on time synchronisation",
            apart(ahead_s),
            shown,
        )
    return ahead_s


def _compare(server: _Server, ca_fingerprint: bytes, shown: str) -> None:
    """Raise unless the server is a hypivisor of the mesh with this fingerprint."""
    try:
        genuine = secret_text.same(tls.fingerprint(server.ca_pem), ca_fingerprint)
    except tls.BadCertificate:
        genuine = False
    if not genuine:
        raise WrongMesh(
            f"the hypivisor at {shown} is not the one that made this token; the token was not sent",
            hint="use the token of that hypivisor; if it is, somebody stands in between",
        )
    _check_leaf(server, shown)


def _check_leaf(server: _Server, shown: str) -> None:
    """Raise WrongMesh unless the CA that the server shows did make its certificate."""
    try:
        tls.check_server_certificate(server.leaf_pem, server.ca_pem, time.time())
    except tls.BadCertificate as exc:
        raise WrongMesh(
            f"the hypivisor at {shown} is not to be trusted: {exc}; the token was not sent", hint=exc.hint
        ) from None


async def _enroll(
    server: _Server,
    host: str,
    port: int,
    token: join_token.JoinToken,
    wished_name: str | None,
    key_pem: bytes,
) -> Membership:
    request = pb.EnrollRequest(
        token_id=token.id,
        token_secret=token.secret,
        csr_der=tls.make_csr(key_pem),
        wished_name=wished_name or "",
        host_name=_host_name(),
    )
    async with channels.open_channel(server.target, root_pem=server.ca_pem) as channel:
        stub = rpc.EnrolmentStub(channel)
        reply = await _asking(lambda: stub.Enroll(request, timeout=CALL_TIMEOUT_S), host, port)
    return _membership(server, host, port, key_pem, reply)


def _membership(server: _Server, host: str, port: int, key_pem: bytes, reply: pb.EnrollReply) -> Membership:
    return _checked(
        Membership(
            identity=tls.Identity(key_pem, reply.certificate_pem, server.ca_pem),
            mesh_id=tls.mesh_id_of(server.ca_pem),
            mesh_name=reply.mesh_name,
            node_id=reply.node_id,
            node_name=reply.name,
            hypivisors=_addresses(host, reply.addresses, reply.grpc_port),
            enrol=_addresses(host, reply.addresses, port),
        )
    )


async def _join_by_code(
    server: _Server,
    host: str,
    port: int,
    key_pem: bytes,
    confirm: Callable[[str], Awaitable[bool]],
    wished_name: str | None,
) -> pb.EnrollReply:
    try:
        async with (
            asyncio.timeout(WAIT_FOR_APPROVAL_S),
            channels.open_channel(server.target, root_pem=server.ca_pem) as channel,
        ):
            stream = rpc.EnrolmentStub(channel).RequestJoin()
            try:
                fingerprint = tls.fingerprint(server.ca_pem)
                code = await agree_on_code(stream, key_pem, fingerprint, wished_name, _host_name())
                return await approved(stream, code, confirm)
            finally:
                stream.cancel()
    except grpc.aio.AioRpcError as exc:
        raise failure_of(exc, host, port) from None
    except TimeoutError:
        raise JoinExpired("nobody approved in time", hint="ask again") from None


async def _renew(membership: Membership, host: str, port: int) -> Membership:
    request = pb.RenewRequest(node_id=membership.node_id, csr_der=tls.make_csr(membership.identity.key_pem))
    target = (await resolve(host, port))[0]
    async with channels.open_channel(target, root_pem=membership.identity.ca_pem) as channel:
        stub = rpc.EnrolmentStub(channel)
        reply = await _asking(lambda: stub.Renew(request, timeout=CALL_TIMEOUT_S), host, port)
    return _checked(
        replace(
            membership,
            identity=replace(membership.identity, certificate_pem=reply.certificate_pem),
            node_name=reply.name,
            hypivisors=_addresses(host, reply.addresses, reply.grpc_port),
            enrol=_addresses(host, reply.addresses, port),
        )
    )


async def _asking(call: Callable[[], Awaitable[T]], host: str, port: int) -> T:
    """The answer to a call that may be repeated. Raises a refusal or what keeps us from asking."""
    for attempt in range(ATTEMPTS):
        try:
            return await call()
        except grpc.aio.AioRpcError as exc:
            failure = failure_of(exc, host, port)
            lost = exc.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if not lost or refusal_of(exc) or attempt == ATTEMPTS - 1:
                raise failure from None
        await asyncio.sleep(RETRY_AFTER_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _checked(membership: Membership) -> Membership:
    uri = tls.node_uri(membership.mesh_id, membership.node_id)
    try:
        tls.check_node_certificate(membership.identity, uri)
    except tls.BadCertificate as exc:
        raise BadAnswer(f"the hypivisor sent a certificate that cannot be used: {exc}") from None
    return membership


def _addresses(host: str, others: Iterable[str], port: int) -> tuple[str, ...]:
    """The host that answered first, then what the hypivisor says of itself."""
    return tuple(dict.fromkeys(host_port(one, port) for one in (host, *others)))[:MAX_ADDRESSES]


def _host_name() -> str:
    return platform.node().partition(".")[0]
