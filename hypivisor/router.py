"""Where a scroll goes: names in, recipients out. Pure; the hypivisor holds no scroll.

A sender is what the link proves: agents of the node whose certificate carried the offer, or a person, when
the offer comes from the home node of this hypivisor.
"""

from dataclasses import dataclass

from hyperpi.address import NodeId
from hyperpi.errors import HyperPiError, NotForThisRole, NotFound
from hypivisor.registry import Found, Registry


@dataclass(frozen=True, slots=True)
class Routed:
    """Recipients of a scroll, and those of them whose node cannot be reached now."""

    recipients: tuple[Found, ...] = ()
    away: tuple[Found, ...] = ()
    error: HyperPiError | None = None


def route(registry: Registry, sender: str, from_node: NodeId, home: NodeId | None, to: str) -> Routed:
    """Who is meant by `to`. A sender that the node may not speak for, or no recipient, is an error."""
    node_name = registry.nodes[from_node].name
    if not speaks_for(sender, node_name, from_node, home):
        return Routed(error=NotForThisRole(f"{node_name} does not speak for {sender}"))
    try:
        found = [match for match in registry.matching(to) if match.address != sender]
    except HyperPiError as exc:
        return Routed(error=exc)
    if not found:
        return Routed(error=NotFound(f"nobody is {to} now", hint="`hyperpi ls` lists the agents"))
    away = tuple(match for match in found if match.node.state != "online")
    return Routed(tuple(found), away)


def speaks_for(sender: str, node_name: str, node: NodeId, home: NodeId | None) -> bool:
    """Whether a node may send in this name: its own agents and owner, and people on the home node."""
    return sender.endswith(f"@{node_name}") or (sender.startswith("user:") and node == home)
