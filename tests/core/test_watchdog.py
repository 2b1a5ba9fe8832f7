"""Stuck or not: what an open turn has come to, and what processes cost."""

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from hyperpi import contract
from node.agents import Agents
from node.policy import parse_policy
from node.roster import Roster
from node.tree_load import Cost, Row, costs, table
from node.watch_policy import WatchPolicy, parse_watch
from node.watchdog import Turn, stuck
from node.watching import Watching, noticeable

POLICY = WatchPolicy(stuck_after_s=300, same_call_times=3)


def raw(**event: Any) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def call(name: str = "bash", **args: Any) -> bytes:
    return raw(type="tool_start", call_id="c", message_id="m", name=name, args=args)


def after(*steps: tuple[float, bytes]) -> Turn:
    turn = Turn(0.0)
    for now, event in steps:
        turn.take(event, now)
    return turn


DELTA = raw(type="text_delta", message_id="m", block=0, delta='a "tool_start" in words')


def test_a_turn_is_stuck_once_nothing_has_come_for_so_long_and_not_before():
    turn = after((10.0, DELTA))
    assert stuck(turn, POLICY, 309.9) is None
    assert stuck(turn, POLICY, 310.0) == "nothing has come from it for 5 min"
    turn.take(DELTA, 311.0)
    assert stuck(turn, POLICY, 312.0) is None


def test_book_keeping_is_no_progress():
    quiet = [raw(type=kind, state="working") for kind in ("state", "usage", "approval", "notice", "scroll")]
    assert stuck(after(*((200.0, event) for event in quiet)), POLICY, 300.0) is not None


def test_the_tool_that_has_not_ended_is_named():
    turn = after((0.0, call(command="make")))
    assert stuck(turn, POLICY, 300.0) == "nothing has come from it for 5 min; the tool bash has not ended"
    turn.take(raw(type="tool_end", call_id="c", result="", is_error=False, duration_ms=1), 1.0)
    assert stuck(turn, POLICY, 301.0) == "nothing has come from it for 5 min"


def test_the_same_call_again_and_again_is_stuck_and_another_one_is_not():
    turn = after((1.0, call(command="ls", path="a")), (2.0, DELTA), (3.0, call(path="a", command="ls")))
    assert stuck(turn, POLICY, 4.0) is None
    turn.take(call(command="ls", path="a"), 4.0)
    assert stuck(turn, POLICY, 5.0) == "calls bash with the same arguments again and again"
    turn.take(call(command="ls", path="b"), 5.0)
    assert stuck(turn, POLICY, 6.0) is None


def test_what_a_person_says_begins_the_count_anew():
    turn = after(
        (1.0, call()), (2.0, call()), (3.0, raw(type="user_message", message_id="u", text="t")), (4.0, call())
    )
    assert stuck(turn, POLICY, 5.0) is None


@pytest.mark.parametrize(
    ("table_", "named"),
    [
        ({"stuck": 1}, "unknown key watch.stuck"),
        ({"stuck_after_s": 1}, "stuck_after_s must be seconds from 10 to 86400"),
        ({"stuck_after_s": True}, "stuck_after_s"),
        ({"same_call_times": 1}, "same_call_times must be a whole number from 2 to 1000"),
        ({"same_call_times": 2.5}, "same_call_times"),
    ],
)
def test_a_wrong_watch_policy_is_named(table_, named):
    with pytest.raises(ValueError, match=named):
        parse_watch(table_)


def test_node_toml_says_what_is_too_long(tmp_path):
    policy = parse_policy("[watch]\nstuck_after_s = 60\nsame_call_times = 5\n", tmp_path)
    assert policy.watch == WatchPolicy(60.0, 5)


# --- over the roster --------------------------------------------------------------------------------------


class Connection:
    """A line that nobody asks anything on."""


@pytest.fixture
def agents() -> Agents:
    return Agents(Roster(), node="n", node_name="den")


async def test_an_agent_becomes_stuck_says_why_and_comes_out_of_it(agents: Agents, monkeypatch):
    clock = {"now": 1_000.0}
    monkeypatch.setattr("node.watching.time.monotonic", lambda: clock["now"])
    watching = Watching(agents, lambda: POLICY)
    agents.observers.append(watching)
    hello = contract.Register(instance="i", kind="pi", cwd="/", pid=os.getpid())
    record = agents.register(hello, Connection(), pid=os.getpid(), project=None)  # type: ignore[arg-type]
    said = agents.log_of(record.id).ring

    agents.changed(record.id, contract.AgentChanged(state="working"))
    run = contract.AgentEvents(first=1, events=[contract_raw(call()) for _ in range(3)])
    agents.events(record.id, run)
    assert (record.state, record.detail) == ("stuck", "calls bash with the same arguments again and again")
    agents.asks(record.id, "waits for leave")
    agents.asks(record.id, None)
    assert record.state == "working", "a person has looked at it"
    agents.events(record.id, contract.AgentEvents(first=4, events=[contract_raw(call("edit"))]))
    assert record.state == "working"
    clock["now"] += 301
    await watching._look()
    assert (record.state, record.detail) == (
        "stuck",
        "nothing has come from it for 5 min; the tool edit has not ended",
    )
    agents.events(record.id, contract.AgentEvents(first=5, events=[contract_raw(DELTA)]))
    assert record.state == "working"
    agents.changed(record.id, contract.AgentChanged(state="idle"))
    clock["now"] += 10_000
    await watching._look()
    assert record.state == "idle"
    states = [json.loads(event)["state"] for event in said.since(said.oldest, 1 << 30) if b'"state"' in event]
    assert [state for state in states if state in {"stuck", "working"}].count("stuck") == 2
    agents._close()


def contract_raw(event: bytes) -> msgspec.Raw:
    return msgspec.Raw(event)


# --- what it costs ----------------------------------------------------------------------------------------


def row(parent: int, cpu_s: float, mem: int = 1) -> Row:
    return Row(parent, "s", Cost(cpu_s, mem))


def test_an_agent_costs_what_it_and_its_descendants_do_but_not_the_node_that_it_has_started():
    rows = {
        1: row(0, 9),
        10: row(1, 1.0, 100),
        11: row(10, 2.0, 10),
        12: row(11, 4.0, 1),
        20: row(10, 50),
        21: row(20, 60),
    }
    assert costs(rows, [(10, "s"), (11, None)], spare=20) == {10: Cost(7.0, 111), 11: Cost(6.0, 11)}
    assert costs(rows, [(10, "another start"), (99, None)], spare=20) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells cheaply")
def test_the_system_tells_of_a_child_and_of_the_time_that_ended_ones_have_taken():
    burn = (
        "import os, time\n"
        "pid, began = os.fork(), time.process_time()\n"
        "while time.process_time() - began < 0.3: pass\n"
        "if pid: os.waitpid(pid, 0); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = costs(table(), [(child.pid, None)], spare=0)[child.pid]
        child.communicate(b"\n")
    assert found.cpu_s >= 0.55
    assert found.mem_bytes > 1 << 20


def test_only_a_change_that_a_person_would_notice_is_told():
    def load(cpu: float, mem_mb: float) -> contract.Load:
        return contract.Load(cpu=cpu, mem_bytes=int(mem_mb * (1 << 20)))

    assert noticeable(None, load(0, 100))
    assert not noticeable(load(0.0, 100), load(0.04, 110))
    assert noticeable(load(0.0, 100), load(0.06, 100))
    assert not noticeable(load(1.0, 100), load(1.1, 100))
    assert noticeable(load(1.0, 100), load(0.0, 100))
    assert not noticeable(load(0.0, 200), load(0.0, 220))
    assert noticeable(load(0.0, 200), load(0.0, 250))
