"""What an agent's own tools may ask: an agent's rights, whoever owns the machine."""

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import COMMAND, TOKEN, AgentProcess, Program, System, new_system, until

from hyperpi.process_tree import MAX_DEPTH


class Tool:
    """The shell of an agent in a process of its own."""

    def __init__(self, process: AgentProcess) -> None:
        self._process = process

    def run(self, *argv: str, settings: str = "") -> dict[str, object]:
        """`hyperpi ARGV`, run by the agent in a shell of a shell: code, out, err."""
        command = f"{settings} {shlex.join(COMMAND + list(argv))}; exit $?"
        before = len(self._process.did("ran"))
        self._process.input.write(f"sh -c {shlex.quote(command)}\n".encode())
        self._process.input.flush()
        found: dict[str, object] = until(lambda: self._process.did("ran")[before:], f"the end of {argv}")[0]
        return found


@pytest.fixture(scope="module")
def tool(system: System) -> Iterator[Tool]:
    """An agent called river, and what it may do with the command."""
    with system.agent_process("river") as process:
        process.registered()
        until(lambda: "river@den" in system.run("ls").stdout, "river in the list")
        yield Tool(process)


FORBIDDEN = [
    ("stop", "river"),
    ("prompt", "river", "dig deeper"),
    ("abort", "river"),
    ("forget", "river"),
    ("attach", "river", "--json"),
    ("spawn", "."),
    ("token", "create"),
    ("token", "ls"),
    ("login",),
    ("audit",),
    ("node", "revoke", "den"),
    ("node", "approve", "123456"),
]


@pytest.mark.parametrize("argv", FORBIDDEN, ids=" ".join)
def test_an_agents_tool_may_not_do_what_its_owner_may(tool: Tool, argv: tuple[str, ...]):
    done = tool.run(*argv)
    assert done["code"] == 1, done
    said = str(done["err"])
    assert "is not for an agent" in said and "river@den" in said and "HYPI_TOKEN" in said
    assert "Traceback" not in said


def test_an_agents_tool_sees_the_roster(tool: Tool):
    done = tool.run("ls", "--json")
    assert done["code"] == 0, done
    assert [agent["address"] for agent in json.loads(str(done["out"]))] == ["river@den"]


async def test_an_agents_tool_sends_in_the_agents_name_and_hears_the_answer(
    tool: Tool, system: System, program: Program
):
    async with system.agent("reader") as reader:
        await program.knows(reader.id)
        done = await asyncio.to_thread(
            tool.run, "send", "reader", "from a tool", "--wait", "--json", "--from", "the-owner"
        )
        assert done["code"] == 0, done
        answer = json.loads(str(done["out"]))
        assert answer["opcode"]["content"] == "read: from a tool"
        assert [scroll["from"] for scroll in reader.scrolls] == ["river@den"]


async def test_an_agents_tool_lists_its_own_scrolls_and_nobody_elses(
    tool: Tool, system: System, program: Program
):
    async with system.agent("confidant") as confidant:
        await program.knows(confidant.id)
        secret = await program.call("scroll.send", to="confidant", message="between us")
        await program.until(
            lambda: any(
                s["state"] == "answered"
                for s in program.params_of("scroll.changed", scroll_id=secret["scroll_id"])
            ),
            "the answer",
        )
        sent = json.loads(
            str((await asyncio.to_thread(tool.run, "send", "confidant", "from river", "--json"))["out"])
        )
        for asked in (("scrolls", "--json"), ("scrolls", "--json", "--agent", "confidant@den")):
            listed = json.loads(str((await asyncio.to_thread(tool.run, *asked))["out"]))
            assert sent["scroll_id"] in {scroll["scroll_id"] for scroll in listed}
            assert secret["scroll_id"] not in {scroll["scroll_id"] for scroll in listed}


def test_an_agents_tool_with_a_token_has_the_tokens_rights(tool: Tool, system: System):
    settings = f"HYPIVISOR={system.url} HYPI_TOKEN={TOKEN}"
    done = tool.run("abort", "nobody", settings=settings)
    assert done["code"] == 1 and "no agent nobody" in str(done["err"])


def test_the_owner_of_the_machine_still_may(tool: Tool, system: System):
    assert system.run("token", "ls").returncode == 0


def test_on_a_node_without_its_hypivisor_an_agents_tool_gets_no_more():
    with new_system() as lonely:
        lonely.start()
        lonely.end_up()
        with lonely.agent_process("island") as process:
            process.registered()
            tool = Tool(process)
            done = tool.run("stop", "island")
            assert done["code"] == 1 and "is not for an agent" in str(done["err"])
            assert tool.run("ls")["code"] == 0


@pytest.mark.parametrize("flags", [(), ("--no-node",)], ids=" ".join)
def test_a_hypivisor_that_has_not_heard_of_its_node_yet_knows_its_agents_all_the_same(flags: tuple[str, ...]):
    with new_system() as system:
        system.start()
        with system.agent_process("patient") as process:
            process.registered()
            until(lambda: "patient@den" in system.run("ls").stdout, "patient in the list")
            system.end_up()
            os.kill(system.node_pid(), signal.SIGSTOP)
            try:
                system.begin(*flags)
                done = Tool(process).run("token", "create", "--role", "admin")
                assert done["code"] == 1 and "is not for an agent" in str(done["err"])
                assert system.run("token", "ls").returncode == 0
            finally:
                os.kill(system.node_pid(), signal.SIGCONT)


NEST = f"""
import os, sys
for _ in range({MAX_DEPTH}):
    child = os.fork()
    if child:
        os._exit(os.waitpid(child, 0)[1] >> 8)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_tool_that_is_nested_too_deep_to_be_told_from_an_agents_is_refused(tool: Tool, tmp_path: Path):
    (tmp_path / "nest.py").write_text(NEST)
    done = tool.run("login", settings=f"{sys.executable} {tmp_path}/nest.py")
    assert done["code"] == 1 and "ancestors cannot be seen" in str(done["err"]), done
