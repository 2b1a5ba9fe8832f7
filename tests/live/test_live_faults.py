"""Processes that are killed, ended and started wrongly while others go on."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Program, Refused, System, is_running, new_system, until

from hyperpi.holder import holder_of

RATE = 200  # events a second


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system whose home has roots of its own, so that others can be refused."""
    with new_system() as found:
        (found.folder / "user" / "allowed").mkdir()
        (found.home / "node").mkdir(parents=True)
        (found.home / "node" / "node.toml").write_text(
            f'roots = ["{found.folder}/user/allowed"]\n[kinds]\nidle = ["sleep", "300"]\n'
        )
        found.start()
        yield found


async def test_a_killed_hypivisor_costs_a_viewer_neither_a_hole_nor_a_repeat(system: System):
    with system.agent_process("talker") as agent:
        known = agent.registered()
        async with system.program() as before:
            await before.knows(known["agent"], state="idle")
            told = await before.attach("talker")
            await before.call("agent.prompt", agent="talker", text=f"chatter {RATE}", id="begin")
            await before.until(lambda: len(told.of_type("text_delta")) > RATE, "some events")
            node = system.node_pid()
            assert system.up is not None
            system.up.kill()
            system.up.wait(10)
            await before.closed()
        assert system.node_pid() == node
        assert agent.process.poll() is None
        system.start()
        assert system.node_pid() == node
        async with system.program() as after:
            await after.knows(known["agent"])
            assert [one["name"] for one in after.nodes.values()] == ["den"]
            again = await after.attach("talker", epoch=told.epoch, seq=told.seq)
            assert again.resume == "ok"
            await after.call("agent.prompt", agent="talker", text="hush", id="end")
            await after.until(
                lambda: [e for e in again.of_type("user_message") if e["prompt_id"] == "end"], "the end"
            )
            numbers = [int(number) for number in (told.text() + again.text()).split()]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) > RATE
            assert again.resets == []
        assert len(agent.did("register")) == 1  # it noticed nothing
        assert [prompt["id"] for prompt in agent.did("prompt")] == ["begin", "end"]


async def test_a_prompt_that_was_acknowledged_runs_once_although_the_hypivisor_is_killed(system: System):
    with system.agent_process("sure") as agent:
        known = agent.registered()
        async with system.program() as program:
            await program.knows(known["agent"], state="idle")
            sent = await program.call("agent.prompt", agent="sure", text="remember", id="p-kill")
            assert system.up is not None
            system.up.kill()
            system.up.wait(10)
            assert sent["receipt"] in {"queued", "delivered"}
            await program.closed()
        system.start()
        async with system.program() as program:
            await program.knows(known["agent"])
            again = await program.call("agent.prompt", agent="sure", text="remember", id="p-kill")
            assert again["receipt"] == "delivered"
        assert [prompt["id"] for prompt in agent.did("prompt")] == ["p-kill"]


async def test_up_says_that_it_will_be_back_and_leaves_the_rest_running(system: System):
    with system.agent_process("bystander") as agent:
        known = agent.registered()
        node = system.node_pid()
        async with system.program() as program:
            await program.knows(known["agent"], state="idle")
            ending = asyncio.create_task(asyncio.to_thread(system.end_up, signal.SIGINT))
            assert await program.closed() == 4002
            assert await ending == 0
        assert not (system.home / "hypivisor" / "run.json").exists()
        assert system.node_pid() == node
        assert agent.process.poll() is None
        assert known["agent"] in system.run("ls", "--json").stdout  # asked of the node
        system.start()
        async with system.program() as program:
            await program.knows(known["agent"], state="idle")
        assert len(agent.did("register")) == 1


async def test_a_killed_node_finds_its_agents_again_and_delivers_what_it_had_stored(system: System):
    with system.agent_process("survivor") as agent:
        known = agent.registered()
        async with system.agent("away") as away, system.program() as program:
            await program.knows(known["agent"], state="idle")
            await program.knows(away.id, state="idle")
            done = await program.call("scroll.send", to="survivor", message="before")
            await answered(program, done["scroll_id"])
            await away.cut()
            waiting = await program.call("scroll.send", to="away", message="stored")
            await program.until(
                lambda: program.params_of("scroll.changed", scroll_id=waiting["scroll_id"], state="stored")
            )
            held = await program.call("agent.prompt", agent="away", text="when you are back", id="p-held")
            assert held["receipt"] == "stored"
            system.kill_node()
            assert agent.process.poll() is None
            await program.until(lambda: [n["state"] for n in program.nodes.values()] == ["disconnected"])
            with pytest.raises(Refused) as refusal:
                await program.call("agent.prompt", agent="survivor", text="anybody?")
            assert refusal.value.code == -32011
            await asyncio.to_thread(system.start_node)
            assert agent.registered(times=2)["agent"] == known["agent"]
            before = away.id
            await away.dial()
            assert away.id == before
            await answered(program, waiting["scroll_id"])
            await program.knows(known["agent"], state="idle")
            await program.until(lambda: [n["state"] for n in program.nodes.values()] == ["online"])
            assert [scroll["message"] for scroll in away.scrolls] == ["stored"]
            again = await program.call("agent.prompt", agent="away", text="when you are back", id="p-held")
            assert again["receipt"] in {"queued", "delivered"}
            assert [prompt["text"] for prompt in away.prompts] == ["when you are back"]
            await program.call("agent.prompt", agent="survivor", text="hello again", id="p-again")
            await program.call("scroll.send", to="survivor", message="after")
            until(lambda: len(agent.did("scroll")) == 2, "the second scroll")
        assert [effect["message"] for effect in agent.did("scroll")] == ["before", "after"]
        assert [effect["id"] for effect in agent.did("prompt")] == ["p-again"]


async def answered(program: Program, scroll_id: str) -> None:
    """Return when the sender was told of the answer."""
    await program.until(
        lambda: program.params_of("scroll.changed", scroll_id=scroll_id, state="answered"), scroll_id
    )


# --- starting wrongly ------------------------------------------------------------------------------------


def refused(system: System, *argv: str, **environment: str) -> str:
    """The one line and the hint of a command that must fail."""
    done = system.run(*argv, **environment)
    assert (done.returncode, done.stdout) == (1, ""), done
    lines = done.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_second_up_on_one_home_names_the_first(system: System):
    said = refused(system, "up", "--port", "0", "--grpc-port", "0", "--enrol-port", "0", "--no-mdns")
    assert f"pid {system.said('hypivisor')['pid']}" in said
    assert "home" in said
    said = refused(system, "node", "run", "--no-mdns")
    assert f"pid {system.node_pid()}" in said


@pytest.mark.parametrize("flag", ["--port", "--grpc-port", "--enrol-port"])
def test_a_port_in_use_is_named_with_the_flag_that_chooses_another(tmp_path: Path, flag: str):
    with new_system() as fresh, socket.socket() as taken:
        taken.bind(("127.0.0.1" if flag == "--port" else "0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--grpc-port": "0", "--enrol-port": "0", flag: port}
        flags = [part for item in ports.items() for part in item]
        said = refused(fresh, "up", "--no-node", "--no-mdns", *flags)
        assert port in said
        assert flag in said


def test_a_home_that_belongs_to_another_mesh_is_not_taken_over(system: System):
    with new_system() as other:
        shutil.copytree(system.home / "node" / "identity", other.home / "node" / "identity")
        said = refused(other, "up", "--port", "0", "--grpc-port", "0", "--enrol-port", "0", "--no-mdns")
        assert "node leave" in said
        assert holder_of(other.home / "node" / "lock") is None, "a node was started for nothing"


def test_a_home_that_cannot_be_written_is_refused_with_a_line(system: System, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    refused(system, "up", "--no-node", "--no-mdns", "--port", "0", HYPERPI_HOME=str(tmp_path / "file"))


async def test_what_may_not_be_started_is_refused_and_leaves_nothing(system: System):
    allowed, request = str(system.folder / "user" / "allowed"), {"request_id": "r", "node": "den"}
    async with system.program() as program:
        await program.call("mesh.get")
        before = set(program.agents)

        async def code(**wanted: str) -> int:
            return await program.code_of(
                "node.spawn", **{**request, "kind": "idle", "path": allowed, **wanted}
            )

        assert await code(path="/etc") == -32012
        assert await code(path=f"{allowed}/../..") in {-32012, -32602}
        assert await code(path=f"{allowed}/missing") == -32004
        assert await code(new_folder="../escape") in {-32012, -32602}
        assert await code(kind="never-heard-of") == -32012
        assert await code(node="nowhere") == -32004
        os.symlink("/etc", f"{allowed}/link")
        assert await code(path=f"{allowed}/link") == -32012
        whole = await program.call("mesh.get")
        assert {agent["id"] for agent in whole["agents"]} == before


async def test_the_same_request_starts_one_agent_which_outlives_everything_but_its_stop(system: System):
    allowed = str(system.folder / "user" / "allowed")
    wanted = {"node": "den", "path": allowed, "kind": "idle", "request_id": "twice", "name": "idler"}
    async with system.program() as program:
        await program.call("mesh.get")
        answers = await asyncio.gather(*(program.call("node.spawn", **wanted) for _ in range(3)))
        assert len({answer["agent"] for answer in answers}) == 1
        agent = answers[0]["agent"]
        await program.until(lambda: program.agents.get(agent, {}).get("pid"), "its process")
        pid = program.agents[agent]["pid"]
        system.pids.add(pid)
        system.kill_node()
        assert is_running(pid)
        await asyncio.to_thread(system.start_node)
        await program.until(lambda: [n["state"] for n in program.nodes.values()] == ["online"])
        assert (await program.call("node.spawn", **wanted))["agent"] == agent
        assert await program.call("agent.stop", agent=agent) == {}
        await program.knows(agent, state="exited")
        until(lambda: not is_running(pid), "the end of its process")
