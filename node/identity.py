"""Who this machine is in a mesh, as files in one private folder, and how often it has started.

    key.pem      the node's private key (0600); it never leaves the machine
    cert.pem     its certificate; replaced at renewal, for the same key
    ca.pem       the CA certificate of the mesh: all that this machine trusts
    mesh.json    mesh, node id and name, addresses; written last, so its presence means "joined"
    joining.pem  the key of a join that has not succeeded yet

A join that replaces another removes mesh.json first: after a crash the machine is in one mesh or in none.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from hyperpi import private_file, tls
from hyperpi.errors import BadMessage, Unusable
from hyperpi.strict_json import decode, encode

log = logging.getLogger(__name__)


class IdentityUnusable(Unusable):
    """The identity folder is damaged: a file is missing, or two do not belong together."""


@dataclass(frozen=True, slots=True)
class Membership:
    """This machine's place in a mesh."""

    identity: tls.Identity
    mesh_id: str
    mesh_name: str
    node_id: str
    node_name: str
    hypivisors: tuple[str, ...]  # HOST:PORT of the gRPC port, best first
    enrol: tuple[str, ...]  # HOST:PORT of the enrol port, best first

    @property
    def renew_at(self) -> float:
        """When to renew the certificate, Unix seconds."""
        return tls.renew_at(self.identity.certificate_pem)

    @property
    def expires_at(self) -> float:
        """When the certificate ends, Unix seconds."""
        return tls.expires_at(self.identity.certificate_pem)


@dataclass(frozen=True, slots=True)
class _MeshFile:
    version: int
    mesh_id: str
    mesh_name: str
    node_id: str
    node_name: str
    hypivisors: tuple[str, ...]
    enrol: tuple[str, ...]


def load(folder: Path) -> Membership | None:
    """The membership in a folder, None when this machine has joined no mesh. Raises IdentityUnusable."""
    try:
        raw = (folder / "mesh.json").read_bytes()
    except FileNotFoundError:
        return None
    try:
        mesh = decode(raw, _MeshFile)
        identity = tls.Identity(
            key_pem=(folder / "key.pem").read_bytes(),
            certificate_pem=(folder / "cert.pem").read_bytes(),
            ca_pem=(folder / "ca.pem").read_bytes(),
        )
        _check(identity, mesh.mesh_id, mesh.node_id)
    except (OSError, BadMessage, tls.BadCertificate) as exc:
        raise IdentityUnusable(
            f"the identity in {folder} cannot be used: {exc}",
            hint="join again with a new token; nothing else on this machine is affected",
        ) from None
    return Membership(
        identity=identity,
        mesh_id=mesh.mesh_id,
        mesh_name=mesh.mesh_name,
        node_id=mesh.node_id,
        node_name=mesh.node_name,
        hypivisors=mesh.hypivisors,
        enrol=mesh.enrol,
    )


def save(folder: Path, membership: Membership) -> None:
    """Make this the machine's membership, durably. Raises IdentityUnusable for what does not fit, OSError."""
    try:
        _check(membership.identity, membership.mesh_id, membership.node_id)
    except tls.BadCertificate as exc:
        raise IdentityUnusable(f"the new certificate cannot be used: {exc}") from None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = membership.identity
    if _read(folder / "key.pem") != identity.key_pem or _read(folder / "ca.pem") != identity.ca_pem:
        forget(folder)
        private_file.write_private(folder / "key.pem", identity.key_pem)
        private_file.write_private(folder / "ca.pem", identity.ca_pem)
    private_file.write_private(folder / "cert.pem", identity.certificate_pem)
    fields = {name: getattr(membership, name) for name in _MeshFile.__slots__ if name != "version"}
    private_file.write_private(folder / "mesh.json", encode(_MeshFile(version=1, **fields)))
    (folder / "joining.pem").unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """Leave the mesh. The key stays: joining the same mesh again makes this the same node again."""
    if folder.exists():
        (folder / "mesh.json").unlink(missing_ok=True)
        private_file.sync_folder(folder)


def joining_key(folder: Path, ca_fingerprint: bytes) -> bytes:
    """The key (PEM) to join a mesh with, durable before it is used.

    The key that this machine had in the same mesh, so that it stays the same node; else the one of a join
    that did not succeed, so that a lost answer can be asked for again; else a new one.
    """
    key, ca = _read(folder / "key.pem"), _read(folder / "ca.pem")
    try:
        if key and ca and tls.fingerprint(ca) == ca_fingerprint and tls.public_key(key):
            return key
    except tls.BadCertificate:
        log.warning("an unusable key or CA certificate is replaced folder=%s", folder)
    pending = _read(folder / "joining.pem")
    try:
        if pending and tls.public_key(pending):
            return pending
    except tls.BadCertificate:
        pass
    return new_joining_key(folder)


def new_joining_key(folder: Path) -> bytes:
    """A new key (PEM) to join with, for instance because the old one was revoked."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = tls.new_key()
    private_file.write_private(folder / "joining.pem", key)
    return key


def next_boot(node_folder: Path) -> int:
    """Count this start, durably, and return the count: it fences every older process with this identity.

    An unreadable counter is replaced by the time in seconds, which no honest counter has reached.
    """
    path = node_folder / "boot"
    raw = _read(path)
    if raw is None:
        boot = 1
    elif raw.strip().isdigit() and len(raw) <= 20:
        boot = int(raw) + 1
    else:
        boot = int(time.time())
        log.error("the boot counter was unreadable and starts anew path=%s boot=%d", path, boot)
    node_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    private_file.write_private(path, str(boot).encode())
    return boot


def _check(identity: tls.Identity, mesh_id: str, node_id: str) -> None:
    """Raise BadCertificate unless key, certificate, CA and ids belong together."""
    tls.check_node_certificate(identity, tls.node_uri(mesh_id, node_id))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
