"""What a node must know of each kind of agent that it can start: a small file describes one."""

from node.kinds import acp, pi, terminal
from node.kinds.kind import Kind, Past, Resumption

KINDS = {kind.name: kind for kind in (acp.KIND, pi.KIND, terminal.KIND)}

__all__ = ["KINDS", "Kind", "Past", "Resumption", "kind_named"]


def kind_named(name: str) -> Kind:
    """The kind of that name; one that we do not know is a program that registers by itself."""
    return KINDS.get(name, Kind(name))
