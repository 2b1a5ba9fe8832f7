"""The mirrors of a node: its own disk at others, the disks of others here, and the way back.

Where all three meet the rest of the node: frames of the Link are given to the stream that they belong to, and
people's questions are answered.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from hyperpi import contract
from hyperpi.contract import Json
from hyperpi.database import DiskThread
from hyperpi.errors import BadRequest, NodeUnreachable, NotFound
from hyperpi.roles import Caller
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.disk_policy import DiskPolicy
from node.mirror_copies import Copies
from node.mirror_flow import Budget
from node.mirror_holding import Holding
from node.mirror_policy import MirrorPolicy
from node.mirror_restoring import Restoring, refusal
from node.mirror_streams import Stream
from node.mirroring import Mirroring
from pxldisk import Disk

log = logging.getLogger(__name__)

ASK_S = 10.0


class Mesh(Protocol):
    """The Link, as mirrors use it."""

    @property
    def up(self) -> bool:
        """Whether the hypivisor can be reached."""

    def send_mirror(self, frame: mesh_pb2.Mirror) -> bool:
        """Queue a frame behind everything else; False when it cannot be."""

    async def ask(self, method: str, params: Json, caller: Caller, timeout_s: float) -> bytes:
        """Call the hypivisor."""


class Mirrors:
    """Also what the Link gives frames to: `node.link.MirrorFrames`."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        *,
        policy: Callable[[], MirrorPolicy],
        shape: Callable[[], DiskPolicy],
        own_id: Callable[[], str],
        restart: Callable[[], None],
    ) -> None:
        """`folder`: the node's. Looks through the copies that are held: blocks."""
        self._disk = disk
        self._policy = policy
        self._own_id = own_id
        self._mesh: Mesh | None = None
        self._streams: dict[tuple[str, int], Stream] = {}
        self._thread = DiskThread("mirrors")
        self._budget = Budget(lambda: policy().rate)
        ends: Json = {
            "send": self._send,
            "opened": self._opened,
            "closed": self._closed,
            "thread": self._thread,
        }
        self.mirroring = Mirroring(disk, folder / "mirrors.json", budget=self._budget, **ends)
        copies = Copies(folder / "mirrors", policy)
        self.holding = Holding(copies, policy=policy, budget=self._budget, **ends)
        self.restoring = Restoring(folder, restart=restart, shape=shape, **ends)

    def use(self, mesh: Mesh) -> None:
        """How other nodes are reached."""
        self._mesh = mesh

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self.mirroring, self.holding, self.restoring):
                    tasks.create_task(part.run(), name=type(part).__name__.lower())
        finally:
            self._thread.close()

    # --- frames of the Link ----------------------------------------------------------------------------

    def linked(self) -> None:
        """See node.link.MirrorFrames."""
        self.mirroring.linked()

    def unlinked(self) -> None:
        """See node.link.MirrorFrames."""
        self.mirroring.unlinked()
        for stream in list(self._streams.values()):
            stream.end("the link has ended")

    def node_back(self, _name: str) -> None:
        """See node.link.MirrorFrames."""
        self.mirroring.retry()

    def frame(self, frame: mesh_pb2.Mirror) -> None:
        """See node.link.MirrorFrames."""
        stream = self._streams.get((frame.node, frame.stream))
        body = frame.WhichOneof("body")
        if stream is not None:
            stream.frame(frame)
        elif body == "offer":
            self.holding.offered(frame)
        elif body == "want":
            self.holding.wanted(frame)
        elif body != "end":
            # Of a stream before our last start, or one that was given up: its sender begins another.
            end = mesh_pb2.MirrorEnd(reason="that stream is not known any more")
            self._send(mesh_pb2.Mirror(node=frame.node, stream=frame.stream, end=end))

    def _send(self, frame: mesh_pb2.Mirror) -> bool:
        return self._mesh is not None and self._mesh.send_mirror(frame)

    def _opened(self, stream: Stream) -> None:
        self._streams[stream.peer, stream.number] = stream

    def _closed(self, stream: Stream) -> None:
        self._streams.pop((stream.peer, stream.number), None)

    # --- for people ------------------------------------------------------------------------------------

    def methods(self) -> Mapping[str, Callable[[Json, Caller], Awaitable[Any]]]:
        """What this answers of the contract."""
        return {
            "disk.mirrors": self._show,
            "disk.mirror": self._mirror,
            "disk.drop": self._drop,
            "disk.restore": self._restore,
        }

    async def _show(self, _params: Json, _caller: Caller) -> Json:
        policy = self._policy()
        return {
            "mirrors": self.mirroring.shapes(),
            "copies": self.holding.shapes(),
            "restore": self.restoring.shape(),
            "accept": policy.accept,
            "max_bytes": policy.max_bytes,
            "rate": policy.rate,
        }

    async def _mirror(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.DiskMirror, params)
        if wanted.off:
            await self.mirroring.remove(self._known(wanted.to))
        else:
            node, name = await self._find(wanted.to, caller)
            if node == self._own_id():
                raise BadRequest("a disk is mirrored to another machine", hint="`hyperpi node ls` lists them")
            await self.mirroring.add(node, name)
        return await self._show(params, caller)

    def _known(self, to: str) -> str:
        for mirror in self.mirroring.mirrors.values():
            if to in (mirror.target.node, mirror.target.name):
                return mirror.target.node
        raise NotFound(f"this disk is not mirrored to {to}", hint="`hyperpi disk mirror` lists its mirrors")

    async def _drop(self, params: Json, caller: Caller) -> Json:
        of = contract.params_of(contract.DiskDrop, params).of
        found = {
            marker.of for marker in self.holding.copies.markers.values() if of in (marker.of, marker.name)
        }
        if not found:
            raise NotFound(f"no copy of {of} is held here", hint="`hyperpi disk mirror` lists the copies")
        for node in found:
            await self.holding.drop(node)
        return await self._show(params, caller)

    async def _restore(self, params: Json, caller: Caller) -> Json:
        wanted = contract.params_of(contract.DiskRestore, params)
        live = sum(zone.live for zone in self._disk.stats().zones.values())
        if live and not wanted.force:
            raise refusal(live)
        node, name = await self._find(wanted.source, caller)
        want = mesh_pb2.MirrorWant(of=wanted.of or "", copy=wanted.copy or 0, not_disk=self._disk.id.bytes)
        started = await self.restoring.begin(node, name, want=want, force=wanted.force)
        return {"restore": started, **(self.restoring.shape() or {})}

    async def _find(self, wanted: str, caller: Caller) -> tuple[str, str]:
        """Id and name of a node of the mesh. Raises NotFound, NodeUnreachable."""
        if self._mesh is None or not self._mesh.up:
            raise NodeUnreachable(
                "the mesh cannot be reached from there now",
                hint="`hyperpi doctor` on that machine says why",
            )
        mesh: Json = msgspec.json.decode(await self._mesh.ask("mesh.get", {}, caller, ASK_S))
        for node in mesh["nodes"]:
            if wanted in (node["id"], node["name"]) and node["state"] != "pending":
                return node["id"], node["name"]
        raise NotFound(f"there is no machine {wanted}", hint="`hyperpi node ls` lists them")
