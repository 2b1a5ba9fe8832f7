"""Who is who on the wire: names, keys and certificates of a mesh.

Every machine-to-machine connection is TLS 1.3 with certificates of one mesh CA. A node is what its
certificate says (`spiffe://<mesh>/node/<id>`), never what a payload says. Issuing is the hypivisor's
business (`hypivisor.ca`); this module makes requests and reads certificates; `channels` puts them to use.
"""

import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from hyperpi import secret_text
from hyperpi.errors import BadRequest, Unauthenticated

log = logging.getLogger(__name__)

SERVER_NAME = "hypivisor.hyperpi.internal"  # the DNS SAN of every hypivisor; hosts and addresses may change
MAX_CSR_BYTES = 4096  # a P-256 request has about 250

# Certificates begin that much before they are issued: a clock that is wrong by a day, on either side, breaks
# no handshake, and what is wrong can be said over the connection.
BACKDATE_S = 2 * 86_400.0

_SPIFFE_MESH = re.compile(r"spiffe://([a-z2-7]{16})")


class BadCertificate(Unauthenticated):
    """A certificate is not what it must be here; says which rule it breaks. Not retryable."""


# --- names -------------------------------------------------------------------------------------------


def new_mesh_id() -> str:
    """A random id of 16 characters of lower-case base32 (80 bits): the trust domain of every SPIFFE id."""
    return secret_text.base32(secrets.token_bytes(10))


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
