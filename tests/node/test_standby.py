"""Who goes on with a program whose keeper was killed: real keepers, real programs, real kills."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeper_rig import Node, Rig, patient, rig_in, until

from node.keeper_files import Kept, after, read_file
from node.keeping.standby import MAX_PAUSE_S, Standby, pause_s
from node.process import is_alive, process_start
from node.spawn import Spawned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

ECHO = "while read line; do echo $line $$; done; exit 3"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_in(tmp_path) as rig:
        yield rig


def kept(rig: Rig, one: Spawned) -> Kept:
    """What stands in the agent's file."""
    found = read_file(rig.keepers / f"{one.agent}.json", Kept)
    assert found is not None
    return found


async def stands_by(rig: Rig, one: Spawned, other_than: int = 0) -> Kept:
    """The file, once it names somebody who stands by."""
    await until(lambda: kept(rig, one).standby_pid not in (0, other_than))
    return kept(rig, one)


async def lose(rig: Rig, one: Spawned) -> int:
    """Kill the keeper; the pid of the next, once that holds the program and has somebody stand by."""
    now = await stands_by(rig, one)
    os.kill(now.keeper_pid, signal.SIGKILL)
    await until(lambda: kept(rig, one).keeper_pid == now.standby_pid)
    return (await stands_by(rig, one, other_than=now.standby_pid)).keeper_pid


async def held_by(node: Node, one: Spawned, keeper: int) -> None:
    await node.until(
        lambda: (
            (known := node.book.kept(one.agent)) is not None
            and known.keeper_pid == keeper
            and node.book.is_connected(one.agent)
        )
    )


def known_to(node: Node, one: Spawned) -> Kept:
    """What the node knows by itself."""
    found = node.book.kept(one.agent)
    assert found is not None
    return found


def open_in(pid: int) -> list[str]:
    """What a process has open, by kind."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0])
    return sorted("log" if name.endswith("keepers.log") else name for name in found)


async def test_a_piped_program_goes_on_with_the_keeper_that_stood_by(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("sh", "-c", ECHO)
    await node.connected(one.agent)
    await held_by(node, one, await lose(rig, one))
    await node.book.send_input(one.agent, b"after\n")
    await node.book.stop(one.agent, grace_s=10)  # its input ends, though who stands by had a copy of it
    ended = await node.end_of(one.agent)
    assert ended.output == f"after {one.pid}\n"
    assert (ended.code, ended.signal, ended.stopped) == (None, None, True)  # it was not that keeper's child


async def test_a_piped_program_outlives_keeper_after_keeper_while_no_node_runs(rig: Rig) -> None:
    one = await rig.start("sh", "-c", ECHO)
    for _ in range(3):
        keeper = await lose(rig, one)
    node = await rig.node()
    await held_by(node, one, keeper)
    await node.book.send_input(one.agent, b"still there\n")
    await node.book.stop(one.agent, grace_s=10)
    assert (await node.end_of(one.agent)).output == f"still there {one.pid}\n"


ASKING = r"""
import json, os, sys
asked = {"id": "q1", "method": "select", "title": "Which?", "options": ["a", "b"]}
os.write(1, json.dumps({"type": "extension_ui_request", **asked}).encode() + b"\n")
os.write(2, sys.stdin.readline().encode())
sys.stdin.readline()
"""


async def test_a_question_that_pi_asked_a_dead_keeper_is_answered_through_the_next(rig: Rig) -> None:
    node = await rig.node()
    node.dialogs = True
    one = await rig.start_python(ASKING, "--mode", "rpc", kind="pi")
    await node.until(lambda: any(method == "keeper.dialog" for method, _ in node.calls))
    await held_by(node, one, await lose(rig, one))
    await node.book.answer_dialog(one.agent, "q1", {"value": "b"})
    await node.book.stop(one.agent, grace_s=10)
    said = json.loads((await node.end_of(one.agent)).output)
    assert said == {"type": "extension_ui_response", "id": "q1", "value": "b"}


async def test_a_node_that_comes_between_two_keepers_waits_for_the_second(rig: Rig) -> None:
    one = await rig.start("cat")
    now = await stands_by(rig, one)
    os.kill(now.standby_pid, signal.SIGSTOP)
    os.kill(now.keeper_pid, signal.SIGKILL)
    node = await rig.node()
    await until(
        lambda: (known := node.book.kept(one.agent)) is not None and known.keeper_pid == now.standby_pid
    )
    os.kill(now.standby_pid, signal.SIGCONT)
    await held_by(node, one, now.standby_pid)
    assert is_alive(one.pid, one.pid_start)
    assert node.ends == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_another_one_stands_by_when_the_first_was_ended(rig: Rig, number: signal.Signals) -> None:
    one = await rig.start("cat")
    first = (await stands_by(rig, one)).standby_pid
    os.kill(first, number)
    now = await stands_by(rig, one, other_than=first)
    assert process_start(first) is None  # collected
    assert now.keeper_pid == one.keeper_pid
    assert is_alive(now.standby_pid, now.standby_start)
    assert is_alive(one.pid, one.pid_start)


async def test_a_node_knows_who_stands_by_though_no_file_could_be_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, REFUSED_AGAIN_S=0.1)
    node = await rig.node()
    one = await rig.start("sh", "-c", ECHO)
    first = (await stands_by(rig, one)).standby_pid
    await node.connected(one.agent)
    in_the_way = rig.keepers / f"{one.agent}.json.tmp"
    in_the_way.mkdir()
    os.kill(first, signal.SIGKILL)
    await node.until(lambda: known_to(node, one).standby_pid not in (0, first))
    second = known_to(node, one).standby_pid
    os.kill(one.keeper_pid, signal.SIGKILL)
    await held_by(node, one, second)
    assert kept(rig, one).keeper_pid == one.keeper_pid  # the file knows nothing of it
    in_the_way.rmdir()
    await until(lambda: kept(rig, one).keeper_pid == second)  # but does, as soon as it can be written
    await node.book.send_input(one.agent, b"hello\n")
    await node.book.stop(one.agent, grace_s=10)
    assert (await node.end_of(one.agent)).output == f"hello {one.pid}\n"


async def test_what_could_not_be_written_is_not_written_after_the_end(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, REFUSED_AGAIN_S=0.1, ANSWER_S=1.0)
    node = await rig.node()
    one = await rig.start("cat")
    first = (await stands_by(rig, one)).standby_pid
    await node.connected(one.agent)
    in_the_way = rig.keepers / f"{one.agent}.json.tmp"
    in_the_way.mkdir()
    os.kill(first, signal.SIGKILL)
    await node.until(lambda: known_to(node, one).standby_pid not in (0, first))
    node.refuse = {"keeper.exited"}
    os.kill(one.pid, signal.SIGKILL)
    await until(lambda: any(method == "keeper.exited" for method, _ in node.calls))
    in_the_way.rmdir()
    await asyncio.sleep(0.3)  # nothing is to happen; it would have been written twice by now
    assert kept(rig, one).standby_pid == first
    node.refuse = set()
    assert (await node.end_of(one.agent)).signal == "SIGKILL"
    await until(lambda: list(rig.keepers.iterdir()) == [])


@pytest.mark.parametrize("missing", ["fork", "pipe"])
def test_a_system_that_refuses_a_process_costs_no_descriptor_and_no_signal(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def refuse() -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, missing, refuse)
    before = sorted(os.listdir("/proc/self/fd"))
    standby = Standby(lambda: None, 0)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            standby.begin([])
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert (standby.pid, standby.state()) == (0, {})


@pytest.mark.parametrize("end", ["stop", "exit", "shutdown"])
async def test_nobody_stands_by_for_a_program_that_has_ended(rig: Rig, end: str) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    now = await stands_by(rig, one)
    await node.connected(one.agent)
    if end == "stop":
        await node.book.stop(one.agent, grace_s=10)
    elif end == "exit":
        os.kill(one.pid, signal.SIGTERM)
    else:
        os.kill(one.keeper_pid, signal.SIGTERM)
    await node.end_of(one.agent)
    await until(lambda: not any(is_alive(pid) for pid in (now.standby_pid, one.keeper_pid, one.pid)))
    await until(lambda: list(rig.keepers.iterdir()) == [])


async def test_who_stands_by_has_nothing_open_but_what_the_program_is_held_by(rig: Rig) -> None:
    piped, shown = await rig.start("cat"), await rig.start("cat", kind="terminal")
    for one, held in ((piped, ["pipe"] * 3), (shown, ["/dev/ptmx"])):
        pid = (await stands_by(rig, one)).standby_pid
        only = sorted(["/dev/null", "/dev/null", "log", "pipe", *held])
        await until(lambda pid=pid, only=only: open_in(pid) == only)
        assert os.getsid(pid) == pid


async def test_the_keeper_and_who_stands_by_are_small_together(rig: Rig) -> None:
    one = await rig.start("cat")
    now = await stands_by(rig, one)
    together_kb = 0
    for pid in (now.keeper_pid, now.standby_pid):
        rollup = await asyncio.to_thread(Path(f"/proc/{pid}/smaps_rollup").read_text)
        together_kb += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert together_kb <= 15 << 10


def test_keepers_that_do_not_last_are_replaced_more_and_more_slowly() -> None:
    pauses = [pause_s(heirs) for heirs in range(1, 20)]
    assert pauses[:3] == [0.0, 0.1, 0.2]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_S


def test_the_next_keeper_is_who_stood_by_or_who_the_file_names_by_now() -> None:
    former = Kept("a", "i", "pi", "/", 10, "s10", 20, "s20")
    assert after(former, former) is None
    waiting = Kept("a", "i", "pi", "/", 10, "s10", 20, "s20", standby_pid=30, standby_start="s30")
    assert after(former, waiting) == Kept("a", "i", "pi", "/", 10, "s10", 30, "s30")
    begun = Kept("a", "i", "pi", "/", 10, "s10", 30, "s30", standby_pid=40, standby_start="s40")
    assert after(former, begun) == begun
