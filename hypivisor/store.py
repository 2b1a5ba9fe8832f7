# ruff: noqa: S608  only the constants of COLUMNS are formatted into SQL
"""What the hypivisor must still know after a restart: trust, and each node's last roster.

One SQLite file (WAL, synchronous=FULL). Methods block and belong to one thread: callers on an event loop go
through `database.DiskThread`. Each public method is one transaction; `use_token_for_node` is the one that
matters. The store keeps facts; whether a token may be used is decided in `hypivisor.tokens`, by a function
passed in. What is kept: `hypivisor.rows`.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hyperpi.address import unique_name
from hyperpi.database import StoreUnusable, StoreUnwritable, open_database, transaction
from hyperpi.errors import Conflict, NotFound, Overloaded
from hypivisor.rows import COLUMNS, MIGRATIONS, Certified, CodeRow, Mesh, NodeRow, SessionRow, TokenRow

MAX_ROSTER_BYTES = 4 * 1024 * 1024  # 200 exited agents and as many live ones need about 400 KiB


class KeyRevoked(Conflict):
    """This key was revoked: the machine must make a new one to join again."""

    def __init__(self) -> None:
        super().__init__("this machine's key was revoked", hint="join again with a new key")


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
        rows = self._read(f"SELECT {COLUMNS['tokens']} FROM tokens ORDER BY created_at, rowid")
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

    def use_token(
        self,
        token_id: str,
        allow: Callable[[TokenRow | None], TokenRow],
        now: float,
        *,
        address: str | None,
        exact_s: float,
    ) -> TokenRow:
        """Check and use a token in one transaction; the row as it was before.

        `allow` looks at the row and returns it, or raises, and then nothing changes. Of a token for any
        number of uses the last one is known to `exact_s`: it is not worth an fsync per request.
        """
        token = allow(self._token(token_id))
        if token.uses_left is None:
            self.touch_token(token, now, address=address, exact_s=exact_s)
            return token
        with self._transaction() as db:
            token = allow(self._token(token_id))
            self._take_use(db, token, now, address, None)
            return token

    def touch_token(self, token: TokenRow, now: float, *, address: str | None, exact_s: float) -> None:
        """Record that a token is in use, unless that was recorded less than `exact_s` ago."""
        if token.used_at is not None and now - token.used_at < exact_s:
            return
        # A full disk must not lock out who could make room.
        with suppress(StoreUnwritable), self._transaction() as db:
            db.execute(
                "UPDATE tokens SET used_at = ?, used_from = coalesce(?, used_from) WHERE id = ?",
                (now, address, token.id),
            )

    def use_token_for_node(
        self,
        token_id: str,
        allow: Callable[[TokenRow | None], TokenRow],
        public_key: bytes,
        certify: Callable[[str, str], Certified],
        *,
        new_id: str,
        name: str,
        now: float,
        address: str,
    ) -> tuple[NodeRow, bytes]:
        """Use a join token, record the node and issue its certificate: all of it or nothing.

        `certify(node id, its name)` returns the certificate. A key that is already a node
        of this mesh stays that node, with its id and name. Raises what `allow` and `certify` raise, and
        KeyRevoked for a key that was revoked.
        """
        with self._transaction(trust_changes=True) as db:
            token = allow(self._token(token_id))
            if token.used_by_key != public_key:  # else the first answer was lost: the same node again
                self._take_use(db, token, now, address, public_key)
            node = self._admit(db, public_key, new_id, token.name or name, now)
            certified = certify(node.id, node.name)
            return self._certified(db, node, certified), certified.pem

    def _take_use(
        self,
        db: sqlite3.Connection,
        token: TokenRow,
        now: float,
        address: str | None,
        public_key: bytes | None,
    ) -> None:
        if token.uses_left == 0:
            raise Conflict("the token has been used")  # `allow` said so already, in better words
        db.execute(
            "UPDATE tokens SET uses_left = uses_left - 1, used_at = ?, used_from = ?, used_by_key = ? "
            "WHERE id = ?",
            (now, address, public_key, token.id),
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
        certify: Callable[[str, str], Certified],
        *,
        new_id: str,
        name: str,
        now: float,
    ) -> tuple[NodeRow, bytes]:
        """Record a node that an admin approved and issue its certificate, in one transaction."""
        with self._transaction(trust_changes=True) as db:
            node = self._admit(db, public_key, new_id, name, now)
            certified = certify(node.id, node.name)
            return self._certified(db, node, certified), certified.pem

    def check_key(self, public_key: bytes) -> None:
        """Raise KeyRevoked for the key of a revoked node."""
        if self._read("SELECT 1 FROM nodes WHERE public_key = ? AND revoked_at IS NOT NULL", public_key):
            raise KeyRevoked()

    def renew_node(
        self, node_id: str, public_key: bytes, certify: Callable[[str, str], Certified]
    ) -> tuple[NodeRow, bytes]:
        """Issue a new certificate for a pinned key. Raises NotFound, KeyRevoked."""
        with self._transaction() as db:
            node = self._node(node_id)
            if node is None or node.public_key != public_key:
                raise NotFound("no node with this id and key", hint="join the mesh again")
            if node.revoked_at is not None:
                raise KeyRevoked()
            certified = certify(node.id, node.name)
            return self._certified(db, node, certified), certified.pem

    def node(self, node_id: str) -> NodeRow | None:
        """One node, also a revoked one."""
        return self._node(node_id)

    def nodes(self) -> list[NodeRow]:
        """All nodes, revoked ones too, in the order in which they joined."""
        rows = self._read(f"SELECT {COLUMNS['nodes']} FROM nodes ORDER BY first_seen, rowid")
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
            f"SELECT {COLUMNS['nodes']} FROM nodes WHERE public_key = ?", (public_key,)
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

    def _certified(self, db: sqlite3.Connection, node: NodeRow, certified: Certified) -> NodeRow:
        db.execute(
            "UPDATE nodes SET certificate_issued_at = ?, certificate_renews_at = ?, "
            "certificate_expires_at = ? WHERE id = ?",
            (certified.issued_at, certified.renews_at, certified.expires_at, node.id),
        )
        row = self._node(node.id)
        assert row is not None
        return row

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
        rows = self._read(f"SELECT {COLUMNS['sessions']} FROM sessions WHERE secret_hash = ?", secret_hash)
        return SessionRow(*rows[0]) if rows else None

    def sessions(self) -> list[SessionRow]:
        """All sessions, oldest first, those that ran out but were not yet removed too."""
        rows = self._read(f"SELECT {COLUMNS['sessions']} FROM sessions ORDER BY created_at, rowid")
        return [SessionRow(*row) for row in rows]

    def touch_session(self, session_id: str, now: float) -> None:
        """Record that a session was used."""
        with suppress(StoreUnwritable), self._transaction() as db:  # as for tokens
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
        rows = self._read(f"SELECT {COLUMNS['tokens']} FROM tokens WHERE id = ?", token_id)
        return TokenRow(*rows[0]) if rows else None

    def _node(self, node_id: str) -> NodeRow | None:
        rows = self._read(f"SELECT {COLUMNS['nodes']} FROM nodes WHERE id = ?", node_id)
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
    columns = COLUMNS[table]
    values = tuple(getattr(row, column) for column in columns.split(", "))
    db.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", values)
