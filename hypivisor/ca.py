"""The mesh's certificate authority: made at the first start, never leaves this folder.

Issues three kinds of certificates and no other: the hypivisor's own (a server for nodes), a node's (a client
and nothing else), and one for Pi-DE when it listens beyond loopback. Requests contribute a public key; every
name and every right is decided here.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hyperpi import private_file, tls
from hyperpi.errors import BadRequest, Unusable

CA_LIFE = timedelta(days=20 * 365)  # a new CA means that every machine joins again
# Renewed at a start, never while running; its key lies beside the CA's, so a short life would buy nothing.
SERVER_LIFE = timedelta(days=5 * 365)
WEB_LIFE = timedelta(days=395)  # with BACKDATE; browsers refuse more than 398 (CA/B Forum Ballot SC31)
NODE_LIFE = timedelta(days=7)
BACKDATE = timedelta(seconds=tls.BACKDATE_S)

SERVER_HOSTS = (tls.SERVER_NAME, "localhost")

_KEY_FILE, _CA_FILE = "ca-key.pem", "ca.pem"


class CaUnusable(Unusable):
    """The CA's files cannot be used; says which and why. A person must decide what to do."""


@dataclass(frozen=True, slots=True)
class WebCertificate:
    """Files for a TLS server for people: what uvicorn takes as ssl_keyfile and ssl_certfile."""

    key_path: Path
    certificate_path: Path


class MeshCa:
    """One mesh's CA and the hypivisor's own certificates, in one private folder (0700, files 0600)."""

    def __init__(
        self,
        folder: Path,
        key: ec.EllipticCurvePrivateKey,
        certificate_pem: bytes,
        node_life: timedelta = NODE_LIFE,
    ) -> None:
        self._node_life = node_life
        self._folder = folder
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(certificate_pem)
        self.certificate_pem = certificate_pem
        self.mesh_id = tls.mesh_id_of(certificate_pem)
        self.fingerprint = tls.fingerprint(certificate_pem)

    @classmethod
    def open(cls, folder: Path, mesh_name: str, now: float, node_life: timedelta = NODE_LIFE) -> "MeshCa":
        """Load the CA of `folder`, or make one. Raises CaUnusable, OSError.

        `mesh_name` only labels a new certificate for people; the mesh id is random and in the certificate.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_path, ca_path = folder / _KEY_FILE, folder / _CA_FILE
        if not ca_path.exists():
            # The key first: a crash between the two files leaves a key without a certificate, which is
            # made again; the other way round would leave a CA that cannot sign.
            if not key_path.exists():
                private_file.write_private(key_path, tls.new_key())
            made = _self_signed(tls.load_key(_read_private(key_path)), mesh_name, now)
            private_file.write_private(ca_path, made)
        try:
            key = tls.load_key(_read_private(key_path))
            ca = cls(folder, key, ca_path.read_bytes(), node_life)
        except (tls.BadCertificate, FileNotFoundError, ValueError) as exc:
            raise CaUnusable(
                f"the mesh CA in {folder} cannot be used: {exc}",
                hint="restore ca.pem and ca-key.pem together, or remove both to found a new mesh",
            ) from None
        if tls.public_key_in(ca.certificate_pem) != _spki(key):
            raise CaUnusable(
                f"{_KEY_FILE} and {_CA_FILE} in {folder} do not belong together",
                hint="restore both from the same backup",
            )
        return ca

    def server_identity(self, now: float) -> tls.Identity:
        """The hypivisor's own key and certificate, made anew when two thirds of its life are over."""
        key_path, path = self._folder / "server-key.pem", self._folder / "server.pem"
        key_pem, found = _load_pair(key_path, path)
        if found is None or not self._still_good(found, SERVER_HOSTS, now):
            found = self._issue_server(tls.public_key(key_pem), SERVER_HOSTS, SERVER_LIFE, now)
            private_file.write_private(path, found)
        return tls.Identity(key_pem, found, self.certificate_pem)

    def issue_node(self, public_key: bytes, node_id: str, now: float) -> bytes:
        """A certificate (PEM) that says: whoever has this key is this node. Raises BadRequest.

        `public_key` is SubjectPublicKeyInfo DER, as `tls.read_csr` returns it.
        """
        uri = x509.UniformResourceIdentifier(tls.node_uri(self.mesh_id, node_id))
        return self._issue(public_key, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, self._node_life, now)

    def issue_web(self, hosts: Sequence[str], now: float) -> WebCertificate:
        """A server certificate for Pi-DE under these host names and IP addresses, kept in the folder.

        Made anew when the hosts changed or its time runs out. Raises BadRequest for what is not a host.
        """
        wanted = tuple(dict.fromkeys(hosts))
        if any(host.rstrip(".").lower() == tls.SERVER_NAME for host in wanted):
            raise BadRequest(f"{tls.SERVER_NAME} is reserved for the port for nodes")
        key_path, path = self._folder / "web-key.pem", self._folder / "web.pem"
        key_pem, found = _load_pair(key_path, path)
        if found is None or not self._still_good(found, wanted, now):
            found = self._issue_server(tls.public_key(key_pem), wanted, WEB_LIFE, now)
            private_file.write_private(path, found)
        return WebCertificate(key_path, path)

    def _still_good(self, certificate_pem: bytes, hosts: Sequence[str], now: float) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            certificate.verify_directly_issued_by(self._certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # unreadable, of another CA, without names: all of them mean "make a new one"
            return False
        due = tls.renew_at(certificate_pem)  # a beginning in the future: made when our clock was ahead
        return set(names) == set(_hosts(hosts)) and tls.begins_at(certificate_pem) <= now < due

    def _issue_server(self, public_key: bytes, hosts: Sequence[str], life: timedelta, now: float) -> bytes:
        return self._issue(public_key, _hosts(hosts), ExtendedKeyUsageOID.SERVER_AUTH, life, now)

    def _issue(
        self,
        public_key: bytes,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        life: timedelta,
        now: float,
    ) -> bytes:
        try:
            key = serialization.load_der_public_key(public_key)
        except ValueError:
            raise BadRequest("the public key cannot be read") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BadRequest("the public key is not ECDSA P-256")
        start = datetime.fromtimestamp(now, UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - BACKDATE)
            .not_valid_after(min(start + life, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            # Critical because the subject is empty (RFC 5280, 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _self_signed(key: ec.EllipticCurvePrivateKey, mesh_name: str, now: float) -> bytes:
    mesh_id = tls.new_mesh_id()
    label = "".join(char for char in mesh_name if char.isprintable())[:40] or "mesh"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hyper-Pi {label} {mesh_id}")])
    start = datetime.fromtimestamp(now, UTC)
    uri = x509.UniformResourceIdentifier(tls.mesh_uri(mesh_id))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATE)
        .not_valid_after(start + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _hosts(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
            continue
        except ValueError:
            pass
        try:
            names.append(x509.DNSName(host))
        except ValueError:
            raise BadRequest(f"{host!r} is not a host name or an IP address") from None
    return names


def _load_pair(key_path: Path, certificate_path: Path) -> tuple[bytes, bytes | None]:
    """The key of a pair, made if need be, and the certificate if it is there and for that key."""
    try:
        key_pem = _read_private(key_path)
        public = tls.public_key(key_pem)
    except (FileNotFoundError, tls.BadCertificate):
        key_pem = tls.new_key()
        private_file.write_private(key_path, key_pem)
        return key_pem, None
    try:
        certificate_pem = certificate_path.read_bytes()
        return key_pem, certificate_pem if tls.public_key_in(certificate_pem) == public else None
    except (FileNotFoundError, tls.BadCertificate):
        return key_pem, None


def _read_private(path: Path) -> bytes:
    """A key file's content; one that others could read is refused, for its key may be theirs by now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_mode & 0o077 or found.st_uid != os.getuid():
            raise CaUnusable(
                f"{path} can be read by others", hint=f"chmod 600 {path}, and ask who could read it"
            )
        return file.read()


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
