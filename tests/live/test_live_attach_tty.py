"""`hyperpi attach --tty`: a person's terminal becomes an agent's, whatever restarts in between."""

import asyncio
import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import COMMAND, PATIENCE_S, TOKEN, Program, System, new_system, until
from test_live_terminals import folder, keeper_of, spawn

LEAVE = "\x1d"


class Window:
    """A terminal window in which a command runs."""

    def __init__(self, environment: dict[str, str], *argv: str) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (25, 90))
        command = [*COMMAND, *argv]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def shows(self, text: str) -> None:
        """Wait until it has been shown, since the last time this was asked."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"never showed {text!r}: {self.seen[-2000:]!r}"
            try:
                self.seen += os.read(self._master, 65_536).decode("utf-8", "replace")
            except OSError:
                raise AssertionError(f"ended before it showed {text!r}: {self.seen[-2000:]!r}") from None
        self.seen = self.seen.partition(text)[2]

    def resize(self, cols: int, rows: int) -> None:
        termios.tcsetwinsize(self._master, (rows, cols))
        self.process.send_signal(signal.SIGWINCH)  # it is no child of a shell in that window

    def ended(self) -> int:
        with contextlib.suppress(OSError):
            while os.read(self._master, 65_536):
                pass
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        os.close(self._master)


@contextlib.contextmanager
def window(system: System, *argv: str, **environment: str) -> Iterator[Window]:
    made = Window({**system.environment, "TERM": "xterm-256color", **environment}, *argv)
    try:
        yield made
    finally:
        made.close()


async def test_keys_and_screen_and_size_are_the_agents_and_leaving_leaves_it(
    system: System, program: Program
):
    agent = await spawn(program, "den", folder(system), "sh", name="shell")
    with window(system, "attach", "shell", "--tty") as one:
        one.shows("Ctrl-] leaves it")
        one.types("stty size; echo he$((1+1))llo\r")
        one.shows("25 90")
        one.shows("he2llo")
        one.types("sleep 1000\r")
        one.shows("sleep 1000")
        one.types("\x03")  # to what runs there, not to us
        one.shows("# ")  # what is typed before that, the terminal itself throws away
        one.types("echo still he$((2+2))re\r")
        one.shows("still he4re")
        one.resize(100, 30)
        await program.knows(agent, terminal={"cols": 100, "rows": 30})
        one.types("stty size\r")
        one.shows("30 100")
        one.types(LEAVE)
        one.shows("which goes on")
        assert one.ended() == 0
    with window(system, "attach", "shell", "--tty") as again:
        again.shows("he2llo")  # what it had shown
        again.types("exit 3\r")
        again.shows("it has ended: exit code 3")
        assert again.ended() == 0
    await program.knows(agent, state="exited")


async def test_both_work_from_a_machine_that_knows_only_the_address_and_has_a_token(
    system: System, program: Program, tmp_path: Path
):
    elsewhere = {"HYPERPI_HOME": str(tmp_path / "empty"), "HYPIVISOR": system.url, "HYPI_TOKEN": TOKEN}
    agent = await spawn(program, "den", folder(system), "sh", name="faraway")
    with window(system, "attach", "faraway", "--tty", **elsewhere) as one:
        one.shows("Ctrl-] leaves it")
        one.types("echo he$((1+1))llo\r")
        one.shows("he2llo")
        one.types(LEAVE)
        assert one.ended() == 0
    async with system.agent("talker") as talker:
        with window(system, "attach", "talker", **elsewhere) as one:
            await asyncio.to_thread(one.shows, "old 4")
            one.types("from afar\r")
            await talker.until(lambda: talker.prompts, "the prompt")
            await asyncio.to_thread(one.shows, "from afar")
            one.types("\x04")
            assert await asyncio.to_thread(one.ended) == 0
    async with system.owner() as owner:  # who may only look sees, and hears that it cannot type
        viewer = (await owner.call("token.create", {"role": "viewer"}, 10))["token"]
    with window(system, "attach", "faraway", "--tty", **{**elsewhere, "HYPI_TOKEN": viewer}) as one:
        one.shows("he2llo")
        one.types("x")
        one.shows("what you type does not arrive")
        one.types(LEAVE)
        assert one.ended() == 0
    await program.call("agent.stop", agent=agent)


async def test_it_comes_back_by_itself_whatever_was_restarted():
    with new_system() as system:
        system.start()
        port = system.said("hypivisor")["port"]
        async with system.program() as program:
            agent = await spawn(program, "den", folder(system), "sh", name="shell")
        with window(system, "attach", "shell", "--tty") as one:
            one.shows("Ctrl-] leaves it")
            one.types("echo be$((1+1))fore\r")
            one.shows("be2fore")
            keeper = keeper_of(system, agent)
            os.kill(keeper, signal.SIGKILL)
            until(lambda: keeper_of(system, agent) != keeper, "another keeper")
            one.types("echo ke$((1+1))eper\r")
            one.shows("ke2eper")
            system.end_up(signal.SIGKILL)
            one.shows("coming back by itself")
            system.start(port=port)
            one.shows("[hyperpi: back]")
            one.types("echo hy$((1+1))pivisor\r")
            one.shows("hy2pivisor")
            one.types(LEAVE)
            one.shows("which goes on")


async def test_an_agent_without_a_terminal_says_so(system: System):
    def looks() -> int:
        with window(system, "attach", "plain", "--tty") as one:
            one.shows("this agent has no terminal")
            return one.ended()

    async with system.agent("plain"):
        assert await asyncio.to_thread(looks) == 1


async def test_the_terminal_of_an_agent_that_does_not_answer_is_shown_all_the_same(
    system: System, program: Program
):
    # Registers as the agent that it is, and then never answers.
    mute = (
        "import json, os, socket, time\n"
        "home = os.environ['HYPERPI_HOME']\n"
        "node = socket.socket(socket.AF_UNIX)\n"
        "node.connect(open(home + '/node/agent.addr').read().strip())\n"
        "hello = {'instance': os.environ['HYPERPI_INSTANCE'], 'kind': 'mute', 'cwd': '/', "
        "'pid': os.getpid()}\n"
        "node.sendall(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'agent.register', 'params': hello})"
        ".encode() + b'\\n')\n"
        "node.recv(9999)\n"
        "input('hung? ')\n"
    )
    agent = await spawn(program, "den", folder(system), sys.executable, "-c", mute, name="mute")
    await program.knows(agent, state="idle")
    with window(system, "attach", "mute", "--tty") as one:
        one.shows("hung?")
        one.types("\r")
        one.shows("it has ended: exit code 0")


@pytest.mark.parametrize("flags", [("--json",), ("--from", "e-1:2")])
def test_a_terminal_is_neither_json_nor_a_cursor(system: System, flags: tuple[str, ...]):
    done = system.run("attach", "nobody", "--tty", *flags)
    assert done.returncode == 2
    assert "--tty goes with none of" in done.stderr


# --- the conversation on a screen -------------------------------------------------------------------------


async def test_a_person_prompts_steers_and_aborts_and_sees_the_answer(system: System, program: Program):
    async with system.agent("screen") as agent:
        with window(system, "attach", "screen") as one:
            await asyncio.to_thread(one.shows, "old 4")
            await asyncio.to_thread(one.shows, "Ctrl-D leave")
            one.types("hello there\r")
            await asyncio.to_thread(one.shows, "hello there")
            await agent.until(lambda: agent.prompts, "the prompt")
            await agent.call("agent.changed", state="working")
            await agent.say("a **bold** answer")
            await asyncio.to_thread(one.shows, "working")
            one.types("not so bold\r")
            await agent.until(lambda: len(agent.prompts) == 2, "the second prompt")
            one.types("\x1b")
            await agent.until(lambda: "abort" in agent.asked, "the abort")
            one.types("\x04")
            assert await asyncio.to_thread(one.ended) == 0
    assert [(p["text"], p["mode"]) for p in agent.prompts] == [
        ("hello there", "prompt"),
        ("not so bold", "steer"),
    ]


async def test_the_screen_comes_back_by_itself_and_says_so():
    with new_system() as system:
        system.start()
        port = system.said("hypivisor")["port"]
        async with system.agent("screen") as agent:
            with window(system, "attach", "screen") as one:
                await asyncio.to_thread(one.shows, "old 4")
                system.end_up(signal.SIGKILL)
                await asyncio.to_thread(one.shows, "coming back by itself")
                one.types("said while it was away\r")
                await asyncio.to_thread(system.start, port=port)
                await agent.until(lambda: agent.prompts, "the prompt")
                await asyncio.to_thread(one.shows, "said while it was away")
                one.types("\x04")
                assert await asyncio.to_thread(one.ended) == 0
    assert len(agent.prompts) == 1
