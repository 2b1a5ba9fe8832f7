"""Who is who on the wire: keys, certificates, names and gRPC credentials of a mesh.

Every machine-to-machine connection is TLS 1.3 with certificates of one mesh CA. A node is what its
certificate says (`spiffe://<mesh>/node/<id>`), never what a payload says. Issuing is the hypivisor's
business (`hypivisor.ca`); this module makes requests, reads certificates and builds credentials.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import inspect
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from hyperpi.errors import BadRequest, HyperPiError, NotForThisRole, Unauthenticated
from hyperpi.status import status_of

log = logging.getLogger(__name__)

SERVER_NAME = "hypivisor.hyperpi.internal"  # the DNS SAN of every hypivisor; hosts and addresses may change
REFUSAL_KEY = "hyperpi-refusal"  # trailing metadata of a refused enrolment: the name of a pb.Refusal
TOKEN_SECRET_BYTES = 20  # 160 bits
FIRST_MESSAGE_S = 5.0  # a refused client that sends nothing learns nothing either
MAX_CSR_BYTES = 4096  # a P-256 request has about 250

# Certificates begin that much before they are issued: a clock that is wrong by a day, on either side, breaks
# no handshake, and what is wrong can be said over the connection.
BACKDATE_S = 2 * 86_400.0

_SPIFFE_NODE = re.compile(r"spiffe://([a-z2-7]{16})/node/([a-z0-9-]{1,64})")
_SPIFFE_MESH = re.compile(r"spiffe://([a-z2-7]{16})")
_JOIN_TOKEN = re.compile(r"hp1-([a-z2-7]{52})-([a-z2-7]{8})\.([a-z2-7]{26,64})")


class BadCertificate(Unauthenticated):
    """A certificate is not what it must be here; says which rule it breaks. Not retryable."""


class NodeRevoked(NotForThisRole):
    """This node may not take part any more. Not retryable."""

    def __init__(self) -> None:
        super().__init__(
            "this machine was revoked: the mesh does not trust it any more",
            hint="to let it in again, as another node, run `hyperpi node join` there with a new token",
        )


class BadJoinToken(BadRequest):
    """The text is not a join token. Not retryable."""


# --- names -------------------------------------------------------------------------------------------


def new_mesh_id() -> str:
    """A random id of 16 characters of lower-case base32 (80 bits): the trust domain of every SPIFFE id."""
    return base32(secrets.token_bytes(10))


def base32(raw: bytes) -> str:
    """Lower-case RFC 4648 base32 without padding."""
    return base64.b32encode(raw).decode().rstrip("=").lower()


def node_uri(mesh_id: str, node_id: str) -> str:
    """The SPIFFE id of a node, the only name in its certificate."""
    return f"spiffe://{mesh_id}/node/{node_id}"


def mesh_uri(mesh_id: str) -> str:
    """The SPIFFE id of a mesh, the only alternative name in its CA certificate."""
    return f"spiffe://{mesh_id}"


def mesh_id_of(ca_pem: bytes) -> str:
    """The mesh id in a CA certificate. Raises BadCertificate."""
    for uri in _uris(_load(ca_pem)):
        if match := _SPIFFE_MESH.fullmatch(uri):
            return match[1]
    raise BadCertificate("this is not the certificate of a mesh CA")


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


# --- keys, requests, certificates --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key, the certificate for it, and the CA certificate that both sides trust. All PEM."""

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    ca_pem: bytes


def fingerprint(ca_pem: bytes) -> bytes:
    """SHA-256 of the CA certificate's DER: 32 bytes that name a mesh. Raises BadCertificate."""
    return _load(ca_pem).fingerprint(hashes.SHA256())


def new_key() -> bytes:
    """A new ECDSA P-256 private key as unencrypted PKCS#8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key. Raises BadCertificate for anything else."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as exc:
        raise BadCertificate(f"a private key cannot be read: {exc}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadCertificate("a private key is not ECDSA P-256")
    return key


def public_key(key_pem: bytes) -> bytes:
    """The public half of a private key as SubjectPublicKeyInfo DER: what a mesh pins a node by."""
    return _spki(load_key(key_pem).public_key())


def make_csr(key_pem: bytes) -> bytes:
    """A signing request (PKCS#10 DER) without any name: the hypivisor picks the names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(load_key(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def read_csr(csr_der: bytes) -> bytes:
    """The public key (SubjectPublicKeyInfo DER) that a request proves possession of.

    Everything else in the request is ignored. Raises BadRequest: too long, not a request, a bad signature,
    or a key that is not ECDSA P-256.
    """
    if len(csr_der) > MAX_CSR_BYTES:
        raise BadRequest("the signing request is too long")
    try:
        request = x509.load_der_x509_csr(csr_der)
        key = request.public_key()
        valid = request.is_signature_valid
    except Exception as exc:  # a parser over hostile bytes: whatever it raises means the same
        raise BadRequest("the signing request cannot be read") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("the key of the signing request is not ECDSA P-256")
    if not valid:
        raise BadRequest("the signature of the signing request does not verify")
    return _spki(key)


def expires_at(certificate_pem: bytes) -> float:
    """When a certificate ends, Unix seconds. Raises BadCertificate."""
    return _load(certificate_pem).not_valid_after_utc.timestamp()


def is_valid(certificate_pem: bytes, at: float) -> bool:
    """Whether a certificate holds at a time, Unix seconds. Raises BadCertificate."""
    return begins_at(certificate_pem) <= at <= expires_at(certificate_pem)


def begins_at(certificate_pem: bytes) -> float:
    """From when on a certificate holds, Unix seconds. Raises BadCertificate."""
    return _load(certificate_pem).not_valid_before_utc.timestamp()


def renew_at(certificate_pem: bytes) -> float:
    """When to renew a certificate: at two thirds of its life, Unix seconds. Raises BadCertificate."""
    certificate = _load(certificate_pem)
    start = certificate.not_valid_before_utc.timestamp() + BACKDATE_S  # when it was issued
    return start + (certificate.not_valid_after_utc.timestamp() - start) * 2 / 3


def check_server_certificate(leaf_pem: bytes, ca_pem: bytes, now: float) -> None:
    """Raise BadCertificate unless the leaf is a hypivisor's: by this CA, for SERVER_NAME, valid now."""
    leaf, ca = _load(leaf_pem), _load(ca_pem)
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise BadCertificate("the server's certificate was not issued by the CA it shows") from None
    if not leaf.not_valid_before_utc.timestamp() <= now <= leaf.not_valid_after_utc.timestamp():
        raise BadCertificate(
            "the server's certificate is not valid at this time", hint="compare the clocks of both machines"
        )
    if SERVER_NAME not in names_in(leaf_pem) or not _may_serve(leaf):
        raise BadCertificate("the server's certificate is not that of a hypivisor")


def check_node_certificate(identity: Identity, uri: str) -> None:
    """Raise BadCertificate unless key, certificate and CA belong together and the name is this one.

    Not whether it is valid now: an expired one is still good for asking for a new one.
    """
    leaf = _load(identity.certificate_pem)
    try:
        leaf.verify_directly_issued_by(_load(identity.ca_pem))
    except (ValueError, TypeError, InvalidSignature):
        raise BadCertificate("the node's certificate was not issued by the mesh CA") from None
    if public_key_in(identity.certificate_pem) != public_key(identity.key_pem):
        raise BadCertificate("the node's certificate is for another key")
    if list(_uris(leaf)) != [uri]:
        raise BadCertificate("the node's certificate is for another node")


def names_in(certificate_pem: bytes) -> tuple[str, ...]:
    """The DNS names of a certificate. Raises BadCertificate when it cannot be read."""
    try:
        extension = _load(certificate_pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def public_key_in(certificate_pem: bytes) -> bytes:
    """The public key of a certificate as SubjectPublicKeyInfo DER. Raises BadCertificate."""
    return _load(certificate_pem).public_key().public_bytes(*_SPKI_FORMAT)


_SPKI_FORMAT = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(*_SPKI_FORMAT)


def _load(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as exc:
        log.debug("a certificate cannot be read", exc_info=exc)  # the library's words help nobody else
        raise BadCertificate("a certificate is damaged") from None


def _uris(certificate: x509.Certificate) -> Sequence[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)


def _may_serve(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage


# --- join tokens and six digits ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`hp1-<CA fingerprint, base32>-<id>.<secret>`: whom to trust, and the right to join once."""

    ca_fingerprint: bytes
    id: str
    secret: str = field(repr=False)


def format_join_token(token: JoinToken) -> str:
    """The text form of a join token, lower case."""
    return f"hp1-{base32(token.ca_fingerprint)}-{token.id}.{token.secret}"


def parse_join_token(text: str) -> JoinToken:
    """Read a join token, upper or lower case, blanks around it allowed. Raises BadJoinToken."""
    match = _JOIN_TOKEN.fullmatch(text.strip().lower())
    if match is None:
        raise BadJoinToken(
            "this is not a join token", hint="make one with `hyperpi token create --role node`"
        )
    try:
        found = base64.b32decode(match[1].upper() + "====")
    except binascii.Error:
        raise BadJoinToken("the join token is damaged", hint="copy it again, whole") from None
    return JoinToken(found, match[2], match[3])


def join_commitment(nonce: bytes) -> bytes:
    """What the hypivisor shows before it sees the node's key, so that it cannot choose the code."""
    return hashlib.sha256(b"hyperpi join commitment v1" + nonce).digest()


def join_code(ca_fingerprint: bytes, node_key: bytes, node_nonce: bytes, server_nonce: bytes) -> str:
    """The six digits that both sides show, from all that an impostor would have to change.

    Every part is hashed with its length first, so that no two sets of parts read the same. The scheme is
    commit, then reveal, as in ZRTP's short authentication string (RFC 6189, 4.4.1.1): an impostor gets one
    guess in a million per attempt that two people look at.
    """
    digest = hashlib.sha256(b"hyperpi join code v1")
    for part in (ca_fingerprint, node_key, node_nonce, server_nonce):
        digest.update(len(part).to_bytes(4) + part)
    return f"{int.from_bytes(digest.digest()[:8]) % 1_000_000:06d}"


def same(one: bytes | str, other: bytes | str) -> bool:
    """Whether two secrets are equal, in time that does not depend on where they differ."""
    left = one.encode() if isinstance(one, str) else one
    right = other.encode() if isinstance(other, str) else other
    return hmac.compare_digest(left, right)


# --- gRPC --------------------------------------------------------------------------------------------

_CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.enable_http_proxy", 0),  # a mesh is reached directly; a proxy for the web is not on its path
)


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


# --- files -------------------------------------------------------------------------------------------


def write_private(path: Path, content: bytes) -> None:
    """Replace a file whole and durably; only its owner can read it (0600). Raises OSError.

    The old file or the new one is there after a crash, never a mixture.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
