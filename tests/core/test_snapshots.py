"""Conversations of agents that answer, do not answer, and are away; no socket, no event that is not given."""

import json
from typing import Any

import msgspec
import pytest

from hyperpi import contract
from hyperpi.errors import NodeUnreachable
from node.agent_record import AgentRecord
from node.agents import Agents
from node.endings import End
from node.roster import Roster
from node.snapshots import Snapshots

KEPT = {"id": "e-1", "role": "user", "at": None, "blocks": [{"type": "text", "text": "kept"}]}


class SmallAgent:
    """Answers a snapshot, or is as silent as one that hangs; counts what it was asked."""

    def __init__(self) -> None:
        self.hangs = False
        self.asked = 0
        self.at_silence = lambda: None

    async def call_raw(self, _method: str, _params: Any, _timeout_s: float, at_answer: Any = None) -> Any:
        self.asked += 1
        if self.hangs:
            self.at_silence()
            raise NodeUnreachable("no answer to snapshot within 10 s")
        return msgspec.Raw(b'{"entries":[]}'), at_answer() if at_answer else None


class Kept:
    async def entries(
        self, _record: AgentRecord, _before: str | None, _limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        return [KEPT], False


class Desk:
    def __init__(self) -> None:
        roster = Roster()
        hello = contract.Register(instance="i-1", kind="pi", cwd="/srv/site", pid=7)
        self.record = roster.register(hello, pid=7, pid_start="s7", project="site", now=100.0)
        self.agents = Agents(roster, node="n-den", node_name="den")
        self.agent = SmallAgent()
        self.dial()
        self.snapshots = Snapshots(self.agents, Kept())

    def dial(self) -> None:
        self.agents._connections[self.record.id] = self.agent  # type: ignore[assignment]  # what is used of it

    async def read(self) -> Any:
        _, raw = await self.snapshots.snapshot(self.record.id)
        return json.loads(raw)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_an_agent_that_hangs_is_shown_by_what_was_kept_and_as_out_of_reach(desk: Desk):
    desk.agent.hangs = True
    shown = await desk.read()
    assert [entry["id"] for entry in shown["entries"]] == ["e-1"]
    assert shown["state"] == "unreachable"
    assert desk.record.detail == "connected, but not answering"


async def test_who_is_known_to_hang_is_not_waited_for_again_until_it_is_heard_of(desk: Desk):
    desk.agent.hangs = True
    await desk.read()
    await desk.read()
    older = json.loads(await desk.snapshots.history(desk.record.id, "e-2", 10))
    assert (desk.agent.asked, [entry["id"] for entry in older["entries"]]) == (1, ["e-1"])
    desk.agents.heard(desk.record.id)
    desk.agent.hangs = False
    assert (await desk.read())["state"] == "idle"
    assert desk.agent.asked == 2


async def test_older_entries_of_an_agent_that_hangs_are_those_that_were_kept(desk: Desk):
    desk.agent.hangs = True
    for _ in range(2):  # the second time it is known, and not waited for
        older = json.loads(await desk.snapshots.history(desk.record.id, "e-2", 10))
        assert [entry["id"] for entry in older["entries"]] == ["e-1"]
    assert desk.agent.asked == 1
    assert desk.record.detail == "connected, but not answering"


async def test_older_entries_are_asked_for_again_when_the_connection_ends_meanwhile(desk: Desk):
    desk.agent.hangs = True
    desk.agent.at_silence = lambda: desk.agents._connections.clear()
    with pytest.raises(NodeUnreachable):
        await desk.snapshots.history(desk.record.id, "e-2", 10)


async def test_an_agent_that_talks_but_does_not_answer_this_is_not_called_silent(desk: Desk):
    desk.agent.hangs = True
    desk.agent.at_silence = lambda: desk.agents.heard(desk.record.id)
    assert (await desk.read())["state"] == "idle"


async def test_an_agent_whose_connection_ends_meanwhile_is_asked_for_again(desk: Desk):
    desk.agent.hangs = True
    desk.agent.at_silence = lambda: desk.agents._connections.clear()
    with pytest.raises(NodeUnreachable):
        await desk.read()


async def test_what_an_agent_out_of_reach_was_saying_is_open_and_of_an_ended_one_interrupted(desk: Desk):
    for event in (
        {"type": "message_start", "message_id": "m-1", "role": "assistant"},
        {"type": "text_delta", "message_id": "m-1", "block": 0, "delta": "half"},
    ):
        desk.agents.say(desk.record.id, event)
    desk.agents._connections.clear()
    away = await desk.read()
    assert away["running"]["blocks"] == [{"type": "text", "text": "half"}]
    assert [entry["id"] for entry in away["entries"]] == ["e-1"]
    desk.agents.roster.exited(desk.record.id, End("killed", "killed by SIGKILL"), 200.0)
    over = await desk.read()
    assert over["running"] is None
    assert [(entry["id"], entry.get("interrupted")) for entry in over["entries"]] == [
        ("e-1", None),
        ("m-1", True),
    ]
