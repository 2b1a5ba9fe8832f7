"""Approvals across restarts of the node, in SQLite, written behind: open ones, and how others were decided.

Whoever asked asks again after it was cut off, and must get the same answer; an answer is here before anybody
is told of it.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperpi import strict_json
from hyperpi.database import DiskThread, open_database, transaction
from hyperpi.errors import BadMessage
from hyperpi.write_behind import WriteBehind
from node.approvals import Asked

MIGRATIONS = (
    """
    CREATE TABLE approvals (
        id TEXT PRIMARY KEY, asked_at REAL NOT NULL, record TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)
FLUSH_S = 0.1  # what nobody waits for


class ApprovalStore:
    """Approvals by id."""

    def __init__(self, db: sqlite3.Connection, thread: DiskThread) -> None:
        self._db = db
        self._thread = thread
        self._behind: WriteBehind[str, str | None] = WriteBehind("approvals", self._write, FLUSH_S)

    @classmethod
    def open(cls, path: Path, thread: DiskThread) -> "ApprovalStore":
        """Open or make the file. Raises StoreUnusable."""
        return cls(open_database(path, MIGRATIONS), thread)

    def load(self) -> list[Asked]:
        """What is remembered, oldest first."""
        found = []
        for (raw,) in self._db.execute("SELECT record FROM approvals ORDER BY asked_at"):
            try:
                found.append(strict_json.decode(raw, Asked))
            except BadMessage:
                continue  # of another version; whoever asked asks again
        return found

    def keep(self, asked: Asked) -> None:
        """Remember it as it is now, soon."""
        self._behind.keep(asked.id, strict_json.encode(asked).decode())

    def forget(self, approval: str) -> None:
        """Remember it no more."""
        self._behind.keep(approval, None)

    async def kept(self, approval: str) -> None:
        """Return when what `keep` was told of is on disk."""
        await self._behind.kept(approval)

    async def run(self) -> None:
        """Write behind until cancelled; the last states are written then."""
        await self._behind.run()

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    async def _write(self, changed: Mapping[str, str | None]) -> None:
        kept = [(approval, raw) for approval, raw in changed.items() if raw is not None]
        await self._thread.call(self._save, kept, [one for one, raw in changed.items() if raw is None])

    def _save(self, rows: Sequence[tuple[str, str]], gone: Sequence[str]) -> None:
        with transaction(self._db) as db:
            db.executemany(
                "INSERT OR REPLACE INTO approvals VALUES (?1, json_extract(?2, '$.asked_at'), ?2)", rows
            )
            db.executemany("DELETE FROM approvals WHERE id = ?", [(approval,) for approval in gone])
