"""Whether ended agents have left a conversation: only one that was found is offered to be gone on with.

A pi writes its session file with the first answer that it got; one that is killed before that leaves none.
"""

import asyncio
import logging
from collections.abc import Callable

from hyperpi.address import AgentId
from node.agent_record import AgentRecord, may_be_resumed, past_of
from node.agents import Agents, Observer
from node.kinds import Past, kind_named
from node.kinds.kind import unknown

log = logging.getLogger(__name__)

LOOK_S = 5.0  # a disk that is slow to wake; a network's that is away may keep a look for ever


class Leavings(Observer):
    """Looks once after each end, and at the start of the node."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._ends: dict[AgentId, object] = {}  # that were seen, each with a token of its own
        self._to_look_at: asyncio.Queue[tuple[AgentId, object]] = asyncio.Queue()  # an end each
        self._look: asyncio.Future[bool] | None = None  # the newest one

    async def run(self) -> None:
        """Look until cancelled."""
        for record in self._agents.roster:
            self.agent_changed(record.id)
        while True:
            agent, end = await self._to_look_at.get()
            if self._ends.get(agent) is not end:
                continue
            record = self._agents.roster.get(agent)
            left = await self._left(record)
            # It may have come back meanwhile, and have ended once more: then it is looked at once more.
            if self._ends.get(agent) is end and record.left != left:
                record.left = left
                self._agents.told_anew(agent)

    async def _left(self, record: AgentRecord) -> bool:
        """Whether its conversation is there, or cannot be found out: who goes on with it will see."""
        left, past = kind_named(record.kind).left, past_of(record)
        if self._look is None or self._look.done():  # else one hangs: a thread is enough for that
            self._look = asyncio.get_running_loop().run_in_executor(None, _look, record.id, left, past)
            await asyncio.wait([self._look], timeout=LOOK_S)
            if self._look.done():
                return self._look.result()
            log.warning("looking at what is left takes too long agent=%s file=%r", record.id, past.file)
        return unknown(past)

    def agent_changed(self, agent: AgentId) -> None:
        """See Observer."""
        record = self._agents.roster.get(agent)
        if record.live:
            record.left = None
            self._ends.pop(agent, None)
        elif agent not in self._ends and may_be_resumed(record):
            self._ends[agent] = end = object()
            self._to_look_at.put_nowait((agent, end))

    def agent_gone(self, agent: AgentId) -> None:
        """See Observer."""
        self._ends.pop(agent, None)


def _look(agent: AgentId, left: Callable[[Past], bool], past: Past) -> bool:
    try:
        return left(past)
    except Exception:  # a boundary: whatever stands where an agent says, the node goes on for the others
        log.exception("cannot look at what is left agent=%s file=%r", agent, past.file)
        return unknown(past)
