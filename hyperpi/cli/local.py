"""What the files of this home say about its own parts, without asking anybody."""

from typing import NamedTuple

from hyperpi import runfile
from hyperpi.cli.words import Json
from hyperpi.config import Home


class LocalNode(NamedTuple):
    """The node of this home as it is known in the mesh; None where that is not known."""

    id: str | None
    name: str | None


def local_node(home: Home) -> LocalNode:
    """Its id and name: from its run.json while it runs, else from its identity."""
    running = runfile.read_live(home.node / "run.json") or {}
    joined = runfile.read(home.node / "identity" / "mesh.json") or {}
    return LocalNode(
        _text(running.get("node")) or _text(joined.get("node_id")),
        _text(running.get("name")) or _text(joined.get("node_name")),
    )


def node_run(home: Home) -> Json | None:
    """run.json of the node of this home while it runs."""
    return runfile.read_live(home.node / "run.json")


def hypivisor_run(home: Home) -> Json | None:
    """run.json of the hypivisor of this home while it runs."""
    return runfile.read_live(home.hypivisor / "run.json")


def has_hypivisor(home: Home) -> bool:
    """Whether a mesh was ever started from this home."""
    return (home.hypivisor / "ca.pem").exists()


def unreachable_mesh(home: Home) -> str | None:
    """Why the mesh that this machine is in cannot be seen while its node runs; None when it can."""
    running = node_run(home)
    joined = runfile.read(home.node / "identity" / "mesh.json")
    if running is None or joined is None or running.get("linked"):
        return None
    mesh = _text(joined.get("mesh_name")) or "its mesh"
    if refused := _text(running.get("refused")):
        return f"the hypivisor of {mesh} refuses this machine: {refused}"
    return f"the hypivisor of {mesh} cannot be reached now"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
