"""Agents that are connected and say nothing."""

import asyncio

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
    def __init__(self) -> None:
        self.silent: list[AgentId] = []
        self.answered: list[AgentId] = []
        self.beats = Heartbeats(self.silent.append, self.answered.append)


async def test_who_says_nothing_for_some_beats_is_told_as_silent_and_was_asked_once():
    told, connection = Told(), Connection()
    for _ in range(MISSED_BEATS):
        told.beats.beat(RIVER, connection)
        await asyncio.sleep(0)
    assert told.silent == []
    told.beats.beat(RIVER, connection)
    assert told.silent == [RIVER]
    assert connection.asked == 1
    told.beats.close()


async def test_a_word_begins_the_count_anew():
    told, connection = Told(), Connection()
    for _ in range(2 * MISSED_BEATS):
        told.beats.beat(RIVER, connection)
        told.beats.heard(RIVER)
    assert told.silent == []
    told.beats.close()


async def test_not_to_know_the_question_is_an_answer_and_a_lost_line_is_none():
    for error, answered in ((None, 1), (UnknownMethod("ping"), 1), (NodeUnreachable("gone"), 0)):
        told, connection = Told(), Connection()
        told.beats.beat(RIVER, connection)
        await asyncio.sleep(0)
        connection.answer.set_result(None) if error is None else connection.answer.set_exception(error)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        assert len(told.answered) == answered
        again = Connection()
        told.beats.beat(RIVER, again)  # the former question is settled: another may be asked
        await asyncio.sleep(0)
        assert again.asked == 1
        told.beats.close()
