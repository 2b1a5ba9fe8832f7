"""The owner of a joined machine: the whole mesh from its own command, as an operator, with no token."""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from live import COMMAND, PATIENCE_S, SOON_S, TOKEN, Json, System, join, new_system, until

from hyperpi import channels
from hyperpi.wire.hyperpi.v1 import console_pb2, console_pb2_grpc, mesh_pb2
from node import identity
from node.mesh_window import STALE_S


@pytest.fixture(scope="module")
def attic(system: System) -> Iterator[System]:
    """Another machine of the mesh."""
    with new_system() as other:
        join(other, system)
        yield other


class Output:
    """What a command prints, a JSON document a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[Any] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def text(self) -> str:
        """Of all deltas so far."""
        return "".join(line["delta"] for line in self.lines if line.get("type") == "text_delta")


@contextmanager
def running(system: System, *argv: str) -> Iterator[Output]:
    """A command of this machine's owner that goes on until it is ended."""
    process = subprocess.Popen(
        [*COMMAND, *argv], env=system.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    output = Output(process)
    try:
        yield output
    finally:
        process.stdin.close()
        output.end()


async def soon(look: Any, what: str) -> Any:
    """`until`, while this process also serves agents."""
    return await asyncio.to_thread(until, look, what)


def delta(text: str) -> Json:
    return {"type": "text_delta", "message_id": "m", "block": 0, "delta": text}


async def test_an_agent_of_another_machine_is_followed_from_its_history_on(system: System, attic: System):
    async with system.agent("lead") as lead:
        with running(attic, "attach", "lead@den", "--json") as output:
            await soon(lambda: output.lines, "the snapshot")
            assert output.lines[0]["type"] == "snapshot"
            await lead.emit(delta("one "), delta("two"))
            await soon(lambda: output.text() == "one two", "the events")


async def test_the_list_of_another_machine_follows_what_changes_here(system: System, attic: System):
    with running(attic, "ls", "--watch", "--json") as output:
        await soon(lambda: output.lines, "the list")
        async with system.agent("newcomer"):
            await soon(
                lambda: [
                    a for a in output.lines[-1] if a["address"] == "newcomer@den" and a["state"] == "idle"
                ],
                "the newcomer",
            )
        await soon(
            lambda: [a for a in output.lines[-1] if a["address"] == "newcomer@den" and a["state"] != "idle"],
            "the end of the newcomer",
        )


@pytest.mark.parametrize("away_s", [0.0, 2 * STALE_S + 1.0], ids=["for a moment", "for long"])
async def test_who_follows_over_a_restart_of_the_hypivisor_misses_nothing(
    attic_of_a_restarting_one: Any, away_s: float
):
    system, attic = attic_of_a_restarting_one
    async with system.agent("steady") as steady:
        with running(attic, "attach", "steady@den", "--json") as output:
            await soon(lambda: output.lines, "the snapshot")
            await steady.emit(delta("before "))
            await soon(lambda: "before" in output.text(), "the first words")
            port = system.said("hypivisor")["grpc_port"], system.said("hypivisor")["enrol_port"]
            os.kill(system.up.pid, signal.SIGKILL)
            system.up.wait(SOON_S)
            await steady.emit(delta("during "))
            await asyncio.sleep(away_s)  # the fault itself: nobody announces that a time has passed
            flags = ("--grpc-port", str(port[0]), "--enrol-port", str(port[1]))
            await asyncio.to_thread(system.start, *flags)
            await steady.emit(delta("after"))
            await soon(lambda: output.text().endswith("after"), "the last words")
            assert output.text() == "before during after"


@pytest.fixture
def attic_of_a_restarting_one() -> Iterator[tuple[System, System]]:
    """A mesh of its own, whose hypivisor may be killed, and a second machine."""
    with new_system() as system, new_system() as other:
        system.start()
        join(other, system)
        yield system, other


def test_the_owner_of_another_machine_is_an_operator_and_no_more(attic: System):
    for argv in (("token", "create"), ("audit",), ("node", "revoke", "den"), ("login",)):
        done = attic.run(*argv)
        assert done.returncode == 1 and "not for the role operator" in done.stderr, (argv, done)


# --- what a machine can ask by itself --------------------------------------------------------------------


@pytest.fixture
async def console(system: System, attic: System) -> AsyncIterator[console_pb2_grpc.ConsoleStub]:
    """The hypivisor's Console, with the certificate of the other machine."""
    member = identity.load(attic.home / "node" / "identity")
    assert member is not None
    address = f"127.0.0.1:{system.said('hypivisor')['grpc_port']}"
    async with channels.open_channel(address, identity=member.identity) as channel:
        yield console_pb2_grpc.ConsoleStub(channel)


async def called(stub: console_pb2_grpc.ConsoleStub, method: str, **params: Any) -> mesh_pb2.Reply:
    """A call in the name of an administrator."""
    caller = mesh_pb2.Caller(name="root", role="admin", source="cli")
    request = console_pb2.ConsoleCall(method=method, params_json=json.dumps(params).encode(), caller=caller)
    reply: mesh_pb2.Reply = await stub.Call(request, timeout=SOON_S)
    return reply


@pytest.mark.parametrize(
    "method", ["token.create", "node.revoke", "audit.list", "session.ls", "login.create"]
)
async def test_a_machine_that_says_it_is_an_admin_is_not(console: console_pb2_grpc.ConsoleStub, method: str):
    assert "not for the role operator" in (await called(console, method)).error.message


@pytest.mark.parametrize("method", ["auth.bearer", "auth.session", "auth.login", "auth.keep"])
async def test_a_machine_cannot_check_credentials_as_a_front_end_does(
    console: console_pb2_grpc.ConsoleStub, method: str
):
    assert "there is no method" in (await called(console, method, token=TOKEN)).error.message


async def test_a_machine_hears_nothing_of_sessions_and_of_what_others_send(
    console: console_pb2_grpc.ConsoleStub, system: System
):
    """Its Watch carries the roster; the end of a token and a person's receipts are not for it."""
    heard: list[mesh_pb2.Notice] = []
    changes = console.Watch(console_pb2.WatchRequest())
    await changes.read()
    async with system.owner() as owner, system.program() as program:
        token = await owner.call("token.create", {"role": "viewer"}, 10)
        await owner.call("token.revoke", {"id": token["id"]}, 10)
        async with system.agent("listener") as listener:
            await program.knows(listener.id)
            sent = await program.call("scroll.send", to="listener", message="hush")
            await program.until(
                lambda: [
                    s
                    for s in program.params_of("scroll.changed", scroll_id=sent["scroll_id"])
                    if s["state"] == "answered"
                ]
            )
            async with system.agent("mark") as mark:  # once this is told, so is all that came before
                async with asyncio.timeout(SOON_S):
                    while True:
                        change = await changes.read()
                        heard += change.notices
                        if any(mark.id in item.json.decode() for item in change.agents):
                            break
    assert [notice.topic for notice in heard if not notice.topic.startswith("agent:")] == []


async def test_what_a_machine_watches_ends_when_it_is_revoked(system: System):
    with new_system() as other:
        await asyncio.to_thread(join, other, system)
        member = identity.load(other.home / "node" / "identity")
        assert member is not None
        address = f"127.0.0.1:{system.said('hypivisor')['grpc_port']}"
        async with channels.open_channel(address, identity=member.identity) as channel:
            stub = console_pb2_grpc.ConsoleStub(channel)
            changes = stub.Watch(console_pb2.WatchRequest())
            await changes.read()
            async with system.owner() as owner:
                await owner.call("node.revoke", {"node": member.node_id}, 10)
            async with asyncio.timeout(SOON_S):
                while await changes.read() is not grpc.aio.EOF:
                    pass
            with pytest.raises(grpc.aio.AioRpcError):
                await called(stub, "mesh.get")
