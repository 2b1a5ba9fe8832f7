"""What can be read of an agent's conversation, whether it runs or not.

From the agent itself while it answers, from what was kept of it, or from what its ring still holds.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from hyperpi import strict_json
from hyperpi.address import AgentId
from hyperpi.errors import NodeUnreachable, UnknownMethod
from hyperpi.event import Cursor
from node.agent_record import AgentRecord
from node.agents import Agents
from node.transcript import beyond, broken_off, transcript

ASK_S = 10.0  # for what an agent answers from memory
SNAPSHOT_ENTRIES = 200
EVERYTHING = 1 << 40  # bytes: more than a ring may hold


class History(Protocol):
    """Where the conversation of an agent that has ended is read from."""

    async def entries(
        self, record: AgentRecord, before: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], bool] | None:
        """Entries oldest first and whether older ones exist; None when nothing was kept."""


class Snapshots:
    """Reads conversations; changes nothing."""

    def __init__(self, agents: Agents, kept: History) -> None:
        self._agents = agents
        self._kept = kept

    async def snapshot(self, agent: AgentId) -> tuple[Cursor, bytes]:
        """The whole conversation as of a place in its stream, encoded as the contract's snapshot."""
        record = self._agents.roster.get(agent)
        if self._agents.answers(agent):
            heard = record.stream_seen
            eventlog = self._agents.log_of(agent)

            def here() -> Cursor:
                return Cursor(eventlog.ring.epoch, eventlog.ring.head)

            try:
                raw, cursor = await self._agents.connection(agent).call_raw(
                    "snapshot", {"limit": SNAPSHOT_ENTRIES}, ASK_S, at_answer=here
                )
            except UnknownMethod:
                return self._stream_only(record)
            except NodeUnreachable:
                if not self._agents.is_connected(agent):
                    raise  # it may begin another conversation, and is back in a moment
                self._agents.left_open(agent, heard)
            else:
                return cursor, self._complete_snapshot(record, raw)
        return await self._without_it(record)

    async def _without_it(self, record: AgentRecord) -> tuple[Cursor, bytes]:
        """Of an agent that has ended, or cannot be asked now."""
        kept = await self._kept.entries(record, None, SNAPSHOT_ENTRIES)
        if kept is None:
            return self._stream_only(record)
        ring = self._agents.log_of(record.id).ring
        # What an agent out of reach was saying may go on: it is open, not interrupted.
        told = transcript(ring.since(ring.oldest, EVERYTHING), ended=not record.live)
        entries = kept[0] + beyond(kept[0], told["entries"])
        if record.interrupted:
            entries = broken_off(entries)
        body = strict_json.encode({"entries": entries, "more": kept[1], "running": told["running"]})
        return Cursor(ring.epoch, ring.head), self._complete_snapshot(record, msgspec.Raw(body))

    def _stream_only(self, record: AgentRecord) -> tuple[Cursor, bytes]:
        """For a program that keeps no conversation: what the ring still holds of it."""
        ring = self._agents.log_of(record.id).ring
        told = transcript(ring.since(ring.oldest, EVERYTHING), ended=not record.live)
        if record.interrupted:
            told["entries"] = broken_off(told["entries"])
        body = msgspec.Raw(strict_json.encode(told))
        return Cursor(ring.epoch, ring.head), self._complete_snapshot(record, body)

    def _complete_snapshot(self, record: AgentRecord, raw: msgspec.Raw) -> bytes:
        said: dict[str, msgspec.Raw] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        known: Mapping[str, Any] = {
            "entries": [],
            "more": False,
            "running": None,
            "tools": record.tools,
            "model": record.model,
            "thinking": record.thinking,
            "session": record.session,
            "usage": record.usage,
        }
        agents = self._agents
        ours = {
            "state": record.state,
            "pending": agents.pending(record.id),
            "decisions": agents.decisions(record.id),
            "queue": agents.queue(record.id),
        }
        return strict_json.encode({**known, **said, **ours})

    async def history(self, agent: AgentId, before: str, limit: int) -> bytes:
        """Entries older than `before`, encoded {entries, more}."""
        record = self._agents.roster.get(agent)
        if self._agents.answers(agent):
            heard = record.stream_seen
            connection = self._agents.connection(agent)
            try:
                raw, _ = await connection.call_raw("history", {"before": before, "limit": limit}, ASK_S)
            except UnknownMethod:
                return b'{"entries":[],"more":false}'
            except NodeUnreachable:
                if not self._agents.is_connected(agent):
                    raise
                self._agents.left_open(agent, heard)
            else:
                return bytes(raw)
        entries, more = await self._kept.entries(record, before, limit) or ([], False)
        return strict_json.encode({"entries": entries, "more": more})
