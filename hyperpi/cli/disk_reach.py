"""Whom `hyperpi disk` asks: the node of this machine, another through the mesh, or nobody but the files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperpi.cli.client import Client, connect_local
from hyperpi.cli.local import node_run
from hyperpi.cli.options import connected, home
from hyperpi.errors import Conflict, NothingThere


def folder() -> Path:
    """The disk of this machine."""
    return home().node / "disk"


@contextmanager
def whom(node: str | None) -> Iterator[tuple[Client, str] | None]:
    """Another machine through the mesh, or the node of this one; None: look at the files."""
    if node is not None:
        with connected() as client:
            yield client, node
        return
    running = node_run(home())
    found = connect_local("node", home().node) if running is not None else None
    if found is None or running is None:
        yield None
    else:
        with found:
            yield found, str(running.get("node"))


@contextmanager
def a_node(node: str | None) -> Iterator[tuple[Client, str]]:
    """As `whom`, but for what only a node that runs can do. Raises NothingThere."""
    with whom(node) as found:
        if found is None:
            raise NothingThere(
                "no node runs here, and only a node reaches the others",
                hint="`hyperpi node run`; if its disk keeps it from starting, `hyperpi disk repair` or move "
                f"{folder()} aside first",
            )
        yield found


def need_for_ourselves() -> None:
    """Raises Conflict while the node has the disk open."""
    running = node_run(home())
    if running is not None:
        raise Conflict(
            f"the node has the disk open (pid {running.get('pid')})",
            hint="`hyperpi node stop` first; agents stay, and `hyperpi node run` brings it back",
        )
