"""What can be read of an agent that has ended: pi's session file, or the transcript that was kept of it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from hyperpi.address import AgentId
from hyperpi.contract import Json
from node.agent_record import AgentRecord
from node.agents import Observer
from node.kinds.pi_session import SessionFiles
from node.transcript_file import page_of, read_transcript, transcript_path


class Histories(Observer):
    """See node.snapshots.History; and forgets what was kept of an agent with the agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sessions = SessionFiles()

    async def entries(
        self, record: AgentRecord, before: str | None, limit: int
    ) -> tuple[list[Json], bool] | None:
        """Entries oldest first and whether older ones exist; None when nothing was kept."""
        kept = await self._sessions.entries(record, before, limit)
        if kept is not None:
            return kept
        path = transcript_path(self._folder, record.id)
        return await asyncio.to_thread(_read_page, path, before, limit)

    def agent_gone(self, agent: AgentId) -> None:
        """See Observer."""
        transcript_path(self._folder, agent).unlink(missing_ok=True)


def _read_page(path: Path, before: str | None, limit: int) -> tuple[list[Json], bool] | None:
    try:
        _, entries = read_transcript(path)
    except OSError:
        return None
    page, more = page_of(entries, before, limit)
    found: list[Any] = [msgspec.json.decode(raw) for raw in page]
    return found, more
