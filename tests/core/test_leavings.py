"""What an ended agent is offered to be gone on with, by the files that there are."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hyperpi import contract
from hyperpi.address import AgentId
from node.agent_record import AgentRecord, resume_of
from node.agents import Agents, Observer
from node.endings import End
from node.leavings import Leavings
from node.roster import Roster

KILLED = End("killed", "killed by SIGKILL", signal="SIGKILL")


class Desk(Observer):
    """A node's agents and one pi whose session belongs into `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.agents = Agents(Roster(), node="n-den", node_name="den")
        self.leavings = Leavings(self.agents)
        self.agents.observers += [self.leavings, self]
        self.told = asyncio.Event()

    def agent_changed(self, agent: AgentId) -> None:
        self.told.set()

    def pi(self) -> AgentRecord:
        hello = contract.Register(
            instance="i-1", kind="pi", cwd="/srv", pid=7, session=contract.Session("s-1", str(self.file))
        )
        record = self.agents.roster.register(hello, pid=7, pid_start="s7", project=None, now=100.0)
        self.agents.roster.changed(record.id, contract.AgentChanged(state="working"), 101.0)
        return record

    async def looked(self) -> None:
        """Return when it has told of the agent once more."""
        self.told.clear()
        async with asyncio.timeout(5):
            await self.told.wait()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    found = Desk(tmp_path / "s-1.jsonl")
    running = asyncio.create_task(found.leavings.run())
    yield found
    running.cancel()


async def test_a_pi_that_was_killed_before_it_wrote_its_session_is_not_offered(desk: Desk) -> None:
    record = desk.pi()
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    assert resume_of(record) is None


async def test_one_that_wrote_it_is_offered_also_by_the_next_node(desk: Desk) -> None:
    desk.file.write_text('{"type":"session","id":"s-1"}\n')
    record = desk.pi()
    record.left_nothing = True  # as of a node that looked when the disk was away
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    assert resume_of(record) == "offered"


async def test_one_that_comes_back_is_looked_at_again_when_it_ends(desk: Desk) -> None:
    record = desk.pi()
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    desk.pi()
    desk.agents.told_anew(record.id)
    desk.file.write_text('{"type":"session","id":"s-1"}\n')
    desk.agents.exited(record.id, KILLED)
    assert resume_of(record) == "offered"
