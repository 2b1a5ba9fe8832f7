"""Real programs in real terminals, held by real keepers that are killed, cut off and told to stop."""

import asyncio
import os
import re
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeper_rig import Node, Rig, lose_keepers, rig_in, until

from node.keeping import recording
from node.masters import Masters
from node.process import is_alive
from node.spawn import Spawned, TerminalSize

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_in(tmp_path) as rig:
        yield rig


def shown(one: Spawned) -> str:
    """All that the terminal has shown, as its recording has it."""
    assert one.terminal_folder is not None
    start, end = recording.extent(one.terminal_folder)
    return recording.read_on(one.terminal_folder, start, end - start)[1].decode("utf-8", "replace")


async def shows(one: Spawned, text: str) -> None:
    await until(lambda: text in shown(one))


async def terminal(rig: Rig, *argv: str) -> tuple[Node, Spawned]:
    """A program in a terminal, whose keeper the node knows and whose master it holds."""
    node = await rig.node()
    one = await rig.start(*argv, kind="terminal")
    await held(node, one)
    return node, one


async def held(node: Node, one: Spawned) -> None:
    await node.connected(one.agent)
    await until(lambda: node.masters.of(one.agent) is not None)


async def type_in(node: Node, one: Spawned, text: str) -> None:
    await node.book.send_input(one.agent, text.encode())


def size_of(folder: str) -> list[tuple[int, int]]:
    return [(cols, rows) for _, _, cols, rows in recording.timeline(folder, 0) if cols]


# --- a terminal like any other --------------------------------------------------------------------------


async def test_a_program_runs_in_a_terminal_of_its_own_and_is_typed_to(rig: Rig) -> None:
    node, one = await terminal(rig, "sh")
    await type_in(node, one, "tty; stty size; echo $TERM; ps -o tty= -p $$\r")
    await shows(one, "/dev/pts/")
    await shows(one, "40 120")
    await shows(one, "xterm-256color")
    await type_in(node, one, "sleep 1000\r")
    await until(lambda: "sleep 1000" in shown(one))
    await type_in(node, one, "\x03")  # reaches what runs in front
    await until(lambda: re.search(r"\^C\s*[#$] $", shown(one)))
    await type_in(node, one, "echo in$((1+1))t\r")
    await shows(one, "in2t")


async def test_another_size_is_told_to_the_program_and_recorded(rig: Rig) -> None:
    node, one = await terminal(
        rig, "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    )
    await shows(one, "ready")
    await node.book.resize(one.agent, TerminalSize(99, 33))
    await shows(one, "33 99")
    assert one.terminal_folder is not None
    assert size_of(one.terminal_folder) == [(120, 40), (99, 33)]


async def test_what_it_shows_is_told_at_once_to_a_node_that_follows(rig: Rig) -> None:
    node, one = await terminal(rig, "cat")
    await node.book.follow(one.agent, True)
    await type_in(node, one, "one line\r")
    await shows(one, "one line\r\none line")
    assert one.terminal_folder is not None
    end = recording.extent(one.terminal_folder)[1]
    await until(lambda: ("keeper.shown", {"agent": one.agent, "end": end}) in node.calls)


async def test_a_flood_is_bounded_on_the_disk_and_in_memory(rig: Rig) -> None:
    node, one = await terminal(
        rig, "sh", "-c", "head -c 40000000 /dev/zero | tr '\\0' x; echo; echo done; sleep 1000"
    )
    await shows(one, "done")
    assert one.terminal_folder is not None
    start, end = recording.extent(one.terminal_folder)
    assert end > 40_000_000
    assert end - start <= recording.SEGMENT_BYTES * recording.MAX_SEGMENTS + (1 << 17)
    rss = int(Path(f"/proc/{one.keeper_pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert rss <= 16 << 20
    assert node.book.is_connected(one.agent)


# --- its end --------------------------------------------------------------------------------------------


async def test_how_it_ended_and_its_last_words_are_reported(rig: Rig) -> None:
    node, one = await terminal(rig, "sh", "-c", "read line; echo bye; exit 7")
    await type_in(node, one, "\r")
    ended = await node.end_of(one.agent)
    assert (ended.code, ended.signal) == (7, None)
    assert ended.output.endswith("bye\r\n")


async def test_a_stop_hangs_up_and_ends_all_of_the_tree(rig: Rig) -> None:
    node, one = await terminal(rig, "bash", "--norc", "-i")
    pids = rig.work / "pids"
    await type_in(node, one, f"(trap '' HUP; sleep 1000) & setsid sleep 1000 & jobs -p > {pids}\r")
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    await node.book.stop(one.agent, 0.2)
    ended = await node.end_of(one.agent)
    assert ended.stopped
    assert not any(is_alive(int(pid)) for pid in (one.pid, *pids.read_text().split()))


# --- whatever else dies ---------------------------------------------------------------------------------


async def test_the_node_dies_and_what_was_shown_meanwhile_is_there(rig: Rig) -> None:
    node, one = await terminal(rig, "sh")
    await type_in(node, one, "(sleep 0.3; echo while you were a$((1+1))way) &\r")
    await shows(one, "sleep 0.3")
    await node.die()
    await shows(one, "while you were a2way")
    again = await rig.node()
    await held(again, one)
    assert is_alive(one.pid, one.pid_start)
    await type_in(again, one, "echo back a$((2+2))gain\r")
    await shows(one, "back a4gain")


async def test_a_killed_keeper_leaves_its_program_to_the_next_one(rig: Rig) -> None:
    node, one = await terminal(rig, "sh")
    await type_in(node, one, "echo be$((1+1))fore\r")
    await shows(one, "be2fore")
    for round_ in range(3):
        kept = node.book.kept(one.agent)
        assert kept is not None
        os.kill(kept.keeper_pid, signal.SIGKILL)
        await until(lambda former=kept: (now := node.book.kept(one.agent)) is not None and now != former)
        await held(node, one)
        await type_in(node, one, f"echo af$(({round_}+10))ter\r")
        await shows(one, f"af{round_ + 10}ter")
    assert is_alive(one.pid, one.pid_start)
    assert node.ends == []
    # The next node knows the new keeper from its file.
    await node.die()
    again = await rig.node()
    await held(again, one)
    await type_in(again, one, "exit 3\r")
    ended = await again.end_of(one.agent)
    assert (ended.code, ended.signal) == (None, None)  # it was not the last keeper's child
    assert ended.detail == "ended; how is not known, since its first keeper was killed"


async def test_a_program_goes_on_when_its_keeper_dies_while_no_node_runs(rig: Rig) -> None:
    node, one = await terminal(rig, "sh")
    await type_in(node, one, "while :; do echo still h$((1+1))re; sleep 0.05; done &\r")
    await shows(one, "still h2re")
    await node.die()
    os.kill(one.keeper_pid, signal.SIGKILL)
    before = len(shown(one))
    await until(lambda: "still h2re" in shown(one)[before:])
    again = await rig.node()
    await held(again, one)
    await type_in(again, one, "kill %1; echo back a$((2+2))gain\r")
    await shows(one, "back a4gain")
    assert is_alive(one.pid, one.pid_start)


async def test_a_terminal_is_taken_over_when_whoever_stood_by_was_killed_too(rig: Rig) -> None:
    node, one = await terminal(rig, "sh")
    lose_keepers(rig, one)
    await until(lambda: (now := node.book.kept(one.agent)) is not None and now.keeper_pid != one.keeper_pid)
    await held(node, one)
    await type_in(node, one, "echo af$((1+1))ter\r")
    await shows(one, "af2ter")
    assert is_alive(one.pid, one.pid_start)


async def test_keepers_killed_while_no_node_runs_take_their_program_along_and_that_is_said(rig: Rig) -> None:
    node, one = await terminal(rig, "sh")
    await node.die()
    lose_keepers(rig, one)
    await until(lambda: not is_alive(one.pid, one.pid_start))
    again = await rig.node()
    ended = await again.end_of(one.agent)
    assert ended.detail == "its keeper was killed"


async def test_nobody_but_its_keeper_hands_over_a_terminal(rig: Rig) -> None:
    node, one = await terminal(rig, "cat")
    before = node.masters.of(one.agent)
    ours, other = os.pipe()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(node.path.parent / "terminals.sock"))
        socket.send_fds(stranger, [b'{"agent":"%s"}\n' % one.agent.encode()], [other])
        stranger.settimeout(5)
        assert await asyncio.to_thread(stranger.recv, 1) == b""  # it was looked at, and closed
    assert node.masters.of(one.agent) == before
    os.close(ours)
    os.close(other)


async def test_a_node_that_is_out_of_descriptors_takes_a_terminal_over_once_it_has_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    masters = Masters(lambda agent: os.getpid())
    ours, other = os.pipe()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryDirectory(prefix="hyperpi-") as folder, socket.socket(socket.AF_UNIX) as keeper:
        path = Path(folder) / "terminals.sock"
        serving = asyncio.create_task(masters.serve(path))
        await until(path.exists)
        lowest_free = os.dup(ours)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, most[1]))
        try:
            keeper.connect(str(path))
            socket.send_fds(keeper, [b'{"agent":"shop"}\n'], [other])
            await until(lambda: serving.done() or "waits to be taken over" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)
        await until(lambda: serving.done() or masters.of("shop") is not None)
        assert not serving.done()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    os.close(ours)
    os.close(other)
