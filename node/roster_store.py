"""The roster across restarts: which agents were here, in SQLite, written behind.

An agent's id comes from its instance and needs no store; what would be lost without one are ended agents,
names that were given, and spawn requests that were answered.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperpi import strict_json
from hyperpi.address import AgentId
from hyperpi.database import DiskThread, open_database, transaction
from hyperpi.errors import BadMessage
from hyperpi.write_behind import WriteBehind
from node.agent_record import AgentRecord
from node.agents import Observer
from node.roster import Roster

MIGRATIONS = ("CREATE TABLE agents (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",)
FLUSH_S = 0.5  # a busy agent changes many times a second; its latest state is enough


class RosterStore(Observer):
    """Agents by id. Also an observer of the agents."""

    def __init__(self, db: sqlite3.Connection, thread: DiskThread) -> None:
        self._db = db
        self._thread = thread
        self._behind: WriteBehind[AgentId, None] = WriteBehind("the roster", self._write, FLUSH_S)
        self._roster: Roster | None = None

    @classmethod
    def open(cls, path: Path, thread: DiskThread) -> "RosterStore":
        """Open or make the file. Raises StoreUnusable."""
        return cls(open_database(path, MIGRATIONS), thread)

    def load(self) -> Roster:
        """The roster as it was; live agents are `unreachable` until they or their keepers dial."""
        records = []
        for (raw,) in self._db.execute("SELECT record FROM agents"):
            try:
                record = strict_json.decode(raw, AgentRecord)
            except BadMessage:
                continue  # of another version; the agent itself will say who it is
            if record.live and record.state != "unreachable":
                record.state_before, record.state = record.state, "unreachable"
                record.unheard = True
                record.detail = "the node was restarted and has not heard of it yet"
            records.append(record)
        self._roster = Roster(records)
        return self._roster

    async def saved(self, agent: AgentId) -> None:
        """Write one agent now and return when it is on disk."""
        self._behind.keep(agent, None)
        await self._behind.kept(agent)

    async def run(self) -> None:
        """Write behind until cancelled; the last states are written then."""
        await self._behind.run()

    async def _write(self, changed: Mapping[AgentId, None]) -> None:
        """Agents as they are now, and the removal of those that are no more."""
        assert self._roster is not None
        kept = {r.id: strict_json.encode(r).decode() for r in self._roster if r.id in changed}
        await self._thread.call(self._save, list(kept.items()), [a for a in changed if a not in kept])

    def _save(self, rows: Sequence[tuple[str, str]], gone: Sequence[str]) -> None:
        with transaction(self._db) as db:
            db.executemany("INSERT OR REPLACE INTO agents VALUES (?, ?)", rows)
            db.executemany("DELETE FROM agents WHERE id = ?", [(agent,) for agent in gone])

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._behind.keep(agent, None)

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self.agent_changed(agent)
