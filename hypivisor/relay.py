"""Frames about copies of disks, passed from one node to another. Nothing of them is kept.

They wait in lanes of their own, one for each sender, behind everything else that a node is told; what does
not fit into its lane is refused, and its sender told so. Who sends is what the link proves.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from hyperpi.address import NodeId
from hyperpi.frames import FrameQueue
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from hypivisor.registry import Registry

GRANT_S = 900.0  # for a machine to begin to fetch what an admin has let it have


class Grants:
    """Which machine may have the copies of another one's disk, for a while: an admin has said so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # seconds, monotonic
        self._until: dict[tuple[str, NodeId], float] = {}

    def allow(self, of: str, to: NodeId) -> None:
        """Let a machine have them."""
        now = self._clock()
        self._until = {pair: until for pair, until in self._until.items() if until > now}
        self._until[of, to] = now + GRANT_S

    def allowed(self, of: str, to: NodeId) -> bool:
        """Whether it may have them now; everyone may have its own."""
        return of in ("", to) or self._until.get((of, to), 0.0) > self._clock()


class Stream(Protocol):
    """A node's stream, as far as it matters here."""

    node: NodeId
    queue: FrameQueue[mesh_pb2.HypivisorFrame]


def pass_on(
    registry: Registry,
    grants: Grants,
    links: Mapping[NodeId, Stream],
    sender: Stream,
    frame: mesh_pb2.Mirror,
) -> None:
    """Give a frame to the node that it is for, or tell its sender why not."""
    node = NodeId(frame.node)
    there = links.get(node)
    body = frame.WhichOneof("body")
    if body == "want" and not grants.allowed(frame.want.of, sender.node):
        why = "the copy of another machine's disk is for an admin to hand over, where the hypivisor runs"
    elif there is None:
        known = registry.nodes.get(node)
        why = f"{known.name} is {known.state}" if known else "that machine is not in this mesh any more"
    else:
        passed = mesh_pb2.Mirror()
        passed.CopyFrom(frame)
        passed.node, passed.name = sender.node, registry.nodes[sender.node].name
        if there.queue.put_bulk(sender.node, mesh_pb2.HypivisorFrame(mirror=passed)):
            return
        why = "too much for that machine waits at the hypivisor"
    if body != "end":  # nobody waits for the answer to an end
        end = mesh_pb2.Mirror(node=frame.node, stream=frame.stream, end=mesh_pb2.MirrorEnd(reason=why))
        sender.queue.put_bulk(frame.node, mesh_pb2.HypivisorFrame(mirror=end))
