"""Agents that are connected and say nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hyperpi.address import AgentId
from hyperpi.errors import NodeUnreachable, UnknownMethod
from node.heartbeats import MISSED_BEATS, Heartbeats

RIVER = AgentId("a-river")


class Connection:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def call(self, method: str, params: dict, timeout_s: float) -> None:
        assert method == "ping"
        self.asked += 1
        await self.answer


class Told:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.silent: list[AgentId] = []
        self.answered: list[AgentId] = []
        self.beats = Heartbeats(self.silent.append, self.answered.append)
        self.tasks = tasks

    def beat(self, connection: Connection) -> None:
        self.beats.beat(RIVER, connection, self.tasks)


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    """In a group of its own, which ends with nobody being asked any more."""
    begun, over = asyncio.Event(), asyncio.Event()
    found: list[Told] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            found.append(Told(tasks))
            begun.set()
            await over.wait()

    running = asyncio.create_task(run())
    await begun.wait()
    yield found[0]
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    assert asyncio.all_tasks() == {asyncio.current_task()}, "somebody is still asked"


async def test_who_says_nothing_for_some_beats_is_told_as_silent_and_was_asked_once(told: Told):
    connection = Connection()
    for _ in range(MISSED_BEATS):
        told.beat(connection)
        await asyncio.sleep(0)
    assert told.silent == []
    told.beat(connection)
    assert told.silent == [RIVER]
    assert connection.asked == 1


async def test_a_word_begins_the_count_anew(told: Told):
    connection = Connection()
    for _ in range(2 * MISSED_BEATS):
        told.beat(connection)
        told.beats.heard(RIVER)
    assert told.silent == []


@pytest.mark.parametrize(
    ("error", "answered"),
    [(None, 1), (UnknownMethod("ping"), 1), (NodeUnreachable("gone"), 0), (RuntimeError("odd"), 0)],
)
async def test_not_to_know_the_question_is_an_answer_and_a_lost_line_or_a_fault_of_ours_is_none(
    told: Told, error: Exception | None, answered: int, caplog: pytest.LogCaptureFixture
):
    connection, again = Connection(), Connection()
    told.beat(connection)
    await asyncio.sleep(0)
    connection.answer.set_result(None) if error is None else connection.answer.set_exception(error)
    async with asyncio.timeout(5):
        while not again.asked:  # the former question is settled: another may be asked
            await asyncio.sleep(0)
            told.beat(again)
    assert len(told.answered) == answered
    assert [record.name for record in caplog.records] == ["node.heartbeats"] * isinstance(error, RuntimeError)
