"""Prompts on their way into an agent: in their order, once, and with a receipt that is true."""

import asyncio
import base64
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hyperpi import contract, strict_json
from hyperpi.address import AgentId
from hyperpi.database import DiskThread
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
from node.endings import End
from node.prompt_store import PromptStore
from node.prompts import MAX_HELD, PromptKey, Prompts, Sent
from node.roster import Roster
from node.waiting_texts import MAX_TEXT_BYTES, MAX_TEXTS, WaitingTexts

ANN = Caller("ann", OPERATOR, "pide")


class SmallAgent:
    """The agent's end of its socket: takes a prompt when it may."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.gives_back: dict[str, Any] | None = None
        self.may = asyncio.Event()
        self.may.set()
        self.asked = asyncio.Event()
        self.answer: dict[str, str] | HyperPiError = {"receipt": "queued"}

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> Any:
        if method == "unqueue":
            if self.gives_back is None:
                raise UnknownMethod("there is no method unqueue")
            return self.gives_back
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


class Shelf(PromptStore):
    """What outlives a node, on a real disk that can be said to be full."""

    def __init__(self, db: sqlite3.Connection, thread: DiskThread) -> None:
        super().__init__(db, thread)
        self.has_room = asyncio.Event()
        self.has_room.set()

    async def kept(self, key: PromptKey) -> None:
        await self.has_room.wait()
        await super().kept(key)

    async def written(self) -> list[Sent]:
        """What is on disk, once everything is."""
        marker = (AgentId("a-nobody"), "marker")
        self.keep(marker, None)
        await super().kept(marker)
        return self.load()


class Desk:
    """Prompts of one agent, which may come and go."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        roster = Roster()
        record = roster.expect(
            instance="i-1", kind="pi", name="lead", cwd="/", project=None, request_id="r-1", now=1.0
        )
        self.id = record.id
        self.told: list[tuple[str, str]] = []
        self.agents = Agents(roster, node="n-den", node_name="den")
        self.prompts = Prompts(self.agents, self._told, self.shelf)
        self.unattended: list[asyncio.Task[None]] = []
        self.prompts.use(self._spawn)
        self.agents.observers.append(self.prompts)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.unattended.append(asyncio.create_task(work))
        return self.unattended[-1]

    def _told(self, topic: str, method: str, params: dict[str, Any]) -> None:
        assert (topic, method) == (f"agent:{params['agent']}", "prompt.changed")
        self.told.append((params["id"], params["receipt"]))

    def dial(self, agent: SmallAgent) -> None:
        self.agents._connections[self.id] = agent  # type: ignore[assignment]  # what Prompts uses of it
        self.prompts.agent_connected(self.id)

    def drop(self) -> None:
        del self.agents._connections[self.id]

    def other_agent(self) -> AgentId:
        """One more, which is away."""
        return self.agents.roster.expect(
            instance="i-2", kind="pi", name="site", cwd="/", project=None, request_id="r-2", now=1.0
        ).id

    async def take(self, prompt_id: str, text: str = "hi", **more: Any) -> str:
        return await self.take_for(AgentId(self.id), prompt_id, text, **more)

    async def take_for(self, agent: AgentId, prompt_id: str, text: str = "hi", **more: Any) -> str:
        wanted = contract.Prompt(agent=agent, text=text, id=prompt_id, **more)
        answer = await self.prompts.take(agent, wanted, ANN)
        assert answer["id"] == prompt_id
        return answer["receipt"]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    thread = DiskThread("prompts-test")
    made = Shelf.open(tmp_path / "prompts.db", thread)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    made.close()
    thread.close()


@pytest.fixture
async def desk(shelf: Shelf) -> AsyncIterator[Desk]:
    """At the end no work that nobody waited for has failed: in a node that would be the end of all of it."""
    made = Desk(shelf)
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


async def test_what_an_ended_agent_had_not_taken_is_told_with_its_text_until_it_is_back(desk, agent):
    assert await desk.take("p-kept", "kept at the node") == "stored"
    desk.dial(agent)
    await asyncio.gather(*desk.unattended)
    for prompt_id, text in (("p-1", "run"), ("p-2", "test")):
        assert await desk.take(prompt_id, text) == "queued"
    waits = [contract.QueuedPrompt("p-1", "run"), contract.QueuedPrompt("p-2", "test")]
    desk.agents.changed(desk.id, contract.AgentChanged(queue=waits))
    desk.prompts.prompt_entered(desk.id, "p-1")
    desk.drop()
    assert await desk.take("p-3", "and stored") == "stored"
    assert [one.where for one in desk.agents.queue(desk.id)] == ["agent", "agent", "node"]

    desk.agents.exited(desk.id, End("killed", "killed by SIGKILL"))
    lost = desk.agents.queue(desk.id)
    assert [(one.id, one.text, one.where) for one in lost] == [
        ("p-2", "test", "lost"),
        ("p-3", "and stored", "lost"),
    ]
    assert {("p-2", "unknown"), ("p-3", "unknown")} <= set(desk.told)
    told = json.loads(desk.agents.log_of(desk.id).ring.since(0, 1 << 20)[-1])
    assert [one["id"] for one in told["prompts"]] == ["p-2", "p-3"]

    hello = contract.Register(instance="i-1", kind="pi", cwd="/", pid=os.getpid())
    desk.agents.register(hello, agent, pid=os.getpid(), project=None)
    assert desk.agents.queue(desk.id) == []


LONG = "".join(f"line {number}\n" for number in range(1_000))


async def queued_and_lost(desk: Desk, agent: SmallAgent, texts: dict[str, str]) -> None:
    """The agent takes prompts, tells of their beginnings as all do, and ends."""
    desk.dial(agent)
    for prompt_id, text in texts.items():
        assert await desk.take(prompt_id, text) == "queued"
    waits = [
        contract.QueuedPrompt(id=prompt_id, text=text[:500], cut=max(0, len(text) - 500))
        for prompt_id, text in texts.items()
    ]
    desk.agents.changed(desk.id, contract.AgentChanged(queue=waits))
    desk.drop()
    desk.agents.exited(desk.id, End("killed", "killed by SIGKILL"))


async def test_what_an_ended_agent_had_not_taken_can_be_had_whole(desk, agent):
    assert await desk.take("p-stored", "stored " + LONG) == "stored"
    desk.dial(agent)
    await asyncio.gather(*desk.unattended)
    await queued_and_lost(desk, agent, {"p-1": LONG, "p-2": "short"})
    assert [(one.text, one.cut, one.kept) for one in desk.agents.queue(desk.id)] == [
        (LONG[:1_000], len(LONG) - 1_000, True),
        ("short", 0, True),
    ]
    in_full = desk.agents.queue_in_full(desk.id)
    assert [(one.text, one.cut, one.where) for one in in_full] == [(LONG, 0, "lost"), ("short", 0, "lost")]


async def test_what_was_stored_for_an_agent_that_never_came_can_be_had_whole(desk):
    assert await desk.take("p-1", LONG) == "stored"
    [shown] = desk.agents.queue(desk.id)
    assert (shown.text, shown.cut) == (LONG[:1_000], len(LONG) - 1_000)
    desk.agents.exited(desk.id, End("killed", "killed by SIGKILL"))
    [told] = json.loads(desk.agents.log_of(desk.id).ring.since(0, 1 << 20)[-1])["prompts"]
    assert (told["text"], told["cut"], told["kept"]) == (LONG[:1_000], len(LONG) - 1_000, True)
    assert [one.text for one in desk.agents.queue_in_full(desk.id)] == [LONG]


async def test_of_what_was_queued_before_a_restart_of_the_node_only_the_beginning_is_known(
    shelf, desk, agent
):
    desk.dial(agent)
    await desk.take("p-1", LONG)
    await asyncio.gather(shelf.kept((desk.id, "p-1")), *desk.unattended)
    again = Desk(shelf)
    again.agents.changed(
        again.id,
        contract.AgentChanged(queue=[contract.QueuedPrompt(id="p-1", text=LONG[:500], cut=len(LONG) - 500)]),
    )
    again.agents.exited(again.id, End("killed", "killed by SIGKILL"))
    [lost] = again.agents.queue_in_full(again.id)
    assert (lost.text, lost.cut, lost.kept) == (LONG[:500], len(LONG) - 500, False)


async def test_whole_texts_are_bounded_in_number_and_size_and_the_newest_stay(desk, agent):
    texts = {f"p-{number}": f"{number}" for number in range(MAX_TEXTS)}
    await queued_and_lost(desk, agent, {**texts, "p-huge": "\x01" * (MAX_TEXT_BYTES // 12), "p-last": "x"})
    kept = [one.id for one in desk.agents.queue(desk.id) if one.kept]
    assert kept == [*list(texts)[2:], "p-huge", "p-last"]
    assert len(strict_json.encode(desk.agents.queue_in_full(desk.id))) < MAX_TEXT_BYTES

    texts_of_another = WaitingTexts()
    for number in range(3):
        texts_of_another.keep(desk.id, f"p-{number}", "\x01" * (MAX_TEXT_BYTES // 12 - 2))
    texts_of_another.keep(desk.id, "p-too-large", "x" * MAX_TEXT_BYTES)
    known = [f"p-{number}" for number in range(3) if texts_of_another.get(desk.id, f"p-{number}")]
    assert known == ["p-1", "p-2"]
    assert texts_of_another.get(desk.id, "p-too-large") is None


async def test_the_text_of_what_is_in_the_conversation_or_taken_back_is_kept_no_longer(desk, agent):
    desk.dial(agent)
    await desk.take("p-1", LONG)
    desk.prompts.prompt_entered(desk.id, "p-1")
    await desk.take("p-2", LONG)
    desk.drop()
    desk.agents.exited(desk.id, End("killed", "killed by SIGKILL"))
    assert [desk.agents.whole(desk.id, prompt_id) for prompt_id in ("p-1", "p-2")] == [None, LONG]
    desk.agents.forget(desk.id)
    assert desk.agents.whole(desk.id, "p-2") is None


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
    await asyncio.gather(*desk.unattended)
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
    await asyncio.gather(*desk.unattended)
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
    desk.agents.roster.exited(desk.id, End("quit", "quit"), 2.0)
    desk.prompts.agent_changed(desk.id)
    assert desk.told == [("p-1", "unknown")]
    with pytest.raises(Conflict, match="lead has ended: quit") as refusal:
        await desk.take("p-2")
    assert refusal.value.hint == "start another agent"
    record = desk.agents.roster.get(desk.id)
    record.session, record.left = contract.Session("s-1", "/srv/s-1.jsonl"), True
    with pytest.raises(Conflict) as refusal:
        await desk.take("p-2")
    assert refusal.value.hint == "`hyperpi resume lead` goes on with it"


async def test_only_so_many_are_held(desk):
    for number in range(MAX_HELD):
        await desk.take(f"p-{number}")
    with pytest.raises(Overloaded):
        await desk.take("p-more")


# --- whatever agents answer and callers do ----------------------------------------------------------------


@pytest.mark.parametrize("answer", [{"receipt": []}, {"receipt": {}}, {"receipt": 1e9}, [], None, "queued"])
async def test_nonsense_in_an_answer_costs_the_node_nothing(desk, agent, answer):
    agent.answer = answer
    await desk.take("p-1")
    desk.dial(agent)
    await asyncio.gather(*desk.unattended)
    assert await desk.take("p-1") == "queued"


async def test_a_caller_that_goes_leaves_a_prompt_that_is_handed_over_all_the_same(desk, agent):
    agent.may.clear()
    desk.dial(agent)
    first = asyncio.ensure_future(desk.take("p-1"))
    second = asyncio.ensure_future(desk.take("p-2"))
    await agent.asked.wait()
    for taking in (first, second):
        taking.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    agent.may.set()
    await asyncio.gather(*desk.unattended)
    assert agent.taken == ["p-1", "p-2"]


async def test_at_most_so_many_wait_behind_one_that_an_agent_does_not_answer(desk, agent):
    agent.may.clear()
    desk.dial(agent)
    taking = [asyncio.ensure_future(desk.take(f"p-{number}")) for number in range(MAX_HELD + 5)]
    done = await asyncio.gather(*taking[-5:], return_exceptions=True)
    assert all(isinstance(result, Overloaded) for result in done)
    agent.may.set()
    assert set(await asyncio.gather(*taking[:-5])) == {"queued"}


async def test_pictures_that_wait_are_bounded_by_their_size(desk, monkeypatch):
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(250_000)).decode()
    picture = contract.Picture(mime="image/png", data=png)
    monkeypatch.setattr("node.prompts.MAX_HELD_BYTES", 4 * len(png))
    for number in range(3):
        assert await desk.take(f"p-{number}", images=[picture]) == "stored"
    with pytest.raises(Overloaded):
        await desk.take("p-3", images=[picture, picture])


async def test_what_was_promised_is_never_forgotten_for_something_newer(desk, agent, monkeypatch):
    monkeypatch.setattr("node.prompts.REMEMBERED", 20)
    monkeypatch.setattr("node.prompts.REMEMBERED_S", 0.0)
    assert await desk.take("p-promised") == "stored"
    desk.prompts._known[desk.id, "p-promised"].at -= 86_400
    other = desk.other_agent()
    desk.agents._connections[other] = SmallAgent()
    for number in range(50):
        assert await desk.take_for(other, f"p-{number}") == "queued"
    desk.dial(agent)
    await asyncio.gather(*desk.unattended)
    assert "p-promised" in agent.taken


# --- across restarts of the node -------------------------------------------------------------------------


async def test_stored_is_said_of_a_prompt_once_it_is_on_disk(desk):
    desk.shelf.has_room.clear()
    taking = asyncio.ensure_future(desk.take("p-1"))
    await turns()
    assert not taking.done()
    desk.shelf.has_room.set()
    assert await taking == "stored"
    assert [sent.params["text"] for sent in await desk.shelf.written()] == ["hi"]


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

    await desk.shelf.written()
    after = Desk(desk.shelf)
    after.dial(agent)
    await asyncio.gather(*after.unattended)
    assert agent.taken == ["p-1", "p-2"]
    assert await after.take("p-1") == "queued"
    assert agent.taken == ["p-1", "p-2"]


async def test_prompts_keep_their_order_over_a_restart_whatever_the_clock_does(desk, agent, monkeypatch):
    assert await desk.take("p-1") == "stored"
    monkeypatch.setattr("time.time", lambda now=time.time: now() - 3_600)
    assert await desk.take("p-2") == "stored"
    await desk.shelf.written()
    after = Desk(desk.shelf)
    after.dial(agent)
    await asyncio.gather(*after.unattended)
    assert agent.taken == ["p-1", "p-2"]


async def test_a_node_that_ends_while_it_asks_does_not_ask_again_when_the_id_may_be_forgotten(desk, agent):
    assert await desk.take("p-1") == "stored"
    agent.may.clear()
    desk.dial(agent)
    await agent.asked.wait()
    [sent] = await desk.shelf.written()
    assert sent.receipt == "unknown"
    agent.may.set()


async def test_an_agent_that_has_a_prompt_needs_no_copy_of_its_text_kept(desk, agent):
    desk.dial(agent)
    await desk.take("p-1", "a picture, say")
    assert [(sent.params, sent.receipt) for sent in await desk.shelf.written()] == [({}, "queued")]


async def test_what_was_lost_on_the_way_is_not_sent_again_when_its_id_may_be_forgotten(
    desk, agent, monkeypatch
):
    desk.dial(agent)
    agent.answer = NodeUnreachable("gone")
    assert await desk.take("p-1") == "unknown"
    await desk.shelf.written()

    monkeypatch.setattr("node.prompts.REMEMBERED_S", 0.0)
    after = Desk(desk.shelf)
    agent.answer = {"receipt": "queued"}
    taken = list(agent.taken)
    after.dial(agent)
    await asyncio.gather(*after.unattended)
    assert agent.taken == taken
    assert await desk.shelf.written() == []


async def test_a_prompt_for_an_agent_that_ended_with_its_node_is_unknown(desk):
    assert await desk.take("p-1") == "stored"
    desk.agents.observers.clear()
    desk.agents.exited(desk.id, End("unknown", "the power failed"))
    again = Prompts(desk.agents, desk._told, desk.shelf)
    wanted = contract.Prompt(agent=desk.id, text="hi", id="p-1")
    assert (await again.take(AgentId(desk.id), wanted, ANN))["receipt"] == "unknown"


async def test_an_ended_agents_texts_are_not_kept(desk):
    assert await desk.take("p-1", "a secret plan") == "stored"
    desk.agents.exited(desk.id, End("quit", "quit"))
    assert [sent.params for sent in await desk.shelf.written()] == [{}]


class TestTakingBack:
    async def test_what_is_stored_for_an_agent_that_is_away_is_seen_and_taken_back(self, desk: Desk) -> None:
        await desk.take("p-1", "first")
        await desk.take("p-2", "second", mode="follow_up")
        assert [(one.id, one.text, one.where) for one in desk.agents.queue(desk.id)] == [
            ("p-1", "first", "node"),
            ("p-2", "second", "node"),
        ]
        taken = await desk.prompts.cancel(desk.id, "p-1")
        assert taken == {"id": "p-1", "text": "first", "mode": "prompt", "images": 0}
        assert desk.told[-1] == ("p-1", "cancelled")
        assert [one.id for one in desk.agents.queue(desk.id)] == ["p-2"]
        agent = SmallAgent()
        desk.dial(agent)
        await asyncio.gather(*desk.unattended)
        assert agent.taken == ["p-2"]
        assert desk.agents.queue(desk.id) == []
        assert await desk.take("p-1", "first") == "cancelled"

    async def test_every_change_of_the_queue_is_in_the_agents_stream(self, desk: Desk) -> None:
        await desk.take("p-1", "first")
        await desk.prompts.cancel(desk.id, "p-1")
        ring = desk.agents.log_of(desk.id).ring
        events = [msgspec.json.decode(raw) for raw in ring.since(ring.oldest, 1 << 20)]
        told = [[one["id"] for one in event["prompts"]] for event in events if event["type"] == "queue"]
        assert told == [["p-1"], []]

    async def test_what_the_agent_has_it_is_asked_to_give_back(self, desk: Desk) -> None:
        agent = SmallAgent()
        desk.dial(agent)
        assert await desk.take("p-1", "first") == "queued"
        with pytest.raises(Conflict, match="gives nothing back"):
            await desk.prompts.cancel(desk.id, "p-1")
        agent.gives_back = {"text": "first", "mode": "prompt", "images": 2}
        assert (await desk.prompts.cancel(desk.id, "p-1"))["images"] == 2
        assert desk.told[-1] == ("p-1", "cancelled")

    async def test_what_is_in_the_conversation_or_nowhere_cannot_be_taken_back(self, desk: Desk) -> None:
        desk.dial(SmallAgent())
        await desk.take("p-1")
        desk.prompts.prompt_entered(desk.id, "p-1")
        with pytest.raises(Conflict, match="in the conversation"):
            await desk.prompts.cancel(desk.id, "p-1")
        with pytest.raises(NotFound):
            await desk.prompts.cancel(desk.id, "p-2")
