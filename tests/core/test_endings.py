"""Why an agent has ended: what each witness can say, and what is kept of it."""

import os
import subprocess
import sys

import pytest

from hyperpi import contract
from node import tty
from node.endings import End, by_goodbye, by_order, found_dead, without_a_word
from node.keeper_files import Ended, end_of
from node.keepers import KeeperBook
from node.keeping.processes import BOOT_TAG
from node.process import process_start
from node.roster import Roster
from node.transcript import broken_off


def ended(**facts: object) -> Ended:
    return Ended(**{"agent": "a-1", "instance": "i", "kind": "pi", "pid": 7, **facts})


@pytest.mark.parametrize(
    ("facts", "why", "detail"),
    [
        ({"code": 0, "output": "bye\n"}, "quit", "exit code 0"),
        ({"code": 3, "output": "a\nout of tea\n\n"}, "crash", "exit code 3: out of tea"),
        (
            {"code": 1, "output": "\x1b[31mno \x1b]0;t\x07tea\x1b[0m\r\n\x1b[?25l"},
            "crash",
            "exit code 1: no tea",
        ),
        ({"code": 1, "output": "no tea\n╰────\ufffd\n"}, "crash", "exit code 1: no tea"),
        ({"signal": "SIGKILL", "output": "\x1b[2Ksomething else"}, "killed", "killed by SIGKILL"),
        ({"signal": "SIGSEGV"}, "crash", "killed by SIGSEGV"),
        ({"signal": "SIGKILL"}, "killed", "killed by SIGKILL"),
        ({"signal": "SIGHUP"}, "closed", "killed by SIGHUP"),
        ({"code": 143, "output": "terminated"}, "killed", "exit code 143"),
        ({"code": 129}, "closed", "exit code 129"),
        ({"code": 0, "stopped": True}, "stopped", "stopped (exit code 0)"),
        ({"why": "keeper_lost"}, "killed", "its keeper was killed"),
        ({"why": "never_started"}, "crash", "it never started"),
        ({}, "unknown", "ended; how is not known, since its first keeper was killed"),
        (
            {"code": 0, "stopped": True, "shutdown": True},
            "reboot",
            "its keeper was told to end, as when the machine goes down (exit code 0)",
        ),
    ],
)
def test_what_a_keeper_reports_becomes_a_reason(facts, why, detail):
    end = end_of(ended(**facts))
    assert (end.why, end.detail) == (why, detail)


def test_the_last_lines_of_a_crash_are_kept_within_bounds():
    end = end_of(ended(code=1, output="\n".join(f"line {n} " + "x" * 500 for n in range(100))))
    lines = end.output.splitlines()
    assert (len(lines), lines[-1][:7], max(map(len, lines))) == (20, "line 99", 200)


def test_whoever_stopped_it_is_the_reason_and_what_was_seen_stays_beside_it():
    end = by_order("alice", End("killed", "killed by SIGKILL", signal="SIGKILL"))
    assert (end.why, end.by, end.detail, end.signal) == ("stopped", "alice", "stopped by alice", "SIGKILL")


def test_a_goodbye_is_a_quit_unless_it_makes_way_for_another_version():
    assert (by_goodbye("quit").why, by_goodbye("upgrade").why) == ("quit", "upgrade")


def test_a_start_identity_of_another_boot_means_that_the_machine_was_restarted():
    assert found_dead("0badb007-1234", "11112222").why == "reboot"
    assert found_dead("11112222-1234", "11112222").why == "unknown"
    assert (process_start(os.getpid()) or "").startswith(f"{BOOT_TAG}-")


@pytest.mark.parametrize(("is_open", "why"), [(True, "killed"), (False, "closed"), (None, "unknown")])
def test_a_program_that_nobody_holds_is_told_by_its_terminal(is_open, why):
    assert without_a_word(is_open).why == why


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_terminal_that_was_closed_is_not_taken_for_the_next_one_of_its_number():
    # As a shell does: it leads the session, whose terminal is what it opens first, and runs a program in it.
    program = "print('ready', flush=True); input()"
    shell = (
        "import os, subprocess, sys; os.open(os.ttyname(0), os.O_RDWR); "
        f"child = subprocess.Popen([sys.executable, '-c', {program!r}]); "
        "print(child.pid, flush=True); child.wait()"
    )

    def in_terminal() -> tuple[int, subprocess.Popen[bytes], str | None]:
        master, slave = os.openpty()
        leader = subprocess.Popen(
            [sys.executable, "-c", shell], stdin=slave, stdout=subprocess.PIPE, start_new_session=True
        )
        os.close(slave)
        assert leader.stdout is not None
        pid = int(leader.stdout.readline())
        assert leader.stdout.readline() == b"ready\n"
        assert tty.terminal_of(leader.pid) is None, "it goes with its leader, so it tells nothing"
        return master, leader, tty.terminal_of(pid)

    def end(master: int, child: subprocess.Popen[bytes]) -> None:
        os.close(master)
        child.communicate(timeout=10)

    master, child, first = in_terminal()
    assert first is not None
    assert tty.is_open(first)
    end(master, child)
    assert not tty.is_open(first)
    master, child, second = in_terminal()
    assert second is not None
    assert not tty.is_open(first)
    end(master, child)


def roster_with_a_turn() -> tuple[Roster, str]:
    roster = Roster()
    hello = contract.Register(instance="i-1", kind="pi", cwd="/srv/site", pid=7)
    record = roster.register(hello, pid=7, pid_start="s7", project="site", now=100.0)
    roster.changed(record.id, contract.AgentChanged(state="working"), 110.0)
    return roster, record.id


@pytest.mark.parametrize("away", [False, True])
def test_an_end_in_the_middle_of_a_turn_is_marked_also_when_it_was_out_of_reach(away):
    roster, agent = roster_with_a_turn()
    if away:
        roster.unreachable(agent, "its connection dropped", 120.0)
    roster.exited(agent, None, 130.0)
    roster.exited(agent, End("killed", "killed by SIGKILL", signal="SIGKILL", output="oh"), 131.0)
    record = roster.get(agent)
    assert record.ending is not None
    assert (record.interrupted, record.ending.interrupted, record.ending.signal) == (True, True, "SIGKILL")
    assert record.detail == "killed by SIGKILL; it was in the middle of a turn"
    assert record.last_output == "oh"


def test_a_goodbye_gives_way_to_what_was_done_to_it_and_nothing_else_does():
    roster, agent = roster_with_a_turn()
    roster.exited(agent, by_goodbye("quit"), 130.0)
    assert not roster.exited(agent, End("quit", "exit code 0"), 131.0)
    assert roster.exited(agent, End("killed", "its keeper was killed"), 132.0)
    assert roster.get(agent).detail == "its keeper was killed; it was in the middle of a turn"
    assert not roster.exited(agent, End("closed", "its terminal was closed"), 133.0)


def test_an_end_at_rest_is_not_marked_and_one_that_comes_back_has_not_ended():
    roster, agent = roster_with_a_turn()
    roster.changed(agent, contract.AgentChanged(state="idle"), 120.0)
    roster.exited(agent, End("quit", "quit"), 130.0)
    record = roster.get(agent)
    assert (record.interrupted, record.detail) == (False, "quit")
    hello = contract.Register(instance="i-1", kind="pi", cwd="/srv/site", pid=7)
    roster.register(hello, pid=7, pid_start="s7", project="site", now=140.0)
    assert (record.state, record.ending) == ("idle", None)


def test_the_last_entry_of_a_turn_that_broke_off_says_so_once():
    entries = [{"id": "1"}, {"id": "2"}]
    marked = broken_off(entries)
    assert marked == [{"id": "1"}, {"id": "2", "interrupted": True}]
    assert broken_off(marked) == marked
    assert broken_off([]) == []


def test_keepers_that_do_not_last_are_replaced_more_and_more_slowly(tmp_path, monkeypatch):
    clock = {"now": 1_000.0}
    monkeypatch.setattr("node.keepers.time.monotonic", lambda: clock["now"])
    book = KeeperBook(tmp_path, lambda _: None)  # type: ignore[arg-type]
    pauses = [book._heir_pause_s("a-1") for _ in range(4)]
    assert pauses == [0.0, 0.1, 0.2, 0.4]
    assert [book._heir_pause_s("a-1") for _ in range(20)][-1] == 30.0
    assert book._heir_pause_s("a-2") == 0.0
    clock["now"] += 61
    assert book._heir_pause_s("a-1") == 0.0
