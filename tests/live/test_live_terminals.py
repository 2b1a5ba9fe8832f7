"""Terminals through the whole mesh: typed to from afar, followed by offset, alive whatever else dies."""

import base64
import json
import os
import signal
import uuid
from itertools import pairwise
from typing import Any

import pytest
from live import Program, Refused, System, is_running, new_system, until
from machines import joined


class Screen:
    """What one program has seen of a terminal, byte by byte."""

    def __init__(self, program: Program, agent: str) -> None:
        self.program = program
        self.agent = agent
        self.first: int | None = None

    @property
    def pieces(self) -> list[tuple[int, bytes]]:
        told = self.program.params_of("agent.terminal", agent=self.agent)
        return [(piece["offset"], base64.b64decode(piece["data"])) for piece in told]

    @property
    def shown(self) -> bytes:
        """All of it; what follows must begin where the former ends."""
        pieces = [piece for piece in self.pieces if piece[1]]
        for (offset, data), (following, _) in pairwise(pieces):
            assert following == offset + len(data), "a hole, or something twice"
        return b"".join(data for _, data in pieces)

    @property
    def end(self) -> int:
        """The offset of the next byte."""
        offset, data = self.pieces[-1]
        return offset + len(data)

    async def shows(self, text: str) -> None:
        await self.program.until(lambda: text.encode() in self.shown, f"{text} on the screen")

    async def types(self, text: str) -> None:
        await self.program.call(
            "agent.input", agent=self.agent, data=base64.b64encode(text.encode()).decode()
        )


async def spawn(program: Program, node: str, path: str, *argv: str, **more: Any) -> str:
    made = await program.call(
        "node.spawn", node=node, path=path, kind="terminal", args=argv, request_id=uuid.uuid4().hex, **more
    )
    return str(made["agent"])


async def look(program: Program, agent: str, **where: Any) -> Screen:
    screen = Screen(program, agent)
    answer = await program.call("agent.attach", agent=agent, terminal=True, **where)
    screen.first = answer["terminal"]["offset"]
    return screen


def folder(system: System) -> str:
    made = system.folder / "user" / "work"
    made.mkdir(exist_ok=True)
    return str(made)


async def test_a_program_on_another_machine_is_typed_to_and_seen(system: System, program: Program):
    with joined(system) as attic:
        agent = await spawn(program, "attic", folder(attic), "sh", name="shell")
        shape = await program.knows(agent, kind="terminal", terminal={"cols": 120, "rows": 40})
        assert shape["address"] == "shell@attic"
        screen = await look(program, agent)
        await screen.types("echo he$((1+1))llo; pwd\r")
        await screen.shows("he2llo")
        await screen.shows(folder(attic))
        await program.call("agent.resize", agent=agent, cols=100, rows=30)
        await screen.types("stty size\r")
        await screen.shows("30 100")
        await program.knows(agent, terminal={"cols": 100, "rows": 30})
        async with system.program() as other:  # a second viewer sees all of it
            second = await look(other, agent)
            await second.shows("30 100")
            assert second.shown == screen.shown
        await program.call("agent.stop", agent=agent)
        ended = await program.knows(agent, state="exited")
        assert ended["detail"].startswith("stopped by")
        again = system.run("stop", "shell@attic")
        assert again.stdout.startswith("shell@attic had ended before: stopped by")
        kept = await program.call("agent.scrollback", agent=agent)  # still there to be read
        assert b"he2llo" in base64.b64decode(kept["data"])


async def test_a_viewer_comes_back_by_its_offset(system: System, program: Program):
    agent = await spawn(program, "den", folder(system), "cat")
    screen = await look(program, agent)
    await screen.types("one\r")
    await screen.shows("one\r\none")
    async with system.program() as again:
        await screen.types("two\r")
        await screen.shows("two\r\ntwo")
        first_half = screen.shown.split(b"two")[0]
        rest = await look(again, agent, offset=screen.first + len(first_half))
        await rest.shows("two\r\ntwo")
        assert first_half + rest.shown == screen.shown
    await program.call("agent.stop", agent=agent)


async def test_presence_rests_on_what_the_terminal_shows(system: System, program: Program):
    agent = await spawn(program, "den", folder(system), "sh", "-c", "read line; echo $line; sleep 1000")
    await program.knows(agent, state="idle")
    await program.call("agent.input", agent=agent, data=base64.b64encode(b"go\r").decode())
    shape = await program.knows(agent, state="working")
    assert shape["evidence"]["stream"]
    await program.knows(agent, state="idle")  # it has been quiet for a while
    await program.call("agent.stop", agent=agent)


async def test_a_flood_is_skipped_over_and_the_end_is_seen(system: System, program: Program):
    agent = await spawn(program, "den", folder(system), "sh")
    screen = await look(program, agent)
    await screen.types("head -c 30000000 /dev/zero | tr '\\0' x; echo; echo fl$((1+1))ood\r")

    def seen() -> bool:  # only in the newest pieces: there are thirty megabytes of them; a prompt follows it
        last = program.params_of("agent.terminal", agent=agent)[-4:]
        return b"fl2ood" in b"".join(base64.b64decode(piece["data"]) for piece in last)

    def told_to_come_back() -> bool:
        return bool(program.params_of("agent.reset", agent=agent, terminal=True))

    await program.until(lambda: seen() or told_to_come_back(), "its end, or a reset", 30)
    while not seen():
        program.notices.clear()
        await look(program, agent)
        await program.until(lambda: seen() or told_to_come_back(), "its end, or a reset", 30)
    end = (await program.call("agent.scrollback", agent=agent, limit=1))["end"]
    await program.until(lambda: screen.end >= end, "all that was shown")
    await program.call("agent.stop", agent=agent)


async def test_what_makes_no_sense_is_refused_in_words(system: System, program: Program):
    agent = await spawn(program, "den", folder(system), "cat")
    for method, params, says in (
        ("agent.input", {"data": "no base64!"}, "base64"),
        ("agent.resize", {"cols": 0, "rows": 10}, "cols"),
        ("agent.resize", {"cols": 10, "rows": 100_000}, "rows"),
        ("agent.scrollback", {"limit": 1 << 30}, "limit"),
    ):
        with pytest.raises(Refused, match=says):
            await program.call(method, agent=agent, **params)
    async with system.agent("plain") as plain:
        for method, params in (("agent.input", {"data": ""}), ("agent.resize", {"cols": 9, "rows": 9})):
            with pytest.raises(Refused, match="has no terminal"):
                await program.call(method, agent=plain.id, **params)
        with pytest.raises(Refused, match="no terminal"):
            await program.call("agent.attach", agent=plain.id, terminal=True)
    with pytest.raises(Refused, match="takes no prompts"):
        await spawn(program, "den", folder(system), "cat", prompt="hello")
    with pytest.raises(Refused, match="is a program in a terminal and takes no prompts"):
        await program.call("agent.prompt", agent=agent, text="hello")
    with pytest.raises(Refused, match="cannot do without a terminal"):
        await spawn(program, "den", folder(system), "cat", headless=True)
    with pytest.raises(Refused, match="no program 'no-such-program'"):
        await spawn(program, "den", folder(system), "no-such-program")
    await program.call("agent.stop", agent=agent)


async def test_a_program_that_has_ended_says_how_and_how_another_one_is_started(
    system: System, program: Program
):
    agent = await spawn(program, "den", folder(system), "sh", "-c", "echo oops; exit 3")
    await program.knows(agent, state="exited", detail="exit code 3: oops")
    with pytest.raises(Refused, match="has ended: exit code 3: oops"):
        await program.call("agent.prompt", agent=agent, text="hello")
    with pytest.raises(Refused, match="left no conversation") as refused:
        await program.call("agent.resume", agent=agent)
    command = f"hyperpi spawn {folder(system)} --kind terminal -- sh -c 'echo oops; exit 3'"
    assert refused.value.data["hint"] == f"start another agent: `{command}`"


async def test_who_types_is_in_the_audit_trail_once(system: System, program: Program):
    agent = await spawn(program, "den", folder(system), "cat")
    screen = await look(program, agent)
    for letter in "hello":
        await screen.types(letter)
    async with system.owner() as owner:
        rows = (await owner.call("audit.list", {"what": "agent.input", "about": agent}, 10))["rows"]
    assert [(row["result"], row["details"]) for row in rows] == [("asked", {"agent": agent})]
    await program.call("agent.stop", agent=agent)


async def test_a_terminal_outlives_hypivisor_node_and_keeper():
    with new_system() as system:
        system.start()
        async with system.program() as program:
            agent = await spawn(program, "den", folder(system), "sh", name="shell")
            screen = await look(program, agent)
            await screen.types("echo be$((1+1))fore $$\r")
            await screen.shows("be2fore")
            pid = (await program.knows(agent))["pid"]
            end = screen.end
        spec = json.loads((system.home / "node" / "keepers" / f"{agent}.json").read_text())
        os.kill(spec["keeper_pid"], signal.SIGKILL)
        until(lambda: keeper_of(system, agent) != spec["keeper_pid"], "another keeper")
        system.kill_node()
        system.start_node()
        system.end_up(signal.SIGKILL)
        system.start()
        async with system.program() as program:
            shape = await program.knows(agent, state="idle")
            assert (shape["pid"], shape["name"]) == (pid, "shell")
            assert is_running(pid)
            screen = await look(program, agent, offset=end)
            assert screen.first == end
            await screen.types("echo af$((1+1))ter $$\r")
            await screen.shows(f"af2ter {pid}")
            await program.call("agent.stop", agent=agent)
            await program.knows(agent, state="exited")
        assert not is_running(pid)


def keeper_of(system: System, agent: str) -> int:
    spec = json.loads((system.home / "node" / "keepers" / f"{agent}.json").read_text())
    return int(spec["keeper_pid"])
