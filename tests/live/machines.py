"""More machines for a live system: homes of their own on this one, with nodes that have joined its mesh."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from live import PATIENCE_S, Json, System, join, new_system, until

from hyperpi.cli.client import Client, connect_local
from hyperpi.holder import holder_of


@dataclass(slots=True)
class Machine(System):
    """A home with a node and no hypivisor."""

    name: str = ""

    def call(self, method: str, **params: object) -> Json:
        """Ask its node as its owner would."""
        with self.client() as client:
            found: Json = client.call(method, {"node": self.said("node")["node"], **params}, PATIENCE_S)
            return found

    def client(self) -> Client:
        """The control socket of its node."""
        client = connect_local("node", self.home / "node")
        assert client is not None, f"{self.name} has no node"
        return client

    def mirrors(self) -> Json:
        """What `disk.mirrors` says, {} while the node cannot say it."""
        with contextlib.suppress(Exception):
            return self.call("disk.mirrors")
        return {}

    def stop_node(self) -> None:
        """End the node politely."""
        pid = self.node_pid()
        os.kill(pid, signal.SIGTERM)
        until(lambda: holder_of(self.home / "node" / "lock") is None, "the end of the node")
        if self.node is not None:
            self.node.wait(PATIENCE_S)
            self.node = None

    def freeze(self) -> None:
        """As a machine that is too busy to answer, or asleep."""
        os.kill(self.node_pid(), signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        os.kill(self.node_pid(), signal.SIGCONT)


def as_machine(system: System, name: str) -> Machine:
    """The node of a whole system, seen as one machine among others."""
    return Machine(system.folder, system.up, system.node, system.pids, name)


@contextlib.contextmanager
def joined(system: System, name: str = "attic") -> Iterator[Machine]:
    """Another machine of a system's mesh, as long as the block lasts."""
    with new_system() as made:
        join(made, system, name)
        machine = Machine(made.folder, made.up, made.node, made.pids, name)
        try:
            yield machine
        finally:
            made.node = machine.node


def copies_of(machine: Machine) -> list[Path]:
    """The folders of the copies that a machine holds, oldest first."""
    return [path.parent for path in sorted((machine.home / "node" / "mirrors").glob("*/*/mirror.json"))]
