"""Whether ended agents have left a conversation: one that stands nowhere is not offered to be gone on with.

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
        self._looked_at: set[AgentId] = set()
        self._to_look_at: asyncio.Queue[AgentId] = asyncio.Queue()  # each agent once, so as many as there are
        self._look: asyncio.Future[bool] | None = None  # the newest one

    async def run(self) -> None:
        """Look until cancelled."""
        for record in self._agents.roster:
            self.agent_changed(record.id)
        while True:
            agent = await self._to_look_at.get()
            if agent not in self._agents.roster:
                continue
            record = self._agents.roster.get(agent)
            left_nothing = not await self._left(record)
            if not record.live and record.left_nothing != left_nothing:
                record.left_nothing = left_nothing
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
            record.left_nothing = False
            self._looked_at.discard(agent)
        elif agent not in self._looked_at and may_be_resumed(record):
            self._looked_at.add(agent)
            self._to_look_at.put_nowait(agent)

    def agent_gone(self, agent: AgentId) -> None:
        """See Observer."""
        self._looked_at.discard(agent)


def _look(agent: AgentId, left: Callable[[Past], bool], past: Past) -> bool:
    try:
        return left(past)
    except Exception:  # a boundary: whatever stands where an agent says, the node goes on for the others
        log.exception("cannot look at what is left agent=%s file=%r", agent, past.file)
        return unknown(past)
