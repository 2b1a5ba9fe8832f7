"""Prompts on their way into an agent: in their order, once, and with a receipt that is true."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.errors import (
    BadRequest,
    Conflict,
    HyperPiError,
    NodeUnreachable,
    NotFound,
    Overloaded,
    UnknownMethod,
)
from hyperpi.roles import OPERATOR, Caller
from node.agents import Agents
from node.prompts import MAX_HELD, REMEMBERED_S, PromptKey, Prompts, Sent
from node.roster import Roster

ANN = Caller("ann", OPERATOR, "pide")


class NoHistory:
    async def entries(self, record: Any, before: Any, limit: int) -> None:
        return None


class SmallAgent:
    """The agent's end of its socket: takes a prompt when it may."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.may = asyncio.Event()
        self.may.set()
        self.asked = asyncio.Event()
        self.answer: dict[str, str] | HyperPiError = {"receipt": "queued"}

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> Any:
        assert method == "prompt"
        self.asked.set()
        await self.may.wait()
        if isinstance(self.answer, HyperPiError):
            raise self.answer
        if params["id"] not in self.taken:  # as agents do
            self.taken.append(params["id"])
        return self.answer

    def notify(self, method: str, params: dict[str, Any]) -> None:
        pass


class Shelf:
    """What outlives a node, on a disk that may be full."""

    def __init__(self) -> None:
        self.written: dict[PromptKey, Sent] = {}
        self.has_room = asyncio.Event()
        self.has_room.set()

    def load(self) -> dict[PromptKey, Sent]:
        return {key: replace(sent) for key, sent in self.written.items()}

    def keep(self, key: PromptKey, sent: Sent | None) -> None:
        if sent is None:
            self.written.pop(key, None)
        else:
            self.written[key] = replace(sent)

    async def kept(self, key: PromptKey) -> None:
        await self.has_room.wait()


class Desk:
    """Prompts of one agent, which may come and go."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        roster = Roster()
        record = roster.expect(
            instance="i-1", kind="pi", name="lead", cwd="/", project=None, request_id="r-1", now=1.0
        )
        self.id = record.id
        self.told: list[tuple[str, str]] = []
        self.agents = Agents(roster, NoHistory(), node="n-den", node_name="den")
        self.prompts = Prompts(self.agents, self._told, self.shelf)
        self.unattended: list[asyncio.Future[Any]] = []
        self.prompts.use(lambda work: self.unattended.append(asyncio.ensure_future(work)))
        self.agents.observers.append(self.prompts)

    def _told(self, topic: str, method: str, params: dict[str, Any]) -> None:
        assert (topic, method) == (f"agent:{self.id}", "prompt.changed")
        self.told.append((params["id"], params["receipt"]))

    def dial(self, agent: SmallAgent) -> None:
        self.agents._connections[self.id] = agent  # type: ignore[assignment]  # what Prompts uses of it
        self.prompts.agent_connected(self.id)

    def drop(self) -> None:
        del self.agents._connections[self.id]

    async def take(self, prompt_id: str, text: str = "hi", **more: Any) -> str:
        wanted = contract.Prompt(agent=self.id, text=text, id=prompt_id, **more)
        answer = await self.prompts.take(AgentId(self.id), wanted, ANN)
        assert answer["id"] == prompt_id
        return answer["receipt"]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """At the end no work that nobody waited for has failed: in a node that would be the end of all of it."""
    made = Desk()
    yield made
    await asyncio.gather(*made.unattended)


@pytest.fixture
def agent() -> SmallAgent:
    return SmallAgent()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_prompt_is_passed_on_and_becomes_delivered_with_its_echo(desk, agent):
    desk.dial(agent)
    assert await desk.take("p-1") == "queued"
    desk.prompts.prompt_entered(desk.id, "p-1")
    assert desk.told == [("p-1", "queued"), ("p-1", "delivered")]
    assert await desk.take("p-1") == "delivered"
    assert agent.taken == ["p-1"]


async def test_an_echo_that_is_quicker_than_the_answer_is_not_taken_back(desk, agent):
    desk.dial(agent)
    agent.may.clear()
    taking = asyncio.ensure_future(desk.take("p-1"))
    await agent.asked.wait()
    desk.prompts.prompt_entered(desk.id, "p-1")
    agent.may.set()
    assert await taking == "delivered"
    assert desk.told == [("p-1", "delivered")]


async def test_prompts_for_an_agent_that_is_away_are_held_and_taken_in_their_order(desk, agent):
    for number in range(5):
        assert await desk.take(f"p-{number}") == "stored"
    desk.dial(agent)
    await turns(20)
    assert agent.taken == [f"p-{number}" for number in range(5)]


async def test_a_later_prompt_does_not_overtake_those_that_were_held(desk, agent):
    for number in range(3):
        await desk.take(f"p-{number}")
    agent.may.clear()
    desk.dial(agent)
    await agent.asked.wait()
    taking = asyncio.ensure_future(desk.take("p-3"))
    await turns()
    agent.may.set()
    assert await taking == "queued"
    assert agent.taken == ["p-0", "p-1", "p-2", "p-3"]


async def test_a_prompt_of_the_very_moment_of_dialling_does_not_overtake_either(desk, agent):
    await desk.take("p-0")
    desk.dial(agent)
    assert await desk.take("p-1") == "queued"
    assert agent.taken == ["p-0", "p-1"]


async def test_a_prompt_whose_answer_was_lost_is_sent_again_and_runs_once(desk, agent):
    desk.dial(agent)
    agent.answer = NodeUnreachable("the connection has ended")
    assert await desk.take("p-1") == "unknown"
    desk.drop()
    agent.answer = {"receipt": "delivered"}
    desk.dial(agent)
    await turns()
    assert agent.taken == ["p-1"]
    assert desk.told == [("p-1", "unknown"), ("p-1", "delivered")]


async def test_a_prompt_of_a_page_that_left_is_not_lost(desk, agent):
    desk.dial(agent)
    agent.may.clear()
    taking = asyncio.ensure_future(desk.take("p-1"))
    await agent.asked.wait()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    agent.may.set()
    assert await desk.take("p-1") == "queued"
    assert agent.taken == ["p-1"]


async def test_an_agent_that_takes_no_prompts_says_so_and_the_same_id_may_be_tried_again(desk, agent):
    desk.dial(agent)
    agent.answer = UnknownMethod("there is no method prompt")
    with pytest.raises(Conflict, match="lead takes no prompts"):
        await desk.take("p-1")
    agent.answer = {"receipt": "queued"}
    assert await desk.take("p-1") == "queued"


async def test_a_held_prompt_that_is_refused_harms_nothing_and_is_told(desk, agent):
    await desk.take("p-1")
    agent.answer = UnknownMethod("there is no method prompt")
    desk.dial(agent)
    await turns()
    assert desk.told == [("p-1", "unknown")]
    agent.answer = BadRequest("not like this")
    with pytest.raises(BadRequest, match="not like this"):
        await desk.take("p-2")


async def test_what_cannot_be_a_prompt_is_refused(desk):
    for wrong in ({"text": ""}, {"text": " \n"}):
        with pytest.raises(BadRequest):
            await desk.take("p-1", **wrong)
    with pytest.raises(NotFound):
        await desk.prompts.take(AgentId("a-none"), contract.Prompt(agent="a-none", text="hi"), ANN)


async def test_an_agent_that_has_ended_takes_none_and_those_it_had_are_unknown(desk, agent):
    await desk.take("p-1")
    desk.agents.roster.exited(desk.id, "quit", 2.0)
    desk.prompts.agent_changed(desk.id)
    assert desk.told == [("p-1", "unknown")]
    with pytest.raises(Conflict, match="lead has ended: quit"):
        await desk.take("p-2")


async def test_only_so_many_are_held(desk):
    for number in range(MAX_HELD):
        await desk.take(f"p-{number}")
    with pytest.raises(Overloaded):
        await desk.take("p-more")


# --- across restarts of the node -------------------------------------------------------------------------


async def test_stored_is_said_of_a_prompt_once_it_is_on_disk(desk):
    desk.shelf.has_room.clear()
    taking = asyncio.ensure_future(desk.take("p-1"))
    await turns()
    assert not taking.done()
    desk.shelf.has_room.set()
    assert await taking == "stored"
    assert [sent.params["text"] for sent in desk.shelf.written.values()] == ["hi"]


async def test_a_prompt_that_would_have_to_wait_is_refused_while_there_is_no_room(desk, agent, monkeypatch):
    monkeypatch.setattr("node.prompts.STORE_S", 0.01)
    desk.shelf.has_room.clear()
    with pytest.raises(Overloaded, match="cannot be stored"):
        await desk.take("p-1")
    desk.dial(agent)
    await turns()
    assert agent.taken == []
    assert await desk.take("p-2") == "queued"  # what need not wait needs no room


async def test_what_waited_reaches_its_agent_after_a_restart_and_nothing_runs_twice(desk, agent):
    desk.dial(agent)
    assert await desk.take("p-1") == "queued"
    desk.drop()
    assert await desk.take("p-2", "and this") == "stored"

    after = Desk(desk.shelf)
    after.dial(agent)
    await asyncio.gather(*after.unattended)
    assert agent.taken == ["p-1", "p-2"]
    assert await after.take("p-1") == "queued"
    assert agent.taken == ["p-1", "p-2"]


async def test_an_agent_that_has_a_prompt_needs_no_copy_of_its_text_kept(desk, agent):
    desk.dial(agent)
    await desk.take("p-1", "a picture, say")
    assert [sent.params for sent in desk.shelf.written.values()] == [{}]


async def test_what_was_lost_on_the_way_is_not_sent_again_when_its_id_may_be_forgotten(desk, agent):
    desk.dial(agent)
    agent.answer = NodeUnreachable("gone")
    assert await desk.take("p-1") == "unknown"
    for sent in desk.shelf.written.values():
        sent.at -= REMEMBERED_S + 1

    after = Desk(desk.shelf)
    agent.answer = {"receipt": "queued"}
    taken = list(agent.taken)
    after.dial(agent)
    await asyncio.gather(*after.unattended)
    assert agent.taken == taken
    assert desk.shelf.written == {}


async def test_a_prompt_for_an_agent_that_ended_with_its_node_is_unknown(desk):
    assert await desk.take("p-1") == "stored"
    agents = desk.agents
    agents.exited(desk.id, "the power failed")
    again = Prompts(agents, desk._told, desk.shelf)
    wanted = contract.Prompt(agent=desk.id, text="hi", id="p-1")
    assert (await again.take(AgentId(desk.id), wanted, ANN))["receipt"] == "unknown"
