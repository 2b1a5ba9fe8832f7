"""The node as a service: what a service manager does with KillMode=process, done by hand."""

import shlex
import signal
import socket
import subprocess
import uuid
from typing import Any

import pytest
from live import COMMAND, System, is_running, new_system, until

from hyperpi.cli.service_files import Service, systemd_unit
from hyperpi.holder import holder_of

Json = dict[str, Any]


@pytest.fixture
def system():
    with new_system() as found:
        (found.folder / "user").mkdir(exist_ok=True)
        found.start()
        yield found


class ServiceManager:
    """Starts a unit as systemd does, and ends its main process only."""

    def __init__(self, system: System, unit: str) -> None:
        self.system = system
        lines = dict(line.partition("=")[::2] for line in unit.splitlines() if "=" in line)
        assert (lines["KillMode"], lines["Type"]) == ("process", "notify")
        self.before = shlex.split(lines["ExecStartPre"].removeprefix("-"))
        self.command = shlex.split(lines["ExecStart"])
        self.main: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As for Type=notify: until the service says that it is ready."""
        told = self.system.sockets / "notify"
        environment = {**self.system.environment, "NOTIFY_SOCKET": str(told)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(told))
            listening.settimeout(20)
            self._start(environment)
            assert listening.recv(100) == b"READY=1"
        told.unlink()
        assert self.main is not None
        assert self.system.said("node")["pid"] == self.main.pid
        until(lambda: self.system.said("node")["linked"], "its link")

    def _start(self, environment: dict[str, str]) -> None:
        subprocess.run(self.before, env=environment, capture_output=True, timeout=20, check=False)
        self.main = subprocess.Popen(
            [*self.command, "--no-mdns"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.system.node, pid = self.main, self.main.pid
        self.system.pids.add(pid)

    def end(self, number: int) -> None:
        assert self.main is not None
        self.main.send_signal(number)
        self.main.wait(20)


async def test_a_service_takes_over_a_running_node_and_neither_its_end_nor_its_crash_ends_an_agent(
    system: System,
):
    async with system.program() as program:
        await program.call("mesh.get")
        started = await program.call(
            "node.spawn",
            node="den",
            path=str(system.folder / "user"),
            kind="terminal",
            args=["sh", "-c", "trap '' HUP; echo ready; while :; do sleep 1; done"],
            request_id=uuid.uuid4().hex,
        )
        agent = started["agent"]
        before = await program.knows(agent, state="idle")
    by_hand = system.node_pid()
    service = ServiceManager(system, systemd_unit(Service(tuple(COMMAND), {})))
    service.start()
    assert not is_running(by_hand), "the node that ran before has made room"
    for number in (signal.SIGTERM, signal.SIGKILL):
        service.end(number)
        until(lambda: holder_of(system.home / "node" / "lock") is None, "the end of the node")
        assert is_running(before["pid"])
        service.start()
    async with system.program() as program:
        await program.call("mesh.get")
        after = await program.knows(agent, state="idle")
        assert {key: after[key] for key in ("pid", "pid_start", "name")} == {
            key: before[key] for key in ("pid", "pid_start", "name")
        }
        await program.call("agent.stop", agent=agent)
        ended = await program.knows(agent, state="exited")
        assert ended["ending"]["why"] == "stopped"
    assert not is_running(before["pid"])
