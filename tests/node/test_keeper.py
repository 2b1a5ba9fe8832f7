"""Real keepers with real children, killed and cut off in every way."""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from keeper_rig import Rig, lose_keepers, patient, rig_in, until

from hyperpi.errors import BadRequest, Conflict, NodeUnreachable, NotFound, Overloaded
from hyperpi.rpc import Connection
from node import keeper, process
from node.keeper_files import Ended
from node.keepers import KeeperBook
from node.keeping import keeper as keeping
from node.keeping.child import PiOutput
from node.keeping.processes import processes
from node.keeping.tree import Tree
from node.process import is_alive
from node.spawn import Spawned

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_in(tmp_path) as rig:
        yield rig


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def pids_written_to(path: Path, count: int) -> list[int]:
    await until(lambda: path.exists() and len(path.read_text().split()) == count)
    return [int(word) for word in path.read_text().split()]


# --- starting and ending -------------------------------------------------------------------------------


async def test_a_spawned_program_is_registered_by_its_keeper(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    await node.connected(one.agent)
    kept = node.book.kept(one.agent)
    assert kept is not None
    assert (kept.pid, kept.keeper_pid, kept.cwd) == (one.pid, one.keeper_pid, str(rig.work))
    assert os.readlink(f"/proc/{one.pid}/cwd") == str(rig.work)


async def test_child_and_keeper_have_sessions_of_their_own(rig: Rig) -> None:
    one = await rig.start("cat")
    assert os.getsid(one.pid) == os.getpgid(one.pid) == one.pid
    assert os.getsid(one.keeper_pid) == one.keeper_pid


async def test_the_keeper_knows_processes_as_the_node_does(rig: Rig) -> None:
    one = await rig.start("cat")
    assert one.pid_start == process.process_start(one.pid)
    assert one.keeper_start == process.process_start(one.keeper_pid)


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_the_exit_code_and_the_last_output_are_reported(rig: Rig, code: int) -> None:
    node = await rig.node()
    one = await rig.start("sh", "-c", f"echo out; echo err >&2; exit {code}")
    ended = await node.end_of(one.agent)
    assert (ended.code, ended.signal, ended.stopped, ended.detail) == (code, None, False, f"exit code {code}")
    assert set(ended.output.split()) == {"out", "err"}
    await until(lambda: process.process_start(one.keeper_pid) is None)  # collected: not even a zombie
    assert list(rig.keepers.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP, signal.SIGRTMIN + 3])
async def test_a_killed_program_is_reported_with_its_signal(rig: Rig, number: int) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    os.kill(one.pid, number)
    ended = await node.end_of(one.agent)
    assert ended.code is None
    name = signal.Signals(number).name if number < signal.SIGRTMIN else f"signal {int(number)}"
    assert ended.detail == f"killed by {name}"


async def test_a_program_that_ends_at_once_is_reported_too(rig: Rig) -> None:
    node = await rig.node()
    agents = [await rig.start("true") for _ in range(5)]
    for one in agents:
        assert (await node.end_of(one.agent)).code == 0
    assert node.book.living() == ()


async def test_a_grandchild_that_holds_the_pipes_does_not_delay_the_report(rig: Rig) -> None:
    node = await rig.node()
    pid_file = rig.work / "pid"
    one = await rig.start("sh", "-c", f"setsid sleep 1000 & echo $! > {pid_file}; echo last words; exit 7")
    ended = await node.end_of(one.agent)
    (pid,) = await pids_written_to(pid_file, 1)
    try:
        assert (ended.code, ended.output) == (7, "last words\n")
        await until(lambda: not is_alive(one.keeper_pid))  # nor does it keep the keeper
    finally:
        os.kill(pid, signal.SIGKILL)  # it has left the family: nobody else would


async def test_what_a_dead_program_leaves_in_its_group_is_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, TERM_S=0.3)
    node = await rig.node()
    pid_file = rig.work / "pid"
    one = await rig.start(
        "sh", "-c", f"trap '' TERM; sleep 1000 & echo $! > {pid_file}; kill -9 $$", kind="leaves"
    )
    (pid,) = await pids_written_to(pid_file, 1)
    assert (await node.end_of(one.agent)).signal == "SIGKILL"
    await until(lambda: not is_alive(pid))


# --- the node comes and goes ---------------------------------------------------------------------------


async def test_agents_survive_the_nodes_death_and_their_keepers_dial_the_next(rig: Rig) -> None:
    first = await rig.node()
    agents = [await rig.start("cat") for _ in range(3)]
    for one in agents:
        await first.connected(one.agent)
    await first.die()
    assert all(is_alive(one.pid, one.pid_start) for one in agents)
    second = await rig.node()
    for one in agents:
        await second.connected(one.agent)
        kept = second.book.kept(one.agent)
        assert kept is not None
        assert (kept.pid, kept.instance) == (one.pid, one.instance)
    assert second.ends == []


async def test_the_next_node_may_listen_somewhere_else(rig: Rig) -> None:
    one = await rig.start("cat")  # with no node at all
    rig.sockets = rig.sockets / "moved"
    rig.sockets.mkdir(mode=0o700)
    node = await rig.node()
    await node.connected(one.agent)
    assert is_alive(one.pid, one.pid_start)
    rig.sockets = rig.sockets.parent


async def test_an_exit_while_no_node_runs_is_reported_by_the_keeper_that_waited(rig: Rig) -> None:
    one = await rig.start("sh", "-c", "read line; echo got $line; exit 4")
    os.kill(one.pid, signal.SIGTERM)
    await until((rig.keepers / f"{one.agent}.exit.json").exists)
    node = await rig.node()
    assert (await node.end_of(one.agent)).signal == "SIGTERM"
    await until(lambda: not is_alive(one.keeper_pid))
    assert [e.agent for e in node.ends] == [one.agent]  # the file and the keeper both told it
    assert list(rig.keepers.iterdir()) == []


async def test_an_exit_while_no_node_runs_is_read_from_the_file_when_the_keeper_has_gone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, LINGER_S=0.05)
    one = await rig.start("sh", "-c", "echo bye; exit 4")
    await until(lambda: not is_alive(one.keeper_pid))
    node = await rig.node()
    ended = await node.end_of(one.agent)
    assert (ended.code, ended.output, ended.instance) == (4, "bye\n", one.instance)
    await until(lambda: list(rig.keepers.iterdir()) == [])


async def test_a_report_that_could_not_be_written_waits_for_a_node_in_memory(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, LINGER_S=0.05)
    one = await rig.start("cat")
    (rig.keepers / f"{one.agent}.exit.json.tmp").mkdir()  # as good as a full disk
    os.kill(one.pid, signal.SIGKILL)
    await until(lambda: (rig.home.logs / "keepers.log").read_text().count("cannot write") >= 3)
    assert is_alive(one.keeper_pid, one.keeper_start)
    (rig.keepers / f"{one.agent}.exit.json.tmp").rmdir()
    await until((rig.keepers / f"{one.agent}.exit.json").exists)
    node = await rig.node()
    assert (await node.end_of(one.agent)).signal == "SIGKILL"


async def test_an_end_that_the_node_cannot_write_down_is_reported_again(rig: Rig) -> None:
    node = await rig.node()
    refused = []

    def full(ended: object) -> None:
        if len(refused) < 2:
            refused.append(ended)
            raise OSError("no space left")

    node.on_end = full
    one = await rig.start("sh", "-c", "exit 5")
    assert (await node.end_of(one.agent)).code == 5
    assert len(refused) == 2
    await until(lambda: not is_alive(one.keeper_pid))
    assert len(node.ends) == 1


async def test_an_end_that_is_reported_twice_at_once_is_written_down_once(rig: Rig) -> None:
    written = []

    async def write_down(ended: Ended) -> None:
        await asyncio.sleep(0.01)
        written.append(ended)

    one = await rig.start("cat")
    book = KeeperBook(rig.keepers, write_down)
    book.started(one)
    report = {"agent": one.agent, "instance": one.instance, "kind": one.kind, "code": 0}
    assert await asyncio.gather(*(book.exited(report, one.keeper_pid) for _ in range(3))) == [{}] * 3
    assert await book.exited(report, one.keeper_pid) == {}
    assert [ended.code for ended in written] == [0]
    book.started(one)
    assert book.living() == ()
    book.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"instance": "another"}, Conflict),
        ({"code": "zero"}, BadRequest),
        ({"agent": None}, BadRequest),
        ({"agent": "../../etc/passwd"}, BadRequest),
    ],
)
async def test_only_a_keeper_can_report_the_end_of_its_agent(
    rig: Rig, change: dict[str, object], error: type[Exception]
) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    report = {"agent": one.agent, "instance": one.instance, "kind": one.kind, "code": 0}
    with pytest.raises(error):
        await node.book.exited(report | change, one.keeper_pid)
    with pytest.raises(Conflict):
        await node.book.exited(report, os.getpid())
    assert await node.book.exited(report | {"agent": "unknown"}, one.keeper_pid) == {}
    assert node.ends == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"instance": "another"}, Conflict),
        ({"keeper_pid": 1}, Conflict),
        ({"pid": "x"}, BadRequest),
        ({"agent": "unknown"}, NotFound),
        ({"agent": "../x"}, BadRequest),
    ],
)
async def test_only_its_keeper_can_register_for_an_agent(
    rig: Rig, change: dict[str, object], error: type[Exception]
) -> None:
    one = await rig.start("cat")
    book = KeeperBook(rig.keepers, nobody)
    said = {
        "agent": one.agent,
        "instance": one.instance,
        "kind": one.kind,
        "pid": one.pid,
        "pid_start": one.pid_start,
        "keeper_pid": one.keeper_pid,
    }
    connection = Connection(lambda _: None, lambda *_: None)
    with pytest.raises(error):
        await book.registered(said | change, connection, None)
    with pytest.raises(Conflict):
        await book.registered(said, connection, os.getpid())
    assert not book.is_connected(one.agent)
    assert await book.registered(said, connection, one.keeper_pid) == {}
    assert book.is_connected(one.agent)
    book.disconnected(connection)
    assert not book.is_connected(one.agent)


async def test_a_keeper_may_be_older_or_newer_than_its_node(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    await node.connected(one.agent)
    said = next(params for method, params in node.calls if method == "keeper.register")
    assert said["version"] == keeping.VERSION
    older = {key: value for key, value in said.items() if key not in {"version", "terminal"}}
    newer = {**said, "version": keeping.VERSION + 1, "of_a_later_version": {"deep": [1]}}
    for other in (older, newer):
        book = KeeperBook(rig.keepers, nobody)
        await book.recover()
        assert await book.registered(other, Connection(lambda _: None, lambda *_: None), one.keeper_pid) == {}
        assert book.is_connected(one.agent)
        book.close()
    book.close()


async def nobody(ended: Ended) -> None:
    """Takes no notice."""


async def test_a_node_that_does_not_answer_is_dialled_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, ANSWER_S=0.2)
    node = await rig.node()
    node.refuse = {"keeper.register"}
    one = await rig.start("cat")
    await until(lambda: len(node.calls) >= 2)
    node.refuse = set()
    await node.connected(one.agent)
    assert is_alive(one.pid, one.pid_start)


async def test_a_keeper_is_refused_for_an_agent_that_is_not_its_own_and_keeps_its_child(rig: Rig) -> None:
    one = await rig.start("cat")
    spec = rig.keepers / f"{one.agent}.json"
    known = json.loads(spec.read_text())
    spec.write_text(json.dumps(known | {"instance": "another"}))
    node = await rig.node()
    await until(lambda: len(node.calls) >= 3)  # it comes back again and again
    assert not node.book.is_connected(one.agent)
    assert is_alive(one.pid, one.pid_start)


async def test_a_keeper_does_not_talk_to_a_socket_that_others_could_have_put_there(rig: Rig) -> None:
    rig.sockets.chmod(0o777)
    node = await rig.node()
    one = await rig.start("cat")
    await asyncio.sleep(0.3)  # nothing is to happen; it would have dialled twice by now
    assert node.calls == []
    rig.sockets.chmod(0o700)
    await node.connected(one.agent)


# --- stopping ------------------------------------------------------------------------------------------

FAMILY = """
import signal, subprocess, sys
def start(code, *args, **more):
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code, *args], **more).pid
wait = "import time; time.sleep(1000)"
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + wait
parent = '''
import subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", sys.argv[1]], start_new_session=True)
print(child.pid, file=open(sys.argv[2], "a"), flush=True)
child.wait()
'''
pids = [
    start(wait),
    start(deaf),
    start(wait, start_new_session=True),
    start(deaf, start_new_session=True),
    start(parent, deaf, sys.argv[1], start_new_session=True),
]
print(*pids, file=open(sys.argv[1], "a"), flush=True)
"""


async def start_family(rig: Rig, end: str) -> tuple[Spawned, list[int]]:
    """A program with six descendants in every relation that processes can have, and how it goes on."""
    pid_file = rig.work / "pids"
    one = await rig.start_python(FAMILY + end, str(pid_file))
    return one, await pids_written_to(pid_file, 6)


async def test_stop_ends_a_program_that_minds_its_stdin_without_a_signal(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    await node.connected(one.agent)
    await node.book.stop(one.agent, grace_s=10)
    ended = await node.end_of(one.agent)
    assert (ended.code, ended.stopped, ended.detail) == (0, True, "stopped (exit code 0)")


async def test_stop_ends_a_program_that_ignores_its_stdin_by_sigterm_after_the_grace(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("sleep", "1000")
    await node.connected(one.agent)
    await node.book.stop(one.agent, grace_s=0.1)
    assert (await node.end_of(one.agent)).detail == "stopped (killed by SIGTERM)"


async def test_stop_ends_the_whole_tree_of_a_program_that_ends_politely(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, TERM_S=0.3)
    node = await rig.node()
    one, family = await start_family(rig, "sys.stdin.read()")
    await node.connected(one.agent)
    await node.book.stop(one.agent, grace_s=10)
    ended = await node.end_of(one.agent)
    assert ended.detail == "stopped (exit code 0)"
    assert [pid for pid in family if is_alive(pid)] == []  # it is ended only when all of it is


async def test_stop_ends_the_whole_tree_of_a_program_that_ignores_everything(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(rig, monkeypatch, TERM_S=0.3)
    node = await rig.node()
    one, family = await start_family(
        rig,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "while True: signal.pause()",
    )
    await node.connected(one.agent)
    await node.book.stop(one.agent, grace_s=0)
    assert (await node.end_of(one.agent)).detail == "stopped (killed by SIGKILL)"
    assert [pid for pid in family if is_alive(pid)] == []


BACKGROUND = """
import subprocess, sys, time
for how, pid_file in zip(("nohup", "setsid"), sys.argv[1:]):
    command = f"{how} sleep 1000 > /dev/null 2>&1 & echo $! > {pid_file}"
    subprocess.run(["sh", "-c", command], start_new_session=True)
sys.stdin.read()
"""


async def test_a_stop_ends_what_commands_have_left_in_the_background_but_no_daemon(rig: Rig) -> None:
    node = await rig.node()
    files = rig.work / "background", rig.work / "daemon"
    one = await rig.start_python(BACKGROUND, *map(str, files))
    [background], [daemon] = [await pids_written_to(file, 1) for file in files]
    await until(lambda: os.getsid(daemon) == daemon)
    await node.connected(one.agent)
    try:
        await node.book.stop(one.agent, grace_s=10)
        await node.end_of(one.agent)
        assert not is_alive(background)
        assert is_alive(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)


async def test_a_second_stop_hurries_the_first(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("sleep", "1000")
    await node.connected(one.agent)
    await node.book.stop(one.agent, grace_s=600)
    await node.book.stop(one.agent, grace_s=0)
    assert (await node.end_of(one.agent)).signal == "SIGTERM"


async def test_stop_waits_for_a_keeper_that_is_dialling(rig: Rig) -> None:
    one = await rig.start("cat")
    node = await rig.node()
    await node.book.stop(one.agent, grace_s=10)
    assert (await node.end_of(one.agent)).code == 0


async def test_stop_reaches_the_child_of_a_suspended_keeper(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.keepers.CALL_S", 0.2)
    node = await rig.node()
    one = await rig.start("sleep", "1000")
    await node.connected(one.agent)
    os.kill(one.keeper_pid, signal.SIGSTOP)
    await node.book.stop(one.agent, grace_s=1)
    assert not is_alive(one.pid, one.pid_start)
    os.kill(one.keeper_pid, signal.SIGCONT)
    assert (await node.end_of(one.agent)).signal == "SIGTERM"


async def test_stopping_what_does_not_run_says_so(rig: Rig) -> None:
    node = await rig.node()
    with pytest.raises(NotFound):
        await node.book.stop("nobody", grace_s=1)


async def test_a_node_that_an_agent_started_is_spared_with_all_that_it_keeps(rig: Rig) -> None:
    one, family = await start_family(rig, "sys.stdin.read()")
    table = processes()
    spare = next(pid for pid in family if table[pid].parent in family)
    parent = table[spare].parent
    tree = Tree(one.pid, one.pid_start)
    tree.look(spare=parent)
    assert set(tree.known) == {one.pid, *family} - {spare, parent}
    tree.look(spare=None)
    assert set(tree.known) == {one.pid, *family}


async def test_a_node_that_was_left_in_the_background_is_spared_too(rig: Rig) -> None:
    files = rig.work / "background", rig.work / "daemon"
    one = await rig.start_python(BACKGROUND, *map(str, files))
    [background], [daemon] = [await pids_written_to(file, 1) for file in files]
    tree = Tree(one.pid, one.pid_start)
    try:
        await until(lambda: background in (table := processes()) and table[background].session not in table)
        tree.look(spare=background, mark=f"HYPERPI_AGENT={one.agent}")
        assert background not in tree.known
        tree.look(spare=None, mark="HYPERPI_AGENT=another")
        assert background not in tree.known
        tree.look(spare=None, mark=f"HYPERPI_AGENT={one.agent}")
        assert background in tree.known
        assert daemon not in tree.known
    finally:
        for pid in (background, daemon):
            os.kill(pid, signal.SIGKILL)


def test_a_tree_never_takes_in_strangers_that_got_its_pid() -> None:
    tree = Tree(os.getpgid(0), "another start")
    tree.look(spare=None)
    assert tree.known == {}


# --- signals to the keeper, and its death --------------------------------------------------------------


async def test_a_keeper_ignores_hangups_and_interrupts(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    await node.connected(one.agent)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
        os.kill(one.keeper_pid, number)
    await node.book.send_input(one.agent, b"still here\n")
    assert is_alive(one.keeper_pid, one.keeper_start)
    await node.book.stop(one.agent, grace_s=10)
    assert (await node.end_of(one.agent)).output == "still here\n"


async def test_children_do_not_inherit_ignored_or_blocked_signals(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await rig.node()

    async def here(act: Callable[..., object], *args: object) -> object:
        return act(*args)

    monkeypatch.setattr(asyncio, "to_thread", here)  # so that this thread's mask would be inherited
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        one = await rig.start("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    finally:
        signal.signal(signal.SIGHUP, ignored)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    ended = await node.end_of(one.agent)
    assert [int(line.split()[1], 16) for line in ended.output.splitlines()] == [0, 0]


async def test_a_keeper_told_to_end_ends_its_child_in_order(rig: Rig) -> None:
    one = await rig.start("cat")  # and no node: the machine is going down
    os.kill(one.keeper_pid, signal.SIGTERM)
    await until(lambda: not is_alive(one.keeper_pid))
    report = json.loads((rig.keepers / f"{one.agent}.exit.json").read_text())
    assert (report["code"], report["stopped"]) == (0, True)


async def test_a_keeper_that_only_waits_for_a_node_does_not_hold_up_a_shutdown(rig: Rig) -> None:
    one = await rig.start("sh", "-c", "exit 6")
    await until((rig.keepers / f"{one.agent}.exit.json").exists)
    os.kill(one.keeper_pid, signal.SIGTERM)
    await until(lambda: not is_alive(one.keeper_pid), within_s=5)
    node = await rig.node()
    assert (await node.end_of(one.agent)).code == 6


async def test_an_end_is_on_the_disk_before_the_rest_of_the_tree_has_ended(rig: Rig) -> None:
    node = await rig.node()
    one, family = await start_family(rig, "sys.stdin.read()")
    await node.connected(one.agent)
    await node.book.stop(one.agent, grace_s=10)
    await until((rig.keepers / f"{one.agent}.exit.json").exists)
    assert any(is_alive(pid) for pid in family)  # some ignore SIGTERM
    os.kill(one.keeper_pid, signal.SIGKILL)
    assert (await node.end_of(one.agent)).detail == "stopped (exit code 0)"
    for pid in family:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


async def test_a_program_ends_with_whoever_held_it_and_whoever_stood_by_and_that_is_said(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("cat")
    await node.connected(one.agent)
    lose_keepers(rig, one)
    ended = await node.end_of(one.agent)
    assert (ended.why, ended.detail, ended.instance) == ("keeper_lost", "its keeper was killed", one.instance)
    assert not is_alive(one.pid, one.pid_start)
    assert process.process_start(one.keeper_pid) is None  # collected
    await until(lambda: list(rig.keepers.iterdir()) == [])


async def test_a_child_that_does_not_mind_that_nobody_holds_it_is_ended_with_its_commands(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.keepers.ORPHAN_S", 0.2)
    node = await rig.node()
    one, family = await start_family(
        rig, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
    )
    await node.connected(one.agent)
    lose_keepers(rig, one)
    assert (await node.end_of(one.agent)).why == "keeper_lost"
    assert [pid for pid in (one.pid, *family) if is_alive(pid)] == []


async def test_keepers_killed_while_no_node_runs_are_noticed_by_the_next(rig: Rig) -> None:
    one = await rig.start("cat")
    lose_keepers(rig, one)
    await until(lambda: not is_alive(one.keeper_pid))
    node = await rig.node()
    assert (await node.end_of(one.agent)).why == "keeper_lost"


async def test_a_start_that_an_earlier_node_did_not_finish_is_reported_and_forgotten(rig: Rig) -> None:
    folder = rig.home.make("node", "keepers")
    for name, content in (("cut", ""), ("half", '{"agent": "half", "instance": "i", "kind": "k"}')):
        (folder / f"{name}.json").write_text(content)
        os.utime(folder / f"{name}.json", (0, 0))
    node = await rig.node()
    assert (await node.end_of("cut")).detail == "it never started"
    assert (await node.end_of("half")).instance == "i"
    await until(lambda: list(folder.iterdir()) == [])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_end_is_told_to_some_node_and_told_right_whatever_is_killed_when(
    rig: Rig, seed: int
) -> None:
    """Nodes, keepers and children die at random moments; nothing is lost and nothing stays."""
    dice = random.Random(seed)
    node = await rig.node()
    agents = [await rig.start("cat") for _ in range(12)]
    expected: dict[str, str] = {}
    for one in agents:
        match dice.randrange(4):
            case 0:
                os.kill(one.pid, signal.SIGKILL)
                expected[one.agent] = "killed by SIGKILL"
            case 1:
                lose_keepers(rig, one)
                expected[one.agent] = "its keeper was killed"
            case 2:
                os.kill(one.keeper_pid, signal.SIGTERM)
                expected[one.agent] = "stopped (exit code 0)"
            case 3:
                await node.book.stop(one.agent, grace_s=10)
                expected[one.agent] = "stopped (exit code 0)"
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.05)
            await node.die()
            node = await rig.node()
    await until(lambda: {e.agent for node in rig.nodes for e in node.ends} == set(expected))
    told = {(e.agent, e.detail) for node in rig.nodes for e in node.ends}
    assert told == set(expected.items())  # some perhaps to two nodes, but never differently
    await until(lambda: list(rig.keepers.iterdir()) == [])
    await until(lambda: not any(is_alive(p) for one in agents for p in (one.pid, one.keeper_pid)))
    assert node.book.living() == ()


# --- input and output ----------------------------------------------------------------------------------


async def test_input_reaches_the_program(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("sh", "-c", "read a; read b; echo $b $a")
    await node.book.send_input(one.agent, b"eins\nzw")
    await node.book.send_input(one.agent, "ölf\n".encode())
    assert (await node.end_of(one.agent)).output == "zwölf eins\n"


async def test_input_for_a_program_that_does_not_read_is_refused_not_hoarded(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("sleep", "1000")
    await node.connected(one.agent)
    chunk = bytes(256 << 10)
    for _ in range(3):  # all but the pipe's own 64 KiB stay with the keeper, which takes 1 MiB
        await node.book.send_input(one.agent, chunk)
    await node.book.send_input(one.agent, chunk)
    with pytest.raises(Overloaded):
        await node.book.send_input(one.agent, chunk)
    assert memory_of(one.keeper_pid) < 20 * MIB


async def test_input_for_a_program_without_a_keeper_on_the_line_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.keepers.REDIAL_S", 0.1)
    one = await rig.start("cat")
    os.kill(one.keeper_pid, signal.SIGSTOP)
    node = await rig.node()
    with pytest.raises(NodeUnreachable):
        await node.book.send_input(one.agent, b"x")


async def test_a_flood_of_output_is_drained_and_only_its_end_kept(rig: Rig) -> None:
    node = await rig.node()
    done = rig.work / "done"
    one = await rig.start_python(
        "import os, sys\n"
        "line = b'x' * 99 + b'\\n'\n"
        "for _ in range(1024): os.write(1, line * 1024)\n"  # 100 MiB
        "open(sys.argv[1], 'w').close()\n"
        "os.read(0, 1)\n"
        "os.write(1, b'the end')",
        str(done),
    )
    await node.connected(one.agent)
    await until(done.exists)
    assert memory_of(one.keeper_pid) <= 15 * MIB
    await node.book.send_input(one.agent, b"go")
    ended = await node.end_of(one.agent)
    assert ended.code == 0
    assert ended.output.endswith("the end")
    assert len(ended.output) == 64 << 10


async def test_a_keeper_does_not_grow_with_what_its_child_prints(rig: Rig) -> None:
    node = await rig.node()
    done = rig.work / "done"
    one = await rig.start_python(
        "import os, sys\n"
        "for n in range(100): os.write(1, bytes([65 + n % 26]) * (1 << 20))\n"
        "open(sys.argv[1], 'w').close()\n"
        "os.read(0, 1)",
        str(done),
        "--mode",
        "rpc",
        kind="pi",  # one endless line of protocol
    )
    await node.connected(one.agent)
    at_rest = memory_of(one.keeper_pid)
    await until(done.exists)
    assert at_rest <= 15 * MIB
    assert memory_of(one.keeper_pid) <= at_rest + MIB


async def test_an_idle_keeper_is_small_and_does_nothing(rig: Rig) -> None:
    node = await rig.node()
    quiet = await rig.start("cat")
    closed = await rig.start("sh", "-c", "exec 0<&- 1>&- 2>&-; exec sleep 1000")  # its pipes have ended
    for one in (quiet, closed):
        await node.connected(one.agent)
    before = [cpu_of(one.keeper_pid) for one in (quiet, closed)]
    await asyncio.sleep(0.45)
    after = [cpu_of(one.keeper_pid) for one in (quiet, closed)]
    assert all(b - a <= 0.02 for a, b in zip(before, after, strict=True))
    assert all(memory_of(one.keeper_pid) <= 15 * MIB for one in (quiet, closed))


async def test_a_keeper_without_a_node_hardly_works(rig: Rig) -> None:
    one = await rig.start("cat")
    await asyncio.sleep(0.3)  # past the first, quicker tries
    before = cpu_of(one.keeper_pid)
    await asyncio.sleep(0.45)
    assert cpu_of(one.keeper_pid) - before <= 0.02


# --- pi ------------------------------------------------------------------------------------------------

ASKING = r"""
import json, os, sys
def say(**message): os.write(1, json.dumps(message).encode() + b"\n")
say(type="extension_ui_request", id="n1", method="notify", message="no answer wanted")
say(type="message_update", text="extension_ui_request in a text", id="t1")
os.write(1, b'{"type":"huge","text":"' + b"y" * 900000 + b'"}\n')
request = b'{"type":"extension_ui_request","id":"q1","method":"select","title":"Really?","options":["a"]}\n'
os.write(1, request[:30])
os.read(0, 0)
os.write(1, request[30:])
say(type="extension_ui_request", id="q2", method="someday", title="new kind of dialog")
answers = [json.loads(sys.stdin.readline()) for _ in range(2)]
os.write(1, b"not protocol\n")
os.write(2, b"answers: " + json.dumps(answers).encode() + b"\n")
"""


SAYING = r"""
import json, sys, time
said = {"id": "n", "method": "notify", "notifyType": "error", "message": "no tea"}
while True:
    print(json.dumps({"type": "extension_ui_request", **said}), flush=True)
    time.sleep(0.05)
"""


async def test_what_an_extension_says_is_told_to_a_node_that_listens_and_waits_for_no_other(rig: Rig) -> None:
    one = await rig.start_python(SAYING, "--mode", "rpc", kind="pi")
    node = await rig.node()
    told = ("keeper.notice", {"agent": one.agent, "text": "no tea", "level": "error"})
    await node.until(lambda: told in node.calls)
    assert next(method for method, _ in node.calls) == "keeper.register"


async def test_pis_dialogs_are_cancelled_and_its_protocol_is_no_output(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start_python(ASKING, "--mode", "rpc", kind="pi")
    ended = await node.end_of(one.agent)
    assert ended.code == 0
    lines = sorted(ended.output.splitlines())
    assert lines[1:] == ["not protocol"]
    assert json.loads(lines[0].removeprefix("answers: ")) == [
        {"type": "extension_ui_response", "id": "q1", "cancelled": True},
        {"type": "extension_ui_response", "id": "q2", "cancelled": True},
    ]


def test_dialogs_are_found_however_the_output_is_cut() -> None:
    request = b'{"type":"extension_ui_request","id":"q","method":"confirm","title":"\xe2\x80\xa8"}\n'
    noise = b'{"extension_ui_request":1}\n[]\n{"type":"extension_ui_request","method":"select"}\n{bad\n'
    stream = noise + request + b"plain\n" + request
    for size in range(1, len(stream)):
        output = PiOutput()
        fed = [output.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
        assert sum(len(answers) for answers, _ in fed) == 2
        assert b"".join(text for _, text in fed) == b"[]\nplain\n"


async def test_a_keeper_needs_nothing_but_a_little_of_the_standard_library() -> None:
    code = """
import sys
sys.path.append(sys.argv[1])
import node.keeper
known = sys.stdlib_module_names | {"node", "__main__"}
print(sorted(name for name in sys.modules if name.split(".")[0] not in known))
print(sorted(name for name in sys.modules if name.startswith("node.") and ".keep" not in name))
print({"asyncio", "typing", "ctypes", "logging"} & set(sys.modules))
"""
    root = str(Path(keeper.__file__).parent.parent)
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", code, root, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asked.communicate()
    assert printed.decode().splitlines() == ["[]", "[]", "set()"]


async def test_a_keeper_whose_home_was_removed_ends_with_its_agent(rig: Rig) -> None:
    one = await rig.start("cat")
    shutil.rmtree(rig.home.path)
    os.kill(one.keeper_pid, signal.SIGTERM)
    await until(lambda: not is_alive(one.keeper_pid, one.keeper_start))
    assert not is_alive(one.pid, one.pid_start)
