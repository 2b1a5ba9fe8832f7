"""Nodes as mirrors see them: a disk, the mirrors of it, and a small mesh in memory that carries their frames.

The mesh does as the hypivisor does: names the sender, passes frames in order, tells of a node that is away.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hyperpi.roles import OPERATOR, Caller
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node import mirror_restoring
from node.disk_policy import DiskPolicy
from node.mirror_policy import MirrorPolicy
from node.mirrors import Mirrors
from pxldisk import Disk, Zone

Json = dict[str, Any]
OWNER = Caller("ada", OPERATOR, "cli")
SOON_S = 20.0
ZONES = {"system": Zone(0, 8), "input_scrolls": Zone(9, 59), "output_opcodes": Zone(60, 63)}


@dataclass
class Machine:
    """One node's disk and mirrors."""

    name: str
    folder: Path
    disk: Disk
    mirrors: Mirrors
    mesh: "Mesh"
    policy: MirrorPolicy
    shape: DiskPolicy = field(default_factory=DiskPolicy)
    up: bool = True
    restarts: int = 0

    @property
    def id(self) -> str:
        return f"n-{self.name}"

    def send_mirror(self, frame: mesh_pb2.Mirror) -> bool:
        """See node.mirrors.Mesh."""
        return self.up and self.mesh.carry(self, frame)

    async def ask(self, method: str, _params: Json, _caller: Caller, _timeout_s: float) -> bytes:
        """See node.mirrors.Mesh."""
        assert method == "mesh.get"
        nodes = [{"id": m.id, "name": m.name, "state": "online"} for m in self.mesh.machines.values()]
        return msgspec.json.encode({"nodes": nodes})

    async def call(self, method: str, **params: Any) -> Json:
        """A person's question."""
        found: Json = await self.mirrors.methods()[method]({"node": self.id, **params}, OWNER)
        return found

    async def mirror(self, index: int = 0) -> Json:
        """One of its mirrors, as it is shown."""
        found: Json = (await self.call("disk.mirrors"))["mirrors"][index]
        return found

    async def copies(self) -> list[Json]:
        """The copies that it holds, as they are shown."""
        found: list[Json] = (await self.call("disk.mirrors"))["copies"]
        return found

    def cut(self) -> None:
        """Lose the link."""
        self.up = False
        self.mirrors.unlinked()

    def link(self) -> None:
        """Have it again."""
        self.up = True
        self.mirrors.linked()

    async def write(self, count: int, size: int = 200, *, keep: int = 0) -> None:
        """Some records; all but `keep` of them consumed again."""
        for number in range(count):
            ref = await self.disk.append(
                "input_scrolls", f"{number} ".encode().ljust(size, b"."), kind="test"
            )
            if number >= keep:
                await self.disk.consume(ref)


@dataclass
class Mesh:
    """Carries frames between machines, and counts what it carries."""

    machines: dict[str, Machine] = field(default_factory=dict)
    carried: list[tuple[str, mesh_pb2.Mirror]] = field(default_factory=list)  # sender's id, frame
    drop: Callable[[mesh_pb2.Mirror], bool] = lambda _: False

    def carry(self, sender: Machine, frame: mesh_pb2.Mirror) -> bool:
        """Take a frame to whom it is for."""
        copied = mesh_pb2.Mirror.FromString(frame.SerializeToString())
        self.carried.append((sender.id, copied))
        there = self.machines.get(frame.node)
        passed = mesh_pb2.Mirror.FromString(frame.SerializeToString())
        if self.drop(frame):
            return True
        if there is None or not there.up:
            passed.end.reason = f"{frame.node} is disconnected"
            there = sender if frame.WhichOneof("body") != "end" else None
        else:
            passed.node, passed.name = sender.id, sender.name
        if there is not None:
            asyncio.get_running_loop().call_soon(self._arrive, there, passed)
        return True

    @staticmethod
    def _arrive(machine: Machine, frame: mesh_pb2.Mirror) -> None:
        if machine.up:
            machine.mirrors.frame(frame)

    def bodies(self, sender: Machine, body: str) -> list[mesh_pb2.Mirror]:
        """What a machine has sent of one kind."""
        return [frame for of, frame in self.carried if of == sender.id and frame.WhichOneof("body") == body]

    def sent_bytes(self, sender: Machine) -> int:
        """Content of all pieces that a machine has sent."""
        return sum(len(frame.piece.content) for frame in self.bodies(sender, "piece"))

    @contextlib.asynccontextmanager
    async def machine(
        self, name: str, folder: Path, policy: MirrorPolicy | None = None, **options: Any
    ) -> AsyncIterator[Machine]:
        """A machine of this mesh, from its start to its end; what it keeps stays in `folder`."""
        folder.mkdir(exist_ok=True)
        mirror_restoring.finish(folder)
        shape = {"width": 256, "height": 64, "zones": ZONES}
        async with Disk.open(folder / "disk", **{**shape, **options}) as disk:
            machine: Machine

            def restart() -> None:
                machine.restarts += 1

            mirrors = Mirrors(
                disk,
                folder,
                policy=lambda: machine.policy,
                shape=lambda: machine.shape,
                own_id=lambda: f"n-{name}",
                restart=restart,
            )
            machine = Machine(name, folder, disk, mirrors, self, policy or MirrorPolicy(rate=1 << 30))
            self.machines[machine.id] = machine
            mirrors.use(machine)
            running = asyncio.create_task(mirrors.run())
            await until(lambda: mirrors.restoring._tasks, "its parts")
            machine.link()
            try:
                yield machine
            finally:
                machine.cut()
                del self.machines[machine.id]
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


def _same(copy: Json, source: Machine) -> bool:
    return (copy["disk"], copy["commit"]) == (str(source.disk.id), source.disk.commits)


class Stranger:
    """A machine that says what it wants and answers nothing: it keeps what comes."""

    def __init__(self, mesh: "Mesh", name: str) -> None:
        self.id, self.name, self.up = f"n-{name}", name, True
        self.mirrors = self
        self.got: list[mesh_pb2.Mirror] = []
        self._mesh = mesh
        mesh.machines[self.id] = self  # type: ignore[assignment]  # as far as the mesh is concerned

    def frame(self, frame: mesh_pb2.Mirror) -> None:
        """What a machine's mirrors do with it."""
        self.got.append(frame)

    def say(self, to: Machine, *, stream: int = 5, **body: Any) -> None:
        """Send a frame of a stream."""
        self._mesh.carry(self, mesh_pb2.Mirror(node=to.id, stream=stream, **body))  # type: ignore[arg-type]

    def heard(self, body: str) -> list[mesh_pb2.Mirror]:
        """What has come of one kind."""
        return [frame for frame in self.got if frame.WhichOneof("body") == body]

    def ends(self) -> list[str]:
        """The reasons with which its streams were ended."""
        return [frame.end.reason for frame in self.heard("end")]


async def until(look: Callable[[], Any], what: str) -> Any:
    """The first true result; `look` may be a coroutine function."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SOON_S
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert loop.time() < deadline, f"{what}: not within {SOON_S:g} s"
        await asyncio.sleep(0.005)


def reads_state(machine: Machine, state: str) -> Callable[[], Any]:
    """Whether its first mirror is in a state."""

    async def look() -> Json | None:
        mirror = await machine.mirror()
        return mirror if mirror["state"] == state else None

    return look


def complete(source: Machine, holder: Machine) -> Callable[[], Any]:
    """Whether a copy of a machine's disk has all of it, as the holder knows."""

    async def look() -> bool:
        own = [copy for copy in await holder.copies() if copy["of"] == source.id]
        return any(copy["whole"] and copy["following"] and _same(copy, source) for copy in own)

    return look
