"""Processes that are not our children, told apart and watched."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node import process
from node.keeping import processes
from node.process import ExitWatch, end_tree, is_alive, process_start, wait_for_end

linux = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc or pidfds")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def run(*argv: str) -> subprocess.Popen[bytes]:
        one = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        started.append(one)
        return one

    yield run
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.communicate()


Start = Callable[..., subprocess.Popen[bytes]]


def test_a_process_is_known_by_pid_and_start(start: Start) -> None:
    one = start("cat")
    identity = process_start(one.pid)
    assert identity
    assert is_alive(one.pid)
    assert is_alive(one.pid, identity)
    assert not is_alive(one.pid, "another start")
    assert process_start(one.pid) == identity


def test_two_processes_have_two_identities_unless_they_started_in_the_same_tick(start: Start) -> None:
    assert process_start(os.getpid()) != process_start(start("cat").pid)


def test_a_pid_that_nobody_has_is_nobody() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid in (gone.pid, 0, -1, 1 << 30):
        assert process_start(pid) is None
        assert not is_alive(pid)


def test_a_zombie_counts_as_dead_but_keeps_its_identity(start: Start) -> None:
    one = start("cat")
    identity = process_start(one.pid)
    one.kill()
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(one.pid, identity)
    assert not is_alive(one.pid)
    assert process_start(one.pid) == identity
    assert one.pid not in processes.processes()


@linux
def test_a_program_named_to_confuse_the_parser_is_read_all_the_same(tmp_path: Path, start: Start) -> None:
    nasty = tmp_path / "x) Z 1 (\n y"
    nasty.symlink_to("/bin/cat")
    one = start(str(nasty))
    one.stdin and one.stdin.write(b"up\n")
    one.stdin and one.stdin.flush()
    assert one.stdout and one.stdout.readline() == b"up\n"  # the new name is in place
    assert is_alive(one.pid, process_start(one.pid))
    found = processes.process_at(one.pid)
    assert found
    assert (found.parent, found.group, found.session) == (os.getpid(), one.pid, one.pid)


def test_the_listing_of_ps_agrees_with_itself(start: Start) -> None:
    """What macOS uses; Linux has the same ps but for its path."""
    if not Path("/bin/ps").exists():
        pytest.skip("no ps here")
    one = start("cat")
    alone = processes._of_ps("-p", str(one.pid))[one.pid]
    among = processes._of_ps("-ax")[one.pid]
    assert alone.start == among.start
    assert (alone.parent, alone.group) == (os.getpid(), one.pid)
    assert alone.lives


# --- watching ------------------------------------------------------------------------------------------


@pytest.fixture(params=["event", "poll"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to notice: the system's event, and polling where there is none."""
    if request.param == "poll":
        monkeypatch.setattr(ExitWatch, "_open", lambda self: None)
        monkeypatch.setattr(process, "POLL_S", 0.02)
    return str(request.param)


async def test_the_end_of_a_strangers_child_is_told_once(way: str, start: Start) -> None:
    parent = start("sh", "-c", "sleep 1000 & echo $!; wait")
    assert parent.stdout
    pid = int(await asyncio.to_thread(parent.stdout.readline))
    told: list[int] = []
    with ExitWatch(pid, process_start(pid)).start(lambda: told.append(pid)) as watch:
        await asyncio.sleep(0)
        assert told == []
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            await watch.ended()
        assert told == [pid]
    await asyncio.sleep(0)
    assert told == [pid]


@pytest.mark.usefixtures("way")
async def test_a_watch_on_somebody_dead_or_replaced_tells_at_once(start: Start) -> None:
    one = start("cat")
    for pid, identity in ((one.pid, "an earlier process"), (1 << 30, None)):
        assert await wait_for_end(pid, identity, timeout_s=1)


@pytest.mark.usefixtures("way")
async def test_a_zombie_is_told_as_an_end(start: Start) -> None:
    one = start("cat")
    told = asyncio.Event()
    with ExitWatch(one.pid, process_start(one.pid)).start(told.set):
        one.kill()  # and nobody waits for it
        async with asyncio.timeout(5):
            await told.wait()
    assert one.returncode is None


async def test_a_closed_watch_tells_nobody_and_frees_its_descriptor(way: str, start: Start) -> None:
    before = open_descriptors()
    told: list[int] = []
    children = [start("cat") for _ in range(20)]
    opened = open_descriptors()
    watches = [ExitWatch(c.pid, process_start(c.pid)).start(lambda: told.append(1)) for c in children]
    assert open_descriptors() == opened + (20 if way == "event" else 0)
    for watch in watches:
        watch.close()
        watch.close()
    assert open_descriptors() == opened
    for child in children:
        child.kill()
        child.communicate()
    await asyncio.sleep(0.05)  # nothing is to happen; a poll would have come by twice
    assert told == []
    assert open_descriptors() == before


async def test_a_watch_that_has_told_holds_nothing(start: Start) -> None:
    one = start("cat")
    before = open_descriptors()
    watch = ExitWatch(one.pid, process_start(one.pid)).start()
    one.kill()
    async with asyncio.timeout(5):
        await watch.ended()
    assert open_descriptors() == before


async def test_waiting_has_an_end(start: Start) -> None:
    one = start("cat")
    identity = process_start(one.pid)
    assert not await wait_for_end(one.pid, identity, timeout_s=0.05)
    one.kill()
    assert await wait_for_end(one.pid, identity, timeout_s=5)


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# --- ending a tree -------------------------------------------------------------------------------------


async def test_a_tree_is_ended_with_those_who_left_the_group_or_ignore_sigterm(start: Start) -> None:
    one = start(
        "sh", "-c", "(trap '' TERM; exec sleep 1000) & setsid sleep 1000 & echo ready; exec sleep 1000"
    )
    assert one.stdout
    assert await asyncio.to_thread(one.stdout.readline) == b"ready\n"
    identity = process_start(one.pid)
    assert identity
    async with asyncio.timeout(10):
        await end_tree(one.pid, identity, grace_s=0, patience_s=0.2)
        assert await asyncio.to_thread(one.stdout.read) == b""  # all three held it open


async def test_a_tree_that_ends_by_itself_gets_no_signal(start: Start) -> None:
    one = start("sh", "-c", "trap 'echo signalled' TERM; read line; exit 3")
    identity = process_start(one.pid)
    assert identity
    assert one.stdin
    one.stdin.close()
    one.stdin = None
    await end_tree(one.pid, identity, grace_s=5, patience_s=5)
    assert one.wait() == 3
    assert one.stdout
    assert one.stdout.read() == b""


async def test_the_tree_of_a_stranger_that_got_the_pid_is_left_alone(start: Start) -> None:
    one = start("cat")
    await end_tree(one.pid, "an earlier process", grace_s=0, patience_s=0.1)
    assert is_alive(one.pid)
