# ruff: noqa: S608  only the constants of _COLUMNS are formatted into SQL
"""What the hypivisor must still know after a restart: trust, and each node's last roster.

One SQLite file (WAL, synchronous=FULL). Methods block and belong to one thread: callers on an event loop go
through `database.DiskThread`. Each public method is one transaction; `use_token_for_node` is the one that
matters. The store keeps facts; whether a token may be used is decided in `hypivisor.tokens`, by a function
passed in.

Times are Unix seconds (float): they must mean the same after a restart. Secrets are stored as SHA-256 only:
they have at least 128 random bits, so a slow hash would add nothing.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperpi.address import unique_name
from hyperpi.database import StoreUnusable, open_database, transaction
from hyperpi.errors import Conflict, NotFound, Overloaded

MAX_ROSTER_BYTES = 4 * 1024 * 1024  # 200 exited agents and as many live ones need about 400 KiB

MAX_WAITING = 1000  # calls: at 100 a second for a disk that syncs, ten seconds of work


class KeyRevoked(Conflict):
    """This key was revoked: the machine must make a new one to join again."""

    def __init__(self) -> None:
        super().__init__("this machine's key was revoked", hint="join again with a new key")


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

# Entry i brings a file from version i to i + 1. Entries are never edited once released, only added.
MIGRATIONS: tuple[str, ...] = (_SCHEMA_1,)

_COLUMNS = {
    "tokens": "id, role, name, secret_hash, created_at, expires_at, uses_left, used_at, used_by_key, "
    "revoked_at",
    "nodes": "id, name, public_key, first_seen, boot, last_seen, certificate_expires_at, revoked_at, left_at",
    "sessions": "id, secret_hash, name, role, origin, address, created_at, used_at, token_id",
}


class Store:
    """The hypivisor's store. Not for concurrent use, except `is_revoked`, which any thread may call."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._trusted: frozenset[str] = frozenset()
        self._read_trusted()

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open or make the file (0600). Raises StoreUnusable, OSError."""
        return cls(open_database(path, MIGRATIONS))

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    # --- the mesh -----------------------------------------------------------------------------------------

    def ensure_mesh(self, mesh_id: str, name: str) -> Mesh:
        """Record which mesh this is, at the first start; later the stored name wins.

        Raises StoreUnusable when the store is of another mesh than the CA.
        """
        with self._transaction() as db:
            row = db.execute("SELECT id, name FROM mesh").fetchone()
            if row is None:
                db.execute("INSERT INTO mesh VALUES (1, ?, ?)", (mesh_id, name))
                return Mesh(mesh_id, name)
            if row[0] != mesh_id:
                raise StoreUnusable(
                    "the store is of another mesh than the CA", hint="restore both from the same backup"
                )
            return Mesh(*row)

    def rename_mesh(self, name: str) -> None:
        """Change the name that people see."""
        with self._transaction() as db:
            db.execute("UPDATE mesh SET name = ?", (name,))

    # --- tokens -------------------------------------------------------------------------------------------

    def add_token(self, token: TokenRow) -> None:
        """Record a new token. Raises Conflict when the id exists."""
        with self._transaction() as db:
            try:
                _insert(db, "tokens", token)
            except sqlite3.IntegrityError:
                raise Conflict("a token with this id exists") from None

    def token(self, token_id: str) -> TokenRow | None:
        """One token, also a used, expired or revoked one."""
        return self._token(token_id)

    def tokens(self) -> list[TokenRow]:
        """All tokens that are still remembered, oldest first."""
        rows = self._read(f"SELECT {_COLUMNS['tokens']} FROM tokens ORDER BY created_at, rowid")
        return [TokenRow(*row) for row in rows]

    def revoke_token(self, token_id: str, now: float) -> list[str]:
        """Make a token useless and end the sessions opened with it; their ids. Raises NotFound."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (now, token_id)
            )
            if done.rowcount == 0:
                raise NotFound("no such token", hint="`hyperpi token ls` lists them")
            ended = db.execute("DELETE FROM sessions WHERE token_id = ? RETURNING id", (token_id,)).fetchall()
            return [row[0] for row in ended]

    def use_token(self, token_id: str, allow: Callable[[TokenRow | None], TokenRow], now: float) -> TokenRow:
        """Check and use a token in one transaction; the row as it was before.

        `allow` looks at the row and returns it, or raises, and then nothing changes. A token for any number
        of uses is not written to: its last use is not worth an fsync per request.
        """
        with self._transaction() as db:
            token = allow(self._token(token_id))
            if token.uses_left is not None:
                self._take_use(db, token, now, None)
            return token

    def use_token_for_node(
        self,
        token_id: str,
        allow: Callable[[TokenRow | None], TokenRow],
        public_key: bytes,
        certify: Callable[[str, str], tuple[bytes, float]],
        *,
        new_id: str,
        name: str,
        now: float,
    ) -> tuple[NodeRow, bytes]:
        """Use a join token, record the node and issue its certificate: all of it or nothing.

        `certify(node id, its name)` returns the certificate and when it ends. A key that is already a node
        of this mesh stays that node, with its id and name. Raises what `allow` and `certify` raise, and
        KeyRevoked for a key that was revoked.
        """
        with self._transaction(trust_changes=True) as db:
            token = allow(self._token(token_id))
            if token.used_by_key != public_key:  # else the first answer was lost: the same node again
                self._take_use(db, token, now, public_key)
            node = self._admit(db, public_key, new_id, token.name or name, now)
            certificate, ends = certify(node.id, node.name)
            return self._certified(db, node, ends), certificate

    def _take_use(
        self, db: sqlite3.Connection, token: TokenRow, now: float, public_key: bytes | None
    ) -> None:
        if token.uses_left == 0:
            raise Conflict("the token has been used")  # `allow` said so already, in better words
        db.execute(
            "UPDATE tokens SET uses_left = uses_left - 1, used_at = ?, used_by_key = ? WHERE id = ?",
            (now, public_key, token.id),
        )

    def forget_tokens(self, before: float) -> int:
        """Remove tokens that ended before a time, in uses, time or by revoking; how many."""
        with self._transaction() as db:
            return db.execute(
                "DELETE FROM tokens WHERE coalesce(revoked_at, expires_at) < ?", (before,)
            ).rowcount

    # --- nodes --------------------------------------------------------------------------------------------

    def add_node(
        self,
        public_key: bytes,
        certify: Callable[[str, str], tuple[bytes, float]],
        *,
        new_id: str,
        name: str,
        now: float,
    ) -> tuple[NodeRow, bytes]:
        """Record a node that an admin approved and issue its certificate, in one transaction."""
        with self._transaction(trust_changes=True) as db:
            node = self._admit(db, public_key, new_id, name, now)
            certificate, ends = certify(node.id, node.name)
            return self._certified(db, node, ends), certificate

    def check_key(self, public_key: bytes) -> None:
        """Raise KeyRevoked for the key of a revoked node."""
        if self._read("SELECT 1 FROM nodes WHERE public_key = ? AND revoked_at IS NOT NULL", public_key):
            raise KeyRevoked()

    def renew_node(
        self, node_id: str, public_key: bytes, certify: Callable[[str, str], tuple[bytes, float]]
    ) -> tuple[NodeRow, bytes]:
        """Issue a new certificate for a pinned key. Raises NotFound, KeyRevoked."""
        with self._transaction() as db:
            node = self._node(node_id)
            if node is None or node.public_key != public_key:
                raise NotFound("no node with this id and key", hint="join the mesh again")
            if node.revoked_at is not None:
                raise KeyRevoked()
            certificate, ends = certify(node.id, node.name)
            return self._certified(db, node, ends), certificate

    def node(self, node_id: str) -> NodeRow | None:
        """One node, also a revoked one."""
        return self._node(node_id)

    def nodes(self) -> list[NodeRow]:
        """All nodes, revoked ones too, in the order in which they joined."""
        rows = self._read(f"SELECT {_COLUMNS['nodes']} FROM nodes ORDER BY first_seen, rowid")
        return [NodeRow(*row) for row in rows]

    def node_seen(self, node_id: str, boot: int, now: float) -> int:
        """Record that a node with this boot counter is here; the highest counter ever seen.

        An answer above `boot` means that the caller is a stale copy. Raises NotFound.
        """
        with self._transaction() as db:
            row = db.execute(
                "UPDATE nodes SET boot = max(boot, ?), last_seen = ?, left_at = NULL WHERE id = ? "
                "RETURNING boot",
                (boot, now, node_id),
            ).fetchone()
            if row is None:
                raise NotFound("no such node")
            return int(row[0])

    def node_left(self, node_id: str, now: float) -> None:
        """Record that a node left the mesh by itself; it may come back with its certificate."""
        with self._transaction() as db:
            db.execute("UPDATE nodes SET left_at = ?, last_seen = ? WHERE id = ?", (now, now, node_id))

    def revoke_node(self, node_id: str, now: float) -> NodeRow:
        """Take a node's trust away for good; its row. From here on `is_revoked` says so. Raises NotFound."""
        with self._transaction(trust_changes=True) as db:
            done = db.execute(
                "UPDATE nodes SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (now, node_id)
            )
            if done.rowcount == 0:
                raise NotFound("no such node", hint="`hyperpi node ls` lists them")
            node = self._node(node_id)
        assert node is not None
        return node

    def is_revoked(self, node_id: str) -> bool:
        """Whether a node must be refused: revoked, or not in the store at all. No I/O; any thread."""
        return node_id not in self._trusted

    def _admit(
        self, db: sqlite3.Connection, public_key: bytes, new_id: str, name: str, now: float
    ) -> NodeRow:
        row = db.execute(
            f"SELECT {_COLUMNS['nodes']} FROM nodes WHERE public_key = ?", (public_key,)
        ).fetchone()
        if row is not None:
            known = NodeRow(*row)
            if known.revoked_at is not None:
                raise KeyRevoked()
            return known
        free = unique_name(name, self._taken_names(db, new_id))
        node = NodeRow(id=new_id, name=free, public_key=public_key, first_seen=now)
        _insert(db, "nodes", node)
        return node

    def _taken_names(self, db: sqlite3.Connection, but: str) -> set[str]:
        rows = db.execute("SELECT name FROM nodes WHERE revoked_at IS NULL AND id != ?", (but,))
        return {row[0] for row in rows}

    def _certified(self, db: sqlite3.Connection, node: NodeRow, ends: float) -> NodeRow:
        db.execute("UPDATE nodes SET certificate_expires_at = ? WHERE id = ?", (ends, node.id))
        certified = self._node(node.id)
        assert certified is not None
        return certified

    # --- rosters ------------------------------------------------------------------------------------------

    def save_roster(self, node_id: str, boot: int, roster: bytes, now: float) -> None:
        """Remember a node's agents (JSON) so that an absent machine is listed after a restart.

        A roster of an older boot never replaces a newer one. Raises Overloaded above MAX_ROSTER_BYTES.
        """
        if len(roster) > MAX_ROSTER_BYTES:
            raise Overloaded(f"a roster of {len(roster)} bytes is more than {MAX_ROSTER_BYTES}")
        with self._transaction() as db:
            db.execute(
                "INSERT INTO rosters VALUES (?, ?, ?, ?) ON CONFLICT (node_id) DO UPDATE SET "
                "boot = excluded.boot, at = excluded.at, roster = excluded.roster "
                "WHERE excluded.boot >= boot",
                (node_id, boot, now, roster),
            )

    def rosters(self) -> Mapping[str, bytes]:
        """The last roster of each node that is not revoked, by node id."""
        rows = self._read(
            "SELECT node_id, roster FROM rosters JOIN nodes ON nodes.id = node_id WHERE revoked_at IS NULL"
        )
        return dict(rows)

    # --- browser sessions and login codes -----------------------------------------------------------------

    def add_session(self, session: SessionRow) -> None:
        """Record a new session."""
        with self._transaction() as db:
            _insert(db, "sessions", session)

    def session(self, secret_hash: bytes) -> SessionRow | None:
        """The session whose cookie has this hash."""
        rows = self._read(f"SELECT {_COLUMNS['sessions']} FROM sessions WHERE secret_hash = ?", secret_hash)
        return SessionRow(*rows[0]) if rows else None

    def sessions(self) -> list[SessionRow]:
        """All sessions, oldest first, those that ran out but were not yet removed too."""
        rows = self._read(f"SELECT {_COLUMNS['sessions']} FROM sessions ORDER BY created_at, rowid")
        return [SessionRow(*row) for row in rows]

    def touch_session(self, session_id: str, now: float) -> None:
        """Record that a session was used."""
        with self._transaction() as db:
            db.execute("UPDATE sessions SET used_at = max(used_at, ?) WHERE id = ?", (now, session_id))

    def remove_session(self, session_id: str) -> bool:
        """End a session; whether there was one."""
        with self._transaction() as db:
            return db.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount > 0

    def remove_sessions(self, *, used_before: float, created_before: float) -> list[str]:
        """End the sessions that ran out; their ids."""
        with self._transaction() as db:
            rows = db.execute(
                "DELETE FROM sessions WHERE used_at <= ? OR created_at <= ? RETURNING id",
                (used_before, created_before),
            ).fetchall()
            return [row[0] for row in rows]

    def add_code(self, code: CodeRow) -> None:
        """Record a login code."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO login_codes VALUES (?, ?, ?, ?)",
                (code.secret_hash, code.name, code.role, code.expires_at),
            )

    def take_code(self, secret_hash: bytes) -> CodeRow | None:
        """Remove and return a login code: of any number of callers, one gets it."""
        with self._transaction() as db:
            row = db.execute(
                "DELETE FROM login_codes WHERE secret_hash = ? RETURNING secret_hash, name, role, expires_at",
                (secret_hash,),
            ).fetchone()
            return CodeRow(*row) if row else None

    def remove_codes(self, expired_before: float) -> None:
        """Forget login codes that ran out."""
        with self._transaction() as db:
            db.execute("DELETE FROM login_codes WHERE expires_at <= ?", (expired_before,))

    # --- failed attempts ----------------------------------------------------------------------------------

    def add_failure(self, scope: str, address: str, now: float, forget_before: float) -> None:
        """Remember a failed attempt, and forget those before a time."""
        with self._transaction() as db:
            db.execute("DELETE FROM failed_attempts WHERE at < ?", (forget_before,))
            db.execute("INSERT INTO failed_attempts VALUES (?, ?, ?)", (scope, address, now))

    def failures(self, scope: str, since: float) -> list[tuple[str, float]]:
        """(address, time) of the failed attempts since a time, oldest first."""
        return self._read(
            "SELECT address, at FROM failed_attempts WHERE scope = ? AND at >= ? ORDER BY at", scope, since
        )

    # --- inside -------------------------------------------------------------------------------------------

    def _token(self, token_id: str) -> TokenRow | None:
        rows = self._read(f"SELECT {_COLUMNS['tokens']} FROM tokens WHERE id = ?", token_id)
        return TokenRow(*rows[0]) if rows else None

    def _node(self, node_id: str) -> NodeRow | None:
        rows = self._read(f"SELECT {_COLUMNS['nodes']} FROM nodes WHERE id = ?", node_id)
        return NodeRow(*rows[0]) if rows else None

    def _read(self, query: str, *values: object) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    def _read_trusted(self) -> None:
        rows = self._db.execute("SELECT id FROM nodes WHERE revoked_at IS NULL").fetchall()
        self._trusted = frozenset(row[0] for row in rows)

    @contextmanager
    def _transaction(self, *, trust_changes: bool = False) -> Iterator[sqlite3.Connection]:
        with transaction(self._db) as db:
            yield db
        if trust_changes:
            self._read_trusted()


def _insert(db: sqlite3.Connection, table: str, row: object) -> None:
    columns = _COLUMNS[table]
    values = tuple(getattr(row, column) for column in columns.split(", "))
    db.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", values)
