"""Whether ended agents have left a conversation: one that stands nowhere is not offered to be gone on with.

A pi writes its session file with the first answer that it got; one that is killed before that leaves none.
"""

import asyncio

from hyperpi.address import AgentId
from node.agent_record import may_be_resumed, past_of
from node.agents import Agents, Observer
from node.kinds import kind_named


class Leavings(Observer):
    """Looks once after each end, and at the start of the node."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._looked_at: set[AgentId] = set()
        self._to_look_at: asyncio.Queue[AgentId] = asyncio.Queue()  # each agent once, so as many as there are

    async def run(self) -> None:
        """Look until cancelled."""
        for record in self._agents.roster:
            self.agent_changed(record.id)
        while True:
            agent = await self._to_look_at.get()
            if agent not in self._agents.roster:
                continue
            record = self._agents.roster.get(agent)
            left_nothing = not await asyncio.to_thread(kind_named(record.kind).left, past_of(record))
            if not record.live and record.left_nothing != left_nothing:
                record.left_nothing = left_nothing
                self._agents.told_anew(agent)

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
