"""What has ended is gone on with by a new agent: a real pi that was killed, or lost its machine."""

import asyncio
import json
import os
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Program, Refused, System, new_system
from model_server import ModelServer, model_server
from owners_pi import OwnersPi, give_pi
from rig import TerminalPi, needs_pi, needs_tmux, until

from hyperpi.holder import holder_of

pytestmark = needs_pi

Json = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def system(model: ModelServer) -> Iterator[System]:
    """A system whose owner has a pi with the scripted model."""
    with new_system() as found:
        give_pi(found, model.url)
        (found.folder / "user" / "work").mkdir(parents=True)
        found.start()
        yield found


@pytest.fixture
async def program(system: System) -> AsyncIterator[Program]:
    async with system.program() as found:
        await found.call("mesh.get")
        yield found


async def spawned(system: System, program: Program, *, headless: bool, args: list[str] | None = None) -> Json:
    """A pi in a folder of its own, once it waits for somebody."""
    work = Path(tempfile.mkdtemp(dir=system.folder / "user" / "work"))
    where = {"node": "den", "path": str(work), "kind": "pi", "request_id": work.name}
    made = await program.call("node.spawn", **where, headless=headless, args=args or [])
    return await program.knows(made["agent"], state="idle")


async def asked(program: Program, agent: str, text: str) -> None:
    """Prompt it and wait for the end of the turn."""
    await program.call("agent.prompt", agent=agent, text=text)
    await program.until(lambda: said(program, agent, f"ECHO: {text}"), f"the answer to {text!r}")
    await program.knows(agent, state="idle")


def said(program: Program, agent: str, text: str) -> bool:
    return any(
        text in json.dumps(event["entry"]) for event in program.following[agent].of_type("message_end")
    )


async def entries(program: Program, agent: str) -> list[Json]:
    found: list[Json] = (await program.call("agent.snapshot", agent=agent))["snapshot"]["entries"]
    return found


def told(found: list[Json]) -> list[tuple[str, str]]:
    return [(e["role"], "".join(b.get("text", "") for b in e["blocks"])) for e in found]


@pytest.mark.parametrize("headless", [True, False])
async def test_a_pi_that_was_killed_in_mid_turn_is_gone_on_with(
    system: System, program: Program, model: ModelServer, headless: bool
):
    old = await spawned(system, program, headless=headless, args=["--thinking", "low"])
    await program.attach(old["id"])
    await asked(program, old["id"], "before the storm")
    await program.call("agent.prompt", agent=old["id"], text=f"hold: storm-{headless}")
    await program.until(lambda: program.following[old["id"]].of_type("text_delta"), "the first words")
    await until(lambda: f"storm-{headless}" in json.dumps(model.requests[-1]), "the turn at the model")
    await program.knows(old["id"], state="working")
    requests = len(model.requests)
    os.kill(old["pid"], signal.SIGKILL)

    ended = await program.knows(old["id"], state="exited", resume="offered")
    await program.until(lambda: (program.agents[old["id"]]["ending"] or {}).get("signal"), "how it ended")
    ended = program.agents[old["id"]]
    assert ended["detail"] == "killed by SIGKILL; it was in the middle of a turn"
    assert (ended["ending"]["why"], ended["ending"]["interrupted"]) == ("killed", True)
    left = await entries(program, old["id"])
    assert left[-1]["interrupted"] is True
    assert ("user", "before the storm") in told(left)
    assert "--all-interrupted" in system.run("ls").stderr

    done = system.run("resume", "--all-interrupted", "--json")
    assert done.returncode == 0, done.stderr
    (resumed,) = [one for one in json.loads(done.stdout) if one["resumed_from"] == old["id"]]
    new = await program.knows(resumed["agent"], state="idle")
    assert (new["name"], new["resumed_from"], new["cwd"]) == (old["name"], old["id"], old["cwd"])
    assert new["session"]["file"] == old["session"]["file"]
    assert (await program.knows(old["id"], resume=None))["name"] != old["name"]
    assert len(model.requests) == requests, "the turn was run again by itself"
    again = await entries(program, new["id"])
    assert ("assistant", "ECHO: before the storm") in told(again)

    # Once more is the same one, and what it does is none of the old one's.
    assert (await program.call("agent.resume", agent=old["id"]))["agent"] == new["id"]
    await program.attach(new["id"])
    await asked(program, new["id"], "after the storm")
    assert ("user", "after the storm") in told(await entries(program, new["id"]))
    assert told(await entries(program, old["id"])) == told(left)
    await program.call("agent.stop", agent=new["id"])
    await program.knows(new["id"], state="exited", resume="possible")
    model.release(f"storm-{headless}")


async def test_after_a_restart_of_the_machine_agents_are_offered_and_never_run_by_themselves(
    system: System, model: ModelServer
):
    async with system.program() as program:
        await program.call("mesh.get")
        busy = await spawned(system, program, headless=True)
        calm = await spawned(system, program, headless=True)
        for one in (busy, calm):
            await program.attach(one["id"])
            await asked(program, one["id"], "good morning")
        await program.call("agent.prompt", agent=busy["id"], text="hold: dam")
        await program.knows(busy["id"], state="working")
        await until(lambda: record(system, busy["id"])["state"] == "working", "its state on disk")
    lose_power(system, [busy, calm])
    requests = len(model.requests)
    system.start_node()
    async with system.program() as program:
        await program.call("mesh.get")
        first = await program.knows(busy["id"], state="exited", resume="offered")
        assert first["detail"] == "the machine was restarted; it was in the middle of a turn"
        assert (first["ending"]["why"], first["ending"]["interrupted"]) == ("reboot", True)
        second = await program.knows(calm["id"], state="exited", resume="offered")
        assert (second["detail"], second["ending"]["interrupted"]) == ("the machine was restarted", False)
        assert (await entries(program, busy["id"]))[-1]["interrupted"] is True
        done = system.run("resume", "--all-interrupted", "--node", "den", "--json")
        found = {one["resumed_from"]: one["agent"] for one in json.loads(done.stdout)}
        assert {busy["id"], calm["id"]} <= found.keys()
        for old in (busy, calm):
            new = await program.knows(found[old["id"]], state="idle")
            assert new["name"] == old["name"]
            assert ("user", "good morning") in told(await entries(program, new["id"]))
        assert len(model.requests) == requests
        assert system.run("resume", "--all-interrupted").stderr.strip() == "nothing was interrupted"
        for new_id in found.values():
            await program.call("agent.stop", agent=new_id)
            await program.knows(new_id, state="exited")
    model.release("dam")


def record(system: System, agent: str) -> Json:
    """What stands in the node's store of an agent."""
    with sqlite3.connect(f"file:{system.home}/node/roster.db?mode=ro", uri=True) as db:
        (raw,) = db.execute("SELECT record FROM agents WHERE id = ?", (agent,)).fetchone()
    db.close()
    found: Json = json.loads(raw)
    return found


STARTS = ("pid_start", "keeper_start", "standby_start")


def lose_power(system: System, agents: list[Json]) -> None:
    """The node and all that it keeps end at once, and what is on disk is of an earlier boot."""
    system.kill_node()
    for path in (system.home / "node" / "keepers").glob("*.json"):
        kept = json.loads(path.read_text())
        if kept["agent"] not in {one["id"] for one in agents}:
            continue
        for name in ("standby_pid", "keeper_pid", "pid"):
            os.kill(kept[name], signal.SIGKILL)
        kept |= {name: f"0badb007-{kept[name].partition('-')[2]}" for name in STARTS}
        path.write_text(json.dumps(kept))
    assert holder_of(system.home / "node" / "lock") is None
    with sqlite3.connect(system.home / "node" / "roster.db") as db:
        for one in agents:
            kept = record(system, one["id"])
            kept["pid_start"] = f"0badb007-{kept['pid_start'].partition('-')[2]}"
            db.execute("UPDATE agents SET record = ? WHERE id = ?", (json.dumps(kept), one["id"]))
    db.close()


@needs_tmux
async def test_a_pi_whose_window_was_closed_is_gone_on_with_as_far_as_the_policy_lets(
    system: System, program: Program
):
    rig = OwnersPi(system, Path(tempfile.mkdtemp(dir=system.folder / "user" / "work")))
    terminal = TerminalPi(rig)  # type: ignore[arg-type]
    terminal.start()
    try:
        typed = await program.until(
            lambda: next((a for a in program.agents.values() if a["cwd"] == str(rig.project)), None), "pi"
        )
        await program.attach(typed["id"])
        await asked(program, typed["id"], "typed by hand")
        with pytest.raises(Refused) as refusal:
            await program.call("agent.resume", agent=typed["id"])
        assert refusal.value.code == -32009
    finally:
        terminal.end()
    ended = await program.knows(typed["id"], state="exited", resume="possible")
    assert ended["ending"]["why"] == "unknown"  # it was the window's own program

    policy = system.home / "node" / "node.toml"
    before = policy.read_text()
    policy.write_text(f'roots = ["{system.folder}/elsewhere"]\n{before}')
    try:
        await answered(program, typed["id"], -32012)
    finally:
        policy.write_text(before)
    successor = await answered(program, typed["id"], None)
    new = await program.knows(successor["agent"], state="idle")
    assert new["terminal"] is not None
    assert ("user", "typed by hand") in told(await entries(program, new["id"]))
    await program.call("agent.stop", agent=new["id"])
    await program.knows(new["id"], state="exited")


async def answered(program: Program, agent: str, code: int | None) -> Json:
    """agent.resume until it is refused with this code (None: until it is not): node.toml is read when the
    system says that it has changed, which takes a moment.
    """
    for _ in range(2_000):
        answer = await program.begin("agent.resume", agent=agent)
        await asyncio.wait([answer])
        error = answer.exception()
        if (error.code if isinstance(error, Refused) else None) == code:
            return {} if code is not None else answer.result()
        if error is None:
            await program.call("agent.stop", agent=answer.result()["agent"])
            await program.knows(answer.result()["agent"], state="exited")
    raise AssertionError(f"never answered with {code}")


async def test_who_denied_a_call_is_still_known_after_a_resume(system: System, program: Program):
    old = await spawned(system, program, headless=True)
    await program.call("agent.policy", agent=old["id"], mode="ask-all")
    await program.call("agent.prompt", agent=old["id"], text="run: echo forbidden")
    await program.knows(old["id"], state="waiting", pending=1)
    [asks] = (await program.call("approval.list", agent=old["id"]))["approvals"]
    denial = {"approval": asks["id"], "choice": "deny", "note": "not here"}
    await program.call("agent.answer", agent=old["id"], **denial)
    await program.knows(old["id"], state="idle", pending=0)
    await program.call("agent.stop", agent=old["id"])
    await program.knows(old["id"], state="exited")
    new = await program.knows((await program.call("agent.resume", agent=old["id"]))["agent"], state="idle")
    snapshot = (await program.call("agent.snapshot", agent=new["id"]))["snapshot"]
    [decision] = snapshot["decisions"]
    assert (decision["state"], decision["note"], decision["via"]) == ("denied", "not here", "api")
    calls = [b["call_id"] for e in snapshot["entries"] for b in e["blocks"] if b["type"] == "tool_call"]
    assert calls == [decision["call_id"]]


async def test_what_left_no_session_is_not_gone_on_with(system: System, program: Program):
    with system.agent_process("sessionless") as agent:
        known = agent.registered()
        await program.knows(known["agent"], state="idle")
        os.kill(agent.pid, signal.SIGKILL)
        ended = await program.knows(known["agent"], state="exited")
        assert ended["resume"] is None
        done = system.run("resume", "sessionless")
        assert done.returncode == 1
        assert "left no conversation to go on with" in done.stderr
