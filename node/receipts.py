"""What outlives rows: sent scrolls with their receipts, in SQLite, for at least seven days.

Written behind, off the loop, the latest state of each scroll; `kept` waits until that is on disk, which is
what an acknowledgement to another node needs. A loss here is never a loss of a scroll: those are in rows.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperpi import strict_json
from hyperpi.contract import Json
from hyperpi.database import DiskThread, open_database, transaction
from hyperpi.write_behind import WriteBehind
from node.outbox import REMEMBERED_S, Key, Outgoing, Receipt

MIGRATIONS = (
    """
    CREATE TABLE sent (
        sender TEXT NOT NULL, scroll_id TEXT NOT NULL, accepted_at REAL NOT NULL, expires_at REAL NOT NULL,
        scroll TEXT NOT NULL, receipts TEXT NOT NULL,
        PRIMARY KEY (sender, scroll_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX sent_by_time ON sent (accepted_at)",
)
LOADED = 5_000  # the newest ones; older receipts stay on disk until they are pruned
PRUNE_S = 3600.0
FLUSH_S = 0.02  # receipts of one moment share a transaction


class ReceiptStore:
    """Sent scrolls by (sender, scroll_id)."""

    def __init__(self, db: sqlite3.Connection, thread: DiskThread) -> None:
        self._db = db
        self._thread = thread
        self._behind = WriteBehind("receipts", self._write, FLUSH_S)
        self._has_more = False  # than were loaded
        self._pruned_at = 0.0  # Unix seconds

    @classmethod
    def open(cls, path: Path, thread: DiskThread) -> "ReceiptStore":
        """Open or make the file. Raises StoreUnusable."""
        return cls(open_database(path, MIGRATIONS), thread)

    async def load(self) -> list[Outgoing]:
        """The newest that are remembered, oldest first."""
        loaded = await self._thread.call(self._load)
        self._has_more = len(loaded) == LOADED
        return loaded

    async def find(self, key: Key) -> Outgoing | None:
        """One that was too old to be loaded, if there is such a one."""
        return await self._thread.call(self._find, key) if self._has_more else None

    def keep(self, outgoing: Outgoing) -> None:
        """Remember its present state soon."""
        self._behind.keep(outgoing.key, outgoing)

    async def kept(self, outgoing: Outgoing) -> None:
        """Return when the state that `keep` was told of is on disk."""
        await self._behind.kept(outgoing.key)

    @staticmethod
    def is_old(outgoing: Outgoing, now: float) -> bool:
        """Whether it may be forgotten."""
        return now - max(outgoing.accepted_at, outgoing.expires_at) > REMEMBERED_S

    async def run(self) -> None:
        """Write behind until cancelled; the last states are written then."""
        await self._behind.run()

    async def _write(self, changed: Mapping[Key, Outgoing]) -> None:
        await self._thread.call(self._save, [_row(outgoing) for outgoing in changed.values()])

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    def _save(self, rows: Sequence[tuple[object, ...]]) -> None:
        now = time.time()
        with transaction(self._db) as db:
            db.executemany("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?)", rows)
            if now - self._pruned_at > PRUNE_S:
                db.execute(
                    "DELETE FROM sent WHERE accepted_at < ? AND expires_at < ?",
                    (now - REMEMBERED_S, now - REMEMBERED_S),
                )
                self._pruned_at = now

    def _find(self, key: Key) -> Outgoing | None:
        query = (
            "SELECT sender, accepted_at, expires_at, scroll, receipts FROM sent "
            "WHERE sender = ? AND scroll_id = ?"
        )
        row = self._db.execute(query, key).fetchone()
        return None if row is None else _outgoing(*row)

    def _load(self) -> list[Outgoing]:
        query = (
            "SELECT sender, accepted_at, expires_at, scroll, receipts FROM sent "
            "ORDER BY accepted_at DESC LIMIT ?"
        )
        return [_outgoing(*row) for row in reversed(self._db.execute(query, (LOADED,)).fetchall())]


def _row(outgoing: Outgoing) -> tuple[object, ...]:
    receipts = [[r.to, r.state, r.at, r.reason, r.opcode] for r in outgoing.receipts.values()]
    return (
        *outgoing.key,
        outgoing.accepted_at,
        outgoing.expires_at,
        strict_json.encode(outgoing.scroll).decode(),
        strict_json.encode(receipts).decode(),
    )


def _outgoing(sender: str, accepted_at: float, expires_at: float, scroll: str, receipts: str) -> Outgoing:
    decoded: Json = strict_json.decode(scroll, dict)
    found = [Receipt(*fields) for fields in strict_json.decode(receipts, list)]
    return Outgoing(sender, decoded, accepted_at, expires_at, {receipt.to: receipt for receipt in found})
