"""Prompts across restarts of the node, in SQLite, written behind.

A prompt that waits for its agent is here before anybody is told of it; the ids of those
that were handed over are kept as long as the contract promises, so that none runs twice.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperpi import strict_json
from hyperpi.address import AgentId
from hyperpi.contract import Json
from hyperpi.database import DiskThread, open_database, transaction
from hyperpi.write_behind import WriteBehind
from node.prompts import PromptKey, Sent

MIGRATIONS = (
    """
    CREATE TABLE prompts (
        agent TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
        params TEXT NOT NULL, receipt TEXT NOT NULL,
        PRIMARY KEY (agent, id)
    ) WITHOUT ROWID
    """,
)
FLUSH_S = 0.1  # receipts of one turn share a transaction


class PromptStore:
    """Prompts by agent and id."""

    def __init__(self, db: sqlite3.Connection, thread: DiskThread) -> None:
        self._db = db
        self._thread = thread
        self._behind: WriteBehind[PromptKey, Sent | None] = WriteBehind("prompts", self._write, FLUSH_S)

    @classmethod
    def open(cls, path: Path, thread: DiskThread) -> "PromptStore":
        """Open or make the file. Raises StoreUnusable."""
        return cls(open_database(path, MIGRATIONS), thread)

    def load(self) -> list[Sent]:
        """What is remembered, in the order in which it came."""
        rows = self._db.execute("SELECT agent, id, number, at, params, receipt FROM prompts ORDER BY number")
        return [
            Sent(AgentId(agent), prompt_id, strict_json.decode(params, Json), at, number, receipt)
            for agent, prompt_id, number, at, params, receipt in rows
        ]

    def keep(self, key: PromptKey, sent: Sent | None) -> None:
        """Remember the present state of a prompt soon; None: forget it."""
        self._behind.keep(key, sent)

    async def kept(self, key: PromptKey) -> None:
        """Return when the state that `keep` was told of is on disk."""
        await self._behind.kept(key)

    async def run(self) -> None:
        """Write behind until cancelled; the last states are written then."""
        await self._behind.run()

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    async def _write(self, changed: Mapping[PromptKey, Sent | None]) -> None:
        rows = [_row(sent) for sent in changed.values() if sent is not None]
        gone = [key for key, sent in changed.items() if sent is None]
        await self._thread.call(self._save, rows, gone)

    def _save(self, rows: Sequence[tuple[object, ...]], gone: Sequence[PromptKey]) -> None:
        with transaction(self._db) as db:
            db.executemany("INSERT OR REPLACE INTO prompts VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.executemany("DELETE FROM prompts WHERE agent = ? AND id = ?", gone)


def _row(sent: Sent) -> tuple[object, ...]:
    # Once it was asked, a node that ends here cannot know whether the agent has it.
    receipt = "unknown" if sent.asked and sent.receipt == "stored" else sent.receipt
    return *sent.key, sent.number, sent.at, strict_json.encode(sent.params).decode(), receipt
