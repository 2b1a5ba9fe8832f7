"""What an ended agent is offered to be gone on with, by the files that there are."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hyperpi import contract
from hyperpi.address import AgentId
from node import kinds, leavings
from node.agent_record import AgentRecord, resume_of
from node.agents import Agents, Observer
from node.endings import End
from node.kinds import Past, pi
from node.leavings import Leavings
from node.roster import Roster

SESSION = '{"type":"session","id":"s-1"}\n'
KILLED = End("killed", "killed by SIGKILL", signal="SIGKILL")


class Desk(Observer):
    """A node's agents and one pi whose session belongs into `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.agents = Agents(Roster(), node="n-den", node_name="den")
        self.leavings = Leavings(self.agents)
        self.agents.observers += [self.leavings, self]
        self.told = asyncio.Event()
        self.offers: list[str | None] = []  # as they were told

    def agent_changed(self, agent: AgentId) -> None:
        self.offers.append(resume_of(self.agents.roster.get(agent)))
        self.told.set()

    def pi(self, number: int = 1) -> AgentRecord:
        session = contract.Session(f"s-{number}", str(self.file))
        hello = contract.Register(instance=f"i-{number}", kind="pi", cwd="/srv", pid=7, session=session)
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
    assert not running.done()
    running.cancel()


async def test_a_pi_that_was_killed_before_it_wrote_its_session_is_not_offered(desk: Desk) -> None:
    record = desk.pi()
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    assert resume_of(record) is None


async def test_one_that_wrote_it_is_offered_also_by_the_next_node(desk: Desk) -> None:
    desk.file.write_text(SESSION)
    record = desk.pi()
    record.left = False  # as of a node that looked when the disk was away
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    assert resume_of(record) == "offered"


@pytest.mark.parametrize("wrote", ["at first", "later"])
async def test_one_that_comes_back_is_looked_at_again_when_it_ends(desk: Desk, wrote: str) -> None:
    if wrote == "at first":
        desk.file.write_text(SESSION)
    record = desk.pi()
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    assert resume_of(record) == ("offered" if wrote == "at first" else None)
    desk.pi()
    desk.agents.told_anew(record.id)
    desk.file.unlink() if wrote == "at first" else desk.file.write_text(SESSION)
    desk.agents.exited(record.id, KILLED)
    await desk.looked()
    assert record.left is not None
    assert resume_of(record) == (None if wrote == "at first" else "offered")


@pytest.mark.parametrize("content", [None, SESSION])
async def test_nothing_is_offered_before_somebody_has_looked(desk: Desk, content: str | None) -> None:
    if content is not None:
        desk.file.write_text(content)
    record = desk.pi()
    desk.agents.told_anew(record.id)
    desk.offers.clear()
    desk.agents.exited(record.id, KILLED)
    assert set(desk.offers) == {None}
    await desk.looked()
    assert desk.offers[-1] == ("offered" if content else None)
    assert desk.offers == sorted(desk.offers, key=str), "an offer was withdrawn"


async def test_a_look_at_an_earlier_end_says_nothing_of_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, there = threading.Event(), iter([True, False])
    begun: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def slow(_past: Past) -> bool:
        loop.call_soon_threadsafe(begun.put_nowait, None)
        looking.wait(10)
        return next(there)

    monkeypatch.setitem(kinds.KINDS, "pi", replace(pi.KIND, left=slow))
    record = desk.pi()
    desk.agents.exited(record.id, KILLED)
    async with asyncio.timeout(5):
        await begun.get()
    desk.pi()
    desk.agents.told_anew(record.id)
    desk.offers.clear()
    desk.agents.exited(record.id, KILLED)
    looking.set()
    await desk.looked()
    assert (record.left, set(desk.offers)) == (False, {None})


@pytest.mark.parametrize("line", [b"[" * 65_000, b"\xff\n", b"", b"7\n", b'{"type":"session"' * 9_000])
async def test_an_odd_file_is_no_conversation_and_the_next_agent_is_looked_at(
    desk: Desk, line: bytes
) -> None:
    desk.file.write_bytes(line)
    for number in (1, 2):
        record = desk.pi(number)
        desk.agents.exited(record.id, KILLED)
        await desk.looked()
        assert resume_of(record) is None


def test_a_pipe_a_folder_and_what_is_no_path_are_no_conversation(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), str(tmp_path), "/dev/zero", "/srv/\0", "/srv/\ud800", "", None):
        assert pi.left(Past("s-1", path)) is False


async def test_a_kind_that_fails_to_look_is_one_of_which_it_is_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_past: Past) -> bool:
        raise RuntimeError("not thought of")

    monkeypatch.setitem(kinds.KINDS, "pi", replace(pi.KIND, left=fails))
    for number in (1, 2):
        record = desk.pi(number)
        desk.agents.exited(record.id, KILLED)
        await desk.looked()
        assert resume_of(record) == "offered"
    assert caplog.text.count("cannot look at what is left") == 2


async def test_a_disk_that_hangs_is_waited_for_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    away, looks = threading.Event(), []

    def hangs(past: Past) -> bool:
        looks.append(past.session)
        return away.wait(10)

    monkeypatch.setattr(leavings, "LOOK_S", 0.05)
    monkeypatch.setitem(kinds.KINDS, "pi", replace(pi.KIND, left=hangs))
    try:
        for number in (1, 2):
            record = desk.pi(number)
            desk.agents.exited(record.id, KILLED)
            await desk.looked()
            assert resume_of(record) == "offered"
        assert looks == ["s-1"]
    finally:
        away.set()
