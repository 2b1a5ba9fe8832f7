"""What the store keeps, as values, and the schema of its file.

Times are Unix seconds (float): they must mean the same after a restart. Secrets are there as SHA-256 only:
they have at least 128 random bits, so a slow hash would add nothing.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mesh:
    """This mesh: `id` is that of its CA, `name` is for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as stored: of a machine that may join (role node), or of a person or program."""

    id: str
    role: str
    name: str | None  # node: the only name it may join as; else: whose token this is
    secret_hash: bytes = field(repr=False)
    created_at: float
    expires_at: float
    uses_left: int | None  # None: any number until it expires
    used_at: float | None = None  # last time
    used_by_key: bytes | None = None  # role node: the public key that it let in
    revoked_at: float | None = None
    used_from: str | None = None  # address of the last use; None also for the control socket


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate that was just issued; times in Unix seconds."""

    pem: bytes
    issued_at: float
    renews_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A machine of this mesh. `public_key` (SubjectPublicKeyInfo DER) is what it is pinned by."""

    id: str
    name: str
    public_key: bytes
    first_seen: float
    boot: int = 0  # highest fencing counter seen; a lower one is a stale copy
    last_seen: float | None = None
    certificate_expires_at: float | None = None
    revoked_at: float | None = None
    left_at: float | None = None
    certificate_issued_at: float | None = None  # these two: None until the first one that this program issued
    certificate_renews_at: float | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser's session. The cookie's value is stored hashed; `id` is for lists and revoking."""

    id: str
    secret_hash: bytes = field(repr=False)
    name: str
    role: str
    origin: str
    address: str
    created_at: float
    used_at: float
    token_id: str | None = None  # the token it was opened with: revoking that one ends this too


@dataclass(frozen=True, slots=True)
class CodeRow:
    """A one-use login code, stored hashed."""

    secret_hash: bytes = field(repr=False)
    name: str
    role: str
    expires_at: float


_SCHEMA_1 = """
CREATE TABLE mesh (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT, secret_hash BLOB NOT NULL,
    created_at REAL NOT NULL, expires_at REAL NOT NULL, uses_left INTEGER CHECK (uses_left >= 0),
    used_at REAL, used_by_key BLOB, revoked_at REAL
);
CREATE TABLE nodes (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, public_key BLOB NOT NULL UNIQUE, first_seen REAL NOT NULL,
    boot INTEGER NOT NULL, last_seen REAL, certificate_expires_at REAL, revoked_at REAL, left_at REAL
);
CREATE UNIQUE INDEX nodes_name ON nodes (name) WHERE revoked_at IS NULL;
CREATE TABLE rosters (
    node_id TEXT PRIMARY KEY REFERENCES nodes (id), boot INTEGER NOT NULL, at REAL NOT NULL,
    roster BLOB NOT NULL
);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, secret_hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL,
    origin TEXT NOT NULL, address TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL,
    token_id TEXT
);
CREATE TABLE login_codes (
    secret_hash BLOB PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, expires_at REAL NOT NULL
);
CREATE TABLE failed_attempts (scope TEXT NOT NULL, address TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX failed_attempts_at ON failed_attempts (scope, at);
"""

_SCHEMA_2 = """
ALTER TABLE tokens ADD COLUMN used_from TEXT;
ALTER TABLE nodes ADD COLUMN certificate_issued_at REAL;
ALTER TABLE nodes ADD COLUMN certificate_renews_at REAL;
"""

# Entry i brings a file from version i to i + 1. Entries are never edited once released, only added.
MIGRATIONS: tuple[str, ...] = (_SCHEMA_1, _SCHEMA_2)

COLUMNS = {
    "tokens": "id, role, name, secret_hash, created_at, expires_at, uses_left, used_at, used_by_key, "
    "revoked_at, used_from",
    "nodes": "id, name, public_key, first_seen, boot, last_seen, certificate_expires_at, revoked_at, "
    "left_at, certificate_issued_at, certificate_renews_at",
    "sessions": "id, secret_hash, name, role, origin, address, created_at, used_at, token_id",
}
